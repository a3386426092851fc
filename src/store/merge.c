#include "store/merge.h"
#include "store/histogram_chunk.h"
#include "store/samples.h"
#include <stdlib.h>

#define HISTOGRAMS_MAX_BYTES ((size_t)1 << 30) /* of one series in one merge */
#define RUN_MAX 120u                           /* histograms in a chunk that is coded anew */

err_kind merge_init(merge *m, block *const *blocks, size_t n, err *e)
{
    *m = (merge){ .at = mem_calloc(n ? n : 1, sizeof *m->at), .len = n, .bytes = BUF_INIT(HISTOGRAMS_MAX_BYTES), .arena = ARENA_INIT(HISTOGRAMS_MAX_BYTES) };
    if (!m->at)
        return err_nomem(e);
    for (size_t i = 0; i < n; i++)
        m->at[i].b = blocks[i];
    return OK;
}

static void forget_histograms(merge *m)
{
    for (size_t i = 0; i < m->chunks.len; i++)
        chunk_unref(m->chunks.at[i]);
    m->chunks.len = 0;
    buf_reset(&m->bytes);
    arena_reset(&m->arena);
}

void merge_done(merge *m)
{
    forget_histograms(m);
    vec_done(&m->chunks);
    buf_done(&m->bytes);
    arena_done(&m->arena);
    mem_free(m->at);
}

static labels labels_of(const merge_source *s) { return (labels){ s->entry.labels, s->entry.label_count }; }

static err_kind advance(merge_source *s, err *e)
{
    s->mine = false;
    s->has = s->next < s->b->series_count;
    return s->has ? block_read_series(s->b, s->next++, &s->entry, e) : OK;
}

err_kind merge_next(merge *m, labels *ret, err *e)
{
    const merge_source *first = NULL;
    for (size_t i = 0; i < m->len; i++) {
        merge_source *s = &m->at[i];
        err_kind k = s->mine || !s->has ? advance(s, e) : OK;
        if (k)
            return k;
        if (s->has && (!first || labels_cmp(labels_of(s), labels_of(first)) < 0))
            first = s;
    }
    if (!first)
        return ERR_NOT_FOUND;
    for (size_t i = 0; i < m->len; i++)
        m->at[i].mine = m->at[i].has && labels_eq(labels_of(&m->at[i]), labels_of(first));
    *ret = labels_of(first);
    return OK;
}

/* The pages of one source; the entry is copied, so that the series can be read again. */
static err_kind source_samples(merge *m, const merge_source *s, int64_t from_ms, int64_t to_ms, sample_vec *out, err *e)
{
    block_entry entry = s->entry;
    block_page p;
    err_kind k;
    while (!(k = block_next_page(s->b, &entry, &p, e))) {
        size_t middle = out->len;
        k = block_decode(s->b, &p, from_ms, to_ms, out, e);
        if (k == ERR_CORRUPT)
            m->lost += p.count;
        else if (k || (k = samples_join(out, middle) ? err_nomem(e) : OK))
            return k;
    }
    return k == ERR_NOT_FOUND ? OK : k;
}

err_kind merge_samples(merge *m, int64_t from_ms, int64_t to_ms, sample_vec *out, err *e)
{
    out->len = 0;
    for (size_t i = 0; i < m->len; i++) {
        sample_vec more = { 0 };
        size_t middle = out->len;
        if (!m->at[i].mine)
            continue;
        /* The pages of one block do not overlap: straight behind the others, then one join a block. */
        err_kind k = middle ? source_samples(m, &m->at[i], from_ms, to_ms, &more, e) : source_samples(m, &m->at[i], from_ms, to_ms, out, e);
        if (!k && more.len && vec_reserve(out, middle + more.len))
            k = err_nomem(e);
        if (!k && more.len) {
            memcpy(out->at + middle, more.at, more.len * sizeof *more.at);
            out->len += more.len;
            k = samples_join(out, middle) ? err_nomem(e) : OK;
        }
        vec_done(&more);
        if (k)
            return k;
    }
    return OK;
}

/* ---- histograms ---- */

