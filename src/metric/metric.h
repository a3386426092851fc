/* metric/metric.h - the room's door: the words everybody speaks about numbers.
 *
 * label set, sample, staleness, the text exposition formats, galen's own metrics, and the canonical
 * signals of LLM serving. Knows nothing of where samples come from or go to. */
#pragma once
#include "base/base.h"
#include "base/json.h"
#include "metric/histogram.h"
#include <math.h>
#include <stdatomic.h>

/* ---- labels: a sorted run of name/value pairs, "__name__" among them ---- */
typedef struct label { str name, value; } label;
/* A view: borrowed, sorted by name (bytewise), names unique, no empty values. */
typedef struct labels { const label *at; size_t len; } labels;

#define METRIC_NAME STR("__name__")
#define LABELS_MAX 128           /* labels a series; more is ERR_LIMIT */
#define LABEL_MAX_BYTES 65535    /* one name or value */

str labels_get(labels l, str name);              /* empty view if absent */
static inline str labels_name(labels l) { return labels_get(l, METRIC_NAME); }
uint64_t labels_hash(labels l);                  /* the same for equal sets in one process */
bool labels_eq(labels a, labels b);
int labels_cmp(labels a, labels b);              /* Prometheus's order */
bool label_name_valid(str s);                    /* [a-zA-Z_][a-zA-Z0-9_]* */
bool metric_name_valid(str s);                   /* [a-zA-Z_:][a-zA-Z0-9_:]* */
/* Sort in place, drop empty values. ERR_INVALID on a repeated or empty name (message names it). */
err_kind labels_normalise(label *at, size_t *len, err *e);
/* {__name__="up", job="x"} as people write it: up{job="x"} */
void labels_format(labels l, buf *out);
/* … and as machines do: {"__name__":"up","job":"x"}, behind `key` unless that is NULL. */
void labels_json(json_writer *w, const char *key, labels l);

/* A copy of the array and of all texts. ERR_NOMEM if `a` is exhausted. */
CHECKED err_kind labels_to_arena(arena *a, labels l, labels *ret);

/* An owned, counted, immutable copy: one allocation. Thread-safe counting. */
typedef struct label_set label_set;
label_set *label_set_new(labels l);              /* NULL without memory */
label_set *label_set_ref(label_set *s);
void label_set_unref(label_set *s);              /* NULL is fine */
labels label_set_view(const label_set *s);
uint64_t label_set_hash(const label_set *s);

/* Build a set step by step: copies go to the arena; *_done sorts. */
typedef struct labels_builder { arena *arena; label at[LABELS_MAX]; size_t len; bool failed; } labels_builder;
void labels_start(labels_builder *b, arena *a);
void labels_start_from(labels_builder *b, arena *a, labels base);
void labels_put(labels_builder *b, str name, str value);      /* replaces; empty value deletes */
labels labels_finish(labels_builder *b);                      /* view into the builder; len 0 and b->failed on trouble */

/* ---- samples ---- */
typedef struct sample { int64_t t_ms; double v; } sample;

/* "This series has ended here": a NaN with its own payload, as in Prometheus. Compare bits, never values. */
#define STALE_NAN_BITS UINT64_C(0x7ff0000000000002)
#define NORMAL_NAN_BITS UINT64_C(0x7ff8000000000001)
static inline double stale_nan(void) { union { uint64_t u; double d; } x = { STALE_NAN_BITS }; return x.d; }
static inline double normal_nan(void) { union { uint64_t u; double d; } x = { NORMAL_NAN_BITS }; return x.d; }
static inline bool is_stale(double v) { union { double d; uint64_t u; } x = { v }; return x.u == STALE_NAN_BITS; }

typedef enum metric_type { METRIC_UNKNOWN, METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_SUMMARY,
                           METRIC_GAUGE_HISTOGRAM, METRIC_INFO, METRIC_STATESET } metric_type;
const char *metric_type_name(metric_type t);     /* "counter", …, "unknown" */

/* One sample on its way into the store. `ref` is a cache the producer may keep per series: 0 the first time, written
 * by the sink, handed back next time so that labels need not be looked up again. `labels` may be left empty where the
 * ref is one the sink gave; has that ref gone out of date, the whole batch is ERR_NOT_FOUND and nothing of it was
 * kept: the producer fills all labels in and sends it again. */
typedef struct sample_row {
    labels labels; uint64_t *ref; int64_t t_ms; double v;
    const histogram *histogram;   /* NULL: the sample is the float `v` */
    int64_t start_ms;             /* when the counter began ("created"); 0: not known */
} sample_row;

/* One request that shows what a bucket or a counter counted: https://prometheus.io/docs/specs/om/open_metrics_spec/#exemplars */
#define EXEMPLAR_MAX_CHARS 128    /* names and values of its labels together, as OpenMetrics says */
typedef struct exemplar { labels labels; double v; int64_t t_ms; } exemplar;
typedef struct exemplar_row { labels series; exemplar exemplar; } exemplar_row;

/* Where samples go: main.c points it at the store (on an agent: at the spool). Atomic per call: on error
 * nothing of the batch was kept, unless `rejected` is given: then rows that cannot be kept (out of order,
 * duplicate) are counted there and the rest is kept. */
