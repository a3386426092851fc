/* Canonical names: series of whatever engine a target runs, under galen's own names (metric/metric.h).
 *
 * `llm_ttft_seconds_bucket{model="m"}` is answered per target (job, instance):
 *   1. series stored under that very name win (a gateway or a recording rule wrote them);
 *   2. else the first row of canonical_views for the target's engine, as watch_engine_info tells it, that has
 *      any series there; rows of one `also` group count as one;
 *   3. labels are renamed, `engine` says whose numbers they are, and only then the selector's other matchers
 *      are asked, so {engine="vllm", model="m"} means what it says.
 * Only a literal name asks for views: equality, or a regular expression that is an alternation of literals. */
#include "query/eval.h"

#define VIEW_NAMES_MAX 32    /* literals in one alternation */

typedef struct target { str engine; const canonical_view *winner; bool has_raw; } target;

typedef struct viewer {
    eval *ev;
    const matcher *m; size_t n;
    size_t name_at;          /* which matcher is on __name__ */
    int64_t from_ms, to_ms;
    labelmap targets_map;
    vec(target) targets;
    vec(source_series) out;
} viewer;

static bool is_literal(str pattern)
{
    for (size_t i = 0; i < pattern.len; i++)
        if (strchr(".+*?()[]{}^$\\", pattern.ptr[i]))
            return false;
    return pattern.len > 0;
}

/* The canonical names a selector spells out. 0: none, or it is not that kind of selector. */
static size_t canonical_names(const matcher *m, size_t n, size_t *ret_at, str *names)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        if (!str_eq(m[i].name, METRIC_NAME))
            continue;
        if (found || (m[i].op != MATCH_EQ && (m[i].op != MATCH_RE || !is_literal(m[i].value))))
            return 0;
        *ret_at = i;
        str rest = m[i].value, one;
        if (m[i].op == MATCH_EQ)
            rest = STR_EMPTY, found += canonical_find(m[i].value) ? (names[0] = m[i].value, 1) : 0;
        while (rest.ptr && str_split(&rest, '|', &one) && found < VIEW_NAMES_MAX)
            if (canonical_find(one))
                names[found++] = one;
    }
    return found;
}

CHECKED static err_kind add_source(viewer *v, source_series s)
{
    return vec_push(&v->out, s) ? err_nomem(v->ev->e) : OK;
}

/* The number of a series' target; a new one has no engine yet. */
CHECKED static err_kind target_of(viewer *v, labels l, size_t *ret)
{
    static const str names[] = { STR_INIT("instance"), STR_INIT("job") };
    label kept[LABELS_MAX];
    if (labelmap_put(&v->targets_map, labels_filter(l, names, 2, true, false, kept), ret))
        return v->ev->e->kind;
    if (*ret < v->targets.len)
        return OK;
    return vec_push(&v->targets, ((target){ 0 })) ? err_nomem(v->ev->e) : OK;
}

/* Ask the store for `name`, with those of our matchers that a view never rewrites. */
CHECKED static err_kind select_named(viewer *v, str name, const canonical_view *row, int64_t from_ms, store_selection **ret)
{
    matcher m[LABELS_MAX + 3];
    size_t n = 0;
    m[n++] = (matcher){ .name = METRIC_NAME, .value = name, .op = MATCH_EQ };
    if (row && row->match_label)
        m[n++] = (matcher){ .name = str_from(row->match_label), .value = str_from(row->match_value), .op = MATCH_EQ };
    for (size_t i = 0; i < v->n; i++)
        if (str_is(v->m[i].name, "job") || str_is(v->m[i].name, "instance"))
            m[n++] = v->m[i];
    return eval_select(v->ev, m, n, from_ms, v->to_ms, ret);
}

/* What each target runs; the series seen last wins. Looks back further than the query itself has to. */
CHECKED static err_kind find_engines(viewer *v)
{
    store_selection *sel;
    size_t number;
    if (select_named(v, STR("watch_engine_info"), NULL, v->from_ms - v->ev->lookback_ms, &sel))
        return v->ev->e->kind;
    for (size_t i = 0; i < store_select_len(sel); i++) {
        labels l = store_select_labels(sel, i);
        if (target_of(v, l, &number))
            return v->ev->e->kind;
        v->targets.at[number].engine = labels_get(l, STR("engine"));
    }
    return OK;
}

CHECKED static err_kind rewrite(viewer *v, const canonical_view *row, str name, labels from, labels *ret)
{
    eval *ev = v->ev;
    labels l = from;
    if (labels_with(ev, l, METRIC_NAME, name, &l))
        return ev->e->kind;
    if (row->rank_label) {
        str rank = labels_get(from, str_from(row->rank_label));
        if (labels_with(ev, l, str_from(row->rank_label), STR_EMPTY, &l) || labels_with(ev, l, STR("rank"), rank, &l))
            return ev->e->kind;
    }
    if (row->rename_from && !str_empty(labels_get(from, str_from(row->rename_from)))) {
        str text = labels_get(from, str_from(row->rename_from));
        if (labels_with(ev, l, str_from(row->rename_from), STR_EMPTY, &l) || labels_with(ev, l, str_from(row->rename_to), text, &l))
            return ev->e->kind;
    }
    if (row->add_label && labels_with(ev, l, str_from(row->add_label), str_from(row->add_value), &l))
        return ev->e->kind;
    return labels_with(ev, l, STR("engine"), str_from(row->engine), ret);
}

