/* net/http_fetch.c - one fetch: its options told to libcurl, its bytes coming in, its errors in sentences. */
#include "net/http_fetch.h"

#include <stdio.h>

#define CLIENT_DEFAULT_TIMEOUT_MS 10000
#define CLIENT_DEFAULT_CONNECT_MS 3000
#define CLIENT_DEFAULT_MAX_BODY (16u << 20)
#define CLIENT_MAX_HEADER_BYTES (256u << 10) /* of one answer; some servers never stop sending fields */
#define CLIENT_KEEP_HEADER_BYTES (16u << 10)
#define CLIENT_MAX_REDIRECTS 5
#define CLIENT_READ_BYTES (64L << 10)

/* ---- sentences ---- */

static err_kind explain_too_long(const http_fetch *f, err *e)
{
    return err_set(e, ERR_LIMIT, "the answer is longer than the %zu bytes allowed; it was cut off", f->max_body);
}

static err_kind explain_timeout(const http_fetch *f, err *e)
{
    double connect_s = 0, sending_s = 0, first_byte_s = 0;

    curl_easy_getinfo(f->easy, CURLINFO_CONNECT_TIME, &connect_s);
    curl_easy_getinfo(f->easy, CURLINFO_PRETRANSFER_TIME, &sending_s);
    curl_easy_getinfo(f->easy, CURLINFO_STARTTRANSFER_TIME, &first_byte_s);
    if (connect_s <= 0 && sending_s <= 0) /* a connection used again took no time to connect, but it sends */
        err_set(e, ERR_TIMEOUT, "no connection to %s within %" PRId64 " ms", f->host,
                MIN(f->connect_timeout_ms, f->timeout_ms));
    else if (first_byte_s <= 0)
        err_set(e, ERR_TIMEOUT, "%s accepted the connection but did not answer within %" PRId64 " ms", f->host,
                f->timeout_ms);
    else
        err_set(e, ERR_TIMEOUT, "the answer of %s did not end within %" PRId64 " ms", f->host, f->timeout_ms);
    return err_hint(e, "Check that it is not overloaded or stuck, or allow it more time.");
}

static err_kind explain_no_connection(const http_fetch *f, err *e)
{
    char why[128];
    long code = 0;

    curl_easy_getinfo(f->easy, CURLINFO_OS_ERRNO, &code);
    if (code)
        uv_strerror_r(-(int)code, why, sizeof why);
    else
        str_copy(why, sizeof why, STR("could not connect"));
    err_set(e, ERR_UNAVAILABLE, "%s", why);
    if (e)
        e->sys_errno = (int)code;
    return err_hint(e, "Check that it runs and listens on %s.", f->host);
}

/* libcurl says "out of memory" too when one header line outgrows its 100 KB (7.88): an answer that has begun and
 * brought no body yet is that. */
static err_kind explain_no_memory(const http_fetch *f, err *e)
{
    double first_byte_s = 0;

    curl_easy_getinfo(f->easy, CURLINFO_STARTTRANSFER_TIME, &first_byte_s);
    if (first_byte_s > 0 && f->body_bytes == 0)
        return err_set(e, ERR_LIMIT, "a header line of the answer is longer than 100 KB");
    return err_nomem(e);
}

