/* Prometheus's own data into the importer: block by block, series by series. */
#include "store/import.h"
#include <stdio.h>
#include <stdlib.h>

#define PROM_DIR_MAX_BYTES (16u << 20)
#define PROM_SERIES_MAX_BYTES ((size_t)1 << 30) /* histograms of one series in one block */

typedef struct reading {
    importer *to;
    const prom_block *b;
    prom_chunk_metas chunks;
    sample_vec samples;
    histogram_vec histograms;
    arena values;             /* of the histograms of one series */
    label labels[LABELS_MAX];
} reading;

static void reading_done(reading *r)
{
    vec_done(&r->chunks);
    vec_done(&r->samples);
    vec_done(&r->histograms);
    arena_done(&r->values);
}

static void drop_deleted(reading *r, uint64_t ref)
{
    if (r->b->deleted.len == 0)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < r->samples.len; i++)
        if (!prom_block_deleted(r->b, ref, r->samples.at[i].t_ms))
            r->samples.at[kept++] = r->samples.at[i];
    r->samples.len = kept;
    kept = 0;
    for (size_t i = 0; i < r->histograms.len; i++)
        if (!prom_block_deleted(r->b, ref, r->histograms.at[i].t_ms))
            r->histograms.at[kept++] = r->histograms.at[i];
    r->histograms.len = kept;
}

/* What galen's own rules refuse costs this histogram only. */
static void drop_invalid(reading *r, size_t first)
{
    size_t kept = first;
    for (size_t i = first; i < r->histograms.len; i++) {
        err why = { 0 };
        if (histogram_check(r->histograms.at[i].h, &why))
            importer_leave_out(r->to, 1, why.message);
        else
            r->histograms.at[kept++] = r->histograms.at[i];
    }
    r->histograms.len = kept;
}

/* One chunk behind what r->samples holds. Damage costs this chunk only. */
static err_kind read_chunk(reading *r, const prom_chunk_meta *m, err *e)
{
    prom_encoding encoding;
    str data;
    size_t before = r->samples.len, histograms_before = r->histograms.len;
    err why = { 0 };
    err_kind k = prom_block_chunk(r->b, m->ref, true, &encoding, &data, &why);
    if (!k && encoding == PROM_XOR)
        k = prom_chunk_samples(data, &r->samples, &why);
    else if (!k && (encoding == PROM_HISTOGRAM || encoding == PROM_FLOAT_HISTOGRAM))
        k = prom_chunk_histograms(data, encoding, &r->values, &r->histograms, &why);
    else if (!k)
        k = err_set(&why, ERR_UNSUPPORTED, "a chunk of Prometheus is coded in a way that galen does not know");
    if (k == ERR_NOMEM)
        return err_nomem(e);
    if (k) {
        r->samples.len = before;
        r->histograms.len = histograms_before;
        importer_leave_out(r->to, 1, why.message);
        return OK;
    }
    drop_invalid(r, histograms_before);
    return OK;
}

static err_kind read_series(reading *r, size_t i, err *e)
{
    labels l;
    uint64_t ref;
    err why = { 0 };
    err_kind k = prom_block_series(r->b, i, true, r->labels, &l, &ref, &r->chunks, &why);
    if (k == ERR_NOMEM)
        return err_nomem(e);
    if (k)
        return importer_leave_out(r->to, 1, why.message), OK;
    vec_clear(&r->samples);
    vec_clear(&r->histograms);
    arena_reset(&r->values);
    for (size_t c = 0; c < r->chunks.len; c++)
        if ((k = read_chunk(r, &r->chunks.at[c], e)))
            return k;
    drop_deleted(r, ref);
    k = importer_add(r->to, l, r->samples.at, r->samples.len, &why);
    if (!k)
        k = importer_add_histograms(r->to, l, r->histograms.at, r->histograms.len, &why);
    if (k != ERR_INVALID && k != ERR_LIMIT) {
        if (k && e)
            *e = why;
        return k;
    }
    return importer_leave_out(r->to, r->samples.len + r->histograms.len, why.message), OK;
}

static err_kind import_block(importer *i, const char *dir, err *e)
{
    AUTO(prom_block_freep) prom_block *b = NULL;
    AUTO(reading_done) reading r = { .to = i, .values = ARENA_INIT(PROM_SERIES_MAX_BYTES) };
    err_kind k = prom_block_open(dir, &b, e);
    r.b = b;
    for (size_t n = 0; !k && n < prom_block_series_count(b); n++)
        k = read_series(&r, n, e);
    return k;
}

typedef struct found { char dir[FILE_PATH_MAX]; int64_t min_t_ms; } found;
typedef vec(found) found_vec;

static int by_time(const void *va, const void *vb)
{
    const found *a = va, *b = vb;
    return a->min_t_ms != b->min_t_ms ? (a->min_t_ms < b->min_t_ms ? -1 : 1) : strcmp(a->dir, b->dir);
}

/* Blocks lie in folders named by ULIDs: 26 characters, so nothing else is looked into. */
static err_kind find_blocks(const char *dir, found_vec *ret, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(PROM_DIR_MAX_BYTES);
    str *names;
    size_t n;
    err_kind k = file_list(dir, &a, &names, &n, e);
    for (size_t i = 0; !k && i < n; i++) {
        found f;
        if (names[i].len != 26 || file_join(f.dir, dir, names[i].ptr, NULL) || !prom_block_is(f.dir))
            continue;
        AUTO(prom_block_freep) prom_block *b = NULL;
        if ((k = prom_block_open(f.dir, &b, e)))
            break;
        f.min_t_ms = b->min_t_ms;
        if (vec_push(ret, f))
            k = err_nomem(e);
    }
    if (!k && ret->len > 1)
        qsort(ret->at, ret->len, sizeof *ret->at, by_time);
    return k;
}

err_kind import_prometheus(importer *i, const char *dir, bool *ret_log, err *e)
{
    char wal[FILE_PATH_MAX];
    *ret_log = false;
    if (prom_block_is(dir))
        return import_block(i, dir, e);
    found_vec blocks = { 0 };
    err_kind k = find_blocks(dir, &blocks, e);
    *ret_log = !k && !file_join(wal, dir, "wal", NULL) && file_exists(wal);
    if (!k && blocks.len == 0)
        k = err_set(e, ERR_NOT_FOUND, "could not find blocks of Prometheus in \"%s\"", dir);
    for (size_t n = 0; !k && n < blocks.len; n++)
        k = import_block(i, blocks.at[n].dir, e);
    vec_done(&blocks);
    return k;
}
