#include "metric/histogram_math.h"
#include "metric/metric.h"

/* ---- walks over all buckets ---- */

enum { PART_NEGATIVE, PART_ZERO, PART_POSITIVE, PART_END };

bucket_walk bucket_walk_all(const histogram *h, bool backward)
{
    return (bucket_walk){ .h = h, .backward = backward };
}

static void side_start(bucket_walk *w, const histogram_side *s, bool down)
{
    w->begun = true;
    w->index = w->span = w->in_span = w->bucket = 0;
    if (!down) {
        w->index = s->span_count ? s->spans[0].offset : 0;
        return;
    }
    for (uint32_t i = 0; i < s->span_count; i++)
        w->index += (int64_t)s->spans[i].offset + s->spans[i].length;
    w->span = s->span_count;
    w->bucket = s->bucket_count;
}

/* The next bucket upwards: its index and count. */
static bool side_up(bucket_walk *w, const histogram_side *s, int64_t *ret_index, double *ret_count)
{
    while (w->span < s->span_count && w->in_span == s->spans[w->span].length) {
        w->in_span = 0;
        if (++w->span < s->span_count)
            w->index += s->spans[w->span].offset;
    }
    if (w->span >= s->span_count || w->bucket >= s->bucket_count)
        return false;
    *ret_index = w->index++;
    *ret_count = s->buckets[w->bucket++];
    w->in_span++;
    return true;
}

/* Downwards: w->span is the span above the one in_span counts down in. */
static bool side_down(bucket_walk *w, const histogram_side *s, int64_t *ret_index, double *ret_count)
{
    while (w->in_span == 0) {
        if (w->span < s->span_count)
            w->index -= s->spans[w->span].offset;
        if (w->span == 0)
            return false;
        w->in_span = s->spans[--w->span].length;
    }
    if (w->bucket == 0)
        return false;
    w->in_span--;
    *ret_index = --w->index;
    *ret_count = s->buckets[--w->bucket];
    return true;
}

static void set_bucket(bucket_walk *w, int64_t index, double count, bool negative)
{
    const histogram *h = w->h;
    double low = histogram_bucket_bound(h, index - 1), high = histogram_bucket_bound(h, index), zero = h->zero_threshold;
    histogram_bucket b = { negative ? -high : low, negative ? -low : high, count, false, false };
    b.lower_inclusive = b.lower < 0;
    b.upper_inclusive = b.upper > 0;
    if (b.upper < 0 && b.upper > -zero)
        b.upper = -zero;
    else if (b.lower > 0 && b.lower < zero)
        b.lower = zero;
    w->at = b;
}

static bool next_in_part(bucket_walk *w)
{
    bool negative = w->part == PART_NEGATIVE, down = negative != w->backward;
    const histogram *h = w->h;
    const histogram_side *s = negative ? &h->negative : &h->positive;
    int64_t index = 0;
    double count = 0;
    if (w->part == PART_ZERO) {
        bool first = !w->begun;
        w->begun = true;
        w->at = (histogram_bucket){ -h->zero_threshold, h->zero_threshold, h->zero_count, true, true };
        return first && h->zero_count != 0;
    }
    if (!w->begun)
        side_start(w, s, down);
    do {
        if (!(down ? side_down(w, s, &index, &count) : side_up(w, s, &index, &count)))
            return false;
    } while (count == 0);
    set_bucket(w, index, count, negative);
    return true;
}

bool bucket_walk_next(bucket_walk *w)
{
    for (; w->part != PART_END; w->begun = false) {
        uint8_t part = w->part;
        w->part = w->backward ? PART_POSITIVE - part : part;   /* parts are counted in the direction of the walk */
        bool found = next_in_part(w);
        w->part = part;
        if (found)
            return true;
        w->part++;
    }
    return false;
}

/* ---- indexes and counts of one side, seen from a coarser schema or from fewer bounds ---- */

typedef struct mapping { int shift; const double *from; uint32_t from_count; const double *to; uint32_t to_count; } mapping;

static int32_t map_index(const mapping *m, int64_t index)
{
    if (m->to || m->from) {
        double upper = index < 0 ? -INFINITY : index >= m->from_count ? INFINITY : m->from[index];
        uint32_t low = 0, high = m->to_count;
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (m->to[middle] < upper)
                low = middle + 1;
            else
                high = middle;
        }
        return (int32_t)low;
    }
    return m->shift ? (int32_t)(((index - 1) >> m->shift) + 1) : (int32_t)index;
}

