/* audit/state.c - state.db: the small facts that must outlive the process, as rows of JSON in SQLite.
 *
 * WAL with synchronous=FULL: what state_put acknowledged survives a power cut. One connection behind one lock;
 * statements are prepared once. The schema's number is in PRAGMA user_version, so that a newer file is refused
 * instead of misread (https://www.sqlite.org/pragma.html#pragma_user_version). */
#include "audit/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <unistd.h>

#define STATE_VERSION 1
#define STATE_BUSY_MS 2000          /* an offline command may be reading */
#define STATE_MAX_JSON (4u << 20)
#define STATE_MAX_ROWS 1000000u     /* of one table, for state_each */

struct state_db {
    pthread_mutex_t lock;
    sqlite3 *db;
    sqlite3_stmt *put, *get, *remove, *each;
};

static const char schema[] =
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = FULL;"
    "PRAGMA trusted_schema = OFF;"
    "CREATE TABLE IF NOT EXISTS state ("
    "  kind TEXT NOT NULL, key TEXT NOT NULL, json TEXT NOT NULL, PRIMARY KEY (kind, key)"
    ") STRICT, WITHOUT ROWID;";

/* SQLite's result as our kind, with its own words. */
static err_kind failed(state_db *s, err *e, const char *what)
{
    int code = s->db ? sqlite3_errcode(s->db) : SQLITE_NOMEM;
    const char *why = s->db ? sqlite3_errmsg(s->db) : "out of memory";
    err_kind k = code == SQLITE_NOMEM ? ERR_NOMEM
               : code == SQLITE_BUSY || code == SQLITE_LOCKED ? ERR_CONFLICT
               : code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? ERR_CORRUPT : ERR_IO;
    err_set(e, k, "could not %s: %s", what, why);
    if (k == ERR_CORRUPT) /* what is in it galen finds out anew, or an operator says again */
        err_hint(e, "Stop galen, move state.db away with its -wal and -shm, and start again: samples and records are kept elsewhere.");
    if (k == ERR_IO)
        err_hint(e, "Look whether the disk is full (df) or broken (dmesg).");
    return k;
}

static err_kind check_version(state_db *s, err *e)
{
    sqlite3_stmt *st;
    int version = -1;
    if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        version = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    if (version < 0)
        return failed(s, e, "read the state's version");
    if (version > STATE_VERSION) {
        err_set(e, ERR_UNSUPPORTED, "cannot use a state of version %d: this galen knows versions up to %d", version, STATE_VERSION);
        return err_hint(e, "Start the galen that wrote it, or give another --data folder.");
    }
    return OK;
}

