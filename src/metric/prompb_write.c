#include "metric/prompb.h"
#include "base/hash.h"
#include "base/rand.h"

#define KEY_MAX 2 /* bytes of the key of a field number below 2048 */

void pb_end(buf *out, size_t begun)
{
    if (buf_failed(out))
        return;
    size_t len = out->len - begun, head = pb_varint_len(len);
    char *p = buf_reserve(out, head);
    if (!p)
        return;
    p = out->ptr + begun;
    memmove(p + head, p, len);
    pb_write_varint(p, len);
    buf_commit(out, head);
}

void pb_put_uint(buf *out, uint32_t number, uint64_t v)
{
    char *p = buf_reserve(out, 2 * PB_VARINT_MAX);
    if (p)
        buf_commit(out, (size_t)(pb_write_uint(p, number, v) - p));
}

void pb_put_double(buf *out, uint32_t number, double v)
{
    char *p = buf_reserve(out, PB_VARINT_MAX + sizeof v);
    if (p)
        buf_commit(out, (size_t)(pb_write_double(p, number, v) - p));
}

void pb_put_bytes(buf *out, uint32_t number, str s)
{
    char *p = buf_reserve(out, 2 * PB_VARINT_MAX + s.len);
    if (p)
        buf_commit(out, (size_t)(pb_write_bytes(p, number, s) - p));
}

static uint64_t type_to_wire(metric_type t)
{
    static const uint8_t wire[] = {
        [METRIC_COUNTER] = 1, [METRIC_GAUGE] = 2, [METRIC_HISTOGRAM] = 3, [METRIC_GAUGE_HISTOGRAM] = 4,
        [METRIC_SUMMARY] = 5, [METRIC_INFO] = 6,  [METRIC_STATESET] = 7
    };
    return t < COUNT_OF(wire) ? wire[t] : 0;
}

/* A sample's message with its key and length in front: at most 2 + 9 + 11 + 11 bytes. proto3: a zero is not written. */
#define SAMPLE_MAX 40
static char *write_sample(char *p, uint32_t number, int64_t t_ms, double v, int64_t start_ms)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    size_t len = (bits ? 9 : 0) + (t_ms ? 1 + pb_varint_len((uint64_t)t_ms) : 0) +
                 (start_ms ? 1 + pb_varint_len((uint64_t)start_ms) : 0);
    p = pb_write_varint(pb_write_key(p, number, PB_BYTES), len);
    if (bits)
        p = pb_write_double(p, 1, v);
    if (t_ms)
        p = pb_write_uint(p, 2, (uint64_t)t_ms);
    if (start_ms)
        p = pb_write_uint(p, 3, (uint64_t)start_ms);
    return p;
}

static void put_samples(buf *out, const prompb_series *s, int64_t start_ms)
{
    char *p = s->sample_count <= SIZE_MAX / SAMPLE_MAX ? buf_reserve(out, s->sample_count * SAMPLE_MAX) : NULL,
         *from = p;
    for (size_t i = 0; p && i < s->sample_count; i++)
        p = write_sample(p, 2, s->samples[i].t_ms, s->samples[i].v, start_ms);
    if (p)
        buf_commit(out, (size_t)(p - from));
}

/* ---- labels ---- */
static size_t label_len(label l)
{
    return 2 + pb_varint_len(l.name.len) + l.name.len + pb_varint_len(l.value.len) + l.value.len;
}

static char *write_label(char *p, uint32_t number, label l)
{
    p = pb_write_varint(pb_write_key(p, number, PB_BYTES), label_len(l));
    return pb_write_bytes(pb_write_bytes(p, 1, l.name), 2, l.value);
}

static void put_labels(buf *out, uint32_t number, labels l)
{
    size_t room = 0;
    for (size_t i = 0; i < l.len; i++)
        room += label_len(l.at[i]) + KEY_MAX + PB_VARINT_MAX;
    char *p = buf_reserve(out, room), *from = p;
    for (size_t i = 0; p && i < l.len; i++)
        p = write_label(p, number, l.at[i]);
    if (p)
        buf_commit(out, (size_t)(p - from));
}

void prompb_put_label(buf *out, uint32_t number, label l) { put_labels(out, number, (labels){ &l, 1 }); }

/* ---- histograms ---- */
static void put_span(buf *out, uint32_t number, histogram_span s)
{
    size_t at = pb_begin(out, number);
    if (s.offset)
        pb_put_uint(out, 1, pb_zigzag(s.offset));
    if (s.length)
        pb_put_uint(out, 2, s.length);
    pb_end(out, at);
}

static void put_doubles(buf *out, uint32_t number, const double *at, size_t n)
{
    if (n)
        pb_put_bytes(out, number, str_of((const char *)at, n * sizeof *at));
}

