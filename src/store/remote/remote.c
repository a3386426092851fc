#include "store/remote/remote.h"
#include "store/remote/outbox.h"
#include <snappy-c.h>

#define TICK_MS 100
#define SYNC_NS NS_PER_S
#define METADATA_MAX_BYTES (16u << 20)

struct remote {
    rqueue *queue;
    outbox *outbox;
    uv_loop_t loop;
    bool loop_open, running, stopping;
    uv_thread_t thread;
    net_poster *poster;
    http_client *client;
    net_timer *tick, *again;
    char dir[FILE_PATH_MAX];
    sender *senders[REMOTES_MAX];
    size_t count;
    int64_t synced_ns;
    _Atomic int64_t metadata_interval_ms;
    own_metric *queue_bytes, *queue_lost;

    pthread_mutex_t lock;         /* guards what others look at */
    sender_state states[REMOTES_MAX];
    size_t state_count;
};

/* ---- on the thread ---- */

static void turn(void *ctx);

static void turn_again(void *ctx)
{
    remote *r = ctx;
    net_timer_stop(r->again);
    r->again = NULL;
    turn(r);
}

static void turn_soon(void *ctx)
{
    remote *r = ctx;
    if (!r->again && !r->stopping)
        r->again = net_timer_start(&r->loop, 0, 0, turn_again, r);
}

static void publish(remote *r)
{
    pthread_mutex_lock(&r->lock);
    r->state_count = r->count;
    for (size_t i = 0; i < r->count; i++)
        r->states[i] = sender_state_of(r->senders[i]);
    pthread_mutex_unlock(&r->lock);
}

static void turn(void *ctx)
{
    remote *r = ctx;
    bool more = false;
    for (size_t i = 0; i < r->count; i++)
        more |= sender_turn(r->senders[i]);
    int64_t now = clock_mono_ns();
    if (now - r->synced_ns >= SYNC_NS) {
        r->synced_ns = now;
        rqueue_sync(r->queue);
        rqueue_trim(r->queue);
        own_set(r->queue_bytes, (double)rqueue_stats_get(r->queue).bytes);
        own_set(r->queue_lost, (double)outbox_lost(r->outbox));
    }
    publish(r);
    if (more)
        turn_soon(r);
}

static void stop(void *ctx)
{
    remote *r = ctx;
    r->stopping = true;
    uv_stop(&r->loop);
}

static void thread_main(void *ctx)
{
    remote *r = ctx;
    uv_run(&r->loop, UV_RUN_DEFAULT);
}

/* ---- the set of remotes ---- */

/* Cursors of remotes that are no more would keep the queue from getting shorter. */
static void forget_others(remote *r)
{
    AUTO(arena_done) arena a = ARENA_INIT(16u << 20);
    str *names;
    size_t n;
    if (file_list(r->dir, &a, &names, &n, NULL))
        return;
    for (size_t i = 0; i < n; i++) {
        if (!str_starts(names[i], STR("cursor.")))
            continue;
        str name = str_skip(names[i], 7);
        bool known = false;
        for (size_t k = 0; k < r->count; k++)
            known = known || str_is(name, sender_config(r->senders[k])->name);
        if (!known)
            rqueue_forget(r->queue, name.ptr);
    }
}

static sender *take_running(remote *r, const remote_config *c)
{
    for (size_t i = 0; i < REMOTES_MAX; i++)
        if (r->senders[i] && sender_config(r->senders[i])->fingerprint == c->fingerprint && strcmp(sender_config(r->senders[i])->name, c->name) == 0)
            return TAKE(r->senders[i]);
    return NULL;
}

/* Old ones that stay are moved over, the rest is closed: then a name may be used again by another remote. */
static err_kind set_remotes(remote *r, remote_configs *take, err *e)
{
    sender *next[REMOTES_MAX] = { NULL };
    sender_deps d = { &r->loop, r->client, r->queue, turn_soon, r };
    bool exemplars = false;
    int64_t metadata_ms = 0;
    err_kind k = OK;
    for (size_t i = 0; i < take->len; i++)
        if ((next[i] = take_running(r, take->at[i])))
            remote_config_free(TAKE(take->at[i]));
    for (size_t i = 0; i < REMOTES_MAX; i++)
        sender_close(TAKE(r->senders[i]));
    r->count = 0;
    for (size_t i = 0; i < take->len; i++) {
        err_kind one = next[i] ? OK : sender_open(&d, TAKE(take->at[i]), &next[i], k ? NULL : e);
        k = k ? k : one;
        if (!next[i])
            continue;
        const remote_config *c = sender_config(next[i]);
        exemplars = exemplars || c->send_exemplars;
        if (c->send_metadata)
            metadata_ms = metadata_ms ? MIN(metadata_ms, c->metadata_interval_ms) : c->metadata_interval_ms;
        r->senders[r->count++] = next[i];
    }
    remote_configs_done(take);
    forget_others(r);
    outbox_turn(r->outbox, r->count > 0, exemplars);
    atomic_store(&r->metadata_interval_ms, metadata_ms);
    publish(r);
    return k;
}

typedef struct reload_call { remote *r; remote_configs *take; err *e; err_kind k; uv_sem_t done; } reload_call;

