/* main/serve.c - `galen serve`: builds the rooms in the order of the house, hands them to each other, runs the loop.
 *
 * Opening walks down the list, closing walks up. A room that could not be opened ends the start with its sentence
 * and exit code 1. SIGTERM and SIGINT end it with 0, SIGHUP and POST /-/reload read the configuration again: the new
 * generation is built whole first, so a broken file changes nothing. */
#include "main/options.h"
#include "main/settings.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rand.h"
#include "diagnose/diagnose.h"
#include "face/face.h"
#include "store/remote/remote.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLOSE_GRACE_MS 3000
#define HEAL_TICK_MS 500
#define LOOK_AGAIN_MS 20
#define RETENTION_UNSET INT64_C(-1)

typedef struct serve_options {
    settings_files files;
    const char *data, *listen, *features, *query_compat, *log_level;
    int64_t retention_ms;
    bool log_json;
} serve_options;

typedef struct house {
    const serve_options *options;
    settings *settings;          /* the running generation */
    uv_loop_t loop;
    int lock_fd;
    char audit_dir[FILE_PATH_MAX];
    char token[64];
    audit *audit;
    state_db *state;
    store *store;
    store_options store_limits;  /* as it was opened, without `dir` */
    remote *remote;
    query_remote *query_remote;  /* NULL: the embedded store answers */
    query_engine *query;
    net_poster *poster;
    http_client *client;
    http_server *server;
    query_http *query_http;
    watch *watch;
    alert_room *alert;
    diagnose *diagnose;
    heal *heal;
    face *face;
    int64_t metadata_ns;         /* when it was told last */
    net_timer *metadata_timer, *diagnose_timer, *heal_timer, *look_timer;
    uv_signal_t signals[3];
    const char *flags[16];       /* what status/flags tells: name, value, …, NULL */
    char retention[CLOCK_ISO_MAX];
    buf config_text;             /* the configuration file as it may be shown */
    int64_t loaded_ms;
    bool last_reload_ok;
    bool closing, loop_open, token_is_new;
} house;

/* ---- what flows backwards: callbacks between rooms ---- */

static void on_alert(void *ctx, const alert_info *a, alert_state before)
{
    house *h = ctx;
    if (h->diagnose)
        diagnose_alert(h->diagnose, a, before);
    if (h->heal)
        heal_alert(h->heal, a, before);
}

static void on_incident(void *ctx, const incident *i, incident_change change)
{
    house *h = ctx;
    if (h->heal)
        heal_incident(h->heal, i, change);
}

static void diagnose_now(void *ctx)
{
    house *h = ctx;
    if (h->diagnose)
        diagnose_tick(h->diagnose, clock_now_ms());
}

static void heal_now(void *ctx)
{
    house *h = ctx;
    if (h->heal)
        heal_tick(h->heal, clock_now_ms());
}

/* A replica changed: look soon instead of at the next tick. Once for all that change together, or a thousand engines
 * that go down at the same moment would each have all of them looked at. */
static void look_again(void *ctx)
{
    house *h = ctx;
    net_timer_stop(h->look_timer);
    h->look_timer = NULL;
    diagnose_now(h);
    heal_now(h);
}

static void on_watch_change(void *ctx, const char *replica_id)
{
    house *h = ctx;
    UNUSED(replica_id);
    if (!h->look_timer && !h->closing)
        h->look_timer = net_timer_start(&h->loop, LOOK_AGAIN_MS, 0, look_again, h);
}

/* ?match_target={job="x"}: watch knows no PromQL, query does. */
static err_kind selects(void *ctx, str selector, labels l, bool *ret, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    matcher *m;
    size_t n, i = 0;
    UNUSED(ctx);
    err_kind k = promql_parse_selector(selector, &a, &m, &n, e);
    if (k)
        return k;
    while (i < n && matcher_match(&m[i], labels_get(l, m[i].name)))
        i++;
    *ret = i == n;
    promql_selector_done(m, n);
    return OK;
}

