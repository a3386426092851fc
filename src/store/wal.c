#include "store/wal.h"
#include "base/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char wal_magic[8] = "galenWAL";

/* ---- building ---- */

/* The checksum covers length and type through the seed, so a flipped bit in them is found as well. */
static uint64_t record_sum(const void *payload, uint32_t len, uint32_t type)
{
    return hash_bytes(payload, len, (uint64_t)len | (uint64_t)type << 32);
}

size_t wal_begin(buf *b, wal_type type)
{
    size_t start = b->len;
    uint8_t *p = (uint8_t *)buf_reserve(b, WAL_RECORD_HEADER_BYTES);
    if (!p)
        return SIZE_MAX;
    memset(p, 0, WAL_RECORD_HEADER_BYTES);
    wire_put_u32(p + 4, type);
    buf_commit(b, WAL_RECORD_HEADER_BYTES);
    return start;
}

void wal_end(buf *b, size_t start)
{
    if (buf_failed(b))
        return;
    uint8_t *p = (uint8_t *)b->ptr + start;
    size_t len = b->len - start - WAL_RECORD_HEADER_BYTES;
    if (len > WAL_RECORD_MAX_BYTES) {
        b->failed = ERR_LIMIT;
        return;
    }
    wire_put_u32(p, (uint32_t)len);
    wire_put_u64(p + 8, record_sum(p + WAL_RECORD_HEADER_BYTES, (uint32_t)len, wire_u32(p + 4)));
}

static uint8_t *put_text(uint8_t *p, str s)
{
    p = wire_put_varint(p, s.len);
    if (s.len)
        memcpy(p, s.ptr, s.len);
    return p + s.len;
}

void wal_put_series(buf *b, uint64_t id, labels l)
{
    size_t need = 2 * WIRE_VARINT_MAX;
    for (size_t i = 0; i < l.len; i++)
        need += l.at[i].name.len + l.at[i].value.len + 2 * WIRE_VARINT_MAX;
    uint8_t *at = (uint8_t *)buf_reserve(b, need);
    if (!at)
        return;
    uint8_t *p = wire_put_varint(wire_put_varint(at, id), l.len);
    for (size_t i = 0; i < l.len; i++)
        p = put_text(put_text(p, l.at[i].name), l.at[i].value);
    buf_commit(b, (size_t)(p - at));
}

size_t wal_section_begin(buf *b, wal_section kind)
{
    size_t start = b->len;
    uint8_t *p = (uint8_t *)buf_reserve(b, WAL_SECTION_BYTES);
    if (!p)
        return SIZE_MAX;
    p[0] = (uint8_t)kind;
    buf_commit(b, WAL_SECTION_BYTES);
    return start;
}

void wal_section_end(buf *b, size_t start)
{
    if (buf_failed(b))
        return;
    size_t len = b->len - start - WAL_SECTION_BYTES;
    if (len > WAL_RECORD_MAX_BYTES)
        b->failed = ERR_LIMIT;
    else
        wire_put_u32((uint8_t *)b->ptr + start + 1, (uint32_t)len);
}

static uint8_t value_code(uint64_t bits, double v, uint64_t before)
{
    static const double whole_max = 562949953421312.0; /* 2^49: as a zigzag varint not longer than 8 bytes */
    if (bits == before)
        return WAL_VALUE_SAME;
    if (v > -whole_max && v < whole_max && v == (double)(int64_t)v && bits != UINT64_C(1) << 63)
        return WAL_VALUE_WHOLE;
    return (uint32_t)bits ? WAL_VALUE_FULL : WAL_VALUE_HIGH;
}

uint8_t *wal_put_row(uint8_t *at, wal_before *before, uint64_t id, int64_t t_ms, double v)
{
    uint64_t bits, dt = (uint64_t)t_ms - before->t_ms;
    memcpy(&bits, &v, sizeof bits);
    uint8_t code = value_code(bits, v, before->bits);
    at = wire_put_varint(at, wire_zigzag(id - before->id - 1) << 3 | (dt ? 4u : 0u) | code);
    if (dt)
        at = wire_put_varint(at, wire_zigzag(dt));
    if (code == WAL_VALUE_WHOLE)
        at = wire_put_varint(at, wire_zigzag((uint64_t)(int64_t)v));
    if (code == WAL_VALUE_FULL)
        wire_put_u64(at, bits), at += 8;
    if (code == WAL_VALUE_HIGH)
        wire_put_u32(at, (uint32_t)(bits >> 32)), at += 4;
    *before = (wal_before){ id, (uint64_t)t_ms, bits };
    return at;
}

