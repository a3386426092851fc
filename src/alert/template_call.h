/* alert/template_call.h - what the functions of templates share: taking arguments, giving results.
 *
 * Errors are ERR_EXEC with a sentence in c->e (the caller adds the function's name), ERR_NOMEM or ERR_LIMIT. */
#pragma once
#include "alert/template.h"

err_kind template_need_str(const template_call *c, size_t i, str *ret);
/* Prometheus's ConvertToFloat: numbers, and strings that are numbers. */
err_kind template_need_float(const template_call *c, size_t i, double *ret);
err_kind template_give_str(template_value *ret, str s);
err_kind template_give_float(template_value *ret, double v);
err_kind template_give_bool(template_value *ret, bool b);
/* The buffer's text, copied into the call's arena. */
err_kind template_give_buf(const template_call *c, template_value *ret, const buf *b);
err_kind template_give_printf(const template_call *c, template_value *ret, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* What could not be written into a helper buffer is missing in `out`, too. */
void template_pass_failure(const buf *from, buf *out);

/* template_humanize.c */
err_kind template_humanize(const template_call *c, template_value *ret);
err_kind template_humanize1024(const template_call *c, template_value *ret);
err_kind template_humanize_duration(const template_call *c, template_value *ret);
err_kind template_humanize_percentage(const template_call *c, template_value *ret);
err_kind template_humanize_timestamp(const template_call *c, template_value *ret);
/* template_printf.c */
err_kind template_printf(const template_call *c, template_value *ret);
