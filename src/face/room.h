/* face/room.h - what the room's own files share: the handles, the meters, and the last overview. */
#pragma once
#include "face/face.h"
#include "face/vitals.h"
#include "base/json.h"

#define OVERVIEW_MAX_BYTES (8u << 20)
#define OVERVIEW_FRESH_NS (NS_PER_S / 2)   /* many open pages cost as much as one */
#define HOST_NAME_MAX_BYTES 256

struct face {
    face_deps deps;
    vitals vitals;
    int64_t opened_ns;
    char host_name[HOST_NAME_MAX_BYTES];
    buf overview;              /* the last one, JSON */
    int64_t overview_at_ns;    /* 0: none yet */
};

void reply_json(http_request *req, const buf *body);   /* 200, or the buf's failure as an error */

/* overview.c: GET /api/galen/v1/overview */
void overview_write(face *f, buf *out, int64_t now_ms);
void overview_get(http_request *req);
/* status.c: GET /health, /api/system/status */
void status_health_get(http_request *req);
void status_system_get(http_request *req);
/* record.c: GET /api/galen/v1/audit */
void record_get(http_request *req);
/* admin.c: /metrics, /-/… */
err_kind admin_routes(face *f, err *e);
