/* base/base.h - the ground floor's door: what every file of the house may lean on.
 *
 * Nothing here knows of inference, metrics or HTTP. Including this one header gives text views, growing
 * buffers, arenas, vectors, maps, errors, the log and the clock; the less common parts (json.h, regex.h,
 * file.h, hash.h, rand.h) are included by name. */
#pragma once

#include "base/def.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/err.h"
#include "base/buf.h"
#include "base/arena.h"
#include "base/vec.h"
#include "base/map.h"
#include "base/clock.h"
#include "base/log.h"
