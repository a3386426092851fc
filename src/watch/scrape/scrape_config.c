#include "watch/scrape/scrape_config.h"
#include "base/hash.h"
#include <stdio.h>

/* Service discovery we do not speak yet. The job loads and is shown as down, with this list's word in the reason. */
static const char *const foreign_discovery[] = {
    "azure_sd_configs",      "consul_sd_configs",      "digitalocean_sd_configs", "dns_sd_configs",
    "docker_sd_configs",     "dockerswarm_sd_configs", "ec2_sd_configs",          "eureka_sd_configs",
    "gce_sd_configs",        "hetzner_sd_configs",     "http_sd_configs",         "ionos_sd_configs",
    "kubernetes_sd_configs", "kuma_sd_configs",        "lightsail_sd_configs",    "linode_sd_configs",
    "marathon_sd_configs",   "nerve_sd_configs",       "nomad_sd_configs",        "openstack_sd_configs",
    "ovhcloud_sd_configs",   "puppetdb_sd_configs",    "scaleway_sd_configs",     "serverset_sd_configs",
    "stackit_sd_configs",    "triton_sd_configs",      "uyuni_sd_configs",        "vultr_sd_configs",
    "file_sd_configs",
};
#define FOREIGN_COUNT COUNT_OF(foreign_discovery)

typedef struct raw_job {
    scrape_job job;
    const yaml_node *params, *relabel, *metric_relabel, *statics, *basic, *authorization, *tls;
    const yaml_node *foreign[FOREIGN_COUNT];
    char *bearer, *bearer_file;
    bool classic_too, classic_too_old;
    config_strs protocols;
    str fallback;
} raw_job;

#define JOB(key, type, member, preset, help)                                                                           \
    {                                                                                                                  \
        key, type, offsetof(raw_job, job.member), false, preset, 0, 0, help                                            \
    }
#define RAW(key, type, member, help)                                                                                   \
    {                                                                                                                  \
        key, type, offsetof(raw_job, member), false, NULL, 0, 0, help                                                  \
    }
#define IGNORED(key)                                                                                                   \
    {                                                                                                                  \
        key, CONFIG_IGNORED, 0, false, NULL, 0, 0, "accepted, without effect so far"                                   \
    }
