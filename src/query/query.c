#include "query/query.h"
#include "base/regex.h"
#include "query/cost.h"
#include <malloc.h>
#include <stdlib.h>

/* What a query of this size leaves is given back at once: malloc would keep it for good, per thread. */
#define LARGE_BYTES ((size_t)64 << 20)

/* Labels and texts of one query; the numbers are counted apart (max_samples). */
#define QUERY_ARENA_MAX ((size_t)512 << 20)
#define RESULT_ARENA_MAX ((size_t)1 << 30)

struct query_engine {
    store *store;
    query_options options;
    own_metric *queries, *failures, *samples, *seconds;
    query_backend backend;       /* run NULL: the embedded store answers */
};

static const query_options defaults = {
    .lookback_ms = 5 * 60 * MS_PER_S,
    .timeout_ms = 2 * 60 * MS_PER_S,
    .max_samples = 50000000,
    .max_series = 2000000,
    .max_points = 11000,
    .max_memory_bytes = (size_t)1 << 30,
};
#define DEFAULT_SUBQUERY_STEP_MS (60 * MS_PER_S)  /* Prometheus: the evaluation interval */

query_engine *query_engine_new(store *s, const query_options *o)
{
    query_engine *q = mem_zalloc(sizeof *q);
    if (!q)
        return NULL;
    q->store = s;
    if (o)
        q->options = *o;
    query_options *p = &q->options;
    p->lookback_ms = p->lookback_ms ? p->lookback_ms : defaults.lookback_ms;
    p->timeout_ms = p->timeout_ms ? p->timeout_ms : defaults.timeout_ms;
    p->max_samples = p->max_samples ? p->max_samples : defaults.max_samples;
    p->max_series = p->max_series ? p->max_series : defaults.max_series;
    p->max_points = p->max_points ? p->max_points : defaults.max_points;
    p->max_memory_bytes = p->max_memory_bytes ? p->max_memory_bytes : defaults.max_memory_bytes;
    promql_enable(p->features);
    q->queries = own_counter("query_queries_total", NULL, "PromQL expressions evaluated.");
    q->failures = own_counter("query_failures_total", NULL, "PromQL expressions that ended with an error.");
    q->samples = own_counter("query_samples_read_total", NULL, "Samples decoded for PromQL expressions.");
    q->seconds = own_counter("query_seconds_total", NULL, "Time spent evaluating PromQL expressions.");
    return q;
}

void query_engine_free(query_engine *q)
{
    mem_free(q);
}

const query_options *query_engine_options(const query_engine *q)
{
    return &q->options;
}

void query_engine_push_down(query_engine *q, const query_backend *b) { q->backend = *b; }
const query_backend *query_engine_backend(const query_engine *q) { return q->backend.run ? &q->backend : NULL; }

static const struct { const char *name; unsigned bit; } features[] = {
    { "promql-experimental-functions", PROMQL_EXPERIMENTAL_FUNCTIONS },
    { "promql-delayed-name-removal", PROMQL_DELAYED_NAMES },
    { "promql-extended-range-selectors", PROMQL_EXTENDED_RANGES },
    { "promql-binop-fill-modifiers", PROMQL_FILL_MODIFIERS },
    { "type-and-unit-labels", PROMQL_TYPE_LABELS },
    { "promql-duration-expr", PROMQL_ALWAYS_ON },
    { "native-histograms", PROMQL_ALWAYS_ON },
    { "promql-at-modifier", PROMQL_ALWAYS_ON },
    { "promql-negative-offset", PROMQL_ALWAYS_ON },
    { "promql-per-step-stats", PROMQL_ALWAYS_ON },
    { "remote-write-receiver", PROMQL_ALWAYS_ON },
};

unsigned promql_feature(str name)
{
    for (size_t i = 0; i < COUNT_OF(features); i++)
        if (str_is(name, features[i].name))
            return features[i].bit;
    return 0;
}

void promql_feature_list(buf *out)
{
    for (size_t i = 0; i < COUNT_OF(features); i++)
        buf_printf(out, "%s%s", i ? ", " : "", features[i].name);
}

/* ---- selectors for match[] ---- */

void promql_selector_done(matcher *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        regex_free((regex *)m[i].re);
}

