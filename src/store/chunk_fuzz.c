/* A chunk's bytes: the first byte is the count that an index claims. What decodes must code back to samples. */
#include "store/chunk.h"
#include "base/fuzz.h"

FUZZ(input)
{
    if (str_empty(input))
        return;
    uint32_t count = (uint8_t)input.ptr[0];
    str bytes = str_skip(input, 1);
    sample_vec out = { 0 };
    err_kind k = chunk_decode(bytes, count, INT64_MIN, INT64_MAX, &out);
    assert(k != OK || out.len == count);
    chunk *c = out.len ? chunk_of(out.at, out.len) : NULL;
    sample_vec again = { 0 };
    if (c) {
        k = chunk_decode(chunk_bytes(c), c->count, INT64_MIN, INT64_MAX, &again);
        assert(k == OK && memcmp(again.at, out.at, again.len * sizeof *again.at) == 0);
    }
    chunk_unref(c);
    vec_done(&out);
    vec_done(&again);
}
