#include "face/vitals.h"
#include "base/file.h"
#include <math.h>
#include <sys/resource.h>
#include <unistd.h>

double meter_step(meter *m, double value, int64_t now_ns)
{
    if (!m->started || value < m->value) {
        *m = (meter){ .value = value, .at_ns = now_ns, .per_s = m->per_s, .started = true };
        return m->per_s;
    }
    if (now_ns - m->at_ns >= METER_MIN_NS) {
        m->per_s = (value - m->value) * (double)NS_PER_S / (double)(now_ns - m->at_ns);
        m->value = value;
        m->at_ns = now_ns;
    }
    return m->per_s;
}

bool cpu_times_parse(str proc_stat, cpu_times *ret)
{
    str line = STR_EMPTY, field;
    double sum = 0, idle = 0;
    unsigned n = 0;

    str_split(&proc_stat, '\n', &line);
    if (!str_starts(line, STR("cpu ")))
        return false;
    line = str_skip(line, 4);
    while (n < 8 &&
           str_split(&line, ' ', &field)) { /* user nice system idle iowait irq softirq steal; guest is in user */
        double ticks;
        if (field.len == 0)
            continue;
        if (!str_to_double(field, &ticks))
            return false;
        sum += ticks;
        if (n == 3 || n == 4)
            idle += ticks;
        n++;
    }
    if (n < 4)
        return false;
    double tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK);
    *ret = (cpu_times){ (sum - idle) * tick_s, sum * tick_s };
    return true;
}

/* "MemTotal:  24576000 kB" */
static bool meminfo_line(str text, str key, double *ret_bytes)
{
    str line;
    while (str_split(&text, '\n', &line)) {
        if (!str_starts(line, key))
            continue;
        str rest = str_trim(str_skip(line, key.len)), number = STR_EMPTY;
        double kib;
        if (!str_split(&rest, ' ', &number) || !str_to_double(number, &kib))
            return false;
        *ret_bytes = kib * 1024;
        return true;
    }
    return false;
}

bool memory_parse(str proc_meminfo, double *ret_total, double *ret_available)
{
    double total, available;
    if (!meminfo_line(proc_meminfo, STR("MemTotal:"), &total) ||
        !meminfo_line(proc_meminfo, STR("MemAvailable:"), &available))
        return false;
    *ret_total = total;
    *ret_available = available;
    return true;
}

#define PROC_FILE_MAX 8192 /* the lines wanted are the first ones */
static str read_proc(const char *path, char out[PROC_FILE_MAX])
{
    size_t n = 0;
    return file_read_small(path, out, PROC_FILE_MAX, &n, NULL) == OK ? str_of(out, n) : STR_EMPTY;
}

static double own_rss_bytes(void)
{
    char text[PROC_FILE_MAX];
    str rest = read_proc("/proc/self/statm", text), pages = STR_EMPTY;
    double n;
    str_split(&rest, ' ', &pages);
    str_split(&rest, ' ', &pages);
    return str_to_double(pages, &n) ? n * (double)sysconf(_SC_PAGESIZE) : NAN;
}

static double own_cpu_s(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u))
        return 0;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

vitals_now vitals_look(vitals *v)
{
    char text[PROC_FILE_MAX];
    int64_t now_ns = clock_mono_ns();
    cpu_times cpu;
    double total, available;
    vitals_now now = { NAN, NAN, meter_step(&v->own_cpu, own_cpu_s(), now_ns), own_rss_bytes() };

    if (cpu_times_parse(read_proc("/proc/stat", text), &cpu)) {
        double busy = meter_step(&v->host_busy, cpu.busy, now_ns), all = meter_step(&v->host_total, cpu.total, now_ns);
        now.host_cpu_ratio = all > 0 ? MIN(busy / all, 1.0) : 0;
    }
    if (memory_parse(read_proc("/proc/meminfo", text), &total, &available) && total > 0)
        now.host_memory_ratio = 1 - available / total;
    return now;
}

bool vitals_gpu_available(void) { return file_exists("/dev/nvidiactl"); }
