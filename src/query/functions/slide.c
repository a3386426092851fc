#include "query/functions/slide.h"
#include "query/functions/functions.h"
#include "query/lanes.h"

/* ---- borders ---- */

/* The first sample after `t_ms`, by halving. */
static size_t first_after(const sample *at, size_t len, int64_t t_ms)
{
    size_t low = 0, high = len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (at[middle].t_ms <= t_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The same from a border that is not behind it; *stride: how far it went the last time. */
static size_t next_after(const sample *at, size_t len, size_t from, size_t *stride, int64_t t_ms)
{
    size_t guess = from + *stride, i = from;
    if (guess <= len && (guess == 0 || at[guess - 1].t_ms <= t_ms) && (guess == len || at[guess].t_ms > t_ms))
        return guess;
    while (i < len && at[i].t_ms <= t_ms)
        i++;
    *stride = i - from;
    return i;
}

void windows_find(windows *w, uint32_t *low, uint32_t *high)
{
    size_t lo = first_after(w->at, w->len, w->end_ms - w->range_ms), hi = first_after(w->at, w->len, w->end_ms);
    size_t lo_stride = 0, hi_stride = 0;
    w->low = low;
    w->high = high;
    for (size_t i = 0; i < w->steps; i++) {
        int64_t end = w->end_ms + (int64_t)i * w->step_ms;
        lo = next_after(w->at, w->len, lo, &lo_stride, end - w->range_ms);
        hi = next_after(w->at, w->len, hi, &hi_stride, end);
        low[i] = (uint32_t)lo;
        high[i] = (uint32_t)hi;
    }
}

/* ---- one look at each window ---- */

#define SLIDE_DIRECT(name, expression)                                                                                    \
    static bool name(const windows *w, double *slots)                                                                     \
    {                                                                                                                     \
        bool any = false;                                                                                                 \
        for (size_t i = 0; i < w->steps; i++) {                                                                           \
            uint32_t low = w->low[i], high = w->high[i];                                                                  \
            if (low == high)                                                                                              \
                continue;                                                                                                 \
            slots[i] = (expression);                                                                                      \
            any = true;                                                                                                   \
        }                                                                                                                 \
        return any;                                                                                                       \
    }

SLIDE_DIRECT(slide_count, (double)(high - low))
SLIDE_DIRECT(slide_last, w->values[high - 1])
SLIDE_DIRECT(slide_first, w->values[low])
SLIDE_DIRECT(slide_present, 1)

/* room[i]: how many samples up to i differ from the one before (`falls`: lie below it). */
static bool slide_steps_between(const windows *w, double *slots, bool falls)
{
    const double *v = w->values;
    bool any = false;
    for (size_t i = 0; i < w->len; i++) {
        bool counts = i > 0 && (falls ? v[i] < v[i - 1] : v[i] != v[i - 1] && !(isnan(v[i]) && isnan(v[i - 1])));
        w->room[i] = (i ? w->room[i - 1] : 0) + counts;
    }
    for (size_t i = 0; i < w->steps; i++) {
        if (w->low[i] == w->high[i])
            continue;
        slots[i] = w->room[w->high[i] - 1] - w->room[w->low[i]];
        any = true;
    }
    return any;
}

static bool slide_changes(const windows *w, double *slots) { return slide_steps_between(w, slots, false); }
static bool slide_resets(const windows *w, double *slots) { return slide_steps_between(w, slots, true); }

/* ---- extremes ---- */

/* The queue holds places in falling (for the minimum: rising) order of value, the first of equals before the others.
 * A window of nothing but NaN has its last one as the extreme. */
static bool slide_extreme(const windows *w, double *slots, bool largest)
{
    uint32_t *queue = (uint32_t *)(void *)w->room;
    size_t first = 0, last = 0;
    uint32_t pushed = 0;
    bool any = false;
    for (size_t i = 0; i < w->steps; i++) {
        for (pushed = MAX(pushed, w->low[i]); pushed < w->high[i]; pushed++) {
            double v = w->values[pushed];
            if (isnan(v))
                continue;
            while (last > first && (largest ? w->values[queue[last - 1]] < v : w->values[queue[last - 1]] > v))
                last--;
            queue[last++] = pushed;
        }
        while (first < last && queue[first] < w->low[i])
            first++;
        if (w->low[i] == w->high[i])
            continue;
        slots[i] = w->values[first < last ? queue[first] : w->high[i] - 1];
        any = true;
    }
    return any;
}

static bool slide_min(const windows *w, double *slots) { return slide_extreme(w, slots, false); }
static bool slide_max(const windows *w, double *slots) { return slide_extreme(w, slots, true); }

/* ---- sums ---- */

/* Two times LANES windows at a time, and how far each has come. */
#define BATCH (2 * LANES)
typedef struct batch { const double *at[BATCH]; size_t len[BATCH], step[BATCH], count, shortest; } batch;
#define BATCH_VALUES(b, half, i) \
    { (b)->at[4 * (half)][i], (b)->at[4 * (half) + 1][i], (b)->at[4 * (half) + 2][i], (b)->at[4 * (half) + 3][i] }

/* The next windows that hold samples; *from: where to go on. An unused lane repeats the first. */
static bool batch_fill(batch *b, const windows *w, size_t *from)
{
    b->count = 0;
    b->shortest = SIZE_MAX;
    for (; *from < w->steps && b->count < BATCH; ++*from) {
        size_t n = w->high[*from] - w->low[*from];
        if (n == 0)
            continue;
        b->at[b->count] = w->values + w->low[*from];
        b->len[b->count] = n;
        b->step[b->count++] = *from;
        b->shortest = MIN(b->shortest, n);
    }
    for (size_t k = b->count; b->count && k < BATCH; k++)
        b->at[k] = b->at[0];
    return b->count > 0;
}

WIDE static void sum_batch(const batch *b, kahan *ret)
{
    lanes sum[2] = { { 0 } }, c[2] = { { 0 } };
    for (size_t i = 0; i < b->shortest; i++) {
        lanes v0 = BATCH_VALUES(b, 0, i), v1 = BATCH_VALUES(b, 1, i);
        LANE_ADD(sum[0], c[0], v0);
        LANE_ADD(sum[1], c[1], v1);
    }
    for (size_t k = 0; k < b->count; k++) {
        ret[k] = (kahan){ sum[k / LANES][k % LANES], c[k / LANES][k % LANES] };
        for (size_t i = b->shortest; i < b->len[k]; i++)
            kahan_add(&ret[k], b->at[k][i]);
    }
}

/* Welford's algorithm, as over_stdvar. */
WIDE static void variance_batch(const batch *b, kahan *ret)
{
    lanes mean[2] = { { 0 } }, mean_c[2] = { { 0 } }, squares[2] = { { 0 } }, squares_c[2] = { { 0 } };
    for (size_t i = 0; i < b->shortest; i++) {
        lanes v0 = BATCH_VALUES(b, 0, i), v1 = BATCH_VALUES(b, 1, i);
        for (int h = 0; h < 2; h++) {
            lanes v = h ? v1 : v0, delta = v - (mean[h] + mean_c[h]), part = delta / (double)(i + 1);
            LANE_ADD(mean[h], mean_c[h], part);
            part = delta * (v - (mean[h] + mean_c[h]));
            LANE_ADD(squares[h], squares_c[h], part);
        }
    }
    for (size_t k = 0; k < b->count; k++) {
        kahan m = { mean[k / LANES][k % LANES], mean_c[k / LANES][k % LANES] };
        ret[k] = (kahan){ squares[k / LANES][k % LANES], squares_c[k / LANES][k % LANES] };
        for (size_t i = b->shortest; i < b->len[k]; i++) {
            double v = b->at[k][i], delta = v - (m.sum + m.c);
            kahan_add(&m, delta / (double)(i + 1));
            kahan_add(&ret[k], delta * (v - (m.sum + m.c)));
        }
    }
}

/* Infinities and NaN have rules of their own: the window alone knows them. */
static double by_window(const windows *w, window_fn over, size_t step)
{
    double v = 0;
    window one = { .at = w->at + w->low[step], .len = w->high[step] - w->low[step] };
    over(&one, &v);
    return v;
}

typedef enum sum_kind { SUM_PLAIN, SUM_MEAN, SUM_VARIANCE, SUM_DEVIATION } sum_kind;

static double sum_value(sum_kind kind, kahan k, double n)
{
    switch (kind) {
    case SUM_PLAIN: return k.sum + k.c;
    case SUM_MEAN: return k.sum / n + k.c / n;
    case SUM_VARIANCE: return (k.sum + k.c) / n;
    case SUM_DEVIATION: return sqrt((k.sum + k.c) / n);
    }
    return NAN;
}

static bool slide_batches(const windows *w, double *slots, sum_kind kind, window_fn over)
{
    batch r;
    kahan sums[BATCH];
    bool any = false;
    for (size_t from = 0; batch_fill(&r, w, &from); any = true) {
        if (kind < SUM_VARIANCE)
            sum_batch(&r, sums);
        else
            variance_batch(&r, sums);
        for (size_t k = 0; k < r.count; k++)
            slots[r.step[k]] = isfinite(sums[k].sum) && isfinite(sums[k].c) ? sum_value(kind, sums[k], (double)r.len[k])
                                                                              : by_window(w, over, r.step[k]);
    }
    return any;
}

/* Are all sums of these numbers exact, in whatever order? */
WIDE static bool sums_are_exact(const double *v, size_t n)
{
    double bound = 0x1p53 / (double)(n + 1);
    int64_t bad = 0;
    if (bound > 0x1p51)
        bound = 0x1p51;
    for (size_t i = 0; i < n; i++) {
        double whole = (v[i] + 0x1.8p52) - 0x1.8p52; /* rounds to an integer while |v| < 2^51 */
        bad |= (whole != v[i]) | !(fabs(v[i]) <= bound);
    }
    return !bad;
}

static bool slide_sums(const windows *w, double *slots, sum_kind kind, window_fn over)
{
    int64_t *before = (int64_t *)(void *)w->room; /* before[i]: the sum of the samples before i; whole, so as integers */
    bool any = false;
    if (!sums_are_exact(w->values, w->len))
        return slide_batches(w, slots, kind, over);
    before[0] = 0;
    for (size_t i = 0; i < w->len; i++)
        before[i + 1] = before[i] + (int64_t)w->values[i];
    for (size_t i = 0; i < w->steps; i++) {
        uint32_t low = w->low[i], high = w->high[i];
        if (low == high)
            continue;
        double sum = (double)(before[high] - before[low]);
        slots[i] = kind == SUM_MEAN ? sum / (double)(high - low) : sum;
        any = true;
    }
    return any;
}

static bool slide_sum(const windows *w, double *slots) { return slide_sums(w, slots, SUM_PLAIN, over_sum); }
static bool slide_avg(const windows *w, double *slots) { return slide_sums(w, slots, SUM_MEAN, over_avg); }
static bool slide_stdvar(const windows *w, double *slots) { return slide_batches(w, slots, SUM_VARIANCE, over_stdvar); }
static bool slide_stddev(const windows *w, double *slots) { return slide_batches(w, slots, SUM_DEVIATION, over_stddev); }

/* ---- counters ---- */

WIDE static bool ever_falls(const double *v, size_t n)
{
    int64_t falls = 0;
    for (size_t i = 1; i < n; i++)
        falls |= v[i] < v[i - 1];
    return falls;
}

/* falls[i]: how many samples up to i lie below the one before. */
static void count_falls(const double *v, size_t n, uint32_t *falls)
{
    for (size_t i = 0; i < n; i++)
        falls[i] = i == 0 ? 0 : falls[i - 1] + (v[i] < v[i - 1]);
}

/* last - first, and what the counter had reached before each fall. */
static double gain_with_falls(const double *v, size_t low, size_t high)
{
    double sum = v[high - 1] - v[low];
    for (size_t i = low + 1; i < high; i++)
        if (v[i] < v[i - 1])
            sum += v[i - 1];
    return sum;
}

#define COLUMN 64
/* What extrapolation needs to know of some windows; times in milliseconds. */
typedef struct column {
    double first[COLUMN], gain[COLUMN], start_ms[COLUMN], end_ms[COLUMN], sampled_ms[COLUMN], gaps[COLUMN], out[COLUMN];
    uint32_t step[COLUMN];
    size_t len;
} column;

/* rate.c, extrapolated(), for all of the column; the same operations in the same order. */
WIDE static void extrapolate(column *c, bool counter, double per_seconds)
{
    for (size_t i = 0; i < COLUMN; i++) {
        double sampled = c->sampled_ms[i] / 1e3, gain = c->gain[i], gap = sampled / c->gaps[i];
        double limit = gap * 1.1, half = gap / 2, to_start = c->start_ms[i] / 1e3, to_end = c->end_ms[i] / 1e3;
        double to_zero = sampled * (c->first[i] / gain);
        to_start = to_start >= limit ? half : to_start;
        to_start = (int)counter & (gain > 0) & (c->first[i] >= 0) & (to_zero < to_start) ? to_zero : to_start;
        to_end = to_end >= limit ? half : to_end;
        double factor = (sampled + to_start + to_end) / sampled;
        c->out[i] = gain * (factor / per_seconds); /* per_seconds 1 changes nothing */
    }
}

static void column_flush(column *c, bool counter, double per_seconds, double *slots)
{
    for (size_t i = c->len; i < COLUMN; i++)
        c->first[i] = c->gain[i] = c->start_ms[i] = c->end_ms[i] = c->sampled_ms[i] = c->gaps[i] = 1;
    extrapolate(c, counter, per_seconds);
    for (size_t i = 0; i < c->len; i++)
        slots[c->step[i]] = c->out[i];
    c->len = 0;
}

static void column_add(column *c, const windows *w, size_t step, double gain)
{
    const sample *first = &w->at[w->low[step]], *last = &w->at[w->high[step] - 1];
    int64_t end_ms = w->end_ms + (int64_t)step * w->step_ms;
    size_t i = c->len++;
    c->first[i] = first->v;
    c->gain[i] = gain;
    c->start_ms[i] = (double)(first->t_ms - (end_ms - w->range_ms));
    c->end_ms[i] = (double)(end_ms - last->t_ms);
    c->sampled_ms[i] = (double)(last->t_ms - first->t_ms);
    c->gaps[i] = (double)(w->high[step] - w->low[step] - 1);
    c->step[i] = (uint32_t)step;
}

static bool slide_extrapolated(const windows *w, double *slots, bool counter, double per_seconds)
{
    uint32_t *falls = counter && ever_falls(w->values, w->len) ? (uint32_t *)(void *)w->room : NULL;
    column c = { .len = 0 };
    bool any = false;
    if (falls)
        count_falls(w->values, w->len, falls);
    for (size_t i = 0; i < w->steps; i++) {
        uint32_t low = w->low[i], high = w->high[i];
        if (high - low < 2)
            continue;
        bool fell = falls && falls[high - 1] != falls[low];
        column_add(&c, w, i, fell ? gain_with_falls(w->values, low, high) : w->values[high - 1] - w->values[low]);
        any = true;
        if (c.len == COLUMN)
            column_flush(&c, counter, per_seconds, slots);
    }
    if (c.len)
        column_flush(&c, counter, per_seconds, slots);
    return any;
}

static bool slide_rate(const windows *w, double *slots) { return slide_extrapolated(w, slots, true, (double)w->range_ms / 1e3); }
static bool slide_increase(const windows *w, double *slots) { return slide_extrapolated(w, slots, true, 1); }
static bool slide_delta(const windows *w, double *slots) { return slide_extrapolated(w, slots, false, 1); }

/* ---- who has one ---- */

slide_fn slide_find(window_fn over)
{
    static const struct { window_fn over; slide_fn slide; } rows[] = {
        { over_rate, slide_rate },     { over_increase, slide_increase }, { over_delta, slide_delta },
        { over_sum, slide_sum },       { over_avg, slide_avg },           { over_stddev, slide_stddev },
        { over_stdvar, slide_stdvar }, { over_min, slide_min },           { over_max, slide_max },
        { over_count, slide_count },   { over_last, slide_last },         { over_first, slide_first },
        { over_changes, slide_changes }, { over_resets, slide_resets },   { over_present, slide_present },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (rows[i].over == over)
            return rows[i].slide;
    return NULL;
}
