#include "store/chunk.h"
#include <stdatomic.h>

/* The timestamp codes: prefix, its length, and how many bits of two's complement follow. */
typedef struct time_code { uint8_t prefix, prefix_bits, bits; } time_code;
static const time_code time_codes[] = {
    { 0x2, 2, 14 }, /* 10    up to ±8 s of jitter: scrapes that are late */
    { 0x6, 3, 17 }, /* 110   ±65 s: the first delta of most scrape intervals */
    { 0xe, 4, 20 }, /* 1110  ±8 min: gaps */
};

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

/* ---- memory ---- */

chunk *chunk_new(unsigned samples)
{
    size_t cap = (size_t)MIN(MAX(samples, 1), CHUNK_MAX_SAMPLES) * CHUNK_SAMPLE_MAX_BYTES;
    cap = MAX(cap, CHUNK_START_BYTES);
    chunk *c = mem_alloc(sizeof *c + cap + CHUNK_SLACK_BYTES);
    if (!c)
        return NULL;
    *c = (chunk){ .cap = (uint32_t)cap, .leading = 0xff };
    atomic_init(&c->refs, 1);
    return c;
}

chunk *chunk_ref(chunk *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void chunk_unref(chunk *c)
{
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        mem_free(c);
}

err_kind chunk_reserve(chunk **c, unsigned samples)
{
    size_t need = chunk_size(*c) + (size_t)samples * CHUNK_SAMPLE_MAX_BYTES;
    if (need <= (*c)->cap)
        return OK;
    /* Half as much again: a full chunk of a noisy gauge takes five moves, of a constant none. */
    size_t cap = MAX(need, (size_t)(*c)->cap + (*c)->cap / 2);
    cap = MIN(cap, MAX(need, (size_t)CHUNK_MAX_SAMPLES * CHUNK_SAMPLE_MAX_BYTES));
    chunk *moved = mem_realloc(*c, sizeof **c + cap + CHUNK_SLACK_BYTES);
    if (!moved)
        return ERR_NOMEM;
    moved->cap = (uint32_t)cap;
    *c = moved;
    return OK;
}

chunk *chunk_shrink(chunk *c)
{
    size_t cap = chunk_size(c);
    chunk *moved = mem_realloc(c, sizeof *c + cap + CHUNK_SLACK_BYTES);
    if (!moved)
        return c;
    moved->cap = (uint32_t)cap;
    return moved;
}

/* ---- writing ---- */

/* Append the low n (1..64) bits of v, most significant first. Stores 8 bytes at once: what lies behind the
 * new end becomes zero, which the next call relies on. */
static inline void put_bits(chunk *c, uint64_t v, unsigned n)
{
    uint8_t *p = c->bytes + (c->bits >> 3);
    unsigned used = c->bits & 7;
    uint64_t top = v << (64 - n);
    uint64_t word = top >> used;
    if (used)
        word |= (uint64_t)p[0] << 56;
    word = __builtin_bswap64(word);
    memcpy(p, &word, sizeof word);
    if (used + n > 64)
        p[8] = (uint8_t)(top << (64 - used) >> 56);
    c->bits += n;
}

static void put_time(chunk *c, uint64_t dod)
{
    int64_t d = (int64_t)dod;
    if (d == 0) {
        put_bits(c, 0, 1);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(time_codes); i++) {
        const time_code *tc = &time_codes[i];
        int64_t half = INT64_C(1) << (tc->bits - 1);
        if (d < -half || d >= half)
            continue;
        put_bits(c, (uint64_t)tc->prefix << tc->bits | (dod & ((UINT64_C(1) << tc->bits) - 1)), tc->prefix_bits + tc->bits);
        return;
    }
    put_bits(c, 0xf, 4);
    put_bits(c, dod, 64);
}

static void put_value(chunk *c, uint64_t bits)
{
    uint64_t x = bits ^ c->last_bits;
    if (x == 0) {
        put_bits(c, 0, 1);
        return;
    }
    unsigned leading = MIN((unsigned)__builtin_clzll(x), 31), trailing = (unsigned)__builtin_ctzll(x);
    if (c->leading != 0xff && leading >= c->leading && trailing >= c->trailing) {
        put_bits(c, 2, 2);
        put_bits(c, x >> c->trailing, 64u - c->leading - c->trailing);
        return;
    }
    unsigned width = 64 - leading - trailing; /* 64 is written as 0 */
    put_bits(c, UINT64_C(3) << 11 | leading << 6 | (width & 63), 13);
    put_bits(c, x >> trailing, width);
    c->leading = (uint8_t)leading;
    c->trailing = (uint8_t)trailing;
}

err_kind chunk_append(chunk *c, int64_t t_ms, double v)
{
    uint64_t bits = double_bits(v);
    if (c->count >= CHUNK_MAX_SAMPLES || chunk_size(c) + CHUNK_SAMPLE_MAX_BYTES > c->cap)
        return ERR_FULL;
    if (c->count == 0) {
        put_bits(c, (uint64_t)t_ms, 64);
        put_bits(c, bits, 64);
        c->min_t_ms = t_ms;
    } else {
        if (t_ms <= c->max_t_ms)
            return ERR_OUT_OF_ORDER;
        uint64_t delta = (uint64_t)t_ms - (uint64_t)c->max_t_ms;
        put_time(c, delta - c->last_delta);
        put_value(c, bits);
        c->last_delta = delta;
    }
    c->last_bits = bits;
    c->max_t_ms = t_ms;
    c->count++;
    return OK;
}

/* ---- reading ---- */

/* The next n (1..64) bits into *ret, or false at the end of the bytes. */
static inline bool get_bits(chunk_iter *it, unsigned n, uint64_t *ret)
{
    if (n > it->len * 8 - it->bit)
        return false;
    size_t at = it->bit >> 3;
    unsigned used = it->bit & 7;
    uint8_t pad[9] = { 0 };
    const uint8_t *p = it->bytes + at;
    if (it->len - at < sizeof pad) {
        memcpy(pad, p, it->len - at);
        p = pad;
    }
    uint64_t word;
    memcpy(&word, p, sizeof word);
    word = __builtin_bswap64(word) << used;
    if (used)
        word |= p[8] >> (8 - used);
    *ret = word >> (64 - n);
    it->bit += n;
    return true;
}

static inline bool get_time(chunk_iter *it, uint64_t *ret_dod)
{
    uint64_t bit, raw;
    if (!get_bits(it, 1, &bit))
        return false;
    *ret_dod = 0;
    if (!bit)
        return true;
    for (size_t i = 0; i < COUNT_OF(time_codes); i++) {
        if (!get_bits(it, 1, &bit))
            return false;
        if (bit)
            continue;
        unsigned bits = time_codes[i].bits;
        if (!get_bits(it, bits, &raw))
            return false;
        *ret_dod = (uint64_t)((int64_t)(raw << (64 - bits)) >> (64 - bits));
        return true;
    }
    return get_bits(it, 64, ret_dod);
}

static inline bool get_value(chunk_iter *it)
{
    uint64_t bit, raw;
    if (!get_bits(it, 1, &bit))
        return false;
    if (!bit)
        return true;
    if (!get_bits(it, 1, &bit))
        return false;
    if (bit) {
        if (!get_bits(it, 11, &raw))
            return false;
        unsigned leading = (unsigned)(raw >> 6), width = raw & 63 ? (unsigned)(raw & 63) : 64;
        if (leading + width > 64)
            return false;
        it->leading = (uint8_t)leading;
        it->trailing = (uint8_t)(64 - leading - width);
    } else if (it->leading == 0xff) {
        return false; /* a window is reused before there was one */
    }
    if (!get_bits(it, 64u - it->leading - it->trailing, &raw))
        return false;
    it->value_bits ^= raw << it->trailing;
    return true;
}

chunk_iter chunk_samples(str bytes, uint32_t count)
{
    return (chunk_iter){ .bytes = (const uint8_t *)bytes.ptr, .len = bytes.len, .left = count, .leading = 0xff };
}

static inline bool iter_step(chunk_iter *it)
{
    if (!it->started) {
        uint64_t t;
        it->started = true;
        if (!get_bits(it, 64, &t))
            return false;
        it->t_ms = (int64_t)t;
        return get_bits(it, 64, &it->value_bits);
    }
    uint64_t dod;
    if (!get_time(it, &dod) || !get_value(it))
        return false;
    it->delta += dod;
    int64_t t_ms = (int64_t)((uint64_t)it->t_ms + it->delta);
    if (t_ms <= it->t_ms)
        return false;
    it->t_ms = t_ms;
    return true;
}

bool chunk_next(chunk_iter *it, sample *ret)
{
    if (it->left == 0 || it->bad)
        return false;
    if (!iter_step(it)) {
        it->bad = true;
        return false;
    }
    it->left--;
    *ret = (sample){ it->t_ms, bits_double(it->value_bits) };
    return true;
}

err_kind chunk_decode(str bytes, uint32_t count, int64_t from_ms, int64_t to_ms, sample_vec *out)
{
    /* A foreign count may be a lie; every sample takes at least two bits. */
    if (count == 0 || count / 4 > bytes.len)
        return ERR_CORRUPT;
    if (vec_reserve(out, out->len + count))
        return ERR_NOMEM;
    chunk_iter it = chunk_samples(bytes, count);
    sample *put = out->at + out->len;
    for (uint32_t i = 0; i < count; i++) {
        if (!iter_step(&it))
            return ERR_CORRUPT;
        if (it.t_ms > to_ms)
            break;
        if (it.t_ms < from_ms)
            continue;
        *put++ = (sample){ it.t_ms, bits_double(it.value_bits) };
        out->len++;
    }
    return OK;
}
