/* base/clock.h - the only place that reads a clock, so tests own time.
 *
 * Samples and events carry wall time in milliseconds since the epoch; durations and deadlines are
 * monotonic nanoseconds. With a fake clock set, both stand still until the test moves them. */
#pragma once
#include <stdint.h>
#include "base/def.h"
#include "base/str.h"

#define MS_PER_S INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

int64_t clock_now_ms(void);    /* Unix time */
int64_t clock_mono_ns(void);
static inline int64_t clock_mono_ms(void) { return clock_mono_ns() / NS_PER_MS; }

void clock_fake(int64_t now_ms);      /* tests: stop all clocks at this wall time, monotonic 0 */
void clock_advance(int64_t ms);       /* tests: move the fake clock */
void clock_real(void);

#define CLOCK_ISO_MAX 32
/* "2026-11-21T08:15:30.123Z" */
size_t clock_format_iso(char out[CLOCK_ISO_MAX], int64_t unix_ms);
/* RFC 3339, with Z or an offset, fractions optional. */
bool clock_parse_iso(str s, int64_t *ret_ms);

/* "1h30m", "15s", "250ms", "15d" as Prometheus spells durations (y w d h m s ms, in this order). */
bool clock_parse_duration(str s, int64_t *ret_ms);
size_t clock_format_duration(char out[CLOCK_ISO_MAX], int64_t ms);
