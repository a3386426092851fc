/* Supervised processes, as the room shows them: real children, killed, frozen, outlived, adopted. */
#include "watch/process/procfs.h"
#include "watch/world_test.h"
#include <signal.h>
#include <sys/wait.h>

#define SLEEPER                                                                                                        \
    QUIET                                                                                                              \
    "replicas: [{name: r, job: j, instance: i, url: 'http://127.0.0.1:PORT', scrape_interval: 100ms, health: off, "    \
    "process: {command: [sleep, '1000'], stop_grace: 2s}}]\n"

static bool process_ended(world *w) { return only(w)->process == PROCESS_EXITED; }
static bool process_runs(world *w)
{
    return only(w)->process == PROCESS_RUNNING && !isnan(value(w, "watch_process_up{instance=\"i\",job=\"j\"}"));
}
static bool was_restarted(world *w) { return w->restarted; }
static bool process_stopped(world *w) { return value(w, "watch_process_stopped{instance=\"i\",job=\"j\"}") == 1; }
static void on_restarted(void *ctx, const err *result)
{
    world *w = ctx;
    w->restarted = true;
    w->restart_error = *result;
}

typedef struct found {
    const char *kind;
    unsigned n;
} found;
static bool count_kind(void *ctx, const audit_record *r)
{
    found *f = ctx;
    f->n += str_is(r->kind, f->kind);
    return true;
}
static unsigned recorded(world *w, const char *kind)
{
    char path[FILE_PATH_MAX];
    found f = { kind, 0 };
    err e = { 0 };
    CHECK_OK(file_join(path, w->data, "audit", &e), e);
    CHECK_OK(audit_list(path, &(audit_filter){ 0 }, count_kind, &f, &e), e);
    return f.n;
}

TEST(a_killed_process_is_told_at_once_and_started_again_only_when_asked)
{
    world w;
    err e = { 0 };
    world_open(&w);
    world_watch(&w, SLEEPER);
    CHECK(run_until(&w, process_runs));
    int pid = only(&w)->pid;
    CHECK(pid > 0 && kill(pid, 0) == 0);
    w.changed = false;
    kill(pid, SIGKILL);
    CHECK(run_until(&w, process_ended));
    CHECK(w.changed);
    CHECK_EQ(only(&w)->last_signal, SIGKILL);
    CHECK_DOUBLE(value(&w, "watch_process_up{instance=\"i\",job=\"j\"}"), 0);
    CHECK(isnan(value(&w, "watch_process_threads{instance=\"i\",job=\"j\"}")));
    CHECK_OK(watch_process_restart(w.watch, "replica:j/i", 500, on_restarted, &w, &e), e);
    CHECK(run_until(&w, was_restarted));
    CHECK_OK(w.restart_error.kind, w.restart_error);
    CHECK(only(&w)->pid != pid && only(&w)->restarts == 1);
    CHECK_EQ(recorded(&w, "watch.process.started"), 2);
    CHECK_EQ(recorded(&w, "watch.process.exited"), 1);
    kill(only(&w)->pid, SIGKILL);
    CHECK(run_until(&w, process_ended));
    world_close(&w);
}

TEST(a_frozen_process_shows_and_can_be_restarted)
{
    world w;
    err e = { 0 };
    world_open(&w);
    world_watch(&w, SLEEPER);
    CHECK(run_until(&w, process_runs));
    int pid = only(&w)->pid;
    kill(pid, SIGSTOP);
    CHECK(run_until(&w, process_stopped));
    CHECK_OK(watch_process_restart(w.watch, "replica:j/i", 2000, on_restarted, &w, &e), e);
    CHECK_EQ(watch_process_restart(w.watch, "replica:j/i", 2000, on_restarted, &w, &e), ERR_CONFLICT);
    CHECK(run_until(&w, was_restarted));
    CHECK_OK(w.restart_error.kind, w.restart_error);
    CHECK(only(&w)->pid != pid && kill(pid, 0) != 0);
    kill(only(&w)->pid, SIGKILL);
    CHECK(run_until(&w, process_ended));
    world_close(&w);
}

