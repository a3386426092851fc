/* watch/replica.h - one running copy of an engine, with all the ways we see it. Private to the room.
 *
 * Brings together its target (scrape), process, prober and progress machine, and keeps what watch.h's
 * replica_info shows. Three kinds: configured (owns its target, perhaps a process and probes), discovered (owns its
 * target, health only), observed (a scrape job's target that turned out to be an engine: looks on, owns nothing). */
#pragma once
#include "watch/probe/probe.h"
#include "watch/process/process.h"
#include "watch/progress.h"
#include "watch/scrape/target.h"

typedef struct replica replica;

typedef struct replica_deps {
    uv_loop_t *loop;
    http_client *client;
    sample_sink sink;
    audit *audit;
    state_db *state;
    const char *spool_dir;
    void (*on_change)(void *ctx, const char *id);
    void *ctx;
} replica_deps;

/* `generation` is what `c` lives in; referenced until close. `take_process` (may be NULL): the process of a replica
 * that had the same id before a reload. */
err_kind replica_open(const replica_deps *deps, watch_config *generation, const replica_config *c, process *take_process,
                      replica **ret, err *e);
/* A replica that shares an arena of its own: found by discovery. */
err_kind replica_open_discovered(const replica_deps *deps, watch_config *generation, const char *engine, int port, const char *model,
                                 replica **ret, err *e);
/* A scrape target that looks like an engine. */
err_kind replica_open_observed(const replica_deps *deps, const target *t, replica **ret, err *e);
/* Its series end; its process keeps running. */
void replica_close(replica *r);

void replica_on_scrape(replica *r, const scrape_outcome *o, row_vec *rows);
void replica_on_settled(replica *r);

const replica_info *replica_info_of(replica *r);
const replica_config *replica_config_of(const replica *r);
target *replica_target(const replica *r);          /* NULL: observed */
process *replica_take_process(replica *r);         /* hands it out, so that a reload can pass it on */
err_kind replica_restart(replica *r, int64_t grace_ms, void (*done)(void *ctx, const err *result), void *ctx, err *e);
err_kind replica_probe(replica *r, void (*done)(void *ctx, const probe_result *res), void *ctx, err *e);
