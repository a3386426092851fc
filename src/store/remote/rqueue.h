/* store/remote/rqueue.h - the disk queue of what is still to be sent to remote stores.
 *
 *   dir/00000001 00000002 …   segments: one writer appends, every remote reads at its own pace
 *   dir/cursor.NAME           how far the remote NAME has come
 *
 *   segment = header record*        header = magic "galenRQ1", u32 version, u32 segment number
 *   record  = u32 payload bytes, u16 type, u16 rows, u64 XXH3(payload, seed = the eight bytes before),
 *             payload, and with rows: marks (one bit a row, 1 = the store refused it), u32 check of the marks
 *
 * Layout in full: docs/formats/remote-queue.md. Why an own log and not cursors over the WAL: docs/decisions/0006.
 *
 * One queue serves all remotes: a sample is written once, whatever their number. Each segment defines the series it
 * speaks of, so that any of them can go without the others. A batch is one write(2) *before* the store is asked, and
 * shows to readers once the store has answered: rqueue_commit. So a kill -9 between the two can only lead to a sample
 * sent that nobody was told is kept, never to one kept and not sent.
 *
 * Bounded by bytes: beyond `max_bytes` the oldest segment goes, and the readers that had not passed it learn how many
 * rows they lost. One writer at a time (the caller's lock); readers and rqueue_trim from one other thread. */
#pragma once
#include "base/base.h"
#include "base/file.h"
#include "metric/metric.h"
#include <pthread.h>

#ifdef GALEN_TINY
#define RQUEUE_SEGMENT_BYTES (4u << 10)
#define RQUEUE_ROWS_MAX 4u
#else
#define RQUEUE_SEGMENT_BYTES (64u << 20) /* beyond it the next batch opens a new one */
#define RQUEUE_ROWS_MAX 1024u            /* of one record: what is sent again after a kill -9 */
#endif
#define RQUEUE_RECORD_MAX_BYTES (32u << 20)
#define RQUEUE_HEADER_BYTES 16u
#define RQUEUE_RECORD_HEADER_BYTES 16u
#define RQUEUE_NAME_MAX 64

/* Stays what it is: the numbers are on disk. */
typedef enum rqueue_type { RQUEUE_SERIES = 1, RQUEUE_ROWS = 2, RQUEUE_EXEMPLARS = 3 } rqueue_type;
typedef enum rqueue_kind { RQUEUE_FLOAT = 0, RQUEUE_HISTOGRAM = 1 } rqueue_kind;

/* A place in the queue. `row`: rows before it, over all that was ever queued since the oldest segment of the last start. */
typedef struct rqueue_place { uint32_t segment; uint64_t offset, row; } rqueue_place;

typedef struct rqueue rqueue;
/* What an earlier run left is kept: a torn tail is cut, writing begins in a new segment. `max_bytes` is at least two
 * segments. ERR_IO and other kinds of the system. */
CHECKED err_kind rqueue_open(const char *dir, uint64_t max_bytes, rqueue **ret, err *e);
void rqueue_close(rqueue *q);                  /* NULL is fine */

/* ---- writing ---- */
/* Series are numbered within a segment, from 0. A batch: begin, series and rows in any order, write, and after the
 * store's answer commit (with the rows it refused, numbered over the batch, or NULL) or abandon. */
uint32_t rqueue_begin(rqueue *q);              /* the segment the batch will be in: series defined in others are not known there */
uint32_t rqueue_series(rqueue *q, labels l);   /* the new series' number */
void rqueue_float(rqueue *q, uint32_t series, int64_t t_ms, double v);
/* `message`: the Histogram of remote write, which is the same in 1.0 and 2.0, with its timestamp (prompb.h). */
void rqueue_histogram(rqueue *q, uint32_t series, int64_t t_ms, str message);
void rqueue_exemplar(rqueue *q, uint32_t series, const exemplar *x);
size_t rqueue_batch_rows(const rqueue *q);
CHECKED err_kind rqueue_write(rqueue *q, err *e);          /* on an error nothing of the batch is there */
void rqueue_commit(rqueue *q, const uint8_t *refused);
void rqueue_abandon(rqueue *q);                /* as if it had never been begun; also its series are not known */

/* ---- reading ---- */
typedef struct rqueue_row { uint32_t series; rqueue_kind kind; int64_t t_ms; double v; str message; bool refused; } rqueue_row;
typedef struct rqueue_reader rqueue_reader;
typedef struct rqueue_events {
    void (*segment)(void *ctx, uint32_t segment);          /* a new one begins: numbers of series mean others now */
    void (*series)(void *ctx, uint32_t number, labels l);  /* borrowed for the call */
    void (*row)(void *ctx, const rqueue_row *r);
    void (*exemplar)(void *ctx, uint32_t series, const exemplar *x);
    void *ctx;
} rqueue_events;

/* Continue where `name` was, or with `fresh` (or without a readable cursor file) behind all that is queued now. */
CHECKED err_kind rqueue_reader_open(rqueue *q, const char *name, rqueue_reader **ret, err *e);
void rqueue_reader_close(rqueue_reader *r);
/* Read one record. OK: its events were called, and rqueue_reader_place tells where it began. ERR_NOT_FOUND: nothing
 * is waiting. ERR_CORRUPT: damage, told once in *e; the next call goes on behind it. ERR_IO, ERR_NOMEM. */
CHECKED err_kind rqueue_read(rqueue_reader *r, const rqueue_events *to, err *e);
rqueue_place rqueue_reader_place(const rqueue_reader *r);  /* of the record last read; before the first: where it starts */
rqueue_place rqueue_reader_next(const rqueue_reader *r);   /* behind it */
uint64_t rqueue_reader_lost(const rqueue_reader *r);       /* rows it lost since the queue was full, or damaged */
/* All before `place` was delivered: written to the cursor file (survives kill -9, duplicates after a power cut). */
CHECKED err_kind rqueue_reader_done(rqueue_reader *r, rqueue_place place, err *e);
void rqueue_forget(rqueue *q, const char *name);           /* a remote that is no more: its cursor file */
/* Remove segments that no open reader needs. */
void rqueue_trim(rqueue *q);

typedef struct rqueue_stats { uint64_t rows, bytes; size_t segments; uint64_t dropped_rows; } rqueue_stats;
rqueue_stats rqueue_stats_get(rqueue *q);                  /* `rows`: the place's row of what comes next */
void rqueue_sync(rqueue *q);                               /* fdatasync of what was written since */

/* For tests and the fuzzer: walk the records of a segment's bytes (behind the header). Returns the bytes that were whole. */
size_t rqueue_parse(str bytes, const rqueue_events *to);
