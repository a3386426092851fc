/* store/samples.h - runs of samples, ascending in time: putting two into one. */
#pragma once
#include "store/store.h"

/* all[0 … middle) and the rest, each ascending with each time once, become one such run; where both have a time, the
 * sample of the rest counts. ERR_NOMEM: *all is unchanged. */
CHECKED err_kind samples_join(sample_vec *all, size_t middle);
/* The same for histograms, which are pointed to and stay where they are. */
CHECKED err_kind histograms_join(histogram_vec *all, size_t middle);
