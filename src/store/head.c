#include "store/head.h"
#include <stdatomic.h>

#define GENERATION_MASK ((UINT64_C(1) << HEAD_GENERATION_BITS) - 1)
#define EPOCH_SHIFT (HEAD_SLOT_BITS + HEAD_GENERATION_BITS)
#define CACHE_LINE 64u

/* Counts the stores opened in this process; wraps after 65,535 of them. */
static _Atomic uint32_t opened;

err_kind head_init(head *h)
{
    *h = (head){ .next_wal_id = 1, .slots = 1 };
    h->epoch = (uint64_t)(atomic_fetch_add(&opened, 1) % 0xffff + 1) << EPOCH_SHIFT;
    atomic_init(&h->min_t_ms, INT64_MAX);
    atomic_init(&h->max_t_ms, INT64_MIN);
    pthread_mutex_init(&h->lock, NULL);
    chunk_pool_init(&h->pool);
    return postings_init(&h->postings);
}

/* ---- runs of chunks ---- */

err_kind chunk_run_push(chunk_run **r, chunk *c)
{
    uint32_t len = *r ? (*r)->len : 0, cap = *r ? (*r)->cap : 0;
    if (len == cap) {
        cap += MAX(cap / 2, 2);
        chunk_run *bigger = mem_realloc(*r, sizeof *bigger + cap * sizeof bigger->at[0]);
        if (!bigger)
            return ERR_NOMEM;
        bigger->cap = cap;
        *r = bigger;
    }
    (*r)->len = len + 1;
    (*r)->at[len] = c;
    return OK;
}

void chunk_run_free(chunk_run *r)
{
    for (uint32_t i = 0; r && i < r->len; i++)
        chunk_unref(r->at[i]);
    mem_free(r);
}

static size_t chunk_bytes_of(const chunk *c) { return sizeof *c + c->size; }

/* A chunk joins a run of the head. */
static err_kind keep_chunk(head *h, chunk_run **r, chunk *c)
{
    if (!c)
        return ERR_NOMEM;
    if (chunk_run_push(r, c)) {
        chunk_unref(c);
        return ERR_NOMEM;
    }
    h->small_bytes += chunk_bytes_of(c);
    return OK;
}

static void forget_chunk(head *h, chunk *c)
{
    h->small_bytes -= chunk_bytes_of(c);
    atomic_fetch_sub_explicit(&h->chunk_count, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&h->sample_count, c->count, memory_order_relaxed);
    chunk_unref(c);
}

/* ---- series and their slots ---- */

static void late_done(series_more *m)
{
    for (size_t i = 0; i < m->late.len; i++)
        mem_free(m->late.at[i].h);
    vec_done(&m->late);
}

static void more_free(series_more *m)
{
    if (!m)
        return;
    histogram_filling_done(&m->histograms);
    late_done(m);
    chunk_run_free(m->late_closed);
    mem_free(m);
}

void head_done(head *h)
{
    series *s;
    for (uint32_t slot = 0; (s = head_next(h, &slot));) {
        series_cold *c = head_cold(h, s);
        chunk_run_free(c->closed);
        more_free(c->more);
        mem_free(c->pairs);
    }
    for (size_t i = 0; i < h->slabs.len; i++) {
        mem_free(h->slabs.at[i].memory);
        mem_free(h->slabs.at[i].cold);
    }
    vec_done(&h->slabs);
    mem_free(h->cells);
    postings_done(&h->postings);
    chunk_pool_done(&h->pool);
    pthread_mutex_destroy(&h->lock);
}

void head_lock(head *h) { pthread_mutex_lock(&h->lock); }
void head_unlock(head *h) { pthread_mutex_unlock(&h->lock); }

series *head_next(const head *h, uint32_t *slot)
{
    while (++*slot < h->slots) {
        /* Not the flags: the appender writes beside them without the lock. */
        if (h->slabs.at[*slot / HEAD_SLAB_SERIES].cold[*slot % HEAD_SLAB_SERIES].pairs)
            return head_at(h, *slot);
    }
    return NULL;
}

