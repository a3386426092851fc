/* alert/alert_route.c - the tree of routes: who is told about which alert, and in which groups. */
#include "alert/alert_config.h"

#include <stdio.h>

#include "base/regex.h"

#define GROUP_WAIT_MS (30 * MS_PER_S)
#define GROUP_INTERVAL_MS (5 * 60 * MS_PER_S)
#define REPEAT_INTERVAL_MS (4 * 3600 * MS_PER_S)

/* ---- matchers ---- */

static err_kind add_matcher(alert_config *c, str name, match_op op, str value, matcher *m, err *e)
{
    *m = (matcher){ .name = arena_str(&c->arena, name), .value = arena_str(&c->arena, value), .op = op };
    if (!m->name.ptr || !m->value.ptr)
        return err_nomem(e);
    if (op == MATCH_EQ || op == MATCH_NE)
        return OK;
    regex *re;
    err_kind k = regex_compile(m->value, true, &re, e);
    if (k)
        return k;
    if (vec_push(&c->regexes, re)) {
        regex_free(re);
        return err_nomem(e);
    }
    m->re = re;
    return OK;
}

/* "..." with \" \\ \n; without quotes the text as it is. */
static err_kind unquote(arena *a, str text, str *ret, err *e)
{
    if (text.len < 2 || text.ptr[0] != '"' || text.ptr[text.len - 1] != '"')
        return *ret = text, OK;
    char *out = arena_alloc(a, text.len);
    size_t n = 0;
    if (!out)
        return err_nomem(e);
    for (size_t i = 1; i + 1 < text.len; i++) {
        bool escaped = text.ptr[i] == '\\' && i + 2 < text.len;
        i += escaped;
        out[n++] = escaped && text.ptr[i] == 'n' ? '\n' : text.ptr[i];
    }
    return *ret = str_of(out, n), OK;
}

static err_kind parse_one(alert_config *c, str text, matcher *m, err *e)
{
    static const struct { const char *text; match_op op; } ops[] = { { "=~", MATCH_RE }, { "!~", MATCH_NRE }, { "!=", MATCH_NE }, { "=", MATCH_EQ } };
    size_t at = 0;
    str value;
    while (at < text.len && text.ptr[at] != '=' && text.ptr[at] != '!')
        at++;
    str name = str_trim(str_sub(text, 0, at)), rest = str_skip(text, at);
    for (size_t i = 0; i < COUNT_OF(ops); i++) {
        if (!str_starts(rest, str_from(ops[i].text)))
            continue;
        err_kind k = unquote(&c->arena, name, &name, e);
        if (k || (k = unquote(&c->arena, str_trim(str_skip(rest, strlen(ops[i].text))), &value, e)))
            return k;
        if (!label_name_valid(name))
            return err_set(e, ERR_PARSE, "invalid label name \"%" STR_FMT "\" in matcher", STR_ARG(name));
        return add_matcher(c, name, ops[i].op, value, m, e);
    }
    err_set(e, ERR_PARSE, "bad matcher \"%" STR_FMT "\"", STR_ARG(text));
    return err_hint(e, "Write it like severity=\"critical\" or instance=~\"web.*\".");
}

/* Take the part before the first comma outside quotes. */
static bool next_part(str *rest, str *ret)
{
    bool quoted = false;
    size_t i = 0;
    if (rest->len == 0)
        return false;
    for (; i < rest->len && (quoted || rest->ptr[i] != ','); i++) {
        if (rest->ptr[i] == '\\' && quoted)
            i++;
        else if (rest->ptr[i] == '"')
            quoted = !quoted;
    }
    *ret = str_trim(str_sub(*rest, 0, i));
    *rest = str_skip(*rest, i + 1);
    return true;
}

err_kind matchers_parse(alert_config *c, str text, matcher **ret, size_t *ret_n, err *e)
{
    vec(matcher) all = { 0 };
    str part;
    err_kind k = OK;

    text = str_trim(text);
    if (text.len >= 2 && text.ptr[0] == '{' && text.ptr[text.len - 1] == '}')
        text = str_sub(text, 1, text.len - 2);
    while (!k && next_part(&text, &part)) {
        matcher m;
        if (part.len && !(k = parse_one(c, part, &m, e)) && vec_push(&all, m))
            k = err_nomem(e);
    }
    *ret_n = all.len;
    *ret = arena_dup(&c->arena, all.len ? all.at : &(matcher){ 0 }, MAX(all.len, (size_t)1) * sizeof **ret);
    vec_done(&all);
    return k ? k : *ret ? OK : err_nomem(e);
}

