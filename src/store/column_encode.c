#include "store/column_code.h"
#include "store/wire.h"
#include <math.h>
#include <stdlib.h>

static void put_byte(buf *out, unsigned v)
{
    uint8_t byte = (uint8_t)v;
    buf_append_bytes(out, &byte, 1);
}

static void put_varint(buf *out, uint64_t v)
{
    uint8_t bytes[WIRE_VARINT_MAX];
    buf_append_bytes(out, bytes, (size_t)(wire_put_varint(bytes, v) - bytes));
}

/* ---- bits out ---- */

typedef struct bit_sink { uint8_t *at; uint64_t bits; unsigned n; } bit_sink;

static inline void sink_put(bit_sink *s, uint64_t v, unsigned n) /* n <= 56 */
{
    s->bits |= v << s->n;
    s->n += n;
    for (; s->n >= 8; s->n -= 8, s->bits >>= 8)
        *s->at++ = (uint8_t)s->bits;
}

static inline uint8_t *sink_end(bit_sink *s)
{
    if (s->n)
        *s->at++ = (uint8_t)s->bits;
    return s->at;
}

/* ---- choosing ---- */

/* How a run of residuals is going to be written: those in base … base + 2^width - 1 in place, the rest as patches. */
typedef struct plan {
    int64_t base;
    unsigned low_bits;           /* stored as they are */
    unsigned classes;            /* distinct tops; 1: none are stored */
    double cost_bits;
} plan;

/* c * log2(c), as far as a column can count. */
static double weighted(uint32_t c)
{
    static _Thread_local float known[COLUMN_MAX + 1];
    if (c > 1 && c <= COLUMN_MAX && known[c] == 0)
        known[c] = (float)((double)c * log2((double)c));
    return c <= COLUMN_MAX ? (double)known[c] : (double)c * log2((double)c);
}

/* The cheapest split of the bits of residuals in base … base + span into tops and low bits. */
static void plan_split(const int64_t *r, size_t n, uint64_t span, plan *p)
{
    uint32_t counts[CLASS_MAX] = { 0 };
    unsigned width = bit_length(span), shift = width > 7 ? width - 7 : 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t u = (uint64_t)r[i] - (uint64_t)p->base;
        if (u <= span)
            counts[u >> shift]++;
    }
    p->classes = 1;
    p->low_bits = width;
    p->cost_bits = (double)n * width;
    for (unsigned len = (unsigned)(span >> shift) + 1; len > 1; shift++) {
        double bits = weighted((uint32_t)n);
        for (unsigned i = 0; i < len; i++)
            bits -= weighted(counts[i]);
        /* Whole bits a code cost some percent over the entropy; the streams' lengths and ends about eight bytes. */
        bits = MAX(bits * 1.02, (double)n) + (double)n * shift + 4.0 * len + 64;
        if (bits < p->cost_bits && shift <= LOW_MAX_BITS) {
            p->cost_bits = bits;
            p->classes = len;
            p->low_bits = shift;
        }
        for (unsigned i = 0; i < len; i += 2)
            counts[i / 2] = counts[i] + (i + 1 < len ? counts[i + 1] : 0);
        len = (len + 1) / 2;
    }
    if (p->classes == 1 && p->low_bits > LOW_MAX_BITS)
        p->low_bits = 64;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

#define PROBES 33

/* A value in the middle of the others, from a few of them. */
static int64_t middle(const int64_t *r, size_t n)
{
    int64_t probes[PROBES];
    size_t count = MIN(n, PROBES);
    for (size_t i = 0; i < count; i++)
        probes[i] = r[i * n / count];
    qsort(probes, count, sizeof *probes, by_size);
    return probes[count / 2];
}

/* Lengths of the distances from `mid`, with a sign: how many take how many bits. */
static void count_lengths(const int64_t *r, size_t n, int64_t mid, uint32_t counts[65])
{
    memset(counts, 0, 65 * sizeof *counts);
    for (size_t i = 0; i < n; i++)
        counts[bit_length(wire_zigzag((uint64_t)r[i] - (uint64_t)mid))]++;
}

