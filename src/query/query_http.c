/* Prometheus's HTTP API: https://prometheus.io/docs/prometheus/latest/querying/api/ */
#include "query/api.h"
#include "query/ast.h"
#include <stdio.h>

/* ---- envelope ---- */

void api_reply(http_request *req, int status, str json)
{
    http_reply(req, status, "application/json", json);
}

static void put_error(buf *out, const char *type, str text)
{
    json_writer w = json_writer_to(out);
    json_begin(&w, '{');
    json_put_cstr(&w, "status", "error");
    json_put_cstr(&w, "errorType", type);
    json_put_str(&w, "error", text);
    json_end(&w, '}');
}

void api_error(http_request *req, int status, const char *type, const char *fmt, ...)
{
    AUTO(buf_done) buf text = BUF_INIT(1u << 16), body = BUF_INIT(1u << 18);
    va_list args;
    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    put_error(&body, type, buf_str(&text));
    api_reply(req, status, buf_str(&body));
}

static const struct { err_kind kind; int status; const char *type; } answers[] = {
    { ERR_PARSE, 400, "bad_data" }, { ERR_INVALID, 400, "bad_data" }, { ERR_EXEC, 422, "execution" }, { ERR_LIMIT, 422, "execution" },
    { ERR_TIMEOUT, 503, "timeout" }, { ERR_CANCELED, 503, "canceled" }, { ERR_NOT_FOUND, 404, "not_found" },
    { ERR_UNAVAILABLE, 503, "unavailable" }, { ERR_FULL, 503, "unavailable" },
};

int api_status_of(err_kind k, const char **ret_type)
{
    for (size_t i = 0; i < COUNT_OF(answers); i++)
        if (answers[i].kind == k) {
            *ret_type = answers[i].type;
            return answers[i].status;
        }
    *ret_type = "internal";
    return 500;
}

void api_error_body(buf *out, int *ret_status, const err *e, const char *param)
{
    char text[700], whole[800];
    const char *type;
    *ret_status = api_status_of(e->kind, &type);
    err_format(text, sizeof text, e);
    if (param && *ret_status == 400)
        snprintf(whole, sizeof whole, "invalid parameter \"%s\": %s", param, text);
    else
        snprintf(whole, sizeof whole, "%s", text);
    buf_reset(out);
    put_error(out, type, str_from(whole));
}

void job_fail(job *j, const err *e, const char *param)
{
    j->failed = e->kind;
    api_error_body(&j->body, &j->status, e, param);
}

void api_begin(buf *out)
{
    buf_append(out, STR("{\"status\":\"success\",\"data\":"));
}

static void put_texts(buf *out, const char *key, const str *at, size_t n)
{
    if (n == 0)
        return;
    buf_printf(out, ",\"%s\":", key);
    json_writer w = json_writer_to(out);
    json_begin(&w, '[');
    for (size_t i = 0; i < n; i++)
        json_str(&w, at[i]);
    json_end(&w, ']');
}

void api_end(buf *out, const str *warnings, size_t n, const str *infos, size_t m)
{
    put_texts(out, "warnings", warnings, n);
    put_texts(out, "infos", infos, m);
    buf_append_char(out, '}');
}

void job_end(job *j, const str *warnings, size_t n, const str *infos, size_t m)
{
    err e = { 0 };
    api_end(&j->body, warnings, n, infos, m);
    j->status = 200;
    if (!buf_failed(&j->body))
        return;
    err_set(&e, j->body.failed, "the result is too large for one reply");
    api_error_body(&j->body, &j->status, &e, NULL);
}

/* ---- parameters ---- */

static bool parse_seconds(str text, int64_t *ret_ms)
{
    double seconds;
    if (!str_to_double(text, &seconds) || !(fabs(seconds) <= (double)API_MAX_TIME_MS / 1e3))
        return false;
    *ret_ms = (int64_t)round(seconds * 1e3);
    return true;
}

