/* watch/watch_http.c - Prometheus's pages about targets: what is scraped, how it went, what the names mean.
 *
 * Answers have the shape of Prometheus's HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api/#targets):
 * {"status":"success","data":…}. Configured and discovered replicas are targets like any other; their pool is their
 * job. A job that cannot run is shown as one target without a URL, down, with the reason. */
#include "watch/receive/receive_http.h"
#include "watch/watch_room.h"
#include <stdio.h>

void watch_reply_json(http_request *req, buf *out)
{
    if (buf_failed(out))
        http_reply_err(req, &(err){ .kind = out->failed,
                                    .message = "could not write the answer: it is too long, or memory ran out" });
    else
        http_reply(req, 200, "application/json", buf_str(out));
}

json_writer watch_begin_answer(buf *out)
{
    json_writer w = json_writer_to(out);
    json_begin(&w, '{');
    json_put_cstr(&w, "status", "success");
    json_key(&w, "data");
    return w;
}

static void put_duration(json_writer *w, const char *key, int64_t ms)
{
    char text[CLOCK_ISO_MAX];
    clock_format_duration(text, ms);
    json_put_cstr(w, key, text);
}

static void put_target(json_writer *w, str pool_name, const target_info *t)
{
    char when[CLOCK_ISO_MAX] = "0001-01-01T00:00:00Z"; /* Go's zero time, as Prometheus shows it */
    if (t->last_ms)
        clock_format_iso(when, t->last_ms);
    json_begin(w, '{');
    labels_json(w, "discoveredLabels", t->discovered);
    labels_json(w, "labels", t->labels);
    json_put_str(w, "scrapePool", pool_name);
    json_put_cstr(w, "scrapeUrl", t->url);
    json_put_cstr(w, "globalUrl", t->url);
    json_put_cstr(w, "lastError", t->error);
    json_put_cstr(w, "lastScrape", when);
    json_put_double(w, "lastScrapeDuration", t->last_duration_s);
    json_put_cstr(w, "health", t->up == 1 ? "up" : t->up == 0 ? "down" : "unknown");
    put_duration(w, "scrapeInterval", t->interval_ms);
    put_duration(w, "scrapeTimeout", t->timeout_ms);
    json_end(w, '}');
}

target *watch_target_at(watch *w, size_t i, str *ret_pool)
{
    for (size_t r = 0; r < w->replicas.len; r++) {
        target *t = replica_target(w->replicas.at[r]);
        if (t && i-- == 0) {
            *ret_pool = replica_config_of(w->replicas.at[r])->job;
            return t;
        }
    }
    for (size_t p = 0; p < w->pools.len; p++) {
        target *t;
        for (size_t k = 0; (t = pool_target_at(w->pools.at[p], k)); k++) {
            if (i-- == 0) {
                *ret_pool = pool_job(w->pools.at[p])->name;
                return t;
            }
        }
    }
    return NULL;
}

static bool wanted(str filter, str pool_name) { return !filter.len || str_eq(filter, pool_name); }

static void put_active(json_writer *j, watch *w, str filter)
{
    target *t;
    str name;
    for (size_t i = 0; (t = watch_target_at(w, i, &name)); i++) {
        target_info info = target_info_of(t);
        if (wanted(filter, name))
            put_target(j, name, &info);
    }
    for (size_t p = 0; p < w->pools.len; p++) {
        const scrape_job *job = pool_job(w->pools.at[p]);
        const char *reason = pool_down_reason(w->pools.at[p]);
        label l = { STR("job"), job->name };
        if (reason[0] && wanted(filter, job->name))
            put_target(j, job->name,
                       &(target_info){ .url = "",
                                       .discovered = { &l, 1 },
                                       .labels = { &l, 1 },
                                       .interval_ms = job->interval_ms,
                                       .timeout_ms = job->timeout_ms,
                                       .error = reason });
    }
}

static void put_dropped(json_writer *j, watch *w, str filter)
{
    for (size_t p = 0; p < w->pools.len; p++) {
        labels discovered;
        for (size_t i = 0; pool_dropped_at(w->pools.at[p], i, &discovered); i++) {
            if (!wanted(filter, pool_job(w->pools.at[p])->name))
                continue;
            json_begin(j, '{');
            labels_json(j, "discoveredLabels", discovered);
            json_end(j, '}');
        }
    }
}

static void put_dropped_counts(json_writer *j, watch *w)
{
    json_key(j, "droppedTargetCounts");
    json_begin(j, '{');
    for (size_t p = 0; p < w->pools.len; p++) {
        labels discovered;
        int64_t n = 0;
        while (pool_dropped_at(w->pools.at[p], (size_t)n, &discovered))
            n++;
        json_key_str(j, pool_job(w->pools.at[p])->name);
        json_i64(j, n);
    }
    json_end(j, '}');
}

static void handle_targets(http_request *req)
{
    watch *w = req->route_ctx;
    str state = STR_EMPTY, filter = STR_EMPTY;
    AUTO(buf_done) buf out = BUF_INIT(WATCH_ANSWER_MAX);
    http_param(req, "state", &state);
    http_param(req, "scrapePool", &filter);
    json_writer j = watch_begin_answer(&out);
    json_begin(&j, '{');
    json_key(&j, "activeTargets");
    json_begin(&j, '[');
    if (!str_is(state, "dropped"))
        put_active(&j, w, filter);
    json_end(&j, ']');
    json_key(&j, "droppedTargets");
    json_begin(&j, '[');
    if (!str_is(state, "active"))
        put_dropped(&j, w, filter);
    json_end(&j, ']');
    put_dropped_counts(&j, w);
    json_end(&j, '}');
    json_end(&j, '}');
    watch_reply_json(req, &out);
}

static void handle_pools(http_request *req)
{
    watch *w = req->route_ctx;
    AUTO(buf_done) buf out = BUF_INIT(WATCH_ANSWER_MAX);
    AUTO(map_done) map seen = MAP_INIT;
    json_writer j = watch_begin_answer(&out);
    json_begin(&j, '{');
    json_key(&j, "scrapePools");
    json_begin(&j, '[');
    for (size_t i = 0; i < w->replicas.len + w->pools.len; i++) {
        str name = i < w->replicas.len ? replica_config_of(w->replicas.at[i])->job
                                       : pool_job(w->pools.at[i - w->replicas.len])->name;
        if (!map_has(&seen, name))
            json_str(&j, name);
        if (map_set(&seen, name, w))
            break;
    }
    json_end(&j, ']');
    json_end(&j, '}');
    json_end(&j, '}');
    watch_reply_json(req, &out);
}

err_kind watch_routes(watch *w, http_server *s, err *e)
{
    const http_route routes[] = {
        { HTTP_GET, "/api/v1/targets", handle_targets, w, HTTP_ROUTE_CORS, 0 },
        { HTTP_GET, "/api/v1/targets/metadata", watch_targets_metadata_page, w, HTTP_ROUTE_CORS, 0 },
        { HTTP_GET, "/api/v1/metadata", watch_metadata_page, w, HTTP_ROUTE_CORS, 0 },
        { HTTP_GET, "/api/v1/scrape_pools", handle_pools, w, HTTP_ROUTE_CORS, 0 },
        { HTTP_POST, "/api/v1/write", remote_write_handle, w->receiver, HTTP_ROUTE_LOCAL, REMOTE_WRITE_MAX_BODY },
    };
    return http_server_routes(s, routes, COUNT_OF(routes), e);
}
