/* main/store_backup_cmd.c - `galen store snapshot|backup|restore`. */
#include "main/store_cmd.h"
#include "base/file.h"
#include "store/snapshot.h"
#include <stdio.h>

typedef struct backup_options { const char *data; bool blocks_only; } backup_options;

static int one_argument(const verb *v, int argc, char **argv, backup_options *o, const char **ret)
{
    char **args;
    int n, code = options_parse(v, argc, argv, o, &args, &n);
    if (code >= 0)
        return code;
    if (n != 1) {
        fprintf(stderr, "galen: `galen %s` needs one folder\nHint: `galen %s --help` shows examples.\n", v->name, v->name);
        return EXIT_USAGE;
    }
    *ret = args[0];
    return -1;
}

static int run_snapshot(int argc, char **argv)
{
    backup_options o = { .data = "./galen-data" };
    const char *dir;
    store *s;
    err e = { 0 };
    int code = one_argument(&verb_store_snapshot, argc, argv, &o, &dir);
    if (code >= 0 || (code = store_cmd_open(o.data, false, &s)))
        return code;
    code = store_snapshot(s, dir, o.blocks_only, &e) ? EXIT_FAILED : EXIT_DONE;
    if (code)
        err_print(&e);
    else
        printf("%s\n", dir);
    return store_cmd_close(s, code);
}

static int run_backup(int argc, char **argv)
{
    backup_options o = { .data = "./galen-data" };
    backup_receipt told;
    const char *dir;
    store *s;
    err e = { 0 };
    int code = one_argument(&verb_store_backup, argc, argv, &o, &dir);
    if (code >= 0 || (code = store_cmd_open(o.data, false, &s)))
        return code;
    code = store_backup(s, dir, &told, &e) ? EXIT_FAILED : EXIT_DONE;
    if (code)
        err_print(&e);
    else
        printf("backed up %" PRIu64 " files, %" PRIu64 " bytes; every checksum was read back\n", told.files, told.bytes);
    return store_cmd_close(s, code);
}

/* What was restored is opened once, so that a backup which galen cannot read is found out here. */
static int try_open(const char *data)
{
    store *s;
    int code = store_cmd_open(data, false, &s);
    if (code)
        return code;
    store_stats st = store_stats_get(s);
    printf("it holds %" PRIu64 " blocks and %" PRIu64 " series in the head\n", st.blocks, st.head_series);
    return store_cmd_close(s, EXIT_DONE);
}

static int run_restore(int argc, char **argv)
{
    backup_options o = { .data = "./galen-data" };
    backup_receipt told;
    const char *dir;
    char to[FILE_PATH_MAX];
    err e = { 0 };
    int code = one_argument(&verb_store_restore, argc, argv, &o, &dir);
    if (code >= 0)
        return code;
    if (file_join(to, o.data, "store", &e) || file_make_dirs(o.data, 0700, &e) || backup_restore(dir, to, &told, &e))
        return err_print(&e), EXIT_FAILED;
    printf("restored %" PRIu64 " files, %" PRIu64 " bytes to \"%s\"; every checksum holds\n", told.files, told.bytes, to);
    return try_open(o.data);
}

#define DATA_OPTION { "data", OPTION_TEXT, offsetof(backup_options, data), "DIR", "galen's data folder (default ./galen-data)" }

static const option_row snapshot_options[] = {
    DATA_OPTION,
    { "blocks-only", OPTION_SWITCH, offsetof(backup_options, blocks_only), NULL, "leave the log out: what is not in blocks yet is not in the snapshot" },
};
static const option_row backup_rows[] = { DATA_OPTION };

const verb verb_store_snapshot = {
    .name = "store snapshot", .summary = "Take the samples of this moment as a store of its own.", .usage = "galen store snapshot [flags] DIR",
    .more = "Works beside a running galen. DIR must not exist. Files that never change are linked, so it takes a moment and hardly any room\n"
            "where DIR is on the same file system. To ask it: make it the folder `store` of a data folder.\n\nExample:\n"
            "  mkdir then && galen store snapshot then/store && galen query --data then 'up'\n",
    .options = snapshot_options, .option_count = COUNT_OF(snapshot_options), .run = run_snapshot,
};
const verb verb_store_backup = {
    .name = "store backup", .summary = "Copy the samples of this moment, with checksums.", .usage = "galen store backup [flags] DIR",
    .more = "Works beside a running galen. DIR must not exist. Its MANIFEST is what `b2sum --check` understands.\n\nExample:\n"
            "  galen store backup /mnt/backup/galen-$(date +%F)\n",
    .options = backup_rows, .option_count = COUNT_OF(backup_rows), .run = run_backup,
};
const verb verb_store_restore = {
    .name = "store restore", .summary = "Check a backup and make it the store of a data folder.", .usage = "galen store restore [flags] DIR",
    .more = "The data folder must have no store yet. Every checksum is verified, before and after copying; then it is opened once.\n\nExample:\n"
            "  galen store restore --data ./galen-data /mnt/backup/galen-2026-11-21\n",
    .options = backup_rows, .option_count = COUNT_OF(backup_rows), .run = run_restore,
};
