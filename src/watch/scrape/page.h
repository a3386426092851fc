/* watch/scrape/page.h - one target's page, scrape after scrape: bytes in, rows out. Knows no socket, no clock.
 *
 * A page shows the same series each time, in the same order. The cache keys them by the bytes before the value, and
 * remembers which came after which: a series where it was last time costs one comparison, one seen before a hash and a
 * comparison; labels are parsed, relabelled and built only for new ones. Comments are read only when they change.
 *
 * Staleness is Prometheus's: a series that was on the last good page and is not on this one gets one stale
 * marker; when a scrape fails all of them do; series with their own timestamps are left out of this.
 * Honour rules, limits and their errors are those of scrape_config.h. A page either counts as a whole or not
 * at all. Invariant: rows point into the cache until page_settle. */
#pragma once
#include "watch/emit.h"
#include "watch/engine/engine.h"
#include "watch/scrape/scrape_config.h"

#define PAGE_MAX_SERIES 2000000u          /* of one target, beside the job's own sample_limit */

typedef struct page_cache page_cache;

typedef struct page_rules {
    labels target;                        /* job, instance and the rest: put on every series */
    const scrape_job *job;                /* NULL: no relabelling, no limits, honor_labels off */
} page_rules;

typedef struct page_result {
    size_t scraped, kept, added, duplicates;
    engine_seen seen;
    str model;                            /* model_name of the first series that has one; valid until settle */
} page_result;

page_cache *page_cache_new(void);         /* NULL without memory */
void page_cache_free(page_cache *c);

/* Read a page fetched at now_ms; appends to *rows. On error *rows is as before and the caller goes on with
 * page_fail. ERR_PARSE: line and column of the page; ERR_LIMIT: which limit. Series known to the sink come without
 * labels: page_append knows how to go on if their refs are out of date. */
err_kind page_read(page_cache *c, const page_rules *r, str body, exposition_format format, int64_t now_ms, row_vec *rows,
                   page_result *ret, err *e);
/* The scrape failed or the target goes: stale markers for all that was live. */
err_kind page_fail(page_cache *c, int64_t now_ms, row_vec *rows);
/* The rows and the page's exemplars to the sink, in one batch. Rows without labels must be this cache's. */
err_kind page_append(page_cache *c, const sample_sink *sink, row_vec *rows, sink_result *rejected, err *e);
/* After the rows were appended (or dropped). */
void page_settle(page_cache *c);
size_t page_series_count(const page_cache *c);

/* What # HELP, # TYPE and # UNIT said on the last good page. */
size_t page_meta_count(const page_cache *c);
exposition_meta page_meta_at(const page_cache *c, size_t i);

/* Not a page of metrics at all? The reason, or NULL: HTML, JSON, nothing. */
const char *page_refused(str body, str content_type);
