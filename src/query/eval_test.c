#include "base/json.h"
#include "base/test.h"
#include "query/query.h"
#include <stdlib.h>

typedef struct fixture { store *store; query_engine *engine; } fixture;

static void add(fixture *f, const char *name, const char *job, const char *le, int64_t step_ms, size_t n, double by)
{
    label at[3] = { { METRIC_NAME, str_from(name) }, { STR("job"), str_from(job) }, { STR("le"), str_from(le) } };
    labels l = { at, le ? 3 : 2 };
    sample_row rows[64];
    err e = { 0 };
    CHECK(n <= COUNT_OF(rows));
    for (size_t i = 0; i < n; i++)
        rows[i] = (sample_row){ .labels = l, .t_ms = (int64_t)i * step_ms, .v = (double)i * by };
    CHECK_OK(store_append(f->store, rows, n, NULL, &e), e);
}

/* A native histogram that grows by itself every 15 s. */
static void add_native(fixture *f, const char *name, const char *job, size_t n)
{
    static const histogram_span span = { 0, 3 };
    static double buckets[64][3];
    histogram made[64];
    label at[2] = { { METRIC_NAME, str_from(name) }, { STR("job"), str_from(job) } };
    sample_row rows[64];
    err e = { 0 };
    CHECK(n <= COUNT_OF(rows));
    for (size_t i = 0; i < n; i++) {
        double k = (double)i + 1;
        memcpy(buckets[i], (double[]){ k, 2 * k, k }, sizeof buckets[i]);
        made[i] = (histogram){ .count = 5 * k, .sum = 6 * k, .zero_count = k, .zero_threshold = 0.001, .positive = { &span, 1, buckets[i], 3 } };
        rows[i] = (sample_row){ .labels = { at, 2 }, .t_ms = (int64_t)i * 15000, .histogram = &made[i] };
    }
    CHECK_OK(store_append(f->store, rows, n, NULL, &e), e);
}

static fixture open_fixture(const query_options *o)
{
    fixture f;
    store_recovery recovery;
    err e = { 0 };
    store_options options = { .dir = test_dir(), .retention_ms = INT64_C(3153600000000) };
    CHECK_OK(store_open(&options, &f.store, &recovery, &e), e);
    f.engine = query_engine_new(f.store, o);
    CHECK(f.engine != NULL);
    add(&f, "reqs_total", "a", NULL, 15000, 40, 15);
    add(&f, "reqs_total", "b", NULL, 15000, 40, 30);
    add(&f, "lat_bucket", "a", "0.5", 15000, 40, 1);
    add(&f, "lat_bucket", "a", "+Inf", 15000, 40, 2);
    add(&f, "target_info", "a", NULL, 15000, 40, 1);
    add_native(&f, "size", "a", 40);
    add_native(&f, "size", "b", 40);
    return f;
}

static void close_fixture(fixture *f)
{
    query_engine_free(f->engine);
    store_close(f->store, NULL);
}

static const char *const expressions[] = {
    "sum by (job) (rate(reqs_total[5m])) / on (job) group_left () count by (job) (reqs_total) > bool 0",
    "topk(1, reqs_total) or label_replace(reqs_total, \"x\", \"$1\", \"job\", \"(.)\")",
    "histogram_quantile(0.9, rate(lat_bucket[5m])) or absent(nothing{job=\"x\"}) or vector(time())",
    "max_over_time(sum(reqs_total)[5m:1m] offset 1m) and quantile(0.5, reqs_total) unless llm_requests_running",
    "count_values(\"v\", label_join(reqs_total, \"j\", \"-\", \"job\", \"le\")) + ignoring(v) group_right() reqs_total{job=~\"a|b.*\"}",
    "forecast(reqs_total[5m], 60) or slo_burn(reqs_total / 2000, 0.9) or llm_goodput(0.4, 0.4, rate(lat_bucket[5m]), rate(lat_bucket[5m]))",
    "sum(rate(size[5m])) / 2 or -avg(size) or avg_over_time(sum(size)[5m:1m]) or size </ 1.5 or limit_ratio(0.5, size)",
    "histogram_quantile(0.5, size) + on (job) histogram_count(size) or histogram_fraction(0, 1, increase(size[5m] smoothed)) or count_values(\"v\", size)",
    "info(reqs_total, {x=~\".*\"}) or irate(size[5m]) or delta(size[5m] anchored) == size or size smoothed or changes(size[5m])",
    "sort_desc(quantile_over_time(0.5, reqs_total[5m])) - clamp(day_of_week(reqs_total), 0, 3)",
};

