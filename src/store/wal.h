/* store/wal.h - the write-ahead log: what was acknowledged, in the order it came.
 *
 *   dir/00000001 00000002 …     segments, appended to, never changed
 *   dir/checkpoint.00000007     stands for the segments up to 7: same records, holding the head that was left
 *
 *   segment  = header record*          header = magic "galenWAL", u32 version, u32 segment number
 *   record   = u32 length, u32 type, u64 XXH3(payload, seed = length | type << 32), payload
 *
 * Layout in full: docs/formats/wal.md. A batch is one write(2); if it fails, the file is cut back to its
 * last good length, and if even that fails, the segment is left behind and the next write opens a new one
 * (a reader stops at the torn record and goes on with the next segment). The writer is not thread-safe
 * (the store's append lock guards it), except wal_sync_take/wal_sync_done, which say so. */
#pragma once
#include "base/base.h"
#include "base/file.h"
#include "metric/metric.h"
#include "store/wire.h"

#ifdef GALEN_TINY
#define WAL_SEGMENT_MAX_BYTES (4u << 10)
#define WAL_RECORD_MAX_BYTES (1u << 20)
#else
#define WAL_SEGMENT_MAX_BYTES (32u << 20)
#define WAL_RECORD_MAX_BYTES (64u << 20) /* one payload; a batch that needs more is refused */
#endif
#define WAL_VERSION 2u
#define WAL_HEADER_BYTES 16u
#define WAL_RECORD_HEADER_BYTES 16u
#define WAL_ROW_MAX_BYTES (3u * WIRE_VARINT_MAX)
#define WAL_SECTION_BYTES 5u
#define WAL_ID_MAX (UINT64_C(1) << 56) /* ids of series stay below, so that a difference with its flags is 64 bits */
#define WAL_RETIRED_MAX 8

/* Stays what it is: the numbers are on disk. */
typedef enum wal_type { WAL_SERIES = 1, WAL_ROWS = 3, WAL_CHUNKS = 4, WAL_EXEMPLARS = 5 } wal_type;

/* ---- building records in a buf ---- */
/* Start a record at the end of `b`, put its payload behind, close it: fills length and checksum in.
 * The start is an offset; SIZE_MAX when `b` failed. Look at buf_failed(b) once at the end. */
size_t wal_begin(buf *b, wal_type type);
void wal_end(buf *b, size_t start);
void wal_put_series(buf *b, uint64_t id, labels l);
/* A batch is one WAL_ROWS record: sections of rows of one kind, in the order the rows came. */
typedef enum wal_section { WAL_FLOATS = 1, WAL_HISTOGRAMS = 2, WAL_LATE_FLOATS = 3, WAL_LATE_HISTOGRAMS = 4 } wal_section;
size_t wal_section_begin(buf *b, wal_section kind); /* offset; SIZE_MAX when `b` failed */
void wal_section_end(buf *b, size_t start);
/* Rows of one section are coded as differences to the one before: start with a zeroed state. */
enum { WAL_VALUE_SAME, WAL_VALUE_WHOLE, WAL_VALUE_FULL, WAL_VALUE_HIGH }; /* how a row tells its value */
typedef struct wal_before { uint64_t id, t_ms, bits; } wal_before;
uint8_t *wal_put_row(uint8_t *at, wal_before *before, uint64_t id, int64_t t_ms, double v); /* WAL_ROW_MAX_BYTES */
/* Whose and when; a histogram (histogram_chunk.h) follows. */
uint8_t *wal_put_key(uint8_t *at, wal_before *before, uint64_t id, int64_t t_ms);

/* A chunk of the head, as a checkpoint keeps it. An entry of WAL_CHUNKS: the series' id, the time up to which it is in
 * blocks, and its chunks. */
typedef enum wal_chunk_place { WAL_CHUNK_CLOSED = 0, WAL_CHUNK_OPEN = 1, WAL_CHUNK_LATE = 2 } wal_chunk_place;
typedef struct wal_chunk { uint8_t kind, place; uint32_t count; str bytes; } wal_chunk;
void wal_put_chunks(buf *b, uint64_t id, int64_t cut_t_ms, size_t chunks);
void wal_put_chunk(buf *b, const wal_chunk *c);

/* ---- writing ---- */
typedef struct wal {
    char dir[FILE_PATH_MAX];
    int fd;                    /* -1: none open, the next write opens segment + 1 */
    uint32_t segment;          /* number of the open segment, or of the last one */
    uint64_t len;              /* whole records end here */
    bool dirty;                /* written since the last sync */
    int retired[WAL_RETIRED_MAX]; /* full segments that still wait for their fsync */
    size_t retired_count;
} wal;

/* Nothing is created before the first write. `last_segment`: the highest number in use, 0 for none. */
void wal_init(wal *w, const char *dir, uint32_t last_segment);
void wal_done(wal *w); /* closes, without syncing */
/* Whole records, all or nothing, in one write(2). Opens a new segment when this one is full.
 *   ERR_IO and friends: nothing of it will be replayed; the next call tries again */
