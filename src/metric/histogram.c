#include "metric/histogram.h"
#include "metric/metric.h"

/* ---- histogram_check: the rules and sentences of Prometheus's Validate ---- */

CHECKED static err_kind check_lengths(const histogram *h, err *e)
{
    uint64_t buckets = (uint64_t)h->positive.bucket_count + h->negative.bucket_count;
    uint64_t spans = (uint64_t)h->positive.span_count + h->negative.span_count;
    if (buckets > HISTOGRAM_MAX_BUCKETS || spans > HISTOGRAM_MAX_BUCKETS || h->bound_count > HISTOGRAM_MAX_BUCKETS)
        return err_set(e, ERR_LIMIT, "histogram has more than %d buckets", HISTOGRAM_MAX_BUCKETS);
    return OK;
}

/* Spans follow each other and cover the buckets. *ret_end: where the last one ends. */
CHECKED static err_kind check_spans(const histogram_side *s, const char *where, bool first_may_be_negative, int64_t *ret_end, err *e)
{
    uint64_t need = 0;
    int64_t end = 0;
    for (uint32_t i = 0; i < s->span_count; i++) {
        const histogram_span *p = &s->spans[i];
        if (p->offset < 0 && (i > 0 || !first_may_be_negative))
            return err_set(e, ERR_INVALID, "%s: span number %u with offset %d: histogram has a span whose offset is negative", where, i + 1, p->offset);
        need += p->length;
        end += (int64_t)p->offset + p->length;
        if (end > INT32_MAX)
            return err_set(e, ERR_INVALID, "%s: span number %u ends beyond the largest bucket index", where, i + 1);
    }
    *ret_end = end;
    if (need != s->bucket_count)
        return err_set(e, ERR_INVALID, "%s: spans need %" PRIu64 " buckets, have %u buckets: histogram spans specify different number of buckets than provided",
                       where, need, s->bucket_count);
    return OK;
}

CHECKED static err_kind check_counts(const histogram_side *s, const char *where, err *e)
{
    char number[NUM_DOUBLE_MAX];
    for (uint32_t i = 0; i < s->bucket_count; i++) {
        if (!(s->buckets[i] < 0))
            continue;
        num_format_double(number, s->buckets[i]);
        return err_set(e, ERR_INVALID, "%s: bucket number %u has observation count of %s: histogram has a bucket whose observation count is negative", where, i + 1, number);
    }
    return OK;
}

CHECKED static err_kind check_custom(const histogram *h, err *e)
{
    double before = -INFINITY;
    int64_t end;
    for (uint32_t i = 0; i < h->bound_count; before = h->bounds[i++])
        if (!(h->bounds[i] > before))
            return err_set(e, ERR_INVALID, "custom buckets: previous bound is %f and current is %f: histogram custom bounds must be in strictly increasing order", before, h->bounds[i]);
    if (before == INFINITY)
        return err_set(e, ERR_INVALID, "custom buckets: last +Inf bound must not be explicitly defined: histogram custom bounds must be finite");
    if (check_spans(&h->positive, "custom buckets", false, &end, e))
        return e->kind;
    if (end > (int64_t)h->bound_count + 1)
        return err_set(e, ERR_INVALID, "custom buckets: only %u custom bounds defined which is insufficient to cover total span length of %" PRId64 ": histogram custom bounds are too few", h->bound_count, end);
    if (h->zero_count != 0)
        return err_set(e, ERR_INVALID, "custom buckets: must have zero count of 0");
    if (h->zero_threshold != 0)
        return err_set(e, ERR_INVALID, "custom buckets: must have zero threshold of 0");
    if (h->negative.span_count)
        return err_set(e, ERR_INVALID, "custom buckets: must not have negative spans");
    if (h->negative.bucket_count)
        return err_set(e, ERR_INVALID, "custom buckets: must not have negative buckets");
    return OK;
}

