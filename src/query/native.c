/* Native histograms on their way from the store into values: read, looked back at, cut into windows. Windows of anchored
 * and smoothed selectors are cut here too, whatever kind their samples are. */
#include "query/cost.h"
#include "query/functions/functions.h"

/* ---- reading ---- */

/* Would the store have had to begin a new chunk here? Then nobody vouches that the counter went on. */
static bool starts_anew(const histogram *now, const histogram *before)
{
    histogram plain = *now;
    plain.reset = HISTOGRAM_RESET_UNKNOWN;
    return now->reset == HISTOGRAM_RESET_YES || before->reset == HISTOGRAM_GAUGE || now->schema != before->schema ||
           now->zero_threshold != before->zero_threshold || histogram_fell(&plain, before);
}

/* Prometheus tells what it knows from its chunks: inside one there was no reset. */
static uint8_t reset_before(const histogram *now, const histogram *before, bool stats)
{
    if (now->reset == HISTOGRAM_GAUGE)
        return HISTOGRAM_GAUGE;
    if (before && !starts_anew(now, before))
        return HISTOGRAM_RESET_NO;
    if (!stats)
        return HISTOGRAM_RESET_UNKNOWN;
    histogram plain = *now;
    plain.reset = HISTOGRAM_RESET_UNKNOWN;
    return before && histogram_fell(&plain, before) ? HISTOGRAM_RESET_YES : HISTOGRAM_RESET_NO;
}

CHECKED static err_kind count_read(eval *ev, const histogram_vec *v)
{
    for (size_t i = 0; i < v->len; i++)
        ev->samples_read += histogram_samples(v->at[i].h);
    if (ev->samples_read > ev->max_read)
        return err_set(ev->e, ERR_LIMIT, "query processing would load too many samples into memory in query execution");
    return OK;
}

err_kind source_read_histograms(eval *ev, const source_series *s, bool drop_stale, bool stats, arena *a, histogram_vec *out)
{
    const histogram *before = NULL;
    size_t kept = 0;
    vec_clear(out);
    if (!source_has_histograms(s))
        return OK;
    if (eval_look(ev) || store_select_histograms(s->selection, s->index, a, out, ev->e) || count_read(ev, out))
        return ev->e->kind;
    for (size_t i = 0; i < out->len; i++) {
        histogram_sample one = out->at[i];
        bool stale = is_stale(one.h->sum);
        if (stale && drop_stale) {
            before = NULL;
            continue;
        }
        histogram *told = stale ? NULL : arena_dup(a, one.h, sizeof *one.h);
        if (!stale && !told)
            return err_nomem(ev->e);
        if (told)
            told->reset = reset_before(one.h, before, stats);
        before = stale ? NULL : one.h;
        out->at[kept++] = (histogram_sample){ one.t_ms, told ? told : one.h };
    }
    out->len = kept;
    return eval_spend(ev, kept);
}

/* A subquery's steps leave samples out: what was known of the one just before no longer tells. */
static const histogram *forget_reset(arena *a, const histogram *h)
{
    if (h->reset == HISTOGRAM_GAUGE)
        return h;
    histogram *told = arena_dup(a, h, sizeof *h);
    if (told)
        told->reset = HISTOGRAM_RESET_UNKNOWN;
    return told;
}

err_kind range_read_histograms(range_input *r, size_t i, arena *a, histogram_vec *out)
{
    vec_clear(out);
    if (r->node->kind == AST_MATRIX)
        return source_read_histograms(r->ev, &r->source.at[i], true, r->node->matrix.selector->selector.stats, a, out);
    for (size_t k = 0; r->inner.at[i].h && k < r->inner_grid.n; k++) {
        const histogram *h = r->inner.at[i].h[k];
        if (h && !(h = forget_reset(a, h)))
            return err_nomem(r->ev->e);
        if (h && vec_push(out, ((histogram_sample){ grid_at(&r->inner_grid, k), h })))
            return err_nomem(r->ev->e);
    }
    return OK;
}

