#include "watch/probe/sse.h"
#include "base/json.h"

void sse_free(sse *s) { buf_done(&s->line); }

static bool has_text(json_val delta)
{
    static const char *const fields[] = { "content", "reasoning_content", "reasoning", "text" };
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (json_str_or(json_get(delta, fields[i]), STR_EMPTY).len)
            return true;
    }
    return json_len(json_get(delta, "tool_calls")) > 0;
}

static void note_error(sse *s, json_val root)
{
    json_val error = json_get(root, "error");
    str text = json_typeof(error) == JSON_STRING ? json_str_or(error, STR_EMPTY)
                                                 : json_str_or(json_get(error, "message"), STR_EMPTY);
    if (text.len)
        str_copy(s->error, sizeof s->error, text);
}

/* True if this object shows that a token was made. */
static bool shows_token(sse *s, str text)
{
    json_doc *doc = NULL;
    if (json_parse(text, &doc, NULL))
        return false;
    json_val root = json_root(doc), choice = json_at(json_get(root, "choices"), 0);
    bool token = has_text(json_get(choice, "delta")) || has_text(json_get(choice, "message")) ||
                 json_str_or(json_get(choice, "text"), STR_EMPTY).len ||
                 json_str_or(json_get(choice, "finish_reason"), STR_EMPTY).len;
    note_error(s, root);
    json_doc_free(doc);
    return token;
}

static sse_event take_line(sse *s)
{
    str line = str_trim(buf_str(&s->line));
    bool first = false;
    if (str_starts(line, STR("data:"))) {
        str data = str_trim(str_skip(line, 5));
        if (str_is(data, "[DONE]"))
            s->done = true;
        else
            first = !s->got_token && shows_token(s, data);
    } else if (line.len && line.ptr[0] == '{') {
        s->plain_json = true;
        first = !s->got_token && shows_token(s, line);
    }
    buf_reset(&s->line);
    s->got_token = s->got_token || first;
    return first ? SSE_FIRST : SSE_NOTHING;
}

sse_event sse_feed(sse *s, str piece)
{
    sse_event result = SSE_NOTHING;
    while (piece.len) {
        ptrdiff_t end = str_find_char(piece, '\n');
        if (buf_append(&s->line, str_sub(piece, 0, end < 0 ? piece.len : (size_t)end)))
            return SSE_BROKEN;
        if (end < 0)
            break;
        if (take_line(s) == SSE_FIRST)
            result = SSE_FIRST;
        piece = str_skip(piece, (size_t)end + 1);
    }
    return result;
}

sse_event sse_end(sse *s) { return s->line.len ? take_line(s) : SSE_NOTHING; }
