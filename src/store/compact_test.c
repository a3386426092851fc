#include "store/compact.h"
#include "store/fixture.h"
#include "store/tier.h"
#include "base/rand.h"
#include "base/test.h"

/* ---- which blocks are merged ---- */

TEST(compact_plan_chooses_what_is_due)
{
    typedef struct times { int64_t from, to; uint64_t size; } times; /* hours */
    static const struct { const char *what; times in[6]; size_t n; bool force; const char *want; } plans[] = {
        /* spans of 2 h, 6 h, 18 h: a tenth of the retention is 24 h */
        { "nothing to merge", { { 0, 1, 1 } }, 1, true, "" },
        { "three complete windows become one", { { 0, 1, 1 }, { 2, 3, 1 }, { 4, 5, 1 }, { 6, 7, 1 } }, 4, false, "1 2 3" },
        { "a span that newer samples have not passed waits", { { 0, 1, 1 }, { 2, 3, 1 }, { 4, 5, 1 } }, 3, false, "" },
        { "a flush does not wait", { { 0, 1, 1 }, { 2, 3, 1 }, { 4, 5, 1 } }, 3, true, "1 2 3" },
        { "a flush goes to the longest span at once", { { 0, 5, 1 }, { 6, 11, 1 }, { 12, 13, 1 } }, 3, true, "1 2 3" },
        { "but not beyond it", { { 0, 17, 1 }, { 18, 19, 1 } }, 2, true, "" },
        { "overlapping ones of one size are merged", { { 0, 5, 10 }, { 3, 8, 10 } }, 2, false, "1 2" },
        { "a small one does not write a large one anew", { { 0, 5, 1000 }, { 3, 4, 10 } }, 2, false, "" },
        { "many small ones do", { { 0, 5, 1000 }, { 1, 1, 1 }, { 2, 2, 1 }, { 3, 4, 10 } }, 4, false, "1 2 3 4" },
        { "a block longer than every span is left alone", { { 0, 40, 9 }, { 41, 42, 9 } }, 2, true, "" },
        { "a gap of a window is no matter", { { 0, 1, 1 }, { 4, 5, 1 }, { 30, 31, 1 } }, 3, false, "1 2" },
    };
    for (size_t r = 0; r < COUNT_OF(plans); r++) {
        static block made[6];
        block *at[6];
        block_vec all = { at, plans[r].n, 6 }, job = { 0 };
        int64_t newest_ms = INT64_MIN;
        char got[64] = "";
        for (size_t i = 0; i < plans[r].n; i++) {
            const times *t = &plans[r].in[i];
            made[i] = (block){ .number = (uint32_t)i + 1, .size = (size_t)t->size, .min_t_ms = t->from * HOUR, .max_t_ms = t->to * HOUR };
            newest_ms = MAX(newest_ms, made[i].max_t_ms);
            at[i] = &made[i];
        }
        CHECK_EQ(compact_plan(&all, 2 * HOUR, 240 * HOUR, newest_ms, plans[r].force, &job), OK);
        for (size_t i = 0; i < job.len; i++)
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s%u", i ? " " : "", job.at[i]->number);
        CHECK_MSG(strcmp(got, plans[r].want) == 0, "%s: \"%s\"", plans[r].what, got);
        vec_done(&job);
    }
}

/* ---- merging ---- */

/* A new folder below one of the test program's: a fault loop needs hundreds. */
static const char *fresh_dir(void)
{
    static const char *base;
    static unsigned number;
    static char path[8][FILE_PATH_MAX];
    char *to = path[number % 8];
    base = base ? base : test_dir();
    snprintf(to, FILE_PATH_MAX, "%s/%u", base, number++);
    return to;
}

/* A store with blocks of two hours each, up{w0..w2}, a sample every six minutes; the last window is in the head. */
static store *with_blocks(const char *dir, int hours)
{
    store *s = open_at(dir);
    int64_t start = window_start(NOW, 18 * HOUR);
    clock_fake(start);
    for (int i = 0; i < hours * 10; i++) {
        CHECK_EQ(put(s, "up", i % 3, start + i * HOUR / 10, i), OK);
        clock_fake(start + i * HOUR / 10);
        if (i % 20 == 1)
            CHECK_EQ(care_run(s, true, NULL), OK);
    }
    return s;
}

