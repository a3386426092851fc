/* A snapshot: pointers to closed chunks, copies of the filling ones, and references to blocks (select.h). */
#include "store/select.h"
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
    for (uint32_t i = 0; p->at && i < p->len; i++)
        chunk_unref(p->at[i].owner);
}

static bool piece_has_samples(const piece *x, int64_t from_ms, int64_t to_ms)
{
    if (x->in)
        return block_page_has(x->in, &x->page, from_ms, to_ms);
    if ((x->min_t_ms >= from_ms && x->min_t_ms <= to_ms) || (x->max_t_ms >= from_ms && x->max_t_ms <= to_ms))
        return true;
    if (x->max_t_ms < from_ms || x->min_t_ms > to_ms)
        return false;
    if (x->kind != CHUNK_XOR)
        return true; /* rare, and costly to look into */
    sample s;
    chunk_iter it = chunk_samples(x->bytes, x->count);
    while (chunk_next(&it, &s) && s.t_ms <= to_ms)
        if (s.t_ms >= from_ms)
            return true;
    return it.bad; /* reading it will tell what is wrong */
}

bool part_has_samples(const store_selection *sel, const part *p)
{
    for (uint32_t i = 0; i < p->len; i++)
        if (piece_has_samples(&p->at[i], MAX(sel->from_ms, p->from_ms), MIN(sel->to_ms, p->to_ms)))
            return true;
    return false;
}

/* ---- putting together ---- */

static int by_labels(const void *a, const void *b)
{
    const part *x = a, *y = b;
    int order = labels_cmp(x->labels, y->labels);
    return order ? order : (x->source > y->source) - (x->source < y->source);
}

/* Two runs that follow each other become one. `from` and `to` are arrays of all parts. */
static void merge_runs(const part *from, part *to, run a, run b)
{
    size_t i = a.first, j = b.first, out = a.first;
    while (i < a.end && j < b.end)
        to[out++] = by_labels(&from[i], &from[j]) <= 0 ? from[i++] : from[j++];
    memcpy(to + out, from + i, (a.end - i) * sizeof *to);
    out += a.end - i;
    memcpy(to + out, from + j, (b.end - j) * sizeof *to);
}

/* Neighbours two by two, until one is left. */
static err_kind merge_all(store_selection *sel, err *e)
{
    if (sel->runs.len < 2)
        return OK;
    part *from = sel->parts.at, *to = mem_calloc(sel->parts.len, sizeof *to);
    if (!to)
        return err_nomem(e);
    while (sel->runs.len > 1) {
        size_t kept = 0;
        for (size_t i = 0; i < sel->runs.len; i += 2) {
            run a = sel->runs.at[i], b = i + 1 < sel->runs.len ? sel->runs.at[i + 1] : (run){ a.end, a.end, true };
            merge_runs(from, to, a, b);
            sel->runs.at[kept++] = (run){ a.first, b.end, true };
        }
        sel->runs.len = kept;
        part *other = from;
        from = to;
        to = other;
    }
    if (from != sel->parts.at) {
        memcpy(sel->parts.at, from, sel->parts.len * sizeof *from);
        to = from;
    }
    mem_free(to);
    return OK;
}

static void sort_runs(store_selection *sel)
{
    /* The only source, and nobody asks for an order: then none is made. Late samples have parts of their own. */
    bool alone = sel->runs.len == 1 && sel->hints.unordered;
    for (size_t i = 0; i < sel->runs.len; i++) {
        run *r = &sel->runs.at[i];
        if (!r->sorted && !alone && r->end - r->first > 1)
            qsort(sel->parts.at + r->first, r->end - r->first, sizeof *sel->parts.at, by_labels);
    }
}

/* A series has one part in a block; in the head it may have two, one behind the other. */
static bool is_next_of(const store_selection *sel, size_t i, bool one_block)
{
    if (i == 0 || one_block)
        return false;
    const part *a = &sel->parts.at[i - 1], *b = &sel->parts.at[i];
    return a->source != b->source && labels_eq(a->labels, b->labels);
}

static err_kind group_parts(store_selection *sel, err *e)
{
    bool one_block = sel->runs.len == 1 && sel->runs.at[0].sorted;
    sort_runs(sel);
    err_kind k = merge_all(sel, e);
    if (!k && vec_reserve(&sel->series, sel->parts.len))
        k = err_nomem(e);
    for (size_t i = 0; !k && i < sel->parts.len; i++) {
        sel->chunks += sel->parts.at[i].len;
        if (is_next_of(sel, i, one_block))
            vec_last(&sel->series).end = i + 1;
        else
            sel->series.at[sel->series.len++] = (group){ i, i + 1 };
    }
    if (!k && sel->limits.max_series && sel->series.len > sel->limits.max_series)
        return too_many_series(sel, e);
    return k;
}

/* ---- sources ---- */

