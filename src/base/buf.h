/* base/buf.h - growing text or bytes, born with their maximum.
 *
 * Appending past `max` or without memory sets a sticky failure instead of growing: write a whole document
 * and look at buf_failed() once at the end. The bytes always have 64 zero bytes of padding behind them
 * (simdjson reads ahead) once anything was appended, so buf_cstr() is free. */
#pragma once
#include "base/err.h"
#include "base/str.h"
#include <stdarg.h>

typedef struct buf {
    char *ptr;
    size_t len, cap, max;
    err_kind failed; /* OK, ERR_NOMEM or ERR_LIMIT */
} buf;

#define BUF_PADDING 64
#define BUF_INIT(max_bytes) { .max = (max_bytes) }

void buf_done(buf *b);
void buf_reset(buf *b);                       /* empty, keeps the memory, clears the failure */
err_kind buf_append(buf *b, str s);           /* each returns b->failed */
err_kind buf_append_bytes(buf *b, const void *bytes, size_t n);
err_kind buf_append_char(buf *b, char c);
err_kind buf_printf(buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
err_kind buf_vprintf(buf *b, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
err_kind buf_append_double(buf *b, double v); /* num_format_double */
err_kind buf_append_i64(buf *b, int64_t v);
err_kind buf_append_u64(buf *b, uint64_t v);
char *buf_reserve(buf *b, size_t n);          /* room for n more bytes, NULL if not to be had; then buf_commit */
void buf_commit(buf *b, size_t n);            /* n <= what was reserved */
void buf_consume(buf *b, size_t n);           /* drop n bytes from the front */
void buf_truncate(buf *b, size_t len);        /* drop bytes from the end */
const char *buf_cstr(buf *b);                 /* NUL-terminated; "" if empty */
char *buf_take(buf *b, size_t *ret_len);      /* the callee now owns the memory (mem_free); b is empty */
static inline str buf_str(const buf *b) { return (str){ b->ptr, b->len }; }
static inline bool buf_failed(const buf *b) { return b->failed != OK; }
