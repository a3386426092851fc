/* net/http_request.c - reading a request: header fields, escapes, parameters. */
#include "net/http_exchange.h"

http_exchange *http_exchange_new(void)
{
    http_exchange *x = mem_zalloc(sizeof *x);

    if (!x)
        return NULL;
    x->arena = arena_init(HTTP_ARENA_MAX);
    x->body = (buf)BUF_INIT(HTTP_DEFAULT_MAX_BODY);
    x->req.arena = &x->arena;
    return x;
}

void http_exchange_free(http_exchange *x)
{
    if (!x)
        return;
    buf_done(&x->body);
    arena_done(&x->arena);
    mem_free(x);
}

void http_exchange_freep(http_exchange **x)
{
    http_exchange_free(*x);
    *x = NULL;
}

static const struct {
    const char *name;
    http_method method;
} methods[] = {
    { "GET", HTTP_GET },       { "HEAD", HTTP_HEAD },       { "POST", HTTP_POST },   { "PUT", HTTP_PUT },
    { "DELETE", HTTP_DELETE }, { "OPTIONS", HTTP_OPTIONS }, { "PATCH", HTTP_PATCH },
};

http_method http_method_parse(str name)
{
    for (size_t i = 0; i < COUNT_OF(methods); i++)
        if (str_is(name, methods[i].name))
            return methods[i].method;
    return 0;
}

str http_header_get(const http_request *req, const char *name)
{
    str wanted = str_from(name);

    for (size_t i = 0; i < req->header_count; i++)
        if (str_eq_nocase(req->headers[i].name, wanted))
            return req->headers[i].value;
    return STR_EMPTY;
}

/* A weight of zero, in any of its spellings: q=0, q=0.0, q=0.000. */
static bool weight_is_zero(str params)
{
    str param;

    while (str_split(&params, ';', &param)) {
        param = str_trim(param);
        if (param.len < 3 || (param.ptr[0] | 0x20) != 'q' || param.ptr[1] != '=')
            continue;
        for (size_t i = 2; i < param.len; i++)
            if (param.ptr[i] != '0' && param.ptr[i] != '.')
                return false;
        return true;
    }
    return false;
}

bool http_list_takes(str list, const char *token)
{
    bool any = false;
    str item;

    while (str_split(&list, ',', &item)) {
        str params = item, name = STR_EMPTY;
        str_split(&params, ';', &name);
        name = str_trim(name);
        if (str_eq_nocase(name, str_from(token)))
            return !weight_is_zero(params);
        if (str_is(name, "*"))
            any = !weight_is_zero(params);
    }
    return any;
}

err_kind http_unescape(arena *a, str text, bool query, bool strict, str *ret, err *e)
{
    char *out = arena_alloc(a, text.len + 1);
    size_t n = 0;

    if (!out)
        return err_nomem(e);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        int hi = -1, lo = -1;
        if (c == '%' && i + 2 < text.len) {
            hi = hex_digit(text.ptr[i + 1]);
            lo = hex_digit(text.ptr[i + 2]);
        }
        bool escape = hi >= 0 && lo >= 0;
        if (strict && c == '%' && (!escape || hi + lo == 0))
            return err_set(e, ERR_PARSE, "cannot read the path: %s", escape ? "it holds %00" : "broken %-escape");
        if (escape) {
            c = (char)(hi << 4 | lo);
            i += 2;
        } else if (query && c == '+') {
            c = ' ';
        }
        out[n++] = c;
    }
    *ret = str_of(out, n);
    return OK;
}

/* Walk "a=1&b=2" from *pos for the next pair named `name`; *pos ends behind it. Names are compared decoded. */
static bool form_next(http_request *req, str form, const char *name, size_t *pos, str *ret)
{
    str rest = str_skip(form, *pos), pair;

    while (*pos < form.len && str_split(&rest, '&', &pair)) {
        *pos += pair.len + 1;
        str value = pair, key = STR_EMPTY, decoded;
        str_split(&value, '=', &key);
        if (str_find_char(pair, '=') < 0)
            value = STR("");
        if (http_unescape(req->arena, key, true, false, &decoded, NULL))
            return false;
        if (str_is(decoded, name))
            return http_unescape(req->arena, value, true, false, ret, NULL) == OK;
    }
    return false;
}

static str form_of_body(const http_request *req)
{
    str type = http_header_get(req, "Content-Type"), name = STR_EMPTY;

    str_split(&type, ';', &name);
    return str_eq_nocase(str_trim(name), STR("application/x-www-form-urlencoded")) ? req->body : STR_EMPTY;
}

/* *pos counts through the query and then, behind one imaginary separator, through the body. */
bool http_param_each(http_request *req, const char *name, size_t *pos, str *ret)
{
    str body = form_of_body(req);
    size_t border = req->query.len + 1;

    if (*pos < border) {
        if (form_next(req, req->query, name, pos, ret)) {
            *pos = MIN(*pos, border);
            return true;
        }
        *pos = border;
    }
    size_t in_body = *pos - border;
    bool found = form_next(req, body, name, &in_body, ret);
    *pos = border + in_body;
    return found;
}

bool http_param(http_request *req, const char *name, str *ret)
{
    size_t pos = 0;
    return http_param_each(req, name, &pos, ret);
}
