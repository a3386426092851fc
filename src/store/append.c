/* A batch goes in by passes, so that memory is asked for early and in order: rows to series (stage), the record of the
 * log (one write), then chunks (show). Up to the write nothing has changed that a reader could see. */
#include "store/inside.h"
#include <stdatomic.h>

#define SERIES_RECORD_BYTES (256u << 10) /* definitions are split into records of about this */
#define SCRATCH_KEEP_BYTES (4u << 20)    /* what a batch may leave allocated for the next */
#define AHEAD_ROWS 12                    /* how far ahead of its use a line of memory is asked for */

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

typedef enum verdict { KEEP, SAME, LATE, OUT_OF_ORDER, DUPLICATE, TOO_OLD, LIMITED } verdict;
typedef struct span { int64_t oldest_ms, newest_ms; } span; /* the times that a batch may hold */

static bool same_bits(double a, double b) { return memcmp(&a, &b, sizeof a) == 0; }

/* Is the late sample there already? Only those not yet packed are looked at: what is packed is told apart when read,
 * where the earlier one wins. */
static verdict judge_late(store *s, const series *se, const sample_row *row)
{
    const series_more *m = head_cold(&s->head, se)->more;
    verdict v = LATE;
    head_lock(&s->head); /* a handover may pack them */
    for (size_t i = 0; m && i < m->late.len; i++) {
        const late_sample *x = &m->late.at[i];
        if (x->t_ms == row->t_ms)
            v = (row->histogram ? x->h && histogram_eq(x->h, row->histogram) : !x->h && same_bits(x->v, row->v)) ? SAME : DUPLICATE;
    }
    head_unlock(&s->head);
    return v;
}

static verdict judge(store *s, const series *se, const sample_row *row)
{
    int64_t last_t_ms;
    const histogram *last = NULL;
    double last_v = 0;
    if (se->batch == s->head.batch) {
        const staged *x = &s->batch.rows.at[se->staged];
        last_t_ms = x->t_ms;
        if (x->kind == STAGED_HISTOGRAM)
            last = x->own;
        else
            last_v = x->v;
    } else {
        if (!(se->flags & SERIES_HAS_LAST))
            return KEEP;
        last_t_ms = se->open.last_t_ms;
        memcpy(&last_v, &se->open.last_bits, sizeof last_v);
        if (se->flags & SERIES_LAST_HISTOGRAM) {
            const histogram_filling *f = &head_cold(&s->head, se)->more->histograms;
            last_t_ms = f->last_t_ms;
            last = f->last;
        }
    }
    if (row->t_ms > last_t_ms)
        return KEEP;
    if (row->t_ms < last_t_ms)
        return s->out_of_order_ms > 0 && row->t_ms >= last_t_ms - s->out_of_order_ms ? judge_late(s, se, row) : OUT_OF_ORDER;
    if (row->histogram)
        return last && histogram_eq(last, row->histogram) ? SAME : DUPLICATE;
    return !last && same_bits(row->v, last_v) ? SAME : DUPLICATE;
}

/* What is wrong with a row, for people; the series is cut to what fits a message. */
static err_kind explain(const store *s, verdict v, const series *se, const sample_row *row, err *e)
{
    static const struct { err_kind kind; const char *why; } reasons[] = {
        [OUT_OF_ORDER] = { ERR_OUT_OF_ORDER, "it is not after the series' last one" },
        [DUPLICATE] = { ERR_DUPLICATE, "the series has another value at that time" },
        [TOO_OLD] = { ERR_OUT_OF_ORDER, "it is older than what is kept" },
        [LIMITED] = { ERR_LIMIT, "its time is too far in the future" },
    };
    label at[LABELS_MAX];
    labels l = row->labels;
    if (l.len == 0 && !se && row->ref)
        se = head_by_ref(&s->head, *row->ref);
    if (l.len == 0 && se)
        l = (labels){ at, head_labels(&s->head, se, at) };
    AUTO(buf_done) buf name = BUF_INIT(1u << 20);
    labels_format(l, &name);
    str shown = str_sub(buf_str(&name), 0, 200);
    err_set(e, reasons[v].kind, "cannot store the sample of %" STR_FMT " at %" PRId64 ": %s", STR_ARG(shown), row->t_ms, reasons[v].why);
    if (v == TOO_OLD)
        err_hint(e, "Start with a longer --retention to keep older samples.");
    return reasons[v].kind;
}

