/* Deleting: the head is handed over first, so that only blocks hold samples; then each block that has some gets new
 * tombstones, on disk before readers see them. The roll-ups of what is deleted go too: every point that stands for any of
 * it. Stopped halfway, some blocks are done; the same call again does the rest. */
#include "store/compact.h"
#include <stdatomic.h>
#include <stdlib.h>

typedef struct deletion {
    store *s;
    const matcher_set *sets;
    size_t n;
    int64_t from_ms, to_ms;
    vec(uint64_t) series;        /* hashes of the labels that were met, for the receipt */
    delete_receipt told;
    sample_vec scratch;
} deletion;

static void deletion_done(deletion *d)
{
    vec_done(&d->series);
    vec_done(&d->scratch);
}

/* ---- one block ---- */

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The series that any of the sets matches, ascending, each once. */
static err_kind match_any(const deletion *d, const block *b, u32_vec *out, err *e)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->n; i++) {
        err_kind k = block_match(b, d->sets[i].at, d->sets[i].len, out, e);
        if (k)
            return k;
    }
    if (d->n > 1 && out->len > 1)
        qsort(out->at, out->len, sizeof *out->at, by_number);
    for (size_t i = 0; i < out->len; i++)
        if (kept == 0 || out->at[kept - 1] != out->at[i])
            out->at[kept++] = out->at[i];
    out->len = kept;
    return OK;
}

/* How many samples of the series show in the range; pages that cannot be read hide theirs anyway. */
static err_kind count_samples(deletion *d, const block *b, block_entry *entry, int64_t from_ms, int64_t to_ms, uint64_t *ret, err *e)
{
    block_page p;
    err_kind k;
    *ret = 0;
    while (!(k = block_next_page(b, entry, &p, e))) {
        if (p.max_t_ms < from_ms || p.min_t_ms > to_ms)
            continue;
        d->scratch.len = 0;
        k = block_decode(b, &p, from_ms, to_ms, &d->scratch, e);
        if (k && k != ERR_CORRUPT)
            return k;
        *ret += p.kind == CHUNK_HISTOGRAM ? p.count : d->scratch.len;
    }
    return k == ERR_NOT_FOUND ? OK : k;
}

static err_kind delete_series(deletion *d, const block *b, uint32_t number, int64_t from_ms, int64_t to_ms, bool raw, tombstones *t, err *e)
{
    block_entry entry;
    uint64_t samples;
    err_kind k = block_read_series(b, number, &entry, e);
    labels l = { entry.labels, k ? 0 : entry.label_count };
    if (k || (k = count_samples(d, b, &entry, from_ms, to_ms, &samples, e)) || samples == 0)
        return k;
    if (vec_push(t, ((tombstone){ number, from_ms, to_ms })))
        return err_nomem(e);
    if (!raw)
        return OK;
    d->told.samples += samples;
    return vec_push(&d->series, labels_hash(l)) ? err_nomem(e) : OK;
}

static err_kind delete_in_block(deletion *d, block_set *set, const block *b, int64_t from_ms, int64_t to_ms, err *e)
{
    bool raw = set == &d->s->blocks;
    u32_vec numbers = { 0 };
    tombstones t = { 0 };
    char path[FILE_PATH_MAX];
    err_kind k = match_any(d, b, &numbers, e);
    if (!k && vec_reserve(&t, b->deleted.len + numbers.len + 1))
        k = err_nomem(e);
    if (!k && b->deleted.len)
        memcpy(t.at, b->deleted.at, (t.len = b->deleted.len) * sizeof *t.at);
    for (size_t i = 0; !k && i < numbers.len; i++)
        k = delete_series(d, b, numbers.at[i], MAX(from_ms, b->min_t_ms), MIN(to_ms, b->max_t_ms), raw, &t, e);
    if (!k && t.len > b->deleted.len) {
        tombstones_tidy(&t);
        if (!(k = tombstones_path(path, b->path, e)) && !(k = tombstones_write(path, &t, e)))
            k = blocks_reopen(d->s, set, b, e);
        d->told.blocks += !k && raw;
    }
    vec_done(&numbers);
    vec_done(&t);
    return k;
}

