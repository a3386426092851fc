#include "face/state.h"
#include "face/vitals.h"
#include "base/test.h"
#include <math.h>

static const struct {
    const char *what;
    process_state process;
    int up, health, completion;
    const char *progress, *cause; /* cause NULL: no incident */
    int64_t healthy_since_ms;
    const char *want;
} replicas[] = {
    { "never looked at", PROCESS_NONE, -1, -1, -1, "unknown", NULL, 0, "unknown" },
    { "scraped and idle", PROCESS_NONE, 1, -1, -1, "idle", NULL, 0, "healthy" },
    { "a probe alone is enough to be healthy", PROCESS_NONE, -1, 1, 1, "unknown", NULL, 0, "healthy" },
    { "a failed scrape is suspect", PROCESS_RUNNING, 0, -1, -1, "unknown", NULL, 0, "suspect" },
    { "a failed completion is suspect", PROCESS_RUNNING, 1, 1, 0, "idle", NULL, 0, "suspect" },
    { "an ended process is dead before anyone asks", PROCESS_EXITED, 1, 1, 1, "idle", NULL, 0, "dead" },
    { "watch's own verdict: stalled", PROCESS_RUNNING, 1, 1, 0, "stalled", NULL, 0, "stalled" },
    { "watch's own verdict: saturated", PROCESS_RUNNING, 1, 1, 0, "saturated", NULL, 0, "saturated" },
    { "diagnose goes before the signs", PROCESS_RUNNING, 1, 1, -1, "idle", "engine_frozen", 0, "frozen" },
    { "an unnamed cause is suspect", PROCESS_RUNNING, 1, 1, 1, "idle", "inconclusive", 0, "suspect" },
    { "an incident without a fault yields to signs", PROCESS_RUNNING, 1, 1, 1, "idle", "engine_dead", 5, "healthy" },
};

TEST(a_replica_has_one_word)
{
    for (size_t i = 0; i < COUNT_OF(replicas); i++) {
        replica_info r = { .process = replicas[i].process,
                           .up = replicas[i].up,
                           .health = replicas[i].health,
                           .completion = replicas[i].completion,
                           .progress = replicas[i].progress };
        incident in = { .cause = str_from(replicas[i].cause), .healthy_since_ms = replicas[i].healthy_since_ms };
        const char *got = replica_state_name(&r, replicas[i].cause ? &in : NULL);
        CHECK_MSG(strcmp(got, replicas[i].want) == 0, "%s: got %s, want %s", replicas[i].what, got, replicas[i].want);
    }
}

static const struct {
    const char *what;
    system_load load;
    int want;
} loads[] = {
    { "nothing measured is normal", { NAN, 0, 0.5 }, 0 },
    { "one failing replica in ten is light", { NAN, 0.1, 0.5 }, 1 },
    { "slow answers are light", { 2.5, 0, 0.5 }, 1 },
    { "memory at 96 % is medium", { 0.1, 0, 0.96 }, 2 },
    { "ten seconds and more are heavy", { 11, 0, 0.5 }, 3 },
    { "most replicas down is an emergency", { 0.1, 0.6, 0.5 }, 4 },
    { "the worst sign counts", { 3, 0.6, 0.99 }, 4 },
};

TEST(degradation_follows_the_ladder)
{
    for (size_t i = 0; i < COUNT_OF(loads); i++)
        CHECK_MSG(degradation_level(&loads[i].load) == loads[i].want, "%s", loads[i].what);
}

TEST(cpu_times_leave_idle_and_iowait_out)
{
    cpu_times t;
    CHECK(cpu_times_parse(STR("cpu  100 0 50 800 40 5 5 0 7 0\ncpu0 1 2 3 4\n"), &t));
    double tick_s = t.total / 1000;
    CHECK(fabs(t.busy - 160 * tick_s) < 1e-9);
    CHECK(!cpu_times_parse(STR("cpu  1 2\n"), &t));
    CHECK(!cpu_times_parse(STR("cpu  1 x 3 4\n"), &t));
    CHECK(!cpu_times_parse(STR(""), &t));
}

TEST(memory_needs_both_lines)
{
    double total = 0, available = 0;
    CHECK(memory_parse(STR("MemTotal:       2048 kB\nMemFree: 1 kB\nMemAvailable:   1024 kB\n"), &total, &available));
    CHECK_DOUBLE(total, 2048 * 1024.0);
    CHECK_DOUBLE(available, 1024 * 1024.0);
    CHECK(!memory_parse(STR("MemTotal: 2048 kB\n"), &total, &available));
    CHECK(!memory_parse(STR("MemTotal: much\nMemAvailable: 1 kB\n"), &total, &available));
}

TEST(a_meter_waits_a_second_between_looks)
{
    meter m = { 0 };
    CHECK_DOUBLE(meter_step(&m, 100, 0), 0);
    CHECK_DOUBLE(meter_step(&m, 150, NS_PER_S / 2), 0);
    CHECK_DOUBLE(meter_step(&m, 300, 2 * NS_PER_S), 100);
    CHECK_DOUBLE(meter_step(&m, 999, 2 * NS_PER_S + 1), 100);
    CHECK_DOUBLE(meter_step(&m, 5, 4 * NS_PER_S), 100);
    CHECK_DOUBLE(meter_step(&m, 15, 5 * NS_PER_S), 10);
}

TEST(this_host_can_be_looked_at)
{
    vitals v = { 0 };
    vitals_now now = vitals_look(&v);
    CHECK(now.host_memory_ratio > 0 && now.host_memory_ratio < 1);
    CHECK(now.own_rss_bytes > 100000);
}
