#include "store/handover.h"
#include "store/late.h"
#include <malloc.h>
#include <stdlib.h>

#ifdef GALEN_TINY
#define AT_ONCE 2u
#else
#define AT_ONCE 1024u /* series looked at under one hold of a lock: well below a millisecond */
#endif
#define CLIP_HISTOGRAM_BYTES ((size_t)256 << 20)

/* ---- the order ---- */

static int by_label(const void *va, const void *vb, void *ctx)
{
    const label *all = ctx, *a = &all[*(const uint32_t *)va], *b = &all[*(const uint32_t *)vb];
    int c = str_cmp(a->name, b->name);
    return c ? c : str_cmp(a->value, b->value);
}

static int by_ranks(const void *va, const void *vb, void *ctx)
{
    const handed *a = va, *b = vb;
    const uint32_t *ranks = ctx;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    for (size_t i = 2; i < a->label_count && i < b->label_count; i++)
        if (a->pairs[i] != b->pairs[i])
            return ranks[a->pairs[i]] < ranks[b->pairs[i]] ? -1 : 1;
    return (a->label_count > b->label_count) - (a->label_count < b->label_count);
}

/* A few at a time: the appender waits no longer than that. */
static err_kind find_series(handover *h)
{
    head *hd = &h->s->head;
    err_kind k = OK;
    series *s = NULL;
    uint32_t slot = 0;
    do {
        head_lock(hd);
        for (unsigned i = 0; !k && i < AT_ONCE && (s = head_next(hd, &slot)); i++) {
            const series_cold *c = head_cold(hd, s);
            if (series_min_t(hd, s) < h->cut_ms)
                k = vec_push(&h->series, ((handed){ .pairs = c->pairs, .label_count = c->label_count, .slot = slot, .upto_ms = INT64_MIN }));
        }
        head_unlock(hd);
    } while (!k && s);
    return k;
}

/* Ids do not change while the care lock is held; texts live as long as we hold them. */
static err_kind copy_pairs(handover *h, size_t *ret_n)
{
    head *hd = &h->s->head;
    head_lock(hd);
    size_t n = *ret_n = hd->postings.pairs.len;
    h->pairs = mem_calloc(n, sizeof *h->pairs);
    h->texts = texts_ref(hd->postings.texts);
    for (uint32_t i = 1; h->pairs && i < n; i++)
        h->pairs[i] = postings_label(&hd->postings, i);
    head_unlock(hd);
    return h->pairs ? OK : ERR_NOMEM;
}

static uint32_t *rank_pairs(const label *pairs, size_t n)
{
    uint32_t *order = mem_calloc(n, sizeof *order), *ranks = mem_calloc(n, sizeof *ranks);
    if (order && ranks) {
        for (uint32_t i = 0; i < n; i++)
            order[i] = i;
        qsort_r(order, n, sizeof *order, by_label, (void *)pairs);
        for (uint32_t i = 0; i < n; i++)
            ranks[order[i]] = i;
    } else {
        mem_freep(&ranks);
    }
    mem_free(order);
    return ranks;
}

static err_kind sort_series(handover *h)
{
    size_t n;
    if (copy_pairs(h, &n))
        return ERR_NOMEM;
    uint32_t *ranks = rank_pairs(h->pairs, n);
    if (!ranks)
        return ERR_NOMEM;
    for (size_t i = 0; i < h->series.len; i++) {
        handed *x = &h->series.at[i];
        x->key = (uint64_t)ranks[x->pairs[0]] << 32 | (x->label_count > 1 ? ranks[x->pairs[1]] : 0);
    }
    if (h->series.len > 1)
        qsort_r(h->series.at, h->series.len, sizeof *h->series.at, by_ranks, ranks);
    mem_free(ranks);
    return OK;
}

err_kind handover_begin(handover *h, store *s, int64_t cut_ms)
{
    *h = (handover){ .s = s, .cut_ms = cut_ms };
    err_kind k = find_series(h);
    return k ? k : sort_series(h);
}

void handover_done(handover *h)
{
    for (size_t i = 0; i < h->series.len; i++)
        chunk_run_free(h->series.at[i].rest);
    vec_done(&h->series);
    vec_done(&h->chunks);
    chunk_run_free(h->held);
    texts_unref(h->texts);
    mem_free(h->pairs);
    *h = (handover){ 0 };
}

/* ---- one series ---- */

static err_kind hold(chunk_run **r, chunk *c)
{
    if (c && !chunk_run_push(r, c))
        return OK;
    chunk_unref(c);
    return ERR_NOMEM;
}

/* What is given: chunks that begin before the cut, and copies of those that fill. The head's lock is held. */
static err_kind hold_series(handover *h, handed *x)
{
    const head *hd = &h->s->head;
    const series *s = head_at(hd, x->slot);
    const series_cold *c = head_cold(hd, s);
    const histogram_filling *f = c->more ? &c->more->histograms : NULL;
    err_kind k = OK;
    for (uint32_t i = 0; !k && c->closed && i < c->closed->len; i++)
        if (c->closed->at[i]->min_t_ms < h->cut_ms)
            k = hold(&h->held, chunk_ref(c->closed->at[i]));
    if (!k && s->open.count && filling_min_t(&s->open, &hd->pool) < h->cut_ms)
        k = hold(&h->held, filling_close(&s->open, &hd->pool));
    if (!k && f && f->count && f->min_t_ms < h->cut_ms)
        k = hold(&h->held, histogram_filling_close(f));
    return k;
}

