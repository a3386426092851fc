/* /series, /labels, /label/…/values: what there is to ask about. */
#include "query/api.h"
#include <stdlib.h>

#define META_ARENA_MAX ((size_t)256 << 20)

static void finish(job *j, bool cut)
{
    static const str warning[] = { STR_INIT("results truncated due to limit") };
    job_end(j, warning, cut, NULL, 0);
}

/* ---- series ---- */

static int by_labels(const void *a, const void *b)
{
    return labels_cmp(*(const labels *)a, *(const labels *)b);
}

typedef vec(labels) labels_vec;

/* With canonical names rewritten: ?views=1. */
CHECKED static err_kind collect_views(job *j, arena *a, labels_vec *out, err *e)
{
    for (size_t i = 0; i < j->set_count; i++) {
        labels *found;
        size_t n;
        if (query_series_labels(j->http->engine, j->sets[i].at, j->sets[i].len, j->query.from_ms, j->query.to_ms, a, &found, &n, e))
            return e->kind;
        for (size_t k = 0; k < n; k++)
            if (vec_push(out, found[k]))
                return err_nomem(e);
    }
    if (out->len > 1)
        qsort(out->at, out->len, sizeof *out->at, by_labels);
    return OK;
}

CHECKED static err_kind collect_series(job *j, store_selection **selections, labels_vec *out, err *e)
{
    size_t most = query_engine_options(j->http->engine)->max_series;
    select_limits limits = { .max_series = j->query.max_series ? MIN(most, j->query.max_series) : most };
    for (size_t i = 0; i < j->set_count; i++) {
        if (atomic_load(&j->cancel))
            return err_set(e, ERR_CANCELED, "query was canceled");
        if (store_select(j->http->store, j->sets[i].at, j->sets[i].len, j->query.from_ms, j->query.to_ms, &limits, &selections[i], e))
            return e->kind;
        for (size_t k = 0; k < store_select_len(selections[i]); k++)
            if (vec_push(out, store_select_labels(selections[i], k)))
                return err_nomem(e);
    }
    if (j->set_count > 1 && out->len > 1)
        qsort(out->at, out->len, sizeof *out->at, by_labels);
    return OK;
}

static void put_series(job *j, const labels_vec *found)
{
    bool cut = false;
    size_t written = 0;
    api_begin(&j->body);
    json_writer w = json_writer_to(&j->body);
    json_begin(&w, '[');
    for (size_t i = 0; i < found->len && !cut; i++) {
        if (i && labels_eq(found->at[i - 1], found->at[i]))
            continue; /* selectors may overlap */
        cut = j->query.limit && written == j->query.limit;
        if (!cut)
            labels_json(&w, NULL, found->at[i]), written++;
    }
    json_end(&w, ']');
    finish(j, cut);
}

static void run_series(job *j)
{
    if (!job_matches(j))
        return;
    store_selection *selections[QUERY_MATCHES_MAX] = { NULL };
    labels_vec found = { 0 };
    arena a = ARENA_INIT(META_ARENA_MAX);
    err e = { 0 };
    bool whole = j->want_views || query_engine_backend(j->http->engine);
    if (whole ? collect_views(j, &a, &found, &e) : collect_series(j, selections, &found, &e))
        job_fail(j, &e, NULL);
    else
        put_series(j, &found);
    vec_done(&found);
    arena_done(&a);
    for (size_t i = 0; i < j->set_count; i++)
        store_select_free(selections[i]);
}

/* ---- names and values ---- */

/* Canonical names that would be answered now, in the table's order. A histogram answers by its parts. */
CHECKED static err_kind view_names(job *j, arena *a, str *names, size_t *ret_n, err *e)
{
    static const char *const parts[] = { "_bucket", "_count", "_sum" };
    for (size_t i = 0; i < canonical_signal_count; i++) {
        const canonical_signal *signal = &canonical_signals[i];
        bool in_parts = signal->type == METRIC_HISTOGRAM;
        for (size_t k = 0; k < (in_parts ? COUNT_OF(parts) : 1); k++) {
            labels *found;
            size_t n;
            str name = arena_printf(a, "%s%s", signal->name, in_parts ? parts[k] : "");
            matcher m = { .name = METRIC_NAME, .value = name, .op = MATCH_EQ };
            if (!name.ptr)
                return err_nomem(e);
            if (query_series_labels(j->http->engine, &m, 1, j->query.from_ms, j->query.to_ms, a, &found, &n, e))
                return e->kind;
            if (n)
                names[(*ret_n)++] = name;
        }
    }
    return OK;
}

static int by_text(const void *a, const void *b)
{
    return str_cmp(*(const str *)a, *(const str *)b);
}

