#include "watch/watch_room.h"
#include "base/file.h"
#include <stdio.h>

#define OWN_PAGE_MAX (4u << 20)

/* ---- this host ---- */
static void host_due(void *ctx)
{
    watch *w = ctx;
    err e = { 0 };
    err_kind k = host_collect(w->host, clock_now_ms(), &w->host_rows);
    if (k)
        err_nomem(&e);
    else
        k = w->deps.sink.append(w->deps.sink.ctx, w->host_rows.at, w->host_rows.len, &(sink_result){ 0 }, &e);
    if (k)
        log_warn("could not keep this host's vitals, one round is lost", KV_ERR(&e));
}

static void host_stop(watch *w)
{
    net_timer_stop(w->host_timer);
    w->host_timer = NULL;
    if (w->host && host_collect_end(w->host, clock_now_ms(), &w->host_rows) == OK && w->host_rows.len)
        (void)(w->deps.sink.append(w->deps.sink.ctx, w->host_rows.at, w->host_rows.len, &(sink_result){ 0 }, NULL) ==
               OK);
    host_close(w->host);
    w->host = NULL;
}

static err_kind host_start(watch *w, const watch_config *c, err *e)
{
    const host_config *h = &c->host;
    if (w->host && h->enabled && h->fingerprint == w->host_fingerprint)
        return OK;
    host_stop(w);
    if (!h->enabled)
        return OK;
    host_options o = { .proc = h->proc, .root = h->root, .instance = h->instance };
    err_kind k = host_open(&o, &w->host, e);
    if (k)
        return k;
    w->host_fingerprint = h->fingerprint;
    w->host_timer = net_timer_start(w->deps.loop, 0, h->interval_ms, host_due, w);
    return w->host_timer ? OK : err_nomem(e);
}

/* ---- galen itself ---- */
static void own_due(void *ctx)
{
    watch *w = ctx;
    AUTO(buf_done) buf text = BUF_INIT(OWN_PAGE_MAX);
    char instance[32];
    err e = { 0 };
    page_result result;
    snprintf(instance, sizeof instance, "127.0.0.1:%d", w->deps.own_port);
    label base[2] = { { STR("instance"), str_from(instance) }, { STR("job"), STR("galen") } };
    page_rules rules = { .target = { base, 2 } };
    vec_clear(&w->own_rows);
    own_exposition(&text);
    err_kind k = page_read(w->own_page, &rules, buf_str(&text), EXPOSITION_TEXT, clock_now_ms(), &w->own_rows, &result, &e);
    if (!k)
        k = page_append(w->own_page, &w->deps.sink, &w->own_rows, &(sink_result){ 0 }, &e);
    if (k)
        log_warn("could not keep galen's own metrics", KV_ERR(&e));
    page_settle(w->own_page);
}

/* ---- replicas ---- */
static void tell_change(void *ctx, const char *id)
{
    watch *w = ctx;
    if (w->on_change)
        w->on_change(w->on_change_ctx, id);
}

static replica_deps replica_deps_of(watch *w)
{
    return (replica_deps){ .loop = w->deps.loop,
                           .client = w->deps.client,
                           .sink = w->deps.sink,
                           .audit = w->deps.audit,
                           .state = w->deps.state,
                           .spool_dir = w->spool_dir[0] ? w->spool_dir : NULL,
                           .on_change = tell_change,
                           .ctx = w };
}

static replica *take_replica(watch *w, const replica_config *c, bool same)
{
    for (size_t i = 0; i < w->replicas.len; i++) {
        replica *r = w->replicas.at[i];
        const replica_config *old = replica_config_of(r);
        if (replica_info_of(r)->discovered || !str_eq(old->job, c->job) || !str_eq(old->instance, c->instance))
            continue;
        if (same && old->fingerprint != c->fingerprint)
            continue;
        vec_remove(&w->replicas, i);
        return r;
    }
    return NULL;
}

static bool named(const watch_config *c, const replica_config *r)
{
    for (size_t i = 0; i < c->replica_count; i++)
        if (str_eq(c->replicas[i].job, r->job) && str_eq(c->replicas[i].instance, r->instance))
            return true;
    return false;
}

/* A replica got another job or instance but is the same engine at the same place: a second one must not be started
 * beside it, for the same port and GPU. */
static replica *take_renamed(watch *w, const watch_config *next, const replica_config *c)
{
    for (size_t i = 0; i < w->replicas.len && c->process.enabled; i++) {
        replica *r = w->replicas.at[i];
        const replica_config *old = replica_config_of(r);
        if (replica_info_of(r)->discovered || !old->process.enabled || !str_eq(old->url, c->url) || named(next, old))
            continue;
        vec_remove(&w->replicas, i);
        return r;
    }
    return NULL;
}

