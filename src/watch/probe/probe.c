#include "watch/probe/probe.h"
#include "base/json.h"
#include "base/rand.h"
#include "watch/scrape/target.h"
#include <errno.h>
#include <stdio.h>

typedef struct waiter {
    void (*done)(void *ctx, const probe_result *r);
    void *ctx;
} waiter;

typedef struct running {
    prober *owner;
    http_fetch *fetch;
    int64_t started_ns;
    sse stream;
    bool first, broken;
    double ttft_s;
} running;

struct prober {
    prober_deps deps;
    const replica_config *config;
    running run[PROBE_KIND_COUNT];
    waiter waiters[PROBE_MAX_WAITERS];
    size_t waiter_count;
    char health_url[1024], completion_url[1024];
    uint64_t salt;
};

static void make_url(char out[1024], str base, str path)
{
    while (base.len && base.ptr[base.len - 1] == '/')
        base.len--;
    snprintf(out, 1024, "%" STR_FMT "%s%" STR_FMT, STR_ARG(base), path.len && path.ptr[0] == '/' ? "" : "/",
             STR_ARG(path));
}

err_kind prober_open(const prober_deps *deps, const replica_config *c, prober **ret, err *e)
{
    prober *p = mem_zalloc(sizeof *p);
    if (!p)
        return err_nomem(e);
    p->deps = *deps;
    p->config = c;
    for (size_t i = 0; i < PROBE_KIND_COUNT; i++)
        p->run[i] = (running){ .owner = p, .stream = SSE_INIT };
    rand_secret(&p->salt, sizeof p->salt);
    make_url(p->health_url, c->url, c->health.path);
    make_url(p->completion_url, c->url, c->probe.path);
    *ret = p;
    return OK;
}

bool prober_in_flight(const prober *p, probe_kind kind) { return p->run[kind].fetch != NULL; }

static void report(prober *p, probe_kind kind, const probe_result *r)
{
    waiter waiting[PROBE_MAX_WAITERS];
    size_t n = kind == PROBE_COMPLETION ? p->waiter_count : 0;
    memcpy(waiting, p->waiters, n * sizeof *waiting);
    if (kind == PROBE_COMPLETION)
        p->waiter_count = 0;
    if (p->deps.on_result)
        p->deps.on_result(p->deps.ctx, kind, r);
    for (size_t i = 0; i < n; i++) /* a copy: whoever hears may ask again, or close us */
        waiting[i].done(waiting[i].ctx, r);
}

void prober_close(prober *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < PROBE_KIND_COUNT; i++) {
        if (p->run[i].fetch)
            http_fetch_cancel(p->run[i].fetch);
        p->run[i].fetch = NULL;
    }
    p->deps.on_result = NULL;
    if (p->waiter_count)
        report(p, PROBE_COMPLETION, &(probe_result){ .ttft_s = NAN, .error = "the replica is no longer watched" });
    for (size_t i = 0; i < PROBE_KIND_COUNT; i++)
        sse_free(&p->run[i].stream);
    mem_free(p);
}

/* What every answer tells, whatever was asked. */
static probe_result result_of(const running *run, const http_response *res)
{
    probe_result r = { .ttft_s = NAN,
                       .http_status = res->kind == OK ? res->status : 0,
                       .total_s = (double)(clock_mono_ns() - run->started_ns) / NS_PER_S,
                       .refused = res->kind == ERR_UNAVAILABLE && res->error.sys_errno == ECONNREFUSED,
                       .timeout = res->kind == ERR_TIMEOUT };
    if (res->kind)
        str_copy(r.error, sizeof r.error, str_from(res->error.message));
    else if (res->status != 200)
        snprintf(r.error, sizeof r.error, "the answer was HTTP status %d", res->status);
    r.ok = !r.error[0];
    return r;
}

static void on_health(void *ctx, const http_response *res)
{
    running *run = ctx;
    probe_result r = result_of(run, res);
    run->fetch = NULL;
    report(run->owner, PROBE_HEALTH, &r);
}

static void note_first(running *run)
{
    run->first = true;
    run->ttft_s = (double)(clock_mono_ns() - run->started_ns) / NS_PER_S;
}

static err_kind on_piece(void *ctx, str piece)
{
    running *run = ctx;
    switch (sse_feed(&run->stream, piece)) {
    case SSE_FIRST: note_first(run); return OK;
    case SSE_BROKEN: run->broken = true; return ERR_LIMIT;
    case SSE_NOTHING: break;
    }
    return OK;
}

