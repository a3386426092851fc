#include "alert/template.h"
#include "base/test.h"

static const label some_labels[] = { { STR_INIT("instance"), STR_INIT("127.0.0.1:8000") }, { STR_INIT("job"), STR_INIT("chat") } };

static err_kind fake_query(void *ctx, str expr, arena *a, template_sample **ret, size_t *ret_n, err *e)
{
    static const label zone_b[] = { { STR_INIT("zone"), STR_INIT("b") } }, zone_a[] = { { STR_INIT("zone"), STR_INIT("a") } };
    static const template_sample two[] = { { { zone_b, 1 }, 2 }, { { zone_a, 1 }, 1 } };
    UNUSED(ctx);
    if (str_is(expr, "bad("))
        return err_set(e, ERR_EXEC, "no such thing");
    *ret = arena_dup(a, two, sizeof two);
    *ret_n = str_is(expr, "none") ? 0 : 2;
    return *ret ? OK : err_nomem(e);
}

static template_data data_of(double value)
{
    static const label external[] = { { STR_INIT("region"), STR_INIT("here") } };
    return (template_data){ .labels = { some_labels, 2 }, .external_labels = { external, 1 }, .value = value, .external_url = STR("http://host:9600/x"), .now_ms = 1500, .query = fake_query };
}

typedef struct row { const char *text; double value; const char *want; } row;
static void check_rows(const row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        AUTO(buf_done) buf b = BUF_INIT(TEMPLATE_MAX_OUTPUT);
        template_data d = data_of(rows[i].value);
        err e = { 0 };
        err_kind k = template_expand(str_from(rows[i].text), &d, &b, &e);
        CHECK_MSG(k == OK, "%s: %s", rows[i].text, e.message);
        CHECK_MSG(str_is(buf_str(&b), rows[i].want), "%s: got \"%" STR_FMT "\", want \"%s\"", rows[i].text, STR_ARG(buf_str(&b)), rows[i].want);
    }
}

TEST(template_prints_what_the_seeds_rules_say)
{
    static const row rows[] = {
        { "错误率超过5%，当前值为 {{ $value }}", 1, "错误率超过5%，当前值为 1" },
        { "GPU使用率超过90%，当前值为 {{ $value }}", 95, "GPU使用率超过90%，当前值为 95" },
        { "MGeo请求延迟高达 {{ $value }}ms", 501, "MGeo请求延迟高达 501ms" },
        { "高延迟请求 (实例 {{ $labels.instance }})", 1, "高延迟请求 (实例 127.0.0.1:8000)" },
    };
    check_rows(rows, COUNT_OF(rows));
}