/* The window around `mid` outside of which residuals are better patches. */
static unsigned window_bits(const uint32_t counts[65], size_t n)
{
    double best = INFINITY, inside = 0, far = 0;
    unsigned best_w = 64;
    for (unsigned i = 1; i <= 64; i++)
        inside += counts[i] * (i - 0.5);
    for (unsigned w = 65; w-- > 0;) { /* inside: lengths up to w */
        double bits = inside + far + (w ? 0.7 * (double)n : 0);
        if (bits < best) {
            best = bits;
            best_w = w;
        }
        far += counts[w] * (w + 12.0);
        inside -= w ? counts[w] * (w - 0.5) : 0;
    }
    return best_w;
}

static double patch_bits(const int64_t *r, size_t n, const plan *p, uint64_t span)
{
    double bits = 8;
    for (size_t i = 0; i < n; i++) {
        uint64_t u = (uint64_t)r[i] - (uint64_t)p->base;
        if (u > span)
            bits += 8.0 * (1 + (bit_length(wire_zigzag(u)) + 6) / 7);
    }
    return bits;
}

/* The least and the largest residual in low … high; there is one. */
static void bounds(const int64_t *r, size_t n, int64_t low, int64_t high, int64_t *ret_min, int64_t *ret_max)
{
    int64_t min = INT64_MAX, max = INT64_MIN;
    for (size_t i = 0; i < n; i++)
        if (r[i] >= low && r[i] <= high) {
            min = MIN(min, r[i]);
            max = MAX(max, r[i]);
        }
    *ret_min = min;
    *ret_max = max;
}

/* Everything inside, or a window around `mid` (which is one of them) and patches: what takes less. */
static plan plan_residuals(const int64_t *r, size_t n, int64_t mid, const uint32_t lengths[65])
{
    int64_t min, max;
    bounds(r, n, INT64_MIN, INT64_MAX, &min, &max);
    plan all = { .base = min };
    plan_split(r, n, (uint64_t)max - (uint64_t)min, &all);
    unsigned w = window_bits(lengths, n);
    if (min == max || w >= 63)
        return all;
    /* What a zigzag of w bits can say: -half … half - 1. */
    int64_t half = w ? INT64_C(1) << (w - 1) : 0, below = half, above = w ? half - 1 : 0;
    bounds(r, n, mid < INT64_MIN + below ? INT64_MIN : mid - below, mid > INT64_MAX - above ? INT64_MAX : mid + above, &min, &max);
    plan some = { .base = min };
    plan_split(r, n, (uint64_t)max - (uint64_t)min, &some);
    some.cost_bits += patch_bits(r, n, &some, (uint64_t)max - (uint64_t)min);
    return some.cost_bits < all.cost_bits ? some : all;
}

/* ---- whole numbers out ---- */

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The factor that all distances from the first share: pages, multiples of a scale, singles among doubles. */
static uint64_t common_factor(const int64_t *x, size_t n)
{
    uint64_t g = 0;
    for (size_t i = 1; i < n && g != 1; i++) {
        uint64_t d = (uint64_t)x[i] - (uint64_t)x[0];
        d = x[i] < x[0] ? -d : d;
        if (d > INT64_MAX)
            return 1;
        if (g == 0 || d % g != 0)
            g = gcd(g, d);
    }
    return g ? g : 1;
}

static size_t residuals(const int64_t *y, size_t n, unsigned predictor, int64_t *r)
{
    if (predictor == PREDICT_FIRST) {
        memcpy(r, y + 1, (n - 1) * sizeof *r);
        return n - 1;
    }
    for (size_t i = 1; i < n; i++)
        r[i - 1] = (int64_t)((uint64_t)y[i] - (uint64_t)y[i - 1]);
    if (predictor == PREDICT_BEFORE)
        return n - 1;
    for (size_t i = 1; i + 1 < n; i++)
        r[i - 1] = (int64_t)((uint64_t)r[i] - (uint64_t)r[i - 1]);
    return n - 2;
}

/* The largest distance from the base that is written in place. */
static uint64_t plan_span(const plan *p)
{
    return p->low_bits >= 64 ? UINT64_MAX : ((uint64_t)p->classes << p->low_bits) - 1;
}

static size_t count_patches(const int64_t *r, size_t n, const plan *p)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += (uint64_t)r[i] - (uint64_t)p->base > plan_span(p);
    return count;
}

