/* Arithmetic on each sample by itself. */
#include "query/functions/functions.h"

double math_sgn(double v) { return v < 0 ? -1 : v > 0 ? 1 : v; }
double math_deg(double v) { return v * 180 / M_PI; }
double math_rad(double v) { return v * M_PI / 180; }

err_kind call_pi(eval *ev, const ast *call, const grid *g, value *ret)
{
    UNUSED(call);
    return value_constant(ret, ev, g->n, M_PI);
}

/* fmin and fmax, but NaN wins, as in Go. */
static double go_min(double a, double b) { return isnan(a) || isnan(b) ? NAN : a < b ? a : b; }
static double go_max(double a, double b) { return isnan(a) || isnan(b) ? NAN : a > b ? a : b; }

static err_kind of_two(eval *ev, const ast *call, const grid *g, double (*fn)(double, double), value *ret)
{
    double *right = NULL;
    err_kind k = eval_node(ev, call->call.args[0], g, ret);
    if (!k)
        k = eval_scalar(ev, call->call.args[1], g, &right);
    for (size_t i = 0; !k && i < g->n; i++)
        ret->at[0].v[i] = fn(ret->at[0].v[i], right[i]);
    mem_free(right);
    return k;
}

err_kind call_min_of(eval *ev, const ast *call, const grid *g, value *ret) { return of_two(ev, call, g, go_min, ret); }
err_kind call_max_of(eval *ev, const ast *call, const grid *g, value *ret) { return of_two(ev, call, g, go_max, ret); }

typedef double (*bound_fn)(double v, double low, double high);
static double bound_both(double v, double low, double high)
{
    return low > high ? EMPTY_SLOT : go_max(low, go_min(high, v));
}
static double bound_low(double v, double low, double high) { return UNUSED(high), go_max(low, v); }
static double bound_high(double v, double high, double unused) { return UNUSED(unused), go_min(high, v); }
static double round_to(double v, double nearest, double unused)
{
    UNUSED(unused);
    double inverse = 1 / nearest; /* as Prometheus: 1/0.1 is exact where 0.1 is not */
    return floor(v * inverse + 0.5) / inverse;
}

/* fn(vector, a, b) on every sample; a missing argument is `preset`. */
static err_kind each(eval *ev, const ast *call, const grid *g, bound_fn fn, double preset, value *ret)
{
    double *args[2] = { NULL, NULL };
    err_kind k = eval_node(ev, call->call.args[0], g, ret);
    for (size_t i = 1; !k && i < call->call.count; i++)
        k = eval_scalar(ev, call->call.args[i], g, &args[i - 1]);
    value_drop_histograms(ret);
    for (size_t i = 0; !k && i < ret->len; i++)
        for (size_t s = 0; s < ret->steps; s++)
            if (!slot_empty(ret->at[i].v[s]))
                ret->at[i].v[s] = fn(ret->at[i].v[s], args[0] ? args[0][s] : preset, args[1] ? args[1][s] : preset);
    mem_free(args[0]);
    mem_free(args[1]);
    return k ? k : value_drop_names(ret, false);
}

err_kind call_round(eval *ev, const ast *call, const grid *g, value *ret) { return each(ev, call, g, round_to, 1, ret); }
err_kind call_clamp(eval *ev, const ast *call, const grid *g, value *ret) { return each(ev, call, g, bound_both, 0, ret); }
err_kind call_clamp_min(eval *ev, const ast *call, const grid *g, value *ret) { return each(ev, call, g, bound_low, 0, ret); }
err_kind call_clamp_max(eval *ev, const ast *call, const grid *g, value *ret) { return each(ev, call, g, bound_high, 0, ret); }
