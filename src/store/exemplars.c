#include "store/exemplars.h"
#include "store/inside.h"
#include <stdlib.h>

#define RECORD_BYTES (256u << 10)

err_kind exemplars_init(exemplars *x, size_t max)
{
    *x = (exemplars){ .max = MIN(max ? max : EXEMPLARS_MAX, EXEMPLARS_HARD_MAX) };
    pthread_mutex_init(&x->lock, NULL);
    return vec_push(&x->owners, (exemplar_owner){ 0 });
}

void exemplars_done(exemplars *x)
{
    for (size_t i = 0; i < x->ring.len; i++)
        label_set_unref(x->ring.at[i].labels);
    for (size_t i = 0; i < x->owners.len; i++)
        label_set_unref(x->owners.at[i].labels);
    vec_done(&x->ring);
    vec_done(&x->owners);
    mem_free(x->table);
    pthread_mutex_destroy(&x->lock);
}

/* ---- whose ---- */

static size_t cell_of(const exemplars *x, labels l, uint64_t hash)
{
    size_t i = (size_t)hash & (x->table_cap - 1);
    while (x->table[i] && !labels_eq(label_set_view(x->owners.at[x->table[i]].labels), l))
        i = (i + 1) & (x->table_cap - 1);
    return i;
}

static uint32_t owner_find(const exemplars *x, labels l)
{
    return x->table_cap ? x->table[cell_of(x, l, labels_hash(l))] : 0;
}

static err_kind table_build(exemplars *x, size_t cap)
{
    uint32_t *table = mem_calloc(cap, sizeof *table);
    if (!table)
        return ERR_NOMEM;
    mem_free(x->table);
    x->table = table;
    x->table_cap = cap;
    for (uint32_t i = 1; i < x->owners.len; i++)
        if (x->owners.at[i].labels)
            table[cell_of(x, label_set_view(x->owners.at[i].labels), label_set_hash(x->owners.at[i].labels))] = i;
    return OK;
}

static uint32_t owner_add(exemplars *x, labels l)
{
    if ((x->owner_count + 1u) * 2 > x->table_cap && table_build(x, MAX(x->table_cap * 2, 16)))
        return 0;
    if (!x->free_owner) {
        if (vec_push(&x->owners, (exemplar_owner){ 0 }))
            return 0;
        x->free_owner = (uint32_t)x->owners.len - 1;
    }
    label_set *own = label_set_new(l);
    if (!own)
        return 0;
    uint32_t at = x->free_owner;
    x->free_owner = x->owners.at[at].first;
    x->table[cell_of(x, l, label_set_hash(own))] = at;
    x->owners.at[at] = (exemplar_owner){ own, UINT32_MAX, UINT32_MAX };
    x->owner_count++;
    return at;
}

/* Take an entry out of the table: those behind it that would not be found any more move up (Knuth 6.4, algorithm R). */
static void table_remove(exemplars *x, size_t hole)
{
    size_t mask = x->table_cap - 1;
    x->table[hole] = 0;
    for (size_t i = (hole + 1) & mask; x->table[i]; i = (i + 1) & mask) {
        size_t home = (size_t)label_set_hash(x->owners.at[x->table[i]].labels) & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        x->table[hole] = x->table[i];
        x->table[i] = 0;
        hole = i;
    }
}

static void owner_remove(exemplars *x, uint32_t at)
{
    exemplar_owner *o = &x->owners.at[at];
    table_remove(x, cell_of(x, label_set_view(o->labels), label_set_hash(o->labels)));
    label_set_unref(o->labels);
    *o = (exemplar_owner){ .first = x->free_owner };
    x->free_owner = at;
    x->owner_count--;
}

/* ---- one in ---- */

static size_t chars(str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += (s.ptr[i] & 0xc0) != 0x80; /* UTF-8: not a byte that continues */
    return n;
}

