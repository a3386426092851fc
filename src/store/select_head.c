/* The head's side of a selection: pointers to closed chunks, copies of the filling ones.
 *
 * Matchers work on ids of label pairs. Equalities are ids; what other matchers say of a pair is asked once and kept in
 * a byte per pair. The list of the rarest equality is walked, or of all values that another matcher wants, or, where no
 * matcher needs its label to be there, all series. */
#include "store/select.h"
#include "store/late.h"

typedef enum answer { UNASKED, YES, NO, OTHER_NAME } answer;

typedef struct head_filter {
    const head *head;
    const matcher *m;
    size_t n, walked;             /* the matcher whose lists are walked; n: none */
    uint32_t *pairs;              /* per equality: the pair's id */
    uint32_t *names;              /* per other matcher: the name's id, 0: no series has it */
    uint8_t **answers;            /* per other matcher: by label_pair */
    bool *absent;                 /* per other matcher: does it match where the label is absent? */
} head_filter;

static bool is_equality(const matcher *m) { return m->op == MATCH_EQ && !str_empty(m->value); }

static void filter_free(head_filter *f)
{
    for (size_t i = 0; f->answers && i < f->n; i++)
        mem_free(f->answers[i]);
    mem_free(f->answers);
    mem_free(f->pairs);
    mem_free(f->names);
    mem_free(f->absent);
}

/* *ret_none: an equality that nobody meets. */
static err_kind filter_make(head_filter *f, const head *h, const matcher *m, size_t n, bool *ret_none)
{
    *f = (head_filter){ .head = h, .m = m, .n = n, .walked = n };
    f->pairs = mem_calloc(n, sizeof *f->pairs);
    f->names = mem_calloc(n, sizeof *f->names);
    f->answers = mem_calloc(n, sizeof *f->answers);
    f->absent = mem_calloc(n, sizeof *f->absent);
    if (!f->pairs || !f->names || !f->answers || !f->absent)
        return ERR_NOMEM;
    uint32_t best = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        if (is_equality(&m[i])) {
            f->pairs[i] = postings_pair(&h->postings, m[i].name, m[i].value);
            uint32_t len = h->postings.pairs.at[f->pairs[i]].len;
            *ret_none |= !f->pairs[i];
            if (len < best) {
                best = len;
                f->walked = i;
            }
            continue;
        }
        f->names[i] = postings_name(&h->postings, m[i].name);
        f->absent[i] = matcher_match(&m[i], STR_EMPTY);
        *ret_none |= !f->names[i] && !f->absent[i];
        if (!(f->answers[i] = mem_calloc(h->postings.pairs.len, 1)))
            return ERR_NOMEM;
    }
    for (size_t i = 0; f->walked == n && i < n; i++)
        if (!is_equality(&m[i]) && !f->absent[i])
            f->walked = i;
    return OK;
}

static answer ask(head_filter *f, size_t i, uint32_t pair)
{
    uint8_t *known = &f->answers[i][pair];
    if (*known == UNASKED) {
        const label_pair *x = &f->head->postings.pairs.at[pair];
        *known = x->name != f->names[i] ? OTHER_NAME : matcher_match(&f->m[i], pair_value(x)) ? YES : NO;
    }
    return *known;
}

static bool matches(head_filter *f, size_t i, const series_cold *c)
{
    if (f->pairs[i]) {
        for (size_t p = 0; p < c->label_count; p++)
            if (c->pairs[p] == f->pairs[i])
                return true;
        return false;
    }
    for (size_t p = 0; f->names[i] && p < c->label_count; p++) {
        answer a = ask(f, i, c->pairs[p]);
        if (a != OTHER_NAME)
            return a == YES;
    }
    return f->absent[i];
}

static bool matches_all(head_filter *f, const series *s)
{
    const series_cold *c = head_cold(f->head, s);
    for (size_t i = 0; i < f->n; i++)
        if (i != f->walked && !matches(f, i, c))
            return false;
    return true;
}

/* ---- pieces ---- */

static bool wanted(const store_selection *sel, const chunk *c) { return select_overlaps(sel, c->min_t_ms, c->max_t_ms); }

