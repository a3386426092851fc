#include "base/test.h"
#include "store/remote/rqueue_inside.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define T0 INT64_C(1790000000000)
#define PLENTY (UINT64_C(1) << 40)

/* What a reader saw, as text: "s0=up{i="0"} 0@+5=1 " … */
typedef struct seen { buf text; } seen;

static void on_series(void *ctx, uint32_t number, labels l)
{
    buf *b = ctx;
    buf_printf(b, "s%u=", number);
    labels_format(l, b);
    buf_append_char(b, ' ');
}

static void on_row(void *ctx, const rqueue_row *r)
{
    buf *b = ctx;
    if (r->refused)
        return;
    if (r->kind == RQUEUE_HISTOGRAM)
        buf_printf(b, "%u@%" PRId64 "=<%" STR_FMT "> ", r->series, r->t_ms - T0, STR_ARG(r->message));
    else
        buf_printf(b, "%u@%" PRId64 "=%g ", r->series, r->t_ms - T0, r->v);
}

static void on_exemplar(void *ctx, uint32_t series, const exemplar *x)
{
    buf *b = ctx;
    buf_printf(b, "x%u@%" PRId64 "=%g", series, x->t_ms - T0, x->v);
    labels_format(x->labels, b);
    buf_append_char(b, ' ');
}

static rqueue_events events(buf *b) { return (rqueue_events){ .series = on_series, .row = on_row, .exemplar = on_exemplar, .ctx = b }; }

static const char *read_all(rqueue_reader *r)
{
    static buf text = BUF_INIT(1u << 20);
    rqueue_events to = events(&text);
    err e = { 0 };
    buf_reset(&text);
    buf_append(&text, STR(""));
    err_kind k;
    while ((k = rqueue_read(r, &to, &e)) != ERR_NOT_FOUND)
        if (k)
            buf_printf(&text, "[%s] ", err_kind_name(k));
    return buf_cstr(&text);
}

static labels up(const char *i)
{
    static label at[2];
    at[0] = (label){ METRIC_NAME, STR("up") };
    at[1] = (label){ STR("i"), str_from(i) };
    return (labels){ at, 2 };
}

/* One series, one row. */
static err_kind put_one(rqueue *q, const char *i, int64_t t, double v)
{
    rqueue_begin(q);
    rqueue_float(q, rqueue_series(q, up(i)), T0 + t, v);
    err e = { 0 };
    err_kind k = rqueue_write(q, &e);
    if (!k)
        rqueue_commit(q, NULL);
    return k;
}

static rqueue *open_at(const char *dir)
{
    rqueue *q = NULL;
    err e = { 0 };
    CHECK_OK(rqueue_open(dir, PLENTY, &q, &e), e);
    return q;
}

static rqueue_reader *reader_at(rqueue *q, const char *name)
{
    rqueue_reader *r = NULL;
    err e = { 0 };
    CHECK_OK(rqueue_reader_open(q, name, &r, &e), e);
    return r;
}

TEST(rqueue_gives_back_what_was_written)
{
    rqueue *q = open_at(test_dir());
    rqueue_reader *r = reader_at(q, "a");
    err e = { 0 };
    rqueue_begin(q);
    uint32_t a = rqueue_series(q, up("0")), b = rqueue_series(q, up("1"));
    rqueue_float(q, a, T0 + 5, 1);
    rqueue_float(q, b, T0 - 7, -2.5);
    rqueue_histogram(q, b, T0 + 6, STR("histo"));
    label trace = { STR("trace"), STR("q") };
    rqueue_exemplar(q, a, &(exemplar){ { &trace, 1 }, 3, T0 + 1 });
    CHECK_OK(rqueue_write(q, &e), e);
    CHECK_STR(str_from(read_all(r)), ""); /* the store has not answered */
    rqueue_commit(q, (const uint8_t[]){ 0, 1, 0 });
    CHECK_STR(str_from(read_all(r)), "s0=up{i=\"0\"} s1=up{i=\"1\"} 0@5=1 1@6=<histo> x0@1=3{trace=\"q\"} ");
    CHECK_STR(str_from(read_all(r)), "");
    rqueue_reader_close(r);
    rqueue_close(q);
}

