/* The head's side of a selection: pointers to closed chunks, copies of the filling ones. */
#include "store/select.h"

static piece piece_of(chunk *c, str bytes, chunk *owner)
{
    return (piece){ .bytes = bytes, .min_t_ms = c->min_t_ms, .max_t_ms = c->max_t_ms, .count = c->count, .owner = owner };
}

static err_kind head_pieces(store_selection *sel, series *s, part *p)
{
    p->at = arena_array(&sel->arena, piece, (size_t)s->closed_len + 1);
    if (!p->at)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < s->closed_len; i++) {
        chunk *c = s->closed[i];
        if (select_overlaps(sel, c->min_t_ms, c->max_t_ms))
            p->at[p->len++] = piece_of(c, chunk_bytes(c), chunk_ref(c));
    }
    if (!s->open || !select_overlaps(sel, s->open->min_t_ms, s->open->max_t_ms))
        return OK;
    char *copy = arena_dup(&sel->arena, s->open->bytes, chunk_size(s->open));
    if (!copy)
        return ERR_NOMEM;
    p->at[p->len++] = piece_of(s->open, str_of(copy, chunk_size(s->open)), NULL);
    return OK;
}

static err_kind head_series(store_selection *sel, series *s, size_t *count, err *e)
{
    if (series_empty(s) || !select_overlaps(sel, series_min_t(s), series_max_t(s)))
        return OK;
    part p = { .source = SOURCE_HEAD, .from_ms = s->cut_t_ms == INT64_MIN ? INT64_MIN : s->cut_t_ms + 1 };
    err_kind k = head_pieces(sel, s, &p);
    if (!k && part_has_samples(sel, &p)) {
        p.set = label_set_ref(s->labels);
        p.labels = label_set_view(p.set);
        k = select_add_part(sel, p, count, e);
        if (!k)
            return OK;
    } else if (k) {
        k = err_nomem(e);
    }
    part_done(&p);
    return k;
}

/* The matcher whose series are walked: the shortest list of an equality, else any other that needs the
 * label to be there; n if there is none. An equality nobody meets is found at once. */
static size_t best_matcher(const head_shard *shard, const filter *f, const posting_list **ret_list)
{
    size_t best = f->n;
    *ret_list = NULL;
    for (size_t i = 0; i < f->n; i++) {
        const matcher *m = &f->m[i];
        if (m->op == MATCH_EQ && !str_empty(m->value)) {
            static const posting_list nobody;
            const posting_list *list = postings_get(&shard->postings, m->name, m->value);
            list = list ? list : &nobody;
            if (!*ret_list || list->len < (*ret_list)->len) {
                *ret_list = list;
                best = i;
            }
        } else if (best == f->n && m->op == MATCH_RE && !matcher_match(m, STR_EMPTY)) {
            best = i;
        }
    }
    return best;
}

static err_kind walk_list(store_selection *sel, filter *f, const posting_list *list, size_t best, size_t *count, err *e)
{
    err_kind k = OK;
    for (size_t i = 0; !k && i < list->len; i++)
        if (filter_series(f, label_set_view(list->at[i]->labels), best))
            k = head_series(sel, list->at[i], count, e);
    return k;
}

static err_kind walk_shard(store_selection *sel, const head_shard *shard, filter *f, size_t *count, err *e)
{
    const posting_list *list;
    err_kind k = OK;
    size_t best = best_matcher(shard, f, &list);
    if (list)
        return walk_list(sel, f, list, best, count, e);
    if (best < f->n) {
        str value;
        for (size_t pos = 0; !k && postings_next(&shard->postings, f->m[best].name, &pos, &value, &list);)
            if (filter_value(f, best, value))
                k = walk_list(sel, f, list, best, count, e);
        return k;
    }
    series *s;
    for (size_t pos = 0; !k && (s = head_next(shard, &pos));)
        if (filter_series(f, label_set_view(s->labels), f->n))
            k = head_series(sel, s, count, e);
    return k;
}

err_kind select_head(store *s, store_selection *sel, filter *f, err *e)
{
    size_t count = 0;
    err_kind k = OK;
    head_lock(&s->head, HEAD_ALL_SHARDS);
    for (uint32_t i = 0; !k && i < HEAD_SHARDS; i++)
        k = walk_shard(sel, &s->head.shards[i], f, &count, e);
    head_unlock(&s->head, HEAD_ALL_SHARDS);
    return k;
}
