#include "store/snapshot.h"
#include "base/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)
#define MANIFEST_MAX_BYTES (64u << 20)
#define BACKUP_DEPTH 3

/* ---- one file ---- */

static err_kind hash_file(const char *path, hash_chain *ret, uint64_t *ret_bytes, err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *bytes = fd < 0 ? NULL : mem_alloc(READ_BYTES);
    if (!bytes) {
        err_kind k = fd < 0 ? err_sys(e, errno, "could not open \"%s\"", path) : err_nomem(e);
        if (fd >= 0)
            close(fd);
        return k;
    }
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, sizeof ret->bytes);
    err_kind k = OK;
    *ret_bytes = 0;
    for (ssize_t n; !k && (n = read(fd, bytes, READ_BYTES)) != 0;) {
        if (n < 0)
            k = err_sys(e, errno, "could not read \"%s\"", path);
        else
            crypto_generichash_update(&state, bytes, (size_t)n);
        *ret_bytes += n < 0 ? 0 : (uint64_t)n;
    }
    crypto_generichash_final(&state, ret->bytes, sizeof ret->bytes);
    mem_free(bytes);
    close(fd);
    return k;
}

/* ---- every file of a folder, by its path from there ---- */

typedef err_kind (*visit)(void *ctx, const char *path, err *e);

static err_kind walk(const char *root, const char *below, int depth, visit fn, void *ctx, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(STORE_LIST_MAX_BYTES);
    char dir[FILE_PATH_MAX];
    str *names;
    size_t n;
    err_kind k = file_join(dir, root, below[0] ? below : ".", e);
    if (!k)
        k = file_list(dir, &a, &names, &n, e);
    for (size_t i = 0; !k && i < n; i++) {
        char path[FILE_PATH_MAX], full[FILE_PATH_MAX];
        struct stat st;
        if (!below[0] && str_is(names[i], SNAPSHOT_MANIFEST))
            continue;
        if (below[0])
            k = file_join(path, below, names[i].ptr, e);
        else
            str_copy(path, sizeof path, names[i]);
        if (k || (k = file_join(full, root, path, e)))
            break;
        if (stat(full, &st) != 0)
            k = err_sys(e, errno, "could not look at \"%s\"", full);
        else if (!S_ISDIR(st.st_mode))
            k = fn(ctx, path, e);
        else if (depth > 0)
            k = walk(root, path, depth - 1, fn, ctx, e);
    }
    return k;
}

/* ---- writing ---- */

typedef struct manifest { const char *root; buf text; backup_receipt told; } manifest;

static err_kind add_line(void *ctx, const char *path, err *e)
{
    manifest *m = ctx;
    char full[FILE_PATH_MAX], hex[2 * HASH_CHAIN_BYTES + 1];
    hash_chain h;
    uint64_t bytes;
    err_kind k = file_join(full, m->root, path, e);
    if (k || (k = hash_file(full, &h, &bytes, e)))
        return k;
    hash_hex(hex, &h);
    m->told.files++;
    m->told.bytes += bytes;
    return buf_printf(&m->text, "%s  %s\n", hex, path) ? err_nomem(e) : OK;
}

static err_kind write_manifest(const char *temp, err *e)
{
    char path[FILE_PATH_MAX];
    manifest m = { .root = temp, .text = BUF_INIT(MANIFEST_MAX_BYTES) };
    err_kind k = walk(temp, "", BACKUP_DEPTH, add_line, &m, e);
    if (!k && !(k = file_join(path, temp, SNAPSHOT_MANIFEST, e)))
        k = file_write_atomic(path, buf_str(&m.text), 0600, e);
    buf_done(&m.text);
    return k;
}

err_kind store_backup(store *s, const char *dir, backup_receipt *ret, err *e)
{
    err_kind k = snapshot_to(s, dir, false, true, write_manifest, e);
    return k ? k : backup_verify(dir, ret, e);
}

/* ---- checking ---- */

typedef struct checking { map paths; /* of the manifest; the value says whether the file was seen */ size_t extra; char first[FILE_PATH_MAX]; } checking;

static err_kind mark(void *ctx, const char *path, err *e)
{
    checking *c = ctx;
    if (!map_has(&c->paths, str_from(path)) && c->extra++ == 0)
        str_copy(c->first, sizeof c->first, str_from(path));
    UNUSED(e);
    return OK;
}

/* A path of the manifest stays inside the folder. */
static bool is_inside(str path)
{
    str part;
    if (str_empty(path) || path.ptr[0] == '/' || path.len >= FILE_PATH_MAX / 2)
        return false;
    while (str_split(&path, '/', &part))
        if (str_empty(part) || str_is(part, ".") || str_is(part, ".."))
            return false;
    return true;
}

