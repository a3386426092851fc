/* watch/host/collector.h - what a collector is: a file of /proc and what its lines are called.
 *
 * Each collector is one .c file with a table of what it reads, and one row in the table of host.c. It gets the
 * file's text and puts series; it never opens, allocates or fails loudly: a line it cannot read is left out. */
#pragma once
#include "watch/host/host.h"

typedef struct host_scan {
    emit *out;
    const char *root;             /* see host_options */
    double tick_s;                /* seconds per clock tick */
    int64_t now_ms;
} host_scan;

typedef struct collector {
    const char *name, *help;
    const char *file;             /* below proc; NULL: asks the system itself */
    int64_t every_ms;
    const char *arg;              /* what tells apart rows that share a function */
    /* False: nothing usable was found. */
    bool (*collect)(host_scan *s, const char *arg, str text);
} collector;

bool collect_stat(host_scan *s, const char *arg, str text);
bool collect_meminfo(host_scan *s, const char *arg, str text);
bool collect_loadavg(host_scan *s, const char *arg, str text);
bool collect_vmstat(host_scan *s, const char *arg, str text);
bool collect_pressure(host_scan *s, const char *arg, str text);
bool collect_diskstats(host_scan *s, const char *arg, str text);
bool collect_netdev(host_scan *s, const char *arg, str text);
bool collect_filesystem(host_scan *s, const char *arg, str text);
bool collect_uname(host_scan *s, const char *arg, str text);
bool collect_time(host_scan *s, const char *arg, str text);

/* The next word of *line, words being separated by blanks and tabs. False at the end. */
static inline bool next_word(str *line, str *ret)
{
    size_t i = 0;
    while (i < line->len && (line->ptr[i] == ' ' || line->ptr[i] == '\t'))
        i++;
    size_t from = i;
    while (i < line->len && line->ptr[i] != ' ' && line->ptr[i] != '\t')
        i++;
    *ret = str_sub(*line, from, i - from);
    *line = str_skip(*line, i);
    return ret->len > 0;
}

/* A counter of the kernel as a double; false if it is not a number. Most are integers, so that goes first. */
static inline bool word_number(str word, double *ret)
{
    uint64_t u;
    if (str_to_u64(word, &u)) {
        *ret = (double)u;
        return true;
    }
    return str_to_double(word, ret);
}

static inline bool next_number(str *line, double *ret)
{
    str word;
    return next_word(line, &word) && word_number(word, ret);
}
