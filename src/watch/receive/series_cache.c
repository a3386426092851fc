#include "watch/receive/series_cache.h"

#ifdef GALEN_TINY
#define FIRST_CAP 4
#define MAX_CAP 16
#else
#define FIRST_CAP 4096
#define MAX_CAP ((size_t)SERIES_CACHE_MAX)
#endif

#define TAG_BITS 56
#define AGE_MASK UINT64_C(0xff)
#define TAG_MASK ((UINT64_C(1) << TAG_BITS) - 1)

void series_cache_done(series_cache *c)
{
    mem_free(c->slots);
    *c = (series_cache){ 0 };
}

/* The slot of the key, or the free one where it would go. There is always a free one. */
static series_slot *slot_of(const series_cache *c, hash_wide key)
{
    for (size_t i = (size_t)key.low & (c->cap - 1);; i = (i + 1) & (c->cap - 1)) {
        series_slot *s = &c->slots[i];
        if (!s->ref || ((s->tag ^ key.high) & TAG_MASK) == 0)
            return s;
    }
}

/* Seen in this age or the one before. */
static bool fresh(const series_cache *c, const series_slot *s) { return ((c->age - (s->tag >> TAG_BITS)) & AGE_MASK) <= 1; }

/* An empty table; the old one's entries cannot move, since the part of the hash that places them is not kept. */
static bool start_anew(series_cache *c, size_t cap)
{
    series_slot *slots = mem_calloc(cap, sizeof *slots);
    if (!slots)
        return false;
    mem_free(c->slots);
    c->slots = slots;
    c->cap = cap;
    c->len = 0;
    return true;
}

static bool fits(size_t len, size_t cap) { return len <= cap * 5 / 8; }

/* Four times as large, or the same again where half of what it holds is not seen any more. */
static size_t next_cap(const series_cache *c, size_t more)
{
    size_t live = more, cap = MAX(c->cap, (size_t)FIRST_CAP);
    for (size_t i = 0; i < c->cap; i++)
        live += c->slots[i].ref && fresh(c, &c->slots[i]);
    while (!fits(live * 2, cap) && cap < MAX_CAP)
        cap *= 4;
    return MIN(cap, MAX_CAP);
}

void series_cache_begin(series_cache *c, size_t more, int64_t now_ms)
{
    if (now_ms - c->age_ms > SERIES_CACHE_AGE_MS || now_ms < c->age_ms) {
        c->age = (c->age + 1) & AGE_MASK;
        c->age_ms = now_ms;
    }
    if (fits(c->len + more, c->cap) || start_anew(c, next_cap(c, more)))
        return;
    if (c->cap)
        memset(c->slots, 0, c->cap * sizeof *c->slots);
    c->len = 0;
}

uint64_t series_cache_get(series_cache *c, hash_wide key)
{
    if (!c->cap)
        return 0;
    series_slot *s = slot_of(c, key);
    if (s->ref && s->tag >> TAG_BITS != c->age)
        s->tag = (key.high & TAG_MASK) | c->age << TAG_BITS;
    return s->ref;
}

void series_cache_put(series_cache *c, hash_wide key, uint64_t ref)
{
    if (!c->cap || !ref)
        return;
    series_slot *s = slot_of(c, key);
    if (!s->ref && !fits(c->len + 1, c->cap))
        return;
    c->len += !s->ref;
    *s = (series_slot){ (key.high & TAG_MASK) | c->age << TAG_BITS, ref };
}
