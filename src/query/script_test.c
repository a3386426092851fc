/* Runs query scripts in Prometheus's own test language (promql/promqltest/README.md): ours under tests/promql,
 * and, where a checkout of them lies beside the project, Prometheus's.
 *
 * A section (between two `clear`s) gets a fresh store. Every instant case also runs as a range query around
 * its time, and must give the same there. */
#include "query/script_test.h"
#include "base/file.h"
#include "base/regex.h"

/* ---- judging ---- */

static bool almost(double a, double b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b);
    if (a == b)
        return true;
    if (isinf(a) || isinf(b))
        return false;
    double sum = fabs(a) + fabs(b);
    return a == 0 || b == 0 || sum < 2.3e-308 ? fabs(a - b) < 1e-6 * 2.3e-308 : fabs(a - b) / fmin(sum, 1.7e308) < 1e-6;
}

static char verdict[2000];

static bool PRINTF_LIKE(1, 2) wrong(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(verdict, sizeof verdict, fmt, args);
    va_end(args);
    return false;
}

static bool wrong_labels(const char *what, labels l)
{
    AUTO(buf_done) buf text = BUF_INIT(1000);
    labels_format(l, &text);
    return wrong("%s %s", what, buf_cstr(&text));
}

static const query_series *find(const query_result *r, labels l)
{
    for (size_t i = 0; i < r->len; i++)
        if (labels_eq(r->series[i].labels, l))
            return &r->series[i];
    return NULL;
}

static bool same_histogram(const histogram *a, const histogram *b)
{
    bucket_walk x = bucket_walk_all(a, false), y = bucket_walk_all(b, false);
    if (!almost(a->count, b->count) || !almost(a->sum, b->sum))
        return false;
    for (;;) {
        bool more = bucket_walk_next(&x);
        if (more != bucket_walk_next(&y))
            return false;
        if (!more)
            return true;
        if (!almost(x.at.lower, y.at.lower) || !almost(x.at.upper, y.at.upper) || !almost(x.at.count, y.at.count))
            return false;
    }
}

/* The point a result has at a time. */
static bool got_at(const query_series *got, int64_t t_ms, point *ret)
{
    for (size_t i = 0; i < got->len; i++)
        if (got->at[i].t_ms == t_ms)
            return *ret = (point){ .v = got->at[i].v }, true;
    for (size_t i = 0; i < got->histogram_count; i++)
        if (got->histograms[i].t_ms == t_ms)
            return *ret = (point){ .h = got->histograms[i].h }, true;
    return false;
}

static bool same_point(const wanted *w, const point *want, const query_series *got, int64_t t_ms)
{
    point have;
    if (!got_at(got, t_ms, &have))
        return wrong_labels("no point where one is due:", w->labels);
    if (!want->h != !have.h)
        return wrong_labels(want->h ? "a float where a histogram is due:" : "a histogram where a float is due:", w->labels);
    if (want->h && !same_histogram(want->h, have.h))
        return wrong("another histogram at %lld: count %.17g, want %.17g; sum %.17g, want %.17g", (long long)t_ms, have.h->count, want->h->count, have.h->sum, want->h->sum);
    return want->h || almost(have.v, want->v) || wrong("got %.17g, want %.17g at %lld", have.v, want->v, (long long)t_ms);
}

static bool same_points(const test_eval *t, const wanted *w, const query_series *got)
{
    size_t due = 0;
    for (size_t i = 0; i < w->points.len; i++) {
        if (w->points.at[i].omitted)
            continue;
        due++;
        if (!same_point(w, &w->points.at[i], got, t->range ? t->from_ms + (int64_t)i * t->step_ms : t->to_ms))
            return false;
    }
    return due == got->len + got->histogram_count || wrong_labels("more points than expected:", w->labels);
}

static bool judge_series(const test_eval *t, const query_result *r, bool order)
{
    for (size_t i = 0; i < t->series.len; i++) {
        const wanted *w = &t->series.at[i];
        const query_series *got = find(r, w->labels);
        if (!got)
            return wrong_labels("missing", w->labels);
        if (!same_points(t, w, got))
            return false;
        if (order && !labels_eq(r->series[i].labels, w->labels))
            return wrong_labels("not in its place:", w->labels);
    }
    for (size_t i = 0; i < r->len; i++) {
        bool known = false;
        for (size_t k = 0; k < t->series.len; k++)
            known |= labels_eq(r->series[i].labels, t->series.at[k].labels);
        if (!known)
            return wrong_labels("unexpected", r->series[i].labels);
    }
    return true;
}

