/* face/overview.c - GET /api/galen/v1/overview: everything the first page shows, in one answer.
 *
 * Each room is asked through its door; numbers come from the store by PromQL and carry their expression, so the
 * page can show where a number is from. A room that cannot answer leaves a null or an empty list, never an error:
 * the page must work most of all when something is broken. */
#include "face/room.h"
#include "face/host_exprs.h"
#include "face/state.h"
#include <math.h>

#define OVERVIEW_REPLICAS_MAX 1000
#define OVERVIEW_ALERTS_MAX 500
#define OVERVIEW_OPEN_MAX 200 /* incidents */
#define OVERVIEW_CLOSED_MAX 5
#define OVERVIEW_EPISODES_MAX 50
#define EXPR_MAX_BYTES 4096

/* One number per replica, asked for all of them at once. */
static const struct {
    const char *key, *expr;
} replica_numbers[] = {
    { "running", "sum by (job, instance) (llm_requests_running)" },
    { "waiting", "sum by (job, instance) (llm_requests_waiting)" },
    { "tokens_per_s", "sum by (job, instance) (rate(llm_generation_tokens_total[1m]))" },
    { "kv_cache_ratio", "max by (job, instance) (llm_kv_cache_usage_ratio)" },
};
#define REPLICA_NUMBERS COUNT_OF(replica_numbers)

/* ---- host ---- */
static double ask_number(face *f, str expr, int64_t now_ms)
{
    double v = NAN;
    return f->deps.query && query_number(f->deps.query, expr, now_ms, &v, NULL) == OK ? v : NAN;
}

static void write_host_vital(face *f, json_writer *w, const host_expr *x, str matchers, int64_t now_ms, buf *expr,
                             json_writer *exprs)
{
    host_expr_fill(x->expr, matchers, HOST_WINDOW, expr);
    double v = ask_number(f, buf_str(expr), now_ms);
    if (isnan(v) && host_expr_has_window(x->expr)) {
        host_expr_fill(x->expr, matchers, HOST_WINDOW_WIDE, expr);
        v = ask_number(f, buf_str(expr), now_ms);
    }
    json_put_double(w, x->key, v);
    json_put_str(exprs, x->key, buf_str(expr));
}

static void write_host(face *f, json_writer *w, int64_t now_ms)
{
    AUTO(buf_done) buf matchers = BUF_INIT(EXPR_MAX_BYTES);
    AUTO(buf_done) buf expr = BUF_INIT(EXPR_MAX_BYTES);
    AUTO(buf_done) buf exprs_text = BUF_INIT(OVERVIEW_MAX_BYTES);
    json_writer exprs = json_writer_to(&exprs_text);

    diagnose_replica_matchers(STR("node"), str_from(f->host_name), &matchers);
    json_begin(&exprs, '{');
    json_key(w, "host");
    json_begin(w, '{');
    json_put_cstr(w, "name", f->host_name);
    for (size_t i = 0; i < host_expr_count; i++)
        write_host_vital(f, w, &host_exprs[i], buf_str(&matchers), now_ms, &expr, &exprs);
    for (size_t i = 0; i < REPLICA_NUMBERS; i++) {
        buf_reset(&expr);
        buf_printf(&expr, "replica_%s", replica_numbers[i].key);
        json_put_cstr(&exprs, buf_cstr(&expr), replica_numbers[i].expr);
    }
    json_end(&exprs, '}');
    json_key(w, "exprs");
    json_raw(w, buf_failed(&exprs_text) ? STR("{}") : buf_str(&exprs_text));
    json_end(w, '}');
}

/* ---- replicas ---- */
typedef struct replica_answers {
    query_result at[REPLICA_NUMBERS];
    bool ok[REPLICA_NUMBERS];
} replica_answers;

static void ask_replica_numbers(face *f, int64_t now_ms, replica_answers *ret)
{
    for (size_t i = 0; i < REPLICA_NUMBERS; i++)
        ret->ok[i] = f->deps.query && query_instant(f->deps.query, str_from(replica_numbers[i].expr), now_ms, NULL,
                                                    &ret->at[i], NULL) == OK;
}