typedef struct sink_result {
    size_t appended, out_of_order, duplicate, too_old, limited;
    err first;
    uint8_t *refused;   /* NULL, or the caller's: one byte a row, set to 1 for each that was not kept. Says nothing on an error */
} sink_result;
typedef struct sample_sink {
    err_kind (*append)(void *ctx, const sample_row *rows, size_t n, sink_result *rejected, err *e);
    void *ctx;
    /* Each row is kept or counted in `rejected` (may be NULL); memory only. NULL: they are dropped. */
    err_kind (*append_exemplars)(void *ctx, const exemplar_row *rows, size_t n, sink_result *rejected, err *e);
} sample_sink;

/* ---- text exposition: Prometheus 0.0.4 and OpenMetrics 1.0 ---- */
typedef struct exposition_sample {
    labels labels;             /* with __name__; view into the parser, valid until the next call */
    double v;
    bool has_time; int64_t t_ms;
    metric_type type;          /* of its family, as # TYPE said */
} exposition_sample;
typedef struct exposition_meta { str family, help, unit; metric_type type; } exposition_meta;
typedef struct exposition_parser exposition_parser;
typedef enum exposition_format { EXPOSITION_TEXT, EXPOSITION_OPENMETRICS, EXPOSITION_PROTOBUF } exposition_format;
/* Reads `text` (borrowed) in place. The format is chosen by the Content-Type. Histograms of the protobuf format live in
 * `a`; the others need none. */
exposition_parser *exposition_open(str text, exposition_format format, arena *a);
exposition_parser *exposition_new(str text, bool openmetrics);
void exposition_free(exposition_parser *p);
/* In two steps, for a scraper that knows most series already: first the line without looking into its labels, then
 * (only if `series` was not seen before) its labels. `series` is the text before the value: up{job="x"}. */
typedef struct exposition_line {
    str series; double v; bool has_time; int64_t t_ms;
    bool as_expected;          /* it is the series that exposition_expect named */
    unsigned exemplars;        /* how many it has */
    const histogram *histogram;/* protobuf only: the value is this; valid until the parser is freed */
    int64_t start_ms;          /* protobuf only: when the counter began; 0: not said */
} exposition_line;
/* What the caller saw last time makes this page cheaper to read: the series that the next line probably has (borrowed;
 * only for the next line), and the hashes of all # lines. Are they the same again, the families are not read:
 * exposition_comments_known is true at the end, and exposition_meta_count 0. */
void exposition_expect(exposition_parser *p, str series);
void exposition_know_comments(exposition_parser *p, const uint64_t *hashes, size_t n);
bool exposition_comments_known(const exposition_parser *p);
const uint64_t *exposition_comment_hashes(const exposition_parser *p, size_t *ret_n);
/* The i-th exemplar of the last line, copied into `a`; t_ms 0: no time of its own. Overwrites what exposition_labels gave. */
err_kind exposition_exemplar(exposition_parser *p, unsigned i, arena *a, exemplar *ret, err *e);
/* Protobuf: are native histograms read (preset: yes), and the classic buckets of a histogram that has both (no)? */
void exposition_want(exposition_parser *p, bool native, bool classic);
int exposition_next_line(exposition_parser *p, exposition_line *ret, err *e);
err_kind exposition_labels(exposition_parser *p, labels *ret, metric_type *ret_type, err *e); /* of the last line */
/* Both at once. 1: a sample is in *ret. 0: the end. -1: *e has line, column and what is wrong with it; parsing may not go on. */
int exposition_next(exposition_parser *p, exposition_sample *ret, err *e);
/* Families seen so far. */
size_t exposition_meta_count(const exposition_parser *p);
exposition_meta exposition_meta_at(const exposition_parser *p, size_t i);

/* ---- galen's own metrics: counters and gauges, shown on /metrics and stored like any other ---- */
typedef struct own_metric own_metric;
/* Registered once, live for the process; thread-safe to change. `labels_text` is the ready inside of the
 * braces or NULL: "room=\"watch\"". Asking again for the same name and labels gives the same metric.
 * NULL only without memory; all calls accept NULL. */
own_metric *own_counter(const char *name, const char *labels_text, const char *help);
own_metric *own_gauge(const char *name, const char *labels_text, const char *help);
void own_add(own_metric *m, double v);
void own_set(own_metric *m, double v);
double own_value(const own_metric *m);
/* The text page, families sorted by name. */
void own_exposition(buf *out);

/* ---- canonical signals (design.md, "Words for LLM serving") ---- */
typedef struct canonical_signal { const char *name; metric_type type; const char *unit, *help; } canonical_signal;
/* A view row: series `raw` (with the given label matches) of targets with this engine answer to `name`.
 * Several rows of one engine for one name: the first that matches anything at a target wins, except rows
 * with the same `also` number > 0, which are all taken together (vLLM's progress is two counters). */
typedef struct canonical_view {
    const char *name, *engine, *raw;
    const char *match_label, *match_value;   /* one equality, or NULL */
    const char *rank_label;                  /* becomes "rank": vLLM's own "engine" is a data-parallel rank. Or NULL */
    const char *rename_from, *rename_to;     /* "model_name" -> "model", or NULL */
    const char *add_label, *add_value;       /* tells the rows of an `also` group apart, or NULL */
    double scale;                            /* 0 = 1 */
    int also;
} canonical_view;
extern const canonical_signal canonical_signals[];
extern const size_t canonical_signal_count;
extern const canonical_view canonical_views[];
extern const size_t canonical_view_count;
const canonical_signal *canonical_find(str name);  /* NULL: not a canonical name. Histograms also by _bucket/_sum/_count */
#include "metric/histogram_math.h"
#include "metric/prompb.h"
#include "metric/relabel.h"
