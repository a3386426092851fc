#include "alert/alert_config.h"

#include <stdio.h>

#include "base/file.h"
#include "base/test.h"

typedef struct loaded { yaml_doc *doc; alert_config *c; err e; err_kind kind; } loaded;

static void loaded_done(loaded *l)
{
    alert_config_free(l->c);
    yaml_doc_free(l->doc);
}

/* An alertmanager.yml out of `dir`. */
static loaded manager(const char *text, const char *dir)
{
    loaded l = { 0 };
    CHECK_OK(yaml_parse(str_from(text), "am.yml", &l.doc, &l.e), l.e);
    CHECK_OK(alert_config_from_prometheus(NULL, "", &l.c, &l.e), l.e);
    l.kind = alert_config_add_alertmanager(l.c, l.doc, dir, &l.e);
    return l;
}

/* The `alert:` section of a galen.yml. */
static loaded section(const char *text, const char *dir)
{
    loaded l = { 0 };
    config conf = { 0 };
    CHECK_OK(yaml_parse(str_from(text), "galen.yml", &l.doc, &l.e), l.e);
    conf.doc = l.doc;
    conf.alert = l.doc->root;
    str_copy(conf.dir, sizeof conf.dir, str_from(dir));
    l.kind = alert_config_parse(&conf, &l.c, &l.e);
    return l;
}

#define TREE                                                                                                   \
    "route:\n  receiver: all\n  group_by: [alertname]\n  group_wait: 10s\n  routes:\n"                       \
    "  - {receiver: page, matchers: ['severity=\"critical\"', 'job=~\"chat|batch\"'], group_wait: 0s, continue: true}\n" \
    "  - receiver: night\n    match: {severity: critical}\n    routes:\n    - {receiver: deep, match_re: {zone: 'a.*'}, group_by: ['...']}\n" \
    "  - {receiver: quiet, matchers: ['{team!=\"x\", severity=warning}']}\n"                                   \
    "receivers:\n- {name: all}\n- {name: page, webhook_configs: [{url: 'http://127.0.0.1:1/p', send_resolved: false, max_alerts: 3}]}\n" \
    "- {name: night}\n- {name: deep}\n- {name: quiet}\n"

static void note_route(void *ctx, const alert_route *r)
{
    buf_printf(ctx, "%" STR_FMT " ", STR_ARG(r->to->name));
}

TEST(alert_config_routes_go_to_the_deepest_match)
{
    static const struct { const char *what; label l[4]; size_t n; const char *want; } rows[] = {
        { "what no route takes goes to the root", { { STR_INIT("severity"), STR_INIT("info") }, { STR_INIT("team"), STR_INIT("x") } }, 2, "all " },
        { "continue lets the next one match, too", { { STR_INIT("job"), STR_INIT("chat") }, { STR_INIT("severity"), STR_INIT("critical") } }, 2, "page night " },
        { "all matchers of a route must match", { { STR_INIT("job"), STR_INIT("chats") }, { STR_INIT("severity"), STR_INIT("critical") } }, 2, "night " },
        { "a child takes it from its parent", { { STR_INIT("severity"), STR_INIT("critical") }, { STR_INIT("zone"), STR_INIT("a1") } }, 2, "deep " },
        { "an absent label is the empty text", { { STR_INIT("severity"), STR_INIT("warning") } }, 1, "quiet " },
    };
    AUTO(loaded_done) loaded l = manager(TREE, "");
    CHECK_MSG(l.kind == OK, "%s", l.e.message);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(buf_done) buf b = BUF_INIT(1024);
        route_match(l.c->route, (labels){ rows[i].l, rows[i].n }, note_route, &b);
        CHECK_MSG(str_is(buf_str(&b), rows[i].want), "%s: %s", rows[i].what, buf_cstr(&b));
    }
    const alert_route *r = l.c->route;
    CHECK_EQ(r->group_wait_ms, 10000);
    CHECK_EQ(r->repeat_interval_ms, 4 * 3600 * 1000);
    CHECK_EQ(r->routes[0].group_wait_ms, 0);      /* 0s is said, not left out */
    CHECK_EQ(r->routes[1].group_wait_ms, 10000);  /* inherited */
    CHECK(r->routes[1].routes[0].group_by_all);
    CHECK_STR(r->routes[1].routes[0].key, "{}/{severity=\"critical\"}/{zone=~\"a.*\"}");
    CHECK_STR(str_from(r->routes[0].to->webhooks[0].url), "http://127.0.0.1:1/p");
    CHECK(!r->routes[0].to->webhooks[0].send_resolved);
    CHECK_EQ(r->routes[0].to->webhooks[0].max_alerts, 3);
}