static bool bad_param(http_request *req, const char *name, str text, const char *wanted)
{
    api_error(req, 400, "bad_data", "invalid parameter \"%s\": cannot parse \"%" STR_FMT "\" to a valid %s", name, STR_ARG(text), wanted);
    return false;
}

bool api_time(http_request *req, const char *name, bool required, int64_t preset_ms, int64_t *ret_ms)
{
    str text = STR_EMPTY;
    *ret_ms = preset_ms;
    if (!http_param(req, name, &text) || str_empty(text))
        return required ? bad_param(req, name, text, "timestamp") : true;
    return parse_seconds(text, ret_ms) || clock_parse_iso(text, ret_ms) || bad_param(req, name, text, "timestamp");
}

bool api_duration(http_request *req, const char *name, bool required, int64_t *ret_ms)
{
    str text = STR_EMPTY;
    *ret_ms = 0;
    if (!http_param(req, name, &text) || str_empty(text))
        return required ? bad_param(req, name, text, "duration") : true;
    return parse_seconds(text, ret_ms) || clock_parse_duration(text, ret_ms) || bad_param(req, name, text, "duration");
}

bool api_limit(http_request *req, size_t *ret)
{
    str text;
    uint64_t limit;
    *ret = 0;
    if (!http_param(req, "limit", &text) || str_empty(text))
        return true;
    if (!str_to_u64(text, &limit)) {
        api_error(req, 400, "bad_data", "invalid parameter \"limit\": limit must be a non-negative number");
        return false;
    }
    *ret = (size_t)limit;
    return true;
}

bool api_query_text(http_request *req, arena *a, str *ret)
{
    str text = STR_EMPTY;
    http_param(req, "query", &text);
    if (!str_utf8_valid(text)) {
        api_error(req, 400, "bad_data", "invalid parameter \"query\": not valid UTF-8");
        return false;
    }
    *ret = arena_str(a, text);
    if (ret->ptr)
        return true;
    api_error(req, 400, "bad_data", "invalid parameter \"query\": too long");
    return false;
}

bool api_matches(http_request *req, job *j)
{
    str text;
    for (size_t pos = 0; http_param_each(req, "match[]", &pos, &text);) {
        if (j->match_count == QUERY_MATCHES_MAX) {
            api_error(req, 400, "bad_data", "invalid parameter \"match[]\": more than %d selectors", QUERY_MATCHES_MAX);
            return false;
        }
        if (!(j->matches[j->match_count++] = arena_str(&j->arena, text)).ptr) {
            api_error(req, 400, "bad_data", "invalid parameter \"match[]\": too long");
            return false;
        }
    }
    return true;
}

bool api_about(http_request *req, job *j)
{
    if ((j->about = arena_dup(&j->arena, &j->http->about, sizeof *j->about)))
        return true;
    api_error(req, 500, "internal", "out of memory");
    return false;
}

bool api_external_labels(http_request *req, job *j)
{
    if (labels_to_arena(&j->arena, j->http->about.external_labels, &j->external) == OK)
        return true;
    api_error(req, 500, "internal", "out of memory");
    return false;
}

err_kind job_parse_matches(job *j, err *e)
{
    for (; j->set_count < j->match_count; j->set_count++) {
        matcher *m = NULL;
        size_t n = 0;
        if (promql_parse_selector(j->matches[j->set_count], &j->arena, &m, &n, e)) {
            if (strstr(e->message, "at least one non-empty matcher"))
                err_set(e, ERR_PARSE, "match[] must contain at least one non-empty matcher");
            e->kind = e->kind == ERR_LIMIT ? ERR_PARSE : e->kind; /* too long: the asker's mistake, not the query's */
            return e->kind;
        }
        j->sets[j->set_count] = (matcher_set){ m, n };
    }
    return OK;
}

bool job_matches(job *j)
{
    err e = { 0 };
    if (job_parse_matches(j, &e) == OK)
        return true;
    api_error_body(&j->body, &j->status, &e, "match[]");
    return false;
}

/* ---- query, query_range ---- */

