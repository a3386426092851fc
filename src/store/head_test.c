#include "store/fixture.h"
#include "store/handover.h"
#include "base/rand.h"
#include "base/test.h"

static store *open_with_window(const char *dir, int64_t window_ms)
{
    clock_fake(NOW);
    return open_with((store_options){ .dir = dir, .out_of_order_ms = window_ms });
}

/* ---- samples that come late ---- */

TEST(store_takes_late_samples_inside_the_window)
{
    static const struct { const char *what; int64_t t; double v; err_kind want; } steps[] = {
        { "the newest",                              100000, 1, OK },
        { "late, inside the window",                  90000, 2, OK },
        { "the same again",                           90000, 2, OK },
        { "another value at a late time",             90000, 3, ERR_DUPLICATE },
        { "between the late one and the newest",      95000, 4, OK },
        { "at the window's end",                      40000, 5, OK },
        { "behind the window",                        39999, 6, ERR_OUT_OF_ORDER },
        { "another value at the newest time",        100000, 7, ERR_DUPLICATE },
        { "a newer one goes on",                     101000, 8, OK },
    };
    const char *dir = test_dir(), *want = "w1:1790000040000=5,1790000090000=2,1790000095000=4,1790000100000=1,1790000101000=8";
    store *s = open_with_window(dir, 60000);
    for (size_t i = 0; i < COUNT_OF(steps); i++)
        CHECK_MSG(put(s, "up", 1, NOW + steps[i].t, steps[i].v) == steps[i].want, "%s", steps[i].what);
    CHECK_STR(str_from(all(s, "up")), want);
    CHECK_STR(str_from(answer(s, "up", NOW + 90000, NOW + 95000)), "w1:1790000090000=2,1790000095000=4");
    CHECK_STR(str_from(after_crash(dir, "up")), want);
    close_store(s);
}

/* Against a plain array: random times inside the window, crashes and flushes in between. */
TEST(store_keeps_late_samples_in_order_through_crash_and_flush)
{
    enum { SPAN = 400 };
    for (uint64_t seed = 1; seed <= 6; seed++) {
        const char *dir = test_dir();
        rand_state r = rand_seeded(seed);
        double model[SPAN];
        bool has[SPAN] = { 0 };
        int64_t start = window_start(NOW, 2 * HOUR) - 4 * HOUR;
        store *s = open_with_window(dir, 12 * HOUR);
        for (int step = 0; step < 600; step++) {
            int at = (int)rand_below(&r, SPAN);
            int64_t t = start + at * 60000;
            err_kind k = put(s, "up", 1, t, has[at] ? model[at] : step);
            CHECK_EQ(k, OK);
            if (!has[at]) {
                model[at] = step;
                has[at] = true;
            }
            if (rand_below(&r, 100) == 0)
                CHECK_EQ(store_flush(s, NULL), OK);
            if (rand_below(&r, 60) == 0) {
                close_store(s);
                s = open_with_window(dir, 12 * HOUR);
            }
        }
        AUTO(buf_done) buf want = BUF_INIT(1u << 20);
        buf_append(&want, STR("w1:"));
        const char *comma = "";
        for (int i = 0; i < SPAN; i++)
            if (has[i]) {
                buf_printf(&want, "%s%" PRId64 "=%d", comma, start + i * 60000, (int)model[i]);
                comma = ",";
            }
        char got[1 << 14];
        str_copy(got, sizeof got, str_from(all(s, "up")));
        CHECK_STR(str_sub(str_from(got), 0, 8000), str_sub(buf_str(&want), 0, 8000).ptr ? buf_cstr(&want) : "");
        close_store(s);
    }
}

TEST(store_late_samples_survive_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        const char *dir = test_dir();
        store *s = open_with_window(dir, 60000);
        CHECK_EQ(put(s, "up", 1, NOW + 100000, 1), OK);
        fault_alloc(nth);
        int kept = 0;
        for (int i = 0; i < 6; i++)
            kept += put(s, "up", 1, NOW + 90000 - i * 1000, i) == OK;
        bool fired = fault_fired();
        CHECK(kept == 6 || (fired && kept == 5));
        char want[8192];
        str_copy(want, sizeof want, str_from(all(s, "up")));
        CHECK_EQ(store_stats_get(s).head_samples, 1 + kept);
        CHECK_STR(str_from(after_crash(dir, "up")), want);
        close_store(s);
        if (!fired)
            break;
    }
}

/* ---- created timestamps ---- */

