/* Aggregations over the series of an instant vector, group by group. Prometheus: promql/engine.go, aggregation(). */
#include "query/eval.h"
#include "base/hash.h"
#include "query/lanes.h"
#include "query/tables.h"
#include <stdlib.h>

const aggregate_row aggregate_rows[] = {
    { AGG_SUM,          "sum",          PROMQL_NONE,   false, "sum of the values" },
    { AGG_AVG,          "avg",          PROMQL_NONE,   false, "arithmetic mean of the values" },
    { AGG_MIN,          "min",          PROMQL_NONE,   false, "smallest value" },
    { AGG_MAX,          "max",          PROMQL_NONE,   false, "largest value" },
    { AGG_COUNT,        "count",        PROMQL_NONE,   false, "number of series" },
    { AGG_GROUP,        "group",        PROMQL_NONE,   false, "1 for every group that has a series" },
    { AGG_STDDEV,       "stddev",       PROMQL_NONE,   false, "population standard deviation of the values" },
    { AGG_STDVAR,       "stdvar",       PROMQL_NONE,   false, "population variance of the values" },
    { AGG_TOPK,         "topk",         PROMQL_SCALAR, false, "the k series with the largest values" },
    { AGG_BOTTOMK,      "bottomk",      PROMQL_SCALAR, false, "the k series with the smallest values" },
    { AGG_QUANTILE,     "quantile",     PROMQL_SCALAR, false, "the value below which a share of the values lies" },
    { AGG_COUNT_VALUES, "count_values", PROMQL_STRING, false, "how many series have each value" },
    { AGG_LIMITK,       "limitk",       PROMQL_SCALAR, true,  "any k series" },
    { AGG_LIMIT_RATIO,  "limit_ratio",  PROMQL_SCALAR, true,  "a steady share of the series" },
};
const size_t aggregate_row_count = COUNT_OF(aggregate_rows);

const aggregate_row *aggregate_find(str name)
{
    for (size_t i = 0; i < aggregate_row_count; i++)
        if (str_eq_nocase(name, str_from(aggregate_rows[i].name)))
            return &aggregate_rows[i];
    return NULL;
}

typedef struct ranked { double v; uint32_t series; } ranked;

typedef struct aggregator {
    eval *ev;
    const ast *node;
    aggregation op;
    value in;
    double *param;             /* one a step; NULL: takes none */
    labelmap groups;
    uint32_t *members;         /* series numbers, group by group */
    size_t *first;             /* where each group starts in `members`; one more at the end */
    ranked *ranking;           /* room for the largest group */
    double *numbers;           /* likewise */
} aggregator;

static void aggregator_done(aggregator *a)
{
    value_done(&a->in);
    mem_free(a->param);
    labelmap_done(&a->groups);
    mem_free(a->members);
    mem_free(a->first);
    mem_free(a->ranking);
    mem_free(a->numbers);
}

/* Counting sort of the series by their group's number. */
CHECKED static err_kind form_groups(aggregator *a)
{
    size_t n = a->in.len;
    const ast *node = a->node;
    label kept[LABELS_MAX];
    uint32_t *group_of = mem_alloc((n + 1) * sizeof *group_of);
    err_kind k = group_of ? OK : err_nomem(a->ev->e);
    labelmap_init(&a->groups, a->ev);
    for (size_t i = 0; !k && i < n; i++) {
        size_t number = 0;
        bool without = node->aggregate.without;
        labels l = labels_filter(a->in.at[i].labels, node->aggregate.labels, node->aggregate.label_count, !without, without, kept);
        k = labelmap_put(&a->groups, l, &number);
        group_of[i] = (uint32_t)number;
    }
    a->members = mem_alloc((n + 1) * sizeof *a->members);
    a->first = mem_calloc(a->groups.len + 2, sizeof *a->first);
    if (!k && (!a->members || !a->first))
        k = err_nomem(a->ev->e);
    for (size_t i = 0; !k && i < n; i++)
        a->first[group_of[i] + 2]++;
    for (size_t i = 2; !k && i < a->groups.len + 2; i++)
        a->first[i] += a->first[i - 1];
    for (size_t i = 0; !k && i < n; i++)
        a->members[a->first[group_of[i] + 1]++] = (uint32_t)i;
    mem_free(group_of);
    return k;
}

/* ---- one number a group ---- */

typedef struct accumulator { kahan_mean sum; double v, mean; } accumulator;

