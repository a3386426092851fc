#include "diagnose/diagnose_config.h"

#define FIELD(key_, member, preset_, min_, max_, help_) \
    { .key = key_, .type = CONFIG_DURATION, .offset = offsetof(diagnose_config, member), .preset = preset_, .min = min_, .max = max_, .help = help_ }
#define HOUR (3600 * MS_PER_S)

const config_field diagnose_fields[] = {
    FIELD("tick", tick_ms, "1s", 100, HOUR, "How often replicas are looked at."),
    FIELD("fresh", fresh_ms, "1m", 1000, HOUR, "An answer older than this is no answer; more than two scrape and probe intervals."),
    FIELD("recent", recent_ms, "15s", 1000, HOUR, "Span over which a process's use of CPU time is looked at."),
    FIELD("stall_after", stall_after_ms, "30s", 1000, HOUR, "Work without progress for this long has stopped; longer than the longest prefill."),
    FIELD("freeze_after", freeze_after_ms, "5s", 0, HOUR, "A silent process must be silent for this long to be called frozen."),
    FIELD("saturated_after", saturated_after_ms, "15s", 0, HOUR, "A queue must stand for this long to be called saturation."),
    FIELD("inconclusive_after", inconclusive_after_ms, "15s", 0, HOUR, "Unexplained symptoms must hold for this long."),
    FIELD("slow_first_token", slow_first_token_ms, "10s", 1, HOUR, "A test completion whose first token takes longer is slow."),
    FIELD("start_grace", start_grace_ms, "30s", 0, HOUR, "A process this young that has not answered yet is starting."),
    FIELD("close_after", close_after_ms, "10s", 0, HOUR, "Healthy for this long, with proof, closes the incident."),
};
const size_t diagnose_field_count = COUNT_OF(diagnose_fields);

err_kind diagnose_config_parse(const config *c, diagnose_config **ret, err *e)
{
    AUTO(arena_done) arena scratch = ARENA_INIT(1u << 16);
    AUTO(mem_freep) diagnose_config *d = mem_zalloc(sizeof *d);

    if (!d)
        return err_nomem(e);
    err_kind k = config_bind(c ? c->doc : NULL, c ? c->diagnose : NULL, diagnose_fields, diagnose_field_count, d, &scratch, e);
    if (k)
        return k;
    *ret = TAKE(d);
    return OK;
}

void diagnose_config_free(diagnose_config *c)
{
    mem_free(c);
}

int64_t diagnose_config_tick_ms(const diagnose_config *c)
{
    return c->tick_ms;
}
