#include "base/test.h"
#include "metric/histogram_math.h"
#include "metric/metric.h"

#define SIDE(s, b) { (s), COUNT_OF(s), (b), COUNT_OF(b) }

static const histogram_span gapped[] = { { -2, 2 }, { 1, 2 } }, from_zero[] = { { 0, 3 } }, one_span[] = { { 1, 1 } };
static const double four[] = { 1, 2, 3, 4 }, three[] = { 1, 2, 1 }, one[] = { 5 };
static const double bounds_a[] = { 1, 2, 4 }, bounds_b[] = { 2, 3, 4 }, custom_a[] = { 1, 1, 1 }, custom_b[] = { 2, 2, 2 };

static const histogram both_sides = { .schema = 0, .count = 22, .sum = 5, .zero_count = 2, .zero_threshold = 0.001, .positive = SIDE(gapped, four), .negative = SIDE(gapped, four) };
static const histogram fine = { .schema = 1, .count = 4, .sum = 5, .positive = SIDE(from_zero, three) };
static const histogram coarse = { .schema = 0, .count = 4, .sum = 5, .positive = SIDE(from_zero, three) };
static const histogram wide_zero = { .schema = 0, .count = 5, .sum = 1, .zero_count = 5, .zero_threshold = 1 };
static const histogram custom_1 = { .schema = HISTOGRAM_CUSTOM, .count = 3, .sum = 3, .positive = SIDE(from_zero, custom_a), .bounds = bounds_a, .bound_count = 3 };
static const histogram custom_2 = { .schema = HISTOGRAM_CUSTOM, .count = 6, .sum = 9, .positive = SIDE(from_zero, custom_b), .bounds = bounds_b, .bound_count = 3 };
static const histogram rising_one = { .schema = 0, .count = 5, .sum = 5, .positive = SIDE(one_span, one) };

/* {count:…} as people read it: the whole of a histogram in one line. */
static const char *text_of(const histogram *h)
{
    static char text[2][1000];
    static int turn;
    char *p = text[turn ^= 1], *end = p + sizeof text[0];
    p += snprintf(p, (size_t)(end - p), "%g %g", h->count, h->sum);
    for (bucket_walk w = bucket_walk_all(h, false); bucket_walk_next(&w) && p < end - 60;)
        p += snprintf(p, (size_t)(end - p), " %g..%g:%g", w.at.lower, w.at.upper, w.at.count);
    return text[turn];
}

TEST(histogram_walks_see_every_bucket_both_ways)
{
    CHECK_STR(str_from(text_of(&both_sides)), "22 5 -4..-2:4 -2..-1:3 -0.5..-0.25:2 -0.25..-0.125:1 -0.001..0.001:2 0.125..0.25:1 0.25..0.5:2 1..2:3 2..4:4");
    double up[20], down[20];
    size_t n = 0, m = 0;
    for (bucket_walk w = bucket_walk_all(&both_sides, false); bucket_walk_next(&w);)
        up[n++] = w.at.lower;
    for (bucket_walk w = bucket_walk_all(&both_sides, true); bucket_walk_next(&w);)
        down[m++] = w.at.lower;
    CHECK_EQ(n, m);
    for (size_t i = 0; i < n; i++)
        CHECK_DOUBLE(up[i], down[n - 1 - i]);
}

TEST(histogram_bounds_grow_by_their_schema)
{
    CHECK_DOUBLE(histogram_bound(0, 0), 1);
    CHECK_DOUBLE(histogram_bound(0, -3), 0.125);
    CHECK_DOUBLE(histogram_bound(-2, 1), 16);
    CHECK_DOUBLE(histogram_bound(1, 1), sqrt(2));
    CHECK_DOUBLE(histogram_bound(0, 1024), 1.7976931348623157e308);
    CHECK(isinf(histogram_bound(0, 1025)) && isinf(histogram_bound(-4, INT32_MAX)) && histogram_bound(-4, INT32_MIN) == 0);
}

static const struct { const char *what; const histogram *a, *b; double divisor; const char *want; bool conflict, reconciled; } sums[] = {
    { "like meets like", &coarse, &coarse, 1, "8 10 0.5..1:2 1..2:4 2..4:2", false, false },
    { "a difference leaves nothing", &coarse, &coarse, -1, "0 0", false, false },
    { "the finer one gives way", &coarse, &fine, 1, "8 10 0.5..1:2 1..2:5 2..4:1", false, false },
    { "whichever side it is on", &fine, &coarse, 1, "8 10 0.5..1:2 1..2:5 2..4:1", false, false },
    { "the wider zero bucket swallows what it covers", &coarse, &wide_zero, 1, "9 6 -1..1:6 1..2:2 2..4:1", false, false },
    { "also the other way round", &wide_zero, &coarse, 1, "9 6 -1..1:6 1..2:2 2..4:1", false, false },
    { "custom buckets meet at the bounds they share", &custom_1, &custom_2, 1, "9 12 -inf..2:4 2..4:5", false, true },
};

