/* A block file with every checksum taken for good: each offset in it may lie. */
#include "store/block.h"
#include "base/fuzz.h"

static void walk(const block *b, uint32_t i)
{
    static block_entry entry;
    block_chunk c;
    uint32_t sum;
    if (block_read_series(b, i, &entry, NULL))
        return;
    for (int n = 0; n < 1000 && !block_next_chunk(b, &entry, &c, &sum, NULL); n++) {
        sample_vec out = { 0 };
        if (!chunk_decode(c.bytes, c.count, INT64_MIN, INT64_MAX, &out))
            assert(out.len == c.count);
        vec_done(&out);
    }
}

FUZZ(input)
{
    static block b;
    b = (block){ 0 };
    if (block_parse(input, false, &b, NULL))
        return;
    matcher m[] = { { STR("__name__"), STR("up"), MATCH_EQ, NULL }, { STR("who"), STR("w1"), MATCH_NE, NULL } };
    for (size_t n = 0; n <= COUNT_OF(m); n++) {
        u32_vec found = { 0 };
        (void)!block_match(&b, m, n, &found, NULL);
        vec_done(&found);
    }
    for (uint32_t i = 0; i < b.series_count && i < 1000; i++)
        walk(&b, i);
}
