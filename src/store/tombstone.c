#include "store/tombstone.h"
#include "store/wire.h"
#include "base/hash.h"
#include <stdio.h>
#include <stdlib.h>

#define MAGIC "galenTMB"
#define VERSION 1u
#define HEADER_BYTES 16u
#define SUM_BYTES 8u
#define FILE_MAX_BYTES ((size_t)512 << 20)

tombstone_range tombstones_of(const tombstones *t, uint32_t series)
{
    size_t low = 0, high = t->len;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (t->at[mid].series < series)
            low = mid + 1;
        else
            high = mid;
    }
    size_t end = low;
    while (end < t->len && t->at[end].series == series)
        end++;
    return (tombstone_range){ end > low ? t->at + low : NULL, end - low };
}

bool tombstone_covers(tombstone_range r, int64_t from_ms, int64_t to_ms)
{
    for (size_t i = 0; i < r.len; i++)
        if (r.at[i].from_ms <= from_ms && r.at[i].to_ms >= to_ms)
            return true;
    return false;
}

static int by_place(const void *va, const void *vb)
{
    const tombstone *a = va, *b = vb;
    if (a->series != b->series)
        return a->series < b->series ? -1 : 1;
    return a->from_ms < b->from_ms ? -1 : a->from_ms > b->from_ms;
}

void tombstones_tidy(tombstones *t)
{
    size_t kept = 0;
    if (t->len > 1)
        qsort(t->at, t->len, sizeof *t->at, by_place);
    for (size_t i = 0; i < t->len; i++) {
        tombstone *last = kept ? &t->at[kept - 1] : NULL;
        /* Ranges that touch are one: a page between them is deleted whole. */
        if (last && last->series == t->at[i].series && (last->to_ms == INT64_MAX || t->at[i].from_ms <= last->to_ms + 1))
            last->to_ms = MAX(last->to_ms, t->at[i].to_ms);
        else
            t->at[kept++] = t->at[i];
    }
    t->len = kept;
}

err_kind tombstones_path(char out[FILE_PATH_MAX], const char *block_path, err *e)
{
    const char *dot = strrchr(block_path, '.');
    int stem = (int)(dot ? (size_t)(dot - block_path) : strlen(block_path));
    if (snprintf(out, FILE_PATH_MAX, "%.*s" TOMBSTONES_SUFFIX, stem, block_path) >= FILE_PATH_MAX)
        return err_set(e, ERR_LIMIT, "path too long: \"%.200s…\"", block_path);
    return OK;
}

/* ---- writing ---- */

static void put_varint(buf *out, uint64_t v)
{
    uint8_t bytes[WIRE_VARINT_MAX];
    buf_append_bytes(out, bytes, (size_t)(wire_put_varint(bytes, v) - bytes));
}

err_kind tombstones_write(const char *path, const tombstones *t, err *e)
{
    AUTO(buf_done) buf out = BUF_INIT(FILE_MAX_BYTES);
    uint8_t header[HEADER_BYTES] = MAGIC, sum[SUM_BYTES];
    uint32_t series = 0;
    if (t->len > TOMBSTONES_MAX)
        return err_set(e, ERR_LIMIT, "could not write \"%s\": more than %u ranges are deleted", path, TOMBSTONES_MAX);
    wire_put_u32(header + 8, VERSION);
    wire_put_u32(header + 12, (uint32_t)t->len);
    buf_append_bytes(&out, header, sizeof header);
    for (size_t i = 0; i < t->len; i++) {
        const tombstone *x = &t->at[i];
        put_varint(&out, x->series - series);
        put_varint(&out, wire_zigzag((uint64_t)x->from_ms));
        put_varint(&out, (uint64_t)x->to_ms - (uint64_t)x->from_ms);
        series = x->series;
    }
    if (buf_failed(&out))
        return err_nomem(e);
    wire_put_u64(sum, hash_bytes(out.ptr, out.len, 0));
    if (buf_append_bytes(&out, sum, sizeof sum))
        return err_nomem(e);
    return file_write_atomic(path, buf_str(&out), 0600, e);
}

/* ---- reading ---- */

static bool parse_entries(wire_cursor c, uint32_t n, uint32_t series_count, tombstones *ret)
{
    uint64_t series = 0, step, from, span;
    for (uint32_t i = 0; i < n; i++) {
        if (!wire_varint(&c, &step) || !wire_varint(&c, &from) || !wire_varint(&c, &span) || step > series_count || (series += step) >= series_count)
            return false;
        tombstone x = { (uint32_t)series, (int64_t)wire_unzigzag(from), 0 };
        x.to_ms = (int64_t)((uint64_t)x.from_ms + span);
        bool after = i == 0 || step > 0 || (ret->at[i - 1].to_ms < x.from_ms);
        if (x.to_ms < x.from_ms || !after)
            return false;
        ret->at[ret->len++] = x;
    }
    return wire_left(&c) == 0;
}

err_kind tombstones_parse(str bytes, bool checked, uint32_t series_count, tombstones *ret, err *e)
{
    const uint8_t *p = (const uint8_t *)bytes.ptr;
    if (bytes.len < HEADER_BYTES + SUM_BYTES || memcmp(p, MAGIC, 8) != 0)
        return err_set(e, ERR_CORRUPT, "these are no tombstones");
    size_t len = bytes.len - SUM_BYTES;
    if (checked && hash_bytes(p, len, 0) != wire_u64(p + len))
        return err_set(e, ERR_CORRUPT, "the tombstones fail their checksum");
    if (wire_u32(p + 8) != VERSION)
        return err_set(e, ERR_UNSUPPORTED, "tombstones of version %" PRIu32 " are newer than this galen", wire_u32(p + 8));
    uint32_t n = wire_u32(p + 12);
    if (n > TOMBSTONES_MAX || n > (len - HEADER_BYTES) / 3) /* one takes at least three bytes */
        return err_set(e, ERR_CORRUPT, "the tombstones are cut");
    if (vec_reserve(ret, n))
        return err_nomem(e);
    ret->len = 0;
    if (parse_entries((wire_cursor){ p + HEADER_BYTES, p + len }, n, series_count, ret))
        return OK;
    ret->len = 0;
    return err_set(e, ERR_CORRUPT, "the tombstones make no sense");
}

err_kind tombstones_read(const char *path, uint32_t series_count, tombstones *ret, err *e)
{
    AUTO(buf_done) buf bytes = BUF_INIT(FILE_MAX_BYTES);
    if (!file_exists(path))
        return OK;
    err_kind k = file_read(path, &bytes, e);
    if (!k)
        k = tombstones_parse(buf_str(&bytes), true, series_count, ret, e);
    return k ? err_context(e, "could not read \"%s\"", path), k : OK;
}
