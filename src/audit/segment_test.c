#include "audit/segment.h"
#include "base/file.h"
#include "base/test.h"

#include <fcntl.h>
#include <unistd.h>

static audit_record sample_record(void)
{
    return (audit_record){ .seq = 7, .t_ms = 1763712930123, .kind = STR("alert.firing"), .actor = STR("galen"),
                           .subject = STR("rule:EngineDown"), .incident = STR("inc-1"),
                           .message = STR("an \"engine\"\nis down ,\"data\":{} 发动机"), .data = STR("{\"value\": 1,\n \"data\":{\"x\":2}}") };
}

TEST(segment_a_record_reads_back_as_it_was)
{
    AUTO(buf_done) buf b = BUF_INIT(4096);
    AUTO(json_doc_freep) json_doc *doc = NULL;
    audit_record r = sample_record(), got;
    hash_chain chain = { { 0 } };

    segment_put_record(&b, &r, &chain);
    CHECK(!buf_failed(&b));
    str line = str_sub(buf_str(&b), 0, b.len - 1);
    CHECK_EQ(b.ptr[b.len - 1], '\n');
    CHECK_EQ(str_find_char(line, '\n'), -1);
    err e = { 0 };
    CHECK_OK(segment_parse_record(line, &doc, &got, &e), e);
    CHECK_EQ(got.seq, 7);
    CHECK_EQ(got.t_ms, r.t_ms);
    CHECK(str_eq(got.kind, r.kind) && str_eq(got.actor, r.actor) && str_eq(got.subject, r.subject));
    CHECK(str_eq(got.incident, r.incident) && str_eq(got.message, r.message));
    CHECK_STR(got.data, "{\"value\": 1,  \"data\":{\"x\":2}}");
}

TEST(segment_the_hash_is_over_the_one_before_and_the_text_as_the_format_page_says)
{
    AUTO(buf_done) buf b = BUF_INIT(4096);
    hash_chain chain = { { 1, 2, 3 } }, prev = chain, want, got;
    audit_record r = { .seq = 1, .t_ms = 0, .kind = STR("k") };
    char hex[65];

    segment_put_record(&b, &r, &chain);
    str body = STR("{\"seq\":1,\"time\":\"1970-01-01T00:00:00.000Z\",\"kind\":\"k\"");
    want = hash_blake2b((str[]){ str_of((const char *)prev.bytes, 32), body }, 2);
    CHECK(memcmp(&chain, &want, sizeof want) == 0);
    hash_hex(hex, &want);
    char line[400];
    snprintf(line, sizeof line, "%s,\"hash\":\"%s\"}\n", body.ptr, hex);
    CHECK_STR(buf_str(&b), line);

    segment_line l;
    CHECK(segment_split(str_sub(buf_str(&b), 0, b.len - 1), &l));
    CHECK(segment_sealed(&l, &prev, &got));
    CHECK(!segment_sealed(&l, &chain, &got));
}

TEST(segment_header_has_one_spelling)
{
    AUTO(buf_done) buf b = BUF_INIT(4096);
    hash_chain prev = { { 0xab } }, got;
    uint64_t seq;

    segment_put_header(&b, 42, &prev);
    b.len--;
    CHECK(segment_parse_header(buf_str(&b), &seq, &got));
    CHECK_EQ(seq, 42);
    CHECK(memcmp(&got, &prev, sizeof got) == 0);
    for (size_t i = 0; i < b.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            b.ptr[i] ^= (char)(1 << bit);
            bool same = segment_parse_header(buf_str(&b), &seq, &got) && seq == 42 && memcmp(&got, &prev, sizeof got) == 0;
            CHECK_MSG(!same, "flipping bit %d of byte %zu goes unseen", bit, i);
            b.ptr[i] ^= (char)(1 << bit);
        }
    }
}

TEST(segment_names_sort_as_their_numbers)
{
    char name[SEGMENT_NAME_MAX];
    uint64_t seq;
    segment_name(name, 12);
    CHECK_STR(str_from(name), "0000000000000012.log");
    CHECK(segment_name_parse(str_from(name), &seq) && seq == 12);
    CHECK(!segment_name_parse(STR("12.log"), &seq));
    CHECK(!segment_name_parse(STR("+000000000000012.log"), &seq));
    CHECK(!segment_name_parse(STR("0000000000000012.log.tmp"), &seq));
    CHECK(!segment_name_parse(STR("index.db"), &seq));
}

/* Lines of 1 byte to far beyond the first window, read in both directions. */
TEST(segment_reader_walks_forwards_and_backwards_alike)
{
    char path[FILE_PATH_MAX];
    const char *dir = test_dir();
    AUTO(buf_done) buf b = BUF_INIT(8u << 20);
    vec(size_t) lens = { 0 };
    err e = { 0 };

    for (size_t i = 0, len = 0; i < 60; i++, len = i % 20 == 19 ? 150000 + i : i * i % 700) {
        CHECK_EQ(vec_push(&lens, len), OK);
        memset(buf_reserve(&b, len + 1), 'a' + (int)(i % 26), len);
        buf_commit(&b, len);
        buf_append_char(&b, '\n');
    }
    size_t whole = b.len;
    buf_append(&b, STR("torn"));
    CHECK_OK(file_join(path, dir, "x.log", &e), e);
    CHECK_OK(file_write_atomic(path, buf_str(&b), 0600, &e), e);

    segment_reader r;
    str line;
    uint64_t pos = 0, end;
    CHECK_OK(segment_reader_open(&r, dir, STR("x.log"), &e), e);
    for (size_t i = 0; i < lens.len; i++) {
        CHECK_EQ(segment_next(&r, &pos, &line, &e), 1);
        CHECK_EQ(line.len, lens.at[i]);
        CHECK(line.len == 0 || line.ptr[line.len - 1] == (char)('a' + (int)(i % 26)));
    }
    CHECK_EQ(segment_next(&r, &pos, &line, &e), 0);
    CHECK_EQ(pos, whole);
    CHECK_OK(segment_end(&r, &end, &e), e);
    CHECK_EQ(end, whole);
    for (size_t i = lens.len; i-- > 0;) {
        CHECK_EQ(segment_prev(&r, &pos, &line, &e), 1);
        CHECK_EQ(line.len, lens.at[i]);
        CHECK(line.len == 0 || line.ptr[0] == (char)('a' + (int)(i % 26)));
    }
    CHECK_EQ(segment_prev(&r, &pos, &line, &e), 0);
    segment_reader_done(&r);
    vec_done(&lens);
}

TEST(segment_reader_refuses_a_line_without_end)
{
    char path[FILE_PATH_MAX];
    const char *dir = test_dir();
    AUTO(buf_done) buf b = BUF_INIT(16u << 20);
    err e = { 0 };
    memset(buf_reserve(&b, 3 * SEGMENT_LINE_MAX), 'x', 3 * SEGMENT_LINE_MAX);
    buf_commit(&b, 3 * SEGMENT_LINE_MAX);
    CHECK_OK(file_join(path, dir, "x.log", &e), e);
    CHECK_OK(file_write_atomic(path, buf_str(&b), 0600, &e), e);

    segment_reader r;
    str line;
    uint64_t pos = 0;
    CHECK_OK(segment_reader_open(&r, dir, STR("x.log"), &e), e);
    CHECK_EQ(segment_next(&r, &pos, &line, &e), -1);
    CHECK_EQ(e.kind, ERR_CORRUPT);
    pos = r.size;
    CHECK_EQ(segment_prev(&r, &pos, &line, &e), -1);
    CHECK_EQ(e.kind, ERR_CORRUPT);
    segment_reader_done(&r);
}
