/* store/block.h - one immutable file of samples: pages of columns, and the index that finds them.
 *
 *   header | pages … | symbols | axes | axis offsets | series | series offsets | lists | table | replaces | footer
 *            ^ XXH3-32 each  '------------------- one XXH3 over the index ---------------------'  ^ its own XXH3
 *
 * A page is a run of at most COLUMN_MAX values of one series (column.h), or of its times. Pages with equal bytes are
 * written once, so series scraped together share their times; the runs of times a series consists of are its axis, and
 * axes are shared too. Byte by byte: docs/formats/block.md. Written beside, fsynced, renamed: a block is there whole or
 * not at all. Read through mmap; every offset from the file is checked against its section at each use, so a damaged
 * block is an error, never a crash. Blocks may overlap in time; the one with the higher number wins where both have a
 * sample at the same time. Immutable and thread-safe once open: what is deleted (tombstone.h) is known at open, and a
 * deletion opens the block anew. */
#pragma once
#include "store/chunk.h"
#include "store/column.h"
#include "store/tombstone.h"
#include "store/wire.h"
#include "base/file.h"

#define BLOCK_VERSION 2u
#define BLOCK_HEADER_BYTES 16u
#define BLOCK_SECTIONS 9
#define BLOCK_FOOTER_BYTES 256u
#define BLOCK_SECTION_MAX_BYTES (UINT64_C(4) << 30) /* offsets inside a section of the index are 32 bits */
#define BLOCK_ROW_BYTES 16u                         /* of the table */
enum { BLOCK_LIST_GAPS, BLOCK_LIST_RUNS, BLOCK_LIST_BITMAP };
#define BLOCK_PAGES_MAX (1u << 20)                  /* of one series */
#define BLOCK_SUFFIX ".block"
#define BLOCK_DAMAGED_SUFFIX ".damaged"             /* behind the name of a file that could not be read */

/* ---- writing ---- */
typedef struct block_chunk {
    str bytes;
    int64_t min_t_ms, max_t_ms;
    uint32_t count;
    chunk_kind kind;             /* runs of histograms are kept as they are */
} block_chunk;
/* What the block stands for: with the WAL up to `wal_segment` replayed, samples before cut_t_ms are here. */
typedef struct block_cover { uint32_t wal_segment; int64_t cut_t_ms; } block_cover;

/* Writes one block, series after series; memory: the index (some 50 bytes a series) and one series' samples. One
 * thread. After an error the writer is good for nothing but block_writer_abort. */
typedef struct block_writer block_writer;
/* Creates `path`.tmp. *ret is yours until close or abort. */
CHECKED err_kind block_writer_open(const char *path, block_writer **ret, err *e);
/* The next series: after the one before in labels_cmp's order. Chunks may overlap in time: at one time the sample of the
 * later chunk counts. Borrowed for the call. Without any sample nothing is written.
 *   ERR_INVALID  labels not after those before      ERR_CORRUPT  a chunk does not decode
 *   ERR_LIMIT    the index or a series is too large  others: the file could not be written */
CHECKED err_kind block_writer_add(block_writer *w, labels l, const block_chunk *chunks, size_t n, err *e);
/* The same from samples: ascending, each time once. `others`: CHUNK_HISTOGRAM only. */
CHECKED err_kind block_writer_add_samples(block_writer *w, labels l, const sample *at, size_t len, const block_chunk *others,
                                          size_t others_len, err *e);
/* This block stands for others, which whoever finds both removes. Numbers are copied. */
CHECKED err_kind block_writer_replaces(block_writer *w, const uint32_t *numbers, size_t n, err *e);
uint64_t block_writer_series(const block_writer *w); /* written so far */
/* Index, fsync, rename, fsync of the folder. Frees the writer in every case; on an error nothing is left behind. */
CHECKED err_kind block_writer_close(block_writer *w, block_cover cover, err *e);
void block_writer_abort(block_writer *w); /* removes what is there; NULL is fine */

