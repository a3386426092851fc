/* watch/host/netdev.c - /proc/net/dev: what each interface has received and sent. */
#include "watch/host/collector.h"

static const char *const columns[] = {
    /* in the file's order */
    "node_network_receive_bytes_total",      "node_network_receive_packets_total",
    "node_network_receive_errs_total",       "node_network_receive_drop_total",
    "node_network_receive_fifo_total",       "node_network_receive_frame_total",
    "node_network_receive_compressed_total", "node_network_receive_multicast_total",
    "node_network_transmit_bytes_total",     "node_network_transmit_packets_total",
    "node_network_transmit_errs_total",      "node_network_transmit_drop_total",
    "node_network_transmit_fifo_total",      "node_network_transmit_colls_total",
    "node_network_transmit_carrier_total",   "node_network_transmit_compressed_total",
};

bool collect_netdev(host_scan *s, const char *arg, str text)
{
    str line;
    double v;
    bool any = false;
    while (str_split(&text, '\n', &line)) {
        ptrdiff_t colon = str_find_char(line, ':');
        if (colon < 0)
            continue; /* the two lines of headings */
        label l = { STR("device"), str_trim(str_sub(line, 0, (size_t)colon)) };
        line = str_skip(line, (size_t)colon + 1);
        for (size_t i = 0; i < COUNT_OF(columns) && next_number(&line, &v); i++)
            emit_put(s->out, (emit_name){ columns[i], STR_EMPTY, NULL }, &l, 1, v);
        any = true;
    }
    return any;
}
