#include "face/face.h"
#include "face/page.h"
#include "face/room.h"
#include <unistd.h>

void reply_json(http_request *req, const buf *body)
{
    if (buf_failed(body)) {
        err e = { 0 };
        err_set(&e, body->failed, "could not write the answer to \"%" STR_FMT "\"",
                STR_ARG(str_sub(req->path, 0, 100)));
        http_reply_err(req, &e);
        return;
    }
    http_reply(req, 200, "application/json", buf_str(body));
}

static err_kind routes(face *f, err *e)
{
    const http_route own[] = {
        { HTTP_GET, "/health", status_health_get, f, 0, 0 },
        { HTTP_GET, "/api/system/status", status_system_get, f, 0, 0 },
        { HTTP_GET, "/api/galen/v1/overview", overview_get, f, 0, 0 },
        { HTTP_GET, "/api/galen/v1/audit", record_get, f, 0, 0 },
    };
    err_kind k = http_server_routes(f->deps.server, own, COUNT_OF(own), e);
    if (k || (k = admin_routes(f, e)))
        return k;
    return page_routes(f->deps.server, e);
}

err_kind face_open(const face_deps *deps, face **ret, err *e)
{
    face *f = mem_zalloc(sizeof *f);
    if (!f)
        return err_nomem(e);
    f->deps = *deps;
    f->opened_ns = clock_mono_ns();
    f->overview = (buf)BUF_INIT(OVERVIEW_MAX_BYTES);
    if (gethostname(f->host_name, sizeof f->host_name - 1) || !f->host_name[0])
        str_copy(f->host_name, sizeof f->host_name, STR("localhost"));
    vitals_look(&f->vitals);
    if (routes(f, e)) {
        err_kind k = err_context(e, "could not open the page");
        face_close(f);
        return k;
    }
    *ret = f;
    return OK;
}

void face_close(face *f)
{
    if (!f)
        return;
    buf_done(&f->overview);
    mem_free(f);
}
