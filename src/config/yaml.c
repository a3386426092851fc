/* A tree of yaml_node out of libyaml's events: the event parser keeps the place of every node, and building the
 * tree here is where duplicate keys and alias bombs are refused. */
#include "config/config.h"
#include "base/hash.h"
#include "base/file.h"
#include <yaml.h>

typedef struct builder {
    yaml_parser_t parser;
    yaml_doc *doc;
    map anchors;            /* name -> yaml_node */
    size_t nodes, depth;
    err *e;
} builder;

static yaml_node *build(builder *b, const yaml_event_t *ev);

static err_kind fail_at(builder *b, yaml_mark_t mark, err_kind kind, const char *message)
{
    err_set(b->e, kind, "%s", message);
    err_at(b->e, (uint32_t)mark.line + 1, (uint32_t)mark.column + 1);
    return err_in_file(b->e, b->doc->file);
}

/* libyaml's own sentence: "did not find expected key (while parsing a block mapping at 4:7)". */
static err_kind fail_parser(builder *b)
{
    const yaml_parser_t *p = &b->parser;
    if (p->error == YAML_MEMORY_ERROR)
        return err_nomem(b->e);
    if (p->error == YAML_READER_ERROR) {
        err_set(b->e, ERR_PARSE, "%s at byte %zu", p->problem ? p->problem : "unreadable text", p->problem_offset);
        err_hint(b->e, "YAML must be UTF-8 without control characters.");
        return err_in_file(b->e, b->doc->file);
    }
    if (p->context)
        err_set(b->e, ERR_PARSE, "%s (%s at %zu:%zu)", p->problem, p->context, p->context_mark.line + 1, p->context_mark.column + 1);
    else
        err_set(b->e, ERR_PARSE, "%s", p->problem ? p->problem : "not YAML");
    err_at(b->e, (uint32_t)p->problem_mark.line + 1, (uint32_t)p->problem_mark.column + 1);
    return err_in_file(b->e, b->doc->file);
}

static yaml_node *new_node(builder *b, yaml_kind kind, yaml_mark_t mark)
{
    if (++b->nodes > CONFIG_MAX_NODES)
        return fail_at(b, mark, ERR_LIMIT, "too many nodes (an alias that multiplies itself?)"), NULL;
    yaml_node *n = arena_new(&b->doc->arena, yaml_node);
    if (!n)
        return err_nomem(b->e), NULL;
    *n = (yaml_node){ .kind = kind, .line = (uint32_t)mark.line + 1, .column = (uint32_t)mark.column + 1 };
    return n;
}

static bool is_null(str s) { return str_empty(s) || str_is(s, "~") || str_is(s, "null") || str_is(s, "Null") || str_is(s, "NULL"); }

static yaml_node *build_scalar(builder *b, const yaml_event_t *ev)
{
    yaml_node *n = new_node(b, YAML_SCALAR, ev->start_mark);
    if (!n)
        return NULL;
    n->text = arena_str(&b->doc->arena, str_of((const char *)ev->data.scalar.value, ev->data.scalar.length));
    n->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (!n->text.ptr)
        return err_nomem(b->e), NULL;
    if (!n->quoted && is_null(n->text))
        n->kind = YAML_NULL;
    return n;
}

static err_kind add_anchor(builder *b, const yaml_char_t *name, yaml_node *n)
{
    return name && map_set(&b->anchors, str_from((const char *)name), n) ? err_nomem(b->e) : OK;
}

/* The name an event gives its node, NULL for none. */
static const yaml_char_t *anchor_of(const yaml_event_t *ev)
{
    switch (ev->type) {
    case YAML_SCALAR_EVENT: return ev->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT: return ev->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT: return ev->data.mapping_start.anchor;
    default: return NULL;
    }
}

/* An alias costs as many nodes as it stands for, so that ten lines cannot become a billion nodes for a walker. */
static size_t weigh(const yaml_node *n, size_t limit)
{
    size_t total = 1;
    for (size_t i = 0; i < n->len && total <= limit; i++)
        total += weigh(n->items[i], limit - total) + (n->keys ? 1 : 0);
    return total;
}

