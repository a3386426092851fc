/* alert/evaluate.c - from a rule's expression to series, states and what people are told. */
#include "alert/evaluate.h"

#include <stdio.h>
#include <stdlib.h>

#define EVAL_MAX_BYTES (256u << 20)
#define ALERTNAME STR("alertname")
#define ALERTSTATE STR("alertstate")

/* One evaluation of one rule. Everything here dies with it. */
typedef struct evaluation {
    const eval_deps *deps;
    rule_group *group;
    rule *rule;
    int64_t now_ms, t_ms;       /* t_ms: the moment that is asked for */
    arena arena;
    query_result result;
    err e;
    bool over_limit;
} evaluation;

/* A series of the result on its way to becoming an alert or a recorded sample. */
typedef struct found {
    labels labels;              /* as it will be */
    uint64_t hash;
    labels source;              /* as it came: what templates see */
    double value;
} found;

/* ---- templates ---- */

static err_kind template_query(void *ctx, str expr, arena *a, template_sample **ret, size_t *ret_n, err *e)
{
    evaluation *ev = ctx;
    query_result r = { 0 };
    err_kind k = ev->deps->query(ev->deps->query_ctx, expr, ev->t_ms, &r, e);
    template_sample *out = k ? NULL : arena_array(a, template_sample, r.len + 1);
    for (size_t i = 0; out && i < r.len; i++) {
        labels_builder b;
        labels_start_from(&b, a, r.series[i].labels);
        labels l = labels_finish(&b);
        label *copy = arena_dup(a, l.len ? l.at : (label[1]){ 0 }, MAX(l.len, (size_t)1) * sizeof *copy);
        for (size_t n = 0; copy && n < l.len; n++)
            copy[n] = (label){ arena_str(a, l.at[n].name), arena_str(a, l.at[n].value) };
        out[i] = (template_sample){ { copy, copy ? l.len : 0 }, r.series[i].len ? r.series[i].at[0].v : 0 };
    }
    if (!k && !out)
        k = err_set(e, ERR_LIMIT, "the query in the template answers with too much");
    if (!k) {
        *ret = out;
        *ret_n = r.len;
    }
    query_result_done(&r);
    return k;
}

/* Expand into `a`. A template that fails is shown, not fatal: the alert must get out (as in Prometheus). */
static str expand(evaluation *ev, const rule_text *t, const found *f, arena *a)
{
    AUTO(buf_done) buf out = BUF_INIT(TEMPLATE_MAX_OUTPUT);
    err e = { 0 };
    template_data d = { .labels = f->source, .value = f->value, .external_url = ev->deps->external_url,
                        .external_labels = ev->deps->external_labels, .now_ms = ev->t_ms,
                        .query = template_query, .query_ctx = ev };
    err_kind k = template_run(t->template, &d, &out, &e);
    if (k == ERR_NOMEM)
        return STR_EMPTY;
    return k ? arena_printf(a, "<error expanding template: %s>", e.message) : arena_str(a, buf_str(&out));
}

/* ---- the result's series ---- */

static err_kind query_rule(evaluation *ev)
{
    err_kind k = ev->deps->query(ev->deps->query_ctx, ev->rule->expr, ev->t_ms, &ev->result, &ev->e);
    if (!k && ev->result.type != QUERY_VECTOR && ev->result.type != QUERY_SCALAR)
        k = err_set(&ev->e, ERR_EXEC, "rule result is not a vector or scalar");
    return k;
}

/* The rule's labels over the series' own; for alerts the metric's name goes and the alert's comes. */
static err_kind merge_labels(evaluation *ev, found *f)
{
    labels_builder b;
    const rule *r = ev->rule;
    labels_start_from(&b, &ev->arena, f->source);
    labels_put(&b, METRIC_NAME, r->alerting ? STR_EMPTY : r->name);
    for (size_t i = 0; i < r->label_count; i++) {
        str text = r->alerting ? expand(ev, &r->labels[i], f, &ev->arena) : r->labels[i].text;
        if (!text.ptr)
            return err_nomem(&ev->e);
        labels_put(&b, r->labels[i].name, text);
    }
    if (r->alerting)
        labels_put(&b, ALERTNAME, r->name);
    labels l = labels_finish(&b);
    label *copy = b.failed ? NULL : arena_dup(&ev->arena, l.len ? l.at : (label[1]){ 0 }, MAX(l.len, (size_t)1) * sizeof *copy);
    if (!copy)
        return err_set(&ev->e, ERR_NOMEM, "could not make the labels of a result of \"%" STR_FMT "\"", STR_ARG(r->name));
    f->labels = (labels){ copy, l.len };
    f->hash = labels_hash(f->labels);
    return OK;
}

