/* alert/alert_http.c - Prometheus's API for rules and alerts, as Grafana and promtool read it.
 *
 * Source: https://prometheus.io/docs/prometheus/latest/querying/api/#rules */
#include <math.h>
#include <stdio.h>

#include "alert/room.h"
#include "base/hash.h"

#define REPLY_MAX_BYTES (64u << 20)
#define JSON_TYPE "application/json"
#define RULES_MATCHES_MAX 20
#define RULES_MATCH_BYTES (1u << 20)
#define GROUP_TOKEN_CHARS 40

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
    if (a->keep_since_ms)
        put_time(w, "keepFiringSince", a->keep_since_ms);
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
    size_t group_limit;         /* 0: all */
    str from;                   /* token of the first group; empty: from the beginning */
    matcher_set sets[RULES_MATCHES_MAX]; size_t set_count;
    arena arena;                /* of the sets */
    http_request *req;
} rules_query;

static void rules_query_done(rules_query *q)
{
    for (size_t i = 0; i < q->set_count; i++)
        promql_selector_done((matcher *)q->sets[i].at, q->sets[i].len);
    arena_done(&q->arena);
}

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

/* A templated label has no value before an alert has: as in Prometheus, it is not matched. */
static str static_label(const rule *r, str name)
{
    for (size_t i = 0; i < r->label_count; i++)
        if (str_eq(r->labels[i].name, name))
            return str_find(r->labels[i].text, STR("{{")) >= 0 ? STR_EMPTY : r->labels[i].text;
    return STR_EMPTY;
}

static bool rule_matches(const rule *r, const rules_query *q)
{
    for (size_t i = 0; i < q->set_count; i++) {
        bool all = true;
        for (size_t k = 0; k < q->sets[i].len && all; k++)
            all = matcher_match(&q->sets[i].at[k], static_label(r, q->sets[i].at[k].name));
        if (all)
            return true;
    }
    return q->set_count == 0;
}

static bool rule_wanted(const rule *r, const rules_query *q)
{
    return (r->alerting ? q->alerting : q->recording) && asked_for(q->req, "rule_name[]", r->name) && rule_matches(r, q);
}

static bool group_wanted(const rule_group *g, const rules_query *q)
{
    bool any = g->len == 0;
    if (!asked_for(q->req, "rule_group[]", g->name) || !asked_for(q->req, "file[]", g->file))
        return false;
    for (size_t i = 0; i < g->len && !any; i++)
        any = rule_wanted(&g->rules[i], q);
    return any;
}

