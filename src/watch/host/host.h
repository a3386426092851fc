/* watch/host/host.h - this machine's vitals, read from /proc under node_exporter's names.
 *
 * Names, labels, units and default exclusions are node_exporter's (1.5 and later), so that its dashboards
 * and rules work unchanged: https://github.com/prometheus/node_exporter. What the kernel's files mean:
 * proc(5), Documentation/admin-guide/iostats.rst, Documentation/accounting/psi.rst.
 *
 * Cheap by design, for a resolution of one second: each file is opened once and re-read with pread(2),
 * label sets and store refs are kept (watch/emit.h), so a steady round allocates nothing. A collector that
 * fails (file missing, no PSI in this kernel) is left out and says node_scrape_collector_success 0.
 * File systems are asked each 15 s, and network ones not at all: statvfs(2) on a dead NFS mount hangs. */
#pragma once
#include "watch/emit.h"

#define HOST_FILE_MAX_BYTES (4u << 20)    /* one file of /proc; more is cut off */
#define HOST_INTERVAL_MS 1000
#define HOST_SLOW_INTERVAL_MS 15000

typedef struct host_options {
    const char *proc;             /* NULL: "/proc"; tests point it at a tree of fixtures */
    const char *root;             /* NULL: "/"; put before mount points when they are asked for their size */
    str job, instance;            /* empty: "node", the host's name */
} host_options;

typedef struct host host;
err_kind host_open(const host_options *o, host **ret, err *e);
void host_close(host *h);
/* One round: every collector that is due. Appends rows to *rows (cleared first); they are valid until the
 * next call. ERR_NOMEM loses this round only. */
err_kind host_collect(host *h, int64_t now_ms, row_vec *rows);
/* Stale markers for everything, when host watching is turned off. */
err_kind host_collect_end(host *h, int64_t now_ms, row_vec *rows);
/* The collectors' names, for `galen help` and the docs. NULL beyond the last. */
const char *host_collector_name(size_t i);
