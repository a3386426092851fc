/* POST /api/v1/read: remote read, samples of series as protobuf.
 *
 * Source: https://prometheus.io/docs/prometheus/latest/querying/remote_read_api/ and storage/remote/read_handler.go. The
 * request is snappy's block format around a ReadRequest; the answer is a ReadResponse in snappy, or frames of chunks
 * where the asker prefers them. External labels are added to series that lack them, and a matcher that asks for just
 * such a label is taken as answered. Canonical names are not answered here: what is read is what is stored. */
#include "metric/metric.h"
#include "base/regex.h"
#include "query/api.h"
#include "query/read_chunk.h"
#include <snappy-c.h>
#include <stdlib.h>

#define READ_ARENA_MAX ((size_t)256 << 20)     /* labels and histograms of one series, matchers of one request */
#define READ_REQUEST_MAX ((size_t)16 << 20)    /* unpacked */
#define READ_FRAME_BYTES ((size_t)1 << 20)     /* a frame is cut once its chunks are this much: Prometheus's default */
#define SNAPPY_INPUT_MAX ((size_t)1 << 30)     /* snappy's length is 32 bits, its worst case a sixth more */

typedef struct reader {
    job *job;
    prompb_read_request request;
    arena arena;               /* dies with the request */
    arena series;              /* reset for each */
    sample_vec samples;
    histogram_vec histograms;
    buf plain;                 /* of SAMPLES: before snappy */
    buf chunk_bytes;           /* of one series */
    vec(prompb_chunk) chunks;  /* of one frame */
    uint64_t samples_read;
} reader;

/* ---- the request ---- */

CHECKED static err_kind unpack(str body, arena *a, str *ret, err *e)
{
    size_t size;
    if (body.len == 0 || snappy_uncompressed_length(body.ptr, body.len, &size) != SNAPPY_OK)
        return err_set(e, ERR_PARSE, "snappy: corrupt input");
    if (size > READ_REQUEST_MAX || size / 64 > body.len) /* snappy packs 64 bytes into 3 at best */
        return err_set(e, ERR_LIMIT, "the remote read request unpacks to more than %zu bytes", READ_REQUEST_MAX);
    char *out = arena_alloc(a, size + 1);
    if (!out)
        return err_nomem(e);
    if (snappy_uncompress(body.ptr, body.len, out, &size) != SNAPPY_OK)
        return err_set(e, ERR_PARSE, "snappy: corrupt input");
    *ret = str_of(out, size);
    return OK;
}

static void drop_matchers(matcher *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        regex_free((regex *)m[i].re);
}

/* Those of the query but for equalities that the external labels answer. */
CHECKED static err_kind read_matchers(reader *r, const prompb_query *q, matcher **ret, size_t *ret_n, err *e)
{
    static const match_op ops[] = { [PROMPB_EQ] = MATCH_EQ, [PROMPB_NE] = MATCH_NE, [PROMPB_RE] = MATCH_RE, [PROMPB_NRE] = MATCH_NRE };
    matcher *out = arena_array(&r->arena, matcher, MAX(q->matcher_count, 1u));
    size_t n = 0;
    if (!out)
        return err_nomem(e);
    for (size_t i = 0; i < q->matcher_count; i++) {
        const prompb_matcher *m = &q->matchers[i];
        regex *re = NULL;
        str external = labels_get(r->job->external, m->name);
        if (m->op == PROMPB_EQ && external.len && str_eq(external, m->value))
            continue;
        if ((m->op == PROMPB_RE || m->op == PROMPB_NRE) && regex_compile(m->value, true, &re, e)) {
            drop_matchers(out, n);
            return e->kind == ERR_NOMEM ? ERR_NOMEM : (e->kind = ERR_INVALID);
        }
        out[n++] = (matcher){ .name = m->name, .value = m->value, .op = ops[m->op], .re = re };
    }
    *ret = out;
    *ret_n = n;
    return OK;
}

/* ---- series ---- */

