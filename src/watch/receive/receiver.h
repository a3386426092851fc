/* watch/receive/receiver.h - what becomes of a remote-write request: rows for the sink, and a count of what was kept.
 *
 *   bytes --write_request--> rows and keys --series_cache--> rows with refs --sink--> kept
 *                                              | not known
 *                                              +--> labels read, checked, sorted --> the ref is learned
 *
 * A ref that the sink no longer knows (ERR_NOT_FOUND) sends the request through once more with all labels. Memory of
 * one request is used again by the next. One thread. */
#pragma once
#include "watch/receive/meta_book.h"
#include "watch/receive/series_cache.h"
#include "watch/receive/write_request.h"

#define REMOTE_WRITE_MAX_BODY (32u << 20)     /* compressed */
#define REMOTE_WRITE_MAX_DECODED (128u << 20) /* protobuf */

typedef struct receiver receiver;
typedef struct receive_result {
    size_t samples, histograms, exemplars;    /* kept */
    size_t invalid;                           /* series and histograms left out: no name, repeated or broken labels … */
    size_t exemplars_refused;
    sink_result sink;
    err first_invalid;
} receive_result;

receiver *receiver_new(const sample_sink *sink);   /* NULL without memory */
void receiver_free(receiver *r);
/* `body`: protobuf. ERR_PARSE, ERR_LIMIT: the request cannot be read; other kinds: the sink cannot write now; nothing
 * was kept in either case. OK: *ret says what was kept and what refused. */
err_kind receiver_take(receiver *r, str body, bool v2, int64_t now_ms, receive_result *ret, err *e);
/* Scratch for the unpacked body, used again from request to request. */
buf *receiver_body(receiver *r);
const meta_book *receiver_metadata(const receiver *r);