static err_kind hold_late(handover *h, handed *x)
{
    series *s = head_at(&h->s->head, x->slot);
    series_more *m = head_cold(&h->s->head, s)->more;
    if (!m || (!m->late.len && !m->late_closed))
        return OK;
    if (series_pack_late(&h->s->head, s))
        return ERR_NOMEM;
    x->late = m->late_closed->len;
    err_kind k = late_chunks(m, INT64_MIN, h->cut_ms - 1, &h->held);
    return k ? k : late_chunks(m, h->cut_ms, INT64_MAX, &x->rest);
}

static err_kind clip_floats(const chunk *c, int64_t from_ms, int64_t to_ms, chunk **ret)
{
    sample_vec x = { 0 };
    err_kind k = chunk_decode(chunk_bytes(c), c->count, from_ms, to_ms, &x);
    *ret = !k && x.len ? chunk_of(x.at, x.len) : NULL;
    k = k || (x.len && !*ret) ? ERR_NOMEM : OK;
    vec_done(&x);
    return k;
}

static err_kind clip_histograms(const chunk *c, int64_t from_ms, int64_t to_ms, chunk **ret)
{
    AUTO(arena_done) arena a = ARENA_INIT(CLIP_HISTOGRAM_BYTES);
    histogram_vec x = { 0 };
    *ret = NULL;
    err_kind k = histogram_chunk_decode(chunk_bytes(c), c->count, from_ms, to_ms, &a, &x);
    if (!k && x.len)
        k = histogram_chunk_of(x.at, x.len, ret);
    vec_done(&x);
    return k;
}

/* Chunks that reach out of (after_ms, cut_ms) are coded anew with what lies inside. From `first` on they are in order. */
static err_kind clip(handover *h, uint32_t first, int64_t after_ms, handed *x)
{
    uint32_t kept = first;
    err_kind k = OK;
    for (uint32_t i = first; h->held && i < h->held->len; i++) {
        chunk *c = h->held->at[i], *clipped = c;
        if (!k && (c->min_t_ms <= after_ms || c->max_t_ms >= h->cut_ms)) {
            int64_t from_ms = after_ms == INT64_MAX ? after_ms : after_ms + 1;
            k = (c->kind == CHUNK_XOR ? clip_floats : clip_histograms)(c, from_ms, h->cut_ms - 1, &clipped);
            chunk_unref(c);
        }
        if (clipped)
            h->held->at[kept++] = clipped;
        if (!k && clipped)
            x->upto_ms = MAX(x->upto_ms, clipped->max_t_ms);
    }
    if (h->held)
        h->held->len = kept;
    return k;
}

static err_kind give(handover *h, handed *x)
{
    head *hd = &h->s->head;
    head_lock(hd);
    int64_t after_ms = head_cold(hd, head_at(hd, x->slot))->cut_t_ms;
    err_kind k = hold_late(h, x);
    uint32_t first = h->held ? h->held->len : 0;
    k = k ? k : hold_series(h, x);
    head_unlock(hd);
    k = k ? k : clip(h, first, after_ms, x);
    vec_clear(&h->chunks);
    for (uint32_t i = 0; !k && h->held && i < h->held->len; i++) {
        const chunk *c = h->held->at[i];
        k = vec_push(&h->chunks, ((block_chunk){ chunk_bytes(c), c->min_t_ms, c->max_t_ms, c->count, c->kind }));
    }
    return k;
}

err_kind handover_next(handover *h, labels *ret_labels, const block_chunk **ret_chunks, size_t *ret_n)
{
    while (h->next < h->series.len) {
        handed *x = &h->series.at[h->next++];
        chunk_run_free(h->held);
        h->held = NULL;
        err_kind k = give(h, x);
        if (k)
            return k;
        x->given = true;
        if (h->chunks.len == 0)
            continue;
        for (size_t i = 0; i < x->label_count; i++)
            h->labels[i] = h->pairs[x->pairs[i]];
        *ret_labels = (labels){ h->labels, x->label_count };
        *ret_chunks = h->chunks.at;
        *ret_n = h->chunks.len;
        return OK;
    }
    return ERR_NOT_FOUND;
}

/* ---- out of the head ---- */

/* Both locks: the appender must not find its reserved room gone. Given back now and then. */
void handover_trim(handover *h)
{
    store *s = h->s;
    for (size_t i = 0; i < h->series.len;) {
        pthread_mutex_lock(&s->append_lock);
        head_lock(&s->head);
        for (size_t end = MIN(i + AT_ONCE, h->series.len); i < end; i++) {
            const handed *x = &h->series.at[i];
            series *se = head_at(&s->head, x->slot);
            if (x->given && x->upto_ms != INT64_MIN)
                series_trim(&s->head, se, x->upto_ms);
            if (x->given && x->late)
                series_trim_late(&s->head, se, x->late, x->rest);
        }
        head_unlock(&s->head);
        pthread_mutex_unlock(&s->append_lock);
    }
}

void head_expire(store *s, int64_t oldest_ms)
{
    head *h = &s->head;
    series *se = NULL;
    uint32_t slot = 0;
    do {
        pthread_mutex_lock(&s->append_lock);
        head_lock(h);
        for (unsigned i = 0; i < AT_ONCE && (se = head_next(h, &slot)); i++)
            if (series_min_t(h, se) < oldest_ms)
                series_expire(h, se, oldest_ms - 1);
        head_unlock(h);
        pthread_mutex_unlock(&s->append_lock);
    } while (se);
}

void head_forget(store *s)
{
    if (head_sweep(&s->head) > 0)
        (void)!guard_recount(&s->guard, &s->head); /* without memory the guard goes on with what it counted */
    head_tidy(&s->head);
    malloc_trim(0);
}
