/* watch/receive/meta_book.h - what senders said about their metrics: type, help and unit of each family.
 *
 * The last word counts. At most META_BOOK_MAX families and META_TEXT_MAX bytes of help each; what is beyond is not
 * kept. One thread. */
#pragma once
#include "metric/metric.h"

#define META_BOOK_MAX 20000
#define META_TEXT_MAX 1024

typedef struct meta_entry meta_entry;
typedef struct meta_book { map families; vec(meta_entry *) entries; } meta_book;

void meta_book_done(meta_book *b);
void meta_book_put(meta_book *b, const exposition_meta *m);
size_t meta_book_len(const meta_book *b);
exposition_meta meta_book_at(const meta_book *b, size_t i);   /* in order of arrival; borrowed until the next put */
