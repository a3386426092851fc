/* Between scalars and vectors; presence and absence; order. */
#include "query/functions/functions.h"
#include <stdlib.h>

err_kind call_vector(eval *ev, const ast *call, const grid *g, value *ret)
{
    err_kind k = eval_node(ev, call->call.args[0], g, ret);
    ret->type = PROMQL_VECTOR;
    return k;
}

/* The one sample of a vector of one, else NaN. */
err_kind call_scalar(eval *ev, const ast *call, const grid *g, value *ret)
{
    value in = { 0 };
    value_init(ret, ev, PROMQL_SCALAR, g->n);
    err_kind k = eval_node(ev, call->call.args[0], g, &in);
    if (!k)
        k = value_add(ret, (labels){ 0 });
    for (size_t s = 0; !k && s < g->n; s++) {
        size_t found = 0;
        double v = NAN;
        for (size_t i = 0; i < in.len && found < 2; i++)
            if (!slot_empty(in.at[i].v[s]))
                found++, v = in.at[i].v[s];
        ret->at[0].v[s] = found == 1 ? v : NAN;
    }
    value_done(&in);
    return k;
}

/* ---- absent ---- */

/* The labels the missing series would have had: its equality matchers, each label named once. */
CHECKED static err_kind absent_labels(eval *ev, const ast *node, labels *ret)
{
    *ret = (labels){ 0 };
    node = ast_bare(node);
    const ast *selector = node->kind == AST_MATRIX ? node->matrix.selector : node;
    if (selector->kind != AST_SELECTOR)
        return OK;
    for (size_t i = 0; i < selector->selector.count; i++) {
        const matcher *m = &selector->selector.matchers[i];
        bool seen = false;
        for (size_t k = 0; k < i; k++)
            seen |= str_eq(selector->selector.matchers[k].name, m->name) && selector->selector.matchers[k].op == MATCH_EQ;
        if (str_eq(m->name, METRIC_NAME))
            continue;
        if (labels_with(ev, *ret, m->name, m->op == MATCH_EQ && !seen ? m->value : STR_EMPTY, ret))
            return ev->e->kind;
    }
    return OK;
}

CHECKED static err_kind absent_result(eval *ev, const ast *call, const grid *g, const bool *present, value *ret)
{
    labels l;
    value_init(ret, ev, PROMQL_VECTOR, g->n);
    if (absent_labels(ev, call->call.args[0], &l) || value_add(ret, l))
        return ev->e->kind;
    for (size_t s = 0; s < g->n; s++)
        if (!present[s])
            ret->at[0].v[s] = 1;
    return OK;
}

err_kind call_absent(eval *ev, const ast *call, const grid *g, value *ret)
{
    value in = { 0 };
    bool *present = mem_calloc(g->n, sizeof *present);
    err_kind k = present ? eval_node(ev, call->call.args[0], g, &in) : err_nomem(ev->e);
    for (size_t i = 0; !k && i < in.len; i++)
        for (size_t s = 0; s < g->n; s++)
            present[s] |= slot_filled(&in.at[i], s);
    value_done(&in);
    if (!k)
        k = absent_result(ev, call, g, present, ret);
    mem_free(present);
    return k;
}

typedef vec(int64_t) time_vec;

/* Steps whose window holds one of the times. */
static void mark_present(const range_input *r, const grid *g, const time_vec *times, bool *present)
{
    size_t next = 0;
    for (size_t s = 0; s < g->n; s++) {
        int64_t end = range_end(r, g, s);
        while (next < times->len && times->at[next] <= end)
            next++;
        if (next > 0 && times->at[next - 1] > end - r->range_ms - r->ev->closed_ranges)
            present[s] = true;
    }
}

/* Floats and histograms alike; each kind in its own order of time. */
CHECKED static err_kind mark_series(range_input *r, size_t i, const grid *g, bool *present)
{
    AUTO(arena_done) arena a = eval_series_arena(r->ev);
    sample_vec samples = { 0 };
    histogram_vec histograms = { 0 };
    time_vec times = { 0 };
    err_kind k = range_read(r, i, &samples);
    if (!k)
        k = eval_series_full(r->ev, &a, range_read_histograms(r, i, &a, &histograms));
    if (!k && vec_reserve(&times, samples.len + histograms.len))
        k = err_nomem(r->ev->e);
    for (size_t s = 0; !k && s < samples.len; s++)
        times.at[times.len++] = samples.at[s].t_ms;
    if (!k)
        mark_present(r, g, &times, present);
    vec_clear(&times);
    for (size_t s = 0; !k && s < histograms.len; s++)
        times.at[times.len++] = histograms.at[s].t_ms;
    if (!k)
        mark_present(r, g, &times, present);
    vec_done(&samples);
    vec_done(&histograms);
    vec_done(&times);
    return k;
}

