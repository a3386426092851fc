#include "base/test.h"
#include "heal/episode.h"

/* One letter a second tells what comes in:
 *   . nothing new (the claim holds)   a claim absent   s claim stale   w condition false   c cooling down
 *   u hour used up   p paused   o action ok   f action failed   x answer of an old run   g proof good   r redo   d done by resume
 * and one what came of it: S W A V D H C as the state's first letters (C cancelled). */
static const struct { const char *what, *events, *want; heal_mode mode; unsigned steps, retries; } rows[] = {
    { "the happy way",                                "..oggg",       "AAVVVD",       HEAL_AUTO, 1, 2 },
    { "suggest never acts",                           ".....s",       "SSSSSC",       HEAL_SUGGEST, 1, 2 },
    { "switched off cancels",                         ".",            "C",            HEAL_OFF, 1, 2 },
    { "cooling down waits",                           "cc.",          "WWA",          HEAL_AUTO, 1, 2 },
    { "an absent fault waits, a stale claim cancels", "aas",          "WWC",          HEAL_AUTO, 1, 2 },
    { "the condition is asked",                       "ww.",          "WWA",          HEAL_AUTO, 1, 2 },
    { "an operator's pause wins",                     "ppp.",         "WWWA",         HEAL_AUTO, 1, 2 },
    { "a used up hour calls a person",                "u.....s",      "HHHHHHC",      HEAL_AUTO, 1, 2 },
    { "a failed action is tried again",               ".f.oggg",      "AWAVVVD",      HEAL_AUTO, 1, 2 },
    { "attempts end",                                 ".f.f.f..",     "AWAWAHHH",     HEAL_AUTO, 1, 2 },
    { "no retries, no second attempt",                ".f..",         "AHHH",         HEAL_AUTO, 1, 0 },
    { "no proof in time fails",                       ".o.....",      "AVVVVVW",      HEAL_AUTO, 1, 2 },
    { "proof that is lost starts anew",               ".og.ggg",      "AVVVVVD",      HEAL_AUTO, 1, 2 },
    { "proof lost after the time fails",              ".o...gg.",     "AVVVVVVW",     HEAL_AUTO, 1, 2 },
    { "the answer of an old run is ignored",          ".xxo",         "AAAV",         HEAL_AUTO, 1, 2 },
    { "an action without answer fails",               "...........",  "AAAAAAAAAAW",  HEAL_AUTO, 1, 2 },
    { "two steps, the claim asked between them",      ".o.oggg",      "AAAVVVD",      HEAL_AUTO, 2, 2 },
    { "the fault gone between two steps: look",       ".oaggg",       "AAVVVD",       HEAL_AUTO, 2, 2 },
    { "a pause between two steps holds",              ".opp.o",       "AAAAAV",       HEAL_AUTO, 2, 2 },
    { "a stale retry is cancelled, not run",          ".fs",          "AWC",          HEAL_AUTO, 1, 2 },
};

static episode feed(episode p, const episode_rules *r, char event, heal_mode mode, int64_t now_ms)
{
    episode_input in = { .now_ms = now_ms, .mode = mode };
    episode_effect effect;
    in.claim = event == 'a' ? CLAIM_ABSENT : event == 's' ? CLAIM_STALE : event == 'w' ? CLAIM_WHEN_FALSE : CLAIM_HOLDS;
    in.guard = event == 'c' ? GUARD_COOLDOWN : event == 'u' ? GUARD_HOUR_USED_UP : GUARD_FREE;
    in.paused = event == 'p';
    in.result = event == 'o' || event == 'x' ? RESULT_OK : event == 'f' ? RESULT_FAILED : RESULT_NONE;
    in.result_run = event == 'x' ? p.run - 1 : p.run;
    in.proof = event == 'g' ? PROOF_GOOD : PROOF_NONE;
    in.resume = event == 'r' ? RESUME_REDO : event == 'd' ? RESUME_DONE : RESUME_WAIT;
    return episode_step(p, r, &in, &effect);
}

static char letter(heal_state s)
{
    return "SWAVDHC"[s];
}

TEST(episode_goes_its_ways)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const episode_rules r = { rows[i].steps, rows[i].retries, 5000, 2000, 10000 };
        episode p = { .state = rows[i].mode == HEAL_SUGGEST ? HEAL_SUGGESTED : HEAL_WAITING };
        char got[64] = "";
        for (size_t t = 0; rows[i].events[t]; t++) {
            p = feed(p, &r, rows[i].events[t], rows[i].mode, 1000000 + (int64_t)t * 1000);
            got[t] = letter(p.state);
            CHECK_MSG(p.why != NULL, "%s: gives no reason", rows[i].what);
        }
        CHECK_MSG(strcmp(got, rows[i].want) == 0, "%s: %s gave %s, want %s", rows[i].what, rows[i].events, got, rows[i].want);
    }
}

TEST(episode_does_not_run_a_step_that_a_reload_has_taken_away)
{
    episode_rules r = { 2, 2, 5000, 2000, 10000 };
    episode p = { .state = HEAL_WAITING };
    p = feed(p, &r, '.', HEAL_AUTO, 1000000);
    p = feed(p, &r, 'o', HEAL_AUTO, 1001000);
    CHECK(p.state == HEAL_ACTING && !p.running && p.step == 1);
    r.steps = 1;
    p = feed(p, &r, '.', HEAL_AUTO, 1002000);
    CHECK_EQ(p.state, HEAL_VERIFYING);
}

TEST(episode_after_a_crash_looks_before_it_leaps)
{
    const episode_rules r = { 1, 2, 5000, 2000, 10000 };
    const episode dead = { .state = HEAL_ACTING, .attempt = 1, .run = 7, .running = true, .resumed = true, .acted_ms = 1 };
    episode p = feed(dead, &r, '.', HEAL_AUTO, 2000000);
    CHECK_EQ(p.state, HEAL_ACTING);                 /* not known yet */
    p = feed(p, &r, 'd', HEAL_AUTO, 2001000);
    CHECK_EQ(p.state, HEAL_VERIFYING);
    p = feed(dead, &r, 'r', HEAL_AUTO, 2001000);
    CHECK_EQ(p.state, HEAL_WAITING);
    p = feed(p, &r, '.', HEAL_AUTO, 2002000);
    CHECK_EQ(p.state, HEAL_ACTING);
    CHECK_EQ(p.attempt, 1);                         /* the same attempt, not a second one */
}
