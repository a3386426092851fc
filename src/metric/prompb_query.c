/* metric/prompb_query.c - remote read: questions, answers, and answers in frames of chunks. */
#include "metric/prompb.h"
#include "base/hash.h"

static err_kind broken(err *e, const char *what)
{
    return err_set(e, ERR_PARSE, "cannot read remote read message: broken %s", what);
}

static size_t count_fields(str message, uint32_t number, bool *ret_ok)
{
    pb_reader r = pb_read(message);
    pb_field f;
    size_t n = 0;
    int more;
    while ((more = pb_next(&r, &f)) > 0)
        n += pb_is(&f, number, PB_BYTES);
    *ret_ok = more == 0;
    return n;
}

/* ---- ReadRequest ---- */
static bool read_matcher(str message, prompb_matcher *ret)
{
    pb_reader r = pb_read(message);
    pb_field f;
    int more;
    *ret = (prompb_matcher){ 0 };
    while ((more = pb_next(&r, &f)) > 0) {
        if (pb_is(&f, 1, PB_VARINT) && f.value > PROMPB_NRE)
            return false;
        if (pb_is(&f, 1, PB_VARINT))
            ret->op = (prompb_match)f.value;
        else if (pb_is(&f, 2, PB_BYTES))
            ret->name = f.bytes;
        else if (pb_is(&f, 3, PB_BYTES))
            ret->value = f.bytes;
    }
    return more == 0;
}

static bool read_hints(str message, prompb_query *q)
{
    pb_reader r = pb_read(message);
    pb_field f;
    int more;
    while ((more = pb_next(&r, &f)) > 0) {
        if (pb_is(&f, 1, PB_VARINT))
            q->step_ms = (int64_t)f.value;
        else if (pb_is(&f, 2, PB_BYTES))
            q->function = f.bytes;
        else if (pb_is(&f, 7, PB_VARINT))
            q->range_ms = (int64_t)f.value;
    }
    return more == 0;
}

static err_kind read_query(str message, arena *a, prompb_query *q, err *e)
{
    bool ok;
    size_t n = count_fields(message, 3, &ok);
    if (!ok)
        return broken(e, "query");
    if (n > PROMPB_MAX_MATCHERS)
        return err_set(e, ERR_LIMIT, "remote read query has %zu matchers, the limit is %d", n, PROMPB_MAX_MATCHERS);
    *q = (prompb_query){ .matchers = arena_array(a, prompb_matcher, n) };
    if (!q->matchers)
        return err_nomem(e);
    pb_reader r = pb_read(message);
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        if (pb_is(&f, 1, PB_VARINT))
            q->from_ms = (int64_t)f.value;
        else if (pb_is(&f, 2, PB_VARINT))
            q->to_ms = (int64_t)f.value;
        else if (pb_is(&f, 3, PB_BYTES) && !read_matcher(f.bytes, &q->matchers[q->matcher_count++]))
            return broken(e, "matcher");
        else if (pb_is(&f, 4, PB_BYTES) && !read_hints(f.bytes, q))
            return broken(e, "hints");
    }
    return OK;
}

/* The first kind of answer that is known wins; none said means samples, as old clients do. */
static void take_accepted(prompb_read_request *q, uint64_t kind)
{
    if (kind == PROMPB_STREAMED_XOR_CHUNKS && !q->accepts_samples)
        q->accepts_chunks = true;
    else if (kind == PROMPB_SAMPLES)
        q->accepts_samples = true;
}

static bool read_accepted(const pb_field *f, prompb_read_request *q)
{
    uint64_t kind;
    if (f->type == PB_VARINT)
        take_accepted(q, f->value);
    if (f->type != PB_BYTES)
        return true;
    for (pb_reader r = pb_read(f->bytes); r.at < r.end;) {
        if (!pb_varint(&r, &kind))
            return false;
        take_accepted(q, kind);
    }
    return true;
}

