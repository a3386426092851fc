#include "heal/action/exec.h"
#include "base/file.h"
#include "heal/heal_state.h"
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define DRAIN_MS 200                 /* after the end: what its children still hold open is not waited for longer */

struct exec_job {
    uv_process_t process;
    uv_pipe_t out;
    uv_timer_t timer;
    unsigned open_handles;           /* closed one by one; the last one frees */
    bool exited, eof, timed_out, finished;
    int status, signal;
    buf output;
    char scratch[4096];
    void (*done)(void *ctx, exec_job *job, const exec_end *end);
    void *ctx;
};

static void on_closed(uv_handle_t *handle)
{
    exec_job *job = handle->data;
    if (--job->open_handles > 0)
        return;
    buf_done(&job->output);
    mem_free(job);
}

static void close_handles(exec_job *job)
{
    uv_handle_t *handles[] = { (uv_handle_t *)&job->process, (uv_handle_t *)&job->out, (uv_handle_t *)&job->timer };
    for (size_t i = 0; i < COUNT_OF(handles); i++)
        if (handles[i]->data && !uv_is_closing(handles[i]))
            uv_close(handles[i], on_closed);
}

static void finish(exec_job *job)
{
    if (job->finished)
        return;
    job->finished = true;
    exec_end end = { .ok = job->status == 0 && job->signal == 0 && !job->timed_out, .status = job->status, .signal = job->signal,
                     .timed_out = job->timed_out, .output = buf_str(&job->output) };
    if (job->done)
        job->done(job->ctx, job, &end);
    close_handles(job);
}

static void on_drained(uv_timer_t *timer)
{
    finish(timer->data);
}

static void on_exit(uv_process_t *process, int64_t status, int signal_number)
{
    exec_job *job = process->data;
    job->exited = true;
    job->status = (int)status;
    job->signal = signal_number;
    if (job->eof || uv_timer_start(&job->timer, on_drained, DRAIN_MS, 0))
        finish(job);
}

static void on_deadline(uv_timer_t *timer)
{
    exec_job *job = timer->data;
    job->timed_out = true;
    kill(-job->process.pid, SIGKILL);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    exec_job *job = handle->data;
    UNUSED(suggested);
    *ret = uv_buf_init(job->scratch, sizeof job->scratch);
}

static void on_output(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
    exec_job *job = stream->data;
    if (n > 0)
        buf_append(&job->output, str_of(bytes->base, MIN((size_t)n, EXEC_KEEP_BYTES - job->output.len)));
    if (n >= 0)
        return;
    uv_read_stop(stream);
    job->eof = true;
    if (job->exited)
        finish(job);
}

/* The environment of galen and the additions, in one block; NULL without memory. */
static char **environment(const exec_options *o, arena *a)
{
    size_t n = 0, used = 0;
    while (environ && environ[n])
        n++;
    char **env = arena_array(a, char *, n + o->env_count + 1);
    for (size_t i = 0; env && i < n; i++)
        env[used++] = environ[i];
    for (size_t i = 0; env && i < o->env_count; i++) {
        str s = arena_printf(a, "%" STR_FMT "=%" STR_FMT, STR_ARG(o->env[i].key), STR_ARG(o->env[i].value));
        if (!s.ptr)
            return NULL;
        env[used++] = (char *)(uintptr_t)s.ptr;
    }
    return env;
}

static char **arguments(const config_strs *command, arena *a)
{
    char **argv = arena_array(a, char *, command->len + 1);
    for (size_t i = 0; argv && i < command->len; i++)
        if (!(argv[i] = arena_cstr(a, command->at[i])))
            return NULL;
    return argv;
}

