/* alert/alert_config.c - rule files, receivers and what surrounds them. */
#include "alert/alert_config.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>

#include "base/file.h"
#include "base/regex.h"

#define ALERT_CONFIG_MAX_BYTES (64u << 20)
#define SECRET_MAX_BYTES (64u << 10)
#define EVALUATION_INTERVAL_MS (60 * MS_PER_S) /* Prometheus's own default */

/* The shipped rules (rules/llm.yml), embedded by meson.build. */
extern const char alert_default_rules[], alert_default_rules_end[];
#define DEFAULT_RULES_NAME "galen's own rules (rules/llm.yml)"

static alert_config *config_new(void)
{
    alert_config *c = mem_zalloc(sizeof *c);
    if (!c)
        return NULL;
    c->arena = arena_init(ALERT_CONFIG_MAX_BYTES);
    c->evaluation_interval_ms = EVALUATION_INTERVAL_MS;
    c->rules = rule_set_new();
    if (!c->rules) {
        mem_free(c);
        return NULL;
    }
    return c;
}

err_kind alert_config_external_labels(alert_config *c, labels external, err *e)
{
    return labels_to_arena(&c->arena, external, &c->external_labels) ? err_nomem(e) : OK;
}

void alert_config_free(alert_config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->regexes.len; i++)
        regex_free(c->regexes.at[i]);
    vec_done(&c->regexes);
    rule_set_free(c->rules);
    arena_done(&c->arena);
    mem_free(c);
}

static void alert_config_freep(alert_config **c)
{
    alert_config_free(*c);
    *c = NULL;
}

