#include "query/remote.h"
#include "query/ast.h"
#include "query/tables.h"
#include <pthread.h>
#include <stdio.h>

#define DEFAULT_TIMEOUT_MS 30000
#define FORM_MAX_BYTES (16u << 20)
#define PARSE_ARENA_MAX ((size_t)64 << 20)
/* Times that APIs understand: 1970 to the year 9999. */
#define ASK_MAX_MS INT64_C(253402300799000)

struct query_remote {
    query_remote_options options;
    net_fetcher *fetcher;
    pthread_t loop_thread;
    own_metric *asked, *failed, *seconds, *up;
    pthread_mutex_t lock;         /* guards what follows */
    bool away;
    int64_t since_ms, next_look_ns;
    err why;
};

/* ---- is it there ---- */

/* ERR_UNAVAILABLE while it is away, but for the one who looks again. */
static err_kind may_ask(query_remote *r, err *e)
{
    err_kind k = OK;
    pthread_mutex_lock(&r->lock);
    int64_t now = clock_mono_ns();
    if (r->away && now < r->next_look_ns) {
        char since[CLOCK_ISO_MAX];
        clock_format_iso(since, r->since_ms);
        k = err_set(e, ERR_UNAVAILABLE, "the remote store \"%s\" has been away since %s: %s", r->options.url, since, r->why.message);
        err_hint(e, "Samples wait in the queue meanwhile; galen looks again every %d s.", REMOTE_LOOK_AGAIN_MS / 1000);
    } else if (r->away) {
        r->next_look_ns = now + REMOTE_LOOK_AGAIN_MS * NS_PER_MS;
    }
    pthread_mutex_unlock(&r->lock);
    return k;
}

static void note(query_remote *r, bool answered, const err *why)
{
    pthread_mutex_lock(&r->lock);
    bool changed = r->away == answered;
    if (changed && !answered)
        r->since_ms = clock_now_ms();
    if (!answered) {
        r->why = *why;
        r->next_look_ns = clock_mono_ns() + REMOTE_LOOK_AGAIN_MS * NS_PER_MS;
    }
    r->away = !answered;
    pthread_mutex_unlock(&r->lock);
    own_set(r->up, answered);
    if (changed && answered)
        log_info("remote store answers again", KV_CSTR("url", r->options.url));
    else if (changed)
        log_warn("remote store does not answer, rules keep their states and pages show what they had", KV_CSTR("url", r->options.url), KV_ERR(why));
}

bool query_remote_up(query_remote *r, char *error, size_t cap, int64_t *ret_since_ms)
{
    pthread_mutex_lock(&r->lock);
    bool up = !r->away;
    *ret_since_ms = up ? 0 : r->since_ms;
    str_copy(error, cap, str_from(up ? "" : r->why.message));
    pthread_mutex_unlock(&r->lock);
    return up;
}

/* ---- forms ---- */

static void put_escaped(buf *out, str s)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-_.~", c));
        if (plain) {
            buf_append_char(out, (char)c);
        } else {
            buf_append_char(out, '%');
            buf_append_char(out, hex[c >> 4]);
            buf_append_char(out, hex[c & 15]);
        }
    }
}

static void put_param(buf *form, const char *name, str text)
{
    if (form->len)
        buf_append_char(form, '&');
    put_escaped(form, str_from(name));
    buf_append_char(form, '=');
    put_escaped(form, text);
}

static void put_time(buf *form, const char *name, int64_t t_ms)
{
    char text[40];
    t_ms = MIN(MAX(t_ms, 0), ASK_MAX_MS);
    snprintf(text, sizeof text, "%" PRId64 ".%03d", t_ms / 1000, (int)(t_ms % 1000));
    put_param(form, name, str_from(text));
}

static void put_duration(buf *form, const char *name, int64_t ms)
{
    char text[40];
    snprintf(text, sizeof text, "%" PRId64 "ms", ms);
    put_param(form, name, str_from(text));
}

/* {__name__="up",job=~"a|b"} */
static void put_selector(buf *form, const matcher *m, size_t n)
{
    static const char *const ops[] = { [MATCH_EQ] = "=", [MATCH_NE] = "!=", [MATCH_RE] = "=~", [MATCH_NRE] = "!~" };
    AUTO(buf_done) buf text = BUF_INIT(FORM_MAX_BYTES);
    buf_append_char(&text, '{');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_append_char(&text, ',');
        if (label_name_valid(m[i].name))
            buf_append(&text, m[i].name);
        else
            ast_quote(m[i].name, &text);
        buf_append(&text, str_from(ops[m[i].op]));
        ast_quote(m[i].value, &text);
    }
    buf_append_char(&text, '}');
    put_param(form, "match[]", buf_str(&text));
    if (buf_failed(&text))
        form->failed = text.failed;
}

static void put_extras(const query_remote *r, buf *form)
{
    /* VictoriaMetrics hides the last 30 s otherwise; nobody else minds. */
    put_param(form, "nocache", STR("1"));
    for (size_t i = 0; i < r->options.params.len; i++)
        put_param(form, r->options.params.at[i].key.ptr, r->options.params.at[i].value);
}

