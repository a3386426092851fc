#include "store/postings.h"
#include "base/hash.h"
#include "base/rand.h"
#include <stdatomic.h>

#ifdef GALEN_TINY
#define TEXT_SLAB_BYTES 64u
#define TEXT_TIDY_BYTES 64u
#define TABLE_FIRST 4u
#else
#define TEXT_SLAB_BYTES (32u << 10)
#define TEXT_TIDY_BYTES (1u << 20)   /* below it a copy is not worth the trouble */
#define TABLE_FIRST 64u
#endif
#define TABLE_MAX (UINT32_C(1) << 31)

/* ---- texts ---- */

static label_texts *texts_new(void)
{
    label_texts *t = mem_zalloc(sizeof *t);
    if (t)
        atomic_init(&t->refs, 1);
    return t;
}

label_texts *texts_ref(label_texts *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void texts_unref(label_texts *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < t->slabs.len; i++)
        mem_free(t->slabs.at[i]);
    vec_done(&t->slabs);
    mem_free(t);
}

/* A place for `n` bytes; NULL without memory. A text that would fill most of a slab gets one of its own. */
static char *texts_room(label_texts *t, size_t n)
{
    if (n > t->room - t->used || t->slabs.len == 0) {
        size_t size = MAX(n, TEXT_SLAB_BYTES);
        if (vec_reserve(&t->slabs, t->slabs.len + 1))
            return NULL;
        char *slab = mem_alloc(size);
        if (!slab)
            return NULL;
        t->slabs.at[t->slabs.len++] = slab;
        t->used = 0;
        t->room = size;
    }
    char *at = t->slabs.at[t->slabs.len - 1] + t->used;
    t->used += n;
    t->bytes += n;
    return at;
}

static const char *texts_copy(label_texts *t, str s)
{
    char *at = texts_room(t, s.len);
    if (at && s.len)
        memcpy(at, s.ptr, s.len);
    return at;
}

/* ---- the table ---- */

static uint32_t pair_hash(const postings *p, uint32_t name, str value)
{
    return (uint32_t)(hash_str(value, p->seed + name) >> 16);
}

static size_t cell_of(const postings *p, uint32_t name, str value, uint32_t hash)
{
    size_t mask = p->table_cap - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        uint32_t id = p->table[i];
        if (!id)
            return i;
        const label_pair *x = &p->pairs.at[id];
        if (x->hash == hash && x->name == name && str_eq(pair_value(x), value))
            return i;
    }
}

static void table_put(uint32_t *table, size_t cap, uint32_t id, uint32_t hash)
{
    size_t i = hash & (cap - 1);
    while (table[i])
        i = (i + 1) & (cap - 1);
    table[i] = id;
}

static err_kind table_build(postings *p, size_t cap)
{
    uint32_t *table = mem_calloc(cap, sizeof *table);
    if (!table)
        return ERR_NOMEM;
    for (size_t id = 1; id < p->pairs.len; id++)
        if (p->pairs.at[id].name)
            table_put(table, cap, (uint32_t)id, p->pairs.at[id].hash);
    mem_free(p->table);
    p->table = table;
    p->table_cap = cap;
    return OK;
}

/* ---- names ---- */

uint32_t postings_name(const postings *p, str name) { return (uint32_t)(uintptr_t)map_get(&p->by_name, name); }

static uint32_t name_make(postings *p, str name)
{
    uint32_t at = postings_name(p, name);
    if (at)
        return at;
    for (at = MAX(p->free_name, 1); at < p->names.len && !str_empty(p->names.at[at].text); at++)
        ;
    if (at == p->names.len && vec_push(&p->names, (pair_name){ 0 }))
        return 0;
    p->free_name = at;
    const char *text = texts_copy(p->texts, name);
    if (!text || map_set(&p->by_name, name, (void *)(uintptr_t)at))
        return 0;
    p->names.at[at].text = str_of(text, name.len);
    return at;
}