/* Types and help texts for the remote stores that want them, as often as the most eager one does. */
#define METADATA_LOOK_MS 1000
#define METADATA_MAX 2000
static void tell_metadata(void *ctx)
{
    house *h = ctx;
    int64_t now = clock_mono_ns(), every_ms = remote_metadata_interval_ms(h->remote);
    if (!every_ms || !h->watch || (h->metadata_ns && now - h->metadata_ns < every_ms * NS_PER_MS))
        return;
    exposition_meta *all = mem_calloc(METADATA_MAX, sizeof *all);
    if (!all)
        return;
    h->metadata_ns = now;
    remote_tell_metadata(h->remote, all, watch_metadata(h->watch, all, METADATA_MAX));
    mem_free(all);
}

/* ---- data folder ---- */

static err_kind take_lock(house *h, const char *data, err *e)
{
    char path[FILE_PATH_MAX], owner[32] = "", pid[32];
    err_kind k = file_join(path, data, "LOCK", e);
    if (k)
        return k;
    k = file_lock(path, &h->lock_fd, e);
    if (k == ERR_CONFLICT) {
        (void)file_read_small(path, owner, sizeof owner, NULL, NULL);
        err_set(e, ERR_CONFLICT, "the data folder \"%s\" is in use by another galen (process %s)", data, owner[0] ? str_trim(str_from(owner)).ptr : "unknown");
        return err_hint(e, "Stop the other one first, or give this one its own folder with --data DIR.");
    }
    if (k)
        return k;
    int n = snprintf(pid, sizeof pid, "%d", (int)getpid());
    if (ftruncate(h->lock_fd, 0) != 0 || write(h->lock_fd, pid, (size_t)n) != n)
        log_warn("could not note the process in LOCK", KV_CSTR("path", path));
    return OK;
}

/* The token for changing calls: made once, readable by the owner only, printed once. */
static err_kind load_token(house *h, const char *data, err *e)
{
    char path[FILE_PATH_MAX];
    err_kind k = file_join(path, data, "token", e);
    if (k)
        return k;
    size_t n;
    if (file_exists(path)) {
        k = file_read_small(path, h->token, sizeof h->token, &n, e);
        str trimmed = str_trim(str_of(h->token, k ? 0 : n));
        if (!k && trimmed.len < 16)
            return err_set(e, ERR_INVALID, "the token in \"%s\" is too short", path), err_hint(e, "Remove the file; a new token is made at the next start.");
        if (!k)
            str_copy(h->token, sizeof h->token, trimmed);
        return k;
    }
    uint8_t secret[32];
    AUTO(buf_done) buf text = BUF_INIT(sizeof h->token - 1);
    rand_secret(secret, sizeof secret);
    hash_base64url(&text, secret, sizeof secret);
    if (buf_failed(&text))
        return err_nomem(e);
    if ((k = file_write_atomic(path, buf_str(&text), 0600, e)))
        return k;
    str_copy(h->token, sizeof h->token, buf_str(&text));
    h->token_is_new = true;
    return OK;
}

static err_kind open_data(house *h, err *e)
{
    const char *data = h->options->data;
    char path[FILE_PATH_MAX];
    err_kind k = file_make_dirs(data, 0755, e);
    if (!k && access(data, W_OK) != 0)
        k = err_sys(e, errno, "cannot write to the data folder \"%s\"", data);
    if (k)
        return err_hint(e, "Give a folder that this user may write to with --data DIR.");
    if ((k = take_lock(h, data, e)) || (k = load_token(h, data, e)) || (k = file_join(h->audit_dir, data, "audit", e)) ||
        (k = audit_open(h->audit_dir, NULL, &h->audit, e)) || (k = file_join(path, data, "state.db", e)) ||
        (k = state_open(path, &h->state, e)) || (k = file_join(path, data, "spool", e)) || (k = file_make_dirs(path, 0750, e)))
        return k;
    return OK;
}

static bool has_created_zeros(const char *list)
{
    str rest = str_from(list), name;
    while (str_split(&rest, ',', &name))
        if (str_is(str_trim(name), FEATURE_CREATED_ZEROS))
            return true;
    return false;
}