static int found_by_hash(const void *a, const void *b)
{
    uint64_t x = ((const found *)a)->hash, y = ((const found *)b)->hash;
    return x < y ? -1 : x > y;
}

static err_kind refuse_duplicates(evaluation *ev, const found *all, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n && all[k].hash == all[i].hash; k++)
            if (labels_eq(all[i].labels, all[k].labels))
                return err_set(&ev->e, ERR_EXEC, "vector contains metrics with the same labelset after applying %s labels",
                               ev->rule->alerting ? "alert" : "rule");
    return OK;
}

static err_kind check_limit(evaluation *ev, size_t n)
{
    int64_t limit = ev->group->limit;
    if (limit > 0 && n > (size_t)limit)
        return err_set(&ev->e, ERR_LIMIT, "exceeded limit of %" PRId64 " with %zu %s", limit, n, ev->rule->alerting ? "alerts" : "series");
    if (ev->rule->alerting && n > RULE_MAX_ALERTS)
        return err_set(&ev->e, ERR_LIMIT, "the expression matches %zu series; more than %d alerts of one rule are not kept", n, RULE_MAX_ALERTS);
    return OK;
}

static err_kind find_series(evaluation *ev, found **ret, size_t *ret_n)
{
    size_t n = ev->result.len;
    err_kind k = check_limit(ev, n);
    if (k) {
        ev->over_limit = ev->rule->alerting;
        return k;
    }
    found *all = arena_array(&ev->arena, found, n + 1);
    if (!all)
        return err_nomem(&ev->e);
    for (size_t i = 0; i < n; i++) {
        all[i] = (found){ .source = ev->result.series[i].labels, .value = ev->result.series[i].len ? ev->result.series[i].at[0].v : 0 };
        if ((k = merge_labels(ev, &all[i])))
            return k;
    }
    if (n > 1)
        qsort(all, n, sizeof *all, found_by_hash);
    *ret = all;
    *ret_n = n;
    return refuse_duplicates(ev, all, n);
}

/* ---- recording ---- */

static err_kind evaluate_recording(evaluation *ev)
{
    found *all;
    size_t n;
    err_kind k = query_rule(ev);
    if (k || (k = find_series(ev, &all, &n)))
        return k;
    book_sample *samples = arena_array(&ev->arena, book_sample, n + 1);
    if (!samples)
        return err_nomem(&ev->e);
    for (size_t i = 0; i < n; i++)
        samples[i] = (book_sample){ all[i].labels, all[i].value };
    return series_book_write(&ev->rule->book, samples, n, ev->t_ms, &ev->deps->sink, &ev->e);
}

/* ---- alerting ---- */

/* After a start: since when was this alert active before? Only for rules that wait, once, and only as far back as the
 * lookback of an instant query (5 minutes): what was longer away waits its whole `for` again. */
static void restore_since(evaluation *ev, const found *f, alert_track *t)
{
    AUTO(buf_done) buf expr = BUF_INIT(1u << 20);
    query_result r = { 0 };
    labels_builder b;
    double since = 0;

    labels_start_from(&b, &ev->arena, f->labels);
    labels_put(&b, METRIC_NAME, ALERTS_FOR_STATE_SERIES);
    labels wanted = labels_finish(&b);
    labels_format(wanted, &expr);
    if (b.failed || buf_failed(&expr) || ev->deps->query(ev->deps->query_ctx, buf_str(&expr), ev->t_ms, &r, &(err){ 0 }))
        return;
    for (size_t i = 0; i < r.len; i++) /* a selector also matches series with more labels: take the exact one */
        if (r.series[i].len && labels_eq(r.series[i].labels, wanted))
            since = r.series[i].at[0].v;
    if (since > 0 && since * 1000 < (double)t->since_ms)
        t->since_ms = (int64_t)(since * 1000);
    query_result_done(&r);
}

