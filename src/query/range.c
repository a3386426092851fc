/* Range vectors: samples of a selector or of a subquery, windows over them, functions over windows. */
#include "query/cost.h"
#include "query/functions/slide.h"
#include "query/parser.h"

/* ---- where the samples come from ---- */

static err_kind open_matrix(range_input *r, const grid *g)
{
    const ast *selector = r->node->matrix.selector;
    int64_t from = range_end(r, g, 0) - r->range_ms + 1 - r->ev->closed_ranges, to = range_end(r, g, g->n - 1);
    if (selector->selector.mode != RANGE_PLAIN)
        from -= r->ev->lookback_ms; /* the sample before the window */
    if (selector->selector.mode == RANGE_SMOOTHED)
        to += r->ev->lookback_ms;   /* and the one behind it */
    r->ev->hints.range_ms = r->range_ms;
    err_kind k = source_open(r->ev, selector->selector.matchers, selector->selector.count, from, to, &r->source);
    r->ev->hints.range_ms = 0;
    r->len = r->source.len;
    return k;
}

/* Steps of a subquery lie on absolute multiples of its own step, whatever the outer ones are. */
static err_kind open_subquery(range_input *r, const grid *g)
{
    eval *ev = r->ev;
    const ast *node = r->node;
    int64_t step = ev->default_step_ms;
    if (node->subquery.step && eval_duration(ev, node->subquery.step, true, &step))
        return ev->e->kind;
    int64_t from = range_end(r, g, 0) - r->range_ms, to = range_end(r, g, g->n - 1);
    int64_t first = from / step * step;
    if (first < from || (first == from && !ev->closed_ranges))
        first += step;
    if (first > to)
        return OK; /* no step falls into any window */
    r->inner_grid = (grid){ first, step, (size_t)((to - first) / step) + 1 };
    if (r->inner_grid.n > ev->max_slots)
        return err_set(ev->e, ERR_LIMIT, "query processing would load too many samples into memory in query execution");
    ev->hints.function = STR_EMPTY; /* that is for what the subquery makes, not for what it reads */
    cost_subquery(ev, 1);
    err_kind k = eval_node(ev, node->subquery.expr, &r->inner_grid, &r->inner);
    cost_subquery(ev, -1);
    r->len = r->inner.len;
    return k;
}

err_kind range_open(range_input *r, eval *ev, const ast *node, const grid *g)
{
    *r = (range_input){ .ev = ev, .node = ast_bare(node) };
    node = r->node;
    if (node->kind != AST_MATRIX && node->kind != AST_SUBQUERY)
        return err_set(ev->e, ERR_INTERNAL, "a range vector that is neither selector nor subquery");
    bool matrix = node->kind == AST_MATRIX;
    r->mod = matrix ? &node->matrix.selector->selector.mod : &node->subquery.mod;
    if (eval_duration(ev, matrix ? node->matrix.range : node->subquery.range, true, &r->range_ms) ||
        (r->mod->offset && eval_duration(ev, r->mod->offset, false, &r->offset_ms)))
        return ev->e->kind;
    return matrix ? open_matrix(r, g) : open_subquery(r, g);
}

void range_done(range_input *r)
{
    value_done(&r->inner);
}

int64_t range_end(const range_input *r, const grid *g, size_t step)
{
    return eval_time(r->ev, r->mod, r->offset_ms, grid_at(g, step));
}

bool range_drops_name(const range_input *r, size_t i)
{
    return r->node->kind == AST_SUBQUERY && r->inner.at[i].drop_name;
}

labels range_labels(const range_input *r, size_t i)
{
    return r->node->kind == AST_MATRIX ? r->source.at[i].labels : r->inner.at[i].labels;
}

err_kind range_read(range_input *r, size_t i, sample_vec *out)
{
    if (r->node->kind == AST_MATRIX)
        return source_read(r->ev, &r->source.at[i], true, out);
    vec_clear(out);
    for (size_t k = 0; k < r->inner_grid.n; k++) {
        double v = r->inner.at[i].v[k];
        if (!slot_empty(v) && vec_push(out, ((sample){ grid_at(&r->inner_grid, k), v })))
            return err_nomem(r->ev->e);
    }
    return eval_spend(r->ev, r->inner_grid.n);
}

