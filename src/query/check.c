/* What only shows on the finished tree: types, matchers that match everything, how vectors may be joined.
 * Order and words of the checks: Prometheus's checkAST in promql/parser/parse.go. */
#include "query/ast.h"
#include "base/regex.h"
#include "query/tables.h"
#include <stdio.h>

typedef struct checker { str text; err *e; } checker;

static err_kind check_node(checker *c, ast *node);

static err_kind PRINTF_LIKE(3, 4) check_fail(checker *c, uint32_t at, const char *fmt, ...)
{
    char message[360];
    uint32_t line, column;
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    ast_place(c->text, at, &line, &column);
    err_set(c->e, ERR_PARSE, "parse error: %s", message);
    return err_at(c->e, line, column);
}

static err_kind expect_type(checker *c, ast *node, promql_type want, const char *context)
{
    if (check_node(c, node))
        return c->e->kind;
    if (node->type == want)
        return OK;
    check_fail(c, node->span.start, "expected type %s in %s, got %s", promql_type_documented(want), context,
               promql_type_documented(node->type));
    if (want == PROMQL_MATRIX && node->type == PROMQL_VECTOR)
        return err_hint(c->e, "Give it a range, as in rate(metric[5m]).");
    if (want == PROMQL_VECTOR && node->type == PROMQL_MATRIX)
        return err_hint(c->e, "A range vector must go through a function first, as in rate(metric[5m]).");
    return c->e->kind;
}

/* ---- selectors ---- */

static err_kind matches_empty(checker *c, const matcher *m, bool *ret)
{
    AUTO(regex_freep) regex *re = NULL;
    matcher with_regex = *m;
    bool is_regex = m->op == MATCH_RE || m->op == MATCH_NRE;
    if (is_regex && regex_compile(m->value, true, &re, c->e))
        return c->e->kind;
    with_regex.re = re;
    *ret = matcher_match(&with_regex, STR(""));
    return OK;
}

static err_kind check_name_once(checker *c, const ast *node)
{
    const matcher *m = node->selector.matchers;
    str first = node->selector.name;
    size_t n = node->selector.count - (first.ptr ? 1 : 0);
    for (size_t i = 0; i < n; i++)
        if (first.ptr && str_eq(m[i].name, METRIC_NAME))
            return check_fail(c, node->span.start, "metric name must not be set twice: \"%" STR_FMT "\" or \"%" STR_FMT "\"",
                              STR_ARG(first), STR_ARG(m[i].value));
    return OK;
}

static err_kind check_selector(checker *c, const ast *node)
{
    if (node->selector.name.ptr)
        return check_name_once(c, node);
    for (size_t i = 0; i < node->selector.count; i++) {
        bool empty = true;
        if (matches_empty(c, &node->selector.matchers[i], &empty))
            return c->e->kind;
        if (!empty)
            return OK;
    }
    return check_fail(c, node->span.start, "vector selector must contain at least one non-empty matcher");
}

/* ---- calls ---- */

static err_kind check_arg_count(checker *c, const ast *node)
{
    const function_row *f = node->call.row;
    size_t got = node->call.count, most = f->arg_count;
    size_t least = f->variadic == 0 ? most : f->variadic < 0 ? most - 1 : most - (size_t)f->variadic;
    if (f->variadic == 0 && got != most)
        return check_fail(c, node->span.start, "expected %zu argument(s) in call to \"%s\", got %zu", most, f->name, got);
    if (got < least)
        return check_fail(c, node->span.start, "expected at least %zu argument(s) in call to \"%s\", got %zu", least, f->name, got);
    if (f->variadic >= 0 && got > most)
        return check_fail(c, node->span.start, "expected at most %zu argument(s) in call to \"%s\", got %zu", most, f->name, got);
    return OK;
}

static bool call_is_info(const ast *node)
{
    return str_is(str_from(node->call.row->name), "info");
}

/* The second argument of info() is not evaluated: its matchers choose, and they may all match nothing. */
static err_kind check_info(checker *c, ast *node, const char *context)
{
    ast *selector = node->call.args[1];
    if (expect_type(c, node->call.args[0], PROMQL_VECTOR, context))
        return c->e->kind;
    if (selector->type != PROMQL_VECTOR)
        return expect_type(c, selector, PROMQL_VECTOR, context);
    if (selector->kind != AST_SELECTOR || selector->selector.name.ptr)
        return check_fail(c, selector->span.start, "expected label selectors only, got vector selector instead");
    return OK;
}

