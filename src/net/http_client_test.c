/* The client against our own server and against peers that misbehave, on one real loop. */
#include "net/net.h"
#include "base/test.h"

#include <stdio.h>
#include <sys/socket.h>

typedef struct answer {
    unsigned calls;
    http_response res;
    err error;
    char body[256], url[256];
    size_t body_len;
} answer;

typedef struct bench {
    uv_loop_t loop;
    http_server *server;
    http_client *client;
    net_timer *guard;
    bool late;
    http_request *parked;
    char got[512];
} bench;

static bench *here;

static void guard_rang(void *ctx) { ((bench *)ctx)->late = true; }

static void handler_show(http_request *req)
{
    AUTO(buf_done) buf out = BUF_INIT(4096);
    str shown[] = { STR("Authorization"), STR("X-Mine"), STR("X-Empty"),
                    STR("Content-Type"),  STR("Expect"), STR("User-Agent") };
    buf_printf(&out, "%d ", req->method);
    buf_append(&out, req->body);
    buf_append_char(&out, ';');
    for (size_t i = 0; i < COUNT_OF(shown); i++) {
        str v = http_header_get(req, shown[i].ptr);
        if (v.ptr)
            buf_printf(&out, "%s=%" STR_FMT ";", shown[i].ptr, STR_ARG(v));
    }
    http_reply(req, 200, "text/plain; charset=utf-8", buf_str(&out));
}

static void handler_zeros(http_request *req)
{
    size_t n = 1u << 20;
    char *text = arena_alloc(req->arena, n);
    http_reply(req, 200, "text/plain", str_of(text, n));
}

static void handler_move(http_request *req)
{
    http_header to = { STR("Location"), STR("/show") };
    http_reply_headers(req, 302, &to, 1, STR(""));
}

static void handler_loop(http_request *req)
{
    http_header to = { STR("Location"), STR("/loop") };
    http_reply_headers(req, 302, &to, 1, STR(""));
}

static void handler_park(http_request *req) { here->parked = req; }

static void bench_open(bench *b)
{
    err e = { 0 };
    *b = (bench){ 0 };
    here = b;
    const http_route routes[] = {
        { HTTP_GET | HTTP_POST | HTTP_PUT, "/show", handler_show, b },
        { HTTP_GET, "/zeros", handler_zeros, b },
        { HTTP_GET, "/move", handler_move, b },
        { HTTP_GET, "/loop", handler_loop, b },
        { HTTP_GET, "/park", handler_park, b },
    };
    uv_loop_init(&b->loop);
    CHECK_OK(http_server_new(&b->loop, &(http_server_options){ .listen = "127.0.0.1:0" }, &b->server, &e), e);
    CHECK_OK(http_server_routes(b->server, routes, COUNT_OF(routes), &e), e);
    CHECK_OK(http_server_listen(b->server, &e), e);
    CHECK_OK(http_client_open(&b->loop, &b->client, &e), e);
    b->guard = net_timer_start(&b->loop, 20000, 0, guard_rang, b);
}

static void bench_close(bench *b)
{
    http_client_close(b->client);
    http_server_close(b->server, 0, NULL, NULL);
    net_timer_stop(b->guard);
    while (uv_run(&b->loop, UV_RUN_ONCE))
        ;
    CHECK_EQ(uv_loop_close(&b->loop), 0);
    if (b->parked)
        http_reply(b->parked, 200, NULL, STR(""));
}

static void answered(void *ctx, const http_response *res)
{
    answer *a = ctx;
    a->calls++;
    a->res = *res;
    a->error = res->error;
    a->body_len = res->body.len;
    str_copy(a->body, sizeof a->body, res->body);
    str_copy(a->url, sizeof a->url, res->effective_url);
}

