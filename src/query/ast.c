#include "query/ast.h"
#include "query/tables.h"
#include <stdio.h>

const char *promql_type_name(promql_type t)
{
    static const char *const names[] = { "none", "scalar", "vector", "matrix", "string" };
    return names[t];
}

const char *promql_type_documented(promql_type t)
{
    return t == PROMQL_VECTOR ? "instant vector" : t == PROMQL_MATRIX ? "range vector" : promql_type_name(t);
}

void ast_place(str text, uint32_t offset, uint32_t *ret_line, uint32_t *ret_column)
{
    uint32_t line = 1, line_start = 0;
    for (uint32_t i = 0; i < offset && i < text.len; i++)
        if (text.ptr[i] == '\n')
            line++, line_start = i + 1;
    *ret_line = line;
    *ret_column = offset - line_start + 1;
}

void ast_quote(str s, buf *out)
{
    static const char from[] = "\a\b\f\n\r\t\v\\\"", to[] = "abfnrtv\\\"";
    buf_append_char(out, '"');
    for (size_t i = 0; i < s.len;) {
        unsigned char c = (unsigned char)s.ptr[i];
        const char *simple = c ? strchr(from, c) : NULL;
        size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        bool valid = str_utf8_valid(str_sub(s, i, n)) && i + n <= s.len;
        if (simple)
            buf_printf(out, "\\%c", to[simple - from]);
        else if (c < 32 || c == 127 || !valid)
            buf_printf(out, "\\x%02x", c), n = 1;
        else
            buf_append(out, str_sub(s, i, n));
        i += n;
    }
    buf_append_char(out, '"');
}

/* ---- durations ---- */

static void put_ms(int64_t ms, buf *out)
{
    char text[CLOCK_ISO_MAX];
    if (ms < 0)
        buf_append_char(out, '-');
    buf_append(out, str_of(text, clock_format_duration(text, ms < 0 ? -ms : ms)));
}

static void put_part(const duration *d, bool alone, buf *out);

static void put_duration(const duration *d, buf *out)
{
    static const char *const ops[] = { [DUR_ADD] = " + ", [DUR_SUB] = " - ", [DUR_MUL] = " * ", [DUR_DIV] = " / ",
                                       [DUR_MOD] = " % ", [DUR_POW] = " ^ ", [DUR_MIN] = ", ", [DUR_MAX] = ", " };
    bool call = d->op == DUR_MIN || d->op == DUR_MAX;
    if (call)
        buf_append(out, d->op == DUR_MIN ? STR("min_of(") : STR("max_of("));
    if (d->op == DUR_NEG || d->op == DUR_POS)
        buf_append_char(out, d->op == DUR_NEG ? '-' : '+');
    if (d->left)
        put_part(d->left, false, out);
    if (d->right) {
        buf_append(out, str_from(ops[d->op]));
        put_part(d->right, false, out);
    }
    if (d->op == DUR_STEP || d->op == DUR_RANGE)
        buf_append(out, d->op == DUR_STEP ? STR("step()") : STR("range()"));
    if (call)
        buf_append_char(out, ')');
}

/* [300] is 5m; inside a calculation a number may be a factor and stays what it is. */
static void put_part(const duration *d, bool alone, buf *out)
{
    if (d->parens)
        buf_append_char(out, '(');
    if (d->op == DUR_CONST && (d->unit || alone))
        put_ms((int64_t)(d->seconds * 1e3 + (d->seconds < 0 ? -0.5 : 0.5)), out);
    else if (d->op == DUR_CONST)
        buf_append_double(out, d->seconds);
    else
        put_duration(d, out);
    if (d->parens)
        buf_append_char(out, ')');
}

void duration_format(const duration *d, buf *out)
{
    put_part(d, true, out);
}

/* ---- pieces both layouts share ---- */

static void put_labels(const str *names, size_t n, buf *out)
{
    buf_append_char(out, '(');
    for (size_t i = 0; i < n; i++) {
        buf_append(out, i ? STR(", ") : STR(""));
        if (label_name_valid(names[i]))
            buf_append(out, names[i]);
        else
            ast_quote(names[i], out);
    }
    buf_append_char(out, ')');
}

static void put_matcher(const matcher *m, buf *out)
{
    static const char *const ops[] = { [MATCH_EQ] = "=", [MATCH_NE] = "!=", [MATCH_RE] = "=~", [MATCH_NRE] = "!~" };
    if (label_name_valid(m->name))
        buf_append(out, m->name);
    else
        ast_quote(m->name, out);
    buf_append(out, str_from(ops[m->op]));
    ast_quote(m->value, out);
}

