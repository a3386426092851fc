/* face/face.h - the room's door: the page, its overview, and the addresses that say how galen itself is.
 *
 * The page is built from web/ and embedded, already compressed; it asks nobody but galen. The JSON behind a page
 * comes from the room that owns the data; face only adds the overview. */
#pragma once
#include "heal/heal.h"

typedef struct face face;
typedef struct face_deps {
    http_server *server; query_engine *query; store *store; watch *watch; alert_room *alert; diagnose *diagnose; heal *heal; audit *audit;
    const char *audit_dir;
    bool (*reload)(void *ctx, err *e);   /* POST|PUT /-/reload */
    void (*quit)(void *ctx);             /* POST|PUT /-/quit */
    void (*stores)(void *ctx, json_writer *w); /* members of the overview about other stores; NULL: none */
    void *main_ctx;
} face_deps;
err_kind face_open(const face_deps *deps, face **ret, err *e);
void face_close(face *f);
