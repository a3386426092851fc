#include "diagnose/record.h"

#define RECORD_MAX_BYTES (1u << 20)
#define SENTENCE_MAX_BYTES 4096

void incident_record_free(incident_record *r)
{
    if (!r)
        return;
    arena_done(&r->arena);
    mem_free(r);
}

void incident_record_freep(incident_record **r)
{
    incident_record_free(*r);
}

static incident_record *record_empty(void)
{
    incident_record *r = mem_zalloc(sizeof *r);
    if (r)
        r->arena = arena_init(RECORD_MAX_BYTES);
    return r;
}

static str keep(incident_record *r, buf *b)
{
    str s = buf_failed(b) ? STR_EMPTY : arena_str(&r->arena, buf_str(b));
    buf_reset(b);
    return s;
}

static bool add_symptom(incident_record *r, evidence *ev, symptom_id id, const incident_sight *sight)
{
    AUTO(buf_done) buf b = BUF_INIT(SENTENCE_MAX_BYTES);

    ev->symptom = str_from(symptom_rows[id].name);
    ev->value = sight->symptoms->value[id];
    ev->holds = symptom_is(sight->symptoms, id);
    symptom_expr(id, sight->replica, sight->limits, sight->symptoms, &b);
    ev->expr = keep(r, &b);
    symptom_text(id, sight->symptoms, false, &b);
    ev->text = keep(r, &b);
    symptom_text(id, sight->symptoms, true, &b);
    ev->text_zh = keep(r, &b);
    return ev->expr.ptr && ev->text.ptr && ev->text_zh.ptr;
}

static bool add_alert(incident_record *r, evidence *ev, str name)
{
    AUTO(buf_done) buf b = BUF_INIT(SENTENCE_MAX_BYTES);

    ev->holds = true;
    ev->value = 1;
    ev->symptom = arena_printf(&r->arena, "alert:%" STR_FMT, STR_ARG(name));
    buf_printf(&b, "ALERTS{alertname=\"%" STR_FMT "\",alertstate=\"firing\"}", STR_ARG(name));
    ev->expr = keep(r, &b);
    ev->text = arena_printf(&r->arena, "the alert %" STR_FMT " is firing", STR_ARG(name));
    ev->text_zh = arena_printf(&r->arena, "告警 %" STR_FMT " 正在触发", STR_ARG(name));
    return ev->symptom.ptr && ev->expr.ptr && ev->text.ptr && ev->text_zh.ptr;
}

/* Evidence for and against: every symptom the cause looks at that gave an answer. What holds comes first. */
static bool add_evidence(incident_record *r, cause_id cause, const incident_sight *sight)
{
    evidence *ev = arena_array(&r->arena, evidence, INCIDENT_EVIDENCE_MAX);
    uint32_t wanted = cause_rows[cause].speaks_for | cause_rows[cause].speaks_against;
    size_t n = 0;

    if (!ev)
        return false;
    for (int pass = 0; pass < 2; pass++)
        for (symptom_id id = 0; id < SYMPTOM_COUNT; id++) {
            symptom_answer a = sight->symptoms->answer[id];
            if (!(wanted & SYMPTOM_BIT(id)) || a != (pass == 0 ? SYMPTOM_YES : SYMPTOM_NO))
                continue;
            if (!add_symptom(r, &ev[n++], id, sight))
                return false;
        }
    for (size_t i = 0; i < sight->alert_count && n < INCIDENT_EVIDENCE_MAX; i++)
        if (!add_alert(r, &ev[n++], sight->alerts[i]))
            return false;
    r->view.evidence = ev;
    r->view.evidence_count = n;
    return true;
}

/* "chat-a: the engine is dead: its process has ended, its port refuses connections" */
static str summary(incident_record *r, const char *name, cause_id cause, bool chinese)
{
    AUTO(buf_done) buf b = BUF_INIT(SENTENCE_MAX_BYTES);
    const char *separator = chinese ? "：" : ": ";
    uint32_t speaks_for = cause_rows[cause].speaks_for;

    buf_printf(&b, "%s%s%s", name, separator, chinese ? cause_rows[cause].is_zh : cause_rows[cause].is);
    for (size_t i = 0; i < r->view.evidence_count; i++) {
        const evidence *ev = &r->view.evidence[i];
        bool speaks = false;
        for (symptom_id id = 0; id < SYMPTOM_COUNT; id++)
            speaks |= (speaks_for & SYMPTOM_BIT(id)) && str_is(ev->symptom, symptom_rows[id].name);
        if (!ev->holds || !speaks)
            continue;
        buf_append(&b, str_from(separator));
        buf_append(&b, chinese ? ev->text_zh : ev->text);
        separator = chinese ? "，" : ", ";
    }
    return keep(r, &b);
}

incident_record *incident_record_new(str id, str subject, const incident_state *s, const incident_sight *sight)
{
    AUTO(incident_record_freep) incident_record *r = record_empty();

    if (!r)
        return NULL;
    const char *name = sight->replica->name && *sight->replica->name ? sight->replica->name : sight->replica->instance;
    r->view.id = arena_str(&r->arena, id);
    r->view.subject = arena_str(&r->arena, subject);
    r->view.cause = str_from(cause_rows[s->cause].name);
    if (!r->view.id.ptr || !r->view.subject.ptr || !add_evidence(r, s->cause, sight))
        return NULL;
    r->view.summary = summary(r, name, s->cause, false);
    r->view.summary_zh = summary(r, name, s->cause, true);
    if (!r->view.summary.ptr || !r->view.summary_zh.ptr)
        return NULL;
    incident_record_sync(r, s);
    return TAKE(r);
}

