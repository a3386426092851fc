#include "store/remote/outbox.h"
#include "base/hash.h"
#include "base/rand.h"
#include "store/remote/canonical_rows.h"

#define NONE UINT32_MAX
#define HISTOGRAM_MAX_BYTES (4u << 20)
#define TELL_EVERY_NS (10 * NS_PER_S)

typedef struct derived { uint32_t entry; double scale; } derived;
/* What stands for canonical series keeps its labels. */
typedef struct canonical_state { label_set *labels; uint64_t generation; size_t count; derived at[CANONICAL_PER_SERIES]; } canonical_state;
typedef struct entry {
    uint64_t hash[2];
    uint32_t number, segment;    /* in the queue; segment 0: not in any */
    canonical_state *canonical;
} entry;

/* Open addressing, from a 64-bit key to an entry: by ref, and by the first half of the hash. */
typedef struct slot { uint64_t key; uint32_t entry; } slot;
typedef struct table { slot *at; size_t cap, len; } table;

struct outbox {
    pthread_mutex_t lock;
    rqueue *queue;
    sample_sink store;
    canonical_rows *canonical;   /* NULL: not wanted */
    bool on, exemplars;
    uint64_t seeds[2];
    vec(entry) entries;
    table by_hash, by_ref;
    uint32_t segment;            /* of the last batch */
    size_t defined;              /* series defined in it */
    uint64_t lost;
    int64_t told_ns;
    /* of the batch */
    vec(uint32_t) row_entries;   /* one a row */
    vec(uint64_t) refs;          /* by which the rows were found; 0: by their labels */
    vec(uint32_t) fresh;         /* entries this batch defines */
    vec(uint32_t) origins;       /* which row each queued row came from */
    vec(uint8_t) refused, queued_refused;
    arena arena;
    buf message;
};

/* ---- tables ---- */

static slot *table_slot(const table *t, uint64_t key)
{
    size_t i = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (t->cap - 1);
    while (t->at[i].entry != NONE && t->at[i].key != key)
        i = (i + 1) & (t->cap - 1);
    return &t->at[i];
}

static uint32_t table_get(const table *t, uint64_t key) { return t->cap ? table_slot(t, key)->entry : NONE; }

static err_kind table_grow(table *t)
{
    table bigger = { .cap = t->cap ? t->cap * 2 : 64 };
    bigger.at = mem_alloc(bigger.cap * sizeof *bigger.at);
    if (!bigger.at)
        return ERR_NOMEM;
    for (size_t i = 0; i < bigger.cap; i++)
        bigger.at[i] = (slot){ 0, NONE };
    for (size_t i = 0; i < t->cap; i++)
        if (t->at[i].entry != NONE)
            *table_slot(&bigger, t->at[i].key) = t->at[i], bigger.len++;
    mem_free(t->at);
    *t = bigger;
    return OK;
}

static err_kind table_put(table *t, uint64_t key, uint32_t number)
{
    if (t->len * 4 >= t->cap * 3 && table_grow(t))
        return ERR_NOMEM;
    slot *s = table_slot(t, key);
    t->len += s->entry == NONE;
    *s = (slot){ key, number };
    return OK;
}

static void table_done(table *t)
{
    mem_free(t->at);
    *t = (table){ 0 };
}

/* ---- series ---- */

static void forget_all(outbox *o)
{
    for (size_t i = 0; i < o->entries.len; i++)
        if (o->entries.at[i].canonical) {
            label_set_unref(o->entries.at[i].canonical->labels);
            mem_free(o->entries.at[i].canonical);
        }
    vec_clear(&o->entries);
    table_done(&o->by_hash);
    table_done(&o->by_ref);
}

static void hash_labels(const outbox *o, labels l, uint64_t ret[2])
{
    for (size_t k = 0; k < 2; k++) {
        ret[k] = o->seeds[k];
        for (size_t i = 0; i < l.len; i++)
            ret[k] = hash_str(l.at[i].value, hash_str(l.at[i].name, ret[k]) + 1);
    }
}

static err_kind add_canonical(outbox *o, labels l, entry *e)
{
    if (!o->canonical || !canonical_rows_meet(o->canonical, l))
        return OK;
    e->canonical = mem_zalloc(sizeof *e->canonical);
    if (!e->canonical || !(e->canonical->labels = label_set_new(l))) {
        mem_free(e->canonical);
        e->canonical = NULL;
        return ERR_NOMEM;
    }
    return OK;
}

/* The series of these labels; NONE without memory. Two series whose hashes collide in all 128 bits would be one.
 * `ours`: made here, not by a target, so it says nothing about what the target has. */
