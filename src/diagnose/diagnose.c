#include "diagnose/diagnose.h"
#include "diagnose/diagnose_state.h"
#include <stdio.h>

#define CALM_LOOK_MS 2000            /* a replica that looks well is asked this often: it keeps the idle house quiet */
#define TICK_BUDGET_NS (200 * NS_PER_MS) /* of the loop's time, a tick: when hundreds fail at once, the API must answer */
#define SATURATED_MEMORY_MS 60000    /* this long after saturation silence may still be overload */
#define PAST_ANSWER_MS (3600 * MS_PER_S)
#define PROOF_PROBE_EVERY_MS 3000
#define RENAME_AFTER_TICKS 3
#define WARN_EVERY_MS 60000
#define SUBJECT_ALERTS_MAX 16
#define CLOCK_BACK_MS 1000           /* less than this is no more than a small correction */
#define GAP_MS 5000                  /* not a late tick any more: the host slept, galen was stopped, the clock jumped */
#define GAP_REST_MS 10000            /* each door and each probe is tried again in this time */
#define SUBJECTS_MAX 10000           /* replicas ever seen, and instances alerts were about */

/* ---- subjects ---- */
static void subject_free(subject *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->alerts.len; i++)
        mem_free(s->alerts.at[i]);
    vec_done(&s->alerts);
    mem_free(s->id);
    mem_free(s);
}

static subject *subject_find(diagnose *d, str id)
{
    for (size_t i = 0; i < d->subjects.len; i++)
        if (str_is(id, d->subjects.at[i]->id))
            return d->subjects.at[i];
    return NULL;
}

static char *cstr_dup(str s)
{
    char *copy = mem_alloc(s.len + 1);
    if (copy)
        str_copy(copy, s.len + 1, s);
    return copy;
}

/* NULL without memory or beyond SUBJECTS_MAX: the replica is looked at next time. */
static subject *subject_get(diagnose *d, str id)
{
    subject *s = subject_find(d, id);
    if (s)
        return s;
    s = d->subjects.len < SUBJECTS_MAX ? mem_zalloc(sizeof *s) : NULL;
    if (!s || !(s->id = cstr_dup(id)) || vec_push(&d->subjects, s)) {
        subject_free(s);
        return NULL;
    }
    return s;
}

/* ---- incidents: memory, disk, audit, series ---- */
static void record_remove(diagnose *d, size_t i)
{
    err e = { 0 };
    incident_record *r = d->records.at[i];
    if (d->deps.state && state_delete(d->deps.state, "incident", r->view.id, &e))
        log_warn("could not forget an old incident", KV_STR("incident", r->view.id), KV_ERR(&e));
    incident_record_free(r);
    vec_remove(&d->records, i);
}

static void forget_oldest(diagnose *d)
{
    size_t closed = 0;
    for (size_t i = 0; i < d->records.len; i++)
        closed += d->records.at[i]->view.closed_ms != 0;
    for (size_t i = 0; closed > DIAGNOSE_KEEP && i < d->records.len;)
        if (d->records.at[i]->view.closed_ms) {
            record_remove(d, i);
            closed--;
        } else {
            i++;
        }
}

static void remember(diagnose *d, const incident *i, str json)
{
    err e = { 0 };
    if (d->deps.state && state_put(d->deps.state, "incident", i->id, json, &e))
        log_error("could not store an incident, it would be forgotten by a restart", KV_STR("incident", i->id), KV_ERR(&e));
}

static void tell(diagnose *d, const incident *i, incident_change change, str message)
{
    static const char *const kinds[] = { "diagnose.incident.opened", "diagnose.incident.cause", "diagnose.incident.closed" };
    AUTO(buf_done) buf json = BUF_INIT(INCIDENT_JSON_MAX);
    err e = { 0 };
    json_writer w = json_writer_to(&json);

    incident_json(&w, i);
    str data = buf_failed(&json) ? STR("{}") : buf_str(&json);
    audit_record r = { .kind = str_from(kinds[change]), .actor = STR("galen"), .subject = i->subject, .incident = i->id,
                       .message = message, .data = data };
    if (d->deps.audit && audit_append(d->deps.audit, &r, false, NULL, &e))
        log_error("could not record a diagnosis", KV_STR("incident", i->id), KV_ERR(&e));
    if (!buf_failed(&json))
        remember(d, i, data);
    if (d->deps.on_incident)
        d->deps.on_incident(d->deps.on_incident_ctx, i, change);
}

