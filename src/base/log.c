#include "base/log.h"
#include "base/base.h"
#include "base/json.h"
#include <stdatomic.h>
#include <unistd.h>

#define LOG_LINE_MAX 8192

static _Atomic int max_level = LOG_INFO;
static atomic_bool as_json;
static const char *const level_names[] = { "error", "warn", "info", "debug" };

void log_set_level(log_level level) { max_level = (int)level; }
void log_set_json(bool json) { as_json = json; }

bool log_level_parse(str s, log_level *ret)
{
    for (size_t i = 0; i < COUNT_OF(level_names); i++)
        if (str_is(s, level_names[i]))
            return *ret = (log_level)i, true;
    return false;
}

static bool needs_quotes(str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] == '"' || s.ptr[i] == '=' || s.ptr[i] == '\\' || s.ptr[i] == 127)
            return true;
    return s.len == 0;
}

/* A value in logfmt; quoted where it must be, with JSON's escapes so that one event stays one line. */
static void put_text(json_writer *w, str s)
{
    if (!as_json && !needs_quotes(s))
        buf_append(w->out, s);
    else
        json_str(w, s);
    w->comma = false;
}

static void put_key(json_writer *w, const char *key)
{
    if (as_json)
        buf_printf(w->out, ",\"%s\":", key);
    else
        buf_printf(w->out, " %s=", key);
}

static void put_err(json_writer *w, const err *e)
{
    char text[sizeof e->message + sizeof e->file + 32];
    err_format(text, sizeof text, e);
    put_key(w, "err");
    put_text(w, str_from(text));
    if (e->hint[0]) {
        put_key(w, "hint");
        put_text(w, str_from(e->hint));
    }
}

static void put_kv(json_writer *w, const log_kv *kv)
{
    if (kv->type == LOG_KV_ERR) {
        put_err(w, kv->e);
        return;
    }
    put_key(w, kv->key);
    switch (kv->type) {
    case LOG_KV_STR: put_text(w, kv->s); break;
    case LOG_KV_INT: buf_append_i64(w->out, kv->i); break;
    case LOG_KV_DOUBLE: buf_append_double(w->out, kv->d); break;
    case LOG_KV_BOOL: buf_append(w->out, kv->b ? STR("true") : STR("false")); break;
    case LOG_KV_ERR: break;
    }
}

void log_write(log_level level, const char *msg, const log_kv *kv, size_t n)
{
    if ((int)level > max_level)
        return;
    AUTO(buf_done) buf line = BUF_INIT(LOG_LINE_MAX);
    json_writer w = json_writer_to(&line);
    char time[CLOCK_ISO_MAX];
    clock_format_iso(time, clock_now_ms());
    buf_printf(&line, as_json ? "{\"time\":\"%s\",\"level\":\"%s\",\"msg\":" : "time=%s level=%s msg=", time, level_names[level]);
    put_text(&w, str_from(msg));
    for (size_t i = 0; i < n; i++)
        put_kv(&w, &kv[i]);
    if (as_json)
        buf_append_char(&line, '}');
    if (buf_failed(&line)) /* cut, but still one whole line */
        line.failed = OK;
    size_t len = MIN(line.len, (size_t)LOG_LINE_MAX - 1);
    if (!line.ptr)
        return;
    line.ptr[len] = '\n'; /* the padding behind the text leaves room */
    ssize_t ignored = write(STDERR_FILENO, line.ptr, len + 1);
    UNUSED(ignored);
}
