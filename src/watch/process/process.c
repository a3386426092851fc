#include "watch/process/process.h"
#include "base/file.h"
#include "watch/process/process_log.h"
#include "watch/process/procfs.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SETTLE_EVERY_MS 20 /* after the leader's end: is the rest of its group gone? */
#define SETTLE_MAX_MS 2000 /* then start anyway: zombies nobody reaps stay in a group for ever */
#define TRIM_EVERY 10      /* samples */
#define ENV_MAX 4096

extern char **environ;

struct process {
    process_deps deps;
    char id[256], log_path[FILE_PATH_MAX], boot_id[PROCFS_BOOT_ID_MAX];
    const process_config *config;
    process_info info;
    uint64_t start_ticks;
    uv_process_t *child; /* our own; NULL if adopted */
    uv_poll_t *poll;     /* on pidfd, if adopted */
    int pidfd;
    net_timer *timer; /* STOPPING: grace, then settling */
    int64_t settle_until_ns;
    bool killed;
    net_timer *report;
    bool released; /* ends with its last report */
    void (*done)(void *ctx, const err *result);
    void *done_ctx;
    err result;
    unsigned samples;
    int64_t fds;
};

static void leader_ended(process *p, int code, int sig);
static err_kind start(process *p, err *e);

/* ---- what is remembered and recorded ---- */
static void record(process *p, const char *kind, const char *message)
{
    AUTO(buf_done) buf data = BUF_INIT(4096);
    json_writer w = json_writer_to(&data);
    json_begin(&w, '{');
    json_put_i64(&w, "pid", p->info.pid);
    json_put_i64(&w, "start_ms", p->info.start_ms);
    if (p->info.last_exit_code >= 0)
        json_put_i64(&w, "exit_code", p->info.last_exit_code);
    if (p->info.last_signal >= 0)
        json_put_i64(&w, "signal", p->info.last_signal);
    json_put_i64(&w, "restarts", p->info.restarts);
    json_end(&w, '}');
    audit_record r = { .kind = str_from(kind),
                       .actor = STR("galen"),
                       .subject = str_from(p->id),
                       .message = str_from(message),
                       .data = buf_failed(&data) ? STR_EMPTY : buf_str(&data) };
    err e = { 0 };
    if (p->deps.audit && audit_append(p->deps.audit, &r, false, NULL, &e))
        log_error("could not record what happened to a process", KV_CSTR("replica", p->id), KV_ERR(&e));
}

static void remember(process *p, bool alive)
{
    AUTO(buf_done) buf json = BUF_INIT(1024);
    json_writer w = json_writer_to(&json);
    err e = { 0 };
    json_begin(&w, '{');
    json_put_i64(&w, "pid", alive ? p->info.pid : 0);
    json_put_i64(&w, "start_ticks", (int64_t)p->start_ticks);
    json_put_i64(&w, "start_ms", p->info.start_ms);
    json_put_cstr(&w, "boot_id", p->boot_id);
    json_put_i64(&w, "restarts", p->info.restarts);
    json_end(&w, '}');
    if (p->deps.state && state_put(p->deps.state, "process", str_from(p->id), buf_str(&json), &e))
        log_error("could not remember a process; it will not be adopted", KV_CSTR("replica", p->id), KV_ERR(&e));
}

static void changed(process *p)
{
    if (p->deps.on_change)
        p->deps.on_change(p->deps.ctx);
}

/* ---- adopting ---- */
static void free_handle(uv_handle_t *h) { mem_free(h); }

static void release_handles(process *p)
{
    if (p->child) {
        p->child->data = NULL;
        uv_close((uv_handle_t *)p->child, free_handle);
    }
    if (p->poll) {
        uv_poll_stop(p->poll);
        uv_close((uv_handle_t *)p->poll, free_handle);
    }
    if (p->pidfd >= 0)
        close(p->pidfd);
    p->child = NULL;
    p->poll = NULL;
    p->pidfd = -1;
}

static void on_pidfd(uv_poll_t *h, int status, int events)
{
    process *p = h->data;
    leader_ended(p, -1, -1); /* not our child: how it ended is not ours to know */
}

