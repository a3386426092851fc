/* alert/template.c - lexing and parsing Go templates. Walking them is template_run.c, the functions are template_func.c. */
#include "alert/template.h"

#include <stdarg.h>
#include <stdio.h>

#include "alert/template_tree.h"

/* ---- lexing ---- */

typedef struct parser {
    str src;
    size_t pos;
    size_t action_end;        /* inside {{ … }}: where the closing }} (or " -}}") stands */
    arena *arena;
    err *e;
    int depth;
    bool trim_next;           /* the action just read ended with -}} */
    struct { str name; } vars[VARS_MAX];
    size_t var_count;
} parser;

static err_kind fail_at(parser *p, size_t at, const char *fmt, ...) PRINTF_LIKE(3, 4);
static err_kind fail_at(parser *p, size_t at, const char *fmt, ...)
{
    char text[300];
    uint32_t line = 1, column = 1;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (size_t i = 0; i < at && i < p->src.len; i++, column++)
        if (p->src.ptr[i] == '\n')
            line++, column = 0;
    err_set(p->e, ERR_PARSE, "%s", text);
    return err_at(p->e, line, column);
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
static bool is_word(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static char peek(const parser *p) { return p->pos < p->action_end ? p->src.ptr[p->pos] : '\0'; }
static void skip_space(parser *p)
{
    while (p->pos < p->action_end && is_space(p->src.ptr[p->pos]))
        p->pos++;
}

/* The word at the cursor without taking it. */
static str peek_word(parser *p)
{
    size_t end = p->pos;
    skip_space(p);
    for (end = p->pos; end < p->action_end && is_word(p->src.ptr[end]);)
        end++;
    return str_sub(p->src, p->pos, end - p->pos);
}

static bool take_word(parser *p, const char *word)
{
    if (!str_is(peek_word(p), word))
        return false;
    p->pos += strlen(word);
    return true;
}

static bool take_mark(parser *p, const char *mark)
{
    skip_space(p);
    str rest = str_sub(p->src, p->pos, p->action_end - p->pos);
    if (!str_starts(rest, str_from(mark)))
        return false;
    p->pos += strlen(mark);
    return true;
}

/* Where does the action that starts at `pos` end? Strings may hold "}}". */
static bool find_action_end(parser *p, size_t pos, size_t *ret)
{
    for (size_t i = pos; i + 1 < p->src.len; i++) {
        char c = p->src.ptr[i];
        if (c == '}' && p->src.ptr[i + 1] == '}')
            return *ret = i, true;
        if (c != '"' && c != '`' && c != '\'')
            continue;
        for (i++; i < p->src.len && p->src.ptr[i] != c; i++)
            if (p->src.ptr[i] == '\\' && c != '`')
                i++;
    }
    return false;
}

/* ---- literals ---- */

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80)
        return out[0] = (char)c, 1;
    if (c < 0x800)
        return out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 63)), 2;
    if (c < 0x10000)
        return out[0] = (char)(0xe0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 63)), out[2] = (char)(0x80 | (c & 63)), 3;
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

static bool parse_hex(str digits, uint32_t *ret)
{
    uint32_t v = 0;
    for (size_t i = 0; i < digits.len; i++) {
        char c = digits.ptr[i];
        int d = is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (d < 0)
            return false;
        v = v * 16 + (uint32_t)d;
    }
    return *ret = v, digits.len > 0;
}

/* One escape behind the backslash at p->pos; appends to out, which has room for what the source takes. */
static err_kind parse_escape(parser *p, char *out, size_t *len)
{
    static const char from[] = "abfnrtv\\\"'", to[] = "\a\b\f\n\r\t\v\\\"'";
    size_t at = p->pos;
    char c = peek(p);
    const char *simple = c ? strchr(from, c) : NULL;
    uint32_t code;

    p->pos++;
    if (simple)
        return out[(*len)++] = to[simple - from], OK;
    size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (!digits || p->pos + digits > p->action_end || !parse_hex(str_sub(p->src, p->pos, digits), &code) || code > 0x10ffff)
        return fail_at(p, at, "unknown escape sequence in string");
    p->pos += digits;
    if (c == 'x')
        out[(*len)++] = (char)code;
    else
        *len += put_utf8(out + *len, code);
    return OK;
}

