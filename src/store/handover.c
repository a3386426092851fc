#include "store/handover.h"
#include <stdatomic.h>

void holding_done(holding *h)
{
    for (size_t i = 0; i < h->series.len; i++)
        for (size_t c = 0; c < h->series.at[i].len; c++)
            chunk_unref(h->series.at[i].at[c]);
    vec_done(&h->series);
    arena_done(&h->arena);
}

/* The filling chunk as it is now. */
static chunk *chunk_copy(const chunk *c)
{
    chunk *copy = mem_alloc(sizeof *c + chunk_size(c) + CHUNK_SLACK_BYTES);
    if (!copy)
        return NULL;
    memcpy(copy, c, sizeof *c + chunk_size(c));
    copy->cap = (uint32_t)chunk_size(c);
    atomic_init(&copy->refs, 1);
    return copy;
}

/* Chunks that start before cut_ms. The shard's lock is held. */
static err_kind hold_series(holding *h, series *s, int64_t cut_ms)
{
    held entry = { arena_array(&h->arena, chunk *, (size_t)s->closed_len + 1), 0, s, s->cut_t_ms };
    if (!entry.at || vec_push(&h->series, entry))
        return ERR_NOMEM;
    held *to = &vec_last(&h->series);
    for (uint32_t i = 0; i < s->closed_len && s->closed[i]->min_t_ms < cut_ms; i++)
        to->at[to->len++] = chunk_ref(s->closed[i]);
    if (s->open && s->open->min_t_ms < cut_ms) {
        chunk *copy = chunk_copy(s->open);
        if (!copy)
            return ERR_NOMEM;
        to->at[to->len++] = copy;
    }
    return OK;
}

err_kind holding_take_shard(store *s, uint32_t i, int64_t cut_ms, bool empty, holding *h)
{
    head_shard *shard = &s->head.shards[i];
    err_kind k = OK;
    pthread_mutex_lock(&shard->lock);
    series *se;
    for (size_t pos = 0; !k && (se = head_next(shard, &pos));)
        if (empty || series_min_t(se) < cut_ms)
            k = hold_series(h, se, cut_ms);
    pthread_mutex_unlock(&shard->lock);
    return k;
}

/* ---- for the block ---- */

/* A chunk that reaches out of (after_ms, cut_ms) is coded anew with what lies inside; NULL: nothing does. */
static err_kind clip(chunk **c, int64_t after_ms, int64_t cut_ms)
{
    sample_vec samples = { 0 };
    chunk *clipped = NULL;
    err_kind k = chunk_decode(chunk_bytes(*c), (*c)->count, after_ms + 1, cut_ms - 1, &samples);
    if (!k && samples.len && !(clipped = chunk_new((unsigned)samples.len)))
        k = ERR_NOMEM;
    for (size_t i = 0; !k && i < samples.len; i++)
        k = chunk_append(clipped, samples.at[i].t_ms, samples.at[i].v);
    vec_done(&samples);
    if (k) {
        chunk_unref(clipped);
        return k;
    }
    chunk_unref(*c);
    *c = clipped;
    return OK;
}

err_kind holding_block_series(holding *hold, held *h, int64_t cut_ms, block_series *ret)
{
    size_t kept = 0;
    for (size_t i = 0; i < h->len; i++) {
        chunk *c = h->at[i];
        err_kind k = OK;
        if (c->min_t_ms <= h->after_ms || c->max_t_ms >= cut_ms)
            k = clip(&c, h->after_ms, cut_ms);
        if (k) { /* the rest stays held, to be let go by holding_done */
            memmove(h->at + kept, h->at + i, (h->len - i) * sizeof *h->at);
            h->len = kept + h->len - i;
            return k;
        }
        if (c)
            h->at[kept++] = c;
    }
    h->len = kept;
    *ret = (block_series){ label_set_view(h->series->labels), arena_array(&hold->arena, block_chunk, kept), kept };
    if (!ret->chunks)
        return ERR_NOMEM;
    for (size_t i = 0; i < kept; i++) {
        const chunk *c = h->at[i];
        ret->chunks[i] = (block_chunk){ chunk_bytes(c), c->min_t_ms, c->max_t_ms, c->count, CHUNK_XOR };
    }
    return OK;
}

/* ---- out of the head ---- */

/* The append lock keeps a batch from finding its reserved room gone; it is given back now and then. */
#define TRIM_AT_ONCE 256

void holding_trim_head(store *s, const holding *h)
{
    for (size_t i = 0; i < h->series.len; i++) {
        if (i % TRIM_AT_ONCE == 0)
            pthread_mutex_lock(&s->append_lock);
        const held *one = &h->series.at[i];
        pthread_mutex_t *lock = &s->head.shards[one->series->shard].lock;
        pthread_mutex_lock(lock);
        if (one->len > 0)
            series_trim(&s->head, one->series, one->at[one->len - 1]->max_t_ms);
        pthread_mutex_unlock(lock);
        if (i % TRIM_AT_ONCE == TRIM_AT_ONCE - 1 || i + 1 == h->series.len)
            pthread_mutex_unlock(&s->append_lock);
    }
}

void head_expire(store *s, int64_t oldest_ms)
{
    for (uint32_t i = 0; i < HEAD_SHARDS; i++) {
        head_shard *shard = &s->head.shards[i];
        pthread_mutex_lock(&s->append_lock);
        pthread_mutex_lock(&shard->lock);
        series *se;
        for (size_t pos = 0; (se = head_next(shard, &pos));)
            if (series_min_t(se) < oldest_ms)
                series_trim(&s->head, se, oldest_ms - 1);
        pthread_mutex_unlock(&shard->lock);
        pthread_mutex_unlock(&s->append_lock);
    }
}
