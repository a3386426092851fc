/* The tree as JSON, in the shape of Prometheus's /api/v1/parse_query (web/api/v1/translate_ast.go), which its
 * web page and Grafana's query builder read. */
#include "base/json.h"
#include "query/tables.h"

static void put(json_writer *w, const ast *node);

static void put_offset(json_writer *w, const ast_modifiers *mod)
{
    double seconds = mod->offset && mod->offset->op == DUR_CONST ? mod->offset->seconds
                   : mod->offset && mod->offset->op == DUR_NEG && mod->offset->left->op == DUR_CONST ? -mod->offset->left->seconds : 0;
    json_put_i64(w, "offset", (int64_t)(seconds * 1e3));
    json_key(w, "timestamp");
    if (mod->at == AT_TIME)
        json_i64(w, mod->at_ms);
    else
        json_null(w);
    json_put_cstr(w, "startOrEnd", mod->at == AT_START ? "start" : mod->at == AT_END ? "end" : NULL);
}

static void put_selector(json_writer *w, const ast *node)
{
    static const char *const ops[] = { [MATCH_EQ] = "=", [MATCH_NE] = "!=", [MATCH_RE] = "=~", [MATCH_NRE] = "!~" };
    json_put_str(w, "name", node->selector.name);
    json_key(w, "matchers");
    json_begin(w, '[');
    for (size_t i = 0; i < node->selector.count; i++) {
        const matcher *m = &node->selector.matchers[i];
        json_begin(w, '{');
        json_put_str(w, "name", m->name);
        json_put_str(w, "value", m->value);
        json_put_cstr(w, "type", ops[m->op]);
        json_end(w, '}');
    }
    json_end(w, ']');
    put_offset(w, &node->selector.mod);
}

static void put_texts(json_writer *w, const char *key, const str *at, size_t n)
{
    json_key(w, key);
    json_begin(w, '[');
    for (size_t i = 0; i < n; i++)
        json_str(w, at[i]);
    json_end(w, ']');
}

static void put_child(json_writer *w, const char *key, const ast *node)
{
    json_key(w, key);
    if (node)
        put(w, node);
    else
        json_null(w);
}

static void put_binary(json_writer *w, const ast *node)
{
    static const char *const cards[] = { "one-to-one", "many-to-one", "one-to-many", "many-to-many" };
    const ast_matching *m = node->binary.matching;
    json_put_cstr(w, "op", node->binary.row->text);
    put_child(w, "lhs", node->binary.left);
    put_child(w, "rhs", node->binary.right);
    json_put_bool(w, "bool", node->binary.return_bool);
    json_key(w, "matching");
    if (node->binary.left->type != PROMQL_VECTOR || node->binary.right->type != PROMQL_VECTOR) {
        json_null(w);
        return;
    }
    json_begin(w, '{');
    json_put_cstr(w, "card", cards[m->card]);
    put_texts(w, "labels", m->labels, m->label_count);
    json_put_bool(w, "on", m->on);
    put_texts(w, "include", m->include, m->include_count);
    json_end(w, '}');
}

static void put_function(json_writer *w, const ast *node)
{
    const function_row *f = node->call.row;
    json_key(w, "func");
    json_begin(w, '{');
    json_put_cstr(w, "name", f->name);
    json_key(w, "argTypes");
    json_begin(w, '[');
    for (size_t i = 0; i < f->arg_count; i++)
        json_cstr(w, promql_type_name(f->args[i]));
    json_end(w, ']');
    json_put_i64(w, "variadic", f->variadic);
    json_put_cstr(w, "returnType", promql_type_name(f->returns));
    json_end(w, '}');
    json_key(w, "args");
    json_begin(w, '[');
    for (size_t i = 0; i < node->call.count; i++)
        put(w, node->call.args[i]);
    json_end(w, ']');
}

static void put_aggregate(json_writer *w, const ast *node)
{
    json_put_cstr(w, "op", node->aggregate.row->name);
    put_child(w, "expr", node->aggregate.expr);
    put_child(w, "param", node->aggregate.param);
    put_texts(w, "grouping", node->aggregate.labels, node->aggregate.label_count);
    json_put_bool(w, "without", node->aggregate.without);
}

static void put_number(json_writer *w, const ast *node)
{
    char text[NUM_DOUBLE_MAX];
    json_key(w, "val");
    json_str(w, str_of(text, num_format_double(text, node->number.value)));
}

static void put_ranged(json_writer *w, const char *key, const duration *d)
{
    json_put_i64(w, key, d && d->op == DUR_CONST ? (int64_t)(d->seconds * 1e3) : 0);
}

static const char *const types[] = {
    [AST_NUMBER] = "numberLiteral", [AST_STRING] = "stringLiteral", [AST_SELECTOR] = "vectorSelector",
    [AST_MATRIX] = "matrixSelector", [AST_SUBQUERY] = "subquery", [AST_CALL] = "call", [AST_AGGREGATE] = "aggregation",
    [AST_BINARY] = "binaryExpr", [AST_UNARY] = "unaryExpr", [AST_PAREN] = "parenExpr",
};

static void put(json_writer *w, const ast *node)
{
    json_begin(w, '{');
    json_put_cstr(w, "type", types[node->kind]);
    switch (node->kind) {
    case AST_NUMBER: put_number(w, node); break;
    case AST_STRING: json_put_str(w, "val", node->string.value); break;
    case AST_SELECTOR: put_selector(w, node); break;
    case AST_MATRIX:
        put_ranged(w, "range", node->matrix.range);
        put_selector(w, node->matrix.selector);
        break;
    case AST_SUBQUERY:
        put_child(w, "expr", node->subquery.expr);
        put_ranged(w, "range", node->subquery.range);
        put_ranged(w, "step", node->subquery.step);
        put_offset(w, &node->subquery.mod);
        break;
    case AST_CALL: put_function(w, node); break;
    case AST_AGGREGATE: put_aggregate(w, node); break;
    case AST_BINARY: put_binary(w, node); break;
    case AST_UNARY:
        json_put_cstr(w, "op", node->unary.minus ? "-" : "+");
        put_child(w, "expr", node->unary.expr);
        break;
    case AST_PAREN: put_child(w, "expr", node->paren.expr); break;
    }
    json_end(w, '}');
}

void ast_write_json(const ast *node, buf *out)
{
    json_writer w = json_writer_to(out);
    put(&w, node);
}
