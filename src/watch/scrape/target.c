#include "watch/scrape/target.h"
#include "base/file.h"
#include "base/hash.h"
#include <stdio.h>
#include <stdlib.h>

#define TARGET_FIRST_MAX_MS 5000
#define TARGET_TOLERANCE_MS 2 /* so much, and at most 1 % of the interval, a timestamp may be moved onto the grid */

struct target {
    target_deps deps;
    const scrape_job *job;
    arena arena; /* url and label copies */
    char *url;
    labels discovered, labels;
    int64_t interval_ms, timeout_ms;
    page_cache *page;
    emit reports; /* up and scrape_* */
    net_timer *timer;
    int64_t due_ns;  /* when the next scrape is, by the clock that never jumps */
    int64_t grid_ms; /* the timestamp that the last one ought to have had; 0: none yet */
    http_fetch *fetch;
    int64_t started_ns;
    row_vec rows;
    int64_t last_ms;
    double last_duration_s;
    int up;
    char error[240];
};

/* ---- the end of a scrape ---- */
static void put_reports(target *t, const page_result *page, double seconds, int64_t now_ms)
{
    emit_begin(&t->reports, now_ms);
    emit_value(&t->reports, "up", t->up == 1);
    emit_value(&t->reports, "scrape_duration_seconds", seconds);
    emit_value(&t->reports, "scrape_samples_scraped", page ? (double)page->scraped : 0);
    emit_value(&t->reports, "scrape_samples_post_metric_relabeling", page ? (double)page->kept : 0);
    emit_value(&t->reports, "scrape_series_added", page ? (double)page->added : 0);
}

static void append(target *t)
{
    err e = { 0 };
    sink_result rejected = { 0 };
    err_kind k = page_append(t->page, &t->deps.sink, &t->rows, &rejected, &e);
    if (k)
        log_warn("could not keep a scrape, its samples are lost", KV_CSTR("target", t->url), KV_ERR(&e));
    size_t refused = rejected.out_of_order + rejected.duplicate + rejected.too_old + rejected.limited;
    if (refused)
        log_debug("some samples of a scrape were refused", KV_CSTR("target", t->url), KV_INT("refused", refused),
                  KV_ERR(&rejected.first));
    page_settle(t->page);
    emit_settle(&t->reports);
    if (t->deps.on_settled)
        t->deps.on_settled(t->deps.ctx, t);
}

/* What goes wrong twice in a row is said once. */
static void tell(target *t, int before, const err *why)
{
    if (!why) {
        if (before == 0)
            log_info("target is up again", KV_CSTR("target", t->url));
        t->error[0] = '\0';
        return;
    }
    str_copy(t->error, sizeof t->error, str_from(why->message));
    if (before != 0)
        log_warn("scrape failed, its series are marked stale", KV_CSTR("target", t->url), KV_ERR(why));
}

static void count_scrape(bool ok)
{
    static own_metric *counters[2];
    if (!counters[ok])
        counters[ok] = own_counter("galen_watch_scrapes_total", ok ? "outcome=\"ok\"" : "outcome=\"failed\"",
                                   "Scrapes that came to an end.");
    own_add(counters[ok], 1);
}

static void finish(target *t, err_kind k, const page_result *page, const err *why)
{
    int before = t->up;
    double seconds = (double)(clock_mono_ns() - t->started_ns) / NS_PER_S;
    t->up = k == OK;
    count_scrape(k == OK);
    t->last_duration_s = seconds;
    if (k && page_fail(t->page, t->last_ms, &t->rows))
        log_warn("could not mark the series of a target stale: out of memory", KV_CSTR("target", t->url));
    tell(t, before, k ? why : NULL);
    put_reports(t, k ? NULL : page, seconds, t->last_ms);
    if (emit_collect(&t->reports, &t->rows))
        log_warn("could not report a scrape: out of memory", KV_CSTR("target", t->url));
    scrape_outcome o = { .up = k == OK, .page = k ? NULL : page, .error = k ? why : NULL, .now_ms = t->last_ms };
    if (t->deps.on_scrape)
        t->deps.on_scrape(t->deps.ctx, t, &o, &t->rows);
    append(t);
}

