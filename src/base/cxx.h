/* base/cxx.h - what cxx.cc gives to C: the only C++ of the house (docs/decisions/0002). Used by json.c,
 * regex.c and str.c only; everybody else uses those. No exception crosses this border. */
#pragma once
#include "base/json.h"

#ifdef __cplusplus
extern "C" {
#endif

size_t cxx_format_double(char *out, size_t cap, double v, bool scientific); /* shortest; 0 if it does not fit */
bool cxx_parse_double(const char *ptr, size_t len, double *ret);            /* all of the text, std::from_chars */

void *cxx_regex_new(const char *pattern, size_t len, char *ret_error, size_t error_cap, bool *ret_too_large);
void cxx_regex_free(void *re);
bool cxx_regex_match(const void *re, const char *text, size_t len, bool anchored, str *groups, size_t n);
size_t cxx_regex_groups(const void *re);
int cxx_regex_group_by_name(const void *re, const char *name, size_t len);

/* The parser copies `text`. *ret_tape and *ret_strings are the document's arrays (simdjson doc/tape.md). */
typedef enum cxx_json_error { CXX_JSON_OK, CXX_JSON_NOMEM, CXX_JSON_BAD } cxx_json_error;
void *cxx_json_new(const char *text, size_t len, size_t max_depth, cxx_json_error *ret, char *ret_error, size_t cap);
void cxx_json_free(void *doc);
const uint64_t *cxx_json_tape(const void *doc);
const uint8_t *cxx_json_strings(const void *doc);

#ifdef __cplusplus
}
#endif
