#include "watch/watch_config.h"
#include <stdio.h>

#define CONFIG_ARENA_MAX (64u << 20)
#define DEFAULT_STALL_AFTER "30s"

watch_config *watch_config_ref(watch_config *c)
{
    c->refs++;
    return c;
}

void watch_config_unref(watch_config *c)
{
    if (!c || --c->refs)
        return;
    for (size_t i = 0; i < c->job_count; i++)
        scrape_job_done(&c->jobs[i]);
    arena_done(&c->arena);
    mem_free(c);
}

void watch_config_free(watch_config *c) { watch_config_unref(c); }

static void config_unrefp(watch_config **c) { watch_config_unref(*c); }

static watch_config *config_new(void)
{
    watch_config *c = mem_zalloc(sizeof *c);
    if (c) {
        c->refs = 1;
        c->arena = arena_init(CONFIG_ARENA_MAX);
    }
    return c;
}

void watch_config_host_only_if(watch_config *c, bool watch_by_itself)
{
    c->host.enabled = c->host.enabled && watch_by_itself;
    c->discovery.enabled = c->discovery.enabled && watch_by_itself;
}

str url_authority(str url)
{
    ptrdiff_t at = str_find(url, STR("://"));
    str rest = at < 0 ? STR_EMPTY : str_skip(url, (size_t)at + 3);
    size_t n = 0;
    while (n < rest.len && rest.ptr[n] != '/' && rest.ptr[n] != '?' && rest.ptr[n] != '#')
        n++;
    return str_sub(rest, 0, n);
}

/* A node that is a switch or a mapping: `host: off`, `host: {interval: 5s}`. True: bind the mapping. */
static err_kind switch_or_mapping(const yaml_doc *doc, const yaml_node *n, const char *what, bool *enabled,
                                  const yaml_node **ret, err *e)
{
    *ret = NULL;
    if (!n || n->kind == YAML_NULL)
        return OK;
    if (n->kind == YAML_MAPPING) {
        *enabled = true;
        *ret = n;
        return OK;
    }
    if (n->kind == YAML_SCALAR && (str_is(n->text, "true") || str_is(n->text, "on") || str_is(n->text, "yes"))) {
        *enabled = true;
        return OK;
    }
    if (n->kind == YAML_SCALAR && (str_is(n->text, "false") || str_is(n->text, "off") || str_is(n->text, "no"))) {
        *enabled = false;
        return OK;
    }
    return yaml_error(doc, n, e, "%s must be on, off or a mapping", what);
}

/* ---- host and discovery ---- */
static const config_field host_fields[] = {
    { "interval", CONFIG_DURATION, offsetof(host_config, interval_ms), false, "1s", 100, 3600000,
      "how often this host is read" },
    { "instance", CONFIG_STR, offsetof(host_config, instance), false, NULL, 0, 0,
      "value of the label instance; the host's name" },
    { "proc", CONFIG_CSTR, offsetof(host_config, proc), false, NULL, 0, 0, "where /proc is mounted" },
    { "root", CONFIG_CSTR, offsetof(host_config, root), false, NULL, 0, 0,
      "where the host's / is mounted, in a container" },
};
static const config_field discovery_fields[] = {
    { "every", CONFIG_DURATION, offsetof(discovery_config, every_ms), false, "1m", 1000, 86400000,
      "how often loopback is looked over" },
    { "scrape_interval", CONFIG_DURATION, offsetof(discovery_config, interval_ms), false, "5s", 100, 3600000,
      "how often a found engine is scraped" },
};

static err_kind parse_host(const yaml_doc *doc, const yaml_node *n, watch_config *c, err *e)
{
    const yaml_node *mapping;
    c->host.enabled = true;
    err_kind k = switch_or_mapping(doc, n, "host", &c->host.enabled, &mapping, e);
    if (!k)
        k = config_bind(doc, mapping, host_fields, COUNT_OF(host_fields), &c->host, &c->arena, e);
    c->host.fingerprint = yaml_fingerprint(mapping, 1);
    return k;
}

static err_kind parse_discovery(const yaml_doc *doc, const yaml_node *n, watch_config *c, err *e)
{
    const yaml_node *mapping;
    c->discovery.enabled = true;
    err_kind k = switch_or_mapping(doc, n, "discovery", &c->discovery.enabled, &mapping, e);
    return k ? k : config_bind(doc, mapping, discovery_fields, COUNT_OF(discovery_fields), &c->discovery, &c->arena, e);
}

