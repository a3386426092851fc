/* query/query.h - the room's door: PromQL over whatever can answer a selection.
 *
 * Grammar and meaning: Prometheus 3.x (https://prometheus.io/docs/prometheus/latest/querying/). Canonical
 * names (metric/metric.h) are rewritten in the selection: `rate(llm_generation_tokens_total[5m])` reads the
 * raw series of whatever engine each target runs. */
#pragma once
#include "store/store.h"
#include <stdio.h>

/* ---- parse ---- */
typedef struct ast ast;
/* The tree lives in `a`. Errors carry line and column of the place in the expression, Prometheus's wording
 * where it has one, and a hint. */
err_kind promql_parse(str text, arena *a, ast **ret, err *e);
void promql_format(const ast *node, buf *out);            /* canonical one-line text */
/* A metric selector alone, `up{job="x"}`, as match[] takes: matchers live in `a`; their regular expressions are
 * compiled and the caller's: promql_selector_done. On error nothing is left to free. */
err_kind promql_parse_selector(str text, arena *a, matcher **ret, size_t *ret_n, err *e);
void promql_selector_done(matcher *m, size_t n);
#define PROMQL_MAX_ARGS 64               /* arguments of one call */
/* Feature bits, of query_options.features too. What is experimental is refused by the parser unless enabled; like the
 * parser's other rules this is one setting of the process. query_engine_new sets it. */
enum promql_feature_bit {
    PROMQL_EXPERIMENTAL_FUNCTIONS = 1, PROMQL_DELAYED_NAMES = 2, PROMQL_EXTENDED_RANGES = 4, PROMQL_FILL_MODIFIERS = 8,
    PROMQL_TYPE_LABELS = 16,
    PROMQL_ALWAYS_ON = 32,               /* known, and on without asking */
    PROMQL_EVERYTHING = 31,
};
void promql_enable(unsigned features);
/* The bit of an --enable-feature name, Prometheus's names; 0 if there is none. */
unsigned promql_feature(str name);
/* All of those names, for a message: "a, b, c". */
void promql_feature_list(buf *out);

/* ---- evaluate ---- */
typedef struct query_engine query_engine;
typedef struct query_options {
    int64_t lookback_ms;          /* 0: 5 m */
    int64_t timeout_ms;           /* 0: 2 m */
    size_t max_samples;           /* 0: 50 000 000 */
    size_t max_series;            /* 0: 2 000 000 */
    size_t max_points;            /* steps of a range query; 0: 11 000 */
    size_t max_memory_bytes;      /* of one query: labels, selections, samples, results; 0: 1 GiB */
    unsigned features;            /* --enable-feature bits */
    int compat;                   /* 2: ranges and the lookback are closed on both sides, as in Prometheus 2; else as in 3 */
} query_options;
typedef enum query_value_type { QUERY_SCALAR, QUERY_STRING, QUERY_VECTOR, QUERY_MATRIX } query_value_type;
/* Floats and native histograms of one series, each oldest first; never both at one time. */
typedef struct query_series { labels labels; sample *at; size_t len; histogram_sample *histograms; size_t histogram_count; } query_series;
/* What a query did, for ?stats=all and explain; times in nanoseconds of the wall's clock. */
#define QUERY_SOURCES_MAX 200
typedef struct query_node_cost {
    str expr;                     /* as written; a long one is cut */
    const char *kind;             /* "selector", "function", … */
    uint32_t depth;               /* of the root: 0 */
    int64_t took_ns, self_ns;     /* with and without the nodes below */
    uint64_t series;              /* in its result */
    select_stats read;            /* from the store, by this node itself … */
    select_source *sources; size_t source_count;  /* … and of what: at most QUERY_SOURCES_MAX */
} query_node_cost;
typedef struct query_cost {
    query_node_cost *nodes; size_t len;  /* parents before children */
    uint64_t *per_step; size_t steps;    /* samples each step looked at */
    uint64_t samples, peak_samples;      /* their sum; the most samples and slots held at one time */
    int64_t took_ns, parse_ns, sort_ns;
} query_cost;
typedef struct query_result {
    arena arena;                  /* owns all below */
    query_value_type type;
    int64_t at_ms;                /* the time asked for (a range's end) */
    query_series *series; size_t len;   /* vector: one sample each; scalar: one series without labels */
    str string;
    str *warnings; size_t warning_count;
    str *infos; size_t info_count;
    select_stats stats;
    query_cost cost;              /* if the request wanted it */
} query_result;
void query_result_done(query_result *r);     /* also after an error; a zeroed one is fine */
/* For `galen query`: as promtool prints it, `up{job="x"} => 1 @[1435781430.781]`, or the data object of the HTTP
 * API. Returns 0, or 1 if writing failed. Warnings, infos and that nothing matched go to stderr. */
int query_print(const query_result *r, FILE *out, bool json);
/* {"resultType": …, "result": …} as the HTTP API shows it. */
void query_result_json(const query_result *r, buf *out);

