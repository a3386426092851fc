/* Runs query scripts in Prometheus's own test language (promql/promqltest/README.md): ours under tests/promql,
 * and, where a checkout of them lies beside the project, Prometheus's. Native histograms are left out.
 *
 * A section (between two `clear`s) gets a fresh store. Every instant case also runs as a range query around
 * its time, and must give the same there. */
#include "base/file.h"
#include "base/regex.h"
#include "base/test.h"
#include "query/query.h"
#include <stdlib.h>

typedef struct wanted { labels labels; double *v; bool *omitted; size_t n; } wanted;

typedef struct script {
    const char *path;
    buf text;
    str *lines; size_t line_count;
    size_t at;                     /* line we stand on */
    arena arena;                   /* of the section */
    store *store;
    query_engine *engine;
    vec(str) histograms;           /* metrics of this section that we cannot hold */
    unsigned passed, failed, skipped;
} script;

typedef struct test_eval {
    size_t line;
    str expr;
    bool range, ordered, fail, histogram, has_scalar, warn, info, no_warn, no_info;
    int64_t from_ms, to_ms, step_ms;
    str message, pattern;
    double scalar;
    str string; bool has_string, skip;
    vec(wanted) series;
} test_eval;

/* ---- reading the language ---- */

static str word(str *rest)
{
    *rest = str_trim(*rest);
    size_t n = 0;
    while (n < rest->len && rest->ptr[n] != ' ' && rest->ptr[n] != '\t')
        n++;
    str w = str_sub(*rest, 0, n);
    *rest = str_trim(str_skip(*rest, n));
    return w;
}

static int64_t duration_of(str s)
{
    int64_t ms = 0;
    double seconds;
    bool minus = str_starts(s, STR("-"));
    if (minus)
        s = str_skip(s, 1);
    if (str_to_double(s, &seconds))
        ms = (int64_t)(seconds * 1e3);
    else
        CHECK_MSG(clock_parse_duration(s, &ms), "duration %" STR_FMT, STR_ARG(s));
    return minus ? -ms : ms;
}

/* Length of `name{…}` at the start of s, 0 if there is none. */
static size_t metric_length(str s)
{
    size_t n = 0;
    while (n < s.len && (strchr("_:", s.ptr[n]) || ((s.ptr[n] | 32) >= 'a' && (s.ptr[n] | 32) <= 'z') || (n && s.ptr[n] >= '0' && s.ptr[n] <= '9')))
        n++;
    size_t k = n;
    while (k < s.len && (s.ptr[k] == ' ' || s.ptr[k] == '\t'))
        k++;
    if (k >= s.len || s.ptr[k] != '{' || (k + 1 < s.len && s.ptr[k + 1] == '{'))
        return n;
    for (char quote = 0; k < s.len; k++) {
        if (quote && s.ptr[k] == '\\' && quote != '`')
            k++;
        else if (quote)
            quote = s.ptr[k] == quote ? 0 : quote;
        else if (strchr("\"'`", s.ptr[k]))
            quote = s.ptr[k];
        else if (s.ptr[k] == '}')
            return k + 1;
    }
    return n;
}

static bool labels_of(script *s, str text, labels *ret)
{
    label at[LABELS_MAX];
    matcher *m = NULL;
    size_t n = 0, len = 0;
    err e = { 0 };
    *ret = (labels){ 0 };
    str trimmed = str_trim(text);
    if (str_is(trimmed, "{}") || str_empty(trimmed))
        return true;
    if (promql_parse_selector(text, &s->arena, &m, &n, &e))
        return false;
    for (size_t i = 0; i < n; i++)
        at[len++] = (label){ m[i].name, m[i].value };
    promql_selector_done(m, n);
    CHECK_OK(labels_normalise(at, &len, &e), e);
    *ret = (labels){ arena_dup(&s->arena, at, MAX(len, 1u) * sizeof *at), len };
    return true;
}

