/* Server and client on a real loop over loopback. Timeouts here are real and short. */
#include "net/net.h"
#include "base/test.h"

/* ---- a bench: one loop, one server, raw connections ---- */

typedef struct bench {
    uv_loop_t loop;
    http_server *server;
    net_timer *guard;
    bool late; /* the guard rang: the test hangs */
    bool closed;
    http_request *parked; /* by handler_park */
    unsigned gone;        /* on_close calls */
    unsigned hits;
    char seen[256]; /* by handler_echo */
} bench;

static bench *here; /* on_close has no context of its own */

static void guard_rang(void *ctx) { ((bench *)ctx)->late = true; }
static void server_closed(void *ctx) { ((bench *)ctx)->closed = true; }

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

static void bench_open(bench *b, http_server_options o)
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

static void bench_close(bench *b)
{
    if (!b->closed)
        http_server_close(b->server, 0, server_closed, b);
    net_timer_stop(b->guard);
    while (uv_run(&b->loop, UV_RUN_ONCE))
        ;
    CHECK(b->closed);
    CHECK_EQ(uv_loop_close(&b->loop), 0);
}

#define RUN_UNTIL(b, cond)                                                                                             \
    do {                                                                                                               \
        while (!(cond) && !(b)->late)                                                                                  \
            uv_run(&(b)->loop, UV_RUN_ONCE);                                                                           \
        CHECK_MSG(!(b)->late, "hangs while waiting for: %s", #cond);                                                   \
    } while (0)

typedef struct raw {
    uv_tcp_t tcp;
    uv_connect_t connect;
    buf in;
    bool connected, ended, freed;
    char room[65536];
} raw;

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

static raw *raw_open(bench *b)
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

static void raw_send(raw *r, const char *text)
{
    uv_buf_t bytes = uv_buf_init((char *)(uintptr_t)text, (unsigned)strlen(text));
    CHECK_EQ(uv_try_write((uv_stream_t *)&r->tcp, &bytes, 1), (int)bytes.len);
}

static void raw_wrote(uv_write_t *w, int status)
{
    UNUSED(status);
    mem_free(w);
}

/* As raw_send, for what does not fit the socket's buffer; `text` must stay. */
static void raw_write(raw *r, const char *text)
{
    uv_buf_t bytes = uv_buf_init((char *)(uintptr_t)text, (unsigned)strlen(text));
    CHECK_EQ(uv_write(mem_zalloc(sizeof(uv_write_t)), (uv_stream_t *)&r->tcp, &bytes, 1, raw_wrote), 0);
}

static void raw_freed(uv_handle_t *h)
{
    raw *r = h->data;
    buf_done(&r->in);
    mem_free(r);
}

static void raw_close(raw *r) { uv_close((uv_handle_t *)&r->tcp, raw_freed); }

static bool raw_has(const raw *r, const char *text) { return str_find(buf_str(&r->in), str_from(text)) >= 0; }

static size_t raw_count(const raw *r, const char *text)
{
    str rest = buf_str(&r->in);
    size_t n = 0;
    for (ptrdiff_t at; (at = str_find(rest, str_from(text))) >= 0; n++)
        rest = str_skip(rest, (size_t)at + 1);
    return n;
}

#define H "Host: localhost\r\n"

/* Send on a fresh connection and wait until the reply holds `until` (NULL: until the end). */
static raw *ask(bench *b, const char *text, const char *until)
{
    raw *r = raw_open(b);
    raw_send(r, text);
    if (until)
        RUN_UNTIL(b, raw_has(r, until) || r->ended);
    else
        RUN_UNTIL(b, r->ended);
    return r;
}

/* ---- replies ---- */

static const struct {
    const char *what, *send, *want[3];
} talks[] = {
    { "a request is answered",
      "GET /hello HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
      { "HTTP/1.1 200 OK\r\n", "\r\nDate: ", "Content-Length: 5\r\n" } },
    { "Connection: close is answered in kind",
      "GET /hello HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
      { "Connection: close\r\n", "\r\n\r\nhello" } },
    { "HTTP/1.0 without Host is served and closed",
      "GET /hello HTTP/1.0\r\n\r\n",
      { "200 OK", "Connection: close", "hello" } },
    { "an absolute target that agrees with Host is served",
      "GET http://localhost/hello HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
      { "200 OK" } },
    { "an upgrade that we do not know is ignored",
      "GET /hello HTTP/1.1\r\n" H "Connection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n",
      { "200 OK", "hello" } },
    { "an unknown path is 404 in JSON",
      "GET /nope HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
      { "404 Not Found", "{\"error\":\"nothing lives at path \\\"/nope\\\"\"", "\"hint\":" } },
    { "a wrong method is 405 and names the right ones",
      "DELETE /echo HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
      { "405 Method Not Allowed", "Allow: POST, PUT, OPTIONS\r\n" } },
    { "OPTIONS names the methods",
      "OPTIONS /hello HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
      { "204 No Content", "Allow: GET, HEAD, OPTIONS\r\n" } },
    { "a prefix route takes what is below",
      "GET /assets/a/b.js HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
      { "200 OK" } },
    { "a prefix route does not take its own name without the slash",
      "GET /assets HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
      { "404" } },
    { "dots in a path are refused",
      "GET /assets/../hello HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
      { "400", ".. in it" } },
    { "encoded dots too",
      "GET /assets/%2e%2E/hello HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
      { "400", ".. in it" } },
    { "a handler's error carries its hint",
      "GET /fail HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
      { "404", "could not find", "Look elsewhere." } },
    { "parameters come from the query and then from the body",
      "POST /form?match[]=a%20b&x=1&match%5B%5D=c HTTP/1.1\r\n" H
      "Connection: close\r\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\r\nContent-Length: 20\r\n\r\nmatch[]=d%2B+e&q=%zz",
      { "<a b><c><d+ e>q=%zz" } },
    { "a chunked body is put together and its trailer dropped",
      "POST /echo HTTP/1.1\r\n" H
      "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n",
      { "200 OK", "\r\n\r\nabcde" } },
    { "a body beyond the route's limit is 413 before it is sent",
      "POST /echo HTTP/1.1\r\n" H "Content-Length: 200001\r\n\r\n",
      { "413", "larger than allowed", "Connection: close" } },
    { "a head that is too long is 431", NULL, { "431" } },
    { "garbage is 400",
      "\x16\x03\x01\x02\x01\x01\r\n",
      { "HTTP/1.1 400 Bad Request", "control character", "Connection: close" } },
    { "HTTP/2 without a word before is 505", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", { "505" } },
    { "100-continue is answered before the body comes",
      "POST /echo HTTP/1.1\r\n" H "Connection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
      { "HTTP/1.1 100 Continue\r\n\r\n", "200 OK", "\r\n\r\nok" } },
    { "100-continue is not said to what will be refused",
      "POST /nope HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
      { "HTTP/1.1 404", "Connection: close" } },
    { "another expectation is 417", "GET /hello HTTP/1.1\r\n" H "Expect: cake\r\n\r\n", { "417" } },
};

TEST(http_server_talks)
{
    bench b;
    bench_open(&b, (http_server_options){ 0 });
    for (size_t i = 0; i < COUNT_OF(talks); i++) {
        static char long_head[40000];
        memset(long_head, 'a', sizeof long_head - 1);
        memcpy(long_head, "GET /", 5);
        raw *r = ask(&b, talks[i].send ? talks[i].send : long_head, NULL);
        for (size_t k = 0; k < 3 && talks[i].want[k]; k++)
            CHECK_MSG(raw_has(r, talks[i].want[k]), "%s: no \"%s\" in %" STR_FMT, talks[i].what, talks[i].want[k],
                      STR_ARG(buf_str(&r->in)));
        raw_close(r);
    }
    bench_close(&b);
}

static const struct {
    const char *what, *send;
    int status;
} guards[] = {
    { "localhost is our name", "GET /hello HTTP/1.1\r\nHost: LocalHost:9600\r\n", 200 },
    { "any IP address is ours", "GET /hello HTTP/1.1\r\nHost: 192.168.7.9:1\r\n", 200 },
    { "IPv6 too", "GET /hello HTTP/1.1\r\nHost: [::1]:9600\r\n", 200 },
    { "a stranger's name is DNS rebinding", "GET /hello HTTP/1.1\r\nHost: evil.example:9600\r\n", 403 },
    { "a stranger's name that looks like an address", "GET /hello HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n", 403 },
    { "an empty Host", "GET /hello HTTP/1.1\r\nHost: \r\n", 403 },
    { "a Host with a bad port", "GET /hello HTTP/1.1\r\nHost: localhost:99999\r\n", 403 },
    { "a change from our own page", "POST /write HTTP/1.1\r\nHost: localhost:9600\r\nOrigin: http://localhost:9600\r\n",
      200 },
    { "a change from another page", "POST /write HTTP/1.1\r\nHost: localhost:9600\r\nOrigin: http://evil.example\r\n",
      403 },
    { "a change from a sandboxed page", "POST /write HTTP/1.1\r\nHost: localhost:9600\r\nOrigin: null\r\n", 403 },
    { "reading from another page is the browser's business",
      "GET /hello HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n", 200 },
    { "a change without the token", "POST /change HTTP/1.1\r\nHost: localhost\r\n", 401 },
    { "a change with a wrong token", "POST /change HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secreT\r\n",
      401 },
    { "a change with a token that is too long",
      "POST /change HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secretx\r\n", 401 },
    { "a change with the token", "POST /change HTTP/1.1\r\nHost: localhost\r\nAuthorization: bearer secret\r\n", 200 },
    { "a local write door needs no token on loopback", "POST /write HTTP/1.1\r\nHost: localhost\r\n", 200 },
};

static int status_of(const raw *r)
{
    int64_t status = 0;
    str_to_i64(str_sub(buf_str(&r->in), 9, 3), &status);
    return (int)status;
}

static void check_guard(bench *b, const char *what, const char *send, int status)
{
    char text[400];
    snprintf(text, sizeof text, "%sConnection: close\r\nContent-Length: 2\r\n\r\nhi", send);
    raw *r = ask(b, text, NULL);
    CHECK_MSG(status_of(r) == status, "%s: want %d, got %" STR_FMT, what, status, STR_ARG(buf_str(&r->in)));
    CHECK_EQ(raw_has(r, "WWW-Authenticate: Bearer"), status == 401);
    raw_close(r);
}

TEST(http_server_guards)
{
    bench b;
    bench_open(&b, (http_server_options){ .token = STR("secret") });
    for (size_t i = 0; i < COUNT_OF(guards); i++)
        check_guard(&b, guards[i].what, guards[i].send, guards[i].status);
    bench_close(&b);

    bench_open(&b, (http_server_options){ .listen = "0.0.0.0:0", .insecure = true, .token = STR("secret") });
    check_guard(&b, "a local write door needs the token beyond loopback", "POST /write HTTP/1.1\r\nHost: localhost\r\n",
                401);
    check_guard(&b, "and takes it", "POST /write HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n", 200);
    bench_close(&b);

    bench_open(&b, (http_server_options){ .external_url = "https://Galen.example:8443/sub" });
    check_guard(&b, "the name people know us by", "GET /hello HTTP/1.1\r\nHost: galen.example\r\n", 200);
    check_guard(&b, "and no other", "GET /hello HTTP/1.1\r\nHost: example\r\n", 403);
    bench_close(&b);

    bench_open(&b, (http_server_options){ 0 });
    check_guard(&b, "without any token nothing can be changed", "POST /change HTTP/1.1\r\nHost: localhost\r\n", 403);
    check_guard(&b, "not with an empty one either",
                "POST /change HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \r\n", 403);
    bench_close(&b);
}

/* cors_origin NULL, a pattern, everybody: what a page of https://grafana.example may read. */
static const struct {
    const char *what, *pattern, *send;
    int status;
    const char *allowed;
} origins[] = {
    { "nobody may read unless told so", NULL, "GET /read HTTP/1.1\r\nOrigin: https://grafana.example\r\n", 200, NULL },
    { "everybody may", ".*", "GET /read HTTP/1.1\r\nOrigin: https://grafana.example\r\n", 200, "*" },
    { "also by POST", ".*", "POST /read HTTP/1.1\r\nOrigin: https://grafana.example\r\n", 200, "*" },
    { "a browser asks first", ".*", "OPTIONS /read HTTP/1.1\r\nOrigin: https://grafana.example\r\n", 204, "*" },
    { "who sends no Origin is told nothing", ".*", "GET /read HTTP/1.1\r\n", 200, NULL },
    { "not every route is for reading", ".*", "GET /hello HTTP/1.1\r\nOrigin: https://grafana.example\r\n", 200, NULL },
    { "and a change stays our page's", ".*", "POST /write HTTP/1.1\r\nOrigin: https://grafana.example\r\n", 403, NULL },
    { "the pattern's origin is named", "https://(grafana|page)\\.example", "GET /read HTTP/1.1\r\nOrigin: https://grafana.example\r\n", 200, "https://grafana.example" },
    { "another is not, though it gets its answer", "https://grafana\\.example", "GET /read HTTP/1.1\r\nOrigin: https://evil.example\r\n", 200, NULL },
    { "the pattern is anchored", "https://grafana\\.example", "GET /read HTTP/1.1\r\nOrigin: https://grafana.example.evil\r\n", 200, NULL },
    { "another may not read by POST", "https://grafana\\.example", "POST /read HTTP/1.1\r\nOrigin: https://evil.example\r\n", 403, NULL },
    { "rebinding stays refused", ".*", "GET /read HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n", 403, NULL },
};

static void check_origin(size_t i)
{
    bench b;
    char text[400], field[200];
    bool has_host = strstr(origins[i].send, "Host:");
    bench_open(&b, (http_server_options){ .cors_origin = origins[i].pattern });
    snprintf(text, sizeof text, "%s%sConnection: close\r\nContent-Length: 2\r\n\r\nhi", origins[i].send, has_host ? "" : "Host: localhost\r\n");
    raw *r = ask(&b, text, NULL);
    CHECK_MSG(status_of(r) == origins[i].status, "%s: got %" STR_FMT, origins[i].what, STR_ARG(buf_str(&r->in)));
    snprintf(field, sizeof field, "Access-Control-Allow-Origin: %s\r\n", origins[i].allowed ? origins[i].allowed : "");
    CHECK_MSG(raw_has(r, origins[i].allowed ? field : "Access-Control-") == (origins[i].allowed != NULL), "%s: got %" STR_FMT, origins[i].what, STR_ARG(buf_str(&r->in)));
    CHECK_EQ(raw_has(r, "Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n"), origins[i].allowed != NULL);
    raw_close(r);
    bench_close(&b);
}

TEST(http_server_lets_other_pages_read_where_told)
{
    for (size_t i = 0; i < COUNT_OF(origins); i++)
        check_origin(i);
}

TEST(http_server_refuses_a_broken_pattern_of_origins)
{
    uv_loop_t loop;
    http_server *s = NULL;
    err e = { 0 };
    CHECK_EQ(uv_loop_init(&loop), 0);
    CHECK_EQ(http_server_new(&loop, &(http_server_options){ .listen = "127.0.0.1:0", .cors_origin = "(" }, &s, &e), ERR_PARSE);
    CHECK_CONTAINS(str_from(e.message), "pattern of origins");
    CHECK_EQ(uv_loop_close(&loop), 0);
}

TEST(http_server_keeps_alive_and_answers_in_order)
{
    bench b;
    bench_open(&b, (http_server_options){ 0 });
    raw *r = ask(&b, "GET /hello HTTP/1.1\r\n" H "\r\n", "hello");
    raw_send(r, "GET /nope HTTP/1.1\r\n" H "\r\n");
    RUN_UNTIL(&b, raw_has(r, "404"));
    raw_send(r, "GET /hello HTTP/1.1\r\n" H "\r\nPOST /park HTTP/1.1\r\n" H
                "Content-Length: 3\r\n\r\nabcGET /fail HTTP/1.1\r\n" H "\r\nGET /hello HTTP/1.1\r\n" H
                "Connection: close\r\n\r\n");
    RUN_UNTIL(&b, b.parked && raw_count(r, "\r\n\r\nhello") == 2);
    CHECK_EQ(raw_count(r, "Look elsewhere"), 0); /* waits for the parked one */
    CHECK_STR(b.parked->body, "abc");
    http_reply(b.parked, 200, NULL, STR("parked"));
    RUN_UNTIL(&b, r->ended);
    CHECK_EQ(raw_count(r, "HTTP/1.1 "), 6);
    CHECK(str_find(buf_str(&r->in), STR("parked")) < str_find(buf_str(&r->in), STR("Look elsewhere")));
    CHECK_EQ(b.hits, 3);
    CHECK_EQ(b.gone, 0);
    raw_close(r);
    bench_close(&b);
}

TEST(http_server_survives_junk_behind_a_request_that_takes_its_time)
{
    static const char *const behind[] = { "junk\r\n\r\nand more", "GET /hello HTTP/1.1\r\n" H "Connection: close\r\n\r\nand more" };
    for (size_t i = 0; i < COUNT_OF(behind); i++) {
        bench b;
        bench_open(&b, (http_server_options){ 0 });
        raw *r = raw_open(&b);
        raw_send(r, "GET /park HTTP/1.1\r\n" H "\r\n");
        raw_send(r, behind[i]);
        RUN_UNTIL(&b, b.parked);
        uv_run(&b.loop, UV_RUN_NOWAIT); /* the rest is read and waits */
        http_reply(b.parked, 200, NULL, STR("parked"));
        RUN_UNTIL(&b, r->ended);
        CHECK_EQ(raw_count(r, "HTTP/1.1 "), 2);
        raw_close(r);
        bench_close(&b);
    }
}

TEST(http_server_answers_a_client_that_shut_its_side_after_pipelining)
{
    bench b;
    uv_shutdown_t shut;
    bench_open(&b, (http_server_options){ 0 });
    raw *r = raw_open(&b);
    raw_send(r, "GET /large HTTP/1.1\r\n" H "\r\nGET /hello HTTP/1.1\r\n" H "\r\n");
    uv_shutdown(&shut, (uv_stream_t *)&r->tcp, NULL);
    RUN_UNTIL(&b, r->ended);
    CHECK(raw_has(r, "\r\n\r\nhello"));
    CHECK(r->in.len > 8u << 20);
    raw_close(r);
    bench_close(&b);
}

TEST(http_server_reads_parameters_of_the_path_decoded)
{
    bench b;
    bench_open(&b, (http_server_options){ 0 });
    raw_close(ask(&b, "GET /%6Cabel/a%2Fb%20c/values HTTP/1.1\r\n" H "Connection: close\r\n\r\n", NULL));
    CHECK_STR(str_from(b.seen), "a/b c");
    bench_close(&b);
}

TEST(http_server_head_has_no_body)
{
    bench b;
    bench_open(&b, (http_server_options){ 0 });
    raw *r = ask(&b, "HEAD /hello HTTP/1.1\r\n" H "Connection: close\r\n\r\n", NULL);
    CHECK(raw_has(r, "Content-Length: 5\r\n"));
    CHECK(!raw_has(r, "hello"));
    raw_close(r);
    bench_close(&b);
}

TEST(http_server_gzips_what_is_large_for_who_takes_it)
{
    bench b;
    bench_open(&b, (http_server_options){ 0 });
    raw *r = ask(&b, "GET /large HTTP/1.1\r\n" H "Accept-Encoding: br, gzip;q=0.8\r\nConnection: close\r\n\r\n", NULL);
    CHECK(raw_has(r, "Content-Encoding: gzip\r\n") && raw_has(r, "Vary: Accept-Encoding\r\n"));
    CHECK(r->in.len < 100000);
    raw_close(r);
    r = ask(&b, "GET /large HTTP/1.1\r\n" H "Accept-Encoding: gzip;q=0, *\r\nConnection: close\r\n\r\n", NULL);
    CHECK(!raw_has(r, "Content-Encoding"));
    CHECK(r->in.len > 8u << 20); /* also: a reply larger than any socket buffer arrives whole */
    raw_close(r);
    r = ask(&b, "GET /hello HTTP/1.1\r\n" H "Accept-Encoding: gzip\r\nConnection: close\r\n\r\n", NULL);
    CHECK(!raw_has(r, "Content-Encoding"));
    raw_close(r);
    bench_close(&b);
}

/* ---- limits and time ---- */

TEST(http_server_gives_up_on_slow_clients)
{
    bench b;
    bench_open(&b, (http_server_options){ .header_timeout_ms = 40, .body_timeout_ms = 40, .idle_timeout_ms = 40 });
    raw *r = ask(&b, "GET /hello HTTP/1.1\r\nHo", NULL);
    CHECK_EQ(status_of(r), 408);
    raw_close(r);
    r = ask(&b, "POST /echo HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nab", NULL);
    CHECK_EQ(status_of(r), 408);
    raw_close(r);
    r = ask(&b, "GET /hello HTTP/1.1\r\n" H "\r\n", NULL); /* idle: closed without a word */
    CHECK_EQ(raw_count(r, "HTTP/1.1"), 1);
    raw_close(r);
    r = ask(&b, "", NULL);
    CHECK_EQ(r->in.len, 0);
    raw_close(r);
    bench_close(&b);
}

typedef struct drip {
    raw *to;
    unsigned sent;
} drip;

static void drip_one(void *ctx)
{
    drip *d = ctx;
    uv_buf_t bytes = uv_buf_init((char[]){ "a" }, 1);
    if (uv_try_write((uv_stream_t *)&d->to->tcp, &bytes, 1) == 1)
        d->sent++;
}

TEST(http_server_is_not_impressed_by_a_byte_now_and_then)
{
    bench b;
    bench_open(&b, (http_server_options){ .header_timeout_ms = 50 });
    drip d = { raw_open(&b), 0 };
    raw_send(d.to, "GET /hello HTTP/1.1\r\nX: ");
    net_timer *t = net_timer_start(&b.loop, 5, 5, drip_one, &d);
    RUN_UNTIL(&b, d.to->ended);
    CHECK_EQ(status_of(d.to), 408);
    CHECK(d.sent < 60);
    net_timer_stop(t);
    raw_close(d.to);
    bench_close(&b);
}

TEST(http_server_turns_away_connections_beyond_its_limit)
{
    bench b;
    bench_open(&b, (http_server_options){ .max_connections = 1 });
    raw *first = ask(&b, "GET /hello HTTP/1.1\r\n" H "\r\n", "hello");
    raw *second = ask(&b, "", NULL);
    CHECK(raw_has(second, "503 Service Unavailable"));
    raw_close(second);
    raw_close(first);
    RUN_UNTIL(&b, b.hits == 1);
    bench_close(&b);
}

TEST(http_server_holds_no_more_than_so_much_of_all_bodies)
{
    bench b;
    enum { CROWD = 5 };
    raw *r[CROWD];
    static char part[1000001];
    bench_open(&b, (http_server_options){ .max_bodies_bytes = 4u << 20 });
    memset(part, 'x', sizeof part - 1);
    for (int i = 0; i < CROWD; i++) {
        r[i] = raw_open(&b);
        raw_send(r[i], "POST /park HTTP/1.1\r\n" H "Content-Length: 1048576\r\n\r\n");
        raw_write(r[i], part);
        for (int k = 0; k < 2000 && (i < 4 || !r[i]->ended); k++)
            uv_run(&b.loop, UV_RUN_NOWAIT);
    }
    RUN_UNTIL(&b, r[CROWD - 1]->ended); /* 4 MiB are full; the newest has to go */
    CHECK_EQ(status_of(r[CROWD - 1]), 503);
    CHECK(!r[0]->ended);
    for (int i = 0; i < CROWD; i++)
        raw_close(r[i]);
    bench_close(&b);
}

TEST(http_server_drops_a_client_that_takes_nothing)
{
    bench b;
    bench_open(&b, (http_server_options){ .body_timeout_ms = 30 });
    raw *r = raw_open(&b);
    uv_read_stop((uv_stream_t *)&r->tcp);
    raw_send(r, "GET /large HTTP/1.1\r\n" H "\r\n");
    http_server_close(b.server, 19000, server_closed, &b); /* ends before its grace only if the client was dropped */
    RUN_UNTIL(&b, b.closed);
    raw_close(r);
    bench_close(&b);
}

TEST(http_server_keeps_a_refused_connection_if_the_body_is_small)
{
    bench b;
    bench_open(&b, (http_server_options){ 0 });
    raw *r = ask(&b, "POST /nope HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nbodyGET /hello HTTP/1.1\r\n" H "\r\n",
                 "\r\n\r\nhello");
    CHECK(raw_has(r, "404"));
    raw_close(r);
    bench_close(&b);
}

/* ---- late replies, clients that leave, servers that go ---- */

TEST(http_server_tells_a_handler_that_its_client_has_gone)
{
    bench b;
    bench_open(&b, (http_server_options){ 0 });
    raw *r = raw_open(&b);
    raw_send(r, "GET /park HTTP/1.1\r\n" H "\r\n");
    RUN_UNTIL(&b, b.parked);
    raw_close(r);
    RUN_UNTIL(&b, b.gone == 1);
    CHECK(!b.parked);
    bench_close(&b);
    CHECK_EQ(b.gone, 1);
}

TEST(http_server_takes_a_reply_to_nobody)
{
    bench b;
    bench_open(&b, (http_server_options){ 0 });
    raw *r = raw_open(&b);
    raw_send(r, "GET /deaf HTTP/1.1\r\n" H "\r\n");
    RUN_UNTIL(&b, b.parked);
    raw_close(r);
    for (int i = 0; i < 5; i++)
        uv_run(&b.loop, UV_RUN_NOWAIT);
    http_request *req = b.parked;
    http_server_close(b.server, 0, server_closed, &b);
    RUN_UNTIL(&b, b.closed);
    http_reply(req, 200, NULL, STR("anybody?"));
    bench_close(&b);
}

TEST(http_server_closes_gracefully)
{
    bench b;
    bench_open(&b, (http_server_options){ 0 });
    raw *idle = ask(&b, "GET /hello HTTP/1.1\r\n" H "\r\n", "hello");
    raw *busy = raw_open(&b);
    raw_send(busy, "GET /park HTTP/1.1\r\n" H "\r\n");
    RUN_UNTIL(&b, b.parked);
    http_server_close(b.server, 10000, server_closed, &b);
    RUN_UNTIL(&b, idle->ended);
    CHECK(!b.closed && !busy->ended);
    http_reply(b.parked, 200, NULL, STR("at last"));
    RUN_UNTIL(&b, busy->ended);
    CHECK(raw_has(busy, "at last") && raw_has(busy, "Connection: close"));
    raw_close(busy);
    raw_close(idle);
    RUN_UNTIL(&b, b.closed);
    bench_close(&b);
}

TEST(http_server_does_not_wait_beyond_its_grace)
{
    bench b;
    bench_open(&b, (http_server_options){ 0 });
    raw *busy = raw_open(&b);
    raw_send(busy, "GET /park HTTP/1.1\r\n" H "\r\n");
    RUN_UNTIL(&b, b.parked);
    http_server_close(b.server, 20, server_closed, &b);
    RUN_UNTIL(&b, b.closed);
    CHECK_EQ(b.gone, 1);
    raw_close(busy);
    bench_close(&b);
}

TEST(http_server_may_be_closed_by_its_own_handler)
{
    bench b;
    bench_open(&b, (http_server_options){ 0 });
    raw *r = ask(&b, "GET /closing HTTP/1.1\r\n" H "\r\n", NULL);
    RUN_UNTIL(&b, b.closed);
    raw_close(r);
    bench_close(&b);
}

/* ---- no memory ---- */

/* Whichever allocation fails: the client gets its answer, an honest error or a closed connection, and the next one
 * is served as if nothing had been. */
TEST(http_server_survives_any_failed_allocation)
{
    bool fired = true;
    for (unsigned nth = 0; fired; nth++) {
        bench b;
        bench_open(&b, (http_server_options){ 0 });
        raw *r = raw_open(&b);
        buf_reserve(&r->in, 4096); /* the test's own memory is not what is tested */
        fault_alloc(nth);
        raw_send(r, "POST /form HTTP/1.1\r\n" H
                    "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\nq=a"
                    "GET /label/x/values HTTP/1.1\r\n" H "Connection: close\r\n\r\n");
        RUN_UNTIL(&b, r->ended);
        fired = fault_fired();
        CHECK(fired || (raw_count(r, "200 OK") == 2 && raw_has(r, "q=a")));
        raw_close(r);
        r = ask(&b, "GET /hello HTTP/1.1\r\n" H "Connection: close\r\n\r\n", NULL);
        CHECK(raw_has(r, "200 OK"));
        raw_close(r);
        bench_close(&b);
    }
}
