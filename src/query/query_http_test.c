/* The pages as a client meets them, over loopback on a real loop. */
#include "base/test.h"
#include "net/net.h"
#include "metric/metric.h"
#include "query/api.h"
#include <snappy-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

typedef struct bench {
    uv_loop_t loop;
    net_poster *poster;
    http_server *server;
    http_client *client;
    store *store;
    query_engine *engine;
    query_http *http;
    bool answered, closed;
    int status;
    char body[8192];
    size_t body_len;
    bool packed;
} bench;

static void add_sample(bench *b, const char *name, const char *job_name, double v)
{
    label at[] = { { METRIC_NAME, str_from(name) }, { STR("job"), str_from(job_name) } };
    sample_row row = { .labels = { at, 2 }, .t_ms = 1000000, .v = v };
    err e = { 0 };
    CHECK_OK(store_append(b->store, &row, 1, NULL, &e), e);
}

static void bench_open(bench *b)
{
    err e = { 0 };
    store_recovery recovery;
    store_options so = { .dir = test_dir(), .retention_ms = INT64_C(3153600000000) };
    http_server_options ho = { .listen = "127.0.0.1:0", .token = STR("sesame") };
    *b = (bench){ 0 };
    CHECK_EQ(uv_loop_init(&b->loop), 0);
    CHECK_OK(store_open(&so, &b->store, &recovery, &e), e);
    CHECK((b->engine = query_engine_new(b->store, NULL)));
    CHECK_OK(net_poster_open(&b->loop, &b->poster, &e), e);
    CHECK_OK(http_server_new(&b->loop, &ho, &b->server, &e), e);
    CHECK_OK(query_http_open(b->engine, b->store, b->server, b->poster, 2, &b->http, &e), e);
    CHECK_OK(http_server_listen(b->server, &e), e);
    CHECK_OK(http_client_open(&b->loop, &b->client, &e), e);
    label info[] = { { METRIC_NAME, STR("watch_engine_info") }, { STR("engine"), STR("llama.cpp") }, { STR("job"), STR("l") } };
    sample_row row = { .labels = { info, 3 }, .t_ms = 1000000, .v = 1 };
    CHECK_OK(store_append(b->store, &row, 1, NULL, &e), e);
    add_sample(b, "llamacpp:requests_processing", "l", 2);
    add_sample(b, "up", "x", 1);
    add_sample(b, "up", "y", 0);
    add_sample(b, "gone", "x", 5);
}

static void on_closed(void *ctx) { ((bench *)ctx)->closed = true; }

static void bench_close(bench *b)
{
    http_client_close(b->client);
    query_http_close(b->http);
    http_server_close(b->server, 0, on_closed, b);
    while (!b->closed)
        uv_run(&b->loop, UV_RUN_ONCE);
    net_poster_close(b->poster);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    CHECK_EQ(uv_loop_close(&b->loop), 0);
    query_engine_free(b->engine);
    store_close(b->store, NULL);
}

static void on_answer(void *ctx, const http_response *res)
{
    bench *b = ctx;
    b->answered = true;
    b->status = res->status;
    b->body_len = MIN(res->body.len, sizeof b->body - 1);
    memcpy(b->body, res->body.ptr ? res->body.ptr : "", b->body_len);
    b->body[b->body_len] = '\0';
}

/* Sanitizers on a busy machine: the client's own 10 s are too few for the tallest expression. */
#define PATIENCE_MS 100000

static http_fetch *send_form(bench *b, const char *path, str form)
{
    static const http_header form_type = { STR_INIT("Content-Type"), STR_INIT("application/x-www-form-urlencoded") };
    char url[400];
    http_fetch *fetch = NULL;
    err e = { 0 };
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", http_server_port(b->server), path);
    b->answered = false;
    CHECK_OK(http_fetch_start(b->client, &(http_fetch_options){ .url = url, .body = form, .timeout_ms = PATIENCE_MS, .headers = &form_type, .header_count = form.ptr != NULL, .done = on_answer, .ctx = b }, &fetch, &e), e);
    return fetch;
}

static http_fetch *ask(bench *b, const char *path) { return send_form(b, path, STR_EMPTY); }

static void get(bench *b, const char *path)
{
    ask(b, path);
    while (!b->answered)
        uv_run(&b->loop, UV_RUN_ONCE);
}

