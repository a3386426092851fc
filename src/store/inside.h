/* store/inside.h - the open store as the room's own files see it.
 *
 *   append.c   batch -> checks -> WAL -> head          recover.c  WAL and blocks -> head, at open
 *   select.c   head and blocks -> snapshot             care.c     head -> block, checkpoint, retention
 *
 * Locks are taken in this order: care_lock, compact_lock, append_lock, the head's shards ascending, blocks_lock. */
#pragma once
#include "store/block.h"
#include "store/exemplars.h"
#include "store/guard.h"
#include "store/head.h"
#include "store/wal.h"

#define STORE_RETENTION_MS (INT64_C(15) * 24 * 3600 * 1000)
#define STORE_FSYNC_MS 1000
#define STORE_BLOCK_MS (INT64_C(2) * 3600 * 1000)
/* Times beyond ±285,000 years are refused, so that no sum of two of them can overflow. */
#define STORE_TIME_MAX_MS (INT64_C(1) << 53)
#define STORE_AHEAD_MS (10 * 60 * MS_PER_S)  /* as Prometheus: what a sink may take from a clock that is ahead of ours */
#define STORE_RECORDS_MAX_BYTES (512u << 20) /* definitions and samples of one batch */
#define STORE_LIST_MAX_BYTES (16u << 20)     /* file names of one folder */

typedef enum staged_kind { STAGED_FLOAT, STAGED_HISTOGRAM, STAGED_LATE_FLOAT, STAGED_LATE_HISTOGRAM } staged_kind;
typedef struct staged {
    series *series;
    int64_t t_ms;
    union { double v; histogram *own; }; /* `own`: a copy that show() gives to the series */
    staged_kind kind;
} staged;
typedef struct batch {
    vec(staged) rows;             /* accepted, in their order */
    vec(series *) fresh;          /* series whose definition the log does not have yet, each once */
    size_t touched, again;        /* rows that are a series' first float of the batch, and the others */
    size_t blocks;                /* of the pool, that the first rows may need */
    int64_t min_t_ms, max_t_ms;
    buf records;
} batch;

typedef struct store_thread {
    pthread_t id;
    bool running;
} store_thread;

/* The blocks of one folder. */
typedef struct block_set {
    block **at;                   /* by number, ascending */
    size_t len, cap;
    uint32_t next_number;
    char dir[FILE_PATH_MAX];
} block_set;

#define STORE_TIERS 2
typedef struct tier_set {
    block_set blocks;
    int64_t step_ms, keep_ms;     /* span of a point; how long points are kept, 0: the tier is not made */
    int64_t rolled_ms;            /* samples up to here were looked at since the start; INT64_MIN: none */
} tier_set;

struct store {
    char dir[FILE_PATH_MAX], wal_dir[FILE_PATH_MAX];
    int64_t retention_ms, wal_fsync_ms, block_ms;
    int64_t retention_bytes;      /* 0: no limit */
    bool read_only;
    int lock_fd;

    pthread_mutex_t append_lock;  /* one appender at a time: guards batch, wal, the head's appender side */
    batch batch;
    wal wal;
    head head;
    guard guard;
    exemplars exemplars;
    int64_t out_of_order_ms;
    bool created_zeros;

    pthread_mutex_t blocks_lock;
    block_set blocks;             /* of raw samples; see blocks.h */
    tier_set tiers[STORE_TIERS];  /* of roll-ups, the finest first; see tier.h */

    pthread_mutex_t care_lock;    /* one flush at a time */
    uint32_t checkpoint;          /* segments up to this are in the newest checkpoint, 0: there is none, … */
    uint64_t checkpoint_bytes;    /* … and its size, once one was written since the start */
    pthread_mutex_t compact_lock; /* one merge, deletion or roll-up at a time */
    _Atomic int compact_wanted;   /* how many want that lock soon: a merge gives up then */
    int64_t next_compact_ns;      /* monotonic; after a merge that failed */
    int64_t next_cut_ns;          /* monotonic; the store's own thread cuts no earlier */

    pthread_mutex_t stop_lock;
    pthread_cond_t stop_cond;
    bool stopping;
    store_thread sync_thread, care_thread, compact_thread;

    _Atomic int64_t blocks_max_t_ms; /* newest sample that was ever in a block; INT64_MIN: none yet */
    _Atomic uint64_t appended_total, wal_errors_total;
};

/* append.c: labels as the store keeps them: sorted, unique, nothing empty, within the limits.
 * ERR_INVALID: the caller's mistake; ERR_LIMIT. */
CHECKED err_kind labels_check(labels l, err *e);

/* exemplars.c: what sample_sink.append_exemplars does. */
CHECKED err_kind exemplars_append(store *s, const exemplar_row *rows, size_t n, sink_result *rejected, err *e);

/* recover.c */
CHECKED err_kind store_recover(store *s, store_recovery *ret, err *e);

/* care.c: head -> blocks. `force` cuts all up to now, otherwise complete windows only, and when the head is long
 * enough and the last cut long enough ago. */
CHECKED err_kind care_run(store *s, bool force, err *e);
/* All samples of the head into blocks, those of the future too, unless all are older than from_ms. */
CHECKED err_kind care_hand_over(store *s, int64_t from_ms, err *e);
CHECKED err_kind sync_run(store *s, err *e);
/* compact.c: merge what is due, roll up, expire by bytes; `force`: all that can be merged.
 * ERR_CANCELED: somebody needed the lock; call again. */
CHECKED err_kind compact_run(store *s, bool force, err *e);

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
