/* alert/series_book.h - which series a rule wrote last time, so that what vanishes is marked as ended.
 *
 * A rule writes a set of series each evaluation. Those of the evaluation before that are missing now get a stale
 * marker (metric.h), as Prometheus does (rules/group.go, seriesInPreviousEval). The book also keeps the sink's ref per
 * series, so that the store need not look labels up again. */
#pragma once
#include "alert/alert.h"

typedef struct series_entry { label_set *labels; uint64_t hash, ref; } series_entry;
typedef struct series_book { series_entry *at; size_t len; } series_book;   /* sorted by hash */
typedef struct book_sample { labels labels; double v; } book_sample;

/* Write the samples at t_ms and a stale marker for each series that was written last time and is not among them.
 * The samples' labels must differ from each other. ERR_NOMEM: nothing was written, the book is unchanged. Errors of
 * the sink: the book is as after a write, so that the next write goes on. */
err_kind series_book_write(series_book *b, const book_sample *samples, size_t n, int64_t t_ms, const sample_sink *sink, err *e);
/* The rule is gone: mark all its series as ended. */
err_kind series_book_end(series_book *b, int64_t t_ms, const sample_sink *sink, err *e);
void series_book_done(series_book *b);
