#include "query/parser.h"
#include <stdio.h>

void parser_init(parser *p, str text, arena *a, unsigned features, err *e)
{
    *p = (parser){ .lex = lexer_init(text), .arena = a, .text = text, .e = e, .features = features };
    parser_skip(p);
}

void parser_skip(parser *p)
{
    p->last_end = p->cur.span.end;
    p->cur = lexer_next(&p->lex);
    if (p->cur.kind == LEX_ERROR)
        parser_fail(p, p->cur.span, "%s", p->lex.message);
}

lexeme parser_peek(const parser *p)
{
    lexer ahead = p->lex;
    lexeme t = lexer_next(&ahead);
    t.text = t.kind == LEX_ERROR ? STR_EMPTY : t.text; /* an error's text lives in the copy */
    return t;
}

bool parser_is_op(const parser *p, binop op)
{
    return p->cur.kind == LEX_OPERATOR && p->cur.op->op == op;
}

static bool is_word(const parser *p, lex_word word)
{
    return p->cur.kind == LEX_KEYWORD && p->cur.word == word;
}

void *parser_fail(parser *p, span at, const char *fmt, ...)
{
    char message[360];
    uint32_t line, column;
    va_list args;
    if (p->failed)
        return NULL;
    p->failed = true;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    ast_place(p->text, at.start, &line, &column);
    err_set(p->e, ERR_PARSE, "parse error: %s", message);
    err_at(p->e, line, column);
    return NULL;
}

void *parser_nomem(parser *p)
{
    if (!p->failed)
        err_nomem(p->e);
    p->failed = true;
    return NULL;
}

void *parser_unexpected(parser *p, const char *context, const char *expected)
{
    char what[200];
    lexeme_describe(&p->cur, what, sizeof what);
    return parser_fail(p, p->cur.span, "unexpected %s%s%s%s%s", what, *context ? " in " : "", context,
                       *expected ? ", expected " : "", expected);
}

ast *parser_node(parser *p, ast_kind kind, promql_type type, span at)
{
    ast *node = arena_new(p->arena, ast);
    if (!node)
        return parser_nomem(p);
    node->kind = kind;
    node->type = type;
    node->span = at;
    node->height = 1;
    return node;
}

/* A parent of `child`: its level is known at once, so a tree too high never comes to be. */
static bool raise(parser *p, ast *node, const ast *child)
{
    node->height = MAX(node->height, child->height + 1);
    if (node->height <= PROMQL_MAX_HEIGHT)
        return true;
    parser_fail(p, node->span, "expression has more than %d levels", PROMQL_MAX_HEIGHT);
    return false;
}

static ast *parse_expr(parser *p, int min);

/* ---- leaves ---- */

static ast *parse_number(parser *p)
{
    ast *node = parser_node(p, AST_NUMBER, PROMQL_SCALAR, p->cur.span);
    if (!node)
        return NULL;
    int64_t ms;
    if (p->cur.kind == LEX_DURATION) {
        if (!clock_parse_duration(p->cur.text, &ms))
            return parser_fail(p, p->cur.span, "not a valid duration string: \"%" STR_FMT "\"", STR_ARG(p->cur.text));
        node->number.unit = true;
        node->number.value = (double)ms / 1e3;
    } else if (!lexer_number(p->cur.text, &node->number.value)) {
        return parser_fail(p, p->cur.span, "error parsing number: \"%" STR_FMT "\"", STR_ARG(p->cur.text));
    }
    parser_skip(p);
    return node;
}

static ast *parse_string(parser *p)
{
    ast *node = parser_node(p, AST_STRING, PROMQL_STRING, p->cur.span);
    if (!node)
        return NULL;
    node->string.value = lexer_unquote(p->cur.text, p->arena);
    if (!node->string.value.ptr)
        return parser_nomem(p);
    parser_skip(p);
    return node;
}

static ast *parse_paren(parser *p)
{
    span at = p->cur.span;
    parser_skip(p);
    ast *inner = parse_expr(p, 0);
    if (!inner)
        return NULL;
    if (p->cur.kind != LEX_RIGHT_PAREN)
        return parser_unexpected(p, "", "");
    parser_skip(p);
    at.end = p->last_end;
    ast *node = parser_node(p, AST_PAREN, inner->type, at);
    if (!node || !raise(p, node, inner))
        return NULL;
    node->paren.expr = inner;
    return node;
}

