/* info(v, {selector}): data labels of info metrics (target_info …) beside the series they describe.
 * Prometheus: promql/info.go.
 *
 * Two series belong together if they agree on the identifying labels, `instance` and `job`. At every step the newest info
 * series of each info metric counts. The selector's matchers on __name__ choose the info metrics (default target_info;
 * where they only exclude, what ends in _info), the others choose info series and which of their labels are taken over. */
#include "query/functions/functions.h"

#define INFO_METRICS_MAX 1000

static const str identifying[] = { STR_INIT("instance"), STR_INIT("job") };
enum { IDENTIFYING = COUNT_OF(identifying) };

typedef struct joining {
    eval *ev;
    const ast *call;
    matcher *names, *data;       /* of the selector; compiled */
    size_t name_count, data_count;
    value base, times;           /* times: when each info series' sample was taken */
    bool *ignored;               /* by base series: it is an info series itself */
    vec(str) metrics;            /* names of info metrics found */
    labelmap signatures;         /* name and identifying labels → number */
    uint32_t *info_signature;    /* by info series; UINT32_MAX: cannot match */
    uint32_t *base_signature;    /* by base series, info metric */
    uint32_t *newest;            /* by signature: info series + 1 at this step */
    uint32_t *chosen;            /* by base series, info metric: what it was joined with last */
    uint32_t *out;               /* by base series: where the result went last, + 1; UINT32_MAX: nowhere */
    labelmap out_map;
} joining;

static void joining_done(joining *j)
{
    value_done(&j->base);
    value_done(&j->times);
    vec_done(&j->metrics);
    labelmap_done(&j->signatures);
    labelmap_done(&j->out_map);
    mem_free(j->ignored);
    mem_free(j->info_signature);
    mem_free(j->base_signature);
    mem_free(j->newest);
    mem_free(j->chosen);
    mem_free(j->out);
}

/* ---- which info series ---- */

/* The selector's matchers in two heaps; what it leaves open about the name is filled in. */
CHECKED static err_kind split_matchers(joining *j)
{
    const ast *selector = j->call->call.count > 1 ? ast_bare(j->call->call.args[1]) : NULL;
    size_t n = selector ? selector->selector.count : 0;
    matcher *names = arena_array(j->ev->arena, matcher, n + 1), *data = arena_array(j->ev->arena, matcher, n + 1);
    bool positive = false;
    if (!names || !data)
        return err_nomem(j->ev->e);
    for (size_t i = 0; i < n; i++) {
        const matcher *m = &selector->selector.matchers[i];
        if (str_eq(m->name, METRIC_NAME)) {
            names[j->name_count++] = *m;
            positive |= m->op == MATCH_EQ || m->op == MATCH_RE;
        } else {
            data[j->data_count++] = *m;
        }
    }
    if (j->name_count == 0)
        names[j->name_count++] = (matcher){ .name = METRIC_NAME, .value = STR("target_info"), .op = MATCH_EQ };
    else if (!positive)
        names[j->name_count++] = (matcher){ .name = METRIC_NAME, .value = STR(".+_info"), .op = MATCH_RE };
    return eval_matchers(j->ev, names, j->name_count, &j->names) || eval_matchers(j->ev, data, j->data_count, &j->data) ? j->ev->e->kind : OK;
}

static bool names_match(const joining *j, str name)
{
    for (size_t i = 0; i < j->name_count; i++)
        if (!matcher_match(&j->names[i], name))
            return false;
    return true;
}

/* The time the first selector below looks at, as modifiers of one selector: offsets add up until an @ nails them down. */
CHECKED static err_kind find_time(eval *ev, const ast *node, ast_modifiers *mod, int64_t *offset_ms)
{
    const ast *below[3] = { NULL };
    const ast_modifiers *own = NULL;
    int64_t more = 0;
    switch (node->kind) {
    case AST_SELECTOR: own = &node->selector.mod; break;
    case AST_MATRIX: own = &node->matrix.selector->selector.mod; break;
    case AST_SUBQUERY: own = &node->subquery.mod, below[0] = node->subquery.expr; break;
    case AST_AGGREGATE: below[0] = node->aggregate.expr; break;
    case AST_BINARY: below[0] = node->binary.left, below[1] = node->binary.right; break;
    case AST_UNARY: below[0] = node->unary.expr; break;
    case AST_PAREN: below[0] = node->paren.expr; break;
    case AST_CALL:
        for (size_t i = 0; i < node->call.count; i++)
            if (node->call.args[i]->type == PROMQL_VECTOR || node->call.args[i]->type == PROMQL_MATRIX)
                return find_time(ev, node->call.args[i], mod, offset_ms);
        return OK;
    case AST_NUMBER:
    case AST_STRING: return OK;
    }
    if (own) {
        if (own->offset && eval_duration(ev, own->offset, false, &more))
            return ev->e->kind;
        if (own->at)
            *mod = (ast_modifiers){ .at = own->at, .at_ms = own->at_ms };
        *offset_ms = own->at ? more : *offset_ms + more;
    }
    const ast *next = below[0] && below[0]->type == PROMQL_SCALAR && below[1] ? below[1] : below[0];
    return next ? find_time(ev, next, mod, offset_ms) : OK;
}

