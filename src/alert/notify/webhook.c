/* alert/notify/webhook.c - one JSON document and one POST. */
#include "alert/notify/webhook.h"

#include <stdio.h>

/* ---- the message ---- */

uint64_t webhook_fingerprint(labels l)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < l.len; i++) {
        const str parts[] = { l.at[i].name, STR("\xff"), l.at[i].value, STR("\xff") };
        for (size_t p = 0; p < COUNT_OF(parts); p++)
            for (size_t k = 0; k < parts[p].len; k++)
                h = (h ^ (unsigned char)parts[p].ptr[k]) * UINT64_C(1099511628211);
    }
    return h;
}

static void put_pairs(json_writer *w, const char *key, const config_pair *p, size_t n)
{
    json_key(w, key);
    json_begin(w, '{');
    for (size_t i = 0; i < n; i++) {
        json_key_str(w, p[i].key);
        json_str(w, p[i].value);
    }
    json_end(w, '}');
}

static void put_time(json_writer *w, const char *key, int64_t t_ms)
{
    char text[CLOCK_ISO_MAX];
    clock_format_iso(text, t_ms);
    json_put_cstr(w, key, t_ms ? text : "0001-01-01T00:00:00Z"); /* Go's zero time: it has not ended */
}

static void put_alert(json_writer *w, const notify_alert *a)
{
    char fingerprint[20];
    snprintf(fingerprint, sizeof fingerprint, "%016" PRIx64, webhook_fingerprint(label_set_view(a->labels)));
    json_begin(w, '{');
    json_put_cstr(w, "status", a->ends_ms ? "resolved" : "firing");
    labels_json(w, "labels", label_set_view(a->labels));
    put_pairs(w, "annotations", a->annotations, a->annotation_count);
    put_time(w, "startsAt", a->starts_ms);
    put_time(w, "endsAt", a->ends_ms);
    json_put_str(w, "generatorURL", a->generator_url);
    json_put_cstr(w, "fingerprint", fingerprint);
    json_end(w, '}');
}

/* What all alerts share. */
static void put_common_labels(json_writer *w, const webhook_message *m)
{
    labels first = m->len ? label_set_view(m->alerts[0]->labels) : (labels){ 0 };
    json_key(w, "commonLabels");
    json_begin(w, '{');
    for (size_t i = 0; i < first.len; i++) {
        bool common = true;
        for (size_t k = 1; common && k < m->len; k++)
            common = str_eq(labels_get(label_set_view(m->alerts[k]->labels), first.at[i].name), first.at[i].value);
        if (common) {
            json_key_str(w, first.at[i].name);
            json_str(w, first.at[i].value);
        }
    }
    json_end(w, '}');
}

static bool has_annotation(const notify_alert *a, config_pair wanted)
{
    for (size_t i = 0; i < a->annotation_count; i++)
        if (str_eq(a->annotations[i].key, wanted.key))
            return str_eq(a->annotations[i].value, wanted.value);
    return false;
}

static void put_common_annotations(json_writer *w, const webhook_message *m)
{
    json_key(w, "commonAnnotations");
    json_begin(w, '{');
    for (size_t i = 0; m->len && i < m->alerts[0]->annotation_count; i++) {
        config_pair pair = m->alerts[0]->annotations[i];
        bool common = true;
        for (size_t k = 1; common && k < m->len; k++)
            common = has_annotation(m->alerts[k], pair);
        if (common) {
            json_key_str(w, pair.key);
            json_str(w, pair.value);
        }
    }
    json_end(w, '}');
}

void webhook_write(const webhook_message *m, buf *out)
{
    json_writer w = json_writer_to(out);
    size_t shown = m->max_alerts > 0 && (size_t)m->max_alerts < m->len ? (size_t)m->max_alerts : m->len;
    bool firing = false;

    for (size_t i = 0; i < m->len; i++)
        firing |= m->alerts[i]->ends_ms == 0;
    json_begin(&w, '{');
    json_put_str(&w, "receiver", m->receiver);
    json_put_cstr(&w, "status", firing ? "firing" : "resolved");
    json_key(&w, "alerts");
    json_begin(&w, '[');
    for (size_t i = 0; i < shown; i++)
        put_alert(&w, m->alerts[i]);
    json_end(&w, ']');
    labels_json(&w, "groupLabels", m->group_labels);
    put_common_labels(&w, m);
    put_common_annotations(&w, m);
    json_put_str(&w, "externalURL", m->external_url);
    json_put_cstr(&w, "version", "4");
    json_put_str(&w, "groupKey", m->group_key);
    json_put_i64(&w, "truncatedAlerts", (int64_t)(m->len - shown));
    json_end(&w, '}');
}

/* ---- sending ---- */

typedef struct flight { webhook_sender *sender; http_fetch *fetch; uint64_t id; } flight;
struct webhook_sender {
    http_client *client;
    notify_queue *queue;
    vec(flight *) flights;
};

webhook_sender *webhook_sender_new(http_client *client)
{
    webhook_sender *s = mem_zalloc(sizeof *s);
    if (s)
        s->client = client;
    return s;
}

void webhook_sender_free(webhook_sender *s)
{
    if (!s)
        return;
    while (s->flights.len)
        webhook_cancel(s, s->flights.at[0]->id);
    vec_done(&s->flights);
    mem_free(s);
}

void webhook_sender_queue(webhook_sender *s, notify_queue *q) { s->queue = q; }

static void forget(webhook_sender *s, const flight *f)
{
    for (size_t i = 0; i < s->flights.len; i++)
        if (s->flights.at[i] == f) {
            vec_remove(&s->flights, i);
            return;
        }
}

static void landed(void *ctx, const http_response *res)
{
    flight *f = ctx;
    webhook_sender *s = f->sender;
    uint64_t id = f->id;
    forget(s, f);
    mem_free(f);
    notify_queue_result(s->queue, id, res->kind == OK ? res->status : 0, res->error.message, clock_now_ms());
}

err_kind webhook_send(void *sender, const notify_message *m, err *e)
{
    static const http_header json[] = { { STR_INIT("Content-Type"), STR_INIT("application/json") } };
    webhook_sender *s = sender;
    const webhook *to = m->to;
    flight *f = mem_zalloc(sizeof *f);

    if (!f || vec_push(&s->flights, f)) {
        mem_free(f);
        return err_nomem(e);
    }
    *f = (flight){ .sender = s, .id = m->id };
    http_fetch_options o = {
        .method = "POST", .url = to->url, .headers = json, .header_count = COUNT_OF(json), .body = m->body, .timeout_ms = to->timeout_ms,
        .max_body = 1u << 20, .follow_redirects = to->follow_redirects, .basic_user = to->basic_user, .basic_password = to->basic_password,
        .bearer_token = to->bearer_token, .tls_insecure = to->tls_insecure, .done = landed, .ctx = f,
    };
    err_kind k = http_fetch_start(s->client, &o, &f->fetch, e);
    if (k) {
        forget(s, f);
        mem_free(f);
    }
    return k;
}

void webhook_cancel(void *sender, uint64_t id)
{
    webhook_sender *s = sender;
    for (size_t i = 0; i < s->flights.len; i++) {
        flight *f = s->flights.at[i];
        if (f->id != id)
            continue;
        http_fetch_cancel(f->fetch);
        vec_remove(&s->flights, i);
        mem_free(f);
        return;
    }
}

size_t webhook_in_flight(const webhook_sender *s) { return s->flights.len; }
