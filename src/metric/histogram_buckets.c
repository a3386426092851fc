/* Buckets by their bounds: cutting at a value, quantiles. Walks over them and sums are in histogram_math.c. */
#include "metric/histogram_math.h"
#include "metric/metric.h"
#include <float.h>

/* The larger end of bucket `index`; the last finite one ends at the largest double, behind it lies infinity. */
double histogram_bound(int8_t schema, int32_t index)
{
    if (schema < 0) {
        int64_t exponent = (int64_t)index * (1 << -schema);
        return exponent == 1024 ? DBL_MAX : ldexp(1, (int)MAX(MIN(exponent, 5000), -5000));
    }
    int32_t part = index & ((1 << schema) - 1), exponent = (index >> schema) + 1;
    double fraction = part ? exp2((double)part / (1 << schema)) / 2 : 0.5;
    return fraction == 0.5 && exponent == 1025 ? DBL_MAX : ldexp(fraction, exponent);
}

double histogram_bucket_bound(const histogram *h, int64_t index)
{
    if (!histogram_is_custom(h))
        return histogram_bound(h->schema, (int32_t)MAX(MIN(index, INT32_MAX), INT32_MIN));
    return index < 0 ? -INFINITY : index >= h->bound_count ? INFINITY : h->bounds[index];
}

/* ---- trimming: FloatHistogram.TrimBuckets ---- */

/* Where the observations of an interval lie on average. */
static double middle_of(double lower, double upper, bool linear)
{
    if (isinf(lower))
        return isinf(upper) ? 0 : upper > 0 ? upper / 2 : upper;
    if (isinf(upper))
        return lower;
    if (linear)
        return (lower + upper) / 2;
    double mean = sqrt(fabs(lower * upper));
    return lower < 0 ? -mean : mean;
}

static double finite_or_zero(double v)
{
    return isinf(v) ? 0 : v;
}

typedef struct trimmed { double kept, middle; } trimmed;

/* A custom bucket without an end: nobody knows how its observations spread. */
static trimmed trim_endless(const histogram_bucket *b, double at, bool upper)
{
    if (b->lower == -INFINITY && upper) {
        if (b->upper <= 0)
            return (trimmed){ b->count, at };
        if (at > 0 && isfinite(b->upper))
            return (trimmed){ b->count * at / b->upper, at / 2 };
        return (trimmed){ 0, finite_or_zero(b->upper) };
    }
    if (b->lower == -INFINITY) {
        if (at >= 0 && isfinite(b->upper))
            return (trimmed){ b->count * (b->upper - at) / b->upper, (at + b->upper) / 2 };
        return (trimmed){ 0, finite_or_zero(b->upper) };
    }
    return upper ? (trimmed){ 0, b->lower } : (trimmed){ b->count, MAX(at, b->lower) };
}

/* A bucket that `at` cuts. */
static trimmed trim_bucket(const histogram_bucket *b, double at, bool upper, bool linear)
{
    if (isinf(b->lower) || isinf(b->upper))
        return trim_endless(b, at, upper);
    double share;
    if (linear) {
        share = (at - b->lower) / (b->upper - b->lower);
    } else {
        double low = log2(fabs(b->lower)), high = log2(fabs(b->upper)), v = log2(fabs(at));
        share = b->lower >= 0 ? (v - low) / (high - low) : 1 - (v - high) / (low - high);
    }
    double below = b->count * share;
    return upper ? (trimmed){ below, middle_of(b->lower, at, linear) } : (trimmed){ b->count - below, middle_of(at, b->upper, linear) };
}

static trimmed trim_any(const histogram_bucket *b, double at, bool upper, bool linear)
{
    bool all = upper ? b->upper <= at : b->lower >= at, none = upper ? !(b->lower < at) : !(b->upper > at);
    if (all)
        return (trimmed){ b->count, middle_of(b->lower, b->upper, linear) };
    return none ? (trimmed){ 0, 0 } : trim_bucket(b, at, upper, linear);
}

/* The zero bucket reaches to the side where there are observations. */
static histogram_bucket zero_bucket(const histogram *h)
{
    double z = h->zero_threshold;
    bool up = h->positive.bucket_count > 0, down = h->negative.bucket_count > 0;
    return (histogram_bucket){ up && !down ? 0 : -z, down && !up ? 0 : z, h->zero_count, true, true };
}

typedef struct trimmer { const histogram *h; double at; bool upper, changed; double count, sum; } trimmer;

static double trim_into(trimmer *t, const histogram_bucket *b, bool linear)
{
    trimmed r = trim_any(b, t->at, t->upper, linear);
    t->changed |= r.kept != b->count;
    t->count += r.kept;
    if (r.kept != 0)
        t->sum += r.kept * r.middle;
    return r.kept;
}

static void trim_cells(trimmer *t, histogram_cells *cells, bool negative)
{
    for (size_t i = 0; i < cells->len; i++) {
        double low = histogram_bucket_bound(t->h, (int64_t)cells->at[i].index - 1), high = histogram_bucket_bound(t->h, cells->at[i].index);
        histogram_bucket b = { negative ? -high : low, negative ? -low : high, cells->at[i].count.sum, false, false };
        cells->at[i].count.sum = trim_into(t, &b, histogram_is_custom(t->h));
    }
}