static err_kind explain(const http_fetch *f, CURLcode code, err *e)
{
    static const struct {
        CURLcode code;
        err_kind kind;
        const char *why, *hint;
    } rows[] = {
        { CURLE_COULDNT_RESOLVE_HOST, ERR_UNAVAILABLE, "the host name could not be resolved",
          "Check the name's spelling and this machine's DNS." },
        { CURLE_GOT_NOTHING, ERR_IO, "the connection was closed without an answer", "" },
        { CURLE_RECV_ERROR, ERR_IO, "the connection broke while reading the answer", "" },
        { CURLE_SEND_ERROR, ERR_IO, "the connection broke while sending the request", "" },
        { CURLE_PARTIAL_FILE, ERR_IO, "the answer ended before it was complete", "" },
        { CURLE_TOO_MANY_REDIRECTS, ERR_LIMIT, "too many redirects", "Use the address it finally leads to." },
        { CURLE_URL_MALFORMAT, ERR_INVALID, "not a valid URL", "Write it as http://HOST:PORT/PATH." },
        { CURLE_BAD_CONTENT_ENCODING, ERR_PARSE, "the answer's compression is damaged", "" },
        { CURLE_WEIRD_SERVER_REPLY, ERR_PARSE, "the answer is not HTTP",
          "Check that this port speaks HTTP, and without TLS if the URL says http." },
        { CURLE_UNSUPPORTED_PROTOCOL, ERR_PARSE, "the answer is not HTTP/1",
          "Check that the URL begins with http:// or https:// and that the port speaks HTTP." },
        { CURLE_PEER_FAILED_VERIFICATION, ERR_DENIED, "its certificate cannot be trusted",
          "Name the authority's file, or check the certificate's names and dates." },
        { CURLE_SSL_CONNECT_ERROR, ERR_IO, "the TLS handshake failed", "Check that the port speaks TLS." },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (rows[i].code == code) {
            err_set(e, rows[i].kind, "%s", rows[i].why);
            return err_hint(e, "%s", rows[i].hint);
        }
    return err_set(e, ERR_IO, "%s", f->reason[0] ? f->reason : curl_easy_strerror(code));
}

err_kind http_fetch_error(const http_fetch *f, CURLcode code, err *e)
{
    if (f->cut.kind) {
        *e = f->cut;
        return e->kind;
    }
    switch (code) {
    case CURLE_OK: return OK;
    case CURLE_OPERATION_TIMEDOUT: return explain_timeout(f, e);
    case CURLE_COULDNT_CONNECT: return explain_no_connection(f, e);
    case CURLE_FILESIZE_EXCEEDED: return explain_too_long(f, e);
    case CURLE_OUT_OF_MEMORY: return explain_no_memory(f, e);
    default: return explain(f, code, e);
    }
}

/* ---- bytes coming in ---- */

str http_response_field(const http_response *res, const char *name)
{
    str rest = res->head, line;
    size_t n = strlen(name);
    while (str_split(&rest, '\n', &line))
        if (line.len > n && line.ptr[n] == ':' && str_eq_nocase(str_sub(line, 0, n), str_from(name)))
            return str_trim(str_skip(line, n + 1));
    return STR_EMPTY;
}

/* An announced length is made room for at once. */
static void reserve_announced(http_fetch *f)
{
    curl_off_t length = -1;

    if (!f->on_data && !curl_easy_getinfo(f->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length) && length > 0 &&
        (uint64_t)length <= f->max_body)
        (void)buf_reserve(&f->body, (size_t)length);
}

static size_t on_header(char *bytes, size_t size, size_t n, void *fetch)
{
    http_fetch *f = fetch;

    if (str_starts(str_of(bytes, size * n), STR("HTTP/"))) /* of a redirect, or a 100, before */
        buf_reset(&f->head);
    buf_append_bytes(&f->head, bytes, size * n);
    f->header_bytes += size * n;
    if (f->header_bytes <= CLIENT_MAX_HEADER_BYTES)
        return size * n;
    err_set(&f->cut, ERR_LIMIT, "the answer's header fields are longer than %u KiB", CLIENT_MAX_HEADER_BYTES >> 10);
    return 0;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *fetch)
{
    http_fetch *f = fetch;
    str piece = str_of(bytes, size * n);

    if (f->state == FETCH_CANCELED || f->client->closing)
        return piece.len + 1; /* any other number than the piece's length ends the transfer */
    if (!f->body_bytes)
        reserve_announced(f);
    f->body_bytes += piece.len;
    if (f->body_bytes > f->max_body)
        explain_too_long(f, &f->cut);
    else if (f->on_data && f->on_data(f->ctx, piece))
        err_set(&f->cut, ERR_CANCELED, "the answer was not wanted to its end");
    else if (!f->on_data && buf_append(&f->body, piece))
        err_nomem(&f->cut);
    return f->cut.kind ? piece.len + 1 : piece.len;
}

/* ---- setting up ---- */

static bool has_line_break(str s)
{
    return str_find_char(s, '\r') >= 0 || str_find_char(s, '\n') >= 0 || str_find_char(s, '\0') >= 0;
}

static err_kind add_field(http_fetch *f, str name, str value, err *e)
{
    AUTO(buf_done) buf line = BUF_INIT(64u << 10);

    if (str_empty(name) || has_line_break(name) || has_line_break(value) || str_find_char(name, ':') >= 0)
        return err_set(e, ERR_INVALID, "cannot send header field \"%" STR_FMT "\": it holds a line break or no name",
                       (int)MIN(name.len, 60u), name.ptr);
    /* libcurl's spelling of an empty value is "Name;" */
    buf_printf(&line, str_empty(value) ? "%" STR_FMT ";" : "%" STR_FMT ": ", STR_ARG(name));
    buf_append(&line, value);
    struct curl_slist *longer = buf_failed(&line) ? NULL : curl_slist_append(f->fields, buf_cstr(&line));
    if (!longer)
        return err_nomem(e);
    f->fields = longer;
    return OK;
}

/* Take a field away that libcurl would add by itself. */
static err_kind drop_field(http_fetch *f, const char *name_colon, err *e)
{
    struct curl_slist *longer = curl_slist_append(f->fields, name_colon);

    if (!longer)
        return err_nomem(e);
    f->fields = longer;
    return OK;
}

static err_kind set_fields(http_fetch *f, const http_fetch_options *o, err *e)
{
    bool typed = false;

    for (size_t i = 0; i < o->header_count; i++) {
        typed = typed || str_eq_nocase(o->headers[i].name, STR("Content-Type"));
        err_kind kind = add_field(f, o->headers[i].name, o->headers[i].value, e);
        if (kind)
            return kind;
    }
    /* No "Expect: 100-continue": many servers ignore it, and libcurl would wait a second for them. */
    if (drop_field(f, "Expect:", e) || (!typed && drop_field(f, "Content-Type:", e)))
        return ERR_NOMEM;
    return curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->fields) ? err_nomem(e) : OK;
}

