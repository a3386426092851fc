#include "base/test.h"
#include "base/file.h"
#include "watch/discover/discover.h"

TEST(listening_sockets_on_loopback_or_any_address_are_found_once)
{
    static const int want[] = { 8080, 8000, 30000, 30001 };
    AUTO(buf_done) buf v4 = BUF_INIT(1 << 16);
    AUTO(buf_done) buf v6 = BUF_INIT(1 << 16);
    int ports[DISCOVER_MAX_PORTS];
    err e = { 0 };
    CHECK_OK(file_read("testdata/proc/net/tcp", &v4, &e), e);
    CHECK_OK(file_read("testdata/proc/net/tcp6", &v6, &e), e);
    size_t n = discover_parse_tcp(buf_str(&v4), ports, 0, DISCOVER_MAX_PORTS);
    n = discover_parse_tcp(buf_str(&v6), ports, n, DISCOVER_MAX_PORTS);
    CHECK_EQ(n, COUNT_OF(want));
    for (size_t i = 0; i < n; i++)
        CHECK_EQ(ports[i], want[i]);
    CHECK_EQ(discover_parse_tcp(buf_str(&v4), ports, 0, 1), 1);
}

TEST(broken_lines_are_left_out)
{
    int ports[8];
    CHECK_EQ(discover_parse_tcp(STR("0: 0100007F:1F90 x\n\n1: 0100007F 0 0A\n2: 0100007F:1F90FF 0 0A\n3: :1 0 0A\n"),
                                ports, 0, 8),
             0);
}
