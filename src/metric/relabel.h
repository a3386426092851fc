/* metric/relabel.h - Prometheus's relabelling: rules that rewrite or drop a label set.
 *
 * Used for relabel_configs on a target before it is scraped, metric_relabel_configs on every new series, and
 * write_relabel_configs on what is sent to a remote store.
 * Meaning and defaults: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config
 * (regex "(.*)" anchored, separator ";", replacement "$1", action replace). lowercase and uppercase change
 * ASCII letters only. Rules are read-only once parsed. */
#pragma once
#include "base/regex.h"
#include "config/config.h"
#include "metric/metric.h"

#define RELABEL_MAX_RULES 1000

typedef enum relabel_action {
    RELABEL_REPLACE, RELABEL_KEEP, RELABEL_DROP, RELABEL_KEEPEQUAL, RELABEL_DROPEQUAL, RELABEL_HASHMOD,
    RELABEL_LABELMAP, RELABEL_LABELDROP, RELABEL_LABELKEEP, RELABEL_LOWERCASE, RELABEL_UPPERCASE,
    RELABEL_ACTION_COUNT
} relabel_action;

typedef struct relabel_rule {
    relabel_action action;
    config_strs sources;
    str separator, target, replacement;
    int64_t modulus;
    regex *re;
} relabel_rule;
typedef struct relabel_rules { relabel_rule *at; size_t len; } relabel_rules;

/* `sequence` NULL: no rules. Strings live in `a`; the regexes are freed by relabel_done. */
err_kind relabel_parse(const yaml_doc *doc, const yaml_node *sequence, arena *a, relabel_rules *ret, err *e);
void relabel_done(relabel_rules *r);

/* Rewrite the labels in `b`. False: a keep or drop rule says this one goes (or memory ran out: b->failed). */
bool relabel_apply(const relabel_rules *r, labels_builder *b);
/* A label's value while it is still being built; empty view if absent. */
str relabel_get(const labels_builder *b, str name);
