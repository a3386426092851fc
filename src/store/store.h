/* store/store.h - the room's door: what we remember of numbers.
 *
 * Samples arrive in batches (store_append), are kept in a head of compressed chunks in memory and in a
 * write-ahead log; what is complete moves into immutable blocks on disk, which retention removes by time.
 * Everything that reads (query, federate, export) uses store_select and nothing else.
 *
 * Durable: store_append returns after write(2) to the WAL, so an acknowledged sample survives kill -9; what a
 * power cut can take is bounded by wal_fsync_ms. Thread-safe: any thread may append or select. */
#pragma once
#include "metric/metric.h"

typedef struct store store;
typedef struct store_options {
    const char *dir;              /* DATA/store */
    int64_t retention_ms;         /* samples older than now - this may be removed; 0: 15 d */
    int64_t wal_fsync_ms;         /* 0: 1000; the fsync runs on the store's own thread */
    int64_t block_ms;             /* span of one block; 0: 2 h */
    int64_t retention_bytes;      /* of blocks and log together: the oldest blocks go first; 0: no limit */
    int64_t out_of_order_ms;      /* how far behind a series' newest sample one may come late; 0: not at all */
    size_t max_series;            /* in the head; 0: 2 000 000. Beyond it new series are refused (ERR_LIMIT) */
    size_t max_series_per_metric, max_series_per_target;  /* 0: no limit; a target is job and instance */
    size_t max_exemplars;         /* kept in memory, the oldest go first; 0: 100 000 */
    bool created_zeros;           /* a counter's start time (sample_row.start_ms) becomes a sample of value 0 */
    size_t memory_bytes;          /* budget of the head: beyond it new series are refused; 0: no limit */
    int64_t tier_5m_ms, tier_1h_ms; /* how long roll-ups are kept; 0: none are made */
    bool read_only;               /* offline commands: no LOCK, no thread, no write */
} store_options;

/* Recovers the head from the WAL; a torn or corrupt tail is cut at the last whole record and told in *ret_recovery. */
typedef struct store_recovery { uint64_t series, samples, segments; uint64_t cut_bytes; char note[200]; } store_recovery;
err_kind store_open(const store_options *o, store **ret, store_recovery *ret_recovery, err *e);
err_kind store_close(store *s, err *e);            /* NULL is fine; flushes the WAL */

/* One batch, all or nothing (in the WAL one record): see metric/metric.h sample_sink for `rejected`.
 *   ERR_NOT_FOUND  a row without labels has a ref that is out of date: nothing was kept, send again with labels
 *   ERR_OUT_OF_ORDER (also: older than the retention), ERR_DUPLICATE (same time, other value), ERR_LIMIT (series,
 *             labels, a time beyond all calendars)  only when `rejected` is NULL; else counted there
 *   ERR_INVALID  labels that are empty, unsorted or repeated: the caller's mistake, the whole batch is refused
 *   ERR_LIMIT  also with `rejected`: the batch needs more than one record of the WAL (64 MiB)
 *   ERR_IO and other kinds of the system: the WAL could not be written (disk full …): nothing of the batch is
 *             kept, later calls try again
 * A sample equal to the last one in time and value is accepted (counted as appended) and dropped. A new series may
 * start at any time that the retention allows, whatever the others hold. Counters are added to `rejected`, and only
 * when the batch was kept. */
err_kind store_append(store *s, const sample_row *rows, size_t n, sink_result *rejected, err *e);
/* For what comes from outside, and so by other clocks: a time more than ten minutes ahead of now is ERR_LIMIT. One
 * sample in microseconds would otherwise keep out all that its series ever gets after it. */
sample_sink store_sink(store *s);

/* ---- reading ---- */
typedef enum match_op { MATCH_EQ, MATCH_NE, MATCH_RE, MATCH_NRE } match_op;
typedef struct regex regex;
typedef struct matcher { str name, value; match_op op; const regex *re; /* for RE/NRE, anchored, caller's */ } matcher;
/* An absent label matches as the empty string, as in PromQL. */
bool matcher_match(const matcher *m, str value);

typedef struct select_limits { size_t max_series; size_t max_samples; } select_limits;   /* 0: no limit */
typedef struct select_stats { uint64_t series, samples, chunks, blocks; uint64_t bytes; } select_stats;

/* Roll-ups of samples: one point a 5 m or 1 h window for each of min, max, sum, count, last and counter (the counter
 * without its resets). STORE_TIER_AUTO: raw samples as far back as they reach, before that the finest tier that does. */
typedef enum store_tier { STORE_TIER_AUTO, STORE_TIER_RAW, STORE_TIER_5M, STORE_TIER_1H } store_tier;
/* What the reader is going to do: lets the store read less. All zero: everything, in order, STORE_TIER_AUTO;
 * store_select, which has no hints, reads raw samples only.
 * `function` chooses what a roll-up's points are: the counter without its resets for rate, increase and irate (and the
 * points lie at the ends of their windows, so any range of two windows and more works), min, max, sum, count or the mean
 * for their _over_time, else the last sample. For count_over_time a sample then is a number to add up, 1 for a raw one:
 * see store_select_counts. */
typedef struct select_hints {
    int64_t step_ms, range_ms;    /* 0: instant; 0: no range selector */
    str function;                 /* "rate", "max_over_time", …: chooses the roll-up's column; empty: last */
    store_tier tier;
    bool labels_only;             /* no samples will be read */
    bool unordered;               /* the series may come in any order */
    bool newest_only;             /* of each series only the newest sample in the range will be used: others may be left out */
    bool unlabelled;              /* beside these two: nobody looks at labels, a series may come without */
} select_hints;