/* ---- pairs ---- */

err_kind postings_init(postings *p)
{
    *p = (postings){ 0 };
    rand_secret(&p->seed, sizeof p->seed);
    p->texts = texts_new();
    if (!p->texts || vec_push(&p->pairs, (label_pair){ 0 }) || vec_push(&p->names, (pair_name){ 0 }) || table_build(p, TABLE_FIRST))
        return ERR_NOMEM;
    return OK;
}

void postings_done(postings *p)
{
    for (size_t i = 0; i < p->pairs.len; i++)
        if (p->pairs.at[i].cap)
            mem_free(p->pairs.at[i].many);
    for (size_t i = 0; i < p->names.len; i++)
        vec_done(&p->names.at[i].pairs);
    vec_done(&p->pairs);
    vec_done(&p->names);
    map_done(&p->by_name);
    mem_free(p->table);
    texts_unref(p->texts);
    *p = (postings){ 0 };
}

/* A place for one more pair; 0 without memory. Taken only when the pair is complete. */
static uint32_t pair_place(postings *p)
{
    if (p->free_pair)
        return p->free_pair;
    if (p->pairs.len >= UINT32_MAX || vec_push(&p->pairs, (label_pair){ 0 }))
        return 0;
    return p->free_pair = (uint32_t)p->pairs.len - 1;
}

static uint32_t pair_make(postings *p, uint32_t name, str value, uint32_t hash)
{
    if ((p->live_pairs + 1u) * 4 > p->table_cap * 3 && (p->table_cap >= TABLE_MAX || table_build(p, p->table_cap * 2)))
        return 0;
    uint32_t id = pair_place(p);
    pair_name *of = &p->names.at[name];
    if (!id || vec_reserve(&of->pairs, of->pairs.len + 1))
        return 0;
    const char *text = texts_copy(p->texts, value);
    if (!text)
        return 0;
    label_pair *x = &p->pairs.at[id];
    p->free_pair = x->hash;
    *x = (label_pair){ .value = text, .value_len = (uint32_t)value.len, .name = name, .hash = hash };
    of->pairs.at[of->pairs.len++] = id;
    table_put(p->table, p->table_cap, id, hash);
    p->live_pairs++;
    return id;
}

err_kind postings_intern(postings *p, labels l, uint32_t ret[LABELS_MAX])
{
    for (size_t i = 0; i < l.len; i++) {
        uint32_t name = name_make(p, l.at[i].name);
        if (!name)
            return ERR_NOMEM;
        uint32_t hash = pair_hash(p, name, l.at[i].value);
        ret[i] = p->table[cell_of(p, name, l.at[i].value, hash)];
        if (!ret[i] && !(ret[i] = pair_make(p, name, l.at[i].value, hash)))
            return ERR_NOMEM;
    }
    return OK;
}

uint32_t postings_pair(const postings *p, str name, str value)
{
    uint32_t at = postings_name(p, name);
    return at ? p->table[cell_of(p, at, value, pair_hash(p, at, value))] : 0;
}

/* ---- lists ---- */

/* Room for one more. Grown by a quarter: half of all memory of lists would otherwise be empty. */
static err_kind list_reserve(postings *p, label_pair *x)
{
    uint32_t room = x->cap ? x->cap : PAIR_FEW;
    if (x->len < room)
        return OK;
    size_t cap = (size_t)room + MAX(room / 4, 4);
    uint32_t *bigger = mem_realloc(x->cap ? x->many : NULL, cap * sizeof *bigger);
    if (!bigger)
        return ERR_NOMEM;
    if (!x->cap)
        memcpy(bigger, x->few, sizeof x->few);
    p->list_bytes += (cap - x->cap) * sizeof *bigger;
    x->many = bigger;
    x->cap = (uint32_t)cap;
    return OK;
}

