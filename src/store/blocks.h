/* store/blocks.h - the blocks of one folder: found at open, shown when written, gone when replaced or too old.
 *
 *   blocks/00000007.block              7 wins over lower numbers where both have a sample at one time
 *   blocks/00000007.tombstones         what is deleted of it
 *   blocks/00000003.block.damaged      could not be read; kept for a look, nobody opens it
 *
 * A set is guarded by the store's blocks_lock; blocks themselves are counted, so who holds one reads on when it is gone.
 * Files are removed after readers do not find them any more. A block says in its footer what it replaces, and whoever
 * opens the folder after a crash in between removes that. */
#pragma once
#include "store/inside.h"

/* A number of its own for a block that is going to be written, and the path it will have. Numbers are given when the
 * writing starts: what comes in meanwhile is newer and wins. */
CHECKED err_kind blocks_begin(store *s, block_set *set, char path[FILE_PATH_MAX], uint32_t *ret_number, err *e);
/* The block was written: readers see it from now on, and no more what it replaces, whose files go. On an error the file
 * stays. */
CHECKED err_kind blocks_show(store *s, block_set *set, const char *path, uint32_t number, err *e);
/* The block at this path has other tombstones now: readers from now on see them. */
CHECKED err_kind blocks_reopen(store *s, block_set *set, const block *b, err *e);
/* Take blocks out of the set and remove their files; one that is damaged is put aside instead. */
CHECKED err_kind blocks_remove(store *s, block_set *set, block *const *gone, size_t n, err *e);

/* At open, before there are threads. A file that is no block any more is put aside and told, the others answer; in a
 * read-only store nothing is moved. ERR_NOMEM, and errors of the folder itself. */
CHECKED err_kind blocks_load(store *s, block_set *set, store_recovery *told, err *e);
void blocks_done(block_set *set);

/* All of them now, each counted: blocks_let_go. */
typedef vec(block *) block_vec;
CHECKED err_kind blocks_hold(store *s, block_set *set, block_vec *ret, err *e);
void blocks_let_go(block_vec *v);
uint64_t blocks_bytes(store *s, const block_set *set);
