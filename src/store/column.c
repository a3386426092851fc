#include "store/column.h"
#include "store/wire.h"
#include <math.h>
#include <stdlib.h>

/* ---- the format's numbers ---- */

enum { PREDICT_FIRST, PREDICT_BEFORE, PREDICT_LINE };

/* First byte of the whole numbers. */
#define INTS_PREDICTOR 0x03u
#define INTS_PATCHES 0x04u
#define INTS_TOPS 0x08u
#define INTS_FACTOR 0x10u
#define INTS_EQUAL 0x20u      /* all are as the first */
#define INTS_KNOWN 0x3fu
/* First byte of a column of values: the power of ten, or … */
#define VALUES_POWER 0x0fu
#define VALUES_ORDERED 0x10u  /* … bits in order */
#define VALUES_APART 0x20u    /* some values are kept apart */
#define VALUES_KNOWN 0x3fu

#define POWER_MAX 15u
#define CODE_MAX_BITS 10u     /* of a Huffman code: five fit a refill of 57 bits, a table is 2 KiB */
#define CLASS_MAX 128u        /* distinct tops */
#define STREAMS 4u
#define STREAMED_FROM 64u     /* fewer residuals take one stream */
#define LOW_MAX_BITS 56u      /* more are stored as 64: an unaligned load gives 57 */

static const double powers[POWER_MAX + 1] = { 1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15 };

static inline uint64_t load_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static inline unsigned bit_length(uint64_t v) { return v ? 64u - (unsigned)__builtin_clzll(v) : 0; }
static inline uint64_t low_mask(unsigned bits) { return bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1; }

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

/* ---- Huffman codes of at most CODE_MAX_BITS ---- */

typedef struct code { uint16_t bits; uint8_t len; } code;

/* Bits are written lowest first, so a code stands in the stream in the order it is decided. */
static uint16_t reversed(uint32_t v, unsigned n)
{
    uint32_t r = 0;
    for (unsigned i = 0; i < n; i++)
        r |= (v >> i & 1) << (n - 1 - i);
    return (uint16_t)r;
}

/* Codes from their lengths, shorter first, then by number. False: the lengths are no complete code. */
static bool code_assign(const uint8_t *lens, unsigned n, code *ret)
{
    unsigned count[CODE_MAX_BITS + 1] = { 0 };
    uint32_t next[CODE_MAX_BITS + 2] = { 0 }, room = 0;
    for (unsigned i = 0; i < n; i++) {
        if (lens[i] > CODE_MAX_BITS)
            return false;
        count[lens[i]]++;
        room += lens[i] ? 1u << (CODE_MAX_BITS - lens[i]) : 0;
    }
    if (room != 1u << CODE_MAX_BITS)
        return false;
    for (unsigned len = 1; len <= CODE_MAX_BITS; len++)
        next[len + 1] = (next[len] + count[len]) << 1;
    for (unsigned i = 0; i < n; i++)
        ret[i] = (code){ lens[i] ? reversed(next[lens[i]]++, lens[i]) : 0, lens[i] };
    return true;
}

typedef struct leaf { uint32_t weight; uint16_t symbol; } leaf;

static int by_weight(const void *va, const void *vb)
{
    const leaf *a = va, *b = vb;
    return a->weight != b->weight ? (a->weight < b->weight ? -1 : 1) : (int)a->symbol - (int)b->symbol;
}

