/* main/external_labels.c - the labels that tell this galen's series from another's wherever they leave the house.
 *
 * prometheus.yml: global.external_labels; galen.yml: store.external_labels. Federation, remote read and remote write add
 * them to series that lack them; templates see them as $externalLabels. ${NAME} and $NAME in a value are the environment's
 * (as in Prometheus 3, os.Expand), $$ is a dollar. */
#include "main/settings.h"
#include <stdlib.h>

#define EXPANDED_MAX_BYTES LABEL_MAX_BYTES

static bool is_name_char(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; }

/* The name behind a '$' at the front of `rest`; *ret_used: how many bytes it took, braces included. */
static str variable(str rest, size_t *ret_used)
{
    ptrdiff_t end = rest.len && rest.ptr[0] == '{' ? str_find_char(rest, '}') : -1;
    size_t n = 0;
    if (end > 0) {
        *ret_used = (size_t)end + 1;
        return str_sub(rest, 1, (size_t)end - 1);
    }
    while (n < rest.len && is_name_char(rest.ptr[n]))
        n++;
    *ret_used = n;
    return str_sub(rest, 0, n);
}

static void put_environment(str name, buf *out)
{
    char text[256];
    str_copy(text, sizeof text, name);
    const char *value = name.len < sizeof text ? getenv(text) : NULL;
    if (value)
        buf_append(out, str_from(value));
    else
        log_warn("an external label names a variable that is not set", KV_STR("variable", name));
}

static void expand(str text, buf *out)
{
    for (size_t i = 0, used; i < text.len; i++) {
        if (text.ptr[i] != '$') {
            buf_append_char(out, text.ptr[i]);
        } else if (i + 1 < text.len && text.ptr[i + 1] == '$') {
            buf_append_char(out, '$');
            i++;
        } else {
            put_environment(variable(str_skip(text, i + 1), &used), out);
            i += used;
        }
    }
}

static err_kind one_label(const yaml_doc *doc, const yaml_node *at, str name, str text, arena *a, label *ret, err *e)
{
    AUTO(buf_done) buf value = BUF_INIT(EXPANDED_MAX_BYTES);
    expand(text, &value);
    if (!label_name_valid(name) || str_eq(name, METRIC_NAME)) {
        yaml_error(doc, at, e, "\"%" STR_FMT "\" is not a valid external label name", STR_ARG(name));
        return ERR_INVALID;
    }
    *ret = (label){ name, arena_str(a, buf_str(&value)) };
    return buf_failed(&value) || !ret->value.ptr ? err_nomem(e) : OK;
}

err_kind external_labels_parse(const yaml_doc *doc, const yaml_node *at, arena *a, labels *ret, err *e)
{
    size_t n = 0;
    err_kind k = at ? config_mapping(doc, at, "external_labels", e) : OK;
    if (k || !at)
        return k;
    if (at->len > LABELS_MAX)
        return yaml_error(doc, at, e, "more than %d external labels", LABELS_MAX);
    label *out = arena_array(a, label, at->len + 1);
    if (!out)
        return err_nomem(e);
    for (; n < at->len; n++) {
        str text;
        const yaml_node *key = at->keys[n];
        if ((k = config_str(doc, at->items[n], a, &text, e)) ||
            (k = one_label(doc, key, arena_str(a, key->text), text, a, &out[n], e)))
            return k;
    }
    if ((k = labels_normalise(out, &n, e)))
        return k;
    *ret = (labels){ out, n };
    return OK;
}
