/* store/wire.h - how numbers look in the room's files: little endian, LEB128 varints, zigzag for signs.
 *
 * Readers get a cursor with an end and never pass it: a false return leaves the cursor where it was
 * safe and means the bytes are cut or do not follow the format. Header-only, because every row of a WAL
 * batch passes through here. */
#pragma once
#include "base/base.h"

#define WIRE_VARINT_MAX 10 /* bytes of the longest 64-bit varint */

static inline void wire_put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static inline void wire_put_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static inline uint32_t wire_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t wire_u64(const uint8_t *p)
{
    return (uint64_t)wire_u32(p) | (uint64_t)wire_u32(p + 4) << 32;
}

static inline uint64_t wire_zigzag(uint64_t v) { return v << 1 ^ (uint64_t)((int64_t)v >> 63); }
static inline uint64_t wire_unzigzag(uint64_t v) { return v >> 1 ^ -(v & 1); }

/* Write a varint at p (WIRE_VARINT_MAX bytes of room); returns the place behind it. */
static inline uint8_t *wire_put_varint(uint8_t *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}

typedef struct wire_cursor { const uint8_t *at, *end; } wire_cursor;

static inline wire_cursor wire_read(str bytes)
{
    const uint8_t *p = (const uint8_t *)(bytes.ptr ? bytes.ptr : "");
    return (wire_cursor){ p, p + bytes.len };
}

static inline size_t wire_left(const wire_cursor *c) { return (size_t)(c->end - c->at); }

static inline bool wire_varint(wire_cursor *c, uint64_t *ret)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && c->at < c->end; shift += 7) {
        uint8_t b = *c->at++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *ret = v;
            return shift < 63 || b <= 1; /* the tenth byte holds one bit */
        }
    }
    return false;
}

static inline bool wire_bytes(wire_cursor *c, uint64_t n, str *ret)
{
    if (n > wire_left(c))
        return false;
    *ret = str_of((const char *)c->at, (size_t)n);
    c->at += n;
    return true;
}

/* A varint length and so many bytes. */
static inline bool wire_str(wire_cursor *c, str *ret)
{
    uint64_t n;
    return wire_varint(c, &n) && wire_bytes(c, n, ret);
}