TEST(store_answers_the_same_before_and_after_a_merge)
{
    const char *dir = fresh_dir();
    store *s = with_blocks(dir, 14);
    char want[16384];
    str_copy(want, sizeof want, str_from(all(s, "up")));
    CHECK_EQ(store_stats_get(s).blocks, 6);
    CHECK_EQ(compact_run(s, false, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 4); /* 0 … 6 h is complete, 6 … 12 h lacks its last minutes */
    CHECK_STR(str_from(all(s, "up")), want);
    CHECK_STR(str_from(after_crash(dir, "up")), want);
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 1);
    CHECK_STR(str_from(all(s, "up")), want);
    close_store(s);
    s = open_at(dir);
    CHECK_STR(str_from(all(s, "up")), want);
    CHECK_EQ(store_stats_get(s).blocks, 1);
    close_store(s);
}

TEST(store_reads_on_while_blocks_are_merged)
{
    store *s = with_blocks(fresh_dir(), 14);
    store_selection *sel = NULL;
    sample_vec v = { 0 };
    matcher m = { METRIC_NAME, STR("up"), MATCH_EQ, NULL };
    CHECK_EQ(store_select(s, &m, 1, 0, INT64_MAX, NULL, &sel, NULL), OK);
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK_EQ(store_select_samples(sel, 0, &v, NULL), OK); /* of files that are gone */
    CHECK_EQ(v.len, 47);
    vec_done(&v);
    store_select_free(sel);
    close_store(s);
}

TEST(store_merge_loses_nothing_at_any_fault_or_crash)
{
    static const fault_write_kind kinds[] = { FAULT_EIO, FAULT_ENOSPC, FAULT_SHORT_WRITE };
    for (size_t kind = 0; kind < COUNT_OF(kinds); kind++)
        for (unsigned nth = 0;; nth++) {
            const char *dir = fresh_dir();
            store *s = with_blocks(dir, 8);
            char want[8192];
            str_copy(want, sizeof want, str_from(all(s, "up")));
            fault_write(nth, kinds[kind]);
            err_kind k = compact_run(s, true, NULL);
            bool fired = fault_write_fired();
            CHECK_EQ(k != OK, fired);
            CHECK_STR(str_from(all(s, "up")), want);
            CHECK_STR(str_from(after_crash(dir, "up")), want);
            CHECK_EQ(compact_run(s, true, NULL), OK);
            CHECK_EQ(store_stats_get(s).blocks, 1);
            CHECK_STR(str_from(all(s, "up")), want);
            close_store(s);
            if (!fired)
                break;
        }
}

TEST(store_merge_survives_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        store *s = with_blocks(fresh_dir(), 6);
        char want[8192];
        str_copy(want, sizeof want, str_from(all(s, "up")));
        fault_alloc(nth);
        err_kind k = compact_run(s, true, NULL);
        bool fired = fault_fired();
        CHECK(k == OK || (fired && k == ERR_NOMEM));
        CHECK_STR(str_from(all(s, "up")), want);
        close_store(s);
        if (!fired)
            break;
    }
}

/* A crash between the merged block's rename and the removal of those it stands for. */
TEST(store_open_removes_what_a_block_replaces)
{
    const char *dir = fresh_dir();
    store *s = with_blocks(dir, 8);
    char want[8192], keep[FILE_PATH_MAX], blocks[FILE_PATH_MAX];
    str_copy(want, sizeof want, str_from(all(s, "up")));
    CHECK_EQ(file_join(keep, fresh_dir(), "kept", NULL), OK);
    CHECK_EQ(file_join(blocks, dir, "blocks", NULL), OK);
    copy_folder(blocks, keep);
    CHECK_EQ(compact_run(s, true, NULL), OK);
    close_store(s);
    copy_folder(keep, blocks); /* the old ones are back */
    s = open_at(dir);
    CHECK_EQ(store_stats_get(s).blocks, 1);
    CHECK_STR(str_from(all(s, "up")), want);
    close_store(s);
}

