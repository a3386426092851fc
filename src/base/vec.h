/* base/vec.h - growing arrays of any type.
 *
 *     vec(sample) v = { 0 };
 *     if (vec_push(&v, s)) return err_nomem(e);        // ERR_NOMEM, v unchanged
 *     for (size_t i = 0; i < v.len; i++) use(v.at[i]);
 *     vec_done(&v);
 * vec(T) is an anonymous struct: name it with typedef when it crosses a function's border. */
#pragma once
#include "base/mem.h"
#include "base/err.h"

#define vec(T) struct { T *at; size_t len, cap; }
#define vec_push(v, item) \
    (vec_grow((void **)&(v)->at, &(v)->cap, (v)->len + 1, sizeof *(v)->at) ? ERR_NOMEM : ((v)->at[(v)->len++] = (item), OK))
#define vec_reserve(v, n) vec_grow((void **)&(v)->at, &(v)->cap, (n), sizeof *(v)->at)
#define vec_pop(v) ((v)->at[--(v)->len])
#define vec_last(v) ((v)->at[(v)->len - 1])
#define vec_clear(v) ((void)((v)->len = 0))
#define vec_remove(v, i) \
    ((void)(memmove(&(v)->at[i], &(v)->at[(i) + 1], ((v)->len - (i) - 1) * sizeof *(v)->at), (v)->len--))
#define vec_done(v) ((void)(mem_free((v)->at), (v)->at = NULL, (v)->len = (v)->cap = 0))

/* Make room for `need` items (amortised doubling). OK or ERR_NOMEM; on failure nothing changes. */
err_kind vec_grow(void **at, size_t *cap, size_t need, size_t item_size);
