#include "query/eval.h"
#include <stdlib.h>

/* ---- values ---- */

void value_init(value *v, eval *ev, promql_type type, size_t steps)
{
    *v = (value){ .ev = ev, .type = type, .steps = steps };
}

static void free_series(value *v, vseries *s)
{
    mem_free(s->v);
    mem_free(s->h);
    v->ev->live -= s->h ? 2 * v->steps : v->steps;
}

void value_done(value *v)
{
    for (size_t i = 0; i < v->len; i++)
        free_series(v, &v->at[i]);
    mem_free(v->at);
    v->at = NULL;
    v->len = v->cap = 0;
}

CHECKED static err_kind count_slots(eval *ev, size_t n)
{
    if (ev->live + n > ev->max_slots)
        return err_set(ev->e, ERR_LIMIT, "query processing would load too many samples into memory in query execution");
    ev->live += n;
    return OK;
}

static err_kind push(value *v, vseries s)
{
    if (vec_grow((void **)&v->at, &v->cap, v->len + 1, sizeof *v->at))
        return err_nomem(v->ev->e);
    v->at[v->len++] = s;
    return OK;
}

err_kind value_add(value *v, labels l)
{
    if (count_slots(v->ev, v->steps))
        return v->ev->e->kind;
    double *slots = mem_alloc(v->steps * sizeof *slots);
    if (!slots || push(v, (vseries){ .labels = l, .v = slots })) {
        mem_free(slots);
        v->ev->live -= v->steps;
        return err_nomem(v->ev->e);
    }
    for (size_t i = 0; i < v->steps; i++)
        slots[i] = EMPTY_SLOT;
    return OK;
}

err_kind value_constant(value *v, eval *ev, size_t steps, double number)
{
    value_init(v, ev, PROMQL_SCALAR, steps);
    if (value_add(v, (labels){ 0 }))
        return ev->e->kind;
    for (size_t i = 0; i < steps; i++)
        v->at[0].v[i] = number;
    return OK;
}

err_kind value_adopt(value *v, vseries take)
{
    v->ev->live += take.h ? 2 * v->steps : v->steps;
    err_kind k = push(v, take);
    if (k)
        free_series(v, &take);
    return k;
}

void value_drop_last(value *v)
{
    free_series(v, &v->at[--v->len]);
}

err_kind value_set(value *v, size_t series, size_t step, slot s)
{
    vseries *to = &v->at[series];
    to->v[step] = s.v;
    if (!to->h && s.h) {
        if (count_slots(v->ev, v->steps))
            return v->ev->e->kind;
        if (!(to->h = mem_calloc(v->steps, sizeof *to->h))) {
            v->ev->live -= v->steps;
            return err_nomem(v->ev->e);
        }
    }
    if (to->h)
        to->h[step] = s.h;
    return OK;
}

void value_drop_histograms(value *v)
{
    for (size_t i = 0; i < v->len; i++) {
        if (!v->at[i].h)
            continue;
        mem_free(v->at[i].h);
        v->at[i].h = NULL;
        v->ev->live -= v->steps;
    }
}

void value_drop_empty(value *v)
{
    size_t kept = 0;
    for (size_t i = 0; i < v->len; i++) {
        if (series_all_empty(&v->at[i], v->steps))
            free_series(v, &v->at[i]);
        else
            v->at[kept++] = v->at[i];
    }
    v->len = kept;
}

bool series_all_empty(const vseries *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (slot_filled(s, i))
            return false;
    return true;
}

static err_kind same_labels_fail(eval *ev)
{
    return err_set(ev->e, ERR_EXEC, "vector cannot contain metrics with the same labelset");
}

/* Move what `from` has into series `into`. ERR_EXEC where both have something. */
CHECKED static err_kind join_slots(value *v, size_t into, const vseries *from)
{
    for (size_t i = 0; i < v->steps; i++) {
        if (!slot_filled(from, i))
            continue;
        if (slot_filled(&v->at[into], i))
            return same_labels_fail(v->ev);
        if (value_set(v, into, i, slot_of(from, i)))
            return v->ev->e->kind;
    }
    return OK;
}

