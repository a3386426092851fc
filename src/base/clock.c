#include "base/clock.h"
#include "base/base.h"
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static atomic_bool faked;
static _Atomic int64_t fake_wall_ms, fake_mono_ns;

static int64_t read_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t clock_now_ms(void) { return faked ? fake_wall_ms : read_ns(CLOCK_REALTIME) / NS_PER_MS; }
int64_t clock_mono_ns(void) { return faked ? fake_mono_ns : read_ns(CLOCK_MONOTONIC); }

void clock_fake(int64_t now_ms)
{
    fake_wall_ms = now_ms;
    fake_mono_ns = 0;
    faked = true;
}

void clock_advance(int64_t ms)
{
    fake_wall_ms += ms;
    fake_mono_ns += ms * NS_PER_MS;
}

void clock_real(void) { faked = false; }

size_t clock_format_iso(char out[CLOCK_ISO_MAX], int64_t unix_ms)
{
    int64_t s = unix_ms / 1000, ms = unix_ms % 1000;
    if (ms < 0)
        ms += 1000, s--;
    time_t t = (time_t)s;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || tm.tm_year > 9999 - 1900 || tm.tm_year < -1900)
        return (size_t)snprintf(out, CLOCK_ISO_MAX, "invalid-time");
    return (size_t)snprintf(out, CLOCK_ISO_MAX, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
                            tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)ms);
}

/* n digits off the front of *s. */
static bool take_digits(str *s, size_t n, int *ret)
{
    uint64_t v;
    if (s->len < n || !str_to_u64(str_sub(*s, 0, n), &v))
        return false;
    *ret = (int)v;
    *s = str_skip(*s, n);
    return true;
}

static bool take_char(str *s, const char *any_of)
{
    if (s->len == 0 || !strchr(any_of, s->ptr[0]))
        return false;
    *s = str_skip(*s, 1);
    return true;
}

/* ".123456" → 123 ms; absent → 0. */
static bool take_fraction_ms(str *s, int *ret_ms)
{
    *ret_ms = 0;
    if (!take_char(s, "."))
        return true;
    int scale = 100;
    size_t digits = 0;
    for (; s->len && s->ptr[0] >= '0' && s->ptr[0] <= '9'; digits++, scale /= 10) {
        *ret_ms += (s->ptr[0] - '0') * scale;
        *s = str_skip(*s, 1);
    }
    return digits > 0;
}

static bool take_offset_s(str *s, int *ret)
{
    if (take_char(s, "Zz"))
        return *ret = 0, true;
    int sign = s->len && s->ptr[0] == '-' ? -1 : 1, h, m;
    if (!take_char(s, "+-") || !take_digits(s, 2, &h) || !take_char(s, ":") || !take_digits(s, 2, &m) || h > 23 || m > 59)
        return false;
    return *ret = sign * (h * 3600 + m * 60), true;
}

bool clock_parse_iso(str s, int64_t *ret_ms)
{
    struct tm tm = { 0 };
    int ms, offset;
    bool ok = take_digits(&s, 4, &tm.tm_year) && take_char(&s, "-") && take_digits(&s, 2, &tm.tm_mon) && take_char(&s, "-") &&
              take_digits(&s, 2, &tm.tm_mday) && take_char(&s, "Tt ") && take_digits(&s, 2, &tm.tm_hour) &&
              take_char(&s, ":") && take_digits(&s, 2, &tm.tm_min) && take_char(&s, ":") && take_digits(&s, 2, &tm.tm_sec) &&
              take_fraction_ms(&s, &ms) && take_offset_s(&s, &offset) && s.len == 0;
    static const int month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    if (!ok || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    bool leap = (tm.tm_year % 4 == 0 && tm.tm_year % 100 != 0) || tm.tm_year % 400 == 0;
    if (tm.tm_mday < 1 || tm.tm_mday > month_days[tm.tm_mon - 1] + (leap && tm.tm_mon == 2))
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret_ms = ((int64_t)timegm(&tm) - offset) * 1000 + ms;
    return true;
}

static const struct { const char *unit; int64_t ms; } units[] = { /* in the order they may be written */
    { "y", INT64_C(365) * 86400000 }, { "w", INT64_C(7) * 86400000 }, { "d", 86400000 }, { "h", 3600000 },
    { "m", 60000 }, { "s", 1000 }, { "ms", 1 },
};

static size_t unit_at(str s)
{
    size_t letters = 0;
    while (letters < s.len && s.ptr[letters] >= 'a' && s.ptr[letters] <= 'z')
        letters++;
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (str_is(str_sub(s, 0, letters), units[i].unit))
            return i;
    return COUNT_OF(units);
}

bool clock_parse_duration(str s, int64_t *ret_ms)
{
    if (str_is(s, "0"))
        return *ret_ms = 0, true;
    int64_t total = 0;
    size_t next_unit = 0;
    if (s.len == 0)
        return false;
    while (s.len) {
        size_t digits = 0;
        while (digits < s.len && s.ptr[digits] >= '0' && s.ptr[digits] <= '9')
            digits++;
        int64_t n, part;
        if (!digits || !str_to_i64(str_sub(s, 0, digits), &n))
            return false;
        s = str_skip(s, digits);
        size_t u = unit_at(s);
        if (u == COUNT_OF(units) || u < next_unit || __builtin_mul_overflow(n, units[u].ms, &part) ||
            __builtin_add_overflow(total, part, &total))
            return false;
        s = str_skip(s, strlen(units[u].unit));
        next_unit = u + 1;
    }
    return *ret_ms = total, true;
}

/* Prometheus never spells weeks or years unless they come out even; so do we. */
size_t clock_format_duration(char out[CLOCK_ISO_MAX], int64_t ms)
{
    if (ms == 0)
        return (size_t)snprintf(out, CLOCK_ISO_MAX, "0s");
    size_t n = 0;
    if (ms < 0) {
        out[n++] = '-';
        ms = ms == INT64_MIN ? INT64_MAX : -ms;
    }
    for (size_t i = 0; i < COUNT_OF(units) && ms > 0; i++) {
        bool exact_only = i < 2;
        int64_t count = ms / units[i].ms;
        if (count == 0 || (exact_only && ms % units[i].ms != 0))
            continue;
        n += (size_t)snprintf(out + n, CLOCK_ISO_MAX - n, "%" PRId64 "%s", count, units[i].unit);
        if (n >= CLOCK_ISO_MAX)
            return CLOCK_ISO_MAX - 1;
        ms %= units[i].ms;
    }
    return n;
}
