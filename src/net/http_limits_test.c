/* The server's limits and clocks, its end, and failed allocations. Timeouts here are real and short. */
#include "net/http_test.h"

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
