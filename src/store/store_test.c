#include "store/inside.h"
#include "base/rand.h"
#include "base/regex.h"
#include "base/test.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#define NOW INT64_C(1790000000000) /* all tests live at this fake moment in 2026 */
#define HOUR INT64_C(3600000)

/* ---- helpers: a store in a folder, rows by "name,label value", answers as text ---- */

static store *open_with(store_options o)
{
    store *s = NULL;
    err e = { 0 };
    o.wal_fsync_ms = o.wal_fsync_ms ? o.wal_fsync_ms : 3600000;
    CHECK_OK(store_open(&o, &s, NULL, &e), e);
    return s;
}

static store *open_at(const char *dir)
{
    clock_fake(NOW);
    return open_with((store_options){ .dir = dir });
}

static void close_store(store *s)
{
    err e = { 0 };
    CHECK_OK(store_close(s, &e), e);
}

/* Up to 64 rows whose labels live here. */
typedef struct rows { label labels[64][2]; sample_row at[64]; char text[64][16]; size_t n; } rows;

static void add_row(rows *r, const char *name, int who, int64_t t_ms, double v)
{
    size_t i = r->n++;
    CHECK(i < COUNT_OF(r->at));
    snprintf(r->text[i], sizeof r->text[i], "w%d", who);
    r->labels[i][0] = (label){ METRIC_NAME, str_from(name) };
    r->labels[i][1] = (label){ STR("who"), str_from(r->text[i]) };
    r->at[i] = (sample_row){ { r->labels[i], 2 }, NULL, t_ms, v };
}

static err_kind put(store *s, const char *name, int who, int64_t t_ms, double v)
{
    rows r = { 0 };
    add_row(&r, name, who, t_ms, v);
    return store_append(s, r.at, r.n, NULL, NULL);
}

/* "w1:10=1,20=2 w2:…" of the series named `name`, in from..to. */
static const char *answer(store *s, const char *name, int64_t from_ms, int64_t to_ms)
{
    static buf text = BUF_INIT(1u << 20);
    matcher m = { METRIC_NAME, str_from(name), MATCH_EQ, NULL };
    store_selection *sel;
    err e = { 0 };
    CHECK_OK(store_select(s, &m, 1, from_ms, to_ms, NULL, &sel, &e), e);
    buf_reset(&text);
    for (size_t i = 0; i < store_select_len(sel); i++) {
        sample_vec v = { 0 };
        CHECK_OK(store_select_samples(sel, i, &v, &e), e);
        str who = labels_get(store_select_labels(sel, i), STR("who"));
        buf_printf(&text, "%s%" STR_FMT ":", i ? " " : "", STR_ARG(who));
        for (size_t j = 0; j < v.len; j++)
            buf_printf(&text, "%s%lld=%g", j ? "," : "", (long long)v.at[j].t_ms, v.at[j].v);
        vec_done(&v);
    }
    store_select_free(sel);
    static char kept[4][8192];
    static unsigned turn;
    char *out = kept[turn++ % 4];
    str_copy(out, sizeof kept[0], buf_str(&text));
    buf_done(&text);
    return out;
}

static const char *all(store *s, const char *name) { return answer(s, name, INT64_MIN, INT64_MAX); }

static void copy_file(const char *from, const char *to)
{
    AUTO(buf_done) buf b = BUF_INIT(64u << 20);
    CHECK_EQ(file_read(from, &b, NULL), OK);
    CHECK_EQ(file_write_atomic(to, buf_str(&b), 0600, NULL), OK);
}

/* What kill -9 would leave: the folder as it is now. */
static void copy_folder(const char *from, const char *to)
{
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    str *names;
    size_t n;
    CHECK_EQ(file_make_dirs(to, 0700, NULL), OK);
    CHECK_EQ(file_list(from, &a, &names, &n, NULL), OK);
    for (size_t i = 0; i < n; i++) {
        char a_path[FILE_PATH_MAX], b_path[FILE_PATH_MAX];
        CHECK_EQ(file_join(a_path, from, names[i].ptr, NULL), OK);
        CHECK_EQ(file_join(b_path, to, names[i].ptr, NULL), OK);
        int fd = open(a_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
            close(fd);
            copy_folder(a_path, b_path);
        } else {
            copy_file(a_path, b_path);
        }
    }
}

