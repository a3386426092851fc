/* watch/watch_room.h - the room's inside, shared by watch.c and watch_http.c. */
#pragma once
#include "watch/discover/discover.h"
#include "watch/host/host.h"
#include "watch/receive/receiver.h"
#include "watch/scrape/pool.h"

#define WATCH_OWN_INTERVAL_MS 15000

struct watch {
    watch_deps deps;
    char spool_dir[4096];
    watch_config *config;
    vec(replica *) replicas;              /* configured, then discovered */
    vec(pool *) pools;                    /* in the configuration's order */
    host *host;
    uint64_t host_fingerprint;
    int64_t host_interval_ms;
    net_timer *host_timer, *own_timer;
    row_vec host_rows, own_rows;
    discover *discover;
    int64_t discover_every_ms;
    receiver *receiver;                   /* remote write */
    page_cache *own_page;                 /* galen's own metrics, read like any page */
    void (*on_change)(void *ctx, const char *replica_id);
    void *on_change_ctx;
};

/* ---- the pages (watch_http.c, metadata_http.c) ---- */
#define WATCH_ANSWER_MAX (64u << 20)
/* {"status":"success","data": … the caller writes the data and the closing brace. */
json_writer watch_begin_answer(buf *out);
void watch_reply_json(http_request *req, buf *out);
/* Every target with its pool's name, replicas first; NULL beyond the last. */
target *watch_target_at(watch *w, size_t i, str *ret_pool);
void watch_metadata_page(http_request *req);
void watch_targets_metadata_page(http_request *req);