static void accumulate(aggregation op, accumulator *acc, double v)
{
    double count = ++acc->sum.count, delta;
    switch (op) {
    case AGG_SUM: kahan_add(&acc->sum.k, v); break;
    case AGG_AVG:
        acc->sum.count--;
        kahan_mean_add(&acc->sum, v);
        break;
    case AGG_MIN: acc->v = count == 1 || v < acc->v || isnan(acc->v) ? v : acc->v; break;
    case AGG_MAX: acc->v = count == 1 || v > acc->v || isnan(acc->v) ? v : acc->v; break;
    case AGG_STDDEV:
    case AGG_STDVAR:
        delta = v - acc->mean;
        acc->mean += delta / count;
        acc->v += delta * (v - acc->mean);
        if (count == 1)
            acc->v = isfinite(v) ? 0 : NAN;
        break;
    default: break;
    }
}

static double accumulated(aggregation op, const accumulator *acc)
{
    switch (op) {
    case AGG_SUM: return acc->sum.k.sum + acc->sum.k.c;
    case AGG_AVG: return kahan_mean_value(&acc->sum);
    case AGG_COUNT: return acc->sum.count;
    case AGG_GROUP: return 1;
    case AGG_STDVAR: return acc->v / acc->sum.count;
    case AGG_STDDEV: return sqrt(acc->v / acc->sum.count);
    default: return acc->v;
    }
}

/* ---- sums, step by step side by side ---- */

typedef struct sums { double *sum, *c, *count; } sums;

/* Add a series to the sums of all steps. An empty slot adds nothing, which a zero does too. */
WIDE static void add_series(const double *v, sums s, size_t steps)
{
    const lanes one = { 1, 1, 1, 1 };
    size_t i = 0;
    for (; i + LANES <= steps; i += LANES) {
        lanes x, sum, c, count;
        memcpy(&x, v + i, sizeof x);
        memcpy(&sum, s.sum + i, sizeof sum);
        memcpy(&c, s.c + i, sizeof c);
        memcpy(&count, s.count + i, sizeof count);
        lane_bits there = (lane_bits)x != (int64_t)STALE_NAN_BITS;
        x = (lanes)((lane_bits)x & there);
        count += (lanes)((lane_bits)one & there);
        LANE_ADD(sum, c, x);
        memcpy(s.sum + i, &sum, sizeof sum);
        memcpy(s.c + i, &c, sizeof c);
        memcpy(s.count + i, &count, sizeof count);
    }
    for (; i < steps; i++) {
        kahan k = { s.sum[i], s.c[i] };
        if (slot_empty(v[i]))
            continue;
        kahan_add(&k, v[i]);
        s.sum[i] = k.sum;
        s.c[i] = k.c;
        s.count[i]++;
    }
}

/* False where some sum met an infinity or NaN: those have rules of their own. */
static bool sums_value(aggregation op, sums s, size_t steps, double *out)
{
    for (size_t i = 0; i < steps; i++) {
        if (s.count[i] == 0)
            continue;
        if (!isfinite(s.sum[i]) || !isfinite(s.c[i]))
            return false;
        out[i] = op == AGG_SUM ? s.sum[i] + s.c[i] : s.sum[i] / s.count[i] + s.c[i] / s.count[i];
    }
    return true;
}

/* sum, avg and count of a group; *ret_done false: go slot by slot. `room`: three doubles a step. */
CHECKED static err_kind sum_group(aggregator *a, size_t group, double *room, double *out, size_t steps, bool *ret_done)
{
    sums s = { room, room + steps, room + 2 * steps };
    memset(room, 0, 3 * steps * sizeof *room);
    for (size_t m = a->first[group]; m < a->first[group + 1]; m++) {
        add_series(a->in.at[a->members[m]].v, s, steps);
        if (eval_spend(a->ev, steps))
            return a->ev->e->kind;
    }
    *ret_done = a->op == AGG_COUNT || sums_value(a->op, s, steps, out);
    for (size_t i = 0; a->op == AGG_COUNT && i < steps; i++)
        if (s.count[i] > 0)
            out[i] = s.count[i];
    return OK;
}

/* ---- any of them, slot by slot ---- */

CHECKED static err_kind reduce_group(aggregator *a, size_t group, accumulator *acc, value *ret)
{
    if (eval_tick(a->ev) || value_add(ret, a->groups.keys[group]))
        return a->ev->e->kind;
    double *out = ret->at[ret->len - 1].v;
    bool done = false;
    if (a->op == AGG_SUM || a->op == AGG_AVG || a->op == AGG_COUNT) {
        if (sum_group(a, group, (double *)(void *)acc, out, ret->steps, &done))
            return a->ev->e->kind;
        if (done)
            return OK;
    }
    memset(acc, 0, ret->steps * sizeof *acc);
    for (size_t m = a->first[group]; m < a->first[group + 1]; m++) {
        const double *v = a->in.at[a->members[m]].v;
        if (eval_spend(a->ev, ret->steps))
            return a->ev->e->kind;
        for (size_t i = 0; i < ret->steps; i++)
            if (!slot_empty(v[i]))
                accumulate(a->op, &acc[i], v[i]);
    }
    for (size_t i = 0; i < ret->steps; i++)
        if (acc[i].sum.count > 0)
            out[i] = accumulated(a->op, &acc[i]);
    return OK;
}

