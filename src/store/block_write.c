/* A block's file: pages as they come, and what the index will say of each series (written by block_index.c). */
#include "store/block_writer.h"
#include "store/samples.h"
#include "base/hash.h"
#include "base/rand.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#define OUT_BUFFER_BYTES (256u << 10)
#define SYMBOLS_MAX_BYTES ((size_t)2 << 30)
#define HISTOGRAM_LEVEL 3                /* of zstd: the chunks are small and already coded */

#ifdef GALEN_TINY
#define SHARED_SLOTS 4u
#else
#define SHARED_SLOTS (1u << 15)          /* pages remembered to be shared: 1 MiB; a newer one takes its slot */
#endif

static void writer_free(block_writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    buf *bufs[] = { &w->out, &w->axes, &w->entries, &w->replaces, &w->bytes, &w->packed };
    for (size_t i = 0; i < COUNT_OF(bufs); i++)
        buf_done(bufs[i]);
    mem_free(w->pages);
    mem_free(w->times);
    arena_done(&w->texts);
    map_done(&w->ids);
    map_done(&w->axis_ids);
    vec_done(&w->symbols);
    vec_done(&w->pairs);
    mem_free(w->pair_ids.at);
    vec_done(&w->row_of);
    vec_done(&w->axis_offsets);
    vec_done(&w->samples);
    XXH3_freeState(w->sum);
    mem_free(w);
}

/* ---- bytes out ---- */

static err_kind flush(block_writer *w, err *e)
{
    err_kind k = file_write_all(w->fd, w->out.ptr, w->out.len, w->temp, e);
    buf_reset(&w->out);
    return k;
}

err_kind block_writer_put(block_writer *w, const void *bytes, size_t n, err *e)
{
    if (w->out.len + n > OUT_BUFFER_BYTES) {
        err_kind k = flush(w, e);
        if (k)
            return k;
    }
    w->offset += n;
    if (w->summing)
        XXH3_64bits_update(w->sum, bytes, n);
    if (n > OUT_BUFFER_BYTES) /* a section of a large block */
        return file_write_all(w->fd, bytes, n, w->temp, e);
    return buf_append_bytes(&w->out, bytes, n) ? err_nomem(e) : OK;
}

err_kind block_writer_put_u32(block_writer *w, uint32_t v, err *e)
{
    uint8_t bytes[4];
    wire_put_u32(bytes, v);
    return block_writer_put(w, bytes, sizeof bytes, e);
}

static err_kind buf_trouble(const block_writer *w, const buf *b, err *e)
{
    if (b->failed == ERR_LIMIT)
        return err_set(e, ERR_LIMIT, "could not write block \"%s\": its index is too large", w->path);
    return err_nomem(e);
}

/* ---- pages ---- */

/* The page in w->bytes into the file, or where the same bytes already are. */
static err_kind put_page(block_writer *w, place *ret, err *e)
{
    if (buf_failed(&w->bytes))
        return err_nomem(e);
    XXH128_hash_t hash = XXH3_128bits_withSeed(w->bytes.ptr, w->bytes.len, w->seed);
    shared *known = &w->pages[hash.low64 & (SHARED_SLOTS - 1)];
    if (known->len == w->bytes.len && XXH128_isEqual(known->hash, hash)) {
        *ret = (place){ known->at, known->len };
        return OK;
    }
    uint8_t sum[4];
    *ret = (place){ w->offset - BLOCK_HEADER_BYTES, (uint32_t)w->bytes.len };
    *known = (shared){ hash, ret->at, ret->len };
    wire_put_u32(sum, (uint32_t)hash_bytes(w->bytes.ptr, w->bytes.len, 0));
    err_kind k = block_writer_put(w, w->bytes.ptr, w->bytes.len, e);
    return k ? k : block_writer_put(w, sum, sizeof sum, e);
}

/* What the index says of a page. */
typedef struct written { int64_t min_t_ms, max_t_ms; uint32_t count; chunk_kind kind; place time, value; } written;
typedef vec(written) written_vec;

static err_kind put_times(block_writer *w, const int64_t *t_ms, size_t n, known_times *known, place *ret, err *e)
{
    if (known->n == n && memcmp(known->t_ms, t_ms, n * sizeof *t_ms) == 0) {
        *ret = (place){ known->at, known->len };
        return OK;
    }
    buf_reset(&w->bytes);
    column_put_times(&w->bytes, t_ms, n);
    err_kind k = put_page(w, ret, e);
    known->n = k ? 0 : n;
    known->at = ret->at;
    known->len = ret->len;
    memcpy(known->t_ms, t_ms, n * sizeof *t_ms);
    return k;
}

