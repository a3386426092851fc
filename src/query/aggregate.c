/* Aggregations over the series of an instant vector, group by group. Prometheus: promql/engine.go, aggregation(). */
#include "query/functions/functions.h"
#include "base/hash.h"
#include "query/lanes.h"
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

#define RATIO_LABELS_MAX ((size_t)LABELS_MAX * 2 * (LABEL_MAX_BYTES + 4))

typedef struct ranked { double v; const histogram *h; uint32_t series; } ranked;

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

/* Of what only has an order among floats. */
static void tell_ignored(const aggregator *a)
{
    eval_info(a->ev, a->node->aggregate.expr, "ignored histogram in %s aggregation", a->node->aggregate.row->name);
}

/* A new series for a group; whether its name goes later is as with the first of its members. */
CHECKED static err_kind add_group(aggregator *a, size_t group, value *ret)
{
    if (eval_tick(a->ev) || value_add(ret, a->groups.keys[group]))
        return a->ev->e->kind;
    ret->at[ret->len - 1].drop_name = a->in.at[a->members[a->first[group]]].drop_name;
    return OK;
}

static bool group_has_histograms(const aggregator *a, size_t group)
{
    for (size_t m = a->first[group]; m < a->first[group + 1]; m++)
        if (a->in.at[a->members[m]].h)
            return true;
    return false;
}

static void warn_incompatible(const aggregator *a, str name)
{
    str part = metric_part(a->ev, name);
    eval_warn(a->ev, a->node->aggregate.expr, "vector contains a mix of histograms with exponential and custom buckets schemas%" STR_FMT, STR_ARG(part));
}

/* sum or avg of a group's histograms at one step; `floats`: it has some of those too. */
CHECKED static err_kind combine_histograms(aggregator *a, size_t group, size_t step, bool floats, value *ret)
{
    histogram_mean mean = { .only_sum = a->op == AGG_SUM };
    err_kind k = OK;
    str name = STR_EMPTY;
    for (size_t m = a->first[group]; !k && m < a->first[group + 1]; m++) {
        const vseries *s = &a->in.at[a->members[m]];
        if (!s->h || !s->h[step])
            continue;
        name = labels_name(s->labels);
        k = floats ? ERR_NOT_FOUND : histogram_mean_add(&mean, s->h[step]);
    }
    if (k == ERR_NOT_FOUND) {
        eval_warn(a->ev, a->node->aggregate.expr, "encountered a mix of histograms and floats for aggregation");
        ret->at[ret->len - 1].v[step] = EMPTY_SLOT;
        k = OK;
    } else if (k == ERR_INVALID) {
        warn_incompatible(a, name);
        k = OK;
    } else if (!k && mean.count > 0) {
        histogram_mean_tell(&mean, a->ev, a->node->aggregate.expr);
        const histogram *h = histogram_mean_value(&mean, a->ev->arena);
        k = h ? value_set(ret, ret->len - 1, step, (slot){ EMPTY_SLOT, h }) : ERR_NOMEM;
    }
    histogram_mean_done(&mean);
    return k == ERR_NOMEM ? err_nomem(a->ev->e) : k;
}

CHECKED static err_kind reduce_histograms(aggregator *a, size_t group, accumulator *acc, value *ret)
{
    if (a->op == AGG_SUM || a->op == AGG_AVG) {
        for (size_t i = 0; i < ret->steps; i++)
            if (eval_spend(a->ev, 10 * (a->first[group + 1] - a->first[group])) || combine_histograms(a, group, i, acc[i].sum.count > 0, ret))
                return a->ev->e->kind;
        return OK;
    }
    bool counted = a->op == AGG_COUNT || a->op == AGG_GROUP, ignored = false;
    for (size_t m = a->first[group]; m < a->first[group + 1]; m++) {
        const vseries *s = &a->in.at[a->members[m]];
        for (size_t i = 0; s->h && i < ret->steps; i++) {
            acc[i].sum.count += counted && s->h[i];
            ignored |= s->h[i] && !counted;
        }
    }
    if (ignored)
        tell_ignored(a);
    return OK;
}

