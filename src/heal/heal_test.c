/* The whole loop behind the doors: a real store, real queries, a supervised process and a scripted engine on loopback.
 * Faults are made, and the test waits on the loop until the treatment or the incident says what it should, at most
 * WAIT_MS; nothing sleeps. */
#include "base/test.h"
#include "base/file.h"
#include "heal/heal_state.h"
#include <signal.h>
#include <stdio.h>

#define WAIT_MS 20000
#define SUBJECT STR("replica:j/i")

typedef struct world {
    uv_loop_t loop;
    http_client *client;
    http_server *engine;
    store *store;
    query_engine *query;
    audit *audit;
    state_db *state;
    watch *watch;
    diagnose *diagnose;
    heal *heal;
    config *config;
    net_timer *tick;
    char data[FILE_PATH_MAX], audit_dir[FILE_PATH_MAX];
    bool stalled, moving, busy;      /* what the scripted engine does */
    bool cure;                       /* a new process cures it */
    bool loading;                    /* the process is there and answers nothing yet */
    bool by_hand;                    /* an operator runs another one at the same port */
    int pid, tokens, restarts;
} world;

/* The port is ours, so a dead engine shows as an error instead of a refused connection. */
static bool is_dead(world *w, http_request *req)
{
    const replica_info *r = w->watch ? watch_replica_find(w->watch, "replica:j/i") : NULL;
    bool dead = w->loading || (r && r->process == PROCESS_EXITED && !w->by_hand);
    if (dead)
        http_reply(req, 502, "text/plain", STR(""));
    return dead;
}

static void on_metrics(http_request *req)
{
    world *w = req->route_ctx;
    char page[600];
    if (is_dead(w, req))
        return;
    w->tokens += w->moving ? 100 : 0;
    snprintf(page, sizeof page,
             "vllm:num_requests_running{model_name=\"m\"} %d\nvllm:num_requests_waiting{model_name=\"m\"} %d\n"
             "vllm:prompt_tokens_total{model_name=\"m\"} 5\nvllm:generation_tokens_total{model_name=\"m\"} %d\n",
             w->busy || w->stalled ? 3 : 0, w->busy ? 7 : 0, w->tokens);
    http_reply(req, 200, "text/plain; version=0.0.4", str_from(page));
}

static void on_health(http_request *req)
{
    if (!is_dead(req->route_ctx, req))
        http_reply(req, 200, "text/plain", STR("ok"));
}
static void on_client_gone(http_request *req) { UNUSED(req); }

static void on_completion(http_request *req)
{
    world *w = req->route_ctx;
    if (is_dead(w, req))
        return;
    if (w->stalled || w->busy) {
        req->on_close = on_client_gone;      /* never answered */
        return;
    }
    http_reply(req, 200, "text/event-stream", STR("data: {\"choices\":[{\"delta\":{\"content\":\"H\"}}]}\n\ndata: [DONE]\n\n"));
}

static void on_tick(void *ctx)
{
    world *w = ctx;
    const replica_info *r = watch_replica_find(w->watch, "replica:j/i");
    if (r && r->pid != w->pid && r->pid > 0) {
        w->restarts += w->pid > 0;
        w->pid = r->pid;
        if (w->cure && w->restarts)
            w->stalled = false;
    }
    diagnose_tick(w->diagnose, clock_now_ms());
    heal_tick(w->heal, clock_now_ms());
}

static void on_incident(void *ctx, const incident *i, incident_change change)
{
    world *w = ctx;
    if (w->heal)
        heal_incident(w->heal, i, change);
}