err_kind promql_parse_selector(str text, arena *a, matcher **ret, size_t *ret_n, err *e)
{
    ast *node = NULL;
    err scratch = { 0 };
    e = e ? e : &scratch;
    if (promql_parse(text, a, &node, e))
        return e->kind;
    if (node->kind != AST_SELECTOR || node->selector.mod.at || node->selector.mod.offset) {
        err_set(e, ERR_PARSE, "parse error: expected a series selector without modifiers");
        return err_at(e, 1, 1);
    }
    matcher *m = node->selector.matchers;
    for (size_t i = 0; i < node->selector.count; i++) {
        regex *re = NULL;
        if ((m[i].op == MATCH_RE || m[i].op == MATCH_NRE) && regex_compile(m[i].value, true, &re, e)) {
            promql_selector_done(m, i);
            return e->kind;
        }
        m[i].re = re;
    }
    *ret = m;
    *ret_n = node->selector.count;
    return OK;
}

/* ---- results ---- */

void query_result_done(query_result *r)
{
    arena_done(&r->arena);
    *r = (query_result){ 0 };
}

CHECKED static err_kind copy_labels(arena *a, labels l, labels *ret, err *e)
{
    label *copy = arena_array(a, label, MAX(l.len, 1u));
    if (!copy)
        return err_nomem(e);
    for (size_t i = 0; i < l.len; i++) {
        copy[i] = (label){ arena_str(a, l.at[i].name), arena_str(a, l.at[i].value) };
        if (!copy[i].name.ptr || !copy[i].value.ptr)
            return err_nomem(e);
    }
    *ret = (labels){ copy, l.len };
    return OK;
}

/* A histogram often stays in view for several steps: it is copied once. */
CHECKED static err_kind copy_histograms(query_result *r, query_series *out, const histogram_sample *at, size_t n, err *e)
{
    const histogram *before = NULL, *copy = NULL;
    out->histograms = arena_array(&r->arena, histogram_sample, n);
    if (!out->histograms)
        return err_nomem(e);
    for (size_t i = 0; i < n; before = at[i++].h) {
        if (at[i].h != before && !(copy = histogram_copy(&r->arena, at[i].h)))
            return err_nomem(e);
        out->histograms[out->histogram_count++] = (histogram_sample){ at[i].t_ms, copy };
    }
    return OK;
}

CHECKED static err_kind copy_native(query_result *r, const grid *g, const vseries *s, query_series *out, err *e)
{
    histogram_vec found = { 0 };
    err_kind k = OK;
    for (size_t i = 0; !k && i < g->n; i++)
        if (s->h[i] && vec_push(&found, ((histogram_sample){ grid_at(g, i), s->h[i] })))
            k = err_nomem(e);
    if (!k && found.len)
        k = copy_histograms(r, out, found.at, found.len, e);
    vec_done(&found);
    return k;
}

CHECKED static err_kind copy_series(query_result *r, const grid *g, const vseries *s, err *e)
{
    query_series *out = &r->series[r->len];
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++)
        n += !slot_empty(s->v[i]);
    if (s->h && copy_native(r, g, s, out, e))
        return e->kind;
    if (n == 0 && out->histogram_count == 0)
        return OK;
    out->at = arena_array(&r->arena, sample, MAX(n, (size_t)1));
    if (!out->at || copy_labels(&r->arena, s->labels, &out->labels, e))
        return err_nomem(e);
    for (size_t i = 0; i < g->n; i++)
        if (!slot_empty(s->v[i]))
            out->at[out->len++] = (sample){ grid_at(g, i), s->v[i] };
    r->len++;
    return OK;
}

CHECKED static err_kind copy_value(query_result *r, const grid *g, const value *v, err *e)
{
    r->series = arena_array(&r->arena, query_series, MAX(v->len, 1u));
    if (!r->series)
        return err_nomem(e);
    for (size_t i = 0; i < v->len; i++)
        if (copy_series(r, g, &v->at[i], e))
            return e->kind;
    return OK;
}

CHECKED static err_kind copy_texts(arena *a, const str *from, size_t n, str **ret, size_t *ret_n, err *e)
{
    *ret = arena_array(a, str, n + 2); /* one more for the limit's warning */
    if (!*ret)
        return err_nomem(e);
    for (size_t i = 0; i < n; i++)
        if (!((*ret)[i] = arena_str(a, from[i])).ptr)
            return err_nomem(e);
    *ret_n = n;
    return OK;
}

/* ---- running ---- */

