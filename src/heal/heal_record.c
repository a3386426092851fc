#include "heal/heal_state.h"
#include <stdio.h>

#define TABLE "heal"
#define KEY_MAX 9000

/* ---- JSON ---- */
void heal_treatment_json(json_writer *w, const treatment *t)
{
    const episode *p = &t->episode;
    json_begin(w, '{');
    json_put_str(w, "policy", t->policy);
    json_put_str(w, "subject", t->claim.subject);
    json_put_str(w, "incident", t->claim.incident);
    json_put_str(w, "cause", t->claim.cause);
    json_put_i64(w, "fence", (int64_t)t->claim.fence);
    json_put_cstr(w, "state", heal_state_name(p->state));
    json_put_cstr(w, "mode", heal_mode_name(t->mode));
    json_put_i64(w, "attempt", p->attempt);
    json_put_i64(w, "step", p->step);
    json_put_i64(w, "run", (int64_t)p->run);
    json_put_bool(w, "running", p->running);
    json_put_bool(w, "redo", p->redo);
    json_put_i64(w, "born_ms", p->born_ms);
    json_put_i64(w, "since_ms", p->since_ms);
    json_put_i64(w, "acted_ms", p->acted_ms);
    json_put_i64(w, "verify_from_ms", p->verify_from_ms);
    json_put_cstr(w, "action", t->action);
    json_put_cstr(w, "reason", p->why ? p->why : "");
    json_put_cstr(w, "detail", t->detail);
    json_end(w, '}');
}

static const char *why_restored(heal_state s)
{
    switch (s) {
    case HEAL_DONE: return "verified: the golden signals came back and stayed";
    case HEAL_CANCELLED: return "the reason went away";
    case HEAL_NEEDS_HUMAN: return "a person was called before galen was restarted";
    default: return "galen was restarted meanwhile";
    }
}

static bool state_parse(str name, heal_state *ret)
{
    for (heal_state s = HEAL_SUGGESTED; s <= HEAL_CANCELLED; s++)
        if (str_is(name, heal_state_name(s)))
            return *ret = s, true;
    return false;
}

static str copied(arena *a, json_val v, const char *key, bool *ok)
{
    str s = arena_str(a, json_str_or(json_get(v, key), STR_EMPTY));
    *ok = *ok && s.ptr;
    return s;
}

err_kind heal_treatment_parse(str json, arena *a, treatment *ret, err *e)
{
    AUTO(json_doc_freep) json_doc *doc = NULL;
    treatment t = { 0 };
    bool ok = true;

    if (json_parse(json, &doc, e))
        return err_context(e, "could not read a stored treatment");
    json_val v = json_root(doc);
    if (!state_parse(json_str_or(json_get(v, "state"), STR_EMPTY), &t.episode.state) ||
        str_empty(json_str_or(json_get(v, "policy"), STR_EMPTY)) || str_empty(json_str_or(json_get(v, "subject"), STR_EMPTY)))
        return err_set(e, ERR_PARSE, "could not read a stored treatment: it has no policy, subject or state");
    t.policy = copied(a, v, "policy", &ok);
    t.claim = (heal_claim){ copied(a, v, "subject", &ok), copied(a, v, "incident", &ok), copied(a, v, "cause", &ok),
                            (uint64_t)json_i64_or(json_get(v, "fence"), 0) };
    if (!ok)
        return err_nomem(e);
    str mode = json_str_or(json_get(v, "mode"), STR_EMPTY);
    t.mode = str_is(mode, "auto") ? HEAL_AUTO : str_is(mode, "suggest") ? HEAL_SUGGEST : HEAL_OFF;
    t.episode = (episode){
        .state = t.episode.state, .attempt = (unsigned)json_i64_or(json_get(v, "attempt"), 0), .step = (unsigned)json_i64_or(json_get(v, "step"), 0),
        .run = (uint64_t)json_i64_or(json_get(v, "run"), 0), .running = json_bool_or(json_get(v, "running"), false),
        .redo = json_bool_or(json_get(v, "redo"), false), .born_ms = json_i64_or(json_get(v, "born_ms"), 0),
        .since_ms = json_i64_or(json_get(v, "since_ms"), 0),
        .acted_ms = json_i64_or(json_get(v, "acted_ms"), 0), .verify_from_ms = json_i64_or(json_get(v, "verify_from_ms"), 0),
        .why = why_restored(t.episode.state),
    };
    str_copy(t.action, sizeof t.action, json_str_or(json_get(v, "action"), STR_EMPTY));
    str_copy(t.detail, sizeof t.detail, json_str_or(json_get(v, "detail"), STR_EMPTY));
    *ret = t;
    return OK;
}

