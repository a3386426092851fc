#include "heal/guard.h"

guard_answer guard_ask(const guard_ledger *l, const guard_question *q)
{
    int64_t in_hour = 0, last_ms = INT64_MIN;

    /* A clock that was set back makes entries of the future; they count as made just now. */
    for (size_t i = 0; i < l->len; i++) {
        int64_t at = MIN(l->at_ms[i], q->now_ms);
        in_hour += q->now_ms - at < GUARD_HOUR_MS;
        last_ms = MAX(last_ms, at);
    }
    if (q->person_called)
        return GUARD_PERSON_CALLED;
    if (q->target_busy)
        return GUARD_TARGET_BUSY;
    if (q->busy_elsewhere >= (size_t)q->policy->concurrent)
        return GUARD_OTHERS_BUSY;
    if (q->redo)
        return GUARD_FREE;
    if (in_hour >= q->policy->per_hour)
        return GUARD_HOUR_USED_UP;
    if (l->len > 0 && q->now_ms - last_ms < q->policy->cooldown_ms)
        return GUARD_COOLDOWN;
    return GUARD_FREE;
}

void guard_note(guard_ledger *l, int64_t now_ms, uint64_t run)
{
    if (l->len == GUARD_REMEMBER) {
        memmove(l->at_ms, l->at_ms + 1, (GUARD_REMEMBER - 1) * sizeof l->at_ms[0]);
        l->len--;
    }
    l->at_ms[l->len++] = now_ms;
    l->last_run = run;
}