CHECKED err_kind wal_write(wal *w, str records, err *e);
/* Close the open segment; later writes go to a new one. Its bytes are synced by the next sync. */
void wal_rotate(wal *w);

/* An fsync without holding the writer up: take the descriptors under the append lock, sync without it. */
typedef struct wal_sync { int fds[WAL_RETIRED_MAX + 1]; size_t count; } wal_sync;
CHECKED err_kind wal_sync_take(wal *w, wal_sync *ret, err *e);
CHECKED err_kind wal_sync_done(wal_sync *s, err *e); /* syncs and closes; on an error the rest is still closed */

/* "dir/00000012", "dir/checkpoint.00000012" */
err_kind wal_segment_path(char out[FILE_PATH_MAX], const char *dir, uint32_t segment, err *e);
err_kind wal_checkpoint_path(char out[FILE_PATH_MAX], const char *dir, uint32_t segment, err *e);
/* False if `name` is neither; then it is left alone. */
bool wal_parse_name(str name, bool *ret_checkpoint, uint32_t *ret_segment);
void wal_put_header(uint8_t out[WAL_HEADER_BYTES], uint32_t segment);

/* ---- reading ---- */
typedef struct wal_record { uint32_t type; str payload; } wal_record;
typedef enum wal_parse_result {
    WAL_WHOLE,     /* *ret_record, *ret_used */
    WAL_CUT,       /* the bytes end inside a record: *ret_used says how many are needed */
    WAL_DAMAGED,   /* length or checksum make no sense */
} wal_parse_result;
/* The first record of `bytes`. Never reads past them, whatever they say. */
wal_parse_result wal_parse(str bytes, wal_record *ret_record, size_t *ret_used);

/* A reader holds one record at a time: memory is bounded by the largest record met. */
typedef struct wal_reader {
    int fd;
    char path[FILE_PATH_MAX];
    uint8_t *at;
    size_t cap, start, end;    /* unread bytes are at[start..end) */
    uint64_t offset;           /* in the file, of at[start] */
    uint64_t cut_bytes;        /* set at the end: bytes behind the last whole record */
    bool torn;                 /* … and the file simply ended inside a record (no damage before its end) */
} wal_reader;
#define WAL_READER_INIT { .fd = -1 }
/* ERR_NOT_FOUND, ERR_IO, ERR_NOMEM; ERR_UNSUPPORTED for a newer version. A damaged header reads as a file
 * without records (cut_bytes tells). */
CHECKED err_kind wal_reader_open(wal_reader *r, const char *path, err *e);
void wal_reader_done(wal_reader *r);
/* OK: *ret is valid until the next call. ERR_NOT_FOUND: no more whole records. ERR_IO, ERR_NOMEM. */
CHECKED err_kind wal_reader_next(wal_reader *r, wal_record *ret, err *e);

/* wal_check.c: does it decode, down to the last sample? Needs memory for the samples of one chunk; without it the answer
 * is false. */
bool wal_payload_valid(const wal_record *r);

/* Payloads. False at the end; `c` then is empty, or *bad says the bytes make no sense. */
bool wal_next_series(wire_cursor *c, uint64_t *ret_id, label ret_labels[LABELS_MAX], size_t *ret_len, bool *bad);
bool wal_next_section(wire_cursor *c, uint8_t *ret_kind, wire_cursor *ret_rows, bool *bad);
typedef struct wal_row { uint64_t id; int64_t t_ms; double v; } wal_row;
bool wal_next_key(wire_cursor *c, wal_before *before, wal_row *ret, bool *bad);
bool wal_next_chunks(wire_cursor *c, uint64_t *ret_id, int64_t *ret_cut_t_ms, uint64_t *ret_chunks, bool *bad);
bool wal_next_chunk(wire_cursor *c, wal_chunk *ret);

/* Here, because every row of a replay passes through. */
static inline bool wal_next_row(wire_cursor *c, wal_before *before, wal_row *ret, bool *bad)
{
    uint64_t key, x;
    *bad = false;
    if (c->at == c->end)
        return false;
    *bad = true;
    if (!wire_varint(c, &key))
        return false;
    before->id += wire_unzigzag(key >> 3) + 1;
    if (key & 4) {
        if (!wire_varint(c, &x))
            return false;
        before->t_ms += wire_unzigzag(x);
    }
    switch (key & 3) {
    case WAL_VALUE_SAME:
        break;
    case WAL_VALUE_WHOLE: {
        if (!wire_varint(c, &x))
            return false;
        double v = (double)(int64_t)wire_unzigzag(x);
        memcpy(&before->bits, &v, sizeof v);
        break;
    }
    case WAL_VALUE_HIGH:
        if (wire_left(c) < 4)
            return false;
        before->bits = (uint64_t)wire_u32(c->at) << 32;
        c->at += 4;
        break;
    default:
        if (wire_left(c) < 8)
            return false;
        before->bits = wire_u64(c->at);
        c->at += 8;
    }
    *bad = false;
    ret->id = before->id;
    ret->t_ms = (int64_t)before->t_ms;
    memcpy(&ret->v, &before->bits, sizeof ret->v);
    return true;
}
