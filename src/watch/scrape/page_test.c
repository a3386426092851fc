#include "base/test.h"
#include "base/rand.h"
#include "watch/scrape/page.h"

typedef struct bench {
    page_cache *cache;
    scrape_job job;
    label base[2];
    row_vec rows;
    page_result result;
    err e;
} bench;

static bench bench_new(void)
{
    bench b = { .cache = page_cache_new(), .job = { .honor_timestamps = true } };
    return b;
}

static void bench_done(bench *b)
{
    page_cache_free(b->cache);
    vec_done(&b->rows);
}

static err_kind read_page(bench *b, const char *text, int64_t t_ms)
{
    label base[2] = { { STR("instance"), STR("i:1") }, { STR("job"), STR("j") } };
    page_rules r = { .target = { base, 2 }, .job = &b->job };
    vec_clear(&b->rows);
    b->e = (err){ 0 };
    err_kind k = page_read(b->cache, &r, str_from(text), false, t_ms, &b->rows, &b->result, &b->e);
    if (k)
        CHECK_EQ(page_fail(b->cache, t_ms, &b->rows), OK);
    return k;
}

static const char *row_text(const bench *b, size_t i)
{
    static char out[4][512];
    static unsigned turn;
    AUTO(buf_done) buf text = BUF_INIT(512);
    labels_format(b->rows.at[i].labels, &text);
    buf_printf(&text, is_stale(b->rows.at[i].v) ? " stale" : " %g", b->rows.at[i].v);
    str_copy(out[turn % 4], 512, buf_str(&text));
    return out[turn++ % 4];
}

TEST(series_get_the_targets_labels)
{
    bench b = bench_new();
    CHECK_EQ(read_page(&b, "a 1\nb{x=\"y\"} 2\n", 1000), OK);
    CHECK_EQ(b.rows.len, 2);
    CHECK_STR(str_from(row_text(&b, 0)), "a{instance=\"i:1\",job=\"j\"} 1");
    CHECK_EQ(b.result.scraped, 2);
    CHECK_EQ(b.result.added, 2);
    bench_done(&b);
}

TEST(a_series_seen_before_keeps_its_ref_and_allocates_nothing)
{
    bench b = bench_new();
    CHECK_EQ(read_page(&b, "a 1\nb 2\n", 1000), OK);
    *b.rows.at[0].ref = 7;
    page_settle(b.cache);
    CHECK_EQ(read_page(&b, "b 3\na 2\n", 2000), OK);
    CHECK_EQ(*b.rows.at[1].ref, 7);
    CHECK_EQ(b.result.added, 0);
    CHECK_EQ(page_series_count(b.cache), 2);
    bench_done(&b);
}

TEST(what_vanishes_is_marked_stale_once)
{
    bench b = bench_new();
    CHECK_EQ(read_page(&b, "a 1\nb 2\n", 1000), OK);
    page_settle(b.cache);
    CHECK_EQ(read_page(&b, "a 1\n", 2000), OK);
    CHECK_EQ(b.rows.len, 2);
    CHECK_CONTAINS(str_from(row_text(&b, 1)), "stale");
    page_settle(b.cache);
    CHECK_EQ(page_series_count(b.cache), 1);
    CHECK_EQ(read_page(&b, "a 1\n", 3000), OK);
    CHECK_EQ(b.rows.len, 1);
    bench_done(&b);
}

TEST(a_failed_scrape_marks_all_that_was_live_and_only_once)
{
    bench b = bench_new();
    CHECK_EQ(read_page(&b, "a 1\nb 2\n", 1000), OK);
    page_settle(b.cache);
    CHECK_EQ(read_page(&b, "a 2\nnew 1\nb{ 2\n", 2000), ERR_PARSE);
    CHECK_EQ(b.e.line, 3);
    CHECK_EQ(b.rows.len, 2);
    CHECK(is_stale(b.rows.at[0].v) && is_stale(b.rows.at[1].v));
    page_settle(b.cache);
    CHECK_EQ(read_page(&b, "{{{", 3000), ERR_PARSE);
    CHECK_EQ(b.rows.len, 0);
    CHECK_EQ(read_page(&b, "a 3\nb 2\n", 4000), OK);
    CHECK(b.rows.len == 2 && !is_stale(b.rows.at[0].v));
    bench_done(&b);
}