histogram *histogram_trim(arena *a, const histogram *h, double at, bool upper)
{
    histogram_sum s = { 0 };
    histogram *made = NULL;
    trimmer t = { .h = h, .at = at, .upper = upper };
    if (!histogram_sum_set(&s, h)) {
        trim_cells(&t, &s.side[0], false);
        trim_cells(&t, &s.side[1], true);
        histogram_bucket zero = zero_bucket(h);
        if (h->zero_count > 0)
            s.zero.sum = trim_into(&t, &zero, true);
        if (t.changed) {
            s.count.sum = t.count;
            s.sum.sum = t.sum;
        }
        made = histogram_sum_value(&s, a, t.changed);
    }
    histogram_sum_done(&s);
    return made;
}

/* ---- questions ---- */

/* A bucket around zero of a histogram that only has one side lies on that side. */
static void lean(const histogram *h, histogram_bucket *b)
{
    if (h->negative.bucket_count == 0 && h->positive.bucket_count > 0)
        b->lower = 0;
    else if (h->positive.bucket_count == 0 && h->negative.bucket_count > 0)
        b->upper = 0;
}

static double within(const histogram *h, const histogram_bucket *b, double share)
{
    if (histogram_is_custom(h) || (b->lower <= 0 && b->upper >= 0))
        return b->lower + (b->upper - b->lower) * share;
    double low = log2(fabs(b->lower)), high = log2(fabs(b->upper));
    return b->lower > 0 ? exp2(low + (high - low) * share) : -exp2(high + (low - high) * (1 - share));
}

double histogram_quantile(const histogram *h, double q, histogram_doubt *ret_doubt)
{
    *ret_doubt = HISTOGRAM_SURE;
    if (q < 0 || q > 1)
        return q < 0 ? -INFINITY : INFINITY;
    if (h->count == 0 || isnan(q))
        return NAN;
    bool forward = isnan(h->sum) || q < 0.5; /* NaN is counted, but is in no bucket: only from below is the rank right */
    double rank = forward ? q * h->count : (1 - q) * h->count, count = 0;
    bucket_walk w = bucket_walk_all(h, !forward);
    while (bucket_walk_next(&w))
        if ((count += w.at.count) >= rank)
            break;
    histogram_bucket b = w.at;
    if (!histogram_is_custom(h) && b.lower < 0 && b.upper > 0) {
        lean(h, &b);
    } else if (histogram_is_custom(h) && b.lower == -INFINITY) {
        if (b.upper <= 0)
            return b.upper;
        b.lower = 0;
    } else if (histogram_is_custom(h) && b.upper == INFINITY) {
        return b.lower;
    }
    count = fmin(count, h->count);
    if (count < rank) {
        *ret_doubt = isnan(h->sum) ? HISTOGRAM_NAN_RESULT : HISTOGRAM_SURE;
        return isnan(h->sum) ? NAN : b.upper;
    }
    *ret_doubt = isnan(h->sum) ? HISTOGRAM_NAN_SKEWS : HISTOGRAM_SURE;
    rank = forward ? rank - (count - b.count) : count - rank;
    return within(h, &b, rank / b.count);
}

/* How many observations lie below `v`, which is inside bucket `b`, `before` of them below the bucket. */
static double rank_inside(const histogram *h, const histogram_bucket *b, bool around_zero, double before, double v)
{
    if (histogram_is_custom(h) || around_zero)
        return before + (isinf(b->lower) ? b->count : b->count * (v - b->lower) / (b->upper - b->lower));
    double low = log2(fabs(b->lower)), high = log2(fabs(b->upper)), at = log2(fabs(v));
    return before + b->count * (v > 0 ? (at - low) / (high - low) : 1 - (at - high) / (low - high));
}

double histogram_fraction(const histogram *h, double lower, double upper)
{
    if (h->count == 0 || isnan(lower) || isnan(upper))
        return NAN;
    if (lower >= upper)
        return 0;
    const double at[2] = { lower, upper };
    double rank[2] = { 0, 0 }, count = 0;
    bool set[2] = { false, false };
    for (bucket_walk w = bucket_walk_all(h, false); !(set[0] && set[1]) && bucket_walk_next(&w); count += w.at.count) {
        histogram_bucket b = w.at;
        bool around_zero = b.lower <= 0 && b.upper >= 0;
        if (around_zero && !histogram_is_custom(h))
            lean(h, &b);
        else if (around_zero && b.lower == -INFINITY && b.upper > 0)
            b.lower = 0;
        for (int i = 0; i < 2; i++) {
            if (set[i] || (b.lower < at[i] && b.upper <= at[i]))
                continue;
            rank[i] = b.lower >= at[i] ? count : rank_inside(h, &b, around_zero, count, at[i]);
            set[i] = true;
        }
        if (set[0] && set[1])
            break;
    }
    for (int i = 0; i < 2; i++)
        rank[i] = MIN(h->count, set[i] ? rank[i] : count);
    return (rank[1] - rank[0]) / h->count;
}

double histogram_variance(const histogram *h)
{
    double mean = h->sum / h->count;
    kahan sum = { 0 };
    for (bucket_walk w = bucket_walk_all(h, false); bucket_walk_next(&w);) {
        const histogram_bucket *b = &w.at;
        double v = histogram_is_custom(h) ? (b->upper + b->lower) / 2 : b->lower <= 0 && b->upper >= 0 ? 0 : sqrt(b->upper * b->lower);
        if (!histogram_is_custom(h) && b->upper < 0)
            v = -v;
        kahan_add(&sum, b->count * (v - mean) * (v - mean));
    }
    return kahan_value(&sum) / h->count;
}