static const char config_text[] =
    "watch:\n"
    "  host: off\n"
    "  discovery: off\n"
    "  replicas: [{name: r, job: j, instance: i, url: 'http://127.0.0.1:%d', scrape_interval: 100ms, stall_after: 1s,\n"
    "              health: {every: 100ms}, probe: {model: m, every: 1s, timeout: 900ms},\n"
    "              process: {command: [sleep, '1000'], stop_grace: 1s}}]\n"
    "diagnose: {tick: 100ms, fresh: 2s, stall_after: 1s, freeze_after: 300ms, saturated_after: 300ms, inconclusive_after: 5s, close_after: 500ms}\n"
    "heal:\n"
    "  mode: %s\n"
    "  policies:\n"
    "    - name: restart-it\n"
    "      trigger: {cause: [engine_dead, engine_frozen, decode_stalled]}\n"
    "      mode: auto\n"
    "      do: [{exec: {command: [/bin/sh, -c, 'echo $GALEN_SUBJECT $GALEN_CAUSE']}}, {restart: {grace: 1s}}]\n"
    "      limits: {cooldown: 0s, per_hour: 9}\n"
    "      verify: {probe: completion, within: 1500ms, hold: 200ms}\n"
    "      retries: 1\n"
    "      otherwise: [{escalate: {message: please come}}]\n"
    "    - {name: by-alert, mode: auto, trigger: {alert: Odd}, do: [{exec: {command: [/bin/true]}}], limits: {cooldown: 0s},\n"
    "       verify: {expr: 'last_over_time(up{$replica}[$since_action]) == 1', within: 3s, hold: 0s}}\n"
    "    - {name: by-expr, mode: auto, trigger: {expr: 'odd > 0'}, do: [{exec: {command: [/bin/true]}}], limits: {cooldown: 0s},\n"
    "       verify: {expr: 'up{$replica} == 1', within: 3s, hold: 0s}}\n";

static void open_below_config(world *w)
{
    char path[FILE_PATH_MAX];
    err e = { 0 };
    store_recovery recovered;

    CHECK_OK(file_join(path, w->data, "store", &e), e);
    CHECK_OK(file_make_dirs(path, 0700, &e), e);
    CHECK_OK(store_open(&(store_options){ .dir = path }, &w->store, &recovered, &e), e);
    w->query = query_engine_new(w->store, NULL);
    CHECK(w->query != NULL);
    CHECK_OK(file_join(w->audit_dir, w->data, "audit", &e), e);
    CHECK_OK(audit_open(w->audit_dir, NULL, &w->audit, &e), e);
    CHECK_OK(file_join(path, w->data, "state.db", &e), e);
    CHECK_OK(state_open(path, &w->state, &e), e);
}

static void open_rooms(world *w)
{
    watch_config *wc;
    diagnose_config *dc;
    heal_config *hc;
    err e = { 0 };

    open_below_config(w);
    CHECK_OK(watch_config_parse(w->config, &wc, &e), e);
    CHECK_OK(diagnose_config_parse(w->config, &dc, &e), e);
    CHECK_OK(heal_config_parse(w->config, &hc, &e), e);
    watch_deps wd = { .loop = &w->loop, .client = w->client, .sink = store_sink(w->store), .audit = w->audit, .state = w->state, .data_dir = w->data };
    CHECK_OK(watch_open(&wd, wc, &w->watch, &e), e);
    diagnose_deps dd = { w->query, w->watch, w->audit, w->state, store_sink(w->store), on_incident, w };
    CHECK_OK(diagnose_open(&dd, dc, &w->diagnose, &e), e);
    heal_deps hd = { &w->loop, w->query, w->watch, w->diagnose, w->audit, w->state, w->client, store_sink(w->store) };
    CHECK_OK(heal_open(&hd, hc, &w->heal, &e), e);
    w->tick = net_timer_start(&w->loop, 100, 100, on_tick, w);
}

static void close_rooms(world *w)
{
    err e = { 0 };
    net_timer_stop(w->tick);
    heal_close(w->heal);
    diagnose_close(w->diagnose);
    watch_close(w->watch);
    w->watch = NULL;
    query_engine_free(w->query);
    CHECK_OK(store_close(w->store, &e), e);
    audit_close(w->audit);
    state_close(w->state);
    w->heal = NULL;
    for (int i = 0; i < 20; i++)     /* let abandoned handles close */
        uv_run(&w->loop, UV_RUN_NOWAIT);
}

