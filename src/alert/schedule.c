/* alert/schedule.c - points of a group's grid. */
#include "alert/schedule.h"

#include "base/hash.h"

#define EARLY_MS 50   /* a timer may ring a little before the wall clock shows its time */

static int64_t offset_of(const rule_group *g)
{
    uint64_t h = hash_str(g->name, hash_str(g->file, 0));
    return (int64_t)(h % (uint64_t)g->interval_ms);
}

int64_t schedule_point(const rule_group *g, int64_t now_ms)
{
    int64_t since = (now_ms - offset_of(g)) % g->interval_ms;
    return now_ms - (since < 0 ? since + g->interval_ms : since);
}

int64_t schedule_turn(const rule_group *g, int64_t planned_ms, int64_t now_ms)
{
    bool in_time = now_ms >= planned_ms - EARLY_MS && now_ms < planned_ms + g->interval_ms;
    return in_time ? planned_ms : schedule_point(g, now_ms);
}
