/* face/admin.c - how galen itself is, and the few words it obeys: /metrics, /-/healthy, /-/ready, /-/reload, /-/quit. */
#include "face/room.h"

#define METRICS_MAX_BYTES (16u << 20)
#define TEXT_PLAIN "text/plain; charset=utf-8"

static void metrics_get(http_request *req)
{
    AUTO(buf_done) buf out = BUF_INIT(METRICS_MAX_BYTES);
    own_exposition(&out);
    if (buf_failed(&out)) {
        err e = { 0 };
        err_set(&e, out.failed, "could not write the metrics page");
        http_reply_err(req, &e);
        return;
    }
    http_reply(req, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&out));
}

static void healthy_get(http_request *req) { http_reply(req, 200, TEXT_PLAIN, STR("galen is healthy.\n")); }

/* The routes exist only once the rooms are open, so whoever reaches this is served. */
static void ready_get(http_request *req) { http_reply(req, 200, TEXT_PLAIN, STR("galen is ready.\n")); }

/* 500 whatever was wrong, as with Prometheus: scripts that reload look for it. */
static void reload_failed(http_request *req, const err *e)
{
    AUTO(buf_done) buf out = BUF_INIT(8192);
    char text[900];
    json_writer w = json_writer_to(&out);

    err_format(text, sizeof text, e);
    json_begin(&w, '{');
    json_put_cstr(&w, "error", text);
    if (e->hint[0])
        json_put_cstr(&w, "hint", e->hint);
    json_end(&w, '}');
    http_reply(req, e->kind == ERR_UNSUPPORTED ? 501 : 500, "application/json", buf_str(&out));
}

static void reload_post(http_request *req)
{
    face *f = req->route_ctx;
    err e = { 0 };

    bool done = false;
    if (!f->deps.reload)
        err_set(&e, ERR_UNSUPPORTED, "this galen cannot reload its configuration");
    else if (!(done = f->deps.reload(f->deps.main_ctx, &e)) && e.kind == OK)
        err_set(&e, ERR_INTERNAL, "could not reload the configuration");
    if (done)
        http_reply(req, 200, TEXT_PLAIN, STR("The configuration was read again.\n"));
    else
        reload_failed(req, &e);
}

/* Prometheus's address of a graph, as alerts carry it in generatorURL: to the query tab, the expression still encoded. */
static void graph_get(http_request *req)
{
    str rest = req->query, part, expr = STR_EMPTY;

    while (str_split(&rest, '&', &part))
        if (str_starts(part, STR("g0.expr=")))
            expr = str_skip(part, strlen("g0.expr="));
    str to = arena_printf(req->arena, "/#/query?expr=%" STR_FMT, STR_ARG(expr));
    http_header location = { STR("Location"), to.ptr ? to : STR("/") };
    http_reply_headers(req, 302, &location, 1, STR(""));
}

static void quit_post(http_request *req)
{
    face *f = req->route_ctx;

    http_reply(req, 200, TEXT_PLAIN, STR("galen stops. Supervised engines keep running.\n"));
    if (f->deps.quit)
        f->deps.quit(f->deps.main_ctx);
}

err_kind admin_routes(face *f, err *e)
{
    const unsigned change = HTTP_POST | HTTP_PUT;
    const http_route routes[] = {
        { HTTP_GET, "/metrics", metrics_get, f, 0, 0 },
        { HTTP_GET, "/graph", graph_get, f, 0, 0 },
        { HTTP_GET, "/-/healthy", healthy_get, f, 0, 0 },
        { HTTP_GET, "/-/ready", ready_get, f, 0, 0 },
        { change, "/-/reload", reload_post, f, HTTP_ROUTE_LOCAL, 0 },
        { change, "/-/quit", quit_post, f, HTTP_ROUTE_LOCAL, 0 },
    };
    return http_server_routes(f->deps.server, routes, COUNT_OF(routes), e);
}