static bool split_subject(str id, str *job, str *instance)
{
    if (!str_starts(id, STR("replica:")))
        return false;
    str rest = str_skip(id, strlen("replica:"));
    ptrdiff_t slash = str_find_char(rest, '/');
    if (slash < 0)
        return false;
    *job = str_sub(rest, 0, (size_t)slash);
    *instance = str_skip(rest, (size_t)slash + 1);
    return true;
}

static void emit_one(diagnose *d, const char *name, str subject_id, str cause, double v, int64_t now_ms)
{
    AUTO(arena_done) arena a = ARENA_INIT(1u << 16);
    labels_builder b;
    str job, instance;
    sink_result rejected = { 0 };
    err e = { 0 };

    if (!d->deps.sink.append)
        return;
    labels_start(&b, &a);
    labels_put(&b, METRIC_NAME, str_from(name));
    labels_put(&b, STR("subject"), subject_id);
    labels_put(&b, STR("cause"), cause);
    if (split_subject(subject_id, &job, &instance)) {
        labels_put(&b, STR("job"), job);
        labels_put(&b, STR("instance"), instance);
    }
    labels l = labels_finish(&b);
    if (b.failed)
        return;
    sample_row row = { .labels = l, .t_ms = now_ms, .v = v };
    if (d->deps.sink.append(d->deps.sink.ctx, &row, 1, &rejected, &e))
        log_warn("could not store a diagnosis series", KV_CSTR("series", name), KV_ERR(&e));
}

static void emit(diagnose *d, const incident *i, bool open, int64_t now_ms)
{
    emit_one(d, "diagnose_incident_open", i->subject, i->cause, open, now_ms);
    emit_one(d, "diagnose_confidence", i->subject, i->cause, open ? (double)i->confidence : 0, now_ms);
}

/* ---- one look ---- */
bool diagnose_clock_is_back(const diagnose *d, int64_t now_ms)
{
    return d->newest_ms - now_ms > CLOCK_BACK_MS;
}

static void note_time(diagnose *d, int64_t now_ms)
{
    bool back = diagnose_clock_is_back(d, now_ms);
    if (back && !d->clock_told)
        log_warn("the clock was set back; only what is known of processes counts until it has caught up",
                 KV_INT("seconds", (d->newest_ms - now_ms) / MS_PER_S));
    d->clock_told = back;
    if (d->newest_ms > 0 && now_ms - d->newest_ms > GAP_MS + 3 * d->config->tick_ms) {
        log_warn("galen did not run for a while, or the clock jumped; engines are given time to answer",
                 KV_INT("seconds", (now_ms - d->newest_ms) / MS_PER_S));
        d->rest_until_ms = now_ms + GAP_REST_MS;
    }
    d->newest_ms = MAX(d->newest_ms, now_ms);
}

static err_kind ask_store(void *ctx, str expr, int64_t t_ms, double *ret, err *e)
{
    diagnose *d = ctx;
    if (diagnose_clock_is_back(d, t_ms))
        return err_set(e, ERR_NOT_FOUND, "the clock was set back");
    return query_number(d->deps.query, expr, t_ms, ret, e);
}

static symptom_limits limits_of(const diagnose_config *c)
{
    return (symptom_limits){ .fresh_ms = c->fresh_ms, .recent_ms = c->recent_ms, .stall_after_ms = c->stall_after_ms,
                             .slow_first_token_ms = c->slow_first_token_ms };
}

/* "inc-20261121-081530-7" */
static void new_id(diagnose *d, int64_t now_ms, char out[64])
{
    char iso[CLOCK_ISO_MAX];
    clock_format_iso(iso, now_ms);
    snprintf(out, 64, "inc-%.4s%.2s%.2s-%.2s%.2s%.2s-%u", iso, iso + 5, iso + 8, iso + 11, iso + 14, iso + 17, ++d->serial);
}