static void on_completion(void *ctx, const http_response *res)
{
    running *run = ctx;
    run->fetch = NULL;
    if (!run->broken && sse_end(&run->stream) == SSE_FIRST)
        note_first(run);
    probe_result r = result_of(run, res);
    if (run->first && (res->kind || res->status == 200)) {
        r.ok = true; /* the token came; how the stream ended does not matter */
        r.timeout = r.refused = false;
        r.error[0] = '\0';
        r.ttft_s = run->ttft_s;
        r.http_status = 200;
    } else if (r.ok || run->broken) {
        r.ok = false;
        snprintf(r.error, sizeof r.error, "%s",
                 run->broken            ? "an event of the answer is too long"
                 : run->stream.error[0] ? run->stream.error
                                        : "the answer had no token");
    } else if (r.timeout) {
        snprintf(r.error, sizeof r.error, "no first token within %g s",
                 (double)run->owner->config->probe.timeout_ms / MS_PER_S);
    } else if (res->kind == OK && run->stream.error[0]) {
        snprintf(r.error, sizeof r.error, "HTTP status %d: %.150s", res->status, run->stream.error);
    }
    report(run->owner, PROBE_COMPLETION, &r);
}

/* ---- asking ---- */
static err_kind start(prober *p, probe_kind kind, http_fetch_options *o, err *e)
{
    AUTO(arena_done) arena a = arena_init(64u << 10);
    running *run = &p->run[kind];
    http_header headers[2] = { { STR("Content-Type"), STR("application/json") } };
    buf_reset(&run->stream.line);
    run->stream = (sse){ .line = run->stream.line };
    run->first = run->broken = false;
    run->started_ns = clock_mono_ns();
    o->ctx = run;
    o->max_body = PROBE_MAX_BODY;
    o->headers = headers;
    o->header_count = o->body.len ? 1 : 0;
    err_kind k = http_auth_apply(&p->config->auth, &a, o, &headers[o->header_count], e);
    if (k)
        return k;
    o->header_count += headers[o->header_count].name.len > 0;
    k = http_fetch_start(p->deps.client, o, &run->fetch, e);
    if (k)
        run->fetch = NULL;
    return k;
}

err_kind prober_health(prober *p, err *e)
{
    const health_config *h = &p->config->health;
    if (prober_in_flight(p, PROBE_HEALTH))
        return err_set(e, ERR_CONFLICT, "a health probe is under way");
    http_fetch_options o = {
        .url = p->health_url, .timeout_ms = h->timeout_ms, .connect_timeout_ms = h->timeout_ms, .done = on_health
    };
    return start(p, PROBE_HEALTH, &o, e);
}

static err_kind write_question(prober *p, buf *out)
{
    char text[64];
    snprintf(text, sizeof text, "galen probe %016" PRIx64, p->salt++ * UINT64_C(0x9e3779b97f4a7c15));
    json_writer w = json_writer_to(out);
    json_begin(&w, '{');
    json_put_cstr(&w, "model", p->config->probe.model);
    json_key(&w, "messages");
    json_begin(&w, '[');
    json_begin(&w, '{');
    json_put_cstr(&w, "role", "user");
    json_put_cstr(&w, "content", text);
    json_end(&w, '}');
    json_end(&w, ']');
    json_put_i64(&w, "max_tokens", 1);
    json_put_bool(&w, "stream", true);
    json_end(&w, '}');
    return out->failed;
}

err_kind prober_completion(prober *p, void (*done)(void *ctx, const probe_result *r), void *ctx, err *e)
{
    const probe_config *c = &p->config->probe;
    AUTO(buf_done) buf body = BUF_INIT(4096);
    if (!c->enabled)
        return err_set(e, ERR_UNSUPPORTED, "no completion probe is configured for replica \"%" STR_FMT "\"",
                       STR_ARG(p->config->name));
    if (done && p->waiter_count == PROBE_MAX_WAITERS)
        return err_set(e, ERR_LIMIT, "%d others wait for this probe already", PROBE_MAX_WAITERS);
    if (!prober_in_flight(p, PROBE_COMPLETION)) {
        if (write_question(p, &body))
            return err_nomem(e);
        http_fetch_options o = { .url = p->completion_url,
                                 .body = buf_str(&body),
                                 .timeout_ms = c->timeout_ms,
                                 .connect_timeout_ms = c->timeout_ms,
                                 .on_data = on_piece,
                                 .done = on_completion };
        err_kind k = start(p, PROBE_COMPLETION, &o, e);
        if (k)
            return k;
    }
    if (done)
        p->waiters[p->waiter_count++] = (waiter){ done, ctx };
    return OK;
}
