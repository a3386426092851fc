/* alert/state.c - the step. The caller compares old and new and does what follows from it. */
#include "alert/state.h"

static alert_track missed(alert_track a, int64_t keep_firing_for_ms, int64_t now_ms)
{
    if (a.state == ALERT_FIRING && keep_firing_for_ms > 0) {
        if (a.gap_ms == 0)
            a.gap_ms = now_ms;
        if (now_ms - a.gap_ms < keep_firing_for_ms)
            return a;
    }
    if (a.state == ALERT_FIRING)
        return (alert_track){ .since_ms = a.since_ms, .fired_ms = a.fired_ms, .resolved_ms = now_ms };
    return a.state == ALERT_PENDING ? (alert_track){ 0 } : a;
}

alert_track alert_step(alert_track a, int64_t for_ms, int64_t keep_firing_for_ms, bool active, int64_t now_ms)
{
    if (!active)
        return missed(a, keep_firing_for_ms, now_ms);
    if (a.state == ALERT_INACTIVE)
        a = (alert_track){ .state = ALERT_PENDING, .since_ms = now_ms };
    if (a.state == ALERT_PENDING && now_ms - a.since_ms >= for_ms) {
        a.state = ALERT_FIRING;
        a.fired_ms = now_ms;
    }
    a.gap_ms = 0;
    return a;
}

bool alert_forgettable(alert_track a, int64_t now_ms)
{
    return a.state == ALERT_INACTIVE && (a.resolved_ms == 0 || now_ms - a.resolved_ms > ALERT_RESOLVED_KEEP_MS);
}

const char *alert_state_name(alert_state s)
{
    static const char *const names[] = { "inactive", "pending", "firing" };
    return names[s];
}
