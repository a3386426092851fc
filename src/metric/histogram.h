/* metric/histogram.h - native histograms: one sample that is a whole distribution.
 *
 * Source: Prometheus model/histogram/{histogram,float_histogram}.go and
 * https://prometheus.io/docs/specs/native_histograms/. Buckets here are absolute counts as doubles (a whole number
 * up to 2^53 is exact), never deltas; the wire formats do the translation.
 *
 * A value: immutable once made, everything it points to lives in the arena it was made in. */
#pragma once
#include "base/base.h"

#define HISTOGRAM_SCHEMA_MIN (-4)
#define HISTOGRAM_SCHEMA_MAX 8
#define HISTOGRAM_CUSTOM (-53)          /* schema of explicit upper bounds: a classic histogram in native clothes */
#define HISTOGRAM_MAX_BUCKETS 20000     /* both sides together; more is ERR_LIMIT */

/* `length` buckets in a row; `offset` empty ones lie before it (the first span: index of its first bucket). */
typedef struct histogram_span { int32_t offset; uint32_t length; } histogram_span;
typedef struct histogram_side {
    const histogram_span *spans; uint32_t span_count;
    const double *buckets; uint32_t bucket_count;      /* as many as the spans' lengths add up to */
} histogram_side;

typedef enum histogram_reset { HISTOGRAM_RESET_UNKNOWN, HISTOGRAM_RESET_YES, HISTOGRAM_RESET_NO, HISTOGRAM_GAUGE } histogram_reset;

typedef struct histogram {
    int8_t schema;              /* bucket bounds grow by 2^(2^-schema); HISTOGRAM_CUSTOM: `bounds` */
    uint8_t reset;              /* histogram_reset: what its source said about a counter reset just before it */
    bool integer;               /* came as whole counts; told on the wire again */
    double zero_threshold, zero_count, count, sum;     /* a stale marker is a stale `sum` */
    histogram_side positive, negative;
    const double *bounds; uint32_t bound_count;        /* HISTOGRAM_CUSTOM only: rising; +Inf is not listed */
} histogram;

typedef struct histogram_sample { int64_t t_ms; const histogram *h; } histogram_sample;
typedef vec(histogram_sample) histogram_vec;

/* Spans and counts make sense: Prometheus's Validate, with its wording. ERR_INVALID, ERR_LIMIT. */
CHECKED err_kind histogram_check(const histogram *h, err *e);
/* A deep copy; NULL without memory. */
histogram *histogram_copy(arena *a, const histogram *h);
/* The same in every bit, but for `reset` and `integer`. */
bool histogram_eq(const histogram *a, const histogram *b);
