#include "store/block.h"
#include "store/histogram_chunk.h"
#include "base/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define HISTOGRAM_MAX_BYTES (64u << 20) /* of one chunk, unpacked */

static const char *name_of(const block *b) { return b->path ? b->path : "in memory"; }

static err_kind corrupt(const block *b, err *e, const char *what)
{
    err_set(e, ERR_CORRUPT, "cannot read block \"%s\": %s", name_of(b), what);
    return err_hint(e, "The file was damaged after it was written. Stop galen and move it away to go on without its samples."), ERR_CORRUPT;
}

/* ---- opening ---- */

/* Sections follow each other without gaps, from the header to the footer. */
static bool parse_sections(str bytes, const uint8_t *f, str *const sections[BLOCK_SECTIONS])
{
    uint64_t at = BLOCK_HEADER_BYTES, end = bytes.len - BLOCK_FOOTER_BYTES;
    for (size_t i = 0; i < BLOCK_SECTIONS; i++) {
        uint64_t start = wire_u64(f + 16 * i), len = wire_u64(f + 16 * i + 8);
        if (start != at || len > end - at || (i > 0 && len >= BLOCK_SECTION_MAX_BYTES))
            return false;
        *sections[i] = str_of(bytes.ptr + start, (size_t)len);
        at += len;
    }
    return at == end;
}

static err_kind parse_footer(str bytes, bool checked, block *b, err *e)
{
    const uint8_t *f = (const uint8_t *)bytes.ptr + bytes.len - BLOCK_FOOTER_BYTES;
    if (memcmp(f + 248, "galenEND", 8) != 0)
        return corrupt(b, e, "its end is missing");
    if (checked && hash_bytes(f, 240, 0) != wire_u64(f + 240))
        return corrupt(b, e, "the footer fails its checksum");
    str *const sections[BLOCK_SECTIONS] = { &b->pages, &b->symbols, &b->axes, &b->axis_offsets, &b->series, &b->offsets, &b->lists, &b->table, &b->replaces };
    if (!parse_sections(bytes, f, sections))
        return corrupt(b, e, "its sections do not fit the file");
    b->min_t_ms = (int64_t)wire_u64(f + 144);
    b->max_t_ms = (int64_t)wire_u64(f + 152);
    b->series_count = wire_u32(f + 160);
    b->symbol_count = wire_u32(f + 164);
    b->axis_count = wire_u32(f + 168);
    b->cover = (block_cover){ wire_u32(f + 172), (int64_t)wire_u64(f + 176) };
    b->sample_count = wire_u64(f + 184);
    b->chunk_count = wire_u64(f + 192);
    size_t index_len = (size_t)(f - (const uint8_t *)b->symbols.ptr);
    if (checked && hash_bytes(b->symbols.ptr, index_len, 0) != wire_u64(f + 232))
        return corrupt(b, e, "the index fails its checksum");
    return OK;
}

err_kind block_parse(str bytes, bool checked, block *b, err *e)
{
    if (bytes.len < BLOCK_HEADER_BYTES + BLOCK_FOOTER_BYTES || memcmp(bytes.ptr, "galenBLK", 8) != 0)
        return corrupt(b, e, "it is not a block");
    uint32_t version = wire_u32((const uint8_t *)bytes.ptr + 8);
    if (version != BLOCK_VERSION)
        return err_set(e, ERR_UNSUPPORTED, "cannot read block \"%s\": it has version %" PRIu32 ", this galen reads %u", name_of(b), version, BLOCK_VERSION);
    err_kind k = parse_footer(bytes, checked, b, e);
    if (k)
        return k;
    if (b->offsets.len != (size_t)b->series_count * 4 || b->axis_offsets.len != (size_t)b->axis_count * 4 ||
        b->table.len % BLOCK_ROW_BYTES != 0 || b->replaces.len % 4 != 0 || b->symbols.len < ((size_t)b->symbol_count + 1) * 4)
        return corrupt(b, e, "its tables do not have the size they should");
    return OK;
}

bool block_replaces(const block *b, size_t i, uint32_t *ret_number)
{
    if (i >= b->replaces.len / 4)
        return false;
    *ret_number = wire_u32((const uint8_t *)b->replaces.ptr + 4 * i);
    return true;
}