static err_kind reduce(aggregator *a, value *ret)
{
    accumulator *acc = mem_alloc(ret->steps * sizeof *acc);
    err_kind k = acc ? OK : err_nomem(a->ev->e);
    for (size_t group = 0; !k && group < a->groups.len; group++)
        k = reduce_group(a, group, acc, ret);
    mem_free(acc);
    return k;
}

static err_kind quantiles(aggregator *a, value *ret)
{
    for (size_t i = 0; i < ret->steps; i++)
        if (isnan(a->param[i]) || a->param[i] < 0 || a->param[i] > 1)
            eval_warn(a->ev, a->node->aggregate.param, "quantile value should be between 0 and 1, got %s", isnan(a->param[i]) ? "NaN" : format_go(a->param[i]).text);
    for (size_t group = 0; group < a->groups.len; group++) {
        if (eval_tick(a->ev) || value_add(ret, a->groups.keys[group]))
            return a->ev->e->kind;
        for (size_t i = 0; i < ret->steps; i++) {
            size_t n = 0;
            if (eval_spend(a->ev, a->first[group + 1] - a->first[group]))
                return a->ev->e->kind;
            for (size_t m = a->first[group]; m < a->first[group + 1]; m++)
                if (!slot_empty(a->in.at[a->members[m]].v[i]))
                    a->numbers[n++] = a->in.at[a->members[m]].v[i];
            if (n)
                ret->at[ret->len - 1].v[i] = quantile_of(a->param[i], a->numbers, n);
        }
    }
    return OK;
}

/* ---- some of the series themselves ---- */

/* Best first; NaN always last; equals in the order they came. */
static int rank_top(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (isnan(x->v) || isnan(y->v))
        return isnan(x->v) != isnan(y->v) ? isnan(x->v) - isnan(y->v) : (x->series > y->series) - (x->series < y->series);
    if (x->v != y->v)
        return x->v < y->v ? 1 : -1;
    return (x->series > y->series) - (x->series < y->series);
}

static int rank_bottom(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (!isnan(x->v) && !isnan(y->v) && x->v != y->v)
        return x->v > y->v ? 1 : -1;
    return rank_top(a, b);
}

/* A steady share: the place of a label set's hash between 0 and 1 decides, the same in every process. */
static bool ratio_takes(double ratio, labels l)
{
    uint64_t h = 0;
    for (size_t i = 0; i < l.len; i++)
        h = hash_str(l.at[i].value, hash_str(l.at[i].name, h) + 1);
    double place = (double)h / 18446744073709551616.0;
    return ratio >= 0 ? place < ratio : place >= 1 + ratio;
}

/* How many of the ranking's first stay. */
static size_t rank_members(aggregator *a, double param, size_t n)
{
    if (a->op == AGG_LIMIT_RATIO) {
        size_t kept = 0;
        for (size_t i = 0; i < n; i++)
            if (ratio_takes(param, a->in.at[a->ranking[i].series].labels))
                a->ranking[kept++] = a->ranking[i];
        return kept;
    }
    if (a->op != AGG_LIMITK)
        qsort(a->ranking, n, sizeof *a->ranking, a->op == AGG_TOPK ? rank_top : rank_bottom);
    return param < 1 ? 0 : (size_t)MIN(param, (double)n);
}

CHECKED static err_kind check_select_param(aggregator *a, size_t steps)
{
    for (size_t i = 0; i < steps; i++) {
        double p = a->param[i];
        if (isnan(p))
            return eval_fail(a->ev, a->op == AGG_LIMIT_RATIO ? "Ratio value is NaN" : "Parameter value is NaN");
        if (a->op == AGG_LIMIT_RATIO && fabs(p) > 1) {
            eval_warn(a->ev, a->node->aggregate.param, "ratio value should be between -1 and 1, got %s, capping to %d", format_go(p).text, p > 0 ? 1 : -1);
            a->param[i] = p > 0 ? 1 : -1;
        } else if (a->op != AGG_LIMIT_RATIO && fabs(p) >= 9223372036854775808.0) {
            return eval_fail(a->ev, "Scalar value %s %s int64", format_go(p).text, p > 0 ? "overflows" : "underflows");
        }
    }
    return OK;
}

