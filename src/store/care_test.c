#include "store/fixture.h"
#include "base/rand.h"
#include "base/test.h"

/* ---- blocks and retention ---- */

TEST(store_moves_complete_windows_into_a_block_and_answers_the_same)
{
    const char *dir = test_dir();
    store *s = open_at(dir);
    int64_t start = window_start(NOW, 2 * HOUR);
    clock_fake(start);
    for (int i = 0; i < 60; i++)
        CHECK_EQ(put(s, "up", i % 3, start + i * HOUR / 10, i), OK); /* six hours */
    char want[8192];
    str_copy(want, sizeof want, str_from(all(s, "up")));
    clock_advance(6 * HOUR);
    CHECK_EQ(store_flush(s, NULL), OK);
    store_stats st = store_stats_get(s);
    CHECK_EQ(st.blocks, 1);
    CHECK(st.head_samples >= 20); /* the last two hours are not complete, and a chunk that reaches into them stays */
    CHECK_EQ(st.wal_segments, 0);
    CHECK_STR(str_from(all(s, "up")), want);
    CHECK_EQ(store_flush(s, NULL), OK); /* nothing is complete: nothing happens */
    CHECK_EQ(store_stats_get(s).blocks, 1);
    CHECK_EQ(put(s, "up", 0, start + 7 * HOUR, 99), OK);
    CHECK_CONTAINS(str_from(all(s, "up")), "=99");
    str_copy(want, sizeof want, str_from(all(s, "up")));
    CHECK_STR(str_from(after_crash(dir, "up")), want);
    close_store(s);
    s = open_at(dir);
    CHECK_STR(str_from(all(s, "up")), want);
    close_store(s);
}

TEST(store_own_thread_cuts_only_what_is_worth_it)
{
    store *s = open_at(test_dir());
    int64_t start = window_start(NOW, 2 * HOUR);
    clock_fake(start);
    CHECK_EQ(put(s, "up", 1, start, 1), OK);
    CHECK_EQ(put(s, "up", 1, start + 3 * HOUR, 1), OK);
    clock_advance(3 * HOUR);
    CHECK_EQ(care_run(s, false, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 0); /* one and a half windows are not more than that */
    CHECK_EQ(put(s, "up", 1, start + 3 * HOUR + 1, 1), OK);
    clock_advance(1);
    CHECK_EQ(care_run(s, false, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 1);
    CHECK_EQ(put(s, "old", 1, start - 24 * HOUR, 1), OK); /* a backfill does not write a block each tick */
    CHECK_EQ(care_run(s, false, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 1);
    clock_advance(HOUR / 2);
    CHECK_EQ(care_run(s, false, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 2);
    close_store(s);
}

TEST(store_head_may_span_from_1970_to_now)
{
    const char *dir = test_dir();
    clock_fake(NOW);
    store_options o = { .dir = dir, .retention_ms = INT64_C(100) * 365 * 24 * HOUR };
    store *s = open_with(o);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(put(s, "m", 1, i * 15000, i), OK);
        CHECK_EQ(put(s, "m", 2, NOW + i * 15000, i), OK);
    }
    CHECK_EQ(put(s, "m", 3, -HOUR * 24 * 365, 7), OK);
    char want[8192];
    str_copy(want, sizeof want, str_from(all(s, "m")));
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK_STR(str_from(all(s, "m")), want);
    CHECK_EQ(store_stats_get(s).blocks, 1);
    CHECK_EQ(put(s, "m", 1, 60000, 4), OK);   /* the old series goes on where it was */
    CHECK_EQ(put(s, "m", 3, 60000, 4), OK);
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 2);
    CHECK_STR(str_from(answer(s, "m", 45000, 60000)), "w1:45000=3,60000=4 w3:60000=4");
    str_copy(want, sizeof want, str_from(all(s, "m")));
    close_store(s);
    s = open_with(o);
    CHECK_STR(str_from(all(s, "m")), want);
    close_store(s);
}

TEST(store_merges_overlapping_sources_and_the_later_wins)
{
    store *s = open_at(test_dir());
    CHECK_EQ(put(s, "m", 1, NOW - 20 * HOUR, 1), OK);
    CHECK_EQ(put(s, "m", 1, NOW - 18 * HOUR, 1), OK);
    CHECK_EQ(put(s, "tick", 1, NOW, 1), OK);
    CHECK_EQ(store_flush(s, NULL), OK);
    /* The head has forgotten the series: it begins anew, before and at what the block has. */
    CHECK_EQ(put(s, "m", 1, NOW - 19 * HOUR, 2), OK);
    CHECK_EQ(put(s, "m", 1, NOW - 18 * HOUR, 2), OK);
    const char *want = "w1:1789928000000=1,1789931600000=2,1789935200000=2";
    CHECK_STR(str_from(all(s, "m")), want);
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 2);
    CHECK_STR(str_from(all(s, "m")), want);
    close_store(s);
}

TEST(store_forgets_what_is_older_than_the_retention)
{
    const char *dir = test_dir();
    clock_fake(NOW);
    store *s = open_with((store_options){ .dir = dir, .retention_ms = 24 * HOUR });
    CHECK_EQ(put(s, "m", 1, NOW - 24 * HOUR - 1, 1), ERR_OUT_OF_ORDER);
    CHECK_EQ(put(s, "m", 1, NOW - 23 * HOUR, 1), OK);
    CHECK_EQ(put(s, "m", 2, NOW, 2), OK);
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 1);
    clock_advance(12 * HOUR);
    CHECK_EQ(put(s, "m", 3, NOW + 12 * HOUR, 3), OK);
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 1); /* the first is gone, the second has come */
    CHECK_STR(str_from(all(s, "m")), "w2:1790000000000=2 w3:1790043200000=3");
    clock_advance(72 * HOUR);
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK_STR(str_from(all(s, "m")), "");
    store_stats st = store_stats_get(s);
    CHECK_EQ(st.blocks, 0);
    CHECK_EQ(st.head_series, 0);
    CHECK_EQ(st.head_samples, 0);
    CHECK_EQ(st.min_t_ms, INT64_MAX);
    close_store(s);
    s = open_at(dir);
    CHECK_STR(str_from(all(s, "m")), "");
    close_store(s);
}