static uint32_t entry_of(outbox *o, labels l, bool ours)
{
    uint64_t hash[2];
    hash_labels(o, l, hash);
    uint32_t found = table_get(&o->by_hash, hash[0]);
    if (found != NONE && o->entries.at[found].hash[1] == hash[1])
        return found;
    entry fresh = { .hash = { hash[0], hash[1] } };
    if (!ours && add_canonical(o, l, &fresh))
        return NONE;
    uint32_t number = (uint32_t)o->entries.len;
    if (vec_push(&o->entries, fresh) == OK) {
        if (table_put(&o->by_hash, hash[0], number) == OK)
            return number;
        o->entries.len--;
    }
    if (fresh.canonical)
        label_set_unref(fresh.canonical->labels);
    mem_free(fresh.canonical);
    return NONE;
}

/* All rows' series. ERR_NOT_FOUND: a row without labels is not known here. */
static err_kind find_series(outbox *o, const sample_row *rows, size_t n, err *e)
{
    vec_clear(&o->row_entries), vec_clear(&o->refs);
    if (vec_reserve(&o->row_entries, n) || vec_reserve(&o->refs, n))
        return err_nomem(e);
    if (o->entries.len > OUTBOX_SERIES_MAX)
        forget_all(o);
    for (size_t i = 0; i < n; i++) {
        uint64_t ref = rows[i].ref ? *rows[i].ref : 0;
        uint32_t found = ref ? table_get(&o->by_ref, ref) : NONE;
        o->refs.at[o->refs.len++] = found == NONE ? 0 : ref;
        if (found == NONE && rows[i].labels.len == 0)
            return err_set(e, ERR_NOT_FOUND, "a row without labels is not known to the remote queue");
        if (found == NONE && (found = entry_of(o, rows[i].labels, false)) == NONE)
            return err_nomem(e);
        o->row_entries.at[o->row_entries.len++] = found;
    }
    return OK;
}

/* Refs the store gave just now. */
static void learn_refs(outbox *o, const sample_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (rows[i].ref && *rows[i].ref && *rows[i].ref != o->refs.at[i])
            (void)table_put(&o->by_ref, *rows[i].ref, o->row_entries.at[i]); /* not known: labels are asked for again */
}

/* ---- the batch in the queue ---- */

static err_kind define(outbox *o, uint32_t number, labels l)
{
    entry *en = &o->entries.at[number];
    if (en->segment == o->segment)
        return OK;
    if (l.len == 0 && en->canonical)
        l = label_set_view(en->canonical->labels);
    if (l.len == 0)
        return ERR_NOT_FOUND;
    if (vec_push(&o->fresh, number))
        return ERR_NOMEM;
    en->number = rqueue_series(o->queue, l);
    en->segment = o->segment;
    return OK;
}

static err_kind queue_row(outbox *o, uint32_t number, uint32_t origin, int64_t t_ms, double v)
{
    rqueue_float(o->queue, o->entries.at[number].number, t_ms, v);
    return vec_push(&o->origins, origin);
}

static bool is_stale_nan(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits == STALE_NAN_BITS;
}

/* What the series stands for, found again when the table of targets has changed. */
static err_kind refresh_canonical(outbox *o, uint32_t number)
{
    canonical_state *c = o->entries.at[number].canonical;
    uint64_t generation = canonical_rows_generation(o->canonical);
    canonical_row found[CANONICAL_PER_SERIES];
    if (c->generation == generation)
        return OK;
    size_t n = canonical_rows_of(o->canonical, label_set_view(c->labels), &o->arena, found);
    c->count = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t other = entry_of(o, found[i].labels, true); /* may move o->entries, but not *c */
        if (other == NONE)
            return ERR_NOMEM;
        c->at[c->count++] = (derived){ other, found[i].scale };
    }
    c->generation = generation;
    return OK;
}

/* The series that are derived are numbered with labels, so those are made again in each segment. */
static err_kind queue_canonical(outbox *o, uint32_t number, uint32_t origin, const sample_row *row)
{
    canonical_state *c = o->entries.at[number].canonical;
    if (!c || row->histogram)
        return OK;
    err_kind k = refresh_canonical(o, number);
    canonical_row found[CANONICAL_PER_SERIES];
    bool again = false;
    for (size_t i = 0; !k && i < c->count; i++)
        again = again || o->entries.at[c->at[i].entry].segment != o->segment;
    size_t n = !k && again ? canonical_rows_of(o->canonical, label_set_view(c->labels), &o->arena, found) : 0;
    for (size_t i = 0; !k && i < c->count; i++) {
        k = define(o, c->at[i].entry, i < n ? found[i].labels : (labels){ 0 });
        if (!k)
            k = queue_row(o, c->at[i].entry, origin, row->t_ms, is_stale_nan(row->v) || c->at[i].scale == 1 ? row->v : row->v * c->at[i].scale);
    }
    return k == ERR_NOT_FOUND ? OK : k;
}

