#include "watch/receive/write_request.h"

#define KEEP_ROWS 100000u /* what an unusually large request may leave allocated */

enum { LABELS1 = 1, SAMPLES1 = 2, EXEMPLARS1 = 3, HISTOGRAMS1 = 4 };
enum { LABELS2 = 1, SAMPLES2 = 2, HISTOGRAMS2 = 3, EXEMPLARS2 = 4, METADATA2 = 5, START2 = 6 };

void write_request_init(write_request *q) { *q = (write_request){ .arena = arena_init(WRITE_MAX_ARENA) }; }

void write_request_done(write_request *q)
{
    vec_done(&q->series);
    vec_done(&q->rows);
    vec_done(&q->metas);
    arena_done(&q->arena);
}

static void reset(write_request *q, bool v2)
{
    if (q->rows.cap > KEEP_ROWS)
        vec_done(&q->rows);
    if (q->series.cap > KEEP_ROWS)
        vec_done(&q->series);
    vec_clear(&q->series);
    vec_clear(&q->rows);
    vec_clear(&q->metas);
    arena_reset(&q->arena);
    q->v2 = v2;
    q->symbol_count = q->invalid = 0;
}

static err_kind broken(const write_request *q, const char *what, err *e)
{
    return err_set(e, ERR_PARSE, "cannot read remote write request: broken %s in series %zu", what, q->series.len);
}

static err_kind too_many(const char *what, err *e)
{
    return err_set(e, ERR_LIMIT, "remote write request has more than %d %s", WRITE_MAX_SAMPLES, what);
}

/* ---- samples and histograms ---- */

/* What nearly every sender writes: 09 value 10 time. */
static bool read_plain_sample(str m, sample *ret)
{
    pb_reader r = pb_read(str_skip(m, 10));
    uint64_t t_ms;
    if (m.len < 11 || (uint8_t)m.ptr[0] != 0x09 || (uint8_t)m.ptr[9] != 0x10 || !pb_varint(&r, &t_ms) || r.at != r.end)
        return false;
    memcpy(&ret->v, m.ptr + 1, sizeof ret->v);
    ret->t_ms = (int64_t)t_ms;
    return true;
}

static err_kind push_row(write_request *q, sample_row row, err *e)
{
    if (q->rows.len == WRITE_MAX_SAMPLES)
        return too_many("samples", e);
    return vec_push(&q->rows, row) ? err_nomem(e) : OK;
}

static err_kind take_sample(write_request *q, write_series *s, str message, err *e)
{
    sample v;
    int64_t start_ms = 0;
    if (!read_plain_sample(message, &v) && !prompb_read_sample(message, &v, q->v2 ? &start_ms : NULL))
        return broken(q, "sample", e);
    s->row_count++;
    return push_row(q, (sample_row){ .t_ms = v.t_ms, .v = v.v, .start_ms = start_ms }, e);
}

static void note_invalid(write_request *q, const err *why)
{
    if (!q->invalid++)
        q->first_invalid = *why;
}

static err_kind take_histogram(write_request *q, write_series *s, str message, err *e)
{
    histogram_sample h;
    int64_t start_ms = 0;
    err why = { 0 };
    err_kind k = prompb_read_histogram(message, &q->arena, &h, q->v2 ? &start_ms : NULL, &why);
    if (!k && !is_stale(h.h->sum))
        k = histogram_check(h.h, &why);
    if (k == ERR_INVALID || k == ERR_LIMIT) {
        note_invalid(q, &why);
        return OK;
    }
    if (k) {
        if (e)
            *e = why;
        return k;
    }
    s->row_count++;
    return push_row(q, (sample_row){ .t_ms = h.t_ms, .v = h.h->sum, .histogram = h.h, .start_ms = start_ms }, e);
}

/* ---- one series: everything but its labels ---- */

/* Labels as bytes: those of a series lie together, behind one another, with every sender there is. One that mixes
 * them with other fields gets no key. */
typedef struct label_run {
    const char *from, *to;
    bool split;
} label_run;

static void run_extend(label_run *run, const pb_field *f, const uint8_t *field_at)
{
    if (run->from && run->to != (const char *)field_at)
        run->split = true;
    if (!run->from)
        run->from = (const char *)field_at;
    run->to = f->bytes.ptr + f->bytes.len;
}

