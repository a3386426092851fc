/* Quantiles and shares from classic buckets (`le`). Prometheus: promql/quantile.go, BucketQuantile. */
#include "query/functions/functions.h"
#include <stdlib.h>

#define SMALL_DELTA 1e-12  /* relative; differences below it are rounding, not observations */

typedef struct bucket { double bound, count; } bucket;
typedef struct bucket_series { double bound; uint32_t series; } bucket_series;

/* The bucket series of one histogram. */
typedef struct classic_histogram {
    labels labels;             /* without le; the name is still there */
    vec(bucket_series) members;        /* by bound */
} classic_histogram;

typedef struct histograms {
    eval *ev;
    const ast *call, *arg;     /* arg: the bucket vector, whose place warnings name */
    value in;
    labelmap map;
    vec(classic_histogram) all;
    bucket *room;
} histograms;

static void histograms_done(histograms *h)
{
    for (size_t i = 0; i < h->all.len; i++)
        vec_done(&h->all.at[i].members);
    vec_done(&h->all);
    labelmap_done(&h->map);
    value_done(&h->in);
    mem_free(h->room);
}

/* " for metric name "x"", or nothing where a series has none. */
static str name_part(eval *ev, labels l)
{
    str name = labels_name(l);
    return str_empty(name) ? STR("") : arena_printf(ev->arena, " for metric name \"%" STR_FMT "\"", STR_ARG(name));
}

CHECKED static err_kind sort_in(histograms *h, size_t i)
{
    double bound;
    static const str le = STR_INIT("le");
    label kept[LABELS_MAX];
    labels l = h->in.at[i].labels;
    size_t number;
    if (slots_all_empty(h->in.at[i].v, h->in.steps))
        return OK;
    if (!str_to_double(labels_get(l, le), &bound)) {
        str part = name_part(h->ev, l);
        eval_warn(h->ev, h->arg, "bucket label \"le\" is missing or has a malformed value of \"%" STR_FMT "\"%" STR_FMT,
                  STR_ARG(labels_get(l, le)), STR_ARG(part));
        return OK;
    }
    if (labelmap_put(&h->map, labels_filter(l, &le, 1, false, false, kept), &number))
        return h->ev->e->kind;
    if (number == h->all.len && vec_push(&h->all, ((classic_histogram){ .labels = h->map.keys[number] })))
        return err_nomem(h->ev->e);
    return vec_push(&h->all.at[number].members, ((bucket_series){ bound, (uint32_t)i })) ? err_nomem(h->ev->e) : OK;
}

/* Equal bounds in the order their series came. */
static int by_bound(const void *a, const void *b)
{
    const bucket_series *x = a, *y = b;
    if (x->bound != y->bound)
        return x->bound > y->bound ? 1 : -1;
    return (x->series > y->series) - (x->series < y->series);
}

CHECKED static err_kind open_histograms(histograms *h, const grid *g)
{
    if (eval_node(h->ev, h->arg, g, &h->in))
        return h->ev->e->kind;
    labelmap_init(&h->map, h->ev);
    h->room = mem_alloc((h->in.len + 1) * sizeof *h->room);
    if (!h->room)
        return err_nomem(h->ev->e);
    for (size_t i = 0; i < h->in.len; i++)
        if (sort_in(h, i))
            return h->ev->e->kind;
    for (size_t i = 0; i < h->all.len; i++)
        qsort(h->all.at[i].members.at, h->all.at[i].members.len, sizeof *h->all.at[i].members.at, by_bound);
    return OK;
}

/* The buckets at one step, sorted; equal bounds (le="1" and le="1.0") become one. */
static size_t collect(histograms *h, const classic_histogram *one, size_t step)
{
    size_t kept = 0;
    for (size_t i = 0; i < one->members.len; i++) {
        const bucket_series *m = &one->members.at[i];
        double v = h->in.at[m->series].v[step];
        if (slot_empty(v))
            continue;
        if (kept && h->room[kept - 1].bound == m->bound)
            h->room[kept - 1].count += v;
        else
            h->room[kept++] = (bucket){ m->bound, v };
    }
    return kept;
}

