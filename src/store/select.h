/* store/select.h - a selection under construction: what select.c and select_head.c share, nobody else's business.
 *
 * Each source (a block, the head) gives parts; parts of one label set form a series of the selection. The
 * head is looked at first and the blocks after it: a cut in between shows samples twice, which the merge
 * drops, and never not at all. Sources are ordered blocks by number, then head; where two have a sample at
 * one time, the later source wins. */
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
    block_page page;   /* … else its page, and `bytes` is empty */
} piece;

typedef struct part {
    labels labels;
    piece *at;         /* of a kind oldest first */
    uint32_t len, source;
    int64_t from_ms;   /* what is before it has moved into blocks */
} part;

typedef struct group { size_t first, end; } group; /* parts of one series */

struct store_selection {
    arena arena;
    vec(part) parts;
    vec(group) series;
    vec(block *) blocks;
    label_texts *texts;      /* counted; what the head's labels point to */
    select_limits limits;
    int64_t from_ms, to_ms;
    uint64_t chunks;
    _Atomic uint64_t samples;
};

/* Does min_t_ms..max_t_ms touch the selection's range? */
static inline bool select_overlaps(const store_selection *sel, int64_t min_t_ms, int64_t max_t_ms)
{
    return min_t_ms <= sel->to_ms && max_t_ms >= sel->from_ms;
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
