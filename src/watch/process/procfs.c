#include "watch/process/procfs.h"
#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define PROCFS_FDS_MAX 1000000 /* a runaway process does not make us count for ever */

/* Number of the fields that matter, counted as in proc(5): the one after the command is 3, the state. */
enum {
    FIELD_STATE = 3,
    FIELD_PPID = 4,
    FIELD_PGRP = 5,
    FIELD_SESSION = 6,
    FIELD_UTIME = 14,
    FIELD_STIME = 15,
    FIELD_THREADS = 20,
    FIELD_START = 22,
    FIELD_RSS = 24
};

static void take_field(procfs_stat *s, int number, str word)
{
    int64_t v = 0;
    if (number == FIELD_STATE)
        s->state = word.ptr[0];
    if (!str_to_i64(word, &v))
        return;
    switch (number) {
    case FIELD_PPID: s->ppid = (int)v; break;
    case FIELD_PGRP: s->pgrp = (int)v; break;
    case FIELD_SESSION: s->session = (int)v; break;
    case FIELD_UTIME: s->user_ticks = (uint64_t)v; break;
    case FIELD_STIME: s->system_ticks = (uint64_t)v; break;
    case FIELD_THREADS: s->threads = (uint64_t)v; break;
    case FIELD_START: s->start_ticks = (uint64_t)v; break;
    case FIELD_RSS: s->rss_pages = v > 0 ? (uint64_t)v : 0; break;
    default: break;
    }
}

bool procfs_parse_stat(str text, procfs_stat *ret)
{
    procfs_stat s = { 0 };
    ptrdiff_t open = str_find_char(text, '(');
    size_t close = text.len;
    int64_t pid;
    while (close > 0 && text.ptr[close - 1] != ')')
        close--;
    if (open < 1 || close == 0 || !str_to_i64(str_trim(str_sub(text, 0, (size_t)open)), &pid))
        return false;
    s.pid = (int)pid;
    str rest = str_trim(str_skip(text, close)), word;
    int number = FIELD_STATE;
    for (; number <= FIELD_RSS && str_split(&rest, ' ', &word); number++) {
        if (!word.len)
            return false;
        take_field(&s, number, word);
    }
    if (number <= FIELD_RSS)
        return false;
    *ret = s;
    return true;
}

err_kind procfs_read_stat(const char *proc, int pid, procfs_stat *ret, err *e)
{
    char path[FILE_PATH_MAX], text[2048];
    size_t len;
    snprintf(path, sizeof path, "%s/%d/stat", proc, pid);
    if (file_read_small(path, text, sizeof text, &len, e))
        return err_set(e, ERR_NOT_FOUND, "there is no process %d", pid);
    if (!procfs_parse_stat(str_of(text, len), ret))
        return err_set(e, ERR_PARSE, "could not read \"%s\"", path);
    return OK;
}

int64_t procfs_count_fds(const char *proc, int pid)
{
    char path[FILE_PATH_MAX];
    snprintf(path, sizeof path, "%s/%d/fd", proc, pid);
    DIR *dir = opendir(path);
    int64_t n = 0;
    if (!dir)
        return -1;
    for (struct dirent *d; n < PROCFS_FDS_MAX && (d = readdir(dir));)
        n += d->d_name[0] != '.';
    closedir(dir);
    return n;
}

bool procfs_read_io(const char *proc, int pid, uint64_t *ret_read, uint64_t *ret_written)
{
    char path[FILE_PATH_MAX], text[1024];
    size_t len;
    bool read = false, written = false;
    snprintf(path, sizeof path, "%s/%d/io", proc, pid);
    if (file_read_small(path, text, sizeof text, &len, NULL))
        return false;
    str rest = str_of(text, len), line;
    while (str_split(&rest, '\n', &line)) {
        if (str_starts(line, STR("read_bytes: ")))
            read = str_to_u64(str_skip(line, 12), ret_read);
        else if (str_starts(line, STR("write_bytes: ")))
            written = str_to_u64(str_skip(line, 13), ret_written);
    }
    return read && written;
}

void procfs_boot_id(const char *proc, char out[PROCFS_BOOT_ID_MAX])
{
    char path[FILE_PATH_MAX], text[64];
    size_t len;
    out[0] = '\0';
    snprintf(path, sizeof path, "%s/sys/kernel/random/boot_id", proc);
    if (!file_read_small(path, text, sizeof text, &len, NULL))
        str_copy(out, PROCFS_BOOT_ID_MAX, str_trim(str_of(text, len)));
}

int64_t procfs_start_ms(const char *proc, uint64_t start_ticks)
{
    char path[FILE_PATH_MAX], text[128];
    size_t len;
    double uptime_s;
    snprintf(path, sizeof path, "%s/uptime", proc);
    if (file_read_small(path, text, sizeof text, &len, NULL))
        return 0;
    str rest = str_of(text, len), word;
    if (!str_split(&rest, ' ', &word) || !str_to_double(word, &uptime_s))
        return 0;
    double start_s = (double)start_ticks / (double)sysconf(_SC_CLK_TCK);
    return clock_now_ms() - (int64_t)((uptime_s - start_s) * MS_PER_S);
}
