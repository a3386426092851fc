/* alert/template_call.c - arguments in, results out. */
#include "alert/template_call.h"

#include <stdarg.h>

err_kind template_give_str(template_value *ret, str s)
{
    *ret = (template_value){ .type = TEMPLATE_STR, .s = s };
    return OK;
}

err_kind template_give_float(template_value *ret, double v)
{
    *ret = (template_value){ .type = TEMPLATE_FLOAT, .f = v };
    return OK;
}

err_kind template_give_bool(template_value *ret, bool b)
{
    *ret = (template_value){ .type = TEMPLATE_BOOL, .b = b };
    return OK;
}

/* What could not be written into a helper buffer is missing in `out`, too. */
void template_pass_failure(const buf *from, buf *out)
{
    if (buf_failed(from) && !buf_failed(out))
        out->failed = from->failed;
}

/* The buffer's text, copied into the call's arena. */
err_kind template_give_buf(const template_call *c, template_value *ret, const buf *b)
{
    str copy = arena_str(c->arena, buf_str(b));
    if (buf_failed(b))
        return b->failed == ERR_NOMEM ? err_nomem(c->e) : err_set(c->e, ERR_LIMIT, "a template function writes more than %zu bytes", b->max);
    return copy.ptr ? template_give_str(ret, copy) : err_set(c->e, ERR_LIMIT, "template takes too much memory");
}

err_kind template_give_printf(const template_call *c, template_value *ret, const char *fmt, ...)
{
    AUTO(buf_done) buf b = BUF_INIT(TEMPLATE_MAX_OUTPUT);
    va_list args;
    va_start(args, fmt);
    buf_vprintf(&b, fmt, args);
    va_end(args);
    return template_give_buf(c, ret, &b);
}

err_kind template_need_str(const template_call *c, size_t i, str *ret)
{
    if (c->args[i].type != TEMPLATE_STR)
        return err_set(c->e, ERR_EXEC, "argument %zu is not a string", i + 1);
    *ret = c->args[i].s;
    return OK;
}

/* Prometheus's ConvertToFloat: numbers, and strings that are numbers. */
err_kind template_need_float(const template_call *c, size_t i, double *ret)
{
    const template_value *v = &c->args[i];
    if (v->type == TEMPLATE_FLOAT)
        return *ret = v->f, OK;
    if (v->type == TEMPLATE_INT)
        return *ret = (double)v->i, OK;
    if (v->type == TEMPLATE_STR && str_to_double(v->s, ret))
        return OK;
    if (v->type == TEMPLATE_STR)
        return err_set(c->e, ERR_EXEC, "\"%" STR_FMT "\" is not a number", STR_ARG(v->s));
    return err_set(c->e, ERR_EXEC, "can't convert argument %zu to float", i + 1);
}