static bool judge_notes(const test_eval *t, const query_result *r)
{
    if ((t->warn && !r->warning_count) || (t->info && !r->info_count))
        return wrong("expected a %s, got none", t->warn ? "warning" : "info");
    if (t->no_warn && r->warning_count)
        return wrong("unexpected warning: %" STR_FMT, STR_ARG(r->warnings[0]));
    if (t->no_info && r->info_count)
        return wrong("unexpected info: %" STR_FMT, STR_ARG(r->infos[0]));
    for (size_t i = 0; t->message.len && t->warn && !t->info && i < r->warning_count; i++)
        if (!str_eq(t->message, r->warnings[i]))
            return wrong("warning: %" STR_FMT, STR_ARG(r->warnings[i]));
    for (size_t i = 0; t->message.len && t->info && !t->warn && i < r->info_count; i++)
        if (!str_eq(t->message, r->infos[i]))
            return wrong("info: %" STR_FMT, STR_ARG(r->infos[i]));
    return true;
}

static bool judge_failure(const test_eval *t, const err *e)
{
    char text[600];
    err_format(text, sizeof text, e);
    if (!t->fail)
        return wrong("%s", text);
    if (t->message.len && !str_eq(t->message, str_from(e->message)) && !str_eq(t->message, str_from(text)))
        return wrong("error is: %s", text);
    if (t->pattern.len) {
        AUTO(regex_freep) regex *re = NULL;
        str groups[1];
        if (regex_compile(t->pattern, false, &re, &(err){ 0 }) == OK && !regex_groups(re, str_from(text), groups, 1))
            return wrong("error is: %s", text);
    }
    return true;
}

/* An instant case asked as a range must say the same at the middle step. */
static bool judge_as_range(script *s, const test_eval *t)
{
    query_result r = { 0 };
    err e = { 0 };
    bool ok = true;
    if (query_range(s->engine, t->expr, t->from_ms - 60000, t->from_ms + 60000, 60000, NULL, &r, &e))
        return wrong("as a range: %s", e.message);
    size_t found = 0;
    for (size_t i = 0; i < r.len && ok; i++) {
        point unused;
        if (!got_at(&r.series[i], t->from_ms, &unused))
            continue;
        found++;
        for (size_t w = 0; w < t->series.len && ok; w++)
            if (labels_eq(r.series[i].labels, t->series.at[w].labels))
                ok = same_point(&t->series.at[w], &t->series.at[w].points.at[0], &r.series[i], t->from_ms);
    }
    if (ok && !t->has_scalar && found != t->series.len)
        ok = wrong("as a range: %zu series, want %zu", found, t->series.len);
    query_result_done(&r);
    return ok;
}

static bool judge(script *s, const test_eval *t)
{
    query_result r = { 0 };
    err e = { 0 };
    err_kind k = t->range ? query_range(s->engine, t->expr, t->from_ms, t->to_ms, t->step_ms, NULL, &r, &e)
                          : query_instant(s->engine, t->expr, t->to_ms, NULL, &r, &e);
    if (k)
        return judge_failure(t, &e);
    bool ok;
    if (t->fail)
        ok = wrong("expected an error");
    else if (t->has_scalar)
        ok = r.type == QUERY_SCALAR && almost(r.series[0].at[0].v, t->scalar) ? true : wrong("got another scalar than %.17g", t->scalar);
    else
        ok = judge_series(t, &r, t->ordered && !t->range) && judge_notes(t, &r);
    query_result_done(&r);
    if (ok && !t->range && !t->fail && !t->ordered && str_find(t->expr, STR("start()")) < 0 && str_find(t->expr, STR("end()")) < 0 &&
        str_find(t->expr, STR("range()")) < 0 && str_find(t->expr, STR("step()")) < 0)
        ok = judge_as_range(s, t);
    return ok;
}

