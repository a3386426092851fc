/* net/net.h - the room's door: timers, the HTTP server, the HTTP client, all on one libuv loop.
 *
 * HTTP/1.1 as RFC 9110 and 9112 say it; the server's parser is llhttp, strict, behind a scanner that refuses what
 * llhttp still lets through (http_codec.c); the client is libcurl. No TLS on the server's side yet, so it listens
 * on loopback unless told that the network is trusted.
 *
 * One thread runs the loop; every callback below is called on it, and every function must be. Other threads may
 * only call net_post(): a worker that finished somebody's request posts a call that replies.
 *
 * Whatever comes from outside has a named limit: head, fields, body, connections, and the time for each of them.
 * A request lives in its own arena, which dies when its reply was handed over. */
#pragma once
#include "base/base.h"
#include <stdatomic.h>
#include <uv.h>

/* ---- loop and timers ---- */
typedef struct net_timer net_timer;
/* Call `fn` after first_ms and then each every_ms (0: once). NULL without memory. Stop = free, also for a timer that
 * has fired its only time. */
net_timer *net_timer_start(uv_loop_t *loop, int64_t first_ms, int64_t every_ms, void (*fn)(void *ctx), void *ctx);
void net_timer_again(net_timer *t, int64_t after_ms);                /* once more, then no more; also inside fn */
void net_timer_stop(net_timer *t);                                   /* NULL is fine; safe inside fn */

/* Run `fn(ctx)` on the loop's thread soon; callable from any thread; order kept. ERR_NOMEM, ERR_FULL beyond
 * NET_POST_MAX waiting calls: then fn will not be called. Closing (on the loop's thread) runs what still waits, so
 * that no ctx leaks; nobody may post any more. */
#define NET_POST_MAX 65536
typedef struct net_poster net_poster;
err_kind net_poster_open(uv_loop_t *loop, net_poster **ret, err *e);
err_kind net_post(net_poster *p, void (*fn)(void *ctx), void *ctx);
void net_poster_close(net_poster *p);

/* ---- HTTP server ---- */
typedef struct http_server http_server;
typedef struct http_request http_request;

typedef enum http_method { HTTP_GET = 1, HTTP_HEAD = 2, HTTP_POST = 4, HTTP_PUT = 8, HTTP_DELETE = 16, HTTP_OPTIONS = 32, HTTP_PATCH = 64 } http_method;
typedef struct http_header { str name, value; } http_header; /* names as sent */

struct http_request {
    http_method method;
    str path;                 /* percent-decoded, starts with '/' */
    str query;                /* raw, without '?' */
    const http_header *headers; size_t header_count;
    str body;                 /* whole, content-encoding still on; at most the route's max_body */
    str peer;                 /* "127.0.0.1:51234" */
    str param[4];             /* what the pattern's ":name" parts matched, decoded, in order */
    arena *arena;             /* dies after the reply is sent */
    void *route_ctx;          /* http_route.ctx */
    void *user;               /* the handler's own, e.g. to find its job when on_close is called */
    void (*on_close)(http_request *req); /* set by a handler that replies later: the client has gone; do not reply any
                                          * more, req dies when it returns. Left NULL: a reply must still come, and
                                          * goes nowhere. A client that shuts its sending side counts as gone. */
};

typedef void (*http_handler)(http_request *req);
typedef enum http_route_flags {
    HTTP_ROUTE_PREFIX = 1,    /* the pattern is a prefix: "/assets/" */
    HTTP_ROUTE_CHANGES = 2,   /* needs the API token (design.md, "How it stays safe") */
    HTTP_ROUTE_LOCAL = 4,     /* a write door that is open without token on loopback only */
    HTTP_ROUTE_CORS = 8,      /* only reads, also by POST: pages of the origins in http_server_options.cors_origin may */
} http_route_flags;
typedef struct http_route {
    unsigned methods;         /* http_method bits; HEAD is added to GET */
    const char *pattern;      /* "/api/v1/label/:name/values" */
    http_handler handler;
    void *ctx;
    unsigned flags;
    size_t max_body;          /* 0: HTTP_DEFAULT_MAX_BODY */
} http_route;
#define HTTP_DEFAULT_MAX_BODY (1u << 20)
#define HTTP_DEFAULT_MAX_BODIES (512u << 20)

