#include "heal/heal.h"
#include "heal/heal_state.h"

#define EXPR_EVERY_MS 2000           /* how often expr triggers are asked; right before acting they are asked again */
#define EXPR_MAX_SUBJECTS 1000
#define SIGNAL_GONE_MS 15000         /* an expression that was not answered for so long has ended */
#define PROBE_EVERY_MS 2000
#define LOST_REPLICA_MS 30000
#define WEBHOOK_TIMEOUT_MS 10000
#define WARN_EVERY_MS 60000

static const action_row action_rows[ACTION_COUNT] = {
    [ACTION_RESTART] = { action_restart_run },
    [ACTION_EXEC] = { action_exec_run },
};

static void warn_expr(heal *h, str policy_name, const err *e)
{
    int64_t now_ms = clock_now_ms();
    if (now_ms - h->warned_ms < WARN_EVERY_MS)
        return;
    h->warned_ms = now_ms;
    log_warn("could not ask a policy's expression, taking it as not answered", KV_STR("policy", policy_name), KV_ERR(e));
}

/* ---- alert and expression triggers ---- */
static void signal_free(signal_row *g)
{
    mem_free(g->source);
    mem_free(g->subject);
}

static char *cstr_dup(str s)
{
    char *copy = mem_alloc(s.len + 1);
    if (copy)
        str_copy(copy, s.len + 1, s);
    return copy;
}

static signal_row *signal_find(heal *h, bool is_alert, str source, str subject)
{
    for (size_t i = 0; i < h->signals.len; i++) {
        signal_row *g = &h->signals.at[i];
        if (g->is_alert == is_alert && str_is(source, g->source) && str_is(subject, g->subject))
            return g;
    }
    return NULL;
}

static void signal_seen(heal *h, bool is_alert, str source, str subject, int64_t since_ms, int64_t now_ms)
{
    signal_row *g = signal_find(h, is_alert, source, subject);
    if (g) {
        g->seen_ms = now_ms;
        return;
    }
    signal_row fresh = { cstr_dup(source), cstr_dup(subject), is_alert, since_ms, now_ms };
    if (!fresh.source || !fresh.subject || h->signals.len >= EXPR_MAX_SUBJECTS || vec_push(&h->signals, fresh))
        signal_free(&fresh);         /* no memory or too many: it will be seen again */
}

static void signals_forget(heal *h, int64_t now_ms)
{
    for (size_t i = 0; i < h->signals.len;) {
        signal_row *g = &h->signals.at[i];
        if (g->is_alert || now_ms - g->seen_ms < SIGNAL_GONE_MS) {
            i++;
            continue;
        }
        signal_free(g);
        vec_remove(&h->signals, i);
    }
}

static bool subject_of(labels l, buf *out)
{
    str job = labels_get(l, STR("job")), instance = labels_get(l, STR("instance"));
    buf_reset(out);
    buf_printf(out, "replica:%" STR_FMT "/%" STR_FMT, STR_ARG(job), STR_ARG(instance));
    return !str_empty(job) && !str_empty(instance) && !buf_failed(out);
}

/* Ask one policy's expression. A series counts by being there, as in an alerting rule. */
static void ask_trigger(heal *h, const policy *p, int64_t now_ms)
{
    AUTO(query_result_done) query_result r = { 0 };
    AUTO(buf_done) buf subject = BUF_INIT(4096);
    err e = { 0 };

    if (diagnose_clock_is_back(h->deps.diagnose, now_ms))
        return;
    if (query_instant(h->deps.query, p->expr, now_ms, NULL, &r, &e)) {
        warn_expr(h, p->name, &e);
        return;
    }
    for (size_t i = 0; r.type == QUERY_VECTOR && i < r.len; i++)
        if (subject_of(r.series[i].labels, &subject))
            signal_seen(h, false, p->name, buf_str(&subject), now_ms, now_ms);
}

static void ask_triggers(heal *h, int64_t now_ms)
{
    if (now_ms - h->exprs_asked_ms < EXPR_EVERY_MS && now_ms >= h->exprs_asked_ms)
        return;
    h->exprs_asked_ms = now_ms;
    for (size_t i = 0; i < h->config->policy_count; i++)
        if (h->config->policies[i].trigger == TRIGGER_EXPR)
            ask_trigger(h, &h->config->policies[i], now_ms);
    signals_forget(h, now_ms);
}

