/* The samples of a selected series: decoded source by source, put into one run. Several threads may read at once. */
#include "store/select.h"
#include "store/histogram_chunk.h"
#include "store/samples.h"

typedef struct window { int64_t from_ms, to_ms; } window;

static window window_of(const store_selection *sel, const part *p)
{
    return (window){ MAX(sel->from_ms, p->from_ms), MIN(sel->to_ms, p->to_ms) };
}

/* ---- floats ---- */

static err_kind decode_piece(const piece *p, window w, sample_vec *out, err *e)
{
    if (p->in)
        return block_decode(p->in, &p->page, w.from_ms, w.to_ms, out, e);
    if (p->kind == PIECE_SAMPLE)
        return vec_push(out, ((sample){ p->min_t_ms, p->v })) ? err_nomem(e) : OK;
    err_kind k = chunk_decode(p->bytes, p->count, w.from_ms, w.to_ms, out);
    if (k == ERR_NOMEM)
        return err_nomem(e);
    return k ? err_set(e, ERR_CORRUPT, "cannot read a chunk: its samples make no sense") : OK;
}

/* Usually pieces and sources follow each other in time and nothing is to be done. */
static err_kind put_in_order(sample_vec *all, size_t middle, err *e)
{
    if (middle == 0 || middle == all->len || all->at[middle - 1].t_ms < all->at[middle].t_ms)
        return OK;
    return samples_join(all, middle) ? err_nomem(e) : OK;
}

static err_kind decode_pieces(const piece *at, uint32_t n, window w, sample_vec *all, err *e)
{
    for (uint32_t i = 0; i < n; i++) {
        size_t before = all->len;
        if (at[i].kind != CHUNK_XOR && at[i].kind != PIECE_SAMPLE)
            continue;
        err_kind k = decode_piece(&at[i], w, all, e);
        if (k || (k = put_in_order(all, before, e)))
            return k;
    }
    return OK;
}

/* all[first …) are sums; each is divided by the count of its time. */
static err_kind divide(const part *p, window w, sample_vec *all, size_t first, err *e)
{
    sample_vec counts = { 0 };
    err_kind k = decode_pieces(p->counts, p->counts_len, w, &counts, e);
    size_t kept = first, j = 0;
    for (size_t i = first; !k && i < all->len; i++) {
        sample s = all->at[i];
        while (j < counts.len && counts.at[j].t_ms < s.t_ms)
            j++;
        if (j < counts.len && counts.at[j].t_ms == s.t_ms && counts.at[j].v > 0)
            all->at[kept++] = (sample){ s.t_ms, s.v / counts.at[j].v };
    }
    vec_done(&counts);
    if (!k)
        all->len = kept;
    return k;
}

/* In a count a raw sample stands for itself; a stale marker for nothing. */
static void count_raw(const store_selection *sel, sample_vec *all)
{
    size_t kept = 0;
    for (size_t i = 0; i < all->len; i++) {
        sample s = all->at[i];
        bool raw = s.t_ms >= sel->raw_from_ms && s.t_ms <= sel->raw_to_ms;
        if (!raw || !is_stale(s.v))
            all->at[kept++] = (sample){ s.t_ms, raw ? 1 : s.v };
    }
    all->len = kept;
}

/* Roll-ups are the first sources and lie before all others in time, so that a mean's place is the end of *all. */
static err_kind decode_part(const store_selection *sel, const part *p, sample_vec *all, err *e)
{
    window w = window_of(sel, p);
    size_t first = all->len;
    err_kind k = decode_pieces(p->at, p->len, w, all, e);
    return !k && p->counts ? divide(p, w, all, first, e) : k;
}

static err_kind decode_series(store_selection *sel, size_t i, sample_vec *all, err *e)
{
    group g = sel->series.at[i];
    err_kind k = sel->hints.labels_only ? err_set(e, ERR_INTERNAL, "a selection of labels has no samples") : OK;
    for (size_t p = g.first; !k && p < g.end; p++)
        k = decode_part(sel, &sel->parts.at[p], all, e);
    if (k)
        return k;
    if (sel->counts)
        count_raw(sel, all);
    uint64_t total = atomic_fetch_add(&sel->samples, all->len) + all->len;
    if (!sel->limits.max_samples || total <= sel->limits.max_samples)
        return OK;
    err_set(e, ERR_LIMIT, "could not select: more than %zu samples match", sel->limits.max_samples);
    return err_hint(e, "Narrow the selector or the time range down, or raise the limit on samples of one query."), ERR_LIMIT;
}

err_kind store_select_samples(store_selection *sel, size_t i, sample_vec *out, err *e)
{
    /* An empty `out` is filled in place; behind what it holds, what is new must not mix with it. */
    size_t before = out->len;
    sample_vec fresh = { 0 }, *all = before ? &fresh : out;
    err_kind k = decode_series(sel, i, all, e);
    if (!before) {
        out->len = k ? 0 : out->len;
        return k;
    }
    if (!k && vec_reserve(out, before + fresh.len))
        k = err_nomem(e);
    if (!k && fresh.len) {
        memcpy(out->at + before, fresh.at, fresh.len * sizeof *fresh.at);
        out->len += fresh.len;
    }
    vec_done(&fresh);
    return k;
}

/* ---- native histograms ---- */

bool store_select_has_histograms(const store_selection *sel, size_t i)
{
    group g = sel->series.at[i];
    for (size_t p = g.first; p < g.end; p++)
        for (uint32_t j = 0; sel->parts.at[p].at && j < sel->parts.at[p].len; j++)
            if (sel->parts.at[p].at[j].kind == CHUNK_HISTOGRAM)
                return true;
    return false;
}

static err_kind decode_histograms(const piece *p, window w, arena *a, histogram_vec *all, err *e)
{
    size_t before = all->len;
    err_kind k = p->in ? block_decode_histograms(p->in, &p->page, w.from_ms, w.to_ms, a, all, e)
                       : histogram_chunk_decode(p->bytes, p->count, w.from_ms, w.to_ms, a, all);
    if (k == ERR_NOMEM)
        return err_nomem(e);
    if (k == ERR_CORRUPT && !p->in)
        return err_set(e, k, "cannot read a chunk: its histograms make no sense");
    return k ? k : histograms_join(all, before) ? err_nomem(e) : OK;
}

err_kind store_select_histograms(store_selection *sel, size_t i, arena *a, histogram_vec *out, err *e)
{
    group g = sel->series.at[i];
    histogram_vec all = { 0 };
    err_kind k = OK;
    for (size_t n = g.first; !k && n < g.end; n++) {
        const part *p = &sel->parts.at[n];
        for (uint32_t j = 0; !k && p->at && j < p->len; j++)
            if (p->at[j].kind == CHUNK_HISTOGRAM)
                k = decode_histograms(&p->at[j], window_of(sel, p), a, &all, e);
    }
    if (!k && vec_reserve(out, out->len + all.len))
        k = err_nomem(e);
    if (!k && all.len) {
        memcpy(out->at + out->len, all.at, all.len * sizeof *all.at);
        out->len += all.len;
        atomic_fetch_add(&sel->samples, all.len);
    }
    vec_done(&all);
    return k;
}