TEST(query_survives_any_failed_allocation)
{
    fixture f = open_fixture(&(query_options){ .features = PROMQL_EVERYTHING });
    for (size_t i = 0; i < 2 * COUNT_OF(expressions); i++) {
        str expr = str_from(expressions[i / 2]);
        for (unsigned nth = 0;; nth++) {
            query_result r = { 0 };
            err e = { 0 };
            fault_alloc(nth);
            err_kind k = i % 2 ? query_instant(f.engine, expr, 590000, NULL, &r, &e)
                               : query_range(f.engine, expr, 300000, 590000, 60000, NULL, &r, &e);
            bool fired = fault_fired();
            CHECK_MSG(k == OK || (fired && k == ERR_NOMEM) || (k == ERR_EXEC), "%s: %s (allocation %u)", expressions[i / 2], e.message, nth);
            query_result_done(&r);
            if (!fired)
                break;
        }
    }
    close_fixture(&f);
}

TEST(query_shows_native_histograms)
{
    fixture f = open_fixture(NULL);
    AUTO(buf_done) buf text = BUF_INIT(1 << 16);
    query_result r = { 0 };
    err e = { 0 };
    CHECK_OK(query_instant(f.engine, STR("size{job=\"a\"}"), 0, NULL, &r, &e), e);
    query_result_json(&r, &text);
    CHECK_STR(buf_str(&text), "{\"resultType\":\"vector\",\"result\":[{\"metric\":{\"__name__\":\"size\",\"job\":\"a\"},\"histogram\":[0,{\"count\":\"5\",\"sum\":\"6\","
                              "\"buckets\":[[3,\"-0.001\",\"0.001\",\"1\"],[0,\"0.5\",\"1\",\"1\"],[0,\"1\",\"2\",\"2\"],[0,\"2\",\"4\",\"1\"]]}]}]}");
    query_result_done(&r);
    CHECK_OK(query_range(f.engine, STR("size{job=\"a\"} * 2"), 0, 15000, 15000, NULL, &r, &e), e);
    CHECK_EQ(r.len, 1);
    CHECK_EQ(r.series[0].histogram_count, 2);
    CHECK_DOUBLE(r.series[0].histograms[1].h->count, 20);
    query_result_done(&r);
    char *shown = NULL;
    size_t shown_len = 0;
    FILE *out = open_memstream(&shown, &shown_len);
    CHECK_OK(query_instant(f.engine, STR("size{job=\"b\"}"), 0, NULL, &r, &e), e);
    CHECK_EQ(query_print(&r, out, false), 0);
    fclose(out);
    CHECK_STR(str_of(shown, shown_len), "size{job=\"b\"} => {count:5, sum:6, [-0.001,0.001]:1, (0.5,1]:1, (1,2]:2, (2,4]:1} @[0.000]\n");
    free(shown);
    query_result_done(&r);
    close_fixture(&f);
}

TEST(query_of_native_histograms_keeps_its_memory)
{
    static const char *const asks[] = { "rate(size[5m])", "size", "size[5m]", "absent_over_time(size[5m])", "sum(size) by (job)", "size smoothed" };
    for (size_t i = 0; i < COUNT_OF(asks); i++) {
        bool refused = false, answered = false;
        for (size_t bytes = 4096; bytes <= 4u << 20; bytes *= 2) {
            fixture f = open_fixture(&(query_options){ .features = PROMQL_EVERYTHING, .max_memory_bytes = bytes });
            query_result r = { 0 };
            err e = { 0 };
            err_kind k = query_instant(f.engine, str_from(asks[i]), 590000, NULL, &r, &e);
            CHECK_MSG(k == OK || k == ERR_LIMIT, "%s with %zu bytes: %s", asks[i], bytes, e.message);
            refused |= k == ERR_LIMIT;
            answered |= k == OK;
            query_result_done(&r);
            close_fixture(&f);
        }
        CHECK_MSG(refused && answered, "%s", asks[i]);
    }
}

