/* main/check_cmd.c - `galen check config|rules FILE…`: the very code that runs online, without running. */
#include "main/options.h"
#include "main/settings.h"
#include <stdio.h>

/* Which of the three kinds of file this is, by its top-level keys. */
static const char *kind_of(const yaml_doc *doc)
{
    if (yaml_get(doc->root, "groups"))
        return "rules";
    if (yaml_get(doc->root, "scrape_configs") || yaml_get(doc->root, "rule_files") || yaml_get(doc->root, "global"))
        return yaml_get(doc->root, "receivers") ? "alertmanager" : "prometheus";
    return yaml_get(doc->root, "route") || yaml_get(doc->root, "receivers") ? "alertmanager" : "galen";
}

static int check_config(const char *path)
{
    AUTO(yaml_doc_freep) yaml_doc *doc = NULL;
    AUTO(settings_freep) settings *s = NULL;
    err e = { 0 };
    if (yaml_load(path, &doc, &e))
        return err_print(&e), EXIT_FAILED;
    const char *kind = kind_of(doc);
    if (strcmp(kind, "rules") == 0) {
        fprintf(stderr, "galen: \"%s\" is a rule file\nHint: Check it with `galen check rules %s`.\n", path, path);
        return EXIT_FAILED;
    }
    settings_files files = { .watch_by_itself = true };
    *(strcmp(kind, "prometheus") == 0 ? &files.prometheus : strcmp(kind, "alertmanager") == 0 ? &files.alertmanager : &files.config) = path;
    if (settings_load(&files, &s, &e))
        return err_print(&e), EXIT_FAILED;
    printf("%s: valid (%s configuration)\n", path, kind);
    const char *const *notes;
    size_t n = alert_config_notes(s->alert, &notes);
    for (size_t i = 0; i < n; i++)
        printf("  note: %s\n", notes[i]);
    return EXIT_DONE;
}

static int check_rules(const char *path)
{
    AUTO(rule_set_freep) rule_set *rules = rule_set_new();
    err e = { 0 };
    if (!rules || rule_set_load(rules, path, 60000, &e)) {
        if (!rules)
            err_nomem(&e);
        return err_print(&e), EXIT_FAILED;
    }
    printf("%s: valid, %zu rules in %zu groups\n", path, rule_set_rules(rules), rule_set_groups(rules));
    return EXIT_DONE;
}

static int run(int argc, char **argv)
{
    char **args;
    int n, none, code = options_parse(&verb_check, argc, argv, &none, &args, &n), failed = 0;
    if (code >= 0)
        return code;
    bool rules = n > 1 && strcmp(args[0], "rules") == 0;
    if (n < 2 || (!rules && strcmp(args[0], "config") != 0)) {
        fprintf(stderr, "galen: `galen check` needs config or rules, and a file\nHint: For example: galen check config galen.yml\n");
        return EXIT_USAGE;
    }
    for (int i = 1; i < n; i++)
        failed += (rules ? check_rules(args[i]) : check_config(args[i])) != EXIT_DONE;
    return failed == 0 ? EXIT_DONE : failed == n - 1 ? EXIT_FAILED : EXIT_PARTLY;
}

const verb verb_check = {
    "check", "Check configuration and rule files without starting anything.", "galen check config|rules FILE...",
    "config takes galen.yml, prometheus.yml and alertmanager.yml; rules takes Prometheus rule files. Errors name file,\n"
    "line and column. Exit code 1 if a file is broken, 3 if only some are.\n",
    NULL, 0, run,
};
