/* Any bytes as an expression: parsed or refused, and what was parsed prints as something that parses again. */
#include "base/fuzz.h"
#include "query/ast.h"

FUZZ(input)
{
    AUTO(arena_done) arena a = ARENA_INIT(16u << 20);
    AUTO(buf_done) buf text = BUF_INIT(4u << 20), again = BUF_INIT(4u << 20);
    ast *root = NULL, *second = NULL;
    err e = { 0 };
    promql_enable(PROMQL_EVERYTHING);
    if (promql_parse(input, &a, &root, &e))
        return;
    promql_format(root, &text);
    ast_format_pretty(root, &again);
    ast_write_json(root, &again);
    if (buf_failed(&text) || promql_parse(buf_str(&text), &a, &second, &e) == ERR_NOMEM)
        return;
    if (!second)
        __builtin_trap();
    buf_reset(&again);
    promql_format(second, &again);
    if (!buf_failed(&again) && !str_eq(buf_str(&text), buf_str(&again)))
        __builtin_trap();
}
