#include "base/test.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rand.h"
#include "base/regex.h"
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

TEST(arena_gives_zeroed_aligned_memory_within_its_maximum)
{
    AUTO(arena_done) arena a = ARENA_INIT(10000);
    for (int i = 1; i < 100; i++) {
        char *p = arena_alloc(&a, (size_t)i);
        CHECK(p && (uintptr_t)p % 16 == 0 && p[0] == 0 && p[i - 1] == 0);
        memset(p, 0xff, (size_t)i);
    }
    CHECK(arena_alloc(&a, 10000) == NULL);
    CHECK(arena_alloc_array(&a, SIZE_MAX, 2) == NULL);
    arena_reset(&a);
    CHECK(arena_alloc(&a, 3000) != NULL);
    CHECK_STR(arena_printf(&a, "%d-%s", 7, "x"), "7-x");
}

TEST(buf_refuses_to_grow_past_its_maximum_and_stays_failed)
{
    AUTO(buf_done) buf b = BUF_INIT(8);
    CHECK_EQ(buf_append(&b, STR("12345678")), OK);
    CHECK_EQ(buf_append_char(&b, '9'), ERR_LIMIT);
    buf_consume(&b, 4);
    CHECK_EQ(buf_append_char(&b, '9'), ERR_LIMIT);
    CHECK_STR(buf_str(&b), "5678");
    buf_reset(&b);
    buf_append_i64(&b, INT64_C(-1234567));
    CHECK_STR(buf_str(&b), "-1234567");
}

TEST(map_keeps_what_it_is_told)
{
    AUTO(map_done) map m = MAP_INIT;
    char key[16];
    for (intptr_t i = 1; i <= 1000; i++)
        CHECK_EQ(map_set(&m, (str){ key, (size_t)snprintf(key, sizeof key, "k%d", (int)i) }, (void *)i), OK);
    for (intptr_t i = 1; i <= 1000; i += 2)
        CHECK_EQ((intptr_t)map_remove(&m, (str){ key, (size_t)snprintf(key, sizeof key, "k%d", (int)i) }), i);
    CHECK_EQ(m.len, 500);
    CHECK_EQ(map_set(&m, STR("k2"), (void *)99), OK);
    CHECK_EQ(m.len, 500);
    CHECK_EQ((intptr_t)map_get(&m, STR("k2")), 99);
    CHECK(map_get(&m, STR("k1")) == NULL && !map_has(&m, STR("")));
    size_t seen = 0;
    for (size_t pos = 0; map_next(&m, &pos, NULL, NULL);)
        seen++;
    CHECK_EQ(seen, 500);
    for (int round = 0; round < 5000; round++) { /* holes must not make it grow for ever */
        map_set(&m, STR("same"), &m);
        map_remove(&m, STR("same"));
    }
    CHECK(m.cap <= 4096);
}

TEST(str_splits_and_searches)
{
    str rest = STR("a,,b"), part;
    CHECK(str_split(&rest, ',', &part) && str_is(part, "a"));
    CHECK(str_split(&rest, ',', &part) && str_is(part, ""));
    CHECK(str_split(&rest, ',', &part) && str_is(part, "b"));
    CHECK(!str_split(&rest, ',', &part));
    CHECK_EQ(str_find(STR("hello"), STR("ll")), 2);
    CHECK_EQ(str_find(STR("hello"), STR("x")), -1);
    CHECK_STR(str_trim(STR(" \t x y \n")), "x y");
    CHECK(str_cmp(STR("a"), STR("ab")) < 0 && str_cmp(STR("b"), STR("ab")) > 0);
}

static const struct { const char *text; bool valid; } utf8[] = {
    { "plain", true }, { "\xc3\xa9", true }, { "\xe4\xb8\xad\xe6\x96\x87", true }, { "\xf0\x9f\x98\x80", true },
    { "\xc0\xaf", false }, { "\xe0\x80\xaf", false }, { "\xed\xa0\x80", false }, { "\xf4\x90\x80\x80", false }, { "\xff", false }, { "\xe4\xb8", false },
};

TEST(str_utf8_follows_rfc_3629)
{
    for (size_t i = 0; i < COUNT_OF(utf8); i++)
        CHECK_MSG(str_utf8_valid(str_from(utf8[i].text)) == utf8[i].valid, "row %zu", i);
}

TEST(str_copy_cuts_between_characters)
{
    char out[5];
    str_copy(out, sizeof out, STR("a\xe4\xb8\xad\xe6\x96\x87"));
    CHECK_STR(str_from(out), "a\xe4\xb8\xad");
}

TEST(str_distance_counts_edits_and_swaps)
{
    CHECK_EQ(str_distance(STR("recieve"), STR("receive"), 5), 1);
    CHECK_EQ(str_distance(STR("abc"), STR("abc"), 5), 0);
    CHECK_EQ(str_distance(STR("kitten"), STR("sitting"), 5), 3);
    CHECK_EQ(str_distance(STR("abc"), STR("xyz"), 1), 2);
}

