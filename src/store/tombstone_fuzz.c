/* Tombstones with a checksum that is taken for good. */
#include "store/tombstone.h"
#include "base/fuzz.h"

FUZZ(input)
{
    tombstones t = { 0 };
    if (!tombstones_parse(input, false, 1000, &t, NULL)) {
        size_t n = t.len;
        tombstones_tidy(&t);
        assert(t.len <= n);
        (void)tombstone_covers(tombstones_of(&t, 7), 0, 1000);
    }
    vec_done(&t);
}