/* The message alone, without the field's key and length that the codec puts in front. */
static err_kind queue_histogram(outbox *o, uint32_t number, uint32_t origin, const sample_row *row)
{
    histogram_sample s = { row->t_ms, row->histogram };
    buf_reset(&o->message);
    prompb_put_histogram(&o->message, 1, &s, row->start_ms);
    pb_reader r = pb_read(buf_str(&o->message));
    pb_field f;
    if (buf_failed(&o->message) || pb_next(&r, &f) != 1)
        return ERR_NOMEM;
    rqueue_histogram(o->queue, o->entries.at[number].number, row->t_ms, f.bytes);
    return vec_push(&o->origins, origin);
}

static err_kind queue_rows(outbox *o, const sample_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t number = o->row_entries.at[i];
        err_kind k = define(o, number, rows[i].labels);
        if (!k)
            k = rows[i].histogram ? queue_histogram(o, number, (uint32_t)i, &rows[i]) : queue_row(o, number, (uint32_t)i, rows[i].t_ms, rows[i].v);
        if (!k && o->canonical)
            k = queue_canonical(o, number, (uint32_t)i, &rows[i]);
        if (k)
            return k;
    }
    return OK;
}

static void undefine(outbox *o)
{
    for (size_t i = 0; i < o->fresh.len; i++)
        o->entries.at[o->fresh.at[i]].segment = 0;
    o->defined -= o->fresh.len;
}

/* A new segment is the time to forget series that were not in the last one. */
static void forget_the_gone(outbox *o, uint32_t segment)
{
    if (segment != o->segment && o->segment && o->entries.len > 2 * o->defined + 1000)
        forget_all(o);
    if (segment != o->segment)
        o->defined = 0;
    o->segment = segment;
}

static void begin(outbox *o)
{
    o->segment = rqueue_begin(o->queue);
    vec_clear(&o->fresh), vec_clear(&o->origins);
    arena_reset(&o->arena);
}

static void tell_lost(outbox *o, size_t rows, const err *why)
{
    o->lost += rows;
    int64_t now = clock_mono_ns();
    if (o->told_ns && now - o->told_ns < TELL_EVERY_NS)
        return;
    o->told_ns = now;
    log_error("could not queue samples for the remote stores, they will miss them", KV_INT("samples", rows), KV_INT("in_all", o->lost), KV_ERR(why));
}

/* True: the batch is in the queue, waiting for the store's answer. *ret_again: labels are needed. */
static bool queue_batch(outbox *o, const sample_row *rows, size_t n, err_kind *ret, err *e)
{
    err why = { 0 };
    begin(o);
    err_kind k = queue_rows(o, rows, n);
    o->defined += o->fresh.len;
    *ret = k == ERR_NOT_FOUND ? err_set(e, ERR_NOT_FOUND, "a series has to be named again for the remote queue") : OK;
    if (k == ERR_NOMEM)
        err_nomem(&why);
    if (!k && !(k = rqueue_write(o->queue, &why)))
        return true;
    rqueue_abandon(o->queue);
    undefine(o);
    if (k != ERR_NOT_FOUND)
        tell_lost(o, n, &why);
    return false;
}

static void commit(outbox *o, const uint8_t *refused, size_t n)
{
    const uint8_t *marks = NULL;
    if (refused && memchr(refused, 1, n) && vec_reserve(&o->queued_refused, o->origins.len) == OK) {
        for (size_t i = 0; i < o->origins.len; i++)
            o->queued_refused.at[i] = refused[o->origins.at[i]];
        marks = o->queued_refused.at;
    }
    rqueue_commit(o->queue, marks);
}

static err_kind ask_store(outbox *o, const sample_row *rows, size_t n, sink_result *rejected, const uint8_t **ret_refused, err *e)
{
    *ret_refused = NULL;
    if (!rejected || rejected->refused || vec_reserve(&o->refused, n)) {
        *ret_refused = rejected ? rejected->refused : NULL;
        return o->store.append(o->store.ctx, rows, n, rejected, e);
    }
    memset(o->refused.at, 0, n);
    rejected->refused = o->refused.at;
    err_kind k = o->store.append(o->store.ctx, rows, n, rejected, e);
    rejected->refused = NULL;
    *ret_refused = o->refused.at;
    return k;
}