/* store.remote: questions go where the samples go. */
static err_kind ask_remote(house *h, err *e)
{
    const store_remote *s = h->settings->store_remote;
    query_remote_options o = { .url = s->read_url, .headers = s->headers, .header_count = s->header_count, .params = s->params,
                               .auth = &s->auth, .timeout_ms = s->timeout_ms };
    err_kind k = query_remote_open(&o, &h->query_remote, e);
    if (k)
        return k;
    query_backend b = query_remote_backend(h->query_remote);
    query_engine_push_down(h->query, &b);
    log_info("samples are kept in a remote store, which answers all questions", KV_CSTR("url", s->read_url));
    return OK;
}

static err_kind open_store(house *h, err *e)
{
    char path[FILE_PATH_MAX];
    store_recovery recovery = { 0 };
    const settings *s = h->settings;
    unsigned features = features_parse(h->options->features);
    err_kind k = file_join(path, h->options->data, "store", e);
    if (k)
        return k;
    store_options o = { .dir = path, .wal_fsync_ms = s->store.wal_fsync_ms, .max_series = (size_t)s->store.max_series,
                        .retention_bytes = s->store.retention_bytes, .out_of_order_ms = s->store.out_of_order_ms,
                        .max_series_per_metric = (size_t)s->store.max_series_per_metric, .max_series_per_target = (size_t)s->store.max_series_per_target,
                        .memory_bytes = (size_t)s->store.memory_bytes, .max_exemplars = (size_t)s->store.max_exemplars,
                        .tier_5m_ms = s->store.tier_5m_ms, .tier_1h_ms = s->store.tier_1h_ms, .created_zeros = has_created_zeros(h->options->features),
                        .retention_ms = h->options->retention_ms != RETENTION_UNSET ? h->options->retention_ms
                                        : s->store_remote ? s->store_remote->buffer_ms : s->store.retention_ms };
    if ((k = store_open(&o, &h->store, &recovery, e)))
        return k;
    h->store_limits = o;
    h->store_limits.dir = NULL;
    if (recovery.cut_bytes || recovery.note[0])
        log_warn("store recovered, some stored bytes could not be used", KV_INT("cut_bytes", recovery.cut_bytes), KV_CSTR("note", recovery.note));
    log_info("store open", KV_INT("series", recovery.series), KV_INT("samples", recovery.samples), KV_INT("segments", recovery.segments));
    query_options q = { .lookback_ms = s->query.lookback_ms, .timeout_ms = s->query.timeout_ms,
                        .max_samples = (size_t)s->query.max_samples, .max_series = (size_t)s->query.max_series,
                        .max_points = (size_t)s->query.max_points, .max_memory_bytes = (size_t)s->query.max_memory,
                        .features = features, .compat = h->options->query_compat && strcmp(h->options->query_compat, "2") == 0 ? 2 : 3 };
    h->query = query_engine_new(h->store, &q);
    if (!h->query)
        return err_nomem(e);
    if ((k = file_join(path, h->options->data, "spool/remote", e)))
        return k;
    remote_options r = { .dir = path, .max_bytes = (uint64_t)s->remote_queue_bytes, .store = store_sink(h->store),
                         .canonical = h->settings->store_remote != NULL };
    if ((k = remote_open(&r, &h->settings->remotes, &h->remote, e)))
        return k;
    return h->settings->store_remote ? ask_remote(h, e) : OK;
}

/* ---- network and rooms ---- */

static bool config_ok(void *ctx, int64_t *ret_loaded_ms)
{
    const house *h = ctx;
    *ret_loaded_ms = h->loaded_ms;
    return h->last_reload_ok;
}

/* The file without its secrets; nothing if it cannot be read any more. */
static void show_config(const char *path, buf *out)
{
    AUTO(yaml_doc_freep) yaml_doc *doc = NULL;
    if (yaml_load(path, &doc, NULL) == OK)
        yaml_write_shown(doc, out);
}

static void store_changed(void *ctx, const char *kind, str message)
{
    house *h = ctx;
    audit_record r = { .kind = str_from(kind), .actor = STR("user"), .subject = STR("store"), .message = message };
    if (audit_append(h->audit, &r, true, NULL, NULL))
        log_error("a change of the store could not be recorded", KV_STR("change", message));
    else
        log_info("the store was changed", KV_STR("change", message));
}

