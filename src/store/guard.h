/* store/guard.h - how many series may there be: a newcomer over a limit is refused and told why.
 *
 * Limits stand for all series, for those of one metric name, for those of one target (labels job and instance), and for
 * the memory of the head. Series that are there go on. The append lock is held. */
#pragma once
#include "store/head.h"

#define STORE_SERIES_MAX 2000000u

typedef struct guard_target { uint32_t job, instance, series; } guard_target; /* ids of pairs; 0: the label is absent */
typedef struct guard {
    size_t max_series, max_series_per_metric, max_series_per_target, memory_bytes; /* 0: no limit */
    guard_target *targets;        /* open addressing; only with max_series_per_target */
    size_t targets_len, targets_cap;
    _Atomic uint64_t refused_total;
} guard;

void guard_done(guard *g);
/* May a series with these labels come?
 *   ERR_LIMIT  names the limit, whom it is reached for, and the label with most values
 *   ERR_NOMEM */
CHECKED err_kind guard_admit(guard *g, const head *h, labels l, err *e);
/* It came. */
void guard_count(guard *g, const head *h, labels l);
/* Count the targets' series anew, after series went. ERR_NOMEM: they stay as they were counted. */
CHECKED err_kind guard_recount(guard *g, const head *h);
