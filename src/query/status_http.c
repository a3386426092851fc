/* /status/…: what this process is and what its store holds. */
#include "query/api.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Clients (Grafana, promtool) choose what they may ask by this number: the Prometheus whose API this is. */
#define API_VERSION "3.8.0"
#define TOP 10

static void reply_object(http_request *req, buf *body)
{
    api_end(body, NULL, 0, NULL, 0);
    api_reply(req, 200, buf_str(body));
}

static const char *text_or(const char *text, const char *otherwise)
{
    return text ? text : otherwise;
}

void page_buildinfo(http_request *req)
{
    const query_http *h = req->route_ctx;
    AUTO(buf_done) buf body = BUF_INIT(1u << 16);
    api_begin(&body);
    json_writer w = json_writer_to(&body);
    json_begin(&w, '{');
    json_put_cstr(&w, "version", API_VERSION "+galen." GALEN_VERSION);
    json_put_cstr(&w, "revision", text_or(h->about.revision, ""));
    json_put_cstr(&w, "branch", "");
    json_put_cstr(&w, "buildUser", "galen");
    json_put_cstr(&w, "buildDate", text_or(h->about.build_date, ""));
    json_put_cstr(&w, "goVersion", "");
    json_end(&w, '}');
    reply_object(req, &body);
}

static void put_iso(json_writer *w, const char *key, int64_t t_ms)
{
    char text[CLOCK_ISO_MAX];
    json_key(w, key);
    json_str(w, str_of(text, clock_format_iso(text, t_ms)));
}

void page_runtimeinfo(http_request *req)
{
    const query_http *h = req->route_ctx;
    AUTO(buf_done) buf body = BUF_INIT(1u << 16);
    char folder[4096], host[256];
    int64_t loaded_ms = h->started_ms;
    bool ok = !h->about.config_ok || h->about.config_ok(h->about.ctx, &loaded_ms);
    api_begin(&body);
    json_writer w = json_writer_to(&body);
    json_begin(&w, '{');
    put_iso(&w, "startTime", h->started_ms);
    json_put_cstr(&w, "CWD", getcwd(folder, sizeof folder) ? folder : "");
    json_put_cstr(&w, "hostname", gethostname(host, sizeof host) == 0 ? host : "");
    put_iso(&w, "serverTime", clock_now_ms());
    json_put_bool(&w, "reloadConfigSuccess", ok);
    put_iso(&w, "lastConfigTime", loaded_ms);
    json_put_i64(&w, "corruptionCount", 0);
    json_put_i64(&w, "goroutineCount", 0);
    json_put_i64(&w, "GOMAXPROCS", sysconf(_SC_NPROCESSORS_ONLN));
    json_put_i64(&w, "GOMEMLIMIT", 0);
    json_put_cstr(&w, "GOGC", "");
    json_put_cstr(&w, "GODEBUG", "");
    json_put_cstr(&w, "storageRetention", text_or(h->about.retention, "15d"));
    json_end(&w, '}');
    reply_object(req, &body);
}

void page_config(http_request *req)
{
    const query_http *h = req->route_ctx;
    AUTO(buf_done) buf body = BUF_INIT(64u << 20);
    api_begin(&body);
    json_writer w = json_writer_to(&body);
    json_begin(&w, '{');
    json_put_str(&w, "yaml", h->about.config_yaml);
    json_end(&w, '}');
    reply_object(req, &body);
}

void page_flags(http_request *req)
{
    const query_http *h = req->route_ctx;
    AUTO(buf_done) buf body = BUF_INIT(1u << 18);
    api_begin(&body);
    json_writer w = json_writer_to(&body);
    json_begin(&w, '{');
    for (const char *const *f = h->about.flags; f && f[0] && f[1]; f += 2)
        json_put_cstr(&w, f[0], f[1]);
    json_end(&w, '}');
    reply_object(req, &body);
}

/* Requests are only served once the WAL was read. */
void page_walreplay(http_request *req)
{
    api_reply(req, 200, STR("{\"status\":\"success\",\"data\":{\"min\":0,\"max\":0,\"current\":0,\"state\":\"done\"}}"));
}

void page_features(http_request *req)
{
    const query_http *h = req->route_ctx;
    bool experimental = query_engine_options(h->engine)->features & PROMQL_EXPERIMENTAL_FUNCTIONS;
    AUTO(buf_done) buf body = BUF_INIT(1u << 16);
    api_begin(&body);
    json_writer w = json_writer_to(&body);
    json_begin(&w, '{');
    json_key(&w, "api");
    json_begin(&w, '{');
    json_put_bool(&w, "query_stats", true);
    json_put_bool(&w, "label_values_match", true);
    json_put_bool(&w, "remote_write_receiver", true);
    json_end(&w, '}');
    json_key(&w, "promql");
    json_begin(&w, '{');
    json_put_bool(&w, "at_modifier", true);
    json_put_bool(&w, "negative_offset", true);
    json_put_bool(&w, "subqueries", true);
    json_put_bool(&w, "duration_expr", true);
    json_put_bool(&w, "experimental_functions", experimental);
    json_put_bool(&w, "native_histograms", false);
    json_end(&w, '}');
    json_end(&w, '}');
    reply_object(req, &body);
}