static err_kind check_answer(const target *t, const http_response *res, err *e)
{
    if (res->kind) {
        *e = res->error;
        e->kind = res->kind;
        return res->kind;
    }
    if (res->status != 200)
        return err_set(e, ERR_INVALID, "server returned HTTP status %d", res->status);
    bool text = scrape_format_of(res->content_type, t->job->fallback) != EXPOSITION_PROTOBUF;
    const char *reason = text ? page_refused(res->body, res->content_type) : NULL;
    if (reason)
        return err_set(e, ERR_PARSE, "%s", reason);
    return OK;
}

static void on_done(void *ctx, const http_response *res)
{
    target *t = ctx;
    err e = { 0 };
    page_result page = { 0 };
    page_rules rules = { .target = t->labels, .job = t->job };
    t->fetch = NULL;
    vec_clear(&t->rows);
    err_kind k = check_answer(t, res, &e);
    if (!k) {
        exposition_format format = scrape_format_of(res->content_type, t->job->fallback);
        k = page_read(t->page, &rules, res->body, format, t->last_ms, &t->rows, &page, &e);
        if (k && e.line) {
            err where = e;
            err_set(&e, where.kind, "line %u of the page: %s", where.line, where.message);
        }
    }
    finish(t, k, &page, &e);
}

/* ---- the start of a scrape ---- */
static err_kind fetch(target *t, err *e)
{
    AUTO(arena_done) arena a = arena_init(64u << 10);
    char timeout[32], accept[SCRAPE_ACCEPT_MAX];
    scrape_accept(&t->job->protocols, accept);
    http_header headers[3] = { { STR("Accept"), str_from(accept) } };
    snprintf(timeout, sizeof timeout, "%g", (double)t->timeout_ms / MS_PER_S);
    headers[1] = (http_header){ STR("X-Prometheus-Scrape-Timeout-Seconds"), str_from(timeout) };
    http_fetch_options o = { .url = t->url,
                             .headers = headers,
                             .header_count = 2,
                             .timeout_ms = t->timeout_ms,
                             .connect_timeout_ms = t->timeout_ms,
                             .max_body = (size_t)t->job->body_size_limit,
                             .follow_redirects = t->job->follow_redirects,
                             .no_compression = !t->job->compression,
                             .done = on_done,
                             .ctx = t };
    err_kind k = http_auth_apply(&t->job->auth, &a, &o, &headers[2], e);
    if (k)
        return k;
    o.header_count += headers[2].name.len > 0;
    return http_fetch_start(t->deps.client, &o, &t->fetch, e);
}

/* Samples at even distances cost the store a bit each, so a scrape that begins a moment late is dated as if it had
 * not (Prometheus does the same: scrape/scrape.go, ScrapeTimestampTolerance). */
static int64_t on_grid(target *t, int64_t now_ms)
{
    int64_t tolerance_ms = MIN(TARGET_TOLERANCE_MS, t->interval_ms / 100);
    if (!t->grid_ms || now_ms < t->grid_ms - tolerance_ms || now_ms - t->grid_ms > t->interval_ms * 1000)
        t->grid_ms = now_ms; /* the first, or the clock was set */
    while (now_ms - t->grid_ms >= t->interval_ms - tolerance_ms)
        t->grid_ms += t->interval_ms;
    return llabs(now_ms - t->grid_ms) <= tolerance_ms && t->grid_ms > t->last_ms ? t->grid_ms : now_ms;
}

