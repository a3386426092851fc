/* base/json.h - reading JSON (simdjson behind base/cxx.cc) and writing it (a streaming writer into a buf).
 *
 * Reader: json_parse gives a document; json_val is a cursor into it, by value, valid while the document
 * lives. A missing or wrongly typed thing is an "absent" cursor on which every accessor is safe, so
 * json_str_or(json_get(json_get(v, "a"), "b"), STR("")) needs no checks in between. Depth and size are
 * bounded (JSON_MAX_DEPTH; the size by the caller's buffer). RFC 8259; duplicate keys: the first wins. */
#pragma once
#include "base/base.h"

#define JSON_MAX_DEPTH 128

typedef struct json_doc json_doc;
typedef enum json_type { JSON_ABSENT, JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT } json_type;
typedef struct json_val {
    const void *doc; /* simdjson document; NULL = absent */
    size_t index;    /* place on its tape */
} json_val;

/* Copies `text`. ERR_PARSE (message tells what), ERR_NOMEM. *ret_doc is yours: json_doc_free. */
err_kind json_parse(str text, json_doc **ret_doc, err *e);
void json_doc_free(json_doc *doc);
void json_doc_freep(json_doc **doc);
json_val json_root(const json_doc *doc);

json_type json_typeof(json_val v);
json_val json_get(json_val object, const char *key);
json_val json_at(json_val array, size_t i);
size_t json_len(json_val v);                     /* members of an array or object; else 0 */
str json_str_or(json_val v, str otherwise);      /* borrowed from the document */
double json_number_or(json_val v, double otherwise);
int64_t json_i64_or(json_val v, int64_t otherwise);
bool json_bool_or(json_val v, bool otherwise);
/* Walk an array or object: json_iter it = json_walk(v); while (json_next(&it, &key, &val)) … (key is empty in arrays) */
typedef struct json_iter { json_val container, next; size_t left; bool is_object; } json_iter;
json_iter json_walk(json_val container);
bool json_next(json_iter *it, str *ret_key, json_val *ret_val);

/* Writer: commas and quotes are its job, failure is the buf's sticky one.
 *     json_writer w = json_writer_to(&b);
 *     json_begin(&w, '{'); json_key(&w, "status"); json_cstr(&w, "success"); json_end(&w, '}');
 * Invalid UTF-8 is written as U+FFFD. */
typedef struct json_writer { buf *out; bool comma; } json_writer;
static inline json_writer json_writer_to(buf *out) { return (json_writer){ out, false }; }
void json_begin(json_writer *w, char brace);     /* '{' or '[' */
void json_end(json_writer *w, char brace);       /* '}' or ']' */
void json_key(json_writer *w, const char *key);
void json_key_str(json_writer *w, str key);
void json_str(json_writer *w, str s);
void json_cstr(json_writer *w, const char *s);   /* NULL writes null */
void json_i64(json_writer *w, int64_t v);
void json_double(json_writer *w, double v);      /* NaN and infinities, which JSON lacks, as null */
void json_bool(json_writer *w, bool v);
void json_null(json_writer *w);
void json_raw(json_writer *w, str already_json);
/* key and value in one call */
void json_put_str(json_writer *w, const char *key, str s);
void json_put_cstr(json_writer *w, const char *key, const char *s);
void json_put_i64(json_writer *w, const char *key, int64_t v);
void json_put_double(json_writer *w, const char *key, double v);
void json_put_bool(json_writer *w, const char *key, bool v);
