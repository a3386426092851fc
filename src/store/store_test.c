#include "store/fixture.h"
#include "base/regex.h"
#include "base/test.h"
#include <stdatomic.h>

/* ---- appending ---- */

TEST(store_gives_back_what_it_was_given)
{
    store *s = open_at(test_dir());
    for (int i = 0; i < 10; i++)
        CHECK_EQ(put(s, "up", i % 2, NOW + i, i), OK);
    CHECK_EQ(put(s, "down", 1, NOW, 1), OK);
    CHECK_STR(str_from(answer(s, "up", NOW + 2, NOW + 5)), "w0:1790000000002=2,1790000000004=4 w1:1790000000003=3,1790000000005=5");
    CHECK_STR(str_from(answer(s, "up", NOW + 9, NOW + 9)), "w1:1790000000009=9");
    CHECK_STR(str_from(answer(s, "up", NOW + 10, NOW + 99)), "");
    CHECK_STR(str_from(answer(s, "nothing", 0, NOW + 99)), "");
    store_stats st = store_stats_get(s);
    CHECK_EQ(st.head_series, 3);
    CHECK_EQ(st.head_samples, 11);
    CHECK_EQ(st.appended_total, 11);
    CHECK_EQ(st.min_t_ms, NOW);
    CHECK_EQ(st.max_t_ms, NOW + 9);
    CHECK(st.wal_bytes > 0 && st.wal_segments > 0);
    close_store(s);
}

TEST(store_judges_each_sample_by_the_last_one)
{
    static const struct { const char *what; int64_t t; double v; err_kind want; } steps[] = {
        { "the first sample may be anywhere",           1000, 1, OK },
        { "the same again is accepted and dropped",     1000, 1, OK },
        { "another value at that time is a duplicate",  1000, 2, ERR_DUPLICATE },
        { "an older sample is out of order",             999, 1, ERR_OUT_OF_ORDER },
        { "a newer one goes on",                        1001, 2, OK },
        { "a time beyond all calendars is refused", INT64_MAX, 2, ERR_LIMIT },
        { "a time before all calendars is refused", INT64_MIN, 2, ERR_OUT_OF_ORDER },
    };
    store *s = open_at(test_dir());
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        int64_t t = steps[i].t > 10000 || steps[i].t < 0 ? steps[i].t : NOW + steps[i].t;
        CHECK_MSG(put(s, "up", 1, t, steps[i].v) == steps[i].want, "%s", steps[i].what);
    }
    CHECK_STR(str_from(all(s, "up")), "w1:1790000001000=1,1790000001001=2");
    close_store(s);
}

TEST(store_compares_values_by_their_bits)
{
    store *s = open_at(test_dir());
    CHECK_EQ(put(s, "up", 1, NOW, stale_nan()), OK);
    CHECK_EQ(put(s, "up", 1, NOW, stale_nan()), OK);
    CHECK_EQ(put(s, "up", 1, NOW, normal_nan()), ERR_DUPLICATE);
    CHECK_EQ(put(s, "up", 2, NOW, 0.0), OK);
    CHECK_EQ(put(s, "up", 2, NOW, -0.0), ERR_DUPLICATE);
    close_store(s);
}

TEST(store_batch_is_all_or_nothing_without_a_place_for_rejects)
{
    store *s = open_at(test_dir());
    CHECK_EQ(put(s, "up", 1, NOW + 5, 1), OK);
    rows r = { 0 };
    add_row(&r, "up", 2, NOW, 1);
    add_row(&r, "up", 1, NOW + 4, 1);
    err e = { 0 };
    CHECK_EQ(store_append(s, r.at, r.n, NULL, &e), ERR_OUT_OF_ORDER);
    CHECK_CONTAINS(str_from(e.message), "up{who=\"w1\"}");
    CHECK_STR(str_from(all(s, "up")), "w1:1790000000005=1");
    close_store(s);
}

