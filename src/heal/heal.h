/* heal/heal.h - the room's door: what is done about it, proven by signals, inside limits, on record.
 *
 * A policy names a trigger (cause, alert or PromQL), conditions, actions, limits and what counts as proof. Each
 * episode (target + cause + incident episode) runs a pure state machine (heal/episode.h); its effects are written
 * to audit before and after they happen. mode: suggest (default) never acts. */
#pragma once
#include "diagnose/diagnose.h"

typedef struct heal_config heal_config;
/* The `heal:` section and the policy files it names. ERR_PARSE with file and place. */
err_kind heal_config_parse(const config *c, heal_config **ret, err *e);
void heal_config_free(heal_config *c);

typedef enum heal_mode { HEAL_OFF, HEAL_SUGGEST, HEAL_AUTO } heal_mode;
typedef enum heal_state {
    HEAL_SUGGESTED,   /* would act; mode is suggest */
    HEAL_WAITING,     /* a limit holds it back (cool-down, per hour, one at a time) */
    HEAL_ACTING, HEAL_VERIFYING, HEAL_DONE,
    HEAL_NEEDS_HUMAN, /* limits used up or retries failed: escalated */
    HEAL_CANCELLED    /* the reason went away or an operator said stop */
} heal_state;
const char *heal_state_name(heal_state s);
typedef struct heal_info {
    str policy, subject, incident, cause, action;
    heal_state state;
    heal_mode mode;
    unsigned attempt;
    int64_t since_ms;
    str reason;                  /* one sentence: why in this state */
} heal_info;

typedef struct heal heal;
typedef struct heal_deps {
    uv_loop_t *loop; query_engine *query; watch *watch; diagnose *diagnose; audit *audit; state_db *state; http_client *client; sample_sink sink;
} heal_deps;
err_kind heal_open(const heal_deps *deps, heal_config *take, heal **ret, err *e);
err_kind heal_reload(heal *h, heal_config *take, err *e);
void heal_close(heal *h);
/* Told by diagnose; acts at the next heal_tick only. Call heal_tick right after diagnose_tick. */
void heal_incident(heal *h, const incident *i, incident_change change);
void heal_alert(heal *h, const alert_info *a, alert_state before);
void heal_tick(heal *h, int64_t now_ms);
/* i-th episode, running ones first, newest first. False beyond the last. */
bool heal_at(heal *h, size_t i, heal_info *ret);
/* "when CAUSE on …, restart …, at most …" in plain words, for the page and `galen check`. */
void heal_explain(heal *h, size_t policy, buf *out);
void heal_explain_zh(heal *h, size_t policy, buf *out);
size_t heal_policy_count(const heal *h);
err_kind heal_routes(heal *h, http_server *s, err *e); /* GET /api/galen/v1/heal; POST …/heal/pause|resume (token) */