/* ---- replicas ---- */
typedef struct raw_process {
    config_strs command;
    config_pairs env;
    char *dir;
    int64_t stop_grace_ms;
    str restart;
    const yaml_node *unit, *container, *pid_file;
} raw_process;
static const config_field process_fields[] = {
    { "command", CONFIG_STR_LIST, offsetof(raw_process, command), false, NULL, 0, 0,
      "argv; galen starts and adopts this process" },
    { "env", CONFIG_STR_MAP, offsetof(raw_process, env), false, NULL, 0, 0, "environment on top of galen's own" },
    { "dir", CONFIG_CSTR, offsetof(raw_process, dir), false, NULL, 0, 0, "working folder" },
    { "stop_grace", CONFIG_DURATION, offsetof(raw_process, stop_grace_ms), false, "10s", 0, 3600000,
      "from SIGTERM to SIGKILL" },
    { "restart", CONFIG_STR, offsetof(raw_process, restart), false, "never", 0, 0,
      "never: restarting is what heal decides" },
    { "unit", CONFIG_NODE, offsetof(raw_process, unit), false, NULL, 0, 0, "systemd unit (not built yet)" },
    { "container", CONFIG_NODE, offsetof(raw_process, container), false, NULL, 0, 0, "container (not built yet)" },
    { "pid_file", CONFIG_NODE, offsetof(raw_process, pid_file), false, NULL, 0, 0, "pid file (not built yet)" },
};
static const config_field health_fields[] = {
    { "path", CONFIG_STR, offsetof(health_config, path), false, "/health", 0, 0, "GET this; 200 is healthy" },
    { "every", CONFIG_DURATION, offsetof(health_config, every_ms), false, "10s", 100, 86400000, "how often" },
    { "timeout", CONFIG_DURATION, offsetof(health_config, timeout_ms), false, "5s", 100, 3600000,
      "no answer in this time is a failure" },
};
static const config_field probe_fields[] = {
    { "model", CONFIG_CSTR, offsetof(probe_config, model), true, NULL, 0, 0, "model to ask for one token" },
    { "every", CONFIG_DURATION, offsetof(probe_config, every_ms), false, NULL, 1000, 86400000,
      "how often; unset: each 60s unless real traffic shows progress" },
    { "timeout", CONFIG_DURATION, offsetof(probe_config, timeout_ms), false, "10s", 100, 3600000,
      "no first token in this time is a failure" },
    { "path", CONFIG_STR, offsetof(probe_config, path), false, "/v1/chat/completions", 0, 0, "where to POST" },
};

typedef struct raw_replica {
    replica_config r;
    const yaml_node *process, *health, *probe, *basic, *authorization, *tls;
    char *bearer, *bearer_file;
} raw_replica;
#define R(key, type, member, preset, help)                                                                             \
    {                                                                                                                  \
        key, type, offsetof(raw_replica, member), false, preset, 0, 0, help                                            \
    }
static const config_field replica_fields[] = {
    { "name", CONFIG_STR, offsetof(raw_replica, r.name), true, NULL, 0, 0, "a name for people" },
    { "url", CONFIG_STR, offsetof(raw_replica, r.url), true, NULL, 0, 0, "http://host:port" },
    R("job", CONFIG_STR, r.job, NULL, "value of the label job; the name"),
    R("engine", CONFIG_STR, r.engine, "auto", "auto, vllm, llama.cpp, sglang, tgi, lmdeploy"),
    R("instance", CONFIG_STR, r.instance, NULL, "value of the label instance; host:port of the url"),
    R("metrics_path", CONFIG_STR, r.metrics_path, "/metrics", "path of the page"),
    { "scrape_interval", CONFIG_DURATION, offsetof(raw_replica, r.interval_ms), false, "5s", 100, 3600000,
      "how often it is scraped" },
    { "scrape_timeout", CONFIG_DURATION, offsetof(raw_replica, r.timeout_ms), false, NULL, 100, 3600000,
      "how long one scrape may take; the interval, but 2s to 5s" },
    { "stall_after", CONFIG_DURATION, offsetof(raw_replica, r.stall_after_ms), false, NULL, 1000, 86400000,
      "no progress for this long while requests run is suspect; that of watch" },
    R("labels", CONFIG_STR_MAP, r.labels, NULL, "more labels for its series"),
    R("process", CONFIG_NODE, process, NULL, "{command: [argv…], env, dir, stop_grace}"),
    R("health", CONFIG_NODE, health, NULL, "on, off or {path, every, timeout}"),
    R("probe", CONFIG_NODE, probe, NULL, "{model, every, timeout}: completion probe"),
    R("basic_auth", CONFIG_NODE, basic, NULL, "{username, password | password_file}"),
    R("authorization", CONFIG_NODE, authorization, NULL, "{type, credentials | credentials_file}"),
    R("tls_config", CONFIG_NODE, tls, NULL, "{ca_file, insecure_skip_verify}"),
    R("bearer_token", CONFIG_CSTR, bearer, NULL, "older spelling of authorization"),
    R("bearer_token_file", CONFIG_CSTR, bearer_file, NULL, "older spelling of authorization"),
};
#undef R