CHECKED static err_kind with_external(reader *r, labels l, labels *ret, err *e)
{
    labels external = r->job->external;
    label *out = arena_array(&r->series, label, l.len + external.len + 1);
    size_t n = 0, k = 0;
    if (!out)
        return err_nomem(e);
    for (size_t i = 0; i < l.len || k < external.len;) {
        int c = i == l.len ? 1 : k == external.len ? -1 : str_cmp(l.at[i].name, external.at[k].name);
        out[n++] = c <= 0 ? l.at[i] : external.at[k];
        i += c <= 0;
        k += c >= 0; /* the series' own label wins */
    }
    *ret = (labels){ out, n };
    return OK;
}

CHECKED static err_kind read_series(reader *r, store_selection *sel, size_t i, labels *ret, err *e)
{
    size_t max = query_engine_options(r->job->http->engine)->max_samples;
    arena_reset(&r->series);
    r->samples.len = r->histograms.len = 0;
    if (atomic_load(&r->job->cancel))
        return err_set(e, ERR_CANCELED, "query was canceled");
    if (with_external(r, store_select_labels(sel, i), ret, e) || store_select_samples(sel, i, &r->samples, e))
        return e->kind;
    if (store_select_has_histograms(sel, i) &&
        store_select_histograms(sel, i, &r->series, &r->histograms, e))
        return e->kind;
    r->samples_read += r->samples.len + r->histograms.len;
    return r->samples_read > max ? err_set(e, ERR_INVALID, "exceeded sample limit (%zu)", max) : OK;
}

static void put_samples(reader *r, labels l)
{
    prompb_series s = { .labels = l, .samples = r->samples.at, .sample_count = r->samples.len,
                        .histograms = r->histograms.at, .histogram_count = r->histograms.len };
    prompb_put_series(&r->plain, &s);
}

CHECKED static err_kind add_chunk(reader *r, size_t from, int64_t min_ms, int64_t max_ms, prompb_chunk_kind kind, err *e)
{
    /* Offsets for now: the buffer may move as it grows. */
    prompb_chunk c = { min_ms, max_ms, kind, { (const char *)(uintptr_t)from, r->chunk_bytes.len - from } };
    return vec_push(&r->chunks, c) ? err_nomem(e) : OK;
}

static void put_frame(reader *r, labels l, size_t query)
{
    for (size_t i = 0; i < r->chunks.len; i++)
        r->chunks.at[i].data.ptr = r->chunk_bytes.ptr + (uintptr_t)r->chunks.at[i].data.ptr;
    prompb_put_chunked_frame(&r->job->body, l, r->chunks.at, r->chunks.len, query);
    r->chunks.len = 0;
    buf_reset(&r->chunk_bytes);
}

/* Floats first, then histograms: the reader merges by time. */
CHECKED static err_kind put_chunks(reader *r, labels l, size_t query, err *e)
{
    for (size_t i = 0, n; i < r->samples.len; i += n) {
        size_t from = r->chunk_bytes.len;
        n = MIN(r->samples.len - i, (size_t)READ_CHUNK_SAMPLES);
        read_chunk_put_floats(&r->chunk_bytes, r->samples.at + i, n);
        if (add_chunk(r, from, r->samples.at[i].t_ms, r->samples.at[i + n - 1].t_ms, PROMPB_CHUNK_XOR, e))
            return e->kind;
        if (r->chunk_bytes.len > READ_FRAME_BYTES)
            put_frame(r, l, query);
    }
    for (size_t i = 0; i < r->histograms.len; i++) {
        size_t from = r->chunk_bytes.len;
        const histogram_sample *s = &r->histograms.at[i];
        read_chunk_put_histogram(&r->chunk_bytes, s);
        if (add_chunk(r, from, s->t_ms, s->t_ms, PROMPB_CHUNK_FLOAT_HISTOGRAM, e))
            return e->kind;
        if (r->chunk_bytes.len > READ_FRAME_BYTES)
            put_frame(r, l, query);
    }
    if (r->chunks.len)
        put_frame(r, l, query);
    return r->chunk_bytes.failed ? err_nomem(e) : OK;
}

