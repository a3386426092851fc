/* audit/audit.h - the room's door: what happened, who decided it, on which evidence, what came of it.
 *
 * DATA/audit/<first seq>.log segments are the truth: append-only, each record carries the BLAKE2b-256 hash
 * of the one before (docs/formats/audit.md). Acknowledged means written with write(2) (survives kill -9);
 * an intent to act is fsynced before the action runs. An index beside them may be lost and rebuilt.
 *
 * state.db (SQLite) holds the small facts that must outlive the process: supervised processes, tokens,
 * open incidents, healing episodes. It lives in this room because it has the same owner and thread. */
#pragma once
#include "base/base.h"
#include "base/json.h"

/* ---- the record ---- */
#define AUDIT_MAX_DATA (256u << 10)
typedef struct audit_record {
    uint64_t seq;          /* 1, 2, 3 … set by audit_append */
    int64_t t_ms;          /* set by audit_append from the clock */
    str kind;              /* "room.event": "alert.firing", "diagnose.incident.opened", "heal.action.intended" … */
    str actor;             /* "galen", "policy:NAME", "user:NAME", "cli" */
    str subject;           /* the id it is about: "replica:chat/127.0.0.1:8000", "rule:HighErrorRate"; may be empty */
    str incident;          /* incident id or empty */
    str message;           /* one sentence for people */
    str data;              /* a JSON object with the evidence, or empty */
} audit_record;

typedef struct audit audit;
typedef struct audit_options { int64_t segment_max_bytes; /* 0: 64 MiB */ } audit_options;
/* Opens or creates dir; a torn tail (crash in the middle of a write) is cut off and recorded as "audit.recovered".
 * A last segment that does not verify is left untouched, a new one goes on, recorded as "audit.damaged". */
err_kind audit_open(const char *dir, const audit_options *o, audit **ret, err *e);
void audit_close(audit *a);
void audit_closep(audit **a);
/* Thread-safe. `r->seq`, `r->t_ms` are ignored. *ret_seq may be NULL. On failure nothing was recorded and the
 * next call tries again (the file is put back to its last good length). `durable`: fsync before returning.
 *   ERR_INVALID, ERR_PARSE  no kind, a reserved one ("audit.checkpoint"), or `data` is not a JSON object
 *   ERR_LIMIT               larger than AUDIT_MAX_DATA
 *   ERR_IO …                the disk said no */
err_kind audit_append(audit *a, const audit_record *r, bool durable, uint64_t *ret_seq, err *e);
/* Somebody wants to know: called after each append, on the appender's thread. One listener. */
void audit_on_append(audit *a, void (*fn)(void *ctx, const audit_record *r), void *ctx);

/* Number and hash of the last record (0 and zeros: none yet): written down elsewhere, it proves that no end was cut off. */
uint64_t audit_head(audit *a, char ret_hex[65]);

/* ---- reading (also offline: takes the folder) ---- */
typedef struct audit_filter {
    int64_t from_ms, to_ms;        /* 0: open */
    uint64_t after_seq;            /* 0: from the first */
    str kind_prefix, subject, incident;  /* empty: any */
    size_t limit;                  /* 0: AUDIT_LIST_MAX; with `newest` the last ones, still oldest first */
    bool newest;
} audit_filter;
#define AUDIT_LIST_MAX 10000
/* Calls fn for each match, oldest first; records borrowed for the call. fn returning false stops. */
err_kind audit_list(const char *dir, const audit_filter *f, bool (*fn)(void *ctx, const audit_record *r), void *ctx, err *e);
void audit_record_json(json_writer *w, const audit_record *r);

typedef struct audit_report {
    uint64_t records, first_seq, last_seq;
    char head_hex[65];             /* hash of the last record */
    bool ok;
    char problem[300];             /* first thing found: which file, seq, what */
    bool torn_tail;                /* the last record is cut (a crash); all before it verified */
} audit_report;
/* Recompute the chain. OK: it was read, `ok` and `problem` tell how it is. head_hex ("" = not given): the hash somebody wrote down; a chain that no longer contains it was cut. */
err_kind audit_verify(const char *dir, const char *head_hex, audit_report *ret, err *e);

/* ---- state.db: small key/value tables, one row = one JSON text ---- */
typedef struct state_db state_db;
err_kind state_open(const char *path, state_db **ret, err *e);
void state_close(state_db *s);
void state_closep(state_db **s);
/* `table` is a short word of our own ("process", "incident", "heal"). Committed (WAL, synchronous=FULL) on return. */
err_kind state_put(state_db *s, const char *table, str key, str json, err *e);
err_kind state_get(state_db *s, const char *table, str key, buf *out, err *e);   /* ERR_NOT_FOUND */
err_kind state_delete(state_db *s, const char *table, str key, err *e);
err_kind state_each(state_db *s, const char *table, bool (*fn)(void *ctx, str key, str json), void *ctx, err *e);