static size_t record_index(const diagnose *d, const incident_record *r)
{
    size_t i = 0;
    while (d->records.at[i] != r)
        i++;
    return i;
}

/* A new record takes the old one's place, or joins the list. False without memory: the state stays as it was, the
 * next look tries again. */
static bool put_record(diagnose *d, subject *s, const incident_state *next, const incident_sight *sight, int64_t now_ms)
{
    char id[64];
    if (s->open)
        str_copy(id, sizeof id, s->open->view.id);
    else
        new_id(d, now_ms, id);
    incident_record *r = incident_record_new(str_from(id), str_from(s->id), next, sight);
    if (!r)
        return false;
    if (s->open) {
        size_t i = record_index(d, s->open);
        d->records.at[i] = r;
        incident_record_free(s->open);
    } else if (vec_push(&d->records, r)) {
        incident_record_free(r);
        return false;
    }
    s->open = r;
    return true;
}

static void close_incident(diagnose *d, subject *s, str why, int64_t now_ms)
{
    incident_record *r = s->open;
    s->open = NULL;
    r->view.closed_ms = now_ms;
    r->view.present = false;
    emit(d, &r->view, false, now_ms);
    tell(d, &r->view, INCIDENT_CLOSED, why);
    forget_oldest(d);
}

static void apply(diagnose *d, subject *s, const incident_state *next, const incident_sight *sight, int64_t now_ms)
{
    incident_state before = s->state;
    if (!before.open && !next->open) {
        s->state = *next;
        return;
    }
    if (before.open && !next->open) {
        s->state = *next;
        close_incident(d, s, STR("the replica is healthy again"), now_ms);
        return;
    }
    bool renamed = !before.open || before.episode != next->episode || before.confidence != next->confidence;
    if (renamed) {
        if (before.open && before.cause != next->cause)
            emit(d, &s->open->view, false, now_ms);
        if (!put_record(d, s, next, sight, now_ms))
            return;
    }
    s->state = *next;
    incident_record_sync(s->open, next);
    if (renamed) {
        own_add(d->opened[next->cause], before.open ? 0 : 1);
        tell(d, &s->open->view, before.open ? INCIDENT_CAUSE_CHANGED : INCIDENT_OPENED, s->open->view.summary);
    }
    emit(d, &s->open->view, true, now_ms);
}

/* Has the present process answered at all? Only then its silence means something. When galen itself has just
 * started the store may remember an answer from before. */
static void note_answer(diagnose *d, subject *s, const replica_info *r, const symptom_set *set)
{
    if (s->process_start_ms != r->process_start_ms) {
        s->process_start_ms = r->process_start_ms;
        s->answered = false;
        s->saturated_ms = 0;
    }
    if (symptom_is(set, SYMPTOM_SCRAPE_OK) || symptom_is(set, SYMPTOM_HEALTH_OK))
        s->answered = true;
    if (s->answered || s->asked_past)
        return;
    AUTO(buf_done) buf expr = BUF_INIT(4096);
    double up = 0;
    int64_t window = r->process_start_ms > 0 ? MIN(set->now_ms - r->process_start_ms, PAST_ANSWER_MS) : PAST_ANSWER_MS;
    buf_append(&expr, STR("max_over_time(up{"));
    diagnose_replica_matchers(str_from(r->job), str_from(r->instance), &expr);
    buf_printf(&expr, "}[%" PRId64 "s])", MAX(window / MS_PER_S, 1));
    err_kind k = buf_failed(&expr) ? ERR_NOMEM : ask_store(d, buf_str(&expr), set->now_ms, &up, NULL);
    s->asked_past = k == OK || k == ERR_NOT_FOUND;
    s->answered = k == OK && up == 1;
}

static rank_context context_of(diagnose *d, const subject *s, const replica_info *r, int64_t now_ms)
{
    const diagnose_config *c = d->config;
    bool young = r->process_start_ms > 0 && now_ms - r->process_start_ms < c->start_grace_ms && !s->answered;
    bool resting = d->rest_until_ms > now_ms && d->rest_until_ms - now_ms <= GAP_REST_MS;
    return (rank_context){
        .tick_ms = c->tick_ms, .freeze_after_ms = c->freeze_after_ms, .saturated_after_ms = c->saturated_after_ms,
        .inconclusive_after_ms = c->inconclusive_after_ms, .starting = young || resting || r->process == PROCESS_STOPPING, .answered = s->answered,
        .was_saturated = s->saturated_ms > 0 && now_ms - s->saturated_ms < SATURATED_MEMORY_MS,
    };
}

