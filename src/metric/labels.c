#include "metric/metric.h"
#include "base/hash.h"
#include "base/rand.h"
#include <stdlib.h>

/* One seed a process: label sets come from outside, so hashes must not be predictable. */
static uint64_t hash_seed(void)
{
    static _Atomic uint64_t value;
    uint64_t v = atomic_load_explicit(&value, memory_order_relaxed), none = 0;
    if (v)
        return v;
    rand_secret(&v, sizeof v);
    v |= 1;
    return atomic_compare_exchange_strong(&value, &none, v) ? v : none;
}

str labels_get(labels l, str name)
{
    for (size_t i = 0; i < l.len; i++)
        if (str_eq(l.at[i].name, name))
            return l.at[i].value;
    return STR_EMPTY;
}

uint64_t labels_hash(labels l)
{
    uint64_t h = hash_seed();
    for (size_t i = 0; i < l.len; i++)
        h = hash_str(l.at[i].value, hash_str(l.at[i].name, h) + 1);
    return h;
}

bool labels_eq(labels a, labels b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (!str_eq(a.at[i].name, b.at[i].name) || !str_eq(a.at[i].value, b.at[i].value))
            return false;
    return true;
}

int labels_cmp(labels a, labels b)
{
    for (size_t i = 0; i < a.len && i < b.len; i++) {
        int c = str_cmp(a.at[i].name, b.at[i].name);
        if (!c)
            c = str_cmp(a.at[i].value, b.at[i].value);
        if (c)
            return c;
    }
    return (a.len > b.len) - (a.len < b.len);
}

static bool name_valid(str s, bool colons)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colons && c == ':');
        if (!letter && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return s.len > 0;
}

bool label_name_valid(str s) { return name_valid(s, false); }
bool metric_name_valid(str s) { return name_valid(s, true); }

err_kind labels_normalise(label *at, size_t *len, err *e)
{
    size_t n = 0;
    for (size_t i = 0; i < *len; i++) {
        label l = at[i];
        if (str_empty(l.name))
            return err_set(e, ERR_INVALID, "a label without a name");
        if (str_empty(l.value))
            continue;
        size_t k = n++;
        for (; k > 0 && str_cmp(at[k - 1].name, l.name) > 0; k--)
            at[k] = at[k - 1];
        if (k > 0 && str_eq(at[k - 1].name, l.name))
            return err_set(e, ERR_INVALID, "label \"%" STR_FMT "\" occurs twice", STR_ARG(l.name));
        at[k] = l;
    }
    *len = n;
    return OK;
}

err_kind labels_to_arena(arena *a, labels l, labels *ret)
{
    label *copy = arena_array(a, label, MAX(l.len, 1u));
    for (size_t i = 0; copy && i < l.len; i++) {
        copy[i] = (label){ arena_str(a, l.at[i].name), arena_str(a, l.at[i].value) };
        if (!copy[i].name.ptr || !copy[i].value.ptr)
            return ERR_NOMEM;
    }
    if (!copy)
        return ERR_NOMEM;
    *ret = (labels){ copy, l.len };
    return OK;
}

void labels_format(labels l, buf *out)
{
    str name = labels_name(l);
    buf_append(out, name);
    bool first = true;
    for (size_t i = 0; i < l.len; i++) {
        if (str_eq(l.at[i].name, METRIC_NAME))
            continue;
        buf_append_char(out, first ? '{' : ',');
        first = false;
        buf_append(out, l.at[i].name);
        buf_append(out, STR("=\""));
        for (size_t k = 0; k < l.at[i].value.len; k++) {
            char c = l.at[i].value.ptr[k];
            if (c == '"' || c == '\\')
                buf_append_char(out, '\\');
            if (c == '\n')
                buf_append(out, STR("\\n"));
            else
                buf_append_char(out, c);
        }
        buf_append_char(out, '"');
    }
    if (!first)
        buf_append_char(out, '}');
    else if (str_empty(name))
        buf_append(out, STR("{}"));
}

void labels_json(json_writer *w, const char *key, labels l)
{
    if (key)
        json_key(w, key);
    json_begin(w, '{');
    for (size_t i = 0; i < l.len; i++) {
        json_key_str(w, l.at[i].name);
        json_str(w, l.at[i].value);
    }
    json_end(w, '}');
}

/* ---- owned sets: header, label array, bytes, all in one block ---- */

struct label_set {
    _Atomic uint32_t refs;
    uint32_t len;
    uint64_t hash;
    label at[];
};

label_set *label_set_new(labels l)
{
    size_t bytes = 0;
    for (size_t i = 0; i < l.len; i++)
        bytes += l.at[i].name.len + l.at[i].value.len;
    label_set *s = mem_alloc(sizeof *s + l.len * sizeof(label) + bytes);
    if (!s)
        return NULL;
    char *p = (char *)&s->at[l.len];
    for (size_t i = 0; i < l.len; i++) {
        label src = l.at[i];
        s->at[i] = (label){ { p, src.name.len }, { p + src.name.len, src.value.len } };
        if (src.name.len)
            memcpy(p, src.name.ptr, src.name.len);
        if (src.value.len)
            memcpy(p + src.name.len, src.value.ptr, src.value.len);
        p += src.name.len + src.value.len;
    }
    s->refs = 1;
    s->len = (uint32_t)l.len;
    s->hash = labels_hash(l);
    return s;
}

label_set *label_set_ref(label_set *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void label_set_unref(label_set *s)
{
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
        mem_free(s);
}

labels label_set_view(const label_set *s) { return (labels){ s->at, s->len }; }
uint64_t label_set_hash(const label_set *s) { return s->hash; }

/* ---- builder ---- */

void labels_start(labels_builder *b, arena *a)
{
    b->arena = a;
    b->len = 0;
    b->failed = false;
}

void labels_start_from(labels_builder *b, arena *a, labels base)
{
    labels_start(b, a);
    b->failed = base.len > LABELS_MAX;
    b->len = b->failed ? 0 : base.len;
    if (b->len)
        memcpy(b->at, base.at, b->len * sizeof *base.at);
}

void labels_put(labels_builder *b, str name, str value)
{
    size_t i = 0;
    while (i < b->len && !str_eq(b->at[i].name, name))
        i++;
    if (str_empty(value)) {
        if (i < b->len)
            b->at[i] = b->at[--b->len];
        return;
    }
    if (i == LABELS_MAX || (i == b->len && !(b->at[i].name = arena_str(b->arena, name)).ptr) ||
        !(b->at[i].value = arena_str(b->arena, value)).ptr) {
        b->failed = true;
        return;
    }
    b->len = MAX(b->len, i + 1);
}

labels labels_finish(labels_builder *b)
{
    if (b->failed || labels_normalise(b->at, &b->len, NULL))
        return b->failed = true, (labels){ NULL, 0 };
    return (labels){ b->at, b->len };
}

const char *metric_type_name(metric_type t)
{
    static const char *const names[] = { "unknown", "counter", "gauge", "histogram", "summary", "gaugehistogram", "info", "stateset" };
    return t < COUNT_OF(names) ? names[t] : "unknown";
}
