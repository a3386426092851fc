/* The whole room on real rooms: store, PromQL, loop, HTTP. Time is the test's: rules are evaluated by hand. */
#include "alert/alert.h"

#include <stdio.h>

#include "alert/room.h"
#include "base/file.h"
#include "base/test.h"

#define T0 INT64_C(1763712930000)

typedef struct house {
    uv_loop_t loop;
    store *store;
    query_engine *query;
    http_client *client;
    http_server *server;
    audit *audit;
    alert_room *room;
    char dir[FILE_PATH_MAX], url[100];
    char hooks[4][4000];
    size_t hooked;
    int hook_status;
    char told[1000];
    bool closed;
    struct { bool done; int status; char body[8000]; } got;
} house;

static void hook(http_request *req)
{
    house *h = req->route_ctx;
    CHECK(h->hooked < 4);
    str_copy(h->hooks[h->hooked++], sizeof h->hooks[0], req->body);
    http_reply(req, h->hook_status, "text/plain", STR(""));
}

static void hear(void *ctx, const alert_info *a, alert_state before)
{
    house *h = ctx;
    snprintf(h->told + strlen(h->told), sizeof h->told - strlen(h->told), "%" STR_FMT " %s>%s\n", STR_ARG(a->rule), alert_state_name(before), alert_state_name(a->state));
}

static alert_config *config_of(house *h, const char *text)
{
    char with_url[2000];
    yaml_doc *doc;
    config conf = { 0 };
    alert_config *c = NULL;
    err e = { 0 };
    snprintf(with_url, sizeof with_url, "%sroute: {receiver: a, group_wait: 0s, group_by: [alertname]}\nreceivers: [{name: a, webhook_configs: [{url: '%s'}]}]\n", text, h->url);
    CHECK_OK(yaml_parse(str_from(with_url), "galen.yml", &doc, &e), e);
    conf.doc = doc;
    conf.alert = doc->root;
    str_copy(conf.dir, sizeof conf.dir, str_from(h->dir));
    CHECK_OK(alert_config_parse(&conf, &c, &e), e);
    yaml_doc_free(doc);
    return c;
}

static void write_rules(house *h, const char *text)
{
    char path[FILE_PATH_MAX];
    err e = { 0 };
    CHECK_OK(file_join(path, h->dir, "rules.yml", &e), e);
    CHECK_OK(file_write_atomic(path, str_from(text), 0600, &e), e);
}

#define DOWN_RULE                                                                                          \
    "groups:\n- name: g\n  rules:\n  - record: job:up:count\n    expr: count by (job) (up)\n"            \
    "  - alert: Down\n    expr: up == 0\n    labels: {severity: critical}\n    annotations: {summary: '{{ $labels.job }} is down'}\n"

static house *open_house(const char *rules)
{
    house *h = mem_zalloc(sizeof *h);
    err e = { 0 };
    char path[FILE_PATH_MAX];
    store_recovery recovery;

    clock_fake(T0);
    uv_loop_init(&h->loop);
    str_copy(h->dir, sizeof h->dir, str_from(test_dir()));
    h->hook_status = 200;
    CHECK_OK(file_join(path, h->dir, "store", &e), e);
    store_options so = { .dir = path };
    CHECK_OK(store_open(&so, &h->store, &recovery, &e), e);
    h->query = query_engine_new(h->store, &(query_options){ 0 });
    CHECK_OK(file_join(path, h->dir, "audit", &e), e);
    CHECK_OK(audit_open(path, NULL, &h->audit, &e), e);
    CHECK_OK(http_client_open(&h->loop, &h->client, &e), e);
    CHECK_OK(http_server_new(&h->loop, &(http_server_options){ .listen = "127.0.0.1:0" }, &h->server, &e), e);
    http_route route = { HTTP_POST, "/hook", hook, h, 0, 0 };
    CHECK_OK(http_server_routes(h->server, &route, 1, &e), e);

    alert_deps d = { .loop = &h->loop, .client = h->client, .query = h->query, .sink = store_sink(h->store), .audit = h->audit,
                     .external_url = "http://127.0.0.1:9600", .on_change = hear, .on_change_ctx = h };
    write_rules(h, rules);
    CHECK_OK(http_server_listen(h->server, &e), e); /* the port must be known before the receivers are */
    snprintf(h->url, sizeof h->url, "http://127.0.0.1:%d/hook", http_server_port(h->server));
    CHECK_OK(alert_open(&d, config_of(h, "rule_files: [rules.yml]\n"), &h->room, &e), e);
    CHECK_OK(alert_routes(h->room, h->server, &e), e);
    return h;
}

static void server_closed(void *ctx) { ((house *)ctx)->closed = true; }

static void close_house(house **p)
{
    house *h = *p;
    alert_close(h->room);
    http_server_close(h->server, 0, server_closed, h);
    while (!h->closed)
        uv_run(&h->loop, UV_RUN_ONCE);
    http_client_close(h->client);
    uv_run(&h->loop, UV_RUN_DEFAULT);
    query_engine_free(h->query);
    CHECK_EQ(store_close(h->store, NULL), OK);
    audit_close(h->audit);
    uv_loop_close(&h->loop);
    mem_free(h);
}