/* ---- calls and aggregations ---- */

/* ( expr, expr ) without a trailing comma. False on failure. */
static bool parse_args(parser *p, ast ***ret, size_t *ret_count)
{
    ast *found[PROMQL_MAX_ARGS];
    size_t n = 0;
    parser_skip(p);
    while (p->cur.kind != LEX_RIGHT_PAREN) {
        if (n == PROMQL_MAX_ARGS)
            return parser_fail(p, p->cur.span, "more than %d arguments in one call", PROMQL_MAX_ARGS), false;
        if (!(found[n] = parse_expr(p, 0)))
            return false;
        n++;
        if (p->cur.kind == LEX_COMMA) {
            span comma = p->cur.span;
            parser_skip(p);
            if (p->cur.kind == LEX_RIGHT_PAREN)
                return parser_fail(p, comma, "trailing commas not allowed in function call args"), false;
        } else if (p->cur.kind != LEX_RIGHT_PAREN) {
            return parser_unexpected(p, "", ""), false;
        }
    }
    parser_skip(p);
    *ret = n ? arena_dup(p->arena, found, n * sizeof *found) : NULL;
    *ret_count = n;
    return n == 0 || *ret ? true : (parser_nomem(p), false);
}

static ast *fail_unknown_function(parser *p, const lexeme *name)
{
    const char *nearest = NULL;
    unsigned best = 3; /* further away is another word, not a slip */
    for (size_t i = 0; i < function_row_count; i++) {
        unsigned distance = str_distance(name->text, str_from(function_rows[i].name), best);
        if (distance < best)
            best = distance, nearest = function_rows[i].name;
    }
    parser_fail(p, name->span, "unknown function with name \"%" STR_FMT "\"", STR_ARG(name->text));
    if (nearest)
        err_hint(p->e, "Did you mean \"%s\"?", nearest);
    return NULL;
}

static ast *parse_call(parser *p)
{
    lexeme name = p->cur;
    const function_row *row = function_find(name.text);
    ast **args = NULL;
    size_t n = 0;
    if (!row)
        return fail_unknown_function(p, &name);
    if (row->experimental && !(p->features & PROMQL_EXPERIMENTAL_FUNCTIONS)) {
        parser_fail(p, name.span, "function \"%s\" is not enabled", row->name);
        err_hint(p->e, "Start galen with --enable-feature=promql-experimental-functions.");
        return NULL;
    }
    parser_skip(p);
    if (!parse_args(p, &args, &n))
        return NULL;
    ast *node = parser_node(p, AST_CALL, row->returns, (span){ name.span.start, p->last_end });
    if (!node)
        return NULL;
    node->call.row = row;
    node->call.args = args;
    node->call.count = n;
    for (size_t i = 0; i < n; i++)
        if (!raise(p, node, args[i]))
            return NULL;
    return node;
}

/* by (…) or without (…), if it stands here. */
static bool parse_grouping(parser *p, ast *node)
{
    if (!is_word(p, WORD_BY) && !is_word(p, WORD_WITHOUT))
        return true;
    node->aggregate.without = is_word(p, WORD_WITHOUT);
    node->aggregate.grouped = true;
    parser_skip(p);
    return parse_label_list(p, &node->aggregate.labels, &node->aggregate.label_count);
}

static ast *take_aggregate_args(parser *p, ast *node, ast **args, size_t n)
{
    const aggregate_row *row = node->aggregate.row;
    size_t want = row->param == PROMQL_NONE ? 1 : 2;
    if (n == 0)
        return parser_fail(p, node->span, "no arguments for aggregate expression provided");
    if (n != want)
        return parser_fail(p, node->span, "wrong number of arguments for aggregate expression provided, expected %zu, got %zu", want, n);
    node->aggregate.param = want == 2 ? args[0] : NULL;
    node->aggregate.expr = args[want - 1];
    for (size_t i = 0; i < n; i++)
        if (!raise(p, node, args[i]))
            return NULL;
    return node;
}

