/* alert/template_humanize.c - numbers as people read them, digit for digit as Prometheus writes them.
 *
 * Source: Prometheus's util/common_templates (HumanizeDuration, HumanizeTimestamp) and template/template.go. */
#include "alert/template_call.h"

#include <math.h>
#include <stdio.h>

/* Go's %.4g: as C's but for the names of what is no number. */
static const char *four_digits(double v, char out[48])
{
    if (isnan(v))
        return "NaN";
    if (isinf(v))
        return v > 0 ? "+Inf" : "-Inf";
    snprintf(out, 48, "%.4g", v);
    return out;
}

err_kind template_humanize(const template_call *c, template_value *ret)
{
    static const char *const large[] = { "", "k", "M", "G", "T", "P", "E", "Z", "Y" };
    static const char *const small[] = { "", "m", "u", "n", "p", "f", "a", "z", "y" };
    char text[48];
    double v;
    size_t i = 0;
    if (template_need_float(c, 0, &v))
        return ERR_EXEC;
    if (v == 0 || !isfinite(v))
        return template_give_printf(c, ret, "%s", four_digits(v, text));
    if (fabs(v) >= 1) {
        for (; i + 1 < COUNT_OF(large) && fabs(v) >= 1000; i++)
            v /= 1000;
        return template_give_printf(c, ret, "%s%s", four_digits(v, text), large[i]);
    }
    for (; i + 1 < COUNT_OF(small) && fabs(v) < 1; i++)
        v *= 1000;
    return template_give_printf(c, ret, "%s%s", four_digits(v, text), small[i]);
}

err_kind template_humanize1024(const template_call *c, template_value *ret)
{
    static const char *const prefixes[] = { "", "ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi" };
    char text[48];
    double v;
    size_t i = 0;
    if (template_need_float(c, 0, &v))
        return ERR_EXEC;
    for (; isfinite(v) && i + 1 < COUNT_OF(prefixes) && fabs(v) >= 1024; i++)
        v /= 1024;
    return template_give_printf(c, ret, "%s%s", four_digits(v, text), prefixes[i]);
}

static err_kind humanize_long(const template_call *c, template_value *ret, double v)
{
    char text[48];
    const char *sign = v < 0 ? "-" : "";
    v = fabs(v);
    if (v >= 9e18) /* beyond int64 seconds; Go's result there depends on the machine */
        return template_give_printf(c, ret, "%s%ss", sign, four_digits(v, text));
    int64_t all = (int64_t)v, s = all % 60, m = all / 60 % 60, h = all / 3600 % 24, d = all / 86400;
    if (d)
        return template_give_printf(c, ret, "%s%" PRId64 "d %" PRId64 "h %" PRId64 "m %" PRId64 "s", sign, d, h, m, s);
    if (h)
        return template_give_printf(c, ret, "%s%" PRId64 "h %" PRId64 "m %" PRId64 "s", sign, h, m, s);
    if (m)
        return template_give_printf(c, ret, "%s%" PRId64 "m %" PRId64 "s", sign, m, s);
    return template_give_printf(c, ret, "%s%ss", sign, four_digits(v, text)); /* under a minute the fraction matters */
}

err_kind template_humanize_duration(const template_call *c, template_value *ret)
{
    static const char *const small[] = { "", "m", "u", "n", "p", "f", "a", "z", "y" };
    char text[48];
    double v;
    size_t i = 0;
    if (template_need_float(c, 0, &v))
        return ERR_EXEC;
    if (!isfinite(v))
        return template_give_printf(c, ret, "%s", four_digits(v, text));
    if (v == 0)
        return template_give_str(ret, STR("0s"));
    if (fabs(v) >= 1)
        return humanize_long(c, ret, v);
    for (; i + 1 < COUNT_OF(small) && fabs(v) < 1; i++)
        v *= 1000;
    return template_give_printf(c, ret, "%s%ss", four_digits(v, text), small[i]);
}

err_kind template_humanize_percentage(const template_call *c, template_value *ret)
{
    char text[48];
    double v;
    if (template_need_float(c, 0, &v))
        return ERR_EXEC;
    return template_give_printf(c, ret, "%s%%", four_digits(v * 100, text));
}

/* time.Time's default text, "2006-01-02 15:04:05.999 +0000 UTC"; to the millisecond. */
err_kind template_humanize_timestamp(const template_call *c, template_value *ret)
{
    char text[CLOCK_ISO_MAX], fraction[8] = "";
    double v;
    if (template_need_float(c, 0, &v))
        return ERR_EXEC;
    if (!isfinite(v) || fabs(v) > 2e11)
        return template_give_printf(c, ret, "%s", four_digits(v, (char[48]){ 0 }));
    clock_format_iso(text, (int64_t)llround(v * 1000)); /* 2026-11-21T08:15:30.123Z */
    size_t end = 4; /* ".123" without its zeros at the end */
    while (end > 1 && text[19 + end - 1] == '0')
        end--;
    if (end > 1)
        memcpy(fraction, text + 19, end);
    return template_give_printf(c, ret, "%.10s %.8s%s +0000 UTC", text, text + 11, fraction);
}
