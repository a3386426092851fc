/* base/err.h - what went wrong: a kind for code, a sentence for people, a place, and what to do about it.
 *
 * An `err` is plain data on the caller's stack; filling it never allocates. Every function that can fail
 * takes `err *e` (may be NULL) and returns the kind, so `return err_set(e, ERR_NOT_FOUND, "…")` is the
 * usual exit. Messages: lower case, no full stop, what was attempted, on which "quoted object", why;
 * "could not" if it may work next time, "cannot" if never. The hint is a full sentence with the next step. */
#pragma once
#include "base/def.h"

typedef enum err_kind {
    OK = 0,
    ERR_NOMEM,        /* an allocation failed */
    ERR_IO,           /* the system said no: sys_errno tells */
    ERR_NOT_FOUND,
    ERR_EXISTS,
    ERR_INVALID,      /* a value that makes no sense */
    ERR_PARSE,        /* text or bytes that do not follow their format: line and column tell */
    ERR_LIMIT,        /* a named limit was reached */
    ERR_FULL,         /* no room left; make some and call again */
    ERR_TIMEOUT,
    ERR_CANCELED,
    ERR_UNAVAILABLE,  /* not now: starting, stopping, connection refused */
    ERR_CONFLICT,     /* somebody else holds it */
    ERR_DENIED,       /* not allowed */
    ERR_CORRUPT,      /* stored bytes fail their checksum or invariant */
    ERR_OUT_OF_ORDER, /* a sample not after the last one of its series */
    ERR_DUPLICATE,    /* same time, other value */
    ERR_UNSUPPORTED,  /* understood, but not built yet */
    ERR_EXEC,         /* an expression failed while it ran */
    ERR_INTERNAL,     /* our own mistake, reported instead of crashing */
    ERR_KIND_COUNT
} err_kind;

typedef struct err {
    err_kind kind;
    int sys_errno;          /* 0 if none */
    uint32_t line, column;  /* 1-based; 0 = no place */
    char file[160];         /* "" = no file */
    char message[400];
    char hint[240];         /* "" = no advice */
} err;

const char *err_kind_name(err_kind kind); /* "not_found", … */

/* Fill *e (e may be NULL) and return `kind`. An older content is replaced. */
err_kind err_set(err *e, err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Same, ": <strerror>" appended, kind chosen from the errno (ENOENT → NOT_FOUND, EACCES → DENIED, ENOMEM …, else IO). */
err_kind err_sys(err *e, int sys_errno, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Put "<text>: " before the message; returns e's kind. For climbing up: what was attempted on which object. */
err_kind err_context(err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
err_kind err_hint(err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
err_kind err_at(err *e, uint32_t line, uint32_t column); /* returns e's kind; keeps an already known place */
err_kind err_in_file(err *e, const char *file);          /* likewise */
err_kind err_nomem(err *e);                              /* "out of memory" */

/* "file:line:column: message" into out, cut to cap; without the hint. */
void err_format(char *out, size_t cap, const err *e);
/* To stderr as people read it: "galen: file:3:7: message" and "Hint: …" on the next line. */
void err_print(const err *e);
