#include "store/import.h"
#include "store/export.h"
#include "store/fixture.h"
#include "base/test.h"
#include <fcntl.h>
#include <unistd.h>

typedef err_kind (*reader)(importer *i, str text, err *e);
static err_kind as_prometheus(importer *i, str text, err *e) { return import_exposition(i, text, false, e); }
static err_kind as_openmetrics(importer *i, str text, err *e) { return import_exposition(i, text, true, e); }

static err_kind take_in(store *s, reader read, const char *text, import_receipt *told, err *e)
{
    AUTO(importer_freep) importer *i = NULL;
    CHECK_EQ(importer_open(s, &i, e), OK);
    err_kind k = read(i, str_from(text), e);
    err_kind finished = importer_finish(i, told, k ? NULL : e);
    return k ? k : finished;
}

static const struct { const char *what; reader read; const char *text, *want; uint64_t left_out; } texts[] = {
    { "OpenMetrics has seconds", as_openmetrics, "# TYPE up gauge\nup{who=\"w1\"} 1 1.5\nup{who=\"w1\"} 2 2.5\n# EOF\n", "w1:1500=1,2500=2", 0 },
    { "the text format has milliseconds", as_prometheus, "up{who=\"w1\"} 1 1500\nup{who=\"w2\"} 2 -7\n", "w1:1500=1 w2:-7=2", 0 },
    { "a sample without a time is left out", as_prometheus, "up{who=\"w1\"} 1\nup{who=\"w1\"} 2 3\n", "w1:3=2", 1 },
    { "order does not matter, the later wins", as_prometheus, "up{who=\"w1\"} 1 30\nup{who=\"w1\"} 2 10\nup{who=\"w1\"} 3 20\nup{who=\"w1\"} 4 10\n", "w1:10=4,20=3,30=1", 0 },
    { "a day and the next are two blocks", as_prometheus, "up{who=\"w1\"} 1 86399999\nup{who=\"w1\"} 2 86400000\n", "w1:86399999=1,86400000=2", 0 },
    { "CSV, a sample a row", import_csv, "timestamp,value,__name__,who\n1.5,1,up,w1\n2,2,up,w2\n", "w1:1500=1 w2:2000=2", 0 },
    { "CSV with quotes, CRLF and a byte order mark", import_csv, "\xef\xbb\xbf\"time\",\"who\",\"metric\",\"v\"\r\n1,\"w,\"\"1\"\"\",up,5\r\n", "w,\"1\":1000=5", 0 },
    { "CSV, a series a column", import_csv, "time,\"up{who=\"\"w1\"\"}\",\"up{who=\"\"w2\"\"}\"\n1970-01-01T00:00:01Z,1,\n2,3,4\n", "w1:1000=1,2000=3 w2:2000=4", 0 },
    { "CSV in milliseconds", import_csv, "timestamp,value,name,who\n1700000000123,1,up,w1\n", "w1:1700000000123=1", 0 },
    { "CSV rows without a value are left out", import_csv, "timestamp,value,name,who\n1,,up,w1\n\n2,1,up,w1\n", "w1:2000=1", 1 },
};

TEST(import_takes_in_text_of_any_age)
{
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        const char *dir = test_dir();
        store *s = open_with((store_options){ .dir = dir, .retention_ms = INT64_C(1) << 53 });
        import_receipt told = { 0 };
        err e = { 0 };
        CHECK_MSG(take_in(s, texts[i].read, texts[i].text, &told, &e) == OK, "%s: %s", texts[i].what, e.message);
        CHECK_MSG(strcmp(all(s, "up"), texts[i].want) == 0, "%s: %s", texts[i].what, all(s, "up"));
        CHECK_EQ(told.left_out, texts[i].left_out);
        CHECK(told.blocks > 0);
        close_store(s);
    }
}

TEST(import_says_where_text_is_wrong)
{
    static const struct { const char *what; reader read; const char *text; uint32_t line; } bad[] = {
        { "no time column", import_csv, "value,name\n1,up\n", 1 },
        { "two time columns", import_csv, "time,timestamp,value\n", 1 },
        { "no header", import_csv, "", 1 },
        { "not a number", import_csv, "time,value,name\n1,x,up\n", 2 },
        { "not a time", import_csv, "time,value,name\n1,1,up\nnoon,1,up\n", 3 },
        { "too few fields", import_csv, "time,value,name\n1,1\n", 2 },
        { "a quote is open", import_csv, "time,value,name\n1,1,\"up\n", 2 },
        { "text behind a quote", import_csv, "time,value,name\n1,1,\"up\"x\n", 2 },
        { "a column that is no series", import_csv, "time,{{\n1,1\n", 1 },
        { "a label's name", import_csv, "time,value,a-b\n1,1,x\n", 1 },
        { "exposition", as_prometheus, "up 1 1\nup{ 1\n", 2 },
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        store *s = open_at(test_dir());
        err e = { 0 };
        CHECK_MSG(take_in(s, bad[i].read, bad[i].text, &(import_receipt){ 0 }, &e) == ERR_PARSE, "%s: %s", bad[i].what, e.message);
        CHECK_MSG(e.line == bad[i].line, "%s: line %u", bad[i].what, e.line);
        close_store(s);
    }
}

