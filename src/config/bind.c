/* From YAML nodes to C structs, by tables of fields. */
#include "config/config.h"
#include <stdio.h>

static const char *what_is(const yaml_node *n)
{
    switch (n->kind) {
    case YAML_NULL: return "nothing";
    case YAML_SCALAR: return "a single value";
    case YAML_SEQUENCE: return "a list";
    default: return "a mapping";
    }
}

static err_kind wanted(const yaml_doc *doc, const yaml_node *n, err *e, const char *want)
{
    if (n->kind == YAML_SCALAR)
        return yaml_error(doc, n, e, "\"%" STR_FMT "\" is not %s", STR_ARG(n->text), want);
    return yaml_error(doc, n, e, "%s where %s was expected", what_is(n), want);
}

static const yaml_node nothing = { .kind = YAML_NULL };

err_kind config_str(const yaml_doc *doc, const yaml_node *n, arena *a, str *ret, err *e)
{
    if (n->kind != YAML_SCALAR && n->kind != YAML_NULL)
        return wanted(doc, n, e, "a text");
    str copy = arena_str(a, n->kind == YAML_NULL ? STR("") : n->text);
    if (!copy.ptr)
        return err_nomem(e);
    return *ret = copy, OK;
}

err_kind config_duration(const yaml_doc *doc, const yaml_node *n, int64_t *ret_ms, err *e)
{
    if (n->kind != YAML_SCALAR || !clock_parse_duration(n->text, ret_ms)) {
        wanted(doc, n, e, "a duration");
        return err_hint(e, "Write it like 500ms, 15s, 5m or 1h30m.");
    }
    return OK;
}

err_kind config_double(const yaml_doc *doc, const yaml_node *n, double *ret, err *e)
{
    return n->kind == YAML_SCALAR && str_to_double(n->text, ret) ? OK : wanted(doc, n, e, "a number");
}

err_kind config_sequence(const yaml_doc *doc, const yaml_node *n, const char *what, err *e)
{
    if (!n || n->kind == YAML_SEQUENCE || n->kind == YAML_NULL)
        return OK;
    return yaml_error(doc, n, e, "%s must be a list, not %s", what, what_is(n));
}

err_kind config_mapping(const yaml_doc *doc, const yaml_node *n, const char *what, err *e)
{
    if (!n || n->kind == YAML_MAPPING || n->kind == YAML_NULL)
        return OK;
    return yaml_error(doc, n, e, "%s must be a mapping of keys to values, not %s", what, what_is(n));
}

err_kind config_unknown(const yaml_doc *doc, const yaml_node *at, const char *what, str got,
                        const char *const *allowed, size_t n, err *e)
{
    const char *best = NULL;
    unsigned best_distance = MAX(1u, MIN(3u, (unsigned)got.len / 2)) + 1;
    for (size_t i = 0; i < n; i++) {
        unsigned d = str_distance(got, str_from(allowed[i]), best_distance);
        if (d < best_distance) {
            best_distance = d;
            best = allowed[i];
        }
    }
    yaml_error(doc, at, e, "unknown %s \"%" STR_FMT "\"", what, STR_ARG(got));
    if (best)
        err_hint(e, "Did you mean \"%s\"?", best);
    else if (e) {
        size_t used = (size_t)snprintf(e->hint, sizeof e->hint, "Known are: ");
        for (size_t i = 0; i < n && used + strlen(allowed[i]) + 3 < sizeof e->hint; i++)
            used += (size_t)snprintf(e->hint + used, sizeof e->hint - used, "%s%s", i ? ", " : "", allowed[i]);
        if (used + 1 < sizeof e->hint)
            memcpy(e->hint + used, ".", 2);
    }
    return ERR_PARSE;
}

