#include "main/store_remote.h"
#include "main/settings.h"

#define BUFFER_MIN_MS RETENTION_MIN_MS

typedef struct raw_remote {
    store_remote r;
    char *write_url, *bearer, *bearer_file;
    str tenant;
    config_pairs headers;
    const yaml_node *basic, *authorization, *tls, *passed_on;
} raw_remote;

#define F(key, type, member, preset, help) { key, type, offsetof(raw_remote, member), false, preset, 0, 0, help }
/* For the way out only: remote_write's own keys, read by its own table. */
#define PASSED(key) F(key, CONFIG_NODE, passed_on, NULL, "as in remote_write")
static const config_field remote_fields[] = {
    { "write_url", CONFIG_CSTR, offsetof(raw_remote, write_url), true, NULL, 0, 0, "where samples are sent by remote write" },
    { "read_url", CONFIG_CSTR, offsetof(raw_remote, r.read_url), true, NULL, 0, 0, "what stands before /api/v1/query" },
    F("tenant", CONFIG_STR, tenant, NULL, "sent as X-Scope-OrgID (Mimir, Cortex, Thanos Receive by its flag)"),
    F("headers", CONFIG_STR_MAP, headers, NULL, "header fields of every request"),
    F("params", CONFIG_STR_MAP, r.params, NULL, "parameters of every question: {dedup: \"true\"} for Thanos"),
    F("basic_auth", CONFIG_NODE, basic, NULL, "{username, password | password_file}"),
    F("authorization", CONFIG_NODE, authorization, NULL, "{type, credentials | credentials_file}"),
    F("bearer_token", CONFIG_CSTR, bearer, NULL, "older spelling of authorization"),
    F("bearer_token_file", CONFIG_CSTR, bearer_file, NULL, "older spelling of authorization"),
    F("tls_config", CONFIG_NODE, tls, NULL, "{ca_file, cert_file, key_file, insecure_skip_verify}"),
    { "timeout", CONFIG_DURATION, offsetof(raw_remote, r.timeout_ms), false, "30s", 100, 3600000, "of one question" },
    { "buffer", CONFIG_DURATION, offsetof(raw_remote, r.buffer_ms), false, "2h", BUFFER_MIN_MS, INT64_MAX, "what galen itself keeps" },
    PASSED("queue_config"), PASSED("protobuf_message"), PASSED("write_relabel_configs"), PASSED("remote_timeout"),
    PASSED("send_exemplars"), PASSED("send_native_histograms"), PASSED("metadata_config"),
};
#undef F
#undef PASSED

static bool is_passed_on(str key)
{
    static const char *const keys[] = {
        "basic_auth", "authorization", "bearer_token", "bearer_token_file", "tls_config", "queue_config", "protobuf_message",
        "write_relabel_configs", "remote_timeout", "send_exemplars", "send_native_histograms", "metadata_config",
    };
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (str_is(key, keys[i]))
            return true;
    return false;
}

/* Made of what stands in the file, so that errors keep their places. */
static yaml_node *node(arena *a, const yaml_node *like, yaml_kind kind, str text, size_t room)
{
    yaml_node *n = arena_new(a, yaml_node);
    if (!n)
        return NULL;
    *n = (yaml_node){ .kind = kind, .line = like->line, .column = like->column, .text = text };
    n->keys = arena_array(a, yaml_node *, room + 1);
    n->items = arena_array(a, yaml_node *, room + 1);
    return n->keys && n->items ? n : NULL;
}

static bool put(arena *a, yaml_node *mapping, const char *key, yaml_node *item)
{
    yaml_node *k = item ? node(a, mapping, YAML_SCALAR, str_from(key), 0) : NULL;
    if (!k)
        return false;
    mapping->keys[mapping->len] = k;
    mapping->items[mapping->len++] = item;
    return true;
}

/* The one remote_write that store.remote stands for. */
static yaml_node *write_node(const yaml_node *at, const store_remote *r, arena *a)
{
    yaml_node *list = node(a, at, YAML_SEQUENCE, STR_EMPTY, 1), *one = node(a, at, YAML_MAPPING, STR_EMPTY, at->len + 4);
    yaml_node *headers = node(a, at, YAML_MAPPING, STR_EMPTY, r->header_count);
    if (!list || !one || !headers || !put(a, one, "url", (yaml_node *)yaml_get(at, "write_url")) ||
        !put(a, one, "name", node(a, at, YAML_SCALAR, STR("store"), 0)))
        return NULL;
    for (size_t i = 0; i < r->header_count; i++)
        if (!put(a, headers, arena_cstr(a, r->headers[i].name), node(a, at, YAML_SCALAR, r->headers[i].value, 0)))
            return NULL;
    for (size_t i = 0; i < at->len; i++)
        if (is_passed_on(at->keys[i]->text) && !put(a, one, at->keys[i]->text.ptr, at->items[i]))
            return NULL;
    if (!yaml_get(at, "queue_config")) { /* rules ask the remote: what they ask for must be there soon */
        yaml_node *queue = node(a, at, YAML_MAPPING, STR_EMPTY, 1);
        if (!queue || !put(a, queue, "batch_send_deadline", node(a, at, YAML_SCALAR, STR("1s"), 0)) || !put(a, one, "queue_config", queue))
            return NULL;
    }
    list->items[0] = one;
    list->len = 1;
    return put(a, one, "headers", headers) ? list : NULL;
}

static err_kind copy_headers(const raw_remote *raw, store_remote *r, arena *a, err *e)
{
    r->headers = arena_array(a, http_header, raw->headers.len + 1);
    if (!r->headers)
        return err_nomem(e);
    for (size_t i = 0; i < raw->headers.len; i++)
        r->headers[r->header_count++] = (http_header){ raw->headers.at[i].key, raw->headers.at[i].value };
    if (raw->tenant.len)
        r->headers[r->header_count++] = (http_header){ STR("X-Scope-OrgID"), raw->tenant };
    return OK;
}

err_kind store_remote_parse(const yaml_doc *doc, const yaml_node *at, labels external, const char *dir, arena *a,
                            remote_configs *remotes, store_remote **ret, err *e)
{
    raw_remote raw = { 0 };
    remote_configs write = { 0 };
    err_kind k = at ? config_mapping(doc, at, "store.remote", e) : OK;
    if (k || !at)
        return k;
    if ((k = config_bind(doc, at, remote_fields, COUNT_OF(remote_fields), &raw, a, e)) ||
        (k = http_auth_parse(doc, raw.basic, raw.authorization, raw.tls, raw.bearer, raw.bearer_file, dir, a, &raw.r.auth, e)) ||
        (k = copy_headers(&raw, &raw.r, a, e)))
        return k;
    size_t n = strlen(raw.r.read_url);
    while (n && raw.r.read_url[n - 1] == '/')
        raw.r.read_url[--n] = '\0';
    if (!str_starts(str_from(raw.r.read_url), STR("http://")) && !str_starts(str_from(raw.r.read_url), STR("https://")))
        return yaml_error(doc, yaml_get(at, "read_url"), e, "read_url \"%s\" is not http://host:port", raw.r.read_url);
    yaml_node *list = write_node(at, &raw.r, a);
    *ret = arena_dup(a, &raw.r, sizeof raw.r);
    if (!list || !*ret)
        return err_nomem(e);
    (*ret)->fingerprint = yaml_fingerprint(at, 1);
    k = remote_configs_parse(doc, list, external, dir, &write, e);
    return k ? k : remote_configs_add(remotes, &write, e);
}
