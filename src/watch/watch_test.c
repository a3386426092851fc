/* The room as a whole, on a real loop against a scripted engine on loopback: what a scrape, a probe, a route and a
 * reload leave in the sink. */
#include "watch/discover/discover.h"
#include "watch/world_test.h"
#include <snappy-c.h>

static bool seen_all(world *w)
{
    return only(w)->up == 1 && only(w)->health == 1 && only(w)->completion == 1 && w->scrapes >= 3;
}

TEST(a_replica_is_scraped_fingerprinted_and_probed)
{
    world w;
    world_open(&w);
    w.page = VLLM_PAGE(0, 7);
    world_watch(&w, ONE_REPLICA);
    CHECK(run_until(&w, seen_all));
    CHECK_STR(str_from(only(&w)->engine), "vllm");
    CHECK_STR(str_from(only(&w)->model), "m");
    CHECK_STR(str_from(only(&w)->progress), "idle");
    CHECK_STR(str_from(only(&w)->id), "replica:j/i");
    CHECK_DOUBLE(value(&w, "up{instance=\"i\",job=\"j\"}"), 1);
    CHECK_DOUBLE(value(&w, "watch_engine_info{engine=\"vllm\",instance=\"i\",job=\"j\"}"), 1);
    CHECK_DOUBLE(value(&w, "watch_progress_state{instance=\"i\",job=\"j\",state=\"idle\"}"), 1);
    CHECK_DOUBLE(value(&w, "watch_progress_state{instance=\"i\",job=\"j\",state=\"stalled\"}"), 0);
    CHECK_DOUBLE(value(&w, "probe_success{instance=\"i\",job=\"j\",probe=\"completion\"}"), 1);
    CHECK_DOUBLE(value(&w, "probe_http_status_code{instance=\"i\",job=\"j\",probe=\"health\"}"), 200);
    CHECK(value(&w, "probe_ttft_seconds{instance=\"i\",job=\"j\",probe=\"completion\"}") > 0);
    CHECK_DOUBLE(value(&w, "vllm:generation_tokens_total{instance=\"i\",job=\"j\",model_name=\"m\"}"), 7);
    CHECK_EQ(w.out_of_order, 0);
    world_close(&w);
}

static bool is_stalled(world *w) { return strcmp(only(w)->progress, "stalled") == 0; }
static bool is_progressing(world *w) { return strcmp(only(w)->progress, "progressing") == 0; }

TEST(requests_without_a_step_and_a_probe_without_a_token_are_a_stall)
{
    world w;
    world_open(&w);
    w.page = VLLM_PAGE(3, 7);
    w.stall = true;
    world_watch(&w, ONE_REPLICA);
    CHECK(run_until(&w, is_stalled));
    CHECK_DOUBLE(value(&w, "watch_progress_state{instance=\"i\",job=\"j\",state=\"stalled\"}"), 1);
    CHECK_DOUBLE(value(&w, "probe_timeout{instance=\"i\",job=\"j\",probe=\"completion\"}"), 1);
    CHECK_EQ(only(&w)->health, 1); /* as engines do: /health answers 200 all the while */
    CHECK(w.changed);
    w.stall = false;
    w.page = VLLM_PAGE(3, 5000);
    CHECK(run_until(&w, is_progressing));
    CHECK_EQ(w.out_of_order, 0);
    world_close(&w);
}

static bool is_down(world *w) { return only(w)->up == 0; }
static bool is_up(world *w) { return only(w)->up == 1; }

