/* watch/watch_config.h - what is to be watched, read once and then immutable. Private to the room.
 *
 * One configuration is shared by the targets and replicas that were born from it: a reload keeps what did not
 * change, so an old one lives on until the last of its children is gone (counted references). */
#pragma once
#include "watch/scrape/scrape_config.h"
#include "watch/watch.h"

#define WATCH_MAX_REPLICAS 1000
#define WATCH_MAX_JOBS 10000

typedef struct process_config {
    bool enabled;
    char **argv;                  /* NULL-terminated */
    char **env;                   /* "NAME=value", on top of ours; NULL-terminated, may be NULL */
    size_t env_count;
    char *dir;                    /* NULL: galen's own */
    int64_t stop_grace_ms;
} process_config;

typedef struct health_config { bool enabled; str path; int64_t every_ms, timeout_ms; } health_config;
typedef struct probe_config { bool enabled, every_set; char *model; str path; int64_t every_ms, timeout_ms; } probe_config;

typedef struct replica_config {
    str name, url, job, engine, instance, metrics_path;
    int64_t interval_ms, timeout_ms, stall_after_ms;
    config_pairs labels;          /* put on its series beside job and instance */
    http_auth auth;
    process_config process;
    health_config health;
    probe_config probe;
    scrape_job scrape;            /* made from the above, so that a replica is scraped like any target */
    uint64_t fingerprint;
} replica_config;

typedef struct host_config { bool enabled; int64_t interval_ms; str instance; char *proc, *root; uint64_t fingerprint; } host_config;
typedef struct discovery_config { bool enabled; int64_t every_ms, interval_ms; } discovery_config;

struct watch_config {
    unsigned refs;
    arena arena;
    host_config host;
    discovery_config discovery;
    int64_t stall_after_ms;
    int gateway_port;             /* discovery skips it; 0: none */
    scrape_job *jobs; size_t job_count;
    replica_config *replicas; size_t replica_count;
};

watch_config *watch_config_ref(watch_config *c);
void watch_config_unref(watch_config *c);   /* NULL is fine */

/* A replica found on loopback: as if it had been configured with these. Strings are copied into `a`. */
err_kind replica_config_discovered(arena *a, const char *engine, int port, int64_t interval_ms, int64_t stall_after_ms, replica_config *ret);

/* "http://127.0.0.1:8000/x" -> "127.0.0.1:8000"; empty if it is no such URL. */
str url_authority(str url);