/* Be told when an adopted process ends. Without pidfd (old kernel) process_sample looks each second. */
static void wait_for_end(process *p)
{
    p->pidfd = (int)syscall(SYS_pidfd_open, p->info.pid, 0);
    p->poll = p->pidfd >= 0 ? mem_zalloc(sizeof *p->poll) : NULL;
    if (!p->poll)
        return;
    p->poll->data = p;
    if (uv_poll_init(p->deps.loop, p->poll, p->pidfd)) {
        mem_free(p->poll);
        p->poll = NULL;
        return;
    }
    uv_poll_start(p->poll, UV_READABLE, on_pidfd);
}

static bool is_alive(const process *p)
{
    procfs_stat s;
    return p->info.pid > 0 && procfs_read_stat("/proc", p->info.pid, &s, NULL) == OK &&
           s.start_ticks == p->start_ticks && s.state != 'Z' && s.state != 'X';
}

static bool adopt(process *p)
{
    AUTO(buf_done) buf json = BUF_INIT(4096);
    json_doc *doc = NULL;
    if (!p->deps.state || state_get(p->deps.state, "process", str_from(p->id), &json, NULL) ||
        json_parse(buf_str(&json), &doc, NULL))
        return false;
    json_val v = json_root(doc);
    p->info.pid = (int)json_i64_or(json_get(v, "pid"), 0);
    p->info.start_ms = json_i64_or(json_get(v, "start_ms"), 0);
    p->info.restarts = (unsigned)json_i64_or(json_get(v, "restarts"), 0);
    p->start_ticks = (uint64_t)json_i64_or(json_get(v, "start_ticks"), 0);
    bool same_boot = str_is(json_str_or(json_get(v, "boot_id"), STR_EMPTY), p->boot_id);
    json_doc_free(doc);
    if (!same_boot || !is_alive(p)) {
        p->info.pid = 0;
        return false;
    }
    wait_for_end(p);
    if (!is_alive(p)) { /* ended, and its pid perhaps given out again, before we held it */
        release_handles(p);
        p->info.pid = 0;
        return false;
    }
    p->info.adopted = true;
    p->info.state = PROCESS_STARTING;
    return true;
}

/* ---- starting ---- */
static void on_exit_cb(uv_process_t *h, int64_t code, int sig)
{
    process *p = h->data;
    if (p)
        leader_ended(p, sig ? -1 : (int)code, sig ? sig : -1);
}

/* Ours, then the configured ones on top; entries are borrowed. NULL without memory. */
static char **merged_env(const process_config *c)
{
    size_t own = 0, n = 0;
    while (environ[own] && own < ENV_MAX)
        own++;
    char **env = mem_calloc(own + c->env_count + 1, sizeof *env);
    for (size_t i = 0; env && i < own; i++) {
        bool replaced = false;
        str name = str_from(environ[i]);
        ptrdiff_t eq = str_find_char(name, '=');
        name.len = eq < 0 ? name.len : (size_t)eq + 1;
        for (size_t k = 0; k < c->env_count; k++)
            replaced = replaced || str_starts(str_from(c->env[k]), name);
        if (!replaced)
            env[n++] = environ[i];
    }
    for (size_t k = 0; env && k < c->env_count; k++)
        env[n++] = c->env[k];
    return env;
}

static err_kind spawn(process *p, int log_fd, err *e)
{
    AUTO(mem_freep) char **env = merged_env(p->config);
    uv_process_t *child = mem_zalloc(sizeof *child);
    if (!env || !child) {
        mem_free(child);
        return err_nomem(e);
    }
    uv_stdio_container_t out = { .flags = log_fd >= 0 ? UV_INHERIT_FD : UV_IGNORE, .data.fd = log_fd };
    uv_stdio_container_t stdio[3] = { { .flags = UV_IGNORE }, out, out };
    uv_process_options_t o = { .exit_cb = on_exit_cb,
                               .file = p->config->argv[0],
                               .args = p->config->argv,
                               .env = env,
                               .cwd = p->config->dir,
                               .flags = UV_PROCESS_DETACHED,
                               .stdio_count = 3,
                               .stdio = stdio };
    child->data = p;
    file_inherit_nothing();
    int rc = uv_spawn(p->deps.loop, child, &o);
    if (rc) {
        child->data = NULL;
        uv_close((uv_handle_t *)child, free_handle);
        err_sys(e, -rc, "could not start \"%s\"", p->config->argv[0]);
        return err_hint(e, "Check process.command of this replica; it is an argv, no shell line.");
    }
    uv_unref((uv_handle_t *)child); /* a running engine must not keep galen from ending */
    p->child = child;
    p->info.pid = child->pid;
    return OK;
}

