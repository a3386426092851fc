/* alert/schedule.h - when a group of rules is evaluated: on a grid of its own.
 *
 * A group's points are `offset + n * interval` since the epoch; the offset comes from its file and name, so groups do not
 * all start at once, and the same group has the same points in every process and after every restart. What is evaluated
 * is the point, however late the timer rings: recorded series lie on regular steps, and time() is the sample's time.
 * Source: Prometheus's rules/group.go (EvalTimestamp, run). */
#pragma once
#include "alert/rules.h"

/* The group's last point at or before now_ms. */
int64_t schedule_point(const rule_group *g, int64_t now_ms);
/* The timer rang for the point `planned_ms`: which point is evaluated. It is the planned one; when whole intervals were
 * missed, or the wall clock was set back, the last one that has come. */
int64_t schedule_turn(const rule_group *g, int64_t planned_ms, int64_t now_ms);
