/* alert/state.h - the life of one alert: a pure step over state, input and now.
 *
 *              active                   active for >= for_ms
 *   INACTIVE ------------> PENDING ------------------------> FIRING
 *      ^                      | not active                      | not active for keep_firing_for_ms
 *      +----------------------+---------------------------------+
 *
 *   INACTIVE  resolved_ms 0: never fired, or forgotten. Else: fired and ended then; kept for
 *             ALERT_RESOLVED_KEEP_MS so that notifications can say so
 *   PENDING   active since since_ms; nobody has been told
 *   FIRING    told at fired_ms; since_ms is still the first active evaluation     (for_ms 0: both steps at once)
 *
 * Source: Prometheus's rules/alerting.go (AlertingRule.Eval): the gap that keep_firing_for bridges is counted from the
 * first evaluation that missed the alert, not from the last that saw it. */
#pragma once
#include "alert/alert.h"

#define ALERT_RESOLVED_KEEP_MS (15 * 60 * MS_PER_S)

typedef struct alert_track {
    alert_state state;
    int64_t since_ms;     /* first active evaluation of this life */
    int64_t fired_ms;     /* 0: not fired */
    int64_t gap_ms;       /* FIRING and missing since then; 0: present */
    int64_t resolved_ms;  /* INACTIVE after firing */
} alert_track;

alert_track alert_step(alert_track a, int64_t for_ms, int64_t keep_firing_for_ms, bool active, int64_t now_ms);
/* Nothing more will be said of it: its memory may go. */
bool alert_forgettable(alert_track a, int64_t now_ms);
const char *alert_state_name(alert_state s);   /* "inactive", "pending", "firing" */
