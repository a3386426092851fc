/* net/http_route.c - who may ask what: the route table and the guard in front of it.
 *
 * The guard comes first, for every request, before its body is read:
 *   Host     must be localhost, an IP address, this machine's name, the configured listen host or external_url's. A page of a
 *            stranger whose name was pointed at 127.0.0.1 (DNS rebinding) sends its own name here.
 *   Origin   if a browser sends one with a changing request, it must be the page we served ourselves; reading by POST
 *            is open to cors_origin's pages where the route says so (http_cors.c).
 *   token    changing routes need `Authorization: Bearer`, local write doors need it beyond loopback.
 * Patterns are matched on the still encoded path, segment by segment, so %2F inside a label's value never makes
 * a new segment. */
#include "net/http_exchange.h"

#include "base/regex.h"
#include <sodium.h>

#define PARAM_MAX COUNT_OF(((http_request *)0)->param)

/* ---- the table ---- */

/* Literal bytes of a pattern; -1 if it has more parameters than a request can hold. */
static int pattern_weight(const char *pattern)
{
    str rest = str_from(pattern), segment;
    size_t params = 0;
    int weight = 0;

    while (str_split(&rest, '/', &segment)) {
        if (segment.len && segment.ptr[0] == ':')
            params++;
        else
            weight += (int)segment.len + 1;
    }
    return params > PARAM_MAX ? -1 : weight;
}

static err_kind check_route(const http_router *r, const http_route *route, err *e)
{
    if (!route->pattern || route->pattern[0] != '/' || !route->handler || !route->methods ||
        pattern_weight(route->pattern) < 0)
        return err_set(e, ERR_INVALID,
                       "cannot add route \"%s\": it needs methods, a handler and a pattern of at most %zu parameters",
                       route->pattern ? route->pattern : "", PARAM_MAX);
    for (size_t i = 0; i < r->routes.len; i++)
        if (strcmp(r->routes.at[i].pattern, route->pattern) == 0 && (r->routes.at[i].methods & route->methods) &&
            ((r->routes.at[i].flags ^ route->flags) & HTTP_ROUTE_PREFIX) == 0)
            return err_set(e, ERR_EXISTS, "cannot add route \"%s\": it is there already", route->pattern);
    return OK;
}

err_kind http_router_add(http_router *r, const http_route *routes, size_t n, err *e)
{
    for (size_t i = 0; i < n; i++) {
        http_route route = routes[i];
        err_kind kind = check_route(r, &route, e);
        if (kind)
            return kind;
        if (route.methods & HTTP_GET)
            route.methods |= HTTP_HEAD;
        if (!route.max_body)
            route.max_body = HTTP_DEFAULT_MAX_BODY;
        route.pattern = mem_dup(route.pattern, strlen(route.pattern) + 1);
        if (!route.pattern)
            return err_nomem(e);
        if (vec_push(&r->routes, route)) {
            mem_free((char *)(uintptr_t)route.pattern);
            return err_nomem(e);
        }
    }
    return OK;
}

void http_router_done(http_router *r)
{
    for (size_t i = 0; i < r->routes.len; i++)
        mem_free((char *)(uintptr_t)r->routes.at[i].pattern);
    vec_done(&r->routes);
    regex_free(r->cors);
    r->cors = NULL;
    if (r->token)
        sodium_memzero(r->token, strlen(r->token));
    mem_free(r->token);
    r->token = NULL;
}

/* ---- matching ---- */

typedef struct path_match {
    str param[PARAM_MAX]; /* still encoded */
    size_t count;
} path_match;

/* Does a literal of the pattern stand for this segment of the path? Both spellings of a character are one. */
static bool segment_is(arena *a, str sent, str literal)
{
    str decoded;

    if (str_find_char(sent, '%') < 0)
        return str_eq(sent, literal);
    return http_unescape(a, sent, false, true, &decoded, NULL) == OK && str_eq(decoded, literal);
}

static bool route_matches(const http_route *route, http_exchange *x, path_match *m)
{
    str pattern = str_from(route->pattern), path = x->raw_path, want, have;

    m->count = 0;
    while (str_split(&pattern, '/', &want)) {
        bool last = !pattern.ptr;
        if (last && str_empty(want) && (route->flags & HTTP_ROUTE_PREFIX) && path.ptr)
            return true;
        if (!str_split(&path, '/', &have))
            return false;
        if (want.len && want.ptr[0] == ':') {
            if (str_empty(have))
                return false;
            m->param[m->count++] = have;
        } else if (last && (route->flags & HTTP_ROUTE_PREFIX)) {
            return str_starts(have, want);
        } else if (!segment_is(&x->arena, have, want)) {
            return false;
        }
    }
    return !path.ptr || (route->flags & HTTP_ROUTE_PREFIX);
}