/* [[t,n],…]: how many samples each step looked at. */
static void put_steps(job *j, const query_cost *c)
{
    int64_t start_ms = j->query.step_ms ? j->query.from_ms : j->query.to_ms;
    buf_append(&j->body, STR(",\"totalQueryableSamplesPerStep\":["));
    for (size_t i = 0; i < c->steps; i++) {
        char number[NUM_DOUBLE_MAX];
        num_format_double(number, (double)(start_ms + (int64_t)i * j->query.step_ms) / 1e3);
        buf_printf(&j->body, "%s[%s,%" PRIu64 "]", i ? "," : "", number, c->per_step[i]);
    }
    buf_append_char(&j->body, ']');
}

/* {"resultType":…,"result":…} gets "stats" as one more member. Prometheus: util/stats/query_stats.go. */
static void put_stats(job *j, const query_result *r, int64_t queued_ns)
{
    buf *out = &j->body;
    const query_cost *c = &r->cost;
    double ran = (double)c->took_ns / 1e9, parsed = (double)c->parse_ns / 1e9, sorted = (double)c->sort_ns / 1e9, queued = (double)queued_ns / 1e9;
    buf_truncate(out, out->len - 1);
    buf_printf(out, ",\"stats\":{\"timings\":{\"evalTotalTime\":%.9f,\"resultSortTime\":%.9f,\"queryPreparationTime\":%.9f,"
               "\"innerEvalTime\":%.9f,\"execQueueTime\":%.9f,\"execTotalTime\":%.9f},"
               "\"samples\":{\"totalQueryableSamples\":%" PRIu64 ",\"peakSamples\":%" PRIu64,
               ran, sorted, parsed, MAX(ran - parsed - sorted, 0), queued, queued + ran, c->samples, c->peak_samples);
    if (j->want_stats_per_step)
        put_steps(j, c);
    buf_append(out, STR("}}}"));
}

static void run_query(job *j)
{
    query_result r = { 0 };
    err e = { 0 };
    int64_t waited = clock_mono_ns() - j->queued_ns;
    j->query.waited_ms = waited / NS_PER_MS;
    if (query_run(j->http->engine, &j->query, &r, &e)) {
        job_fail(j, &e, "query");
        return;
    }
    api_begin(&j->body);
    query_result_json(&r, &j->body);
    if (j->query.want_cost)
        put_stats(j, &r, waited);
    job_end(j, r.warnings, r.warning_count, r.infos, r.info_count);
    query_result_done(&r);
}

/* ?tier=raw, 5m or 1h: raw samples or roll-ups, whatever the range would choose. */
static bool tier_param(http_request *req, job *j)
{
    static const struct { const char *name; store_tier tier; } tiers[] = {
        { "", STORE_TIER_AUTO }, { "auto", STORE_TIER_AUTO }, { "raw", STORE_TIER_RAW }, { "5m", STORE_TIER_5M }, { "1h", STORE_TIER_1H },
    };
    str text = STR_EMPTY;
    http_param(req, "tier", &text);
    for (size_t i = 0; i < COUNT_OF(tiers); i++)
        if (str_is(text, tiers[i].name)) {
            j->query.tier = tiers[i].tier;
            return true;
        }
    api_error(req, 400, "bad_data", "invalid parameter \"tier\": \"%" STR_FMT "\" is none of auto, raw, 5m, 1h", STR_ARG(text));
    return false;
}

static bool common_params(http_request *req, job *j)
{
    str text;
    j->may_run_here = true;
    j->query.want_cost = http_param(req, "stats", &text) && !str_empty(text);
    j->want_stats_per_step = j->query.want_cost && str_is(text, "all");
    return tier_param(req, j) && api_limit(req, &j->query.limit) && api_duration(req, "timeout", false, &j->query.timeout_ms) &&
           api_duration(req, "lookback_delta", false, &j->query.lookback_ms) && api_query_text(req, &j->arena, &j->query.expr);
}

void page_query(http_request *req)
{
    job *j = job_new(req, run_query);
    if (!j)
        return;
    if (api_time(req, "time", false, clock_now_ms(), &j->query.to_ms) && common_params(req, j))
        job_start(j);
    else
        job_drop(j);
}