static void scrape(house *h, const char *job, double up)
{
    label l[] = { { METRIC_NAME, STR("up") }, { STR("job"), str_from(job) } };
    uint64_t ref = 0;
    sample_row row = { { l, 2 }, &ref, clock_now_ms(), up };
    err e = { 0 };
    CHECK_OK(store_append(h->store, &row, 1, NULL, &e), e);
}

static void evaluate(house *h, size_t want_failed)
{
    size_t failed = 0;
    for (size_t i = 0; i < h->room->timer_count; i++)
        failed += group_evaluate(h->room->timers[i].group, &h->room->eval, clock_now_ms());
    CHECK_EQ(failed, want_failed);
}

static void notify_now(house *h, size_t want_hooks)
{
    notify_tick(h->room->notify, clock_now_ms());
    notify_queue_tick(h->room->queue, clock_now_ms());
    while (h->hooked < want_hooks || webhook_in_flight(h->room->sender) > 0)
        uv_run(&h->loop, UV_RUN_ONCE);
}

static void got_page(void *ctx, const http_response *res)
{
    house *h = ctx;
    h->got.done = true;
    h->got.status = res->status;
    str_copy(h->got.body, sizeof h->got.body, res->body);
}

static const char *page(house *h, const char *path, int want_status)
{
    char url[200];
    http_fetch *f;
    err e = { 0 };
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", http_server_port(h->server), path);
    h->got.done = false;
    CHECK_OK(http_fetch_start(h->client, &(http_fetch_options){ .url = url, .done = got_page, .ctx = h }, &f, &e), e);
    while (!h->got.done)
        uv_run(&h->loop, UV_RUN_ONCE);
    CHECK_EQ(h->got.status, want_status);
    return h->got.body;
}

typedef struct records { char kinds[500]; char data[4000]; } records;
static bool note_record(void *ctx, const audit_record *r)
{
    records *all = ctx;
    snprintf(all->kinds + strlen(all->kinds), sizeof all->kinds - strlen(all->kinds), "%" STR_FMT " ", STR_ARG(r->kind));
    str_copy(all->data, sizeof all->data, r->data);
    return true;
}

static records recorded(house *h)
{
    records all = { "", "" };
    char path[FILE_PATH_MAX];
    err e = { 0 };
    CHECK_OK(file_join(path, h->dir, "audit", &e), e);
    CHECK_OK(audit_list(path, NULL, note_record, &all, &e), e);
    return all;
}

TEST(alert_from_a_sample_to_a_webhook_and_back)
{
    AUTO(close_house) house *h = open_house(DOWN_RULE);
    double v;
    alert_info info;

    scrape(h, "chat", 0);
    scrape(h, "batch", 1);
    evaluate(h, 0);
    CHECK_STR(str_from(h->told), "Down inactive>firing\n");
    CHECK(alert_at(h->room, 0, &info));
    CHECK_STR(labels_get(info.labels, STR("job")), "chat");
    CHECK(!alert_at(h->room, 1, &info));
    notify_now(h, 1);
    CHECK_CONTAINS(str_from(h->hooks[0]), "\"summary\":\"chat is down\"");
    CHECK_EQ(query_number(h->query, STR("ALERTS{alertname=\"Down\",alertstate=\"firing\",job=\"chat\"}"), clock_now_ms(), &v, NULL), OK);
    CHECK_EQ(query_number(h->query, STR("job:up:count{job=\"batch\"}"), clock_now_ms(), &v, NULL), OK);
    CHECK_DOUBLE(v, 1);

    clock_advance(15000);
    scrape(h, "chat", 1);
    evaluate(h, 0);
    CHECK_EQ(query_number(h->query, STR("ALERTS"), clock_now_ms(), &v, NULL), ERR_NOT_FOUND);
    clock_advance(300000);
    notify_now(h, 2);
    CHECK_CONTAINS(str_from(h->hooks[1]), "\"status\":\"resolved\",\"alerts\"");
    records r = recorded(h);
    CHECK_STR(str_from(r.kinds), "alert.firing alert.resolved ");
    CHECK_CONTAINS(str_from(r.data), "\"expr\":\"up == 0\"");
}

TEST(alert_a_receiver_that_refuses_is_on_record)
{
    AUTO(close_house) house *h = open_house(DOWN_RULE);
    h->hook_status = 403;
    scrape(h, "chat", 0);
    evaluate(h, 0);
    notify_now(h, 1);
    CHECK_STR(str_from(recorded(h).kinds), "alert.firing alert.notification.failed ");
}

TEST(alert_reload_keeps_states_and_ends_the_series_of_gone_rules)
{
    AUTO(close_house) house *h = open_house(DOWN_RULE);
    err e = { 0 };
    double v;
    scrape(h, "chat", 0);
    evaluate(h, 0);
    notify_now(h, 1);
    clock_advance(1000);
    write_rules(h, "groups:\n- name: g\n  rules:\n  - {alert: Down, expr: up < 1, labels: {severity: critical}}\n");
    CHECK_OK(alert_reload(h->room, config_of(h, "rule_files: [rules.yml]\n"), &e), e);
    CHECK_EQ(query_number(h->query, STR("job:up:count"), clock_now_ms(), &v, NULL), ERR_NOT_FOUND);
    evaluate(h, 0);
    CHECK_STR(str_from(h->told), "Down inactive>firing\n"); /* once */
    notify_now(h, 1);
}

