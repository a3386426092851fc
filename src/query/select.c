/* From a selector to samples: compile its matchers, ask the store, decode, look back. */
#include "query/eval.h"
#include "base/regex.h"
#include "query/cost.h"
#include "query/parser.h"

/* There are no samples beyond what a store takes (2^53 ms); so far, no sum with ranges and offsets overflows. */
#define EVAL_TIME_MAX_MS (INT64_C(1) << 54)

err_kind eval_regex(eval *ev, str pattern, const regex **ret, err *e)
{
    regex *re = NULL;
    if (regex_compile(pattern, true, &re, e))
        return e->kind;
    if (vec_push(&ev->regexes, re)) {
        regex_free(re);
        return err_nomem(e);
    }
    *ret = re;
    return OK;
}

err_kind eval_matchers(eval *ev, const matcher *m, size_t n, matcher **ret)
{
    matcher *made = arena_array(ev->arena, matcher, MAX(n, 1u));
    if (!made)
        return err_nomem(ev->e);
    for (size_t i = 0; i < n; i++) {
        made[i] = m[i];
        if ((m[i].op == MATCH_RE || m[i].op == MATCH_NRE) && !m[i].re &&
            eval_regex(ev, m[i].value, &made[i].re, ev->e))
            return ev->e->kind;
    }
    *ret = made;
    return OK;
}

err_kind eval_select(eval *ev, const matcher *m, size_t n, int64_t from_ms, int64_t to_ms, store_selection **ret)
{
    select_limits limits = { .max_series = ev->max_series, .max_samples = ev->max_read };
    store_selection *sel = NULL;
    if (eval_tick(ev) || store_select_with(ev->store, m, n, from_ms, to_ms, &ev->hints, &limits, &sel, ev->e))
        return ev->e->kind;
    if (vec_push(&ev->selections, sel)) {
        store_select_free(sel);
        return err_nomem(ev->e);
    }
    ev->selected_bytes += store_select_memory(sel);
    *ret = sel;
    return OK;
}

static bool has_nan(const sample_vec *v)
{
    int64_t any = 0;
    for (size_t i = 0; i < v->len; i++)
        any |= v->at[i].v != v->at[i].v;
    return any;
}

/* Leave stale markers out, scale, and give every other NaN one face: a foreign one may be one change of sign away from
 * an empty slot. */
static void make_ready(sample_vec *v, double scale, bool drop_stale)
{
    size_t kept = 0;
    for (size_t i = 0; i < v->len; i++) {
        sample s = v->at[i];
        bool stale = is_stale(s.v);
        if (stale && drop_stale)
            continue;
        if (!stale)
            s.v = isnan(s.v) ? normal_nan() : scale != 1 ? s.v * scale : s.v;
        v->at[kept++] = s;
    }
    v->len = kept;
}

err_kind source_read(eval *ev, const source_series *s, bool drop_stale, sample_vec *out)
{
    vec_clear(out);
    if (eval_look(ev) || store_select_samples(s->selection, s->index, out, ev->e))
        return ev->e->kind;
    ev->buffer_bytes = out->cap * sizeof *out->at;
    ev->samples_read += out->len;
    cost_hold(ev, out->len);
    if (ev->samples_read > ev->max_read)
        return err_set(ev->e, ERR_LIMIT, "query processing would load too many samples into memory in query execution");
    if (s->scale != 1 || has_nan(out))
        make_ready(out, s->scale, drop_stale);
    return OK;
}

int64_t eval_time(const eval *ev, const ast_modifiers *mod, int64_t offset_ms, int64_t t_ms)
{
    switch (mod->at) {
    case AT_NONE: break;
    case AT_TIME: t_ms = MIN(MAX(mod->at_ms, -EVAL_TIME_MAX_MS), EVAL_TIME_MAX_MS); break;
    case AT_START: t_ms = ev->start_ms; break;
    case AT_END: t_ms = ev->end_ms; break;
    }
    return t_ms - offset_ms;
}

err_kind eval_duration(eval *ev, const duration *d, bool positive, int64_t *ret_ms)
{
    double step_s = ev->instant ? 0 : (double)ev->step_ms / 1e3;
    double range_s = (double)(ev->end_ms - ev->start_ms) / 1e3;
    double seconds = duration_seconds(d, step_s, range_s);
    uint32_t line, column;
    ast_place(ev->text, d->span.start, &line, &column);
    if (!(fabs(seconds) < 9e15 / 1e3))
        return err_set(ev->e, ERR_EXEC, "%u:%u: duration evaluates to NaN, infinity or out of range", line, column);
    if (positive && seconds <= 0)
        return err_set(ev->e, ERR_EXEC, "%u:%u: parse error: duration must be greater than 0", line, column);
    *ret_ms = (int64_t)round(seconds * 1e3);
    if (positive && *ret_ms == 0)
        *ret_ms = 1;
    return OK;
}

bool source_has_histograms(const source_series *s)
{
    return store_select_has_histograms(s->selection, s->index);
}

/* One series looked at through the lookback window (t - lookback, t] at every step. */
static bool look_back(const eval *ev, const ast *node, int64_t offset_ms, const grid *g, const sample_vec *samples, bool timestamps, double *slots)
{
    size_t next = 0;
    bool any = false;
    for (size_t i = 0; i < g->n; i++) {
        int64_t t = eval_time(ev, &node->selector.mod, offset_ms, grid_at(g, i));
        while (next < samples->len && samples->at[next].t_ms <= t)
            next++;
        if (next == 0)
            continue;
        const sample *s = &samples->at[next - 1];
        if (s->t_ms <= t - ev->lookback_ms - ev->closed_ranges || is_stale(s->v))
            continue;
        slots[i] = timestamps ? (double)s->t_ms / 1e3 : s->v;
        any = true;
    }
    return any;
}

err_kind eval_selector(eval *ev, const ast *node, const grid *g, bool timestamps, value *ret)
{
    int64_t offset_ms = 0;
    source src;
    sample_vec samples = { 0 };
    bool smoothed = node->selector.mode == RANGE_SMOOTHED;
    value_init(ret, ev, PROMQL_VECTOR, g->n);
    if (node->selector.mod.offset && eval_duration(ev, node->selector.mod.offset, false, &offset_ms))
        return ev->e->kind;
    int64_t from = eval_time(ev, &node->selector.mod, offset_ms, g->start_ms) - ev->lookback_ms + 1 - ev->closed_ranges;
    int64_t to = eval_time(ev, &node->selector.mod, offset_ms, grid_at(g, g->n - 1)) + (smoothed ? ev->lookback_ms : 0);
    ev->hints.newest_only = g->n == 1 && !smoothed;
    err_kind k = source_open(ev, node->selector.matchers, node->selector.count, from, to, &src);
    ev->hints.newest_only = false;
    for (size_t i = 0; !k && i < src.len; i++) {
        if (smoothed || source_has_histograms(&src.at[i])) {
            k = select_native(ev, node, offset_ms, g, &src.at[i], timestamps, ret);
            continue;
        }
        k = source_read(ev, &src.at[i], false, &samples);
        if (!k)
            k = eval_spend(ev, g->n);
        if (!k && samples.len)
            k = value_add(ret, src.at[i].labels);
        if (!k && samples.len && !look_back(ev, node, offset_ms, g, &samples, timestamps, ret->at[ret->len - 1].v))
            value_drop_last(ret);
        else if (!k && samples.len)
            cost_add_slots(ev, g, ret->at[ret->len - 1].v);
    }
    vec_done(&samples);
    return k;
}
