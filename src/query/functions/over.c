/* *_over_time and its kin. Sums are compensated exactly where, and in the order, Prometheus does it. */
#include "query/functions/functions.h"

bool over_sum(const window *w, double *ret)
{
    kahan k = { 0 };
    for (size_t i = 0; i < w->len; i++)
        kahan_add(&k, w->at[i].v);
    *ret = isinf(k.sum) ? k.sum : k.sum + k.c;
    return true;
}

bool over_avg(const window *w, double *ret)
{
    kahan_mean m = { 0 };
    for (size_t i = 0; i < w->len; i++)
        kahan_mean_add(&m, w->at[i].v);
    *ret = kahan_mean_value(&m);
    return true;
}

/* The place of the extreme; a number beats NaN. `or_equal`: the last of several. */
static size_t extreme(const window *w, bool largest, bool or_equal)
{
    size_t best = 0;
    for (size_t i = 1; i < w->len; i++) {
        double v = w->at[i].v, b = w->at[best].v;
        if ((largest ? v > b : v < b) || isnan(b) || (or_equal && v == b))
            best = i;
    }
    return best;
}

bool over_min(const window *w, double *ret) { return *ret = w->at[extreme(w, false, false)].v, true; }
bool over_max(const window *w, double *ret) { return *ret = w->at[extreme(w, true, false)].v, true; }
bool over_count(const window *w, double *ret) { return *ret = (double)w->len, true; }
bool over_last(const window *w, double *ret) { return *ret = w->at[w->len - 1].v, true; }
bool over_first(const window *w, double *ret) { return *ret = w->at[0].v, true; }
bool over_present(const window *w, double *ret) { return UNUSED(w), *ret = 1, true; }
bool over_ts_of_min(const window *w, double *ret) { return *ret = (double)w->at[extreme(w, false, true)].t_ms / 1e3, true; }
bool over_ts_of_max(const window *w, double *ret) { return *ret = (double)w->at[extreme(w, true, true)].t_ms / 1e3, true; }
bool over_ts_of_first(const window *w, double *ret) { return *ret = (double)w->at[0].t_ms / 1e3, true; }
bool over_ts_of_last(const window *w, double *ret) { return *ret = (double)w->at[w->len - 1].t_ms / 1e3, true; }

/* Welford's algorithm on compensated sums. */
bool over_stdvar(const window *w, double *ret)
{
    kahan mean = { 0 }, squares = { 0 };
    for (size_t i = 0; i < w->len; i++) {
        double v = w->at[i].v, delta = v - (mean.sum + mean.c);
        kahan_add(&mean, delta / (double)(i + 1));
        kahan_add(&squares, delta * (v - (mean.sum + mean.c)));
    }
    *ret = (squares.sum + squares.c) / (double)w->len;
    return true;
}

bool over_stddev(const window *w, double *ret)
{
    over_stdvar(w, ret);
    *ret = sqrt(*ret);
    return true;
}

static void copy_values(const window *w)
{
    for (size_t i = 0; i < w->len; i++)
        w->scratch[i] = w->at[i].v;
}

bool over_quantile(const window *w, double *ret)
{
    copy_values(w);
    *ret = quantile_of(w->param[0], w->scratch, w->len);
    return true;
}

err_kind check_quantile(eval *ev, const ast *call, const grid *g, const double *const params[2])
{
    for (size_t i = 0; i < g->n; i++)
        if (isnan(params[0][i]) || params[0][i] < 0 || params[0][i] > 1)
            eval_warn(ev, call->call.args[0], "quantile value should be between 0 and 1, got %s", format_go(params[0][i]).text);
    return OK;
}

/* Median of the distances to the median; a NaN has no distance to anything. */
bool over_mad(const window *w, double *ret)
{
    copy_values(w);
    for (size_t i = 0; i < w->len; i++)
        if (isnan(w->at[i].v))
            return *ret = NAN, true;
    double median = quantile_of(0.5, w->scratch, w->len);
    for (size_t i = 0; i < w->len; i++)
        w->scratch[i] = fabs(w->scratch[i] - median);
    *ret = quantile_of(0.5, w->scratch, w->len);
    return true;
}

bool over_changes(const window *w, double *ret)
{
    *ret = 0;
    for (size_t i = 1; i < w->len; i++)
        *ret += w->at[i].v != w->at[i - 1].v && !(isnan(w->at[i].v) && isnan(w->at[i - 1].v));
    return true;
}

bool over_resets(const window *w, double *ret)
{
    *ret = w->resets[w->len - 1] - w->resets[0];
    return true;
}
