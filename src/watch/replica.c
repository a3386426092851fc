#include "watch/replica.h"
#include <stdio.h>

#define PROCESS_EVERY_MS 1000
#define PROCESS_FDS_EVERY 15 /* samples: counting descriptors is the dear part */

struct replica {
    replica_deps deps;
    watch_config *generation;
    arena arena;                  /* of a discovered one: its configuration */
    const replica_config *config; /* NULL: observed */
    replica_config own;
    char id[528], job[256], instance[256], name[256], url[512];
    char model[256];
    const char *engine; /* static; "" unknown */
    target *target;
    process *process;
    prober *prober;
    progress progress;
    engine_signals signals;
    emit series, process_series, probe_series[PROBE_KIND_COUNT];
    row_vec rows;
    net_timer *health_timer, *probe_timer, *process_timer;
    unsigned process_samples;
    bool tell; /* something changed; said once its series are in the sink */
    replica_info info;
};

/* ---- progress and engine, with each scrape ---- */
static void put_series(replica *r)
{
    int64_t now_ms = clock_now_ms(); /* not the start of the scrape: a probe may have spoken since */
    double age = progress_age_s(&r->progress, now_ms);
    emit_begin(&r->series, now_ms);
    if (r->engine[0]) {
        label engine = { STR("engine"), str_from(r->engine) };
        emit_put(&r->series, EMIT_NAME("watch_engine_info"), &engine, 1, 1);
    }
    for (progress_state s = 0; s < PROGRESS_STATE_COUNT; s++) {
        label state = { STR("state"), str_from(progress_state_name(s)) };
        emit_put(&r->series, EMIT_NAME("watch_progress_state"), &state, 1, r->progress.state == s);
    }
    if (!isnan(age))
        emit_value(&r->series, "watch_progress_age_seconds", age);
}

static void flush(replica *r, emit *m)
{
    err e = { 0 };
    if (emit_flush(m, &r->rows, &r->deps.sink, &e))
        log_warn("could not keep what was seen of a replica", KV_CSTR("replica", r->id), KV_ERR(&e));
}

static void probe_if_wanted(replica *r)
{
    if (progress_wants_probe(&r->progress) && r->prober && r->config && r->config->probe.enabled &&
        !prober_in_flight(r->prober, PROBE_COMPLETION))
        (void)prober_completion(r->prober, NULL, NULL, NULL);
}

static progress_config progress_config_of(const replica *r)
{
    return (progress_config){ .stall_after_ms = r->config ? r->config->stall_after_ms : PROGRESS_STALL_AFTER_MS };
}

static void step(replica *r, const progress_input *in, int64_t now_ms)
{
    progress_config c = progress_config_of(r);
    progress_state before = r->progress.state;
    r->progress = progress_step(r->progress, &c, in, now_ms);
    if (r->progress.state == before || (r->progress.state != PROGRESS_STALLED && before != PROGRESS_STALLED))
        return;
    r->tell = true;
    if (r->progress.state == PROGRESS_STALLED)
        log_warn("a replica is stalled: requests run, no step, no token for a probe", KV_CSTR("replica", r->id));
    else if (r->progress.state != PROGRESS_UNKNOWN)
        log_info("a replica is no longer stalled", KV_CSTR("replica", r->id),
                 KV_CSTR("state", progress_state_name(r->progress.state)));
}

/* Whoever hears looks into the store, so the rows must be there first. */
static void tell_change(replica *r)
{
    bool due = r->tell;
    r->tell = false;
    if (due && r->deps.on_change)
        r->deps.on_change(r->deps.ctx, r->id);
}

static void see_page(replica *r, const page_result *page)
{
    const char *engine = engine_name(&page->seen);
    bool fixed = r->config && r->config->engine.len && !str_is(r->config->engine, "auto");
    if (engine && !fixed)
        r->engine = engine;
    if (page->model.len)
        str_copy(r->model, sizeof r->model, page->model);
    r->signals = engine_signals_of(&page->seen, r->engine);
}

void replica_on_scrape(replica *r, const scrape_outcome *o, row_vec *rows)
{
    bool rose = o->up && r->info.up == 0;
    r->tell = r->tell || r->info.up != o->up;
    r->info.up = o->up;
    str_copy(r->info.scrape_error, sizeof r->info.scrape_error, o->error ? str_from(o->error->message) : STR_EMPTY);
    if (o->up) {
        see_page(r, o->page);
        if (r->process)
            process_answered(r->process);
    }
    progress_input in = { .is_scrape = true,
                          .up = o->up,
                          .known = o->up && r->signals.known,
                          .running = r->signals.running,
                          .waiting = r->signals.waiting,
                          .counter = r->signals.progress,
                          .probe_steps = r->signals.probe_steps,
                          .probe_in_flight = r->prober && prober_in_flight(r->prober, PROBE_COMPLETION) };
    step(r, &in, clock_now_ms());
    put_series(r);
    if (emit_collect(&r->series, rows))
        log_warn("could not report progress: out of memory", KV_CSTR("replica", r->id));
    if (rose && r->health_timer)
        (void)prober_health(r->prober, NULL); /* it just came: its last health is that of before */
    probe_if_wanted(r);
}