err_kind config_check_argv(const yaml_doc *doc, const yaml_node *mapping, const config_strs *command, err *e)
{
    const yaml_node *c = yaml_get(mapping, "command");
    if (c && c->kind == YAML_SCALAR && (str_find_char(c->text, ' ') >= 0 || str_find_char(c->text, '\t') >= 0 || str_find_char(c->text, '\n') >= 0)) {
        yaml_error(doc, c, e, "the command must be a list of arguments, not a shell line");
        return err_hint(e, "Write command: [/bin/systemctl, restart, chat.service].");
    }
    return command->len && !str_empty(command->at[0]) ? OK : yaml_error(doc, c ? c : mapping, e, "the command is empty");
}

static bool parse_bool(str s, bool *ret)
{
    static const char *const yes[] = { "true", "True", "TRUE", "yes", "Yes", "on", "On" };
    static const char *const no[] = { "false", "False", "FALSE", "no", "No", "off", "Off" };
    for (size_t i = 0; i < COUNT_OF(yes); i++) {
        if (str_is(s, yes[i]))
            return *ret = true, true;
        if (str_is(s, no[i]))
            return *ret = false, true;
    }
    return false;
}

/* "64MB", "1.5GiB", "4096": decimal and binary units, and Prometheus's own reading of KB as 1024. */
static bool parse_size(str s, int64_t *ret)
{
    static const struct { const char *unit; int shift; } units[] = {
        { "KiB", 10 }, { "MiB", 20 }, { "GiB", 30 }, { "TiB", 40 }, { "KB", 10 }, { "MB", 20 }, { "GB", 30 }, { "TB", 40 },
        { "K", 10 },   { "M", 20 },   { "G", 30 },   { "T", 40 },   { "B", 0 },   { "", 0 },
    };
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        str unit = str_from(units[i].unit);
        if (!str_ends(s, unit))
            continue;
        double v;
        if (!str_to_double(str_sub(s, 0, s.len - unit.len), &v) || v < 0 || v * (double)(INT64_C(1) << units[i].shift) >= 0x1p63)
            return false;
        return *ret = (int64_t)(v * (double)(INT64_C(1) << units[i].shift)), true;
    }
    return false;
}

static err_kind in_range(const yaml_doc *doc, const yaml_node *n, const config_field *f, int64_t v, err *e)
{
    if (f->max <= f->min || (v >= f->min && v <= f->max))
        return OK;
    char low[CLOCK_ISO_MAX], high[CLOCK_ISO_MAX];
    if (f->type == CONFIG_DURATION) {
        clock_format_duration(low, f->min);
        clock_format_duration(high, f->max);
    } else {
        snprintf(low, sizeof low, "%" PRId64, f->min);
        snprintf(high, sizeof high, "%" PRId64, f->max);
    }
    return yaml_error(doc, n, e, "%s: %" STR_FMT " is out of range", f->key, STR_ARG(n->text)),
           err_hint(e, "It must lie between %s and %s.", low, high);
}

static err_kind bind_str_list(const yaml_doc *doc, const yaml_node *n, config_strs *ret, arena *a, err *e)
{
    const yaml_node *one[] = { n };
    bool single = n->kind == YAML_SCALAR;
    size_t len = single ? 1 : n->kind == YAML_NULL ? 0 : n->len;
    const yaml_node *const *items = single ? one : (const yaml_node *const *)n->items;
    if (n->kind == YAML_MAPPING)
        return wanted(doc, n, e, "a list of texts");
    config_strs list = { arena_array(a, str, len), len };
    if (!list.at)
        return err_nomem(e);
    for (size_t i = 0; i < len; i++) {
        err_kind k = config_str(doc, items[i], a, &list.at[i], e);
        if (k)
            return k;
    }
    return *ret = list, OK;
}

static err_kind bind_str_map(const yaml_doc *doc, const yaml_node *n, config_pairs *ret, arena *a, err *e)
{
    if (n->kind != YAML_MAPPING && n->kind != YAML_NULL)
        return wanted(doc, n, e, "a mapping of names to texts");
    config_pairs pairs = { arena_array(a, config_pair, n->len), n->len };
    if (!pairs.at)
        return err_nomem(e);
    for (size_t i = 0; i < n->len; i++) {
        err_kind k = config_str(doc, n->keys[i], a, &pairs.at[i].key, e);
        if (!k)
            k = config_str(doc, n->items[i], a, &pairs.at[i].value, e);
        if (k)
            return k;
    }
    return *ret = pairs, OK;
}