/* ---- triggers become treatments ---- */
#define REPLICA_ID_MAX 1024
static void trigger(heal *h, const policy *p, const heal_claim *c, int64_t now_ms)
{
    err_kind k = schedule_trigger(h->schedule, p, h->config->mode, c, now_ms);
    if (k)
        log_error("could not begin to heal", KV_STR("policy", p->name), KV_STR("subject", c->subject), KV_CSTR("why", err_kind_name(k)));
}

static bool names_cause(const policy *p, str cause)
{
    for (size_t i = 0; i < p->causes.len; i++)
        if (str_eq(p->causes.at[i], cause))
            return true;
    return false;
}

/* An engine that was only found on loopback is shown and diagnosed; it is nobody's order to heal it, and a person
 * called at night for somebody's experiment would be called in vain. */
static bool only_found(heal *h, str subject)
{
    char id[REPLICA_ID_MAX];
    if (subject.len >= sizeof id)
        return false;
    str_copy(id, sizeof id, subject);
    const replica_info *r = watch_replica_find(h->deps.watch, id);
    return r && r->discovered;
}

static void trigger_by_incident(heal *h, const incident *i, int64_t now_ms)
{
    const heal_claim c = { i->subject, i->id, i->cause, i->episode };
    if (i->closed_ms || !i->act || !i->present || only_found(h, i->subject))
        return;
    for (size_t n = 0; n < h->config->policy_count; n++) {
        const policy *p = &h->config->policies[n];
        if (p->trigger == TRIGGER_CAUSE && names_cause(p, i->cause))
            trigger(h, p, &c, now_ms);
    }
}

/* "alert:NAME" or "expr:POLICY"; the incident that is open on the target, if any, ties the records together. */
static void trigger_by_signal(heal *h, const signal_row *g, int64_t now_ms)
{
    AUTO(buf_done) buf cause = BUF_INIT(512);
    const incident *open = diagnose_open_incident(h->deps.diagnose, str_from(g->subject));

    if (only_found(h, str_from(g->subject)))
        return;
    buf_printf(&cause, "%s:%s", g->is_alert ? "alert" : "expr", g->source);
    if (buf_failed(&cause))
        return;
    const heal_claim c = { str_from(g->subject), open ? open->id : STR_EMPTY, buf_str(&cause), (uint64_t)g->since_ms };
    for (size_t n = 0; n < h->config->policy_count; n++) {
        const policy *p = &h->config->policies[n];
        bool alert = p->trigger == TRIGGER_ALERT && g->is_alert && str_is(p->alert, g->source);
        bool expr = p->trigger == TRIGGER_EXPR && !g->is_alert && str_is(p->name, g->source) && now_ms - g->since_ms >= p->for_ms;
        if (alert || expr)
            trigger(h, p, &c, now_ms);
    }
}

/* ---- the hands: looking ---- */
/* As in an alerting rule: a series that is there says yes; a scalar must not be 0. What cannot be asked is no yes. */
static bool holds(heal *h, const policy *p, str expr, str subject, int64_t since_action_ms)
{
    AUTO(query_result_done) query_result r = { 0 };
    AUTO(buf_done) buf filled = BUF_INIT(4 * POLICY_EXPR_MAX);
    err e = { 0 };
    err_kind k = policy_expr_fill(expr, subject, since_action_ms, &filled, &e);

    if (diagnose_clock_is_back(h->deps.diagnose, clock_now_ms()))
        return false;
    k = k ? k : query_instant(h->deps.query, buf_str(&filled), clock_now_ms(), NULL, &r, &e);
    if (k) {
        warn_expr(h, p->name, &e);
        return false;
    }
    return r.len > 0 && (r.type != QUERY_SCALAR || (r.series[0].len > 0 && r.series[0].at[0].v != 0));
}

/* Loading a model takes minutes in which every alert may fire; a restart would only begin them anew (sglang#3752). */
static bool is_starting(heal *h, str subject)
{
    char id[REPLICA_ID_MAX];
    str_copy(id, sizeof id, subject);
    const replica_info *r = watch_replica_find(h->deps.watch, id);
    return r && (r->process == PROCESS_STARTING || r->process == PROCESS_STOPPING);
}

