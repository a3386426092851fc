/* watch/process/process.h - engines that galen starts, outlives, and finds again.
 *
 *            start ok                            leader ends
 *   NONE ---------------> STARTING --> RUNNING ---------------> EXITED --(restart)--> STARTING
 *     \__ adopt (pid, start time, boot) __/ | restart                                   ^
 *                                           v        leader ends, group killed          |
 *                                        STOPPING --------------------------------------+
 *
 *   STARTING  runs, and the owner has not yet said that it answers (process_answered)
 *   STOPPING  SIGTERM is sent to the group (and SIGCONT, for one that is frozen); SIGKILL after the grace time
 *   EXITED    nothing runs; nobody starts it again but process_restart: that is heal's decision
 *
 * The engine runs in its own session, writes to DATA/spool/<name>.log, and gets no parent-death signal: galen may
 * die, be upgraded, come back. What names it then is pid + start time + boot id in state.db, table "process". An
 * adopted process is not our child: its end is seen by pidfd (pidfd_open(2)), its exit code is not known.
 *
 * The log is cut at PROCESS_LOG_MAX by copy and truncate (the engine holds the file open for appending), one old
 * file is kept; lines written between copy and truncate are lost. */
#pragma once
#include "watch/emit.h"
#include "watch/watch_config.h"

#define PROCESS_LOG_MAX (16u << 20)
#define PROCESS_KILL_WAIT_MS 5000        /* after SIGKILL; a process in uninterruptible sleep may take longer */

typedef struct process process;

typedef struct process_deps {
    uv_loop_t *loop;
    audit *audit;                        /* may be NULL */
    state_db *state;                     /* may be NULL: nothing is adopted */
    const char *spool_dir;               /* NULL: output goes to /dev/null */
    void (*on_change)(void *ctx);        /* started, adopted, ended */
    void *ctx;
} process_deps;

typedef struct process_info {
    process_state state;
    int pid;
    int64_t start_ms;
    int64_t end_ms;                      /* EXITED: since when; else 0 */
    int last_exit_code, last_signal;     /* -1: none */
    unsigned restarts;
    bool adopted;
    char proc_state;                     /* R S D Z T of /proc/PID/stat; 0: not read */
} process_info;

/* `id`: the replica's, e.g. "replica:chat/127.0.0.1:8000"; `c` must outlive the process. Adopts a living one, else
 * starts it once. A command that cannot be started is no error here: it is audited, and the state is EXITED. */
err_kind process_open(const process_deps *deps, const char *id, const process_config *c, process **ret, err *e);
/* The engine keeps running. */
void process_close(process *p);
/* The same, because the configuration does not name it any more: recorded, and a restart under way is answered
 * (ERR_CANCELED, later). Remembered still: named again, it is adopted. */
void process_release(process *p);
/* The configuration changed, the process goes on, also under another id: a new command takes effect with the next
 * start. */
void process_rebind(process *p, const char *id, const process_config *c, void (*on_change)(void *ctx), void *ctx);
process_info process_info_of(const process *p);
/* It answered: STARTING becomes RUNNING. */
void process_answered(process *p);
/* See watch_process_restart. grace_ms < 0: as configured. done is never called inside. */
err_kind process_restart(process *p, int64_t grace_ms, void (*done)(void *ctx, const err *result), void *ctx, err *e);
/* Each second: /proc into series, the log's size. */
void process_sample(process *p, emit *out, bool with_fds);
