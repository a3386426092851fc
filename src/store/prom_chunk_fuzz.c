/* A chunk of Prometheus: the first byte says how it is coded. */
#include "store/prom_chunk.h"
#include "base/fuzz.h"

FUZZ(input)
{
    if (input.len == 0)
        return;
    str data = str_skip(input, 1);
    if (input.ptr[0] % 3 == 0) {
        sample_vec v = { 0 };
        if (!prom_chunk_samples(data, &v, NULL))
            for (size_t i = 1; i < v.len; i++)
                assert(v.at[i].t_ms > v.at[i - 1].t_ms);
        vec_done(&v);
        return;
    }
    AUTO(arena_done) arena a = ARENA_INIT(64u << 20);
    histogram_vec h = { 0 };
    (void)!prom_chunk_histograms(data, input.ptr[0] % 3 == 1 ? PROM_HISTOGRAM : PROM_FLOAT_HISTOGRAM, &a, &h, NULL);
    for (size_t i = 0; i < h.len; i++)
        (void)!histogram_check(h.at[i].h, NULL);
    vec_done(&h);
}
