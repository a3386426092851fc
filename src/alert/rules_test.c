#include "alert/rules.h"

#include "alert/alert_config.h"
#include "base/file.h"
#include "base/test.h"

static err_kind load(const char *text, rule_set **ret, err *e)
{
    *ret = rule_set_new();
    if (!*ret)
        return err_nomem(e);
    return rule_set_load_text(*ret, str_from(text), "test.yml", 60000, e);
}

TEST(rules_are_read_as_prometheus_reads_them)
{
    AUTO(rule_set_freep) rule_set *s = NULL;
    err e = { 0 };
    CHECK_OK(load("groups:\n"
                  "- name: a\n"
                  "  interval: 5s\n"
                  "  query_offset: 1m\n"
                  "  limit: 7\n"
                  "  labels: {team: infra, tier: '1'}\n"
                  "  rules:\n"
                  "  - record: job:up:sum\n"
                  "    expr: sum by (job) (up)\n"
                  "    labels: {team: other}\n"
                  "  - alert: Down\n"
                  "    expr: |\n"
                  "      up == 0\n"
                  "    for: 10m\n"
                  "    keep_firing_for: 1h30m\n"
                  "    annotations: {summary: \"{{ $labels.job }} is down\"}\n"
                  "- name: b\n"
                  "  rules:\n", &s, &e), e);
    CHECK_EQ(rule_set_groups(s), 2);
    CHECK_EQ(rule_set_rules(s), 2);
    const rule_group *g = rule_set_group(s, 0);
    CHECK_STR(g->name, "a");
    CHECK_STR(g->file, "test.yml");
    CHECK_EQ(g->interval_ms, 5000);
    CHECK_EQ(g->query_offset_ms, 60000);
    CHECK_EQ(g->limit, 7);
    CHECK_EQ(rule_set_group(s, 1)->interval_ms, 60000);
    CHECK(!g->rules[0].alerting);
    CHECK_STR(g->rules[0].name, "job:up:sum");
    CHECK_EQ(g->rules[0].label_count, 2); /* the rule's own label wins over the group's */
    CHECK_STR(g->rules[0].labels[0].text, "other");
    CHECK_STR(g->rules[0].labels[1].name, "tier");
    CHECK(g->rules[1].alerting);
    CHECK_EQ(g->rules[1].for_ms, 600000);
    CHECK_EQ(g->rules[1].keep_firing_for_ms, 5400000);
    CHECK_STR(g->rules[1].expr, "up == 0\n");
}

#define GROUP "groups:\n- name: a\n  rules:\n"