typedef struct http_server_options {
    const char *listen;       /* "127.0.0.1:9600", "[::1]:9600"; port 0 picks one */
    bool insecure;            /* needed for an address beyond loopback (no TLS yet) */
    str token;                /* for HTTP_ROUTE_CHANGES; empty: such routes answer 403 */
    const char *external_url; /* how people reach the page (behind a proxy): its host is a Host that is ours; NULL */
    const char *cors_origin;  /* pattern of Origins whose pages may read the routes marked HTTP_ROUTE_CORS; NULL: none */
    size_t max_connections;   /* 0: 4096 */
    size_t max_header_bytes;  /* 0: 32 KiB, request line included */
    size_t max_bodies_bytes;  /* 0: HTTP_DEFAULT_MAX_BODIES; all requests' bodies together, beyond it 503 */
    int64_t header_timeout_ms, body_timeout_ms, idle_timeout_ms; /* 0: 10 s, 60 s, 75 s */
} http_server_options;

/* Is this spelled like an address to listen on? Looks nothing up. ERR_INVALID, with a hint. */
err_kind http_listen_check(const char *listen, err *e);
/* The process ignores SIGPIPE from here on (libuv's children get the default back). ERR_PARSE: cors_origin. */
err_kind http_server_new(uv_loop_t *loop, const http_server_options *o, http_server **ret, err *e);
/* The route table is copied; longest literal match wins. Call before the loop runs, from as many rooms as like.
 * ERR_EXISTS: the same pattern and method are there already; ERR_INVALID: not a pattern, or more than 4 parameters.
 * Before any handler runs, the guard has seen the request: Host is an IP address, localhost, this machine's name,
 * the listen host or external_url's (else 403: DNS rebinding); a browser's Origin on a changing method equals Host (else 403; a
 * route marked HTTP_ROUTE_CORS takes cors_origin's, too); the
 * token is there where the flags ask for it (else 401). Unknown paths are 404, wrong methods 405, both in JSON;
 * OPTIONS is answered from the table. Paths with a "." or ".." segment, %00 or broken escapes are 400. */
err_kind http_server_routes(http_server *s, const http_route *routes, size_t n, err *e);
/* ERR_CONFLICT: "could not listen on 127.0.0.1:9600: address already in use"; ERR_DENIED: a port below 1024, or
 * beyond loopback without insecure; ERR_INVALID: no such address. Each with a hint that names the way out. */
err_kind http_server_listen(http_server *s, err *e);
int http_server_port(const http_server *s);
/* Stop accepting, let running requests finish for grace_ms, then close (their on_close is called); `closed` (may be
 * NULL) runs once all is gone and the server is freed. Also frees one that never listened. */
void http_server_close(http_server *s, int64_t grace_ms, void (*closed)(void *ctx), void *ctx);

/* Answer. Exactly one reply a request, now or later (on the loop's thread); the body is copied. Extra headers
 * are borrowed for the call; Content-Length, Connection and Date are not for handlers and passed over. gzip is
 * applied when the client takes it and the body is large. After a late reply req is gone; a handler that replies
 * at once may use it until it returns. content_type NULL: text/plain. */
void http_reply(http_request *req, int status, const char *content_type, str body);
void http_reply_headers(http_request *req, int status, const http_header *headers, size_t n, str body);
/* {"error": "<message>", "hint": "…"} with the status that fits the kind. */
void http_reply_err(http_request *req, const err *e);
int http_status_of(err_kind kind);

/* A header's value, name in any case; empty view if absent. */
str http_header_get(const http_request *req, const char *name);
/* Decoded form value by name from the query string or an urlencoded body (query first); memory in req->arena. A
 * broken %-escape stands for itself.
 * False if absent. http_param_each walks repeated names: start with *pos = 0. */
bool http_param(http_request *req, const char *name, str *ret);
bool http_param_each(http_request *req, const char *name, size_t *pos, str *ret);
/* Undo Content-Encoding (gzip, deflate, snappy block, zstd, identity) of the body into out; out->max bounds it.
 *   ERR_LIMIT  it unpacks to more than out->max (never allocated)   ERR_PARSE  cut off or damaged
 *   ERR_UNSUPPORTED  another coding, or a chain of them; message and hint name what works */
