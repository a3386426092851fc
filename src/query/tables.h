/* query/tables.h - operators, aggregations and functions: one row each.
 *
 * Parser, checker, evaluator, the formatter and the documentation read the same rows. To add a function:
 * write its evaluator in the file of its family under functions/ and add a row in functions.c. */
#pragma once
#include "query/eval.h"

/* ---- binary operators ---- */
typedef enum binop { OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_MOD, OP_POW, OP_ATAN2, OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE,
                     OP_TRIM_UPPER, OP_TRIM_LOWER, OP_AND, OP_OR, OP_UNLESS, OP_COUNT } binop;
struct binop_row {
    binop op;
    const char *text;
    int left, right;          /* binding powers, loosest first; right < left: right associative */
    bool comparison, set;
    bool trim;                /* h </ x, h >/ x: of native histograms only */
};
extern const binop_row binop_rows[OP_COUNT];
const binop_row *binop_find(str text);            /* NULL if none; words in any case */
/* The value of `l op r`. Comparisons: the value is l, *ret_keep tells whether it holds. */
double binop_apply(binop op, double l, double r, bool *ret_keep);

/* ---- aggregations ---- */
typedef enum aggregation { AGG_SUM, AGG_AVG, AGG_MIN, AGG_MAX, AGG_COUNT, AGG_GROUP, AGG_STDDEV, AGG_STDVAR, AGG_TOPK,
                           AGG_BOTTOMK, AGG_QUANTILE, AGG_COUNT_VALUES, AGG_LIMITK, AGG_LIMIT_RATIO } aggregation;
struct aggregate_row {
    aggregation op;
    const char *name;
    promql_type param;        /* PROMQL_NONE: takes none */
    bool experimental;
    const char *help;
};
extern const aggregate_row aggregate_rows[];
extern const size_t aggregate_row_count;
const aggregate_row *aggregate_find(str name);    /* in any case */

/* ---- functions ---- */
/* The samples of one series in one window (start_ms, end_ms], and what else a range function may need. */
typedef struct window {
    const sample *at; size_t len;             /* oldest first, no stale markers */
    const uint32_t *resets;                   /* how often the counter fell up to each sample */
    int64_t start_ms, end_ms;
    int64_t eval_ms;                          /* the step's time, without offset */
    double range_s;
    double param[2];                          /* the scalar arguments at this step */
    double *scratch;                          /* len doubles */
} window;
/* A window that may hold native histograms, or that an anchored or smoothed selector cut. */
typedef struct native_window {
    window f;                                 /* its floats; may be none */
    const histogram_sample *h; size_t h_len;  /* its native histograms, oldest first */
    eval *ev;
    const ast *arg;                           /* the range vector, whose place annotations name */
    str name;                                 /* of the metric */
    range_mode mode;
} native_window;
/* Fill *ret or leave it empty. */
typedef err_kind (*native_fn)(const native_window *w, slot *ret);
/* False: nothing to say about this window. */
typedef bool (*window_fn)(const window *w, double *ret);
typedef double (*math_fn)(double v);
typedef err_kind (*call_fn)(eval *ev, const ast *call, const grid *g, value *ret);
/* Looks at scalar arguments before any window is: out of bounds ones are warned about or refused. */
typedef err_kind (*check_fn)(eval *ev, const ast *call, const grid *g, const double *const params[2]);

struct function_row {
    const char *name;
    promql_type args[5]; uint8_t arg_count;
    int8_t variadic;          /* 0: exactly arg_count; n: the last n may be missing; -1: the last may repeat */
    promql_type returns;
    bool experimental;
    bool time_dependent;      /* not step invariant even if its arguments are */
    bool keeps_name;          /* of range functions: the metric name stays */
    bool counter;             /* of range functions: wants a counter, says so if the name looks otherwise */
    math_fn math;             /* exactly one of these three is set */
    window_fn over;
    native_fn native;         /* of range functions: for windows with native histograms. NULL: it ignores them */
    call_fn call;
    check_fn check;           /* of range functions, may be NULL */
    const char *help;
};
extern const function_row function_rows[];
extern const size_t function_row_count;
const function_row *function_find(str name);