TEST(store_counts_what_it_rejects_and_keeps_the_rest)
{
    store *s = open_at(test_dir());
    CHECK_EQ(put(s, "up", 1, NOW + 5, 1), OK);
    rows r = { 0 };
    add_row(&r, "up", 2, NOW, 1);
    add_row(&r, "up", 1, NOW + 4, 1);                 /* out of order */
    add_row(&r, "up", 1, NOW + 5, 2);                 /* duplicate */
    add_row(&r, "up", 1, NOW - 400 * 24 * HOUR, 1);   /* too old */
    add_row(&r, "up", 1, NOW + 6, 2);
    add_row(&r, "up", 1, NOW + 6, 2);                 /* the same twice in one batch */
    add_row(&r, "up", 1, NOW + 6, 3);                 /* and once more with another value */
    uint8_t refused[7] = { 0 };
    sink_result rejected = { .refused = refused };
    err e = { 0 };
    sample_sink sink = store_sink(s);
    CHECK_OK(sink.append(sink.ctx, r.at, r.n, &rejected, &e), e);
    CHECK_EQ(memcmp(refused, (const uint8_t[]){ 0, 1, 1, 1, 0, 0, 1 }, sizeof refused), 0);
    CHECK_EQ(rejected.appended, 3);
    CHECK_EQ(rejected.out_of_order, 1);
    CHECK_EQ(rejected.duplicate, 2);
    CHECK_EQ(rejected.too_old, 1);
    CHECK_EQ(rejected.first.kind, ERR_OUT_OF_ORDER);
    CHECK_STR(str_from(all(s, "up")), "w1:1790000000005=1,1790000000006=2 w2:1790000000000=1");
    close_store(s);
}

TEST(store_sink_lets_no_wrong_clock_close_a_series)
{
    clock_fake(NOW);
    store *s = open_at(test_dir());
    rows r = { 0 };
    add_row(&r, "up", 1, NOW * 1000, 1);              /* microseconds */
    add_row(&r, "up", 1, NOW + 11 * 60 * 1000, 1);
    add_row(&r, "up", 1, NOW + 1, 1);
    add_row(&r, "up", 1, NOW + 9 * 60 * 1000, 2);
    sink_result rejected = { 0 };
    err e = { 0 };
    sample_sink sink = store_sink(s);
    CHECK_OK(sink.append(sink.ctx, r.at, r.n, &rejected, &e), e);
    CHECK_EQ(rejected.limited, 2);
    CHECK_CONTAINS(str_from(rejected.first.message), "too far in the future");
    CHECK_STR(str_from(all(s, "up")), "w1:1790000000001=1,1790000540000=2");
    close_store(s);
}

TEST(store_refuses_labels_that_are_not_a_label_set)
{
    static const struct { const char *what; label at[2]; size_t n; } bad[] = {
        { "no labels", { { STR_INIT("a"), STR_INIT("b") } }, 0 },
        { "an empty value", { { STR_INIT("a"), STR_INIT("") } }, 1 },
        { "an empty name", { { STR_INIT(""), STR_INIT("b") } }, 1 },
        { "not sorted", { { STR_INIT("b"), STR_INIT("b") }, { STR_INIT("a"), STR_INIT("b") } }, 2 },
        { "twice the same name", { { STR_INIT("a"), STR_INIT("b") }, { STR_INIT("a"), STR_INIT("c") } }, 2 },
    };
    store *s = open_at(test_dir());
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        sample_row row = { { bad[i].at, bad[i].n }, NULL, NOW, 1 };
        CHECK_MSG(store_append(s, &row, 1, NULL, NULL) == ERR_INVALID, "%s", bad[i].what);
        CHECK_MSG(store_append(s, &row, 1, &(sink_result){ 0 }, NULL) == ERR_INVALID, "%s", bad[i].what);
    }
    CHECK_EQ(store_stats_get(s).head_series, 0);
    close_store(s);
}

TEST(store_stops_at_max_series_and_still_takes_known_ones)
{
    clock_fake(NOW);
    store *s = open_with((store_options){ .dir = test_dir(), .max_series = 2 });
    rows r = { 0 };
    for (int i = 0; i < 4; i++)
        add_row(&r, "up", i, NOW, 1);
    sink_result rejected = { 0 };
    CHECK_EQ(store_append(s, r.at, r.n, &rejected, NULL), OK);
    CHECK_EQ(rejected.appended, 2);
    CHECK_EQ(rejected.limited, 2);
    CHECK_CONTAINS(str_from(rejected.first.message), "already holds 2");
    CHECK(rejected.first.hint[0]);
    CHECK_EQ(put(s, "up", 3, NOW + 1, 1), ERR_LIMIT);
    CHECK_EQ(put(s, "up", 1, NOW + 1, 1), OK);
    close_store(s);
}