/* Told once when the configuration is put to use; beyond the limit the first ones must do. */
static void note(alert_config *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void note(alert_config *c, const char *fmt, ...)
{
    char text[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    char *copy = c->note_count < ALERT_NOTES_MAX ? arena_cstr(&c->arena, str_from(text)) : NULL;
    if (copy)
        c->notes[c->note_count++] = copy;
}

/* `name` relative to `dir`, as the files of Prometheus and Alertmanager mean it. */
static err_kind path_in(const char *dir, str name, char out[FILE_PATH_MAX], err *e)
{
    bool absolute = str_starts(name, STR("/")) || !dir || !dir[0];
    int n = absolute ? snprintf(out, FILE_PATH_MAX, "%" STR_FMT, STR_ARG(name)) : snprintf(out, FILE_PATH_MAX, "%s/%" STR_FMT, dir, STR_ARG(name));
    return n < 0 || n >= FILE_PATH_MAX ? err_set(e, ERR_LIMIT, "path too long: \"%" STR_FMT "\"", STR_ARG(name)) : OK;
}

/* ---- rule files ---- */

/* Two entries may name the same file: it counts once. */
static err_kind load_file(alert_config *c, const char *path, err *e)
{
    for (size_t i = 0; i < rule_set_groups(c->rules); i++)
        if (str_is(rule_set_group(c->rules, i)->file, path))
            return OK;
    return rule_set_load(c->rules, path, c->evaluation_interval_ms, e);
}

static err_kind load_glob(alert_config *c, const char *pattern, err *e)
{
    glob_t found = { 0 };
    err_kind k = OK;
    int code = glob(pattern, 0, NULL, &found);
    if (code != 0 && code != GLOB_NOMATCH)
        k = code == GLOB_NOSPACE ? err_nomem(e) : err_sys(e, errno ? errno : EIO, "could not look for rule files \"%s\"", pattern);
    for (size_t i = 0; !k && code == 0 && i < found.gl_pathc; i++)
        k = load_file(c, found.gl_pathv[i], e);
    globfree(&found);
    return k;
}

static err_kind load_rule_files(alert_config *c, const yaml_doc *doc, const yaml_node *at, const config_strs *files, const char *dir, err *e)
{
    char path[FILE_PATH_MAX];
    for (size_t i = 0; i < files->len; i++) {
        err_kind k = path_in(dir, files->at[i], path, e);
        const yaml_node *place = at && at->kind == YAML_SEQUENCE ? at->items[i] : at;
        if (k)
            return k;
        if (!files->at[i].len && place)
            return yaml_error(doc, place, e, "the name of a rule file is empty");
        if (strpbrk(path, "*?[") != NULL)
            k = load_glob(c, path, e);
        else if (!file_exists(path) && place) {
            yaml_error(doc, place, e, "rule file \"%" STR_FMT "\" does not point to an existing file", STR_ARG(files->at[i]));
            k = err_hint(e, "Names are relative to the folder of this file: galen looked for %.150s.", path);
        } else
            k = load_file(c, path, e);
        if (k)
            return k;
    }
    return OK;
}

/* ---- receivers ---- */

static err_kind read_secret(const yaml_doc *doc, const yaml_node *at, alert_config *c, const char *dir, const char *file, char **ret, err *e)
{
    AUTO(buf_done) buf b = BUF_INIT(SECRET_MAX_BYTES);
    char path[FILE_PATH_MAX];
    err inner = { 0 };
    if (path_in(dir, str_from(file), path, &inner) || file_read(path, &b, &inner))
        return yaml_error(doc, at, e, "%s", inner.message);
    *ret = arena_cstr(&c->arena, str_trim(buf_str(&b)));
    return *ret ? OK : err_nomem(e);
}

typedef struct raw_http {
    const yaml_node *basic_auth, *authorization, *tls_config;
    char *bearer_token, *bearer_token_file;
    bool follow_redirects;
} raw_http;
static const config_field http_fields[] = {
    { "basic_auth", CONFIG_NODE, offsetof(raw_http, basic_auth), .help = "username, password or password_file" },
    { "authorization", CONFIG_NODE, offsetof(raw_http, authorization), .help = "type (Bearer), credentials or credentials_file" },
    { "bearer_token", CONFIG_CSTR, offsetof(raw_http, bearer_token), .help = "the older form of authorization" },
    { "bearer_token_file", CONFIG_CSTR, offsetof(raw_http, bearer_token_file), .help = "the older form of authorization" },
    { "tls_config", CONFIG_NODE, offsetof(raw_http, tls_config), .help = "insecure_skip_verify works, the rest is accepted" },
    { "follow_redirects", CONFIG_BOOL, offsetof(raw_http, follow_redirects), .preset = "true", .help = "follow HTTP redirects" },
    { "enable_http2", CONFIG_IGNORED, 0, .help = "accepted, without effect" },
    { "oauth2", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
    { "proxy_url", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
    { "no_proxy", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
    { "proxy_from_environment", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
    { "proxy_connect_header", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
    { "http_headers", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
};

typedef struct raw_auth { char *user, *secret, *file, *type; } raw_auth;
static const config_field basic_fields[] = {
    { "username", CONFIG_CSTR, offsetof(raw_auth, user), .help = "user name" },
    { "password", CONFIG_CSTR, offsetof(raw_auth, secret), .help = "password" },
    { "password_file", CONFIG_CSTR, offsetof(raw_auth, file), .help = "file with the password" },
};
static const config_field authorization_fields[] = {
    { "type", CONFIG_CSTR, offsetof(raw_auth, type), .preset = "Bearer", .help = "only Bearer works so far" },
    { "credentials", CONFIG_CSTR, offsetof(raw_auth, secret), .help = "the token" },
    { "credentials_file", CONFIG_CSTR, offsetof(raw_auth, file), .help = "file with the token" },
};
static const config_field tls_fields[] = {
    { "insecure_skip_verify", CONFIG_BOOL, offsetof(webhook, tls_insecure), .help = "do not check the server's certificate" },
    { "ca", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
    { "cert", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
    { "key", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
    { "ca_file", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
    { "cert_file", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
    { "key_file", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
    { "server_name", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
    { "min_version", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
    { "max_version", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
};

typedef struct parse_at { alert_config *c; const yaml_doc *doc; const char *dir; err *e; } parse_at;

static err_kind parse_auth(const parse_at *p, const yaml_node *at, const config_field *fields, size_t n, raw_auth *ret)
{
    err_kind k = config_bind(p->doc, at, fields, n, ret, &p->c->arena, p->e);
    if (!k && ret->file)
        k = read_secret(p->doc, at, p->c, p->dir, ret->file, &ret->secret, p->e);
    return k;
}

static err_kind parse_http(const parse_at *p, const yaml_node *at, webhook *w)
{
    raw_http raw = { 0 };
    raw_auth basic = { 0 }, bearer = { 0 };
    err_kind k = config_bind(p->doc, at, http_fields, COUNT_OF(http_fields), &raw, &p->c->arena, p->e);

    if (!k && raw.basic_auth)
        k = parse_auth(p, raw.basic_auth, basic_fields, COUNT_OF(basic_fields), &basic);
    if (!k && raw.authorization)
        k = parse_auth(p, raw.authorization, authorization_fields, COUNT_OF(authorization_fields), &bearer);
    if (!k && raw.bearer_token_file)
        k = read_secret(p->doc, at, p->c, p->dir, raw.bearer_token_file, &raw.bearer_token, p->e);
    if (!k && raw.tls_config)
        k = config_bind(p->doc, raw.tls_config, tls_fields, COUNT_OF(tls_fields), w, &p->c->arena, p->e);
    if (!k && bearer.type && !str_eq_nocase(str_from(bearer.type), STR("bearer")))
        k = yaml_error(p->doc, raw.authorization, p->e, "authorization of type \"%s\" is not built yet", bearer.type);
    w->follow_redirects = raw.follow_redirects;
    w->basic_user = basic.user;
    w->basic_password = basic.secret;
    w->bearer_token = bearer.secret ? bearer.secret : raw.bearer_token;
    return k;
}

typedef struct raw_webhook {
    char *url, *url_file;
    bool send_resolved;
    int64_t max_alerts, timeout_ms;
    const yaml_node *http_config;
} raw_webhook;
static const config_field webhook_fields[] = {
    { "url", CONFIG_CSTR, offsetof(raw_webhook, url), .help = "where the JSON is posted to" },
    { "url_file", CONFIG_CSTR, offsetof(raw_webhook, url_file), .help = "file with the address" },
    { "send_resolved", CONFIG_BOOL, offsetof(raw_webhook, send_resolved), .preset = "true", .help = "tell the end, too" },
    { "max_alerts", CONFIG_INT, offsetof(raw_webhook, max_alerts), .min = 0, .max = 1000000, .help = "at most so many alerts in one message; 0: all" },
    { "timeout", CONFIG_DURATION, offsetof(raw_webhook, timeout_ms), .help = "give up a request after so long" },
    { "http_config", CONFIG_NODE, offsetof(raw_webhook, http_config), .help = "how to connect" },
};

static err_kind parse_webhook(const parse_at *p, const yaml_node *at, webhook *w)
{
    raw_webhook raw = { 0 };
    err_kind k = config_bind(p->doc, at, webhook_fields, COUNT_OF(webhook_fields), &raw, &p->c->arena, p->e);
    if (k)
        return k;
    if (!raw.url == !raw.url_file)
        return yaml_error(p->doc, at, p->e, "one of \"url\" and \"url_file\" must be set");
    if (raw.url_file && (k = read_secret(p->doc, at, p->c, p->dir, raw.url_file, &raw.url, p->e)))
        return k;
    str url = str_from(raw.url);
    if (!str_starts(url, STR("http://")) && !str_starts(url, STR("https://")))
        return yaml_error(p->doc, at, p->e, "the webhook's url must start with http:// or https://"); /* it may hold a secret: not shown */
    *w = (webhook){ .url = raw.url, .send_resolved = raw.send_resolved, .max_alerts = raw.max_alerts, .timeout_ms = raw.timeout_ms, .follow_redirects = true };
    return raw.http_config ? parse_http(p, raw.http_config, w) : OK;
}

static err_kind parse_webhooks(const parse_at *p, const yaml_node *list, receiver *r)
{
    err_kind k = config_sequence(p->doc, list, "webhook_configs", p->e);
    if (k || !list || list->kind != YAML_SEQUENCE)
        return k;
    r->webhooks = arena_array(&p->c->arena, webhook, list->len + 1);
    if (!r->webhooks)
        return err_nomem(p->e);
    for (; r->len < list->len; r->len++)
        if ((k = parse_webhook(p, list->items[r->len], &r->webhooks[r->len])))
            return k;
    return OK;
}

/* Alertmanager's other kinds: they load, and whoever wrote them is told. */
static const char *const other_kinds[] = {
    "email", "slack", "pagerduty", "wechat", "opsgenie", "victorops", "pushover", "telegram", "sns", "discord", "webex",
    "msteams", "msteamsv2", "jira", "rocketchat", "mattermost", "incidentio",
};

static const char *other_kind(str key)
{
    for (size_t i = 0; i < COUNT_OF(other_kinds); i++)
        if (str_ends(key, STR("_configs")) && str_is(str_sub(key, 0, key.len - 8), other_kinds[i]))
            return other_kinds[i];
    return NULL;
}

static err_kind parse_receiver(const parse_at *p, const yaml_node *at, receiver *r)
{
    static const char *const keys[] = { "name", "webhook_configs", "email_configs", "slack_configs", "pagerduty_configs", "wechat_configs", "telegram_configs" };
    const yaml_node *name = yaml_get(at, "name");
    err_kind k;

    if (at->kind != YAML_MAPPING || !name || name->text.len == 0)
        return yaml_error(p->doc, at, p->e, "a receiver must be a mapping with a name");
    r->line = at->line;
    if ((k = config_str(p->doc, name, &p->c->arena, &r->name, p->e)))
        return k;
    for (size_t i = 0; i < p->c->receiver_count; i++)
        if (str_eq(p->c->receivers[i].name, r->name))
            return yaml_error(p->doc, name, p->e, "receiver name \"%" STR_FMT "\" is not unique", STR_ARG(r->name));
    for (size_t i = 0; i < at->len; i++) {
        str key = at->keys[i]->text;
        const char *other = other_kind(key);
        if (other)
            note(p->c, "receiver \"%.*s\": %s is not built yet, its alerts go to the page and the record only", (int)MIN(r->name.len, (size_t)100), r->name.ptr, other);
        else if (!str_is(key, "name") && !str_is(key, "webhook_configs"))
            return config_unknown(p->doc, at->keys[i], "key", key, keys, COUNT_OF(keys), p->e);
    }
    return parse_webhooks(p, yaml_get(at, "webhook_configs"), r);
}

static err_kind parse_receivers(const parse_at *p, const yaml_node *list)
{
    err_kind k = config_sequence(p->doc, list, "receivers", p->e);
    if (k || !list || list->kind != YAML_SEQUENCE)
        return k;
    p->c->receivers = arena_array(&p->c->arena, receiver, list->len + 1);
    if (!p->c->receivers)
        return err_nomem(p->e);
    for (; p->c->receiver_count < list->len; p->c->receiver_count++)
        if ((k = parse_receiver(p, list->items[p->c->receiver_count], &p->c->receivers[p->c->receiver_count])))
            return k;
    return OK;
}

/* ---- Alertmanager's part of a file ---- */

static void note_unbuilt(alert_config *c, const yaml_node *at, const char *key)
{
    const yaml_node *n = yaml_get(at, key);
    if (n && n->kind != YAML_NULL && n->len > 0)
        note(c, "%s are read and have no effect yet", key);
}

static err_kind parse_notification(const parse_at *p, const yaml_node *section, const yaml_node *route, const yaml_node *receivers)
{
    err_kind k = parse_receivers(p, receivers);
    if (k)
        return k;
    note_unbuilt(p->c, section, "inhibit_rules");
    note_unbuilt(p->c, section, "time_intervals");
    note_unbuilt(p->c, section, "mute_time_intervals");
    if (!route || route->kind == YAML_NULL) {
        if (p->c->receiver_count)
            return yaml_error(p->doc, receivers, p->e, "receivers are given, but no route leads to them"),
                   err_hint(p->e, "Add route: {receiver: %" STR_FMT "}.", STR_ARG(p->c->receivers[0].name));
        return OK;
    }
    p->c->route = arena_new(&p->c->arena, alert_route);
    return p->c->route ? alert_route_parse(p->c, p->doc, route, NULL, 0, p->c->route, p->e) : err_nomem(p->e);
}

typedef struct raw_alert {
    config_strs rule_files;
    int64_t evaluation_interval_ms;
    bool default_rules;
    const yaml_node *route, *receivers;
} raw_alert;

#define MANAGER_FIELDS                                                                                              \
    { "route", CONFIG_NODE, offsetof(raw_alert, route), .help = "which alert goes to which receiver" },            \
    { "receivers", CONFIG_NODE, offsetof(raw_alert, receivers), .help = "where notifications go" },                \
    { "global", CONFIG_IGNORED, 0, .help = "Alertmanager's defaults for mail and chat; accepted" },                \
    { "templates", CONFIG_IGNORED, 0, .help = "Alertmanager's notification templates; accepted" },                 \
    { "inhibit_rules", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },                             \
    { "time_intervals", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },                            \
    { "mute_time_intervals", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },                       \
    { "tracing", CONFIG_IGNORED, 0, .help = "accepted, without effect" }

static const config_field alert_fields[] = {
    { "rule_files", CONFIG_STR_LIST, offsetof(raw_alert, rule_files), .help = "Prometheus rule files, globs allowed; default: the shipped rules" },
    { "evaluation_interval", CONFIG_DURATION, offsetof(raw_alert, evaluation_interval_ms), .preset = "15s", .min = 100, .max = 24 * 3600 * MS_PER_S,
      .help = "how often groups without an interval of their own are evaluated" },
    { "default_rules", CONFIG_BOOL, offsetof(raw_alert, default_rules), .help = "load the shipped rules besides rule_files" },
    MANAGER_FIELDS,
};
static const config_field manager_fields[] = { MANAGER_FIELDS };

static err_kind load_default_rules(alert_config *c, err *e)
{
    str text = str_of(alert_default_rules, (size_t)(alert_default_rules_end - alert_default_rules));
    return rule_set_load_text(c->rules, text, DEFAULT_RULES_NAME, c->evaluation_interval_ms, e);
}

err_kind alert_config_parse(const config *conf, alert_config **ret, err *e)
{
    AUTO(alert_config_freep) alert_config *c = config_new();
    raw_alert raw = { 0 };
    err scratch;
    err_kind k;

    e = e ? e : &scratch;
    if (!c)
        return err_nomem(e);
    parse_at p = { c, conf ? conf->doc : NULL, conf ? conf->dir : "", e };
    const yaml_node *section = conf ? conf->alert : NULL;
    if ((k = config_bind(p.doc, section, alert_fields, COUNT_OF(alert_fields), &raw, &c->arena, e)))
        return k;
    c->evaluation_interval_ms = raw.evaluation_interval_ms;
    bool shipped = raw.default_rules || !section || !yaml_get(section, "rule_files");
    if ((shipped && (k = load_default_rules(c, e))) ||
        (k = load_rule_files(c, p.doc, section ? yaml_get(section, "rule_files") : NULL, &raw.rule_files, p.dir, e)) ||
        (k = parse_notification(&p, section, raw.route, raw.receivers)))
        return k;
    *ret = TAKE(c);
    return OK;
}

/* ---- the Alertmanagers of a prometheus.yml: listed, not yet told ---- */

static str text_or(const yaml_node *mapping, const char *key, str otherwise)
{
    const yaml_node *n = yaml_get(mapping, key);
    return n && n->kind == YAML_SCALAR ? n->text : otherwise;
}

static err_kind add_targets(alert_config *c, const yaml_doc *doc, const yaml_node *manager, const yaml_node *targets, err *e)
{
    str prefix = text_or(manager, "path_prefix", STR("/"));
    err_kind k = config_sequence(doc, targets, "targets", e);
    for (size_t i = 0; !k && targets && i < targets->len; i++) {
        str target;
        if (c->alertmanager_count == ALERTMANAGERS_MAX)
            return yaml_error(doc, targets, e, "more than %d Alertmanagers", ALERTMANAGERS_MAX);
        if ((k = config_str(doc, targets->items[i], &c->arena, &target, e)))
            return k;
        bool slash = str_ends(prefix, STR("/"));
        str url = arena_printf(&c->arena, "%" STR_FMT "://%" STR_FMT "%s%" STR_FMT "%sapi/v2/alerts", STR_ARG(text_or(manager, "scheme", STR("http"))),
                               STR_ARG(target), str_starts(prefix, STR("/")) ? "" : "/", STR_ARG(prefix), slash ? "" : "/");
        if (!url.ptr)
            return err_nomem(e);
        c->alertmanagers[c->alertmanager_count++] = url;
    }
    return k;
}

static err_kind add_alertmanagers(alert_config *c, const yaml_doc *doc, const yaml_node *list, err *e)
{
    err_kind k = config_sequence(doc, list, "alertmanagers", e);
    if (k || !list || !list->len)
        return k;
    if (!(c->alertmanagers = arena_array(&c->arena, str, ALERTMANAGERS_MAX)))
        return err_nomem(e);
    for (size_t i = 0; i < list->len; i++) {
        const yaml_node *manager = list->items[i], *statics = yaml_get(manager, "static_configs");
        if ((k = config_mapping(doc, manager, "an Alertmanager", e)) || (k = config_sequence(doc, statics, "static_configs", e)))
            return k;
        for (size_t n = 0; statics && n < statics->len; n++)
            if ((k = add_targets(c, doc, manager, yaml_get(statics->items[n], "targets"), e)))
                return k;
    }
    note(c, "alerting.alertmanagers: sending to another Alertmanager is not built yet; give its file with --alertmanager.config");
    return OK;
}

err_kind alert_config_from_prometheus(const yaml_doc *doc, const char *dir, alert_config **ret, err *e)
{
    AUTO(alert_config_freep) alert_config *c = config_new();
    config_strs files = { 0 };
    const config_field fields[] = { { "rule_files", CONFIG_STR_LIST, 0 } };
    err scratch;
    err_kind k;

    e = e ? e : &scratch;
    if (!c)
        return err_nomem(e);
    const yaml_node *root = doc ? doc->root : NULL, *global = root ? yaml_get(root, "global") : NULL;
    const yaml_node *interval = global ? yaml_get(global, "evaluation_interval") : NULL, *list = root ? yaml_get(root, "rule_files") : NULL;
    if (interval && (k = config_duration(doc, interval, &c->evaluation_interval_ms, e)))
        return k;
    if (interval && c->evaluation_interval_ms <= 0)
        return yaml_error(doc, interval, e, "evaluation_interval must be more than 0");
    if (list) { /* bound alone, so that Prometheus's other sections are left to those who read them */
        yaml_node key = { .kind = YAML_SCALAR, .text = STR("rule_files"), .line = list->line, .column = list->column };
        yaml_node *keys[] = { &key }, *items[] = { (yaml_node *)list };
        yaml_node only = { .kind = YAML_MAPPING, .line = list->line, .column = list->column, .keys = keys, .items = items, .len = 1 };
        if ((k = config_bind(doc, &only, fields, 1, &files, &c->arena, e)) || (k = load_rule_files(c, doc, list, &files, dir, e)))
            return k;
    }
    if ((k = add_alertmanagers(c, doc, yaml_get(yaml_get(root, "alerting"), "alertmanagers"), e)))
        return k;
    *ret = TAKE(c);
    return OK;
}

err_kind alert_config_add_alertmanager(alert_config *c, const yaml_doc *doc, const char *dir, err *e)
{
    raw_alert raw = { 0 };
    err scratch;
    e = e ? e : &scratch;
    parse_at p = { c, doc, dir, e };
    err_kind k = config_bind(doc, doc->root, manager_fields, COUNT_OF(manager_fields), &raw, &c->arena, e);
    if (k)
        return k;
    if (!raw.route)
        return yaml_error(doc, doc->root, e, "no routes provided");
    return parse_notification(&p, doc->root, raw.route, raw.receivers);
}

size_t alert_config_groups(const alert_config *c) { return rule_set_groups(c->rules); }
size_t alert_config_rules(const alert_config *c) { return rule_set_rules(c->rules); }
size_t alert_config_notes(const alert_config *c, const char *const **ret)
{
    *ret = c->notes;
    return c->note_count;
}