static void probe_done(void *ctx, const probe_result *r)
{
    UNUSED(ctx);       /* its result comes back as series, like that of every probe */
    UNUSED(r);
}

/* Closing needs a test completion that worked after the last fault. Waiting for the next regular one would keep a
 * healed replica red for its whole interval, so one is asked for. */
static bool completion_proof(diagnose *d, subject *s, const replica_info *r, const symptom_set *set)
{
    AUTO(buf_done) buf expr = BUF_INIT(4096);
    symptom_limits limits = limits_of(d->config);
    symptom_set since = *set;
    double ok = 0;

    since.since_stop_ms = MIN(set->fresh_ms, set->now_ms - s->state.last_fault_ms);
    symptom_expr(SYMPTOM_PROBE_OK, r, &limits, &since, &expr);
    if (!buf_failed(&expr) && ask_store(d, buf_str(&expr), set->now_ms, &ok, NULL) == OK && ok == 1)
        return true;
    if (set->now_ms - s->probed_ms >= PROOF_PROBE_EVERY_MS) {
        s->probed_ms = set->now_ms;
        err_kind k = watch_probe(d->deps.watch, r->id, probe_done, NULL, NULL);
        if (k == ERR_UNSUPPORTED || k == ERR_NOT_FOUND)
            s->completion_known = false;     /* it was taken out of the configuration */
    }
    return false;
}

static bool proof_of_health(diagnose *d, subject *s, const replica_info *r, const symptom_set *set)
{
    bool answers = symptom_is(set, SYMPTOM_SCRAPE_OK) || symptom_is(set, SYMPTOM_HEALTH_OK) ||
                   (r->up < 0 && r->health < 0 && symptom_is(set, SYMPTOM_PROCESS_ALIVE));
    if (!s->state.open || !answers)
        return false;
    return !s->completion_known || completion_proof(d, s, r, set);
}

static void warn_questions(diagnose *d, const replica_info *r, const err *e, int64_t now_ms)
{
    own_add(d->question_errors, 1);
    if (now_ms - d->told_ms < WARN_EVERY_MS)
        return;
    d->told_ms = now_ms;
    log_warn("could not ask a symptom, taking it as unknown", KV_CSTR("replica", r->id), KV_ERR(e));
}

static void look(diagnose *d, subject *s, const replica_info *r, int64_t now_ms)
{
    symptom_limits limits = limits_of(d->config);
    symptom_set set;
    str alerts[SUBJECT_ALERTS_MAX];
    err e = { 0 };

    own_add(d->looks, 1);
    if (symptoms_ask(r, &limits, (symptom_asker){ ask_store, d }, now_ms, &set, &e))
        warn_questions(d, r, &e, now_ms);
    note_answer(d, s, r, &set);
    s->completion_known |= set.answer[SYMPTOM_PROBE_OK] != SYMPTOM_UNKNOWN;
    rank_context context = context_of(d, s, r, now_ms);
    verdict v = rank(&set, &context);
    if (v.cause == CAUSE_SATURATED)
        s->saturated_ms = now_ms;
    const incident_limits il = { .close_after_ms = d->config->close_after_ms, .rename_ms = RENAME_AFTER_TICKS * d->config->tick_ms };
    bool proof = v.kind == VERDICT_CALM && proof_of_health(d, s, r, &set);
    incident_state next = incident_step(s->state, &v, proof, &il, now_ms);
    for (size_t i = 0; i < s->alerts.len; i++)
        alerts[i] = str_from(s->alerts.at[i]);
    apply(d, s, &next, &(incident_sight){ r, &limits, &set, alerts, s->alerts.len }, now_ms);
}

