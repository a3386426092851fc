/* An index of Prometheus and its tombstones, every checksum taken for good: each offset may lie. */
#include "store/prom_block.h"
#include "base/fuzz.h"

FUZZ(input)
{
    prom_block b = { .index = input };
    prom_chunk_metas chunks = { 0 };
    if (!prom_block_parse_index(&b, false, NULL))
        for (size_t i = 0; i < prom_block_series_count(&b) && i < 1000; i++)
            (void)!prom_block_series(&b, i, false, (label[LABELS_MAX]){ 0 }, &(labels){ 0 }, &(uint64_t){ 0 }, &chunks, NULL);
    if (!prom_block_parse_tombstones(&b, input, false, NULL))
        (void)prom_block_deleted(&b, 1, 0);
    prom_encoding encoding;
    str data;
    if (!vec_push(&b.files, input))
        for (uint64_t ref = 0; ref < input.len && ref < 100; ref++)
            (void)!prom_block_chunk(&b, ref, false, &encoding, &data, NULL);
    vec_done(&b.files);
    vec_done(&b.symbols);
    vec_done(&b.deleted);
    vec_done(&chunks);
}
