#include "store/import.h"
#include "store/histogram_chunk.h"
#include "store/blocks.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct gathered {
    labels labels;             /* in the arena */
    sample_vec samples;
    vec(chunk *) histograms;   /* each within one window */
    size_t next;               /* first sample that is in no block yet */
    bool sorted;
} gathered;

struct importer {
    store *s;
    arena arena;               /* of labels */
    vec(gathered) series;
    uint32_t *table;           /* open addressing over `series`, number + 1; twice as large at least */
    size_t cap;                /* power of two */
    size_t bytes;
    import_receipt told;
};

err_kind importer_open(store *s, importer **ret, err *e)
{
    if (s && s->read_only)
        return err_set(e, ERR_DENIED, "cannot import into store \"%s\": it is open for reading only", s->dir);
    importer *i = mem_zalloc(sizeof *i);
    if (!i)
        return err_nomem(e);
    i->s = s;
    i->arena = arena_init(4 * IMPORT_BUFFER_BYTES + (1u << 20));
    i->told.min_t_ms = INT64_MAX;
    i->told.max_t_ms = INT64_MIN;
    *ret = i;
    return OK;
}

static void forget(importer *i)
{
    for (size_t n = 0; n < i->series.len; n++) {
        gathered *g = &i->series.at[n];
        for (size_t c = 0; c < g->histograms.len; c++)
            chunk_unref(g->histograms.at[c]);
        vec_done(&g->histograms);
        vec_done(&g->samples);
    }
    vec_clear(&i->series);
    arena_reset(&i->arena);
    if (i->table)
        memset(i->table, 0, i->cap * sizeof *i->table);
    i->bytes = 0;
}

void importer_free(importer *i)
{
    if (!i)
        return;
    forget(i);
    vec_done(&i->series);
    arena_done(&i->arena);
    mem_free(i->table);
    mem_free(i);
}

void importer_freep(importer **i)
{
    importer_free(*i);
    *i = NULL;
}

/* ---- gathering ---- */

static uint32_t *cell_of(const importer *i, labels l)
{
    size_t at = labels_hash(l) & (i->cap - 1);
    while (i->table[at] && !labels_eq(i->series.at[i->table[at] - 1].labels, l))
        at = (at + 1) & (i->cap - 1);
    return &i->table[at];
}

static err_kind grow_table(importer *i)
{
    if (i->cap >= 2 * (i->series.len + 1))
        return OK;
    importer bigger = *i;
    bigger.cap = MAX(i->cap * 2, 64);
    bigger.table = mem_calloc(bigger.cap, sizeof *bigger.table);
    if (!bigger.table)
        return ERR_NOMEM;
    for (size_t n = 0; n < i->series.len; n++)
        *cell_of(&bigger, i->series.at[n].labels) = (uint32_t)n + 1;
    mem_free(i->table);
    i->table = bigger.table;
    i->cap = bigger.cap;
    return OK;
}

static err_kind copy_labels(importer *i, labels l, labels *ret)
{
    label *at = arena_array(&i->arena, label, l.len);
    if (!at)
        return ERR_NOMEM;
    for (size_t n = 0; n < l.len; n++) {
        at[n] = (label){ arena_str(&i->arena, l.at[n].name), arena_str(&i->arena, l.at[n].value) };
        if (!at[n].name.ptr || !at[n].value.ptr)
            return ERR_NOMEM;
        i->bytes += l.at[n].name.len + l.at[n].value.len + sizeof *at;
    }
    *ret = (labels){ at, l.len };
    return OK;
}

static err_kind gathered_of(importer *i, labels l, gathered **ret, err *e)
{
    gathered *last = i->series.len ? &vec_last(&i->series) : NULL;
    if (last && labels_eq(last->labels, l)) /* files hold a series in one piece */
        return *ret = last, OK;
    if (grow_table(i))
        return err_nomem(e);
    uint32_t *cell = cell_of(i, l);
    if (!*cell) {
        gathered fresh = { .sorted = true };
        err_kind k = labels_check(l, e);
        if (k)
            return k;
        if (copy_labels(i, l, &fresh.labels) || vec_push(&i->series, fresh))
            return err_nomem(e);
        i->bytes += sizeof fresh;
        i->told.series++;
        *cell = (uint32_t)i->series.len;
    }
    *ret = &i->series.at[*cell - 1];
    return OK;
}

static err_kind write_all(importer *i, err *e);

