/* alert/alert_config.h - the `alert:` section, in Prometheus's and Alertmanager's own schema.
 *
 *   rule_files: [rules/….yml]            globs; a plain name that is not there is an error
 *   evaluation_interval: 15s             for groups without an interval
 *   route: {receiver, group_by, group_wait, group_interval, repeat_interval, matchers, match, match_re, continue, routes}
 *   receivers: [{name, webhook_configs: [{url | url_file, send_resolved, max_alerts, timeout, http_config}]}]
 *   global, templates, inhibit_rules, time_intervals, mute_time_intervals
 *
 * Source: https://prometheus.io/docs/alerting/latest/configuration/. Receivers of other kinds load and are named in
 * `notes`, and so is all that is accepted without effect so far: who writes the file is told once.
 *
 * Immutable once parsed; everything lives in its arena. Secrets (credentials, URLs with tokens) are never logged. */
#pragma once
#include "alert/rules.h"

#define ROUTE_MAX_DEPTH 32
#define ALERT_NOTES_MAX 32
#define ALERTMANAGERS_MAX 64

typedef struct webhook {
    char *url;
    bool send_resolved;
    int64_t max_alerts;                    /* 0: all */
    int64_t timeout_ms;                    /* 0: net's default */
    char *basic_user, *basic_password, *bearer_token;
    bool tls_insecure, follow_redirects;
} webhook;
typedef struct receiver { str name; webhook *webhooks; size_t len; uint32_t line; } receiver;

typedef struct alert_route alert_route;
struct alert_route {
    const receiver *to;
    matcher *matchers; size_t matcher_count;
    config_strs group_by; bool group_by_all;         /* "...": each label set is its own group */
    bool go_on;                                       /* `continue`: siblings may match, too */
    int64_t group_wait_ms, group_interval_ms, repeat_interval_ms;
    alert_route *routes; size_t len;
    str key;                                          /* matchers of the path from the root, as in Alertmanager's groupKey */
};

struct alert_config {
    arena arena;
    rule_set *rules;
    str *alertmanagers; size_t alertmanager_count;    /* addresses of their API, as Prometheus lists them */
    labels external_labels;
    int64_t evaluation_interval_ms;
    alert_route *route;                               /* NULL: nobody is told outside */
    receiver *receivers; size_t receiver_count;
    vec(regex *) regexes;
    const char *notes[ALERT_NOTES_MAX]; size_t note_count;
};

/* `{a="b", c=~"d.*"}`, `a!=b`: matchers in `a`, their regexes kept by `c`. */
err_kind matchers_parse(alert_config *c, str text, matcher **ret, size_t *ret_n, err *e);
/* Calls fn for each route the labels end at, as Alertmanager's tree does: deepest first match, on after `continue`. */
void route_match(const alert_route *r, labels l, void (*fn)(void *ctx, const alert_route *r), void *ctx);
bool matchers_match(const matcher *m, size_t n, labels l);

/* alert_config.c keeps these for alert_route.c. */
err_kind alert_route_parse(alert_config *c, const yaml_doc *doc, const yaml_node *at, const alert_route *parent, int depth, alert_route *ret, err *e);
