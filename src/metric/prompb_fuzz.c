/* metric/prompb_fuzz.c - any bytes as each of the messages: no crash, no read beyond the end; what was read can be
 * written, and reads back as the same. */
#include "base/fuzz.h"
#include "metric/prompb.h"

static void again(const prompb_series *s, arena *a)
{
    AUTO(buf_done) buf out = BUF_INIT(64u << 20);
    prompb_series back;
    prompb_put_series(&out, s);
    if (buf_failed(&out))
        return;
    pb_reader r = pb_read(buf_str(&out));
    pb_field f;
    int more = pb_next(&r, &f);
    assert(more == 1 && pb_is(&f, PROMPB_WRITE_SERIES, PB_BYTES));
    if (prompb_read_series(f.bytes, a, &back, NULL))
        return; /* no memory, or an integer histogram whose counts were none */
    assert(labels_eq(s->labels, back.labels) && s->sample_count == back.sample_count);
    assert(s->histogram_count == back.histogram_count && s->exemplar_count == back.exemplar_count);
}

static void requests(str input, arena *a)
{
    prompb_read_request q;
    prompb_result *results;
    size_t n;
    (void)prompb_read_request_decode(input, a, &q, NULL);
    (void)prompb_read_response_decode(input, a, &results, &n, NULL);
    prompb_frames frames = { .rest = input };
    prompb_chunked chunked;
    while (prompb_next_chunked(&frames, a, &chunked, NULL) > 0)
        assert(chunked.labels.len <= LABELS_MAX);
}

FUZZ(input)
{
    AUTO(arena_done) arena a = arena_init(64u << 20);
    prompb_series s;
    exposition_meta m;
    str *symbols;
    size_t n;
    if (!prompb_read_series(input, &a, &s, NULL))
        again(&s, &a);
    (void)prompb_read_metadata(input, &m, NULL);
    requests(input, &a);
    if (prompb2_read_symbols(input, &a, &symbols, &n, NULL))
        return;
    pb_reader r = pb_read(input);
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        if (pb_is(&f, PROMPB2_SERIES, PB_BYTES) && !prompb2_read_series(f.bytes, symbols, n, &a, &s, NULL))
            again(&s, &a);
    }
}
