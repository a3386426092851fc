/* Label names and values: a selection, of which only the labels are looked at. */
#include "store/inside.h"
#include <stdlib.h>

/* Take the names (`name` empty) or the values of `name` of every selected series into `seen`. */
static err_kind collect(const store_selection *sel, str name, map *seen, err *e)
{
    static char present;
    for (size_t i = 0; i < store_select_len(sel); i++) {
        labels l = store_select_labels(sel, i);
        for (size_t j = 0; j < l.len; j++) {
            if (!str_empty(name) && !str_eq(l.at[j].name, name))
                continue;
            str found = str_empty(name) ? l.at[j].name : l.at[j].value;
            if (!map_has(seen, found) && map_set(seen, found, &present))
                return err_nomem(e);
        }
    }
    return OK;
}

static int by_text(const void *a, const void *b) { return str_cmp(*(const str *)a, *(const str *)b); }

static err_kind sorted_copy(const map *seen, arena *a, str **ret, size_t *ret_n, err *e)
{
    str *out = arena_array(a, str, seen->len), key;
    size_t n = 0;
    if (!out)
        return err_nomem(e);
    for (size_t pos = 0; map_next(seen, &pos, &key, NULL); n++) {
        out[n] = arena_str(a, key);
        if (!out[n].ptr)
            return err_nomem(e);
    }
    if (n > 1)
        qsort(out, n, sizeof *out, by_text);
    *ret = out;
    *ret_n = n;
    return OK;
}

static err_kind names_of(store *s, str name, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms,
                         arena *a, str **ret, size_t *ret_n, err *e)
{
    static const matcher_set everything = { 0 };
    if (n == 0) {
        sets = &everything;
        n = 1;
    }
    AUTO(map_done) map seen = MAP_INIT;
    for (size_t i = 0; i < n; i++) {
        AUTO(store_select_freep) store_selection *sel = NULL;
        err_kind k = store_select(s, sets[i].at, sets[i].len, from_ms, to_ms, NULL, &sel, e);
        if (k || (k = collect(sel, name, &seen, e)))
            return k;
    }
    return sorted_copy(&seen, a, ret, ret_n, e);
}

err_kind store_label_names(store *s, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms,
                           arena *a, str **ret, size_t *ret_n, err *e)
{
    return names_of(s, STR_EMPTY, sets, n, from_ms, to_ms, a, ret, ret_n, e);
}

err_kind store_label_values(store *s, str name, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms,
                            arena *a, str **ret, size_t *ret_n, err *e)
{
    if (str_empty(name)) {
        *ret = NULL;
        *ret_n = 0;
        return OK;
    }
    return names_of(s, name, sets, n, from_ms, to_ms, a, ret, ret_n, e);
}