/* name{matchers}; a name outside is not repeated, one that needs quotes moves inside. */
static void put_selector(const ast *node, buf *out)
{
    str name = node->selector.name;
    bool quoted = name.ptr && !metric_name_valid(name);
    size_t n = node->selector.count - (name.ptr ? 1 : 0);
    if (name.ptr && !quoted)
        buf_append(out, name);
    if (n == 0 && name.ptr && !quoted)
        return;
    buf_append_char(out, '{');
    if (quoted)
        ast_quote(name, out);
    for (size_t i = 0; i < n; i++) {
        if (i || quoted)
            buf_append_char(out, ',');
        put_matcher(&node->selector.matchers[i], out);
    }
    buf_append_char(out, '}');
}

static void put_modifiers(const ast_modifiers *mod, buf *out)
{
    if (mod->at == AT_TIME)
        buf_printf(out, " @ %.3f", (double)mod->at_ms / 1e3);
    else if (mod->at)
        buf_append(out, mod->at == AT_START ? STR(" @ start()") : STR(" @ end()"));
    if (!mod->offset)
        return;
    buf_append(out, STR(" offset "));
    duration_format(mod->offset, out);
}

static void put_mode(range_mode mode, buf *out)
{
    if (mode != RANGE_PLAIN)
        buf_append(out, mode == RANGE_ANCHORED ? STR(" anchored") : STR(" smoothed"));
}

static void put_matching(const ast *node, buf *out)
{
    const ast_matching *m = node->binary.matching;
    if (node->binary.return_bool)
        buf_append(out, STR(" bool"));
    if (m->written && (m->on || m->label_count || m->card == CARD_MANY_TO_ONE || m->card == CARD_ONE_TO_MANY)) {
        buf_append(out, m->on ? STR(" on ") : STR(" ignoring "));
        put_labels(m->labels, m->label_count, out);
    }
    if (m->card == CARD_MANY_TO_ONE || m->card == CARD_ONE_TO_MANY) {
        buf_append(out, m->card == CARD_MANY_TO_ONE ? STR(" group_left ") : STR(" group_right "));
        put_labels(m->include, m->include_count, out);
    }
    bool same = m->fill_left && m->fill_right && m->left_value == m->right_value;
    if (m->fill_left) {
        buf_append(out, same ? STR(" fill (") : STR(" fill_left ("));
        buf_append_double(out, m->left_value);
        buf_append_char(out, ')');
    }
    if (m->fill_right && !same) {
        buf_append(out, STR(" fill_right ("));
        buf_append_double(out, m->right_value);
        buf_append_char(out, ')');
    }
}

static void put_aggregate_head(const ast *node, buf *out)
{
    buf_append(out, str_from(node->aggregate.row->name));
    if (!node->aggregate.without && !node->aggregate.label_count)
        return;
    buf_append(out, node->aggregate.without ? STR(" without ") : STR(" by "));
    put_labels(node->aggregate.labels, node->aggregate.label_count, out);
    buf_append_char(out, ' ');
}

static void put_number(const ast *node, buf *out)
{
    if (node->number.unit)
        put_ms((int64_t)(node->number.value * 1e3 + (node->number.value < 0 ? -0.5 : 0.5)), out);
    else
        buf_append_double(out, node->number.value);
}

static void put_subquery_tail(const ast *node, buf *out)
{
    buf_append_char(out, '[');
    duration_format(node->subquery.range, out);
    buf_append_char(out, ':');
    if (node->subquery.step)
        duration_format(node->subquery.step, out);
    buf_append_char(out, ']');
    put_modifiers(&node->subquery.mod, out);
}

static void put_matrix(const ast *node, buf *out)
{
    const ast *selector = node->matrix.selector;
    put_selector(selector, out);
    buf_append_char(out, '[');
    duration_format(node->matrix.range, out);
    buf_append_char(out, ']');
    put_mode(selector->selector.mode, out);
    put_modifiers(&selector->selector.mod, out);
}

/* ---- one line ---- */

static void format_list(ast *const *args, size_t n, buf *out)
{
    buf_append_char(out, '(');
    for (size_t i = 0; i < n; i++) {
        buf_append(out, i ? STR(", ") : STR(""));
        promql_format(args[i], out);
    }
    buf_append_char(out, ')');
}

