/* Anchored and smoothed range selectors. Prometheus: promql/functions.go, extendedRate, interpolate,
 * correctForCounterResets; proposal "extended range selectors semantics".
 *
 *   anchored   the window begins with the last sample at or before its start, taken as if it stood right there
 *   smoothed   at both borders the value is interpolated between the samples around it
 * Nothing is extrapolated. The window's samples are that of native_window: at most one before and one behind it. */
#include "query/functions/functions.h"

/* ---- floats ---- */

/* A counter that fell between the two starts from zero at the left border, and went on rising at the right one. */
static double between(const sample *from, const sample *to, int64_t t_ms, bool counter, bool left_edge)
{
    double low = from->v, high = to->v;
    if (counter && high < low) {
        if (left_edge)
            low = 0;
        else
            high += low;
    }
    return low + (high - low) * (double)(t_ms - from->t_ms) / (double)(to->t_ms - from->t_ms);
}

static void extended_floats(const native_window *w, bool counter, bool per_second, slot *ret)
{
    const window *f = &w->f;
    const sample *first = f->at, *last = f->at + f->len - 1;
    bool smoothed = w->mode == RANGE_SMOOTHED;
    double left = smoothed && first->t_ms < f->start_ms ? between(first, first + 1, f->start_ms, counter, true) : first->v;
    double right = smoothed && f->len > 1 && last->t_ms > f->end_ms ? between(last - 1, last, f->end_ms, counter, false) : last->v;
    double result = right - left, before = left;
    if (counter) {
        first += first->t_ms <= f->start_ms;
        last -= last->t_ms >= f->end_ms;
        for (const sample *s = first; s <= last; before = s++->v)
            if (s->v < before)
                result += before;
        if (right < before)
            result += before;
    }
    ret->v = per_second ? result / f->range_s : result;
}

/* ---- histograms ---- */

err_kind extended_between(arena *a, const histogram_sample *from, const histogram_sample *to, int64_t t_ms, bool counter, bool left_edge, const histogram **ret)
{
    double share = (double)(t_ms - from->t_ms) / (double)(to->t_ms - from->t_ms);
    bool fell = counter && histogram_fell(to->h, from->h);
    histogram_sum s = { 0 };
    if (histogram_is_custom(from->h) != histogram_is_custom(to->h))
        return ERR_INVALID;
    err_kind k = histogram_sum_set(&s, to->h);
    if (!k && !fell)
        k = histogram_sum_add(&s, from->h, -1);
    if (!k)
        histogram_sum_scale(&s, share);
    if (!k && !(fell && left_edge))
        k = histogram_sum_add(&s, from->h, 1);
    if (!k) {
        s.reset = from->h->reset == HISTOGRAM_GAUGE ? HISTOGRAM_GAUGE : HISTOGRAM_RESET_UNKNOWN;
        *ret = histogram_sum_value(&s, a, true);
        k = *ret ? OK : ERR_NOMEM;
    }
    histogram_sum_done(&s);
    return k;
}

typedef struct borders { const histogram *left, *right; bool left_made, right_made; } borders;

CHECKED static err_kind find_borders(const native_window *w, bool counter, borders *ret)
{
    const histogram_sample *first = w->h, *last = w->h + w->h_len - 1;
    bool smoothed = w->mode == RANGE_SMOOTHED;
    *ret = (borders){ first->h, last->h, smoothed && first->t_ms < w->f.start_ms, smoothed && w->h_len > 1 && last->t_ms > w->f.end_ms };
    err_kind k = OK;
    if (ret->left_made)
        k = extended_between(w->ev->arena, first, first + 1, w->f.start_ms, counter, true, &ret->left);
    if (!k && ret->right_made)
        k = extended_between(w->ev->arena, last - 1, last, w->f.end_ms, counter, false, &ret->right);
    return k;
}

static void doubt_kind(const native_window *w, bool counter)
{
    bool gauges = false;
    for (size_t i = 0; i < w->h_len; i++)
        gauges |= w->h[i].h->reset == HISTOGRAM_GAUGE;
    if (counter && gauges)
        eval_warn(w->ev, w->arg, "this native histogram metric is not a counter: \"%" STR_FMT "\"", STR_ARG(w->name));
    if (!counter && (w->h[0].h->reset != HISTOGRAM_GAUGE || w->h[w->h_len - 1].h->reset != HISTOGRAM_GAUGE))
        eval_warn(w->ev, w->arg, "this native histogram metric is not a gauge: \"%" STR_FMT "\"", STR_ARG(w->name));
}

/* right - left, and what was reached before each fall between samples inside. A border that was interpolated has its
 * fall accounted for. If the counter fell right behind the left border, that one need not even have fitting buckets. */
CHECKED static err_kind add_up(const native_window *w, const borders *b, bool counter, histogram_sum *s)
{
    size_t first = w->h[0].t_ms <= w->f.start_ms ? 1 : 0, end = w->h_len - (b->right_made ? 1 : 0);
    bool starts_anew = counter && !b->left_made && end > 1 && histogram_fell(w->h[1].h, b->left);
    const histogram *before = first ? b->left : w->h[0].h;
    err_kind k = histogram_sum_set(s, b->right);
    if (!k && !starts_anew)
        k = histogram_sum_add(s, b->left, -1);
    for (size_t i = MAX(first, (size_t)1); !k && counter && i < end; before = w->h[i++].h) {
        bool accounted = i == 1 && (b->left_made || starts_anew);
        if (!accounted && histogram_fell(w->h[i].h, before))
            k = histogram_sum_add(s, before, 1);
    }
    return k;
}

CHECKED static err_kind extended_histograms(const native_window *w, bool counter, bool per_second, slot *ret)
{
    borders b;
    histogram_sum s = { 0 };
    doubt_kind(w, counter);
    err_kind k = find_borders(w, counter, &b);
    if (!k)
        k = add_up(w, &b, counter, &s);
    if (!k) {
        s.reset_conflict = false;
        tell_combined(w->ev, w->arg, &s, COMBINE_SUBTRACTION);
        if (per_second)
            histogram_sum_divide(&s, w->f.range_s);
        s.reset = HISTOGRAM_GAUGE;
        ret->h = histogram_sum_value(&s, w->ev->arena, true);
        k = ret->h ? OK : ERR_NOMEM;
    }
    histogram_sum_done(&s);
    if (k == ERR_INVALID) {
        warn_mixed_schemas(w);
        return OK;
    }
    return k ? err_nomem(w->ev->e) : OK;
}

err_kind extended_rate(const native_window *w, bool counter, bool per_second, slot *ret)
{
    if (w->h_len)
        return extended_histograms(w, counter, per_second, ret);
    extended_floats(w, counter, per_second, ret);
    return OK;
}
