/* store/remote/remote_config.h - one remote: where to send and how. Prometheus's own schema:
 * https://prometheus.io/docs/prometheus/latest/configuration/configuration/#remote_write
 *
 * Every key of it is known. Without effect so far and accepted: proxies, oauth2, sigv4, azuread, google_iam, HTTP/2,
 * min_shards. Different from Prometheus: `retry_on_http_429` is true unless written, as the queue is on disk. */
#pragma once
#include "metric/metric.h"
#include "net/net.h"
#include "store/remote/rqueue.h"

typedef enum remote_protocol { REMOTE_WRITE_1, REMOTE_WRITE_2 } remote_protocol;
typedef struct remote_queue_config {
    int64_t capacity, max_shards, max_samples_per_send;
    int64_t batch_send_deadline_ms, min_backoff_ms, max_backoff_ms, sample_age_limit_ms;
    bool retry_on_429;
} remote_queue_config;

typedef struct remote_config {
    arena arena;
    char name[RQUEUE_NAME_MAX];      /* of the cursor file and in metrics: as written, or made from the fingerprint */
    char *url;
    int64_t timeout_ms;
    http_header *headers; size_t header_count;
    http_auth auth;
    relabel_rules relabel;
    label *external; size_t external_count;   /* for series that do not have them */
    remote_protocol protocol;
    bool follow_redirects, send_exemplars, send_histograms, send_metadata;
    int64_t metadata_interval_ms, max_metadata_per_send;
    remote_queue_config queue;
    uint64_t fingerprint;            /* equal for equal text: a reload leaves such a remote alone */
} remote_config;

#define REMOTES_MAX 64
typedef struct remote_configs { remote_config **at; size_t len; } remote_configs;
/* `list`: the sequence remote_write, NULL is fine. `external`: put on series that lack them; copied. *ret is yours. */
err_kind remote_configs_parse(const yaml_doc *doc, const yaml_node *list, labels external, const char *dir,
                              remote_configs *ret, err *e);
CHECKED err_kind remote_configs_add(remote_configs *to, remote_configs *take, err *e);   /* ERR_CONFLICT: a name is used twice */
void remote_configs_done(remote_configs *c);
void remote_config_free(remote_config *c);   /* NULL is fine */