static err_kind prepare(state_db *s, err *e)
{
    const struct { const char *sql; sqlite3_stmt **to; } rows[] = {
        { "INSERT INTO state (kind, key, json) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET json = excluded.json", &s->put },
        { "SELECT json FROM state WHERE kind = ?1 AND key = ?2", &s->get },
        { "DELETE FROM state WHERE kind = ?1 AND key = ?2", &s->remove },
        { "SELECT key, json FROM state WHERE kind = ?1 ORDER BY key", &s->each },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (sqlite3_prepare_v3(s->db, rows[i].sql, -1, SQLITE_PREPARE_PERSISTENT, rows[i].to, NULL) != SQLITE_OK)
            return failed(s, e, "prepare the state's statements");
    return OK;
}

static err_kind state_init(state_db *s, const char *path, err *e)
{
    char version[40];

    /* Created by us, so that nobody else can read it; SQLite gives its -wal and -shm the same rights. */
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(e, errno, "could not open");
    close(fd);
    if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return failed(s, e, "open it");
    sqlite3_busy_timeout(s->db, STATE_BUSY_MS);
    err_kind k = check_version(s, e);
    if (k)
        return k;
    sqlite3_snprintf(sizeof version, version, "PRAGMA user_version = %d", STATE_VERSION);
    if (sqlite3_exec(s->db, schema, NULL, NULL, NULL) != SQLITE_OK || sqlite3_exec(s->db, version, NULL, NULL, NULL) != SQLITE_OK)
        return failed(s, e, "lay out its table");
    return prepare(s, e);
}

err_kind state_open(const char *path, state_db **ret, err *e)
{
    err scratch;
    AUTO(state_closep) state_db *s = mem_zalloc(sizeof *s);

    if (!e)
        e = &scratch;
    if (!s)
        return err_nomem(e);
    pthread_mutex_init(&s->lock, NULL);
    if (state_init(s, path, e))
        return err_context(e, "could not open state \"%s\"", path);
    *ret = TAKE(s);
    return OK;
}

void state_close(state_db *s)
{
    if (!s)
        return;
    sqlite3_finalize(s->put);
    sqlite3_finalize(s->get);
    sqlite3_finalize(s->remove);
    sqlite3_finalize(s->each);
    sqlite3_close(s->db);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

void state_closep(state_db **s)
{
    state_close(*s);
    *s = NULL;
}

/* ---- rows ---- */

static void bind_str(sqlite3_stmt *st, int at, str s)
{
    sqlite3_bind_text(st, at, s.ptr ? s.ptr : "", (int)s.len, SQLITE_STATIC);
}

/* Lock, bind table and key. Ends with finish(). */
static void start(state_db *s, sqlite3_stmt *st, const char *table, str key)
{
    pthread_mutex_lock(&s->lock);
    bind_str(st, 1, str_from(table));
    if (sqlite3_bind_parameter_count(st) > 1)
        bind_str(st, 2, key);
}

static void finish(state_db *s, sqlite3_stmt *st)
{
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    pthread_mutex_unlock(&s->lock);
}

static str column(sqlite3_stmt *st, int i)
{
    const char *text = (const char *)sqlite3_column_text(st, i); /* before _bytes, as SQLite asks */
    return str_of(text, (size_t)sqlite3_column_bytes(st, i));
}

err_kind state_put(state_db *s, const char *table, str key, str json, err *e)
{
    if (json.len > STATE_MAX_JSON)
        return err_set(e, ERR_LIMIT, "cannot keep %s \"%" STR_FMT "\": larger than %u bytes", table, STR_ARG(key), STATE_MAX_JSON);
    start(s, s->put, table, key);
    bind_str(s->put, 3, json);
    err_kind k = sqlite3_step(s->put) == SQLITE_DONE ? OK : failed(s, e, "write to the state");
    finish(s, s->put);
    return k ? err_context(e, "could not keep %s \"%" STR_FMT "\"", table, STR_ARG(key)), k : OK;
}

err_kind state_get(state_db *s, const char *table, str key, buf *out, err *e)
{
    err_kind k = OK;
    start(s, s->get, table, key);
    int step = sqlite3_step(s->get);
    if (step == SQLITE_ROW)
        k = buf_append(out, column(s->get, 0)) ? err_set(e, out->failed, "could not read %s \"%" STR_FMT "\": no room", table, STR_ARG(key)) : OK;
    else if (step == SQLITE_DONE)
        k = err_set(e, ERR_NOT_FOUND, "no %s \"%" STR_FMT "\" is kept", table, STR_ARG(key));
    else
        k = failed(s, e, "read the state");
    finish(s, s->get);
    return k;
}

err_kind state_delete(state_db *s, const char *table, str key, err *e)
{
    start(s, s->remove, table, key);
    err_kind k = sqlite3_step(s->remove) == SQLITE_DONE ? OK : failed(s, e, "remove from the state");
    finish(s, s->remove);
    return k;
}

/* Rows are copied first and told after the lock is free: `fn` may put and delete. */
typedef struct state_row { str key, json; } state_row;
typedef vec(state_row) state_rows;

static err_kind read_rows(state_db *s, const char *table, arena *a, state_rows *rows, err *e)
{
    err_kind k = OK;
    int step;
    start(s, s->each, table, STR_EMPTY);
    while (!k && (step = sqlite3_step(s->each)) == SQLITE_ROW) {
        state_row row = { arena_str(a, column(s->each, 0)), arena_str(a, column(s->each, 1)) };
        if (!row.key.ptr || !row.json.ptr || vec_push(rows, row))
            k = err_nomem(e);
        else if (rows->len > STATE_MAX_ROWS)
            k = err_set(e, ERR_LIMIT, "more than %u rows of %s are kept", STATE_MAX_ROWS, table);
    }
    if (!k && step != SQLITE_DONE)
        k = failed(s, e, "read the state");
    finish(s, s->each);
    return k;
}

err_kind state_each(state_db *s, const char *table, bool (*fn)(void *ctx, str key, str json), void *ctx, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(256u << 20);
    state_rows rows = { 0 };
    err_kind k = read_rows(s, table, &a, &rows, e);
    for (size_t i = 0; !k && i < rows.len && fn(ctx, rows.at[i].key, rows.at[i].json); i++)
        ;
    vec_done(&rows);
    return k;
}