static int spawn(uv_loop_t *loop, exec_job *job, char **argv, char **env, int64_t timeout_ms)
{
    uv_stdio_container_t stdio[3] = { { .flags = UV_IGNORE }, { .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&job->out },
                                      { .flags = UV_INHERIT_FD, .data.fd = -1 } };
    uv_process_options_t o = { .exit_cb = on_exit, .file = argv[0], .args = argv, .env = env, .flags = UV_PROCESS_DETACHED, .stdio_count = 3, .stdio = stdio };
    int pipe_ends[2];

    /* One pipe for both: stdout and stderr in the order they were written. */
    int rc = uv_pipe(pipe_ends, UV_NONBLOCK_PIPE, 0);
    if (rc)
        return rc;
    stdio[1] = (uv_stdio_container_t){ .flags = UV_INHERIT_FD, .data.fd = pipe_ends[1] };
    stdio[2].data.fd = pipe_ends[1];
    rc = uv_pipe_open(&job->out, pipe_ends[0]);
    if (rc)
        close(pipe_ends[0]);
    if (rc == 0) {                   /* from here on it is a handle, whether the child lives or not */
        job->process.data = job;
        job->open_handles++;
        file_inherit_nothing();
        rc = uv_spawn(loop, &job->process, &o);
    }
    close(pipe_ends[1]);
    if (rc == 0)
        rc = uv_read_start((uv_stream_t *)&job->out, on_alloc, on_output);
    if (rc == 0)
        rc = uv_timer_start(&job->timer, on_deadline, (uint64_t)timeout_ms, 0);
    return rc;
}

err_kind exec_start(uv_loop_t *loop, const exec_options *o, exec_job **ret, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(4u << 20);

    if (o->command->len == 0 || o->command->len > EXEC_MAX_ARGS || o->env_count > EXEC_MAX_ENV)
        return err_set(e, ERR_LIMIT, "a command has 1 to %d arguments", EXEC_MAX_ARGS);
    char **argv = arguments(o->command, &a), **env = environment(o, &a);
    exec_job *job = mem_zalloc(sizeof *job);
    if (!argv || !env || !job) {
        mem_free(job);
        return err_nomem(e);
    }
    job->output = (buf)BUF_INIT(EXEC_KEEP_BYTES);
    job->done = o->done;
    job->ctx = o->ctx;
    uv_pipe_init(loop, &job->out, 0);
    uv_timer_init(loop, &job->timer);
    job->out.data = job->timer.data = job;
    job->open_handles = 2;
    int rc = spawn(loop, job, argv, env, o->timeout_ms);
    if (rc) {
        if (job->process.pid > 0)
            kill(-job->process.pid, SIGKILL);
        job->finished = true;        /* nobody is told twice */
        close_handles(job);
        return err_sys(e, -rc, "could not run \"%s\"", argv[0]);
    }
    *ret = job;
    return OK;
}

void exec_abandon(exec_job *job)
{
    if (!job->exited)
        kill(-job->process.pid, SIGKILL);
    job->finished = true;
    close_handles(job);
}

/* ---- the action ---- */
typedef struct exec_ticket { heal *heal; char subject[512]; uint64_t run; bool escalation; } exec_ticket;

static void describe(const exec_end *end, char *out, size_t cap)
{
    AUTO(buf_done) buf b = BUF_INIT(EXEC_KEEP_BYTES + 200);
    if (end->timed_out)
        buf_append(&b, STR("it ran too long and was killed"));
    else if (end->signal)
        buf_printf(&b, "it ended by signal %d", end->signal);
    else
        buf_printf(&b, "it ended with status %d", end->status);
    str text = str_trim(end->output);
    if (!str_empty(text))
        buf_printf(&b, ": %" STR_FMT, STR_ARG(text));
    str_copy(out, cap, buf_str(&b));
}

