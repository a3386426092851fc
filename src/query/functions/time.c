/* What time it is, when a sample was taken, and the calendar (UTC). */
#include "query/functions/functions.h"
#include <time.h>

err_kind call_time(eval *ev, const ast *call, const grid *g, value *ret)
{
    UNUSED(call);
    value_init(ret, ev, PROMQL_SCALAR, g->n);
    if (value_add(ret, (labels){ 0 }))
        return ev->e->kind;
    for (size_t i = 0; i < g->n; i++)
        ret->at[0].v[i] = (double)grid_at(g, i) / 1e3;
    return OK;
}

err_kind call_query_start(eval *ev, const ast *call, const grid *g, value *ret)
{
    UNUSED(call);
    return value_constant(ret, ev, g->n, (double)ev->start_ms / 1e3);
}

err_kind call_query_end(eval *ev, const ast *call, const grid *g, value *ret)
{
    UNUSED(call);
    return value_constant(ret, ev, g->n, (double)ev->end_ms / 1e3);
}

err_kind call_query_step(eval *ev, const ast *call, const grid *g, value *ret)
{
    UNUSED(call);
    return value_constant(ret, ev, g->n, (double)ev->step_ms / 1e3);
}

err_kind call_query_range(eval *ev, const ast *call, const grid *g, value *ret)
{
    UNUSED(call);
    return value_constant(ret, ev, g->n, (double)(ev->end_ms - ev->start_ms) / 1e3);
}

/* Of a plain selector: when the sample was taken. Of anything calculated: the step's time. */
err_kind call_timestamp(eval *ev, const ast *call, const grid *g, value *ret)
{
    const ast *arg = ast_bare(call->call.args[0]);
    if (arg->kind == AST_SELECTOR) {
        if (eval_selector(ev, arg, g, true, ret))
            return ev->e->kind;
        return value_drop_names(ret, false);
    }
    if (eval_node(ev, arg, g, ret))
        return ev->e->kind;
    for (size_t i = 0; i < ret->len; i++)
        for (size_t s = 0; s < ret->steps; s++)
            if (slot_filled(&ret->at[i], s))
                ret->at[i].v[s] = (double)grid_at(g, s) / 1e3;
    value_drop_histograms(ret);
    return value_drop_names(ret, false);
}

/* Start timestamps are not stored beside samples (a new one leaves a zero in the series instead), so of a sample it is
 * not known; what was calculated has none at all. */
err_kind call_start_timestamp(eval *ev, const ast *call, const grid *g, value *ret)
{
    const ast *arg = ast_bare(call->call.args[0]);
    if (eval_node(ev, arg, g, ret))
        return ev->e->kind;
    for (size_t i = 0; i < ret->len; i++)
        for (size_t s = 0; s < ret->steps; s++)
            ret->at[i].v[s] = arg->kind == AST_SELECTOR && slot_filled(&ret->at[i], s) ? 0 : EMPTY_SLOT;
    value_drop_histograms(ret);
    value_drop_empty(ret);
    return value_drop_names(ret, false);
}

static int days_in_month(const struct tm *t)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int year = t->tm_year + 1900;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[t->tm_mon] + (t->tm_mon == 1 && leap);
}

typedef int (*date_fn)(const struct tm *t);
static int date_year(const struct tm *t) { return t->tm_year + 1900; }
static int date_month(const struct tm *t) { return t->tm_mon + 1; }
static int date_day(const struct tm *t) { return t->tm_mday; }
static int date_week_day(const struct tm *t) { return t->tm_wday; }
static int date_year_day(const struct tm *t) { return t->tm_yday + 1; }
static int date_hour(const struct tm *t) { return t->tm_hour; }
static int date_minute(const struct tm *t) { return t->tm_min; }

static const struct { const char *name; date_fn fn; } dates[] = {
    { "year", date_year }, { "month", date_month }, { "day_of_month", date_day }, { "day_of_week", date_week_day },
    { "day_of_year", date_year_day }, { "days_in_month", days_in_month }, { "hour", date_hour }, { "minute", date_minute },
};

static double date_of(double seconds, date_fn fn)
{
    struct tm t;
    if (!(fabs(seconds) < 6e16)) /* beyond, tm_year overflows */
        return NAN;
    time_t whole = (time_t)seconds;
    return gmtime_r(&whole, &t) ? fn(&t) : NAN;
}

err_kind call_date(eval *ev, const ast *call, const grid *g, value *ret)
{
    date_fn fn = NULL;
    for (size_t i = 0; i < COUNT_OF(dates); i++)
        if (str_is(str_from(call->call.row->name), dates[i].name))
            fn = dates[i].fn;
    err_kind k = call->call.count ? eval_node(ev, call->call.args[0], g, ret) : call_time(ev, call, g, ret);
    ret->type = PROMQL_VECTOR;
    value_drop_histograms(ret);
    for (size_t i = 0; !k && i < ret->len; i++)
        for (size_t s = 0; s < ret->steps; s++)
            if (!slot_empty(ret->at[i].v[s]))
                ret->at[i].v[s] = date_of(ret->at[i].v[s], fn);
    return k ? k : value_drop_names(ret, false);
}