TEST(store_merge_gives_up_when_somebody_waits)
{
    store *s = with_blocks(fresh_dir(), 8);
    atomic_fetch_add(&s->compact_wanted, 1);
    CHECK_EQ(compact_run(s, true, NULL), ERR_CANCELED);
    atomic_fetch_sub(&s->compact_wanted, 1);
    CHECK_EQ(compact_run(s, true, NULL), OK);
    close_store(s);
}

/* ---- damage ---- */

TEST(store_keeps_what_can_be_read_of_a_damaged_block)
{
    const char *dir = fresh_dir();
    store *s = with_blocks(dir, 4);
    char path[FILE_PATH_MAX], aside[FILE_PATH_MAX + 16], want[8192];
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 1);
    str_copy(path, sizeof path, str_from(s->blocks.at[0]->path));
    str_copy(want, sizeof want, str_from(answer(s, "up", 0, INT64_MAX)));
    size_t at = BLOCK_HEADER_BYTES + s->blocks.at[0]->pages.len - 6; /* in the last page */
    close_store(s);
    AUTO(buf_done) buf bytes = BUF_INIT(1u << 20);
    CHECK_EQ(file_read(path, &bytes, NULL), OK);
    bytes.ptr[at] ^= 1;
    CHECK_EQ(file_write_atomic(path, buf_str(&bytes), 0600, NULL), OK);
    s = open_at(dir);
    matcher m = { METRIC_NAME, STR("up"), MATCH_EQ, NULL };
    store_selection *sel = NULL;
    sample_vec v = { 0 };
    err e = { 0 };
    CHECK_EQ(store_select(s, &m, 1, 0, INT64_MAX, NULL, &sel, NULL), OK);
    CHECK_EQ(store_select_samples(sel, 2, &v, &e), ERR_CORRUPT);
    CHECK_CONTAINS(str_from(e.message), ".block");
    store_select_free(sel);
    CHECK_EQ(compact_run(s, false, NULL), OK); /* the block is written again without the page */
    snprintf(aside, sizeof aside, "%s" BLOCK_DAMAGED_SUFFIX, path);
    CHECK(file_exists(aside) && !file_exists(path));
    str got = str_from(all(s, "up"));
    CHECK(got.len > 0 && got.len < strlen(want));
    CHECK_EQ(memcmp(got.ptr, want, 200), 0);
    vec_done(&v);
    close_store(s);
}

TEST(store_puts_a_block_without_an_index_aside)
{
    const char *dir = fresh_dir();
    store *s = with_blocks(dir, 6);
    CHECK_EQ(store_stats_get(s).blocks, 2);
    char path[FILE_PATH_MAX], aside[FILE_PATH_MAX + 16];
    str_copy(path, sizeof path, str_from(s->blocks.at[0]->path));
    close_store(s);
    CHECK_EQ(file_write_atomic(path, STR("this is no block"), 0600, NULL), OK);
    store_recovery told;
    err e = { 0 };
    CHECK_OK(store_open(&(store_options){ .dir = dir, .wal_fsync_ms = INT32_MAX }, &s, &told, &e), e);
    snprintf(aside, sizeof aside, "%s" BLOCK_DAMAGED_SUFFIX, path);
    CHECK(file_exists(aside) && !file_exists(path));
    CHECK_CONTAINS(str_from(told.note), "it is not a block");
    CHECK_EQ(store_stats_get(s).blocks, 1);
    CHECK_CONTAINS(str_from(all(s, "up")), "w1:");
    close_store(s);
}

/* ---- retention by size ---- */

TEST(store_removes_the_oldest_blocks_beyond_its_size)
{
    const char *dir = fresh_dir();
    store *s = with_blocks(dir, 10);
    CHECK_EQ(compact_run(s, false, NULL), OK);
    store_stats st = store_stats_get(s);
    CHECK_EQ(st.blocks, 2); /* three of four have become one, the oldest */
    int64_t before_ms = st.min_t_ms;
    s->retention_bytes = (int64_t)(st.wal_bytes + st.block_bytes - 1);
    CHECK_EQ(compact_run(s, false, NULL), OK);
    st = store_stats_get(s);
    CHECK_EQ(st.blocks, 1);
    CHECK(st.min_t_ms >= before_ms + 6 * HOUR);
    CHECK((int64_t)(st.wal_bytes + st.block_bytes) <= s->retention_bytes);
    close_store(s);
}

