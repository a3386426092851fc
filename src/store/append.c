#include "store/inside.h"
#include <stdatomic.h>

#define SERIES_RECORD_BYTES (256u << 10) /* definitions are split into records of about this */
#define SCRATCH_KEEP_BYTES (4u << 20)    /* what a batch may leave allocated for the next */

err_kind labels_check(labels l, err *e)
{
    if (l.len == 0)
        return err_set(e, ERR_INVALID, "cannot store a series without labels");
    if (l.len > LABELS_MAX)
        return err_set(e, ERR_LIMIT, "cannot store a series with %zu labels: more than %d", l.len, LABELS_MAX);
    for (size_t i = 0; i < l.len; i++) {
        str name = l.at[i].name, value = l.at[i].value;
        if (str_empty(name) || str_empty(value))
            return err_set(e, ERR_INVALID, "cannot store a series with an empty label name or value");
        if (i > 0 && str_cmp(l.at[i - 1].name, name) >= 0)
            return err_set(e, ERR_INVALID, "cannot store a series whose labels are not sorted at \"%" STR_FMT "\"", STR_ARG(str_sub(name, 0, 100)));
        if (name.len > LABEL_MAX_BYTES || value.len > LABEL_MAX_BYTES)
            return err_set(e, ERR_LIMIT, "cannot store a series with a label longer than %d bytes", LABEL_MAX_BYTES);
    }
    return OK;
}

/* ---- staging: which rows can be kept ---- */

typedef enum verdict { KEEP, SAME, OUT_OF_ORDER, DUPLICATE, TOO_OLD, LIMITED } verdict;

static bool same_bits(double a, double b) { return memcmp(&a, &b, sizeof a) == 0; }

static verdict judge(const store *s, const series *se, const sample_row *row)
{
    bool staged_before = se->batch == s->batch.number;
    if (!staged_before && !se->has_last)
        return KEEP;
    int64_t last_t_ms = staged_before ? se->batch_t_ms : se->last_t_ms;
    double last_v = staged_before ? se->batch_v : se->last_v;
    if (row->t_ms > last_t_ms)
        return KEEP;
    if (row->t_ms < last_t_ms)
        return OUT_OF_ORDER;
    return same_bits(row->v, last_v) ? SAME : DUPLICATE;
}

/* What is wrong with a row, for people; the series is cut to what fits a message. */
static err_kind explain(verdict v, const sample_row *row, err *e)
{
    static const struct { err_kind kind; const char *why; } reasons[] = {
        [OUT_OF_ORDER] = { ERR_OUT_OF_ORDER, "it is not after the series' last one" },
        [DUPLICATE] = { ERR_DUPLICATE, "the series has another value at that time" },
        [TOO_OLD] = { ERR_OUT_OF_ORDER, "it is older than what is kept" },
        [LIMITED] = { ERR_LIMIT, "its time is too far in the future" },
    };
    AUTO(buf_done) buf name = BUF_INIT(1u << 20);
    labels_format(row->labels, &name);
    str shown = str_sub(buf_str(&name), 0, 200);
    err_set(e, reasons[v].kind, "cannot store the sample of %" STR_FMT " at %" PRId64 ": %s", STR_ARG(shown), row->t_ms, reasons[v].why);
    if (v == TOO_OLD)
        err_hint(e, "Start with a longer --retention to keep older samples.");
    return reasons[v].kind;
}

static err_kind refuse(verdict v, const sample_row *row, sink_result *rejected, err *e)
{
    if (!rejected)
        return explain(v, row, e);
    size_t *const counters[] = {
        [OUT_OF_ORDER] = &rejected->out_of_order, [DUPLICATE] = &rejected->duplicate,
        [TOO_OLD] = &rejected->too_old, [LIMITED] = &rejected->limited,
    };
    ++*counters[v];
    if (rejected->first.kind == OK)
        explain(v, row, &rejected->first);
    return OK;
}