static char **copy_argv(arena *a, const config_strs *list)
{
    char **argv = arena_array(a, char *, list->len + 1);
    for (size_t i = 0; argv && i < list->len; i++) {
        argv[i] = arena_cstr(a, list->at[i]);
        if (!argv[i])
            return NULL;
    }
    return argv;
}

static char **copy_env(arena *a, const config_pairs *pairs)
{
    char **env = arena_array(a, char *, pairs->len + 1);
    for (size_t i = 0; env && i < pairs->len; i++) {
        env[i] =
            (char *)arena_printf(a, "%" STR_FMT "=%" STR_FMT, STR_ARG(pairs->at[i].key), STR_ARG(pairs->at[i].value))
                .ptr;
        if (!env[i])
            return NULL;
    }
    return env;
}

static err_kind parse_process(const yaml_doc *doc, const yaml_node *n, arena *a, process_config *ret, err *e)
{
    raw_process raw = { 0 };
    if (!n || n->kind == YAML_NULL)
        return OK;
    err_kind k = config_mapping(doc, n, "process", e);
    if (!k)
        k = config_bind(doc, n, process_fields, COUNT_OF(process_fields), &raw, a, e);
    if (k)
        return k;
    if (raw.unit || raw.container || raw.pid_file) {
        (void)yaml_error(doc, n, e, "process by unit, container or pid_file is not built yet");
        return err_hint(e, "Use command, and galen supervises the process itself.");
    }
    if (!str_is(raw.restart, "never")) {
        (void)yaml_error(doc, n, e, "restart must be never");
        return err_hint(e, "Restarting is what a policy of heal decides.");
    }
    if (!raw.command.len)
        return yaml_error(doc, n, e, "process needs a command");
    k = config_check_argv(doc, n, &raw.command, e);
    if (k)
        return k;
    *ret = (process_config){ .enabled = true,
                             .argv = copy_argv(a, &raw.command),
                             .env = copy_env(a, &raw.env),
                             .env_count = raw.env.len,
                             .dir = raw.dir,
                             .stop_grace_ms = raw.stop_grace_ms };
    return ret->argv && ret->env ? OK : err_nomem(e);
}

static err_kind parse_probes(const yaml_doc *doc, const raw_replica *raw, arena *a, replica_config *r, err *e)
{
    const yaml_node *mapping;
    r->health.enabled = true;
    err_kind k = switch_or_mapping(doc, raw->health, "health", &r->health.enabled, &mapping, e);
    if (!k)
        k = config_bind(doc, mapping, health_fields, COUNT_OF(health_fields), &r->health, a, e);
    if (k)
        return k;
    k = switch_or_mapping(doc, raw->probe, "probe", &r->probe.enabled, &mapping, e);
    if (!k && r->probe.enabled && !mapping)
        return yaml_error(doc, raw->probe, e, "probe needs a mapping with at least a model");
    if (!k && mapping)
        k = config_bind(doc, mapping, probe_fields, COUNT_OF(probe_fields), &r->probe, a, e);
    r->probe.every_set = r->probe.every_ms > 0;
    if (!r->probe.every_set)
        r->probe.every_ms = 60000;
    return k;
}

