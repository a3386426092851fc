/* watch/host/diskstats.c - /proc/diskstats: one line a block device (kernel: admin-guide/iostats.rst).
 *
 * A sector is 512 bytes here whatever the device says; times are milliseconds. Partitions and RAM disks are
 * left out as node_exporter does: ^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$ */
#include "watch/host/collector.h"

static const struct {
    const char *metric;
    double scale;
} columns[] = {
    /* from the fourth word on */
    { "node_disk_reads_completed_total", 1 },
    { "node_disk_reads_merged_total", 1 },
    { "node_disk_read_bytes_total", 512 },
    { "node_disk_read_time_seconds_total", .001 },
    { "node_disk_writes_completed_total", 1 },
    { "node_disk_writes_merged_total", 1 },
    { "node_disk_written_bytes_total", 512 },
    { "node_disk_write_time_seconds_total", .001 },
    { "node_disk_io_now", 1 },
    { "node_disk_io_time_seconds_total", .001 },
    { "node_disk_io_time_weighted_seconds_total", .001 },
    { "node_disk_discards_completed_total", 1 }, /* Linux 4.18 */
    { "node_disk_discards_merged_total", 1 },
    { "node_disk_discarded_sectors_total", 1 },
    { "node_disk_discard_time_seconds_total", .001 },
    { "node_disk_flush_requests_total", 1 }, /* Linux 5.5 */
    { "node_disk_flush_requests_time_seconds_total", .001 },
};

static size_t digits_at_end(str s)
{
    size_t n = 0;
    while (n < s.len && s.ptr[s.len - 1 - n] >= '0' && s.ptr[s.len - 1 - n] <= '9')
        n++;
    return n;
}

static bool excluded(str device)
{
    static const char *const stems[] = { "ram", "zram", "loop", "fd" };
    static const char *const disks[] = { "hd", "sd", "vd", "xvd" }; /* followed by one letter */
    size_t digits = digits_at_end(device);
    str stem = str_sub(device, 0, device.len - digits);
    if (digits == 0)
        return false;
    for (size_t i = 0; i < COUNT_OF(stems); i++) {
        if (str_is(stem, stems[i]))
            return true;
    }
    for (size_t i = 0; i < COUNT_OF(disks); i++) {
        if (stem.len == strlen(disks[i]) + 1 && str_starts(stem, str_from(disks[i])))
            return true;
    }
    return str_starts(stem, STR("nvme")) && str_ends(stem, STR("p")); /* nvme0n1p3 */
}

bool collect_diskstats(host_scan *s, const char *arg, str text)
{
    str line, major, minor, device;
    double v;
    while (str_split(&text, '\n', &line)) {
        if (!next_word(&line, &major) || !next_word(&line, &minor) || !next_word(&line, &device) || excluded(device))
            continue;
        label l = { STR("device"), device };
        for (size_t i = 0; i < COUNT_OF(columns) && next_number(&line, &v); i++)
            emit_put(s->out, (emit_name){ columns[i].metric, STR_EMPTY, NULL }, &l, 1, v * columns[i].scale);
    }
    return true;
}
