/* net/timer.c - timers over libuv's. */
#include "net/net.h"

struct net_timer {
    uv_timer_t handle;
    void (*fn)(void *ctx);
    void *ctx;
};

static void timer_fired(uv_timer_t *handle)
{
    net_timer *t = handle->data;
    t->fn(t->ctx); /* may stop the timer: t dies no earlier than the loop's next closing phase */
}

static void timer_closed(uv_handle_t *handle) { mem_free(handle->data); }

net_timer *net_timer_start(uv_loop_t *loop, int64_t first_ms, int64_t every_ms, void (*fn)(void *ctx), void *ctx)
{
    net_timer *t = mem_zalloc(sizeof *t);

    if (!t)
        return NULL;
    t->fn = fn;
    t->ctx = ctx;
    uv_timer_init(loop, &t->handle);
    t->handle.data = t;
    /* libuv counts from the loop's cached time; a callback that ran for long would make this timer early. */
    uv_update_time(loop);
    uv_timer_start(&t->handle, timer_fired, (uint64_t)MAX(first_ms, 0), (uint64_t)MAX(every_ms, 0));
    return t;
}

void net_timer_again(net_timer *t, int64_t after_ms)
{
    uv_update_time(t->handle.loop);
    uv_timer_start(&t->handle, timer_fired, (uint64_t)MAX(after_ms, 0), 0);
}

void net_timer_stop(net_timer *t)
{
    if (t && !uv_is_closing((uv_handle_t *)&t->handle))
        uv_close((uv_handle_t *)&t->handle, timer_closed);
}
