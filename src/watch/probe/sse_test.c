#include "base/test.h"
#include "watch/probe/sse.h"

static const struct {
    const char *what, *stream;
    bool token;
    const char *error;
} streams[] = {
    { "text in a delta is the first token",
      "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"H\"}}]}\n\n",
      true, "" },
    { "the role alone is no token", "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
      false, "" },
    { "a finish without text had a token",
      "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n", true, "" },
    { "reasoning text counts", "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"x\"}}]}\n\n", true, "" },
    { "completions speak of text", "data: {\"choices\":[{\"text\":\"x\"}]}\n\n", true, "" },
    { "CR LF and comments are fine", ": ping\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"H\"}}]}\r\n\r\n",
      true, "" },
    { "a plain JSON answer counts", "{\"choices\":[{\"message\":{\"content\":\"H\"}}]}", true, "" },
    { "an error event is told", "data: {\"error\":{\"message\":\"out of memory\"}}\n\n", false, "out of memory" },
    { "an error as a plain string is told", "{\"error\":\"busy\"}", false, "busy" },
    { "done alone is no token", "data: [DONE]\n\n", false, "" },
    { "garbage is no token", "\x00\xff{]\ndata: {{{\n", false, "" },
    { "nothing is no token", "", false, "" },
};

TEST(streams_show_their_first_token)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        sse s = SSE_INIT;
        bool token = sse_feed(&s, str_from(streams[i].stream)) == SSE_FIRST;
        token = sse_end(&s) == SSE_FIRST || token;
        CHECK_MSG(token == streams[i].token, "%s", streams[i].what);
        CHECK_MSG(strcmp(s.error, streams[i].error) == 0, "%s: \"%s\"", streams[i].what, s.error);
        sse_free(&s);
    }
}

TEST(a_stream_may_be_cut_anywhere)
{
    str text = str_from(streams[0].stream);
    for (size_t cut = 0; cut <= text.len; cut++) {
        sse s = SSE_INIT;
        unsigned firsts =
            (sse_feed(&s, str_sub(text, 0, cut)) == SSE_FIRST) + (sse_feed(&s, str_skip(text, cut)) == SSE_FIRST);
        CHECK_MSG(firsts == 1, "cut at %zu gives %u first tokens", cut, firsts);
        sse_free(&s);
    }
}

TEST(an_endless_event_is_broken_not_endless_memory)
{
    sse s = SSE_INIT;
    char piece[1000];
    sse_event got = SSE_NOTHING;
    memset(piece, 'x', sizeof piece);
    for (int i = 0; i < 100 && got == SSE_NOTHING; i++)
        got = sse_feed(&s, str_of(piece, sizeof piece));
    CHECK_EQ(got, SSE_BROKEN);
    sse_free(&s);
}
