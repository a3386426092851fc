/* Raw samples or roll-ups: from when to when, and which column.
 *
 *   |--- 1 h ---|--- 5 m ---|------- raw -------|     STORE_TIER_AUTO: each as far back as it reaches, the finer first
 *   |-------- 5 m (or 1 h) ---------|--- raw ---|     asked for: the tier, and raw samples where it is not made yet */
#include "store/select.h"

/* What a function of a range wants to see of the samples that a point stands for. */
static const struct { const char *function, *column; } columns[] = {
    { "rate", "counter" },       { "increase", "counter" },  { "irate", "counter" },
    { "min_over_time", "min" },  { "max_over_time", "max" }, { "sum_over_time", "sum" },
    { "count_over_time", "count" }, { "avg_over_time", "mean" },
};

static str column_of(str function)
{
    for (size_t i = 0; i < COUNT_OF(columns); i++)
        if (str_is(function, columns[i].function))
            return str_from(columns[i].column);
    return STR("last");
}

static int64_t oldest(const block_set *set)
{
    int64_t t_ms = INT64_MAX;
    for (size_t i = 0; i < set->len; i++)
        t_ms = MIN(t_ms, set->at[i]->min_t_ms);
    return t_ms;
}

static int64_t newest(const block_set *set)
{
    int64_t t_ms = INT64_MIN;
    for (size_t i = 0; i < set->len; i++)
        t_ms = MAX(t_ms, set->at[i]->max_t_ms);
    return t_ms;
}

/* Of each tier its window, of raw samples theirs; an empty one has its end before its start. */
typedef struct windows { int64_t from_ms[STORE_TIERS], to_ms[STORE_TIERS]; } windows;

static void automatic(const store *s, store_selection *sel, windows *w)
{
    int64_t head_ms = atomic_load_explicit(&s->head.min_t_ms, memory_order_relaxed);
    int64_t finer_ms = MIN(oldest(&s->blocks), head_ms); /* what is before it is for the next tier */
    if (sel->from_ms >= finer_ms)
        return;
    for (size_t i = 0; i < STORE_TIERS && finer_ms > sel->from_ms; i++) {
        int64_t oldest_ms = oldest(&s->tiers[i].blocks);
        if (oldest_ms >= finer_ms)
            continue;
        w->from_ms[i] = i + 1 < STORE_TIERS && oldest(&s->tiers[i + 1].blocks) < oldest_ms ? oldest_ms : sel->from_ms;
        w->to_ms[i] = MIN(sel->to_ms, finer_ms - 1);
        if (sel->raw_from_ms < finer_ms && finer_ms != INT64_MAX)
            sel->raw_from_ms = finer_ms;
        finer_ms = w->from_ms[i];
    }
}

static void asked_for(const store *s, store_selection *sel, size_t tier, windows *w)
{
    int64_t newest_ms = newest(&s->tiers[tier].blocks);
    if (newest_ms < sel->from_ms)
        return;
    w->from_ms[tier] = sel->from_ms;
    w->to_ms[tier] = MIN(sel->to_ms, newest_ms);
    sel->raw_from_ms = newest_ms + 1;
}

/* The blocks' lock is held. */
static void find_windows(const store *s, store_selection *sel, windows *w)
{
    for (size_t i = 0; i < STORE_TIERS; i++) {
        w->from_ms[i] = INT64_MAX;
        w->to_ms[i] = INT64_MIN;
    }
    sel->raw_from_ms = sel->from_ms;
    sel->raw_to_ms = sel->to_ms;
    switch (sel->hints.tier) {
    case STORE_TIER_AUTO: automatic(s, sel, w); break;
    case STORE_TIER_RAW: break;
    case STORE_TIER_5M: asked_for(s, sel, 0, w); break;
    case STORE_TIER_1H: asked_for(s, sel, 1, w); break;
    }
}

void select_range(store *s, store_selection *sel)
{
    windows w;
    pthread_mutex_lock(&s->blocks_lock);
    find_windows(s, sel, &w);
    pthread_mutex_unlock(&s->blocks_lock);
}

static err_kind hold(store_selection *sel, const block_set *set, select_from like, err *e)
{
    int64_t from_ms = MAX(sel->from_ms, like.from_ms), to_ms = MIN(sel->to_ms, like.to_ms);
    for (size_t i = 0; i < set->len; i++) {
        block *b = set->at[i];
        if (b->min_t_ms > to_ms || b->max_t_ms < from_ms)
            continue;
        like.b = b;
        if (vec_push(&sel->blocks, like))
            return err_nomem(e);
        block_ref(b);
        sel->tier = MAX(sel->tier, like.tier);
    }
    return OK;
}

err_kind select_blocks(store *s, store_selection *sel, err *e)
{
    windows w;
    err_kind k = OK;
    str column = sel->hints.labels_only ? STR("last") : column_of(sel->hints.function);
    sel->tier = STORE_TIER_RAW;
    pthread_mutex_lock(&s->blocks_lock);
    /* The head was read with the range of before: a cut in between only moves samples into blocks of that range. */
    int64_t raw_from_ms = sel->raw_from_ms;
    find_windows(s, sel, &w);
    sel->raw_from_ms = MIN(sel->raw_from_ms, raw_from_ms);
    for (size_t i = STORE_TIERS; !k && i-- > 0;)
        k = hold(sel, &s->tiers[i].blocks, (select_from){ NULL, w.from_ms[i], MIN(w.to_ms[i], sel->raw_from_ms - (sel->raw_from_ms > INT64_MIN)), (store_tier)(STORE_TIER_5M + i), column }, e);
    if (!k)
        k = hold(sel, &s->blocks, (select_from){ NULL, sel->raw_from_ms, sel->raw_to_ms, STORE_TIER_RAW, STR_EMPTY }, e);
    pthread_mutex_unlock(&s->blocks_lock);
    sel->counts = sel->tier > STORE_TIER_RAW && str_is(column, "count");
    return k;
}
