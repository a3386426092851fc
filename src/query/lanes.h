/* query/lanes.h - four doubles side by side, with the compiler's vectors.
 *
 * Compensated sums wait for themselves, four additions deep; independent ones keep the machine busy. Four, because GCC
 * takes a vector that is wider than the machine's registers apart into single numbers (measured with 12.2). The operations and their order within one sum are kahan_add's, so results are the same to the last bit. */
#pragma once
#include "query/eval.h"

/* The machine's wider registers where it has them; plain `avx2` has no fused multiply-add, which would round once less. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

#define LANES 4
typedef double lanes __attribute__((vector_size(LANES * sizeof(double))));
typedef int64_t lane_bits __attribute__((vector_size(LANES * sizeof(int64_t))));
#define LANE_ABS(x) ((lanes)((lane_bits)(x) & INT64_MAX))
#define LANE_PICK(mask, yes, no) ((lanes)(((mask) & (lane_bits)(yes)) | (~(mask) & (lane_bits)(no))))
/* kahan_add for four sums, without its look at infinity: a sum that has met one is not finite at the end. */
#define LANE_ADD(sum, c, inc)                                                       \
    do {                                                                            \
        lanes t_ = (sum) + (inc);                                                   \
        lane_bits larger_ = LANE_ABS(sum) >= LANE_ABS(inc);                         \
        (c) += (LANE_PICK(larger_, sum, inc) - t_) + LANE_PICK(larger_, inc, sum);  \
        (sum) = t_;                                                                 \
    } while (0)
