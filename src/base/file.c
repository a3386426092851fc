#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

err_kind file_read(const char *path, buf *out, err *e)
{
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, errno, "could not open \"%s\"", path);
    for (;;) {
        char chunk[65536];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, errno, "could not read \"%s\"", path);
        if (n == 0)
            return OK;
        if (buf_append_bytes(out, chunk, (size_t)n) == ERR_LIMIT)
            return err_set(e, ERR_LIMIT, "could not read \"%s\": larger than %zu bytes", path, out->max);
        if (buf_failed(out))
            return err_nomem(e);
    }
}

/* write(2) with the fault injector in front: a short write passes on half of the bytes. */
static ssize_t faulty_write(int fd, const void *bytes, size_t n)
{
    fault_write_kind how;
    if (fault_write_due(&how)) {
        if (how != FAULT_SHORT_WRITE)
            return errno = how == FAULT_ENOSPC ? ENOSPC : EIO, -1;
        ssize_t half = n > 1 ? write(fd, bytes, n / 2) : 0;
        return half < 0 ? half : (errno = ENOSPC, -2); /* -2: some bytes landed, then the disk was full */
    }
    return write(fd, bytes, n);
}

static bool faulty_call(void)
{
    fault_write_kind how;
    if (!fault_write_due(&how))
        return false;
    errno = how == FAULT_ENOSPC ? ENOSPC : EIO;
    return true;
}

err_kind file_write_all(int fd, const void *bytes, size_t n, const char *path, err *e)
{
    for (const char *p = bytes; n > 0;) {
        ssize_t written = faulty_write(fd, p, n);
        if (written == -1 && errno == EINTR)
            continue;
        if (written < 0)
            return err_sys(e, errno, "could not write \"%s\"", path);
        p += written;
        n -= (size_t)written;
    }
    return OK;
}

err_kind file_sync(int fd, const char *path, err *e)
{
    if (faulty_call() || fdatasync(fd) != 0)
        return err_sys(e, errno, "could not sync \"%s\"", path);
    return OK;
}

err_kind file_sync_dir(const char *path, err *e)
{
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || faulty_call() || fsync(fd) != 0)
        return err_sys(e, errno, "could not sync folder \"%s\"", path);
    return OK;
}

err_kind file_truncate(int fd, uint64_t size, const char *path, err *e)
{
    if (faulty_call() || ftruncate(fd, (off_t)size) != 0)
        return err_sys(e, errno, "could not cut \"%s\" to %" PRIu64 " bytes", path, size);
    return OK;
}

err_kind file_rename(const char *from, const char *to, err *e)
{
    if (faulty_call() || rename(from, to) != 0)
        return err_sys(e, errno, "could not rename \"%s\" to \"%s\"", from, to);
    return OK;
}

/* The folder part of a path, "." if there is none. */
static void parent_of(const char *path, char out[FILE_PATH_MAX])
{
    str_copy(out, FILE_PATH_MAX, str_from(path));
    char *slash = strrchr(out, '/');
    if (!slash)
        memcpy(out, ".", 2);
    else if (slash == out)
        slash[1] = '\0';
    else
        *slash = '\0';
}

static err_kind write_temp(const char *temp, str content, unsigned mode, err *e)
{
    AUTO(close_fd) int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0)
        return err_sys(e, errno, "could not create \"%s\"", temp);
    if (file_write_all(fd, content.ptr, content.len, temp, e) || file_sync(fd, temp, e))
        return e ? e->kind : ERR_IO;
    return OK;
}

err_kind file_write_atomic(const char *path, str content, unsigned mode, err *e)
{
    char temp[FILE_PATH_MAX], parent[FILE_PATH_MAX];
    err local;
    if (!e)
        e = &local;
    if (snprintf(temp, sizeof temp, "%s.tmp", path) >= (int)sizeof temp)
        return err_set(e, ERR_LIMIT, "path too long: \"%s\"", path);
    parent_of(path, parent);
    if (write_temp(temp, content, mode, e) || file_rename(temp, path, e)) {
        unlink(temp);
        return e->kind;
    }
    return file_sync_dir(parent, e);
}

