#include "store/histogram_chunk.h"

/* The first byte of a sample. */
enum {
    CODE_LAYOUT = 1,     /* its layout follows; without: that of the sample before */
    CODE_WHOLE = 2,      /* counts are whole numbers, coded as zigzag varints */
    CODE_INTEGER = 4,    /* histogram.integer */
    CODE_RESET_SHIFT = 3 /* two bits of histogram.reset */
};
#define WHOLE_MAX 9007199254740992.0 /* 2^53: below it a double is the whole number it says */

/* ---- copies ---- */

static size_t side_bytes(const histogram_side *s)
{
    return s->bucket_count * sizeof *s->buckets + s->span_count * sizeof *s->spans;
}

static void *carve(char **at, const void *from, size_t n)
{
    void *to = *at;
    if (n)
        memcpy(to, from, n);
    *at += n;
    return to;
}

histogram *histogram_clone(const histogram *h)
{
    char *at = mem_alloc(sizeof *h + side_bytes(&h->positive) + side_bytes(&h->negative) + h->bound_count * sizeof *h->bounds);
    if (!at)
        return NULL;
    histogram *copy = carve(&at, h, sizeof *h);
    histogram_side *to[] = { &copy->positive, &copy->negative };
    const histogram_side *from[] = { &h->positive, &h->negative };
    for (int i = 0; i < 2; i++)
        to[i]->buckets = carve(&at, from[i]->buckets, from[i]->bucket_count * sizeof *from[i]->buckets);
    copy->bounds = carve(&at, h->bounds, h->bound_count * sizeof *h->bounds);
    for (int i = 0; i < 2; i++)
        to[i]->spans = carve(&at, from[i]->spans, from[i]->span_count * sizeof *from[i]->spans);
    return copy;
}

/* ---- numbers ---- */