static void world_open(world *w, const char *mode)
{
    err e = { 0 };
    char path[FILE_PATH_MAX], text[4096];

    *w = (world){ .moving = true, .cure = true };
    CHECK_EQ(uv_loop_init(&w->loop), 0);
    CHECK_OK(http_client_open(&w->loop, &w->client, &e), e);
    const http_route routes[] = { { HTTP_GET, "/metrics", on_metrics, w, 0, 0 }, { HTTP_GET, "/health", on_health, w, 0, 0 },
                                  { HTTP_POST, "/v1/chat/completions", on_completion, w, 0, 0 } };
    CHECK_OK(http_server_new(&w->loop, &(http_server_options){ .listen = "127.0.0.1:0" }, &w->engine, &e), e);
    CHECK_OK(http_server_routes(w->engine, routes, COUNT_OF(routes), &e), e);
    CHECK_OK(http_server_listen(w->engine, &e), e);
    str_copy(w->data, sizeof w->data, str_from(test_dir()));
    CHECK_OK(file_join(path, w->data, "galen.yml", &e), e);
    int n = snprintf(text, sizeof text, config_text, http_server_port(w->engine), mode);
    CHECK_OK(file_write_atomic(path, str_of(text, (size_t)n), 0600, &e), e);
    CHECK_OK(config_load(path, &w->config, &e), e);
    open_rooms(w);
}

static void world_close(world *w)
{
    close_rooms(w);
    if (w->pid > 0)
        kill(-w->pid, SIGKILL);
    http_client_close(w->client);
    http_server_close(w->engine, 0, NULL, NULL);
    while (uv_run(&w->loop, UV_RUN_NOWAIT))
        ;
    CHECK_EQ(uv_loop_close(&w->loop), 0);
    config_free(w->config);
}

static void give_up(void *ctx) { *(bool *)ctx = true; }

static bool run_until(world *w, bool (*cond)(world *w), int64_t limit_ms)
{
    bool late = false;
    net_timer *limit = net_timer_start(&w->loop, limit_ms, 0, give_up, &late);
    while (!late && !cond(w))
        uv_run(&w->loop, UV_RUN_ONCE);
    net_timer_stop(limit);
    return cond(w);
}

static bool healthy(world *w)
{
    const replica_info *r = watch_replica_find(w->watch, "replica:j/i");
    return r && r->up == 1 && r->health == 1 && r->completion == 1 && r->process == PROCESS_RUNNING;
}

static const incident *newest(world *w) { return diagnose_incident_at(w->diagnose, 0); }
static bool is_open(world *w) { return newest(w) && newest(w)->closed_ms == 0; }
static bool is_closed(world *w) { return newest(w) && newest(w)->closed_ms != 0; }
static bool never(world *w) { UNUSED(w); return false; }

static bool in_state(world *w, heal_state s)
{
    heal_info i;
    return heal_at(w->heal, 0, &i) && i.state == s;
}
static bool is_done(world *w) { return in_state(w, HEAL_DONE); }
static bool is_suggested(world *w) { return in_state(w, HEAL_SUGGESTED); }
static bool needs_human(world *w) { return in_state(w, HEAL_NEEDS_HUMAN); }
static bool done_and_closed(world *w) { return is_done(w) && is_closed(w); }

typedef struct seen { char kinds[4096]; } seen;
static bool add_kind(void *ctx, const audit_record *r)
{
    seen *s = ctx;
    size_t used = strlen(s->kinds);
    snprintf(s->kinds + used, sizeof s->kinds - used, "%" STR_FMT " ", STR_ARG(r->kind));
    return true;
}

/* The story of an incident, as its page tells it. */
static seen story(world *w)
{
    seen s = { "" };
    err e = { 0 };
    CHECK_OK(audit_list(w->audit_dir, &(audit_filter){ .incident = newest(w)->id }, add_kind, &s, &e), e);
    return s;
}

TEST(loop_a_killed_engine_is_named_restarted_proven_and_closed)
{
    world w;
    world_open(&w, "auto");
    CHECK_MSG(run_until(&w, healthy, WAIT_MS), "the replica never became healthy");
    kill(-w.pid, SIGKILL);
    CHECK_MSG(run_until(&w, is_open, WAIT_MS), "no incident was opened");
    CHECK_STR(newest(&w)->cause, "engine_dead");
    CHECK_STR(newest(&w)->subject, "replica:j/i");
    CHECK_MSG(run_until(&w, done_and_closed, WAIT_MS), "it was not healed");
    CHECK_EQ(w.restarts, 1);
    CHECK_CONTAINS(str_from(story(&w).kinds), "diagnose.incident.opened heal.action.intended heal.action.intended heal.action.done ");
    CHECK_CONTAINS(str_from(story(&w).kinds), "heal.verified");
    CHECK_CONTAINS(str_from(story(&w).kinds), "diagnose.incident.closed");
    world_close(&w);
}

