/* query/store_seam.h - parts of the store's door that are declared and not all built yet: asked for, not assumed.
 * Goes away with the last of them. */
#pragma once
#include "store/store.h"
#pragma weak store_exemplars
#define STORE_HAS(function) ((function) != NULL)
