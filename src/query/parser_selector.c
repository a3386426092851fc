/* Selectors and lists of labels. */
#include "query/parser.h"
#include "base/regex.h"

bool lexeme_is_label(const lexeme *t)
{
    if (t->kind == LEX_IDENTIFIER || t->kind == LEX_AGGREGATOR || t->kind == LEX_KEYWORD)
        return true;
    return t->kind == LEX_OPERATOR && label_name_valid(t->text);
}

bool parse_label(parser *p, str *ret)
{
    if (p->cur.kind == LEX_STRING)
        *ret = lexer_unquote(p->cur.text, p->arena);
    else if (lexeme_is_label(&p->cur))
        *ret = arena_str(p->arena, p->cur.text);
    else
        return parser_unexpected(p, "grouping opts", "label"), false;
    if (!ret->ptr)
        return parser_nomem(p), false;
    if (ret->len == 0 || !str_utf8_valid(*ret))
        return parser_fail(p, p->cur.span, "invalid label name for grouping: \"%" STR_FMT "\"", STR_ARG(*ret)), false;
    parser_skip(p);
    return true;
}

bool parse_label_list(parser *p, str **ret, size_t *ret_count)
{
    str found[LABELS_MAX];
    size_t n = 0;
    if (p->cur.kind != LEX_LEFT_PAREN)
        return parser_unexpected(p, "grouping opts", "\"(\""), false;
    parser_skip(p);
    while (p->cur.kind != LEX_RIGHT_PAREN) {
        if (n == LABELS_MAX)
            return parser_fail(p, p->cur.span, "more than %d labels in one list", LABELS_MAX), false;
        if (!parse_label(p, &found[n]))
            return false;
        n++;
        if (p->cur.kind == LEX_COMMA)
            parser_skip(p);
        else if (p->cur.kind != LEX_RIGHT_PAREN)
            return parser_unexpected(p, "grouping opts", "\",\" or \")\""), false;
    }
    parser_skip(p);
    *ret = n ? arena_dup(p->arena, found, n * sizeof *found) : NULL;
    *ret_count = n;
    return n == 0 || *ret ? true : (parser_nomem(p), false);
}

static bool match_op_of(const lexeme *t, match_op *ret)
{
    switch (t->kind) {
    case LEX_EQL: *ret = MATCH_EQ; return true;
    case LEX_EQL_REGEX: *ret = MATCH_RE; return true;
    case LEX_NEQ_REGEX: *ret = MATCH_NRE; return true;
    case LEX_OPERATOR: *ret = MATCH_NE; return t->op->op == OP_NE;
    default: return false;
    }
}

/* RE2 and Go name the same mistakes a little differently. */
static const char *go_regex_message(const err *e)
{
    static const char re2[] = "missing )";
    if (str_find(str_from(e->message), STR("missing closing )")) < 0 && str_find(str_from(e->message), str_from(re2)) >= 0)
        return "missing closing )";
    return e->message;
}

static bool check_regex(parser *p, span at, str pattern)
{
    AUTO(regex_freep) regex *re = NULL;
    err e = { 0 };
    err_kind k = regex_compile(pattern, true, &re, &e);
    if (k == ERR_NOMEM)
        return parser_nomem(p), false;
    if (k)
        parser_fail(p, at, "error parsing regexp: %s: `^(?s:%" STR_FMT ")$`", go_regex_message(&e), STR_ARG(pattern));
    return k == OK;
}

/* name op "value" | "name" op "value" | "metric name" */
static bool parse_matcher(parser *p, matcher *ret)
{
    lexeme name = p->cur;
    bool quoted = name.kind == LEX_STRING;
    if (name.kind != LEX_IDENTIFIER && !quoted)
        return parser_unexpected(p, "label matching", "identifier or \"}\""), false;
    str text = quoted ? lexer_unquote(name.text, p->arena) : arena_str(p->arena, name.text);
    if (!text.ptr)
        return parser_nomem(p), false;
    parser_skip(p);
    *ret = (matcher){ .name = text };
    if (quoted && (p->cur.kind == LEX_COMMA || p->cur.kind == LEX_RIGHT_BRACE)) {
        *ret = (matcher){ .name = METRIC_NAME, .value = text, .op = MATCH_EQ };
        return true;
    }
    if (!match_op_of(&p->cur, &ret->op))
        return parser_unexpected(p, "label matching", "label matching operator"), false;
    parser_skip(p);
    if (p->cur.kind != LEX_STRING)
        return parser_unexpected(p, "label matching", "string"), false;
    ret->value = lexer_unquote(p->cur.text, p->arena);
    if (!ret->value.ptr)
        return parser_nomem(p), false;
    if ((ret->op == MATCH_RE || ret->op == MATCH_NRE) && !check_regex(p, name.span, ret->value))
        return false;
    parser_skip(p);
    return true;
}

static bool parse_matchers(parser *p, matcher *found, size_t *n)
{
    parser_skip(p); /* { */
    while (p->cur.kind != LEX_RIGHT_BRACE) {
        if (*n == LABELS_MAX)
            return parser_fail(p, p->cur.span, "more than %d matchers in one selector", LABELS_MAX), false;
        if (!parse_matcher(p, &found[*n]))
            return false;
        *n += 1;
        if (p->cur.kind == LEX_COMMA)
            parser_skip(p);
        else if (p->cur.kind != LEX_RIGHT_BRACE)
            return parser_unexpected(p, "label matching", "\",\" or \"}\""), false;
    }
    parser_skip(p);
    return true;
}

ast *parse_selector(parser *p, bool has_name)
{
    matcher found[LABELS_MAX + 1];
    size_t n = 0;
    span at = p->cur.span;
    str name = STR_EMPTY;
    if (has_name) {
        name = arena_str(p->arena, p->cur.text);
        if (!name.ptr)
            return parser_nomem(p);
        parser_skip(p);
    }
    if (p->cur.kind == LEX_LEFT_BRACE && !parse_matchers(p, found, &n))
        return NULL;
    if (has_name)
        found[n++] = (matcher){ .name = METRIC_NAME, .value = name, .op = MATCH_EQ };
    at.end = p->last_end;
    ast *node = parser_node(p, AST_SELECTOR, PROMQL_VECTOR, at);
    if (!node)
        return NULL;
    node->selector.name = name;
    node->selector.matchers = arena_dup(p->arena, found, n * sizeof *found);
    node->selector.count = n;
    return n == 0 || node->selector.matchers ? node : parser_nomem(p);
}
