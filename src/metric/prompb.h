/* metric/prompb.h - Prometheus's protobuf messages: remote write 1.0 and 2.0, remote read.
 *
 * Sources: prompb/{remote,types}.proto, prompb/io/prometheus/write/v2/types.proto of github.com/prometheus/prometheus;
 * https://prometheus.io/docs/specs/prw/remote_write_spec/ and remote_write_spec_2_0/. Bodies travel in snappy's block
 * format, which is the caller's affair (net); here are plain messages.
 *
 * Reading: views borrow from the message, whatever had to be built lives in the arena given. Field order does not
 * matter, unknown fields are skipped, a field sent twice: the last one counts. Errors: ERR_PARSE (not such a message),
 * ERR_LIMIT (LABELS_MAX, LABEL_MAX_BYTES, HISTOGRAM_MAX_BUCKETS), ERR_NOMEM. Whether labels and histograms make sense
 * is said by prompb_labels_check and histogram_check, not by the readers.
 * Writing: appends to a buf; look at buf_failed() at the end. Threads: none of its own. */
#pragma once
#include "metric/metric.h"
#include "metric/prompb_wire.h"

/* ---- what both versions speak of ---- */
typedef struct prompb_series {
    labels labels;                                        /* as sent: not yet sorted or checked */
    const sample *samples; size_t sample_count;
    const histogram_sample *histograms; size_t histogram_count;
    const exemplar *exemplars; size_t exemplar_count;
    int64_t start_ms;                                     /* 2.0: when the counters began; 0: not said */
    metric_type type; str help, unit;                     /* 2.0 */
} prompb_series;

/* Prometheus's rules for a series' labels: UTF-8, a name, no name twice; sorts in place. `utf8_names`: any UTF-8 text
 * is a name (Prometheus 3), else only [a-zA-Z_:][a-zA-Z0-9_:]*. ERR_INVALID with what is wrong, ERR_LIMIT. */
err_kind prompb_labels_check(label *at, size_t *len, bool utf8_names, err *e);

/* One message of the kind named. False or ERR_PARSE: not that. */
bool prompb_read_label(str message, label *ret);
bool prompb_read_sample(str message, sample *ret, int64_t *ret_start_ms);
/* Integer counts come as deltas and become absolute; *ret_start_ms 0: not said. */
err_kind prompb_read_histogram(str message, arena *a, histogram_sample *ret, int64_t *ret_start_ms, err *e);
/* 1.0: labels spelled out. */
err_kind prompb_read_exemplar(str message, arena *a, exemplar *ret, err *e);
err_kind prompb_read_metadata(str message, exposition_meta *ret, err *e);
/* A TimeSeries of 1.0 (of a WriteRequest's field 1 or a QueryResult's). */
err_kind prompb_read_series(str message, arena *a, prompb_series *ret, err *e);

/* A histogram as field `number` of the message being written. */
void prompb_put_histogram(buf *out, uint32_t number, const histogram_sample *s, int64_t start_ms);
void prompb_put_label(buf *out, uint32_t number, label l);

/* ---- remote write 1.0 ---- */
#define PROMPB_CONTENT_TYPE_1 "application/x-protobuf"
enum { PROMPB_WRITE_SERIES = 1, PROMPB_WRITE_METADATA = 3 };   /* fields of WriteRequest */
/* A WriteRequest is any number of these, one after another. */
void prompb_put_series(buf *out, const prompb_series *s);
void prompb_put_metadata(buf *out, const exposition_meta *m);

/* ---- remote write 2.0: texts once, in a table of symbols; a series names them by number ---- */
#define PROMPB_CONTENT_TYPE_2 "application/x-protobuf;proto=io.prometheus.write.v2.Request"
#define PROMPB_MAX_SYMBOLS 1000000
enum { PROMPB2_SYMBOLS = 4, PROMPB2_SERIES = 5 };              /* fields of Request */

