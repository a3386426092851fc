#include "metric/relabel.h"
#include <openssl/evp.h>
#include <stdio.h>

#define RELABEL_TEXT_MAX (1u << 20) /* joined source values, one replacement */

typedef struct action_row {
    const char *name;
    bool (*apply)(const relabel_rule *r, labels_builder *b, str value);
    bool needs_target, needs_sources, needs_modulus;
} action_row;

static bool do_replace(const relabel_rule *r, labels_builder *b, str value);
static bool do_keep(const relabel_rule *r, labels_builder *b, str value) { return regex_match(r->re, value); }
static bool do_drop(const relabel_rule *r, labels_builder *b, str value) { return !regex_match(r->re, value); }
static bool do_keepequal(const relabel_rule *r, labels_builder *b, str value)
{
    return str_eq(value, relabel_get(b, r->target));
}
static bool do_dropequal(const relabel_rule *r, labels_builder *b, str value)
{
    return !str_eq(value, relabel_get(b, r->target));
}
static bool do_hashmod(const relabel_rule *r, labels_builder *b, str value);
static bool do_labelmap(const relabel_rule *r, labels_builder *b, str value);
static bool do_labeldrop(const relabel_rule *r, labels_builder *b, str value);
static bool do_labelkeep(const relabel_rule *r, labels_builder *b, str value);
static bool do_case(const relabel_rule *r, labels_builder *b, str value);

/* clang-format off */
static const action_row actions[RELABEL_ACTION_COUNT] = {
    /*                       name         apply         target sources modulus */
    [RELABEL_REPLACE]   = { "replace",   do_replace,   true,  false,  false },
    [RELABEL_KEEP]      = { "keep",      do_keep,      false, true,   false },
    [RELABEL_DROP]      = { "drop",      do_drop,      false, true,   false },
    [RELABEL_KEEPEQUAL] = { "keepequal", do_keepequal, true,  true,   false },
    [RELABEL_DROPEQUAL] = { "dropequal", do_dropequal, true,  true,   false },
    [RELABEL_HASHMOD]   = { "hashmod",   do_hashmod,   true,  true,   true  },
    [RELABEL_LABELMAP]  = { "labelmap",  do_labelmap,  false, false,  false },
    [RELABEL_LABELDROP] = { "labeldrop", do_labeldrop, false, false,  false },
    [RELABEL_LABELKEEP] = { "labelkeep", do_labelkeep, false, false,  false },
    [RELABEL_LOWERCASE] = { "lowercase", do_case,      true,  true,   false },
    [RELABEL_UPPERCASE] = { "uppercase", do_case,      true,  true,   false },
};
/* clang-format on */

/* ---- reading ---- */
typedef struct raw_rule {
    config_strs sources;
    str separator, target, replacement, pattern, action;
    int64_t modulus;
} raw_rule;

#define FIELD(key, type, member, preset, help)                                                                         \
    {                                                                                                                  \
        key, type, offsetof(raw_rule, member), false, preset, 0, 0, help                                               \
    }
static const config_field rule_fields[] = {
    FIELD("source_labels", CONFIG_STR_LIST, sources, NULL, "labels whose values are joined"),
    FIELD("separator", CONFIG_STR, separator, ";", "put between the joined values"),
    FIELD("target_label", CONFIG_STR, target, NULL, "the label that is written"),
    FIELD("regex", CONFIG_STR, pattern, "(.*)", "what the joined values (or label names) must match, anchored"),
    FIELD("replacement", CONFIG_STR, replacement, "$1", "the new value; $1 is the first group"),
    FIELD("modulus", CONFIG_INT, modulus, NULL, "for hashmod"),
    FIELD("action", CONFIG_STR, action, "replace",
          "replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase, uppercase"),
};
#undef FIELD

