/* First line: Accept-Encoding, second: If-None-Match. */
#include "face/negotiate.h"
#include "base/fuzz.h"

FUZZ(input)
{
    str accept = STR_EMPTY;
    str_split(&input, '\n', &accept);
    bool gzip = negotiate_takes(accept, STR("gzip"));
    assert(!gzip || accept.len > 0);
    bool same = negotiate_matches(input, STR("\"0123456789abcdef\""));
    assert(!same || input.len > 0);
}