static err_kind put_annotations(evaluation *ev, const found *f, alert_item *item)
{
    const rule *r = ev->rule;
    arena_reset(&item->text);
    item->annotation_count = 0;
    item->annotations = arena_array(&item->text, config_pair, r->annotation_count + 1);
    for (size_t i = 0; item->annotations && i < r->annotation_count; i++) {
        str text = expand(ev, &r->annotations[i], f, &item->text);
        str name = arena_str(&item->text, r->annotations[i].name); /* an alert outlives its rule: a reload moves it */
        if (!text.ptr || !name.ptr)
            return err_set(&ev->e, ERR_NOMEM, "could not expand the annotations of \"%" STR_FMT "\"", STR_ARG(r->name));
        item->annotations[item->annotation_count++] = (config_pair){ name, text };
    }
    return item->annotations ? OK : err_nomem(&ev->e);
}

static err_kind step_active(evaluation *ev, const found *all, size_t n)
{
    rule *r = ev->rule;
    for (size_t i = 0; i < n; i++) {
        alert_item *item = rule_find_item(r, all[i].hash, all[i].labels);
        bool fresh = !item || item->track.state == ALERT_INACTIVE;
        if (!item && !(item = rule_add_item(r, all[i].hash, all[i].labels)))
            return r->item_count >= RULE_MAX_ALERTS
                       ? err_set(&ev->e, ERR_LIMIT, "more than %d alerts of one rule", RULE_MAX_ALERTS) : err_nomem(&ev->e);
        item->value = all[i].value;
        err_kind k = put_annotations(ev, &all[i], item);
        if (k)
            return k;
        if (fresh && !r->restored && r->for_ms > 0) {
            item->track = (alert_track){ .state = ALERT_PENDING, .since_ms = ev->t_ms };
            restore_since(ev, &all[i], &item->track);
        }
    }
    return OK;
}

static bool among(const found *all, size_t n, const alert_item *item)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (all[mid].hash < item->hash)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < n && all[low].hash == item->hash; low++)
        if (labels_eq(all[low].labels, label_set_view(item->labels)))
            return true;
    return false;
}

/* ALERTS and ALERTS_FOR_STATE of all pending and firing alerts. */
static err_kind write_alert_series(evaluation *ev)
{
    rule *r = ev->rule;
    size_t n = 0;
    book_sample *samples = arena_array(&ev->arena, book_sample, 2 * r->item_count + 1);
    if (!samples)
        return err_nomem(&ev->e);
    for (size_t i = 0; i < r->item_count; i++) {
        const alert_item *item = r->items[i];
        for (int which = 0; which < 2 && item->track.state != ALERT_INACTIVE; which++) {
            labels_builder b;
            labels_start_from(&b, &ev->arena, label_set_view(item->labels));
            labels_put(&b, METRIC_NAME, which ? ALERTS_FOR_STATE_SERIES : ALERTS_SERIES);
            if (!which)
                labels_put(&b, ALERTSTATE, str_from(alert_state_name(item->track.state)));
            labels l = labels_finish(&b);
            label *copy = b.failed ? NULL : arena_dup(&ev->arena, l.at, l.len * sizeof *copy);
            if (!copy)
                return err_nomem(&ev->e);
            samples[n++] = (book_sample){ { copy, l.len }, which ? (double)(item->track.since_ms / MS_PER_S) : 1 };
        }
    }
    return series_book_write(&r->book, samples, n, ev->t_ms, &ev->deps->sink, &ev->e);
}

typedef struct change { alert_item *item; alert_state before; } change;

static bool worth_telling(alert_state before, alert_state after)
{
    return before != after && (before == ALERT_FIRING || after == ALERT_FIRING);
}