/* ---- reading ---- */
typedef struct block {
    _Atomic uint32_t refs;
    uint32_t number;             /* from the file's name; higher wins */
    uint64_t id;                 /* of this opening, unique in the process */
    char *path;                  /* owned; NULL for bytes in memory */
    const uint8_t *bytes;        /* the mapping */
    size_t size;
    int64_t min_t_ms, max_t_ms;
    uint64_t sample_count, chunk_count; /* chunks: pages of values */
    uint32_t series_count, symbol_count, axis_count;
    block_cover cover;
    str pages, symbols, axes, axis_offsets, series, offsets, lists, table, replaces;
    tombstones deleted;
    bool tombstones_lost;        /* the file is there and cannot be read: what it hid shows again */
    bool unchecked;              /* checksums of pages are taken for good: for the fuzzer */
    _Atomic bool damaged;        /* a page failed its checksum since this was opened */
} block;

/* Map and check a file, and the tombstones beside it.
 *   ERR_CORRUPT      footer, index checksum or a section's place is wrong
 *   ERR_UNSUPPORTED  written by another version of galen */
CHECKED err_kind block_open(const char *path, uint32_t number, block **ret, err *e);
block *block_ref(block *b);
void block_unref(block *b); /* NULL is fine */
/* Fill in sections and figures from bytes in memory; `checked`: compare checksums too (the fuzzer does not). */
CHECKED err_kind block_parse(str bytes, bool checked, block *ret, err *e);
/* The i-th block that this one replaces; false after the last. */
bool block_replaces(const block *b, size_t i, uint32_t *ret_number);

/* The numbers of the series that match all of m[0..n), ascending, appended to *out. */
typedef vec(uint32_t) u32_vec;
CHECKED err_kind block_match(const block *b, const matcher *m, size_t n, u32_vec *out, err *e);

/* One row of the table: a label and the series that have it. Rows are sorted by name, then value. */
typedef struct block_label { str name, value; uint32_t series; } block_label;
size_t block_label_count(const block *b);
CHECKED err_kind block_label_at(const block *b, size_t row, block_label *ret, err *e);
/* The rows of one name: *ret_first … *ret_end - 1. */
CHECKED err_kind block_label_rows(const block *b, str name, size_t *ret_first, size_t *ret_end, err *e);
/* The series of a row, ascending, appended to *out. */
CHECKED err_kind block_label_series(const block *b, size_t row, u32_vec *out, err *e);

/* One series: labels into `ret` (views into the mapping), and a walk over its pages. */
typedef struct block_entry {
    label labels[LABELS_MAX];
    size_t label_count;
    uint32_t number;
    wire_cursor rest, axis;      /* what is not yet read of the series and of its axis */
    uint64_t pages_left, value_end, time_end;
    int64_t t_ms;                /* end of the page before */
    tombstone_range deleted;
} block_entry;
/* ERR_CORRUPT if the entry makes no sense. */
CHECKED err_kind block_read_series(const block *b, uint32_t i, block_entry *ret, err *e);

/* A page of values with its times; small, may be kept as long as the block. */
typedef struct block_page {
    chunk_kind kind;
    uint32_t count;              /* samples, the deleted ones among them */
    int64_t min_t_ms, max_t_ms;
    uint64_t time_at, value_at;  /* places in the section of pages */
    uint32_t time_len, value_len;
    tombstone_range deleted;     /* hidden by block_decode */
} block_page;
/* Pages come in the order of their first time; those that are deleted whole are left out. ERR_NOT_FOUND after the last;
 * ERR_CORRUPT. */
CHECKED err_kind block_next_page(const block *b, block_entry *entry, block_page *ret, err *e);
/* Append the page's samples in from_ms..to_ms (both inclusive) that are not deleted; nothing for a page of histograms.
 *   ERR_CORRUPT  the page fails its checksum or does not decode: *out is as it was, and b->damaged is set */
CHECKED err_kind block_decode(const block *b, const block_page *p, int64_t from_ms, int64_t to_ms, sample_vec *out, err *e);
/* Does it have a sample in from_ms..to_ms that is not deleted? Looks at the times only; true if they are damaged. */
bool block_page_has(const block *b, const block_page *p, int64_t from_ms, int64_t to_ms);
/* The same for histograms, which live in `a`; nothing for a page of floats. */
CHECKED err_kind block_decode_histograms(const block *b, const block_page *p, int64_t from_ms, int64_t to_ms, arena *a, histogram_vec *out, err *e);
/* The bytes of a page of histograms as they were put, the deleted ones among them, appended to *out (block_chunk.bytes of another writer). */
CHECKED err_kind block_histogram_bytes(const block *b, const block_page *p, buf *out, err *e);
