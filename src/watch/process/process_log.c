#include "watch/process/process_log.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_BYTES (256u << 10)

int process_log_open(const char *path, err *e)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        err_sys(e, errno, "could not open the log \"%s\"", path);
    return fd;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static err_kind copy(int from, const char *to_path, err *e)
{
    AUTO(close_fd) int to = open(to_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    AUTO(mem_freep) char *piece = mem_alloc(COPY_BYTES);
    if (to < 0)
        return err_sys(e, errno, "could not open \"%s\"", to_path);
    if (!piece)
        return err_nomem(e);
    for (;;) {
        ssize_t n = read(from, piece, COPY_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, errno, "could not read the log");
        if (n == 0)
            return OK;
        err_kind k = file_write_all(to, piece, (size_t)n, to_path, e);
        if (k)
            return k;
    }
}

err_kind process_log_trim(const char *path, int64_t max_bytes, err *e)
{
    char old[FILE_PATH_MAX + 2];
    struct stat st;
    AUTO(close_fd) int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) || st.st_size <= max_bytes)
        return OK;
    snprintf(old, sizeof old, "%s.1", path);
    err_kind k = copy(fd, old, e);
    return k ? k : file_truncate(fd, 0, path, e);
}

void process_log_name(char out[256], str id)
{
    size_t len = 0;
    if (str_starts(id, STR("replica:")))
        id = str_skip(id, 8);
    for (size_t i = 0; i < id.len && len < 240; i++) {
        char c = id.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '_' || (c == '.' && len);
        out[len++] = plain ? c : c == '/' ? '-' : '_';
    }
    snprintf(out + len, 256 - len, "%s.log", len ? "" : "engine");
}