/* Merge the names of views into the sorted list of stored ones. */
CHECKED static err_kind add_view_names(job *j, arena *a, str **names, size_t *n, err *e)
{
    str *all = arena_array(a, str, *n + 3 * canonical_signal_count + 1);
    size_t kept = 0, len = *n;
    if (!all)
        return err_nomem(e);
    if (*n)
        memcpy(all, *names, *n * sizeof *all);
    if (view_names(j, a, all, &len, e))
        return e->kind;
    qsort(all, len, sizeof *all, by_text);
    for (size_t i = 0; i < len; i++)
        if (kept == 0 || !str_eq(all[kept - 1], all[i]))
            all[kept++] = all[i];
    *names = all;
    *n = kept;
    return OK;
}

static void run_names(job *j)
{
    if (!job_matches(j))
        return;
    arena a = ARENA_INIT(META_ARENA_MAX);
    str *found = NULL;
    size_t n = 0;
    err e = { 0 };
    query_request *q = &j->query;
    const query_backend *remote = query_engine_backend(j->http->engine);
    err_kind k = remote ? remote->texts(remote->ctx, j->label, j->sets, j->set_count, q->from_ms, q->to_ms, &j->cancel, &a, &found, &n, &e)
                 : j->label.ptr ? store_label_values(j->http->store, j->label, j->sets, j->set_count, q->from_ms, q->to_ms, &a, &found, &n, &e)
                              : store_label_names(j->http->store, j->sets, j->set_count, q->from_ms, q->to_ms, &a, &found, &n, &e);
    if (!k && !remote && j->want_views && str_eq(j->label, METRIC_NAME) && j->set_count == 0)
        k = add_view_names(j, &a, &found, &n, &e);
    if (k) {
        job_fail(j, &e, NULL);
        arena_done(&a);
        return;
    }
    bool cut = q->limit && n > q->limit;
    api_begin(&j->body);
    json_writer w = json_writer_to(&j->body);
    json_begin(&w, '[');
    for (size_t i = 0; i < (cut ? q->limit : n); i++)
        json_str(&w, found[i]);
    json_end(&w, ']');
    finish(j, cut);
    arena_done(&a);
}

/* ---- pages ---- */

static bool params(http_request *req, job *j)
{
    str text;
    j->want_views = http_param(req, "views", &text) && str_is(text, "1");
    j->may_run_here = !j->want_views;
    return api_time(req, "start", false, API_MIN_TIME_MS, &j->query.from_ms) &&
           api_time(req, "end", false, API_MAX_TIME_MS, &j->query.to_ms) && api_limit(req, &j->query.limit) && api_matches(req, j);
}

static void start_or_drop(job *j, bool ok)
{
    if (ok)
        job_start(j);
    else
        job_drop(j);
}

void page_series(http_request *req)
{
    job *j = job_new(req, run_series);
    if (!j)
        return;
    bool ok = params(req, j);
    if (ok && j->match_count == 0) {
        api_error(req, 400, "bad_data", "no match[] parameter provided");
        ok = false;
    }
    start_or_drop(j, ok);
}

void page_labels(http_request *req)
{
    job *j = job_new(req, run_names);
    if (j)
        start_or_drop(j, params(req, j));
}

/* U__a_2e_b is how a path spells the label "a.b" (common/model, ValueEncodingEscaping); code points are hexadecimal. */
static str unescape_name(str name, arena *a)
{
    if (!str_starts(name, STR("U__")))
        return arena_str(a, name);
    str rest = str_skip(name, 3);
    AUTO(buf_done) buf out = BUF_INIT(LABEL_MAX_BYTES);
    for (size_t i = 0; i < rest.len; i++) {
        if (rest.ptr[i] != '_') {
            buf_append_char(&out, rest.ptr[i]);
        } else if (i + 1 < rest.len && rest.ptr[i + 1] == '_') {
            buf_append_char(&out, '_');
            i++;
        } else {
            unsigned code = 0;
            for (i++; i < rest.len && rest.ptr[i] != '_' && hex_digit(rest.ptr[i]) >= 0 && code < 0x110000; i++)
                code = code * 16 + (unsigned)hex_digit(rest.ptr[i]);
            if (i >= rest.len || rest.ptr[i] != '_' || code > 0x7f)
                return arena_str(a, name); /* not escaped after all */
            buf_append_char(&out, (char)code);
        }
    }
    return arena_str(a, buf_str(&out));
}

void page_label_values(http_request *req)
{
    job *j = job_new(req, run_names);
    if (!j)
        return;
    j->label = unescape_name(req->param[0], &j->arena);
    if (!j->label.ptr || j->label.len == 0 || !str_utf8_valid(j->label)) {
        api_error(req, 400, "bad_data", "invalid label name: \"%" STR_FMT "\"", STR_ARG(req->param[0]));
        job_drop(j);
        return;
    }
    start_or_drop(j, params(req, j));
}