static void eval_case(script *s, str line, bool loud)
{
    test_eval t;
    script_read_eval(s, line, &t);
    verdict[0] = 0;
    if (t.skip) {
        s->skipped++;
    } else if (judge(s, &t)) {
        s->passed++;
    } else {
        s->failed++;
        if (loud)
            print_message("%s:%zu: %" STR_FMT "\n    %s\n", s->path, t.line, STR_ARG(t.expr), verdict);
    }
    script_eval_done(&t);
}

/* ---- sections and files ---- */

static void fresh(script *s)
{
    err e = { 0 };
    store_recovery recovery;
    if (s->store) {
        query_engine_free(s->engine);
        CHECK_OK(store_close(s->store, &e), e);
        arena_reset(&s->arena);
    }
    store_options o = { .dir = test_dir(), .retention_ms = INT64_C(3153600000000) };
    query_options q = { .features = s->features };
    CHECK_OK(store_open(&o, &s->store, &recovery, &e), e);
    s->engine = query_engine_new(s->store, &q);
    CHECK(s->engine != NULL);
}

static void split_lines(script *s)
{
    str rest = buf_str(&s->text), line;
    s->lines = mem_calloc(s->text.len + 1, sizeof *s->lines);
    CHECK(s->lines != NULL);
    while (str_split(&rest, '\n', &line)) {
        line = str_trim(line);
        s->lines[s->line_count++] = str_starts(line, STR("#")) ? STR_EMPTY : line;
    }
}

static void run_script(const char *path, unsigned features, script *s, bool loud)
{
    err e = { 0 };
    *s = (script){ .path = path, .features = features, .text = BUF_INIT(16u << 20), .arena = ARENA_INIT(64u << 20) };
    CHECK_OK(file_read(path, &s->text, &e), e);
    split_lines(s);
    fresh(s);
    for (; s->at < s->line_count; s->at++) {
        str line = s->lines[s->at];
        if (str_starts(line, STR("clear")))
            fresh(s);
        else if (str_starts(line, STR("load")))
            script_load(s, line);
        else if (str_starts(line, STR("eval")))
            eval_case(s, line, loud);
    }
    query_engine_free(s->engine);
    store_close(s->store, &e);
    mem_free(s->lines);
    buf_done(&s->text);
    arena_done(&s->arena);
}

/* Prometheus runs all of its scripts with names removed late. */
static unsigned features_of(str name)
{
    return str_starts(name, STR("early_names")) ? PROMQL_EVERYTHING & ~(unsigned)PROMQL_DELAYED_NAMES : PROMQL_EVERYTHING;
}

static bool run_folder(const char *dir, bool loud, const char *const *except, unsigned *ret_passed, unsigned *ret_failed)
{
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    str *names;
    size_t n;
    char path[FILE_PATH_MAX];
    if (!file_exists(dir) || file_list(dir, &a, &names, &n, &(err){ 0 }))
        return false;
    for (size_t i = 0; i < n; i++) {
        script s;
        bool skip = !str_ends(names[i], STR(".test"));
        for (const char *const *x = except; x && *x; x++)
            skip |= str_is(names[i], *x);
        if (skip)
            continue;
        CHECK(file_join(path, dir, names[i].ptr, &(err){ 0 }) == OK);
        run_script(path, features_of(names[i]), &s, loud);
        print_message("%" STR_FMT ": %u passed, %u failed, %u left out\n", STR_ARG(names[i]), s.passed, s.failed, s.skipped);
        *ret_passed += s.passed;
        *ret_failed += s.failed;
    }
    return true;
}

TEST(scripts_of_ours_give_what_they_say)
{
    unsigned passed = 0, failed = 0;
    CHECK(run_folder("../../tests/promql", true, NULL, &passed, &failed));
    CHECK(passed > 0);
    CHECK_EQ(failed, 0);
}

TEST(scripts_of_prometheus_give_what_they_say)
{
    static const char *const not_yet[] = { "start_timestamps.test" /* the store has none */, NULL };
    unsigned passed = 0, failed = 0;
    if (!run_folder("../../../shared/conformance/testdata", true, not_yet, &passed, &failed)) {
        print_message("skipped: Prometheus's scripts are not beside this checkout\n");
        return;
    }
    CHECK_EQ(failed, 0);
}
