/* net/http_fetch.h - the HTTP client and one fetch of it. The room's own; rooms use net.h.
 *
 * http_client.c drives libcurl from the loop and owns the fetches; http_fetch.c is what one fetch asks of libcurl and
 * what comes back: its options, its bytes, its errors in sentences. */
#pragma once
#include "net/net.h"

#include <curl/curl.h>

typedef enum fetch_state { FETCH_QUEUED, FETCH_RUNNING, FETCH_CANCELED, FETCH_REPORTING } fetch_state;

struct http_fetch {
    http_client *client;
    http_fetch *prev, *next;
    CURL *easy;
    struct curl_slist *fields;
    fetch_state state;
    bool head_only;
    bool added; /* libcurl's multi has it */
    size_t max_body, body_bytes, header_bytes;
    int64_t timeout_ms, connect_timeout_ms;
    buf body, head;
    err cut; /* why we ourselves ended it */
    err_kind (*on_data)(void *ctx, str piece);
    void (*done)(void *ctx, const http_response *res);
    void *ctx;
    char host[128]; /* "127.0.0.1:8000", for sentences */
    char reason[CURL_ERROR_SIZE];
};

typedef struct client_socket client_socket; /* http_client.c */

struct http_client {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;
    client_socket *sockets;
    http_fetch *fetches;
    unsigned open_handles; /* the timer and each socket's poll */
    unsigned inside;       /* libcurl or client_settle is on the stack */
    bool unsettled;        /* something was queued, canceled or closed meanwhile */
    buf spare;             /* the memory of an answer that ended, for the next one */
    bool closing;
};

/* Give libcurl what the options ask for, their defaults filled in. f->client is set, the rest zero; also after an
 * error f's parts are its owner's to free. */
err_kind http_fetch_prepare(http_fetch *f, const http_fetch_options *o, err *e);

/* Why the transfer ended as libcurl's `code` says, as a sentence; OK if it went well. */
err_kind http_fetch_error(const http_fetch *f, CURLcode code, err *e);

/* An empty buffer of at most `max` bytes, with the memory of an answer that has ended if there is one. */
buf http_client_spare(http_client *c, size_t max);
