/* store/remote/sender.h - one remote: reads the queue, batches, sends, tries again.
 *
 *              room                    a batch is full, or old enough
 *   QUEUE ------------> FILLING  -------------------------------------> SENDING --(2xx)--> done, the cursor moves on
 *  (rqueue)                                                             |  ^  |
 *                                             5xx, 429, no answer, time |  |  | 400: halves, each on its own
 *                                                                       v  |  | other 4xx: dropped, counted, told
 *                                                                     BACKOFF |  415: 1.0 instead of 2.0
 *
 * A series always goes to the same of the remote's shards; a shard has one request under way. So a series' samples
 * arrive in order. Shards double while the remote lags behind, and go again when it has caught up. What was not answered
 * with 2xx when galen ends is sent again: the cursor stands before the oldest sample that is still on its way.
 * Runs on the loop of the remotes' thread. */
#pragma once
#include "store/remote/request.h"

typedef enum send_verdict { SEND_DONE, SEND_RETRY, SEND_SPLIT, SEND_DROP, SEND_FALL_BACK } send_verdict;
/* What an answer means. `items`: samples in the request. */
typedef struct send_answer { err_kind kind; int status; remote_protocol protocol; size_t items; bool written_told, retry_on_429; } send_answer;
send_verdict send_verdict_of(const send_answer *a);
/* How long to wait before attempt `attempts` + 1: doubling from `min_ms` to `max_ms`, jitter of a quarter; at least what
 * Retry-After asked for (seconds; capped at RETRY_AFTER_MAX_MS). `random`: 0 <= x < 1. */
#define RETRY_AFTER_MAX_MS INT64_C(300000)
int64_t send_backoff_ms(int64_t min_ms, int64_t max_ms, unsigned attempts, str retry_after, double random);

typedef struct sender sender;
typedef struct sender_deps {
    uv_loop_t *loop;
    http_client *client;
    rqueue *queue;
    void (*room)(void *ctx);                   /* an answer made room: call sender_turn soon */
    void *ctx;
} sender_deps;
/* Takes the configuration. Reading begins where the cursor of its name was. */
CHECKED err_kind sender_open(const sender_deps *d, remote_config *take, sender **ret, err *e);
void sender_close(sender *s);                  /* what is under way is sent again at the next start */
const remote_config *sender_config(const sender *s);
/* Read, send what is due, look after shards and metrics. True: more could be read at once. */
bool sender_turn(sender *s);
/* One request with families' types and help, on its own; not tried again. `body`: a WriteRequest, compressed. */
void sender_metadata(sender *s, str body);

typedef struct sender_state {
    char name[RQUEUE_NAME_MAX], url[200], error[240];  /* error "": the last request was taken */
    bool up;                                           /* also before the first one */
    int64_t failing_since_ms;
    uint64_t sent, failed, dropped, retried, lost, waiting;
    double highest_sent_s, highest_queued_s;
    size_t shards;
} sender_state;
sender_state sender_state_of(const sender *s);
