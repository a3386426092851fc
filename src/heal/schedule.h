/* heal/schedule.h - all treatments of all targets: who may act when. Pure but for the hands it is given.
 *
 * A treatment is a policy applied to one target for one claim (incident, cause, episode number). The schedule asks
 * the hands to look (claim, proof), to write down (intend, changed, note) and to act; it never touches the world
 * itself, so the same code runs under ten thousands of random schedules with crashes in its test.
 *
 * Before an action, in this order: claim asked, limits asked, ledger and treatment stored, intent fsynced into audit,
 * claim asked once more, action begun. If anything of it fails nothing is done. */
#pragma once
#include "heal/episode.h"

#define HEAL_KEEP 200                /* treatments that are over and kept for the page */
#define HEAL_TREATMENTS_MAX 5000

/* What a treatment is about. `fence`: the incident's episode number, or when the alert or expression began. */
typedef struct heal_claim { str subject, incident, cause; uint64_t fence; } heal_claim;

typedef struct treatment {
    char *key;                       /* "POLICY|SUBJECT|INCIDENT|CAUSE|TIME OF BIRTH" */
    str policy;                      /* its name; this and what is in claim are views into key */
    heal_claim claim;
    episode episode;
    heal_mode mode;                  /* effective when last looked at */
    char action[32];                 /* the step that runs or comes next */
    char detail[200];                /* what the last action or check said; "" nothing */
} treatment;

typedef struct heal_hands {
    void *ctx;
    /* Look now. For a treatment that needs a human: CLAIM_STALE only when its whole incident is over. */
    episode_claim (*claim)(void *ctx, const treatment *t, const policy *p);
    episode_proof (*proof)(void *ctx, treatment *t, const policy *p, int64_t now_ms);
    episode_resume (*resume)(void *ctx, const treatment *t, const policy *p, int64_t now_ms);
    /* Fsync the intent. Not OK: the action must not run. */
    err_kind (*intend)(void *ctx, const treatment *t, const policy *p, const action *a, err *e);
    /* ERR_UNSUPPORTED, ERR_NOT_FOUND: this target cannot be acted on, a person is called at once.
     * Begin; exactly one schedule_result with t's subject and run follows, unless this fails. Never calls back from inside. */
    err_kind (*act)(void *ctx, const treatment *t, const policy *p, const action *a, err *e);
    void (*escalate)(void *ctx, const treatment *t, const policy *p);
    /* After each change of state or step. */
    void (*changed)(void *ctx, const treatment *t, heal_state before);
    /* Store (durably) before an action; not OK: it must not run. */
    err_kind (*store_treatment)(void *ctx, const treatment *t, err *e);
    err_kind (*store_ledger)(void *ctx, str subject, const guard_ledger *l, err *e);
    void (*forget)(void *ctx, const treatment *t);
} heal_hands;

typedef struct schedule schedule;
schedule *schedule_new(heal_hands hands);       /* NULL without memory */
void schedule_free(schedule *s);
void schedule_pause(schedule *s, bool paused);
bool schedule_paused(const schedule *s);

/* A trigger is on. Nothing happens if this very claim was treated before, or if its incident already needs a human. If
 * the same fault of the same incident has come back under a new fence (after an attempt that did not help), the
 * treatment that waits goes on with it: attempts are counted over the incident, not anew for each coming back. */
err_kind schedule_trigger(schedule *s, const policy *p, heal_mode global, const heal_claim *c, int64_t now_ms);
/* Everything that may go on goes on. */
void schedule_tick(schedule *s, const heal_config *c, int64_t now_ms);
/* The action `run` on `subject` has ended; `detail` goes on record. Unknown or old runs are ignored. */
void schedule_result(schedule *s, const heal_config *c, str subject, uint64_t run, bool ok, const char *detail, int64_t now_ms);

/* i-th: running ones first, newest first. NULL beyond the last. */
const treatment *schedule_at(const schedule *s, size_t i);

/* Back from disk. */
err_kind schedule_restore_ledger(schedule *s, str subject, const guard_ledger *l);
err_kind schedule_restore(schedule *s, const treatment *t);       /* copied; ACTING becomes "resumed" */
