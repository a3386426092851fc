/* main/settings.h - everything `galen serve` and `galen check` read from configuration files, as one generation.
 *
 * A generation is built whole before anything is changed: a broken file leaves the running one in place. */
#pragma once
#include "alert/alert.h"
#include "heal/heal.h"
#include "main/store_remote.h"
#include "store/remote/remote_config.h"
#include "watch/watch.h"

#define RETENTION_MIN_MS INT64_C(3600000)  /* a slip of the keyboard must not empty the store */

typedef struct settings_files {
    const char *config;              /* galen.yml, or NULL */
    const char *prometheus, *alertmanager; /* --prometheus.config, --alertmanager.config, or NULL */
    bool watch_by_itself;            /* --watch=on */
} settings_files;

typedef struct face_settings { const char *listen, *external_url, *cors_origin; bool insecure; } face_settings;
typedef struct store_settings {
    int64_t retention_ms, wal_fsync_ms, out_of_order_ms, retention_bytes, memory_bytes;
    int64_t max_series, max_series_per_metric, max_series_per_target, max_exemplars, tier_5m_ms, tier_1h_ms;
} store_settings;
typedef struct query_settings { int64_t lookback_ms, timeout_ms, max_samples, max_series, max_points, max_memory, threads; } query_settings;

typedef struct settings {
    config *config;
    arena arena;
    face_settings face;
    store_settings store;
    query_settings query;
    labels external_labels;          /* prometheus.yml's global.external_labels or galen.yml's store.external_labels */
    remote_configs remotes;          /* where samples are sent */
    int64_t remote_queue_bytes;
    store_remote *store_remote;      /* NULL: the embedded store is the store */
    watch_config *watch;
    alert_config *alert;
    diagnose_config *diagnose;
    heal_config *heal;
} settings;

/* Read and check all of it. Errors name file, line and column. *ret is yours. */
err_kind settings_load(const settings_files *files, settings **ret, err *e);
/* Which keys that are read only at the start differ, into `out`: "face.listen, store.retention". False: none. */
bool settings_need_restart(const settings *running, const settings *fresh, char *out, size_t cap);
/* A mapping of names to values, $NAME and ${NAME} in them replaced by the environment's; NULL: none. In `a`. Sorted. */
err_kind external_labels_parse(const yaml_doc *doc, const yaml_node *at, arena *a, labels *ret, err *e);
void settings_free(settings *s);     /* what rooms took (TAKE) is no longer in it */
void settings_freep(settings **s);
