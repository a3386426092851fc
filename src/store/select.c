/* A snapshot: pointers to closed chunks, copies of the filling ones, and references to blocks (select.h). */
#include "store/select.h"
#include "base/regex.h"
#include <stdlib.h>

#define SELECT_MAX_BYTES ((size_t)8 << 30) /* tables and copies of one selection */

/* ---- parts ---- */

static err_kind too_many_series(const store_selection *sel, err *e)
{
    err_set(e, ERR_LIMIT, "could not select: more than %zu series match", sel->limits.max_series);
    return err_hint(e, "Narrow the selector down, or raise the limit on series of one query."), ERR_LIMIT;
}

err_kind select_add_part(store_selection *sel, part p, size_t *count, err *e)
{
    if (sel->limits.max_series && ++*count > sel->limits.max_series)
        return too_many_series(sel, e);
    return vec_push(&sel->parts, p) ? err_nomem(e) : OK;
}

void part_done(part *p)
{
    for (uint32_t i = 0; i < p->len; i++)
        chunk_unref(p->at[i].owner);
}

bool part_has_samples(const store_selection *sel, const part *p)
{
    int64_t from_ms = MAX(sel->from_ms, p->from_ms);
    for (uint32_t i = 0; i < p->len; i++) {
        const piece *x = &p->at[i];
        if (x->in && !block_page_has(x->in, &x->page, from_ms, sel->to_ms))
            continue;
        if (x->in || (x->min_t_ms >= from_ms && x->min_t_ms <= sel->to_ms) || (x->max_t_ms >= from_ms && x->max_t_ms <= sel->to_ms))
            return true;
        if (x->kind != CHUNK_XOR)
            return true; /* rare, and costly to look into */
        sample s;
        chunk_iter it = chunk_samples(x->bytes, x->count);
        while (chunk_next(&it, &s) && s.t_ms <= sel->to_ms)
            if (s.t_ms >= from_ms)
                return true;
        if (it.bad)
            return true; /* reading it will tell what is wrong */
    }
    return false;
}

/* ---- blocks ---- */

static err_kind hold_blocks(store *s, store_selection *sel, err *e)
{
    err_kind k = OK;
    pthread_mutex_lock(&s->blocks_lock);
    for (size_t i = 0; !k && i < s->blocks.len; i++) {
        block *b = s->blocks.at[i];
        if (!select_overlaps(sel, b->min_t_ms, b->max_t_ms))
            continue;
        if (vec_push(&sel->blocks, b))
            k = err_nomem(e);
        else
            block_ref(b);
    }
    pthread_mutex_unlock(&s->blocks_lock);
    return k;
}

static err_kind block_pieces(store_selection *sel, const block *b, block_entry *entry, part *p, err *e)
{
    vec(piece) pieces = { 0 };
    block_page c;
    err_kind k;
    while (!(k = block_next_page(b, entry, &c, e)) && c.min_t_ms <= sel->to_ms)
        if (select_overlaps(sel, c.min_t_ms, c.max_t_ms) &&
            vec_push(&pieces, ((piece){ .min_t_ms = c.min_t_ms, .max_t_ms = c.max_t_ms, .count = c.count, .kind = (uint8_t)c.kind, .in = b, .page = c }))) {
            k = err_nomem(e);
            break;
        }
    k = k == ERR_NOT_FOUND ? OK : k;
    if (!k && pieces.len && !(p->at = arena_dup(&sel->arena, pieces.at, pieces.len * sizeof *pieces.at)))
        k = err_nomem(e);
    p->len = k ? 0 : (uint32_t)pieces.len;
    vec_done(&pieces);
    return k;
}

static err_kind block_part(store_selection *sel, const block *b, uint32_t source, uint32_t number, size_t *count, err *e)
{
    block_entry entry;
    part p = { .source = source, .from_ms = INT64_MIN };
    err_kind k = block_read_series(b, number, &entry, e);
    if (k || (k = block_pieces(sel, b, &entry, &p, e)) || p.len == 0 || !part_has_samples(sel, &p))
        return k;
    p.labels.at = arena_dup(&sel->arena, entry.labels, entry.label_count * sizeof *entry.labels);
    p.labels.len = entry.label_count;
    return p.labels.at ? select_add_part(sel, p, count, e) : err_nomem(e);
}

