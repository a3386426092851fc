/* From when to when a series of the head has samples. */
#include "store/head.h"
#include <stdatomic.h>

bool series_empty(const head *h, const series *s)
{
    const series_cold *c = head_cold(h, s);
    const series_more *m = c->more;
    return s->open.count == 0 && !c->closed && !(m && (m->histograms.count || m->late.len || m->late_closed));
}

static void widen_run(const chunk_run *r, int64_t *min_t_ms, int64_t *max_t_ms)
{
    for (uint32_t i = 0; r && i < r->len; i++) {
        *min_t_ms = MIN(*min_t_ms, r->at[i]->min_t_ms);
        *max_t_ms = MAX(*max_t_ms, r->at[i]->max_t_ms);
    }
}

static void series_range(const head *h, const series *s, int64_t *min_t_ms, int64_t *max_t_ms)
{
    const series_cold *c = head_cold(h, s);
    const series_more *m = c->more;
    *min_t_ms = INT64_MAX;
    *max_t_ms = INT64_MIN;
    widen_run(c->closed, min_t_ms, max_t_ms);
    if (s->open.count) {
        *min_t_ms = MIN(*min_t_ms, filling_min_t(&s->open, &h->pool));
        *max_t_ms = MAX(*max_t_ms, s->open.last_t_ms);
    }
    if (m && m->histograms.count) {
        *min_t_ms = MIN(*min_t_ms, m->histograms.min_t_ms);
        *max_t_ms = MAX(*max_t_ms, m->histograms.last_t_ms);
    }
    if (*min_t_ms <= c->cut_t_ms && *min_t_ms <= *max_t_ms)
        *min_t_ms = c->cut_t_ms + 1;
    if (!m)
        return;
    widen_run(m->late_closed, min_t_ms, max_t_ms);
    if (m->late.len) {
        *min_t_ms = MIN(*min_t_ms, m->late.at[0].t_ms);
        *max_t_ms = MAX(*max_t_ms, vec_last(&m->late).t_ms);
    }
}

int64_t series_min_t(const head *h, const series *s)
{
    int64_t min_t_ms, max_t_ms;
    series_range(h, s, &min_t_ms, &max_t_ms);
    return min_t_ms;
}

int64_t series_max_t(const head *h, const series *s)
{
    int64_t min_t_ms, max_t_ms;
    series_range(h, s, &min_t_ms, &max_t_ms);
    return max_t_ms;
}

void head_measure(head *h)
{
    int64_t min_t_ms = INT64_MAX, max_t_ms = INT64_MIN;
    series *s;
    for (uint32_t slot = 0; (s = head_next(h, &slot));) {
        int64_t first_ms, last_ms;
        series_range(h, s, &first_ms, &last_ms);
        min_t_ms = MIN(min_t_ms, first_ms);
        max_t_ms = MAX(max_t_ms, last_ms);
    }
    atomic_store_explicit(&h->min_t_ms, min_t_ms, memory_order_relaxed);
    atomic_store_explicit(&h->max_t_ms, max_t_ms, memory_order_relaxed);
}