static err_kind refuse(const store *s, verdict v, const series *se, const sample_row *row, sink_result *rejected, err *e)
{
    if (!rejected)
        return explain(s, v, se, row, e);
    size_t *const counters[] = {
        [OUT_OF_ORDER] = &rejected->out_of_order, [DUPLICATE] = &rejected->duplicate,
        [TOO_OLD] = &rejected->too_old, [LIMITED] = &rejected->limited,
    };
    ++*counters[v];
    if (rejected->first.kind == OK)
        explain(s, v, se, row, &rejected->first);
    return OK;
}

/* The row's series by its labels; added if it is new. */
static err_kind find_by_labels(store *s, const sample_row *row, series **ret, err *e)
{
    if (row->ref && row->labels.len == 0) {
        err_set(e, ERR_NOT_FOUND, "could not store a sample: the series it refers to is not in the store any more");
        return err_hint(e, "Send the batch again with all labels."), ERR_NOT_FOUND;
    }
    if (!row->labels.len && row->ref && *row->ref)
        return err_set(e, ERR_NOT_FOUND, "could not find a series by its number: it has ended");
    uint64_t hash = labels_hash(row->labels);
    series *se = head_find(&s->head, row->labels, hash);
    if (!se) {
        err_kind k = labels_check(row->labels, e);
        if (k || (k = guard_admit(&s->guard, &s->head, row->labels, e)) || (k = head_add(&s->head, row->labels, hash, &se, e)))
            return k;
        guard_count(&s->guard, &s->head, row->labels);
    }
    if (row->ref)
        *row->ref = se->ref;
    *ret = se;
    return OK;
}

static inline err_kind find_series(store *s, const sample_row *row, series **ret, err *e)
{
    series *se = row->ref ? head_by_ref(&s->head, *row->ref) : NULL;
    if (!se || (row->labels.len && head_cold(&s->head, se)->label_count != row->labels.len))
        return find_by_labels(s, row, ret, e);
    *ret = se;
    return OK;
}

static err_kind stage_push(batch *b, staged x, err *e)
{
    b->min_t_ms = MIN(b->min_t_ms, x.t_ms);
    b->max_t_ms = MAX(b->max_t_ms, x.t_ms);
    if (!vec_push(&b->rows, x))
        return OK;
    if (x.kind == STAGED_HISTOGRAM || x.kind == STAGED_LATE_HISTOGRAM)
        mem_free(x.own);
    return err_nomem(e);
}

/* What comes in order: the series' place in the batch, and memory for what show() will put. */
static err_kind stage_float(store *s, series *se, int64_t t_ms, double v, err *e)
{
    batch *b = &s->batch;
    if (se->batch != s->head.batch) {
        if (!(se->flags & SERIES_IN_WAL) && vec_push(&b->fresh, se))
            return err_nomem(e);
        if (se->open.count >= CHUNK_MAX_SAMPLES && series_prepare(&s->head, se))
            return err_nomem(e);
        b->blocks += filling_need(&se->open);
        b->touched++;
        se->batch = s->head.batch & HEAD_BATCH_MAX;
    } else {
        b->again++;
    }
    se->staged = (uint32_t)b->rows.len;
    return stage_push(b, (staged){ .series = se, .t_ms = t_ms, .v = v, .kind = STAGED_FLOAT }, e);
}

static err_kind stage_fresh(store *s, series *se, err *e)
{
    return se->batch != s->head.batch && !(se->flags & SERIES_IN_WAL) && vec_push(&s->batch.fresh, se) ? err_nomem(e) : OK;
}

/* The series' `more`, with the counters of this batch. */
static series_more *more_of(store *s, const series *se)
{
    series_more *m = series_more_get(&s->head, se);
    if (m && m->batch != s->head.batch) {
        m->batch = s->head.batch;
        m->late_pending = 0;
        m->histogram_pending = 0;
    }
    return m;
}

static err_kind stage_histogram(store *s, series *se, int64_t t_ms, const histogram *h, err *e)
{
    series_more *m = more_of(s, se);
    size_t need = histogram_code_max(h);
    if (!m || stage_fresh(s, se, e))
        return err_nomem(e);
    head_lock(&s->head);
    err_kind k = histogram_filling_reserve(&m->histograms, m->histogram_pending + need);
    head_unlock(&s->head);
    histogram *own = k ? NULL : histogram_clone(h);
    if (!own)
        return err_nomem(e);
    m->histogram_pending += need;
    if (se->batch == s->head.batch) {
        s->batch.again++; /* a float that follows counts as one more of the series */
    } else {
        s->batch.blocks += CHUNK_SAMPLE_MAX_BLOCKS;
        s->batch.touched++;
    }
    se->batch = s->head.batch & HEAD_BATCH_MAX;
    se->staged = (uint32_t)s->batch.rows.len;
    return stage_push(&s->batch, (staged){ .series = se, .t_ms = t_ms, .own = own, .kind = STAGED_HISTOGRAM }, e);
}

