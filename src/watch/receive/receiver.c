#include "watch/receive/receiver.h"

#define KEEP_BODY_BYTES (8u << 20) /* what an unusually large request may leave allocated */

struct receiver {
    sample_sink sink;
    series_cache cache;
    write_request request;
    exemplar_row_vec exemplars;
    vec(uint8_t) refused;
    buf body;
    meta_book metadata;
};

receiver *receiver_new(const sample_sink *sink)
{
    receiver *r = mem_zalloc(sizeof *r);
    if (!r)
        return NULL;
    r->sink = *sink;
    r->body = (buf)BUF_INIT(REMOTE_WRITE_MAX_DECODED);
    write_request_init(&r->request);
    return r;
}

void receiver_free(receiver *r)
{
    if (!r)
        return;
    series_cache_done(&r->cache);
    write_request_done(&r->request);
    vec_done(&r->exemplars);
    vec_done(&r->refused);
    buf_done(&r->body);
    meta_book_done(&r->metadata);
    mem_free(r);
}

buf *receiver_body(receiver *r)
{
    if (r->body.cap > KEEP_BODY_BYTES)
        buf_done(&r->body);
    buf_reset(&r->body);
    return &r->body;
}

const meta_book *receiver_metadata(const receiver *r) { return &r->metadata; }

/* ---- from keys to refs, or to labels ---- */
static size_t look_up(receiver *r)
{
    write_request *q = &r->request;
    size_t unknown = 0;
    for (size_t i = 0; i < q->series.len; i++)
        series_cache_prefetch(&r->cache, q->series.at[i].key);
    for (size_t i = 0; i < q->series.len; i++) {
        write_series *s = &q->series.at[i];
        s->ref = s->has_key ? series_cache_get(&r->cache, s->key) : 0;
        unknown += s->ref == 0;
    }
    return unknown;
}

static void refuse_series(receive_result *ret, const err *why)
{
    if (!ret->invalid++)
        ret->first_invalid = *why;
}

static bool concerns_one_series(err_kind k) { return k == ERR_INVALID || k == ERR_LIMIT; }

/* The labels of a series that is new to us or has exemplars; ret->len 0: this one cannot be taken. */
static err_kind read_labels(receiver *r, size_t i, labels *ret, receive_result *result, err *e)
{
    err why = { 0 };
    *ret = (labels){ NULL, 0 };
    err_kind k = write_request_labels(&r->request, i, ret, &why);
    if (!k && r->request.series.at[i].exemplar_count && r->sink.append_exemplars)
        k = write_request_exemplars(&r->request, i, *ret, &r->exemplars, &why);
    if (!k)
        return OK;
    ret->len = 0;
    if (concerns_one_series(k)) {
        refuse_series(result, &why);
        return OK;
    }
    if (e)
        *e = why;
    return k;
}

static void learn_metadata(receiver *r, size_t i, labels l)
{
    exposition_meta m;
    if (r->request.v2 && write_request_meta(&r->request, i, l, &m))
        meta_book_put(&r->metadata, &m);
}

/* Give the rows of series i their ref and labels and move them down to *kept. */
static void keep_rows(write_request *q, size_t i, labels l, size_t *kept)
{
    write_series *s = &q->series.at[i];
    size_t from = s->first_row;
    s->first_row = (uint32_t)*kept;
    for (size_t k = 0; k < s->row_count; k++) {
        sample_row row = q->rows.at[from + k];
        row.ref = &s->ref;
        row.labels = l;
        q->rows.at[(*kept)++] = row;
    }
}

/* Rows of series that cannot be taken fall out. */
static err_kind resolve(receiver *r, receive_result *result, err *e)
{
    write_request *q = &r->request;
    size_t kept = 0;
    for (size_t i = 0; i < q->series.len; i++) {
        write_series *s = &q->series.at[i];
        labels l = { NULL, 0 };
        if (!s->ref || s->exemplar_count) {
            err_kind k = read_labels(r, i, &l, result, e);
            if (k)
                return k;
            if (!l.len) {
                s->row_count = 0;
                continue;
            }
            if (!s->ref)
                learn_metadata(r, i, l);
        }
        keep_rows(q, i, l, &kept);
    }
    q->rows.len = kept;
    return OK;
}