/* ---- deleting ---- */

static matcher who(const char *value) { return (matcher){ STR("who"), str_from(value), MATCH_EQ, NULL }; }

TEST(store_delete_hides_at_once_and_for_good)
{
    const char *dir = fresh_dir();
    store *s = with_blocks(dir, 6);
    int64_t start = window_start(NOW, 18 * HOUR);
    matcher m[] = { who("w1") };
    delete_receipt told;
    err e = { 0 };
    /* w1 has a sample at 6, 24, 42 … minutes: 20 in all */
    CHECK_OK(store_delete(s, &(matcher_set){ m, 1 }, 1, start + HOUR, start + 5 * HOUR, &told, &e), e);
    CHECK_EQ(told.series, 1);
    CHECK_EQ(told.samples, 14);
    CHECK(told.blocks >= 2);
    char got[400];
    snprintf(got, sizeof got, "%s", strstr(all(s, "up"), "w1:"));
    *strchr(got, ' ') = '\0';
    size_t commas = 0;
    for (const char *c = got; *c; c++)
        commas += *c == ',';
    CHECK_EQ(commas + 1, 6);
    char all_of_it[8192];
    str_copy(all_of_it, sizeof all_of_it, str_from(all(s, "up")));
    CHECK_STR(str_from(after_crash(dir, "up")), all_of_it);
    CHECK_OK(store_delete(s, &(matcher_set){ m, 1 }, 1, start + HOUR, start + 5 * HOUR, &told, &e), e);
    CHECK_EQ(told.samples, 0); /* nothing is left to delete */
    CHECK_OK(store_clean(s, &e), e);
    CHECK_STR(str_from(all(s, "up")), all_of_it);
    for (size_t i = 0; i < s->blocks.len; i++)
        CHECK_EQ(s->blocks.at[i]->deleted.len, 0);
    CHECK_OK(store_flush(s, &e), e);
    CHECK_STR(str_from(all(s, "up")), all_of_it);
    close_store(s);
    s = open_at(dir);
    CHECK_STR(str_from(all(s, "up")), all_of_it);
    close_store(s);
}

