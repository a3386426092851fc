/* Decoding has stalled: requests run, nothing moves forward, and a test completion gets no first token, while
 * /health and /metrics still answer. The failure vLLM's users report most (vllm#2731, #36130, #17972).
 *
 * All three are needed (design.md, "Progress"): running gauges may be left over from earlier, a long prefill makes
 * no tokens for a while, and a probe alone fails behind any queue. watch's own state machine (watch/progress.h)
 * comes to the same by discounting our probes; either may see it first. */
#include "diagnose/rank.h"

opinion judge_decode_stalled(const symptom_set *s, const rank_context *c)
{
    bool server_answers = symptom_is(s, SYMPTOM_HEALTH_OK) || symptom_is(s, SYMPTOM_SCRAPE_OK);

    (void)c;
    if (!server_answers || symptom_is(s, SYMPTOM_PROCESS_GONE) || symptom_is(s, SYMPTOM_PROCESS_STOPPED))
        return (opinion){ 0 };
    bool stopped = symptom_is(s, SYMPTOM_WORK_RUNNING) && symptom_is(s, SYMPTOM_PROGRESS_STOPPED);
    if (!stopped && !symptom_is(s, SYMPTOM_PROGRESS_STALLED))
        return (opinion){ 0 };
    if (!symptom_is(s, SYMPTOM_FIRST_TOKEN_MISSING))
        return (opinion){ 0 };
    return (opinion){ CONFIDENCE_CONFIRMED, 0 };   /* the stop itself already lasted stall_after */
}