static err_kind put_floats(block_writer *w, const sample *at, size_t n, size_t run, written *ret, err *e)
{
    int64_t t_ms[COLUMN_MAX];
    double v[COLUMN_MAX];
    for (size_t i = 0; i < n; i++) {
        t_ms[i] = at[i].t_ms;
        v[i] = at[i].v;
    }
    *ret = (written){ at[0].t_ms, at[n - 1].t_ms, (uint32_t)n, CHUNK_XOR, { 0 }, { 0 } };
    err_kind k = put_times(w, t_ms, n, &w->times[run % KNOWN_RUNS], &ret->time, e);
    buf_reset(&w->bytes);
    column_put_values(&w->bytes, v, n);
    return k ? k : put_page(w, &ret->value, e);
}

/* Histograms: how long their chunk is, and the chunk through zstd. */
static err_kind put_histograms(block_writer *w, const block_chunk *c, written *ret, err *e)
{
    *ret = (written){ c->min_t_ms, c->max_t_ms, c->count, CHUNK_HISTOGRAM, { 0 }, { 0 } };
    buf_reset(&w->bytes);
    block_add_varint(&w->bytes, c->bytes.len);
    size_t bound = ZSTD_compressBound(c->bytes.len);
    char *room = buf_reserve(&w->bytes, bound);
    if (!room)
        return err_nomem(e);
    size_t n = ZSTD_compress(room, bound, c->bytes.ptr, c->bytes.len, HISTOGRAM_LEVEL);
    if (ZSTD_isError(n))
        return err_set(e, ERR_INTERNAL, "could not write block \"%s\": %s", w->path, ZSTD_getErrorName(n));
    buf_commit(&w->bytes, n);
    return put_page(w, &ret->value, e);
}

/* ---- labels ---- */

static err_kind symbol_id(block_writer *w, str s, uint32_t *ret, err *e)
{
    uintptr_t known = (uintptr_t)map_get(&w->ids, s);
    if (!known) {
        str kept = arena_str(&w->texts, s);
        if (!kept.ptr || vec_push(&w->symbols, kept))
            return err_nomem(e);
        known = w->symbols.len;
        if (map_set(&w->ids, s, (void *)known))
            return err_nomem(e);
    }
    *ret = (uint32_t)known - 1;
    return OK;
}

static size_t pair_cell(const block_writer *w, pair p)
{
    const pair_map *m = &w->pair_ids;
    uint64_t mixed = ((uint64_t)p.name << 32 | p.value) * UINT64_C(0x9e3779b97f4a7c15);
    size_t mask = m->cap - 1, i = (size_t)(mixed >> 20) & mask;
    while (m->at[i] && (w->pairs.at[m->at[i] - 1].name != p.name || w->pairs.at[m->at[i] - 1].value != p.value))
        i = (i + 1) & mask;
    return i;
}

static err_kind pairs_grow(block_writer *w, err *e)
{
    pair_map bigger = { .cap = MAX(w->pair_ids.cap * 2, 256) };
    bigger.at = mem_calloc(bigger.cap, sizeof *bigger.at);
    if (!bigger.at)
        return err_nomem(e);
    mem_free(w->pair_ids.at);
    w->pair_ids = bigger;
    for (size_t i = 0; i < w->pairs.len; i++)
        bigger.at[pair_cell(w, w->pairs.at[i])] = (uint32_t)i + 1;
    return OK;
}

static err_kind pair_id(block_writer *w, pair p, uint32_t *ret, err *e)
{
    if (w->pairs.len * 2 >= w->pair_ids.cap) {
        err_kind k = pairs_grow(w, e);
        if (k)
            return k;
    }
    size_t cell = pair_cell(w, p);
    if (!w->pair_ids.at[cell]) {
        if (vec_push(&w->pairs, p))
            return err_nomem(e);
        w->pair_ids.at[cell] = (uint32_t)w->pairs.len;
    }
    *ret = w->pair_ids.at[cell] - 1;
    return OK;
}

static bool same_pair(const block_writer *w, uint32_t id, label l)
{
    pair p = w->pairs.at[id];
    return str_eq(w->symbols.at[p.value], l.value) && str_eq(w->symbols.at[p.name], l.name);
}