static void record_end(heal *h, const exec_ticket *t, const exec_end *end, const char *text)
{
    AUTO(buf_done) buf data = BUF_INIT(HEAL_JSON_MAX);
    json_writer w = json_writer_to(&data);
    err e = { 0 };

    if (!h->deps.audit)
        return;
    json_begin(&w, '{');
    json_put_bool(&w, "ok", end->ok);
    json_put_i64(&w, "status", end->status);
    json_put_i64(&w, "signal", end->signal);
    json_put_bool(&w, "timed_out", end->timed_out);
    json_put_str(&w, "output", end->output);
    json_end(&w, '}');
    audit_record r = { .kind = t->escalation ? STR("heal.escalation.ended") : STR("heal.exec.ended"), .actor = STR("galen"),
                       .subject = str_from(t->subject), .message = str_from(text), .data = buf_failed(&data) ? STR("{}") : buf_str(&data) };
    if (audit_append(h->deps.audit, &r, false, NULL, &e))
        log_error("could not record the end of a command", KV_CSTR("subject", t->subject), KV_ERR(&e));
}

static void on_job_done(void *ctx, exec_job *job, const exec_end *end)
{
    exec_ticket *t = ctx;
    heal *h = t->heal;
    char text[1024];

    for (size_t i = 0; i < h->jobs.len; i++)
        if (h->jobs.at[i] == job) {
            vec_remove(&h->jobs, i);
            break;
        }
    describe(end, text, sizeof text);
    record_end(h, t, end, text);
    if (!t->escalation)
        heal_action_ended(h, str_from(t->subject), t->run, end->ok, end->ok ? "" : text);
    mem_free(t);
}

static err_kind run_command(heal *h, const treatment *t, const config_strs *command, int64_t timeout_ms, bool for_escalation, err *e)
{
    char attempt[24];
    str job_name = STR_EMPTY, instance = STR_EMPTY;
    exec_ticket *ticket = mem_zalloc(sizeof *ticket);
    exec_job *job;

    if (!ticket || vec_reserve(&h->jobs, h->jobs.len + 1)) {
        mem_free(ticket);
        return err_nomem(e);
    }
    *ticket = (exec_ticket){ .heal = h, .run = t->episode.run, .escalation = for_escalation };
    str_copy(ticket->subject, sizeof ticket->subject, t->claim.subject);
    snprintf(attempt, sizeof attempt, "%u", t->episode.attempt);
    policy_subject_split(t->claim.subject, &job_name, &instance);
    const config_pair env[] = {
        { STR("GALEN_SUBJECT"), t->claim.subject }, { STR("GALEN_JOB"), job_name }, { STR("GALEN_INSTANCE"), instance },
        { STR("GALEN_INCIDENT"), t->claim.incident }, { STR("GALEN_CAUSE"), t->claim.cause }, { STR("GALEN_POLICY"), t->policy },
        { STR("GALEN_ATTEMPT"), str_from(attempt) },
    };
    exec_options o = { .command = command, .env = env, .env_count = COUNT_OF(env), .timeout_ms = timeout_ms, .done = on_job_done, .ctx = ticket };
    err_kind k = exec_start(h->deps.loop, &o, &job, e);
    if (k) {
        mem_free(ticket);
        return k == ERR_NOT_FOUND ? ERR_UNSUPPORTED : k;   /* a program that is not there will not be there at the next try */
    }
    h->jobs.at[h->jobs.len++] = job;
    return OK;
}

err_kind action_exec_run(heal *h, const treatment *t, const policy *p, const action *a, err *e)
{
    UNUSED(p);
    return run_command(h, t, &a->command, a->timeout_ms, false, e);
}

#define ESCALATION_TIMEOUT_MS 30000
void action_exec_escalation(heal *h, const treatment *t, const config_strs *command)
{
    err e = { 0 };
    if (run_command(h, t, command, ESCALATION_TIMEOUT_MS, true, &e))
        log_error("could not run the escalation's command, nobody was told by it", KV_STR("subject", t->claim.subject), KV_ERR(&e));
}

void action_exec_end_all(heal *h)
{
    for (size_t i = 0; i < h->jobs.len; i++) {
        mem_free(h->jobs.at[i]->ctx);
        exec_abandon(h->jobs.at[i]);
    }
    vec_done(&h->jobs);
}
