/* /api/v1/query_exemplars: the requests behind the numbers of an expression.
 *
 * Source: https://prometheus.io/docs/prometheus/latest/querying/api/#querying-exemplars. The expression is not run; each of
 * its selectors names series, and their exemplars in the range are listed. Prometheus has no limit here; we cut at
 * EXEMPLARS_MAX and say so. */
#include "base/regex.h"
#include "query/api.h"
#include "query/ast.h"

#define EXEMPLARS_ARENA_MAX ((size_t)256 << 20)
#define EXEMPLARS_MAX 100000

/* ---- the selectors of a tree ---- */

CHECKED static err_kind add_selector(job *j, const ast *node, err *e)
{
    size_t n = node->selector.count;
    matcher *m = arena_dup(&j->arena, node->selector.matchers, MAX(n, (size_t)1) * sizeof *m);
    if (!m)
        return err_nomem(e);
    if (j->set_count == QUERY_MATCHES_MAX)
        return err_set(e, ERR_INVALID, "more than %d selectors in one expression", QUERY_MATCHES_MAX);
    j->sets[j->set_count++] = (matcher_set){ m, n }; /* from here on job_drop frees what is compiled */
    for (size_t i = 0; i < n; i++) {
        regex *re = NULL;
        m[i].re = NULL;
        if ((m[i].op == MATCH_RE || m[i].op == MATCH_NRE) && regex_compile(m[i].value, true, &re, e)) {
            for (size_t k = i; k < n; k++)
                m[k].re = NULL;
            return e->kind;
        }
        m[i].re = re;
    }
    return OK;
}

/* The tree's height is bounded by PROMQL_MAX_HEIGHT, the pool's stacks are made for it. */
static err_kind add_selectors(job *j, const ast *node, err *e)
{
    err_kind k = OK;
    if (!node)
        return OK;
    switch (node->kind) {
    case AST_NUMBER:
    case AST_STRING: return OK;
    case AST_SELECTOR: return add_selector(j, node, e);
    case AST_MATRIX: return add_selectors(j, node->matrix.selector, e);
    case AST_SUBQUERY: return add_selectors(j, node->subquery.expr, e);
    case AST_UNARY: return add_selectors(j, node->unary.expr, e);
    case AST_PAREN: return add_selectors(j, node->paren.expr, e);
    case AST_AGGREGATE: return (k = add_selectors(j, node->aggregate.param, e)) ? k : add_selectors(j, node->aggregate.expr, e);
    case AST_BINARY: return (k = add_selectors(j, node->binary.left, e)) ? k : add_selectors(j, node->binary.right, e);
    case AST_CALL:
        for (size_t i = 0; i < node->call.count && !k; i++)
            k = add_selectors(j, node->call.args[i], e);
        return k;
    }
    return OK;
}

/* ---- the answer ---- */

static void put_exemplar(json_writer *w, const exemplar *x)
{
    char value[NUM_DOUBLE_MAX];
    num_format_double(value, x->v);
    json_begin(w, '{');
    labels_json(w, "labels", x->labels);
    json_put_cstr(w, "value", value);
    json_put_double(w, "timestamp", (double)x->t_ms / 1000);
    json_end(w, '}');
}

static void put_series(json_writer *w, const exemplar_series *s, size_t n)
{
    json_begin(w, '{');
    labels_json(w, "seriesLabels", s->labels);
    json_key(w, "exemplars");
    json_begin(w, '[');
    for (size_t i = 0; i < n; i++)
        put_exemplar(w, &s->at[i]);
    json_end(w, ']');
    json_end(w, '}');
}

static void put_answer(job *j, const exemplar_series *at, size_t n)
{
    static const str cut_warning[] = { STR_INIT("results truncated due to limit") };
    size_t left = j->query.limit ? j->query.limit : EXEMPLARS_MAX;
    bool cut = false;
    api_begin(&j->body);
    json_writer w = json_writer_to(&j->body);
    json_begin(&w, '[');
    for (size_t i = 0; i < n; i++) {
        size_t take = MIN(at[i].len, left);
        cut |= take < at[i].len;
        left -= take;
        if (take)
            put_series(&w, &at[i], take);
    }
    json_end(&w, ']');
    job_end(j, cut_warning, cut, NULL, 0);
}

CHECKED static err_kind find(job *j, arena *a, exemplar_series **ret, size_t *ret_n, err *e)
{
    ast *root;
    *ret_n = 0;
    if (promql_parse(j->query.expr, &j->arena, &root, e) || add_selectors(j, root, e))
        return e->kind;
    if (j->set_count == 0) /* no set would mean all series */
        return OK;
    return store_exemplars(j->http->store, j->sets, j->set_count, j->query.from_ms, j->query.to_ms, a, ret, ret_n, e);
}

static void run_exemplars(job *j)
{
    AUTO(arena_done) arena a = ARENA_INIT(EXEMPLARS_ARENA_MAX);
    exemplar_series *found = NULL;
    size_t n = 0;
    err e = { 0 };
    if (find(j, &a, &found, &n, &e))
        job_fail(j, &e, "query");
    else
        put_answer(j, found, n);
}

void page_query_exemplars(http_request *req)
{
    job *j = job_new(req, run_exemplars);
    if (!j)
        return;
    bool ok = api_time(req, "start", false, API_MIN_TIME_MS, &j->query.from_ms) &&
              api_time(req, "end", false, API_MAX_TIME_MS, &j->query.to_ms) && api_limit(req, &j->query.limit);
    if (ok && j->query.to_ms < j->query.from_ms) {
        api_error(req, 400, "bad_data", "invalid parameter \"end\": end timestamp must not be before start timestamp");
        ok = false;
    }
    if (ok && api_query_text(req, &j->arena, &j->query.expr))
        job_start(j);
    else
        job_drop(j);
}
