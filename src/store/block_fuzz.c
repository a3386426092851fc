/* A block file with every checksum taken for good: each offset in it may lie. */
#include "store/block.h"
#include "base/fuzz.h"

static void walk(const block *b, uint32_t i)
{
    static block_entry entry;
    block_page p;
    AUTO(buf_done) buf bytes = BUF_INIT(1u << 20);
    if (block_read_series(b, i, &entry, NULL))
        return;
    for (int n = 0; n < 1000 && !block_next_page(b, &entry, &p, NULL); n++) {
        sample_vec out = { 0 };
        if (p.kind == CHUNK_HISTOGRAM)
            (void)!block_histogram_bytes(b, &p, &bytes, NULL);
        else if (!block_decode(b, &p, INT64_MIN, INT64_MAX, &out, NULL))
            assert(out.len <= p.count);
        (void)block_page_has(b, &p, 0, 1000);
        vec_done(&out);
    }
}

FUZZ(input)
{
    static block b;
    b = (block){ .unchecked = true };
    if (block_parse(input, false, &b, NULL))
        return;
    matcher m[] = { { STR("__name__"), STR("up"), MATCH_EQ, NULL }, { STR("who"), STR("w1"), MATCH_NE, NULL } };
    for (size_t n = 0; n <= COUNT_OF(m); n++) {
        u32_vec found = { 0 };
        (void)!block_match(&b, m, n, &found, NULL);
        vec_done(&found);
    }
    u32_vec series = { 0 };
    block_label row;
    uint32_t number;
    for (size_t i = 0; i < block_label_count(&b) && i < 1000; i++)
        if (!block_label_at(&b, i, &row, NULL))
            (void)!block_label_series(&b, i, &series, NULL);
    vec_done(&series);
    for (size_t i = 0; i < 1000 && block_replaces(&b, i, &number); i++)
        ;
    for (uint32_t i = 0; i < b.series_count && i < 1000; i++)
        walk(&b, i);
}