/* The runs of one source as they are; *ret_whole: nothing of them is deleted. */
static err_kind source_runs(merge *m, const merge_source *s, block_chunk_vec *out, bool *ret_whole, err *e)
{
    block_entry entry = s->entry;
    block_page p;
    err_kind k;
    while (!(k = block_next_page(s->b, &entry, &p, e))) {
        size_t before = m->bytes.len;
        if (p.kind != CHUNK_HISTOGRAM)
            continue;
        *ret_whole = *ret_whole && p.deleted.len == 0;
        k = block_histogram_bytes(s->b, &p, &m->bytes, e);
        if (k == ERR_CORRUPT)
            m->lost += p.count;
        else if (k)
            return k;
        else if (vec_push(out, ((block_chunk){ { NULL, m->bytes.len - before }, p.min_t_ms, p.max_t_ms, p.count, CHUNK_HISTOGRAM })))
            return err_nomem(e);
    }
    return k == ERR_NOT_FOUND ? OK : k;
}

static int by_time(const void *va, const void *vb)
{
    const block_chunk *a = va, *b = vb;
    return a->min_t_ms < b->min_t_ms ? -1 : a->min_t_ms > b->min_t_ms;
}

/* Put the runs in the order of time; false: some overlap. */
static bool in_order(merge *m, block_chunk_vec *out)
{
    size_t at = 0; /* only now the bytes do not move any more */
    for (size_t i = 0; i < out->len; at += out->at[i++].bytes.len)
        out->at[i].bytes.ptr = m->bytes.ptr + at;
    if (out->len > 1)
        qsort(out->at, out->len, sizeof *out->at, by_time);
    for (size_t i = 1; i < out->len; i++)
        if (out->at[i].min_t_ms <= out->at[i - 1].max_t_ms)
            return false;
    return true;
}

/* All histograms of one source that are not deleted, joined behind those of the sources before it. */
static err_kind source_histograms(merge *m, const merge_source *s, histogram_vec *all, err *e)
{
    block_entry entry = s->entry;
    block_page p;
    err_kind k;
    while (!(k = block_next_page(s->b, &entry, &p, e))) {
        size_t middle = all->len;
        k = block_decode_histograms(s->b, &p, INT64_MIN, INT64_MAX, &m->arena, all, e);
        if (k == ERR_CORRUPT)
            m->lost += p.count;
        else if (k || (k = histograms_join(all, middle) ? err_nomem(e) : OK))
            return k;
    }
    return k == ERR_NOT_FOUND ? OK : k;
}

static err_kind put_chunk(merge *m, const histogram_sample *at, size_t n, block_chunk_vec *out)
{
    chunk *c = NULL;
    if (vec_reserve(&m->chunks, m->chunks.len + 1) || histogram_chunk_of(at, n, &c))
        return ERR_NOMEM;
    m->chunks.at[m->chunks.len++] = c;
    return vec_push(out, ((block_chunk){ chunk_bytes(c), at[0].t_ms, at[n - 1].t_ms, (uint32_t)n, CHUNK_HISTOGRAM }));
}

static err_kind code_anew(merge *m, block_chunk_vec *out, err *e)
{
    histogram_vec all = { 0 };
    err_kind k = OK;
    out->len = 0;
    for (size_t i = 0; !k && i < m->len; i++)
        k = m->at[i].mine ? source_histograms(m, &m->at[i], &all, e) : OK;
    for (size_t i = 0; !k && i < all.len; i += RUN_MAX)
        k = put_chunk(m, all.at + i, MIN(all.len - i, RUN_MAX), out) ? err_nomem(e) : OK;
    vec_done(&all);
    return k;
}

err_kind merge_histograms(merge *m, block_chunk_vec *out, err *e)
{
    bool whole = true;
    uint64_t lost = m->lost;
    forget_histograms(m);
    out->len = 0;
    for (size_t i = 0; i < m->len; i++) {
        err_kind k = m->at[i].mine ? source_runs(m, &m->at[i], out, &whole, e) : OK;
        if (k)
            return k;
    }
    if (in_order(m, out) && whole)
        return OK;
    m->lost = lost; /* what cannot be read is met again */
    return code_anew(m, out, e);
}

void merge_tell(const merge *m, uint32_t *places)
{
    for (size_t i = 0; i < m->len; i++)
        places[i] = m->at[i].has ? m->at[i].next - 1 : m->at[i].next;
}

void merge_seek(merge *m, const uint32_t *places)
{
    for (size_t i = 0; i < m->len; i++) {
        m->at[i].next = places[i];
        m->at[i].has = m->at[i].mine = false;
    }
}
