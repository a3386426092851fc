#include "watch/discover/discover.h"
#include "base/file.h"
#include "base/json.h"
#include "watch/scrape/page.h"
#include <stdio.h>

#define PROC_NET_MAX (8u << 20)

/* Services that are often there and answer a GET with a complaint in their log. */
static const int silent_ports[] = { 21,   22,   23,   25,   53,   110,  111,  139,   143,  389,  445,
                                    465,  587,  631,  636,  993,  995,  1433, 1521,  2049, 3306, 3389,
                                    4222, 5432, 5672, 5900, 6000, 6379, 9092, 11211, 27017 };

typedef struct tracked {
    int port;
    unsigned misses;
    bool seen;
} tracked;

typedef struct visit {
    discover *owner;
    http_fetch *fetch;
    int port;
    bool asks_models;
    char url[64], model[256];
    const char *engine;
} visit;

struct discover {
    discover_deps deps;
    net_timer *timer;
    int ports[DISCOVER_MAX_PORTS];
    size_t port_count, next;
    visit visits[DISCOVER_PARALLEL];
    unsigned busy;
    vec(tracked) known;
};

/* ---- /proc/net/tcp: "  0: 0100007F:1F90 00000000:0000 0A …" (Linux: Documentation/networking/proc_net_tcp) ---- */
static bool parse_hex(str s, uint64_t *ret)
{
    uint64_t v = 0;
    if (!s.len || s.len > 16)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                           : -1;
        if (digit < 0)
            return false;
        v = v << 4 | (unsigned)digit;
    }
    *ret = v;
    return true;
}

/* Words of four bytes, each in the machine's (little-endian) order: 127.x.y.z ends in 7F. */
static bool is_loopback_or_any(str address)
{
    static const char *const v6[] = { "00000000000000000000000000000000", "00000000000000000000000001000000" };
    if (address.len == 8)
        return str_is(address, "00000000") || str_ends(address, STR("7F"));
    if (address.len != 32)
        return false;
    return str_is(address, v6[0]) || str_is(address, v6[1]) ||
           (str_starts(address, STR("0000000000000000FFFF0000")) && str_ends(address, STR("7F")));
}

static bool next_field(str *line, str *ret)
{
    *line = str_trim(*line);
    size_t n = 0;
    while (n < line->len && line->ptr[n] != ' ')
        n++;
    *ret = str_sub(*line, 0, n);
    *line = str_skip(*line, n);
    return n > 0;
}

size_t discover_parse_tcp(str text, int *ret, size_t n, size_t cap)
{
    str line, slot, local, remote, state;
    while (str_split(&text, '\n', &line) && n < cap) {
        uint64_t port;
        if (!next_field(&line, &slot) || !next_field(&line, &local) || !next_field(&line, &remote) ||
            !next_field(&line, &state))
            continue;
        ptrdiff_t colon = str_find_char(local, ':');
        if (!str_is(state, "0A") || colon < 0 || !is_loopback_or_any(str_sub(local, 0, (size_t)colon)) ||
            !parse_hex(str_skip(local, (size_t)colon + 1), &port) || port == 0 || port > 65535)
            continue;
        bool repeated = false;
        for (size_t i = 0; i < n; i++)
            repeated = repeated || ret[i] == (int)port;
        if (!repeated)
            ret[n++] = (int)port;
    }
    return n;
}

/* ---- one pass ---- */
static void visit_next(discover *d, visit *v);

static tracked *find_tracked(discover *d, int port)
{
    for (size_t i = 0; i < d->known.len; i++) {
        if (d->known.at[i].port == port)
            return &d->known.at[i];
    }
    return NULL;
}

static void pass_over(discover *d)
{
    for (size_t i = d->known.len; i-- > 0;) {
        tracked *t = &d->known.at[i];
        t->misses = t->seen ? 0 : t->misses + 1;
        t->seen = false;
        if (t->misses >= DISCOVER_MISSES) {
            int port = t->port;
            vec_remove(&d->known, i);
            d->deps.lost(d->deps.ctx, port);
        }
    }
}

static void visit_done(visit *v)
{
    discover *d = v->owner;
    v->fetch = NULL;
    v->asks_models = false;
    d->busy--;
    visit_next(d, v);
    if (d->busy == 0 && d->next >= d->port_count)
        pass_over(d);
}

