#include "base/test.h"
#include "metric/metric.h"

static const histogram_span two[] = { { -1, 2 }, { 3, 1 } }, negative_gap[] = { { 0, 1 }, { -2, 1 } }, far[] = { { INT32_MAX, 2 }, { 0, 1 } },
                            from_zero[] = { { 0, 3 } }, from_minus[] = { { -1, 3 } };
static const double counts[] = { 1, 2, 3 }, below_zero[] = { 1, -2, 3 }, rising[] = { 1, 2 }, falling[] = { 2, 1 }, endless[] = { 1, INFINITY }, nan_bound[] = { 1, NAN };

#define SIDE(spans_, n, buckets_) { (spans_), COUNT_OF(spans_), (buckets_), (n) }

static const struct { const char *what; histogram h; const char *want; /* NULL: fine */ } checks[] = {
    { "an empty histogram is fine", { .schema = 0 }, NULL },
    { "spans that cover the buckets are fine", { .schema = 8, .count = 6, .positive = SIDE(two, 3, counts) }, NULL },
    { "schema 9 is refused", { .schema = 9 }, "which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema 9" },
    { "schema -5 is refused", { .schema = -5 }, "got schema -5" },
    { "fewer buckets than the spans need", { .positive = SIDE(two, 2, counts) }, "positive side: spans need 3 buckets, have 2 buckets" },
    { "a second span that goes back", { .negative = SIDE(negative_gap, 2, counts) }, "negative side: span number 2 with offset -2" },
    { "spans beyond the largest index", { .positive = SIDE(far, 3, counts) }, "ends beyond the largest bucket index" },
    { "a negative count", { .positive = SIDE(two, 3, below_zero) }, "positive side: bucket number 2 has observation count of -2" },
    { "a negative count on the other side", { .negative = SIDE(two, 3, below_zero) }, "negative side: bucket number 2" },
    { "bounds without the schema for them", { .bounds = rising, .bound_count = 2 }, "must not have custom bounds" },
    { "whole counts that do not add up", { .integer = true, .count = 7, .positive = SIDE(two, 3, counts) }, "should equal" },
    { "NaN observations are in the count only", { .integer = true, .count = 7, .sum = NAN, .positive = SIDE(two, 3, counts) }, NULL },
    { "but never fewer than in the buckets", { .integer = true, .count = 5, .sum = NAN, .positive = SIDE(two, 3, counts) }, "should be at least" },
    { "float counts need not add up", { .count = 7, .positive = SIDE(two, 3, counts) }, NULL },
    { "custom bounds are fine", { .schema = HISTOGRAM_CUSTOM, .positive = SIDE(from_zero, 3, counts), .bounds = rising, .bound_count = 2 }, NULL },
    { "custom bounds must rise", { .schema = HISTOGRAM_CUSTOM, .bounds = falling, .bound_count = 2 }, "strictly increasing order" },
    { "custom bounds are numbers", { .schema = HISTOGRAM_CUSTOM, .bounds = nan_bound, .bound_count = 2 }, "strictly increasing order" },
    { "custom bounds leave +Inf out", { .schema = HISTOGRAM_CUSTOM, .bounds = endless, .bound_count = 2 }, "last +Inf bound" },
    { "too few custom bounds", { .schema = HISTOGRAM_CUSTOM, .positive = SIDE(from_zero, 3, counts), .bounds = rising, .bound_count = 1 }, "only 1 custom bounds defined" },
    { "custom buckets start at 0", { .schema = HISTOGRAM_CUSTOM, .positive = SIDE(from_minus, 3, counts), .bounds = rising, .bound_count = 2 }, "span number 1 with offset -1" },
    { "custom buckets have no zero bucket", { .schema = HISTOGRAM_CUSTOM, .zero_count = 1 }, "must have zero count of 0" },
    { "custom buckets have no zero threshold", { .schema = HISTOGRAM_CUSTOM, .zero_threshold = 1 }, "must have zero threshold of 0" },
    { "custom buckets have no negative side", { .schema = HISTOGRAM_CUSTOM, .negative = SIDE(two, 3, counts) }, "must not have negative spans" },
    { "more buckets than anybody needs", { .positive = { two, 2, counts, HISTOGRAM_MAX_BUCKETS + 1 } }, "more than 20000 buckets" },
};

TEST(histogram_check_says_what_is_wrong)
{
    for (size_t i = 0; i < COUNT_OF(checks); i++) {
        err e = { 0 };
        err_kind k = histogram_check(&checks[i].h, &e);
        CHECK_MSG((k == OK) == !checks[i].want, "%s: %s", checks[i].what, e.message);
        if (k)
            CHECK_CONTAINS(str_from(e.message), checks[i].want);
    }
}

TEST(histogram_copy_is_equal_and_its_own)
{
    histogram h = { .schema = HISTOGRAM_CUSTOM, .count = 6, .sum = 4, .positive = SIDE(from_zero, 3, counts), .bounds = rising, .bound_count = 2 };
    AUTO(arena_done) arena a = ARENA_INIT(1 << 16);
    histogram *c = histogram_copy(&a, &h);
    CHECK(c && histogram_eq(c, &h) && c->positive.buckets != h.positive.buckets && c->bounds != h.bounds);
    c->reset = HISTOGRAM_GAUGE;
    c->integer = true;
    CHECK(histogram_eq(c, &h));
    c->sum = 5;
    CHECK(!histogram_eq(c, &h));
    c->sum = h.sum;
    c->bounds = falling;
    CHECK(!histogram_eq(c, &h));
    c->bounds = h.bounds;
    c->positive.buckets = below_zero;
    CHECK(!histogram_eq(c, &h));
    AUTO(arena_done) arena small = ARENA_INIT(64);
    CHECK(histogram_copy(&small, &h) == NULL);
}
