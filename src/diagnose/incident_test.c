#include "base/test.h"
#include "diagnose/incident.h"

/* One letter a second: what the verdict was.
 *   . calm with proof of health   , calm without proof   s starting
 *   D dead (hold 0)  F frozen (hold 2 s)  S saturated (hold 3 s)  ? inconclusive (hold 3 s)
 * What came of it: '-' no incident, else the cause's letter; upper case while the fault is present, lower case while
 * it is not; then the episode counter at the end. close_after 3 s, rename_ms 2 s. */
static const struct { const char *what, *verdicts, *want; unsigned episode; } rows[] = {
    { "calm stays calm",                                        "....",            "----",            0 },
    { "a process that is gone opens at once",                   "D",               "D",               1 },
    { "a frozen engine is told after its hold time",            "FFFF",            "--FF",            1 },
    { "a blip shorter than the hold time is never told",        "FF.FF.",          "------",          0 },
    { "it closes after three healthy seconds",                  "D....",           "Ddd" "d-",        1 },
    { "without proof of health it stays open",                  "D,,,,,,",         "Ddddddd",         1 },
    { "proof that comes late closes it then",                   "D,,,,,.",         "Dddddd-",         1 },
    { "starting is neither ill nor well",                       "Dssss....",       "Dddddddd-",       1 },
    { "a blip while healthy starts the count anew",             "D..F...F....",    "Ddddddddddd-",    1 },
    { "a fault that comes back is a new episode",               "D..DDD",          "DddddD",          2 },
    { "another cause must hold before it takes over",           "FFFDDD",          "--FffD",          2 },
    { "dead for a moment during a restart changes nothing",     "FFFDDsss....",    "--Fffffffff-",    1 },
    { "inconclusive does not replace a named cause",            "FFF?????F",       "--FfffffF",       1 },
    { "an inconclusive one is named once evidence is there",    "????DDD",         "---??" "?D",      2 },
    { "saturation is told and closes by itself",                "SSSS....",        "---Ssss-",        1 },
    { "a saturated engine that dies is dead, not saturated",    "SSSSDDD",         "---SssD",         2 },
    { "a stall that turns into saturation lets go of the cause", "FFFSSSS",        "--FfffS",         2 },
};

static verdict verdict_of(char c)
{
    switch (c) {
    case 'D': return (verdict){ VERDICT_FAULT, CAUSE_ENGINE_DEAD, CONFIDENCE_CONFIRMED, true, 0 };
    case 'F': return (verdict){ VERDICT_FAULT, CAUSE_ENGINE_FROZEN, CONFIDENCE_CONFIRMED, true, 2000 };
    case 'S': return (verdict){ VERDICT_FAULT, CAUSE_SATURATED, CONFIDENCE_LIKELY, false, 3000 };
    case '?': return (verdict){ VERDICT_FAULT, CAUSE_INCONCLUSIVE, CONFIDENCE_INCONCLUSIVE, true, 3000 };
    case 's': return (verdict){ .kind = VERDICT_STARTING };
    default: return (verdict){ .kind = VERDICT_CALM };
    }
}

static char letter_of(const incident_state *s)
{
    static const char letters[CAUSE_COUNT] = { '-', 'D', 'F', 'P', 'S', '?' };
    if (!s->open)
        return '-';
    char c = letters[s->cause];
    return c == '?' || s->present ? c : (char)(c - 'A' + 'a');
}

TEST(incident_opens_renames_and_closes)
{
    const incident_limits limits = { .close_after_ms = 3000, .rename_ms = 2000 };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        incident_state s = { 0 };
        char got[64] = "";
        for (size_t t = 0; rows[i].verdicts[t]; t++) {
            verdict v = verdict_of(rows[i].verdicts[t]);
            s = incident_step(s, &v, rows[i].verdicts[t] == '.', &limits, 1000000 + (int64_t)t * 1000);
            got[t] = letter_of(&s);
        }
        CHECK_MSG(strcmp(got, rows[i].want) == 0, "%s: %s gave %s, want %s", rows[i].what, rows[i].verdicts, got, rows[i].want);
        CHECK_MSG(s.episode == rows[i].episode, "%s: episode %u, want %u", rows[i].what, s.episode, rows[i].episode);
    }
}

TEST(incident_confidence_only_rises_within_an_episode)
{
    const incident_limits limits = { .close_after_ms = 3000, .rename_ms = 2000 };
    verdict likely = { VERDICT_FAULT, CAUSE_ENGINE_DEAD, CONFIDENCE_LIKELY, true, 0 };
    verdict sure = { VERDICT_FAULT, CAUSE_ENGINE_DEAD, CONFIDENCE_CONFIRMED, true, 0 };
    incident_state s = incident_step((incident_state){ 0 }, &likely, false, &limits, 1000);
    CHECK_EQ(s.confidence, CONFIDENCE_LIKELY);
    s = incident_step(s, &sure, false, &limits, 2000);
    CHECK_EQ(s.confidence, CONFIDENCE_CONFIRMED);
    s = incident_step(s, &likely, false, &limits, 3000);
    CHECK_EQ(s.confidence, CONFIDENCE_CONFIRMED);
    CHECK_EQ(s.episode, 1);
}

TEST(incident_episode_never_repeats_for_a_subject)
{
    const incident_limits limits = { .close_after_ms = 1000, .rename_ms = 0 };
    incident_state s = { 0 };
    for (unsigned round = 1; round <= 20; round++) {
        verdict bad = verdict_of(round % 2 ? 'D' : 'S'), calm = verdict_of('.');
        int64_t t = round * 100000;
        for (int i = 0; i < 5; i++)
            s = incident_step(s, &bad, false, &limits, t + i * 1000);
        CHECK_EQ(s.episode, round);
        for (int i = 5; i < 10; i++)
            s = incident_step(s, &calm, true, &limits, t + i * 1000);
        CHECK(!s.open);
    }
}