static void add_run(const store_selection *sel, part *p, const chunk_run *r)
{
    for (uint32_t i = 0; r && i < r->len; i++) {
        chunk *c = r->at[i];
        if (wanted(sel, c))
            p->at[p->len++] = (piece){ .bytes = chunk_bytes(c), .min_t_ms = c->min_t_ms, .max_t_ms = c->max_t_ms, .count = c->count,
                                       .kind = c->kind, .owner = chunk_ref(c) };
    }
}

static err_kind add_open(store_selection *sel, part *p, const head *h, const series *s)
{
    const filling *f = &s->open;
    if (!f->count)
        return OK;
    int64_t min_t_ms = filling_min_t(f, &h->pool);
    if (!select_overlaps(sel, min_t_ms, f->last_t_ms))
        return OK;
    uint8_t *copy = arena_alloc(&sel->arena, filling_size(f));
    if (!copy)
        return ERR_NOMEM;
    filling_copy(f, &h->pool, copy);
    p->at[p->len++] = (piece){ .bytes = str_of((const char *)copy, filling_size(f)), .min_t_ms = min_t_ms, .max_t_ms = f->last_t_ms,
                               .count = f->count, .kind = CHUNK_XOR };
    return OK;
}

static err_kind add_histograms(store_selection *sel, part *p, const histogram_filling *f)
{
    if (!f->count || !select_overlaps(sel, f->min_t_ms, f->last_t_ms))
        return OK;
    char *copy = arena_dup(&sel->arena, f->bytes, f->len);
    if (!copy)
        return ERR_NOMEM;
    p->at[p->len++] = (piece){ .bytes = str_of(copy, f->len), .min_t_ms = f->min_t_ms, .max_t_ms = f->last_t_ms, .count = f->count, .kind = CHUNK_HISTOGRAM };
    return OK;
}

static err_kind in_order(store_selection *sel, const head *h, const series *s, part *p)
{
    const series_cold *c = head_cold(h, s);
    p->at = arena_array(&sel->arena, piece, (c->closed ? c->closed->len : 0) + 2);
    if (!p->at)
        return ERR_NOMEM;
    add_run(sel, p, c->closed);
    err_kind k = add_open(sel, p, h, s);
    return !k && c->more ? add_histograms(sel, p, &c->more->histograms) : k;
}

static err_kind late(store_selection *sel, const series_more *m, part *p)
{
    chunk_run *r = NULL;
    err_kind k = late_chunks(m, sel->from_ms, sel->to_ms, &r);
    if (!k && r && !(p->at = arena_array(&sel->arena, piece, r->len)))
        k = ERR_NOMEM;
    if (!k)
        add_run(sel, p, r);
    chunk_run_free(r);
    return k;
}

/* ---- series ---- */

static err_kind labels_of(store_selection *sel, const head *h, const series *s, labels *ret)
{
    label *at = arena_alloc(&sel->arena, head_cold(h, s)->label_count * sizeof *at);
    if (!at)
        return ERR_NOMEM;
    *ret = (labels){ at, head_labels(h, s, at) };
    return OK;
}

static err_kind add_if_any(store_selection *sel, const head *h, const series *s, part p, size_t *count, err *e)
{
    if (p.len && part_has_samples(sel, &p)) {
        err_kind k = labels_of(sel, h, s, &p.labels) ? err_nomem(e) : select_add_part(sel, p, count, e);
        if (!k)
            return OK;
        part_done(&p);
        return k;
    }
    part_done(&p);
    return OK;
}

/* For a selection of labels only: an end of the series lies in the range, so nothing of it need be looked at. */
static bool surely_has(const store_selection *sel, const head *h, const series *s)
{
    const series_cold *c = head_cold(h, s);
    if (!s->open.count || (c->more && c->more->late_closed))
        return false;
    int64_t from_ms = MAX(sel->raw_from_ms, c->cut_t_ms == INT64_MIN ? INT64_MIN : c->cut_t_ms + 1);
    return s->open.last_t_ms >= from_ms && s->open.last_t_ms <= sel->raw_to_ms;
}

/* The newest sample of the series, if it is a float in the range, is at hand without any chunk. */
static bool newest_at_hand(const store_selection *sel, const head *h, const series *s)
{
    int64_t cut_t_ms = head_cold(h, s)->cut_t_ms;
    int64_t from_ms = MAX(sel->raw_from_ms, cut_t_ms == INT64_MIN ? INT64_MIN : cut_t_ms + 1);
    return s->open.count && !(s->flags & SERIES_LAST_HISTOGRAM) && s->open.last_t_ms >= from_ms && s->open.last_t_ms <= sel->raw_to_ms;
}