TEST(store_puts_a_zero_where_a_counter_began)
{
    const char *dir = test_dir();
    clock_fake(NOW);
    store *s = open_with((store_options){ .dir = dir, .created_zeros = true });
    const struct { int64_t t, start; double v; } rows_of[] = {
        { 10000, 5000, 3 },      /* new series: began before */
        { 20000, 5000, 4 },      /* the same start again */
        { 30000, 25000, 1 },     /* began anew */
        { 40000, 40000, 2 },     /* not before the sample: ignored */
        { 50000, 0, 3 },         /* not known */
    };
    for (size_t i = 0; i < COUNT_OF(rows_of); i++) {
        rows r = { 0 };
        add_row(&r, "c", 1, NOW + rows_of[i].t, rows_of[i].v);
        r.at[0].start_ms = rows_of[i].start ? NOW + rows_of[i].start : 0;
        CHECK_EQ(store_append(s, r.at, 1, NULL, NULL), OK);
    }
    const char *want = "w1:1790000005000=0,1790000010000=3,1790000020000=4,1790000025000=0,1790000030000=1,1790000040000=2,1790000050000=3";
    CHECK_STR(str_from(all(s, "c")), want);
    CHECK_STR(str_from(after_crash(dir, "c")), want);
    close_store(s);
}

/* ---- the guard ---- */

static err_kind put_target(store *s, const char *name, const char *instance, int who, err *e)
{
    char text[16];
    snprintf(text, sizeof text, "w%d", who);
    label at[] = { { METRIC_NAME, str_from(name) }, { STR("instance"), str_from(instance) }, { STR("job"), STR("j") }, { STR("who"), str_from(text) } };
    return store_append(s, &(sample_row){ .labels = { at, 4 }, .t_ms = NOW, .v = 1 }, 1, NULL, e);
}

TEST(guard_refuses_newcomers_and_says_why)
{
    static const struct { const char *what; store_options o; const char *says; } rows_of[] = {
        { "all series", { .max_series = 3 }, "the store already holds 3 (store.max_series)" },
        { "a metric's series", { .max_series_per_metric = 3 }, "metric \"m\" already has 3 (store.max_series_per_metric)" },
        { "a target's series", { .max_series_per_target = 3 }, "target job=\"j\" instance=\"i\" already has 3 (store.max_series_per_target)" },
        { "memory", { .memory_bytes = 1 }, "(store.memory)" },
    };
    for (size_t i = 0; i < COUNT_OF(rows_of); i++) {
        store_options o = rows_of[i].o;
        o.dir = test_dir();
        clock_fake(NOW);
        store *s = open_with(o);
        err e = { 0 };
        for (int who = 0; who < 3 && !o.memory_bytes; who++)
            CHECK_OK(put_target(s, "m", "i", who, &e), e);
        CHECK_MSG(put_target(s, "m", "i", 3, &e) == ERR_LIMIT, "%s", rows_of[i].what);
        CHECK_CONTAINS(str_from(e.message), rows_of[i].says);
        if (!o.memory_bytes)
            CHECK_CONTAINS(str_from(e.hint), "\"who\" has most values, 3");
        CHECK_EQ(put_target(s, "m", "i", 2, NULL), o.memory_bytes ? ERR_LIMIT : OK); /* those that are there go on */
        if (o.max_series_per_metric)
            CHECK_EQ(put_target(s, "other", "i", 3, NULL), OK);
        if (o.max_series_per_target)
            CHECK_EQ(put_target(s, "m", "other", 3, NULL), OK);
        AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
        store_cardinality c;
        CHECK_EQ(store_cardinality_get(s, 5, &a, &c, NULL), OK);
        CHECK_EQ(c.refused_total, o.memory_bytes ? 2 : 1);
        close_store(s);
    }
}

TEST(store_tells_who_has_how_many_series)
{
    clock_fake(NOW);
    store *s = open_at(test_dir());
    for (int who = 0; who < 4; who++)
        CHECK_EQ(put_target(s, who % 2 ? "a" : "bb", who < 3 ? "i" : "k", who, NULL), OK);
    CHECK_EQ(put_target(s, "a", "i", 9, NULL), OK);
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    store_cardinality c;
    CHECK_EQ(store_cardinality_get(s, 2, &a, &c, NULL), OK);
    CHECK_EQ(c.series, 5);
    CHECK_EQ(c.label_pairs, 2 + 2 + 1 + 5);
    const struct { cardinality got; const char *name; uint64_t value; } rows_of[] = {
        { c.by_metric, "a", 3 }, { c.by_label_values, "who", 5 }, { c.by_label_bytes, "who", 10 }, { c.by_pair, "job=j", 5 }, { c.by_target, "j/i", 4 },
    };
    for (size_t i = 0; i < COUNT_OF(rows_of); i++) {
        CHECK(rows_of[i].got.len > 0 && rows_of[i].got.len <= 2);
        CHECK_STR(rows_of[i].got.at[0].name, rows_of[i].name);
        CHECK_EQ(rows_of[i].got.at[0].value, rows_of[i].value);
    }
    close_store(s);
}

