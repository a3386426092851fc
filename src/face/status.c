/* face/status.c - GET /health and /api/system/status, in the shapes of the articles galen grew from (docs: features
 * P1.32, P7.17), so that scripts written after them work against galen unchanged. */
#include "face/room.h"
#include "face/state.h"
#include <math.h>

#define STATUS_MAX_BYTES 4096

/* psutil rounds its percentages to one decimal. */
static double percent(double ratio) { return round(ratio * 1000) / 10; }

void status_health_get(http_request *req)
{
    face *f = req->route_ctx;
    AUTO(buf_done) buf out = BUF_INIT(STATUS_MAX_BYTES);
    json_writer w = json_writer_to(&out);
    vitals_now now = vitals_look(&f->vitals);

    json_begin(&w, '{');
    json_put_double(&w, "cpu_usage", percent(now.host_cpu_ratio));
    json_put_double(&w, "memory_usage", percent(now.host_memory_ratio));
    json_put_bool(&w, "gpu_available", vitals_gpu_available());
    json_put_cstr(&w, "service_status", "active");
    json_end(&w, '}');
    reply_json(req, &out);
}

/* The slowest probe, and the share of replicas that are of no use. */
static system_load load_of(face *f)
{
    system_load l = { .request_latency_s = NAN, .memory_ratio = vitals_look(&f->vitals).host_memory_ratio };
    const replica_info *r;
    size_t all = 0, down = 0;

    for (; f->deps.watch && (r = watch_replica_at(f->deps.watch, all)); all++) {
        const incident *open = f->deps.diagnose ? diagnose_open_incident(f->deps.diagnose, str_from(r->id)) : NULL;
        down += replica_state_is_down(replica_state_name(r, open));
        l.request_latency_s = fmax(l.request_latency_s, r->probe_ttft_s); /* fmax leaves a NaN out */
    }
    l.error_ratio = all ? (double)down / (double)all : 0;
    return l;
}

void status_system_get(http_request *req)
{
    face *f = req->route_ctx;
    AUTO(buf_done) buf out = BUF_INIT(STATUS_MAX_BYTES);
    json_writer w = json_writer_to(&out);
    system_load l = load_of(f);
    double running = NAN;

    if (f->deps.query)
        query_number(f->deps.query, STR("sum(llm_requests_running)"), clock_now_ms(), &running, NULL);
    json_begin(&w, '{');
    json_put_i64(&w, "degradation_level", degradation_level(&l));
    json_key(&w, "metrics");
    json_begin(&w, '{');
    json_put_double(&w, "request_latency", l.request_latency_s);
    json_put_double(&w, "error_rate", l.error_ratio);
    json_put_double(&w, "gpu_utilization", NAN);
    json_put_double(&w, "memory_usage", l.memory_ratio);
    json_put_double(&w, "active_requests", running);
    json_end(&w, '}');
    json_put_double(&w, "timestamp", (double)clock_now_ms() / 1000);
    json_end(&w, '}');
    reply_json(req, &out);
}
