/* alert/template_run.c - walking a parsed template over one alert's labels and value. */
#include "alert/template.h"

#include "alert/template_tree.h"

#define RUN_ARENA_MAX (4u << 20)

typedef struct run {
    const template_data *data;
    arena *arena;
    buf *out;
    err *e;
    template_value vars[VARS_MAX];
    unsigned steps;
} run;

static err_kind eval_pipeline(run *r, const pipeline *pipe, const template_value *dot, template_value *ret);

static err_kind field(run *r, template_value *v, str name)
{
    template_value got = { .type = TEMPLATE_NIL };
    switch (v->type) {
    case TEMPLATE_LABELS: /* a missing label is the empty string, as in Prometheus (missingkey=zero) */
        got = (template_value){ .type = TEMPLATE_STR, .s = labels_get(v->labels, name) };
        break;
    case TEMPLATE_ROOT:
        if (str_is(name, "Labels"))
            got = (template_value){ .type = TEMPLATE_LABELS, .labels = r->data->labels };
        else if (str_is(name, "Value"))
            got = (template_value){ .type = TEMPLATE_FLOAT, .f = r->data->value };
        else if (str_is(name, "ExternalURL"))
            got = (template_value){ .type = TEMPLATE_STR, .s = r->data->external_url };
        else if (str_is(name, "ExternalLabels"))
            got = (template_value){ .type = TEMPLATE_LABELS, .labels = r->data->external_labels };
        break;
    case TEMPLATE_SAMPLE:
        if (str_is(name, "Labels"))
            got = (template_value){ .type = TEMPLATE_LABELS, .labels = v->sample->labels };
        else if (str_is(name, "Value"))
            got = (template_value){ .type = TEMPLATE_FLOAT, .f = v->sample->value };
        break;
    default:
        break;
    }
    if (got.type == TEMPLATE_NIL)
        return err_set(r->e, ERR_EXEC, "can't evaluate field %" STR_FMT, STR_ARG(name));
    *v = got;
    return OK;
}

static err_kind call(run *r, const template_func *f, const template_value *args, size_t n, template_value *ret)
{
    template_call c = { r->data, r->arena, r->e, args, n };
    *ret = (template_value){ .type = TEMPLATE_NIL };
    err_kind k = f->run(&c, ret);
    return k == ERR_EXEC ? err_context(r->e, "error calling %s", f->name) : k;
}

static err_kind eval_operand(run *r, const operand *o, const template_value *dot, template_value *ret)
{
    err_kind k = OK;
    switch (o->kind) {
    case OPERAND_VALUE: *ret = o->value; break;
    case OPERAND_DOT: *ret = *dot; break;
    case OPERAND_VAR: *ret = r->vars[o->var]; break;
    case OPERAND_FUNC: k = call(r, o->func, NULL, 0, ret); break;
    case OPERAND_PIPE: k = eval_pipeline(r, o->pipe, dot, ret); break;
    }
    for (size_t i = 0; !k && i < o->field_count; i++)
        k = field(r, ret, o->fields[i]);
    return k;
}

/* Go stops and/or at the first argument that decides; with plain values the difference cannot be seen. */
static err_kind eval_command(run *r, const command *c, const template_value *dot, const template_value *piped, template_value *ret)
{
    template_value args[ARGS_MAX + 1];
    size_t n = 0;
    err_kind k;

    if (++r->steps > TEMPLATE_MAX_STEPS)
        return err_set(r->e, ERR_LIMIT, "template takes more than %d steps", TEMPLATE_MAX_STEPS);
    if (c->args[0].kind != OPERAND_FUNC)
        return eval_operand(r, &c->args[0], dot, ret);
    for (size_t i = 1; i < c->n; i++)
        if ((k = eval_operand(r, &c->args[i], dot, &args[n++])))
            return k;
    if (piped)
        args[n++] = *piped;
    return call(r, c->args[0].func, args, n, ret);
}

static err_kind eval_pipeline(run *r, const pipeline *pipe, const template_value *dot, template_value *ret)
{
    template_value v = { .type = TEMPLATE_NIL };
    err_kind k;
    for (const command *c = pipe->first; c; c = c->next) {
        template_value piped = v;
        if ((k = eval_command(r, c, dot, c == pipe->first ? NULL : &piped, &v)))
            return k;
    }
    if (pipe->var_count == 1)
        r->vars[pipe->vars[0]] = v;
    *ret = v;
    return OK;
}