/* Nothing in watch's summary looks wrong: such a replica need not be asked all questions every tick. */
static bool looks_well(const subject *s, const replica_info *r)
{
    static const char *const busy[] = { "saturated", "suspect", "stalled" };
    for (size_t i = 0; i < COUNT_OF(busy); i++)
        if (r->progress && strcmp(r->progress, busy[i]) == 0)
            return false;
    return !s->state.open && s->state.candidate == CAUSE_NONE && r->up != 0 && r->health != 0 && r->completion != 0 &&
           (r->process == PROCESS_NONE || r->process == PROCESS_RUNNING) && r->process_start_ms == s->process_start_ms;
}

/* A replica that left the configuration (or was only discovered) takes its incident along. Its subject stays: the
 * episode counter must never repeat. */
static void close_unwatched(diagnose *d, int64_t now_ms)
{
    for (size_t i = 0; i < d->subjects.len; i++) {
        subject *s = d->subjects.at[i];
        if (!s->open || now_ms - s->seen_ms < d->config->close_after_ms)
            continue;
        s->state = (incident_state){ .episode = s->state.episode };
        close_incident(d, s, STR("the replica is not watched any more"), now_ms);
    }
}

static void tick_once(diagnose *d, int64_t now_ms)
{
    const replica_info *r;
    size_t n = 0;
    int64_t until_ns = clock_mono_ns() + TICK_BUDGET_NS;
    while (watch_replica_at(d->deps.watch, n))
        n++;
    size_t first = n ? d->next_replica % n : 0;
    d->next_replica = 0;
    for (size_t i = 0; i < n && (r = watch_replica_at(d->deps.watch, (first + i) % n)); i++) {
        subject *s = subject_get(d, str_from(r->id));
        if (!s)
            continue;
        s->seen_ms = now_ms;
        if (d->next_replica || (looks_well(s, r) && now_ms < s->next_look_ms && s->next_look_ms - now_ms <= CALM_LOOK_MS))
            continue;
        if (clock_mono_ns() > until_ns) { /* the rest is looked at first, the next time */
            d->next_replica = first + i;
            continue;
        }
        s->next_look_ms = now_ms + CALM_LOOK_MS;
        look(d, s, r, now_ms);
    }
    close_unwatched(d, now_ms);
}

void diagnose_tick(diagnose *d, int64_t now_ms)
{
    if (!d)
        return;
    if (d->ticking) {                /* an action of heal ended a process inside of our own callback: look once more after */
        d->again = true;
        return;
    }
    d->ticking = true;
    note_time(d, now_ms);
    tick_once(d, now_ms);
    if (d->again) {
        d->again = false;
        tick_once(d, now_ms);
    }
    d->ticking = false;
}

/* A firing alert with job and instance of a replica is kept as evidence beside the symptoms; it opens nothing. */
void diagnose_alert(diagnose *d, const alert_info *a, alert_state before)
{
    AUTO(buf_done) buf id = BUF_INIT(4096);
    str job = labels_get(a->labels, STR("job")), instance = labels_get(a->labels, STR("instance"));

    UNUSED(before);
    if (!d || str_empty(job) || str_empty(instance))
        return;
    buf_printf(&id, "replica:%" STR_FMT "/%" STR_FMT, STR_ARG(job), STR_ARG(instance));
    subject *s = buf_failed(&id) ? NULL : subject_get(d, buf_str(&id));
    if (!s)
        return;
    size_t at = 0;
    while (at < s->alerts.len && !str_is(a->rule, s->alerts.at[at]))
        at++;
    if (a->state == ALERT_FIRING && at == s->alerts.len && at < SUBJECT_ALERTS_MAX) {
        char *name = cstr_dup(a->rule);
        if (name && vec_push(&s->alerts, name))
            mem_free(name);
    } else if (a->state != ALERT_FIRING && at < s->alerts.len) {
        mem_free(s->alerts.at[at]);
        vec_remove(&s->alerts, at);
    }
    s->next_look_ms = 0;
}

/* ---- asking about incidents ---- */
const incident *diagnose_incident_at(diagnose *d, size_t i)
{
    for (int closed = 0; closed < 2; closed++)
        for (size_t n = d->records.len; n-- > 0;)
            if ((d->records.at[n]->view.closed_ms != 0) == closed && i-- == 0)
                return &d->records.at[n]->view;
    return NULL;
}

