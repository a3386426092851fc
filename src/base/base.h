/* base/base.h - the ground floor's door: what every file of the house may lean on.
 *
 * Nothing here knows of inference, metrics or HTTP. Including this one header gives text views, growing
 * buffers, arenas, vectors, maps, errors, the log and the clock; the less common parts (json.h, regex.h,
 * file.h, hash.h, rand.h) are included by name. */
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

#include "base/mem.h"
#include "base/str.h"
#include "base/err.h"
#include "base/buf.h"
#include "base/arena.h"
#include "base/vec.h"
#include "base/map.h"
#include "base/clock.h"
#include "base/log.h"