static err_kind read_series1(write_request *q, write_series *s, err *e)
{
    pb_reader r = pb_read(s->message);
    pb_field f;
    label_run run = { 0 };
    err_kind k = OK;
    int more;
    for (const uint8_t *at = r.at; !k && (more = pb_next(&r, &f)) > 0; at = r.at) {
        if (f.type != PB_BYTES)
            continue;
        switch (f.number) {
        case LABELS1: run_extend(&run, &f, at); break;
        case SAMPLES1: k = take_sample(q, s, f.bytes, e); break;
        case EXEMPLARS1: s->exemplar_count++; break;
        case HISTOGRAMS1: k = take_histogram(q, s, f.bytes, e); break;
        default: break;
        }
    }
    if (k)
        return k;
    if (more < 0)
        return broken(q, "time series", e);
    s->has_key = run.from && !run.split;
    if (s->has_key)
        s->key = hash_bytes_wide(run.from, (size_t)(run.to - run.from));
    return OK;
}

/* What the references mean, whatever numbers a request gave them. */
typedef struct ref_run {
    hash_wide of[2 * LABELS_MAX + 4];
    size_t len;
    bool failed;
} ref_run;

static void run_ref(const write_request *q, ref_run *run, uint64_t ref)
{
    if (run->len == COUNT_OF(run->of) || ref >= q->symbol_count)
        run->failed = true;
    else
        run->of[run->len++] = q->symbol_keys[ref];
}

static void run_refs(const write_request *q, ref_run *run, const pb_field *f)
{
    if (f->type == PB_VARINT)
        run_ref(q, run, f->value);
    for (pb_reader r = pb_read(f->bytes); r.at < r.end && !run->failed;) {
        uint64_t ref = 0;
        run->failed = !pb_varint(&r, &ref);
        run_ref(q, run, ref);
    }
}

static void run_metadata(const write_request *q, ref_run *run, str message)
{
    pb_reader r = pb_read(message);
    pb_field f;
    if (run->len > 2 * LABELS_MAX)
        run->failed = true;
    while (!run->failed && pb_next(&r, &f) > 0) {
        if (f.number == 1 && run->len < COUNT_OF(run->of))
            run->of[run->len++] = (hash_wide){ f.value, 0 };
        else if (f.number == 3 || f.number == 4)
            run_ref(q, run, f.value);
    }
}

static err_kind read_series2(write_request *q, write_series *s, err *e)
{
    pb_reader r = pb_read(s->message);
    pb_field f;
    ref_run run;
    err_kind k = OK;
    int more;
    run.len = 0;
    run.failed = false;
    while (!k && (more = pb_next(&r, &f)) > 0) {
        if (f.number == LABELS2)
            run_refs(q, &run, &f);
        else if (f.number == START2 && f.type == PB_VARINT)
            s->start_ms = (int64_t)f.value;
        else if (pb_is(&f, SAMPLES2, PB_BYTES))
            k = take_sample(q, s, f.bytes, e);
        else if (pb_is(&f, HISTOGRAMS2, PB_BYTES))
            k = take_histogram(q, s, f.bytes, e);
        else if (pb_is(&f, METADATA2, PB_BYTES))
            run_metadata(q, &run, f.bytes);
        s->exemplar_count += pb_is(&f, EXEMPLARS2, PB_BYTES);
    }
    if (k)
        return k;
    if (more < 0)
        return broken(q, "time series", e);
    s->has_key = run.len && !run.failed;
    if (s->has_key)
        s->key = hash_bytes_wide(run.of, run.len * sizeof *run.of);
    for (size_t i = s->first_row; s->start_ms && i < q->rows.len; i++) {
        if (!q->rows.at[i].start_ms)
            q->rows.at[i].start_ms = s->start_ms;
    }
    return OK;
}

/* ---- the request ---- */
static err_kind take_series(write_request *q, str message, err *e)
{
    if (q->series.len == WRITE_MAX_SAMPLES)
        return too_many("series", e);
    write_series s = { .message = message, .first_row = (uint32_t)q->rows.len };
    err_kind k = q->v2 ? read_series2(q, &s, e) : read_series1(q, &s, e);
    if (k)
        return k;
    return vec_push(&q->series, s) ? err_nomem(e) : OK;
}

static err_kind take_metadata(write_request *q, str message, err *e)
{
    exposition_meta m;
    if (q->metas.len == WRITE_MAX_SAMPLES)
        return too_many("families of metadata", e);
    err_kind k = prompb_read_metadata(message, &m, e);
    if (k)
        return k;
    return vec_push(&q->metas, m) ? err_nomem(e) : OK;
}

static err_kind read_symbols(write_request *q, str body, err *e)
{
    str *symbols;
    err_kind k = prompb2_read_symbols(body, &q->arena, &symbols, &q->symbol_count, e);
    if (k)
        return k;
    q->symbols = symbols;
    q->symbol_keys = arena_array(&q->arena, hash_wide, q->symbol_count);
    if (!q->symbol_keys)
        return err_nomem(e);
    for (size_t i = 0; i < q->symbol_count; i++)
        q->symbol_keys[i] = hash_bytes_wide(symbols[i].ptr, symbols[i].len);
    return OK;
}

