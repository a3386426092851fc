#include "store/remote/request.h"
#include <snappy-c.h>

#define NONE UINT32_MAX
#define FIT_BYTES (8u << 20)
#define EXEMPLAR_ARENA_MAX (1u << 20)
#define SAMPLE_MAX_BYTES 40u

/* Fields of TimeSeries in both versions. */
static const struct { uint32_t labels, samples, exemplars, histograms; } fields[] = {
    [REMOTE_WRITE_1] = { 1, 2, 3, 4 },
    [REMOTE_WRITE_2] = { 1, 2, 4, 3 },
};

void request_init(request_writer *w)
{
    *w = (request_writer){ .plain = BUF_INIT(REQUEST_MAX_BYTES), .symbols = BUF_INIT(REQUEST_MAX_BYTES), .arena = arena_init(EXEMPLAR_ARENA_MAX) };
}

void request_done(request_writer *w)
{
    vec_done(&w->order), vec_done(&w->locals);
    buf_done(&w->plain), buf_done(&w->symbols);
    arena_done(&w->arena);
}

size_t request_fit(const outgoing *from, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += from[i].book->series.at[from[i].series].encoded_bytes + from[i].len + SAMPLE_MAX_BYTES;
        if (bytes > FIT_BYTES && i > 0)
            return i;
    }
    return n;
}

/* Chain each series' samples; `order` has the series as they first come. */
static err_kind chain(request_writer *w, outgoing *from, size_t n)
{
    vec_clear(&w->order);
    w->number++;
    for (size_t i = 0; i < n; i++) {
        book_series *s = &from[i].book->series.at[from[i].series];
        from[i].next = NONE;
        if (s->stamp == w->number) {
            from[s->last].next = (uint32_t)i;
        } else {
            s->stamp = w->number;
            s->first = (uint32_t)i;
            if (vec_push(&w->order, (uint32_t)i))
                return ERR_NOMEM;
        }
        s->last = (uint32_t)i;
    }
    return OK;
}

static char *write_sample(char *p, uint32_t number, int64_t t_ms, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    size_t len = (bits ? 9 : 0) + (t_ms ? 1 + pb_varint_len((uint64_t)t_ms) : 0);
    p = pb_write_varint(pb_write_key(p, number, PB_BYTES), len);
    if (bits)
        p = pb_write_double(p, 1, v);
    return t_ms ? pb_write_uint(p, 2, (uint64_t)t_ms) : p;
}

/* ---- labels ---- */

static void put_labels_1(request_writer *w, const labelbook *b, const book_series *s)
{
    char *from = buf_reserve(&w->plain, s->encoded_bytes), *p = from;
    const uint32_t *pairs = b->pair_list.at + s->pairs;
    for (size_t i = 0; p && i < s->pair_count; i++) {
        const book_pair *pair = &b->pairs.at[pairs[i]];
        memcpy(p, b->texts.ptr + pair->at, pair->len);
        p += pair->len;
    }
    if (p)
        buf_commit(&w->plain, (size_t)(p - from));
}

/* The symbol's number in this request; the first is the empty text. */
static uint32_t local_of(request_writer *w, labelbook *b, uint32_t symbol)
{
    book_symbol *s = &b->symbols.at[symbol];
    if (s->stamp != w->number) {
        s->stamp = w->number;
        s->local = w->local_count++;
        pb_put_bytes(&w->symbols, PROMPB2_SYMBOLS, labelbook_symbol(b, symbol));
    }
    return s->local;
}

static void put_refs(request_writer *w, const uint32_t *refs, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += pb_varint_len(refs[i]);
    char *p = buf_reserve(&w->plain, len + 2 * PB_VARINT_MAX), *from = p;
    if (!p)
        return;
    p = pb_write_varint(pb_write_key(p, 1, PB_BYTES), len);
    for (size_t i = 0; i < n; i++)
        p = pb_write_varint(p, refs[i]);
    buf_commit(&w->plain, (size_t)(p - from));
}

static err_kind put_labels_2(request_writer *w, labelbook *b, const book_series *s)
{
    vec_clear(&w->locals);
    if (vec_reserve(&w->locals, 2 * (size_t)s->pair_count))
        return ERR_NOMEM;
    for (size_t i = 0; i < s->pair_count; i++) {
        book_pair pair = b->pairs.at[b->pair_list.at[s->pairs + i]];
        w->locals.at[w->locals.len++] = local_of(w, b, pair.name);
        w->locals.at[w->locals.len++] = local_of(w, b, pair.value);
    }
    put_refs(w, w->locals.at, w->locals.len);
    return OK;
}

/* ---- exemplars: 2.0 has symbols here too ---- */

