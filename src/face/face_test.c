/* The room behind its door: a real server on loopback, a real store, the other rooms absent. */
#include "face/host_exprs.h"
#include "face/room.h"
#include "base/test.h"

/* ---- one loop, one server, one client ---- */
typedef struct bench {
    uv_loop_t loop;
    http_server *server;
    http_client *client;
    face *face;
    bool answered, closed, reloaded, quit;
    int status;
    buf body;
} bench;

static bool fake_reload(void *ctx, err *e)
{
    bench *b = ctx;
    if (b->reloaded)
        return err_set(e, ERR_PARSE, "galen.yml:3:1: unknown key \"wacht\""), false;
    return b->reloaded = true;
}

static void fake_quit(void *ctx) { ((bench *)ctx)->quit = true; }

static void bench_open(bench *b, face_deps deps)
{
    err e = { 0 };
    *b = (bench){ .body = BUF_INIT(16u << 20) };
    uv_loop_init(&b->loop);
    CHECK_OK(http_server_new(&b->loop, &(http_server_options){ .listen = "127.0.0.1:0" }, &b->server, &e), e);
    CHECK_OK(http_client_open(&b->loop, &b->client, &e), e);
    deps.server = b->server;
    deps.reload = fake_reload;
    deps.quit = fake_quit;
    deps.main_ctx = b;
    CHECK_OK(face_open(&deps, &b->face, &e), e);
    CHECK_OK(http_server_listen(b->server, &e), e);
}

static void server_closed(void *ctx) { ((bench *)ctx)->closed = true; }

static void bench_close(bench *b)
{
    http_client_close(b->client);
    http_server_close(b->server, 0, server_closed, b);
    while (uv_run(&b->loop, UV_RUN_ONCE))
        ;
    CHECK(b->closed);
    face_close(b->face);
    buf_done(&b->body);
    CHECK_EQ(uv_loop_close(&b->loop), 0);
}

static void fetched(void *ctx, const http_response *res)
{
    bench *b = ctx;
    b->answered = true;
    b->status = res->kind == OK ? res->status : -1;
    buf_reset(&b->body);
    buf_append(&b->body, res->body);
}

static str ask(bench *b, const char *method, const char *path)
{
    char url[300];
    err e = { 0 };
    http_fetch *f = NULL;

    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", http_server_port(b->server), path);
    b->answered = false;
    CHECK_OK(http_fetch_start(b->client,
                              &(http_fetch_options){ .method = method, .url = url, .done = fetched, .ctx = b }, &f, &e),
             e);
    while (!b->answered)
        uv_run(&b->loop, UV_RUN_ONCE);
    return buf_str(&b->body);
}

/* ---- what is served ---- */
static const struct {
    const char *what, *method, *path;
    int status;
    const char *contains;
} served[] = {
    { "the page", "GET", "/", 200, "<html" },
    { "its description", "GET", "/api/galen/v1/openapi.json", 200, "\"openapi\"" },
    { "own metrics", "GET", "/metrics", 200, "" },
    { "healthy", "GET", "/-/healthy", 200, "galen is healthy" },
    { "ready", "GET", "/-/ready", 200, "galen is ready" },
    { "the articles' health page", "GET", "/health", 200, "\"service_status\":\"active\"" },
    { "the articles' status", "GET", "/api/system/status", 200, "\"degradation_level\":" },
    { "an overview without any room behind it", "GET", "/api/galen/v1/overview", 200, "\"replicas\":[]" },
    { "a limit that is no number", "GET", "/api/galen/v1/audit?limit=many", 400, "limit" },
    { "a limit beyond the limit", "GET", "/api/galen/v1/audit?limit=10001", 400, "10000" },
    { "reload is no question", "GET", "/-/reload", 405, "" },
    { "reload", "POST", "/-/reload", 200, "read again" },
    { "a reload that fails says why", "PUT", "/-/reload", 500, "wacht" },
    { "an alert's link leads on to the query tab", "GET", "/graph?g0.tab=1&g0.expr=up%7Ba%3D%22b%22%7D", 302, "" },
    { "quit", "POST", "/-/quit", 200, "stops" },
};

