/* store/exemplars.h - the newest exemplars of all series, in a ring: one more than it holds and the oldest goes.
 *
 * An exemplar belongs to a series by its labels. Checks are those of Prometheus (tsdb/exemplar.go): within a series
 * times do not fall, at one time values rise, the newest again is a duplicate. Thread-safe by its own lock, which is
 * the last to be taken. */
#pragma once
#include "store/store.h"
#include "store/wal.h"
#include <pthread.h>

#define EXEMPLARS_MAX 100000u          /* unless store_options says otherwise */
#define EXEMPLARS_HARD_MAX 100000000u

typedef struct exemplar_entry { label_set *labels; double v; int64_t t_ms; uint32_t series, next; } exemplar_entry;
typedef struct exemplar_owner { label_set *labels; uint32_t first, last; } exemplar_owner; /* labels NULL: free, `first` is the next free */

typedef struct exemplars {
    pthread_mutex_t lock;
    vec(exemplar_entry) ring;          /* grows up to `max`, then the place after `newest` is the oldest */
    size_t max, at;                    /* where the next one goes */
    vec(exemplar_owner) owners;        /* [0] stays empty */
    uint32_t free_owner, owner_count;
    uint32_t *table;                   /* owners by hash of labels, open addressing, at most half full */
    size_t table_cap;
} exemplars;

CHECKED err_kind exemplars_init(exemplars *x, size_t max);
void exemplars_done(exemplars *x);
/* ERR_OUT_OF_ORDER, ERR_DUPLICATE, ERR_LIMIT (labels too long), ERR_INVALID (labels), ERR_NOMEM: it was not kept. */
CHECKED err_kind exemplars_put(exemplars *x, const exemplar_row *row, err *e);
/* All of it as records of the log, appended to `out`. */
void exemplars_log(exemplars *x, buf *out);
/* One exemplar as the log has it: appended to an open record; read back. */
void exemplar_log_put(buf *out, const exemplar_row *row);
/* False at the end, or *bad. What `ret` points to lives in `whose` and `own`, LABELS_MAX each, and in the payload. */
bool exemplar_log_next(wire_cursor *c, label *whose, label *own, exemplar_row *ret, bool *bad);
