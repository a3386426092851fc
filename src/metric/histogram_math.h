/* metric/histogram_math.h - calculating with native histograms.
 *
 * Source: Prometheus model/histogram/float_histogram.go (Add, Sub, Mul, Div, KahanAdd, DetectReset, TrimBuckets, Equals,
 * Compact, the bucket iterators), the same steps in the same order, so that results agree to the last digits.
 *
 * Two histograms meet at the coarser of their schemas and at the wider of their zero buckets; custom buckets with unlike
 * bounds meet at the bounds they share. Exponential and custom buckets never meet. */
#pragma once
#include "base/kahan.h"
#include "metric/histogram.h"

static inline bool histogram_is_custom(const histogram *h) { return h->schema == HISTOGRAM_CUSTOM; }

/* The bound between bucket `index` and the next one of an exponential schema: 2^(index / 2^schema). */
double histogram_bound(int8_t schema, int32_t index);
/* The same for the buckets of `h`, exponential or custom; infinity where the custom bounds end. */
double histogram_bucket_bound(const histogram *h, int64_t index);

/* ---- buckets one after another ---- */
typedef struct histogram_bucket { double lower, upper, count; bool lower_inclusive, upper_inclusive; } histogram_bucket;

/* All buckets but those without a count, negative side, zero bucket, positive side; upside down if `backward`. Buckets that
 * reach into the zero bucket are cut at its border.
 *     for (bucket_walk w = bucket_walk_all(h, false); bucket_walk_next(&w);) use(&w.at); */
typedef struct bucket_walk {
    const histogram *h;
    bool backward;
    uint8_t part, begun;       /* which of the three parts, and whether its first bucket was looked up */
    uint32_t span, in_span, bucket;
    int64_t index;
    histogram_bucket at;
} bucket_walk;
bucket_walk bucket_walk_all(const histogram *h, bool backward);
bool bucket_walk_next(bucket_walk *w);

/* ---- comparing ---- */
/* The same distribution: buckets without a count do not tell. */
bool histogram_same(const histogram *a, const histogram *b);
/* Did the counter start anew between the two? What the source said (`reset`) decides, else a count that fell. */
bool histogram_fell(const histogram *now, const histogram *before);

/* ---- sums: mutable, on the heap; 0 = empty ---- */
typedef struct histogram_cell { int32_t index; kahan count; } histogram_cell;
typedef vec(histogram_cell) histogram_cells;
typedef struct histogram_sum {
    bool compensated;              /* keep the small digits (sum and avg), or add plainly (+, -, rate) */
    int8_t schema;
    uint8_t reset;
    double zero_threshold;
    kahan zero, count, sum;
    histogram_cells side[2];       /* positive, negative; sorted by index */
    vec(double) bounds;
    bool reset_conflict;           /* one of the two was after a counter reset, the other was not */
    bool bounds_reconciled;        /* custom bounds were unlike */
    histogram_cells other[2], spare;  /* work space, kept from call to call */
} histogram_sum;
void histogram_sum_done(histogram_sum *s);
/* Start from `h`. ERR_NOMEM. */
CHECKED err_kind histogram_sum_set(histogram_sum *s, const histogram *h);
CHECKED err_kind histogram_sum_copy(histogram_sum *s, const histogram_sum *from);
/* Add `h` divided by `divisor` (1: add, -1: subtract). The two flags are set, never cleared.
 *   ERR_INVALID  exponential buckets met custom ones; the sum is unchanged */
CHECKED err_kind histogram_sum_add(histogram_sum *s, const histogram *h, double divisor);
void histogram_sum_coarsen(histogram_sum *s, int8_t schema);  /* no finer than this exponential schema */
void histogram_sum_scale(histogram_sum *s, double factor);
/* By 0, buckets vanish and the totals are what a division by 0 gives. */
void histogram_sum_divide(histogram_sum *s, double by);
bool histogram_sum_overflown(const histogram_sum *s);
double histogram_sum_largest(const histogram_sum *s);   /* of all counts and the sum, without sign */
/* The value, in `a`; buckets without a count are left out if `compact`. NULL without memory. */
histogram *histogram_sum_value(const histogram_sum *s, arena *a, bool compact);

/* ---- a histogram from a histogram; NULL without memory ---- */
histogram *histogram_scale(arena *a, const histogram *h, double factor, bool divide);
/* Only what was observed below (`upper`) or above `at`; a bucket cut in two keeps its share. h </ at and h >/ at. */
histogram *histogram_trim(arena *a, const histogram *h, double at, bool upper);

/* ---- questions ---- */
typedef enum histogram_doubt { HISTOGRAM_SURE, HISTOGRAM_NAN_SKEWS, HISTOGRAM_NAN_RESULT } histogram_doubt;
/* promql/quantile.go. *ret_doubt: whether observations of NaN were in the way. */
double histogram_quantile(const histogram *h, double q, histogram_doubt *ret_doubt);
double histogram_fraction(const histogram *h, double lower, double upper);
double histogram_variance(const histogram *h);