static void format_binary(const ast *node, buf *out)
{
    promql_format(node->binary.left, out);
    buf_printf(out, " %s", node->binary.row->text);
    put_matching(node, out);
    buf_append_char(out, ' ');
    promql_format(node->binary.right, out);
}

static void format_aggregate(const ast *node, buf *out)
{
    ast *args[2] = { node->aggregate.param, node->aggregate.expr };
    put_aggregate_head(node, out);
    format_list(node->aggregate.param ? args : args + 1, node->aggregate.param ? 2 : 1, out);
}

void promql_format(const ast *node, buf *out)
{
    switch (node->kind) {
    case AST_NUMBER: put_number(node, out); return;
    case AST_STRING: ast_quote(node->string.value, out); return;
    case AST_SELECTOR:
        put_selector(node, out);
        put_mode(node->selector.mode, out);
        put_modifiers(&node->selector.mod, out);
        return;
    case AST_MATRIX: put_matrix(node, out); return;
    case AST_SUBQUERY:
        promql_format(node->subquery.expr, out);
        put_subquery_tail(node, out);
        return;
    case AST_CALL:
        buf_append(out, str_from(node->call.row->name));
        format_list(node->call.args, node->call.count, out);
        return;
    case AST_AGGREGATE: format_aggregate(node, out); return;
    case AST_BINARY: format_binary(node, out); return;
    case AST_UNARY:
        buf_append_char(out, node->unary.minus ? '-' : '+');
        promql_format(node->unary.expr, out);
        return;
    case AST_PAREN:
        buf_append_char(out, '(');
        promql_format(node->paren.expr, out);
        buf_append_char(out, ')');
        return;
    }
}

/* ---- several lines: promql/parser/prettier.go. What fits into PRETTY_WIDTH stays on one line. ---- */

#define PRETTY_WIDTH 100

static void pretty(const ast *node, unsigned level, buf *out);

static void indent(unsigned level, buf *out)
{
    for (unsigned i = 0; i < level; i++)
        buf_append(out, STR("  "));
}

static bool fits(const ast *node)
{
    AUTO(buf_done) buf line = BUF_INIT(PRETTY_WIDTH + 1);
    promql_format(node, &line);
    return !buf_failed(&line) && line.len <= PRETTY_WIDTH;
}

static void pretty_list(ast *const *args, size_t n, unsigned level, buf *out)
{
    buf_append(out, STR("(\n"));
    for (size_t i = 0; i < n; i++) {
        pretty(args[i], level + 1, out);
        buf_append(out, i + 1 < n ? STR(",\n") : STR("\n"));
    }
    indent(level, out);
    buf_append_char(out, ')');
}

static void pretty_binary(const ast *node, unsigned level, buf *out)
{
    pretty(node->binary.left, level + 1, out);
    buf_append_char(out, '\n');
    indent(level, out);
    buf_append(out, str_from(node->binary.row->text));
    put_matching(node, out);
    buf_append_char(out, '\n');
    pretty(node->binary.right, level + 1, out);
}

static void pretty_broken(const ast *node, unsigned level, buf *out)
{
    ast *args[2];
    switch (node->kind) {
    case AST_BINARY: pretty_binary(node, level, out); return;
    case AST_CALL:
        indent(level, out);
        buf_append(out, str_from(node->call.row->name));
        pretty_list(node->call.args, node->call.count, level, out);
        return;
    case AST_AGGREGATE:
        args[0] = node->aggregate.param, args[1] = node->aggregate.expr;
        indent(level, out);
        put_aggregate_head(node, out);
        pretty_list(args[0] ? args : args + 1, args[0] ? 2 : 1, level, out);
        return;
    case AST_PAREN:
        indent(level, out);
        pretty_list(&node->paren.expr, 1, level, out);
        return;
    case AST_SUBQUERY:
        pretty(node->subquery.expr, level, out);
        put_subquery_tail(node, out);
        return;
    default:
        indent(level, out);
        promql_format(node, out);
        return;
    }
}

static void pretty(const ast *node, unsigned level, buf *out)
{
    if (buf_failed(out))
        return;
    if (!fits(node)) {
        pretty_broken(node, level, out);
        return;
    }
    indent(level, out);
    promql_format(node, out);
}

void ast_format_pretty(const ast *node, buf *out)
{
    pretty(node, 0, out);
}
