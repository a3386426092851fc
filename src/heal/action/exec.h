/* heal/action/exec.h - run a program: argv, never a shell line, with a deadline, its output kept in small.
 *
 * The child leads a session of its own, so that at the deadline its whole process group is ended. It reads nothing,
 * inherits galen's environment plus the given variables; stdout and stderr together are kept up to EXEC_KEEP_BYTES and
 * the rest is read and dropped. One thread, the loop's. */
#pragma once
#include "base/base.h"
#include "config/config.h"
#include <uv.h>

#define EXEC_KEEP_BYTES 4096
#define EXEC_MAX_ARGS 256
#define EXEC_MAX_ENV 16

typedef struct exec_job exec_job;
typedef struct exec_end {
    bool ok;                         /* ended by itself with status 0 */
    int status, signal;              /* exit status; signal 0: none */
    bool timed_out;
    str output;                      /* borrowed for the call */
} exec_end;
typedef struct exec_options {
    const config_strs *command;
    const config_pair *env; size_t env_count;    /* added to the environment */
    int64_t timeout_ms;
    void (*done)(void *ctx, exec_job *job, const exec_end *end);   /* once, never inside exec_start; the job is gone after it */
    void *ctx;
} exec_options;
/* Everything is copied. ERR_NOT_FOUND, ERR_DENIED, … when the program cannot be started. */
err_kind exec_start(uv_loop_t *loop, const exec_options *o, exec_job **ret, err *e);
/* End the process group now; done is not called. The handles close on the loop's next turns. */
void exec_abandon(exec_job *job);
