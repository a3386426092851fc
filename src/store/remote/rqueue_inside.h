/* store/remote/rqueue_inside.h - the queue as its writer and its readers share it. */
#pragma once
#include "store/remote/rqueue.h"
#include "store/wire.h"

#define RQUEUE_VERSION 1u
#define RQUEUE_CURSOR_BYTES 32u
#define RQUEUE_READ_BYTES (256u << 10)
#define RQUEUE_LIST_MAX_BYTES (16u << 20)

typedef struct rqueue_segment { uint32_t number; uint64_t bytes, first_row, rows; } rqueue_segment;
/* Where the marks of a record of the batch lie, from the batch's first byte. */
typedef struct rqueue_marks { size_t at, first_row, rows; } rqueue_marks;

struct rqueue {
    char dir[FILE_PATH_MAX];
    uint64_t max_bytes;

    pthread_mutex_t lock;            /* guards what follows up to `readers`; the writer alone changes `bytes` and `rows` */
    vec(rqueue_segment) segments;    /* ascending; `bytes` of the last: what is committed */
    uint64_t total_bytes, dropped_rows;
    int fd;                          /* of the segment being written; -1: the next batch opens one */
    bool dirty;
    vec(rqueue_reader *) readers;

    /* the writer's own */
    uint32_t writing;                /* number of the segment the batch goes to */
    uint32_t next_series, batch_first_series;
    uint64_t len;                    /* of the open segment, batch included once written */
    uint64_t batch_at;               /* where the written batch begins */
    bool written;
    buf series, rows, exemplars;
    size_t series_record, rows_record, exemplar_record; /* offset of the open record; SIZE_MAX: none */
    size_t record_rows, batch_rows;
    uint64_t before_series, before_t_ms; /* the row before, in the open record */
    vec(rqueue_marks) marks;
};

struct rqueue_reader {
    rqueue *q;
    int fd, cursor_fd;
    char cursor_path[FILE_PATH_MAX];
    rqueue_place place, next;        /* the record last read; behind it */
    rqueue_place resume;             /* rows before it were delivered in an earlier life */
    rqueue_place done;               /* what the cursor file says */
    uint64_t lost;
    bool told_segment;
    buf data;                        /* bytes of the segment from data_at */
    uint64_t data_at;
};

/* One record at the front of `bytes`. */
typedef struct rqueue_record { uint32_t type; size_t rows; str payload; const uint8_t *marks; size_t size; } rqueue_record;
typedef enum rqueue_verdict { RQUEUE_WHOLE, RQUEUE_CUT /* `size` says how many bytes are needed */, RQUEUE_DAMAGED } rqueue_verdict;
rqueue_verdict rqueue_parse_record(str bytes, rqueue_record *ret);
/* Walk one record. False: the payload makes no sense, although its checksum fits. */
bool rqueue_deliver(const rqueue_record *r, const rqueue_events *to);

size_t rqueue_marks_bytes(size_t rows);          /* bits and their check */
uint32_t rqueue_marks_check(const uint8_t *marks, size_t rows);
err_kind rqueue_segment_path(const rqueue *q, uint32_t number, char out[FILE_PATH_MAX], err *e);
bool rqueue_header_fits(const uint8_t *bytes, uint32_t number);
static inline bool rqueue_before(rqueue_place a, rqueue_place b)
{
    return a.segment != b.segment ? a.segment < b.segment : a.offset < b.offset;
}
