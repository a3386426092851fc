/* alert/notify/notify.h - from changed alerts to messages: groups by route, what is worth telling, and when.
 *
 *   alert fires or ends --> route_match --> group (route + values of group_by)
 *                                              |  group_wait after its first alert, then every group_interval
 *                                              v
 *                           something new since the last message that arrived, or repeat_interval over?
 *                                              |
 *                                              v
 *                                    queue --> webhook (notify/queue.h)
 *
 * Source: Alertmanager's dispatch/dispatch.go and notify.DedupStage.needsUpdate. A message counts as told once the
 * receiver has answered 2xx; until then each group_interval tries again with the state of then.
 *
 * Thin so far: inhibition, silences and time intervals are not looked at. One thread. */
#pragma once
#include "alert/alert_config.h"
#include "alert/notify/queue.h"

#define NOTIFY_MAX_GROUPS 10000
#define NOTIFY_MAX_GROUP_ALERTS 10000

typedef struct notify_alert {
    label_set *labels;
    uint64_t hash;
    arena text;                       /* owns the annotations and the URL */
    config_pair *annotations; size_t annotation_count;
    str generator_url;
    int64_t starts_ms, ends_ms;       /* ends 0: firing */
} notify_alert;

/* What a receiver was told last about a group: hashes, sorted. */
typedef struct notify_told {
    uint64_t *firing, *resolved;
    size_t firing_len, resolved_len;
    int64_t at_ms;                    /* 0: never */
    uint64_t message_id;              /* of the message that tells it */
} notify_told;

/* Is there something to tell? Pure; the arrays are sorted. */
bool notify_worth_telling(const notify_told *told, const uint64_t *firing, size_t firing_len, const uint64_t *resolved, size_t resolved_len,
                          bool send_resolved, int64_t repeat_ms, int64_t now_ms);

typedef struct notify notify;
/* `q` is borrowed and must outlive it. NULL without memory. */
notify *notify_new(const alert_config *c, notify_queue *q, str external_url);
void notify_free(notify *n);
/* An alert fired (state FIRING) or was resolved (INACTIVE). ERR_LIMIT, ERR_NOMEM: it will not be told. */
err_kind notify_put(notify *n, const alert_info *a, str expr, int64_t now_ms, err *e);
/* Flush the groups that are due. */
void notify_tick(notify *n, int64_t now_ms);
/* New routes: groups are dropped (put the firing alerts again), what was told is remembered. */
void notify_reroute(notify *n, const alert_config *c);
size_t notify_group_count(const notify *n);