static err_kind start(process *p, err *e)
{
    int fd = -1;
    err_kind k = OK;
    if (p->log_path[0]) {
        (void)file_make_dirs(p->deps.spool_dir, 0750, NULL);
        fd = process_log_open(p->log_path, e);
        if (fd < 0)
            return e ? e->kind : ERR_IO;
    }
    k = spawn(p, fd, e);
    if (fd >= 0)
        close(fd);
    if (k)
        return k;
    procfs_stat s = { 0 };
    (void)procfs_read_stat("/proc", p->info.pid, &s, NULL);
    p->start_ticks = s.start_ticks;
    p->info.start_ms = clock_now_ms();
    p->info.end_ms = 0;
    p->info.adopted = false;
    p->info.state = PROCESS_STARTING;
    p->info.last_exit_code = p->info.last_signal = -1;
    remember(p, true);
    record(p, "watch.process.started", "the engine was started");
    log_info("engine started", KV_CSTR("replica", p->id), KV_INT("pid", p->info.pid));
    return OK;
}

/* ---- ending ---- */
static void deliver(void *ctx)
{
    process *p = ctx;
    void (*done)(void *, const err *) = p->done;
    net_timer_stop(p->report);
    p->report = NULL;
    p->done = NULL;
    if (done)
        done(p->done_ctx, &p->result);
    if (p->released)
        process_close(p);
}

static void answer_later(process *p, const err *result)
{
    p->result = *result;
    if (!p->report)
        p->report = net_timer_start(p->deps.loop, 0, 0, deliver, p);
}

static void is_over(process *p)
{
    p->info.state = PROCESS_EXITED;
    p->info.end_ms = clock_now_ms();
}

static void start_again(process *p)
{
    err e = { 0 };
    net_timer_stop(p->timer);
    p->timer = NULL;
    err_kind k = start(p, &e);
    if (k) {
        is_over(p);
        record(p, "watch.process.start_failed", e.message);
    } else {
        p->info.restarts++;
        remember(p, true);
    }
    answer_later(p, &e);
    changed(p);
}

/* Workers of a dead leader may still hold the port or the GPU's memory. */
static void settle(void *ctx)
{
    process *p = ctx;
    if (kill(-p->info.pid, 0) == 0 && clock_mono_ns() < p->settle_until_ns)
        return;
    start_again(p);
}

static void begin_settling(process *p)
{
    net_timer_stop(p->timer);
    if (kill(-p->info.pid, SIGKILL) != 0) {
        start_again(p);
        return;
    }
    p->settle_until_ns = clock_mono_ns() + SETTLE_MAX_MS * NS_PER_MS;
    p->timer = net_timer_start(p->deps.loop, SETTLE_EVERY_MS, SETTLE_EVERY_MS, settle, p);
    if (!p->timer)
        start_again(p);
}

static void leader_ended(process *p, int code, int sig)
{
    char message[160];
    bool wanted = p->info.state == PROCESS_STOPPING;
    release_handles(p);
    p->info.last_exit_code = code;
    p->info.last_signal = sig;
    p->info.proc_state = 0;
    remember(p, false);
    if (sig >= 0)
        snprintf(message, sizeof message, "the engine was ended by signal %d (%s)%s", sig, strsignal(sig),
                 wanted ? ", as galen asked" : "");
    else if (code >= 0)
        snprintf(message, sizeof message, "the engine exited with code %d%s", code, wanted ? ", as galen asked" : "");
    else
        snprintf(message, sizeof message, "the engine ended%s; its exit code is not known because it was adopted",
                 wanted ? ", as galen asked" : "");
    record(p, "watch.process.exited", message);
    log_warn(message, KV_CSTR("replica", p->id), KV_INT("pid", p->info.pid));
    if (wanted) {
        begin_settling(p);
        return;
    }
    is_over(p);
    changed(p);
}