static void put_patches(buf *out, const int64_t *r, size_t n, const plan *p, size_t count)
{
    size_t before = 0;
    put_varint(out, count);
    for (size_t i = 0; i < n; i++) {
        uint64_t u = (uint64_t)r[i] - (uint64_t)p->base;
        if (u <= plan_span(p))
            continue;
        put_varint(out, i - before);
        put_varint(out, wire_zigzag(u));
        before = i;
    }
}

static void put_tops(buf *out, const uint8_t *tops, size_t n, const plan *p)
{
    uint32_t counts[CLASS_MAX] = { 0 };
    uint8_t lens[CLASS_MAX + 1] = { 0 };
    code codes[CLASS_MAX];
    for (size_t i = 0; i < n; i++)
        counts[tops[i]]++;
    column_code_lengths(counts, p->classes, lens);
    (void)!column_code_assign(lens, p->classes, codes);
    put_byte(out, p->classes - 1);
    for (unsigned i = 0; i < p->classes; i += 2)
        put_byte(out, lens[i] | (unsigned)lens[i + 1] << 4);
    size_t streams = n >= STREAMED_FROM ? STREAMS : 1, each = (n + streams - 1) / streams;
    uint8_t bytes[COLUMN_MAX * CODE_MAX_BITS / 8 + STREAMS + 1], *at = bytes;
    for (size_t s = 0; s < streams; s++) {
        bit_sink sink = { .at = at };
        for (size_t i = s * each; i < MIN(n, (s + 1) * each); i++)
            sink_put(&sink, codes[tops[i]].bits, codes[tops[i]].len);
        uint8_t *end = sink_end(&sink);
        put_varint(out, (uint64_t)(end - at));
        at = end;
    }
    buf_append_bytes(out, bytes, (size_t)(at - bytes));
}

static void put_lows(buf *out, const uint64_t *u, size_t n, unsigned bits)
{
    uint8_t bytes[COLUMN_MAX * 8 + 1];
    bit_sink sink = { .at = bytes };
    if (bits == 64) {
        for (size_t i = 0; i < n; i++, sink.at += 8)
            wire_put_u64(sink.at, u[i]);
    } else {
        for (size_t i = 0; i < n; i++)
            sink_put(&sink, u[i] & low_mask(bits), bits);
    }
    uint8_t *end = sink_end(&sink);
    buf_append_bytes(out, bytes, (size_t)(end - bytes));
}

/* The tops and low bits of n residuals; at a patched place those of the base. */
static void put_residuals(buf *out, const int64_t *r, size_t n, const plan *p)
{
    uint64_t u[COLUMN_MAX], span = plan_span(p);
    uint8_t tops[COLUMN_MAX];
    for (size_t i = 0; i < n; i++) {
        u[i] = (uint64_t)r[i] - (uint64_t)p->base;
        u[i] = u[i] <= span ? u[i] : 0;
        tops[i] = p->classes > 1 ? (uint8_t)(u[i] >> p->low_bits) : 0;
    }
    if (p->classes > 1)
        put_tops(out, tops, n, p);
    if (p->low_bits)
        put_lows(out, u, n, p->low_bits);
}

/* Which predictor leaves the least, by the lengths of what it leaves. */
static unsigned choose_predictor(const int64_t *y, size_t n, int64_t *ret_mid, uint32_t ret_lengths[65])
{
    static const double handicap[] = { [PREDICT_FIRST] = 0, [PREDICT_BEFORE] = 0, [PREDICT_LINE] = 0.25 };
    double best_bits = INFINITY;
    unsigned best = PREDICT_FIRST;
    for (unsigned p = PREDICT_FIRST; p <= PREDICT_LINE && n > p; p++) {
        int64_t r[COLUMN_MAX];
        uint32_t lengths[65];
        size_t m = residuals(y, n, p, r);
        int64_t mid = middle(r, m);
        count_lengths(r, m, mid, lengths);
        double bits = (double)m * handicap[p];
        for (unsigned i = 0; i < 65; i++)
            bits += lengths[i] * (double)i;
        if (bits < best_bits) {
            best_bits = bits;
            best = p;
            *ret_mid = mid;
            memcpy(ret_lengths, lengths, sizeof lengths);
        }
    }
    return best;
}