static err_kind check(const exemplars *x, const exemplar_row *row, err *e)
{
    const exemplar *new = &row->exemplar;
    size_t n = 0;
    err_kind k = labels_check(row->series, e);
    if (k || (new->labels.len && (k = labels_check(new->labels, e))))
        return k;
    for (size_t i = 0; i < new->labels.len; i++)
        n += chars(new->labels.at[i].name) + chars(new->labels.at[i].value);
    if (n > EXEMPLAR_MAX_CHARS)
        return err_set(e, ERR_LIMIT, "cannot store an exemplar whose labels have %zu characters: more than %d", n, EXEMPLAR_MAX_CHARS);
    if (new->t_ms > STORE_TIME_MAX_MS || new->t_ms < -STORE_TIME_MAX_MS)
        return err_set(e, ERR_LIMIT, "cannot store an exemplar at %" PRId64 ": its time is too far away", new->t_ms);
    uint32_t at = owner_find(x, row->series);
    if (!at)
        return OK;
    const exemplar_entry *last = &x->ring.at[x->owners.at[at].last];
    if (new->t_ms != last->t_ms)
        return new->t_ms > last->t_ms ? OK : err_set(e, ERR_OUT_OF_ORDER, "cannot store an exemplar at %" PRId64 ": it is before the series' last one", new->t_ms);
    int order = labels_cmp(new->labels, label_set_view(last->labels));
    bool same_value = memcmp(&new->v, &last->v, sizeof new->v) == 0;
    if (same_value && order == 0)
        return err_set(e, ERR_DUPLICATE, "cannot store an exemplar at %" PRId64 " twice", new->t_ms);
    if (new->v < last->v || (same_value && order < 0))
        return err_set(e, ERR_OUT_OF_ORDER, "cannot store an exemplar at %" PRId64 ": another one of that time stands behind it", new->t_ms);
    return OK;
}

/* The oldest is the first of its series: both are in the order they came. */
static void evict(exemplars *x, exemplar_entry *old)
{
    exemplar_owner *o = &x->owners.at[old->series];
    o->first = old->next;
    if (o->first == UINT32_MAX)
        owner_remove(x, old->series);
    label_set_unref(old->labels);
    *old = (exemplar_entry){ 0 };
}

static err_kind put(exemplars *x, const exemplar_row *row, err *e)
{
    bool grows = x->ring.len < x->max;
    label_set *own = label_set_new(row->exemplar.labels);
    if (!own || (grows && vec_reserve(&x->ring, x->ring.len + 1))) {
        label_set_unref(own);
        return err_nomem(e);
    }
    uint32_t owner = owner_find(x, row->series);
    if (!owner && !(owner = owner_add(x, row->series))) {
        label_set_unref(own);
        return err_nomem(e);
    }
    /* A series that begins with this one must not lose its owner to the eviction: it has no entry yet. */
    if (grows)
        x->ring.at[x->ring.len++] = (exemplar_entry){ 0 };
    else if (x->owners.at[owner].first == x->at && x->owners.at[owner].last == x->at)
        label_set_unref(x->ring.at[x->at].labels), x->owners.at[owner].first = x->owners.at[owner].last = UINT32_MAX;
    else
        evict(x, &x->ring.at[x->at]);
    exemplar_owner *o = &x->owners.at[owner];
    x->ring.at[x->at] = (exemplar_entry){ own, row->exemplar.v, row->exemplar.t_ms, owner, UINT32_MAX };
    if (o->last == UINT32_MAX)
        o->first = (uint32_t)x->at;
    else
        x->ring.at[o->last].next = (uint32_t)x->at;
    o->last = (uint32_t)x->at;
    x->at = (x->at + 1) % x->max;
    return OK;
}

err_kind exemplars_put(exemplars *x, const exemplar_row *row, err *e)
{
    pthread_mutex_lock(&x->lock);
    err_kind k = check(x, row, e);
    if (!k)
        k = put(x, row, e);
    pthread_mutex_unlock(&x->lock);
    return k;
}

