/* alert/notify/queue.h - messages on their way out: bounded, retried, never forgotten silently.
 *
 *   WAITING --due--> SENDING --2xx--> told
 *      ^               | 429, 5xx, no answer: again after 1 s, 2 s, 4 s … 60 s, each half of it by chance
 *      +---------------+
 *                      | other 4xx, 3xx, or NOTIFY_MAX_ATTEMPTS used up: given up, on record
 *
 * A full queue drops its oldest waiting message and records that. A newer message of the same group to the same receiver
 * replaces the waiting one: it holds the whole state. Knows no HTTP: `send` is a callback. One thread. */
#pragma once
#include "alert/alert_config.h"

#define NOTIFY_QUEUE_MAX 1000
#define NOTIFY_IN_FLIGHT_MAX 8
#define NOTIFY_MAX_ATTEMPTS 9
#define NOTIFY_BACKOFF_FIRST_MS 1000
#define NOTIFY_BACKOFF_MAX_MS 60000

typedef struct notify_queue notify_queue;
typedef struct notify_message {
    str key;                 /* group and receiver: what a newer message replaces */
    str receiver;            /* its name, for the record */
    const webhook *to;       /* borrowed from the configuration: notify_queue_clear before it goes */
    str body;                /* JSON */
    unsigned attempt;        /* 1: the first */
    uint64_t id;
} notify_message;

typedef struct notify_queue_deps {
    /* Start sending; the result comes later through notify_queue_result(id). Not OK: it could not even start. */
    err_kind (*send)(void *ctx, const notify_message *m, err *e);
    void (*cancel)(void *ctx, uint64_t id);           /* a message in flight is not wanted any more */
    void *send_ctx;                                   /* of send and cancel */
    /* OK: it arrived. Else it is given up: dropped (ERR_FULL), refused or unreachable. */
    void (*finished)(void *ctx, const notify_message *m, err_kind outcome, const char *why);
    void *finished_ctx;
} notify_queue_deps;

notify_queue *notify_queue_new(const notify_queue_deps *d, uint64_t seed);   /* NULL without memory */
void notify_queue_free(notify_queue *q);
/* All texts are copied. *ret_id (may be NULL) is what finished() will name. */
err_kind notify_queue_put(notify_queue *q, str key, str to_name, const webhook *to, str body, int64_t now_ms, uint64_t *ret_id, err *e);
void notify_queue_tick(notify_queue *q, int64_t now_ms);
/* status 0: no HTTP answer came, `why` says what happened instead. */
void notify_queue_result(notify_queue *q, uint64_t id, int status, const char *why, int64_t now_ms);
void notify_queue_clear(notify_queue *q);            /* nobody is told of what is dropped: the groups will send again */
size_t notify_queue_len(const notify_queue *q);
/* Who is told when a message arrived or was given up, besides finished(): the groups. */
void notify_queue_on_finished(notify_queue *q, void (*fn)(void *ctx, const notify_message *m, err_kind outcome), void *ctx);
int64_t notify_backoff_ms(unsigned attempt, double chance);   /* chance 0..1 */