TEST(everything_is_served_even_with_no_room_behind_it)
{
    bench b;
    bench_open(&b, (face_deps){ 0 });
    for (size_t i = 0; i < COUNT_OF(served); i++) {
        str body = ask(&b, served[i].method, served[i].path);
        CHECK_MSG(b.status == served[i].status, "%s: status %d", served[i].what, b.status);
        CHECK_MSG(str_find(body, str_from(served[i].contains)) >= 0, "%s: %" STR_FMT, served[i].what, STR_ARG(body));
    }
    CHECK(b.quit);
    bench_close(&b);
}

TEST(the_health_page_has_exactly_the_articles_keys)
{
    bench b;
    bench_open(&b, (face_deps){ 0 });
    AUTO(json_doc_freep) json_doc *doc = NULL;
    err e = { 0 };
    CHECK_OK(json_parse(ask(&b, "GET", "/health"), &doc, &e), e);
    json_val root = json_root(doc);
    CHECK_EQ(json_len(root), 4);
    double memory = json_number_or(json_get(root, "memory_usage"), -1);
    CHECK(memory > 0 && memory < 100);
    CHECK_EQ(json_typeof(json_get(root, "cpu_usage")), JSON_NUMBER);
    CHECK_EQ(json_typeof(json_get(root, "gpu_available")), JSON_BOOL);
    bench_close(&b);
}

TEST(the_description_knows_every_field_of_the_overview)
{
    bench b;
    err e = { 0 };
    AUTO(json_doc_freep) json_doc *description = NULL;
    AUTO(json_doc_freep) json_doc *overview = NULL;

    bench_open(&b, (face_deps){ 0 });
    CHECK_OK(json_parse(ask(&b, "GET", "/api/galen/v1/openapi.json"), &description, &e), e);
    CHECK_OK(json_parse(ask(&b, "GET", "/api/galen/v1/overview"), &overview, &e), e);
    json_val schema = json_get(json_get(json_get(json_root(description), "components"), "schemas"), "Overview");
    json_iter it = json_walk(json_root(overview));
    str key;
    json_val value;
    while (json_next(&it, &key, &value)) {
        char name[64];
        str_copy(name, sizeof name, key);
        CHECK_MSG(json_typeof(json_get(json_get(schema, "properties"), name)) == JSON_OBJECT, "%s is not described",
                  name);
    }
    CHECK_EQ(json_len(json_root(overview)), json_len(json_get(schema, "required")));
    bench_close(&b);
}

/* ---- numbers ---- */
static void put_sample(store *s, const char *name, str host, int64_t t_ms, double v)
{
    err e = { 0 };
    label l[] = { { METRIC_NAME, str_from(name) }, { STR("instance"), host }, { STR("job"), STR("node") } };
    sample_row row = { .labels = { l, COUNT_OF(l) }, .t_ms = t_ms, .v = v };
    CHECK_OK(store_append(s, &row, 1, NULL, &e), e);
}

TEST(the_overview_asks_the_store_for_this_host_only)
{
    err e = { 0 };
    store *s = NULL;
    store_recovery recovery;
    bench b;

    CHECK_OK(store_open(&(store_options){ .dir = test_dir() }, &s, &recovery, &e), e);
    query_engine *q = query_engine_new(s, &(query_options){ 0 });
    CHECK(q != NULL);
    bench_open(&b, (face_deps){ .store = s, .query = q });
    int64_t now_ms = clock_now_ms();
    put_sample(s, "node_load1", str_from(b.face->host_name), now_ms - 500, 1.5);
    put_sample(s, "node_load1", STR("another-host"), now_ms - 500, 99);
    AUTO(json_doc_freep) json_doc *doc = NULL;
    CHECK_OK(json_parse(ask(&b, "GET", "/api/galen/v1/overview"), &doc, &e), e);
    json_val host = json_get(json_root(doc), "host");
    CHECK_DOUBLE(json_number_or(json_get(host, "load1"), -1), 1.5);
    CHECK_EQ(json_typeof(json_get(host, "cpu_ratio")), JSON_NULL);
    for (size_t i = 0; i < host_expr_count; i++) {
        str expr = json_str_or(json_get(json_get(host, "exprs"), host_exprs[i].key), STR_EMPTY);
        CHECK_MSG(expr.len > 0 && str_find_char(expr, '$') < 0, "%s: \"%" STR_FMT "\"", host_exprs[i].key,
                  STR_ARG(expr));
    }
    CHECK(json_i64_or(json_get(json_get(json_root(doc), "own"), "series"), -1) >= 2);
    bench_close(&b);
    query_engine_free(q);
    CHECK_OK(store_close(s, &e), e);
}

