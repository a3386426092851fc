#include "store/export.h"
#include "base/file.h"
#include <stdlib.h>

#define EXPORT_FLUSH_BYTES (256u << 10)
#define EXPORT_BUFFER_MAX_BYTES (64u << 20) /* a line of 128 labels of 64 KiB each takes 8 MiB, escaped 16 */
#define EXPORT_NAMES_MAX_BYTES (64u << 20)

typedef struct place { store_selection *in; size_t i; str name; } place;

typedef struct export {
    vec(store_selection *) selections;
    vec(place) series;         /* by metric name, then labels; each label set once or several times in a row */
    arena names;
    vec(str) columns;          /* of CSV */
    sample_vec samples;
    buf out;
    export_format format;
    str family;                /* of the lines before */
    int fd;
    const char *path;
    export_receipt told;
    err *e;
} export;

static void export_done(export *x)
{
    for (size_t i = 0; i < x->selections.len; i++)
        store_select_free(x->selections.at[i]);
    vec_done(&x->selections);
    vec_done(&x->series);
    vec_done(&x->columns);
    vec_done(&x->samples);
    arena_done(&x->names);
    buf_done(&x->out);
}

static err_kind flush(export *x, size_t keep)
{
    if (buf_failed(&x->out))
        return x->out.failed == ERR_LIMIT ? err_set(x->e, ERR_LIMIT, "cannot export: a line is too long") : err_nomem(x->e);
    if (x->out.len <= keep)
        return OK;
    err_kind k = file_write_all(x->fd, x->out.ptr, x->out.len, x->path, x->e);
    buf_reset(&x->out);
    return k;
}

/* ---- which series ---- */

static int by_name(const void *va, const void *vb)
{
    const place *a = va, *b = vb;
    int order = str_cmp(a->name, b->name);
    return order ? order : labels_cmp(store_select_labels(a->in, a->i), store_select_labels(b->in, b->i));
}

static err_kind gather(export *x, store *s, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms)
{
    static const matcher_set everything = { 0 };
    for (size_t i = 0; i < MAX(n, 1); i++) {
        store_selection *sel;
        const matcher_set *set = n ? &sets[i] : &everything;
        err_kind k = store_select(s, set->at, set->len, from_ms, to_ms, NULL, &sel, x->e);
        if (k)
            return k;
        if (vec_push(&x->selections, sel)) {
            store_select_free(sel);
            return err_nomem(x->e);
        }
        for (size_t j = 0; j < store_select_len(sel); j++)
            if (vec_push(&x->series, ((place){ sel, j, labels_name(store_select_labels(sel, j)) })))
                return err_nomem(x->e);
    }
    if (x->series.len > 1)
        qsort(x->series.at, x->series.len, sizeof *x->series.at, by_name);
    return OK;
}

static labels labels_at(const export *x, size_t i) { return store_select_labels(x->series.at[i].in, x->series.at[i].i); }

/* ---- lines ---- */

static void put_quoted(buf *out, str s)
{
    buf_append_char(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '\n')
            buf_append(out, STR("\\n"));
        else if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else
            buf_append_char(out, c);
    }
    buf_append_char(out, '"');
}

static void put_name(buf *out, str name, bool plain)
{
    if (plain)
        buf_append(out, name);
    else
        put_quoted(out, name);
}

/* name{a="b"}, or {"odd name","odd label"="b"} */
static void put_series(buf *out, labels l)
{
    str name = labels_name(l);
    bool plain = metric_name_valid(name);
    size_t n = 0;
    if (plain)
        buf_append(out, name);
    buf_append_char(out, '{');
    if (!plain && name.len) {
        put_quoted(out, name);
        n++;
    }
    for (size_t i = 0; i < l.len; i++) {
        if (str_eq(l.at[i].name, METRIC_NAME))
            continue;
        if (n++)
            buf_append_char(out, ',');
        put_name(out, l.at[i].name, label_name_valid(l.at[i].name));
        buf_append_char(out, '=');
        put_quoted(out, l.at[i].value);
    }
    buf_append_char(out, '}');
}

/* Milliseconds as seconds: 1700000000.015 */
static void put_seconds(buf *out, int64_t t_ms)
{
    uint64_t ms = t_ms < 0 ? 0 - (uint64_t)t_ms : (uint64_t)t_ms;
    buf_printf(out, "%s%" PRIu64, t_ms < 0 ? "-" : "", ms / 1000);
    if (ms % 1000)
        buf_printf(out, ".%03" PRIu64, ms % 1000);
}

