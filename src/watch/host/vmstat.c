/* watch/host/vmstat.c - /proc/vmstat: paging, swapping, faults and OOM kills.
 *
 * node_exporter's default choice of fields is ^(oom_kill|pgpg|pswp|pg.*fault).* */
#include "watch/host/collector.h"

static bool wanted(str key)
{
    if (str_starts(key, STR("oom_kill")) || str_starts(key, STR("pgpg")) || str_starts(key, STR("pswp")))
        return true;
    return str_starts(key, STR("pg")) && str_find(key, STR("fault")) >= 0;
}

bool collect_vmstat(host_scan *s, const char *arg, str text)
{
    str line, key;
    double v;
    bool any = false;
    while (str_split(&text, '\n', &line)) {
        if (!next_word(&line, &key) || !wanted(key) || !next_number(&line, &v))
            continue;
        emit_put(s->out, (emit_name){ "node_vmstat_", key, NULL }, NULL, 0, v);
        any = true;
    }
    return any;
}
