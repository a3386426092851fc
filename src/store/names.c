/* Label names and values: straight from the postings of the head and the blocks, or, with matchers, of a selection of
 * which only the labels are looked at. */
#include "store/blocks.h"
#include "store/tier.h"
#include <stdlib.h>

#define NAMES_MAX_BYTES ((size_t)1 << 30) /* texts of one answer */

typedef vec(str) str_vec;

static int by_text(const void *a, const void *b) { return str_cmp(*(const str *)a, *(const str *)b); }

static void sort_unique(str_vec *v)
{
    size_t kept = 0;
    if (v->len > 1)
        qsort(v->at, v->len, sizeof *v->at, by_text);
    for (size_t i = 0; i < v->len; i++)
        if (i == 0 || !str_eq(v->at[i], v->at[kept - 1]))
            v->at[kept++] = v->at[i];
    v->len = kept;
}

/* Both sorted and unique; so is *all then. */
static err_kind merge_into(str_vec *all, const str_vec *more)
{
    if (more->len == 0)
        return OK;
    str_vec merged = { 0 };
    if (vec_reserve(&merged, all->len + more->len))
        return ERR_NOMEM;
    for (size_t i = 0, j = 0; i < all->len || j < more->len;) {
        int order = i == all->len ? 1 : j == more->len ? -1 : str_cmp(all->at[i], more->at[j]);
        merged.at[merged.len++] = order <= 0 ? all->at[i] : more->at[j];
        i += order <= 0;
        j += order >= 0;
    }
    vec_done(all);
    *all = merged;
    return OK;
}

/* ---- without matchers: what lies in the range at all ---- */

typedef struct listing {
    str name;                  /* whose values; empty: names */
    str_vec found, more;
    block_vec blocks;          /* whose texts are in `found` */
    label_texts *texts;
    arena copies;
} listing;

static void listing_done(listing *l)
{
    vec_done(&l->found);
    vec_done(&l->more);
    blocks_let_go(&l->blocks);
    texts_unref(l->texts);
    arena_done(&l->copies);
}

static bool is_carried(const postings *p, const pair_name *n)
{
    for (size_t i = 0; i < n->pairs.len; i++)
        if (p->pairs.at[n->pairs.at[i]].len > 0)
            return true;
    return false;
}

static err_kind head_names(listing *l, const postings *p)
{
    for (size_t i = 1; i < p->names.len; i++)
        if (is_carried(p, &p->names.at[i]) && vec_push(&l->found, p->names.at[i].text))
            return ERR_NOMEM;
    return OK;
}

static err_kind head_values(listing *l, const postings *p)
{
    uint32_t name = postings_name(p, l->name);
    for (size_t i = 0; name && i < p->names.at[name].pairs.len; i++) {
        const label_pair *x = &p->pairs.at[p->names.at[name].pairs.at[i]];
        if (x->len > 0 && vec_push(&l->found, pair_value(x)))
            return ERR_NOMEM;
    }
    return OK;
}

static err_kind list_head(listing *l, store *s, int64_t from_ms, int64_t to_ms)
{
    head *h = &s->head;
    if (atomic_load_explicit(&h->min_t_ms, memory_order_relaxed) > to_ms || atomic_load_explicit(&h->max_t_ms, memory_order_relaxed) < from_ms)
        return OK;
    head_lock(h);
    l->texts = texts_ref(h->postings.texts);
    err_kind k = l->name.len ? head_values(l, &h->postings) : head_names(l, &h->postings);
    head_unlock(h);
    sort_unique(&l->found);
    return k;
}

/* From one name's rows to the next name's. */
static err_kind block_names(listing *l, const block *b, err *e)
{
    for (size_t row = 0, first; row < block_label_count(b);) {
        block_label at;
        err_kind k = block_label_at(b, row, &at, e);
        if (!k)
            k = block_label_rows(b, at.name, &first, &row, e);
        if (k)
            return k;
        if (!str_eq(at.name, ROLLUP_LABEL) && vec_push(&l->more, at.name))
            return err_nomem(e);
    }
    return OK;
}

static err_kind block_values(listing *l, const block *b, err *e)
{
    size_t row, end;
    err_kind k = block_label_rows(b, l->name, &row, &end, e);
    for (; !k && row < end; row++) {
        block_label at;
        if (!(k = block_label_at(b, row, &at, e)) && vec_push(&l->more, at.value))
            k = err_nomem(e);
    }
    return k;
}

static err_kind hold_between(store *s, const block_set *set, int64_t from_ms, int64_t to_ms, block_vec *ret, err *e)
{
    err_kind k = OK;
    pthread_mutex_lock(&s->blocks_lock);
    for (size_t i = 0; !k && i < set->len; i++)
        if (set->at[i]->min_t_ms <= to_ms && set->at[i]->max_t_ms >= from_ms) {
            if (vec_push(ret, set->at[i]))
                k = err_nomem(e);
            else
                block_ref(set->at[i]);
        }
    pthread_mutex_unlock(&s->blocks_lock);
    return k;
}

static err_kind list_blocks(listing *l, store *s, block_set *set, int64_t from_ms, int64_t to_ms, err *e)
{
    size_t before = l->blocks.len;
    err_kind k = hold_between(s, set, from_ms, to_ms, &l->blocks, e);
    for (size_t i = before; !k && i < l->blocks.len; i++) {
        vec_clear(&l->more);
        k = l->name.len ? block_values(l, l->blocks.at[i], e) : block_names(l, l->blocks.at[i], e);
        if (!k && merge_into(&l->found, &l->more))
            k = err_nomem(e);
    }
    return k;
}