CHECKED static err_kind check_exponential(const histogram *h, err *e)
{
    int64_t unused;
    if (check_spans(&h->positive, "positive side", true, &unused, e) || check_spans(&h->negative, "negative side", true, &unused, e) ||
        check_counts(&h->negative, "negative side", e))
        return e->kind;
    if (h->bound_count)
        return err_set(e, ERR_INVALID, "histogram with exponential schema must not have custom bounds");
    return OK;
}

static double sum_of(const histogram_side *s)
{
    double sum = 0;
    for (uint32_t i = 0; i < s->bucket_count; i++)
        sum += s->buckets[i];
    return sum;
}

/* Whole counts add up exactly; observations of NaN are in `count` only. Floats may have been rounded on their way. */
CHECKED static err_kind check_total(const histogram *h, err *e)
{
    double in_buckets = sum_of(&h->positive) + sum_of(&h->negative) + h->zero_count;
    if (!h->integer || is_stale(h->sum))
        return OK;
    if (isnan(h->sum) && in_buckets > h->count)
        return err_set(e, ERR_INVALID, "%.0f observations found in buckets, but the Count field is %.0f: histogram's observation count should be at least the number of observations found in the buckets", in_buckets, h->count);
    if (!isnan(h->sum) && in_buckets != h->count)
        return err_set(e, ERR_INVALID, "%.0f observations found in buckets, but the Count field is %.0f: histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)", in_buckets, h->count);
    return OK;
}

err_kind histogram_check(const histogram *h, err *e)
{
    err scratch = { 0 };
    e = e ? e : &scratch;
    bool custom = h->schema == HISTOGRAM_CUSTOM;
    if (!custom && (h->schema < HISTOGRAM_SCHEMA_MIN || h->schema > HISTOGRAM_SCHEMA_MAX))
        return err_set(e, ERR_INVALID, "histogram has an invalid schema, which must be between %d and %d for exponential buckets, or %d for custom buckets, got schema %d",
                       HISTOGRAM_SCHEMA_MIN, HISTOGRAM_SCHEMA_MAX, HISTOGRAM_CUSTOM, h->schema);
    if (check_lengths(h, e) || (custom ? check_custom(h, e) : check_exponential(h, e)) || check_counts(&h->positive, "positive side", e))
        return e->kind;
    return check_total(h, e);
}

/* ---- copies, equality ---- */

static bool copy_side(arena *a, histogram_side *s)
{
    if (s->span_count)
        s->spans = arena_dup(a, s->spans, s->span_count * sizeof *s->spans);
    if (s->bucket_count)
        s->buckets = arena_dup(a, s->buckets, s->bucket_count * sizeof *s->buckets);
    return (!s->span_count || s->spans) && (!s->bucket_count || s->buckets);
}

histogram *histogram_copy(arena *a, const histogram *h)
{
    histogram *copy = arena_dup(a, h, sizeof *h);
    if (!copy || !copy_side(a, &copy->positive) || !copy_side(a, &copy->negative))
        return NULL;
    if (copy->bound_count && !(copy->bounds = arena_dup(a, copy->bounds, copy->bound_count * sizeof *copy->bounds)))
        return NULL;
    return copy;
}

static bool same_bits(const double *a, const double *b, size_t n)
{
    return n == 0 || memcmp(a, b, n * sizeof *a) == 0;
}

static bool same_side(const histogram_side *a, const histogram_side *b)
{
    if (a->span_count != b->span_count || a->bucket_count != b->bucket_count)
        return false;
    for (uint32_t i = 0; i < a->span_count; i++)
        if (a->spans[i].offset != b->spans[i].offset || a->spans[i].length != b->spans[i].length)
            return false;
    return same_bits(a->buckets, b->buckets, a->bucket_count);
}

bool histogram_eq(const histogram *a, const histogram *b)
{
    return a->schema == b->schema && same_bits(&a->zero_threshold, &b->zero_threshold, 1) && same_bits(&a->zero_count, &b->zero_count, 1) &&
           same_bits(&a->count, &b->count, 1) && same_bits(&a->sum, &b->sum, 1) && same_side(&a->positive, &b->positive) &&
           same_side(&a->negative, &b->negative) && a->bound_count == b->bound_count && same_bits(a->bounds, b->bounds, a->bound_count);
}