size_t head_labels(const head *h, const series *s, label out[LABELS_MAX])
{
    const series_cold *c = head_cold(h, s);
    for (size_t i = 0; i < c->label_count; i++)
        out[i] = postings_label(&h->postings, c->pairs[i]);
    return c->label_count;
}

static err_kind slab_fill(head *h, head_slab *slab)
{
    slab->memory = mem_zalloc(HEAD_SLAB_SERIES * sizeof(series) + CACHE_LINE);
    slab->cold = mem_calloc(HEAD_SLAB_SERIES, sizeof *slab->cold);
    if (!slab->memory || !slab->cold) {
        mem_freep(&slab->memory);
        mem_freep(&slab->cold);
        return ERR_NOMEM;
    }
    slab->hot = (series *)(((uintptr_t)slab->memory + CACHE_LINE - 1) & ~(uintptr_t)(CACHE_LINE - 1));
    uint32_t first = (uint32_t)(slab - h->slabs.at) * HEAD_SLAB_SERIES;
    for (uint32_t i = 0; i < HEAD_SLAB_SERIES; i++)
        slab->hot[i].ref = h->epoch | (first + i);
    return OK;
}

/* A free slot, or 0 without memory. Taken only when the series is in place. Readers walk the slabs: under the lock. */
static uint32_t slot_find(head *h)
{
    if (h->first_free)
        return h->first_free;
    if (h->slots >= HEAD_SERIES_MAX)
        return 0;
    uint32_t slab = h->slots / HEAD_SLAB_SERIES;
    if (slab == h->slabs.len && vec_push(&h->slabs, (head_slab){ 0 }))
        return 0;
    if (!h->slabs.at[slab].hot && slab_fill(h, &h->slabs.at[slab]))
        return 0; /* the next attempt fills it */
    h->first_free = h->slots++;
    head_at(h, h->first_free)->staged = 0;
    return h->first_free;
}

/* ---- finding ---- */

static bool has_labels(const head *h, const series *s, labels l)
{
    const series_cold *c = head_cold(h, s);
    if (c->label_count != l.len)
        return false;
    for (size_t i = 0; i < l.len; i++) {
        label own = postings_label(&h->postings, c->pairs[i]);
        if (!str_eq(own.value, l.at[i].value) || !str_eq(own.name, l.at[i].name))
            return false;
    }
    return true;
}

static uint32_t short_hash(uint64_t hash) { return (uint32_t)(hash >> 32); }

series *head_find(const head *h, labels l, uint64_t hash)
{
    if (!h->cells_cap)
        return NULL;
    size_t mask = h->cells_cap - 1;
    for (size_t i = short_hash(hash) & mask; h->cells[i].slot; i = (i + 1) & mask) {
        if (h->cells[i].hash != short_hash(hash))
            continue;
        series *s = head_at(h, h->cells[i].slot);
        if (has_labels(h, s, l))
            return s;
    }
    return NULL;
}

/* ---- adding ---- */

static void cell_put(head_cell *cells, size_t cap, head_cell cell)
{
    size_t i = cell.hash & (cap - 1);
    while (cells[i].slot)
        i = (i + 1) & (cap - 1);
    cells[i] = cell;
}

static err_kind table_reserve(head *h)
{
    if ((atomic_load_explicit(&h->series_count, memory_order_relaxed) + 1) * 4 <= h->cells_cap * 3)
        return OK;
    size_t cap = MAX(h->cells_cap * 2, HEAD_TABLE_FIRST);
    head_cell *cells = mem_calloc(cap, sizeof *cells);
    if (!cells)
        return ERR_NOMEM;
    for (size_t i = 0; i < h->cells_cap; i++)
        if (h->cells[i].slot)
            cell_put(cells, cap, h->cells[i]);
    mem_free(h->cells);
    h->cells = cells;
    h->cells_cap = cap;
    return OK;
}

static void series_begin(head *h, uint32_t slot, uint32_t *pairs, size_t n, uint64_t hash)
{
    series *s = head_at(h, slot);
    series_cold *c = head_cold(h, s);
    h->first_free = s->staged;
    *s = (series){ .ref = s->ref, .wal_id = h->next_wal_id++, .flags = SERIES_USED };
    *c = (series_cold){ .cut_t_ms = INT64_MIN, .pairs = pairs, .hash = short_hash(hash), .label_count = (uint8_t)n };
    cell_put(h->cells, h->cells_cap, (head_cell){ c->hash, slot });
    h->small_bytes += n * sizeof *pairs;
    atomic_fetch_add_explicit(&h->series_count, 1, memory_order_relaxed);
}