uint8_t *wal_put_key(uint8_t *at, wal_before *before, uint64_t id, int64_t t_ms)
{
    at = wire_put_varint(at, wire_zigzag(id - before->id));
    at = wire_put_varint(at, wire_zigzag((uint64_t)t_ms - before->t_ms));
    *before = (wal_before){ id, (uint64_t)t_ms, 0 };
    return at;
}

void wal_put_chunks(buf *b, uint64_t id, int64_t cut_t_ms, size_t chunks)
{
    uint8_t *at = (uint8_t *)buf_reserve(b, 3 * WIRE_VARINT_MAX);
    if (!at)
        return;
    uint8_t *p = wire_put_varint(wire_put_varint(at, id), wire_zigzag((uint64_t)cut_t_ms));
    p = wire_put_varint(p, chunks);
    buf_commit(b, (size_t)(p - at));
}

void wal_put_chunk(buf *b, const wal_chunk *c)
{
    uint8_t *at = (uint8_t *)buf_reserve(b, 1 + 2 * WIRE_VARINT_MAX + c->bytes.len);
    if (!at)
        return;
    at[0] = (uint8_t)(c->kind | c->place << 4);
    uint8_t *p = put_text(wire_put_varint(at + 1, c->count), c->bytes);
    buf_commit(b, (size_t)(p - at));
}

/* ---- names ---- */

#define CHECKPOINT_PREFIX "checkpoint."

static err_kind name_path(char out[FILE_PATH_MAX], const char *dir, const char *prefix, uint32_t segment, err *e)
{
    char name[40];
    snprintf(name, sizeof name, "%s%08" PRIu32, prefix, segment);
    return file_join(out, dir, name, e);
}

err_kind wal_segment_path(char out[FILE_PATH_MAX], const char *dir, uint32_t segment, err *e)
{
    return name_path(out, dir, "", segment, e);
}

err_kind wal_checkpoint_path(char out[FILE_PATH_MAX], const char *dir, uint32_t segment, err *e)
{
    return name_path(out, dir, CHECKPOINT_PREFIX, segment, e);
}

bool wal_parse_name(str name, bool *ret_checkpoint, uint32_t *ret_segment)
{
    *ret_checkpoint = str_starts(name, STR(CHECKPOINT_PREFIX));
    if (*ret_checkpoint)
        name = str_skip(name, strlen(CHECKPOINT_PREFIX));
    uint64_t n;
    if (name.len < 8 || !str_to_u64(name, &n) || n == 0 || n > UINT32_MAX)
        return false;
    *ret_segment = (uint32_t)n;
    return true;
}

void wal_put_header(uint8_t out[WAL_HEADER_BYTES], uint32_t segment)
{
    memcpy(out, wal_magic, sizeof wal_magic);
    wire_put_u32(out + 8, WAL_VERSION);
    wire_put_u32(out + 12, segment);
}

/* ---- writing ---- */

void wal_init(wal *w, const char *dir, uint32_t last_segment)
{
    *w = (wal){ .fd = -1, .segment = last_segment };
    str_copy(w->dir, sizeof w->dir, str_from(dir));
}

void wal_done(wal *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    while (w->retired_count > 0)
        close(w->retired[--w->retired_count]);
}

static err_kind start_segment(wal *w, err *e)
{
    char path[FILE_PATH_MAX];
    uint8_t header[WAL_HEADER_BYTES];
    err_kind k = wal_segment_path(path, w->dir, w->segment + 1, e);
    if (k)
        return k;
    /* O_TRUNC: an attempt that failed below left a file without records under this number. */
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(e, errno, "could not create WAL segment \"%s\"", path);
    wal_put_header(header, w->segment + 1);
    k = file_write_all(fd, header, sizeof header, path, e);
    if (!k)
        k = file_sync_dir(w->dir, e);
    if (k) {
        close(fd);
        unlink(path);
        return k;
    }
    w->fd = fd;
    w->segment++;
    w->len = sizeof header;
    return OK;
}

void wal_rotate(wal *w)
{
    if (w->fd < 0)
        return;
    if (w->retired_count == WAL_RETIRED_MAX) {
        /* The sync thread is far behind; the oldest is synced here rather than forgotten. */
        (void)!fdatasync(w->retired[0]);
        close(w->retired[0]);
        memmove(w->retired, w->retired + 1, --w->retired_count * sizeof w->retired[0]);
    }
    w->retired[w->retired_count++] = w->fd;
    w->fd = -1;
}

err_kind wal_write(wal *w, str records, err *e)
{
    if (w->fd >= 0 && w->len > WAL_HEADER_BYTES && w->len + records.len > WAL_SEGMENT_MAX_BYTES)
        wal_rotate(w);
    err_kind k;
    if (w->fd < 0 && (k = start_segment(w, e)))
        return k;
    char path[FILE_PATH_MAX];
    if ((k = wal_segment_path(path, w->dir, w->segment, e)))
        return k;
    k = file_write_all(w->fd, records.ptr, records.len, path, e);
    if (k) {
        /* Half a record may be in the file. If it cannot be cut away, nothing may follow it. */
        if (file_truncate(w->fd, w->len, path, NULL))
            wal_rotate(w);
        return k;
    }
    w->len += records.len;
    w->dirty = true;
    return OK;
}