/* One series of `x[5m]` alone: its samples in the window. */
typedef struct raw_reader { range_input in; int64_t end_ms; sample_vec samples; histogram_vec histograms; arena arena; } raw_reader;

static bool is_inside(const raw_reader *w, int64_t t_ms)
{
    return t_ms > w->end_ms - w->in.range_ms - w->in.ev->closed_ranges && t_ms <= w->end_ms;
}

CHECKED static err_kind read_raw(raw_reader *w, size_t i)
{
    size_t floats = 0, natives = 0;
    arena_reset(&w->arena);
    if (range_read(&w->in, i, &w->samples) || range_read_histograms(&w->in, i, &w->arena, &w->histograms))
        return w->in.ev->e->kind;
    for (size_t k = 0; k < w->samples.len; k++)
        if (is_inside(w, w->samples.at[k].t_ms))
            w->samples.at[floats++] = w->samples.at[k];
    for (size_t k = 0; k < w->histograms.len; k++)
        if (is_inside(w, w->histograms.at[k].t_ms))
            w->histograms.at[natives++] = w->histograms.at[k];
    w->samples.len = floats;
    w->histograms.len = natives;
    return OK;
}

CHECKED static err_kind copy_raw(raw_reader *w, const grid *g, size_t i, query_result *r)
{
    eval *ev = w->in.ev;
    query_series *out = &r->series[r->len];
    labels l = range_labels(&w->in, i);
    if (w->samples.len == 0 && w->histograms.len == 0)
        return OK;
    if (range_drops_name(&w->in, i) && labels_without_name(ev, l, &l))
        return ev->e->kind;
    cost_add(ev, g, 0, w->samples.len);
    for (size_t k = 0; k < w->histograms.len; k++)
        cost_add(ev, g, 0, histogram_samples(w->histograms.at[k].h));
    if (w->histograms.len && copy_histograms(r, out, w->histograms.at, w->histograms.len, ev->e))
        return ev->e->kind;
    out->at = w->samples.len ? arena_dup(&r->arena, w->samples.at, w->samples.len * sizeof *w->samples.at) : arena_array(&r->arena, sample, 1);
    out->len = w->samples.len;
    if (!out->at || copy_labels(&r->arena, l, &out->labels, ev->e))
        return err_nomem(ev->e);
    r->len++;
    return OK;
}

/* `x[5m]` alone: the raw samples of the window, as an instant query may ask for. */
CHECKED static err_kind run_matrix(eval *ev, const ast *node, const grid *g, query_result *r)
{
    raw_reader w = { .arena = eval_series_arena(ev) };
    err_kind k = range_open(&w.in, ev, node, g);
    if (!k)
        w.end_ms = range_end(&w.in, g, 0);
    r->series = arena_array(&r->arena, query_series, MAX(w.in.len, 1u));
    if (!k && !r->series)
        k = err_nomem(ev->e);
    for (size_t i = 0; !k && i < w.in.len; i++) {
        k = eval_series_full(ev, &w.arena, read_raw(&w, i));
        if (!k)
            k = copy_raw(&w, g, i, r);
    }
    vec_done(&w.samples);
    vec_done(&w.histograms);
    arena_done(&w.arena);
    range_done(&w.in);
    return k;
}

static int series_by_labels(const void *a, const void *b)
{
    return labels_cmp(((const query_series *)a)->labels, ((const query_series *)b)->labels);
}

static query_value_type result_type(const ast *root, bool instant)
{
    switch (root->type) {
    case PROMQL_SCALAR: return instant ? QUERY_SCALAR : QUERY_MATRIX;
    case PROMQL_STRING: return QUERY_STRING;
    case PROMQL_MATRIX: return QUERY_MATRIX;
    default: return instant ? QUERY_VECTOR : QUERY_MATRIX;
    }
}

CHECKED static err_kind run_root(eval *ev, const ast *root, const grid *g, query_result *r)
{
    value v = { 0 };
    r->type = result_type(root, ev->instant);
    if (root->type == PROMQL_MATRIX)
        return run_matrix(ev, ast_bare(root), g, r);
    err_kind k = eval_node(ev, root, g, &v);
    if (!k)
        k = value_settle_names(&v);
    if (!k && root->type == PROMQL_STRING) {
        r->string = arena_str(&r->arena, v.string);
        k = r->string.ptr ? OK : err_nomem(ev->e);
    } else if (!k) {
        r->arena.max_bytes = MIN(r->arena.max_bytes, ev->max_memory - MIN(eval_memory(ev), ev->max_memory));
        k = copy_value(r, g, &v, ev->e);
    }
    value_done(&v);
    return k;
}