static yaml_node *build_alias(builder *b, const yaml_event_t *ev)
{
    yaml_node *n = map_get(&b->anchors, str_from((const char *)ev->data.alias.anchor));
    if (!n)
        return fail_at(b, ev->start_mark, ERR_PARSE, "unknown alias"), NULL;
    b->nodes += weigh(n, CONFIG_MAX_NODES);
    if (b->nodes > CONFIG_MAX_NODES)
        return fail_at(b, ev->start_mark, ERR_LIMIT, "too many nodes (an alias that multiplies itself?)"), NULL;
    return n;
}

typedef vec(yaml_node *) node_vec;

static bool next_event(builder *b, yaml_event_t *ev)
{
    if (yaml_parser_parse(&b->parser, ev))
        return true;
    fail_parser(b);
    return false;
}

/* The next node of a container, NULL at its end (*ret_end) or on an error. */
static yaml_node *next_child(builder *b, yaml_event_type_t end, bool *ret_end)
{
    yaml_event_t ev;
    *ret_end = false;
    if (!next_event(b, &ev))
        return NULL;
    *ret_end = ev.type == end;
    yaml_node *n = *ret_end ? NULL : build(b, &ev);
    yaml_event_delete(&ev);
    return n;
}

static bool keep(builder *b, node_vec *from, yaml_node ***ret)
{
    *ret = arena_dup(&b->doc->arena, from->at, from->len * sizeof *from->at);
    if (!*ret)
        err_nomem(b->e);
    return *ret != NULL;
}

static yaml_node *build_sequence(builder *b, const yaml_event_t *ev)
{
    yaml_node *n = new_node(b, YAML_SEQUENCE, ev->start_mark);
    node_vec items = { 0 };
    bool end = false, ok = n != NULL;
    while (ok) {
        yaml_node *child = next_child(b, YAML_SEQUENCE_END_EVENT, &end);
        if (!child)
            break;
        if (vec_push(&items, child))
            ok = (err_nomem(b->e), false);
    }
    ok = ok && end && keep(b, &items, &n->items);
    if (ok)
        n->len = items.len;
    vec_done(&items);
    return ok ? n : NULL;
}

static bool key_is_new(builder *b, const yaml_node *key, map *seen)
{
    if (key->kind == YAML_SEQUENCE || key->kind == YAML_MAPPING) {
        err_set(b->e, ERR_PARSE, "a key must be a plain word");
    } else if (map_has(seen, key->text)) {
        err_set(b->e, ERR_PARSE, "duplicate key \"%" STR_FMT "\"", STR_ARG(key->text));
    } else if (map_set(seen, key->text, (void *)key)) {
        return err_nomem(b->e), false;
    } else {
        return true;
    }
    err_at(b->e, key->line, key->column);
    err_in_file(b->e, b->doc->file);
    return false;
}

static yaml_node *build_mapping(builder *b, const yaml_event_t *ev)
{
    yaml_node *n = new_node(b, YAML_MAPPING, ev->start_mark);
    node_vec keys = { 0 }, values = { 0 };
    AUTO(map_done) map seen = MAP_INIT;
    bool end = false, ok = n != NULL;
    while (ok) {
        yaml_node *key = next_child(b, YAML_MAPPING_END_EVENT, &end);
        if (!key)
            break;
        bool never;
        yaml_node *value = key_is_new(b, key, &seen) ? next_child(b, YAML_NO_EVENT, &never) : NULL;
        if (!value)
            ok = false;
        else if (vec_push(&keys, key) || vec_push(&values, value))
            ok = (err_nomem(b->e), false);
    }
    ok = ok && end && keep(b, &keys, &n->keys) && keep(b, &values, &n->items);
    if (ok)
        n->len = values.len;
    vec_done(&keys);
    vec_done(&values);
    return ok ? n : NULL;
}