static err_kind put_exemplar_2(request_writer *w, const outgoing *o)
{
    exemplar x;
    arena_reset(&w->arena);
    err_kind k = prompb_read_exemplar(str_of(o->bytes, o->len), &w->arena, &x, NULL);
    vec_clear(&w->locals);
    for (size_t i = 0; !k && i < x.labels.len; i++) {
        uint32_t name = labelbook_intern(o->book, x.labels.at[i].name), value = labelbook_intern(o->book, x.labels.at[i].value);
        if (name == NONE || value == NONE || vec_push(&w->locals, local_of(w, o->book, name)) || vec_push(&w->locals, local_of(w, o->book, value)))
            k = ERR_NOMEM;
    }
    if (k)
        return k;
    size_t at = pb_begin(&w->plain, fields[REMOTE_WRITE_2].exemplars);
    put_refs(w, w->locals.at, w->locals.len);
    pb_put_double(&w->plain, 2, x.v);
    pb_put_uint(&w->plain, 3, (uint64_t)x.t_ms);
    pb_end(&w->plain, at);
    return OK;
}

/* ---- a series ---- */

static err_kind put_kind(request_writer *w, remote_protocol p, const outgoing *from, uint32_t first, outgoing_kind kind)
{
    err_kind k = OK;
    for (uint32_t i = first; !k && i != NONE; i = from[i].next) {
        if (from[i].kind != kind)
            continue;
        if (kind == OUTGOING_FLOAT) {
            char *at = buf_reserve(&w->plain, SAMPLE_MAX_BYTES);
            if (at)
                buf_commit(&w->plain, (size_t)(write_sample(at, fields[p].samples, from[i].t_ms, from[i].v) - at));
        } else if (kind == OUTGOING_EXEMPLAR && p == REMOTE_WRITE_2) {
            k = put_exemplar_2(w, &from[i]);
        } else {
            pb_put_bytes(&w->plain, kind == OUTGOING_EXEMPLAR ? fields[p].exemplars : fields[p].histograms, str_of(from[i].bytes, from[i].len));
        }
    }
    return k;
}

/* The usual case by far: one float in 1.0. Its length is known before it is written, so nothing is moved. */
static void put_one_float(request_writer *w, const outgoing *o, const book_series *s)
{
    char message[SAMPLE_MAX_BYTES];
    size_t n = (size_t)(write_sample(message, 2, o->t_ms, o->v) - message);
    char *p = buf_reserve(&w->plain, 2 * PB_VARINT_MAX + s->encoded_bytes + n);
    if (!p)
        return;
    buf_commit(&w->plain, (size_t)(pb_write_varint(pb_write_key(p, PROMPB_WRITE_SERIES, PB_BYTES), s->encoded_bytes + n) - p));
    put_labels_1(w, o->book, s);
    buf_append_bytes(&w->plain, message, n);
}

static err_kind put_series(request_writer *w, remote_protocol p, const outgoing *from, uint32_t first)
{
    labelbook *b = from[first].book;
    const book_series *s = &b->series.at[from[first].series];
    err_kind k = OK;
    if (p == REMOTE_WRITE_1 && from[first].next == NONE && from[first].kind == OUTGOING_FLOAT) {
        put_one_float(w, &from[first], s);
        return OK;
    }
    size_t at = pb_begin(&w->plain, p == REMOTE_WRITE_1 ? (uint32_t)PROMPB_WRITE_SERIES : (uint32_t)PROMPB2_SERIES);
    if (p == REMOTE_WRITE_1)
        put_labels_1(w, b, s);
    else
        k = put_labels_2(w, b, s);
    for (outgoing_kind kind = OUTGOING_FLOAT; !k && kind <= OUTGOING_EXEMPLAR; kind++)
        k = put_kind(w, p, from, first, kind);
    pb_end(&w->plain, at);
    return k;
}

static err_kind compress(request_writer *w, remote_protocol p, buf *out, err *e)
{
    str body = buf_str(&w->plain);
    if (p == REMOTE_WRITE_2) {
        buf_append(&w->symbols, body);
        body = buf_str(&w->symbols);
    }
    if (buf_failed(&w->plain) || buf_failed(&w->symbols))
        return err_set(e, ERR_LIMIT, "could not build a remote write request: it is too large or memory is short");
    size_t n = snappy_max_compressed_length(body.len);
    char *room = buf_reserve(out, n);
    if (!room || snappy_compress(body.ptr ? body.ptr : "", body.len, room, &n) != SNAPPY_OK)
        return err_nomem(e);
    buf_commit(out, n);
    return OK;
}

err_kind request_build(request_writer *w, remote_protocol p, outgoing *from, size_t n, buf *out, err *e)
{
    buf_reset(&w->plain), buf_reset(&w->symbols), buf_reset(out);
    err_kind k = chain(w, from, n);
    w->local_count = 1;
    if (p == REMOTE_WRITE_2)
        pb_put_bytes(&w->symbols, PROMPB2_SYMBOLS, STR_EMPTY);
    for (size_t i = 0; !k && i < w->order.len; i++)
        k = put_series(w, p, from, w->order.at[i]);
    return k ? err_nomem(e) : compress(w, p, out, e);
}
