/* store/compact.h - many small blocks become few large ones, in the background.
 *
 *   2 h  2 h  2 h | 2 h  2 h …        spans grow threefold (6 h, 18 h, …) up to a tenth of the retention, aligned to
 *   '---- 6 h ---'                    their own length; a span is merged once newer samples say that it is complete
 *
 * As Prometheus (tsdb/compact.go, LeveledCompactor). Blocks that overlap in time are merged too, once what they add is
 * worth writing the larger one again. The merged block says in its footer what it replaces (blocks.h), so a crash at any
 * step leaves either the old ones or the new one. What is deleted is left out, and a page that cannot be read: its block
 * is put aside then, and told.
 *
 * Nobody waits for a merge: it holds compact_lock, which appends and queries never take; readers' lock is held only while
 * pointers are exchanged. Whoever needs compact_lock (a deletion, the end) raises compact_wanted, and the merge gives up
 * before its next series. */
#pragma once
#include "store/blocks.h"

#define COMPACT_GROWTH 3                               /* each span is so many of the one before */
#define COMPACT_SPAN_MAX_MS (INT64_C(31) * 24 * 3600 * MS_PER_S)
#define COMPACT_OVERLAPS_MIN 4                         /* overlapping blocks that are merged whatever their sizes */

/* Which of `blocks` to merge now: appended to *job, ascending by number; none: nothing is due. `first_ms`: the shortest
 * span; `retention_ms` bounds the longest; `newest_ms`: spans that end before it are complete. */
CHECKED err_kind compact_plan(const block_vec *blocks, int64_t first_ms, int64_t retention_ms, int64_t newest_ms, bool force, block_vec *job);
/* Write one block for these and show it in their place. compact_lock is held. */
CHECKED err_kind compact_merge(store *s, block_set *set, block *const *in, size_t n, err *e);
