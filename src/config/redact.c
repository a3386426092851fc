/* config/redact.c - a configuration as it may be shown: block style, no comments, no secrets.
 *
 * Prometheus shows its configuration the same way (config.go's Secret and SecretURL print "<secret>", a password in a URL
 * becomes "xxxxx"). Here the tree is what was read, so defaults are not filled in. What is secret goes by the key's name:
 * showing too little is a nuisance, showing a password is an incident. */
#include "config/config.h"

#define HIDDEN "<secret>"

typedef struct printer { buf *out; bool secret_urls; } printer;

/* ---- what is secret ---- */

static const char *const secret_ends[] = { "password", "secret", "secret_key", "token", "api_key", "service_key", "routing_key",
                                           "user_key", "credentials", "authorization", "connection_string", "private_key", "account_key" };
/* Receivers whose address is the key to them. */
static const char *const secret_url_sections[] = { "webhook_configs", "slack_configs", "discord_configs", "msteams_configs", "msteamsv2_configs", "global" };

static bool ends_nocase(str text, str end)
{
    return text.len >= end.len && str_eq_nocase(str_skip(text, text.len - end.len), end);
}

static bool is_secret(const printer *p, str key)
{
    for (size_t i = 0; i < COUNT_OF(secret_ends); i++)
        if (ends_nocase(key, str_from(secret_ends[i])))
            return true;
    return p->secret_urls && (str_is(key, "url") || ends_nocase(key, STR("api_url")) || str_is(key, "webhook_url"));
}

static bool holds_secret_urls(str key)
{
    for (size_t i = 0; i < COUNT_OF(secret_url_sections); i++)
        if (str_is(key, secret_url_sections[i]))
            return true;
    return false;
}

/* The bytes of a password in scheme://user:password@host/…; an empty view if there is none. */
static str url_password(str text)
{
    ptrdiff_t scheme = str_find(text, STR("://"));
    if (scheme < 0)
        return STR_EMPTY;
    str rest = str_skip(text, (size_t)scheme + 3), authority = STR_EMPTY;
    (void)str_split(&rest, '/', &authority);
    size_t at = authority.len;
    while (at > 0 && authority.ptr[at - 1] != '@')
        at--;
    str user = str_sub(authority, 0, at ? at - 1 : 0);
    ptrdiff_t colon = str_find_char(user, ':');
    return colon < 0 ? STR_EMPTY : str_skip(user, (size_t)colon + 1);
}

/* ---- text ---- */

static void indent(const printer *p, int depth)
{
    for (int i = 0; i < depth; i++)
        buf_append(p->out, STR("  "));
}

/* Double quotes as YAML 1.2 section 5.7 and JSON agree on them. */
static void put_quoted(const printer *p, str text)
{
    buf_append_char(p->out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '"' || c == '\\')
            buf_append_char(p->out, '\\'), buf_append_char(p->out, (char)c);
        else if (c == '\n')
            buf_append(p->out, STR("\\n"));
        else if (c < 0x20 || c == 0x7f)
            buf_printf(p->out, "\\x%02x", c);
        else
            buf_append_char(p->out, (char)c);
    }
    buf_append_char(p->out, '"');
}

static void put_scalar(const printer *p, const yaml_node *n)
{
    AUTO(buf_done) buf text = BUF_INIT(CONFIG_MAX_BYTES);
    str password = url_password(n->text);
    size_t from = password.len ? (size_t)(password.ptr - n->text.ptr) : 0;
    if (password.len) {
        buf_append(&text, str_sub(n->text, 0, from));
        buf_append(&text, STR("xxxxx"));
        buf_append(&text, str_skip(n->text, from + password.len));
    }
    str shown = password.len ? buf_str(&text) : n->text;
    if (buf_failed(&text))
        p->out->failed = text.failed;
    else if (n->quoted || str_find_char(shown, '\n') >= 0)
        put_quoted(p, shown);
    else
        buf_append(p->out, shown);
}

/* ---- the tree; its depth is bounded by CONFIG_MAX_DEPTH ---- */

static void put_mapping(printer *p, const yaml_node *n, int depth, bool first_here);

/* What follows "key:" or "-". A mapping behind a dash begins on the dash's line. */
static void put_value(printer *p, const yaml_node *n, int depth, bool behind_dash)
{
    bool mapping = n->kind == YAML_MAPPING, sequence = n->kind == YAML_SEQUENCE;
    if ((mapping || sequence) && n->len == 0) {
        buf_append(p->out, mapping ? STR(" {}\n") : STR(" []\n"));
    } else if (mapping) {
        buf_append_char(p->out, behind_dash ? ' ' : '\n');
        put_mapping(p, n, depth + 1, behind_dash);
    } else if (sequence) {
        buf_append_char(p->out, '\n');
        for (size_t i = 0; i < n->len; i++) {
            indent(p, depth + behind_dash);
            buf_append_char(p->out, '-');
            put_value(p, n->items[i], depth + behind_dash, true);
        }
    } else {
        buf_append_char(p->out, ' ');
        if (n->kind == YAML_NULL)
            buf_append(p->out, STR("null"));
        else
            put_scalar(p, n);
        buf_append_char(p->out, '\n');
    }
}

static void put_mapping(printer *p, const yaml_node *n, int depth, bool first_here)
{
    for (size_t i = 0; i < n->len; i++) {
        str key = n->keys[i]->text;
        const yaml_node *value = n->items[i];
        bool urls = p->secret_urls;
        if (i || !first_here)
            indent(p, depth);
        put_scalar(p, n->keys[i]);
        buf_append_char(p->out, ':');
        if (is_secret(p, key) && value->kind == YAML_SCALAR) {
            buf_append(p->out, STR(" " HIDDEN "\n"));
            continue;
        }
        if (ends_nocase(key, STR("secrets")) && value->kind == YAML_SEQUENCE) {
            buf_append(p->out, STR(" [" HIDDEN "]\n"));
            continue;
        }
        p->secret_urls = urls || holds_secret_urls(key);
        put_value(p, value, depth, false);
        p->secret_urls = urls;
    }
}

void yaml_write_shown(const yaml_doc *doc, buf *out)
{
    printer p = { .out = out };
    if (doc->root->kind == YAML_MAPPING)
        put_mapping(&p, doc->root, 0, false);
}
