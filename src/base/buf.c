#include "base/buf.h"
#include "base/base.h"
#include <stdio.h>

void buf_done(buf *b)
{
    mem_free(b->ptr);
    b->ptr = NULL;
    b->len = b->cap = 0;
}

static void pad(buf *b)
{
    if (b->ptr)
        memset(b->ptr + b->len, 0, BUF_PADDING);
}

void buf_reset(buf *b)
{
    b->len = 0;
    b->failed = OK;
    pad(b);
}

char *buf_reserve(buf *b, size_t n)
{
    if (b->failed)
        return NULL;
    if (n > b->max || b->len > b->max - n)
        return b->failed = ERR_LIMIT, NULL;
    size_t need = b->len + n + BUF_PADDING;
    if (need > b->cap) {
        size_t want = MAX(need, MIN(b->cap * 2, b->max + BUF_PADDING));
        want = MAX(want, 128);
        char *bigger = mem_realloc(b->ptr, want);
        if (!bigger)
            return b->failed = ERR_NOMEM, NULL;
        b->ptr = bigger;
        b->cap = want;
    }
    return b->ptr + b->len;
}

void buf_commit(buf *b, size_t n)
{
    assert(b->len + n + BUF_PADDING <= b->cap);
    b->len += n;
    pad(b);
}

err_kind buf_append_bytes(buf *b, const void *bytes, size_t n)
{
    char *room = buf_reserve(b, n);
    if (!room)
        return b->failed;
    if (n)
        memcpy(room, bytes, n);
    buf_commit(b, n);
    return OK;
}

err_kind buf_append(buf *b, str s) { return buf_append_bytes(b, s.ptr, s.len); }
err_kind buf_append_char(buf *b, char c) { return buf_append_bytes(b, &c, 1); }

err_kind buf_vprintf(buf *b, const char *fmt, va_list args)
{
    char small[256];
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, fmt, args);
    if (n >= 0 && (size_t)n < sizeof small) {
        buf_append_bytes(b, small, (size_t)n);
    } else if (n >= 0) {
        char *room = buf_reserve(b, (size_t)n + 1);
        if (room) {
            vsnprintf(room, (size_t)n + 1, fmt, again);
            buf_commit(b, (size_t)n);
        }
    }
    va_end(again);
    return b->failed;
}

err_kind buf_printf(buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    buf_vprintf(b, fmt, args);
    va_end(args);
    return b->failed;
}

err_kind buf_append_double(buf *b, double v)
{
    char text[NUM_DOUBLE_MAX];
    return buf_append_bytes(b, text, num_format_double(text, v));
}

err_kind buf_append_u64(buf *b, uint64_t v)
{
    char text[20], *p = text + sizeof text;
    do
        *--p = (char)('0' + v % 10);
    while (v /= 10);
    return buf_append_bytes(b, p, (size_t)(text + sizeof text - p));
}

err_kind buf_append_i64(buf *b, int64_t v)
{
    if (v >= 0)
        return buf_append_u64(b, (uint64_t)v);
    buf_append_char(b, '-');
    return buf_append_u64(b, 0 - (uint64_t)v);
}

void buf_consume(buf *b, size_t n)
{
    assert(n <= b->len);
    if (n == 0)
        return;
    memmove(b->ptr, b->ptr + n, b->len - n);
    b->len -= n;
    pad(b);
}

void buf_truncate(buf *b, size_t len)
{
    assert(len <= b->len);
    b->len = len;
    pad(b);
}

const char *buf_cstr(buf *b) { return b->ptr ? b->ptr : ""; }

char *buf_take(buf *b, size_t *ret_len)
{
    if (ret_len)
        *ret_len = b->len;
    b->len = b->cap = 0;
    return TAKE(b->ptr);
}