static const struct { double v; const char *text; } numbers[] = {
    { 0, "0" }, { 1, "1" }, { -1.5, "-1.5" }, { 0.1, "0.1" }, { 1e21, "1e+21" }, { 1e20, "100000000000000000000" },
    { 123456789.125, "123456789.125" }, { 1e-7, "0.0000001" }, { 5e-324, "5e-324" }, { 1.7976931348623157e308, "1.7976931348623157e+308" },
    { INFINITY, "+Inf" }, { -INFINITY, "-Inf" },
};

TEST(numbers_are_written_short_and_read_back)
{
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        char out[NUM_DOUBLE_MAX];
        double back;
        CHECK_MSG(num_format_double(out, numbers[i].v) == strlen(numbers[i].text) && strcmp(out, numbers[i].text) == 0, "got \"%s\" for %s", out, numbers[i].text);
        CHECK(str_to_double(str_from(out), &back));
        CHECK_DOUBLE(back, numbers[i].v);
    }
    rand_state r = rand_seeded(1);
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = rand_u64(&r);
        double v, back;
        memcpy(&v, &bits, sizeof v);
        char out[NUM_DOUBLE_MAX];
        size_t n = num_format_double(out, v);
        CHECK(str_to_double((str){ out, n }, &back) && (isnan(v) ? isnan(back) : back == v));
    }
}

TEST(numbers_refuse_what_is_none)
{
    static const char *const bad[] = { "", "+", "x", "1x", "0x10", "1 ", "--1", "nan(1)", "infinit", "e5" };
    double v;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK_MSG(!str_to_double(str_from(bad[i]), &v), "accepted \"%s\"", bad[i]);
    int64_t n;
    CHECK(!str_to_i64(STR("9223372036854775808"), &n) && str_to_i64(STR("-9223372036854775808"), &n) && n == INT64_MIN);
    CHECK(str_to_double(STR("1e999"), &v) && isinf(v));
}

static const struct { const char *text; int64_t ms; const char *back; } durations[] = {
    { "0", 0, "0s" }, { "250ms", 250, "250ms" }, { "15s", 15000, "15s" }, { "1h30m", 5400000, "1h30m" }, { "15d", 1296000000, "15d" },
    { "90m", 5400000, "1h30m" }, { "1w", 604800000, "1w" }, { "1y", 31536000000, "1y" }, { "1d2h3m4s5ms", 93784005, "1d2h3m4s5ms" },
};

TEST(durations_are_spelled_as_in_prometheus)
{
    for (size_t i = 0; i < COUNT_OF(durations); i++) {
        int64_t ms = -1;
        char back[CLOCK_ISO_MAX];
        CHECK_MSG(clock_parse_duration(str_from(durations[i].text), &ms) && ms == durations[i].ms, "%s is %" PRId64, durations[i].text, ms);
        clock_format_duration(back, ms);
        CHECK_STR(str_from(back), durations[i].back);
    }
    static const char *const bad[] = { "", "5", "5x", "1m1h", "1.5h", "-5m", "99999999999999y", "5 m", "1s1s" };
    int64_t ms;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK_MSG(!clock_parse_duration(str_from(bad[i]), &ms), "accepted \"%s\"", bad[i]);
}

TEST(times_go_both_ways)
{
    char out[CLOCK_ISO_MAX];
    int64_t ms;
    clock_format_iso(out, INT64_C(1795252530123));
    CHECK_STR(str_from(out), "2026-11-21T09:15:30.123Z");
    CHECK(clock_parse_iso(str_from(out), &ms) && ms == INT64_C(1795252530123));
    CHECK(clock_parse_iso(STR("2026-11-21T17:15:30+08:00"), &ms) && ms == INT64_C(1795252530000));
    clock_format_iso(out, -1);
    CHECK_STR(str_from(out), "1969-12-31T23:59:59.999Z");
    CHECK(!clock_parse_iso(STR("2026-02-29T00:00:00Z"), &ms) && !clock_parse_iso(STR("2026-11-21"), &ms));
}

TEST(err_speaks_in_sentences)
{
    err e = { 0 };
    err_set(&e, ERR_PARSE, "unexpected \"%s\"", "x");
    err_at(&e, 3, 7);
    err_at(&e, 9, 9); /* the innermost place wins */
    err_in_file(&e, "a.yml");
    CHECK_EQ(err_context(&e, "could not load rules"), ERR_PARSE);
    char out[300];
    err_format(out, sizeof out, &e);
    CHECK_STR(str_from(out), "a.yml:3:7: could not load rules: unexpected \"x\"");
    CHECK_EQ(err_sys(&e, 13, "could not open \"%s\"", "f"), ERR_DENIED);
    CHECK_CONTAINS(str_from(e.message), "Permission denied");
    CHECK_EQ(err_set(NULL, ERR_IO, "nobody listens"), ERR_IO);
}