err_kind value_join(value *v, bool strict)
{
    labelmap seen;
    size_t kept = 0;
    if (v->len < 2)
        return OK;
    labelmap_init(&seen, v->ev);
    err_kind k = OK;
    for (size_t i = 0; i < v->len; i++) {
        size_t number = kept;
        bool empty = series_all_empty(&v->at[i], v->steps); /* a series that is nowhere cannot be in the way */
        if (!k && !empty)
            k = labelmap_put(&seen, v->at[i].labels, &number);
        if (empty || (!k && number < kept)) {
            if (!empty)
                k = strict ? same_labels_fail(v->ev) : join_slots(v, number, &v->at[i]);
            free_series(v, &v->at[i]);
            continue;
        }
        v->at[kept++] = v->at[i];
    }
    v->len = kept;
    labelmap_done(&seen);
    return k;
}

err_kind value_drop_names(value *v, bool strict)
{
    for (size_t i = 0; i < v->len; i++) {
        if (v->ev->delayed_names)
            v->at[i].drop_name = true;
        else if (labels_without_name(v->ev, v->at[i].labels, &v->at[i].labels))
            return v->ev->e->kind;
    }
    return v->ev->delayed_names ? OK : value_join(v, strict);
}

err_kind value_settle_names(value *v)
{
    bool any = false;
    for (size_t i = 0; i < v->len; i++) {
        if (v->at[i].drop_name && labels_without_name(v->ev, v->at[i].labels, &v->at[i].labels))
            return v->ev->e->kind;
        any |= v->at[i].drop_name;
    }
    return any ? value_join(v, false) : OK;
}

static int by_labels(const void *a, const void *b)
{
    return labels_cmp(((const vseries *)a)->labels, ((const vseries *)b)->labels);
}

err_kind value_sort(value *v)
{
    if (v->len > 1)
        qsort(v->at, v->len, sizeof *v->at, by_labels);
    return OK;
}

/* ---- labels ---- */

static bool is_named(str name, const str *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(name, names[i]))
            return true;
    return false;
}

/* The name, and what type-and-unit-labels says of what it names: gone as soon as the number is another. */
static bool label_describes(str name)
{
    return str_starts(name, STR("__")) && (str_eq(name, METRIC_NAME) || str_is(name, "__type__") || str_is(name, "__unit__"));
}

labels labels_filter(labels l, const str *names, size_t n, bool keep, bool drop_name, label *out)
{
    size_t len = 0;
    for (size_t i = 0; i < l.len && len < LABELS_MAX; i++)
        if (is_named(l.at[i].name, names, n) == keep && !(drop_name && label_describes(l.at[i].name)))
            out[len++] = l.at[i];
    return (labels){ out, len };
}

err_kind labels_copy(eval *ev, labels l, labels *ret)
{
    label *copy = l.len ? arena_dup(ev->arena, l.at, l.len * sizeof *l.at) : NULL;
    if (l.len && !copy)
        return err_nomem(ev->e);
    *ret = (labels){ copy, l.len };
    return OK;
}

err_kind labels_without_name(eval *ev, labels l, labels *ret)
{
    label kept[LABELS_MAX];
    labels without = labels_filter(l, NULL, 0, false, true, kept);
    if (without.len == l.len) {
        *ret = l;
        return OK;
    }
    return labels_copy(ev, without, ret);
}

