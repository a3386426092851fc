#include "main/settings.h"
#include "base/regex.h"
#include "net/net.h"

static const config_field face_fields[] = {
    { "listen", CONFIG_CSTR, offsetof(face_settings, listen), .preset = "127.0.0.1:9600", .help = "Address of the page and the API." },
    { "insecure", CONFIG_BOOL, offsetof(face_settings, insecure), .help = "Allow an address beyond loopback without TLS." },
    { "external_url", CONFIG_CSTR, offsetof(face_settings, external_url), .help = "How people reach the page: used in notifications." },
    { "cors_origin", CONFIG_CSTR, offsetof(face_settings, cors_origin), .preset = ".*", .help = "Pattern of the origins whose pages may read series and targets; none: \"\"." },
};

typedef struct wal_settings { int64_t fsync_ms; } wal_settings;
static const config_field wal_fields[] = {
    { "fsync", CONFIG_DURATION, offsetof(wal_settings, fsync_ms), .preset = "1s", .min = 10, .max = 60000, .help = "What a power cut can take at most." },
};
typedef struct store_section { store_settings s; int64_t remote_queue_bytes; const yaml_node *wal, *external_labels, *remote_write, *remote; } store_section;
static const config_field store_fields[] = {
    { "retention", CONFIG_DURATION, offsetof(store_section, s.retention_ms), .preset = "15d", .min = RETENTION_MIN_MS, .max = INT64_MAX, .help = "How long samples are kept." },
    { "retention_size", CONFIG_SIZE, offsetof(store_section, s.retention_bytes), .preset = "0", .min = 0, .max = INT64_MAX, .help = "Blocks and log together; beyond it the oldest blocks go. 0: no limit." },
    { "out_of_order_window", CONFIG_DURATION, offsetof(store_section, s.out_of_order_ms), .preset = "0s", .min = 0, .max = INT64_MAX, .help = "How far behind a series' newest sample one may come late." },
    { "max_series", CONFIG_INT, offsetof(store_section, s.max_series), .preset = "2000000", .min = 1000, .max = 1000000000, .help = "New series beyond this many are refused." },
    { "max_series_per_metric", CONFIG_INT, offsetof(store_section, s.max_series_per_metric), .preset = "0", .min = 0, .max = 1000000000, .help = "The same for the series of one name. 0: no limit." },
    { "max_series_per_target", CONFIG_INT, offsetof(store_section, s.max_series_per_target), .preset = "0", .min = 0, .max = 1000000000, .help = "The same for one job and instance. 0: no limit." },
    { "memory", CONFIG_SIZE, offsetof(store_section, s.memory_bytes), .preset = "0", .min = 0, .max = INT64_MAX, .help = "What the newest samples and their series may take in memory; beyond it new series are refused. 0: no limit." },
    { "max_exemplars", CONFIG_INT, offsetof(store_section, s.max_exemplars), .preset = "100000", .min = 1, .max = 100000000, .help = "Exemplars kept in memory; the oldest go first." },
    { "tier_5m", CONFIG_DURATION, offsetof(store_section, s.tier_5m_ms), .preset = "0s", .min = 0, .max = INT64_MAX, .help = "How long roll-ups of 5 minutes are kept. 0s: none are made." },
    { "tier_1h", CONFIG_DURATION, offsetof(store_section, s.tier_1h_ms), .preset = "0s", .min = 0, .max = INT64_MAX, .help = "How long roll-ups of 1 hour are kept. 0s: none are made." },
    { "external_labels", CONFIG_NODE, offsetof(store_section, external_labels), .help = "Labels that tell this galen's series from another's: {site: a}." },
    { "remote_write", CONFIG_NODE, offsetof(store_section, remote_write), .help = "Other stores to send all samples to; Prometheus's own schema." },
    { "remote", CONFIG_NODE, offsetof(store_section, remote), .help = "Keep samples in another store and ask it: {write_url, read_url, tenant}." },
    { "remote_queue_size", CONFIG_SIZE, offsetof(store_section, remote_queue_bytes), .preset = "4GiB", .min = 128 << 20, .max = INT64_MAX, .help = "Of the queue on disk to other stores; beyond it the oldest samples are dropped for those that are behind." },
    { "wal", CONFIG_NODE, offsetof(store_section, wal), .help = "The write-ahead log: {fsync: 1s}." },
};

