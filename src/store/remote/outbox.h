/* store/remote/outbox.h - the sink in front of the store when remotes are configured: what the store accepts also goes
 * into their queue (rqueue.h).
 *
 * One append is: find or number each row's series, write the batch to the queue, ask the store, then commit (marking what
 * it refused) or abandon. An append holds the outbox's lock throughout, so the queue has the store's order. Trouble with
 * the queue never stops an append: the rows are counted as lost for the remotes, and told.
 *
 * Series are known by the refs the store gave and by a 128-bit hash of their labels; labels are not kept (but for those
 * that stand for canonical series), so a row without labels whose series is not yet in the queue's current segment makes
 * the append ERR_NOT_FOUND, as the sink's contract has it, and comes again with labels. Thread-safe. */
#pragma once
#include "store/remote/rqueue.h"

#ifdef GALEN_TINY
#define OUTBOX_SERIES_MAX 8u
#else
#define OUTBOX_SERIES_MAX (1u << 23)  /* known at a time; beyond it all are forgotten and numbered again */
#endif

typedef struct outbox outbox;
/* `canonical`: write canonical series for real (canonical_rows.h). NULL without memory. */
outbox *outbox_new(rqueue *q, sample_sink store, bool canonical);
void outbox_free(outbox *o);                   /* NULL is fine */
sample_sink outbox_sink(outbox *o);
/* Off: rows go to the store only. It begins off. */
void outbox_turn(outbox *o, bool on, bool exemplars);
uint64_t outbox_lost(outbox *o);               /* rows the queue could not take */
