/* store/handover.h - what the head gives away: its series in the order of their labels, one at a time.
 *
 *   handover_begin -> handover_next … ERR_NOT_FOUND -> (a block holds it all) handover_trim -> handover_done
 *
 * No lock is held while the caller writes: each series is looked at when its turn comes. Samples that come meanwhile
 * stay in the head and are not trimmed. The care lock is held all the time, so that series do not go away.
 * Memory: some 50 bytes a series, 24 a label pair, and one series' chunks. */
#pragma once
#include "store/inside.h"

typedef struct handed {
    uint64_t key;              /* ranks of its first two labels */
    const uint32_t *pairs;
    uint32_t slot;
    uint8_t label_count;
    bool given;
    uint32_t late;             /* packed late chunks that were given */
    int64_t upto_ms;           /* in order and given; INT64_MIN: nothing */
    chunk_run *rest;           /* of the late ones what stays */
} handed;

typedef struct handover {
    store *s;
    int64_t cut_ms;
    vec(handed) series;        /* by labels */
    size_t next;
    label_texts *texts;
    label *pairs;              /* by id */
    label labels[LABELS_MAX];  /* of the series at hand */
    chunk_run *held;
    vec(block_chunk) chunks;
} handover;

/* All series with samples before cut_ms. ERR_NOMEM: only handover_done is left to do. */
CHECKED err_kind handover_begin(handover *h, store *s, int64_t cut_ms);
/* The next series' chunks, clipped to what is before cut_ms and not in a block yet; at least one. Late ones come first
 * and may overlap the others, which win where both have a sample at one time. Valid until the next call.
 *   ERR_NOT_FOUND  that was the last;  ERR_NOMEM */
CHECKED err_kind handover_next(handover *h, labels *ret_labels, const block_chunk **ret_chunks, size_t *ret_n);
/* What was given is in a block now: let it go from the head. */
void handover_trim(handover *h);
void handover_done(handover *h);

/* What is older goes from the head. */
void head_expire(store *s, int64_t oldest_ms);
/* Series without samples go, and memory that is not needed any more. The append lock is held. */
void head_forget(store *s);

/* checkpoint.c: the head as it is, for the segments up to `segment`; then these and older checkpoints are removed. */
CHECKED err_kind checkpoint_write(store *s, uint32_t segment, err *e);
CHECKED err_kind checkpoint_remove_covered(store *s, uint32_t covered, err *e);
