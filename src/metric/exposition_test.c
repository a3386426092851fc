#include "base/test.h"
#include "base/file.h"
#include "metric/metric.h"
#include "metric/prompb_wire.h"
#include <stdio.h>

/* All samples as "series value[@time] type" lines. */
static err_kind dump(const char *text, bool openmetrics, buf *out, err *e)
{
    exposition_parser *p = exposition_new(str_from(text), openmetrics);
    exposition_sample s;
    int more;
    while ((more = exposition_next(p, &s, e)) == 1) {
        labels_format(s.labels, out);
        buf_append_char(out, ' ');
        buf_append_double(out, s.v);
        if (s.has_time)
            buf_printf(out, "@%" PRId64, s.t_ms);
        buf_printf(out, " %s\n", metric_type_name(s.type));
    }
    exposition_free(p);
    return more == 0 ? OK : e->kind;
}

static const struct {
    const char *what, *text, *want;
    bool openmetrics;
} good[] = {
    { "a bare sample", "up 1\n", "up 1 unknown\n", false },
    { "no newline at the end", "up 1", "up 1 unknown\n", false },
    { "labels in any order are sorted", "x{b=\"2\",a=\"1\"} 0.5\n", "x{a=\"1\",b=\"2\"} 0.5 unknown\n", false },
    { "trailing comma and blanks", "x { a = \"1\" , } 3 \n", "x{a=\"1\"} 3 unknown\n", false },
    { "escapes", "x{a=\"q\\\"\\\\\\n}\"} 1\n", "x{a=\"q\\\"\\\\\\n}\"} 1 unknown\n", false },
    { "timestamps are milliseconds", "x 1 1395066363000\n", "x 1@1395066363000 unknown\n", false },
    { "timestamps are seconds in OpenMetrics", "x 1 1395066363.25\n# EOF\n", "x 1@1395066363250 unknown\n", true },
    { "types reach the parts of a family", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 3e0\n",
      "h_bucket{le=\"+Inf\"} 2 histogram\nh_sum 3 histogram\n", false },
    { "old Python prints three exponent digits", "x 7.49e+010\n", "x 74900000000 unknown\n", false },
    { "special values", "a NaN\nb +Inf\nc -Inf\n", "a NaN unknown\nb +Inf unknown\nc -Inf unknown\n", false },
    { "quoted metric names", "{\"my.name\",a=\"1\"} 1\n", "my.name{a=\"1\"} 1 unknown\n", false },
    { "exemplars are skipped", "x_total 1 # {trace=\"a b\"} 0.5 12\n# EOF\n", "x_total 1 unknown\n", true },
    { "comments, blank and CRLF lines", "# hello\r\n\r\nup 1\r\n", "up 1 unknown\n", false },
    { "empty label values are dropped", "x{a=\"\"} 1\n", "x 1 unknown\n", false },
};

TEST(exposition_reads)
{
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        AUTO(buf_done) buf out = BUF_INIT(10000);
        err e = { 0 };
        CHECK_MSG(dump(good[i].text, good[i].openmetrics, &out, &e) == OK, "%s: %s", good[i].what, e.message);
        CHECK_MSG(str_is(buf_str(&out), good[i].want), "%s: got \"%s\"", good[i].what, buf_cstr(&out));
    }
}

static const struct {
    const char *what, *text, *message;
    unsigned line, column;
    bool openmetrics;
} bad[] = {
    { "no value", "up 1\nup\n", "a value is missing", 2, 3, false },
    { "a word for a value", "up one\n", "not a number", 1, 4, false },
    { "an open brace", "up{a=\"1\" 1\n", "not closed", 1, 1, false },
    { "an unquoted label value", "up{a=1} 1\n", "double quotes", 1, 6, false },
    { "a bad metric name", "u-p 1\n", "not allowed", 1, 1, false },
    { "a bad label name", "up{a-b=\"1\"} 1\n", "label name", 1, 4, false },
    { "a repeated label", "up{a=\"1\",a=\"2\"} 1\n", "occurs twice", 1, 1, false },
    { "a bad timestamp", "up 1 soon\n", "timestamp", 1, 6, false },
    { "text behind the timestamp", "up 1 2 3\n", "unexpected text", 1, 8, false },
    { "HTML", "<html><body>\n", "", 1, 0, false },
    { "bytes that are not UTF-8", "up{a=\"\xff\"} 1\n", "not UTF-8", 1, 0, false },
    { "a page cut off", "up 1\n", "# EOF", 1, 1, true },
};