static bool in_calendar(int64_t t_ms) { return t_ms <= STORE_TIME_MAX_MS && t_ms >= -STORE_TIME_MAX_MS; }

static err_kind refuse_time(err *e) { return err_set(e, ERR_LIMIT, "cannot import a sample of a time beyond all calendars"); }

static void saw(importer *i, int64_t min_t_ms, int64_t max_t_ms)
{
    i->told.min_t_ms = MIN(i->told.min_t_ms, min_t_ms);
    i->told.max_t_ms = MAX(i->told.max_t_ms, max_t_ms);
}

err_kind importer_add(importer *i, labels l, const sample *at, size_t n, err *e)
{
    gathered *g;
    for (size_t k = 0; k < n; k++)
        if (!in_calendar(at[k].t_ms))
            return refuse_time(e);
    err_kind k = i->bytes >= IMPORT_BUFFER_BYTES ? write_all(i, e) : OK;
    if (k || n == 0 || (k = gathered_of(i, l, &g, e)))
        return k;
    if (vec_reserve(&g->samples, g->samples.len + n))
        return err_nomem(e);
    for (size_t j = 0; j < n; j++) {
        g->sorted = g->sorted && (g->samples.len == 0 || vec_last(&g->samples).t_ms < at[j].t_ms);
        g->samples.at[g->samples.len++] = at[j];
        saw(i, at[j].t_ms, at[j].t_ms);
    }
    i->bytes += n * sizeof *at;
    i->told.samples += n;
    return OK;
}

/* How many of the first fit into one chunk: of one window, and at most CHUNK_MAX_SAMPLES. */
static size_t one_chunk(const histogram_sample *at, size_t n)
{
    int64_t end_ms = window_start(at[0].t_ms, IMPORT_WINDOW_MS) + IMPORT_WINDOW_MS;
    size_t len = 1;
    while (len < n && len < CHUNK_MAX_SAMPLES && at[len].t_ms < end_ms)
        len++;
    return len;
}

err_kind importer_add_histograms(importer *i, labels l, const histogram_sample *at, size_t n, err *e)
{
    gathered *g;
    for (size_t k = 0; k < n; k++)
        if (!in_calendar(at[k].t_ms))
            return refuse_time(e);
    err_kind k = i->bytes >= IMPORT_BUFFER_BYTES ? write_all(i, e) : OK;
    if (k || n == 0 || (k = gathered_of(i, l, &g, e)))
        return k;
    for (size_t len; n > 0; at += len, n -= len) {
        chunk *c;
        len = one_chunk(at, n);
        if (histogram_chunk_of(at, len, &c))
            return err_nomem(e);
        if (vec_push(&g->histograms, c)) {
            chunk_unref(c);
            return err_nomem(e);
        }
        i->bytes += sizeof *c + c->size;
        i->told.histograms += len;
        saw(i, c->min_t_ms, c->max_t_ms);
    }
    return OK;
}

void importer_leave_out(importer *i, uint64_t samples, const char *why)
{
    if (samples && !i->told.left_out)
        str_copy(i->told.why, sizeof i->told.why, str_from(why));
    i->told.left_out += samples;
}

/* ---- putting in order ---- */

/* Bottom-up merge sort: stable, so that of equal times the later given stays behind. */
static err_kind sort_samples(sample_vec *v)
{
    sample *from = v->at, *to = mem_calloc(v->len, sizeof *to);
    if (!to)
        return ERR_NOMEM;
    for (size_t width = 1; width < v->len; width *= 2) {
        for (size_t left = 0; left < v->len; left += 2 * width) {
            size_t mid = MIN(left + width, v->len), end = MIN(left + 2 * width, v->len), a = left, b = mid;
            for (size_t out = left; out < end; out++)
                to[out] = b == end || (a < mid && from[a].t_ms <= from[b].t_ms) ? from[a++] : from[b++];
        }
        sample *other = from;
        from = to;
        to = other;
    }
    if (from != v->at)
        memcpy(v->at, from, v->len * sizeof *from);
    mem_free(from == v->at ? to : from);
    return OK;
}

/* Of one time only the last. */
static void drop_doubles(sample_vec *v)
{
    size_t kept = 0;
    for (size_t n = 0; n < v->len; n++)
        if (n + 1 == v->len || v->at[n].t_ms != v->at[n + 1].t_ms)
            v->at[kept++] = v->at[n];
    v->len = kept;
}

static int by_labels(const void *a, const void *b) { return labels_cmp(((const gathered *)a)->labels, ((const gathered *)b)->labels); }

