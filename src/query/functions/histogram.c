/* Quantiles, shares and numbers of histograms, classic (buckets by `le`) and native. Prometheus: promql/quantile.go,
 * BucketQuantile, and functions.go. */
#include "query/functions/functions.h"
#include <stdlib.h>

#define SMALL_DELTA 1e-12  /* relative; differences below it are rounding, not observations */

typedef struct bucket { double bound, count; } bucket;
typedef struct bucket_series { double bound; uint32_t series; } bucket_series;

/* The bucket series of one histogram. */
typedef struct classic_histogram {
    labels labels;             /* without le; the name is still there */
    vec(bucket_series) members;        /* by bound */
    vec(uint32_t) natives;     /* native histograms under the same labels: where both are, neither is answered */
    bool drop_name;
} classic_histogram;

#define NO_CLASSIC UINT32_MAX

typedef struct histograms {
    eval *ev;
    const ast *call, *arg;     /* arg: the bucket vector, whose place warnings name */
    value in;
    uint32_t *classic_of;      /* by series with native histograms: the classic one of the same labels */
    labelmap map;
    vec(classic_histogram) all;
    bucket *room;
} histograms;

static void histograms_done(histograms *h)
{
    for (size_t i = 0; i < h->all.len; i++)
        vec_done(&h->all.at[i].members), vec_done(&h->all.at[i].natives);
    vec_done(&h->all);
    labelmap_done(&h->map);
    value_done(&h->in);
    mem_free(h->classic_of);
    mem_free(h->room);
}

static bool has_floats(const vseries *s, size_t steps)
{
    for (size_t i = 0; i < steps; i++)
        if (!slot_empty(s->v[i]))
            return true;
    return false;
}

