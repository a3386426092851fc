/* watch/progress.h - does a replica move? A pure state machine over scrapes and probes.
 *
 *                 no work                                work and the counter moved
 *      +---------------------> IDLE <---------------+   +--------------------------> PROGRESSING
 *      |                        | work appears      |   |                              |   ^
 *   UNKNOWN                     v                   |   |        waiting > 0, or probe |   | queue empty
 *   (down, or no counter)   PROGRESSING ------------+---+        timed out in the      v   |
 *      ^                        | no step for stall_after        queue                SATURATED
 *      | scrape failed          v                                                      |
 *      +-------------------- SUSPECT  (asks for a probe at once) <---------------------+  no step
 *                               | probe got no first token
 *                               v
 *                            STALLED --- a step, or a probe with a first token ---> PROGRESSING
 *
 *   UNKNOWN      the last scrape failed, or this engine has no progress counter
 *   IDLE         nothing runs, nothing waits
 *   PROGRESSING  work is there and the counter moves (or has not been still for stall_after yet)
 *   SATURATED    the counter moves, but requests (or our probe) wait: more load, not a fault
 *   SUSPECT      work is there and nothing moved for stall_after; gauges can be stale (engines.md §0.8), so ask
 *   STALLED      suspect, and a probe got no first token: one sent now, or one whose whole wait lies after the last step
 *
 * Sources: design.md "Progress"; reference/engines.md §0 rules 7-9. Two things would lie if taken at face
 * value, and are corrected here: the probe we send is itself a running request, and its prompt moves the
 * token counter without any decoding. So one request is taken off `running` while a probe is out, and steps
 * that our own probes can explain are no progress: any step between two scrapes without a probe counts, and so
 * does a sum of steps larger than all probes since the last one can explain. Knows no clock, no socket. */
#pragma once
#include "base/base.h"

typedef enum progress_state {
    PROGRESS_UNKNOWN, PROGRESS_IDLE, PROGRESS_PROGRESSING, PROGRESS_SATURATED, PROGRESS_SUSPECT, PROGRESS_STALLED,
    PROGRESS_STATE_COUNT
} progress_state;
const char *progress_state_name(progress_state s);   /* "unknown", "idle", "progressing", … */

typedef struct progress_config {
    int64_t stall_after_ms;     /* 0: PROGRESS_STALL_AFTER_MS */
} progress_config;
#define PROGRESS_STALL_AFTER_MS 30000

typedef enum progress_probe { PROGRESS_PROBE_NONE, PROGRESS_PROBE_OK, PROGRESS_PROBE_NO_TOKEN, PROGRESS_PROBE_NO_ANSWER } progress_probe;

/* What one event brings: a scrape (probe NONE) or the end of a probe (scrape fields as last seen). */
typedef struct progress_input {
    bool is_scrape;
    bool up;
    bool known;                 /* the page has running and the progress counter of this engine */
    double running, waiting, counter;
    bool probe_in_flight;       /* one of `running` or `waiting` may be ours */
    double probe_steps;         /* how far one of our probes may move the counter before its first token */
    progress_probe probe;       /* when !is_scrape */
    int64_t probe_waited_ms;    /* when !is_scrape: how long it waited */
} progress_input;

typedef struct progress {
    progress_state state;
    int64_t last_step_ms;       /* last forward step, or since when work is there; 0: never seen */
    double baseline;            /* counter at last_step_ms */
    bool have_baseline;
    unsigned probes;            /* of ours, out since the baseline */
    double last_counter;        /* at the last scrape */
    bool probe_was_out;         /* at the last scrape */
    bool probe_ended;           /* since the last scrape */
    bool probe_in_vain;         /* a probe got no first token, and nothing moved while it waited nor since */
    bool probe_queued;          /* the last probe ended without an answer while the counter moved */
    bool worked;                /* the last scrape showed work */
    bool waited;                /* the last scrape showed a queue */
} progress;

/* The state after `in` at `now_ms`. Before, after and progress_wants_probe() tell the caller what to do. */
progress progress_step(progress p, const progress_config *c, const progress_input *in, int64_t now_ms);
/* A probe would settle it: SUSPECT, or STALLED and worth looking again. */
static inline bool progress_wants_probe(const progress *p) { return p->state == PROGRESS_SUSPECT; }
/* Seconds since the last step while work is there; 0 when idle. NaN when unknown. */
double progress_age_s(const progress *p, int64_t now_ms);