/* op [by (…)] (args) [by (…)] */
static ast *parse_aggregate(parser *p)
{
    ast *node = parser_node(p, AST_AGGREGATE, PROMQL_VECTOR, p->cur.span);
    ast **args = NULL;
    size_t n = 0;
    if (!node)
        return NULL;
    node->aggregate.row = p->cur.aggregate;
    if (node->aggregate.row->experimental && !(p->features & PROMQL_EXPERIMENTAL_FUNCTIONS))
        return parser_fail(p, p->cur.span, "%s() is experimental and must be enabled with --enable-feature=promql-experimental-functions", node->aggregate.row->name);
    parser_skip(p);
    if (!parse_grouping(p, node))
        return NULL;
    if (p->cur.kind != LEX_LEFT_PAREN)
        return parser_unexpected(p, "aggregation", "");
    if (!parse_args(p, &args, &n))
        return NULL;
    if (!node->aggregate.grouped && !parse_grouping(p, node))
        return NULL;
    node->span.end = p->last_end;
    return take_aggregate_args(p, node, args, n);
}

/* ---- what may stand behind an expression: [range], [range:step], offset, @ ---- */

static ast_modifiers *modifiers_of(ast *node)
{
    return node->kind == AST_SELECTOR ? &node->selector.mod
         : node->kind == AST_MATRIX ? &node->matrix.selector->selector.mod
         : node->kind == AST_SUBQUERY ? &node->subquery.mod : NULL;
}

static ast *parse_subquery_rest(parser *p, ast *expr, const duration *range)
{
    static const char context[] = "subquery selector";
    const duration *step = NULL;
    parser_skip(p); /* : */
    if (p->cur.kind != LEX_RIGHT_BRACKET && !(step = parse_duration_expr(p, 0, context, "number, duration, step(), range(), or \"]\"")))
        return NULL;
    if (p->cur.kind != LEX_RIGHT_BRACKET)
        return parser_unexpected(p, context, "\"]\"");
    if (step && duration_constant(step) && !(duration_seconds(step, 0, 0) > 0))
        return parser_fail(p, step->span, "duration must be greater than 0");
    parser_skip(p);
    ast *node = parser_node(p, AST_SUBQUERY, PROMQL_MATRIX, (span){ expr->span.start, p->last_end });
    if (!node || !raise(p, node, expr))
        return NULL;
    node->subquery.expr = expr;
    node->subquery.range = range;
    node->subquery.step = step;
    return node;
}

static ast *parse_brackets(parser *p, ast *expr)
{
    static const char context[] = "subquery or range";
    parser_skip(p);
    const duration *range = parse_duration_expr(p, 0, "subquery or range selector", "number, duration, step(), or range()");
    if (!range)
        return NULL;
    if (p->cur.kind != LEX_COLON && p->cur.kind != LEX_RIGHT_BRACKET)
        return parser_unexpected(p, context, "\":\" or \"]\"");
    if (duration_constant(range) && !(duration_seconds(range, 0, 0) > 0))
        return parser_fail(p, range->span, "duration must be greater than 0");
    if (p->cur.kind == LEX_COLON)
        return parse_subquery_rest(p, expr, range);
    parser_skip(p);
    if (expr->kind != AST_SELECTOR)
        return parser_fail(p, expr->span, "ranges only allowed for vector selectors");
    if (expr->selector.mod.offset)
        return parser_fail(p, expr->span, "no offset modifiers allowed before range");
    if (expr->selector.mod.at)
        return parser_fail(p, expr->span, "no @ modifiers allowed before range");
    ast *node = parser_node(p, AST_MATRIX, PROMQL_MATRIX, (span){ expr->span.start, p->last_end });
    if (!node || !raise(p, node, expr))
        return NULL;
    node->matrix.selector = expr;
    node->matrix.range = range;
    return node;
}

static ast *parse_offset(parser *p, ast *expr)
{
    parser_skip(p);
    const duration *offset = parse_duration_operand(p, "offset", "number, duration, step(), or range()");
    ast_modifiers *mod = modifiers_of(expr);
    if (!offset)
        return NULL;
    if (!mod)
        return parser_fail(p, expr->span, "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery");
    if (mod->offset)
        return parser_fail(p, expr->span, "offset may not be set multiple times");
    mod->offset = offset;
    expr->span.end = p->last_end;
    return expr;
}