TEST(every_vital_is_valid_promql)
{
    AUTO(buf_done) buf expr = BUF_INIT(4096);
    AUTO(arena_done) arena a = arena_init(1u << 20);
    for (size_t i = 0; i < host_expr_count; i++) {
        err e = { 0 };
        ast *tree = NULL;
        CHECK_EQ(host_expr_fill(host_exprs[i].expr, STR("job=\"node\",instance=\"h\""), HOST_WINDOW, &expr), OK);
        CHECK_MSG(promql_parse(buf_str(&expr), &a, &tree, &e) == OK, "%s: %s", host_exprs[i].key, e.message);
    }
}

/* ---- the record ---- */
TEST(the_record_is_listed_newest_first_and_filtered)
{
    err e = { 0 };
    AUTO(audit_closep) audit *a = NULL;
    const char *dir = test_dir();
    bench b;

    CHECK_OK(audit_open(dir, NULL, &a, &e), e);
    static const char *const kinds[] = { "alert.firing", "heal.action.intended", "heal.action.done" };
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        CHECK_OK(audit_append(a,
                              &(audit_record){ .kind = str_from(kinds[i]), .actor = STR("galen"), .message = STR("x") },
                              false, NULL, &e),
                 e);
    bench_open(&b, (face_deps){ .audit = a, .audit_dir = dir });
    static const struct {
        const char *what, *path;
        size_t n;
        const char *first;
    } rows[] = {
        { "all of it", "/api/galen/v1/audit", 3, "heal.action.done" },
        { "one kind", "/api/galen/v1/audit?kind=alert.", 1, "alert.firing" },
        { "the newest of several", "/api/galen/v1/audit?limit=1", 1, "heal.action.done" },
        { "nothing after the last", "/api/galen/v1/audit?after=1000", 0, "" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(json_doc_freep) json_doc *doc = NULL;
        CHECK_OK(json_parse(ask(&b, "GET", rows[i].path), &doc, &e), e);
        json_val list = json_get(json_root(doc), "records");
        CHECK_MSG(json_len(list) == rows[i].n, "%s: %" STR_FMT, rows[i].what, STR_ARG(buf_str(&b.body)));
        CHECK_MSG(str_is(json_str_or(json_get(json_at(list, 0), "kind"), STR_EMPTY), rows[i].first), "%s",
                  rows[i].what);
    }
    bench_close(&b);
}

/* ---- no memory ---- */
TEST(face_open_survives_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        uv_loop_t loop;
        http_server *server = NULL;
        face *f = NULL;
        err e = { 0 };
        bool closed = false;
        uv_loop_init(&loop);
        CHECK_OK(http_server_new(&loop, &(http_server_options){ .listen = "127.0.0.1:0" }, &server, &e), e);
        fault_alloc(nth);
        err_kind k = face_open(&(face_deps){ .server = server }, &f, &e);
        bool fired = fault_fired();
        CHECK_EQ(k, fired ? ERR_NOMEM : OK);
        CHECK_EQ(f == NULL, fired);
        face_close(f);
        http_server_close(server, 0, NULL, &closed);
        while (uv_run(&loop, UV_RUN_ONCE))
            ;
        CHECK_EQ(uv_loop_close(&loop), 0);
        if (!fired)
            break;
    }
}

TEST(an_overview_without_memory_fails_as_a_whole)
{
    face f = { .host_name = "h" };
    for (unsigned nth = 0;; nth++) {
        AUTO(buf_done) buf out = BUF_INIT(OVERVIEW_MAX_BYTES);
        fault_alloc(nth);
        overview_write(&f, &out, 1000);
        bool fired = fault_fired();
        json_doc *doc = NULL;
        CHECK(buf_failed(&out) || json_parse(buf_str(&out), &doc, NULL) == OK); /* cut off, or whole: never half */
        json_doc_free(doc);
        if (!fired)
            break;
    }
}