static err_kind check_call(checker *c, ast *node)
{
    const function_row *f = node->call.row;
    char context[80];
    if (check_arg_count(c, node))
        return c->e->kind;
    snprintf(context, sizeof context, "call to function \"%s\"", f->name);
    if (call_is_info(node) && node->call.count == 2)
        return check_info(c, node, context);
    for (size_t i = 0; i < node->call.count; i++)
        if (expect_type(c, node->call.args[i], f->args[MIN(i, f->arg_count - 1u)], context))
            return c->e->kind;
    return OK;
}

static err_kind check_aggregate(checker *c, ast *node)
{
    if (expect_type(c, node->aggregate.expr, PROMQL_VECTOR, "aggregation expression"))
        return c->e->kind;
    if (node->aggregate.param)
        return expect_type(c, node->aggregate.param, node->aggregate.row->param, "aggregation parameter");
    return OK;
}

/* ---- operators ---- */

/* Where the operator itself starts: behind the left side's last byte and the blanks there. */
static uint32_t operator_place(const checker *c, const ast *node)
{
    uint32_t at = node->binary.left->span.end;
    while (at < c->text.len && strchr(" \t\r\n", c->text.ptr[at]))
        at++;
    return at;
}

static err_kind check_bool(checker *c, const ast *node)
{
    bool scalars = node->binary.left->type == PROMQL_SCALAR && node->binary.right->type == PROMQL_SCALAR;
    if (node->binary.return_bool && !node->binary.row->comparison)
        return check_fail(c, operator_place(c, node), "bool modifier can only be used on comparison operators");
    if (node->binary.row->comparison && !node->binary.return_bool && scalars) {
        check_fail(c, operator_place(c, node), "comparisons between scalars must use BOOL modifier");
        return err_hint(c->e, "Write %s bool to get 0 or 1.", node->binary.row->text);
    }
    return OK;
}

static err_kind check_matching_labels(checker *c, const ast *node)
{
    const ast_matching *m = node->binary.matching;
    for (size_t i = 0; m->on && i < m->label_count; i++)
        for (size_t k = 0; k < m->include_count; k++)
            if (str_eq(m->labels[i], m->include[k]))
                return check_fail(c, operator_place(c, node), "label \"%" STR_FMT "\" must not occur in ON and GROUP clause at once", STR_ARG(m->labels[i]));
    return OK;
}

static err_kind check_sides(checker *c, const ast *node)
{
    const ast *sides[] = { node->binary.left, node->binary.right };
    if (node->binary.row->trim && sides[0]->type == PROMQL_SCALAR && sides[1]->type == PROMQL_SCALAR)
        return check_fail(c, operator_place(c, node), "operator \"%s\" not allowed for Scalar operations", node->binary.row->text);
    for (int i = 0; i < 2; i++)
        if (sides[i]->type != PROMQL_SCALAR && sides[i]->type != PROMQL_VECTOR)
            return check_fail(c, sides[i]->span.start, "binary expression must contain only scalar and instant vector types");
    return OK;
}

static err_kind check_binary(checker *c, ast *node)
{
    const ast_matching *m = node->binary.matching;
    const binop_row *op = node->binary.row;
    if (check_node(c, node->binary.left) || check_node(c, node->binary.right) || check_bool(c, node) ||
        check_matching_labels(c, node) || check_sides(c, node))
        return c->e->kind;
    bool vectors = node->binary.left->type == PROMQL_VECTOR && node->binary.right->type == PROMQL_VECTOR;
    bool grouped = m->card == CARD_MANY_TO_ONE || m->card == CARD_ONE_TO_MANY;
    if (!vectors && m->label_count)
        return check_fail(c, node->span.start, "vector matching only allowed between instant vectors");
    if (vectors && op->set && grouped)
        return check_fail(c, node->span.start, "no grouping allowed for \"%s\" operation", op->text);
    if (vectors && op->set && (m->fill_left || m->fill_right))
        return check_fail(c, node->span.start, "filling in missing series not allowed for set operators");
    if (!vectors && op->set)
        return check_fail(c, node->span.start, "set operator \"%s\" not allowed in binary scalar expression", op->text);
    return OK;
}

static err_kind check_unary(checker *c, ast *node)
{
    if (check_node(c, node->unary.expr))
        return c->e->kind;
    if (node->unary.expr->type == PROMQL_SCALAR || node->unary.expr->type == PROMQL_VECTOR)
        return OK;
    return check_fail(c, node->span.start, "unary expression only allowed on expressions of type scalar or instant vector, got \"%s\"",
                      promql_type_documented(node->unary.expr->type));
}