static const config_field job_fields[] = {
    { "job_name", CONFIG_STR, offsetof(raw_job, job.name), true, NULL, 0, 0, "value of the label job" },
    { "scrape_interval", CONFIG_DURATION, offsetof(raw_job, job.interval_ms), false, NULL, SCRAPE_MIN_INTERVAL_MS,
      86400000, "how often" },
    { "scrape_timeout", CONFIG_DURATION, offsetof(raw_job, job.timeout_ms), false, NULL, SCRAPE_MIN_INTERVAL_MS,
      86400000, "how long one scrape may take" },
    JOB("metrics_path", CONFIG_STR, metrics_path, "/metrics", "path of the page"),
    JOB("scheme", CONFIG_STR, scheme, "http", "http or https"),
    JOB("honor_labels", CONFIG_BOOL, honor_labels, "false", "labels on the page win over ours"),
    JOB("honor_timestamps", CONFIG_BOOL, honor_timestamps, "true", "timestamps on the page are used"),
    JOB("track_timestamps_staleness", CONFIG_BOOL, track_timestamps_staleness, "false",
        "series with their own timestamps end like the others"),
    JOB("enable_compression", CONFIG_BOOL, compression, "true", "ask for a compressed page"),
    JOB("scrape_native_histograms", CONFIG_BOOL, native_histograms, "false", "read native histograms"),
    RAW("always_scrape_classic_histograms", CONFIG_BOOL, classic_too, "classic buckets beside native histograms"),
    RAW("scrape_classic_histograms", CONFIG_BOOL, classic_too_old,
        "older spelling of always_scrape_classic_histograms"),
    JOB("native_histogram_bucket_limit", CONFIG_INT, bucket_limit, "0",
        "a native histogram with more buckets fails the scrape; 0: no limit"),
    RAW("scrape_protocols", CONFIG_STR_LIST, protocols, "formats to ask for, best first"),
    RAW("fallback_scrape_protocol", CONFIG_STR, fallback, "how to read a page of unknown type"),
    JOB("follow_redirects", CONFIG_BOOL, follow_redirects, "true", "follow HTTP redirects"),
    JOB("body_size_limit", CONFIG_SIZE, body_size_limit, "16MiB", "a larger page fails the scrape"),
    JOB("sample_limit", CONFIG_INT, sample_limit, "0", "more samples on a page fail the scrape; 0: no limit"),
    JOB("target_limit", CONFIG_INT, target_limit, "0", "more targets fail the job; 0: no limit"),
    JOB("label_limit", CONFIG_INT, label_limit, "0", "more labels on a series fail the scrape; 0: no limit"),
    JOB("label_name_length_limit", CONFIG_INT, label_name_length_limit, "0",
        "a longer label name fails the scrape; 0: no limit"),
    JOB("label_value_length_limit", CONFIG_INT, label_value_length_limit, "0",
        "a longer label value fails the scrape; 0: no limit"),
    RAW("params", CONFIG_NODE, params, "URL parameters: {name: [values]}"),
    RAW("relabel_configs", CONFIG_NODE, relabel, "rules on targets before they are scraped"),
    RAW("metric_relabel_configs", CONFIG_NODE, metric_relabel, "rules on series before they are kept"),
    RAW("static_configs", CONFIG_NODE, statics, "[{targets: [host:port], labels: {}}]"),
    RAW("basic_auth", CONFIG_NODE, basic, "{username, password | password_file}"),
    RAW("authorization", CONFIG_NODE, authorization, "{type, credentials | credentials_file}"),
    RAW("tls_config", CONFIG_NODE, tls, "{ca_file, insecure_skip_verify}"),
    RAW("bearer_token", CONFIG_CSTR, bearer, "older spelling of authorization"),
    RAW("bearer_token_file", CONFIG_CSTR, bearer_file, "older spelling of authorization"),
    IGNORED("scrape_fallback_protocol"),
    IGNORED("convert_classic_histograms_to_nhcb"),
    IGNORED("scrape_failure_log_file"),
    IGNORED("native_histogram_min_bucket_factor"),
    IGNORED("keep_dropped_targets"),
    IGNORED("metric_name_validation_scheme"),
    IGNORED("metric_name_escaping_scheme"),
    IGNORED("oauth2"),
    IGNORED("enable_http2"),
    IGNORED("proxy_url"),
    IGNORED("no_proxy"),
    IGNORED("proxy_from_environment"),
    IGNORED("proxy_connect_header"),
    IGNORED("http_headers"),
    IGNORED("extra_scrape_metrics"),
};
#undef JOB
#undef RAW
#undef IGNORED

/* ---- the parts of a job ---- */
static err_kind parse_params(const yaml_doc *doc, const yaml_node *n, arena *a, scrape_job *j, err *e)
{
    err_kind k = config_mapping(doc, n, "params", e);
    if (k || !n || !n->len)
        return k;
    j->params = arena_array(a, param, n->len);
    if (!j->params)
        return err_nomem(e);
    for (size_t i = 0; i < n->len; i++) {
        config_field f = { "values", CONFIG_STR_LIST, offsetof(param, values), false, NULL, 0, 0, NULL };
        yaml_node *keys[1] = { &(yaml_node){ .kind = YAML_SCALAR, .text = STR("values") } },
                  *items[1] = { n->items[i] };
        yaml_node one = {
            .kind = YAML_MAPPING, .line = n->line, .column = n->column, .items = items, .keys = keys, .len = 1
        };
        k = config_bind(doc, &one, &f, 1, &j->params[i], a, e);
        if (!k)
            k = config_str(doc, n->keys[i], a, &j->params[i].name, e);
        if (k)
            return k;
        j->param_count++;
    }
    return OK;
}