err_kind http_body_decoded(const http_request *req, buf *out, err *e);
/* The same, whatever the request says of its coding. */
err_kind http_body_decoded_as(const http_request *req, str coding, buf *out, err *e);

/* ---- the codec alone, for tests and the fuzzer ---- */
typedef struct http1_codec http1_codec;
typedef struct http1_events {
    void (*request)(void *ctx, http_request *req);   /* complete, borrowed for the call */
    void *ctx;
} http1_events;
http1_codec *http1_codec_new(const http_server_options *o, http1_events events);
void http1_codec_free(http1_codec *c);
/* Feed bytes as they came. Not OK: the connection must answer `*ret_status` (400, 413, 431, 501, 505) and close. */
err_kind http1_feed(http1_codec *c, str bytes, int *ret_status, err *e);

/* ---- HTTP client (libcurl's multi interface on the loop) ---- */
typedef struct http_client http_client;
typedef struct http_fetch http_fetch;
typedef struct http_response {
    err_kind kind;            /* OK: an HTTP answer of any status came; else `error` tells */
    err error;
    int status;
    str content_type;
    str body;                 /* up to max_body; beyond it kind is ERR_LIMIT */
    double connect_s, first_byte_s, total_s;
    str effective_url;
    str head;                 /* the last answer's header lines as they came, at most 16 KiB of them */
} http_response;
typedef struct http_fetch_options {
    const char *method;       /* NULL: GET, or POST with a body */
    const char *url;
    const http_header *headers; size_t header_count;
    str body;                 /* copied */
    int64_t timeout_ms, connect_timeout_ms;  /* 0: 10 s, 3 s */
    size_t max_body;          /* 0: 16 MiB */
    bool follow_redirects;
    bool no_compression;      /* do not ask for gzip or deflate */
    const char *basic_user, *basic_password, *bearer_token; /* NULL: none */
    bool tls_insecure;
    const char *ca_file, *cert_file, *key_file;
    /* Called with each piece of the body as it arrives (then `body` stays empty); may be NULL. Not OK aborts. */
    err_kind (*on_data)(void *ctx, str piece);
    void (*done)(void *ctx, const http_response *res); /* once, never inside http_fetch_start; res borrowed */
    void *ctx;
} http_fetch_options;
/* What went wrong is in res->error, ready to be put behind "could not scrape …":
 *   ERR_UNAVAILABLE  connection refused (sys_errno ECONNREFUSED), no route, unknown name
 *   ERR_TIMEOUT      not connected, not answered, or not ended in time: the message says which
 *   ERR_LIMIT        max_body (unpacked), header fields, redirects     ERR_PARSE  not HTTP, damaged compression
 *   ERR_CANCELED     on_data did not want more   ERR_DENIED  certificate   ERR_IO  the connection broke
 * Connections are kept and used again; loopback is never asked through a proxy of the environment. */
err_kind http_client_open(uv_loop_t *loop, http_client **ret, err *e);
void http_client_close(http_client *c);     /* running fetches are dropped without done() */
/* Options are borrowed for the call. *ret (may be NULL) is for http_fetch_cancel and dies when done() returns.
 * ERR_INVALID: not an http(s) URL, a header field with a line break. Fine inside any callback. */
err_kind http_fetch_start(http_client *c, const http_fetch_options *o, http_fetch **ret, err *e);
/* A field of the answer's head, without white space around; empty view if absent. */
str http_response_field(const http_response *res, const char *name);
void http_fetch_cancel(http_fetch *f);      /* done() will not be called; fine inside any callback; NULL is fine */
/* ---- the same for threads that wait: a loop and a client on a thread of their own ---- */
typedef struct net_fetcher net_fetcher;
err_kind net_fetcher_open(net_fetcher **ret, err *e);
void net_fetcher_close(net_fetcher *f);     /* nobody may be asking any more; NULL is fine */
/* Make one request and wait for its end, on any thread but the fetcher's own. The body is appended to *body, which bounds
 * it; `done`, `ctx` and `on_data` of *o are not looked at. OK: an answer of any status came. `cancel` (may be NULL) is
 * looked at every 20 ms: true ends with ERR_CANCELED. Errors: those of a fetch. */
err_kind net_fetcher_ask(net_fetcher *f, const http_fetch_options *o, const atomic_bool *cancel, buf *body, int *ret_status, err *e);

#include "net/http_auth.h"