static err_kind parse_string(parser *p, str *ret)
{
    size_t start = p->pos, len = 0;
    char quote = p->src.ptr[p->pos++];
    char *out = arena_alloc(p->arena, p->action_end - start + 4);
    if (!out)
        return err_nomem(p->e);
    for (;;) {
        char c = peek(p);
        if (p->pos >= p->action_end)
            return fail_at(p, start, "unterminated string");
        p->pos++;
        if (c == quote)
            break;
        if (c == '\\' && quote != '`') {
            if (parse_escape(p, out, &len))
                return ERR_PARSE;
        } else
            out[len++] = c;
    }
    *ret = str_of(out, len);
    return OK;
}

static err_kind parse_number(parser *p, template_value *ret)
{
    size_t start = p->pos;
    while (p->pos < p->action_end && (is_word(peek(p)) || peek(p) == '.' || ((peek(p) == '+' || peek(p) == '-') &&
           (p->pos == start || p->src.ptr[p->pos - 1] == 'e' || p->src.ptr[p->pos - 1] == 'E'))))
        p->pos++;
    str text = str_sub(p->src, start, p->pos - start);
    if (str_to_i64(text, &ret->i))
        return ret->type = TEMPLATE_INT, OK;
    if (str_to_double(text, &ret->f))
        return ret->type = TEMPLATE_FLOAT, OK;
    return fail_at(p, start, "bad number \"%" STR_FMT "\"", STR_ARG(text));
}

/* ---- parsing one action ---- */

static err_kind parse_pipeline(parser *p, pipeline **ret);

static err_kind parse_fields(parser *p, operand *o)
{
    while (peek(p) == '.' && p->pos + 1 < p->action_end && is_word(p->src.ptr[p->pos + 1])) {
        size_t at = ++p->pos;
        while (p->pos < p->action_end && is_word(peek(p)))
            p->pos++;
        if (o->field_count == COUNT_OF(o->fields))
            return fail_at(p, at, "more than %zu fields in a row", COUNT_OF(o->fields));
        o->fields[o->field_count++] = str_sub(p->src, at, p->pos - at);
    }
    return OK;
}

static int find_var(const parser *p, str name)
{
    for (size_t i = p->var_count; i-- > 0;)
        if (str_eq(p->vars[i].name, name))
            return (int)i;
    return -1;
}

static str take_var_name(parser *p)
{
    size_t at = p->pos++;
    while (p->pos < p->action_end && is_word(peek(p)))
        p->pos++;
    return str_sub(p->src, at, p->pos - at);
}

static err_kind parse_var(parser *p, operand *o)
{
    size_t at = p->pos;
    str name = take_var_name(p);
    o->kind = OPERAND_VAR;
    o->var = find_var(p, name);
    if (o->var < 0)
        return fail_at(p, at, "undefined variable \"%" STR_FMT "\"", STR_ARG(name));
    return parse_fields(p, o);
}

static err_kind parse_name(parser *p, operand *o)
{
    static const char *const not_built[] = { "define", "template", "block", "break", "continue", "slice", "call", "js",
                                             "toTime", "toDuration", "graphLink", "tableLink", "parseDurationTime", "tmpl", "args" };
    size_t at = p->pos;
    str word = peek_word(p);
    p->pos += word.len;
    o->value = (template_value){ .type = TEMPLATE_BOOL, .b = str_is(word, "true") };
    if (str_is(word, "true") || str_is(word, "false"))
        return o->kind = OPERAND_VALUE, OK;
    o->value = (template_value){ .type = TEMPLATE_NIL };
    if (str_is(word, "nil"))
        return o->kind = OPERAND_VALUE, OK;
    o->kind = OPERAND_FUNC;
    o->func = template_func_find(word);
    if (o->func)
        return OK;
    for (size_t i = 0; i < COUNT_OF(not_built); i++)
        if (str_is(word, not_built[i]))
            return fail_at(p, at, "\"%s\" is not built into galen's templates yet", not_built[i]);
    return fail_at(p, at, "function \"%" STR_FMT "\" not defined", STR_ARG(word));
}

