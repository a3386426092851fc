/* The codec alone: what it understands, what it refuses, and that packets' borders change nothing. */
#include "net/http_exchange.h"
#include "base/test.h"

#include <stdio.h>

typedef struct outcome {
    buf text; /* one line a request: METHOD path?query [name=value,…] body */
    unsigned requests;
    int status;
    err e;
} outcome;

static void took(void *ctx, http_request *req)
{
    outcome *o = ctx;

    o->requests++;
    buf_printf(&o->text, "%d %" STR_FMT "?%" STR_FMT " [", req->method, STR_ARG(req->path), STR_ARG(req->query));
    for (size_t i = 0; i < req->header_count; i++)
        buf_printf(&o->text, "%" STR_FMT "=%" STR_FMT ",", STR_ARG(req->headers[i].name),
                   STR_ARG(req->headers[i].value));
    buf_printf(&o->text, "] %" STR_FMT "\n", STR_ARG(req->body));
}

/* Feed `bytes`, the first piece `cut` long, the others `piece` long. */
static outcome feed(str bytes, size_t cut, size_t piece)
{
    outcome o = { .text = BUF_INIT(1u << 20) };
    http1_codec *c = http1_codec_new(NULL, (http1_events){ took, &o });
    CHECK(c);
    for (size_t n = cut; bytes.len; n = piece) {
        if (n && http1_feed(c, str_sub(bytes, 0, n), &o.status, &o.e))
            break;
        bytes = str_skip(bytes, n);
    }
    http1_codec_free(c);
    return o;
}

#define H "Host: a\r\n"

/* ---- what is understood ---- */

static const struct {
    const char *what, *send, *want;
} good[] = {
    { "a plain request", "GET / HTTP/1.1\r\n" H "\r\n", "1 /? [Host=a,] \n" },
    { "HTTP/1.0 needs no Host", "GET / HTTP/1.0\r\n\r\n", "1 /? [] \n" },
    { "path decoded, query left alone", "GET /a%20b%2f?x=%20&y HTTP/1.1\r\n" H "\r\n", "1 /a b/?x=%20&y [Host=a,] \n" },
    { "a plus in a path is a plus", "GET /a+b HTTP/1.1\r\n" H "\r\n", "1 /a+b? [Host=a,] \n" },
    { "an absolute target with the same host", "GET http://A/x?y HTTP/1.1\r\n" H "\r\n", "1 /x?y [Host=a,] \n" },
    { "an absolute target without a path", "GET http://a HTTP/1.1\r\n" H "\r\n", "1 /? [Host=a,] \n" },
    { "white space around values goes", "GET / HTTP/1.1\r\nHost: \t a \t \r\nX:\r\nY: \r\n\r\n",
      "1 /? [Host=a,X=,Y=,] \n" },
    { "bytes beyond ASCII in a value stay", "GET / HTTP/1.1\r\n" H "X: \xc3\xa9\xff\r\n\r\n",
      "1 /? [Host=a,X=\xc3\xa9\xff,] \n" },
    { "a body by length", "POST /p HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc",
      "4 /p? [Host=a,Content-Length=3,] abc\n" },
    { "a GET may have one", "GET /p HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc",
      "1 /p? [Host=a,Content-Length=3,] abc\n" },
    { "a body of length zero", "POST /p HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n",
      "4 /p? [Host=a,Content-Length=0,] \n" },
    { "a body in chunks, any case, extensions and trailers dropped",
      "PUT /p HTTP/1.1\r\n" H
      "Transfer-Encoding: Chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n00A\r\n0123456789\r\n0\r\nHost: b\r\nX: y\r\n\r\n",
      "8 /p? [Host=a,Transfer-Encoding=Chunked,] abc0123456789\n" },
    { "a length in the trailer means nothing",
      "POST /1 HTTP/1.1\r\n" H
      "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\n" H
      "\r\n",
      "4 /1? [Host=a,Transfer-Encoding=chunked,] \n1 /2? [Host=a,] \n" },
    { "requests one behind the other",
      "GET /1 HTTP/1.1\r\n" H "\r\nPOST /2 HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nxDELETE /3 HTTP/1.1\r\n" H "\r\n",
      "1 /1? [Host=a,] \n4 /2? [Host=a,Content-Length=1,] x\n16 /3? [Host=a,] \n" },
    { "a body that looks like a request is a body",
      "POST /1 HTTP/1.1\r\n" H "Content-Length: 19\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n" H "\r\n",
      "4 /1? [Host=a,Content-Length=19,] GET /2 HTTP/1.1\r\n\r\n\n1 /3? [Host=a,] \n" },
    { "an upgrade wish is passed over",
      "GET / HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /2 HTTP/1.1\r\n" H "\r\n",
      "1 /? [Host=a,Connection=Upgrade,Upgrade=websocket,] \n1 /2? [Host=a,] \n" },
    { "nothing yet", "GET / HTTP/1.1\r\n" H, "" },
    { "all methods", "HEAD / HTTP/1.1\r\n" H "\r\nOPTIONS / HTTP/1.1\r\n" H "\r\nPATCH / HTTP/1.1\r\n" H "\r\n",
      "2 /? [Host=a,] \n32 /? [Host=a,] \n64 /? [Host=a,] \n" },
};

