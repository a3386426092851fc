#include "store/late.h"

#define LATE_HISTOGRAM_BYTES ((size_t)1 << 30)

/* Put `more` into `all`, both ascending; at one time what `all` has stays. */
static err_kind merge_floats(sample_vec *all, const sample_vec *more)
{
    if (more->len == 0)
        return OK;
    if (vec_reserve(all, all->len + more->len))
        return ERR_NOMEM;
    size_t have = all->len, i = have, j = more->len, to = have + more->len;
    while (j > 0) {
        if (i > 0 && all->at[i - 1].t_ms >= more->at[j - 1].t_ms) {
            j -= all->at[i - 1].t_ms == more->at[j - 1].t_ms;
            all->at[--to] = all->at[--i];
        } else {
            all->at[--to] = more->at[--j];
        }
    }
    /* all[0..i) is in place; close the gap that equal times left. */
    memmove(all->at + i, all->at + to, (have + more->len - to) * sizeof *all->at);
    all->len = i + have + more->len - to;
    return OK;
}

static err_kind merge_histograms(histogram_vec *all, const histogram_vec *more)
{
    if (more->len == 0)
        return OK;
    if (vec_reserve(all, all->len + more->len))
        return ERR_NOMEM;
    size_t have = all->len, i = have, j = more->len, to = have + more->len;
    while (j > 0) {
        if (i > 0 && all->at[i - 1].t_ms >= more->at[j - 1].t_ms) {
            j -= all->at[i - 1].t_ms == more->at[j - 1].t_ms;
            all->at[--to] = all->at[--i];
        } else {
            all->at[--to] = more->at[--j];
        }
    }
    memmove(all->at + i, all->at + to, (have + more->len - to) * sizeof *all->at);
    all->len = i + have + more->len - to;
    return OK;
}

static bool inside(int64_t t_ms, int64_t from_ms, int64_t to_ms) { return t_ms >= from_ms && t_ms <= to_ms; }

err_kind late_floats(const series_more *m, int64_t from_ms, int64_t to_ms, sample_vec *out)
{
    sample_vec more = { 0 };
    err_kind k = OK;
    for (uint32_t i = 0; !k && m->late_closed && i < m->late_closed->len; i++) {
        const chunk *c = m->late_closed->at[i];
        vec_clear(&more);
        if (c->kind != CHUNK_XOR)
            continue;
        k = chunk_decode(chunk_bytes(c), c->count, from_ms, to_ms, &more);
        k = k ? k : merge_floats(out, &more);
    }
    vec_clear(&more);
    for (size_t i = 0; !k && i < m->late.len; i++)
        if (!m->late.at[i].h && inside(m->late.at[i].t_ms, from_ms, to_ms))
            k = vec_push(&more, ((sample){ m->late.at[i].t_ms, m->late.at[i].v }));
    k = k ? k : merge_floats(out, &more);
    vec_done(&more);
    return k;
}

err_kind late_histograms(const series_more *m, int64_t from_ms, int64_t to_ms, arena *a, histogram_vec *out)
{
    histogram_vec more = { 0 };
    err_kind k = OK;
    for (uint32_t i = 0; !k && m->late_closed && i < m->late_closed->len; i++) {
        const chunk *c = m->late_closed->at[i];
        vec_clear(&more);
        if (c->kind != CHUNK_HISTOGRAM)
            continue;
        k = histogram_chunk_decode(chunk_bytes(c), c->count, from_ms, to_ms, a, &more);
        k = k ? k : merge_histograms(out, &more);
    }
    vec_clear(&more);
    for (size_t i = 0; !k && i < m->late.len; i++) {
        const late_sample *x = &m->late.at[i];
        if (!x->h || !inside(x->t_ms, from_ms, to_ms))
            continue;
        histogram *copy = histogram_copy(a, x->h);
        k = !copy || vec_push(&more, ((histogram_sample){ x->t_ms, copy })) ? ERR_NOMEM : OK;
    }
    k = k ? k : merge_histograms(out, &more);
    vec_done(&more);
    return k;
}

static err_kind push(chunk_run **out, chunk *c)
{
    if (c && !chunk_run_push(out, c))
        return OK;
    chunk_unref(c);
    return ERR_NOMEM;
}

static err_kind float_chunks(const series_more *m, int64_t from_ms, int64_t to_ms, chunk_run **out)
{
    sample_vec x = { 0 };
    err_kind k = late_floats(m, from_ms, to_ms, &x);
    for (size_t i = 0; !k && i < x.len; i += CHUNK_MAX_SAMPLES)
        k = push(out, chunk_of(x.at + i, MIN(x.len - i, CHUNK_MAX_SAMPLES)));
    vec_done(&x);
    return k;
}

static err_kind histogram_chunks(const series_more *m, int64_t from_ms, int64_t to_ms, chunk_run **out)
{
    AUTO(arena_done) arena a = ARENA_INIT(LATE_HISTOGRAM_BYTES);
    histogram_vec x = { 0 };
    err_kind k = late_histograms(m, from_ms, to_ms, &a, &x);
    for (size_t i = 0; !k && i < x.len; i += CHUNK_MAX_SAMPLES) {
        chunk *c;
        k = histogram_chunk_of(x.at + i, MIN(x.len - i, CHUNK_MAX_SAMPLES), &c);
        k = k ? k : push(out, c);
    }
    vec_done(&x);
    return k;
}

err_kind late_chunks(const series_more *m, int64_t from_ms, int64_t to_ms, chunk_run **out)
{
    err_kind k = float_chunks(m, from_ms, to_ms, out);
    return k ? k : histogram_chunks(m, from_ms, to_ms, out);
}
