/* watch/host/filesystem.c - /proc/self/mountinfo and statvfs(2): room and inodes per mount.
 *
 * Exclusions are node_exporter's defaults: mount points
 *   ^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)
 * and the virtual file system types below. Network file systems are never asked: statvfs(2) on a dead server
 * does not come back, and galen would hang with it. A device mounted many times is shown at each place. */
#include "watch/host/collector.h"
#include <stdio.h>
#include <sys/statvfs.h>

#define MOUNT_MAX 1024 /* mounts looked at; a container host may have thousands */
#define PATH_MAX_BYTES 1024

static const char *const skipped_types[] = {
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "erofs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
    /* over a network: may hang */
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "glusterfs",
    "lustre",
    "afs",
    "ncpfs",
    "beegfs",
    "gpfs",
};
static const char *const skipped_trees[] = { "/dev", "/proc", "/sys" };
static const char *const skipped_below[] = { "/run/credentials/", "/var/lib/docker/", "/var/lib/containers/storage/" };

static bool type_skipped(str type)
{
    if (str_starts(type, STR("fuse."))) /* sshfs, s3fs, rclone …: mostly networks too */
        return true;
    for (size_t i = 0; i < COUNT_OF(skipped_types); i++) {
        if (str_is(type, skipped_types[i]))
            return true;
    }
    return false;
}

static bool mount_skipped(str mount)
{
    for (size_t i = 0; i < COUNT_OF(skipped_trees); i++) {
        str tree = str_from(skipped_trees[i]);
        if (str_starts(mount, tree) && (mount.len == tree.len || mount.ptr[tree.len] == '/'))
            return true;
    }
    for (size_t i = 0; i < COUNT_OF(skipped_below); i++) {
        if (str_starts(mount, str_from(skipped_below[i])) && mount.len > strlen(skipped_below[i]))
            return true;
    }
    return false;
}

/* mountinfo writes blank, tab, newline and backslash as \ooo. */
static str unescape(str s, char out[PATH_MAX_BYTES])
{
    size_t len = 0;
    for (size_t i = 0; i < s.len && len < PATH_MAX_BYTES; i++) {
        const char *p = s.ptr + i;
        if (*p == '\\' && i + 3 < s.len && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' && p[3] >= '0' &&
            p[3] <= '7') {
            out[len++] = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));
            i += 3;
        } else {
            out[len++] = *p;
        }
    }
    return str_of(out, len);
}

typedef struct mount {
    str device, point, type;
    bool readonly;
} mount;

/* 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue      (proc(5)) */
static bool parse_mount(str line, mount *ret)
{
    str id, parent, numbers, root, options, word;
    if (!next_word(&line, &id) || !next_word(&line, &parent) || !next_word(&line, &numbers) ||
        !next_word(&line, &root) || !next_word(&line, &ret->point) || !next_word(&line, &options))
        return false;
    do {
        if (!next_word(&line, &word))
            return false;
    } while (!str_is(word, "-"));
    ret->readonly = str_is(options, "ro") || str_starts(options, STR("ro,"));
    return next_word(&line, &ret->type) && next_word(&line, &ret->device);
}

static void put_mount(host_scan *s, const mount *m)
{
    char device[PATH_MAX_BYTES], point[PATH_MAX_BYTES], path[2 * PATH_MAX_BYTES];
    str at = unescape(m->point, point);
    struct statvfs v;
    label l[3] = { { STR("device"), unescape(m->device, device) },
                   { STR("fstype"), m->type },
                   { STR("mountpoint"), at } };
    snprintf(path, sizeof path, "%s%" STR_FMT, s->root, STR_ARG(at));
    bool failed = statvfs(path, &v) != 0;
    emit_put(s->out, EMIT_NAME("node_filesystem_device_error"), l, 3, failed);
    if (failed)
        return;
    emit_put(s->out, EMIT_NAME("node_filesystem_size_bytes"), l, 3, (double)v.f_blocks * (double)v.f_frsize);
    emit_put(s->out, EMIT_NAME("node_filesystem_free_bytes"), l, 3, (double)v.f_bfree * (double)v.f_frsize);
    emit_put(s->out, EMIT_NAME("node_filesystem_avail_bytes"), l, 3, (double)v.f_bavail * (double)v.f_frsize);
    emit_put(s->out, EMIT_NAME("node_filesystem_files"), l, 3, (double)v.f_files);
    emit_put(s->out, EMIT_NAME("node_filesystem_files_free"), l, 3, (double)v.f_ffree);
    emit_put(s->out, EMIT_NAME("node_filesystem_readonly"), l, 3, m->readonly);
}

bool collect_filesystem(host_scan *s, const char *arg, str text)
{
    str line;
    mount m;
    size_t seen = 0;
    while (str_split(&text, '\n', &line) && seen < MOUNT_MAX) {
        if (!parse_mount(line, &m) || type_skipped(m.type) || mount_skipped(m.point))
            continue;
        put_mount(s, &m);
        seen++;
    }
    return true;
}
