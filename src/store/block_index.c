/* The index at the end of a block, from what block_write.c gathered. */
#include "store/block_writer.h"
#include <stdlib.h>

/* ---- the index: symbols ---- */

/* Sorts numbers by what they stand for; qsort has no place for the writer, so keys travel with them. */
typedef struct text_key { str text; uint32_t id; } text_key;
typedef struct pair_key { uint32_t name, value, id; } pair_key;

static int by_text(const void *a, const void *b) { return str_cmp(((const text_key *)a)->text, ((const text_key *)b)->text); }

static int by_pair(const void *va, const void *vb)
{
    const pair_key *a = va, *b = vb;
    if (a->name != b->name)
        return a->name < b->name ? -1 : 1;
    return a->value < b->value ? -1 : a->value > b->value;
}

/* Offsets, then texts. After it pairs speak of symbols by their place in the order. */
static err_kind write_symbols(block_writer *w, err *e)
{
    size_t n = w->symbols.len;
    text_key *keys = mem_calloc(n ? n : 1, sizeof *keys);
    uint32_t *place_of = mem_calloc(n ? n : 1, sizeof *place_of), offset = 0;
    err_kind k = keys && place_of ? OK : err_nomem(e);
    for (size_t i = 0; !k && i < n; i++)
        keys[i] = (text_key){ w->symbols.at[i], (uint32_t)i };
    if (!k && n > 1)
        qsort(keys, n, sizeof *keys, by_text);
    for (size_t i = 0; !k && i < n; i++) {
        place_of[keys[i].id] = (uint32_t)i;
        k = block_writer_put_u32(w, offset, e);
        offset += (uint32_t)keys[i].text.len;
    }
    if (!k)
        k = block_writer_put_u32(w, offset, e);
    for (size_t i = 0; !k && i < n; i++)
        k = block_writer_put(w, keys[i].text.ptr, keys[i].text.len, e);
    for (size_t i = 0; !k && i < w->pairs.len; i++)
        w->pairs.at[i] = (pair){ place_of[w->pairs.at[i].name], place_of[w->pairs.at[i].value] };
    mem_free(keys);
    mem_free(place_of);
    return k;
}

/* Every pair's row in the table; w->pairs is in the table's order then. */
static err_kind sort_pairs(block_writer *w, err *e)
{
    size_t n = w->pairs.len;
    pair_key *keys = mem_calloc(n ? n : 1, sizeof *keys);
    if (!keys || vec_reserve(&w->row_of, n ? n : 1)) {
        mem_free(keys);
        return err_nomem(e);
    }
    for (size_t i = 0; i < n; i++)
        keys[i] = (pair_key){ w->pairs.at[i].name, w->pairs.at[i].value, (uint32_t)i };
    if (n > 1)
        qsort(keys, n, sizeof *keys, by_pair);
    w->row_of.len = n;
    for (size_t i = 0; i < n; i++) {
        w->row_of.at[keys[i].id] = (uint32_t)i;
        w->pairs.at[i] = (pair){ keys[i].name, keys[i].value };
    }
    mem_free(keys);
    return OK;
}

/* ---- the index: series ---- */

typedef struct entry { uint32_t rows[LABELS_MAX]; size_t labels; str tail; } entry;

/* The next gathered entry; what was written here is trusted. */
static bool next_entry(const block_writer *w, wire_cursor *c, entry *ret)
{
    uint64_t tail, n, id;
    if (!wire_left(c) || !wire_varint(c, &tail) || !wire_varint(c, &n))
        return false;
    ret->labels = (size_t)n;
    for (uint64_t i = 0; i < n; i++) {
        if (!wire_varint(c, &id))
            return false;
        ret->rows[i] = w->row_of.at[id];
    }
    return wire_bytes(c, tail, &ret->tail);
}

