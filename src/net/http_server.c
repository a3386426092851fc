/* net/http_server.c - listening, the connections together, and going in order. */
#include "net/http_conn.h"

#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define LISTEN_BACKLOG 511

/* ---- the address ---- */

typedef struct listen_address {
    char host[256];
    uint16_t port;
    struct sockaddr_storage at;
    bool loopback;
} listen_address;

static err_kind bad_listen(const char *listen, err *e)
{
    err_set(e, ERR_INVALID, "cannot listen on \"%s\": not an address and a port", listen);
    return err_hint(e, "Write it as 127.0.0.1:9600, [::1]:9600 or localhost:9600.");
}

/* "127.0.0.1:9600", "[::1]:9600", "localhost:9600", ":9600" (all addresses). */
static err_kind split_listen(const char *listen, listen_address *a, err *e)
{
    const char *colon = strrchr(listen, ':');
    uint64_t port;

    if (!colon || !str_to_u64(str_from(colon + 1), &port) || port > 65535)
        return bad_listen(listen, e);
    str host = str_of(listen, (size_t)(colon - listen));
    if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
        host = str_sub(host, 1, host.len - 2);
    else if (str_find_char(host, ':') >= 0)
        return bad_listen(listen, e);
    if (host.len >= sizeof a->host)
        return bad_listen(listen, e);
    str_copy(a->host, sizeof a->host, host);
    a->port = (uint16_t)port;
    return OK;
}

err_kind http_listen_check(const char *listen, err *e) { return split_listen(listen, &(listen_address){ 0 }, e); }

static bool is_loopback(const struct sockaddr_storage *at)
{
    if (at->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)at)->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)at)->sin6_addr);
}

/* Names are resolved once, at the start; localhost without asking anybody. */
static err_kind resolve_listen(uv_loop_t *loop, const char *listen, listen_address *a, err *e)
{
    const char *host = !a->host[0] ? "0.0.0.0" : strcmp(a->host, "localhost") == 0 ? "127.0.0.1" : a->host;
    uv_getaddrinfo_t lookup;
    struct addrinfo wish = { .ai_socktype = SOCK_STREAM };

    if (uv_ip4_addr(host, a->port, (struct sockaddr_in *)&a->at) &&
        uv_ip6_addr(host, a->port, (struct sockaddr_in6 *)&a->at)) {
        if (uv_getaddrinfo(loop, &lookup, NULL, host, NULL, &wish) || !lookup.addrinfo) {
            err_set(e, ERR_INVALID, "could not listen on %s: no address is known for this name", listen);
            return err_hint(e, "Use an IP address of this machine.");
        }
        memcpy(&a->at, lookup.addrinfo->ai_addr, lookup.addrinfo->ai_addrlen);
        uv_freeaddrinfo(lookup.addrinfo);
        ((struct sockaddr_in *)&a->at)->sin_port =
            htons(a->port); /* the port lies at the same place in both families */
    }
    a->loopback = is_loopback(&a->at);
    return OK;
}

static err_kind listen_failed(const char *listen, int rc, uint16_t port, err *e)
{
    char why[128];

    uv_strerror_r(rc, why, sizeof why);
    switch (rc) {
    case UV_EADDRINUSE:
        err_set(e, ERR_CONFLICT, "could not listen on %s: address already in use", listen);
        err_hint(
            e, "Stop the program that has port %u (ss -ltnp 'sport = :%u' names it), or choose another with --listen.",
            port, port);
        break;
    case UV_EACCES:
        err_set(e, ERR_DENIED, "could not listen on %s: permission denied", listen);
        err_hint(e, "Ports below 1024 need root or CAP_NET_BIND_SERVICE; choose another with --listen.");
        break;
    case UV_EADDRNOTAVAIL:
        err_set(e, ERR_INVALID, "could not listen on %s: this machine does not have the address", listen);
        err_hint(e, "Use 127.0.0.1, or an address that `ip address` shows.");
        break;
    default: err_set(e, ERR_IO, "could not listen on %s: %s", listen, why);
    }
    if (e)
        e->sys_errno = -rc;
    return e ? e->kind : ERR_IO;
}

/* ---- life ---- */

static void handle_closed(uv_handle_t *handle)
{
    http_server *s = handle->data;

    s->open_handles--;
    http_server_conn_gone(s);
}

static void server_free(http_server *s)
{
    http_router_done(&s->router);
    mem_free(s->listen);
    mem_free(s);
}

/* Closing ends when the listener and all connections are gone; the timer goes last and keeps the server alive. */
void http_server_conn_gone(http_server *s)
{
    if (!s->closing || s->conn_count)
        return;
    if (!uv_is_closing((uv_handle_t *)&s->grace))
        uv_close((uv_handle_t *)&s->grace, handle_closed);
    if (s->open_handles)
        return;
    void (*closed)(void *ctx) = s->closed;
    void *ctx = s->closed_ctx;
    server_free(s);
    if (closed)
        closed(ctx);
}

