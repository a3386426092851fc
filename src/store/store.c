#include "store/blocks.h"
#include <errno.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define COMPACT_NICE 10
#define CARE_TICK_MS 5000 /* how often the store's thread looks whether a block is due */

/* ---- the store's threads ---- */

/* Wait, in real time, until `ms` are over or the store stops; true: it stops. */
static bool wait_stopped(store *s, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until); /* pthread's own clock: a test's fake one would never arrive */
    until.tv_sec += (time_t)(ms / MS_PER_S);
    until.tv_nsec += (long)(ms % MS_PER_S * NS_PER_MS);
    if (until.tv_nsec >= NS_PER_S) {
        until.tv_sec++;
        until.tv_nsec -= NS_PER_S;
    }
    pthread_mutex_lock(&s->stop_lock);
    while (!s->stopping && pthread_cond_timedwait(&s->stop_cond, &s->stop_lock, &until) != ETIMEDOUT)
        ;
    bool stopping = s->stopping;
    pthread_mutex_unlock(&s->stop_lock);
    return stopping;
}

/* Says a trouble once when it starts, not every tick, and once when it is over. */
static void report(bool *troubled, const char *what, err_kind k, const err *e)
{
    if (k && !*troubled)
        log_warn("store is in trouble, trying again", KV_CSTR("task", what), KV_ERR(e));
    if (!k && *troubled)
        log_info("store has recovered", KV_CSTR("task", what));
    *troubled = k != OK;
}

static void *sync_loop(void *arg)
{
    store *s = arg;
    for (bool troubled = false; !wait_stopped(s, s->wal_fsync_ms);) {
        err e = { 0 };
        report(&troubled, "sync of the write-ahead log", sync_run(s, &e), &e);
    }
    return NULL;
}

/* The store's own numbers, for /metrics and for itself to keep. */
static void publish(store *s)
{
    store_stats st = store_stats_get(s);
    own_set(own_gauge("store_head_series", NULL, "Series with samples in memory."), (double)st.head_series);
    own_set(own_gauge("store_head_samples", NULL, "Samples in memory, not yet in a block."), (double)st.head_samples);
    own_set(own_gauge("store_blocks", NULL, "Immutable block files."), (double)st.blocks);
    own_set(own_gauge("store_block_bytes", NULL, "Bytes of all block files."), (double)st.block_bytes);
    own_set(own_gauge("store_wal_bytes", NULL, "Bytes of the write-ahead log, checkpoint included."), (double)st.wal_bytes);
    own_set(own_counter("store_appended_samples_total", NULL, "Samples acknowledged since the start."), (double)st.appended_total);
    own_set(own_counter("store_wal_errors_total", NULL, "Writes and syncs of the write-ahead log that failed."), (double)st.wal_errors_total);
}

static void *care_loop(void *arg)
{
    store *s = arg;
    int64_t tick_ms = MAX(s->wal_fsync_ms, CARE_TICK_MS); /* who syncs rarely is in no hurry here either */
    for (bool troubled = false; !wait_stopped(s, tick_ms);) {
        err e = { 0 };
        report(&troubled, "writing of blocks", care_run(s, false, &e), &e);
        publish(s);
    }
    return NULL;
}

/* The lowest weight that still gets along: merging may take long, answering may not. Refusals are no trouble. */
static void become_quiet(void)
{
    enum { WHO_PROCESS = 1, CLASS_IDLE = 3 << 13, THIS_THREAD = 0 }; /* linux/ioprio.h, which glibc does not wrap */
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), COMPACT_NICE);
    (void)syscall(SYS_ioprio_set, WHO_PROCESS, THIS_THREAD, CLASS_IDLE);
}

static void *compact_loop(void *arg)
{
    store *s = arg;
    int64_t tick_ms = MAX(s->wal_fsync_ms, CARE_TICK_MS);
    become_quiet();
    for (bool troubled = false; !wait_stopped(s, tick_ms);) {
        err e = { 0 };
        err_kind k = compact_run(s, false, &e);
        report(&troubled, "merging of blocks", k == ERR_CANCELED ? OK : k, &e);
    }
    return NULL;
}

static err_kind thread_start(store *s, store_thread *t, void *(*run)(void *), err *e)
{
    int sys = pthread_create(&t->id, NULL, run, s);
    if (sys)
        return err_sys(e, sys, "could not start a thread of the store");
    t->running = true;
    return OK;
}

