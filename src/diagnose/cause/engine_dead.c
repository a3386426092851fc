/* The engine is dead: its process has ended, or its port refuses connections.
 *
 * A process that is there but refuses and has never answered since it started is no proof: loading a large model or
 * compiling kernels takes minutes, and restarting it then starts the wait again (sglang#3752). That case stays
 * inconclusive. Once it has answered, a refusal means that nobody listens any more. */
#include "diagnose/rank.h"

opinion judge_engine_dead(const symptom_set *s, const rank_context *c)
{
    bool probe_refused = symptom_is(s, SYMPTOM_CONNECTION_REFUSED);
    bool scrape_refused = symptom_is(s, SYMPTOM_SCRAPE_REFUSED);

    if (symptom_is(s, SYMPTOM_PROCESS_GONE)) {
        bool network_agrees = probe_refused || symptom_is(s, SYMPTOM_SCRAPE_FAILING);
        return (opinion){ network_agrees ? CONFIDENCE_CONFIRMED : CONFIDENCE_LIKELY, 0 };
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