/* A number at the front of *rest. */
static bool number(str *rest, double *ret)
{
    size_t n = 0;
    if (n < rest->len && strchr("+-", rest->ptr[n]))
        n++;
    size_t digits = n;
    while (n < rest->len && (strchr("0123456789._", rest->ptr[n]) || (n > digits && (rest->ptr[n] | 32) == 'e') ||
                             (n > digits && strchr("+-", rest->ptr[n]) && (rest->ptr[n - 1] | 32) == 'e')))
        n++;
    if (n == digits)
        for (size_t k = 0; k < 3 && n < rest->len; k++)
            n++;
    if (!str_to_double(str_sub(*rest, 0, n), ret))
        return false;
    *rest = str_skip(*rest, n);
    return true;
}

static size_t times(str *rest)
{
    if (!str_starts(*rest, STR("x")))
        return 0;
    size_t n = 1;
    while (n < rest->len && rest->ptr[n] >= '0' && rest->ptr[n] <= '9')
        n++;
    int64_t count = 0;
    CHECK(str_to_i64(str_sub(*rest, 1, n - 1), &count));
    *rest = str_skip(*rest, n);
    return (size_t)count;
}

typedef struct values { vec(double) v; vec(bool) omitted; } values;

static void put(values *out, double v, bool omitted)
{
    CHECK(!vec_push(&out->v, v) && !vec_push(&out->omitted, omitted));
}

/* "1 2+3x4 _x2 stale" */
static bool parse_values(str rest, values *out)
{
    for (rest = str_trim(rest); rest.len; rest = str_trim(rest)) {
        double v = 0, by = 0;
        if (str_starts(rest, STR("_"))) {
            rest = str_skip(rest, 1);
            size_t n = str_starts(rest, STR("x")) ? times(&rest) : 1;
            for (size_t i = 0; i < n; i++)
                put(out, 0, true);
            continue;
        }
        if (str_starts(rest, STR("stale"))) {
            rest = str_skip(rest, 5);
            for (size_t i = 0, n = times(&rest); i <= n; i++)
                put(out, stale_nan(), false);
            continue;
        }
        if (!number(&rest, &v))
            return false;
        if (rest.len && strchr("+-", rest.ptr[0]) && !number(&rest, &by))
            return false;
        for (size_t i = 0, n = times(&rest); i <= n; i++, v += by)
            put(out, v, false);
    }
    return true;
}

/* ---- load ---- */

static void load_series(script *s, str line, int64_t step_ms)
{
    values found = { 0 };
    labels l;
    size_t n = metric_length(line);
    err e = { 0 };
    CHECK_MSG(labels_of(s, str_sub(line, 0, n), &l), "%s:%zu: metric", s->path, s->at + 1);
    if (str_find(line, STR("{{")) >= 0) {
        CHECK(!vec_push(&s->histograms, labels_name(l)));
        return;
    }
    CHECK_MSG(parse_values(str_skip(line, n), &found), "%s:%zu: values", s->path, s->at + 1);
    sample_row *rows = mem_calloc(found.v.len + 1, sizeof *rows);
    size_t count = 0;
    for (size_t i = 0; i < found.v.len; i++)
        if (!found.omitted.at[i])
            rows[count++] = (sample_row){ .labels = l, .t_ms = (int64_t)i * step_ms, .v = found.v.at[i] };
    sink_result rejected = { 0 };
    CHECK_OK(store_append(s->store, rows, count, &rejected, &e), e);
    mem_free(rows);
    vec_done(&found.v);
    vec_done(&found.omitted);
}

static void remember_custom_buckets(script *s, str line)
{
    static const char *const parts[] = { "_bucket", "_count", "_sum" };
    labels l;
    if (!labels_of(s, str_sub(line, 0, metric_length(line)), &l))
        return;
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (str_ends(labels_name(l), str_from(parts[i])))
            CHECK(!vec_push(&s->histograms, str_sub(labels_name(l), 0, labels_name(l).len - strlen(parts[i]))));
}

/* A series given twice in one load: the later line counts. */
static bool repeated_below(const script *s, size_t at)
{
    str line = s->lines[at], metric = str_sub(line, 0, metric_length(line));
    for (size_t i = at + 1; i < s->line_count && s->lines[i].len; i++)
        if (str_eq(metric, str_sub(s->lines[i], 0, metric_length(s->lines[i]))))
            return true;
    return false;
}