static err_kind select_block(store_selection *sel, uint32_t source, const matcher *m, size_t n, err *e)
{
    const block *b = sel->blocks.at[source];
    u32_vec numbers = { 0 };
    size_t count = 0;
    err_kind k = block_match(b, m, n, &numbers, e);
    for (size_t i = 0; !k && i < numbers.len; i++)
        k = block_part(sel, b, source, numbers.at[i], &count, e);
    vec_done(&numbers);
    return k;
}

/* ---- putting together ---- */

static int by_labels_then_source(const void *va, const void *vb)
{
    const part *a = va, *b = vb;
    int order = labels_cmp(a->labels, b->labels);
    return order ? order : a->source < b->source ? -1 : a->source > b->source;
}

static err_kind group_parts(store_selection *sel, err *e)
{
    if (sel->parts.len > 1)
        qsort(sel->parts.at, sel->parts.len, sizeof *sel->parts.at, by_labels_then_source);
    for (size_t i = 0; i < sel->parts.len; i++) {
        group *last = sel->series.len ? &vec_last(&sel->series) : NULL;
        sel->chunks += sel->parts.at[i].len;
        if (last && labels_eq(sel->parts.at[last->first].labels, sel->parts.at[i].labels))
            last->end = i + 1;
        else if (vec_push(&sel->series, ((group){ i, i + 1 })))
            return err_nomem(e);
    }
    if (sel->limits.max_series && sel->series.len > sel->limits.max_series)
        return too_many_series(sel, e);
    return OK;
}

static err_kind select_fill(store *s, store_selection *sel, const matcher *m, size_t n, err *e)
{
    err_kind k = select_head(s, sel, m, n, e);
    if (!k)
        k = hold_blocks(s, sel, e);
    for (size_t i = 0; !k && i < sel->blocks.len; i++)
        k = select_block(sel, (uint32_t)i, m, n, e);
    return k ? k : group_parts(sel, e);
}

err_kind store_select(store *s, const matcher *m, size_t n, int64_t from_ms, int64_t to_ms,
                      const select_limits *limits, store_selection **ret, err *e)
{
    store_selection *sel = mem_zalloc(sizeof *sel);
    if (!sel)
        return err_nomem(e);
    sel->arena = arena_init(SELECT_MAX_BYTES);
    sel->from_ms = from_ms;
    sel->to_ms = to_ms;
    if (limits)
        sel->limits = *limits;
    err_kind k = select_fill(s, sel, m, n, e);
    if (k)
        store_select_free(sel);
    else
        *ret = sel;
    return k;
}

/* ---- the door ---- */

size_t store_select_len(const store_selection *sel) { return sel->series.len; }

labels store_select_labels(const store_selection *sel, size_t i)
{
    return sel->parts.at[sel->series.at[i].first].labels;
}

static err_kind decode_piece(const piece *p, int64_t from_ms, int64_t to_ms, sample_vec *out, err *e)
{
    size_t before = out->len;
    if (p->in)
        return block_decode(p->in, &p->page, from_ms, to_ms, out, e);
    err_kind k = chunk_decode(p->bytes, p->count, from_ms, to_ms, out);
    if (k == ERR_NOMEM)
        return err_nomem(e);
    if (k || (before > 0 && out->len > before && out->at[before].t_ms <= out->at[before - 1].t_ms))
        return err_set(e, ERR_CORRUPT, "cannot read a chunk: its samples make no sense");
    return OK;
}

static err_kind decode_part(const store_selection *sel, const part *p, sample_vec *out, err *e)
{
    for (uint32_t i = 0; i < p->len; i++) {
        if (p->at[i].kind != CHUNK_XOR)
            continue;
        err_kind k = decode_piece(&p->at[i], MAX(sel->from_ms, p->from_ms), sel->to_ms, out, e);
        if (k)
            return k;
    }
    return OK;
}