static const config_field group_fields[] = {
    { "targets", CONFIG_STR_LIST, offsetof(target_group, targets), false, NULL, 0, 0, "host:port" },
    { "labels", CONFIG_STR_MAP, offsetof(target_group, labels), false, NULL, 0, 0, "labels of all these targets" },
};

static err_kind check_group(const yaml_doc *doc, const yaml_node *at, const target_group *g, err *e)
{
    for (size_t i = 0; i < g->targets.len; i++) {
        if (!g->targets.at[i].len || str_find(g->targets.at[i], STR("/")) >= 0) {
            (void)yaml_error(doc, at, e, "\"%" STR_FMT "\" is not a target", STR_ARG(g->targets.at[i]));
            return err_hint(e, "Write host:port; scheme and metrics_path are keys of the job.");
        }
    }
    for (size_t i = 0; i < g->labels.len; i++) {
        if (!label_name_valid(g->labels.at[i].key))
            return yaml_error(doc, at, e, "\"%" STR_FMT "\" is not a label name", STR_ARG(g->labels.at[i].key));
    }
    return OK;
}

static err_kind parse_statics(const yaml_doc *doc, const yaml_node *n, arena *a, scrape_job *j, err *e)
{
    err_kind k = config_sequence(doc, n, "static_configs", e);
    if (k || !n || !n->len)
        return k;
    j->groups = arena_array(a, target_group, n->len);
    if (!j->groups)
        return err_nomem(e);
    for (size_t i = 0; i < n->len; i++) {
        k = config_mapping(doc, n->items[i], "a static config", e);
        if (!k)
            k = config_bind(doc, n->items[i], group_fields, COUNT_OF(group_fields), &j->groups[i], a, e);
        if (!k)
            k = check_group(doc, n->items[i], &j->groups[i], e);
        if (k)
            return k;
        j->group_count++;
    }
    return OK;
}

static err_kind check_job(const yaml_doc *doc, const yaml_node *at, scrape_job *j, const scrape_defaults *d, err *e)
{
    bool own_timeout = j->timeout_ms > 0;
    if (!j->name.len)
        return yaml_error(doc, at, e, "job_name is empty");
    if (!str_is(j->scheme, "http") && !str_is(j->scheme, "https"))
        return yaml_error(doc, at, e, "scheme \"%" STR_FMT "\" is neither http nor https", STR_ARG(j->scheme));
    if (!j->interval_ms)
        j->interval_ms = d->interval_ms;
    if (!own_timeout)
        j->timeout_ms = MIN(d->timeout_ms, j->interval_ms);
    if (j->timeout_ms > j->interval_ms)
        return yaml_error(doc, at, e, "scrape_timeout of job \"%" STR_FMT "\" is longer than its scrape_interval",
                          STR_ARG(j->name));
    if (j->body_size_limit <= 0 || j->body_size_limit > SCRAPE_BODY_CEILING)
        j->body_size_limit = SCRAPE_BODY_CEILING;
    return OK;
}

/* The whole table of keys: what job_fields says, and the foreign kinds of discovery. */
static void all_fields(config_field out[COUNT_OF(job_fields) + FOREIGN_COUNT])
{
    memcpy(out, job_fields, sizeof job_fields);
    for (size_t i = 0; i < FOREIGN_COUNT; i++)
        out[COUNT_OF(job_fields) + i] = (config_field){ foreign_discovery[i],
                                                        CONFIG_NODE,
                                                        offsetof(raw_job, foreign) + i * sizeof(yaml_node *),
                                                        false,
                                                        NULL,
                                                        0,
                                                        0,
                                                        "accepted; targets are not found this way yet" };
}

static err_kind parse_formats(const yaml_doc *doc, const yaml_node *at, const raw_job *raw, scrape_job *j, err *e)
{
    j->classic_too = raw->classic_too || raw->classic_too_old;
    err_kind k = scrape_protocols_parse(doc, at, raw->protocols, j->native_histograms, &j->protocols, e);
    if (!k && raw->fallback.len)
        k = scrape_protocol_parse(doc, at, raw->fallback, &j->fallback, e);
    return k;
}

