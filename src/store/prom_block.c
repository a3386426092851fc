#include "store/prom_block.h"
#include "base/hash.h"
#include "base/json.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEX_MAGIC UINT32_C(0xbaaad700)
#define CHUNKS_MAGIC UINT32_C(0x85bd40dd)
#define TOMBSTONES_MAGIC UINT32_C(0x0130ba30)
#define INDEX_VERSION 2
#define TOC_BYTES 52u            /* six offsets and a checksum */
#define META_MAX_BYTES (16u << 20)
#define TOMBSTONES_MAX_BYTES (256u << 20)
#define SERIES_ALIGN 16u

static err_kind corrupt(const prom_block *b, err *e, const char *what)
{
    return err_set(e, ERR_CORRUPT, "cannot read the Prometheus block \"%s\": %s", b->dir, what);
}

/* ---- bytes, big endian ---- */

typedef struct bytes { const uint8_t *at, *end; bool bad; } bytes;

static bytes bytes_of(str s) { return (bytes){ (const uint8_t *)s.ptr, (const uint8_t *)s.ptr + s.len, false }; }
static size_t left(const bytes *b) { return (size_t)(b->end - b->at); }

static uint64_t be(bytes *b, unsigned n)
{
    uint64_t v = 0;
    if (b->bad || left(b) < n) {
        b->bad = true;
        return 0;
    }
    for (unsigned i = 0; i < n; i++)
        v = v << 8 | *b->at++;
    return v;
}

static uint64_t varint(bytes *b)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint64_t byte = be(b, 1);
        v |= (byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return v;
    }
    b->bad = true;
    return 0;
}

static int64_t signed_varint(bytes *b)
{
    uint64_t v = varint(b);
    return (int64_t)(v >> 1 ^ -(v & 1));
}

static str text(bytes *b)
{
    uint64_t n = varint(b);
    if (b->bad || n > left(b)) {
        b->bad = true;
        return STR_EMPTY;
    }
    str s = str_of((const char *)b->at, (size_t)n);
    b->at += n;
    return s;
}

/* A section is u32 length, content, u32 CRC-32C of the content. */
static bool section(str index, uint64_t offset, bool checked, str *ret)
{
    if (offset > index.len)
        return false;
    bytes b = bytes_of(str_skip(index, (size_t)offset));
    uint64_t n = be(&b, 4);
    if (b.bad || left(&b) < 4 || n > left(&b) - 4)
        return false;
    *ret = str_of((const char *)b.at, (size_t)n);
    b.at += n;
    return !checked || hash_crc32c(ret->ptr, ret->len) == be(&b, 4);
}

/* ---- the index ---- */

typedef struct toc { uint64_t symbols, series, label_indices, label_table, postings, postings_table; } toc;

static err_kind parse_symbols(prom_block *b, uint64_t offset, bool checked, err *e)
{
    str s;
    if (!section(b->index, offset, checked, &s))
        return corrupt(b, e, "its symbols fail their checksum");
    bytes in = bytes_of(s);
    uint64_t n = be(&in, 4);
    if (in.bad || n > left(&in) || b->index.len > UINT32_MAX)
        return corrupt(b, e, "its symbols make no sense");
    if (vec_reserve(&b->symbols, n + 1))
        return err_nomem(e);
    for (uint64_t i = 0; i < n; i++) {
        b->symbols.at[b->symbols.len++] = (uint32_t)(in.at - (const uint8_t *)b->index.ptr);
        if (text(&in).len > LABEL_MAX_BYTES || in.bad)
            return corrupt(b, e, "its symbols make no sense");
    }
    return OK;
}

