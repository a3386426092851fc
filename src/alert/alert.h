/* alert/alert.h - the room's door: what people must be told.
 *
 * Prometheus rule files (alerting and recording), their states, and notifications by webhook. Alerting rules
 * write ALERTS and ALERTS_FOR_STATE, recording rules their results, through the sample_sink. */
#pragma once
#include "audit/audit.h"
#include "config/config.h"
#include "net/net.h"
#include "query/query.h"

/* ---- rule files ---- */
typedef struct rule_set rule_set;
rule_set *rule_set_new(void);
void rule_set_free(rule_set *s);
void rule_set_freep(rule_set **s);
/* Add a file's groups. ERR_PARSE with file, line, column for bad YAML, unknown keys, bad expressions, templates, durations. */
err_kind rule_set_load(rule_set *s, const char *path, int64_t default_interval_ms, err *e);
size_t rule_set_groups(const rule_set *s);
size_t rule_set_rules(const rule_set *s);

/* ---- Go templates, as far as rules need them: {{ $value }}, {{ $labels.x }}, {{ .Value }}, pipelines, humanize… ---- */
typedef struct template_sample { labels labels; double value; } template_sample;   /* what {{ query "…" }} answers with */
typedef struct template_data {
    labels labels, external_labels; double value; str external_url;
    int64_t now_ms;                                    /* for {{ now }} */
    /* {{ query "up" }}; NULL: an empty list. *ret lives in `a`. */
    err_kind (*query)(void *ctx, str expr, arena *a, template_sample **ret, size_t *ret_n, err *e);
    void *query_ctx;
} template_data;
/* Parse and execute in one go. ERR_PARSE: the text (line, column in it); ERR_EXEC: it failed; ERR_LIMIT. alert/template.h
 * is for templates that are executed often. */
err_kind template_expand(str text, const template_data *data, buf *out, err *e);

/* ---- configuration: the `alert:` section, alertmanager.yml's schema (webhook_configs work; the rest is accepted) ---- */
typedef struct alert_config alert_config;
/* Without rule_files the shipped rules (rules/llm.yml) are loaded. */
err_kind alert_config_parse(const config *c, alert_config **ret, err *e);
err_kind alert_config_from_prometheus(const yaml_doc *doc, const char *dir, alert_config **ret, err *e); /* rule_files, evaluation_interval; doc NULL: empty */
/* Routes and receivers of an alertmanager.yml (--alertmanager.config), added to a configuration without any. */
err_kind alert_config_add_alertmanager(alert_config *c, const yaml_doc *doc, const char *dir, err *e);
/* What templates see as $externalLabels; copied. */
err_kind alert_config_external_labels(alert_config *c, labels external, err *e);
void alert_config_free(alert_config *c);
/* For `galen check`: what was loaded, and what is accepted without effect so far (sentences; borrowed from `c`). */
size_t alert_config_groups(const alert_config *c);
size_t alert_config_rules(const alert_config *c);
size_t alert_config_notes(const alert_config *c, const char *const **ret);

/* ---- life ---- */
typedef enum alert_state { ALERT_INACTIVE, ALERT_PENDING, ALERT_FIRING } alert_state;
typedef struct alert_info {
    str rule, group;
    labels labels;              /* with alertname */
    const config_pair *annotations; size_t annotation_count;   /* expanded */
    alert_state state;
    int64_t active_at_ms, fired_at_ms;
    int64_t keep_since_ms;      /* firing only because of keep_firing_for, since then; 0: it holds */
    double value;
} alert_info;
typedef struct alert_room alert_room;
typedef struct alert_deps {
    uv_loop_t *loop; http_client *client; query_engine *query; sample_sink sink; audit *audit;
    const char *external_url;
    void (*on_change)(void *ctx, const alert_info *a, alert_state before); /* firing, resolved; may be NULL */
    void *on_change_ctx;
} alert_deps;
err_kind alert_open(const alert_deps *deps, alert_config *take, alert_room **ret, err *e);
err_kind alert_reload(alert_room *r, alert_config *take, err *e);      /* states of unchanged rules live on */
void alert_close(alert_room *r);
/* i-th active (pending or firing) alert; false beyond the last. Borrowed until the loop runs on. */
bool alert_at(alert_room *r, size_t i, alert_info *ret);
err_kind alert_routes(alert_room *r, http_server *s, err *e);          /* /api/v1/rules, /api/v1/alerts, /api/v1/alertmanagers */
