/* Text into the importer: the exposition formats, and CSV. */
#include "store/import.h"
#include <stdio.h>

/* ---- exposition ---- */

err_kind import_exposition(importer *i, str text, bool openmetrics, err *e)
{
    exposition_parser *p = exposition_new(text, openmetrics);
    exposition_sample s;
    err_kind k = p ? OK : err_nomem(e);
    for (int more; !k && (more = exposition_next(p, &s, e)) != 0;) {
        if (more < 0)
            k = ERR_PARSE;
        else if (!s.has_time)
            importer_leave_out(i, 1, "samples without a time");
        else
            k = importer_add(i, s.labels, &(sample){ s.t_ms, s.v }, 1, e);
    }
    exposition_free(p);
    return k;
}

/* ---- CSV: records ---- */

#define CSV_COLUMNS_MAX 4096
#define CSV_RECORD_MAX_BYTES (4u << 20)

typedef enum column_kind { COLUMN_LABEL, COLUMN_TIME, COLUMN_VALUE, COLUMN_SERIES } column_kind;
typedef struct column { str name; column_kind kind; labels labels; /* of COLUMN_SERIES */ } column;

typedef struct csv {
    str rest;
    uint32_t line;            /* of the record being read */
    uint32_t next_line;
    arena record;             /* unescaped fields */
    arena header;
    vec(str) fields;
    vec(column) columns;
    bool long_form;           /* a sample a row */
    size_t time;              /* its column */
    importer *to;
    err *e;
} csv;

static err_kind bad(csv *c, size_t field, const char *what)
{
    err_set(c->e, ERR_PARSE, "%s", what);
    return err_at(c->e, c->line, (uint32_t)field + 1);
}

/* How long the field is up to its closing quote; SIZE_MAX: there is none. */
static size_t quoted_len(str s)
{
    for (size_t n = 0; n < s.len; n++) {
        if (s.ptr[n] != '"')
            continue;
        if (n + 1 == s.len || s.ptr[n + 1] != '"')
            return n;
        n++; /* two stand for one */
    }
    return SIZE_MAX;
}

/* "…""…" without its quotes. c->rest stands behind the first quote, then behind the last. */
static err_kind quoted(csv *c, str *ret)
{
    size_t len = quoted_len(c->rest), n = 0;
    if (len == SIZE_MAX)
        return bad(c, c->fields.len, "a quote is not closed");
    char *out = arena_alloc(&c->record, len + 1);
    if (!out)
        return bad(c, c->fields.len, "a record is too long");
    for (size_t at = 0; at < len; at++) {
        char x = c->rest.ptr[at];
        at += x == '"'; /* the first of two */
        c->next_line += x == '\n';
        out[n++] = x;
    }
    c->rest = str_skip(c->rest, len + 1);
    return *ret = str_of(out, n), OK;
}

static err_kind plain(csv *c, str *ret)
{
    size_t n = 0;
    while (n < c->rest.len && c->rest.ptr[n] != ',' && c->rest.ptr[n] != '\n')
        n++;
    *ret = str_of(c->rest.ptr, n);
    if (n && ret->ptr[n - 1] == '\r' && (n == c->rest.len || c->rest.ptr[n] == '\n'))
        ret->len--;
    c->rest = str_skip(c->rest, n);
    return OK;
}

/* The next record into c->fields. ERR_NOT_FOUND at the end. */
static err_kind next_record(csv *c)
{
    vec_clear(&c->fields);
    arena_reset(&c->record);
    c->line = c->next_line++;
    if (str_empty(c->rest))
        return ERR_NOT_FOUND;
    for (;;) {
        str field;
        bool is_quoted = c->rest.len && c->rest.ptr[0] == '"';
        if (is_quoted)
            c->rest = str_skip(c->rest, 1);
        err_kind k = is_quoted ? quoted(c, &field) : plain(c, &field);
        if (k)
            return k;
        if (c->fields.len == CSV_COLUMNS_MAX)
            return bad(c, c->fields.len, "too many columns");
        if (vec_push(&c->fields, field))
            return err_nomem(c->e);
        if (str_starts(c->rest, STR("\r\n")))
            c->rest = str_skip(c->rest, 1);
        if (str_empty(c->rest))
            return OK;
        char end = c->rest.ptr[0];
        c->rest = str_skip(c->rest, 1);
        if (end == '\n')
            return OK;
        if (end != ',')
            return bad(c, c->fields.len - 1, "text behind a closing quote");
    }
}

/* ---- CSV: the header ---- */

static bool is_one_of(str s, const char *const *names)
{
    for (; *names; names++)
        if (str_eq_nocase(s, str_from(*names)))
            return true;
    return false;
}

/* A series as PromQL writes it is a line of exposition without its value. */
static err_kind series_column(csv *c, size_t i, column *col)
{
    str line = arena_printf(&c->header, "%" STR_FMT " 1\n", STR_ARG(col->name));
    exposition_parser *p = line.ptr ? exposition_new(line, false) : NULL;
    exposition_sample s;
    labels_builder b;
    err why = { 0 };
    if (!p)
        return err_nomem(c->e);
    int got = exposition_next(p, &s, &why);
    labels_start(&b, &c->header);
    for (size_t l = 0; got == 1 && l < s.labels.len; l++)
        labels_put(&b, s.labels.at[l].name, s.labels.at[l].value);
    labels view = labels_finish(&b);
    label *copy = arena_dup(&c->header, view.at, view.len * sizeof *view.at);
    exposition_free(p);
    if (got != 1)
        return bad(c, i, "a column is neither a label nor a series such as up{job=\"x\"}");
    if (b.failed || !copy)
        return err_nomem(c->e);
    col->labels = (labels){ copy, view.len };
    return OK;
}