/* ---- faults and crashes ---- */

/* Each write-like call of a flush fails once, and at that moment the machine also dies. */
TEST(store_flush_loses_nothing_at_any_fault_or_crash)
{
    static const fault_write_kind kinds[] = { FAULT_EIO, FAULT_SHORT_WRITE };
    const char *base = test_dir();
    char dir[FILE_PATH_MAX];
    for (size_t kind = 0; kind < COUNT_OF(kinds); kind++)
        for (unsigned nth = 0;; nth++) {
            snprintf(dir, sizeof dir, "%s/%zu-%u", base, kind, nth);
            store *s = store_with_six_hours(dir);
            char want[8192];
            str_copy(want, sizeof want, str_from(all(s, "up")));
            fault_write(nth, kinds[kind]);
            err_kind k = store_flush(s, NULL);
            bool fired = fault_write_fired();
            CHECK_EQ(k != OK, fired);
            CHECK_STR(str_from(all(s, "up")), want);
            CHECK_STR(str_from(after_crash(dir, "up")), want);
            clock_fake(window_start(NOW, 2 * HOUR) + 6 * HOUR); /* after_crash has moved it */
            CHECK_EQ(put(s, "up", 1, NOW + 30 * HOUR, 1), OK); /* and it goes on, with the flush done later */
            CHECK_EQ(store_flush(s, NULL), OK);
            str_copy(want, sizeof want, str_from(all(s, "up")));
            CHECK_STR(str_from(after_crash(dir, "up")), want);
            close_store(s);
            if (!fired)
                break;
        }
}

TEST(store_flush_survives_any_failed_allocation)
{
    const char *base = test_dir();
    char dir[FILE_PATH_MAX];
    for (unsigned nth = 0;; nth++) {
        snprintf(dir, sizeof dir, "%s/%u", base, nth);
        store *s = store_with_six_hours(dir);
        char want[8192];
        str_copy(want, sizeof want, str_from(all(s, "up")));
        fault_alloc(nth);
        err_kind k = store_flush(s, NULL);
        bool fired = fault_fired();
        CHECK(k == OK || (fired && k == ERR_NOMEM));
        CHECK_STR(str_from(all(s, "up")), want);
        CHECK_STR(str_from(after_crash(dir, "up")), want);
        close_store(s);
        CHECK_EQ(file_remove_tree(dir, NULL), OK);
        if (!fired)
            break;
    }
}


