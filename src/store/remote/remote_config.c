#include "store/remote/remote_config.h"
#include "base/hash.h"
#include <stdio.h>

#define CONFIG_ARENA_MAX (1u << 20)

typedef struct raw_remote {
    char *url;
    str name, message;
    int64_t timeout_ms;
    config_pairs headers;
    const yaml_node *relabel, *basic, *authorization, *tls, *queue, *metadata;
    char *bearer, *bearer_file;
    bool exemplars, histograms, follow_redirects;
} raw_remote;

#define F(key, type, member, preset, help) { key, type, offsetof(raw_remote, member), false, preset, 0, 0, help }
#define IGNORED(key) { key, CONFIG_IGNORED, 0, false, NULL, 0, 0, "accepted, without effect so far" }
static const config_field remote_fields[] = {
    { "url", CONFIG_CSTR, offsetof(raw_remote, url), true, NULL, 0, 0, "where to send: http://host:port/api/v1/write" },
    F("name", CONFIG_STR, name, NULL, "name in metrics and of the cursor in the queue"),
    { "remote_timeout", CONFIG_DURATION, offsetof(raw_remote, timeout_ms), false, "30s", 10, 3600000, "how long one request may take" },
    F("headers", CONFIG_STR_MAP, headers, NULL, "header fields to send, a tenant's name for example"),
    F("write_relabel_configs", CONFIG_NODE, relabel, NULL, "rules on series before they are sent"),
    F("protobuf_message", CONFIG_STR, message, "prometheus.WriteRequest", "prometheus.WriteRequest (1.0) or io.prometheus.write.v2.Request (2.0)"),
    F("send_exemplars", CONFIG_BOOL, exemplars, "false", "send exemplars too"),
    F("send_native_histograms", CONFIG_BOOL, histograms, "false", "send native histograms too"),
    F("follow_redirects", CONFIG_BOOL, follow_redirects, "true", "follow HTTP redirects"),
    F("basic_auth", CONFIG_NODE, basic, NULL, "{username, password | password_file}"),
    F("authorization", CONFIG_NODE, authorization, NULL, "{type, credentials | credentials_file}"),
    F("bearer_token", CONFIG_CSTR, bearer, NULL, "older spelling of authorization"),
    F("bearer_token_file", CONFIG_CSTR, bearer_file, NULL, "older spelling of authorization"),
    F("tls_config", CONFIG_NODE, tls, NULL, "{ca_file, cert_file, key_file, insecure_skip_verify}"),
    F("queue_config", CONFIG_NODE, queue, NULL, "batches, back-off, shards"),
    F("metadata_config", CONFIG_NODE, metadata, NULL, "{send, send_interval, max_samples_per_send}"),
    IGNORED("oauth2"), IGNORED("sigv4"), IGNORED("azuread"), IGNORED("google_iam"), IGNORED("enable_http2"), IGNORED("proxy_url"),
    IGNORED("no_proxy"), IGNORED("proxy_from_environment"), IGNORED("proxy_connect_header"), IGNORED("round_robin_dns"), IGNORED("http_headers"),
};
#undef F

#define Q(key, type, member, preset, low, high, help) { key, type, offsetof(remote_queue_config, member), false, preset, low, high, help }
static const config_field queue_fields[] = {
    Q("capacity", CONFIG_INT, capacity, "10000", 1, 10000000, "samples a shard may hold in memory"),
    Q("max_shards", CONFIG_INT, max_shards, "50", 1, 200, "requests under way at a time"),
    Q("max_samples_per_send", CONFIG_INT, max_samples_per_send, "2000", 1, 100000, "samples in one request"),
    Q("batch_send_deadline", CONFIG_DURATION, batch_send_deadline_ms, "5s", 10, 3600000, "a sample waits at most this long for company"),
    Q("min_backoff", CONFIG_DURATION, min_backoff_ms, "30ms", 1, 3600000, "first pause after a failure"),
    Q("max_backoff", CONFIG_DURATION, max_backoff_ms, "5s", 1, 3600000, "longest pause"),
    Q("retry_on_http_429", CONFIG_BOOL, retry_on_429, "true", 0, 0, "\"too many requests\" is tried again"),
    Q("sample_age_limit", CONFIG_DURATION, sample_age_limit_ms, "0s", 0, INT64_MAX, "older samples are dropped; 0: none"),
    IGNORED("min_shards"),
};
#undef Q