static episode_claim claim_by_incident(const treatment *t, const incident *open)
{
    if (!open || !str_eq(open->id, t->claim.incident))
        return CLAIM_STALE;
    if (t->episode.state == HEAL_NEEDS_HUMAN)
        return CLAIM_HOLDS;          /* until the incident is over */
    if (open->episode != t->claim.fence || !str_eq(open->cause, t->claim.cause))
        return CLAIM_STALE;
    return open->present && open->act ? CLAIM_HOLDS : CLAIM_ABSENT;
}

static episode_claim claim_by_signal(heal *h, const treatment *t, const policy *p, const incident *open)
{
    bool is_alert = p->trigger == TRIGGER_ALERT;
    str source = is_alert ? p->alert : p->name;

    if (!is_alert && t->episode.state == HEAL_WAITING)
        ask_trigger(h, p, clock_now_ms());
    const signal_row *g = signal_find(h, is_alert, source, t->claim.subject);
    if (!g || (uint64_t)g->since_ms != t->claim.fence)
        return CLAIM_STALE;
    if (!is_alert && clock_now_ms() - g->seen_ms > EXPR_EVERY_MS)
        return CLAIM_ABSENT;
    if (!open && t->episode.state == HEAL_WAITING && is_starting(h, t->claim.subject))
        return CLAIM_ABSENT;
    return open && !open->act ? CLAIM_ABSENT : CLAIM_HOLDS;   /* whatever a rule says, a saturated engine is left alone */
}

static episode_claim hand_claim(void *ctx, const treatment *t, const policy *p)
{
    heal *h = ctx;
    const incident *open = diagnose_open_incident(h->deps.diagnose, t->claim.subject);
    episode_claim c = p->trigger == TRIGGER_CAUSE ? claim_by_incident(t, open) : claim_by_signal(h, t, p, open);

    if (c == CLAIM_HOLDS && p->trigger != TRIGGER_CAUSE && diagnose_clock_is_back(h->deps.diagnose, clock_now_ms()))
        return t->episode.state == HEAL_NEEDS_HUMAN ? c : CLAIM_ABSENT;   /* an alert or series of long ago */
    if (c != CLAIM_HOLDS || t->episode.state == HEAL_NEEDS_HUMAN || str_empty(p->when))
        return c;
    return holds(h, p, p->when, t->claim.subject, 0) ? CLAIM_HOLDS : CLAIM_WHEN_FALSE;
}

static void probe_done(void *ctx, const probe_result *r)
{
    UNUSED(ctx);                     /* its result comes back as a series, like that of every probe */
    UNUSED(r);
}

static const replica_info *replica_of(heal *h, str subject)
{
    char id[1024];
    str_copy(id, sizeof id, subject);
    return watch_replica_find(h->deps.watch, id);
}

/* A test completion that was answered after the action. Where none is configured the metrics page has to do. */
static bool probe_proves(heal *h, treatment *t, const policy *p, int64_t since_ms, int64_t now_ms)
{
    static const str completion = STR_INIT("last_over_time(probe_success{$replica,probe=\"completion\"}[$since_action]) == 1");
    static const str page = STR_INIT("last_over_time(up{$replica}[$since_action]) == 1");
    char id[1024];

    if (holds(h, p, completion, t->claim.subject, since_ms))
        return true;
    if (now_ms - h->probed_ms < PROBE_EVERY_MS && now_ms >= h->probed_ms)
        return false;
    h->probed_ms = now_ms;
    str_copy(id, sizeof id, t->claim.subject);
    err_kind k = watch_probe(h->deps.watch, id, probe_done, NULL, NULL);
    if (k != ERR_UNSUPPORTED)
        return false;
    h->probed_ms = 0;
    str_copy(t->detail, sizeof t->detail, STR("no completion probe is configured; the metrics page had to do"));
    return holds(h, p, page, t->claim.subject, since_ms);
}

static episode_proof hand_proof(void *ctx, treatment *t, const policy *p, int64_t now_ms)
{
    heal *h = ctx;
    const incident *open = diagnose_open_incident(h->deps.diagnose, t->claim.subject);
    int64_t since_ms = now_ms - t->episode.verify_from_ms;

    if (open && open->present && open->act)
        return PROOF_NONE;           /* the fault is seen: no other sign counts */
    if (!str_empty(p->verify_expr) && !holds(h, p, p->verify_expr, t->claim.subject, since_ms))
        return PROOF_NONE;
    return !p->verify_probe || probe_proves(h, t, p, since_ms, now_ms) ? PROOF_GOOD : PROOF_NONE;
}

