#include "query/cost.h"
#include "base/json.h"
#include "query/tables.h"
#include <stdio.h>

#define NODE_TEXT_MAX 400      /* of one node in the report */
#define NO_NODE UINT32_MAX

err_kind cost_open(eval *ev, eval_cost *c, size_t steps)
{
    *c = (eval_cost){ .open = NO_NODE, .steps = steps, .per_step = mem_calloc(steps, sizeof *c->per_step) };
    if (!c->per_step)
        return err_nomem(ev->e);
    ev->cost = c;
    return OK;
}

void cost_done(eval_cost *c)
{
    vec_done(&c->nodes);
    vec_done(&c->owners);
    mem_free(c->per_step);
}

/* ---- nodes ---- */

/* Selections nobody has yet are the open node's. */
CHECKED static err_kind claim_selections(eval *ev)
{
    eval_cost *c = ev->cost;
    while (c->owners.len < ev->selections.len)
        if (vec_push(&c->owners, c->open))
            return err_nomem(ev->e);
    return OK;
}

err_kind cost_enter(eval *ev, const ast *node, uint32_t *ret)
{
    eval_cost *c = ev->cost;
    *ret = c->open;
    if (claim_selections(ev) || vec_push(&c->nodes, ((cost_node){ .node = node, .depth = c->depth, .started_ns = clock_mono_ns() })))
        return err_nomem(ev->e);
    c->open = (uint32_t)c->nodes.len - 1;
    c->depth++;
    return OK;
}

void cost_leave(eval *ev, uint32_t parent, const value *made)
{
    eval_cost *c = ev->cost;
    cost_node *n = &c->nodes.at[c->open];
    (void)!claim_selections(ev); /* without memory the reading is the parent's */
    n->took_ns = clock_mono_ns() - n->started_ns;
    n->series = made->len;
    if (parent != NO_NODE)
        c->nodes.at[parent].children_ns += n->took_ns;
    c->open = parent;
    c->depth--;
    cost_hold(ev, 0);
}

/* ---- samples ---- */

void cost_add(eval *ev, const grid *g, size_t step, uint64_t samples)
{
    eval_cost *c = ev->cost;
    if (!c || c->subqueries)
        return;
    for (size_t i = 0; g->n == 1 && i < c->steps; i++) /* what @ nails down is looked at for every step */
        c->per_step[i] += samples;
    if (g->n > 1 && step < c->steps)
        c->per_step[step] += samples;
}

void cost_add_slots(eval *ev, const grid *g, const double *v)
{
    for (size_t i = 0; ev->cost && i < g->n; i++)
        if (!slot_empty(v[i]))
            cost_add(ev, g, i, 1);
}

void cost_hold(eval *ev, size_t samples)
{
    if (ev->cost)
        ev->cost->peak = MAX(ev->cost->peak, ev->live + samples);
}

/* ---- the report ---- */

static const char *kind_name(const ast *node)
{
    switch (node->kind) {
    case AST_NUMBER: return "number";
    case AST_STRING: return "string";
    case AST_SELECTOR: return "selector";
    case AST_MATRIX: return "range selector";
    case AST_SUBQUERY: return "subquery";
    case AST_CALL: return "function";
    case AST_AGGREGATE: return "aggregation";
    case AST_BINARY: return "operator";
    case AST_UNARY: return "sign";
    case AST_PAREN: return "parentheses";
    }
    return "";
}

/* As it was written; a long one loses its end. */
static str node_text(const eval *ev, const ast *node, arena *a)
{
    str text = str_sub(ev->text, node->span.start, node->span.end - node->span.start);
    if (text.len <= NODE_TEXT_MAX)
        return arena_str(a, text);
    size_t n = NODE_TEXT_MAX;
    while (n > 0 && ((unsigned char)text.ptr[n] & 0xc0) == 0x80)
        n--; /* not in the middle of a character */
    return arena_printf(a, "%.*s…", (int)n, text.ptr);
}

static void add_stats(select_stats *to, select_stats s)
{
    to->series += s.series;
    to->samples += s.samples;
    to->chunks += s.chunks;
    to->blocks = MAX(to->blocks, s.blocks); /* they share most */
    to->bytes += s.bytes;
}

/* Blocks and head, as far as the list goes. */
CHECKED static err_kind add_sources(query_node_cost *n, const store_selection *sel, arena *a, err *e)
{
    size_t count;
    const select_source *from = store_select_sources(sel, &count);
    count = MIN(count, QUERY_SOURCES_MAX - n->source_count);
    select_source *all = count ? arena_array(a, select_source, n->source_count + count) : n->sources;
    if (!all && count)
        return err_nomem(e);
    if (count && n->source_count)
        memcpy(all, n->sources, n->source_count * sizeof *all);
    for (size_t i = 0; i < count; i++) {
        all[n->source_count] = from[i];
        if (!(all[n->source_count++].path = arena_str(a, from[i].path)).ptr)
            return err_nomem(e);
    }
    n->sources = all;
    return OK;
}

