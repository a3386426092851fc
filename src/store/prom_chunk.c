#include "store/prom_chunk.h"

/* ---- bits, most significant first ---- */

typedef struct bits { const uint8_t *at; size_t len, bit; bool bad; } bits;

static inline uint64_t take(bits *b, unsigned n)
{
    if (n == 0)
        return 0;
    if (b->bad || n > b->len * 8 - b->bit) {
        b->bad = true;
        return 0;
    }
    size_t at = b->bit >> 3;
    unsigned used = b->bit & 7;
    uint8_t pad[9] = { 0 };
    const uint8_t *p = b->at + at;
    if (b->len - at < sizeof pad) {
        memcpy(pad, p, b->len - at);
        p = pad;
    }
    uint64_t word;
    memcpy(&word, p, sizeof word);
    word = __builtin_bswap64(word) << used;
    if (used)
        word |= p[8] >> (8 - used);
    b->bit += n;
    return word >> (64 - n);
}

/* Two's complement as Prometheus has it: of n bits 2^(n-1) is positive, one more than usual. */
static inline int64_t sign(uint64_t v, unsigned n)
{
    return n < 64 && v > UINT64_C(1) << (n - 1) ? (int64_t)(v - (UINT64_C(1) << n)) : (int64_t)v;
}

/* How many ones come, at most `most`; the zero behind fewer of them is taken too. */
static inline unsigned ones(bits *b, unsigned most)
{
    unsigned n = 0;
    while (n < most && take(b, 1))
        n++;
    return n;
}

/* varbit.go: a prefix of up to eight ones says how many bits follow. */
static const uint8_t varbit_widths[] = { 0, 3, 6, 9, 12, 18, 25, 56, 64 };
static uint64_t take_varbit(bits *b) { return take(b, varbit_widths[ones(b, 8)]); }
static int64_t take_signed_varbit(bits *b)
{
    unsigned width = varbit_widths[ones(b, 8)];
    return width ? sign(take(b, width), width) : 0;
}

/* Go's binary.Uvarint, its bytes in the bit stream. */
static uint64_t take_varint(bits *b)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint64_t byte = take(b, 8);
        v |= (byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return v;
    }
    b->bad = true;
    return 0;
}

static double to_double(uint64_t v)
{
    double d;
    memcpy(&d, &v, sizeof d);
    return d;
}

/* A run of values, each XORed with the one before. */
typedef struct xor_run { uint64_t value; uint8_t leading, trailing; bool window; } xor_run;

static void take_xor(bits *b, xor_run *x)
{
    if (!take(b, 1))
        return;
    if (take(b, 1)) {
        unsigned leading = (unsigned)take(b, 5), width = (unsigned)take(b, 6);
        width = width ? width : 64;
        if (leading + width > 64) {
            b->bad = true;
            return;
        }
        *x = (xor_run){ x->value, (uint8_t)leading, (uint8_t)(64 - leading - width), true };
    } else if (!x->window) {
        b->bad = true;
        return;
    }
    x->value ^= take(b, 64u - x->leading - x->trailing) << x->trailing;
}

static err_kind corrupt(err *e) { return err_set(e, ERR_CORRUPT, "a chunk of Prometheus makes no sense"); }

/* ---- floats ---- */

static const uint8_t time_widths[] = { 0, 14, 17, 20, 64 };

err_kind prom_chunk_samples(str data, sample_vec *out, err *e)
{
    bits b = { (const uint8_t *)data.ptr, data.len, 0, false };
    size_t count = (size_t)take(&b, 16);
    if (b.bad || count / 4 > data.len) /* a sample takes two bits at least */
        return corrupt(e);
    if (vec_reserve(out, out->len + count))
        return err_nomem(e);
    xor_run x = { 0 };
    int64_t t_ms = 0;
    uint64_t delta = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t before_ms = t_ms;
        if (i == 0) {
            uint64_t zigzag = take_varint(&b);
            t_ms = (int64_t)(zigzag >> 1 ^ -(zigzag & 1));
            x.value = take(&b, 64);
        } else {
            unsigned width;
            if (i == 1)
                delta = take_varint(&b);
            else if ((width = time_widths[ones(&b, 4)]))
                delta += (uint64_t)sign(take(&b, width), width);
            t_ms = (int64_t)((uint64_t)t_ms + delta);
            take_xor(&b, &x);
        }
        if (b.bad || (i > 0 && t_ms <= before_ms))
            return corrupt(e);
        out->at[out->len++] = (sample){ t_ms, to_double(x.value) };
    }
    return OK;
}

