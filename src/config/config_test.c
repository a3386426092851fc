#include "base/test.h"
#include "config/config.h"

typedef struct target { str name; const char *note; bool on; int64_t count, wait_ms, size; double ratio; config_strs list; config_pairs map; const yaml_node *node; } target;
static const config_field fields[] = {
    { "name", CONFIG_STR, offsetof(target, name), .required = true, .help = "What it is called." },
    { "note", CONFIG_CSTR, offsetof(target, note) },
    { "on", CONFIG_BOOL, offsetof(target, on), .preset = "true" },
    { "count", CONFIG_INT, offsetof(target, count), .preset = "3", .min = 1, .max = 10 },
    { "wait", CONFIG_DURATION, offsetof(target, wait_ms), .preset = "30s" },
    { "size", CONFIG_SIZE, offsetof(target, size) },
    { "ratio", CONFIG_DOUBLE, offsetof(target, ratio) },
    { "list", CONFIG_STR_LIST, offsetof(target, list) },
    { "map", CONFIG_STR_MAP, offsetof(target, map) },
    { "node", CONFIG_NODE, offsetof(target, node) },
    { "later", CONFIG_IGNORED, 0 },
};

static err_kind bind(const char *text, target *t, arena *a, err *e)
{
    yaml_doc *doc = NULL;
    err_kind k = yaml_parse(str_from(text), "t.yml", &doc, e);
    if (k)
        return k;
    k = config_bind(doc, doc->root, fields, COUNT_OF(fields), t, a, e);
    t->node = NULL; /* dies with the document */
    yaml_doc_free(doc);
    return k;
}

TEST(config_bind_fills_every_type)
{
    AUTO(arena_done) arena a = ARENA_INIT(1 << 20);
    target t = { 0 };
    err e = { 0 };
    CHECK_OK(bind("name: x\nnote: \"hi\"\non: off\ncount: 7\nwait: 1h30m\nsize: 64MB\nratio: 0.25\nlist: [a, b]\nmap: {k: v}\nlater: {any: thing}\n", &t, &a, &e), e);
    CHECK_STR(t.name, "x");
    CHECK_STR(str_from(t.note), "hi");
    CHECK(!t.on);
    CHECK_EQ(t.count, 7);
    CHECK_EQ(t.wait_ms, 5400000);
    CHECK_EQ(t.size, 64 << 20);
    CHECK_DOUBLE(t.ratio, 0.25);
    CHECK_EQ(t.list.len, 2);
    CHECK_STR(t.map.at[0].value, "v");
}

TEST(config_bind_uses_presets)
{
    AUTO(arena_done) arena a = ARENA_INIT(1 << 20);
    target t = { 0 };
    err e = { 0 };
    CHECK_OK(bind("name: x\nlist: one\ncount:\n", &t, &a, &e), e);
    CHECK(t.on);
    CHECK_EQ(t.count, 3);
    CHECK_EQ(t.wait_ms, 30000);
    CHECK_EQ(t.list.len, 1);
}

static const struct { const char *what, *text, *message, *hint; unsigned line, column; } bad[] = {
    { "an unknown key is refused by name with a suggestion", "name: x\nwiat: 3s", "unknown key \"wiat\"", "Did you mean \"wait\"?", 2, 1 },
    { "a key far from all others lists them", "name: x\nzzzzzzzz: 3s", "unknown key \"zzzzzzzz\"", "Known are: name, note", 2, 1 },
    { "a missing key is named", "on: true", "\"name\" is missing", "What it is called.", 1, 1 },
    { "a duration without unit is refused", "name: x\nwait: 30", "\"30\" is not a duration", "Write it like", 2, 7 },
    { "a list where a number belongs", "name: x\ncount: [1]", "a list where a whole number was expected", "", 2, 8 },
    { "out of range", "name: x\ncount: 11", "count: 11 is out of range", "between 1 and 10", 2, 8 },
    { "a duplicate key", "name: x\nname: y", "duplicate key \"name\"", "", 2, 1 },
    { "broken YAML", "name: [x\non: true", "did not find expected", "", 0, 0 },
    { "two documents", "name: x\n---\nname: y", "more than one document", "", 2, 1 },
    { "an unknown alias", "name: *x", "unknown alias", "", 1, 7 },
    { "an alias inside what it stands for", "later: &x [*x]", "unknown alias", "", 1, 12 },
    { "not a mapping", "- x", "must be a mapping", "", 1, 1 },
    { "a bad bool", "name: x\non: perhaps", "\"perhaps\" is not true or false", "", 2, 5 },
    { "bytes that are not UTF-8", "name: \"\xff\"", "invalid", "UTF-8", 0, 0 },
};