TEST(series_with_their_own_time_get_no_markers_unless_it_is_not_honoured)
{
    bench b = bench_new();
    CHECK_EQ(read_page(&b, "a 1 500\n", 1000), OK);
    CHECK_EQ(b.rows.at[0].t_ms, 500);
    page_settle(b.cache);
    CHECK_EQ(read_page(&b, "b 1\n", 2000), OK);
    CHECK_EQ(b.rows.len, 1);
    b.job.honor_timestamps = false;
    CHECK_EQ(read_page(&b, "b 1 500\n", 3000), OK);
    CHECK_EQ(b.rows.at[0].t_ms, 3000);
    bench_done(&b);
}

TEST(a_label_of_the_page_moves_aside_for_ours_unless_it_is_honoured)
{
    bench b = bench_new();
    CHECK_EQ(read_page(&b, "a{job=\"x\",exported_job=\"y\"} 1\n", 1000), OK);
    CHECK_STR(str_from(row_text(&b, 0)),
              "a{exported_exported_job=\"x\",exported_job=\"y\",instance=\"i:1\",job=\"j\"} 1");
    bench_done(&b);
    b = bench_new();
    b.job.honor_labels = true;
    CHECK_EQ(read_page(&b, "a{job=\"x\"} 1\n", 1000), OK);
    CHECK_STR(str_from(row_text(&b, 0)), "a{instance=\"i:1\",job=\"x\"} 1");
    bench_done(&b);
}