typedef struct raw_metadata { bool send; int64_t interval_ms, max; } raw_metadata;
static const config_field metadata_fields[] = {
    { "send", CONFIG_BOOL, offsetof(raw_metadata, send), false, "true", 0, 0, "tell types and help texts" },
    { "send_interval", CONFIG_DURATION, offsetof(raw_metadata, interval_ms), false, "1m", 100, 86400000, "how often" },
    { "max_samples_per_send", CONFIG_INT, offsetof(raw_metadata, max), false, "2000", 1, 100000, "families in one request" },
};
#undef IGNORED

static err_kind parse_protocol(const yaml_doc *doc, const yaml_node *at, str word, remote_protocol *ret, err *e)
{
    static const char *const names[] = { "prometheus.WriteRequest", "io.prometheus.write.v2.Request" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_is(word, names[i])) {
            *ret = (remote_protocol)i;
            return OK;
        }
    const yaml_node *place = yaml_get(at, "protobuf_message");
    return config_unknown(doc, place ? place : at, "protobuf message", word, names, COUNT_OF(names), e);
}

static err_kind parse_headers(const raw_remote *raw, remote_config *c, err *e)
{
    c->headers = arena_array(&c->arena, http_header, raw->headers.len + 1);
    if (!c->headers)
        return err_nomem(e);
    for (; c->header_count < raw->headers.len; c->header_count++)
        c->headers[c->header_count] = (http_header){ raw->headers.at[c->header_count].key, raw->headers.at[c->header_count].value };
    return OK;
}

static err_kind copy_external(labels external, remote_config *c, err *e)
{
    c->external = arena_array(&c->arena, label, external.len + 1);
    if (!c->external)
        return err_nomem(e);
    for (; c->external_count < external.len; c->external_count++) {
        const label *l = &external.at[c->external_count];
        label copy = { arena_str(&c->arena, l->name), arena_str(&c->arena, l->value) };
        if (!copy.name.ptr || !copy.value.ptr)
            return err_nomem(e);
        c->external[c->external_count] = copy;
        c->fingerprint = hash_str(l->value, hash_str(l->name, c->fingerprint));
    }
    return OK;
}

/* What a file may be called; two remotes never share one. */
static void make_name(remote_config *c, str wanted)
{
    size_t n = 0;
    for (size_t i = 0; i < wanted.len && n + 20 < sizeof c->name; i++) {
        char ch = wanted.ptr[i];
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '-' || ch == '_';
        c->name[n++] = plain ? ch : '_';
    }
    if (n == 0) /* the address alone: what else changes in its text must not lose it its queue */
        snprintf(c->name, sizeof c->name, "%08x", (unsigned)hash_str(str_from(c->url), 1));
}

