#include "base/str.h"
#include "base/base.h"
#include <stdlib.h>

int str_cmp(str a, str b)
{
    size_t n = MIN(a.len, b.len);
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

bool str_eq_nocase(str a, str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return false;
    return true;
}

bool str_starts(str s, str prefix) { return s.len >= prefix.len && str_eq(str_sub(s, 0, prefix.len), prefix); }
bool str_ends(str s, str suffix) { return s.len >= suffix.len && str_eq(str_skip(s, s.len - suffix.len), suffix); }

ptrdiff_t str_find(str s, str needle)
{
    if (needle.len == 0)
        return 0;
    const char *at = s.len ? memmem(s.ptr, s.len, needle.ptr, needle.len) : NULL;
    return at ? at - s.ptr : -1;
}

ptrdiff_t str_find_char(str s, char c)
{
    const char *at = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return at ? at - s.ptr : -1;
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

str str_trim(str s)
{
    while (s.len && is_space(s.ptr[0]))
        s = str_skip(s, 1);
    while (s.len && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

str str_sub(str s, size_t from, size_t len)
{
    from = MIN(from, s.len);
    return (str){ s.ptr ? s.ptr + from : NULL, MIN(len, s.len - from) };
}

str str_skip(str s, size_t n) { return str_sub(s, n, SIZE_MAX); }

bool str_split(str *rest, char sep, str *ret_part)
{
    if (!rest->ptr)
        return false;
    ptrdiff_t at = str_find_char(*rest, sep);
    if (at < 0) {
        *ret_part = *rest;
        *rest = STR_EMPTY;
        return true;
    }
    *ret_part = str_sub(*rest, 0, (size_t)at);
    *rest = (str){ rest->ptr + at + 1, rest->len - (size_t)at - 1 };
    return true;
}

/* Length of the valid UTF-8 sequence at the front (RFC 3629: no overlong forms, no surrogates), 0 if none. */
static size_t utf8_len(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80)
        return 1;
    size_t len = p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;
    if (!len || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xed && p[1] > 0x9f, beyond = p[0] == 0xf4 && p[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : len;
}

bool str_utf8_valid(str s)
{
    for (size_t i = 0; i < s.len;) {
        size_t n = utf8_len((const unsigned char *)s.ptr + i, s.len - i);
        if (!n)
            return false;
        i += n;
    }
    return true;
}

bool str_to_u64(str s, uint64_t *ret)
{
    if (s.len == 0)
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned char)s.ptr[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(v, UINT64_C(10), &v) || __builtin_add_overflow(v, (uint64_t)digit, &v))
            return false;
    }
    *ret = v;
    return true;
}

bool str_to_i64(str s, int64_t *ret)
{
    bool minus = s.len && s.ptr[0] == '-';
    if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+'))
        s = str_skip(s, 1);
    uint64_t v;
    if (!str_to_u64(s, &v) || v > (uint64_t)INT64_MAX + minus)
        return false;
    *ret = minus ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

void str_copy(char *out, size_t cap, str s)
{
    size_t n = MIN(s.len, cap - 1);
    while (n > 0 && n < s.len && ((unsigned char)s.ptr[n] & 0xc0) == 0x80)
        n--;
    if (n)
        memmove(out, s.ptr, n);
    out[n] = '\0';
}

#define DISTANCE_MAX_LEN 64

unsigned str_distance(str a, str b, unsigned limit)
{
    if (a.len > DISTANCE_MAX_LEN || b.len > DISTANCE_MAX_LEN)
        return limit + 1;
    unsigned row[3][DISTANCE_MAX_LEN + 1]; /* row i-2, i-1, i of the usual matrix, in turn */
    for (size_t j = 0; j <= b.len; j++)
        row[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a.len; i++) {
        unsigned *now = row[i % 3], *before = row[(i - 1) % 3], *two_before = row[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b.len; j++) {
            unsigned same = a.ptr[i - 1] == b.ptr[j - 1] ? 0 : 1;
            now[j] = MIN(MIN(before[j] + 1, now[j - 1] + 1), before[j - 1] + same);
            if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1])
                now[j] = MIN(now[j], two_before[j - 2] + 1);
        }
    }
    unsigned d = row[a.len % 3][b.len];
    return d > limit ? limit + 1 : d;
}