TEST(template_language)
{
    static const row rows[] = {
        { "", 1, "" },
        { "no action } at { all", 1, "no action } at { all" },
        { "{{$value}}|{{ .Value }}|{{.Labels.job}}|{{$labels.nothing}}|{{$externalURL}}|{{.ExternalURL}}", 0.5, "0.5|0.5|chat||http://host:9600/x|http://host:9600/x" },
        { "a {{- \" b \" -}} c", 1, "a b c" },
        { "a\n  {{- /* gone */ -}}\n  b {{/* gone too */}}c", 1, "ab c" },
        { "{{ \"}}\" }}{{ `a\\n` }}{{ \"\\u00e9\\x41\\\"\\t\" }}", 1, "}}a\\né" "A\"\t" },
        { "{{ if gt $value 5 }}high{{ else }}low{{ end }}", 6, "high" },
        { "{{ if gt $value 5.0 }}high{{ else if gt .Value 2.0 }}middle{{ else }}low{{ end }}", 3, "middle" },
        { "{{ if gt $value 5.0 }}high{{ else if gt .Value 2.0 }}middle{{ else }}low{{ end }}!", 1, "low!" },
        { "{{ if and (eq $labels.job \"chat\" \"x\") (not false) }}yes{{end}}", 1, "yes" },
        { "{{ if or \"\" 0 nil }}yes{{else}}no{{end}}", 1, "no" },
        { "{{ with $labels.job }}[{{ . }}]{{ else }}none{{ end }}{{ with $labels.none }}x{{ else }}none{{ end }}", 1, "[chat]none" },
        { "{{ $x := $value | humanize }}{{ $x }}/{{ $x = \"new\" }}{{ $x }}", 1500, "1.5k/new" },
        { "{{ range query \"up\" }}{{ .Labels.zone }}={{ .Value }} {{ end }}", 1, "b=2 a=1 " },
        { "{{ range $i, $s := query \"up\" | sortByLabel \"zone\" }}{{ $i }}:{{ $s.Labels.zone }}{{ end }}", 1, "0:a1:b" },
        { "{{ range query \"none\" }}x{{ else }}empty{{ end }}", 1, "empty" },
        { "{{ range $k, $v := $labels }}{{ $k }}={{ $v }},{{ end }}", 1, "instance=127.0.0.1:8000,job=chat," },
        { "{{ query \"up\" | first | value }} {{ query \"up\" | first | label \"zone\" }} {{ (query \"up\" | first).Labels.zone }}", 1, "2 b b" },
        { "{{ (index (query \"up\") 1).Value }} {{ index $labels \"job\" }} {{ len $labels }}", 1, "1 chat 2" },
        { "{{ $externalLabels.region }} {{ .ExternalLabels.region }} {{ $externalLabels.none }}", 1, "here here " },
        { "{{ true }} {{ 12 }} {{ -1.5 }} {{ 'a' }} {{ $labels }}", 1, "true 12 -1.5 97 map[instance:127.0.0.1:8000 job:chat]" },
    };
    check_rows(rows, COUNT_OF(rows));
}

TEST(template_numbers_print_as_in_go)
{
    static const row rows[] = {
        { "{{ $value }}", 1, "1" },
        { "{{ $value }}", 0.1, "0.1" },
        { "{{ $value }}", 123456789, "1.23456789e+08" },
        { "{{ $value }}", 1e20, "1e+20" },
        { "{{ $value }}", 1e21, "1e+21" },
        { "{{ $value }}", 0.00012, "0.00012" },
        { "{{ $value }}", 0.0000123, "1.23e-05" },
        { "{{ $value }}", INFINITY, "+Inf" },
        { "{{ $value }}", NAN, "NaN" },
        { "{{ printf \"%.2f\" $value }}|{{ printf \"%6.1f|%-6.1f|%06.2f\" $value $value $value }}", 3.14159, "3.14|   3.1|3.1   |003.14" },
        { "{{ printf \"%s is %d of %v, %q %t %%\" \"a\" 3 $value \"x\\\"y\" true }}", 0.5, "a is 3 of 0.5, \"x\\\"y\" true %" },
        { "{{ printf \"%d|%s|%f\" $value 1 \"x\" }}", 0.5, "%!d(float64=0.5)|%!s(int=1)|%!f(string=x)" },
        { "{{ printf \"%g %e %5s|%-5s| %x\" $value $value \"é\" \"ab\" 255 }}", 1500, "1500 1.500000e+03     é|ab   | ff" },
        { "{{ printf \"%d %d\" 1 }}{{ printf \"x\" 2 }}", 1, "1 %!d(MISSING)x%!(EXTRA int=2)" },
        { "{{ print 1 2 \"a\" 3 }}{{ println 1 \"a\" }}", 1, "1 2a31 a\n" },
    };
    check_rows(rows, COUNT_OF(rows));
}

