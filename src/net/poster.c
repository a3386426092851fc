/* net/poster.c - calls handed to the loop's thread by other threads: a bounded queue and one uv_async. */
#include "net/net.h"

typedef struct posted_call {
    void (*fn)(void *ctx);
    void *ctx;
} posted_call;

typedef vec(posted_call) call_queue;

struct net_poster {
    uv_async_t async;
    uv_mutex_t lock;
    call_queue waiting; /* under lock */
    call_queue running; /* the loop's thread only: swapped with waiting, so that calls run without the lock */
};

/* Run what waits, and what these calls post meanwhile only on the next round: a call that posts itself
 * again must not keep the loop from its sockets. */
static void poster_run(net_poster *p)
{
    uv_mutex_lock(&p->lock);
    call_queue batch = p->waiting;
    p->waiting = p->running;
    p->running = batch;
    uv_mutex_unlock(&p->lock);

    for (size_t i = 0; i < p->running.len; i++)
        p->running.at[i].fn(p->running.at[i].ctx);
    vec_clear(&p->running);
}

static void poster_woken(uv_async_t *async) { poster_run(async->data); }

err_kind net_poster_open(uv_loop_t *loop, net_poster **ret, err *e)
{
    net_poster *p = mem_zalloc(sizeof *p);

    if (!p)
        return err_nomem(e);
    if (uv_mutex_init(&p->lock)) {
        mem_free(p);
        return err_set(e, ERR_NOMEM, "could not create a lock");
    }
    int rc = uv_async_init(loop, &p->async, poster_woken);
    if (rc) {
        uv_mutex_destroy(&p->lock);
        mem_free(p);
        return err_sys(e, -rc, "could not open the loop's mailbox");
    }
    p->async.data = p;
    *ret = p;
    return OK;
}

err_kind net_post(net_poster *p, void (*fn)(void *ctx), void *ctx)
{
    err_kind kind = ERR_FULL;

    uv_mutex_lock(&p->lock);
    if (p->waiting.len < NET_POST_MAX)
        kind = vec_push(&p->waiting, ((posted_call){ fn, ctx }));
    uv_mutex_unlock(&p->lock);
    if (kind == OK)
        uv_async_send(&p->async);
    return kind;
}

static void poster_closed(uv_handle_t *handle)
{
    net_poster *p = handle->data;

    uv_mutex_destroy(&p->lock);
    vec_done(&p->waiting);
    vec_done(&p->running);
    mem_free(p);
}

void net_poster_close(net_poster *p)
{
    if (!p || uv_is_closing((uv_handle_t *)&p->async))
        return;
    poster_run(p); /* their contexts would leak otherwise */
    uv_close((uv_handle_t *)&p->async, poster_closed);
}