static void put_group(json_writer *w, const rule_group *g, const rules_query *q)
{
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

static void reply_bad(http_request *req, const char *param, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void reply_bad(http_request *req, const char *param, const char *fmt, ...)
{
    AUTO(buf_done) buf b = BUF_INIT(16384);
    AUTO(buf_done) buf text = BUF_INIT(4096);
    va_list args;
    buf_printf(&text, "invalid parameter \"%s\": ", param);
    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    json_writer w = json_writer_to(&b);
    json_begin(&w, '{');
    json_put_cstr(&w, "status", "error");
    json_put_cstr(&w, "errorType", "bad_data");
    json_put_str(&w, "error", buf_str(&text));
    json_end(&w, '}');
    http_reply(req, 400, JSON_TYPE, buf_str(&b));
}

/* Go's strconv.ParseBool. */
static bool parse_bool(str text, bool *ret)
{
    static const char *const yes[] = { "1", "t", "T", "TRUE", "true", "True" }, *const no[] = { "0", "f", "F", "FALSE", "false", "False" };
    for (size_t i = 0; i < COUNT_OF(yes); i++)
        if (str_is(text, yes[i]) || str_is(text, no[i])) {
            *ret = str_is(text, yes[i]);
            return true;
        }
    return false;
}

static bool read_kinds(rules_query *q)
{
    str type = STR_EMPTY, exclude;
    bool typed = http_param(q->req, "type", &type) && type.len > 0;
    q->alerting = !typed || str_is(type, "alert");
    q->recording = !typed || str_is(type, "record");
    if (!q->alerting && !q->recording)
        return reply_bad(q->req, "type", "not supported value \"%.*s\"", (int)MIN(type.len, (size_t)100), type.ptr), false;
    if (http_param(q->req, "exclude_alerts", &exclude) && exclude.len && !parse_bool(exclude, &q->exclude_alerts))
        return reply_bad(q->req, "exclude_alerts", "error converting exclude_alerts: not a bool"), false;
    return true;
}

static bool read_page(rules_query *q)
{
    str limit = STR_EMPTY;
    int64_t n;
    bool limited = http_param(q->req, "group_limit", &limit) && limit.len > 0;
    (void)http_param(q->req, "group_next_token", &q->from);
    if (q->from.len && !limited)
        return reply_bad(q->req, "group_next_token", "group_limit needs to be present in order to paginate over the groups"), false;
    if (limited && !str_to_i64(limit, &n))
        return reply_bad(q->req, "group_limit", "group_limit needs to be a valid number"), false;
    if (limited && n <= 0)
        return reply_bad(q->req, "group_limit", "group_limit needs to be greater than 0"), false;
    q->group_limit = limited ? (size_t)n : 0;
    return true;
}

static bool read_matches(rules_query *q)
{
    str text;
    for (size_t pos = 0; http_param_each(q->req, "match[]", &pos, &text); q->set_count++) {
        matcher *m;
        size_t n;
        err e = { 0 };
        if (q->set_count == RULES_MATCHES_MAX)
            return reply_bad(q->req, "match[]", "more than %d selectors", RULES_MATCHES_MAX), false;
        if (promql_parse_selector(text, &q->arena, &m, &n, &e)) {
            char why[700];
            err_format(why, sizeof why, &e);
            return reply_bad(q->req, "match[]", "%s", why), false;
        }
        q->sets[q->set_count] = (matcher_set){ m, n };
    }
    return true;
}

/* What names a group in a page's end: stable as long as the group is. */
static void group_token(const rule_group *g, char out[GROUP_TOKEN_CHARS + 1])
{
    char hex[2 * HASH_CHAIN_BYTES + 1];
    hash_chain h = hash_blake2b((const str[]){ g->file, STR(";"), g->name }, 3);
    hash_hex(hex, &h);
    str_copy(out, GROUP_TOKEN_CHARS + 1, str_of(hex, GROUP_TOKEN_CHARS));
}

/* The number of the group that `token` names; the count of groups if there is none. */
static size_t group_named(const rule_set *s, str token)
{
    char text[GROUP_TOKEN_CHARS + 1];
    size_t i = 0;
    for (; i < rule_set_groups(s); i++) {
        group_token(rule_set_group(s, i), text);
        if (str_is(token, text))
            break;
    }
    return i;
}

static void put_groups(json_writer *w, const rule_set *s, size_t from, const rules_query *q)
{
    char next[GROUP_TOKEN_CHARS + 1] = "";
    size_t put = 0;
    json_key(w, "groups");
    json_begin(w, '[');
    for (size_t i = from; i < rule_set_groups(s) && !next[0]; i++) {
        const rule_group *g = rule_set_group(s, i);
        if (!group_wanted(g, q))
            continue;
        if (q->group_limit && put == q->group_limit)
            group_token(g, next);
        else
            put_group(w, g, q), put++;
    }
    json_end(w, ']');
    if (next[0])
        json_put_cstr(w, "groupNextToken", next);
}

static void get_rules(http_request *req)
{
    alert_room *room = req->route_ctx;
    const rule_set *s = room->config->rules;
    AUTO(buf_done) buf b = BUF_INIT(REPLY_MAX_BYTES);
    AUTO(rules_query_done) rules_query q = { .req = req, .arena = ARENA_INIT(RULES_MATCH_BYTES) };
    json_writer w = json_writer_to(&b);

    if (!read_kinds(&q) || !read_page(&q) || !read_matches(&q))
        return;
    size_t from = q.from.len ? group_named(s, q.from) : 0;
    if (q.from.len && from == rule_set_groups(s)) {
        reply_bad(req, "group_next_token", "invalid group_next_token '%.*s'. were rule groups changed?", (int)MIN(q.from.len, (size_t)100), q.from.ptr);
        return;
    }
    start_reply(&w);
    put_groups(&w, s, from, &q);
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

/* Those of prometheus.yml's alerting section; galen's own notifying does not need one. */
static void get_alertmanagers(http_request *req)
{
    const alert_config *c = ((alert_room *)req->route_ctx)->config;
    AUTO(buf_done) buf b = BUF_INIT(1u << 20);
    json_writer w = json_writer_to(&b);
    start_reply(&w);
    json_key(&w, "activeAlertmanagers");
    json_begin(&w, '[');
    for (size_t i = 0; i < c->alertmanager_count; i++) {
        json_begin(&w, '{');
        json_put_str(&w, "url", c->alertmanagers[i]);
        json_end(&w, '}');
    }
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
