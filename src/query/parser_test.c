#include "base/test.h"
#include "query/ast.h"

static const struct { const char *what, *text, *want; } formats[] = {
    { "a name alone", "foo", "foo" },
    { "operators get blanks", "foo/bar", "foo / bar" },
    { "grouping moves to the front", "sum(rate(a{b=\"c\",d=~\"e\"}[5m]))by(x)", "sum by (x) (rate(a{b=\"c\",d=~\"e\"}[5m]))" },
    { "a sign binds looser than power", "-1^2", "-1 ^ 2" },
    { "power is right associative", "2^3^2", "2 ^ 3 ^ 2" },
    { "hexadecimal", "0x1F", "31" },
    { "underscores", "1_000.5", "1000.5" },
    { "duration as number", "1h30m", "1h30m" },
    { "infinity in any case", "iNf", "+Inf" },
    { "on and group_left", "a*on(x)group_left(y)b", "a * on (x) group_left (y) b" },
    { "ignoring without labels is nothing", "a+ignoring()b", "a + b" },
    { "bool", "a>bool 1", "a > bool 1" },
    { "at and offset in this order", "a offset 5m @ 1.5", "a @ 1.500 offset 5m" },
    { "negative offset", "a[5m] offset -1h", "a[5m] offset -1h" },
    { "at the borders", "a[5m:] @ start()", "a[5m:] @ start()" },
    { "subquery with step", "rate(a[5m])[30m:1m]", "rate(a[5m])[30m:1m]" },
    { "keywords as metric names", "sum{by=\"x\"} + offset", "sum{by=\"x\"} + offset" },
    { "keywords as labels", "sum by (by, on, bool, sum) (a)", "sum by (by, on, bool, sum) (a)" },
    { "trailing comma in a label list", "sum by (a,) (b{c=\"d\",})", "sum by (a) (b{c=\"d\"})" },
    { "names with quotes", "{\"my.metric\", \"la bel\"=\"x\"}", "{__name__=\"my.metric\",\"la bel\"=\"x\"}" },
    { "single quotes and escapes", "a{b='\\'\\n\"'}", "a{b=\"'\\n\\\"\"}" },
    { "back quotes", "a{b=`\\d`}", "a{b=\"\\\\d\"}" },
    { "comments and lines", "a # one\n + # two\n b", "a + b" },
    { "topk takes a parameter", "topk(3,a)", "topk(3, a)" },
    { "without nothing stays", "sum without() (a)", "sum without () (a)" },
    { "durations may be calculated", "a[1h/2+(5m)]", "a[1h / 2 + (5m)]" },
    { "signs in front of parentheses", "-(a+b)", "-(a + b)" },
    { "colons in names", "job:up:sum", "job:up:sum" },
    { "set operators", "a and on(x) b or c unless d", "a and on (x) b or c unless d" },
    { "atan2", "a ATAN2 b", "a atan2 b" },
    { "fill", "a + fill(0) b", "a + fill (0) b" },
    { "fill as a name", "a + fill", "a + fill" },
};

TEST(promql_prints_what_it_read)
{
    promql_enable(PROMQL_EVERYTHING);
    for (size_t i = 0; i < COUNT_OF(formats); i++) {
        AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
        AUTO(buf_done) buf out = BUF_INIT(1u << 16);
        ast *root = NULL;
        err e = { 0 };
        CHECK_MSG(promql_parse(str_from(formats[i].text), &a, &root, &e) == OK, "%s: %s", formats[i].what, e.message);
        promql_format(root, &out);
        CHECK_MSG(str_is(buf_str(&out), formats[i].want), "%s: got %s", formats[i].what, buf_cstr(&out));
        CHECK_MSG(promql_parse(buf_str(&out), &a, &root, &e) == OK, "%s, again: %s", formats[i].what, e.message);
    }
}