/* The list under the empty name and value is that of all series. */
static err_kind parse_all_postings(prom_block *b, uint64_t table, bool checked, err *e)
{
    str s, list;
    if (!section(b->index, table, checked, &s))
        return corrupt(b, e, "its postings table fails its checksum");
    bytes in = bytes_of(s);
    for (uint64_t n = be(&in, 4); n > 0 && !in.bad; n--) {
        uint64_t keys = be(&in, 1);
        str name = text(&in), value = text(&in);
        uint64_t offset = varint(&in);
        if (in.bad || keys != 2)
            break;
        if (name.len || value.len)
            continue;
        if (!section(b->index, offset, checked, &list))
            return corrupt(b, e, "its list of series fails its checksum");
        bytes refs = bytes_of(list);
        uint64_t count = be(&refs, 4);
        if (refs.bad || count != left(&refs) / 4)
            return corrupt(b, e, "its list of series makes no sense");
        b->refs = str_of((const char *)refs.at, (size_t)count * 4);
        return OK;
    }
    return corrupt(b, e, "its postings table makes no sense");
}

err_kind prom_block_parse_index(prom_block *b, bool checked, err *e)
{
    bytes in = bytes_of(b->index);
    if (be(&in, 4) != INDEX_MAGIC || b->index.len < 5 + TOC_BYTES)
        return corrupt(b, e, "its index is none");
    if (be(&in, 1) != INDEX_VERSION)
        return err_set(e, ERR_UNSUPPORTED, "cannot read the Prometheus block \"%s\": its index is not of version %d", b->dir, INDEX_VERSION);
    str tail = str_skip(b->index, b->index.len - TOC_BYTES);
    bytes t = bytes_of(tail);
    toc at = { 0 };
    uint64_t *const offsets[] = { &at.symbols, &at.series, &at.label_indices, &at.label_table, &at.postings, &at.postings_table };
    for (size_t i = 0; i < COUNT_OF(offsets); i++)
        *offsets[i] = be(&t, 8);
    if (checked && hash_crc32c(tail.ptr, TOC_BYTES - 4) != be(&t, 4))
        return corrupt(b, e, "the end of its index fails its checksum");
    err_kind k = parse_symbols(b, at.symbols, checked, e);
    return k ? k : parse_all_postings(b, at.postings_table, checked, e);
}

static bool symbol(const prom_block *b, uint64_t i, str *ret)
{
    if (i >= b->symbols.len)
        return false;
    bytes in = bytes_of(str_skip(b->index, b->symbols.at[i]));
    *ret = text(&in);
    return !in.bad;
}

static err_kind series_labels(const prom_block *b, bytes *in, label at[LABELS_MAX], labels *ret, err *e)
{
    uint64_t n = varint(in);
    if (in->bad)
        return corrupt(b, e, "a series makes no sense");
    if (n > LABELS_MAX)
        return err_set(e, ERR_LIMIT, "a series of the Prometheus block \"%s\" has more than %d labels", b->dir, LABELS_MAX);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t name = varint(in), value = varint(in);
        if (in->bad || !symbol(b, name, &at[i].name) || !symbol(b, value, &at[i].value))
            return corrupt(b, e, "a series names a symbol that is not there");
    }
    size_t kept = (size_t)n;
    if (labels_normalise(at, &kept, e))
        return err_context(e, "cannot read the Prometheus block \"%s\"", b->dir), ERR_CORRUPT;
    *ret = (labels){ at, kept };
    return OK;
}

static err_kind series_chunks(const prom_block *b, bytes *in, prom_chunk_metas *chunks, err *e)
{
    uint64_t n = varint(in), t = 0, ref = 0;
    if (in->bad || n > left(in) / 3) /* three varints each */
        return corrupt(b, e, "a series makes no sense");
    vec_clear(chunks);
    if (vec_reserve(chunks, n))
        return err_nomem(e);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t start = i == 0 ? (uint64_t)signed_varint(in) : t + varint(in);
        t = start + varint(in);
        ref = i == 0 ? varint(in) : ref + (uint64_t)signed_varint(in);
        if (in->bad)
            return corrupt(b, e, "a series' chunks make no sense");
        chunks->at[chunks->len++] = (prom_chunk_meta){ (int64_t)start, (int64_t)t, ref };
    }
    return OK;
}

