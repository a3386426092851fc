#include "alert/schedule.h"
#include "base/test.h"

static rule_group group_of(const char *name) { return (rule_group){ .file = STR("r.yml"), .name = str_from(name), .interval_ms = 15000 }; }

TEST(schedule_points_lie_on_a_grid_that_depends_on_the_group_only)
{
    rule_group a = group_of("a"), b = group_of("b");
    int64_t point = schedule_point(&a, 1000000);
    CHECK(point <= 1000000 && point > 1000000 - 15000);
    CHECK_EQ(schedule_point(&a, point), point);
    CHECK_EQ(schedule_point(&a, point - 1), point - 15000);
    CHECK_EQ(schedule_point(&a, point + 14999), point);
    CHECK((point - schedule_point(&b, 1000000)) % 15000 != 0); /* true of these two names */
    CHECK(schedule_point(&a, -1) <= -1 && schedule_point(&a, -1) > -15001);
}

TEST(schedule_turns_are_the_planned_points_unless_time_was_lost)
{
    rule_group g = group_of("a");
    int64_t p = schedule_point(&g, 1000000) + 15000;
    static const struct { const char *what; int64_t late_ms, want_ms; } rows[] = {
        { "in time", 0, 0 },
        { "a little early", -3, 0 },
        { "late", 14000, 0 },
        { "two intervals were missed", 31000, 30000 },
        { "the clock was set back by an hour", -3600000, -3600000 },
        { "set back to between two points", -20000, -30000 },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        CHECK_MSG(schedule_turn(&g, p, p + rows[i].late_ms) == p + rows[i].want_ms, "%s", rows[i].what);
}
