/* metric/prompb_wire.h - protobuf's wire format, no more of it than Prometheus's messages need.
 *
 * Source: https://protobuf.dev/programming-guides/encoding/. A message is fields; a field is a key
 * (number << 3 | type) and a payload: a varint, 8 or 4 bytes, or a length and so many bytes (text, a message, or
 * packed numbers). Field numbers a reader does not know are skipped; groups (types 3 and 4) are refused, as by every
 * proto3 reader. Header-only, because every sample that comes in or goes out passes through here.
 *
 * Readers never pass their end. Writers append to a buf and fail stickily with it. */
#pragma once
#include "base/base.h"

typedef enum pb_type { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 } pb_type;
typedef struct pb_reader { const uint8_t *at, *end; } pb_reader;
typedef struct pb_field {
    uint32_t number;
    pb_type type;
    uint64_t value;    /* PB_VARINT, PB_FIXED64, PB_FIXED32 */
    str bytes;         /* PB_BYTES, borrowed */
} pb_field;

static inline pb_reader pb_read(str message)
{
    const uint8_t *p = (const uint8_t *)(message.ptr ? message.ptr : "");
    return (pb_reader){ p, p + message.len };
}

static inline bool pb_varint(pb_reader *r, uint64_t *ret)
{
    uint64_t v = 0;
    if (r->at < r->end && *r->at < 0x80) {
        *ret = *r->at++;
        return true;
    }
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        uint8_t b = *r->at++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *ret = v;
            return true;
        }
    }
    return false;
}

static inline bool pb_fixed(pb_reader *r, size_t n, uint64_t *ret)
{
    uint64_t v = 0;
    if ((size_t)(r->end - r->at) < n)
        return false;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)r->at[i] << (8 * i);
    r->at += n;
    *ret = v;
    return true;
}

/* 1: a field is in *f. 0: the end of the message. -1: the bytes are not protobuf. */
static inline int pb_next(pb_reader *r, pb_field *f)
{
    uint64_t key;
    if (r->at == r->end)
        return 0;
    if (!pb_varint(r, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff)
        return -1;
    f->number = (uint32_t)(key >> 3);
    f->type = (pb_type)(key & 7);
    f->bytes = STR_EMPTY;
    switch (key & 7) {
    case PB_VARINT: return pb_varint(r, &f->value) ? 1 : -1;
    case PB_FIXED64: return pb_fixed(r, 8, &f->value) ? 1 : -1;
    case PB_FIXED32: return pb_fixed(r, 4, &f->value) ? 1 : -1;
    case PB_BYTES:
        if (!pb_varint(r, &f->value) || f->value > (uint64_t)(r->end - r->at))
            return -1;
        f->bytes = str_of((const char *)r->at, (size_t)f->value);
        r->at += f->value;
        return 1;
    default: return -1;
    }
}

static inline bool pb_is(const pb_field *f, uint32_t number, pb_type type)
{
    return f->number == number && f->type == type;
}

static inline double pb_double(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline int64_t pb_unzigzag(uint64_t v) { return (int64_t)(v >> 1 ^ -(v & 1)); }
static inline uint64_t pb_zigzag(int64_t v) { return (uint64_t)v << 1 ^ (uint64_t)(v >> 63); }

/* ---- writing ---- */
#define PB_VARINT_MAX 10    /* bytes of the longest varint */

/* At p, which has the room; the place behind it. */
static inline char *pb_write_varint(char *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (char)(v | 0x80);
    *p++ = (char)v;
    return p;
}
static inline char *pb_write_key(char *p, uint32_t number, pb_type type)
{
    return pb_write_varint(p, (uint64_t)number << 3 | type);
}
static inline char *pb_write_uint(char *p, uint32_t number, uint64_t v)
{
    return pb_write_varint(pb_write_key(p, number, PB_VARINT), v);
}
static inline char *pb_write_double(char *p, uint32_t number, double v)
{
    p = pb_write_key(p, number, PB_FIXED64);
    memcpy(p, &v, sizeof v); /* all our machines are little endian */
    return p + sizeof v;
}
static inline char *pb_write_bytes(char *p, uint32_t number, str s)
{
    p = pb_write_varint(pb_write_key(p, number, PB_BYTES), s.len);
    if (s.len)
        memcpy(p, s.ptr, s.len);
    return p + s.len;
}
static inline size_t pb_varint_len(uint64_t v)
{
    return (size_t)(70 - __builtin_clzll(v | 1)) / 7; /* 64 - clz bits, 7 a byte, rounded up */
}

/* A message inside a message: its length is known when it ends. pb_begin(out, number) … pb_end(out, begun). */
static inline size_t pb_begin(buf *out, uint32_t number)
{
    char *p = buf_reserve(out, 2 * PB_VARINT_MAX);
    if (!p)
        return 0;
    buf_commit(out, (size_t)(pb_write_key(p, number, PB_BYTES) - p));
    return out->len;
}
void pb_end(buf *out, size_t begun);
void pb_put_uint(buf *out, uint32_t number, uint64_t v);
void pb_put_double(buf *out, uint32_t number, double v);
void pb_put_bytes(buf *out, uint32_t number, str s);
