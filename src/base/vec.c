#include "base/vec.h"
#include "base/base.h"

err_kind vec_grow(void **at, size_t *cap, size_t need, size_t item_size)
{
    if (need <= *cap)
        return OK;
    size_t want = MAX(*cap + *cap / 2, MAX(need, 8));
    if (want > SIZE_MAX / item_size)
        return ERR_NOMEM;
    void *bigger = mem_realloc(*at, want * item_size);
    if (!bigger)
        return ERR_NOMEM;
    *at = bigger;
    *cap = want;
    return OK;
}
