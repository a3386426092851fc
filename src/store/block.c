#include "store/block.h"
#include "base/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TABLE_ROW_BYTES 16u

static const char *name_of(const block *b) { return b->path ? b->path : "in memory"; }

static err_kind corrupt(const block *b, err *e, const char *what)
{
    err_set(e, ERR_CORRUPT, "cannot read block \"%s\": %s", name_of(b), what);
    return err_hint(e, "The file was damaged after it was written. Move it away to go on without its samples."), ERR_CORRUPT;
}

uint32_t block_chunk_sum(str bytes) { return (uint32_t)hash_bytes(bytes.ptr, bytes.len, 0); }

/* ---- opening ---- */

/* Sections follow each other without gaps, from the header to the footer. */
static bool parse_sections(str bytes, const uint8_t *f, str *const sections[6])
{
    uint64_t at = BLOCK_HEADER_BYTES, end = bytes.len - BLOCK_FOOTER_BYTES;
    for (size_t i = 0; i < 6; i++) {
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
    if (memcmp(f + 168, "galenEND", 8) != 0)
        return corrupt(b, e, "its end is missing");
    if (checked && hash_bytes(f, 160, 0) != wire_u64(f + 160))
        return corrupt(b, e, "the footer fails its checksum");
    if (wire_u32(f + 148) != BLOCK_VERSION)
        return err_set(e, ERR_UNSUPPORTED, "cannot read block \"%s\": version %" PRIu32 " is newer than this galen", name_of(b), wire_u32(f + 148));
    str *const sections[6] = { &b->chunks, &b->symbols, &b->series, &b->offsets, &b->lists, &b->table };
    if (!parse_sections(bytes, f, sections))
        return corrupt(b, e, "its sections do not fit the file");
    b->min_t_ms = (int64_t)wire_u64(f + 96);
    b->max_t_ms = (int64_t)wire_u64(f + 104);
    b->series_count = wire_u32(f + 112);
    b->symbol_count = wire_u32(f + 116);
    b->sample_count = wire_u64(f + 120);
    b->chunk_count = wire_u64(f + 128);
    b->cover = (block_cover){ wire_u32(f + 144), (int64_t)wire_u64(f + 136) };
    size_t index_len = (size_t)(f - (const uint8_t *)b->symbols.ptr);
    if (checked && hash_bytes(b->symbols.ptr, index_len, 0) != wire_u64(f + 152))
        return corrupt(b, e, "the index fails its checksum");
    return OK;
}

err_kind block_parse(str bytes, bool checked, block *b, err *e)
{
    if (bytes.len < BLOCK_HEADER_BYTES + BLOCK_FOOTER_BYTES || memcmp(bytes.ptr, "galenBLK", 8) != 0)
        return corrupt(b, e, "it is not a block");
    err_kind k = parse_footer(bytes, checked, b, e);
    if (k)
        return k;
    if (b->offsets.len != (size_t)b->series_count * 4 || b->table.len % TABLE_ROW_BYTES != 0 ||
        b->symbols.len < ((size_t)b->symbol_count + 1) * 4)
        return corrupt(b, e, "its tables do not have the size they should");
    return OK;
}

static err_kind map_file(block *b, err *e)
{
    int fd = open(b->path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return err_sys(e, errno, "could not open block \"%s\"", b->path);
    err_kind k = fstat(fd, &st) != 0 ? err_sys(e, errno, "could not open block \"%s\"", b->path) : OK;
    if (!k && st.st_size == 0)
        k = corrupt(b, e, "it is empty");
    void *at = k ? MAP_FAILED : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (!k && at == MAP_FAILED)
        k = err_sys(e, errno, "could not map block \"%s\"", b->path);
    close(fd);
    if (k)
        return k;
    b->bytes = at;
    b->size = (size_t)st.st_size;
    return block_parse(str_of(at, b->size), true, b, e);
}

err_kind block_open(const char *path, uint32_t number, block **ret, err *e)
{
    block *b = mem_zalloc(sizeof *b);
    if (!b)
        return err_nomem(e);
    atomic_init(&b->refs, 1);
    b->number = number;
    b->path = mem_dup(path, strlen(path) + 1);
    err_kind k = b->path ? map_file(b, e) : err_nomem(e);
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

/* ---- series ---- */

static bool read_labels(const block *b, wire_cursor *c, block_entry *ret)
{
    uint64_t n, name, value;
    if (!wire_varint(c, &n) || n > LABELS_MAX)
        return false;
    for (uint64_t i = 0; i < n; i++)
        if (!wire_varint(c, &name) || !wire_varint(c, &value) || !symbol(b, name, &ret->labels[i].name) || !symbol(b, value, &ret->labels[i].value))
            return false;
    ret->label_count = n;
    return true;
}

err_kind block_read_series(const block *b, uint32_t i, block_entry *ret, err *e)
{
    if (i >= b->series_count)
        return corrupt(b, e, "a posting names a series that is not there");
    uint32_t offset = wire_u32((const uint8_t *)b->offsets.ptr + 4 * (size_t)i);
    if (offset >= b->series.len)
        return corrupt(b, e, "a series lies outside its section");
    wire_cursor c = wire_read(str_skip(b->series, offset));
    if (!read_labels(b, &c, ret) || !wire_varint(&c, &ret->chunks_left) || !wire_varint(&c, &ret->offset))
        return corrupt(b, e, "a series' entry makes no sense");
    ret->rest = c;
    ret->t_ms = 0;
    return OK;
}

err_kind block_next_chunk(const block *b, block_entry *entry, block_chunk *ret, uint32_t *ret_sum, err *e)
{
    uint64_t start, span, count, len;
    wire_cursor *c = &entry->rest;
    if (entry->chunks_left == 0)
        return ERR_NOT_FOUND;
    if (!wire_varint(c, &start) || !wire_varint(c, &span) || !wire_varint(c, &count) || !wire_varint(c, &len) || wire_left(c) < 4)
        return corrupt(b, e, "a chunk's entry makes no sense");
    *ret_sum = wire_u32(c->at);
    c->at += 4;
    ret->min_t_ms = (int64_t)((uint64_t)entry->t_ms + wire_unzigzag(start));
    ret->max_t_ms = (int64_t)((uint64_t)ret->min_t_ms + span);
    if (entry->offset > b->chunks.len || len > b->chunks.len - entry->offset || count > UINT32_MAX || ret->max_t_ms < ret->min_t_ms)
        return corrupt(b, e, "a chunk lies outside its section");
    ret->count = (uint32_t)count;
    ret->bytes = str_of(b->chunks.ptr + entry->offset, (size_t)len);
    entry->offset += len;
    entry->t_ms = ret->max_t_ms;
    entry->chunks_left--;
    return OK;
}

/* ---- matching ---- */

typedef struct row { uint32_t name, value, count, offset; } row;

static row table_row(const block *b, size_t i)
{
    const uint8_t *p = (const uint8_t *)b->table.ptr + i * TABLE_ROW_BYTES;
    return (row){ wire_u32(p), wire_u32(p + 4), wire_u32(p + 8), wire_u32(p + 12) };
}

/* The first row not before (name, value). */
static size_t table_find(const block *b, uint32_t name, uint32_t value)
{
    size_t low = 0, high = b->table.len / TABLE_ROW_BYTES;
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

static err_kind read_list(const block *b, row r, u32_vec *out, err *e)
{
    if (r.offset > b->lists.len || r.count > b->lists.len - r.offset) /* a posting takes at least a byte */
        return corrupt(b, e, "a posting list lies outside its section");
    wire_cursor c = wire_read(str_skip(b->lists, r.offset));
    if (vec_reserve(out, out->len + r.count))
        return err_nomem(e);
    uint64_t at = 0, step;
    for (uint32_t i = 0; i < r.count; i++) {
        if (!wire_varint(&c, &step) || (at += step) >= b->series_count)
            return corrupt(b, e, "a posting list makes no sense");
        out->at[out->len++] = (uint32_t)at;
    }
    return OK;
}

/* The rows of one label name that a matcher wants: [*ret_first, *ret_end). For equality at most one. */
static void matcher_rows(const block *b, const matcher *m, size_t *ret_first, size_t *ret_end)
{
    uint32_t name = symbol_find(b, m->name);
    if (m->op == MATCH_EQ) {
        uint32_t value = symbol_find(b, m->value);
        size_t at = table_find(b, name, value), rows = b->table.len / TABLE_ROW_BYTES;
        row r = at < rows ? table_row(b, at) : (row){ UINT32_MAX, 0, 0, 0 };
        *ret_first = at;
        *ret_end = at + (r.name == name && r.value == value);
        return;
    }
    *ret_first = table_find(b, name, 0);
    *ret_end = name == b->symbol_count ? *ret_first : table_find(b, name + 1, 0);
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* All series whose value of m->name matches; they do not repeat, as a series has one value of a name. */
static err_kind match_rows(const block *b, const matcher *m, u32_vec *out, err *e)
{
    size_t first, end;
    matcher_rows(b, m, &first, &end);
    for (size_t i = first; i < end; i++) {
        str value;
        row r = table_row(b, i);
        if (!symbol(b, r.value, &value))
            return corrupt(b, e, "a posting names a symbol that is not there");
        if (!matcher_match(m, value))
            continue;
        err_kind k = read_list(b, r, out, e);
        if (k)
            return k;
    }
    if (end - first > 1 && out->len > 1)
        qsort(out->at, out->len, sizeof *out->at, by_number);
    return OK;
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
