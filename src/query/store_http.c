/* What the store holds and who takes the room: /api/v1/status/tsdb as Prometheus tells it, /api/galen/v1/store for the page.
 *
 * Sources: https://prometheus.io/docs/prometheus/latest/querying/api/#tsdb-stats; the numbers are store.h's. On the pool:
 * counting half a million series takes a moment. */
#include "query/api.h"

#define TOP_PRESET 10
#define TOP_MAX 10000
#define CENSUS_MAX_BYTES ((size_t)256 << 20)
#define BLOCKS_SHOWN 500

static void put_top(json_writer *w, const char *key, const cardinality *c)
{
    json_key(w, key);
    json_begin(w, '[');
    for (size_t i = 0; i < c->len; i++) {
        json_begin(w, '{');
        json_put_str(w, "name", c->at[i].name);
        json_put_i64(w, "value", (int64_t)c->at[i].value);
        json_end(w, '}');
    }
    json_end(w, ']');
}

/* Prometheus's words where a store is empty: the ends of time. */
static void put_head(json_writer *w, const store_stats *s, const store_cardinality *c)
{
    json_key(w, "headStats");
    json_begin(w, '{');
    json_put_i64(w, "numSeries", (int64_t)c->series);
    json_put_i64(w, "numLabelPairs", (int64_t)c->label_pairs);
    json_put_i64(w, "chunkCount", (int64_t)c->chunks);
    json_put_i64(w, "minTime", s->min_t_ms);
    json_put_i64(w, "maxTime", s->max_t_ms);
    json_end(w, '}');
}

static void put_tsdb(job *j, const store_cardinality *c)
{
    store_stats s = store_stats_get(j->http->store);
    api_begin(&j->body);
    json_writer w = json_writer_to(&j->body);
    json_begin(&w, '{');
    put_head(&w, &s, c);
    put_top(&w, "seriesCountByMetricName", &c->by_metric);
    put_top(&w, "labelValueCountByLabelName", &c->by_label_values);
    put_top(&w, "memoryInBytesByLabelName", &c->by_label_bytes);
    put_top(&w, "seriesCountByLabelValuePair", &c->by_pair);
    json_end(&w, '}');
    job_end(j, NULL, 0, NULL, 0);
}

static void run_tsdb(job *j)
{
    AUTO(arena_done) arena a = ARENA_INIT(CENSUS_MAX_BYTES);
    store_cardinality c = { 0 };
    err e = { 0 };
    if (store_cardinality_get(j->http->store, j->query.limit, &a, &c, &e))
        job_fail(j, &e, NULL);
    else
        put_tsdb(j, &c);
}

static bool read_top(http_request *req, size_t *ret)
{
    str text;
    uint64_t n = TOP_PRESET;
    if (http_param(req, "limit", &text) && text.len && (!str_to_u64(text, &n) || n < 1)) {
        api_error(req, 400, "bad_data", "limit must be a positive number");
        return false;
    }
    if (n > TOP_MAX) {
        api_error(req, 400, "bad_data", "limit must not exceed %d", TOP_MAX);
        return false;
    }
    *ret = (size_t)n;
    return true;
}

static void start(http_request *req, job_run run)
{
    job *j = job_new(req, run);
    if (!j)
        return;
    if (read_top(req, &j->query.limit) && api_about(req, j))
        job_start(j);
    else
        job_drop(j);
}

void page_tsdb(http_request *req) { start(req, run_tsdb); }

/* ---- galen's own ---- */

static void put_time(json_writer *w, const char *key, int64_t t_ms)
{
    json_key(w, key);
    if (t_ms == INT64_MAX || t_ms == INT64_MIN)
        json_null(w);
    else
        json_i64(w, t_ms);
}

static void put_sizes(json_writer *w, const store_stats *s, uint64_t block_samples)
{
    json_key(w, "head");
    json_begin(w, '{');
    json_put_i64(w, "series", (int64_t)s->head_series);
    json_put_i64(w, "samples", (int64_t)s->head_samples);
    json_put_i64(w, "chunks", (int64_t)s->head_chunks);
    json_end(w, '}');
    json_key(w, "log");
    json_begin(w, '{');
    json_put_i64(w, "segments", (int64_t)s->wal_segments);
    json_put_i64(w, "bytes", (int64_t)s->wal_bytes);
    json_put_i64(w, "errors_total", (int64_t)s->wal_errors_total);
    json_end(w, '}');
    json_key(w, "disk");
    json_begin(w, '{');
    json_put_i64(w, "blocks", (int64_t)s->blocks);
    json_put_i64(w, "bytes", (int64_t)s->block_bytes);
    json_put_i64(w, "samples", (int64_t)block_samples);
    json_key(w, "bytes_per_sample");
    if (block_samples)
        json_double(w, (double)s->block_bytes / (double)block_samples);
    else
        json_null(w);
    json_end(w, '}');
    json_put_i64(w, "appended_total", (int64_t)s->appended_total);
    put_time(w, "min_t_ms", s->min_t_ms);
    put_time(w, "max_t_ms", s->max_t_ms);
}

