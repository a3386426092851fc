/* face/negotiate.h - which form of a file a client may get, and whether it has it already: RFC 9110, 12.5.3 and 13.1.2. */
#pragma once
#include "base/base.h"

/* Does this Accept-Encoding take `coding` ("gzip", "br")? By name or by "*", unless its weight is 0. */
bool negotiate_takes(str accept_encoding, str coding);

/* Does this If-None-Match name `etag` (with quotes, no W/)? Weak comparison; "*" names all. */
bool negotiate_matches(str if_none_match, str etag);
