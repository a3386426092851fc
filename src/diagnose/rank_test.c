#include "base/test.h"
#include "diagnose/rank.h"

#define B(name) SYMPTOM_BIT(SYMPTOM_##name)
#define HEALTHY (B(PROCESS_ALIVE) | B(SCRAPE_OK) | B(HEALTH_OK) | B(PROBE_OK))
#define SILENT (B(SCRAPE_FAILING) | B(NO_HTTP_ANSWER))
#define REFUSED (B(SCRAPE_FAILING) | B(SCRAPE_REFUSED) | B(CONNECTION_REFUSED))

enum { STARTING = 1, NEVER_ANSWERED = 2, WAS_SATURATED = 4 };
static const struct { const char *what; uint32_t yes; unsigned context; verdict_kind kind; cause_id cause; confidence confidence; bool act; } rows[] = {
    { "a healthy replica has no cause", HEALTHY, 0, VERDICT_CALM, CAUSE_NONE, 0, false },
    { "busy and moving is healthy", HEALTHY | B(WORK_RUNNING) | B(PROGRESS_MOVING) | B(PROCESS_BUSY), 0, VERDICT_CALM, CAUSE_NONE, 0, false },
    { "nothing known is no fault", 0, 0, VERDICT_CALM, CAUSE_NONE, 0, false },

    { "a process that is gone is likely dead", B(PROCESS_GONE), 0, VERDICT_FAULT, CAUSE_ENGINE_DEAD, CONFIDENCE_LIKELY, true },
    { "gone and refusing is confirmed", B(PROCESS_GONE) | REFUSED, 0, VERDICT_FAULT, CAUSE_ENGINE_DEAD, CONFIDENCE_CONFIRMED, true },
    { "gone while its port answers: somebody started one by hand, nobody acts", B(PROCESS_GONE) | B(SCRAPE_OK) | B(HEALTH_OK), 0, VERDICT_FAULT, CAUSE_INCONCLUSIVE, CONFIDENCE_INCONCLUSIVE, false },
    { "gone, an old good word, and one door refuses by now: dead", B(PROCESS_GONE) | B(HEALTH_OK) | B(SCRAPE_FAILING), 0, VERDICT_FAULT, CAUSE_ENGINE_DEAD, CONFIDENCE_CONFIRMED, true },
    { "refusing at both doors is likely dead", REFUSED, 0, VERDICT_FAULT, CAUSE_ENGINE_DEAD, CONFIDENCE_LIKELY, true },
    { "a process that answered once and now refuses is likely dead", B(PROCESS_ALIVE) | REFUSED, 0, VERDICT_FAULT, CAUSE_ENGINE_DEAD, CONFIDENCE_LIKELY, true },
    { "loading a model for minutes is not death", B(PROCESS_ALIVE) | REFUSED, NEVER_ANSWERED, VERDICT_FAULT, CAUSE_INCONCLUSIVE, CONFIDENCE_INCONCLUSIVE, false },
    { "starting is no fault", B(PROCESS_ALIVE) | REFUSED, STARTING | NEVER_ANSWERED, VERDICT_STARTING, CAUSE_NONE, 0, false },
    { "dying while starting is death", B(PROCESS_GONE), STARTING | NEVER_ANSWERED, VERDICT_FAULT, CAUSE_ENGINE_DEAD, CONFIDENCE_LIKELY, true },
    { "a refused probe beside an answering metrics page is unclear", B(CONNECTION_REFUSED) | B(SCRAPE_OK), 0, VERDICT_FAULT, CAUSE_INCONCLUSIVE, CONFIDENCE_INCONCLUSIVE, true },

    { "stopped and silent is confirmed frozen", B(PROCESS_ALIVE) | B(PROCESS_STOPPED) | B(PROCESS_IDLE) | SILENT, 0, VERDICT_FAULT, CAUSE_ENGINE_FROZEN, CONFIDENCE_CONFIRMED, true },
    { "stopped alone is likely frozen", B(PROCESS_ALIVE) | B(PROCESS_STOPPED), 0, VERDICT_FAULT, CAUSE_ENGINE_FROZEN, CONFIDENCE_LIKELY, true },
    { "silent and computing nothing is confirmed frozen", B(PROCESS_ALIVE) | B(PROCESS_IDLE) | SILENT, 0, VERDICT_FAULT, CAUSE_ENGINE_FROZEN, CONFIDENCE_CONFIRMED, true },
    { "silent but computing may be overload: nobody acts", B(PROCESS_ALIVE) | B(PROCESS_BUSY) | SILENT, 0, VERDICT_FAULT, CAUSE_INCONCLUSIVE, CONFIDENCE_INCONCLUSIVE, false },
    { "silent without a process table is likely frozen", SILENT, 0, VERDICT_FAULT, CAUSE_ENGINE_FROZEN, CONFIDENCE_LIKELY, true },
    { "the same right after saturation: nobody acts", SILENT, WAS_SATURATED, VERDICT_FAULT, CAUSE_INCONCLUSIVE, CONFIDENCE_INCONCLUSIVE, false },
    { "only one door silent is not frozen", B(PROCESS_ALIVE) | B(PROCESS_IDLE) | B(NO_HTTP_ANSWER) | B(SCRAPE_OK), 0, VERDICT_FAULT, CAUSE_INCONCLUSIVE, CONFIDENCE_INCONCLUSIVE, true },

    { "work without progress and without first token has stalled", B(PROCESS_ALIVE) | B(SCRAPE_OK) | B(HEALTH_OK) | B(WORK_RUNNING) | B(PROGRESS_STOPPED) | B(FIRST_TOKEN_MISSING), 0, VERDICT_FAULT, CAUSE_DECODE_STALLED, CONFIDENCE_CONFIRMED, true },
    { "watch saw it stall and the probe agrees", B(SCRAPE_OK) | B(HEALTH_OK) | B(PROGRESS_STALLED) | B(FIRST_TOKEN_MISSING), 0, VERDICT_FAULT, CAUSE_DECODE_STALLED, CONFIDENCE_CONFIRMED, true },
    { "a stall with a queue is a stall still", B(SCRAPE_OK) | B(HEALTH_OK) | B(WORK_RUNNING) | B(QUEUE_WAITING) | B(PROGRESS_STOPPED) | B(FIRST_TOKEN_MISSING), 0, VERDICT_FAULT, CAUSE_DECODE_STALLED, CONFIDENCE_CONFIRMED, true },
    { "a stall right after saturation is a stall still", B(SCRAPE_OK) | B(HEALTH_OK) | B(WORK_RUNNING) | B(QUEUE_WAITING) | B(PROGRESS_STOPPED) | B(FIRST_TOKEN_MISSING), WAS_SATURATED, VERDICT_FAULT, CAUSE_DECODE_STALLED, CONFIDENCE_CONFIRMED, true },
    { "no probe, no stall: a long prefill looks the same", B(SCRAPE_OK) | B(HEALTH_OK) | B(WORK_RUNNING) | B(PROGRESS_STOPPED), 0, VERDICT_FAULT, CAUSE_INCONCLUSIVE, CONFIDENCE_INCONCLUSIVE, true },
    { "a running gauge left over from earlier, probe fine", HEALTHY | B(WORK_RUNNING) | B(PROGRESS_STOPPED), 0, VERDICT_FAULT, CAUSE_INCONCLUSIVE, CONFIDENCE_INCONCLUSIVE, true },
    { "idle and no first token is unclear", B(SCRAPE_OK) | B(HEALTH_OK) | B(FIRST_TOKEN_MISSING), 0, VERDICT_FAULT, CAUSE_INCONCLUSIVE, CONFIDENCE_INCONCLUSIVE, true },

    { "moving with a queue is likely saturated", HEALTHY | B(WORK_RUNNING) | B(QUEUE_WAITING) | B(PROGRESS_MOVING), 0, VERDICT_FAULT, CAUSE_SATURATED, CONFIDENCE_LIKELY, false },
    { "moving, queue and a waiting probe is confirmed saturated", B(SCRAPE_OK) | B(HEALTH_OK) | B(WORK_RUNNING) | B(QUEUE_WAITING) | B(PROGRESS_MOVING) | B(FIRST_TOKEN_MISSING), 0, VERDICT_FAULT, CAUSE_SATURATED, CONFIDENCE_CONFIRMED, false },
    { "a health page that fails while tokens flow is saturation", B(SCRAPE_OK) | B(NO_HTTP_ANSWER) | B(WORK_RUNNING) | B(PROGRESS_MOVING), 0, VERDICT_FAULT, CAUSE_SATURATED, CONFIDENCE_LIKELY, false },
    { "health says 503 while tokens flow: nobody acts", B(SCRAPE_OK) | B(HEALTH_ERROR) | B(WORK_RUNNING) | B(PROGRESS_MOVING), 0, VERDICT_FAULT, CAUSE_INCONCLUSIVE, CONFIDENCE_INCONCLUSIVE, false },
    { "saturated before, gone now: dead", B(PROCESS_GONE) | REFUSED, WAS_SATURATED, VERDICT_FAULT, CAUSE_ENGINE_DEAD, CONFIDENCE_CONFIRMED, true },
    { "saturated before, stopped now: frozen", B(PROCESS_ALIVE) | B(PROCESS_STOPPED) | SILENT, WAS_SATURATED, VERDICT_FAULT, CAUSE_ENGINE_FROZEN, CONFIDENCE_CONFIRMED, true },
};