/* ---- labels, pairs, slots ---- */

/* Series that come and go: texts, pairs and slots are used again, and what lives is found by every way. */
TEST(head_forgets_series_and_what_only_they_had)
{
    head h;
    CHECK_EQ(head_init(&h), OK);
    for (int round = 0; round < 20; round++) {
        char text[2][32];
        label at[3] = { { METRIC_NAME, STR("m") }, { STR("id"), STR_EMPTY }, { STR("round"), STR_EMPTY } };
        snprintf(text[1], sizeof text[1], "r%d", round);
        at[2].value = str_from(text[1]);
        for (int i = 0; i < 50; i++) {
            series *s;
            snprintf(text[0], sizeof text[0], "only-of-round-%d-%d", round, i);
            at[1].value = str_from(text[0]);
            labels l = { at, 3 };
            CHECK_EQ(head_add(&h, l, labels_hash(l), &s, NULL), OK);
            CHECK(head_find(&h, l, labels_hash(l)) == s);
            CHECK(head_by_ref(&h, s->ref) == s);
            label back[LABELS_MAX];
            CHECK(labels_eq(l, (labels){ back, head_labels(&h, s, back) }));
            if (i % 10 == 0) { /* some live one round longer than the others */
                CHECK_EQ(chunk_pool_reserve(&h.pool, filling_need(&s->open)), OK);
                series_put(&h, s, NOW, 1);
            }
        }
        uint32_t id = postings_pair(&h.postings, STR("round"), at[2].value);
        CHECK_EQ(h.postings.pairs.at[id].len, 50);
        CHECK_EQ(head_sweep(&h), 45);
        head_tidy(&h);
        CHECK_EQ(h.postings.pairs.at[id].len, 5);
        CHECK_EQ(h.postings.live_pairs, 1 + 1 + 5);
        series *s;
        for (uint32_t slot = 0; (s = head_next(&h, &slot));) {
            label back[LABELS_MAX];
            labels l = { back, head_labels(&h, s, back) };
            CHECK(head_find(&h, l, labels_hash(l)) == s);
            series_clear(&h, s);
        }
        CHECK_EQ(head_sweep(&h), 5);
        CHECK_EQ(h.postings.live_pairs, 0);
        CHECK_EQ(h.slots <= 51, true);
    }
    CHECK(h.postings.texts->bytes < (2u << 20));
    head_done(&h);
}

TEST(handover_gives_series_in_the_order_of_their_labels)
{
    clock_fake(NOW);
    store *s = open_at(test_dir());
    static const char *const names[] = { "b", "a", "c", "aa", "B" };
    for (int i = 0; i < 40; i++)
        CHECK_EQ(put(s, names[i % 5], (i * 7) % 40, NOW + i, i), OK);
    AUTO(handover_done) handover h;
    pthread_mutex_lock(&s->care_lock);
    CHECK_EQ(handover_begin(&h, s, INT64_MAX), OK);
    labels l;
    const block_chunk *chunks;
    size_t n, count = 0;
    char before[64] = "", now[64];
    for (; !handover_next(&h, &l, &chunks, &n); count++) {
        snprintf(now, sizeof now, "%.*s %.*s", STR_ARG(l.at[0].value), STR_ARG(l.at[1].value));
        CHECK_MSG(strcmp(before, now) < 0, "%s before %s", before, now);
        CHECK_EQ(n, 1);
        memcpy(before, now, sizeof before);
    }
    pthread_mutex_unlock(&s->care_lock);
    CHECK_EQ(count, 40);
    close_store(s);
}

/* ---- exemplars ---- */

static err_kind put_exemplar(store *s, const char *who, const char *trace, int64_t t_ms, double v, sink_result *ret)
{
    label whose[] = { { METRIC_NAME, STR("m") }, { STR("who"), str_from(who) } }, own[] = { { STR("trace_id"), str_from(trace) } };
    sample_sink sink = store_sink(s);
    return sink.append_exemplars(sink.ctx, &(exemplar_row){ { whose, 2 }, { { own, 1 }, v, t_ms } }, 1, ret, NULL);
}