/* What /api/v1/status/{config,flags,runtimeinfo} tell: the file as it was read, and the flags as they stand. */
static void describe(house *h, const settings *s)
{
    const serve_options *o = h->options;
    const char *path = o->files.prometheus ? o->files.prometheus : o->files.config;
    buf_reset(&h->config_text);
    if (path)
        show_config(path, &h->config_text);
    clock_format_duration(h->retention, o->retention_ms != RETENTION_UNSET ? o->retention_ms : h->settings->store.retention_ms);
    const char *const flags[] = {
        "config", o->files.config ? o->files.config : "", "data", o->data, "enable-feature", o->features ? o->features : "",
        "listen", h->settings->face.listen, "retention", h->retention, "watch", o->files.watch_by_itself ? "on" : "off", NULL,
    };
    memcpy(h->flags, flags, sizeof flags);
    query_about about = { .config_yaml = buf_str(&h->config_text), .flags = h->flags, .version = GALEN_VERSION, .data_dir = o->data,
                          .retention = h->retention, .config_ok = config_ok, .ctx = h, .changed = store_changed, .store = h->store_limits, .external_labels = s->external_labels };
    query_http_about(h->query_http, &about);
}

static const char *listen_address(const house *h) { return h->options->listen ? h->options->listen : h->settings->face.listen; }

static err_kind open_net(house *h, err *e)
{
    http_server_options o = { .listen = listen_address(h), .insecure = h->settings->face.insecure, .token = str_from(h->token),
                              .external_url = h->settings->face.external_url, .cors_origin = h->settings->face.cors_origin };
    err_kind k = net_poster_open(&h->loop, &h->poster, e);
    if (k || (k = http_client_open(&h->loop, &h->client, e)) || (k = http_server_new(&h->loop, &o, &h->server, e)))
        return k;
    /* The address is taken before any engine is started: a galen that cannot be reached must not have acted. Who connects
     * meanwhile waits, since nothing is answered before the loop runs. */
    if ((k = http_server_listen(h->server, e)) || (k = query_http_open(h->query, h->store, h->server, h->poster, (unsigned)h->settings->query.threads, &h->query_http, e)))
        return k;
    describe(h, h->settings);
    return OK;
}

static const char *external_url(house *h)
{
    static char url[300];
    if (h->settings->face.external_url)
        return h->settings->face.external_url;
    snprintf(url, sizeof url, "http://%s", listen_address(h));
    return url;
}

static err_kind open_rooms(house *h, err *e)
{
    settings *s = h->settings;
    sample_sink sink = remote_sink(h->remote);
    watch_deps w = { &h->loop, h->client, sink, h->audit, h->state, h->options->data, http_server_port(h->server), selects, h };
    err_kind k = watch_open(&w, TAKE(s->watch), &h->watch, e);
    if (k)
        return k;
    alert_deps a = { &h->loop, h->client, h->query, sink, h->audit, external_url(h), on_alert, h };
    if ((k = alert_open(&a, TAKE(s->alert), &h->alert, e)))
        return k;
    int64_t tick_ms = diagnose_config_tick_ms(s->diagnose);
    diagnose_deps d = { h->query, h->watch, h->audit, h->state, sink, on_incident, h };
    if ((k = diagnose_open(&d, TAKE(s->diagnose), &h->diagnose, e)))
        return k;
    heal_deps heal_needs = { &h->loop, h->query, h->watch, h->diagnose, h->audit, h->state, h->client, sink };
    if ((k = heal_open(&heal_needs, TAKE(s->heal), &h->heal, e)))
        return k;
    watch_on_change(h->watch, on_watch_change, h);
    h->diagnose_timer = net_timer_start(&h->loop, tick_ms, tick_ms, diagnose_now, h);
    h->heal_timer = net_timer_start(&h->loop, HEAL_TICK_MS, HEAL_TICK_MS, heal_now, h);
    h->metadata_timer = net_timer_start(&h->loop, METADATA_LOOK_MS, METADATA_LOOK_MS, tell_metadata, h);
    return h->diagnose_timer && h->heal_timer && h->metadata_timer ? OK : err_nomem(e);
}

