/* alert/evaluate.h - one evaluation of one group: ask, step, write series, tell what changed.
 *
 * For each rule in order: the expression is asked at now - query_offset; a recording rule's result is written under its
 * name; for an alerting rule every series of the result is an active alert, whose labels and annotations are expanded from
 * templates, and alert_step decides. A rule that fails says so in its health and leaves its alerts as they were; the
 * next rules are evaluated all the same. Source: Prometheus's rules/group.go and rules/alerting.go.
 *
 * Knows no loop and no store: everything it needs is in eval_deps. */
#pragma once
#include "alert/rules.h"

typedef struct eval_deps {
    /* PromQL, now: query_instant of an engine, or a test's own. */
    err_kind (*query)(void *ctx, str expr, int64_t t_ms, query_result *ret, err *e);
    void *query_ctx;
    sample_sink sink;
    str external_url;
    labels external_labels;
    /* An alert fired or was resolved. Called after the rule's series are written. */
    void (*changed)(void *ctx, const rule_group *g, const rule *r, const alert_item *item, alert_state before);
    void *changed_ctx;
} eval_deps;

/* Returns how many rules failed. */
size_t group_evaluate(rule_group *g, const eval_deps *d, int64_t now_ms);

/* Series written by alerting rules besides their results. */
#define ALERTS_SERIES STR("ALERTS")                     /* {alertname, alertstate="pending"|"firing", …} 1 */
#define ALERTS_FOR_STATE_SERIES STR("ALERTS_FOR_STATE") /* {alertname, …} Unix seconds since when it is active */

void alert_item_info(const rule_group *g, const rule *r, const alert_item *item, alert_info *ret);