/* Sorted neighbours share most of their labels, at the same places. */
static err_kind label_ids(block_writer *w, labels l, uint32_t *ret, err *e)
{
    for (size_t i = 0; i < l.len; i++) {
        if (i < w->before_len && same_pair(w, w->before[i], l.at[i])) {
            ret[i] = w->before[i];
            continue;
        }
        pair p;
        err_kind k = symbol_id(w, l.at[i].name, &p.name, e);
        if (k || (k = symbol_id(w, l.at[i].value, &p.value, e)) || (k = pair_id(w, p, &ret[i], e)))
            return k;
    }
    return OK;
}

static labels labels_before(const block_writer *w, label room[LABELS_MAX])
{
    for (size_t i = 0; i < w->before_len; i++) {
        pair p = w->pairs.at[w->before[i]];
        room[i] = (label){ w->symbols.at[p.name], w->symbols.at[p.value] };
    }
    return (labels){ room, w->before_len };
}

static err_kind check_order(const block_writer *w, labels l, err *e)
{
    label room[LABELS_MAX];
    if (l.len > LABELS_MAX)
        return err_set(e, ERR_LIMIT, "could not write block \"%s\": a series has more than %d labels", w->path, LABELS_MAX);
    if (w->series_count > 0 && labels_cmp(labels_before(w, room), l) >= 0)
        return err_set(e, ERR_INVALID, "could not write block \"%s\": series do not come in the order of their labels", w->path);
    return OK;
}

/* ---- series ---- */

/* The axis of these pages: its number. Equal axes are written once. */
static err_kind axis_id(block_writer *w, const written_vec *pages, uint32_t *ret, err *e)
{
    int64_t t_ms = 0;
    uint64_t end = 0;
    buf_reset(&w->bytes);
    block_add_varint(&w->bytes, pages->len);
    for (size_t i = 0; i < pages->len; i++) {
        const written *p = &pages->at[i];
        block_add_varint(&w->bytes, wire_zigzag((uint64_t)p->min_t_ms - (uint64_t)t_ms));
        block_add_varint(&w->bytes, (uint64_t)p->max_t_ms - (uint64_t)p->min_t_ms);
        block_add_varint(&w->bytes, (uint64_t)p->count << 1 | (p->kind == CHUNK_HISTOGRAM));
        if (p->kind != CHUNK_HISTOGRAM) {
            block_add_varint(&w->bytes, wire_zigzag(p->time.at - end));
            block_add_varint(&w->bytes, p->time.len);
            end = p->time.at + p->time.len + 4;
        }
        t_ms = p->max_t_ms;
    }
    if (buf_failed(&w->bytes))
        return err_nomem(e);
    uintptr_t known = (uintptr_t)map_get(&w->axis_ids, buf_str(&w->bytes));
    if (!known) {
        if (vec_push(&w->axis_offsets, (uint32_t)w->axes.len))
            return err_nomem(e);
        if (buf_append(&w->axes, buf_str(&w->bytes)))
            return buf_trouble(w, &w->axes, e);
        known = w->axis_offsets.len;
        if (map_set(&w->axis_ids, buf_str(&w->bytes), (void *)known))
            return err_nomem(e);
    }
    *ret = (uint32_t)known - 1;
    return OK;
}

/* varint bytes of the tail, varint labels, varint pair each, then the tail as it is written later: varint axis, and for
 * each page zigzag varint its place - the end of the one before, varint length. */
static err_kind write_entry(block_writer *w, const uint32_t *ids, size_t n, uint32_t axis, const written_vec *pages, err *e)
{
    uint64_t end = 0;
    buf_reset(&w->packed);
    block_add_varint(&w->packed, axis);
    for (size_t i = 0; i < pages->len; i++) {
        place at = pages->at[i].value;
        block_add_varint(&w->packed, wire_zigzag(at.at - end));
        block_add_varint(&w->packed, at.len);
        end = at.at + at.len + 4;
    }
    if (buf_failed(&w->packed))
        return err_nomem(e);
    block_add_varint(&w->entries, w->packed.len);
    block_add_varint(&w->entries, n);
    for (size_t i = 0; i < n; i++)
        block_add_varint(&w->entries, ids[i]);
    return buf_append(&w->entries, buf_str(&w->packed)) ? buf_trouble(w, &w->entries, e) : OK;
}

static int by_time(const void *va, const void *vb)
{
    const written *a = va, *b = vb;
    if (a->min_t_ms != b->min_t_ms)
        return a->min_t_ms < b->min_t_ms ? -1 : 1;
    return (int)a->kind - (int)b->kind;
}