static void reload_on_thread(void *ctx)
{
    reload_call *c = ctx;
    c->k = set_remotes(c->r, c->take, c->e);
    uv_sem_post(&c->done);
}

err_kind remote_reload(remote *r, remote_configs *take, err *e)
{
    reload_call c = { r, take, e, OK, { { 0 } } };
    if (uv_sem_init(&c.done, 0) || net_post(r->poster, reload_on_thread, &c)) {
        remote_configs_done(take);
        return err_nomem(e);
    }
    uv_sem_wait(&c.done);
    uv_sem_destroy(&c.done);
    return c.k;
}

/* ---- metadata ---- */

typedef struct metadata_call { remote *r; buf body; } metadata_call;

static void metadata_on_thread(void *ctx)
{
    metadata_call *c = ctx;
    for (size_t i = 0; i < c->r->count; i++)
        sender_metadata(c->r->senders[i], buf_str(&c->body));
    buf_done(&c->body);
    mem_free(c);
}

int64_t remote_metadata_interval_ms(const remote *r) { return r ? atomic_load(&r->metadata_interval_ms) : 0; }

void remote_tell_metadata(remote *r, const exposition_meta *at, size_t n)
{
    AUTO(buf_done) buf plain = BUF_INIT(METADATA_MAX_BYTES);
    for (size_t i = 0; i < n; i++)
        prompb_put_metadata(&plain, &at[i]);
    metadata_call *c = n && !buf_failed(&plain) ? mem_zalloc(sizeof *c) : NULL;
    if (!c)
        return;
    *c = (metadata_call){ r, BUF_INIT(2 * METADATA_MAX_BYTES) };
    size_t len = snappy_max_compressed_length(plain.len);
    char *room = buf_reserve(&c->body, len);
    bool fine = room && snappy_compress(plain.ptr, plain.len, room, &len) == SNAPPY_OK;
    if (fine)
        buf_commit(&c->body, len);
    if (fine && net_post(r->poster, metadata_on_thread, c) == OK)
        return;
    buf_done(&c->body);
    mem_free(c);
}

/* ---- life ---- */

static err_kind start_thread(remote *r, err *e)
{
    r->tick = net_timer_start(&r->loop, TICK_MS, TICK_MS, turn, r);
    if (!r->tick)
        return err_nomem(e);
    if (uv_thread_create(&r->thread, thread_main, r))
        return err_set(e, ERR_UNAVAILABLE, "could not start the thread for remote stores");
    r->running = true;
    return OK;
}

err_kind remote_open(const remote_options *o, remote_configs *take, remote **ret, err *e)
{
    remote *r = mem_zalloc(sizeof *r);
    err_kind k = r ? OK : err_nomem(e);
    if (!k) {
        pthread_mutex_init(&r->lock, NULL);
        str_copy(r->dir, sizeof r->dir, str_from(o->dir));
        r->loop_open = uv_loop_init(&r->loop) == 0;
        k = r->loop_open ? rqueue_open(o->dir, o->max_bytes ? o->max_bytes : REMOTE_QUEUE_BYTES, &r->queue, e) : err_nomem(e);
    }
    if (!k && !(r->outbox = outbox_new(r->queue, o->store, o->canonical)))
        k = err_nomem(e);
    if (!k && !(k = net_poster_open(&r->loop, &r->poster, e)))
        k = http_client_open(&r->loop, &r->client, e);
    if (k) {
        remote_configs_done(take);
    } else {
        r->queue_bytes = own_gauge("galen_store_remote_queue_bytes", NULL, "Size on disk of the queue to remote stores.");
        r->queue_lost = own_gauge("galen_store_remote_queue_refused_samples", NULL, "Samples the queue could not take: disk full, for example.");
        k = set_remotes(r, take, e);
    }
    if (!k)
        k = start_thread(r, e);
    if (k)
        remote_close(r);
    else
        *ret = r;
    return k;
}

void remote_close(remote *r)
{
    if (!r)
        return;
    if (r->running) {
        while (net_post(r->poster, stop, r) != OK)
            uv_sleep(1);
        uv_thread_join(&r->thread);
    }
    for (size_t i = 0; i < r->count; i++)
        sender_close(r->senders[i]);
    net_timer_stop(r->again);
    net_timer_stop(r->tick);
    http_client_close(r->client);
    net_poster_close(r->poster);
    if (r->loop_open) {
        uv_run(&r->loop, UV_RUN_DEFAULT); /* closing handles say goodbye */
        uv_loop_close(&r->loop);
    }
    outbox_free(r->outbox);
    rqueue_close(r->queue);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

sample_sink remote_sink(remote *r) { return outbox_sink(r->outbox); }

size_t remote_states(remote *r, sender_state *ret, size_t cap)
{
    if (!r)
        return 0;
    pthread_mutex_lock(&r->lock);
    size_t n = r->state_count;
    for (size_t i = 0; i < n && i < cap; i++)
        ret[i] = r->states[i];
    pthread_mutex_unlock(&r->lock);
    return n;
}

rqueue_stats remote_queue_stats(remote *r) { return rqueue_stats_get(r->queue); }
