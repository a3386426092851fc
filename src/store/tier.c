#include "store/tier.h"
#include "store/merge.h"
#include <stdatomic.h>

#define JOB_MAX_MS (INT64_C(31) * 24 * 3600 * MS_PER_S) /* of raw samples in one go: memory is those of one series */

/* ---- the points of one series ---- */

typedef enum column { COLUMN_COUNT, COLUMN_COUNTER, COLUMN_LAST, COLUMN_LARGEST, COLUMN_LEAST, COLUMN_SUM, COLUMNS } column;
static const char *const column_names[COLUMNS] = { "count", "counter", "last", "max", "min", "sum" }; /* sorted */

/* What a counter goes on from: its value before, and what is added to it for the resets so far. */
typedef struct counter { bool begun; double before, added; } counter;

typedef struct step {
    int64_t t_ms;
    uint64_t count;
    double sum, rest, least, largest, last, counted; /* rest: what Neumaier's summation has not yet added */
    bool stale;
} step;

static void step_add(step *p, counter *c, double v)
{
    p->stale = is_stale(v);
    if (p->stale)
        return;
    if (c->begun && v < c->before)
        c->added += c->before;
    c->begun = true;
    c->before = v;
    p->counted = v + c->added;
    p->last = v;
    double sum = p->sum + v;
    p->rest += fabs(p->sum) >= fabs(v) ? p->sum - sum + v : v - sum + p->sum;
    p->sum = sum;
    if (p->count == 0 || v < p->least || isnan(p->least))
        p->least = v;
    if (p->count == 0 || v > p->largest || isnan(p->largest))
        p->largest = v;
    p->count++;
}

/* False: this column has no point here. */
static bool step_value(const step *p, column c, double *ret)
{
    bool lasts = c == COLUMN_LAST || c == COLUMN_COUNTER;
    if (p->stale && lasts)
        return *ret = stale_nan(), true;
    if (p->count == 0)
        return false;
    *ret = c == COLUMN_COUNT     ? (double)p->count
           : c == COLUMN_COUNTER ? p->counted
           : c == COLUMN_LAST    ? p->last
           : c == COLUMN_LARGEST ? p->largest
           : c == COLUMN_LEAST   ? p->least
           : isfinite(p->rest)   ? p->sum + p->rest
                                 : p->sum;
    return true;
}

/* The end of the step that t_ms lies in: the first multiple not before it. */
static int64_t step_end(int64_t t_ms, int64_t step_ms)
{
    int64_t start = window_start(t_ms, step_ms);
    return start == t_ms ? t_ms : start + step_ms;
}

static err_kind roll(const sample_vec *raw, int64_t step_ms, column col, counter c, sample_vec *out)
{
    step p = { 0 };
    double v;
    out->len = 0;
    if (vec_reserve(out, raw->len ? raw->len : 1))
        return ERR_NOMEM;
    for (size_t i = 0; i <= raw->len; i++) {
        int64_t end_ms = i < raw->len ? step_end(raw->at[i].t_ms, step_ms) : INT64_MAX;
        if (i > 0 && end_ms != p.t_ms && step_value(&p, col, &v))
            out->at[out->len++] = (sample){ p.t_ms, v };
        if (i == raw->len)
            break;
        if (i == 0 || end_ms != p.t_ms)
            p = (step){ .t_ms = end_ms };
        step_add(&p, &c, raw->at[i].v);
    }
    return OK;
}

/* ---- one block ---- */

typedef struct rolling {
    store *s;
    merge raw, counters, lasts;   /* the latter two walk the points made before */
    bool has_counter, has_last;
    labels at_counter, at_last;
    uint32_t *places;             /* where the group of the walk begins */
    block_writer *to;
    sample_vec samples, points;
    int64_t from_ms, to_ms, step_ms; /* samples in (from_ms, to_ms] */
} rolling;

static void rolling_done(rolling *r)
{
    merge_done(&r->raw);
    merge_done(&r->counters);
    merge_done(&r->lasts);
    mem_free(r->places);
    block_writer_abort(r->to);
    vec_done(&r->samples);
    vec_done(&r->points);
}

/* The labels with the column among them. */
static labels with_column(labels l, column c, label room[LABELS_MAX + 1])
{
    size_t at = 0;
    while (at < l.len && str_cmp(l.at[at].name, ROLLUP_LABEL) < 0)
        at++;
    memcpy(room, l.at, at * sizeof *room);
    room[at] = (label){ ROLLUP_LABEL, str_from(column_names[c]) };
    memcpy(room + at + 1, l.at + at, (l.len - at) * sizeof *room);
    return (labels){ room, l.len + 1 };
}