static bool parse_at_time(parser *p, ast_modifiers *ret)
{
    bool minus = parser_is_op(p, OP_SUB);
    double seconds;
    if (minus || parser_is_op(p, OP_ADD))
        parser_skip(p);
    if (p->cur.kind != LEX_NUMBER && p->cur.kind != LEX_DURATION)
        return parser_unexpected(p, "@", "timestamp"), false;
    int64_t ms;
    bool ok = p->cur.kind == LEX_NUMBER ? lexer_number(p->cur.text, &seconds)
                                        : clock_parse_duration(p->cur.text, &ms) && (seconds = (double)ms / 1e3, true);
    if (!ok || !(fabs(seconds) < (double)INT64_MAX / 1e3))
        return parser_fail(p, p->cur.span, "timestamp out of bounds for @ modifier: %" STR_FMT, STR_ARG(p->cur.text)), false;
    ret->at = AT_TIME;
    ret->at_ms = (int64_t)round((minus ? -seconds : seconds) * 1e3);
    parser_skip(p);
    return true;
}

static bool parse_at_border(parser *p, ast_modifiers *ret)
{
    ret->at = is_word(p, WORD_START) ? AT_START : AT_END;
    parser_skip(p);
    for (int i = 0; i < 2; i++) {
        if (p->cur.kind != (i ? LEX_RIGHT_PAREN : LEX_LEFT_PAREN))
            return parser_unexpected(p, "@", "timestamp"), false;
        parser_skip(p);
    }
    return true;
}

static ast *parse_at(parser *p, ast *expr)
{
    ast_modifiers found = { 0 }, *mod = modifiers_of(expr);
    parser_skip(p);
    bool border = is_word(p, WORD_START) || is_word(p, WORD_END);
    if (!(border ? parse_at_border(p, &found) : parse_at_time(p, &found)))
        return NULL;
    if (!mod)
        return parser_fail(p, expr->span, "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery");
    if (mod->at)
        return parser_fail(p, expr->span, "@ <timestamp> may not be set multiple times");
    mod->at = found.at;
    mod->at_ms = found.at_ms;
    expr->span.end = p->last_end;
    return expr;
}

static ast *parse_range_mode(parser *p, ast *expr)
{
    ast *selector = expr->kind == AST_MATRIX ? expr->matrix.selector : expr;
    if (!(p->features & PROMQL_EXTENDED_RANGES)) {
        parser_fail(p, expr->span, "%" STR_FMT " modifier is experimental and not enabled", STR_ARG(p->cur.text));
        err_hint(p->e, "Start galen with --enable-feature=promql-extended-range-selectors.");
        return NULL;
    }
    if (selector->kind != AST_SELECTOR)
        return parser_fail(p, expr->span, "%" STR_FMT " modifier must be preceded by an instant or range selector", STR_ARG(p->cur.text));
    if (selector->selector.mode != RANGE_PLAIN)
        return parser_fail(p, expr->span, "anchored and smoothed modifiers cannot be used together");
    selector->selector.mode = is_word(p, WORD_ANCHORED) ? RANGE_ANCHORED : RANGE_SMOOTHED;
    parser_skip(p);
    expr->span.end = p->last_end;
    return expr;
}

static ast *parse_behind(parser *p, ast *expr)
{
    while (expr) {
        if (p->cur.kind == LEX_LEFT_BRACKET)
            expr = parse_brackets(p, expr);
        else if (is_word(p, WORD_OFFSET))
            expr = parse_offset(p, expr);
        else if (p->cur.kind == LEX_AT)
            expr = parse_at(p, expr);
        else if (is_word(p, WORD_ANCHORED) || is_word(p, WORD_SMOOTHED))
            expr = parse_range_mode(p, expr);
        else
            break;
    }
    return expr;
}

/* ---- operands and operators ---- */

