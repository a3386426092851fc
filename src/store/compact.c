#include "store/compact.h"
#include "store/merge.h"
#include "store/tier.h"
#include <stdatomic.h>
#include <stdlib.h>

#define RETRY_NS (60 * NS_PER_S)                       /* after a merge that failed: the disk may be full */

/* ---- which ---- */

static int by_start(const void *va, const void *vb)
{
    const block *a = *(block *const *)va, *b = *(block *const *)vb;
    if (a->min_t_ms != b->min_t_ms)
        return a->min_t_ms < b->min_t_ms ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static int by_number(const void *va, const void *vb)
{
    const block *a = *(block *const *)va, *b = *(block *const *)vb;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* Is it worth to write these, which overlap, anew? Their largest is, when the others come near it. */
static bool worth(block *const *at, size_t n, bool force)
{
    uint64_t sum = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        sum += at[i]->size;
        largest = MAX(largest, at[i]->size);
    }
    return n > 1 && (force || n >= COMPACT_OVERLAPS_MIN || (sum - largest) * 10 >= largest);
}

/* The first run, in the order of time, of blocks that overlap and are worth it: sorted[*ret_from … + *ret_n). */
static bool find_overlapping(block *const *sorted, size_t n, bool force, size_t *ret_from, size_t *ret_n)
{
    for (size_t i = 0, end; i < n; i = end) {
        int64_t max_t_ms = sorted[i]->max_t_ms;
        for (end = i + 1; end < n && sorted[end]->min_t_ms <= max_t_ms; end++)
            max_t_ms = MAX(max_t_ms, sorted[end]->max_t_ms);
        if (worth(sorted + i, end - i, force)) {
            *ret_from = i;
            *ret_n = end - i;
            return true;
        }
    }
    return false;
}

/* The first window of span_ms with two blocks inside, and complete, or crowded as a store is that is flushed often. */
static bool find_window(block *const *sorted, size_t n, int64_t span_ms, int64_t newest_ms, bool force, size_t *ret_from, size_t *ret_n)
{
    for (size_t i = 0, end; i < n; i = end) {
        int64_t start_ms = window_start(sorted[i]->min_t_ms, span_ms), until_ms = start_ms + span_ms;
        for (end = i; end < n && sorted[end]->min_t_ms < until_ms && sorted[end]->max_t_ms < until_ms; end++)
            ;
        size_t inside = end - i;
        end = MAX(end, i + 1);
        if (inside > 1 && (force || until_ms <= newest_ms || inside >= 2 * COMPACT_OVERLAPS_MIN)) {
            *ret_from = i;
            *ret_n = inside;
            return true;
        }
    }
    return false;
}

static bool find_job(block *const *sorted, size_t n, int64_t first_ms, int64_t retention_ms, int64_t newest_ms, bool force,
                     size_t *ret_from, size_t *ret_n)
{
    int64_t longest_ms = MAX(MIN(retention_ms / 10, COMPACT_SPAN_MAX_MS), first_ms), span_ms = first_ms;
    if (find_overlapping(sorted, n, force, ret_from, ret_n))
        return true;
    for (; span_ms <= longest_ms / COMPACT_GROWTH; span_ms *= COMPACT_GROWTH)
        if (!force && find_window(sorted, n, span_ms, newest_ms, false, ret_from, ret_n))
            return true;
    return find_window(sorted, n, span_ms, newest_ms, force, ret_from, ret_n);
}

err_kind compact_plan(const block_vec *blocks, int64_t first_ms, int64_t retention_ms, int64_t newest_ms, bool force, block_vec *job)
{
    size_t from = 0, n = 0;
    if (blocks->len < 2)
        return OK;
    if (vec_reserve(job, blocks->len))
        return ERR_NOMEM;
    memcpy(job->at, blocks->at, blocks->len * sizeof *job->at);
    qsort(job->at, blocks->len, sizeof *job->at, by_start);
    if (!find_job(job->at, blocks->len, first_ms, retention_ms, newest_ms, force, &from, &n))
        return OK;
    memmove(job->at, job->at + from, n * sizeof *job->at);
    job->len = n;
    qsort(job->at, n, sizeof *job->at, by_number);
    return OK;
}

/* ---- merging ---- */

typedef struct work { merge from; block_writer *to; sample_vec samples; block_chunk_vec histograms; } work;

static void work_done(work *w)
{
    merge_done(&w->from);
    block_writer_abort(w->to);
    vec_done(&w->samples);
    vec_done(&w->histograms);
}

static err_kind copy_series(store *s, work *w, err *e)
{
    labels l;
    err_kind k;
    while (!(k = merge_next(&w->from, &l, e))) {
        if (atomic_load_explicit(&s->compact_wanted, memory_order_relaxed) > 0)
            return err_set(e, ERR_CANCELED, "could not merge blocks: somebody else needs them");
        if ((k = merge_samples(&w->from, INT64_MIN, INT64_MAX, &w->samples, e)) || (k = merge_histograms(&w->from, &w->histograms, e)) ||
            (k = block_writer_add_samples(w->to, l, w->samples.at, w->samples.len, w->histograms.at, w->histograms.len, e)))
            return k;
    }
    return k == ERR_NOT_FOUND ? OK : k;
}

/* What all of them stand for: the newest says it for those before. */
static block_cover cover_of(block *const *in, size_t n)
{
    block_cover c = in[0]->cover;
    for (size_t i = 1; i < n; i++)
        if (in[i]->cover.wal_segment > c.wal_segment || (in[i]->cover.wal_segment == c.wal_segment && in[i]->cover.cut_t_ms > c.cut_t_ms))
            c = in[i]->cover;
    return c;
}

static err_kind tell_replaced(block_writer *w, block *const *in, size_t n, err *e)
{
    err_kind k = OK;
    for (size_t i = 0; !k && i < n; i++)
        k = block_writer_replaces(w, &in[i]->number, 1, e);
    return k;
}

static void log_merge(const char *path, block *const *in, size_t n, uint64_t lost)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += in[i]->size;
    log_info("blocks were merged", KV_INT("blocks", n), KV_INT("bytes", bytes), KV_CSTR("into", path));
    for (size_t i = 0; lost && i < n; i++)
        if (atomic_load(&in[i]->damaged))
            log_error("a block was damaged: what could be read was kept, the file put aside", KV_CSTR("file", in[i]->path), KV_INT("lost_samples", lost));
}