TEST(store_refs_save_the_lookup_and_never_lie)
{
    const char *dir = test_dir();
    store *s = open_at(dir);
    uint64_t ref = 0, wrong = UINT64_C(0x1234567812345678);
    rows r = { 0 };
    add_row(&r, "up", 1, NOW, 1);
    add_row(&r, "up", 2, NOW, 2);
    r.at[0].ref = &ref;
    r.at[1].ref = &wrong;
    CHECK_EQ(store_append(s, r.at, 2, NULL, NULL), OK);
    CHECK(ref != 0 && wrong != ref);
    r.at[0].t_ms = NOW + 1;
    CHECK_EQ(store_append(s, r.at, 1, NULL, NULL), OK);
    CHECK_STR(str_from(all(s, "up")), "w1:1790000000000=1,1790000000001=1 w2:1790000000000=2");

    /* Everything moves into a block, the series are forgotten, and another takes the place. */
    clock_advance(10 * HOUR);
    CHECK_EQ(put(s, "tick", 1, NOW + 10 * HOUR, 0), OK);
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK_EQ(put(s, "other", 9, NOW + 10 * HOUR, 5), OK);
    uint64_t old = ref;
    r.at[0].t_ms = NOW + 10 * HOUR;
    CHECK_EQ(store_append(s, r.at, 1, NULL, NULL), OK);
    CHECK(ref != old);
    CHECK_STR(str_from(all(s, "other")), "w9:1790036000000=5");
    close_store(s);

    /* Nor does a ref of one store mean anything in another. */
    store *t = open_at(test_dir());
    CHECK_EQ(put(t, "first", 1, NOW, 1), OK);
    r.at[0].t_ms = NOW + 2;
    CHECK_EQ(store_append(t, r.at, 1, NULL, NULL), OK);
    CHECK_STR(str_from(all(t, "first")), "w1:1790000000000=1");
    close_store(t);
}

/* One series through hundreds of chunks in one batch; where records are small, refused as a whole. */
TEST(store_takes_a_large_batch_or_refuses_it_whole)
{
    enum { N = 120000 };
    label name = { METRIC_NAME, STR("big") };
    sample_row *at = mem_calloc(N, sizeof *at);
    CHECK(at);
    for (int i = 0; i < N; i++)
        at[i] = (sample_row){ { &name, 1 }, NULL, NOW + i, i + 0.1 }; /* ten bytes a row */
    const char *dir = test_dir();
    store *s = open_at(dir);
    err e = { 0 };
    bool fits = N * 9u < WAL_RECORD_MAX_BYTES;
    CHECK_EQ(store_append(s, at, N, NULL, &e), fits ? OK : ERR_LIMIT);
    CHECK(fits || e.hint[0]);
    for (int again = 0; again < 2; again++) {
        AUTO(store_select_freep) store_selection *sel = NULL;
        sample_vec v = { 0 };
        CHECK_EQ(store_select(s, NULL, 0, 0, INT64_MAX, NULL, &sel, NULL), OK);
        CHECK_EQ(store_select_len(sel), fits);
        if (fits) {
            CHECK_EQ(store_select_samples(sel, 0, &v, NULL), OK);
            CHECK_EQ(v.len, N);
            CHECK_EQ(v.at[N - 1].t_ms, NOW + N - 1);
        }
        vec_done(&v);
        store_select_freep(&sel);
        close_store(s);
        s = open_at(dir);
    }
    CHECK_EQ(store_append(s, at + N - 1, 1, NULL, NULL), OK);
    close_store(s);
    mem_free(at);
}

/* ---- selecting ---- */