/* 0 is "no limit" and shown as null. */
static void put_limit(json_writer *w, const char *key, int64_t v)
{
    json_key(w, key);
    if (v > 0)
        json_i64(w, v);
    else
        json_null(w);
}

static void put_limits(json_writer *w, const store_options *o)
{
    json_key(w, "limits");
    json_begin(w, '{');
    put_limit(w, "retention_ms", o->retention_ms);
    put_limit(w, "retention_bytes", o->retention_bytes);
    put_limit(w, "out_of_order_ms", o->out_of_order_ms);
    put_limit(w, "max_series", (int64_t)o->max_series);
    put_limit(w, "max_series_per_metric", (int64_t)o->max_series_per_metric);
    put_limit(w, "max_series_per_target", (int64_t)o->max_series_per_target);
    put_limit(w, "memory_bytes", (int64_t)o->memory_bytes);
    put_limit(w, "tier_5m_ms", o->tier_5m_ms);
    put_limit(w, "tier_1h_ms", o->tier_1h_ms);
    json_end(w, '}');
}

/* The newest blocks; the page says how many there are besides. */
static void put_blocks(json_writer *w, const store_block *at, size_t n)
{
    json_key(w, "blocks");
    json_begin(w, '[');
    for (size_t i = n > BLOCKS_SHOWN ? n - BLOCKS_SHOWN : 0; i < n; i++) {
        json_begin(w, '{');
        json_put_i64(w, "number", at[i].number);
        put_time(w, "min_t_ms", at[i].min_t_ms);
        put_time(w, "max_t_ms", at[i].max_t_ms);
        json_put_i64(w, "series", (int64_t)at[i].series);
        json_put_i64(w, "samples", (int64_t)at[i].samples);
        json_put_i64(w, "bytes", (int64_t)at[i].bytes);
        json_put_i64(w, "deleted", (int64_t)at[i].deleted);
        json_put_bool(w, "damaged", at[i].damaged);
        json_end(w, '}');
    }
    json_end(w, ']');
}

static void put_offenders(json_writer *w, const store_cardinality *c)
{
    json_put_i64(w, "refused_total", (int64_t)c->refused_total);
    json_key(w, "top");
    json_begin(w, '{');
    put_top(w, "metric", &c->by_metric);
    put_top(w, "target", &c->by_target);
    put_top(w, "label_values", &c->by_label_values);
    put_top(w, "label_bytes", &c->by_label_bytes);
    put_top(w, "pair", &c->by_pair);
    json_end(w, '}');
}

CHECKED static err_kind write_store(job *j, arena *a, err *e)
{
    store_cardinality c = { 0 };
    store_block *blocks = NULL;
    size_t n = 0;
    uint64_t samples = 0;
    if (store_cardinality_get(j->http->store, j->query.limit, a, &c, e) || store_blocks(j->http->store, a, &blocks, &n, e))
        return e->kind;
    for (size_t i = 0; i < n; i++)
        samples += blocks[i].samples;
    store_stats s = store_stats_get(j->http->store);
    json_writer w = json_writer_to(&j->body);
    json_begin(&w, '{');
    put_sizes(&w, &s, samples);
    put_limits(&w, &j->about->store);
    put_offenders(&w, &c);
    put_blocks(&w, blocks, n);
    json_end(&w, '}');
    return buf_failed(&j->body) ? err_set(e, j->body.failed, "could not write what the store holds") : OK;
}

static void run_store(job *j)
{
    AUTO(arena_done) arena a = ARENA_INIT(CENSUS_MAX_BYTES);
    err e = { 0 };
    j->status = 200;
    if (write_store(j, &a, &e))
        job_fail(j, &e, NULL);
}

void page_store(http_request *req) { start(req, run_store); }
