/* watch/receive/series_cache.h - from a series as a sender spells it to the store's ref.
 *
 * A sender spells its series the same way in each request, so what the bytes of its labels meant last time they mean
 * this time: a hit costs a hash and one cache line instead of parsing, checking and sorting a score of labels. The key
 * is a 128-bit hash whose secret no sender knows (base/hash.h): half of it chooses the place, half is compared, so
 * two spellings are taken for one with a chance below 2^-56 a look.
 *
 * 16 bytes an entry in a table of open addressing, at most 5/8 full, up to SERIES_CACHE_MAX slots. Where the room ends
 * it begins anew, empty: larger, or as large where most of what it held was not seen for an age or two (an age:
 * SERIES_CACHE_AGE_MS). Forgetting costs one parse of each series and never an answer. One thread. */
#pragma once
#include "base/hash.h"

#define SERIES_CACHE_MAX (8u << 20) /* 128 MiB */
#define SERIES_CACHE_AGE_MS (20 * 60 * 1000)

typedef struct series_slot {
    uint64_t tag;    /* 56 bits of the hash and the age it was last seen in; ref 0: free */
    uint64_t ref;
} series_slot;
typedef struct series_cache {
    series_slot *slots;
    size_t cap, len; /* cap: a power of two, or 0 */
    uint64_t age;    /* 0..255, in the upper bits of tags */
    int64_t age_ms;  /* when it began */
} series_cache;

void series_cache_done(series_cache *c);
/* Before a request: ages, and makes room for `more` new entries. Without memory it forgets instead. */
void series_cache_begin(series_cache *c, size_t more, int64_t now_ms);
static inline void series_cache_prefetch(const series_cache *c, hash_wide key)
{
    if (c->cap)
        __builtin_prefetch(&c->slots[key.low & (c->cap - 1)]);
}
/* 0: not known. */
uint64_t series_cache_get(series_cache *c, hash_wide key);
/* Replaces. Nothing beyond the room that _begin made. */
void series_cache_put(series_cache *c, hash_wide key, uint64_t ref);