TEST(store_matchers_mean_what_promql_means)
{
    static const struct { const char *what; const char *name; match_op op; const char *value; const char *want; } cases[] = {
        { "equal", "who", MATCH_EQ, "w1", "w1" },
        { "equal to nothing finds the series without it", "who", MATCH_EQ, "", "-" },
        { "an unknown label is empty", "nosuch", MATCH_EQ, "", "- w1 w2 x" },
        { "not equal finds the absent too", "who", MATCH_NE, "w1", "- w2 x" },
        { "not empty", "who", MATCH_NE, "", "w1 w2 x" },
        { "regex", "who", MATCH_RE, "w.*", "w1 w2" },
        { "regex alternation", "who", MATCH_RE, "w1|x", "w1 x" },
        { "regex that matches the absent", "who", MATCH_RE, "w1|", "- w1" },
        { "not regex", "who", MATCH_NRE, "w.*", "- x" },
        { "not regex that matches the absent", "who", MATCH_NRE, "w1|", "w2 x" },
        { "nobody", "who", MATCH_EQ, "w3", "" },
    };
    store *s = open_at(test_dir());
    const char *who[] = { "", "w1", "w2", "x" };
    for (size_t i = 0; i < COUNT_OF(who); i++) {
        label at[2] = { { METRIC_NAME, STR("m") }, { STR("who"), str_from(who[i]) } };
        sample_row row = { { at, i ? 2 : 1 }, NULL, NOW, 1 };
        CHECK_EQ(store_append(s, &row, 1, NULL, NULL), OK);
    }
    /* The same questions to the head, and again when the samples lie in a block. */
    for (int place = 0; place < 2; place++) {
        for (size_t i = 0; i < COUNT_OF(cases); i++) {
            AUTO(regex_freep) regex *re = NULL;
            if (cases[i].op >= MATCH_RE)
                CHECK_EQ(regex_compile(str_from(cases[i].value), true, &re, NULL), OK);
            for (int with_name = 0; with_name < 2; with_name++) {
                matcher m[] = { { str_from(cases[i].name), str_from(cases[i].value), cases[i].op, re }, { METRIC_NAME, STR("m"), MATCH_EQ, NULL } };
                AUTO(store_select_freep) store_selection *sel = NULL;
                AUTO(buf_done) buf got = BUF_INIT(1000);
                CHECK_EQ(store_select(s, m, 1 + (size_t)with_name, NOW, NOW, NULL, &sel, NULL), OK);
                for (size_t j = 0; j < store_select_len(sel); j++) {
                    str found = labels_get(store_select_labels(sel, j), STR("who"));
                    buf_printf(&got, "%s%" STR_FMT, j ? " " : "", STR_ARG(found.len ? found : STR("-")));
                }
                CHECK_MSG(str_eq(buf_str(&got), str_from(cases[i].want)), "%s (%s): got \"%s\"", cases[i].what, place ? "block" : "head", buf_cstr(&got));
            }
        }
        clock_advance(10 * HOUR);
        CHECK_EQ(put(s, "tick", 1, NOW + 10 * HOUR, 0), OK);
        CHECK_EQ(store_flush(s, NULL), OK);
        CHECK_EQ(store_stats_get(s).blocks, 1);
    }
    close_store(s);
}

TEST(store_selection_is_a_snapshot)
{
    store *s = open_at(test_dir());
    for (int i = 0; i < 5; i++)
        CHECK_EQ(put(s, "up", 1, NOW + i, i), OK);
    store_selection *sel;
    CHECK_EQ(store_select(s, NULL, 0, 0, INT64_MAX, NULL, &sel, NULL), OK);
    for (int i = 5; i < 300; i++)
        CHECK_EQ(put(s, "up", 1, NOW + i * HOUR / 10, i), OK);
    clock_advance(40 * HOUR);
    CHECK_EQ(store_flush(s, NULL), OK); /* what it holds moves into a block meanwhile */
    sample_vec v = { 0 };
    CHECK_EQ(store_select_len(sel), 1);
    CHECK_EQ(store_select_samples(sel, 0, &v, NULL), OK);
    CHECK_EQ(v.len, 5);
    CHECK_EQ(v.at[4].t_ms, NOW + 4);
    vec_done(&v);
    store_select_free(sel);
    close_store(s);
}