TEST(exposition_errors_name_line_and_column)
{
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        AUTO(buf_done) buf out = BUF_INIT(10000);
        err e = { 0 };
        CHECK_MSG(dump(bad[i].text, bad[i].openmetrics, &out, &e) == ERR_PARSE, "%s: accepted", bad[i].what);
        CHECK_MSG(strstr(e.message, bad[i].message), "%s: \"%s\"", bad[i].what, e.message);
        CHECK_MSG(e.line == bad[i].line && (!bad[i].column || e.column == bad[i].column), "%s: at %u:%u", bad[i].what,
                  e.line, e.column);
    }
}

TEST(exposition_a_page_cannot_spell_the_staleness_marker)
{
    exposition_parser *p = exposition_new(STR("x NaN\n"), false);
    exposition_sample s;
    CHECK_EQ(exposition_next(p, &s, NULL), 1);
    CHECK(isnan(s.v) && !is_stale(s.v));
    exposition_free(p);
}

TEST(exposition_keeps_metadata)
{
    exposition_parser *p = exposition_new(STR("# HELP x Say \\\\ \\n it.\n# TYPE x counter\nx_total 1\n"), false);
    exposition_sample s;
    while (exposition_next(p, &s, NULL) == 1) {}
    CHECK_EQ(exposition_meta_count(p), 1);
    CHECK_STR(exposition_meta_at(p, 0).help, "Say \\ \n it.");
    CHECK_EQ(exposition_meta_at(p, 0).type, METRIC_COUNTER);
    exposition_free(p);
}

TEST(exposition_survives_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        fault_alloc(nth);
        exposition_parser *p = exposition_new(STR("# HELP x \\\\a\n# TYPE x counter\nx{a=\"\\n\"} 1\n"), false);
        exposition_sample s;
        err e;
        int more = p ? 1 : -1;
        while (p && (more = exposition_next(p, &s, &e)) == 1) {}
        bool fired = fault_fired();
        exposition_free(p);
        CHECK_EQ(fired || more == 0, true);
        if (!fired)
            break;
    }
}

/* The captures beside the project, if they are there: every line must parse. */
TEST(exposition_reads_the_reference_pages)
{
    static const char *const pages[] = { "vllm-v1-healthy",
                                         "vllm-v0",
                                         "sglang",
                                         "tgi",
                                         "llamacpp-2026",
                                         "node_exporter-1.5.0",
                                         "dcgm-exporter",
                                         "triton-trtllm",
                                         "ascend-npu-exporter" };
    for (size_t i = 0; i < COUNT_OF(pages); i++) {
        char path[256];
        snprintf(path, sizeof path, "../../../shared/reference/exposition/%s.prom", pages[i]);
        if (!file_exists(path)) {
            print_message("skipped: ../shared is not here\n");
            return;
        }
        AUTO(buf_done) buf text = BUF_INIT(4 << 20), out = BUF_INIT(16 << 20);
        err e = { 0 };
        CHECK_OK(file_read(path, &text, &e), e);
        CHECK_MSG(dump(buf_cstr(&text), false, &out, &e) == OK, "%s:%u:%u %s", pages[i], e.line, e.column, e.message);
    }
}

/* What reading a page gave, line by line, as text. */
static void read_all(exposition_parser *p, buf *out, const str *expect, size_t expect_count)
{
    exposition_line line;
    labels l;
    err e = { 0 };
    int more;
    for (size_t i = 0;; i++) {
        exposition_expect(p, i < expect_count ? expect[i] : STR_EMPTY);
        more = exposition_next_line(p, &line, &e);
        if (more <= 0)
            break;
        unsigned exemplars = line.exemplars;
        CHECK_OK(exposition_labels(p, &l, NULL, &e), e);
        labels_format(l, out);
        if (line.histogram)
            buf_printf(out, " histogram %g", line.histogram->count);
        buf_printf(out, " %g", line.v);
        if (line.has_time)
            buf_printf(out, " @%" PRId64, line.t_ms);
        if (line.start_ms)
            buf_printf(out, " since %" PRId64, line.start_ms);
        for (unsigned k = 0; k < exemplars; k++) {
            AUTO(arena_done) arena a = arena_init(1 << 16);
            exemplar x;
            if (exposition_exemplar(p, k, &a, &x, &e)) {
                buf_append(out, STR(" #broken"));
                continue;
            }
            buf_append(out, STR(" #"));
            labels_format(x.labels, out);
            buf_printf(out, " %g @%" PRId64, x.v, x.t_ms);
        }
        buf_append_char(out, '\n');
    }
    CHECK_MSG(more == 0, "%s", e.message);
}