static err_kind set_method(http_fetch *f, const http_fetch_options *o, err *e)
{
    const char *method = o->method ? o->method : o->body.ptr ? "POST" : "GET";
    CURLcode code = CURLE_OK;

    if (has_line_break(str_from(method)) || !method[0])
        return err_set(e, ERR_INVALID, "cannot send a request without a method");
    f->head_only = strcmp(method, "HEAD") == 0;
    if (f->head_only)
        code = curl_easy_setopt(f->easy, CURLOPT_NOBODY, 1L);
    else if (o->body.ptr || strcmp(method, "POST") == 0) {
        code = curl_easy_setopt(f->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)o->body.len);
        code = code ? code : curl_easy_setopt(f->easy, CURLOPT_COPYPOSTFIELDS, o->body.ptr ? o->body.ptr : "");
    }
    if (!code && !f->head_only)
        code = curl_easy_setopt(f->easy, CURLOPT_CUSTOMREQUEST, method);
    return code ? err_nomem(e) : OK;
}

static bool host_is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1]") == 0;
}

/* Look at the URL before libcurl does: an error now is better than one later, and a proxy from the environment
 * must never stand between galen and its own machine. */
static err_kind set_url(http_fetch *f, const char *url, err *e)
{
    CURLU *parts = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL;
    bool fine = parts && url && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    if (fine) {
        snprintf(f->host, sizeof f->host, "%s:%s", host, port);
        curl_easy_setopt(f->easy, CURLOPT_URL, url);
        if (host_is_loopback(host))
            curl_easy_setopt(f->easy, CURLOPT_PROXY, "");
    } else {
        err_set(e, ERR_INVALID, "cannot fetch \"%s\": not an http or https URL", url ? url : "");
        err_hint(e, "Write it as http://HOST:PORT/PATH.");
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parts);
    return fine ? OK : ERR_INVALID;
}

static void set_limits(http_fetch *f)
{
    CURL *easy = f->easy;

    curl_easy_setopt(easy, CURLOPT_PRIVATE, f);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, f->reason);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)f->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)f->connect_timeout_ms);
    if (!f->head_only) /* an announced size ends it at once; what is not announced ends in on_body */
        curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)f->max_body);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "galen/" GALEN_VERSION);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, CLIENT_READ_BYTES);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, f);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, f);
}

static void set_trust(http_fetch *f, const http_fetch_options *o)
{
    CURL *easy = f->easy;

    if (o->no_compression)
        curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, NULL);
    if (o->follow_redirects) {
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)CLIENT_MAX_REDIRECTS);
    }
    if (o->bearer_token) { /* libcurl keeps it from other hosts when it follows a redirect */
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, o->bearer_token);
    } else if (o->basic_user) {
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        curl_easy_setopt(easy, CURLOPT_USERNAME, o->basic_user);
        curl_easy_setopt(easy, CURLOPT_PASSWORD, o->basic_password ? o->basic_password : "");
    }
    if (o->tls_insecure) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (o->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, o->ca_file);
    if (o->cert_file)
        curl_easy_setopt(easy, CURLOPT_SSLCERT, o->cert_file);
    if (o->key_file)
        curl_easy_setopt(easy, CURLOPT_SSLKEY, o->key_file);
}

err_kind http_fetch_prepare(http_fetch *f, const http_fetch_options *o, err *e)
{
    f->timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : CLIENT_DEFAULT_TIMEOUT_MS;
    f->connect_timeout_ms = o->connect_timeout_ms > 0 ? o->connect_timeout_ms : CLIENT_DEFAULT_CONNECT_MS;
    f->max_body = o->max_body ? o->max_body : CLIENT_DEFAULT_MAX_BODY;
    f->body = http_client_spare(f->client, f->max_body);
    f->head = (buf)BUF_INIT(CLIENT_KEEP_HEADER_BYTES);
    f->on_data = o->on_data;
    f->done = o->done;
    f->ctx = o->ctx;
    f->easy = curl_easy_init();
    if (!f->easy)
        return err_nomem(e);
    err_kind kind = set_url(f, o->url, e);
    if (!kind)
        kind = set_fields(f, o, e);
    if (!kind)
        kind = set_method(f, o, e);
    set_limits(f);
    set_trust(f, o);
    return kind;
}