/* Prometheus 2 took the samples at both ends of a window, and looked back one millisecond further. */
TEST(query_compat_2_closes_ranges)
{
    static const struct { const char *ask; double three, two; } asks[] = {
        { "count_over_time(reqs_total{job=\"a\"}[1m])", 4, 5 },
        { "count_over_time(sum(reqs_total)[1m:15s])", 4, 5 },
        { "increase(reqs_total{job=\"a\"}[1m])", 60, 60 },
        { "count(reqs_total offset -5m) or vector(0)", 0, 2 }, /* the last sample is exactly five minutes old */
        { "histogram_count(sum_over_time(size{job=\"a\"}[15s]))", 105, 205 },
    };
    for (int two = 0; two < 2; two++) {
        fixture f = open_fixture(&(query_options){ .compat = two ? 2 : 3 });
        for (size_t i = 0; i < COUNT_OF(asks); i++) {
            double v = 0;
            err e = { 0 };
            int64_t at = i == 3 ? 585000 : 300000;
            CHECK_OK(query_number(f.engine, str_from(asks[i].ask), at, &v, &e), e);
            CHECK_MSG(v == (two ? asks[i].two : asks[i].three), "%s as in %d: %g", asks[i].ask, two ? 2 : 3, v);
        }
        close_fixture(&f);
    }
}

TEST(query_features_are_refused_without_their_flags)
{
    static const struct { const char *ask, *name, *want; } asks[] = {
        { "info(reqs_total)", "promql-experimental-functions", "function \"info\" is not enabled" },
        { "limitk(1, reqs_total)", "promql-experimental-functions", "limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions" },
        { "rate(reqs_total[1m] anchored)", "promql-extended-range-selectors", "anchored modifier is experimental and not enabled" },
        { "reqs_total + fill(0) reqs_total", "promql-binop-fill-modifiers", "binop fill modifiers are experimental and not enabled" },
    };
    for (size_t i = 0; i < COUNT_OF(asks); i++)
        for (int on = 0; on < 2; on++) {
            unsigned bit = promql_feature(str_from(asks[i].name));
            fixture f = open_fixture(&(query_options){ .features = on ? bit : PROMQL_EVERYTHING & ~bit });
            query_result r = { 0 };
            err e = { 0 };
            err_kind k = query_instant(f.engine, str_from(asks[i].ask), 300000, NULL, &r, &e);
            CHECK_MSG((k == OK) == (on == 1), "%s: %s", asks[i].ask, e.message);
            if (!on)
                CHECK_CONTAINS(str_from(e.message), asks[i].want);
            query_result_done(&r);
            close_fixture(&f);
        }
    CHECK_EQ(promql_feature(STR("promql-everything")), 0);
}

/* A NaN from outside may differ from the marker of an empty slot in its sign only. */
TEST(query_turns_no_number_into_an_empty_slot)
{
    static const char *const asks[] = { "-scalar(foreign)", "-foreign", "abs(foreign)", "abs(-foreign)" };
    fixture f = open_fixture(NULL);
    union { uint64_t u; double d; } x = { STALE_NAN_BITS | UINT64_C(1) << 63 };
    label name = { METRIC_NAME, STR("foreign") };
    sample_row row = { .labels = { &name, 1 }, .t_ms = 1000, .v = x.d };
    err e = { 0 };
    CHECK_OK(store_append(f.store, &row, 1, NULL, &e), e);
    for (size_t i = 0; i < COUNT_OF(asks); i++) {
        AUTO(buf_done) buf text = BUF_INIT(1 << 16);
        query_result r = { 0 };
        CHECK_OK(query_instant(f.engine, str_from(asks[i]), 1000, NULL, &r, &e), e);
        CHECK_MSG(r.len == 1, "%s lost its number", asks[i]);
        query_result_json(&r, &text);
        CHECK_CONTAINS(buf_str(&text), "\"NaN\"");
        query_result_done(&r);
    }
    close_fixture(&f);
}