static err_kind delete_in_set(deletion *d, block_set *set, int64_t from_ms, int64_t to_ms, err *e)
{
    block_vec all = { 0 };
    err_kind k = blocks_hold(d->s, set, &all, e);
    for (size_t i = 0; !k && i < all.len; i++)
        if (all.at[i]->min_t_ms <= to_ms && all.at[i]->max_t_ms >= from_ms)
            k = delete_in_block(d, set, all.at[i], from_ms, to_ms, e);
    blocks_let_go(&all);
    return k;
}

/* ---- the door ---- */

static int by_hash(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t count_distinct(deletion *d)
{
    uint64_t n = 0;
    if (d->series.len > 1)
        qsort(d->series.at, d->series.len, sizeof *d->series.at, by_hash);
    for (size_t i = 0; i < d->series.len; i++)
        n += i == 0 || d->series.at[i] != d->series.at[i - 1];
    return n;
}

static err_kind delete_everywhere(deletion *d, err *e)
{
    store *s = d->s;
    err_kind k = delete_in_set(d, &s->blocks, d->from_ms, d->to_ms, e);
    for (size_t i = 0; !k && i < STORE_TIERS; i++) { /* a point at t stands for (t - step, t] */
        int64_t most = INT64_MAX - s->tiers[i].step_ms;
        k = delete_in_set(d, &s->tiers[i].blocks, d->from_ms, d->to_ms > most ? INT64_MAX : d->to_ms + s->tiers[i].step_ms - 1, e);
    }
    d->told.series = count_distinct(d);
    return k;
}

static err_kind refuse_read_only(const store *s, err *e)
{
    return s->read_only ? err_set(e, ERR_DENIED, "cannot delete from store \"%s\": it is open for reading only", s->dir) : OK;
}

/* No merge may take samples from a block while it gets tombstones. */
static void take_blocks(store *s)
{
    atomic_fetch_add(&s->compact_wanted, 1);
    pthread_mutex_lock(&s->compact_lock);
    atomic_fetch_sub(&s->compact_wanted, 1);
}

err_kind store_delete(store *s, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms, delete_receipt *ret, err *e)
{
    AUTO(deletion_done) deletion d = { .s = s, .sets = sets, .n = n, .from_ms = from_ms, .to_ms = to_ms };
    err_kind k = refuse_read_only(s, e);
    if (k || (k = care_hand_over(s, from_ms, e)))
        return k;
    take_blocks(s);
    k = delete_everywhere(&d, e);
    pthread_mutex_unlock(&s->compact_lock);
    *ret = d.told;
    if (!k)
        log_info("samples were deleted", KV_INT("series", d.told.series), KV_INT("samples", d.told.samples), KV_INT("from_ms", from_ms), KV_INT("to_ms", to_ms));
    return k;
}

static err_kind clean_set(store *s, block_set *set, err *e)
{
    block_vec all = { 0 };
    err_kind k = blocks_hold(s, set, &all, e);
    for (size_t i = 0; !k && i < all.len; i++)
        if (all.at[i]->deleted.len > 0)
            k = compact_merge(s, set, &all.at[i], 1, e);
    blocks_let_go(&all);
    return k;
}

static err_kind clean_all(store *s, err *e)
{
    err_kind k = clean_set(s, &s->blocks, e);
    for (size_t i = 0; !k && i < STORE_TIERS; i++)
        k = clean_set(s, &s->tiers[i].blocks, e);
    return k;
}

err_kind store_clean(store *s, err *e)
{
    err_kind k = refuse_read_only(s, e);
    if (k)
        return k;
    do {
        take_blocks(s);
        k = clean_all(s, e);
        pthread_mutex_unlock(&s->compact_lock);
    } while (k == ERR_CANCELED);
    return k;
}