static err_kind write_entries(block_writer *w, err *e)
{
    vec(uint32_t) offsets = { 0 };
    uint64_t start = w->offset;
    wire_cursor c = wire_read(buf_str(&w->entries));
    entry one;
    err_kind k = vec_reserve(&offsets, w->series_count ? w->series_count : 1) ? err_nomem(e) : OK;
    while (!k && next_entry(w, &c, &one)) {
        uint8_t bytes[(LABELS_MAX + 1) * 5], *p = wire_put_varint(bytes, one.labels);
        for (size_t i = 0; i < one.labels; i++)
            p = wire_put_varint(p, one.rows[i]);
        if (w->offset - start + sizeof bytes + one.tail.len >= BLOCK_SECTION_MAX_BYTES)
            k = err_set(e, ERR_LIMIT, "could not write block \"%s\": its index is too large", w->path);
        offsets.at[offsets.len++] = (uint32_t)(w->offset - start);
        if (!k)
            k = block_writer_put(w, bytes, (size_t)(p - bytes), e);
        if (!k)
            k = block_writer_put(w, one.tail.ptr, one.tail.len, e);
    }
    for (size_t i = 0; !k && i < offsets.len; i++)
        k = block_writer_put_u32(w, offsets.at[i], e);
    vec_done(&offsets);
    return k;
}

/* ---- the index: posting lists ---- */

/* A list as the smallest of three: gaps, runs, a bitmap; the three containers of Roaring (Lemire et al., "Consistently
 * faster and smaller compressed bitmaps with Roaring", 2016), one a list. */
static void list_gaps(const uint32_t *at, size_t n, buf *out)
{
    uint32_t before = 0;
    for (size_t i = 0; i < n; before = at[i++])
        block_add_varint(out, at[i] - before);
}

static size_t list_runs(const uint32_t *at, size_t n, buf *out)
{
    size_t runs = 0;
    uint32_t before = 0;
    for (size_t i = 0; i < n; runs++) {
        size_t end = i + 1;
        while (end < n && at[end] == at[end - 1] + 1)
            end++;
        if (out) {
            block_add_varint(out, at[i] - before);
            block_add_varint(out, end - i - 1);
            before = at[end - 1];
        }
        i = end;
    }
    return runs;
}

static void list_bitmap(const uint32_t *at, size_t n, buf *out)
{
    uint32_t word = at[0] / 64;
    uint64_t bits = 0;
    block_add_varint(out, word);
    block_add_varint(out, at[n - 1] / 64 - word + 1);
    for (size_t i = 0; i <= n; i++) {
        for (; i == n ? bits : at[i] / 64 > word; word++, bits = 0) {
            uint8_t bytes[8];
            wire_put_u64(bytes, bits);
            buf_append_bytes(out, bytes, sizeof bytes);
        }
        if (i < n)
            bits |= UINT64_C(1) << at[i] % 64;
    }
}

static void encode_list(const uint32_t *at, size_t n, buf *out)
{
    size_t runs = list_runs(at, n, NULL), bitmap_bytes = ((size_t)at[n - 1] / 64 - at[0] / 64 + 1) * 8;
    buf_reset(out);
    if (runs * 3 < n && runs * 3 < bitmap_bytes) { /* a run is two to four bytes, a gap at least one */
        buf_append_bytes(out, &(uint8_t){ BLOCK_LIST_RUNS }, 1);
        block_add_varint(out, runs);
        list_runs(at, n, out);
    } else if (bitmap_bytes < n) {
        buf_append_bytes(out, &(uint8_t){ BLOCK_LIST_BITMAP }, 1);
        list_bitmap(at, n, out);
    } else {
        buf_append_bytes(out, &(uint8_t){ BLOCK_LIST_GAPS }, 1);
        list_gaps(at, n, out);
    }
}

typedef struct lists { uint32_t *starts, *at; } lists; /* row r: at[starts[r]] … at[starts[r + 1] - 1] */

static void lists_free(lists *l)
{
    mem_free(l->starts);
    mem_free(l->at);
}

