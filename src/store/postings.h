/* store/postings.h - which series of a shard carry a label value: name -> value -> series.
 *
 * The smallest list that a selector's matchers point at is walked and the rest is checked on the labels
 * themselves, so lists need neither order nor set operations. Guarded by the shard's lock. */
#pragma once
#include "store/store.h"

typedef struct series series;
typedef struct posting_list { series **at; size_t len, cap; } posting_list;
typedef struct postings { map names; /* of map * : value -> posting_list * */ } postings;

void postings_init(postings *p);
void postings_done(postings *p);
/* All of the series' labels, or, without memory, none (ERR_NOMEM). */
CHECKED err_kind postings_add(postings *p, series *s, labels l);
/* Take every series out for which dead() answers true, and what is empty then. */
void postings_sweep(postings *p, bool (*dead)(const series *s));
/* NULL: no series has it. */
const posting_list *postings_get(const postings *p, str name, str value);
/* The values of one label name with their lists: for (pos = 0; postings_next(p, name, &pos, &value, &list);) */
bool postings_next(const postings *p, str name, size_t *pos, str *ret_value, const posting_list **ret_list);
