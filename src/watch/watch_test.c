/* The room as a whole, on a real loop against a scripted engine on loopback: what a scrape, a probe, a process and a
 * reload leave in the sink. The loop runs until a condition holds, at most WAIT_MS; nothing sleeps. */
#include "base/test.h"
#include "base/file.h"
#include "base/hash.h"
#include "watch/discover/discover.h"
#include "watch/watch_config.h"
#include <math.h>
#include <signal.h>
#include <snappy-c.h>
#include <stdio.h>
#include <sys/wait.h>

#define WAIT_MS 15000

/* ---- a sink that remembers the last value of each series ---- */
typedef struct kept { char series[400]; double v; int64_t t_ms; bool stale; } kept;
typedef struct world {
    uv_loop_t loop;
    http_client *client;
    http_server *engine;
    watch *watch;
    watch_config *config;
    yaml_doc *doc;
    config file;
    audit *audit;
    state_db *state;
    char data[FILE_PATH_MAX];
    vec(kept) series;
    size_t batches, out_of_order;
    const char *page, *type;
    int page_status, health_status, completions, scrapes;
    bool stall, changed;
    probe_result probe;
    bool probed, restarted;
    err restart_error;
} world;

static err_kind keep(void *ctx, const sample_row *rows, size_t n, sink_result *rejected, err *e)
{
    world *w = ctx;
    w->batches++;
    for (size_t i = 0; i < n; i++) {
        AUTO(buf_done) buf text = BUF_INIT(4096);
        kept *k = NULL;
        labels_format(rows[i].labels, &text);
        for (size_t s = 0; s < w->series.len && !k; s++)
            k = str_is(buf_str(&text), w->series.at[s].series) ? &w->series.at[s] : NULL;
        if (!k) {
            CHECK_EQ(vec_push(&w->series, (kept){ 0 }), OK);
            k = &vec_last(&w->series);
            str_copy(k->series, sizeof k->series, buf_str(&text));
        }
        w->out_of_order += k->t_ms >= rows[i].t_ms;
        *k = (kept){ .v = rows[i].v, .t_ms = rows[i].t_ms, .stale = is_stale(rows[i].v) };
        str_copy(k->series, sizeof k->series, buf_str(&text));
    }
    return OK;
}

/* The last value of a series; NaN if it was never seen or has ended. `%s` in `series` is the engine's address. */
static double value(world *w, const char *series)
{
    for (size_t i = 0; i < w->series.len; i++) {
        if (strcmp(w->series.at[i].series, series) == 0)
            return w->series.at[i].stale ? NAN : w->series.at[i].v;
    }
    return NAN;
}

/* ---- the scripted engine ---- */
static void on_metrics(http_request *req)
{
    world *w = req->route_ctx;
    w->scrapes++;
    http_reply(req, w->page_status, w->type, str_from(w->page));
}

static void on_health(http_request *req)
{
    http_reply(req, ((world *)req->route_ctx)->health_status, "text/plain", STR(""));
}

static void on_close(http_request *req) { UNUSED(req); }

static void on_completion(http_request *req)
{
    world *w = req->route_ctx;
    w->completions++;
    if (w->stall) {
        req->on_close = on_close;      /* never answered */
        return;
    }
    http_reply(req, 200, "text/event-stream", STR("data: {\"choices\":[{\"delta\":{\"content\":\"H\"}}]}\n\ndata: [DONE]\n\n"));
}

static void changed(void *ctx, const char *id) { ((world *)ctx)->changed = id != NULL; }

static int port_of(const world *w) { return http_server_port(w->engine); }

static void world_open(world *w)
{
    err e = { 0 };
    char path[FILE_PATH_MAX];
    *w = (world){ .page = "a 1\n", .type = "text/plain; version=0.0.4", .page_status = 200, .health_status = 200 };
    CHECK_EQ(uv_loop_init(&w->loop), 0);
    CHECK_OK(http_client_open(&w->loop, &w->client, &e), e);
    http_server_options o = { .listen = "127.0.0.1:0" };
    http_route routes[] = { { HTTP_GET, "/metrics", on_metrics, w, 0, 0 }, { HTTP_GET, "/health", on_health, w, 0, 0 },
                            { HTTP_POST, "/v1/chat/completions", on_completion, w, 0, 0 } };
    CHECK_OK(http_server_new(&w->loop, &o, &w->engine, &e), e);
    CHECK_OK(http_server_routes(w->engine, routes, COUNT_OF(routes), &e), e);
    CHECK_OK(http_server_listen(w->engine, &e), e);
    str_copy(w->data, sizeof w->data, str_from(test_dir()));
    CHECK_OK(file_join(path, w->data, "audit", &e), e);
    CHECK_OK(audit_open(path, NULL, &w->audit, &e), e);
    CHECK_OK(file_join(path, w->data, "state.db", &e), e);
    CHECK_OK(state_open(path, &w->state, &e), e);
}

