/* store/verify.h - is what lies on disk what was written? And if not: keep all that can be read.
 *
 * Works on the files themselves, not on an open store, so that damage which keeps a store from opening is found too.
 * Verifying only reads and may run beside a galen, whose blocks may go meanwhile: those are left out. */
#pragma once
#include "store/block.h"

typedef struct verify_report {
    uint64_t blocks, series, pages, samples;  /* read and found right */
    uint64_t log_files, log_records;
    uint64_t damaged_files, damaged_pages;
    uint64_t notes;                           /* told, but no damage: a log that ends in the middle of a record */
} verify_report;

/* Each trouble once: the file's path, a sentence, whether it is damage. */
typedef void (*verify_tell)(void *ctx, const char *path, const char *what, bool damage);

/* Every checksum, every sample, every posting of the store in `dir`. Damage is no error but told and counted.
 * ERR_NOT_FOUND: there is no store; ERR_IO, ERR_NOMEM. */
CHECKED err_kind store_verify(const char *dir, verify_tell tell, void *ctx, verify_report *ret, err *e);

typedef struct repair_report {
    uint64_t rewritten;        /* blocks of which what can be read was written anew */
    uint64_t set_aside;        /* files renamed: NAME.damaged */
    uint64_t lost_pages, lost_samples; /* of blocks whose index can be read */
} repair_report;

/* Damaged blocks: what can be read goes into a new block, the old file is set aside under BLOCK_DAMAGED_SUFFIX; without a
 * readable index it is only set aside. The log needs no repair: opening a store for writing cuts it. No galen may run. */
CHECKED err_kind store_repair(const char *dir, verify_tell tell, void *ctx, repair_report *ret, err *e);