static const char *exemplars_of(store *s, int64_t from_ms, int64_t to_ms)
{
    static char out[2][2000];
    static int turn;
    char *p = out[turn ^= 1];
    size_t used = 0, n;
    arena a = ARENA_INIT(1u << 20);
    exemplar_series *all_of;
    CHECK_EQ(store_exemplars(s, NULL, 0, from_ms, to_ms, &a, &all_of, &n, NULL), OK);
    p[0] = '\0';
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < all_of[i].len; k++)
            used += (size_t)snprintf(p + used, sizeof out[0] - used, "%s%.*s:%.*s@%d=%g", used ? " " : "", STR_ARG(labels_get(all_of[i].labels, STR("who"))),
                                     STR_ARG(all_of[i].at[k].labels.at[0].value), (int)(all_of[i].at[k].t_ms - NOW), all_of[i].at[k].v);
    arena_done(&a);
    return p;
}

TEST(store_keeps_exemplars_by_series)
{
    static const struct { const char *what, *who, *trace; int64_t t; double v; size_t appended, out_of_order, duplicate, limited; } steps[] = {
        { "the first",                        "b", "t1", 10, 1, 1, 0, 0, 0 },
        { "of another series",                "a", "t2", 5,  1, 1, 0, 0, 0 },
        { "the same again",                   "b", "t1", 10, 1, 0, 0, 1, 0 },
        { "an older one",                     "b", "t3", 9,  1, 0, 1, 0, 0 },
        { "the same time, a smaller value",   "b", "t3", 10, 0, 0, 1, 0, 0 },
        { "the same time, a larger value",    "b", "t3", 10, 2, 1, 0, 0, 0 },
        { "labels too long",                  "b", "123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123", 20, 2, 0, 0, 0, 1 },
        { "a newer one",                      "b", "t4", 20, 2, 1, 0, 0, 0 },
    };
    const char *dir = test_dir(), *want = "a:t2@5=1 b:t1@10=1 b:t3@10=2 b:t4@20=2";
    store *s = open_at(dir);
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        sink_result r = { 0 };
        CHECK_EQ(put_exemplar(s, steps[i].who, steps[i].trace, NOW + steps[i].t, steps[i].v, &r), OK);
        CHECK_MSG(r.appended == steps[i].appended && r.out_of_order == steps[i].out_of_order && r.duplicate == steps[i].duplicate && r.limited == steps[i].limited,
                  "%s", steps[i].what);
    }
    CHECK_STR(str_from(exemplars_of(s, NOW, NOW + 99)), want);
    CHECK_STR(str_from(exemplars_of(s, NOW + 6, NOW + 10)), "b:t1@10=1 b:t3@10=2");
    close_store(s);
    s = open_at(dir); /* replayed … */
    CHECK_STR(str_from(exemplars_of(s, NOW, NOW + 99)), want);
    CHECK_EQ(put(s, "up", 1, NOW - 6 * HOUR, 1), OK);
    CHECK_EQ(put(s, "up", 1, NOW, 1), OK);
    CHECK_EQ(store_flush(s, NULL), OK);
    close_store(s);
    s = open_at(dir); /* … also out of a checkpoint */
    CHECK_STR(str_from(exemplars_of(s, NOW, NOW + 99)), want);
    close_store(s);
}

TEST(store_lets_the_oldest_exemplars_go)
{
    clock_fake(NOW);
    store *s = open_with((store_options){ .dir = test_dir(), .max_exemplars = 3 });
    static const struct { const char *who, *want; } steps[] = {
        { "a", "a:t@0=0" }, { "b", "a:t@0=0 b:t@1=1" }, { "a", "a:t@0=0 a:t@2=2 b:t@1=1" }, { "c", "a:t@2=2 b:t@1=1 c:t@3=3" },
        { "c", "a:t@2=2 c:t@3=3 c:t@4=4" }, { "c", "c:t@3=3 c:t@4=4 c:t@5=5" }, { "a", "a:t@6=6 c:t@4=4 c:t@5=5" },
        { "a", "a:t@6=6 a:t@7=7 c:t@5=5" }, { "c", "a:t@6=6 a:t@7=7 c:t@8=8" }, { "c", "a:t@7=7 c:t@8=8 c:t@9=9" },
    };
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        CHECK_EQ(put_exemplar(s, steps[i].who, "t", NOW + (int64_t)i, (double)i, NULL), OK);
        CHECK_STR(str_from(exemplars_of(s, NOW, NOW + 99)), steps[i].want);
    }
    close_store(s);
    clock_fake(NOW);
    s = open_with((store_options){ .dir = test_dir(), .max_exemplars = 1 });
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(put_exemplar(s, i == 2 ? "b" : "a", "t", NOW + i, 1, NULL), OK);
        CHECK_STR(str_from(exemplars_of(s, NOW, NOW + 99)), i == 0 ? "a:t@0=1" : i == 1 ? "a:t@1=1" : "b:t@2=1");
    }
    close_store(s);
}

