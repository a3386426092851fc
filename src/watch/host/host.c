#include "watch/host/host.h"
#include "watch/host/collector.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static const collector collectors[] = {
    { "stat", "CPU time by mode, context switches, interrupts, forks", "stat", HOST_INTERVAL_MS, NULL, collect_stat },
    { "meminfo", "memory and swap", "meminfo", HOST_INTERVAL_MS, NULL, collect_meminfo },
    { "loadavg", "load averages", "loadavg", HOST_INTERVAL_MS, NULL, collect_loadavg },
    { "vmstat", "paging, swapping, faults, OOM kills", "vmstat", HOST_INTERVAL_MS, NULL, collect_vmstat },
    { "pressure_cpu", "time lost waiting for the CPU", "pressure/cpu", HOST_INTERVAL_MS, "cpu", collect_pressure },
    { "pressure_io", "time lost waiting for I/O", "pressure/io", HOST_INTERVAL_MS, "io", collect_pressure },
    { "pressure_memory", "time lost waiting for memory", "pressure/memory", HOST_INTERVAL_MS, "memory",
      collect_pressure },
    { "diskstats", "block devices: operations, bytes, time", "diskstats", HOST_INTERVAL_MS, NULL, collect_diskstats },
    { "netdev", "network interfaces: bytes, packets, errors, drops", "net/dev", HOST_INTERVAL_MS, NULL,
      collect_netdev },
    { "filesystem", "room and inodes per mount", "self/mountinfo", HOST_SLOW_INTERVAL_MS, NULL, collect_filesystem },
    { "uname", "the kernel's name and version", NULL, HOST_SLOW_INTERVAL_MS, NULL, collect_uname },
    { "time", "the host's clock", NULL, HOST_INTERVAL_MS, NULL, collect_time },
};
#define COLLECTOR_COUNT COUNT_OF(collectors)

typedef struct slot {
    emit out;
    int fd; /* -1: not open */
    int64_t due_ms;
} slot;

struct host {
    char proc[FILE_PATH_MAX], root[FILE_PATH_MAX];
    slot slots[COLLECTOR_COUNT];
    emit status; /* up, node_scrape_collector_success */
    bool success[COLLECTOR_COUNT];
    buf text;
    double tick_s;
};

const char *host_collector_name(size_t i) { return i < COLLECTOR_COUNT ? collectors[i].name : NULL; }

static err_kind init_emitters(host *h, const host_options *o)
{
    char name[256] = "localhost";
    gethostname(name, sizeof name - 1);
    label base[2] = { { STR("instance"), o->instance.len ? o->instance : str_from(name) },
                      { STR("job"), o->job.len ? o->job : STR("node") } };
    for (size_t i = 0; i < COLLECTOR_COUNT; i++) {
        if (emit_init(&h->slots[i].out, (labels){ base, 2 }))
            return ERR_NOMEM;
    }
    return emit_init(&h->status, (labels){ base, 2 });
}

err_kind host_open(const host_options *o, host **ret, err *e)
{
    host *h = mem_zalloc(sizeof *h);
    if (!h)
        return err_nomem(e);
    for (size_t i = 0; i < COLLECTOR_COUNT; i++)
        h->slots[i].fd = -1;
    h->text = (buf)BUF_INIT(HOST_FILE_MAX_BYTES);
    h->tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK);
    str_copy(h->proc, sizeof h->proc, str_from(o->proc ? o->proc : "/proc"));
    str_copy(h->root, sizeof h->root, str_from(o->root ? o->root : ""));
    if (init_emitters(h, o)) {
        host_close(h);
        return err_nomem(e);
    }
    *ret = h;
    return OK;
}

void host_close(host *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < COLLECTOR_COUNT; i++) {
        if (h->slots[i].fd >= 0)
            close(h->slots[i].fd);
        emit_done(&h->slots[i].out);
    }
    emit_done(&h->status);
    buf_done(&h->text);
    mem_free(h);
}

/* The whole file into h->text. The descriptor stays open: reading at offset 0 makes the kernel write it anew. */
static bool read_file(host *h, slot *s, const char *file)
{
    buf_reset(&h->text);
    if (s->fd < 0) {
        char path[FILE_PATH_MAX];
        if (file_join(path, h->proc, file, NULL))
            return false;
        s->fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    while (s->fd >= 0 && h->text.len < HOST_FILE_MAX_BYTES - 4096) {
        char *room = buf_reserve(&h->text, 4096);
        ssize_t n = room ? pread(s->fd, room, 4096, (off_t)h->text.len) : -1;
        if (n < 0 && room && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 && h->text.len > 0;
        buf_commit(&h->text, (size_t)n);
    }
    return s->fd >= 0;
}

static bool run(host *h, size_t i, int64_t now_ms)
{
    const collector *c = &collectors[i];
    slot *s = &h->slots[i];
    emit_begin(&s->out, now_ms);
    if (c->file && !read_file(h, s, c->file)) {
        if (s->fd >= 0)
            close(s->fd); /* opened anew next time: the file may have been replaced */
        s->fd = -1;
        return false;
    }
    host_scan scan = { .out = &s->out, .root = h->root, .tick_s = h->tick_s, .now_ms = now_ms };
    return c->collect(&scan, c->arg, buf_str(&h->text));
}

static void settle(host *h)
{
    for (size_t i = 0; i < COLLECTOR_COUNT; i++)
        emit_settle(&h->slots[i].out);
    emit_settle(&h->status);
}

err_kind host_collect(host *h, int64_t now_ms, row_vec *rows)
{
    settle(h);
    vec_clear(rows);
    emit_begin(&h->status, now_ms);
    emit_value(&h->status, "up", 1); /* what Prometheus says of a node_exporter that answers */
    for (size_t i = 0; i < COLLECTOR_COUNT; i++) {
        slot *s = &h->slots[i];
        bool due = now_ms >= s->due_ms;
        if (due) {
            s->due_ms = now_ms + collectors[i].every_ms - collectors[i].every_ms / 10; /* timers come a little late */
            h->success[i] = run(h, i, now_ms);
            if (emit_collect(&s->out, rows))
                return ERR_NOMEM;
        }
        label l = { STR("collector"), str_from(collectors[i].name) };
        emit_put(&h->status, EMIT_NAME("node_scrape_collector_success"), &l, 1, h->success[i]);
    }
    return emit_collect(&h->status, rows);
}

err_kind host_collect_end(host *h, int64_t now_ms, row_vec *rows)
{
    settle(h);
    vec_clear(rows);
    for (size_t i = 0; i < COLLECTOR_COUNT; i++) {
        if (emit_collect_end(&h->slots[i].out, now_ms, rows))
            return ERR_NOMEM;
    }
    return emit_collect_end(&h->status, now_ms, rows);
}