TEST(a_process_survives_us_and_is_adopted_by_the_next)
{
    world w;
    err e = { 0 };
    world_open(&w);
    world_watch(&w, SLEEPER);
    CHECK(run_until(&w, process_runs));
    int pid = only(&w)->pid;
    watch_close(w.watch);
    w.watch = NULL;
    CHECK_EQ(kill(pid, 0), 0);
    world_watch(&w, SLEEPER);
    CHECK_EQ(only(&w)->pid, pid);
    CHECK_EQ(recorded(&w, "watch.process.adopted"), 1);
    CHECK_EQ(recorded(&w, "watch.process.started"), 1);
    kill(pid, SIGKILL);
    CHECK(run_until(&w, process_ended));
    CHECK(only(&w)->last_exit_code == -1 && only(&w)->last_signal == -1);
    waitpid(pid, NULL, 0); /* here it is our own child after all */
    CHECK_OK(watch_process_restart(w.watch, "replica:j/i", 500, on_restarted, &w, &e), e);
    CHECK(run_until(&w, was_restarted));
    kill(only(&w)->pid, SIGKILL);
    CHECK(run_until(&w, process_ended));
    world_close(&w);
}

TEST(a_changed_replica_keeps_its_process_over_a_reload)
{
    world w;
    err e = { 0 };
    world_open(&w);
    world_watch(&w, SLEEPER);
    CHECK(run_until(&w, process_runs));
    int pid = only(&w)->pid;
    CHECK_OK(watch_reload(w.watch,
                          world_config(&w, QUIET
                                       "replicas: [{name: renamed, job: j, instance: i, url: 'http://127.0.0.1:PORT', "
                                       "process: {command: [sleep, '2000']}}]\n"),
                          &e),
             e);
    CHECK_EQ(only(&w)->pid, pid);
    CHECK_STR(str_from(only(&w)->name), "renamed");
    CHECK_EQ(recorded(&w, "watch.process.started"), 1);
    kill(pid, SIGKILL);
    CHECK(run_until(&w, process_ended));
    CHECK_EQ(only(&w)->last_signal, SIGKILL); /* still our child */
    world_close(&w);
}

TEST(a_process_is_handed_on_from_a_configuration_that_only_its_replica_still_held)
{
    static const char *const rows[] = { SLEEPER, SLEEPER "# nothing has changed\n",
                                        QUIET "replicas: [{name: renamed, job: j, instance: i, url: 'http://127.0.0.1:PORT', "
                                              "process: {command: [sleep, '2000']}}]\n" };
    world w;
    err e = { 0 };
    world_open(&w);
    world_watch(&w, rows[0]);
    CHECK(run_until(&w, process_runs));
    int pid = only(&w)->pid;
    CHECK_OK(watch_reload(w.watch, world_config(&w, rows[1]), &e), e);
    CHECK_OK(watch_reload(w.watch, world_config(&w, rows[2]), &e), e);
    CHECK_EQ(only(&w)->pid, pid);
    kill(pid, SIGKILL);
    CHECK(run_until(&w, process_ended));
    world_close(&w);
}

static bool was_scraped(world *w) { return w->scrapes > 1; }

TEST(an_engine_inherits_no_socket_of_ours)
{
    world w;
    err e = { 0 };
    world_open(&w);
    world_watch(&w, SLEEPER);
    CHECK(run_until(&w, process_runs));
    CHECK(run_until(&w, was_scraped));
    CHECK_OK(watch_process_restart(w.watch, only(&w)->id, 500, on_restarted, &w, &e), e);
    CHECK(run_until(&w, was_restarted));
    CHECK_EQ(procfs_count_fds("/proc", only(&w)->pid), 3);
    kill(only(&w)->pid, SIGKILL);
    CHECK(run_until(&w, process_ended));
    world_close(&w);
}

static bool engine_runs(world *w) { return only(w)->process == PROCESS_RUNNING; }

