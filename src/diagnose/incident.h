/* diagnose/incident.h - one incident a subject: opened, named anew, closed; pure.
 *
 *                     fault held for its hold_ms
 *      CLOSED ------------------------------------------> OPEN(cause, episode)
 *        ^                                                  |   |  other cause held for max(hold_ms, rename_ms),
 *        |                                                  |   |  or the same one after it was healthy: episode + 1
 *        |  no fault for close_after_ms and proof of health |   +---.
 *        +--------------------------------------------------+ <-----'
 *
 *   CLOSED  nothing is wrong as far as we can see; the episode counter lives on, it never repeats for a subject
 *   OPEN    people and heal were told. healthy_since_ms 0: the fault is there now; else since when it is not
 *
 * Proof of health: the metrics page answered after the last fault and, where a completion probe is configured, a
 * test completion worked after it. Silence is not health. While a process starts nothing is concluded either way.
 *
 * The episode counter is heal's fencing token: an action that was decided on for one episode never runs in another. */
#pragma once
#include "diagnose/rank.h"

typedef struct incident_state {
    bool open;
    cause_id cause;
    confidence confidence;
    bool act;
    unsigned episode;
    int64_t opened_ms, cause_since_ms, last_fault_ms;
    int64_t healthy_since_ms;      /* 0: the fault is there */
    bool present;                  /* the last look named this very cause: only then anybody may act on it */
    cause_id candidate;            /* named by the last verdicts, not yet held long enough */
    int64_t candidate_since_ms;
} incident_state;

typedef struct incident_limits {
    int64_t close_after_ms;
    int64_t rename_ms;             /* an open incident changes its cause only after this long: a restart shows every symptom for a moment */
} incident_limits;

incident_state incident_step(incident_state s, const verdict *v, bool proof, const incident_limits *l, int64_t now_ms);
