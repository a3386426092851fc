/* GET /api/galen/v1/heal: mode, policies in plain words, episodes. POST …/heal/pause and …/heal/resume (token): an
 * operator's word, which outlives restarts and is on record before it counts. */
#include "heal/heal_state.h"

#define HEAL_PAGE_MAX (8u << 20)

static void write_trigger(json_writer *w, const policy *p)
{
    json_begin(w, '{');
    if (p->trigger == TRIGGER_CAUSE) {
        json_key(w, "cause");
        json_begin(w, '[');
        for (size_t i = 0; i < p->causes.len; i++)
            json_str(w, p->causes.at[i]);
        json_end(w, ']');
    } else {
        json_put_str(w, p->trigger == TRIGGER_ALERT ? "alert" : "expr", p->trigger == TRIGGER_ALERT ? p->alert : p->expr);
    }
    json_end(w, '}');
}

static void write_policy(json_writer *w, const policy *p, heal_mode global)
{
    AUTO(buf_done) buf en = BUF_INIT(64u << 10), zh = BUF_INIT(64u << 10);
    policy_explain(p, global, false, &en);
    policy_explain(p, global, true, &zh);
    json_begin(w, '{');
    json_put_str(w, "name", p->name);
    json_put_cstr(w, "mode", heal_mode_name(policy_effective_mode(p, global)));
    json_key(w, "trigger");
    write_trigger(w, p);
    json_put_str(w, "explain", buf_str(&en));
    json_put_str(w, "explain_zh", buf_str(&zh));
    json_end(w, '}');
}

static void get_heal(http_request *req)
{
    heal *h = req->route_ctx;
    AUTO(buf_done) buf body = BUF_INIT(HEAL_PAGE_MAX);
    json_writer w = json_writer_to(&body);
    const treatment *t;

    json_begin(&w, '{');
    json_put_cstr(&w, "mode", heal_mode_name(h->config->mode));
    json_put_bool(&w, "paused", schedule_paused(h->schedule));
    json_key(&w, "policies");
    json_begin(&w, '[');
    for (size_t i = 0; i < h->config->policy_count; i++)
        write_policy(&w, &h->config->policies[i], h->config->mode);
    json_end(&w, ']');
    json_key(&w, "episodes");
    json_begin(&w, '[');
    for (size_t i = 0; (t = schedule_at(h->schedule, i)); i++)
        heal_treatment_json(&w, t);
    json_end(&w, ']');
    json_end(&w, '}');
    if (buf_failed(&body)) {
        err e = { 0 };
        err_set(&e, body.failed, "could not write the answer");
        http_reply_err(req, &e);
        return;
    }
    http_reply(req, 200, "application/json", buf_str(&body));
}

static void set_paused(http_request *req, bool paused)
{
    heal *h = req->route_ctx;
    err e = { 0 };
    audit_record r = { .kind = paused ? STR("heal.paused") : STR("heal.resumed"), .actor = STR("user:token"),
                       .message = paused ? STR("an operator paused healing: nothing new begins") : STR("an operator resumed healing") };

    if (paused)
        schedule_pause(h->schedule, true);      /* "stop" counts even if it cannot be written down */
    err_kind k = h->deps.audit ? audit_append(h->deps.audit, &r, true, NULL, &e) : OK;
    k = k ? k : heal_store_paused(h, paused, &e);
    if (k) {
        err_context(&e, paused ? "healing is paused, but a restart of galen would forget it" : "could not resume healing");
        http_reply_err(req, &e);
        return;
    }
    schedule_pause(h->schedule, paused);
    http_reply(req, 200, "application/json", paused ? STR("{\"paused\":true}") : STR("{\"paused\":false}"));
}

static void post_pause(http_request *req) { set_paused(req, true); }
static void post_resume(http_request *req) { set_paused(req, false); }

err_kind heal_routes(heal *h, http_server *s, err *e)
{
    const http_route routes[] = {
        { HTTP_GET, "/api/galen/v1/heal", get_heal, h, 0, 0 },
        { HTTP_POST, "/api/galen/v1/heal/pause", post_pause, h, HTTP_ROUTE_CHANGES, 0 },
        { HTTP_POST, "/api/galen/v1/heal/resume", post_resume, h, HTTP_ROUTE_CHANGES, 0 },
    };
    return http_server_routes(s, routes, COUNT_OF(routes), e);
}
