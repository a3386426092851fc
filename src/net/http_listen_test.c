/* A server's beginning and end: addresses, tables, no memory. */
#include "net/net.h"
#include "base/test.h"

static void server_closed(void *ctx) { *(bool *)ctx = true; }
static void handler_none(http_request *req) { http_reply(req, 204, NULL, STR("")); }

static err_kind try_listen(uv_loop_t *loop, http_server_options o, err *e)
{
    http_server *s;
    bool closed = false;
    CHECK_EQ(http_server_new(loop, &o, &s, e), OK);
    err_kind kind = http_server_listen(s, e);
    http_server_close(s, 0, server_closed, &closed);
    while (!closed)
        uv_run(loop, UV_RUN_ONCE);
    return kind;
}

TEST(http_server_says_why_it_cannot_listen)
{
    uv_loop_t loop;
    http_server *first;
    err e = { 0 };
    char listen[64], want[128];
    uv_loop_init(&loop);
    CHECK_OK(http_server_new(&loop, &(http_server_options){ .listen = "127.0.0.1:0" }, &first, &e), e);
    CHECK_OK(http_server_listen(first, &e), e);
    snprintf(listen, sizeof listen, "127.0.0.1:%d", http_server_port(first));
    snprintf(want, sizeof want, "could not listen on %s: address already in use", listen);
    CHECK_EQ(try_listen(&loop, (http_server_options){ .listen = listen }, &e), ERR_CONFLICT);
    CHECK_STR(str_from(e.message), want);
    CHECK_CONTAINS(str_from(e.hint), "--listen");
    CHECK_EQ(try_listen(&loop, (http_server_options){ .listen = "0.0.0.0:0" }, &e), ERR_DENIED);
    CHECK_CONTAINS(str_from(e.hint), "insecure: true");
    CHECK_EQ(try_listen(&loop, (http_server_options){ .listen = ":0" }, &e), ERR_DENIED);
    CHECK_EQ(try_listen(&loop, (http_server_options){ .listen = "[::]:0" }, &e), ERR_DENIED);
    static const char *bad[] = { "127.0.0.1", "127.0.0.1:http", "127.0.0.1:70000", "::1:9600", "" };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK_EQ(try_listen(&loop, (http_server_options){ .listen = bad[i] }, &e), ERR_INVALID);
    CHECK_EQ(try_listen(&loop, (http_server_options){ .listen = "localhost:0" }, &e), OK);
    CHECK_EQ(try_listen(&loop, (http_server_options){ .listen = "203.0.113.7:9600", .insecure = true }, &e),
             ERR_INVALID);
    http_server_close(first, 0, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_EQ(uv_loop_close(&loop), 0);
}

TEST(http_server_routes_refuses_what_is_there)
{
    uv_loop_t loop;
    http_server *s;
    err e = { 0 };
    uv_loop_init(&loop);
    CHECK_OK(http_server_new(&loop, &(http_server_options){ .listen = "127.0.0.1:0" }, &s, &e), e);
    CHECK_EQ(http_server_routes(s, &(http_route){ HTTP_GET, "/a/:b", handler_none, NULL }, 1, &e), OK);
    CHECK_EQ(http_server_routes(s, &(http_route){ HTTP_GET, "/a/:b", handler_none, NULL }, 1, &e), ERR_EXISTS);
    CHECK_EQ(http_server_routes(s, &(http_route){ HTTP_POST, "/a/:b", handler_none, NULL }, 1, &e), OK);
    CHECK_EQ(http_server_routes(s, &(http_route){ HTTP_GET, "/:a/:b/:c/:d/:e", handler_none, NULL }, 1, &e),
             ERR_INVALID);
    CHECK_EQ(http_server_routes(s, &(http_route){ HTTP_GET, "a", handler_none, NULL }, 1, &e), ERR_INVALID);
    http_server_close(s, 0, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_EQ(uv_loop_close(&loop), 0);
}

TEST(http_server_new_survives_any_failed_allocation)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    for (unsigned nth = 0;; nth++) {
        http_server *s = NULL;
        const http_route route = { HTTP_GET, "/hello", handler_none, NULL };
        fault_alloc(nth);
        err_kind kind =
            http_server_new(&loop, &(http_server_options){ .listen = "127.0.0.1:0", .token = STR("t") }, &s, NULL);
        if (!kind)
            kind = http_server_routes(s, &route, 1, NULL);
        bool fired = fault_fired();
        CHECK_EQ(kind, fired ? ERR_NOMEM : OK);
        http_server_close(s, 0, NULL, NULL);
        uv_run(&loop, UV_RUN_DEFAULT);
        if (!fired)
            break;
    }
    CHECK_EQ(uv_loop_close(&loop), 0);
}