err_kind labels_with(eval *ev, labels l, str name, str text, labels *ret)
{
    label made[LABELS_MAX + 1];
    size_t n = 0;
    bool put = str_empty(text);
    for (size_t i = 0; i < l.len; i++) {
        int order = str_cmp(l.at[i].name, name);
        if (order >= 0 && !put) {
            made[n++] = (label){ name, text };
            put = true;
        }
        if (order != 0 && n <= LABELS_MAX)
            made[n++] = l.at[i];
    }
    if (!put)
        made[n++] = (label){ name, text };
    if (n > LABELS_MAX)
        return err_set(ev->e, ERR_LIMIT, "cannot add label \"%" STR_FMT "\": a series has at most %d labels", STR_ARG(name), LABELS_MAX);
    return labels_copy(ev, (labels){ made, n }, ret);
}

/* ---- label set → number: open addressing over indexes, at most half full ---- */

void labelmap_init(labelmap *m, eval *ev)
{
    *m = (labelmap){ .ev = ev };
}

void labelmap_done(labelmap *m)
{
    mem_free(m->keys);
    mem_free(m->hashes);
    mem_free(m->slots);
    *m = (labelmap){ 0 };
}

static size_t labelmap_slot(const labelmap *m, uint64_t hash, labels l)
{
    size_t i = hash & (m->slot_count - 1);
    for (; m->slots[i]; i = (i + 1) & (m->slot_count - 1)) {
        size_t number = m->slots[i] - 1;
        if (m->hashes[number] == hash && labels_eq(m->keys[number], l))
            break;
    }
    return i;
}

CHECKED static err_kind grow_slots(labelmap *m)
{
    size_t count = m->slot_count ? m->slot_count * 2 : 16;
    uint32_t *slots = mem_calloc(count, sizeof *slots);
    if (!slots)
        return err_nomem(m->ev->e);
    for (size_t i = 0; i < m->len; i++) {
        size_t at = m->hashes[i] & (count - 1);
        while (slots[at])
            at = (at + 1) & (count - 1);
        slots[at] = (uint32_t)i + 1;
    }
    mem_free(m->slots);
    m->slots = slots;
    m->slot_count = count;
    return OK;
}

CHECKED static err_kind add_key(labelmap *m, uint64_t hash, labels l)
{
    size_t hash_cap = m->cap;
    if (vec_grow((void **)&m->hashes, &hash_cap, m->len + 1, sizeof *m->hashes) ||
        vec_grow((void **)&m->keys, &m->cap, m->len + 1, sizeof *m->keys))
        return err_nomem(m->ev->e);
    if (labels_copy(m->ev, l, &m->keys[m->len]))
        return m->ev->e->kind;
    m->hashes[m->len++] = hash;
    return OK;
}

err_kind labelmap_put(labelmap *m, labels l, size_t *ret)
{
    uint64_t hash = labels_hash(l);
    if (m->len * 2 >= m->slot_count && grow_slots(m))
        return m->ev->e->kind;
    size_t at = labelmap_slot(m, hash, l);
    if (!m->slots[at]) {
        if (add_key(m, hash, l))
            return m->ev->e->kind;
        m->slots[at] = (uint32_t)m->len;
    }
    *ret = m->slots[at] - 1;
    return OK;
}

/* ---- numerics ---- */

/* Put the rank's smallest (from 0) at its place, smaller ones before it, larger ones behind it (Hoare, "Algorithm 65:
 * Find", 1961). No NaN among them. The pivot is the middle one of three, so that sorted input is the best case. */
static void partition_at(double *v, size_t n, size_t rank)
{
    size_t low = 0, high = n - 1;
    while (low < high) {
        double a = v[low], b = v[low + (high - low) / 2], c = v[high];
        double pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
        size_t i = low, j = high;
        for (;;) {
            while (v[i] < pivot)
                i++;
            while (v[j] > pivot)
                j--;
            if (i >= j)
                break;
            double swap = v[i];
            v[i++] = v[j];
            v[j--] = swap;
        }
        if (rank <= j)
            high = j;
        else
            low = j + 1;
    }
}

