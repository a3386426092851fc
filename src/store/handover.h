/* store/handover.h - what the head gives away: to a block, to a checkpoint.
 *
 * A copy of the pointers, so that no lock is held while files are written: closed chunks are counted, the filling one
 * is copied. The care lock is held for the life of a holding: series do not go away. */
#pragma once
#include "store/inside.h"

#define CARE_MAX_BYTES ((size_t)16 << 30)    /* tables of one cut: about 100 bytes a series and chunk */

typedef struct held { chunk **at; size_t len; series *series; int64_t after_ms; } held;
typedef struct holding {
    arena arena;
    vec(held) series;
} holding;

typedef struct block_series { labels labels; block_chunk *chunks; size_t len; } block_series;

void holding_done(holding *h);
/* Series of shard `i` with samples before cut_ms; with `empty` the others too. ERR_NOMEM: `h` keeps what it had. */
CHECKED err_kind holding_take_shard(store *s, uint32_t i, int64_t cut_ms, bool empty, holding *h);
/* The held chunks as the block wants them: inside (after_ms, cut_ms). Clipped ones replace theirs in `hold`. */
CHECKED err_kind holding_block_series(holding *hold, held *h, int64_t cut_ms, block_series *ret);
/* What `h` holds is in a block now: let it go from the head. */
void holding_trim_head(store *s, const holding *h);
/* What is older goes from the head. */
void head_expire(store *s, int64_t oldest_ms);

/* checkpoint.c: the head as it is, for the segments up to `segment`; then these and older checkpoints are removed. */
CHECKED err_kind checkpoint_write(store *s, uint32_t segment, err *e);
CHECKED err_kind checkpoint_remove_covered(store *s, uint32_t covered, err *e);