/* ---- instant selectors ---- */

typedef struct looking {
    eval *ev;
    const ast *node;
    sample_vec floats;
    histogram_vec histograms;
    arena arena;               /* one series' histograms */
    const histogram *copied_from, *copy;  /* a sample stays in view for several steps: copied once */
} looking;

CHECKED static err_kind keep(looking *l, const histogram *h, slot *ret)
{
    if (l->copied_from != h) {
        l->copied_from = h;
        l->copy = histogram_copy(l->ev->arena, h);
    }
    *ret = (slot){ EMPTY_SLOT, l->copy };
    return l->copy ? OK : err_nomem(l->ev->e);
}

static size_t floats_until(const looking *l, size_t from, int64_t t)
{
    while (from < l->floats.len && l->floats.at[from].t_ms <= t)
        from++;
    return from;
}

static size_t histograms_until(const looking *l, size_t from, int64_t t)
{
    while (from < l->histograms.len && l->histograms.at[from].t_ms <= t)
        from++;
    return from;
}

/* Where a smoothed selector stands at one step: the samples before and behind, whichever kind they are. */
typedef struct neighbours { const sample *f[2]; const histogram_sample *h[2]; } neighbours;

static neighbours find_neighbours(const looking *l, size_t f, size_t h, int64_t t)
{
    int64_t back = t - l->ev->lookback_ms, ahead = t + l->ev->lookback_ms;
    neighbours n = { { 0 }, { 0 } };
    n.f[0] = f > 0 && l->floats.at[f - 1].t_ms > back ? &l->floats.at[f - 1] : NULL;
    n.h[0] = h > 0 && l->histograms.at[h - 1].t_ms > back ? &l->histograms.at[h - 1] : NULL;
    n.f[1] = f < l->floats.len && l->floats.at[f].t_ms <= ahead ? &l->floats.at[f] : NULL;
    n.h[1] = h < l->histograms.len && l->histograms.at[h].t_ms <= ahead ? &l->histograms.at[h] : NULL;
    for (int side = 0; side < 2; side++) {
        if (!n.f[side] || !n.h[side])
            continue;
        if ((n.f[side]->t_ms > n.h[side]->t_ms) == (side == 0))
            n.h[side] = NULL;
        else
            n.f[side] = NULL;
    }
    return n;
}

CHECKED static err_kind smooth_floats(const neighbours *n, int64_t t, slot *ret)
{
    const sample *from = n->f[0], *to = n->f[1];
    *ret = (slot){ from->v, NULL };
    if (from->t_ms < t && to)
        ret->v = from->v + (to->v - from->v) * (double)(t - from->t_ms) / (double)(to->t_ms - from->t_ms);
    if (isnan(ret->v))
        ret->v = NAN;
    return OK;
}

CHECKED static err_kind smooth_histograms(looking *l, const neighbours *n, str name, int64_t t, slot *ret)
{
    const histogram_sample *from = n->h[0], *to = n->h[1];
    const histogram *made = NULL;
    if (from->t_ms == t || !to)
        return keep(l, from->h, ret);
    err_kind k = extended_between(l->ev->arena, from, to, t, to->h->reset != HISTOGRAM_GAUGE, true, &made);
    if (k == ERR_INVALID) {
        native_window w = { .ev = l->ev, .arg = l->node, .name = name };
        warn_mixed_schemas(&w);
        return OK;
    }
    *ret = (slot){ EMPTY_SLOT, made };
    return k ? err_nomem(l->ev->e) : OK;
}