err_kind call_absent_over_time(eval *ev, const ast *call, const grid *g, value *ret)
{
    range_input r = { 0 };
    bool *present = mem_calloc(g->n, sizeof *present);
    err_kind k = present ? range_open(&r, ev, call->call.args[0], g) : err_nomem(ev->e);
    if (!k)
        k = range_check_mode(&r, call);
    for (size_t i = 0; !k && i < r.len; i++)
        k = mark_series(&r, i, g, present);
    range_done(&r);
    if (!k)
        k = absent_result(ev, call, g, present, ret);
    mem_free(present);
    return k;
}

/* ---- order: only an instant query's result has one ---- */

static int up(const void *a, const void *b)
{
    double x = ((const vseries *)a)->v[0], y = ((const vseries *)b)->v[0];
    if (isnan(x) || isnan(y))
        return isnan(x) - isnan(y); /* NaN last, whichever way */
    return (x > y) - (x < y);
}

static int down(const void *a, const void *b)
{
    double x = ((const vseries *)a)->v[0], y = ((const vseries *)b)->v[0];
    return isnan(x) || isnan(y) ? isnan(x) - isnan(y) : (x < y) - (x > y);
}

static err_kind sort_by(eval *ev, const ast *call, const grid *g, int (*order)(const void *, const void *), value *ret)
{
    if (eval_node(ev, call->call.args[0], g, ret))
        return ev->e->kind;
    value_drop_histograms(ret); /* they have no order */
    value_drop_empty(ret);      /* an empty slot would look like NaN */
    if (ev->instant && ret->len > 1)
        qsort(ret->at, ret->len, sizeof *ret->at, order); /* glibc's qsort is a merge sort: stable */
    else if (!ev->instant)
        eval_warn(ev, call, "sort is ineffective for range queries since results are always ordered by labels");
    return OK;
}

err_kind call_sort(eval *ev, const ast *call, const grid *g, value *ret) { return sort_by(ev, call, g, up, ret); }
err_kind call_sort_desc(eval *ev, const ast *call, const grid *g, value *ret) { return sort_by(ev, call, g, down, ret); }

/* "i2" before "i10": runs of digits compare as numbers (facette/natsort, which Prometheus uses). */
static int natural_cmp(str a, str b)
{
    size_t i = 0, k = 0;
    while (i < a.len && k < b.len) {
        bool digits = a.ptr[i] >= '0' && a.ptr[i] <= '9' && b.ptr[k] >= '0' && b.ptr[k] <= '9';
        if (!digits) {
            if (a.ptr[i] != b.ptr[k])
                return (unsigned char)a.ptr[i] < (unsigned char)b.ptr[k] ? -1 : 1;
            i++, k++;
            continue;
        }
        size_t from_a = i, from_b = k;
        while (i < a.len && a.ptr[i] >= '0' && a.ptr[i] <= '9')
            i++;
        while (k < b.len && b.ptr[k] >= '0' && b.ptr[k] <= '9')
            k++;
        double x = 0, y = 0;
        str_to_double(str_sub(a, from_a, i - from_a), &x);
        str_to_double(str_sub(b, from_b, k - from_b), &y);
        if (x != y)
            return x < y ? -1 : 1;
    }
    return (a.len - i > b.len - k) - (a.len - i < b.len - k);
}

typedef struct label_order { const str *names; size_t n; bool down; } label_order;

static int by_label_values(const void *a, const void *b, void *ctx)
{
    const label_order *o = ctx;
    labels x = ((const vseries *)a)->labels, y = ((const vseries *)b)->labels;
    int c = 0;
    for (size_t i = 0; i < o->n && c == 0; i++)
        c = natural_cmp(labels_get(x, o->names[i]), labels_get(y, o->names[i]));
    if (c == 0)
        c = labels_cmp(x, y);
    return o->down ? -c : c;
}

static err_kind sort_by_labels(eval *ev, const ast *call, const grid *g, bool descending, value *ret)
{
    str names[PROMQL_MAX_ARGS];
    label_order order = { names, call->call.count - 1, descending };
    for (size_t i = 1; i < call->call.count; i++)
        if (eval_string(ev, call->call.args[i], &names[i - 1]))
            return ev->e->kind;
    if (eval_node(ev, call->call.args[0], g, ret))
        return ev->e->kind;
    if (ev->instant && ret->len > 1)
        qsort_r(ret->at, ret->len, sizeof *ret->at, by_label_values, &order);
    return OK;
}

err_kind call_sort_by_label(eval *ev, const ast *call, const grid *g, value *ret) { return sort_by_labels(ev, call, g, false, ret); }
err_kind call_sort_by_label_desc(eval *ev, const ast *call, const grid *g, value *ret) { return sort_by_labels(ev, call, g, true, ret); }
