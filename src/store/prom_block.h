/* store/prom_block.h - one block of a Prometheus data directory, read where it lies.
 *
 *   01J…/meta.json  index  chunks/000001 …  tombstones
 *
 * Source: Prometheus tsdb/docs/format/{index,chunks,tombstones}.md; docs/formats/prometheus.md says what galen reads of
 * it. Everything is mapped read-only. The bytes are foreign: every offset is checked at every use, every checksum where
 * its bytes are used. Thread-safe once open. */
#pragma once
#include "base/file.h"
#include "store/prom_chunk.h"

#define PROM_BLOCK_CHUNK_FILES_MAX 65536u

typedef struct prom_interval { uint64_t series; int64_t from_ms, to_ms; } prom_interval;
typedef struct prom_block {
    char dir[FILE_PATH_MAX];
    str index;                       /* mapped */
    vec(str) files;                  /* of chunks, mapped; number 1 first */
    vec(uint32_t) symbols;           /* offsets in the index */
    str refs;                        /* all series, in the order of their labels: u32 big endian each */
    vec(prom_interval) deleted;      /* by series */
    int64_t min_t_ms, max_t_ms;      /* as meta.json says; the end is not included */
} prom_block;

/* Is `dir` a block: a folder with a meta.json and an index? */
bool prom_block_is(const char *dir);
/*   ERR_NOT_FOUND    a part of it is missing
 *   ERR_CORRUPT      a checksum or an offset is wrong
 *   ERR_UNSUPPORTED  another version of the format */
CHECKED err_kind prom_block_open(const char *dir, prom_block **ret, err *e);
void prom_block_free(prom_block *b); /* NULL is fine */
void prom_block_freep(prom_block **b);
/* For bytes in memory (the fuzzer): the index alone, its checksums taken for good. */
CHECKED err_kind prom_block_parse_index(prom_block *b, bool checked, err *e);
CHECKED err_kind prom_block_parse_tombstones(prom_block *b, str bytes, bool checked, err *e);

typedef struct prom_chunk_meta { int64_t min_t_ms, max_t_ms; uint64_t ref; } prom_chunk_meta;
typedef vec(prom_chunk_meta) prom_chunk_metas;
static inline size_t prom_block_series_count(const prom_block *b) { return b->refs.len / 4; }
/* Series i: its labels into `at` (views into the mapping), its chunks replace *chunks. ERR_CORRUPT, ERR_LIMIT (more
 * than LABELS_MAX labels), ERR_NOMEM. *ret_ref: what tombstones call it. */
CHECKED err_kind prom_block_series(const prom_block *b, size_t i, bool checked, label at[LABELS_MAX], labels *ret,
                                   uint64_t *ret_ref, prom_chunk_metas *chunks, err *e);
/* The bytes behind a chunk's ref. ERR_CORRUPT. */
CHECKED err_kind prom_block_chunk(const prom_block *b, uint64_t ref, bool checked, prom_encoding *ret_encoding, str *ret, err *e);
/* Was the sample of this series and time deleted? */
bool prom_block_deleted(const prom_block *b, uint64_t series, int64_t t_ms);
