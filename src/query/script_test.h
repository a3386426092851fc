/* query/script_test.h - for the room's tests: query scripts in Prometheus's test language (promql/promqltest/README.md).
 *
 * script_read_test.c reads them, script_test.c runs and compares. What cannot be read fails the test with file and
 * line; what the language has and we do not judge sets `skip`. */
#pragma once
#include "base/test.h"
#include "metric/metric.h"
#include "query/query.h"

/* A sample: left out, a float, or (h) a native histogram in the section's arena. */
typedef struct point { double v; const histogram *h; bool omitted; } point;
typedef vec(point) points;
typedef vec(double) vec_double;
typedef struct bucket_line { double bound; points points; } bucket_line;
typedef struct wanted { labels labels; points points; } wanted;

typedef struct script {
    const char *path;
    buf text;
    str *lines; size_t line_count;
    size_t at;                     /* line we stand on */
    arena arena;                   /* of the section */
    store *store;
    query_engine *engine;
    unsigned features, passed, failed, skipped;
} script;

typedef struct test_eval {
    size_t line;
    str expr;
    bool range, ordered, fail, has_scalar, warn, info, no_warn, no_info;
    int64_t from_ms, to_ms, step_ms;
    str message, pattern;
    double scalar;
    str string; bool has_string, skip;
    vec(wanted) series;
} test_eval;

/* Append what the load command in `line`, and the lines below it up to an empty one, say; s->at goes to the last. */
void script_load(script *s, str line);

/* The eval command in `line` and the results wanted below it; s->at goes to the last. What *ret points to lies in the
 * script's text and arena; script_eval_done() frees the rest. */
void script_read_eval(script *s, str line, test_eval *ret);
void script_eval_done(test_eval *t);
