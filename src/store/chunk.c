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

/* ---- closed ---- */

chunk *chunk_new(chunk_kind kind, uint32_t count, int64_t min_t_ms, int64_t max_t_ms, size_t size)
{
    chunk *c = mem_alloc(sizeof *c + size);
    if (!c)
        return NULL;
    *c = (chunk){ .size = (uint32_t)size, .count = (uint16_t)count, .kind = (uint8_t)kind, .min_t_ms = min_t_ms, .max_t_ms = max_t_ms };
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

chunk *chunk_of(const sample *at, size_t n)
{
    assert(n > 0 && n <= CHUNK_HARD_MAX_SAMPLES);
    chunk_pool p;
    filling f = { 0 };
    chunk *c = NULL;
    chunk_pool_init(&p);
    if (!chunk_pool_reserve(&p, (n * CHUNK_SAMPLE_MAX_BITS + CHUNK_BLOCK_BITS - 1) / CHUNK_BLOCK_BITS + 1)) {
        for (size_t i = 0; i < n; i++)
            filling_put(&f, &p, at[i].t_ms, at[i].v);
        c = filling_close(&f, &p);
    }
    chunk_pool_done(&p);
    return c;
}

/* ---- the pool ---- */

#define NO_SLAB UINT32_MAX
#define NO_BLOCK UINT32_MAX

void chunk_pool_init(chunk_pool *p) { *p = (chunk_pool){ .roomy = NO_SLAB }; }

void chunk_pool_done(chunk_pool *p)
{
    for (size_t i = 0; i < p->slabs.len; i++)
        mem_free(p->slabs.at[i].blocks);
    vec_done(&p->slabs);
    chunk_pool_init(p);
}

/* A number whose slab was given back, or a new one. */
static uint32_t slab_place(chunk_pool *p)
{
    if (p->live_slabs < p->slabs.len)
        for (size_t i = 0; i < p->slabs.len; i++)
            if (!p->slabs.at[i].blocks)
                return (uint32_t)i;
    if (p->slabs.len >= UINT32_MAX / CHUNK_SLAB_BLOCKS - 1 || vec_push(&p->slabs, (chunk_slab){ 0 }))
        return NO_SLAB;
    return (uint32_t)p->slabs.len - 1;
}

static err_kind slab_add(chunk_pool *p)
{
    uint32_t at = slab_place(p);
    if (at == NO_SLAB)
        return ERR_NOMEM;
    chunk_slab *slab = &p->slabs.at[at];
    slab->blocks = mem_alloc(CHUNK_SLAB_BLOCKS * sizeof *slab->blocks);
    if (!slab->blocks)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < CHUNK_SLAB_BLOCKS; i++)
        slab->blocks[i].next = i + 1 < CHUNK_SLAB_BLOCKS ? i + 1 : NO_BLOCK;
    slab->first_free = 0;
    slab->free_count = CHUNK_SLAB_BLOCKS;
    slab->next = p->roomy;
    p->roomy = at;
    p->free_count += CHUNK_SLAB_BLOCKS;
    p->live_slabs++;
    return OK;
}

err_kind chunk_pool_reserve(chunk_pool *p, size_t blocks)
{
    while (p->free_count < blocks)
        if (slab_add(p))
            return ERR_NOMEM;
    return OK;
}

static uint32_t block_take(chunk_pool *p)
{
    assert(p->roomy != NO_SLAB);
    uint32_t at = p->roomy;
    chunk_slab *slab = &p->slabs.at[at];
    uint32_t i = slab->first_free;
    slab->first_free = slab->blocks[i].next;
    slab->blocks[i].next = 0;
    p->free_count--;
    if (--slab->free_count == 0)
        p->roomy = slab->next;
    return at * CHUNK_SLAB_BLOCKS + i;
}

static void block_give(chunk_pool *p, uint32_t block)
{
    uint32_t at = block / CHUNK_SLAB_BLOCKS, i = block % CHUNK_SLAB_BLOCKS;
    chunk_slab *slab = &p->slabs.at[at];
    slab->blocks[i].next = slab->free_count ? slab->first_free : NO_BLOCK;
    slab->first_free = i;
    p->free_count++;
    if (slab->free_count++ == 0) {
        slab->next = p->roomy;
        p->roomy = at;
    }
}

void chunk_pool_tidy(chunk_pool *p)
{
    p->roomy = NO_SLAB;
    for (size_t i = p->slabs.len; i-- > 0;) {
        chunk_slab *slab = &p->slabs.at[i];
        if (!slab->blocks || slab->free_count == 0)
            continue;
        if (slab->free_count < CHUNK_SLAB_BLOCKS) {
            slab->next = p->roomy;
            p->roomy = (uint32_t)i;
            continue;
        }
        mem_free(slab->blocks);
        *slab = (chunk_slab){ 0 };
        p->free_count -= CHUNK_SLAB_BLOCKS;
        p->live_slabs--;
    }
    while (p->slabs.len > 0 && !vec_last(&p->slabs).blocks)
        p->slabs.len--;
}

/* ---- filling ---- */

/* The low n (1..64) bits of v, most significant first, into a block with room for them. The words are kept in the
 * order of the bytes of a closed chunk, so that closing is a copy. */