static err_kind check_subquery(checker *c, ast *node)
{
    if (check_node(c, node->subquery.expr))
        return c->e->kind;
    if (node->subquery.expr->type == PROMQL_VECTOR)
        return OK;
    return check_fail(c, node->span.start, "subquery is only allowed on instant vector, got %s instead",
                      promql_type_name(node->subquery.expr->type));
}

static err_kind check_node(checker *c, ast *node)
{
    switch (node->kind) {
    case AST_SELECTOR: return check_selector(c, node);
    case AST_MATRIX: return check_selector(c, node->matrix.selector);
    case AST_SUBQUERY: return check_subquery(c, node);
    case AST_CALL: return check_call(c, node);
    case AST_AGGREGATE: return check_aggregate(c, node);
    case AST_BINARY: return check_binary(c, node);
    case AST_UNARY: return check_unary(c, node);
    case AST_PAREN: return check_node(c, node->paren.expr);
    case AST_NUMBER:
    case AST_STRING: break;
    }
    return OK;
}

/* ---- step invariance: what @ nails to one time is worked out once (promql/engine.go, PreprocessExpr) ---- */

static bool mark_invariant(ast *node);

static bool mark_all(ast *const *args, size_t n)
{
    bool all = true;
    for (size_t i = 0; i < n; i++)
        all &= mark_invariant(args[i]);
    return all;
}

static bool offset_depends_on_query(const ast_modifiers *mod)
{
    return mod->offset && mod->offset->op != DUR_CONST;
}

static bool mark_invariant(ast *node)
{
    bool yes = false;
    switch (node->kind) {
    case AST_NUMBER:
    case AST_STRING: yes = true; break;
    case AST_SELECTOR: yes = node->selector.mod.at && !offset_depends_on_query(&node->selector.mod); break;
    case AST_MATRIX: yes = mark_invariant(node->matrix.selector); break;
    case AST_SUBQUERY:
        mark_invariant(node->subquery.expr);
        yes = node->subquery.mod.at && !offset_depends_on_query(&node->subquery.mod);
        break;
    case AST_CALL: yes = mark_all(node->call.args, node->call.count) && !node->call.row->time_dependent; break;
    case AST_AGGREGATE:
        yes = mark_invariant(node->aggregate.expr);
        if (node->aggregate.param)
            yes &= mark_invariant(node->aggregate.param);
        break;
    case AST_BINARY: yes = mark_all((ast *[]){ node->binary.left, node->binary.right }, 2); break;
    case AST_UNARY: yes = mark_invariant(node->unary.expr); break;
    case AST_PAREN: yes = mark_invariant(node->paren.expr); break;
    }
    node->step_invariant = yes;
    return yes;
}

/* ---- histogram_count(x) needs no buckets (promql/engine.go, detectHistogramStatsDecoding) ---- */

typedef enum stats_use { STATS_UNKNOWN, STATS_ENOUGH, STATS_NOT } stats_use;

static stats_use stats_below_call(const ast *call, stats_use use)
{
    static const char *const enough[] = { "histogram_count", "histogram_sum", "histogram_avg" };
    str name = str_from(call->call.row->name);
    for (size_t i = 0; i < COUNT_OF(enough); i++)
        if (str_is(name, enough[i]))
            return use == STATS_NOT ? STATS_NOT : STATS_ENOUGH;
    return str_starts(name, STR("histogram_")) ? STATS_NOT : use;
}

/* Every operator starts anew: what stands on its sides meets whole. */
static void mark_stats(ast *node, stats_use use)
{
    switch (node->kind) {
    case AST_SELECTOR: node->selector.stats = use == STATS_ENOUGH; return;
    case AST_MATRIX: mark_stats(node->matrix.selector, use); return;
    case AST_SUBQUERY: mark_stats(node->subquery.expr, STATS_NOT); return;
    case AST_CALL:
        for (size_t i = 0; i < node->call.count; i++)
            mark_stats(node->call.args[i], stats_below_call(node, use));
        return;
    case AST_AGGREGATE:
        mark_stats(node->aggregate.expr, use);
        if (node->aggregate.param)
            mark_stats(node->aggregate.param, use);
        return;
    case AST_BINARY:
        mark_stats(node->binary.left, STATS_UNKNOWN);
        mark_stats(node->binary.right, STATS_UNKNOWN);
        return;
    case AST_UNARY: mark_stats(node->unary.expr, use); return;
    case AST_PAREN: mark_stats(node->paren.expr, use); return;
    case AST_NUMBER:
    case AST_STRING: return;
    }
}

err_kind ast_check(ast *root, str text, err *e)
{
    checker c = { text, e };
    if (check_node(&c, root))
        return e->kind;
    mark_invariant(root);
    mark_stats(root, STATS_UNKNOWN);
    return OK;
}