/* Runs of about the same length: none is left with a few samples that cost as much as many. */
static err_kind put_pages(block_writer *w, const sample *at, size_t len, const block_chunk *others, size_t n, written_vec *pages, err *e)
{
    size_t runs = (len + COLUMN_MAX - 1) / COLUMN_MAX;
    if (runs + n > BLOCK_PAGES_MAX)
        return err_set(e, ERR_LIMIT, "could not write block \"%s\": a series has more than %u pages", w->path, BLOCK_PAGES_MAX);
    if (vec_reserve(pages, runs + n))
        return err_nomem(e);
    for (size_t i = 0, from = 0; i < runs; i++) {
        size_t to = len * (i + 1) / runs;
        err_kind k = put_floats(w, at + from, to - from, i, &pages->at[pages->len++], e);
        if (k)
            return k;
        from = to;
    }
    for (size_t i = 0; i < n; i++) {
        err_kind k = put_histograms(w, &others[i], &pages->at[pages->len++], e);
        if (k)
            return k;
    }
    if (n > 0)
        qsort(pages->at, pages->len, sizeof *pages->at, by_time);
    return OK;
}

static err_kind write_series(block_writer *w, labels l, const written_vec *pages, err *e)
{
    uint32_t ids[LABELS_MAX], axis = 0;
    err_kind k = label_ids(w, l, ids, e);
    if (k || (k = axis_id(w, pages, &axis, e)) || (k = write_entry(w, ids, l.len, axis, pages, e)))
        return k;
    memcpy(w->before, ids, l.len * sizeof *ids);
    w->before_len = l.len;
    w->series_count++;
    w->chunk_count += pages->len;
    for (size_t i = 0; i < pages->len; i++) {
        w->sample_count += pages->at[i].count;
        w->min_t_ms = MIN(w->min_t_ms, pages->at[i].min_t_ms);
        w->max_t_ms = MAX(w->max_t_ms, pages->at[i].max_t_ms);
    }
    return OK;
}

err_kind block_writer_add_samples(block_writer *w, labels l, const sample *at, size_t len, const block_chunk *others, size_t n, err *e)
{
    if (len + n == 0)
        return OK;
    err_kind k = check_order(w, l, e);
    if (k)
        return k;
    if (w->series_count >= UINT32_MAX - 1)
        return err_set(e, ERR_LIMIT, "could not write block \"%s\": too many series", w->path);
    written_vec pages = { 0 };
    k = put_pages(w, at, len, others, n, &pages, e);
    if (!k)
        k = write_series(w, l, &pages, e);
    vec_done(&pages);
    return k;
}

err_kind block_writer_add(block_writer *w, labels l, const block_chunk *chunks, size_t n, err *e)
{
    vec(block_chunk) others = { 0 };
    err_kind k = OK;
    w->samples.len = 0;
    for (size_t i = 0; !k && i < n; i++) {
        size_t middle = w->samples.len;
        if (chunks[i].kind == CHUNK_HISTOGRAM) {
            k = vec_push(&others, chunks[i]) ? err_nomem(e) : OK;
            continue;
        }
        k = chunk_decode(chunks[i].bytes, chunks[i].count, INT64_MIN, INT64_MAX, &w->samples);
        k = k == ERR_NOMEM ? err_nomem(e) : k ? err_set(e, ERR_CORRUPT, "could not write block \"%s\": a chunk does not decode", w->path) : OK;
        if (!k && samples_join(&w->samples, middle))
            k = err_nomem(e);
    }
    if (!k)
        k = block_writer_add_samples(w, l, w->samples.at, w->samples.len, others.at, others.len, e);
    vec_done(&others);
    return k;
}

err_kind block_writer_replaces(block_writer *w, const uint32_t *numbers, size_t n, err *e)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t bytes[4];
        wire_put_u32(bytes, numbers[i]);
        buf_append_bytes(&w->replaces, bytes, sizeof bytes);
    }
    return buf_failed(&w->replaces) ? err_nomem(e) : OK;
}

uint64_t block_writer_series(const block_writer *w) { return w->series_count; }

/* ---- the whole ---- */

