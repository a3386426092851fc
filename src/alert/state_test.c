#include "alert/state.h"
#include "base/test.h"

/* 'x': the expression holds at this evaluation, '.': it does not. 30 s a step. */
static alert_track play(const char *active, int64_t for_ms, int64_t keep_ms)
{
    alert_track a = { 0 };
    for (int64_t i = 0; active[i]; i++)
        a = alert_step(a, for_ms, keep_ms, active[i] == 'x', 1000000 + i * 30000);
    return a;
}

TEST(state_follows_the_picture)
{
    static const struct { const char *what, *active; int64_t for_s, keep_s; alert_state want; bool resolved; } rows[] = {
        { "a blip shorter than for stays quiet", "x..", 60, 45, ALERT_INACTIVE, false },
        { "still pending inside the for period", "xx", 60, 45, ALERT_PENDING, false },
        { "held for the whole for period fires", "xxx", 60, 45, ALERT_FIRING, false },
        { "a short gap does not resolve", "xxx.x", 60, 45, ALERT_FIRING, false },
        { "a gap while pending starts the for period anew", "xx.xx", 60, 45, ALERT_PENDING, false },
        { "the gap counts from the first miss", "xxx..", 60, 45, ALERT_FIRING, false },
        { "a gap as long as keep_firing_for resolves", "xxx...", 60, 45, ALERT_INACTIVE, true },
        { "two short gaps are not one long one", "xxx..x..", 60, 45, ALERT_FIRING, false },
        { "without for it fires at once", "x", 0, 0, ALERT_FIRING, false },
        { "without keep_firing_for it resolves at once", "x.", 0, 0, ALERT_INACTIVE, true },
        { "what was resolved starts again as pending", "xxx...x", 60, 45, ALERT_PENDING, false },
        { "nothing ever matched", "....", 60, 45, ALERT_INACTIVE, false },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        alert_track a = play(rows[i].active, rows[i].for_s * 1000, rows[i].keep_s * 1000);
        CHECK_MSG(a.state == rows[i].want, "%s: it is %s", rows[i].what, alert_state_name(a.state));
        CHECK_MSG((a.resolved_ms != 0) == rows[i].resolved, "%s: resolved at %d", rows[i].what, (int)a.resolved_ms);
    }
}

TEST(state_keeps_the_first_active_time_and_the_time_it_fired)
{
    alert_track a = play("xxxx", 60000, 0);
    CHECK_EQ(a.since_ms, 1000000);
    CHECK_EQ(a.fired_ms, 1060000);
    a = play("xxxx.", 60000, 0);
    CHECK_EQ(a.since_ms, 1000000);
    CHECK_EQ(a.resolved_ms, 1120000);
}

TEST(state_a_resolved_alert_is_kept_for_fifteen_minutes)
{
    alert_track a = play("x.", 0, 0);
    CHECK(!alert_forgettable(a, a.resolved_ms + ALERT_RESOLVED_KEEP_MS));
    CHECK(alert_forgettable(a, a.resolved_ms + ALERT_RESOLVED_KEEP_MS + 1));
    CHECK(alert_forgettable(play("x.", 60000, 0), 0));
    CHECK(!alert_forgettable(play("x", 0, 0), INT64_MAX));
}
