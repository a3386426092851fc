#include "base/test.h"
#include "query/eval.h"
#include "query/query.h"
#include <stdio.h>
#include <stdlib.h>

static int in_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    if (isnan(x) || isnan(y))
        return isnan(y) - isnan(x);
    return (x > y) - (x < y);
}

static double sorted_quantile(double q, double *v, size_t n)
{
    qsort(v, n, sizeof *v, in_order);
    double rank = q * (double)(n - 1), weight = rank - floor(rank);
    size_t lower = (size_t)floor(rank);
    return v[lower] * (1 - weight) + v[MIN(lower + 1, n - 1)] * weight;
}

TEST(quantile_of_needs_no_sorting)
{
    static const double few[] = { 0, 1, 1, 2, INFINITY, -INFINITY, NAN, -5 };
    double a[64], b[64];
    srand(3);
    for (int i = 0; i < 20000; i++) {
        size_t n = (size_t)rand() % COUNT_OF(a) + 1;
        int kind = rand() % 4;
        for (size_t k = 0; k < n; k++)
            a[k] = b[k] = kind == 0 ? rand() : kind == 1 ? few[(unsigned)rand() % COUNT_OF(few)] : kind == 2 ? (double)k : -(double)k;
        double q = rand() % 3 ? (double)rand() / RAND_MAX : rand() % 2;
        double got = quantile_of(q, a, n), want = sorted_quantile(q, b, n);
        CHECK_MSG(got == want || (isnan(got) && isnan(want)), "q %g of %zu: %g, want %g", q, n, got, want);
    }
}

TEST(quantile_of_the_impossible)
{
    double v[] = { 1, 2 };
    CHECK(isnan(quantile_of(0.5, v, 0)));
    CHECK(isnan(quantile_of(NAN, v, 2)));
    CHECK(quantile_of(-1, v, 2) == -INFINITY);
    CHECK(quantile_of(2, v, 2) == INFINITY);
}

/* ---- a range query says at every step what an instant query says there ---- */

#define ODD_SERIES 12
#define ODD_SAMPLES 60

static void add_odd_series(store *s, unsigned number)
{
    static const double odd[] = { NAN, INFINITY, -INFINITY, -0.0, 1.7e308, -1.7e308 };
    char names[2][8];
    sample_row rows[ODD_SAMPLES];
    size_t n = 0;
    double v = 0;
    err e = { 0 };
    snprintf(names[0], sizeof names[0], "%u", number % 3);
    snprintf(names[1], sizeof names[1], "%u", number);
    label at[] = { { METRIC_NAME, STR("odd") }, { STR("group"), str_from(names[0]) }, { STR("le"), str_from(names[1]) } };
    for (unsigned i = 0; i < ODD_SAMPLES; i++) {
        if (rand() % 6 == 0)
            continue; /* a gap */
        v = rand() % 15 ? v + (number % 2 ? rand() % 100 : (double)rand() / 7e6) : 0;
        bool strange = number % 3 == 1 && rand() % 9 == 0;
        double x = rand() % 12 == 0 ? stale_nan() : strange ? odd[(unsigned)rand() % COUNT_OF(odd)] : v;
        rows[n++] = (sample_row){ .labels = { at, 3 }, .t_ms = i * INT64_C(15000), .v = x };
    }
    CHECK_OK(store_append(s, rows, n, NULL, &e), e);
}

static const sample *sample_at(const query_result *r, labels l, int64_t t_ms)
{
    for (size_t i = 0; i < r->len; i++)
        for (size_t k = 0; labels_eq(r->series[i].labels, l) && k < r->series[i].len; k++)
            if (r->series[i].at[k].t_ms == t_ms)
                return &r->series[i].at[k];
    return NULL;
}

static void check_step(query_engine *q, const query_result *range, const char *expr, int64_t t_ms, size_t *ret_seen)
{
    query_result at = { 0 };
    err e = { 0 };
    CHECK_OK(query_instant(q, str_from(expr), t_ms, NULL, &at, &e), e);
    for (size_t i = 0; i < at.len; i++) {
        const sample *s = sample_at(range, at.series[i].labels, t_ms);
        double want = at.series[i].at[0].v;
        CHECK_MSG(s && (memcmp(&s->v, &want, sizeof want) == 0 || (isnan(s->v) && isnan(want))), "%s at %" PRId64 ": %.17g, want %.17g", expr, t_ms, s ? s->v : 0, want);
    }
    *ret_seen += at.len;
    query_result_done(&at);
}

