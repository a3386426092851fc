/* store/late.h - the samples of a series that came out of order, put in order.
 *
 * They lie in packed chunks that may overlap each other, and in a short sorted list. At one time the sample that came
 * first counts. The head's lock is held. */
#pragma once
#include "store/head.h"

/* Ascending, each time once, in from_ms..to_ms; appended to *out, which is empty. ERR_NOMEM; ERR_CORRUPT never happens
 * to chunks that we made. */
CHECKED err_kind late_floats(const series_more *m, int64_t from_ms, int64_t to_ms, sample_vec *out);
/* Histograms live in `a`. */
CHECKED err_kind late_histograms(const series_more *m, int64_t from_ms, int64_t to_ms, arena *a, histogram_vec *out);
/* The same as closed chunks of at most CHUNK_MAX_SAMPLES, appended to *out (empty); the caller's, also on an error. */
CHECKED err_kind late_chunks(const series_more *m, int64_t from_ms, int64_t to_ms, chunk_run **out);
