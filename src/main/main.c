/* main/main.c - the verbs. What they wire together is in serve.c; the rest are offline tools over the same rooms. */
#include "main/options.h"
#include <curl/curl.h>
#include <sodium.h>
#include <stdio.h>

static const verb *const verbs[] = { &verb_serve, &verb_check, &verb_query, &verb_store, &verb_audit };

static void help(void)
{
    printf("galen watches, diagnoses and heals LLM inference services.\n\n"
           "Usage: galen VERB [flags] [arguments]\n\nVerbs:\n");
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        printf("  %-9s %s\n", verbs[i]->name, verbs[i]->summary);
    printf("  %-9s %s\n  %-9s %s\n", "version", "Print the version.", "help", "Explain a verb: galen help VERB.");
    printf("\nStart with `galen serve` and open http://127.0.0.1:9600.\n"
           "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done in part.\n");
}

static const verb *find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    return NULL;
}

static int unknown_verb(const char *name)
{
    fprintf(stderr, "galen: unknown verb \"%s\"\n", name);
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        if (str_distance(str_from(name), str_from(verbs[i]->name), 2) <= 2)
            fprintf(stderr, "Hint: Did you mean \"galen %s\"?\n", verbs[i]->name);
    fprintf(stderr, "Hint: `galen help` lists the verbs.\n");
    return EXIT_USAGE;
}

static int print_version(void)
{
    printf("galen %s\n", GALEN_VERSION);
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "help";
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0)
        return print_version();
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        const verb *v = argc > 2 ? find(argv[2]) : NULL;
        if (argc > 2 && !v)
            return unknown_verb(argv[2]);
        if (v)
            options_help(v);
        else
            help();
        return argc > 1 ? EXIT_DONE : EXIT_USAGE;
    }
    const verb *v = find(name);
    if (!v)
        return unknown_verb(name);
    if (sodium_init() < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        fprintf(stderr, "galen: could not initialise libsodium and libcurl\n");
        return EXIT_FAILED;
    }
    int code = v->run(argc - 1, argv + 1);
    curl_global_cleanup();
    return code;
}
