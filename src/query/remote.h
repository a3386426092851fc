/* query/remote.h - answers from somebody else's store: whole expressions are pushed down to its PromQL API.
 *
 * With store.remote configured galen keeps its samples in VictoriaMetrics, Mimir, Thanos or Prometheus. Rules, diagnosis,
 * healing, page and API ask as always (query_run and its kin); the engine passes the expression on as it was written:
 * https://prometheus.io/docs/prometheus/latest/querying/api/. Canonical series are there for real (store/remote), so
 * nothing is rewritten. Expressions are parsed here first: mistakes get galen's own sentences, and functions that only
 * galen has are refused by name.
 *
 * While the remote is away, askers get ERR_UNAVAILABLE at once; every REMOTE_LOOK_AGAIN_MS one of them tries. The loop's
 * thread (rules, diagnosis) waits at most REMOTE_LOOP_TIMEOUT_MS for an answer, as all else waits with it.
 * Thread-safe. */
#pragma once
#include "query/query.h"
#include "net/net.h"

#define REMOTE_LOOK_AGAIN_MS 5000
#define REMOTE_LOOP_TIMEOUT_MS 2000
#define REMOTE_ANSWER_MAX (128u << 20)

typedef struct query_remote_options {
    const char *url;              /* what stands before /api/v1/query: http://host:8481/select/0/prometheus */
    const http_header *headers; size_t header_count;   /* a tenant, for example */
    config_pairs params;          /* added to each question: Thanos's dedup, partial_response */
    const http_auth *auth;        /* all borrowed: must outlive it */
    int64_t timeout_ms;           /* 0: 30 s */
} query_remote_options;

typedef struct query_remote query_remote;
/* Makes no request. From the loop's thread, which is told apart by that. */
CHECKED err_kind query_remote_open(const query_remote_options *o, query_remote **ret, err *e);
void query_remote_close(query_remote *r);       /* nobody may be asking any more; NULL is fine */
query_backend query_remote_backend(query_remote *r);
/* False: the last question failed for want of an answer; `error` (of `cap` bytes) says why, *ret_since_ms since when. */
bool query_remote_up(query_remote *r, char *error, size_t cap, int64_t *ret_since_ms);

/* ---- the answers alone, for tests and the fuzzer ---- */
/* A whole reply of query or query_range into *ret (to be query_result_done on success only). ERR_PARSE: not such a reply;
 * errors of the remote keep their text and get the kind their type says; ERR_LIMIT: more samples than `max_samples`. */
CHECKED err_kind query_remote_decode(str reply, int64_t at_ms, size_t max_samples, query_result *ret, err *e);
/* Of series: label sets, sorted, unique. Of labels and label values: texts, in the remote's order. In `a`. */
CHECKED err_kind query_remote_decode_series(str reply, arena *a, labels **ret, size_t *ret_n, err *e);
CHECKED err_kind query_remote_decode_texts(str reply, arena *a, str **ret, size_t *ret_n, err *e);