/* All symbols of a request, views into it; *ret lives in `a`. ERR_PARSE also where the first is not the empty text. */
err_kind prompb2_read_symbols(str request, arena *a, str **ret, size_t *ret_n, err *e);
/* The references of field `number` of a message, packed or not. ERR_LIMIT: more than `cap`. */
err_kind prompb2_read_refs(str message, uint32_t number, uint32_t *at, size_t cap, size_t *ret_n, err *e);
/* Pairs of references as labels: at has room for ref_count / 2. ERR_PARSE: an odd number, or beyond the symbols. */
err_kind prompb2_labels(const uint32_t *refs, size_t ref_count, const str *symbols, size_t n, label *at, err *e);
err_kind prompb2_read_exemplar(str message, const str *symbols, size_t n, arena *a, exemplar *ret, err *e);
err_kind prompb2_read_metadata(str message, const str *symbols, size_t n, prompb_series *ret, err *e);
err_kind prompb2_read_series(str message, const str *symbols, size_t n, arena *a, prompb_series *ret, err *e);

/* prompb2_add for each series, then prompb2_finish appends the Request to `out` and leaves the writer empty for the
 * next. Histograms with their start time, exemplars and metadata included. Failures stay in the writer until finish. */
typedef struct prompb2_writer { struct { uint64_t hash; uint32_t id; } *slots; size_t cap; vec(str) symbols; buf series; arena texts; bool failed; } prompb2_writer;
void prompb2_init(prompb2_writer *w, size_t max_bytes);
void prompb2_done(prompb2_writer *w);
void prompb2_add(prompb2_writer *w, const prompb_series *s);
size_t prompb2_size(const prompb2_writer *w);                  /* bytes so far, about */
err_kind prompb2_finish(prompb2_writer *w, buf *out, err *e);

/* ---- remote read ---- */
typedef enum prompb_match { PROMPB_EQ, PROMPB_NE, PROMPB_RE, PROMPB_NRE } prompb_match;
typedef struct prompb_matcher { prompb_match op; str name, value; } prompb_matcher;
typedef struct prompb_query {
    int64_t from_ms, to_ms;
    prompb_matcher *matchers; size_t matcher_count;
    int64_t step_ms, range_ms; str function;                   /* hints; 0 and empty: none */
} prompb_query;
typedef enum prompb_response { PROMPB_SAMPLES = 0, PROMPB_STREAMED_XOR_CHUNKS = 1 } prompb_response;
#define PROMPB_MAX_QUERIES 1000
#define PROMPB_MAX_MATCHERS 1000
typedef struct prompb_read_request {
    prompb_query *queries; size_t query_count;
    bool accepts_chunks;       /* STREAMED_XOR_CHUNKS stands before SAMPLES, or alone */
    bool accepts_samples;      /* said, or nothing was said */
} prompb_read_request;
err_kind prompb_read_request_decode(str body, arena *a, prompb_read_request *ret, err *e);
void prompb_put_read_request(buf *out, const prompb_read_request *r);

/* ReadResponse{ results[]{ timeseries[] } }: for each query prompb_begin_result, prompb_put_series …, pb_end. */
static inline size_t prompb_begin_result(buf *out) { return pb_begin(out, 1); }
/* Results in order of the queries; series of all in one array, result_len[i] of them for query i. In `a`. */
typedef struct prompb_result { prompb_series *series; size_t len; } prompb_result;
err_kind prompb_read_response_decode(str body, arena *a, prompb_result **ret, size_t *ret_n, err *e);

/* ChunkedReadResponse, framed: varint of the size, CRC-32C of the message (big endian), the message. Chunk data as in
 * Prometheus's own blocks (tsdb/docs/format/chunks.md, without length and checksum). */
typedef enum prompb_chunk_kind { PROMPB_CHUNK_XOR = 1, PROMPB_CHUNK_HISTOGRAM = 2, PROMPB_CHUNK_FLOAT_HISTOGRAM = 3 } prompb_chunk_kind;
typedef struct prompb_chunk { int64_t min_ms, max_ms; prompb_chunk_kind kind; str data; } prompb_chunk;
#define PROMPB_CHUNKED_CONTENT_TYPE "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
/* One frame with one series of query `query_index`. */
void prompb_put_chunked_frame(buf *out, labels l, const prompb_chunk *chunks, size_t n, size_t query_index);
typedef struct prompb_chunked { labels labels; prompb_chunk *chunks; size_t chunk_count; uint64_t query_index; } prompb_chunked;
/* The next frame off the front of *rest. 1: a series is in *ret (the last of the frame, should it hold several, is
 * never lost: a frame of several gives several calls). 0: *rest is used up. -1: *e says why. */
typedef struct prompb_frames { str rest, frame; uint64_t query_index; } prompb_frames;
int prompb_next_chunked(prompb_frames *f, arena *a, prompb_chunked *ret, err *e);