/* Counting sort of (row, series) by row: series come ascending. */
static err_kind gather_lists(const block_writer *w, lists *ret, err *e)
{
    size_t rows = w->pairs.len;
    uint64_t total = 0;
    entry one;
    ret->starts = mem_calloc(rows + 2, sizeof *ret->starts);
    if (!ret->starts)
        return err_nomem(e);
    for (wire_cursor c = wire_read(buf_str(&w->entries)); next_entry(w, &c, &one); total += one.labels)
        for (size_t i = 0; i < one.labels; i++)
            ret->starts[one.rows[i] + 2]++;
    if (total > UINT32_MAX)
        return err_set(e, ERR_LIMIT, "could not write block \"%s\": its index is too large", w->path);
    for (size_t i = 2; i < rows + 2; i++)
        ret->starts[i] += ret->starts[i - 1];
    ret->at = mem_calloc(total ? (size_t)total : 1, sizeof *ret->at);
    if (!ret->at)
        return err_nomem(e);
    uint32_t number = 0;
    for (wire_cursor c = wire_read(buf_str(&w->entries)); next_entry(w, &c, &one); number++)
        for (size_t i = 0; i < one.labels; i++)
            ret->at[ret->starts[one.rows[i] + 1]++] = number; /* afterwards starts[r] is where row r begins */
    return OK;
}

/* Lists, then the table that finds them; *ret_table: where it begins. */
static err_kind write_lists(block_writer *w, uint64_t *ret_table, err *e)
{
    AUTO(lists_free) lists all = { 0 };
    vec(uint32_t) offsets = { 0 };
    uint64_t start = w->offset;
    err_kind k = gather_lists(w, &all, e);
    for (size_t i = 0; !k && i < w->pairs.len; i++) {
        encode_list(all.at + all.starts[i], all.starts[i + 1] - all.starts[i], &w->bytes);
        if (buf_failed(&w->bytes) || vec_push(&offsets, (uint32_t)(w->offset - start)))
            k = err_nomem(e);
        else
            k = block_writer_put(w, w->bytes.ptr, w->bytes.len, e);
    }
    *ret_table = w->offset;
    for (size_t i = 0; !k && i < w->pairs.len; i++) {
        uint8_t row[BLOCK_ROW_BYTES];
        wire_put_u32(row, w->pairs.at[i].name);
        wire_put_u32(row + 4, w->pairs.at[i].value);
        wire_put_u32(row + 8, all.starts[i + 1] - all.starts[i]);
        wire_put_u32(row + 12, offsets.at[i]);
        k = block_writer_put(w, row, sizeof row, e);
    }
    vec_done(&offsets);
    return k;
}

/* ---- the whole index ---- */

static err_kind write_axes(block_writer *w, uint64_t *ret_offsets, err *e)
{
    err_kind k = block_writer_put(w, w->axes.ptr, w->axes.len, e);
    *ret_offsets = w->offset;
    for (size_t i = 0; !k && i < w->axis_offsets.len; i++)
        k = block_writer_put_u32(w, w->axis_offsets.at[i], e);
    return k;
}

err_kind block_writer_index(block_writer *w, uint64_t starts[BLOCK_SECTIONS + 1], err *e)
{
    err_kind k;
    XXH3_64bits_reset(w->sum);
    w->summing = true;
    starts[0] = BLOCK_HEADER_BYTES;
    starts[1] = w->offset;
    if ((k = write_symbols(w, e)) || (k = sort_pairs(w, e)))
        return k;
    starts[2] = w->offset;
    if ((k = write_axes(w, &starts[3], e)))
        return k;
    starts[4] = w->offset;
    if ((k = write_entries(w, e)))
        return k;
    starts[5] = w->offset - w->series_count * 4;
    starts[6] = w->offset;
    if ((k = write_lists(w, &starts[7], e)))
        return k;
    starts[8] = w->offset;
    k = block_writer_put(w, w->replaces.ptr, w->replaces.len, e);
    starts[9] = w->offset;
    w->summing = false;
    return k;
}
