/* watch/watch.h - the room's door: who is watched, and how we see it.
 *
 * Host vitals from /proc, supervised processes, scraped targets, probes, discovery on loopback, and what
 * others push. Bytes come in, samples go out through the sample_sink that main.c wires to the store; watch
 * never knows what happens to them. All on the main loop; parsers and state machines know no loop.
 *
 * Series watch adds to what it scrapes (labels job, instance on all; see docs/en/watch.md):
 *   up, scrape_duration_seconds, scrape_samples_scraped, scrape_samples_post_metric_relabeling, scrape_series_added
 *   watch_engine_info{engine,version}                        1 while the target looks like that engine
 *   watch_process_up, watch_process_stopped (state T), watch_process_start_time_seconds, watch_process_restarts_total,
 *   watch_process_cpu_seconds_total, watch_process_resident_memory_bytes, watch_process_open_fds, watch_process_threads,
 *   watch_process_blocked (state D), watch_process_read_bytes_total, watch_process_written_bytes_total
 *   probe_success{probe="health"|"completion"}, probe_duration_seconds{probe}, probe_http_status_code{probe},
 *   probe_refused{probe} (1: connection refused), probe_timeout{probe} (1: no answer in time),
 *   probe_ttft_seconds (completion only, on success)
 *   watch_progress_age_seconds   since the last forward step while work was running; 0 when idle
 *   watch_progress_state{state}  1 for the state the replica is in (watch/progress.h), 0 for the others
 */
#pragma once
#include "audit/audit.h"
#include "config/config.h"
#include "metric/metric.h"
#include "net/net.h"

/* ---- configuration: the `watch:` section, or Prometheus's own file ---- */
typedef struct watch_config watch_config;
/* `section` NULL: defaults (host and discovery on). Nodes are borrowed from `c`; strings are copied. */
err_kind watch_config_parse(const config *c, watch_config **ret, err *e);
/* prometheus.yml: scrape_configs (static_configs; other discovery is accepted, its job marked down with the
 * reason), global intervals. Host watching, discovery and probes are off. */
err_kind watch_config_from_prometheus(const yaml_doc *doc, const char *dir, watch_config **ret, err *e);
void watch_config_free(watch_config *c);
void watch_config_host_only_if(watch_config *c, bool watch_by_itself);   /* --watch=off: no host, no discovery */

/* ---- life ---- */
typedef struct watch watch;
typedef struct watch_deps {
    uv_loop_t *loop;
    http_client *client;
    sample_sink sink;
    audit *audit;
    state_db *state;            /* supervised processes survive us; NULL in tests */
    const char *data_dir;       /* engine output goes to DATA/spool/<replica>.log */
    int own_port;               /* discovery skips it */
    /* Does the series selector (text) match these labels? For ?match_target=…; NULL: the parameter is refused.
     * ERR_PARSE: not a selector. */
    err_kind (*selects)(void *ctx, str selector, labels l, bool *ret, err *e);
    void *selects_ctx;
} watch_deps;
err_kind watch_open(const watch_deps *deps, watch_config *take_config, watch **ret, err *e);
/* Swap the configuration: unchanged targets and processes go on undisturbed. */
err_kind watch_reload(watch *w, watch_config *take_config, err *e);
void watch_close(watch *w);     /* supervised engines keep running; the next start adopts them */

/* ---- what is known of each replica ---- */
typedef enum process_state { PROCESS_NONE, PROCESS_STARTING, PROCESS_RUNNING, PROCESS_STOPPING, PROCESS_EXITED } process_state;
typedef struct replica_info {
    const char *id;             /* "replica:JOB/INSTANCE" */
    const char *name, *job, *instance, *url;
    const char *engine, *version, *model;    /* "" unknown */
    bool discovered;
    process_state process; int pid; int64_t process_start_ms; int last_exit_code, last_signal; /* -1: none */
    int64_t process_end_ms;     /* PROCESS_EXITED: since when, or since when it could not be started; else 0 */
    unsigned restarts;
    int up;                     /* last scrape: 1, 0, -1 not scraped */
    char scrape_error[200];
    int health, completion;     /* last probe: 1 ok, 0 failed, -1 none */
    char probe_error[200];
    double probe_ttft_s;        /* NaN: none */
    const char *progress;       /* progress state's name */
} replica_info;
/* i-th replica, or NULL beyond the last. Borrowed until the loop runs on. */
const replica_info *watch_replica_at(watch *w, size_t i);
const replica_info *watch_replica_find(watch *w, const char *id);

/* ---- what heal may ask for ---- */
/* Stop (SIGTERM, after grace_ms SIGKILL, on the whole process group) and start again. done(OK) once the new
 * process runs (not: once it is healthy). ERR_NOT_FOUND, ERR_UNSUPPORTED (nothing supervised), ERR_CONFLICT (one is under way). */
err_kind watch_process_restart(watch *w, const char *id, int64_t grace_ms, void (*done)(void *ctx, const err *result), void *ctx, err *e);
/* A completion probe now; at most one in flight a replica: if one runs, its result is yours too. */
typedef struct probe_result { bool ok, refused, timeout; int http_status; double ttft_s, total_s; char error[200]; } probe_result;
err_kind watch_probe(watch *w, const char *id, void (*done)(void *ctx, const probe_result *r), void *ctx, err *e);
/* Told at once when a supervised process ends or starts, a replica goes up or down, or stalls: others look again
 * instead of waiting for their tick. The series that show it are in the sink already. `fn` may ask watch for anything
 * but watch_reload and watch_close. */
void watch_on_change(watch *w, void (*fn)(void *ctx, const char *replica_id), void *ctx);

/* What targets and senders said about their metrics, family by family (one may come in several wordings): at most `cap`
 * into `ret`, borrowed until the loop goes on. Returns how many. */
size_t watch_metadata(watch *w, exposition_meta *ret, size_t cap);

/* ---- routes: /api/v1/targets, /api/v1/targets/metadata, /api/v1/scrape_pools, /api/v1/metadata, /api/v1/write ---- */
err_kind watch_routes(watch *w, http_server *s, err *e);
