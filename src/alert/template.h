/* alert/template.h - Go's text/template as far as Prometheus rules use it: parsed once, executed often.
 *
 *   template = { text | "{{" action "}}" }        "{{-" and "-}}" trim blanks beside them, "{{/" "* … *" "/}}" is a comment
 *   action   = pipeline | "if" pipeline … [ "else" [ "if" … ] ] "end" | "range" [ $i [, $v] := ] pipeline … [ "else" … ] "end"
 *            | "with" [ $v := ] pipeline … [ "else" … ] "end" | $v ":=" pipeline | $v "=" pipeline
 *   pipeline = command { "|" command }            the value so far becomes the last argument
 *   command  = operand { operand }                the first may name a function
 *   operand  = literal | "." | ".Field" | "$var" [ ".Field" ] | "(" pipeline ")" [ ".Field" ] | function
 *
 * Sources: https://pkg.go.dev/text/template, https://prometheus.io/docs/prometheus/latest/configuration/template_reference/
 * and Prometheus's template/template.go for what each function prints.
 *
 * Where we are kinder than Go: numbers compare whatever their type (`gt $value 5`). What is not built is
 * refused when the rule is loaded, by name: define, template, block, break, continue, slice, call, js, toTime, toDuration.
 *
 * A parsed template is read-only; it lives in its arena. Executing is bounded: output by the buf, loops by
 * TEMPLATE_MAX_STEPS. */
#pragma once
#include "alert/alert.h"

#define TEMPLATE_MAX_BYTES (64u << 10)     /* source */
#define TEMPLATE_MAX_OUTPUT (64u << 10)
#define TEMPLATE_MAX_DEPTH 32
#define TEMPLATE_MAX_STEPS 100000

typedef struct template_node template_node;
/* ERR_PARSE with line and column in `text`, ERR_NOMEM. Unknown functions, fields and variables are errors here. */
err_kind template_parse(str text, arena *a, const template_node **ret, err *e);
/* ERR_EXEC with Go's words where it has some, ERR_LIMIT. What was written so far stays in *out. */
err_kind template_run(const template_node *t, const template_data *data, buf *out, err *e);

/* ---- for the function table (template_func.c) ---- */
typedef enum template_type { TEMPLATE_NIL, TEMPLATE_BOOL, TEMPLATE_INT, TEMPLATE_FLOAT, TEMPLATE_STR,
                             TEMPLATE_LABELS, TEMPLATE_SAMPLE, TEMPLATE_LIST, TEMPLATE_ROOT } template_type;
typedef struct template_value template_value;
struct template_value {
    template_type type;
    union {
        bool b; int64_t i; double f; str s; labels labels;
        const template_sample *sample;
        struct { const template_sample *at; size_t len; } list;
    };
};
typedef struct template_call {      /* what a function is given */
    const template_data *data;
    arena *arena;                   /* of this execution: results may live in it */
    err *e;
    const template_value *args;
    size_t n;
} template_call;
typedef struct template_func {
    const char *name;
    int min, max;                   /* arguments; max -1: any number */
    err_kind (*run)(const template_call *c, template_value *ret);
    const char *help;
} template_func;
const template_func *template_func_find(str name);      /* NULL: no such function */
bool template_truth(const template_value *v);           /* Go's: zero, empty and nil are false */
void template_put(const template_value *v, buf *out);   /* as Go's %v prints it */
void template_put_float(double v, buf *out);            /* strconv's shortest 'g': exponents from 1e6 on and below 1e-4 */
