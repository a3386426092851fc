/* The `heal:` section: mode, and the policies: files (with * in their names), or written right there. */
#include "heal/policy.h"
#include "query/query.h"
#include <glob.h>

#define HEAL_ARENA_MAX (16u << 20)

typedef struct heal_yaml { const yaml_node *mode, *policies; } heal_yaml;
static const config_field heal_fields[] = {
    { .key = "mode", .type = CONFIG_NODE, .offset = offsetof(heal_yaml, mode), .help = "off, suggest (default) or auto; a policy may be weaker, never stronger." },
    { .key = "policies", .type = CONFIG_NODE, .offset = offsetof(heal_yaml, policies), .help = "Files, or policies written here. Absent: galen's own." },
};

static err_kind check_promql(str expr, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    ast *tree;
    return promql_parse(expr, &a, &tree, e);
}

static err_kind load_file(const char *path, heal_config *c, err *e)
{
    AUTO(yaml_doc_freep) yaml_doc *doc = NULL;
    err_kind k = yaml_load(path, &doc, e);
    return k ? k : policy_file_parse(doc, c, e);
}

static err_kind load_pattern(const config *c, const yaml_node *n, heal_config *ret, err *e)
{
    char path[FILENAME_MAX_CONFIG * 2];
    glob_t found = { 0 };
    if (!n->text.len)
        return yaml_error(c->doc, n, e, "the name of a policy file is empty");
    err_kind k = config_path(c, n->text, path, sizeof path, e);

    if (k)
        return err_at(e, n->line, n->column);
    int rc = glob(path, 0, NULL, &found);
    if (rc == GLOB_NOMATCH) {
        yaml_error(c->doc, n, e, "there is no policy file \"%" STR_FMT "\"", STR_ARG(n->text));
        err_hint(e, "Names are relative to the configuration's folder; * matches many.");
        k = ERR_PARSE;
    } else if (rc) {
        k = yaml_error(c->doc, n, e, "could not look for policy files \"%" STR_FMT "\"", STR_ARG(n->text));
    }
    for (size_t i = 0; k == OK && i < found.gl_pathc; i++)
        k = load_file(found.gl_pathv[i], ret, e);
    globfree(&found);
    return k;
}

static err_kind load_inline(const config *c, const yaml_node *n, heal_config *ret, err *e)
{
    yaml_doc part = *c->doc;         /* a view: the same file name, this node as its root */
    part.root = (yaml_node *)(uintptr_t)n;
    return policy_file_parse(&part, ret, e);
}

static err_kind load_policies(const config *c, const yaml_node *list, heal_config *ret, err *e)
{
    AUTO(yaml_doc_freep) yaml_doc *built_in = NULL;
    err_kind k;

    if (!list) {
        k = yaml_parse(str_from(policy_default_text), "built-in policies", &built_in, e);
        return k ? k : policy_file_parse(built_in, ret, e);
    }
    if (list->kind == YAML_SCALAR)
        return load_pattern(c, list, ret, e);
    k = config_sequence(c->doc, list, "\"policies\"", e);
    for (size_t i = 0; k == OK && i < list->len; i++) {
        const yaml_node *n = list->items[i];
        k = n->kind == YAML_SCALAR ? load_pattern(c, n, ret, e) : load_inline(c, n, ret, e);
    }
    return k;
}

err_kind heal_config_parse(const config *c, heal_config **ret, err *e)
{
    heal_config *h = mem_zalloc(sizeof *h);
    heal_yaml y = { 0 };

    if (!h)
        return err_nomem(e);
    h->arena = arena_init(HEAL_ARENA_MAX);
    policy_check_expr = check_promql;
    err_kind k = config_bind(c->doc, c->heal, heal_fields, COUNT_OF(heal_fields), &y, &h->arena, e);
    k = k ? k : policy_mode_parse(c->doc, y.mode, false, &h->mode, NULL, e);
    k = k ? k : load_policies(c, y.policies, h, e);
    if (k) {
        heal_config_free(h);
        return k;
    }
    *ret = h;
    return OK;
}

void heal_config_free(heal_config *c)
{
    if (!c)
        return;
    arena_done(&c->arena);
    mem_free(c);
}