/* The best route for the path; x->allow: the methods of every route that matches the path; x->cors likewise. */
static const http_route *find_route(const http_router *r, http_exchange *x, path_match *ret_match)
{
    const http_route *best = NULL;
    int best_weight = -1;
    unsigned flags = 0;

    x->allow = 0;
    for (size_t i = 0; i < r->routes.len; i++) {
        const http_route *route = &r->routes.at[i];
        path_match m;
        if (!route_matches(route, x, &m))
            continue;
        x->allow |= route->methods;
        flags |= route->flags;
        int weight = pattern_weight(route->pattern) * 2 + !(route->flags & HTTP_ROUTE_PREFIX);
        if ((route->methods & x->req.method) && weight > best_weight) {
            best = route;
            best_weight = weight;
            *ret_match = m;
        }
    }
    if (flags & HTTP_ROUTE_CORS)
        x->cors = http_cors_answer(r, http_header_get(&x->req, "Origin"));
    return best;
}

/* ---- the guard ---- */

static err_kind deny(http_exchange *x, int status, err_kind kind, const char *message, const char *hint)
{
    x->refuse_status = status;
    err_set(&x->refusal, kind, "%s", message);
    return err_hint(&x->refusal, "%s", hint);
}

static err_kind deny_path(http_exchange *x)
{
    char path[128];

    str_copy(path, sizeof path, x->req.path);
    x->refuse_status = 404;
    err_set(&x->refusal, ERR_NOT_FOUND, "nothing lives at path \"%s\"", path);
    return err_hint(&x->refusal, "The API's paths are listed in galen's documentation.");
}

/* "name", "name:9600", "[::1]:9600" without its port and brackets; false if that is not what it is. */
static bool split_host(str host, str *ret_name)
{
    ptrdiff_t colon = str_find_char(host, ':');
    str port = STR("");

    if (host.len && host.ptr[0] == '[') {
        ptrdiff_t end = str_find_char(host, ']');
        if (end < 0)
            return false;
        *ret_name = str_sub(host, 1, (size_t)end - 1);
        port = str_skip(host, (size_t)end + 1);
        if (port.len && port.ptr[0] != ':')
            return false;
        port = str_skip(port, 1);
    } else {
        *ret_name = colon < 0 ? host : str_sub(host, 0, (size_t)colon);
        port = colon < 0 ? port : str_skip(host, (size_t)colon + 1);
    }
    uint64_t number;
    return ret_name->len && (str_empty(port) || (str_to_u64(port, &number) && number <= 65535));
}

static bool is_address(str name)
{
    char text[64];
    struct sockaddr_in six4;
    struct sockaddr_in6 six6;

    if (name.len >= sizeof text)
        return false;
    str_copy(text, sizeof text, name);
    return uv_ip4_addr(text, 0, &six4) == 0 || uv_ip6_addr(text, 0, &six6) == 0;
}

static bool host_is_ours(const http_router *r, str host)
{
    str name;

    if (!split_host(host, &name))
        return false;
    return str_eq_nocase(name, STR("localhost")) || is_address(name) ||
           (r->listen_host[0] && str_eq_nocase(name, str_from(r->listen_host))) ||
           (r->node_name[0] && str_eq_nocase(name, str_from(r->node_name))) ||
           (r->external_host[0] && str_eq_nocase(name, str_from(r->external_host)));
}

void http_router_set_external(http_router *r, str url)
{
    ptrdiff_t at = str_find(url, STR("://"));
    str rest = at < 0 ? url : str_skip(url, (size_t)at + 3), authority = STR_EMPTY, name;

    (void)str_split(&rest, '/', &authority);
    if (split_host(authority, &name))
        str_copy(r->external_host, sizeof r->external_host, name);
}

static bool changes_something(http_method m) { return !(m & (HTTP_GET | HTTP_HEAD | HTTP_OPTIONS)); }

