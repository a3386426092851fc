/* query/cost.h - what a query cost, node by node: for ?stats=all and for explain.
 *
 * Kept only when somebody asked (ev->cost is NULL otherwise): each hook is one look at a pointer. Nodes are listed in
 * the order they were entered, parents before children. Selections belong to the innermost node that was open when
 * they were made: a range function reads for its own argument.
 *
 * Samples are counted as Prometheus does (util/stats/query_stats.go): every step counts every sample it looked at, so
 * overlapping windows count one sample several times; inside a subquery only its windows count. */
#pragma once
#include "query/eval.h"

typedef struct cost_node {
    const ast *node;
    uint32_t depth;
    int64_t started_ns, took_ns, children_ns;
    uint64_t series;           /* in its result */
    select_stats read;         /* what it read from the store itself */
} cost_node;

typedef struct eval_cost {
    vec(cost_node) nodes;
    vec(uint32_t) owners;      /* by selection: its node */
    uint32_t open;             /* the innermost node that is not done; UINT32_MAX: none */
    uint32_t depth;
    uint64_t *per_step; size_t steps;
    unsigned subqueries;       /* how many are open: nothing is counted inside */
    size_t peak;               /* most samples and slots held at one time */
    int64_t parse_ns, sort_ns;
} eval_cost;

CHECKED err_kind cost_open(eval *ev, eval_cost *c, size_t steps);
void cost_done(eval_cost *c);

/* Around a node. *ret: to be handed to cost_leave. */
CHECKED err_kind cost_enter(eval *ev, const ast *node, uint32_t *ret);
void cost_leave(eval *ev, uint32_t number, const value *made);

void cost_add(eval *ev, const grid *g, size_t step, uint64_t samples);
void cost_add_slots(eval *ev, const grid *g, const double *v);        /* one sample for every slot that is filled */
void cost_hold(eval *ev, size_t samples);                             /* so many are held besides the slots */
static inline void cost_subquery(eval *ev, int by);

/* The report for the result, in its arena. */
CHECKED err_kind cost_report(eval *ev, arena *a, query_cost *ret);

static inline void cost_subquery(eval *ev, int by)
{
    if (ev->cost)
        ev->cost->subqueries += (unsigned)by;
}