err_kind prompb_read_request_decode(str body, arena *a, prompb_read_request *ret, err *e)
{
    bool ok;
    size_t n = count_fields(body, 1, &ok);
    if (!ok)
        return broken(e, "request");
    if (n > PROMPB_MAX_QUERIES)
        return err_set(e, ERR_LIMIT, "remote read request has %zu queries, the limit is %d", n, PROMPB_MAX_QUERIES);
    prompb_read_request q = { .queries = arena_array(a, prompb_query, n) };
    if (!q.queries)
        return err_nomem(e);
    pb_reader r = pb_read(body);
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        err_kind k = OK;
        if (pb_is(&f, 1, PB_BYTES))
            k = read_query(f.bytes, a, &q.queries[q.query_count++], e);
        else if (f.number == 2 && !read_accepted(&f, &q))
            k = broken(e, "list of response types");
        if (k)
            return k;
    }
    if (!q.accepts_chunks)
        q.accepts_samples = true;
    *ret = q;
    return OK;
}

static void put_query(buf *out, const prompb_query *q)
{
    size_t at = pb_begin(out, 1);
    pb_put_uint(out, 1, (uint64_t)q->from_ms);
    pb_put_uint(out, 2, (uint64_t)q->to_ms);
    for (size_t i = 0; i < q->matcher_count; i++) {
        size_t m = pb_begin(out, 3);
        pb_put_uint(out, 1, (uint64_t)q->matchers[i].op);
        pb_put_bytes(out, 2, q->matchers[i].name);
        pb_put_bytes(out, 3, q->matchers[i].value);
        pb_end(out, m);
    }
    size_t hints = pb_begin(out, 4);
    pb_put_uint(out, 1, (uint64_t)q->step_ms);
    pb_put_bytes(out, 2, q->function);
    pb_put_uint(out, 3, (uint64_t)q->from_ms);
    pb_put_uint(out, 4, (uint64_t)q->to_ms);
    pb_put_uint(out, 7, (uint64_t)q->range_ms);
    pb_end(out, hints);
    pb_end(out, at);
}

void prompb_put_read_request(buf *out, const prompb_read_request *r)
{
    for (size_t i = 0; i < r->query_count; i++)
        put_query(out, &r->queries[i]);
    if (r->accepts_chunks)
        pb_put_uint(out, 2, PROMPB_STREAMED_XOR_CHUNKS);
    if (r->accepts_samples)
        pb_put_uint(out, 2, PROMPB_SAMPLES);
}

/* ---- ReadResponse ---- */
static err_kind read_result(str message, arena *a, prompb_result *ret, err *e)
{
    bool ok;
    size_t n = count_fields(message, 1, &ok);
    if (!ok)
        return broken(e, "query result");
    *ret = (prompb_result){ arena_array(a, prompb_series, n), 0 };
    if (!ret->series)
        return err_nomem(e);
    pb_reader r = pb_read(message);
    pb_field f;
    err_kind k = OK;
    while (!k && pb_next(&r, &f) > 0) {
        if (pb_is(&f, 1, PB_BYTES))
            k = prompb_read_series(f.bytes, a, &ret->series[ret->len++], e);
    }
    return k;
}

err_kind prompb_read_response_decode(str body, arena *a, prompb_result **ret, size_t *ret_n, err *e)
{
    bool ok;
    size_t n = count_fields(body, 1, &ok), len = 0;
    if (!ok)
        return broken(e, "response");
    prompb_result *results = arena_array(a, prompb_result, n);
    if (!results)
        return err_nomem(e);
    pb_reader r = pb_read(body);
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        err_kind k = pb_is(&f, 1, PB_BYTES) ? read_result(f.bytes, a, &results[len++], e) : OK;
        if (k)
            return k;
    }
    *ret = results;
    *ret_n = len;
    return OK;
}

/* ---- frames of chunks ---- */
static void put_chunk(buf *out, const prompb_chunk *c)
{
    size_t at = pb_begin(out, 2);
    pb_put_uint(out, 1, (uint64_t)c->min_ms);
    pb_put_uint(out, 2, (uint64_t)c->max_ms);
    pb_put_uint(out, 3, (uint64_t)c->kind);
    pb_put_bytes(out, 4, c->data);
    pb_end(out, at);
}