err_kind heal_ledger_parse(str json, guard_ledger *ret, err *e)
{
    AUTO(json_doc_freep) json_doc *doc = NULL;
    guard_ledger l = { .len = 0 };

    if (json_parse(json, &doc, e))
        return err_context(e, "could not read stored limits");
    json_val at = json_get(json_root(doc), "at_ms");
    if (json_typeof(at) != JSON_ARRAY)
        return err_set(e, ERR_PARSE, "could not read stored limits: they have no at_ms");
    size_t n = json_len(at);
    for (size_t i = n > GUARD_REMEMBER ? n - GUARD_REMEMBER : 0; i < n; i++)
        l.at_ms[l.len++] = json_i64_or(json_at(at, i), 0);
    l.last_run = (uint64_t)json_i64_or(json_get(json_root(doc), "last_run"), 0);
    *ret = l;
    return OK;
}

/* ---- state.db ---- */
static err_kind put(heal *h, const char *prefix, str key, buf *json, err *e)
{
    AUTO(buf_done) buf full = BUF_INIT(KEY_MAX);
    buf_printf(&full, "%s:%" STR_FMT, prefix, STR_ARG(key));
    if (buf_failed(&full) || buf_failed(json))
        return err_set(e, buf_failed(&full) ? full.failed : json->failed, "could not write down %s", prefix);
    return h->deps.state ? state_put(h->deps.state, TABLE, buf_str(&full), buf_str(json), e) : OK;
}

err_kind heal_store_treatment(heal *h, const treatment *t, err *e)
{
    AUTO(buf_done) buf b = BUF_INIT(HEAL_JSON_MAX);
    json_writer w = json_writer_to(&b);
    heal_treatment_json(&w, t);
    return put(h, "episode", str_from(t->key), &b, e);
}

err_kind heal_store_ledger(heal *h, str subject, const guard_ledger *l, err *e)
{
    AUTO(buf_done) buf b = BUF_INIT(HEAL_JSON_MAX);
    json_writer w = json_writer_to(&b);
    json_begin(&w, '{');
    json_put_i64(&w, "last_run", (int64_t)l->last_run);
    json_key(&w, "at_ms");
    json_begin(&w, '[');
    for (size_t i = 0; i < l->len; i++)
        json_i64(&w, l->at_ms[i]);
    json_end(&w, ']');
    json_end(&w, '}');
    return put(h, "ledger", subject, &b, e);
}

err_kind heal_store_paused(heal *h, bool paused, err *e)
{
    AUTO(buf_done) buf b = BUF_INIT(64);
    buf_append(&b, paused ? STR("{\"paused\":true}") : STR("{\"paused\":false}"));
    return put(h, "operator", STR("pause"), &b, e);
}

void heal_forget(heal *h, const treatment *t)
{
    AUTO(buf_done) buf full = BUF_INIT(KEY_MAX);
    err e = { 0 };
    buf_printf(&full, "episode:%s", t->key);
    if (h->deps.state && !buf_failed(&full) && state_delete(h->deps.state, TABLE, buf_str(&full), &e))
        log_warn("could not forget an old treatment", KV_CSTR("treatment", t->key), KV_ERR(&e));
}

typedef struct restoring { heal *heal; arena arena; bool nomem; } restoring;
static bool restore_one(void *ctx, str key, str json)
{
    restoring *r = ctx;
    schedule *s = r->heal->schedule;
    err e = { 0 };
    err_kind k = OK;

    if (str_starts(key, STR("episode:"))) {
        treatment t;
        k = heal_treatment_parse(json, &r->arena, &t, &e);
        k = k ? k : schedule_restore(s, &t);
    } else if (str_starts(key, STR("ledger:"))) {
        guard_ledger l;
        k = heal_ledger_parse(json, &l, &e);
        k = k ? k : schedule_restore_ledger(s, str_skip(key, strlen("ledger:")), &l);
    } else if (str_is(key, "operator:pause")) {
        schedule_pause(s, str_find(json, STR("true")) >= 0);
    }
    arena_reset(&r->arena);
    if (k == ERR_NOMEM)
        return r->nomem = true, false;
    if (k)
        log_warn("could not read what healing had stored, leaving it out", KV_STR("key", key), KV_ERR(&e));
    return true;
}

err_kind heal_restore(heal *h, err *e)
{
    restoring r = { .heal = h, .arena = arena_init(1u << 20) };
    err_kind k = h->deps.state ? state_each(h->deps.state, TABLE, restore_one, &r, e) : OK;
    arena_done(&r.arena);
    if (r.nomem)
        return err_nomem(e);
    return k ? err_context(e, "could not read what healing had stored") : OK;
}