static void load(script *s, str line)
{
    bool custom = str_starts(line, STR("load_with_nhcb"));
    word(&line);
    int64_t step_ms = duration_of(word(&line));
    for (; s->at + 1 < s->line_count && s->lines[s->at + 1].len; s->at++) {
        str series = s->lines[s->at + 1];
        if (custom)
            remember_custom_buckets(s, series);
        if (str_find(str_sub(series, 0, metric_length(series) + 3), STR("@st")) < 0 && !repeated_below(s, s->at + 1))
            load_series(s, series, step_ms);
    }
}

/* ---- eval ---- */

static void read_expect(test_eval *t, str rest)
{
    str kind = word(&rest), how = STR_EMPTY;
    str_split(&rest, ':', &how);
    how = str_trim(how);
    t->ordered |= str_is(kind, "ordered");
    t->no_warn |= str_is(kind, "no_warn");
    t->no_info |= str_is(kind, "no_info");
    t->warn |= str_is(kind, "warn");
    t->info |= str_is(kind, "info");
    t->fail |= str_is(kind, "fail");
    t->skip |= str_is(kind, "range") || str_is(kind, "string");
    if (str_is(how, "msg"))
        t->message = str_trim(rest);
    else if (str_is(how, "regex"))
        t->pattern = str_trim(rest);
}

static void read_result(script *s, test_eval *t, str line)
{
    values v = { 0 };
    wanted w = { 0 };
    size_t n = metric_length(line);
    double scalar;
    if (str_starts(line, STR("expect "))) {
        str_split(&line, ' ', &(str){ 0 });
        read_expect(t, line);
    } else if (str_starts(line, STR("expected_fail"))) {
        bool regex_wanted = str_starts(line, STR("expected_fail_regexp"));
        word(&line);
        *(regex_wanted ? &t->pattern : &t->message) = line;
    } else if (str_find(line, STR("{{")) >= 0) {
        t->histogram = true;
    } else if (str_to_double(line, &scalar)) {
        t->scalar = scalar;
        t->has_scalar = true;
    } else if (!labels_of(s, str_sub(line, 0, n), &w.labels) || !parse_values(str_skip(line, n), &v)) {
        t->skip = true;
    } else {
        w.v = v.v.at, w.omitted = v.omitted.at, w.n = v.v.len;
        CHECK(!vec_push(&t->series, w));
        return;
    }
    vec_done(&v.v);
    vec_done(&v.omitted);
}

static void read_eval(script *s, str line, test_eval *t)
{
    str first = word(&line), mode = word(&line);
    *t = (test_eval){ .line = s->at + 1, .range = str_is(mode, "range") };
    t->fail = str_is(first, "eval_fail");
    t->ordered = str_is(first, "eval_ordered");
    t->warn = str_is(first, "eval_warn");
    t->info = str_is(first, "eval_info");
    word(&line); /* at, from */
    t->from_ms = t->to_ms = duration_of(word(&line));
    if (t->range) {
        word(&line);
        t->to_ms = duration_of(word(&line));
        word(&line);
        t->step_ms = duration_of(word(&line));
    }
    t->expr = line;
    for (; s->at + 1 < s->line_count && s->lines[s->at + 1].len; s->at++)
        read_result(s, t, s->lines[s->at + 1]);
}

static void eval_done_with(test_eval *t)
{
    for (size_t i = 0; i < t->series.len; i++) {
        mem_free(t->series.at[i].v);
        mem_free(t->series.at[i].omitted);
    }
    vec_done(&t->series);
}

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