err_kind compact_merge(store *s, block_set *set, block *const *in, size_t n, err *e)
{
    AUTO(work_done) work w = { 0 };
    char path[FILE_PATH_MAX];
    uint32_t number;
    err_kind k;
    if ((k = merge_init(&w.from, in, n, e)) || (k = blocks_begin(s, set, path, &number, e)) || (k = block_writer_open(path, &w.to, e)) ||
        (k = tell_replaced(w.to, in, n, e)) || (k = copy_series(s, &w, e)))
        return k;
    if (block_writer_series(w.to) == 0) /* all is deleted: there is no smaller block than none */
        return blocks_remove(s, set, in, n, e);
    if ((k = block_writer_close(TAKE(w.to), cover_of(in, n), e)) || (k = blocks_show(s, set, path, number, e)))
        return k;
    log_merge(path, in, n, w.from.lost);
    return OK;
}

/* A block with a page that failed its checksum is written again without it. */
static err_kind mend(store *s, block_set *set, const block_vec *all, bool *ret_did, err *e)
{
    err_kind k = OK;
    for (size_t i = 0; !k && i < all->len; i++)
        if (atomic_load(&all->at[i]->damaged)) {
            *ret_did = true;
            k = compact_merge(s, set, &all->at[i], 1, e);
        }
    return k;
}

static int64_t newest_of(const block_vec *all)
{
    int64_t newest_ms = INT64_MIN;
    for (size_t i = 0; i < all->len; i++)
        newest_ms = MAX(newest_ms, all->at[i]->max_t_ms);
    return newest_ms;
}