err_kind query_points_fail(const query_engine *q, err *e)
{
    char most[32];
    size_t n = q->options.max_points; /* 11,000: as Prometheus writes it */
    if (n < 1000)
        snprintf(most, sizeof most, "%zu", n);
    else
        snprintf(most, sizeof most, "%zu,%03zu", n / 1000, n % 1000);
    return err_set(e, ERR_LIMIT, "exceeded maximum resolution of %s points per timeseries. Try decreasing the query resolution (?step=XX)", most);
}

static err_kind check_range(const query_engine *q, const query_request *req, const ast *root, err *e)
{
    if (root->type != PROMQL_VECTOR && root->type != PROMQL_SCALAR)
        return err_set(e, ERR_INVALID, "invalid expression type \"%s\" for range query, must be Scalar or instant Vector", promql_type_documented(root->type));
    if (req->to_ms < req->from_ms)
        return err_set(e, ERR_INVALID, "end timestamp must not be before start time");
    if ((req->to_ms - req->from_ms) / req->step_ms > (int64_t)q->options.max_points) {
        return query_points_fail(q, e);
    }
    return OK;
}

static size_t lower_limit(size_t engine, size_t request)
{
    return request ? MIN(engine, request) : engine;
}

static void eval_init(eval *ev, const query_engine *q, const query_request *req, arena *a, err *e)
{
    const query_options *o = &q->options;
    int64_t timeout = req->timeout_ms > 0 ? MIN(req->timeout_ms, o->timeout_ms) : o->timeout_ms;
    *ev = (eval){
        .store = q->store, .arena = a, .text = req->expr, .e = e, .cancel = req->cancel,
        .start_ms = req->step_ms ? req->from_ms : req->to_ms, .end_ms = req->to_ms, .step_ms = req->step_ms,
        .lookback_ms = req->lookback_ms > 0 ? req->lookback_ms : o->lookback_ms,
        .default_step_ms = DEFAULT_SUBQUERY_STEP_MS, .instant = req->step_ms == 0,
        .delayed_names = o->features & PROMQL_DELAYED_NAMES, .type_labels = o->features & PROMQL_TYPE_LABELS,
        .closed_ranges = o->compat == 2,
        .hints = { .step_ms = req->step_ms, .tier = req->tier },
        .max_slots = lower_limit(o->max_samples, req->max_samples), .max_read = lower_limit(o->max_samples, req->max_samples),
        .max_series = lower_limit(o->max_series, req->max_series), .max_memory = o->max_memory_bytes,
        .deadline_ns = clock_mono_ns() + MAX(timeout - req->waited_ms, INT64_C(0)) * NS_PER_MS,
    };
}

static void cut_to_limit(query_result *r, size_t limit)
{
    if (limit == 0 || r->len <= limit || r->type == QUERY_SCALAR)
        return;
    r->len = limit;
    r->warnings[r->warning_count++] = STR("results truncated due to limit");
}

static err_kind run(query_engine *q, const query_request *req, eval *ev, eval_cost *cost, query_result *ret, err *e)
{
    ast *root = NULL;
    grid g = { ev->start_ms, req->step_ms, 1 };
    int64_t started = clock_mono_ns();
    if (promql_parse(req->expr, ev->arena, &root, e) || (!ev->instant && check_range(q, req, root, e)))
        return e->kind;
    if (!ev->instant)
        g.n = (size_t)((req->to_ms - req->from_ms) / req->step_ms) + 1;
    if (req->want_cost && cost_open(ev, cost, g.n))
        return e->kind;
    cost->parse_ns = clock_mono_ns() - started;
    if (eval_look(ev) || run_root(ev, root, &g, ret) || eval_look(ev) ||
        copy_texts(&ret->arena, ev->warnings.at, ev->warnings.len, &ret->warnings, &ret->warning_count, e) ||
        copy_texts(&ret->arena, ev->infos.at, ev->infos.len, &ret->infos, &ret->info_count, e))
        return e->kind;
    started = clock_mono_ns();
    if (ret->type == QUERY_MATRIX && ret->len > 1)
        qsort(ret->series, ret->len, sizeof *ret->series, series_by_labels);
    cost->sort_ns = clock_mono_ns() - started;
    cut_to_limit(ret, req->limit);
    return ev->cost ? cost_report(ev, &ret->arena, &ret->cost) : OK;
}

