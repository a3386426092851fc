#include "base/test.h"
#include "watch/receive/remote_write.h"

/* A little protobuf writer, enough to say what a sender would. */
static void put_varint(buf *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        buf_append_char(b, (char)(v | 0x80));
    buf_append_char(b, (char)v);
}
static void put_bytes(buf *b, uint32_t field, str s)
{
    put_varint(b, field << 3 | 2);
    put_varint(b, s.len);
    buf_append(b, s);
}
static void put_label(buf *series, const char *name, const char *value)
{
    AUTO(buf_done) buf l = BUF_INIT(1 << 17);
    put_bytes(&l, 1, str_from(name));
    put_bytes(&l, 2, str_from(value));
    put_bytes(series, 1, buf_str(&l));
}
static void put_sample(buf *series, int64_t t_ms, double v)
{
    AUTO(buf_done) buf s = BUF_INIT(64);
    put_varint(&s, 1 << 3 | 1);
    buf_append_bytes(&s, &v, 8);
    put_varint(&s, 2 << 3 | 0);
    put_varint(&s, (uint64_t)t_ms);
    put_bytes(series, 2, buf_str(&s));
}
static void one_series(buf *request, const char *name, const char *label_name, int64_t t_ms, double v)
{
    AUTO(buf_done) buf series = BUF_INIT(1 << 18);
    put_label(&series, "job", "x");
    put_label(&series, "__name__", name);
    if (label_name)
        put_label(&series, label_name, "v");
    put_sample(&series, t_ms, v);
    put_bytes(request, 1, buf_str(&series));
}

TEST(a_request_becomes_sorted_rows)
{
    AUTO(buf_done) buf request = BUF_INIT(1 << 20);
    AUTO(arena_done) arena a = arena_init(1 << 20);
    sample_row *rows;
    size_t n;
    err e = { 0 };
    one_series(&request, "up", NULL, 1000, 1.5);
    one_series(&request, "down", "zone", -5, -0.0);
    put_bytes(&request, 3, STR("\x12\x02up")); /* metadata */
    put_bytes(&request, 99, STR("a field of the future"));
    CHECK_OK(remote_write_decode(buf_str(&request), &a, &rows, &n, &e), e);
    CHECK_EQ(n, 2);
    CHECK_STR(labels_name(rows[0].labels), "up");
    CHECK_STR(rows[0].labels.at[0].name, "__name__");
    CHECK_STR(labels_get(rows[1].labels, STR("zone")), "v");
    CHECK_EQ(rows[0].t_ms, 1000);
    CHECK_EQ(rows[1].t_ms, -5);
    CHECK_DOUBLE(rows[0].v, 1.5);
}

TEST(a_series_with_impossible_labels_is_left_out_and_told)
{
    static const struct {
        const char *what, *name, *label;
    } cases[] = {
        { "a metric name that starts with a digit", "1up", NULL },
        { "an empty metric name", "", NULL },
        { "a label name with a blank", "up", "a b" },
        { "a repeated label", "up", "job" },
        { "a label that is not UTF-8", "up\xff", NULL },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(buf_done) buf request = BUF_INIT(1 << 20);
        AUTO(arena_done) arena a = arena_init(1 << 20);
        sample_row *rows;
        size_t n;
        remote_write_stats stats;
        err e = { 0 };
        one_series(&request, cases[i].name, cases[i].label, 1, 1);
        one_series(&request, "good", NULL, 1, 1);
        CHECK_MSG(remote_write_read(buf_str(&request), &a, &rows, &n, &stats, &e) == OK, "%s: %s", cases[i].what,
                  e.message);
        CHECK_MSG(stats.invalid == 1 && n == 1, "%s: %zu invalid, %zu rows", cases[i].what, stats.invalid, n);
        CHECK_MSG(stats.first.message[0], "%s", cases[i].what);
        CHECK_MSG(remote_write_decode(buf_str(&request), &a, &rows, &n, &e) != OK, "%s", cases[i].what);
    }
}

TEST(every_cut_of_a_request_is_refused_or_shorter_never_read_beyond)
{
    AUTO(buf_done) buf request = BUF_INIT(1 << 20);
    one_series(&request, "up", "zone", 1000, 1.5);
    one_series(&request, "up2", "zone", 1000, 1.5);
    for (size_t cut = 0; cut < request.len; cut++) {
        AUTO(arena_done) arena a = arena_init(1 << 20);
        sample_row *rows;
        size_t n = 0;
        char *copy = mem_dup(request.ptr, MAX(cut, 1)); /* so that the sanitizer sees the end */
        err_kind k = remote_write_decode(str_of(copy, cut), &a, &rows, &n, &(err){ 0 });
        CHECK_MSG(k == ERR_PARSE || (k == OK && n < 2), "cut at %zu gives kind %d, %zu rows", cut, k, n);
        mem_free(copy);
    }
}

TEST(wire_types_and_varints_that_do_not_exist_are_refused)
{
    static const struct {
        const char *what;
        str bytes;
    } cases[] = {
        { "a varint of eleven bytes", STR_INIT("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01") },
        { "a group", STR_INIT("\x0b") },
        { "field number zero", STR_INIT("\x02\x01x") },
        { "a length beyond the end", STR_INIT("\x0a\x7fx") },
        { "a length of nearly 2^64", STR_INIT("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x") },
        { "a fixed64 cut short", STR_INIT("\x09\x01\x02") },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena_done) arena a = arena_init(1 << 20);
        sample_row *rows;
        size_t n;
        CHECK_MSG(remote_write_decode(cases[i].bytes, &a, &rows, &n, &(err){ 0 }) == ERR_PARSE, "%s", cases[i].what);
    }
}

TEST(too_many_labels_are_told_by_their_limit)
{
    AUTO(buf_done) buf series = BUF_INIT(1 << 20), request = BUF_INIT(1 << 20);
    AUTO(arena_done) arena a = arena_init(1 << 20);
    sample_row *rows;
    size_t n;
    err e = { 0 };
    for (int i = 0; i < LABELS_MAX + 1; i++) {
        char name[16];
        snprintf(name, sizeof name, "l%d", i);
        put_label(&series, name, "v");
    }
    put_bytes(&request, 1, buf_str(&series));
    CHECK_EQ(remote_write_decode(buf_str(&request), &a, &rows, &n, &e), ERR_LIMIT);
    CHECK_CONTAINS(str_from(e.message), "more than 128 labels");
}

TEST(decoding_survives_any_failed_allocation)
{
    AUTO(buf_done) buf request = BUF_INIT(1 << 20);
    one_series(&request, "up", "zone", 1000, 1.5);
    for (unsigned nth = 0;; nth++) {
        AUTO(arena_done) arena a = arena_init(1 << 20);
        sample_row *rows;
        size_t n;
        fault_alloc(nth);
        err_kind k = remote_write_decode(buf_str(&request), &a, &rows, &n, &(err){ 0 });
        bool fired = fault_fired();
        CHECK_EQ(k, fired ? ERR_NOMEM : OK);
        if (!fired)
            break;
    }
}