void replica_on_settled(replica *r)
{
    emit_settle(&r->series);
    tell_change(r);
}

static void on_own_scrape(void *ctx, target *t, const scrape_outcome *o, row_vec *rows)
{
    replica_on_scrape(ctx, o, rows);
}
static void on_own_settled(void *ctx, target *t) { replica_on_settled(ctx); }

/* ---- probes ---- */
static void put_probe(replica *r, probe_kind kind, const probe_result *p)
{
    emit *m = &r->probe_series[kind];
    emit_begin(m, clock_now_ms());
    emit_value(m, "probe_success", p->ok);
    emit_value(m, "probe_duration_seconds", p->total_s);
    emit_value(m, "probe_http_status_code", p->http_status);
    emit_value(m, "probe_refused", p->refused);
    emit_value(m, "probe_timeout", p->timeout);
    if (kind == PROBE_COMPLETION && p->ok)
        emit_value(m, "probe_ttft_seconds", p->ttft_s);
    flush(r, m);
}

/* What a finished completion says about progress. A refused or broken connection, a wrong key or an unknown model
 * says nothing of decoding; silence, overload and an engine's own errors do. */
static progress_probe verdict(const probe_result *p)
{
    if (p->ok)
        return PROGRESS_PROBE_OK;
    bool engine_said = p->http_status == 200 || p->http_status == 429 || p->http_status >= 500;
    return p->timeout || engine_said ? PROGRESS_PROBE_NO_TOKEN : PROGRESS_PROBE_NO_ANSWER;
}

static bool is_gone(const replica *r) { return r->process && process_info_of(r->process).state == PROCESS_EXITED; }

static void on_probe(void *ctx, probe_kind kind, const probe_result *p)
{
    replica *r = ctx;
    put_probe(r, kind, p);
    if (!p->ok || kind == PROBE_COMPLETION || r->info.completion != 0)
        str_copy(r->info.probe_error, sizeof r->info.probe_error, str_from(p->error));
    if (p->ok && r->process)
        process_answered(r->process);
    if (kind == PROBE_HEALTH) {
        r->info.health = p->ok;
        r->tell = r->tell || is_gone(r);
        tell_change(r);
        return;
    }
    r->info.completion = p->ok;
    r->info.probe_ttft_s = p->ok ? p->ttft_s : NAN;
    progress_state before = r->progress.state;
    const progress_input in = { .probe = verdict(p), .probe_steps = r->signals.probe_steps,
                                .probe_waited_ms = (int64_t)(p->total_s * MS_PER_S) };
    step(r, &in, clock_now_ms());
    if (r->progress.state != before) {
        put_series(r);
        flush(r, &r->series);
    }
    probe_if_wanted(r);
    tell_change(r);
}

static void health_due(void *ctx)
{
    replica *r = ctx;
    (void)prober_health(r->prober, NULL); /* the last one still runs: its turn is skipped */
}

static void probe_due(void *ctx)
{
    replica *r = ctx;
    bool busy = r->progress.state == PROGRESS_PROGRESSING || r->progress.state == PROGRESS_SATURATED;
    if (busy && !r->config->probe.every_set)
        return; /* real traffic shows it */
    if (!prober_in_flight(r->prober, PROBE_COMPLETION))
        (void)prober_completion(r->prober, NULL, NULL, NULL);
}

/* ---- process ---- */
static void sample_process(replica *r)
{
    emit_begin(&r->process_series, clock_now_ms());
    process_sample(r->process, &r->process_series, r->process_samples++ % PROCESS_FDS_EVERY == 0);
    flush(r, &r->process_series);
}

static void process_due(void *ctx) { sample_process(ctx); }

static void on_process_change(void *ctx)
{
    replica *r = ctx;
    if (!r->process)
        return;
    sample_process(r);
    if (is_gone(r) && r->health_timer)
        (void)prober_health(r->prober, NULL); /* does its port refuse now, or does somebody else answer? */
    r->tell = true;
    tell_change(r);
}