/* Each bucket as the difference to the one before it. */
static void put_deltas(buf *out, uint32_t number, const double *at, size_t n)
{
    if (!n)
        return;
    size_t begun = pb_begin(out, number);
    char *p = buf_reserve(out, n * PB_VARINT_MAX), *from = p;
    int64_t before = 0;
    for (size_t i = 0; p && i < n; i++) {
        p = pb_write_varint(p, pb_zigzag((int64_t)at[i] - before));
        before = (int64_t)at[i];
    }
    if (p)
        buf_commit(out, (size_t)(p - from));
    pb_end(out, begun);
}

/* `first`: 8 for the negative side, 11 for the positive one: spans, deltas, counts. */
static void put_side(buf *out, uint32_t first, const histogram_side *s, bool integer)
{
    for (uint32_t i = 0; i < s->span_count; i++)
        put_span(out, first, s->spans[i]);
    if (integer)
        put_deltas(out, first + 1, s->buckets, s->bucket_count);
    else
        put_doubles(out, first + 2, s->buckets, s->bucket_count);
}

/* A whole number that an integer histogram may hold; one that claims to be one and is not is sent as floats. */
static bool whole(double v) { return v >= 0 && v <= 9007199254740992.0 && v == (double)(int64_t)v; }

static bool is_integer(const histogram *h)
{
    bool ok = h->integer && whole(h->count) && whole(h->zero_count);
    for (uint32_t i = 0; ok && i < h->negative.bucket_count; i++)
        ok = whole(h->negative.buckets[i]);
    for (uint32_t i = 0; ok && i < h->positive.bucket_count; i++)
        ok = whole(h->positive.buckets[i]);
    return ok;
}

static void put_zigzag(buf *out, uint32_t number, int64_t v)
{
    if (v)
        pb_put_uint(out, number, pb_zigzag(v));
}

void prompb_put_histogram(buf *out, uint32_t number, const histogram_sample *s, int64_t start_ms)
{
    const histogram *h = s->h;
    bool integer = is_integer(h);
    size_t at = pb_begin(out, number);
    if (integer)
        pb_put_uint(out, 1, (uint64_t)h->count);
    else
        pb_put_double(out, 2, h->count);
    pb_put_double(out, 3, h->sum);
    put_zigzag(out, 4, h->schema);
    pb_put_double(out, 5, h->zero_threshold);
    if (integer)
        pb_put_uint(out, 6, (uint64_t)h->zero_count);
    else
        pb_put_double(out, 7, h->zero_count);
    put_side(out, 8, &h->negative, integer);
    put_side(out, 11, &h->positive, integer);
    if (h->reset)
        pb_put_uint(out, 14, h->reset);
    if (s->t_ms)
        pb_put_uint(out, 15, (uint64_t)s->t_ms);
    put_doubles(out, 16, h->bounds, h->bound_count);
    if (start_ms)
        pb_put_uint(out, 17, (uint64_t)start_ms);
    pb_end(out, at);
}

/* ---- 1.0 ---- */
static void put_exemplar(buf *out, uint32_t number, const exemplar *x)
{
    size_t at = pb_begin(out, number);
    put_labels(out, 1, x->labels);
    pb_put_double(out, 2, x->v);
    pb_put_uint(out, 3, (uint64_t)x->t_ms);
    pb_end(out, at);
}

void prompb_put_series(buf *out, const prompb_series *s)
{
    size_t at = pb_begin(out, PROMPB_WRITE_SERIES);
    put_labels(out, 1, s->labels);
    put_samples(out, s, 0);
    for (size_t i = 0; i < s->exemplar_count; i++)
        put_exemplar(out, 3, &s->exemplars[i]);
    for (size_t i = 0; i < s->histogram_count; i++)
        prompb_put_histogram(out, 4, &s->histograms[i], 0);
    pb_end(out, at);
}

void prompb_put_metadata(buf *out, const exposition_meta *m)
{
    size_t at = pb_begin(out, PROMPB_WRITE_METADATA);
    pb_put_uint(out, 1, type_to_wire(m->type));
    pb_put_bytes(out, 2, m->family);
    pb_put_bytes(out, 4, m->help);
    pb_put_bytes(out, 5, m->unit);
    pb_end(out, at);
}

/* ---- 2.0 ---- */
void prompb2_init(prompb2_writer *w, size_t max_bytes)
{
    *w = (prompb2_writer){ .series = BUF_INIT(max_bytes), .texts = arena_init(max_bytes) };
}

void prompb2_done(prompb2_writer *w)
{
    mem_free(w->slots);
    vec_done(&w->symbols);
    buf_done(&w->series);
    arena_done(&w->texts);
    *w = (prompb2_writer){ 0 };
}

size_t prompb2_size(const prompb2_writer *w) { return w->series.len + w->texts.used_bytes; }

