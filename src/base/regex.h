/* base/regex.h - RE2 (linear time, the syntax Prometheus users write) behind base/cxx.cc.
 *
 * Thread-safe once compiled. \C, which Go does not know, is refused. */
#pragma once
#include "base/base.h"

#define REGEX_MAX_LEN 10000
#define REGEX_MAX_GROUPS 64

typedef struct regex regex;

/* `anchored`: the pattern must match the whole text (^(?s:pattern)$, as PromQL and relabelling do).
 * ERR_PARSE with RE2's reason, ERR_LIMIT if too long or too large. */
err_kind regex_compile(str pattern, bool anchored, regex **ret, err *e);
void regex_free(regex *r);
void regex_freep(regex **r);
bool regex_match(const regex *r, str text);
/* The only texts that an anchored pattern matches (`a|b|c`), sorted, borrowed; 0: it is no such list. And what all its
 * matches begin with, perhaps nothing: so that a reader of sorted values need not try them all. */
size_t regex_set(const regex *r, const str **ret);
str regex_prefix(const regex *r);
/* Groups 0..n-1 of the first match (ptr NULL = group took no part). False if there is no match. */
bool regex_groups(const regex *r, str text, str *ret_groups, size_t n);
size_t regex_group_count(const regex *r);                  /* without group 0 */
/* Offset of the named group's number, or -1. */
int regex_group_by_name(const regex *r, str name);
/* Append `template` with $1, ${1}, ${name}, $$ replaced (Go's Expand rules). */
err_kind regex_expand(const regex *r, str template_text, const str *groups, size_t n, buf *out);