/* ---- audit ---- */
err_kind heal_audit(heal *h, const char *kind, const treatment *t, str message, bool durable, err *e)
{
    AUTO(buf_done) buf data = BUF_INIT(HEAL_JSON_MAX);
    AUTO(buf_done) buf actor = BUF_INIT(256);
    json_writer w = json_writer_to(&data);
    err local = { 0 };

    if (!h->deps.audit)
        return OK;
    heal_treatment_json(&w, t);
    buf_printf(&actor, "policy:%" STR_FMT, STR_ARG(t->policy));
    if (buf_failed(&data) || buf_failed(&actor))
        return err_nomem(e);
    audit_record r = { .kind = str_from(kind), .actor = buf_str(&actor), .subject = t->claim.subject, .incident = t->claim.incident,
                       .message = message, .data = buf_str(&data) };
    err_kind k = audit_append(h->deps.audit, &r, durable, NULL, &local);
    if (k && e)
        *e = local;
    if (k && !durable)
        log_error("could not record what healing did", KV_CSTR("kind", kind), KV_STR("subject", t->claim.subject), KV_ERR(&local));
    return k;
}

static void count(const treatment *t, const char *outcome)
{
    char label_text[200];
    snprintf(label_text, sizeof label_text, "policy=\"%" STR_FMT "\",action=\"%s\",outcome=\"%s\"", STR_ARG(t->policy), t->action, outcome);
    own_add(own_counter("heal_actions_total", label_text, "Attempts to heal, by how they ended: verified, unproven, failed."), 1);
}

void heal_audit_change(heal *h, const treatment *t, heal_state before)
{
    AUTO(buf_done) buf b = BUF_INIT(4096);
    heal_state now = t->episode.state;
    const char *kind = NULL;

    if (now == before)
        return;
    if (before == HEAL_ACTING && (now == HEAL_WAITING || now == HEAL_NEEDS_HUMAN)) {
        count(t, "failed");
        kind = "heal.action.failed";
    } else if (before == HEAL_VERIFYING && (now == HEAL_WAITING || now == HEAL_NEEDS_HUMAN)) {
        count(t, "unproven");
        kind = "heal.verify.failed";
    } else if (now == HEAL_DONE) {
        count(t, "verified");
        kind = "heal.verified";
    } else if (now == HEAL_SUGGESTED) {
        kind = "heal.suggested";
    } else if (now == HEAL_VERIFYING) {
        kind = "heal.action.done";
    } else if (now == HEAL_CANCELLED) {
        kind = "heal.cancelled";
    }
    buf_printf(&b, "%s%" STR_FMT ": %s: %s%s%s", now == HEAL_SUGGESTED ? "would heal " : "", STR_ARG(t->claim.subject), t->action,
               t->episode.why, t->detail[0] ? ": " : "", t->detail);
    if (kind)
        heal_audit(h, kind, t, buf_str(&b), false, NULL);
    if (now == HEAL_NEEDS_HUMAN)
        heal_audit(h, "heal.escalated", t, buf_str(&b), false, NULL);
}

/* ---- series ---- */
static void emit_one(heal *h, const char *name, const treatment *t, bool with_policy, double v, int64_t now_ms)
{
    AUTO(arena_done) arena a = ARENA_INIT(1u << 16);
    labels_builder b;
    str job, instance;
    sink_result rejected = { 0 };
    err e = { 0 };

    labels_start(&b, &a);
    labels_put(&b, METRIC_NAME, str_from(name));
    labels_put(&b, STR("subject"), t->claim.subject);
    if (with_policy)
        labels_put(&b, STR("policy"), t->policy);
    if (policy_subject_split(t->claim.subject, &job, &instance)) {
        labels_put(&b, STR("job"), job);
        labels_put(&b, STR("instance"), instance);
    }
    labels l = labels_finish(&b);
    if (b.failed || !h->deps.sink.append)
        return;
    sample_row row = { .labels = l, .t_ms = now_ms, .v = v };
    if (h->deps.sink.append(h->deps.sink.ctx, &row, 1, &rejected, &e))
        log_warn("could not store a healing series", KV_CSTR("series", name), KV_ERR(&e));
}

/* heal_needs_human has no policy label: of several treatments of a target only the one that called a person, or just
 * ceased to, may speak. */
void heal_emit(heal *h, const treatment *t, heal_state before, int64_t now_ms)
{
    emit_one(h, "heal_episode_state", t, true, (double)t->episode.state, now_ms);
    if (t->episode.state == HEAL_NEEDS_HUMAN || before == HEAL_NEEDS_HUMAN)
        emit_one(h, "heal_needs_human", t, false, t->episode.state == HEAL_NEEDS_HUMAN, now_ms);
}
