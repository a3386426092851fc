/* heal/guard.h - the limits: one at a time, cool-down, so many an hour; pure.
 *
 * The ledger holds when attempts on one target began, whichever policy made them: a target that two policies care
 * about is not restarted twice as often. It is stored before an attempt begins, so it survives kill -9. */
#pragma once
#include "heal/policy.h"

#define GUARD_HOUR_MS (3600 * MS_PER_S)
#define GUARD_REMEMBER 64            /* more than the largest per_hour */

typedef struct guard_ledger {
    int64_t at_ms[GUARD_REMEMBER]; size_t len;   /* oldest first */
    uint64_t last_run;                           /* the action number of the newest */
} guard_ledger;

typedef enum guard_answer {
    GUARD_FREE,
    GUARD_PERSON_CALLED,             /* another policy has given up on this target in this incident */
    GUARD_TARGET_BUSY,               /* somebody acts on or verifies this target */
    GUARD_OTHERS_BUSY,               /* `concurrent` targets are being healed already */
    GUARD_COOLDOWN,
    GUARD_HOUR_USED_UP,              /* waiting does not help a target that breaks so often: a person must look */
} guard_answer;

typedef struct guard_question {
    const policy *policy;
    bool person_called;
    bool target_busy;
    size_t busy_elsewhere;
    bool redo;                       /* the attempt is in the ledger already; galen died in the middle of it */
    int64_t now_ms;
} guard_question;

guard_answer guard_ask(const guard_ledger *l, const guard_question *q);
/* An attempt begins. The oldest entry makes room. */
void guard_note(guard_ledger *l, int64_t now_ms, uint64_t run);