TEST(store_delete_of_everything_leaves_nothing)
{
    const char *dir = fresh_dir();
    store *s = with_blocks(dir, 6);
    matcher m = { METRIC_NAME, STR("up"), MATCH_EQ, NULL };
    delete_receipt told;
    CHECK_EQ(store_delete(s, &(matcher_set){ &m, 1 }, 1, INT64_MIN, INT64_MAX, &told, NULL), OK);
    CHECK_EQ(told.samples, 60);
    CHECK_EQ(told.series, 3);
    CHECK_STR(str_from(all(s, "up")), "");
    CHECK_EQ(store_clean(s, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 0);
    CHECK_EQ(put(s, "up", 1, clock_now_ms(), 5), OK); /* and the series may begin again */
    CHECK_CONTAINS(str_from(all(s, "up")), "=5");
    close_store(s);
    s = open_with((store_options){ .dir = dir, .read_only = true });
    CHECK_EQ(store_delete(s, &(matcher_set){ &m, 1 }, 1, 0, 1, &told, NULL), ERR_DENIED);
    CHECK_EQ(store_clean(s, NULL), ERR_DENIED);
    close_store(s);
}

TEST(store_delete_is_done_or_can_be_repeated_after_any_fault)
{
    for (unsigned nth = 0;; nth++) {
        const char *dir = fresh_dir();
        store *s = with_blocks(dir, 4);
        matcher m[] = { who("w1") };
        delete_receipt told;
        fault_write(nth, FAULT_EIO);
        err_kind k = store_delete(s, &(matcher_set){ m, 1 }, 1, INT64_MIN, INT64_MAX, &told, NULL);
        bool fired = fault_write_fired();
        CHECK_EQ(k != OK, fired);
        CHECK_CONTAINS(str_from(all(s, "up")), "w2:");
        CHECK_EQ(store_delete(s, &(matcher_set){ m, 1 }, 1, INT64_MIN, INT64_MAX, &told, NULL), OK);
        CHECK(!strstr(all(s, "up"), "w1:"));
        CHECK(!strstr(after_crash(dir, "up"), "w1:"));
        close_store(s);
        if (!fired)
            break;
    }
}

/* ---- roll-ups ---- */

/* All series of a tier as text, read through a store of its own. */
static const char *tier_text(const char *dir, const char *tier, const char *column, const char *name)
{
    static char out[4][2048];
    static unsigned turn;
    char *to = out[turn++ % 4];
    char from[FILE_PATH_MAX], path[FILE_PATH_MAX];
    const char *copy = fresh_dir();
    CHECK_EQ(file_join(from, dir, tier, NULL), OK);
    CHECK_EQ(file_join(path, copy, "blocks", NULL), OK);
    copy_folder(from, path);
    store *s = open_at(copy);
    matcher m[] = { { METRIC_NAME, str_from(name), MATCH_EQ, NULL }, { ROLLUP_LABEL, str_from(column), MATCH_EQ, NULL } };
    store_selection *sel = NULL;
    size_t n = 0;
    to[0] = '\0';
    CHECK_EQ(store_select(s, m, 2, INT64_MIN, INT64_MAX, NULL, &sel, NULL), OK);
    for (size_t i = 0; i < store_select_len(sel); i++) {
        sample_vec v = { 0 };
        str w = labels_get(store_select_labels(sel, i), STR("who"));
        CHECK_EQ(store_select_samples(sel, i, &v, NULL), OK);
        n += (size_t)snprintf(to + n, 2048 - n, "%s%" STR_FMT ":", i ? " " : "", STR_ARG(w));
        for (size_t j = 0; j < v.len; j++)
            n += (size_t)snprintf(to + n, 2048 - n, is_stale(v.at[j].v) ? "%sstale" : "%s%g", j ? "," : "", v.at[j].v);
        vec_done(&v);
    }
    store_select_free(sel);
    close_store(s);
    return to;
}

/* Half an hour of a counter that is reset once, a sample every minute from one minute past, and flushed. */
static store *with_tier(const char *dir, int64_t start)
{
    clock_fake(start);
    store *s = open_with((store_options){ .dir = dir, .retention_ms = 100 * HOUR, .tier_5m_ms = 1000 * HOUR, .wal_fsync_ms = INT32_MAX });
    for (int i = 1; i <= 30; i++)
        CHECK_EQ(put(s, "total", 1, start + i * 60000, i <= 12 ? i * 10 : (i - 12) * 10), OK);
    CHECK_EQ(care_hand_over(s, INT64_MIN, NULL), OK);
    CHECK_EQ(compact_run(s, true, NULL), OK);
    return s;
}

TEST(tier_points_say_what_their_step_held)
{
    const char *dir = fresh_dir();
    int64_t start = window_start(NOW, 2 * HOUR);
    store *s = with_tier(dir, start);
    CHECK_STR(str_from(tier_text(dir, "tiers/5m", "count", "total")), "w1:5,5,5,5,5,5");
    CHECK_STR(str_from(tier_text(dir, "tiers/5m", "last", "total")), "w1:50,100,30,80,130,180");
    CHECK_STR(str_from(tier_text(dir, "tiers/5m", "min", "total")), "w1:10,60,10,40,90,140");
    CHECK_STR(str_from(tier_text(dir, "tiers/5m", "max", "total")), "w1:50,100,120,80,130,180");
    CHECK_STR(str_from(tier_text(dir, "tiers/5m", "sum", "total")), "w1:150,400,290,300,550,800");
    CHECK_STR(str_from(tier_text(dir, "tiers/5m", "counter", "total")), "w1:50,100,150,200,250,300");
    CHECK_EQ(compact_run(s, true, NULL), OK); /* nothing is made twice */
    CHECK_EQ(s->tiers[0].blocks.len, 1);
    close_store(s);
}

TEST(tier_goes_on_where_it_was)
{
    const char *dir = fresh_dir();
    int64_t start = window_start(NOW, 2 * HOUR);
    store *s = with_tier(dir, start);
    close_store(s);
    clock_fake(start + 31 * 60000);
    s = open_with((store_options){ .dir = dir, .retention_ms = 100 * HOUR, .tier_5m_ms = 1000 * HOUR, .wal_fsync_ms = INT32_MAX });
    for (int i = 31; i <= 45; i++) /* a reset while galen was away */
        CHECK_EQ(put(s, "total", 1, start + i * 60000, i == 45 ? stale_nan() : (i - 30) * 10), OK);
    CHECK_EQ(put(s, "total", 2, start + 45 * 60000, 7), OK);
    CHECK_EQ(care_hand_over(s, INT64_MIN, NULL), OK);
    CHECK_EQ(compact_run(s, true, NULL), OK);
    CHECK_STR(str_from(tier_text(dir, "tiers/5m", "counter", "total")), "w1:50,100,150,200,250,300,350,400,stale w2:7");
    CHECK_STR(str_from(tier_text(dir, "tiers/5m", "count", "total")), "w1:5,5,5,5,5,5,5,5,4 w2:1");
    /* what is deleted of the raw samples goes from the points that stand for any of it */
    matcher m[] = { who("w1") };
    delete_receipt told;
    CHECK_EQ(store_delete(s, &(matcher_set){ m, 1 }, 1, start + 3 * 60000, start + 6 * 60000, &told, NULL), OK);
    CHECK_EQ(told.samples, 4);
    CHECK_STR(str_from(tier_text(dir, "tiers/5m", "last", "total")), "w1:30,80,130,180,50,100,stale w2:7");
    /* raw samples go, points stay, until they are too old themselves */
    clock_fake(start + 300 * HOUR);
    CHECK_EQ(put(s, "now", 1, start + 300 * HOUR, 1), OK);
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK(s->blocks.len == 0 || s->blocks.at[0]->min_t_ms > start + HOUR);
    CHECK_CONTAINS(str_from(tier_text(dir, "tiers/5m", "last", "total")), "stale w2:7");
    CHECK_EQ(s->tiers[0].blocks.len, 1);
    clock_fake(start + 1300 * HOUR);
    CHECK_EQ(put(s, "now", 1, start + 1300 * HOUR, 1), OK);
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK(!strstr(tier_text(dir, "tiers/5m", "last", "total"), "w1"));
    close_store(s);
}

/* Labels that sort before __name__ and after __rollup__: the columns' series must come in order all the same. */
TEST(tier_takes_labels_in_any_order)
{
    clock_fake(NOW);
    const char *dir = fresh_dir();
    store *s = open_with((store_options){ .dir = dir, .tier_5m_ms = 1000 * HOUR, .tier_1h_ms = 1000 * HOUR, .wal_fsync_ms = INT32_MAX });
    static const char *const uuids[] = { "", "A", "B" };
    int64_t start = window_start(NOW, 2 * HOUR) - 8 * HOUR;
    for (int i = 0; i < 300; i++)
        for (int n = 0; n < 12; n++) {
            char text[4][16];
            label l[4];
            size_t len = 0;
            if (n % 3)
                l[len++] = (label){ STR("UUID"), str_from(uuids[n % 3]) };
            snprintf(text[0], sizeof text[0], "m%d", n / 6);
            l[len++] = (label){ METRIC_NAME, str_from(text[0]) };
            snprintf(text[1], sizeof text[1], "w%d", n);
            l[len++] = (label){ STR("who"), str_from(text[1]) };
            sample_row row = { .labels = { l, len }, .t_ms = start + i * 60000, .v = i };
            CHECK_EQ(store_append(s, &row, 1, NULL, NULL), OK);
        }
    err e = { 0 };
    CHECK_EQ(care_hand_over(s, INT64_MIN, NULL), OK);
    CHECK_OK(compact_run(s, true, &e), e);
    CHECK_EQ(s->tiers[0].blocks.at[0]->series_count, 72);
    CHECK_EQ(s->tiers[1].blocks.at[0]->series_count, 72);
    CHECK_STR(str_from(tier_text(dir, "tiers/1h", "count", "m1")), "w10:1,60,60,60,60 w7:1,60,60,60,60 w11:1,60,60,60,60 w8:1,60,60,60,60 w6:1,60,60,60,60 w9:1,60,60,60,60");
    close_store(s);
}

TEST(tier_survives_any_fault)
{
    for (unsigned nth = 0;; nth++) {
        const char *dir = fresh_dir();
        int64_t start = window_start(NOW, 2 * HOUR);
        clock_fake(start);
        store *s = open_with((store_options){ .dir = dir, .tier_5m_ms = 1000 * HOUR, .wal_fsync_ms = INT32_MAX });
        for (int i = 1; i <= 30; i++)
            CHECK_EQ(put(s, "total", i % 2, start + i * 60000, i), OK);
        CHECK_EQ(care_hand_over(s, INT64_MIN, NULL), OK);
        fault_write(nth, FAULT_ENOSPC);
        err_kind k = compact_run(s, true, NULL);
        bool fired = fault_write_fired();
        CHECK_EQ(k != OK, fired);
        CHECK_EQ(compact_run(s, true, NULL), OK);
        CHECK_EQ(s->tiers[0].blocks.len, 1);
        CHECK_STR(str_from(tier_text(dir, "tiers/5m", "last", "total")), "w0:4,10,14,20,24,30 w1:5,9,15,19,25,29");
        close_store(s);
        if (!fired)
            break;
    }
}

/* ---- native histograms ---- */

static err_kind put_histogram(store *s, int64_t t_ms, double count)
{
    static const histogram_span span = { 0, 2 };
    double buckets[2] = { count, 1 };
    histogram h = { .schema = 1, .count = count + 1, .sum = count * 2, .integer = true, .positive = { &span, 1, buckets, 2 } };
    label l[] = { { METRIC_NAME, STR("native") } };
    sample_row row = { .labels = { l, 1 }, .t_ms = t_ms, .histogram = &h };
    return store_append(s, &row, 1, NULL, NULL);
}

/* "t=count …", t from `start` in minutes. */
static const char *native_text(store *s, int64_t start)
{
    static char out[1000];
    matcher m = { METRIC_NAME, STR("native"), MATCH_EQ, NULL };
    store_selection *sel = NULL;
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    histogram_vec v = { 0 };
    size_t n = 0;
    out[0] = '\0';
    CHECK_EQ(store_select(s, &m, 1, INT64_MIN, INT64_MAX, NULL, &sel, NULL), OK);
    if (store_select_len(sel) > 0)
        CHECK_EQ(store_select_histograms(sel, 0, &a, &v, NULL), OK);
    for (size_t i = 0; i < v.len; i++)
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%lld=%g", i ? " " : "", (long long)(v.at[i].t_ms - start) / 60000, v.at[i].h->positive.buckets[0]);
    vec_done(&v);
    store_select_free(sel);
    return out;
}

TEST(store_merges_histograms_that_overlap_and_leaves_the_deleted_out)
{
    const char *dir = fresh_dir();
    store *s = open_at(dir);
    int64_t start = window_start(NOW, 18 * HOUR);
    clock_fake(start + 3 * HOUR);
    for (int i = 0; i < 6; i++)
        CHECK_EQ(put_histogram(s, start + i * 20 * 60000, i), OK);
    CHECK_EQ(care_hand_over(s, INT64_MIN, NULL), OK);
    for (int i = 0; i < 3; i++) /* the series begins anew, between and at what the block has */
        CHECK_EQ(put_histogram(s, start + (10 + i * 10) * 60000, 100 + i), OK);
    CHECK_EQ(care_hand_over(s, INT64_MIN, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 2);
    const char *want = "0=0 10=100 20=101 30=102 40=2 60=3 80=4 100=5";
    CHECK_STR(str_from(native_text(s, start)), want);
    CHECK_EQ(compact_run(s, true, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 1);
    CHECK_STR(str_from(native_text(s, start)), want);
    matcher m = { METRIC_NAME, STR("native"), MATCH_EQ, NULL };
    delete_receipt told;
    CHECK_EQ(store_delete(s, &(matcher_set){ &m, 1 }, 1, start + 15 * 60000, start + 60 * 60000, &told, NULL), OK);
    want = "0=0 10=100 80=4 100=5";
    CHECK_STR(str_from(native_text(s, start)), want);
    CHECK_EQ(store_clean(s, NULL), OK);
    CHECK_STR(str_from(native_text(s, start)), want);
    close_store(s);
    s = open_at(dir);
    CHECK_STR(str_from(native_text(s, start)), want);
    close_store(s);
}
