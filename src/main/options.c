#include "main/options.h"
#include <stdio.h>

void options_help(const verb *v)
{
    printf("%s\n\nUsage: %s\n", v->summary, v->usage);
    if (v->part_count)
        printf("\nVerbs:\n");
    for (size_t i = 0; i < v->part_count; i++)
        printf("  %-16s %s\n", v->parts[i]->name, v->parts[i]->summary);
    if (v->option_count)
        printf("\nFlags:\n");
    for (size_t i = 0; i < v->option_count; i++) {
        char flag[64];
        const option_row *o = &v->options[i];
        snprintf(flag, sizeof flag, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        printf("  %-34s %s\n", flag, o->help);
    }
    if (v->more)
        printf("\n%s", v->more);
}

static const option_row *find(const verb *v, str name)
{
    for (size_t i = 0; i < v->option_count; i++)
        if (str_is(name, v->options[i].name))
            return &v->options[i];
    return NULL;
}

static int usage(const verb *v, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int usage(const verb *v, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "galen: ");
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\nHint: `galen %s --help` lists the flags.\n", v->name);
    va_end(args);
    return EXIT_USAGE;
}

static int unknown(const verb *v, str name)
{
    const char *best = NULL;
    unsigned best_distance = 4;
    for (size_t i = 0; i < v->option_count; i++) {
        unsigned d = str_distance(name, str_from(v->options[i].name), best_distance);
        if (d < best_distance) {
            best_distance = d;
            best = v->options[i].name;
        }
    }
    if (!best)
        return usage(v, "unknown flag \"--%" STR_FMT "\"", STR_ARG(name));
    return usage(v, "unknown flag \"--%" STR_FMT "\", did you mean \"--%s\"?", STR_ARG(name), best);
}

static int set(const verb *v, const option_row *o, const char *value, void *target)
{
    void *at = (char *)target + o->offset;
    str text = str_from(value);
    switch (o->type) {
    case OPTION_TEXT: *(const char **)at = value; return -1;
    case OPTION_SWITCH: *(bool *)at = true; return -1;
    case OPTION_DURATION:
        return clock_parse_duration(text, at) ? -1 : usage(v, "--%s: \"%s\" is not a duration such as 15s or 15d", o->name, value);
    case OPTION_ON_OFF:
        if (!str_is(text, "on") && !str_is(text, "off"))
            return usage(v, "--%s is either on or off, not \"%s\"", o->name, value);
        *(bool *)at = str_is(text, "on");
        return -1;
    case OPTION_COUNT:
        return str_to_i64(text, at) && *(int64_t *)at >= 0 ? -1 : usage(v, "--%s: \"%s\" is not a number", o->name, value);
    }
    return -1;
}

bool options_time(const char *text, int64_t otherwise, int64_t *ret)
{
    double seconds;
    if (!text)
        return *ret = otherwise, true;
    if (str_to_double(str_from(text), &seconds) && seconds > -9e12 && seconds < 9e12)
        return *ret = (int64_t)(seconds * 1000), true;
    return clock_parse_iso(str_from(text), ret);
}

/* "info" of "store info". */
static const char *part_name(const verb *part)
{
    const char *space = strrchr(part->name, ' ');
    return space ? space + 1 : part->name;
}

int options_run_part(const verb *v, int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "--help";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return options_help(v), argc > 1 ? EXIT_DONE : EXIT_USAGE;
    for (size_t i = 0; i < v->part_count; i++)
        if (strcmp(name, part_name(v->parts[i])) == 0)
            return v->parts[i]->run(argc - 1, argv + 1);
    fprintf(stderr, "galen: unknown verb \"%s %s\"\n", v->name, name);
    for (size_t i = 0; i < v->part_count; i++)
        if (str_distance(str_from(name), str_from(part_name(v->parts[i])), 2) <= 2)
            fprintf(stderr, "Hint: Did you mean \"galen %s\"?\n", v->parts[i]->name);
    fprintf(stderr, "Hint: `galen %s --help` lists the verbs.\n", v->name);
    return EXIT_USAGE;
}

int options_parse(const verb *v, int argc, char **argv, void *target, char ***ret_args, int *ret_arg_count)
{
    int kept = 1; /* arguments move to the front, behind the verb */
    bool only_args = false;
    for (int i = 1; i < argc; i++) {
        str word = str_from(argv[i]);
        if (only_args || word.len < 2 || word.ptr[0] != '-') {
            argv[kept++] = argv[i];
            continue;
        }
        if (str_is(word, "--")) {
            only_args = true;
            continue;
        }
        if (str_is(word, "--help") || str_is(word, "-h"))
            return options_help(v), EXIT_DONE;
        str name = str_skip(word, str_starts(word, STR("--")) ? 2 : 1);
        ptrdiff_t equals = str_find_char(name, '=');
        const char *value = equals >= 0 ? name.ptr + equals + 1 : NULL;
        if (equals >= 0)
            name.len = (size_t)equals;
        const option_row *o = find(v, name);
        if (!o)
            return unknown(v, name);
        if (!value && o->type != OPTION_SWITCH) {
            if (i + 1 == argc)
                return usage(v, "--%s needs a value", o->name);
            value = argv[++i];
        }
        int code = set(v, o, value, target);
        if (code >= 0)
            return code;
    }
    *ret_args = argv + 1;
    *ret_arg_count = kept - 1;
    return -1;
}
