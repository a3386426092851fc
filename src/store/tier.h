/* store/tier.h - roll-ups: one point a step (5 m, 1 h) for each of six columns, kept longer than raw samples.
 *
 *   raw     …….….……|.….……….|……..…       a point at t stands for the samples in (t - step, t], as a range selector does
 *   tier          t1        t2
 *
 * Each column is a series of its own in the tier's blocks: the labels of the raw one and ROLLUP_LABEL = count, sum, min,
 * max, last, or counter: the value as it would be if the counter had never been reset, so that rate() and increase() of
 * the points are those of the samples. Where the last sample of a step is a stale marker, so is the point of `last` and
 * `counter`; the other columns leave markers out. Native histograms are not rolled up.
 *
 * Made from raw blocks, in the order of time; the newest block of a tier says how far (block_cover.cut_t_ms: samples up to
 * there are rolled up), so after a crash the same step is made again or is already there, and never twice. What comes
 * late, behind that time, is in the raw blocks only. A counter goes on across blocks from the points before: what was
 * added to it for resets is the difference of its last points in `counter` and `last`. */
#pragma once
#include "store/blocks.h"

#define ROLLUP_LABEL STR("__rollup__")
#define TIER_SPAN_STEPS 12          /* a block is made when there are so many steps for it, at least; a flush does not wait */

/* Everything that is due; compact_lock is held. */
CHECKED err_kind tier_roll_up(store *s, tier_set *t, bool force, err *e);
/* Remove the blocks that are older than the tier keeps. */
CHECKED err_kind tier_expire(store *s, tier_set *t, err *e);