static episode_resume hand_resume(void *ctx, const treatment *t, const policy *p, int64_t now_ms)
{
    const replica_info *r = replica_of(ctx, t->claim.subject);
    size_t at = MIN(t->episode.step, p->step_count - 1);

    if (p->steps[at].kind != ACTION_RESTART)
        return RESUME_DONE;          /* nobody can know whether it ran; proof decides, not a second run */
    if (!r)
        return now_ms - t->episode.acted_ms > LOST_REPLICA_MS ? RESUME_DONE : RESUME_WAIT;
    if (r->process == PROCESS_STOPPING)
        return RESUME_WAIT;
    return r->process != PROCESS_EXITED && r->process_start_ms >= t->episode.acted_ms ? RESUME_DONE : RESUME_REDO;
}

/* ---- the hands: writing down and acting ---- */
static err_kind hand_intend(void *ctx, const treatment *t, const policy *p, const action *a, err *e)
{
    AUTO(buf_done) buf b = BUF_INIT(2048);
    UNUSED(p);
    buf_printf(&b, "will %s %" STR_FMT " because of %" STR_FMT ", attempt %u", action_kind_name(a->kind), STR_ARG(t->claim.subject),
               STR_ARG(t->claim.cause), t->episode.attempt);
    return heal_audit(ctx, "heal.action.intended", t, buf_str(&b), true, e);
}

static err_kind hand_act(void *ctx, const treatment *t, const policy *p, const action *a, err *e)
{
    return action_rows[a->kind].run(ctx, t, p, a, e);
}

static void hand_changed(void *ctx, const treatment *t, heal_state before)
{
    heal *h = ctx;
    err e = { 0 };
    if (heal_store_treatment(h, t, &e))
        log_error("could not store a treatment, a restart would not know of it", KV_CSTR("treatment", t->key), KV_ERR(&e));
    heal_audit_change(h, t, before);
    heal_emit(h, t, before, clock_now_ms());
}

static void on_webhook(void *ctx, const http_response *res)
{
    UNUSED(ctx);
    if (res->kind != OK)
        log_error("could not send an escalation by webhook", KV_STR("url", res->effective_url), KV_ERR(&res->error));
    else if (res->status >= 300)
        log_error("an escalation's webhook was refused", KV_STR("url", res->effective_url), KV_INT("status", res->status));
}

static void send_webhook(heal *h, const treatment *t, const escalation *x)
{
    AUTO(buf_done) buf body = BUF_INIT(HEAL_JSON_MAX);
    json_writer w = json_writer_to(&body);
    const http_header type = { STR("Content-Type"), STR("application/json") };
    http_fetch *fetch;
    err e = { 0 };

    json_begin(&w, '{');
    json_put_cstr(&w, "kind", "heal.escalated");
    json_put_str(&w, "message", x->message);
    json_key(&w, "episode");
    heal_treatment_json(&w, t);
    json_end(&w, '}');
    http_fetch_options o = { .url = x->webhook, .headers = &type, .header_count = 1, .body = buf_str(&body),
                             .timeout_ms = WEBHOOK_TIMEOUT_MS, .done = on_webhook };
    err_kind k = buf_failed(&body) ? err_nomem(&e) : h->deps.client ? http_fetch_start(h->deps.client, &o, &fetch, &e) : OK;
    if (k)
        log_error("could not send an escalation by webhook", KV_CSTR("url", x->webhook), KV_ERR(&e));
}

static void hand_escalate(void *ctx, const treatment *t, const policy *p)
{
    for (size_t i = 0; i < p->escalation_count; i++) {
        const escalation *x = &p->escalations[i];
        if (!str_empty(x->message))
            heal_audit(ctx, "heal.escalation", t, x->message, false, NULL);
        if (x->webhook)
            send_webhook(ctx, t, x);
        if (x->command.len)
            action_exec_escalation(ctx, t, &x->command);
    }
}

static err_kind hand_store(void *ctx, const treatment *t, err *e) { return heal_store_treatment(ctx, t, e); }
static err_kind hand_ledger(void *ctx, str subject, const guard_ledger *l, err *e) { return heal_store_ledger(ctx, subject, l, e); }
static void hand_forget(void *ctx, const treatment *t) { heal_forget(ctx, t); }