static void start_scrape(target *t)
{
    err e = { 0 };
    if (t->fetch)
        return;
    t->started_ns = clock_mono_ns();
    t->last_ms = on_grid(t, clock_now_ms());
    err_kind k = fetch(t, &e);
    if (!k)
        return;
    t->fetch = NULL;
    vec_clear(&t->rows);
    finish(t, k, NULL, &e);
}

/* The next turn is counted from when this one was due, not from when it came: lateness does not add up. */
static void on_turn(void *ctx)
{
    target *t = ctx;
    int64_t now_ns = clock_mono_ns(), interval_ns = t->interval_ms * NS_PER_MS;
    int64_t late_ns = now_ns - t->due_ns;
    t->due_ns = late_ns > -2 * NS_PER_MS && late_ns < interval_ns ? t->due_ns + interval_ns : now_ns + interval_ns;
    net_timer_again(t->timer, (t->due_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS);
    start_scrape(t);
}

void target_scrape_now(target *t) { start_scrape(t); }

/* ---- life ---- */
static err_kind copy_labels(arena *a, labels from, labels *ret)
{
    label *at = arena_array(a, label, MAX(from.len, 1));
    for (size_t i = 0; at && i < from.len; i++) {
        at[i] = (label){ arena_str(a, from.at[i].name), arena_str(a, from.at[i].value) };
        if (!at[i].name.ptr || !at[i].value.ptr)
            return ERR_NOMEM;
    }
    *ret = (labels){ at, from.len };
    return at ? OK : ERR_NOMEM;
}

static err_kind init(target *t, const target_spec *spec)
{
    t->arena = arena_init(1u << 20);
    t->url = arena_cstr(&t->arena, spec->url);
    t->page = page_cache_new();
    if (!t->url || !t->page || copy_labels(&t->arena, spec->discovered, &t->discovered) ||
        copy_labels(&t->arena, spec->labels, &t->labels))
        return ERR_NOMEM;
    return emit_init(&t->reports, t->labels);
}

static void target_free(target *t)
{
    net_timer_stop(t->timer);
    if (t->fetch)
        http_fetch_cancel(t->fetch);
    page_cache_free(t->page);
    emit_done(&t->reports);
    vec_done(&t->rows);
    arena_done(&t->arena);
    mem_free(t);
}

err_kind target_open(const target_deps *deps, const scrape_job *job, const target_spec *spec, bool now, target **ret,
                     err *e)
{
    target *t = mem_zalloc(sizeof *t);
    if (!t)
        return err_nomem(e);
    *t = (target){
        .deps = *deps, .job = job, .interval_ms = spec->interval_ms, .timeout_ms = spec->timeout_ms, .up = -1
    };
    int64_t spread = MIN(t->interval_ms, TARGET_FIRST_MAX_MS);
    int64_t first = now ? 0 : (int64_t)(hash_str(spec->url, 0) % (uint64_t)spread);
    if (!init(t, spec))
        t->timer = net_timer_start(deps->loop, first, 0, on_turn, t);
    t->due_ns = clock_mono_ns() + first * NS_PER_MS;
    if (!t->timer) {
        target_free(t);
        return err_nomem(e);
    }
    *ret = t;
    return OK;
}

void target_close(target *t)
{
    if (!t)
        return;
    int64_t now_ms = clock_now_ms();
    vec_clear(&t->rows);
    (void)page_fail(t->page, now_ms, &t->rows);
    (void)emit_collect_end(&t->reports, now_ms, &t->rows);
    t->deps.on_settled = NULL;
    append(t);
    target_free(t);
}

target_info target_info_of(const target *t)
{
    return (target_info){ .url = t->url,
                          .discovered = t->discovered,
                          .labels = t->labels,
                          .job = t->job,
                          .interval_ms = t->interval_ms,
                          .timeout_ms = t->timeout_ms,
                          .last_ms = t->last_ms,
                          .last_duration_s = t->last_duration_s,
                          .up = t->up,
                          .error = t->error };
}

const page_cache *target_page(const target *t) { return t->page; }
