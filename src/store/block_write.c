#include "store/block.h"
#include "base/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OUT_BUFFER_BYTES (256u << 10)

/* A label's place in the postings: symbols first, then series, which is the order they are sorted in. */
typedef struct posting { uint32_t name, value, series; } posting;

typedef struct writer {
    const char *path;
    int fd;
    buf out;                     /* not yet written */
    uint64_t offset;             /* of the end of `out` in the file */
    map ids;                     /* text -> symbol number + 1 */
    vec(str) symbols;
    vec(uint32_t) offsets;       /* of series entries in their section */
    vec(posting) postings;
    buf index;                   /* symbols … table, kept in memory for one checksum */
    uint64_t chunk_count, sample_count;
    int64_t min_t_ms, max_t_ms;
    err *e;
} writer;

static void writer_done(writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    buf_done(&w->out);
    buf_done(&w->index);
    map_done(&w->ids);
    vec_done(&w->symbols);
    vec_done(&w->offsets);
    vec_done(&w->postings);
}

static err_kind flush(writer *w)
{
    err_kind k = file_write_all(w->fd, w->out.ptr, w->out.len, w->path, w->e);
    buf_reset(&w->out);
    return k;
}

static err_kind put(writer *w, str bytes)
{
    if (w->out.len + bytes.len > OUT_BUFFER_BYTES) {
        err_kind k = flush(w);
        if (k)
            return k;
    }
    w->offset += bytes.len;
    if (bytes.len > OUT_BUFFER_BYTES) /* the index of a large block */
        return file_write_all(w->fd, bytes.ptr, bytes.len, w->path, w->e);
    return buf_append(&w->out, bytes) ? err_nomem(w->e) : OK;
}

/* ---- symbols ---- */

static err_kind collect_symbol(writer *w, str s)
{
    if (map_has(&w->ids, s))
        return OK;
    if (map_set(&w->ids, s, w) || vec_push(&w->symbols, s))
        return err_nomem(w->e);
    return OK;
}

static int by_text(const void *a, const void *b) { return str_cmp(*(const str *)a, *(const str *)b); }

/* Every name and value once, sorted, so that a reader finds one by halving. */
static err_kind collect_symbols(writer *w, const block_series *series, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t l = 0; l < series[i].labels.len; l++) {
            label at = series[i].labels.at[l];
            if (collect_symbol(w, at.name) || collect_symbol(w, at.value))
                return ERR_NOMEM;
        }
    qsort(w->symbols.at, w->symbols.len, sizeof *w->symbols.at, by_text);
    for (size_t i = 0; i < w->symbols.len; i++)
        if (map_set(&w->ids, w->symbols.at[i], (void *)(uintptr_t)(i + 1)))
            return err_nomem(w->e);
    return OK;
}

static uint32_t symbol_of(const writer *w, str s) { return (uint32_t)(uintptr_t)map_get(&w->ids, s) - 1; }

static void put_u32(buf *b, uint32_t v)
{
    uint8_t bytes[4];
    wire_put_u32(bytes, v);
    buf_append_bytes(b, bytes, sizeof bytes);
}

static void put_varint(buf *b, uint64_t v)
{
    uint8_t bytes[WIRE_VARINT_MAX];
    buf_append_bytes(b, bytes, (size_t)(wire_put_varint(bytes, v) - bytes));
}

static void write_symbols(writer *w)
{
    uint32_t offset = 0;
    for (size_t i = 0; i < w->symbols.len; i++) {
        put_u32(&w->index, offset);
        offset += (uint32_t)w->symbols.at[i].len;
    }
    put_u32(&w->index, offset);
    for (size_t i = 0; i < w->symbols.len; i++)
        buf_append(&w->index, w->symbols.at[i]);
}

/* ---- series and their chunks ---- */

