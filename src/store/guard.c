#include "store/guard.h"
#include "store/inside.h"
#include <stdatomic.h>
#include <stdlib.h>

void guard_done(guard *g)
{
    mem_free(g->targets);
    g->targets = NULL;
    g->targets_len = g->targets_cap = 0;
}

/* ---- targets ---- */

static guard_target *target_cell(guard_target *at, size_t cap, uint32_t job, uint32_t instance)
{
    uint64_t hash = ((uint64_t)job << 32 | instance) * UINT64_C(0x9e3779b97f4a7c15);
    size_t i = (size_t)(hash >> 32) & (cap - 1);
    while (at[i].series && (at[i].job != job || at[i].instance != instance))
        i = (i + 1) & (cap - 1);
    return &at[i];
}

static err_kind targets_reserve(guard *g)
{
    if ((g->targets_len + 1) * 2 <= g->targets_cap)
        return OK;
    size_t cap = MAX(g->targets_cap * 2, 16);
    guard_target *at = mem_calloc(cap, sizeof *at);
    if (!at)
        return ERR_NOMEM;
    for (size_t i = 0; i < g->targets_cap; i++)
        if (g->targets[i].series)
            *target_cell(at, cap, g->targets[i].job, g->targets[i].instance) = g->targets[i];
    mem_free(g->targets);
    g->targets = at;
    g->targets_cap = cap;
    return OK;
}

static void target_add(guard *g, uint32_t job, uint32_t instance)
{
    guard_target *t = target_cell(g->targets, g->targets_cap, job, instance);
    g->targets_len += t->series == 0;
    *t = (guard_target){ job, instance, t->series + 1 };
}

static bool has_target(labels l) { return !str_empty(labels_get(l, STR("job"))) || !str_empty(labels_get(l, STR("instance"))); }

static uint32_t pair_of(const head *h, labels l, str name) { return postings_pair(&h->postings, name, labels_get(l, name)); }

err_kind guard_recount(guard *g, const head *h)
{
    if (!g->max_series_per_target)
        return OK;
    guard fresh = { .max_series_per_target = 1 };
    series *s;
    for (uint32_t slot = 0; (s = head_next(h, &slot));) {
        label at[LABELS_MAX];
        labels l = { at, head_labels(h, s, at) };
        if (!has_target(l))
            continue;
        if (targets_reserve(&fresh)) {
            guard_done(&fresh);
            return ERR_NOMEM;
        }
        target_add(&fresh, pair_of(h, l, STR("job")), pair_of(h, l, STR("instance")));
    }
    guard_done(g);
    g->targets = fresh.targets;
    g->targets_len = fresh.targets_len;
    g->targets_cap = fresh.targets_cap;
    return OK;
}

void guard_count(guard *g, const head *h, labels l)
{
    if (g->max_series_per_target && has_target(l))
        target_add(g, pair_of(h, l, STR("job")), pair_of(h, l, STR("instance"))); /* guard_admit made the room */
}

/* ---- the decision ---- */

/* Which label is to blame? Most often the one with most values. */
static err_kind refuse(guard *g, const head *h, labels l, err *e)
{
    size_t most = 0;
    str name = STR_EMPTY;
    for (size_t i = 0; i < l.len; i++) {
        uint32_t at = postings_name(&h->postings, l.at[i].name);
        size_t values = at ? h->postings.names.at[at].pairs.len : 0;
        if (values > most && !str_eq(l.at[i].name, METRIC_NAME)) {
            most = values;
            name = l.at[i].name;
        }
    }
    atomic_fetch_add_explicit(&g->refused_total, 1, memory_order_relaxed);
    if (most > 0)
        err_hint(e, "Of its labels \"%" STR_FMT "\" has most values, %zu: see /api/v1/status/tsdb.", STR_ARG(str_sub(name, 0, 80)), most);
    return ERR_LIMIT;
}

static err_kind admit_target(guard *g, const head *h, labels l, err *e)
{
    if (!g->max_series_per_target || !has_target(l))
        return OK;
    if (targets_reserve(g))
        return err_nomem(e);
    str job = labels_get(l, STR("job")), instance = labels_get(l, STR("instance"));
    const guard_target *t = target_cell(g->targets, g->targets_cap, pair_of(h, l, STR("job")), pair_of(h, l, STR("instance")));
    if (t->series < g->max_series_per_target)
        return OK;
    err_set(e, ERR_LIMIT, "could not add a series: target job=\"%" STR_FMT "\" instance=\"%" STR_FMT "\" already has %zu (store.max_series_per_target)",
            STR_ARG(str_sub(job, 0, 80)), STR_ARG(str_sub(instance, 0, 80)), g->max_series_per_target);
    return refuse(g, h, l, e);
}

static err_kind admit_metric(guard *g, const head *h, labels l, err *e)
{
    if (!g->max_series_per_metric)
        return OK;
    str name = labels_name(l);
    uint32_t id = str_empty(name) ? 0 : postings_pair(&h->postings, METRIC_NAME, name);
    if (!id || h->postings.pairs.at[id].len < g->max_series_per_metric)
        return OK;
    err_set(e, ERR_LIMIT, "could not add a series: metric \"%" STR_FMT "\" already has %zu (store.max_series_per_metric)",
            STR_ARG(str_sub(name, 0, 120)), g->max_series_per_metric);
    return refuse(g, h, l, e);
}

err_kind guard_admit(guard *g, const head *h, labels l, err *e)
{
    if (g->max_series && atomic_load_explicit(&h->series_count, memory_order_relaxed) >= g->max_series) {
        err_set(e, ERR_LIMIT, "could not add a series: the store already holds %zu (store.max_series)", g->max_series);
        return refuse(g, h, l, e);
    }
    if (g->memory_bytes && head_bytes(h) >= g->memory_bytes) {
        err_set(e, ERR_LIMIT, "could not add a series: the store's series in memory already take %zu MiB (store.memory)", g->memory_bytes >> 20);
        return refuse(g, h, l, e);
    }
    err_kind k = admit_metric(g, h, l, e);
    return k ? k : admit_target(g, h, l, e);
}

