#include "base/map.h"
#include "base/base.h"
#include "base/hash.h"
#include "base/rand.h"

/* Two parts: `entries` in insertion order (a hole has key NULL) and an index of open addressing, at most
 * half full, holding entry numbers + 1. Both live in one allocation: slots, then the index behind them. */
typedef struct map_slot {
    char *key;
    size_t key_len;
    uint64_t hash;
    void *value;
} map_slot;

/* One seed a process, so that keys from outside cannot be chosen to collide. */
static uint64_t seed(void)
{
    static uint64_t value;
    uint64_t v = __atomic_load_n(&value, __ATOMIC_RELAXED);
    if (v)
        return v;
    rand_secret(&v, sizeof v);
    v |= 1;
    uint64_t none = 0;
    __atomic_compare_exchange_n(&value, &none, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return none ? none : v;
}

static uint32_t *index_of(const map *m) { return (uint32_t *)(m->slots + m->cap); }
static size_t index_size(size_t cap) { return cap * 2; }

/* The index cell that holds the key, or the free cell where it would go. */
static uint32_t *cell_of(const map *m, str key, uint64_t hash)
{
    uint32_t *index = index_of(m);
    size_t mask = index_size(m->cap) - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        if (index[i] == 0)
            return &index[i];
        const map_slot *s = &m->slots[index[i] - 1];
        if (s->key && s->hash == hash && s->key_len == key.len && memcmp(s->key, key.ptr ? key.ptr : "", key.len) == 0)
            return &index[i];
    }
}

void map_done(map *m)
{
    for (size_t i = 0; i < m->used; i++)
        mem_free(m->slots[i].key);
    mem_free(m->slots);
    *m = (map)MAP_INIT;
}

static err_kind rebuild(map *m, size_t cap)
{
    map bigger = { .cap = cap };
    bigger.slots = mem_zalloc(cap * sizeof(map_slot) + index_size(cap) * sizeof(uint32_t));
    if (!bigger.slots)
        return ERR_NOMEM;
    for (size_t i = 0; i < m->used; i++) {
        map_slot *s = &m->slots[i];
        if (!s->key)
            continue;
        bigger.slots[bigger.used++] = *s;
        *cell_of(&bigger, (str){ s->key, s->key_len }, s->hash) = (uint32_t)bigger.used;
    }
    bigger.len = m->len;
    mem_free(m->slots);
    *m = bigger;
    return OK;
}

err_kind map_set(map *m, str key, void *value)
{
    uint64_t hash = hash_str(key, seed());
    if (m->cap) {
        uint32_t *cell = cell_of(m, key, hash);
        if (*cell)
            return m->slots[*cell - 1].value = value, OK;
    }
    /* When most slots are holes, rebuilding at the same size clears them. */
    if (m->used == m->cap && rebuild(m, m->len * 2 > m->cap ? MAX(m->cap * 2, 8) : MAX(m->cap, 8)))
        return ERR_NOMEM;
    char *copy = mem_alloc(key.len + 1);
    if (!copy)
        return ERR_NOMEM;
    if (key.len)
        memcpy(copy, key.ptr, key.len);
    copy[key.len] = '\0';
    m->slots[m->used] = (map_slot){ copy, key.len, hash, value };
    *cell_of(m, key, hash) = (uint32_t)++m->used;
    m->len++;
    return OK;
}

static map_slot *find(const map *m, str key)
{
    if (!m->cap)
        return NULL;
    uint32_t *cell = cell_of(m, key, hash_str(key, seed()));
    return *cell ? &m->slots[*cell - 1] : NULL;
}

void *map_get(const map *m, str key)
{
    map_slot *s = find(m, key);
    return s ? s->value : NULL;
}

bool map_has(const map *m, str key) { return find(m, key) != NULL; }

void *map_remove(map *m, str key)
{
    map_slot *s = find(m, key);
    if (!s)
        return NULL;
    void *value = s->value;
    mem_free(s->key); /* the slot stays a hole that its index cell still points to */
    *s = (map_slot){ 0 };
    m->len--;
    return value;
}

bool map_next(const map *m, size_t *pos, str *ret_key, void **ret_value)
{
    while (*pos < m->used) {
        const map_slot *s = &m->slots[(*pos)++];
        if (!s->key)
            continue;
        if (ret_key)
            *ret_key = (str){ s->key, s->key_len };
        if (ret_value)
            *ret_value = s->value;
        return true;
    }
    return false;
}