/* ---- histograms ---- */

typedef struct side { histogram_span *spans; uint32_t span_count, bucket_count; } side;
typedef struct layout {
    int8_t schema;
    uint8_t reset;           /* the chunk's header: flags of the first histogram */
    double zero_threshold;
    side positive, negative;
    double *bounds; uint32_t bound_count;
} layout;

enum { HEADER_GAUGE = 3 };

static double take_zero_threshold(bits *b)
{
    uint64_t code = take(b, 8);
    if (code == 0)
        return 0;
    return code == 255 ? to_double(take(b, 64)) : ldexp(0.5, (int)code - 243);
}

static err_kind take_side(bits *b, arena *a, side *ret, err *e)
{
    uint64_t spans = take_varbit(b), total = 0;
    if (b->bad || spans > b->len * 4) /* a span takes two bits at least */
        return corrupt(e);
    if (spans > HISTOGRAM_MAX_BUCKETS)
        return err_set(e, ERR_LIMIT, "a histogram of more than %d buckets", HISTOGRAM_MAX_BUCKETS);
    if (!(ret->spans = arena_array(a, histogram_span, spans + 1)))
        return err_nomem(e);
    for (uint64_t i = 0; i < spans; i++) {
        uint64_t length = take_varbit(b);
        int64_t offset = take_signed_varbit(b);
        if (b->bad || offset < INT32_MIN || offset > INT32_MAX)
            return corrupt(e);
        if (length > HISTOGRAM_MAX_BUCKETS || (total += length) > HISTOGRAM_MAX_BUCKETS)
            return err_set(e, ERR_LIMIT, "a histogram of more than %d buckets", HISTOGRAM_MAX_BUCKETS);
        ret->spans[i] = (histogram_span){ (int32_t)offset, (uint32_t)length };
    }
    ret->span_count = (uint32_t)spans;
    ret->bucket_count = (uint32_t)total;
    return OK;
}

static err_kind take_bounds(bits *b, arena *a, layout *l, err *e)
{
    uint64_t n = take_varbit(b);
    if (b->bad || n > b->len * 8)
        return corrupt(e);
    if (n > HISTOGRAM_MAX_BUCKETS)
        return err_set(e, ERR_LIMIT, "a histogram of more than %d buckets", HISTOGRAM_MAX_BUCKETS);
    if (!(l->bounds = arena_array(a, double, n + 1)))
        return err_nomem(e);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t code = take_varbit(b); /* thousandths + 1, or 0 and a whole double */
        l->bounds[i] = code ? (double)(code - 1) / 1000 : to_double(take(b, 64));
    }
    l->bound_count = (uint32_t)n;
    return b->bad ? corrupt(e) : OK;
}

static err_kind take_layout(bits *b, arena *a, layout *l, err *e)
{
    l->reset = (uint8_t)(take(b, 8) >> 6);
    l->zero_threshold = take_zero_threshold(b);
    int64_t schema = take_signed_varbit(b);
    if (b->bad || schema < INT8_MIN || schema > INT8_MAX)
        return corrupt(e);
    l->schema = (int8_t)schema;
    err_kind k = take_side(b, a, &l->positive, e);
    if (!k)
        k = take_side(b, a, &l->negative, e);
    if (!k && schema == HISTOGRAM_CUSTOM)
        k = take_bounds(b, a, l, e);
    return k;
}

/* A column of the chunk. Whole counts: delta of delta; floating ones: XOR. */
typedef struct column { int64_t v, delta; xor_run x; } column;

typedef struct walk {
    bits b;
    arena *a;
    layout l;
    bool floats;
    column time, count, zero, sum;
    column *buckets;          /* positive ones first */
    size_t bucket_count;
} walk;

/* `i`: of the sample. The first holds the value, the second its delta, the others the delta's change. */
static void take_whole(bits *b, column *c, size_t i, bool is_signed)
{
    int64_t v = is_signed ? take_signed_varbit(b) : (int64_t)take_varbit(b);
    if (i == 0) {
        c->v = v;
        return;
    }
    c->delta = i == 1 ? v : (int64_t)((uint64_t)c->delta + (uint64_t)v);
    c->v = (int64_t)((uint64_t)c->v + (uint64_t)c->delta);
}