static void threads_stop(store *s)
{
    pthread_mutex_lock(&s->stop_lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->stop_cond);
    pthread_mutex_unlock(&s->stop_lock);
    atomic_fetch_add(&s->compact_wanted, 1); /* a merge in progress gives up */
    store_thread *threads[] = { &s->sync_thread, &s->care_thread, &s->compact_thread };
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        if (threads[i]->running)
            pthread_join(threads[i]->id, NULL);
        threads[i]->running = false;
    }
}

/* ---- open and close ---- */

static void locks_init(store *s)
{
    pthread_mutex_t *locks[] = { &s->append_lock, &s->blocks_lock, &s->care_lock, &s->compact_lock, &s->stop_lock };
    for (size_t i = 0; i < COUNT_OF(locks); i++)
        pthread_mutex_init(locks[i], NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->stop_cond, &attr);
    pthread_condattr_destroy(&attr);
}

static void store_free(store *s)
{
    threads_stop(s);
    wal_done(&s->wal);
    head_done(&s->head);
    guard_done(&s->guard);
    exemplars_done(&s->exemplars);
    blocks_done(&s->blocks);
    for (size_t i = 0; i < STORE_TIERS; i++)
        blocks_done(&s->tiers[i].blocks);
    vec_done(&s->batch.rows);
    vec_done(&s->batch.fresh);
    buf_done(&s->batch.records);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    pthread_mutex_t *locks[] = { &s->append_lock, &s->blocks_lock, &s->care_lock, &s->compact_lock, &s->stop_lock };
    for (size_t i = 0; i < COUNT_OF(locks); i++)
        pthread_mutex_destroy(locks[i]);
    pthread_cond_destroy(&s->stop_cond);
    mem_free(s);
}

static void store_freep(store **s)
{
    if (*s)
        store_free(*s);
}

static store *store_new(const store_options *o)
{
    store *s = mem_zalloc(sizeof *s);
    if (!s)
        return NULL;
    s->lock_fd = s->wal.fd = -1;
    s->read_only = o->read_only;
    s->retention_ms = MIN(o->retention_ms > 0 ? o->retention_ms : STORE_RETENTION_MS, STORE_TIME_MAX_MS);
    s->wal_fsync_ms = o->wal_fsync_ms > 0 ? o->wal_fsync_ms : STORE_FSYNC_MS;
    s->block_ms = MIN(o->block_ms > 0 ? o->block_ms : STORE_BLOCK_MS, STORE_TIME_MAX_MS);
    s->batch.records = (buf)BUF_INIT(STORE_RECORDS_MAX_BYTES);
    s->retention_bytes = o->retention_bytes;
    s->tiers[0].step_ms = 5 * 60 * MS_PER_S;
    s->tiers[0].keep_ms = MIN(o->tier_5m_ms, STORE_TIME_MAX_MS);
    s->tiers[1].step_ms = 60 * 60 * MS_PER_S;
    s->tiers[1].keep_ms = MIN(o->tier_1h_ms, STORE_TIME_MAX_MS);
    s->tiers[0].rolled_ms = s->tiers[1].rolled_ms = INT64_MIN;
    s->blocks.next_number = s->tiers[0].blocks.next_number = s->tiers[1].blocks.next_number = 1;
    atomic_init(&s->blocks_max_t_ms, INT64_MIN);
    locks_init(s);
    s->guard = (guard){ .max_series = o->max_series ? o->max_series : STORE_SERIES_MAX, .max_series_per_metric = o->max_series_per_metric,
                        .max_series_per_target = o->max_series_per_target, .memory_bytes = o->memory_bytes };
    s->out_of_order_ms = o->out_of_order_ms;
    s->created_zeros = o->created_zeros;
    if (exemplars_init(&s->exemplars, o->max_exemplars) | head_init(&s->head)) {
        store_free(s);
        return NULL;
    }
    return s;
}

static err_kind folders(store *s, const char *dir, err *e)
{
    char lock[FILE_PATH_MAX];
    err_kind k;
    str_copy(s->dir, sizeof s->dir, str_from(dir));
    if ((k = file_join(s->wal_dir, dir, "wal", e)) || (k = file_join(s->blocks.dir, dir, "blocks", e)) ||
        (k = file_join(s->tiers[0].blocks.dir, dir, "tiers/5m", e)) || (k = file_join(s->tiers[1].blocks.dir, dir, "tiers/1h", e)) || (k = file_join(lock, dir, "LOCK", e)))
        return k;
    if (s->read_only) {
        if (!file_exists(dir))
            return err_set(e, ERR_NOT_FOUND, "there is no such folder");
        return OK;
    }
    if ((k = file_make_dirs(s->wal_dir, 0700, e)) || (k = file_make_dirs(s->blocks.dir, 0700, e)))
        return k;
    for (size_t i = 0; i < STORE_TIERS; i++)
        if (s->tiers[i].keep_ms > 0 && (k = file_make_dirs(s->tiers[i].blocks.dir, 0700, e)))
            return k;
    k = file_lock(lock, &s->lock_fd, e);
    if (k == ERR_CONFLICT)
        err_hint(e, "Another galen runs on this data: stop it or give this one its own --data.");
    return k;
}