static bool almost_equal(double a, double b)
{
    double sum = fabs(a) + fabs(b), difference = fabs(a - b);
    if (a == b)
        return true;
    if (a == 0 || b == 0 || sum < 2.2250738585072014e-308)
        return difference < SMALL_DELTA * 2.2250738585072014e-308;
    return difference / fmin(sum, 1.7976931348623157e308) < SMALL_DELTA;
}

/* Counts of cumulative buckets must not fall. True if some fell by more than rounding explains. */
static bool make_monotonic(bucket *b, size_t n)
{
    bool forced = false;
    double before = b[0].count;
    for (size_t i = 1; i < n; i++) {
        if (b[i].count != before && almost_equal(before, b[i].count)) {
            b[i].count = before;
        } else if (b[i].count < before) {
            b[i].count = before;
            forced = true;
        }
        before = b[i].count;
    }
    return forced;
}

/* Linear inside the bucket the rank falls into; the last bucket has no width, so its lower bound it is. */
static double bucket_quantile(double q, bucket *b, size_t n, bool *ret_forced)
{
    *ret_forced = false;
    if (isnan(q))
        return NAN;
    if (q < 0 || q > 1)
        return q < 0 ? -INFINITY : INFINITY;
    if (n == 0 || b[n - 1].bound != INFINITY)
        return NAN;
    *ret_forced = make_monotonic(b, n);
    if (n < 2 || b[n - 1].count == 0 || isnan(b[n - 1].count))
        return NAN;
    double rank = q * b[n - 1].count;
    size_t i = 0;
    while (i < n - 1 && b[i].count < rank)
        i++;
    if (i == n - 1)
        return b[n - 2].bound;
    if (i == 0 && b[0].bound <= 0)
        return b[0].bound;
    double start = i ? b[i - 1].bound : 0, below = i ? b[i - 1].count : 0;
    return start + (b[i].bound - start) * ((rank - below) / (b[i].count - below));
}

/* One quantile of one histogram into a series of its own. */
static err_kind quantile_series(histograms *h, const classic_histogram *one, const double *q, labels out, value *ret)
{
    if (eval_spend(h->ev, ret->steps * one->members.len) || value_add(ret, out))
        return h->ev->e->kind;
    for (size_t s = 0; s < ret->steps; s++) {
        bool forced;
        size_t n = collect(h, one, s);
        if (n == 0)
            continue;
        ret->at[ret->len - 1].v[s] = bucket_quantile(q[s], h->room, n, &forced);
        if (forced) {
            str part = name_part(h->ev, one->labels);
            eval_info(h->ev, h->arg, "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)%" STR_FMT, STR_ARG(part));
        }
    }
    return OK;
}

CHECKED static err_kind quantile_arg(eval *ev, const ast *arg, const grid *g, double **ret)
{
    if (eval_scalar(ev, arg, g, ret))
        return ev->e->kind;
    for (size_t s = 0; s < g->n; s++)
        if (isnan((*ret)[s]) || (*ret)[s] < 0 || (*ret)[s] > 1)
            eval_warn(ev, arg, "quantile value should be between 0 and 1, got %s", format_go((*ret)[s]).text);
    return OK;
}

err_kind call_histogram_quantile(eval *ev, const ast *call, const grid *g, value *ret)
{
    histograms h = { .ev = ev, .call = call, .arg = call->call.args[1] };
    double *q = NULL;
    labels l;
    value_init(ret, ev, PROMQL_VECTOR, g->n);
    err_kind k = quantile_arg(ev, call->call.args[0], g, &q);
    if (!k)
        k = open_histograms(&h, g);
    for (size_t i = 0; !k && i < h.all.len; i++) {
        k = labels_without_name(ev, h.all.at[i].labels, &l);
        if (!k)
            k = quantile_series(&h, &h.all.at[i], q, l, ret);
    }
    histograms_done(&h);
    mem_free(q);
    return k ? k : value_join(ret, false);
}

