/* A fixed number of threads, one bounded queue, a deadline and a cancel flag a job. */
#include "query/api.h"

typedef struct pool {
    uv_mutex_t lock;
    uv_cond_t more;
    job *first, *last;
    size_t waiting;
    uint64_t last_id;
    bool stopping;
    unsigned thread_count;
    uv_thread_t *threads;
    job **running;             /* one a thread */
} pool;

#define LISTED_EXPR_MAX 4096 /* bytes of an expression in the list */
#define THREAD_STACK_BYTES (8u << 20) /* for PROMQL_MAX_HEIGHT levels; with `ulimit -s unlimited` libuv would give 2 MiB */

typedef struct worker { pool *pool; unsigned number; } worker;

static job *take_job(pool *p, unsigned number)
{
    uv_mutex_lock(&p->lock);
    while (!p->first && !p->stopping)
        uv_cond_wait(&p->more, &p->lock);
    job *j = p->first;
    if (j) {
        p->first = j->next;
        p->last = p->first ? p->last : NULL;
        p->waiting--;
        p->running[number] = j;
    }
    uv_mutex_unlock(&p->lock);
    return j;
}

/* On the loop's thread. */
static void deliver(void *ctx)
{
    job *j = ctx;
    if (j->finished)
        j->finished(j);
    if (j->req) {
        j->req->on_close = NULL;
        j->req->user = NULL;
        http_header fields[] = { { STR("Content-Type"), str_from(j->content_type ? j->content_type : "application/json") },
                                 { STR("Content-Encoding"), str_from(j->content_encoding) } };
        http_reply_headers(j->req, j->status, fields, j->content_encoding ? 2 : 1, buf_str(&j->body));
    }
    job_drop(j);
}

static void work(void *ctx)
{
    worker w = *(worker *)ctx;
    mem_free(ctx);
    for (job *j; (j = take_job(w.pool, w.number));) {
        int64_t started = clock_mono_ns();
        j->run(j);
        if (j->may_run_here)
            cheap_note(j->http->cheap, j, clock_mono_ns() - started);
        uv_mutex_lock(&w.pool->lock);
        w.pool->running[w.number] = NULL;
        uv_mutex_unlock(&w.pool->lock);
        while (net_post(j->poster, deliver, j) != OK)
            uv_sleep(1); /* the loop is far behind, or memory is short: the reply must not get lost */
    }
}

static bool start_thread(pool *p)
{
    worker *w = mem_alloc(sizeof *w);
    if (!w)
        return false;
    *w = (worker){ p, p->thread_count };
    uv_thread_options_t options = { UV_THREAD_HAS_STACK_SIZE, THREAD_STACK_BYTES };
    if (uv_thread_create_ex(&p->threads[p->thread_count], &options, work, w)) {
        mem_free(w);
        return false;
    }
    p->thread_count++;
    return true;
}

pool *query_pool_open(unsigned threads, err *e)
{
    pool *p = mem_zalloc(sizeof *p);
    if (!p || !(p->threads = mem_calloc(threads, sizeof *p->threads)) || !(p->running = mem_calloc(threads, sizeof *p->running))) {
        if (p)
            mem_free(p->threads);
        mem_free(p);
        err_nomem(e);
        return NULL;
    }
    uv_mutex_init(&p->lock);
    uv_cond_init(&p->more);
    while (p->thread_count < threads && start_thread(p))
        continue;
    if (p->thread_count == threads)
        return p;
    query_pool_close(p);
    err_set(e, ERR_UNAVAILABLE, "could not start a query thread");
    return NULL;
}

err_kind query_pool_put(pool *p, job *take, err *e)
{
    uv_mutex_lock(&p->lock);
    bool full = p->waiting >= QUERY_QUEUE_MAX || p->stopping;
    if (!full) {
        take->next = NULL;
        take->id = ++p->last_id;
        if (p->last)
            p->last->next = take;
        else
            p->first = take;
        p->last = take;
        p->waiting++;
    }
    uv_mutex_unlock(&p->lock);
    if (!full)
        uv_cond_signal(&p->more); /* after the unlock: woken inside it, a thread would run into the lock and sleep again */
    return full ? err_set(e, ERR_FULL, "more than %d queries wait already", QUERY_QUEUE_MAX) : OK;
}

/* ---- what runs and waits ---- */