/* Both ascending, into `to`; at one time the sample of `b` counts. */
static void merge(const sample_vec *a, const sample_vec *b, sample_vec *to)
{
    size_t i = 0, j = 0;
    while (i < a->len || j < b->len) {
        bool take_a = j == b->len || (i < a->len && a->at[i].t_ms < b->at[j].t_ms);
        if (!take_a && i < a->len && a->at[i].t_ms == b->at[j].t_ms)
            i++;
        to->at[to->len++] = take_a ? a->at[i++] : b->at[j++];
    }
}

static err_kind append_samples(sample_vec *all, const sample_vec *more, err *e)
{
    if (more->len == 0)
        return OK;
    if (vec_reserve(all, all->len + more->len))
        return err_nomem(e);
    memcpy(all->at + all->len, more->at, more->len * sizeof *more->at);
    all->len += more->len;
    return OK;
}

/* Usually sources follow each other in time and this is one copy; a backfill or a crash makes them overlap. */
static err_kind add_source(sample_vec *all, const sample_vec *more, err *e)
{
    if (all->len == 0 || more->len == 0 || all->at[all->len - 1].t_ms < more->at[0].t_ms)
        return append_samples(all, more, e);
    sample_vec merged = { 0 };
    if (vec_reserve(&merged, all->len + more->len))
        return err_nomem(e);
    merge(all, more, &merged);
    vec_done(all);
    *all = merged;
    return OK;
}

static err_kind decode_series(const store_selection *sel, group g, sample_vec *all, err *e)
{
    err_kind k = decode_part(sel, &sel->parts.at[g.first], all, e);
    for (size_t i = g.first + 1; !k && i < g.end; i++) {
        sample_vec more = { 0 };
        k = decode_part(sel, &sel->parts.at[i], &more, e);
        if (!k)
            k = add_source(all, &more, e);
        vec_done(&more);
    }
    return k;
}

err_kind store_select_samples(store_selection *sel, size_t i, sample_vec *out, err *e)
{
    /* An empty `out` lends its memory: then nothing is copied. */
    bool lent = out->len == 0;
    sample_vec all = lent ? *out : (sample_vec){ 0 };
    if (lent)
        *out = (sample_vec){ 0 };
    err_kind k = decode_series(sel, sel->series.at[i], &all, e);
    uint64_t total = k ? 0 : atomic_fetch_add(&sel->samples, all.len) + all.len;
    if (!k && sel->limits.max_samples && total > sel->limits.max_samples) {
        k = err_set(e, ERR_LIMIT, "could not select: more than %zu samples match", sel->limits.max_samples);
        err_hint(e, "Narrow the selector or the time range down, or raise the limit on samples of one query.");
    }
    if (lent) {
        *out = all;
        out->len = k ? 0 : all.len;
        return k;
    }
    if (!k)
        k = append_samples(out, &all, e);
    vec_done(&all);
    return k;
}

select_stats store_select_stats(const store_selection *sel)
{
    return (select_stats){ sel->series.len, atomic_load(&sel->samples), sel->chunks, sel->blocks.len };
}

size_t store_select_memory(const store_selection *sel)
{
    return sizeof *sel + sel->arena.used_bytes + sel->parts.cap * sizeof *sel->parts.at + sel->series.cap * sizeof *sel->series.at;
}

void store_select_free(store_selection *sel)
{
    if (!sel)
        return;
    for (size_t i = 0; i < sel->parts.len; i++)
        part_done(&sel->parts.at[i]);
    for (size_t i = 0; i < sel->blocks.len; i++)
        block_unref(sel->blocks.at[i]);
    vec_done(&sel->parts);
    vec_done(&sel->series);
    vec_done(&sel->blocks);
    texts_unref(sel->texts);
    arena_done(&sel->arena);
    mem_free(sel);
}

void store_select_freep(store_selection **sel)
{
    store_select_free(*sel);
    *sel = NULL;
}