/* ---- functions over windows ---- */

typedef struct sliding {
    range_input input;
    sample_vec samples;
    double *params[2];         /* scalar arguments, one value a step; NULL: not given */
    double *scratch; size_t scratch_len;
    uint32_t *resets; size_t resets_len;
    slide_fn quick;            /* all windows of a series at once; NULL: one by one */
    double *values; size_t values_len;
    uint32_t *borders;         /* low and high, one a step each */
} sliding;

static void sliding_done(sliding *s)
{
    range_done(&s->input);
    vec_done(&s->samples);
    mem_free(s->params[0]);
    mem_free(s->params[1]);
    mem_free(s->scratch);
    mem_free(s->resets);
    mem_free(s->values);
    mem_free(s->borders);
}

/* resets[i]: how often the counter fell up to sample i, so that a window without a fall needs no second look. */
static err_kind prepare_series(sliding *s)
{
    size_t n = s->samples.len;
    eval *ev = s->input.ev;
    if (vec_grow((void **)&s->scratch, &s->scratch_len, n, sizeof *s->scratch) ||
        vec_grow((void **)&s->resets, &s->resets_len, n, sizeof *s->resets))
        return err_nomem(ev->e);
    for (size_t i = 0; i < n; i++)
        s->resets[i] = i == 0 ? 0 : s->resets[i - 1] + (s->samples.at[i].v < s->samples.at[i - 1].v);
    return OK;
}

/* All windows at once. */
static err_kind slide_quickly(sliding *s, const grid *g, double *slots, bool *ret_any)
{
    size_t n = s->samples.len;
    eval *ev = s->input.ev;
    if (vec_grow((void **)&s->values, &s->values_len, n, sizeof *s->values) ||
        vec_grow((void **)&s->scratch, &s->scratch_len, n + 1, sizeof *s->scratch) ||
        (!s->borders && !(s->borders = mem_alloc(2 * g->n * sizeof *s->borders))))
        return err_nomem(ev->e);
    for (size_t i = 0; i < n; i++)
        s->values[i] = s->samples.at[i].v;
    int64_t end_ms = range_end(&s->input, g, 0);
    windows w = { .at = s->samples.at, .len = n, .values = s->values, .room = s->scratch, .steps = g->n, .end_ms = end_ms,
                  .step_ms = s->input.mod->at ? 0 : g->step_ms, .range_ms = s->input.range_ms };
    windows_find(&w, s->borders, s->borders + g->n);
    *ret_any = s->quick(&w, slots);
    for (size_t i = 0; ev->cost && i < g->n; i++)
        cost_add(ev, g, i, w.high[i] - w.low[i]);
    return eval_spend(ev, n + g->n);
}

/* Slide the window over one series. *ret_any: some step got a value. */
static err_kind slide(sliding *s, const function_row *row, const grid *g, double *slots, bool *ret_any)
{
    size_t low = 0, high = 0;
    const sample *at = s->samples.at;
    window w = { .scratch = s->scratch, .range_s = (double)s->input.range_ms / 1e3 };
    for (size_t i = 0; i < g->n; i++) {
        w.end_ms = range_end(&s->input, g, i);
        w.start_ms = w.end_ms - s->input.range_ms;
        while (high < s->samples.len && at[high].t_ms <= w.end_ms)
            high++;
        while (low < high && at[low].t_ms <= w.start_ms)
            low++;
        if (low == high)
            continue;
        w.at = at + low;
        w.resets = s->resets + low;
        w.len = high - low;
        w.eval_ms = grid_at(g, i);
        for (int p = 0; p < 2; p++)
            w.param[p] = s->params[p] ? s->params[p][i] : 0;
        if (row->over(&w, &slots[i]))
            *ret_any = true;
        cost_add(s->input.ev, g, i, w.len);
        if (eval_spend(s->input.ev, w.len))
            return s->input.ev->e->kind;
    }
    return OK;
}