static const struct { const char *path; int status; const char *want; } pages[] = {
    { "/api/v1/query?query=up&time=1000", 200, "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{\"__name__\":\"up\",\"job\":\"x\"},\"value\":[1000,\"1\"]}" },
    { "/api/v1/query?query=1%2B1&time=1970-01-01T00:00:10Z", 200, "\"result\":[10,\"2\"]" },
    { "/api/v1/query?query=up&time=1000&limit=1", 200, "\"warnings\":[\"results truncated due to limit\"]" },
    { "/api/v1/query?query=rate(up[5m])&time=1000&stats=all", 200, "\"totalQueryableSamples\":2,\"peakSamples\":" },
    { "/api/v1/query?query=up&time=1000&stats=1", 200, "\"totalQueryableSamples\":2,\"peakSamples\":2}}}" },
    { "/api/v1/query_range?query=sum(up)&start=1000&end=1030&step=15&stats=all", 200, "\"totalQueryableSamplesPerStep\":[[1000,2],[1015,2],[1030,2]]}}" },
    { "/api/galen/v1/query/explain?query=sum(up)&time=1000", 200, "\"nodes\":[{\"depth\":0,\"kind\":\"aggregation\",\"expr\":\"sum(up)\"," },
    { "/api/galen/v1/query/explain?query=sum(up)&start=1000&end=1030&step=15", 200, "\"steps\":3,\"series\":1,\"samples\":6," },
    { "/api/v1/query?query=up&time=1000&tier=2d", 400, "2d\\\" is none of auto, raw, 5m, 1h" },
    { "/api/v1/query?query=up&time=1000&tier=raw", 200, "\"value\":[1000,\"1\"]" },
    { "/api/galen/v1/query/explain?query=sum(up)&time=1000", 200, "\"sources\":[{\"path\":\"head\",\"tier\":\"raw\",\"series\":2," },
    { "/api/galen/v1/query/explain?query=sum(up", 400, "\"errorType\":\"bad_data\"" },
    { "/api/galen/v1/query/explain?query=sum(up)&step=15", 400, "invalid parameter \\\"start\\\"" },
    { "/api/v1/query?query=up&time=1400&lookback_delta=10m", 200, "\"job\":\"y\"" },
    { "/api/v1/query", 400, "\"error\":\"invalid parameter \\\"query\\\": 1:1: parse error: no expression found in input\"" },
    { "/api/v1/query?query=foo{", 400, "\"errorType\":\"bad_data\",\"error\":\"invalid parameter \\\"query\\\": 1:5: parse error: unexpected end of input inside braces\"" },
    { "/api/v1/query?query=1&time=abc", 400, "invalid parameter \\\"time\\\": cannot parse \\\"abc\\\" to a valid timestamp" },
    { "/api/v1/query?query=up%2Bon()up&time=1000", 422, "\"errorType\":\"execution\"" },
    { "/api/v1/query_range?query=up&start=1000&end=1030&step=15", 200, "\"values\":[[1000,\"1\"],[1015,\"1\"],[1030,\"1\"]]" },
    { "/api/v1/query_range?query=up&start=1000&end=1030", 400, "invalid parameter \\\"step\\\": cannot parse \\\"\\\" to a valid duration" },
    { "/api/v1/query_range?query=up&start=1000&end=999&step=1", 400, "end timestamp must not be before start time" },
    { "/api/v1/query_range?query=up&start=0&end=11001&step=1", 400, "exceeded maximum resolution of 11,000 points" },
    { "/api/v1/series?match[]=up&match[]={job=\"x\"}", 200, "\"data\":[{\"__name__\":\"gone\",\"job\":\"x\"},{\"__name__\":\"up\",\"job\":\"x\"},{\"__name__\":\"up\",\"job\":\"y\"}]}" },
    { "/api/v1/series", 400, "no match[] parameter provided" },
    { "/api/v1/series?match[]=up&match[]={job=", 400, "invalid parameter \\\"match[]\\\": 1:6: parse error" },
    { "/api/v1/labels?match[]={job=\"\"}", 400, "match[] must contain at least one non-empty matcher" },
    { "/api/v1/format_query?query=a/", 400, "invalid parameter \\\"query\\\": 1:3: parse error" },
    { "/api/v1/labels", 200, "\"data\":[\"__name__\",\"engine\",\"job\"]" },
    { "/api/v1/series?match[]=llm_requests_running", 200, "\"data\":[]" },
    { "/api/v1/series?match[]=llm_requests_running&views=1", 200, "\"data\":[{\"__name__\":\"llm_requests_running\",\"engine\":\"llama.cpp\",\"job\":\"l\"}]" },
    { "/api/v1/label/__name__/values?views=1", 200, "\"data\":[\"gone\",\"llamacpp:requests_processing\",\"llm_requests_running\",\"up\",\"watch_engine_info\"]" },
    { "/api/v1/label/job/values?match[]=gone", 200, "\"data\":[\"x\"]" },
    { "/api/v1/label/U__job/values", 200, "\"data\":[\"l\",\"x\",\"y\"]" },
    { "/api/v1/format_query?query=a/b", 200, "\"data\":\"a / b\"" },
    { "/api/v1/parse_query?query=a/b", 200, "\"type\":\"binaryExpr\"" },
    { "/api/v1/query_exemplars?query=up", 200, "\"data\":[]" },
    { "/api/v1/query_exemplars?query=sum(rate(up{job=~\"x|y\"}[5m]))/max_over_time(gone[1m:1s])", 200, "\"data\":[]" },
    { "/api/v1/query_exemplars?query=1", 200, "\"data\":[]" },
    { "/api/v1/query_exemplars?query=up{a=~\"(\"}", 400, "parse error" },
    { "/api/v1/query_exemplars?query=up&start=2&end=1", 400, "end timestamp must not be before start timestamp" },
    { "/api/v1/status/buildinfo", 200, "\"version\":" },
    { "/api/v1/status/runtimeinfo", 200, "\"storageRetention\":" },
    { "/api/v1/notifications", 200, "\"data\":[]" },
    { "/api/v1/status/flags", 200, "\"data\":{}" },
    { "/api/v1/status/tsdb", 200, "\"numSeries\":5" },
    { "/api/v1/status/tsdb?limit=1", 200, "\"seriesCountByMetricName\":[{\"name\":\"up\",\"value\":2}]," },
    { "/api/v1/status/tsdb?limit=0", 400, "limit must be a positive number" },
    { "/api/v1/status/tsdb?limit=x", 400, "limit must be a positive number" },
    { "/api/v1/status/tsdb?limit=10001", 400, "limit must not exceed 10000" },
    { "/api/galen/v1/store?limit=1", 200, "\"refused_total\":0,\"top\":{\"metric\":[{\"name\":\"up\",\"value\":2}]," },
    { "/api/galen/v1/store?limit=x", 400, "limit must be a positive number" },
};