/* ---- life ---- */
static err_kind init_series(replica *r, labels base)
{
    label with_probe[LABELS_MAX];
    static const char *const kinds[PROBE_KIND_COUNT] = { "health", "completion" };
    if (emit_init(&r->series, base) || emit_init(&r->process_series, base))
        return ERR_NOMEM;
    for (size_t i = 0; i < PROBE_KIND_COUNT; i++) {
        size_t n = MIN(base.len, LABELS_MAX - 1);
        memcpy(with_probe, base.at, n * sizeof *with_probe);
        with_probe[n++] = (label){ STR("probe"), str_from(kinds[i]) };
        if (labels_normalise(with_probe, &n, NULL) || emit_init(&r->probe_series[i], (labels){ with_probe, n }))
            return ERR_NOMEM;
    }
    return OK;
}

static void init_names(replica *r, str name, str job, str instance, str url)
{
    str_copy(r->name, sizeof r->name, name);
    str_copy(r->job, sizeof r->job, job);
    str_copy(r->instance, sizeof r->instance, instance);
    str_copy(r->url, sizeof r->url, url);
    snprintf(r->id, sizeof r->id, "replica:%s/%s", r->job, r->instance);
    r->info = (replica_info){ .id = r->id,
                              .name = r->name,
                              .job = r->job,
                              .instance = r->instance,
                              .url = r->url,
                              .engine = "",
                              .version = "",
                              .model = r->model,
                              .last_exit_code = -1,
                              .last_signal = -1,
                              .up = -1,
                              .health = -1,
                              .completion = -1,
                              .probe_ttft_s = NAN };
    r->engine = "";
}

static replica *replica_new(const replica_deps *deps)
{
    replica *r = mem_zalloc(sizeof *r);
    if (r) {
        r->deps = *deps;
        r->arena = arena_init(64u << 10);
    }
    return r;
}

static err_kind open_process(replica *r, process *take_process, err *e)
{
    const process_config *c = &r->config->process;
    if (!c->enabled) {
        process_release(take_process);
        return OK;
    }
    if (take_process)
        process_rebind(take_process, r->id, c, on_process_change, r);
    r->process = take_process;
    process_deps d = { .loop = r->deps.loop,
                       .audit = r->deps.audit,
                       .state = r->deps.state,
                       .spool_dir = r->deps.spool_dir,
                       .on_change = on_process_change,
                       .ctx = r };
    err_kind k = r->process ? OK : process_open(&d, r->id, c, &r->process, e);
    if (k)
        return k;
    r->process_timer = net_timer_start(r->deps.loop, 0, PROCESS_EVERY_MS, process_due, r);
    return r->process_timer ? OK : err_nomem(e);
}

static err_kind open_probes(replica *r, err *e)
{
    const replica_config *c = r->config;
    prober_deps d = { .loop = r->deps.loop, .client = r->deps.client, .on_result = on_probe, .ctx = r };
    err_kind k = prober_open(&d, c, &r->prober, e);
    if (k)
        return k;
    if (c->health.enabled)
        r->health_timer = net_timer_start(r->deps.loop, 0, c->health.every_ms, health_due, r);
    if (c->probe.enabled)
        r->probe_timer = net_timer_start(r->deps.loop, MIN(c->probe.every_ms, 1000), c->probe.every_ms, probe_due, r);
    return (c->health.enabled && !r->health_timer) || (c->probe.enabled && !r->probe_timer) ? err_nomem(e) : OK;
}

static err_kind open_parts(replica *r, process *take_process, err *e)
{
    AUTO(arena_done) arena a = arena_init(1u << 20);
    target_deps d = { .loop = r->deps.loop,
                      .client = r->deps.client,
                      .sink = r->deps.sink,
                      .on_scrape = on_own_scrape,
                      .on_settled = on_own_settled,
                      .ctx = r };
    target_spec *specs;
    size_t n;
    err_kind k = scrape_job_targets(&r->config->scrape, &a, &specs, &n, e);
    if (!k)
        k = init_series(r, specs[0].labels) ? err_nomem(e) : OK;
    if (k) {
        process_close(take_process);
        return k;
    }
    k = open_process(r, take_process, e);
    if (!k)
        k = target_open(&d, &r->config->scrape, &specs[0], true, &r->target, e);
    return k ? k : open_probes(r, e);
}