static watch_config *world_config(world *w, const char *yaml)
{
    err e = { 0 };
    char text[4096];
    watch_config *c = NULL;
    yaml_doc_free(w->doc);
    w->doc = NULL;
    snprintf(text, sizeof text, "%s", yaml);
    for (char *at; (at = strstr(text, "PORT"));) {
        char port[8];
        snprintf(port, sizeof port, "%d", port_of(w));
        memmove(at + strlen(port), at + 4, strlen(at + 4) + 1);
        memcpy(at, port, strlen(port));
    }
    CHECK_OK(yaml_parse(str_from(text), "galen.yml", &w->doc, &e), e);
    w->file = (config){ .doc = w->doc, .watch = w->doc->root, .dir = "." };
    CHECK_OK(watch_config_parse(&w->file, &c, &e), e);
    return c;
}

static void world_watch(world *w, const char *yaml)
{
    err e = { 0 };
    watch_deps d = { .loop = &w->loop, .client = w->client, .sink = { keep, w }, .audit = w->audit, .state = w->state, .data_dir = w->data, .own_port = 1 };
    CHECK_OK(watch_open(&d, world_config(w, yaml), &w->watch, &e), e);
    watch_on_change(w->watch, changed, w);
}

static void give_up(uv_timer_t *t) { *(bool *)t->data = true; }

static bool run_until(world *w, bool (*cond)(world *w))
{
    bool late = false;
    uv_timer_t limit;
    uv_timer_init(&w->loop, &limit);
    limit.data = &late;
    uv_timer_start(&limit, give_up, WAIT_MS, 0);
    while (!late && !cond(w))
        uv_run(&w->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&limit, NULL);
    uv_run(&w->loop, UV_RUN_NOWAIT);
    return cond(w);
}

static void world_close(world *w)
{
    watch_close(w->watch);
    http_client_close(w->client);
    http_server_close(w->engine, 0, NULL, NULL);
    audit_close(w->audit);
    state_close(w->state);
    while (uv_run(&w->loop, UV_RUN_NOWAIT))
        ;
    CHECK_EQ(uv_loop_close(&w->loop), 0);
    yaml_doc_free(w->doc);
    vec_done(&w->series);
}

#define VLLM_PAGE(running, tokens)                                                              \
    "vllm:num_requests_running{model_name=\"m\"} " #running "\nvllm:num_requests_waiting{model_name=\"m\"} 0\n" \
    "vllm:prompt_tokens_total{model_name=\"m\"} 5\nvllm:generation_tokens_total{model_name=\"m\"} " #tokens "\n"

#define QUIET "host: off\ndiscovery: off\n"
#define ONE_REPLICA QUIET "replicas: [{name: r, job: j, instance: i, url: 'http://127.0.0.1:PORT', scrape_interval: 100ms, " \
                          "health: {every: 100ms}, probe: {model: m, every: 1s, timeout: 1s}, stall_after: 1s}]\n"

static const replica_info *only(world *w) { return watch_replica_at(w->watch, 0); }

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
    CHECK_EQ(only(&w)->health, 1);                    /* as engines do: /health answers 200 all the while */
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
    static const struct { const char *what, *page, *type, *error; int status; } cases[] = {
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
    world_watch(&w, QUIET "scrape_configs: [{job_name: j, scrape_interval: 100ms, body_size_limit: 1MiB, static_configs: [{targets: ['127.0.0.1:PORT']}]}]\n");
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
    world_watch(&w, QUIET "scrape_configs: [{job_name: j, scrape_interval: 100ms, static_configs: [{targets: ['127.0.0.1:PORT']}]}]\n");
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
    world_watch(&w, ONE_REPLICA "scrape_configs: [{job_name: old, scrape_interval: 100ms, static_configs: [{targets: ['127.0.0.1:PORT'], labels: {instance: x}}]}]\n");
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
typedef struct answer { bool came; int status; char body[8192]; } answer;
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
    http_fetch_options o = { .url = url, .method = n ? "POST" : NULL, .headers = headers, .header_count = n, .body = body, .done = on_answer, .ctx = &a };
    CHECK_OK(http_fetch_start(w->client, &o, &f, &e), e);
    while (!a.came)
        uv_run(&w->loop, UV_RUN_ONCE);
    return a;
}

