/* query/api.h - what the pages of the HTTP API share: a job for the pool, parameters, the JSON envelope.
 *
 * The loop's thread reads parameters and makes a job; a thread of the pool runs it into job->body; the loop's
 * thread replies, unless the client has gone. The request itself is only touched on the loop's thread. */
#pragma once
#include "base/json.h"
#include "net/net.h"
#include "query/query.h"

#define QUERY_REPLY_MAX ((size_t)512 << 20)
#define QUERY_MATCHES_MAX 100            /* match[] in one request */
#define PROMQL_FORM_MAX (4u << 20)      /* a percent-encoded expression of PROMQL_MAX_BYTES and its companions */
/* Times beyond the calendar's use that still leave room for offsets and ranges. */
#define API_MIN_TIME_MS (-(INT64_C(1) << 53))
#define API_MAX_TIME_MS (INT64_C(1) << 53)

typedef struct job job;
typedef void (*job_run)(job *j);
struct job {
    job *next;
    query_http *http;
    http_request *req;         /* NULL once the client has gone */
    net_poster *poster;
    job_run run;
    arena arena;               /* parameters */
    atomic_bool cancel;
    int64_t queued_ns;
    query_request query;
    bool want_stats_per_step, want_views;   /* ?stats=all, ?views=1 */
    uint64_t id;               /* what /api/galen/v1/queries calls it; 0 until it waits */
    str path, peer;            /* who asks for which page; in `arena` */
    job_run finished;          /* on the loop's thread, before the reply; may be NULL */
    const char *changed_kind; str changed; /* what the audit record is to hear; NULL: nothing */
    bool skip_head;            /* of a snapshot */
    const query_about *about;  /* as it was when the job was made, where the page needs it; in `arena` */
    bool want_utf8;            /* of /federate: its reader knows names in quotes */
    str request_body;          /* of /api/v1/read; in `arena` */
    labels external;           /* external labels, where the page shows them; in `arena` */
    str matches[QUERY_MATCHES_MAX]; size_t match_count;         /* as sent … */
    matcher_set sets[QUERY_MATCHES_MAX]; size_t set_count;      /* … and parsed, by job_matches */
    str label;                 /* of label/…/values */
    bool may_run_here;         /* on the loop's thread, once it is known to be cheap: cheap.c */
    err_kind failed;           /* set by job_fail */
    int status;
    const char *content_type;  /* NULL: JSON */
    const char *content_encoding; /* NULL: none yet; gzip may come on top */
    buf body;
};

struct query_http {
    query_engine *engine;
    store *store;
    net_poster *poster;
    struct pool *pool;
    struct cheap *cheap;
    query_about about;
    arena about_arena;         /* of about.external_labels */
    int64_t started_ms;
};

/* ---- pool (pool.c) ---- */
struct pool *query_pool_open(unsigned threads, err *e);
/* ERR_FULL: QUERY_QUEUE_MAX wait already. */
err_kind query_pool_put(struct pool *p, job *take, err *e);
/* An object for each job that waits or runs, oldest first. */
void query_pool_list(struct pool *p, json_writer *w);
/* Cancel the job with this id. False: there is none (any more). */
bool query_pool_cancel(struct pool *p, uint64_t id);
void query_pool_close(struct pool *p);         /* cancels what runs and waits, joins the threads */

job *job_new(http_request *req, job_run run);          /* NULL: no memory, and the reply was sent */
void job_start(job *j);                                /* to the pool; replies 503 if it is full */
void job_drop(job *j);                                 /* before job_start, after replying yourself */

/* ---- cheap questions (cheap.c) ---- */
typedef struct cheap cheap;
cheap *cheap_new(void);                                /* NULL without memory: then nothing is cheap */
void cheap_free(cheap *c);
/* How long the pool took; from any thread. */
void cheap_note(cheap *c, const job *j, int64_t took_ns);
/* True: the job was run on this thread and its reply is ready. */
bool cheap_run(cheap *c, job *j);

/* ---- parameters: false after a 400 was sent ---- */
bool api_time(http_request *req, const char *name, bool required, int64_t preset_ms, int64_t *ret_ms);
bool api_duration(http_request *req, const char *name, bool required, int64_t *ret_ms);
bool api_limit(http_request *req, size_t *ret);
bool api_query_text(http_request *req, arena *a, str *ret);
bool api_matches(http_request *req, job *j);
/* j->about for the pool's thread; a reload writes the original. */
bool api_about(http_request *req, job *j);
/* The running configuration's external labels, copied for the job. */
bool api_external_labels(http_request *req, job *j);
/* In the pool: parse what api_matches took. */
CHECKED err_kind job_parse_matches(job *j, err *e);
bool job_matches(job *j);                              /* false: the reply says what is wrong */

/* ---- envelope ---- */
void api_reply(http_request *req, int status, str json);
void api_error(http_request *req, int status, const char *type, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* A job's reply is this error. */
void job_fail(job *j, const err *e, const char *param);
/* The status Prometheus gives to an error of the evaluator or the store, and its word for the type. */
int api_status_of(err_kind k, const char **ret_type);
/* An error of the evaluator or the store, with the status Prometheus gives it. `param`: whose fault it is, or NULL. */
void api_error_body(buf *out, int *ret_status, const err *e, const char *param);
void api_begin(buf *out);                              /* {"status":"success","data": */
void api_end(buf *out, const str *warnings, size_t n, const str *infos, size_t m);
/* api_end of a job's body, with its status: 200, or the error that the result is too large. */
void job_end(job *j, const str *warnings, size_t n, const str *infos, size_t m);

/* ---- pages ---- */
void page_query(http_request *req);
void page_query_range(http_request *req);
void page_explain(http_request *req);
void page_query_exemplars(http_request *req);
void page_format_query(http_request *req);
void page_parse_query(http_request *req);
void page_series(http_request *req);
void page_labels(http_request *req);
void page_label_values(http_request *req);
void page_buildinfo(http_request *req);
void page_runtimeinfo(http_request *req);
void page_config(http_request *req);
void page_flags(http_request *req);
void page_walreplay(http_request *req);
void page_features(http_request *req);
void page_notifications(http_request *req);
void page_federate(http_request *req);
void page_remote_read(http_request *req);
void page_delete_series(http_request *req);
void page_clean_tombstones(http_request *req);
void page_snapshot(http_request *req);
void page_flush(http_request *req);
void page_queries(http_request *req);
void page_query_kill(http_request *req);
void run_remote_read(job *j);                                 /* of page_remote_read, for the fuzzer */
#define READ_BODY_MAX (1u << 20)
void page_tsdb(http_request *req);
void page_store(http_request *req);
