/* Prometheus text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats) and OpenMetrics 1.0
 * (openmetrics.io). One pass over the page; a line is
 *     series  value  [timestamp]  [# exemplar]        series = name | name{labels} | {"quoted name",labels}
 * In 0.0.4 a timestamp is in milliseconds, in OpenMetrics in seconds.
 *
 * A target shows the same page each time but for the values, so two short cuts save most of the work: a line that
 * begins with the series the caller expects is not searched for its end, and comments whose hashes are those of the
 * last page are not read again (should one differ, all before it are read after all). */
#include "metric/exposition_inside.h"
#include "base/hash.h"

exposition_parser *exposition_new(str text, bool openmetrics)
{
    return exposition_open(text, openmetrics ? EXPOSITION_OPENMETRICS : EXPOSITION_TEXT, NULL);
}

exposition_parser *exposition_open(str text, exposition_format format, arena *a)
{
    exposition_parser *p = mem_zalloc(sizeof *p);
    if (!p)
        return NULL;
    p->rest = p->text = text;
    p->openmetrics = format == EXPOSITION_OPENMETRICS;
    p->scratch = arena_init(EXPOSITION_SCRATCH_BYTES);
    p->keep = arena_init(EXPOSITION_SCRATCH_BYTES);
    return format == EXPOSITION_PROTOBUF ? proto_start(p, text, a) : p;
}

void exposition_free(exposition_parser *p)
{
    if (!p)
        return;
    arena_done(&p->scratch);
    arena_done(&p->keep);
    map_done(&p->families);
    vec_done(&p->metas);
    vec_done(&p->hashes);
    proto_end(p);
    mem_free(p);
}

size_t exposition_meta_count(const exposition_parser *p) { return p->metas.len; }
exposition_meta exposition_meta_at(const exposition_parser *p, size_t i) { return p->metas.at[i]; }

static err_kind fail(exposition_parser *p, const char *at, err *e, const char *what)
{
    err_set(e, ERR_PARSE, "%s", what);
    return err_at(e, p->line, (uint32_t)(at - p->line_start) + 1);
}

static str skip_blanks(str s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = str_skip(s, 1);
    return s;
}

/* The word up to the next blank. */
static str word(str s)
{
    size_t n = 0;
    while (n < s.len && s.ptr[n] != ' ' && s.ptr[n] != '\t')
        n++;
    return str_sub(s, 0, n);
}

/* Undo \\ \" \n; the text itself if nothing is escaped. */
static str unescape(str s, arena *a)
{
    if (str_find_char(s, '\\') < 0)
        return s;
    char *out = arena_alloc(a, s.len + 1);
    size_t n = 0;
    if (!out)
        return STR_EMPTY;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '\\' && i + 1 < s.len) {
            char next = s.ptr[++i];
            if (next != '\\' && next != '"' && next != 'n')
                out[n++] = '\\'; /* an unknown escape stays as it is */
            c = next == 'n' ? '\n' : next;
        }
        out[n++] = c;
    }
    return (str){ out, n };
}

/* ---- families ---- */

exposition_meta *exposition_family(exposition_parser *p, str name)
{
    size_t index = (size_t)(uintptr_t)map_get(&p->families, name);
    if (index)
        return &p->metas.at[index - 1];
    if (p->metas.len == EXPOSITION_MAX_FAMILIES || vec_push(&p->metas, ((exposition_meta){ .family = name })) ||
        map_set(&p->families, name, (void *)(uintptr_t)p->metas.len))
        return NULL;
    return &vec_last(&p->metas);
}

static metric_type type_named(str s)
{
    for (metric_type t = METRIC_UNKNOWN; t <= METRIC_STATESET; t++)
        if (str_is(s, metric_type_name(t)))
            return t;
    return METRIC_UNKNOWN; /* "untyped" among them */
}

