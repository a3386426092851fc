/* watch/receive/receive_http.c - POST /api/v1/write: what others push, by remote write 1.0 or 2.0.
 *
 * The Content-Type says which: application/x-protobuf, with proto=io.prometheus.write.v2.Request for 2.0; any other is
 * 415, so that a sender of 2.0 knows to fall back. Answers as Prometheus's receiver does: 204 when all was kept; 400
 * with the reason when samples were out of order, repeated, too old or impossible (the rest was kept; the sender must
 * not try them again); 413 beyond the limits; 503 when the store cannot write now (the sender tries again). To 2.0 the
 * X-Prometheus-Remote-Write-*-Written fields say how much was kept. Open without a token on loopback only. */
#include "watch/receive/receive_http.h"
#include "watch/receive/receiver.h"
#include <stdio.h>

typedef enum write_version { WRITE_UNKNOWN, WRITE_1, WRITE_2 } write_version;

/* "application/x-protobuf; proto=…": an older sender gives no parameter, and some give no type at all. */
static write_version version_of(str type)
{
    str rest = str_trim(type), part;
    write_version v = WRITE_1;
    if (!rest.len)
        return WRITE_1;
    if (!str_split(&rest, ';', &part) || !str_eq_nocase(str_trim(part), STR(PROMPB_CONTENT_TYPE_1)))
        return WRITE_UNKNOWN;
    while (str_split(&rest, ';', &part)) {
        str name;
        part = str_trim(part);
        if (!str_split(&part, '=', &name) || !str_eq_nocase(name, STR("proto")))
            continue;
        v = str_is(part, "io.prometheus.write.v2.Request") ? WRITE_2
            : str_is(part, "prometheus.WriteRequest")      ? WRITE_1
                                                           : WRITE_UNKNOWN;
    }
    return v;
}

/* ---- counters ---- */
static void add(own_metric **m, const char *name, const char *labels_text, size_t n)
{
    if (!n)
        return;
    if (!*m)
        *m = own_counter(name, labels_text, "What came in by remote write.");
    own_add(*m, (double)n);
}

static void count(const receive_result *r)
{
    static own_metric *samples, *histograms, *exemplars, *invalid, *refused;
    add(&samples, "galen_watch_remote_write_samples_total", NULL, r->samples);
    add(&histograms, "galen_watch_remote_write_histograms_total", NULL, r->histograms);
    add(&exemplars, "galen_watch_remote_write_exemplars_total", NULL, r->exemplars);
    add(&invalid, "galen_watch_remote_write_refused_total", "kind=\"invalid\"", r->invalid);
    add(&refused, "galen_watch_remote_write_refused_total", "kind=\"sample\"",
        r->sink.out_of_order + r->sink.duplicate + r->sink.too_old + r->sink.limited);
}

/* ---- answers ---- */
static void reply(http_request *req, write_version v, int status, const receive_result *r, str text)
{
    char numbers[3][24];
    http_header fields[4] = { { STR("Content-Type"), STR("text/plain; charset=utf-8") } };
    size_t n = 1;
    if (v == WRITE_2) {
        static const char *const names[3] = { "X-Prometheus-Remote-Write-Samples-Written",
                                              "X-Prometheus-Remote-Write-Histograms-Written",
                                              "X-Prometheus-Remote-Write-Exemplars-Written" };
        const size_t kept[3] = { r->samples, r->histograms, r->exemplars };
        for (size_t i = 0; i < 3; i++) {
            snprintf(numbers[i], sizeof numbers[i], "%zu", kept[i]);
            fields[n++] = (http_header){ str_from(names[i]), str_from(numbers[i]) };
        }
    }
    http_reply_headers(req, status, fields, n, text);
}

static bool all_kept(const receive_result *r)
{
    return !r->invalid && !r->sink.out_of_order && !r->sink.duplicate && !r->sink.too_old && !r->sink.limited;
}

static void reply_kept(http_request *req, write_version v, const receive_result *r)
{
    char text[800];
    const sink_result *s = &r->sink;
    const err *why = r->invalid ? &r->first_invalid : &s->first;
    if (all_kept(r)) {
        reply(req, v, 204, r, STR_EMPTY);
        return;
    }
    snprintf(text, sizeof text,
             "%zu samples kept; refused: %zu out of order, %zu duplicate, %zu too old, %zu over a limit, %zu series or "
             "histograms invalid; first: %s\n",
             r->samples + r->histograms, s->out_of_order, s->duplicate, s->too_old, s->limited, r->invalid,
             why->message[0] ? why->message : "unknown");
    reply(req, v, 400, r, str_from(text));
}

static int status_of(err_kind k)
{
    switch (k) {
    case ERR_UNSUPPORTED: return 415;
    case ERR_LIMIT: return 413;
    case ERR_PARSE:
    case ERR_INVALID:
    case ERR_CORRUPT: return 400;
    default: return 503;
    }
}

static err_kind take(http_request *req, write_version v, receive_result *ret, err *e)
{
    receiver *r = req->route_ctx;
    buf *body = receiver_body(r);
    if (v == WRITE_UNKNOWN) {
        str type = str_sub(http_header_get(req, "Content-Type"), 0, 100);
        err_set(e, ERR_UNSUPPORTED, "cannot read Content-Type \"%" STR_FMT "\"", STR_ARG(type));
        return err_hint(e, "Send %s or %s.", PROMPB_CONTENT_TYPE_1, PROMPB_CONTENT_TYPE_2);
    }
    /* A sender that does not say how it packed its body is a remote-write sender of old: snappy. */
    bool silent = !str_trim(http_header_get(req, "Content-Encoding")).len && req->body.len;
    err_kind k = silent ? http_body_decoded_as(req, STR("snappy"), body, e) : http_body_decoded(req, body, e);
    if (!k)
        k = receiver_take(r, buf_str(body), v == WRITE_2, clock_now_ms(), ret, e);
    return k;
}

void remote_write_handle(http_request *req)
{
    receive_result result = { 0 };
    err e = { 0 };
    char text[700];
    write_version v = version_of(http_header_get(req, "Content-Type"));
    err_kind k = take(req, v, &result, &e);
    if (!k) {
        count(&result);
        reply_kept(req, v, &result);
        return;
    }
    result = (receive_result){ 0 };
    snprintf(text, sizeof text, "%s%s%s\n", e.message, e.hint[0] ? ". " : "", e.hint);
    reply(req, v, status_of(k), &result, str_from(text));
}
