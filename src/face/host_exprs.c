#include "face/host_exprs.h"

/* Whole disks only: dm, md and loop devices lie on top of them and would be counted twice. */
#define DISKS "device!~\"(dm-|md|loop|ram|zram|sr).*\",$host"
#define NICS "device!=\"lo\",$host"

const host_expr host_exprs[] = {
    { "cpu_ratio", "1 - avg(rate(node_cpu_seconds_total{mode=\"idle\",$host}[$window]))" },
    { "cores", "count(node_cpu_seconds_total{mode=\"idle\",$host})" },
    { "memory_used_bytes", "node_memory_MemTotal_bytes{$host} - node_memory_MemAvailable_bytes{$host}" },
    { "memory_total_bytes", "node_memory_MemTotal_bytes{$host}" },
    { "swap_used_bytes", "node_memory_SwapTotal_bytes{$host} - node_memory_SwapFree_bytes{$host}" },
    { "load1", "node_load1{$host}" },
    { "load5", "node_load5{$host}" },
    { "load15", "node_load15{$host}" },
    { "disk_read_bytes_per_s", "sum(rate(node_disk_read_bytes_total{" DISKS "}[$window]))" },
    { "disk_write_bytes_per_s", "sum(rate(node_disk_written_bytes_total{" DISKS "}[$window]))" },
    { "disk_used_ratio",
      "1 - max(node_filesystem_avail_bytes{mountpoint=\"/\",$host}) / max(node_filesystem_size_bytes{mountpoint=\"/\",$host})" },
    { "net_receive_bytes_per_s", "sum(rate(node_network_receive_bytes_total{" NICS "}[$window]))" },
    { "net_transmit_bytes_per_s", "sum(rate(node_network_transmit_bytes_total{" NICS "}[$window]))" },
    { "pressure_cpu_ratio", "rate(node_pressure_cpu_waiting_seconds_total{$host}[$window])" },
    { "pressure_memory_ratio", "rate(node_pressure_memory_waiting_seconds_total{$host}[$window])" },
    { "pressure_io_ratio", "rate(node_pressure_io_waiting_seconds_total{$host}[$window])" },
};
const size_t host_expr_count = COUNT_OF(host_exprs);

bool host_expr_has_window(const char *expr) { return strstr(expr, "$window") != NULL; }

err_kind host_expr_fill(const char *expr, str host_matchers, const char *window, buf *out)
{
    str rest = str_from(expr);

    buf_reset(out);
    while (rest.len) {
        ptrdiff_t at = str_find_char(rest, '$');
        buf_append(out, at < 0 ? rest : str_sub(rest, 0, (size_t)at));
        if (at < 0)
            break;
        rest = str_skip(rest, (size_t)at);
        bool is_host = str_starts(rest, STR("$host"));
        buf_append(out, is_host ? host_matchers : str_from(window));
        rest = str_skip(rest, is_host ? strlen("$host") : strlen("$window"));
    }
    return out->failed;
}
