/* The server's replies and whom it refuses, on a real loop over loopback. */
#include "net/http_test.h"

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