err_kind prom_block_series(const prom_block *b, size_t i, bool checked, label at[LABELS_MAX], labels *ret,
                           uint64_t *ret_ref, prom_chunk_metas *chunks, err *e)
{
    bytes refs = bytes_of(str_sub(b->refs, i * 4, 4));
    uint64_t ref = be(&refs, 4), offset = ref * SERIES_ALIGN;
    if (refs.bad || offset >= b->index.len)
        return corrupt(b, e, "a series lies outside the index");
    bytes in = bytes_of(str_skip(b->index, (size_t)offset));
    uint64_t n = varint(&in);
    if (in.bad || left(&in) < 4 || n > left(&in) - 4)
        return corrupt(b, e, "a series lies outside the index");
    bytes sum = { in.at + n, in.at + n + 4, false };
    if (checked && hash_crc32c(in.at, (size_t)n) != be(&sum, 4))
        return corrupt(b, e, "a series fails its checksum");
    in.end = in.at + n;
    *ret_ref = ref;
    err_kind k = series_labels(b, &in, at, ret, e);
    return k ? k : series_chunks(b, &in, chunks, e);
}

/* ---- chunks ---- */

err_kind prom_block_chunk(const prom_block *b, uint64_t ref, bool checked, prom_encoding *ret_encoding, str *ret, err *e)
{
    uint64_t file = ref >> 32, offset = ref & UINT32_MAX;
    if (file >= b->files.len || offset >= b->files.at[file].len)
        return corrupt(b, e, "a chunk lies outside the files");
    bytes in = bytes_of(str_skip(b->files.at[file], (size_t)offset));
    uint64_t n = varint(&in);
    if (in.bad || left(&in) < 5 || n > left(&in) - 5)
        return corrupt(b, e, "a chunk lies outside its file");
    bytes sum = { in.at + 1 + n, in.at + n + 5, false };
    if (checked && hash_crc32c(in.at, (size_t)n + 1) != be(&sum, 4))
        return corrupt(b, e, "a chunk fails its checksum");
    *ret_encoding = (prom_encoding)in.at[0];
    *ret = str_of((const char *)in.at + 1, (size_t)n);
    return OK;
}

/* ---- tombstones ---- */

static int by_series(const void *va, const void *vb)
{
    const prom_interval *a = va, *b = vb;
    return a->series < b->series ? -1 : a->series > b->series;
}

err_kind prom_block_parse_tombstones(prom_block *b, str all, bool checked, err *e)
{
    bytes in = bytes_of(all);
    if (be(&in, 4) != TOMBSTONES_MAGIC || be(&in, 1) != 1 || left(&in) < 4)
        return corrupt(b, e, "its tombstones are none");
    in.end -= 4;
    bytes sum = { in.end, in.end + 4, false };
    if (checked && hash_crc32c(in.at, left(&in)) != be(&sum, 4))
        return corrupt(b, e, "its tombstones fail their checksum");
    while (left(&in) > 0) {
        prom_interval x = { .series = varint(&in) };
        x.from_ms = signed_varint(&in);
        x.to_ms = signed_varint(&in);
        if (in.bad)
            return corrupt(b, e, "its tombstones make no sense");
        if (vec_push(&b->deleted, x))
            return err_nomem(e);
    }
    if (b->deleted.len > 1)
        qsort(b->deleted.at, b->deleted.len, sizeof *b->deleted.at, by_series);
    return OK;
}

bool prom_block_deleted(const prom_block *b, uint64_t series, int64_t t_ms)
{
    size_t low = 0, high = b->deleted.len;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (b->deleted.at[mid].series < series)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < b->deleted.len && b->deleted.at[low].series == series; low++)
        if (t_ms >= b->deleted.at[low].from_ms && t_ms <= b->deleted.at[low].to_ms)
            return true;
    return false;
}

/* ---- files ---- */

static err_kind map_file(const char *path, str *ret, err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_kind k = err_sys(e, errno, "could not open \"%s\"", path);
        if (fd >= 0)
            close(fd);
        return k;
    }
    void *at = st.st_size > 0 ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    int failed = errno;
    close(fd);
    if (st.st_size == 0)
        return err_set(e, ERR_CORRUPT, "cannot read \"%s\": it is empty", path);
    if (at == MAP_FAILED)
        return err_sys(e, failed, "could not map \"%s\"", path);
    *ret = str_of(at, (size_t)st.st_size);
    return OK;
}

