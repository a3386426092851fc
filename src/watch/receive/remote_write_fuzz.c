/* watch/receive/remote_write_fuzz.c - any bytes as a WriteRequest: no crash, no read beyond the end. */
#include "base/fuzz.h"
#include "watch/receive/remote_write.h"

FUZZ(input)
{
    AUTO(arena_done) arena a = arena_init(64u << 20);
    sample_row *rows = NULL;
    size_t n = 0;
    remote_write_stats stats;
    if (remote_write_read(input, &a, &rows, &n, &stats, NULL))
        return;
    assert(n <= stats.samples);
    for (size_t i = 0; i < n; i++)
        assert(rows[i].labels.len > 0 && rows[i].labels.len <= LABELS_MAX);
}
