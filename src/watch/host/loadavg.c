/* watch/host/loadavg.c - /proc/loadavg: the three load averages. */
#include "watch/host/collector.h"

static const char *const load_columns[] = { "node_load1", "node_load5", "node_load15" };

bool collect_loadavg(host_scan *s, const char *arg, str text)
{
    double v;
    for (size_t i = 0; i < COUNT_OF(load_columns); i++) {
        if (!next_number(&text, &v))
            return false;
        emit_value(s->out, load_columns[i], v);
    }
    return true;
}
