/* watch/receive/write_request.h - a remote-write request, 1.0 or 2.0, taken apart without looking into its labels.
 *
 *   1.0  WriteRequest { TimeSeries timeseries = 1; MetricMetadata metadata = 3; }
 *        TimeSeries   { Label labels = 1; Sample samples = 2; Exemplar exemplars = 3; Histogram histograms = 4; }
 *   2.0  Request      { string symbols = 4; TimeSeries timeseries = 5; }
 *        TimeSeries   { uint32 labels_refs = 1; Sample samples = 2; Histogram histograms = 3; Exemplar exemplars = 4;
 *                       Metadata metadata = 5; int64 created_timestamp = 6; }
 *
 * Specifications: https://prometheus.io/docs/specs/prw/remote_write_spec/ and remote_write_spec_2_0/. The bytes are
 * read once: samples become rows; of the labels only a key is made, from the bytes (1.0) or from the texts behind the
 * references (2.0; with the metadata, so that changed metadata is a new key). Whoever does not know the key asks for
 * the labels. Limits: WRITE_MAX_SAMPLES and as many series, exemplars and metadata; LABELS_MAX, LABEL_MAX_BYTES. */
#pragma once
#include "base/hash.h"
#include "metric/metric.h"
#include "watch/emit.h"

#define WRITE_MAX_SAMPLES 1000000
#define WRITE_MAX_ARENA (512u << 20)

typedef struct write_series {
    str message;             /* its TimeSeries, to be read again for labels and exemplars */
    hash_wide key;
    bool has_key;            /* false: spelled in a way that no key is made of */
    uint64_t ref;            /* what its rows point to */
    uint32_t first_row, row_count, exemplar_count;
    int64_t start_ms;        /* 2.0: 0 not said */
} write_series;

typedef vec(exemplar_row) exemplar_row_vec;
typedef vec(exposition_meta) meta_vec;

typedef struct write_request {
    bool v2;
    const str *symbols; hash_wide *symbol_keys; size_t symbol_count;
    vec(write_series) series;
    row_vec rows;            /* without labels and refs; the rows of a series lie together, series in order */
    meta_vec metas;          /* 1.0 */
    size_t invalid;          /* histograms that make no sense: left out … */
    err first_invalid;       /* … and why the first was */
    arena arena;
} write_request;

void write_request_init(write_request *q);
void write_request_done(write_request *q);
/* `body` is borrowed until the next read. ERR_PARSE with what is broken; ERR_LIMIT; ERR_NOMEM. */
err_kind write_request_read(write_request *q, str body, bool v2, err *e);
/* The labels of series i, checked and sorted, in q's arena. ERR_INVALID, ERR_LIMIT: this series cannot be taken;
 * ERR_PARSE: nor can the request. */
err_kind write_request_labels(write_request *q, size_t i, labels *ret, err *e);
/* Its exemplars, appended to *out. Errors as above. */
err_kind write_request_exemplars(write_request *q, size_t i, labels series, exemplar_row_vec *out, err *e);
/* 2.0: what it says about its metric. False: nothing. */
bool write_request_meta(const write_request *q, size_t i, labels series, exposition_meta *ret);