/* Walk on to these labels, which rise from call to call. *ret: the last point that is no marker, if there is any. */
static err_kind last_point(merge *m, labels want, bool *has, labels *at, sample_vec *scratch, double *ret, bool *ret_found, err *e)
{
    err_kind k = OK;
    *ret_found = false;
    while (*has && labels_cmp(*at, want) < 0)
        if ((k = merge_next(m, at, e)))
            *has = false;
    if (k && k != ERR_NOT_FOUND)
        return k;
    if (!*has || !labels_eq(*at, want))
        return OK;
    if ((k = merge_samples(m, INT64_MIN, INT64_MAX, scratch, e)))
        return k;
    for (size_t i = scratch->len; i-- > 0 && !*ret_found;)
        if (!is_stale(scratch->at[i].v)) {
            *ret = scratch->at[i].v;
            *ret_found = true;
        }
    return OK;
}

static err_kind counter_before(rolling *r, labels l, counter *ret, err *e)
{
    label room[LABELS_MAX + 1];
    bool counted_found, last_found;
    double counted = 0, last = 0;
    err_kind k = last_point(&r->counters, with_column(l, COLUMN_COUNTER, room), &r->has_counter, &r->at_counter, &r->points, &counted, &counted_found, e);
    if (!k)
        k = last_point(&r->lasts, with_column(l, COLUMN_LAST, room), &r->has_last, &r->at_last, &r->points, &last, &last_found, e);
    *ret = (counter){ 0 };
    if (!k && counted_found && last_found)
        *ret = (counter){ true, last, counted - last };
    return k;
}

static err_kind put_column(rolling *r, labels l, column c, err *e)
{
    label room[LABELS_MAX + 1];
    counter before = { 0 };
    err_kind k = merge_samples(&r->raw, r->from_ms + 1, r->to_ms, &r->samples, e);
    if (k || r->samples.len == 0 || l.len >= LABELS_MAX)
        return k;
    if (c == COLUMN_COUNTER && (k = counter_before(r, l, &before, e)))
        return k;
    if (roll(&r->samples, r->step_ms, c, before, &r->points))
        return err_nomem(e);
    return block_writer_add_samples(r->to, with_column(l, c, room), r->points.at, r->points.len, NULL, 0, e);
}

/* The labels that come before the column's: series that share them stand together, and the column orders them next. */
static labels prefix_of(labels l)
{
    size_t n = 0;
    while (n < l.len && str_cmp(l.at[n].name, ROLLUP_LABEL) < 0)
        n++;
    return (labels){ l.at, n };
}

/* All series of a group once for each column. *l: its first, then the first of the next; ERR_NOT_FOUND: there is none. */
static err_kind put_group(rolling *r, labels *l, err *e)
{
    label room[LABELS_MAX];
    labels prefix = prefix_of(*l);
    err_kind k = OK;
    memcpy(room, prefix.at, prefix.len * sizeof *room); /* the texts live in the blocks, the run of them in the walk */
    prefix.at = room;
    merge_tell(&r->raw, r->places);
    for (column c = 0; c < COLUMNS; c++) {
        merge_seek(&r->raw, r->places);
        while (!(k = merge_next(&r->raw, l, e)) && labels_eq(prefix_of(*l), prefix)) {
            if (atomic_load_explicit(&r->s->compact_wanted, memory_order_relaxed) > 0)
                return err_set(e, ERR_CANCELED, "could not roll up: somebody else needs the blocks");
            if ((k = put_column(r, *l, c, e)))
                return k;
        }
        if (k && k != ERR_NOT_FOUND)
            return k;
    }
    return k;
}

static err_kind first_of(merge *m, bool *has, labels *at, err *e)
{
    err_kind k = merge_next(m, at, e);
    *has = !k;
    return k == ERR_NOT_FOUND ? OK : k;
}

static err_kind put_all(rolling *r, err *e)
{
    labels l;
    err_kind k;
    if ((k = first_of(&r->counters, &r->has_counter, &r->at_counter, e)) || (k = first_of(&r->lasts, &r->has_last, &r->at_last, e)))
        return k;
    k = merge_next(&r->raw, &l, e);
    while (!k)
        k = put_group(r, &l, e);
    return k == ERR_NOT_FOUND ? OK : k;
}

/* The tier's block that reaches furthest: a counter goes on from there. */
static size_t newest_block(const block_vec *made)
{
    size_t newest = 0;
    for (size_t i = 1; i < made->len; i++)
        if (made->at[i]->max_t_ms >= made->at[newest]->max_t_ms)
            newest = i;
    return newest;
}