static bool answers_without_process(world *w)
{
    const replica_info *r = watch_replica_find(w->watch, "replica:j/i");
    const incident *i = newest(w);
    return r && r->process == PROCESS_EXITED && i && !i->closed_ms && str_is(i->cause, "inconclusive");
}

/* He ends galen's and starts his own: for the port and the GPU of his there must be no second one. */
TEST(loop_an_engine_that_an_operator_runs_by_hand_is_left_alone)
{
    world w;
    world_open(&w, "auto");
    CHECK(run_until(&w, healthy, WAIT_MS));
    w.by_hand = true;
    kill(-w.pid, SIGTERM);
    CHECK_MSG(run_until(&w, answers_without_process, WAIT_MS), "nobody was told");
    CHECK(!newest(&w)->act);
    CHECK_EQ(w.restarts, 0);
    w.by_hand = false;
    CHECK_MSG(run_until(&w, done_and_closed, WAIT_MS), "and when his is gone too, it was not healed");
    CHECK_EQ(w.restarts, 1);
    world_close(&w);
}

TEST(loop_a_stalled_engine_that_answers_health_is_restarted)
{
    world w;
    world_open(&w, "auto");
    CHECK(run_until(&w, healthy, WAIT_MS));
    w.stalled = true;
    w.moving = false;
    CHECK_MSG(run_until(&w, is_open, WAIT_MS), "no incident was opened");
    CHECK_MSG(run_until(&w, done_and_closed, WAIT_MS), "it was not healed");
    CHECK_STR(newest(&w)->cause, "decode_stalled");
    CHECK_EQ(newest(&w)->confidence, CONFIDENCE_CONFIRMED);
    CHECK_EQ(w.restarts, 1);
    world_close(&w);
}

/* The store then answers with what was seen at that time, and takes nothing new. */
TEST(loop_a_clock_that_is_set_back_does_not_bring_an_old_fault_back)
{
    world w;
    world_open(&w, "auto");
    CHECK(run_until(&w, healthy, WAIT_MS));
    w.stalled = true;
    w.moving = false;
    CHECK_MSG(run_until(&w, is_open, WAIT_MS), "no incident was opened");
    int64_t then_ms = clock_now_ms();
    CHECK_MSG(run_until(&w, done_and_closed, WAIT_MS), "it was not healed");
    run_until(&w, never, 1500);
    clock_fake(then_ms);
    run_until(&w, never, 1500);
    bool found_again = !is_closed(&w);
    clock_real();
    CHECK_MSG(!found_again, "the fault of then was found again");
    CHECK_EQ(w.restarts, 1);
    world_close(&w);
}

/* The host slept, or galen was not let run: every request in flight is late at once, every age has jumped. */
TEST(loop_a_gap_in_our_own_time_is_no_fault_of_an_engine)
{
    world w;
    world_open(&w, "suggest");
    CHECK(run_until(&w, healthy, WAIT_MS));
    w.stalled = true;
    w.moving = false;
    run_until(&w, never, 400);       /* it works, and the stall is not old enough to be one */
    clock_fake(clock_now_ms() + 60000);
    int steps = 0;
    for (; steps < 200 && !is_open(&w); steps++) {
        clock_advance(100);
        run_until(&w, never, 50);
    }
    bool too_soon = steps < 50, in_the_end = is_open(&w);
    clock_real();
    CHECK_MSG(!too_soon, "concluded right after the gap");
    CHECK_MSG(in_the_end, "a stall that lasts must be found");
    world_close(&w);
}

TEST(loop_a_frozen_process_is_restarted)
{
    world w;
    world_open(&w, "auto");
    CHECK(run_until(&w, healthy, WAIT_MS));
    kill(w.pid, SIGSTOP);
    CHECK_MSG(run_until(&w, is_open, WAIT_MS), "no incident was opened");
    CHECK_STR(newest(&w)->cause, "engine_frozen");
    CHECK_MSG(run_until(&w, done_and_closed, WAIT_MS), "it was not healed");
    CHECK_EQ(w.restarts, 1);
    world_close(&w);
}

