#include "store/head.h"
#include <stdatomic.h>

#define SLOT_MASK ((UINT64_C(1) << HEAD_SLOT_BITS) - 1)
#define GENERATION_MASK ((UINT64_C(1) << HEAD_GENERATION_BITS) - 1)
#define EPOCH_SHIFT (HEAD_SLOT_BITS + HEAD_GENERATION_BITS)

/* Counts the stores opened in this process; wraps after 65,535 of them. */
static _Atomic uint32_t opened;

err_kind head_init(head *h, size_t max_series)
{
    *h = (head){ .max_series = MIN(max_series, HEAD_SERIES_MAX - 1), .next_wal_id = 1 };
    h->epoch = (uint64_t)(atomic_fetch_add(&opened, 1) % 0xffff + 1) << EPOCH_SHIFT;
    atomic_init(&h->min_t_ms, INT64_MAX);
    atomic_init(&h->max_t_ms, INT64_MIN);
    for (uint32_t i = 0; i < HEAD_SHARDS; i++) {
        pthread_mutex_init(&h->shards[i].lock, NULL);
        postings_init(&h->shards[i].postings);
    }
    return vec_push(&h->slots, (head_slot){ 0 });
}

static void spares_free(series *s)
{
    while (s->spare) {
        chunk *next = s->spare->next;
        chunk_unref(s->spare);
        s->spare = next;
    }
}

static void series_free(series *s)
{
    for (uint32_t i = 0; i < s->closed_len; i++)
        chunk_unref(s->closed[i]);
    chunk_unref(s->open);
    spares_free(s);
    mem_free(s->closed);
    label_set_unref(s->labels);
    mem_free(s);
}

void head_done(head *h)
{
    for (uint32_t i = 0; i < HEAD_SHARDS; i++) {
        head_shard *shard = &h->shards[i];
        for (size_t c = 0; c < shard->cap; c++)
            if (shard->cells[c].series)
                series_free(shard->cells[c].series);
        mem_free(shard->cells);
        postings_done(&shard->postings);
        pthread_mutex_destroy(&shard->lock);
    }
    vec_done(&h->slots);
}

void head_lock(head *h, uint32_t mask)
{
    for (uint32_t i = 0; i < HEAD_SHARDS; i++)
        if (mask >> i & 1)
            pthread_mutex_lock(&h->shards[i].lock);
}

void head_unlock(head *h, uint32_t mask)
{
    for (uint32_t i = 0; i < HEAD_SHARDS; i++)
        if (mask >> i & 1)
            pthread_mutex_unlock(&h->shards[i].lock);
}

/* ---- finding ---- */

series *head_by_ref(const head *h, uint64_t ref)
{
    uint64_t slot = ref & SLOT_MASK;
    if (slot == 0 || slot >= h->slots.len)
        return NULL;
    series *s = h->slots.at[slot].series;
    return s && s->ref == ref ? s : NULL;
}

/* The cell that holds the series or the free one where it would go. cap > 0. */
static head_cell *cell_of(const head_shard *shard, labels l, uint64_t hash)
{
    size_t mask = shard->cap - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        head_cell *cell = &shard->cells[i];
        if (!cell->series || (cell->hash == hash && labels_eq(label_set_view(cell->series->labels), l)))
            return cell;
    }
}

series *head_find(const head *h, labels l, uint64_t hash)
{
    const head_shard *shard = &h->shards[head_shard_of(hash)];
    return shard->cap ? cell_of(shard, l, hash)->series : NULL;
}

series *head_next(const head_shard *shard, size_t *pos)
{
    while (*pos < shard->cap) {
        series *s = shard->cells[(*pos)++].series;
        if (s)
            return s;
    }
    return NULL;
}

/* ---- adding ---- */

static err_kind table_reserve(head_shard *shard)
{
    if ((shard->len + 1) * 4 <= shard->cap * 3)
        return OK;
    size_t cap = MAX(shard->cap * 2, HEAD_TABLE_FIRST);
    head_cell *cells = mem_calloc(cap, sizeof *cells);
    if (!cells)
        return ERR_NOMEM;
    for (size_t i = 0; i < shard->cap; i++) {
        head_cell cell = shard->cells[i];
        size_t at = cell.hash & (cap - 1);
        if (!cell.series)
            continue;
        while (cells[at].series)
            at = (at + 1) & (cap - 1);
        cells[at] = cell;
    }
    mem_free(shard->cells);
    shard->cells = cells;
    shard->cap = cap;
    return OK;
}

/* A free slot with its next generation, or 0 without memory. Taken only when the series is in place. */
static uint32_t slot_find(head *h)
{
    if (h->first_free)
        return h->first_free;
    if (vec_push(&h->slots, (head_slot){ 0 }))
        return 0;
    return h->first_free = (uint32_t)h->slots.len - 1;
}

