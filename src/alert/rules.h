/* alert/rules.h - rule files: groups of recording and alerting rules, checked when they are loaded.
 *
 *   groups:
 *     - name, interval, query_offset, limit, labels
 *       rules:
 *         - record, expr, labels                                          a series is written
 *         - alert, expr, for, keep_firing_for, labels, annotations        people are told
 *
 * Source: https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/ and model/rulefmt. Unknown keys,
 * wrong names, expressions and templates are refused with their place in the file.
 *
 * The text of a rule lives in its set's arena and never changes; what a rule lives through (alerts, series, health) hangs on
 * it and moves to the new set on reload (rules_move_state). One thread. */
#pragma once
#include "alert/series_book.h"
#include "alert/state.h"
#include "alert/template.h"

#define RULE_FILE_MAX_BYTES (16u << 20)
#define RULES_MAX 100000
#define RULE_MAX_ALERTS 10000        /* active ones of one rule */
#define RULE_ALERT_TEXT_MAX (256u << 10)

typedef struct rule_text { str name, text; const template_node *template; } rule_text;  /* one label or annotation */

/* One alert that is pending, firing, or was resolved lately. */
typedef struct alert_item {
    label_set *labels;         /* with alertname */
    uint64_t hash;
    alert_track track;
    double value;
    arena text;                /* of the annotations, written anew each evaluation */
    config_pair *annotations;
    size_t annotation_count;
} alert_item;

typedef enum rule_health { RULE_UNKNOWN, RULE_OK, RULE_ERR } rule_health;
typedef struct rule {
    /* as loaded */
    bool alerting;
    str name;                  /* of the alert, or of the recorded series */
    str expr;
    int64_t for_ms, keep_firing_for_ms;
    rule_text *labels; size_t label_count;           /* the group's merged in, sorted by name */
    rule_text *annotations; size_t annotation_count;
    uint32_t line;
    /* what it lives through */
    alert_item **items; size_t item_count, item_cap; /* sorted by hash */
    series_book book;
    rule_health health;
    char last_error[300];
    bool error_logged;         /* the same error is logged once */
    bool restored;             /* `for` state was looked for after the start */
    int64_t last_eval_ms;
    double last_eval_s;
} rule;

typedef struct rule_group {
    str file, name;
    int64_t interval_ms, query_offset_ms;
    int64_t limit;             /* series or alerts a rule may produce; 0: any number */
    rule *rules; size_t len;
    int64_t last_eval_ms;
    double last_eval_s;
} rule_group;

struct rule_set {
    arena arena;
    vec(rule_group *) groups;
    size_t rule_count;
};

/* As rule_set_load, from text; `name` stands for the file. On error the set is as before but for memory in its arena. */
err_kind rule_set_load_text(rule_set *s, str text, const char *name, int64_t default_interval_ms, err *e);
rule_group *rule_set_group(const rule_set *s, size_t i);

/* Find by hash and labels; NULL if there is none. */
alert_item *rule_find_item(const rule *r, uint64_t hash, labels l);
/* A new, inactive one; NULL without memory or beyond RULE_MAX_ALERTS. */
alert_item *rule_add_item(rule *r, uint64_t hash, labels l);
void rule_remove_item(rule *r, size_t i);
void rule_state_done(rule *r);

/* Let the alerts and series of `from` live on in `to`: groups by file and name, rules by kind, name and labels, in order
 * (as Prometheus's CopyState). What found no place stays in `from`. */
void rules_move_state(rule_set *from, rule_set *to);
