/* Range functions over windows with native histograms. Prometheus: promql/functions.go, histogramRate, instantValue,
 * aggrHistOverTime, funcResets, funcChanges. */
#include "query/functions/functions.h"

/* ---- annotations ---- */

str metric_part(eval *ev, str name)
{
    return str_empty(name) ? STR("") : arena_printf(ev->arena, " for metric name \"%" STR_FMT "\"", STR_ARG(name));
}

void warn_mixed_kinds(const native_window *w)
{
    str part = metric_part(w->ev, w->name);
    eval_warn(w->ev, w->arg, "encountered a mix of histograms and floats%" STR_FMT, STR_ARG(part));
}

void warn_mixed_schemas(const native_window *w)
{
    str part = metric_part(w->ev, w->name);
    eval_warn(w->ev, w->arg, "vector contains a mix of histograms with exponential and custom buckets schemas%" STR_FMT, STR_ARG(part));
}

static void warn_not_counter(const native_window *w)
{
    eval_warn(w->ev, w->arg, "this native histogram metric is not a counter: \"%" STR_FMT "\"", STR_ARG(w->name));
}

static void warn_not_gauge(const native_window *w)
{
    eval_warn(w->ev, w->arg, "this native histogram metric is not a gauge: \"%" STR_FMT "\"", STR_ARG(w->name));
}

static void tell_ignored(const native_window *w)
{
    str part = metric_part(w->ev, w->name);
    eval_info(w->ev, w->arg, "ignored histograms in a range containing both floats and histograms%" STR_FMT, STR_ARG(part));
}

static const char *const combinings[] = { "aggregation", "addition", "subtraction" };

void tell_combined(eval *ev, const ast *at, const histogram_sum *s, combining how)
{
    if (s->reset_conflict)
        eval_warn(ev, at, "conflicting counter resets during histogram %s", combinings[how]);
    if (s->bounds_reconciled)
        eval_info(ev, at, "mismatched custom buckets were reconciled during %s", combinings[how]);
}

/* Incompatible buckets are told and leave the slot empty. */
CHECKED static err_kind told(const native_window *w, err_kind k)
{
    if (k == ERR_INVALID) {
        warn_mixed_schemas(w);
        return OK;
    }
    return k == ERR_NOMEM ? err_nomem(w->ev->e) : k;
}

static err_kind put(const native_window *w, const histogram *h, slot *ret)
{
    ret->h = h;
    return h ? OK : err_nomem(w->ev->e);
}

err_kind native_ignored(const native_window *w, window_fn over, slot *ret)
{
    if (w->f.len == 0)
        return OK;
    if (w->h_len)
        tell_ignored(w);
    over(&w->f, &ret->v);
    return OK;
}

/* ---- rate, increase, delta ---- */

/* What the first histogram is worth: nothing if the counter fell right behind it, and then its buckets need not fit. */
static histogram first_of(const native_window *w, bool counter)
{
    const histogram *second = w->h[1].h;
    if (!counter || !histogram_fell(second, w->h[0].h))
        return *w->h[0].h;
    return (histogram){ .schema = second->schema, .bounds = second->bounds, .bound_count = second->bound_count };
}

/* False: exponential and custom buckets in one window. *ret_schema: the coarsest. */
static bool one_schema(const native_window *w, const histogram *first, bool counter, int8_t *ret_schema)
{
    const histogram *last = w->h[w->h_len - 1].h;
    *ret_schema = MIN(first->schema, last->schema);
    if (histogram_is_custom(last) != histogram_is_custom(first))
        return false;
    for (size_t i = 1; counter && i + 1 < w->h_len; i++) {
        if (w->h[i].h->reset == HISTOGRAM_GAUGE)
            warn_not_counter(w);
        *ret_schema = MIN(*ret_schema, w->h[i].h->schema);
        if (histogram_is_custom(w->h[i].h) != histogram_is_custom(first))
            return false;
    }
    return true;
}