/* ---- a long random life ---- */

/* Against the plainest model there is: an array a series. With flushes, restarts and crashes in between. */
TEST(store_agrees_with_a_plain_array_through_a_random_life)
{
    enum { SERIES = 4, STEPS = 400 };
    static sample model[SERIES][STEPS];
    for (uint64_t seed = 1; seed <= 3; seed++) {
        rand_state r = rand_seeded(seed);
        size_t len[SERIES] = { 0 };
        const char *dir = test_dir();
        int64_t now = window_start(NOW, 2 * HOUR);
        clock_fake(now);
        store *s = open_with((store_options){ .dir = dir });
        for (int step = 0; step < STEPS; step++) {
            now += (int64_t)rand_below(&r, 20 * 60000) + 1;
            clock_fake(now);
            size_t i = rand_below(&r, SERIES);
            model[i][len[i]++] = (sample){ now, rand_double(&r) };
            CHECK_EQ(put(s, "m", (int)i, now, model[i][len[i] - 1].v), OK);
            if (rand_below(&r, 40) == 0)
                CHECK_EQ(rand_below(&r, 2) ? store_flush(s, NULL) : care_run(s, false, NULL), OK);
            if (rand_below(&r, 60) == 0) {
                close_store(s);
                s = open_with((store_options){ .dir = dir });
            }
        }
        AUTO(store_select_freep) store_selection *sel = NULL;
        CHECK_EQ(store_select(s, NULL, 0, INT64_MIN, INT64_MAX, NULL, &sel, NULL), OK);
        CHECK_EQ(store_select_len(sel), SERIES);
        for (size_t i = 0; i < SERIES; i++) {
            sample_vec v = { 0 };
            CHECK_EQ(store_select_samples(sel, i, &v, NULL), OK);
            CHECK_EQ(v.len, len[i]);
            CHECK(memcmp(v.at, model[i], len[i] * sizeof *v.at) == 0);
            vec_done(&v);
        }
        close_store(s);
    }
}

TEST(store_window_is_not_complete_because_of_a_sample_from_the_future)
{
    store *s = open_at(test_dir());
    CHECK_EQ(put(s, "up", 1, NOW, 1), OK);
    CHECK_EQ(put(s, "up", 2, NOW + 24 * HOUR, 1), OK);
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 0);
    close_store(s);
}

TEST(store_takes_samples_again_after_the_clock_stepped_back)
{
    clock_fake(NOW + 48 * HOUR); /* wrong by two days: what comes in with right times looks too old */
    store *s = open_with((store_options){ .dir = test_dir(), .retention_ms = 24 * HOUR });
    clock_fake(NOW);
    CHECK_EQ(put(s, "up", 1, NOW, 1), OK);
    CHECK_EQ(put(s, "up", 2, NOW + 47 * HOUR, 1), OK);
    clock_fake(NOW + 48 * HOUR);
    CHECK_EQ(store_flush(s, NULL), OK);
    clock_fake(NOW);
    CHECK_EQ(put(s, "up", 1, NOW + 1000, 2), OK);
    CHECK_CONTAINS(str_from(all(s, "up")), "w1:1790000001000=2");
    close_store(s);
}

TEST(store_sync_tries_again_after_a_failure)
{
    store *s = open_at(test_dir());
    CHECK_EQ(put(s, "up", 1, NOW, 1), OK);
    fault_write(0, FAULT_EIO);
    err_kind k = sync_run(s, NULL);
    CHECK_EQ(k != OK, fault_write_fired());
    CHECK_EQ(store_stats_get(s).wal_errors_total, k != OK);
    CHECK_EQ(s->wal.dirty, k != OK);
    CHECK_EQ(sync_run(s, NULL), OK);
    CHECK(!s->wal.dirty);
    close_store(s);
}