/* The answer of a store opened on a copy of `dir`. */
static const char *after_crash(const char *dir, const char *name)
{
    static unsigned number;
    static const char *base;
    char copy[FILE_PATH_MAX];
    if (!base)
        base = test_dir();
    snprintf(copy, sizeof copy, "%s/%u", base, number++);
    copy_folder(dir, copy);
    store *s = open_at(copy);
    const char *got = all(s, name);
    close_store(s);
    CHECK_EQ(file_remove_tree(copy, NULL), OK);
    return got;
}

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
    sink_result rejected = { 0 };
    err e = { 0 };
    sample_sink sink = store_sink(s);
    CHECK_OK(sink.append(sink.ctx, r.at, r.n, &rejected, &e), e);
    CHECK_EQ(rejected.appended, 3);
    CHECK_EQ(rejected.out_of_order, 1);
    CHECK_EQ(rejected.duplicate, 2);
    CHECK_EQ(rejected.too_old, 1);
    CHECK_EQ(rejected.first.kind, ERR_OUT_OF_ORDER);
    CHECK_STR(str_from(all(s, "up")), "w1:1790000000005=1,1790000000006=2 w2:1790000000000=1");
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

/* ---- crashes, damage, faults ---- */

TEST(store_survives_a_crash_after_any_append)
{
    const char *dir = test_dir();
    store *s = open_at(dir);
    for (int i = 0; i < 12; i++) {
        CHECK_EQ(put(s, "up", i % 2, NOW + i, i), OK);
        char want[8192];
        str_copy(want, sizeof want, str_from(all(s, "up")));
        CHECK_STR(str_from(after_crash(dir, "up")), want);
    }
    close_store(s);
    s = open_at(dir);
    CHECK_EQ(put(s, "up", 0, NOW + 99, 99), OK); /* an id from before the restart means the same series */
    CHECK_CONTAINS(str_from(after_crash(dir, "up")), "1790000000010=10,1790000000099=99 w1:");
    close_store(s);
}

/* Each write-like call of an append fails once: what was acknowledged is there, what was not is not. */
TEST(store_append_is_atomic_under_any_write_fault)
{
    static const fault_write_kind kinds[] = { FAULT_EIO, FAULT_ENOSPC, FAULT_SHORT_WRITE };
    for (size_t kind = 0; kind < COUNT_OF(kinds); kind++)
        for (unsigned nth = 0;; nth++) {
            const char *dir = test_dir();
            store *s = open_at(dir);
            fault_write(nth, kinds[kind]);
            int written = 0;
            for (int i = 0; i < 4; i++) {
                rows r = { 0 };
                add_row(&r, "up", i, NOW + written, 1);
                add_row(&r, "up", 9, NOW + written, 2);
                written += store_append(s, r.at, r.n, NULL, NULL) == OK;
            }
            bool fired = fault_write_fired();
            CHECK_EQ(written, fired ? 3 : 4);
            CHECK_EQ(store_stats_get(s).head_samples, 2 * written);
            CHECK_EQ(store_stats_get(s).wal_errors_total, fired);
            char want[8192];
            str_copy(want, sizeof want, str_from(all(s, "up")));
            CHECK_STR(str_from(after_crash(dir, "up")), want);
            close_store(s);
            if (!fired)
                break;
        }
}

/* Six hours of three series, so that a flush has something to cut and something to leave. */
static store *store_with_six_hours(const char *dir)
{
    store *s = open_at(dir);
    int64_t start = window_start(NOW, 2 * HOUR);
    clock_fake(start);
    for (int i = 0; i < 60; i++)
        CHECK_EQ(put(s, "up", i % 3, start + i * HOUR / 10, i), OK);
    clock_advance(6 * HOUR);
    return s;
}

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

/* The log is not cut although the block is there: the crash between steps 2 and 4 of care.c. */
TEST(store_replays_a_log_whose_samples_are_already_in_a_block)
{
    const char *dir = test_dir(), *before = test_dir();
    char from[FILE_PATH_MAX], to[FILE_PATH_MAX];
    store *s = store_with_six_hours(dir);
    copy_folder(dir, before);
    CHECK_EQ(store_flush(s, NULL), OK);
    char want[8192];
    str_copy(want, sizeof want, str_from(all(s, "up")));
    close_store(s);
    CHECK_EQ(file_join(from, dir, "blocks", NULL), OK);
    CHECK_EQ(file_join(to, before, "blocks", NULL), OK);
    copy_folder(from, to);
    s = open_at(before);
    CHECK_STR(str_from(all(s, "up")), want);
    CHECK(store_stats_get(s).head_samples < 60); /* what the block covers was not replayed */
    close_store(s);
}

static void damage(const char *dir, const char *sub, const char *name, size_t from_end)
{
    char path[FILE_PATH_MAX];
    AUTO(buf_done) buf b = BUF_INIT(64u << 20);
    snprintf(path, sizeof path, "%s/%s/%s", dir, sub, name);
    CHECK_EQ(file_read(path, &b, NULL), OK);
    b.ptr[b.len - from_end] ^= 1;
    CHECK_EQ(file_write_atomic(path, buf_str(&b), 0600, NULL), OK);
}