static err_kind append(outbox *o, const sample_row *rows, size_t n, sink_result *rejected, err *e)
{
    const uint8_t *refused;
    err_kind k = OK;
    forget_the_gone(o, rqueue_begin(o->queue));
    if ((k = find_series(o, rows, n, e)))
        return k;
    bool queued = queue_batch(o, rows, n, &k, e);
    if (k)
        return k;
    k = ask_store(o, rows, n, rejected, &refused, e);
    if (queued && !k) {
        commit(o, refused, n);
    } else if (queued) {
        rqueue_abandon(o->queue);
        undefine(o);
    }
    if (!k)
        learn_refs(o, rows, n);
    return k;
}

static err_kind sink_append(void *ctx, const sample_row *rows, size_t n, sink_result *rejected, err *e)
{
    outbox *o = ctx;
    if (n == 0)
        return o->store.append(o->store.ctx, rows, n, rejected, e);
    pthread_mutex_lock(&o->lock);
    err_kind k = o->on ? append(o, rows, n, rejected, e) : o->store.append(o->store.ctx, rows, n, rejected, e);
    pthread_mutex_unlock(&o->lock);
    return k;
}

/* ---- exemplars: the store says first which ones are news, a page shows the same ones again and again ---- */

static void queue_exemplars(outbox *o, const exemplar_row *rows, size_t n, const uint8_t *refused)
{
    err e = { 0 };
    forget_the_gone(o, rqueue_begin(o->queue));
    begin(o);
    for (size_t i = 0; i < n; i++) {
        uint32_t number = refused[i] ? NONE : entry_of(o, rows[i].series, false);
        if (number != NONE && define(o, number, rows[i].series) == OK)
            rqueue_exemplar(o->queue, o->entries.at[number].number, &rows[i].exemplar);
    }
    o->defined += o->fresh.len;
    if (rqueue_write(o->queue, &e) == OK) {
        rqueue_commit(o->queue, NULL);
        return;
    }
    undefine(o);
    tell_lost(o, n, &e);
}

static err_kind sink_exemplars(void *ctx, const exemplar_row *rows, size_t n, sink_result *rejected, err *e)
{
    outbox *o = ctx;
    if (!o->store.append_exemplars)
        return OK;
    pthread_mutex_lock(&o->lock);
    sink_result own = { 0 }, *result = rejected ? rejected : &own;
    uint8_t *theirs = result->refused;
    bool queue = o->on && o->exemplars && n && vec_reserve(&o->refused, n) == OK;
    if (queue && !theirs) {
        memset(o->refused.at, 0, n);
        result->refused = o->refused.at;
    }
    err_kind k = o->store.append_exemplars(o->store.ctx, rows, n, result, e);
    if (!k && queue)
        queue_exemplars(o, rows, n, result->refused);
    result->refused = theirs;
    pthread_mutex_unlock(&o->lock);
    return k;
}

/* ---- life ---- */

outbox *outbox_new(rqueue *q, sample_sink store, bool canonical)
{
    outbox *o = mem_zalloc(sizeof *o);
    if (!o)
        return NULL;
    o->queue = q;
    o->store = store;
    o->canonical = canonical ? canonical_rows_new() : NULL;
    o->arena = arena_init((size_t)64 << 20);
    o->message = (buf)BUF_INIT(HISTOGRAM_MAX_BYTES);
    rand_secret(o->seeds, sizeof o->seeds);
    pthread_mutex_init(&o->lock, NULL);
    if (canonical && !o->canonical) {
        outbox_free(o);
        return NULL;
    }
    return o;
}

void outbox_free(outbox *o)
{
    if (!o)
        return;
    forget_all(o);
    vec_done(&o->entries);
    vec_done(&o->row_entries), vec_done(&o->refs), vec_done(&o->fresh), vec_done(&o->origins);
    vec_done(&o->refused), vec_done(&o->queued_refused);
    canonical_rows_free(o->canonical);
    arena_done(&o->arena);
    buf_done(&o->message);
    pthread_mutex_destroy(&o->lock);
    mem_free(o);
}

sample_sink outbox_sink(outbox *o) { return (sample_sink){ sink_append, o, o->store.append_exemplars ? sink_exemplars : NULL }; }

void outbox_turn(outbox *o, bool on, bool exemplars)
{
    pthread_mutex_lock(&o->lock);
    o->on = on;
    o->exemplars = exemplars;
    pthread_mutex_unlock(&o->lock);
}

uint64_t outbox_lost(outbox *o)
{
    pthread_mutex_lock(&o->lock);
    uint64_t lost = o->lost;
    pthread_mutex_unlock(&o->lock);
    return lost;
}