static bool name_looks_like_counter(str name)
{
    return str_ends(name, STR("_total")) || str_ends(name, STR("_sum")) || str_ends(name, STR("_count")) || str_ends(name, STR("_bucket"));
}

/* rate() of what does not look like a counter. With type-and-unit-labels its type says what it is. */
static void doubt_counter(eval *ev, const ast *at, labels l, const vseries *made, size_t steps)
{
    str name = labels_name(l), type = labels_get(l, STR("__type__"));
    bool floats = false;
    for (size_t i = 0; i < steps && !floats; i++)
        floats = !slot_empty(made->v[i]);
    if (!floats || str_empty(name))
        return;
    if (ev->type_labels && !str_empty(type)) {
        if (!str_is(type, "counter") && !str_is(type, "histogram"))
            eval_info(ev, at, "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got \"%" STR_FMT "\": \"%" STR_FMT "\"",
                      STR_ARG(type), STR_ARG(name));
    } else if (!name_looks_like_counter(name)) {
        eval_info(ev, at, "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"%" STR_FMT "\"", STR_ARG(name));
    }
}

/* Roll-ups instead of samples, asked for counts: they are added up. */
static bool range_counts(const range_input *r, size_t i)
{
    return r->node->kind == AST_MATRIX && store_select_counts(r->source.at[i].selection);
}

static err_kind run_series(sliding *s, const ast *call, const ast *range_arg, size_t i, const grid *g, value *ret)
{
    eval *ev = s->input.ev;
    const function_row *row = call->call.row;
    labels l = range_labels(&s->input, i);
    bool any = false;
    bool special = range_is_special(&s->input, i);
    if (range_counts(&s->input, i))
        row = function_find(STR("sum_over_time"));
    s->quick = slide_find(row->over);
    if (!special && range_read(&s->input, i, &s->samples))
        return ev->e->kind;
    if (!special && s->samples.len == 0)
        return OK;
    if (value_add(ret, l))
        return ev->e->kind;
    ret->at[ret->len - 1].drop_name = row->keeps_name && range_drops_name(&s->input, i);
    double *slots = ret->at[ret->len - 1].v;
    if (special) {
        if (range_special(&s->input, i, call, range_arg, s->params, g, ret, &any))
            return ev->e->kind;
    } else if (s->quick ? slide_quickly(s, g, slots, &any) : prepare_series(s) || slide(s, row, g, slots, &any))
        return ev->e->kind;
    if (!any)
        value_drop_last(ret);
    else if (row->counter)
        doubt_counter(ev, range_arg, l, &ret->at[ret->len - 1], g->n);
    return OK;
}

/* Scalar arguments, in order, beside the one range vector. *ret_range: that one. */
static err_kind open_params(sliding *s, eval *ev, const ast *call, const grid *g, const ast **ret_range)
{
    size_t n = 0;
    for (size_t i = 0; i < call->call.count; i++) {
        const ast *arg = call->call.args[i];
        if (arg->type == PROMQL_MATRIX)
            *ret_range = arg;
        else if (n < 2 && eval_scalar(ev, arg, g, &s->params[n++]))
            return ev->e->kind;
    }
    return call->call.row->check ? call->call.row->check(ev, call, g, (const double *const *)s->params) : OK;
}

err_kind eval_range_call(eval *ev, const ast *call, const grid *g, value *ret)
{
    sliding s = { 0 };
    const ast *range_arg = call->call.args[0];
    value_init(ret, ev, PROMQL_VECTOR, g->n);
    err_kind k = open_params(&s, ev, call, g, &range_arg);
    ev->hints.function = str_from(call->call.row->name);
    if (!k)
        k = range_open(&s.input, ev, range_arg, g);
    ev->hints.function = STR_EMPTY;
    if (!k)
        k = range_check_mode(&s.input, call);
    for (size_t i = 0; !k && i < s.input.len; i++)
        k = run_series(&s, call, range_arg, i, g, ret);
    if (!k)
        k = call->call.row->keeps_name ? value_join(ret, true) : value_drop_names(ret, true);
    sliding_done(&s);
    return k;
}