TEST(a_line_that_is_expected_reads_as_any_other)
{
    static const struct {
        const char *what, *line, *expected;
        bool as_expected;
    } cases[] = {
        { "the same series", "up{a=\"b\"} 1", "up{a=\"b\"}", true },
        { "the same name", "up 1", "up", true },
        { "a longer name", "upper 1", "up", false },
        { "a name that has labels now", "up{a=\"b\"} 1", "up", false },
        { "a blank before the labels", "up {a=\"b\"} 1", "up", false },
        { "another series", "up{a=\"c\"} 1", "up{a=\"b\"}", false },
        { "no value behind it", "up", "up", false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        exposition_parser *p = exposition_new(str_from(cases[i].line), false),
                          *plain = exposition_new(str_from(cases[i].line), false);
        exposition_line got = { 0 }, want = { 0 };
        err e = { 0 };
        exposition_expect(p, str_from(cases[i].expected));
        CHECK_EQ(exposition_next_line(p, &got, &e), exposition_next_line(plain, &want, &e));
        CHECK_MSG(got.as_expected == cases[i].as_expected, "%s", cases[i].what);
        CHECK_MSG(str_eq(got.series, want.series) && got.series.ptr == want.series.ptr && got.v == want.v, "%s",
                  cases[i].what);
        exposition_free(p);
        exposition_free(plain);
    }
}

TEST(values_read_as_the_nearest_double_whatever_way_they_are_written)
{
    static const char *const texts[] = { "0",
                                         "1",
                                         "12.5",
                                         "0.1",
                                         "123456789012.345",
                                         "999999999999999",
                                         "0.000000000000001",
                                         "3.14159265358979",
                                         "1e3",
                                         "5.",
                                         ".5",
                                         "-2.5",
                                         "+1",
                                         "0x10",
                                         "1.2.3",
                                         "",
                                         "9007199254740993",
                                         "1234567890.12345678",
                                         "Inf",
                                         "NaN" };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        char line[100];
        double want = 0;
        exposition_line got = { 0 };
        snprintf(line, sizeof line, "a %s", texts[i]);
        bool fine = str_to_double(str_from(texts[i]), &want);
        exposition_parser *p = exposition_new(str_from(line), false);
        CHECK_MSG((exposition_next_line(p, &got, &(err){ 0 }) == 1) == fine, "%s", texts[i]);
        CHECK_MSG(!fine || got.v == want || isnan(want), "%s gives %.17g, not %.17g", texts[i], got.v, want);
        exposition_free(p);
    }
}

TEST(comments_seen_before_are_not_read_again_until_one_changes)
{
    static const char first[] = "# HELP a what a is\n# TYPE a counter\na 1\n# TYPE b gauge\nb 2\n";
    static const struct {
        const char *what, *text;
        size_t families; /* read; 0: all were known */
    } cases[] = {
        { "the same page with other values", "# HELP a what a is\n# TYPE a counter\na 7\n# TYPE b gauge\nb 8\n", 0 },
        { "another help", "# HELP a what a was\n# TYPE a counter\na 7\n# TYPE b gauge\nb 8\n", 2 },
        { "the last type changed", "# HELP a what a is\n# TYPE a counter\na 7\n# TYPE b counter\nb 8\n", 2 },
        { "one family fewer", "# HELP a what a is\n# TYPE a counter\na 7\n", 1 },
        { "one family more", "# HELP a what a is\n# TYPE a counter\na 7\n# TYPE b gauge\nb 8\n# TYPE c gauge\nc 1\n",
          3 },
    };
    AUTO(buf_done) buf out = BUF_INIT(1 << 16);
    exposition_parser *before = exposition_new(str_from(first), false);
    size_t n;
    read_all(before, &out, NULL, 0);
    const uint64_t *hashes = exposition_comment_hashes(before, &n);
    CHECK_EQ(n, 3);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        exposition_parser *p = exposition_new(str_from(cases[i].text), false);
        exposition_know_comments(p, hashes, n);
        read_all(p, &out, NULL, 0);
        CHECK_MSG(exposition_comments_known(p) == !cases[i].families, "%s", cases[i].what);
        CHECK_MSG(exposition_meta_count(p) == cases[i].families, "%s: %zu families", cases[i].what,
                  exposition_meta_count(p));
        exposition_free(p);
    }
    exposition_free(before);
}

