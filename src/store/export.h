/* store/export.h - what the store holds, as text that others read.
 *
 * Streams: memory is the label sets of what matches and the samples of one series. Stale markers are left out, since no
 * text can say them; native histograms too, and counted. */
#pragma once
#include "store/store.h"

typedef enum export_format {
    EXPORT_OPENMETRICS,  /* OpenMetrics 1.0: times in seconds, families together, "# EOF" */
    EXPORT_PROMETHEUS,   /* Prometheus 0.0.4: times in milliseconds */
    EXPORT_CSV,          /* RFC 4180: timestamp (Unix seconds), value, __name__ and a column for every other label */
} export_format;

typedef struct export_receipt { uint64_t series, samples, histograms; /* series with some: left out */ } export_receipt;

/* Series matching any of the sets (none: all) with samples in from_ms..to_ms (both inclusive), to `fd`; `path` names it
 * in errors. ERR_IO …: what was written so far stays. */
CHECKED err_kind store_export(store *s, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms, export_format format,
                              int fd, const char *path, export_receipt *ret, err *e);