err_kind store_open(const store_options *o, store **ret, store_recovery *ret_recovery, err *e)
{
    store_recovery recovery = { 0 };
    AUTO(store_freep) store *s = store_new(o);
    err_kind k;
    if (!s)
        return err_nomem(e);
    if ((k = folders(s, o->dir, e)) || (k = store_recover(s, &recovery, e)))
        return err_context(e, "could not open store \"%s\"", o->dir), k;
    if (!s->read_only && ((k = thread_start(s, &s->sync_thread, sync_loop, e)) || (k = thread_start(s, &s->care_thread, care_loop, e)) ||
                          (k = thread_start(s, &s->compact_thread, compact_loop, e))))
        return k;
    if (ret_recovery)
        *ret_recovery = recovery;
    *ret = TAKE(s);
    return OK;
}

err_kind store_close(store *s, err *e)
{
    if (!s)
        return OK;
    threads_stop(s);
    err_kind k = s->read_only ? OK : sync_run(s, e);
    store_free(s);
    return k;
}

/* ---- care ---- */

err_kind sync_run(store *s, err *e)
{
    wal_sync sync;
    pthread_mutex_lock(&s->append_lock);
    err_kind k = wal_sync_take(&s->wal, &sync, e);
    pthread_mutex_unlock(&s->append_lock);
    if (k || !(k = wal_sync_done(&sync, e)))
        return k;
    atomic_fetch_add_explicit(&s->wal_errors_total, 1, memory_order_relaxed);
    pthread_mutex_lock(&s->append_lock);
    s->wal.dirty = true; /* the next tick tries again */
    pthread_mutex_unlock(&s->append_lock);
    return k;
}

err_kind store_flush(store *s, err *e)
{
    if (s->read_only)
        return err_set(e, ERR_DENIED, "cannot flush store \"%s\": it is open for reading only", s->dir);
    err_kind k = care_run(s, true, e);
    do
        k = k ? k : compact_run(s, true, e);
    while (k == ERR_CANCELED && atomic_load(&s->compact_wanted) == 0);
    return k;
}

/* What the log takes on disk, asked from the disk itself: checkpoints come and go. */
static void measure_wal(const store *s, store_stats *ret)
{
    AUTO(arena_done) arena a = ARENA_INIT(STORE_LIST_MAX_BYTES);
    str *names;
    size_t n;
    if (file_list(s->wal_dir, &a, &names, &n, NULL))
        return;
    for (size_t i = 0; i < n; i++) {
        bool checkpoint;
        uint32_t segment;
        char path[FILE_PATH_MAX];
        struct stat st;
        if (!wal_parse_name(names[i], &checkpoint, &segment) || file_join(path, s->wal_dir, names[i].ptr, NULL) || stat(path, &st) != 0)
            continue;
        ret->wal_segments += !checkpoint;
        ret->wal_bytes += (uint64_t)st.st_size;
    }
}

store_stats store_stats_get(store *s)
{
    store_stats r = {
        .head_series = atomic_load_explicit(&s->head.series_count, memory_order_relaxed),
        .head_samples = atomic_load_explicit(&s->head.sample_count, memory_order_relaxed),
        .head_chunks = atomic_load_explicit(&s->head.chunk_count, memory_order_relaxed),
        .appended_total = atomic_load_explicit(&s->appended_total, memory_order_relaxed),
        .wal_errors_total = atomic_load_explicit(&s->wal_errors_total, memory_order_relaxed),
        .min_t_ms = atomic_load_explicit(&s->head.min_t_ms, memory_order_relaxed),
        .max_t_ms = atomic_load_explicit(&s->head.max_t_ms, memory_order_relaxed),
    };
    pthread_mutex_lock(&s->blocks_lock);
    r.blocks = s->blocks.len;
    for (size_t i = 0; i < s->blocks.len; i++) {
        const block *b = s->blocks.at[i];
        r.block_bytes += b->size;
        r.min_t_ms = MIN(r.min_t_ms, b->min_t_ms);
        r.max_t_ms = MAX(r.max_t_ms, b->max_t_ms);
    }
    pthread_mutex_unlock(&s->blocks_lock);
    measure_wal(s, &r);
    return r;
}