static err_kind stage_late(store *s, series *se, const sample_row *row, err *e)
{
    series_more *m = more_of(s, se);
    if (!m)
        return err_nomem(e);
    head_lock(&s->head);
    err_kind k = vec_reserve(&m->late, m->late.len + m->late_pending + 1);
    head_unlock(&s->head);
    histogram *own = k || !row->histogram ? NULL : histogram_clone(row->histogram);
    if (k || (row->histogram && !own))
        return err_nomem(e);
    m->late_pending++;
    staged x = { .series = se, .t_ms = row->t_ms, .v = row->v, .kind = STAGED_LATE_FLOAT };
    if (own)
        x = (staged){ .series = se, .t_ms = row->t_ms, .own = own, .kind = STAGED_LATE_HISTOGRAM };
    return stage_push(&s->batch, x, e);
}

/* A counter that began after the last sample and before this one was zero when it began. */
static err_kind stage_created(store *s, series *se, const sample_row *row, span allowed, err *e)
{
    if (row->start_ms >= row->t_ms || row->start_ms < allowed.oldest_ms || is_stale(row->histogram ? row->histogram->sum : row->v))
        return OK;
    sample_row zero = { .t_ms = row->start_ms, .histogram = row->histogram };
    if (judge(s, se, &zero) != KEEP)
        return OK;
    if (!row->histogram)
        return stage_float(s, se, row->start_ms, 0, e);
    histogram empty = { .schema = row->histogram->schema, .zero_threshold = row->histogram->zero_threshold, .integer = row->histogram->integer,
                        .bounds = row->histogram->bounds, .bound_count = row->histogram->bound_count };
    return stage_histogram(s, se, row->start_ms, &empty, e);
}

static err_kind stage(store *s, series *se, verdict v, const sample_row *row, span allowed, err *e)
{
    err_kind k = OK;
    if (v == LATE)
        return stage_late(s, se, row, e);
    if (row->start_ms && s->created_zeros)
        k = stage_created(s, se, row, allowed, e);
    if (k)
        return k;
    return row->histogram ? stage_histogram(s, se, row->t_ms, row->histogram, e) : stage_float(s, se, row->t_ms, row->v, e);
}

/* A row whose series cannot be had. */
static err_kind no_series(err_kind k, const err *own, sink_result *rejected, err *e)
{
    if (k == ERR_LIMIT && rejected) {
        rejected->limited++;
        if (rejected->first.kind == OK)
            rejected->first = *own;
        return OK;
    }
    if (e)
        *e = *own;
    return k;
}

static err_kind check_histogram(const sample_row *row, sink_result *rejected, bool *ret_bad, err *e)
{
    err own = { 0 };
    err_kind k = histogram_check(row->histogram, &own);
    *ret_bad = k != OK;
    if (!k)
        return OK;
    if (!rejected) {
        if (e)
            *e = own;
        return k;
    }
    rejected->limited++;
    if (rejected->first.kind == OK)
        rejected->first = own;
    return OK;
}

static err_kind stage_row(store *s, const sample_row *row, span allowed, sink_result *rejected, err *e)
{
    if (row->t_ms < allowed.oldest_ms || row->t_ms > allowed.newest_ms)
        return refuse(s, row->t_ms < allowed.oldest_ms ? TOO_OLD : LIMITED, NULL, row, rejected, e);
    if (row->histogram) {
        bool bad;
        err_kind k = check_histogram(row, rejected, &bad, e);
        if (bad)
            return k;
    }
    series *se = row->ref ? head_by_ref(&s->head, *row->ref) : NULL;
    if (!se || row->labels.len) {
        err own = { 0 };
        err_kind k = find_series(s, row, &se, &own);
        if (k)
            return no_series(k, &own, rejected, e);
    }
    verdict v = judge(s, se, row);
    if (v > LATE)
        return refuse(s, v, se, row, rejected, e);
    if (rejected)
        rejected->appended++;
    return v == SAME ? OK : stage(s, se, v, row, allowed, e);
}