static err_kind parse_parts(const yaml_doc *doc, const yaml_node *at, labels external, const char *dir, remote_config *c, err *e)
{
    raw_remote raw = { 0 };
    raw_metadata metadata = { 0 };
    arena *a = &c->arena;
    err_kind k = config_mapping(doc, at, "a remote_write", e);
    if (k || (k = config_bind(doc, at, remote_fields, COUNT_OF(remote_fields), &raw, a, e)) ||
        (k = config_bind(doc, raw.queue, queue_fields, COUNT_OF(queue_fields), &c->queue, a, e)) ||
        (k = config_bind(doc, raw.metadata, metadata_fields, COUNT_OF(metadata_fields), &metadata, a, e)) ||
        (k = parse_protocol(doc, at, raw.message, &c->protocol, e)) || (k = parse_headers(&raw, c, e)) ||
        (k = http_auth_parse(doc, raw.basic, raw.authorization, raw.tls, raw.bearer, raw.bearer_file, dir, a, &c->auth, e)) ||
        (k = relabel_parse(doc, raw.relabel, a, &c->relabel, e)))
        return k;
    if (!str_starts(str_from(raw.url), STR("http://")) && !str_starts(str_from(raw.url), STR("https://")))
        return yaml_error(doc, yaml_get(at, "url"), e, "url \"%s\" is not http://host:port/path", raw.url);
    c->url = raw.url;
    c->timeout_ms = raw.timeout_ms;
    c->follow_redirects = raw.follow_redirects;
    c->send_exemplars = raw.exemplars;
    c->send_histograms = raw.histograms;
    c->send_metadata = metadata.send;
    c->metadata_interval_ms = metadata.interval_ms;
    c->max_metadata_per_send = metadata.max;
    c->queue.max_backoff_ms = MAX(c->queue.max_backoff_ms, c->queue.min_backoff_ms);
    c->fingerprint = yaml_fingerprint(at, 1);
    make_name(c, raw.name);
    return copy_external(external, c, e);
}

static err_kind parse_one(const yaml_doc *doc, const yaml_node *at, labels external, const char *dir, remote_config **ret, err *e)
{
    remote_config *c = mem_zalloc(sizeof *c);
    if (!c)
        return err_nomem(e);
    c->arena = arena_init(CONFIG_ARENA_MAX);
    err_kind k = parse_parts(doc, at, external, dir, c, e);
    if (k)
        remote_config_free(c);
    else
        *ret = c;
    return k;
}

void remote_config_free(remote_config *c)
{
    if (!c)
        return;
    relabel_done(&c->relabel);
    arena_done(&c->arena);
    mem_free(c);
}

void remote_configs_done(remote_configs *c)
{
    for (size_t i = 0; i < c->len; i++)
        remote_config_free(c->at[i]);
    mem_free(c->at);
    *c = (remote_configs){ 0 };
}

err_kind remote_configs_parse(const yaml_doc *doc, const yaml_node *list, labels external, const char *dir, remote_configs *ret, err *e)
{
    err_kind k = config_sequence(doc, list, "remote_write", e);
    remote_configs c = { 0 };
    if (k || !list || list->len == 0)
        return k;
    if (list->len > REMOTES_MAX)
        return yaml_error(doc, list, e, "more than %d remotes", REMOTES_MAX);
    c.at = mem_calloc(list->len, sizeof *c.at);
    if (!c.at)
        return err_nomem(e);
    for (size_t i = 0; !k && i < list->len; i++) {
        k = parse_one(doc, list->items[i], external, dir, &c.at[c.len], e);
        c.len += !k;
        for (size_t other = 0; !k && other + 1 < c.len; other++)
            if (strcmp(c.at[other]->name, c.at[i]->name) == 0) {
                (void)yaml_error(doc, list->items[i], e, "there are two remotes with the name or address of \"%s\"", c.at[i]->url);
                k = err_hint(e, "Give each its own name: it stands in metrics and names the cursor in the queue.");
            }
    }
    if (k)
        remote_configs_done(&c);
    else
        *ret = c;
    return k;
}

err_kind remote_configs_add(remote_configs *to, remote_configs *take, err *e)
{
    err_kind k = OK;
    for (size_t i = 0; i < to->len; i++)
        for (size_t n = 0; n < take->len; n++)
            if (strcmp(to->at[i]->name, take->at[n]->name) == 0)
                k = err_set(e, ERR_CONFLICT, "there are two remotes with the name \"%s\"", take->at[n]->name);
    remote_config **at = k ? NULL : mem_realloc(to->at, (to->len + take->len + 1) * sizeof *at);
    if (at) {
        to->at = at;
        for (size_t n = 0; n < take->len; n++)
            to->at[to->len++] = TAKE(take->at[n]);
    } else if (!k) {
        k = err_nomem(e);
    }
    remote_configs_done(take);
    return k;
}