static void accept_engine(visit *v)
{
    discover *d = v->owner;
    tracked *t = find_tracked(d, v->port);
    if (t) {
        t->seen = true;
    } else if (!vec_push(&d->known, ((tracked){ .port = v->port, .seen = true }))) {
        log_info("found an engine on loopback", KV_CSTR("engine", v->engine), KV_INT("port", v->port));
        d->deps.found(d->deps.ctx, v->engine, v->port, v->model);
    }
}

static void on_models(void *ctx, const http_response *res)
{
    visit *v = ctx;
    json_doc *doc = NULL;
    if (res->kind == OK && res->status == 200 && json_parse(res->body, &doc, NULL) == OK) {
        json_val first = json_at(json_get(json_root(doc), "data"), 0);
        str_copy(v->model, sizeof v->model, json_str_or(json_get(first, "id"), STR_EMPTY));
        json_doc_free(doc);
    }
    accept_engine(v);
    visit_done(v);
}

static err_kind ask(visit *v, const char *path, void (*done)(void *ctx, const http_response *res))
{
    snprintf(v->url, sizeof v->url, "http://127.0.0.1:%d%s", v->port, path);
    http_fetch_options o = { .url = v->url,
                             .timeout_ms = DISCOVER_TIMEOUT_MS,
                             .connect_timeout_ms = DISCOVER_TIMEOUT_MS,
                             .max_body = DISCOVER_MAX_BODY,
                             .done = done,
                             .ctx = v };
    return http_fetch_start(v->owner->deps.client, &o, &v->fetch, NULL);
}

static void on_metrics(void *ctx, const http_response *res)
{
    visit *v = ctx;
    v->engine = NULL;
    if (res->kind == OK && res->status == 200 && !page_refused(res->body, res->content_type))
        v->engine = engine_of_page(res->body, str_starts(res->content_type, STR("application/openmetrics-text")),
                                   v->model, sizeof v->model);
    bool known = find_tracked(v->owner, v->port) != NULL;
    if (v->engine && !known && !v->model[0] && ask(v, "/v1/models", on_models) == OK)
        return;
    if (v->engine)
        accept_engine(v);
    visit_done(v);
}

static bool is_silent(int port)
{
    for (size_t i = 0; i < COUNT_OF(silent_ports); i++) {
        if (silent_ports[i] == port)
            return true;
    }
    return false;
}

static void visit_next(discover *d, visit *v)
{
    while (d->next < d->port_count) {
        int port = d->ports[d->next++];
        if (is_silent(port) || d->deps.skip(d->deps.ctx, port))
            continue;
        v->port = port;
        v->model[0] = '\0';
        if (ask(v, "/metrics", on_metrics))
            continue;
        d->busy++;
        return;
    }
}

static void list_ports(discover *d)
{
    static const char *const files[] = { "net/tcp", "net/tcp6" };
    d->port_count = 0;
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        char path[FILE_PATH_MAX];
        AUTO(buf_done) buf text = BUF_INIT(PROC_NET_MAX);
        if (!file_join(path, d->deps.proc ? d->deps.proc : "/proc", files[i], NULL) && !file_read(path, &text, NULL))
            d->port_count = discover_parse_tcp(buf_str(&text), d->ports, d->port_count, DISCOVER_MAX_PORTS);
    }
}

static void pass(void *ctx)
{
    discover *d = ctx;
    if (d->busy)
        return;
    list_ports(d);
    d->next = 0;
    for (size_t i = 0; i < DISCOVER_PARALLEL; i++)
        visit_next(d, &d->visits[i]);
    if (d->busy == 0)
        pass_over(d);
}

err_kind discover_open(const discover_deps *deps, discover **ret, err *e)
{
    discover *d = mem_zalloc(sizeof *d);
    if (!d)
        return err_nomem(e);
    d->deps = *deps;
    for (size_t i = 0; i < DISCOVER_PARALLEL; i++)
        d->visits[i].owner = d;
    d->timer = net_timer_start(deps->loop, 0, deps->every_ms, pass, d);
    if (!d->timer) {
        mem_free(d);
        return err_nomem(e);
    }
    *ret = d;
    return OK;
}

void discover_close(discover *d)
{
    if (!d)
        return;
    net_timer_stop(d->timer);
    for (size_t i = 0; i < DISCOVER_PARALLEL; i++) {
        if (d->visits[i].fetch)
            http_fetch_cancel(d->visits[i].fetch);
    }
    vec_done(&d->known);
    mem_free(d);
}