/* Keys of Prometheus's `global` that hold for every job that does not say otherwise. */
static const char *const inherited[] = {
    "body_size_limit",
    "sample_limit",
    "target_limit",
    "label_limit",
    "label_name_length_limit",
    "label_value_length_limit",
    "scrape_protocols",
    "scrape_native_histograms",
    "always_scrape_classic_histograms",
    "scrape_classic_histograms",
};

static bool is_inherited(str key)
{
    for (size_t i = 0; i < COUNT_OF(inherited); i++) {
        if (str_is(key, inherited[i]))
            return true;
    }
    return false;
}

/* The job's mapping with what it inherits behind its own keys. */
static const yaml_node *with_inherited(const yaml_node *at, const yaml_node *global, arena *a)
{
    if (!global || global->kind != YAML_MAPPING || at->kind != YAML_MAPPING)
        return at;
    yaml_node *all = arena_new(a, yaml_node);
    yaml_node **keys = arena_array(a, yaml_node *, at->len + COUNT_OF(inherited)),
              **items = arena_array(a, yaml_node *, at->len + COUNT_OF(inherited));
    if (!all || !keys || !items)
        return NULL;
    *all = *at;
    all->keys = keys;
    all->items = items;
    for (size_t i = 0; i < at->len; i++) {
        keys[i] = at->keys[i];
        items[i] = at->items[i];
    }
    for (size_t i = 0; i < global->len; i++) {
        if (!is_inherited(global->keys[i]->text) || yaml_get(at, global->keys[i]->text.ptr))
            continue;
        keys[all->len] = global->keys[i];
        items[all->len++] = global->items[i];
    }
    return all;
}

err_kind scrape_job_parse(const yaml_doc *doc, const yaml_node *at, const scrape_defaults *d, const char *dir, arena *a,
                          scrape_job *ret, err *e)
{
    config_field fields[COUNT_OF(job_fields) + FOREIGN_COUNT];
    raw_job raw = { 0 };
    scrape_job *j = &raw.job;
    all_fields(fields);
    err_kind k = config_mapping(doc, at, "a scrape config", e);
    at = k ? at : with_inherited(at, d->global, a);
    if (!at)
        return err_nomem(e);
    if (!k)
        k = config_bind(doc, at, fields, COUNT_OF(fields), &raw, a, e);
    if (!k)
        k = check_job(doc, at, j, d, e);
    if (!k)
        k = parse_formats(doc, at, &raw, j, e);
    if (!k)
        k = parse_params(doc, raw.params, a, j, e);
    if (!k)
        k = parse_statics(doc, raw.statics, a, j, e);
    if (!k)
        k = http_auth_parse(doc, raw.basic, raw.authorization, raw.tls, raw.bearer, raw.bearer_file, dir, a, &j->auth,
                            e);
    if (!k)
        k = relabel_parse(doc, raw.relabel, a, &j->relabel, e);
    if (!k)
        k = relabel_parse(doc, raw.metric_relabel, a, &j->metric_relabel, e);
    if (k) {
        scrape_job_done(j);
        return k;
    }
    for (size_t i = 0; i < FOREIGN_COUNT; i++) {
        if (raw.foreign[i])
            snprintf(j->down_reason, sizeof j->down_reason, "cannot find targets by %s yet, only by static_configs",
                     foreign_discovery[i]);
    }
    const int64_t durations[] = { d->interval_ms, d->timeout_ms };
    uint64_t seed = hash_bytes(durations, sizeof durations, 0);
    j->fingerprint = yaml_fingerprint(at, seed);
    *ret = *j;
    return OK;
}

void scrape_job_done(scrape_job *j)
{
    relabel_done(&j->relabel);
    relabel_done(&j->metric_relabel);
}