TEST(alert_pages_speak_prometheuss_language)
{
    AUTO(close_house) house *h = open_house(DOWN_RULE);
    scrape(h, "chat", 0);
    evaluate(h, 0);
    const char *rules = page(h, "/api/v1/rules", 200);
    CHECK_CONTAINS(str_from(rules), "{\"status\":\"success\",\"data\":{\"groups\":[{\"name\":\"g\",\"file\":\"");
    CHECK_CONTAINS(str_from(rules), "\"type\":\"recording\"");
    CHECK_CONTAINS(str_from(rules), "\"state\":\"firing\",\"duration\":0,\"keepFiringFor\":0,\"annotations\":{\"summary\":\"{{ $labels.job }} is down\"},\"alerts\":[{\"labels\":{\"alertname\":\"Down\"");
    CHECK_CONTAINS(str_from(page(h, "/api/v1/alerts", 200)), "\"state\":\"firing\",\"activeAt\":\"2025-11-21T08:15:30.000Z\",\"value\":\"0e+00\"}]}}");
    CHECK(!strstr(page(h, "/api/v1/rules?type=alert", 200), "recording"));
    CHECK(!strstr(page(h, "/api/v1/rules?rule_name%5B%5D=job:up:count", 200), "Down"));
    CHECK(!strstr(page(h, "/api/v1/rules?rule_group[]=other", 200), "Down"));
    CHECK(!strstr(page(h, "/api/v1/rules?exclude_alerts=true", 200), "\"alerts\""));
    CHECK_CONTAINS(str_from(page(h, "/api/v1/rules?type=x", 400)), "bad_data");
    CHECK_CONTAINS(str_from(page(h, "/api/v1/alertmanagers", 200)), "activeAlertmanagers");
    CHECK(strstr(page(h, "/api/v1/rules?match%5B%5D=%7Bseverity%3D%22critical%22%7D", 200), "Down"));
    CHECK(!strstr(page(h, "/api/v1/rules?match%5B%5D=%7Bseverity%3D%22page%22%7D", 200), "Down"));
}

static const struct { const char *path; const char *want; } bad_rules[] = {
    { "/api/v1/rules?group_limit=x", "invalid parameter \\\"group_limit\\\": group_limit needs to be a valid number" },
    { "/api/v1/rules?group_limit=0", "group_limit needs to be greater than 0" },
    { "/api/v1/rules?group_next_token=x", "group_limit needs to be present in order to paginate over the groups" },
    { "/api/v1/rules?group_limit=1&group_next_token=x", "invalid group_next_token 'x'. were rule groups changed?" },
    { "/api/v1/rules?exclude_alerts=maybe", "error converting exclude_alerts" },
    { "/api/v1/rules?type=x", "not supported value" },
    { "/api/v1/rules?match%5B%5D=%7B", "invalid parameter \\\"match[]\\\": 1:2: parse error" },
};

TEST(alert_rules_come_in_pages)
{
    AUTO(close_house) house *h = open_house("groups:\n- {name: a, rules: [{record: x, expr: up}]}\n- {name: b, rules: [{record: y, expr: up}]}\n");
    char token[100], path[200];
    const char *first = page(h, "/api/v1/rules?group_limit=1", 200), *at = strstr(first, "\"groupNextToken\":\"");
    CHECK(strstr(first, "\"name\":\"a\"") && !strstr(first, "\"name\":\"b\""));
    CHECK(at);
    str_copy(token, sizeof token, str_of(at + 18, strcspn(at + 18, "\"")));
    snprintf(path, sizeof path, "/api/v1/rules?group_limit=1&group_next_token=%s", token);
    const char *second = page(h, path, 200);
    CHECK(!strstr(second, "\"name\":\"a\"") && strstr(second, "\"name\":\"b\""));
    CHECK(!strstr(second, "groupNextToken"));
    CHECK(!strstr(page(h, "/api/v1/rules?group_limit=1&rule_name%5B%5D=y", 200), "groupNextToken")); /* what is left out does not count */
    for (size_t i = 0; i < COUNT_OF(bad_rules); i++)
        CHECK_CONTAINS(str_from(page(h, bad_rules[i].path, 400)), bad_rules[i].want);
}

TEST(alert_shipped_rules_run_on_the_real_evaluator)
{
    AUTO(close_house) house *h = open_house(DOWN_RULE);
    err e = { 0 };
    CHECK_OK(alert_reload(h->room, config_of(h, ""), &e), e);
    scrape(h, "chat", 0);
    evaluate(h, 0);
    for (size_t i = 0; i < h->room->timer_count; i++)
        for (size_t k = 0; k < h->room->timers[i].group->len; k++)
            CHECK_MSG(h->room->timers[i].group->rules[k].health == RULE_OK, "%s", h->room->timers[i].group->rules[k].last_error);
}