#define ROUTE "route: {receiver: a}\n"

TEST(alert_config_errors_name_the_place_and_the_remedy)
{
    static const struct { const char *what, *text; int line; const char *message; } rows[] = {
        { "no route", "receivers: [{name: a}]\n", 1, "no routes provided" },
        { "a route without receiver", "route: {group_by: [a]}\nreceivers: [{name: a}]\n", 1, "must name a receiver" },
        { "a receiver nobody defined", "route:\n  receiver: b\nreceivers: [{name: a}]\n", 2, "undefined receiver \"b\"" },
        { "matchers on the root", "route: {receiver: a, match: {x: y}}\nreceivers: [{name: a}]\n", 1, "root route must not have any matchers" },
        { "a receiver twice", ROUTE "receivers:\n- name: a\n- name: a\n", 4, "not unique" },
        { "a receiver without name", ROUTE "receivers:\n- webhook_configs: []\n", 3, "must be a mapping with a name" },
        { "an unknown receiver kind", ROUTE "receivers:\n- name: a\n  webhok_configs: []\n", 4, "unknown key \"webhok_configs\"" },
        { "a webhook without url", ROUTE "receivers: [{name: a, webhook_configs: [{send_resolved: true}]}]\n", 2, "one of \"url\" and \"url_file\"" },
        { "a webhook with another scheme", ROUTE "receivers: [{name: a, webhook_configs: [{url: 'file:///x'}]}]\n", 2, "must start with http://" },
        { "a url file that is not there", ROUTE "receivers: [{name: a, webhook_configs: [{url_file: nowhere}]}]\n", 2, "could not open" },
        { "a matcher that is none", "route: {receiver: a, routes: [{matchers: ['x']}]}\nreceivers: [{name: a}]\n", 1, "bad matcher \"x\"" },
        { "a matcher with a bad expression", "route: {receiver: a, routes: [{matchers: ['x=~\"(\"']}]}\nreceivers: [{name: a}]\n", 1, "" },
        { "an unknown key", ROUTE "reciever: []\n", 2, "unknown key \"reciever\"" },
        { "a group_interval of nothing", "route: {receiver: a, group_interval: 0s}\nreceivers: [{name: a}]\n", 1, "cannot be zero" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(loaded_done) loaded l = manager(rows[i].text, "/nowhere");
        CHECK_MSG(l.kind == ERR_PARSE && strstr(l.e.message, rows[i].message), "%s: %s \"%s\"", rows[i].what, err_kind_name(l.kind), l.e.message);
        CHECK_MSG((int)l.e.line == rows[i].line, "%s: line %u", rows[i].what, l.e.line);
    }
}

TEST(alert_config_the_seeds_alertmanager_file_loads_and_says_what_it_cannot_do)
{
    static const char path[] = "../../../shared/reference/seed-configs/003/alertmanager.yml";
    AUTO(loaded_done) loaded l = { 0 };
    const char *const *notes;
    if (!file_exists(path)) {
        print_message("skipped: ../shared is not here\n");
        skip();
    }
    CHECK_OK(yaml_load(path, &l.doc, &l.e), l.e);
    CHECK_OK(alert_config_from_prometheus(NULL, "", &l.c, &l.e), l.e);
    CHECK_OK(alert_config_add_alertmanager(l.c, l.doc, ".", &l.e), l.e);
    CHECK_EQ(l.c->route->group_wait_ms, 30000);
    CHECK_EQ(alert_config_notes(l.c, &notes), 1);
    CHECK_CONTAINS(str_from(notes[0]), "receiver \"email-notifications\": email is not built yet");
}

TEST(alert_config_the_seeds_prometheus_file_brings_its_rules)
{
    static const char dir[] = "../../../shared/reference/seed-configs/002", path[] = "../../../shared/reference/seed-configs/002/prometheus.yml";
    AUTO(loaded_done) loaded l = { 0 };
    if (!file_exists(path)) {
        print_message("skipped: ../shared is not here\n");
        skip();
    }
    CHECK_OK(yaml_load(path, &l.doc, &l.e), l.e);
    CHECK_OK(alert_config_from_prometheus(l.doc, dir, &l.c, &l.e), l.e);
    CHECK_EQ(l.c->evaluation_interval_ms, 15000);
    CHECK_EQ(alert_config_rules(l.c), 0); /* only what the file says is watched: no shipped rules */
}

TEST(alert_config_rule_files_are_relative_and_may_be_globs)
{
    const char *dir = test_dir();
    char path[FILE_PATH_MAX];
    const char *text = "groups: [{name: g, rules: [{alert: A, expr: up}]}]\n";
    err e = { 0 };
    snprintf(path, sizeof path, "%s/one.yml", dir);
    CHECK_OK(file_write_atomic(path, str_from(text), 0600, &e), e);
    snprintf(path, sizeof path, "%s/two.yml", dir);
    CHECK_OK(file_write_atomic(path, str_from(text), 0600, &e), e);

    static const struct { const char *what, *text; size_t rules; const char *message; } rows[] = {
        { "a plain name", "rule_files: [one.yml]\n", 1, NULL },
        { "a glob finds both", "rule_files: ['*.yml']\n", 2, NULL },
        { "a file that two entries name counts once", "rule_files: [one.yml, '*.yml']\n", 2, NULL },
        { "a glob may find nothing", "rule_files: ['x*.yml']\n", 0, NULL },
        { "a plain name that is not there is an error", "rule_files:\n- one.yml\n- three.yml\n", 0, "\"three.yml\" does not point to an existing file" },
        { "the shipped rules may come along", "rule_files: [one.yml]\ndefault_rules: true\nevaluation_interval: 5s\n", 0, NULL },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(loaded_done) loaded l = section(rows[i].text, dir);
        CHECK_MSG(l.kind == (rows[i].message ? ERR_PARSE : OK), "%s: %s", rows[i].what, l.e.message);
        CHECK_MSG(!rows[i].message || (strstr(l.e.message, rows[i].message) && l.e.line == 3), "%s: %u %s", rows[i].what, l.e.line, l.e.message);
        CHECK_MSG(l.kind || i == 5 || alert_config_rules(l.c) == rows[i].rules, "%s: %zu rules", rows[i].what, l.kind ? 0 : alert_config_rules(l.c));
        CHECK(i != 5 || alert_config_rules(l.c) > 10);
    }
}

TEST(alert_config_secrets_come_from_files)
{
    const char *dir = test_dir();
    char path[FILE_PATH_MAX];
    err e = { 0 };
    snprintf(path, sizeof path, "%s/secret", dir);
    CHECK_OK(file_write_atomic(path, STR(" http://127.0.0.1:1/token\n"), 0600, &e), e);
    AUTO(loaded_done) loaded l = manager(ROUTE "receivers:\n- name: a\n  webhook_configs:\n  - url_file: secret\n"
                                               "    http_config: {authorization: {credentials_file: secret}, basic_auth: {username: u, password: p}, tls_config: {insecure_skip_verify: true}}\n", dir);
    CHECK_MSG(l.kind == OK, "%s", l.e.message);
    const webhook *w = &l.c->receivers[0].webhooks[0];
    CHECK_STR(str_from(w->url), "http://127.0.0.1:1/token");
    CHECK_STR(str_from(w->bearer_token), "http://127.0.0.1:1/token");
    CHECK_STR(str_from(w->basic_password), "p");
    CHECK(w->tls_insecure && w->follow_redirects);
}

TEST(alert_config_survives_any_failed_allocation)
{
    bool fired = true;
    for (unsigned nth = 0; fired; nth++) {
        AUTO(loaded_done) loaded l = { 0 };
        fault_alloc(nth);
        l.kind = yaml_parse(STR(TREE), "am.yml", &l.doc, &l.e);
        if (!l.kind)
            l.kind = alert_config_from_prometheus(NULL, "", &l.c, &l.e);
        if (!l.kind)
            l.kind = alert_config_add_alertmanager(l.c, l.doc, "", &l.e);
        fired = fault_fired();
        CHECK_MSG(l.kind == OK || (fired && l.kind == ERR_NOMEM), /* OK: a regex does without its shape */
                  "allocation %u: %s %s", nth, err_kind_name(l.kind), l.e.message);
    }
}