/* The row's series, by its ref or by its labels; added if it is new. */
static err_kind find_series(store *s, const sample_row *row, series **ret, err *e)
{
    series *se = row->ref ? head_by_ref(&s->head, *row->ref) : NULL;
    if (se && (!row->labels.len || label_set_view(se->labels).len == row->labels.len)) {
        *ret = se;
        return OK;
    }
    if (!row->labels.len && row->ref && *row->ref)
        return err_set(e, ERR_NOT_FOUND, "could not find a series by its number: it has ended");
    uint64_t hash = labels_hash(row->labels);
    se = head_find(&s->head, row->labels, hash);
    if (!se) {
        err_kind k = labels_check(row->labels, e);
        if (k || (k = head_add(&s->head, row->labels, hash, &se, e)))
            return k;
    }
    if (row->ref)
        *row->ref = se->ref;
    *ret = se;
    return OK;
}

static err_kind stage(store *s, series *se, const sample_row *row, err *e)
{
    batch *b = &s->batch;
    if (se->batch != b->number) {
        if (vec_push(&b->touched, se))
            return err_nomem(e);
        se->batch = b->number;
        se->batch_rows = 0;
        b->shards |= UINT32_C(1) << se->shard;
    }
    if (vec_push(&b->rows, ((staged){ se, row->t_ms, row->v })))
        return err_nomem(e);
    se->batch_t_ms = row->t_ms;
    se->batch_v = row->v;
    se->batch_rows++;
    return OK;
}

typedef struct span { int64_t oldest_ms, newest_ms; } span; /* the times that a batch may hold */

static err_kind stage_row(store *s, const sample_row *row, span allowed, sink_result *rejected, err *e)
{
    if (row->t_ms < allowed.oldest_ms || row->t_ms > allowed.newest_ms)
        return refuse(row->t_ms < allowed.oldest_ms ? TOO_OLD : LIMITED, row, rejected, e);
    series *se;
    err own = { 0 };
    err_kind k = find_series(s, row, &se, rejected ? &own : e);
    if (k == ERR_LIMIT && rejected) {
        rejected->limited++;
        if (rejected->first.kind == OK)
            rejected->first = own;
        return OK;
    }
    if (k) {
        if (rejected && e)
            *e = own;
        return k;
    }
    verdict v = judge(s, se, row);
    if (v == KEEP || v == SAME) {
        if (rejected)
            rejected->appended++;
        return v == KEEP ? stage(s, se, row, e) : OK;
    }
    return refuse(v, row, rejected, e);
}

/* ---- the log ---- */

/* Definitions of the series the log has not seen. They may stand alone: without samples they mean nothing. */
static void encode_series(store *s)
{
    batch *b = &s->batch;
    size_t record = SIZE_MAX;
    for (size_t i = 0; i < b->touched.len; i++) {
        const series *se = b->touched.at[i];
        if (se->in_wal)
            continue;
        if (record == SIZE_MAX)
            record = wal_begin(&b->records, WAL_SERIES);
        wal_put_series(&b->records, se->wal_id, label_set_view(se->labels));
        if (buf_failed(&b->records))
            return;
        if (b->records.len - record > SERIES_RECORD_BYTES) {
            wal_end(&b->records, record);
            record = SIZE_MAX;
        }
    }
    if (record != SIZE_MAX)
        wal_end(&b->records, record);
}

/* All samples in one record: that is what makes the batch all or nothing. */
static void encode_samples(store *s)
{
    batch *b = &s->batch;
    size_t record = wal_begin(&b->records, WAL_SAMPLES);
    uint8_t *room = (uint8_t *)buf_reserve(&b->records, b->rows.len * WAL_SAMPLE_MAX_BYTES);
    if (!room)
        return;
    uint8_t *p = room;
    wal_delta before = { 0 };
    for (size_t i = 0; i < b->rows.len; i++) {
        const staged *row = &b->rows.at[i];
        p = wal_put_sample(p, &before, row->series->wal_id, row->t_ms, row->v);
    }
    buf_commit(&b->records, (size_t)(p - room));
    wal_end(&b->records, record);
}