TEST(rules_errors_name_the_place_and_the_remedy)
{
    static const struct { const char *what, *text; int line, column; const char *message, *hint; } rows[] = {
        { "an unknown key at the top", "group:\n- name: a\n", 1, 1, "unknown key \"group\"", "groups" },
        { "an unknown key in a group", "groups:\n- name: a\n  intervall: 5s\n", 3, 3, "unknown key \"intervall\"", "interval" },
        { "an unknown key in a rule", GROUP "  - alert: A\n    exp: up\n", 5, 5, "unknown key \"exp\"", "expr" },
        { "a bad expression, with the place in it", GROUP "  - alert: A\n    expr: up == (1\n", 5, 0, "expression of \"A\"", NULL },
        { "a bad expression in quotes", GROUP "  - alert: A\n    expr: \"foo bar\"\n", 5, 16, "expression of \"A\"", NULL },
        { "a bad expression of several lines", GROUP "  - alert: A\n    expr: |\n      up ==\n      )\n", 5, 11, "line 2, column 1 of it", NULL },
        { "no expression", GROUP "  - alert: A\n", 4, 5, "has no expr", NULL },
        { "neither record nor alert", GROUP "  - expr: up\n", 4, 5, "one of \"record\" or \"alert\"", NULL },
        { "both record and alert", GROUP "  - {record: a, alert: b, expr: up}\n", 4, 5, "only one of", NULL },
        { "a record with for", GROUP "  - {record: a, expr: up, for: 5m}\n", 4, 0, "cannot have \"for\"", NULL },
        { "a record with annotations", GROUP "  - {record: a, expr: up, annotations: {a: b}}\n", 4, 0, "cannot have annotations", NULL },
        { "a record that is no metric name", GROUP "  - {record: a-b, expr: up}\n", 4, 5, "invalid recording rule name", NULL },
        { "a bad duration", GROUP "  - {alert: a, expr: up, for: 5 minutes}\n", 4, 0, "\"5 minutes\" is not a duration", "500ms" },
        { "a bad label name", GROUP "  - {alert: a, expr: up, labels: {a-b: c}}\n", 4, 0, "invalid label name \"a-b\"", NULL },
        { "a label called __name__", GROUP "  - {alert: a, expr: up, labels: {__name__: c}}\n", 4, 0, "invalid label name", NULL },
        { "a template that does not parse", GROUP "  - alert: a\n    expr: up\n    annotations:\n      s: 'x {{ $value'\n", 7, 13, "annotation of \"a\": unclosed action", NULL },
        { "a template function nobody knows", GROUP "  - alert: a\n    expr: up\n    labels: {s: \"{{ humanise $value }}\"}\n", 6, 0, "function \"humanise\" not defined", NULL },
        { "a template field nobody has", GROUP "  - alert: a\n    expr: up\n    labels: {s: \"{{ .Lables.x }}\"}\n", 6, 0, "can't evaluate field Lables", NULL },
        { "a group twice", "groups:\n- name: a\n- name: a\n", 3, 0, "repeated in the same file", NULL },
        { "a group without name", "groups:\n- interval: 5s\n", 2, 3, "\"name\" is missing", NULL },
        { "rules that are no list", "groups:\n- name: a\n  rules: {x: y}\n", 3, 10, "rules must be a list", NULL },
        { "a file that is no mapping", "- a\n", 1, 1, "must be a mapping", NULL },
        { "a rule that is no mapping", GROUP "  - x\n", 4, 5, "must be a mapping", NULL },
        { "what is no YAML", "groups: [\n", 2, 0, "", NULL },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(rule_set_freep) rule_set *s = NULL;
        err e = { 0 };
        err_kind k = load(rows[i].text, &s, &e);
        CHECK_MSG(k == ERR_PARSE, "%s: kind %s, %s", rows[i].what, err_kind_name(k), e.message);
        CHECK_MSG(strstr(e.message, rows[i].message), "%s: \"%s\"", rows[i].what, e.message);
        CHECK_MSG((int)e.line == rows[i].line && (!rows[i].column || (int)e.column == rows[i].column), "%s: at %u:%u (%s)", rows[i].what, e.line, e.column, e.message);
        CHECK_MSG(!strcmp(e.file, "test.yml"), "%s: file \"%s\"", rows[i].what, e.file);
        CHECK_MSG(!rows[i].hint || strstr(e.hint, rows[i].hint), "%s: hint \"%s\"", rows[i].what, e.hint);
        CHECK_EQ(rule_set_groups(s), 0); /* a file counts as a whole */
    }
}

TEST(rules_of_the_seeds_load_unchanged)
{
    static const struct { const char *path; size_t rules; } rows[] = {
        { "../../../shared/reference/seed-configs/000/alert.rules.yml", 2 },
        { "../../../shared/reference/seed-configs/002/llm_alerts.yml", 0 },
        { "../../../shared/reference/seed-configs/003/mgeo_alerts.yml", 2 },
    };
    if (!file_exists(rows[0].path)) {
        print_message("skipped: ../shared is not here\n");
        skip();
    }
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(rule_set_freep) rule_set *s = rule_set_new();
        err e = { 0 };
        CHECK_OK(rule_set_load(s, rows[i].path, 60000, &e), e);
        CHECK_EQ(rule_set_rules(s), rows[i].rules);
    }
}

TEST(rules_shipped_with_galen_load)
{
    alert_config *c = NULL;
    err e = { 0 };
    CHECK_OK(alert_config_parse(NULL, &c, &e), e);
    CHECK(alert_config_rules(c) >= 15);
    alert_config_free(c);
}

TEST(rules_survive_any_failed_allocation)
{
    bool fired = true;
    for (unsigned nth = 0; fired; nth++) {
        AUTO(rule_set_freep) rule_set *s = NULL;
        err e = { 0 };
        fault_alloc(nth);
        err_kind k = load("groups:\n- name: a\n  labels: {t: x}\n  rules:\n  - {alert: A, expr: 'up == 0', labels: {s: '{{ $value }}'}, annotations: {d: 'x{{ if 1 }}y{{ end }}'}}\n", &s, &e);
        fired = fault_fired();
        CHECK_MSG(k == (fired ? ERR_NOMEM : OK), "allocation %u: %s %s", nth, err_kind_name(k), e.message);
    }
}