static err_kind add_locked(head *h, labels l, uint64_t hash, uint32_t *ret_slot)
{
    uint32_t ids[LABELS_MAX], slot;
    if (table_reserve(h) || !(slot = slot_find(h)) || postings_intern(&h->postings, l, ids))
        return ERR_NOMEM;
    uint32_t *pairs = mem_dup(ids, l.len * sizeof *ids);
    if (!pairs || postings_add(&h->postings, slot, pairs, l.len)) {
        mem_free(pairs);
        return ERR_NOMEM;
    }
    series_begin(h, slot, pairs, l.len, hash);
    *ret_slot = slot;
    return OK;
}

err_kind head_add(head *h, labels l, uint64_t hash, series **ret, err *e)
{
    uint32_t slot;
    if (atomic_load_explicit(&h->series_count, memory_order_relaxed) >= HEAD_SERIES_MAX - 1)
        return err_set(e, ERR_LIMIT, "could not add a series: the store cannot hold more than %zu", HEAD_SERIES_MAX - 1);
    head_lock(h);
    err_kind k = add_locked(h, l, hash, &slot);
    head_unlock(h);
    if (k)
        return err_nomem(e);
    *ret = head_at(h, slot);
    return OK;
}

series_more *series_more_get(head *h, const series *s)
{
    series_cold *c = head_cold(h, s);
    if (c->more)
        return c->more;
    series_more *more = mem_zalloc(sizeof *more);
    if (!more)
        return NULL;
    head_lock(h);
    c->more = more;
    h->small_bytes += sizeof *more;
    head_unlock(h);
    return more;
}

/* ---- samples ---- */

int64_t series_last_t(const head *h, const series *s)
{
    return s->flags & SERIES_LAST_HISTOGRAM ? head_cold(h, s)->more->histograms.last_t_ms : s->open.last_t_ms;
}

static err_kind close_floats(head *h, series *s)
{
    err_kind k = keep_chunk(h, &head_cold(h, s)->closed, filling_close(&s->open, &h->pool));
    if (!k)
        filling_clear(&s->open, &h->pool);
    return k;
}

static err_kind close_histograms(head *h, series *s)
{
    histogram_filling *f = &head_cold(h, s)->more->histograms;
    err_kind k = keep_chunk(h, &head_cold(h, s)->closed, histogram_filling_close(f));
    if (!k)
        histogram_filling_clear(f);
    return k;
}

err_kind series_prepare(head *h, series *s)
{
    head_lock(h);
    err_kind k = s->open.count ? close_floats(h, s) : OK;
    head_unlock(h);
    return k && s->open.count >= CHUNK_HARD_MAX_SAMPLES ? ERR_NOMEM : OK;
}

void series_put(head *h, series *s, int64_t t_ms, double v)
{
    if (s->open.count >= CHUNK_MAX_SAMPLES)
        (void)!close_floats(h, s); /* without memory the run goes on as it is … */
    if (s->open.count >= CHUNK_HARD_MAX_SAMPLES)
        return; /* … up to here: out of memory 500 times in a row, the log alone has the sample */
    if (s->open.count == 0)
        atomic_fetch_add_explicit(&h->chunk_count, 1, memory_order_relaxed);
    filling_put(&s->open, &h->pool, t_ms, v);
    s->flags = (s->flags | SERIES_HAS_LAST) & ~SERIES_LAST_HISTOGRAM & 0xff;
}