err_kind file_remove(const char *path, err *e)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return err_sys(e, errno, "could not remove \"%s\"", path);
    return OK;
}

err_kind file_remove_tree(const char *path, err *e)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? OK : err_sys(e, errno, "could not look at \"%s\"", path);
    if (!S_ISDIR(st.st_mode))
        return file_remove(path, e);
    AUTO(arena_done) arena a = ARENA_INIT(64u << 20);
    str *names;
    size_t n;
    if (file_list(path, &a, &names, &n, e))
        return e ? e->kind : ERR_IO;
    for (size_t i = 0; i < n; i++) {
        char child[FILE_PATH_MAX];
        err_kind k = file_join(child, path, names[i].ptr, e);
        if (k || (k = file_remove_tree(child, e)))
            return k;
    }
    return rmdir(path) == 0 ? OK : err_sys(e, errno, "could not remove folder \"%s\"", path);
}

err_kind file_make_dirs(const char *path, unsigned mode, err *e)
{
    char part[FILE_PATH_MAX];
    str_copy(part, sizeof part, str_from(path));
    for (char *p = part + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        bool last = *p == '\0';
        *p = '\0';
        if (mkdir(part, mode) != 0 && errno != EEXIST)
            return err_sys(e, errno, "could not create folder \"%s\"", part);
        if (last)
            break;
        *p = '/';
    }
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return err_set(e, ERR_EXISTS, "could not create folder \"%s\": something else has that name", path);
    return OK;
}

bool file_exists(const char *path) { return access(path, F_OK) == 0; }

err_kind file_join(char out[FILE_PATH_MAX], const char *dir, const char *name, err *e)
{
    if (snprintf(out, FILE_PATH_MAX, "%s/%s", dir, name) >= FILE_PATH_MAX)
        return err_set(e, ERR_LIMIT, "path too long: \"%.100s…/%.100s\"", dir, name);
    return OK;
}

static int by_name(const void *a, const void *b) { return str_cmp(*(const str *)a, *(const str *)b); }

static void close_dir(DIR **d)
{
    if (*d)
        closedir(*d);
}

err_kind file_list(const char *dir, arena *a, str **ret_names, size_t *ret_n, err *e)
{
    AUTO(close_dir) DIR *d = opendir(dir);
    if (!d)
        return err_sys(e, errno, "could not list folder \"%s\"", dir);
    vec(str) names = { 0 };
    for (struct dirent *entry; (entry = readdir(d));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        str name = arena_str(a, str_from(entry->d_name));
        if (!name.ptr || vec_push(&names, name)) {
            vec_done(&names);
            return err_nomem(e);
        }
    }
    if (names.len)
        qsort(names.at, names.len, sizeof *names.at, by_name);
    str *copy = arena_dup(a, names.at, names.len * sizeof *names.at);
    *ret_n = names.len;
    vec_done(&names);
    if (!copy)
        return err_nomem(e);
    *ret_names = copy;
    return OK;
}

err_kind file_read_small(const char *path, char *out, size_t cap, size_t *ret_len, err *e)
{
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, errno, "could not open \"%s\"", path);
    size_t len = 0;
    while (len < cap - 1) {
        ssize_t n = read(fd, out + len, cap - 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, errno, "could not read \"%s\"", path);
        if (n == 0)
            break;
        len += (size_t)n;
    }
    out[len] = '\0';
    if (ret_len)
        *ret_len = len;
    return OK;
}

err_kind file_lock(const char *path, int *ret_fd, err *e)
{
    AUTO(close_fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(e, errno, "could not open \"%s\"", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return err_set(e, ERR_CONFLICT, "could not lock \"%s\": another process holds it", path);
        return err_sys(e, errno, "could not lock \"%s\"", path);
    }
    *ret_fd = fd;
    fd = -1;
    return OK;
}

void file_inherit_nothing(void)
{
    (void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC); /* before Linux 5.11 it refuses, and they are inherited as ever */
}
