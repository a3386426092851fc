/* query/functions/slide.h - a range function over all windows of one series at once.
 *
 * What functions.h's over_… say window by window, these say for a whole series, to the last bit the same: windows
 * overlap, so most of their work can be shared.
 *   - sums of whole numbers are exact whatever the order: prefix sums, one subtraction a window
 *   - other sums keep Prometheus's order of additions within a window, but eight windows go side by side: the
 *     additions of one window wait for each other, those of eight do not
 *   - extremes by a queue that only holds what can still become one (Lemire, "Streaming maximum-minimum filter using
 *     no more than three comparisons per element", 2006)
 *   - counter resets and changes by prefix counts, extrapolation column by column
 * Only for series whose samples are all floats. No threads, no memory of its own. */
#pragma once
#include "query/tables.h"

typedef struct windows {
    const sample *at; size_t len;      /* all samples of the series, oldest first, no stale markers */
    double *values;                    /* their values alone */
    double *room;                      /* len + 1 doubles to work in */
    const uint32_t *low, *high;        /* by step: samples low .. high - 1 lie in its window */
    size_t steps;
    int64_t end_ms, step_ms, range_ms; /* window i is (end_ms + i * step_ms - range_ms, end_ms + i * step_ms] */
} windows;

/* Put a value into the slot of every step that has one; the others stay as they are. True if there was any. */
typedef bool (*slide_fn)(const windows *w, double *slots);
/* NULL: this function goes window by window. */
slide_fn slide_find(window_fn over);
/* Fill low and high. Scrapes come at even distances, so the next border is guessed before it is searched. */
void windows_find(windows *w, uint32_t *low, uint32_t *high);
