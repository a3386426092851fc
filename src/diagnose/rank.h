/* diagnose/rank.h - from symptoms to a cause, pure.
 *
 * Every cause is one file under cause/ and one row in cause_rows; it reads the symptoms and says how sure it is and
 * how long that must hold before anybody is told. The surest cause wins, on a tie the earlier row. What no cause
 * explains is "inconclusive": an answer, with all symptoms as evidence.
 *
 * Confidence: CONFIRMED only if two independent witnesses agree (process table, network, the engine's own metrics, a
 * test completion); one witness alone is LIKELY.
 *
 * `act` is false wherever work may still be moving forward: saturation must never lead to a restart, retries and
 * restarts make it worse (pain: vllm-proxy#19, ray#54070, sglang#22511). */
#pragma once
#include "diagnose/symptom.h"

typedef enum cause_id { CAUSE_NONE, CAUSE_ENGINE_DEAD, CAUSE_ENGINE_FROZEN, CAUSE_DECODE_STALLED, CAUSE_SATURATED,
                        CAUSE_INCONCLUSIVE, CAUSE_COUNT } cause_id;

typedef struct rank_context {
    int64_t tick_ms;               /* "twice in a row" is two ticks */
    int64_t freeze_after_ms, saturated_after_ms, inconclusive_after_ms;
    bool starting;                 /* watch is stopping the process, or it is younger than the grace and never answered */
    bool answered;                 /* the present process (or, without one, the replica) has answered at least once */
    bool was_saturated;            /* the last verdict before this one was saturation */
} rank_context;

typedef struct opinion {
    confidence confidence;         /* INCONCLUSIVE: this cause does not claim it */
    int64_t hold_ms;               /* must hold this long */
} opinion;

typedef struct cause_row {
    const char *name;
    const char *is, *is_zh;        /* "the engine is dead" */
    bool act;
    uint32_t speaks_for, speaks_against;    /* SYMPTOM_BITs kept as evidence */
    opinion (*judge)(const symptom_set *s, const rank_context *c);
} cause_row;
extern const cause_row cause_rows[CAUSE_COUNT];
cause_id cause_find(str name);     /* CAUSE_NONE if unknown */

typedef enum verdict_kind { VERDICT_CALM, VERDICT_STARTING, VERDICT_FAULT } verdict_kind;
typedef struct verdict {
    verdict_kind kind;
    cause_id cause;                /* CAUSE_NONE unless FAULT */
    confidence confidence;
    bool act;
    int64_t hold_ms;
} verdict;
verdict rank(const symptom_set *s, const rank_context *c);

/* cause/: one failure mode a file */
opinion judge_engine_dead(const symptom_set *s, const rank_context *c);
opinion judge_engine_frozen(const symptom_set *s, const rank_context *c);
opinion judge_decode_stalled(const symptom_set *s, const rank_context *c);
opinion judge_saturated(const symptom_set *s, const rank_context *c);
