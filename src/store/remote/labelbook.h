/* store/remote/labelbook.h - the series of the queue as one remote gets them: with external labels, relabelled, and every
 * pair of name and value kept once, in the bytes that protobuf has for it.
 *
 * The queue numbers series within a segment; labelbook_segment forgets the numbers, not the series. A book only grows:
 * when most of it is no longer spoken of, the owner opens a new one and frees the old one once nothing waits that names
 * its series (labelbook_ref/unref count that). Not thread-safe. */
#pragma once
#include "metric/metric.h"

typedef struct book_pair { uint32_t at, len; uint32_t name, value; } book_pair;      /* encoded, key included; its symbols */
typedef struct book_symbol { uint32_t at, len; uint32_t stamp, local; } book_symbol; /* the last two: of the request being built */
typedef struct book_series {
    uint64_t hash[2];
    uint32_t pairs, pair_count;    /* into labelbook.pair_list */
    uint32_t encoded_bytes;        /* of its labels in 1.0 */
    bool dropped;                  /* relabelling says no */
    uint32_t stamp, first, last;   /* of the request being built: its samples, chained */
} book_series;

typedef struct labelbook {
    const relabel_rules *relabel;
    labels external;
    vec(book_series) series;
    vec(uint32_t) numbers;         /* the queue's number -> series; UINT32_MAX: not defined */
    vec(uint32_t) pair_list;
    vec(book_pair) pairs;
    vec(book_symbol) symbols;
    buf texts;
    map pair_map, symbol_map;      /* -> number + 1 */
    struct { uint64_t key; uint32_t series; } *slots; size_t slot_cap;
    size_t in_segment;             /* series defined in the segment so far */
    size_t waiting;                /* samples that name series of this book */
} labelbook;

labelbook *labelbook_new(const relabel_rules *relabel, labels external);  /* both borrowed; NULL without memory */
void labelbook_free(labelbook *b);             /* NULL is fine */
void labelbook_segment(labelbook *b);
/* ERR_NOMEM, ERR_LIMIT (texts beyond 4 GiB): the series is not sent. */
CHECKED err_kind labelbook_define(labelbook *b, uint32_t number, labels l);
/* NULL: not defined, or dropped by relabelling (*ret_dropped). */
book_series *labelbook_get(labelbook *b, uint32_t number, bool *ret_dropped);
static inline str labelbook_symbol(const labelbook *b, uint32_t symbol)
{
    return str_of(b->texts.ptr + b->symbols.at[symbol].at, b->symbols.at[symbol].len);
}
/* The number of a text, made if need be; UINT32_MAX without memory. */
uint32_t labelbook_intern(labelbook *b, str text);
