/* query/query.h - the room's door: PromQL over whatever can answer a selection.
 *
 * Grammar and meaning: Prometheus 3.x (https://prometheus.io/docs/prometheus/latest/querying/). Canonical
 * names (metric/metric.h) are rewritten in the selection: `rate(llm_generation_tokens_total[5m])` reads the
 * raw series of whatever engine each target runs. */
#pragma once
#include "store/store.h"

/* ---- parse ---- */
typedef struct ast ast;
/* The tree lives in `a`. Errors carry line and column of the place in the expression, Prometheus's wording
 * where it has one, and a hint. */
err_kind promql_parse(str text, arena *a, ast **ret, err *e);
void promql_format(const ast *node, buf *out);            /* canonical one-line text */
/* A metric selector alone, `up{job="x"}`, as match[] takes: matchers live in `a`. */
err_kind promql_parse_selector(str text, arena *a, matcher **ret, size_t *ret_n, err *e);

/* ---- evaluate ---- */
typedef struct query_engine query_engine;
typedef struct query_options {
    int64_t lookback_ms;          /* 0: 5 m */
    int64_t timeout_ms;           /* 0: 2 m */
    size_t max_samples;           /* 0: 50 000 000 */
    size_t max_series;            /* 0: 500 000 */
    size_t max_points;            /* steps of a range query; 0: 11 000 */
    unsigned features;            /* --enable-feature bits */
} query_options;
typedef enum query_value_type { QUERY_SCALAR, QUERY_STRING, QUERY_VECTOR, QUERY_MATRIX } query_value_type;
typedef struct query_series { labels labels; sample *at; size_t len; } query_series;
typedef struct query_result {
    arena arena;                  /* owns all below */
    query_value_type type;
    query_series *series; size_t len;   /* vector: one sample each; scalar: one series without labels */
    str string;
    str *warnings; size_t warning_count;
    str *infos; size_t info_count;
    select_stats stats;
} query_result;
void query_result_done(query_result *r);

query_engine *query_engine_new(store *s, const query_options *o);   /* NULL without memory */
void query_engine_free(query_engine *q);
/* `cancel` (may be NULL) is looked at now and then: true ends with ERR_CANCELED. Callable from any thread.
 * ERR_PARSE: the expression; ERR_EXEC: it failed while running; ERR_TIMEOUT, ERR_CANCELED, ERR_LIMIT. */
err_kind query_instant(query_engine *q, str expr, int64_t t_ms, const atomic_bool *cancel, query_result *ret, err *e);
err_kind query_range(query_engine *q, str expr, int64_t from_ms, int64_t to_ms, int64_t step_ms, const atomic_bool *cancel, query_result *ret, err *e);
/* For rooms that only want a number: the first sample of an instant vector or the scalar. ERR_NOT_FOUND if empty. */
err_kind query_number(query_engine *q, str expr, int64_t t_ms, double *ret, err *e);

/* ---- HTTP: /api/v1/{query,query_range,series,labels,label/:name/values,format_query,parse_query,status/…,metadata} ---- */
typedef struct http_server http_server;
typedef struct net_poster net_poster;
typedef struct query_http query_http;
/* A pool of `threads` runs the queries; replies are posted back to the loop. */
err_kind query_http_open(query_engine *q, store *s, http_server *server, net_poster *poster, unsigned threads, query_http **ret, err *e);
void query_http_close(query_http *h);
