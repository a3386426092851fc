#include "face/state.h"

static const struct {
    const char *cause, *state;
} by_cause[] = {
    { "engine_dead", "dead" },
    { "engine_frozen", "frozen" },
    { "decode_stalled", "stalled" },
    { "saturated", "saturated" },
};

static const char *state_of_cause(str cause)
{
    for (size_t i = 0; i < COUNT_OF(by_cause); i++)
        if (str_is(cause, by_cause[i].cause))
            return by_cause[i].state;
    return "suspect";
}

const char *replica_state_name(const replica_info *r, const incident *open)
{
    str progress = str_from(r->progress);

    if (open && open->healthy_since_ms == 0)
        return state_of_cause(open->cause);
    if (r->process == PROCESS_EXITED)
        return "dead";
    if (str_is(progress, "stalled") || str_is(progress, "saturated"))
        return r->progress;
    if (r->up == 0 || r->health == 0 || r->completion == 0 || str_is(progress, "suspect"))
        return "suspect";
    if (r->up < 0 && r->health < 0 && r->completion < 0)
        return "unknown";
    return "healthy";
}

bool replica_state_is_down(const char *state)
{
    str s = str_from(state);
    return str_is(s, "dead") || str_is(s, "frozen") || str_is(s, "stalled");
}

int degradation_level(const system_load *l)
{
    double latency = l->request_latency_s == l->request_latency_s ? l->request_latency_s : 0;
    static const struct {
        int level;
        double latency_s, error, memory;
    } ladder[] = {
        { 4, 1e300, 0.5, 2 },
        { 3, 10, 2, 0.98 },
        { 2, 5, 2, 0.95 },
        { 1, 2, 0.05, 2 },
    };
    for (size_t i = 0; i < COUNT_OF(ladder); i++)
        if (latency > ladder[i].latency_s || l->error_ratio > ladder[i].error || l->memory_ratio > ladder[i].memory)
            return ladder[i].level;
    return 0;
}
