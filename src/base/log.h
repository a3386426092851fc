/* base/log.h - what galen says about itself: one line an event, logfmt (or JSON) on stderr.
 *
 *     log_warn("scrape failed, keeping last samples", KV_STR("target", t->name), KV_ERR(&e));
 *
 * Error: something asked for was lost. Warn: degraded, says how we go on. Info: lifecycle. Debug: anything.
 * Room code returns errors and does not log them; the task that owns the unit of work logs once.
 * A decision about someone's service goes to audit/, not here. Thread-safe: one write(2) a line. */
#pragma once
#include "base/err.h"
#include "base/str.h"

typedef enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG } log_level;
typedef struct log_kv {
    const char *key;
    enum { LOG_KV_STR, LOG_KV_INT, LOG_KV_DOUBLE, LOG_KV_BOOL, LOG_KV_ERR } type;
    union { str s; int64_t i; double d; bool b; const err *e; };
} log_kv;

#define KV_STR(k, v) ((log_kv){ (k), LOG_KV_STR, .s = (v) })
#define KV_CSTR(k, v) ((log_kv){ (k), LOG_KV_STR, .s = str_from(v) })
#define KV_INT(k, v) ((log_kv){ (k), LOG_KV_INT, .i = (int64_t)(v) })
#define KV_DOUBLE(k, v) ((log_kv){ (k), LOG_KV_DOUBLE, .d = (v) })
#define KV_BOOL(k, v) ((log_kv){ (k), LOG_KV_BOOL, .b = (v) })
#define KV_ERR(v) ((log_kv){ "err", LOG_KV_ERR, .e = (v) })

#define log_at(level, msg, ...) \
    log_write((level), (msg), (log_kv[]){ { 0 }, ##__VA_ARGS__ } + 1, sizeof((log_kv[]){ { 0 }, ##__VA_ARGS__ }) / sizeof(log_kv) - 1)
#define log_error(msg, ...) log_at(LOG_ERROR, msg, ##__VA_ARGS__)
#define log_warn(msg, ...) log_at(LOG_WARN, msg, ##__VA_ARGS__)
#define log_info(msg, ...) log_at(LOG_INFO, msg, ##__VA_ARGS__)
#define log_debug(msg, ...) log_at(LOG_DEBUG, msg, ##__VA_ARGS__)

void log_write(log_level level, const char *msg, const log_kv *kv, size_t n);
void log_set_level(log_level level);
bool log_level_parse(str s, log_level *ret);   /* error, warn, info, debug */
void log_set_json(bool json);