static bool is_histogram_case(const script *s, const test_eval *t)
{
    /* A selector without a name meets histograms only where a section has some; what it says about them we cannot. */
    if (s->histograms.len && (t->info || str_find(t->expr, STR("__name__=~")) >= 0))
        return true;
    if (t->histogram || str_find(t->expr, STR("{{")) >= 0 || str_find(t->expr, STR("</")) >= 0)
        return true;
    for (size_t i = 0; i < s->histograms.len; i++) {
        str name = s->histograms.at[i];
        for (str rest = t->expr; name.len;) {
            ptrdiff_t at = str_find(rest, name);
            if (at < 0)
                break;
            char behind = (size_t)at + name.len < rest.len ? rest.ptr[(size_t)at + name.len] : ' ';
            if (!strchr("_:", behind) && !((behind | 32) >= 'a' && (behind | 32) <= 'z') && !(behind >= '0' && behind <= '9'))
                return true;
            rest = str_skip(rest, (size_t)at + name.len);
        }
    }
    return false;
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

static bool same_points(const test_eval *t, const wanted *w, const query_series *got)
{
    size_t at = 0;
    for (size_t i = 0; i < w->n; i++) {
        int64_t when = t->from_ms + (int64_t)i * t->step_ms;
        if (w->omitted[i])
            continue;
        if (at >= got->len || got->at[at].t_ms != when)
            return wrong_labels("no point where one is due:", w->labels);
        if (!almost(got->at[at].v, w->v[i]))
            return wrong("got %.17g, want %.17g at %lld", got->at[at].v, w->v[i], (long long)when);
        at++;
    }
    return at == got->len || wrong_labels("more points than expected:", w->labels);
}

static bool judge_series(const test_eval *t, const query_result *r, bool order)
{
    for (size_t i = 0; i < t->series.len; i++) {
        const wanted *w = &t->series.at[i];
        const query_series *got = find(r, w->labels);
        if (!got)
            return wrong_labels("missing", w->labels);
        if (t->range ? !same_points(t, w, got) : !almost(got->at[0].v, w->v[0]) && !wrong("got %.17g, want %.17g", got->at[0].v, w->v[0]))
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
    if (t->message.len && t->warn && !str_eq(t->message, r->warnings[0]))
        return wrong("warning: %" STR_FMT, STR_ARG(r->warnings[0]));
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
    for (size_t i = 0; i < r.len && ok; i++)
        for (size_t k = 0; k < r.series[i].len && ok; k++) {
            if (r.series[i].at[k].t_ms != t->from_ms)
                continue;
            found++;
            for (size_t w = 0; w < t->series.len; w++)
                if (labels_eq(r.series[i].labels, t->series.at[w].labels) && !almost(r.series[i].at[k].v, t->series.at[w].v[0]))
                    ok = wrong("as a range: got %.17g, want %.17g", r.series[i].at[k].v, t->series.at[w].v[0]);
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
    read_eval(s, line, &t);
    verdict[0] = 0;
    if (t.skip || is_histogram_case(s, &t)) {
        s->skipped++;
    } else if (judge(s, &t)) {
        s->passed++;
    } else {
        s->failed++;
        if (loud)
            print_message("%s:%zu: %" STR_FMT "\n    %s\n", s->path, t.line, STR_ARG(t.expr), verdict);
    }
    eval_done_with(&t);
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
        vec_clear(&s->histograms);
    }
    store_options o = { .dir = test_dir(), .retention_ms = INT64_C(3153600000000) };
    query_options q = { .features = PROMQL_EXPERIMENTAL_FUNCTIONS };
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

static void run_script(const char *path, script *s, bool loud)
{
    err e = { 0 };
    *s = (script){ .path = path, .text = BUF_INIT(16u << 20), .arena = ARENA_INIT(64u << 20) };
    CHECK_OK(file_read(path, &s->text, &e), e);
    split_lines(s);
    fresh(s);
    for (; s->at < s->line_count; s->at++) {
        str line = s->lines[s->at];
        if (str_starts(line, STR("clear")))
            fresh(s);
        else if (str_starts(line, STR("load")))
            load(s, line);
        else if (str_starts(line, STR("eval")))
            eval_case(s, line, loud);
    }
    query_engine_free(s->engine);
    store_close(s->store, &e);
    mem_free(s->lines);
    buf_done(&s->text);
    arena_done(&s->arena);
    vec_done(&s->histograms);
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
        run_script(path, &s, loud);
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
    static const char *const not_yet[] = { "native_histograms.test", "extended_vectors.test", "info.test", "start_timestamps.test",
                                           "type_and_unit.test", "name_label_dropping.test" /* delayed name removal is off */, NULL };
    unsigned passed = 0, failed = 0;
    if (!run_folder("../../../shared/conformance/testdata", true, not_yet, &passed, &failed)) {
        print_message("skipped: Prometheus's scripts are not beside this checkout\n");
        return;
    }
    CHECK_EQ(failed, 0);
}