static err_kind step(store *s, block_set *set, int64_t first_ms, int64_t keep_ms, bool force, bool *ret_did, err *e)
{
    block_vec all = { 0 }, job = { 0 };
    err_kind k = blocks_hold(s, set, &all, e);
    *ret_did = false;
    if (!k)
        k = mend(s, set, &all, ret_did, e);
    if (!k && !*ret_did) {
        k = compact_plan(&all, first_ms, keep_ms, newest_of(&all), force, &job) ? err_nomem(e) : OK;
        if (!k && job.len > 0) {
            *ret_did = true;
            k = compact_merge(s, set, job.at, job.len, e);
        }
    }
    vec_done(&job);
    blocks_let_go(&all);
    return k;
}

static err_kind merge_all(store *s, block_set *set, int64_t first_ms, int64_t keep_ms, bool force, err *e)
{
    bool did;
    err_kind k;
    do
        k = step(s, set, first_ms, keep_ms, force, &did, e);
    while (!k && did);
    return k;
}

/* ---- too much ---- */

/* The block whose samples are the oldest, raw ones before roll-ups; NULL: none is left. */
static block *oldest_block(store *s, const block_vec sets[1 + STORE_TIERS], block_set **ret_set)
{
    block *oldest = NULL;
    for (size_t i = 0; i <= STORE_TIERS && !oldest; i++)
        for (size_t j = 0; j < sets[i].len; j++)
            if (sets[i].at[j] && (!oldest || sets[i].at[j]->max_t_ms < oldest->max_t_ms)) {
                oldest = sets[i].at[j];
                *ret_set = i == 0 ? &s->blocks : &s->tiers[i - 1].blocks;
            }
    return oldest;
}

static void forget(block_vec sets[1 + STORE_TIERS], const block *b)
{
    for (size_t i = 0; i <= STORE_TIERS; i++)
        for (size_t j = 0; j < sets[i].len; j++)
            if (sets[i].at[j] == b) {
                block_unref(sets[i].at[j]);
                vec_remove(&sets[i], j);
                return;
            }
}

/* Whole blocks go, the oldest first, until all the rest and the log take no more than is allowed. */
static err_kind expire_by_bytes(store *s, err *e)
{
    block_vec sets[1 + STORE_TIERS] = { 0 };
    uint64_t sum = store_stats_get(s).wal_bytes;
    err_kind k = blocks_hold(s, &s->blocks, &sets[0], e);
    for (size_t i = 0; !k && i < STORE_TIERS; i++)
        k = blocks_hold(s, &s->tiers[i].blocks, &sets[i + 1], e);
    for (size_t i = 0; i <= STORE_TIERS; i++)
        for (size_t j = 0; j < sets[i].len; j++)
            sum += sets[i].at[j]->size;
    block_set *set;
    for (block *b; !k && sum > (uint64_t)s->retention_bytes && (b = oldest_block(s, sets, &set));) {
        sum -= b->size;
        log_info("a block was removed: the store has reached its size", KV_CSTR("file", b->path), KV_INT("samples", b->sample_count),
                 KV_INT("newest_ms", b->max_t_ms), KV_INT("limit_bytes", s->retention_bytes));
        k = blocks_remove(s, set, &b, 1, e);
        forget(sets, b);
    }
    for (size_t i = 0; i <= STORE_TIERS; i++)
        blocks_let_go(&sets[i]);
    return k;
}

/* ---- all of it ---- */

static err_kind compact_all(store *s, bool force, err *e)
{
    err_kind k = merge_all(s, &s->blocks, s->block_ms, s->retention_ms, force, e);
    for (size_t i = 0; !k && i < STORE_TIERS; i++) {
        tier_set *t = &s->tiers[i];
        if (t->keep_ms > 0 && !(k = tier_roll_up(s, t, force, e)))
            k = merge_all(s, &t->blocks, s->block_ms, t->keep_ms, force, e);
        if (!k)
            k = tier_expire(s, t, e);
    }
    return k || s->retention_bytes <= 0 ? k : expire_by_bytes(s, e);
}

err_kind compact_run(store *s, bool force, err *e)
{
    pthread_mutex_lock(&s->compact_lock);
    err_kind k = OK;
    if (force || clock_mono_ns() >= s->next_compact_ns) {
        k = compact_all(s, force, e);
        s->next_compact_ns = k && k != ERR_CANCELED ? clock_mono_ns() + RETRY_NS : 0;
    }
    pthread_mutex_unlock(&s->compact_lock);
    return k;
}
