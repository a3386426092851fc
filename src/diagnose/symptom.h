/* diagnose/symptom.h - what can be seen of a replica from outside, one question each.
 *
 * A symptom is a row: a name, a PromQL question over watch's series and the canonical names (metric/metric.h), a
 * comparison, and what to say in English and Chinese. Asking gives YES, NO or UNKNOWN: a question without an answer
 * is never taken for "no". The questions are chosen after 50 threads of people who run LLM servers: a health page may
 * lie for an hour, progress does not, and a probe confirms (vllm#36130, sglang#6624, sglang#22511).
 *
 * Freshness is part of the question: `[$fresh]` never reaches back before the start of the present process, so what
 * was seen of the dead process cannot speak about its successor, nor, once the process has ended, before its end: who
 * answers then is somebody else; `[$since_stop]` never before progress stopped.
 *
 * Pure: the answers come through a callback, so tests need no store. */
#pragma once
#include "diagnose/diagnose.h"

typedef enum symptom_id {
    SYMPTOM_PROCESS_GONE, SYMPTOM_PROCESS_ALIVE, SYMPTOM_PROCESS_STOPPED, SYMPTOM_PROCESS_IDLE, SYMPTOM_PROCESS_BUSY,
    SYMPTOM_SCRAPE_FAILING, SYMPTOM_SCRAPE_REFUSED, SYMPTOM_SCRAPE_OK,
    SYMPTOM_CONNECTION_REFUSED, SYMPTOM_NO_HTTP_ANSWER, SYMPTOM_HEALTH_OK, SYMPTOM_HEALTH_ERROR,
    SYMPTOM_WORK_RUNNING, SYMPTOM_QUEUE_WAITING, SYMPTOM_PROGRESS_STOPPED, SYMPTOM_PROGRESS_MOVING, SYMPTOM_PROGRESS_STALLED,
    SYMPTOM_FIRST_TOKEN_MISSING, SYMPTOM_PROBE_OK, SYMPTOM_PROBE_SLOW,
    SYMPTOM_COUNT
} symptom_id;
#define SYMPTOM_BIT(id) (UINT32_C(1) << (id))

typedef enum symptom_answer { SYMPTOM_UNKNOWN, SYMPTOM_NO, SYMPTOM_YES } symptom_answer;
typedef enum symptom_compare { SYMPTOM_EQ, SYMPTOM_LT, SYMPTOM_GE } symptom_compare;

/* Which witness speaks. Two symptoms of one witness are one piece of evidence. */
typedef enum symptom_source { SOURCE_PROCESS, SOURCE_NETWORK, SOURCE_ENGINE, SOURCE_PROBE, SOURCE_COUNT } symptom_source;

/* Numbers in the questions and comparisons that the configuration sets. */
typedef struct symptom_limits {
    int64_t fresh_ms;              /* an answer older than this is none; must exceed the probe and scrape interval */
    int64_t recent_ms;             /* span over which the process's CPU time is looked at */
    int64_t stall_after_ms;        /* no forward step for this long: stopped */
    int64_t slow_first_token_ms;   /* a probe whose first token takes longer is slow */
} symptom_limits;

typedef enum symptom_threshold { THRESHOLD_NUMBER, THRESHOLD_STALL, THRESHOLD_HALF_STALL, THRESHOLD_SLOW } symptom_threshold;
typedef struct symptom_row {
    const char *name;
    symptom_source source;
    const char *expr;              /* with $replica (job="…",instance="…"), $fresh, $recent, $since_stop */
    symptom_compare compare; symptom_threshold threshold; double number;
    bool fault;                    /* seen alone it is already worth an incident, be it an inconclusive one */
    const char *yes, *no, *yes_zh, *no_zh;   /* $v: the value that was answered */
} symptom_row;
extern const symptom_row symptom_rows[SYMPTOM_COUNT];

/* One replica at one moment. */
typedef struct symptom_set {
    symptom_answer answer[SYMPTOM_COUNT];
    double value[SYMPTOM_COUNT];   /* NaN: nothing answered */
    int64_t now_ms, fresh_ms, since_stop_ms;   /* the windows that were used, to write the very same question again */
} symptom_set;
static inline bool symptom_is(const symptom_set *s, symptom_id id) { return s->answer[id] == SYMPTOM_YES; }
static inline bool symptom_isnt(const symptom_set *s, symptom_id id) { return s->answer[id] == SYMPTOM_NO; }

/* Who answers: query_number's shape. ERR_NOT_FOUND: no such series. */
typedef struct symptom_asker {
    err_kind (*ask)(void *ctx, str expr, int64_t t_ms, double *ret, err *e);
    void *ctx;
} symptom_asker;

/* Ask every row about `r`. A question that fails counts as UNKNOWN; the first failure other than "not found" is left
 * in *e and returned after all were asked, so that one broken question does not blind the others. */
err_kind symptoms_ask(const replica_info *r, const symptom_limits *l, symptom_asker asker, int64_t now_ms, symptom_set *ret, err *e);

/* The question as it was asked, with the replica's labels and windows filled in: anyone can run it again. */
void symptom_expr(symptom_id id, const replica_info *r, const symptom_limits *l, const symptom_set *s, buf *out);
/* What the answer means, one sentence part without full stop. */
void symptom_text(symptom_id id, const symptom_set *s, bool chinese, buf *out);