static void take_float(bits *b, column *c, size_t i)
{
    if (i == 0)
        c->x.value = take(b, 64);
    else
        take_xor(b, &c->x);
}

static void take_count(walk *w, column *c, size_t i)
{
    if (w->floats)
        take_float(&w->b, c, i);
    else
        take_whole(&w->b, c, i, i > 0);
}

/* Whole buckets hold the difference to the bucket before them in the same histogram. */
static void side_counts(const walk *w, size_t first, size_t n, double *out)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        const column *c = &w->buckets[first + i];
        sum = (int64_t)((uint64_t)sum + (uint64_t)c->v);
        out[i] = w->floats ? to_double(c->x.value) : (double)sum;
    }
}

static histogram_reset reset_of(const layout *l, size_t i)
{
    if (l->reset == HEADER_GAUGE)
        return HISTOGRAM_GAUGE;
    return i > 0 ? HISTOGRAM_RESET_NO : HISTOGRAM_RESET_UNKNOWN; /* of the first: what came before is not here */
}

static double count_of(const walk *w, const column *c) { return w->floats ? to_double(c->x.value) : (double)(uint64_t)c->v; }

static histogram *build(walk *w, size_t i, bool stale)
{
    const layout *l = &w->l;
    histogram *h = arena_new(w->a, histogram);
    if (!h)
        return NULL;
    *h = (histogram){ .schema = l->schema, .reset = (uint8_t)reset_of(l, i), .integer = !w->floats, .sum = to_double(w->sum.x.value) };
    if (stale)
        return h;
    double *counts = arena_array(w->a, double, w->bucket_count + 1);
    if (!counts)
        return NULL;
    size_t positive = l->positive.bucket_count, negative = l->negative.bucket_count;
    side_counts(w, 0, positive, counts);
    side_counts(w, positive, negative, counts + positive);
    h->zero_threshold = l->zero_threshold;
    h->zero_count = count_of(w, &w->zero);
    h->count = count_of(w, &w->count);
    h->positive = (histogram_side){ l->positive.spans, l->positive.span_count, counts, (uint32_t)positive };
    h->negative = (histogram_side){ l->negative.spans, l->negative.span_count, counts + positive, (uint32_t)negative };
    h->bounds = l->bounds;
    h->bound_count = l->bound_count;
    return h;
}

/* One sample into the columns; *ret_stale: its sum says that the series ended, and no buckets follow. */
static void take_histogram(walk *w, size_t i, bool *ret_stale)
{
    bits *b = &w->b;
    take_whole(b, &w->time, i, i != 1);
    take_count(w, &w->count, i);
    take_count(w, &w->zero, i);
    take_float(b, &w->sum, i);
    *ret_stale = is_stale(to_double(w->sum.x.value));
    for (size_t j = 0; j < w->bucket_count && (i == 0 || !*ret_stale) && !b->bad; j++) {
        if (w->floats)
            take_float(b, &w->buckets[j], i);
        else
            take_whole(b, &w->buckets[j], i, true);
    }
}

err_kind prom_chunk_histograms(str data, prom_encoding encoding, arena *a, histogram_vec *out, err *e)
{
    walk w = { .b = { (const uint8_t *)data.ptr, data.len, 0, false }, .a = a, .floats = encoding == PROM_FLOAT_HISTOGRAM };
    size_t count = (size_t)take(&w.b, 16);
    if (w.b.bad || count / 2 > data.len)
        return corrupt(e);
    err_kind k = take_layout(&w.b, a, &w.l, e);
    if (k)
        return k;
    w.bucket_count = (size_t)w.l.positive.bucket_count + w.l.negative.bucket_count;
    if (w.bucket_count > HISTOGRAM_MAX_BUCKETS)
        return err_set(e, ERR_LIMIT, "a histogram of more than %d buckets", HISTOGRAM_MAX_BUCKETS);
    w.buckets = arena_array(a, column, w.bucket_count + 1);
    if (!w.buckets || vec_reserve(out, out->len + count))
        return err_nomem(e);
    for (size_t i = 0; i < count; i++) {
        int64_t before_ms = w.time.v;
        bool stale;
        take_histogram(&w, i, &stale);
        if (w.b.bad || (i > 0 && w.time.v <= before_ms))
            return corrupt(e);
        const histogram *h = build(&w, i, stale);
        if (!h)
            return err_nomem(e);
        out->at[out->len++] = (histogram_sample){ w.time.v, h };
    }
    return OK;
}
