/* net/http_exchange.h - one request and its reply, and what the files of the HTTP server share.
 *
 * Not a door: rooms use net.h. An exchange is born when a request's head is complete and dies when its
 * reply was written (or nobody wants it any more). Everything the request needs lives in its arena, the
 * body in its own buffer; both have a maximum.
 *
 *   bytes --codec--> exchange --router--> handler --http_reply--> bytes
 *         http_codec.c        http_route.c        http_reply.c, http_conn.c */
#pragma once
#include "net/net.h"

#define HTTP_DEFAULT_MAX_HEAD (32u << 10)
#define HTTP_MAX_HEADERS 128            /* fields in one head */
#define HTTP_MAX_DROPPED_BYTES 4096     /* chunk extensions and trailers of one request: read and thrown away */
#define HTTP_ARENA_MAX (16u << 20)      /* a request's arena, beyond twice its body */
#define HTTP_REPLY_MAX (512u << 20)
#define HTTP_DRAIN_MAX (64u << 10)      /* a refused request's body up to here is read, so the connection survives */

typedef struct http_conn http_conn;
typedef struct http_exchange {
    http_request req;          /* first: a handler's http_request * is the exchange */
    arena arena;
    buf body;
    str raw_path;              /* still percent-encoded: routes are matched segment by segment */
    bool http_1_0, keep_alive, has_body, wants_continue;
    const http_route *route;   /* NULL: refused */
    int refuse_status;         /* answered with `refusal` instead of a handler */
    unsigned allow;            /* methods for the Allow field of a 405 */
    err refusal;
    str cors;                  /* the origin whose pages may read the reply; empty: no other's */
    http_conn *conn;           /* NULL: nobody to answer any more */
    bool in_handler, replied, gone;
} http_exchange;

http_exchange *http_exchange_new(void);
void http_exchange_free(http_exchange *x);
void http_exchange_freep(http_exchange **x);

/* ---- codec ---- */
/* Called when the head is complete: sets x->body.max (preset: HTTP_DEFAULT_MAX_BODY). Not 0: refuse with this status. */
typedef int (*http1_head_hook)(void *ctx, http_exchange *x, err *e);
void http1_codec_on_head(http1_codec *c, http1_head_hook hook, void *ctx);
/* Read on until one request is complete or the bytes are used up. *ret_used: how many were taken; *ret_x: the
 * complete request, now yours, or NULL. Not OK: as http1_feed, and so for every later call. */
err_kind http1_next(http1_codec *c, str bytes, size_t *ret_used, http_exchange **ret_x, int *ret_status, err *e);
/* Bytes of the body being read. */
size_t http1_codec_body_bytes(const http1_codec *c);
typedef enum http1_place { HTTP1_BETWEEN, HTTP1_IN_HEAD, HTTP1_IN_BODY } http1_place;
http1_place http1_codec_place(const http1_codec *c);

/* ---- names, escapes, parameters (http_request.c) ---- */
/* Undo %XX (and, in a query, '+') into memory of `a`. `strict`: a bad escape or %00 is ERR_PARSE; otherwise a bad
 * escape stands for itself, as browsers do it. */
err_kind http_unescape(arena *a, str text, bool query, bool strict, str *ret, err *e);
http_method http_method_parse(str name); /* 0 if galen does not speak it */
/* Does a list field ("gzip, br;q=0.5") take `token`? q=0 means no; "*" stands for any token. */
bool http_list_takes(str list, const char *token);

/* ---- routes and guard (http_route.c) ---- */
typedef struct http_router {
    vec(http_route) routes;
    bool loopback;             /* the server listens on loopback only */
    char listen_host[256];     /* as configured: a Host that is always fine */
    char node_name[256];       /* this machine's name: likewise */
    char external_host[256];   /* the host in external_url: likewise; "" = none */
    char *token;               /* "" = none */
    struct regex *cors;        /* Origins whose pages may read; NULL: none */
    bool cors_any;             /* it is ".*" */
} http_router;

/* ---- pages of other sites (http_cors.c) ---- */
#define HTTP_CORS_FIELDS 5
/* ERR_PARSE, ERR_LIMIT: not a pattern. Once a router. */
err_kind http_cors_set(http_router *r, const char *pattern, err *e);
/* What Access-Control-Allow-Origin says to this Origin; empty: nothing. */
str http_cors_answer(const http_router *r, str origin);
/* Fields for a reply whose exchange has `allowed` as cors. Returns how many. */
size_t http_cors_fields(str allowed, http_header out[HTTP_CORS_FIELDS]);

/* Take the host out of "https://galen.example:443/path". */
void http_router_set_external(http_router *r, str url);
err_kind http_router_add(http_router *r, const http_route *routes, size_t n, err *e);
void http_router_done(http_router *r);
/* Find the route of a request whose head is complete: sets x->route and the parameters, or x->refuse_status,
 * x->refusal and x->allow. Sets x->body.max. */
void http_router_choose(const http_router *r, http_exchange *x);

/* ---- replies (http_reply.c) ---- */
const char *http_status_text(int status);
/* Serialise a reply: head and body. `keep_alive` false adds Connection: close. Failure is out's sticky one. */
void http_reply_write(buf *out, const http_exchange *x, int status, const http_header *headers, size_t n, str body,
                      bool keep_alive);
/* The reply of a connection that could not make out a request. */
void http_reply_write_refusal(buf *out, int status, const err *e);
void http_error_json(buf *out, const err *e);

/* ---- connections (http_conn.c) ---- */
/* Give the reply's bytes to the connection of x. */
void http_conn_reply(http_exchange *x, int status, const http_header *headers, size_t n, str body);
