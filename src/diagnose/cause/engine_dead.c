/* The engine is dead: its process has ended, or its port refuses connections.
 *
 * A process that is there but refuses and has never answered since it started is no proof: loading a large model or
 * compiling kernels takes minutes, and restarting it then starts the wait again (sglang#3752). That case stays
 * inconclusive. Once it has answered, a refusal means that nobody listens any more.
 *
 * A process that has ended while its port answers is no dead engine either: an operator started one by hand, or a
 * worker outlived its leader. A second one beside it would fight for the port and the GPU's memory. So the port is
 * tried at once when a process ends (watch does), and waited for shortly. */
#include "diagnose/rank.h"

static bool somebody_answers(const symptom_set *s)
{
    bool any = symptom_is(s, SYMPTOM_HEALTH_OK) || symptom_is(s, SYMPTOM_SCRAPE_OK) || symptom_is(s, SYMPTOM_PROBE_OK);
    return any && !symptom_is(s, SYMPTOM_CONNECTION_REFUSED) && !symptom_is(s, SYMPTOM_SCRAPE_FAILING);
}

opinion judge_engine_dead(const symptom_set *s, const rank_context *c)
{
    bool probe_refused = symptom_is(s, SYMPTOM_CONNECTION_REFUSED);
    bool scrape_refused = symptom_is(s, SYMPTOM_SCRAPE_REFUSED);

    if (symptom_is(s, SYMPTOM_PROCESS_GONE) && somebody_answers(s))
        return (opinion){ 0 };
    if (symptom_is(s, SYMPTOM_PROCESS_GONE)) {
        bool network_agrees = probe_refused || symptom_is(s, SYMPTOM_SCRAPE_FAILING);
        return network_agrees ? (opinion){ CONFIDENCE_CONFIRMED, 0 } : (opinion){ CONFIDENCE_LIKELY, 2 * c->tick_ms };
    }
    if (symptom_is(s, SYMPTOM_HEALTH_OK) || !c->answered)
        return (opinion){ 0 };
    if (probe_refused && (scrape_refused || symptom_is(s, SYMPTOM_SCRAPE_FAILING)))
        return (opinion){ CONFIDENCE_LIKELY, 2 * c->tick_ms };
    /* One door only refuses: wait until it was certainly tried again. */
    bool other_door_answers = symptom_is(s, SYMPTOM_SCRAPE_OK);
    if ((probe_refused || scrape_refused) && !other_door_answers)
        return (opinion){ CONFIDENCE_LIKELY, c->inconclusive_after_ms };
    return (opinion){ 0 };
}
