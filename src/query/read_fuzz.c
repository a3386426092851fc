/* query/read_fuzz.c - any bytes as a remote read request to a small store: an answer or a refusal, nothing else. */
#include "base/fuzz.h"
#include "query/api.h"
#include <stdlib.h>
#include <unistd.h>

static store *stored(void)
{
    static store *s;
    char dir[] = "/tmp/galen-fuzz-read-XXXXXX";
    if (s || !mkdtemp(dir))
        return s;
    store_options o = { .dir = dir, .retention_ms = INT64_C(3153600000000) };
    label l[] = { { METRIC_NAME, STR("up") }, { STR("job"), STR("x") } };
    sample_row rows[3] = { 0 };
    store_recovery recovery;
    if (store_open(&o, &s, &recovery, &(err){ 0 }))
        abort();
    for (int i = 0; i < 3; i++)
        rows[i] = (sample_row){ .labels = { l, 2 }, .t_ms = 1000 * (i + 1), .v = i };
    if (store_append(s, rows, 3, NULL, &(err){ 0 }))
        abort();
    return s;
}

FUZZ(input)
{
    static query_http http;
    label l = { STR("region"), STR("here") };
    job j = { .http = &http, .arena = ARENA_INIT(1u << 20), .body = BUF_INIT(QUERY_REPLY_MAX), .request_body = input, .external = { &l, 1 } };
    if (!http.store) {
        http.store = stored();
        http.engine = query_engine_new(http.store, NULL);
    }
    run_remote_read(&j);
    if (j.status != 200 && (j.status < 400 || !j.body.len))
        __builtin_trap();
    buf_done(&j.body);
    arena_done(&j.arena);
}
