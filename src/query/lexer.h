/* query/lexer.h - PromQL text into lexemes.
 *
 * After Prometheus's promql/parser/lex.go: what a word means depends on whether we are inside braces or
 * brackets, so the lexer keeps those three bits of state and hands out one lexeme at a time. Foreign bytes:
 * never reads past the text, never allocates. Errors are lexemes too (LEX_ERROR with a message). */
#pragma once
#include "query/ast.h"

typedef enum lex_kind {
    LEX_EOF, LEX_ERROR,
    LEX_IDENTIFIER, LEX_METRIC,           /* a word; a word with a colon in it */
    LEX_STRING, LEX_NUMBER, LEX_DURATION,
    LEX_LEFT_PAREN, LEX_RIGHT_PAREN, LEX_LEFT_BRACE, LEX_RIGHT_BRACE, LEX_LEFT_BRACKET, LEX_RIGHT_BRACKET,
    LEX_COMMA, LEX_COLON, LEX_AT, LEX_EQL, /* = */ LEX_EQL_REGEX, LEX_NEQ_REGEX,
    LEX_OPERATOR,                         /* arithmetic, comparison, and or unless atan2 */
    LEX_AGGREGATOR,
    LEX_KEYWORD,
} lex_kind;

typedef enum lex_word {
    WORD_NONE, WORD_BY, WORD_WITHOUT, WORD_ON, WORD_IGNORING, WORD_GROUP_LEFT, WORD_GROUP_RIGHT, WORD_BOOL,
    WORD_OFFSET, WORD_START, WORD_END, WORD_STEP, WORD_RANGE, WORD_ANCHORED, WORD_SMOOTHED, WORD_FILL,
    WORD_FILL_LEFT, WORD_FILL_RIGHT,
} lex_word;

typedef struct lexeme {
    lex_kind kind;
    lex_word word;                        /* LEX_KEYWORD */
    const binop_row *op;                  /* LEX_OPERATOR */
    const aggregate_row *aggregate;       /* LEX_AGGREGATOR */
    span span;
    str text;                             /* as written */
} lexeme;

typedef struct lexer {
    str text;
    uint32_t pos;
    int paren_depth;
    bool in_braces, in_brackets, got_colon;
    char message[120];                    /* of the LEX_ERROR handed out last */
} lexer;

lexer lexer_init(str text);
lexeme lexer_next(lexer *l);
/* `end of input`, `identifier "foo"`, `<op:+>`, `"}"`: how error messages name a lexeme. */
void lexeme_describe(const lexeme *t, char *out, size_t cap);
/* The value of a LEX_STRING in `a`; its escapes were checked while lexing. ptr NULL without memory. */
str lexer_unquote(str quoted, arena *a);
/* The value of a LEX_NUMBER: decimal, hexadecimal, octal, with underscores, Inf and NaN. */
bool lexer_number(str text, double *ret);
