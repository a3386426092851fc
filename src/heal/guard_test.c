#include "base/test.h"
#include "heal/guard.h"

#define MIN_MS 60000
static const struct { const char *what; int64_t ago[4]; size_t len; bool busy; size_t elsewhere; bool redo; guard_answer want; } rows[] = {
    { "nothing done yet is free", { 0 }, 0, false, 0, false, GUARD_FREE },
    { "cooling down after four minutes of five", { 4 * MIN_MS }, 1, false, 0, false, GUARD_COOLDOWN },
    { "free after five minutes", { 5 * MIN_MS }, 1, false, 0, false, GUARD_FREE },
    { "three in an hour are enough", { 50 * MIN_MS, 30 * MIN_MS, 10 * MIN_MS }, 3, false, 0, false, GUARD_HOUR_USED_UP },
    { "what is an hour old no longer counts", { 60 * MIN_MS, 30 * MIN_MS, 10 * MIN_MS }, 3, false, 0, false, GUARD_FREE },
    { "one at a time per target", { 0 }, 0, true, 0, false, GUARD_TARGET_BUSY },
    { "one target at a time", { 0 }, 0, false, 1, false, GUARD_OTHERS_BUSY },
    { "an attempt galen died in is not counted twice", { 1 }, 1, false, 0, true, GUARD_FREE },
    { "but waits for its turn", { 1 }, 1, true, 0, true, GUARD_TARGET_BUSY },
    { "entries of the future count as made now", { -999 * MIN_MS }, 1, false, 0, false, GUARD_COOLDOWN },
};

TEST(guard_keeps_the_limits)
{
    const policy p = { .cooldown_ms = 5 * MIN_MS, .per_hour = 3, .concurrent = 1 };
    const int64_t now = INT64_C(1700000000000);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        guard_ledger l = { .len = rows[i].len };
        for (size_t n = 0; n < l.len; n++)
            l.at_ms[n] = now - rows[i].ago[n];
        guard_question q = { &p, false, rows[i].busy, rows[i].elsewhere, rows[i].redo, now };
        CHECK_MSG(guard_ask(&l, &q) == rows[i].want, "%s: got %d", rows[i].what, guard_ask(&l, &q));
    }
}

TEST(guard_ledger_drops_the_oldest)
{
    guard_ledger l = { .len = 0 };
    for (int i = 0; i < 3 * GUARD_REMEMBER; i++)
        guard_note(&l, i, 1);
    CHECK_EQ(l.len, GUARD_REMEMBER);
    CHECK_EQ(l.at_ms[0], 2 * GUARD_REMEMBER);
    CHECK_EQ(l.at_ms[l.len - 1], 3 * GUARD_REMEMBER - 1);
}