TEST(query_range_says_what_instants_say)
{
    static const char *const asks[] = {
        "odd", "sum(odd)", "sum by (group) (odd)", "avg by (group) (odd)", "count by (group) (odd)", "avg(odd)", "min by (group) (odd)",
        "sum by (group) (rate(odd[2m]))", "avg_over_time(odd[3m])", "sum_over_time(odd[3m] offset 1m)", "stddev_over_time(odd[2m])",
        "max_over_time(odd[90s])", "rate(odd[2m] @ 600)", "increase(sum by (group) (odd)[3m:20s])", "quantile_over_time(0.3, odd[3m])",
        "histogram_quantile(0.7, sum by (le) (rate(odd[4m])))", "sum by (group) (odd) / on (group) group_left () count by (group) (odd)",
    };
    store *s;
    store_recovery recovery;
    err e = { 0 };
    srand(11);
    CHECK_OK(store_open(&(store_options){ .dir = test_dir(), .retention_ms = INT64_C(3153600000000) }, &s, &recovery, &e), e);
    for (unsigned i = 0; i < ODD_SERIES; i++)
        add_odd_series(s, i);
    query_engine *q = query_engine_new(s, NULL);
    for (size_t i = 0; i < COUNT_OF(asks); i++) {
        query_result range = { 0 };
        size_t points = 0, seen = 0;
        CHECK_OK(query_range(q, str_from(asks[i]), 0, 950000, 20000, NULL, &range, &e), e);
        for (size_t k = 0; k < range.len; k++)
            points += range.series[k].len;
        for (int64_t t_ms = 0; t_ms <= 950000; t_ms += 20000)
            check_step(q, &range, asks[i], t_ms, &seen);
        CHECK_MSG(seen == points && seen > 0, "%s: %zu points, %zu by instants", asks[i], points, seen);
        query_result_done(&range);
    }
    query_engine_free(q);
    store_close(s, NULL);
}

/* ---- roll-ups ---- */

#define TIER_NOW INT64_C(1795305600000) /* a multiple of two hours */

static store *open_rolled_up(void)
{
    store *s;
    store_recovery recovery;
    err e = { 0 };
    label at[] = { { METRIC_NAME, STR("x_total") }, { STR("job"), STR("a") } };
    clock_fake(TIER_NOW);
    store_options o = { .dir = test_dir(), .retention_ms = INT64_C(3153600000000), .tier_5m_ms = INT64_C(3153600000000), .wal_fsync_ms = INT32_MAX };
    CHECK_OK(store_open(&o, &s, &recovery, &e), e);
    for (int i = 0; i < 300; i++) {
        sample_row row = { .labels = { at, 2 }, .t_ms = TIER_NOW - 8 * INT64_C(3600000) + i * INT64_C(60000), .v = i % 100 };
        CHECK_OK(store_append(s, &row, 1, NULL, &e), e);
    }
    CHECK_OK(store_flush(s, &e), e);
    return s;
}

/* The window ends where roll-ups' windows end: both must say the same. */
TEST(query_reads_roll_ups_by_what_is_asked)
{
    static const char *const asks[] = { "count_over_time(x_total[1h])", "sum_over_time(x_total[1h])", "max_over_time(x_total[1h])", "min_over_time(x_total[1h])", "avg_over_time(x_total[1h])" };
    static const store_tier tiers[] = { STORE_TIER_RAW, STORE_TIER_5M };
    store *s = open_rolled_up();
    query_engine *q = query_engine_new(s, NULL);
    for (size_t i = 0; i < COUNT_OF(asks); i++) {
        double v[COUNT_OF(tiers)];
        for (size_t t = 0; t < COUNT_OF(tiers); t++) {
            query_result r = { 0 };
            err e = { 0 };
            query_request ask = { .expr = str_from(asks[i]), .to_ms = TIER_NOW - 5 * INT64_C(3600000), .tier = tiers[t], .want_cost = true };
            CHECK_OK(query_run(q, &ask, &r, &e), e);
            CHECK_MSG(r.len == 1, "%s of tier %d: %zu series", asks[i], (int)tiers[t], r.len);
            CHECK_MSG(r.stats.samples == (t ? 12 : 60), "%s of tier %d read %d samples", asks[i], (int)tiers[t], (int)r.stats.samples);
            v[t] = r.series[0].at[0].v;
            query_result_done(&r);
        }
        CHECK_MSG(v[0] == v[1], "%s: %g, but %g from roll-ups", asks[i], v[0], v[1]);
    }
    query_engine_free(q);
    store_close(s, NULL);
}
