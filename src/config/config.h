/* config/config.h - the room's door: one YAML file, read into one immutable generation.
 *
 * A file becomes a tree of yaml_node with a place (line, column) on every node; each room binds its own
 * section to a C struct with a table of fields, so that an unknown key is refused by name ("did you mean
 * …"), a wrong type says what it wants, and the handbook's tables are compared with the very same one.
 *
 * YAML: libyaml (as go-yaml, which Prometheus uses, is a port of it). On top: duplicate keys are an error,
 * aliases are expanded within CONFIG_MAX_NODES, yes/no/on/off are strings unless a bool is asked for. */
#pragma once
#include "base/base.h"

#define CONFIG_MAX_BYTES (16u << 20)
#define CONFIG_MAX_NODES 2000000u
#define CONFIG_MAX_DEPTH 64
#define FILENAME_MAX_CONFIG 1024

typedef enum yaml_kind { YAML_NULL, YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING } yaml_kind;
typedef struct yaml_node yaml_node;
struct yaml_node {
    yaml_kind kind;
    bool quoted;                      /* a scalar in quotes: never a bool, number or null */
    uint32_t line, column;            /* 1-based */
    str text;                         /* scalar */
    yaml_node **items; size_t len;    /* sequence: items; mapping: values, with … */
    yaml_node **keys;                 /* … their keys (scalars), in file order */
};
typedef struct yaml_doc {
    arena arena;
    char file[160];                   /* for messages */
    yaml_node *root;                  /* YAML_NULL node for an empty file */
} yaml_doc;

/* Parse text (name is for messages). ERR_PARSE with file, line, column. *ret is yours: yaml_doc_free. */
err_kind yaml_parse(str text, const char *name, yaml_doc **ret, err *e);
err_kind yaml_load(const char *path, yaml_doc **ret, err *e);
void yaml_doc_free(yaml_doc *doc);
void yaml_doc_freep(yaml_doc **doc);
const yaml_node *yaml_get(const yaml_node *mapping, const char *key);   /* NULL if absent or not a mapping */
/* The same for equal YAML, whatever its comments and layout. */
uint64_t yaml_fingerprint(const yaml_node *n, uint64_t seed);
/* The document as it may be shown to anybody: passwords, tokens and keys are "<secret>", passwords in URLs "xxxxx"; comments
 * are gone, the order stays, and reading it again gives the same tree but for the secrets. Failure is out's sticky one. */
void yaml_write_shown(const yaml_doc *doc, buf *out);
/* An error at this node: file and place filled in. */
err_kind yaml_error(const yaml_doc *doc, const yaml_node *at, err *e, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* ---- binding a mapping to a struct ---- */
typedef enum config_type {
    CONFIG_STR,        /* str */
    CONFIG_CSTR,       /* char *; NULL if absent */
    CONFIG_BOOL,       /* bool */
    CONFIG_INT,        /* int64_t, within min..max when max > min */
    CONFIG_DOUBLE,     /* double */
    CONFIG_DURATION,   /* int64_t milliseconds: "30s" */
    CONFIG_SIZE,       /* int64_t bytes: "64MB", "1GiB" */
    CONFIG_STR_LIST,   /* config_strs: a sequence of scalars (one scalar counts as a list of one) */
    CONFIG_STR_MAP,    /* config_pairs: a mapping of scalars, in file order */
    CONFIG_NODE,       /* const yaml_node *: bound by the room itself; NULL if absent */
    CONFIG_IGNORED,    /* known upstream and accepted, without effect so far; nothing is written */
} config_type;
typedef struct config_strs { str *at; size_t len; } config_strs;
typedef struct config_pair { str key, value; } config_pair;
typedef struct config_pairs { config_pair *at; size_t len; } config_pairs;

typedef struct config_field {
    const char *key;
    config_type type;
    size_t offset;              /* offsetof in the target struct */
    bool required;
    const char *preset;         /* default as it would be written in YAML; NULL leaves the zeroed field alone */
    int64_t min, max;           /* for numbers, durations, sizes; ignored when max <= min */
    const char *help;           /* one line for docs and hints */
} config_field;

/* Fill *target (zeroed first is the caller's business) from `mapping` (NULL = absent: presets only).
 * Strings are copied into `a`. Errors: unknown key with suggestion, wrong type, out of range, missing. */
err_kind config_bind(const yaml_doc *doc, const yaml_node *mapping, const config_field *fields, size_t n,
                     void *target, arena *a, err *e);

/* Is what was bound to `command` of `mapping` a program and its arguments? A shell line is refused, with a hint. */
err_kind config_check_argv(const yaml_doc *doc, const yaml_node *mapping, const config_strs *command, err *e);

/* Single values, for nodes bound by hand. Each error names the place and what was wanted. */
err_kind config_str(const yaml_doc *doc, const yaml_node *n, arena *a, str *ret, err *e);
err_kind config_duration(const yaml_doc *doc, const yaml_node *n, int64_t *ret_ms, err *e);
err_kind config_double(const yaml_doc *doc, const yaml_node *n, double *ret, err *e);
err_kind config_sequence(const yaml_doc *doc, const yaml_node *n, const char *what, err *e); /* NULL is fine */
err_kind config_mapping(const yaml_doc *doc, const yaml_node *n, const char *what, err *e);

/* Where a word is not one of the allowed: `unknown key "recieve"` and hint `Did you mean "receive"?`. */
err_kind config_unknown(const yaml_doc *doc, const yaml_node *at, const char *what, str got,
                        const char *const *allowed, size_t n, err *e);

/* ---- the whole file ---- */
typedef struct config {
    yaml_doc *doc;              /* owns every node below; NULL if there is no file */
    char path[FILENAME_MAX_CONFIG];
    char dir[FILENAME_MAX_CONFIG]; /* relative paths in the file are relative to it */
    const yaml_node *watch, *store, *query, *alert, *diagnose, *heal, *audit, *gateway, *secure, *trace, *cost, *twin, *face;
} config;

/* Read galen.yml, refuse unknown sections. path NULL: an empty configuration. */
err_kind config_load(const char *path, config **ret, err *e);
void config_free(config *c);
void config_freep(config **c);
/* `name` relative to the configuration's folder (absolute names as they are) into out. */
err_kind config_path(const config *c, str name, char *out, size_t cap, err *e);
