/* alert/rules.c - reading rule files, and keeping what rules live through. */
#include "alert/rules.h"

#include <stdio.h>

#define RULE_SET_MAX_BYTES (256u << 20)

rule_set *rule_set_new(void)
{
    rule_set *s = mem_zalloc(sizeof *s);
    if (s)
        s->arena = arena_init(RULE_SET_MAX_BYTES);
    return s;
}

void rule_set_free(rule_set *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->groups.len; i++)
        for (size_t k = 0; k < s->groups.at[i]->len; k++)
            rule_state_done(&s->groups.at[i]->rules[k]);
    vec_done(&s->groups);
    arena_done(&s->arena);
    mem_free(s);
}

void rule_set_freep(rule_set **s)
{
    rule_set_free(*s);
    *s = NULL;
}

size_t rule_set_groups(const rule_set *s) { return s->groups.len; }
size_t rule_set_rules(const rule_set *s) { return s->rule_count; }
rule_group *rule_set_group(const rule_set *s, size_t i) { return i < s->groups.len ? s->groups.at[i] : NULL; }

/* ---- what a rule lives through ---- */

static void item_free(alert_item *item)
{
    label_set_unref(item->labels);
    arena_done(&item->text);
    mem_free(item);
}

void rule_state_done(rule *r)
{
    for (size_t i = 0; i < r->item_count; i++)
        item_free(r->items[i]);
    mem_free(r->items);
    r->items = NULL;
    r->item_count = r->item_cap = 0;
    series_book_done(&r->book);
}

