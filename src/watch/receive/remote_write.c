#include "watch/receive/remote_write.h"

/* ---- the protobuf wire format: a field is a key (number << 3 | type) and its payload ---- */
typedef struct pb {
    const uint8_t *at, *end;
} pb;
typedef enum pb_type { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 } pb_type;
typedef struct pb_field {
    uint32_t number;
    pb_type type;
    uint64_t value;
    str bytes;
} pb_field;

static pb pb_of(str s)
{
    const uint8_t *p = (const uint8_t *)s.ptr;
    return (pb){ p, p ? p + s.len : p };
}

static bool pb_varint(pb *r, uint64_t *ret)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        uint8_t b = *r->at++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *ret = v;
            return true;
        }
    }
    return false;
}

static bool pb_fixed(pb *r, size_t n, uint64_t *ret)
{
    uint64_t v = 0;
    if ((size_t)(r->end - r->at) < n)
        return false;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)r->at[i] << (8 * i);
    r->at += n;
    *ret = v;
    return true;
}

/* 1: a field is in *f. 0: the end of the message. -1: the bytes are not protobuf. */
static int pb_next(pb *r, pb_field *f)
{
    uint64_t key;
    if (r->at == r->end)
        return 0;
    if (!pb_varint(r, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff)
        return -1;
    *f = (pb_field){ .number = (uint32_t)(key >> 3), .type = (pb_type)(key & 7) };
    switch (key & 7) {
    case PB_VARINT: return pb_varint(r, &f->value) ? 1 : -1;
    case PB_FIXED64: return pb_fixed(r, 8, &f->value) ? 1 : -1;
    case PB_FIXED32: return pb_fixed(r, 4, &f->value) ? 1 : -1;
    case PB_BYTES:
        if (!pb_varint(r, &f->value) || f->value > (uint64_t)(r->end - r->at))
            return -1;
        f->bytes = str_of((const char *)r->at, (size_t)f->value);
        r->at += f->value;
        return 1;
    default: /* groups (3, 4) left the language long ago */ return -1;
    }
}

static bool is_message(const pb_field *f, uint32_t number) { return f->number == number && f->type == PB_BYTES; }

static err_kind broken(err *e, const char *what, size_t series)
{
    return err_set(e, ERR_PARSE, "cannot read remote write request: broken %s in series %zu", what, series);
}

/* ---- first pass: how much there is ---- */
static err_kind count_series(str message, remote_write_stats *stats, err *e)
{
    pb r = pb_of(message);
    pb_field f;
    int more;
    while ((more = pb_next(&r, &f)) > 0) {
        stats->samples += is_message(&f, 2);
        stats->exemplars += is_message(&f, 3);
        stats->histograms += is_message(&f, 4);
    }
    return more < 0 ? broken(e, "time series", stats->series) : OK;
}

static err_kind count_request(str body, remote_write_stats *stats, err *e)
{
    pb r = pb_of(body);
    pb_field f;
    int more;
    while ((more = pb_next(&r, &f)) > 0) {
        stats->metadata += is_message(&f, 3);
        if (!is_message(&f, 1))
            continue;
        if (count_series(f.bytes, stats, e))
            return ERR_PARSE;
        stats->series++;
    }
    if (more < 0)
        return broken(e, "message", stats->series);
    if (stats->samples > REMOTE_WRITE_MAX_SAMPLES)
        return err_set(e, ERR_LIMIT, "remote write request has %zu samples, the limit is %d", stats->samples,
                       REMOTE_WRITE_MAX_SAMPLES);
    return OK;
}

/* ---- second pass: labels and samples ---- */
static int read_label(str message, label *ret)
{
    pb r = pb_of(message);
    pb_field f;
    int more;
    *ret = (label){ STR_EMPTY, STR_EMPTY };
    while ((more = pb_next(&r, &f)) > 0) {
        if (is_message(&f, 1))
            ret->name = f.bytes;
        else if (is_message(&f, 2))
            ret->value = f.bytes;
    }
    return more;
}

static int read_sample(str message, sample *ret)
{
    pb r = pb_of(message);
    pb_field f;
    int more;
    *ret = (sample){ 0, 0 };
    while ((more = pb_next(&r, &f)) > 0) {
        if (f.number == 1 && f.type == PB_FIXED64)
            memcpy(&ret->v, &f.value, sizeof ret->v);
        else if (f.number == 2 && f.type == PB_VARINT)
            ret->t_ms = (int64_t)f.value;
    }
    return more;
}

static err_kind check_labels(label *at, size_t *n, size_t series, err *e)
{
    for (size_t i = 0; i < *n; i++) {
        if (at[i].name.len > LABEL_MAX_BYTES || at[i].value.len > LABEL_MAX_BYTES)
            return err_set(e, ERR_LIMIT, "series %zu has a label longer than %d bytes", series, LABEL_MAX_BYTES);
        if (!str_utf8_valid(at[i].name) || !str_utf8_valid(at[i].value))
            return err_set(e, ERR_INVALID, "series %zu has a label that is not UTF-8", series);
    }
    if (labels_normalise(at, n, e))
        return err_context(e, "series %zu", series);
    labels l = { at, *n };
    if (!metric_name_valid(labels_name(l)))
        return err_set(e, ERR_INVALID, "series %zu has no valid metric name: \"%" STR_FMT "\"", series,
                       STR_ARG(labels_name(l)));
    for (size_t i = 0; i < *n; i++) {
        if (!label_name_valid(at[i].name))
            return err_set(e, ERR_INVALID, "series %zu has the invalid label name \"%" STR_FMT "\"", series,
                           STR_ARG(at[i].name));
    }
    return OK;
}

static err_kind collect_labels(str message, size_t series, label at[LABELS_MAX], size_t *ret_n, err *e)
{
    pb r = pb_of(message);
    pb_field f;
    size_t n = 0;
    while (pb_next(&r, &f) > 0) {
        if (!is_message(&f, 1))
            continue;
        if (n == LABELS_MAX)
            return err_set(e, ERR_LIMIT, "series %zu has more than %d labels", series, LABELS_MAX);
        if (read_label(f.bytes, &at[n++]) < 0)
            return broken(e, "label", series);
    }
    *ret_n = n;
    return check_labels(at, ret_n, series, e);
}

static err_kind read_series(str message, size_t series, arena *a, sample_row *rows, size_t *n, err *e)
{
    label at[LABELS_MAX];
    size_t len = 0, from = *n;
    err_kind k = collect_labels(message, series, at, &len, e);
    if (k)
        return k;
    label *copy = arena_dup(a, at, len * sizeof *at);
    uint64_t *ref = arena_new(a, uint64_t);
    if (!copy || !ref)
        return err_nomem(e);
    pb r = pb_of(message);
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        sample s;
        if (!is_message(&f, 2))
            continue;
        if (read_sample(f.bytes, &s) < 0) {
            *n = from;
            return broken(e, "sample", series);
        }
        rows[(*n)++] = (sample_row){ { copy, len }, ref, s.t_ms, s.v };
    }
    return OK;
}

