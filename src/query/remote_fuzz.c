#include "base/fuzz.h"
#include "query/remote.h"

/* What a remote store may answer, as each kind of reply. */
FUZZ(input)
{
    AUTO(arena_done) arena a = ARENA_INIT(16u << 20);
    query_result r = { 0 };
    labels *series;
    str *texts;
    size_t n;
    err e = { 0 };
    if (query_remote_decode(input, 0, 10000, &r, &e) == OK)
        query_result_done(&r);
    (void)!query_remote_decode_series(input, &a, &series, &n, &e);
    (void)!query_remote_decode_texts(input, &a, &texts, &n, &e);
}
