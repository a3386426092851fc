#include "store/samples.h"

/* At one time the sample of `b` counts. */
static size_t merge(const sample *a, size_t a_len, const sample *b, size_t b_len, sample *to)
{
    size_t i = 0, j = 0, n = 0;
    while (i < a_len || j < b_len) {
        bool take_a = j == b_len || (i < a_len && a[i].t_ms < b[j].t_ms);
        if (!take_a && i < a_len && a[i].t_ms == b[j].t_ms)
            i++;
        to[n++] = take_a ? a[i++] : b[j++];
    }
    return n;
}

err_kind samples_join(sample_vec *all, size_t middle)
{
    if (middle == 0 || middle == all->len || all->at[middle - 1].t_ms < all->at[middle].t_ms)
        return OK;
    sample_vec joined = { 0 };
    if (vec_reserve(&joined, all->len))
        return ERR_NOMEM;
    joined.len = merge(all->at, middle, all->at + middle, all->len - middle, joined.at);
    vec_done(all);
    *all = joined;
    return OK;
}

err_kind histograms_join(histogram_vec *all, size_t middle)
{
    if (middle == 0 || middle == all->len || all->at[middle - 1].t_ms < all->at[middle].t_ms)
        return OK;
    histogram_vec joined = { 0 };
    if (vec_reserve(&joined, all->len))
        return ERR_NOMEM;
    for (size_t i = 0, j = middle; i < middle || j < all->len;) {
        bool take_old = j == all->len || (i < middle && all->at[i].t_ms < all->at[j].t_ms);
        i += !take_old && i < middle && all->at[i].t_ms == all->at[j].t_ms;
        joined.at[joined.len++] = take_old ? all->at[i++] : all->at[j++];
    }
    vec_done(all);
    *all = joined;
    return OK;
}
