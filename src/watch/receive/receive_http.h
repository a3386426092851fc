/* watch/receive/receive_http.h - POST /api/v1/write. `ctx` of the route is a receiver. */
#pragma once
#include "net/net.h"

void remote_write_handle(http_request *req);