static void replica_answers_done(replica_answers *a)
{
    for (size_t i = 0; i < REPLICA_NUMBERS; i++)
        if (a->ok[i])
            query_result_done(&a->at[i]);
}

static double number_of(const query_result *r, str job, str instance)
{
    for (size_t i = 0; i < r->len; i++)
        if (r->series[i].len && str_eq(labels_get(r->series[i].labels, STR("job")), job) &&
            str_eq(labels_get(r->series[i].labels, STR("instance")), instance))
            return r->series[i].at[0].v;
    return NAN;
}

static const char *process_state_word(process_state s)
{
    static const char *const words[] = { [PROCESS_NONE] = "none",
                                         [PROCESS_STARTING] = "starting",
                                         [PROCESS_RUNNING] = "running",
                                         [PROCESS_STOPPING] = "stopping",
                                         [PROCESS_EXITED] = "exited" };
    return (size_t)s < COUNT_OF(words) ? words[s] : "none";
}

static void write_process(json_writer *w, const replica_info *r)
{
    json_key(w, "process");
    json_begin(w, '{');
    json_put_cstr(w, "state", process_state_word(r->process));
    json_put_i64(w, "pid", r->pid);
    json_put_i64(w, "start_ms", r->process_start_ms);
    json_put_i64(w, "restarts", r->restarts);
    json_put_i64(w, "last_exit_code", r->last_exit_code);
    json_put_i64(w, "last_signal", r->last_signal);
    json_end(w, '}');
}

static const incident *open_incident(face *f, const char *id)
{
    return f->deps.diagnose ? diagnose_open_incident(f->deps.diagnose, str_from(id)) : NULL;
}

static void write_replica(face *f, json_writer *w, const replica_info *r, const replica_answers *numbers)
{
    const struct {
        const char *key, *text;
    } texts[] = {
        { "id", r->id },
        { "name", r->name },
        { "job", r->job },
        { "instance", r->instance },
        { "url", r->url },
        { "engine", r->engine },
        { "version", r->version },
        { "model", r->model },
        { "state", replica_state_name(r, open_incident(f, r->id)) },
        { "scrape_error", r->scrape_error },
        { "probe_error", r->probe_error },
        { "progress", r->progress },
    };
    json_begin(w, '{');
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        json_put_cstr(w, texts[i].key, texts[i].text);
    json_put_bool(w, "discovered", r->discovered);
    write_process(w, r);
    json_put_i64(w, "up", r->up);
    json_put_i64(w, "health", r->health);
    json_put_i64(w, "completion", r->completion);
    json_put_double(w, "ttft_s", r->probe_ttft_s);
    for (size_t i = 0; i < REPLICA_NUMBERS; i++)
        json_put_double(w, replica_numbers[i].key,
                        numbers->ok[i] ? number_of(&numbers->at[i], str_from(r->job), str_from(r->instance)) : NAN);
    json_end(w, '}');
}

static void write_replicas(face *f, json_writer *w, int64_t now_ms)
{
    replica_answers numbers = { 0 };
    const replica_info *r = f->deps.watch ? watch_replica_at(f->deps.watch, 0) : NULL;

    json_key(w, "replicas");
    json_begin(w, '[');
    if (r)
        ask_replica_numbers(f, now_ms, &numbers);
    for (size_t i = 0; r && i < OVERVIEW_REPLICAS_MAX; r = watch_replica_at(f->deps.watch, ++i))
        write_replica(f, w, r, &numbers);
    json_end(w, ']');
    replica_answers_done(&numbers);
}

/* ---- alerts, incidents, healing, galen itself ---- */
static void write_alert(json_writer *w, const alert_info *a)
{
    json_begin(w, '{');
    json_put_str(w, "name", a->rule);
    json_put_str(w, "group", a->group);
    json_put_cstr(w, "state", a->state == ALERT_FIRING ? "firing" : a->state == ALERT_PENDING ? "pending" : "inactive");
    labels_json(w, "labels", a->labels);
    json_key(w, "annotations");
    json_begin(w, '{');
    for (size_t i = 0; i < a->annotation_count; i++) {
        json_key_str(w, a->annotations[i].key);
        json_str(w, a->annotations[i].value);
    }
    json_end(w, '}');
    json_put_i64(w, "active_at_ms", a->active_at_ms);
    json_put_double(w, "value", a->value);
    json_end(w, '}');
}

