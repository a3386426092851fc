/* store/postings.h - label pairs of the head, each stored once, and which series carry them.
 *
 * A pair is a name with a value: job="api". It has a 32-bit id; a series is an array of such ids, and a pair has the
 * list of the series (their slots) that carry it. So a label text costs its bytes once, however many series repeat it,
 * and a selector's equality is one look-up and one list.
 *
 * Texts lie in slabs that only grow; views of them stay valid for whoever holds a reference to the `texts`. When enough
 * of them are dead a sweep copies the living ones into new texts and lets the old ones go.
 *
 * Ids of pairs that no series carries any more are used again. Guarded by the head's lock: one writer, who may read
 * without it. */
#pragma once
#include "store/store.h"

/* ---- texts ---- */
typedef struct label_texts {
    _Atomic uint32_t refs;
    vec(char *) slabs;
    size_t used, room;           /* of the newest slab */
    size_t bytes;                /* handed out */
} label_texts;
label_texts *texts_ref(label_texts *t);
void texts_unref(label_texts *t);      /* NULL is fine */

/* ---- pairs ---- */
typedef struct label_pair {
    const char *value;
    uint32_t value_len, name;    /* names.at[name] */
    uint32_t hash;
    uint32_t len, cap;           /* series that carry it; cap 0: they lie in `few` */
    union { uint32_t *many, few[2]; };
} label_pair;
#define PAIR_FEW 2u

typedef struct pair_name {
    str text;                    /* empty: the place is free */
    vec(uint32_t) pairs;
} pair_name;

typedef struct postings {
    vec(label_pair) pairs;             /* [0] stays empty: 0 is no id */
    uint32_t free_pair;          /* chained by `hash`; 0: none */
    uint32_t live_pairs;
    vec(pair_name) names;        /* [0] stays empty */
    map by_name;                 /* text -> place in names, as a number */
    uint32_t free_name;          /* where to look for a free place first */
    uint32_t *table;             /* pair ids, open addressing, at most three quarters full; 0: free */
    size_t table_cap;
    uint64_t seed;               /* label values come from outside: hashes must not be predictable */
    label_texts *texts;
    size_t dead_bytes;           /* in texts, of pairs that are gone */
    size_t list_bytes;           /* allocated for lists */
} postings;

CHECKED err_kind postings_init(postings *p);
void postings_done(postings *p);

/* The ids of `l`'s pairs; made if they are new. ERR_NOMEM: pairs made so far wait for series or a sweep. */
CHECKED err_kind postings_intern(postings *p, labels l, uint32_t ret[LABELS_MAX]);
/* Put series `slot` into the lists of its pairs: all or, without memory, none (ERR_NOMEM). */
CHECKED err_kind postings_add(postings *p, uint32_t slot, const uint32_t *pairs, size_t n);
/* Take the series for which dead(ctx, slot) answers true out of the lists of the touched pairs (a byte for each id);
 * pairs without series go. */
void postings_sweep(postings *p, const uint8_t *touched, bool (*dead)(const void *ctx, uint32_t slot), const void *ctx);
/* Copy the living texts together if much is dead. Without memory all stays as it is. */
void postings_tidy(postings *p);

/* 0: no series has it. */
uint32_t postings_pair(const postings *p, str name, str value);
uint32_t postings_name(const postings *p, str name);
static inline const uint32_t *pair_series(const label_pair *x) { return x->cap ? x->many : x->few; }
static inline str pair_value(const label_pair *x) { return str_of(x->value, x->value_len); }
static inline label postings_label(const postings *p, uint32_t id)
{
    const label_pair *x = &p->pairs.at[id];
    return (label){ p->names.at[x->name].text, pair_value(x) };
}
size_t postings_bytes(const postings *p);
