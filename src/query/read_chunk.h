/* query/read_chunk.h - samples as the chunks of a streamed remote read: Prometheus's own encodings.
 *
 * Source: Prometheus tsdb/docs/format/chunks.md and tsdb/chunkenc/{xor,float_histogram,varbit}.go. Written into a buf,
 * whose failure is sticky. No state, no threads. */
#pragma once
#include "store/store.h"

#define READ_CHUNK_SAMPLES 120   /* of one chunk, as Prometheus cuts them */

/* `n` samples with rising times, 1 <= n <= 65535, as one XOR chunk. */
void read_chunk_put_floats(buf *out, const sample *at, size_t n);
/* One histogram as a float histogram chunk of one sample: what comes next may have another layout, and the reader of a
 * remote read does not keep chunks. */
void read_chunk_put_histogram(buf *out, const histogram_sample *s);