void incident_record_sync(incident_record *r, const incident_state *s)
{
    r->view.confidence = s->confidence;
    r->view.act = s->act;
    r->view.opened_ms = s->opened_ms;
    r->view.cause_since_ms = s->cause_since_ms;
    r->view.healthy_since_ms = s->healthy_since_ms;
    r->view.present = s->present;
    r->view.episode = s->episode;
}

void incident_json(json_writer *w, const incident *i)
{
    json_begin(w, '{');
    json_put_str(w, "id", i->id);
    json_put_str(w, "subject", i->subject);
    json_put_str(w, "cause", i->cause);
    json_put_cstr(w, "confidence", confidence_name(i->confidence));
    json_put_bool(w, "act", i->act);
    json_put_str(w, "summary", i->summary);
    json_put_str(w, "summary_zh", i->summary_zh);
    json_put_i64(w, "opened_ms", i->opened_ms);
    json_put_i64(w, "closed_ms", i->closed_ms);
    json_put_i64(w, "cause_since_ms", i->cause_since_ms);
    json_put_i64(w, "healthy_since_ms", i->healthy_since_ms);
    json_put_bool(w, "present", i->present);
    json_put_i64(w, "episode", i->episode);
    json_key(w, "evidence");
    json_begin(w, '[');
    for (size_t n = 0; n < i->evidence_count; n++) {
        const evidence *ev = &i->evidence[n];
        json_begin(w, '{');
        json_put_str(w, "symptom", ev->symptom);
        json_put_str(w, "expr", ev->expr);
        json_put_double(w, "value", ev->value);
        json_put_bool(w, "holds", ev->holds);
        json_put_str(w, "text", ev->text);
        json_put_str(w, "text_zh", ev->text_zh);
        json_end(w, '}');
    }
    json_end(w, ']');
    json_end(w, '}');
}

static str copied(incident_record *r, json_val v, const char *key, bool *ok)
{
    str s = arena_str(&r->arena, json_str_or(json_get(v, key), STR_EMPTY));
    *ok = *ok && s.ptr;
    return s;
}

static bool evidence_parse(incident_record *r, json_val list)
{
    size_t n = MIN(json_len(list), (size_t)INCIDENT_EVIDENCE_MAX);
    evidence *ev = arena_array(&r->arena, evidence, n);
    bool ok = ev != NULL;

    for (size_t i = 0; ok && i < n; i++) {
        json_val v = json_at(list, i);
        ev[i] = (evidence){ .symptom = copied(r, v, "symptom", &ok), .expr = copied(r, v, "expr", &ok),
                            .text = copied(r, v, "text", &ok), .text_zh = copied(r, v, "text_zh", &ok),
                            .value = json_number_or(json_get(v, "value"), NAN), .holds = json_bool_or(json_get(v, "holds"), false) };
    }
    r->view.evidence = ev;
    r->view.evidence_count = ok ? n : 0;
    return ok;
}

static confidence confidence_parse(str s)
{
    for (confidence c = CONFIDENCE_LIKELY; c <= CONFIDENCE_CONFIRMED; c++)
        if (str_is(s, confidence_name(c)))
            return c;
    return CONFIDENCE_INCONCLUSIVE;
}

err_kind incident_record_parse(str json, incident_record **ret, err *e)
{
    AUTO(json_doc_freep) json_doc *doc = NULL;
    AUTO(incident_record_freep) incident_record *r = NULL;

    if (json_parse(json, &doc, e))
        return err_context(e, "could not read a stored incident");
    json_val v = json_root(doc);
    cause_id cause = cause_find(json_str_or(json_get(v, "cause"), STR_EMPTY));
    if (cause == CAUSE_NONE || str_empty(json_str_or(json_get(v, "id"), STR_EMPTY)))
        return err_set(e, ERR_PARSE, "could not read a stored incident: it has no id or no known cause");
    if (!(r = record_empty()))
        return err_nomem(e);

    bool ok = true;
    r->view = (incident){
        .id = copied(r, v, "id", &ok), .subject = copied(r, v, "subject", &ok), .cause = str_from(cause_rows[cause].name),
        .summary = copied(r, v, "summary", &ok), .summary_zh = copied(r, v, "summary_zh", &ok),
        .confidence = confidence_parse(json_str_or(json_get(v, "confidence"), STR_EMPTY)),
        .act = json_bool_or(json_get(v, "act"), false),
        .opened_ms = json_i64_or(json_get(v, "opened_ms"), 0), .closed_ms = json_i64_or(json_get(v, "closed_ms"), 0),
        .cause_since_ms = json_i64_or(json_get(v, "cause_since_ms"), 0),
        .episode = (unsigned)json_i64_or(json_get(v, "episode"), 0),
    };
    if (!ok || !evidence_parse(r, json_get(v, "evidence")))
        return err_nomem(e);
    *ret = TAKE(r);
    return OK;
}

incident_state incident_record_state(const incident_record *r, int64_t now_ms)
{
    if (r->view.closed_ms)
        return (incident_state){ .episode = r->view.episode };
    return (incident_state){ .open = true, .cause = cause_find(r->view.cause), .confidence = r->view.confidence, .act = r->view.act,
                             .episode = r->view.episode, .opened_ms = r->view.opened_ms,
                             .cause_since_ms = r->view.cause_since_ms, .last_fault_ms = now_ms };
}
