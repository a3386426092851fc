/* alert/template_func.c - the functions of templates: one row each, printing what Prometheus prints.
 *
 * Sources: Go's text/template/funcs.go and Prometheus's template/template.go. The humanize family and printf have files of
 * their own. */
#include "alert/template_call.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/regex.h"

/* ---- printing ---- */

/* Fewest digits that read back the same, with an exponent of at least two digits: Go's 'e' form. */
static void put_exponent(double v, buf *out)
{
    char text[40];
    for (int digits = 0; digits < 18; digits++) {
        snprintf(text, sizeof text, "%.*e", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    buf_append(out, str_from(text));
}

void template_put_float(double v, buf *out)
{
    double size = fabs(v);
    if (size != 0 && isfinite(v) && (size < 1e-4 || size >= 1e6))
        put_exponent(v, out);
    else
        buf_append_double(out, v);
}

static void put_labels(labels l, buf *out)
{
    buf_append(out, STR("map["));
    for (size_t i = 0; i < l.len; i++)
        buf_printf(out, "%s%" STR_FMT ":%" STR_FMT, i ? " " : "", STR_ARG(l.at[i].name), STR_ARG(l.at[i].value));
    buf_append_char(out, ']');
}

static void put_sample(const template_sample *s, buf *out)
{
    buf_append(out, STR("{"));
    put_labels(s->labels, out);
    buf_append_char(out, ' ');
    template_put_float(s->value, out);
    buf_append_char(out, '}');
}

void template_put(const template_value *v, buf *out)
{
    switch (v->type) {
    case TEMPLATE_NIL: buf_append(out, STR("<no value>")); break;
    case TEMPLATE_BOOL: buf_append(out, v->b ? STR("true") : STR("false")); break;
    case TEMPLATE_INT: buf_append_i64(out, v->i); break;
    case TEMPLATE_FLOAT: template_put_float(v->f, out); break;
    case TEMPLATE_STR: buf_append(out, v->s); break;
    case TEMPLATE_LABELS: put_labels(v->labels, out); break;
    case TEMPLATE_SAMPLE: put_sample(v->sample, out); break;
    case TEMPLATE_LIST:
        buf_append_char(out, '[');
        for (size_t i = 0; i < v->list.len; i++) {
            buf_append(out, i ? STR(" ") : STR(""));
            put_sample(&v->list.at[i], out);
        }
        buf_append_char(out, ']');
        break;
    case TEMPLATE_ROOT: buf_append(out, STR("{}")); break;
    }
}

bool template_truth(const template_value *v)
{
    switch (v->type) {
    case TEMPLATE_BOOL: return v->b;
    case TEMPLATE_INT: return v->i != 0;
    case TEMPLATE_FLOAT: return v->f != 0;
    case TEMPLATE_STR: return v->s.len > 0;
    case TEMPLATE_LABELS: return v->labels.len > 0;
    case TEMPLATE_LIST: return v->list.len > 0;
    default: return v->type != TEMPLATE_NIL;
    }
}

/* ---- text ---- */

static char upper(char ch) { return ch >= 'a' && ch <= 'z' ? (char)(ch - 32) : ch; }
static char lower(char ch) { return ch >= 'A' && ch <= 'Z' ? (char)(ch + 32) : ch; }

/* ASCII only: label values are, and the locale's tables are nobody's friend. */
static err_kind map_chars(const template_call *c, template_value *ret, char (*change)(char ch), bool first_of_word_only)
{
    str s;
    if (template_need_str(c, 0, &s))
        return ERR_EXEC;
    char *out = arena_dup(c->arena, s.len ? s.ptr : "", s.len + (s.len == 0));
    if (!out)
        return err_set(c->e, ERR_LIMIT, "template takes too much memory");
    for (size_t i = 0; i < s.len; i++)
        if (!first_of_word_only || i == 0 || s.ptr[i - 1] == ' ' || s.ptr[i - 1] == '\t' || s.ptr[i - 1] == '\n')
            out[i] = change(out[i]);
    return template_give_str(ret, str_of(out, s.len));
}
static err_kind to_upper(const template_call *c, template_value *ret) { return map_chars(c, ret, upper, false); }
static err_kind to_lower(const template_call *c, template_value *ret) { return map_chars(c, ret, lower, false); }
static err_kind title(const template_call *c, template_value *ret) { return map_chars(c, ret, upper, true); }

static err_kind strip_port(const template_call *c, template_value *ret)
{
    str s;
    if (template_need_str(c, 0, &s))
        return ERR_EXEC;
    if (s.len && s.ptr[0] == '[') { /* [::1]:80 */
        ptrdiff_t close = str_find_char(s, ']');
        return template_give_str(ret, close > 0 ? str_sub(s, 1, (size_t)close - 1) : s);
    }
    ptrdiff_t colon = str_find_char(s, ':');
    bool one = colon >= 0 && str_find_char(str_skip(s, (size_t)colon + 1), ':') < 0;
    return template_give_str(ret, one ? str_sub(s, 0, (size_t)colon) : s);
}

static err_kind strip_domain(const template_call *c, template_value *ret)
{
    str s;
    bool is_ip = true;
    if (template_need_str(c, 0, &s))
        return ERR_EXEC;
    ptrdiff_t colon = str_find_char(s, ':'), dot = str_find_char(s, '.');
    str host = colon < 0 ? s : str_sub(s, 0, (size_t)colon), port = colon < 0 ? STR_EMPTY : str_skip(s, (size_t)colon);
    for (size_t i = 0; i < host.len; i++)
        is_ip &= host.ptr[i] == '.' || (host.ptr[i] >= '0' && host.ptr[i] <= '9');
    if (is_ip || dot < 0)
        return template_give_str(ret, s);
    return template_give_printf(c, ret, "%" STR_FMT "%" STR_FMT, STR_ARG(str_sub(host, 0, (size_t)dot)), STR_ARG(port));
}

static err_kind compile(const template_call *c, str pattern, regex **ret)
{
    err_kind k = regex_compile(pattern, false, ret, c->e);
    if (k && k != ERR_NOMEM && c->e)
        c->e->kind = ERR_EXEC;
    return k == ERR_NOMEM ? k : k ? ERR_EXEC : OK;
}

static err_kind match(const template_call *c, template_value *ret)
{
    AUTO(regex_freep) regex *re = NULL;
    str pattern, text;
    if (template_need_str(c, 0, &pattern) || template_need_str(c, 1, &text))
        return ERR_EXEC;
    err_kind k = compile(c, pattern, &re);
    return k ? k : template_give_bool(ret, regex_match(re, text));
}

/* Each match in turn in what the one before left over. A pattern that looks behind itself (^, \b) sees the start of the
 * rest as the start of the text; a leading ^ is therefore replaced once only, which is what it means. */
static err_kind re_replace_all(const template_call *c, template_value *ret)
{
    AUTO(regex_freep) regex *re = NULL;
    AUTO(buf_done) buf b = BUF_INIT(TEMPLATE_MAX_OUTPUT);
    str pattern, with, text, groups[REGEX_MAX_GROUPS];
    err_kind k;

    if (template_need_str(c, 0, &pattern) || template_need_str(c, 1, &with) || template_need_str(c, 2, &text))
        return ERR_EXEC;
    if ((k = compile(c, pattern, &re)))
        return k;
    size_t n = MIN(regex_group_count(re) + 1, (size_t)REGEX_MAX_GROUPS);
    bool once = str_starts(pattern, STR("^")), abuts = false; /* an empty match right behind a match does not count */
    text = text.ptr ? text : STR("");
    while (!buf_failed(&b) && regex_groups(re, text, groups, n)) {
        size_t before = (size_t)(groups[0].ptr - text.ptr), taken = before + groups[0].len;
        buf_append(&b, str_sub(text, 0, before));
        if (!(abuts && taken == 0) && (k = regex_expand(re, with, groups, n, &b)))
            return k == ERR_NOMEM ? err_nomem(c->e) : err_set(c->e, ERR_EXEC, "cannot expand \"%" STR_FMT "\"", STR_ARG(with));
        abuts = groups[0].len > 0;
        if (!abuts && taken == text.len) {
            text = STR_EMPTY;
            break;
        }
        if (!abuts) { /* step over one whole character */
            do
                buf_append_char(&b, text.ptr[taken++]);
            while (taken < text.len && ((unsigned char)text.ptr[taken] & 0xc0) == 0x80);
        }
        text = str_skip(text, taken);
        if (once)
            break;
    }
    buf_append(&b, text);
    return template_give_buf(c, ret, &b);
}

static err_kind url_query_escape(const template_call *c, template_value *ret)
{
    AUTO(buf_done) buf b = BUF_INIT(TEMPLATE_MAX_OUTPUT);
    AUTO(buf_done) buf text = BUF_INIT(TEMPLATE_MAX_OUTPUT);
    for (size_t i = 0; i < c->n; i++)
        template_put(&c->args[i], &text);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char ch = (unsigned char)text.ptr[i];
        bool plain = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch && strchr("-_.~", ch));
        if (plain || ch == ' ')
            buf_append_char(&b, ch == ' ' ? '+' : (char)ch);
        else
            buf_printf(&b, "%%%02X", ch);
    }
    template_pass_failure(&text, &b);
    return template_give_buf(c, ret, &b);
}