/* Keep the chosen slots; an instant query also wants the chosen in their order. */
CHECKED static err_kind select_step(aggregator *a, size_t group, size_t step, size_t *out_of, value *ret)
{
    size_t n = 0;
    for (size_t m = a->first[group]; m < a->first[group + 1]; m++) {
        double v = a->in.at[a->members[m]].v[step];
        if (!slot_empty(v))
            a->ranking[n++] = (ranked){ v, a->members[m] };
    }
    size_t keep = rank_members(a, a->param[step], n);
    for (size_t i = 0; i < keep; i++) {
        size_t *out = &out_of[a->ranking[i].series];
        if (!*out) {
            if (value_add(ret, a->in.at[a->ranking[i].series].labels))
                return a->ev->e->kind;
            *out = ret->len;
        }
        ret->at[*out - 1].v[step] = a->ranking[i].v;
    }
    return OK;
}

static err_kind select_some(aggregator *a, value *ret)
{
    if (check_select_param(a, ret->steps))
        return a->ev->e->kind;
    size_t *out_of = mem_calloc(a->in.len + 1, sizeof *out_of);
    err_kind k = out_of ? OK : err_nomem(a->ev->e);
    for (size_t group = 0; !k && group < a->groups.len; group++)
        for (size_t step = 0; !k && step < ret->steps; step++) {
            k = eval_spend(a->ev, a->first[group + 1] - a->first[group]);
            if (!k)
                k = select_step(a, group, step, out_of, ret);
        }
    mem_free(out_of);
    return k;
}

/* ---- count_values ---- */

CHECKED static err_kind count_value(aggregator *a, labelmap *out_map, str name, size_t group, size_t step, double v, value *ret)
{
    str text = format_go_plain(a->ev->arena, v);
    labels l;
    size_t number;
    if (!text.ptr)
        return err_nomem(a->ev->e);
    if (labels_with(a->ev, a->groups.keys[group], name, text, &l) || labelmap_put(out_map, l, &number) ||
        (number == ret->len && value_add(ret, l)))
        return a->ev->e->kind;
    double *slot = &ret->at[number].v[step];
    *slot = slot_empty(*slot) ? 1 : *slot + 1;
    return OK;
}

static err_kind count_values(aggregator *a, value *ret)
{
    str name;
    labelmap out_map;
    if (eval_string(a->ev, a->node->aggregate.param, &name))
        return a->ev->e->kind;
    if (str_empty(name) || !str_utf8_valid(name))
        return eval_fail(a->ev, "invalid label name \"%" STR_FMT "\"", STR_ARG(name));
    labelmap_init(&out_map, a->ev);
    err_kind k = OK;
    for (size_t group = 0; group < a->groups.len; group++)
        for (size_t m = a->first[group]; m < a->first[group + 1] && !k; m++) {
            const double *v = a->in.at[a->members[m]].v;
            k = eval_spend(a->ev, ret->steps);
            for (size_t i = 0; i < ret->steps && !k; i++)
                if (!slot_empty(v[i]))
                    k = count_value(a, &out_map, name, group, i, v[i], ret);
        }
    labelmap_done(&out_map);
    return k;
}

/* ---- all together ---- */

static size_t largest_group(const aggregator *a)
{
    size_t most = 0;
    for (size_t i = 0; i < a->groups.len; i++)
        most = MAX(most, a->first[i + 1] - a->first[i]);
    return most;
}

static err_kind run(aggregator *a, value *ret)
{
    if (form_groups(a))
        return a->ev->e->kind;
    size_t room = largest_group(a) + 1;
    a->ranking = mem_alloc(room * sizeof *a->ranking);
    a->numbers = mem_alloc(room * sizeof *a->numbers);
    if (!a->ranking || !a->numbers)
        return err_nomem(a->ev->e);
    switch (a->op) {
    case AGG_TOPK:
    case AGG_BOTTOMK:
    case AGG_LIMITK:
    case AGG_LIMIT_RATIO: return select_some(a, ret);
    case AGG_QUANTILE: return quantiles(a, ret);
    case AGG_COUNT_VALUES: return count_values(a, ret);
    default: return reduce(a, ret);
    }
}

err_kind eval_aggregate(eval *ev, const ast *node, const grid *g, value *ret)
{
    aggregator a = { .ev = ev, .node = node, .op = node->aggregate.row->op };
    err_kind k = OK;
    value_init(ret, ev, PROMQL_VECTOR, g->n);
    if (node->aggregate.row->param == PROMQL_SCALAR)
        k = eval_scalar(ev, node->aggregate.param, g, &a.param);
    if (!k)
        k = eval_node(ev, node->aggregate.expr, g, &a.in);
    if (!k)
        k = run(&a, ret);
    aggregator_done(&a);
    return k;
}