/* libcurl takes no raw braces, quotes or brackets. */
static void get_raw(bench *b, const char *raw)
{
    char path[300];
    size_t n = 0;
    for (const char *c = raw; *c; c++)
        n += (size_t)snprintf(path + n, sizeof path - n, strchr("{}\"[]", *c) ? "%%%02X" : "%c", (unsigned)*c);
    get(b, path);
}

TEST(query_http_answers_as_prometheus_does)
{
    bench b;
    bench_open(&b);
    for (size_t i = 0; i < COUNT_OF(pages); i++) {
        get_raw(&b, pages[i].path);
        CHECK_MSG(b.status == pages[i].status, "%s: status %d: %s", pages[i].path, b.status, b.body);
        CHECK_MSG(strstr(b.body, pages[i].want), "%s: %s", pages[i].path, b.body);
    }
    bench_close(&b);
}

/* Whatever stack the process' limits give to a thread. */
TEST(query_http_takes_the_tallest_expression)
{
    bench b;
    AUTO(buf_done) buf form = BUF_INIT(1u << 20);
    struct rlimit before, unlimited;
    CHECK_EQ(getrlimit(RLIMIT_STACK, &before), 0);
    unlimited = (struct rlimit){ before.rlim_max, before.rlim_max };
    CHECK_EQ(setrlimit(RLIMIT_STACK, &unlimited), 0);
    bench_open(&b);
    buf_append(&form, STR("query="));
    for (int i = 0; i < 2990; i++)
        buf_append(&form, STR("1%2B"));
    buf_append(&form, STR("up&time=1000"));
    static const struct { const char *path; int status; } asks[] = { { "/api/v1/query", 200 }, { "/api/v1/format_query", 422 } };
    for (size_t i = 0; i < COUNT_OF(asks); i++) {
        send_form(&b, asks[i].path, buf_str(&form));
        while (!b.answered)
            uv_run(&b.loop, UV_RUN_ONCE);
        CHECK_MSG(b.status == asks[i].status, "%s: status %d: %s", asks[i].path, b.status, b.body);
    }
    CHECK_CONTAINS(str_from(b.body), "too large for one reply"); /* and not cut off in its middle */
    bench_close(&b);
    CHECK_EQ(setrlimit(RLIMIT_STACK, &before), 0);
}