/* A snapshot of the matching series with samples in from_ms..to_ms (both inclusive), sorted by labels.
 * Later appends do not show. *ret is yours: store_select_free. */
typedef struct store_selection store_selection;
err_kind store_select(store *s, const matcher *m, size_t n, int64_t from_ms, int64_t to_ms,
                      const select_limits *limits, store_selection **ret, err *e);
err_kind store_select_with(store *s, const matcher *m, size_t n, int64_t from_ms, int64_t to_ms, const select_hints *hints,
                           const select_limits *limits, store_selection **ret, err *e);
size_t store_select_len(const store_selection *sel);
labels store_select_labels(const store_selection *sel, size_t i);  /* borrowed from the selection */
/* Append series i's samples in the range to *out (oldest first, stale markers included). Decodes on call;
 * may be called from several threads for different i. ERR_LIMIT when max_samples is passed over all calls. */
typedef vec(sample) sample_vec;
err_kind store_select_samples(store_selection *sel, size_t i, sample_vec *out, err *e);
/* The same for samples that are native histograms; values live in `a`. A series may have both kinds, at different
 * times. The float call leaves histograms out, this one leaves floats out. */
bool store_select_has_histograms(const store_selection *sel, size_t i);
err_kind store_select_histograms(store_selection *sel, size_t i, arena *a, histogram_vec *out, err *e);
select_stats store_select_stats(const store_selection *sel);
size_t store_select_memory(const store_selection *sel);     /* bytes it holds until it is freed */
/* The coarsest that was read; STORE_TIER_RAW: raw samples only. */
store_tier store_select_tier(const store_selection *sel);
/* The function was count_over_time and roll-ups were read: samples are to be added up, not counted. */
bool store_select_counts(const store_selection *sel);
/* Where the series came from: the head, and block by block what was taken of it. `samples` are those of the chunks that
 * touch the range. Borrowed. */
typedef struct select_source { str path; /* "head" */ store_tier tier; uint64_t series, chunks, samples, bytes; } select_source;
const select_source *store_select_sources(const store_selection *sel, size_t *ret_n);
void store_select_free(store_selection *sel);
void store_select_freep(store_selection **sel);

/* Label names, or values of `name`, over series matching any of the matcher sets with samples in the range; sorted,
 * unique, copied into `a`. Without sets: of all that the head and the blocks hold which touch the range, as Prometheus. */
typedef struct matcher_set { const matcher *at; size_t len; } matcher_set;
err_kind store_label_names(store *s, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms, arena *a, str **ret, size_t *ret_n, err *e);
err_kind store_label_values(store *s, str name, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms, arena *a, str **ret, size_t *ret_n, err *e);

/* Exemplars in the range of series matching any of the sets: grouped by series, sorted by labels, then time; in `a`. */
typedef struct exemplar_series { labels labels; exemplar *at; size_t len; } exemplar_series;
err_kind store_exemplars(store *s, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms, arena *a, exemplar_series **ret, size_t *ret_n, err *e);

/* Who has how many series: for /api/v1/status/tsdb, the page and the sentence of a refusal. Head only. Sorted, most
 * first, at most `top` rows each, texts in `a`. */
typedef struct cardinality_row { str name; uint64_t value; } cardinality_row;
typedef struct cardinality { cardinality_row *at; size_t len; } cardinality;
typedef struct store_cardinality {
    cardinality by_metric, by_label_values, by_label_bytes, by_pair, by_target;
    uint64_t series, chunks, label_pairs, refused_total;    /* refused: newcomers over a limit */
} store_cardinality;
err_kind store_cardinality_get(store *s, size_t top, arena *a, store_cardinality *ret, err *e);

/* ---- care ---- */
/* Samples in the range (both inclusive) of series matching any of the sets do not show any more once this returns; the
 * deletion is on disk by then. Their bytes go with the next compaction or store_clean. */
typedef struct delete_receipt { uint64_t series, samples, blocks; } delete_receipt;
err_kind store_delete(store *s, const matcher_set *sets, size_t n, int64_t from_ms, int64_t to_ms, delete_receipt *ret, err *e);
err_kind store_clean(store *s, err *e);            /* rewrite the blocks that hold deleted samples */
/* All that was acknowledged when the call began, as a store of its own under `dir` (made here, must not exist): blocks
 * as hard links where the file system allows. A store_open of it sees the same. `skip_head`: blocks only. */
err_kind store_snapshot(store *s, const char *dir, bool skip_head, err *e);
err_kind store_flush(store *s, err *e);            /* write what is complete into blocks, drop what is too old; answers when done */
typedef struct store_stats {
    uint64_t head_series, head_samples, head_chunks, blocks, wal_segments, wal_bytes, block_bytes, appended_total, wal_errors_total;
    int64_t min_t_ms, max_t_ms;                    /* INT64_MAX, INT64_MIN when empty */
} store_stats;
store_stats store_stats_get(store *s);
/* The block files, oldest number first; texts in `a`. `deleted`: ranges that are hidden and not yet rewritten. */
typedef struct store_block { str path; uint32_t number; int64_t min_t_ms, max_t_ms; uint64_t series, samples, bytes, deleted; bool damaged; } store_block;
err_kind store_blocks(store *s, arena *a, store_block **ret, size_t *ret_n, err *e);