/* ---- asking ---- */

static err_kind send_form(query_remote *r, const char *url, const char *method, str form, int64_t timeout_ms, const atomic_bool *cancel, buf *reply, int *ret_status, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    const query_remote_options *o = &r->options;
    http_header *headers = arena_array(&a, http_header, o->header_count + 2);
    if (!headers)
        return err_nomem(e);
    size_t n = 0;
    if (form.len)
        headers[n++] = (http_header){ STR("Content-Type"), STR("application/x-www-form-urlencoded") };
    for (size_t i = 0; i < o->header_count; i++)
        headers[n++] = o->headers[i];
    http_fetch_options f = { .method = method, .url = url, .headers = headers, .body = form, .timeout_ms = timeout_ms,
                             .connect_timeout_ms = MIN(timeout_ms, 2000), .max_body = REMOTE_ANSWER_MAX, .follow_redirects = true };
    err_kind k = o->auth ? http_auth_apply(o->auth, &a, &f, &headers[n], e) : OK;
    f.header_count = n + (headers[n].name.len > 0);
    return k ? k : net_fetcher_ask(r->fetcher, &f, cancel, reply, ret_status, e);
}

/* An answer that is no JSON of the API's: a proxy's page, a wrong address. */
static err_kind check_status(const query_remote *r, int status, const buf *reply, err *e)
{
    str body = str_trim(buf_str(reply));
    if (status / 100 == 2 || (body.len && body.ptr[0] == '{'))
        return OK;
    err_set(e, status / 100 == 5 ? ERR_UNAVAILABLE : ERR_EXEC, "the remote store \"%s\" answered %d: %" STR_FMT, r->options.url, status, STR_ARG(str_sub(body, 0, 200)));
    err_hint(e, "Check store.remote's read_url, headers and credentials.");
    return status / 100 == 5 ? ERR_UNAVAILABLE : ERR_EXEC;
}

/* `form` goes into the body, or with `in_url` behind the path. The reply's bytes into *reply. */
static err_kind ask(query_remote *r, const char *path, const buf *form, bool in_url, int64_t timeout_ms, const atomic_bool *cancel, buf *reply, err *e)
{
    AUTO(buf_done) buf url = BUF_INIT(FORM_MAX_BYTES);
    int status = 0;
    buf_printf(&url, "%s/api/v1/%s%s", r->options.url, path, in_url && form->len ? "?" : "");
    if (in_url)
        buf_append(&url, buf_str(form));
    if (buf_failed(&url) || buf_failed(form))
        return err_set(e, ERR_LIMIT, "the question is too long for the remote store");
    err_kind k = may_ask(r, e);
    if (k)
        return k;
    int64_t started = clock_mono_ns(), most = r->options.timeout_ms;
    timeout_ms = timeout_ms > 0 ? MIN(timeout_ms, most) : most;
    bool on_loop = pthread_equal(pthread_self(), r->loop_thread);
    if (on_loop)
        timeout_ms = MIN(timeout_ms, REMOTE_LOOP_TIMEOUT_MS);
    k = send_form(r, buf_cstr(&url), in_url ? "GET" : "POST", in_url ? STR_EMPTY : buf_str(form), timeout_ms, cancel, reply, &status, e);
    own_add(r->asked, 1);
    own_add(r->seconds, (double)(clock_mono_ns() - started) / 1e9);
    if (!k)
        k = check_status(r, status, reply, e);
    /* A long question of somebody's that takes too long says nothing about the store. */
    bool away = k == ERR_UNAVAILABLE || k == ERR_IO || k == ERR_DENIED || (k == ERR_TIMEOUT && on_loop);
    if (!k || away)
        note(r, !k, e);
    if (k)
        own_add(r->failed, 1);
    if (k && k != ERR_CANCELED && status == 0) {
        err_context(e, "could not ask the remote store \"%s\"", r->options.url);
        k = k == ERR_TIMEOUT || k == ERR_LIMIT ? k : ERR_UNAVAILABLE;
        e->kind = k;
    }
    return k;
}

/* ---- functions that only galen has: their rows say so ---- */

static const ast *find_native(const ast *n)
{
    const ast *found = NULL;
    switch (n->kind) {
    case AST_CALL:
        if (str_starts(str_from(n->call.row->help), STR("galen:")))
            return n;
        for (size_t i = 0; !found && i < n->call.count; i++)
            found = find_native(n->call.args[i]);
        return found;
    case AST_SUBQUERY: return find_native(n->subquery.expr);
    case AST_AGGREGATE:
        found = n->aggregate.param ? find_native(n->aggregate.param) : NULL;
        return found ? found : find_native(n->aggregate.expr);
    case AST_BINARY:
        found = find_native(n->binary.left);
        return found ? found : find_native(n->binary.right);
    case AST_UNARY: return find_native(n->unary.expr);
    case AST_PAREN: return find_native(n->paren.expr);
    default: return NULL;
    }
}

