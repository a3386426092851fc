/* net/http_cors.c - which pages of other sites may read an answer: https://fetch.spec.whatwg.org/#http-cors-protocol.
 *
 * Only routes that say so (HTTP_ROUTE_CORS) take part, and what they say is what Prometheus says. No cookie and no
 * login is ever involved, so "*" gives a page nothing that the person in front of it could not read without galen's
 * knowing them. docs/decisions/0006. */
#include "net/http_exchange.h"

#include "base/regex.h"

err_kind http_cors_set(http_router *r, const char *pattern, err *e)
{
    r->cors_any = strcmp(pattern, ".*") == 0;
    return regex_compile(str_from(pattern), true, &r->cors, e) ? err_context(e, "cannot take \"%s\" as a pattern of origins", pattern) : OK;
}

str http_cors_answer(const http_router *r, str origin)
{
    if (!origin.ptr || !r->cors)
        return STR_EMPTY;
    if (r->cors_any)
        return STR("*");
    return regex_match(r->cors, origin) ? origin : STR_EMPTY;
}

/* The fields of one reply, as Prometheus's util/httputil/cors.go sets them. */
size_t http_cors_fields(str allowed, http_header out[HTTP_CORS_FIELDS])
{
    static const http_header fixed[] = {
        { STR_INIT("Access-Control-Allow-Headers"), STR_INIT("Accept, Authorization, Content-Type, Origin") },
        { STR_INIT("Access-Control-Allow-Methods"), STR_INIT("GET, POST, OPTIONS") },
        { STR_INIT("Access-Control-Expose-Headers"), STR_INIT("Date") },
        { STR_INIT("Vary"), STR_INIT("Origin") },
    };
    if (str_empty(allowed))
        return 0;
    for (size_t i = 0; i < COUNT_OF(fixed); i++)
        out[i] = fixed[i];
    out[COUNT_OF(fixed)] = (http_header){ STR("Access-Control-Allow-Origin"), allowed };
    return HTTP_CORS_FIELDS;
}