static const struct { const char *text, *want; } failures[] = {
    { "", "1:1: parse error: no expression found in input" },
    { "foo{", "1:5: parse error: unexpected end of input inside braces" },
    { "(foo", "1:5: parse error: unclosed left parenthesis" },
    { "foo +", "1:6: parse error: unexpected end of input" },
    { "foo\n  bar", "2:3: parse error: unexpected identifier \"bar\"" },
    { "nosuch(foo)", "1:1: parse error: unknown function with name \"nosuch\"" },
    { "rate(foo)", "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector" },
    { "rate(foo[1m], 2)", "1:1: parse error: expected 1 argument(s) in call to \"rate\", got 2" },
    { "foo and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression" },
    { "1 > 2", "1:3: parse error: comparisons between scalars must use BOOL modifier" },
    { "foo + bool bar", "1:5: parse error: bool modifier can only be used on comparison operators" },
    { "{}", "1:1: parse error: vector selector must contain at least one non-empty matcher" },
    { "{x=~\".*\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher" },
    { "foo{__name__=\"bar\"}", "1:1: parse error: metric name must not be set twice: \"foo\" or \"bar\"" },
    { "foo[0m]", "1:5: parse error: duration must be greater than 0" },
    { "1 offset 5m", "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery" },
    { "(foo)[5m]", "1:1: parse error: ranges only allowed for vector selectors" },
    { "sum()", "1:1: parse error: no arguments for aggregate expression provided" },
    { "topk(foo)", "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1" },
    { "\"\\z\"", "1:1: parse error: unknown escape sequence U+007A 'z'" },
    { "\"foo", "1:1: parse error: unterminated quoted string" },
    { "a and on(x) group_left b", "1:1: parse error: no grouping allowed for \"and\" operation" },
    { "a * on(x) group_left(x) b", "1:3: parse error: label \"x\" must not occur in ON and GROUP clause at once" },
    { "1e", "1:1: parse error: bad number or duration syntax: \"1e\"" },
    { "foo[5m:1m:1s]", "1:10: parse error: unexpected colon ':'" },
    { "foo{a!b}", "1:6: parse error: unexpected character after '!' inside braces: 'b'" },
    { "sum(a) by (", "1:12: parse error: unclosed left parenthesis" },
    { "f(a,)", "1:1: parse error: unknown function with name \"f\"" },
    { "abs(a,)", "1:6: parse error: trailing commas not allowed in function call args" },
    { "foo offset 5m [5m]", "1:1: parse error: no offset modifiers allowed before range" },
    { "mad_over_time(a[1m])", "1:1: parse error: function \"mad_over_time\" is not enabled" },
    { "-\"a\"", "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"" },
    { "1 + a[5m]", "1:5: parse error: binary expression must contain only scalar and instant vector types" },
};

TEST(promql_says_where_and_why_in_prometheus_words)
{
    promql_enable(0);
    for (size_t i = 0; i < COUNT_OF(failures); i++) {
        AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
        ast *root = NULL;
        err e = { 0 };
        char got[600];
        CHECK_EQ(promql_parse(str_from(failures[i].text), &a, &root, &e), ERR_PARSE);
        err_format(got, sizeof got, &e);
        CHECK_MSG(strcmp(got, failures[i].want) == 0, "%s\n got: %s\nwant: %s", failures[i].text, got, failures[i].want);
        CHECK(root == NULL);
    }
}

static void repeat(buf *b, const char *part, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_append(b, str_from(part));
}

TEST(promql_depth_is_bounded)
{
    static const char *const parts[] = { "(", "-", "abs(", "1^", "a[1m:", "sum by (x) (" };
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        AUTO(arena_done) arena a = ARENA_INIT(64u << 20);
        AUTO(buf_done) buf b = BUF_INIT(1u << 20);
        ast *root = NULL;
        repeat(&b, parts[i], 100000);
        buf_truncate(&b, MIN(b.len, 1000000u));
        CHECK_EQ(promql_parse(buf_str(&b), &a, &root, &(err){ 0 }), ERR_PARSE);
    }
}

TEST(promql_takes_long_chains)
{
    AUTO(arena_done) arena a = ARENA_INIT(64u << 20);
    AUTO(buf_done) buf b = BUF_INIT(1u << 20);
    ast *root = NULL;
    err e = { 0 };
    repeat(&b, "1+", 2900);
    buf_append_char(&b, '1');
    CHECK_OK(promql_parse(buf_str(&b), &a, &root, &e), e);
    repeat(&b, "+1", 200);
    CHECK_EQ(promql_parse(buf_str(&b), &a, &root, &e), ERR_PARSE);
}

static const struct { const char *text, *hint; } hints[] = {
    { "raet(a[5m])", "Did you mean \"rate\"?" },
    { "rate(a)", "Give it a range, as in rate(metric[5m])." },
    { "sum(a[5m])", "A range vector must go through a function first, as in rate(metric[5m])." },
    { "1 > 2", "Write > bool to get 0 or 1." },
};

TEST(promql_hints_at_the_next_step)
{
    for (size_t i = 0; i < COUNT_OF(hints); i++) {
        AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
        ast *root = NULL;
        err e = { 0 };
        CHECK_EQ(promql_parse(str_from(hints[i].text), &a, &root, &e), ERR_PARSE);
        CHECK_MSG(strcmp(e.hint, hints[i].hint) == 0, "%s: %s", hints[i].text, e.hint);
    }
}

TEST(promql_parse_survives_any_failed_allocation)
{
    static const char text[] = "sum by (a, b) (rate(x{y=~\"z|w\",v='\\n'}[5m] offset 1h)) / on (a) group_left (c) topk(3, u @ 5) + (1 - 2m)";
    for (unsigned nth = 0;; nth++) {
        AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
        ast *root = NULL;
        fault_alloc(nth);
        err_kind k = promql_parse(str_from(text), &a, &root, &(err){ 0 });
        bool fired = fault_fired();
        CHECK(fired ? k == ERR_NOMEM || k == OK : k == OK); /* OK: a regex does without its shape */
        CHECK_EQ(root == NULL, k != OK);
        if (!fired)
            break;
    }
}

TEST(promql_selectors_are_for_match)
{
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    matcher *m = NULL;
    size_t n = 0;
    CHECK_EQ(promql_parse_selector(STR("up{job=~\"a|b\"}"), &a, &m, &n, &(err){ 0 }), OK);
    CHECK_EQ(n, 2);
    CHECK(matcher_match(&m[0], STR("a")));
    promql_selector_done(m, n);
    CHECK_EQ(promql_parse_selector(STR("rate(up[5m])"), &a, &m, &n, &(err){ 0 }), ERR_PARSE);
}

TEST(promql_long_expressions_print_on_several_lines)
{
    static const char text[] = "sum by (job) (rate(http_requests_total{code=~\"5..\"}[5m])) / sum by (job) (rate(http_requests_total{code!=\"\"}[5m]))";
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    AUTO(buf_done) buf out = BUF_INIT(1u << 16);
    ast *root = NULL;
    CHECK_EQ(promql_parse(str_from(text), &a, &root, &(err){ 0 }), OK);
    ast_format_pretty(root, &out);
    CHECK_STR(buf_str(&out), "  sum by (job) (rate(http_requests_total{code=~\"5..\"}[5m]))\n/\n  sum by (job) (rate(http_requests_total{code!=\"\"}[5m]))");
}
