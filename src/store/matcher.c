#include "store/store.h"
#include "base/regex.h"

bool matcher_match(const matcher *m, str value)
{
    switch (m->op) {
    case MATCH_EQ:  return str_eq(m->value, value);
    case MATCH_NE:  return !str_eq(m->value, value);
    case MATCH_RE:  return regex_match(m->re, value);
    case MATCH_NRE: return !regex_match(m->re, value);
    }
    return false;
}
