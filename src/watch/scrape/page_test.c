#include "base/test.h"
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