void series_put_histogram(head *h, series *s, int64_t t_ms, histogram *own)
{
    histogram_filling *f = &head_cold(h, s)->more->histograms;
    if (f->count >= CHUNK_MAX_SAMPLES) {
        size_t room = f->cap - f->len;
        uint8_t *bytes = mem_alloc(room); /* what was reserved has to be there in the new run too */
        if (bytes && !close_histograms(h, s)) {
            f->bytes = TAKE(bytes);
            f->cap = room;
        }
        mem_free(bytes);
    }
    if (f->count == 0)
        atomic_fetch_add_explicit(&h->chunk_count, 1, memory_order_relaxed);
    histogram_filling_put(f, t_ms, own);
    s->flags |= SERIES_HAS_LAST | SERIES_LAST_HISTOGRAM;
}

void head_grew(head *h, uint64_t samples, int64_t min_t_ms, int64_t max_t_ms)
{
    atomic_fetch_add_explicit(&h->sample_count, samples, memory_order_relaxed);
    if (min_t_ms < atomic_load_explicit(&h->min_t_ms, memory_order_relaxed))
        atomic_store_explicit(&h->min_t_ms, min_t_ms, memory_order_relaxed);
    if (max_t_ms > atomic_load_explicit(&h->max_t_ms, memory_order_relaxed))
        atomic_store_explicit(&h->max_t_ms, max_t_ms, memory_order_relaxed);
}

/* ---- samples that came late ---- */

void series_put_late(head *h, series *s, int64_t t_ms, double v, histogram *own)
{
    series_more *m = head_cold(h, s)->more;
    if (m->late.len >= LATE_MAX)
        (void)!series_pack_late(h, s); /* without memory they stay: the room was reserved */
    size_t at = m->late.len;
    while (at > 0 && m->late.at[at - 1].t_ms >= t_ms)
        at--;
    if (at < m->late.len && m->late.at[at].t_ms == t_ms) {
        mem_free(own);
        atomic_fetch_sub_explicit(&h->sample_count, 1, memory_order_relaxed);
        return;
    }
    assert(m->late.len < m->late.cap);
    memmove(&m->late.at[at + 1], &m->late.at[at], (m->late.len - at) * sizeof *m->late.at);
    m->late.at[at] = (late_sample){ t_ms, v, own };
    m->late.len++;
}

static chunk *pack_floats(const series_more *m)
{
    sample_vec x = { 0 };
    chunk *c = NULL;
    if (!vec_reserve(&x, m->late.len)) {
        for (size_t i = 0; i < m->late.len; i++)
            if (!m->late.at[i].h)
                x.at[x.len++] = (sample){ m->late.at[i].t_ms, m->late.at[i].v };
        c = chunk_of(x.at, x.len);
    }
    vec_done(&x);
    return c;
}

static chunk *pack_histograms(const series_more *m)
{
    histogram_vec x = { 0 };
    chunk *c = NULL;
    if (!vec_reserve(&x, m->late.len)) {
        for (size_t i = 0; i < m->late.len; i++)
            if (m->late.at[i].h)
                x.at[x.len++] = (histogram_sample){ m->late.at[i].t_ms, m->late.at[i].h };
        if (histogram_chunk_of(x.at, x.len, &c))
            c = NULL;
    }
    vec_done(&x);
    return c;
}

err_kind series_pack_late(head *h, series *s)
{
    series_more *m = head_cold(h, s)->more;
    size_t histograms = 0;
    if (!m || m->late.len == 0)
        return OK;
    for (size_t i = 0; i < m->late.len; i++)
        histograms += m->late.at[i].h != NULL;
    chunk *packed[2] = { 0 };
    bool fits = (histograms == m->late.len || (packed[0] = pack_floats(m))) && (histograms == 0 || (packed[1] = pack_histograms(m)));
    uint32_t before = m->late_closed ? m->late_closed->len : 0;
    for (int i = 0; i < 2; i++) {
        if (!fits)
            chunk_unref(packed[i]);
        else if (packed[i])
            fits = !keep_chunk(h, &m->late_closed, packed[i]);
    }
    if (!fits) {
        while (m->late_closed && m->late_closed->len > before) { /* the other kind had no place */
            chunk *c = m->late_closed->at[--m->late_closed->len];
            h->small_bytes -= chunk_bytes_of(c);
            chunk_unref(c);
        }
        return ERR_NOMEM;
    }
    atomic_fetch_add_explicit(&h->chunk_count, m->late_closed->len - before, memory_order_relaxed);
    for (size_t i = 0; i < m->late.len; i++)
        mem_free(m->late.at[i].h);
    m->late.len = 0;
    return OK;
}