/* The scrape job a replica stands for: one target, our labels. */
static err_kind make_scrape(replica_config *r, arena *a, err *e)
{
    scrape_job *j = &r->scrape;
    *j = (scrape_job){ .name = r->job,
                       .interval_ms = r->interval_ms,
                       .timeout_ms = r->timeout_ms,
                       .metrics_path = r->metrics_path,
                       .scheme = str_starts(r->url, STR("https:")) ? STR("https") : STR("http"),
                       .honor_timestamps = true,
                       .follow_redirects = true,
                       .compression = true,
                       .auth = r->auth,
                       .body_size_limit = SCRAPE_MAX_BODY };
    target_group *g = arena_new(a, target_group);
    str *target = arena_new(a, str);
    config_pair *pairs = arena_array(a, config_pair, r->labels.len + 1);
    if (!g || !target || !pairs)
        return err_nomem(e);
    for (size_t i = 0; i < r->labels.len; i++)
        pairs[i] = r->labels.at[i];
    pairs[r->labels.len] = (config_pair){ STR("instance"), r->instance };
    *target = url_authority(r->url);
    *g = (target_group){ .targets = { target, 1 }, .labels = { pairs, r->labels.len + 1 } };
    j->groups = g;
    j->group_count = 1;
    return OK;
}

static err_kind check_replica(const yaml_doc *doc, const yaml_node *at, replica_config *r, const watch_config *c,
                              err *e)
{
    static const char *const engines[] = { "auto", "vllm", "llama.cpp", "sglang", "tgi", "lmdeploy" };
    bool known = false;
    const yaml_node *url = yaml_get(at, "url");
    if ((!str_starts(r->url, STR("http://")) && !str_starts(r->url, STR("https://"))) || !url_authority(r->url).len) {
        (void)yaml_error(doc, url ? url : at, e, "url \"%" STR_FMT "\" is not http://host:port", STR_ARG(r->url));
        return e ? e->kind : ERR_INVALID;
    }
    for (size_t i = 0; i < COUNT_OF(engines); i++)
        known = known || str_is(r->engine, engines[i]);
    if (!known)
        return config_unknown(doc, yaml_get(at, "engine"), "engine", r->engine, engines, COUNT_OF(engines), e);
    if (!r->job.len)
        r->job = r->name;
    if (!r->instance.len)
        r->instance = url_authority(r->url);
    if (!r->timeout_ms) /* longer than the interval is fine: a busy target skips a turn */
        r->timeout_ms = MAX(2000, MIN(5000, r->interval_ms));
    if (!r->stall_after_ms)
        r->stall_after_ms = c->stall_after_ms;
    for (size_t i = 0; i < c->replica_count; i++) {
        if (str_eq(c->replicas[i].job, r->job) && str_eq(c->replicas[i].instance, r->instance))
            return yaml_error(doc, at, e, "replica \"%" STR_FMT "\" has the job and instance of \"%" STR_FMT "\"",
                              STR_ARG(r->name), STR_ARG(c->replicas[i].name));
    }
    return OK;
}

/* Two engines would fight for one port, and each would look dead while the other answers. */
static err_kind check_one_process(const yaml_doc *doc, const yaml_node *at, const replica_config *r, const watch_config *c,
                                  err *e)
{
    for (size_t i = 0; r->process.enabled && i < c->replica_count; i++) {
        const replica_config *other = &c->replicas[i];
        if (other->process.enabled && str_eq(url_authority(other->url), url_authority(r->url)))
            return yaml_error(doc, at, e, "replica \"%" STR_FMT "\" starts its engine where \"%" STR_FMT "\" does: at %" STR_FMT,
                              STR_ARG(r->name), STR_ARG(other->name), STR_ARG(url_authority(r->url)));
    }
    return OK;
}

static err_kind parse_replica(const config *file, const yaml_node *at, watch_config *c, err *e)
{
    raw_replica raw = { 0 };
    arena *a = &c->arena;
    err_kind k = config_mapping(file->doc, at, "a replica", e);
    if (!k)
        k = config_bind(file->doc, at, replica_fields, COUNT_OF(replica_fields), &raw, a, e);
    if (!k)
        k = check_replica(file->doc, at, &raw.r, c, e);
    if (!k)
        k = parse_process(file->doc, raw.process, a, &raw.r.process, e);
    if (!k)
        k = check_one_process(file->doc, at, &raw.r, c, e);
    if (!k)
        k = parse_probes(file->doc, &raw, a, &raw.r, e);
    if (!k)
        k = http_auth_parse(file->doc, raw.basic, raw.authorization, raw.tls, raw.bearer, raw.bearer_file, file->dir, a,
                            &raw.r.auth, e);
    if (!k)
        k = make_scrape(&raw.r, a, e);
    if (k)
        return k;
    raw.r.fingerprint = yaml_fingerprint(at, (uint64_t)raw.r.stall_after_ms);
    c->replicas[c->replica_count++] = raw.r;
    return OK;
}

