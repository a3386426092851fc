/* query/read_chunk.c - bits of chunks. */
#include "query/read_chunk.h"

/* ---- bits, the highest first ---- */

typedef struct bits { buf *out; unsigned used; } bits; /* used: of the last byte; 8: it is full */

static void put(bits *b, uint64_t v, unsigned n)
{
    while (n > 0 && !buf_failed(b->out)) {
        if (b->used == 8) {
            buf_append_char(b->out, 0);
            b->used = 0;
            continue;
        }
        unsigned take = MIN(8 - b->used, n);
        uint8_t part = (uint8_t)((v >> (n - take)) & ((1u << take) - 1));
        b->out->ptr[b->out->len - 1] |= (char)(part << (8 - b->used - take));
        b->used += take;
        n -= take;
    }
}

static uint64_t of_double(double v)
{
    uint64_t u;
    memcpy(&u, &v, sizeof u);
    return u;
}

static void put_double(bits *b, double v) { put(b, of_double(v), 64); }

static void put_varint(bits *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        put(b, (v & 0x7f) | 0x80, 8);
    put(b, v, 8);
}

static uint64_t zigzag(int64_t v) { return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63); }

/* Fits `v` into n bits, the range being -(2^(n-1) - 1) .. 2^(n-1)? */
static bool in_bits(int64_t v, unsigned n) { return -((INT64_C(1) << (n - 1)) - 1) <= v && v <= INT64_C(1) << (n - 1); }

/* varbit.go: as many ones as the class, a zero, and so many bits. */
static const uint8_t varbit_widths[] = { 3, 6, 9, 12, 18, 25, 56 };

static void put_varbit_class(bits *b, size_t class, uint64_t v)
{
    unsigned width = class < COUNT_OF(varbit_widths) ? varbit_widths[class] : 64;
    unsigned ones = (unsigned)class + 1;
    put(b, (UINT64_C(1) << ones) - 1, ones);
    if (class < COUNT_OF(varbit_widths))
        put(b, 0, 1);
    put(b, width == 64 ? v : v & ((UINT64_C(1) << width) - 1), width);
}

static void put_varbit_signed(bits *b, int64_t v)
{
    size_t class = 0;
    while (class < COUNT_OF(varbit_widths) && !in_bits(v, varbit_widths[class]))
        class++;
    if (v == 0)
        put(b, 0, 1);
    else
        put_varbit_class(b, class, (uint64_t)v);
}

static void put_varbit(bits *b, uint64_t v)
{
    size_t class = 0;
    while (class < COUNT_OF(varbit_widths) && v >> varbit_widths[class])
        class++;
    if (v == 0)
        put(b, 0, 1);
    else
        put_varbit_class(b, class, v);
}

/* ---- floats ---- */

typedef struct xor_run { uint64_t value; unsigned leading, trailing; bool window; } xor_run;

static void put_xor(bits *b, xor_run *x, uint64_t value)
{
    uint64_t changed = x->value ^ value;
    x->value = value;
    put(b, changed != 0, 1);
    if (!changed)
        return;
    unsigned leading = MIN((unsigned)__builtin_clzll(changed), 31u), trailing = (unsigned)__builtin_ctzll(changed);
    bool fits = x->window && leading >= x->leading && trailing >= x->trailing;
    put(b, !fits, 1);
    if (!fits) {
        *x = (xor_run){ value, leading, trailing, true };
        put(b, leading, 5);
        put(b, 64 - leading - trailing, 6); /* 64 is written as 0 */
    }
    put(b, changed >> x->trailing, 64 - x->leading - x->trailing);
}

static void put_delta_change(bits *b, int64_t change)
{
    static const uint8_t widths[] = { 14, 17, 20 };
    for (unsigned i = 0; i < COUNT_OF(widths); i++) {
        if (change == 0 || !in_bits(change, widths[i]))
            continue;
        put(b, (UINT64_C(2) << (i + 1)) - 2, i + 2); /* 10, 110, 1110 */
        put(b, (uint64_t)change & ((UINT64_C(1) << widths[i]) - 1), widths[i]);
        return;
    }
    put(b, change == 0 ? 0 : 15, change == 0 ? 1 : 4);
    if (change != 0)
        put(b, (uint64_t)change, 64);
}

void read_chunk_put_floats(buf *out, const sample *at, size_t n)
{
    bits b = { out, 8 };
    xor_run x = { .value = of_double(at[0].v) };
    int64_t delta = 0;
    put(&b, n, 16);
    put_varint(&b, zigzag(at[0].t_ms));
    put_double(&b, at[0].v);
    for (size_t i = 1; i < n; i++) {
        int64_t step = (int64_t)((uint64_t)at[i].t_ms - (uint64_t)at[i - 1].t_ms);
        if (i == 1)
            put_varint(&b, (uint64_t)step);
        else
            put_delta_change(&b, (int64_t)((uint64_t)step - (uint64_t)delta));
        delta = step;
        put_xor(&b, &x, of_double(at[i].v));
    }
}

/* ---- a histogram ---- */

static void put_zero_threshold(bits *b, double v)
{
    int exponent;
    double fraction = frexp(v, &exponent);
    bool short_form = v == 0 || (fraction == 0.5 && exponent >= -242 && exponent <= 11);
    put(b, v == 0 ? 0 : short_form ? (uint64_t)(exponent + 243) : 255, 8);
    if (!short_form)
        put_double(b, v);
}

static void put_spans(bits *b, const histogram_side *s)
{
    put_varbit(b, s->span_count);
    for (uint32_t i = 0; i < s->span_count; i++) {
        put_varbit(b, s->spans[i].length);
        put_varbit_signed(b, s->spans[i].offset);
    }
}

/* Thousandths where that is exact, else all the bits. */
static void put_bounds(bits *b, const histogram *h)
{
    put_varbit(b, h->bound_count);
    for (uint32_t i = 0; i < h->bound_count; i++) {
        double thousandths = round(h->bounds[i] * 1000);
        bool exact = thousandths >= 0 && thousandths <= 33554430 && thousandths / 1000 == h->bounds[i];
        put_varbit(b, exact ? (uint64_t)thousandths + 1 : 0);
        if (!exact)
            put_double(b, h->bounds[i]);
    }
}

static void put_buckets(bits *b, const histogram_side *s)
{
    for (uint32_t i = 0; i < s->bucket_count; i++)
        put_double(b, s->buckets[i]);
}

void read_chunk_put_histogram(buf *out, const histogram_sample *s)
{
    const histogram *h = s->h;
    bits b = { out, 8 };
    put(&b, 1, 16);
    put(&b, h->reset == HISTOGRAM_GAUGE ? 3 : h->reset == HISTOGRAM_RESET_YES ? 2 : h->reset == HISTOGRAM_RESET_NO ? 1 : 0, 2);
    put(&b, 0, 6);
    put_zero_threshold(&b, h->zero_threshold);
    put_varbit_signed(&b, h->schema);
    put_spans(&b, &h->positive);
    put_spans(&b, &h->negative);
    if (h->schema == HISTOGRAM_CUSTOM)
        put_bounds(&b, h);
    put_varbit_signed(&b, s->t_ms);
    put_double(&b, h->count);
    put_double(&b, h->zero_count);
    put_double(&b, h->sum);
    put_buckets(&b, &h->positive);
    put_buckets(&b, &h->negative);
}