static err_kind parse_operand(parser *p, operand *o)
{
    char c = peek(p), after = p->pos + 1 < p->action_end ? p->src.ptr[p->pos + 1] : '\0';
    err_kind k = OK;

    *o = (operand){ .kind = OPERAND_VALUE, .at = (uint32_t)p->pos };
    if (c == '"' || c == '`') {
        o->value.type = TEMPLATE_STR;
        return parse_string(p, &o->value.s);
    }
    if (c == '\'') {
        str s;
        if ((k = parse_string(p, &s)))
            return k;
        o->value = (template_value){ .type = TEMPLATE_INT, .i = s.len == 1 ? (unsigned char)s.ptr[0] : 0 };
        return s.len == 1 ? OK : fail_at(p, o->at, "only plain one-byte character constants are built");
    }
    if (is_digit(c) || ((c == '-' || c == '+' || c == '.') && is_digit(after)))
        return parse_number(p, &o->value);
    if (c == '.') {
        o->kind = OPERAND_DOT;
        if (is_word(after))
            return parse_fields(p, o);
        p->pos++;
        return OK;
    }
    if (c == '$')
        return parse_var(p, o);
    if (c == '(') {
        p->pos++;
        o->kind = OPERAND_PIPE;
        if ((k = parse_pipeline(p, &o->pipe)))
            return k;
        if (!take_mark(p, ")"))
            return fail_at(p, o->at, "unclosed left parenthesis");
        return parse_fields(p, o);
    }
    if (is_word(c))
        return parse_name(p, o);
    return fail_at(p, p->pos, "unexpected \"%c\" in a template action", c);
}

static bool command_ends(parser *p)
{
    skip_space(p);
    char c = peek(p);
    return p->pos >= p->action_end || c == '|' || c == ')';
}

static err_kind parse_command(parser *p, bool piped, command **ret)
{
    operand args[ARGS_MAX];
    size_t n = 0, start = p->pos;
    err_kind k;

    while (!command_ends(p)) {
        if (n == ARGS_MAX)
            return fail_at(p, p->pos, "more than %d arguments", ARGS_MAX);
        if ((k = parse_operand(p, &args[n++])))
            return k;
        char c = peek(p);
        if (p->pos < p->action_end && !is_space(c) && c != '|' && c != ')')
            return fail_at(p, p->pos, "unexpected \"%c\" in a template action", c);
    }
    if (n == 0)
        return fail_at(p, start, "missing value for a command");
    if (args[0].kind != OPERAND_FUNC && (n > 1 || piped))
        return fail_at(p, args[0].at, "can't give arguments to what is not a function");
    for (size_t i = 1; i < n; i++)
        if (args[i].kind == OPERAND_FUNC && args[i].func->min > 0)
            return fail_at(p, args[i].at, "wrong number of args for %s: want %d got 0", args[i].func->name, args[i].func->min);
    if (args[0].kind == OPERAND_FUNC) {
        int got = (int)n - 1 + piped;
        const template_func *f = args[0].func;
        if (got < f->min || (f->max >= 0 && got > f->max))
            return fail_at(p, args[0].at, "wrong number of args for %s: want %d got %d", f->name, got < f->min ? f->min : f->max, got);
    }
    command *cmd = arena_new(p->arena, command);
    operand *copy = arena_dup(p->arena, args, n * sizeof *args);
    if (!cmd || !copy)
        return err_nomem(p->e);
    *cmd = (command){ copy, n, NULL };
    *ret = cmd;
    return OK;
}

static err_kind declare(parser *p, pipeline *pipe, str name, bool fresh, size_t at)
{
    int slot = fresh ? (int)p->var_count : find_var(p, name);
    if (slot < 0)
        return fail_at(p, at, "undefined variable \"%" STR_FMT "\"", STR_ARG(name));
    if (fresh && p->var_count == VARS_MAX)
        return fail_at(p, at, "more than %d variables", VARS_MAX);
    if (fresh)
        p->vars[p->var_count++].name = name;
    pipe->vars[pipe->var_count++] = slot;
    pipe->is_declaration = true;
    return OK;
}

/* "$x :=", "$i, $v :=", "$x =" in front of a pipeline. Without one of the marks the cursor is put back. */
static err_kind parse_declaration(parser *p, pipeline *pipe)
{
    size_t start = p->pos;
    str names[2];
    size_t n = 0;

    do {
        skip_space(p);
        if (peek(p) != '$' || n == 2)
            return p->pos = start, OK;
        names[n++] = take_var_name(p);
    } while (take_mark(p, ","));
    bool fresh = take_mark(p, ":=");
    if (!fresh && !take_mark(p, "="))
        return p->pos = start, OK;
    for (size_t i = 0; i < n; i++)
        if (declare(p, pipe, names[i], fresh, start))
            return ERR_PARSE;
    return OK;
}

