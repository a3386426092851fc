#include "face/page.h"
#include "face/negotiate.h"
#include <stdio.h>

static void put(page_answer *p, str name, str value)
{
    assert(p->header_count < PAGE_HEADERS_MAX);
    p->headers[p->header_count++] = (http_header){ name, value };
}

static asset_bytes best_form(const asset *a, str accept_encoding, str *ret_coding)
{
    if (a->br.len && negotiate_takes(accept_encoding, *ret_coding = STR("br")))
        return a->br;
    if (a->gzip.len && negotiate_takes(accept_encoding, *ret_coding = STR("gzip")))
        return a->gzip;
    *ret_coding = STR_EMPTY;
    return a->plain;
}

void page_answer_for(const asset *a, str accept_encoding, str if_none_match, page_answer *ret)
{
    str coding;
    asset_bytes form = best_form(a, accept_encoding, &coding);
    bool known = !str_empty(if_none_match) && negotiate_matches(if_none_match, str_from(a->etag));

    memset(ret, 0, sizeof *ret);
    ret->status = known ? 304 : 200;
    ret->body = known ? STR_EMPTY : str_of(form.at, form.len);
    snprintf(ret->etag, sizeof ret->etag, "W/%s", a->etag);
    put(ret, STR("Content-Type"), str_from(a->type));
    put(ret, STR("ETag"), str_from(ret->etag));
    put(ret, STR("Cache-Control"), a->hashed ? STR("public, max-age=31536000, immutable") : STR("no-cache"));
    put(ret, STR("Vary"), STR("Accept-Encoding"));
    put(ret, STR("Content-Security-Policy"), STR(PAGE_CSP));
    put(ret, STR("Referrer-Policy"), STR("no-referrer"));
    put(ret, STR("Cross-Origin-Opener-Policy"), STR("same-origin"));
    if (!known && coding.len)
        put(ret, STR("Content-Encoding"), coding);
}

static void serve(http_request *req)
{
    page_answer p;
    page_answer_for(req->route_ctx, http_header_get(req, "Accept-Encoding"), http_header_get(req, "If-None-Match"), &p);
    http_reply_headers(req, p.status, p.headers, p.header_count, p.body);
}

err_kind page_routes(http_server *s, err *e)
{
    for (size_t i = 0; i < asset_count; i++) {
        http_route r = { HTTP_GET, assets[i].path, serve, (void *)(uintptr_t)&assets[i], 0, 0 };
        if (http_server_routes(s, &r, 1, e))
            return err_context(e, "could not serve the page's file \"%s\"", assets[i].path);
    }
    return OK;
}