CHECKED static err_kind smooth(looking *l, size_t f, size_t h, str name, int64_t t, slot *ret)
{
    neighbours n = find_neighbours(l, f, h, t);
    bool mixed = (n.f[0] && n.h[1]) || (n.h[0] && n.f[1]);
    if (mixed && (n.f[0] ? n.f[0]->t_ms : n.h[0]->t_ms) < t) {
        native_window w = { .ev = l->ev, .arg = l->node, .name = name };
        warn_mixed_kinds(&w);
        return OK;
    }
    if (n.f[0])
        return smooth_floats(&n, t, ret);
    return n.h[0] ? smooth_histograms(l, &n, name, t, ret) : OK;
}

/* The newest sample of either kind, unless it is stale or too old. */
CHECKED static err_kind newest(looking *l, size_t f, size_t h, int64_t t, slot *ret, int64_t *ret_t)
{
    int64_t oldest = t - l->ev->lookback_ms - l->ev->closed_ranges;
    const sample *s = f > 0 && l->floats.at[f - 1].t_ms > oldest ? &l->floats.at[f - 1] : NULL;
    const histogram_sample *hs = h > 0 && l->histograms.at[h - 1].t_ms > oldest ? &l->histograms.at[h - 1] : NULL;
    if (s && hs && s->t_ms > hs->t_ms)
        hs = NULL;
    if (hs) {
        *ret_t = hs->t_ms;
        return is_stale(hs->h->sum) ? OK : keep(l, hs->h, ret);
    }
    if (s && !is_stale(s->v)) {
        *ret = (slot){ s->v, NULL };
        *ret_t = s->t_ms;
    }
    return OK;
}

CHECKED static err_kind look_at_steps(looking *l, int64_t offset_ms, const grid *g, str name, bool timestamps, value *ret, bool *ret_any)
{
    size_t f = 0, h = 0, series = ret->len - 1;
    bool smoothed = l->node->selector.mode == RANGE_SMOOTHED;
    for (size_t i = 0; i < g->n; i++) {
        int64_t t = eval_time(l->ev, &l->node->selector.mod, offset_ms, grid_at(g, i)), found = t;
        slot s = NO_SLOT;
        f = floats_until(l, f, t);
        h = histograms_until(l, h, t);
        if (smoothed ? smooth(l, f, h, name, t, &s) : newest(l, f, h, t, &s, &found))
            return l->ev->e->kind;
        if (slot_empty(s.v) && !s.h)
            continue;
        cost_add(l->ev, g, i, s.h ? histogram_samples(s.h) : 1);
        if (timestamps)
            s = (slot){ (double)found / 1e3, NULL };
        if (value_set(ret, series, i, s))
            return l->ev->e->kind;
        *ret_any = true;
    }
    return OK;
}

err_kind select_native(eval *ev, const ast *node, int64_t offset_ms, const grid *g, const source_series *s, bool timestamps, value *ret)
{
    looking l = { .ev = ev, .node = node, .arena = eval_series_arena(ev) };
    bool any = false, drop_stale = node->selector.mode == RANGE_SMOOTHED;
    err_kind k = source_read(ev, s, drop_stale, &l.floats);
    if (!k)
        k = source_read_histograms(ev, s, drop_stale, node->selector.stats, &l.arena, &l.histograms);
    size_t held = l.arena.used_bytes;
    ev->buffer_bytes += held;
    if (!k)
        k = eval_spend(ev, g->n);
    if (!k)
        k = value_add(ret, s->labels);
    if (!k)
        k = look_at_steps(&l, offset_ms, g, labels_name(s->labels), timestamps, ret, &any);
    if (!k && !any)
        value_drop_last(ret);
    k = eval_series_full(ev, &l.arena, k);
    ev->buffer_bytes -= held;
    vec_done(&l.floats);
    vec_done(&l.histograms);
    arena_done(&l.arena);
    return k;
}

/* ---- windows ---- */

static range_mode mode_of(const range_input *r)
{
    return r->node->kind == AST_MATRIX ? r->node->matrix.selector->selector.mode : RANGE_PLAIN;
}