/* The message is written first; its length and checksum, known then, move in before it. */
void prompb_put_chunked_frame(buf *out, labels l, const prompb_chunk *chunks, size_t n, size_t query_index)
{
    size_t begun = out->len, series = pb_begin(out, 1);
    for (size_t i = 0; i < l.len; i++)
        prompb_put_label(out, 1, l.at[i]);
    for (size_t i = 0; i < n; i++)
        put_chunk(out, &chunks[i]);
    pb_end(out, series);
    if (query_index)
        pb_put_uint(out, 2, query_index);
    char *room = buf_failed(out) ? NULL : buf_reserve(out, PB_VARINT_MAX + 4);
    if (!room)
        return;
    str message = { out->ptr + begun, out->len - begun };
    uint32_t crc = __builtin_bswap32(hash_crc32c(message.ptr, message.len));
    char head[PB_VARINT_MAX + 4], *p = pb_write_varint(head, message.len);
    memcpy(p, &crc, 4);
    size_t head_len = (size_t)(p + 4 - head);
    memmove(out->ptr + begun + head_len, out->ptr + begun, message.len);
    memcpy(out->ptr + begun, head, head_len);
    buf_commit(out, head_len);
}

static bool read_chunk(str message, prompb_chunk *ret)
{
    pb_reader r = pb_read(message);
    pb_field f;
    int more;
    *ret = (prompb_chunk){ 0 };
    while ((more = pb_next(&r, &f)) > 0) {
        if (pb_is(&f, 1, PB_VARINT))
            ret->min_ms = (int64_t)f.value;
        else if (pb_is(&f, 2, PB_VARINT))
            ret->max_ms = (int64_t)f.value;
        else if (pb_is(&f, 3, PB_VARINT))
            ret->kind = (prompb_chunk_kind)f.value;
        else if (pb_is(&f, 4, PB_BYTES))
            ret->data = f.bytes;
    }
    return more == 0;
}

static err_kind read_chunked_series(str message, arena *a, prompb_chunked *ret, err *e)
{
    bool ok;
    label at[LABELS_MAX];
    size_t n = 0, chunks = count_fields(message, 2, &ok);
    ret->chunks = arena_array(a, prompb_chunk, chunks);
    if (!ok)
        return broken(e, "chunked series");
    if (!ret->chunks)
        return err_nomem(e);
    pb_reader r = pb_read(message);
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        if (pb_is(&f, 1, PB_BYTES) && n == LABELS_MAX)
            return err_set(e, ERR_LIMIT, "more than %d labels", LABELS_MAX);
        if (pb_is(&f, 1, PB_BYTES) && !prompb_read_label(f.bytes, &at[n++]))
            return broken(e, "label");
        if (pb_is(&f, 2, PB_BYTES) && !read_chunk(f.bytes, &ret->chunks[ret->chunk_count++]))
            return broken(e, "chunk");
    }
    label *copy = arena_dup(a, at, n * sizeof *at);
    ret->labels = (labels){ copy, n };
    return copy ? OK : err_nomem(e);
}

/* The head of the next frame; its message becomes f->frame. */
static err_kind open_frame(prompb_frames *f, err *e)
{
    pb_reader r = pb_read(f->rest);
    uint64_t len;
    if (!pb_varint(&r, &len) || r.end - r.at < 4 || len > (uint64_t)(r.end - r.at) - 4)
        return broken(e, "frame: it is cut off");
    uint32_t crc;
    memcpy(&crc, r.at, 4);
    str message = str_of((const char *)r.at + 4, (size_t)len);
    if (__builtin_bswap32(crc) != hash_crc32c(message.ptr, message.len))
        return broken(e, "frame: its checksum is wrong");
    f->frame = message;
    f->rest = str_of(message.ptr + message.len, (size_t)(r.end - r.at) - 4 - (size_t)len);
    f->query_index = 0;
    pb_field field;
    int more;
    for (r = pb_read(message); (more = pb_next(&r, &field)) > 0;) {
        if (pb_is(&field, 2, PB_VARINT))
            f->query_index = field.value;
    }
    return more < 0 ? broken(e, "frame") : OK;
}

int prompb_next_chunked(prompb_frames *f, arena *a, prompb_chunked *ret, err *e)
{
    for (;;) {
        pb_reader r = pb_read(f->frame);
        pb_field field;
        while (pb_next(&r, &field) > 0) {
            f->frame = str_of((const char *)r.at, (size_t)(r.end - r.at));
            if (!pb_is(&field, 1, PB_BYTES))
                continue;
            *ret = (prompb_chunked){ .query_index = f->query_index };
            return read_chunked_series(field.bytes, a, ret, e) ? -1 : 1;
        }
        if (!f->rest.len)
            return 0;
        if (open_frame(f, e))
            return -1;
    }
}