/* The sink has forgotten a ref (the series ended meanwhile): spell everything out. */
static err_kind spell_out(receiver *r, err *e)
{
    write_request *q = &r->request;
    for (size_t i = 0; i < q->series.len; i++) {
        write_series *s = &q->series.at[i];
        s->ref = 0;
        if (!s->row_count || q->rows.at[s->first_row].labels.len)
            continue;
        labels l;
        err_kind k = write_request_labels(q, i, &l, e);
        if (k)
            return k;
        for (size_t n = 0; n < s->row_count; n++)
            q->rows.at[s->first_row + n].labels = l;
    }
    return OK;
}

/* ---- to the sink ---- */
static err_kind append(receiver *r, receive_result *ret, err *e)
{
    const row_vec *rows = &r->request.rows;
    ret->sink.refused = r->refused.at;
    memset(r->refused.at, 0, rows->len);
    return r->sink.append(r->sink.ctx, rows->at, rows->len, &ret->sink, e);
}

static void count_kept(const receiver *r, receive_result *ret)
{
    for (size_t i = 0; i < r->request.rows.len; i++) {
        bool is_histogram = r->request.rows.at[i].histogram;
        ret->histograms += is_histogram && !r->refused.at[i];
        ret->samples += !is_histogram && !r->refused.at[i];
    }
}

static void learn_refs(receiver *r, size_t unknown, int64_t now_ms)
{
    series_cache_begin(&r->cache, unknown, now_ms);
    for (size_t i = 0; unknown && i < r->request.series.len; i++) {
        const write_series *s = &r->request.series.at[i];
        if (s->has_key && s->ref)
            series_cache_put(&r->cache, s->key, s->ref);
    }
}

static err_kind append_rows(receiver *r, receive_result *ret, int64_t now_ms, size_t unknown, err *e)
{
    if (!r->request.rows.len)
        return OK;
    if (vec_reserve(&r->refused, r->request.rows.len))
        return err_nomem(e);
    err_kind k = append(r, ret, e);
    if (k == ERR_NOT_FOUND) {
        ret->sink = (sink_result){ 0 };
        unknown = r->request.series.len;
        k = spell_out(r, e);
        if (!k)
            k = append(r, ret, e);
    }
    if (k)
        return k;
    count_kept(r, ret);
    learn_refs(r, unknown, now_ms);
    return OK;
}

/* Exemplars come after their samples; what the sink cannot keep of them is counted, never the request's failure. */
static void append_exemplars(receiver *r, receive_result *ret)
{
    sink_result result = { 0 };
    size_t n = r->exemplars.len;
    if (!n || r->sink.append_exemplars(r->sink.ctx, r->exemplars.at, n, &result, NULL))
        return;
    ret->exemplars = result.appended;
    ret->exemplars_refused = n - MIN(n, result.appended);
}

err_kind receiver_take(receiver *r, str body, bool v2, int64_t now_ms, receive_result *ret, err *e)
{
    *ret = (receive_result){ 0 };
    vec_clear(&r->exemplars);
    err_kind k = write_request_read(&r->request, body, v2, e);
    if (k)
        return k;
    ret->invalid = r->request.invalid;
    ret->first_invalid = r->request.first_invalid;
    size_t unknown = look_up(r);
    k = resolve(r, ret, e);
    if (!k)
        k = append_rows(r, ret, now_ms, unknown, e);
    if (k)
        return k;
    append_exemplars(r, ret);
    for (size_t i = 0; i < r->request.metas.len; i++)
        meta_book_put(&r->metadata, &r->request.metas.at[i]);
    return OK;
}
