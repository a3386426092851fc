/* query/store_seam.h - parts of the store's door that are declared and not all built yet: asked for, not assumed.
 * Goes away with the last of them. */
#pragma once
#include "store/store.h"
#pragma weak store_select_has_histograms
#pragma weak store_select_histograms
#pragma weak store_exemplars
#pragma weak store_cardinality_get
#pragma weak store_delete
#pragma weak store_clean
#pragma weak store_snapshot
#define STORE_HAS(function) ((function) != NULL)
