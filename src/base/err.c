#include "base/err.h"
#include "base/base.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

const char *err_kind_name(err_kind kind)
{
    static const char *const names[ERR_KIND_COUNT] = {
        [OK] = "ok", [ERR_NOMEM] = "no_memory", [ERR_IO] = "io", [ERR_NOT_FOUND] = "not_found", [ERR_EXISTS] = "exists",
        [ERR_INVALID] = "invalid", [ERR_PARSE] = "parse", [ERR_LIMIT] = "limit", [ERR_FULL] = "full",
        [ERR_TIMEOUT] = "timeout", [ERR_CANCELED] = "canceled", [ERR_UNAVAILABLE] = "unavailable",
        [ERR_CONFLICT] = "conflict", [ERR_DENIED] = "denied", [ERR_CORRUPT] = "corrupt",
        [ERR_OUT_OF_ORDER] = "out_of_order", [ERR_DUPLICATE] = "duplicate", [ERR_UNSUPPORTED] = "unsupported",
        [ERR_EXEC] = "execution", [ERR_INTERNAL] = "internal",
    };
    return kind < ERR_KIND_COUNT ? names[kind] : "unknown";
}

err_kind err_set(err *e, err_kind kind, const char *fmt, ...)
{
    if (!e)
        return kind;
    char text[sizeof e->message]; /* fmt's arguments may point into *e */
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    *e = (err){ .kind = kind };
    str_copy(e->message, sizeof e->message, str_from(text));
    return kind;
}

static err_kind kind_of_errno(int n)
{
    switch (n) {
    case ENOENT: case ENOTDIR: return ERR_NOT_FOUND;
    case EACCES: case EPERM: case EROFS: return ERR_DENIED;
    case ENOMEM: return ERR_NOMEM;
    case EEXIST: return ERR_EXISTS;
    case ETIMEDOUT: return ERR_TIMEOUT;
    case ECONNREFUSED: case ENETUNREACH: case EHOSTUNREACH: return ERR_UNAVAILABLE;
    case EADDRINUSE: return ERR_CONFLICT;
    default: return ERR_IO;
    }
}

err_kind err_sys(err *e, int sys_errno, const char *fmt, ...)
{
    err_kind kind = kind_of_errno(sys_errno);
    if (!e)
        return kind;
    char text[sizeof e->message], why[128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    err_set(e, kind, "%s: %s", text, strerror_r(sys_errno, why, sizeof why));
    e->sys_errno = sys_errno;
    return kind;
}

err_kind err_context(err *e, const char *fmt, ...)
{
    if (!e)
        return ERR_INTERNAL;
    char text[sizeof e->message], old[sizeof e->message];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    memcpy(old, e->message, sizeof old);
    size_t n = strlen(text);
    str_copy(e->message, sizeof e->message, str_from(text));
    if (n + 2 < sizeof e->message) {
        memcpy(e->message + n, ": ", 2);
        str_copy(e->message + n + 2, sizeof e->message - n - 2, str_from(old));
    }
    return e->kind;
}

err_kind err_hint(err *e, const char *fmt, ...)
{
    if (!e)
        return ERR_INTERNAL;
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->hint, sizeof e->hint, fmt, args);
    va_end(args);
    return e->kind;
}

err_kind err_at(err *e, uint32_t line, uint32_t column)
{
    if (!e)
        return ERR_INTERNAL;
    if (!e->line) {
        e->line = line;
        e->column = column;
    }
    return e->kind;
}

err_kind err_in_file(err *e, const char *file)
{
    if (!e)
        return ERR_INTERNAL;
    if (!e->file[0])
        str_copy(e->file, sizeof e->file, str_from(file));
    return e->kind;
}

err_kind err_nomem(err *e) { return err_set(e, ERR_NOMEM, "out of memory"); }

void err_format(char *out, size_t cap, const err *e)
{
    char place[sizeof e->file + 32] = "";
    if (e->line && e->column)
        snprintf(place, sizeof place, "%s%s%u:%u: ", e->file, e->file[0] ? ":" : "", e->line, e->column);
    else if (e->line)
        snprintf(place, sizeof place, "%s%s%u: ", e->file, e->file[0] ? ":" : "", e->line);
    else if (e->file[0])
        snprintf(place, sizeof place, "%s: ", e->file);
    snprintf(out, cap, "%s%s", place, e->message[0] ? e->message : err_kind_name(e->kind));
}

void err_print(const err *e)
{
    char text[sizeof e->message + sizeof e->file + 32];
    err_format(text, sizeof text, e);
    fprintf(stderr, "galen: %s\n", text);
    if (e->hint[0])
        fprintf(stderr, "Hint: %s\n", e->hint);
}