/* First item whose hash is not below. */
static size_t item_position(const rule *r, uint64_t hash)
{
    size_t low = 0, high = r->item_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (r->items[mid]->hash < hash)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

alert_item *rule_find_item(const rule *r, uint64_t hash, labels l)
{
    for (size_t i = item_position(r, hash); i < r->item_count && r->items[i]->hash == hash; i++)
        if (labels_eq(label_set_view(r->items[i]->labels), l))
            return r->items[i];
    return NULL;
}

alert_item *rule_add_item(rule *r, uint64_t hash, labels l)
{
    if (r->item_count >= RULE_MAX_ALERTS || vec_grow((void **)&r->items, &r->item_cap, r->item_count + 1, sizeof *r->items))
        return NULL;
    alert_item *item = mem_zalloc(sizeof *item);
    if (!item)
        return NULL;
    *item = (alert_item){ .labels = label_set_new(l), .hash = hash, .text = arena_init(RULE_ALERT_TEXT_MAX) };
    if (!item->labels) {
        mem_free(item);
        return NULL;
    }
    size_t at = item_position(r, hash);
    memmove(&r->items[at + 1], &r->items[at], (r->item_count - at) * sizeof *r->items);
    r->items[at] = item;
    r->item_count++;
    return item;
}

void rule_remove_item(rule *r, size_t i)
{
    item_free(r->items[i]);
    memmove(&r->items[i], &r->items[i + 1], (r->item_count - i - 1) * sizeof *r->items);
    r->item_count--;
}

static bool same_rule(const rule *a, const rule *b)
{
    if (a->alerting != b->alerting || !str_eq(a->name, b->name) || a->label_count != b->label_count)
        return false;
    for (size_t i = 0; i < a->label_count; i++)
        if (!str_eq(a->labels[i].name, b->labels[i].name) || !str_eq(a->labels[i].text, b->labels[i].text))
            return false;
    return true;
}

static bool has_state(const rule *r) { return r->items || r->book.at || r->last_eval_ms; }

static void move_rule_state(rule *from, rule *to)
{
    to->items = TAKE(from->items);
    to->item_count = from->item_count;
    to->item_cap = from->item_cap;
    to->book = from->book;
    to->health = from->health;
    to->restored = from->restored;
    to->last_eval_ms = from->last_eval_ms;
    to->last_eval_s = from->last_eval_s;
    memcpy(to->last_error, from->last_error, sizeof to->last_error);
    from->item_count = from->item_cap = 0;
    from->book = (series_book){ 0 };
    from->last_eval_ms = 0;
}

static void move_group_state(rule_group *from, rule_group *to)
{
    for (size_t i = 0; i < to->len; i++)
        for (size_t k = 0; k < from->len; k++)
            if (same_rule(&from->rules[k], &to->rules[i]) && has_state(&from->rules[k])) {
                move_rule_state(&from->rules[k], &to->rules[i]);
                break;
            }
    to->last_eval_ms = from->last_eval_ms;
    to->last_eval_s = from->last_eval_s;
}

void rules_move_state(rule_set *from, rule_set *to)
{
    for (size_t i = 0; i < to->groups.len; i++)
        for (size_t k = 0; k < from->groups.len; k++)
            if (str_eq(from->groups.at[k]->file, to->groups.at[i]->file) && str_eq(from->groups.at[k]->name, to->groups.at[i]->name))
                move_group_state(from->groups.at[k], to->groups.at[i]);
}

/* ---- loading ---- */

typedef struct loader {
    rule_set *set;
    const yaml_doc *doc;
    str file;
    int64_t default_interval_ms;
    arena *scratch;      /* parsed expressions, thrown away */
    err *e;
} loader;

/* An error inside a scalar: exact where the scalar is one line of the file, else the scalar's place and the place in it. */
static err_kind error_inside(loader *l, const yaml_node *at, const err *inner, const char *what, str of)
{
    char hint[sizeof inner->hint];
    bool one_line = str_find_char(at->text, '\n') < 0 && inner->line <= 1;
    memcpy(hint, inner->hint, sizeof hint);
    if (one_line || inner->line == 0)
        yaml_error(l->doc, at, l->e, "cannot use the %s of \"%" STR_FMT "\": %s", what, STR_ARG(of), inner->message);
    else
        yaml_error(l->doc, at, l->e, "cannot use the %s of \"%" STR_FMT "\", line %u, column %u of it: %s", what, STR_ARG(of),
                   inner->line, inner->column, inner->message);
    if (one_line && inner->column > 0)
        l->e->column = at->column + (at->quoted ? 1 : 0) + inner->column - 1;
    if (hint[0])
        err_hint(l->e, "%s", hint);
    return inner->kind == ERR_NOMEM ? err_nomem(l->e) : ERR_PARSE;
}

/* Go's way to find what parsing cannot: run the template once with nothing in it. Only unknown fields and the like count; that
 * a query finds nothing here does not. */
static err_kind try_template(const template_node *t, err *e)
{
    AUTO(buf_done) buf out = BUF_INIT(TEMPLATE_MAX_OUTPUT);
    template_data nothing = { .value = 0 };
    err_kind k = template_run(t, &nothing, &out, e);
    return k == ERR_NOMEM || (k == ERR_EXEC && e && strstr(e->message, "can't evaluate field")) ? k : OK;
}

static err_kind load_text(loader *l, const yaml_node *key, const yaml_node *value, str rule_name, const char *what, rule_text *ret)
{
    err inner = { 0 };
    err_kind k;

    if (!label_name_valid(key->text) || str_eq(key->text, METRIC_NAME))
        return yaml_error(l->doc, key, l->e, "invalid %s name \"%" STR_FMT "\"", what, STR_ARG(key->text));
    ret->name = arena_str(&l->set->arena, key->text);
    if ((k = config_str(l->doc, value, &l->set->arena, &ret->text, l->e)))
        return k;
    if (!ret->name.ptr)
        return err_nomem(l->e);
    if ((k = template_parse(ret->text, &l->set->arena, &ret->template, &inner)) || (k = try_template(ret->template, &inner)))
        return error_inside(l, value, &inner, what, rule_name);
    return OK;
}

static void sort_texts(rule_text *t, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0 && str_cmp(t[k - 1].name, t[k].name) > 0; k--) {
            rule_text swap = t[k];
            t[k] = t[k - 1];
            t[k - 1] = swap;
        }
}

static bool among(const rule_text *t, size_t n, str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(t[i].name, name))
            return true;
    return false;
}

/* The mapping's texts, then those of `base` that it does not name; sorted. */
static err_kind load_texts(loader *l, const yaml_node *at, str rule_name, const char *what, const rule_text *base, size_t base_count,
                           rule_text **ret, size_t *ret_n)
{
    err_kind k = config_mapping(l->doc, at, what, l->e);
    size_t n = 0, given = at && at->kind == YAML_MAPPING ? at->len : 0;
    if (k)
        return k;
    rule_text *texts = arena_array(&l->set->arena, rule_text, given + base_count + 1);
    if (!texts)
        return err_nomem(l->e);
    for (; n < given; n++)
        if ((k = load_text(l, at->keys[n], at->items[n], rule_name, what, &texts[n])))
            return k;
    for (size_t i = 0; i < base_count; i++)
        if (!among(texts, given, base[i].name))
            texts[n++] = base[i];
    sort_texts(texts, n);
    *ret = texts;
    *ret_n = n;
    return OK;
}

typedef struct raw_rule {
    str record, alert;
    const yaml_node *expr, *labels, *annotations;
    int64_t for_ms, keep_firing_for_ms;
} raw_rule;