static const config_field query_fields[] = {
    { "lookback", CONFIG_DURATION, offsetof(query_settings, lookback_ms), .preset = "5m", .min = 1000, .max = 86400000, .help = "How old a sample may be to count as now." },
    { "timeout", CONFIG_DURATION, offsetof(query_settings, timeout_ms), .preset = "2m", .min = 10, .max = 3600000, .help = "A query is stopped after this." },
    { "max_samples", CONFIG_INT, offsetof(query_settings, max_samples), .preset = "50000000", .min = 1000, .max = INT64_MAX, .help = "Samples one query may read." },
    { "max_series", CONFIG_INT, offsetof(query_settings, max_series), .preset = "2000000", .min = 100, .max = INT64_MAX, .help = "Series one query may read." },
    { "max_points", CONFIG_INT, offsetof(query_settings, max_points), .preset = "11000", .min = 100, .max = 1000000, .help = "Steps of one range query." },
    { "max_memory", CONFIG_SIZE, offsetof(query_settings, max_memory), .preset = "1GiB", .min = 1 << 20, .max = INT64_MAX, .help = "Memory one query may take." },
    { "threads", CONFIG_INT, offsetof(query_settings, threads), .preset = "2", .min = 1, .max = 64, .help = "Queries that run at the same time." },
};

static err_kind own_sections(settings *s, err *e)
{
    const config *c = s->config;
    store_section section = { 0 };
    wal_settings wal = { 0 };
    err_kind k = config_bind(c->doc, c->face, face_fields, COUNT_OF(face_fields), &s->face, &s->arena, e);
    if (k || (k = config_bind(c->doc, c->store, store_fields, COUNT_OF(store_fields), &section, &s->arena, e)) ||
        (k = config_bind(c->doc, section.wal, wal_fields, COUNT_OF(wal_fields), &wal, &s->arena, e)) ||
        (k = external_labels_parse(c->doc, section.external_labels, &s->arena, &s->external_labels, e)) ||
        (k = remote_configs_parse(c->doc, section.remote_write, s->external_labels, c->dir, &s->remotes, e)) ||
        (k = store_remote_parse(c->doc, section.remote, s->external_labels, c->dir, &s->arena, &s->remotes, &s->store_remote, e)) ||
        (k = config_bind(c->doc, c->query, query_fields, COUNT_OF(query_fields), &s->query, &s->arena, e)))
        return k;
    err inner = { 0 };
    AUTO(regex_freep) regex *origins = NULL;
    if (http_listen_check(s->face.listen, &inner)) {
        yaml_error(c->doc, yaml_get(c->face, "listen"), e, "%s", inner.message);
        return err_hint(e, "%s", inner.hint);
    }
    if (regex_compile(str_from(s->face.cors_origin), true, &origins, &inner)) {
        yaml_error(c->doc, yaml_get(c->face, "cors_origin"), e, "%s", inner.message);
        return err_hint(e, "It is a pattern of whole origins: https://grafana\\.example, or .* for all.");
    }
    s->store = section.s;
    s->remote_queue_bytes = section.remote_queue_bytes;
    s->store.wal_fsync_ms = wal.fsync_ms;
    return OK;
}

/* Sections of rooms that are designed but not built: saying so beats ignoring what somebody wrote. */
static err_kind refuse_unbuilt(const config *c, err *e)
{
    const struct { const char *name; const yaml_node *node; } unbuilt[] = {
        { "gateway", c->gateway }, { "secure", c->secure }, { "trace", c->trace }, { "cost", c->cost }, { "twin", c->twin }, { "audit", c->audit },
    };
    for (size_t i = 0; i < COUNT_OF(unbuilt); i++)
        if (unbuilt[i].node) {
            yaml_error(c->doc, unbuilt[i].node, e, "section \"%s\" has nothing to configure in this version", unbuilt[i].name);
            return err_hint(e, "Remove the section; docs/features.md says what works already.");
        }
    return OK;
}