static answer push(world *w, http_server *api, str body)
{
    char packed[4096];
    size_t len = sizeof packed;
    http_header headers[2] = { { STR("Content-Encoding"), STR("snappy") }, { STR("Content-Type"), STR("application/x-protobuf") } };
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
    world_watch(&w, ONE_REPLICA "scrape_configs: [{job_name: k, kubernetes_sd_configs: [{role: pod}]}, {job_name: d, static_configs: [{targets: ['x:1']}], "
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
    a = ask(&w, api, "/api/v1/targets/metadata?metric=a", NULL, 0, STR_EMPTY);
    CHECK_CONTAINS(str_from(a.body), "\"target\":{\"instance\":\"i\",\"job\":\"j\"}");
    /* __name__="pushed", one sample of 1 at 7 ms; then a series without a name */
    CHECK_EQ(push(&w, api, STR("\x0a\x21\x0a\x12\x0a\x08__name__\x12\x06pushed\x12\x0b\x09\0\0\0\0\0\0\xf0\x3f\x10\x07")).status, 204);
    CHECK_DOUBLE(value(&w, "pushed"), 1);
    a = push(&w, api, STR("\x0a\x0a\x0a\x08\x0a\x03job\x12\x01x"));
    CHECK_EQ(a.status, 400);
    CHECK_CONTAINS(str_from(a.body), "metric name");
    CHECK_EQ(push(&w, api, STR("\x0a\x7f")).status, 400);
    http_server_close(api, 0, NULL, NULL);
    world_close(&w);
}

/* ---- discovery: a /proc of our own, so that only our engine listens ---- */
typedef struct lookout { world *w; int found_port, lost_port; char engine[32], model[64]; } lookout;
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
    snprintf(text, sizeof text, "  sl local\n   0: 0100007F:%04X 00000000:0000 0A 0\n   1: 0100007F:0001 00000000:0000 0A 0\n", (unsigned)port_of(&w));
    CHECK_OK(file_write_atomic(path, str_from(text), 0600, &e), e);
    discover_deps deps = { .loop = &w.loop, .client = w.client, .proc = w.data, .every_ms = 20, .skip = never_skip, .found = on_found, .lost = on_lost, .ctx = &l };
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
        watch_config *c = world_config(&w, ONE_REPLICA "scrape_configs: [{job_name: x, static_configs: [{targets: ['127.0.0.1:PORT']}]}]\n");
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

/* ---- processes ---- */
#define SLEEPER QUIET "replicas: [{name: r, job: j, instance: i, url: 'http://127.0.0.1:PORT', scrape_interval: 100ms, health: off, " \
                      "process: {command: [sleep, '1000'], stop_grace: 2s}}]\n"

static bool process_ended(world *w) { return only(w)->process == PROCESS_EXITED; }
static bool process_runs(world *w) { return only(w)->process == PROCESS_RUNNING && !isnan(value(w, "watch_process_up{instance=\"i\",job=\"j\"}")); }
static bool was_restarted(world *w) { return w->restarted; }
static bool process_stopped(world *w) { return value(w, "watch_process_stopped{instance=\"i\",job=\"j\"}") == 1; }
static void on_restarted(void *ctx, const err *result)
{
    world *w = ctx;
    w->restarted = true;
    w->restart_error = *result;
}

typedef struct found { const char *kind; unsigned n; } found;
static bool count_kind(void *ctx, const audit_record *r)
{
    found *f = ctx;
    f->n += str_is(r->kind, f->kind);
    return true;
}
static unsigned recorded(world *w, const char *kind)
{
    char path[FILE_PATH_MAX];
    found f = { kind, 0 };
    err e = { 0 };
    CHECK_OK(file_join(path, w->data, "audit", &e), e);
    CHECK_OK(audit_list(path, &(audit_filter){ 0 }, count_kind, &f, &e), e);
    return f.n;
}

TEST(a_killed_process_is_told_at_once_and_started_again_only_when_asked)
{
    world w;
    err e = { 0 };
    world_open(&w);
    world_watch(&w, SLEEPER);
    CHECK(run_until(&w, process_runs));
    int pid = only(&w)->pid;
    CHECK(pid > 0 && kill(pid, 0) == 0);
    w.changed = false;
    kill(pid, SIGKILL);
    CHECK(run_until(&w, process_ended));
    CHECK(w.changed);
    CHECK_EQ(only(&w)->last_signal, SIGKILL);
    CHECK_DOUBLE(value(&w, "watch_process_up{instance=\"i\",job=\"j\"}"), 0);
    CHECK(isnan(value(&w, "watch_process_threads{instance=\"i\",job=\"j\"}")));
    CHECK_OK(watch_process_restart(w.watch, "replica:j/i", 500, on_restarted, &w, &e), e);
    CHECK(run_until(&w, was_restarted));
    CHECK_OK(w.restart_error.kind, w.restart_error);
    CHECK(only(&w)->pid != pid && only(&w)->restarts == 1);
    CHECK_EQ(recorded(&w, "watch.process.started"), 2);
    CHECK_EQ(recorded(&w, "watch.process.exited"), 1);
    kill(only(&w)->pid, SIGKILL);
    CHECK(run_until(&w, process_ended));
    world_close(&w);
}

TEST(a_frozen_process_shows_and_can_be_restarted)
{
    world w;
    err e = { 0 };
    world_open(&w);
    world_watch(&w, SLEEPER);
    CHECK(run_until(&w, process_runs));
    int pid = only(&w)->pid;
    kill(pid, SIGSTOP);
    CHECK(run_until(&w, process_stopped));
    CHECK_OK(watch_process_restart(w.watch, "replica:j/i", 2000, on_restarted, &w, &e), e);
    CHECK_EQ(watch_process_restart(w.watch, "replica:j/i", 2000, on_restarted, &w, &e), ERR_CONFLICT);
    CHECK(run_until(&w, was_restarted));
    CHECK_OK(w.restart_error.kind, w.restart_error);
    CHECK(only(&w)->pid != pid && kill(pid, 0) != 0);
    kill(only(&w)->pid, SIGKILL);
    CHECK(run_until(&w, process_ended));
    world_close(&w);
}

TEST(a_process_survives_us_and_is_adopted_by_the_next)
{
    world w;
    err e = { 0 };
    world_open(&w);
    world_watch(&w, SLEEPER);
    CHECK(run_until(&w, process_runs));
    int pid = only(&w)->pid;
    watch_close(w.watch);
    w.watch = NULL;
    CHECK_EQ(kill(pid, 0), 0);
    world_watch(&w, SLEEPER);
    CHECK_EQ(only(&w)->pid, pid);
    CHECK_EQ(recorded(&w, "watch.process.adopted"), 1);
    CHECK_EQ(recorded(&w, "watch.process.started"), 1);
    kill(pid, SIGKILL);
    CHECK(run_until(&w, process_ended));
    CHECK(only(&w)->last_exit_code == -1 && only(&w)->last_signal == -1);
    waitpid(pid, NULL, 0);                /* here it is our own child after all */
    CHECK_OK(watch_process_restart(w.watch, "replica:j/i", 500, on_restarted, &w, &e), e);
    CHECK(run_until(&w, was_restarted));
    kill(only(&w)->pid, SIGKILL);
    CHECK(run_until(&w, process_ended));
    world_close(&w);
}

TEST(a_changed_replica_keeps_its_process_over_a_reload)
{
    world w;
    err e = { 0 };
    world_open(&w);
    world_watch(&w, SLEEPER);
    CHECK(run_until(&w, process_runs));
    int pid = only(&w)->pid;
    CHECK_OK(watch_reload(w.watch, world_config(&w, QUIET "replicas: [{name: renamed, job: j, instance: i, url: 'http://127.0.0.1:PORT', "
                                                          "process: {command: [sleep, '2000']}}]\n"), &e), e);
    CHECK_EQ(only(&w)->pid, pid);
    CHECK_STR(str_from(only(&w)->name), "renamed");
    CHECK_EQ(recorded(&w, "watch.process.started"), 1);
    kill(pid, SIGKILL);
    CHECK(run_until(&w, process_ended));
    CHECK_EQ(only(&w)->last_signal, SIGKILL);         /* still our child */
    world_close(&w);
}

TEST(a_command_that_cannot_be_started_is_recorded_not_fatal)
{
    world w;
    world_open(&w);
    world_watch(&w, QUIET "replicas: [{name: r, job: j, instance: i, url: 'http://127.0.0.1:PORT', process: {command: [/no/such/engine]}}]\n");
    CHECK_EQ(only(&w)->process, PROCESS_EXITED);
    CHECK_EQ(recorded(&w, "watch.process.start_failed"), 1);
    CHECK_EQ(watch_process_restart(w.watch, "replica:x/y", 0, on_restarted, &w, NULL), ERR_NOT_FOUND);
    world_close(&w);
}
