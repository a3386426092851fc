/* base/map.h - one hash map: text to pointer, open addressing, seeded, keys copied.
 *
 * For hot paths with other keys (series by label hash) rooms keep their own table; this one serves
 * configuration, registries and catalogues. Iteration order is insertion order as long as nothing was
 * removed. Not thread-safe. */
#pragma once
#include "base/err.h"
#include "base/str.h"

typedef struct map {
    struct map_slot *slots;
    size_t len, cap, used;
} map;

#define MAP_INIT { 0 }
void map_done(map *m);                                       /* keys are freed; values are yours */
err_kind map_set(map *m, str key, void *value);              /* OK or ERR_NOMEM; replaces */
void *map_get(const map *m, str key);                        /* NULL if absent */
bool map_has(const map *m, str key);
void *map_remove(map *m, str key);                           /* the value, NULL if absent */
/* for (size_t i = 0; map_next(m, &i, &key, &value);) …  Removing the entry just given is fine, adding is not. */
bool map_next(const map *m, size_t *pos, str *ret_key, void **ret_value);