err_kind remote_write_read(str body, arena *a, sample_row **ret, size_t *ret_n, remote_write_stats *stats, err *e)
{
    *stats = (remote_write_stats){ 0 };
    err_kind counted = count_request(body, stats, e);
    if (counted)
        return counted;
    sample_row *rows = arena_array(a, sample_row, MAX(stats->samples, 1));
    if (!rows)
        return err_nomem(e);
    pb r = pb_of(body);
    pb_field f;
    size_t n = 0, series = 0;
    while (pb_next(&r, &f) > 0) {
        if (!is_message(&f, 1))
            continue;
        err why = { 0 };
        err_kind k = read_series(f.bytes, series++, a, rows, &n, &why);
        if (k == ERR_PARSE || k == ERR_NOMEM) {
            if (e)
                *e = why;
            return k;
        }
        if (k && !stats->invalid++)
            stats->first = why;
    }
    *ret = rows;
    *ret_n = n;
    return OK;
}

err_kind remote_write_decode(str body, arena *a, sample_row **ret, size_t *ret_n, err *e)
{
    remote_write_stats stats;
    sample_row *rows;
    size_t n;
    err_kind k = remote_write_read(body, a, &rows, &n, &stats, e);
    if (k)
        return k;
    if (stats.invalid) {
        if (e)
            *e = stats.first;
        (void)err_context(e, "cannot take remote write request");
        return stats.first.kind;
    }
    *ret = rows;
    *ret_n = n;
    return OK;
}