static err_kind write_exposition(export *x, labels l, const sample_vec *samples)
{
    bool open = x->format == EXPORT_OPENMETRICS;
    str name = labels_name(l);
    if (open && !str_eq(name, x->family) && name.len) {
        buf_append(&x->out, STR("# TYPE "));
        put_name(&x->out, name, metric_name_valid(name));
        buf_append(&x->out, STR(" unknown\n"));
        x->family = name;
    }
    AUTO(buf_done) buf series = BUF_INIT(EXPORT_BUFFER_MAX_BYTES);
    put_series(&series, l);
    if (buf_failed(&series))
        return err_nomem(x->e);
    err_kind k = OK;
    for (size_t i = 0; !k && i < samples->len; i++) {
        sample s = samples->at[i];
        buf_append(&x->out, buf_str(&series));
        buf_append_char(&x->out, ' ');
        buf_append_double(&x->out, s.v);
        buf_append_char(&x->out, ' ');
        if (open)
            put_seconds(&x->out, s.t_ms);
        else
            buf_append_i64(&x->out, s.t_ms);
        buf_append_char(&x->out, '\n');
        k = flush(x, EXPORT_FLUSH_BYTES);
    }
    return k;
}

static void put_field(buf *out, str s)
{
    bool quote = false;
    for (size_t i = 0; i < s.len && !quote; i++)
        quote = memchr(",\"\r\n", s.ptr[i], 4) != NULL;
    if (!quote) {
        buf_append(out, s);
        return;
    }
    buf_append_char(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '"')
            buf_append_char(out, '"');
        buf_append_char(out, s.ptr[i]);
    }
    buf_append_char(out, '"');
}

static err_kind write_csv(export *x, labels l, const sample_vec *samples)
{
    AUTO(buf_done) buf tail = BUF_INIT(EXPORT_BUFFER_MAX_BYTES);
    for (size_t i = 0; i < x->columns.len; i++) {
        buf_append_char(&tail, ',');
        put_field(&tail, labels_get(l, x->columns.at[i]));
    }
    buf_append_char(&tail, '\n');
    if (buf_failed(&tail))
        return err_nomem(x->e);
    err_kind k = OK;
    for (size_t i = 0; !k && i < samples->len; i++) {
        put_seconds(&x->out, samples->at[i].t_ms);
        buf_append_char(&x->out, ',');
        buf_append_double(&x->out, samples->at[i].v);
        buf_append(&x->out, buf_str(&tail));
        k = flush(x, EXPORT_FLUSH_BYTES);
    }
    return k;
}

static int by_text(const void *a, const void *b) { return str_cmp(*(const str *)a, *(const str *)b); }

static err_kind write_csv_header(export *x)
{
    AUTO(map_done) map seen = MAP_INIT;
    for (size_t i = 0; i < x->series.len; i++) {
        labels l = labels_at(x, i);
        for (size_t j = 0; j < l.len; j++) {
            if (map_has(&seen, l.at[j].name))
                continue;
            str name = arena_str(&x->names, l.at[j].name);
            if (!name.ptr || map_set(&seen, name, x) || vec_push(&x->columns, name))
                return err_nomem(x->e);
        }
    }
    if (x->columns.len > 1)
        qsort(x->columns.at, x->columns.len, sizeof *x->columns.at, by_text);
    buf_append(&x->out, STR("timestamp,value"));
    for (size_t i = 0; i < x->columns.len; i++) {
        buf_append_char(&x->out, ',');
        put_field(&x->out, x->columns.at[i]);
    }
    buf_append_char(&x->out, '\n');
    return OK;
}

/* ---- the whole ---- */

static void drop_stale(sample_vec *v)
{
    size_t kept = 0;
    for (size_t i = 0; i < v->len; i++)
        if (!is_stale(v->at[i].v))
            v->at[kept++] = v->at[i];
    v->len = kept;
}

static err_kind write_series(export *x, size_t i)
{
    place p = x->series.at[i];
    labels l = labels_at(x, i);
    vec_clear(&x->samples);
    err_kind k = store_select_samples(p.in, p.i, &x->samples, x->e);
    if (k)
        return k;
    drop_stale(&x->samples);
    x->told.histograms += store_select_has_histograms(p.in, p.i);
    x->told.series += x->samples.len > 0;
    x->told.samples += x->samples.len;
    return x->format == EXPORT_CSV ? write_csv(x, l, &x->samples) : write_exposition(x, l, &x->samples);
}

err_kind store_export(store *s, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms, export_format format,
                      int fd, const char *path, export_receipt *ret, err *e)
{
    AUTO(export_done) export x = { .names = ARENA_INIT(EXPORT_NAMES_MAX_BYTES), .out = BUF_INIT(EXPORT_BUFFER_MAX_BYTES),
                                   .format = format, .fd = fd, .path = path, .e = e };
    err_kind k = gather(&x, s, sets, n, from_ms, to_ms);
    if (!k && format == EXPORT_CSV)
        k = write_csv_header(&x);
    for (size_t i = 0; !k && i < x.series.len; i++)
        if (i == 0 || !labels_eq(labels_at(&x, i - 1), labels_at(&x, i))) /* two selectors may both have it */
            k = write_series(&x, i);
    if (!k && format == EXPORT_OPENMETRICS)
        buf_append(&x.out, STR("# EOF\n"));
    if (!k)
        k = flush(&x, 0);
    *ret = x.told;
    return k;
}
