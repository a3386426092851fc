/* watch/host/stat.c - /proc/stat: CPU time by mode, switches, interrupts, forks, boot time. */
#include "watch/host/collector.h"

#define CPU_COLUMNS 10

static const struct {
    const char *metric, *mode;
} cpu_columns[CPU_COLUMNS] = {
    /* in the file's order */
    { "node_cpu_seconds_total", "user" },       { "node_cpu_seconds_total", "nice" },
    { "node_cpu_seconds_total", "system" },     { "node_cpu_seconds_total", "idle" },
    { "node_cpu_seconds_total", "iowait" },     { "node_cpu_seconds_total", "irq" },
    { "node_cpu_seconds_total", "softirq" },    { "node_cpu_seconds_total", "steal" },
    { "node_cpu_guest_seconds_total", "user" }, { "node_cpu_guest_seconds_total", "nice" },
};
static const struct {
    const char *key, *metric;
} single_rows[] = {
    { "intr", "node_intr_total" }, /* the first number is the sum of the rest */
    { "ctxt", "node_context_switches_total" },
    { "btime", "node_boot_time_seconds" },
    { "processes", "node_forks_total" },
    { "procs_running", "node_procs_running" },
    { "procs_blocked", "node_procs_blocked" },
};

static void put_cpu(host_scan *s, str cpu, str line)
{
    double ticks;
    for (size_t i = 0; i < CPU_COLUMNS && next_number(&line, &ticks); i++) {
        label l[2] = { { STR("cpu"), cpu }, { STR("mode"), str_from(cpu_columns[i].mode) } };
        emit_put(s->out, (emit_name){ cpu_columns[i].metric, STR_EMPTY, NULL }, l, 2, ticks * s->tick_s);
    }
}

bool collect_stat(host_scan *s, const char *arg, str text)
{
    str line, key;
    double v;
    bool any = false;
    while (str_split(&text, '\n', &line)) {
        if (!next_word(&line, &key))
            continue;
        if (str_starts(key, STR("cpu")) && key.len > 3) { /* "cpu" alone is the sum over all */
            put_cpu(s, str_skip(key, 3), line);
            any = true;
            continue;
        }
        for (size_t i = 0; i < COUNT_OF(single_rows); i++) {
            if (str_is(key, single_rows[i].key) && next_number(&line, &v))
                emit_value(s->out, single_rows[i].metric, v);
        }
    }
    return any;
}