err_kind replica_open(const replica_deps *deps, watch_config *generation, const replica_config *c,
                      process *take_process, replica **ret, err *e)
{
    replica *r = replica_new(deps);
    if (!r) {
        process_close(take_process);
        return err_nomem(e);
    }
    r->generation = watch_config_ref(generation);
    r->config = c;
    init_names(r, c->name, c->job, c->instance, c->url);
    if (!str_is(c->engine, "auto")) {
        static const char *const names[] = { "vllm", "llama.cpp", "sglang", "tgi", "lmdeploy" };
        for (size_t i = 0; i < COUNT_OF(names); i++)
            r->engine = str_is(c->engine, names[i]) ? names[i] : r->engine;
    }
    if (c->probe.model)
        str_copy(r->model, sizeof r->model, str_from(c->probe.model));
    err_kind k = open_parts(r, take_process, e);
    if (k) {
        replica_close(r);
        return k;
    }
    *ret = r;
    return OK;
}

err_kind replica_open_discovered(const replica_deps *deps, watch_config *generation, const char *engine, int port,
                                 const char *model, replica **ret, err *e)
{
    replica *r = replica_new(deps);
    if (!r)
        return err_nomem(e);
    r->generation = watch_config_ref(generation);
    err_kind k = replica_config_discovered(&r->arena, engine, port, generation->discovery.interval_ms,
                                           generation->stall_after_ms, &r->own);
    if (k)
        err_nomem(e);
    r->config = &r->own;
    if (!k) {
        init_names(r, r->own.name, r->own.job, r->own.instance, r->own.url);
        r->info.discovered = true;
        r->engine = engine;
        str_copy(r->model, sizeof r->model, str_from(model));
        k = open_parts(r, NULL, e);
    }
    if (k) {
        replica_close(r);
        return k;
    }
    *ret = r;
    return OK;
}

err_kind replica_open_observed(const replica_deps *deps, const target *t, replica **ret, err *e)
{
    target_info info = target_info_of(t);
    replica *r = replica_new(deps);
    if (!r)
        return err_nomem(e);
    str instance = labels_get(info.labels, STR("instance"));
    init_names(r, instance, labels_get(info.labels, STR("job")), instance, str_from(info.url));
    if (init_series(r, info.labels)) {
        replica_close(r);
        return err_nomem(e);
    }
    *ret = r;
    return OK;
}

static void end_series(replica *r, emit *m)
{
    if (m->base)
        (void)emit_flush_end(m, clock_now_ms(), &r->rows, &r->deps.sink, NULL);
    emit_done(m);
}

void replica_close(replica *r)
{
    if (!r)
        return;
    net_timer_stop(r->health_timer);
    net_timer_stop(r->probe_timer);
    net_timer_stop(r->process_timer);
    prober_close(r->prober);
    target_close(r->target);
    process_close(r->process);
    end_series(r, &r->series);
    end_series(r, &r->process_series);
    for (size_t i = 0; i < PROBE_KIND_COUNT; i++)
        end_series(r, &r->probe_series[i]);
    vec_done(&r->rows);
    arena_done(&r->arena);
    watch_config_unref(r->generation);
    mem_free(r);
}

/* ---- what others see and ask ---- */
const replica_info *replica_info_of(replica *r)
{
    r->info.engine = r->engine;
    r->info.progress = progress_state_name(r->progress.state);
    if (r->process) {
        process_info p = process_info_of(r->process);
        r->info.process = p.state;
        r->info.pid = p.state == PROCESS_EXITED ? 0 : p.pid;
        r->info.process_start_ms = p.start_ms;
        r->info.process_end_ms = p.end_ms;
        r->info.last_exit_code = p.last_exit_code;
        r->info.last_signal = p.last_signal;
        r->info.restarts = p.restarts;
    }
    return &r->info;
}

const replica_config *replica_config_of(const replica *r) { return r->config; }
target *replica_target(const replica *r) { return r->target; }

process *replica_take_process(replica *r)
{
    process *p = r->process;
    r->process = NULL;
    net_timer_stop(r->process_timer);
    r->process_timer = NULL;
    return p;
}

err_kind replica_restart(replica *r, int64_t grace_ms, void (*done)(void *ctx, const err *result), void *ctx, err *e)
{
    if (!r->process) {
        err_set(e, ERR_UNSUPPORTED, "galen does not supervise the process of \"%s\"", r->id);
        return err_hint(e, "Configure process: {command: [...]} for this replica, or let a policy run exec.");
    }
    return process_restart(r->process, grace_ms, done, ctx, e);
}

err_kind replica_probe(replica *r, void (*done)(void *ctx, const probe_result *res), void *ctx, err *e)
{
    if (!r->prober)
        return err_set(e, ERR_UNSUPPORTED, "replica \"%s\" is only scraped, not probed", r->id);
    return prober_completion(r->prober, done, ctx, e);
}
