/* The cursor walks simdjson's tape (github.com/simdjson/simdjson/blob/master/doc/tape.md): one 64-bit word an
 * element, its type in the top byte. '{' and '[' hold in their low 32 bits the index after their end and above
 * it a member count that saturates at 0xffffff; numbers take a second word; strings point into a buffer of
 * 32-bit lengths and bytes. */
#include "base/json.h"
#include "base/cxx.h"

#define TAPE_ROOT_CHILD 1
#define TAPE_PAYLOAD(word) ((word) & UINT64_C(0x00ffffffffffffff))

struct json_doc { void *parsed; };

err_kind json_parse(str text, json_doc **ret_doc, err *e)
{
    char why[160];
    cxx_json_error code;
    json_doc *doc = mem_alloc(sizeof *doc);
    if (!doc)
        return err_nomem(e);
    doc->parsed = cxx_json_new(text.ptr ? text.ptr : "", text.len, JSON_MAX_DEPTH, &code, why, sizeof why);
    if (doc->parsed)
        return *ret_doc = doc, OK;
    mem_free(doc);
    if (code == CXX_JSON_NOMEM)
        return err_nomem(e);
    return err_set(e, ERR_PARSE, "could not parse JSON: %s", why);
}

void json_doc_free(json_doc *doc)
{
    if (!doc)
        return;
    cxx_json_free(doc->parsed);
    mem_free(doc);
}

void json_doc_freep(json_doc **doc)
{
    json_doc_free(*doc);
    *doc = NULL;
}

static const json_val absent = { 0 };

json_val json_root(const json_doc *doc) { return doc ? (json_val){ doc->parsed, TAPE_ROOT_CHILD } : absent; }

static uint64_t word_at(json_val v) { return cxx_json_tape(v.doc)[v.index]; }
static char tag_of(json_val v) { return v.doc ? (char)(word_at(v) >> 56) : '\0'; }

/* The element behind this one. */
static size_t after(json_val v)
{
    switch (tag_of(v)) {
    case '{': case '[': return (uint32_t)word_at(v);
    case 'l': case 'u': case 'd': return v.index + 2;
    default: return v.index + 1;
    }
}

json_type json_typeof(json_val v)
{
    switch (tag_of(v)) {
    case '{': return JSON_OBJECT;
    case '[': return JSON_ARRAY;
    case '"': return JSON_STRING;
    case 'l': case 'u': case 'd': return JSON_NUMBER;
    case 't': case 'f': return JSON_BOOL;
    case 'n': return JSON_NULL;
    default: return JSON_ABSENT;
    }
}

static str string_at(json_val v)
{
    const uint8_t *at = cxx_json_strings(v.doc) + TAPE_PAYLOAD(word_at(v));
    uint32_t len;
    memcpy(&len, at, sizeof len);
    return (str){ (const char *)at + sizeof len, len };
}

json_iter json_walk(json_val container)
{
    char tag = tag_of(container);
    if (tag != '{' && tag != '[')
        return (json_iter){ 0 };
    return (json_iter){ .container = container, .next = { container.doc, container.index + 1 },
                        .left = after(container) - 1, .is_object = tag == '{' };
}

bool json_next(json_iter *it, str *ret_key, json_val *ret_val)
{
    if (!it->container.doc || it->next.index >= it->left) /* left: index of the closing brace */
        return false;
    str key = STR_EMPTY;
    if (it->is_object) {
        key = string_at(it->next);
        it->next.index++;
    }
    if (ret_key)
        *ret_key = key;
    *ret_val = it->next;
    it->next.index = after(it->next);
    return true;
}

json_val json_get(json_val object, const char *key)
{
    if (tag_of(object) != '{')
        return absent;
    str name, want = str_from(key);
    json_val v;
    for (json_iter it = json_walk(object); json_next(&it, &name, &v);)
        if (str_eq(name, want))
            return v;
    return absent;
}

json_val json_at(json_val array, size_t i)
{
    json_val v;
    if (tag_of(array) != '[')
        return absent;
    for (json_iter it = json_walk(array); json_next(&it, NULL, &v);)
        if (i-- == 0)
            return v;
    return absent;
}

size_t json_len(json_val v)
{
    size_t n = 0;
    json_val item;
    for (json_iter it = json_walk(v); json_next(&it, NULL, &item);)
        n++;
    return n;
}

str json_str_or(json_val v, str otherwise) { return tag_of(v) == '"' ? string_at(v) : otherwise; }

double json_number_or(json_val v, double otherwise)
{
    char tag = tag_of(v);
    if (tag != 'l' && tag != 'u' && tag != 'd')
        return otherwise;
    uint64_t raw = cxx_json_tape(v.doc)[v.index + 1];
    double d;
    memcpy(&d, &raw, sizeof d);
    return tag == 'd' ? d : tag == 'l' ? (double)(int64_t)raw : (double)raw;
}

int64_t json_i64_or(json_val v, int64_t otherwise)
{
    char tag = tag_of(v);
    if (tag == 'l')
        return (int64_t)cxx_json_tape(v.doc)[v.index + 1];
    double d = json_number_or(v, 0.5);
    return tag == 'd' && d >= -0x1p63 && d < 0x1p63 && (double)(int64_t)d == d ? (int64_t)d : otherwise;
}

bool json_bool_or(json_val v, bool otherwise) { return tag_of(v) == 't' ? true : tag_of(v) == 'f' ? false : otherwise; }

/* ---- writer ---- */

