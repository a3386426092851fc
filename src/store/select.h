/* store/select.h - a selection under construction: what select*.c share, nobody else's business.
 *
 *   select.c        which sources, their series put together     select_head.c   series of the head
 *   select_block.c  series of a block                            select_read.c   samples of a series
 *   select_tier.c   raw samples or roll-ups, from when to when
 *
 * Each source (a block, the head) gives parts; parts of one label set form a series of the selection. The
 * head is looked at first and the blocks after it: a cut in between shows samples twice, which the merge
 * drops, and never not at all. Sources are ordered roll-ups, blocks by number, late samples, then head; where two have
 * a sample at one time, the later source wins. */
#pragma once
#include "store/inside.h"
#include <stdatomic.h>

#define SOURCE_HEAD UINT32_MAX
#define SOURCE_LATE (UINT32_MAX - 1) /* of the head: samples that came late */

typedef struct piece {
    str bytes;
    int64_t min_t_ms, max_t_ms;
    uint32_t count;
    uint8_t kind;      /* chunk_kind */
    chunk *owner;      /* counted; NULL: bytes lie in the arena or in a block */
    const block *in;   /* NULL: not in a block, … */
    union {
        block_page page; /* … else its page, and `bytes` is empty */
        double v;        /* PIECE_SAMPLE: one sample at min_t_ms, without a chunk */
    };
} piece;
#define PIECE_SAMPLE 0x80 /* a kind beside chunk_kind's */

typedef struct part {
    labels labels;
    piece *at;             /* of a kind oldest first; NULL in a selection of labels only */
    piece *counts;         /* of a mean: `at` are sums, these how many samples each stands for */
    uint32_t len, counts_len, source;
    int64_t from_ms, to_ms; /* what lies outside is another source's */
} part;

typedef struct group { size_t first, end; } group; /* parts of one series */
typedef struct run { size_t first, end; bool sorted; } run; /* parts of one source */

/* A block, and what of its times counts. `column`: of a tier, which of its series; empty: raw. */
typedef struct select_from { block *b; int64_t from_ms, to_ms; store_tier tier; str column; } select_from;

struct store_selection {
    arena arena;
    vec(part) parts;
    vec(run) runs;
    vec(group) series;
    vec(select_from) blocks;
    vec(select_source) sources;
    vec(piece) scratch;
    label_texts *texts;    /* counted; what the head's labels point to */
    select_limits limits;
    select_hints hints;
    int64_t from_ms, to_ms;
    int64_t raw_from_ms, raw_to_ms; /* where raw samples are wanted */
    store_tier tier;       /* the coarsest that was read */
    bool counts;           /* raw samples stand for themselves in a count: each is 1 */
    uint64_t chunks;
    _Atomic uint64_t samples;
};

/* Does min_t_ms..max_t_ms touch the selection's range? */
static inline bool select_overlaps(const store_selection *sel, int64_t min_t_ms, int64_t max_t_ms)
{
    return min_t_ms <= sel->raw_to_ms && max_t_ms >= sel->raw_from_ms;
}

/* ---- select.c ---- */
/* Takes `p` over (its owners are let go by store_select_free). ERR_LIMIT beyond limits.max_series of *count; then, and
 * on ERR_NOMEM, `p` is still the caller's. */
CHECKED err_kind select_add_part(store_selection *sel, part p, size_t *count, err *e);
void part_done(part *p);
/* Does any sample of the part lie in the range? Only a piece that reaches over both ends needs a look inside. */
bool part_has_samples(const store_selection *sel, const part *p);

/* ---- select_head.c ---- */
/* All series at one moment, so that a batch is seen whole or not at all. */
CHECKED err_kind select_head(store *s, store_selection *sel, const matcher *m, size_t n, err *e);

/* ---- select_block.c ---- */
/* In the order of their labels. `source`: its place in sel->blocks. */
CHECKED err_kind select_block(store_selection *sel, uint32_t source, const matcher *m, size_t n, err *e);

/* ---- select_tier.c ---- */
/* Say from when to when raw samples are wanted: before the head is looked at. */
void select_range(store *s, store_selection *sel);
/* Hold the blocks that the range and the hints ask for, counted, in sel->blocks: the coarsest tier first. */
CHECKED err_kind select_blocks(store *s, store_selection *sel, err *e);
