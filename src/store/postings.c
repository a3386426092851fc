#include "store/postings.h"

void postings_init(postings *p) { p->names = (map)MAP_INIT; }

static void values_free(map *values)
{
    void *list;
    for (size_t pos = 0; map_next(values, &pos, &(str){ 0 }, &list);) {
        vec_done((posting_list *)list);
        mem_free(list);
    }
    map_done(values);
    mem_free(values);
}

void postings_done(postings *p)
{
    void *values;
    for (size_t pos = 0; map_next(&p->names, &pos, &(str){ 0 }, &values);)
        values_free(values);
    map_done(&p->names);
}

static map *values_of(postings *p, str name)
{
    map *values = map_get(&p->names, name);
    if (values)
        return values;
    values = mem_zalloc(sizeof *values);
    if (values && map_set(&p->names, name, values)) {
        mem_free(values);
        return NULL;
    }
    return values;
}

/* The list of one label with room for one more; NULL without memory. */
static posting_list *list_with_room(postings *p, label l)
{
    map *values = values_of(p, l.name);
    if (!values)
        return NULL;
    posting_list *list = map_get(values, l.value);
    if (!list) {
        list = mem_zalloc(sizeof *list);
        if (list && map_set(values, l.value, list)) {
            mem_free(list);
            return NULL;
        }
    }
    if (!list || vec_reserve(list, list->len + 1))
        return NULL;
    return list;
}

err_kind postings_add(postings *p, series *s, labels l)
{
    /* First all the memory, then the entries: a failure leaves at most empty lists for the next sweep. */
    posting_list *lists[LABELS_MAX];
    for (size_t i = 0; i < l.len; i++)
        if (!(lists[i] = list_with_room(p, l.at[i])))
            return ERR_NOMEM;
    for (size_t i = 0; i < l.len; i++)
        lists[i]->at[lists[i]->len++] = s;
    return OK;
}

static void list_sweep(posting_list *list, bool (*dead)(const series *s))
{
    size_t kept = 0;
    for (size_t i = 0; i < list->len; i++)
        if (!dead(list->at[i]))
            list->at[kept++] = list->at[i];
    list->len = kept;
}

/* Removing while walking would move entries: walk to find one that is empty, remove it, go on from there.
 * map_remove leaves a hole, so positions behind it stay. */
static void values_sweep(map *values, bool (*dead)(const series *s))
{
    str value;
    void *list;
    for (size_t pos = 0; map_next(values, &pos, &value, &list);) {
        list_sweep(list, dead);
        if (((posting_list *)list)->len > 0)
            continue;
        map_remove(values, value);
        vec_done((posting_list *)list);
        mem_free(list);
    }
}

void postings_sweep(postings *p, bool (*dead)(const series *s))
{
    str name;
    void *values;
    for (size_t pos = 0; map_next(&p->names, &pos, &name, &values);) {
        values_sweep(values, dead);
        if (((map *)values)->len > 0)
            continue;
        map_remove(&p->names, name);
        values_free(values);
    }
}

const posting_list *postings_get(const postings *p, str name, str value)
{
    const map *values = map_get(&p->names, name);
    return values ? map_get(values, value) : NULL;
}

bool postings_next(const postings *p, str name, size_t *pos, str *ret_value, const posting_list **ret_list)
{
    const map *values = map_get(&p->names, name);
    void *list;
    if (!values || !map_next(values, pos, ret_value, &list))
        return false;
    *ret_list = list;
    return true;
}
