/* main/store_cmd.h - what the verbs of `galen store` share. */
#pragma once
#include "main/options.h"
#include "store/store.h"

extern const verb verb_store_info, verb_store_verify, verb_store_repair, verb_store_export, verb_store_import, verb_store_snapshot, verb_store_backup, verb_store_restore,
                  verb_store_delete, verb_store_clean;

/* DATA/store, opened; what recovery found out is told on stderr. `write` takes the LOCK, so no galen may run on it. Nothing
 * is expired: how long samples are kept is for `galen serve` to say. On an error it is told and the exit code returned;
 * 0 otherwise. */
int store_cmd_open(const char *data, bool write, store **ret);
/* Close it; the exit code if that fails, else `code`. */
int store_cmd_close(store *s, int code);

/* Selectors of the command line, up{job="x"} …; none: everything. */
typedef struct store_cmd_sets {
    arena arena;
    vec(matcher_set) sets;
} store_cmd_sets;
/* Told on stderr when false. */
bool store_cmd_parse_sets(char **args, int n, store_cmd_sets *ret);
void store_cmd_sets_done(store_cmd_sets *s);

#define STORE_CMD_ALWAYS_MS (INT64_C(1) << 53)   /* a time beyond all samples */