static uint64_t bits_of(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static double of_bits(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* One byte: how many low bytes are zero and left out (high half), how many follow (low half). */
static uint8_t *put_xor(uint8_t *p, uint64_t x)
{
    unsigned low = x ? (unsigned)__builtin_ctzll(x) / 8 : 0, n = x ? 8 - (unsigned)__builtin_clzll(x) / 8 - low : 0;
    *p++ = (uint8_t)(low << 4 | n);
    x >>= 8 * low;
    for (unsigned i = 0; i < n; i++)
        *p++ = (uint8_t)(x >> 8 * i);
    return p;
}

static bool get_xor(wire_cursor *c, uint64_t *ret)
{
    if (wire_left(c) < 1)
        return false;
    unsigned low = c->at[0] >> 4, n = c->at[0] & 15;
    if (low + n > 8 || wire_left(c) < 1 + n)
        return false;
    *ret = 0;
    for (unsigned i = 0; i < n; i++)
        *ret |= (uint64_t)c->at[1 + i] << 8 * (low + i);
    c->at += 1 + n;
    return true;
}

static bool is_whole(double v) { return v >= 0 && v <= WHOLE_MAX && v == (double)(uint64_t)v && !signbit(v); }

static bool side_whole(const histogram_side *s)
{
    for (uint32_t i = 0; i < s->bucket_count; i++)
        if (!is_whole(s->buckets[i]))
            return false;
    return true;
}

static bool all_whole(const histogram *h)
{
    return is_whole(h->zero_count) && is_whole(h->count) && side_whole(&h->positive) && side_whole(&h->negative);
}

/* ---- layouts ---- */

static bool same_spans(const histogram_side *a, const histogram_side *b)
{
    if (a->span_count != b->span_count || a->bucket_count != b->bucket_count)
        return false;
    for (uint32_t i = 0; i < a->span_count; i++)
        if (a->spans[i].offset != b->spans[i].offset || a->spans[i].length != b->spans[i].length)
            return false;
    return true;
}

static bool same_layout(const histogram *a, const histogram *b)
{
    return a->schema == b->schema && bits_of(a->zero_threshold) == bits_of(b->zero_threshold) && a->bound_count == b->bound_count &&
           (a->bound_count == 0 || memcmp(a->bounds, b->bounds, a->bound_count * sizeof *a->bounds) == 0) &&
           same_spans(&a->positive, &b->positive) && same_spans(&a->negative, &b->negative);
}

static uint8_t *put_double(uint8_t *p, double v)
{
    wire_put_u64(p, bits_of(v));
    return p + 8;
}

static uint8_t *put_spans(uint8_t *p, const histogram_side *s)
{
    p = wire_put_varint(p, s->span_count);
    for (uint32_t i = 0; i < s->span_count; i++)
        p = wire_put_varint(wire_put_varint(p, wire_zigzag((uint64_t)(int64_t)s->spans[i].offset)), s->spans[i].length);
    return p;
}

static uint8_t *put_layout(uint8_t *p, const histogram *h)
{
    *p++ = (uint8_t)h->schema;
    p = put_double(p, h->zero_threshold);
    p = put_spans(put_spans(p, &h->positive), &h->negative);
    p = wire_put_varint(p, h->bound_count);
    for (uint32_t i = 0; i < h->bound_count; i++)
        p = put_double(p, h->bounds[i]);
    return p;
}

static bool get_double(wire_cursor *c, double *ret)
{
    if (wire_left(c) < 8)
        return false;
    *ret = of_bits(wire_u64(c->at));
    c->at += 8;
    return true;
}

static err_kind get_spans(wire_cursor *c, arena *a, histogram_side *s)
{
    uint64_t n, buckets = 0;
    if (!wire_varint(c, &n) || n > HISTOGRAM_MAX_BUCKETS || n > wire_left(c))
        return ERR_CORRUPT;
    histogram_span *spans = arena_array(a, histogram_span, n);
    if (!spans)
        return ERR_NOMEM;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t offset, length;
        if (!wire_varint(c, &offset) || !wire_varint(c, &length) || length > HISTOGRAM_MAX_BUCKETS)
            return ERR_CORRUPT;
        int64_t o = (int64_t)wire_unzigzag(offset);
        if (o < INT32_MIN || o > INT32_MAX)
            return ERR_CORRUPT;
        spans[i] = (histogram_span){ (int32_t)o, (uint32_t)length };
        buckets += length;
    }
    if (buckets > HISTOGRAM_MAX_BUCKETS)
        return ERR_CORRUPT;
    *s = (histogram_side){ .spans = spans, .span_count = (uint32_t)n, .bucket_count = (uint32_t)buckets };
    return OK;
}

static err_kind get_layout(wire_cursor *c, arena *a, histogram *h)
{
    err_kind k;
    uint64_t n;
    if (wire_left(c) < 1)
        return ERR_CORRUPT;
    *h = (histogram){ .schema = (int8_t)*c->at++ };
    if (!get_double(c, &h->zero_threshold))
        return ERR_CORRUPT;
    if ((k = get_spans(c, a, &h->positive)) || (k = get_spans(c, a, &h->negative)))
        return k;
    if (!wire_varint(c, &n) || n > HISTOGRAM_MAX_BUCKETS || n > wire_left(c) / 8)
        return ERR_CORRUPT;
    double *bounds = arena_array(a, double, n);
    if (!bounds)
        return ERR_NOMEM;
    for (uint64_t i = 0; i < n; i++)
        if (!get_double(c, &bounds[i]))
            return ERR_CORRUPT;
    h->bounds = bounds;
    h->bound_count = (uint32_t)n;
    return OK;
}

/* ---- samples ---- */

static uint8_t *put_count(uint8_t *p, bool whole, double v, double before)
{
    if (whole)
        return wire_put_varint(p, wire_zigzag((uint64_t)v - (uint64_t)before));
    return put_xor(p, bits_of(v) ^ bits_of(before));
}

static uint8_t *put_side(uint8_t *p, bool whole, const histogram_side *s, const histogram_side *before)
{
    for (uint32_t i = 0; i < s->bucket_count; i++)
        p = put_count(p, whole, s->buckets[i], before ? before->buckets[i] : 0);
    return p;
}

/* `last`: the sample before in the run, NULL for the first. */
static uint8_t *put_sample(uint8_t *p, const histogram *h, const histogram *last)
{
    bool whole = all_whole(h);
    if (last && (!same_layout(h, last) || whole != all_whole(last)))
        last = NULL;
    *p++ = (uint8_t)((last ? 0 : CODE_LAYOUT) | (whole ? CODE_WHOLE : 0) | (h->integer ? CODE_INTEGER : 0) | (h->reset & 3) << CODE_RESET_SHIFT);
    if (!last)
        p = put_layout(p, h);
    p = put_count(p, whole, h->zero_count, last ? last->zero_count : 0);
    p = put_count(p, whole, h->count, last ? last->count : 0);
    p = put_xor(p, bits_of(h->sum) ^ bits_of(last ? last->sum : 0));
    p = put_side(p, whole, &h->positive, last ? &last->positive : NULL);
    return put_side(p, whole, &h->negative, last ? &last->negative : NULL);
}

static bool get_count(wire_cursor *c, bool whole, double before, double *ret)
{
    uint64_t x;
    if (!whole) {
        if (!get_xor(c, &x))
            return false;
        *ret = of_bits(x ^ bits_of(before));
        return true;
    }
    if (!is_whole(before) || !wire_varint(c, &x))
        return false;
    x = (uint64_t)before + wire_unzigzag(x);
    *ret = (double)x;
    return x <= (uint64_t)WHOLE_MAX;
}

static err_kind get_side(wire_cursor *c, bool whole, const histogram_side *before, arena *a, histogram_side *s)
{
    if (s->bucket_count > wire_left(c))
        return ERR_CORRUPT; /* a bucket takes a byte at least */
    double *buckets = arena_array(a, double, s->bucket_count);
    if (!buckets)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < s->bucket_count; i++)
        if (!get_count(c, whole, before ? before->buckets[i] : 0, &buckets[i]))
            return ERR_CORRUPT;
    s->buckets = buckets;
    return OK;
}

