/* net/http_codec.c - HTTP/1.x requests out of bytes: llhttp, strict, with what it still lets through refused.
 *
 *             every byte is looked at              llhttp counts the body
 *   BETWEEN --first byte--> IN_HEAD --CRLF CRLF--> IN_BODY --last byte--> BETWEEN
 *
 * The head is collected first and given to llhttp in one piece. So the scanner below sees each of its bytes
 * whatever way the network cut them, all fields are views into one block, and llhttp's state never depends on
 * a packet's border. RFC 9112. What is refused here although llhttp 8.1.0 in strict mode takes it (measured,
 * docs/decisions/0003): HTTP/0.9, LF without CR, line folding, empty lines before the request, no Host or two,
 * Transfer-Encoding in HTTP/1.0 or other than "chunked", fields without a name, long chunk extensions and trailers,
 * other protocols' methods. Trailers are read and dropped: nothing in them may change what was decided on the head. */
#include "net/http_exchange.h"

/* llhttp's enumerators have our names and other values: they enter under a prefix. */
#define HTTP_GET LLHTTP_GET
#define HTTP_HEAD LLHTTP_HEAD
#define HTTP_POST LLHTTP_POST
#define HTTP_PUT LLHTTP_PUT
#define HTTP_DELETE LLHTTP_DELETE
#define HTTP_OPTIONS LLHTTP_OPTIONS
#define HTTP_PATCH LLHTTP_PATCH
#include <llhttp.h>
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_POST
#undef HTTP_PUT
#undef HTTP_DELETE
#undef HTTP_OPTIONS
#undef HTTP_PATCH

struct http1_codec {
    llhttp_t parser;
    http1_events events;
    http1_head_hook on_head;
    void *on_head_ctx;
    size_t max_head_bytes;
    buf head;          /* the head read so far, CRLFs included */
    size_t line_start; /* where in it the present line begins */
    size_t line_count;
    bool in_body;
    bool last; /* the client announced that no request follows */
    bool complete;
    size_t dropped_bytes; /* of this request: HTTP_MAX_DROPPED_BYTES */
    http_exchange *x;
    http_header *fields; /* x's, while they are filled */
    bool in_value;       /* the newest field is complete */
    int status;          /* not 0: refused, for good */
    err error;
};

static int refuse(http1_codec *c, int status, const char *why)
{
    if (!c->status) {
        c->status = status;
        err_set(&c->error,
                status == 413 || status == 431 ? ERR_LIMIT
                : status == 503                ? ERR_NOMEM
                                               : ERR_PARSE,
                "cannot read the request: %s", why);
    }
    return -1;
}

/* ---- llhttp's callbacks: 0 goes on, -1 stops ---- */

static int count_dropped(http1_codec *c, size_t n)
{
    c->dropped_bytes += n;
    if (c->dropped_bytes > HTTP_MAX_DROPPED_BYTES)
        return refuse(c, 431, "its chunk extensions and trailers are too long");
    return 0;
}

static http_header *newest_field(http1_codec *c) { return &c->fields[c->x->req.header_count - 1]; }

static int on_field(llhttp_t *parser, const char *at, size_t n)
{
    http1_codec *c = parser->data;
    http_request *req = &c->x->req;

    if (c->in_body)
        return count_dropped(c, n);
    if (req->header_count == 0 || c->in_value) {
        if (req->header_count >= HTTP_MAX_HEADERS)
            return refuse(c, 431, "it has too many header fields");
        req->header_count++;
        newest_field(c)->name.ptr = at;
        c->in_value = false;
    }
    newest_field(c)->name.len = (size_t)(at + n - newest_field(c)->name.ptr);
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t n)
{
    http1_codec *c = parser->data;

    if (c->in_body)
        return count_dropped(c, n);
    if (c->x->req.header_count == 0 || c->in_value)
        return refuse(c, 400, "a header field has no name"); /* the scanner refused it before: never index by trust */
    str *value = &newest_field(c)->value;
    if (!value->ptr)
        value->ptr = at;
    value->len = (size_t)(at + n - value->ptr);
    return 0;
}

static int on_value_complete(llhttp_t *parser)
{
    http1_codec *c = parser->data;

    if (c->in_body)
        return count_dropped(c, 4); /* per field, not per piece of one: pieces depend on the network */
    if (c->x->req.header_count)
        newest_field(c)->value = str_trim(newest_field(c)->value);
    c->in_value = true;
    return 0;
}

static int on_chunk_extension(llhttp_t *parser, const char *at, size_t n)
{
    UNUSED(at);
    return count_dropped(parser->data, n);
}