/* "# TYPE name counter", "# HELP name text", "# UNIT name seconds"; other comments mean nothing. */
static err_kind read_family_comment(exposition_parser *p, str line, err *e)
{
    str s = skip_blanks(str_skip(line, 1)), kind = word(s);
    if (!str_is(kind, "TYPE") && !str_is(kind, "HELP") && !str_is(kind, "UNIT"))
        return OK;
    s = skip_blanks(str_skip(s, kind.len));
    str name = word(s), text = skip_blanks(str_skip(s, name.len));
    if (name.len > 1 && name.ptr[0] == '"' && name.ptr[name.len - 1] == '"')
        name = str_sub(name, 1, name.len - 2);
    if (str_empty(name))
        return fail(p, line.ptr, e, "a comment of this kind needs a metric name");
    exposition_meta *m = exposition_family(p, name);
    if (!m)
        return p->metas.len == EXPOSITION_MAX_FAMILIES ? fail(p, line.ptr, e, "too many metric families")
                                                       : err_nomem(e);
    if (kind.ptr[0] == 'T')
        m->type = type_named(str_trim(text));
    else if (kind.ptr[0] == 'U')
        m->unit = str_trim(text);
    else
        m->help = unescape(text, &p->keep);
    return OK;
}

/* The line at the front of *rest without its end; *rest goes on behind it. */
static str next_line(str *rest)
{
    ptrdiff_t end = str_find_char(*rest, '\n');
    str line = end < 0 ? *rest : str_of(rest->ptr, (size_t)end);
    *rest = str_skip(*rest, line.len + 1);
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    return line;
}

static bool is_end(const exposition_parser *p, str line)
{
    return p->openmetrics && str_is(word(skip_blanks(str_skip(line, 1))), "EOF");
}

/* What was taken for known so far has changed: read the comments of the page up to `end`. */
static err_kind read_skipped(exposition_parser *p, const char *end, err *e)
{
    const char *line_start = p->line_start;
    uint32_t line_number = p->line;
    p->known = NULL;
    p->line = 0;
    vec_clear(&p->hashes);
    for (str rest = str_of(p->text.ptr, (size_t)(end - p->text.ptr)); rest.len;) {
        p->line_start = rest.ptr;
        p->line++;
        str line = skip_blanks(next_line(&rest));
        if (!line.len || line.ptr[0] != '#' || is_end(p, line))
            continue;
        if (read_family_comment(p, line, e))
            return e ? e->kind : ERR_PARSE;
        if (vec_push(&p->hashes, hash_str(line, 0)))
            return err_nomem(e);
    }
    p->line_start = line_start;
    p->line = line_number;
    return OK;
}

static err_kind read_comment(exposition_parser *p, str line, err *e)
{
    if (is_end(p, line)) {
        p->ended = true;
        return OK;
    }
    uint64_t hash = hash_str(line, 0);
    if (p->known && p->comment < p->known_count && p->known[p->comment] == hash) {
        p->comment++;
        return OK;
    }
    if (p->known && read_skipped(p, p->line_start, e))
        return e ? e->kind : ERR_PARSE;
    if (read_family_comment(p, line, e))
        return e ? e->kind : ERR_PARSE;
    return vec_push(&p->hashes, hash) ? err_nomem(e) : OK; /* a broken one is never known */
}

void exposition_know_comments(exposition_parser *p, const uint64_t *hashes, size_t n)
{
    p->known = n ? hashes : NULL;
    p->known_count = n;
}

bool exposition_comments_known(const exposition_parser *p) { return p->known && p->comment == p->known_count; }

const uint64_t *exposition_comment_hashes(const exposition_parser *p, size_t *ret_n)
{
    *ret_n = p->hashes.len;
    return p->hashes.at;
}

void exposition_expect(exposition_parser *p, str series) { p->expected = series; }

static const char *const suffixes[] = {
    "_bucket", "_sum", "_count", "_total", "_created", "_info", "_gsum", "_gcount"
};

static metric_type type_of(const exposition_parser *p, str name)
{
    size_t index = (size_t)(uintptr_t)map_get(&p->families, name);
    for (size_t i = 0; !index && i < COUNT_OF(suffixes); i++) {
        str suffix = str_from(suffixes[i]);
        if (str_ends(name, suffix))
            index = (size_t)(uintptr_t)map_get(&p->families, str_sub(name, 0, name.len - suffix.len));
    }
    return index ? p->metas.at[index - 1].type : METRIC_UNKNOWN;
}

/* ---- one line ---- */