static err_kind html(const template_call *c, template_value *ret)
{
    static const struct { char from; const char *to; } rows[] = { { '<', "&lt;" }, { '>', "&gt;" }, { '&', "&amp;" }, { '"', "&#34;" }, { '\'', "&#39;" } };
    AUTO(buf_done) buf b = BUF_INIT(TEMPLATE_MAX_OUTPUT);
    AUTO(buf_done) buf text = BUF_INIT(TEMPLATE_MAX_OUTPUT);
    for (size_t i = 0; i < c->n; i++)
        template_put(&c->args[i], &text);
    for (size_t i = 0; i < text.len; i++) {
        const char *to = NULL;
        for (size_t k = 0; k < COUNT_OF(rows); k++)
            to = text.ptr[i] == rows[k].from ? rows[k].to : to;
        if (to)
            buf_append(&b, str_from(to));
        else
            buf_append_char(&b, text.ptr[i]);
    }
    template_pass_failure(&text, &b);
    return template_give_buf(c, ret, &b);
}

static err_kind same_text(const template_call *c, template_value *ret)
{
    str s;
    return template_need_str(c, 0, &s) ? ERR_EXEC : template_give_str(ret, s);
}

/* ---- numbers and time ---- */

static err_kind parse_duration(const template_call *c, template_value *ret)
{
    str s;
    int64_t ms;
    if (template_need_str(c, 0, &s))
        return ERR_EXEC;
    if (!clock_parse_duration(s, &ms))
        return err_set(c->e, ERR_EXEC, "\"%" STR_FMT "\" is not a duration", STR_ARG(s));
    return template_give_float(ret, (double)ms / 1000);
}