static bool range_params(http_request *req, job *j)
{
    query_request *q = &j->query;
    if (!api_time(req, "start", true, 0, &q->from_ms) || !api_time(req, "end", true, 0, &q->to_ms))
        return false;
    if (q->to_ms < q->from_ms) {
        api_error(req, 400, "bad_data", "invalid parameter \"end\": end timestamp must not be before start time");
        return false;
    }
    if (!api_duration(req, "step", true, &q->step_ms))
        return false;
    if (q->step_ms <= 0) {
        api_error(req, 400, "bad_data", "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer");
        return false;
    }
    if ((q->to_ms - q->from_ms) / q->step_ms > (int64_t)query_engine_options(j->http->engine)->max_points) {
        err e = { 0 };
        query_points_fail(j->http->engine, &e);
        api_error(req, 400, "bad_data", "%s", e.message);
        return false;
    }
    return common_params(req, j);
}

void page_query_range(http_request *req)
{
    job *j = job_new(req, run_query);
    if (!j)
        return;
    if (range_params(req, j))
        job_start(j);
    else
        job_drop(j);
}

/* ---- explain: the query is run, and instead of its result its cost is told ---- */

static void run_explain(job *j)
{
    query_result r = { 0 };
    err e = { 0 };
    if (query_run(j->http->engine, &j->query, &r, &e)) {
        job_fail(j, &e, "query");
        return;
    }
    api_begin(&j->body);
    query_cost_json(&r, &j->body);
    job_end(j, r.warnings, r.warning_count, r.infos, r.info_count);
    query_result_done(&r);
}

void page_explain(http_request *req)
{
    str text;
    bool range = http_param(req, "step", &text) || http_param(req, "start", &text);
    job *j = job_new(req, run_explain);
    if (!j)
        return;
    bool ok = range ? range_params(req, j) : api_time(req, "time", false, clock_now_ms(), &j->query.to_ms) && common_params(req, j);
    j->query.want_cost = true;
    j->may_run_here = false;
    if (ok)
        job_start(j);
    else
        job_drop(j);
}

/* ---- pages that only parse: in the pool too, as an expression of a megabyte may hold fifty thousand regexes ---- */

static void run_parse(job *j, void (*write)(const ast *root, buf *out))
{
    ast *root;
    err e = { 0 };
    if (promql_parse(j->query.expr, &j->arena, &root, &e)) {
        api_error_body(&j->body, &j->status, &e, "query");
        return;
    }
    api_begin(&j->body);
    write(root, &j->body);
    job_end(j, NULL, 0, NULL, 0);
}

static void write_pretty(const ast *root, buf *out)
{
    AUTO(buf_done) buf text = BUF_INIT(16u << 20);
    json_writer w = json_writer_to(out);
    ast_format_pretty(root, &text);
    json_str(&w, buf_str(&text));
    if (buf_failed(&text)) /* indented, a tall tree is many times its own length */
        out->failed = text.failed;
}

static void run_format(job *j) { run_parse(j, write_pretty); }
static void run_tree(job *j) { run_parse(j, ast_write_json); }

static void start_parse(http_request *req, job_run run)
{
    job *j = job_new(req, run);
    if (!j)
        return;
    if (api_query_text(req, &j->arena, &j->query.expr))
        job_start(j);
    else
        job_drop(j);
}

void page_format_query(http_request *req) { start_parse(req, run_format); }
void page_parse_query(http_request *req) { start_parse(req, run_tree); }

/* ---- the room's HTTP side ---- */