/* Where the series ends: behind '}', or at the first blank when there is no brace. 0: not closed. */
static size_t series_len(str line)
{
    size_t i = 0;
    while (i < line.len && line.ptr[i] != '{' && line.ptr[i] != ' ' && line.ptr[i] != '\t')
        i++;
    size_t name_end = i;
    while (i < line.len && (line.ptr[i] == ' ' || line.ptr[i] == '\t'))
        i++;
    if (i == line.len || line.ptr[i] != '{')
        return name_end;
    for (bool quoted = false; i < line.len; i++) {
        char c = line.ptr[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (c == '}' && !quoted)
            return i + 1;
    }
    return 0;
}

/* The expected series stands at the front: its text, then a blank, and no brace where it has none. */
static bool as_expected(str line, str expected)
{
    if (!expected.len || line.len <= expected.len ||
        (line.ptr[expected.len] != ' ' && line.ptr[expected.len] != '\t') ||
        memcmp(line.ptr, expected.ptr, expected.len) != 0)
        return false;
    str behind = skip_blanks(str_skip(line, expected.len));
    return expected.ptr[expected.len - 1] == '}' || !behind.len || behind.ptr[0] != '{';
}

/* Up to fifteen digits with a point somewhere among them: exact in a double, and one division rounds once (Clinger,
 * "How to Read Floating Point Numbers Accurately", 1990). Anything else takes the long way. */
static bool parse_value(str s, double *ret)
{
    static const double powers[] = {
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15
    };
    uint64_t digits = 0;
    size_t after_point = 0, n = 0;
    bool point = false;
    if (s.len > 16)
        return str_to_double(s, ret);
    for (size_t i = 0; i < s.len; i++) {
        unsigned d = (unsigned char)s.ptr[i] - '0';
        if (d <= 9) {
            digits = digits * 10 + d;
            after_point += point;
            n++;
        } else if (s.ptr[i] == '.' && !point) {
            point = true;
        } else {
            return str_to_double(s, ret);
        }
    }
    if (n == 0 || n > 15 || after_point == n || (point && !after_point))
        return str_to_double(s, ret);
    *ret = after_point ? (double)digits / powers[after_point] : (double)digits;
    return true;
}

static bool parse_time(const exposition_parser *p, str s, int64_t *ret_ms)
{
    double seconds;
    if (!p->openmetrics)
        return str_to_i64(s, ret_ms);
    if (!str_to_double(s, &seconds) || !(fabs(seconds) < 9e15))
        return false;
    return *ret_ms = (int64_t)llround(seconds * 1000), true;
}

/* Behind the value and its time: nothing, or "# " and an exemplar. */
static err_kind read_end(exposition_parser *p, str s, exposition_line *ret, err *e)
{
    if (str_empty(s))
        return OK;
    if (s.ptr[0] != '#')
        return fail(p, s.ptr, e, "unexpected text behind the timestamp");
    p->exemplar = skip_blanks(str_skip(s, 1));
    ret->exemplars = p->openmetrics;
    return OK;
}

static err_kind read_line(exposition_parser *p, str line, exposition_line *ret, err *e)
{
    bool expected = as_expected(line, p->expected);
    size_t n = expected ? p->expected.len : series_len(line);
    if (n == 0)
        return fail(p, line.ptr, e,
                    str_find_char(line, '{') >= 0 ? "the label braces are not closed"
                                                  : "the line does not start with a metric name");
    *ret = (exposition_line){ .series = str_sub(line, 0, n), .as_expected = expected };
    str s = skip_blanks(str_skip(line, n)), value = word(s);
    if (str_empty(value))
        return fail(p, line.ptr + n, e, "a value is missing behind the series");
    if (!parse_value(value, &ret->v))
        return fail(p, value.ptr, e, "the value is not a number");
    if (isnan(ret->v))
        ret->v = normal_nan(); /* never let a page spell the staleness marker */
    s = skip_blanks(str_skip(s, value.len));
    if (str_empty(s) || s.ptr[0] == '#')
        return read_end(p, s, ret, e);
    str time = word(s);
    if (!parse_time(p, time, &ret->t_ms))
        return fail(p, time.ptr, e, "the timestamp is not a number");
    ret->has_time = true;
    return read_end(p, skip_blanks(str_skip(s, time.len)), ret, e);
}

int exposition_next_line(exposition_parser *p, exposition_line *ret, err *e)
{
    if (p->proto)
        return proto_next_line(p, ret, e);
    while (p->rest.len && !p->ended) {
        p->line_start = p->rest.ptr;
        p->line++;
        str line = skip_blanks(next_line(&p->rest));
        if (str_empty(line))
            continue;
        if (line.ptr[0] == '#') {
            if (read_comment(p, line, e))
                return -1;
            continue;
        }
        if (read_line(p, line, ret, e))
            return -1;
        p->series = ret->series;
        return 1;
    }
    if (p->openmetrics && !p->ended) {
        err_set(e, ERR_PARSE, "the page does not end with # EOF: it was cut off on its way");
        err_at(e, p->line, 1);
        return -1;
    }
    if (p->known && p->comment != p->known_count && read_skipped(p, p->text.ptr + p->text.len, e))
        return -1;
    return 0;
}

/* ---- labels of the last line ---- */

/* "text" at the front of *s into *ret, unescaped. */
static err_kind quoted(exposition_parser *p, str *s, str *ret, err *e)
{
    if (str_empty(*s) || s->ptr[0] != '"')
        return fail(p, s->ptr, e, "a label value must stand in double quotes");
    size_t i = 1;
    while (i < s->len && s->ptr[i] != '"')
        i += s->ptr[i] == '\\' ? 2 : 1;
    if (i >= s->len)
        return fail(p, s->ptr, e, "a label value is not closed");
    *ret = unescape(str_sub(*s, 1, i - 1), &p->scratch);
    if (!ret->ptr)
        return err_nomem(e);
    if (ret->len > LABEL_MAX_BYTES)
        return fail(p, s->ptr, e, "a label value is too long");
    if (!str_utf8_valid(*ret))
        return fail(p, s->ptr, e, "a label value is not UTF-8");
    *s = skip_blanks(str_skip(*s, i + 1));
    return OK;
}

/* One of  name="value"  "quoted name"="value"  "metric name"  off the front of *s. */
static err_kind read_label(exposition_parser *p, str *s, label *ret, err *e)
{
    const char *at = s->ptr;
    bool name_quoted = s->len && s->ptr[0] == '"';
    if (name_quoted) {
        if (quoted(p, s, &ret->name, e))
            return ERR_PARSE;
    } else {
        size_t n = 0;
        while (n < s->len && s->ptr[n] != '=' && s->ptr[n] != ' ' && s->ptr[n] != ',' && s->ptr[n] != '}')
            n++;
        ret->name = str_sub(*s, 0, n);
        if (!label_name_valid(ret->name))
            return fail(p, at, e, "a label name is missing or has a character that is not allowed");
        *s = skip_blanks(str_skip(*s, n));
    }
    if (s->len && s->ptr[0] == '=') {
        *s = skip_blanks(str_skip(*s, 1));
        return quoted(p, s, &ret->value, e);
    }
    if (!name_quoted)
        return fail(p, s->ptr, e, "\"=\" is missing behind a label name");
    *ret = (label){ METRIC_NAME, ret->name };
    return OK;
}

static err_kind read_labels(exposition_parser *p, str s, size_t *n, err *e)
{
    s = skip_blanks(s);
    while (s.len && s.ptr[0] != '}') {
        if (*n == LABELS_MAX)
            return fail(p, s.ptr, e, "too many labels");
        if (read_label(p, &s, &p->at[(*n)++], e))
            return ERR_PARSE;
        if (s.len && s.ptr[0] == ',')
            s = skip_blanks(str_skip(s, 1));
        else if (s.len && s.ptr[0] != '}')
            return fail(p, s.ptr, e, "a comma is missing between labels");
    }
    return OK;
}

size_t exposition_format_bound(char out[NUM_DOUBLE_MAX + 2], double v)
{
    size_t n = num_format_double(out, v);
    bool whole = true;
    for (size_t i = 0; i < n; i++)
        whole = whole && ((out[i] >= '0' && out[i] <= '9') || out[i] == '-');
    if (whole) {
        memcpy(out + n, ".0", 3);
        n += 2;
    }
    return n;
}

/* le="1" and le="1.0" are one bucket: Prometheus 3 writes them as OpenMetrics does, whatever the page says. */
void exposition_normalise(label *at, size_t n, metric_type type, arena *a)
{
    bool buckets = type == METRIC_HISTOGRAM || type == METRIC_GAUGE_HISTOGRAM;
    for (size_t i = 0; i < n; i++) {
        char text[NUM_DOUBLE_MAX + 2];
        double v;
        if (!(buckets && str_is(at[i].name, "le")) && !(type == METRIC_SUMMARY && str_is(at[i].name, "quantile")))
            continue;
        if (!str_to_double(at[i].value, &v))
            continue;
        str spelled = arena_str(a, str_of(text, exposition_format_bound(text, v)));
        if (spelled.ptr)
            at[i].value = spelled;
    }
}

err_kind exposition_labels(exposition_parser *p, labels *ret, metric_type *ret_type, err *e)
{
    if (p->proto)
        return proto_labels(p, ret, ret_type, e);
    arena_reset(&p->scratch);
    ptrdiff_t brace = str_find_char(p->series, '{');
    str name = str_trim(brace < 0 ? p->series : str_sub(p->series, 0, (size_t)brace));
    size_t n = 0;
    if (!str_empty(name)) {
        if (!metric_name_valid(name))
            return fail(p, name.ptr, e, "the metric name has a character that is not allowed");
        p->at[n++] = (label){ METRIC_NAME, name };
    }
    if (brace >= 0 && read_labels(p, str_skip(p->series, (size_t)brace + 1), &n, e))
        return e ? e->kind : ERR_PARSE;
    if (labels_normalise(p->at, &n, e)) {
        if (e)
            e->kind = ERR_PARSE;
        err_at(e, p->line, 1);
        return ERR_PARSE;
    }
    *ret = (labels){ p->at, n };
    name = labels_name(*ret);
    if (str_empty(name))
        return fail(p, p->series.ptr, e, "the series has no metric name");
    if (ret_type && p->known && read_skipped(p, p->line_start, e))
        return e ? e->kind : ERR_PARSE;
    if (ret_type) {
        *ret_type = type_of(p, name);
        exposition_normalise(p->at, n, *ret_type, &p->scratch);
    }
    return OK;
}

/* {labels} value [time]: https://prometheus.io/docs/specs/om/open_metrics_spec/#exemplars */
err_kind exposition_exemplar(exposition_parser *p, unsigned i, arena *a, exemplar *ret, err *e)
{
    if (p->proto)
        return proto_exemplar(p, i, a, ret, e);
    str s = p->exemplar;
    size_t n = 0;
    ptrdiff_t end = (ptrdiff_t)series_len(s);
    if (!s.len || s.ptr[0] != '{' || !end)
        return fail(p, s.len ? s.ptr : p->line_start, e, "an exemplar must begin with its labels in braces");
    if (read_labels(p, str_sub(s, 1, (size_t)end - 1), &n, e))
        return ERR_PARSE;
    str rest = skip_blanks(str_skip(s, (size_t)end)), value = word(rest),
        time = word(skip_blanks(str_skip(rest, value.len)));
    *ret = (exemplar){ 0 };
    if (!str_to_double(value, &ret->v))
        return fail(p, value.len ? value.ptr : s.ptr, e, "the value of an exemplar is not a number");
    if (time.len && !parse_time(p, time, &ret->t_ms))
        return fail(p, time.ptr, e, "the timestamp of an exemplar is not a number");
    label *at = arena_array(a, label, n);
    for (size_t k = 0; at && k < n; k++) {
        at[k] = (label){ arena_str(a, p->at[k].name), arena_str(a, p->at[k].value) };
        if (!at[k].name.ptr || !at[k].value.ptr)
            at = NULL;
    }
    ret->labels = (labels){ at, n };
    return at ? OK : err_nomem(e);
}

int exposition_next(exposition_parser *p, exposition_sample *ret, err *e)
{
    exposition_line line;
    int more = exposition_next_line(p, &line, e);
    if (more != 1)
        return more;
    *ret = (exposition_sample){ .v = line.v, .has_time = line.has_time, .t_ms = line.t_ms };
    return exposition_labels(p, &ret->labels, &ret->type, e) ? -1 : 1;
}