static err_kind find_action(const yaml_doc *doc, const yaml_node *at, str word, relabel_action *ret, err *e)
{
    const char *names[RELABEL_ACTION_COUNT];
    for (size_t i = 0; i < RELABEL_ACTION_COUNT; i++) {
        names[i] = actions[i].name;
        if (str_eq_nocase(word, str_from(names[i]))) {
            *ret = (relabel_action)i;
            return OK;
        }
    }
    const yaml_node *place = yaml_get(at, "action");
    return config_unknown(doc, place ? place : at, "relabel action", word, names, COUNT_OF(names), e);
}

static err_kind check_rule(const yaml_doc *doc, const yaml_node *at, const relabel_rule *r, err *e)
{
    const action_row *row = &actions[r->action];
    if (row->needs_target && !r->target.len)
        return yaml_error(doc, at, e, "relabel action \"%s\" needs target_label", row->name);
    if (row->needs_sources && !r->sources.len && r->action != RELABEL_KEEP && r->action != RELABEL_DROP)
        return yaml_error(doc, at, e, "relabel action \"%s\" needs source_labels", row->name);
    if (row->needs_modulus && r->modulus <= 0)
        return yaml_error(doc, at, e, "relabel action \"%s\" needs a modulus greater than 0", row->name);
    if (row->needs_target && r->action != RELABEL_REPLACE && !label_name_valid(r->target))
        return yaml_error(doc, at, e, "\"%" STR_FMT "\" is not a label name", STR_ARG(r->target));
    return OK;
}

static err_kind parse_rule(const yaml_doc *doc, const yaml_node *at, arena *a, relabel_rule *ret, err *e)
{
    raw_rule raw = { 0 };
    err_kind k = config_mapping(doc, at, "a relabel rule", e);
    if (!k)
        k = config_bind(doc, at, rule_fields, COUNT_OF(rule_fields), &raw, a, e);
    if (!k)
        k = find_action(doc, at, raw.action, &ret->action, e);
    if (k)
        return k;
    ret->sources = raw.sources;
    ret->separator = raw.separator;
    ret->target = raw.target;
    ret->replacement = raw.replacement;
    ret->modulus = raw.modulus;
    k = check_rule(doc, at, ret, e);
    if (k)
        return k;
    err why = { 0 };
    k = regex_compile(raw.pattern, true, &ret->re, &why);
    if (k == ERR_NOMEM)
        return err_nomem(e);
    if (k) {
        const yaml_node *place = yaml_get(at, "regex");
        return yaml_error(doc, place ? place : at, e, "cannot compile regex \"%" STR_FMT "\": %s", STR_ARG(raw.pattern),
                          why.message);
    }
    return OK;
}

err_kind relabel_parse(const yaml_doc *doc, const yaml_node *sequence, arena *a, relabel_rules *ret, err *e)
{
    *ret = (relabel_rules){ 0 };
    err_kind k = config_sequence(doc, sequence, "relabel rules", e);
    if (k || !sequence || !sequence->len)
        return k;
    if (sequence->len > RELABEL_MAX_RULES)
        return yaml_error(doc, sequence, e, "more than %d relabel rules", RELABEL_MAX_RULES);
    relabel_rules r = { arena_array(a, relabel_rule, sequence->len), 0 };
    if (!r.at)
        return err_nomem(e);
    for (; r.len < sequence->len; r.len++) {
        k = parse_rule(doc, sequence->items[r.len], a, &r.at[r.len], e);
        if (k) {
            relabel_done(&r);
            return k;
        }
    }
    *ret = r;
    return OK;
}

void relabel_done(relabel_rules *r)
{
    for (size_t i = 0; i < r->len; i++)
        regex_freep(&r->at[i].re);
    *r = (relabel_rules){ 0 };
}

/* ---- applying ---- */
str relabel_get(const labels_builder *b, str name)
{
    for (size_t i = 0; i < b->len; i++) {
        if (str_eq(b->at[i].name, name))
            return b->at[i].value;
    }
    return STR_EMPTY;
}

