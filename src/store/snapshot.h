/* store/snapshot.h - a store's files, at one moment, as a store of its own; and the same as a backup that can be checked.
 *
 * A backup is a snapshot without links, with a file MANIFEST: for every file a line `BLAKE2b-256  path`, as b2sum writes
 * it, so `b2sum --check MANIFEST` proves one without galen. */
#pragma once
#include "store/inside.h"

#define SNAPSHOT_MANIFEST "MANIFEST"

/* store_snapshot's work; `copy`: no links. `finish` (may be NULL) sees the whole before it gets its name. */
CHECKED err_kind snapshot_to(store *s, const char *dir, bool skip_head, bool copy, err_kind (*finish)(const char *temp, err *e), err *e);
/* A file's bytes, synced. `to` must not exist. */
CHECKED err_kind snapshot_copy(const char *from, const char *to, err *e);

typedef struct backup_receipt { uint64_t files, bytes; } backup_receipt;
/* ERR_EXISTS: `dir` is there. On an error nothing is left behind. */
CHECKED err_kind store_backup(store *s, const char *dir, backup_receipt *ret, err *e);
/* Does each file say what the MANIFEST says? ERR_CORRUPT names the first that does not, or that is missing or extra. */
CHECKED err_kind backup_verify(const char *dir, backup_receipt *ret, err *e);
/* Verify, then copy to `store_dir` (must not exist), verifying what was written. */
CHECKED err_kind backup_restore(const char *dir, const char *store_dir, backup_receipt *ret, err *e);