/* A query that would run for minutes: 36 000 steps, each the median of 36 000 samples. */
#define HEAVY "/api/v1/query?query=max_over_time(quantile_over_time(0.5,vector(time())%5B10h:1s%5D)%5B10h:1s%5D)&time=1000"

TEST(query_http_forgets_a_client_that_went_away)
{
    bench b;
    bench_open(&b);
    http_fetch *fetch = ask(&b, HEAVY);
    for (int i = 0; i < 20; i++)
        uv_run(&b.loop, UV_RUN_NOWAIT);
    CHECK(!b.answered);
    http_fetch_cancel(fetch);
    get(&b, "/api/v1/query?query=1&time=1"); /* the other thread, then the freed one, still answer */
    CHECK_EQ(b.status, 200);
    get(&b, "/api/v1/query?query=2&time=1");
    CHECK_EQ(b.status, 200);
    bench_close(&b);
}

TEST(query_http_closes_while_queries_run)
{
    bench b;
    bench_open(&b);
    for (int i = 0; i < 4; i++)
        ask(&b, HEAVY);
    for (int i = 0; i < 20; i++)
        uv_run(&b.loop, UV_RUN_NOWAIT);
    bench_close(&b);
}

/* ---- /federate ---- */

static void add_now(bench *b, const char *name, const char *label_name, const char *value, int64_t age_ms, double v)
{
    label at[] = { { METRIC_NAME, str_from(name) }, { str_from(label_name), str_from(value) } };
    sample_row row = { .labels = { at, 2 }, .t_ms = clock_now_ms() - age_ms, .v = v };
    err e = { 0 };
    CHECK_OK(store_append(b->store, &row, 1, NULL, &e), e);
}

static const label here[] = { { STR_INIT("job"), STR_INIT("mine") }, { STR_INIT("region"), STR_INIT("here") } };

static void say_external(bench *b)
{
    query_about about = { .external_labels = { here, 2 } };
    query_http_about(b->http, &about);
}

TEST(federate_shows_the_newest_samples_with_external_labels)
{
    bench b;
    char want[300];
    bench_open(&b);
    say_external(&b);
    clock_fake(1763712930000);
    add_now(&b, "fresh", "job", "x", 60000, 1);
    add_now(&b, "fresh", "job", "x", 1000, 2);
    add_now(&b, "fresh", "instance", "i\"1\\\n", 1000, 3);
    add_now(&b, "ended", "job", "x", 2000, 1);
    add_now(&b, "ended", "job", "x", 1000, stale_nan());
    add_now(&b, "a.b", "c-d", "x", 1000, 0.5);
    get_raw(&b, "/federate?match[]={__name__=~\"fresh|ended|up|a.b\"}&match[]=fresh");
    CHECK_EQ(b.status, 200);
    snprintf(want, sizeof want, "# TYPE a_b untyped\na_b{c_d=\"x\",job=\"mine\",region=\"here\",instance=\"\"} 0.5 %" PRId64 "\n"
             "# TYPE fresh untyped\nfresh{instance=\"i\\\"1\\\\\\n\",job=\"mine\",region=\"here\"} 3 %" PRId64 "\n"
             "fresh{job=\"x\",region=\"here\",instance=\"\"} 2 %" PRId64 "\n", clock_now_ms() - 1000, clock_now_ms() - 1000, clock_now_ms() - 1000);
    CHECK_STR(str_from(b.body), want); /* up is old, ended has ended */
    get_raw(&b, "/federate?match[]=fresh{");
    CHECK_EQ(b.status, 400);
    CHECK_CONTAINS(str_from(b.body), "1:7: parse error");
    get_raw(&b, "/federate");
    CHECK_EQ(b.status, 200);
    CHECK_STR(str_from(b.body), "");
    clock_real();
    bench_close(&b);
}

