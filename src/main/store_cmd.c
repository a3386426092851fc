/* main/store_cmd.c - `galen store VERB`: look at, move and mend what is stored, offline. */
#include "main/store_cmd.h"
#include "base/file.h"
#include "query/query.h"
#include <stdio.h>

#define SELECTORS_MAX_BYTES (1u << 20)

int store_cmd_open(const char *data, bool write, store **ret)
{
    char dir[FILE_PATH_MAX];
    store_recovery recovery = { 0 };
    err e = { 0 };
    err_kind k = file_join(dir, data, "store", &e);
    store_options o = { .dir = dir, .read_only = !write, .retention_ms = STORE_CMD_ALWAYS_MS };
    if (!k)
        k = store_open(&o, ret, &recovery, &e);
    if (k) {
        if (k == ERR_NOT_FOUND)
            err_hint(&e, "Name galen's data folder with --data DIR.");
        err_print(&e);
        return EXIT_FAILED;
    }
    if (recovery.note[0])
        fprintf(stderr, "galen: %s\n", recovery.note);
    return 0;
}

int store_cmd_close(store *s, int code)
{
    err e = { 0 };
    if (!store_close(s, &e))
        return code;
    err_print(&e);
    return EXIT_FAILED;
}

bool store_cmd_parse_sets(char **args, int n, store_cmd_sets *ret)
{
    *ret = (store_cmd_sets){ .arena = ARENA_INIT(SELECTORS_MAX_BYTES) };
    for (int i = 0; i < n; i++) {
        err e = { 0 };
        matcher *at;
        matcher_set set = { 0 };
        err_kind k = promql_parse_selector(str_from(args[i]), &ret->arena, &at, &set.len, &e);
        set.at = at;
        if (!k && vec_push(&ret->sets, set)) {
            promql_selector_done(at, set.len);
            k = err_nomem(&e);
        }
        if (k) {
            err_context(&e, "\"%s\" is no selector", args[i]);
            err_print(&e);
            store_cmd_sets_done(ret);
            return false;
        }
    }
    return true;
}

void store_cmd_sets_done(store_cmd_sets *s)
{
    for (size_t i = 0; i < s->sets.len; i++)
        promql_selector_done((matcher *)s->sets.at[i].at, s->sets.at[i].len);
    vec_done(&s->sets);
    arena_done(&s->arena);
}

static const verb *const parts[] = { &verb_store_info,   &verb_store_verify,   &verb_store_repair, &verb_store_export,
                                    &verb_store_import, &verb_store_snapshot, &verb_store_backup, &verb_store_restore,
                                    &verb_store_delete, &verb_store_clean };

static int run(int argc, char **argv) { return options_run_part(&verb_store, argc, argv); }

const verb verb_store = {
    .name = "store", .summary = "Look at, move, mend and back up what is stored.", .usage = "galen store VERB [flags] [arguments]",
    .more = "`galen store VERB --help` explains one. What only reads works beside a running galen; what writes needs it stopped.\n",
    .run = run, .parts = parts, .part_count = COUNT_OF(parts),
};
