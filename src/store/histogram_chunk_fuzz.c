/* A run of histograms: the first byte is the count that an index claims. What decodes must code back to itself. */
#include "store/histogram_chunk.h"
#include "base/fuzz.h"

FUZZ(input)
{
    if (str_empty(input))
        return;
    arena a = ARENA_INIT(64u << 20);
    histogram_vec out = { 0 }, again = { 0 };
    err_kind k = histogram_chunk_decode(str_skip(input, 1), (uint8_t)input.ptr[0], INT64_MIN, INT64_MAX, &a, &out);
    chunk *c = NULL;
    if (!k && out.len && !histogram_chunk_of(out.at, out.len, &c)) {
        k = histogram_chunk_decode(chunk_bytes(c), c->count, INT64_MIN, INT64_MAX, &a, &again);
        assert(k == ERR_NOMEM || (k == OK && again.len == out.len));
        for (size_t i = 0; i < again.len; i++)
            assert(again.at[i].t_ms == out.at[i].t_ms && histogram_eq(again.at[i].h, out.at[i].h));
    }
    chunk_unref(c);
    vec_done(&out);
    vec_done(&again);
    arena_done(&a);
}
