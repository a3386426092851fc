/* Restart the supervised process: SIGTERM, after the grace SIGKILL, then its command again. watch does it; "done" means
 * that the new process runs, whether it works is verification's question. It has no undo. */
#include "heal/heal_state.h"

#define RESTARTS_MAX 64              /* at the same time */

/* watch may answer after heal was closed, or never: the tickets outlive both. Touched on the main loop only. */
typedef struct ticket { heal *owner; char subject[512]; uint64_t run; bool used; } ticket;
static ticket tickets[RESTARTS_MAX];

static void on_restarted(void *ctx, const err *result)
{
    ticket *t = ctx;
    heal *owner = t->owner;
    t->used = false;
    if (owner)
        heal_action_ended(owner, str_from(t->subject), t->run, result->kind == OK, result->kind == OK ? "" : result->message);
}

err_kind action_restart_run(heal *h, const treatment *t, const policy *p, const action *a, err *e)
{
    UNUSED(p);
    for (size_t i = 0; i < RESTARTS_MAX; i++) {
        ticket *free_one = &tickets[i];
        if (free_one->used)
            continue;
        *free_one = (ticket){ .owner = h, .run = t->episode.run, .used = true };
        str_copy(free_one->subject, sizeof free_one->subject, t->claim.subject);
        err_kind k = watch_process_restart(h->deps.watch, free_one->subject, a->grace_ms, on_restarted, free_one, e);
        free_one->used = k == OK;
        return k;
    }
    return err_set(e, ERR_LIMIT, "could not restart %" STR_FMT ": %d restarts are under way", STR_ARG(t->claim.subject), RESTARTS_MAX);
}

void action_restart_forget(const heal *h)
{
    for (size_t i = 0; i < RESTARTS_MAX; i++)
        if (tickets[i].owner == h)
            tickets[i].owner = NULL;
}