err_kind replica_config_discovered(arena *a, const char *engine, int port, int64_t interval_ms, int64_t stall_after_ms,
                                   replica_config *ret)
{
    replica_config r = { .interval_ms = interval_ms,
                         .timeout_ms = MIN(5000, interval_ms),
                         .stall_after_ms = stall_after_ms,
                         .metrics_path = STR("/metrics"),
                         .health = { true, STR("/health"), 10000, 5000 } };
    r.job = r.engine = arena_str(a, str_from(engine));
    r.instance = arena_printf(a, "127.0.0.1:%d", port);
    r.name = arena_printf(a, "%s-%d", engine, port);
    r.url = arena_printf(a, "http://127.0.0.1:%d", port);
    if (!r.job.ptr || !r.instance.ptr || !r.name.ptr || !r.url.ptr)
        return ERR_NOMEM;
    err_kind k = make_scrape(&r, a, NULL);
    if (!k)
        *ret = r;
    return k;
}

/* ---- the section ---- */
typedef struct raw_watch {
    const yaml_node *host, *discovery, *replicas, *scrape_configs;
    int64_t interval_ms, timeout_ms, stall_after_ms;
} raw_watch;
static const config_field watch_fields[] = {
    { "host", CONFIG_NODE, offsetof(raw_watch, host), false, NULL, 0, 0,
      "on, off or {interval, instance, proc, root}: this host's vitals" },
    { "discovery", CONFIG_NODE, offsetof(raw_watch, discovery), false, NULL, 0, 0,
      "on, off or {every}: find engines on loopback" },
    { "replicas", CONFIG_NODE, offsetof(raw_watch, replicas), false, NULL, 0, 0,
      "running copies of engines: [{name, url, job, process, probe}]" },
    { "scrape_configs", CONFIG_NODE, offsetof(raw_watch, scrape_configs), false, NULL, 0, 0,
      "Prometheus's own schema" },
    { "scrape_interval", CONFIG_DURATION, offsetof(raw_watch, interval_ms), false, "15s", SCRAPE_MIN_INTERVAL_MS,
      86400000, "for scrape_configs without their own" },
    { "scrape_timeout", CONFIG_DURATION, offsetof(raw_watch, timeout_ms), false, "10s", SCRAPE_MIN_INTERVAL_MS,
      86400000, "for scrape_configs without their own" },
    { "stall_after", CONFIG_DURATION, offsetof(raw_watch, stall_after_ms), false, DEFAULT_STALL_AFTER, 1000, 86400000,
      "no progress for this long while requests run is suspect" },
};

static err_kind parse_jobs(const yaml_doc *doc, const yaml_node *list, const scrape_defaults *d, const char *dir,
                           watch_config *c, err *e)
{
    err_kind k = config_sequence(doc, list, "scrape_configs", e);
    if (k || !list || !list->len)
        return k;
    if (list->len > WATCH_MAX_JOBS)
        return yaml_error(doc, list, e, "more than %d scrape configs", WATCH_MAX_JOBS);
    c->jobs = arena_array(&c->arena, scrape_job, list->len);
    if (!c->jobs)
        return err_nomem(e);
    for (size_t i = 0; i < list->len; i++) {
        scrape_job *j = &c->jobs[c->job_count];
        k = scrape_job_parse(doc, list->items[i], d, dir, &c->arena, j, e);
        if (k)
            return k;
        c->job_count++;
        for (size_t other = 0; other + 1 < c->job_count; other++) {
            if (str_eq(c->jobs[other].name, j->name))
                return yaml_error(doc, list->items[i], e,
                                  "there are two scrape configs with the job_name \"%" STR_FMT "\"", STR_ARG(j->name));
        }
    }
    return OK;
}

