#include "net/net.h"
#include <pthread.h>
#include <time.h>

#define POLL_CANCEL_NS (20 * NS_PER_MS)

struct net_fetcher {
    uv_loop_t loop;
    net_poster *poster;
    http_client *client;
    uv_thread_t thread;
    bool running, loop_open;
};

/* On the asker's stack: it waits until nobody else holds it. */
typedef struct ask {
    net_fetcher *f;
    const http_fetch_options *options;
    http_fetch *fetch;
    buf *body;
    int status;
    err e;
    err_kind k;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    unsigned posted;             /* calls on their way to the fetcher's thread */
} ask;

static void ask_end(ask *a, err_kind k)
{
    pthread_mutex_lock(&a->lock);
    a->k = k;
    a->done = true;
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

static void post_over(ask *a)
{
    pthread_mutex_lock(&a->lock);
    a->posted--;
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

static void on_done(void *ctx, const http_response *res)
{
    ask *a = ctx;
    a->fetch = NULL;
    a->status = res->status;
    a->e = res->error;
    err_kind k = res->kind;
    if (!k && buf_append(a->body, res->body))
        k = err_set(&a->e, ERR_LIMIT, "the answer is longer than the %zu bytes allowed", a->body->max);
    ask_end(a, k);
}

static void start_on_thread(void *ctx)
{
    ask *a = ctx;
    http_fetch_options o = *a->options;
    o.done = on_done;
    o.ctx = a;
    err_kind k = http_fetch_start(a->f->client, &o, &a->fetch, &a->e);
    if (k)
        ask_end(a, k);
    post_over(a);
}

static void cancel_on_thread(void *ctx)
{
    ask *a = ctx;
    if (!a->done) {
        http_fetch_cancel(a->fetch);
        ask_end(a, err_set(&a->e, ERR_CANCELED, "canceled"));
    }
    post_over(a);
}

/* False: it could not be posted, and nobody else has `a`. */
static bool post(ask *a, void (*fn)(void *))
{
    pthread_mutex_lock(&a->lock);
    a->posted++;
    pthread_mutex_unlock(&a->lock);
    if (net_post(a->f->poster, fn, a) == OK)
        return true;
    post_over(a);
    return false;
}

static void wait_a_little(ask *a)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += POLL_CANCEL_NS;
    until.tv_sec += until.tv_nsec / NS_PER_S;
    until.tv_nsec %= NS_PER_S;
    pthread_cond_timedwait(&a->changed, &a->lock, &until);
}

static void wait_for_end(ask *a, const atomic_bool *cancel)
{
    bool canceled = false;
    pthread_mutex_lock(&a->lock);
    while (!a->done || a->posted) {
        if (!cancel || canceled || a->done) {
            pthread_cond_wait(&a->changed, &a->lock);
            continue;
        }
        wait_a_little(a);
        if (!a->done && atomic_load(cancel)) {
            pthread_mutex_unlock(&a->lock);
            canceled = post(a, cancel_on_thread);
            pthread_mutex_lock(&a->lock);
        }
    }
    pthread_mutex_unlock(&a->lock);
}

err_kind net_fetcher_ask(net_fetcher *f, const http_fetch_options *o, const atomic_bool *cancel, buf *body, int *ret_status, err *e)
{
    ask a = { .f = f, .options = o, .body = body };
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&a.lock, NULL);
    pthread_cond_init(&a.changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (post(&a, start_on_thread))
        wait_for_end(&a, cancel);
    else
        a.k = err_nomem(&a.e);
    pthread_cond_destroy(&a.changed);
    pthread_mutex_destroy(&a.lock);
    *ret_status = a.status;
    if (a.k && e)
        *e = a.e;
    return a.k;
}

/* ---- life ---- */

static void thread_main(void *ctx) { uv_run(&((net_fetcher *)ctx)->loop, UV_RUN_DEFAULT); }
static void stop_on_thread(void *ctx) { uv_stop(&((net_fetcher *)ctx)->loop); }

err_kind net_fetcher_open(net_fetcher **ret, err *e)
{
    net_fetcher *f = mem_zalloc(sizeof *f);
    if (!f)
        return err_nomem(e);
    f->loop_open = uv_loop_init(&f->loop) == 0;
    err_kind k = f->loop_open ? net_poster_open(&f->loop, &f->poster, e) : err_nomem(e);
    if (!k)
        k = http_client_open(&f->loop, &f->client, e);
    if (!k && uv_thread_create(&f->thread, thread_main, f))
        k = err_set(e, ERR_UNAVAILABLE, "could not start a thread for requests");
    f->running = !k;
    if (k)
        net_fetcher_close(f);
    else
        *ret = f;
    return k;
}

void net_fetcher_close(net_fetcher *f)
{
    if (!f)
        return;
    if (f->running) {
        while (net_post(f->poster, stop_on_thread, f) != OK)
            uv_sleep(1);
        uv_thread_join(&f->thread);
    }
    http_client_close(f->client);
    net_poster_close(f->poster);
    if (f->loop_open) {
        uv_run(&f->loop, UV_RUN_DEFAULT);
        uv_loop_close(&f->loop);
    }
    mem_free(f);
}
