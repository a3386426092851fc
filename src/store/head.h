/* store/head.h - the newest samples, in memory: series by label set, each with a run of chunks.
 *
 * A series is found by its labels (a table of 8 bytes a cell), by its ref, or by what its labels say (postings.h). What
 * an append touches of it is one cache line, `series`; the rest is `series_cold`; what few series have (histograms,
 * samples that came late) is `series_more`.
 *
 * Threads. One appender at a time (the store's append lock); it alone adds series and samples. What a reader may look
 * at changes only under the head's lock: so the appender reads without it and writes with it; readers take it. A batch
 * shows all its samples under one hold of the lock, and a snapshot is taken under one: readers see whole batches only.
 *
 * A `ref` (what producers keep in sample_row.ref) is epoch | generation | slot. The epoch tells this open
 * store from others in the process, the generation this series from earlier ones in its slot; a slot whose
 * generations are used up is retired. So a stale ref is always found out and never names another series. */
#pragma once
#include "store/chunk.h"
#include "store/histogram_chunk.h"
#include "store/postings.h"
#include <pthread.h>

#ifdef GALEN_TINY
#define HEAD_TABLE_FIRST 2u
#define HEAD_SLAB_SERIES 4u
#define LATE_MAX 3u
#else
#define HEAD_TABLE_FIRST 64u
#define HEAD_SLAB_SERIES 1024u
#define LATE_MAX 32u        /* late samples a series keeps sorted before it packs them, as Prometheus */
#endif
#define HEAD_SLOT_BITS 28
#define HEAD_GENERATION_BITS 20
#define HEAD_SERIES_MAX ((size_t)1 << HEAD_SLOT_BITS)
#define HEAD_SLOT_MASK ((UINT64_C(1) << HEAD_SLOT_BITS) - 1)
#define HEAD_BATCH_MAX ((UINT32_C(1) << 24) - 1)

enum {
    SERIES_USED = 1,              /* the slot holds a series */
    SERIES_HAS_LAST = 2,          /* it had a sample; open.last_* (or the last histogram) say which */
    SERIES_LAST_HISTOGRAM = 4,    /* that was a histogram */
    SERIES_IN_WAL = 8,            /* its definition is in the log */
    SERIES_DEAD = 16,             /* for the sweep */
};

/* One cache line. */
typedef struct series {
    filling open;                 /* floats that still fill; its last_* also when it is empty */
    uint64_t ref;
    uint64_t wal_id;              /* unique for as long as the WAL lives, over restarts too */
    uint32_t staged;              /* the newest row of the batch for it; in a free slot the next free one */
    uint32_t batch : 24, flags : 8; /* the batch that staged rows last */
} series;

typedef struct chunk_run { uint32_t len, cap; chunk *at[]; } chunk_run;

/* A sample behind the series' last one; `h` is owned. */
typedef struct late_sample { int64_t t_ms; double v; histogram *h; } late_sample;

typedef struct series_more {
    histogram_filling histograms;
    vec(late_sample) late;        /* by time; packed at LATE_MAX */
    chunk_run *late_closed;       /* may overlap each other and all else; in the order they were packed */
    size_t histogram_pending;     /* bytes reserved by batch `batch` … */
    uint32_t late_pending, batch; /* … and places in `late` */
} series_more;

typedef struct series_cold {
    int64_t cut_t_ms;             /* everything in order up to here is in blocks (INT64_MIN: nothing) */
    uint32_t *pairs;              /* its labels (postings.h), by name */
    chunk_run *closed;            /* NULL: none. Per kind oldest first */
    series_more *more;
    uint32_t hash;
    uint8_t label_count;
} series_cold;

typedef struct head_slab {
    void *memory;                 /* hot points into it, at a cache line */
    series *hot;
    series_cold *cold;
} head_slab;

typedef struct head_cell { uint32_t hash, slot; } head_cell;

typedef struct head {
    pthread_mutex_t lock;
    head_cell *cells;             /* open addressing, at most three quarters full; slot 0: free */
    size_t cells_cap;
    postings postings;
    chunk_pool pool;
    vec(head_slab) slabs;
    uint32_t slots;               /* ever given out, slot 0 included, which stays empty so that no ref is 0 */
    uint32_t first_free;          /* 0: none */
    uint32_t batch;               /* number of the batch being staged, 1 … HEAD_BATCH_MAX */
    uint64_t epoch;               /* of this open store, already in its place in a ref */
    uint64_t next_wal_id;
    size_t small_bytes;           /* in label arrays and closed chunks */
    /* For readers of statistics: loaded and stored relaxed. */
    _Atomic uint64_t series_count, sample_count, chunk_count;
    _Atomic int64_t min_t_ms, max_t_ms; /* of samples; INT64_MAX, INT64_MIN when there were none. min may be too low after a trim until head_measure */
} head;