/* ---- reload, stop ---- */

static bool apply(house *h, settings *fresh, err *e)
{
    int64_t tick_ms = diagnose_config_tick_ms(fresh->diagnose);
    if (remote_reload(h->remote, &fresh->remotes, e) || watch_reload(h->watch, TAKE(fresh->watch), e) || alert_reload(h->alert, TAKE(fresh->alert), e) ||
        diagnose_reload(h->diagnose, TAKE(fresh->diagnose), e) || heal_reload(h->heal, TAKE(fresh->heal), e))
        return false;
    net_timer_stop(h->diagnose_timer);
    h->diagnose_timer = net_timer_start(&h->loop, tick_ms, tick_ms, diagnose_now, h);
    return true;
}

static own_metric *reload_gauge(void)
{
    return own_gauge("galen_config_last_reload_successful", NULL, "1 if the last reload was taken over, or none was tried.");
}

static bool reload(void *ctx, err *e)
{
    house *h = ctx;
    AUTO(settings_freep) settings *fresh = NULL;
    bool ok = settings_load(&h->options->files, &fresh, e) == OK && apply(h, fresh, e);
    char why[sizeof e->message + sizeof e->file + 32] = "configuration read again", later[200] = "";
    if (!ok)
        err_format(why, sizeof why, e);
    else if (settings_need_restart(h->settings, fresh, later, sizeof later))
        snprintf(why, sizeof why, "configuration read again; %s: only with the next start", later);
    audit_record r = { .kind = ok ? STR("config.reloaded") : STR("config.rejected"), .actor = STR("user"), .message = str_from(why) };
    (void)audit_append(h->audit, &r, false, NULL, NULL);
    if (ok && later[0])
        log_warn("configuration reloaded, but these take effect only with the next start", KV_CSTR("keys", later));
    else if (ok)
        log_info("configuration reloaded");
    else
        log_error("configuration not reloaded, keeping the running one", KV_ERR(e));
    h->last_reload_ok = ok;
    if (ok) {
        h->loaded_ms = clock_now_ms();
        describe(h, fresh);
    }
    own_set(reload_gauge(), ok);
    return ok;
}

static void close_signal(uv_signal_t *s)
{
    if (!uv_is_closing((uv_handle_t *)s))
        uv_close((uv_handle_t *)s, NULL);
}

static void server_closed(void *ctx)
{
    house *h = ctx;
    h->server = NULL;
    uv_stop(&h->loop);
}

static void quit(void *ctx)
{
    house *h = ctx;
    if (h->closing)
        return;
    h->closing = true;
    log_info("stopping");
    http_server_close(h->server, CLOSE_GRACE_MS, server_closed, h);
}

static void on_signal(uv_signal_t *s, int number)
{
    house *h = s->data;
    err e = { 0 };
    if (number == SIGHUP)
        (void)reload(h, &e);
    else
        quit(h);
}

static void watch_signals(house *h)
{
    static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        uv_signal_init(&h->loop, &h->signals[i]);
        h->signals[i].data = h;
        uv_signal_start(&h->signals[i], on_signal, numbers[i]);
    }
}

/* For the page: who else has the samples, and whether they can be reached. */
static void write_stores(void *ctx, json_writer *w)
{
    house *h = ctx;
    sender_state states[REMOTES_MAX];
    size_t n = MIN(remote_states(h->remote, states, REMOTES_MAX), (size_t)REMOTES_MAX);
    json_key(w, "remotes");
    json_begin(w, '[');
    for (size_t i = 0; i < n; i++) {
        json_begin(w, '{');
        json_put_cstr(w, "name", states[i].name);
        json_put_cstr(w, "url", states[i].url);
        json_put_bool(w, "up", states[i].up);
        json_put_cstr(w, "error", states[i].error);
        json_put_i64(w, "failing_since_ms", states[i].failing_since_ms);
        json_put_i64(w, "waiting", (int64_t)states[i].waiting);
        json_put_i64(w, "sent", (int64_t)states[i].sent);
        json_put_i64(w, "lost", (int64_t)(states[i].lost + states[i].failed));
        json_end(w, '}');
    }
    json_end(w, ']');
    if (!h->query_remote)
        return;
    char error[300];
    int64_t since_ms;
    bool up = query_remote_up(h->query_remote, error, sizeof error, &since_ms);
    json_key(w, "store_remote");
    json_begin(w, '{');
    json_put_cstr(w, "url", h->settings->store_remote->read_url);
    json_put_bool(w, "up", up);
    json_put_cstr(w, "error", error);
    json_put_i64(w, "away_since_ms", since_ms);
    json_end(w, '}');
}