CHECKED static err_kind answer_selection(reader *r, store_selection *sel, size_t query, err *e)
{
    size_t begun = r->request.accepts_chunks ? 0 : prompb_begin_result(&r->plain);
    for (size_t i = 0; i < store_select_len(sel); i++) {
        labels l = { NULL, 0 };
        if (read_series(r, sel, i, &l, e))
            return e->kind;
        if (!r->samples.len && !r->histograms.len)
            continue;
        if (!r->request.accepts_chunks)
            put_samples(r, l);
        else if (put_chunks(r, l, query, e))
            return e->kind;
        if (buf_failed(&r->plain) || buf_failed(&r->job->body))
            return err_set(e, ERR_LIMIT, "the result is too large for one reply");
    }
    if (!r->request.accepts_chunks)
        pb_end(&r->plain, begun);
    return OK;
}

CHECKED static err_kind answer_query(reader *r, size_t number, err *e)
{
    const prompb_query *q = &r->request.queries[number];
    select_limits limits = { .max_series = query_engine_options(r->job->http->engine)->max_series };
    store_selection *sel = NULL;
    matcher *m = NULL;
    size_t n = 0;
    if (read_matchers(r, q, &m, &n, e))
        return e->kind;
    err_kind k = store_select(r->job->http->store, m, n, q->from_ms, q->to_ms, &limits, &sel, e);
    if (!k)
        k = answer_selection(r, sel, number, e);
    store_select_free(sel);
    drop_matchers(m, n);
    return k;
}

/* ---- the answer ---- */

CHECKED static err_kind pack(reader *r, err *e)
{
    buf *out = &r->job->body;
    if (buf_failed(&r->plain) || r->plain.len > SNAPPY_INPUT_MAX)
        return err_set(e, ERR_LIMIT, "the result is too large for one reply");
    size_t size = snappy_max_compressed_length(r->plain.len);
    char *at = buf_reserve(out, size);
    if (!at)
        return err_set(e, ERR_LIMIT, "the result is too large for one reply");
    if (snappy_compress(r->plain.ptr ? r->plain.ptr : "", r->plain.len, at, &size) != SNAPPY_OK)
        return err_set(e, ERR_INTERNAL, "could not pack the result");
    buf_commit(out, size);
    return OK;
}

CHECKED static err_kind answer(reader *r, err *e)
{
    job *j = r->job;
    str message;
    if (unpack(j->request_body, &r->arena, &message, e) || prompb_read_request_decode(message, &r->arena, &r->request, e))
        return e->kind;
    for (size_t i = 0; i < r->request.query_count; i++)
        if (answer_query(r, i, e))
            return e->kind;
    j->content_type = r->request.accepts_chunks ? PROMPB_CHUNKED_CONTENT_TYPE : PROMPB_CONTENT_TYPE_1;
    j->content_encoding = r->request.accepts_chunks ? NULL : "snappy";
    return r->request.accepts_chunks ? OK : pack(r, e);
}

/* As Prometheus: text, 400 where the asker can mend it. */
static void fail(job *j, const err *e)
{
    char text[700];
    const char *type;
    j->status = e->kind == ERR_LIMIT || e->kind == ERR_EXEC ? 400 : api_status_of(e->kind, &type);
    err_format(text, sizeof text, e);
    buf_reset(&j->body);
    buf_append(&j->body, str_from(text));
    buf_append_char(&j->body, '\n');
    j->content_type = "text/plain; charset=utf-8";
    j->content_encoding = NULL;
}

void run_remote_read(job *j)
{
    reader r = { .job = j, .arena = ARENA_INIT(READ_ARENA_MAX), .series = ARENA_INIT(READ_ARENA_MAX), .plain = BUF_INIT(QUERY_REPLY_MAX),
                 .chunk_bytes = BUF_INIT(QUERY_REPLY_MAX) };
    err e = { 0 };
    j->status = 200;
    if (answer(&r, &e))
        fail(j, &e);
    vec_done(&r.samples);
    vec_done(&r.histograms);
    vec_done(&r.chunks);
    buf_done(&r.plain);
    buf_done(&r.chunk_bytes);
    arena_done(&r.series);
    arena_done(&r.arena);
}

void page_remote_read(http_request *req)
{
    job *j = job_new(req, run_remote_read);
    if (!j)
        return;
    bool ok = api_external_labels(req, j);
    if (ok && !(j->request_body = arena_str(&j->arena, req->body)).ptr) {
        api_error(req, 413, "bad_data", "the request is too large");
        ok = false;
    }
    if (ok)
        job_start(j);
    else
        job_drop(j);
}
