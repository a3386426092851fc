/* alert/alert_http.c - Prometheus's API for rules and alerts, as Grafana and promtool read it.
 *
 * Source: https://prometheus.io/docs/prometheus/latest/querying/api/#rules */
#include <math.h>
#include <stdio.h>

#include "alert/room.h"

#define REPLY_MAX_BYTES (64u << 20)
#define JSON_TYPE "application/json"

/* ---- pieces ---- */

static void put_time(json_writer *w, const char *key, int64_t t_ms)
{
    char text[CLOCK_ISO_MAX];
    clock_format_iso(text, t_ms);
    json_put_cstr(w, key, t_ms ? text : "0001-01-01T00:00:00Z");
}

static void put_texts(json_writer *w, const char *key, const rule_text *t, size_t n)
{
    json_key(w, key);
    json_begin(w, '{');
    for (size_t i = 0; i < n; i++) {
        json_key_str(w, t[i].name);
        json_str(w, t[i].text);
    }
    json_end(w, '}');
}

/* Go's strconv 'e' with all digits: "1e+00", "5.01e+02". */
static void put_value(json_writer *w, double v)
{
    char text[40];
    if (!isfinite(v)) {
        num_format_double(text, v);
        json_put_cstr(w, "value", text);
        return;
    }
    for (int digits = 0; digits < 18; digits++) {
        double back;
        snprintf(text, sizeof text, "%.*e", digits, v);
        if (str_to_double(str_from(text), &back) && back == v)
            break;
    }
    json_put_cstr(w, "value", text);
}

static void put_alert(json_writer *w, const alert_info *a)
{
    json_begin(w, '{');
    labels_json(w, "labels", a->labels);
    json_key(w, "annotations");
    json_begin(w, '{');
    for (size_t i = 0; i < a->annotation_count; i++) {
        json_key_str(w, a->annotations[i].key);
        json_str(w, a->annotations[i].value);
    }
    json_end(w, '}');
    json_put_cstr(w, "state", alert_state_name(a->state));
    put_time(w, "activeAt", a->active_at_ms);
    put_value(w, a->value);
    json_end(w, '}');
}

/* The rule's pending and firing alerts. */
static void put_active(json_writer *w, const rule_group *g, const rule *r)
{
    for (size_t i = 0; i < r->item_count; i++) {
        alert_info info;
        alert_item_info(g, r, r->items[i], &info);
        if (info.state != ALERT_INACTIVE)
            put_alert(w, &info);
    }
}

static void start_reply(json_writer *w)
{
    json_begin(w, '{');
    json_put_cstr(w, "status", "success");
    json_key(w, "data");
    json_begin(w, '{');
}

static void end_reply(json_writer *w, http_request *req)
{
    json_end(w, '}');
    json_end(w, '}');
    if (buf_failed(w->out)) {
        err e = { 0 };
        err_set(&e, w->out->failed == ERR_NOMEM ? ERR_NOMEM : ERR_LIMIT, "could not write the answer: it is too large");
        http_reply_err(req, &e);
        return;
    }
    http_reply(req, 200, JSON_TYPE, buf_str(w->out));
}

/* ---- /api/v1/rules ---- */

typedef struct rules_query {
    bool alerting, recording, exclude_alerts;
    http_request *req;
} rules_query;

/* True if `name` is not asked for at all, or one of its values is `value`. */
static bool asked_for(http_request *req, const char *name, str value)
{
    size_t pos = 0;
    str got;
    bool any = false;
    while (http_param_each(req, name, &pos, &got)) {
        any = true;
        if (str_eq(got, value))
            return true;
    }
    return !any;
}

static const char *worst_state(const rule *r)
{
    alert_state worst = ALERT_INACTIVE;
    for (size_t i = 0; i < r->item_count; i++)
        worst = MAX(worst, r->items[i]->track.state);
    return alert_state_name(worst);
}

static void put_alerting(json_writer *w, const rule_group *g, const rule *r, bool exclude_alerts)
{
    json_put_cstr(w, "state", worst_state(r));
    json_put_double(w, "duration", (double)r->for_ms / 1000);
    json_put_double(w, "keepFiringFor", (double)r->keep_firing_for_ms / 1000);
    put_texts(w, "annotations", r->annotations, r->annotation_count);
    if (exclude_alerts)
        return;
    json_key(w, "alerts");
    json_begin(w, '[');
    put_active(w, g, r);
    json_end(w, ']');
}

static void put_rule(json_writer *w, const rule_group *g, const rule *r, const rules_query *q)
{
    static const char *const health[] = { [RULE_UNKNOWN] = "unknown", [RULE_OK] = "ok", [RULE_ERR] = "err" };
    json_begin(w, '{');
    json_put_str(w, "name", r->name);
    json_put_str(w, "query", r->expr);
    put_texts(w, "labels", r->labels, r->label_count);
    if (r->alerting)
        put_alerting(w, g, r, q->exclude_alerts);
    json_put_cstr(w, "health", health[r->health]);
    if (r->last_error[0])
        json_put_cstr(w, "lastError", r->last_error);
    json_put_double(w, "evaluationTime", r->last_eval_s);
    put_time(w, "lastEvaluation", r->last_eval_ms);
    json_put_cstr(w, "type", r->alerting ? "alerting" : "recording");
    json_end(w, '}');
}