static const config_field rule_fields[] = {
    { "record", CONFIG_STR, offsetof(raw_rule, record), .help = "name of the series to write" },
    { "alert", CONFIG_STR, offsetof(raw_rule, alert), .help = "name of the alert" },
    { "expr", CONFIG_NODE, offsetof(raw_rule, expr), .help = "PromQL; each series of its result is one alert" },
    { "for", CONFIG_DURATION, offsetof(raw_rule, for_ms), .help = "fire after the expression held that long" },
    { "keep_firing_for", CONFIG_DURATION, offsetof(raw_rule, keep_firing_for_ms), .help = "go on firing through gaps shorter than that" },
    { "labels", CONFIG_NODE, offsetof(raw_rule, labels), .help = "labels to add; templates for alerts" },
    { "annotations", CONFIG_NODE, offsetof(raw_rule, annotations), .help = "texts for people; templates" },
};

static err_kind check_record(loader *l, const yaml_node *at, const raw_rule *raw, err *e)
{
    if (!metric_name_valid(raw->record))
        return yaml_error(l->doc, at, e, "invalid recording rule name \"%" STR_FMT "\"", STR_ARG(raw->record));
    if (raw->annotations)
        return yaml_error(l->doc, raw->annotations, e, "recording rule \"%" STR_FMT "\" cannot have annotations", STR_ARG(raw->record));
    for (size_t i = 0; i < at->len; i++)
        if (str_is(at->keys[i]->text, "for") || str_is(at->keys[i]->text, "keep_firing_for"))
            return yaml_error(l->doc, at->keys[i], e, "recording rule \"%" STR_FMT "\" cannot have \"%" STR_FMT "\"",
                              STR_ARG(raw->record), STR_ARG(at->keys[i]->text));
    return OK;
}

static err_kind check_expr(loader *l, const yaml_node *at, const raw_rule *raw, rule *r)
{
    ast *tree;
    err inner = { 0 };
    if (!raw->expr || str_empty(str_trim(raw->expr->text)))
        return yaml_error(l->doc, raw->expr ? raw->expr : at, l->e, "rule \"%" STR_FMT "\" has no expr", STR_ARG(r->name));
    err_kind k = config_str(l->doc, raw->expr, &l->set->arena, &r->expr, l->e);
    if (k)
        return k;
    arena_reset(l->scratch);
    if (promql_parse(r->expr, l->scratch, &tree, &inner))
        return error_inside(l, raw->expr, &inner, "expression", r->name);
    return OK;
}

static err_kind load_rule(loader *l, const yaml_node *at, const rule_group *g, const rule_text *base, size_t base_count, rule *r)
{
    raw_rule raw = { 0 };
    err_kind k;

    if (at->kind != YAML_MAPPING)
        return yaml_error(l->doc, at, l->e, "a rule of group \"%" STR_FMT "\" must be a mapping", STR_ARG(g->name));
    if ((k = config_bind(l->doc, at, rule_fields, COUNT_OF(rule_fields), &raw, &l->set->arena, l->e)))
        return k;
    if (raw.record.len && raw.alert.len)
        return yaml_error(l->doc, at, l->e, "only one of \"record\" and \"alert\" may be set");
    if (!raw.record.len && !raw.alert.len)
        return yaml_error(l->doc, at, l->e, "one of \"record\" or \"alert\" must be set");
    *r = (rule){ .alerting = raw.alert.len > 0, .name = raw.alert.len ? raw.alert : raw.record, .for_ms = raw.for_ms,
                 .keep_firing_for_ms = raw.keep_firing_for_ms, .line = at->line };
    if (!r->alerting && (k = check_record(l, at, &raw, l->e)))
        return k;
    if ((k = check_expr(l, at, &raw, r)) ||
        (k = load_texts(l, raw.labels, r->name, "label", base, base_count, &r->labels, &r->label_count)) ||
        (k = load_texts(l, raw.annotations, r->name, "annotation", NULL, 0, &r->annotations, &r->annotation_count)))
        return k;
    return OK;
}

typedef struct raw_group {
    str name;
    int64_t interval_ms, query_offset_ms, limit;
    const yaml_node *labels, *rules;
} raw_group;

static const config_field group_fields[] = {
    { "name", CONFIG_STR, offsetof(raw_group, name), .required = true, .help = "unique in the file" },
    { "interval", CONFIG_DURATION, offsetof(raw_group, interval_ms), .help = "evaluate that often; default: evaluation_interval" },
    { "query_offset", CONFIG_DURATION, offsetof(raw_group, query_offset_ms), .help = "ask for a moment so long ago" },
    { "limit", CONFIG_INT, offsetof(raw_group, limit), .min = 0, .max = INT64_C(1) << 40, .help = "most series or alerts of one rule; 0: any number" },
    { "labels", CONFIG_NODE, offsetof(raw_group, labels), .help = "added to all rules of the group" },
    { "rules", CONFIG_NODE, offsetof(raw_group, rules), .help = "the rules, evaluated in this order" },
};

