/* store/histogram_chunk.h - one compressed run of native histograms of one series.
 *
 * A sample repeats its layout (schema, spans, bounds) only when that differs from the sample's before it; counts are
 * differences to that sample's, as varints while they are whole numbers, else XORed like the sum. Byte layout:
 * docs/formats/histogram-chunk.md. The idea is Prometheus's (tsdb/chunkenc/histogram.go); the bytes are our own.
 *
 * A closed run is a `chunk` of kind CHUNK_HISTOGRAM. */
#pragma once
#include "store/chunk.h"
#include "store/wire.h"

/* A run is closed when it has grown to this, however few its samples. */
#define HISTOGRAM_CHUNK_BYTES (64u << 10)

/* A copy in one allocation; mem_free. NULL without memory. */
histogram *histogram_clone(const histogram *h);

/* ---- filling: one writer ---- */
typedef struct histogram_filling {
    uint8_t *bytes;             /* owned */
    size_t len, cap;
    uint32_t count;
    int64_t min_t_ms, last_t_ms;
    uint64_t last_delta;
    histogram *last;            /* owned; the newest sample, also of the run before. NULL: none */
} histogram_filling;
void histogram_filling_done(histogram_filling *f);
/* Most bytes that one sample can take, whatever is before it. */
size_t histogram_code_max(const histogram *h);
/* Room for `bytes` more. ERR_NOMEM: unchanged. */
CHECKED err_kind histogram_filling_reserve(histogram_filling *f, size_t bytes);
/* One sample behind the last one. `own` is taken: from histogram_clone. Room for it was reserved. */
void histogram_filling_put(histogram_filling *f, int64_t t_ms, histogram *own);
/* As a closed chunk; NULL without memory. count > 0. */
chunk *histogram_filling_close(const histogram_filling *f);
/* Empty, with the last sample still known. */
void histogram_filling_clear(histogram_filling *f);

/* `n` histograms (at least one, times rising) as a closed chunk. ERR_NOMEM. */
CHECKED err_kind histogram_chunk_of(const histogram_sample *at, size_t n, chunk **ret);

/* ---- one alone, as the log keeps it ---- */
uint8_t *histogram_put(uint8_t *at, const histogram *h); /* histogram_code_max(h) bytes of room */
/* ERR_CORRUPT, ERR_NOMEM (also: the arena is full). */
CHECKED err_kind histogram_get(wire_cursor *c, arena *a, histogram **ret);

/* ---- reading ---- */
/* Append the samples in from_ms..to_ms (both inclusive) to *out; what they point to lives in `a`. Bytes may be foreign.
 *   ERR_CORRUPT  the bytes are no run of `count` histograms; *out keeps what came before
 *   ERR_NOMEM */
CHECKED err_kind histogram_chunk_decode(str bytes, uint32_t count, int64_t from_ms, int64_t to_ms, arena *a, histogram_vec *out);
