/* What a selection puts together: sources in order, names, roll-ups. */
#include "store/compact.h"
#include "store/fixture.h"
#include "base/regex.h"
#include "base/test.h"
#include <stdlib.h>

/* "w1:60=1,120=2 …": times as seconds since `start`. One of four static buffers. */
static const char *text_of(store_selection *sel, int64_t start)
{
    static char out[4][4096];
    static unsigned turn;
    char *to = out[turn++ % 4];
    size_t n = 0;
    to[0] = '\0';
    for (size_t i = 0; i < store_select_len(sel); i++) {
        sample_vec v = { 0 };
        str w = labels_get(store_select_labels(sel, i), STR("who"));
        CHECK_EQ(labels_get(store_select_labels(sel, i), STR("__rollup__")).len, 0);
        CHECK_EQ(store_select_samples(sel, i, &v, NULL), OK);
        n += (size_t)snprintf(to + n, 4096 - n, "%s%" STR_FMT ":", i ? " " : "", STR_ARG(w));
        for (size_t j = 0; j < v.len; j++)
            n += (size_t)snprintf(to + n, 4096 - n, "%s%" PRId64 "=%g", j ? "," : "", (v.at[j].t_ms - start) / 1000, v.at[j].v);
        vec_done(&v);
    }
    return to;
}

static const char *ask(store *s, const char *name, int64_t from_ms, int64_t to_ms, select_hints hints, int64_t start, store_tier want)
{
    matcher m = { METRIC_NAME, str_from(name), MATCH_EQ, NULL };
    store_selection *sel = NULL;
    err e = { 0 };
    CHECK_OK(store_select_with(s, &m, 1, from_ms, to_ms, &hints, NULL, &sel, &e), e);
    const char *text = text_of(sel, start);
    CHECK_EQ(store_select_tier(sel), want);
    CHECK_EQ(store_select_counts(sel), want > STORE_TIER_RAW && str_is(hints.function, "count_over_time"));
    store_select_free(sel);
    return text;
}

/* Three hours of a counter, a sample a minute; the raw samples of the first two are gone, their roll-ups are there. */
static store *with_tiers(const char *dir, int64_t start)
{
    clock_fake(start);
    store *s = open_with((store_options){ .dir = dir, .retention_ms = 100 * HOUR, .tier_5m_ms = 1000 * HOUR, .tier_1h_ms = 2000 * HOUR, .wal_fsync_ms = INT32_MAX });
    for (int i = 1; i <= 120; i++)
        CHECK_EQ(put(s, "total", 1, start + i * 60000, i), OK);
    CHECK_EQ(care_hand_over(s, INT64_MIN, NULL), OK);
    CHECK_EQ(compact_run(s, true, NULL), OK);
    clock_fake(start + 105 * HOUR);
    for (int i = 1; i <= 3; i++)
        CHECK_EQ(put(s, "total", 1, start + 104 * HOUR + i * 60000, 1000 + i), OK);
    CHECK_EQ(store_flush(s, NULL), OK);
    return s;
}

TEST(select_takes_from_the_roll_ups_what_raw_samples_do_not_reach)
{
    static const struct { const char *function, *first, *second; } want[] = {
        { "", "300=5,600=10", "3600=60,7200=120" },
        { "rate", "300=5,600=10", "3600=60,7200=120" },
        { "min_over_time", "300=1,600=6", "3600=1,7200=61" },
        { "max_over_time", "300=5,600=10", "3600=60,7200=120" },
        { "sum_over_time", "300=15,600=40", "3600=1830,7200=5430" },
        { "count_over_time", "300=5,600=5", "3600=60,7200=60" },
        { "avg_over_time", "300=3,600=8", "3600=30.5,7200=90.5" },
        { "stddev_over_time", "300=5,600=10", "3600=60,7200=120" },
    };
    int64_t start = window_start(NOW, 2 * HOUR);
    store *s = with_tiers(test_dir(), start);
    char text[200];
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        select_hints h = { .function = str_from(want[i].function) };
        snprintf(text, sizeof text, "w1:%s", want[i].first);
        CHECK_STR(str_from(ask(s, "total", start, start + 600000, h, start, STORE_TIER_5M)), text);
        /* asked for: the coarse tier, then what it does not have yet */
        h.tier = STORE_TIER_1H;
        snprintf(text, sizeof text, "w1:%s", want[i].second);
        CHECK_STR(str_from(ask(s, "total", start, start + 2 * HOUR, h, start, STORE_TIER_1H)), text);
        h.tier = STORE_TIER_RAW;
        CHECK_STR(str_from(ask(s, "total", start, start + 2 * HOUR, h, start, STORE_TIER_RAW)), "");
    }
    /* both in one: roll-ups and then raw samples, which are one each in a count */
    const char *got = ask(s, "total", start + 2 * HOUR, INT64_MAX, (select_hints){ 0 }, start, STORE_TIER_5M);
    CHECK_STR(str_from(got), "w1:7200=120,374460=1001,374520=1002,374580=1003");
    got = ask(s, "total", start + 2 * HOUR, INT64_MAX, (select_hints){ .function = STR("count_over_time") }, start, STORE_TIER_5M);
    CHECK_STR(str_from(got), "w1:7200=5,374460=1,374520=1,374580=1");
    got = ask(s, "total", start + 104 * HOUR, INT64_MAX, (select_hints){ 0 }, start, STORE_TIER_RAW);
    CHECK_STR(str_from(got), "w1:374460=1001,374520=1002,374580=1003");
    close_store(s);
}

