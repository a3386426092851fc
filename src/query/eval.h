/* query/eval.h - one run of one expression: what its parts share, and the values that flow between nodes.
 *
 * A query is evaluated over a grid of steps at once (an instant query is a grid of one). Every node turns into
 * a `value`: a list of series, each with one slot a step; an empty slot holds the staleness marker, which no
 * calculation can yield. So a series is selected and decoded once however many steps there are, range
 * functions slide over its samples, and operators are loops over arrays of doubles.
 *
 * Memory: labels and texts live in ev->arena until the query ends, slots (the large part) on the heap until the
 * value is used up; ev->live counts them against max_samples. One thread a query; the tree is only read. */
#pragma once
#include "base/kahan.h"
#include "metric/metric.h"
#include "query/ast.h"

typedef struct grid { int64_t start_ms, step_ms; size_t n; } grid;
static inline int64_t grid_at(const grid *g, size_t i) { return g->start_ms + (int64_t)i * g->step_ms; }

typedef struct eval eval;
typedef struct eval_cost eval_cost;
typedef vec(str) str_vec;
/* A slot is empty, a float (v[i]) or a native histogram (h[i]; v[i] is empty then). h is NULL where a series has none:
 * code that only knows floats needs no look at it once value_drop_histograms was called. */
typedef struct vseries {
    labels labels;
    double *v;
    const histogram **h;       /* the array is the series', the histograms lie in ev->arena */
    bool drop_name;            /* delayed name removal: the name goes when the query is done */
} vseries;
typedef struct value {
    eval *ev;
    promql_type type;          /* scalar: one series without labels and without empty slots */
    size_t steps;
    vseries *at; size_t len, cap;
    str string;
} value;

#define EVAL_SERIES_MAX_BYTES ((size_t)256 << 20) /* native histograms of one series, decoded */
#define EMPTY_SLOT stale_nan()
static inline bool slot_empty(double v) { return is_stale(v); }
typedef struct slot { double v; const histogram *h; } slot;
#define NO_SLOT ((slot){ EMPTY_SLOT, NULL })
/* How many samples one counts as: a sample is two numbers. */
static inline uint64_t histogram_samples(const histogram *h) { return 1 + ((uint64_t)h->positive.bucket_count + h->negative.bucket_count) / 2; }
static inline slot slot_of(const vseries *s, size_t i) { return (slot){ s->v[i], s->h ? s->h[i] : NULL }; }
static inline bool slot_filled(const vseries *s, size_t i) { return !slot_empty(s->v[i]) || (s->h && s->h[i]); }

struct eval {
    store *store;
    arena *arena;
    str text;
    int64_t start_ms, end_ms, step_ms;  /* of the whole query: start(), end(), step() */
    int64_t lookback_ms, default_step_ms;
    size_t max_slots, max_series, max_read;
    size_t max_memory;                  /* bytes, of everything below together */
    size_t selected_bytes, buffer_bytes; /* held by selections, by the series being decoded */
    size_t live;                        /* slots in use */
    uint64_t samples_read;
    int64_t deadline_ns;                /* monotonic; 0: none */
    const atomic_bool *cancel;          /* may be NULL */
    size_t work;                        /* since somebody looked at the clock */
    bool instant;
    bool delayed_names;                 /* names are dropped when the query is done, not on the way */
    bool type_labels;                   /* __type__ is believed */
    bool closed_ranges;                 /* 2.x: a window holds the sample at its start too */
    vec(store_selection *) selections;
    vec(regex *) regexes;
    str_vec warnings, infos;
    select_stats stats;
    eval_cost *cost;                    /* NULL: nobody asked (cost.h) */
    select_hints hints;                 /* for the next selection: what is going to be done with its samples */
    err *e;                             /* never NULL */
};

void eval_done(eval *ev);               /* selections, regexes, lists; not the arena */
err_kind eval_node(eval *ev, const ast *node, const grid *g, value *ret);
/* Look at the clock and the cancel flag now and then. ERR_TIMEOUT, ERR_CANCELED. `work`: about how many samples or
 * slots were touched since the last call. */
CHECKED err_kind eval_spend(eval *ev, size_t work);
CHECKED static inline err_kind eval_tick(eval *ev);
CHECKED err_kind eval_look(eval *ev);   /* now, not now and then; and at the memory: ERR_LIMIT */
size_t eval_memory(const eval *ev);     /* bytes held */
err_kind eval_memory_fail(eval *ev);    /* ERR_LIMIT: more than max_memory */
/* For one series' native histograms while they are looked at: no larger than what the query may still hold. Where `k` is
 * ERR_NOMEM because it was full, eval_series_full says so as eval_memory_fail does. */