static err_kind open_face(house *h, err *e)
{
    face_deps f = { h->server, h->query, h->store, h->watch, h->alert, h->diagnose, h->heal, h->audit, h->audit_dir, reload, quit, write_stores, h };
    err_kind k = watch_routes(h->watch, h->server, e);
    if (k || (k = alert_routes(h->alert, h->server, e)) || (k = diagnose_routes(h->diagnose, h->audit_dir, h->server, e)) ||
        (k = heal_routes(h->heal, h->server, e)))
        return k;
    return face_open(&f, &h->face, e);
}

static err_kind open_house(house *h, err *e)
{
    err_kind k = h->options->listen ? http_listen_check(h->options->listen, e) : OK;
    if (k || (k = settings_load(&h->options->files, &h->settings, e)) || (k = open_data(h, e)))
        return k;
    if (uv_loop_init(&h->loop) != 0)
        return err_nomem(e);
    h->loop_open = true;
    if ((k = open_store(h, e)) || (k = open_net(h, e)) || (k = open_rooms(h, e)))
        return k;
    return open_face(h, e);
}

static void close_loop(house *h)
{
    for (size_t i = 0; i < COUNT_OF(h->signals); i++)
        if (h->signals[i].loop)
            close_signal(&h->signals[i]);
    for (int rounds = 0; uv_loop_close(&h->loop) == UV_EBUSY && rounds < 1000; rounds++)
        uv_run(&h->loop, UV_RUN_NOWAIT); /* let closing handles say goodbye */
}

static void close_house(house *h)
{
    err e = { 0 };
    if (h->server) { /* the start failed behind it: nobody is being served */
        h->closing = true;
        http_server_close(h->server, 0, server_closed, h);
        uv_run(&h->loop, UV_RUN_DEFAULT);
    }
    net_timer_stop(h->look_timer);
    net_timer_stop(h->heal_timer);
    net_timer_stop(h->diagnose_timer);
    net_timer_stop(h->metadata_timer);
    query_http_close(h->query_http);
    face_close(h->face);
    heal_close(h->heal);
    diagnose_close(h->diagnose);
    alert_close(h->alert);
    watch_close(h->watch);
    http_client_close(h->client);
    net_poster_close(h->poster);
    if (h->loop_open)
        close_loop(h);
    remote_close(h->remote);
    query_engine_free(h->query);
    query_remote_close(h->query_remote);
    if (store_close(h->store, &e))
        log_error("could not close the store cleanly", KV_ERR(&e));
    state_close(h->state);
    audit_close(h->audit);
    settings_free(h->settings);
    buf_done(&h->config_text);
    if (h->lock_fd >= 0)
        close(h->lock_fd);
}

static void say_hello(house *h)
{
    char address[300];
    str_copy(address, sizeof address, str_from(listen_address(h)));
    char *colon = strrchr(address, ':');
    if (colon)
        *colon = '\0';
    printf("galen %s is at http://%s:%d\n", GALEN_VERSION, address, http_server_port(h->server));
    if (h->token_is_new)
        printf("A token for changing calls was made; it is kept in %s/token, readable by you only:\n  %s\n", h->options->data, h->token);
    fflush(stdout);
    audit_record r = { .kind = STR("galen.started"), .actor = STR("galen"), .message = STR("galen " GALEN_VERSION " started") };
    (void)audit_append(h->audit, &r, false, NULL, NULL);
}