static void add_stats(eval *ev, query_result *ret)
{
    for (size_t i = 0; i < ev->selections.len; i++) {
        select_stats s = store_select_stats(ev->selections.at[i]);
        ret->stats.series += s.series;
        ret->stats.chunks += s.chunks;
        ret->stats.blocks = MAX(ret->stats.blocks, s.blocks); /* they look at the same ones */
        ret->stats.bytes += s.bytes;
    }
    ret->stats.samples = ev->samples_read;
}

/* The same limits on what was asked and what comes back, whoever answers. */
static err_kind run_pushed_down(query_engine *q, const query_request *req, query_result *ret, err *e)
{
    query_request asked = *req;
    if (req->step_ms && (req->to_ms - req->from_ms) / req->step_ms > (int64_t)q->options.max_points)
        return query_points_fail(q, e);
    asked.timeout_ms = req->timeout_ms > 0 ? MIN(req->timeout_ms, q->options.timeout_ms) : q->options.timeout_ms;
    err_kind k = q->backend.run(q->backend.ctx, &asked, q->options.max_samples, ret, e);
    if (!k)
        cut_to_limit(ret, req->limit);
    return k;
}

static err_kind push_down(query_engine *q, const query_request *req, query_result *ret, err *e)
{
    err scratch = { 0 };
    e = e ? e : &scratch;
    *e = (err){ 0 };
    *ret = (query_result){ .at_ms = req->to_ms };
    int64_t started = clock_mono_ns();
    err_kind k = run_pushed_down(q, req, ret, e);
    own_add(q->queries, 1);
    own_add(q->failures, k != OK);
    own_add(q->samples, (double)ret->stats.samples);
    own_add(q->seconds, (double)(clock_mono_ns() - started) / 1e9);
    return k;
}

err_kind query_run(query_engine *q, const query_request *req, query_result *ret, err *e)
{
    if (q->backend.run)
        return push_down(q, req, ret, e);
    arena a = ARENA_INIT(MIN(QUERY_ARENA_MAX, q->options.max_memory_bytes));
    err scratch = { 0 };
    eval ev;
    eval_cost cost = { .open = 0 };
    e = e ? e : &scratch;
    *e = (err){ 0 };
    *ret = (query_result){ .arena = ARENA_INIT(MIN(RESULT_ARENA_MAX, q->options.max_memory_bytes)), .at_ms = req->to_ms };
    int64_t started = clock_mono_ns();
    eval_init(&ev, q, req, &a, e);
    err_kind k = run(q, req, &ev, &cost, ret, e);
    if (k == ERR_NOMEM && (eval_arena_full(&a) || eval_arena_full(&ret->arena)))
        k = eval_memory_fail(&ev);
    add_stats(&ev, ret);
    ret->cost.took_ns = clock_mono_ns() - started;
    own_add(q->queries, 1);
    own_add(q->samples, (double)ev.samples_read);
    own_add(q->seconds, (double)ret->cost.took_ns / 1e9);
    if (k) {
        own_add(q->failures, 1);
        query_result_done(ret);
    }
    cost_done(&cost);
    size_t held = eval_memory(&ev);
    eval_done(&ev);
    arena_done(&a);
    if (held >= LARGE_BYTES)
        malloc_trim(0);
    return k;
}

static int label_sets_in_order(const void *a, const void *b)
{
    return labels_cmp(*(const labels *)a, *(const labels *)b);
}

err_kind query_series_labels(query_engine *q, const matcher *m, size_t n, int64_t from_ms, int64_t to_ms, arena *a, labels **ret, size_t *ret_n, err *e)
{
    arena scratch = ARENA_INIT(QUERY_ARENA_MAX);
    query_request req = { .expr = STR_EMPTY };
    eval ev;
    source found;
    if (q->backend.run) {
        matcher_set set = { m, n };
        return q->backend.series(q->backend.ctx, &set, 1, from_ms, to_ms, NULL, a, ret, ret_n, e);
    }
    err unused = { 0 };
    e = e ? e : &unused;
    *e = (err){ 0 };
    eval_init(&ev, q, &req, &scratch, e);
    err_kind k = source_open(&ev, m, n, from_ms, to_ms, &found);
    labels *out = k ? NULL : arena_array(a, labels, MAX(found.len, 1u));
    if (!k && !out)
        k = err_nomem(e);
    for (size_t i = 0; !k && i < found.len; i++)
        k = copy_labels(a, found.at[i].labels, &out[i], e);
    eval_done(&ev);
    if (!k) {
        if (found.len > 1)
            qsort(out, found.len, sizeof *out, label_sets_in_order);
        *ret = out;
        *ret_n = found.len;
    }
    arena_done(&scratch);
    return k;
}

