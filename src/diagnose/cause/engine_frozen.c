/* The engine is frozen: the process is there, the port takes connections, and nothing answers.
 *
 * State T in the process table is proof together with silence on the network. Without it a process that does not
 * answer and computes nothing is frozen as well (a deadlock, a lost disk). One that computes is not: an overloaded
 * server answers late too, and it must not be restarted for that. */
#include "diagnose/rank.h"

opinion judge_engine_frozen(const symptom_set *s, const rank_context *c)
{
    bool silent = symptom_is(s, SYMPTOM_NO_HTTP_ANSWER) || symptom_is(s, SYMPTOM_SCRAPE_FAILING);
    bool refused = symptom_is(s, SYMPTOM_CONNECTION_REFUSED) || symptom_is(s, SYMPTOM_SCRAPE_REFUSED);

    if (symptom_is(s, SYMPTOM_PROCESS_GONE) || refused)
        return (opinion){ 0 };
    if (symptom_is(s, SYMPTOM_PROCESS_STOPPED) && silent)
        return (opinion){ CONFIDENCE_CONFIRMED, 2 * c->tick_ms };
    if (symptom_is(s, SYMPTOM_PROCESS_STOPPED))
        return (opinion){ CONFIDENCE_LIKELY, c->freeze_after_ms };

    bool both_silent = symptom_is(s, SYMPTOM_NO_HTTP_ANSWER) && symptom_is(s, SYMPTOM_SCRAPE_FAILING);
    if (!both_silent || !c->answered || symptom_is(s, SYMPTOM_PROCESS_BUSY))
        return (opinion){ 0 };
    bool process_agrees = symptom_is(s, SYMPTOM_PROCESS_ALIVE) && symptom_is(s, SYMPTOM_PROCESS_IDLE);
    if (process_agrees)
        return (opinion){ CONFIDENCE_CONFIRMED, c->freeze_after_ms };
    /* Only the network speaks. After saturation silence is what an overloaded server looks like. */
    return c->was_saturated ? (opinion){ 0 } : (opinion){ CONFIDENCE_LIKELY, c->freeze_after_ms };
}
