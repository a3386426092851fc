#include "base/regex.h"
#include "base/regex_shape.h"
#include "base/test.h"

/* The list as "a,b", or "-" for none; then the prefix. */
static const struct { const char *pattern, *set, *prefix; } shapes[] = {
    { "abc", "abc", "" },
    { "a|b|c", "a,b,c", "" },
    { "c|a|a", "a,c", "" },
    { "", "", "" },
    { "a|", ",a", "" },
    { "chat-(a|b)", "chat-a,chat-b", "" },
    { "(?:x|y)(1|2)z", "x1z,x2z,y1z,y2z", "" },
    { "a\\.b", "a.b", "" },
    { "node.*", "-", "node" },
    { "node.+", "-", "node" },
    { "ab*c", "-", "a" },
    { "ab?", "-", "a" },
    { "a{2}", "-", "" },
    { "a\xc3\xa9*", "-", "a" },
    { "a|b.*", "-", "" },
    { "(a|b)+", "-", "" },
    { "x(a|b)*", "-", "x" },
    { "(?i)abc", "-", "" },
    { "a\\d", "-", "a" },
    { "[ab]c", "-", "" },
    { "^a$", "-", "" },
};

TEST(regex_shape_knows_lists_and_prefixes)
{
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        regex_shape s;
        char set[64] = "";
        regex_shape_of(str_from(shapes[i].pattern), &s);
        for (size_t j = 0; j < s.set_len; j++)
            snprintf(set + strlen(set), sizeof set - strlen(set), "%s%" STR_FMT, j ? "," : "", STR_ARG(s.set[j]));
        CHECK_MSG(strcmp(s.set_len ? set : "-", shapes[i].set) == 0, "list of %s: %s", shapes[i].pattern, set);
        CHECK_MSG(str_is(s.prefix, shapes[i].prefix), "prefix of %s: %" STR_FMT, shapes[i].pattern, STR_ARG(s.prefix));
        regex_shape_done(&s);
    }
}

/* What the shape says must be what RE2 says: an unanchored pattern in ^(?:…)$ is always run. */
TEST(regex_shape_says_what_running_says)
{
    static const char *const texts[] = { "", "a", "b", "aa", "ab", "abc", "ac", "a.b", "axb", "node", "node1", "chat-a", "chat-", "x1z",
                                         "y2z", "a\n", "node\n", "a\xc3\xa9", "xab", "c", "^a$", "ABC", "a1" };
    static const char *const more[] = { ".*", ".+", "a.*", "a.+", "(a|b|(c|d))", "a|b|", "(x|y)(1|2)z", "((a))", "a\\|b" };
    for (size_t i = 0; i < COUNT_OF(shapes) + COUNT_OF(more); i++) {
        const char *pattern = i < COUNT_OF(shapes) ? shapes[i].pattern : more[i - COUNT_OF(shapes)];
        char whole[64];
        AUTO(regex_freep) regex *anchored = NULL, *run = NULL;
        snprintf(whole, sizeof whole, "^(?:%s)$", pattern);
        CHECK_EQ(regex_compile(str_from(pattern), true, &anchored, NULL), OK);
        CHECK_EQ(regex_compile(str_from(whole), false, &run, NULL), OK);
        for (size_t j = 0; j < COUNT_OF(texts); j++)
            CHECK_MSG(regex_match(anchored, str_from(texts[j])) == regex_match(run, str_from(texts[j])), "%s on \"%s\"", pattern, texts[j]);
    }
}

TEST(regex_shape_gives_up_on_what_explodes)
{
    regex_shape s;
    regex_shape_of(STR("(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)"), &s);
    CHECK_EQ(s.set_len, 256);
    regex_shape_done(&s);
    regex_shape_of(STR("(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)"), &s);
    CHECK_EQ(s.set_len, 0);
    CHECK_EQ(regex_shape_match(&s, STR("aaaaaaaaa")), -1);
    regex_shape_done(&s);
    regex_shape_of(STR("((((((((((((((((((((a))))))))))))))))))))"), &s);
    CHECK_EQ(s.set_len, 0);
    regex_shape_done(&s);
}