static inline void block_put(chunk_block *b, unsigned at, uint64_t v, unsigned n)
{
    unsigned word = at >> 6, used = at & 63;
    uint64_t top = v << (64 - n);
    uint64_t here = __builtin_bswap64(top >> used);
    b->words[word] = used ? b->words[word] | here : here;
    if (used + n > 64)
        b->words[word + 1] = __builtin_bswap64(top << (64 - used));
}

static uint32_t filling_grow(filling *f, chunk_pool *p)
{
    uint32_t block = block_take(p);
    if (f->tail)
        chunk_block_at(p, f->tail - 1)->next = block + 1;
    else
        f->first = block + 1;
    f->tail = block + 1;
    f->tail_bits = 0;
    f->blocks++;
    return block;
}

static inline void put_bits(filling *f, chunk_pool *p, uint64_t v, unsigned n)
{
    unsigned room = CHUNK_BLOCK_BITS - f->tail_bits;
    if (n <= room) {
        block_put(chunk_block_at(p, f->tail - 1), f->tail_bits, v, n);
        f->tail_bits = (uint16_t)(f->tail_bits + n);
        return;
    }
    if (room)
        block_put(chunk_block_at(p, f->tail - 1), f->tail_bits, v >> (n - room), room);
    block_put(chunk_block_at(p, filling_grow(f, p)), 0, v, n - room);
    f->tail_bits = (uint16_t)(n - room);
}

static void put_time(filling *f, chunk_pool *p, uint64_t dod)
{
    int64_t d = (int64_t)dod;
    for (size_t i = 0; i < COUNT_OF(time_codes); i++) {
        const time_code *tc = &time_codes[i];
        int64_t half = INT64_C(1) << (tc->bits - 1);
        if (d < -half || d >= half)
            continue;
        put_bits(f, p, (uint64_t)tc->prefix << tc->bits | (dod & ((UINT64_C(1) << tc->bits) - 1)), tc->prefix_bits + tc->bits);
        return;
    }
    put_bits(f, p, 0xf, 4);
    put_bits(f, p, dod, 64);
}

/* `zero`: a time code of one zero bit still to be written before the value's; most samples are one write. */
static inline void put_value(filling *f, chunk_pool *p, uint64_t bits, unsigned zero)
{
    uint64_t x = bits ^ f->last_bits;
    if (x == 0) {
        put_bits(f, p, 0, 1 + zero);
        return;
    }
    unsigned leading = MIN((unsigned)__builtin_clzll(x), 31), trailing = (unsigned)__builtin_ctzll(x), width;
    if (f->leading != 0xff && leading >= f->leading && trailing >= f->trailing) {
        width = 64u - f->leading - f->trailing;
        x >>= f->trailing;
        if (width <= 61) {
            put_bits(f, p, UINT64_C(2) << width | x, 2 + width + zero);
            return;
        }
        put_bits(f, p, 2, 2 + zero);
    } else {
        width = 64 - leading - trailing; /* 64 is written as 0 */
        x >>= trailing;
        f->leading = (uint8_t)leading;
        f->trailing = (uint8_t)trailing;
        put_bits(f, p, UINT64_C(3) << 11 | leading << 6 | (width & 63), 13 + zero);
    }
    put_bits(f, p, x, width);
}

void filling_put(filling *f, chunk_pool *p, int64_t t_ms, double v)
{
    uint64_t bits = double_bits(v);
    if (f->count == 0) {
        f->leading = 0xff;
        f->last_delta = 0;
        filling_grow(f, p);
        put_bits(f, p, (uint64_t)t_ms, 64);
        put_bits(f, p, bits, 64);
    } else {
        uint64_t delta = (uint64_t)t_ms - (uint64_t)f->last_t_ms, dod = delta - f->last_delta;
        if (dod)
            put_time(f, p, dod);
        put_value(f, p, bits, dod == 0);
        f->last_delta = delta;
    }
    f->last_bits = bits;
    f->last_t_ms = t_ms;
    f->count++;
}

void filling_copy(const filling *f, const chunk_pool *p, uint8_t *out)
{
    size_t left = filling_size(f);
    for (uint32_t at = f->first; left > 0;) {
        const chunk_block *b = chunk_block_at(p, at - 1);
        size_t n = MIN(left, sizeof b->words);
        memcpy(out, b->words, n);
        out += n;
        left -= n;
        at = b->next;
    }
}

int64_t filling_min_t(const filling *f, const chunk_pool *p)
{
    return (int64_t)__builtin_bswap64(chunk_block_at(p, f->first - 1)->words[0]);
}

chunk *filling_close(const filling *f, const chunk_pool *p)
{
    chunk *c = chunk_new(CHUNK_XOR, f->count, filling_min_t(f, p), f->last_t_ms, filling_size(f));
    if (c)
        filling_copy(f, p, c->bytes);
    return c;
}

void filling_clear(filling *f, chunk_pool *p)
{
    for (uint32_t at = f->first; at;) {
        uint32_t next = chunk_block_at(p, at - 1)->next;
        block_give(p, at - 1);
        at = next;
    }
    *f = (filling){ .last_t_ms = f->last_t_ms, .last_bits = f->last_bits };
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
