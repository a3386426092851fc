/* What an open store says about itself. */
#include "store/inside.h"

static bool describe(const block *b, arena *a, store_block *ret)
{
    *ret = (store_block){ arena_str(a, str_from(b->path)), b->number, b->min_t_ms, b->max_t_ms, b->series_count, b->sample_count, b->size,
                          b->deleted.len, atomic_load_explicit(&b->damaged, memory_order_relaxed) };
    return ret->path.ptr != NULL;
}

err_kind store_blocks(store *s, arena *a, store_block **ret, size_t *ret_n, err *e)
{
    pthread_mutex_lock(&s->blocks_lock);
    store_block *all = arena_array(a, store_block, MAX(s->blocks.len, 1u));
    size_t n = 0;
    while (all && n < s->blocks.len && describe(s->blocks.at[n], a, &all[n]))
        n++;
    bool whole = all && n == s->blocks.len;
    pthread_mutex_unlock(&s->blocks_lock);
    if (!whole)
        return err_nomem(e);
    *ret = all;
    *ret_n = n;
    return OK;
}
