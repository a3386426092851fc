#include "base/test.h"
#include "metric/metric.h"

/* Label sets as "a=1,b=2"; the want of "-" is dropped. Rows are Prometheus's own cases in short. */
static const struct {
    const char *what, *yaml, *have, *want;
} rows[] = {
    { "replace writes the joined value", "[{source_labels: [a, b], target_label: c}]", "a=1,b=2", "a=1,b=2,c=1;2" },
    { "replace takes groups", "[{source_labels: [a], regex: 'x(.*)', replacement: '${1}y', target_label: c}]", "a=xq",
      "a=xq,c=qy" },
    { "replace without a match changes nothing", "[{source_labels: [a], regex: 'x', target_label: c, replacement: z}]",
      "a=xq", "a=xq" },
    { "replace with an empty value deletes", "[{source_labels: [zz], target_label: a, replacement: ''}]", "a=1,b=2",
      "b=2" },
    { "a target label may be made of groups",
      "[{source_labels: [a], regex: '(.)(.)', target_label: 'l_$1', replacement: '$2'}]", "a=xy", "a=xy,l_x=y" },
    { "keep lets through what matches", "[{source_labels: [a], regex: '1|2', action: keep}]", "a=2", "a=2" },
    { "keep drops what does not", "[{source_labels: [a], regex: '1|2', action: keep}]", "a=12", "-" },
    { "drop drops what matches", "[{source_labels: [a], regex: '1.*', action: drop}]", "a=12", "-" },
    { "keepequal", "[{source_labels: [a], target_label: b, action: keepequal}]", "a=1,b=2", "-" },
    { "dropequal", "[{source_labels: [a], target_label: b, action: dropequal}]", "a=1,b=2", "a=1,b=2" },
    { "labelmap copies by name", "[{regex: 'meta_(.*)', action: labelmap}]", "meta_x=1,y=2", "meta_x=1,x=1,y=2" },
    { "labeldrop", "[{regex: 'meta_.*', action: labeldrop}]", "meta_a=1,meta_b=1,y=2", "y=2" },
    { "labelkeep", "[{regex: 'y|z', action: labelkeep}]", "meta_a=1,meta_b=1,y=2", "y=2" },
    { "lowercase", "[{source_labels: [a], target_label: a, action: lowercase}]", "a=AbC-1", "a=abc-1" },
    { "uppercase", "[{source_labels: [a], target_label: a, action: Uppercase}]", "a=AbC-1", "a=ABC-1" },
    /* 976 is what Prometheus's own test of relabelling has: md5("baz"), last eight bytes, big-endian, modulo 1000 */
    { "hashmod agrees with Prometheus", "[{source_labels: [c], target_label: d, modulus: 1000, action: hashmod}]",
      "c=baz", "c=baz,d=976" },
    { "rules run one after another",
      "[{source_labels: [a], target_label: b}, {source_labels: [b], regex: '1', action: drop}]", "a=1", "-" },
};

static labels_builder builder_of(const char *text, arena *a)
{
    labels_builder b;
    str rest = str_from(text), pair;
    labels_start(&b, a);
    while (str_split(&rest, ',', &pair)) {
        ptrdiff_t eq = str_find_char(pair, '=');
        labels_put(&b, str_sub(pair, 0, (size_t)eq), str_skip(pair, (size_t)eq + 1));
    }
    return b;
}

static void write_labels(labels l, buf *out)
{
    for (size_t i = 0; i < l.len; i++)
        buf_printf(out, "%s%" STR_FMT "=%" STR_FMT, i ? "," : "", STR_ARG(l.at[i].name), STR_ARG(l.at[i].value));
}

TEST(each_action_does_what_prometheus_does)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(yaml_doc_freep) yaml_doc *doc = NULL;
        AUTO(arena_done) arena a = arena_init(1 << 20);
        AUTO(buf_done) buf got = BUF_INIT(4096);
        relabel_rules rules;
        err e = { 0 };
        CHECK_OK(yaml_parse(str_from(rows[i].yaml), "test.yml", &doc, &e), e);
        CHECK_OK(relabel_parse(doc, doc->root, &a, &rules, &e), e);
        labels_builder b = builder_of(rows[i].have, &a);
        if (relabel_apply(&rules, &b))
            write_labels(labels_finish(&b), &got);
        else
            buf_append(&got, STR("-"));
        CHECK_MSG(str_is(buf_str(&got), rows[i].want), "%s: got \"%s\"", rows[i].what, buf_cstr(&got));
        relabel_done(&rules);
    }
}

TEST(rules_that_make_no_sense_are_refused_with_their_place)
{
    static const struct {
        const char *yaml, *message;
    } bad[] = {
        { "[{action: replce}]", "replce" },
        { "[{source_labels: [a], action: hashmod, target_label: b}]", "modulus" },
        { "[{source_labels: [a]}]", "target_label" },
        { "[{source_labels: [a], target_label: b, regex: '('}]", "regex" },
        { "[{source_label: [a]}]", "source_label" },
        { "[{source_labels: [a], target_label: 'b-c', action: lowercase}]", "label name" },
        { "{a: b}", "" },
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        AUTO(yaml_doc_freep) yaml_doc *doc = NULL;
        AUTO(arena_done) arena a = arena_init(1 << 20);
        relabel_rules rules = { 0 };
        err e = { 0 };
        CHECK_OK(yaml_parse(str_from(bad[i].yaml), "test.yml", &doc, &e), e);
        CHECK_MSG(relabel_parse(doc, doc->root, &a, &rules, &e) != OK, "%s", bad[i].yaml);
        CHECK_CONTAINS(str_from(e.message), bad[i].message);
        CHECK_MSG(e.line == 1, "%s has no place", bad[i].yaml);
    }
}
