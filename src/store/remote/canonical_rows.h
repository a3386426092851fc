/* store/remote/canonical_rows.h - canonical series written for real.
 *
 * Over the embedded store a canonical name (llm_requests_running …) is a view, answered while a selection is made
 * (query/views.c). A remote store knows no views, so towards it each row of canonical_views that applies is written as
 * a series of its own beside the raw one: renamed, relabelled, scaled. The rules are those of the views:
 *   1. a target (job, instance) that has series under the canonical name itself gets no row for it;
 *   2. the engine of a target is what its watch_engine_info says; until then it has none;
 *   3. of the rows of its engine for one name the first whose raw name the target was seen with wins; rows of one
 *      `also` group count as one.
 * What was seen stays seen: a renamed metric moves up in the table, never down. Not thread-safe. */
#pragma once
#include "metric/metric.h"

#define CANONICAL_TARGETS_MAX 100000 /* targets beyond it get no canonical rows */
#define CANONICAL_PER_SERIES 4       /* rows that one raw series can stand for */

typedef struct canonical_rows canonical_rows;
canonical_rows *canonical_rows_new(void);          /* NULL without memory */
void canonical_rows_free(canonical_rows *c);       /* NULL is fine */

/* A series that was not met before. True: it may stand for canonical series, so keep its labels and ask
 * canonical_rows_of whenever canonical_rows_generation has changed. */
bool canonical_rows_meet(canonical_rows *c, labels l);
/* Grows whenever an answer of canonical_rows_of may have become another. */
uint64_t canonical_rows_generation(const canonical_rows *c);

typedef struct canonical_row { labels labels; double scale; } canonical_row;
/* The series that `l` stands for now; labels in `a`. Returns their number; ERR_NOMEM shows as fewer. */
size_t canonical_rows_of(canonical_rows *c, labels l, arena *a, canonical_row ret[CANONICAL_PER_SERIES]);
