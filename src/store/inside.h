/* store/inside.h - the open store as the room's own files see it.
 *
 *   append.c   batch -> checks -> WAL -> head          recover.c  WAL and blocks -> head, at open
 *   select.c   head and blocks -> snapshot             care.c     head -> block, checkpoint, retention
 *
 * Locks are taken in this order: care_lock, append_lock, the head's shards ascending, blocks_lock. */
#pragma once
#include "store/block.h"
#include "store/head.h"
#include "store/wal.h"

#define STORE_RETENTION_MS (INT64_C(15) * 24 * 3600 * 1000)
#define STORE_FSYNC_MS 1000
#define STORE_BLOCK_MS (INT64_C(2) * 3600 * 1000)
#define STORE_SERIES_MAX 2000000u
/* Times beyond ±285,000 years are refused, so that no sum of two of them can overflow. */
#define STORE_TIME_MAX_MS (INT64_C(1) << 53)
#define STORE_AHEAD_MS (10 * 60 * MS_PER_S)  /* as Prometheus: what a sink may take from a clock that is ahead of ours */
#define STORE_RECORDS_MAX_BYTES (512u << 20) /* definitions and samples of one batch */
#define STORE_LIST_MAX_BYTES (16u << 20)     /* file names of one folder */

typedef struct staged { series *series; int64_t t_ms; double v; } staged;
typedef struct batch {
    uint64_t number;
    vec(staged) rows;             /* accepted, in their order */
    vec(series *) touched;        /* each series of them once */
    uint32_t shards;              /* mask of theirs */
    buf records;
} batch;

typedef struct store_thread {
    pthread_t id;
    bool running;
} store_thread;

struct store {
    char dir[FILE_PATH_MAX], wal_dir[FILE_PATH_MAX], block_dir[FILE_PATH_MAX];
    int64_t retention_ms, wal_fsync_ms, block_ms;
    bool read_only;
    int lock_fd;

    pthread_mutex_t append_lock;  /* one appender at a time: guards batch, wal, the head's appender side */
    batch batch;
    wal wal;
    head head;

    pthread_mutex_t blocks_lock;
    vec(block *) blocks;          /* by number, ascending */
    uint32_t next_block;

    pthread_mutex_t care_lock;    /* one flush at a time */
    int64_t next_cut_ns;          /* monotonic; the store's own thread cuts no earlier */

    pthread_mutex_t stop_lock;
    pthread_cond_t stop_cond;
    bool stopping;
    store_thread sync_thread, care_thread;

    _Atomic int64_t blocks_max_t_ms; /* newest sample that was ever in a block; INT64_MIN: none yet */
    _Atomic uint64_t appended_total, wal_errors_total;
};

/* append.c: labels as the store keeps them: sorted, unique, nothing empty, within the limits.
 * ERR_INVALID: the caller's mistake; ERR_LIMIT. */
CHECKED err_kind labels_check(labels l, err *e);

/* recover.c */
CHECKED err_kind store_recover(store *s, store_recovery *ret, err *e);

/* care.c: what store_flush does; `force` cuts every complete window, otherwise only when the head is long
 * enough and the last cut long enough ago. */
CHECKED err_kind care_run(store *s, bool force, err *e);
CHECKED err_kind sync_run(store *s, err *e);
/* A number of its own for a block that is going to be written, and the path it will have. */
CHECKED err_kind store_block_begin(store *s, char path[FILE_PATH_MAX], uint32_t *ret_number, err *e);
/* The block was written: readers see it from now on, and no more what it replaces, whose files go. On an error the file
 * stays. */
CHECKED err_kind store_block_show(store *s, const char *path, uint32_t number, err *e);

/* What is older than this is not kept. Counted from the newest sample where the clock is ahead of it, so that a clock
 * that jumps into the future takes nothing with it. */
static inline int64_t store_oldest_ms(const store *s)
{
    int64_t newest_ms = MAX(atomic_load_explicit(&s->head.max_t_ms, memory_order_relaxed),
                            atomic_load_explicit(&s->blocks_max_t_ms, memory_order_relaxed));
    int64_t now_ms = clock_now_ms();
    int64_t t_ms = (newest_ms == INT64_MIN ? now_ms : MIN(now_ms, newest_ms)) - s->retention_ms;
    return MAX(t_ms, -STORE_TIME_MAX_MS);
}

static inline void store_saw_block(store *s, const block *b)
{
    int64_t before = atomic_load_explicit(&s->blocks_max_t_ms, memory_order_relaxed);
    while (before < b->max_t_ms && !atomic_compare_exchange_weak(&s->blocks_max_t_ms, &before, b->max_t_ms))
        ;
}

/* The windows of block_ms that time is cut into start at multiples of it, also before 1970. */
static inline int64_t window_start(int64_t t_ms, int64_t block_ms)
{
    int64_t rest = t_ms % block_ms;
    return t_ms - (rest < 0 ? rest + block_ms : rest);
}