err_kind query_instant(query_engine *q, str expr, int64_t t_ms, const atomic_bool *cancel, query_result *ret, err *e)
{
    return query_run(q, &(query_request){ .expr = expr, .to_ms = t_ms, .from_ms = t_ms, .cancel = cancel }, ret, e);
}

err_kind query_range(query_engine *q, str expr, int64_t from_ms, int64_t to_ms, int64_t step_ms, const atomic_bool *cancel, query_result *ret, err *e)
{
    if (step_ms <= 0) {
        *ret = (query_result){ 0 };
        return err_set(e, ERR_INVALID, "zero or negative query resolution step widths are not accepted. Try a positive integer");
    }
    return query_run(q, &(query_request){ .expr = expr, .from_ms = from_ms, .to_ms = to_ms, .step_ms = step_ms, .cancel = cancel }, ret, e);
}

err_kind query_number(query_engine *q, str expr, int64_t t_ms, double *ret, err *e)
{
    query_result r = { 0 };
    err_kind k = query_instant(q, expr, t_ms, NULL, &r, e);
    if (!k && (r.len == 0 || r.series[0].len == 0 || r.type == QUERY_STRING))
        k = err_set(e, ERR_NOT_FOUND, "expression \"%" STR_FMT "\" has no result", STR_ARG(expr));
    if (!k)
        *ret = r.series[0].at[r.series[0].len - 1].v;
    query_result_done(&r);
    return k;
}

/* ---- showing ---- */

static void print_sample(FILE *out, sample s, bool plain)
{
    char number[NUM_DOUBLE_MAX];
    num_format_double(number, s.v);
    fprintf(out, plain ? "%s @[%.3f]\n" : " => %s @[%.3f]\n", number, (double)s.t_ms / 1e3);
}

static void print_histogram(FILE *out, const histogram_sample *s, bool plain)
{
    AUTO(arena_done) arena a = ARENA_INIT(8u << 20);
    str text = format_histogram(&a, s->h);
    fprintf(out, plain ? "%" STR_FMT " @[%.3f]\n" : " => %" STR_FMT " @[%.3f]\n", STR_ARG(text), (double)s->t_ms / 1e3);
}

static void print_series(FILE *out, const query_series *s, bool matrix)
{
    AUTO(buf_done) buf text = BUF_INIT(1u << 20);
    labels_format(s->labels, &text);
    fprintf(out, "%s", text.len ? buf_cstr(&text) : "{}");
    if (matrix)
        fprintf(out, " =>\n");
    for (size_t i = 0; i < s->len; i++)
        print_sample(out, s->at[i], matrix);
    for (size_t i = 0; i < s->histogram_count; i++)
        print_histogram(out, &s->histograms[i], matrix);
}

int query_print(const query_result *r, FILE *out, bool json)
{
    AUTO(buf_done) buf text = BUF_INIT(RESULT_ARENA_MAX);
    for (size_t i = 0; i < r->warning_count; i++)
        fprintf(stderr, "warning: %" STR_FMT "\n", STR_ARG(r->warnings[i]));
    for (size_t i = 0; i < r->info_count; i++)
        fprintf(stderr, "info: %" STR_FMT "\n", STR_ARG(r->infos[i]));
    if (json) {
        query_result_json(r, &text);
        fprintf(out, "%s\n", buf_cstr(&text));
    } else if (r->type == QUERY_STRING) {
        fprintf(out, "%" STR_FMT "\n", STR_ARG(r->string));
    } else if (r->type == QUERY_SCALAR) {
        fprintf(out, "scalar:");
        print_sample(out, r->series[0].at[0], false);
    } else {
        if (r->len == 0)
            fprintf(stderr, "no series match\n");
        for (size_t i = 0; i < r->len; i++)
            print_series(out, &r->series[i], r->type == QUERY_MATRIX);
    }
    return fflush(out) || ferror(out) || buf_failed(&text) ? 1 : 0;
}