TEST(histogram_sums_meet_where_both_fit)
{
    AUTO(arena_done) arena a = ARENA_INIT(1 << 20);
    for (size_t i = 0; i < COUNT_OF(sums); i++) {
        histogram_sum s = { 0 };
        CHECK(!histogram_sum_set(&s, sums[i].a) && !histogram_sum_add(&s, sums[i].b, sums[i].divisor));
        const histogram *h = histogram_sum_value(&s, &a, true);
        CHECK_MSG(strcmp(text_of(h), sums[i].want) == 0, "%s: %s", sums[i].what, text_of(h));
        CHECK_MSG(s.bounds_reconciled == sums[i].reconciled && s.reset_conflict == sums[i].conflict, "%s", sums[i].what);
        histogram_sum_done(&s);
    }
}

TEST(histogram_sums_refuse_custom_beside_exponential)
{
    histogram_sum s = { 0 };
    CHECK(!histogram_sum_set(&s, &coarse));
    CHECK_EQ(histogram_sum_add(&s, &custom_1, 1), ERR_INVALID);
    CHECK_DOUBLE(s.count.sum, 4);
    histogram_sum_done(&s);
}

TEST(histogram_sums_tell_conflicting_resets)
{
    static const struct { uint8_t a, b, want; bool conflict; } rows[] = {
        { HISTOGRAM_RESET_YES, HISTOGRAM_RESET_NO, HISTOGRAM_RESET_UNKNOWN, true }, { HISTOGRAM_RESET_NO, HISTOGRAM_RESET_NO, HISTOGRAM_RESET_NO, false },
        { HISTOGRAM_GAUGE, HISTOGRAM_RESET_NO, HISTOGRAM_GAUGE, false },            { HISTOGRAM_RESET_NO, HISTOGRAM_GAUGE, HISTOGRAM_GAUGE, false },
        { HISTOGRAM_RESET_NO, HISTOGRAM_RESET_UNKNOWN, HISTOGRAM_RESET_UNKNOWN, false },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        histogram x = coarse, y = coarse;
        histogram_sum s = { 0 };
        x.reset = rows[i].a;
        y.reset = rows[i].b;
        CHECK(!histogram_sum_set(&s, &x) && !histogram_sum_add(&s, &y, 1));
        CHECK_EQ(s.reset, rows[i].want);
        CHECK_EQ(s.reset_conflict, rows[i].conflict);
        histogram_sum_done(&s);
    }
}

TEST(histogram_scale_and_division_by_zero)
{
    AUTO(arena_done) arena a = ARENA_INIT(1 << 20);
    const histogram *h = histogram_scale(&a, &coarse, -2, false);
    CHECK_STR(str_from(text_of(h)), "-8 -10 0.5..1:-2 1..2:-4 2..4:-2");
    CHECK_EQ(h->reset, HISTOGRAM_GAUGE);
    h = histogram_scale(&a, &coarse, 0, true);
    CHECK(isinf(h->count) && h->positive.bucket_count == 0);
}

static double moved_up[] = { 2, 2, 1 }, moved_down[] = { 1, 1, 2 };
static const struct { const char *what; histogram now, before; bool fell; } falls[] = {
    { "nothing happened", { .count = 4, .positive = SIDE(from_zero, three) }, { .count = 4, .positive = SIDE(from_zero, three) }, false },
    { "more in a bucket", { .count = 5, .positive = SIDE(from_zero, moved_up) }, { .count = 4, .positive = SIDE(from_zero, three) }, false },
    { "less in a bucket", { .count = 4, .positive = SIDE(from_zero, moved_down) }, { .count = 4, .positive = SIDE(from_zero, three) }, true },
    { "a smaller count", { .count = 3, .positive = SIDE(from_zero, three) }, { .count = 4, .positive = SIDE(from_zero, three) }, true },
    { "a bucket is gone", { .count = 5, .positive = SIDE(one_span, one) }, { .count = 4, .positive = SIDE(from_zero, three) }, true },
    { "a finer schema", { .schema = 1, .count = 4, .positive = SIDE(from_zero, three) }, { .count = 4, .positive = SIDE(from_zero, three) }, true },
    { "a smaller zero bucket", { .zero_threshold = 0.1 }, { .zero_threshold = 0.2 }, true },
    { "a source that knows", { .reset = HISTOGRAM_RESET_NO, .count = 1 }, { .count = 4 }, false },
    { "and one that knows better", { .reset = HISTOGRAM_RESET_YES, .count = 5 }, { .count = 4 }, true },
    { "custom buckets after others", { .schema = HISTOGRAM_CUSTOM, .count = 9 }, { .count = 4 }, true },
    { "other bounds, all shared ones grew", { .schema = HISTOGRAM_CUSTOM, .count = 6, .positive = SIDE(from_zero, custom_b), .bounds = bounds_b, .bound_count = 3 },
      { .schema = HISTOGRAM_CUSTOM, .count = 3, .positive = SIDE(from_zero, custom_a), .bounds = bounds_a, .bound_count = 3 }, false },
};