/* The folder a file lies in: what is named in it is relative to it. */
static void folder_of(const char *path, char out[FILENAME_MAX_CONFIG])
{
    str_copy(out, FILENAME_MAX_CONFIG, str_from(path));
    char *slash = strrchr(out, '/');
    if (slash)
        slash[slash == out] = '\0';
    else
        memcpy(out, ".", 2);
}

/* Only routes and receivers: the rules are those of prometheus.yml or galen.yml beside it, or none. */
static err_kind alertmanager_config(const char *path, settings *s, err *e)
{
    AUTO(yaml_doc_freep) yaml_doc *doc = NULL;
    char dir[FILENAME_MAX_CONFIG];
    err_kind k = yaml_load(path, &doc, e);
    if (k)
        return k;
    if (!s->alert && (yaml_get(s->config->alert, "route") || yaml_get(s->config->alert, "receivers"))) {
        yaml_error(s->config->doc, s->config->alert, e, "both this section and --alertmanager.config say where alerts go");
        return err_hint(e, "Leave route and receivers to one of them.");
    }
    if (!s->alert)
        k = s->config->doc->file[0] ? alert_config_parse(s->config, &s->alert, e) : alert_config_from_prometheus(NULL, "", &s->alert, e);
    if (k)
        return k;
    folder_of(path, dir);
    return alert_config_add_alertmanager(s->alert, doc, dir, e);
}

static err_kind add_remotes(const yaml_doc *doc, const char *dir, settings *s, err *e)
{
    remote_configs more = { 0 };
    err_kind k = remote_configs_parse(doc, yaml_get(doc->root, "remote_write"), s->external_labels, dir, &more, e);
    return k || !more.len ? k : remote_configs_add(&s->remotes, &more, e);
}

/* storage.tsdb.out_of_order_time_window and storage.exemplars.max_exemplars, where prometheus.yml says them. */
static err_kind prometheus_storage(const yaml_doc *doc, settings *s, err *e)
{
    const yaml_node *storage = yaml_get(doc->root, "storage");
    const yaml_node *window = yaml_get(yaml_get(storage, "tsdb"), "out_of_order_time_window");
    const yaml_node *exemplars = yaml_get(yaml_get(storage, "exemplars"), "max_exemplars");
    str text;
    int64_t n;
    err_kind k = window ? config_duration(doc, window, &s->store.out_of_order_ms, e) : OK;
    if (k || !exemplars)
        return k;
    if ((k = config_str(doc, exemplars, &s->arena, &text, e)))
        return k;
    if (!str_to_i64(text, &n) || n < 1 || n > 100000000)
        return yaml_error(doc, exemplars, e, "max_exemplars is to be a number from 1 to 100000000");
    s->store.max_exemplars = n;
    return OK;
}

static err_kind prometheus_config(const char *path, settings *s, err *e)
{
    AUTO(yaml_doc_freep) yaml_doc *doc = NULL;
    char dir[FILENAME_MAX_CONFIG];
    err_kind k = yaml_load(path, &doc, e);
    if (k)
        return k;
    folder_of(path, dir);
    k = external_labels_parse(doc, yaml_get(yaml_get(doc->root, "global"), "external_labels"), &s->arena, &s->external_labels, e);
    if (!k)
        k = prometheus_storage(doc, s, e);
    if (!k)
        k = add_remotes(doc, dir, s, e);
    if (!k)
        k = watch_config_from_prometheus(doc, dir, &s->watch, e);
    return k ? k : alert_config_from_prometheus(doc, dir, &s->alert, e);
}