TEST(rqueue_forgets_an_abandoned_batch)
{
    const char *dir = test_dir();
    rqueue *q = open_at(dir);
    rqueue_reader *r = reader_at(q, "a");
    err e = { 0 };
    CHECK_EQ(put_one(q, "0", 1, 1), OK);
    rqueue_begin(q);
    CHECK_EQ(rqueue_series(q, up("1")), 1);
    rqueue_float(q, 1, T0 + 2, 2);
    CHECK_OK(rqueue_write(q, &e), e);
    rqueue_abandon(q);
    rqueue_begin(q);
    CHECK_EQ(rqueue_series(q, up("2")), 1); /* the number is free again */
    rqueue_float(q, 1, T0 + 3, 3);
    CHECK_OK(rqueue_write(q, &e), e);
    rqueue_commit(q, NULL);
    CHECK_STR(str_from(read_all(r)), "s0=up{i=\"0\"} 0@1=1 s1=up{i=\"2\"} 1@3=3 ");
    rqueue_reader_close(r);
    rqueue_close(q);
}

TEST(rqueue_goes_on_where_it_was)
{
    const char *dir = test_dir();
    rqueue *q = open_at(dir);
    rqueue_reader *r = reader_at(q, "a");
    err e = { 0 };
    CHECK_EQ(put_one(q, "0", 1, 1), OK);
    CHECK_STR(str_from(read_all(r)), "s0=up{i=\"0\"} 0@1=1 ");
    CHECK_OK(rqueue_reader_done(r, rqueue_reader_next(r), &e), e);
    CHECK_EQ(put_one(q, "1", 2, 2), OK);
    rqueue_reader_close(r);
    rqueue_close(q);

    q = open_at(dir); /* as after a kill -9: nothing is written at close */
    r = reader_at(q, "a");
    CHECK_EQ(put_one(q, "2", 3, 3), OK);
    CHECK_STR(str_from(read_all(r)), "s0=up{i=\"0\"} s1=up{i=\"1\"} 1@2=2 s0=up{i=\"2\"} 0@3=3 ");
    CHECK_EQ(rqueue_reader_lost(r), 0);
    CHECK_EQ(rqueue_stats_get(q).segments, 2);
    CHECK_OK(rqueue_reader_done(r, rqueue_reader_next(r), &e), e);
    rqueue_trim(q);
    CHECK_EQ(rqueue_stats_get(q).segments, 1);

    rqueue_reader *late = reader_at(q, "b"); /* a remote that is new gets what comes from now on */
    CHECK_STR(str_from(read_all(late)), "s0=up{i=\"2\"} ");
    CHECK_EQ(put_one(q, "3", 4, 4), OK);
    CHECK_STR(str_from(read_all(late)), "s1=up{i=\"3\"} 1@4=4 ");
    rqueue_reader_close(late);
    rqueue_reader_close(r);
    rqueue_close(q);
}

TEST(rqueue_keeps_what_was_queued_before_anybody_answered)
{
    const char *dir = test_dir();
    rqueue *q = open_at(dir);
    rqueue_reader *r = reader_at(q, "a");
    CHECK_EQ(put_one(q, "0", 1, 1), OK);
    rqueue_reader_close(r);
    rqueue_close(q);
    q = open_at(dir);
    r = reader_at(q, "a");
    CHECK_STR(str_from(read_all(r)), "s0=up{i=\"0\"} 0@1=1 ");
    rqueue_reader_close(r);
    rqueue_close(q);
}

TEST(rqueue_drops_the_oldest_segment_when_it_is_full)
{
    rqueue *q = open_at(test_dir());
    rqueue_reader *r = reader_at(q, "a");
    q->max_bytes = 3000;
    for (int i = 0; i < 3; i++) { /* each in a segment of its own */
        AUTO(buf_done) buf text = BUF_INIT(4096);
        for (int n = 0; n < 1000; n++)
            buf_append_char(&text, (char)('a' + i));
        CHECK_EQ(put_one(q, buf_cstr(&text), i, i), OK);
        q->len = RQUEUE_SEGMENT_BYTES;
        if (i < 2) {
            close(q->fd);
            q->fd = -1;
        }
    }
    CHECK_EQ(rqueue_stats_get(q).segments, 2);
    CHECK_EQ(rqueue_stats_get(q).dropped_rows, 1);
    CHECK_CONTAINS(str_from(read_all(r)), "0@1=1 ");
    CHECK_EQ(rqueue_reader_lost(r), 1);
    rqueue_reader_close(r);
    rqueue_close(q);
}