static bool others_match(const viewer *v, labels l)
{
    for (size_t i = 0; i < v->n; i++)
        if (i != v->name_at && !matcher_match(&v->m[i], labels_get(l, v->m[i].name)))
            return false;
    return true;
}

/* Does this row still have a say at this target? */
static bool row_applies(const target *t, const canonical_view *row)
{
    if (t->has_raw || !str_is(t->engine, row->engine))
        return false;
    return !t->winner || t->winner == row || (row->also && t->winner->also == row->also);
}

CHECKED static err_kind apply_row(viewer *v, const canonical_view *row, str name, str suffix)
{
    store_selection *sel;
    str raw = arena_printf(v->ev->arena, "%s%" STR_FMT, row->raw, STR_ARG(suffix));
    if (!raw.ptr)
        return err_nomem(v->ev->e);
    if (select_named(v, raw, row, v->from_ms, &sel))
        return v->ev->e->kind;
    for (size_t i = 0; i < store_select_len(sel); i++) {
        labels from = store_select_labels(sel, i), l;
        size_t number;
        if (target_of(v, from, &number))
            return v->ev->e->kind;
        if (!row_applies(&v->targets.at[number], row))
            continue;
        v->targets.at[number].winner = row;
        if (rewrite(v, row, name, from, &l))
            return v->ev->e->kind;
        if (others_match(v, l) && add_source(v, (source_series){ l, sel, i, row->scale == 0 ? 1 : row->scale }))
            return v->ev->e->kind;
    }
    return OK;
}

static bool engine_is_seen(const viewer *v, const char *engine)
{
    for (size_t i = 0; i < v->targets.len; i++)
        if (str_is(v->targets.at[i].engine, engine))
            return true;
    return false;
}

/* Targets that have series under the name itself are not asked for views. */
CHECKED static err_kind mark_raw(viewer *v, str name)
{
    store_selection *sel;
    size_t number;
    if (select_named(v, name, NULL, v->from_ms, &sel))
        return v->ev->e->kind;
    for (size_t i = 0; i < store_select_len(sel); i++) {
        if (target_of(v, store_select_labels(sel, i), &number))
            return v->ev->e->kind;
        v->targets.at[number].has_raw = true;
    }
    return OK;
}

CHECKED static err_kind answer_name(viewer *v, str name)
{
    const canonical_signal *signal = canonical_find(name);
    str suffix = str_skip(name, strlen(signal->name));
    for (size_t i = 0; i < v->targets.len; i++)
        v->targets.at[i].winner = NULL, v->targets.at[i].has_raw = false;
    if (mark_raw(v, name))
        return v->ev->e->kind;
    for (size_t i = 0; i < canonical_view_count; i++) {
        const canonical_view *row = &canonical_views[i];
        if (strcmp(row->name, signal->name) == 0 && engine_is_seen(v, row->engine) && apply_row(v, row, name, suffix))
            return v->ev->e->kind;
    }
    return OK;
}

/* What is stored under the selector as it stands. */
CHECKED static err_kind add_stored(viewer *v)
{
    store_selection *sel;
    if (eval_select(v->ev, v->m, v->n, v->from_ms, v->to_ms, &sel))
        return v->ev->e->kind;
    for (size_t i = 0; i < store_select_len(sel); i++)
        if (add_source(v, (source_series){ store_select_labels(sel, i), sel, i, 1 }))
            return v->ev->e->kind;
    return OK;
}

CHECKED static err_kind add_views(viewer *v)
{
    str names[VIEW_NAMES_MAX];
    size_t n = canonical_names(v->m, v->n, &v->name_at, names);
    if (n == 0)
        return OK;
    labelmap_init(&v->targets_map, v->ev);
    err_kind k = find_engines(v);
    for (size_t i = 0; !k && i < n && v->targets.len > 0; i++)
        k = answer_name(v, names[i]);
    labelmap_done(&v->targets_map);
    vec_done(&v->targets);
    return k;
}

err_kind source_open(eval *ev, const matcher *m, size_t n, int64_t from_ms, int64_t to_ms, source *ret)
{
    matcher *ready;
    *ret = (source){ 0 };
    if (eval_matchers(ev, m, n, &ready))
        return ev->e->kind;
    viewer v = { .ev = ev, .m = ready, .n = n, .from_ms = from_ms, .to_ms = to_ms };
    str names[VIEW_NAMES_MAX];
    if (canonical_names(ready, n, &v.name_at, names))
        ev->hints.unlabelled = false; /* targets are told by their labels */
    err_kind k = add_stored(&v);
    if (!k)
        k = add_views(&v);
    if (!k && v.out.len) {
        ret->at = arena_dup(ev->arena, v.out.at, v.out.len * sizeof *v.out.at);
        ret->len = v.out.len;
        k = ret->at ? OK : err_nomem(ev->e);
    }
    vec_done(&v.out);
    return k;
}
