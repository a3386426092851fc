#include "base/test.h"
#include "base/file.h"
#include "metric/metric.h"
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

static const struct { const char *what, *text, *want; bool openmetrics; } good[] = {
    { "a bare sample", "up 1\n", "up 1 unknown\n", false },
    { "no newline at the end", "up 1", "up 1 unknown\n", false },
    { "labels in any order are sorted", "x{b=\"2\",a=\"1\"} 0.5\n", "x{a=\"1\",b=\"2\"} 0.5 unknown\n", false },
    { "trailing comma and blanks", "x { a = \"1\" , } 3 \n", "x{a=\"1\"} 3 unknown\n", false },
    { "escapes", "x{a=\"q\\\"\\\\\\n}\"} 1\n", "x{a=\"q\\\"\\\\\\n}\"} 1 unknown\n", false },
    { "timestamps are milliseconds", "x 1 1395066363000\n", "x 1@1395066363000 unknown\n", false },
    { "timestamps are seconds in OpenMetrics", "x 1 1395066363.25\n# EOF\n", "x 1@1395066363250 unknown\n", true },
    { "types reach the parts of a family", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 3e0\n", "h_bucket{le=\"+Inf\"} 2 histogram\nh_sum 3 histogram\n", false },
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

static const struct { const char *what, *text, *message; unsigned line, column; bool openmetrics; } bad[] = {
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
        CHECK_MSG(e.line == bad[i].line && (!bad[i].column || e.column == bad[i].column), "%s: at %u:%u", bad[i].what, e.line, e.column);
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
    static const char *const pages[] = { "vllm-v1-healthy", "vllm-v0", "sglang", "tgi", "llamacpp-2026", "node_exporter-1.5.0", "dcgm-exporter", "triton-trtllm", "ascend-npu-exporter" };
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
