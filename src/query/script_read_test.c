/* Query scripts read: series in their notation, what is loaded, what an evaluation is to give. */
#include "query/script_test.h"
#include <stdlib.h>

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

static void put(points *out, point p)
{
    CHECK(!vec_push(out, p));
}

/* "[1 2 3]" into a side whose buckets lie next to each other from `offset` on. */
static void list_of(script *s, str text, vec_double *out)
{
    double v;
    CHECK(str_starts(text, STR("[")));
    for (text = str_trim(str_skip(text, 1)); text.len && text.ptr[0] != ']'; text = str_trim(text)) {
        CHECK_MSG(number(&text, &v), "%s:%zu: list", s->path, s->at + 1);
        CHECK(!vec_push(out, v));
    }
}

static histogram_side side_of(script *s, const vec_double *buckets, int32_t offset)
{
    histogram_span span = { offset, (uint32_t)buckets->len };
    if (buckets->len == 0)
        return (histogram_side){ 0 };
    return (histogram_side){ arena_dup(&s->arena, &span, sizeof span), 1, arena_dup(&s->arena, buckets->at, buckets->len * sizeof *buckets->at), (uint32_t)buckets->len };
}

static uint8_t hint_of(str text)
{
    static const char *const names[] = { [HISTOGRAM_RESET_UNKNOWN] = "unknown", [HISTOGRAM_RESET_YES] = "reset", [HISTOGRAM_RESET_NO] = "not_reset", [HISTOGRAM_GAUGE] = "gauge" };
    uint8_t found = 0;
    for (uint8_t i = 0; i < COUNT_OF(names); i++)
        if (str_starts(text, str_from(names[i])))
            found = MAX(found, i);
    return found;
}

/* key:value pairs between {{ and }}. */
static const histogram *histogram_of(script *s, str body)
{
    histogram *h = arena_new(&s->arena, histogram);
    vec_double positive = { 0 }, negative = { 0 }, bounds = { 0 };
    int32_t offset = 0, negative_offset = 0;
    CHECK(h != NULL);
    for (body = str_trim(body); body.len; body = str_trim(body)) {
        ptrdiff_t colon = str_find(body, STR(":"));
        CHECK_MSG(colon > 0, "%s:%zu: histogram", s->path, s->at + 1);
        str key = str_sub(body, 0, (size_t)colon);
        body = str_skip(body, (size_t)colon + 1);
        double v = 0;
        str rest = body;
        if (body.ptr[0] != '[' && !str_is(key, "counter_reset_hint"))
            CHECK(number(&rest, &v));
        if (str_is(key, "schema")) h->schema = (int8_t)v;
        else if (str_is(key, "sum")) h->sum = v;
        else if (str_is(key, "count")) h->count = v;
        else if (str_is(key, "z_bucket")) h->zero_count = v;
        else if (str_is(key, "z_bucket_w")) h->zero_threshold = v;
        else if (str_is(key, "offset")) offset = (int32_t)v;
        else if (str_is(key, "n_offset")) negative_offset = (int32_t)v;
        else if (str_is(key, "buckets")) list_of(s, body, &positive);
        else if (str_is(key, "n_buckets")) list_of(s, body, &negative);
        else if (str_is(key, "custom_values")) list_of(s, body, &bounds);
        else if (str_is(key, "counter_reset_hint")) h->reset = hint_of(body);
        else CHECK_MSG(false, "%s:%zu: histogram key %" STR_FMT, s->path, s->at + 1, STR_ARG(key));
        ptrdiff_t end = body.ptr[0] == '[' ? str_find(body, STR("]")) + 1 : str_find(body, STR(" "));
        body = end < 0 ? STR_EMPTY : str_skip(body, (size_t)end);
    }
    h->positive = side_of(s, &positive, offset);
    h->negative = side_of(s, &negative, negative_offset);
    h->bounds = bounds.len ? arena_dup(&s->arena, bounds.at, bounds.len * sizeof *bounds.at) : NULL;
    h->bound_count = (uint32_t)bounds.len;
    vec_done(&positive);
    vec_done(&negative);
    vec_done(&bounds);
    return h;
}

static const histogram *next_histogram(script *s, str *rest)
{
    ptrdiff_t end = str_find(*rest, STR("}}"));
    CHECK(end > 0);
    const histogram *h = histogram_of(s, str_sub(*rest, 2, (size_t)end - 2));
    *rest = str_skip(*rest, (size_t)end + 2);
    return h;
}