static void footer_fill(const block_writer *w, const uint64_t starts[BLOCK_SECTIONS + 1], block_cover cover, uint64_t index_sum,
                        uint8_t f[BLOCK_FOOTER_BYTES])
{
    memset(f, 0, BLOCK_FOOTER_BYTES);
    for (size_t i = 0; i < BLOCK_SECTIONS; i++) {
        wire_put_u64(f + 16 * i, starts[i]);
        wire_put_u64(f + 16 * i + 8, starts[i + 1] - starts[i]);
    }
    wire_put_u64(f + 144, (uint64_t)w->min_t_ms);
    wire_put_u64(f + 152, (uint64_t)w->max_t_ms);
    wire_put_u32(f + 160, (uint32_t)w->series_count);
    wire_put_u32(f + 164, (uint32_t)w->symbols.len);
    wire_put_u32(f + 168, (uint32_t)w->axis_offsets.len);
    wire_put_u32(f + 172, cover.wal_segment);
    wire_put_u64(f + 176, (uint64_t)cover.cut_t_ms);
    wire_put_u64(f + 184, w->sample_count);
    wire_put_u64(f + 192, w->chunk_count);
    wire_put_u32(f + 228, BLOCK_VERSION);
    wire_put_u64(f + 232, index_sum);
    wire_put_u64(f + 240, hash_bytes(f, 240, 0));
    memcpy(f + 248, "galenEND", 8);
}

static err_kind sync_parent(const char *path, err *e)
{
    char dir[FILE_PATH_MAX];
    str_copy(dir, sizeof dir, str_from(path));
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = '\0';
    return file_sync_dir(slash ? dir : ".", e);
}

static err_kind finish(block_writer *w, block_cover cover, err *e)
{
    uint64_t starts[BLOCK_SECTIONS + 1];
    uint8_t footer[BLOCK_FOOTER_BYTES];
    err_kind k = block_writer_index(w, starts, e);
    if (k)
        return k;
    for (size_t i = 1; i < BLOCK_SECTIONS; i++)
        if (starts[i + 1] - starts[i] >= BLOCK_SECTION_MAX_BYTES)
            return err_set(e, ERR_LIMIT, "could not write block \"%s\": its index is too large", w->path);
    footer_fill(w, starts, cover, XXH3_64bits_digest(w->sum), footer);
    if ((k = block_writer_put(w, footer, sizeof footer, e)) || (k = flush(w, e)) || (k = file_sync(w->fd, w->temp, e)))
        return k;
    return file_rename(w->temp, w->path, e);
}

static block_writer *writer_new(void)
{
    block_writer *w = mem_zalloc(sizeof *w);
    if (!w)
        return NULL;
    w->fd = -1;
    w->out = (buf)BUF_INIT(2 * OUT_BUFFER_BYTES);
    w->axes = w->entries = (buf)BUF_INIT(BLOCK_SECTION_MAX_BYTES - 1);
    w->bytes = w->packed = w->replaces = (buf)BUF_INIT(1u << 30);
    w->texts = arena_init(SYMBOLS_MAX_BYTES);
    w->min_t_ms = INT64_MAX;
    w->max_t_ms = INT64_MIN;
    rand_secret(&w->seed, sizeof w->seed);
    w->sum = XXH3_createState();
    w->pages = mem_calloc(SHARED_SLOTS, sizeof *w->pages);
    w->times = mem_calloc(KNOWN_RUNS, sizeof *w->times);
    if (w->sum && w->pages && w->times)
        return w;
    writer_free(w);
    return NULL;
}

err_kind block_writer_open(const char *path, block_writer **ret, err *e)
{
    block_writer *w = writer_new();
    uint8_t header[BLOCK_HEADER_BYTES] = "galenBLK";
    if (!w)
        return err_nomem(e);
    err_kind k = OK;
    str_copy(w->path, sizeof w->path, str_from(path));
    if (snprintf(w->temp, sizeof w->temp, "%s.tmp", path) >= (int)sizeof w->temp)
        k = err_set(e, ERR_LIMIT, "could not write block \"%.200s…\": path too long", path);
    else if ((w->fd = open(w->temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) < 0)
        k = err_sys(e, errno, "could not create block \"%s\"", w->temp);
    if (k) {
        writer_free(w);
        return k;
    }
    wire_put_u32(header + 8, BLOCK_VERSION);
    if ((k = block_writer_put(w, header, sizeof header, e))) {
        block_writer_abort(w);
        return k;
    }
    *ret = w;
    return OK;
}

err_kind block_writer_close(block_writer *w, block_cover cover, err *e)
{
    err_kind k = finish(w, cover, e);
    if (k) {
        block_writer_abort(w);
        return k;
    }
    if ((k = sync_parent(w->path, e)))
        unlink(w->path);
    writer_free(w);
    return k;
}

void block_writer_abort(block_writer *w)
{
    if (!w)
        return;
    unlink(w->temp);
    writer_free(w);
}
