/* base/def.h - the few macros and standard headers that every file of the house knows. */
#pragma once

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A function whose result must be looked at. */
#define CHECKED __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* AUTO(buf_done) buf b = …;   runs buf_done(&b) when the scope ends. TAKE(p) hands p out and leaves NULL,
 * so that the cleanup of the scope finds nothing to free. */
#define AUTO(fn) __attribute__((cleanup(fn)))
#define TAKE(p) ({ __typeof__(p) *take_ = &(p); __typeof__(p) taken_ = *take_; *take_ = NULL; taken_; })

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define UNUSED(x) ((void)(x))