static yaml_node *build(builder *b, const yaml_event_t *ev)
{
    if (b->depth++ >= CONFIG_MAX_DEPTH)
        return fail_at(b, ev->start_mark, ERR_LIMIT, "nested too deep"), NULL;
    yaml_node *n = NULL;
    switch (ev->type) {
    case YAML_SCALAR_EVENT: n = build_scalar(b, ev); break;
    case YAML_SEQUENCE_START_EVENT: n = build_sequence(b, ev); break;
    case YAML_MAPPING_START_EVENT: n = build_mapping(b, ev); break;
    case YAML_ALIAS_EVENT: n = build_alias(b, ev); break;
    default: fail_at(b, ev->start_mark, ERR_PARSE, "unexpected end"); break;
    }
    b->depth--;
    /* Named only now that it is whole: an alias inside it would make a tree without end. */
    return n && add_anchor(b, anchor_of(ev), n) ? NULL : n;
}

/* STREAM-START [DOCUMENT-START node DOCUMENT-END] STREAM-END; a second document is refused. */
static err_kind build_root(builder *b)
{
    for (;;) {
        yaml_event_t ev;
        if (!next_event(b, &ev))
            return b->e->kind;
        yaml_event_type_t type = ev.type;
        err_kind k = OK;
        if (type == YAML_DOCUMENT_START_EVENT && b->doc->root) {
            k = fail_at(b, ev.start_mark, ERR_PARSE, "more than one document in the file");
        } else if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_START_EVENT && type != YAML_DOCUMENT_END_EVENT &&
                   type != YAML_STREAM_END_EVENT) {
            b->doc->root = build(b, &ev);
            k = b->doc->root ? OK : b->e->kind;
        }
        yaml_event_delete(&ev);
        if (k || type == YAML_STREAM_END_EVENT)
            return k;
    }
}

err_kind yaml_parse(str text, const char *name, yaml_doc **ret, err *e)
{
    err local;
    AUTO(yaml_doc_freep) yaml_doc *doc = mem_zalloc(sizeof *doc);
    if (!doc)
        return err_nomem(e);
    doc->arena = arena_init(256u << 20);
    str_copy(doc->file, sizeof doc->file, str_from(name ? name : ""));
    builder b = { .doc = doc, .e = e ? e : &local };
    *b.e = (err){ 0 };
    if (!yaml_parser_initialize(&b.parser))
        return err_nomem(e);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)(text.ptr ? text.ptr : ""), text.len);
    err_kind k = build_root(&b);
    if (!k && !doc->root && !(doc->root = new_node(&b, YAML_NULL, (yaml_mark_t){ 0 })))
        k = b.e->kind;
    yaml_parser_delete(&b.parser);
    map_done(&b.anchors);
    if (k)
        return k;
    *ret = TAKE(doc);
    return OK;
}

err_kind yaml_load(const char *path, yaml_doc **ret, err *e)
{
    AUTO(buf_done) buf text = BUF_INIT(CONFIG_MAX_BYTES);
    err_kind k = file_read(path, &text, e);
    return k ? k : yaml_parse(buf_str(&text), path, ret, e);
}

void yaml_doc_free(yaml_doc *doc)
{
    if (!doc)
        return;
    arena_done(&doc->arena);
    mem_free(doc);
}

void yaml_doc_freep(yaml_doc **doc)
{
    yaml_doc_free(*doc);
    *doc = NULL;
}

const yaml_node *yaml_get(const yaml_node *mapping, const char *key)
{
    if (!mapping || mapping->kind != YAML_MAPPING)
        return NULL;
    for (size_t i = 0; i < mapping->len; i++)
        if (str_is(mapping->keys[i]->text, key))
            return mapping->items[i];
    return NULL;
}

err_kind yaml_error(const yaml_doc *doc, const yaml_node *at, err *e, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    err_set(e, ERR_PARSE, "%s", text);
    if (at)
        err_at(e, at->line, at->column);
    err_in_file(e, doc->file);
    return ERR_PARSE;
}

uint64_t yaml_fingerprint(const yaml_node *n, uint64_t seed)
{
    if (!n)
        return seed;
    uint64_t h = hash_bytes(&n->kind, sizeof n->kind, seed);
    h = hash_str(n->text, h);
    for (size_t i = 0; i < n->len; i++) {
        if (n->kind == YAML_MAPPING)
            h = yaml_fingerprint(n->keys[i], h);
        h = yaml_fingerprint(n->items[i], h);
    }
    return h;
}