static void comma(json_writer *w)
{
    if (w->comma)
        buf_append_char(w->out, ',');
    w->comma = true;
}

void json_begin(json_writer *w, char brace)
{
    comma(w);
    buf_append_char(w->out, brace);
    w->comma = false;
}

void json_end(json_writer *w, char brace)
{
    buf_append_char(w->out, brace);
    w->comma = true;
}

/* Bytes that go through unchanged: everything but controls, quote and backslash. */
static bool plain(unsigned char c) { return c >= 0x20 && c != '"' && c != '\\'; }

static void escape(buf *out, unsigned char c)
{
    static const char short_form[32] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r' };
    if (c == '"' || c == '\\')
        buf_append_bytes(out, (char[]){ '\\', (char)c }, 2);
    else if (short_form[c])
        buf_append_bytes(out, (char[]){ '\\', short_form[c] }, 2);
    else
        buf_printf(out, "\\u%04x", c);
}

static void put_escaped(buf *out, str s)
{
    size_t from = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (plain((unsigned char)s.ptr[i]))
            continue;
        buf_append_bytes(out, s.ptr + from, i - from);
        escape(out, (unsigned char)s.ptr[i]);
        from = i + 1;
    }
    buf_append_bytes(out, s.ptr ? s.ptr + from : "", s.len - from);
}

/* Slow path for text that is not UTF-8: every byte that does not belong becomes U+FFFD. */
static void put_mended(buf *out, str s)
{
    for (size_t i = 0; i < s.len;) {
        size_t n = 1;
        while (n < 4 && i + n <= s.len && !str_utf8_valid(str_sub(s, i, n)))
            n++;
        bool valid = i + n <= s.len && str_utf8_valid(str_sub(s, i, n));
        if (valid)
            put_escaped(out, str_sub(s, i, n));
        else
            buf_append(out, STR("\xef\xbf\xbd"));
        i += valid ? n : 1;
    }
}

/* Does one of eight bytes need a second look: a control, quote, backslash, or no ASCII? (Mycroft's test for a zero byte
 * on what the byte was made to be; it may say yes for nothing behind a byte that does, which only costs time.) */
static bool is_odd(uint64_t bytes)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t quote = bytes ^ (ones * '"'), slash = bytes ^ (ones * '\\');
    return (bytes | (bytes - ones * 0x20) | (quote - ones) | (slash - ones)) & highs;
}

/* Names, numbers and most values: ASCII without anything to escape, so that one copy does. */
static bool is_simple(str s)
{
    size_t i = 0;
    for (; i + 8 <= s.len; i += 8) {
        uint64_t bytes;
        memcpy(&bytes, s.ptr + i, sizeof bytes);
        if (is_odd(bytes))
            return false;
    }
    for (; i < s.len; i++)
        if (!plain((unsigned char)s.ptr[i]) || (unsigned char)s.ptr[i] >= 0x80)
            return false;
    return true;
}

/* The string with what stands before and behind it, in one piece. False: it is not that simple. */
static bool put_simple(buf *out, bool with_comma, str s, bool with_colon)
{
    char *room = is_simple(s) ? buf_reserve(out, s.len + 4) : NULL, *p = room;
    if (!room)
        return false;
    if (with_comma)
        *p++ = ',';
    *p++ = '"';
    if (s.len)
        memcpy(p, s.ptr, s.len);
    p += s.len;
    *p++ = '"';
    if (with_colon)
        *p++ = ':';
    buf_commit(out, (size_t)(p - room));
    return true;
}

static void put_quoted(buf *out, str s)
{
    buf_append_char(out, '"');
    if (str_utf8_valid(s))
        put_escaped(out, s);
    else
        put_mended(out, s);
    buf_append_char(out, '"');
}

void json_str(json_writer *w, str s)
{
    if (!put_simple(w->out, w->comma, s, false)) {
        comma(w);
        put_quoted(w->out, s);
    }
    w->comma = true;
}

void json_key_str(json_writer *w, str key)
{
    if (!put_simple(w->out, w->comma, key, true)) {
        comma(w);
        put_quoted(w->out, key);
        buf_append_char(w->out, ':');
    }
    w->comma = false;
}

void json_raw(json_writer *w, str already_json)
{
    comma(w);
    buf_append(w->out, already_json);
}

void json_i64(json_writer *w, int64_t v)
{
    comma(w);
    buf_append_i64(w->out, v);
}

void json_double(json_writer *w, double v)
{
    comma(w);
    if (v != v || v - v != 0) /* NaN, infinities */
        buf_append(w->out, STR("null"));
    else
        buf_append_double(w->out, v);
}

void json_key(json_writer *w, const char *key) { json_key_str(w, str_from(key)); }
void json_bool(json_writer *w, bool v) { json_raw(w, v ? STR("true") : STR("false")); }
void json_null(json_writer *w) { json_raw(w, STR("null")); }

void json_cstr(json_writer *w, const char *s)
{
    if (s)
        json_str(w, str_from(s));
    else
        json_null(w);
}

void json_put_str(json_writer *w, const char *key, str s) { json_key(w, key), json_str(w, s); }
void json_put_cstr(json_writer *w, const char *key, const char *s) { json_key(w, key), json_cstr(w, s); }
void json_put_i64(json_writer *w, const char *key, int64_t v) { json_key(w, key), json_i64(w, v); }
void json_put_double(json_writer *w, const char *key, double v) { json_key(w, key), json_double(w, v); }
void json_put_bool(json_writer *w, const char *key, bool v) { json_key(w, key), json_bool(w, v); }
