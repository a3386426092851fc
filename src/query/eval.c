#include "query/eval.h"
#include "base/regex.h"
#include "query/cost.h"
#include "query/tables.h"
#include <stdio.h>

#define WORK_BETWEEN_LOOKS 10000 /* some ten microseconds */

void eval_done(eval *ev)
{
    for (size_t i = 0; i < ev->selections.len; i++)
        store_select_free(ev->selections.at[i]);
    for (size_t i = 0; i < ev->regexes.len; i++)
        regex_free(ev->regexes.at[i]);
    vec_done(&ev->selections);
    vec_done(&ev->regexes);
    vec_done(&ev->warnings);
    vec_done(&ev->infos);
}

size_t eval_memory(const eval *ev)
{
    return ev->arena->used_bytes + ev->live * sizeof(double) + ev->selected_bytes + ev->buffer_bytes;
}

err_kind eval_memory_fail(eval *ev)
{
    *ev->e = (err){ 0 };
    err_set(ev->e, ERR_LIMIT, "query would need more than %zu MiB of memory", ev->max_memory >> 20);
    err_hint(ev->e, "Narrow the selector or the time range down, ask for fewer steps, or raise query.max_memory.");
    return ERR_LIMIT;
}

arena eval_series_arena(const eval *ev)
{
    size_t held = eval_memory(ev);
    return arena_init(MIN(EVAL_SERIES_MAX_BYTES, ev->max_memory - MIN(held, ev->max_memory)));
}

err_kind eval_series_full(eval *ev, const arena *a, err_kind k)
{
    return k == ERR_NOMEM && eval_arena_full(a) ? eval_memory_fail(ev) : k;
}

err_kind eval_look(eval *ev)
{
    ev->work = 0;
    if (ev->cancel && atomic_load_explicit(ev->cancel, memory_order_relaxed))
        return err_set(ev->e, ERR_CANCELED, "query was canceled in expression evaluation");
    if (ev->deadline_ns && clock_mono_ns() >= ev->deadline_ns)
        return err_set(ev->e, ERR_TIMEOUT, "query timed out in expression evaluation");
    return eval_memory(ev) > ev->max_memory ? eval_memory_fail(ev) : OK;
}

err_kind eval_spend(eval *ev, size_t work)
{
    ev->work += work;
    return ev->work < WORK_BETWEEN_LOOKS ? OK : eval_look(ev);
}

err_kind eval_fail(eval *ev, const char *fmt, ...)
{
    char message[380];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    return err_set(ev->e, ERR_EXEC, "%s", message);
}

/* ---- annotations ---- */

#define ANNOTATIONS_MAX 100

static bool is_known(const str_vec *v, str text)
{
    for (size_t i = 0; i < v->len; i++)
        if (str_eq(v->at[i], text))
            return true;
    return false;
}

PRINTF_LIKE(5, 0)
static void annotate(eval *ev, str_vec *into, const char *kind, const ast *at, const char *fmt, va_list args)
{
    char text[400];
    uint32_t line, column;
    size_t n = (size_t)snprintf(text, sizeof text, "PromQL %s: ", kind);
    n += (size_t)vsnprintf(text + n, sizeof text - n, fmt, args);
    if (at && n < sizeof text) {
        ast_place(ev->text, at->span.start, &line, &column);
        n += (size_t)snprintf(text + n, sizeof text - n, " (%u:%u)", line, column);
    }
    str view = str_of(text, MIN(n, sizeof text - 1));
    if (into->len >= ANNOTATIONS_MAX || is_known(into, view))
        return;
    view = arena_str(ev->arena, view);
    if (view.ptr)
        (void)vec_push(into, view);
}

void eval_warn(eval *ev, const ast *at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    annotate(ev, &ev->warnings, "warning", at, fmt, args);
    va_end(args);
}

void eval_info(eval *ev, const ast *at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    annotate(ev, &ev->infos, "info", at, fmt, args);
    va_end(args);
}

/* ---- small nodes ---- */

CHECKED static err_kind negate(eval *ev, vseries *s, size_t steps)
{
    for (size_t k = 0; k < steps; k++) {
        if (!slot_empty(s->v[k]))
            s->v[k] = -s->v[k];
        else if (s->h && s->h[k] && !(s->h[k] = histogram_scale(ev->arena, s->h[k], -1, false)))
            return err_nomem(ev->e);
    }
    return OK;
}