CHECKED static err_kind reduce_group(aggregator *a, size_t group, accumulator *acc, value *ret)
{
    if (add_group(a, group, ret))
        return a->ev->e->kind;
    double *out = ret->at[ret->len - 1].v;
    bool combines = a->op == AGG_SUM || a->op == AGG_AVG, native = group_has_histograms(a, group), done = false;
    if ((combines || a->op == AGG_COUNT) && !native) {
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
    if (native && !combines && reduce_histograms(a, group, acc, ret))
        return a->ev->e->kind;
    for (size_t i = 0; i < ret->steps; i++)
        if (acc[i].sum.count > 0)
            out[i] = accumulated(a->op, &acc[i]);
    return native && combines ? reduce_histograms(a, group, acc, ret) : OK;
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
        bool ignored = false;
        if (add_group(a, group, ret))
            return a->ev->e->kind;
        for (size_t i = 0; i < ret->steps; i++) {
            size_t n = 0;
            if (eval_spend(a->ev, a->first[group + 1] - a->first[group]))
                return a->ev->e->kind;
            for (size_t m = a->first[group]; m < a->first[group + 1]; m++) {
                slot one = slot_of(&a->in.at[a->members[m]], i);
                if (!slot_empty(one.v))
                    a->numbers[n++] = one.v;
                ignored |= one.h != NULL;
            }
            if (n)
                ret->at[ret->len - 1].v[i] = quantile_of(a->param[i], a->numbers, n);
        }
        if (ignored)
            tell_ignored(a);
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

/* A steady share: the place of a label set's hash between 0 and 1 decides, the very hash Prometheus takes (XXH64 over its
 * labels, each text behind its length: model/labels/labels_stringlabels.go), so both choose the same series. */
CHECKED static err_kind ratio_takes(aggregator *a, double ratio, labels l, bool *ret)
{
    AUTO(buf_done) buf text = BUF_INIT(RATIO_LABELS_MAX);
    for (size_t i = 0; i < 2 * l.len; i++) {
        str s = i % 2 ? l.at[i / 2].value : l.at[i / 2].name;
        unsigned char length[4] = { (unsigned char)MIN(s.len, (size_t)255), (unsigned char)s.len, (unsigned char)(s.len >> 8), (unsigned char)(s.len >> 16) };
        buf_append(&text, str_of((const char *)length, s.len < 255 ? 1 : 4));
        buf_append(&text, s);
    }
    if (buf_failed(&text))
        return err_nomem(a->ev->e);
    double place = (double)hash_xxh64(text.ptr, text.len) / 18446744073709551616.0;
    *ret = ratio >= 0 ? place < ratio : place >= 1 + ratio;
    return OK;
}

CHECKED static err_kind keep_share(aggregator *a, double ratio, size_t n, size_t *ret_kept)
{
    *ret_kept = 0;
    for (size_t i = 0; i < n; i++) {
        bool takes = false;
        if (ratio_takes(a, ratio, a->in.at[a->ranking[i].series].labels, &takes))
            return a->ev->e->kind;
        if (takes)
            a->ranking[(*ret_kept)++] = a->ranking[i];
    }
    return OK;
}

/* How many of the ranking's first stay. */
CHECKED static err_kind rank_members(aggregator *a, double param, size_t n, size_t *ret_kept)
{
    if (a->op == AGG_LIMIT_RATIO)
        return keep_share(a, param, n, ret_kept);
    if (a->op != AGG_LIMITK)
        qsort(a->ranking, n, sizeof *a->ranking, a->op == AGG_TOPK ? rank_top : rank_bottom);
    *ret_kept = param < 1 ? 0 : (size_t)MIN(param, (double)n);
    return OK;
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
    size_t n = 0, kept;
    bool any_kind = a->op == AGG_LIMITK || a->op == AGG_LIMIT_RATIO, ignored = false;
    for (size_t m = a->first[group]; m < a->first[group + 1]; m++) {
        slot one = slot_of(&a->in.at[a->members[m]], step);
        if (!slot_empty(one.v) || (one.h && any_kind))
            a->ranking[n++] = (ranked){ one.v, one.h, a->members[m] };
        ignored |= one.h && !any_kind;
    }
    if (ignored)
        tell_ignored(a);
    if (rank_members(a, a->param[step], n, &kept))
        return a->ev->e->kind;
    for (size_t i = 0; i < kept; i++) {
        const vseries *from = &a->in.at[a->ranking[i].series];
        size_t *out = &out_of[a->ranking[i].series];
        if (!*out) {
            if (value_add(ret, from->labels))
                return a->ev->e->kind;
            *out = ret->len;
            ret->at[*out - 1].drop_name = from->drop_name;
        }
        if (value_set(ret, *out - 1, step, (slot){ a->ranking[i].v, a->ranking[i].h }))
            return a->ev->e->kind;
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

CHECKED static err_kind count_value(aggregator *a, labelmap *out_map, str name, size_t group, size_t step, slot s, value *ret)
{
    str text = s.h ? format_histogram(a->ev->arena, s.h) : format_go_plain(a->ev->arena, s.v);
    labels l;
    size_t number;
    if (!text.ptr)
        return err_nomem(a->ev->e);
    if (labels_with(a->ev, a->groups.keys[group], name, text, &l) || labelmap_put(out_map, l, &number) ||
        (number == ret->len && value_add(ret, l)))
        return a->ev->e->kind;
    double *count = &ret->at[number].v[step];
    *count = slot_empty(*count) ? 1 : *count + 1;
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
            const vseries *s = &a->in.at[a->members[m]];
            k = eval_spend(a->ev, ret->steps);
            for (size_t i = 0; i < ret->steps && !k; i++)
                if (slot_filled(s, i))
                    k = count_value(a, &out_map, name, group, i, slot_of(s, i), ret);
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

/* What the selection below may leave out. The order of additions shows in the last digits of a sum; a count, a smallest
 * and a largest are the same in any order, and counting all alike needs no labels. */
static void hint_input(eval *ev, const ast *node)
{
    aggregation op = node->aggregate.row->op;
    bool selector = ast_bare(node->aggregate.expr)->kind == AST_SELECTOR;
    ev->hints.unordered = selector && (op == AGG_COUNT || op == AGG_GROUP || op == AGG_MIN || op == AGG_MAX);
    ev->hints.unlabelled = ev->hints.unordered && (op == AGG_COUNT || op == AGG_GROUP) && !node->aggregate.grouped;
}

err_kind eval_aggregate(eval *ev, const ast *node, const grid *g, value *ret)
{
    aggregator a = { .ev = ev, .node = node, .op = node->aggregate.row->op };
    err_kind k = OK;
    value_init(ret, ev, PROMQL_VECTOR, g->n);
    if (node->aggregate.row->param == PROMQL_SCALAR)
        k = eval_scalar(ev, node->aggregate.param, g, &a.param);
    hint_input(ev, node);
    if (!k)
        k = eval_node(ev, node->aggregate.expr, g, &a.in);
    ev->hints.unordered = ev->hints.unlabelled = false;
    if (!k)
        k = run(&a, ret);
    aggregator_done(&a);
    return k;
}