#define SLEEPING_AT(names) QUIET "replicas: [{" names ", url: 'http://127.0.0.1:PORT', process: {command: [sleep, '1000']}}]\n"

TEST(an_engine_whose_replica_is_renamed_is_not_started_twice)
{
    world w;
    err e = { 0 };
    world_open(&w);
    world_watch(&w, SLEEPING_AT("name: a"));
    CHECK(run_until(&w, engine_runs));
    int pid = only(&w)->pid;
    CHECK_OK(watch_reload(w.watch, world_config(&w, SLEEPING_AT("name: b")), &e), e); /* the job is the name, if not given */
    CHECK_EQ(only(&w)->pid, pid);
    CHECK_STR(str_from(only(&w)->job), "b");
    CHECK_EQ(recorded(&w, "watch.process.started"), 1);
    watch_close(w.watch);
    world_watch(&w, SLEEPING_AT("name: b")); /* and is remembered by its new name */
    CHECK_EQ(only(&w)->pid, pid);
    kill(pid, SIGKILL);
    CHECK(run_until(&w, process_ended));
    waitpid(pid, NULL, 0);
    world_close(&w);
}

TEST(an_engine_that_leaves_the_configuration_runs_on_and_is_adopted_when_it_comes_back)
{
    static const char *const without[] = { QUIET, QUIET "replicas: [{name: a, url: 'http://127.0.0.1:PORT'}]\n" };
    for (size_t i = 0; i < COUNT_OF(without); i++) {
        world w;
        err e = { 0 };
        world_open(&w);
        world_watch(&w, SLEEPING_AT("name: a"));
        CHECK(run_until(&w, engine_runs));
        int pid = only(&w)->pid;
        CHECK_OK(watch_reload(w.watch, world_config(&w, without[i]), &e), e);
        CHECK_EQ(kill(pid, 0), 0);
        CHECK_EQ(recorded(&w, "watch.process.released"), 1);
        if (only(&w))
            CHECK_EQ(watch_process_restart(w.watch, only(&w)->id, 0, on_restarted, &w, &e), ERR_UNSUPPORTED);
        CHECK_OK(watch_reload(w.watch, world_config(&w, SLEEPING_AT("name: a")), &e), e);
        CHECK_EQ(only(&w)->pid, pid);
        kill(pid, SIGKILL);
        CHECK(run_until(&w, process_ended));
        waitpid(pid, NULL, 0);
        world_close(&w);
    }
}

TEST(a_restart_of_an_engine_that_leaves_the_configuration_is_answered)
{
    world w;
    err e = { 0 };
    world_open(&w);
    world_watch(&w, QUIET "replicas: [{name: a, url: 'http://127.0.0.1:PORT', process: {command: [sh, -c, 'trap : TERM; while :; do sleep 1; done']}}]\n");
    CHECK(run_until(&w, engine_runs));
    int pid = only(&w)->pid;
    CHECK_OK(watch_process_restart(w.watch, only(&w)->id, 60000, on_restarted, &w, &e), e);
    CHECK_OK(watch_reload(w.watch, world_config(&w, QUIET), &e), e);
    CHECK(run_until(&w, was_restarted));
    CHECK_EQ(w.restart_error.kind, ERR_CANCELED);
    kill(-pid, SIGKILL);
    world_close(&w);
}

TEST(a_command_that_cannot_be_started_is_recorded_not_fatal)
{
    world w;
    world_open(&w);
    world_watch(
        &w, QUIET
        "replicas: [{name: r, job: j, instance: i, url: 'http://127.0.0.1:PORT', process: {command: [/no/such/engine]}}]\n");
    CHECK_EQ(only(&w)->process, PROCESS_EXITED);
    CHECK_EQ(recorded(&w, "watch.process.start_failed"), 1);
    CHECK_EQ(watch_process_restart(w.watch, "replica:x/y", 0, on_restarted, &w, NULL), ERR_NOT_FOUND);
    world_close(&w);
}
