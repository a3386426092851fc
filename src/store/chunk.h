/* store/chunk.h - one compressed run of samples of one series.
 *
 * Timestamps are delta-of-delta coded, values XOR coded: Pelkonen et al., "Gorilla: A Fast, Scalable,
 * In-Memory Time Series Database", VLDB 2015, section 4.1; the widths of the timestamp codes are those of
 * Prometheus (tsdb/chunkenc/xor.go), chosen for milliseconds. Bit layout: docs/formats/chunk.md. Native histograms
 * have their own: store/histogram_chunk.h.
 *
 * A `chunk` is closed: immutable, counted, read without any lock. The one that still fills is a chain of small blocks
 * out of a pool (`filling`), so that a sample never waits for memory and an open run wastes half a block, not half of
 * what it holds. Timestamps strictly increase; bits once appended never change. */
#pragma once
#include "store/store.h"

#ifdef GALEN_TINY
#define CHUNK_MAX_SAMPLES 3
#define CHUNK_BLOCK_WORDS 2
#define CHUNK_SLAB_BLOCKS 4u
#else
#define CHUNK_MAX_SAMPLES 120
#define CHUNK_BLOCK_WORDS 7  /* with the link one cache line */
#define CHUNK_SLAB_BLOCKS 1024u
#endif
/* 4 + 64 bits of time and 2 + 5 + 6 + 64 bits of value are 145 bits at worst; the first sample has 128. */
#define CHUNK_SAMPLE_MAX_BITS 145u
#define CHUNK_SAMPLE_MAX_BYTES 19
#define CHUNK_BLOCK_BITS (64u * CHUNK_BLOCK_WORDS)
#define CHUNK_SAMPLE_MAX_BLOCKS ((CHUNK_SAMPLE_MAX_BITS + CHUNK_BLOCK_BITS - 1) / CHUNK_BLOCK_BITS)
/* A filling chunk is closed at CHUNK_MAX_SAMPLES; only without memory for that it goes on, up to this. */
#ifdef GALEN_TINY
#define CHUNK_HARD_MAX_SAMPLES 300u
#else
#define CHUNK_HARD_MAX_SAMPLES 60000u
#endif

/* What the bytes of a chunk are. On disk too: the numbers stay. */
typedef enum chunk_kind { CHUNK_XOR = 0, CHUNK_HISTOGRAM = 1 } chunk_kind;

/* ---- closed ---- */
typedef struct chunk {
    _Atomic uint32_t refs;
    uint32_t size;              /* of bytes[] */
    uint16_t count;
    uint8_t kind;               /* chunk_kind */
    int64_t min_t_ms, max_t_ms; /* first and last sample */
    uint8_t bytes[];
} chunk;

/* Room for `size` bytes, to be filled before anyone else sees it. NULL without memory. */
chunk *chunk_new(chunk_kind kind, uint32_t count, int64_t min_t_ms, int64_t max_t_ms, size_t size);
/* `n` samples (1 … CHUNK_HARD_MAX_SAMPLES, times rising). NULL without memory. */
chunk *chunk_of(const sample *at, size_t n);
chunk *chunk_ref(chunk *c);
void chunk_unref(chunk *c); /* NULL is fine */
static inline str chunk_bytes(const chunk *c) { return str_of((const char *)c->bytes, c->size); }

/* ---- filling ---- */
/* Blocks of one cache line, 64 KiB of them at a time. One writer. */
typedef struct chunk_block { uint64_t words[CHUNK_BLOCK_WORDS]; uint32_t next; } chunk_block;
typedef struct chunk_slab { chunk_block *blocks; uint32_t free_count, first_free, next; } chunk_slab;
typedef struct chunk_pool {
    vec(chunk_slab) slabs;
    uint32_t roomy;             /* slabs with free blocks, chained; UINT32_MAX: none */
    size_t free_count;          /* blocks that can be had without memory */
    size_t live_slabs;
} chunk_pool;
void chunk_pool_init(chunk_pool *p);
void chunk_pool_done(chunk_pool *p);
/* So many blocks are at hand. ERR_NOMEM. Readers may not look meanwhile: the head's lock is held. */
CHECKED err_kind chunk_pool_reserve(chunk_pool *p, size_t blocks);
/* Give the slabs back that are wholly free. */
void chunk_pool_tidy(chunk_pool *p);
static inline size_t chunk_pool_bytes(const chunk_pool *p) { return p->live_slabs * CHUNK_SLAB_BLOCKS * sizeof(chunk_block); }
static inline chunk_block *chunk_block_at(const chunk_pool *p, uint32_t i)
{
    return &p->slabs.at[i / CHUNK_SLAB_BLOCKS].blocks[i % CHUNK_SLAB_BLOCKS];
}

/* The writer's place in a run that fills. All zero: empty. */
typedef struct filling {
    int64_t last_t_ms;
    uint64_t last_bits, last_delta;
    uint32_t tail, first;       /* blocks + 1; 0: none */
    uint16_t tail_bits, blocks, count;
    uint8_t leading, trailing;  /* the window of the last XOR; leading 0xff: none yet */
} filling;

/* Blocks that the next sample may need. */
static inline uint32_t filling_need(const filling *f)
{
    return f->count && f->tail_bits + CHUNK_SAMPLE_MAX_BITS <= CHUNK_BLOCK_BITS ? 0 : CHUNK_SAMPLE_MAX_BLOCKS;
}
/* One sample behind the last one; the blocks were reserved. `t_ms`: Unix time in milliseconds. `v`: any double; NaN
 * payloads survive, staleness is one of them. Never allocates. */
void filling_put(filling *f, chunk_pool *p, int64_t t_ms, double v);
static inline size_t filling_bits(const filling *f) { return f->blocks ? (f->blocks - 1u) * CHUNK_BLOCK_BITS + f->tail_bits : 0; }
static inline size_t filling_size(const filling *f) { return (filling_bits(f) + 7) / 8; }
/* The bytes so far, filling_size of them. */
void filling_copy(const filling *f, const chunk_pool *p, uint8_t *out);
/* As a closed chunk; NULL without memory. count > 0. */
chunk *filling_close(const filling *f, const chunk_pool *p);
/* Empty it; its blocks go back to the pool. */
void filling_clear(filling *f, chunk_pool *p);
/* The first sample's time; count > 0. */
int64_t filling_min_t(const filling *f, const chunk_pool *p);

/* ---- reading ---- */
/* A walk over `count` samples in `bytes` (borrowed). Bytes may be foreign: what does not decode ends the
 * walk and sets `bad`. */
typedef struct chunk_iter {
    const uint8_t *bytes;
    size_t len, bit;
    uint32_t left;
    uint8_t leading, trailing;
    bool started, bad;
    int64_t t_ms;
    uint64_t delta, value_bits;
} chunk_iter;
chunk_iter chunk_samples(str bytes, uint32_t count);
bool chunk_next(chunk_iter *it, sample *ret);

/* Append the samples in from_ms..to_ms (both inclusive) to *out.
 *   ERR_CORRUPT  the bytes are no chunk of `count` samples; *out keeps what came before
 *   ERR_NOMEM    *out is unchanged */
CHECKED err_kind chunk_decode(str bytes, uint32_t count, int64_t from_ms, int64_t to_ms, sample_vec *out);