static err_kind evaluate_alerting(evaluation *ev)
{
    rule *r = ev->rule;
    found *all;
    size_t n, changes = 0;
    err_kind k = query_rule(ev);

    if (k || (k = find_series(ev, &all, &n)) || (k = step_active(ev, all, n)))
        return k;
    change *changed = arena_array(&ev->arena, change, r->item_count + 1);
    if (!changed)
        return err_nomem(&ev->e);
    for (size_t i = 0; i < r->item_count; i++) {
        alert_item *item = r->items[i];
        alert_state before = item->track.state;
        item->track = alert_step(item->track, r->for_ms, r->keep_firing_for_ms, among(all, n, item), ev->t_ms);
        if (worth_telling(before, item->track.state))
            changed[changes++] = (change){ item, before };
    }
    r->restored = true;
    k = write_alert_series(ev);
    for (size_t i = 0; i < changes; i++) /* told even if the store is full: that is when it matters */
        if (ev->deps->changed)
            ev->deps->changed(ev->deps->changed_ctx, ev->group, r, changed[i].item, changed[i].before);
    for (size_t i = r->item_count; i-- > 0;)
        if (alert_forgettable(r->items[i]->track, ev->t_ms))
            rule_remove_item(r, i);
    return k;
}

/* ---- a rule, a group ---- */

static void evaluation_done(evaluation *ev)
{
    query_result_done(&ev->result);
    arena_done(&ev->arena);
}

/* Over the group's limit an alert is none: what was active ends, as Prometheus's Alertmanager would see it end. */
static void end_all(evaluation *ev)
{
    rule *r = ev->rule;
    for (size_t i = r->item_count; i-- > 0;) {
        alert_item *item = r->items[i];
        alert_state before = item->track.state;
        if (before == ALERT_INACTIVE)
            continue;
        item->track = alert_step(item->track, r->for_ms, 0, false, ev->t_ms);
        if (worth_telling(before, item->track.state) && ev->deps->changed)
            ev->deps->changed(ev->deps->changed_ctx, ev->group, r, item, before);
        if (alert_forgettable(item->track, ev->t_ms))
            rule_remove_item(r, i);
    }
    err over = ev->e;
    (void)write_alert_series(ev);
    ev->e = over; /* the reason that is told stays the limit */
}

static bool rule_evaluate(rule_group *g, rule *r, const eval_deps *d, int64_t now_ms)
{
    AUTO(evaluation_done) evaluation ev = { .deps = d, .group = g, .rule = r, .now_ms = now_ms, .t_ms = now_ms - g->query_offset_ms,
                                            .arena = arena_init(EVAL_MAX_BYTES) };
    int64_t start_ns = clock_mono_ns();
    err_kind k = r->alerting ? evaluate_alerting(&ev) : evaluate_recording(&ev);

    if (ev.over_limit)
        end_all(&ev);
    r->last_eval_ms = now_ms;
    r->last_eval_s = (double)(clock_mono_ns() - start_ns) / (double)NS_PER_S;
    r->health = k ? RULE_ERR : RULE_OK;
    if (!k) {
        r->last_error[0] = '\0';
        r->error_logged = false;
        return true;
    }
    if (!r->error_logged || strcmp(r->last_error, ev.e.message) != 0)
        log_warn(ev.over_limit ? "rule failed, it has no alerts any more" : "rule failed, its alerts stay as they are", KV_STR("group", g->name), KV_STR("rule", r->name), KV_ERR(&ev.e));
    r->error_logged = true;
    str_copy(r->last_error, sizeof r->last_error, str_from(ev.e.message));
    return false;
}

size_t group_evaluate(rule_group *g, const eval_deps *d, int64_t now_ms)
{
    size_t failed = 0;
    int64_t start_ns = clock_mono_ns();
    for (size_t i = 0; i < g->len; i++)
        failed += !rule_evaluate(g, &g->rules[i], d, now_ms);
    g->last_eval_ms = now_ms;
    g->last_eval_s = (double)(clock_mono_ns() - start_ns) / (double)NS_PER_S;
    return failed;
}

void alert_item_info(const rule_group *g, const rule *r, const alert_item *item, alert_info *ret)
{
    *ret = (alert_info){
        .rule = r->name, .group = g->name, .labels = label_set_view(item->labels), .annotations = item->annotations,
        .annotation_count = item->annotation_count, .state = item->track.state, .keep_since_ms = item->track.gap_ms, .active_at_ms = item->track.since_ms,
        .fired_at_ms = item->track.fired_ms, .value = item->value,
    };
}