static void on_grace_over(void *ctx)
{
    process *p = ctx;
    if (!p->killed) {
        p->killed = true;
        kill(-p->info.pid, SIGKILL);
        net_timer_stop(p->timer);
        p->timer = net_timer_start(p->deps.loop, PROCESS_KILL_WAIT_MS, 0, on_grace_over, p);
        return;
    }
    err e = { 0 };
    net_timer_stop(p->timer);
    p->timer = NULL;
    p->info.state = PROCESS_RUNNING;
    err_set(&e, ERR_TIMEOUT, "could not end process %d: it is still there %d s after SIGKILL", p->info.pid,
            PROCESS_KILL_WAIT_MS / 1000);
    err_hint(&e, "State D means that it waits inside the kernel, often for a device; look at dmesg.");
    answer_later(p, &e);
}

err_kind process_restart(process *p, int64_t grace_ms, void (*done)(void *ctx, const err *result), void *ctx, err *e)
{
    if (p->info.state == PROCESS_STOPPING || p->done)
        return err_set(e, ERR_CONFLICT, "a restart of \"%s\" is under way", p->id);
    p->done = done;
    p->done_ctx = ctx;
    p->killed = false;
    bool alive = p->info.state == PROCESS_RUNNING || p->info.state == PROCESS_STARTING;
    p->info.state = PROCESS_STOPPING;
    if (!alive) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d", p->info.pid);
        /* The number of a dead leader cannot name another group while it is not a process again. */
        if (p->info.pid > 0 && !file_exists(path))
            begin_settling(p);
        else
            start_again(p);
        return OK;
    }
    kill(-p->info.pid, SIGTERM);
    kill(-p->info.pid, SIGCONT); /* a frozen process gets its SIGTERM only when it runs again */
    int64_t grace = grace_ms < 0 ? p->config->stop_grace_ms : grace_ms;
    p->timer = net_timer_start(p->deps.loop, grace, 0, on_grace_over, p);
    if (!p->timer)
        kill(-p->info.pid, SIGKILL); /* no memory to be patient with */
    return OK;
}

/* ---- life ---- */
err_kind process_open(const process_deps *deps, const char *id, const process_config *c, process **ret, err *e)
{
    process *p = mem_zalloc(sizeof *p);
    char name[256];
    err why = { 0 };
    if (!p)
        return err_nomem(e);
    p->deps = *deps;
    p->config = c;
    p->pidfd = -1;
    p->fds = -1;
    p->info.last_exit_code = p->info.last_signal = -1;
    str_copy(p->id, sizeof p->id, str_from(id));
    procfs_boot_id("/proc", p->boot_id);
    process_log_name(name, str_from(id));
    if (deps->spool_dir && file_join(p->log_path, deps->spool_dir, name, e)) {
        mem_free(p);
        return ERR_LIMIT;
    }
    if (adopt(p)) {
        record(p, "watch.process.adopted", "a running engine was found again and adopted");
        log_info("engine adopted", KV_CSTR("replica", p->id), KV_INT("pid", p->info.pid));
    } else if (start(p, &why)) {
        is_over(p);
        record(p, "watch.process.start_failed", why.message);
        log_error("could not start an engine", KV_CSTR("replica", p->id), KV_ERR(&why));
    }
    *ret = p;
    return OK;
}

void process_close(process *p)
{
    if (!p)
        return;
    net_timer_stop(p->timer);
    net_timer_stop(p->report);
    release_handles(p);
    mem_free(p);
}

void process_release(process *p)
{
    err e = { 0 };
    if (!p)
        return;
    bool alive = p->info.state != PROCESS_NONE && p->info.state != PROCESS_EXITED;
    if (alive) {
        record(p, "watch.process.released", "the configuration does not name this engine any more; it runs on");
        log_warn("an engine is no longer supervised, it runs on", KV_CSTR("replica", p->id), KV_INT("pid", p->info.pid));
    }
    if (!p->done) {
        process_close(p);
        return;
    }
    net_timer_stop(p->timer);
    p->timer = NULL;
    release_handles(p);
    p->deps.on_change = NULL;
    p->released = true;
    err_set(&e, ERR_CANCELED, "\"%s\" left the configuration during its restart", p->id);
    answer_later(p, &e);
    if (!p->report) /* without memory nobody can be told */
        process_close(p);
}