static err_kind rolling_init(rolling *r, const block_vec *raw, const block_vec *made, err *e)
{
    block *const *before = made->len ? &made->at[newest_block(made)] : NULL;
    err_kind k;
    if ((k = merge_init(&r->raw, raw->at, raw->len, e)) || (k = merge_init(&r->counters, before, before ? 1 : 0, e)) ||
        (k = merge_init(&r->lasts, before, before ? 1 : 0, e)))
        return k;
    r->places = mem_calloc(raw->len + 1, sizeof *r->places);
    return r->places ? OK : err_nomem(e);
}

/* Samples in (from_ms, to_ms] of `raw` as one block of the tier. */
static err_kind roll_block(store *s, tier_set *t, const block_vec *raw, const block_vec *made, int64_t from_ms, int64_t to_ms, err *e)
{
    AUTO(rolling_done) rolling r = { .s = s, .from_ms = from_ms, .to_ms = to_ms, .step_ms = t->step_ms };
    char path[FILE_PATH_MAX];
    uint32_t number;
    err_kind k = rolling_init(&r, raw, made, e);
    if (k || (k = blocks_begin(s, &t->blocks, path, &number, e)) || (k = block_writer_open(path, &r.to, e)) || (k = put_all(&r, e)))
        return k;
    if (block_writer_series(r.to) == 0)
        return OK;
    if ((k = block_writer_close(TAKE(r.to), (block_cover){ 0, to_ms }, e)))
        return k;
    return blocks_show(s, &t->blocks, path, number, e);
}

/* ---- what is due ---- */

/* How far the tier is; INT64_MIN: there is nothing yet. */
static int64_t rolled_until(const tier_set *t, const block_vec *made)
{
    int64_t until_ms = t->rolled_ms;
    for (size_t i = 0; i < made->len; i++)
        until_ms = MAX(until_ms, made->at[i]->cover.cut_t_ms);
    return until_ms;
}

/* Keep of `raw` what has samples in (from_ms, to_ms]; the references of the others are let go. */
static void keep_overlapping(block_vec *raw, int64_t from_ms, int64_t to_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < raw->len; i++)
        if (raw->at[i]->min_t_ms <= to_ms && raw->at[i]->max_t_ms > from_ms)
            raw->at[kept++] = raw->at[i];
        else
            block_unref(raw->at[i]);
    raw->len = kept;
}

static void span_of(const block_vec *raw, int64_t *ret_min, int64_t *ret_max)
{
    *ret_min = INT64_MAX;
    *ret_max = INT64_MIN;
    for (size_t i = 0; i < raw->len; i++) {
        *ret_min = MIN(*ret_min, raw->at[i]->min_t_ms);
        *ret_max = MAX(*ret_max, raw->at[i]->max_t_ms);
    }
}

static err_kind roll_next(store *s, tier_set *t, block_vec *raw, const block_vec *made, bool force, bool *ret_did, err *e)
{
    int64_t min_ms, max_ms;
    span_of(raw, &min_ms, &max_ms);
    if (raw->len == 0)
        return OK;
    int64_t from_ms = MAX(rolled_until(t, made), step_end(min_ms, t->step_ms) - t->step_ms);
    int64_t to_ms = window_start(max_ms, force ? t->step_ms : t->step_ms * TIER_SPAN_STEPS);
    to_ms = MIN(to_ms, from_ms + window_start(JOB_MAX_MS, t->step_ms));
    if (to_ms <= from_ms)
        return OK;
    keep_overlapping(raw, from_ms, to_ms);
    err_kind k = roll_block(s, t, raw, made, from_ms, to_ms, e);
    if (!k)
        t->rolled_ms = to_ms; /* also where there was nothing to write */
    *ret_did = !k;
    return k;
}

err_kind tier_roll_up(store *s, tier_set *t, bool force, err *e)
{
    err_kind k = OK;
    for (bool did = true; !k && did;) {
        block_vec raw = { 0 }, made = { 0 };
        did = false;
        if (!(k = blocks_hold(s, &s->blocks, &raw, e)) && !(k = blocks_hold(s, &t->blocks, &made, e)))
            k = roll_next(s, t, &raw, &made, force, &did, e);
        blocks_let_go(&raw);
        blocks_let_go(&made);
    }
    return k;
}

err_kind tier_expire(store *s, tier_set *t, err *e)
{
    block_vec all = { 0 };
    int64_t oldest_ms = t->keep_ms > 0 ? store_oldest_ms(s) + s->retention_ms - t->keep_ms : INT64_MIN;
    err_kind k = blocks_hold(s, &t->blocks, &all, e);
    for (size_t i = 0; !k && i < all.len; i++)
        if (all.at[i]->max_t_ms < oldest_ms) {
            log_info("roll-ups are past their retention and were removed", KV_CSTR("file", all.at[i]->path));
            k = blocks_remove(s, &t->blocks, &all.at[i], 1, e);
        }
    blocks_let_go(&all);
    return k;
}