static err_kind check_group_name(loader *l, const yaml_node *at, str name)
{
    if (name.len == 0)
        return yaml_error(l->doc, at, l->e, "group name must not be empty");
    for (size_t i = 0; i < l->set->groups.len; i++)
        if (str_eq(l->set->groups.at[i]->file, l->file) && str_eq(l->set->groups.at[i]->name, name))
            return yaml_error(l->doc, at, l->e, "group name \"%" STR_FMT "\" is repeated in the same file", STR_ARG(name));
    return OK;
}

static err_kind load_group(loader *l, const yaml_node *at)
{
    raw_group raw = { 0 };
    rule_text *base = NULL;
    size_t base_count = 0;
    err_kind k;

    if (at->kind != YAML_MAPPING)
        return yaml_error(l->doc, at, l->e, "a group must be a mapping");
    if ((k = config_bind(l->doc, at, group_fields, COUNT_OF(group_fields), &raw, &l->set->arena, l->e)) ||
        (k = check_group_name(l, at, raw.name)) || (k = config_sequence(l->doc, raw.rules, "rules", l->e)) ||
        (k = load_texts(l, raw.labels, raw.name, "label", NULL, 0, &base, &base_count)))
        return k;
    rule_group *g = arena_new(&l->set->arena, rule_group);
    size_t n = raw.rules && raw.rules->kind == YAML_SEQUENCE ? raw.rules->len : 0;
    rule *rules = arena_array(&l->set->arena, rule, n + 1);
    if (!g || !rules)
        return err_nomem(l->e);
    *g = (rule_group){ .file = l->file, .name = raw.name, .interval_ms = raw.interval_ms > 0 ? raw.interval_ms : l->default_interval_ms,
                       .query_offset_ms = raw.query_offset_ms, .limit = raw.limit, .rules = rules };
    for (; g->len < n; g->len++)
        if ((k = load_rule(l, raw.rules->items[g->len], g, base, base_count, &rules[g->len])))
            return k;
    if (l->set->rule_count + n > RULES_MAX)
        return yaml_error(l->doc, at, l->e, "more than %d rules", RULES_MAX);
    if (vec_push(&l->set->groups, g))
        return err_nomem(l->e);
    l->set->rule_count += n;
    return OK;
}

static err_kind load_doc(rule_set *s, const yaml_doc *doc, const char *name, int64_t default_interval_ms, err *e)
{
    static const char *const keys[] = { "groups" };
    AUTO(arena_done) arena scratch = ARENA_INIT(64u << 20);
    loader l = { .set = s, .doc = doc, .file = arena_str(&s->arena, str_from(name)), .default_interval_ms = default_interval_ms,
                 .scratch = &scratch, .e = e };
    size_t groups_before = s->groups.len, rules_before = s->rule_count;
    err_kind k;

    if (!l.file.ptr)
        return err_nomem(e);
    if ((k = config_mapping(doc, doc->root, "a rule file", e)))
        return k;
    if (doc->root->kind == YAML_MAPPING)
        for (size_t i = 0; i < doc->root->len; i++)
            if (!str_is(doc->root->keys[i]->text, "groups"))
                return config_unknown(doc, doc->root->keys[i], "key", doc->root->keys[i]->text, keys, COUNT_OF(keys), e);
    const yaml_node *groups = yaml_get(doc->root, "groups");
    k = config_sequence(doc, groups, "groups", e);
    for (size_t i = 0; !k && groups && groups->kind == YAML_SEQUENCE && i < groups->len; i++)
        k = load_group(&l, groups->items[i]);
    if (k) { /* a file counts as a whole */
        s->groups.len = groups_before;
        s->rule_count = rules_before;
    }
    return k;
}

err_kind rule_set_load_text(rule_set *s, str text, const char *name, int64_t default_interval_ms, err *e)
{
    AUTO(yaml_doc_freep) yaml_doc *doc = NULL;
    err scratch = { 0 };
    e = e ? e : &scratch;
    err_kind k = yaml_parse(text, name, &doc, e);
    return k ? k : load_doc(s, doc, name, default_interval_ms, e);
}

err_kind rule_set_load(rule_set *s, const char *path, int64_t default_interval_ms, err *e)
{
    AUTO(yaml_doc_freep) yaml_doc *doc = NULL;
    err scratch = { 0 };
    e = e ? e : &scratch;
    if (yaml_load(path, &doc, e))
        return err_context(e, "could not load the rule file \"%s\"", path);
    return load_doc(s, doc, path, default_interval_ms, e);
}
