/* watch/metadata_http.c - what names mean: /api/v1/metadata and /api/v1/targets/metadata.
 *
 * Source: https://prometheus.io/docs/prometheus/latest/querying/api/#querying-metric-metadata. What targets say of their
 * families, galen's own among them; one family may be told of in several wordings, and each is shown once. ?views=1
 * adds the canonical signals (metric/metric.h). */
#include "watch/watch_room.h"
#include <stdio.h>
#include <stdlib.h>

typedef vec(exposition_meta) family_vec;

/* ---- parameters ---- */

static void reply_bad(http_request *req, const char *text)
{
    AUTO(buf_done) buf out = BUF_INIT(16384);
    json_writer w = json_writer_to(&out);
    json_begin(&w, '{');
    json_put_cstr(&w, "status", "error");
    json_put_cstr(&w, "errorType", "bad_data");
    json_put_cstr(&w, "error", text);
    json_end(&w, '}');
    http_reply(req, 400, "application/json", buf_str(&out));
}

/* -1: no limit. False after a 400. */
static bool read_limit(http_request *req, const char *name, int64_t *ret)
{
    str text;
    char why[80];
    *ret = -1;
    if (!http_param(req, name, &text) || str_empty(text) || str_to_i64(text, ret))
        return true;
    snprintf(why, sizeof why, "%s must be a number", name);
    reply_bad(req, why);
    return false;
}

/* Prometheus says "unknown" where # TYPE was missing; the rest are its words. */
static void put_meta(json_writer *j, exposition_meta m)
{
    json_put_cstr(j, "type", metric_type_name(m.type));
    json_put_str(j, "help", m.help);
    json_put_str(j, "unit", m.unit);
}

/* Everything that targets and senders said about their metrics: first each target's page, then what came by remote
 * write, whose target has no labels. */
typedef struct meta_walk {
    watch *w;
    size_t target, family;
} meta_walk;

static bool meta_next(meta_walk *at, exposition_meta *ret, labels *ret_target)
{
    str pool_name;
    target *t;
    for (; (t = watch_target_at(at->w, at->target, &pool_name)); at->target++, at->family = 0) {
        const page_cache *page = target_page(t);
        if (at->family == page_meta_count(page))
            continue;
        *ret = page_meta_at(page, at->family++);
        *ret_target = target_info_of(t).labels;
        return true;
    }
    const meta_book *received = receiver_metadata(at->w->receiver);
    if (at->family == meta_book_len(received))
        return false;
    *ret = meta_book_at(received, at->family++);
    *ret_target = (labels){ NULL, 0 };
    return true;
}

size_t watch_metadata(watch *w, exposition_meta *ret, size_t cap)
{
    meta_walk at = { .w = w };
    labels from;
    size_t n = 0;
    while (n < cap && meta_next(&at, &ret[n], &from))
        n++;
    return n;
}

/* ---- /api/v1/targets/metadata ---- */

/* False after a 400. */
static bool target_wanted(http_request *req, str selector, labels l, bool *ret)
{
    const watch *w = req->route_ctx;
    err e = { 0 };
    char why[700];
    *ret = true;
    if (str_empty(selector))
        return true;
    if (!w->deps.selects)
        return reply_bad(req, "invalid parameter \"match_target\": not to be had here"), false;
    if (w->deps.selects(w->deps.selects_ctx, selector, l, ret, &e) == OK)
        return true;
    char text[600];
    err_format(text, sizeof text, &e);
    snprintf(why, sizeof why, "invalid parameter \"match_target\": %s", text);
    return reply_bad(req, why), false;
}