static bool do_replace(const relabel_rule *r, labels_builder *b, str value)
{
    str groups[REGEX_MAX_GROUPS];
    size_t n = MIN(regex_group_count(r->re) + 1, REGEX_MAX_GROUPS);
    AUTO(buf_done) buf target = BUF_INIT(RELABEL_TEXT_MAX);
    AUTO(buf_done) buf text = BUF_INIT(RELABEL_TEXT_MAX);
    if (!regex_groups(r->re, value, groups, n))
        return true;
    regex_expand(r->re, r->target, groups, n, &target);
    regex_expand(r->re, r->replacement, groups, n, &text);
    if (buf_failed(&target) || buf_failed(&text))
        b->failed = true;
    else if (label_name_valid(buf_str(&target)))
        labels_put(b, buf_str(&target), buf_str(&text));
    return true;
}

/* The last eight bytes of the MD5, as Prometheus has it: shards must agree between the two. */
static bool do_hashmod(const relabel_rule *r, labels_builder *b, str value)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    uint64_t h = 0;
    char text[24];
    if (!EVP_Digest(value.ptr ? value.ptr : "", value.len, md, &len, EVP_md5(), NULL) || len != 16) {
        b->failed = true;
        return false;
    }
    for (size_t i = 8; i < 16; i++)
        h = h << 8 | md[i];
    snprintf(text, sizeof text, "%" PRIu64, h % (uint64_t)r->modulus);
    labels_put(b, r->target, str_from(text));
    return true;
}

static bool do_labelmap(const relabel_rule *r, labels_builder *b, str value)
{
    label now[LABELS_MAX];
    size_t len = b->len;
    memcpy(now, b->at, len * sizeof *now); /* rules see the labels as they were */
    for (size_t i = 0; i < len; i++) {
        str groups[REGEX_MAX_GROUPS];
        size_t n = MIN(regex_group_count(r->re) + 1, REGEX_MAX_GROUPS);
        AUTO(buf_done) buf name = BUF_INIT(RELABEL_TEXT_MAX);
        if (!regex_groups(r->re, now[i].name, groups, n))
            continue;
        if (regex_expand(r->re, r->replacement, groups, n, &name))
            b->failed = true;
        else
            labels_put(b, buf_str(&name), now[i].value);
    }
    return true;
}

static void delete_names(const relabel_rule *r, labels_builder *b, bool matching)
{
    for (size_t i = b->len; i-- > 0;) {
        if (regex_match(r->re, b->at[i].name) == matching)
            labels_put(b, b->at[i].name, STR_EMPTY);
    }
}

static bool do_labeldrop(const relabel_rule *r, labels_builder *b, str value)
{
    delete_names(r, b, true);
    return true;
}

static bool do_labelkeep(const relabel_rule *r, labels_builder *b, str value)
{
    delete_names(r, b, false);
    return true;
}

static bool do_case(const relabel_rule *r, labels_builder *b, str value)
{
    char *copy = arena_dup(b->arena, value.len ? value.ptr : "", MAX(value.len, 1));
    char from = r->action == RELABEL_LOWERCASE ? 'A' : 'a';
    if (!copy) {
        b->failed = true;
        return false;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (copy[i] >= from && copy[i] <= from + 25)
            copy[i] ^= 0x20;
    }
    labels_put(b, r->target, str_of(copy, value.len));
    return true;
}

bool relabel_apply(const relabel_rules *rules, labels_builder *b)
{
    AUTO(buf_done) buf value = BUF_INIT(RELABEL_TEXT_MAX);
    for (size_t i = 0; i < rules->len; i++) {
        const relabel_rule *r = &rules->at[i];
        buf_reset(&value);
        for (size_t s = 0; s < r->sources.len; s++) {
            if (s)
                buf_append(&value, r->separator);
            buf_append(&value, relabel_get(b, r->sources.at[s]));
        }
        if (buf_failed(&value))
            b->failed = true;
        if (b->failed || !actions[r->action].apply(r, b, buf_str(&value)))
            return false;
    }
    return !b->failed;
}