static void slot_take(head *h, uint32_t slot, series *s)
{
    head_slot *place = &h->slots.at[slot];
    h->first_free = place->next_free;
    place->next_free = 0;
    place->series = s;
    s->ref = h->epoch | (uint64_t)place->generation << HEAD_SLOT_BITS | slot;
}

static void slot_free(head *h, uint64_t ref)
{
    uint32_t slot = (uint32_t)(ref & SLOT_MASK);
    head_slot *place = &h->slots.at[slot];
    place->series = NULL;
    if (++place->generation > GENERATION_MASK)
        return; /* all its refs were once given out: retired */
    place->next_free = h->first_free;
    h->first_free = slot;
}

static series *series_new(labels l)
{
    series *s = mem_zalloc(sizeof *s);
    if (!s)
        return NULL;
    s->cut_t_ms = s->last_t_ms = INT64_MIN;
    s->labels = label_set_new(l);
    if (s->labels)
        return s;
    mem_free(s);
    return NULL;
}

err_kind head_add(head *h, labels l, uint64_t hash, series **ret, err *e)
{
    if (atomic_load_explicit(&h->series_count, memory_order_relaxed) >= h->max_series) {
        err_set(e, ERR_LIMIT, "could not add a series: the store already holds %zu", h->max_series);
        return err_hint(e, "Find the label with too many values in /api/v1/status/tsdb, or raise store.max_series."), ERR_LIMIT;
    }
    head_shard *shard = &h->shards[head_shard_of(hash)];
    uint32_t slot = slot_find(h);
    series *s = slot ? series_new(l) : NULL;
    if (!s)
        return err_nomem(e);
    s->shard = head_shard_of(hash);
    s->wal_id = h->next_wal_id++;
    pthread_mutex_lock(&shard->lock);
    bool fits = !table_reserve(shard) && !postings_add(&shard->postings, s, label_set_view(s->labels));
    if (fits) {
        *cell_of(shard, l, hash) = (head_cell){ hash, s };
        shard->len++;
    }
    pthread_mutex_unlock(&shard->lock);
    if (!fits) {
        series_free(s);
        return err_nomem(e);
    }
    slot_take(h, slot, s);
    atomic_fetch_add_explicit(&h->series_count, 1, memory_order_relaxed);
    *ret = s;
    return OK;
}

/* ---- samples ---- */

static err_kind closed_reserve(series *s, uint32_t more)
{
    size_t cap = s->closed_cap;
    err_kind k = vec_grow((void **)&s->closed, &cap, (size_t)s->closed_len + more, sizeof *s->closed);
    s->closed_cap = (uint32_t)cap;
    return k;
}

/* Enough spares that `rows` samples find a place behind the open chunk. */
static err_kind spares_reserve(series *s, uint32_t rows)
{
    chunk **at = &s->spare;
    for (; rows > 0; at = &(*at)->next) {
        uint32_t here = MIN(rows, CHUNK_MAX_SAMPLES);
        if (!*at && !(*at = chunk_new(here)))
            return ERR_NOMEM;
        if ((*at)->cap < here * CHUNK_SAMPLE_MAX_BYTES) {
            chunk *next = (*at)->next;
            if (chunk_reserve(at, here))
                return ERR_NOMEM;
            (*at)->next = next;
        }
        rows -= here;
    }
    return OK;
}

static err_kind series_reserve_locked(series *s, uint32_t rows)
{
    uint32_t here = s->open ? MIN(rows, (uint32_t)CHUNK_MAX_SAMPLES - s->open->count) : 0;
    uint32_t later = rows - here;
    if (here && chunk_reserve(&s->open, here))
        return ERR_NOMEM;
    if (later && closed_reserve(s, later / CHUNK_MAX_SAMPLES + 1))
        return ERR_NOMEM;
    return spares_reserve(s, later);
}

err_kind series_reserve(head *h, series *s, uint32_t rows)
{
    /* The usual case, one more sample into a chunk with room, needs neither memory nor the lock. */
    if (s->open && s->open->count + rows <= CHUNK_MAX_SAMPLES &&
        chunk_size(s->open) + (size_t)rows * CHUNK_SAMPLE_MAX_BYTES <= s->open->cap)
        return OK;
    pthread_mutex_t *lock = &h->shards[s->shard].lock;
    pthread_mutex_lock(lock);
    err_kind k = series_reserve_locked(s, rows);
    pthread_mutex_unlock(lock);
    return k;
}

static void widen(_Atomic int64_t *min_t_ms, _Atomic int64_t *max_t_ms, int64_t t_ms)
{
    if (t_ms < atomic_load_explicit(min_t_ms, memory_order_relaxed))
        atomic_store_explicit(min_t_ms, t_ms, memory_order_relaxed);
    if (t_ms > atomic_load_explicit(max_t_ms, memory_order_relaxed))
        atomic_store_explicit(max_t_ms, t_ms, memory_order_relaxed);
}

