/* watch/receive/receive_http.c - POST /api/v1/write: what others push.
 *
 * Answers as Prometheus's receiver does: 204 when all was kept; 400 with the reason when samples were out of
 * order, repeated or too old (the rest was kept; the sender must not try them again); 413 beyond the limits;
 * 503 when the store cannot write now (the sender tries again). Open without a token on loopback only. */
#include "watch/receive/remote_write.h"
#include <stdio.h>

#define REMOTE_WRITE_MAX_ARENA (512u << 20)

static void count(const remote_write_stats *stats, size_t appended)
{
    static const char *const help = "What came in by remote write.";
    own_add(own_counter("galen_watch_remote_write_samples_total", NULL, help), (double)appended);
    own_add(own_counter("galen_watch_remote_write_ignored_total", "kind=\"exemplar\"", help), (double)stats->exemplars);
    own_add(own_counter("galen_watch_remote_write_ignored_total", "kind=\"histogram\"", help),
            (double)stats->histograms);
    own_add(own_counter("galen_watch_remote_write_ignored_total", "kind=\"metadata\"", help), (double)stats->metadata);
    own_add(own_counter("galen_watch_remote_write_ignored_total", "kind=\"invalid_series\"", help),
            (double)stats->invalid);
}

static void reply_text(http_request *req, int status, const char *text)
{
    http_reply(req, status, "text/plain; charset=utf-8", str_from(text));
}

static void reply_rejected(http_request *req, const remote_write_stats *stats, const sink_result *r)
{
    char text[700];
    const err *why = stats->invalid ? &stats->first : &r->first;
    snprintf(
        text, sizeof text,
        "%zu samples kept; refused: %zu out of order, %zu duplicate, %zu too old, %zu over a limit, %zu series with invalid labels; first: %s\n",
        r->appended, r->out_of_order, r->duplicate, r->too_old, r->limited, stats->invalid,
        why->message[0] ? why->message : "unknown");
    reply_text(req, 400, text);
}

static err_kind take(http_request *req, remote_write_stats *stats, sink_result *result, err *e)
{
    const sample_sink *sink = req->route_ctx;
    AUTO(buf_done) buf body = BUF_INIT(REMOTE_WRITE_MAX_DECODED);
    AUTO(arena_done) arena a = arena_init(REMOTE_WRITE_MAX_ARENA);
    sample_row *rows;
    size_t n;
    str version = http_header_get(req, "X-Prometheus-Remote-Write-Version");
    str type = http_header_get(req, "Content-Type");
    if (str_starts(version, STR("2.")) || str_find(type, STR("io.prometheus.write.v2")) >= 0)
        return err_set(e, ERR_UNSUPPORTED, "cannot read remote write 2.0, only 1.0");
    err_kind k = http_body_decoded(req, &body, e);
    if (!k)
        k = remote_write_read(buf_str(&body), &a, &rows, &n, stats, e);
    if (!k && n)
        k = sink->append(sink->ctx, rows, n, result, e);
    return k;
}

void remote_write_handle(http_request *req)
{
    remote_write_stats stats = { 0 };
    sink_result result = { 0 };
    err e = { 0 };
    char text[500];
    err_kind k = take(req, &stats, &result, &e);
    if (!k)
        count(&stats, result.appended);
    if (!k && !stats.invalid && !result.out_of_order && !result.duplicate && !result.too_old && !result.limited) {
        http_reply(req, 204, "text/plain; charset=utf-8", STR_EMPTY);
        return;
    }
    if (!k) {
        reply_rejected(req, &stats, &result);
        return;
    }
    snprintf(text, sizeof text, "%s\n", e.message);
    int status = k == ERR_UNSUPPORTED                                     ? 415
                 : k == ERR_LIMIT                                         ? 413
                 : k == ERR_PARSE || k == ERR_INVALID || k == ERR_CORRUPT ? 400
                                                                          : 503;
    reply_text(req, status, text);
}