static err_kind log_batch(store *s, err *e)
{
    batch *b = &s->batch;
    encode_series(s);
    encode_samples(s);
    if (b->records.failed == ERR_LIMIT) {
        err_set(e, ERR_LIMIT, "could not store a batch of %zu samples: too large for one record of the log", b->rows.len);
        return err_hint(e, "Send it in smaller batches."), ERR_LIMIT;
    }
    if (buf_failed(&b->records))
        return err_nomem(e);
    err_kind k = wal_write(&s->wal, buf_str(&b->records), e);
    if (k)
        atomic_fetch_add_explicit(&s->wal_errors_total, 1, memory_order_relaxed);
    return k;
}

/* ---- the batch ---- */

static void batch_begin(batch *b)
{
    b->number++;
    b->shards = 0;
    vec_clear(&b->rows);
    vec_clear(&b->touched);
    buf_reset(&b->records);
}

/* An unusually large batch must not hold its memory for ever. */
static void batch_end(batch *b)
{
    if (b->records.cap > SCRATCH_KEEP_BYTES)
        buf_done(&b->records);
    if (b->rows.cap * sizeof *b->rows.at > SCRATCH_KEEP_BYTES)
        vec_done(&b->rows);
    if (b->touched.cap * sizeof *b->touched.at > SCRATCH_KEEP_BYTES)
        vec_done(&b->touched);
}

/* Cannot fail: the memory was reserved, the log has it. */
static void show(store *s)
{
    batch *b = &s->batch;
    head_lock(&s->head, b->shards);
    for (size_t i = 0; i < b->rows.len; i++)
        series_put(&s->head, b->rows.at[i].series, b->rows.at[i].t_ms, b->rows.at[i].v);
    head_unlock(&s->head, b->shards);
    for (size_t i = 0; i < b->touched.len; i++)
        b->touched.at[i]->in_wal = true;
    atomic_fetch_add_explicit(&s->head.sample_count, b->rows.len, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->appended_total, b->rows.len, memory_order_relaxed);
}

static err_kind append_locked(store *s, const sample_row *rows, size_t n, int64_t newest_ms, sink_result *rejected, err *e)
{
    span allowed = { store_oldest_ms(s), newest_ms };
    for (size_t i = 0; i < n; i++) {
        size_t before = rejected ? rejected->appended : 0;
        err_kind k = stage_row(s, &rows[i], allowed, rejected, e);
        if (k)
            return k;
        if (rejected && rejected->refused)
            rejected->refused[i] = rejected->appended == before;
    }
    batch *b = &s->batch;
    if (b->rows.len == 0)
        return OK;
    for (size_t i = 0; i < b->touched.len; i++)
        if (series_reserve(&s->head, b->touched.at[i], b->touched.at[i]->batch_rows))
            return err_nomem(e);
    err_kind k = log_batch(s, e);
    if (!k)
        show(s);
    return k;
}

static void add_result(sink_result *to, const sink_result *from)
{
    to->appended += from->appended;
    to->out_of_order += from->out_of_order;
    to->duplicate += from->duplicate;
    to->too_old += from->too_old;
    to->limited += from->limited;
    if (to->first.kind == OK && from->first.kind != OK)
        to->first = from->first;
}

static err_kind append_until(store *s, const sample_row *rows, size_t n, int64_t newest_ms, sink_result *rejected, err *e)
{
    if (s->read_only)
        return err_set(e, ERR_DENIED, "cannot append to store \"%s\": it is open for reading only", s->dir);
    sink_result result = { .refused = rejected ? rejected->refused : NULL };
    pthread_mutex_lock(&s->append_lock);
    batch_begin(&s->batch);
    err_kind k = append_locked(s, rows, n, newest_ms, rejected ? &result : NULL, e);
    batch_end(&s->batch);
    pthread_mutex_unlock(&s->append_lock);
    if (!k && rejected)
        add_result(rejected, &result);
    return k;
}

err_kind store_append(store *s, const sample_row *rows, size_t n, sink_result *rejected, err *e)
{
    return append_until(s, rows, n, STORE_TIME_MAX_MS, rejected, e);
}

static err_kind sink_append(void *ctx, const sample_row *rows, size_t n, sink_result *rejected, err *e)
{
    return append_until(ctx, rows, n, clock_now_ms() + STORE_AHEAD_MS, rejected, e);
}

sample_sink store_sink(store *s) { return (sample_sink){ sink_append, s }; }