static err_kind copy_out(const str_vec *v, arena *a, str **ret, size_t *ret_n, err *e)
{
    str *out = arena_array(a, str, v->len);
    if (!out)
        return err_nomem(e);
    for (size_t i = 0; i < v->len; i++) {
        out[i] = arena_str(a, v->at[i]);
        if (!out[i].ptr)
            return err_nomem(e);
    }
    *ret = out;
    *ret_n = v->len;
    return OK;
}

static err_kind list_all(store *s, str name, int64_t from_ms, int64_t to_ms, arena *a, str **ret, size_t *ret_n, err *e)
{
    AUTO(listing_done) listing l = { .name = name };
    err_kind k = list_head(&l, s, from_ms, to_ms) ? err_nomem(e) : OK;
    if (!k)
        k = list_blocks(&l, s, &s->blocks, from_ms, to_ms, e);
    for (size_t i = 0; !k && i < STORE_TIERS; i++)
        k = list_blocks(&l, s, &s->tiers[i].blocks, from_ms, to_ms, e);
    return k ? k : copy_out(&l.found, a, ret, ret_n, e);
}

/* ---- with matchers ---- */

/* Texts of one source are there once, so most repeats are told by where they lie. */
typedef struct seen { const char **at; size_t len, cap; } seen;

static err_kind seen_grow(seen *s)
{
    seen bigger = { .cap = MAX(s->cap * 2, 64) };
    bigger.at = mem_calloc(bigger.cap, sizeof *bigger.at);
    if (!bigger.at)
        return ERR_NOMEM;
    for (size_t i = 0; i < s->cap; i++) {
        if (!s->at[i])
            continue;
        size_t at = ((uintptr_t)s->at[i] * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & (bigger.cap - 1);
        while (bigger.at[at])
            at = (at + 1) & (bigger.cap - 1);
        bigger.at[at] = s->at[i];
    }
    bigger.len = s->len;
    mem_free(s->at);
    *s = bigger;
    return OK;
}

static err_kind note(seen *s, str_vec *found, str text)
{
    if (s->len * 2 >= s->cap && seen_grow(s))
        return ERR_NOMEM;
    size_t at = ((uintptr_t)text.ptr * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & (s->cap - 1);
    while (s->at[at] && s->at[at] != text.ptr)
        at = (at + 1) & (s->cap - 1);
    if (s->at[at])
        return OK;
    s->at[at] = text.ptr;
    s->len++;
    return vec_push(found, text);
}

static err_kind collect(const store_selection *sel, str name, seen *s, str_vec *found)
{
    for (size_t i = 0; i < store_select_len(sel); i++) {
        labels l = store_select_labels(sel, i);
        for (size_t j = 0; j < l.len; j++)
            if ((str_empty(name) || str_eq(l.at[j].name, name)) && note(s, found, name.len ? l.at[j].value : l.at[j].name))
                return ERR_NOMEM;
    }
    return OK;
}

static err_kind list_matching(store *s, str name, const matcher_set *set, int64_t from_ms, int64_t to_ms, listing *l, err *e)
{
    AUTO(store_select_freep) store_selection *sel = NULL;
    select_hints hints = { .labels_only = true, .unordered = true };
    seen known = { 0 };
    err_kind k = store_select_with(s, set->at, set->len, from_ms, to_ms, &hints, NULL, &sel, e);
    vec_clear(&l->more);
    if (!k && collect(sel, name, &known, &l->more))
        k = err_nomem(e);
    sort_unique(&l->more);
    /* Texts die with the selection: copies go on. */
    for (size_t i = 0; !k && i < l->more.len; i++)
        if (!(l->more.at[i] = arena_str(&l->copies, l->more.at[i])).ptr)
            k = err_nomem(e);
    if (!k && merge_into(&l->found, &l->more))
        k = err_nomem(e);
    mem_free(known.at);
    return k;
}

static err_kind names_of(store *s, str name, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms,
                         arena *a, str **ret, size_t *ret_n, err *e)
{
    if (n == 0)
        return list_all(s, name, from_ms, to_ms, a, ret, ret_n, e);
    AUTO(listing_done) listing l = { .name = name, .copies = ARENA_INIT(NAMES_MAX_BYTES) };
    err_kind k = OK;
    for (size_t i = 0; !k && i < n; i++)
        k = list_matching(s, name, &sets[i], from_ms, to_ms, &l, e);
    return k ? k : copy_out(&l.found, a, ret, ret_n, e);
}

err_kind store_label_names(store *s, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms,
                           arena *a, str **ret, size_t *ret_n, err *e)
{
    return names_of(s, STR_EMPTY, sets, n, from_ms, to_ms, a, ret, ret_n, e);
}

err_kind store_label_values(store *s, str name, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms,
                            arena *a, str **ret, size_t *ret_n, err *e)
{
    if (str_empty(name) || str_eq(name, ROLLUP_LABEL)) {
        *ret = NULL;
        *ret_n = 0;
        return OK;
    }
    return names_of(s, name, sets, n, from_ms, to_ms, a, ret, ret_n, e);
}
