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
    CHECK_EQ(care_run(s, true, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 2);
    CHECK_STR(str_from(all(s, "m")), want);
    CHECK_EQ(store_flush(s, NULL), OK); /* merged now, and the same */
    CHECK_EQ(store_stats_get(s).blocks, 1);
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
    clock_advance(72 * HOUR); /* a clock alone takes nothing: it may be wrong */
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK_STR(str_from(all(s, "m")), "w2:1790000000000=2 w3:1790043200000=3");
    CHECK_EQ(put(s, "newer", 1, clock_now_ms(), 1), OK);
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK_STR(str_from(all(s, "m")), "");
    store_stats st = store_stats_get(s);
    CHECK_EQ(st.head_series + st.blocks, 1);
    CHECK_EQ(st.min_t_ms, clock_now_ms());
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

/* The plainest model there is: an array a series. Series 4 is seen rarely, so the head forgets it; series 5 fills
 * in a year ago, window by window. */
enum { LIFE_SERIES = 6, LIFE_STEPS = 400 };
typedef struct life {
    rand_state r;
    char dir[FILE_PATH_MAX];
    int64_t now_ms, back_ms;
    store *s;
    sample at[LIFE_SERIES][LIFE_STEPS]; /* times rise in each */
    size_t len[LIFE_SERIES];
} life;

static bool one_in(life *l, uint64_t n) { return rand_below(&l->r, n) == 0; }

static void life_open(life *l)
{
    l->s = open_with((store_options){ .dir = l->dir, .retention_ms = INT64_C(100) * 365 * 24 * HOUR });
}

static void life_append(life *l)
{
    size_t i = rand_below(&l->r, LIFE_SERIES);
    if (i == 4 && !one_in(l, 10))
        return;
    l->back_ms += (int64_t)rand_below(&l->r, 3 * HOUR) + 1;
    sample x = { i == 5 ? l->back_ms : l->now_ms, rand_double(&l->r) };
    bool faulty = one_in(l, 12);
    if (faulty)
        fault_write((unsigned)rand_below(&l->r, 2), (fault_write_kind)rand_below(&l->r, 3));
    err_kind k = put(l->s, "m", (int)i, x.t_ms, x.v);
    bool fired = faulty && fault_write_fired();
    CHECK(k == OK || fired);
    if (!k)
        l->at[i][l->len[i]++] = x;
}

static void life_flush(life *l)
{
    if (one_in(l, 2))
        fault_write((unsigned)rand_below(&l->r, 12), FAULT_EIO);
    if (one_in(l, 3))
        fault_alloc((unsigned)rand_below(&l->r, 80));
    err_kind k = one_in(l, 2) ? store_flush(l->s, NULL) : care_run(l->s, false, NULL);
    bool write_fired = fault_write_fired(), alloc_fired = fault_fired();
    CHECK(k == OK || write_fired || alloc_fired);
}

/* Closed and opened again, or gone on with from what a crash would have left. */
static void life_restart(life *l)
{
    char copy[FILE_PATH_MAX];
    if (one_in(l, 2)) {
        str_copy(copy, sizeof copy, str_from(test_dir()));
        copy_folder(l->dir, copy);
        str_copy(l->dir, sizeof l->dir, str_from(copy));
    }
    close_store(l->s);
    life_open(l);
}

static void life_check(life *l, uint64_t seed)
{
    for (size_t i = 0; i < LIFE_SERIES; i++) {
        char who[8];
        snprintf(who, sizeof who, "w%zu", i);
        matcher m = { STR("who"), str_from(who), MATCH_EQ, NULL };
        AUTO(store_select_freep) store_selection *sel = NULL;
        sample_vec v = { 0 };
        CHECK_EQ(store_select(l->s, &m, 1, INT64_MIN, INT64_MAX, NULL, &sel, NULL), OK);
        CHECK_EQ(store_select_len(sel), l->len[i] > 0);
        if (l->len[i])
            CHECK_EQ(store_select_samples(sel, 0, &v, NULL), OK);
        CHECK_MSG(v.len == l->len[i] && (!v.len || memcmp(v.at, l->at[i], v.len * sizeof *v.at) == 0),
                  "seed %d: series %zu differs", (int)seed, i);
        vec_done(&v);
    }
}

TEST(store_agrees_with_a_plain_array_through_a_random_life)
{
    static life l;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        l = (life){ .r = rand_seeded(seed), .now_ms = window_start(NOW, 2 * HOUR), .back_ms = NOW - 365 * 24 * HOUR };
        str_copy(l.dir, sizeof l.dir, str_from(test_dir()));
        clock_fake(l.now_ms);
        life_open(&l);
        for (int step = 0; step < LIFE_STEPS; step++) {
            l.now_ms += (int64_t)rand_below(&l.r, 20 * 60000) + 1;
            clock_fake(l.now_ms);
            life_append(&l);
            if (one_in(&l, 25))
                life_flush(&l);
            if (one_in(&l, 50))
                life_restart(&l);
            if (one_in(&l, 80))
                life_check(&l, seed);
        }
        life_check(&l, seed);
        close_store(l.s);
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

/* Samples that stay in one window never make a block: the log is cut all the same. */
TEST(store_cuts_a_long_log_by_a_checkpoint)
{
    if (WAL_SEGMENT_MAX_BYTES > (1u << 20))
        return; /* only where segments are small it takes no time */
    const char *dir = test_dir();
    int64_t start = window_start(NOW, 2 * HOUR);
    char want[8192];
    store *s = open_at(dir);
    clock_fake(start + 100000);
    for (int i = 0; s->wal.segment < 70; i++)
        CHECK_EQ(put(s, "up", i % 40, start + i, i + 0.1), OK);
    str_copy(want, sizeof want, str_from(answer(s, "up", start + 300, start + 500)));
    CHECK_EQ(care_run(s, false, NULL), OK);
    CHECK_EQ(store_stats_get(s).blocks, 0);
    CHECK(store_stats_get(s).wal_segments < 3);
    CHECK(s->checkpoint >= 70);
    CHECK_STR(str_from(answer(s, "up", start + 300, start + 500)), want);
    close_store(s);
    s = open_at(dir);
    CHECK_STR(str_from(answer(s, "up", start + 300, start + 500)), want);
    close_store(s);
}