/* last - first, and what was reached before each fall. */
CHECKED static err_kind gained_histogram(const native_window *w, const histogram *first, bool counter, histogram_sum *s)
{
    const histogram *before = first;
    err_kind k = histogram_sum_add(s, first, -1);
    if (!k && s->bounds_reconciled)
        tell_combined(w->ev, w->arg, &(histogram_sum){ .bounds_reconciled = true }, COMBINE_SUBTRACTION);
    s->bounds_reconciled = s->reset_conflict = false;
    for (size_t i = 1; !k && counter && i < w->h_len; before = w->h[i++].h)
        if (histogram_fell(w->h[i].h, before))
            k = histogram_sum_add(s, before, 1);
    if (!k && s->bounds_reconciled)
        tell_combined(w->ev, w->arg, &(histogram_sum){ .bounds_reconciled = true }, COMBINE_ADDITION);
    return k;
}

static double extrapolation(const native_window *w, bool counter, bool per_second, double result_count)
{
    const histogram_sample *first = &w->h[0], *last = &w->h[w->h_len - 1];
    double to_start = (double)(first->t_ms - w->f.start_ms) / 1e3, to_end = (double)(w->f.end_ms - last->t_ms) / 1e3;
    double sampled = (double)(last->t_ms - first->t_ms) / 1e3, gap = sampled / (double)(w->h_len - 1);
    if (to_start >= gap * 1.1)
        to_start = gap / 2;
    if (counter && result_count > 0 && first->h->count >= 0)
        to_start = fmin(to_start, sampled * (first->h->count / result_count));
    if (to_end >= gap * 1.1)
        to_end = gap / 2;
    double factor = (sampled + to_start + to_end) / sampled;
    return per_second ? factor / w->f.range_s : factor;
}

CHECKED static err_kind rate_of_histograms(const native_window *w, bool counter, bool per_second, slot *ret)
{
    const histogram *last = w->h[w->h_len - 1].h;
    if (counter && (w->h[0].h->reset == HISTOGRAM_GAUGE || last->reset == HISTOGRAM_GAUGE))
        warn_not_counter(w);
    histogram first = first_of(w, counter);
    int8_t schema;
    if (!one_schema(w, &first, counter, &schema))
        return told(w, ERR_INVALID);
    histogram_sum s = { 0 };
    err_kind k = histogram_sum_set(&s, last);
    if (!k) {
        histogram_sum_coarsen(&s, schema);
        k = gained_histogram(w, &first, counter, &s);
    }
    if (!k) {
        if (!counter && (w->h[0].h->reset != HISTOGRAM_GAUGE || last->reset != HISTOGRAM_GAUGE))
            warn_not_gauge(w);
        histogram_sum_scale(&s, extrapolation(w, counter, per_second, s.count.sum));
        s.reset = HISTOGRAM_GAUGE;
        k = put(w, histogram_sum_value(&s, w->ev->arena, true), ret);
    }
    histogram_sum_done(&s);
    return told(w, k);
}

static err_kind rate(const native_window *w, bool counter, bool per_second, window_fn over, slot *ret)
{
    if (w->f.len && w->h_len) {
        warn_mixed_kinds(w);
        return OK;
    }
    if (w->mode != RANGE_PLAIN)
        return extended_rate(w, counter, per_second, ret);
    if (w->f.len)
        return over(&w->f, &ret->v), OK;
    return w->h_len > 1 ? rate_of_histograms(w, counter, per_second, ret) : OK;
}

err_kind native_rate(const native_window *w, slot *ret) { return rate(w, true, true, over_rate, ret); }
err_kind native_increase(const native_window *w, slot *ret) { return rate(w, true, false, over_increase, ret); }
err_kind native_delta(const native_window *w, slot *ret) { return rate(w, false, false, over_delta, ret); }

/* ---- samples of both kinds in order ---- */

typedef struct mixed_sample { int64_t t_ms; double v; const histogram *h; } mixed_sample;
typedef struct mixed_walk { const native_window *w; size_t f, h; } mixed_walk;

static bool mixed_next(mixed_walk *m, mixed_sample *ret)
{
    const native_window *w = m->w;
    bool float_left = m->f < w->f.len, histogram_left = m->h < w->h_len;
    if (!float_left && !histogram_left)
        return false;
    if (!histogram_left || (float_left && w->f.at[m->f].t_ms < w->h[m->h].t_ms)) {
        *ret = (mixed_sample){ w->f.at[m->f].t_ms, w->f.at[m->f].v, NULL };
        m->f++;
    } else {
        *ret = (mixed_sample){ w->h[m->h].t_ms, EMPTY_SLOT, w->h[m->h].h };
        m->h++;
    }
    return true;
}

