/* main/store_remote.h - store.remote of galen.yml: keep samples in somebody else's store instead of the embedded one.
 *
 *   store:
 *     remote:
 *       write_url: http://vm:8428/api/v1/write     # remote write: what goes out, by the queue of store/remote
 *       read_url: http://vm:8428                   # what stands before /api/v1/query: whole expressions are pushed down
 *       tenant: team-a                             # sent as X-Scope-OrgID; other fields under `headers`
 *
 * The embedded store stays as a short buffer (`buffer`): the queue's refs, and what was accepted, come from there. */
#pragma once
#include "query/remote.h"
#include "store/remote/remote_config.h"

typedef struct store_remote {
    char *read_url;
    http_header *headers; size_t header_count;
    http_auth auth;
    config_pairs params;
    int64_t timeout_ms, buffer_ms;
    uint64_t fingerprint;
} store_remote;

/* `at`: the mapping store.remote, NULL: none (*ret stays NULL). The way out is added to *remotes under the name "store". All
 * else lives in `a`. */
err_kind store_remote_parse(const yaml_doc *doc, const yaml_node *at, labels external, const char *dir, arena *a,
                            remote_configs *remotes, store_remote **ret, err *e);