TEST(loop_a_saturated_engine_is_left_alone_and_a_dead_one_after_it_is_not)
{
    world w;
    world_open(&w, "auto");
    CHECK(run_until(&w, healthy, WAIT_MS));
    w.busy = true;
    CHECK_MSG(run_until(&w, is_open, WAIT_MS), "saturation was not told");
    CHECK_STR(newest(&w)->cause, "saturated");
    run_until(&w, never, 1500);
    CHECK_EQ(w.restarts, 0);
    CHECK(!heal_at(w.heal, 0, &(heal_info){ 0 }));
    kill(-w.pid, SIGKILL);
    w.busy = false;
    CHECK_MSG(run_until(&w, done_and_closed, WAIT_MS), "it was not healed");
    CHECK_EQ(w.restarts, 1);
    world_close(&w);
}

TEST(loop_what_a_restart_does_not_cure_ends_with_a_person)
{
    world w;
    world_open(&w, "auto");
    CHECK(run_until(&w, healthy, WAIT_MS));
    w.stalled = true;
    w.moving = w.cure = false;
    CHECK_MSG(run_until(&w, needs_human, 2 * WAIT_MS), "nobody was called");
    CHECK_EQ(w.restarts, 2);         /* the first attempt and one retry, although the fault came back under a new number */
    CHECK_CONTAINS(str_from(story(&w).kinds), "heal.escalated");
    CHECK_CONTAINS(str_from(story(&w).kinds), "heal.escalation ");
    double v = 0;
    CHECK_EQ(query_number(w.query, STR("heal_needs_human{job=\"j\",instance=\"i\"}"), clock_now_ms(), &v, NULL), OK);
    CHECK_DOUBLE(v, 1);
    CHECK_EQ(query_number(w.query, STR("diagnose_incident_open{job=\"j\",cause=\"decode_stalled\"}"), clock_now_ms(), &v, NULL), OK);
    CHECK_DOUBLE(v, 1);
    world_close(&w);
}

static void fire(world *w, alert_state state)
{
    const label at[] = { { STR("alertname"), STR("Odd") }, { STR("instance"), STR("i") }, { STR("job"), STR("j") } };
    alert_info a = { .rule = STR("Odd"), .labels = { at, COUNT_OF(at) }, .state = state, .fired_at_ms = clock_now_ms() };
    diagnose_alert(w->diagnose, &a, ALERT_PENDING);
    heal_alert(w->heal, &a, ALERT_PENDING);
}

static bool has_treatment(world *w) { return heal_at(w->heal, 0, &(heal_info){ 0 }); }

TEST(loop_a_firing_alert_is_acted_on_unless_the_engine_is_saturated)
{
    world w;
    heal_info i;
    world_open(&w, "auto");
    CHECK(run_until(&w, healthy, WAIT_MS));
    fire(&w, ALERT_FIRING);
    CHECK_MSG(run_until(&w, is_done, WAIT_MS), "the alert was not acted on");
    CHECK(heal_at(w.heal, 0, &i));
    CHECK_STR(i.cause, "alert:Odd");
    fire(&w, ALERT_INACTIVE);
    w.busy = true;
    CHECK(run_until(&w, is_open, WAIT_MS));
    fire(&w, ALERT_FIRING);
    run_until(&w, never, 1000);
    CHECK_MSG(in_state(&w, HEAL_WAITING), "a saturated engine was acted on because of an alert");
    world_close(&w);
}

TEST(loop_an_engine_that_still_loads_its_model_is_not_acted_on_by_an_alert)
{
    world w;
    world_open(&w, "auto");
    w.loading = true;
    fire(&w, ALERT_FIRING);
    run_until(&w, never, 1500);
    bool waits = in_state(&w, HEAL_WAITING);
    w.loading = false;
    CHECK_MSG(waits, "an engine was restarted while it was starting");
    CHECK_MSG(run_until(&w, is_done, WAIT_MS), "and not when it had answered");
    world_close(&w);
}