/* ---- /api/v1/read ---- */

/* Straight to the page's work: libcurl refuses an answer in snappy. */
static void ask_read(bench *b, str message, bool packed)
{
    char room[4096];
    size_t size = sizeof room;
    CHECK_EQ(snappy_compress(message.ptr, message.len, room, &size), SNAPPY_OK);
    job j = { .http = b->http, .arena = ARENA_INIT(1u << 20), .body = BUF_INIT(1u << 20), .external = { here, 2 },
              .request_body = packed ? str_of(room, size) : message };
    run_remote_read(&j);
    b->status = j.status;
    b->body_len = MIN(j.body.len, sizeof b->body - 1);
    memcpy(b->body, j.body.ptr, b->body_len);
    b->body[b->body_len] = '\0';
    b->packed = j.content_encoding && strcmp(j.content_encoding, "snappy") == 0;
    buf_done(&j.body);
    arena_done(&j.arena);
}

static void ask_series(bench *b, const prompb_matcher *m, size_t n, bool chunks)
{
    AUTO(buf_done) buf out = BUF_INIT(1u << 16);
    prompb_query q = { .from_ms = 0, .to_ms = 2000000, .matchers = (prompb_matcher *)(uintptr_t)m, .matcher_count = n };
    prompb_read_request r = { .queries = &q, .query_count = 1, .accepts_chunks = chunks, .accepts_samples = true };
    prompb_put_read_request(&out, &r);
    ask_read(b, buf_str(&out), true);
}

TEST(remote_read_answers_with_samples)
{
    static const prompb_matcher m[] = { { PROMPB_EQ, STR_INIT("__name__"), STR_INIT("up") }, { PROMPB_RE, STR_INIT("job"), STR_INIT("x|z") },
                                        { PROMPB_EQ, STR_INIT("region"), STR_INIT("here") } };
    bench b;
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    char plain[4096];
    size_t size = sizeof plain, n;
    prompb_result *results;
    err e = { 0 };
    bench_open(&b);
    ask_series(&b, m, 3, false);
    CHECK_EQ(b.status, 200);
    CHECK(b.packed);
    CHECK_EQ(snappy_uncompress(b.body, b.body_len, plain, &size), SNAPPY_OK);
    CHECK_OK(prompb_read_response_decode(str_of(plain, size), &a, &results, &n, &e), e);
    CHECK_EQ(n, 1);
    CHECK_EQ(results[0].len, 1);
    const prompb_series *s = &results[0].series[0];
    CHECK_STR(labels_get(s->labels, STR("job")), "x"); /* its own, not the external one */
    CHECK_STR(labels_get(s->labels, STR("region")), "here");
    CHECK_EQ(s->sample_count, 1);
    CHECK_EQ(s->samples[0].t_ms, 1000000);
    CHECK_DOUBLE(s->samples[0].v, 1);
    bench_close(&b);
}

TEST(remote_read_streams_chunks)
{
    static const prompb_matcher m = { PROMPB_EQ, STR_INIT("__name__"), STR_INIT("up") };
    bench b;
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    prompb_chunked c;
    err e = { 0 };
    int more, series = 0;
    bench_open(&b);
    ask_series(&b, &m, 1, true);
    CHECK_EQ(b.status, 200);
    prompb_frames f = { .rest = str_of(b.body, b.body_len) };
    while ((more = prompb_next_chunked(&f, &a, &c, &e)) > 0) {
        CHECK_EQ(c.chunk_count, 1);
        CHECK_EQ(c.chunks[0].kind, PROMPB_CHUNK_XOR);
        CHECK_EQ(c.chunks[0].min_ms, 1000000);
        series++;
    }
    CHECK_OK(more, e);
    CHECK_EQ(series, 2);
    bench_close(&b);
}

