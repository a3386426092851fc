/* Requests cut at every place the fuzzer likes: the first byte says how long the pieces are. Whatever the cut,
 * the same requests must come out, and both must end refused or neither. (The status may differ where two refusals
 * compete: llhttp reports a long trailer piece by piece, but an evil byte in it at once.) */
#include "base/fuzz.h"
#include "base/hash.h"
#include "net/net.h"

typedef struct outcome {
    unsigned requests;
    uint64_t digest;
    int status;
} outcome;

static uint64_t mix(uint64_t digest, str s) { return hash_str(s, digest * 31 + s.len); }

static void took(void *ctx, http_request *req)
{
    outcome *o = ctx;
    str value;

    o->requests++;
    o->digest = mix(mix(mix(o->digest, req->path), req->query), req->body);
    for (size_t i = 0; i < req->header_count; i++)
        o->digest = mix(mix(o->digest, req->headers[i].name), req->headers[i].value);
    for (size_t pos = 0; http_param_each(req, "a", &pos, &value);)
        o->digest = mix(o->digest, value);
    buf body = BUF_INIT(1u << 20);
    http_body_decoded(req, &body, NULL);
    buf_done(&body);
}

static outcome feed(str bytes, size_t piece)
{
    outcome o = { 0 };
    http1_codec *c = http1_codec_new(NULL, (http1_events){ took, &o });

    while (c && bytes.len && http1_feed(c, str_sub(bytes, 0, piece), &o.status, NULL) == OK)
        bytes = str_skip(bytes, piece);
    http1_codec_free(c);
    return o;
}

FUZZ(input)
{
    if (!input.len)
        return;
    size_t piece = (unsigned char)input.ptr[0] % 64 + 1u;
    outcome whole = feed(str_skip(input, 1), input.len), cut = feed(str_skip(input, 1), piece);
    if (whole.requests != cut.requests || whole.digest != cut.digest || !whole.status != !cut.status)
        __builtin_trap();
}
