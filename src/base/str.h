/* base/str.h - a view of text: pointer and length, by value, never owning, not NUL-terminated. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct str {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;
} str;

/* STR("literal") as an expression; STR_INIT as a static initialiser. printf("%" STR_FMT, STR_ARG(s)). */
#define STR(literal) ((str){ "" literal, sizeof(literal) - 1 })
#define STR_INIT(literal) { "" literal, sizeof(literal) - 1 }
#define STR_FMT ".*s"
#define STR_ARG(s) (int)(s).len, (s).ptr ? (s).ptr : ""
#define STR_EMPTY ((str){ NULL, 0 })

static inline str str_of(const char *ptr, size_t len) { return (str){ ptr, len }; }
static inline str str_from(const char *cstr) { return (str){ cstr, cstr ? strlen(cstr) : 0 }; }
static inline bool str_empty(str s) { return s.len == 0; }
static inline bool str_eq(str a, str b) { return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0); }
static inline bool str_is(str a, const char *cstr) { return str_eq(a, str_from(cstr)); }

int str_cmp(str a, str b);                     /* bytewise, shorter first: the order labels are kept in */
bool str_eq_nocase(str a, str b);              /* ASCII */
bool str_starts(str s, str prefix);
bool str_ends(str s, str suffix);
ptrdiff_t str_find(str s, str needle);         /* offset or -1 */
ptrdiff_t str_find_char(str s, char c);        /* offset or -1 */
str str_trim(str s);                           /* ASCII white space on both sides */
str str_sub(str s, size_t from, size_t len);   /* clamped to s */
str str_skip(str s, size_t n);                 /* without the first n bytes, clamped */

/* Take the part before the first `sep` off the front of *rest (all of it if there is none). False when
 * *rest was already used up: while (str_split(&rest, ',', &part)) …; "a,,b" gives "a", "", "b". */
bool str_split(str *rest, char sep, str *ret_part);

bool str_utf8_valid(str s);
bool str_to_i64(str s, int64_t *ret);          /* decimal, optional sign, nothing else; false on overflow */
bool str_to_u64(str s, uint64_t *ret);
bool str_to_double(str s, double *ret);        /* correctly rounded; also Inf, +Inf, -Inf, NaN, any case; hex floats not */

/* Copy into `out` of `cap` bytes, NUL-terminated, cut at a UTF-8 boundary if it does not fit. */
void str_copy(char *out, size_t cap, str s);

/* Edit distance (Damerau-Levenshtein, optimal string alignment), at most `limit`+1: for "did you mean". */
unsigned str_distance(str a, str b, unsigned limit);

/* The value of a hexadecimal digit, -1 if `c` is none. */
static inline int hex_digit(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

#define NUM_DOUBLE_MAX 32
/* Shortest text that reads back as the same double, the way Prometheus prints values: "1", "0.1",
 * "1e+21", "+Inf", "-Inf", "NaN" (Go's strconv 'f' with -1 precision, and 'e' beyond 21 digits as Go's
 * %v does is up to the caller: see num_format_go). Returns the length; NUL-terminated. */
size_t num_format_double(char out[NUM_DOUBLE_MAX], double v);
/* The same with an exponent already below 1e-4 and from 1e6 on, as Go's %g. */
size_t num_format_general(char out[NUM_DOUBLE_MAX], double v);