static int by_time(const void *va, const void *vb)
{
    const chunk *a = *(chunk *const *)va, *b = *(chunk *const *)vb;
    return (a->min_t_ms > b->min_t_ms) - (a->min_t_ms < b->min_t_ms);
}

static err_kind put_in_order(importer *i, err *e)
{
    for (size_t n = 0; n < i->series.len; n++) {
        gathered *g = &i->series.at[n];
        if (g->histograms.len > 1)
            qsort(g->histograms.at, g->histograms.len, sizeof *g->histograms.at, by_time);
        if (g->sorted)
            continue;
        if (sort_samples(&g->samples))
            return err_nomem(e);
        drop_doubles(&g->samples);
    }
    if (i->series.len > 1)
        qsort(i->series.at, i->series.len, sizeof *i->series.at, by_labels);
    return OK;
}

/* ---- blocks ---- */

/* The next window that has samples; false: none is left. */
static bool next_window(const importer *i, int64_t *ret_start_ms)
{
    int64_t first_ms = INT64_MAX;
    for (size_t n = 0; n < i->series.len; n++) {
        const gathered *g = &i->series.at[n];
        if (g->next < g->samples.len)
            first_ms = MIN(first_ms, g->samples.at[g->next].t_ms);
        if (g->histograms.len)
            first_ms = MIN(first_ms, g->histograms.at[0]->min_t_ms);
    }
    *ret_start_ms = first_ms == INT64_MAX ? 0 : window_start(first_ms, IMPORT_WINDOW_MS);
    return first_ms != INT64_MAX;
}

/* Nothing of the log is in an imported block. */
static const block_cover covers_nothing = { 0, INT64_MIN };

typedef vec(block_chunk) block_chunk_vec;

static void drop_histograms(gathered *g, size_t n)
{
    for (size_t c = 0; c < n; c++)
        chunk_unref(g->histograms.at[c]);
    memmove(g->histograms.at, g->histograms.at + n, (g->histograms.len - n) * sizeof *g->histograms.at);
    g->histograms.len -= n;
}

static err_kind add_series(block_writer *w, gathered *g, int64_t end_ms, block_chunk_vec *histograms, err *e)
{
    size_t end = g->next;
    while (end < g->samples.len && g->samples.at[end].t_ms < end_ms)
        end++;
    vec_clear(histograms);
    for (size_t c = 0; c < g->histograms.len && g->histograms.at[c]->min_t_ms < end_ms; c++) {
        const chunk *x = g->histograms.at[c];
        if (vec_push(histograms, ((block_chunk){ chunk_bytes(x), x->min_t_ms, x->max_t_ms, x->count, CHUNK_HISTOGRAM })))
            return err_nomem(e);
    }
    if (end == g->next && histograms->len == 0)
        return OK;
    err_kind k = block_writer_add_samples(w, g->labels, g->samples.at + g->next, end - g->next, histograms->at, histograms->len, e);
    if (k)
        return k;
    g->next = end;
    if (histograms->len)
        drop_histograms(g, histograms->len);
    return OK;
}

static err_kind add_window(importer *i, block_writer *w, int64_t end_ms, err *e)
{
    block_chunk_vec histograms = { 0 };
    err_kind k = OK;
    for (size_t n = 0; !k && n < i->series.len; n++)
        k = add_series(w, &i->series.at[n], end_ms, &histograms, e);
    vec_done(&histograms);
    return k;
}

static err_kind write_window(importer *i, int64_t start_ms, err *e)
{
    char path[FILE_PATH_MAX];
    uint32_t number;
    block_writer *w;
    err_kind k = blocks_begin(i->s, &i->s->blocks, path, &number, e);
    if (k || (k = block_writer_open(path, &w, e)))
        return k;
    if ((k = add_window(i, w, start_ms + IMPORT_WINDOW_MS, e))) {
        block_writer_abort(w);
        return k;
    }
    if ((k = block_writer_close(w, covers_nothing, e)) || (k = blocks_show(i->s, &i->s->blocks, path, number, e)))
        return k;
    i->told.blocks++;
    return OK;
}

static err_kind write_all(importer *i, err *e)
{
    err_kind k = put_in_order(i, e);
    for (int64_t start_ms; !k && i->s && next_window(i, &start_ms);)
        k = write_window(i, start_ms, e);
    forget(i);
    return k;
}

err_kind importer_finish(importer *i, import_receipt *ret, err *e)
{
    err_kind k = write_all(i, e);
    *ret = i->told;
    return k;
}
