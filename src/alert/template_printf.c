/* alert/template_printf.c - Go's fmt verbs over the values templates know.
 *
 * Source: https://pkg.go.dev/fmt. Checked against promtool's unit tests for the rows of template_test.c. */
#include "alert/template_call.h"

#include <math.h>
#include <stdio.h>

typedef struct verb { char flags[8]; int width, precision; char letter; } verb;

/* "%-8.2f" from behind the percent sign; *fmt moves on. False: cut off or too wide to be meant. */
static bool take_verb(str *fmt, verb *v)
{
    size_t n = 0;
    *v = (verb){ .width = -1, .precision = -1 };
    for (; fmt->len && n + 1 < sizeof v->flags && strchr("+-# 0", fmt->ptr[0]); *fmt = str_skip(*fmt, 1))
        v->flags[n++] = fmt->ptr[0];
    for (; fmt->len && fmt->ptr[0] >= '0' && fmt->ptr[0] <= '9' && v->width < 1000; *fmt = str_skip(*fmt, 1))
        v->width = MAX(v->width, 0) * 10 + fmt->ptr[0] - '0';
    if (fmt->len && fmt->ptr[0] == '.')
        for (*fmt = str_skip(*fmt, 1), v->precision = 0; fmt->len && fmt->ptr[0] >= '0' && fmt->ptr[0] <= '9' && v->precision < 1000; *fmt = str_skip(*fmt, 1))
            v->precision = v->precision * 10 + fmt->ptr[0] - '0';
    if (fmt->len == 0 || v->width >= 1000 || v->precision >= 1000)
        return false;
    v->letter = fmt->ptr[0];
    *fmt = str_skip(*fmt, 1);
    return true;
}

static void put_padded(const verb *v, str text, buf *out)
{
    size_t width = v->width > 0 ? (size_t)v->width : 0, columns = 0;
    for (size_t i = 0; i < text.len; i++)
        columns += ((unsigned char)text.ptr[i] & 0xc0) != 0x80; /* Go counts characters, not bytes */
    bool left = strchr(v->flags, '-');
    for (size_t i = columns; !left && i < width; i++)
        buf_append_char(out, ' ');
    buf_append(out, text);
    for (size_t i = columns; left && i < width; i++)
        buf_append_char(out, ' ');
}

/* One number through C's printf, whose verbs and flags mean the same as Go's here. */
static void put_number(const verb *v, const template_value *arg, buf *out)
{
    char fmt[64], text[1400], width[12] = "", precision[12] = "", letter = v->letter;
    bool is_int = strchr("dxXo", letter);
    if (v->width >= 0)
        snprintf(width, sizeof width, "%d", v->width);
    if (v->precision >= 0)
        snprintf(precision, sizeof precision, ".%d", v->precision);
    /* PRId64 is "ld": the verb takes the place of its d. */
    snprintf(fmt, sizeof fmt, "%%%s%s%s%.*s%c", v->flags, width, precision, is_int ? (int)strlen(PRId64) - 1 : 0, PRId64, letter);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int n = is_int ? snprintf(text, sizeof text, fmt, arg->i) : snprintf(text, sizeof text, fmt, arg->f);
#pragma GCC diagnostic pop
    buf_append(out, n > 0 ? str_of(text, MIN((size_t)n, sizeof text - 1)) : STR_EMPTY);
}

static const char *go_type(const template_value *v)
{
    static const char *const names[] = { "<nil>", "bool", "int", "float64", "string", "map[string]string", "*template.sample", "template.queryResult", "struct" };
    return names[v->type];
}

static void put_quoted(str s, buf *out)
{
    buf_append_char(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '"' || s.ptr[i] == '\\')
            buf_printf(out, "\\%c", s.ptr[i]);
        else if (s.ptr[i] == '\n')
            buf_append(out, STR("\\n"));
        else
            buf_append_char(out, s.ptr[i]);
    }
    buf_append_char(out, '"');
}

static void put_verb(const verb *v, const template_value *arg, buf *out)
{
    AUTO(buf_done) buf text = BUF_INIT(TEMPLATE_MAX_OUTPUT);
    bool finite = arg->type != TEMPLATE_FLOAT || isfinite(arg->f);
    if ((strchr("eEfFgG", v->letter) && arg->type == TEMPLATE_FLOAT && finite && (v->precision >= 0 || !strchr("gG", v->letter))) ||
        (strchr("dxXo", v->letter) && arg->type == TEMPLATE_INT)) {
        put_number(v, arg, out);
        return;
    }
    if (v->letter == 'v' || (v->letter == 's' && arg->type == TEMPLATE_STR) || (v->letter == 't' && arg->type == TEMPLATE_BOOL) ||
        (strchr("eEfFgG", v->letter) && arg->type == TEMPLATE_FLOAT))
        template_put(arg, &text);
    else if (v->letter == 'q' && arg->type == TEMPLATE_STR)
        put_quoted(arg->s, &text);
    else { /* Go's way to say so: %!d(string=abc) */
        buf_printf(&text, "%%!%c(%s=", v->letter, go_type(arg));
        template_put(arg, &text);
        buf_append_char(&text, ')');
    }
    str s = buf_str(&text);
    if (v->letter == 's' && v->precision >= 0 && (size_t)v->precision < s.len)
        s.len = (size_t)v->precision;
    put_padded(v, s, out);
    template_pass_failure(&text, out);
}

err_kind template_printf(const template_call *c, template_value *ret)
{
    AUTO(buf_done) buf b = BUF_INIT(TEMPLATE_MAX_OUTPUT);
    str fmt;
    size_t arg = 1;
    verb v;
    if (template_need_str(c, 0, &fmt))
        return ERR_EXEC;
    while (fmt.len) {
        ptrdiff_t percent = str_find_char(fmt, '%');
        buf_append(&b, percent < 0 ? fmt : str_sub(fmt, 0, (size_t)percent));
        if (percent < 0)
            break;
        fmt = str_skip(fmt, (size_t)percent + 1);
        if (!take_verb(&fmt, &v))
            return err_set(c->e, ERR_EXEC, "the format ends inside a verb, or is wider than 1000");
        if (v.letter == '%')
            buf_append_char(&b, '%');
        else if (arg >= c->n)
            buf_printf(&b, "%%!%c(MISSING)", v.letter);
        else
            put_verb(&v, &c->args[arg++], &b);
    }
    for (size_t i = arg; i < c->n; i++) { /* Go: %!(EXTRA int=2, string=x) */
        buf_printf(&b, "%s%s=", i == arg ? "%!(EXTRA " : ", ", go_type(&c->args[i]));
        template_put(&c->args[i], &b);
    }
    if (arg < c->n)
        buf_append_char(&b, ')');
    return template_give_buf(c, ret, &b);
}
