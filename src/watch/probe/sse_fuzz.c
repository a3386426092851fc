/* watch/probe/sse_fuzz.c - any bytes as the answer to a completion: at most one first token, however it is cut. */
#include "base/fuzz.h"
#include "watch/probe/sse.h"

FUZZ(input)
{
    sse whole = SSE_INIT, cut = SSE_INIT;
    size_t half = input.len / 2;
    bool broken = sse_feed(&whole, input) == SSE_BROKEN;
    unsigned firsts = 0;
    sse_event a = sse_feed(&cut, str_sub(input, 0, half));
    sse_event b = a == SSE_BROKEN ? SSE_BROKEN : sse_feed(&cut, str_skip(input, half));
    firsts = (a == SSE_FIRST) + (b == SSE_FIRST);
    assert(firsts <= 1);
    if (!broken && b != SSE_BROKEN) {
        (void)sse_end(&whole);
        (void)sse_end(&cut);
        assert(whole.got_token == cut.got_token);
    }
    sse_free(&whole);
    sse_free(&cut);
}