err_kind postings_add(postings *p, uint32_t slot, const uint32_t *pairs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (list_reserve(p, &p->pairs.at[pairs[i]]))
            return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        label_pair *x = &p->pairs.at[pairs[i]];
        (x->cap ? x->many : x->few)[x->len++] = slot;
    }
    return OK;
}

static void list_sweep(label_pair *x, bool (*dead)(const void *ctx, uint32_t slot), const void *ctx)
{
    uint32_t *at = x->cap ? x->many : x->few, kept = 0;
    for (uint32_t i = 0; i < x->len; i++)
        if (!dead(ctx, at[i]))
            at[kept++] = at[i];
    x->len = kept;
}

static void pair_free(postings *p, uint32_t id)
{
    label_pair *x = &p->pairs.at[id];
    if (x->cap) {
        p->list_bytes -= x->cap * sizeof *x->many;
        mem_free(x->many);
    }
    p->dead_bytes += x->value_len;
    p->live_pairs--;
    *x = (label_pair){ .hash = p->free_pair };
    p->free_pair = id;
}

/* Pairs without series go from the names' lists; names without pairs go. */
static void names_sweep(postings *p)
{
    for (size_t i = 1; i < p->names.len; i++) {
        pair_name *name = &p->names.at[i];
        size_t kept = 0;
        for (size_t k = 0; k < name->pairs.len; k++)
            if (p->pairs.at[name->pairs.at[k]].len > 0)
                name->pairs.at[kept++] = name->pairs.at[k];
            else
                pair_free(p, name->pairs.at[k]);
        name->pairs.len = kept;
        if (kept > 0 || str_empty(name->text))
            continue;
        p->dead_bytes += name->text.len;
        p->free_name = MIN(p->free_name, (uint32_t)i);
        (void)map_remove(&p->by_name, name->text);
        vec_done(&name->pairs);
        *name = (pair_name){ 0 };
    }
}

void postings_sweep(postings *p, const uint8_t *touched, bool (*dead)(const void *ctx, uint32_t slot), const void *ctx)
{
    uint32_t before = p->live_pairs;
    for (size_t i = 1; i < p->pairs.len; i++)
        if (touched[i])
            list_sweep(&p->pairs.at[i], dead, ctx);
    names_sweep(p);
    if (p->live_pairs == before)
        return;
    /* Linear probing without tombstones: the survivors are placed anew, in place if there is no memory. */
    if (!table_build(p, p->table_cap))
        return;
    memset(p->table, 0, p->table_cap * sizeof *p->table);
    for (size_t id = 1; id < p->pairs.len; id++)
        if (p->pairs.at[id].name)
            table_put(p->table, p->table_cap, (uint32_t)id, p->pairs.at[id].hash);
}

void postings_tidy(postings *p)
{
    if (p->dead_bytes < TEXT_TIDY_BYTES || p->dead_bytes < p->texts->bytes / 2)
        return;
    label_texts *fresh = texts_new();
    if (!fresh)
        return;
    /* All the memory first: a pointer is changed only when every text has its new place. */
    char *at = texts_room(fresh, p->texts->bytes - p->dead_bytes);
    if (!at) {
        texts_unref(fresh);
        return;
    }
    for (size_t i = 1; i < p->names.len; i++) {
        str *text = &p->names.at[i].text;
        if (text->len)
            text->ptr = memcpy(at, text->ptr, text->len);
        at += text->len;
    }
    for (size_t i = 1; i < p->pairs.len; i++) {
        label_pair *x = &p->pairs.at[i];
        if (x->value_len)
            x->value = memcpy(at, x->value, x->value_len);
        at += x->value_len;
    }
    texts_unref(p->texts);
    p->texts = fresh;
    p->dead_bytes = 0;
}

size_t postings_bytes(const postings *p)
{
    return p->pairs.cap * (sizeof(label_pair) + sizeof(uint32_t)) + p->table_cap * sizeof *p->table + p->texts->bytes + p->list_bytes;
}
