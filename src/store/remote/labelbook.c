#include "store/remote/labelbook.h"
#include "base/hash.h"

#define NONE UINT32_MAX
#define TEXTS_MAX ((size_t)UINT32_MAX)
#define RELABEL_ARENA_MAX (16u << 20)
#define LABELBOOK_NUMBER_MAX (1u << 26) /* more than a segment can define */

labelbook *labelbook_new(const relabel_rules *relabel, labels external)
{
    labelbook *b = mem_zalloc(sizeof *b);
    if (!b)
        return NULL;
    b->relabel = relabel;
    b->external = external;
    b->texts = (buf)BUF_INIT(TEXTS_MAX);
    return b;
}

void labelbook_free(labelbook *b)
{
    if (!b)
        return;
    vec_done(&b->series), vec_done(&b->numbers), vec_done(&b->pair_list), vec_done(&b->pairs), vec_done(&b->symbols);
    map_done(&b->pair_map), map_done(&b->symbol_map);
    buf_done(&b->texts);
    mem_free(b->slots);
    mem_free(b);
}

void labelbook_segment(labelbook *b)
{
    vec_clear(&b->numbers);
    b->in_segment = 0;
}

/* ---- texts, pairs ---- */

static uint32_t put_text(labelbook *b, str s)
{
    size_t at = b->texts.len;
    return at + s.len > TEXTS_MAX || buf_append(&b->texts, s) ? NONE : (uint32_t)at;
}

uint32_t labelbook_intern(labelbook *b, str text)
{
    uintptr_t known = (uintptr_t)map_get(&b->symbol_map, text);
    if (known)
        return (uint32_t)known - 1;
    uint32_t number = (uint32_t)b->symbols.len, at = put_text(b, text);
    if (at == NONE || vec_push(&b->symbols, ((book_symbol){ .at = at, .len = (uint32_t)text.len })))
        return NONE;
    if (map_set(&b->symbol_map, text, (void *)(uintptr_t)(number + 1))) {
        b->symbols.len--;
        return NONE;
    }
    return number;
}

/* A pair is found by its encoded bytes, which are what 1.0 sends. */
static uint32_t intern_pair(labelbook *b, label l)
{
    AUTO(buf_done) buf bytes = BUF_INIT(2 * LABEL_MAX_BYTES + 64);
    prompb_put_label(&bytes, 1, l);
    if (buf_failed(&bytes))
        return NONE;
    uintptr_t known = (uintptr_t)map_get(&b->pair_map, buf_str(&bytes));
    if (known)
        return (uint32_t)known - 1;
    book_pair p = { .at = put_text(b, buf_str(&bytes)), .len = (uint32_t)bytes.len };
    p.name = p.at == NONE ? NONE : labelbook_intern(b, l.name);
    p.value = p.name == NONE ? NONE : labelbook_intern(b, l.value);
    uint32_t number = (uint32_t)b->pairs.len;
    if (p.value == NONE || vec_push(&b->pairs, p))
        return NONE;
    if (map_set(&b->pair_map, buf_str(&bytes), (void *)(uintptr_t)(number + 1))) {
        b->pairs.len--;
        return NONE;
    }
    return number;
}

/* ---- series ---- */

static size_t slot_of(const labelbook *b, const uint64_t hash[2])
{
    size_t i = (size_t)hash[0] & (b->slot_cap - 1);
    while (b->slots[i].series != NONE && (b->slots[i].key != hash[0] || b->series.at[b->slots[i].series].hash[1] != hash[1]))
        i = (i + 1) & (b->slot_cap - 1);
    return i;
}

static err_kind slots_grow(labelbook *b)
{
    size_t cap = b->slot_cap ? b->slot_cap * 2 : 256;
    __typeof__(b->slots) slots = mem_alloc(cap * sizeof *slots);
    if (!slots)
        return ERR_NOMEM;
    mem_free(b->slots);
    b->slots = slots;
    b->slot_cap = cap;
    for (size_t i = 0; i < cap; i++)
        slots[i].series = NONE;
    for (size_t i = 0; i < b->series.len; i++) {
        size_t at = slot_of(b, b->series.at[i].hash);
        slots[at].key = b->series.at[i].hash[0];
        slots[at].series = (uint32_t)i;
    }
    return OK;
}

/* External labels for those it has not, then write_relabel_configs. */
static err_kind rewrite(const labelbook *b, labels l, labels_builder *to, arena *a, bool *ret_dropped)
{
    labels_start_from(to, a, l);
    for (size_t i = 0; i < b->external.len && !to->failed; i++)
        if (labels_get(l, b->external.at[i].name).len == 0)
            labels_put(to, b->external.at[i].name, b->external.at[i].value);
    *ret_dropped = b->relabel->len && !relabel_apply(b->relabel, to) && !to->failed;
    if (*ret_dropped)
        return OK;
    labels made = labels_finish(to);
    *ret_dropped = !to->failed && made.len == 0;
    return to->failed ? ERR_NOMEM : OK;
}

static err_kind fill(labelbook *b, labels l, book_series *s)
{
    AUTO(arena_done) arena a = ARENA_INIT(RELABEL_ARENA_MAX);
    labels_builder made;
    err_kind k = rewrite(b, l, &made, &a, &s->dropped);
    if (k || s->dropped)
        return k;
    s->pairs = (uint32_t)b->pair_list.len;
    for (size_t i = 0; i < made.len; i++) {
        uint32_t pair = intern_pair(b, made.at[i]);
        if (pair == NONE || vec_push(&b->pair_list, pair)) {
            b->pair_list.len = s->pairs;
            return ERR_NOMEM;
        }
        s->encoded_bytes += b->pairs.at[pair].len;
    }
    s->pair_count = (uint32_t)made.len;
    return OK;
}

static err_kind find_or_add(labelbook *b, labels l, uint32_t *ret)
{
    book_series s = { .hash = { 1, 2 }, .stamp = 0 };
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < l.len; i++)
            s.hash[k] = hash_str(l.at[i].value, hash_str(l.at[i].name, s.hash[k]) + 1);
    if (b->series.len * 4 >= b->slot_cap * 3 && slots_grow(b))
        return ERR_NOMEM;
    size_t slot = slot_of(b, s.hash);
    *ret = b->slots[slot].series;
    if (*ret != NONE)
        return OK;
    err_kind k = fill(b, l, &s);
    if (k)
        return k;
    *ret = (uint32_t)b->series.len;
    if (vec_push(&b->series, s))
        return ERR_NOMEM;
    b->slots[slot].key = s.hash[0];
    b->slots[slot].series = *ret;
    return OK;
}

err_kind labelbook_define(labelbook *b, uint32_t number, labels l)
{
    uint32_t series = NONE;
    if (number > LABELBOOK_NUMBER_MAX)
        return ERR_LIMIT;
    err_kind k = find_or_add(b, l, &series);
    while (b->numbers.len < number) /* those of a batch that was taken back */
        if (vec_push(&b->numbers, NONE))
            return ERR_NOMEM;
    if (b->numbers.len == number && vec_push(&b->numbers, NONE))
        return ERR_NOMEM;
    b->numbers.at[number] = k ? NONE : series;
    b->in_segment++;
    return k;
}

book_series *labelbook_get(labelbook *b, uint32_t number, bool *ret_dropped)
{
    uint32_t series = number < b->numbers.len ? b->numbers.at[number] : NONE;
    *ret_dropped = series != NONE && b->series.at[series].dropped;
    return series == NONE || *ret_dropped ? NULL : &b->series.at[series];
}