/* One chunk's bytes into the file, its entry into the index. */
static err_kind write_chunk(writer *w, const block_chunk *c, int64_t *t_ms)
{
    put_varint(&w->index, wire_zigzag((uint64_t)c->min_t_ms - (uint64_t)*t_ms));
    put_varint(&w->index, (uint64_t)c->max_t_ms - (uint64_t)c->min_t_ms);
    put_varint(&w->index, c->count);
    put_varint(&w->index, c->bytes.len);
    put_u32(&w->index, block_chunk_sum(c->bytes));
    *t_ms = c->max_t_ms;
    w->chunk_count++;
    w->sample_count += c->count;
    w->min_t_ms = MIN(w->min_t_ms, c->min_t_ms);
    w->max_t_ms = MAX(w->max_t_ms, c->max_t_ms);
    return put(w, c->bytes);
}

static err_kind write_series(writer *w, const block_series *s, uint32_t number, size_t section)
{
    if (vec_push(&w->offsets, (uint32_t)(w->index.len - section)))
        return err_nomem(w->e);
    put_varint(&w->index, s->labels.len);
    for (size_t i = 0; i < s->labels.len; i++) {
        posting p = { symbol_of(w, s->labels.at[i].name), symbol_of(w, s->labels.at[i].value), number };
        put_varint(&w->index, p.name);
        put_varint(&w->index, p.value);
        if (vec_push(&w->postings, p))
            return err_nomem(w->e);
    }
    put_varint(&w->index, s->len);
    put_varint(&w->index, w->offset - BLOCK_HEADER_BYTES);
    int64_t t_ms = 0;
    for (size_t i = 0; i < s->len; i++) {
        err_kind k = write_chunk(w, &s->chunks[i], &t_ms);
        if (k)
            return k;
    }
    return OK;
}

/* ---- postings ---- */

static int by_place(const void *va, const void *vb)
{
    const posting *a = va, *b = vb;
    if (a->name != b->name)
        return a->name < b->name ? -1 : 1;
    if (a->value != b->value)
        return a->value < b->value ? -1 : 1;
    return a->series < b->series ? -1 : a->series > b->series;
}

typedef struct table_row { uint32_t name, value, count, offset; } table_row;
typedef vec(table_row) table_rows;

/* The lists into the index; what the table will say of each into *rows. */
static err_kind write_lists(writer *w, table_rows *rows)
{
    size_t section = w->index.len;
    qsort(w->postings.at, w->postings.len, sizeof *w->postings.at, by_place);
    uint32_t before = 0;
    for (size_t i = 0; i < w->postings.len; i++) {
        posting p = w->postings.at[i];
        table_row *row = rows->len ? &vec_last(rows) : NULL;
        if (!row || row->name != p.name || row->value != p.value) {
            if (vec_push(rows, ((table_row){ p.name, p.value, 0, (uint32_t)(w->index.len - section) })))
                return err_nomem(w->e);
            row = &vec_last(rows);
            before = 0;
        }
        put_varint(&w->index, p.series - before);
        before = p.series;
        row->count++;
    }
    return OK;
}

static void write_table(writer *w, const table_rows *rows)
{
    for (size_t i = 0; i < rows->len; i++) {
        put_u32(&w->index, rows->at[i].name);
        put_u32(&w->index, rows->at[i].value);
        put_u32(&w->index, rows->at[i].count);
        put_u32(&w->index, rows->at[i].offset);
    }
}

/* ---- the whole ---- */

typedef struct sections { uint64_t symbols, series, offsets, lists, table, end; } sections;

