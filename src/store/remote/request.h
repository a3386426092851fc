/* store/remote/request.h - samples waiting for one remote, put into bodies of remote write requests.
 *
 * 1.0: https://prometheus.io/docs/specs/prw/remote_write_spec/, 2.0: …/remote_write_spec_2_0/. Samples of one series in
 * one request are sent together, in their order. The labels' bytes come ready from the labelbook, so a sample costs a
 * copy of them and some twenty bytes; snappy sees the same bytes again and again and is quick with them. */
#pragma once
#include "store/remote/labelbook.h"
#include "store/remote/remote_config.h"

typedef enum outgoing_kind { OUTGOING_FLOAT, OUTGOING_HISTOGRAM, OUTGOING_EXEMPLAR } outgoing_kind;
typedef struct outgoing {
    labelbook *book; uint32_t series;
    uint32_t next;               /* the series' next one in the request being built */
    outgoing_kind kind;
    uint32_t len;                /* of bytes */
    int64_t t_ms;
    double v;
    char *bytes;                 /* histogram: its message; exemplar: the message of 1.0; owned */
    rqueue_place place;
} outgoing;

typedef struct request_writer {
    uint32_t number;             /* stamps what belongs to the request */
    vec(uint32_t) order;         /* first sample of each series */
    vec(uint32_t) locals;        /* 2.0: refs of one series */
    uint32_t local_count;
    buf plain, symbols;
    arena arena;
} request_writer;

#define REQUEST_MAX_BYTES (256u << 20)
void request_init(request_writer *w);
void request_done(request_writer *w);
/* The compressed body for items from[0..n) into `out` (reset first). ERR_NOMEM, ERR_LIMIT. */
CHECKED err_kind request_build(request_writer *w, remote_protocol p, outgoing *from, size_t n, buf *out, err *e);
/* How much of `from` one request should take: at most `n`, and not more than some megabytes. At least one. */
size_t request_fit(const outgoing *from, size_t n);
