/* A column that somebody else wrote: the first two bytes say how many numbers it should have, and which kind. */
#include "store/column.h"
#include "base/fuzz.h"

FUZZ(input)
{
    static int64_t times[COLUMN_MAX];
    static double values[COLUMN_MAX];
    if (input.len < 2)
        return;
    size_t n = ((uint8_t)input.ptr[0] | (size_t)(uint8_t)input.ptr[1] << 8) % (COLUMN_MAX + 2);
    str bytes = str_skip(input, 2);
    char *room = mem_zalloc(bytes.len + COLUMN_SLACK_BYTES);
    if (!room)
        return;
    if (bytes.len)
        memcpy(room, bytes.ptr, bytes.len);
    (void)!column_times(str_of(room, bytes.len), n, times);
    if (column_values(str_of(room, bytes.len), n, values)) { /* what decodes can be written again, and is the same */
        static double again[COLUMN_MAX];
        AUTO(buf_done) buf out = BUF_INIT(1u << 20);
        column_put_values(&out, values, n);
        bool good = column_values(buf_str(&out), n, again);
        assert(good && memcmp(values, again, n * sizeof *values) == 0);
        (void)good;
    }
    mem_free(room);
}