static err_kind parse_pipeline(parser *p, pipeline **ret)
{
    err_kind k;
    if (++p->depth > TEMPLATE_MAX_DEPTH)
        return fail_at(p, p->pos, "template nested deeper than %d", TEMPLATE_MAX_DEPTH);
    pipeline *pipe = arena_new(p->arena, pipeline);
    if (!pipe)
        return err_nomem(p->e);
    if ((k = parse_declaration(p, pipe)))
        return k;
    command **tail = &pipe->first;
    do {
        if ((k = parse_command(p, tail != &pipe->first, tail)))
            return k;
        tail = &(*tail)->next;
    } while (take_mark(p, "|"));
    p->depth--;
    *ret = pipe;
    return OK;
}

/* ---- parsing the text around actions ---- */

typedef enum stop_word { STOP_EOF, STOP_END, STOP_ELSE } stop_word;
static err_kind parse_list(parser *p, template_node **ret, stop_word *ret_stop, size_t opened_at);

static template_node *node_new(parser *p, node_kind kind)
{
    template_node *n = arena_new(p->arena, template_node);
    if (n)
        n->kind = kind;
    return n;
}

static err_kind end_of_action(parser *p)
{
    skip_space(p);
    if (p->pos < p->action_end)
        return fail_at(p, p->pos, "unexpected \"%c\" in a template action", peek(p));
    p->trim_next = p->src.ptr[p->action_end] != '}'; /* then open_action stopped in front of " -}}" */
    p->pos = p->action_end + (p->trim_next ? 4 : 2);
    return OK;
}

/* Two variables at once are for range alone. */
static err_kind one_variable(parser *p, const template_node *n, size_t at)
{
    return n->kind == NODE_RANGE || n->pipe->var_count < 2 ? OK : fail_at(p, at, "too many declarations: only range takes two variables");
}

/* if, range, with: condition, body, else, end. The cursor is behind the keyword. */
static err_kind parse_control(parser *p, template_node *n, size_t opened_at)
{
    size_t outer_vars = p->var_count;
    stop_word stop;
    err_kind k;

    if (++p->depth > TEMPLATE_MAX_DEPTH)
        return fail_at(p, p->pos, "template nested deeper than %d", TEMPLATE_MAX_DEPTH);
    if ((k = parse_pipeline(p, &n->pipe)) || (k = one_variable(p, n, opened_at)) || (k = end_of_action(p)) || (k = parse_list(p, &n->body, &stop, opened_at)))
        return k;
    if (stop == STOP_ELSE) {
        size_t at = p->pos;
        bool is_if = n->kind == NODE_IF && take_word(p, "if"), is_with = n->kind == NODE_WITH && !is_if && take_word(p, "with");
        if (is_if || is_with) { /* else if X … end  =  else {{if X}} … {{end}} with one end for both */
            n->otherwise = node_new(p, n->kind);
            k = n->otherwise ? parse_control(p, n->otherwise, at) : err_nomem(p->e);
        } else if (!(k = end_of_action(p)) && !(k = parse_list(p, &n->otherwise, &stop, opened_at))) {
            if (stop != STOP_END)
                return fail_at(p, at, "expected end; found {{else}}");
            k = end_of_action(p);
        }
    } else
        k = end_of_action(p);
    p->var_count = outer_vars;
    p->depth--;
    return k;
}

static err_kind parse_action(parser *p, template_node **ret, stop_word *ret_stop)
{
    static const struct { const char *word; node_kind kind; } controls[] = {
        { "if", NODE_IF }, { "range", NODE_RANGE }, { "with", NODE_WITH } };
    size_t at = p->pos;
    template_node *n;
    err_kind k;

    *ret_stop = STOP_EOF;
    if (take_word(p, "end"))
        return *ret_stop = STOP_END, OK;
    if (take_word(p, "else"))
        return *ret_stop = STOP_ELSE, OK;
    if (!(n = node_new(p, NODE_PRINT)))
        return err_nomem(p->e);
    *ret = n;
    for (size_t i = 0; i < COUNT_OF(controls); i++)
        if (take_word(p, controls[i].word)) {
            n->kind = controls[i].kind;
            return parse_control(p, n, at);
        }
    if ((k = parse_pipeline(p, &n->pipe)) || (k = one_variable(p, n, at)))
        return k;
    return end_of_action(p);
}

