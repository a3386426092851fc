#include "net/http_exchange.h"
#include "base/test.h"
TEST(x) { CHECK(true); }