TEST(histogram_falls_are_found)
{
    for (size_t i = 0; i < COUNT_OF(falls); i++)
        CHECK_MSG(histogram_fell(&falls[i].now, &falls[i].before) == falls[i].fell, "%s", falls[i].what);
}

TEST(histogram_same_looks_past_empty_buckets)
{
    static const double padded[] = { 0, 5, 0 };
    histogram x = { .count = 5, .sum = 5, .positive = SIDE(from_zero, padded) };
    CHECK(histogram_same(&x, &rising_one) && histogram_same(&rising_one, &x));
    x.sum = 6;
    CHECK(!histogram_same(&x, &rising_one));
}

static const struct { const char *what; const histogram *h; double at; bool upper; const char *want; } trims[] = {
    { "nothing lies beyond", &coarse, INFINITY, true, "4 5 0.5..1:1 1..2:2 2..4:1" },
    { "at a bound", &coarse, 2, true, "3 3.53553 0.5..1:1 1..2:2" },
    { "half a bucket, as its growth goes", &coarse, sqrt(2), true, "2 1.89631 0.5..1:1 1..2:1" },
    { "what lies above", &coarse, 2, false, "1 2.82843 2..4:1" },
    { "nothing is left", &coarse, 0, true, "0 0" },
    { "half a custom bucket", &custom_1, 3, false, "0.5 1.75 2..4:0.5" },
    { "the first one starts at 0", &custom_1, 0.5, true, "0.5 0.125 -inf..1:0.5" },
};

TEST(histogram_trims_keep_a_share)
{
    AUTO(arena_done) arena a = ARENA_INIT(1 << 20);
    for (size_t i = 0; i < COUNT_OF(trims); i++) {
        const histogram *h = histogram_trim(&a, trims[i].h, trims[i].at, trims[i].upper);
        CHECK_MSG(strcmp(text_of(h), trims[i].want) == 0, "%s: %s", trims[i].what, text_of(h));
    }
}

static bool near(double a, double b) { return fabs(a - b) < 1e-9 || a == b || (isnan(a) && isnan(b)); }

TEST(histogram_quantiles_and_shares_agree)
{
    histogram_doubt doubt;
    CHECK(near(histogram_quantile(&coarse, 0.5, &doubt), sqrt(2)));
    CHECK(near(histogram_fraction(&coarse, -INFINITY, sqrt(2)), 0.5));
    CHECK(near(histogram_quantile(&both_sides, 0.5, &doubt), 0));
    CHECK(near(histogram_quantile(&both_sides, 1, &doubt), 4) && near(histogram_quantile(&both_sides, 0, &doubt), -4));
    CHECK(histogram_quantile(&coarse, -1, &doubt) == -INFINITY && histogram_quantile(&coarse, 2, &doubt) == INFINITY && doubt == HISTOGRAM_SURE);
    histogram nan_seen = coarse;
    nan_seen.sum = NAN;
    nan_seen.count = 5;
    histogram_quantile(&nan_seen, 0.5, &doubt);
    CHECK_EQ(doubt, HISTOGRAM_NAN_SKEWS);
    CHECK(isnan(histogram_quantile(&nan_seen, 0.99, &doubt)) && doubt == HISTOGRAM_NAN_RESULT);
    CHECK(isnan(histogram_fraction(&(histogram){ 0 }, 0, 1)) && histogram_fraction(&coarse, 3, 3) == 0);
}

TEST(histogram_sum_survives_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        AUTO(arena_done) arena a = ARENA_INIT(1 << 20);
        histogram_sum s = { 0 }, copy = { 0 };
        fault_alloc(nth);
        err_kind k = histogram_sum_set(&s, &both_sides);
        if (!k)
            k = histogram_sum_add(&s, &fine, 1);
        if (!k)
            k = histogram_sum_copy(&copy, &s);
        if (!k)
            k = histogram_sum_set(&copy, &custom_1);
        if (!k)
            k = histogram_sum_add(&copy, &custom_2, 1);
        if (!k)
            k = histogram_sum_value(&copy, &a, true) && histogram_trim(&a, &both_sides, 1, true) ? OK : ERR_NOMEM;
        bool fired = fault_fired();
        CHECK_EQ(k, fired ? ERR_NOMEM : OK);
        histogram_sum_done(&s);
        histogram_sum_done(&copy);
        if (!fired)
            break;
    }
}
