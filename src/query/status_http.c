/* /status/…: what this process is and what its store holds. */
#include "query/api.h"
#include <stdio.h>
#include <unistd.h>

/* Clients (Grafana, promtool) choose what they may ask by this number: the Prometheus whose API this is. */
#define API_VERSION "3.8.0"

static void reply_object(http_request *req, buf *body)
{
    api_end(body, NULL, 0, NULL, 0);
    api_reply(req, 200, buf_str(body));
}

static const char *text_or(const char *text, const char *otherwise)
{
    return text ? text : otherwise;
}

void page_buildinfo(http_request *req)
{
    const query_http *h = req->route_ctx;
    AUTO(buf_done) buf body = BUF_INIT(1u << 16);
    api_begin(&body);
    json_writer w = json_writer_to(&body);
    json_begin(&w, '{');
    json_put_cstr(&w, "version", API_VERSION "+galen." GALEN_VERSION);
    json_put_cstr(&w, "revision", text_or(h->about.revision, ""));
    json_put_cstr(&w, "branch", "");
    json_put_cstr(&w, "buildUser", "galen");
    json_put_cstr(&w, "buildDate", text_or(h->about.build_date, ""));
    json_put_cstr(&w, "goVersion", "");
    json_end(&w, '}');
    reply_object(req, &body);
}

static void put_iso(json_writer *w, const char *key, int64_t t_ms)
{
    char text[CLOCK_ISO_MAX];
    json_key(w, key);
    json_str(w, str_of(text, clock_format_iso(text, t_ms)));
}

void page_runtimeinfo(http_request *req)
{
    const query_http *h = req->route_ctx;
    AUTO(buf_done) buf body = BUF_INIT(1u << 16);
    char folder[4096], host[256];
    int64_t loaded_ms = h->started_ms;
    bool ok = !h->about.config_ok || h->about.config_ok(h->about.ctx, &loaded_ms);
    api_begin(&body);
    json_writer w = json_writer_to(&body);
    json_begin(&w, '{');
    put_iso(&w, "startTime", h->started_ms);
    json_put_cstr(&w, "CWD", getcwd(folder, sizeof folder) ? folder : "");
    json_put_cstr(&w, "hostname", gethostname(host, sizeof host) == 0 ? host : "");
    put_iso(&w, "serverTime", clock_now_ms());
    json_put_bool(&w, "reloadConfigSuccess", ok);
    put_iso(&w, "lastConfigTime", loaded_ms);
    json_put_i64(&w, "corruptionCount", 0);
    json_put_i64(&w, "goroutineCount", 0);
    json_put_i64(&w, "GOMAXPROCS", sysconf(_SC_NPROCESSORS_ONLN));
    json_put_i64(&w, "GOMEMLIMIT", 0);
    json_put_cstr(&w, "GOGC", "");
    json_put_cstr(&w, "GODEBUG", "");
    json_put_cstr(&w, "storageRetention", text_or(h->about.retention, "15d"));
    json_end(&w, '}');
    reply_object(req, &body);
}

void page_config(http_request *req)
{
    const query_http *h = req->route_ctx;
    AUTO(buf_done) buf body = BUF_INIT(64u << 20);
    api_begin(&body);
    json_writer w = json_writer_to(&body);
    json_begin(&w, '{');
    json_put_str(&w, "yaml", h->about.config_yaml);
    json_end(&w, '}');
    reply_object(req, &body);
}

void page_flags(http_request *req)
{
    const query_http *h = req->route_ctx;
    AUTO(buf_done) buf body = BUF_INIT(1u << 18);
    api_begin(&body);
    json_writer w = json_writer_to(&body);
    json_begin(&w, '{');
    for (const char *const *f = h->about.flags; f && f[0] && f[1]; f += 2)
        json_put_cstr(&w, f[0], f[1]);
    json_end(&w, '}');
    reply_object(req, &body);
}

/* Requests are only served once the WAL was read. */
void page_walreplay(http_request *req)
{
    api_reply(req, 200, STR("{\"status\":\"success\",\"data\":{\"min\":0,\"max\":0,\"current\":0,\"state\":\"done\"}}"));
}

/* What the operator should know now, in Prometheus's words: so far that the last reload failed. */
void page_notifications(http_request *req)
{
    const query_http *h = req->route_ctx;
    AUTO(buf_done) buf body = BUF_INIT(1u << 16);
    int64_t loaded_ms = h->started_ms;
    bool ok = !h->about.config_ok || h->about.config_ok(h->about.ctx, &loaded_ms);
    api_begin(&body);
    json_writer w = json_writer_to(&body);
    json_begin(&w, '[');
    if (!ok) {
        json_begin(&w, '{');
        json_put_cstr(&w, "text", "Configuration reload has failed.");
        put_iso(&w, "date", loaded_ms);
        json_put_bool(&w, "active", true);
        json_end(&w, '}');
    }
    json_end(&w, ']');
    reply_object(req, &body);
}

void page_features(http_request *req)
{
    const query_http *h = req->route_ctx;
    bool experimental = query_engine_options(h->engine)->features & PROMQL_EXPERIMENTAL_FUNCTIONS;
    AUTO(buf_done) buf body = BUF_INIT(1u << 16);
    api_begin(&body);
    json_writer w = json_writer_to(&body);
    json_begin(&w, '{');
    json_key(&w, "api");
    json_begin(&w, '{');
    json_put_bool(&w, "query_stats", true);
    json_put_bool(&w, "label_values_match", true);
    json_put_bool(&w, "remote_write_receiver", true);
    json_end(&w, '}');
    json_key(&w, "promql");
    json_begin(&w, '{');
    json_put_bool(&w, "at_modifier", true);
    json_put_bool(&w, "negative_offset", true);
    json_put_bool(&w, "subqueries", true);
    json_put_bool(&w, "duration_expr", true);
    json_put_bool(&w, "experimental_functions", experimental);
    json_put_bool(&w, "native_histograms", true);
    json_end(&w, '}');
    json_end(&w, '}');
    reply_object(req, &body);
}