/* ---- tsdb: who takes the room ---- */

typedef struct entry { str name; uint64_t n; } entry;
typedef struct tally { map numbers; vec(entry) entries; } tally;

static void tally_done(tally *t)
{
    map_done(&t->numbers);
    vec_done(&t->entries);
}

/* Add `n` to the entry `name`, which must outlive the tally. */
CHECKED static err_kind tally_add(tally *t, str name, uint64_t n)
{
    size_t number = (size_t)(uintptr_t)map_get(&t->numbers, name);
    if (!number) {
        if (vec_push(&t->entries, ((entry){ name, 0 })) || map_set(&t->numbers, name, (void *)(uintptr_t)t->entries.len))
            return ERR_NOMEM;
        number = t->entries.len;
    }
    t->entries.at[number - 1].n += n;
    return OK;
}

static int most_first(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n ? 1 : -1) : str_cmp(x->name, y->name);
}

static void put_top(json_writer *w, const char *key, tally *t)
{
    if (t->entries.len > 1)
        qsort(t->entries.at, t->entries.len, sizeof *t->entries.at, most_first);
    json_key(w, key);
    json_begin(w, '[');
    for (size_t i = 0; i < MIN(t->entries.len, (size_t)TOP); i++) {
        json_begin(w, '{');
        json_put_str(w, "name", t->entries.at[i].name);
        json_put_i64(w, "value", (int64_t)t->entries.at[i].n);
        json_end(w, '}');
    }
    json_end(w, ']');
}

typedef struct census { arena arena; tally by_name, pairs, values, bytes; } census;

CHECKED static err_kind count_label(census *c, label l)
{
    str pair = arena_printf(&c->arena, "%" STR_FMT "=%" STR_FMT, STR_ARG(l.name), STR_ARG(l.value));
    size_t before = c->pairs.entries.len;
    if (!pair.ptr || tally_add(&c->pairs, pair, 1))
        return ERR_NOMEM;
    if (c->pairs.entries.len == before)
        return OK;
    return tally_add(&c->values, l.name, 1) || tally_add(&c->bytes, l.name, l.value.len) ? ERR_NOMEM : OK;
}

CHECKED static err_kind take_census(census *c, const store_selection *sel)
{
    for (size_t i = 0; i < store_select_len(sel); i++) {
        labels l = store_select_labels(sel, i);
        if (tally_add(&c->by_name, labels_name(l), 1))
            return ERR_NOMEM;
        for (size_t k = 0; k < l.len; k++)
            if (count_label(c, l.at[k]))
                return ERR_NOMEM;
    }
    return OK;
}

static void put_census(job *j, census *c)
{
    store_stats s = store_stats_get(j->http->store);
    api_begin(&j->body);
    json_writer w = json_writer_to(&j->body);
    json_begin(&w, '{');
    json_key(&w, "headStats");
    json_begin(&w, '{');
    json_put_i64(&w, "numSeries", (int64_t)s.head_series);
    json_put_i64(&w, "numLabelPairs", (int64_t)c->pairs.entries.len);
    json_put_i64(&w, "chunkCount", (int64_t)s.head_chunks);
    json_put_i64(&w, "minTime", s.min_t_ms);
    json_put_i64(&w, "maxTime", s.max_t_ms);
    json_end(&w, '}');
    put_top(&w, "seriesCountByMetricName", &c->by_name);
    put_top(&w, "labelValueCountByLabelName", &c->values);
    put_top(&w, "memoryInBytesByLabelName", &c->bytes);
    put_top(&w, "seriesCountByLabelValuePair", &c->pairs);
    json_end(&w, '}');
    job_end(j, NULL, 0, NULL, 0);
}

static void run_tsdb(job *j)
{
    census c = { .arena = ARENA_INIT((size_t)512 << 20) };
    store_selection *sel = NULL;
    err e = { 0 };
    matcher any = { .name = METRIC_NAME, .value = STR_EMPTY, .op = MATCH_NE };
    err_kind k = store_select(j->http->store, &any, 1, API_MIN_TIME_MS, API_MAX_TIME_MS, NULL, &sel, &e);
    if (!k && take_census(&c, sel))
        k = err_nomem(&e);
    if (k)
        api_error_body(&j->body, &j->status, &e, NULL);
    else
        put_census(j, &c);
    tally_done(&c.by_name);
    tally_done(&c.pairs);
    tally_done(&c.values);
    tally_done(&c.bytes);
    arena_done(&c.arena);
    store_select_free(sel);
}

void page_tsdb(http_request *req)
{
    job *j = job_new(req, run_tsdb);
    if (j)
        job_start(j);
}
