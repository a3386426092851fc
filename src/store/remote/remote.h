/* store/remote/remote.h - sending to other stores: all remotes of remote_write, their queue and their thread.
 *
 *   watch, rules … ─▶ remote_sink ─▶ store          one thread: loop, HTTP client, a sender per remote
 *                          └──────▶ queue on disk ─▶ (rqueue.h, sender.h)
 *
 * What the store accepts is in the queue before the append returns, and goes to each remote at its own pace; trouble there
 * never holds an append up. */
#pragma once
#include "store/remote/sender.h"

#define REMOTE_QUEUE_BYTES (UINT64_C(4) << 30)

typedef struct remote remote;
typedef struct remote_options {
    const char *dir;              /* DATA/spool/remote */
    uint64_t max_bytes;           /* of the queue, for all remotes together; 0: REMOTE_QUEUE_BYTES */
    sample_sink store;
    bool canonical;               /* canonical series are written for real (canonical_rows.h) */
} remote_options;
/* Takes what is in *take, also on an error. With no remotes it is only the way through to the store. */
CHECKED err_kind remote_open(const remote_options *o, remote_configs *take, remote **ret, err *e);
/* Another set of remotes; those whose text did not change go on undisturbed. From the thread that opened. */
CHECKED err_kind remote_reload(remote *r, remote_configs *take, err *e);
/* Nobody may append any more. What was not sent stays in the queue. NULL is fine. */
void remote_close(remote *r);
sample_sink remote_sink(remote *r);
/* Types and help texts for the remotes that want them; any thread. */
void remote_tell_metadata(remote *r, const exposition_meta *at, size_t n);
int64_t remote_metadata_interval_ms(const remote *r);   /* the shortest any remote wants; 0: none does */

/* How the remotes are, for pages; any thread. Returns how many there are, at most `cap` are written. */
size_t remote_states(remote *r, sender_state *ret, size_t cap);
rqueue_stats remote_queue_stats(remote *r);