static err_kind check_line(const char *dir, str line, checking *c, backup_receipt *told, err *e)
{
    char full[FILE_PATH_MAX], path[FILE_PATH_MAX];
    hash_chain want, got;
    uint64_t bytes;
    str name = str_skip(line, 2 * HASH_CHAIN_BYTES + 2);
    if (!hash_parse_hex(str_sub(line, 0, 2 * HASH_CHAIN_BYTES), &want) || !is_inside(name))
        return err_set(e, ERR_CORRUPT, "cannot use backup \"%s\": a line of its MANIFEST makes no sense", dir);
    str_copy(path, sizeof path, name);
    err_kind k = file_join(full, dir, path, e);
    if (k || (k = hash_file(full, &got, &bytes, e)))
        return k == ERR_NOT_FOUND ? err_set(e, ERR_CORRUPT, "cannot use backup \"%s\": \"%s\" is missing", dir, path) : k;
    if (memcmp(&want, &got, sizeof want) != 0)
        return err_set(e, ERR_CORRUPT, "cannot use backup \"%s\": \"%s\" was changed after it was written", dir, path);
    told->files++;
    told->bytes += bytes;
    return map_set(&c->paths, name, c) ? err_nomem(e) : OK;
}

static err_kind read_manifest(const char *dir, buf *out, err *e)
{
    char path[FILE_PATH_MAX];
    err_kind k = file_join(path, dir, SNAPSHOT_MANIFEST, e);
    if (k || (k = file_read(path, out, e)))
        return k == ERR_NOT_FOUND ? err_set(e, ERR_NOT_FOUND, "\"%s\" is no backup: it has no MANIFEST", dir) : k;
    return OK;
}

err_kind backup_verify(const char *dir, backup_receipt *ret, err *e)
{
    AUTO(buf_done) buf text = BUF_INIT(MANIFEST_MAX_BYTES);
    checking c = { .paths = MAP_INIT };
    backup_receipt told = { 0 };
    err_kind k = read_manifest(dir, &text, e);
    str rest = buf_str(&text), line;
    while (!k && str_split(&rest, '\n', &line))
        if (line.len)
            k = check_line(dir, line, &c, &told, e);
    if (!k)
        k = walk(dir, "", BACKUP_DEPTH, mark, &c, e);
    if (!k && c.extra)
        k = err_set(e, ERR_CORRUPT, "cannot use backup \"%s\": \"%s\" is not in its MANIFEST", dir, c.first);
    map_done(&c.paths);
    if (!k)
        *ret = told;
    return k;
}

/* ---- restoring ---- */

typedef struct restoring { const char *from, *to; } restoring;

static err_kind restore_file(void *ctx, const char *path, err *e)
{
    restoring *r = ctx;
    char source[FILE_PATH_MAX], target[FILE_PATH_MAX], folder[FILE_PATH_MAX];
    err_kind k;
    if ((k = file_join(source, r->from, path, e)) || (k = file_join(target, r->to, path, e)))
        return k;
    str_copy(folder, sizeof folder, str_from(target));
    *strrchr(folder, '/') = '\0';
    return (k = file_make_dirs(folder, 0700, e)) ? k : snapshot_copy(source, target, e);
}

static err_kind restore_to(const char *dir, const char *temp, backup_receipt *ret, err *e)
{
    restoring r = { dir, temp };
    char source[FILE_PATH_MAX], manifest_path[FILE_PATH_MAX];
    err_kind k;
    if ((k = file_make_dirs(temp, 0700, e)) || (k = walk(dir, "", BACKUP_DEPTH, restore_file, &r, e)) ||
        (k = file_join(source, dir, SNAPSHOT_MANIFEST, e)) || (k = file_join(manifest_path, temp, SNAPSHOT_MANIFEST, e)) ||
        (k = snapshot_copy(source, manifest_path, e)) || (k = backup_verify(temp, ret, e)))
        return k;
    return file_remove(manifest_path, e);
}

err_kind backup_restore(const char *dir, const char *store_dir, backup_receipt *ret, err *e)
{
    char temp[FILE_PATH_MAX];
    err_kind k = backup_verify(dir, ret, e);
    if (k)
        return k;
    if (file_exists(store_dir)) {
        err_set(e, ERR_EXISTS, "cannot restore to \"%s\": it is already there", store_dir);
        return err_hint(e, "Move it away first, or restore into another --data folder."), ERR_EXISTS;
    }
    if (snprintf(temp, sizeof temp, "%s.tmp", store_dir) >= (int)sizeof temp)
        return err_set(e, ERR_LIMIT, "path too long: \"%.200s…\"", store_dir);
    if ((k = file_remove_tree(temp, e)))
        return k;
    if (!(k = restore_to(dir, temp, ret, e)))
        k = file_rename(temp, store_dir, e);
    if (k)
        (void)file_remove_tree(temp, NULL);
    return k;
}
