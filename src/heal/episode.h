/* heal/episode.h - one attempt after another to heal one target of one fault; pure.
 *
 *   SUGGESTED <--- mode ---> WAITING ---------------------- effect ACT -------------------> ACTING
 *       |                     |   ^    claim holds, guard free, not paused                    | |
 *       | claim stale         |   |                                                           | | result ok: next step
 *       v                     |   |  attempts left                                            | v (claim asked again)
 *   CANCELLED <---------------+   +-------- failed <------ result failed, or none in time ----+ |
 *       ^                         |            ^                                                | last step ok
 *       | claim stale             | none left  | no proof within `within`,                      v
 *   NEEDS_HUMAN <-----------------+            | or lost after it                           VERIFYING
 *      effect ESCALATE; also from WAITING      +----------------------------------------------- |
 *      when the hour is used up                                      proof held for `hold`      v
 *                                                                                             DONE
 *   SUGGESTED    would act; the mode is suggest (or approve)
 *   WAITING      wants to act; `why` tells what holds it back. Nothing has been promised yet
 *   ACTING       the intent is on disk; while `running`, exactly one action with the number `run` is under way
 *   VERIFYING    the actions are done; signals, never time alone, decide
 *   DONE         the golden signals came back and stayed
 *   NEEDS_HUMAN  no further attempt in this incident
 *   CANCELLED    the reason went away, or an operator said stop
 *
 * Fencing: the claim (this incident, this cause, this episode number, still present) is asked anew before every
 * single action. An answer carries the number of its run; any other number is ignored. */
#pragma once
#include "heal/guard.h"

typedef enum episode_claim {
    CLAIM_HOLDS,
    CLAIM_ABSENT,        /* the incident is open, but the fault is not seen right now, or must not be acted on */
    CLAIM_WHEN_FALSE,    /* the policy's condition does not hold */
    CLAIM_STALE,         /* closed, another cause, another episode: never act on it */
} episode_claim;
typedef enum episode_result {
    RESULT_NONE, RESULT_OK, RESULT_FAILED,
    RESULT_HOPELESS,     /* this target cannot be acted on at all: trying again is no use */
} episode_result;
typedef enum episode_proof { PROOF_NONE, PROOF_GOOD } episode_proof;
typedef enum episode_resume {        /* after galen itself was killed while ACTING */
    RESUME_WAIT,                     /* not known yet */
    RESUME_DONE,                     /* the action happened (the process is newer than the intent), or may have: look for proof */
    RESUME_REDO,                     /* it certainly did not: begin the same attempt again */
} episode_resume;
typedef enum episode_effect { EFFECT_NONE, EFFECT_ACT, EFFECT_ESCALATE } episode_effect;

typedef struct episode {
    heal_state state;
    unsigned attempt;                /* begun so far */
    unsigned step;                   /* of the policy's `do`: the one that runs or comes next */
    uint64_t run;                    /* number of the running or last action */
    bool running, resumed, redo;
    int64_t born_ms;
    int64_t since_ms;                /* in this state */
    int64_t acted_ms;                /* intent of the present action */
    int64_t verify_from_ms, good_since_ms;
    const char *why;                 /* one sentence, static */
} episode;

typedef struct episode_rules { unsigned steps, retries; int64_t within_ms, hold_ms, action_timeout_ms; } episode_rules;

typedef struct episode_input {
    int64_t now_ms;
    heal_mode mode;                  /* effective */
    bool paused;                     /* by an operator */
    episode_claim claim;
    guard_answer guard;
    episode_result result; uint64_t result_run;
    episode_proof proof;
    episode_resume resume;
} episode_input;

episode episode_step(episode p, const episode_rules *r, const episode_input *in, episode_effect *ret_effect);

/* ACTING and VERIFYING: the target belongs to this episode. */
static inline bool episode_busy(const episode *p) { return p->state == HEAL_ACTING || p->state == HEAL_VERIFYING; }
static inline bool episode_over(const episode *p) { return p->state == HEAL_DONE || p->state == HEAL_CANCELLED; }