TEST(store_select_keeps_its_limits)
{
    store *s = open_at(test_dir());
    for (int i = 0; i < 6; i++)
        CHECK_EQ(put(s, "up", i % 3, NOW + i, i), OK);
    store_selection *sel = NULL;
    err e = { 0 };
    CHECK_EQ(store_select(s, NULL, 0, 0, INT64_MAX, &(select_limits){ .max_series = 2 }, &sel, &e), ERR_LIMIT);
    CHECK_CONTAINS(str_from(e.message), "more than 2 series");
    CHECK(!sel);
    CHECK_EQ(store_select(s, NULL, 0, 0, INT64_MAX, &(select_limits){ .max_series = 3, .max_samples = 5 }, &sel, &e), OK);
    sample_vec v = { 0 };
    CHECK_EQ(store_select_samples(sel, 0, &v, &e), OK);
    CHECK_EQ(store_select_samples(sel, 1, &v, &e), OK);
    CHECK_EQ(v.len, 4);
    CHECK_EQ(store_select_samples(sel, 2, &v, &e), ERR_LIMIT);
    CHECK_EQ(v.len, 4);
    CHECK_EQ(store_select_stats(sel).series, 3);
    vec_done(&v);
    store_select_free(sel);
    close_store(s);
}

TEST(store_lists_label_names_and_values_in_the_range)
{
    store *s = open_at(test_dir());
    CHECK_EQ(put(s, "up", 2, NOW, 1), OK);
    CHECK_EQ(put(s, "up", 1, NOW + 10, 1), OK);
    CHECK_EQ(put(s, "down", 3, NOW + 20, 1), OK);
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    str *got;
    size_t n;
    CHECK_EQ(store_label_names(s, NULL, 0, 0, INT64_MAX, &a, &got, &n, NULL), OK);
    CHECK_EQ(n, 2);
    CHECK_STR(got[0], "__name__");
    CHECK_STR(got[1], "who");
    CHECK_EQ(store_label_values(s, STR("who"), NULL, 0, NOW + 5, INT64_MAX, &a, &got, &n, NULL), OK);
    CHECK_EQ(n, 3); /* all of the head, which touches the range */
    CHECK_EQ(store_label_values(s, STR("who"), NULL, 0, NOW + 21, INT64_MAX, &a, &got, &n, NULL), OK);
    CHECK_EQ(n, 0);
    CHECK_EQ(store_label_values(s, STR("who"), &(matcher_set){ NULL, 0 }, 1, NOW + 5, INT64_MAX, &a, &got, &n, NULL), OK);
    CHECK_EQ(n, 2);
    CHECK_STR(got[0], "w1");
    CHECK_STR(got[1], "w3");
    matcher up = { METRIC_NAME, STR("up"), MATCH_EQ, NULL }, down = { METRIC_NAME, STR("down"), MATCH_EQ, NULL };
    matcher_set sets[] = { { &up, 1 }, { &down, 1 } };
    CHECK_EQ(store_label_values(s, STR("who"), sets, 1, 0, INT64_MAX, &a, &got, &n, NULL), OK);
    CHECK_EQ(n, 2);
    CHECK_EQ(store_label_values(s, STR("who"), sets, 2, 0, INT64_MAX, &a, &got, &n, NULL), OK);
    CHECK_EQ(n, 3);
    CHECK_EQ(store_label_values(s, STR("nosuch"), NULL, 0, 0, INT64_MAX, &a, &got, &n, NULL), OK);
    CHECK_EQ(n, 0);
    close_store(s);
}

/* ---- allocation faults ---- */

TEST(store_append_survives_any_failed_allocation)
{
    store *s = open_at(test_dir());
    for (unsigned nth = 0;; nth++) {
        rows r = { 0 };
        for (int i = 0; i < 8; i++) {
            add_row(&r, "old", 1, NOW + 100 * (int)nth + i, i);           /* fills chunks */
            add_row(&r, "new", 8 * (int)nth + i, NOW, 1);                 /* adds series */
        }
        uint64_t before = store_stats_get(s).head_samples;
        fault_alloc(nth);
        err_kind k = store_append(s, r.at, r.n, NULL, NULL);
        bool fired = fault_fired();
        CHECK(fired ? k == ERR_NOMEM || k == OK : k == OK); /* OK: only making a chunk smaller had failed */
        CHECK_EQ(store_stats_get(s).head_samples, before + (k ? 0 : 16));
        CHECK_EQ(store_append(s, r.at, r.n, &(sink_result){ 0 }, NULL), OK);
        if (!fired)
            break;
    }
    close_store(s);
}

