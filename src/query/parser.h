/* query/parser.h - the recursive descent parser, for the rest of the room. The door's promql_parse uses it. */
#pragma once
#include "query/lexer.h"
#include "query/tables.h"

typedef struct parser {
    lexer lex;
    lexeme cur;               /* the lexeme we stand on */
    uint32_t last_end;        /* where the lexeme before it ended */
    arena *arena;
    str text;
    err *e;
    unsigned depth;
    unsigned features;
    bool failed;              /* *e is filled; the first error counts */
} parser;

void parser_init(parser *p, str text, arena *a, unsigned features, err *e);
void parser_skip(parser *p);                        /* go on to the next lexeme */
lexeme parser_peek(const parser *p);                /* the one behind cur, without going there */
bool parser_is_op(const parser *p, binop op);
/* Each returns NULL, so that a failing branch is one line. */
void *parser_fail(parser *p, span at, const char *fmt, ...) PRINTF_LIKE(3, 4);
void *parser_nomem(parser *p);
/* unexpected <cur> in <context>, expected <expected>; empty parts are left out. */
void *parser_unexpected(parser *p, const char *context, const char *expected);

/* parser_duration.c: inside brackets everything, behind offset one operand. NULL on failure. */
const duration *parse_duration_expr(parser *p, int min, const char *context, const char *expected);
const duration *parse_duration_operand(parser *p, const char *context, const char *expected);
bool duration_constant(const duration *d);
/* In seconds. `step_s` and `range_s` are the query's. */
double duration_seconds(const duration *d, double step_s, double range_s);

/* parser_selector.c: name and {matchers}; cur stands on the name or the brace. */
ast *parse_selector(parser *p, bool has_name);
/* A label inside by(), on() …: any word or a quoted one. */
bool parse_label(parser *p, str *ret);
/* ( a, b, ) */
bool parse_label_list(parser *p, str **ret, size_t *ret_count);
bool lexeme_is_label(const lexeme *t);
ast *parser_node(parser *p, ast_kind kind, promql_type type, span at);