static err_kind check_expression(str expr, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(PARSE_ARENA_MAX);
    ast *root;
    err_kind k = promql_parse(expr, &a, &root, e);
    const ast *native = k ? NULL : find_native(root);
    if (!native)
        return k;
    uint32_t line, column;
    ast_place(expr, native->span.start, &line, &column);
    err_set(e, ERR_EXEC, "function \"%s\" is galen's own and cannot be asked of a remote store", native->call.row->name);
    err_hint(e, "Say it in PromQL, or keep the samples in galen's own store.");
    return err_at(e, line, column);
}

/* ---- the backend ---- */

static err_kind run(void *ctx, const query_request *q, size_t max_samples, query_result *ret, err *e)
{
    query_remote *r = ctx;
    AUTO(buf_done) buf form = BUF_INIT(FORM_MAX_BYTES), reply = BUF_INIT(REMOTE_ANSWER_MAX);
    err_kind k = check_expression(q->expr, e);
    if (k)
        return k;
    put_param(&form, "query", q->expr);
    if (q->step_ms) {
        put_time(&form, "start", q->from_ms);
        put_time(&form, "end", q->to_ms);
        put_duration(&form, "step", q->step_ms);
    } else {
        put_time(&form, "time", q->to_ms);
    }
    if (q->lookback_ms > 0)
        put_duration(&form, "lookback_delta", q->lookback_ms);
    put_extras(r, &form);
    int64_t timeout_ms = q->timeout_ms > 0 ? MAX(q->timeout_ms - q->waited_ms, 1) : 0;
    k = ask(r, q->step_ms ? "query_range" : "query", &form, false, timeout_ms, q->cancel, &reply, e);
    return k ? k : query_remote_decode(buf_str(&reply), q->to_ms, max_samples, ret, e);
}

static void put_sets(query_remote *r, buf *form, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms)
{
    for (size_t i = 0; i < n; i++)
        put_selector(form, sets[i].at, sets[i].len);
    put_time(form, "start", from_ms);
    put_time(form, "end", MIN(to_ms, clock_now_ms())); /* VictoriaMetrics finds nothing when it lies ahead of now */
    put_extras(r, form);
}

static err_kind series(void *ctx, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms, const atomic_bool *cancel, arena *a, labels **ret, size_t *ret_n, err *e)
{
    AUTO(buf_done) buf form = BUF_INIT(FORM_MAX_BYTES), reply = BUF_INIT(REMOTE_ANSWER_MAX);
    put_sets(ctx, &form, sets, n, from_ms, to_ms);
    err_kind k = ask(ctx, "series", &form, false, 0, cancel, &reply, e);
    return k ? k : query_remote_decode_series(buf_str(&reply), a, ret, ret_n, e);
}

static err_kind texts(void *ctx, str label_name, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms, const atomic_bool *cancel, arena *a, str **ret, size_t *ret_n, err *e)
{
    AUTO(buf_done) buf form = BUF_INIT(FORM_MAX_BYTES), reply = BUF_INIT(REMOTE_ANSWER_MAX), path = BUF_INIT(4 * LABEL_MAX_BYTES);
    put_sets(ctx, &form, sets, n, from_ms, to_ms);
    if (label_name.len) {
        buf_append(&path, STR("label/"));
        put_escaped(&path, label_name);
        buf_append(&path, STR("/values"));
    } else {
        buf_append(&path, STR("labels"));
    }
    err_kind k = buf_failed(&path) ? err_nomem(e) : ask(ctx, buf_cstr(&path), &form, true, 0, cancel, &reply, e);
    return k ? k : query_remote_decode_texts(buf_str(&reply), a, ret, ret_n, e);
}

query_backend query_remote_backend(query_remote *r) { return (query_backend){ run, series, texts, r }; }

/* ---- life ---- */

err_kind query_remote_open(const query_remote_options *o, query_remote **ret, err *e)
{
    query_remote *r = mem_zalloc(sizeof *r);
    if (!r)
        return err_nomem(e);
    r->options = *o;
    r->options.timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : DEFAULT_TIMEOUT_MS;
    r->loop_thread = pthread_self();
    pthread_mutex_init(&r->lock, NULL);
    r->asked = own_counter("galen_query_remote_requests_total", NULL, "Questions asked of the remote store.");
    r->failed = own_counter("galen_query_remote_failures_total", NULL, "Questions the remote store did not answer.");
    r->seconds = own_counter("galen_query_remote_seconds_total", NULL, "Time spent waiting for the remote store's answers.");
    r->up = own_gauge("galen_query_remote_up", NULL, "1 if the remote store answered the last question, or none was asked yet.");
    own_set(r->up, 1);
    err_kind k = net_fetcher_open(&r->fetcher, e);
    if (k)
        query_remote_close(r);
    else
        *ret = r;
    return k;
}

void query_remote_close(query_remote *r)
{
    if (!r)
        return;
    net_fetcher_close(r->fetcher);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}