/* A quantile as a label's value, as OpenMetrics writes them: 1 is "1.0". */
static str quantile_label(arena *a, double q)
{
    char text[NUM_DOUBLE_MAX];
    size_t n = num_format_double(text, q);
    bool whole = isfinite(q) && !memchr(text, '.', n) && !memchr(text, 'e', n);
    return arena_printf(a, "%s%s", text, whole ? ".0" : "");
}

/* histogram_quantiles(v, label, q…): the quantile in the label is the first step's. */
err_kind call_histogram_quantiles(eval *ev, const ast *call, const grid *g, value *ret)
{
    histograms h = { .ev = ev, .call = call, .arg = call->call.args[0] };
    str name;
    labels l;
    value_init(ret, ev, PROMQL_VECTOR, g->n);
    err_kind k = eval_string(ev, call->call.args[1], &name);
    if (!k)
        k = open_histograms(&h, g);
    for (size_t a = 2; !k && a < call->call.count; a++) {
        double *q = NULL;
        k = quantile_arg(ev, call->call.args[a], g, &q);
        str text = k ? STR_EMPTY : quantile_label(ev->arena, q[0]);
        for (size_t i = 0; !k && i < h.all.len; i++) {
            k = labels_without_name(ev, h.all.at[i].labels, &l);
            if (!k)
                k = labels_with(ev, l, name, text, &l);
            if (!k)
                k = quantile_series(&h, &h.all.at[i], q, l, ret);
        }
        mem_free(q);
    }
    histograms_done(&h);
    return k ? k : value_join(ret, false);
}

/* ---- histogram_fraction: the share of observations between two bounds ---- */

/* How many observations lie below `v`, linear inside a bucket. */
static double rank_of(double v, const bucket *b, size_t n)
{
    double below = 0;
    for (size_t i = 0; i < n; below = b[i++].count) {
        double low = i ? b[i - 1].bound : b[0].bound > 0 ? 0 : -INFINITY;
        if (low >= v)
            return below;
        if (b[i].bound > v)
            return isinf(low) ? b[i].count : below + (b[i].count - below) * (v - low) / (b[i].bound - low);
    }
    return below;
}

static double bucket_fraction(double low, double high, bucket *b, size_t n)
{
    if (n == 0 || b[n - 1].bound != INFINITY)
        return NAN;
    double count = b[n - 1].count;
    if (count == 0 || isnan(count) || isnan(low) || isnan(high))
        return NAN;
    if (low >= high)
        return 0;
    return (fmin(rank_of(high, b, n), count) - fmin(rank_of(low, b, n), count)) / count;
}

err_kind call_histogram_fraction(eval *ev, const ast *call, const grid *g, value *ret)
{
    histograms h = { .ev = ev, .call = call, .arg = call->call.args[2] };
    double *low = NULL, *high = NULL;
    value_init(ret, ev, PROMQL_VECTOR, g->n);
    err_kind k = eval_scalar(ev, call->call.args[0], g, &low);
    if (!k)
        k = eval_scalar(ev, call->call.args[1], g, &high);
    if (!k)
        k = open_histograms(&h, g);
    for (size_t i = 0; !k && i < h.all.len; i++) {
        labels l;
        k = labels_without_name(ev, h.all.at[i].labels, &l);
        if (!k)
            k = value_add(ret, l);
        for (size_t s = 0; !k && s < g->n; s++) {
            size_t n = collect(&h, &h.all.at[i], s);
            if (n)
                ret->at[ret->len - 1].v[s] = bucket_fraction(low[s], high[s], h.room, n);
        }
    }
    histograms_done(&h);
    mem_free(low);
    mem_free(high);
    return k ? k : value_join(ret, false);
}