/* Texts come from outside: an unforeseeable seed keeps the table even. */
static uint64_t symbol_hash(str s)
{
    static _Atomic uint64_t seed;
    uint64_t v = atomic_load_explicit(&seed, memory_order_relaxed);
    while (!v) {
        rand_secret(&v, sizeof v);
        atomic_store_explicit(&seed, v, memory_order_relaxed);
    }
    return hash_str(s, v);
}

static err_kind slots_grow(prompb2_writer *w)
{
    size_t cap = w->cap ? w->cap * 2 : 256;
    __typeof__(w->slots) slots = mem_calloc(cap, sizeof *slots);
    if (!slots)
        return ERR_NOMEM;
    for (size_t i = 0; i < w->cap; i++) {
        if (!w->slots[i].id)
            continue;
        size_t at = (size_t)w->slots[i].hash & (cap - 1);
        while (slots[at].id)
            at = (at + 1) & (cap - 1);
        slots[at] = w->slots[i];
    }
    mem_free(w->slots);
    w->slots = slots;
    w->cap = cap;
    return OK;
}

static uint64_t symbol_add(prompb2_writer *w, str s, size_t at, uint64_t hash)
{
    str copy = arena_str(&w->texts, s);
    if (!copy.ptr || vec_push(&w->symbols, copy)) {
        w->failed = true;
        return 0;
    }
    w->slots[at].hash = hash;
    return w->slots[at].id = (uint32_t)w->symbols.len - 1;
}

/* The number of a text; the empty one is 0, as the specification wants. */
static uint64_t symbol(prompb2_writer *w, str s)
{
    if (!s.len)
        return 0;
    if (w->symbols.len == 0 && vec_push(&w->symbols, STR_EMPTY))
        return w->failed = true, 0;
    if (w->symbols.len * 2 >= w->cap && slots_grow(w))
        return w->failed = true, 0;
    uint64_t hash = symbol_hash(s);
    size_t at = (size_t)hash & (w->cap - 1);
    for (; w->slots[at].id; at = (at + 1) & (w->cap - 1)) {
        if (w->slots[at].hash == hash && str_eq(w->symbols.at[w->slots[at].id], s))
            return w->slots[at].id;
    }
    return symbol_add(w, s, at, hash);
}

static void put_refs(prompb2_writer *w, labels l)
{
    size_t at = pb_begin(&w->series, 1);
    char *p = buf_reserve(&w->series, l.len * 2 * PB_VARINT_MAX), *from = p;
    for (size_t i = 0; p && i < l.len; i++) {
        p = pb_write_varint(p, symbol(w, l.at[i].name));
        p = pb_write_varint(p, symbol(w, l.at[i].value));
    }
    if (p)
        buf_commit(&w->series, (size_t)(p - from));
    pb_end(&w->series, at);
}

static void put_exemplar2(prompb2_writer *w, const exemplar *x)
{
    size_t at = pb_begin(&w->series, 4);
    put_refs(w, x->labels);
    pb_put_double(&w->series, 2, x->v);
    pb_put_uint(&w->series, 3, (uint64_t)x->t_ms);
    pb_end(&w->series, at);
}

static void put_metadata2(prompb2_writer *w, const prompb_series *s)
{
    size_t at = pb_begin(&w->series, 5);
    pb_put_uint(&w->series, 1, type_to_wire(s->type));
    pb_put_uint(&w->series, 3, symbol(w, s->help));
    pb_put_uint(&w->series, 4, symbol(w, s->unit));
    pb_end(&w->series, at);
}

void prompb2_add(prompb2_writer *w, const prompb_series *s)
{
    size_t at = pb_begin(&w->series, PROMPB2_SERIES);
    put_refs(w, s->labels);
    put_samples(&w->series, s, 0);
    for (size_t i = 0; i < s->histogram_count; i++)
        prompb_put_histogram(&w->series, 3, &s->histograms[i], 0);
    for (size_t i = 0; i < s->exemplar_count; i++)
        put_exemplar2(w, &s->exemplars[i]);
    put_metadata2(w, s);
    if (s->start_ms)
        pb_put_uint(&w->series, 6, (uint64_t)s->start_ms);
    pb_end(&w->series, at);
}

err_kind prompb2_finish(prompb2_writer *w, buf *out, err *e)
{
    if (!w->symbols.len && vec_push(&w->symbols, STR_EMPTY))
        w->failed = true;
    for (size_t i = 0; i < w->symbols.len; i++)
        pb_put_bytes(out, PROMPB2_SYMBOLS, w->symbols.at[i]);
    buf_append(out, buf_str(&w->series));
    bool failed = w->failed || buf_failed(&w->series) || buf_failed(out);
    buf_reset(&w->series);
    arena_reset(&w->texts);
    vec_clear(&w->symbols);
    if (w->cap)
        memset(w->slots, 0, w->cap * sizeof *w->slots);
    w->failed = false;
    return failed ? err_set(e, ERR_LIMIT, "could not build a remote write request: it is too large or memory is short")
                  : OK;
}