static err_kind take_newest(store_selection *sel, const head *h, const series *s, size_t *count, err *e)
{
    part p = { .source = SOURCE_HEAD, .len = 1, .from_ms = s->open.last_t_ms, .to_ms = s->open.last_t_ms };
    p.at = arena_new(&sel->arena, piece);
    if (!p.at || (!sel->hints.unlabelled && labels_of(sel, h, s, &p.labels)))
        return err_nomem(e);
    *p.at = (piece){ .kind = PIECE_SAMPLE, .min_t_ms = s->open.last_t_ms, .max_t_ms = s->open.last_t_ms, .count = 1 };
    memcpy(&p.at->v, &s->open.last_bits, sizeof p.at->v);
    return select_add_part(sel, p, count, e);
}

/* Late samples are a source of their own, before the head: where both have a sample at one time, the first that came
 * is the head's. */
static err_kind take_series(store_selection *sel, head *h, series *s, size_t *count, err *e)
{
    const series_cold *c = head_cold(h, s);
    if (sel->hints.labels_only && surely_has(sel, h, s)) {
        part p = { .source = SOURCE_HEAD, .len = 1 };
        return labels_of(sel, h, s, &p.labels) ? err_nomem(e) : select_add_part(sel, p, count, e);
    }
    if (sel->hints.newest_only && newest_at_hand(sel, h, s))
        return take_newest(sel, h, s, count, e);
    if (c->more && (c->more->late.len || c->more->late_closed)) {
        part p = { .source = SOURCE_LATE, .from_ms = sel->raw_from_ms, .to_ms = sel->raw_to_ms };
        size_t uncounted = 0;
        if (late(sel, c->more, &p)) {
            part_done(&p);
            return err_nomem(e);
        }
        err_kind k = add_if_any(sel, h, s, p, &uncounted, e);
        if (k)
            return k;
    }
    int64_t after_ms = c->cut_t_ms == INT64_MIN ? INT64_MIN : c->cut_t_ms + 1;
    part p = { .source = SOURCE_HEAD, .from_ms = MAX(after_ms, sel->raw_from_ms), .to_ms = sel->raw_to_ms };
    if (in_order(sel, h, s, &p)) {
        part_done(&p);
        return err_nomem(e);
    }
    return add_if_any(sel, h, s, p, count, e);
}

static err_kind walk_pair(store_selection *sel, head *h, head_filter *f, uint32_t id, size_t *count, err *e)
{
    const label_pair *x = &h->postings.pairs.at[id];
    const uint32_t *at = pair_series(x);
    err_kind k = OK;
    for (uint32_t i = 0; !k && i < x->len; i++) {
        if (i + 8 < x->len)
            __builtin_prefetch(head_at(h, at[i + 8]));
        series *s = head_at(h, at[i]);
        if (matches_all(f, s))
            k = take_series(sel, h, s, count, e);
    }
    return k;
}

static err_kind walk(store_selection *sel, head *h, head_filter *f, err *e)
{
    size_t count = 0;
    err_kind k = OK;
    if (f->walked < f->n && f->pairs[f->walked])
        return walk_pair(sel, h, f, f->pairs[f->walked], &count, e);
    if (f->walked < f->n) {
        const pair_name *name = &h->postings.names.at[f->names[f->walked]];
        for (size_t i = 0; !k && i < name->pairs.len; i++)
            if (ask(f, f->walked, name->pairs.at[i]) == YES)
                k = walk_pair(sel, h, f, name->pairs.at[i], &count, e);
        return k;
    }
    series *s;
    for (uint32_t slot = 0; !k && (s = head_next(h, &slot));)
        if (matches_all(f, s))
            k = take_series(sel, h, s, &count, e);
    return k;
}

err_kind select_head(store *s, store_selection *sel, const matcher *m, size_t n, err *e)
{
    head *h = &s->head;
    head_filter f;
    bool none = false;
    head_lock(h);
    err_kind k = filter_make(&f, h, m, n, &none) ? err_nomem(e) : OK;
    if (!k && !none) {
        sel->texts = texts_ref(h->postings.texts);
        k = walk(sel, h, &f, e);
    }
    head_unlock(h);
    filter_free(&f);
    return k;
}