static symptom_set set_of(uint32_t yes)
{
    symptom_set s = { 0 };
    for (symptom_id id = 0; id < SYMPTOM_COUNT; id++)
        s.answer[id] = yes & SYMPTOM_BIT(id) ? SYMPTOM_YES : SYMPTOM_UNKNOWN;
    return s;
}

static rank_context context_of(unsigned flags)
{
    return (rank_context){ .tick_ms = 1000, .freeze_after_ms = 5000, .saturated_after_ms = 15000, .inconclusive_after_ms = 15000,
                           .starting = flags & STARTING, .answered = !(flags & NEVER_ANSWERED), .was_saturated = flags & WAS_SATURATED };
}

TEST(rank_names_the_cause)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        symptom_set s = set_of(rows[i].yes);
        rank_context c = context_of(rows[i].context);
        verdict v = rank(&s, &c);
        CHECK_MSG(v.kind == rows[i].kind && v.cause == rows[i].cause, "%s: got %d %s", rows[i].what, v.kind, cause_rows[v.cause].name);
        CHECK_MSG(v.confidence == rows[i].confidence, "%s: got %s", rows[i].what, confidence_name(v.confidence));
        CHECK_MSG(v.act == rows[i].act, "%s: act is %d", rows[i].what, v.act);
    }
}