#define RUN_UNTIL(b, cond)                                                                                             \
    do {                                                                                                               \
        while (!(cond) && !(b)->late)                                                                                  \
            uv_run(&(b)->loop, UV_RUN_ONCE);                                                                           \
        CHECK_MSG(!(b)->late, "hangs while waiting for: %s", #cond);                                                   \
    } while (0)

static answer fetch_port(bench *b, int port, const char *path, http_fetch_options o)
{
    answer a = { 0 };
    char url[256];
    err e = { 0 };
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", port, path);
    o.url = url;
    o.done = answered;
    o.ctx = &a;
    CHECK_OK(http_fetch_start(b->client, &o, NULL, &e), e);
    CHECK_EQ(a.calls, 0); /* never inside http_fetch_start */
    RUN_UNTIL(b, a.calls);
    return a;
}

static answer fetch(bench *b, const char *path, http_fetch_options o)
{
    return fetch_port(b, http_server_port(b->server), path, o);
}

TEST(http_client_sends_what_it_is_told)
{
    bench b;
    bench_open(&b);
    http_header mine[] = { { STR("X-Mine"), STR("a") }, { STR("X-Empty"), STR("") } };
    answer a = fetch(&b, "/show", (http_fetch_options){ .headers = mine, .header_count = 2 });
    CHECK_EQ(a.res.kind, OK);
    CHECK_EQ(a.res.status, 200);
    CHECK_STR(str_from(a.body), "1 ;X-Mine=a;X-Empty=;User-Agent=galen/" GALEN_VERSION ";");
    CHECK(a.res.total_s > 0 && a.res.first_byte_s > 0);
    a = fetch(&b, "/show", (http_fetch_options){ .body = STR("b\0y"), .bearer_token = "t" });
    CHECK_CONTAINS(str_from(a.body), "4 b");
    CHECK_EQ(a.body_len, strlen("4 b.y;Authorization=Bearer t;User-Agent=galen/" GALEN_VERSION ";"));
    a = fetch(&b, "/show",
              (http_fetch_options){ .method = "PUT", .body = STR("x"), .basic_user = "u", .basic_password = "p" });
    CHECK_CONTAINS(str_from(a.body), "8 x;Authorization=Basic dTpw;");
    a = fetch(&b, "/show", (http_fetch_options){ .method = "POST" });
    CHECK_CONTAINS(str_from(a.body), "4 ;User-Agent");
    a = fetch(&b, "/show", (http_fetch_options){ .method = "HEAD" });
    CHECK(a.res.status == 200 && a.body_len == 0);
    a = fetch(&b, "/nope", (http_fetch_options){ 0 });
    CHECK(a.res.kind == OK && a.res.status == 404);
    a = fetch(&b, "/move", (http_fetch_options){ 0 });
    CHECK_EQ(a.res.status, 302);
    a = fetch(&b, "/move", (http_fetch_options){ .follow_redirects = true });
    CHECK_EQ(a.res.status, 200);
    CHECK_CONTAINS(str_from(a.url), "/show");
    a = fetch(&b, "/loop", (http_fetch_options){ .follow_redirects = true });
    CHECK_EQ(a.res.kind, ERR_LIMIT);
    bench_close(&b);
}

TEST(http_client_cuts_long_answers_off)
{
    bench b;
    bench_open(&b);
    answer a = fetch(&b, "/zeros", (http_fetch_options){ .max_body = 1u << 20 }); /* came in gzip: 1 KB on the wire */
    CHECK(a.res.kind == OK && a.body_len == 1u << 20);
    a = fetch(&b, "/zeros", (http_fetch_options){ .max_body = (1u << 20) - 1 });
    CHECK_EQ(a.res.kind, ERR_LIMIT);
    CHECK_CONTAINS(str_from(a.error.message), "1048575 bytes");
    bench_close(&b);
}

static err_kind count_piece(void *ctx, str piece)
{
    ((answer *)ctx)->body_len += piece.len;
    return OK;
}

static err_kind refuse_piece(void *ctx, str piece)
{
    UNUSED(ctx);
    UNUSED(piece);
    return ERR_FULL;
}

static void answered_count(void *ctx, const http_response *res)
{
    answer *a = ctx;
    a->calls++;
    a->error = res->error;
    a->res = *res;
}

TEST(http_client_hands_pieces_on)
{
    bench b;
    answer a = { 0 }, r = { 0 };
    char url[64];
    bench_open(&b);
    snprintf(url, sizeof url, "http://localhost:%d/zeros", http_server_port(b.server));
    CHECK_EQ(
        http_fetch_start(b.client,
                         &(http_fetch_options){ .url = url, .on_data = count_piece, .done = answered_count, .ctx = &a },
                         NULL, NULL),
        OK);
    CHECK_EQ(http_fetch_start(
                 b.client,
                 &(http_fetch_options){ .url = url, .on_data = refuse_piece, .done = answered_count, .ctx = &r }, NULL,
                 NULL),
             OK);
    RUN_UNTIL(&b, a.calls && r.calls);
    CHECK_EQ(a.body_len, 1u << 20);
    CHECK(a.res.kind == OK && a.res.body.len == 0);
    CHECK_EQ(r.res.kind, ERR_CANCELED);
    bench_close(&b);
}

/* ---- peers that misbehave ---- */

typedef struct peer {
    uv_tcp_t listener, tcp;
    const char *say; /* once a request came; NULL: never a word */
    bool endless, close_after;
    int port;
    char room[4096];
} peer;

static void peer_room(uv_handle_t *h, size_t wish, uv_buf_t *ret)
{
    peer *p = h->data;
    UNUSED(wish);
    *ret = uv_buf_init(p->room, sizeof p->room);
}

static void peer_wrote(uv_write_t *w, int status)
{
    peer *p = w->data;
    static char more[4096];
    memset(more, 'x', sizeof more);
    uv_buf_t bytes = uv_buf_init(more, sizeof more);
    if (status || !p->endless || uv_write(w, (uv_stream_t *)&p->tcp, &bytes, 1, peer_wrote))
        mem_free(w);
}

static void peer_read(uv_stream_t *s, ssize_t n, const uv_buf_t *room)
{
    peer *p = s->data;
    UNUSED(room);
    if (n < 0 || !p->say)
        return;
    uv_buf_t bytes = uv_buf_init((char *)(uintptr_t)p->say, (unsigned)strlen(p->say));
    uv_write_t *w = mem_zalloc(sizeof *w);
    w->data = p;
    uv_write(w, s, &bytes, 1, peer_wrote);
    if (p->close_after)
        uv_close((uv_handle_t *)s, NULL);
}

static void peer_knock(uv_stream_t *listener, int status)
{
    peer *p = listener->data;
    UNUSED(status);
    uv_tcp_init(listener->loop, &p->tcp);
    p->tcp.data = p;
    uv_accept(listener, (uv_stream_t *)&p->tcp);
    uv_read_start((uv_stream_t *)&p->tcp, peer_room, peer_read);
}

static void peer_open(bench *b, peer *p)
{
    struct sockaddr_in at;
    int size = sizeof at;
    uv_ip4_addr("127.0.0.1", 0, &at);
    uv_tcp_init(&b->loop, &p->listener);
    p->listener.data = p;
    uv_tcp_bind(&p->listener, (struct sockaddr *)&at, 0);
    uv_listen((uv_stream_t *)&p->listener, 5, peer_knock);
    uv_tcp_getsockname(&p->listener, (struct sockaddr *)&at, &size);
    p->port = ntohs(at.sin_port);
}

static void peer_close(peer *p)
{
    uv_close((uv_handle_t *)&p->listener, NULL);
    if (p->tcp.data && !uv_is_closing((uv_handle_t *)&p->tcp))
        uv_close((uv_handle_t *)&p->tcp, NULL);
}

static const struct {
    const char *what, *say;
    bool endless, close_after;
    err_kind kind;
    const char *message;
} bad_peers[] = {
    { "silence", NULL, false, false, ERR_TIMEOUT, "did not answer within 60 ms" },
    { "an answer that never ends its head", "HTTP/1.1 200 OK\r\n", false, false, ERR_TIMEOUT, "within 60 ms" },
    { "an answer that stops in its body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", false, false, ERR_TIMEOUT,
      "did not end within 60 ms" },
    { "an answer that announces too much", "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\nabc", false, false,
      ERR_LIMIT, "longer than the 100000 bytes" },
    { "an answer that goes on for ever", "HTTP/1.1 200 OK\r\n\r\n", true, false, ERR_LIMIT,
      "longer than the 100000 bytes" },
    { "a field that goes on for ever", "HTTP/1.1 200 OK\r\nX: ", true, false, ERR_LIMIT, "header line" },
    { "garbage", "\xff\xfe\xfd garbage\r\n\r\n", false, true, ERR_PARSE, "not HTTP" },
    { "an answer cut in its body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", false, true, ERR_IO,
      "before it was complete" },
    { "a hang-up", "", false, true, ERR_IO, "without an answer" },
    { "damaged gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", false, true,
      ERR_PARSE, "compression is damaged" },
};

TEST(http_client_says_what_is_wrong_with_a_peer)
{
    for (size_t i = 0; i < COUNT_OF(bad_peers); i++) {
        bench b;
        peer p = { .say = bad_peers[i].say, .endless = bad_peers[i].endless, .close_after = bad_peers[i].close_after };
        bench_open(&b);
        peer_open(&b, &p);
        answer a = fetch_port(&b, p.port, "/",
                              (http_fetch_options){ .timeout_ms = p.endless ? 5000 : 60, .max_body = 100000 });
        CHECK_MSG(a.res.kind == bad_peers[i].kind, "%s: %s: %s", bad_peers[i].what, err_kind_name(a.res.kind),
                  a.error.message);
        CHECK_CONTAINS(str_from(a.error.message), bad_peers[i].message);
        peer_close(&p);
        bench_close(&b);
    }
}

TEST(http_client_tells_silence_on_a_connection_used_again_from_no_connection)
{
    bench b;
    bench_open(&b);
    answer first = fetch(&b, "/show", (http_fetch_options){ 0 });
    CHECK_OK(first.res.kind, first.error);
    answer a = fetch(&b, "/park", (http_fetch_options){ .timeout_ms = 60 });
    CHECK_EQ(a.res.kind, ERR_TIMEOUT);
    CHECK_CONTAINS(str_from(a.error.message), "did not answer within 60 ms");
    bench_close(&b);
}

TEST(http_client_names_a_refused_connection)
{
    bench b;
    bench_open(&b);
    peer p = { 0 };
    peer_open(&b, &p); /* a port that was free a moment ago */
    peer_close(&p);
    uv_run(&b.loop, UV_RUN_NOWAIT);
    answer a = fetch_port(&b, p.port, "/", (http_fetch_options){ 0 });
    CHECK_EQ(a.res.kind, ERR_UNAVAILABLE);
    CHECK_EQ(a.error.sys_errno, ECONNREFUSED);
    CHECK_STR(str_from(a.error.message), "connection refused");
    CHECK_CONTAINS(str_from(a.error.hint), "127.0.0.1:");
    bench_close(&b);
}

TEST(http_client_refuses_bad_orders_at_once)
{
    bench b;
    err e = { 0 };
    bench_open(&b);
    static const char *urls[] = { "", "ftp://x/", "file:///etc/passwd", "http://", "http://a b/", "127.0.0.1" };
    for (size_t i = 0; i < COUNT_OF(urls); i++)
        CHECK_MSG(http_fetch_start(b.client, &(http_fetch_options){ .url = urls[i], .done = answered }, NULL, &e) ==
                      ERR_INVALID,
                  "%s", urls[i]);
    CHECK_EQ(http_fetch_start(b.client, &(http_fetch_options){ .done = answered }, NULL, NULL), ERR_INVALID);
    http_header evil = { STR("X"), STR("a\r\nY: b") };
    CHECK_EQ(http_fetch_start(b.client,
                              &(http_fetch_options){
                                  .url = "http://localhost/", .headers = &evil, .header_count = 1, .done = answered },
                              NULL, &e),
             ERR_INVALID);
    bench_close(&b);
}

/* ---- canceling ---- */

typedef struct plan {
    bench *b;
    http_fetch *self, *other;
    answer again;
    unsigned calls;
    char url[64];
} plan;

static err_kind cancel_both(void *ctx, str piece)
{
    plan *p = ctx;
    UNUSED(piece);
    if (p->self) {
        http_fetch_start(p->b->client, &(http_fetch_options){ .url = p->url, .done = answered, .ctx = &p->again }, NULL,
                         NULL);
        http_fetch_cancel(TAKE(p->self));
        http_fetch_cancel(TAKE(p->other));
    }
    return OK;
}

static void count_done(void *ctx, const http_response *res)
{
    UNUSED(res);
    ((plan *)ctx)->calls++;
}

TEST(http_fetch_may_be_canceled_and_started_inside_callbacks)
{
    bench b;
    bench_open(&b);
    plan p = { .b = &b };
    char park[64];
    snprintf(p.url, sizeof p.url, "http://127.0.0.1:%d/show", http_server_port(b.server));
    snprintf(park, sizeof park, "http://127.0.0.1:%d/park", http_server_port(b.server));
    http_fetch_start(b.client, &(http_fetch_options){ .url = park, .done = count_done, .ctx = &p }, &p.other, NULL);
    RUN_UNTIL(&b, b.parked);
    http_fetch_start(b.client,
                     &(http_fetch_options){ .url = p.url, .on_data = cancel_both, .done = count_done, .ctx = &p },
                     &p.self, NULL);
    RUN_UNTIL(&b, p.again.calls);
    CHECK_EQ(p.again.res.status, 200);
    CHECK_EQ(p.calls, 0);
    bench_close(&b);
}

static void close_all(void *ctx, const http_response *res)
{
    plan *p = ctx;
    UNUSED(res);
    p->calls++;
    http_fetch_cancel(p->self); /* itself, being reported: nothing happens */
    http_client_close(p->b->client);
}

TEST(http_client_may_be_closed_inside_done)
{
    bench b;
    bench_open(&b);
    plan p = { .b = &b };
    char park[64];
    snprintf(p.url, sizeof p.url, "http://127.0.0.1:%d/show", http_server_port(b.server));
    snprintf(park, sizeof park, "http://127.0.0.1:%d/park", http_server_port(b.server));
    http_fetch_start(b.client, &(http_fetch_options){ .url = park, .done = count_done, .ctx = &p }, &p.other, NULL);
    http_fetch_start(b.client, &(http_fetch_options){ .url = p.url, .done = close_all, .ctx = &p }, &p.self, NULL);
    RUN_UNTIL(&b, p.calls);
    CHECK_EQ(p.calls, 1);
    b.client = NULL;
    bench_close(&b);
}

TEST(http_fetch_cancel_before_anything_happened)
{
    bench b;
    bench_open(&b);
    plan p = { .b = &b };
    snprintf(p.url, sizeof p.url, "http://127.0.0.1:%d/show", http_server_port(b.server));
    for (int i = 0; i < 3; i++) {
        http_fetch_start(b.client, &(http_fetch_options){ .url = p.url, .done = count_done, .ctx = &p }, &p.self, NULL);
        for (int k = 0; k < i; k++)
            uv_run(&b.loop, UV_RUN_NOWAIT);
        if (!p.calls)
            http_fetch_cancel(p.self);
    }
    bench_close(&b);
    CHECK(p.calls <= 1);
}

TEST(http_fetch_start_survives_any_failed_allocation)
{
    bench b;
    bench_open(&b);
    plan p = { .b = &b };
    http_header mine = { STR("X-Mine"), STR("a") };
    snprintf(p.url, sizeof p.url, "http://127.0.0.1:%d/show", http_server_port(b.server));
    for (unsigned nth = 0;; nth++) {
        http_fetch_options o = { .url = p.url, .headers = &mine, .header_count = 1, .done = count_done, .ctx = &p };
        fault_alloc(nth);
        err_kind kind = http_fetch_start(b.client, &o, NULL, NULL);
        bool fired = fault_fired();
        CHECK_EQ(kind, fired ? ERR_NOMEM : OK);
        if (!fired)
            break;
    }
    RUN_UNTIL(&b, p.calls == 1);
    bench_close(&b);
}