const incident *diagnose_incident_find(diagnose *d, str id)
{
    for (size_t i = 0; i < d->records.len; i++)
        if (str_eq(d->records.at[i]->view.id, id))
            return &d->records.at[i]->view;
    return NULL;
}

const incident *diagnose_open_incident(diagnose *d, str id)
{
    const subject *s = subject_find(d, id);
    return s && s->open ? &s->open->view : NULL;
}

/* ---- life ---- */
static bool restore_one(void *ctx, str key, str json)
{
    diagnose *d = ctx;
    AUTO(incident_record_freep) incident_record *r = NULL;
    err e = { 0 };

    if (incident_record_parse(json, &r, &e)) {
        log_warn("could not read a stored incident, leaving it out", KV_STR("incident", key), KV_ERR(&e));
        return true;
    }
    subject *s = subject_get(d, r->view.subject);
    if (!s || vec_push(&d->records, r))
        return true;
    incident_record *kept = TAKE(r);
    s->seen_ms = clock_now_ms();
    if (kept->view.episode >= s->state.episode)
        s->state = incident_record_state(kept, clock_now_ms());
    if (!kept->view.closed_ms)
        s->open = kept;
    return true;
}

static void sort_records(diagnose *d)
{
    for (size_t i = 1; i < d->records.len; i++)
        for (size_t n = i; n > 0 && d->records.at[n - 1]->view.opened_ms > d->records.at[n]->view.opened_ms; n--) {
            incident_record *swap = d->records.at[n];
            d->records.at[n] = d->records.at[n - 1];
            d->records.at[n - 1] = swap;
        }
}

/* One subject, one open incident: of two (a crash between two writes) the one with the higher episode stands. */
static void settle_restored(diagnose *d)
{
    for (size_t i = 0; i < d->records.len; i++) {
        incident_record *r = d->records.at[i];
        subject *s = subject_find(d, r->view.subject);
        if (!r->view.closed_ms && (!s->state.open || r->view.episode != s->state.episode)) {
            r->view.closed_ms = MAX(r->view.cause_since_ms, 1);
            if (s->open == r)
                s->open = NULL;
        } else if (!r->view.closed_ms) {
            s->open = r;
        }
    }
    sort_records(d);
    forget_oldest(d);
}

static void register_metrics(diagnose *d)
{
    d->looks = own_counter("diagnose_looks_total", NULL, "Times a replica was asked all symptom questions.");
    d->question_errors = own_counter("diagnose_question_errors_total", NULL, "Symptom questions that failed and counted as unknown.");
    for (cause_id id = CAUSE_ENGINE_DEAD; id < CAUSE_COUNT; id++) {
        char label_text[64];
        snprintf(label_text, sizeof label_text, "cause=\"%s\"", cause_rows[id].name);
        d->opened[id] = own_counter("diagnose_incidents_total", label_text, "Incidents opened, by the cause first named.");
    }
}

err_kind diagnose_open(const diagnose_deps *deps, diagnose_config *take, diagnose **ret, err *e)
{
    diagnose *d = mem_zalloc(sizeof *d);

    if (!d) {
        diagnose_config_free(take);
        return err_nomem(e);
    }
    d->deps = *deps;
    d->config = take;
    register_metrics(d);
    err_kind k = deps->state ? state_each(deps->state, "incident", restore_one, d, e) : OK;
    if (k) {
        diagnose_close(d);
        return err_context(e, "could not read the stored incidents");
    }
    settle_restored(d);
    *ret = d;
    return OK;
}

err_kind diagnose_reload(diagnose *d, diagnose_config *take, err *e)
{
    UNUSED(e);
    diagnose_config_free(d->config);
    d->config = take;
    return OK;
}

void diagnose_close(diagnose *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->subjects.len; i++)
        subject_free(d->subjects.at[i]);
    for (size_t i = 0; i < d->records.len; i++)
        incident_record_free(d->records.at[i]);
    vec_done(&d->subjects);
    vec_done(&d->records);
    diagnose_config_free(d->config);
    mem_free(d);
}