static bool differ(const mixed_sample *a, const mixed_sample *b)
{
    if (!a->h && !b->h)
        return a->v != b->v && !(isnan(a->v) && isnan(b->v));
    return !a->h || !b->h || !histogram_same(b->h, a->h);
}

static bool fell(const mixed_sample *a, const mixed_sample *b)
{
    if (!a->h && !b->h)
        return b->v < a->v;
    return !a->h || !b->h || histogram_fell(b->h, a->h);
}

static err_kind count_pairs(const native_window *w, bool (*is)(const mixed_sample *, const mixed_sample *), slot *ret)
{
    mixed_walk m = { .w = w };
    mixed_sample before, now;
    ret->v = 0;
    for (bool more = mixed_next(&m, &before); more && mixed_next(&m, &now); before = now)
        ret->v += is(&before, &now);
    return OK;
}

err_kind native_changes(const native_window *w, slot *ret) { return count_pairs(w, differ, ret); }
err_kind native_resets(const native_window *w, slot *ret) { return count_pairs(w, fell, ret); }

/* ---- the last two ---- */

CHECKED static err_kind histogram_step(const native_window *w, const mixed_sample two[2], bool per_second, slot *ret)
{
    const histogram *before = two[0].h, *now = two[1].h;
    histogram_sum s = { 0 };
    if (per_second && (now->reset == HISTOGRAM_GAUGE || before->reset == HISTOGRAM_GAUGE))
        warn_not_counter(w);
    if (!per_second && (now->reset != HISTOGRAM_GAUGE || before->reset != HISTOGRAM_GAUGE))
        warn_not_gauge(w);
    err_kind k = histogram_sum_set(&s, now);
    if (!k && (!per_second || !histogram_fell(now, before)))
        k = histogram_sum_add(&s, before, -1);
    if (!k) {
        s.reset_conflict = false; /* it was looked after just now */
        tell_combined(w->ev, w->arg, &s, COMBINE_SUBTRACTION);
        s.reset = HISTOGRAM_GAUGE;
        if (per_second)
            histogram_sum_divide(&s, (double)(two[1].t_ms - two[0].t_ms) / 1e3);
        k = put(w, histogram_sum_value(&s, w->ev->arena, true), ret);
    }
    histogram_sum_done(&s);
    return told(w, k);
}

static err_kind last_two(const native_window *w, bool per_second, slot *ret)
{
    mixed_walk m = { .w = w };
    mixed_sample two[2] = { { 0 } }, now;
    size_t n = 0;
    for (; mixed_next(&m, &now); n++)
        two[0] = two[1], two[1] = now;
    if (n < 2 || two[0].t_ms == two[1].t_ms)
        return OK;
    if (!two[0].h != !two[1].h) {
        warn_mixed_kinds(w);
        return OK;
    }
    if (two[0].h)
        return histogram_step(w, two, per_second, ret);
    return per_second ? over_irate(&w->f, &ret->v) : over_idelta(&w->f, &ret->v), OK;
}

err_kind native_irate(const native_window *w, slot *ret) { return last_two(w, true, ret); }
err_kind native_idelta(const native_window *w, slot *ret) { return last_two(w, false, ret); }

/* ---- sum and mean ---- */

#define NEARLY_TOO_LARGE 4e307 /* sums of such numbers may overflow: then the step is taken on a copy first */

void histogram_mean_done(histogram_mean *m)
{
    histogram_sum_done(&m->sum);
    histogram_sum_done(&m->spare);
}

CHECKED static err_kind add_incrementally(histogram_mean *m, const histogram *h)
{
    histogram_sum_scale(&m->sum, (m->count - 1) / m->count);
    return histogram_sum_add(&m->sum, h, m->count);
}

/* As long as nothing overflows, a mean is the sum divided at the end. */
CHECKED static err_kind add_carefully(histogram_mean *m, const histogram *h)
{
    if (histogram_sum_copy(&m->spare, &m->sum))
        return ERR_NOMEM;
    err_kind k = histogram_sum_add(&m->sum, h, 1);
    if (k || !histogram_sum_overflown(&m->sum))
        return k;
    histogram_sum swapped = m->sum;
    m->sum = m->spare;
    m->spare = swapped;
    m->incremental = true;
    histogram_sum_divide(&m->sum, m->count - 1);
    return add_incrementally(m, h);
}

