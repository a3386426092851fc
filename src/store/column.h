/* store/column.h - a run of values, or of times, of one series, as blocks keep it.
 *
 *   numbers -> whole numbers -> residuals of a predictor -> patches | Huffman coded tops | packed low bits
 *
 * Values that are decimals are kept as v * 10^k (Afroozeh et al., "ALP: Adaptive Lossless floating-Point Compression",
 * SIGMOD 2024, section 3.1), others as their bits in the order of their size, so that doubles near each other give
 * whole numbers near each other; what does not fit (NaN, staleness, -0.0 among decimals) is kept apart. The predictor
 * is the first value, the one before, or a line through the two before (Pelkonen et al., "Gorilla", VLDB 2015, 4.1.1).
 * Of a residual the lowest bits are noise and packed as they are; the bits above them get a canonical Huffman code of
 * the column's own, in four interleaved streams as in zstd (RFC 8878, 4.2.2); what is far outside is a patch (PFOR:
 * Zukowski et al., "Super-Scalar RAM-CPU Cache Compression", ICDE 2006). Bytes: docs/formats/column.md.
 *
 * Lossless to the bit. Bytes may be foreign: what makes no sense is refused, never believed. No state, no threads. */
#pragma once
#include "base/base.h"

#ifdef GALEN_TINY
#define COLUMN_MAX 8u
#else
#define COLUMN_MAX 512u      /* numbers in a column: a short read decodes at most so many for nothing */
#endif
/* Readers load eight bytes at once: so many behind a column must be readable, whatever they are. */
#define COLUMN_SLACK_BYTES 8u

/* Append 1 … COLUMN_MAX numbers to *out. Without memory `out` says so (buf_failed). */
void column_put_values(buf *out, const double *v, size_t n);
void column_put_times(buf *out, const int64_t *t_ms, size_t n);

/* All n numbers, as many as were put. False: the bytes are no such column. */
CHECKED bool column_values(str bytes, size_t n, double *ret);
CHECKED bool column_times(str bytes, size_t n, int64_t *ret);