static bool same_command(char *const *a, char *const *b)
{
    while (a && b && *a && *b && strcmp(*a, *b) == 0)
        a++, b++;
    return a && b && !*a && !*b;
}

/* Its log stays where it is until the next start. */
static void take_id(process *p, const char *id)
{
    err e = { 0 };
    if (strcmp(p->id, id) == 0)
        return;
    if (p->deps.state && state_delete(p->deps.state, "process", str_from(p->id), &e))
        log_error("could not forget a process's old name", KV_CSTR("replica", p->id), KV_ERR(&e));
    str_copy(p->id, sizeof p->id, str_from(id));
    bool alive = p->info.state != PROCESS_NONE && p->info.state != PROCESS_EXITED;
    remember(p, alive);
    if (alive)
        record(p, "watch.process.adopted", "a running engine was taken along to this replica");
}

void process_rebind(process *p, const char *id, const process_config *c, void (*on_change)(void *ctx), void *ctx)
{
    if (!same_command(p->config->argv, c->argv))
        log_info("a changed command takes effect when the engine is next started", KV_CSTR("replica", id));
    take_id(p, id);
    p->config = c;
    p->deps.on_change = on_change;
    p->deps.ctx = ctx;
}

process_info process_info_of(const process *p) { return p->info; }

void process_answered(process *p)
{
    if (p->info.state == PROCESS_STARTING)
        p->info.state = PROCESS_RUNNING;
}

/* ---- watching ---- */
static void put_vitals(process *p, const procfs_stat *s, emit *out, bool with_fds)
{
    uint64_t read, written;
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    if (with_fds || p->fds < 0)
        p->fds = procfs_count_fds("/proc", p->info.pid);
    emit_value(out, "watch_process_stopped", s->state == 'T' || s->state == 't');
    emit_value(out, "watch_process_blocked", s->state == 'D');
    emit_value(out, "watch_process_start_time_seconds", (double)p->info.start_ms / MS_PER_S);
    emit_value(out, "watch_process_cpu_seconds_total", (double)(s->user_ticks + s->system_ticks) * tick);
    emit_value(out, "watch_process_resident_memory_bytes", (double)s->rss_pages * (double)sysconf(_SC_PAGESIZE));
    emit_value(out, "watch_process_threads", (double)s->threads);
    if (p->fds >= 0)
        emit_value(out, "watch_process_open_fds", (double)p->fds);
    if (procfs_read_io("/proc", p->info.pid, &read, &written)) {
        emit_value(out, "watch_process_read_bytes_total", (double)read);
        emit_value(out, "watch_process_written_bytes_total", (double)written);
    }
}

void process_sample(process *p, emit *out, bool with_fds)
{
    procfs_stat s;
    err e = { 0 };
    bool running =
        p->info.state == PROCESS_STARTING || p->info.state == PROCESS_RUNNING || p->info.state == PROCESS_STOPPING;
    bool found = running && p->info.pid > 0 && procfs_read_stat("/proc", p->info.pid, &s, NULL) == OK &&
                 s.start_ticks == p->start_ticks;
    bool alive = found && s.state != 'Z' && s.state != 'X';
    if (!alive && running && p->info.adopted && !p->poll && p->info.state != PROCESS_STOPPING)
        leader_ended(p, -1, -1);
    p->info.proc_state = found ? s.state : 0;
    emit_value(out, "watch_process_up", alive);
    emit_value(out, "watch_process_restarts_total", p->info.restarts);
    if (alive)
        put_vitals(p, &s, out, with_fds);
    if (p->log_path[0] && p->samples++ % TRIM_EVERY == 0 && process_log_trim(p->log_path, PROCESS_LOG_MAX, &e))
        log_warn("could not cut an engine's log", KV_CSTR("replica", p->id), KV_ERR(&e));
}
