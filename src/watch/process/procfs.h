/* watch/process/procfs.h - what /proc says of one process.
 *
 * Source: proc(5). The command in /proc/PID/stat stands in parentheses and may itself contain blanks and
 * parentheses, so fields are counted from the last ')'. The start time (field 22, clock ticks since boot)
 * together with the pid names a process for as long as the machine runs: pids are given out again. */
#pragma once
#include "base/base.h"

typedef struct procfs_stat {
    int pid, ppid, pgrp, session;
    char state;                   /* R S D Z T t X I … */
    uint64_t user_ticks, system_ticks;
    uint64_t threads;
    uint64_t start_ticks;         /* since boot */
    uint64_t rss_pages;
} procfs_stat;

/* The text of /proc/PID/stat. False if it is not that. */
bool procfs_parse_stat(str text, procfs_stat *ret);
/* The same, read from `proc` ("/proc"). ERR_NOT_FOUND: there is no such process. */
err_kind procfs_read_stat(const char *proc, int pid, procfs_stat *ret, err *e);
/* Open descriptors, counted; -1 if /proc/PID/fd cannot be read (other user). */
int64_t procfs_count_fds(const char *proc, int pid);
/* Bytes a process has read and written on block devices. False where /proc/PID/io is not readable. */
bool procfs_read_io(const char *proc, int pid, uint64_t *ret_read, uint64_t *ret_written);
/* Names this boot, so that a pid remembered before a reboot matches nothing. Empty if unknown. */
#define PROCFS_BOOT_ID_MAX 40
void procfs_boot_id(const char *proc, char out[PROCFS_BOOT_ID_MAX]);
/* Unix time in milliseconds at which a process with this start time began; 0 if unknown. */
int64_t procfs_start_ms(const char *proc, uint64_t start_ticks);