err_kind range_check_mode(const range_input *r, const ast *call)
{
    static const char *const anchored[] = { "changes", "delta", "increase", "rate", "resets", NULL };
    static const char *const smoothed[] = { "delta", "increase", "rate", NULL };
    range_mode mode = mode_of(r);
    if (mode == RANGE_PLAIN)
        return OK;
    for (const char *const *n = mode == RANGE_ANCHORED ? anchored : smoothed; *n; n++)
        if (strcmp(*n, call->call.row->name) == 0)
            return OK;
    return mode == RANGE_ANCHORED ? eval_fail(r->ev, "anchored modifier can only be used with: changes, delta, increase, rate, resets - not with %s", call->call.row->name)
                                  : eval_fail(r->ev, "smoothed modifier can only be used with: delta, increase, rate - not with %s", call->call.row->name);
}

bool range_is_special(const range_input *r, size_t i)
{
    if (r->ev->closed_ranges || mode_of(r) != RANGE_PLAIN)
        return true;
    return r->node->kind == AST_MATRIX ? source_has_histograms(&r->source.at[i]) : r->inner.at[i].h != NULL;
}

/* Where one kind of samples stands around a window: the ones inside are low .. high - 1. */
typedef struct border { size_t low, high; } border;

static int64_t time_at(const void *first, size_t stride, size_t i)
{
    int64_t t; /* both kinds of samples begin with their time */
    memcpy(&t, (const char *)first + i * stride, sizeof t);
    return t;
}

/* An anchored or smoothed window begins with the sample at or before its start, if that is not too far away; a smoothed
 * one ends with the sample at or behind its end. */
static void move_border(border *b, const void *first, size_t stride, size_t n, const native_window *w)
{
    bool extended = w->mode != RANGE_PLAIN;
    int64_t start = w->f.start_ms - w->ev->closed_ranges, end = w->f.end_ms;
    while (b->high < n && time_at(first, stride, b->high) <= end)
        b->high++;
    while (b->low < b->high && time_at(first, stride, b->low) <= start)
        b->low++;
    if (extended && b->low > 0 && time_at(first, stride, b->low - 1) > start - w->ev->lookback_ms)
        b->low--;
}

static size_t high_of(const border *b, const void *first, size_t stride, size_t n, const native_window *w)
{
    bool ends_inside = b->high > 0 && time_at(first, stride, b->high - 1) == w->f.end_ms;
    bool more = w->mode == RANGE_SMOOTHED && !ends_inside && b->high < n && time_at(first, stride, b->high) <= w->f.end_ms + w->ev->lookback_ms;
    return b->high + more;
}

typedef struct special {
    range_input *r;
    sample_vec floats;
    histogram_vec histograms;
    uint32_t *resets;
    double *scratch;
    arena arena;
    border f, h;
} special;

CHECKED static err_kind read_special(special *s, size_t i)
{
    size_t n;
    err_kind k = range_read(s->r, i, &s->floats);
    if (!k)
        k = range_read_histograms(s->r, i, &s->arena, &s->histograms);
    if (k)
        return k;
    n = s->floats.len;
    s->resets = arena_array(&s->arena, uint32_t, n + 1);
    s->scratch = arena_array(&s->arena, double, n + 1);
    if (!s->resets || !s->scratch)
        return err_nomem(s->r->ev->e);
    for (size_t k2 = 1; k2 < n; k2++)
        s->resets[k2] = s->resets[k2 - 1] + (s->floats.at[k2].v < s->floats.at[k2 - 1].v);
    return OK;
}

/* Only one sample may stand before the window and only one behind it: the nearer of the two kinds'. */
static void keep_nearest(native_window *w)
{
    if (w->f.len && w->h_len && w->f.at[0].t_ms <= w->f.start_ms && w->h[0].t_ms <= w->f.start_ms) {
        if (w->f.at[0].t_ms < w->h[0].t_ms)
            w->f.at++, w->f.resets++, w->f.len--;
        else
            w->h++, w->h_len--;
    }
    if (w->f.len && w->h_len && w->f.at[w->f.len - 1].t_ms >= w->f.end_ms && w->h[w->h_len - 1].t_ms >= w->f.end_ms) {
        if (w->f.at[w->f.len - 1].t_ms > w->h[w->h_len - 1].t_ms)
            w->f.len--;
        else
            w->h_len--;
    }
}

