/* store/block_writer.h - the inside of a block's writer: block_write.c takes series and writes their pages,
 * block_index.c the index behind them. Of these two only.
 *
 * The index is gathered while series come: symbols and pairs by number of arrival, entries as they will be but for
 * these numbers. At the end both are sorted and the entries written with their places, so that a reader can halve. */
#pragma once
#include "store/block.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

/* Where bytes that were written once can be found again; 128 bits of a seeded hash stand for the bytes. */
typedef struct shared { XXH128_hash_t hash; uint64_t at; uint32_t len; } shared;

typedef struct place { uint64_t at; uint32_t len; } place; /* in the section of pages */

/* The times of a run as they were written last: neighbours most often have the same. */
typedef struct known_times { int64_t t_ms[COLUMN_MAX]; size_t n; uint64_t at; uint32_t len; } known_times;
#define KNOWN_RUNS 16u

/* A label as a pair of symbols; open addressing by both numbers. */
typedef struct pair { uint32_t name, value; } pair;
typedef struct pair_map { uint32_t *at; size_t cap; } pair_map; /* number of the pair + 1 */

struct block_writer {
    char path[FILE_PATH_MAX], temp[FILE_PATH_MAX];
    int fd;
    buf out;                     /* not yet written */
    uint64_t offset;             /* of the end of `out` in the file */
    uint64_t seed;
    shared *pages;               /* SHARED_SLOTS */
    known_times *times;          /* KNOWN_RUNS, by the run's number */

    arena texts;
    map ids;                     /* text -> symbol number + 1 */
    vec(str) symbols;
    vec(pair) pairs;
    pair_map pair_ids;
    vec(uint32_t) row_of;        /* at the end: pair -> row of the table */

    uint32_t before[LABELS_MAX]; /* pairs of the series before, and how many */
    size_t before_len;

    buf axes;
    vec(uint32_t) axis_offsets;
    map axis_ids;                /* bytes of an axis -> its number + 1 */
    buf entries;                 /* varint length, labels as pairs, …: see write_entry */
    buf replaces;
    buf bytes, packed;           /* of one page, one axis */
    sample_vec samples;          /* of one series */

    uint64_t series_count, chunk_count, sample_count;
    int64_t min_t_ms, max_t_ms;

    XXH3_state_t *sum;           /* of the index */
    bool summing;
};

/* Bytes behind what was written; part of the index's checksum while w->summing. Errors: the file's. */
CHECKED err_kind block_writer_put(block_writer *w, const void *bytes, size_t n, err *e);
CHECKED err_kind block_writer_put_u32(block_writer *w, uint32_t v, err *e);
/* The whole index; starts[i]: where section i begins in the file, the last: where the footer does. */
CHECKED err_kind block_writer_index(block_writer *w, uint64_t starts[BLOCK_SECTIONS + 1], err *e);

static inline void block_add_varint(buf *b, uint64_t v)
{
    uint8_t bytes[WIRE_VARINT_MAX];
    buf_append_bytes(b, bytes, (size_t)(wire_put_varint(bytes, v) - bytes));
}