static int on_chunk_extension_complete(llhttp_t *parser) { return count_dropped(parser->data, 1); }

static size_t header_count(const http_request *req, const char *name)
{
    size_t n = 0;

    for (size_t i = 0; i < req->header_count; i++)
        n += str_eq_nocase(req->headers[i].name, str_from(name));
    return n;
}

/* What llhttp does not ask of a head. */
static int check_head(http1_codec *c, const http_exchange *x)
{
    str coding = http_header_get(&x->req, "Transfer-Encoding");
    size_t codings = header_count(&x->req, "Transfer-Encoding"), hosts = header_count(&x->req, "Host");

    if (hosts > 1)
        return refuse(c, 400, "it has two Host fields");
    if (hosts == 0 && !x->http_1_0)
        return refuse(c, 400, "it has no Host field");
    if (codings && x->http_1_0)
        return refuse(c, 400, "Transfer-Encoding does not exist in HTTP/1.0");
    if (codings > 1)
        return refuse(c, 400, "it has two Transfer-Encoding fields");
    if (codings && !str_eq_nocase(coding, STR("chunked")))
        return refuse(c, 501, "the only Transfer-Encoding understood is chunked");
    if (header_count(&x->req, "Expect") && !str_eq_nocase(http_header_get(&x->req, "Expect"), STR("100-continue")))
        return refuse(c, 417, "the only expectation understood is 100-continue");
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    http1_codec *c = parser->data;
    http_exchange *x = c->x;

    parser->upgrade = 0; /* we never change the protocol; RFC 9110 section 7.8 lets a server ignore the wish */
    if (check_head(c, x))
        return -1;
    x->has_body = (parser->flags & F_CHUNKED) || parser->content_length > 0;
    x->wants_continue = !x->http_1_0 && str_eq_nocase(http_header_get(&x->req, "Expect"), STR("100-continue"));
    x->keep_alive = llhttp_should_keep_alive(parser);
    int status = c->on_head ? c->on_head(c->on_head_ctx, x, &c->error) : 0;
    if (status) {
        c->status = status;
        return -1;
    }
    if ((parser->flags & F_CONTENT_LENGTH) && parser->content_length > x->body.max)
        return refuse(c, 413, "its body is larger than allowed here");
    c->in_body = true;
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t n)
{
    http1_codec *c = parser->data;

    switch (buf_append_bytes(&c->x->body, at, n)) {
    case OK: return 0;
    case ERR_LIMIT: return refuse(c, 413, "its body is larger than allowed here");
    default: return refuse(c, 503, "out of memory");
    }
}

