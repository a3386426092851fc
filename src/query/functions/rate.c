/* How fast numbers move: counters extrapolated to the window's borders, slopes, smoothing.
 * Prometheus: promql/functions.go, extrapolatedRate, instantValue, linearRegression. */
#include "query/functions/functions.h"

/* What the counter gained inside the window: last - first, and what it had reached before each fall. */
static double gained(const window *w, bool counter)
{
    double sum = w->at[w->len - 1].v - w->at[0].v;
    if (!counter || w->resets[w->len - 1] == w->resets[0])
        return sum;
    for (size_t i = 1; i < w->len; i++)
        if (w->at[i].v < w->at[i - 1].v)
            sum += w->at[i - 1].v;
    return sum;
}

/* Samples seldom lie on the window's borders. Extrapolate to a border if the distance is not larger than the
 * usual gap between samples, else by half a gap; never back beyond where a counter would have been zero. */
static bool extrapolated(const window *w, bool counter, bool per_second, double *ret)
{
    if (w->len < 2)
        return false;
    double result = gained(w, counter);
    double to_start = (double)(w->at[0].t_ms - w->start_ms) / 1e3;
    double to_end = (double)(w->end_ms - w->at[w->len - 1].t_ms) / 1e3;
    double sampled = (double)(w->at[w->len - 1].t_ms - w->at[0].t_ms) / 1e3;
    double gap = sampled / (double)(w->len - 1);
    if (to_start >= gap * 1.1)
        to_start = gap / 2;
    if (counter && result > 0 && w->at[0].v >= 0) {
        double to_zero = sampled * (w->at[0].v / result);
        if (to_zero < to_start)
            to_start = to_zero;
    }
    if (to_end >= gap * 1.1)
        to_end = gap / 2;
    double factor = (sampled + to_start + to_end) / sampled;
    if (per_second)
        factor /= w->range_s;
    *ret = result * factor;
    return true;
}

bool over_rate(const window *w, double *ret) { return extrapolated(w, true, true, ret); }
bool over_increase(const window *w, double *ret) { return extrapolated(w, true, false, ret); }
bool over_delta(const window *w, double *ret) { return extrapolated(w, false, false, ret); }

static bool last_two(const window *w, bool rate, double *ret)
{
    if (w->len < 2)
        return false;
    const sample *last = &w->at[w->len - 1], *previous = last - 1;
    double gap_s = (double)(last->t_ms - previous->t_ms) / 1e3;
    if (gap_s == 0)
        return false;
    *ret = rate && last->v < previous->v ? last->v : last->v - previous->v;
    if (rate)
        *ret /= gap_s;
    return true;
}

bool over_irate(const window *w, double *ret) { return last_two(w, true, ret); }
bool over_idelta(const window *w, double *ret) { return last_two(w, false, ret); }

typedef struct line { double slope, intercept; } line;

/* Least squares; the intercept is at `at_ms`. A constant series has slope 0 exactly. */
static line regression(const window *w, int64_t at_ms)
{
    kahan x_sum = { 0 }, y_sum = { 0 }, xy_sum = { 0 }, xx_sum = { 0 };
    bool constant = true;
    for (size_t i = 0; i < w->len; i++) {
        double x = (double)(w->at[i].t_ms - at_ms) / 1e3, y = w->at[i].v;
        constant &= y == w->at[0].v;
        kahan_add(&x_sum, x);
        kahan_add(&y_sum, y);
        kahan_add(&xy_sum, x * y);
        kahan_add(&xx_sum, x * x);
    }
    if (constant)
        return isinf(w->at[0].v) ? (line){ NAN, NAN } : (line){ 0, w->at[0].v };
    double n = (double)w->len, sx = x_sum.sum + x_sum.c, sy = y_sum.sum + y_sum.c;
    double covariance = xy_sum.sum + xy_sum.c - sx * sy / n, variance = xx_sum.sum + xx_sum.c - sx * sx / n;
    double slope = covariance / variance;
    return (line){ slope, sy / n - slope * sx / n };
}

bool over_deriv(const window *w, double *ret)
{
    if (w->len < 2)
        return false;
    *ret = regression(w, w->at[0].t_ms).slope;
    return true;
}

bool over_predict_linear(const window *w, double *ret)
{
    if (w->len < 2)
        return false;
    line l = regression(w, w->eval_ms);
    *ret = l.slope * w->param[0] + l.intercept;
    return true;
}

/* Holt's linear method: level and trend, both smoothed. */
bool over_smoothing(const window *w, double *ret)
{
    double level_factor = w->param[0], trend_factor = w->param[1];
    if (w->len < 2)
        return false;
    double before = 0, level = w->at[0].v, trend = w->at[1].v - w->at[0].v;
    for (size_t i = 1; i < w->len; i++) {
        double x = level_factor * w->at[i].v;
        if (i > 1)
            trend = trend_factor * (level - before) + (1 - trend_factor) * trend;
        double y = (1 - level_factor) * (level + trend);
        before = level;
        level = x + y;
    }
    *ret = level;
    return true;
}

err_kind check_smoothing(eval *ev, const ast *call, const grid *g, const double *const params[2])
{
    UNUSED(call);
    static const char *const names[] = { "smoothing", "trend" };
    static const char *const shorts[] = { "sf", "tf" };
    for (int p = 0; p < 2; p++)
        for (size_t i = 0; i < g->n; i++)
            if (!(params[p][i] > 0 && params[p][i] < 1))
                return eval_fail(ev, "invalid %s factor. Expected: 0 < %s < 1, got: %f", names[p], shorts[p], params[p][i]);
    return OK;
}
