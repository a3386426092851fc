/* label_replace and label_join: the same numbers under other labels. */
#include "base/regex.h"
#include "query/functions/functions.h"

#define LABEL_TEXT_MAX LABEL_MAX_BYTES

CHECKED static err_kind string_args(eval *ev, const ast *call, str *out)
{
    for (size_t i = 1; i < call->call.count; i++)
        if (eval_string(ev, call->call.args[i], &out[i]))
            return ev->e->kind;
    return OK;
}

static bool label_name_fine(str s)
{
    return s.len > 0 && str_utf8_valid(s);
}

CHECKED static err_kind replace_one(eval *ev, const regex *re, str text, str into, str source_text, labels l, labels *ret)
{
    str groups[REGEX_MAX_GROUPS] = { 0 };
    size_t n = MIN(regex_group_count(re) + 1, (size_t)REGEX_MAX_GROUPS);
    AUTO(buf_done) buf out = BUF_INIT(LABEL_TEXT_MAX);
    if (!regex_groups(re, source_text, groups, n)) {
        *ret = l;
        return OK;
    }
    err_kind k = regex_expand(re, text, groups, n, &out);
    if (k)
        return k == ERR_LIMIT ? eval_fail(ev, "label value made by label_replace() is longer than %d bytes", LABEL_TEXT_MAX) : err_nomem(ev->e);
    str made = arena_str(ev->arena, buf_str(&out));
    if (!made.ptr)
        return err_nomem(ev->e);
    return labels_with(ev, l, into, made, ret);
}

/* label_replace(v, into, text, from, pattern) */
err_kind call_label_replace(eval *ev, const ast *call, const grid *g, value *ret)
{
    str args[5];
    const regex *re;
    err e = { 0 };
    if (string_args(ev, call, args))
        return ev->e->kind;
    if (eval_regex(ev, args[4], &re, &e))
        return e.kind == ERR_NOMEM ? err_nomem(ev->e)
             : eval_fail(ev, "invalid regular expression in label_replace(): %" STR_FMT, STR_ARG(args[4]));
    if (!label_name_fine(args[1]))
        return eval_fail(ev, "invalid destination label name in label_replace(): %" STR_FMT, STR_ARG(args[1]));
    if (eval_node(ev, call->call.args[0], g, ret))
        return ev->e->kind;
    for (size_t i = 0; i < ret->len; i++) {
        labels *l = &ret->at[i].labels, before = *l;
        if (replace_one(ev, re, args[2], args[1], labels_get(*l, args[3]), *l, l))
            return ev->e->kind;
        if (l->at != before.at && str_eq(args[1], METRIC_NAME))
            ret->at[i].drop_name = false; /* a name given on purpose stays */
    }
    return value_join(ret, true);
}

CHECKED static err_kind join_one(eval *ev, const str *from, size_t n, str between, str into, labels l, labels *ret)
{
    AUTO(buf_done) buf out = BUF_INIT(LABEL_TEXT_MAX);
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_append(&out, between);
        buf_append(&out, labels_get(l, from[i]));
    }
    if (buf_failed(&out))
        return out.failed == ERR_LIMIT ? eval_fail(ev, "label value made by label_join() is longer than %d bytes", LABEL_TEXT_MAX) : err_nomem(ev->e);
    str made = arena_str(ev->arena, buf_str(&out));
    if (!made.ptr)
        return err_nomem(ev->e);
    return labels_with(ev, l, into, made, ret);
}

/* label_join(v, into, between, from…) */
err_kind call_label_join(eval *ev, const ast *call, const grid *g, value *ret)
{
    str args[PROMQL_MAX_ARGS];
    if (string_args(ev, call, args))
        return ev->e->kind;
    for (size_t i = 3; i < call->call.count; i++)
        if (!label_name_fine(args[i]))
            return eval_fail(ev, "invalid source label name in label_join(): %" STR_FMT, STR_ARG(args[i]));
    if (!label_name_fine(args[1]))
        return eval_fail(ev, "invalid destination label name in label_join(): %" STR_FMT, STR_ARG(args[1]));
    if (eval_node(ev, call->call.args[0], g, ret))
        return ev->e->kind;
    for (size_t i = 0; i < ret->len; i++) {
        labels *l = &ret->at[i].labels;
        if (join_one(ev, args + 3, call->call.count - 3, args[2], args[1], *l, l))
            return ev->e->kind;
        if (str_eq(args[1], METRIC_NAME))
            ret->at[i].drop_name = false;
    }
    return value_join(ret, true);
}
