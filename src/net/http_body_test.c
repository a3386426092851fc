/* Content-Encoding undone: whole, cut, damaged, and bombs. */
#include "net/net.h"
#include "base/test.h"

#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

static void pack_zlib(str text, int window_bits, buf *out)
{
    z_stream z = { .next_in = (unsigned char *)(uintptr_t)text.ptr, .avail_in = (uInt)text.len };
    CHECK_EQ(deflateInit2(&z, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, text.len);
    z.next_out = (unsigned char *)buf_reserve(out, room);
    z.avail_out = (uInt)room;
    CHECK_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
    buf_commit(out, room - z.avail_out);
    deflateEnd(&z);
}

static void pack_gzip(str text, buf *out) { pack_zlib(text, 31, out); }
static void pack_wrapped(str text, buf *out) { pack_zlib(text, 15, out); }
static void pack_raw(str text, buf *out) { pack_zlib(text, -15, out); }
static void pack_nothing(str text, buf *out) { buf_append(out, text); }

static void pack_snappy(str text, buf *out)
{
    size_t n = snappy_max_compressed_length(text.len);
    snappy_compress(text.ptr, text.len, buf_reserve(out, n), &n);
    buf_commit(out, n);
}

static void pack_zstd(str text, buf *out)
{
    size_t room = ZSTD_compressBound(text.len);
    buf_commit(out, ZSTD_compress(buf_reserve(out, room), room, text.ptr, text.len, 3));
}

static const struct {
    const char *coding;
    void (*pack)(str text, buf *out);
} codings[] = {
    { "gzip", pack_gzip },     { "X-Gzip", pack_gzip }, { "deflate", pack_wrapped },  { "deflate", pack_raw },
    { "snappy", pack_snappy }, { "zstd", pack_zstd },   { "identity", pack_nothing }, { "", pack_nothing },
};

static err_kind unpack(const char *coding, str body, buf *out, err *e)
{
    http_header field = { STR("content-encoding"), str_from(coding) };
    http_request req = { .headers = &field, .header_count = 1, .body = body };
    return http_body_decoded(&req, out, e);
}

TEST(http_body_decoded_gives_back_what_was_packed)
{
    AUTO(buf_done) buf text = BUF_INIT(1u << 20);
    for (int i = 0; i < 20000; i++)
        buf_printf(&text, "%d,", i * 7919 % 1000);
    for (size_t i = 0; i < COUNT_OF(codings); i++)
        for (size_t n = 0; n <= text.len; n = n ? text.len + (n == text.len) : 1) {
            AUTO(buf_done) buf packed = BUF_INIT(1u << 20);
            AUTO(buf_done) buf out = BUF_INIT(n); /* exactly enough is enough */
            err e = { 0 };
            codings[i].pack(str_sub(buf_str(&text), 0, n), &packed);
            CHECK_MSG(unpack(codings[i].coding, buf_str(&packed), &out, &e) == OK, "%s of %zu bytes: %s",
                      codings[i].coding, n, e.message);
            CHECK_MSG(out.len == n && (n == 0 || memcmp(out.ptr, text.ptr, n) == 0), "%s of %zu bytes differs",
                      codings[i].coding, n);
        }
}

TEST(http_body_decoded_ends_bombs_at_the_callers_limit)
{
    AUTO(buf_done) buf zeros = BUF_INIT(8u << 20);
    memset(buf_reserve(&zeros, 8u << 20), 0, 8u << 20);
    buf_commit(&zeros, 8u << 20);
    for (size_t i = 0; i < COUNT_OF(codings); i++)
        for (size_t max = 0; max <= 100000; max += 100000) {
            AUTO(buf_done) buf packed = BUF_INIT(16u << 20);
            AUTO(buf_done) buf out = BUF_INIT(max);
            err e = { 0 };
            codings[i].pack(buf_str(&zeros), &packed);
            CHECK_MSG(unpack(codings[i].coding, buf_str(&packed), &out, &e) == ERR_LIMIT, "%s: %s", codings[i].coding,
                      e.message);
            CHECK_CONTAINS(str_from(e.message), "more than");
            CHECK(out.cap <= 300000);
        }
}

TEST(http_body_decoded_refuses_what_is_cut_or_damaged)
{
    for (size_t i = 0; i < 6; i++) {
        AUTO(buf_done) buf packed = BUF_INIT(1u << 20);
        codings[i].pack(STR("a body that is not very long, but long enough, long enough, long enough"), &packed);
        for (size_t n = 0; n < packed.len; n++) {
            AUTO(buf_done) buf out = BUF_INIT(10000);
            err_kind kind = unpack(codings[i].coding, str_sub(buf_str(&packed), 0, n), &out, NULL);
            CHECK_MSG(kind == ERR_PARSE, "%s cut to %zu of %zu bytes is %s", codings[i].coding, n, packed.len,
                      err_kind_name(kind));
        }
        AUTO(buf_done) buf out = BUF_INIT(10000);
        buf_append(&packed, STR("more"));
        CHECK_EQ(unpack(codings[i].coding, buf_str(&packed), &out, NULL), ERR_PARSE);
        buf_reset(&out);
        CHECK_EQ(unpack(codings[i].coding, STR("\xff\xff\xff\xff\xff\xff\xff"), &out, NULL), ERR_PARSE);
    }
}

TEST(http_body_decoded_names_what_it_cannot_read)
{
    AUTO(buf_done) buf out = BUF_INIT(100);
    err e = { 0 };
    CHECK_EQ(unpack("br", STR("x"), &out, &e), ERR_UNSUPPORTED);
    CHECK_CONTAINS(str_from(e.message), "\"br\"");
    CHECK_CONTAINS(str_from(e.hint), "gzip");
    CHECK_EQ(unpack("gzip, gzip", STR("x"), &out, &e), ERR_UNSUPPORTED);
}

TEST(http_body_decoded_survives_any_failed_allocation)
{
    for (size_t i = 0; i < COUNT_OF(codings); i++) {
        AUTO(buf_done) buf packed = BUF_INIT(1u << 20);
        codings[i].pack(STR("a small body"), &packed);
        for (unsigned nth = 0;; nth++) {
            AUTO(buf_done) buf out = BUF_INIT(1000);
            fault_alloc(nth);
            err_kind kind = unpack(codings[i].coding, buf_str(&packed), &out, NULL);
            bool fired = fault_fired();
            CHECK_EQ(kind, fired ? ERR_NOMEM : OK);
            if (!fired)
                break;
        }
    }
}