/* Enter the action behind "{{": *ret_comment if it is one (then it has been skipped). */
static err_kind open_action(parser *p, bool *ret_comment)
{
    size_t at = p->pos - 2;
    bool trim = p->pos + 1 < p->src.len && p->src.ptr[p->pos] == '-' && is_space(p->src.ptr[p->pos + 1]);
    p->pos += trim;
    size_t body = p->pos;
    while (body < p->src.len && is_space(p->src.ptr[body]))
        body++;
    *ret_comment = str_starts(str_skip(p->src, body), STR("/*"));
    if (*ret_comment) {
        ptrdiff_t close = str_find(str_skip(p->src, body), STR("*/"));
        if (close < 0)
            return fail_at(p, at, "unclosed comment");
        str rest = str_skip(p->src, body + (size_t)close + 2);
        p->trim_next = str_starts(rest, STR(" -}}"));
        if (!p->trim_next && !str_starts(rest, STR("}}")))
            return fail_at(p, at, "comment ends before closing delimiter");
        p->pos = body + (size_t)close + 2 + (p->trim_next ? 4 : 2);
        return OK;
    }
    if (!find_action_end(p, p->pos, &p->action_end))
        return fail_at(p, at, "unclosed action");
    if (p->action_end >= p->pos + 2 && p->src.ptr[p->action_end - 1] == '-' && is_space(p->src.ptr[p->action_end - 2]))
        p->action_end -= 2;
    return OK;
}

static err_kind parse_list(parser *p, template_node **ret, stop_word *ret_stop, size_t opened_at)
{
    template_node **tail = ret;
    bool comment;
    err_kind k;

    *ret = NULL;
    for (;;) {
        str rest = str_skip(p->src, p->pos);
        ptrdiff_t open = str_find(rest, STR("{{"));
        str text = open < 0 ? rest : str_sub(rest, 0, (size_t)open);
        p->pos += text.len;
        for (; p->trim_next && text.len && is_space(text.ptr[0]);)
            text = str_skip(text, 1);
        p->trim_next = false;
        if (open >= 0 && str_starts(str_skip(p->src, p->pos), STR("{{-")) && p->pos + 3 < p->src.len && is_space(p->src.ptr[p->pos + 3]))
            while (text.len && is_space(text.ptr[text.len - 1]))
                text.len--;
        if (text.len) {
            if (!(*tail = node_new(p, NODE_TEXT)))
                return err_nomem(p->e);
            (*tail)->text = text;
            tail = &(*tail)->next;
        }
        if (open < 0) {
            *ret_stop = STOP_EOF;
            return p->depth == 0 ? OK : fail_at(p, opened_at, "unexpected end of the template: an {{end}} is missing");
        }
        p->pos += 2;
        if ((k = open_action(p, &comment)))
            return k;
        if (comment)
            continue;
        size_t at = p->pos;
        if ((k = parse_action(p, tail, ret_stop)))
            return k;
        if (*ret_stop != STOP_EOF)
            return p->depth > 0 ? OK : fail_at(p, at, "unexpected {{%s}}", *ret_stop == STOP_END ? "end" : "else");
        tail = &(*tail)->next;
    }
}

static const char *const prelude[VAR_PRELUDE_COUNT] = { "$", "$labels", "$externalLabels", "$externalURL", "$value" };

err_kind template_parse(str text, arena *a, const template_node **ret, err *e)
{
    err scratch;
    parser p = { .arena = a, .e = e ? e : &scratch };
    template_node *list;
    stop_word stop;
    err_kind k;

    if (text.len > TEMPLATE_MAX_BYTES)
        return err_set(e, ERR_LIMIT, "template is longer than %u bytes", TEMPLATE_MAX_BYTES);
    p.src = arena_str(a, text);
    if (!p.src.ptr)
        return err_nomem(e);
    for (size_t i = 0; i < COUNT_OF(prelude); i++)
        p.vars[p.var_count++].name = str_from(prelude[i]);
    if ((k = parse_list(&p, &list, &stop, 0)))
        return k;
    *ret = list;
    return OK;
}