static void unmap(str s)
{
    if (s.len)
        munmap((void *)s.ptr, s.len);
}

static err_kind open_chunks(prom_block *b, err *e)
{
    char dir[FILE_PATH_MAX], path[FILE_PATH_MAX], name[16];
    err_kind k = file_join(dir, b->dir, "chunks", e);
    for (uint32_t i = 1; !k && i <= PROM_BLOCK_CHUNK_FILES_MAX; i++) {
        snprintf(name, sizeof name, "%06" PRIu32, i);
        if ((k = file_join(path, dir, name, e)) || !file_exists(path))
            break;
        str file;
        if ((k = map_file(path, &file, e)))
            break;
        bytes head = bytes_of(file);
        if (be(&head, 4) != CHUNKS_MAGIC || be(&head, 1) != 1)
            k = corrupt(b, e, "a file of chunks is none");
        else if (vec_push(&b->files, file))
            k = err_nomem(e);
        if (k)
            unmap(file);
    }
    return k;
}

static err_kind open_tombstones(prom_block *b, err *e)
{
    char path[FILE_PATH_MAX];
    AUTO(buf_done) buf all = BUF_INIT(TOMBSTONES_MAX_BYTES);
    err_kind k = file_join(path, b->dir, "tombstones", e);
    if (k || !file_exists(path))
        return k;
    k = file_read(path, &all, e);
    return k ? k : prom_block_parse_tombstones(b, buf_str(&all), true, e);
}

static err_kind open_meta(prom_block *b, err *e)
{
    char path[FILE_PATH_MAX];
    AUTO(buf_done) buf all = BUF_INIT(META_MAX_BYTES);
    AUTO(json_doc_freep) json_doc *doc = NULL;
    err_kind k;
    if ((k = file_join(path, b->dir, "meta.json", e)) || (k = file_read(path, &all, e)))
        return k;
    if ((k = json_parse(buf_str(&all), &doc, e)))
        return err_context(e, "cannot read \"%s\"", path), k == ERR_PARSE ? ERR_CORRUPT : k;
    json_val root = json_root(doc);
    if (json_i64_or(json_get(root, "version"), 0) != 1)
        return err_set(e, ERR_UNSUPPORTED, "cannot read the Prometheus block \"%s\": its meta.json is not of version 1", b->dir);
    b->min_t_ms = json_i64_or(json_get(root, "minTime"), 0);
    b->max_t_ms = json_i64_or(json_get(root, "maxTime"), 0);
    return OK;
}

bool prom_block_is(const char *dir)
{
    char meta[FILE_PATH_MAX], index[FILE_PATH_MAX];
    return !file_join(meta, dir, "meta.json", NULL) && !file_join(index, dir, "index", NULL) && file_exists(meta) && file_exists(index);
}

err_kind prom_block_open(const char *dir, prom_block **ret, err *e)
{
    AUTO(prom_block_freep) prom_block *b = mem_zalloc(sizeof *b);
    char path[FILE_PATH_MAX];
    err_kind k;
    if (!b)
        return err_nomem(e);
    str_copy(b->dir, sizeof b->dir, str_from(dir));
    if ((k = open_meta(b, e)) || (k = file_join(path, dir, "index", e)) || (k = map_file(path, &b->index, e)) ||
        (k = prom_block_parse_index(b, true, e)) || (k = open_chunks(b, e)) || (k = open_tombstones(b, e)))
        return k;
    *ret = TAKE(b);
    return OK;
}

void prom_block_free(prom_block *b)
{
    if (!b)
        return;
    unmap(b->index);
    for (size_t i = 0; i < b->files.len; i++)
        unmap(b->files.at[i]);
    vec_done(&b->files);
    vec_done(&b->symbols);
    vec_done(&b->deleted);
    mem_free(b);
}

void prom_block_freep(prom_block **b)
{
    prom_block_free(*b);
    *b = NULL;
}
