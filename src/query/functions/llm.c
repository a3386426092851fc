/* Functions of galen's own, under their own names: what operators of LLM services ask and PromQL cannot say.
 *
 *   slo_burn     Beyer et al., "The Site Reliability Workbook", 2018, chapter 5: how fast an error budget is spent
 *   forecast     the line of least squares with the prediction interval of a simple linear regression
 *   llm_goodput  requests per second that meet both limits (Zhong et al., "DistServe", OSDI 2024), as well as two
 *                histograms can tell: they know how many met each limit, not how many met both (Frechet's bounds) */
#include "query/functions/functions.h"
#include <stdlib.h>

/* ---- which of expected, lower and upper ---- */

typedef enum bound_kind { BOUND_LOWER, BOUND_EXPECTED, BOUND_UPPER, BOUND_COUNT } bound_kind;
static const str bound_names[BOUND_COUNT] = { STR_INIT("lower"), STR_INIT("expected"), STR_INIT("upper") };

typedef struct bounds { bool labelled; bool want[BOUND_COUNT]; } bounds;

/* No argument or "all": three series told apart by the label "bound". One name: that one, without the label. */
CHECKED static err_kind bounds_read(eval *ev, const ast *call, size_t arg, bounds *ret)
{
    str text = STR("all");
    if (arg < call->call.count && eval_string(ev, call->call.args[arg], &text))
        return ev->e->kind;
    bool known = ret->labelled = str_is(text, "all");
    for (int b = 0; b < BOUND_COUNT; b++)
        known |= ret->want[b] = ret->labelled || str_eq(text, bound_names[b]);
    if (known)
        return OK;
    return eval_fail(ev, "%s: cannot answer \"%" STR_FMT "\"; choose \"lower\", \"expected\", \"upper\" or \"all\"", call->call.row->name, STR_ARG(text));
}

/* Series for each bound that is wanted; *ret_first: the first one's number. */
CHECKED static err_kind bounds_add(eval *ev, const bounds *b, labels l, value *ret, size_t *ret_first)
{
    *ret_first = ret->len;
    for (int k = 0; k < BOUND_COUNT; k++) {
        labels named = l;
        if (!b->want[k])
            continue;
        if ((b->labelled && labels_with(ev, l, STR("bound"), bound_names[k], &named)) || value_add(ret, named))
            return ev->e->kind;
    }
    return OK;
}

static void bounds_put(const bounds *b, value *ret, size_t first, size_t step, const double *by_bound)
{
    for (int k = 0; k < BOUND_COUNT; k++)
        if (b->want[k])
            ret->at[first++].v[step] = by_bound[k];
}

/* ---- slo_burn(ratio, objective) ---- */

CHECKED static err_kind check_objective(eval *ev, const double *objective, size_t steps)
{
    for (size_t i = 0; i < steps; i++)
        if (!(objective[i] > 0 && objective[i] < 1))
            return eval_fail(ev, "slo_burn: the objective must lie between 0 and 1 (99 %% is 0.99), got %s", format_go(objective[i]).text);
    return OK;
}

/* 1 spends the error budget exactly in its period, 10 in a tenth of it, 0 not at all. */
err_kind call_slo_burn(eval *ev, const ast *call, const grid *g, value *ret)
{
    double *objective = NULL;
    err_kind k = eval_scalar(ev, call->call.args[1], g, &objective);
    if (!k)
        k = check_objective(ev, objective, g->n);
    if (!k)
        k = eval_node(ev, call->call.args[0], g, ret);
    value_drop_histograms(ret);
    for (size_t i = 0; !k && i < ret->len; i++) {
        double *v = ret->at[i].v;
        for (size_t s = 0; s < g->n; s++) {
            if (slot_empty(v[s]))
                continue;
            if (v[s] < 0 || v[s] > 1)
                eval_warn(ev, call->call.args[0], "slo_burn wants the ratio of good events to all, between 0 and 1, got %s", format_go(v[s]).text);
            v[s] = (1 - v[s]) / (1 - objective[s]);
        }
        k = eval_spend(ev, g->n);
    }
    mem_free(objective);
    return k ? k : value_drop_names(ret, false);
}

/* ---- forecast(v[range], seconds, which) ---- */

/* Two-sided 95 % of Student's t by degrees of freedom; beyond the table the normal distribution's is close enough. */
static double student_t(size_t freedom)
{
    static const double t[] = { 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
                                2.120,  2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042 };
    return freedom <= COUNT_OF(t) ? t[freedom - 1] : 1.96 + 2.4 / (double)freedom;
}

#define FORECAST_MIN_SAMPLES 3 /* two make a line, the third tells how good it is */

/* The line through the window, `ahead_s` after `at_ms`, and where the next sample will lie 19 times of 20 if the samples
 * scatter about a line without memory. */