TEST(query_looks_at_times_beyond_all_calendars)
{
    static const char *const asks[] = {
        "reqs_total @ -9223372036854774", "reqs_total @ 9223372036854774 offset -100000d", "rate(reqs_total[100000d] @ -9223372036854774)",
        "max_over_time(reqs_total[100000d:1d] @ -9223372036854774 offset 100000d)", "absent_over_time(reqs_total[1d] @ 9223372036854774) > 1",
    };
    fixture f = open_fixture(NULL);
    for (size_t i = 0; i < COUNT_OF(asks); i++) {
        query_result r = { 0 };
        err e = { 0 };
        CHECK_OK(query_instant(f.engine, str_from(asks[i]), 590000, NULL, &r, &e), e);
        CHECK_MSG(r.len == 0, "%s", asks[i]);
        query_result_done(&r);
    }
    close_fixture(&f);
}

TEST(query_number_is_the_first_sample)
{
    fixture f = open_fixture(NULL);
    double v = 0;
    err e = { 0 };
    CHECK_OK(query_number(f.engine, STR("sum(reqs_total)"), 150000, &v, &e), e);
    CHECK_DOUBLE(v, 450);
    CHECK_OK(query_number(f.engine, STR("1 + 1"), 0, &v, &e), e);
    CHECK_DOUBLE(v, 2);
    CHECK_EQ(query_number(f.engine, STR("nothing"), 0, &v, &e), ERR_NOT_FOUND);
    CHECK_EQ(query_number(f.engine, STR("rate("), 0, &v, &e), ERR_PARSE);
    close_fixture(&f);
}

TEST(query_evaluates_the_highest_tree)
{
    fixture f = open_fixture(NULL);
    AUTO(buf_done) buf b = BUF_INIT(1u << 20);
    double v = 0;
    err e = { 0 };
    for (int i = 0; i < 2900; i++)
        buf_append(&b, STR("1+"));
    buf_append(&b, STR("sum(reqs_total)"));
    CHECK_OK(query_number(f.engine, buf_str(&b), 0, &v, &e), e);
    CHECK_DOUBLE(v, 2900);
    buf_reset(&b);
    buf_append(&b, STR("sum(reqs_total)"));
    for (int i = 0; i < 2900; i++)
        buf_append(&b, STR("+reqs_total{job=\"a\"}"));
    CHECK_EQ(query_number(f.engine, buf_str(&b), 0, &v, &e), ERR_NOT_FOUND); /* {} does not match {job="a"} */
    close_fixture(&f);
}

static const struct { const char *what; query_options options; const char *expr; err_kind want; } limits[] = {
    { "too many samples to read", { .max_samples = 30 }, "rate(reqs_total[1h])", ERR_LIMIT },
    { "too many slots", { .max_samples = 100 }, "1", ERR_LIMIT },
    { "too many series", { .max_series = 1 }, "reqs_total", ERR_LIMIT },
    { "too many points", { .max_points = 10 }, "1", ERR_LIMIT },
    { "too much memory for the slots", { .max_memory_bytes = 20000 }, "reqs_total + reqs_total", ERR_LIMIT },
    { "too much memory for labels", { .max_memory_bytes = 30000 }, "count_values(\"v\", rate(reqs_total[1m]) * time())", ERR_LIMIT },
    { "too much memory for the result", { .max_memory_bytes = 1u << 16 }, "lat_bucket or reqs_total", ERR_LIMIT },
    { "a string has no range", { 0 }, "\"a\"", ERR_INVALID },
    { "nor has a range vector", { 0 }, "reqs_total[5m]", ERR_INVALID },
    { "duplicates", { 0 }, "label_replace(reqs_total, \"job\", \"z\", \"job\", \".*\")", ERR_EXEC },
    { "no limit in the way", { 0 }, "rate(reqs_total[1h])", OK },
};