/* {{…}} {{…}}x3 {{…}}+{{…}}x3 */
static void read_histograms(script *s, str *rest, points *out)
{
    const histogram *h = next_histogram(s, rest), *by = NULL;
    bool minus = str_starts(*rest, STR("-"));
    if (str_starts(*rest, STR("+{{")) || str_starts(*rest, STR("-{{"))) {
        *rest = str_skip(*rest, 1);
        by = next_histogram(s, rest);
    }
    for (size_t i = 0, n = times(rest); i <= n; i++) {
        put(out, (point){ .h = h, .v = stale_nan() });
        histogram_sum sum = { 0 };
        if (by) {
            CHECK(!histogram_sum_set(&sum, h) && !histogram_sum_add(&sum, by, minus ? -1 : 1));
            sum.reset = h->reset;
            h = histogram_sum_value(&sum, &s->arena, false);
            histogram_sum_done(&sum);
        }
    }
}

/* "1 2+3x4 _x2 stale {{count:1}}" */
static bool parse_values(script *s, str rest, points *out)
{
    for (rest = str_trim(rest); rest.len; rest = str_trim(rest)) {
        double v = 0, by = 0;
        if (str_starts(rest, STR("{{"))) {
            read_histograms(s, &rest, out);
            continue;
        }
        if (str_starts(rest, STR("_"))) {
            rest = str_skip(rest, 1);
            size_t n = str_starts(rest, STR("x")) ? times(&rest) : 1;
            for (size_t i = 0; i < n; i++)
                put(out, (point){ .omitted = true });
            continue;
        }
        if (str_starts(rest, STR("stale"))) {
            rest = str_skip(rest, 5);
            for (size_t i = 0, n = times(&rest); i <= n; i++)
                put(out, (point){ .v = stale_nan() });
            continue;
        }
        if (!number(&rest, &v))
            return false;
        if (rest.len && strchr("+-", rest.ptr[0]) && !number(&rest, &by))
            return false;
        for (size_t i = 0, n = times(&rest); i <= n; i++, v += by)
            put(out, (point){ .v = v });
    }
    return true;
}

/* ---- load ---- */

static void append_points(script *s, labels l, const points *found, int64_t step_ms)
{
    err e = { 0 };
    sample_row *rows = mem_calloc(found->len + 1, sizeof *rows);
    size_t count = 0;
    for (size_t i = 0; i < found->len; i++)
        if (!found->at[i].omitted)
            rows[count++] = (sample_row){ .labels = l, .t_ms = (int64_t)i * step_ms, .v = found->at[i].v, .histogram = found->at[i].h };
    sink_result rejected = { 0 };
    CHECK_OK(store_append(s->store, rows, count, &rejected, &e), e);
    mem_free(rows);
}

/* load_with_nhcb: what the buckets of one classic histogram make at one time. */
typedef struct classic { labels labels; vec(bucket_line) buckets; points count, sum; } classic;

static int by_bound(const void *a, const void *b)
{
    double x = ((const bucket_line *)a)->bound, y = ((const bucket_line *)b)->bound;
    return (x > y) - (x < y);
}

static bool point_at(const points *p, size_t i, double *ret)
{
    if (i >= p->len || p->at[i].omitted || p->at[i].h || is_stale(p->at[i].v))
        return false;
    *ret = p->at[i].v;
    return true;
}

/* False: nothing of it at that time. */
static bool custom_at(script *s, classic *c, size_t i, point *ret)
{
    vec_double bounds = { 0 }, counts = { 0 };
    double before = 0, v = 0, count = 0, sum = 0;
    bool any = point_at(&c->count, i, &count) | point_at(&c->sum, i, &sum), has_count = point_at(&c->count, i, &count), endless = false;
    for (size_t k = 0; k < c->buckets.len; k++) {
        if (!point_at(&c->buckets.at[k].points, i, &v))
            continue;
        any = true;
        CHECK(!vec_push(&counts, v - before));
        endless = isinf(c->buckets.at[k].bound);
        if (!endless)
            CHECK(!vec_push(&bounds, c->buckets.at[k].bound));
        before = v;
    }
    if (!has_count)
        count = before;
    if (!endless)
        CHECK(!vec_push(&counts, count - before));
    histogram h = { .schema = HISTOGRAM_CUSTOM, .count = count, .sum = sum, .positive = side_of(s, &counts, 0), .bound_count = (uint32_t)bounds.len };
    h.bounds = bounds.len ? arena_dup(&s->arena, bounds.at, bounds.len * sizeof *bounds.at) : NULL;
    *ret = (point){ .v = stale_nan(), .h = arena_dup(&s->arena, &h, sizeof h) };
    vec_done(&bounds);
    vec_done(&counts);
    return any;
}