CHECKED static err_kind select_info(joining *j, const grid *g)
{
    eval *ev = j->ev;
    ast selector = { .kind = AST_SELECTOR, .type = PROMQL_VECTOR };
    int64_t offset_ms = 0;
    value samples = { 0 };
    if (find_time(ev, j->call->call.args[0], &selector.selector.mod, &offset_ms))
        return ev->e->kind;
    duration offset = { DUR_CONST, .seconds = (double)offset_ms / 1e3 };
    selector.selector.mod.offset = offset_ms ? &offset : NULL;
    selector.selector.count = j->name_count + j->data_count;
    selector.selector.matchers = arena_array(ev->arena, matcher, selector.selector.count);
    if (!selector.selector.matchers)
        return err_nomem(ev->e);
    memcpy(selector.selector.matchers, j->names, j->name_count * sizeof *j->names);
    memcpy(selector.selector.matchers + j->name_count, j->data, j->data_count * sizeof *j->data);
    err_kind k = eval_selector(ev, &selector, g, false, &samples);
    for (size_t i = 0; !k && i < samples.len; i++)
        if (samples.at[i].h)
            k = eval_fail(ev, "info sample should be float");
    value_done(&samples);
    return k ? k : eval_selector(ev, &selector, g, true, &j->times);
}

/* ---- who belongs to whom ---- */

CHECKED static err_kind signature(joining *j, str name, labels l, uint32_t *ret)
{
    label kept[IDENTIFYING + 1];
    size_t n = 0, number;
    kept[n++] = (label){ METRIC_NAME, name };
    for (size_t i = 0; i < IDENTIFYING; i++)
        if (!str_empty(labels_get(l, identifying[i])))
            kept[n++] = (label){ identifying[i], labels_get(l, identifying[i]) };
    if (labelmap_put(&j->signatures, (labels){ kept, n }, &number))
        return j->ev->e->kind;
    *ret = (uint32_t)number;
    return OK;
}

CHECKED static err_kind add_metric(joining *j, str name)
{
    for (size_t i = 0; i < j->metrics.len; i++)
        if (str_eq(j->metrics.at[i], name))
            return OK;
    if (j->metrics.len == INFO_METRICS_MAX)
        return err_set(j->ev->e, ERR_LIMIT, "info() found more than %d info metrics", INFO_METRICS_MAX);
    return vec_push(&j->metrics, name) ? err_nomem(j->ev->e) : OK;
}

/* An info series must have each identifying label that some base series has. */
CHECKED static err_kind sign_info(joining *j)
{
    bool needed[IDENTIFYING] = { false }, any = false;
    for (size_t i = 0; i < j->base.len; i++)
        for (size_t k = 0; k < IDENTIFYING && !j->ignored[i]; k++)
            needed[k] |= !str_empty(labels_get(j->base.at[i].labels, identifying[k]));
    for (size_t k = 0; k < IDENTIFYING; k++)
        any |= needed[k];
    for (size_t i = 0; i < j->times.len; i++) {
        labels l = j->times.at[i].labels;
        bool fits = any;
        for (size_t k = 0; k < IDENTIFYING; k++)
            fits &= !needed[k] || !str_empty(labels_get(l, identifying[k]));
        j->info_signature[i] = UINT32_MAX;
        if (fits && (add_metric(j, labels_name(l)) || signature(j, labels_name(l), l, &j->info_signature[i])))
            return j->ev->e->kind;
    }
    return OK;
}

CHECKED static err_kind sign_all(joining *j)
{
    j->info_signature = mem_alloc((j->times.len + 1) * sizeof *j->info_signature);
    if (!j->info_signature)
        return err_nomem(j->ev->e);
    if (sign_info(j))
        return j->ev->e->kind;
    size_t cells = j->base.len * j->metrics.len + 1;
    j->base_signature = mem_calloc(cells, sizeof *j->base_signature);
    j->chosen = mem_calloc(cells, sizeof *j->chosen);
    j->out = mem_calloc(j->base.len + 1, sizeof *j->out);
    if (!j->base_signature || !j->chosen || !j->out)
        return err_nomem(j->ev->e);
    for (size_t i = 0; i < j->base.len; i++)
        for (size_t k = 0; k < j->metrics.len; k++)
            if (signature(j, j->metrics.at[k], j->base.at[i].labels, &j->base_signature[i * j->metrics.len + k]))
                return j->ev->e->kind;
    j->newest = mem_calloc(j->signatures.len + 1, sizeof *j->newest);
    return j->newest ? OK : err_nomem(j->ev->e);
}

static err_kind fail_duplicate(joining *j, uint32_t a, uint32_t b, size_t step)
{
    AUTO(buf_done) buf x = BUF_INIT(120), y = BUF_INIT(120);
    labels_format(j->times.at[a].labels, &x);
    labels_format(j->times.at[b].labels, &y);
    int64_t t = (int64_t)round(j->times.at[a].v[step] * 1e3);
    return eval_fail(j->ev, "found duplicate series for info metric: existing %s @ %" PRId64 ", new %s @ %" PRId64, buf_cstr(&x), t, buf_cstr(&y), t);
}

