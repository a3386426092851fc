/* The engine is saturated: work moves forward, but there is more of it than fits. A probe then waits in the queue
 * like everybody else. Nothing is broken, so nothing may be restarted: act is false. */
#include "diagnose/rank.h"

opinion judge_saturated(const symptom_set *s, const rank_context *c)
{
    bool moving = symptom_is(s, SYMPTOM_PROGRESS_MOVING) && symptom_is(s, SYMPTOM_WORK_RUNNING);
    bool queue = symptom_is(s, SYMPTOM_QUEUE_WAITING);
    bool probe_late = symptom_is(s, SYMPTOM_FIRST_TOKEN_MISSING) || symptom_is(s, SYMPTOM_PROBE_SLOW);

    if (!moving || symptom_is(s, SYMPTOM_PROCESS_GONE) || symptom_is(s, SYMPTOM_PROCESS_STOPPED))
        return (opinion){ 0 };
    if (queue && probe_late)
        return (opinion){ CONFIDENCE_CONFIRMED, c->saturated_after_ms };
    if (queue || probe_late || symptom_is(s, SYMPTOM_NO_HTTP_ANSWER))
        return (opinion){ CONFIDENCE_LIKELY, c->saturated_after_ms };
    return (opinion){ 0 };
}
