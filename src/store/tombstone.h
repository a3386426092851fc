/* store/tombstone.h - what is deleted of a block: series and times that do not show any more.
 *
 *   header | entries … | XXH3        beside the block: 00000007.tombstones for 00000007.block
 *
 * A block is immutable, so a deletion is a small file of its own, written beside and renamed (docs/formats/tombstone.md).
 * Compaction leaves the deleted samples out and the file goes with its block. The idea is Prometheus's (tsdb/tombstones).
 * Invariants: sorted by series, then time; ranges of one series neither touch nor overlap. */
#pragma once
#include "store/store.h"
#include "base/file.h"

#define TOMBSTONES_SUFFIX ".tombstones"
#define TOMBSTONES_MAX (16u << 20) /* ranges of one block; more is ERR_LIMIT: clean first */

typedef struct tombstone { uint32_t series; int64_t from_ms, to_ms; } tombstone; /* both inclusive */
typedef vec(tombstone) tombstones;
typedef struct tombstone_range { const tombstone *at; size_t len; } tombstone_range;

/* The ranges of one series; borrowed. */
tombstone_range tombstones_of(const tombstones *t, uint32_t series);
/* Is all of from_ms..to_ms deleted? */
bool tombstone_covers(tombstone_range r, int64_t from_ms, int64_t to_ms);

/* Sort and join what was pushed in any order. */
void tombstones_tidy(tombstones *t);
/* The path of a block's tombstones. */
CHECKED err_kind tombstones_path(char out[FILE_PATH_MAX], const char *block_path, err *e);
/* Replaces the file; durable when it returns. `t` is tidy. */
CHECKED err_kind tombstones_write(const char *path, const tombstones *t, err *e);
/* No file: nothing is deleted. ERR_CORRUPT: the bytes are no tombstones; *ret is empty. */
CHECKED err_kind tombstones_read(const char *path, uint32_t series_count, tombstones *ret, err *e);
CHECKED err_kind tombstones_parse(str bytes, bool checked, uint32_t series_count, tombstones *ret, err *e);