TEST(template_functions_print_what_prometheus_prints)
{
    static const row rows[] = {
        { "{{ humanize $value }}", 0, "0" },
        { "{{ humanize $value }}", 1234567, "1.235M" },
        { "{{ humanize $value }}", 1e27, "1000Y" },
        { "{{ humanize $value }}", 0.0000123, "12.3u" },
        { "{{ humanize $value }}", NAN, "NaN" },
        { "{{ humanize \"12345\" }}", 0, "12.35k" },
        { "{{ humanize1024 $value }}", 1048576, "1Mi" },
        { "{{ humanize1024 $value }}", 0.5, "0.5" },
        { "{{ humanizeDuration $value }}", 0, "0s" },
        { "{{ humanizeDuration $value }}", 59.5, "59.5s" },
        { "{{ humanizeDuration $value }}", 3661, "1h 1m 1s" },
        { "{{ humanizeDuration $value }}", -90061, "-1d 1h 1m 1s" },
        { "{{ humanizeDuration $value }}", 0.0123, "12.3ms" },
        { "{{ humanizeDuration $value }}", -INFINITY, "-Inf" },
        { "{{ humanizePercentage $value }}", 0.05123, "5.123%" },
        { "{{ humanizeTimestamp $value }}", 1435065584.128, "2015-06-23 13:19:44.128 +0000 UTC" },
        { "{{ humanizeTimestamp $value }}", 0, "1970-01-01 00:00:00 +0000 UTC" },
        { "{{ toUpper \"ab\" }}{{ toLower \"AB\" }}{{ title \"ab cd\" }}", 1, "ABabAb Cd" },
        { "{{ stripPort $labels.instance }} {{ stripPort \"[::1]:80\" }} {{ stripDomain \"a.b.c:80\" }} {{ stripDomain $labels.instance }}", 1, "127.0.0.1 ::1 a:80 127.0.0.1:8000" },
        { "{{ match \"c.+t\" $labels.job }} {{ match \"^x\" $labels.job }}", 1, "true false" },
        { "{{ reReplaceAll \"(\\\\d+)\" \"<$1>\" \"a1b22\" }} {{ reReplaceAll \"^a\" \"x\" \"aab\" }} {{ reReplaceAll \"x*\" \"-\" \"ab\" }}", 1, "a<1>b<22> xab -a-b-" },
        { "{{ urlQueryEscape \"a b&c\" }} {{ html \"<a>\" }} {{ safeHtml \"<a>\" }}", 1, "a+b%26c &lt;a&gt; <a>" },
        { "{{ parseDuration \"1h30m\" }} {{ now }} {{ externalURL }} {{ pathPrefix }}", 1, "5400 1.5 http://host:9600/x /x" },
        { "{{ $labels.job | toUpper | printf \"%s-%s\" \"x\" }}", 1, "x-CHAT" },
    };
    check_rows(rows, COUNT_OF(rows));
}