static int64_t or_preset(int64_t v, int64_t preset) { return v > 0 ? v : preset; }

err_kind http_server_new(uv_loop_t *loop, const http_server_options *o, http_server **ret, err *e)
{
    http_server *s = mem_zalloc(sizeof *s);

    if (!s)
        return err_nomem(e);
    signal(SIGPIPE, SIG_IGN); /* libuv writes with write(2): a client that left must not end galen */
    s->loop = loop;
    s->listen = mem_dup(o->listen, strlen(o->listen) + 1);
    s->router.token = mem_zalloc(o->token.len + 1);
    if (!s->listen || !s->router.token) {
        server_free(s);
        return err_nomem(e);
    }
    if (o->token.len)
        memcpy(s->router.token, o->token.ptr, o->token.len);
    if (o->cors_origin && http_cors_set(&s->router, o->cors_origin, e)) {
        server_free(s);
        return e ? e->kind : ERR_PARSE;
    }
    http_router_set_external(&s->router, str_from(o->external_url));
    s->insecure = o->insecure;
    s->max_connections = o->max_connections ? o->max_connections : 4096;
    s->max_header_bytes = o->max_header_bytes;
    s->max_bodies_bytes = o->max_bodies_bytes ? o->max_bodies_bytes : HTTP_DEFAULT_MAX_BODIES;
    s->header_timeout_ms = or_preset(o->header_timeout_ms, 10 * MS_PER_S);
    s->body_timeout_ms = or_preset(o->body_timeout_ms, 60 * MS_PER_S);
    s->idle_timeout_ms = or_preset(o->idle_timeout_ms, 75 * MS_PER_S);
    gethostname(s->router.node_name, sizeof s->router.node_name - 1);
    uv_tcp_init(loop, &s->listener);
    uv_timer_init(loop, &s->grace);
    s->listener.data = s->grace.data = s;
    s->open_handles = 2;
    *ret = s;
    return OK;
}

err_kind http_server_routes(http_server *s, const http_route *routes, size_t n, err *e)
{
    return http_router_add(&s->router, routes, n, e);
}

static void server_knocked(uv_stream_t *listener, int status)
{
    if (status == 0) /* otherwise the connection died before we took it: nothing to do */
        http_conn_accept(listener->data);
}

err_kind http_server_listen(http_server *s, err *e)
{
    listen_address a = { 0 };
    struct sockaddr_storage bound;
    int size = sizeof bound;

    if (split_listen(s->listen, &a, e))
        return ERR_INVALID;
    err_kind kind = resolve_listen(s->loop, s->listen, &a, e);
    if (kind)
        return kind;
    if (!a.loopback && !s->insecure) {
        err_set(e, ERR_DENIED, "cannot listen on %s: it is reachable from other machines and there is no TLS",
                s->listen);
        return err_hint(
            e, "Listen on 127.0.0.1, put a TLS proxy in front, or set insecure: true if the network is trusted.");
    }
    int rc = uv_tcp_bind(&s->listener, (const struct sockaddr *)&a.at, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&s->listener, LISTEN_BACKLOG, server_knocked);
    if (rc)
        return listen_failed(s->listen, rc, a.port, e);
    if (uv_tcp_getsockname(&s->listener, (struct sockaddr *)&bound, &size) == 0)
        s->port = ntohs(((const struct sockaddr_in *)&bound)->sin_port);
    s->router.loopback = a.loopback;
    str_copy(s->router.listen_host, sizeof s->router.listen_host, str_from(a.host));
    return OK;
}

int http_server_port(const http_server *s) { return s->port; }

/* ---- going ---- */

static void close_connections(http_server *s, bool all)
{
    for (http_conn *c = s->conns, *next; c; c = next) {
        next = http_conn_next(c); /* closing only starts here; nobody leaves the list before the loop's next turn */
        if (all)
            http_conn_close(c);
        else
            http_conn_close_if_idle(c);
    }
}

static void grace_over(uv_timer_t *timer) { close_connections(timer->data, true); }

void http_server_close(http_server *s, int64_t grace_ms, void (*closed)(void *ctx), void *ctx)
{
    if (!s || s->closing)
        return;
    s->closing = true;
    s->closed = closed;
    s->closed_ctx = ctx;
    uv_close((uv_handle_t *)&s->listener, handle_closed);
    uv_timer_start(&s->grace, grace_over, (uint64_t)MAX(grace_ms, 0), 0);
    close_connections(s, grace_ms <= 0);
}