static void footer_fill(const writer *w, const sections *at, size_t n, block_cover cover, uint8_t f[BLOCK_FOOTER_BYTES])
{
    const uint64_t starts[] = { BLOCK_HEADER_BYTES, at->symbols, at->series, at->offsets, at->lists, at->table, at->end };
    for (size_t i = 0; i < 6; i++) {
        wire_put_u64(f + 16 * i, starts[i]);
        wire_put_u64(f + 16 * i + 8, starts[i + 1] - starts[i]);
    }
    wire_put_u64(f + 96, (uint64_t)w->min_t_ms);
    wire_put_u64(f + 104, (uint64_t)w->max_t_ms);
    wire_put_u32(f + 112, (uint32_t)n);
    wire_put_u32(f + 116, (uint32_t)w->symbols.len);
    wire_put_u64(f + 120, w->sample_count);
    wire_put_u64(f + 128, w->chunk_count);
    wire_put_u64(f + 136, (uint64_t)cover.cut_t_ms);
    wire_put_u32(f + 144, cover.wal_segment);
    wire_put_u32(f + 148, BLOCK_VERSION);
    wire_put_u64(f + 152, hash_bytes(w->index.ptr, w->index.len, 0));
    wire_put_u64(f + 160, hash_bytes(f, 160, 0));
    memcpy(f + 168, "galenEND", 8);
}

/* The index after the chunks; `at` gets where its sections start in the index so far. */
static err_kind write_index(writer *w, const block_series *series, size_t n, sections *at)
{
    at->series = w->index.len;
    for (size_t i = 0; i < n; i++) {
        err_kind k = write_series(w, &series[i], (uint32_t)i, at->series);
        if (k)
            return k;
    }
    at->offsets = w->index.len;
    for (size_t i = 0; i < w->offsets.len; i++)
        put_u32(&w->index, w->offsets.at[i]);
    at->lists = w->index.len;
    table_rows rows = { 0 };
    err_kind k = write_lists(w, &rows);
    at->table = w->index.len;
    write_table(w, &rows);
    vec_done(&rows);
    at->end = w->index.len;
    return k;
}

static err_kind write_file(writer *w, const block_series *series, size_t n, block_cover cover)
{
    uint8_t header[BLOCK_HEADER_BYTES] = "galenBLK", footer[BLOCK_FOOTER_BYTES];
    wire_put_u32(header + 8, BLOCK_VERSION);
    err_kind k = put(w, str_of((const char *)header, sizeof header));
    if (!k)
        k = collect_symbols(w, series, n);
    if (k)
        return k;
    sections at = { 0 };
    write_symbols(w);
    if ((k = write_index(w, series, n, &at)))
        return k;
    if (buf_failed(&w->index))
        return w->index.failed == ERR_LIMIT ? err_set(w->e, ERR_LIMIT, "could not write block \"%s\": its index is too large", w->path) : err_nomem(w->e);
    uint64_t base = w->offset;
    at = (sections){ base, base + at.series, base + at.offsets, base + at.lists, base + at.table, base + at.end };
    footer_fill(w, &at, n, cover, footer);
    if ((k = put(w, buf_str(&w->index))) || (k = put(w, str_of((const char *)footer, sizeof footer))) || (k = flush(w)))
        return k;
    return file_sync(w->fd, w->path, w->e);
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

err_kind block_write(const char *path, const block_series *series, size_t n, block_cover cover, err *e)
{
    char temp[FILE_PATH_MAX];
    if (snprintf(temp, sizeof temp, "%s.tmp", path) >= (int)sizeof temp)
        return err_set(e, ERR_LIMIT, "could not write block \"%.200s…\": path too long", path);
    AUTO(writer_done) writer w = {
        .path = temp, .out = BUF_INIT(2 * OUT_BUFFER_BYTES), .index = BUF_INIT(BLOCK_SECTION_MAX_BYTES - 1),
        .min_t_ms = INT64_MAX, .max_t_ms = INT64_MIN, .e = e,
    };
    w.fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (w.fd < 0)
        return err_sys(e, errno, "could not create block \"%s\"", temp);
    err_kind k = write_file(&w, series, n, cover);
    if (!k)
        k = file_rename(temp, path, e);
    if (k) {
        unlink(temp);
        return k;
    }
    if ((k = sync_parent(path, e)))
        unlink(path);
    return k;
}