CHECKED err_kind head_init(head *h);
void head_done(head *h);
void head_lock(head *h);
void head_unlock(head *h);

static inline uint32_t series_slot(const series *s) { return (uint32_t)(s->ref & HEAD_SLOT_MASK); }
static inline series *head_at(const head *h, uint32_t slot) { return &h->slabs.at[slot / HEAD_SLAB_SERIES].hot[slot % HEAD_SLAB_SERIES]; }
static inline series_cold *head_cold(const head *h, const series *s)
{
    uint32_t slot = series_slot(s);
    return &h->slabs.at[slot / HEAD_SLAB_SERIES].cold[slot % HEAD_SLAB_SERIES];
}
/* Every series: for (slot = 0; (s = head_next(h, &slot));) */
series *head_next(const head *h, uint32_t *slot);

/* Views of the labels; returns how many. Valid under the head's lock, for the appender until it adds or sweeps, and for
 * whoever holds postings.texts. */
size_t head_labels(const head *h, const series *s, label out[LABELS_MAX]);

/* ---- the appender's side ---- */
/* NULL: the ref is 0, stale, or of another store. */
static inline series *head_by_ref(const head *h, uint64_t ref)
{
    uint32_t slot = (uint32_t)(ref & HEAD_SLOT_MASK);
    if (slot == 0 || slot >= h->slots)
        return NULL;
    series *s = head_at(h, slot);
    return s->ref == ref && s->flags & SERIES_USED ? s : NULL;
}
series *head_find(const head *h, labels l, uint64_t hash);
/* `l` is new, sorted and valid.
 *   ERR_LIMIT  no more slots; ERR_NOMEM. Nothing has changed then. */
CHECKED err_kind head_add(head *h, labels l, uint64_t hash, series **ret, err *e);
series_more *series_more_get(head *h, const series *s); /* made if it is not there; NULL without memory */
/* The time of the last sample; only with SERIES_HAS_LAST. */
int64_t series_last_t(const head *h, const series *s);

/* Close the floats that fill. ERR_NOMEM only when they can take no more at all; else they go on without memory. */
CHECKED err_kind series_prepare(head *h, series *s);
/* One sample, newer than the last. The head's lock is held, the pool has blocks (filling_need), for a histogram its
 * run has room and `own` is taken. Whoever puts a batch tells the head once by head_grew. */
void series_put(head *h, series *s, int64_t t_ms, double v);
void series_put_histogram(head *h, series *s, int64_t t_ms, histogram *own);
/* A sample that is not newer; room in `late` was reserved. `own` (NULL: a float) is taken. One already there stays. */
void series_put_late(head *h, series *s, int64_t t_ms, double v, histogram *own);
void head_grew(head *h, uint64_t samples, int64_t min_t_ms, int64_t max_t_ms);

/* A closed chunk of a checkpoint, taken in any case. ERR_NOMEM: it is gone. */
CHECKED err_kind series_take_chunk(head *h, series *s, chunk *c, bool late);
/* The newest float is this one, though no run that fills holds it. */
void series_seen(head *h, series *s, int64_t t_ms, double v);

/* Pack the late samples into closed chunks. ERR_NOMEM: they stay as they are. */
CHECKED err_kind series_pack_late(head *h, series *s);

/* ---- moving on: the append lock and the head's are held; readers of a snapshot keep what they hold ---- */
/* Samples in order up to t_ms are stored elsewhere or too old: drop the chunks that end there and hide the rest. */
void series_trim(head *h, series *s, int64_t t_ms);
/* The first `n` packed late chunks go; `rest` (NULL: nothing) takes their place. */
void series_trim_late(head *h, series *s, uint32_t n, chunk_run *rest);
void series_expire(head *h, series *s, int64_t t_ms); /* the same, late ones too */
void series_clear(head *h, series *s); /* as if new, but keeps its identity */
bool series_empty(const head *h, const series *s);
/* Of the samples that still count, late ones too; INT64_MAX, INT64_MIN when empty. */
int64_t series_min_t(const head *h, const series *s);
int64_t series_max_t(const head *h, const series *s);
/* Forget series without samples; their refs go stale. The append lock is held. Returns how many. */
size_t head_sweep(head *h);
/* Give memory back that nothing uses, as far as that can be told cheaply. The append lock is held. */
void head_tidy(head *h);
/* Find min_t_ms and max_t_ms anew. The append lock is held. */
void head_measure(head *h);
/* What the head holds, for its budget. */
size_t head_bytes(const head *h);

/* Runs of chunks. */
CHECKED err_kind chunk_run_push(chunk_run **r, chunk *c);
void chunk_run_free(chunk_run *r);
