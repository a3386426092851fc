/* store/merge.h - the series of several blocks in the order of their labels, each once.
 *
 * One walk for compaction and roll-ups. Blocks are given by number, ascending: where two have a sample at one time, the
 * later counts. What is deleted does not come. One thread. */
#pragma once
#include "store/block.h"

typedef struct merge_source {
    const block *b;              /* borrowed */
    uint32_t next;               /* series to read after this one */
    bool has, mine;              /* `entry` is read; it belongs to the series of the walk */
    block_entry entry;
} merge_source;

typedef struct merge {
    merge_source *at;
    size_t len;
    uint64_t lost;               /* samples in pages that could not be read */
    buf bytes;                   /* of the series' histograms as they were, … */
    arena arena;                 /* … or one by one, … */
    vec(chunk *) chunks;         /* … and coded anew */
} merge;

CHECKED err_kind merge_init(merge *m, block *const *blocks, size_t n, err *e);
void merge_done(merge *m);
/* The next series; its labels are valid until the next call. ERR_NOT_FOUND after the last, ERR_CORRUPT. */
CHECKED err_kind merge_next(merge *m, labels *ret, err *e);
/* Its float samples in from_ms..to_ms, ascending, each time once; *out is emptied first. A page that cannot be read is
 * left out and counted in m->lost. */
CHECKED err_kind merge_samples(merge *m, int64_t from_ms, int64_t to_ms, sample_vec *out, err *e);
/* Its histograms as chunks that do not overlap; *out is emptied first. Runs are taken over as they are, unless they overlap
 * or some of them is deleted. Valid until the next call. */
typedef vec(block_chunk) block_chunk_vec;
CHECKED err_kind merge_histograms(merge *m, block_chunk_vec *out, err *e);

/* Where the walk is, to come back: `places` has room for m->len. The series given last comes again then. */
void merge_tell(const merge *m, uint32_t *places);
void merge_seek(merge *m, const uint32_t *places);
