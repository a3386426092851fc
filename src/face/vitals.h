/* face/vitals.h - how busy this host and this process are, straight from /proc.
 *
 * For /health, which must answer with numbers even while nothing is watched (--watch=off) or the store is full;
 * everything that is drawn or alerted on comes from the store instead. Percentages mean what psutil's mean
 * (cpu_percent: busy share of all cores since the last look; virtual_memory().percent: (total - available) / total). */
#pragma once
#include "base/base.h"

/* How fast a counter grows, over at least METER_MIN_NS, so that two askers in one moment do not divide by nothing. */
#define METER_MIN_NS NS_PER_S
typedef struct meter { double value; int64_t at_ns; double per_s; bool started; } meter;
/* The rate as of now; 0 until two looks are METER_MIN_NS apart. A counter that fell starts over. */
double meter_step(meter *m, double value, int64_t now_ns);

/* Seconds of all cores since boot. False if /proc/stat's text has no "cpu" line of at least four numbers. */
typedef struct cpu_times { double busy, total; } cpu_times;
bool cpu_times_parse(str proc_stat, cpu_times *ret);
/* Bytes. False if a line is missing. */
bool memory_parse(str proc_meminfo, double *ret_total, double *ret_available);

typedef struct vitals { meter host_busy, host_total, own_cpu, samples; } vitals;
typedef struct vitals_now {
    double host_cpu_ratio, host_memory_ratio;   /* 0..1; NaN where /proc cannot be read */
    double own_cpu_ratio;                       /* of one core */
    double own_rss_bytes;
} vitals_now;
/* Not thread-safe: the main loop's. The first look only starts the meters. */
vitals_now vitals_look(vitals *v);
bool vitals_gpu_available(void);                /* NVIDIA's driver is loaded */