TEST(select_lists_names_of_the_roll_ups_without_their_label)
{
    int64_t start = window_start(NOW, 2 * HOUR);
    store *s = with_tiers(test_dir(), start);
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    str *got;
    size_t n;
    matcher m = { METRIC_NAME, STR("total"), MATCH_EQ, NULL };
    for (size_t sets = 0; sets < 2; sets++) {
        CHECK_EQ(store_label_names(s, &(matcher_set){ &m, 1 }, sets, start, start + HOUR, &a, &got, &n, NULL), OK);
        CHECK_EQ(n, 2);
        CHECK_STR(got[0], "__name__");
        CHECK_STR(got[1], "who");
        CHECK_EQ(store_label_values(s, STR("who"), &(matcher_set){ &m, 1 }, sets, start, start + HOUR, &a, &got, &n, NULL), OK);
        CHECK_EQ(n, 1);
        CHECK_EQ(store_label_values(s, STR("__rollup__"), &(matcher_set){ &m, 1 }, sets, start, start + HOUR, &a, &got, &n, NULL), OK);
        CHECK_EQ(n, 0);
    }
    close_store(s);
}

/* Blocks by number, then late samples, then the head: several of each, some with the same series. */
TEST(select_puts_many_sources_in_order)
{
    store *s = open_with((store_options){ .dir = test_dir(), .retention_ms = INT64_C(1) << 52, .out_of_order_ms = 100 * HOUR, .wal_fsync_ms = INT32_MAX });
    char want[4096] = "";
    size_t n = 0;
    clock_fake(NOW);
    for (int round = 0; round < 5; round++) { /* each series in two of five blocks */
        for (int who = 0; who < 20; who++)
            if (who % 5 == round || (who + 1) % 5 == round)
                CHECK_EQ(put(s, "up", who, NOW + round * HOUR, round), OK);
        CHECK_EQ(care_hand_over(s, INT64_MIN, NULL), OK);
    }
    for (int who = 0; who < 20; who += 2)
        CHECK_EQ(put(s, "up", who, NOW + 6 * HOUR, 6), OK);
    CHECK_EQ(put(s, "up", 4, NOW + 5 * HOUR, 5), OK); /* late */
    static const char *const names[] = { "w0", "w1", "w10", "w11", "w12", "w13", "w14", "w15", "w16", "w17", "w18", "w19", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9" };
    for (int i = 0; i < 20; i++) {
        int who = atoi(names[i] + 1);
        n += (size_t)snprintf(want + n, sizeof want - n, "%s%s:", i ? " " : "", names[i]);
        bool any = false;
        for (int round = 0; round < 7; round++)
            if (round < 5 ? who % 5 == round || (who + 1) % 5 == round : round == 5 ? who == 4 : who % 2 == 0) {
                n += (size_t)snprintf(want + n, sizeof want - n, "%s%d=%d", any ? "," : "", round * 3600, round);
                any = true;
            }
    }
    CHECK_STR(str_from(ask(s, "up", INT64_MIN, INT64_MAX, (select_hints){ 0 }, NOW, STORE_TIER_RAW)), want);
    /* and without an order it is the same set */
    matcher m = { METRIC_NAME, STR("up"), MATCH_EQ, NULL };
    store_selection *sel;
    CHECK_EQ(store_select_with(s, &m, 1, INT64_MIN, INT64_MAX, &(select_hints){ .unordered = true, .labels_only = true }, NULL, &sel, NULL), OK);
    CHECK_EQ(store_select_len(sel), 20);
    size_t sources;
    const select_source *from = store_select_sources(sel, &sources);
    CHECK(sources >= 2 && str_is(from[0].path, "head") && from[0].series >= 10);
    sample_vec v = { 0 };
    CHECK_EQ(store_select_samples(sel, 0, &v, NULL), ERR_INTERNAL);
    store_select_free(sel);
    close_store(s);
}

TEST(select_limits_series_over_all_sources)
{
    store *s = store_with_six_hours(test_dir());
    CHECK_EQ(store_flush(s, NULL), OK);
    matcher m = { METRIC_NAME, STR("up"), MATCH_EQ, NULL };
    store_selection *sel = NULL;
    CHECK_EQ(store_select(s, &m, 1, INT64_MIN, INT64_MAX, &(select_limits){ .max_series = 2 }, &sel, NULL), ERR_LIMIT);
    CHECK_EQ(store_select(s, &m, 1, INT64_MIN, INT64_MAX, &(select_limits){ .max_series = 3 }, &sel, NULL), OK);
    store_select_free(sel);
    close_store(s);
}

TEST(select_survives_any_failed_allocation)
{
    int64_t start = window_start(NOW, 2 * HOUR);
    store *s = with_tiers(test_dir(), start);
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    matcher m = { METRIC_NAME, STR("total"), MATCH_EQ, NULL };
    for (unsigned nth = 0;; nth++) {
        store_selection *sel = NULL;
        sample_vec v = { 0 };
        str *got;
        size_t n;
        fault_alloc(nth);
        err_kind k = store_select_with(s, &m, 1, start, INT64_MAX, &(select_hints){ .function = STR("avg_over_time") }, NULL, &sel, NULL);
        if (!k)
            k = store_select_samples(sel, 0, &v, NULL);
        if (!k)
            k = store_label_values(s, STR("who"), &(matcher_set){ &m, 1 }, 1, start, INT64_MAX, &a, &got, &n, NULL);
        if (!k)
            k = store_label_names(s, NULL, 0, start, INT64_MAX, &a, &got, &n, NULL);
        bool fired = fault_fired();
        CHECK_EQ(k, fired ? ERR_NOMEM : OK);
        CHECK(!k || fired);
        vec_done(&v);
        store_select_free(sel);
        arena_reset(&a);
        if (!fired)
            break;
    }
    close_store(s);
}

/* An instant wants one sample a series, a count not even its labels; with a block beside the head labels tell the
 * series of both apart. */
TEST(select_leaves_out_what_the_reader_will_not_use)
{
    static const select_hints newest = { .tier = STORE_TIER_RAW, .newest_only = true };
    static const select_hints counted = { .tier = STORE_TIER_RAW, .newest_only = true, .unordered = true, .unlabelled = true };
    store *s = open_at(test_dir());
    for (int who = 1; who <= 3; who++)
        for (int i = 0; i < 5; i++)
            CHECK_EQ(put(s, "up", who, NOW + i * 1000, who * 10 + i), OK);
    int64_t last = NOW + 4000;
    CHECK_STR(str_from(ask(s, "up", NOW, last, newest, NOW, STORE_TIER_RAW)), "w1:4=14 w2:4=24 w3:4=34");
    CHECK_STR(str_from(ask(s, "up", NOW, last, counted, NOW, STORE_TIER_RAW)), ":4=14 :4=24 :4=34");
    /* Its newest lies behind the range: what is inside has to be looked for. */
    CHECK_STR(str_from(ask(s, "up", NOW, last - 2500, newest, NOW, STORE_TIER_RAW)), "w1:0=10,1=11 w2:0=20,1=21 w3:0=30,1=31");
    CHECK_EQ(care_hand_over(s, INT64_MIN, NULL), OK);
    CHECK_EQ(put(s, "up", 2, last + 1000, 25), OK);
    CHECK_EQ(put(s, "up", 4, last + 1000, 40), OK);
    const char *both = "w1:0=10,1=11,2=12,3=13,4=14 w2:0=20,1=21,2=22,3=23,4=24,5=25 w3:0=30,1=31,2=32,3=33,4=34 w4:5=40";
    CHECK_STR(str_from(ask(s, "up", NOW, last + 1000, counted, NOW, STORE_TIER_RAW)), both);
    close_store(s);
}