/* Depths of a Huffman tree over leaves sorted by weight: two queues (van Leeuwen, 1976). */
static void tree_depths(const leaf *leaves, unsigned n, uint8_t *depth)
{
    uint32_t weight[2 * CLASS_MAX];
    uint16_t parent[2 * CLASS_MAX];
    unsigned at = 0, inner = n, nodes = n;
    for (unsigned i = 0; i < n; i++)
        weight[i] = leaves[i].weight;
    for (; nodes < 2 * n - 1; nodes++) {
        weight[nodes] = 0;
        for (int child = 0; child < 2; child++) {
            unsigned take = at < n && (inner == nodes || weight[at] <= weight[inner]) ? at++ : inner++;
            weight[nodes] += weight[take];
            parent[take] = (uint16_t)nodes;
        }
    }
    uint8_t level[2 * CLASS_MAX];
    level[nodes - 1] = 0;
    for (unsigned i = nodes - 1; i-- > 0;)
        level[i] = (uint8_t)(level[parent[i]] + 1);
    memcpy(depth, level, n);
}

/* Too long codes are cut and the room they took too much is had back from the rarest of the others. */
static void limit_depths(uint8_t *depth, unsigned n)
{
    int64_t over = -(INT64_C(1) << CODE_MAX_BITS);
    for (unsigned i = 0; i < n; i++) {
        depth[i] = MIN(depth[i], (uint8_t)CODE_MAX_BITS);
        over += INT64_C(1) << (CODE_MAX_BITS - depth[i]);
    }
    for (unsigned i = 0; over > 0; i = i + 1 == n ? 0 : i + 1)
        if (depth[i] < CODE_MAX_BITS) {
            over -= INT64_C(1) << (CODE_MAX_BITS - depth[i] - 1);
            depth[i]++;
        }
    for (unsigned i = n; over < 0 && i-- > 0;) /* what is now free goes to the most frequent that it fits */
        while (depth[i] > 1 && (INT64_C(1) << (CODE_MAX_BITS - depth[i])) <= -over) {
            over += INT64_C(1) << (CODE_MAX_BITS - depth[i]);
            depth[i]--;
        }
}