CHECKED static err_kind sort_in(histograms *h, size_t i)
{
    double bound;
    static const str le = STR_INIT("le");
    label kept[LABELS_MAX];
    labels l = h->in.at[i].labels;
    size_t number;
    if (!has_floats(&h->in.at[i], h->in.steps))
        return OK;
    if (!str_to_double(labels_get(l, le), &bound)) {
        str part = metric_part(h->ev, labels_name(l));
        eval_warn(h->ev, h->arg, "bucket label \"le\" is missing or has a malformed value of \"%" STR_FMT "\"%" STR_FMT,
                  STR_ARG(labels_get(l, le)), STR_ARG(part));
        return OK;
    }
    if (labelmap_put(&h->map, labels_filter(l, &le, 1, false, false, kept), &number))
        return h->ev->e->kind;
    if (number == h->all.len && vec_push(&h->all, ((classic_histogram){ .labels = h->map.keys[number], .drop_name = h->in.at[i].drop_name })))
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

/* Natives meet classic histograms of the same labels; without such, they stand alone. */
CHECKED static err_kind sort_in_native(histograms *h, size_t i)
{
    size_t known = h->map.len, number;
    h->classic_of[i] = NO_CLASSIC;
    if (!h->in.at[i].h || known == 0)
        return OK;
    if (labelmap_put(&h->map, h->in.at[i].labels, &number))
        return h->ev->e->kind;
    if (number >= h->all.len)
        return OK;
    h->classic_of[i] = (uint32_t)number;
    return vec_push(&h->all.at[number].natives, (uint32_t)i) ? err_nomem(h->ev->e) : OK;
}

CHECKED static err_kind open_histograms(histograms *h, const grid *g)
{
    if (eval_node(h->ev, h->arg, g, &h->in))
        return h->ev->e->kind;
    labelmap_init(&h->map, h->ev);
    h->room = mem_alloc((h->in.len + 1) * sizeof *h->room);
    h->classic_of = mem_alloc((h->in.len + 1) * sizeof *h->classic_of);
    if (!h->room || !h->classic_of)
        return err_nomem(h->ev->e);
    for (size_t i = 0; i < h->in.len; i++)
        if (sort_in(h, i))
            return h->ev->e->kind;
    for (size_t i = 0; i < h->all.len; i++)
        qsort(h->all.at[i].members.at, h->all.at[i].members.len, sizeof *h->all.at[i].members.at, by_bound);
    for (size_t i = 0; i < h->in.len; i++)
        if (sort_in_native(h, i))
            return h->ev->e->kind;
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

/* ---- one question to all histograms ---- */

/* What is asked at every step: a quantile, or (`high` set) the share between two bounds. `label`: what tells the answers
 * of several questions apart; empty: nothing. */
typedef struct question { const double *low, *high; str label, text; } question;

static void tell_doubt(histograms *h, labels l, bool fraction, histogram_doubt doubt)
{
    if (doubt == HISTOGRAM_SURE)
        return;
    str part = metric_part(h->ev, labels_name(l));
    if (fraction)
        eval_info(h->ev, h->arg, "input to histogram_fraction has NaN observations, which are excluded from all fractions%" STR_FMT, STR_ARG(part));
    else
        eval_info(h->ev, h->arg, "input to histogram_quantile has NaN observations, result is %s%" STR_FMT,
                  doubt == HISTOGRAM_NAN_RESULT ? "NaN" : "skewed higher", STR_ARG(part));
}

static double ask_native(histograms *h, const question *q, labels l, const histogram *one, size_t step)
{
    histogram_doubt doubt = q->high && isnan(one->sum) ? HISTOGRAM_NAN_SKEWS : HISTOGRAM_SURE;
    double v = q->high ? histogram_fraction(one, q->low[step], q->high[step]) : histogram_quantile(one, q->low[step], &doubt);
    tell_doubt(h, l, q->high != NULL, doubt);
    return v;
}

static double ask_classic(histograms *h, const question *q, labels l, size_t n, size_t step)
{
    bool forced = false;
    double v = q->high ? bucket_fraction(q->low[step], q->high[step], h->room, n) : bucket_quantile(q->low[step], h->room, n, &forced);
    if (forced) {
        str part = metric_part(h->ev, labels_name(l));
        eval_info(h->ev, h->arg, "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)%" STR_FMT, STR_ARG(part));
    }
    return v;
}

CHECKED static err_kind add_answer(histograms *h, const question *q, labels l, bool drop_name, value *ret)
{
    if (!h->ev->delayed_names && labels_without_name(h->ev, l, &l))
        return h->ev->e->kind;
    if (!str_empty(q->label) && labels_with(h->ev, l, q->label, q->text, &l))
        return h->ev->e->kind;
    if (value_add(ret, l))
        return h->ev->e->kind;
    ret->at[ret->len - 1].drop_name = drop_name || h->ev->delayed_names;
    return OK;
}

static bool native_at(const histograms *h, const classic_histogram *one, size_t step)
{
    for (size_t i = 0; i < one->natives.len; i++)
        if (h->in.at[one->natives.at[i]].h[step])
            return true;
    return false;
}

CHECKED static err_kind answer_classic(histograms *h, const question *q, const classic_histogram *one, value *ret)
{
    if (eval_spend(h->ev, ret->steps * one->members.len) || add_answer(h, q, one->labels, one->drop_name, ret))
        return h->ev->e->kind;
    for (size_t s = 0; s < ret->steps; s++) {
        size_t n = collect(h, one, s);
        if (n == 0)
            continue;
        if (native_at(h, one, s)) {
            str part = metric_part(h->ev, labels_name(one->labels));
            eval_warn(h->ev, h->arg, "vector contains a mix of classic and native histograms%" STR_FMT, STR_ARG(part));
            continue;
        }
        ret->at[ret->len - 1].v[s] = ask_classic(h, q, one->labels, n, s);
    }
    return OK;
}

CHECKED static err_kind answer_native(histograms *h, const question *q, size_t i, value *ret)
{
    const vseries *in = &h->in.at[i];
    const classic_histogram *rival = h->classic_of[i] == NO_CLASSIC ? NULL : &h->all.at[h->classic_of[i]];
    if (eval_spend(h->ev, 10 * ret->steps) || add_answer(h, q, in->labels, in->drop_name, ret))
        return h->ev->e->kind;
    for (size_t s = 0; s < ret->steps; s++)
        if (in->h[s] && !(rival && collect(h, rival, s)))
            ret->at[ret->len - 1].v[s] = ask_native(h, q, in->labels, in->h[s], s);
    return OK;
}

CHECKED static err_kind answer_all(histograms *h, const question *q, value *ret)
{
    err_kind k = OK;
    for (size_t i = 0; !k && i < h->all.len; i++)
        k = answer_classic(h, q, &h->all.at[i], ret);
    for (size_t i = 0; !k && i < h->in.len; i++)
        if (h->in.at[i].h)
            k = answer_native(h, q, i, ret);
    return k;
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
    value_init(ret, ev, PROMQL_VECTOR, g->n);
    err_kind k = quantile_arg(ev, call->call.args[0], g, &q);
    if (!k)
        k = open_histograms(&h, g);
    if (!k)
        k = answer_all(&h, &(question){ .low = q }, ret);
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
    value_init(ret, ev, PROMQL_VECTOR, g->n);
    err_kind k = eval_string(ev, call->call.args[1], &name);
    if (!k && (str_empty(name) || !str_utf8_valid(name)))
        k = eval_fail(ev, "invalid label name \"%" STR_FMT "\"", STR_ARG(name));
    if (!k)
        k = open_histograms(&h, g);
    for (size_t a = 2; !k && a < call->call.count; a++) {
        double *q = NULL;
        k = quantile_arg(ev, call->call.args[a], g, &q);
        str text = k ? STR_EMPTY : quantile_label(ev->arena, q[0]);
        if (!k)
            k = text.ptr ? answer_all(&h, &(question){ .low = q, .label = name, .text = text }, ret) : err_nomem(ev->e);
        mem_free(q);
    }
    histograms_done(&h);
    return k ? k : value_join(ret, false);
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
    if (!k)
        k = answer_all(&h, &(question){ .low = low, .high = high }, ret);
    histograms_done(&h);
    mem_free(low);
    mem_free(high);
    return k ? k : value_join(ret, false);
}

/* ---- one number of each native histogram; floats have none ---- */

typedef double (*number_fn)(const histogram *h);
static double number_count(const histogram *h) { return h->count; }
static double number_sum(const histogram *h) { return h->sum; }
static double number_avg(const histogram *h) { return h->sum / h->count; }
static double number_stddev(const histogram *h) { return sqrt(histogram_variance(h)); }

static const struct { const char *name; number_fn fn; } numbers[] = {
    { "histogram_count", number_count },   { "histogram_sum", number_sum },         { "histogram_avg", number_avg },
    { "histogram_stddev", number_stddev }, { "histogram_stdvar", histogram_variance },
};

err_kind call_histogram_number(eval *ev, const ast *call, const grid *g, value *ret)
{
    number_fn fn = NULL;
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        if (str_is(str_from(call->call.row->name), numbers[i].name))
            fn = numbers[i].fn;
    if (eval_node(ev, call->call.args[0], g, ret))
        return ev->e->kind;
    for (size_t i = 0; i < ret->len; i++)
        for (size_t s = 0; s < ret->steps; s++) {
            double v = ret->at[i].h && ret->at[i].h[s] ? fn(ret->at[i].h[s]) : EMPTY_SLOT;
            ret->at[i].v[s] = isnan(v) && !slot_empty(v) ? NAN : v; /* a foreign NaN may be one change of sign away from an empty slot */
        }
    value_drop_histograms(ret);
    value_drop_empty(ret);
    return value_drop_names(ret, false);
}