static err_kind parse_replicas(const config *file, const yaml_node *list, watch_config *c, err *e)
{
    err_kind k = config_sequence(file->doc, list, "replicas", e);
    if (k || !list || !list->len)
        return k;
    if (list->len > WATCH_MAX_REPLICAS)
        return yaml_error(file->doc, list, e, "more than %d replicas", WATCH_MAX_REPLICAS);
    c->replicas = arena_array(&c->arena, replica_config, list->len);
    if (!c->replicas)
        return err_nomem(e);
    for (size_t i = 0; i < list->len && !k; i++)
        k = parse_replica(file, list->items[i], c, e);
    return k;
}

/* The port of `gateway: {listen: host:port}`, so that discovery does not take our own gateway for an engine. */
static int gateway_port(const config *file)
{
    const yaml_node *listen = yaml_get(file->gateway, "listen");
    str text = listen ? listen->text : STR_EMPTY, part, last = STR_EMPTY;
    int64_t port;
    while (str_split(&text, ':', &part))
        last = part;
    return str_to_i64(last, &port) && port > 0 && port < 65536 ? (int)port : 0;
}

static err_kind parse_section(const config *file, watch_config *c, err *e)
{
    raw_watch raw = { 0 };
    const yaml_node *section = file ? file->watch : NULL;
    const yaml_doc *doc = file ? file->doc : NULL;
    err_kind k = config_bind(doc, section, watch_fields, COUNT_OF(watch_fields), &raw, &c->arena, e);
    if (k)
        return k;
    c->stall_after_ms = raw.stall_after_ms;
    c->gateway_port = file ? gateway_port(file) : 0;
    scrape_defaults d = { raw.interval_ms, raw.timeout_ms, NULL };
    k = parse_host(doc, raw.host, c, e);
    if (!k)
        k = parse_discovery(doc, raw.discovery, c, e);
    if (!k && file)
        k = parse_replicas(file, raw.replicas, c, e);
    if (!k && file)
        k = parse_jobs(doc, raw.scrape_configs, &d, file->dir, c, e);
    return k;
}

err_kind watch_config_parse(const config *file, watch_config **ret, err *e)
{
    AUTO(config_unrefp) watch_config *c = config_new();
    if (!c)
        return err_nomem(e);
    err_kind k = parse_section(file, c, e);
    if (!k)
        *ret = TAKE(c);
    return k;
}

/* ---- Prometheus's own file ---- */
typedef struct raw_global {
    int64_t interval_ms, timeout_ms;
} raw_global;
static const config_field global_fields[] = {
    { "scrape_interval", CONFIG_DURATION, offsetof(raw_global, interval_ms), false, "1m", SCRAPE_MIN_INTERVAL_MS,
      86400000, "default of the jobs" },
    { "scrape_timeout", CONFIG_DURATION, offsetof(raw_global, timeout_ms), false, "10s", SCRAPE_MIN_INTERVAL_MS,
      86400000, "default of the jobs" },
};

err_kind watch_config_from_prometheus(const yaml_doc *doc, const char *dir, watch_config **ret, err *e)
{
    AUTO(config_unrefp) watch_config *c = config_new();
    raw_global global = { 0 };
    const yaml_node *g = yaml_get(doc->root, "global");
    if (!c)
        return err_nomem(e);
    yaml_node *keys[COUNT_OF(global_fields)], *items[COUNT_OF(global_fields)];
    yaml_node ours = { .kind = YAML_MAPPING, .keys = keys, .items = items };
    for (size_t i = 0; g && g->kind == YAML_MAPPING && i < g->len; i++) {
        /* the other keys of `global` are alert's and query's business */
        if ((str_is(g->keys[i]->text, "scrape_interval") || str_is(g->keys[i]->text, "scrape_timeout")) &&
            ours.len < COUNT_OF(keys)) {
            keys[ours.len] = g->keys[i];
            items[ours.len++] = g->items[i];
        }
    }
    err_kind k = config_bind(doc, &ours, global_fields, COUNT_OF(global_fields), &global, &c->arena, e);
    scrape_defaults d = { global.interval_ms, MIN(global.timeout_ms, global.interval_ms), g };
    c->stall_after_ms = 30000;
    if (!k)
        k = parse_jobs(doc, yaml_get(doc->root, "scrape_configs"), &d, dir, c, e);
    if (!k)
        *ret = TAKE(c);
    return k;
}