static void put_job(json_writer *w, const job *j, const char *state)
{
    json_begin(w, '{');
    json_put_i64(w, "id", (int64_t)j->id);
    json_put_cstr(w, "state", state);
    json_put_str(w, "path", j->path);
    json_put_str(w, "peer", j->peer);
    json_key(w, "query");
    if (j->query.expr.len || !j->match_count)
        json_str(w, str_sub(j->query.expr, 0, LISTED_EXPR_MAX));
    else
        json_str(w, str_sub(j->matches[0], 0, LISTED_EXPR_MAX));
    json_put_double(w, "seconds", (double)(clock_mono_ns() - j->queued_ns) / (double)NS_PER_S);
    json_put_bool(w, "canceled", atomic_load(&j->cancel));
    json_end(w, '}');
}

/* The running one with the smallest id above `after`; NULL beyond the last. Ids are given in the order of arrival. */
static const job *next_running(const pool *p, uint64_t after)
{
    const job *found = NULL;
    for (unsigned i = 0; i < p->thread_count; i++) {
        const job *j = p->running[i];
        if (j && j->id > after && (!found || j->id < found->id))
            found = j;
    }
    return found;
}

void query_pool_list(pool *p, json_writer *w)
{
    uv_mutex_lock(&p->lock);
    for (const job *j = NULL; (j = next_running(p, j ? j->id : 0));)
        put_job(w, j, "running");
    for (const job *j = p->first; j; j = j->next)
        put_job(w, j, "waiting");
    uv_mutex_unlock(&p->lock);
}

bool query_pool_cancel(pool *p, uint64_t id)
{
    bool found = false;
    uv_mutex_lock(&p->lock);
    for (unsigned i = 0; i < p->thread_count; i++)
        if (p->running[i] && p->running[i]->id == id)
            atomic_store(&p->running[i]->cancel, true), found = true;
    for (job *j = p->first; j && !found; j = j->next)
        if (j->id == id)
            atomic_store(&j->cancel, true), found = true;
    uv_mutex_unlock(&p->lock);
    return found;
}

void query_pool_close(pool *p)
{
    if (!p)
        return;
    uv_mutex_lock(&p->lock);
    p->stopping = true;
    for (unsigned i = 0; i < p->thread_count; i++)
        if (p->running[i])
            atomic_store(&p->running[i]->cancel, true);
    for (job *j = p->first; j; j = j->next)
        atomic_store(&j->cancel, true); /* they run, find that out at once, and answer so */
    uv_cond_broadcast(&p->more);
    uv_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->thread_count; i++)
        uv_thread_join(&p->threads[i]);
    uv_cond_destroy(&p->more);
    uv_mutex_destroy(&p->lock);
    mem_free(p->threads);
    mem_free(p->running);
    mem_free(p);
}

/* ---- jobs ---- */

#define JOB_ARENA_MAX (32u << 20)

job *job_new(http_request *req, job_run run)
{
    query_http *h = req->route_ctx;
    job *j = mem_zalloc(sizeof *j);
    if (!j) {
        api_error(req, 500, "internal", "out of memory");
        return NULL;
    }
    j->http = h;
    j->req = req;
    j->poster = h->poster;
    j->run = run;
    j->arena = arena_init(JOB_ARENA_MAX);
    j->body = (buf)BUF_INIT(QUERY_REPLY_MAX);
    j->query.cancel = &j->cancel;
    j->path = arena_str(&j->arena, req->path);
    j->peer = arena_str(&j->arena, req->peer);
    return j;
}

void job_drop(job *j)
{
    for (size_t i = 0; i < j->set_count; i++)
        promql_selector_done((matcher *)j->sets[i].at, j->sets[i].len);
    buf_done(&j->body);
    arena_done(&j->arena);
    mem_free(j);
}

static void client_gone(http_request *req)
{
    job *j = req->user;
    if (!j)
        return;
    j->req = NULL;
    atomic_store(&j->cancel, true);
}

void job_start(job *j)
{
    err e = { 0 };
    j->queued_ns = clock_mono_ns();
    if (cheap_run(j->http->cheap, j)) {
        api_reply(j->req, j->status, buf_str(&j->body));
        job_drop(j);
        return;
    }
    j->req->user = j;
    j->req->on_close = client_gone;
    if (query_pool_put(j->http->pool, j, &e) == OK)
        return;
    j->req->user = NULL;
    j->req->on_close = NULL;
    api_error(j->req, 503, "unavailable", "%s", e.message);
    job_drop(j);
}
