/* audit/segment.h - the bytes of one audit segment: lines of JSON, each sealed to the one before.
 *
 *   {"galen_audit":1,"first_seq":1,"prev":"<64 hex>"}\n                          header: where the chain goes on
 *   {"seq":1,"time":"…","kind":"…", … ,"data":{…},"hash":"<64 hex>"}\n           one record a line
 *    `------------- body -------------------------'
 *
 *   hash = BLAKE2b-256( hash of the record before, 32 bytes  ||  body )          (zeros before record 1)
 *
 * Lines, so that grep, jq and a tired human can read them; sealed as text, so that nobody has to agree on a
 * canonical JSON. The whole format, with what is reserved for signed checkpoints: docs/formats/audit.md.
 *
 * Invariants: a sealed line is plain UTF-8 without control characters; members stand in the order above;
 * empty texts are left out. The functions on lines are pure; the reader owns one file and one window of it. */
#pragma once
#include "audit/audit.h"
#include "base/file.h"
#include "base/hash.h"

#define SEGMENT_VERSION 1
#define SEGMENT_LINE_MAX (2u << 20) /* AUDIT_MAX_DATA and the texts, even if each byte needs an escape of six */
#define SEGMENT_NAME_MAX 32

/* ---- lines ---- */
/* Append the header line, newline included. */
void segment_put_header(buf *out, uint64_t first_seq, const hash_chain *prev);
/* Only the exact bytes segment_put_header would write are taken. `line` comes without its newline. */
bool segment_parse_header(str line, uint64_t *ret_first_seq, hash_chain *ret_prev);

/* Append the record as a sealed line, newline included. *chain: in the hash before, out this record's. The
 * caller looks at buf_failed() and must not use *chain when it is set. r->data must be JSON (see audit.c). */
void segment_put_record(buf *out, const audit_record *r, hash_chain *chain);

/* What a line says of itself, nothing believed yet. False: not the shape of a record. */
typedef struct segment_line { uint64_t seq; str body, hash_hex; } segment_line;
bool segment_split(str line, segment_line *ret);
/* Does the line's hash follow from `prev`? *ret_hash is the hash it should have, also on false. */
bool segment_sealed(const segment_line *l, const hash_chain *prev, hash_chain *ret_hash);

/* The record of a line; its texts are borrowed from *ret_doc (yours: json_doc_free) and from `line`.
 * ERR_CORRUPT: not a record. */
err_kind segment_parse_record(str line, json_doc **ret_doc, audit_record *ret, err *e);

/* ---- files ---- */
/* "0000000000000001.log" */
void segment_name(char out[SEGMENT_NAME_MAX], uint64_t first_seq);
/* False if it is not a segment's name. */
bool segment_name_parse(str name, uint64_t *ret_first_seq);
/* The folder's segments, oldest first; names live in `a`. A folder that is not there has none. */
err_kind segment_list(const char *dir, arena *a, str **ret_names, size_t *ret_n, err *e);

/* Walks the lines of one file in both directions through a small window, so that a segment of 64 MiB costs
 * some KiB. The size is looked at once: what is appended later is not seen. */
typedef struct segment_reader {
    int fd;
    uint64_t size;
    uint64_t window_at;   /* file offset of window.ptr[0] */
    buf window;
    char path[FILE_PATH_MAX];
} segment_reader;
err_kind segment_reader_open(segment_reader *r, const char *dir, str name, err *e);
void segment_reader_done(segment_reader *r);

/* 1: the line at *pos, without its newline, and *pos is behind it. 0: no whole line any more (*pos < size: a
 * torn tail starts there). -1: *e tells; ERR_CORRUPT for a line beyond SEGMENT_LINE_MAX. Borrowed until the next call. */
int segment_next(segment_reader *r, uint64_t *pos, str *ret_line, err *e);
/* The same backwards: *pos is the start of some line (or the end of the last whole one) and moves to the start of
 * the one before. 0: *pos was 0. */
int segment_prev(segment_reader *r, uint64_t *pos, str *ret_line, err *e);
/* Where the last whole line ends; 0 if there is none. */
err_kind segment_end(segment_reader *r, uint64_t *ret_pos, err *e);
