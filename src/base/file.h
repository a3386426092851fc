/* base/file.h - files and folders, whole operations with sentences for errors.
 *
 * Every write-like call (write, fsync, rename, ftruncate) passes base/mem.h's fault_write, so the write
 * paths of store and audit can be tested against EIO, ENOSPC and short writes. Paths are C strings. */
#pragma once
#include "base/base.h"

#define FILE_PATH_MAX 4096

err_kind file_read(const char *path, buf *out, err *e);              /* appends; ERR_LIMIT beyond out->max */
/* Write beside, fsync, rename over, fsync the folder: after a crash the old or the new content stands. */
err_kind file_write_atomic(const char *path, str content, unsigned mode, err *e);
/* All bytes or an error; on a short write retries the rest, so "short" alone never fails. */
err_kind file_write_all(int fd, const void *bytes, size_t n, const char *path, err *e);
err_kind file_sync(int fd, const char *path, err *e);                /* fdatasync */
err_kind file_sync_dir(const char *path, err *e);
err_kind file_truncate(int fd, uint64_t size, const char *path, err *e);
err_kind file_rename(const char *from, const char *to, err *e);
err_kind file_remove(const char *path, err *e);                      /* OK if it was not there */
err_kind file_remove_tree(const char *path, err *e);
err_kind file_make_dirs(const char *path, unsigned mode, err *e);    /* mkdir -p */
bool file_exists(const char *path);
/* "dir/name" into out (FILE_PATH_MAX). ERR_LIMIT if it does not fit. */
err_kind file_join(char out[FILE_PATH_MAX], const char *dir, const char *name, err *e);
/* Names in a folder, sorted bytewise, without . and ..; strings live in `a`. */
err_kind file_list(const char *dir, arena *a, str **ret_names, size_t *ret_n, err *e);
/* Small pseudo-files of /proc and /sys: one open/read/close into a caller's buffer, NUL-terminated. */
err_kind file_read_small(const char *path, char *out, size_t cap, size_t *ret_len, err *e);
/* An exclusive flock on `path` (created 0600), held until *ret_fd is closed. ERR_CONFLICT: somebody has it. */
err_kind file_lock(const char *path, int *ret_fd, err *e);
/* Call before a child is started: it inherits what it is given as 0, 1 and 2 and nothing else. libcurl's sockets do
 * not close on exec by themselves; an engine that held one would keep the connection open after galen has closed it. */
void file_inherit_nothing(void);