TEST(clock_stands_still_when_faked)
{
    clock_fake(1000);
    CHECK_EQ(clock_now_ms(), 1000);
    clock_advance(50);
    CHECK_EQ(clock_now_ms(), 1050);
    CHECK_EQ(clock_mono_ms(), 50);
}

TEST(hash_crc32c_is_that_of_the_standard)
{
    /* RFC 3720, appendix B.4: 32 bytes of zeroes, of ones, and rising. */
    uint8_t zero[32] = { 0 }, ones[32], rising[32];
    for (uint8_t i = 0; i < 32; i++) {
        ones[i] = 0xff;
        rising[i] = i;
    }
    CHECK_EQ(hash_crc32c(zero, 32), 0x8a9136aa);
    CHECK_EQ(hash_crc32c(ones, 32), 0x62a8ab43);
    CHECK_EQ(hash_crc32c(rising, 32), 0x46dd794e);
    CHECK_EQ(hash_crc32c("123456789", 9), 0xe3069283);
    CHECK_EQ(hash_crc32c("", 0), 0);
}

TEST(regex_matches_whole_text_when_anchored)
{
    AUTO(regex_freep) regex *r = NULL;
    err e = { 0 };
    CHECK_OK(regex_compile(STR("a(?P<x>.+)c"), true, &r, &e), e);
    CHECK(regex_match(r, STR("abc")) && regex_match(r, STR("a\nc")) && !regex_match(r, STR("abcd")));
    str groups[2];
    CHECK(regex_groups(r, STR("abbc"), groups, 2));
    AUTO(buf_done) buf out = BUF_INIT(100);
    regex_expand(r, STR("<$1|${x}|$$|$9|$x_>"), groups, 2, &out);
    CHECK_STR(buf_str(&out), "<bb|bb|$||>");
}

TEST(regex_refuses_what_go_refuses)
{
    static const char *const bad[] = { "(", "a{2000}", "(?=x)", "\\C", "(a)\\1", "[z-a]" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        regex *r = NULL;
        err e = { 0 };
        CHECK_MSG(regex_compile(str_from(bad[i]), true, &r, &e) != OK && e.message[0], "accepted %s", bad[i]);
    }
}

TEST(hash_chain_survives_hex)
{
    str parts[] = { STR("ab"), STR("c") }, whole = STR("abc");
    hash_chain a = hash_blake2b(parts, 2), b = hash_blake2b(&whole, 1), c;
    char hex[65];
    hash_hex(hex, &a);
    CHECK_STR(str_from(hex), "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    CHECK(memcmp(&a, &b, sizeof a) == 0 && hash_parse_hex(str_from(hex), &c) && memcmp(&a, &c, sizeof a) == 0);
    CHECK(!hash_parse_hex(STR("zz"), &c));
}

TEST(file_write_atomic_leaves_the_old_or_the_new_content)
{
    char path[FILE_PATH_MAX];
    err e = { 0 };
    CHECK_OK(file_join(path, test_dir(), "f", &e), e);
    CHECK_OK(file_write_atomic(path, STR("old"), 0600, &e), e);
    for (int how = FAULT_EIO; how <= FAULT_SHORT_WRITE; how++)
        for (unsigned nth = 0;; nth++) {
            fault_write(nth, (fault_write_kind)how);
            err_kind k = file_write_atomic(path, STR("new"), 0600, &e);
            bool fired = fault_write_fired();
            AUTO(buf_done) buf content = BUF_INIT(100);
            CHECK_OK(file_read(path, &content, &e), e);
            CHECK(str_is(buf_str(&content), "old") || str_is(buf_str(&content), "new"));
            CHECK(fired || k == OK);
            CHECK_OK(file_write_atomic(path, STR("old"), 0600, &e), e);
            if (!fired)
                break;
        }
}

TEST(file_lock_has_one_holder)
{
    char path[FILE_PATH_MAX];
    int first = -1, second = -1;
    err e = { 0 };
    CHECK_OK(file_join(path, test_dir(), "LOCK", &e), e);
    CHECK_OK(file_lock(path, &first, &e), e);
    CHECK_EQ(file_lock(path, &second, &e), ERR_CONFLICT);
    close(first);
    CHECK_OK(file_lock(path, &second, &e), e);
    close(second);
}

TEST(rand_below_stays_below_and_repeats_for_a_seed)
{
    rand_state a = rand_seeded(7), b = rand_seeded(7);
    for (int i = 0; i < 1000; i++) {
        uint64_t x = rand_below(&a, 10);
        CHECK(x < 10 && x == rand_below(&b, 10));
    }
}