static void predict(const sample *at, size_t n, int64_t at_ms, double ahead_s, double *by_bound)
{
    double x_mean = 0, y_mean = 0, sxx = 0, sxy = 0, rest = 0;
    for (size_t i = 0; i < n; i++) {
        x_mean += ((double)(at[i].t_ms - at_ms) / 1e3 - x_mean) / (double)(i + 1);
        y_mean += (at[i].v - y_mean) / (double)(i + 1);
    }
    for (size_t i = 0; i < n; i++) {
        double dx = (double)(at[i].t_ms - at_ms) / 1e3 - x_mean;
        sxx += dx * dx;
        sxy += dx * (at[i].v - y_mean);
    }
    double slope = sxy / sxx, far = ahead_s - x_mean;
    for (size_t i = 0; i < n; i++) {
        double off = at[i].v - y_mean - slope * ((double)(at[i].t_ms - at_ms) / 1e3 - x_mean);
        rest += off * off;
    }
    double error = sqrt(rest / (double)(n - 2) * (1 + 1 / (double)n + far * far / sxx));
    by_bound[BOUND_EXPECTED] = y_mean + slope * far;
    by_bound[BOUND_LOWER] = by_bound[BOUND_EXPECTED] - student_t(n - 2) * error;
    by_bound[BOUND_UPPER] = by_bound[BOUND_EXPECTED] + student_t(n - 2) * error;
}

typedef struct forecaster {
    eval *ev;
    range_input input;
    sample_vec samples;
    double *ahead;             /* seconds, by step */
    bounds bounds;
} forecaster;

CHECKED static err_kind forecast_series(forecaster *f, size_t number, const grid *g, value *ret)
{
    size_t first, low = 0, high = 0;
    labels l;
    if (range_read(&f->input, number, &f->samples) || labels_without_name(f->ev, range_labels(&f->input, number), &l) ||
        bounds_add(f->ev, &f->bounds, l, ret, &first))
        return f->ev->e->kind;
    const sample *at = f->samples.at;
    for (size_t i = 0; i < g->n; i++) {
        double by_bound[BOUND_COUNT];
        int64_t end_ms = range_end(&f->input, g, i);
        while (high < f->samples.len && at[high].t_ms <= end_ms)
            high++;
        while (low < high && at[low].t_ms <= end_ms - f->input.range_ms)
            low++;
        if (eval_spend(f->ev, high - low))
            return f->ev->e->kind;
        if (high - low < FORECAST_MIN_SAMPLES)
            continue;
        predict(at + low, high - low, end_ms, f->ahead[i], by_bound);
        bounds_put(&f->bounds, ret, first, i, by_bound);
    }
    return OK;
}

err_kind call_forecast(eval *ev, const ast *call, const grid *g, value *ret)
{
    forecaster f = { .ev = ev };
    value_init(ret, ev, PROMQL_VECTOR, g->n);
    err_kind k = bounds_read(ev, call, 2, &f.bounds);
    if (!k)
        k = eval_scalar(ev, call->call.args[1], g, &f.ahead);
    for (size_t i = 0; !k && i < g->n; i++)
        if (!isfinite(f.ahead[i]))
            k = eval_fail(ev, "forecast: the horizon must be a number of seconds, got %s", format_go(f.ahead[i]).text);
    if (!k)
        k = range_open(&f.input, ev, call->call.args[0], g);
    for (size_t i = 0; !k && i < f.input.len; i++)
        k = forecast_series(&f, i, g, ret);
    if (f.input.ev)
        range_done(&f.input);
    vec_done(&f.samples);
    mem_free(f.ahead);
    return k ? k : value_join(ret, true);
}

/* ---- llm_goodput(ttft limit, itl limit, ttft buckets, itl buckets, which) ---- */

typedef struct limit_bucket { double bound; uint32_t series; } limit_bucket;
typedef struct limited { vec(limit_bucket) buckets; } limited;     /* one histogram */

/* The histograms of one argument, by their labels without le and name. */
typedef struct limit_side {
    double *limit;             /* seconds, by step */
    value in;
    labelmap map;
    vec(limited) all;
} limit_side;

static void limit_side_done(limit_side *s)
{
    for (size_t i = 0; i < s->all.len; i++)
        vec_done(&s->all.at[i].buckets);
    vec_done(&s->all);
    labelmap_done(&s->map);
    value_done(&s->in);
    mem_free(s->limit);
}

CHECKED static err_kind add_bucket(eval *ev, const ast *arg, limit_side *s, size_t i)
{
    static const str le = STR_INIT("le");
    label kept[LABELS_MAX];
    labels l = s->in.at[i].labels;
    double bound;
    size_t number;
    if (!str_to_double(labels_get(l, le), &bound)) {
        eval_warn(ev, arg, "llm_goodput wants rates of histogram buckets (…_bucket), but label \"le\" is missing or no number");
        return OK;
    }
    if (labelmap_put(&s->map, labels_filter(l, &le, 1, false, true, kept), &number))
        return ev->e->kind;
    if (number == s->all.len && vec_push(&s->all, ((limited){ 0 })))
        return err_nomem(ev->e);
    return vec_push(&s->all.at[number].buckets, ((limit_bucket){ bound, (uint32_t)i })) ? err_nomem(ev->e) : OK;
}

