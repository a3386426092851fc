/* face/page.h - the page's files, out of the binary.
 *
 * Names with a content hash are kept by browsers for ever; the rest is asked for again each time and answered 304
 * when it is the same. Packed forms were made when galen was built, so serving costs no compression. */
#pragma once
#include "face/asset.h"
#include "net/net.h"

/* Nothing from elsewhere, nothing inline, nobody may frame us. */
#define PAGE_CSP "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " \
                 "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/* Which bytes and headers answer a request. */
#define PAGE_HEADERS_MAX 8
typedef struct page_answer {
    int status;                        /* 200 or 304 */
    str body;
    http_header headers[PAGE_HEADERS_MAX];
    size_t header_count;
    char etag[40];                     /* one of the headers points here */
} page_answer;
void page_answer_for(const asset *a, str accept_encoding, str if_none_match, page_answer *ret);

/* A route for each file of the page (`/`, `/assets/…`, the OpenAPI file). */
err_kind page_routes(http_server *s, err *e);