TEST(openmetrics_lines_bring_their_exemplars)
{
    AUTO(buf_done) buf out = BUF_INIT(1 << 16);
    exposition_parser *p = exposition_new(STR("# TYPE a counter\n"
                                              "a_total 5 # {trace_id=\"x\"} 0.5 1.5\n"
                                              "a_total{b=\"c\"} 6 2 # {} 1\n"
                                              "a_total{b=\"d\"} 7 # nonsense\n"
                                              "# EOF\n"),
                                          true);
    read_all(p, &out, NULL, 0);
    CHECK_STR(buf_str(&out), "a_total 5 #{trace_id=\"x\"} 0.5 @1500\n"
                             "a_total{b=\"c\"} 6 @2000 #{} 1 @0\n"
                             "a_total{b=\"d\"} 7 #broken\n");
    exposition_free(p);
}

TEST(bounds_and_quantiles_are_spelled_as_prometheus_3_does)
{
    static const struct {
        const char *type, *series, *want;
    } cases[] = {
        { "histogram", "x_bucket{le=\"1\"}", "x_bucket{le=\"1.0\"}" },
        { "histogram", "x_bucket{le=\"0.50\"}", "x_bucket{le=\"0.5\"}" },
        { "histogram", "x_bucket{le=\"+Inf\"}", "x_bucket{le=\"+Inf\"}" },
        { "summary", "x{quantile=\"1\"}", "x{quantile=\"1.0\"}" },
        { "gauge", "x{le=\"1\"}", "x{le=\"1\"}" },
        { "histogram", "x_bucket{le=\"odd\"}", "x_bucket{le=\"odd\"}" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char page[200];
        AUTO(buf_done) buf out = BUF_INIT(1 << 10);
        exposition_sample s;
        err e = { 0 };
        snprintf(page, sizeof page, "# TYPE x %s\n%s 1\n", cases[i].type, cases[i].series);
        exposition_parser *p = exposition_new(str_from(page), false);
        CHECK_MSG(exposition_next(p, &s, &e) == 1, "%s", e.message);
        labels_format(s.labels, &out);
        CHECK_STR(buf_str(&out), cases[i].want);
        exposition_free(p);
    }
}

/* ---- protobuf ---- */
static void put_pair(buf *b, uint32_t number, const char *name, const char *value)
{
    size_t at = pb_begin(b, number);
    pb_put_bytes(b, 1, str_from(name));
    pb_put_bytes(b, 2, str_from(value));
    pb_end(b, at);
}

static void put_stamp(buf *b, uint32_t number, uint64_t seconds)
{
    size_t at = pb_begin(b, number);
    pb_put_uint(b, 1, seconds);
    pb_put_uint(b, 2, 500000000);
    pb_end(b, at);
}

static void put_exemplar(buf *b, uint32_t number)
{
    size_t at = pb_begin(b, number);
    put_pair(b, 1, "trace_id", "x");
    pb_put_double(b, 2, 0.25);
    put_stamp(b, 3, 9);
    pb_end(b, at);
}

static void put_family(buf *page, const char *name, uint64_t type, void (*put_metric)(buf *))
{
    AUTO(buf_done) buf b = BUF_INIT(1 << 16);
    char head[PB_VARINT_MAX];
    pb_put_bytes(&b, 1, str_from(name));
    pb_put_bytes(&b, 2, STR("help"));
    pb_put_uint(&b, 3, type);
    size_t at = pb_begin(&b, 4);
    put_pair(&b, 1, "job", "x");
    put_metric(&b);
    pb_end(&b, at);
    buf_append_bytes(page, head, (size_t)(pb_write_varint(head, b.len) - head));
    buf_append(page, buf_str(&b));
}

static void put_counter(buf *b)
{
    size_t at = pb_begin(b, 3);
    pb_put_double(b, 1, 5);
    put_exemplar(b, 2);
    put_stamp(b, 3, 7);
    pb_end(b, at);
    pb_put_uint(b, 6, 1234);
}

static void put_summary(buf *b)
{
    size_t at = pb_begin(b, 4);
    pb_put_uint(b, 1, 3);
    pb_put_double(b, 2, 1.5);
    size_t q = pb_begin(b, 3);
    pb_put_double(b, 1, 1);
    pb_put_double(b, 2, 0.75);
    pb_end(b, q);
    pb_end(b, at);
}

static void put_both(buf *b)
{
    size_t at = pb_begin(b, 7);
    pb_put_uint(b, 1, 3);
    pb_put_double(b, 2, 1.5);
    size_t bucket = pb_begin(b, 3);
    pb_put_uint(b, 1, 2);
    pb_put_double(b, 2, 1);
    put_exemplar(b, 3);
    pb_end(b, bucket);
    pb_put_uint(b, 5, pb_zigzag(3));
    pb_put_double(b, 6, 1e-9);
    size_t span = pb_begin(b, 12);
    pb_put_uint(b, 2, 1);
    pb_end(b, span);
    pb_put_bytes(b, 13, STR("\x06"));
    pb_end(b, at);
}

TEST(a_page_in_protobuf_gives_what_its_text_would)
{
    static const struct {
        const char *what;
        bool native, classic;
        const char *histogram;
    } cases[] = {
        { "classic", false, false,
          "h_sum{job=\"x\"} 1.5\nh_count{job=\"x\"} 3\nh_bucket{job=\"x\",le=\"1.0\"} 2 #{trace_id=\"x\"} 0.25 @9500\n"
          "h_bucket{job=\"x\",le=\"+Inf\"} 3\n" },
        { "native", true, false, "h{job=\"x\"} histogram 3 1.5 #{trace_id=\"x\"} 0.25 @9500\n" },
        { "both", true, true,
          "h{job=\"x\"} histogram 3 1.5 #{trace_id=\"x\"} 0.25 @9500\n"
          "h_sum{job=\"x\"} 1.5\nh_count{job=\"x\"} 3\nh_bucket{job=\"x\",le=\"1.0\"} 2 #{trace_id=\"x\"} 0.25 @9500\n"
          "h_bucket{job=\"x\",le=\"+Inf\"} 3\n" },
    };
    AUTO(buf_done) buf page = BUF_INIT(1 << 16);
    put_family(&page, "c_total", 0, put_counter);
    put_family(&page, "s", 2, put_summary);
    put_family(&page, "h", 4, put_both);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(buf_done) buf out = BUF_INIT(1 << 16), want = BUF_INIT(1 << 16);
        AUTO(arena_done) arena a = arena_init(1 << 20);
        exposition_parser *p = exposition_open(buf_str(&page), EXPOSITION_PROTOBUF, &a);
        exposition_want(p, cases[i].native, cases[i].classic);
        read_all(p, &out, NULL, 0);
        buf_append(&want, STR("c_total{job=\"x\"} 5 @1234 since 7500 #{trace_id=\"x\"} 0.25 @9500\n"
                              "s_sum{job=\"x\"} 1.5\ns_count{job=\"x\"} 3\ns{job=\"x\",quantile=\"1.0\"} 0.75\n"));
        buf_append(&want, str_from(cases[i].histogram));
        CHECK_STR(buf_str(&out), buf_cstr(&want));
        CHECK_EQ(exposition_meta_count(p), 3);
        CHECK_EQ(exposition_meta_at(p, 2).type, METRIC_HISTOGRAM);
        exposition_free(p);
    }
}

TEST(every_cut_of_a_protobuf_page_is_refused_or_shorter)
{
    AUTO(buf_done) buf page = BUF_INIT(1 << 16);
    put_family(&page, "c_total", 0, put_counter);
    put_family(&page, "h", 4, put_both);
    for (size_t cut = 0; cut < page.len; cut++) {
        AUTO(arena_done) arena a = arena_init(1 << 20);
        char *copy = mem_dup(page.ptr, MAX(cut, 1));
        exposition_parser *p = exposition_open(str_of(copy, cut), EXPOSITION_PROTOBUF, &a);
        exposition_line line;
        size_t n = 0;
        while (exposition_next_line(p, &line, &(err){ 0 }) == 1)
            n++;
        CHECK_MSG(n < 2, "cut at %zu gives %zu lines", cut, n);
        exposition_free(p);
        mem_free(copy);
    }
}
