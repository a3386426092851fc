/* watch/receive/remote_write_fuzz.c - any bytes as a request of 1.0 and of 2.0, each sent twice: no crash, no read beyond
 * the end, and what reaches the sink has labels or a ref that the sink gave. */
#include "base/fuzz.h"
#include "watch/receive/receiver.h"

#define REF 42

static err_kind sink_append(void *ctx, const sample_row *rows, size_t n, sink_result *rejected, err *e)
{
    UNUSED(ctx);
    UNUSED(e);
    for (size_t i = 0; i < n; i++) {
        assert(rows[i].labels.len <= LABELS_MAX);
        assert(rows[i].labels.len ? labels_name(rows[i].labels).len > 0 : *rows[i].ref == REF);
        *rows[i].ref = REF;
    }
    rejected->appended = n;
    return OK;
}

static err_kind sink_exemplars(void *ctx, const exemplar_row *rows, size_t n, sink_result *rejected, err *e)
{
    UNUSED(ctx);
    UNUSED(e);
    for (size_t i = 0; i < n; i++)
        assert(rows[i].series.len && rows[i].exemplar.labels.len <= LABELS_MAX);
    rejected->appended = n;
    return OK;
}

FUZZ(input)
{
    sample_sink sink = { .append = sink_append, .append_exemplars = sink_exemplars };
    receiver *r = receiver_new(&sink);
    receive_result result;
    for (int turn = 0; r && turn < 4; turn++) {
        if (!receiver_take(r, input, turn % 2, 1000, &result, NULL))
            assert(result.samples + result.histograms <= WRITE_MAX_SAMPLES);
    }
    receiver_free(r);
}
