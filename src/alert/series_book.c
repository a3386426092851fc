/* alert/series_book.c - the difference between two evaluations' series. */
#include "alert/series_book.h"

#include <stdlib.h>

void series_book_done(series_book *b)
{
    for (size_t i = 0; i < b->len; i++)
        label_set_unref(b->at[i].labels);
    mem_free(b->at);
    *b = (series_book){ 0 };
}

static series_entry *find(series_book *b, uint64_t hash, labels l)
{
    size_t low = 0, high = b->len;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (b->at[mid].hash < hash)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < b->len && b->at[low].hash == hash; low++)
        if (b->at[low].labels && labels_eq(label_set_view(b->at[low].labels), l))
            return &b->at[low];
    return NULL;
}

static int by_hash(const void *a, const void *b)
{
    uint64_t x = ((const series_entry *)a)->hash, y = ((const series_entry *)b)->hash;
    return x < y ? -1 : x > y;
}

/* The next evaluation's entries, in the order of the samples; known series keep their ref. */
static err_kind make_entries(series_book *b, const book_sample *samples, size_t n, series_book *next)
{
    next->at = mem_calloc(n ? n : 1, sizeof *next->at);
    if (!next->at)
        return ERR_NOMEM;
    for (; next->len < n; next->len++) {
        uint64_t hash = labels_hash(samples[next->len].labels);
        series_entry *old = find(b, hash, samples[next->len].labels);
        series_entry *entry = &next->at[next->len];
        *entry = (series_entry){ old ? label_set_ref(old->labels) : label_set_new(samples[next->len].labels), hash, old ? old->ref : 0 };
        if (!entry->labels)
            return ERR_NOMEM;
    }
    return OK;
}

/* Rows for the samples, then stale ones for those of `b` that have no sample. Returns how many. */
static size_t fill_rows(series_book *b, series_book *next, const book_sample *samples, int64_t t_ms, sample_row *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < next->len; i++) {
        rows[n++] = (sample_row){ label_set_view(next->at[i].labels), &next->at[i].ref, t_ms, samples[i].v };
        series_entry *old = find(b, next->at[i].hash, label_set_view(next->at[i].labels));
        if (old) { /* still there: no marker */
            label_set_unref(old->labels);
            old->labels = NULL;
        }
    }
    for (size_t i = 0; i < b->len; i++)
        if (b->at[i].labels)
            rows[n++] = (sample_row){ label_set_view(b->at[i].labels), &b->at[i].ref, t_ms, stale_nan() };
    return n;
}

err_kind series_book_write(series_book *b, const book_sample *samples, size_t n, int64_t t_ms, const sample_sink *sink, err *e)
{
    AUTO(series_book_done) series_book next = { 0 };
    AUTO(mem_freep) sample_row *rows = mem_calloc(n + b->len + 1, sizeof *rows);
    sink_result rejected = { 0 };
    err_kind k = OK;

    if (!rows || make_entries(b, samples, n, &next))
        return err_nomem(e);
    size_t count = fill_rows(b, &next, samples, t_ms, rows);
    if (count && sink->append)
        k = sink->append(sink->ctx, rows, count, &rejected, e);
    if (next.len > 1)
        qsort(next.at, next.len, sizeof *next.at, by_hash);
    series_book old = *b;
    *b = next;
    next = old;
    return k;
}

err_kind series_book_end(series_book *b, int64_t t_ms, const sample_sink *sink, err *e)
{
    return series_book_write(b, NULL, 0, t_ms, sink, e);
}
