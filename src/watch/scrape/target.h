/* watch/scrape/target.h - one thing that is scraped: its timer, its fetch, its last word.
 *
 *   WAITING --(timer)--> FETCHING --(answer, error, timeout)--> WAITING
 *
 * Each scrape ends in one batch: the page's rows or their stale markers, `up` and the scrape_* series, and
 * whatever the owner's hook adds. The first scrape is offset by a hash of the URL, so that a thousand targets
 * do not all answer in the same millisecond. A target never has two fetches: a slow one skips its turn.
 * Runs on the loop's thread. */
#pragma once
#include "net/net.h"
#include "watch/scrape/page.h"

typedef struct target target;

/* What the owner of a target gets to see of each scrape, before its batch goes to the sink. */
typedef struct scrape_outcome {
    bool up;
    const page_result *page;          /* NULL unless up */
    const err *error;                 /* NULL if up */
    int64_t now_ms;
} scrape_outcome;

typedef struct target_deps {
    uv_loop_t *loop;
    http_client *client;
    sample_sink sink;
    void (*on_scrape)(void *ctx, target *t, const scrape_outcome *o, row_vec *rows); /* may append rows; NULL: nothing */
    void (*on_settled)(void *ctx, target *t);   /* the rows went out: emit_settle */
    void *ctx;
} target_deps;

typedef struct target_info {
    const char *url;
    labels discovered, labels;
    const scrape_job *job;
    int64_t interval_ms, timeout_ms, last_ms;   /* last_ms 0: never */
    double last_duration_s;
    int up;                                     /* 1, 0, -1 not scraped yet */
    const char *error;                          /* "" if none */
} target_info;

/* Starts at once (jittered within the interval, at most 5 s; `now`: without waiting). `job` must outlive it. */
err_kind target_open(const target_deps *deps, const scrape_job *job, const target_spec *spec, bool now, target **ret, err *e);
/* Stale markers for all it put out, then gone. */
void target_close(target *t);
target_info target_info_of(const target *t);
const page_cache *target_page(const target *t);
/* Not at the next turn but now (a process was restarted); nothing if one is under way. */
void target_scrape_now(target *t);