err_kind cost_report(eval *ev, arena *a, query_cost *ret)
{
    eval_cost *c = ev->cost;
    ret->nodes = arena_array(a, query_node_cost, MAX(c->nodes.len, 1u));
    ret->per_step = arena_dup(a, c->per_step, c->steps * sizeof *c->per_step);
    if (!ret->nodes || !ret->per_step)
        return err_nomem(ev->e);
    for (size_t i = 0; i < c->owners.len; i++)
        if (c->owners.at[i] != NO_NODE)
            add_stats(&c->nodes.at[c->owners.at[i]].read, store_select_stats(ev->selections.at[i]));
    for (size_t i = 0; i < c->nodes.len; i++) {
        const cost_node *n = &c->nodes.at[i];
        str text = node_text(ev, n->node, a);
        if (!text.ptr)
            return err_nomem(ev->e);
        ret->nodes[i] = (query_node_cost){ text, kind_name(n->node), n->depth, n->took_ns, n->took_ns - n->children_ns, n->series, n->read, NULL, 0 };
    }
    for (size_t i = 0; i < c->owners.len; i++)
        if (c->owners.at[i] != NO_NODE && add_sources(&ret->nodes[c->owners.at[i]], ev->selections.at[i], a, ev->e))
            return ev->e->kind;
    for (size_t i = 0; i < c->steps; i++)
        ret->samples += c->per_step[i];
    ret->len = c->nodes.len;
    ret->steps = c->steps;
    ret->peak_samples = c->peak;
    ret->parse_ns = c->parse_ns;
    ret->sort_ns = c->sort_ns;
    return OK;
}

/* ---- showing ---- */

static void put_read(json_writer *w, select_stats s)
{
    json_key(w, "read");
    json_begin(w, '{');
    json_put_i64(w, "series", (int64_t)s.series);
    json_put_i64(w, "samples", (int64_t)s.samples);
    json_put_i64(w, "chunks", (int64_t)s.chunks);
    json_put_i64(w, "blocks", (int64_t)s.blocks);
    json_put_i64(w, "bytes", (int64_t)s.bytes);
    json_end(w, '}');
}

static const char *tier_name(store_tier t)
{
    return t == STORE_TIER_1H ? "1h" : t == STORE_TIER_5M ? "5m" : "raw";
}

static void put_sources(json_writer *w, const query_node_cost *n)
{
    json_key(w, "sources");
    json_begin(w, '[');
    for (size_t i = 0; i < n->source_count; i++) {
        const select_source *s = &n->sources[i];
        json_begin(w, '{');
        json_put_str(w, "path", s->path);
        json_put_cstr(w, "tier", tier_name(s->tier));
        json_put_i64(w, "series", (int64_t)s->series);
        json_put_i64(w, "chunks", (int64_t)s->chunks);
        json_put_i64(w, "samples", (int64_t)s->samples);
        json_put_i64(w, "bytes", (int64_t)s->bytes);
        json_end(w, '}');
    }
    json_end(w, ']');
}

static void put_node(json_writer *w, const query_node_cost *n)
{
    json_begin(w, '{');
    json_put_i64(w, "depth", n->depth);
    json_put_cstr(w, "kind", n->kind);
    json_put_str(w, "expr", n->expr);
    json_put_double(w, "seconds", (double)n->took_ns / 1e9);
    json_put_double(w, "self_seconds", (double)n->self_ns / 1e9);
    json_put_i64(w, "series", (int64_t)n->series);
    if (n->read.series || n->read.blocks)
        put_read(w, n->read);
    if (n->source_count)
        put_sources(w, n);
    json_end(w, '}');
}

void query_cost_json(const query_result *r, buf *out)
{
    const query_cost *c = &r->cost;
    json_writer w = json_writer_to(out);
    json_begin(&w, '{');
    json_put_double(&w, "seconds", (double)c->took_ns / 1e9);
    json_put_double(&w, "parse_seconds", (double)c->parse_ns / 1e9);
    json_put_i64(&w, "steps", (int64_t)c->steps);
    json_put_i64(&w, "series", (int64_t)r->len);
    json_put_i64(&w, "samples", (int64_t)c->samples);
    json_put_i64(&w, "peak_samples", (int64_t)c->peak_samples);
    put_read(&w, r->stats);
    json_key(&w, "nodes");
    json_begin(&w, '[');
    for (size_t i = 0; i < c->len; i++)
        put_node(&w, &c->nodes[i]);
    json_end(&w, ']');
    json_end(&w, '}');
}

static void print_read(FILE *out, select_stats s)
{
    fprintf(out, "read %" PRIu64 " series, %" PRIu64 " samples, %" PRIu64 " chunks, %" PRIu64 " blocks", s.series, s.samples, s.chunks, s.blocks);
    if (s.bytes)
        fprintf(out, ", %" PRIu64 " bytes", s.bytes);
}

void query_cost_print(const query_result *r, FILE *out)
{
    const query_cost *c = &r->cost;
    fprintf(out, "%10s %10s %9s  expression\n", "ms", "self ms", "series");
    for (size_t i = 0; i < c->len; i++) {
        const query_node_cost *n = &c->nodes[i];
        fprintf(out, "%10.3f %10.3f %9" PRIu64 "  %*s%" STR_FMT, (double)n->took_ns / 1e6, (double)n->self_ns / 1e6, n->series,
                (int)MIN(n->depth, 40u) * 2, "", STR_ARG(n->expr));
        if (n->read.series || n->read.blocks) {
            fprintf(out, "   ← ");
            print_read(out, n->read);
        }
        fputc('\n', out);
    }
    fprintf(out, "%10.3f ms in all, %zu steps, %" PRIu64 " samples looked at, at most %" PRIu64 " held; ", (double)c->took_ns / 1e6, c->steps, c->samples, c->peak_samples);
    print_read(out, r->stats);
    fputc('\n', out);
}