static err_kind now(const template_call *c, template_value *ret) { return template_give_float(ret, (double)c->data->now_ms / 1000); }
static err_kind external_url(const template_call *c, template_value *ret) { return template_give_str(ret, c->data->external_url); }

static err_kind path_prefix(const template_call *c, template_value *ret)
{
    str url = c->data->external_url;
    ptrdiff_t scheme = str_find(url, STR("://"));
    str rest = scheme < 0 ? url : str_skip(url, (size_t)scheme + 3);
    ptrdiff_t slash = str_find_char(rest, '/');
    return template_give_str(ret, slash < 0 ? STR_EMPTY : str_skip(rest, (size_t)slash));
}

/* ---- queries and their samples ---- */

static err_kind query(const template_call *c, template_value *ret)
{
    template_sample *found = NULL;
    size_t n = 0;
    str expr;
    if (template_need_str(c, 0, &expr))
        return ERR_EXEC;
    if (c->data->query) {
        err_kind k = c->data->query(c->data->query_ctx, expr, c->arena, &found, &n, c->e);
        if (k)
            return k;
    }
    *ret = (template_value){ .type = TEMPLATE_LIST, .list = { found, n } };
    return OK;
}

static err_kind first(const template_call *c, template_value *ret)
{
    const template_value *v = &c->args[0];
    if (v->type != TEMPLATE_LIST || v->list.len == 0)
        return err_set(c->e, ERR_EXEC, "first() called on vector with no elements");
    *ret = (template_value){ .type = TEMPLATE_SAMPLE, .sample = &v->list.at[0] };
    return OK;
}

