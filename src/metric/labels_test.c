#include "base/test.h"
#include "metric/metric.h"

static labels build(labels_builder *b, arena *a, const char *const *pairs)
{
    labels_start(b, a);
    for (size_t i = 0; pairs[i]; i += 2)
        labels_put(b, str_from(pairs[i]), str_from(pairs[i + 1]));
    return labels_finish(b);
}

TEST(labels_builder_sorts_replaces_and_deletes)
{
    AUTO(arena_done) arena a = ARENA_INIT(1 << 20);
    labels_builder b;
    labels l = build(&b, &a, (const char *[]){ "job", "x", "__name__", "up", "job", "y", "gone", "z", "gone", "", NULL });
    CHECK_EQ(l.len, 2);
    AUTO(buf_done) buf text = BUF_INIT(1000);
    labels_format(l, &text);
    CHECK_STR(buf_str(&text), "up{job=\"y\"}");
    CHECK_STR(labels_get(l, STR("absent")), "");
}

TEST(labels_equal_sets_hash_alike_and_others_do_not)
{
    AUTO(arena_done) arena a = ARENA_INIT(1 << 20);
    labels_builder b, c, d;
    labels x = build(&b, &a, (const char *[]){ "a", "1", "b", "2", NULL });
    labels y = build(&c, &a, (const char *[]){ "b", "2", "a", "1", NULL });
    labels z = build(&d, &a, (const char *[]){ "a", "12", "b", "", NULL });
    CHECK(labels_eq(x, y) && labels_hash(x) == labels_hash(y));
    CHECK(!labels_eq(x, z) && labels_hash(x) != labels_hash(z));
    CHECK(labels_cmp(x, y) == 0 && labels_cmp(x, z) != 0);
}

TEST(labels_normalise_refuses_repeated_names)
{
    label at[] = { { STR_INIT("b"), STR_INIT("1") }, { STR_INIT("a"), STR_INIT("2") }, { STR_INIT("b"), STR_INIT("3") } };
    size_t n = 3;
    err e = { 0 };
    CHECK_EQ(labels_normalise(at, &n, &e), ERR_INVALID);
    CHECK_CONTAINS(str_from(e.message), "\"b\" occurs twice");
}

TEST(label_set_owns_its_bytes)
{
    char name[] = "job", value[] = "x";
    label l = { { name, 3 }, { value, 1 } };
    label_set *s = label_set_new((labels){ &l, 1 });
    CHECK(s != NULL);
    name[0] = value[0] = '?';
    CHECK_STR(labels_get(label_set_view(s), STR("job")), "x");
    label_set_unref(label_set_ref(s));
    label_set_unref(s);
}

TEST(label_names_follow_the_grammar)
{
    static const struct { const char *text; bool label, metric; } rows[] = {
        { "job", true, true }, { "a:b", false, true }, { "_x9", true, true }, { "9x", false, false }, { "", false, false }, { "a-b", false, false },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        CHECK_MSG(label_name_valid(str_from(rows[i].text)) == rows[i].label, "label \"%s\"", rows[i].text);
        CHECK_MSG(metric_name_valid(str_from(rows[i].text)) == rows[i].metric, "metric \"%s\"", rows[i].text);
    }
}

TEST(labels_json_escapes_names_and_values)
{
    AUTO(buf_done) buf out = BUF_INIT(1000);
    json_writer w = json_writer_to(&out);
    label at[] = { { METRIC_NAME, STR("up") }, { STR("a\"b"), STR("x\ny\xff") } };
    json_begin(&w, '{');
    labels_json(&w, "l", (labels){ at, 2 });
    labels_json(&w, "none", (labels){ NULL, 0 });
    json_end(&w, '}');
    CHECK_STR(buf_str(&out), "{\"l\":{\"__name__\":\"up\",\"a\\\"b\":\"x\\ny\xef\xbf\xbd\"},\"none\":{}}");
}

TEST(canonical_names_include_histogram_parts)
{
    CHECK(canonical_find(STR("llm_ttft_seconds_bucket")) != NULL);
    CHECK(canonical_find(STR("llm_requests_running")) != NULL);
    CHECK(canonical_find(STR("llm_requests_running_count")) == NULL);
    CHECK(canonical_find(STR("up")) == NULL);
}

TEST(canonical_every_view_has_a_signal)
{
    for (size_t i = 0; i < canonical_view_count; i++)
        CHECK_MSG(canonical_find(str_from(canonical_views[i].name)), "view of %s", canonical_views[i].raw);
}
