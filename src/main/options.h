/* main/options.h - command lines: one table of flags a verb, shared by the parser and --help.
 *
 * Flags are --name value or --name=value; a flag that is a switch takes no value. What is left over are the
 * arguments. Unknown flags are refused with a suggestion (exit code 2, ERR_INVALID). */
#pragma once
#include "base/base.h"

typedef enum option_type { OPTION_TEXT, OPTION_SWITCH, OPTION_DURATION, OPTION_ON_OFF, OPTION_COUNT } option_type;
typedef struct option_row {
    const char *name;     /* "data", without dashes */
    option_type type;     /* const char *, bool, int64_t ms, bool, int64_t */
    size_t offset;        /* into the verb's options struct */
    const char *value;    /* "DIR": how --help calls the value */
    const char *help;
} option_row;

typedef struct verb verb;
struct verb {
    const char *name, *summary;
    const char *usage;    /* "galen query [flags] EXPR" */
    const char *more;     /* examples and advice for --help */
    const option_row *options; size_t option_count;
    int (*run)(int argc, char **argv);   /* argv[0] is the verb */
    const verb *const *parts; size_t part_count;   /* `galen store info`: verbs under a verb, their names "store info" */
};

/* Exit codes (design: what they mean is a contract). */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_PARTLY = 3 };

/* Fill *target and the arguments that are left (*ret_args points into argv). Returns -1 to go on, or the exit code
 * after --help or a mistake was answered. */
int options_parse(const verb *v, int argc, char **argv, void *target, char ***ret_args, int *ret_arg_count);
void options_help(const verb *v);
/* Run the part that argv[1] names. */
int options_run_part(const verb *v, int argc, char **argv);
/* Prometheus's name for "a counter's start becomes a sample of value 0". */
#define FEATURE_CREATED_ZEROS "created-timestamp-zero-ingestion"
/* "a,b" of --enable-feature, Prometheus's names, as promql_feature bits; NULL: none. One that is not known is only warned
 * about, since Prometheus has features that mean nothing here and its command lines should work. */
unsigned features_parse(const char *list);
/* RFC 3339 or Unix seconds; NULL gives `otherwise`. False: neither. */
bool options_time(const char *text, int64_t otherwise, int64_t *ret);

extern const verb verb_serve, verb_check, verb_query, verb_store, verb_audit;