/* ---- from a checkpoint ---- */

err_kind series_take_chunk(head *h, series *s, chunk *c, bool late)
{
    series_more *m = late ? series_more_get(h, s) : NULL;
    if (late && !m) {
        chunk_unref(c);
        return ERR_NOMEM;
    }
    err_kind k = keep_chunk(h, late ? &m->late_closed : &head_cold(h, s)->closed, c);
    if (!k)
        atomic_fetch_add_explicit(&h->chunk_count, 1, memory_order_relaxed);
    return k;
}

void series_seen(head *h, series *s, int64_t t_ms, double v)
{
    if (s->flags & SERIES_HAS_LAST && series_last_t(h, s) >= t_ms)
        return;
    s->open.last_t_ms = t_ms;
    memcpy(&s->open.last_bits, &v, sizeof v);
    s->flags = (s->flags | SERIES_HAS_LAST) & ~SERIES_LAST_HISTOGRAM & 0xff;
}

/* ---- moving on ---- */

static void trim_closed(head *h, chunk_run *r, int64_t t_ms)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; r && i < r->len; i++)
        if (r->at[i]->max_t_ms <= t_ms)
            forget_chunk(h, r->at[i]);
        else
            r->at[kept++] = r->at[i];
    if (r)
        r->len = kept;
}

static void run_release(chunk_run **r)
{
    if (*r && (*r)->len == 0) {
        mem_free(*r);
        *r = NULL;
    }
}

void series_trim(head *h, series *s, int64_t t_ms)
{
    series_cold *c = head_cold(h, s);
    trim_closed(h, c->closed, t_ms);
    run_release(&c->closed);
    if (s->open.count && s->open.last_t_ms <= t_ms) {
        atomic_fetch_sub_explicit(&h->chunk_count, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&h->sample_count, s->open.count, memory_order_relaxed);
        filling_clear(&s->open, &h->pool);
    }
    histogram_filling *f = c->more ? &c->more->histograms : NULL;
    if (f && f->count && f->last_t_ms <= t_ms) {
        atomic_fetch_sub_explicit(&h->chunk_count, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&h->sample_count, f->count, memory_order_relaxed);
        histogram_filling_clear(f);
    }
    /* Not beyond what there was: a clock that steps back must not hide samples still to come. */
    if (s->flags & SERIES_HAS_LAST)
        c->cut_t_ms = MAX(c->cut_t_ms, MIN(t_ms, series_last_t(h, s)));
}

void series_trim_late(head *h, series *s, uint32_t n, chunk_run *rest)
{
    series_more *m = head_cold(h, s)->more;
    uint32_t have = m && m->late_closed ? m->late_closed->len : 0;
    n = MIN(n, have);
    for (uint32_t i = 0; i < n; i++)
        forget_chunk(h, m->late_closed->at[i]);
    if (n > 0)
        memmove(m->late_closed->at, m->late_closed->at + n, (have - n) * sizeof m->late_closed->at[0]);
    if (n > 0)
        m->late_closed->len = have - n;
    for (uint32_t i = 0; rest && i < rest->len; i++) {
        chunk *c = rest->at[i];
        if (keep_chunk(h, &m->late_closed, chunk_ref(c)))
            continue; /* it is in the block as well: nothing is lost to readers of both */
        atomic_fetch_add_explicit(&h->chunk_count, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&h->sample_count, c->count, memory_order_relaxed);
    }
    if (m)
        run_release(&m->late_closed);
}

static void late_expire(head *h, series_more *m, int64_t t_ms)
{
    trim_closed(h, m->late_closed, t_ms);
    run_release(&m->late_closed);
    size_t gone = 0;
    while (gone < m->late.len && m->late.at[gone].t_ms <= t_ms)
        mem_free(m->late.at[gone++].h);
    if (gone)
        memmove(m->late.at, m->late.at + gone, (m->late.len - gone) * sizeof *m->late.at);
    m->late.len -= gone;
    atomic_fetch_sub_explicit(&h->sample_count, gone, memory_order_relaxed);
}

