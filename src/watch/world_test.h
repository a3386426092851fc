/* watch/world_test.h - for the room's tests: a real loop, a scripted engine on loopback, a sink that remembers.
 *
 * The loop runs until a condition holds, at most WAIT_MS; nothing sleeps. Each test opens a world and closes it; closing
 * fails the test if a handle of the loop was forgotten. */
#pragma once
#include "base/file.h"
#include "base/test.h"
#include "watch/watch_config.h"
#include <math.h>
#include <stdio.h>

#define WAIT_MS 15000

/* ---- a sink that remembers the last value of each series ---- */
typedef struct kept {
    char series[400];
    double v;
    int64_t t_ms;
    bool stale;
} kept;
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

static inline err_kind keep(void *ctx, const sample_row *rows, size_t n, sink_result *rejected, err *e)
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
static inline double value(world *w, const char *series)
{
    for (size_t i = 0; i < w->series.len; i++) {
        if (strcmp(w->series.at[i].series, series) == 0)
            return w->series.at[i].stale ? NAN : w->series.at[i].v;
    }
    return NAN;
}

/* ---- the scripted engine ---- */
static inline void on_metrics(http_request *req)
{
    world *w = req->route_ctx;
    w->scrapes++;
    http_reply(req, w->page_status, w->type, str_from(w->page));
}

static inline void on_health(http_request *req)
{
    http_reply(req, ((world *)req->route_ctx)->health_status, "text/plain", STR(""));
}

static inline void on_close(http_request *req) { UNUSED(req); }

static inline void on_completion(http_request *req)
{
    world *w = req->route_ctx;
    w->completions++;
    if (w->stall) {
        req->on_close = on_close; /* never answered */
        return;
    }
    http_reply(req, 200, "text/event-stream",
               STR("data: {\"choices\":[{\"delta\":{\"content\":\"H\"}}]}\n\ndata: [DONE]\n\n"));
}

static inline void changed(void *ctx, const char *id) { ((world *)ctx)->changed = id != NULL; }

static inline int port_of(const world *w) { return http_server_port(w->engine); }

static inline void world_open(world *w)
{
    err e = { 0 };
    char path[FILE_PATH_MAX];
    *w = (world){ .page = "a 1\n", .type = "text/plain; version=0.0.4", .page_status = 200, .health_status = 200 };
    CHECK_EQ(uv_loop_init(&w->loop), 0);
    CHECK_OK(http_client_open(&w->loop, &w->client, &e), e);
    http_server_options o = { .listen = "127.0.0.1:0" };
    http_route routes[] = { { HTTP_GET, "/metrics", on_metrics, w, 0, 0 },
                            { HTTP_GET, "/health", on_health, w, 0, 0 },
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

static inline watch_config *world_config(world *w, const char *yaml)
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

static inline void world_watch(world *w, const char *yaml)
{
    err e = { 0 };
    watch_deps d = { .loop = &w->loop,
                     .client = w->client,
                     .sink = { keep, w },
                     .audit = w->audit,
                     .state = w->state,
                     .data_dir = w->data,
                     .own_port = 1 };
    CHECK_OK(watch_open(&d, world_config(w, yaml), &w->watch, &e), e);
    watch_on_change(w->watch, changed, w);
}

static inline void give_up(uv_timer_t *t) { *(bool *)t->data = true; }

static inline bool run_until(world *w, bool (*cond)(world *w))
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

static inline void world_close(world *w)
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

#define VLLM_PAGE(running, tokens)                                                                                     \
    "vllm:num_requests_running{model_name=\"m\"} " #running "\nvllm:num_requests_waiting{model_name=\"m\"} 0\n"        \
    "vllm:prompt_tokens_total{model_name=\"m\"} 5\nvllm:generation_tokens_total{model_name=\"m\"} " #tokens "\n"

#define QUIET "host: off\ndiscovery: off\n"
#define ONE_REPLICA                                                                                                    \
    QUIET "replicas: [{name: r, job: j, instance: i, url: 'http://127.0.0.1:PORT', scrape_interval: 100ms, "           \
          "health: {every: 100ms}, probe: {model: m, every: 1s, timeout: 1s}, stall_after: 1s}]\n"

static inline const replica_info *only(world *w) { return watch_replica_at(w->watch, 0); }