static int on_message_complete(llhttp_t *parser)
{
    http1_codec *c = parser->data;

    c->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t callbacks = {
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_chunk_extension_name = on_chunk_extension,
    .on_chunk_extension_value = on_chunk_extension,
    .on_chunk_extension_name_complete = on_chunk_extension_complete,
    .on_chunk_extension_value_complete = on_chunk_extension_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- the head, byte by byte ---- */

static str take_word(str *rest)
{
    str word;

    if (!str_split(rest, ' ', &word))
        return STR_EMPTY;
    return word;
}

static bool is_word(str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!(s.ptr[i] >= 'A' && s.ptr[i] <= 'Z') && !(s.ptr[i] >= 'a' && s.ptr[i] <= 'z') && s.ptr[i] != '-')
            return false;
    return s.len > 0;
}

/* request-line = method SP request-target SP HTTP-version; `line` comes without its CRLF. Looked at as soon as
 * it is whole, so that a client of another protocol hears so without sending a head first. */
static int check_request_line(http1_codec *c, str line)
{
    str rest = line, method = take_word(&rest), target = take_word(&rest), version = rest;

    if (!is_word(method) || str_empty(target))
        return refuse(c, 400, "its first line is not \"METHOD target HTTP/1.1\"");
    if (!str_starts(version, STR("HTTP/")))
        return refuse(c, 400, "its first line names no HTTP version");
    if (!str_is(version, "HTTP/1.1") && !str_is(version, "HTTP/1.0"))
        return refuse(c, version.len == 8 && version.ptr[6] == '.' ? 505 : 400,
                      "only HTTP/1.1 and HTTP/1.0 are spoken here");
    if (!http_method_parse(method))
        return refuse(c, 501, "its method is none of GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH");
    return 0;
}

/* The byte `b` behind `prev` (0: it is the first). */
static int check_head_byte(http1_codec *c, unsigned char prev, unsigned char b)
{
    bool first_line = c->line_count == 0;

    if (!prev && (b == '\r' || b == '\n'))
        return refuse(c, 400, "it begins with an empty line");
    if (prev == '\r' && b != '\n')
        return refuse(c, 400, "a CR without LF in its head");
    if (b == '\n' && prev != '\r')
        return refuse(c, 400, "a line of its head ends without CR");
    if (prev == '\n' && (b == ' ' || b == '\t'))
        return refuse(c, 400, "a header line begins with white space");
    if (prev == '\n' && b == ':')
        return refuse(c, 400, "a header field has no name");
    if (b == 0x7f || (b < 0x20 && b != '\r' && b != '\n' && b != '\t') || (first_line && (b >= 0x80 || b == '\t')))
        return refuse(c, 400, "a control character in its head");
    return 0;
}

/* A line of the head is whole. True when it was the empty one that ends the head. */
static bool end_line(http1_codec *c)
{
    str line = str_of(c->head.ptr + c->line_start, c->head.len - c->line_start - 2);

    c->line_start = c->head.len;
    if (c->line_count++ == 0)
        check_request_line(c, line);
    return str_empty(line);
}

/* Check and keep one line or what there is of it; returns how many bytes that were. */
static size_t scan_line(http1_codec *c, str bytes)
{
    unsigned char prev = c->head.len ? (unsigned char)c->head.ptr[c->head.len - 1] : 0;
    size_t n = 0;

    while (n < bytes.len && (n == 0 || prev != '\n')) {
        if (c->head.len + n >= c->max_head_bytes)
            return refuse(c, 431, "its head is too long"), n;
        if (check_head_byte(c, prev, (unsigned char)bytes.ptr[n]))
            return n;
        prev = (unsigned char)bytes.ptr[n++];
    }
    if (buf_append(&c->head, str_of(bytes.ptr, n)))
        refuse(c, 503, "out of memory");
    return n;
}

/* Take bytes into the head, up to its end at most. True when it is whole; c->status tells a refusal. */
static bool scan_head(http1_codec *c, str bytes, size_t *ret_used)
{
    bool whole = false;

    *ret_used = 0;
    while (*ret_used < bytes.len && !whole && !c->status) {
        *ret_used += scan_line(c, str_skip(bytes, *ret_used));
        if (!c->status && c->head.ptr[c->head.len - 1] == '\n')
            whole = end_line(c);
    }
    return whole && !c->status;
}

/* The part of an absolute-form target behind its authority, which must agree with Host (RFC 9112 section 3.2.2
 * says to prefer the target; two different answers to "which host" are what smugglers live on). */
static str strip_authority(http1_codec *c, str head, str target)
{
    str rest = str_skip(target, 7), authority, line;

    ptrdiff_t slash = str_find_char(rest, '/');
    authority = slash < 0 ? rest : str_sub(rest, 0, (size_t)slash);
    while (str_split(&head, '\n', &line)) {
        str name;
        if (str_split(&line, ':', &name) && str_eq_nocase(name, STR("Host")) &&
            str_eq_nocase(str_trim(line), authority))
            return slash < 0 ? STR("/") : str_skip(rest, (size_t)slash);
    }
    refuse(c, 400, "its target and its Host field name different hosts");
    return STR_EMPTY;
}

static err_kind read_target(http1_codec *c, str head, str target)
{
    http_exchange *x = c->x;

    if (str_starts(target, STR("http://")))
        target = strip_authority(c, head, target);
    if (c->status)
        return ERR_PARSE;
    if (target.ptr[0] != '/' || str_find_char(target, '#') >= 0)
        return refuse(c, 400, "its target is not a path that begins with /"), ERR_PARSE;
    ptrdiff_t mark = str_find_char(target, '?');
    x->raw_path = mark < 0 ? target : str_sub(target, 0, (size_t)mark);
    x->req.query = mark < 0 ? STR("") : str_skip(target, (size_t)mark + 1);
    err e = { 0 };
    if (http_unescape(x->req.arena, x->raw_path, false, true, &x->req.path, &e)) {
        refuse(c, e.kind == ERR_PARSE ? 400 : 503,
               e.kind == ERR_PARSE ? "its path holds a broken %-escape or %00" : "out of memory");
        return e.kind;
    }
    return OK;
}

/* The head is whole: make the exchange whose arena keeps it, and read it. */
static void begin_exchange(http1_codec *c)
{
    http_exchange *x = c->x = http_exchange_new();
    str head = x ? arena_str(x->req.arena, buf_str(&c->head)) : STR_EMPTY;

    c->fields = head.ptr ? arena_array(x->req.arena, http_header, MIN(c->line_count, HTTP_MAX_HEADERS)) : NULL;
    if (!c->fields) {
        refuse(c, 503, "out of memory");
        return;
    }
    str rest = head;
    x->req.headers = c->fields;
    x->req.method = http_method_parse(take_word(&rest));
    str target = take_word(&rest);
    x->http_1_0 = str_starts(rest, STR("HTTP/1.0"));
    if (read_target(c, head, target))
        return;
    llhttp_init(&c->parser, HTTP_REQUEST, &callbacks);
    c->parser.data = c;
    c->in_value = c->complete = false;
    c->dropped_bytes = 0;
    llhttp_errno_t rc = llhttp_execute(&c->parser, head.ptr, head.len);
    bool at_end = rc == HPE_OK || (rc == HPE_PAUSED && llhttp_get_error_pos(&c->parser) == head.ptr + head.len);
    if (!at_end)
        refuse(c, 400, llhttp_get_error_reason(&c->parser));
    else if (!c->in_body)
        refuse(c, 400, "its head ends nowhere"); /* llhttp and we disagree: never guess */
}

static size_t read_body(http1_codec *c, str bytes)
{
    llhttp_errno_t rc = llhttp_execute(&c->parser, bytes.ptr, bytes.len);

    if (rc == HPE_OK)
        return bytes.len;
    if (rc == HPE_PAUSED)
        return (size_t)(llhttp_get_error_pos(&c->parser) - bytes.ptr);
    refuse(c, 400, llhttp_get_error_reason(&c->parser));
    return 0;
}

static http_exchange *end_exchange(http1_codec *c)
{
    http_exchange *x = TAKE(c->x);

    x->req.body = buf_str(&x->body);
    c->last = !x->keep_alive;
    c->in_body = c->complete = false;
    c->line_start = c->line_count = 0;
    if (c->head.cap > 4096)
        buf_done(&c->head); /* an idle connection keeps no large block */
    buf_reset(&c->head);
    return x;
}

/* ---- the door ---- */

http1_codec *http1_codec_new(const http_server_options *o, http1_events events)
{
    http1_codec *c = mem_zalloc(sizeof *c);

    if (!c)
        return NULL;
    c->events = events;
    c->max_head_bytes = o && o->max_header_bytes ? o->max_header_bytes : HTTP_DEFAULT_MAX_HEAD;
    c->head = (buf)BUF_INIT(c->max_head_bytes + 1);
    return c;
}

void http1_codec_free(http1_codec *c)
{
    if (!c)
        return;
    http_exchange_free(c->x);
    buf_done(&c->head);
    mem_free(c);
}

void http1_codec_on_head(http1_codec *c, http1_head_hook hook, void *ctx)
{
    c->on_head = hook;
    c->on_head_ctx = ctx;
}

http1_place http1_codec_place(const http1_codec *c)
{
    return c->in_body ? HTTP1_IN_BODY : c->head.len ? HTTP1_IN_HEAD : HTTP1_BETWEEN;
}

size_t http1_codec_body_bytes(const http1_codec *c) { return c->x ? c->x->body.len : 0; }

err_kind http1_next(http1_codec *c, str bytes, size_t *ret_used, http_exchange **ret_x, int *ret_status, err *e)
{
    size_t used = 0;

    *ret_used = 0;
    *ret_x = NULL;
    if (!c->status && c->last && bytes.len)
        refuse(c, 400, "bytes behind the request that was said to be the last");
    if (!c->status && !c->in_body && scan_head(c, bytes, &used))
        begin_exchange(c);
    if (!c->status && c->in_body && !c->complete && used < bytes.len)
        used += read_body(c, str_skip(bytes, used));
    if (c->status) {
        *ret_status = c->status;
        if (e)
            *e = c->error;
        return c->error.kind;
    }
    *ret_used = used;
    if (c->complete)
        *ret_x = end_exchange(c);
    return OK;
}

err_kind http1_feed(http1_codec *c, str bytes, int *ret_status, err *e)
{
    while (bytes.len) {
        AUTO(http_exchange_freep) http_exchange *x = NULL;
        size_t used;
        err_kind kind = http1_next(c, bytes, &used, &x, ret_status, e);
        if (kind)
            return kind;
        bytes = str_skip(bytes, used);
        if (x && c->events.request)
            c->events.request(c->events.ctx, &x->req);
    }
    return OK;
}