/* ---- the log ---- */

static uint8_t *put_labels(uint8_t *p, labels l)
{
    p = wire_put_varint(p, l.len);
    for (size_t i = 0; i < l.len; i++) {
        const str both[] = { l.at[i].name, l.at[i].value };
        for (int k = 0; k < 2; k++) {
            p = wire_put_varint(p, both[k].len);
            if (both[k].len)
                memcpy(p, both[k].ptr, both[k].len);
            p += both[k].len;
        }
    }
    return p;
}

static size_t labels_room(labels l)
{
    size_t n = WIRE_VARINT_MAX;
    for (size_t i = 0; i < l.len; i++)
        n += 2 * WIRE_VARINT_MAX + l.at[i].name.len + l.at[i].value.len;
    return n;
}

void exemplar_log_put(buf *out, const exemplar_row *row)
{
    uint8_t *at = (uint8_t *)buf_reserve(out, labels_room(row->series) + labels_room(row->exemplar.labels) + WIRE_VARINT_MAX + 8);
    if (!at)
        return;
    uint64_t bits;
    memcpy(&bits, &row->exemplar.v, sizeof bits);
    uint8_t *p = wire_put_varint(put_labels(at, row->series), wire_zigzag((uint64_t)row->exemplar.t_ms));
    wire_put_u64(p, bits);
    p = put_labels(p + 8, row->exemplar.labels);
    buf_commit(out, (size_t)(p - at));
}

static bool get_labels(wire_cursor *c, label *at, labels *ret)
{
    uint64_t n;
    if (!wire_varint(c, &n) || n > LABELS_MAX)
        return false;
    for (uint64_t i = 0; i < n; i++)
        if (!wire_str(c, &at[i].name) || !wire_str(c, &at[i].value))
            return false;
    *ret = (labels){ at, (size_t)n };
    return true;
}

bool exemplar_log_next(wire_cursor *c, label *whose, label *own, exemplar_row *ret, bool *bad)
{
    uint64_t t, bits;
    *bad = false;
    if (c->at == c->end)
        return false;
    *bad = true;
    if (!get_labels(c, whose, &ret->series) || !wire_varint(c, &t) || wire_left(c) < 8)
        return false;
    bits = wire_u64(c->at);
    c->at += 8;
    memcpy(&ret->exemplar.v, &bits, sizeof bits);
    ret->exemplar.t_ms = (int64_t)wire_unzigzag(t);
    if (!get_labels(c, own, &ret->exemplar.labels))
        return false;
    *bad = false;
    return true;
}

void exemplars_log(exemplars *x, buf *out)
{
    size_t record = SIZE_MAX;
    pthread_mutex_lock(&x->lock);
    for (size_t i = 0; i < x->ring.len && !buf_failed(out); i++) {
        const exemplar_entry *one = &x->ring.at[(x->at + i) % x->ring.len]; /* oldest first */
        if (record == SIZE_MAX)
            record = wal_begin(out, WAL_EXEMPLARS);
        exemplar_log_put(out, &(exemplar_row){ label_set_view(x->owners.at[one->series].labels), { label_set_view(one->labels), one->v, one->t_ms } });
        if (!buf_failed(out) && out->len - record > RECORD_BYTES) {
            wal_end(out, record);
            record = SIZE_MAX;
        }
    }
    pthread_mutex_unlock(&x->lock);
    if (record != SIZE_MAX)
        wal_end(out, record);
}

/* ---- the door ---- */

static void count(err_kind k, sink_result *rejected, const err *why)
{
    if (!rejected)
        return;
    if (k == OK)
        rejected->appended++;
    else if (k == ERR_OUT_OF_ORDER)
        rejected->out_of_order++;
    else if (k == ERR_DUPLICATE)
        rejected->duplicate++;
    else
        rejected->limited++;
    if (k && rejected->first.kind == OK)
        rejected->first = *why;
}