static err_kind classify(csv *c)
{
    static const char *const times[] = { "timestamp", "time", "t", NULL }, *const values[] = { "value", "v", NULL };
    static const char *const names[] = { "metric", "name", NULL };
    size_t time_columns = 0;
    for (size_t i = 0; i < c->columns.len; i++) {
        column *col = &c->columns.at[i];
        if (is_one_of(col->name, times)) {
            col->kind = COLUMN_TIME;
            c->time = i;
            time_columns++;
        } else if (is_one_of(col->name, values)) {
            col->kind = COLUMN_VALUE;
            c->long_form = true;
        } else if (is_one_of(col->name, names)) {
            col->name = METRIC_NAME;
        }
    }
    if (time_columns != 1)
        return bad(c, 0, "the header needs one column \"timestamp\"");
    for (size_t i = 0; i < c->columns.len; i++) {
        column *col = &c->columns.at[i];
        if (col->kind != COLUMN_LABEL)
            continue;
        if (c->long_form && !str_eq(col->name, METRIC_NAME) && !label_name_valid(col->name))
            return bad(c, i, "a column's name is not that of a label");
        err_kind k = OK;
        if (!c->long_form) {
            col->kind = COLUMN_SERIES;
            k = series_column(c, i, col);
        }
        if (k)
            return k;
    }
    return OK;
}

static err_kind read_header(csv *c)
{
    err_kind k = next_record(c);
    if (k == ERR_NOT_FOUND)
        return bad(c, 0, "there is no header");
    for (size_t i = 0; !k && i < c->fields.len; i++) {
        str name = str_trim(c->fields.at[i]);
        column col = { .name = arena_str(&c->header, name) };
        if (!col.name.ptr || vec_push(&c->columns, col))
            k = err_nomem(c->e);
    }
    return k ? k : classify(c);
}

/* ---- CSV: rows ---- */

/* Numbers below 1e11 are seconds (until the year 5138), above milliseconds (from 1973 on). */
static bool parse_time(str s, int64_t *ret)
{
    double v;
    if (str_to_i64(s, ret)) {
        if (*ret > -100000000000 && *ret < 100000000000)
            *ret *= 1000;
        return true;
    }
    if (str_to_double(s, &v) && v > -1e11 && v < 1e11)
        return *ret = (int64_t)llround(v * 1000), true;
    return clock_parse_iso(s, ret);
}

static err_kind long_row(csv *c, int64_t t_ms)
{
    labels_builder b;
    double v = 0;
    bool has_value = false;
    labels_start(&b, &c->record);
    for (size_t i = 0; i < c->fields.len; i++) {
        const column *col = &c->columns.at[i];
        if (col->kind == COLUMN_VALUE && c->fields.at[i].len) {
            if (!str_to_double(c->fields.at[i], &v))
                return bad(c, i, "a value is not a number");
            has_value = true;
        } else if (col->kind == COLUMN_LABEL) {
            labels_put(&b, col->name, c->fields.at[i]);
        }
    }
    labels l = labels_finish(&b);
    if (b.failed)
        return bad(c, 0, "a row has too many labels");
    if (!has_value || l.len == 0)
        return importer_leave_out(c->to, 1, has_value ? "rows without labels" : "rows without a value"), OK;
    return importer_add(c->to, l, &(sample){ t_ms, v }, 1, c->e);
}

static err_kind wide_row(csv *c, int64_t t_ms)
{
    for (size_t i = 0; i < c->fields.len; i++) {
        sample s = { t_ms, 0 };
        if (c->columns.at[i].kind != COLUMN_SERIES || c->fields.at[i].len == 0)
            continue;
        if (!str_to_double(c->fields.at[i], &s.v))
            return bad(c, i, "a value is not a number");
        err_kind k = importer_add(c->to, c->columns.at[i].labels, &s, 1, c->e);
        if (k)
            return k;
    }
    return OK;
}

static err_kind read_row(csv *c)
{
    err_kind k = next_record(c);
    int64_t t_ms;
    if (k || (c->fields.len == 1 && c->fields.at[0].len == 0)) /* an empty line */
        return k;
    if (c->fields.len != c->columns.len)
        return bad(c, 0, "a row has another number of fields than the header");
    if (!parse_time(c->fields.at[c->time], &t_ms))
        return bad(c, c->time, "a time is neither RFC 3339 nor Unix seconds or milliseconds");
    return c->long_form ? long_row(c, t_ms) : wide_row(c, t_ms);
}

err_kind import_csv(importer *i, str text, err *e)
{
    csv c = { .rest = text, .next_line = 1, .record = ARENA_INIT(CSV_RECORD_MAX_BYTES), .header = ARENA_INIT(CSV_RECORD_MAX_BYTES), .to = i, .e = e };
    if (str_starts(c.rest, STR("\xef\xbb\xbf"))) /* a byte order mark, as spreadsheets write it */
        c.rest = str_skip(c.rest, 3);
    err_kind k = read_header(&c);
    while (!k)
        k = read_row(&c);
    vec_done(&c.fields);
    vec_done(&c.columns);
    arena_done(&c.record);
    arena_done(&c.header);
    return k == ERR_NOT_FOUND ? OK : k;
}