static err_kind map_file(block *b, err *e)
{
    int fd = open(b->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a pipe of that name shall not stop us */
    struct stat st;
    if (fd < 0)
        return err_sys(e, errno, "could not open block \"%s\"", b->path);
    err_kind k = fstat(fd, &st) != 0 ? err_sys(e, errno, "could not open block \"%s\"", b->path) : OK;
    if (!k && !S_ISREG(st.st_mode))
        k = corrupt(b, e, "it is no regular file");
    else if (!k && st.st_size == 0)
        k = corrupt(b, e, "it is empty");
    void *at = k ? MAP_FAILED : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (!k && at == MAP_FAILED)
        k = err_sys(e, errno, "could not map block \"%s\"", b->path);
    close(fd);
    if (k)
        return k;
    b->bytes = at;
    b->size = (size_t)st.st_size;
    k = block_parse(str_of(at, b->size), true, b, e);
    /* The checksum has touched the whole index: what queries need of it comes back, the rest need not stay. */
    (void)madvise(at, b->size, MADV_DONTNEED);
    return k;
}

/* Tombstones that cannot be read hide nothing, and this is told: the block's samples are worth more. */
static err_kind load_tombstones(block *b, err *e)
{
    char path[FILE_PATH_MAX];
    err_kind k = tombstones_path(path, b->path, e);
    if (k || !(k = tombstones_read(path, b->series_count, &b->deleted, e)))
        return k;
    b->tombstones_lost = k == ERR_CORRUPT || k == ERR_UNSUPPORTED;
    return b->tombstones_lost ? OK : k;
}

err_kind block_open(const char *path, uint32_t number, block **ret, err *e)
{
    block *b = mem_zalloc(sizeof *b);
    if (!b)
        return err_nomem(e);
    atomic_init(&b->refs, 1);
    b->number = number;
    b->path = mem_dup(path, strlen(path) + 1);
    static _Atomic uint64_t opened;
    b->id = atomic_fetch_add(&opened, 1) + 1;
    err_kind k = b->path ? map_file(b, e) : err_nomem(e);
    if (!k)
        k = load_tombstones(b, e);
    if (k) {
        block_unref(b);
        return k;
    }
    *ret = b;
    return OK;
}

block *block_ref(block *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void block_unref(block *b)
{
    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (b->bytes)
        munmap((void *)b->bytes, b->size);
    vec_done(&b->deleted);
    mem_free(b->path);
    mem_free(b);
}

/* ---- symbols ---- */

static bool symbol(const block *b, uint64_t i, str *ret)
{
    if (i >= b->symbol_count)
        return false;
    const uint8_t *p = (const uint8_t *)b->symbols.ptr + 4 * i;
    uint32_t from = wire_u32(p), to = wire_u32(p + 4);
    size_t text = ((size_t)b->symbol_count + 1) * 4;
    if (from > to || to > b->symbols.len - text)
        return false;
    *ret = str_of(b->symbols.ptr + text + from, to - from);
    return true;
}

/* The number of a text, or symbol_count if the block does not have it. */
static uint32_t symbol_find(const block *b, str want)
{
    uint32_t low = 0, high = b->symbol_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        str got;
        if (!symbol(b, mid, &got))
            return b->symbol_count;
        int order = str_cmp(got, want);
        if (order == 0)
            return mid;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return b->symbol_count;
}

/* ---- the table ---- */

typedef struct row { uint32_t name, value, count, offset; } row;

size_t block_label_count(const block *b) { return b->table.len / BLOCK_ROW_BYTES; }

static row table_row(const block *b, size_t i)
{
    const uint8_t *p = (const uint8_t *)b->table.ptr + i * BLOCK_ROW_BYTES;
    return (row){ wire_u32(p), wire_u32(p + 4), wire_u32(p + 8), wire_u32(p + 12) };
}

/* The first row not before (name, value). */
static size_t table_find(const block *b, uint32_t name, uint32_t value)
{
    size_t low = 0, high = block_label_count(b);
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        row r = table_row(b, mid);
        if (r.name < name || (r.name == name && r.value < value))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool row_label(const block *b, uint64_t i, label *ret)
{
    if (i >= block_label_count(b))
        return false;
    row r = table_row(b, (size_t)i);
    return symbol(b, r.name, &ret->name) && symbol(b, r.value, &ret->value);
}

err_kind block_label_at(const block *b, size_t i, block_label *ret, err *e)
{
    label l;
    if (!row_label(b, i, &l))
        return corrupt(b, e, "a row of its table makes no sense");
    *ret = (block_label){ l.name, l.value, table_row(b, i).count };
    return OK;
}

err_kind block_label_rows(const block *b, str want, size_t *ret_first, size_t *ret_end, err *e)
{
    uint32_t name = symbol_find(b, want);
    *ret_first = table_find(b, name, 0);
    *ret_end = name == b->symbol_count ? *ret_first : table_find(b, name + 1, 0);
    return OK;
}

/* ---- posting lists ---- */

static bool list_gaps(wire_cursor *c, uint32_t count, uint32_t end, uint32_t *to)
{
    uint64_t at = 0, step;
    for (uint32_t i = 0; i < count; i++) {
        if (!wire_varint(c, &step) || step >= end || (at += step) >= end || (i > 0 && step == 0))
            return false;
        to[i] = (uint32_t)at;
    }
    return true;
}

static bool list_runs(wire_cursor *c, uint32_t count, uint32_t end, uint32_t *to)
{
    uint64_t runs, gap, more, at = 0;
    uint32_t n = 0;
    if (!wire_varint(c, &runs))
        return false;
    for (uint64_t i = 0; i < runs; i++) {
        if (!wire_varint(c, &gap) || !wire_varint(c, &more) || gap >= end || more >= count - n || (at += gap) + more >= end || (i > 0 && gap == 0))
            return false;
        for (uint64_t j = 0; j <= more; j++)
            to[n++] = (uint32_t)(at + j);
        at += more;
    }
    return n == count;
}

static bool list_bitmap(wire_cursor *c, uint32_t count, uint32_t end, uint32_t *to)
{
    uint64_t word, words;
    uint32_t n = 0;
    if (!wire_varint(c, &word) || !wire_varint(c, &words) || word > end / 64 || words > end / 64 + 1 || words > wire_left(c) / 8)
        return false;
    for (uint64_t i = 0; i < words; i++, c->at += 8)
        for (uint64_t bits = wire_u64(c->at); bits; bits &= bits - 1) {
            uint64_t at = (word + i) * 64 + (unsigned)__builtin_ctzll(bits);
            if (n == count || at >= end)
                return false;
            to[n++] = (uint32_t)at;
        }
    return n == count;
}

static err_kind read_list(const block *b, row r, u32_vec *out, err *e)
{
    bool (*const readers[])(wire_cursor *, uint32_t, uint32_t, uint32_t *) = { list_gaps, list_runs, list_bitmap };
    if (r.offset >= b->lists.len || r.count > b->series_count)
        return corrupt(b, e, "a posting list lies outside its section");
    wire_cursor c = wire_read(str_skip(b->lists, r.offset));
    unsigned kind = *c.at++;
    if (vec_reserve(out, out->len + r.count))
        return err_nomem(e);
    if (r.count == 0 || kind >= COUNT_OF(readers) || !readers[kind](&c, r.count, b->series_count, out->at + out->len))
        return corrupt(b, e, "a posting list makes no sense");
    out->len += r.count;
    return OK;
}

err_kind block_label_series(const block *b, size_t i, u32_vec *out, err *e)
{
    if (i >= block_label_count(b))
        return corrupt(b, e, "a row of its table is asked for that it does not have");
    return read_list(b, table_row(b, i), out, e);
}

/* ---- series ---- */

static bool read_labels(const block *b, wire_cursor *c, block_entry *ret)
{
    uint64_t n, at;
    if (!wire_varint(c, &n) || n > LABELS_MAX)
        return false;
    for (uint64_t i = 0; i < n; i++)
        if (!wire_varint(c, &at) || !row_label(b, at, &ret->labels[i]))
            return false;
    ret->label_count = n;
    return true;
}

/* The i-th entry of a section of entries. */
static bool entry_at(str section, str entry_offsets, uint64_t i, wire_cursor *ret)
{
    if (i >= entry_offsets.len / 4)
        return false;
    uint32_t offset = wire_u32((const uint8_t *)entry_offsets.ptr + 4 * i);
    if (offset >= section.len)
        return false;
    *ret = wire_read(str_skip(section, offset));
    return true;
}

err_kind block_read_series(const block *b, uint32_t i, block_entry *ret, err *e)
{
    uint64_t axis;
    if (!entry_at(b->series, b->offsets, i, &ret->rest))
        return corrupt(b, e, "a series lies outside its section");
    if (!read_labels(b, &ret->rest, ret) || !wire_varint(&ret->rest, &axis) || !entry_at(b->axes, b->axis_offsets, axis, &ret->axis) ||
        !wire_varint(&ret->axis, &ret->pages_left) || ret->pages_left > BLOCK_PAGES_MAX)
        return corrupt(b, e, "a series' entry makes no sense");
    ret->number = i;
    ret->value_end = ret->time_end = 0;
    ret->t_ms = 0;
    ret->deleted = b->deleted.len ? tombstones_of(&b->deleted, i) : (tombstone_range){ 0 };
    return OK;
}

/* A page's place, told by its distance from the end of the one before, its checksum behind it. */
static bool next_place(const block *b, wire_cursor *c, uint64_t *end, uint64_t *ret_at, uint32_t *ret_len)
{
    uint64_t step, len;
    if (!wire_varint(c, &step) || !wire_varint(c, &len))
        return false;
    uint64_t at = *end + wire_unzigzag(step);
    if (at > b->pages.len || b->pages.len - at < 4 || len > b->pages.len - at - 4 || len > UINT32_MAX)
        return false;
    *ret_at = at;
    *ret_len = (uint32_t)len;
    *end = at + len + 4;
    return true;
}

static bool read_page(const block *b, block_entry *entry, block_page *ret)
{
    uint64_t start, span, count;
    wire_cursor *c = &entry->axis;
    if (!wire_varint(c, &start) || !wire_varint(c, &span) || !wire_varint(c, &count) || count >> 1 > UINT32_MAX)
        return false;
    *ret = (block_page){ .kind = count & 1 ? CHUNK_HISTOGRAM : CHUNK_XOR, .count = (uint32_t)(count >> 1), .deleted = entry->deleted };
    ret->min_t_ms = (int64_t)((uint64_t)entry->t_ms + wire_unzigzag(start));
    ret->max_t_ms = (int64_t)((uint64_t)ret->min_t_ms + span);
    entry->t_ms = ret->max_t_ms;
    if (ret->max_t_ms < ret->min_t_ms || (ret->kind == CHUNK_XOR && (ret->count == 0 || ret->count > COLUMN_MAX)))
        return false;
    if (ret->kind == CHUNK_XOR && !next_place(b, c, &entry->time_end, &ret->time_at, &ret->time_len))
        return false;
    return next_place(b, &entry->rest, &entry->value_end, &ret->value_at, &ret->value_len);
}

err_kind block_next_page(const block *b, block_entry *entry, block_page *ret, err *e)
{
    while (entry->pages_left > 0) {
        if (!read_page(b, entry, ret))
            return corrupt(b, e, "a page's entry makes no sense");
        entry->pages_left--;
        if (ret->deleted.len == 0 || !tombstone_covers(ret->deleted, ret->min_t_ms, ret->max_t_ms))
            return OK;
    }
    return ERR_NOT_FOUND;
}

/* ---- pages ---- */

static err_kind page_damaged(const block *b, err *e, const char *what)
{
    atomic_store((_Atomic bool *)&b->damaged, true);
    return corrupt(b, e, what);
}

/* The page's bytes, whole. */
static err_kind page_bytes(const block *b, uint64_t at, uint32_t len, str *ret, err *e)
{
    const uint8_t *p = (const uint8_t *)b->pages.ptr + at;
    if (!b->unchecked && (uint32_t)hash_bytes(p, len, 0) != wire_u32(p + len))
        return page_damaged(b, e, "a page fails its checksum");
    *ret = str_of((const char *)p, len);
    return OK;
}

/* The times that this thread decoded last: those of the next series are most often the same. */
typedef struct known_times { uint64_t block, at; uint32_t count; int64_t t_ms[COLUMN_MAX]; } known_times;

static err_kind page_times(const block *b, const block_page *p, const int64_t **ret, err *e)
{
    static _Thread_local known_times known;
    str bytes;
    if (known.count == p->count && known.at == p->time_at && known.block == b->id && b->id) {
        *ret = known.t_ms;
        return OK;
    }
    known.count = 0;
    err_kind k = page_bytes(b, p->time_at, p->time_len, &bytes, e);
    if (k)
        return k;
    bool good = column_times(bytes, p->count, known.t_ms);
    for (uint32_t i = 1; good && i < p->count; i++)
        good = known.t_ms[i] > known.t_ms[i - 1];
    if (!good)
        return page_damaged(b, e, "a page of times makes no sense");
    known.block = b->id;
    known.at = p->time_at;
    known.count = p->count;
    *ret = known.t_ms;
    return OK;
}

/* The first place of a time not before t_ms. */
static uint32_t first_from(const int64_t *at, uint32_t n, int64_t t_ms)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (at[mid] < t_ms)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool is_deleted(tombstone_range r, int64_t t_ms)
{
    for (size_t i = 0; i < r.len; i++)
        if (t_ms >= r.at[i].from_ms && t_ms <= r.at[i].to_ms)
            return true;
    return false;
}

bool block_page_has(const block *b, const block_page *p, int64_t from_ms, int64_t to_ms)
{
    const int64_t *t_ms;
    bool ends = (p->min_t_ms >= from_ms && p->min_t_ms <= to_ms) || (p->max_t_ms >= from_ms && p->max_t_ms <= to_ms);
    if (p->max_t_ms < from_ms || p->min_t_ms > to_ms)
        return false;
    if ((ends && p->deleted.len == 0) || p->kind != CHUNK_XOR || page_times(b, p, &t_ms, NULL))
        return true;
    for (uint32_t i = first_from(t_ms, p->count, from_ms); i < p->count && t_ms[i] <= to_ms; i++)
        if (!is_deleted(p->deleted, t_ms[i]))
            return true;
    return false;
}

static void put_samples(const int64_t *t_ms, const double *v, uint32_t from, uint32_t end, tombstone_range deleted, sample_vec *out)
{
    sample *to = out->at + out->len;
    for (uint32_t i = from; i < end; i++)
        if (deleted.len == 0 || !is_deleted(deleted, t_ms[i]))
            *to++ = (sample){ t_ms[i], v[i] };
    out->len = (size_t)(to - out->at);
}

err_kind block_decode(const block *b, const block_page *p, int64_t from_ms, int64_t to_ms, sample_vec *out, err *e)
{
    double v[COLUMN_MAX];
    const int64_t *t_ms;
    str bytes;
    if (p->kind != CHUNK_XOR || p->max_t_ms < from_ms || p->min_t_ms > to_ms)
        return OK;
    err_kind k = page_times(b, p, &t_ms, e);
    if (k)
        return k;
    uint32_t from = first_from(t_ms, p->count, from_ms), end = to_ms == INT64_MAX ? p->count : first_from(t_ms, p->count, to_ms + 1);
    if (from >= end)
        return OK;
    if ((k = page_bytes(b, p->value_at, p->value_len, &bytes, e)))
        return k;
    if (!column_values(bytes, p->count, v))
        return page_damaged(b, e, "a page of values makes no sense");
    if (vec_reserve(out, out->len + (end - from)))
        return err_nomem(e);
    put_samples(t_ms, v, from, end, p->deleted, out);
    return OK;
}

err_kind block_histogram_bytes(const block *b, const block_page *p, buf *out, err *e)
{
    str bytes;
    uint64_t len;
    err_kind k = page_bytes(b, p->value_at, p->value_len, &bytes, e);
    if (k)
        return k;
    wire_cursor c = wire_read(bytes);
    if (!wire_varint(&c, &len) || len > HISTOGRAM_MAX_BYTES)
        return page_damaged(b, e, "a page of histograms makes no sense");
    char *room = buf_reserve(out, (size_t)len);
    if (!room)
        return err_nomem(e);
    size_t n = ZSTD_decompress(room, (size_t)len, c.at, wire_left(&c));
    if (n != len)
        return page_damaged(b, e, "a page of histograms makes no sense");
    buf_commit(out, n);
    return OK;
}

static void hide_histograms(tombstone_range deleted, size_t from, histogram_vec *out)
{
    size_t kept = from;
    for (size_t i = from; i < out->len; i++)
        if (!is_deleted(deleted, out->at[i].t_ms))
            out->at[kept++] = out->at[i];
    out->len = kept;
}

err_kind block_decode_histograms(const block *b, const block_page *p, int64_t from_ms, int64_t to_ms, arena *a, histogram_vec *out, err *e)
{
    AUTO(buf_done) buf bytes = BUF_INIT(HISTOGRAM_MAX_BYTES + 1);
    size_t before = out->len;
    if (p->kind != CHUNK_HISTOGRAM || p->max_t_ms < from_ms || p->min_t_ms > to_ms)
        return OK;
    err_kind k = block_histogram_bytes(b, p, &bytes, e);
    if (k)
        return k;
    k = histogram_chunk_decode(buf_str(&bytes), p->count, from_ms, to_ms, a, out);
    if (k == ERR_NOMEM)
        return err_nomem(e);
    if (k) {
        out->len = before;
        return page_damaged(b, e, "a page of histograms makes no sense");
    }
    hide_histograms(p->deleted, before, out);
    return OK;
}

/* ---- matching ---- */

/* The rows of one label name that a matcher wants: [*ret_first, *ret_end). For equality at most one. */
static void matcher_rows(const block *b, const matcher *m, size_t *ret_first, size_t *ret_end)
{
    if (m->op != MATCH_EQ) {
        (void)!block_label_rows(b, m->name, ret_first, ret_end, NULL);
        return;
    }
    uint32_t name = symbol_find(b, m->name), value = symbol_find(b, m->value);
    size_t at = table_find(b, name, value);
    row r = at < block_label_count(b) ? table_row(b, at) : (row){ UINT32_MAX, 0, 0, 0 };
    *ret_first = at;
    *ret_end = at + (r.name == name && r.value == value);
}

/* Numbers in any order become ascending ones, each once: through a bitmap, which beats sorting from a few on. */
static err_kind in_order(const block *b, u32_vec *list, size_t start, err *e)
{
    size_t words = (size_t)b->series_count / 64 + 1, n = start;
    uint64_t *bits = mem_calloc(words, sizeof *bits);
    if (!bits)
        return err_nomem(e);
    for (size_t i = start; i < list->len; i++)
        bits[list->at[i] / 64] |= UINT64_C(1) << list->at[i] % 64;
    for (size_t w = 0; w < words; w++)
        for (uint64_t left = bits[w]; left; left &= left - 1)
            list->at[n++] = (uint32_t)(w * 64 + (unsigned)__builtin_ctzll(left));
    list->len = n;
    mem_free(bits);
    return OK;
}

/* All series whose value of m->name matches. */
static err_kind match_rows(const block *b, const matcher *m, u32_vec *out, err *e)
{
    size_t first, end, start = out->len, lists = 0;
    matcher_rows(b, m, &first, &end);
    for (size_t i = first; i < end; i++) {
        label l;
        if (!row_label(b, i, &l))
            return corrupt(b, e, "a posting names a symbol that is not there");
        if (!matcher_match(m, l.value))
            continue;
        err_kind k = read_list(b, table_row(b, i), out, e);
        if (k)
            return k;
        lists++;
    }
    return lists > 1 ? in_order(b, out, start, e) : OK;
}

/* Keep of a[0..n) what is (or is not) also in b; both ascending. */
static size_t merge_sets(uint32_t *a, size_t n, const u32_vec *b, bool keep_common)
{
    size_t kept = 0, j = 0;
    for (size_t i = 0; i < n; i++) {
        while (j < b->len && b->at[j] < a[i])
            j++;
        bool common = j < b->len && b->at[j] == a[i];
        if (common == keep_common)
            a[kept++] = a[i];
    }
    return kept;
}

static err_kind match_all(const block *b, u32_vec *out, err *e)
{
    if (vec_reserve(out, out->len + b->series_count))
        return err_nomem(e);
    for (uint32_t i = 0; i < b->series_count; i++)
        out->at[out->len++] = i;
    return OK;
}

/* A matcher that also matches the absent label is turned round: what does not match is taken away. */
static matcher negated(const matcher *m)
{
    static const match_op other[] = { [MATCH_EQ] = MATCH_NE, [MATCH_NE] = MATCH_EQ, [MATCH_RE] = MATCH_NRE, [MATCH_NRE] = MATCH_RE };
    matcher n = *m;
    n.op = other[m->op];
    return n;
}

static err_kind narrow(const block *b, const matcher *m, size_t start, u32_vec *out, err *e)
{
    bool absent = matcher_match(m, STR_EMPTY);
    matcher wanted = absent ? negated(m) : *m;
    u32_vec found = { 0 };
    err_kind k = match_rows(b, &wanted, &found, e);
    if (!k)
        out->len = start + merge_sets(out->at + start, out->len - start, &found, !absent);
    vec_done(&found);
    return k;
}

err_kind block_match(const block *b, const matcher *m, size_t n, u32_vec *out, err *e)
{
    size_t start = out->len, first = n;
    /* Begin with an equality if there is one, else with anything that needs the label to be there. */
    for (size_t i = 0; i < n; i++)
        if (!matcher_match(&m[i], STR_EMPTY) && (first == n || (m[i].op == MATCH_EQ && m[first].op != MATCH_EQ)))
            first = i;
    err_kind k = first < n ? match_rows(b, &m[first], out, e) : match_all(b, out, e);
    for (size_t i = 0; !k && i < n && out->len > start; i++)
        if (i != first)
            k = narrow(b, &m[i], start, out, e);
    return k;
}
