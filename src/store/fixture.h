/* store/fixture.h - what the store's tests share: a store in a folder, rows in one line, answers as text.
 *
 * All tests live at the fake moment NOW; the store's own threads sleep through them. */
#pragma once
#include "store/inside.h"

#define NOW INT64_C(1790000000000) /* in 2026 */
#define HOUR INT64_C(3600000)

store *open_at(const char *dir);        /* with the usual options; sets the clock to NOW */
store *open_with(store_options o);
void close_store(store *s);

/* Up to 64 rows whose labels live here: name{who="w<who>"}. */
typedef struct rows {
    label labels[64][2];
    sample_row at[64];
    char text[64][16];
    size_t n;
} rows;
void add_row(rows *r, const char *name, int who, int64_t t_ms, double v);
err_kind put(store *s, const char *name, int who, int64_t t_ms, double v); /* a batch of one */

/* "w1:10=1,20=2 w2:…": the series named `name`, in from..to. One of four static buffers. */
const char *answer(store *s, const char *name, int64_t from_ms, int64_t to_ms);
const char *all(store *s, const char *name);

void copy_folder(const char *from, const char *to); /* what kill -9 would leave: the files as they are now */
const char *after_crash(const char *dir, const char *name); /* all() of a store opened on such a copy */

/* up{w0..w2}, a sample every 6 minutes from a window's start, so that a flush has something to cut and to leave. */
store *store_with_six_hours(const char *dir);