TEST(limits_fail_the_whole_page_and_say_which)
{
    static const struct {
        const char *what;
        scrape_job job;
        const char *page, *message;
    } cases[] = {
        { "too many samples", { .sample_limit = 1 }, "a 1\nb 1\n", "sample_limit" },
        { "too many labels", { .label_limit = 3 }, "a{x=\"y\"} 1\n", "label_limit" },
        { "a label name too long",
          { .label_name_length_limit = 8 },
          "a{long_label=\"y\"} 1\n",
          "label_name_length_limit" },
        { "a label value too long",
          { .label_value_length_limit = 3 },
          "a{x=\"yyyyyy\"} 1\n",
          "label_value_length_limit" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bench b = bench_new();
        b.job = cases[i].job;
        CHECK_MSG(read_page(&b, cases[i].page, 1000) == ERR_LIMIT, "%s", cases[i].what);
        CHECK_CONTAINS(str_from(b.e.message), cases[i].message);
        CHECK_EQ(b.rows.len, 0);
        bench_done(&b);
    }
}

TEST(a_repeated_series_counts_once)
{
    bench b = bench_new();
    CHECK_EQ(read_page(&b, "a 1\na 2\n", 1000), OK);
    CHECK(b.rows.len == 1 && b.result.duplicates == 1);
    bench_done(&b);
}

TEST(help_and_type_are_kept_as_metadata)
{
    bench b = bench_new();
    CHECK_EQ(read_page(&b, "# HELP a What a is.\n# TYPE a counter\na 1\n", 1000), OK);
    CHECK_EQ(page_meta_count(b.cache), 1);
    CHECK_STR(page_meta_at(b.cache, 0).help, "What a is.");
    bench_done(&b);
}

TEST(what_is_no_page_of_metrics_is_refused_with_the_reason)
{
    CHECK_CONTAINS(str_from(page_refused(STR("<!DOCTYPE html>"), STR("text/plain"))), "HTML");
    CHECK_CONTAINS(str_from(page_refused(STR("\n  <html>"), STR(""))), "HTML");
    CHECK_CONTAINS(str_from(page_refused(STR("[{\"iter\":1}]"), STR("text/plain"))), "JSON");
    CHECK(page_refused(STR("up 1\n"), STR("text/plain; version=0.0.4")) == NULL);
    CHECK(page_refused(STR(""), STR("text/plain")) == NULL);
}

TEST(many_series_grow_and_shrink_the_table)
{
    bench b = bench_new();
    AUTO(buf_done) buf text = BUF_INIT(4 << 20);
    for (int i = 0; i < 5000; i++)
        buf_printf(&text, "a{i=\"%d\"} %d\n", i, i);
    CHECK_EQ(read_page(&b, buf_cstr(&text), 1000), OK);
    page_settle(b.cache);
    CHECK_EQ(page_series_count(b.cache), 5000);
    CHECK_EQ(read_page(&b, "a{i=\"7\"} 1\n", 2000), OK);
    CHECK_EQ(b.rows.len, 5000);
    page_settle(b.cache);
    CHECK_EQ(page_series_count(b.cache), 1);
    bench_done(&b);
}

/* A sink that gives refs and may have forgotten them. */
typedef struct fake_sink {
    int calls;
    bool forgot;
    size_t with_labels, exemplars;
} fake_sink;

static err_kind fake_append(void *ctx, const sample_row *rows, size_t n, sink_result *rejected, err *e)
{
    fake_sink *f = ctx;
    f->calls++;
    f->with_labels = 0;
    for (size_t i = 0; i < n; i++) {
        if (!rows[i].labels.len && (f->forgot || !*rows[i].ref))
            return err_set(e, ERR_NOT_FOUND, "outdated");
        f->with_labels += rows[i].labels.len > 0;
    }
    for (size_t i = 0; i < n; i++)
        *rows[i].ref = 100 + i;
    f->forgot = false;
    rejected->appended += n;
    return OK;
}

static err_kind fake_exemplars(void *ctx, const exemplar_row *rows, size_t n, sink_result *rejected, err *e)
{
    UNUSED(e);
    ((fake_sink *)ctx)->exemplars += n;
    for (size_t i = 0; i < n; i++)
        CHECK(labels_name(rows[i].series).len && rows[i].exemplar.t_ms);
    rejected->appended = n;
    return OK;
}

static void append_page(bench *b, fake_sink *f)
{
    sample_sink sink = { .append = fake_append, .append_exemplars = fake_exemplars, .ctx = f };
    CHECK_OK(page_append(b->cache, &sink, &b->rows, &(sink_result){ 0 }, &b->e), b->e);
    page_settle(b->cache);
}

TEST(series_the_sink_knows_come_without_labels_until_it_forgets)
{
    bench b = bench_new();
    fake_sink f = { 0 };
    CHECK_EQ(read_page(&b, "a 1\nb 2\n", 1000), OK);
    append_page(&b, &f);
    CHECK(f.calls == 1 && f.with_labels == 2);
    CHECK_EQ(read_page(&b, "a 2\nb 2\nc 1\n", 2000), OK);
    append_page(&b, &f);
    CHECK(f.calls == 2 && f.with_labels == 1);
    CHECK_EQ(read_page(&b, "a 2\n", 3000), OK); /* the markers of b and c rely on their refs, too */
    append_page(&b, &f);
    CHECK(f.calls == 3 && f.with_labels == 0);
    f.forgot = true;
    CHECK_EQ(read_page(&b, "a 2\n", 4000), OK);
    append_page(&b, &f);
    CHECK(f.calls == 5 && f.with_labels == 1);
    bench_done(&b);
}

/* Pages whose series come, go and change their places, against a plain list of who was there last. */
TEST(whatever_the_order_each_series_comes_once_and_ends_once)
{
    enum { SERIES = 12 };
    rand_state r = rand_seeded(7);
    bench b = bench_new();
    bool was[SERIES] = { false };
    for (int64_t t = 1; t < 400; t++) {
        AUTO(buf_done) buf text = BUF_INIT(1 << 16);
        bool is[SERIES] = { false };
        size_t want = 0, ends = 0, stale = 0;
        bool broken = rand_below(&r, 10) == 0;
        for (uint64_t n = rand_below(&r, 20), from = rand_below(&r, SERIES), i = 0; i < n; i++) {
            uint64_t which = rand_below(&r, 4) ? (from + i) % SERIES : rand_below(&r, SERIES);
            buf_printf(&text, "s%s %d\n",
                       (const char *[]){ "", "{a=\"1\"}", "{a=\"2\"}", "2", "3", "{b=\"x y\"}", "{b=\"}\"}", "44", "4",
                                         "5", "6", "7" }[which],
                       (int)i);
            want += !is[which];
            is[which] = true;
        }
        if (broken)
            buf_append(&text, STR("broken{\n"));
        for (int i = 0; i < SERIES; i++)
            ends += was[i] && (broken || !is[i]);
        CHECK_EQ(read_page(&b, buf_cstr(&text), t * 1000) != OK, broken);
        for (size_t i = 0; i < b.rows.len; i++)
            stale += is_stale(b.rows.at[i].v);
        CHECK_MSG(stale == ends, "page %d: %zu markers instead of %zu", (int)t, stale, ends);
        CHECK_MSG(b.rows.len - stale == (broken ? 0 : want), "page %d: %zu rows", (int)t, b.rows.len - stale);
        page_settle(b.cache);
        for (int i = 0; i < SERIES; i++)
            was[i] = is[i] && !broken;
    }
    bench_done(&b);
}

TEST(series_with_their_own_time_end_where_the_job_says_so)
{
    bench b = bench_new();
    b.job.track_timestamps_staleness = true;
    CHECK_EQ(read_page(&b, "a 1 500\n", 1000), OK);
    page_settle(b.cache);
    CHECK_EQ(read_page(&b, "b 1\n", 2000), OK);
    CHECK_EQ(b.rows.len, 2);
    bench_done(&b);
}

TEST(exemplars_of_a_page_go_to_the_sink_with_its_time)
{
    bench b = bench_new();
    fake_sink f = { 0 };
    label base[1] = { { STR("job"), STR("j") } };
    page_rules r = { .target = { base, 1 }, .job = &b.job };
    CHECK_OK(page_read(b.cache, &r, STR("a_total 1 # {t=\"x\"} 1\nb_total 2 # {t=\"y\"} 1 5\n# EOF\n"),
                       EXPOSITION_OPENMETRICS, 1000, &b.rows, &b.result, &b.e),
             b.e);
    append_page(&b, &f);
    CHECK_EQ(f.exemplars, 2);
    bench_done(&b);
}

TEST(a_protobuf_page_brings_native_histograms_only_where_the_job_wants_them)
{
    /* MetricFamily { h, HISTOGRAM, metric { histogram { count 3, sum 1.5, schema 3, zero_threshold, one span, delta 3 } } } */
    static const char page[] = "\x26\x0a\x01h\x18\x04\x22\x1f\x3a\x1d\x08\x03\x11\0\0\0\0\0\0\xf8\x3f\x28\x06"
                               "\x31\0\0\0\0\0\0\xf0\x3f\x62\x02\x10\x01\x6a\x01\x06";
    bench b = bench_new();
    label base[1] = { { STR("job"), STR("j") } };
    page_rules r = { .target = { base, 1 }, .job = &b.job };
    for (int native = 0; native < 2; native++) {
        b.job.native_histograms = native;
        vec_clear(&b.rows);
        CHECK_OK(page_read(b.cache, &r, str_of(page, sizeof page - 1), EXPOSITION_PROTOBUF, 1000 + native, &b.rows,
                           &b.result, &b.e),
                 b.e);
        size_t histograms = 0;
        for (size_t i = 0; i < b.rows.len; i++)
            histograms += b.rows.at[i].histogram != NULL;
        CHECK_EQ(histograms, native);
        CHECK_EQ(b.result.kept, native ? 1 : 3); /* or _sum, _count and _bucket{le="+Inf"} */
        page_settle(b.cache);
    }
    b.job.bucket_limit = 1;
    vec_clear(&b.rows);
    CHECK_EQ(page_read(b.cache, &r, str_of(page, sizeof page - 1), EXPOSITION_PROTOBUF, 2000, &b.rows, &b.result, &b.e),
             OK);
    bench_done(&b);
}

TEST(reading_a_page_survives_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        bench b = bench_new();
        label base[1] = { { STR("job"), STR("j") } };
        page_rules r = { .target = { base, 1 }, .job = &b.job };
        fault_alloc(nth);
        err_kind k = page_read(b.cache, &r, STR("# HELP a x\n# TYPE a counter\na{x=\"y\\n\"} 1\nb 2\n"), false, 1000,
                               &b.rows, &b.result, &b.e);
        bool fired = fault_fired();
        CHECK_MSG(k == OK || fired, "%s", b.e.message);
        if (k)
            CHECK_EQ(b.rows.len, 0);
        page_settle(b.cache);
        bench_done(&b);
        if (!fired)
            break;
    }
}