/* `last`: NULL for the first sample. *ret shares the layout with `last` where it is the same. */
static err_kind get_sample(wire_cursor *c, const histogram *last, arena *a, histogram *ret)
{
    if (wire_left(c) < 1)
        return ERR_CORRUPT;
    uint8_t code = *c->at++;
    histogram h = last ? *last : (histogram){ 0 };
    err_kind k = code & CODE_LAYOUT ? get_layout(c, a, &h) : last ? OK : ERR_CORRUPT;
    if (k)
        return k;
    if (code & CODE_LAYOUT)
        last = NULL;
    bool whole = code & CODE_WHOLE;
    uint64_t sum;
    if (!get_count(c, whole, last ? last->zero_count : 0, &h.zero_count) || !get_count(c, whole, last ? last->count : 0, &h.count) || !get_xor(c, &sum))
        return ERR_CORRUPT;
    h.sum = of_bits(sum ^ bits_of(last ? last->sum : 0));
    h.integer = code & CODE_INTEGER;
    h.reset = code >> CODE_RESET_SHIFT & 3;
    if ((k = get_side(c, whole, last ? &last->positive : NULL, a, &h.positive)) || (k = get_side(c, whole, last ? &last->negative : NULL, a, &h.negative)))
        return k;
    *ret = h;
    return OK;
}

size_t histogram_code_max(const histogram *h)
{
    size_t buckets = (size_t)h->positive.bucket_count + h->negative.bucket_count, spans = (size_t)h->positive.span_count + h->negative.span_count;
    size_t layout = 1 + 8 + 3 * WIRE_VARINT_MAX + spans * 2 * WIRE_VARINT_MAX + h->bound_count * 8;
    return WIRE_VARINT_MAX + 1 + layout + (buckets + 3) * WIRE_VARINT_MAX;
}

uint8_t *histogram_put(uint8_t *at, const histogram *h) { return put_sample(at, h, NULL); }

