#include "watch/emit.h"
#include "base/hash.h"

/* Beyond this many places a series that moved is looked up from the start instead of shifting the cursor. */
#define EMIT_LOOK_AHEAD 16
#define EMIT_NAME_MAX 256

err_kind emit_init(emit *m, labels base)
{
    *m = (emit){ .base = label_set_new(base) };
    return m->base ? OK : ERR_NOMEM;
}

void emit_done(emit *m)
{
    for (size_t i = 0; i < m->points.len; i++)
        label_set_unref(m->points.at[i].labels);
    vec_done(&m->points);
    label_set_unref(m->base);
    m->base = NULL;
}

void emit_begin(emit *m, int64_t t_ms)
{
    m->round++;
    m->t_ms = m->points.len ? MAX(t_ms, m->t_ms + 1) : t_ms;
    m->cursor = 0;
    m->dropped = 0;
}

static uint64_t point_key(emit_name name, const label *extra, size_t n)
{
    uint64_t h = hash_str(str_from(name.prefix), 0);
    if (name.key.len)
        h = hash_str(name.key, h);
    if (name.suffix)
        h = hash_str(str_from(name.suffix), h);
    for (size_t i = 0; i < n; i++) {
        h = hash_str(extra[i].name, h);
        h = hash_str(extra[i].value, h);
    }
    return h;
}

static emit_point *find_point(emit *m, uint64_t key)
{
    size_t near_end = MIN(m->points.len, m->cursor + EMIT_LOOK_AHEAD);
    for (size_t i = m->cursor; i < near_end; i++) {
        if (m->points.at[i].key == key) {
            m->cursor = i + 1;
            return &m->points.at[i];
        }
    }
    for (size_t i = 0; i < m->points.len; i++) {
        if (m->points.at[i].key == key)
            return &m->points.at[i];
    }
    return NULL;
}

/* prefix + key + suffix with every character Prometheus does not allow turned into '_'. */
static str join_name(char out[EMIT_NAME_MAX], emit_name name)
{
    str parts[3] = { str_from(name.prefix), name.key, str_from(name.suffix) };
    size_t len = 0;
    for (size_t p = 0; p < COUNT_OF(parts); p++) {
        for (size_t i = 0; i < parts[p].len && len < EMIT_NAME_MAX; i++) {
            char c = parts[p].ptr[i];
            bool plain =
                (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == ':';
            out[len++] = plain ? c : '_';
        }
    }
    return str_of(out, len);
}

static label_set *build_labels(const emit *m, emit_name name, const label *extra, size_t n)
{
    char text[EMIT_NAME_MAX];
    label all[LABELS_MAX];
    labels base = label_set_view(m->base);
    size_t len = 0;
    if (base.len + n + 1 > LABELS_MAX)
        return NULL;
    all[len++] = (label){ METRIC_NAME, join_name(text, name) };
    for (size_t i = 0; i < base.len; i++)
        all[len++] = base.at[i];
    for (size_t i = 0; i < n; i++)
        all[len++] = extra[i];
    if (labels_normalise(all, &len, NULL))
        return NULL;
    return label_set_new((labels){ all, len });
}

static emit_point *add_point(emit *m, uint64_t key, emit_name name, const label *extra, size_t n)
{
    label_set *set = m->points.len < EMIT_MAX_POINTS && n <= EMIT_MAX_LABELS ? build_labels(m, name, extra, n) : NULL;
    if (!set)
        return NULL;
    bool in_order = m->cursor == m->points.len;
    if (vec_push(&m->points, ((emit_point){ .key = key, .labels = set }))) {
        label_set_unref(set);
        return NULL;
    }
    if (in_order)
        m->cursor = m->points.len;
    return &vec_last(&m->points);
}

void emit_put(emit *m, emit_name name, const label *extra, size_t n, double v)
{
    uint64_t key = point_key(name, extra, n);
    emit_point *p = find_point(m, key);
    if (!p)
        p = add_point(m, key, name, extra, n);
    if (!p) {
        m->dropped++;
        return;
    }
    p->v = v;
    p->round = m->round;
}

static err_kind collect(emit *m, int64_t t_ms, bool ending, row_vec *rows)
{
    if (vec_reserve(rows, rows->len + m->points.len))
        return ERR_NOMEM;
    for (size_t i = 0; i < m->points.len; i++) {
        emit_point *p = &m->points.at[i];
        bool ended = ending || p->round != m->round;
        rows->at[rows->len++] = (sample_row){ label_set_view(p->labels), &p->ref, t_ms, ended ? stale_nan() : p->v };
    }
    return OK;
}

err_kind emit_collect(emit *m, row_vec *rows) { return collect(m, m->t_ms, false, rows); }

err_kind emit_collect_end(emit *m, int64_t t_ms, row_vec *rows)
{
    m->round++; /* nothing is in the new round, so settling forgets everything */
    m->t_ms = MAX(t_ms, m->t_ms + 1);
    return collect(m, m->t_ms, true, rows);
}

void emit_settle(emit *m)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->points.len; i++) {
        if (m->points.at[i].round == m->round)
            m->points.at[kept++] = m->points.at[i];
        else
            label_set_unref(m->points.at[i].labels);
    }
    m->points.len = kept;
}

static err_kind flush(emit *m, int64_t t_ms, bool ending, row_vec *rows, const sample_sink *sink, err *e)
{
    vec_clear(rows);
    err_kind k = ending ? emit_collect_end(m, t_ms, rows) : emit_collect(m, rows);
    if (k)
        err_nomem(e);
    else if (rows->len && sink->append)
        k = sink->append(sink->ctx, rows->at, rows->len, &(sink_result){ 0 }, e);
    emit_settle(m);
    return k;
}

err_kind emit_flush(emit *m, row_vec *rows, const sample_sink *sink, err *e)
{
    return flush(m, m->t_ms, false, rows, sink, e);
}

err_kind emit_flush_end(emit *m, int64_t t_ms, row_vec *rows, const sample_sink *sink, err *e)
{
    return flush(m, t_ms, true, rows, sink, e);
}
