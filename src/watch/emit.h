/* watch/emit.h - the series one producer keeps putting out: labels built once, ends told.
 *
 * A producer (the host collectors, a supervised process, a target's own `up` …) names its series anew each
 * round. emit remembers the label set and the store's ref behind every name, so a steady round allocates
 * nothing: series come in the same order as last time, and a cursor finds each by one comparison.
 *
 * A round: emit_begin, emit_put for each series, emit_collect (rows for the sink), append, emit_settle.
 * Series of the last round that were not put again get one stale marker, then they are forgotten.
 * Invariant: rows handed out by emit_collect are valid until emit_settle. One thread. */
#pragma once
#include "metric/metric.h"

#define EMIT_MAX_POINTS 200000u   /* series one producer may keep; more are dropped and counted */
#define EMIT_MAX_LABELS 16        /* labels of one series beside __name__ and the base labels */

typedef vec(sample_row) row_vec;

typedef struct emit_point {
    uint64_t key;                 /* hash of name parts and labels as the producer spelled them */
    label_set *labels;
    uint64_t ref;                 /* the sink's */
    double v;
    uint32_t round;               /* the last round it was put in */
} emit_point;

typedef struct emit {
    label_set *base;              /* job, instance … put on every series */
    vec(emit_point) points;
    size_t cursor;
    uint32_t round;
    int64_t t_ms;
    size_t dropped;               /* series lost for lack of memory or beyond EMIT_MAX_POINTS, this round */
} emit;

/* A metric name in up to three parts, so that "node_memory_" + key + "_bytes" is only joined once. */
typedef struct emit_name { const char *prefix; str key; const char *suffix; } emit_name;
#define EMIT_NAME(literal) ((emit_name){ literal, STR_EMPTY, NULL })

/* `base` is copied. ERR_NOMEM. */
err_kind emit_init(emit *m, labels base);
void emit_done(emit *m);
/* Two rounds in one millisecond: the second is put one later, since a series has one value a moment. */
void emit_begin(emit *m, int64_t t_ms);
/* `extra` need not be sorted; empty values are dropped. Characters a metric name may not have become '_'. */
void emit_put(emit *m, emit_name name, const label *extra, size_t n, double v);
static inline void emit_value(emit *m, const char *name, double v) { emit_put(m, (emit_name){ name, STR_EMPTY, NULL }, NULL, 0, v); }
/* Append this round's rows to *rows, stale markers for what was not put again included. */
err_kind emit_collect(emit *m, row_vec *rows);
/* Append stale markers for everything (the producer ends). */
err_kind emit_collect_end(emit *m, int64_t t_ms, row_vec *rows);
/* After the append: forget what ended. */
void emit_settle(emit *m);
/* collect, append and settle in one go, for producers with a batch of their own. `rows` is scratch memory. */
err_kind emit_flush(emit *m, row_vec *rows, const sample_sink *sink, err *e);
err_kind emit_flush_end(emit *m, int64_t t_ms, row_vec *rows, const sample_sink *sink, err *e);
