/* The bench of http_test.h: the server's routes and their handlers, and raw connections. */
#include "net/http_test.h"

static bench *here; /* on_close has no context of its own */

static void guard_rang(void *ctx) { ((bench *)ctx)->late = true; }
void server_closed(void *ctx) { ((bench *)ctx)->closed = true; }

static void handler_hello(http_request *req)
{
    ((bench *)req->route_ctx)->hits++;
    http_reply(req, 200, "text/plain", STR("hello"));
}

static void handler_echo(http_request *req)
{
    str_copy(here->seen, sizeof here->seen, req->param[0]);
    http_reply(req, 200, "application/octet-stream", req->body);
}

static void handler_large(http_request *req)
{
    size_t n = 8u << 20;
    char *text = arena_alloc(req->arena, n);
    memset(text, 'x', n);
    http_reply(req, 200, "text/plain", str_of(text, n));
}

static void parked_gone(http_request *req)
{
    here->gone++;
    here->parked = NULL;
    http_reply(req, 200, NULL, STR("a slip: nobody is there")); /* must be harmless */
}

static void handler_park(http_request *req)
{
    here->parked = req;
    req->on_close = parked_gone;
}

static void handler_park_deaf(http_request *req) { here->parked = req; }

static void handler_fail(http_request *req)
{
    err e = { 0 };
    err_set(&e, ERR_NOT_FOUND, "could not find \"x\"");
    err_hint(&e, "Look elsewhere.");
    http_reply_err(req, &e);
}

static void handler_close_server(http_request *req)
{
    http_server_close(here->server, 0, server_closed, here);
    http_reply(req, 200, NULL, STR("too late"));
}

static void handler_form(http_request *req)
{
    AUTO(buf_done) buf out = BUF_INIT(1000);
    size_t pos = 0;
    str value;
    while (http_param_each(req, "match[]", &pos, &value))
        buf_printf(&out, "<%" STR_FMT ">", STR_ARG(value));
    if (http_param(req, "q", &value))
        buf_printf(&out, "q=%" STR_FMT, STR_ARG(value));
    http_reply(req, 200, NULL, buf_str(&out));
}

void bench_open(bench *b, http_server_options o)
{
    err e = { 0 };
    *b = (bench){ 0 };
    here = b;
    const http_route routes[] = {
        { HTTP_GET, "/hello", handler_hello, b },
        { HTTP_POST | HTTP_PUT, "/echo", handler_echo, b, .max_body = 200000 },
        { HTTP_GET, "/label/:name/values", handler_echo, b },
        { HTTP_GET, "/large", handler_large, b },
        { HTTP_GET | HTTP_POST, "/park", handler_park, b },
        { HTTP_GET, "/deaf", handler_park_deaf, b },
        { HTTP_GET, "/fail", handler_fail, b },
        { HTTP_GET, "/closing", handler_close_server, b },
        { HTTP_GET | HTTP_POST, "/form", handler_form, b },
        { HTTP_POST, "/change", handler_hello, b, HTTP_ROUTE_CHANGES },
        { HTTP_POST, "/write", handler_hello, b, HTTP_ROUTE_LOCAL },
        { HTTP_GET | HTTP_POST, "/read", handler_hello, b, HTTP_ROUTE_CORS },
        { HTTP_GET, "/assets/", handler_hello, b, HTTP_ROUTE_PREFIX },
    };
    uv_loop_init(&b->loop);
    if (!o.listen)
        o.listen = "127.0.0.1:0";
    CHECK_OK(http_server_new(&b->loop, &o, &b->server, &e), e);
    CHECK_OK(http_server_routes(b->server, routes, COUNT_OF(routes), &e), e);
    CHECK_OK(http_server_listen(b->server, &e), e);
    b->guard = net_timer_start(&b->loop, 20000, 0, guard_rang, b);
}

void bench_close(bench *b)
{
    if (!b->closed)
        http_server_close(b->server, 0, server_closed, b);
    net_timer_stop(b->guard);
    while (uv_run(&b->loop, UV_RUN_ONCE))
        ;
    CHECK(b->closed);
    CHECK_EQ(uv_loop_close(&b->loop), 0);
}

static void raw_room(uv_handle_t *h, size_t wish, uv_buf_t *ret)
{
    raw *r = h->data;
    UNUSED(wish);
    *ret = uv_buf_init(r->room, sizeof r->room);
}

static void raw_read(uv_stream_t *s, ssize_t n, const uv_buf_t *room)
{
    raw *r = s->data;
    if (n > 0)
        buf_append_bytes(&r->in, room->base, (size_t)n);
    else if (n < 0)
        r->ended = true, uv_read_stop(s);
}

static void raw_connected(uv_connect_t *c, int status)
{
    raw *r = c->data;
    CHECK_EQ(status, 0);
    r->connected = true;
    uv_read_start((uv_stream_t *)&r->tcp, raw_room, raw_read);
}

raw *raw_open(bench *b)
{
    raw *r = mem_zalloc(sizeof *r);
    struct sockaddr_in at;
    r->in = (buf)BUF_INIT(64u << 20);
    uv_ip4_addr("127.0.0.1", http_server_port(b->server), &at);
    uv_tcp_init(&b->loop, &r->tcp);
    r->tcp.data = r->connect.data = r;
    uv_tcp_connect(&r->connect, &r->tcp, (struct sockaddr *)&at, raw_connected);
    RUN_UNTIL(b, r->connected);
    return r;
}

void raw_send(raw *r, const char *text)
{
    uv_buf_t bytes = uv_buf_init((char *)(uintptr_t)text, (unsigned)strlen(text));
    CHECK_EQ(uv_try_write((uv_stream_t *)&r->tcp, &bytes, 1), (int)bytes.len);
}

static void raw_freed(uv_handle_t *h)
{
    raw *r = h->data;
    buf_done(&r->in);
    mem_free(r);
}

void raw_close(raw *r) { uv_close((uv_handle_t *)&r->tcp, raw_freed); }

bool raw_has(const raw *r, const char *text) { return str_find(buf_str(&r->in), str_from(text)) >= 0; }

size_t raw_count(const raw *r, const char *text)
{
    str rest = buf_str(&r->in);
    size_t n = 0;
    for (ptrdiff_t at; (at = str_find(rest, str_from(text))) >= 0; n++)
        rest = str_skip(rest, (size_t)at + 1);
    return n;
}

raw *ask(bench *b, const char *text, const char *until)
{
    raw *r = raw_open(b);
    raw_send(r, text);
    if (until)
        RUN_UNTIL(b, raw_has(r, until) || r->ended);
    else
        RUN_UNTIL(b, r->ended);
    return r;
}

int status_of(const raw *r)
{
    int64_t status = 0;
    str_to_i64(str_sub(buf_str(&r->in), 9, 3), &status);
    return (int)status;
}