TEST(import_wins_over_older_blocks_and_yields_to_the_head)
{
    store *s = store_with_six_hours(test_dir());
    err e = { 0 };
    import_receipt told;
    char text[400];
    int64_t start = window_start(NOW, 2 * HOUR);
    CHECK_OK(store_flush(s, &e), e);
    snprintf(text, sizeof text, "up{who=\"w0\"} 77 %" PRId64 "\nup{who=\"w0\"} 78 %" PRId64 "\nup{who=\"w0\"} 79 %" PRId64 "\n",
             start, start + 1, start + 57 * HOUR / 10);
    CHECK_OK(take_in(s, as_prometheus, text, &told, &e), e);
    const char *got = answer(s, "up", start, start + 1);
    snprintf(text, sizeof text, "w0:%" PRId64 "=77,%" PRId64 "=78", start, start + 1);
    CHECK(strcmp(got, text) == 0);
    snprintf(text, sizeof text, "w0:%" PRId64 "=57", start + 57 * HOUR / 10);
    CHECK(strcmp(answer(s, "up", start + 57 * HOUR / 10, start + 57 * HOUR / 10), text) == 0);
    close_store(s);
}

TEST(import_survives_its_own_restart_and_reopening)
{
    const char *dir = test_dir();
    store *s = open_with((store_options){ .dir = dir, .retention_ms = INT64_C(1) << 53 });
    import_receipt told;
    CHECK_EQ(put(s, "up", 1, NOW, 1), OK);
    CHECK_EQ(take_in(s, as_prometheus, "up{who=\"w1\"} 5 0\n", &told, NULL), OK);
    close_store(s);
    s = open_with((store_options){ .dir = dir, .retention_ms = INT64_C(1) << 53 });
    CHECK_STR(str_from(all(s, "up")), "w1:0=5,1790000000000=1");
    CHECK_EQ(put(s, "up", 1, NOW + 1, 2), OK);
    close_store(s);
}

TEST(import_leaves_no_half_block_behind_a_failed_write)
{
    for (unsigned nth = 0;; nth++) {
        store *s = open_with((store_options){ .dir = test_dir(), .retention_ms = INT64_C(1) << 53 });
        import_receipt told;
        fault_write(nth, FAULT_ENOSPC);
        err_kind k = take_in(s, as_prometheus, "up{who=\"w1\"} 5 0\nup{who=\"w1\"} 6 86400000\n", &told, NULL);
        bool fired = fault_write_fired();
        CHECK_EQ(k != OK, fired);
        if (!fired)
            CHECK_STR(str_from(all(s, "up")), "w1:0=5,86400000=6");
        close_store(s);
        if (!fired)
            break;
    }
}

/* ---- export ---- */

static const char *exported(store *s, export_format format)
{
    static char text[4096];
    char path[FILE_PATH_MAX];
    export_receipt told;
    err e = { 0 };
    CHECK_EQ(file_join(path, test_dir(), "out", NULL), OK);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    CHECK_OK(store_export(s, NULL, 0, INT64_MIN, INT64_MAX, format, fd, path, &told, &e), e);
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    CHECK(n >= 0);
    text[n] = '\0';
    close(fd);
    return text;
}

static const char odd[] = "b{who=\"q\\\"\\\\\\n\"} 2 1\n";
static const struct { export_format format; const char *text; reader back; } exports[] = {
    { EXPORT_OPENMETRICS, "# TYPE a unknown\na{who=\"w1\"} 0.1 1.500\na{who=\"w1\"} +Inf 2\n# TYPE b unknown\nb{who=\"q\\\"\\\\\\n\"} 2 0.001\n# EOF\n", as_openmetrics },
    { EXPORT_PROMETHEUS, "a{who=\"w1\"} 0.1 1500\na{who=\"w1\"} +Inf 2000\nb{who=\"q\\\"\\\\\\n\"} 2 1\n", as_prometheus },
    { EXPORT_CSV, "timestamp,value,__name__,who\n1.500,0.1,a,w1\n2,+Inf,a,w1\n0.001,2,b,\"q\"\"\\\n\"\n", import_csv },
};

TEST(export_says_what_import_understands)
{
    char text[400];
    import_receipt told;
    err e = { 0 };
    store *s = open_with((store_options){ .dir = test_dir(), .retention_ms = INT64_C(1) << 53 });
    snprintf(text, sizeof text, "a{who=\"w1\"} 0.1 1500\na{who=\"w1\"} +Inf 2000\n%s", odd);
    CHECK_OK(take_in(s, as_prometheus, text, &told, &e), e);
    CHECK_EQ(put(s, "a", 1, NOW, stale_nan()), OK); /* no text can say it */
    for (size_t i = 0; i < COUNT_OF(exports); i++) {
        CHECK_STR(str_from(exported(s, exports[i].format)), exports[i].text);
        store *back = open_with((store_options){ .dir = test_dir(), .retention_ms = INT64_C(1) << 53 });
        CHECK_OK(take_in(back, exports[i].back, exports[i].text, &told, &e), e);
        CHECK_STR(str_from(exported(back, exports[i].format)), exports[i].text);
        close_store(back);
    }
    close_store(s);
}