typedef vec(classic) classics;

/* The classic histogram a series is a part of; NULL: of none. *ret_part: 0 bucket, 1 count, 2 sum. */
static classic *classic_of(script *s, classics *all, labels l, size_t *ret_part)
{
    static const char *const parts[] = { "_bucket", "_count", "_sum" };
    str name = labels_name(l);
    labels_builder b;
    for (*ret_part = 0; *ret_part < COUNT_OF(parts) && !str_ends(name, str_from(parts[*ret_part])); *ret_part += 1) {}
    if (*ret_part == COUNT_OF(parts))
        return NULL;
    labels_start_from(&b, &s->arena, l);
    labels_put(&b, METRIC_NAME, str_sub(name, 0, name.len - strlen(parts[*ret_part])));
    if (*ret_part == 0)
        labels_put(&b, STR("le"), STR_EMPTY);
    labels bare = labels_finish(&b);
    for (size_t i = 0; i < all->len; i++)
        if (labels_eq(all->at[i].labels, bare))
            return &all->at[i];
    bare.at = arena_dup(&s->arena, bare.at, bare.len * sizeof *bare.at);
    CHECK(!vec_push(all, ((classic){ .labels = bare })));
    return &vec_last(all);
}

static void collect_classic(script *s, classics *all, str line)
{
    bucket_line b = { 0 };
    labels l;
    size_t part, n = metric_length(line);
    CHECK(labels_of(s, str_sub(line, 0, n), &l));
    classic *c = classic_of(s, all, l, &part);
    if (!c || !parse_values(s, str_skip(line, n), &b.points))
        return;
    if (part == 0 && str_to_double(labels_get(l, STR("le")), &b.bound))
        CHECK(!vec_push(&c->buckets, b));
    else if (part)
        *(part == 1 ? &c->count : &c->sum) = b.points;
    else
        vec_done(&b.points);
}

static void append_classics(script *s, classics *all, int64_t step_ms)
{
    for (size_t i = 0; i < all->len; i++) {
        classic *c = &all->at[i];
        points made = { 0 };
        size_t most = MAX(c->count.len, c->sum.len);
        for (size_t k = 0; k < c->buckets.len; k++)
            most = MAX(most, c->buckets.at[k].points.len);
        if (c->buckets.len)
            qsort(c->buckets.at, c->buckets.len, sizeof *c->buckets.at, by_bound);
        for (size_t k = 0; k < most; k++) {
            point p;
            put(&made, custom_at(s, c, k, &p) ? p : (point){ .omitted = true });
        }
        append_points(s, c->labels, &made, step_ms);
        vec_done(&made);
        for (size_t k = 0; k < c->buckets.len; k++)
            vec_done(&c->buckets.at[k].points);
        vec_done(&c->buckets);
        vec_done(&c->count);
        vec_done(&c->sum);
    }
    vec_done(all);
}

static void load_series(script *s, str line, int64_t step_ms)
{
    points found = { 0 };
    labels l;
    size_t n = metric_length(line);
    CHECK_MSG(labels_of(s, str_sub(line, 0, n), &l), "%s:%zu: metric", s->path, s->at + 1);
    CHECK_MSG(parse_values(s, str_skip(line, n), &found), "%s:%zu: values", s->path, s->at + 1);
    append_points(s, l, &found, step_ms);
    vec_done(&found);
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

void script_load(script *s, str line)
{
    bool custom = str_starts(line, STR("load_with_nhcb"));
    classics all = { 0 };
    word(&line);
    int64_t step_ms = duration_of(word(&line));
    for (; s->at + 1 < s->line_count && s->lines[s->at + 1].len; s->at++) {
        str series = s->lines[s->at + 1];
        if (custom)
            collect_classic(s, &all, series);
        if (str_find(str_sub(series, 0, metric_length(series) + 3), STR("@st")) < 0 && !repeated_below(s, s->at + 1))
            load_series(s, series, step_ms);
    }
    append_classics(s, &all, step_ms);
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
    } else if (str_to_double(line, &scalar)) {
        t->scalar = scalar;
        t->has_scalar = true;
    } else if (!labels_of(s, str_sub(line, 0, n), &w.labels) || !parse_values(s, str_skip(line, n), &w.points)) {
        t->skip = true;
        vec_done(&w.points);
    } else {
        CHECK(!vec_push(&t->series, w));
    }
}

void script_read_eval(script *s, str line, test_eval *t)
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

void script_eval_done(test_eval *t)
{
    for (size_t i = 0; i < t->series.len; i++)
        vec_done(&t->series.at[i].points);
    vec_done(&t->series);
}
