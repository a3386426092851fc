/* watch/host/pressure.c - /proc/pressure/{cpu,io,memory}: time lost waiting, since boot.
 *
 * "some" (at least one task waited) is node_pressure_<what>_waiting_seconds_total, "full" (all of them did)
 * is _stalled_. For the CPU "full" means nothing system-wide and node_exporter leaves it out. */
#include "watch/host/collector.h"

static const struct {
    const char *what, *line, *metric;
} rows[] = {
    { "cpu", "some", "node_pressure_cpu_waiting_seconds_total" },
    { "io", "some", "node_pressure_io_waiting_seconds_total" },
    { "io", "full", "node_pressure_io_stalled_seconds_total" },
    { "memory", "some", "node_pressure_memory_waiting_seconds_total" },
    { "memory", "full", "node_pressure_memory_stalled_seconds_total" },
};

bool collect_pressure(host_scan *s, const char *what, str text)
{
    str line, kind;
    bool any = false;
    while (str_split(&text, '\n', &line)) {
        ptrdiff_t at = str_find(line, STR("total="));
        double us;
        if (at < 0 || !word_number(str_skip(line, (size_t)at + 6), &us) || !next_word(&line, &kind))
            continue;
        for (size_t i = 0; i < COUNT_OF(rows); i++) {
            if (strcmp(rows[i].what, what) == 0 && str_is(kind, rows[i].line)) {
                emit_value(s->out, rows[i].metric, us / 1e6);
                any = true;
            }
        }
    }
    return any;
}
