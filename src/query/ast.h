/* query/ast.h - the tree of a PromQL expression, and the tables its nodes point into.
 *
 * Grammar: Prometheus 3.x, promql/parser/generated_parser.y. The whole tree lives in the arena given to the
 * parser and is read-only once parsing succeeded, so several threads may evaluate one tree. It owns nothing
 * outside the arena: regular expressions are compiled to check them, and compiled again by who evaluates.
 *
 * Every node keeps its span, byte offsets into the expression; the text itself may be gone by then. */
#pragma once
#include "query/query.h"

/* Nested parentheses, calls and operators. A query deeper than this is an attack or a generator's mistake;
 * one level costs about 1 KiB of stack while parsing and while evaluating. */
#define PROMQL_MAX_DEPTH 256
#define PROMQL_MAX_BYTES (1u << 20)
/* Levels of the finished tree, where every operator of a chain counts (1+1+1… leans left). All walks over the
 * tree recurse, below 1 KiB a level without sanitizers and 2 KiB with them; threads have 8 MiB of stack. */
#define PROMQL_MAX_HEIGHT 3000

typedef struct span { uint32_t start, end; } span; /* byte offsets, end exclusive */

typedef enum promql_type { PROMQL_NONE, PROMQL_SCALAR, PROMQL_VECTOR, PROMQL_MATRIX, PROMQL_STRING } promql_type;
const char *promql_type_name(promql_type t);       /* "scalar", "vector", "matrix", "string" */
const char *promql_type_documented(promql_type t); /* "instant vector" … as errors name them */

typedef enum ast_kind {
    AST_NUMBER, AST_STRING, AST_SELECTOR, AST_MATRIX, AST_SUBQUERY, AST_CALL, AST_AGGREGATE, AST_BINARY, AST_UNARY,
    AST_PAREN,
} ast_kind;

/* A duration: mostly one constant, else a small tree of its own ([1h/2], offset (step()*2)). */
typedef enum duration_op { DUR_CONST, DUR_STEP, DUR_RANGE, DUR_NEG, DUR_POS, DUR_ADD, DUR_SUB, DUR_MUL, DUR_DIV,
                           DUR_MOD, DUR_POW, DUR_MIN, DUR_MAX } duration_op;
typedef struct duration {
    duration_op op;
    bool parens;              /* written in parentheses, printed so too */
    bool unit;                /* DUR_CONST: written as 5m, not as 300 */
    double seconds;           /* DUR_CONST */
    const struct duration *left, *right;
    span span;
} duration;

typedef enum at_kind { AT_NONE, AT_TIME, AT_START, AT_END } at_kind;
typedef enum range_mode { RANGE_PLAIN, RANGE_ANCHORED, RANGE_SMOOTHED } range_mode;
typedef struct ast_modifiers {
    const duration *offset;   /* NULL: none */
    at_kind at;
    int64_t at_ms;
} ast_modifiers;

/* How two vectors find each other. */
typedef enum match_card { CARD_ONE_TO_ONE, CARD_MANY_TO_ONE, CARD_ONE_TO_MANY, CARD_MANY_TO_MANY } match_card;
typedef struct ast_matching {
    match_card card;
    bool on;                  /* else ignoring */
    bool written;             /* on or ignoring was in the text */
    str *labels; size_t label_count;
    str *include; size_t include_count;
    bool fill_left, fill_right;
    double left_value, right_value;
} ast_matching;

typedef struct function_row function_row;
typedef struct aggregate_row aggregate_row;
typedef struct binop_row binop_row;

struct ast {
    ast_kind kind;
    promql_type type;
    span span;
    uint32_t height;          /* levels below and including this one, at most PROMQL_MAX_HEIGHT */
    bool step_invariant;      /* the same at every step of a range query: evaluated once */
    union {
        struct { double value; bool unit; } number;
        struct { str value; } string;
        struct {
            str name;                    /* outside the braces, or the quoted one inside; ptr NULL: none */
            matcher *matchers; size_t count;  /* re is NULL here; the name's matcher comes last */
            ast_modifiers mod;
            range_mode mode;
            bool stats;                  /* of native histograms only count and sum are asked for */
        } selector;
        struct { ast *selector; const duration *range; } matrix;
        struct { ast *expr; const duration *range, *step; ast_modifiers mod; } subquery; /* step NULL: default */
        struct { const function_row *row; ast **args; size_t count; } call;
        struct { const aggregate_row *row; ast *expr, *param; str *labels; size_t label_count; bool without, grouped; } aggregate;
        struct { const binop_row *row; ast *left, *right; bool return_bool; ast_matching *matching; } binary;
        struct { bool minus; ast *expr; } unary;
        struct { ast *expr; } paren;
    };
};

/* The node inside any parentheses. */
static inline const ast *ast_bare(const ast *node)
{
    while (node->kind == AST_PAREN)
        node = node->paren.expr;
    return node;
}

/* Types and scopes of a parsed tree, as Prometheus checks them after parsing; marks what is step invariant. */
err_kind ast_check(ast *root, str text, err *e);

/* `line:column` of a byte offset, both 1-based. */
void ast_place(str text, uint32_t offset, uint32_t *ret_line, uint32_t *ret_column);

/* The tree as /api/v1/parse_query shows it. */
void ast_write_json(const ast *node, buf *out);

/* The same text over several lines where it is long, as /api/v1/format_query and promtool print it. */
void ast_format_pretty(const ast *node, buf *out);

/* Text in double quotes as Go's %q writes it. */
void ast_quote(str s, buf *out);
void duration_format(const duration *d, buf *out);
