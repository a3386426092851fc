#include "diagnose/rank.h"

#define BIT(name) SYMPTOM_BIT(SYMPTOM_##name)

const cause_row cause_rows[CAUSE_COUNT] = {
    [CAUSE_NONE] = { "none", "nothing is wrong", "一切正常", false, 0, 0, NULL },
    [CAUSE_ENGINE_DEAD] = { "engine_dead", "the engine is dead", "引擎已停止运行", true,
        BIT(PROCESS_GONE) | BIT(CONNECTION_REFUSED) | BIT(SCRAPE_REFUSED) | BIT(SCRAPE_FAILING),
        BIT(PROCESS_ALIVE) | BIT(HEALTH_OK), judge_engine_dead },
    [CAUSE_ENGINE_FROZEN] = { "engine_frozen", "the engine is frozen", "引擎已冻结", true,
        BIT(PROCESS_STOPPED) | BIT(PROCESS_ALIVE) | BIT(PROCESS_IDLE) | BIT(NO_HTTP_ANSWER) | BIT(SCRAPE_FAILING),
        BIT(CONNECTION_REFUSED) | BIT(HEALTH_OK) | BIT(PROCESS_BUSY), judge_engine_frozen },
    [CAUSE_DECODE_STALLED] = { "decode_stalled", "decoding has stalled while the server still answers", "解码停滞，但服务仍在应答", true,
        BIT(HEALTH_OK) | BIT(SCRAPE_OK) | BIT(WORK_RUNNING) | BIT(PROGRESS_STOPPED) | BIT(PROGRESS_STALLED) |
            BIT(FIRST_TOKEN_MISSING),
        BIT(PROBE_OK) | BIT(PROGRESS_MOVING), judge_decode_stalled },
    [CAUSE_SATURATED] = { "saturated", "the engine is saturated; it works and must not be restarted", "引擎已饱和；它在工作，不得重启", false,
        BIT(WORK_RUNNING) | BIT(QUEUE_WAITING) | BIT(PROGRESS_MOVING) | BIT(FIRST_TOKEN_MISSING) | BIT(PROBE_SLOW) | BIT(NO_HTTP_ANSWER),
        BIT(PROGRESS_STOPPED) | BIT(PROCESS_STOPPED), judge_saturated },
    [CAUSE_INCONCLUSIVE] = { "inconclusive", "something is wrong, the cause is not clear", "出现异常，原因尚不明确", false,
        (SYMPTOM_BIT(SYMPTOM_COUNT) - 1), 0, NULL },
};

const char *confidence_name(confidence c)
{
    static const char *const names[] = { "inconclusive", "likely", "confirmed" };
    return (size_t)c < COUNT_OF(names) ? names[c] : "inconclusive";
}

cause_id cause_find(str name)
{
    for (cause_id id = CAUSE_ENGINE_DEAD; id < CAUSE_COUNT; id++)
        if (str_is(name, cause_rows[id].name))
            return id;
    return CAUSE_NONE;
}

const char *diagnose_cause_at(size_t i, bool *ret_act)
{
    if (i + 1 >= CAUSE_COUNT)
        return NULL;
    if (ret_act)
        *ret_act = cause_rows[i + 1].act;
    return cause_rows[i + 1].name;
}

/* Work that stopped is worth an incident too, but only together with work being there: some engines leave their
 * gauges at the last value when idle. */
static bool any_fault(const symptom_set *s)
{
    if (symptom_is(s, SYMPTOM_PROGRESS_STALLED) || (symptom_is(s, SYMPTOM_WORK_RUNNING) && symptom_is(s, SYMPTOM_PROGRESS_STOPPED)))
        return true;
    for (symptom_id id = 0; id < SYMPTOM_COUNT; id++)
        if (symptom_rows[id].fault && symptom_is(s, id))
            return true;
    return false;
}

/* May somebody act although the cause is not clear? Not while there is any sign that work goes on: what looks broken
 * may be an engine that is merely too busy to answer us. Nor when its process is gone: that is unclear only while
 * somebody else answers in its place. */
static bool may_act_unsure(const symptom_set *s, const rank_context *c)
{
    return !c->was_saturated && c->answered && !symptom_is(s, SYMPTOM_PROGRESS_MOVING) &&
           !symptom_is(s, SYMPTOM_QUEUE_WAITING) && !symptom_is(s, SYMPTOM_PROCESS_BUSY) && !symptom_is(s, SYMPTOM_PROCESS_GONE);
}

verdict rank(const symptom_set *s, const rank_context *c)
{
    verdict best = { .kind = VERDICT_CALM };

    if (c->starting && !symptom_is(s, SYMPTOM_PROCESS_GONE))
        return (verdict){ .kind = VERDICT_STARTING };
    for (cause_id id = CAUSE_ENGINE_DEAD; id < CAUSE_INCONCLUSIVE; id++) {
        opinion o = cause_rows[id].judge(s, c);
        if (o.confidence > best.confidence)
            best = (verdict){ VERDICT_FAULT, id, o.confidence, cause_rows[id].act, o.hold_ms };
    }
    if (best.kind == VERDICT_FAULT || !any_fault(s))
        return best;
    return (verdict){ VERDICT_FAULT, CAUSE_INCONCLUSIVE, CONFIDENCE_INCONCLUSIVE, may_act_unsure(s, c), c->inconclusive_after_ms };
}