bool matchers_match(const matcher *m, size_t n, labels l)
{
    for (size_t i = 0; i < n; i++)
        if (!matcher_match(&m[i], labels_get(l, m[i].name)))
            return false;
    return true;
}

/* ---- the tree ---- */

static bool match_below(const alert_route *r, labels l, void (*fn)(void *ctx, const alert_route *r), void *ctx)
{
    bool any = false;
    if (!matchers_match(r->matchers, r->matcher_count, l))
        return false;
    for (size_t i = 0; i < r->len; i++) {
        bool matched = match_below(&r->routes[i], l, fn, ctx);
        any |= matched;
        if (matched && !r->routes[i].go_on)
            break;
    }
    if (!any)
        fn(ctx, r);
    return true;
}

void route_match(const alert_route *r, labels l, void (*fn)(void *ctx, const alert_route *r), void *ctx)
{
    if (r)
        match_below(r, l, fn, ctx);
}

typedef struct raw_route {
    str receiver;
    config_strs group_by, matchers;
    config_pairs match, match_re;
    bool go_on;
    int64_t group_wait_ms, group_interval_ms, repeat_interval_ms;
    const yaml_node *routes;
} raw_route;

static const config_field route_fields[] = {
    { "receiver", CONFIG_STR, offsetof(raw_route, receiver), .help = "name of the receiver; default: the parent's" },
    { "group_by", CONFIG_STR_LIST, offsetof(raw_route, group_by), .help = "alerts alike in these labels are told together; '...': all labels" },
    { "continue", CONFIG_BOOL, offsetof(raw_route, go_on), .help = "go on with the next route although this one matched" },
    { "matchers", CONFIG_STR_LIST, offsetof(raw_route, matchers), .help = "which alerts: severity=\"critical\"" },
    { "match", CONFIG_STR_MAP, offsetof(raw_route, match), .help = "the older form: label: value" },
    { "match_re", CONFIG_STR_MAP, offsetof(raw_route, match_re), .help = "the older form: label: regular expression" },
    { "group_wait", CONFIG_DURATION, offsetof(raw_route, group_wait_ms), .help = "collect a new group for so long before telling (30s)" },
    { "group_interval", CONFIG_DURATION, offsetof(raw_route, group_interval_ms), .help = "tell changes of a group that often at most (5m)" },
    { "repeat_interval", CONFIG_DURATION, offsetof(raw_route, repeat_interval_ms), .help = "tell again what still fires after so long (4h)" },
    { "mute_time_intervals", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
    { "active_time_intervals", CONFIG_IGNORED, 0, .help = "accepted, without effect so far" },
    { "routes", CONFIG_NODE, offsetof(raw_route, routes), .help = "routes below this one" },
};

static const receiver *find_receiver(const alert_config *c, str name)
{
    for (size_t i = 0; i < c->receiver_count; i++)
        if (str_eq(c->receivers[i].name, name))
            return &c->receivers[i];
    return NULL;
}

static err_kind put_pairs(alert_config *c, const config_pairs *pairs, match_op op, matcher *m, size_t *n, err *e)
{
    for (size_t i = 0; i < pairs->len; i++) {
        err_kind k = add_matcher(c, pairs->at[i].key, op, pairs->at[i].value, &m[*n], e);
        if (k)
            return k;
        (*n)++;
    }
    return OK;
}

/* matchers, match and match_re together, into r->matchers. */
static err_kind collect_matchers(alert_config *c, const raw_route *raw, alert_route *r, err *e)
{
    size_t n = 0, parsed;
    matcher *list;
    vec(matcher) all = { 0 };
    err_kind k = OK;

    for (size_t i = 0; !k && i < raw->matchers.len; i++) {
        k = matchers_parse(c, raw->matchers.at[i], &list, &parsed, e);
        for (size_t j = 0; !k && j < parsed; j++)
            k = vec_push(&all, list[j]) ? err_nomem(e) : OK;
    }
    r->matchers = k ? NULL : arena_array(&c->arena, matcher, all.len + raw->match.len + raw->match_re.len + 1);
    if (!k && !r->matchers)
        k = err_nomem(e);
    if (!k && all.len)
        memcpy(r->matchers, all.at, all.len * sizeof *all.at);
    n = all.len;
    vec_done(&all);
    if (k || (k = put_pairs(c, &raw->match, MATCH_EQ, r->matchers, &n, e)) || (k = put_pairs(c, &raw->match_re, MATCH_RE, r->matchers, &n, e)))
        return k;
    r->matcher_count = n;
    return OK;
}

static err_kind make_key(alert_config *c, const alert_route *parent, alert_route *r, err *e)
{
    static const char *const ops[] = { [MATCH_EQ] = "=", [MATCH_NE] = "!=", [MATCH_RE] = "=~", [MATCH_NRE] = "!~" };
    AUTO(buf_done) buf b = BUF_INIT(64u << 10);
    if (parent)
        buf_printf(&b, "%" STR_FMT "/", STR_ARG(parent->key));
    buf_append_char(&b, '{');
    for (size_t i = 0; i < r->matcher_count; i++)
        buf_printf(&b, "%s%" STR_FMT "%s\"%" STR_FMT "\"", i ? "," : "", STR_ARG(r->matchers[i].name), ops[r->matchers[i].op], STR_ARG(r->matchers[i].value));
    buf_append_char(&b, '}');
    r->key = arena_str(&c->arena, buf_str(&b));
    return buf_failed(&b) || !r->key.ptr ? err_nomem(e) : OK;
}

static bool given(const yaml_node *at, const char *key) { return yaml_get(at, key) != NULL; }

static void inherit(const yaml_node *at, const raw_route *raw, const alert_route *parent, alert_route *r)
{
    r->group_wait_ms = given(at, "group_wait") ? raw->group_wait_ms : parent ? parent->group_wait_ms : GROUP_WAIT_MS;
    r->group_interval_ms = given(at, "group_interval") ? raw->group_interval_ms : parent ? parent->group_interval_ms : GROUP_INTERVAL_MS;
    r->repeat_interval_ms = given(at, "repeat_interval") ? raw->repeat_interval_ms : parent ? parent->repeat_interval_ms : REPEAT_INTERVAL_MS;
    r->group_by = given(at, "group_by") ? raw->group_by : parent ? parent->group_by : (config_strs){ 0 };
    for (size_t i = 0; i < r->group_by.len; i++)
        r->group_by_all |= str_is(r->group_by.at[i], "...");
}

static err_kind parse_below(alert_config *c, const yaml_doc *doc, const yaml_node *list, const alert_route *parent, int depth, alert_route *r, err *e)
{
    err_kind k = config_sequence(doc, list, "routes", e);
    if (k || !list || list->kind != YAML_SEQUENCE)
        return k;
    r->routes = arena_array(&c->arena, alert_route, list->len + 1);
    if (!r->routes)
        return err_nomem(e);
    for (; r->len < list->len; r->len++)
        if ((k = alert_route_parse(c, doc, list->items[r->len], parent, depth, &r->routes[r->len], e)))
            return k;
    return OK;
}

err_kind alert_route_parse(alert_config *c, const yaml_doc *doc, const yaml_node *at, const alert_route *parent, int depth, alert_route *ret, err *e)
{
    raw_route raw = { 0 };
    err inner = { 0 };
    err_kind k;

    if (depth > ROUTE_MAX_DEPTH)
        return yaml_error(doc, at, e, "routes nested deeper than %d", ROUTE_MAX_DEPTH);
    if (at->kind != YAML_MAPPING)
        return yaml_error(doc, at, e, "a route must be a mapping");
    if ((k = config_bind(doc, at, route_fields, COUNT_OF(route_fields), &raw, &c->arena, e)))
        return k;
    ret->go_on = raw.go_on;
    inherit(at, &raw, parent, ret);
    if (collect_matchers(c, &raw, ret, &inner))
        return inner.kind == ERR_NOMEM ? err_nomem(e) : (yaml_error(doc, at, e, "%s", inner.message), inner.hint[0] ? err_hint(e, "%s", inner.hint) : ERR_PARSE);
    if (!parent && ret->matcher_count)
        return yaml_error(doc, at, e, "the root route must not have any matchers: it takes what no other route took");
    ret->to = raw.receiver.len ? find_receiver(c, raw.receiver) : parent ? parent->to : NULL;
    if (!ret->to && raw.receiver.len)
        return yaml_error(doc, yaml_get(at, "receiver"), e, "undefined receiver \"%" STR_FMT "\" used in route", STR_ARG(raw.receiver));
    if (!ret->to)
        return yaml_error(doc, at, e, "the root route must name a receiver");
    if (ret->group_interval_ms <= 0 || ret->repeat_interval_ms <= 0)
        return yaml_error(doc, at, e, "group_interval and repeat_interval cannot be zero");
    if ((k = make_key(c, parent, ret, e)))
        return k;
    return parse_below(c, doc, raw.routes, ret, depth + 1, ret, e);
}