TEST(config_errors_name_place_and_remedy)
{
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        AUTO(arena_done) arena a = ARENA_INIT(1 << 20);
        target t = { 0 };
        err e = { 0 };
        CHECK_MSG(bind(bad[i].text, &t, &a, &e) != OK, "%s: accepted", bad[i].what);
        CHECK_MSG(strstr(e.message, bad[i].message), "%s: message is \"%s\"", bad[i].what, e.message);
        CHECK_MSG(strstr(e.hint, bad[i].hint), "%s: hint is \"%s\"", bad[i].what, e.hint);
        CHECK_MSG(!bad[i].line || (e.line == bad[i].line && e.column == bad[i].column), "%s: place is %u:%u", bad[i].what, e.line, e.column);
        CHECK_STR(str_from(e.file), "t.yml");
    }
}

TEST(yaml_refuses_alias_bombs)
{
    AUTO(buf_done) buf b = BUF_INIT(1 << 20);
    buf_printf(&b, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 12; i++) {
        buf_printf(&b, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            buf_printf(&b, "%s*a%d", k ? "," : "", i - 1);
        buf_printf(&b, "]\n");
    }
    yaml_doc *doc = NULL;
    err e = { 0 };
    CHECK_EQ(yaml_parse(buf_str(&b), "bomb.yml", &doc, &e), ERR_LIMIT);
}

TEST(yaml_survives_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        yaml_doc *doc = NULL;
        fault_alloc(nth);
        err_kind k = yaml_parse(STR("a: {b: [1, 2, &x {c: d}]}\ne: *x\n"), "t.yml", &doc, &(err){ 0 });
        bool fired = fault_fired();
        CHECK_EQ(k, fired ? ERR_NOMEM : OK);
        yaml_doc_free(doc);
        if (!fired)
            break;
    }
}

TEST(config_load_without_a_file_is_empty)
{
    AUTO(config_freep) config *c = NULL;
    err e = { 0 };
    CHECK_OK(config_load(NULL, &c, &e), e);
    CHECK(c->watch == NULL);
    CHECK_EQ(config_load("/nonexistent/galen.yml", &(config *){ 0 }, &e), ERR_NOT_FOUND);
    CHECK_CONTAINS(str_from(e.hint), "--config");
}

/* ---- showing ---- */

static const struct { const char *what, *text, *want; } shown[] = {
    { "nothing", "", "" },
    { "block style, no comments", "a: 1 # secret\nb: {c: x, d: [1, 2]}\n", "a: 1\nb:\n  c: x\n  d:\n  - 1\n  - 2\n" },
    { "lists of mappings and of lists", "a: [{b: 1, c: {d: 2}}, [x, [y]], {}, []]\n",
      "a:\n- b: 1\n  c:\n    d: 2\n-\n  - x\n  -\n    - y\n- {}\n- []\n" },
    { "what was quoted stays text", "a: '1'\nb: \"x\\ny\"\nc: |\n  one\n  two: \"2\"\nd:\n", "a: \"1\"\nb: \"x\\ny\"\nc: \"one\\ntwo: \\\"2\\\"\\n\"\nd: null\n" },
    { "passwords, tokens and keys go", "basic_auth: {username: u, password: p}\nauthorization: {type: Bearer, credentials: c}\nbearer_token: t\npassword_file: f\n",
      "basic_auth:\n  username: u\n  password: <secret>\nauthorization:\n  type: Bearer\n  credentials: <secret>\nbearer_token: <secret>\npassword_file: f\n" },
    { "and passwords in addresses", "remote_write: [{url: 'http://me:pass@host:1/x@y'}]\n", "remote_write:\n- url: \"http://me:xxxxx@host:1/x@y\"\n" },
    { "addresses without a password stay", "a: http://me@host/b:c@d\n", "a: http://me@host/b:c@d\n" },
    { "a receiver's address is its key", "receivers: [{name: n, webhook_configs: [{url: http://h/k}]}]\nother: {url: http://h}\n",
      "receivers:\n- name: n\n  webhook_configs:\n  - url: <secret>\nother:\n  url: http://h\n" },
    { "lists of secrets", "http_headers: {X-Key: {secrets: [a, b], values: [c]}}\n", "http_headers:\n  X-Key:\n    secrets: [<secret>]\n    values:\n    - c\n" },
    { "headers that log in", "headers: {Authorization: Basic abc, X-Api-Token: t, Accept: a}\n", "headers:\n  Authorization: <secret>\n  X-Api-Token: <secret>\n  Accept: a\n" },
};

TEST(config_is_shown_without_its_secrets)
{
    for (size_t i = 0; i < COUNT_OF(shown); i++) {
        AUTO(yaml_doc_freep) yaml_doc *doc = NULL, *again = NULL;
        AUTO(buf_done) buf out = BUF_INIT(1u << 16), twice = BUF_INIT(1u << 16);
        err e = { 0 };
        CHECK_OK(yaml_parse(str_from(shown[i].text), "x.yml", &doc, &e), e);
        yaml_write_shown(doc, &out);
        CHECK_STR(buf_str(&out), shown[i].want);
        CHECK_OK(yaml_parse(buf_str(&out), "y.yml", &again, &e), e);
        yaml_write_shown(again, &twice);
        CHECK_STR(buf_str(&twice), shown[i].want);
    }
}