/* NaN sorts first. Returns how many there are. */
static size_t nan_first(double *values, size_t n)
{
    size_t nans = 0;
    for (size_t i = 0; i < n; i++)
        if (isnan(values[i])) {
            double swap = values[nans];
            values[nans++] = values[i];
            values[i] = swap;
        }
    return nans;
}

double quantile_of(double q, double *values, size_t n)
{
    if (n == 0 || isnan(q))
        return NAN;
    if (q < 0 || q > 1)
        return q < 0 ? -INFINITY : INFINITY;
    double rank = q * (double)(n - 1);
    size_t lower = (size_t)floor(rank), upper = MIN(n - 1, lower + 1), nans = nan_first(values, n);
    double weight = rank - floor(rank);
    if (lower >= nans)
        partition_at(values + nans, n - nans, lower - nans);
    if (upper > lower && upper >= nans) /* the smallest of those behind */
        for (size_t i = upper + 1; i < n; i++)
            if (values[i] < values[upper]) {
                double swap = values[i];
                values[i] = values[upper];
                values[upper] = swap;
            }
    return values[lower] * (1 - weight) + values[upper] * weight;
}

void kahan_mean_add(kahan_mean *m, double v)
{
    m->count++;
    if (!m->incremental) {
        kahan next = m->k;
        kahan_add(&next, v);
        if (m->count == 1 || !isinf(next.sum)) {
            m->k = next;
            return;
        }
        m->incremental = true; /* the sum overflows, the mean does not */
        m->k.sum /= m->count - 1;
        m->k.c /= m->count - 1;
    }
    double q = (m->count - 1) / m->count;
    m->k.sum *= q;
    m->k.c *= q;
    kahan_add(&m->k, v / m->count);
}

double kahan_mean_value(const kahan_mean *m)
{
    if (m->incremental)
        return m->k.sum + m->k.c;
    return m->k.sum / m->count + m->k.c / m->count;
}

/* Go's strconv.FormatFloat(v, 'f', -1, 64): the shortest digits, the exponent spelled out in zeros. */
str format_go_plain(arena *a, double v)
{
    char text[NUM_DOUBLE_MAX], digits[NUM_DOUBLE_MAX];
    size_t n = num_format_double(text, v), count = 0;
    char *e = memchr(text, 'e', n);
    if (!e || !isfinite(v))
        return arena_str(a, str_of(text, n));
    int exponent = atoi(e + 1);
    for (char *c = text; c < e; c++)
        if (*c >= '0' && *c <= '9')
            digits[count++] = *c;
    const char *sign = text[0] == '-' ? "-" : "";
    if (exponent < 0)
        return arena_printf(a, "%s0.%0*d%.*s", sign, -exponent - 1, 0, (int)count, digits);
    return arena_printf(a, "%s%.*s%0*d", sign, (int)count, digits, exponent + 1 - (int)count, 0);
}

static void put_general(buf *out, double v)
{
    char text[NUM_DOUBLE_MAX];
    buf_append(out, str_of(text, num_format_general(text, v)));
}

static void put_bucket(buf *out, const histogram_bucket *b)
{
    buf_append(out, b->lower_inclusive ? STR(", [") : STR(", ("));
    put_general(out, b->lower);
    buf_append_char(out, ',');
    put_general(out, b->upper);
    buf_append(out, b->upper_inclusive ? STR("]:") : STR("):"));
    put_general(out, b->count);
}

str format_histogram(arena *a, const histogram *h)
{
    AUTO(buf_done) buf out = BUF_INIT(64 * (HISTOGRAM_MAX_BUCKETS + 8));
    buf_append(&out, STR("{count:"));
    put_general(&out, h->count);
    buf_append(&out, STR(", sum:"));
    put_general(&out, h->sum);
    for (bucket_walk w = bucket_walk_all(h, false); bucket_walk_next(&w);)
        put_bucket(&out, &w.at);
    buf_append_char(&out, '}');
    return buf_failed(&out) ? STR_EMPTY : arena_str(a, buf_str(&out));
}