arena eval_series_arena(const eval *ev);
/* Did it fail because of its bound, and not because the machine has no more? The largest step of growth is 1 MiB. */
static inline bool eval_arena_full(const arena *a) { return a->max_bytes - MIN(a->used_bytes, a->max_bytes) < (1u << 20); }
err_kind eval_series_full(eval *ev, const arena *a, err_kind k);
err_kind eval_fail(eval *ev, const char *fmt, ...) PRINTF_LIKE(2, 3);   /* ERR_EXEC */
/* "PromQL warning: …", with the place of `at` behind it. Said once however often it happens. Failing to
 * remember one is not worth failing the query. */
void eval_warn(eval *ev, const ast *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
void eval_info(eval *ev, const ast *at, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* ---- values (value.c) ---- */
void value_init(value *v, eval *ev, promql_type type, size_t steps);
void value_done(value *v);
/* A scalar that is the same at every step. */
CHECKED err_kind value_constant(value *v, eval *ev, size_t steps, double number);
/* Append a series with all slots empty (its index is v->len - 1). Labels are borrowed; they live in the arena
 * or a selection. */
CHECKED err_kind value_add(value *v, labels l);
void value_drop_last(value *v);
/* Fill a slot; `h` of the slot, if any, must live as long as the query. ERR_NOMEM only for histograms. */
CHECKED err_kind value_set(value *v, size_t series, size_t step, slot s);
/* Forget all histograms (most functions ignore them). */
void value_drop_histograms(value *v);
void value_drop_empty(value *v);        /* series without any sample */
bool series_all_empty(const vseries *s, size_t n);
/* Take over a series with its slots. */
CHECKED err_kind value_adopt(value *v, vseries take);
/* Two series with one label set: joined where they never meet, else the error Prometheus gives. `strict`:
 * an error even if they never meet. Order is kept. */
CHECKED err_kind value_join(value *v, bool strict);
/* Drop __name__ (and __type__, __unit__, which describe it) everywhere and value_join; with delayed name removal only
 * remember to do so. */
CHECKED err_kind value_drop_names(value *v, bool strict);
/* What delayed name removal left to do: at the very end of a query. */
CHECKED err_kind value_settle_names(value *v);
CHECKED err_kind value_sort(value *v);  /* by labels */

/* ---- label sets in the arena ---- */
CHECKED err_kind labels_without_name(eval *ev, labels l, labels *ret);
/* keep: only the named ones; else all but the named ones (and __name__ if drop_name). `out` holds LABELS_MAX. */
labels labels_filter(labels l, const str *names, size_t n, bool keep, bool drop_name, label *out);
CHECKED err_kind labels_copy(eval *ev, labels l, labels *ret);          /* the array; texts stay borrowed */
/* With one label set, or deleted where the value is empty. ERR_LIMIT beyond LABELS_MAX. */
CHECKED err_kind labels_with(eval *ev, labels l, str name, str text, labels *ret);

/* Label set → small number, in order of first appearance. */
typedef struct labelmap { eval *ev; labels *keys; uint64_t *hashes; size_t len, cap; uint32_t *slots; size_t slot_count; } labelmap;
void labelmap_init(labelmap *m, eval *ev);
void labelmap_done(labelmap *m);
/* The number of `l`, which is copied (labels_copy) if it is new. */
CHECKED err_kind labelmap_put(labelmap *m, labels l, size_t *ret);

/* ---- selecting (select.c, views.c) ---- */
typedef struct source_series { labels labels; store_selection *selection; size_t index; double scale; } source_series;
typedef struct source { source_series *at; size_t len; } source;        /* in the arena */
/* The series a selector stands for with samples in the range, canonical names rewritten; sorted by labels
 * unless views took part. */
CHECKED err_kind source_open(eval *ev, const matcher *m, size_t n, int64_t from_ms, int64_t to_ms, source *ret);
/* Replaces *out by the samples, oldest first, stale markers among them unless `drop_stale`. */
CHECKED err_kind source_read(eval *ev, const source_series *s, bool drop_stale, sample_vec *out);
/* The same for native histograms; values live in `a`. Each one's `reset` says whether the counter fell just before it, as
 * far as that is known. `stats`: only count and sum will be looked at, and then it is always known. */
bool source_has_histograms(const source_series *s);
CHECKED err_kind source_read_histograms(eval *ev, const source_series *s, bool drop_stale, bool stats, arena *a, histogram_vec *out);
/* One series of an instant selector that has native histograms, or of a smoothed one. */
CHECKED err_kind select_native(eval *ev, const ast *node, int64_t offset_ms, const grid *g, const source_series *s, bool timestamps, value *ret);
/* Matchers with their expressions compiled; they live as long as the evaluation. */
CHECKED err_kind eval_matchers(eval *ev, const matcher *m, size_t n, matcher **ret);
CHECKED err_kind eval_select(eval *ev, const matcher *m, size_t n, int64_t from_ms, int64_t to_ms, store_selection **ret);
CHECKED err_kind eval_regex(eval *ev, str pattern, const regex **ret, err *e);

/* ---- ranges (range.c) ---- */
typedef struct range_input {
    eval *ev;
    const ast *node;           /* AST_MATRIX or AST_SUBQUERY */
    const ast_modifiers *mod;
    int64_t range_ms, offset_ms;
    source source;             /* AST_MATRIX */
    value inner; grid inner_grid; /* AST_SUBQUERY */
    size_t len;                /* series */
} range_input;
CHECKED err_kind range_open(range_input *r, eval *ev, const ast *node, const grid *g);
void range_done(range_input *r);
labels range_labels(const range_input *r, size_t i);
bool range_drops_name(const range_input *r, size_t i);  /* delayed name removal: inside a subquery */
CHECKED err_kind range_read(range_input *r, size_t i, sample_vec *out);
int64_t range_end(const range_input *r, const grid *g, size_t step);    /* the window is (end - range_ms, end] */
/* Anchored and smoothed selectors are for some functions only. ERR_EXEC. */
CHECKED err_kind range_check_mode(const range_input *r, const ast *call);
/* Series that need range_special: with native histograms, or all of an anchored or smoothed selector. */
bool range_is_special(const range_input *r, size_t i);
CHECKED err_kind range_special(range_input *r, size_t i, const ast *call, const ast *range_arg, double *const params[2], const grid *g, value *ret, bool *ret_any);
CHECKED err_kind range_read_histograms(range_input *r, size_t i, arena *a, histogram_vec *out);
/* The time a modifier makes of a step's time. */
int64_t eval_time(const eval *ev, const ast_modifiers *mod, int64_t offset_ms, int64_t t_ms);
CHECKED err_kind eval_duration(eval *ev, const duration *d, bool positive, int64_t *ret_ms);

/* ---- nodes with files of their own ---- */
err_kind eval_selector(eval *ev, const ast *node, const grid *g, bool timestamps, value *ret);
err_kind eval_range_call(eval *ev, const ast *call, const grid *g, value *ret);
err_kind eval_binary(eval *ev, const ast *node, const grid *g, value *ret);
err_kind eval_aggregate(eval *ev, const ast *node, const grid *g, value *ret);
/* A scalar argument as an array of one value a step, on the heap (mem_free). */
CHECKED err_kind eval_scalar(eval *ev, const ast *node, const grid *g, double **ret);
err_kind eval_string(eval *ev, const ast *node, str *ret);

/* ---- numerics (value.c) ---- */
double quantile_of(double q, double *values, size_t n);  /* reorders values; NaN smallest; linear interpolation */

/* A number inside a message, and a number as a label's value (never with an exponent; ptr NULL without memory). */
typedef struct go_text { char text[NUM_DOUBLE_MAX]; } go_text;
static inline go_text format_go(double v)
{
    go_text t;
    num_format_double(t.text, v);
    return t;
}
str format_go_plain(arena *a, double v);
/* {count:4, sum:5, (0.5,1]:1, …} as Prometheus's text and count_values show one. ptr NULL without memory. */
str format_histogram(arena *a, const histogram *h);

static inline err_kind eval_tick(eval *ev)
{
    return eval_spend(ev, 100);
}

/* A mean that falls back to the incremental form once the plain sum overflows. */
typedef struct kahan_mean { kahan k; double count; bool incremental; } kahan_mean;
void kahan_mean_add(kahan_mean *m, double v);
double kahan_mean_value(const kahan_mean *m);