static err_kind rooms(const settings_files *f, settings *s, err *e)
{
    err_kind k = OK;
    if (f->prometheus)
        k = prometheus_config(f->prometheus, s, e);
    else
        k = watch_config_parse(s->config, &s->watch, e);
    if (k)
        return k;
    bool foreign_only = f->prometheus || (f->alertmanager && !f->config);
    watch_config_host_only_if(s->watch, f->watch_by_itself && !foreign_only);
    if (f->alertmanager)
        k = alertmanager_config(f->alertmanager, s, e);
    else if (!s->alert)
        k = alert_config_parse(s->config, &s->alert, e);
    if (k || (k = alert_config_external_labels(s->alert, s->external_labels, e)) || (k = diagnose_config_parse(s->config, &s->diagnose, e)))
        return k;
    return heal_config_parse(s->config, &s->heal, e);
}

err_kind settings_load(const settings_files *files, settings **ret, err *e)
{
    AUTO(settings_freep) settings *s = mem_zalloc(sizeof *s);
    if (!s)
        return err_nomem(e);
    s->arena = arena_init(1u << 20);
    err_kind k = config_load(files->config, &s->config, e);
    if (k || (k = refuse_unbuilt(s->config, e)) || (k = own_sections(s, e)) || (k = rooms(files, s, e)))
        return k;
    *ret = TAKE(s);
    return OK;
}

static bool same_text(const char *a, const char *b) { return strcmp(a ? a : "", b ? b : "") == 0; }

static uint64_t fingerprint_of(const store_remote *r) { return r ? r->fingerprint : 0; }

bool settings_need_restart(const settings *running, const settings *fresh, char *out, size_t cap)
{
    const settings *a = running, *b = fresh;
    const struct { const char *key; bool same; } rows[] = {
        { "face.listen", same_text(a->face.listen, b->face.listen) },
        { "face.external_url", same_text(a->face.external_url, b->face.external_url) },
        { "face.cors_origin", same_text(a->face.cors_origin, b->face.cors_origin) },
        { "face.insecure", a->face.insecure == b->face.insecure },
        { "store.retention", a->store.retention_ms == b->store.retention_ms },
        { "store.retention_size", a->store.retention_bytes == b->store.retention_bytes },
        { "store.out_of_order_window", a->store.out_of_order_ms == b->store.out_of_order_ms },
        { "store.max_series", a->store.max_series == b->store.max_series },
        { "store.max_series_per_metric", a->store.max_series_per_metric == b->store.max_series_per_metric },
        { "store.max_series_per_target", a->store.max_series_per_target == b->store.max_series_per_target },
        { "store.memory", a->store.memory_bytes == b->store.memory_bytes },
        { "store.max_exemplars", a->store.max_exemplars == b->store.max_exemplars },
        { "store.tier_5m", a->store.tier_5m_ms == b->store.tier_5m_ms },
        { "store.tier_1h", a->store.tier_1h_ms == b->store.tier_1h_ms },
        { "store.wal.fsync", a->store.wal_fsync_ms == b->store.wal_fsync_ms },
        { "store.remote", fingerprint_of(a->store_remote) == fingerprint_of(b->store_remote) },
        { "store.remote_queue_size", a->remote_queue_bytes == b->remote_queue_bytes },
        { "query.lookback", a->query.lookback_ms == b->query.lookback_ms },
        { "query.timeout", a->query.timeout_ms == b->query.timeout_ms },
        { "query.max_samples", a->query.max_samples == b->query.max_samples },
        { "query.max_series", a->query.max_series == b->query.max_series },
        { "query.max_points", a->query.max_points == b->query.max_points },
        { "query.max_memory", a->query.max_memory == b->query.max_memory },
        { "query.threads", a->query.threads == b->query.threads },
    };
    size_t used = 0;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (!rows[i].same && used + strlen(rows[i].key) + 3 < cap)
            used += (size_t)snprintf(out + used, cap - used, "%s%s", used ? ", " : "", rows[i].key);
    return used > 0;
}

void settings_free(settings *s)
{
    if (!s)
        return;
    remote_configs_done(&s->remotes);
    watch_config_free(s->watch);
    alert_config_free(s->alert);
    diagnose_config_free(s->diagnose);
    heal_config_free(s->heal);
    config_free(s->config);
    arena_done(&s->arena);
    mem_free(s);
}

void settings_freep(settings **s)
{
    settings_free(*s);
    *s = NULL;
}
