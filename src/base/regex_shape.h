/* base/regex_shape.h - what an anchored pattern says without being run. For regex.c, and those who look values up.
 *
 * Most patterns that people write into matchers are no more than lists and prefixes: `a|b|c`, `chat-(a|b)`, `node.*`,
 * `.+`. They are answered by comparing, and a list or a prefix finds its values in a sorted table without trying all.
 * As Prometheus does (model/labels/regexp.go); `.` here matches any byte, as there. */
#pragma once
#include "base/base.h"

#define REGEX_SET_MAX 256u /* texts of one list; a pattern that means more is run */

typedef struct regex_shape {
    str *set; size_t set_len;  /* the only texts that match, sorted, unique; set_len 0: no such list */
    str prefix;                /* what all matches begin with; may be empty */
    bool prefix_any;           /* prefix and then anything: `prefix.*` … */
    bool prefix_some;          /* … and then at least one: `prefix.+` */
    arena arena;
} regex_shape;

/* Never fails: without memory or understanding it says nothing. */
void regex_shape_of(str pattern, regex_shape *ret);
void regex_shape_done(regex_shape *s);
/* 1: matches, 0: does not, -1: the pattern has to be run. */
int regex_shape_match(const regex_shape *s, str text);