TEST(store_tells_of_a_damaged_log_and_replays_the_segments_behind)
{
    const char *dir = test_dir();
    for (int run = 0; run < 3; run++) { /* a segment a run; the series are defined in the first */
        store *s = open_at(dir);
        for (int i = 0; i < 3; i++)
            CHECK_EQ(put(s, "up", 1, NOW + 10 * run + i, i), OK);
        close_store(s);
    }
    damage(dir, "wal", "00000002", 1);
    clock_fake(NOW);
    store_recovery told;
    store *s;
    store_options o = { .dir = dir };
    CHECK_EQ(store_open(&o, &s, &told, NULL), OK);
    CHECK_EQ(told.segments, 3);
    CHECK_EQ(told.samples, 8);
    CHECK(told.cut_bytes > 0);
    CHECK_CONTAINS(str_from(told.note), "damaged");
    CHECK_CONTAINS(str_from(all(s, "up")), "1790000000011=1,1790000000020=0");
    close_store(s);
}

TEST(store_leaves_a_damaged_block_aside_and_answers_from_the_rest)
{
    const char *dir = test_dir();
    store *s = store_with_six_hours(dir);
    CHECK_EQ(store_flush(s, NULL), OK);
    close_store(s);
    damage(dir, "blocks", "00000001.block", 100);
    clock_fake(NOW);
    store_recovery told;
    store_options o = { .dir = dir };
    CHECK_EQ(store_open(&o, &s, &told, NULL), OK);
    CHECK_CONTAINS(str_from(told.note), "00000001.block");
    CHECK_CONTAINS(str_from(all(s, "up")), "=59");
    CHECK_EQ(store_stats_get(s).blocks, 0);
    close_store(s);
}

TEST(store_says_which_chunk_of_a_block_is_damaged)
{
    const char *dir = test_dir();
    store *s = store_with_six_hours(dir);
    CHECK_EQ(store_flush(s, NULL), OK);
    close_store(s);
    char path[FILE_PATH_MAX];
    snprintf(path, sizeof path, "%s/blocks/00000001.block", dir);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(pwrite(fd, "\xff", 1, BLOCK_HEADER_BYTES + 3) == 1); /* in a chunk: the index does not notice */
    close(fd);
    s = open_at(dir);
    store_selection *sel;
    CHECK_EQ(store_select(s, NULL, 0, 0, INT64_MAX, NULL, &sel, NULL), OK);
    int bad = 0;
    for (size_t i = 0; i < store_select_len(sel); i++) {
        sample_vec v = { 0 };
        bad += store_select_samples(sel, i, &v, NULL) == ERR_CORRUPT;
        vec_done(&v);
    }
    CHECK_EQ(bad, 1);
    store_select_free(sel);
    close_store(s);
}

TEST(store_is_locked_for_a_second_writer_but_not_for_readers)
{
    const char *dir = test_dir();
    store *s = open_at(dir), *second = NULL;
    CHECK_EQ(put(s, "up", 1, NOW, 1), OK);
    err e = { 0 };
    CHECK_EQ(store_open(&(store_options){ .dir = dir }, &second, NULL, &e), ERR_CONFLICT);
    CHECK(!second && e.hint[0]);
    store *reader = open_with((store_options){ .dir = dir, .read_only = true });
    CHECK_STR(str_from(all(reader, "up")), "w1:1790000000000=1");
    CHECK_EQ(put(reader, "up", 1, NOW + 1, 1), ERR_DENIED);
    CHECK_EQ(store_flush(reader, NULL), ERR_DENIED);
    CHECK_EQ(put(s, "up", 1, NOW + 1, 1), OK);
    CHECK_STR(str_from(all(reader, "up")), "w1:1790000000000=1");
    close_store(reader);
    close_store(s);
    char nowhere[FILE_PATH_MAX];
    snprintf(nowhere, sizeof nowhere, "%s/nowhere", dir);
    CHECK_EQ(store_open(&(store_options){ .dir = nowhere, .read_only = true }, &second, NULL, &e), ERR_NOT_FOUND);
    CHECK(!file_exists(nowhere));
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

TEST(store_open_survives_any_failed_allocation)
{
    const char *dir = test_dir();
    store *s = store_with_six_hours(dir);
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK_EQ(put(s, "down", 1, NOW, 1), OK);
    close_store(s);
    for (unsigned nth = 0;; nth++) {
        s = NULL;
        fault_alloc(nth);
        err_kind k = store_open(&(store_options){ .dir = dir, .wal_fsync_ms = 3600000 }, &s, NULL, &(err){ 0 });
        bool fired = fault_fired();
        CHECK(k == OK || (fired && k == ERR_NOMEM));
        CHECK_EQ(s == NULL, k != OK);
        if (s)
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

/* ---- a long random life, and several threads ---- */

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
