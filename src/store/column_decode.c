#include "store/column_code.h"
#include "store/wire.h"

static inline uint64_t load_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
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
    if (!column_code_assign(lens, n, codes))
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
    return flags & VALUES_ORDERED ? bits_double((uint64_t)ordered(x)) : (double)(int64_t)x / column_powers[flags & VALUES_POWER];
}

static void to_values(const uint64_t *x, size_t n, unsigned flags, double *ret)
{
    double power = column_powers[flags & VALUES_POWER];
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