TEST(template_errors_name_the_place_and_what_is_wrong)
{
    static const struct { const char *text; err_kind kind; int line, column; const char *want; } rows[] = {
        { "a {{ $value", ERR_PARSE, 1, 3, "unclosed action" },
        { "a\n{{ humanise $value }}", ERR_PARSE, 2, 4, "function \"humanise\" not defined" },
        { "{{ $valu }}", ERR_PARSE, 1, 4, "undefined variable \"$valu\"" },
        { "{{ if $value }}x", ERR_PARSE, 1, 3, "an {{end}} is missing" },
        { "x{{ end }}", ERR_PARSE, 1, 4, "unexpected {{end}}" },
        { "{{ if 1 }}{{ else }}{{ else }}{{ end }}", ERR_PARSE, 0, 0, "expected end; found {{else}}" },
        { "{{ }}", ERR_PARSE, 1, 4, "missing value for a command" },
        { "{{ humanize }}", ERR_PARSE, 1, 4, "wrong number of args for humanize: want 1 got 0" },
        { "{{ (1 }}", ERR_PARSE, 1, 4, "unclosed left parenthesis" },
        { "{{ 1 2 }}", ERR_PARSE, 1, 4, "can't give arguments" },
        { "{{ \"a }}", ERR_PARSE, 1, 1, "unclosed action" },
        { "{{ 1x }}", ERR_PARSE, 1, 4, "bad number \"1x\"" },
        { "{{ define \"x\" }}{{ end }}", ERR_PARSE, 1, 4, "\"define\" is not built" },
        { "{{ $a, $b := 1 }}", ERR_PARSE, 0, 0, "too many declarations" },
        { "{{ .Foo }}", ERR_EXEC, 0, 0, "can't evaluate field Foo" },
        { "{{ query \"bad(\" }}", ERR_EXEC, 0, 0, "error calling query: no such thing" },
        { "{{ query \"none\" | first }}", ERR_EXEC, 0, 0, "no elements" },
        { "{{ humanize \"x\" }}", ERR_EXEC, 0, 0, "is not a number" },
        { "{{ if lt \"a\" 1 }}{{ end }}", ERR_EXEC, 0, 0, "incompatible types" },
        { "{{ match \"(\" \"a\" }}", ERR_EXEC, 0, 0, "error calling match" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(buf_done) buf b = BUF_INIT(TEMPLATE_MAX_OUTPUT);
        template_data d = data_of(1);
        err e = { 0 };
        err_kind k = template_expand(str_from(rows[i].text), &d, &b, &e);
        CHECK_MSG(k == rows[i].kind && strstr(e.message, rows[i].want), "%s: kind %s, \"%s\"", rows[i].text, err_kind_name(k), e.message);
        if (rows[i].line)
            CHECK_MSG((int)e.line == rows[i].line && (int)e.column == rows[i].column, "%s: at %u:%u", rows[i].text, e.line, e.column);
    }
}

TEST(template_limits_end_what_would_not_end)
{
    AUTO(buf_done) buf deep = BUF_INIT(1u << 20), b = BUF_INIT(100), wide = BUF_INIT(1u << 20);
    template_data d = data_of(1);
    err e = { 0 };
    for (int i = 0; i < 1000; i++)
        buf_append(&deep, STR("{{if 1}}"));
    CHECK_EQ(template_expand(buf_str(&deep), &d, &b, &e), ERR_PARSE);
    CHECK_CONTAINS(str_from(e.message), "nested deeper");
    buf_reset(&deep);
    buf_append(&deep, STR("{{"));
    for (int i = 0; i < 1000; i++)
        buf_append_char(&deep, '(');
    buf_append(&deep, STR("}}"));
    CHECK_EQ(template_expand(buf_str(&deep), &d, &b, &e), ERR_PARSE);
    for (int i = 0; i < 30; i++)
        buf_append(&wide, STR("{{ $labels.instance }}"));
    CHECK_EQ(template_expand(buf_str(&wide), &d, &b, &e), ERR_LIMIT);
    for (int i = 0; i < 18; i++) {
        buf_reset(&deep);
    }
    for (int i = 0; i < 17; i++)
        buf_append(&deep, STR("{{range query \"x\"}}"));
    for (int i = 0; i < 17; i++)
        buf_append(&deep, STR("{{end}}"));
    buf_reset(&b);
    CHECK_EQ(template_expand(buf_str(&deep), &d, &b, &e), ERR_LIMIT);
    CHECK_CONTAINS(str_from(e.message), "steps");
}

TEST(template_survives_any_failed_allocation)
{
    bool fired = true;
    for (unsigned nth = 0; fired; nth++) {
        AUTO(buf_done) buf b = BUF_INIT(TEMPLATE_MAX_OUTPUT);
        template_data d = data_of(1);
        err e = { 0 };
        fault_alloc(nth);
        err_kind k = template_expand(STR("{{ range query \"up\" | sortByLabel \"zone\" }}{{ .Value | humanize | printf \"%s\" }}{{ end }}"), &d, &b, &e);
        fired = fault_fired();
        CHECK_MSG(fired ? k != OK : k == OK, "allocation %u: %s", nth, e.message);
    }
}
