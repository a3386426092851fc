/* /api/v1/admin/tsdb/… and /-/flush: what somebody asks the store to do. On the pool, for they may take long.
 *
 * Source: https://prometheus.io/docs/prometheus/latest/querying/api/#tsdb-admin-apis. Prometheus hides them behind
 * --web.enable-admin-api; here they are write doors like the others: open on loopback, with the token beyond. What was
 * done goes to the audit record (query_about.changed). */
#include "base/file.h"
#include "base/rand.h"
#include "query/api.h"
#include <stdio.h>
#include <time.h>

#define MESSAGE_MAX 4096

static void no_content(job *j)
{
    j->status = 204;
    buf_reset(&j->body);
}

/* On the loop's thread, after the work. */
static void tell(job *j)
{
    const query_about *about = &j->http->about;
    if (j->changed_kind && j->status < 300 && about->changed)
        about->changed(about->ctx, j->changed_kind, j->changed);
}

CHECKED static err_kind will_tell(job *j, const char *kind, buf *message, err *e)
{
    j->changed = arena_str(&j->arena, buf_str(message));
    if (buf_failed(message) || !j->changed.ptr)
        return err_nomem(e);
    j->changed_kind = kind;
    return OK;
}

/* ---- delete_series ---- */

CHECKED static err_kind delete_series(job *j, err *e)
{
    AUTO(buf_done) buf message = BUF_INIT(MESSAGE_MAX);
    char from[CLOCK_ISO_MAX], to[CLOCK_ISO_MAX];
    delete_receipt receipt = { 0 };
    err_kind k = store_delete(j->http->store, j->sets, j->set_count, j->query.from_ms, j->query.to_ms, &receipt, e);
    if (k)
        return k;
    bool all = j->query.from_ms == API_MIN_TIME_MS && j->query.to_ms == API_MAX_TIME_MS;
    buf_printf(&message, "%" PRIu64 " samples of %" PRIu64 " series in %" PRIu64 " blocks were deleted:", receipt.samples, receipt.series, receipt.blocks);
    for (size_t i = 0; i < j->match_count && message.len < MESSAGE_MAX / 2; i++)
        buf_printf(&message, "%s%.*s", i ? ", " : " ", (int)MIN(j->matches[i].len, (size_t)200), j->matches[i].ptr);
    if (!all) {
        clock_format_iso(from, MAX(j->query.from_ms, INT64_C(0)));
        clock_format_iso(to, MIN(j->query.to_ms, INT64_C(253402300799999)));
        buf_printf(&message, ", from %s to %s", from, to);
    }
    return will_tell(j, "store.series.deleted", &message, e);
}

static void run_delete(job *j)
{
    err e = { 0 };
    if (!job_matches(j))
        return;
    if (delete_series(j, &e))
        job_fail(j, &e, NULL);
    else
        no_content(j);
}

void page_delete_series(http_request *req)
{
    job *j = job_new(req, run_delete);
    if (!j)
        return;
    j->finished = tell;
    bool ok = api_time(req, "start", false, API_MIN_TIME_MS, &j->query.from_ms) &&
              api_time(req, "end", false, API_MAX_TIME_MS, &j->query.to_ms) && api_matches(req, j);
    if (ok && j->match_count == 0) {
        api_error(req, 400, "bad_data", "no match[] parameter provided");
        ok = false;
    }
    if (ok)
        job_start(j);
    else
        job_drop(j);
}

/* ---- clean_tombstones, flush ---- */

static void run_clean(job *j)
{
    err e = { 0 };
    if (store_clean(j->http->store, &e))
        job_fail(j, &e, NULL);
    else
        no_content(j);
}

static void run_flush(job *j)
{
    err e = { 0 };
    if (store_flush(j->http->store, &e)) {
        job_fail(j, &e, NULL);
        return;
    }
    j->status = 200;
    j->content_type = "text/plain; charset=utf-8";
    buf_append(&j->body, STR("The store was flushed.\n"));
}

static void start(http_request *req, job_run run)
{
    job *j = job_new(req, run);
    if (j)
        job_start(j);
}

void page_clean_tombstones(http_request *req) { start(req, run_clean); }
void page_flush(http_request *req) { start(req, run_flush); }

/* ---- snapshot ---- */

/* As Prometheus names them: 20171210T211224Z-2be650b6d019eb54. */
static void snapshot_name(char out[40])
{
    uint64_t random;
    time_t now = (time_t)(clock_now_ms() / MS_PER_S);
    struct tm t;
    rand_secret(&random, sizeof random);
    gmtime_r(&now, &t);
    size_t n = strftime(out, 40, "%Y%m%dT%H%M%SZ", &t);
    snprintf(out + n, 40 - n, "-%016" PRIx64, random);
}

CHECKED static err_kind take_snapshot(job *j, char name[40], err *e)
{
    AUTO(buf_done) buf message = BUF_INIT(MESSAGE_MAX);
    char folder[FILE_PATH_MAX], path[FILE_PATH_MAX];
    const char *data = j->about->data_dir;
    snapshot_name(name);
    err_kind k = file_join(folder, data ? data : ".", "snapshots", e);
    if (k || (k = file_make_dirs(folder, 0750, e)) || (k = file_join(path, folder, name, e)) ||
        (k = store_snapshot(j->http->store, path, j->skip_head, e)))
        return k;
    buf_printf(&message, "a snapshot of the store was made in %s", path);
    return will_tell(j, "store.snapshot.made", &message, e);
}

static void run_snapshot(job *j)
{
    char name[40];
    err e = { 0 };
    if (take_snapshot(j, name, &e)) {
        job_fail(j, &e, NULL);
        return;
    }
    api_begin(&j->body);
    json_writer w = json_writer_to(&j->body);
    json_begin(&w, '{');
    json_put_cstr(&w, "name", name);
    json_end(&w, '}');
    job_end(j, NULL, 0, NULL, 0);
}

void page_snapshot(http_request *req)
{
    str text;
    job *j = job_new(req, run_snapshot);
    if (!j)
        return;
    j->finished = tell;
    bool given = http_param(req, "skip_head", &text) && text.len;
    j->skip_head = given && (str_is(text, "true") || str_is(text, "1") || str_is(text, "t"));
    bool ok = !given || j->skip_head || str_is(text, "false") || str_is(text, "0") || str_is(text, "f");
    if (!ok)
        api_error(req, 400, "bad_data", "invalid parameter \"skip_head\": unable to parse boolean \"%" STR_FMT "\"", STR_ARG(text));
    if (ok && api_about(req, j))
        job_start(j);
    else
        job_drop(j);
}