/* Lengths of a code for symbols counted in `counts`, of which at least two occur. */
static void code_lengths(const uint32_t *counts, unsigned n, uint8_t *ret)
{
    leaf leaves[CLASS_MAX];
    uint8_t depth[CLASS_MAX];
    unsigned used = 0;
    for (unsigned i = 0; i < n; i++)
        if (counts[i])
            leaves[used++] = (leaf){ counts[i], (uint16_t)i };
    qsort(leaves, used, sizeof *leaves, by_weight);
    tree_depths(leaves, used, depth);
    limit_depths(depth, used);
    memset(ret, 0, n);
    for (unsigned i = 0; i < used; i++)
        ret[leaves[i].symbol] = depth[i];
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
    code_lengths(counts, p->classes, lens);
    (void)code_assign(lens, p->classes, codes);
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

static inline uint64_t double_bits(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static inline double bits_double(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* The bits of doubles such that larger values are larger numbers; its own inverse. */
static inline int64_t ordered(uint64_t bits) { return (int64_t)(bits ^ ((uint64_t)((int64_t)bits >> 63) >> 1)); }

/* Is v the double next to *ret / 10^power, to the bit? */
static inline bool decimal(double v, unsigned power, int64_t *ret)
{
    double scaled = v * powers[power];
    if (!(fabs(scaled) < 0x1p53))
        return false;
    int64_t whole = (int64_t)rint(scaled);
    *ret = whole;
    return double_bits((double)whole / powers[power]) == double_bits(v);
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

/* ---- whole numbers in ---- */

/* What stands at a place of the decoding table: the top, and how many bits its code takes. */
typedef struct decode_cell { uint8_t top, len; } decode_cell;

static bool read_byte(wire_cursor *c, unsigned *ret)
{
    if (c->at >= c->end)
        return false;
    *ret = *c->at++;
    return true;
}

/* The table for the longest code that occurs; *ret_bits: how many bits look it up. */
static bool read_code(wire_cursor *c, decode_cell table[1u << CODE_MAX_BITS], unsigned *ret_bits)
{
    uint8_t lens[CLASS_MAX + 1];
    code codes[CLASS_MAX];
    unsigned n, longest = 1;
    if (!read_byte(c, &n) || ++n < 2 || n > CLASS_MAX || wire_left(c) < (n + 1) / 2)
        return false;
    for (unsigned i = 0; i < n; i += 2) {
        lens[i] = c->at[i / 2] & 15;
        lens[i + 1] = c->at[i / 2] >> 4;
    }
    c->at += (n + 1) / 2;
    if (!code_assign(lens, n, codes))
        return false;
    for (unsigned i = 0; i < n; i++)
        longest = MAX(longest, lens[i]);
    for (unsigned i = 0; i < n; i++)
        if (lens[i])
            for (unsigned at = codes[i].bits; at < 1u << longest; at += 1u << lens[i])
                table[at] = (decode_cell){ (uint8_t)i, lens[i] };
    *ret_bits = longest;
    return true;
}

typedef struct bit_source { const uint8_t *at; size_t bit, end; } bit_source;

#define TOPS_AT_ONCE 5 /* codes a refill holds */

static inline void take_tops(bit_source *s, const decode_cell *table, uint64_t mask, uint8_t *ret)
{
    uint64_t bits = load_u64(s->at + (s->bit >> 3)) >> (s->bit & 7);
    unsigned used = 0;
    for (int i = 0; i < TOPS_AT_ONCE; i++) {
        decode_cell cell = table[bits & mask];
        ret[i] = cell.top;
        bits >>= cell.len;
        used += cell.len;
    }
    s->bit += used;
}

static bool take_rest(bit_source *s, const decode_cell *table, uint64_t mask, uint8_t *ret, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s->bit > s->end)
            return false;
        decode_cell cell = table[load_u64(s->at + (s->bit >> 3)) >> (s->bit & 7) & mask];
        ret[i] = cell.top;
        s->bit += cell.len;
    }
    return s->bit <= s->end;
}

/* Four walks at once: each waits for its own table look-ups, not for those of the others. */
static bool take_streams(bit_source s[STREAMS], const decode_cell *table, uint64_t mask, size_t each, size_t n, uint8_t *ret)
{
    size_t last = n - (STREAMS - 1) * each, done = 0;
    for (; done + TOPS_AT_ONCE <= last; done += TOPS_AT_ONCE) {
        bool inside = true;
        for (size_t i = 0; i < STREAMS; i++) {
            take_tops(&s[i], table, mask, ret + i * each + done);
            inside &= s[i].bit <= s[i].end;
        }
        if (!inside)
            return false;
    }
    bool good = true;
    for (size_t i = 0; i < STREAMS; i++)
        good &= take_rest(&s[i], table, mask, ret + i * each + done, (i + 1 < STREAMS ? each : last) - done);
    return good;
}

static bool read_tops(wire_cursor *c, size_t n, uint8_t *ret)
{
    decode_cell table[1u << CODE_MAX_BITS];
    unsigned bits;
    bit_source sources[STREAMS];
    uint64_t lens[STREAMS];
    size_t streams = n >= STREAMED_FROM ? STREAMS : 1;
    if (!read_code(c, table, &bits))
        return false;
    for (size_t i = 0; i < streams; i++)
        if (!wire_varint(c, &lens[i]))
            return false;
    for (size_t i = 0; i < streams; i++) {
        str bytes;
        if (!wire_bytes(c, lens[i], &bytes))
            return false;
        sources[i] = (bit_source){ (const uint8_t *)bytes.ptr, 0, bytes.len * 8 };
    }
    if (streams == 1)
        return take_rest(&sources[0], table, low_mask(bits), ret, n);
    return take_streams(sources, table, low_mask(bits), (n + STREAMS - 1) / STREAMS, n, ret);
}

static bool read_lows(wire_cursor *c, size_t n, unsigned bits, uint64_t *ret)
{
    size_t len = (n * bits + 7) / 8;
    const uint8_t *p = c->at;
    if (len > wire_left(c))
        return false;
    c->at += len;
    if (bits == 64) {
        for (size_t i = 0; i < n; i++)
            ret[i] = load_u64(p + 8 * i);
        return true;
    }
    uint64_t mask = low_mask(bits);
    for (size_t i = 0, bit = 0; i < n; i++, bit += bits)
        ret[i] = load_u64(p + (bit >> 3)) >> (bit & 7) & mask;
    return true;
}

typedef struct ints_header { unsigned flags, low_bits; uint64_t first, step, factor, base; wire_cursor patches; uint64_t patch_count; } ints_header;

static bool skip_patches(wire_cursor *c, ints_header *h, size_t n)
{
    uint64_t gap, v;
    if (!wire_varint(c, &h->patch_count) || h->patch_count > n)
        return false;
    h->patches = *c;
    for (uint64_t i = 0, at = 0; i < h->patch_count; i++)
        if (!wire_varint(c, &gap) || !wire_varint(c, &v) || gap >= n || (at += gap) >= n)
            return false;
    return true;
}

static bool read_header(wire_cursor *c, size_t n, ints_header *h)
{
    *h = (ints_header){ .factor = 1 };
    if (!read_byte(c, &h->flags) || h->flags & ~INTS_KNOWN || !wire_varint(c, &h->first))
        return false;
    h->first = wire_unzigzag(h->first);
    unsigned predictor = h->flags & INTS_PREDICTOR;
    if (h->flags & INTS_EQUAL)
        return h->flags == INTS_EQUAL;
    if (predictor > PREDICT_LINE || n <= (predictor == PREDICT_LINE ? 2u : 1u))
        return false;
    if ((predictor == PREDICT_LINE && !wire_varint(c, &h->step)) || (h->flags & INTS_FACTOR && !wire_varint(c, &h->factor)) ||
        !wire_varint(c, &h->base) || !read_byte(c, &h->low_bits) || (h->low_bits > LOW_MAX_BITS && h->low_bits != 64))
        return false;
    h->step = wire_unzigzag(h->step);
    h->base = wire_unzigzag(h->base);
    return !(h->flags & INTS_PATCHES) || skip_patches(c, h, n - (predictor == PREDICT_LINE ? 2 : 1));
}

/* Distances from the base, without the patches. */
static bool read_distances(wire_cursor *c, const ints_header *h, size_t n, uint64_t *ret)
{
    uint8_t tops[COLUMN_MAX + TOPS_AT_ONCE];
    bool has_tops = h->flags & INTS_TOPS;
    if (has_tops && (h->low_bits == 64 || !read_tops(c, n, tops)))
        return false;
    if (h->low_bits == 0)
        memset(ret, 0, n * sizeof *ret);
    else if (!read_lows(c, n, h->low_bits, ret))
        return false;
    if (has_tops)
        for (size_t i = 0; i < n; i++)
            ret[i] |= (uint64_t)tops[i] << h->low_bits;
    return true;
}

static void apply_patches(const ints_header *h, uint64_t *r)
{
    wire_cursor c = h->patches;
    uint64_t gap = 0, v = 0;
    for (uint64_t i = 0, at = 0; i < h->patch_count; i++) {
        if (!wire_varint(&c, &gap) || !wire_varint(&c, &v)) /* skip_patches has seen them */
            return;
        r[at += gap] = wire_unzigzag(v);
    }
}

/* From residuals, in place behind their start, to numbers. */
static void integrate(const ints_header *h, size_t n, uint64_t *x)
{
    unsigned predictor = h->flags & INTS_PREDICTOR;
    uint64_t base = h->base, y = 0;
    if (predictor == PREDICT_FIRST) {
        for (size_t i = 1; i < n; i++)
            x[i] += base;
    } else if (predictor == PREDICT_BEFORE) {
        for (size_t i = 1; i < n; i++)
            x[i] = y += x[i] + base;
    } else {
        uint64_t step = h->step;
        x[1] = y = step;
        for (size_t i = 2; i < n; i++) {
            step += x[i] + base;
            x[i] = y += step;
        }
    }
    x[0] = 0;
    uint64_t first = h->first, factor = h->factor;
    if (factor == 1)
        for (size_t i = 0; i < n; i++)
            x[i] += first;
    else
        for (size_t i = 0; i < n; i++)
            x[i] = x[i] * factor + first;
}

/* *ret_equal: only x[0] was written, all others are as it is. */
static bool read_ints(wire_cursor *c, size_t n, uint64_t *x, bool *ret_equal)
{
    ints_header h;
    if (!read_header(c, n, &h))
        return false;
    *ret_equal = h.flags & INTS_EQUAL;
    x[0] = h.first;
    if (*ret_equal)
        return true;
    size_t skip = (h.flags & INTS_PREDICTOR) == PREDICT_LINE ? 2 : 1;
    if (!read_distances(c, &h, n - skip, x + skip))
        return false;
    if (h.patch_count)
        apply_patches(&h, x + skip);
    integrate(&h, n, x);
    return true;
}

bool column_times(str bytes, size_t n, int64_t *ret)
{
    wire_cursor c = wire_read(bytes);
    bool equal;
    if (n == 0 || n > COLUMN_MAX || !read_ints(&c, n, (uint64_t *)ret, &equal))
        return false;
    for (size_t i = 1; equal && i < n; i++)
        ret[i] = ret[0];
    return true;
}

/* ---- values in ---- */

typedef struct apart { wire_cursor list; uint64_t count; } apart;

static bool skip_apart(wire_cursor *c, size_t n, apart *ret)
{
    uint64_t gap;
    if (!wire_varint(c, &ret->count) || ret->count > n)
        return false;
    ret->list = *c;
    for (uint64_t i = 0, at = 0; i < ret->count; i++) {
        if (!wire_varint(c, &gap) || gap >= n || (at += gap) >= n || wire_left(c) < 8)
            return false;
        c->at += 8;
    }
    return true;
}

static void apply_apart(const apart *a, double *v)
{
    wire_cursor c = a->list;
    uint64_t gap = 0;
    for (uint64_t i = 0, at = 0; i < a->count; i++, c.at += 8) {
        if (!wire_varint(&c, &gap))
            return;
        v[at += gap] = bits_double(wire_u64(c.at));
    }
}

static inline double to_value(uint64_t x, unsigned flags)
{
    return flags & VALUES_ORDERED ? bits_double((uint64_t)ordered(x)) : (double)(int64_t)x / powers[flags & VALUES_POWER];
}

static void to_values(const uint64_t *x, size_t n, unsigned flags, double *ret)
{
    double power = powers[flags & VALUES_POWER];
    if (flags & VALUES_ORDERED)
        for (size_t i = 0; i < n; i++)
            ret[i] = bits_double((uint64_t)ordered(x[i]));
    else if (power == 1)
        for (size_t i = 0; i < n; i++)
            ret[i] = (double)(int64_t)x[i];
    else
        for (size_t i = 0; i < n; i++)
            ret[i] = (double)(int64_t)x[i] / power;
}

bool column_values(str bytes, size_t n, double *ret)
{
    wire_cursor c = wire_read(bytes);
    uint64_t x[COLUMN_MAX];
    unsigned flags;
    apart a = { 0 };
    bool equal;
    if (n == 0 || n > COLUMN_MAX || !read_byte(&c, &flags) || flags & ~VALUES_KNOWN)
        return false;
    if ((flags & VALUES_APART && !skip_apart(&c, n, &a)) || !read_ints(&c, n, x, &equal))
        return false;
    if (equal) {
        double v = to_value(x[0], flags);
        for (size_t i = 0; i < n; i++)
            ret[i] = v;
    } else {
        to_values(x, n, flags, ret);
    }
    if (a.count)
        apply_apart(&a, ret);
    return true;
}