TEST(query_limits_end_with_an_error)
{
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        fixture f = open_fixture(&limits[i].options);
        query_result r = { 0 };
        err e = { 0 };
        err_kind k = query_range(f.engine, str_from(limits[i].expr), 0, 590000, 1000, NULL, &r, &e);
        CHECK_MSG(k == limits[i].want, "%s: %s", limits[i].what, e.message);
        query_result_done(&r);
        close_fixture(&f);
    }
}

TEST(query_ends_when_canceled_or_late)
{
    fixture f = open_fixture(NULL);
    query_result r = { 0 };
    err e = { 0 };
    atomic_bool cancel = true;
    CHECK_EQ(query_instant(f.engine, STR("sum(reqs_total)"), 0, &cancel, &r, &e), ERR_CANCELED);
    query_request late = { .expr = STR("reqs_total"), .timeout_ms = 10, .waited_ms = 10 };
    CHECK_EQ(query_run(f.engine, &late, &r, &e), ERR_TIMEOUT);
    CHECK_CONTAINS(str_from(e.message), "timed out");
    close_fixture(&f);
}

TEST(query_limit_cuts_and_says_so)
{
    fixture f = open_fixture(NULL);
    query_result r = { 0 };
    err e = { 0 };
    query_request one = { .expr = STR("reqs_total"), .to_ms = 590000, .limit = 1 };
    CHECK_OK(query_run(f.engine, &one, &r, &e), e);
    CHECK_EQ(r.len, 1);
    CHECK_EQ(r.warning_count, 1);
    query_result_done(&r);
    close_fixture(&f);
}

static const struct { const char *what, *expr, *want; } shown[] = {
    { "vector", "reqs_total{job=\"a\"}", "{\"resultType\":\"vector\",\"result\":[{\"metric\":{\"__name__\":\"reqs_total\",\"job\":\"a\"},\"value\":[0.500,\"0\"]}]}" },
    { "scalar", "-1.5", "{\"resultType\":\"scalar\",\"result\":[0.500,\"-1.5\"]}" },
    { "string", "\"a\\tb\"", "{\"resultType\":\"string\",\"result\":[0.500,\"a\\tb\"]}" },
    { "matrix", "reqs_total{job=\"a\"}[1s]", "{\"resultType\":\"matrix\",\"result\":[{\"metric\":{\"__name__\":\"reqs_total\",\"job\":\"a\"},\"values\":[[0,\"0\"]]}]}" },
    { "nothing", "nothing", "{\"resultType\":\"vector\",\"result\":[]}" },
};

TEST(query_result_looks_as_prometheus_shows_it)
{
    fixture f = open_fixture(NULL);
    for (size_t i = 0; i < COUNT_OF(shown); i++) {
        AUTO(buf_done) buf out = BUF_INIT(1u << 16);
        query_result r = { 0 };
        err e = { 0 };
        CHECK_OK(query_instant(f.engine, str_from(shown[i].expr), 500, NULL, &r, &e), e);
        query_result_json(&r, &out);
        CHECK_MSG(str_is(buf_str(&out), shown[i].want), "%s: %s", shown[i].what, buf_cstr(&out));
        query_result_done(&r);
    }
    close_fixture(&f);
}

TEST(query_prints_for_people)
{
    fixture f = open_fixture(NULL);
    query_result r = { 0 };
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    CHECK_EQ(query_instant(f.engine, STR("reqs_total{job=\"a\"}"), 15000, NULL, &r, NULL), OK);
    CHECK_EQ(query_print(&r, out, false), 0);
    fclose(out);
    CHECK_STR(str_of(text, n), "reqs_total{job=\"a\"} => 15 @[15.000]\n");
    free(text);
    query_result_done(&r);
    close_fixture(&f);
}
