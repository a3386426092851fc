/* net/http_conn.h - one connection of the HTTP server. The room's own; rooms use net.h.
 *
 *                       first byte          CRLF CRLF         last byte            http_reply
 *   accept --> HEAD   IDLE --------> HEAD ------------> BODY -----------> HANDLING ----------> WRITING
 *               |       ^                                                    |                   |
 *               |       +------------------------ written, keep-alive -------(-------------------+
 *               |                                                            | client gone       | written, close
 *               v                                                            v                   v
 *             CLOSED <---------------------------------------------------- CLOSED <----------- LINGER
 *
 *   HEAD      bytes of a head are awaited: header_timeout_ms, from connecting or from the first byte on,
 *             however often a byte drips in
 *   BODY      body_timeout_ms for all of it
 *   HANDLING  a handler has the request; we go on reading so that we see the client leave, but what comes
 *             waits in `pending`, and beyond HTTP_PIPELINE_MAX reading stops
 *   WRITING   the reply is on its way; the next request waits, so a connection holds one reply at most. A
 *             client that takes nothing for body_timeout_ms is dropped
 *   LINGER    all is said and our side is shut; what the client still sends is thrown away for a moment,
 *             because closing with unread bytes would reset the reply off the client's table
 *   IDLE      idle_timeout_ms */
#pragma once
#include "net/http_exchange.h"

#define HTTP_PIPELINE_MAX (64u << 10)
#define HTTP_READ_BYTES (64u << 10)
#define HTTP_LINGER_MS 1000

struct http_server {
    uv_loop_t *loop;
    uv_tcp_t listener;
    uv_timer_t grace;
    unsigned open_handles;      /* of the two above: the last to close frees the server */
    http_router router;
    char *listen;               /* as configured */
    bool insecure;
    size_t max_connections, max_header_bytes, max_bodies_bytes;
    int64_t header_timeout_ms, body_timeout_ms, idle_timeout_ms;
    http_conn *conns;           /* newest first */
    size_t conn_count;
    size_t body_bytes;          /* held by all connections; beyond max_bodies_bytes the one that grows hears 503 */
    int port;
    bool closing;
    void (*closed)(void *ctx);
    void *closed_ctx;
    char read_bytes[HTTP_READ_BYTES]; /* one for all: a read is used up before the next begins */
};

/* Accept the waiting connection. Too many already: it hears 503. */
void http_conn_accept(http_server *s);
/* Close at once; a handler's request is abandoned (on_close). */
void http_conn_close(http_conn *c);
/* The server is going: true if the connection does nothing and was closed. */
bool http_conn_close_if_idle(http_conn *c);
http_conn *http_conn_next(const http_conn *c);
/* A connection's memory is gone (http_server.c). */
void http_server_conn_gone(http_server *s);