TEST(remote_read_refuses_what_it_cannot_read)
{
    static const prompb_matcher bad = { PROMPB_RE, STR_INIT("job"), STR_INIT("(") };
    bench b;
    bench_open(&b);
    ask_read(&b, STR("garbage"), false);
    CHECK_EQ(b.status, 400);
    CHECK_CONTAINS(str_from(b.body), "snappy");
    ask_read(&b, STR("\xff\xff\xff"), true);
    CHECK_EQ(b.status, 400);
    ask_read(&b, STR("\xff\xff\xff\xff\x0fxx"), false); /* says it unpacks to 4 GiB */
    CHECK_EQ(b.status, 400);
    CHECK_CONTAINS(str_from(b.body), "unpacks to more than");
    ask_series(&b, &bad, 1, false);
    CHECK_EQ(b.status, 400);
    CHECK_CONTAINS(str_from(b.body), "missing )");
    bench_close(&b);
}

/* ---- what changes the store, and what runs ---- */

static void send_method(bench *b, const char *method, const char *path, const char *token)
{
    char url[400];
    err e = { 0 };
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", http_server_port(b->server), path);
    b->answered = false;
    CHECK_OK(http_fetch_start(b->client, &(http_fetch_options){ .url = url, .method = method, .bearer_token = token, .done = on_answer, .ctx = b }, NULL, &e), e);
}

static void send_and_wait(bench *b, const char *method, const char *path, const char *token)
{
    send_method(b, method, path, token);
    while (!b->answered)
        uv_run(&b->loop, UV_RUN_ONCE);
}

static char said[600];
static void note_change(void *ctx, const char *kind, str message)
{
    UNUSED(ctx);
    snprintf(said, sizeof said, "%s: %" STR_FMT, kind, STR_ARG(message));
}

TEST(admin_api_deletes_cleans_and_snapshots)
{
    bench b;
    char dir[400], want[200];
    bench_open(&b);
    snprintf(dir, sizeof dir, "%s/data", test_dir());
    query_http_about(b.http, &(query_about){ .data_dir = dir, .changed = note_change });
    send_and_wait(&b, "POST", "/api/v1/admin/tsdb/delete_series?match%5B%5D=up%7Bjob%3D%22x%22%7D", NULL);
    CHECK_MSG(b.status == 204, "%d: %s", b.status, b.body);
    CHECK_STR(str_from(b.body), "");
    CHECK_CONTAINS(str_from(said), "store.series.deleted: 1 samples of 1 series in 1 blocks were deleted: up{job=\"x\"}");
    get(&b, "/api/v1/query?query=count(up)&time=1000");
    CHECK_CONTAINS(str_from(b.body), "[1000,\"1\"]");
    send_and_wait(&b, "PUT", "/api/v1/admin/tsdb/clean_tombstones", NULL);
    CHECK_EQ(b.status, 204);
    send_and_wait(&b, "POST", "/api/v1/admin/tsdb/snapshot", NULL);
    CHECK_MSG(b.status == 200, "%d: %s", b.status, b.body);
    const char *name = strstr(b.body, "\"name\":\"");
    CHECK(name);
    snprintf(want, sizeof want, "data/snapshots/%.33s", name + 8);
    CHECK_CONTAINS(str_from(said), "store.snapshot.made");
    CHECK_CONTAINS(str_from(said), want);
    send_and_wait(&b, "POST", "/-/flush", NULL);
    CHECK_EQ(b.status, 200);
    static const struct { const char *path; int status; const char *want; } bad[] = {
        { "/api/v1/admin/tsdb/delete_series", 400, "no match[] parameter provided" },
        { "/api/v1/admin/tsdb/delete_series?match%5B%5D=%7B", 400, "invalid parameter \\\"match[]\\\": 1:2: parse error" },
        { "/api/v1/admin/tsdb/delete_series?match%5B%5D=up&start=x", 400, "cannot parse \\\"x\\\" to a valid timestamp" },
        { "/api/v1/admin/tsdb/snapshot?skip_head=x", 400, "unable to parse boolean" },
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        send_and_wait(&b, "POST", bad[i].path, NULL);
        CHECK_MSG(b.status == bad[i].status && strstr(b.body, bad[i].want), "%s: %d %s", bad[i].path, b.status, b.body);
    }
    get(&b, "/api/v1/admin/tsdb/snapshot");
    CHECK_EQ(b.status, 405);
    bench_close(&b);
}

typedef struct heavy { bool answered; int status; char body[400]; } heavy;
static void heavy_answer(void *ctx, const http_response *res)
{
    heavy *h = ctx;
    *h = (heavy){ .answered = true, .status = res->status };
    str_copy(h->body, sizeof h->body, res->body);
}