static void write_alerts(face *f, json_writer *w)
{
    alert_info a;
    json_key(w, "alerts");
    json_begin(w, '[');
    for (size_t i = 0; f->deps.alert && i < OVERVIEW_ALERTS_MAX && alert_at(f->deps.alert, i, &a); i++)
        write_alert(w, &a);
    json_end(w, ']');
}

static void write_incidents(face *f, json_writer *w)
{
    const incident *in;
    size_t open = 0, closed = 0;

    json_key(w, "incidents");
    json_begin(w, '[');
    for (size_t i = 0; f->deps.diagnose && (in = diagnose_incident_at(f->deps.diagnose, i)); i++)
        if (in->closed_ms ? closed++ < OVERVIEW_CLOSED_MAX : open++ < OVERVIEW_OPEN_MAX)
            incident_json(w, in);
    json_end(w, ']');
}

static void write_episode(json_writer *w, const heal_info *h)
{
    static const char *const modes[] = { [HEAL_OFF] = "off", [HEAL_SUGGEST] = "suggest", [HEAL_AUTO] = "auto" };
    json_begin(w, '{');
    json_put_str(w, "policy", h->policy);
    json_put_str(w, "subject", h->subject);
    json_put_str(w, "incident", h->incident);
    json_put_str(w, "cause", h->cause);
    json_put_str(w, "action", h->action);
    json_put_cstr(w, "state", heal_state_name(h->state));
    json_put_cstr(w, "mode", (size_t)h->mode < COUNT_OF(modes) ? modes[h->mode] : "suggest");
    json_put_i64(w, "attempt", h->attempt);
    json_put_i64(w, "since_ms", h->since_ms);
    json_put_str(w, "reason", h->reason);
    json_end(w, '}');
}

static void write_heal(face *f, json_writer *w)
{
    heal_info h;
    json_key(w, "heal");
    json_begin(w, '[');
    for (size_t i = 0; f->deps.heal && i < OVERVIEW_EPISODES_MAX && heal_at(f->deps.heal, i, &h); i++)
        write_episode(w, &h);
    json_end(w, ']');
}

static void write_own(face *f, json_writer *w)
{
    vitals_now now = vitals_look(&f->vitals);
    json_key(w, "own");
    json_begin(w, '{');
    json_put_double(w, "rss_bytes", now.own_rss_bytes);
    json_put_double(w, "cpu_ratio", now.own_cpu_ratio);
    if (f->deps.store) {
        store_stats s = store_stats_get(f->deps.store);
        json_put_i64(w, "series", (int64_t)s.head_series);
        json_put_double(w, "samples_per_s", meter_step(&f->vitals.samples, (double)s.appended_total, clock_mono_ns()));
    }
    json_end(w, '}');
}

void overview_write(face *f, buf *out, int64_t now_ms)
{
    json_writer w = json_writer_to(out);

    json_begin(&w, '{');
    json_put_cstr(&w, "version", GALEN_VERSION);
    json_put_i64(&w, "now_ms", now_ms);
    json_put_double(&w, "uptime_s", (double)((clock_mono_ns() - f->opened_ns) / NS_PER_MS) / 1000);
    write_host(f, &w, now_ms);
    write_replicas(f, &w, now_ms);
    write_alerts(f, &w);
    write_incidents(f, &w);
    write_heal(f, &w);
    write_own(f, &w);
    if (f->deps.stores)
        f->deps.stores(f->deps.main_ctx, &w);
    json_end(&w, '}');
}

void overview_get(http_request *req)
{
    face *f = req->route_ctx;
    int64_t now_ns = clock_mono_ns();

    if (f->overview_at_ns == 0 || now_ns - f->overview_at_ns >= OVERVIEW_FRESH_NS || buf_failed(&f->overview)) {
        buf_reset(&f->overview);
        overview_write(f, &f->overview, clock_now_ms());
        f->overview_at_ns = now_ns;
    }
    reply_json(req, &f->overview);
}