/* Words that may also be metric names: all but those that only make sense behind an operator. */
static bool word_is_metric(const lexeme *t)
{
    if (t->kind == LEX_OPERATOR)
        return t->op->op == OP_AND || t->op->op == OP_OR || t->op->op == OP_UNLESS;
    return t->word != WORD_BOOL && t->word != WORD_ON && t->word != WORD_IGNORING && t->word != WORD_GROUP_LEFT &&
           t->word != WORD_GROUP_RIGHT;
}

static bool word_is_function(const lexeme *t)
{
    return t->kind == LEX_KEYWORD && (t->word == WORD_START || t->word == WORD_END || t->word == WORD_STEP || t->word == WORD_RANGE);
}

static ast *parse_primary(parser *p)
{
    lexeme next;
    switch (p->cur.kind) {
    case LEX_NUMBER:
    case LEX_DURATION: return parse_number(p);
    case LEX_STRING: return parse_string(p);
    case LEX_LEFT_PAREN: return parse_paren(p);
    case LEX_LEFT_BRACE: return parse_selector(p, false);
    case LEX_METRIC: return parse_selector(p, true);
    case LEX_IDENTIFIER: return parser_peek(p).kind == LEX_LEFT_PAREN ? parse_call(p) : parse_selector(p, true);
    case LEX_AGGREGATOR:
        next = parser_peek(p);
        if (next.kind == LEX_LEFT_PAREN || (next.kind == LEX_KEYWORD && (next.word == WORD_BY || next.word == WORD_WITHOUT)))
            return parse_aggregate(p);
        return parse_selector(p, true);
    case LEX_KEYWORD:
    case LEX_OPERATOR:
        if (word_is_function(&p->cur) && parser_peek(p).kind == LEX_LEFT_PAREN)
            return parse_call(p);
        if (word_is_metric(&p->cur))
            return parse_selector(p, true);
        return parser_unexpected(p, "", "");
    default: return parser_unexpected(p, "", "");
    }
}

/* unary = { + | - } primary behind…; a sign binds looser than ^ and as tight as *: -1^2 is -(1^2). */
static ast *parse_unary(parser *p)
{
    if (!parser_is_op(p, OP_SUB) && !parser_is_op(p, OP_ADD))
        return parse_behind(p, parse_primary(p));
    bool minus = parser_is_op(p, OP_SUB);
    uint32_t start = p->cur.span.start;
    parser_skip(p);
    ast *inner = parse_expr(p, binop_rows[OP_MUL].left);
    if (!inner)
        return NULL;
    if (inner->kind == AST_NUMBER) {
        inner->number.value = minus ? -inner->number.value : inner->number.value;
        inner->span.start = start;
        return inner;
    }
    ast *node = parser_node(p, AST_UNARY, inner->type, (span){ start, inner->span.end });
    if (!node || !raise(p, node, inner))
        return NULL;
    node->unary.minus = minus;
    node->unary.expr = inner;
    return node;
}

static bool parse_fill_value(parser *p, double *ret)
{
    parser_skip(p);
    parser_skip(p); /* ( was peeked at */
    bool minus = parser_is_op(p, OP_SUB);
    if (minus || parser_is_op(p, OP_ADD))
        parser_skip(p);
    if (p->cur.kind != LEX_NUMBER || !lexer_number(p->cur.text, ret))
        return parser_unexpected(p, "fill modifier", "number"), false;
    *ret = minus ? -*ret : *ret;
    parser_skip(p);
    if (p->cur.kind != LEX_RIGHT_PAREN)
        return parser_unexpected(p, "fill modifier", "\")\""), false;
    parser_skip(p);
    return true;
}

/* fill(0), fill_left(0), fill_right(0); without a parenthesis the word is a metric's name. */
static bool parse_fills(parser *p, ast_matching *m)
{
    while ((is_word(p, WORD_FILL) || is_word(p, WORD_FILL_LEFT) || is_word(p, WORD_FILL_RIGHT)) &&
           parser_peek(p).kind == LEX_LEFT_PAREN) {
        lex_word word = p->cur.word;
        double number;
        if (!(p->features & PROMQL_FILL_MODIFIERS)) {
            parser_fail(p, p->cur.span, "binop fill modifiers are experimental and not enabled");
            err_hint(p->e, "Start galen with --enable-feature=promql-binop-fill-modifiers.");
            return false;
        }
        if (!parse_fill_value(p, &number))
            return false;
        if (word != WORD_FILL_RIGHT)
            m->fill_left = true, m->left_value = number;
        if (word != WORD_FILL_LEFT)
            m->fill_right = true, m->right_value = number;
    }
    return true;
}

