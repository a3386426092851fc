/* store/block.h - one immutable file of samples: chunks, and the index that finds them.
 *
 *   header | chunks … | symbols | series | series offsets | postings lists | postings table | footer
 *            ^ XXH3-32 each       '------------ one XXH3 over the index -----------'   ^ its own XXH3
 *
 * Byte by byte: docs/formats/block.md. Written beside, fsynced, renamed: a block is there whole or not at
 * all. Read through mmap; every offset from the file is checked against its section at each use, so a
 * damaged block is an error, never a crash. Blocks may overlap in time; the one with the higher number
 * wins where both have a sample at the same time. Thread-safe once open. */
#pragma once
#include "store/chunk.h"
#include "store/wire.h"
#include "base/file.h"

#define BLOCK_VERSION 1u
#define BLOCK_HEADER_BYTES 16u
#define BLOCK_FOOTER_BYTES 176u
#define BLOCK_SECTION_MAX_BYTES (UINT64_C(4) << 30) /* offsets inside a section are 32 bits */
#define BLOCK_SUFFIX ".block"

/* ---- writing ---- */
typedef struct block_chunk {
    str bytes;
    int64_t min_t_ms, max_t_ms;
    uint32_t count;
} block_chunk;
typedef struct block_series {
    labels labels;
    block_chunk *chunks; /* oldest first, not overlapping, at least one */
    size_t len;
} block_series;
/* What the block stands for: with the WAL up to `wal_segment` replayed, samples before cut_t_ms are here. */
typedef struct block_cover { uint32_t wal_segment; int64_t cut_t_ms; } block_cover;

/* `series` sorted by labels_cmp, without duplicates. On an error nothing is left behind. */
CHECKED err_kind block_write(const char *path, const block_series *series, size_t n, block_cover cover, err *e);

/* ---- reading ---- */
typedef struct block {
    _Atomic uint32_t refs;
    uint32_t number;             /* from the file's name; higher wins */
    char *path;                  /* owned; NULL for bytes in memory */
    const uint8_t *bytes;        /* the mapping */
    size_t size;
    int64_t min_t_ms, max_t_ms;
    uint64_t sample_count, chunk_count;
    uint32_t series_count, symbol_count;
    block_cover cover;
    str chunks, symbols, series, offsets, lists, table;
} block;

/* Map and check a file.
 *   ERR_CORRUPT      footer, index checksum or a section's place is wrong
 *   ERR_UNSUPPORTED  written by a newer galen */
CHECKED err_kind block_open(const char *path, uint32_t number, block **ret, err *e);
block *block_ref(block *b);
void block_unref(block *b); /* NULL is fine */
/* Fill in sections and figures from bytes in memory; `checked`: compare checksums too (the fuzzer does not). */
CHECKED err_kind block_parse(str bytes, bool checked, block *ret, err *e);

/* The numbers of the series that match all of m[0..n), ascending, appended to *out. */
typedef vec(uint32_t) u32_vec;
CHECKED err_kind block_match(const block *b, const matcher *m, size_t n, u32_vec *out, err *e);

/* One series: labels into `ret` (views into the mapping), and a walk over its chunks.
 * ERR_CORRUPT if the entry makes no sense. */
typedef struct block_entry {
    label labels[LABELS_MAX];
    size_t label_count;
    wire_cursor rest;            /* the chunk entries not yet read */
    uint64_t chunks_left, offset;
    int64_t t_ms;                /* end of the chunk before */
} block_entry;
CHECKED err_kind block_read_series(const block *b, uint32_t i, block_entry *ret, err *e);
/* ERR_NOT_FOUND after the last; ERR_CORRUPT. *ret_sum: what block_chunk_sum must give. */
CHECKED err_kind block_next_chunk(const block *b, block_entry *entry, block_chunk *ret, uint32_t *ret_sum, err *e);
uint32_t block_chunk_sum(str bytes);
