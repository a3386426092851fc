/* alert/template_tree.h - the parsed template, between template.c (writes it) and template_run.c (walks it).
 *
 * Nodes of one level hang on `next`. Variables are slots, decided while parsing: the first five are Prometheus's
 * prelude, in the order of template_prelude. */
#pragma once
#include "alert/template.h"

#define VARS_MAX 64
#define ARGS_MAX 32

typedef enum operand_kind { OPERAND_VALUE, OPERAND_DOT, OPERAND_VAR, OPERAND_FUNC, OPERAND_PIPE } operand_kind;
typedef struct operand operand;
typedef struct command { operand *args; size_t n; struct command *next; } command;
typedef struct pipeline {
    command *first;
    int vars[2], var_count;   /* slots that receive the value */
    bool is_declaration;      /* prints nothing */
} pipeline;
struct operand {
    operand_kind kind;
    uint32_t at;              /* offset in the source, for messages */
    template_value value;     /* OPERAND_VALUE */
    int var;                  /* OPERAND_VAR */
    const template_func *func;
    pipeline *pipe;           /* OPERAND_PIPE */
    str fields[8]; size_t field_count;
};

typedef enum node_kind { NODE_TEXT, NODE_PRINT, NODE_IF, NODE_RANGE, NODE_WITH } node_kind;
struct template_node { /* one of text | pipe, and for if, range, with: body and otherwise */
    node_kind kind;
    str text;
    pipeline *pipe;
    template_node *body, *otherwise, *next;
};

/* "$" is the whole data; the rest is what Prometheus puts in front of every template (NewTemplateExpander). */
enum { VAR_ROOT, VAR_LABELS, VAR_EXTERNAL_LABELS, VAR_EXTERNAL_URL, VAR_VALUE, VAR_PRELUDE_COUNT };
