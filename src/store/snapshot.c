/* A store's files, at one moment, as a store of its own.
 *
 *   1 end the log's open segment      what was acknowledged is in files that do not change any more
 *   2 the log's files                 before the blocks: a cut in between shows samples twice, never not at all
 *   3 the blocks, tiers, deletions
 *   4 fsync, rename the folder        it is there whole or not at all
 *
 * Files that never change are linked where the file system allows, else copied; the newest segment is always copied.
 * Beside a running galen (read_only) step 1 is not ours to do, and files may go while we look: then all begins anew. */
#include "store/snapshot.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#define SNAPSHOT_ATTEMPTS 5
#define COPY_BYTES (256u << 10)

static err_kind copy_bytes(int from, int to, const char *path, err *e)
{
    char *bytes = mem_alloc(COPY_BYTES);
    if (!bytes)
        return err_nomem(e);
    err_kind k = OK;
    for (ssize_t n; !k && (n = read(from, bytes, COPY_BYTES)) != 0;)
        k = n < 0 ? err_sys(e, errno, "could not read \"%s\"", path) : file_write_all(to, bytes, (size_t)n, path, e);
    mem_free(bytes);
    return k ? k : file_sync(to, path, e);
}

err_kind snapshot_copy(const char *from, const char *to, err *e)
{
    int in = open(from, O_RDONLY | O_CLOEXEC), out = -1;
    err_kind k = OK;
    if (in < 0)
        k = err_sys(e, errno, "could not open \"%s\"", from);
    else if ((out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        k = err_sys(e, errno, "could not create \"%s\"", to);
    if (!k)
        k = copy_bytes(in, out, to, e);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return k;
}

static err_kind link_or_copy(const char *from, const char *to, bool copy, err *e)
{
    if (!copy && link(from, to) == 0)
        return OK;
    return snapshot_copy(from, to, e);
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Names that are half written or set aside are nobody's memory. */
static bool is_kept(str name) { return !str_ends(name, STR(".tmp")) && !str_ends(name, STR(".damaged")); }

/* The newest segment still grows, unless we have ended it. */
static uint32_t newest_segment(const str *names, size_t n)
{
    uint32_t newest = 0;
    for (size_t i = 0; i < n; i++) {
        bool checkpoint;
        uint32_t segment;
        if (wal_parse_name(names[i], &checkpoint, &segment) && !checkpoint)
            newest = MAX(newest, segment);
    }
    return newest;
}

static err_kind take_folder(const char *from, const char *to, bool copy, int depth, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(STORE_LIST_MAX_BYTES);
    str *names;
    size_t n;
    err_kind k = file_list(from, &a, &names, &n, e);
    if (k)
        return k;
    uint32_t newest = newest_segment(names, n);
    if ((k = file_make_dirs(to, 0700, e)))
        return k;
    for (size_t i = 0; !k && i < n; i++) {
        char source[FILE_PATH_MAX], target[FILE_PATH_MAX];
        bool checkpoint = true;
        uint32_t segment = 0;
        if (!is_kept(names[i]))
            continue;
        if ((k = file_join(source, from, names[i].ptr, e)) || (k = file_join(target, to, names[i].ptr, e)))
            break;
        if (is_folder(source)) {
            if (depth > 0)
                k = take_folder(source, target, copy, depth - 1, e);
            continue;
        }
        bool grows = wal_parse_name(names[i], &checkpoint, &segment) && !checkpoint && segment == newest;
        k = link_or_copy(source, target, copy || grows, e);
    }
    return k ? k : file_sync_dir(to, e);
}

/* The log first; blocks and what lies beside them after it. */
static err_kind take_files(const store *s, const char *dir, bool skip_head, bool copy, err *e)
{
    static const char *const folders[] = { "wal", "blocks", "tiers" };
    err_kind k = file_make_dirs(dir, 0700, e);
    for (size_t i = skip_head; !k && i < COUNT_OF(folders); i++) {
        char from[FILE_PATH_MAX], to[FILE_PATH_MAX];
        if (!(k = file_join(from, s->dir, folders[i], e)) && !(k = file_join(to, dir, folders[i], e)) && file_exists(from))
            k = take_folder(from, to, copy, 2, e);
    }
    return k;
}

static err_kind end_segment(store *s, err *e)
{
    wal_sync sync;
    pthread_mutex_lock(&s->append_lock);
    wal_rotate(&s->wal);
    err_kind k = wal_sync_take(&s->wal, &sync, e);
    pthread_mutex_unlock(&s->append_lock);
    return k ? k : wal_sync_done(&sync, e);
}

static err_kind take_all(store *s, const char *temp, bool skip_head, bool copy, err *e)
{
    if (!s->read_only) {
        err_kind k = skip_head ? OK : end_segment(s, e);
        return k ? k : take_files(s, temp, skip_head, copy, e);
    }
    for (int attempt = 1;; attempt++) {
        err_kind k = take_files(s, temp, skip_head, copy, e);
        if (k != ERR_NOT_FOUND || attempt == SNAPSHOT_ATTEMPTS)
            return k;
        if ((k = file_remove_tree(temp, e)))
            return k;
    }
}

static err_kind sync_parent(const char *path, err *e)
{
    char dir[FILE_PATH_MAX];
    str_copy(dir, sizeof dir, str_from(path));
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = '\0';
    return file_sync_dir(!slash ? "." : slash == dir ? "/" : dir, e);
}

/* No block comes or goes, nothing is trimmed from the head meanwhile. */
static void hold_still(store *s)
{
    pthread_mutex_lock(&s->care_lock);
    atomic_fetch_add(&s->compact_wanted, 1); /* a merge gives way */
    pthread_mutex_lock(&s->compact_lock);
    atomic_fetch_sub(&s->compact_wanted, 1);
}

err_kind snapshot_to(store *s, const char *dir, bool skip_head, bool copy, err_kind (*finish)(const char *temp, err *e), err *e)
{
    char temp[FILE_PATH_MAX];
    if (file_exists(dir))
        return err_set(e, ERR_EXISTS, "cannot write to \"%s\": it is already there", dir);
    if (snprintf(temp, sizeof temp, "%s.tmp", dir) >= (int)sizeof temp)
        return err_set(e, ERR_LIMIT, "path too long: \"%.200s…\"", dir);
    err_kind k = file_remove_tree(temp, e);
    hold_still(s);
    if (!k)
        k = take_all(s, temp, skip_head, copy, e);
    pthread_mutex_unlock(&s->compact_lock);
    pthread_mutex_unlock(&s->care_lock);
    if (!k && finish)
        k = finish(temp, e);
    if (!k && !(k = file_sync_dir(temp, e)))
        k = file_rename(temp, dir, e);
    if (k)
        return (void)file_remove_tree(temp, NULL), k;
    if ((k = sync_parent(dir, e)))
        (void)file_remove_tree(dir, NULL);
    return k;
}

err_kind store_snapshot(store *s, const char *dir, bool skip_head, err *e)
{
    return snapshot_to(s, dir, skip_head, false, NULL, e);
}