/* The result's cost as the API's explain shows it, and as a tree for people. */
void query_cost_json(const query_result *r, buf *out);
void query_cost_print(const query_result *r, FILE *out);

query_engine *query_engine_new(store *s, const query_options *o);   /* NULL without memory */
void query_engine_free(query_engine *q);
/* `cancel` (may be NULL) is looked at now and then: true ends with ERR_CANCELED. Callable from any thread.
 * ERR_PARSE: the expression; ERR_EXEC: it failed while running; ERR_TIMEOUT, ERR_CANCELED, ERR_LIMIT. */
err_kind query_instant(query_engine *q, str expr, int64_t t_ms, const atomic_bool *cancel, query_result *ret, err *e);
err_kind query_range(query_engine *q, str expr, int64_t from_ms, int64_t to_ms, int64_t step_ms, const atomic_bool *cancel, query_result *ret, err *e);
/* The same with what one request may ask for; zeroed fields: the engine's. Fields can only lower the limits. */
typedef struct query_request {
    str expr;
    int64_t from_ms, to_ms, step_ms;  /* step_ms 0: instant, at to_ms */
    int64_t lookback_ms, timeout_ms;
    int64_t waited_ms;                /* already spent, in a queue: counts against the timeout */
    size_t max_samples, max_series;   /* as in query_options, but lower */
    size_t limit;                     /* series in the result; beyond it they are cut and a warning says so */
    const atomic_bool *cancel;        /* may be NULL */
    store_tier tier;                  /* raw samples or roll-ups; zeroed: as the range asks */
    bool want_cost;
} query_request;
err_kind query_run(query_engine *q, const query_request *r, query_result *ret, err *e);
err_kind query_points_fail(const query_engine *q, err *e);        /* ERR_LIMIT: more steps than max_points */
/* Who answers instead of the embedded store (query/remote.h): whole questions, not selections. Each is called from any
 * thread; errors are as those of query_run. */
typedef struct query_backend {
    err_kind (*run)(void *ctx, const query_request *r, size_t max_samples, query_result *ret, err *e);
    /* Label sets that match any of the sets; names of labels, or with `label` its values. In `a`. */
    err_kind (*series)(void *ctx, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms, const atomic_bool *cancel, arena *a, labels **ret, size_t *ret_n, err *e);
    err_kind (*texts)(void *ctx, str label, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms, const atomic_bool *cancel, arena *a, str **ret, size_t *ret_n, err *e);
    void *ctx;
} query_backend;
void query_engine_push_down(query_engine *q, const query_backend *b);   /* before the first question; copied */
const query_backend *query_engine_backend(const query_engine *q);      /* NULL: the embedded store answers */
const query_options *query_engine_options(const query_engine *q);  /* with the defaults filled in */
/* The label sets a selector stands for, canonical names rewritten, copied into `a`; sorted. For listing what a
 * page may ask: the HTTP API's /series and label values do so with ?views=1. */
err_kind query_series_labels(query_engine *q, const matcher *m, size_t n, int64_t from_ms, int64_t to_ms, arena *a, labels **ret, size_t *ret_n, err *e);
/* For rooms that only want a number: the first sample of an instant vector or the scalar. ERR_NOT_FOUND if empty. */
err_kind query_number(query_engine *q, str expr, int64_t t_ms, double *ret, err *e);

/* ---- HTTP: /api/v1/{query,query_range,series,labels,label/:name/values,format_query,parse_query,status/…,metadata} ---- */
typedef struct http_server http_server;
typedef struct net_poster net_poster;
typedef struct query_http query_http;
/* A pool of `threads` (0: 2) runs the queries; replies are posted back to the loop. At most QUERY_QUEUE_MAX wait,
 * beyond that the answer is 503 at once. A client that goes away cancels its query. */
#define QUERY_QUEUE_MAX 256
/* What /api/v1/status/{config,flags,runtimeinfo,buildinfo} tell of the process; strings are borrowed and must
 * outlive the room, except the labels, which are copied. All may be empty. Set on the loop's thread, again after a reload. */
typedef struct query_about {
    str config_yaml;
    const char *const *flags;         /* name, value, name, value, NULL */
    const char *version, *revision, *build_date, *data_dir, *retention;
    bool (*config_ok)(void *ctx, int64_t *ret_loaded_ms);  /* did the last reload succeed, and when; may be NULL */
    void *ctx;
    store_options store;              /* its limits, for the page; `dir` is not looked at */
    /* Somebody changed the store: for the audit record. On the loop's thread; may be NULL. */
    void (*changed)(void *ctx, const char *kind, str message);
    labels external_labels;           /* what /federate and remote read add to series that lack them */
} query_about;
void query_http_about(query_http *h, const query_about *about);
err_kind query_http_open(query_engine *q, store *s, http_server *server, net_poster *poster, unsigned threads, query_http **ret, err *e);
void query_http_close(query_http *h);