/* The promise of the room, over all sets of symptoms a live replica may show: while work moves forward in a process
 * that is there and not stopped, nothing may be done, unless nobody answers the door any more. 2^20 sets. */
TEST(rank_never_acts_while_work_moves_forward)
{
    uint32_t moving = B(WORK_RUNNING) | B(PROGRESS_MOVING) | B(SCRAPE_OK);
    uint32_t impossible = B(PROCESS_GONE) | B(PROCESS_STOPPED) | B(PROGRESS_STOPPED) | B(PROGRESS_STALLED) | B(SCRAPE_FAILING) | B(SCRAPE_REFUSED);
    for (uint32_t bits = 0; bits < SYMPTOM_BIT(SYMPTOM_COUNT); bits++) {
        if (bits & impossible || (bits & moving) != moving)
            continue;
        for (unsigned flags = 0; flags < 8; flags++) {
            symptom_set s = set_of(bits);
            rank_context c = context_of(flags);
            verdict v = rank(&s, &c);
            CHECK_MSG(!v.act, "symptoms %#x, context %u: %s would be acted on", bits, flags, cause_rows[v.cause].name);
        }
    }
}

/* And the other half: whatever else is seen, a process that is gone is acted on, unless somebody answers in its place. */
TEST(rank_always_names_a_gone_process)
{
    for (uint32_t bits = 0; bits < SYMPTOM_BIT(SYMPTOM_COUNT); bits++) {
        if (!(bits & B(PROCESS_GONE)) || bits & B(PROCESS_ALIVE))
            continue;
        symptom_set s = set_of(bits);
        rank_context c = context_of(bits & 7);
        verdict v = rank(&s, &c);
        bool answers = bits & (B(HEALTH_OK) | B(SCRAPE_OK) | B(PROBE_OK)) && !(bits & (B(CONNECTION_REFUSED) | B(SCRAPE_FAILING)));
        CHECK_MSG(answers ? !v.act : v.cause == CAUSE_ENGINE_DEAD && v.act, "symptoms %#x: %s", bits, cause_rows[v.cause].name);
    }
}