TEST(store_exemplars_survive_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        store *s = open_at(test_dir());
        fault_alloc(nth);
        sink_result r = { 0 };
        for (int i = 0; i < 5; i++)
            (void)!put_exemplar(s, i % 2 ? "a" : "b", "t", NOW + i, 1, &r);
        bool fired = fault_fired();
        CHECK(r.appended >= 4);
        CHECK(strlen(exemplars_of(s, NOW, NOW + 99)) > 20);
        close_store(s);
        if (!fired)
            break;
    }
}

/* ---- native histograms ---- */

/* {count, two buckets}: enough to tell one from another. */
typedef struct small_histogram { histogram h; histogram_span span; double buckets[2]; } small_histogram;

static void small_make(small_histogram *x, double n)
{
    *x = (small_histogram){ .span = { 0, 2 }, .buckets = { n, 1 } };
    x->h = (histogram){ .schema = 1, .zero_threshold = 0.001, .count = n + 1, .sum = n / 2, .integer = true, .positive = { &x->span, 1, x->buckets, 2 } };
}

static err_kind put_small(store *s, const char *name, int64_t t_ms, double n)
{
    small_histogram x;
    rows r = { 0 };
    small_make(&x, n);
    add_row(&r, name, 1, t_ms, 0);
    r.at[0].histogram = &x.h;
    return store_append(s, r.at, 1, NULL, NULL);
}

/* "10=3 20=4": seconds after NOW and counts. One of two static buffers. */
static const char *histograms_of(store *s, const char *name)
{
    static char out[2][4000];
    static int turn;
    char *p = out[turn ^= 1];
    matcher m[] = { { METRIC_NAME, str_from(name), MATCH_EQ, NULL } };
    AUTO(store_select_freep) store_selection *sel = NULL;
    arena a = ARENA_INIT(16u << 20);
    histogram_vec got = { 0 };
    size_t used = 0;
    CHECK_EQ(store_select(s, m, 1, INT64_MIN, INT64_MAX, NULL, &sel, NULL), OK);
    p[0] = '\0';
    for (size_t i = 0; i < store_select_len(sel); i++) {
        CHECK_EQ(store_select_histograms(sel, i, &a, &got, NULL), OK);
        CHECK_EQ(store_select_has_histograms(sel, i), got.len > 0);
    }
    for (size_t i = 0; i < got.len; i++) {
        small_histogram want;
        small_make(&want, got.at[i].h->count - 1);
        CHECK(histogram_eq(got.at[i].h, &want.h) || got.at[i].h->count == 0);
        used += (size_t)snprintf(p + used, sizeof out[0] - used, "%s%d=%g", used ? " " : "", (int)((got.at[i].t_ms - NOW) / 1000), got.at[i].h->count);
    }
    vec_done(&got);
    arena_done(&a);
    return p;
}