static void say_goodbye(house *h)
{
    audit_record r = { .kind = STR("galen.stopped"), .actor = STR("galen"), .message = STR("galen stopped, as asked") };
    (void)audit_append(h->audit, &r, true, NULL, NULL);
}

static int run(int argc, char **argv)
{
    serve_options o = { .data = "./galen-data", .retention_ms = RETENTION_UNSET, .files.watch_by_itself = true };
    char **args;
    int n, code = options_parse(&verb_serve, argc, argv, &o, &args, &n);
    if (code >= 0)
        return code;
    log_level level;
    if (o.retention_ms != RETENTION_UNSET && o.retention_ms < RETENTION_MIN_MS) {
        fprintf(stderr, "galen: --retention must be 1h or longer\nHint: What is older is deleted for good; 15d is the default.\n");
        return EXIT_USAGE;
    }
    if (n > 0 || (o.log_level && !log_level_parse(str_from(o.log_level), &level))) {
        fprintf(stderr, "galen: %s\nHint: `galen serve --help` lists the flags.\n", n > 0 ? "serve takes no arguments" : "--log.level is error, warn, info or debug");
        return EXIT_USAGE;
    }
    if (o.query_compat && strcmp(o.query_compat, "2") != 0 && strcmp(o.query_compat, "3") != 0) {
        fprintf(stderr, "galen: --query.compat is 2 or 3\nHint: `galen serve --help` lists the flags.\n");
        return EXIT_USAGE;
    }
    if (o.log_level)
        log_set_level(level);
    log_set_json(o.log_json);
    house h = { .options = &o, .lock_fd = -1, .last_reload_ok = true, .loaded_ms = clock_now_ms(), .config_text = BUF_INIT(CONFIG_MAX_BYTES) };
    err e = { 0 };
    if (open_house(&h, &e)) {
        err_print(&e);
        close_house(&h);
        return EXIT_FAILED;
    }
    own_set(reload_gauge(), 1);
    watch_signals(&h);
    say_hello(&h);
    uv_run(&h.loop, UV_RUN_DEFAULT);
    say_goodbye(&h);
    close_house(&h);
    return EXIT_DONE;
}

static const option_row options[] = {
    { "config", OPTION_TEXT, offsetof(serve_options, files.config), "FILE", "galen.yml; without it: this host and the engines on loopback" },
    { "data", OPTION_TEXT, offsetof(serve_options, data), "DIR", "where everything is kept (default ./galen-data)" },
    { "listen", OPTION_TEXT, offsetof(serve_options, listen), "ADDRESS", "page and API (default 127.0.0.1:9600)" },
    { "retention", OPTION_DURATION, offsetof(serve_options, retention_ms), "DURATION", "how long samples are kept (default 15d)" },
    { "watch", OPTION_ON_OFF, offsetof(serve_options, files.watch_by_itself), "on|off", "watch this host and look for engines by itself (default on)" },
    { "prometheus.config", OPTION_TEXT, offsetof(serve_options, files.prometheus), "FILE", "prometheus.yml, unchanged: its targets and rules only" },
    { "alertmanager.config", OPTION_TEXT, offsetof(serve_options, files.alertmanager), "FILE", "alertmanager.yml, unchanged" },
    { "enable-feature", OPTION_TEXT, offsetof(serve_options, features), "LIST", "experimental PromQL and " FEATURE_CREATED_ZEROS ", named as in Prometheus" },
    { "query.compat", OPTION_TEXT, offsetof(serve_options, query_compat), "2|3", "ranges of that Prometheus: 2 is closed on both sides (default 3)" },
    { "log.level", OPTION_TEXT, offsetof(serve_options, log_level), "LEVEL", "error, warn, info or debug (default info)" },
    { "log.json", OPTION_SWITCH, offsetof(serve_options, log_json), NULL, "log in JSON instead of logfmt" },
};
const verb verb_serve = {
    "serve", "Watch, store, alert, diagnose and heal; serve the page and the API.", "galen serve [flags]",
    "Signals: SIGTERM stops, SIGHUP reads the configuration again. Supervised engines go on running while galen is away\n"
    "and are adopted at its next start.\n",
    options, COUNT_OF(options), run,
};