static err_kind bind_number(const yaml_doc *doc, const yaml_node *n, const config_field *f, int64_t *ret, err *e)
{
    int64_t v;
    if (f->type == CONFIG_DURATION) {
        err_kind k = config_duration(doc, n, &v, e);
        if (k)
            return k;
    } else if (f->type == CONFIG_SIZE) {
        if (n->kind != YAML_SCALAR || !parse_size(n->text, &v)) {
            wanted(doc, n, e, "a size");
            return err_hint(e, "Write it like 4096, 64MB or 1GiB.");
        }
    } else if (n->kind != YAML_SCALAR || !str_to_i64(n->text, &v)) {
        return wanted(doc, n, e, "a whole number");
    }
    err_kind k = in_range(doc, n, f, v, e);
    return k ? k : (*ret = v, OK);
}

static err_kind bind_value(const yaml_doc *doc, const yaml_node *n, const config_field *f, void *at, arena *a, err *e)
{
    switch (f->type) {
    case CONFIG_STR: return config_str(doc, n, a, at, e);
    case CONFIG_CSTR: {
        str s;
        err_kind k = config_str(doc, n, a, &s, e);
        return k ? k : (*(const char **)at = s.ptr, OK);
    }
    case CONFIG_BOOL: return n->kind == YAML_SCALAR && parse_bool(n->text, at) ? OK : wanted(doc, n, e, "true or false");
    case CONFIG_INT: case CONFIG_DURATION: case CONFIG_SIZE: return bind_number(doc, n, f, at, e);
    case CONFIG_DOUBLE: return config_double(doc, n, at, e);
    case CONFIG_STR_LIST: return bind_str_list(doc, n, at, a, e);
    case CONFIG_STR_MAP: return bind_str_map(doc, n, at, a, e);
    case CONFIG_NODE: return *(const yaml_node **)at = n, OK;
    case CONFIG_IGNORED: return OK;
    }
    return OK;
}

static err_kind check_keys(const yaml_doc *doc, const yaml_node *mapping, const config_field *fields, size_t n, err *e)
{
    for (size_t i = 0; i < mapping->len; i++) {
        size_t f = 0;
        while (f < n && !str_is(mapping->keys[i]->text, fields[f].key))
            f++;
        if (f < n)
            continue;
        const char *names[128];
        size_t count = MIN(n, COUNT_OF(names));
        for (size_t k = 0; k < count; k++)
            names[k] = fields[k].key;
        return config_unknown(doc, mapping->keys[i], "key", mapping->keys[i]->text, names, count, e);
    }
    return OK;
}

err_kind config_bind(const yaml_doc *doc, const yaml_node *mapping, const config_field *fields, size_t n,
                     void *target, arena *a, err *e)
{
    if (!mapping)
        mapping = &nothing;
    err_kind k = config_mapping(doc, mapping, "this section", e);
    if (k || (k = mapping->kind == YAML_MAPPING ? check_keys(doc, mapping, fields, n, e) : OK))
        return k;
    for (size_t i = 0; i < n; i++) {
        const config_field *f = &fields[i];
        const yaml_node *value = yaml_get(mapping, f->key);
        yaml_node preset = { .kind = YAML_SCALAR, .text = str_from(f->preset) };
        if (value && value->kind == YAML_NULL && f->type != CONFIG_NODE)
            value = NULL; /* "key:" without a value says nothing, as in Prometheus */
        if (!value && f->required)
            return yaml_error(doc, mapping, e, "\"%s\" is missing", f->key), err_hint(e, "%s", f->help ? f->help : "It is required.");
        if (!value && f->preset)
            value = &preset;
        if (value && (k = bind_value(doc, value, f, (char *)target + f->offset, a, e)))
            return k;
    }
    return OK;
}