/* False: there is nothing in it. */
static bool cut_window(special *s, native_window *w)
{
    move_border(&s->f, s->floats.at, sizeof *s->floats.at, s->floats.len, w);
    move_border(&s->h, s->histograms.at, sizeof *s->histograms.at, s->histograms.len, w);
    w->f.at = s->floats.at + s->f.low;
    w->f.resets = s->resets + s->f.low;
    w->f.len = high_of(&s->f, s->floats.at, sizeof *s->floats.at, s->floats.len, w) - s->f.low;
    w->h = s->histograms.at + s->h.low;
    w->h_len = high_of(&s->h, s->histograms.at, sizeof *s->histograms.at, s->histograms.len, w) - s->h.low;
    if (w->mode == RANGE_PLAIN)
        return w->f.len || w->h_len;
    keep_nearest(w);
    return (w->f.len && w->f.at[w->f.len - 1].t_ms > w->f.start_ms) || (w->h_len && w->h[w->h_len - 1].t_ms > w->f.start_ms);
}

CHECKED static err_kind call_window(const native_window *w, const function_row *row, slot *ret)
{
    if (w->h_len == 0 && w->mode == RANGE_PLAIN)
        return row->over(&w->f, &ret->v), OK;
    return row->native ? row->native(w, ret) : native_ignored(w, row->over, ret);
}

static uint64_t window_samples(const native_window *w)
{
    uint64_t n = w->f.len;
    for (size_t i = 0; w->ev->cost && i < w->h_len; i++)
        n += histogram_samples(w->h[i].h);
    return n;
}

CHECKED static err_kind slide_special(special *s, native_window *w, const function_row *row, double *const params[2], const grid *g, value *ret, bool *ret_any)
{
    for (size_t i = 0; i < g->n; i++) {
        slot made = NO_SLOT;
        w->f.end_ms = range_end(s->r, g, i);
        w->f.start_ms = w->f.end_ms - s->r->range_ms;
        w->f.eval_ms = grid_at(g, i);
        for (int p = 0; p < 2; p++)
            w->f.param[p] = params[p] ? params[p][i] : 0;
        if (!cut_window(s, w))
            continue;
        cost_add(w->ev, g, i, window_samples(w));
        if (call_window(w, row, &made) || eval_spend(w->ev, w->f.len + 10 * w->h_len))
            return w->ev->e->kind;
        if (slot_empty(made.v) && !made.h)
            continue;
        if (value_set(ret, ret->len - 1, i, made))
            return w->ev->e->kind;
        *ret_any = true;
    }
    return OK;
}

err_kind range_special(range_input *r, size_t i, const ast *call, const ast *range_arg, double *const params[2], const grid *g, value *ret, bool *ret_any)
{
    special s = { .r = r, .arena = eval_series_arena(r->ev) };
    err_kind k = read_special(&s, i);
    native_window w = { .f = { .range_s = (double)r->range_ms / 1e3, .scratch = s.scratch }, .ev = r->ev, .arg = range_arg,
                        .name = labels_name(range_labels(r, i)), .mode = mode_of(r) };
    size_t held = s.arena.used_bytes;
    r->ev->buffer_bytes += held;
    if (!k)
        k = slide_special(&s, &w, call->call.row, params, g, ret, ret_any);
    k = eval_series_full(r->ev, &s.arena, k);
    r->ev->buffer_bytes -= held;
    vec_done(&s.floats);
    vec_done(&s.histograms);
    arena_done(&s.arena);
    return k;
}