err_kind write_request_read(write_request *q, str body, bool v2, err *e)
{
    reset(q, v2);
    err_kind k = v2 ? read_symbols(q, body, e) : OK;
    pb_reader r = pb_read(body);
    pb_field f;
    int more = 0;
    while (!k && (more = pb_next(&r, &f)) > 0) {
        if (pb_is(&f, v2 ? (uint32_t)PROMPB2_SERIES : (uint32_t)PROMPB_WRITE_SERIES, PB_BYTES))
            k = take_series(q, f.bytes, e);
        else if (!v2 && pb_is(&f, PROMPB_WRITE_METADATA, PB_BYTES))
            k = take_metadata(q, f.bytes, e);
    }
    return !k && more < 0 ? broken(q, "message", e) : k;
}

/* ---- labels, for those who do not know the key ---- */
static err_kind collect1(const write_request *q, str message, label at[LABELS_MAX], size_t *n, err *e)
{
    pb_reader r = pb_read(message);
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        if (!pb_is(&f, LABELS1, PB_BYTES))
            continue;
        if (*n == LABELS_MAX)
            return err_set(e, ERR_LIMIT, "more than %d labels", LABELS_MAX);
        if (!prompb_read_label(f.bytes, &at[(*n)++]))
            return broken(q, "label", e);
    }
    return OK;
}

static err_kind collect2(const write_request *q, str message, label at[LABELS_MAX], size_t *n, err *e)
{
    uint32_t refs[2 * LABELS_MAX];
    size_t len;
    err_kind k = prompb2_read_refs(message, LABELS2, refs, COUNT_OF(refs), &len, e);
    if (!k)
        k = prompb2_labels(refs, len, q->symbols, q->symbol_count, at, e);
    *n = len / 2;
    /* Prometheus refuses the one series whose references lead nowhere and takes the others. */
    if (k == ERR_PARSE && e)
        e->kind = ERR_INVALID;
    return k == ERR_PARSE ? ERR_INVALID : k;
}

err_kind write_request_labels(write_request *q, size_t i, labels *ret, err *e)
{
    label at[LABELS_MAX];
    size_t n = 0;
    err_kind k =
        q->v2 ? collect2(q, q->series.at[i].message, at, &n, e) : collect1(q, q->series.at[i].message, at, &n, e);
    if (!k)
        k = prompb_labels_check(at, &n, true, e);
    if (k) {
        (void)err_context(e, "series %zu", i);
        return k;
    }
    label *copy = arena_dup(&q->arena, at, n * sizeof *at);
    *ret = (labels){ copy, n };
    return copy ? OK : err_nomem(e);
}

err_kind write_request_exemplars(write_request *q, size_t i, labels series, exemplar_row_vec *out, err *e)
{
    pb_reader r = pb_read(q->series.at[i].message);
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        exemplar_row row = { .series = series };
        if (!pb_is(&f, q->v2 ? (uint32_t)EXEMPLARS2 : (uint32_t)EXEMPLARS1, PB_BYTES))
            continue;
        err_kind k = q->v2 ? prompb2_read_exemplar(f.bytes, q->symbols, q->symbol_count, &q->arena, &row.exemplar, e)
                           : prompb_read_exemplar(f.bytes, &q->arena, &row.exemplar, e);
        if (k)
            return k;
        if (out->len == WRITE_MAX_SAMPLES)
            return too_many("exemplars", e);
        if (vec_push(out, row))
            return err_nomem(e);
    }
    return OK;
}

/* The family of a classic histogram's or summary's series is its name without what the kind appends. */
static str family_of(str name, metric_type type)
{
    static const char *const suffixes[] = { "_bucket", "_sum", "_count" };
    bool split = type == METRIC_HISTOGRAM || type == METRIC_GAUGE_HISTOGRAM || type == METRIC_SUMMARY;
    for (size_t i = 0; split && i < COUNT_OF(suffixes); i++) {
        if (str_ends(name, str_from(suffixes[i])))
            return str_sub(name, 0, name.len - strlen(suffixes[i]));
    }
    return name;
}

bool write_request_meta(const write_request *q, size_t i, labels series, exposition_meta *ret)
{
    pb_reader r = pb_read(q->series.at[i].message);
    pb_field f;
    prompb_series told = { 0 };
    bool any = false;
    while (pb_next(&r, &f) > 0) {
        if (pb_is(&f, METADATA2, PB_BYTES))
            any = !prompb2_read_metadata(f.bytes, q->symbols, q->symbol_count, &told, NULL);
    }
    *ret = (exposition_meta){ family_of(labels_name(series), told.type), told.help, told.unit, told.type };
    return any && (told.type || told.help.len || told.unit.len);
}