static err_kind need_sample(const template_call *c, size_t i, const template_sample **ret)
{
    if (c->args[i].type != TEMPLATE_SAMPLE)
        return err_set(c->e, ERR_EXEC, "argument %zu is not a sample", i + 1);
    *ret = c->args[i].sample;
    return OK;
}

static err_kind label_of(const template_call *c, template_value *ret)
{
    const template_sample *s = NULL;
    str name;
    if (template_need_str(c, 0, &name) || need_sample(c, 1, &s))
        return ERR_EXEC;
    return template_give_str(ret, labels_get(s->labels, name));
}

static err_kind value_of(const template_call *c, template_value *ret)
{
    const template_sample *s = NULL;
    return need_sample(c, 0, &s) ? ERR_EXEC : template_give_float(ret, s->value);
}

static err_kind strvalue(const template_call *c, template_value *ret)
{
    const template_sample *s = NULL;
    return need_sample(c, 0, &s) ? ERR_EXEC : template_give_str(ret, labels_get(s->labels, STR("__value__")));
}

static err_kind sort_by_label(const template_call *c, template_value *ret)
{
    str name;
    if (template_need_str(c, 0, &name))
        return ERR_EXEC;
    if (c->args[1].type != TEMPLATE_LIST)
        return err_set(c->e, ERR_EXEC, "argument 2 is not a list of samples");
    size_t n = c->args[1].list.len;
    template_sample *sorted = arena_dup(c->arena, n ? c->args[1].list.at : &(template_sample){ 0 }, (n ? n : 1) * sizeof *sorted);
    if (!sorted)
        return err_set(c->e, ERR_LIMIT, "template takes too much memory");
    for (size_t i = 1; i < n; i++) { /* insertion keeps equal ones in order, and lists for people are short */
        template_sample s = sorted[i];
        size_t k = i;
        for (; k > 0 && str_cmp(labels_get(sorted[k - 1].labels, name), labels_get(s.labels, name)) > 0; k--)
            sorted[k] = sorted[k - 1];
        sorted[k] = s;
    }
    *ret = (template_value){ .type = TEMPLATE_LIST, .list = { sorted, n } };
    return OK;
}

/* ---- Go's own ---- */

static err_kind all(const template_call *c, template_value *ret)
{
    for (size_t i = 0; i < c->n; i++)
        if (!template_truth(&c->args[i]) || i + 1 == c->n)
            return *ret = c->args[i], OK;
    return OK;
}

static err_kind any(const template_call *c, template_value *ret)
{
    for (size_t i = 0; i < c->n; i++)
        if (template_truth(&c->args[i]) || i + 1 == c->n)
            return *ret = c->args[i], OK;
    return OK;
}

static err_kind negate(const template_call *c, template_value *ret) { return template_give_bool(ret, !template_truth(&c->args[0])); }

static bool is_number(const template_value *v) { return v->type == TEMPLATE_INT || v->type == TEMPLATE_FLOAT; }
static double as_number(const template_value *v) { return v->type == TEMPLATE_INT ? (double)v->i : v->f; }

