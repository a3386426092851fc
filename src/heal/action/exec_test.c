#include "base/test.h"
#include "heal/action/exec.h"
#include <unistd.h>

typedef struct outcome { bool done, ok, timed_out; int status, signal; char output[EXEC_KEEP_BYTES + 1]; size_t len; } outcome;

static void on_done(void *ctx, exec_job *job, const exec_end *end)
{
    outcome *o = ctx;
    UNUSED(job);
    *o = (outcome){ true, end->ok, end->timed_out, end->status, end->signal, "", end->output.len };
    str_copy(o->output, sizeof o->output, end->output);
}

static err_kind run(str *argv, size_t n, int64_t timeout_ms, outcome *ret, err *e)
{
    uv_loop_t loop;
    exec_job *job = NULL;
    const config_strs command = { argv, n };
    const config_pair env[] = { { STR("GALEN_SUBJECT"), STR("replica:j/i") } };
    exec_options o = { .command = &command, .env = env, .env_count = 1, .timeout_ms = timeout_ms, .done = on_done, .ctx = ret };
    *ret = (outcome){ 0 };
    CHECK_EQ(uv_loop_init(&loop), 0);
    err_kind k = exec_start(&loop, &o, &job, e);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_EQ(uv_loop_close(&loop), 0);
    return k;
}

static const struct { const char *what, *script; bool ok; int status, signal; const char *output; } rows[] = {
    { "a program that ends well", "exit 0", true, 0, 0, "" },
    { "its status is kept", "exit 3", false, 3, 0, "" },
    { "its signal is kept", "kill -TERM $$", false, 0, 15, "" },
    { "stdout and stderr in their order", "echo a; echo b >&2; echo c", true, 0, 0, "a\nb\nc\n" },
    { "it knows what it is about", "echo $GALEN_SUBJECT", true, 0, 0, "replica:j/i\n" },
    { "it inherits no descriptor but these (and ls's own)", "ls /proc/self/fd", true, 0, 0, "0\n1\n2\n3\n" },
    { "a child that holds the pipe open is not waited for", "sleep 5 & echo x", true, 0, 0, "x\n" },
};

TEST(exec_tells_how_it_ended)
{
    int open_here = dup(2);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        str argv[] = { STR("/bin/sh"), STR("-c"), str_from(rows[i].script) };
        outcome o;
        err e = { 0 };
        CHECK_OK(run(argv, 3, 5000, &o, &e), e);
        CHECK_MSG(o.done && o.ok == rows[i].ok && o.status == rows[i].status && o.signal == rows[i].signal, "%s: %d %d", rows[i].what, o.status, o.signal);
        CHECK_MSG(strcmp(o.output, rows[i].output) == 0, "%s: wrote \"%s\"", rows[i].what, o.output);
    }
    close(open_here);
}

TEST(exec_ends_what_runs_too_long_with_all_its_children)
{
    str argv[] = { STR("/bin/sh"), STR("-c"), STR("sleep 100 & sleep 100") };
    outcome o;
    err e = { 0 };
    CHECK_OK(run(argv, 3, 100, &o, &e), e);
    CHECK(o.timed_out && !o.ok);
    CHECK_EQ(o.signal, 9);
}

TEST(exec_keeps_little_of_much_output)
{
    str argv[] = { STR("/bin/sh"), STR("-c"), STR("head -c 1000000 /dev/zero | tr '\\0' x") };
    outcome o;
    err e = { 0 };
    CHECK_OK(run(argv, 3, 5000, &o, &e), e);
    CHECK(o.ok);
    CHECK_EQ(o.len, EXEC_KEEP_BYTES);
}

TEST(exec_says_what_cannot_be_run)
{
    str argv[] = { STR("/nonexistent/program") };
    outcome o;
    err e = { 0 };
    CHECK_EQ(run(argv, 1, 1000, &o, &e), ERR_NOT_FOUND);
    CHECK_CONTAINS(str_from(e.message), "/nonexistent/program");
    CHECK(!o.done);
}

TEST(exec_survives_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        str argv[] = { STR("/bin/true") };
        outcome o;
        fault_alloc(nth);
        err_kind k = run(argv, 1, 1000, &o, NULL);
        bool fired = fault_fired();
        CHECK(k == OK || (fired && k == ERR_NOMEM));
        if (!fired)
            break;
    }
}
