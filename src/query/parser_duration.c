/* Durations: `5m`, `300`, and little calculations with step() and range() that are done when a query runs. */
#include "query/parser.h"
#include <math.h>

static duration *new_duration(parser *p, duration d)
{
    duration *made = arena_dup(p->arena, &d, sizeof d);
    return made ? made : parser_nomem(p);
}

static bool literal_seconds(const lexeme *t, double *ret)
{
    if (t->kind == LEX_NUMBER)
        return lexer_number(t->text, ret);
    int64_t ms;
    if (!clock_parse_duration(t->text, &ms))
        return false;
    *ret = (double)ms / 1e3;
    return true;
}

static const duration *parse_literal(parser *p)
{
    double seconds;
    bool ok = literal_seconds(&p->cur, &seconds);
    if (!ok)
        return parser_fail(p, p->cur.span, "not a valid duration string: \"%" STR_FMT "\"", STR_ARG(p->cur.text));
    if (!(fabs(seconds) <= (double)INT64_MAX / 1e9))
        return parser_fail(p, p->cur.span, "duration out of range");
    duration d = { DUR_CONST, .unit = p->cur.kind == LEX_DURATION, .seconds = seconds, .span = p->cur.span };
    parser_skip(p);
    return new_duration(p, d);
}

/* step() range() min_of(a, b) max_of(a, b) */
static const duration *parse_call(parser *p, const char *context, const char *expected)
{
    lexeme name = p->cur;
    bool min = str_eq_nocase(name.text, STR("min_of")), max = str_eq_nocase(name.text, STR("max_of"));
    duration d = { .op = min ? DUR_MIN : max ? DUR_MAX : name.word == WORD_STEP ? DUR_STEP : DUR_RANGE };
    if (!min && !max && name.word != WORD_STEP && name.word != WORD_RANGE)
        return parser_unexpected(p, context, expected);
    parser_skip(p);
    if (p->cur.kind != LEX_LEFT_PAREN)
        return parser_unexpected(p, context, "\"(\"");
    parser_skip(p);
    if (min || max) {
        if (!(d.left = parse_duration_expr(p, 0, context, expected)))
            return NULL;
        if (p->cur.kind != LEX_COMMA)
            return parser_unexpected(p, context, "\",\"");
        parser_skip(p);
        if (!(d.right = parse_duration_expr(p, 0, context, expected)))
            return NULL;
    }
    if (p->cur.kind != LEX_RIGHT_PAREN)
        return parser_unexpected(p, context, "\")\"");
    parser_skip(p);
    d.span = (span){ name.span.start, p->last_end };
    return new_duration(p, d);
}

static const duration *parse_parens(parser *p, const char *context, const char *expected)
{
    parser_skip(p);
    const duration *inner = parse_duration_expr(p, 0, context, expected);
    if (!inner)
        return NULL;
    if (p->cur.kind != LEX_RIGHT_PAREN)
        return parser_unexpected(p, context, "\")\"");
    parser_skip(p);
    duration d = *inner;
    d.parens = true;
    return new_duration(p, d);
}

/* operand = [+|-] ( literal | call | "(" expr ")" ) */
const duration *parse_duration_operand(parser *p, const char *context, const char *expected)
{
    if (p->depth >= PROMQL_MAX_DEPTH)
        return parser_fail(p, p->cur.span, "expression nested deeper than %d", PROMQL_MAX_DEPTH);
    bool minus = parser_is_op(p, OP_SUB);
    const duration *d;
    p->depth++;
    if (minus || parser_is_op(p, OP_ADD)) {
        uint32_t start = p->cur.span.start;
        parser_skip(p);
        d = parse_duration_operand(p, context, expected);
        if (d)
            d = new_duration(p, (duration){ minus ? DUR_NEG : DUR_POS, .left = d, .span = { start, p->last_end } });
    } else if (p->cur.kind == LEX_NUMBER || p->cur.kind == LEX_DURATION) {
        d = parse_literal(p);
    } else if (p->cur.kind == LEX_LEFT_PAREN) {
        d = parse_parens(p, context, expected);
    } else {
        d = parse_call(p, context, expected);
    }
    p->depth--;
    return d;
}

static bool duration_op_of(const parser *p, duration_op *ret)
{
    static const struct { binop op; duration_op as; } same[] = {
        { OP_ADD, DUR_ADD }, { OP_SUB, DUR_SUB }, { OP_MUL, DUR_MUL }, { OP_DIV, DUR_DIV }, { OP_MOD, DUR_MOD }, { OP_POW, DUR_POW },
    };
    for (size_t i = 0; i < COUNT_OF(same); i++)
        if (parser_is_op(p, same[i].op))
            return *ret = same[i].as, true;
    return false;
}

/* expr(min) = operand { op expr(op.right) }   while op.left > min */
const duration *parse_duration_expr(parser *p, int min, const char *context, const char *expected)
{
    if (p->depth >= PROMQL_MAX_DEPTH)
        return parser_fail(p, p->cur.span, "expression nested deeper than %d", PROMQL_MAX_DEPTH);
    p->depth++;
    const duration *left = parse_duration_operand(p, context, expected);
    unsigned chain = 0;
    for (duration_op op; left && duration_op_of(p, &op) && p->cur.op->left > min;) {
        const binop_row *row = p->cur.op;
        if (++chain > PROMQL_MAX_DEPTH) {
            left = parser_fail(p, p->cur.span, "duration expression longer than %d operators", PROMQL_MAX_DEPTH);
            break;
        }
        parser_skip(p);
        const duration *right = parse_duration_expr(p, row->right, context, expected);
        left = right ? new_duration(p, (duration){ op, .left = left, .right = right, .span = { left->span.start, p->last_end } }) : NULL;
    }
    p->depth--;
    return left;
}

bool duration_constant(const duration *d)
{
    if (!d)
        return true;
    return d->op != DUR_STEP && d->op != DUR_RANGE && duration_constant(d->left) && duration_constant(d->right);
}

double duration_seconds(const duration *d, double step_s, double range_s)
{
    if (d->op == DUR_CONST)
        return d->seconds;
    double l = d->left ? duration_seconds(d->left, step_s, range_s) : 0;
    double r = d->right ? duration_seconds(d->right, step_s, range_s) : 0;
    switch (d->op) {
    case DUR_STEP: return step_s;
    case DUR_RANGE: return range_s;
    case DUR_NEG: return -l;
    case DUR_POS: return l;
    case DUR_ADD: return l + r;
    case DUR_SUB: return l - r;
    case DUR_MUL: return l * r;
    case DUR_DIV: return r == 0 ? NAN : l / r;
    case DUR_MOD: return r == 0 ? NAN : fmod(l, r);
    case DUR_POW: return pow(l, r);
    case DUR_MIN: return fmin(l, r);
    case DUR_MAX: return fmax(l, r);
    case DUR_CONST: break;
    }
    return d->seconds;
}