err_kind histogram_get(wire_cursor *c, arena *a, histogram **ret)
{
    histogram *h = arena_new(a, histogram);
    if (!h)
        return ERR_NOMEM;
    err_kind k = get_sample(c, NULL, a, h);
    if (!k)
        *ret = h;
    return k;
}

/* ---- filling ---- */

void histogram_filling_done(histogram_filling *f)
{
    mem_free(f->bytes);
    mem_free(f->last);
    *f = (histogram_filling){ 0 };
}

err_kind histogram_filling_reserve(histogram_filling *f, size_t bytes)
{
    if (f->len + bytes <= f->cap)
        return OK;
    size_t cap = MAX(f->len + bytes, f->cap + f->cap / 4);
    uint8_t *bigger = mem_realloc(f->bytes, cap);
    if (!bigger)
        return ERR_NOMEM;
    f->bytes = bigger;
    f->cap = cap;
    return OK;
}

void histogram_filling_put(histogram_filling *f, int64_t t_ms, histogram *own)
{
    uint64_t delta = f->count ? (uint64_t)t_ms - (uint64_t)f->last_t_ms : (uint64_t)t_ms;
    assert(f->len + histogram_code_max(own) <= f->cap);
    uint8_t *p = wire_put_varint(f->bytes + f->len, wire_zigzag(delta - f->last_delta));
    p = put_sample(p, own, f->count ? f->last : NULL);
    f->len = (size_t)(p - f->bytes);
    if (f->count == 0)
        f->min_t_ms = t_ms;
    f->last_delta = f->count ? delta : 0;
    f->last_t_ms = t_ms;
    f->count++;
    mem_free(f->last);
    f->last = own;
}

chunk *histogram_filling_close(const histogram_filling *f)
{
    chunk *c = chunk_new(CHUNK_HISTOGRAM, f->count, f->min_t_ms, f->last_t_ms, f->len);
    if (c)
        memcpy(c->bytes, f->bytes, f->len);
    return c;
}

void histogram_filling_clear(histogram_filling *f)
{
    mem_free(f->bytes);
    *f = (histogram_filling){ .last = f->last, .last_t_ms = f->last_t_ms };
}

err_kind histogram_chunk_of(const histogram_sample *at, size_t n, chunk **ret)
{
    histogram_filling f = { 0 };
    err_kind k = OK;
    for (size_t i = 0; !k && i < n; i++) {
        histogram *own = histogram_clone(at[i].h);
        k = own ? histogram_filling_reserve(&f, histogram_code_max(own)) : ERR_NOMEM;
        if (k)
            mem_free(own);
        else
            histogram_filling_put(&f, at[i].t_ms, own);
    }
    *ret = k ? NULL : histogram_filling_close(&f);
    histogram_filling_done(&f);
    return *ret ? OK : ERR_NOMEM;
}

/* ---- reading ---- */

err_kind histogram_chunk_decode(str bytes, uint32_t count, int64_t from_ms, int64_t to_ms, arena *a, histogram_vec *out)
{
    wire_cursor c = wire_read(bytes);
    histogram last;
    int64_t t_ms = 0;
    uint64_t delta = 0;
    if (count == 0)
        return ERR_CORRUPT;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t dod;
        if (!wire_varint(&c, &dod))
            return ERR_CORRUPT;
        delta += wire_unzigzag(dod);
        int64_t t = (int64_t)((uint64_t)t_ms + delta);
        if (i == 0)
            delta = 0;
        else if (t <= t_ms)
            return ERR_CORRUPT;
        t_ms = t;
        err_kind k = get_sample(&c, i ? &last : NULL, a, &last);
        if (k)
            return k;
        if (t_ms > to_ms)
            return OK;
        if (t_ms < from_ms)
            continue;
        histogram *kept = arena_dup(a, &last, sizeof last);
        if (!kept || vec_push(out, ((histogram_sample){ t_ms, kept })))
            return ERR_NOMEM;
    }
    return OK;
}