/* flags, first, [step], [factor], base, low bits, [patches], [tops], lows; a run of equal numbers ends after `first`. */
static void put_ints(buf *out, const int64_t *x, size_t n)
{
    int64_t y[COLUMN_MAX], r[COLUMN_MAX], mid = 0;
    uint32_t lengths[65] = { 0 };
    bool constant = true;
    for (size_t i = 1; i < n && constant; i++)
        constant = x[i] == x[0];
    if (constant) {
        put_byte(out, INTS_EQUAL);
        put_varint(out, wire_zigzag((uint64_t)x[0]));
        return;
    }
    uint64_t factor = common_factor(x, n);
    for (size_t i = 0; i < n; i++)
        y[i] = (int64_t)((uint64_t)x[i] - (uint64_t)x[0]);
    if (factor > 1)
        for (size_t i = 0; i < n; i++)
            y[i] /= (int64_t)factor;
    unsigned predictor = choose_predictor(y, n, &mid, lengths);
    size_t m = residuals(y, n, predictor, r);
    plan p = plan_residuals(r, m, mid, lengths);
    size_t patches = count_patches(r, m, &p);
    put_byte(out, predictor | (patches ? INTS_PATCHES : 0) | (p.classes > 1 ? INTS_TOPS : 0) | (factor > 1 ? INTS_FACTOR : 0));
    put_varint(out, wire_zigzag((uint64_t)x[0]));
    if (predictor == PREDICT_LINE)
        put_varint(out, wire_zigzag((uint64_t)y[1]));
    if (factor > 1)
        put_varint(out, factor);
    put_varint(out, wire_zigzag((uint64_t)p.base));
    put_byte(out, p.low_bits);
    if (patches)
        put_patches(out, r, m, &p, patches);
    put_residuals(out, r, m, &p);
}

void column_put_times(buf *out, const int64_t *t_ms, size_t n) { put_ints(out, t_ms, n); }

/* ---- values out ---- */

/* Is v the double next to *ret / 10^power, to the bit? */
static inline bool decimal(double v, unsigned power, int64_t *ret)
{
    double scaled = v * column_powers[power];
    if (!(fabs(scaled) < 0x1p53))
        return false;
    int64_t whole = (int64_t)rint(scaled);
    *ret = whole;
    return double_bits((double)whole / column_powers[power]) == double_bits(v);
}

/* The least power of ten that makes (nearly) all values whole, and at which places it does not. False: none does. */
static bool choose_power(const double *v, size_t n, unsigned *ret_power, size_t *ret_apart)
{
    size_t apart_max = n / 16 + 1, apart = 0;
    unsigned power = 0;
    int64_t whole;
    for (size_t i = 0; i < n; i++) {
        unsigned p = power;
        while (p <= POWER_MAX && !decimal(v[i], p, &whole))
            p = isfinite(v[i]) ? p + 1 : POWER_MAX + 1;
        if (p <= POWER_MAX)
            power = p;
        else if (++apart > apart_max)
            return false;
    }
    for (size_t i = apart = 0; i < n; i++) /* a power grown later may be too large for what came before */
        apart += !decimal(v[i], power, &whole);
    *ret_power = power;
    *ret_apart = apart;
    return apart <= apart_max && apart < n;
}

static void put_apart(buf *out, const double *v, size_t n, unsigned power, size_t apart)
{
    size_t before = 0;
    put_varint(out, apart);
    for (size_t i = 0; i < n; i++) {
        int64_t whole;
        uint8_t bytes[8];
        if (decimal(v[i], power, &whole))
            continue;
        put_varint(out, i - before);
        wire_put_u64(bytes, double_bits(v[i]));
        buf_append_bytes(out, bytes, sizeof bytes);
        before = i;
    }
}

void column_put_values(buf *out, const double *v, size_t n)
{
    int64_t x[COLUMN_MAX], whole = 0;
    unsigned power;
    size_t apart, first = 0;
    if (!choose_power(v, n, &power, &apart)) {
        for (size_t i = 0; i < n; i++)
            x[i] = ordered(double_bits(v[i]));
        put_byte(out, VALUES_ORDERED);
        put_ints(out, x, n);
        return;
    }
    put_byte(out, power | (apart ? VALUES_APART : 0));
    if (apart)
        put_apart(out, v, n, power, apart);
    while (!decimal(v[first], power, &whole))
        first++;
    for (size_t i = 0; i < n; i++) /* in the place of what is apart stands what was there before */
        x[i] = decimal(v[i], power, &x[i]) ? x[i] : i > first ? x[i - 1] : whole;
    put_ints(out, x, n);
}