static err_kind run_list(run *r, const template_node *n, const template_value *dot);

static err_kind run_item(run *r, const template_node *n, template_value index, template_value item)
{
    if (n->pipe->var_count == 1)
        r->vars[n->pipe->vars[0]] = item;
    if (n->pipe->var_count == 2) {
        r->vars[n->pipe->vars[0]] = index;
        r->vars[n->pipe->vars[1]] = item;
    }
    return run_list(r, n->body, &item);
}

static err_kind run_range(run *r, const template_node *n, const template_value *dot, const template_value *v)
{
    size_t len = v->type == TEMPLATE_LIST ? v->list.len : v->type == TEMPLATE_LABELS ? v->labels.len : 0;
    err_kind k = OK;
    if (v->type != TEMPLATE_LIST && v->type != TEMPLATE_LABELS && v->type != TEMPLATE_NIL)
        return err_set(r->e, ERR_EXEC, "range can't iterate over a single value");
    if (len == 0)
        return run_list(r, n->otherwise, dot);
    for (size_t i = 0; !k && i < len; i++) {
        template_value index = { .type = TEMPLATE_INT, .i = (int64_t)i }, item;
        if (v->type == TEMPLATE_LIST)
            item = (template_value){ .type = TEMPLATE_SAMPLE, .sample = &v->list.at[i] };
        else {
            index = (template_value){ .type = TEMPLATE_STR, .s = v->labels.at[i].name };
            item = (template_value){ .type = TEMPLATE_STR, .s = v->labels.at[i].value };
        }
        k = run_item(r, n, index, item);
    }
    return k;
}

static err_kind run_node(run *r, const template_node *n, const template_value *dot)
{
    template_value v;
    err_kind k;

    if (++r->steps > TEMPLATE_MAX_STEPS)
        return err_set(r->e, ERR_LIMIT, "template takes more than %d steps", TEMPLATE_MAX_STEPS);
    if (n->kind == NODE_TEXT)
        return buf_append(r->out, n->text), OK;
    if ((k = eval_pipeline(r, n->pipe, dot, &v)))
        return k;
    switch (n->kind) {
    case NODE_PRINT:
        if (!n->pipe->is_declaration)
            template_put(&v, r->out);
        return OK;
    case NODE_IF:
        return run_list(r, template_truth(&v) ? n->body : n->otherwise, dot);
    case NODE_WITH:
        return template_truth(&v) ? run_list(r, n->body, &v) : run_list(r, n->otherwise, dot);
    default:
        return run_range(r, n, dot, &v);
    }
}

static err_kind run_list(run *r, const template_node *n, const template_value *dot)
{
    err_kind k = OK;
    for (; !k && n; n = n->next)
        k = run_node(r, n, dot);
    return k;
}

err_kind template_run(const template_node *t, const template_data *data, buf *out, err *e)
{
    err scratch;
    AUTO(arena_done) arena a = ARENA_INIT(RUN_ARENA_MAX);
    template_value root = { .type = TEMPLATE_ROOT };
    run r = { .data = data, .arena = &a, .out = out, .e = e ? e : &scratch };

    r.vars[VAR_ROOT] = root;
    r.vars[VAR_LABELS] = (template_value){ .type = TEMPLATE_LABELS, .labels = data->labels };
    r.vars[VAR_EXTERNAL_LABELS] = (template_value){ .type = TEMPLATE_LABELS, .labels = data->external_labels };
    r.vars[VAR_EXTERNAL_URL] = (template_value){ .type = TEMPLATE_STR, .s = data->external_url };
    r.vars[VAR_VALUE] = (template_value){ .type = TEMPLATE_FLOAT, .f = data->value };
    err_kind k = run_list(&r, t, &root);
    if (!k && buf_failed(out))
        return out->failed == ERR_NOMEM ? err_nomem(e) : err_set(e, ERR_LIMIT, "template writes more than %zu bytes", out->max);
    return k;
}

err_kind template_expand(str text, const template_data *data, buf *out, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(16u << 20);
    const template_node *t;
    err_kind k = template_parse(text, &a, &t, e);
    return k ? k : template_run(t, data, out, e);
}
