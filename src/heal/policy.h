/* heal/policy.h - what may be done about what, inside which limits, and what counts as proof.
 *
 *     name: restart-dead-engine                 # letters, digits, _ - .
 *     trigger: {cause: [engine_dead]}           # or {alert: NAME}, or {expr: PROMQL, for: 10s}
 *     when: PROMQL                              # optional; must answer right before acting
 *     mode: suggest | approve | auto            # the weaker of this and heal.mode wins; default suggest
 *     do: [{restart: {grace: 10s}}, {exec: {command: [argv…], timeout: 30s}}]
 *     limits: {cooldown: 5m, per_hour: 3, concurrent: 1}
 *     verify: {probe: completion, expr: PROMQL, within: 60s, hold: 30s}
 *     retries: 2
 *     otherwise: [{escalate: {message: …, webhook: URL, command: [argv…]}}]
 *
 * In every expression $replica stands for job="…",instance="…" of the target; in verify.expr $since_action is the time
 * since the action ended, so that `last_over_time(up{$replica}[$since_action]) == 1` sees nothing older. An expression says yes as in an alerting
 * rule: by answering a series at all (a scalar by not being 0). Unknown keys are refused by name. A
 * policy that names a cause which must never be acted on (saturated) is refused: it could only do harm.
 * Pure: text in, struct out. Everything lives in the arena of the heal_config it belongs to. */
#pragma once
#include "heal/heal.h"

#define POLICY_MAX_STEPS 16
#define POLICY_MAX 200
#define POLICY_EXPR_MAX 4096

typedef enum trigger_kind { TRIGGER_CAUSE, TRIGGER_ALERT, TRIGGER_EXPR } trigger_kind;

typedef enum action_kind { ACTION_RESTART, ACTION_EXEC, ACTION_COUNT } action_kind;
const char *action_kind_name(action_kind k);
typedef struct action {
    action_kind kind;
    int64_t grace_ms;              /* restart: between SIGTERM and SIGKILL */
    config_strs command;           /* exec: argv, never a shell line */
    int64_t timeout_ms;            /* exec */
} action;

typedef struct escalation { str message; const char *webhook; config_strs command; } escalation;

typedef struct policy {
    str name;
    trigger_kind trigger;
    config_strs causes;            /* TRIGGER_CAUSE: any of them */
    str alert;                     /* TRIGGER_ALERT */
    str expr; int64_t for_ms;      /* TRIGGER_EXPR: each series it answers is a target, by its job and instance */
    str when;                      /* empty: always */
    heal_mode mode;
    bool approve;                  /* mode was "approve": suggests until approvals are built */
    action steps[POLICY_MAX_STEPS]; size_t step_count;
    int64_t cooldown_ms, per_hour, concurrent;
    bool verify_probe;             /* a completion probe must get a token */
    str verify_expr;               /* and this must answer; empty: not asked */
    int64_t within_ms, hold_ms;
    int64_t retries;
    escalation escalations[4]; size_t escalation_count;
} policy;

struct heal_config {
    heal_mode mode;
    arena arena;
    policy *policies; size_t policy_count;
};
const policy *heal_config_find(const heal_config *c, str name);

/* One policy from a mapping. ERR_PARSE with file and place. */
err_kind policy_parse(const yaml_doc *doc, const yaml_node *n, arena *a, policy *ret, err *e);
/* A mode's word: off, suggest, auto; in a policy also approve (*ret_approve, may be NULL). Absent: suggest. */
err_kind policy_mode_parse(const yaml_doc *doc, const yaml_node *n, bool in_policy, heal_mode *ret, bool *ret_approve, err *e);
/* A whole file: one policy, a list of them, or {policies: [...]}; appended to c. */
err_kind policy_file_parse(const yaml_doc *doc, heal_config *c, err *e);
/* What galen does when no policies are configured; the same text as policies/llm-default.yml. */
extern const char policy_default_text[];

/* $replica and $since_action filled in. ERR_LIMIT when the result is too long. */
err_kind policy_expr_fill(str expr, str subject, int64_t since_action_ms, buf *out, err *e);
/* "replica:JOB/INSTANCE" into its parts. False for other ids. */
bool policy_subject_split(str subject, str *job, str *instance);

/* Plain words: when …, do …, at most …, proven by …, otherwise …. */
void policy_explain(const policy *p, heal_mode global, bool chinese, buf *out);
heal_mode policy_effective_mode(const policy *p, heal_mode global);
const char *heal_mode_name(heal_mode m);      /* "off", "suggest", "auto" */

/* Checks an expression where a PromQL parser is at hand; set by heal_config_parse, NULL in tests of this file alone. */
extern err_kind (*policy_check_expr)(str expr, err *e);
