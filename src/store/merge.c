#include "store/merge.h"
#include "store/samples.h"

err_kind merge_init(merge *m, block *const *blocks, size_t n, err *e)
{
    *m = (merge){ .at = mem_calloc(n ? n : 1, sizeof *m->at), .len = n };
    if (!m->at)
        return err_nomem(e);
    for (size_t i = 0; i < n; i++)
        m->at[i].b = blocks[i];
    return OK;
}

void merge_done(merge *m) { mem_free(m->at); }

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

static err_kind source_histograms(merge *m, const merge_source *s, buf *bytes, block_chunk_vec *out, err *e)
{
    block_entry entry = s->entry;
    block_page p;
    err_kind k;
    while (!(k = block_next_page(s->b, &entry, &p, e))) {
        size_t before = bytes->len;
        if (p.kind != CHUNK_HISTOGRAM)
            continue;
        k = block_histogram_bytes(s->b, &p, bytes, e);
        if (k == ERR_CORRUPT)
            m->lost += p.count;
        else if (k)
            return k;
        else if (vec_push(out, ((block_chunk){ { NULL, bytes->len - before }, p.min_t_ms, p.max_t_ms, p.count, CHUNK_HISTOGRAM })))
            return err_nomem(e);
    }
    return k == ERR_NOT_FOUND ? OK : k;
}

err_kind merge_histograms(merge *m, buf *bytes, block_chunk_vec *out, err *e)
{
    buf_reset(bytes);
    out->len = 0;
    for (size_t i = 0; i < m->len; i++) {
        err_kind k = m->at[i].mine ? source_histograms(m, &m->at[i], bytes, out, e) : OK;
        if (k)
            return k;
    }
    size_t at = 0; /* only now the bytes do not move any more */
    for (size_t i = 0; i < out->len; at += out->at[i++].bytes.len)
        out->at[i].bytes.ptr = bytes->ptr + at;
    return OK;
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
