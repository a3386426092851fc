/* watch/probe/sse.h - is there a token in this stream yet? The answer of /v1/chat/completions, piece by piece.
 *
 * Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): lines "data: {json}", the
 * last one "data: [DONE]". The first event with text in choices[0].delta is the first token; the event before it
 * that only names the role is not. A stream that ends with a finish_reason and no text had a token without text
 * (half a character, or the end itself): it counts, too. An engine that ignores `stream` answers one JSON object.
 * Knows no clock: the caller notes the time when sse_feed says SSE_FIRST. */
#pragma once
#include "base/base.h"

#define SSE_MAX_LINE (64u << 10)     /* one event; a longer one is no answer to a question for one token */

typedef enum sse_event { SSE_NOTHING, SSE_FIRST, SSE_BROKEN } sse_event;

typedef struct sse {
    buf line;
    bool got_token, done, plain_json;
    char error[160];                 /* what an event or a plain answer said went wrong */
} sse;

#define SSE_INIT { .line = BUF_INIT(SSE_MAX_LINE) }
void sse_free(sse *s);
/* SSE_FIRST exactly once, with the piece that brought the first token. */
sse_event sse_feed(sse *s, str piece);
/* The stream is over: a last line without newline, or a plain JSON answer. */
sse_event sse_end(sse *s);
