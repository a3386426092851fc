/* /api/galen/v1/queries: what is being asked right now, and the way to end it.
 *
 *   GET                the questions that wait or run, oldest first
 *   DELETE …/queries/ID  end one: its asker hears "query was canceled". Needs the token */
#include "query/api.h"

void page_queries(http_request *req)
{
    const query_http *h = req->route_ctx;
    AUTO(buf_done) buf body = BUF_INIT(16u << 20);
    json_writer w = json_writer_to(&body);
    json_begin(&w, '{');
    json_key(&w, "queries");
    json_begin(&w, '[');
    query_pool_list(h->pool, &w);
    json_end(&w, ']');
    json_end(&w, '}');
    if (buf_failed(&body))
        http_reply_err(req, &(err){ .kind = body.failed, .message = "could not list the queries" });
    else
        http_reply(req, 200, "application/json", buf_str(&body));
}

void page_query_kill(http_request *req)
{
    const query_http *h = req->route_ctx;
    uint64_t id;
    err e = { 0 };
    if (str_to_u64(req->param[0], &id) && query_pool_cancel(h->pool, id)) {
        log_info("query canceled, as asked", KV_INT("id", id), KV_STR("peer", req->peer));
        http_reply(req, 204, "application/json", STR(""));
        return;
    }
    err_set(&e, ERR_NOT_FOUND, "no query \"%.*s\" waits or runs", (int)MIN(req->param[0].len, (size_t)40), req->param[0].ptr);
    err_hint(&e, "GET /api/galen/v1/queries lists them.");
    http_reply_err(req, &e);
}