/* `count` stays 0 until the first one; reset hints are tracked apart, since a sum forgets them once they conflicted. */
err_kind histogram_mean_add(histogram_mean *m, const histogram *h)
{
    m->saw_reset |= h->reset == HISTOGRAM_RESET_YES;
    m->saw_no_reset |= h->reset == HISTOGRAM_RESET_NO;
    if (++m->count == 1) {
        m->sum.compensated = true;
        return histogram_sum_set(&m->sum, h);
    }
    if (m->incremental)
        return add_incrementally(m, h);
    bool careful = !m->only_sum && (histogram_sum_largest(&m->sum) > NEARLY_TOO_LARGE || fabs(h->count) > NEARLY_TOO_LARGE || fabs(h->sum) > NEARLY_TOO_LARGE);
    return careful ? add_carefully(m, h) : histogram_sum_add(&m->sum, h, 1);
}

histogram *histogram_mean_value(histogram_mean *m, arena *a)
{
    if (!m->only_sum && !m->incremental)
        histogram_sum_divide(&m->sum, m->count);
    return histogram_sum_value(&m->sum, a, true);
}

void histogram_mean_tell(const histogram_mean *m, eval *ev, const ast *at)
{
    histogram_sum seen = { .reset_conflict = m->saw_reset && m->saw_no_reset, .bounds_reconciled = m->sum.bounds_reconciled };
    tell_combined(ev, at, &seen, COMBINE_AGGREGATION);
}

static err_kind sum_or_mean(const native_window *w, bool mean, slot *ret)
{
    if (w->f.len && w->h_len) {
        warn_mixed_kinds(w);
        return OK;
    }
    histogram_mean m = { .only_sum = !mean };
    err_kind k = OK;
    for (size_t i = 0; !k && i < w->h_len; i++)
        k = histogram_mean_add(&m, w->h[i].h);
    if (!k) {
        histogram_mean_tell(&m, w->ev, w->arg);
        k = put(w, histogram_mean_value(&m, w->ev->arena), ret);
    }
    histogram_mean_done(&m);
    return told(w, k);
}

err_kind native_sum(const native_window *w, slot *ret) { return sum_or_mean(w, false, ret); }
err_kind native_avg(const native_window *w, slot *ret) { return sum_or_mean(w, true, ret); }

/* ---- the ones that do not look inside ---- */

err_kind native_count(const native_window *w, slot *ret)
{
    ret->v = (double)(w->f.len + w->h_len);
    return OK;
}

err_kind native_present(const native_window *w, slot *ret)
{
    UNUSED(w);
    ret->v = 1;
    return OK;
}

static mixed_sample outermost(const native_window *w, bool last)
{
    size_t f = last ? w->f.len - 1 : 0, h = last ? w->h_len - 1 : 0;
    bool is_float = w->h_len == 0 || (w->f.len && (last ? w->f.at[f].t_ms > w->h[h].t_ms : w->f.at[f].t_ms < w->h[h].t_ms));
    if (is_float)
        return (mixed_sample){ w->f.at[f].t_ms, w->f.at[f].v, NULL };
    return (mixed_sample){ w->h[h].t_ms, EMPTY_SLOT, w->h[h].h };
}

static err_kind pick(const native_window *w, bool last, slot *ret)
{
    mixed_sample s = outermost(w, last);
    ret->v = s.v;
    return s.h ? put(w, histogram_copy(w->ev->arena, s.h), ret) : OK;
}

err_kind native_last(const native_window *w, slot *ret) { return pick(w, true, ret); }
err_kind native_first(const native_window *w, slot *ret) { return pick(w, false, ret); }

err_kind native_ts_of_last(const native_window *w, slot *ret)
{
    ret->v = (double)outermost(w, true).t_ms / 1e3;
    return OK;
}

err_kind native_ts_of_first(const native_window *w, slot *ret)
{
    ret->v = (double)outermost(w, false).t_ms / 1e3;
    return OK;
}