static err_kind eval_unary(eval *ev, const ast *node, const grid *g, value *ret)
{
    if (eval_node(ev, node->unary.expr, g, ret) || !node->unary.minus)
        return ev->e->kind;
    for (size_t i = 0; i < ret->len; i++)
        if (negate(ev, &ret->at[i], ret->steps))
            return ev->e->kind;
    return ret->type == PROMQL_SCALAR ? OK : value_drop_names(ret, true);
}

/* abs(), ceil() …: one number in, one out; the metric name goes. */
static err_kind eval_math(eval *ev, const ast *call, const grid *g, value *ret)
{
    math_fn fn = call->call.row->math;
    if (eval_node(ev, call->call.args[0], g, ret))
        return ev->e->kind;
    value_drop_histograms(ret);
    for (size_t i = 0; i < ret->len; i++)
        for (size_t k = 0; k < ret->steps; k++)
            if (!slot_empty(ret->at[i].v[k]))
                ret->at[i].v[k] = fn(ret->at[i].v[k]);
    return value_drop_names(ret, false);
}

static err_kind eval_call(eval *ev, const ast *call, const grid *g, value *ret)
{
    if (call->call.row->math)
        return eval_math(ev, call, g, ret);
    if (call->call.row->over)
        return eval_range_call(ev, call, g, ret);
    return call->call.row->call(ev, call, g, ret);
}

err_kind eval_scalar(eval *ev, const ast *node, const grid *g, double **ret)
{
    value v = { 0 };
    err_kind k = eval_node(ev, node, g, &v);
    if (!k && v.len == 1) {
        *ret = TAKE(v.at[0].v);
    } else if (!k) {
        k = err_set(ev->e, ERR_INTERNAL, "a scalar expression gave no scalar");
    }
    value_done(&v);
    return k;
}

err_kind eval_string(eval *ev, const ast *node, str *ret)
{
    const ast *bare = ast_bare(node);
    if (bare->kind != AST_STRING)
        return err_set(ev->e, ERR_INTERNAL, "a string expression is no literal");
    *ret = bare->string.value;
    return OK;
}

/* ---- one switch ---- */

static err_kind eval_kind(eval *ev, const ast *node, const grid *g, value *ret)
{
    switch (node->kind) {
    case AST_NUMBER: return value_constant(ret, ev, g->n, node->number.value);
    case AST_STRING:
        value_init(ret, ev, PROMQL_STRING, g->n);
        ret->string = node->string.value;
        return OK;
    case AST_SELECTOR: return eval_selector(ev, node, g, false, ret);
    case AST_CALL: return eval_call(ev, node, g, ret);
    case AST_AGGREGATE: return eval_aggregate(ev, node, g, ret);
    case AST_BINARY: return eval_binary(ev, node, g, ret);
    case AST_UNARY: return eval_unary(ev, node, g, ret);
    case AST_PAREN: return eval_node(ev, node->paren.expr, g, ret);
    case AST_MATRIX:
    case AST_SUBQUERY: break; /* range.c reads them; they never stand alone below the root */
    }
    return err_set(ev->e, ERR_INTERNAL, "cannot evaluate a range vector here");
}

/* What @ nails down is worked out at the first step and holds for all. */
static err_kind eval_once(eval *ev, const ast *node, const grid *g, value *ret)
{
    grid first = { g->start_ms, g->step_ms, 1 };
    value one = { 0 };
    err_kind k = eval_kind(ev, node, &first, &one);
    value_init(ret, ev, one.type, g->n);
    ret->string = one.string;
    for (size_t i = 0; !k && i < one.len; i++) {
        k = value_add(ret, one.at[i].labels);
        if (!k)
            ret->at[i].drop_name = one.at[i].drop_name;
        for (size_t s = 0; !k && s < g->n; s++)
            k = value_set(ret, i, s, slot_of(&one.at[i], 0));
    }
    value_done(&one);
    return k;
}

err_kind eval_node(eval *ev, const ast *node, const grid *g, value *ret)
{
    uint32_t parent = 0;
    if (eval_tick(ev) || (ev->cost && cost_enter(ev, node, &parent)))
        return ev->e->kind;
    err_kind k = node->step_invariant && g->n > 1 ? eval_once(ev, node, g, ret) : eval_kind(ev, node, g, ret);
    if (ev->cost)
        cost_leave(ev, parent, ret);
    return k;
}