void series_put(head *h, series *s, int64_t t_ms, double v)
{
    if (s->open && s->open->count == CHUNK_MAX_SAMPLES) {
        assert(s->closed_len < s->closed_cap);
        s->closed[s->closed_len++] = chunk_shrink(s->open);
        s->open = NULL;
    }
    if (!s->open) {
        s->open = s->spare;
        assert(s->open);
        s->spare = s->open->next;
        s->open->next = NULL;
        atomic_fetch_add_explicit(&h->chunk_count, 1, memory_order_relaxed);
    }
    err_kind k = chunk_append(s->open, t_ms, v);
    assert(k == OK);
    UNUSED(k);
    s->last_t_ms = t_ms;
    s->last_v = v;
    s->has_last = true;
    widen(&h->min_t_ms, &h->max_t_ms, t_ms);
}

static void forget(head *h, chunk *c)
{
    atomic_fetch_sub_explicit(&h->chunk_count, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&h->sample_count, c->count, memory_order_relaxed);
    chunk_unref(c);
}

void series_trim(head *h, series *s, int64_t t_ms)
{
    uint32_t gone = 0;
    while (gone < s->closed_len && s->closed[gone]->max_t_ms <= t_ms)
        forget(h, s->closed[gone++]);
    s->closed_len -= gone;
    if (gone && s->closed_len)
        memmove(s->closed, s->closed + gone, s->closed_len * sizeof *s->closed);
    if (s->open && s->open->max_t_ms <= t_ms) {
        forget(h, s->open);
        s->open = NULL;
    }
    if (series_empty(s)) {
        mem_free(s->closed);
        s->closed = NULL;
        s->closed_cap = 0;
        spares_free(s);
    }
    /* Not beyond what there was: a clock that steps back must not hide samples still to come. */
    s->cut_t_ms = MAX(s->cut_t_ms, MIN(t_ms, s->last_t_ms));
}

void series_clear(head *h, series *s)
{
    series_trim(h, s, INT64_MAX);
    s->cut_t_ms = INT64_MIN;
    s->has_last = false;
}

int64_t series_min_t(const series *s)
{
    if (series_empty(s))
        return INT64_MAX;
    int64_t t = s->closed_len ? s->closed[0]->min_t_ms : s->open->min_t_ms;
    return s->cut_t_ms >= t ? s->cut_t_ms + 1 : t;
}

int64_t series_max_t(const series *s)
{
    if (series_empty(s))
        return INT64_MIN;
    return s->open ? s->open->max_t_ms : s->closed[s->closed_len - 1]->max_t_ms;
}

/* ---- care ---- */

static bool series_dead(const series *s) { return s->dead; }

/* Take the dead out: linear probing without tombstones means placing the survivors anew. False without
 * memory, and then nobody was taken. */
static bool table_sweep(head *h, head_shard *shard)
{
    head_cell *cells = mem_calloc(shard->cap, sizeof *cells);
    if (!cells)
        return false;
    postings_sweep(&shard->postings, series_dead);
    shard->len = 0;
    for (size_t i = 0; i < shard->cap; i++) {
        head_cell cell = shard->cells[i];
        if (!cell.series)
            continue;
        if (cell.series->dead) {
            slot_free(h, cell.series->ref);
            series_free(cell.series);
            continue;
        }
        size_t at = cell.hash & (shard->cap - 1);
        while (cells[at].series)
            at = (at + 1) & (shard->cap - 1);
        cells[at] = cell;
        shard->len++;
    }
    mem_free(shard->cells);
    shard->cells = cells;
    return true;
}

static size_t mark_dead(head_shard *shard)
{
    size_t dead = 0;
    series *s;
    for (size_t pos = 0; (s = head_next(shard, &pos));)
        dead += s->dead = series_empty(s);
    return dead;
}

size_t head_sweep(head *h)
{
    size_t gone = 0;
    for (uint32_t i = 0; i < HEAD_SHARDS; i++) {
        head_shard *shard = &h->shards[i];
        pthread_mutex_lock(&shard->lock);
        size_t dead = mark_dead(shard);
        if (dead > 0 && table_sweep(h, shard))
            gone += dead;
        pthread_mutex_unlock(&shard->lock);
    }
    atomic_fetch_sub_explicit(&h->series_count, gone, memory_order_relaxed);
    return gone;
}

void head_measure(head *h)
{
    int64_t min_t_ms = INT64_MAX, max_t_ms = INT64_MIN;
    for (uint32_t i = 0; i < HEAD_SHARDS; i++) {
        series *s;
        for (size_t pos = 0; (s = head_next(&h->shards[i], &pos));) {
            int64_t first_ms = series_min_t(s), last_ms = series_max_t(s);
            min_t_ms = MIN(min_t_ms, first_ms);
            max_t_ms = MAX(max_t_ms, last_ms);
        }
    }
    atomic_store_explicit(&h->min_t_ms, min_t_ms, memory_order_relaxed);
    atomic_store_explicit(&h->max_t_ms, max_t_ms, memory_order_relaxed);
}
