#include "store/tombstone.h"
#include "base/test.h"

static void add(tombstones *t, uint32_t series, int64_t from_ms, int64_t to_ms)
{
    CHECK_EQ(vec_push(t, ((tombstone){ series, from_ms, to_ms })), OK);
}

/* "series:from-to …" */
static const char *text(const tombstones *t)
{
    static char out[400];
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < t->len; i++)
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%u:%lld-%lld", i ? " " : "", t->at[i].series, (long long)t->at[i].from_ms, (long long)t->at[i].to_ms);
    return out;
}

TEST(tombstones_are_sorted_and_joined)
{
    static const struct { const char *what; tombstone in[4]; size_t n; const char *want; } rows[] = {
        { "nothing", { { 0 } }, 0, "" },
        { "sorted by series, then time", { { 2, 1, 2 }, { 1, 7, 8 }, { 1, 1, 2 } }, 3, "1:1-2 1:7-8 2:1-2" },
        { "overlapping ones are one", { { 1, 1, 5 }, { 1, 3, 9 } }, 2, "1:1-9" },
        { "touching ones are one", { { 1, 1, 5 }, { 1, 6, 9 } }, 2, "1:1-9" },
        { "one inside another", { { 1, 1, 9 }, { 1, 3, 4 } }, 2, "1:1-9" },
        { "of other series they stay apart", { { 1, 1, 5 }, { 2, 3, 9 } }, 2, "1:1-5 2:3-9" },
        { "up to the end of time", { { 1, 5, INT64_MAX }, { 1, 7, 8 } }, 2, "1:5-9223372036854775807" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        tombstones t = { 0 };
        for (size_t j = 0; j < rows[i].n; j++)
            add(&t, rows[i].in[j].series, rows[i].in[j].from_ms, rows[i].in[j].to_ms);
        tombstones_tidy(&t);
        CHECK_MSG(strcmp(text(&t), rows[i].want) == 0, "%s: %s", rows[i].what, text(&t));
        vec_done(&t);
    }
}

TEST(tombstones_come_back_from_their_file)
{
    char path[FILE_PATH_MAX], block_path[FILE_PATH_MAX];
    tombstones t = { 0 }, got = { 0 };
    err e = { 0 };
    CHECK_OK(file_join(block_path, test_dir(), "00000007.block", &e), e);
    CHECK_OK(tombstones_path(path, block_path, &e), e);
    CHECK(str_ends(str_from(path), STR("/00000007.tombstones")));
    CHECK_OK(tombstones_read(path, 9, &got, &e), e);
    CHECK_EQ(got.len, 0);
    add(&t, 1, INT64_MIN, -5);
    add(&t, 1, 5, 9);
    add(&t, 8, 0, INT64_MAX);
    CHECK_OK(tombstones_write(path, &t, &e), e);
    CHECK_OK(tombstones_read(path, 9, &got, &e), e);
    CHECK_EQ(got.len, 3);
    CHECK_STR(str_from(text(&got)), "1:-9223372036854775808--5 1:5-9 8:0-9223372036854775807"); /* not memcmp: there is padding */
    CHECK_EQ(tombstones_of(&got, 1).len, 2);
    CHECK_EQ(tombstones_of(&got, 2).len, 0);
    CHECK(tombstone_covers(tombstones_of(&got, 1), 6, 9));
    CHECK(!tombstone_covers(tombstones_of(&got, 1), 4, 9));
    CHECK_EQ(tombstones_read(path, 8, &got, NULL), ERR_CORRUPT); /* of a block with fewer series */
    vec_done(&t);
    vec_done(&got);
}

TEST(tombstones_notice_any_flipped_bit)
{
    char path[FILE_PATH_MAX];
    tombstones t = { 0 }, got = { 0 };
    AUTO(buf_done) buf bytes = BUF_INIT(1u << 20);
    CHECK_EQ(file_join(path, test_dir(), "x.tombstones", NULL), OK);
    add(&t, 1, 5, 9);
    add(&t, 3, 5, 9);
    CHECK_EQ(tombstones_write(path, &t, NULL), OK);
    CHECK_EQ(file_read(path, &bytes, NULL), OK);
    for (size_t i = 0; i < bytes.len; i++)
        for (int change = 1; change < 256; change *= 2) {
            bytes.ptr[i] ^= (char)change;
            CHECK(tombstones_parse(buf_str(&bytes), true, 9, &got, NULL) != OK);
            (void)!tombstones_parse(buf_str(&bytes), false, 9, &got, NULL);
            bytes.ptr[i] ^= (char)change;
        }
    for (size_t len = 0; len < bytes.len; len++)
        CHECK(tombstones_parse(str_of(bytes.ptr, len), true, 9, &got, NULL) != OK);
    vec_done(&t);
    vec_done(&got);
}

TEST(tombstones_replace_their_file_whole_or_not_at_all)
{
    static const fault_write_kind kinds[] = { FAULT_EIO, FAULT_ENOSPC, FAULT_SHORT_WRITE };
    for (size_t kind = 0; kind < COUNT_OF(kinds); kind++)
        for (unsigned nth = 0;; nth++) {
            char path[FILE_PATH_MAX];
            tombstones old = { 0 }, new = { 0 }, got = { 0 };
            CHECK_EQ(file_join(path, test_dir(), "x.tombstones", NULL), OK);
            add(&old, 1, 5, 9);
            add(&new, 2, 5, 9);
            CHECK_EQ(tombstones_write(path, &old, NULL), OK);
            fault_write(nth, kinds[kind]);
            err_kind k = tombstones_write(path, &new, NULL);
            bool fired = fault_write_fired();
            CHECK_EQ(k != OK, fired);
            CHECK_EQ(tombstones_read(path, 9, &got, NULL), OK);
            CHECK_EQ(got.len, 1);
            CHECK(got.at[0].series == 2 || (fired && got.at[0].series == 1));
            vec_done(&old);
            vec_done(&new);
            vec_done(&got);
            if (!fired)
                break;
        }
}
