/* store/prom_chunk.h - chunks as Prometheus writes them, decoded.
 *
 * Source: Prometheus tsdb/docs/format/chunks.md and tsdb/chunkenc/{xor,histogram,float_histogram,varbit}.go. What
 * galen reads of it byte by byte: docs/formats/prometheus.md. The bytes are foreign: what does not decode is
 * ERR_CORRUPT, and no count from them is believed before the bits for it are there. */
#pragma once
#include "store/store.h"

typedef enum prom_encoding { PROM_XOR = 1, PROM_HISTOGRAM = 2, PROM_FLOAT_HISTOGRAM = 3 } prom_encoding;

/* Append the samples of an XOR chunk to *out, oldest first.
 *   ERR_CORRUPT  the bytes end too early, make no sense, or their times do not rise; ERR_NOMEM. *out then keeps what
 *                came before. */
CHECKED err_kind prom_chunk_samples(str data, sample_vec *out, err *e);

/* The same for native histograms with whole (PROM_HISTOGRAM) or floating counts; values live in `a`.
 *   ERR_LIMIT  more than HISTOGRAM_MAX_BUCKETS buckets */
CHECKED err_kind prom_chunk_histograms(str data, prom_encoding encoding, arena *a, histogram_vec *out, err *e);