err_kind wal_sync_take(wal *w, wal_sync *ret, err *e)
{
    *ret = (wal_sync){ 0 };
    if (w->dirty && w->fd >= 0) {
        int fd = fcntl(w->fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
            return err_sys(e, errno, "could not sync WAL in \"%s\"", w->dir);
        ret->fds[ret->count++] = fd;
    }
    for (size_t i = 0; i < w->retired_count; i++)
        ret->fds[ret->count++] = w->retired[i];
    w->retired_count = 0;
    w->dirty = false;
    return OK;
}

err_kind wal_sync_done(wal_sync *s, err *e)
{
    err_kind failed = OK;
    for (size_t i = 0; i < s->count; i++) {
        err_kind k = file_sync(s->fds[i], "WAL segment", failed ? NULL : e);
        if (k && !failed)
            failed = k;
        close(s->fds[i]);
    }
    s->count = 0;
    return failed;
}

/* ---- reading ---- */

wal_parse_result wal_parse(str bytes, wal_record *ret_record, size_t *ret_used)
{
    const uint8_t *p = (const uint8_t *)bytes.ptr;
    *ret_used = WAL_RECORD_HEADER_BYTES;
    if (bytes.len < WAL_RECORD_HEADER_BYTES)
        return WAL_CUT;
    uint32_t len = wire_u32(p), type = wire_u32(p + 4);
    if (len > WAL_RECORD_MAX_BYTES || type == 0)
        return WAL_DAMAGED;
    *ret_used = WAL_RECORD_HEADER_BYTES + (size_t)len;
    if (bytes.len < *ret_used)
        return WAL_CUT;
    if (record_sum(p + WAL_RECORD_HEADER_BYTES, len, type) != wire_u64(p + 8))
        return WAL_DAMAGED;
    *ret_record = (wal_record){ type, str_of((const char *)p + WAL_RECORD_HEADER_BYTES, len) };
    return WAL_WHOLE;
}

#define READER_FIRST_BYTES (64u << 10)

/* Have `need` unread bytes, or as many as the file still has. */
static err_kind reader_fill(wal_reader *r, size_t need, err *e)
{
    if (r->end - r->start >= need)
        return OK;
    if (r->start > 0) {
        memmove(r->at, r->at + r->start, r->end - r->start);
        r->end -= r->start;
        r->start = 0;
    }
    if (need > r->cap) {
        /* A length that lies must not cost memory: grow only as far as the file can answer. */
        off_t size = lseek(r->fd, 0, SEEK_END);
        uint64_t left = size > 0 && (uint64_t)size > r->offset ? (uint64_t)size - r->offset : 0;
        if (size < 0 || lseek(r->fd, (off_t)(r->offset + r->end), SEEK_SET) < 0)
            return err_sys(e, errno, "could not read \"%s\"", r->path);
        size_t cap = MAX((size_t)MIN(left, (uint64_t)need), READER_FIRST_BYTES);
        uint8_t *bigger = cap > r->cap ? mem_realloc(r->at, cap) : r->at;
        if (!bigger)
            return err_nomem(e);
        r->at = bigger;
        r->cap = MAX(cap, r->cap);
    }
    while (r->end < r->cap) {
        ssize_t n = read(r->fd, r->at + r->end, r->cap - r->end);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, errno, "could not read \"%s\"", r->path);
        if (n == 0)
            break;
        r->end += (size_t)n;
    }
    return OK;
}

err_kind wal_reader_open(wal_reader *r, const char *path, err *e)
{
    *r = (wal_reader)WAL_READER_INIT;
    str_copy(r->path, sizeof r->path, str_from(path));
    r->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (r->fd < 0 || fstat(r->fd, &st) != 0)
        return err_sys(e, errno, "could not open \"%s\"", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INVALID, "cannot read WAL segment \"%s\": it is no regular file", path);
    err_kind k = reader_fill(r, WAL_HEADER_BYTES, e);
    if (k)
        return k;
    if (r->end < WAL_HEADER_BYTES || memcmp(r->at, wal_magic, sizeof wal_magic) != 0) {
        r->torn = r->end < WAL_HEADER_BYTES;
        off_t size = lseek(r->fd, 0, SEEK_END);
        r->cut_bytes = size > 0 ? (uint64_t)size : 0;
        close(r->fd);
        r->fd = -1;
        return OK;
    }
    if (wire_u32(r->at + 8) != WAL_VERSION) {
        err_set(e, ERR_UNSUPPORTED, "cannot read WAL segment \"%s\": it has version %" PRIu32 ", this galen reads version %u", path, wire_u32(r->at + 8), WAL_VERSION);
        return err_hint(e, "Start the galen that wrote it."), ERR_UNSUPPORTED;
    }
    r->start = r->offset = WAL_HEADER_BYTES;
    return OK;
}