/* matching = [on|ignoring (labels) [group_left|group_right [(labels)]]] [fill…] */
static bool parse_matching(parser *p, ast_matching *m)
{
    if (is_word(p, WORD_ON) || is_word(p, WORD_IGNORING)) {
        m->on = is_word(p, WORD_ON);
        m->written = true;
        parser_skip(p);
        if (!parse_label_list(p, &m->labels, &m->label_count))
            return false;
        if (is_word(p, WORD_GROUP_LEFT) || is_word(p, WORD_GROUP_RIGHT)) {
            m->card = is_word(p, WORD_GROUP_LEFT) ? CARD_MANY_TO_ONE : CARD_ONE_TO_MANY;
            parser_skip(p);
            if (p->cur.kind == LEX_LEFT_PAREN && !parse_label_list(p, &m->include, &m->include_count))
                return false;
        }
    }
    return parse_fills(p, m);
}

static ast *parse_binary_rest(parser *p, ast *left)
{
    const binop_row *row = p->cur.op;
    parser_skip(p);
    bool return_bool = is_word(p, WORD_BOOL);
    if (return_bool)
        parser_skip(p);
    ast_matching *m = arena_new(p->arena, ast_matching);
    if (!m)
        return parser_nomem(p);
    if (!parse_matching(p, m))
        return NULL;
    ast *right = parse_expr(p, row->right);
    if (!right)
        return NULL;
    ast *node = parser_node(p, AST_BINARY, PROMQL_VECTOR, (span){ left->span.start, right->span.end });
    if (!node || !raise(p, node, left) || !raise(p, node, right))
        return NULL;
    if (left->type == PROMQL_SCALAR && right->type == PROMQL_SCALAR)
        node->type = PROMQL_SCALAR;
    if (row->set && m->card == CARD_ONE_TO_ONE)
        m->card = CARD_MANY_TO_MANY;
    node->binary.row = row;
    node->binary.left = left;
    node->binary.right = right;
    node->binary.return_bool = return_bool;
    node->binary.matching = m;
    return node;
}

/* expr(min) = unary { binop [bool] [matching] expr(binop.right) }   while binop.left > min */
static ast *parse_expr(parser *p, int min)
{
    if (p->failed)
        return NULL;
    if (p->depth >= PROMQL_MAX_DEPTH)
        return parser_fail(p, p->cur.span, "expression nested deeper than %d", PROMQL_MAX_DEPTH);
    p->depth++;
    ast *left = parse_unary(p);
    while (left && p->cur.kind == LEX_OPERATOR && p->cur.op->left > min)
        left = parse_binary_rest(p, left);
    p->depth--;
    return left;
}

/* ---- the door ---- */

static atomic_uint enabled_features;

void promql_enable(unsigned features)
{
    atomic_store(&enabled_features, features);
}

static ast *parse_all(parser *p)
{
    if (p->text.len > PROMQL_MAX_BYTES)
        return parser_fail(p, (span){ 0, 0 }, "expression longer than %u bytes", PROMQL_MAX_BYTES);
    if (p->failed)
        return NULL;
    if (p->cur.kind == LEX_EOF)
        return parser_fail(p, p->cur.span, "no expression found in input");
    ast *root = parse_expr(p, 0);
    if (root && p->cur.kind != LEX_EOF)
        return parser_unexpected(p, "", "");
    return p->failed ? NULL : root;
}

err_kind promql_parse(str text, arena *a, ast **ret, err *e)
{
    parser p;
    err scratch = { 0 };
    e = e ? e : &scratch;
    parser_init(&p, text, a, atomic_load(&enabled_features), e);
    ast *root = parse_all(&p);
    if (!root)
        return e->kind;
    if (ast_check(root, text, e))
        return e->kind;
    *ret = root;
    return OK;
}