/* Walks one side, adding up buckets that fall together. */
typedef struct side_reader { const histogram_side *side; mapping map; bucket_walk w; bool ahead; int64_t index; double count; } side_reader;

static side_reader read_side(const histogram_side *s, mapping how)
{
    side_reader r = { .side = s, .map = how };
    side_start(&r.w, s, false);
    r.ahead = side_up(&r.w, s, &r.index, &r.count);
    return r;
}

static bool side_next(side_reader *r, int32_t *ret_index, double *ret_count)
{
    if (!r->ahead)
        return false;
    *ret_index = map_index(&r->map, r->index);
    *ret_count = r->count;
    while ((r->ahead = side_up(&r->w, r->side, &r->index, &r->count)) && map_index(&r->map, r->index) == *ret_index)
        *ret_count += r->count;
    return true;
}

/* ---- comparing ---- */

static bool same_side(const histogram_side *a, const histogram_side *b)
{
    side_reader x = read_side(a, (mapping){ 0 }), y = read_side(b, (mapping){ 0 });
    int32_t i = 0, k = 0;
    double v = 0, w = 0;
    for (;;) {
        bool more_x, more_y;
        while ((more_x = side_next(&x, &i, &v)) && v == 0) {}
        while ((more_y = side_next(&y, &k, &w)) && w == 0) {}
        if (!more_x || !more_y)
            return more_x == more_y;
        if (i != k || memcmp(&v, &w, sizeof v) != 0)
            return false;
    }
}