/* Bytes of the only segment, changed by the test. */
static void edit_segment(const char *dir, off_t at, const void *bytes, size_t n, off_t cut)
{
    char path[FILE_PATH_MAX];
    CHECK_EQ(file_join(path, dir, "00000001", NULL), OK);
    int fd = open(path, O_RDWR);
    struct stat st;
    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    if (n)
        CHECK_EQ(pwrite(fd, bytes, n, at < 0 ? st.st_size + at : at), (ssize_t)n);
    if (cut)
        CHECK_EQ(ftruncate(fd, st.st_size - cut), 0);
    close(fd);
}

TEST(rqueue_survives_torn_and_damaged_segments)
{
    static const struct { const char *what; off_t at; size_t n; off_t cut; const char *want; } rows[] = {
        { "a torn tail is cut", 0, 0, 3, "s0=up{i=\"0\"} 0@1=1 s1=up{i=\"1\"} " },
        { "torn marks count as none refused", -1, 1, 0, "s0=up{i=\"0\"} 0@1=1 s1=up{i=\"1\"} 1@2=2 " },
        { "a flipped bit in the last record cuts it", -10, 1, 0, "s0=up{i=\"0\"} 0@1=1 s1=up{i=\"1\"} " },
        { "a foreign file is set aside", 0, 4, 0, "[corrupt] " },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *dir = test_dir();
        rqueue *q = open_at(dir);
        rqueue_reader *r = reader_at(q, "a");
        CHECK_EQ(put_one(q, "0", 1, 1), OK);
        CHECK_EQ(put_one(q, "1", 2, 2), OK);
        rqueue_reader_close(r);
        rqueue_close(q);
        edit_segment(dir, rows[i].at, "\x55\x55\x55\x55", rows[i].n, rows[i].cut);
        q = open_at(dir);
        r = reader_at(q, "a");
        CHECK_MSG(strcmp(read_all(r), rows[i].want) == 0, "%s: %s", rows[i].what, read_all(r));
        CHECK_EQ(put_one(q, "2", 3, 3), OK); /* and life goes on */
        CHECK_STR(str_from(read_all(r)), "s0=up{i=\"2\"} 0@3=3 ");
        rqueue_reader_close(r);
        rqueue_close(q);
    }
}

TEST(rqueue_survives_damage_found_while_reading)
{
    const char *dir = test_dir();
    rqueue *q = open_at(dir);
    rqueue_reader *r = reader_at(q, "a");
    CHECK_EQ(put_one(q, "0", 1, 1), OK);
    CHECK_EQ(put_one(q, "1", 2, 2), OK);
    edit_segment(dir, RQUEUE_HEADER_BYTES + RQUEUE_RECORD_HEADER_BYTES + 4, "\x55", 1, 0);
    CHECK_STR(str_from(read_all(r)), "[corrupt] ");
    CHECK_EQ(rqueue_reader_lost(r), 2);
    rqueue_reader_close(r);
    rqueue_close(q);
}

TEST(rqueue_write_is_all_or_nothing_under_any_fault)
{
    static const fault_write_kind kinds[] = { FAULT_EIO, FAULT_ENOSPC, FAULT_SHORT_WRITE };
    for (size_t kind = 0; kind < COUNT_OF(kinds); kind++) {
        for (unsigned nth = 0;; nth++) {
            rqueue *q = open_at(test_dir());
            rqueue_reader *r = reader_at(q, "a");
            CHECK_EQ(put_one(q, "0", 1, 1), OK);
            fault_write(nth, kinds[kind]);
            err_kind k = put_one(q, "1", 2, 2);
            bool fired = fault_write_fired();
            CHECK_EQ(k != OK, fired);
            CHECK_EQ(put_one(q, "2", 3, 3), OK);
            const char *got = read_all(r);
            CHECK_CONTAINS(str_from(got), "0@1=1 ");
            CHECK_CONTAINS(str_from(got), "@3=3 ");
            CHECK_EQ(strstr(got, "@2=2") != NULL, !fired);
            rqueue_reader_close(r);
            rqueue_close(q);
            if (!fired)
                break;
        }
    }
}

TEST(rqueue_survives_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        rqueue *q = NULL;
        rqueue_reader *r = NULL;
        const char *dir = test_dir();
        fault_alloc(nth);
        err_kind k = rqueue_open(dir, PLENTY, &q, NULL);
        if (!k)
            k = rqueue_reader_open(q, "a", &r, NULL);
        if (!k)
            k = put_one(q, "0", 1, 1);
        bool fired = fault_fired();
        CHECK_EQ(k, fired ? ERR_NOMEM : OK);
        rqueue_reader_close(r);
        rqueue_close(q);
        if (!fired)
            break;
    }
}