TEST(a_running_query_is_listed_and_can_be_ended)
{
    bench b;
    heavy h = { 0 };
    char url[400], path[100];
    err e = { 0 };
    bench_open(&b);
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", http_server_port(b.server), HEAVY);
    CHECK_OK(http_fetch_start(b.client, &(http_fetch_options){ .url = url, .timeout_ms = 120000, .done = heavy_answer, .ctx = &h }, NULL, &e), e);
    do
        get(&b, "/api/galen/v1/queries");
    while (!strstr(b.body, "\"state\":\"running\"") && !h.answered);
    CHECK_CONTAINS(str_from(b.body), "\"path\":\"/api/v1/query\",\"peer\":\"127.0.0.1:");
    CHECK_CONTAINS(str_from(b.body), "\"query\":\"max_over_time(quantile_over_time(0.5,");
    snprintf(path, sizeof path, "/api/galen/v1/queries/%d", atoi(strstr(b.body, "\"id\":") + 5));
    send_and_wait(&b, "DELETE", path, NULL);
    CHECK_EQ(b.status, 401);
    send_and_wait(&b, "DELETE", path, "sesame");
    CHECK_EQ(b.status, 204);
    while (!h.answered)
        uv_run(&b.loop, UV_RUN_ONCE);
    CHECK_EQ(h.status, 503);
    CHECK_CONTAINS(str_from(h.body), "\"errorType\":\"canceled\",\"error\":\"query was canceled");
    send_and_wait(&b, "DELETE", path, "sesame");
    CHECK_EQ(b.status, 404);
    send_and_wait(&b, "DELETE", "/api/galen/v1/queries/x", "sesame");
    CHECK_EQ(b.status, 404);
    get(&b, "/api/galen/v1/queries");
    CHECK_STR(str_from(b.body), "{\"queries\":[]}");
    bench_close(&b);
}

/* ---- exemplars ---- */

TEST(exemplars_of_each_selector_are_listed)
{
    static const label series[] = { { STR_INIT("__name__"), STR_INIT("up") }, { STR_INIT("job"), STR_INIT("x") } };
    static const label trace = { STR_INIT("trace_id"), STR_INIT("abc") };
    bench b;
    sink_result rejected = { 0 };
    err e = { 0 };
    bench_open(&b);
    sample_sink sink = store_sink(b.store);
    exemplar_row row = { .series = { series, 2 }, .exemplar = { { &trace, 1 }, 0.25, 1000500 } };
    CHECK_OK(sink.append_exemplars(sink.ctx, &row, 1, &rejected, &e), e);
    CHECK_EQ(rejected.appended, 1);
    get_raw(&b, "/api/v1/query_exemplars?query=sum(rate(up{job=~\"x|z\"}[5m]))&start=1000&end=1001");
    CHECK_STR(str_from(b.body), "{\"status\":\"success\",\"data\":[{\"seriesLabels\":{\"__name__\":\"up\",\"job\":\"x\"},"
                                "\"exemplars\":[{\"labels\":{\"trace_id\":\"abc\"},\"value\":\"0.25\",\"timestamp\":1000.5}]}]}");
    get_raw(&b, "/api/v1/query_exemplars?query=gone&start=1000&end=1001");
    CHECK_STR(str_from(b.body), "{\"status\":\"success\",\"data\":[]}");
    get_raw(&b, "/api/v1/query_exemplars?query=up&start=1001&end=1002");
    CHECK_STR(str_from(b.body), "{\"status\":\"success\",\"data\":[]}");
    bench_close(&b);
}

static bool reload_failed(void *ctx, int64_t *ret_loaded_ms)
{
    UNUSED(ctx);
    *ret_loaded_ms = 1000;
    return false;
}

TEST(a_reload_that_failed_is_a_notification)
{
    bench b;
    bench_open(&b);
    query_http_about(b.http, &(query_about){ .config_ok = reload_failed });
    get(&b, "/api/v1/notifications");
    CHECK_CONTAINS(str_from(b.body), "{\"text\":\"Configuration reload has failed.\",\"date\":\"1970-01-01T00:00:01.000Z\",\"active\":true}");
    bench_close(&b);
}
