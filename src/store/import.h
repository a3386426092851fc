/* store/import.h - samples of any age, from the files of others, straight into blocks.
 *
 * What arrives is collected per series, in any order of series and time, until IMPORT_BUFFER_BYTES are in memory; then a
 * block is written for each day (UTC) that has samples. Of two samples of a series at one time the later given wins, and
 * what is imported wins over what older blocks hold. Nothing goes through the log: after an error or a crash the
 * blocks written so far stay, whole, and the import can be repeated.
 *
 * One thread. The store is open for writing; others may append and read meanwhile. */
#pragma once
#include "store/prom_block.h"

#ifdef GALEN_TINY
#define IMPORT_BUFFER_BYTES ((size_t)2 << 10)
#else
#define IMPORT_BUFFER_BYTES ((size_t)256 << 20)
#endif
#define IMPORT_WINDOW_MS (INT64_C(24) * 3600 * 1000)

typedef struct import_receipt {
    uint64_t series;        /* told apart within one buffer: a series that comes again later counts again */
    uint64_t samples, histograms, blocks;
    uint64_t left_out;      /* samples that cannot be kept … */
    char why[160];          /* … and why the first of them */
    int64_t min_t_ms, max_t_ms;
} import_receipt;

typedef struct importer importer;
/* Into no store (NULL) everything is read, checked and counted, and nothing written. ERR_DENIED: the store is read-only. */
CHECKED err_kind importer_open(store *s, importer **ret, err *e);
/* ERR_INVALID, ERR_LIMIT: the labels or a time cannot be kept; nothing was added. ERR_IO …: a block could not be written;
 * what it should hold is lost to the import. */
CHECKED err_kind importer_add(importer *i, labels l, const sample *at, size_t n, err *e);
/* The same for native histograms, times rising. */
CHECKED err_kind importer_add_histograms(importer *i, labels l, const histogram_sample *at, size_t n, err *e);
/* Write what is still in memory. *ret also tells, after an error, what came in before. */
CHECKED err_kind importer_finish(importer *i, import_receipt *ret, err *e);
void importer_free(importer *i); /* NULL is fine; what was not finished is dropped */
void importer_freep(importer **i);
void importer_leave_out(importer *i, uint64_t samples, const char *why); /* count them; they go nowhere */

/* ---- formats ---- */
/* Text exposition (metric/metric.h), every sample with its time. ERR_PARSE with line and column. */
CHECKED err_kind import_exposition(importer *i, str text, bool openmetrics, err *e);
/* RFC 4180, with a header. Columns `timestamp` (or `time`; RFC 3339, Unix seconds or, from 1e11 on, milliseconds) and
 * `value` make a row one sample, `__name__` (or `metric`, `name`) and all other columns are its labels. Without a column
 * `value` every other column is a series, its header the series as in PromQL: up{job="x"}. Empty values are no samples.
 * ERR_PARSE with line and column. */
CHECKED err_kind import_csv(importer *i, str text, err *e);
/* One block of Prometheus, or a whole data directory: all its blocks, oldest first. A damaged series or chunk is left
 * out and counted; a damaged index is ERR_CORRUPT. *ret_log: the folder has a log whose samples are in no block yet. */
CHECKED err_kind import_prometheus(importer *i, const char *dir, bool *ret_log, err *e);