TEST(http1_codec_understands)
{
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        outcome o = feed(str_from(good[i].send), 1u << 20, 1);
        CHECK_MSG(o.status == 0, "%s: refused with %d: %s", good[i].what, o.status, o.e.message);
        CHECK_MSG(str_is(buf_str(&o.text), good[i].want), "%s: got %s", good[i].what, buf_cstr(&o.text));
        buf_done(&o.text);
    }
}

/* ---- what is refused: the smuggling corpus ---- */

#define G "GET / HTTP/1.1\r\n"
#define P "POST / HTTP/1.1\r\n" H
static const struct {
    const char *what;
    int status;
    const char *send;
} evil[] = {
    /* the request line */
    { "HTTP/0.9", 400, "GET /\r\n\r\n" },
    { "a request line ended by a bare LF", 400, "GET / HTTP/1.1\n" H "\r\n" },
    { "an empty line in front", 400, "\r\n" G H "\r\n" },
    { "a bare LF in front", 400, "\n" G H "\r\n" },
    { "two spaces", 400, "GET  / HTTP/1.1\r\n" H "\r\n" },
    { "a tab for a space", 400, "GET\t/ HTTP/1.1\r\n" H "\r\n" },
    { "a space behind the version", 400, "GET / HTTP/1.1 \r\n" H "\r\n" },
    { "HTTP/2.0", 505, "GET / HTTP/2.0\r\n" H "\r\n" },
    { "HTTP/1.2", 505, "GET / HTTP/1.2\r\n" H "\r\n" },
    { "HTTP/1.10", 400, "GET / HTTP/1.10\r\n" H "\r\n" },
    { "another protocol", 400, "GET / RTSP/1.0\r\n" H "\r\n" },
    { "a method in small letters", 501, "get / HTTP/1.1\r\n" H "\r\n" },
    { "CONNECT", 501, "CONNECT a:1 HTTP/1.1\r\n" H "\r\n" },
    { "TRACE", 501, "TRACE / HTTP/1.1\r\n" H "\r\n" },
    { "a method of RTSP", 501, "DESCRIBE / HTTP/1.1\r\n" H "\r\n" },
    { "a method with a colon", 400, "GE:T / HTTP/1.1\r\n" H "\r\n" },
    { "a target without a slash", 400, "GET x HTTP/1.1\r\n" H "\r\n" },
    { "an asterisk", 400, "OPTIONS * HTTP/1.1\r\n" H "\r\n" },
    { "a fragment", 400, "GET /a#b HTTP/1.1\r\n" H "\r\n" },
    { "UTF-8 in the target", 400, "GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n" },
    { "an absolute target with another host", 400, "GET http://b/ HTTP/1.1\r\n" H "\r\n" },
    { "https in the target", 400, "GET https://a/ HTTP/1.1\r\n" H "\r\n" },
    { "%00", 400, "GET /a%00b HTTP/1.1\r\n" H "\r\n" },
    { "a broken escape", 400, "GET /a%2 HTTP/1.1\r\n" H "\r\n" },
    { "an escape of no digits", 400, "GET /a%zz HTTP/1.1\r\n" H "\r\n" },
    { "TLS", 400, "\x16\x03\x01\x01" },
    /* fields */
    { "no Host", 400, G "\r\n" },
    { "two Hosts", 400, G H "host: b\r\n\r\n" },
    { "two equal Hosts", 400, G H H "\r\n" },
    { "a folded line", 400, G H "X: a\r\n b\r\n\r\n" },
    { "a folded Transfer-Encoding", 400, P "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" },
    { "a first field with a space in front", 400, G " Host: a\r\n\r\n" },
    { "a field ended by a bare LF", 400, G "Host: a\n\r\n" },
    { "a head ended by a bare LF", 400, G H "\n" },
    { "a bare CR in a value", 400, G H "X: a\rb\r\n\r\n" },
    { "a CR that hides a length", 400, P "Dummy:\rContent-Length: 5\r\n\r\nabcde" },
    { "a space before the colon", 400, G "Host : a\r\n\r\n" },
    { "no colon", 400, G H "abc\r\n\r\n" },
    { "an empty name", 400, G H ": x\r\n\r\n" },
    { "an empty name at first", 400, G ": x\r\n" H "\r\n" },
    { "a name with a space", 400, G H "a b: x\r\n\r\n" },
    { "a control character in a value", 400, G H "X: a\x01\r\n\r\n" },
    { "DEL in a value", 400, G H "X: a\x7f\r\n\r\n" },
    { "another expectation", 417, G H "Expect: 200-ok\r\n\r\n" },
    /* which length? */
    { "a length and chunks", 400, P "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
    { "chunks and a length", 400, P "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" },
    { "two lengths", 400, P "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd" },
    { "two equal lengths", 400, P "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" },
    { "a list of lengths", 400, P "Content-Length: 3, 3\r\n\r\nabc" },
    { "a length with a plus", 400, P "Content-Length: +3\r\n\r\nabc" },
    { "a negative length", 400, P "Content-Length: -3\r\n\r\nabc" },
    { "a length in hex", 400, P "Content-Length: 0x3\r\n\r\nabc" },
    { "an empty length", 400, P "Content-Length: \r\n\r\nabc" },
    { "a length with a space inside", 400, P "Content-Length: 3 4\r\n\r\nabc" },
    { "a length beyond 64 bits", 400, P "Content-Length: 18446744073709551619\r\n\r\nabc" },
    { "a length beyond the limit", 413, P "Content-Length: 1048577\r\n\r\n" },
    { "chunks in HTTP/1.0", 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
    { "gzip before chunked", 501, P "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" },
    { "xchunked", 501, P "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" },
    { "chunked, identity", 400, P "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" },
    { "chunked in quotes", 501, P "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" },
    { "chunked twice", 400, P "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
    { "identity", 400, P "Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc" },
    /* chunks */
    { "a chunk size of -1", 400, P "Transfer-Encoding: chunked\r\n\r\n-1\r\n" },
    { "a chunk size of 0x5", 400, P "Transfer-Encoding: chunked\r\n\r\n0x5\r\nabcde\r\n0\r\n\r\n" },
    { "a space behind a chunk size", 400, P "Transfer-Encoding: chunked\r\n\r\n5 \r\nabcde\r\n0\r\n\r\n" },
    { "a chunk size ended by LF", 400, P "Transfer-Encoding: chunked\r\n\r\n5\nabcde\r\n0\r\n\r\n" },
    { "a chunk size ended by CR", 400, P "Transfer-Encoding: chunked\r\n\r\n5\rhello\r\n0\r\n\r\n" },
    { "a chunk size beyond 64 bits", 400,
      P "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nabcde\r\n0\r\n\r\n" },
    { "a chunk longer than its size", 400, P "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n" },
    { "a trailer ended by a bare LF", 400, P "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n" },
    /* the end */
    { "bytes behind the last request", 400, G H "Connection: close\r\n\r\nGET" },
    { "bytes behind the last request of HTTP/1.0", 400, "GET / HTTP/1.0\r\n\r\nGET" },
};

TEST(http1_codec_refuses_what_smugglers_send)
{
    for (size_t i = 0; i < COUNT_OF(evil); i++) {
        outcome o = feed(str_from(evil[i].send), 1u << 20, 1);
        CHECK_MSG(o.status == evil[i].status, "%s: want %d, got %d (%s)", evil[i].what, evil[i].status, o.status,
                  o.e.message);
        CHECK_MSG(o.e.kind && o.e.message[0], "%s: refused without a sentence", evil[i].what);
        buf_done(&o.text);
    }
}

static void check_cuts(const char *what, const char *send)
{
    str bytes = str_from(send);
    outcome whole = feed(bytes, bytes.len, 1);

    for (size_t cut = 0; cut < bytes.len; cut++) {
        outcome o = feed(bytes, cut, cut % 2 ? bytes.len : 1); /* two pieces, or one piece and then byte by byte */
        CHECK_MSG(str_eq(buf_str(&o.text), buf_str(&whole.text)) && o.status == whole.status &&
                      o.requests == whole.requests,
                  "%s: cut at %zu gives %u requests and %d instead of %u and %d", what, cut, o.requests, o.status,
                  whole.requests, whole.status);
        buf_done(&o.text);
    }
    buf_done(&whole.text);
}

TEST(http1_codec_gives_the_same_wherever_packets_end)
{
    for (size_t i = 0; i < COUNT_OF(good); i++)
        check_cuts(good[i].what, good[i].send);
    for (size_t i = 0; i < COUNT_OF(evil); i++)
        check_cuts(evil[i].what, evil[i].send);
}

/* ---- limits ---- */

static int status_of_flood(const char *head, const char *unit, size_t times)
{
    buf text = BUF_INIT(4u << 20);
    buf_append(&text, str_from(head));
    for (size_t i = 0; i < times; i++)
        buf_append(&text, str_from(unit));
    outcome o = feed(buf_str(&text), text.len, 1);
    buf_done(&text);
    buf_done(&o.text);
    return o.status;
}

TEST(http1_codec_ends_every_flood_at_its_limit)
{
    CHECK_EQ(status_of_flood("GET /", "a", 40000), 431);
    CHECK_EQ(status_of_flood(G H "X: ", "a", 40000), 431);
    CHECK_EQ(status_of_flood(G H, "X: a\r\n", HTTP_MAX_HEADERS + 1), 0); /* not told before the head is whole … */
    CHECK_EQ(status_of_flood(G H, "X: a\r\n", 10000), 431);
    const char *chunked = P "Transfer-Encoding: chunked\r\n\r\n";
    CHECK_EQ(status_of_flood(chunked, "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n", 200), 431);
    CHECK_EQ(status_of_flood(P "Transfer-Encoding: chunked\r\n\r\n0\r\n", "X: aaaaaaaaaaaaaaaaa\r\n", 400), 431);
    CHECK_EQ(status_of_flood(chunked, "400\r\n", 1), 0);
    static char kilo[1024 + 16];
    memset(kilo, 'x', sizeof kilo);
    memcpy(kilo, "400\r\n", 5);
    memcpy(kilo + 5 + 1024, "\r\n", 3);
    CHECK_EQ(status_of_flood(chunked, kilo, 1024), 0);
    CHECK_EQ(status_of_flood(chunked, kilo, 1025), 413);
}

TEST(http1_codec_counts_fields)
{
    buf text = BUF_INIT(1u << 16);
    for (size_t fields = HTTP_MAX_HEADERS - 1; fields < HTTP_MAX_HEADERS + 1; fields++) {
        buf_reset(&text);
        buf_append(&text, STR(G H));
        for (size_t i = 0; i < fields; i++)
            buf_append(&text, STR("X: a\r\n"));
        buf_append(&text, STR("\r\n"));
        outcome o = feed(buf_str(&text), text.len, 1);
        CHECK_EQ(o.status, fields + 1 > HTTP_MAX_HEADERS ? 431 : 0);
        buf_done(&o.text);
    }
    buf_done(&text);
}

TEST(http1_codec_survives_any_failed_allocation)
{
    str bytes = STR("POST /a%20b?x=y HTTP/1.1\r\n" H
                    "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n");
    for (unsigned nth = 0;; nth++) {
        outcome o = { .text = BUF_INIT(1000) };
        buf_reserve(&o.text, 900); /* not what is tested */
        fault_alloc(nth);
        http1_codec *c = http1_codec_new(NULL, (http1_events){ took, &o });
        err_kind kind = c ? http1_feed(c, bytes, &o.status, &o.e) : ERR_NOMEM;
        http1_codec_free(c);
        bool fired = fault_fired();
        CHECK_EQ(kind, fired ? ERR_NOMEM : OK);
        CHECK(c == NULL || o.status == (fired ? 503 : 0));
        buf_done(&o.text);
        if (!fired)
            break;
    }
}

/* ---- small parts ---- */

TEST(http_list_takes_reads_weights)
{
    static const struct {
        const char *list;
        bool want;
    } rows[] = {
        { "gzip", true }, { "br, GZIP;q=0.5", true }, { "gzip;q=0", false },     { "gzip; q=0.000", false },
        { "*", true },    { "*;q=0", false },         { "gzip;q=0, *", false },  { "*;q=0, gzip", true },
        { "", false },    { "gzipx", false },         { "br,,gzip ;q=1", true },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        CHECK_MSG(http_list_takes(str_from(rows[i].list), "gzip") == rows[i].want, "Accept-Encoding: %s", rows[i].list);
}

TEST(http_status_of_knows_every_kind)
{
    for (int kind = 0; kind < ERR_KIND_COUNT; kind++)
        CHECK(http_status_of((err_kind)kind) >= 200 &&
              strcmp(http_status_text(http_status_of((err_kind)kind)), "Status") != 0);
    CHECK_EQ(http_status_of(ERR_KIND_COUNT), 500);
}

TEST(http_reply_write_lets_no_value_end_its_line)
{
    buf out = BUF_INIT(4096);
    http_exchange x = { .req = { .method = HTTP_GET } };
    http_header headers[] = { { STR("Location"), STR("/a\r\nSet-Cookie: evil") }, { STR("content-length"), STR("7") } };
    http_reply_write(&out, &x, 302, headers, 2, STR(""), true);
    CHECK_CONTAINS(buf_str(&out), "Location: /a  Set-Cookie: evil\r\n");
    CHECK_CONTAINS(buf_str(&out), "Content-Length: 0\r\n");
    CHECK(str_find(buf_str(&out), STR("content-length")) < 0);
    buf_done(&out);
}