CHECKED static err_kind find_newest(joining *j, size_t step)
{
    memset(j->newest, 0, j->signatures.len * sizeof *j->newest);
    for (uint32_t i = 0; i < j->times.len; i++) {
        double t = j->times.at[i].v[step];
        if (slot_empty(t) || j->info_signature[i] == UINT32_MAX)
            continue;
        uint32_t *best = &j->newest[j->info_signature[i]];
        double before = *best ? j->times.at[*best - 1].v[step] : -INFINITY;
        if (t == before)
            return fail_duplicate(j, *best - 1, i, step);
        if (t > before)
            *best = i + 1;
    }
    return OK;
}

/* ---- results ---- */

static bool is_wanted(const joining *j, str name)
{
    if (str_eq(name, METRIC_NAME))
        return false;
    for (size_t i = 0; i < j->data_count; i++)
        if (str_eq(j->data[i].name, name))
            return true;
    return j->data_count == 0;
}

CHECKED static err_kind take_labels(joining *j, labels base, labels info, labels *ret)
{
    for (size_t i = 0; i < info.len; i++) {
        str name = info.at[i].name, text = info.at[i].value, now = labels_get(*ret, name);
        if (!is_wanted(j, name) || !str_empty(labels_get(base, name)))
            continue;
        if (!str_empty(now) && !str_eq(now, text))
            return eval_fail(j->ev, "conflicting label: %" STR_FMT, STR_ARG(name));
        if (labels_with(j->ev, *ret, name, text, ret))
            return j->ev->e->kind;
    }
    return OK;
}

/* Nobody described it: it stays if the selector would have been content with nothing. */
static bool may_stay_bare(const joining *j)
{
    for (size_t i = 0; i < j->data_count; i++)
        if (!matcher_match(&j->data[i], STR_EMPTY))
            return false;
    return true;
}

/* Where base series `i` goes with the info series of this step. */
CHECKED static err_kind find_out(joining *j, size_t i, value *ret)
{
    const uint32_t *chosen = &j->chosen[i * j->metrics.len];
    labels l = j->base.at[i].labels;
    bool described = j->ignored[i] || may_stay_bare(j);
    size_t number;
    for (size_t k = 0; k < j->metrics.len; k++) {
        if (!chosen[k])
            continue;
        described = true;
        if (take_labels(j, j->base.at[i].labels, j->times.at[chosen[k] - 1].labels, &l))
            return j->ev->e->kind;
    }
    j->out[i] = UINT32_MAX;
    if (!described)
        return OK;
    if (labelmap_put(&j->out_map, l, &number) || (number == ret->len && value_add(ret, l)))
        return j->ev->e->kind;
    ret->at[number].drop_name = j->base.at[i].drop_name;
    j->out[i] = (uint32_t)number + 1;
    return OK;
}

CHECKED static err_kind join_series(joining *j, size_t i, size_t step, value *ret)
{
    uint32_t *chosen = &j->chosen[i * j->metrics.len];
    bool same = j->out[i] != 0;
    for (size_t k = 0; k < j->metrics.len && !j->ignored[i]; k++) {
        uint32_t now = j->newest[j->base_signature[i * j->metrics.len + k]];
        same &= now == chosen[k];
        chosen[k] = now;
    }
    if (!same && find_out(j, i, ret))
        return j->ev->e->kind;
    if (j->out[i] == UINT32_MAX)
        return OK;
    if (slot_filled(&ret->at[j->out[i] - 1], step))
        return eval_fail(j->ev, "vector cannot contain metrics with the same labelset");
    return value_set(ret, j->out[i] - 1, step, slot_of(&j->base.at[i], step));
}

static err_kind join_all(joining *j, value *ret)
{
    labelmap_init(&j->out_map, j->ev);
    for (size_t step = 0; step < ret->steps; step++) {
        if (eval_spend(j->ev, j->base.len + j->times.len) || find_newest(j, step))
            return j->ev->e->kind;
        for (size_t i = 0; i < j->base.len; i++)
            if (slot_filled(&j->base.at[i], step) && join_series(j, i, step, ret))
                return j->ev->e->kind;
    }
    return OK;
}

err_kind call_info(eval *ev, const ast *call, const grid *g, value *ret)
{
    joining j = { .ev = ev, .call = call };
    labelmap_init(&j.signatures, ev);
    value_init(ret, ev, PROMQL_VECTOR, g->n);
    err_kind k = eval_node(ev, call->call.args[0], g, &j.base);
    if (!k)
        k = split_matchers(&j);
    j.ignored = mem_calloc(j.base.len + 1, sizeof *j.ignored);
    if (!k && !j.ignored)
        k = err_nomem(ev->e);
    for (size_t i = 0; !k && i < j.base.len; i++)
        j.ignored[i] = names_match(&j, labels_name(j.base.at[i].labels));
    if (!k)
        k = select_info(&j, g);
    if (!k)
        k = sign_all(&j);
    if (!k)
        k = join_all(&j, ret);
    joining_done(&j);
    return k;
}
