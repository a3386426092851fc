/* net/http_body.c - undoing Content-Encoding, bounded by what the caller can hold.
 *
 * gzip and deflate: RFC 1950 to 1952 by zlib; snappy: the block format, which Prometheus remote write uses;
 * zstd: RFC 8878. A bomb (a few bytes that unpack to gigabytes) ends with ERR_LIMIT as soon as out->max is
 * reached; nothing larger is ever allocated. One coding only: a chain of them is refused. */
#include "net/net.h"

#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#define DECODE_STEP (64u << 10)
#define ZSTD_WINDOW_LOG_MAX 23 /* 8 MiB, what RFC 8878 asks every reader to support; more is memory for nothing */

static err_kind too_large(const buf *out, err *e)
{
    err_set(e, ERR_LIMIT, "cannot take the request's body: it unpacks to more than %zu bytes", out->max);
    return err_hint(e, "Send it in smaller pieces.");
}

static err_kind damaged(const char *coding, err *e)
{
    return err_set(e, ERR_PARSE, "cannot unpack the request's body: it is not whole, valid %s", coding);
}

/* Room for the next piece; *ret_room is at least 1. NULL sets e. */
static char *next_room(buf *out, size_t *ret_room, err *e)
{
    size_t room = MIN(DECODE_STEP, out->max - out->len);
    char *at = room ? buf_reserve(out, room) : NULL;

    *ret_room = room;
    if (!room)
        too_large(out, e);
    else if (!at)
        err_nomem(e);
    return at;
}

/* A stream may end exactly where out is full: only a byte more is too large. */
static bool one_more_byte(z_stream *z, int *rc)
{
    unsigned char spare;

    z->next_out = &spare;
    z->avail_out = 1;
    *rc = inflate(z, Z_NO_FLUSH);
    return z->avail_out == 0;
}

static err_kind inflate_all(z_stream *z, const char *coding, buf *out, err *e)
{
    int rc = Z_OK;

    while (rc == Z_OK) {
        size_t room;
        if (out->len == out->max) {
            if (one_more_byte(z, &rc))
                return too_large(out, e);
            break;
        }
        z->next_out = (unsigned char *)next_room(out, &room, e);
        if (!z->next_out)
            return ERR_NOMEM;
        z->avail_out = (uInt)room;
        rc = inflate(z, Z_NO_FLUSH);
        buf_commit(out, room - z->avail_out);
    }
    if (rc == Z_MEM_ERROR)
        return err_nomem(e);
    return rc == Z_STREAM_END && z->avail_in == 0 ? OK : damaged(coding, e);
}

/* window_bits as inflateInit2 takes them: 16+15 gzip, 15 zlib, -15 raw. */
static err_kind decode_zlib(str in, int window_bits, const char *coding, buf *out, err *e)
{
    z_stream z = { .next_in = (unsigned char *)(uintptr_t)in.ptr, .avail_in = (uInt)in.len };

    if (in.len > UINT32_MAX)
        return too_large(out, e);
    if (inflateInit2(&z, window_bits) != Z_OK)
        return err_nomem(e);
    err_kind kind = inflate_all(&z, coding, out, e);
    inflateEnd(&z);
    return kind;
}

static err_kind decode_gzip(str in, buf *out, err *e) { return decode_zlib(in, 16 + 15, "gzip", out, e); }

/* "deflate" means zlib's wrapping, but old clients send the bare stream: the first bytes tell (RFC 1950: CMF is
 * 8 in its low half, and CMF*256+FLG a multiple of 31). */
static err_kind decode_deflate(str in, buf *out, err *e)
{
    const unsigned char *b = (const unsigned char *)in.ptr;
    bool wrapped = in.len >= 2 && (b[0] & 15) == 8 && (b[0] * 256u + b[1]) % 31 == 0;

    return decode_zlib(in, wrapped ? 15 : -15, "deflate", out, e);
}

static err_kind decode_snappy(str in, buf *out, err *e)
{
    size_t size;

    if (in.len == 0 || snappy_uncompressed_length(in.ptr, in.len, &size) != SNAPPY_OK)
        return damaged("snappy", e);
    if (size > out->max - out->len)
        return too_large(out, e);
    char *at = buf_reserve(out, size);
    if (!at)
        return err_nomem(e);
    if (snappy_uncompress(in.ptr, in.len, at, &size) != SNAPPY_OK)
        return damaged("snappy", e);
    buf_commit(out, size);
    return OK;
}

static err_kind unzstd_all(ZSTD_DStream *z, str bytes, buf *out, err *e)
{
    ZSTD_inBuffer in = { bytes.ptr, bytes.len, 0 };
    size_t left = 1; /* 0 = a frame is complete */
    char spare;

    for (;;) {
        size_t room = MIN(DECODE_STEP, out->max - out->len), before = in.pos;
        char *at = room ? buf_reserve(out, room) : &spare;
        if (!at)
            return err_nomem(e);
        ZSTD_outBuffer piece = { at, room ? room : 1, 0 };
        left = ZSTD_decompressStream(z, &piece, &in);
        if (ZSTD_isError(left))
            return damaged("zstd", e);
        if (!room && piece.pos)
            return too_large(out, e);
        if (room)
            buf_commit(out, piece.pos);
        if (left == 0 && in.pos == in.size)
            return OK;
        if (in.pos == before && piece.pos == 0)
            return damaged("zstd", e); /* cut off: no input left, no output made */
    }
}

static err_kind decode_zstd(str in, buf *out, err *e)
{
    ZSTD_DStream *z = ZSTD_createDStream();

    if (!z)
        return err_nomem(e);
    ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    err_kind kind = unzstd_all(z, in, out, e);
    ZSTD_freeDStream(z);
    return kind;
}

static err_kind decode_identity(str in, buf *out, err *e)
{
    if (in.len > out->max - out->len)
        return too_large(out, e);
    return buf_append(out, in) ? err_nomem(e) : OK;
}

static const struct {
    const char *name;
    err_kind (*decode)(str in, buf *out, err *e);
} codings[] = {
    { "", decode_identity },       { "identity", decode_identity }, { "gzip", decode_gzip }, { "x-gzip", decode_gzip },
    { "deflate", decode_deflate }, { "snappy", decode_snappy },     { "zstd", decode_zstd },
};

err_kind http_body_decoded_as(const http_request *req, str coding, buf *out, err *e)
{
    for (size_t i = 0; i < COUNT_OF(codings); i++)
        if (str_eq_nocase(coding, str_from(codings[i].name)))
            return codings[i].decode(req->body, out, e);
    err_set(e, ERR_UNSUPPORTED, "cannot read Content-Encoding \"%" STR_FMT "\"", (int)MIN(coding.len, 60u), coding.ptr);
    return err_hint(e, "Use gzip, deflate, snappy, zstd or none.");
}

err_kind http_body_decoded(const http_request *req, buf *out, err *e)
{
    return http_body_decoded_as(req, str_trim(http_header_get(req, "Content-Encoding")), out, e);
}
