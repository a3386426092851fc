/* store/head.h - the newest samples, in memory: series by label set, each with a run of chunks.
 *
 * Threads. One appender at a time (the store's append lock); it alone adds series and samples. What a
 * reader may look at (a shard's table and postings, a series' chunks) changes only under that shard's
 * lock. So the appender reads without a lock and writes with it; readers take it. A batch locks all its
 * shards, in ascending order, before its first sample shows and releases them after the last, and a
 * snapshot holds all of them: readers see whole batches only.
 *
 * A `ref` (what producers keep in sample_row.ref) is epoch | generation | slot. The epoch tells this open
 * store from others in the process, the generation this series from earlier ones in its slot; a slot whose
 * generations are used up is retired. So a stale ref is always found out and never names another series. */
#pragma once
#include "store/chunk.h"
#include "store/postings.h"
#include <pthread.h>

#ifdef GALEN_TINY
#define HEAD_SHARDS 2u
#define HEAD_TABLE_FIRST 2u
#else
#define HEAD_SHARDS 16u     /* power of two, at most 32: a batch's shards are bits of a mask */
#define HEAD_TABLE_FIRST 16u
#endif
#define HEAD_SLOT_BITS 28
#define HEAD_GENERATION_BITS 20
#define HEAD_SERIES_MAX ((size_t)1 << HEAD_SLOT_BITS)

struct series {
    label_set *labels;
    uint64_t ref;
    uint64_t wal_id;              /* unique for as long as the WAL lives, over restarts too */
    /* Readers: under the shard's lock. */
    chunk *open;                  /* still fills; NULL when empty */
    chunk **closed;               /* full, immutable, oldest first */
    uint32_t closed_len, closed_cap;
    uint32_t shard;
    int64_t cut_t_ms;             /* everything up to here is in blocks (INT64_MIN: nothing) */
    /* The appender's own. */
    chunk *spare;                 /* chunks a batch has reserved for when `open` is full */
    int64_t last_t_ms;
    double last_v;
    uint64_t batch;               /* the batch that staged samples last, … */
    int64_t batch_t_ms;           /* … its newest one for this series, … */
    double batch_v;
    uint32_t batch_rows;          /* … and how many */
    bool has_last;                /* last_t_ms and last_v mean something */
    bool in_wal;                  /* its definition is in the log */
    bool dead;                    /* for the sweep */
};

typedef struct head_cell { uint64_t hash; series *series; } head_cell;
typedef struct head_shard {
    pthread_mutex_t lock;
    head_cell *cells;             /* open addressing, at most three quarters full */
    size_t len, cap;
    postings postings;
} head_shard;

typedef struct head_slot { series *series; uint32_t generation, next_free; } head_slot;
typedef struct head {
    head_shard shards[HEAD_SHARDS];
    vec(head_slot) slots;         /* the appender's own; slot 0 stays empty so that no ref is 0 */
    uint32_t first_free;          /* 0: none */
    uint64_t epoch;               /* of this open store, already in its place in a ref */
    uint64_t next_wal_id;
    size_t max_series;
    /* For readers of statistics: loaded and stored relaxed. */
    _Atomic uint64_t series_count, sample_count, chunk_count;
    _Atomic int64_t min_t_ms, max_t_ms; /* of samples; INT64_MAX, INT64_MIN when there were none. min may be too low after a trim until head_measure */
} head;

CHECKED err_kind head_init(head *h, size_t max_series);
void head_done(head *h);

static inline uint32_t head_shard_of(uint64_t hash) { return (uint32_t)(hash >> 40) & (HEAD_SHARDS - 1); }
void head_lock(head *h, uint32_t mask);   /* bit i: shard i; ascending */
void head_unlock(head *h, uint32_t mask);
#define HEAD_ALL_SHARDS ((uint32_t)((UINT64_C(1) << HEAD_SHARDS) - 1))

/* ---- the appender's side ---- */
/* NULL: the ref is 0, stale, or of another store. */
series *head_by_ref(const head *h, uint64_t ref);
series *head_find(const head *h, labels l, uint64_t hash);
/* `l` is new, sorted and valid.
 *   ERR_LIMIT  max_series reached; ERR_NOMEM. Nothing has changed then. */
CHECKED err_kind head_add(head *h, labels l, uint64_t hash, series **ret, err *e);
/* Memory for `rows` more samples, so that series_put cannot fail. ERR_NOMEM: what was had stays reserved. */
CHECKED err_kind series_reserve(head *h, series *s, uint32_t rows);
/* One sample, reserved for, newer than last_t_ms. The shard's lock is held. Whoever puts a batch adds its size
 * to sample_count once. */
void series_put(head *h, series *s, int64_t t_ms, double v);
/* Samples up to t_ms are stored elsewhere or too old: drop the chunks that end there and hide the rest.
 * The append lock and the shard's are held; readers of a snapshot keep what they hold. */
void series_trim(head *h, series *s, int64_t t_ms);
void series_clear(head *h, series *s); /* as if new, but keeps its identity */
static inline bool series_empty(const series *s) { return !s->open && s->closed_len == 0; }
/* The first chunk's first time that still counts; INT64_MAX when empty. */
int64_t series_min_t(const series *s);
int64_t series_max_t(const series *s);
/* Forget series without samples; their refs go stale. The append lock is held. Returns how many. */
size_t head_sweep(head *h);
/* Find min_t_ms and max_t_ms anew. The append lock is held. */
void head_measure(head *h);

/* Every series of a shard: for (pos = 0; (s = head_next(shard, &pos));) */
series *head_next(const head_shard *shard, size_t *pos);