void watch_targets_metadata_page(http_request *req)
{
    meta_walk at = { .w = req->route_ctx };
    str metric = STR_EMPTY, selector = STR_EMPTY;
    int64_t limit, put = 0;
    AUTO(buf_done) buf out = BUF_INIT(WATCH_ANSWER_MAX);
    exposition_meta m;
    labels from;
    size_t judged = SIZE_MAX;
    bool wanted = true;
    (void)http_param(req, "metric", &metric);
    (void)http_param(req, "match_target", &selector);
    if (!read_limit(req, "limit", &limit))
        return;
    json_writer j = watch_begin_answer(&out);
    json_begin(&j, '[');
    while ((limit < 0 || put < limit) && meta_next(&at, &m, &from)) {
        if (judged != at.target && !target_wanted(req, selector, from, &wanted))
            return;
        judged = at.target;
        if (!wanted || (metric.len && !str_eq(metric, m.family)))
            continue;
        json_begin(&j, '{');
        labels_json(&j, "target", from);
        if (!metric.len)
            json_put_str(&j, "metric", m.family);
        put_meta(&j, m);
        json_end(&j, '}');
        put++;
    }
    json_end(&j, ']');
    json_end(&j, '}');
    watch_reply_json(req, &out);
}

/* ---- /api/v1/metadata ---- */

CHECKED static err_kind collect_page(const page_cache *page, str metric, family_vec *out)
{
    for (size_t k = 0; page && k < page_meta_count(page); k++) {
        exposition_meta m = page_meta_at(page, k);
        if ((!metric.len || str_eq(metric, m.family)) && vec_push(out, m))
            return ERR_NOMEM;
    }
    return OK;
}

CHECKED static err_kind collect_canonical(str metric, family_vec *out)
{
    for (size_t i = 0; i < canonical_signal_count; i++) {
        const canonical_signal *s = &canonical_signals[i];
        exposition_meta m = { str_from(s->name), str_from(s->help), str_from(s->unit), s->type };
        if ((!metric.len || str_eq(metric, m.family)) && vec_push(out, m))
            return ERR_NOMEM;
    }
    return OK;
}

CHECKED static err_kind collect(watch *w, str metric, bool views, family_vec *out)
{
    meta_walk at = { .w = w };
    exposition_meta m;
    labels from;
    if (collect_page(w->own_page, metric, out))
        return ERR_NOMEM;
    while (meta_next(&at, &m, &from))
        if ((!metric.len || str_eq(metric, m.family)) && vec_push(out, m))
            return ERR_NOMEM;
    return views ? collect_canonical(metric, out) : OK;
}

static int by_family(const void *a, const void *b)
{
    const exposition_meta *x = a, *y = b;
    int c = str_cmp(x->family, y->family);
    c = c ? c : (int)x->type - (int)y->type;
    c = c ? c : str_cmp(x->help, y->help);
    return c ? c : str_cmp(x->unit, y->unit);
}

static void put_families(json_writer *j, const family_vec *all, int64_t limit, int64_t per_metric)
{
    json_begin(j, '{');
    for (size_t i = 0, n; i < all->len && limit != 0; i += n, limit -= limit > 0) {
        int64_t left = per_metric > 0 ? per_metric : INT64_MAX;
        json_key_str(j, all->at[i].family);
        json_begin(j, '[');
        for (n = 0; i + n < all->len && str_eq(all->at[i + n].family, all->at[i].family); n++) {
            if ((n && by_family(&all->at[i + n - 1], &all->at[i + n]) == 0) || left-- <= 0)
                continue;
            json_begin(j, '{');
            put_meta(j, all->at[i + n]);
            json_end(j, '}');
        }
        json_end(j, ']');
    }
    json_end(j, '}');
    json_end(j, '}');
}

void watch_metadata_page(http_request *req)
{
    str metric = STR_EMPTY, views;
    int64_t limit, per_metric;
    family_vec all = { 0 };
    AUTO(buf_done) buf out = BUF_INIT(WATCH_ANSWER_MAX);
    (void)http_param(req, "metric", &metric);
    if (!read_limit(req, "limit", &limit) || !read_limit(req, "limit_per_metric", &per_metric))
        return;
    bool want_views = http_param(req, "views", &views) && str_is(views, "1");
    if (collect(req->route_ctx, metric, want_views, &all)) {
        http_reply_err(req, &(err){ .kind = ERR_NOMEM, .message = "out of memory" });
    } else {
        if (all.len > 1)
            qsort(all.at, all.len, sizeof *all.at, by_family);
        json_writer j = watch_begin_answer(&out);
        put_families(&j, &all, limit, per_metric);
        watch_reply_json(req, &out);
    }
    vec_done(&all);
}