void wal_reader_done(wal_reader *r)
{
    if (r->fd >= 0)
        close(r->fd);
    mem_free(r->at);
    *r = (wal_reader)WAL_READER_INIT;
}

/* No whole record follows: remember what is left behind. */
static err_kind reader_end(wal_reader *r, bool torn)
{
    off_t size = lseek(r->fd, 0, SEEK_END);
    r->cut_bytes = size > 0 && (uint64_t)size > r->offset ? (uint64_t)size - r->offset : 0;
    r->torn = torn;
    close(r->fd);
    r->fd = -1;
    return ERR_NOT_FOUND;
}

err_kind wal_reader_next(wal_reader *r, wal_record *ret, err *e)
{
    if (r->fd < 0)
        return ERR_NOT_FOUND;
    for (size_t need = WAL_RECORD_HEADER_BYTES;;) {
        err_kind k = reader_fill(r, need, e);
        if (k)
            return k;
        str bytes = str_of((const char *)r->at + r->start, r->end - r->start);
        if (bytes.len < need)
            return reader_end(r, true);
        wal_parse_result p = wal_parse(bytes, ret, &need);
        if (p == WAL_DAMAGED)
            return reader_end(r, false);
        if (p == WAL_CUT)
            continue; /* now with the record's whole length in `need` */
        r->start += need;
        r->offset += need;
        return OK;
    }
}

bool wal_next_series(wire_cursor *c, uint64_t *ret_id, label ret_labels[LABELS_MAX], size_t *ret_len, bool *bad)
{
    uint64_t n;
    *bad = false;
    if (c->at == c->end)
        return false;
    *bad = true;
    if (!wire_varint(c, ret_id) || !wire_varint(c, &n) || n == 0 || n > LABELS_MAX || *ret_id >= WAL_ID_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        label *l = &ret_labels[i];
        if (!wire_str(c, &l->name) || !wire_str(c, &l->value) || str_empty(l->name) || str_empty(l->value))
            return false;
        if (l->name.len > LABEL_MAX_BYTES || l->value.len > LABEL_MAX_BYTES)
            return false;
        if (i > 0 && str_cmp(ret_labels[i - 1].name, l->name) >= 0)
            return false;
    }
    *ret_len = n;
    *bad = false;
    return true;
}

bool wal_next_section(wire_cursor *c, uint8_t *ret_kind, wire_cursor *ret_rows, bool *bad)
{
    str rows;
    *bad = false;
    if (c->at == c->end)
        return false;
    *bad = true;
    if (wire_left(c) < WAL_SECTION_BYTES)
        return false;
    *ret_kind = c->at[0];
    uint32_t len = wire_u32(c->at + 1);
    c->at += WAL_SECTION_BYTES;
    if (!wire_bytes(c, len, &rows))
        return false;
    *ret_rows = wire_read(rows);
    *bad = false;
    return true;
}

bool wal_next_key(wire_cursor *c, wal_before *before, wal_row *ret, bool *bad)
{
    uint64_t id, t;
    *bad = false;
    if (c->at == c->end)
        return false;
    if (!wire_varint(c, &id) || !wire_varint(c, &t)) {
        *bad = true;
        return false;
    }
    before->id += wire_unzigzag(id);
    before->t_ms += wire_unzigzag(t);
    *ret = (wal_row){ before->id, (int64_t)before->t_ms, 0 };
    return true;
}

bool wal_next_chunks(wire_cursor *c, uint64_t *ret_id, int64_t *ret_cut_t_ms, uint64_t *ret_chunks, bool *bad)
{
    uint64_t cut;
    *bad = false;
    if (c->at == c->end)
        return false;
    *bad = !wire_varint(c, ret_id) || !wire_varint(c, &cut) || !wire_varint(c, ret_chunks);
    *ret_cut_t_ms = *bad ? 0 : (int64_t)wire_unzigzag(cut);
    return !*bad;
}

bool wal_next_chunk(wire_cursor *c, wal_chunk *ret)
{
    uint64_t count;
    if (wire_left(c) < 1)
        return false;
    uint8_t first = *c->at++;
    if (!wire_varint(c, &count) || !wire_str(c, &ret->bytes) || count == 0 || count > UINT16_MAX)
        return false;
    ret->kind = first & 15;
    ret->place = first >> 4;
    ret->count = (uint32_t)count;
    return true;
}
