#include "config/config.h"
#include <stdio.h>
#include <stdlib.h>

static const struct { const char *name; size_t offset; } sections[] = {
#define SECTION(name) { #name, offsetof(config, name) }
    SECTION(watch), SECTION(store), SECTION(query), SECTION(alert), SECTION(diagnose), SECTION(heal), SECTION(audit),
    SECTION(gateway), SECTION(secure), SECTION(trace), SECTION(cost), SECTION(twin), SECTION(face),
#undef SECTION
};

static err_kind find_sections(config *c, err *e)
{
    const yaml_node *root = c->doc->root;
    err_kind k = config_mapping(c->doc, root, "the configuration", e);
    if (k)
        return k;
    for (size_t i = 0; i < root->len; i++) {
        size_t s = 0;
        while (s < COUNT_OF(sections) && !str_is(root->keys[i]->text, sections[s].name))
            s++;
        if (s == COUNT_OF(sections)) {
            const char *names[COUNT_OF(sections)];
            for (size_t n = 0; n < COUNT_OF(sections); n++)
                names[n] = sections[n].name;
            return config_unknown(c->doc, root->keys[i], "section", root->keys[i]->text, names, COUNT_OF(names), e);
        }
        if (root->items[i]->kind != YAML_NULL)
            *(const yaml_node **)((char *)c + sections[s].offset) = root->items[i];
    }
    return OK;
}

static void set_dir(config *c)
{
    str_copy(c->dir, sizeof c->dir, str_from(c->path));
    char *slash = strrchr(c->dir, '/');
    if (!slash)
        memcpy(c->dir, ".", 2);
    else
        slash[slash == c->dir] = '\0';
}

err_kind config_load(const char *path, config **ret, err *e)
{
    AUTO(config_freep) config *c = mem_zalloc(sizeof *c);
    if (!c)
        return err_nomem(e);
    str_copy(c->path, sizeof c->path, str_from(path ? path : ""));
    set_dir(c);
    err_kind k = path ? yaml_load(path, &c->doc, e) : yaml_parse(STR(""), "", &c->doc, e);
    if (k || (k = find_sections(c, e))) {
        if (path && e && (k == ERR_NOT_FOUND || k == ERR_DENIED))
            err_hint(e, "Give the configuration with --config FILE, or start without one.");
        return k;
    }
    *ret = TAKE(c);
    return OK;
}

void config_free(config *c)
{
    if (!c)
        return;
    yaml_doc_free(c->doc);
    mem_free(c);
}

void config_freep(config **c)
{
    config_free(*c);
    *c = NULL;
}

err_kind config_path(const config *c, str name, char *out, size_t cap, err *e)
{
    bool absolute = name.len && name.ptr[0] == '/';
    int n = absolute ? snprintf(out, cap, "%" STR_FMT, STR_ARG(name)) : snprintf(out, cap, "%s/%" STR_FMT, c->dir, STR_ARG(name));
    return n < 0 || (size_t)n >= cap ? err_set(e, ERR_LIMIT, "path too long: \"%" STR_FMT "\"", STR_ARG(name)) : OK;
}