static int by_bound(const void *a, const void *b)
{
    double x = ((const limit_bucket *)a)->bound, y = ((const limit_bucket *)b)->bound;
    return (x > y) - (x < y);
}

CHECKED static err_kind limit_side_open(eval *ev, const ast *call, size_t which, const grid *g, limit_side *s)
{
    static const char *const names[] = { "TTFT", "ITL" };
    const ast *buckets = call->call.args[2 + which];
    labelmap_init(&s->map, ev);
    if (eval_scalar(ev, call->call.args[which], g, &s->limit))
        return ev->e->kind;
    for (size_t i = 0; i < g->n; i++)
        if (!(s->limit[i] > 0))
            return eval_fail(ev, "llm_goodput: the limit on %s is in seconds and must be greater than 0, got %s", names[which], format_go(s->limit[i]).text);
    if (eval_node(ev, buckets, g, &s->in))
        return ev->e->kind;
    for (size_t i = 0; i < s->in.len; i++)
        if (add_bucket(ev, buckets, s, i))
            return ev->e->kind;
    for (size_t i = 0; i < s->all.len; i++)
        qsort(s->all.at[i].buckets.at, s->all.at[i].buckets.len, sizeof *s->all.at[i].buckets.at, by_bound);
    return OK;
}

/* How many observations a second there are, and the share of them within the limit: linear inside a bucket, none of
 * those in the last one, which has no upper end. False: no histogram at this step. */
static bool share_within(const limit_side *s, const limited *one, size_t step, double *ret_total, double *ret_share)
{
    double below_bound = 0, below = 0, within = NAN, limit = s->limit[step];
    for (size_t i = 0; i < one->buckets.len; i++) {
        double bound = one->buckets.at[i].bound, count = s->in.at[one->buckets.at[i].series].v[step];
        if (slot_empty(count))
            continue;
        count = fmax(count, below);
        if (isnan(within) && limit <= bound)
            within = limit == bound ? count : isinf(bound) ? below : below + (count - below) * (limit - below_bound) / (bound - below_bound);
        below = count;
        below_bound = bound;
    }
    *ret_total = below;
    *ret_share = within / below;
    return isinf(below_bound) && below > 0;
}

CHECKED static err_kind goodput_series(eval *ev, const limit_side sides[2], size_t ttft, size_t itl, const bounds *b, const grid *g, value *ret)
{
    size_t first;
    if (bounds_add(ev, b, sides[0].map.keys[ttft], ret, &first) ||
        eval_spend(ev, g->n * (sides[0].all.at[ttft].buckets.len + sides[1].all.at[itl].buckets.len)))
        return ev->e->kind;
    for (size_t i = 0; i < g->n; i++) {
        double rate, tokens, first_share, gap_share, by_bound[BOUND_COUNT];
        if (!share_within(&sides[0], &sides[0].all.at[ttft], i, &rate, &first_share) ||
            !share_within(&sides[1], &sides[1].all.at[itl], i, &tokens, &gap_share))
            continue;
        by_bound[BOUND_LOWER] = rate * fmax(0, first_share + gap_share - 1);
        by_bound[BOUND_EXPECTED] = rate * first_share * gap_share;
        by_bound[BOUND_UPPER] = rate * fmin(first_share, gap_share);
        bounds_put(b, ret, first, i, by_bound);
    }
    return OK;
}

/* Histograms of the two sides belong together where their labels agree. */
err_kind call_llm_goodput(eval *ev, const ast *call, const grid *g, value *ret)
{
    limit_side sides[2] = { 0 };
    bounds b;
    value_init(ret, ev, PROMQL_VECTOR, g->n);
    err_kind k = bounds_read(ev, call, 4, &b);
    for (size_t side = 0; !k && side < 2; side++)
        k = limit_side_open(ev, call, side, g, &sides[side]);
    for (size_t i = 0; !k && i < sides[0].all.len; i++) {
        size_t itl;
        k = labelmap_put(&sides[1].map, sides[0].map.keys[i], &itl); /* a new number: nobody had these labels */
        if (!k && itl < sides[1].all.len)
            k = goodput_series(ev, sides, i, itl, &b, g, ret);
        else if (!k)
            eval_info(ev, call->call.args[3], "llm_goodput found no inter-token latencies with the labels of some times to first token");
    }
    for (size_t side = 0; side < 2; side++)
        limit_side_done(&sides[side]);
    return k ? k : value_join(ret, false);
}