/* The port of a URL on this machine; 0 if it is elsewhere. */
static int loopback_port(str url)
{
    str authority = url_authority(url), part, last = STR_EMPTY, rest = authority;
    int64_t port = 0;
    bool here = str_starts(authority, STR("127.")) || str_starts(authority, STR("localhost:")) ||
                str_starts(authority, STR("[::1]:")) || str_starts(authority, STR("0.0.0.0:"));
    while (str_split(&rest, ':', &part))
        last = part;
    return here && str_to_i64(last, &port) && port > 0 && port < 65536 ? (int)port : 0;
}

/* Discovery keeps its hands off what is ours or known otherwise. */
static bool skip_port(void *ctx, int port)
{
    watch *w = ctx;
    if (port == w->deps.own_port || port == w->config->gateway_port)
        return true;
    for (size_t i = 0; i < w->replicas.len; i++) {
        if (!replica_info_of(w->replicas.at[i])->discovered &&
            loopback_port(replica_config_of(w->replicas.at[i])->url) == port)
            return true;
    }
    for (size_t p = 0; p < w->pools.len; p++) {
        target *t;
        for (size_t i = 0; (t = pool_target_at(w->pools.at[p], i)); i++) {
            if (loopback_port(str_from(target_info_of(t).url)) == port)
                return true;
        }
    }
    return false;
}

static void engine_found(void *ctx, const char *engine, int port, const char *model)
{
    watch *w = ctx;
    replica_deps d = replica_deps_of(w);
    replica *r;
    err e = { 0 };
    err_kind k = replica_open_discovered(&d, w->config, engine, port, model, &r, &e);
    if (!k && vec_push(&w->replicas, r)) {
        replica_close(r);
        k = err_nomem(&e);
    }
    if (k)
        log_warn("could not watch an engine that was found", KV_INT("port", port), KV_ERR(&e));
    else
        tell_change(w, replica_info_of(r)->id);
}

static void drop_discovered(watch *w, int port)
{
    for (size_t i = w->replicas.len; i-- > 0;) {
        replica *r = w->replicas.at[i];
        if (!replica_info_of(r)->discovered || (port && loopback_port(replica_config_of(r)->url) != port))
            continue;
        vec_remove(&w->replicas, i);
        replica_close(r);
    }
}

static void engine_lost(void *ctx, int port)
{
    log_info("an engine found on loopback is gone", KV_INT("port", port));
    drop_discovered(ctx, port);
}

static err_kind discover_start(watch *w, const watch_config *c, err *e)
{
    if (w->discover && c->discovery.enabled && c->discovery.every_ms == w->discover_every_ms)
        return OK;
    discover_close(w->discover);
    w->discover = NULL;
    drop_discovered(w, 0);
    if (!c->discovery.enabled)
        return OK;
    discover_deps d = { .loop = w->deps.loop,
                        .client = w->deps.client,
                        .every_ms = c->discovery.every_ms,
                        .skip = skip_port,
                        .found = engine_found,
                        .lost = engine_lost,
                        .ctx = w };
    w->discover_every_ms = c->discovery.every_ms;
    return discover_open(&d, &w->discover, e);
}

/* ---- applying a configuration: the new list is built beside the old one, then the old one's rest is closed ---- */
static err_kind apply_replicas(watch *w, watch_config *c, err *e)
{
    replica_deps d = replica_deps_of(w);
    vec(replica *) next = { 0 };
    if (vec_reserve(&next, c->replica_count + w->replicas.len + 1))
        return err_nomem(e);
    for (size_t i = 0; i < c->replica_count; i++) {
        replica *r = take_replica(w, &c->replicas[i], true);
        if (!r) {
            replica *old = take_replica(w, &c->replicas[i], false);
            if (!old)
                old = take_renamed(w, c, &c->replicas[i]);
            process *handed = old ? replica_take_process(old) : NULL;
            err why = { 0 };
            err_kind k = replica_open(&d, c, &c->replicas[i], handed, &r, &why);
            replica_close(old); /* last: it may be all that holds the generation in which the process has its command */
            if (k) {
                log_error("could not watch a replica", KV_STR("replica", c->replicas[i].name), KV_ERR(&why));
                continue;
            }
        }
        next.at[next.len++] = r;
    }
    for (size_t i = 0; i < w->replicas.len; i++) {
        replica *r = w->replicas.at[i];
        if (replica_info_of(r)->discovered)
            next.at[next.len++] = r;
        else {
            process_release(replica_take_process(r));
            replica_close(r);
        }
    }
    vec_done(&w->replicas);
    w->replicas.at = next.at;
    w->replicas.len = next.len;
    w->replicas.cap = next.cap;
    return OK;
}

static pool *take_pool(watch *w, const scrape_job *job)
{
    for (size_t i = 0; i < w->pools.len; i++) {
        const scrape_job *old = pool_job(w->pools.at[i]);
        if (old->fingerprint == job->fingerprint && str_eq(old->name, job->name)) {
            pool *p = w->pools.at[i];
            vec_remove(&w->pools, i);
            return p;
        }
    }
    return NULL;
}