/* Browsers send Origin as scheme://host[:port]; "null" (a file, a sandboxed frame) is a stranger. */
static bool origin_is_ours(str origin, str host)
{
    ptrdiff_t at = str_find(origin, STR("://"));
    return at > 0 && str_eq_nocase(str_skip(origin, (size_t)at + 3), host);
}

static err_kind guard_host(const http_router *r, http_exchange *x)
{
    str host = http_header_get(&x->req, "Host");

    if (!(x->http_1_0 && !host.ptr) && !host_is_ours(r, host))
        return deny(x, 403, ERR_DENIED, "cannot answer for this Host: galen does not know it as its own",
                    "Ask by IP address, by localhost, or by the name in listen or external_url.");
    return OK;
}

/* `route`: NULL if the request has none. */
static err_kind guard_origin(http_exchange *x, const http_route *route)
{
    str host = http_header_get(&x->req, "Host"), origin = http_header_get(&x->req, "Origin");
    bool may_read = route && (route->flags & HTTP_ROUTE_CORS) && x->cors.len;

    if (changes_something(x->req.method) && origin.ptr && !may_read && !origin_is_ours(origin, host))
        return deny(x, 403, ERR_DENIED, "cannot take a change from another site's page: Origin and Host differ",
                    "Send the request from galen's own page or from a program that sets no Origin.");
    return OK;
}

/* Lengths may leak, the bytes do not: sodium_memcmp takes the same time for any two texts of one length. */
static bool token_fits(const http_router *r, const http_exchange *x)
{
    str auth = http_header_get(&x->req, "Authorization"), scheme = str_sub(auth, 0, 7);
    str token = str_trim(str_skip(auth, 7));
    size_t n = strlen(r->token);

    return str_eq_nocase(scheme, STR("Bearer ")) && token.len == n && n && sodium_memcmp(token.ptr, r->token, n) == 0;
}

static err_kind guard_token(const http_router *r, http_exchange *x, unsigned flags)
{
    bool needed = (flags & HTTP_ROUTE_CHANGES) || ((flags & HTTP_ROUTE_LOCAL) && !r->loopback);

    if (!needed || token_fits(r, x))
        return OK;
    if (!r->token || !r->token[0])
        return deny(x, 403, ERR_DENIED, "cannot change anything here: this server has no API token",
                    "Start galen with a data directory; it makes a token there.");
    return deny(x, 401, ERR_DENIED, "cannot change anything without the API token",
                "Send it as \"Authorization: Bearer TOKEN\"; it is in the file \"token\" in galen's data directory.");
}

/* ---- choosing ---- */

static bool has_dot_segment(str path)
{
    str segment;

    while (str_split(&path, '/', &segment))
        if (str_is(segment, ".") || str_is(segment, ".."))
            return true;
    return false;
}

static bool take_params(http_exchange *x, const path_match *m)
{
    for (size_t i = 0; i < m->count; i++)
        if (http_unescape(&x->arena, m->param[i], false, true, &x->req.param[i], NULL))
            return false;
    return true;
}

static err_kind choose(const http_router *r, http_exchange *x)
{
    path_match m = { 0 };

    if (guard_host(r, x))
        return ERR_DENIED;
    if (has_dot_segment(x->req.path))
        return deny(x, 400, ERR_INVALID, "cannot follow a path with . or .. in it", "Send the path as it is meant.");
    const http_route *route = find_route(r, x, &m);
    if (guard_origin(x, route))
        return ERR_DENIED;
    if (!route && x->allow && x->req.method == HTTP_OPTIONS) {
        x->refuse_status = 204; /* an answer, not a refusal: Allow says it all */
        return ERR_UNSUPPORTED;
    }
    if (!route && x->allow)
        return deny(x, 405, ERR_UNSUPPORTED, "cannot use this method here",
                    "The Allow field names the methods that work.");
    if (!route)
        return deny_path(x);
    if (guard_token(r, x, route->flags))
        return ERR_DENIED;
    if (!take_params(x, &m))
        return deny(x, 503, ERR_NOMEM, "out of memory", "Try again later.");
    x->route = route;
    return OK;
}

void http_router_choose(const http_router *r, http_exchange *x)
{
    if (choose(r, x)) {
        x->body.max = HTTP_DRAIN_MAX;
        return;
    }
    x->req.route_ctx = x->route->ctx;
    x->body.max = x->route->max_body;
    x->arena.max_bytes = HTTP_ARENA_MAX + 2 * x->route->max_body;
}