TEST(pages_that_are_none_mark_the_target_down_with_the_reason)
{
    static const struct {
        const char *what, *page, *type, *error;
        int status;
    } cases[] = {
        { "HTML", "<html>", "text/html", "HTML", 200 },
        { "an error status", "a 1\n", "text/plain", "HTTP status 503", 503 },
        { "garbage", "a 1\n}{\n", "text/plain", "line 2", 200 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        world w;
        world_open(&w);
        world_watch(&w, ONE_REPLICA);
        CHECK(run_until(&w, is_up));
        CHECK_DOUBLE(value(&w, "a{instance=\"i\",job=\"j\"}"), 1);
        w.page = cases[i].page;
        w.type = cases[i].type;
        w.page_status = cases[i].status;
        CHECK_MSG(run_until(&w, is_down), "%s", cases[i].what);
        CHECK_CONTAINS(str_from(only(&w)->scrape_error), cases[i].error);
        CHECK_DOUBLE(value(&w, "up{instance=\"i\",job=\"j\"}"), 0);
        CHECK_MSG(isnan(value(&w, "a{instance=\"i\",job=\"j\"}")), "%s leaves series alive", cases[i].what);
        CHECK_STR(str_from(only(&w)->progress), "unknown");
        world_close(&w);
    }
}

TEST(a_page_without_end_is_cut_off)
{
    world w;
    world_open(&w);
    AUTO(mem_freep) char *large = mem_alloc(3000001);
    memset(large, 'x', 3000000);
    large[3000000] = '\0';
    w.page = large;
    world_watch(
        &w, QUIET
        "scrape_configs: [{job_name: j, scrape_interval: 100ms, body_size_limit: 1MiB, static_configs: [{targets: ['127.0.0.1:PORT']}]}]\n");
    char up[100];
    snprintf(up, sizeof up, "up{instance=\"127.0.0.1:%d\",job=\"j\"}", port_of(&w));
    while (isnan(value(&w, up)))
        uv_run(&w.loop, UV_RUN_ONCE);
    CHECK_DOUBLE(value(&w, up), 0);
    world_close(&w);
}

static bool has_observed(world *w) { return only(w) && only(w)->up == 1; }

TEST(a_scraped_target_that_is_an_engine_becomes_a_replica_without_probes)
{
    world w;
    world_open(&w);
    w.page = VLLM_PAGE(0, 7);
    world_watch(
        &w, QUIET
        "scrape_configs: [{job_name: j, scrape_interval: 100ms, static_configs: [{targets: ['127.0.0.1:PORT']}]}]\n");
    CHECK(only(&w) == NULL);
    CHECK(run_until(&w, has_observed));
    CHECK_STR(str_from(only(&w)->engine), "vllm");
    CHECK_EQ(only(&w)->health, -1);
    CHECK_EQ(watch_probe(w.watch, only(&w)->id, NULL, NULL, NULL), ERR_UNSUPPORTED);
    world_close(&w);
}

TEST(what_a_reload_does_not_name_goes_on_and_what_it_drops_ends)
{
    world w;
    err e = { 0 };
    world_open(&w);
    world_watch(
        &w, ONE_REPLICA
        "scrape_configs: [{job_name: old, scrape_interval: 100ms, static_configs: [{targets: ['127.0.0.1:PORT'], labels: {instance: x}}]}]\n");
    while (isnan(value(&w, "a{instance=\"i\",job=\"j\"}")) || isnan(value(&w, "a{instance=\"x\",job=\"old\"}")))
        uv_run(&w.loop, UV_RUN_ONCE);
    const replica_info *before = only(&w);
    CHECK_OK(watch_reload(w.watch, world_config(&w, ONE_REPLICA), &e), e);
    CHECK(only(&w) == before);
    CHECK(isnan(value(&w, "a{instance=\"x\",job=\"old\"}")) && isnan(value(&w, "up{instance=\"x\",job=\"old\"}")));
    CHECK_DOUBLE(value(&w, "up{instance=\"i\",job=\"j\"}"), 1);
    CHECK_OK(watch_reload(w.watch, world_config(&w, QUIET), &e), e);
    CHECK(only(&w) == NULL);
    CHECK(isnan(value(&w, "up{instance=\"i\",job=\"j\"}")));
    world_close(&w);
}

/* ---- routes, asked over HTTP as Prometheus's clients do ---- */
typedef struct answer {
    bool came;
    int status;
    char body[8192];
} answer;
static void on_answer(void *ctx, const http_response *res)
{
    answer *a = ctx;
    a->came = true;
    a->status = res->kind ? -1 : res->status;
    str_copy(a->body, sizeof a->body, res->body);
}

static answer ask(world *w, http_server *api, const char *path, const http_header *headers, size_t n, str body)
{
    answer a = { 0 };
    http_fetch *f;
    char url[200];
    err e = { 0 };
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", http_server_port(api), path);
    http_fetch_options o = { .url = url,
                             .method = n ? "POST" : NULL,
                             .headers = headers,
                             .header_count = n,
                             .body = body,
                             .done = on_answer,
                             .ctx = &a };
    CHECK_OK(http_fetch_start(w->client, &o, &f, &e), e);
    while (!a.came)
        uv_run(&w->loop, UV_RUN_ONCE);
    return a;
}

static answer push(world *w, http_server *api, str body)
{
    char packed[4096];
    size_t len = sizeof packed;
    http_header headers[2] = { { STR("Content-Encoding"), STR("snappy") },
                               { STR("Content-Type"), STR("application/x-protobuf") } };
    CHECK_EQ(snappy_compress(body.ptr, body.len, packed, &len), SNAPPY_OK);
    return ask(w, api, "/api/v1/write", headers, 2, str_of(packed, len));
}

TEST(the_routes_speak_prometheuss_language)
{
    world w;
    http_server *api = NULL;
    err e = { 0 };
    http_server_options o = { .listen = "127.0.0.1:0" };
    world_open(&w);
    w.page = "# HELP a What a is.\n# TYPE a counter\na 1\n";
    world_watch(
        &w, ONE_REPLICA
        "scrape_configs: [{job_name: k, kubernetes_sd_configs: [{role: pod}]}, {job_name: d, static_configs: [{targets: ['x:1']}], "
        "relabel_configs: [{action: drop}]}]\n");
    CHECK_OK(http_server_new(&w.loop, &o, &api, &e), e);
    CHECK_OK(watch_routes(w.watch, api, &e), e);
    CHECK_OK(http_server_listen(api, &e), e);
    CHECK(run_until(&w, is_up));
    answer a = ask(&w, api, "/api/v1/targets", NULL, 0, STR_EMPTY);
    CHECK_EQ(a.status, 200);
    CHECK_CONTAINS(str_from(a.body), "\"labels\":{\"instance\":\"i\",\"job\":\"j\"}");
    CHECK_CONTAINS(str_from(a.body), "\"health\":\"up\"");
    CHECK_CONTAINS(str_from(a.body), "kubernetes_sd_configs");
    CHECK_CONTAINS(str_from(a.body), "\"droppedTargetCounts\":{\"k\":0,\"d\":1}");
    a = ask(&w, api, "/api/v1/targets?state=dropped", NULL, 0, STR_EMPTY);
    CHECK_CONTAINS(str_from(a.body), "\"activeTargets\":[]");
    CHECK_CONTAINS(str_from(a.body), "\"__address__\":\"x:1\"");
    a = ask(&w, api, "/api/v1/targets?scrapePool=k", NULL, 0, STR_EMPTY);
    CHECK(strstr(a.body, "\"health\":\"up\"") == NULL);
    a = ask(&w, api, "/api/v1/scrape_pools", NULL, 0, STR_EMPTY);
    CHECK_STR(str_from(a.body), "{\"status\":\"success\",\"data\":{\"scrapePools\":[\"j\",\"k\",\"d\"]}}");
    a = ask(&w, api, "/api/v1/metadata", NULL, 0, STR_EMPTY);
    CHECK_CONTAINS(str_from(a.body), "\"a\":[{\"type\":\"counter\",\"help\":\"What a is.\",\"unit\":\"\"}]");
    a = ask(&w, api, "/api/v1/metadata?limit=0", NULL, 0, STR_EMPTY);
    CHECK_STR(str_from(a.body), "{\"status\":\"success\",\"data\":{}}");
    a = ask(&w, api, "/api/v1/metadata?limit_per_metric=1&metric=a", NULL, 0, STR_EMPTY);
    CHECK_STR(str_from(a.body), "{\"status\":\"success\",\"data\":{\"a\":[{\"type\":\"counter\",\"help\":\"What a is.\",\"unit\":\"\"}]}}");
    a = ask(&w, api, "/api/v1/metadata?metric=llm_requests_running&views=1", NULL, 0, STR_EMPTY);
    CHECK_CONTAINS(str_from(a.body), "\"llm_requests_running\":[{\"type\":\"gauge\"");
    a = ask(&w, api, "/api/v1/metadata?limit=x", NULL, 0, STR_EMPTY);
    CHECK_EQ(a.status, 400);
    CHECK_CONTAINS(str_from(a.body), "\"errorType\":\"bad_data\",\"error\":\"limit must be a number\"");
    a = ask(&w, api, "/api/v1/metadata?limit_per_metric=x", NULL, 0, STR_EMPTY);
    CHECK_CONTAINS(str_from(a.body), "limit_per_metric must be a number");
    a = ask(&w, api, "/api/v1/targets/metadata?limit=x", NULL, 0, STR_EMPTY);
    CHECK_EQ(a.status, 400);
    a = ask(&w, api, "/api/v1/targets/metadata?limit=0", NULL, 0, STR_EMPTY);
    CHECK_STR(str_from(a.body), "{\"status\":\"success\",\"data\":[]}");
    a = ask(&w, api, "/api/v1/targets/metadata?metric=a", NULL, 0, STR_EMPTY);
    CHECK_CONTAINS(str_from(a.body), "\"target\":{\"instance\":\"i\",\"job\":\"j\"}");
    /* __name__="pushed", one sample of 1 at 7 ms; then a series without a name */
    CHECK_EQ(
        push(&w, api, STR("\x0a\x21\x0a\x12\x0a\x08__name__\x12\x06pushed\x12\x0b\x09\0\0\0\0\0\0\xf0\x3f\x10\x07"))
            .status,
        204);
    CHECK_DOUBLE(value(&w, "pushed"), 1);
    a = push(&w, api, STR("\x0a\x0a\x0a\x08\x0a\x03job\x12\x01x"));
    CHECK_EQ(a.status, 400);
    CHECK_CONTAINS(str_from(a.body), "metric name");
    CHECK_EQ(push(&w, api, STR("\x0a\x7f")).status, 400);
    http_server_close(api, 0, NULL, NULL);
    world_close(&w);
}

/* ---- discovery: a /proc of our own, so that only our engine listens ---- */
typedef struct lookout {
    world *w;
    int found_port, lost_port;
    char engine[32], model[64];
} lookout;
static bool never_skip(void *ctx, int port) { return false; }
static void on_found(void *ctx, const char *engine, int port, const char *model)
{
    lookout *l = ctx;
    l->found_port = port;
    str_copy(l->engine, sizeof l->engine, str_from(engine));
    str_copy(l->model, sizeof l->model, str_from(model));
}
static void on_lost(void *ctx, int port) { ((lookout *)ctx)->lost_port = port; }

TEST(an_engine_that_listens_is_found_and_lost_after_three_passes)
{
    world w;
    lookout l = { .w = &w };
    char net[FILE_PATH_MAX], path[FILE_PATH_MAX], text[200];
    discover *d = NULL;
    err e = { 0 };
    world_open(&w);
    w.page = VLLM_PAGE(0, 7);
    CHECK_OK(file_join(net, w.data, "net", &e), e);
    CHECK_OK(file_make_dirs(net, 0700, &e), e);
    CHECK_OK(file_join(path, net, "tcp", &e), e);
    snprintf(text, sizeof text,
             "  sl local\n   0: 0100007F:%04X 00000000:0000 0A 0\n   1: 0100007F:0001 00000000:0000 0A 0\n",
             (unsigned)port_of(&w));
    CHECK_OK(file_write_atomic(path, str_from(text), 0600, &e), e);
    discover_deps deps = { .loop = &w.loop,
                           .client = w.client,
                           .proc = w.data,
                           .every_ms = 20,
                           .skip = never_skip,
                           .found = on_found,
                           .lost = on_lost,
                           .ctx = &l };
    CHECK_OK(discover_open(&deps, &d, &e), e);
    while (!l.found_port)
        uv_run(&w.loop, UV_RUN_ONCE);
    CHECK_EQ(l.found_port, port_of(&w));
    CHECK_STR(str_from(l.engine), "vllm");
    CHECK_STR(str_from(l.model), "m");
    int before = w.scrapes;
    w.page = "<html>";
    while (!l.lost_port)
        uv_run(&w.loop, UV_RUN_ONCE);
    CHECK_EQ(l.lost_port, port_of(&w));
    CHECK(w.scrapes >= before + 2);
    discover_close(d);
    world_close(&w);
}

TEST(opening_survives_any_failed_allocation)
{
    for (unsigned nth = 0; nth < 3000; nth++) {
        world w;
        world_open(&w);
        watch_config *c = world_config(
            &w, ONE_REPLICA "scrape_configs: [{job_name: x, static_configs: [{targets: ['127.0.0.1:PORT']}]}]\n");
        watch_deps d = { .loop = &w.loop, .client = w.client, .sink = { keep, &w }, .data_dir = w.data, .own_port = 1 };
        fault_alloc(nth);
        err_kind k = watch_open(&d, c, &w.watch, NULL);
        bool fired = fault_fired();
        CHECK_MSG(k == OK || (fired && !w.watch), "allocation %u", nth);
        world_close(&w);
        if (!fired)
            break;
    }
}