TEST(store_judges_histograms_like_floats)
{
    const char *dir = test_dir();
    store *s = open_with_window(dir, 60000);
    static const struct { const char *what; int64_t t; double n; bool is_float; err_kind want; } steps[] = {
        { "the first",                           10, 1, false, OK },
        { "the same again",                      10, 1, false, OK },
        { "another at that time",                10, 2, false, ERR_DUPLICATE },
        { "a float at that time",                10, 2, true,  ERR_DUPLICATE },
        { "a newer one",                         20, 3, false, OK },
        { "a float after it",                    30, 4, true,  OK },
        { "a histogram at the float's time",     30, 4, false, ERR_DUPLICATE },
        { "a histogram again",                   40, 5, false, OK },
        { "a late histogram",                    35, 6, false, OK },
        { "a late float",                        15, 7, true,  OK },
        { "the late histogram again",            35, 6, false, OK },
        { "another late histogram there",        35, 8, false, ERR_DUPLICATE },
        { "behind the window",                  -21, 8, false, ERR_OUT_OF_ORDER },
    };
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        int64_t t = NOW + steps[i].t * 1000;
        CHECK_MSG((steps[i].is_float ? put(s, "h", 1, t, steps[i].n) : put_small(s, "h", t, steps[i].n)) == steps[i].want, "%s", steps[i].what);
    }
    const char *histograms = "10=2 20=4 35=7 40=6", *floats = "w1:1790000015000=7,1790000030000=4";
    CHECK_STR(str_from(histograms_of(s, "h")), histograms);
    CHECK_STR(str_from(all(s, "h")), floats);
    close_store(s);
    s = open_with_window(dir, 60000); /* replayed */
    CHECK_STR(str_from(histograms_of(s, "h")), histograms);
    CHECK_STR(str_from(all(s, "h")), floats);
    CHECK_EQ(put_small(s, "h", NOW + 40000, 5), OK); /* the state of the run came back */
    CHECK_EQ(put_small(s, "h", NOW + 40000, 6), ERR_DUPLICATE);
    CHECK_EQ(put_small(s, "h", NOW + 50000, 6), OK);
    close_store(s);
}

/* Through blocks and checkpoints: what is in both is seen once. */
TEST(store_keeps_histograms_through_flush_and_crash)
{
    const char *dir = test_dir(), *copy = test_dir();
    int64_t start = window_start(NOW, 2 * HOUR) - 6 * HOUR;
    clock_fake(start);
    store *s = open_with((store_options){ .dir = dir });
    for (int i = 0; i < 100; i++)
        CHECK_EQ(put_small(s, "h", start + i * 360000, i), OK);
    clock_fake(NOW + 6 * HOUR);
    char want[4000];
    str_copy(want, sizeof want, str_from(histograms_of(s, "h")));
    for (int round = 0; round < 2; round++) {
        CHECK_EQ(store_flush(s, NULL), OK);
        CHECK_STR(str_from(histograms_of(s, "h")), want);
        copy_folder(dir, copy);
        store *again = open_with((store_options){ .dir = copy });
        CHECK_STR(str_from(histograms_of(again, "h")), want);
        close_store(again);
        CHECK_EQ(file_remove_tree(copy, NULL), OK);
    }
    CHECK(store_stats_get(s).blocks > 0);
    close_store(s);
}

TEST(store_puts_an_empty_histogram_where_one_began)
{
    clock_fake(NOW);
    store *s = open_with((store_options){ .dir = test_dir(), .created_zeros = true });
    small_histogram x;
    rows r = { 0 };
    small_make(&x, 3);
    add_row(&r, "h", 1, NOW + 20000, 0);
    r.at[0].histogram = &x.h;
    r.at[0].start_ms = NOW + 5000;
    CHECK_EQ(store_append(s, r.at, 1, NULL, NULL), OK);
    CHECK_STR(str_from(histograms_of(s, "h")), "5=0 20=4");
    close_store(s);
}

TEST(store_refuses_histograms_that_make_no_sense)
{
    store *s = open_at(test_dir());
    small_histogram x;
    small_make(&x, 3);
    x.h.positive.bucket_count = 1;
    rows r = { 0 };
    add_row(&r, "h", 1, NOW, 0);
    r.at[0].histogram = &x.h;
    err e = { 0 };
    sink_result rejected = { 0 };
    CHECK_EQ(store_append(s, r.at, 1, NULL, &e), ERR_INVALID);
    CHECK_EQ(store_append(s, r.at, 1, &rejected, NULL), OK);
    CHECK_EQ(rejected.limited, 1);
    CHECK_EQ(rejected.first.kind, ERR_INVALID);
    CHECK_STR(str_from(histograms_of(s, "h")), "");
    close_store(s);
}

TEST(store_histograms_survive_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        const char *dir = test_dir();
        store *s = open_with_window(dir, 60000);
        fault_alloc(nth);
        int kept = 0;
        for (int i = 0; i < 6; i++)
            kept += put_small(s, "h", NOW + (i == 4 ? 500 : i * 1000), i) == OK;
        bool fired = fault_fired();
        CHECK(kept == 6 || (fired && kept >= 4));
        CHECK_EQ(store_stats_get(s).head_samples, kept);
        char want[4000];
        str_copy(want, sizeof want, str_from(histograms_of(s, "h")));
        close_store(s);
        s = open_with_window(dir, 60000);
        CHECK_STR(str_from(histograms_of(s, "h")), want);
        close_store(s);
        if (!fired)
            break;
    }
}