static bool rule_wanted(const rule *r, const rules_query *q)
{
    return (r->alerting ? q->alerting : q->recording) && asked_for(q->req, "rule_name[]", r->name);
}

static void put_group(json_writer *w, const rule_group *g, const rules_query *q)
{
    size_t wanted = 0;
    for (size_t i = 0; i < g->len; i++)
        wanted += rule_wanted(&g->rules[i], q);
    if (wanted == 0 && g->len > 0)
        return;
    json_begin(w, '{');
    json_put_str(w, "name", g->name);
    json_put_str(w, "file", g->file);
    json_key(w, "rules");
    json_begin(w, '[');
    for (size_t i = 0; i < g->len; i++)
        if (rule_wanted(&g->rules[i], q))
            put_rule(w, g, &g->rules[i], q);
    json_end(w, ']');
    json_put_double(w, "interval", (double)g->interval_ms / 1000);
    json_put_i64(w, "limit", g->limit);
    json_put_double(w, "evaluationTime", g->last_eval_s);
    put_time(w, "lastEvaluation", g->last_eval_ms);
    json_end(w, '}');
}

static void reply_bad(http_request *req, const char *what)
{
    AUTO(buf_done) buf b = BUF_INIT(4096);
    json_writer w = json_writer_to(&b);
    json_begin(&w, '{');
    json_put_cstr(&w, "status", "error");
    json_put_cstr(&w, "errorType", "bad_data");
    json_put_cstr(&w, "error", what);
    json_end(&w, '}');
    http_reply(req, 400, JSON_TYPE, buf_str(&b));
}

static void get_rules(http_request *req)
{
    alert_room *room = req->route_ctx;
    AUTO(buf_done) buf b = BUF_INIT(REPLY_MAX_BYTES);
    json_writer w = json_writer_to(&b);
    str type, exclude;
    bool typed = http_param(req, "type", &type) && type.len > 0;
    rules_query q = { .req = req, .alerting = !typed || str_is(type, "alert"), .recording = !typed || str_is(type, "record") };

    if (!q.alerting && !q.recording) {
        reply_bad(req, "invalid parameter \"type\": it must be alert or record");
        return;
    }
    q.exclude_alerts = http_param(req, "exclude_alerts", &exclude) && (str_is(exclude, "true") || str_is(exclude, "1"));
    start_reply(&w);
    json_key(&w, "groups");
    json_begin(&w, '[');
    for (size_t i = 0; i < rule_set_groups(room->config->rules); i++) {
        const rule_group *g = rule_set_group(room->config->rules, i);
        if (asked_for(req, "rule_group[]", g->name) && asked_for(req, "file[]", g->file))
            put_group(&w, g, &q);
    }
    json_end(&w, ']');
    end_reply(&w, req);
}

/* ---- /api/v1/alerts, /api/v1/alertmanagers ---- */

static void get_alerts(http_request *req)
{
    alert_room *room = req->route_ctx;
    AUTO(buf_done) buf b = BUF_INIT(REPLY_MAX_BYTES);
    json_writer w = json_writer_to(&b);
    start_reply(&w);
    json_key(&w, "alerts");
    json_begin(&w, '[');
    for (size_t g = 0; g < rule_set_groups(room->config->rules); g++) {
        const rule_group *group = rule_set_group(room->config->rules, g);
        for (size_t k = 0; k < group->len; k++)
            put_active(&w, group, &group->rules[k]);
    }
    json_end(&w, ']');
    end_reply(&w, req);
}

/* galen notifies by itself: there is no other Alertmanager to name. */
static void get_alertmanagers(http_request *req)
{
    AUTO(buf_done) buf b = BUF_INIT(4096);
    json_writer w = json_writer_to(&b);
    start_reply(&w);
    json_key(&w, "activeAlertmanagers");
    json_begin(&w, '[');
    json_end(&w, ']');
    json_key(&w, "droppedAlertmanagers");
    json_begin(&w, '[');
    json_end(&w, ']');
    end_reply(&w, req);
}

err_kind alert_routes(alert_room *r, http_server *s, err *e)
{
    const http_route routes[] = {
        { HTTP_GET, "/api/v1/rules", get_rules, r, HTTP_ROUTE_CORS, 0 },
        { HTTP_GET, "/api/v1/alerts", get_alerts, r, HTTP_ROUTE_CORS, 0 },
        { HTTP_GET, "/api/v1/alertmanagers", get_alertmanagers, r, HTTP_ROUTE_CORS, 0 },
    };
    return http_server_routes(s, routes, COUNT_OF(routes), e);
}