/* -1, 0, 1; *ret_ordered false where only equality has a meaning (bools, NaN). */
static err_kind compare(const template_call *c, size_t i, int *ret, bool *ret_ordered)
{
    const template_value *a = &c->args[0], *b = &c->args[i];
    *ret_ordered = true;
    if (is_number(a) && is_number(b)) {
        double x = as_number(a), y = as_number(b);
        *ret_ordered = !isnan(x) && !isnan(y);
        *ret = x < y ? -1 : x > y ? 1 : !*ret_ordered;
        return OK;
    }
    if (a->type == TEMPLATE_STR && b->type == TEMPLATE_STR)
        return *ret = str_cmp(a->s, b->s), OK;
    if (a->type == TEMPLATE_BOOL && b->type == TEMPLATE_BOOL)
        return *ret = a->b != b->b, *ret_ordered = false, OK;
    return err_set(c->e, ERR_EXEC, "incompatible types for comparison");
}

static err_kind eq(const template_call *c, template_value *ret)
{
    int order = 0;
    bool has_order, found = false;
    for (size_t i = 1; i < c->n; i++) {
        if (compare(c, i, &order, &has_order))
            return ERR_EXEC;
        found |= order == 0;
    }
    return template_give_bool(ret, found);
}

static err_kind ne(const template_call *c, template_value *ret)
{
    if (eq(c, ret))
        return ERR_EXEC;
    ret->b = !ret->b;
    return OK;
}

static err_kind ordered(const template_call *c, template_value *ret, bool less, bool equal)
{
    int order = 0;
    bool has_order;
    if (compare(c, 1, &order, &has_order))
        return ERR_EXEC;
    if (!has_order && c->args[0].type == TEMPLATE_BOOL)
        return err_set(c->e, ERR_EXEC, "invalid type for comparison");
    return template_give_bool(ret, has_order && (order == 0 ? equal : (order < 0) == less));
}
static err_kind lt(const template_call *c, template_value *ret) { return ordered(c, ret, true, false); }
static err_kind le(const template_call *c, template_value *ret) { return ordered(c, ret, true, true); }
static err_kind gt(const template_call *c, template_value *ret) { return ordered(c, ret, false, false); }
static err_kind ge(const template_call *c, template_value *ret) { return ordered(c, ret, false, true); }

static err_kind len(const template_call *c, template_value *ret)
{
    const template_value *v = &c->args[0];
    if (v->type != TEMPLATE_STR && v->type != TEMPLATE_LIST && v->type != TEMPLATE_LABELS)
        return err_set(c->e, ERR_EXEC, "len of a single value");
    size_t n = v->type == TEMPLATE_STR ? v->s.len : v->type == TEMPLATE_LIST ? v->list.len : v->labels.len;
    *ret = (template_value){ .type = TEMPLATE_INT, .i = (int64_t)n };
    return OK;
}

static err_kind index_of(const template_call *c, template_value *ret)
{
    const template_value *v = &c->args[0], *at = &c->args[1];
    if (v->type == TEMPLATE_LABELS && at->type == TEMPLATE_STR)
        return template_give_str(ret, labels_get(v->labels, at->s));
    if (v->type != TEMPLATE_LIST || at->type != TEMPLATE_INT)
        return err_set(c->e, ERR_EXEC, "can't index this value");
    if (at->i < 0 || (size_t)at->i >= v->list.len)
        return err_set(c->e, ERR_EXEC, "index out of range: %" PRId64, at->i);
    *ret = (template_value){ .type = TEMPLATE_SAMPLE, .sample = &v->list.at[at->i] };
    return OK;
}

