/* watch/scrape/scrape_config.h - one job of scrape_configs, and the targets it names.
 *
 * The schema is Prometheus's own; every key of it is known. What has no effect here yet is accepted and
 * ignored; ways of finding targets other than static_configs and file_sd_configs leave the job without
 * targets and with a reason why (down_reason), so that one foreign job never keeps a file from loading.
 * Source: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#scrape_config */
#pragma once
#include "watch/scrape/protocol.h"
#include "metric/metric.h"
#include "net/net.h"

#define SCRAPE_MAX_BODY (16u << 20)       /* a page, unless body_size_limit says otherwise */
#define SCRAPE_BODY_CEILING (256u << 20)  /* body_size_limit: 0 means this, never endless */
#define SCRAPE_MAX_TARGETS 20000          /* of one job */
#define SCRAPE_MIN_INTERVAL_MS 100

typedef struct target_group { config_strs targets; config_pairs labels; } target_group;
typedef struct param { str name; config_strs values; } param;

typedef struct scrape_job {
    str name;
    int64_t interval_ms, timeout_ms;
    str metrics_path, scheme;
    bool honor_labels, honor_timestamps, track_timestamps_staleness, follow_redirects;
    bool compression;                     /* ask for gzip */
    bool native_histograms, classic_too;  /* read them; the buckets of one that has both, as well */
    int64_t bucket_limit;                 /* of a native histogram: 0: none */
    scrape_protocols protocols;
    scrape_protocol fallback;             /* SCRAPE_NO_PROTOCOL: none */
    param *params; size_t param_count;
    http_auth auth;
    int64_t body_size_limit, sample_limit, target_limit, label_limit, label_name_length_limit, label_value_length_limit;
    relabel_rules relabel, metric_relabel;
    target_group *groups; size_t group_count;
    char down_reason[200];                /* "": the job can run */
    uint64_t fingerprint;                 /* equal for equal text: a reload leaves such a job alone */
} scrape_job;

/* What a job leaves open: durations, and of Prometheus's `global` mapping the keys that jobs inherit (NULL: no mapping). */
typedef struct scrape_defaults { int64_t interval_ms, timeout_ms; const yaml_node *global; } scrape_defaults;

/* `dir`: what relative file names in the job are relative to. Strings live in `a`; scrape_job_done frees the rest. */
err_kind scrape_job_parse(const yaml_doc *doc, const yaml_node *at, const scrape_defaults *d, const char *dir, arena *a,
                          scrape_job *ret, err *e);
void scrape_job_done(scrape_job *j);

/* One target after relabelling. */
typedef struct target_spec {
    labels discovered, labels;            /* before, and after (no "__" names left, job and instance set) */
    str url;
    int64_t interval_ms, timeout_ms;
    bool dropped;                         /* relabelling says no; only `discovered` is filled */
} target_spec;
/* All targets of the job, in file order; memory in `a`. A target that cannot be (no address, a broken label) is an
 * error for the whole job. */
err_kind scrape_job_targets(const scrape_job *j, arena *a, target_spec **ret, size_t *ret_n, err *e);
