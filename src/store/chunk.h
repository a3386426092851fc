/* store/chunk.h - one compressed run of samples of one series.
 *
 * Timestamps are delta-of-delta coded, values XOR coded: Pelkonen et al., "Gorilla: A Fast, Scalable,
 * In-Memory Time Series Database", VLDB 2015, section 4.1; the widths of the timestamp codes are those of
 * Prometheus (tsdb/chunkenc/xor.go), chosen for milliseconds. Bit layout: docs/formats/chunk.md.
 *
 * Invariants: timestamps strictly increase; bits once appended never change, only the last byte still
 * fills. One writer. Readers of a chunk that still fills copy its bytes under the shard's lock; a chunk
 * that is closed is immutable, counted, and read without any lock. */
#pragma once
#include "store/store.h"

#ifdef GALEN_TINY
#define CHUNK_MAX_SAMPLES 3
#else
#define CHUNK_MAX_SAMPLES 120
#endif
/* 4 + 64 bits of time and 2 + 5 + 6 + 64 bits of value are 145 bits at worst; the first sample has 128. */
#define CHUNK_SAMPLE_MAX_BYTES 19
#define CHUNK_SLACK_BYTES 9 /* the bit writer stores 8 bytes at a time and may touch a ninth */
#define CHUNK_START_BYTES 48

typedef struct chunk chunk;
struct chunk {
    _Atomic uint32_t refs;
    uint32_t bits;              /* used of bytes[] */
    uint32_t cap;               /* bytes in bytes[], the slack not counted */
    uint16_t count;
    uint8_t leading, trailing;  /* the window of the last XOR; leading 0xff: none yet */
    int64_t min_t_ms, max_t_ms; /* first and last sample; only meaningful when count > 0 */
    uint64_t last_delta, last_bits;
    chunk *next;                /* for chains of spares; a chunk in use has NULL */
    uint8_t bytes[];
};

/* An empty chunk with room for `samples` (at least one, at most CHUNK_MAX_SAMPLES count). NULL without memory. */
chunk *chunk_new(unsigned samples);
chunk *chunk_ref(chunk *c);
void chunk_unref(chunk *c); /* NULL is fine */

/* Room for `samples` more at their worst size. *c may move; nobody else may hold it. ERR_NOMEM: unchanged. */
CHECKED err_kind chunk_reserve(chunk **c, unsigned samples);

/* Append one sample. `t_ms`: Unix time in milliseconds. `v`: any double; NaN payloads survive,
 * staleness is one of them. At most CHUNK_SAMPLE_MAX_BYTES, O(1), never allocates.
 *   ERR_OUT_OF_ORDER  t_ms is not after the last sample
 *   ERR_FULL          CHUNK_MAX_SAMPLES reached, or no room reserved
 * On error the chunk is unchanged. */
CHECKED err_kind chunk_append(chunk *c, int64_t t_ms, double v);

/* The chunk without the unused end of its room. Returns its new place; keeps the old if memory is short. */
chunk *chunk_shrink(chunk *c);

static inline size_t chunk_size(const chunk *c) { return (c->bits + 7) / 8; }
static inline str chunk_bytes(const chunk *c) { return str_of((const char *)c->bytes, chunk_size(c)); }

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