/* Kept in memory first: which ones are kept depends on those before. If the log then fails they are told as an error,
 * and sending them again finds them there. */
err_kind exemplars_append(store *s, const exemplar_row *rows, size_t n, sink_result *rejected, err *e)
{
    if (s->read_only)
        return err_set(e, ERR_DENIED, "cannot append to store \"%s\": it is open for reading only", s->dir);
    AUTO(buf_done) buf out = BUF_INIT(STORE_RECORDS_MAX_BYTES);
    size_t record = wal_begin(&out, WAL_EXEMPLARS), kept = 0;
    pthread_mutex_lock(&s->append_lock);
    for (size_t i = 0; i < n; i++) {
        err why = { 0 };
        err_kind k = exemplars_put(&s->exemplars, &rows[i], &why);
        if (k == OK)
            exemplar_log_put(&out, &rows[i]);
        kept += k == OK;
        count(k, rejected, &why);
        if (rejected && rejected->refused)
            rejected->refused[i] = k != OK;
    }
    wal_end(&out, record);
    err_kind k = buf_failed(&out) ? err_nomem(e) : kept ? wal_write(&s->wal, buf_str(&out), e) : OK;
    if (k)
        atomic_fetch_add_explicit(&s->wal_errors_total, 1, memory_order_relaxed);
    pthread_mutex_unlock(&s->append_lock);
    return k;
}

static bool wanted(labels l, const matcher_set *sets, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool all = true;
        for (size_t m = 0; all && m < sets[i].len; m++)
            all = matcher_match(&sets[i].at[m], labels_get(l, sets[i].at[m].name));
        if (all)
            return true;
    }
    return n == 0;
}

static err_kind copy_one(const exemplars *x, const exemplar_owner *o, int64_t from_ms, int64_t to_ms, arena *a, exemplar_series *ret)
{
    size_t n = 0;
    for (uint32_t i = o->first; i != UINT32_MAX; i = x->ring.at[i].next)
        n += x->ring.at[i].t_ms >= from_ms && x->ring.at[i].t_ms <= to_ms;
    *ret = (exemplar_series){ .at = arena_array(a, exemplar, n) };
    if (!ret->at || (n && labels_to_arena(a, label_set_view(o->labels), &ret->labels)))
        return ERR_NOMEM;
    for (uint32_t i = o->first; i != UINT32_MAX; i = x->ring.at[i].next) {
        const exemplar_entry *from = &x->ring.at[i];
        if (from->t_ms < from_ms || from->t_ms > to_ms)
            continue;
        exemplar *to = &ret->at[ret->len++];
        *to = (exemplar){ .v = from->v, .t_ms = from->t_ms };
        if (labels_to_arena(a, label_set_view(from->labels), &to->labels))
            return ERR_NOMEM;
    }
    return OK;
}

static int by_series(const void *a, const void *b)
{
    return labels_cmp(((const exemplar_series *)a)->labels, ((const exemplar_series *)b)->labels);
}

err_kind store_exemplars(store *s, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms, arena *a,
                         exemplar_series **ret, size_t *ret_n, err *e)
{
    exemplars *x = &s->exemplars;
    err_kind k = OK;
    size_t len = 0;
    pthread_mutex_lock(&x->lock);
    exemplar_series *out = arena_array(a, exemplar_series, x->owner_count);
    for (size_t i = 1; out && !k && i < x->owners.len; i++) {
        const exemplar_owner *o = &x->owners.at[i];
        if (!o->labels || !wanted(label_set_view(o->labels), sets, n))
            continue;
        k = copy_one(x, o, from_ms, to_ms, a, &out[len]);
        len += out[len].len > 0;
    }
    pthread_mutex_unlock(&x->lock);
    if (!out || k)
        return err_nomem(e);
    if (len > 1)
        qsort(out, len, sizeof *out, by_series);
    *ret = out;
    *ret_n = len;
    return OK;
}