/* fmt.Sprint puts blanks between two operands that are no strings, Sprintln between all. */
static err_kind print(const template_call *c, template_value *ret, bool line)
{
    AUTO(buf_done) buf b = BUF_INIT(TEMPLATE_MAX_OUTPUT);
    for (size_t i = 0; i < c->n; i++) {
        if (i && (line || (c->args[i].type != TEMPLATE_STR && c->args[i - 1].type != TEMPLATE_STR)))
            buf_append_char(&b, ' ');
        template_put(&c->args[i], &b);
    }
    if (line)
        buf_append_char(&b, '\n');
    return template_give_buf(c, ret, &b);
}
static err_kind print_plain(const template_call *c, template_value *ret) { return print(c, ret, false); }
static err_kind print_line(const template_call *c, template_value *ret) { return print(c, ret, true); }

/* ---- the table ---- */

static const template_func funcs[] = {
    { "and", 1, -1, all, "the first empty argument, else the last" },
    { "or", 1, -1, any, "the first argument that is not empty, else the last" },
    { "not", 1, 1, negate, "true if the argument is empty" },
    { "eq", 2, -1, eq, "the first equals any of the others" },
    { "ne", 2, 2, ne, "not equal" },
    { "lt", 2, 2, lt, "less than" },
    { "le", 2, 2, le, "less than or equal" },
    { "gt", 2, 2, gt, "greater than" },
    { "ge", 2, 2, ge, "greater than or equal" },
    { "len", 1, 1, len, "how many bytes, labels or samples" },
    { "index", 2, 2, index_of, "a label by name, a sample by number" },
    { "print", 0, -1, print_plain, "the arguments as text" },
    { "println", 0, -1, print_line, "the arguments as a line" },
    { "printf", 1, -1, template_printf, "the arguments through a format" },
    { "html", 0, -1, html, "escaped for HTML" },
    { "urlquery", 0, -1, url_query_escape, "escaped for a URL's query" },
    { "urlQueryEscape", 1, 1, url_query_escape, "escaped for a URL's query" },
    { "query", 1, 1, query, "run PromQL now: a list of samples" },
    { "first", 1, 1, first, "the first sample of a list" },
    { "label", 2, 2, label_of, "a label of a sample" },
    { "value", 1, 1, value_of, "the value of a sample" },
    { "strvalue", 1, 1, strvalue, "the label __value__ of a sample" },
    { "sortByLabel", 2, 2, sort_by_label, "a list of samples sorted by a label" },
    { "humanize", 1, 1, template_humanize, "1234567 as 1.235M" },
    { "humanize1024", 1, 1, template_humanize1024, "1048576 as 1Mi" },
    { "humanizeDuration", 1, 1, template_humanize_duration, "3661 as 1h 1m 1s" },
    { "humanizePercentage", 1, 1, template_humanize_percentage, "0.05 as 5%" },
    { "humanizeTimestamp", 1, 1, template_humanize_timestamp, "Unix seconds as a date" },
    { "title", 1, 1, title, "first letters in upper case" },
    { "toUpper", 1, 1, to_upper, "upper case (ASCII)" },
    { "toLower", 1, 1, to_lower, "lower case (ASCII)" },
    { "stripPort", 1, 1, strip_port, "host:port without the port" },
    { "stripDomain", 1, 1, strip_domain, "host.domain:port without the domain" },
    { "match", 2, 2, match, "does the pattern match somewhere in the text" },
    { "reReplaceAll", 3, 3, re_replace_all, "pattern, replacement, text" },
    { "safeHtml", 1, 1, same_text, "the text as it is" },
    { "parseDuration", 1, 1, parse_duration, "1h30m as seconds" },
    { "now", 0, 0, now, "Unix seconds" },
    { "externalURL", 0, 0, external_url, "galen's own address" },
    { "pathPrefix", 0, 0, path_prefix, "the path of galen's own address" },
};

const template_func *template_func_find(str name)
{
    for (size_t i = 0; i < COUNT_OF(funcs); i++)
        if (str_is(name, funcs[i].name))
            return &funcs[i];
    return NULL;
}