static bool same_bounds(const double *a, uint32_t an, const double *b, uint32_t bn)
{
    if (an != bn)
        return false;
    for (uint32_t i = 0; i < an; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

bool histogram_same(const histogram *a, const histogram *b)
{
    return a->schema == b->schema && memcmp(&a->count, &b->count, sizeof a->count) == 0 && memcmp(&a->sum, &b->sum, sizeof a->sum) == 0 &&
           a->zero_threshold == b->zero_threshold && memcmp(&a->zero_count, &b->zero_count, sizeof a->zero_count) == 0 &&
           (!histogram_is_custom(a) || same_bounds(a->bounds, a->bound_count, b->bounds, b->bound_count)) &&
           same_side(&a->positive, &b->positive) && same_side(&a->negative, &b->negative);
}

/* Some bucket has less than it had. `before` may be finer. */
static bool side_fell(const histogram_side *now, mapping now_map, const histogram_side *before, mapping before_map, double below, int8_t schema)
{
    side_reader n = read_side(now, now_map), b = read_side(before, before_map);
    int32_t i = 0, k = 0;
    double had = 0, has = 0;
    bool more = side_next(&n, &i, &has);
    while (side_next(&b, &k, &had)) {
        if (below > 0 && histogram_bound(schema, k) <= below)
            continue; /* now in the zero bucket */
        while (more && i < k)
            more = side_next(&n, &i, &has);
        if (had > (more && i == k ? has : 0))
            return true;
    }
    return false;
}

/* What lies within ±*threshold, which grows to the border of a bucket it would cut. */
static double zero_count_within(const histogram *h, double *threshold)
{
    double count;
    bool grew;
    do {
        grew = false;
        count = h->zero_count;
        for (int side = 0; side < 2 && !grew; side++) {
            side_reader r = read_side(side ? &h->negative : &h->positive, (mapping){ 0 });
            int32_t index = 0;
            double in_bucket = 0;
            while (side_next(&r, &index, &in_bucket) && histogram_bound(h->schema, index - 1) < *threshold) {
                double upper = histogram_bound(h->schema, index);
                count += in_bucket;
                if (upper <= *threshold)
                    continue;
                if (in_bucket != 0) {
                    grew = side == 1; /* the positive side has to be looked at again */
                    *threshold = upper;
                }
                break;
            }
        }
    } while (grew);
    return count;
}

static uint32_t shared_bounds(const double *a, uint32_t an, const double *b, uint32_t bn, double *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0, k = 0; i < an && k < bn;) {
        if (a[i] == b[k])
            out[n++] = a[i], i++, k++;
        else if (a[i] < b[k])
            i++;
        else
            k++;
    }
    return n;
}

static bool custom_fell(const histogram *now, const histogram *before)
{
    double few[256], *shared = MIN(now->bound_count, before->bound_count) <= COUNT_OF(few) ? few : mem_alloc(MIN(now->bound_count, before->bound_count) * sizeof *shared);
    if (!shared)
        return true; /* nothing is known to have been kept */
    uint32_t n = shared_bounds(now->bounds, now->bound_count, before->bounds, before->bound_count, shared);
    mapping a = { 0, now->bounds, now->bound_count, shared, n }, b = { 0, before->bounds, before->bound_count, shared, n };
    bool fell = side_fell(&now->positive, a, &before->positive, b, 0, 0);
    if (shared != few)
        mem_free(shared);
    return fell;
}

bool histogram_fell(const histogram *now, const histogram *before)
{
    if (now->reset == HISTOGRAM_RESET_YES || now->reset == HISTOGRAM_RESET_NO)
        return now->reset == HISTOGRAM_RESET_YES;
    if (histogram_is_custom(now) != histogram_is_custom(before) || now->count < before->count)
        return true;
    if (histogram_is_custom(now))
        return custom_fell(now, before);
    if (now->schema > before->schema || now->zero_threshold < before->zero_threshold)
        return true;
    double threshold = now->zero_threshold, zero_before = threshold == before->zero_threshold ? before->zero_count : zero_count_within(before, &threshold);
    if (threshold != now->zero_threshold || now->zero_count < zero_before)
        return true;
    mapping same = { 0 }, reduce = { .shift = before->schema - now->schema };
    double below = now->zero_threshold > before->zero_threshold ? now->zero_threshold : 0;
    return side_fell(&now->positive, same, &before->positive, reduce, below, now->schema) ||
           side_fell(&now->negative, same, &before->negative, reduce, below, now->schema);
}

/* ---- sums ---- */

void histogram_sum_done(histogram_sum *s)
{
    for (int i = 0; i < 2; i++) {
        vec_done(&s->side[i]);
        vec_done(&s->other[i]);
    }
    vec_done(&s->spare);
    vec_done(&s->bounds);
}

CHECKED static err_kind load_cells(histogram_cells *out, const histogram_side *from, mapping how, double divisor)
{
    side_reader r = read_side(from, how);
    histogram_cell c = { 0 };
    double count = 0;
    vec_clear(out);
    while (side_next(&r, &c.index, &count)) {
        c.count.sum = divisor == 1 ? count : count / divisor;
        if (vec_push(out, c))
            return ERR_NOMEM;
    }
    return OK;
}

CHECKED static err_kind set_bounds(histogram_sum *s, const double *bounds, uint32_t n)
{
    if (vec_reserve(&s->bounds, n))
        return ERR_NOMEM;
    if (n)
        memmove(s->bounds.at, bounds, n * sizeof *bounds);
    s->bounds.len = n;
    return OK;
}

err_kind histogram_sum_set(histogram_sum *s, const histogram *h)
{
    s->schema = h->schema;
    s->reset = h->reset;
    s->zero_threshold = h->zero_threshold;
    s->zero = (kahan){ h->zero_count, 0 };
    s->count = (kahan){ h->count, 0 };
    s->sum = (kahan){ h->sum, 0 };
    s->reset_conflict = s->bounds_reconciled = false;
    if (load_cells(&s->side[0], &h->positive, (mapping){ 0 }, 1) || load_cells(&s->side[1], &h->negative, (mapping){ 0 }, 1))
        return ERR_NOMEM;
    return set_bounds(s, h->bounds, h->bound_count);
}

CHECKED static err_kind copy_cells(histogram_cells *to, const histogram_cells *from)
{
    if (vec_reserve(to, from->len))
        return ERR_NOMEM;
    if (from->len)
        memcpy(to->at, from->at, from->len * sizeof *to->at);
    to->len = from->len;
    return OK;
}

err_kind histogram_sum_copy(histogram_sum *s, const histogram_sum *from)
{
    s->compensated = from->compensated;
    s->schema = from->schema;
    s->reset = from->reset;
    s->zero_threshold = from->zero_threshold;
    s->zero = from->zero;
    s->count = from->count;
    s->sum = from->sum;
    s->reset_conflict = from->reset_conflict;
    s->bounds_reconciled = from->bounds_reconciled;
    if (copy_cells(&s->side[0], &from->side[0]) || copy_cells(&s->side[1], &from->side[1]))
        return ERR_NOMEM;
    return set_bounds(s, from->bounds.at, (uint32_t)from->bounds.len);
}

static void add_to(const histogram_sum *s, kahan *k, double v)
{
    if (s->compensated)
        kahan_add(k, v);
    else
        k->sum += v;
}

/* What the two sides hold within ±*threshold; see zero_count_within. */
static void cells_within(const histogram_cells side[2], int8_t schema, double *threshold, kahan *zero)
{
    kahan start = *zero;
    bool grew;
    do {
        grew = false;
        *zero = start;
        for (int i = 0; i < 2 && !grew; i++)
            for (size_t k = 0; k < side[i].len && histogram_bound(schema, side[i].at[k].index - 1) < *threshold; k++) {
                const kahan *c = &side[i].at[k].count;
                double upper = histogram_bound(schema, side[i].at[k].index);
                zero->sum += c->sum;
                zero->c += c->c;
                if (upper <= *threshold)
                    continue;
                if (c->sum != 0) {
                    grew = i == 1;
                    *threshold = upper;
                }
                break;
            }
    } while (grew);
}

/* Cells now inside the zero bucket go. */
static void cut_cells(histogram_cells side[2], int8_t schema, double threshold)
{
    for (int i = 0; i < 2; i++) {
        size_t n = 0;
        while (n < side[i].len && histogram_bound(schema, side[i].at[n].index - 1) < threshold)
            n++;
        if (n)
            memmove(side[i].at, side[i].at + n, (side[i].len - n) * sizeof *side[i].at);
        side[i].len -= n;
    }
}

static void coarsen(histogram_cells *cells, int shift)
{
    mapping m = { .shift = shift };
    size_t kept = 0;
    for (size_t i = 0; i < cells->len; i++) {
        histogram_cell c = cells->at[i];
        c.index = map_index(&m, c.index);
        if (kept && cells->at[kept - 1].index == c.index) {
            cells->at[kept - 1].count.sum += c.count.sum;
            cells->at[kept - 1].count.c += c.count.c;
        } else {
            cells->at[kept++] = c;
        }
    }
    cells->len = kept;
}

/* `other` into `into`, both sorted. */
CHECKED static err_kind merge_cells(histogram_sum *s, histogram_cells *into, const histogram_cells *other)
{
    size_t i = 0, k = 0, n = 0;
    if (other->len == 0)
        return OK;
    if (vec_reserve(&s->spare, into->len + other->len))
        return ERR_NOMEM;
    histogram_cell *out = s->spare.at;
    while (i < into->len || k < other->len) {
        if (k == other->len || (i < into->len && into->at[i].index < other->at[k].index)) {
            out[n++] = into->at[i++];
        } else if (i == into->len || into->at[i].index > other->at[k].index) {
            out[n++] = other->at[k++];
        } else {
            out[n] = into->at[i++];
            add_to(s, &out[n++].count, other->at[k++].count.sum);
        }
    }
    s->spare.len = n;
    histogram_cells swapped = *into;
    *into = s->spare;
    s->spare = swapped;
    return OK;
}

/* FloatHistogram.adjustCounterReset: what becomes of two hints. */
static void merge_reset(histogram_sum *s, uint8_t other)
{
    if (other == s->reset || s->reset == HISTOGRAM_GAUGE)
        return;
    if (other == HISTOGRAM_GAUGE) {
        s->reset = HISTOGRAM_GAUGE;
        return;
    }
    s->reset_conflict |= s->reset != HISTOGRAM_RESET_UNKNOWN && other != HISTOGRAM_RESET_UNKNOWN;
    s->reset = HISTOGRAM_RESET_UNKNOWN;
}

CHECKED static err_kind add_custom(histogram_sum *s, const histogram *h, double divisor)
{
    mapping to_shared = { 0 };
    if (!same_bounds(s->bounds.at, (uint32_t)s->bounds.len, h->bounds, h->bound_count)) {
        AUTO(mem_freep) double *shared = mem_alloc((MIN(s->bounds.len, (size_t)h->bound_count) + 1) * sizeof *shared);
        if (!shared)
            return ERR_NOMEM;
        uint32_t n = shared_bounds(s->bounds.at, (uint32_t)s->bounds.len, h->bounds, h->bound_count, shared), kept = 0;
        mapping mine = { 0, s->bounds.at, (uint32_t)s->bounds.len, shared, n };
        to_shared = (mapping){ 0, h->bounds, h->bound_count, shared, n };
        if (load_cells(&s->other[0], &h->positive, to_shared, divisor))
            return ERR_NOMEM;
        for (size_t i = 0; i < s->side[0].len; i++) {
            histogram_cell c = s->side[0].at[i];
            c.index = map_index(&mine, c.index);
            if (kept && s->side[0].at[kept - 1].index == c.index)
                s->side[0].at[kept - 1].count.sum += c.count.sum, s->side[0].at[kept - 1].count.c += c.count.c;
            else
                s->side[0].at[kept++] = c;
        }
        s->side[0].len = kept;
        s->bounds_reconciled = true;
        if (set_bounds(s, shared, n))
            return ERR_NOMEM;
    } else if (load_cells(&s->other[0], &h->positive, to_shared, divisor)) {
        return ERR_NOMEM;
    }
    return merge_cells(s, &s->side[0], &s->other[0]);
}

/* Bring the two to one zero bucket: the wider one, or wider still where it would cut a bucket of the other. */
static double meet_zero(histogram_sum *s, int8_t schema, double threshold, double zero_count)
{
    kahan zero = { zero_count, 0 };
    while (threshold != s->zero_threshold) {
        if (s->zero_threshold > threshold) {
            threshold = s->zero_threshold;
            zero = (kahan){ zero_count, 0 };
            cells_within(s->other, schema, &threshold, &zero);
        }
        if (threshold > s->zero_threshold) {
            s->zero_threshold = threshold;
            cells_within(s->side, s->schema, &s->zero_threshold, &s->zero);
            cut_cells(s->side, s->schema, s->zero_threshold);
        }
    }
    return zero.sum;
}

/* Cells of `other` that end inside the zero bucket were counted there. */
static void skip_below(histogram_cells *cells, int8_t schema, double threshold)
{
    size_t n = 0;
    while (n < cells->len && histogram_bound(schema, cells->at[n].index) <= threshold)
        n++;
    if (n)
        memmove(cells->at, cells->at + n, (cells->len - n) * sizeof *cells->at);
    cells->len -= n;
}

CHECKED static err_kind add_exponential(histogram_sum *s, const histogram *h, double divisor)
{
    int8_t schema = MIN(s->schema, h->schema);
    if (load_cells(&s->other[0], &h->positive, (mapping){ 0 }, divisor) || load_cells(&s->other[1], &h->negative, (mapping){ 0 }, divisor))
        return ERR_NOMEM;
    add_to(s, &s->zero, meet_zero(s, h->schema, h->zero_threshold, h->zero_count / divisor));
    for (int i = 0; i < 2; i++) {
        coarsen(&s->side[i], s->schema - schema);
        coarsen(&s->other[i], h->schema - schema);
        skip_below(&s->other[i], schema, s->zero_threshold);
    }
    s->schema = schema;
    for (int i = 0; i < 2; i++)
        if (merge_cells(s, &s->side[i], &s->other[i]))
            return ERR_NOMEM;
    return OK;
}

err_kind histogram_sum_add(histogram_sum *s, const histogram *h, double divisor)
{
    bool custom = s->schema == HISTOGRAM_CUSTOM;
    if (custom != histogram_is_custom(h))
        return ERR_INVALID;
    merge_reset(s, h->reset);
    if (custom ? add_custom(s, h, divisor) : add_exponential(s, h, divisor))
        return ERR_NOMEM;
    add_to(s, &s->count, h->count / divisor);
    add_to(s, &s->sum, h->sum / divisor);
    return OK;
}

void histogram_sum_coarsen(histogram_sum *s, int8_t schema)
{
    if (s->schema == HISTOGRAM_CUSTOM || s->schema <= schema)
        return;
    for (int i = 0; i < 2; i++)
        coarsen(&s->side[i], s->schema - schema);
    s->schema = schema;
}

typedef double (*number_fn)(double v, double by);
static double times(double v, double by) { return v * by; }
static double divided(double v, double by) { return v / by; }

static void each_number(histogram_sum *s, number_fn fn, double by)
{
    kahan *const totals[] = { &s->zero, &s->count, &s->sum };
    for (size_t i = 0; i < COUNT_OF(totals); i++)
        *totals[i] = (kahan){ fn(totals[i]->sum, by), totals[i]->c == 0 ? 0 : fn(totals[i]->c, by) };
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < s->side[side].len; i++) {
            kahan *k = &s->side[side].at[i].count;
            *k = (kahan){ fn(k->sum, by), k->c == 0 ? 0 : fn(k->c, by) };
        }
    if (by < 0)
        s->reset = HISTOGRAM_GAUGE;
}