TEST(loop_an_expression_is_acted_on)
{
    world w;
    heal_info i;
    sink_result rejected = { 0 };
    err e = { 0 };
    const label at[] = { { METRIC_NAME, STR("odd") }, { STR("instance"), STR("i") }, { STR("job"), STR("j") } };
    world_open(&w, "auto");
    CHECK(run_until(&w, healthy, WAIT_MS));
    sample_row row = { .labels = { at, COUNT_OF(at) }, .t_ms = clock_now_ms(), .v = 1 };
    CHECK_OK(store_append(w.store, &row, 1, &rejected, &e), e);
    CHECK_MSG(run_until(&w, has_treatment, WAIT_MS), "the expression was not noticed");
    CHECK_MSG(run_until(&w, is_done, WAIT_MS), "the expression was not acted on");
    CHECK(heal_at(w.heal, 0, &i));
    CHECK_STR(i.cause, "expr:by-expr");
    world_close(&w);
}

static bool is_restarting(world *w)
{
    heal_info i;
    return heal_at(w->heal, 0, &i) && i.state == HEAL_ACTING && str_is(i.action, "restart");
}

TEST(loop_galen_ends_in_the_middle_of_a_restart)
{
    world w;
    world_open(&w, "auto");
    CHECK(run_until(&w, healthy, WAIT_MS));
    kill(w.pid, SIGSTOP);
    CHECK_MSG(run_until(&w, is_restarting, WAIT_MS), "no restart began");
    close_rooms(&w);
    open_rooms(&w);
    CHECK_MSG(run_until(&w, done_and_closed, WAIT_MS), "it was not healed");
    CHECK_EQ(w.restarts, 1);
    world_close(&w);
}

TEST(loop_suggest_only_says_so)
{
    world w;
    world_open(&w, "suggest");
    CHECK(run_until(&w, healthy, WAIT_MS));
    kill(-w.pid, SIGKILL);
    CHECK(run_until(&w, is_suggested, WAIT_MS));
    run_until(&w, never, 400);
    CHECK_EQ(w.restarts, 0);
    CHECK_CONTAINS(str_from(story(&w).kinds), "heal.suggested");
    world_close(&w);
}

static bool keep_message(void *ctx, const audit_record *r)
{
    str_copy(ctx, 200, r->message);
    return true;
}

TEST(loop_a_replica_that_leaves_the_configuration_takes_its_incident_along)
{
    world w;
    char last[200] = "";
    yaml_doc *doc = NULL;
    watch_config *without;
    err e = { 0 };
    world_open(&w, "suggest");
    CHECK(run_until(&w, healthy, WAIT_MS));
    kill(-w.pid, SIGKILL);
    CHECK_MSG(run_until(&w, is_open, WAIT_MS), "no incident was opened");
    CHECK_OK(yaml_parse(STR("{host: off, discovery: off}"), "galen.yml", &doc, &e), e);
    CHECK_OK(watch_config_parse(&(config){ .doc = doc, .watch = doc->root }, &without, &e), e);
    CHECK_OK(watch_reload(w.watch, without, &e), e);
    yaml_doc_free(doc);
    CHECK_MSG(run_until(&w, is_closed, WAIT_MS), "the incident stays open");
    CHECK_OK(audit_list(w.audit_dir, &(audit_filter){ .incident = newest(&w)->id, .kind_prefix = STR("diagnose.") }, keep_message, last, &e), e);
    CHECK_STR(str_from(last), "the replica is not watched any more"); /* and not: healthy again */
    world_close(&w);
}

TEST(loop_incident_and_treatment_survive_galen)
{
    world w;
    char id[64];
    world_open(&w, "suggest");
    CHECK(run_until(&w, healthy, WAIT_MS));
    kill(w.pid, SIGSTOP);
    CHECK(run_until(&w, is_suggested, WAIT_MS));
    str_copy(id, sizeof id, newest(&w)->id);
    close_rooms(&w);
    open_rooms(&w);
    CHECK_STR(newest(&w)->id, id);
    CHECK(is_open(&w));
    CHECK(is_suggested(&w));
    CHECK_EQ(diagnose_open_incident(w.diagnose, SUBJECT)->episode, newest(&w)->episode);
    world_close(&w);
}