/* ---- who has how many ---- */

static int by_value(const void *a, const void *b)
{
    const cardinality_row *x = a, *y = b;
    return x->value != y->value ? (x->value < y->value ? 1 : -1) : str_cmp(x->name, y->name);
}

typedef vec(cardinality_row) row_vec;

/* The first `top` of the rows, with texts of their own. */
static err_kind take_top(row_vec *rows, size_t top, arena *a, cardinality *ret)
{
    if (rows->len > 1)
        qsort(rows->at, rows->len, sizeof *rows->at, by_value);
    size_t n = MIN(rows->len, top);
    cardinality_row *at = arena_array(a, cardinality_row, n);
    if (!at)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        at[i] = (cardinality_row){ arena_str(a, rows->at[i].name), rows->at[i].value };
        if (!at[i].name.ptr)
            return ERR_NOMEM;
    }
    *ret = (cardinality){ at, n };
    return OK;
}

static err_kind values_of_metric(const postings *p, size_t top, arena *a, cardinality *ret)
{
    row_vec rows = { 0 };
    uint32_t name = postings_name(p, METRIC_NAME);
    err_kind k = OK;
    for (size_t i = 0; !k && name && i < p->names.at[name].pairs.len; i++) {
        const label_pair *x = &p->pairs.at[p->names.at[name].pairs.at[i]];
        k = vec_push(&rows, ((cardinality_row){ pair_value(x), x->len }));
    }
    if (!k)
        k = take_top(&rows, top, a, ret);
    vec_done(&rows);
    return k;
}

static err_kind names_by(const postings *p, bool bytes, size_t top, arena *a, cardinality *ret)
{
    row_vec rows = { 0 };
    err_kind k = OK;
    for (size_t i = 1; !k && i < p->names.len; i++) {
        const pair_name *n = &p->names.at[i];
        uint64_t sum = 0;
        for (size_t x = 0; bytes && x < n->pairs.len; x++)
            sum += p->pairs.at[n->pairs.at[x]].value_len;
        if (n->pairs.len)
            k = vec_push(&rows, ((cardinality_row){ n->text, bytes ? sum : n->pairs.len }));
    }
    if (!k)
        k = take_top(&rows, top, a, ret);
    vec_done(&rows);
    return k;
}

static err_kind pairs_by_series(const postings *p, size_t top, arena *a, cardinality *ret)
{
    row_vec rows = { 0 };
    err_kind k = OK;
    uint64_t least = 0;
    for (uint32_t id = 1; !k && id < p->pairs.len; id++) {
        const label_pair *x = &p->pairs.at[id];
        if (!x->name || x->len < least)
            continue;
        label l = postings_label(p, id);
        str text = arena_printf(a, "%" STR_FMT "=%" STR_FMT, STR_ARG(l.name), STR_ARG(l.value));
        k = !text.ptr || vec_push(&rows, ((cardinality_row){ text, x->len })) ? ERR_NOMEM : OK;
        if (!k && rows.len >= 4 * top + 64) { /* keep it short: the texts are ours */
            qsort(rows.at, rows.len, sizeof *rows.at, by_value);
            rows.len = MIN(rows.len, top);
            least = rows.len ? rows.at[rows.len - 1].value + 1 : 0;
        }
    }
    if (!k)
        k = take_top(&rows, top, a, ret);
    vec_done(&rows);
    return k;
}

static err_kind targets_by_series(const head *h, size_t top, arena *a, cardinality *ret)
{
    guard g = { .max_series_per_target = 1 };
    row_vec rows = { 0 };
    err_kind k = guard_recount(&g, h);
    for (size_t i = 0; !k && i < g.targets_cap; i++) {
        const guard_target *t = &g.targets[i];
        if (!t->series)
            continue;
        str job = t->job ? pair_value(&h->postings.pairs.at[t->job]) : STR_EMPTY;
        str instance = t->instance ? pair_value(&h->postings.pairs.at[t->instance]) : STR_EMPTY;
        str text = arena_printf(a, "%" STR_FMT "/%" STR_FMT, STR_ARG(job), STR_ARG(instance));
        k = !text.ptr || vec_push(&rows, ((cardinality_row){ text, t->series })) ? ERR_NOMEM : OK;
    }
    if (!k)
        k = take_top(&rows, top, a, ret);
    vec_done(&rows);
    guard_done(&g);
    return k;
}

err_kind store_cardinality_get(store *s, size_t top, arena *a, store_cardinality *ret, err *e)
{
    store_cardinality r = {
        .series = atomic_load_explicit(&s->head.series_count, memory_order_relaxed),
        .chunks = atomic_load_explicit(&s->head.chunk_count, memory_order_relaxed),
        .refused_total = atomic_load_explicit(&s->guard.refused_total, memory_order_relaxed),
    };
    head_lock(&s->head);
    const postings *p = &s->head.postings;
    r.label_pairs = p->live_pairs;
    err_kind k = values_of_metric(p, top, a, &r.by_metric);
    if (!k)
        k = names_by(p, false, top, a, &r.by_label_values);
    if (!k)
        k = names_by(p, true, top, a, &r.by_label_bytes);
    if (!k)
        k = pairs_by_series(p, top, a, &r.by_pair);
    if (!k)
        k = targets_by_series(&s->head, top, a, &r.by_target);
    head_unlock(&s->head);
    if (k)
        return err_nomem(e);
    *ret = r;
    return OK;
}
