/* watch/receive/remote_write.h - Prometheus remote write 1.0, the bytes: a WriteRequest in protobuf.
 *
 *   WriteRequest { repeated TimeSeries timeseries = 1; repeated MetricMetadata metadata = 3; }
 *   TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2; repeated Exemplar = 3; repeated Histogram = 4; }
 *   Label        { string name = 1; string value = 2; }      Sample { double value = 1; int64 timestamp = 2; }
 *
 * Specification: https://prometheus.io/docs/specs/prw/remote_write_spec/; wire format:
 * https://protobuf.dev/programming-guides/encoding/. Written by hand because this path is hot and the reader is
 * small; every read is checked against the end of its message. Unknown fields are skipped as protobuf demands.
 * Exemplars, native histograms and metadata are counted, not kept. */
#pragma once
#include "net/net.h"
#include "watch/watch.h"

#define REMOTE_WRITE_MAX_BODY (32u << 20)        /* compressed */
#define REMOTE_WRITE_MAX_DECODED (128u << 20)    /* protobuf */

typedef struct remote_write_stats {
    size_t series, samples, exemplars, histograms, metadata;
    size_t invalid;               /* series left out: no name, repeated or broken labels, too long */
    err first;                    /* why the first of them was */
} remote_write_stats;

/* As remote_write_decode (watch.h), but a series with impossible labels is left out and counted instead of
 * failing the whole request. Broken protobuf still fails it: ERR_PARSE. */
err_kind remote_write_read(str body, arena *a, sample_row **ret, size_t *ret_n, remote_write_stats *stats, err *e);

/* POST /api/v1/write. `ctx` of the route is the sample_sink. */
void remote_write_handle(http_request *req);