void histogram_sum_scale(histogram_sum *s, double factor)
{
    each_number(s, times, factor);
}

void histogram_sum_divide(histogram_sum *s, double by)
{
    each_number(s, divided, by);
    if (by == 0)
        s->side[0].len = s->side[1].len = 0;
}

double histogram_sum_largest(const histogram_sum *s)
{
    double most = fmax(fabs(s->sum.sum), fmax(fabs(s->count.sum), fabs(s->zero.sum)));
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < s->side[side].len; i++)
            most = fmax(most, fabs(s->side[side].at[i].count.sum));
    return most;
}

bool histogram_sum_overflown(const histogram_sum *s)
{
    return isinf(histogram_sum_largest(s));
}

static double cell_value(const histogram_cell *c)
{
    return kahan_value(&c->count);
}

/* Two passes: how much room, then the spans. */
CHECKED static err_kind value_side(const histogram_cells *cells, arena *a, bool compact, histogram_side *ret)
{
    uint32_t buckets = 0, spans = 0;
    int64_t next = INT64_MIN;
    for (size_t i = 0; i < cells->len; i++) {
        if (compact && cell_value(&cells->at[i]) == 0)
            continue;
        buckets++;
        spans += cells->at[i].index != next;
        next = (int64_t)cells->at[i].index + 1;
    }
    *ret = (histogram_side){ 0 };
    if (buckets == 0)
        return OK;
    histogram_span *span = arena_array(a, histogram_span, spans);
    double *out = arena_array(a, double, buckets);
    if (!span || !out)
        return ERR_NOMEM;
    *ret = (histogram_side){ span, spans, out, buckets };
    next = 0;
    span--;
    bool open = false;
    for (size_t i = 0; i < cells->len; i++) {
        const histogram_cell *c = &cells->at[i];
        if (compact && cell_value(c) == 0)
            continue;
        if (!open || c->index != next)
            *++span = (histogram_span){ (int32_t)(c->index - next), 0 };
        open = true;
        span->length++;
        *out++ = cell_value(c);
        next = (int64_t)c->index + 1;
    }
    return OK;
}

histogram *histogram_sum_value(const histogram_sum *s, arena *a, bool compact)
{
    histogram *h = arena_new(a, histogram);
    if (!h)
        return NULL;
    *h = (histogram){ .schema = s->schema, .reset = s->reset, .zero_threshold = s->zero_threshold, .zero_count = kahan_value(&s->zero),
                      .count = kahan_value(&s->count), .sum = kahan_value(&s->sum), .bound_count = (uint32_t)s->bounds.len };
    if (value_side(&s->side[0], a, compact, &h->positive) || value_side(&s->side[1], a, compact, &h->negative))
        return NULL;
    if (s->bounds.len && !(h->bounds = arena_dup(a, s->bounds.at, s->bounds.len * sizeof *s->bounds.at)))
        return NULL;
    return h;
}

histogram *histogram_scale(arena *a, const histogram *h, double factor, bool divide)
{
    histogram_sum s = { 0 };
    histogram *made = NULL;
    if (!histogram_sum_set(&s, h)) {
        if (divide)
            histogram_sum_divide(&s, factor);
        else
            histogram_sum_scale(&s, factor);
        made = histogram_sum_value(&s, a, true);
    }
    histogram_sum_done(&s);
    return made;
}
