/* Numbers as text, both ways, through <charconv> (cxx.cc). */
#include "base/str.h"
#include "base/cxx.h"
#include <math.h>
#include <stdlib.h>

/* Go's strconv.FormatFloat(v, 'f', -1, 64), which Prometheus uses, writes 1e300 with 301 digits; that fits no
 * fixed buffer. Prometheus's own API does exactly so, but values beyond 1e21 are then better read in the short
 * form, which every client parses. Below 1e-7 likewise. */
size_t num_format_double(char out[NUM_DOUBLE_MAX], double v)
{
    if (isnan(v))
        return memcpy(out, "NaN", 4), 3;
    if (isinf(v))
        return memcpy(out, v > 0 ? "+Inf" : "-Inf", 5), 4;
    double size = fabs(v);
    bool scientific = size != 0 && (size >= 1e21 || size < 1e-7);
    size_t n = cxx_format_double(out, NUM_DOUBLE_MAX - 1, v, scientific);
    if (!n)
        n = cxx_format_double(out, NUM_DOUBLE_MAX - 1, v, true);
    out[n] = '\0';
    return n;
}

/* Go's %g. The exponent is known from the short scientific form: d.ddde+XX. */
size_t num_format_general(char out[NUM_DOUBLE_MAX], double v)
{
    size_t n = isfinite(v) ? cxx_format_double(out, NUM_DOUBLE_MAX - 1, v, true) : 0;
    out[n] = '\0';
    const char *e = n ? strchr(out, 'e') : NULL;
    int exponent = e ? atoi(e + 1) : 0;
    return e && (exponent < -4 || exponent >= 6) ? n : num_format_double(out, v);
}

bool str_to_double(str s, double *ret)
{
    str unsigned_part = s.len && (s.ptr[0] == '+' || s.ptr[0] == '-') ? str_skip(s, 1) : s;
    bool minus = s.len && s.ptr[0] == '-';
    if (str_eq_nocase(unsigned_part, STR("inf")) || str_eq_nocase(unsigned_part, STR("infinity")))
        return *ret = minus ? -INFINITY : INFINITY, true;
    if (str_eq_nocase(unsigned_part, STR("nan")))
        return *ret = NAN, true;
    /* from_chars also takes "inf(...)" spellings and "nan(…)": only digits and points may start a number here. */
    if (unsigned_part.len == 0 || !((unsigned_part.ptr[0] >= '0' && unsigned_part.ptr[0] <= '9') || unsigned_part.ptr[0] == '.'))
        return false;
    double v;
    if (!cxx_parse_double(unsigned_part.ptr, unsigned_part.len, &v))
        return false;
    return *ret = minus ? -v : v, true;
}
