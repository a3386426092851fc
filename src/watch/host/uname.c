/* watch/host/uname.c - uname(2) and the clock: who this machine is and what time it believes it is. */
#include "watch/host/collector.h"
#include <sys/utsname.h>

bool collect_uname(host_scan *s, const char *arg, str text)
{
    struct utsname u;
    if (uname(&u))
        return false;
    label l[6] = {
        { STR("domainname"), str_from(u.domainname) }, { STR("machine"), str_from(u.machine) },
        { STR("nodename"), str_from(u.nodename) },     { STR("release"), str_from(u.release) },
        { STR("sysname"), str_from(u.sysname) },       { STR("version"), str_from(u.version) },
    };
    emit_put(s->out, EMIT_NAME("node_uname_info"), l, COUNT_OF(l), 1);
    return true;
}

bool collect_time(host_scan *s, const char *arg, str text)
{
    emit_value(s->out, "node_time_seconds", (double)s->now_ms / MS_PER_S);
    return true;
}