TEST(store_select_survives_any_failed_allocation)
{
    store *s = store_with_six_hours(test_dir());
    CHECK_EQ(store_flush(s, NULL), OK);
    AUTO(regex_freep) regex *re = NULL;
    CHECK_EQ(regex_compile(STR("w1|w2"), true, &re, NULL), OK);
    matcher m[] = { { METRIC_NAME, STR("up"), MATCH_EQ, NULL }, { STR("who"), STR("w1|w2"), MATCH_RE, re } };
    for (unsigned nth = 0;; nth++) {
        AUTO(store_select_freep) store_selection *sel = NULL;
        AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
        sample_vec v = { 0 };
        str *got;
        size_t n;
        fault_alloc(nth);
        err_kind k = store_select(s, m, 2, INT64_MIN, INT64_MAX, NULL, &sel, NULL);
        for (size_t i = 0; !k && i < store_select_len(sel); i++)
            k = store_select_samples(sel, i, &v, NULL);
        size_t samples = v.len;
        vec_done(&v);
        if (!k)
            k = store_label_values(s, STR("who"), &(matcher_set){ m, 2 }, 1, 0, INT64_MAX, &a, &got, &n, NULL);
        bool fired = fault_fired();
        CHECK(k == OK || (fired && k == ERR_NOMEM)); /* OK: the answers of a regex were not kept */
        CHECK(k || (samples == 40 && n == 2));
        if (!fired)
            break;
    }
    close_store(s);
}

/* ---- several threads ---- */

typedef struct crew { store *s; atomic_bool stop; int base; } crew;

static void *writer_main(void *arg)
{
    crew *c = arg;
    uint64_t refs[2] = { 0 };
    for (int i = 0; i < 600; i++) {
        rows r = { 0 };
        add_row(&r, "pair", c->base, NOW - 20 * HOUR + i * 60000, i);
        add_row(&r, "pair", c->base + 1, NOW - 20 * HOUR + i * 60000, i);
        r.at[0].ref = &refs[0];
        r.at[1].ref = &refs[1];
        CHECK_EQ(store_append(c->s, r.at, r.n, NULL, NULL), OK);
    }
    return NULL;
}

/* Both series of a writer grow in one batch: whoever looks sees them equally long. */
static void *reader_main(void *arg)
{
    crew *c = arg;
    while (!atomic_load(&c->stop)) {
        AUTO(store_select_freep) store_selection *sel = NULL;
        CHECK_EQ(store_select(c->s, NULL, 0, INT64_MIN, INT64_MAX, NULL, &sel, NULL), OK);
        sample_vec a = { 0 }, b = { 0 };
        for (size_t i = 0; i + 1 < store_select_len(sel); i += 2) {
            vec_clear(&a);
            vec_clear(&b);
            CHECK_EQ(store_select_samples(sel, i, &a, NULL), OK);
            CHECK_EQ(store_select_samples(sel, i + 1, &b, NULL), OK);
            CHECK_EQ(a.len, b.len);
            for (size_t j = 0; j < a.len; j++)
                CHECK(a.at[j].v == (double)j);
        }
        vec_done(&a);
        vec_done(&b);
    }
    return NULL;
}

TEST(store_readers_see_whole_batches_while_others_write_and_flush)
{
    store *s = open_at(test_dir());
    crew crews[] = { { s, false, 2 }, { s, false, 4 }, { s, false, 0 } };
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, i < 2 ? writer_main : reader_main, &crews[i]), 0);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(store_flush(s, NULL), OK);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    CHECK_EQ(store_flush(s, NULL), OK);
    atomic_store(&crews[2].stop, true);
    pthread_join(threads[2], NULL);
    CHECK_EQ(store_stats_get(s).appended_total, 2400);
    close_store(s);
}