void heal_action_ended(heal *h, str subject, uint64_t run, bool ok, const char *detail)
{
    schedule_result(h->schedule, h->config, subject, run, ok, detail, clock_now_ms());
}

/* ---- the door ---- */
void heal_incident(heal *h, const incident *i, incident_change change)
{
    UNUSED(change);                  /* what is over is noticed by the claim at the next tick */
    if (h)
        trigger_by_incident(h, i, clock_now_ms());
}

void heal_alert(heal *h, const alert_info *a, alert_state before)
{
    AUTO(buf_done) buf subject = BUF_INIT(4096);
    UNUSED(before);
    if (!h || !subject_of(a->labels, &subject))
        return;
    if (a->state == ALERT_FIRING) {
        signal_seen(h, true, a->rule, buf_str(&subject), a->fired_at_ms, clock_now_ms());
        return;
    }
    signal_row *g = signal_find(h, true, a->rule, buf_str(&subject));
    if (g) {
        size_t at = (size_t)(g - h->signals.at);
        signal_free(g);
        vec_remove(&h->signals, at);
    }
}

static void trigger_all(heal *h, int64_t now_ms)
{
    const incident *i;
    for (size_t n = 0; (i = diagnose_incident_at(h->deps.diagnose, n)) && !i->closed_ms; n++)
        trigger_by_incident(h, i, now_ms);
    for (size_t n = 0; n < h->signals.len; n++)
        trigger_by_signal(h, &h->signals.at[n], now_ms);
}

void heal_tick(heal *h, int64_t now_ms)
{
    const treatment *t;
    if (!h)
        return;
    ask_triggers(h, now_ms);
    trigger_all(h, now_ms);
    schedule_tick(h->schedule, h->config, now_ms);
    for (size_t i = 0; (t = schedule_at(h->schedule, i)) && !episode_over(&t->episode); i++)
        heal_emit(h, t, t->episode.state, now_ms);
}

err_kind heal_open(const heal_deps *deps, heal_config *take, heal **ret, err *e)
{
    heal *h = mem_zalloc(sizeof *h);
    err_kind k;

    if (!h) {
        heal_config_free(take);
        return err_nomem(e);
    }
    h->deps = *deps;
    h->config = take;
    h->schedule = schedule_new((heal_hands){ h, hand_claim, hand_proof, hand_resume, hand_intend, hand_act, hand_escalate,
                                             hand_changed, hand_store, hand_ledger, hand_forget });
    k = h->schedule ? heal_restore(h, e) : err_nomem(e);
    if (k) {
        heal_close(h);
        return k;
    }
    *ret = h;
    return OK;
}

err_kind heal_reload(heal *h, heal_config *take, err *e)
{
    UNUSED(e);
    heal_config_free(h->config);
    h->config = take;
    return OK;
}

void heal_close(heal *h)
{
    if (!h)
        return;
    action_restart_forget(h);
    action_exec_end_all(h);
    for (size_t i = 0; i < h->signals.len; i++)
        signal_free(&h->signals.at[i]);
    vec_done(&h->signals);
    schedule_free(h->schedule);
    heal_config_free(h->config);
    mem_free(h);
}

bool heal_at(heal *h, size_t i, heal_info *ret)
{
    const treatment *t = schedule_at(h->schedule, i);
    if (!t)
        return false;
    *ret = (heal_info){ .policy = t->policy, .subject = t->claim.subject, .incident = t->claim.incident, .cause = t->claim.cause,
                        .action = str_from(t->action), .state = t->episode.state, .mode = t->mode, .attempt = t->episode.attempt,
                        .since_ms = t->episode.since_ms, .reason = str_from(t->episode.why) };
    return true;
}

size_t heal_policy_count(const heal *h)
{
    return h->config->policy_count;
}

void heal_explain(heal *h, size_t i, buf *out)
{
    if (i < h->config->policy_count)
        policy_explain(&h->config->policies[i], h->config->mode, false, out);
}

void heal_explain_zh(heal *h, size_t i, buf *out)
{
    if (i < h->config->policy_count)
        policy_explain(&h->config->policies[i], h->config->mode, true, out);
}