static err_kind apply_pools(watch *w, watch_config *c, err *e)
{
    replica_deps d = replica_deps_of(w);
    vec(pool *) next = { 0 };
    if (vec_reserve(&next, c->job_count + 1))
        return err_nomem(e);
    for (size_t i = 0; i < c->job_count; i++) {
        pool *p = take_pool(w, &c->jobs[i]);
        err why = { 0 };
        if (!p && pool_open(&d, c, &c->jobs[i], &p, &why)) {
            log_error("could not watch a scrape job", KV_STR("job", c->jobs[i].name), KV_ERR(&why));
            continue;
        }
        next.at[next.len++] = p;
    }
    for (size_t i = 0; i < w->pools.len; i++)
        pool_close(w->pools.at[i]);
    vec_done(&w->pools);
    w->pools.at = next.at;
    w->pools.len = next.len;
    w->pools.cap = next.cap;
    return OK;
}

static err_kind apply(watch *w, watch_config *c, err *e)
{
    err_kind k = host_start(w, c, e);
    if (!k)
        k = apply_replicas(w, c, e);
    if (!k)
        k = apply_pools(w, c, e);
    if (!k)
        k = discover_start(w, c, e);
    return k;
}

/* ---- life ---- */
err_kind watch_open(const watch_deps *deps, watch_config *take_config, watch **ret, err *e)
{
    watch *w = mem_zalloc(sizeof *w);
    if (!w) {
        watch_config_unref(take_config);
        return err_nomem(e);
    }
    w->deps = *deps;
    w->config = take_config;
    w->own_page = page_cache_new();
    w->receiver = receiver_new(&w->deps.sink);
    err_kind k = w->own_page && w->receiver ? OK : err_nomem(e);
    if (!k && deps->data_dir)
        k = file_join(w->spool_dir, deps->data_dir, "spool", e);
    if (!k)
        k = apply(w, take_config, e);
    if (!k) {
        w->own_timer = net_timer_start(deps->loop, 1000, WATCH_OWN_INTERVAL_MS, own_due, w);
        k = w->own_timer ? OK : err_nomem(e);
    }
    if (k) {
        watch_close(w);
        return k;
    }
    *ret = w;
    return OK;
}

err_kind watch_reload(watch *w, watch_config *take_config, err *e)
{
    watch_config *old = w->config;
    w->config = take_config;
    err_kind k = apply(w, take_config, e);
    watch_config_unref(old); /* what was kept from it holds its own reference */
    return k;
}

void watch_close(watch *w)
{
    if (!w)
        return;
    w->on_change = NULL;
    net_timer_stop(w->own_timer);
    discover_close(w->discover);
    host_stop(w);
    for (size_t i = 0; i < w->replicas.len; i++)
        replica_close(w->replicas.at[i]);
    for (size_t i = 0; i < w->pools.len; i++)
        pool_close(w->pools.at[i]);
    vec_done(&w->replicas);
    vec_done(&w->pools);
    vec_done(&w->host_rows);
    vec_done(&w->own_rows);
    page_cache_free(w->own_page);
    receiver_free(w->receiver);
    watch_config_unref(w->config);
    mem_free(w);
}

void watch_on_change(watch *w, void (*fn)(void *ctx, const char *replica_id), void *ctx)
{
    w->on_change = fn;
    w->on_change_ctx = ctx;
}

/* ---- what is known, what may be asked ---- */
static replica *replica_at(watch *w, size_t i)
{
    if (i < w->replicas.len)
        return w->replicas.at[i];
    i -= w->replicas.len;
    for (size_t p = 0; p < w->pools.len; p++) {
        for (size_t t = 0; pool_target_at(w->pools.at[p], t); t++) {
            replica *r = pool_replica_at(w->pools.at[p], t);
            if (r && i-- == 0)
                return r;
        }
    }
    return NULL;
}

static replica *replica_find(watch *w, const char *id)
{
    replica *r;
    for (size_t i = 0; (r = replica_at(w, i)); i++) {
        if (strcmp(replica_info_of(r)->id, id) == 0)
            return r;
    }
    return NULL;
}

const replica_info *watch_replica_at(watch *w, size_t i)
{
    replica *r = replica_at(w, i);
    return r ? replica_info_of(r) : NULL;
}

const replica_info *watch_replica_find(watch *w, const char *id)
{
    replica *r = replica_find(w, id);
    return r ? replica_info_of(r) : NULL;
}

err_kind watch_process_restart(watch *w, const char *id, int64_t grace_ms, void (*done)(void *ctx, const err *result),
                               void *ctx, err *e)
{
    replica *r = replica_find(w, id);
    return r ? replica_restart(r, grace_ms, done, ctx, e) : err_set(e, ERR_NOT_FOUND, "there is no replica \"%s\"", id);
}

err_kind watch_probe(watch *w, const char *id, void (*done)(void *ctx, const probe_result *r), void *ctx, err *e)
{
    replica *r = replica_find(w, id);
    return r ? replica_probe(r, done, ctx, e) : err_set(e, ERR_NOT_FOUND, "there is no replica \"%s\"", id);
}