/* What the parts since `first` are of. */
static err_kind end_run(store_selection *sel, size_t first, bool sorted, select_source from, err *e)
{
    if (first == sel->parts.len)
        return OK;
    for (size_t i = first; i < sel->parts.len; i++) {
        const part *p = &sel->parts.at[i];
        from.series++;
        from.chunks += p->len;
        for (uint32_t j = 0; p->at && j < p->len; j++) {
            from.samples += p->at[j].count;
            from.bytes += p->at[j].in ? p->at[j].page.value_len : p->at[j].bytes.len;
        }
    }
    if (vec_push(&sel->runs, ((run){ first, sel->parts.len, sorted })) || vec_push(&sel->sources, from))
        return err_nomem(e);
    return OK;
}

static err_kind take_head(store *s, store_selection *sel, const matcher *m, size_t n, err *e)
{
    err_kind k = select_head(s, sel, m, n, e);
    return k ? k : end_run(sel, 0, false, (select_source){ .path = STR("head"), .tier = STORE_TIER_RAW }, e);
}

static err_kind take_block(store_selection *sel, size_t i, const matcher *m, size_t n, err *e)
{
    const select_from *f = &sel->blocks.at[i];
    size_t first = sel->parts.len;
    err_kind k = select_block(sel, (uint32_t)i, m, n, e);
    /* The label of a tier is not shown any more, and without it the order may be another. */
    return k ? k : end_run(sel, first, f->tier == STORE_TIER_RAW, (select_source){ .path = str_from(f->b->path), .tier = f->tier }, e);
}

/* The head first and the blocks after it (select.h). */
static err_kind take_sources(store *s, store_selection *sel, const matcher *m, size_t n, err *e)
{
    err_kind k = take_head(s, sel, m, n, e);
    return k ? k : select_blocks(s, sel, e);
}

static void forget_sources(store_selection *sel)
{
    for (size_t i = 0; i < sel->parts.len; i++)
        part_done(&sel->parts.at[i]);
    for (size_t i = 0; i < sel->blocks.len; i++)
        block_unref(sel->blocks.at[i].b);
    texts_unref(sel->texts);
    sel->texts = NULL;
    sel->parts.len = sel->blocks.len = sel->runs.len = sel->sources.len = 0;
    arena_reset(&sel->arena);
}

static err_kind select_fill(store *s, store_selection *sel, const matcher *m, size_t n, err *e)
{
    select_range(s, sel);
    err_kind k = take_sources(s, sel, m, n, e);
    if (!k && sel->hints.unlabelled && sel->hints.newest_only && sel->blocks.len) { /* series of several sources are told by their labels */
        sel->hints.unlabelled = false;
        forget_sources(sel);
        k = take_sources(s, sel, m, n, e);
    }
    for (size_t i = 0; !k && i < sel->blocks.len; i++)
        k = take_block(sel, i, m, n, e);
    return k ? k : group_parts(sel, e);
}

err_kind store_select_with(store *s, const matcher *m, size_t n, int64_t from_ms, int64_t to_ms, const select_hints *hints,
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
    sel->hints = hints ? *hints : (select_hints){ .tier = STORE_TIER_RAW };
    err_kind k = select_fill(s, sel, m, n, e);
    if (k)
        store_select_free(sel);
    else
        *ret = sel;
    return k;
}

err_kind store_select(store *s, const matcher *m, size_t n, int64_t from_ms, int64_t to_ms,
                      const select_limits *limits, store_selection **ret, err *e)
{
    return store_select_with(s, m, n, from_ms, to_ms, NULL, limits, ret, e);
}

/* ---- the door ---- */

size_t store_select_len(const store_selection *sel) { return sel->series.len; }

labels store_select_labels(const store_selection *sel, size_t i)
{
    return sel->parts.at[sel->series.at[i].first].labels;
}

store_tier store_select_tier(const store_selection *sel) { return sel->tier; }
bool store_select_counts(const store_selection *sel) { return sel->counts; }

const select_source *store_select_sources(const store_selection *sel, size_t *ret_n)
{
    *ret_n = sel->sources.len;
    return sel->sources.at;
}

select_stats store_select_stats(const store_selection *sel)
{
    select_stats r = { .series = sel->series.len, .samples = atomic_load(&sel->samples), .chunks = sel->chunks };
    for (size_t i = 0; i < sel->sources.len; i++)
        r.bytes += sel->sources.at[i].bytes;
    for (size_t i = 0; i < sel->blocks.len; i++)
        r.blocks += i == 0 || sel->blocks.at[i].b != sel->blocks.at[i - 1].b;
    return r;
}

size_t store_select_memory(const store_selection *sel)
{
    return sizeof *sel + sel->arena.used_bytes + sel->parts.cap * sizeof *sel->parts.at + sel->series.cap * sizeof *sel->series.at;
}

void store_select_free(store_selection *sel)
{
    if (!sel)
        return;
    forget_sources(sel);
    vec_done(&sel->parts);
    vec_done(&sel->runs);
    vec_done(&sel->series);
    vec_done(&sel->blocks);
    vec_done(&sel->sources);
    vec_done(&sel->scratch);
    arena_done(&sel->arena);
    mem_free(sel);
}

void store_select_freep(store_selection **sel)
{
    store_select_free(*sel);
    *sel = NULL;
}