err_kind query_http_open(query_engine *q, store *s, http_server *server, net_poster *poster, unsigned threads, query_http **ret, err *e)
{
    enum { GET = HTTP_GET, BOTH = HTTP_GET | HTTP_POST, CHANGE = HTTP_POST | HTTP_PUT, CORS = HTTP_ROUTE_CORS };
    query_http *h = mem_zalloc(sizeof *h);
    if (!h)
        return err_nomem(e);
    *h = (query_http){ .engine = q, .store = s, .poster = poster, .started_ms = clock_now_ms(), .about_arena = ARENA_INIT(16u << 20) };
    const http_route routes[] = {
        { BOTH, "/api/v1/query", page_query, h, CORS, PROMQL_FORM_MAX },
        { BOTH, "/api/v1/query_range", page_query_range, h, CORS, PROMQL_FORM_MAX },
        { BOTH, "/api/galen/v1/query/explain", page_explain, h, 0, PROMQL_FORM_MAX },
        { BOTH, "/api/v1/query_exemplars", page_query_exemplars, h, CORS, PROMQL_FORM_MAX },
        { BOTH, "/api/v1/format_query", page_format_query, h, CORS, PROMQL_FORM_MAX },
        { BOTH, "/api/v1/parse_query", page_parse_query, h, CORS, PROMQL_FORM_MAX },
        { BOTH, "/api/v1/series", page_series, h, CORS, PROMQL_FORM_MAX },
        { BOTH, "/api/v1/labels", page_labels, h, CORS, PROMQL_FORM_MAX },
        { GET, "/api/v1/label/:name/values", page_label_values, h, CORS, 0 },
        { GET, "/federate", page_federate, h, 0, 0 },
        { CHANGE, "/api/v1/admin/tsdb/delete_series", page_delete_series, h, HTTP_ROUTE_LOCAL, PROMQL_FORM_MAX },
        { CHANGE, "/api/v1/admin/tsdb/clean_tombstones", page_clean_tombstones, h, HTTP_ROUTE_LOCAL, 0 },
        { CHANGE, "/api/v1/admin/tsdb/snapshot", page_snapshot, h, HTTP_ROUTE_LOCAL, 0 },
        { CHANGE, "/-/flush", page_flush, h, HTTP_ROUTE_LOCAL, 0 },
        { GET, "/api/galen/v1/store", page_store, h, 0, 0 },
        { GET, "/api/galen/v1/queries", page_queries, h, 0, 0 },
        { HTTP_DELETE, "/api/galen/v1/queries/:id", page_query_kill, h, HTTP_ROUTE_CHANGES, 0 },
        { HTTP_POST, "/api/v1/read", page_remote_read, h, 0, READ_BODY_MAX },
        { GET, "/api/v1/status/buildinfo", page_buildinfo, h, CORS, 0 },
        { GET, "/api/v1/status/runtimeinfo", page_runtimeinfo, h, 0, 0 },
        { GET, "/api/v1/status/config", page_config, h, 0, 0 },
        { GET, "/api/v1/status/flags", page_flags, h, 0, 0 },
        { GET, "/api/v1/status/walreplay", page_walreplay, h, 0, 0 },
        { GET, "/api/v1/status/tsdb", page_tsdb, h, CORS, 0 },
        { GET, "/api/v1/notifications", page_notifications, h, 0, 0 },
        { GET, "/api/v1/features", page_features, h, CORS, 0 },
    };
    h->cheap = query_engine_backend(q) ? NULL : cheap_new(); /* the network is never cheap */
    h->pool = query_pool_open(threads ? threads : 2, e);
    if (!h->pool || http_server_routes(server, routes, COUNT_OF(routes), e)) {
        query_pool_close(h->pool);
        cheap_free(h->cheap);
        mem_free(h);
        return e ? e->kind : ERR_INTERNAL;
    }
    *ret = h;
    return OK;
}

void query_http_about(query_http *h, const query_about *about)
{
    h->about = *about;
    h->about.external_labels = (labels){ NULL, 0 };
    arena_reset(&h->about_arena);
    if (labels_to_arena(&h->about_arena, about->external_labels, &h->about.external_labels))
        log_error("external labels are left out, memory is short");
}

void query_http_close(query_http *h)
{
    if (!h)
        return;
    query_pool_close(h->pool);
    cheap_free(h->cheap);
    arena_done(&h->about_arena);
    mem_free(h);
}