static inline void look_ahead(const store *s, const sample_row *rows, size_t n, size_t i)
{
    if (i + 2 * AHEAD_ROWS < n && rows[i + 2 * AHEAD_ROWS].ref)
        __builtin_prefetch(rows[i + 2 * AHEAD_ROWS].ref);
    if (i + AHEAD_ROWS >= n || !rows[i + AHEAD_ROWS].ref)
        return;
    uint32_t slot = (uint32_t)(*rows[i + AHEAD_ROWS].ref & HEAD_SLOT_MASK);
    if (slot && slot < s->head.slots) /* 0: not known yet */
        __builtin_prefetch(head_at(&s->head, slot), 1);
}

static err_kind stage_rows(store *s, const sample_row *rows, size_t n, span allowed, sink_result *rejected, err *e)
{
    for (size_t i = 0; i < n; i++) {
        size_t before = rejected ? rejected->appended : 0;
        look_ahead(s, rows, n, i);
        err_kind k = stage_row(s, &rows[i], allowed, rejected, e);
        if (k)
            return k;
        if (rejected && rejected->refused)
            rejected->refused[i] = rejected->appended == before;
    }
    return OK;
}

/* ---- the log ---- */

/* Definitions of the series the log has not seen. They may stand alone: without samples they mean nothing. */
static void encode_series(store *s)
{
    batch *b = &s->batch;
    size_t record = SIZE_MAX;
    for (size_t i = 0; i < b->fresh.len; i++) {
        const series *se = b->fresh.at[i];
        label at[LABELS_MAX];
        if (record == SIZE_MAX)
            record = wal_begin(&b->records, WAL_SERIES);
        wal_put_series(&b->records, se->wal_id, (labels){ at, head_labels(&s->head, se, at) });
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

/* Rows of one kind from `i` on; returns where they end. */
static size_t encode_floats(batch *b, size_t i)
{
    staged_kind kind = b->rows.at[i].kind;
    size_t end = i;
    while (end < b->rows.len && b->rows.at[end].kind == kind)
        end++;
    uint8_t *room = (uint8_t *)buf_reserve(&b->records, (end - i) * WAL_ROW_MAX_BYTES);
    if (!room)
        return end;
    uint8_t *p = room;
    wal_before before = { 0 };
    for (; i < end; i++) {
        const staged *x = &b->rows.at[i];
        p = wal_put_row(p, &before, x->series->wal_id, x->t_ms, x->v);
    }
    buf_commit(&b->records, (size_t)(p - room));
    return end;
}

static size_t encode_histograms(batch *b, size_t i)
{
    staged_kind kind = b->rows.at[i].kind;
    wal_before before = { 0 };
    for (; i < b->rows.len && b->rows.at[i].kind == kind; i++) {
        const staged *x = &b->rows.at[i];
        uint8_t *room = (uint8_t *)buf_reserve(&b->records, 2 * WIRE_VARINT_MAX + histogram_code_max(x->own));
        if (!room)
            return b->rows.len;
        uint8_t *p = histogram_put(wal_put_key(room, &before, x->series->wal_id, x->t_ms), x->own);
        buf_commit(&b->records, (size_t)(p - room));
    }
    return i;
}

/* All samples in one record: that is what makes the batch all or nothing. */
static void encode_rows(store *s)
{
    static const wal_section sections[] = {
        [STAGED_FLOAT] = WAL_FLOATS, [STAGED_HISTOGRAM] = WAL_HISTOGRAMS,
        [STAGED_LATE_FLOAT] = WAL_LATE_FLOATS, [STAGED_LATE_HISTOGRAM] = WAL_LATE_HISTOGRAMS,
    };
    batch *b = &s->batch;
    size_t record = wal_begin(&b->records, WAL_ROWS);
    for (size_t i = 0; i < b->rows.len && !buf_failed(&b->records);) {
        staged_kind kind = b->rows.at[i].kind;
        size_t section = wal_section_begin(&b->records, sections[kind]);
        i = kind == STAGED_FLOAT || kind == STAGED_LATE_FLOAT ? encode_floats(b, i) : encode_histograms(b, i);
        wal_section_end(&b->records, section);
    }
    wal_end(&b->records, record);
}

static err_kind log_batch(store *s, err *e)
{
    batch *b = &s->batch;
    encode_series(s);
    encode_rows(s);
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

/* Numbers come round: then no series may still carry an old one. */
static void batch_begin(store *s)
{
    batch *b = &s->batch;
    series *se;
    if (s->head.batch++ == HEAD_BATCH_MAX) {
        s->head.batch = 1;
        for (uint32_t slot = 0; (se = head_next(&s->head, &slot));) {
            se->batch = 0;
            if (head_cold(&s->head, se)->more)
                head_cold(&s->head, se)->more->batch = 0;
        }
    }
    b->touched = b->again = b->blocks = 0;
    b->min_t_ms = INT64_MAX;
    b->max_t_ms = INT64_MIN;
    vec_clear(&b->rows);
    vec_clear(&b->fresh);
    buf_reset(&b->records);
}

/* Copies that found no place go; an unusually large batch must not hold its memory for ever. */
static void batch_end(batch *b)
{
    for (size_t i = 0; i < b->rows.len; i++)
        if (b->rows.at[i].kind == STAGED_HISTOGRAM || b->rows.at[i].kind == STAGED_LATE_HISTOGRAM)
            mem_free(b->rows.at[i].own);
    vec_clear(&b->rows);
    if (b->records.cap > SCRATCH_KEEP_BYTES)
        buf_done(&b->records);
    if (b->rows.cap * sizeof *b->rows.at > SCRATCH_KEEP_BYTES)
        vec_done(&b->rows);
    if (b->fresh.cap * sizeof *b->fresh.at > SCRATCH_KEEP_BYTES)
        vec_done(&b->fresh);
}

static void show_row(head *h, const staged *x)
{
    switch (x->kind) {
    case STAGED_FLOAT:          series_put(h, x->series, x->t_ms, x->v); break;
    case STAGED_HISTOGRAM:      series_put_histogram(h, x->series, x->t_ms, x->own); break;
    case STAGED_LATE_FLOAT:     series_put_late(h, x->series, x->t_ms, x->v, NULL); break;
    case STAGED_LATE_HISTOGRAM: series_put_late(h, x->series, x->t_ms, 0, x->own); break;
    }
}

/* Cannot fail: the memory was reserved, the log has it. */
static void show(store *s)
{
    batch *b = &s->batch;
    head *h = &s->head;
    for (size_t i = 0; i < b->fresh.len; i++)
        b->fresh.at[i]->flags |= SERIES_IN_WAL;
    head_lock(h);
    head_grew(h, b->rows.len, b->min_t_ms, b->max_t_ms);
    for (size_t i = 0; i < b->rows.len; i++) {
        if (i + AHEAD_ROWS < b->rows.len && b->rows.at[i + AHEAD_ROWS].series->open.tail)
            __builtin_prefetch(chunk_block_at(&h->pool, b->rows.at[i + AHEAD_ROWS].series->open.tail - 1), 1);
        show_row(h, &b->rows.at[i]);
    }
    head_unlock(h);
    atomic_fetch_add_explicit(&s->appended_total, b->rows.len, memory_order_relaxed);
    vec_clear(&b->rows); /* what was copied belongs to the series now */
}

/* The blocks of the pool that show() may take: what the first rows said, and the others at their worst. */
static err_kind reserve_blocks(store *s, err *e)
{
    const batch *b = &s->batch;
    size_t need = b->blocks + (b->again * CHUNK_SAMPLE_MAX_BITS + CHUNK_BLOCK_BITS - 1) / CHUNK_BLOCK_BITS + MIN(b->again, b->touched);
    if (s->head.pool.free_count >= need)
        return OK;
    head_lock(&s->head);
    err_kind k = chunk_pool_reserve(&s->head.pool, need);
    head_unlock(&s->head);
    return k ? err_nomem(e) : OK;
}

static err_kind append_locked(store *s, const sample_row *rows, size_t n, int64_t newest_ms, sink_result *rejected, err *e)
{
    err_kind k = stage_rows(s, rows, n, (span){ store_oldest_ms(s), newest_ms }, rejected, e);
    if (k || s->batch.rows.len == 0)
        return k;
    if ((k = reserve_blocks(s, e)) || (k = log_batch(s, e)))
        return k;
    show(s);
    return OK;
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
    batch_begin(s);
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

static err_kind sink_exemplars(void *ctx, const exemplar_row *rows, size_t n, sink_result *rejected, err *e)
{
    return exemplars_append(ctx, rows, n, rejected, e);
}

sample_sink store_sink(store *s) { return (sample_sink){ sink_append, s, sink_exemplars }; }