void series_expire(head *h, series *s, int64_t t_ms)
{
    series_trim(h, s, t_ms);
    if (head_cold(h, s)->more)
        late_expire(h, head_cold(h, s)->more, t_ms);
}

void series_clear(head *h, series *s)
{
    series_expire(h, s, INT64_MAX);
    head_cold(h, s)->cut_t_ms = INT64_MIN;
    s->flags &= ~(SERIES_HAS_LAST | SERIES_LAST_HISTOGRAM) & 0xff;
}

/* ---- care ---- */

static bool slot_dead(const void *ctx, uint32_t slot) { return head_at(ctx, slot)->flags & SERIES_DEAD; }

/* Linear probing without tombstones: placing the survivors anew, in a table that fits them. */
static bool table_sweep(head *h, size_t left)
{
    size_t cap = HEAD_TABLE_FIRST;
    while (left * 4 > cap * 3)
        cap *= 2;
    head_cell *cells = mem_calloc(cap, sizeof *cells);
    if (!cells)
        return false;
    for (size_t i = 0; i < h->cells_cap; i++)
        if (h->cells[i].slot && !slot_dead(h, h->cells[i].slot))
            cell_put(cells, cap, h->cells[i]);
    mem_free(h->cells);
    h->cells = cells;
    h->cells_cap = cap;
    return true;
}

static void series_end(head *h, series *s)
{
    series_cold *c = head_cold(h, s);
    uint64_t generation = (s->ref >> HEAD_SLOT_BITS & GENERATION_MASK) + 1;
    uint32_t slot = series_slot(s);
    h->small_bytes -= c->label_count * sizeof *c->pairs + (c->more ? sizeof *c->more : 0);
    chunk_run_free(c->closed);
    more_free(c->more);
    mem_free(c->pairs);
    *c = (series_cold){ 0 };
    *s = (series){ .ref = h->epoch | (generation & GENERATION_MASK) << HEAD_SLOT_BITS | slot };
    if (generation > GENERATION_MASK)
        return; /* all its refs were once given out: retired */
    s->staged = h->first_free;
    h->first_free = slot;
}

static size_t mark_dead(head *h, uint8_t *touched)
{
    size_t dead = 0;
    series *s;
    for (uint32_t slot = 0; (s = head_next(h, &slot));) {
        if (!series_empty(h, s))
            continue;
        const series_cold *c = head_cold(h, s);
        s->flags |= SERIES_DEAD;
        for (size_t i = 0; i < c->label_count; i++)
            touched[c->pairs[i]] = 1;
        dead++;
    }
    return dead;
}

static size_t sweep_locked(head *h, uint8_t *touched)
{
    size_t dead = mark_dead(h, touched);
    series *s;
    if (dead == 0)
        return 0;
    bool swept = table_sweep(h, atomic_load_explicit(&h->series_count, memory_order_relaxed) - dead);
    if (swept)
        postings_sweep(&h->postings, touched, slot_dead, h);
    for (uint32_t slot = 0; (s = head_next(h, &slot));)
        if (s->flags & SERIES_DEAD && swept)
            series_end(h, s);
        else
            s->flags &= ~SERIES_DEAD & 0xff;
    if (!swept)
        return 0;
    atomic_fetch_sub_explicit(&h->series_count, dead, memory_order_relaxed);
    return dead;
}

size_t head_sweep(head *h)
{
    size_t gone = 0;
    head_lock(h);
    uint8_t *touched = mem_calloc(h->postings.pairs.len, 1);
    if (touched)
        gone = sweep_locked(h, touched);
    mem_free(touched);
    head_unlock(h);
    return gone;
}

void head_tidy(head *h)
{
    head_lock(h);
    postings_tidy(&h->postings);
    chunk_pool_tidy(&h->pool);
    head_unlock(h);
}

size_t head_bytes(const head *h)
{
    return h->slabs.len * HEAD_SLAB_SERIES * (sizeof(series) + sizeof(series_cold)) + h->cells_cap * sizeof *h->cells +
           postings_bytes(&h->postings) + chunk_pool_bytes(&h->pool) + h->small_bytes;
}
