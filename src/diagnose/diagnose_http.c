/* GET /api/galen/v1/incidents[?state=open&limit=N] and /api/galen/v1/incidents/:id, the latter with its timeline:
 * every audit record that carries the incident's id, oldest first. */
#include "diagnose/diagnose_state.h"

#define INCIDENTS_MAX_BYTES (16u << 20)
#define TIMELINE_MAX 500
#define TIMELINE_BEFORE_MS (10 * 60 * MS_PER_S)

static void reply_json(http_request *req, buf *body)
{
    err e = { 0 };
    if (buf_failed(body)) {
        err_set(&e, body->failed, "could not write the answer");
        http_reply_err(req, &e);
        return;
    }
    http_reply(req, 200, "application/json", buf_str(body));
}

static void list_incidents(http_request *req)
{
    diagnose *d = req->route_ctx;
    AUTO(buf_done) buf body = BUF_INIT(INCIDENTS_MAX_BYTES);
    json_writer w = json_writer_to(&body);
    str state = STR_EMPTY, limit_text = STR_EMPTY;
    uint64_t limit = DIAGNOSE_KEEP;
    err e = { 0 };

    http_param(req, "state", &state);
    if (!str_empty(state) && !str_is(state, "open") && !str_is(state, "closed")) {
        err_set(&e, ERR_INVALID, "unknown state \"%" STR_FMT "\"", STR_ARG(state));
        err_hint(&e, "Ask for state=open or state=closed.");
        http_reply_err(req, &e);
        return;
    }
    if (http_param(req, "limit", &limit_text) && !str_to_u64(limit_text, &limit)) {
        err_set(&e, ERR_INVALID, "limit \"%" STR_FMT "\" is not a whole number", STR_ARG(limit_text));
        http_reply_err(req, &e);
        return;
    }
    json_begin(&w, '{');
    json_key(&w, "incidents");
    json_begin(&w, '[');
    const incident *i;
    for (size_t n = 0; limit > 0 && (i = diagnose_incident_at(d, n)); n++) {
        if (!str_empty(state) && str_is(state, "open") != (i->closed_ms == 0))
            continue;
        incident_json(&w, i);
        limit--;
    }
    json_end(&w, ']');
    json_end(&w, '}');
    reply_json(req, &body);
}

static bool add_to_timeline(void *ctx, const audit_record *r)
{
    audit_record_json(ctx, r);
    return true;
}

static void one_incident(http_request *req)
{
    diagnose *d = req->route_ctx;
    AUTO(buf_done) buf body = BUF_INIT(INCIDENTS_MAX_BYTES);
    json_writer w = json_writer_to(&body);
    err e = { 0 };
    const incident *i = diagnose_incident_find(d, req->param[0]);

    if (!i) {
        err_set(&e, ERR_NOT_FOUND, "there is no incident \"%" STR_FMT "\"", STR_ARG(req->param[0]));
        err_hint(&e, "See /api/galen/v1/incidents for those that are known; older ones are in the audit record.");
        http_reply_err(req, &e);
        return;
    }
    json_begin(&w, '{');
    json_key(&w, "incident");
    incident_json(&w, i);
    json_key(&w, "timeline");
    json_begin(&w, '[');
    audit_filter f = { .from_ms = i->opened_ms - TIMELINE_BEFORE_MS, .incident = i->id, .limit = TIMELINE_MAX, .newest = true };
    err_kind k = audit_list(d->audit_dir, &f, add_to_timeline, &w, &e);
    if (k != OK && k != ERR_NOT_FOUND) {
        http_reply_err(req, &e);
        return;
    }
    json_end(&w, ']');
    json_end(&w, '}');
    reply_json(req, &body);
}

err_kind diagnose_routes(diagnose *d, const char *audit_dir, http_server *s, err *e)
{
    str_copy(d->audit_dir, sizeof d->audit_dir, str_from(audit_dir));
    const http_route routes[] = {
        { HTTP_GET, "/api/galen/v1/incidents", list_incidents, d, 0, 0 },
        { HTTP_GET, "/api/galen/v1/incidents/:id", one_incident, d, 0, 0 },
    };
    return http_server_routes(s, routes, COUNT_OF(routes), e);
}
