#include "store/remote/sender.h"
#include "base/rand.h"
#include <stdio.h>

#define SPLIT_BUDGET 16          /* more requests than this for one refused batch are not worth it */
#define RANGES_MAX (SPLIT_BUDGET + 2)
#define RESHARD_EVERY_NS (10 * NS_PER_S)
#define LAG_MS 10000             /* behind by this: more shards */
#define TURN_NS (5 * NS_PER_MS)  /* reading in one go, so that answers are not kept waiting */
#define TELL_EVERY_NS (10 * NS_PER_S)
#define ANSWER_MAX_BYTES (64u << 10)
#define BOOK_SLACK 1000

typedef struct range { size_t from, to; } range;
typedef struct shard {
    sender *owner;
    vec(outgoing) items;
    size_t done;                 /* items in front that are delivered or dropped */
    int64_t oldest_ns;           /* when items[done] was put here */
    range ranges[RANGES_MAX];    /* what is to be sent of the front, the next one last; none: FILLING */
    size_t range_count;
    unsigned splits, attempts;
    http_fetch *fetch;
    net_timer *backoff;
    int64_t sent_ns;
} shard;

typedef struct meters {
    own_metric *samples, *histograms, *exemplars, *failed, *dropped, *retried, *bytes, *pending, *lost, *requests, *metadata, *in;
    own_metric *shards, *max_shards, *highest_sent, *highest_in, *up, *batch_seconds;
} meters;

struct sender {
    uv_loop_t *loop;
    http_client *client;
    rqueue *queue;
    rqueue_reader *reader;
    remote_config *config;
    remote_protocol protocol;    /* 1.0 after a fall-back */
    labelbook *book, *old_book;  /* the latter until nothing waits that names its series */
    request_writer writer;
    buf body;
    shard *shards;
    size_t shard_count, shards_wanted;
    http_fetch *metadata_fetch;
    void (*room)(void *ctx);     /* an answer made room: a turn is worth it */
    void *room_ctx;
    rand_state random;
    struct { size_t in, dropped, sent[3]; } tally; /* since the last turn's end: counters are shared, so not by the sample */
    int64_t reshard_ns, calm_since_ns, told_ns, now_ns, now_ms;
    uint64_t lost_seen, untold_drops;
    sender_state state;
    meters m;
};

/* ---- what an answer means ---- */

send_verdict send_verdict_of(const send_answer *a)
{
    if (a->kind)
        return a->kind == ERR_INVALID ? SEND_DROP : SEND_RETRY;
    if (a->status / 100 == 2) /* who does not say what was written does not know 2.0, and has read nothing */
        return a->protocol == REMOTE_WRITE_2 && !a->written_told ? SEND_FALL_BACK : SEND_DONE;
    if (a->status == 415)
        return a->protocol == REMOTE_WRITE_2 ? SEND_FALL_BACK : SEND_DROP;
    if (a->status == 429)
        return a->retry_on_429 ? SEND_RETRY : SEND_DROP;
    if (a->status / 100 == 5 || a->status / 100 == 3)
        return SEND_RETRY;
    /* Prometheus up to 2.x turns a whole request down for one sample that is out of order. */
    return a->status == 400 && a->items > 1 ? SEND_SPLIT : SEND_DROP;
}

int64_t send_backoff_ms(int64_t min_ms, int64_t max_ms, unsigned attempts, str retry_after, double random)
{
    int64_t ms = min_ms, asked;
    for (unsigned i = 0; i < attempts && ms < max_ms; i++)
        ms *= 2;
    ms = MIN(ms, max_ms);
    ms += (int64_t)((double)ms * (random - 0.5) / 2);
    if (str_to_i64(retry_after, &asked) && asked > 0)
        ms = MAX(ms, MIN(asked, RETRY_AFTER_MAX_MS / MS_PER_S) * MS_PER_S);
    return MAX(ms, 1);
}

/* ---- telling ---- */

static void tell_state(sender *s, const err *why)
{
    if (!why) {
        if (!s->state.up)
            log_info("remote store takes samples again", KV_CSTR("remote", s->config->name), KV_CSTR("url", s->config->url));
        s->state.up = true;
        s->state.error[0] = '\0';
        s->state.failing_since_ms = 0;
        return;
    }
    str_copy(s->state.error, sizeof s->state.error, str_from(why->message));
    if (!s->state.up)
        return;
    s->state.up = false;
    s->state.failing_since_ms = clock_now_ms();
    log_warn("could not send to a remote store, keeping samples in the queue and trying again", KV_CSTR("remote", s->config->name),
             KV_CSTR("url", s->config->url), KV_ERR(why));
}

/* Drops come in crowds: said at once, then at most every ten seconds with their number. */
static void tell_drops(sender *s, size_t n, const err *why)
{
    s->untold_drops += n;
    if (s->told_ns && s->now_ns - s->told_ns < TELL_EVERY_NS)
        return;
    s->told_ns = s->now_ns;
    log_error("samples for a remote store are lost", KV_CSTR("remote", s->config->name), KV_INT("samples", s->untold_drops), KV_ERR(why));
    s->untold_drops = 0;
}

static void open_meters(sender *s)
{
    char named[400], url[200];
    size_t n = 0;
    for (const char *p = s->config->url; *p && n + 1 < sizeof url; p++)
        if (*p != '"' && *p != '\\' && *p != '\n')
            url[n++] = *p;
    url[n] = '\0';
    snprintf(named, sizeof named, "remote_name=\"%s\",url=\"%s\"", s->config->name, url);
#define COUNTER(name, help) own_counter("prometheus_remote_storage_" name, named, help)
#define GAUGE(name, help) own_gauge("prometheus_remote_storage_" name, named, help)
    s->m = (meters){
        .in = COUNTER("samples_in_total", "Samples read from the queue."),
        .samples = COUNTER("samples_total", "Samples sent, retries not counted."),
        .histograms = COUNTER("histograms_total", "Native histograms sent."),
        .exemplars = COUNTER("exemplars_total", "Exemplars sent."),
        .metadata = COUNTER("metadata_total", "Requests with metadata sent."),
        .failed = COUNTER("samples_failed_total", "Samples that the remote store refused for good."),
        .dropped = COUNTER("samples_dropped_total", "Samples not sent: relabelling or their age said so."),
        .retried = COUNTER("samples_retried_total", "Samples sent once more after a failure that may pass."),
        .bytes = COUNTER("bytes_total", "Bytes of request bodies sent, compressed."),
        .batch_seconds = COUNTER("sent_batch_duration_seconds_sum", "Seconds requests took."),
        .requests = COUNTER("sent_batch_duration_seconds_count", "Requests answered."),
        .pending = GAUGE("samples_pending", "Samples in the queue, on disk and in memory, still to be sent."),
        .shards = GAUGE("shards", "Requests that may be under way at a time."),
        .max_shards = GAUGE("shards_max", "Most shards there may be."),
        .highest_sent = GAUGE("queue_highest_sent_timestamp_seconds", "Newest time of a sample that was sent."),
        .highest_in = GAUGE("queue_highest_timestamp_seconds", "Newest time of a sample read from the queue."),
        .lost = own_counter("galen_store_remote_lost_total", named, "Samples lost: the queue was full, or damaged on disk."),
        .up = own_gauge("galen_store_remote_up", named, "1 if the last request was taken, or none was made yet."),
    };
#undef COUNTER
#undef GAUGE
    own_set(s->m.max_shards, (double)s->config->queue.max_shards);
    own_set(s->m.up, 1);
}

/* ---- items ---- */

static void item_done(outgoing *o)
{
    o->book->waiting--;
    mem_free(o->bytes);
}

/* The front of a shard is dealt with up to `to`. */
static void items_done(shard *h, size_t to)
{
    for (size_t i = h->done; i < to; i++)
        item_done(&h->items.at[i]);
    h->done = to;
    h->oldest_ns = h->owner->now_ns;
    if (h->done * 2 < h->items.len)
        return;
    memmove(h->items.at, h->items.at + h->done, (h->items.len - h->done) * sizeof *h->items.at);
    h->items.len -= h->done;
    h->done = 0;
}

static size_t waiting_in(const shard *h) { return h->items.len - h->done; }

static size_t waiting_in_all(const sender *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->shard_count; i++)
        n += waiting_in(&s->shards[i]);
    return n;
}

/* Everything before the oldest sample that is still with us is delivered. */
static void move_cursor(sender *s)
{
    rqueue_place place = rqueue_reader_next(s->reader);
    err e = { 0 };
    for (size_t i = 0; i < s->shard_count; i++) {
        const shard *h = &s->shards[i];
        if (!waiting_in(h))
            continue;
        rqueue_place first = h->items.at[h->done].place;
        if (first.segment < place.segment || (first.segment == place.segment && first.offset < place.offset))
            place = first;
    }
    if (place.segment && rqueue_reader_done(s->reader, place, &e))
        log_warn("could not note how far a remote store has come; after a restart it gets some samples twice", KV_CSTR("remote", s->config->name), KV_ERR(&e));
}

/* ---- a request ---- */

static void shard_send(shard *h);

static void shard_backoff_over(void *ctx)
{
    shard *h = ctx;
    net_timer_stop(h->backoff);
    h->backoff = NULL;
    h->owner->now_ns = clock_mono_ns();
    shard_send(h);
}

static void shard_wait(shard *h, str retry_after)
{
    const remote_queue_config *q = &h->owner->config->queue;
    int64_t ms = send_backoff_ms(q->min_backoff_ms, q->max_backoff_ms, h->attempts, retry_after, rand_double(&h->owner->random));
    h->attempts++;
    h->backoff = net_timer_start(h->owner->loop, ms, 0, shard_backoff_over, h);
    /* Without memory for a timer the next turn sends again. */
}

static void count_sent(sender *s, const outgoing *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        s->tally.sent[from[i].kind]++;
        s->state.highest_sent_s = MAX(s->state.highest_sent_s, (double)from[i].t_ms / 1e3);
    }
    s->state.sent += n;
}

/* The range on top of the stack is over; with the last one the batch is. */
static void range_over(shard *h)
{
    range r = h->ranges[--h->range_count];
    h->attempts = 0;
    items_done(h, r.to); /* ranges lie one behind the other, the top is always the first */
    if (h->range_count) { /* items may have moved to the front */
        size_t shift = r.to - h->done;
        for (size_t i = 0; i < h->range_count; i++)
            h->ranges[i].from -= shift, h->ranges[i].to -= shift;
    }
    move_cursor(h->owner);
}

static void split_range(shard *h)
{
    range r = h->ranges[--h->range_count];
    size_t middle = r.from + (r.to - r.from) / 2;
    h->ranges[h->range_count++] = (range){ middle, r.to };
    h->ranges[h->range_count++] = (range){ r.from, middle };
    h->splits++;
    h->attempts = 0;
}

static void explain(const http_response *res, err *e)
{
    if (res->kind) {
        *e = res->error;
        return;
    }
    str why = str_sub(str_trim(res->body), 0, 200);
    err_set(e, ERR_UNAVAILABLE, "it answered %d%s%" STR_FMT, res->status, why.len ? ": " : "", STR_ARG(why));
}

static void drop_range(shard *h, const err *why)
{
    sender *s = h->owner;
    size_t n = h->ranges[h->range_count - 1].to - h->ranges[h->range_count - 1].from;
    s->state.failed += n;
    own_add(s->m.failed, (double)n);
    tell_drops(s, n, why);
    range_over(h);
}

static void answered(shard *h, const http_response *res)
{
    sender *s = h->owner;
    range r = h->ranges[h->range_count - 1];
    send_answer a = { .kind = res->kind, .status = res->status, .protocol = s->protocol, .items = r.to - r.from,
                      .written_told = http_response_field(res, "X-Prometheus-Remote-Write-Samples-Written").len > 0,
                      .retry_on_429 = s->config->queue.retry_on_429 };
    send_verdict v = send_verdict_of(&a);
    err why = { 0 };
    if (v != SEND_DONE)
        explain(res, &why);
    if (v == SEND_SPLIT && (h->splits >= SPLIT_BUDGET || (a.written_told && s->protocol == REMOTE_WRITE_2)))
        v = SEND_DROP;
    switch (v) {
    case SEND_DONE:
        count_sent(s, h->items.at + r.from, r.to - r.from);
        tell_state(s, NULL);
        range_over(h);
        break;
    case SEND_RETRY:
        s->state.retried += a.items;
        own_add(s->m.retried, (double)a.items);
        tell_state(s, &why);
        shard_wait(h, http_response_field(res, "Retry-After"));
        break;
    case SEND_SPLIT: split_range(h); break;
    case SEND_FALL_BACK:
        log_warn("remote store does not know remote write 2.0, going on with 1.0", KV_CSTR("remote", s->config->name));
        s->protocol = REMOTE_WRITE_1;
        break;
    case SEND_DROP: drop_range(h, &why); break;
    }
}

static void on_answer(void *ctx, const http_response *res)
{
    shard *h = ctx;
    sender *s = h->owner;
    h->fetch = NULL;
    s->now_ns = clock_mono_ns();
    own_add(s->m.requests, 1);
    own_add(s->m.batch_seconds, (double)(s->now_ns - h->sent_ns) / 1e9);
    answered(h, res);
    if (!h->backoff)
        shard_send(h);
    if (s->room)
        s->room(s->room_ctx);
}

static err_kind start_fetch(sender *s, str body, remote_protocol protocol, void (*done)(void *, const http_response *), void *ctx, http_fetch **ret, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    const remote_config *c = s->config;
    http_header *headers = arena_array(&a, http_header, c->header_count + 5);
    if (!headers)
        return err_nomem(e);
    size_t n = 0;
    headers[n++] = (http_header){ STR("Content-Encoding"), STR("snappy") };
    headers[n++] = (http_header){ STR("Content-Type"), protocol == REMOTE_WRITE_2 ? STR(PROMPB_CONTENT_TYPE_2) : STR(PROMPB_CONTENT_TYPE_1) };
    headers[n++] = (http_header){ STR("X-Prometheus-Remote-Write-Version"), protocol == REMOTE_WRITE_2 ? STR("2.0.0") : STR("0.1.0") };
    for (size_t i = 0; i < c->header_count; i++)
        headers[n++] = c->headers[i];
    http_fetch_options o = { .method = "POST", .url = c->url, .headers = headers, .body = body, .timeout_ms = c->timeout_ms,
                             .max_body = ANSWER_MAX_BYTES, .follow_redirects = c->follow_redirects, .done = done, .ctx = ctx };
    err_kind k = http_auth_apply(&c->auth, &a, &o, &headers[n], e);
    o.header_count = n + (headers[n].name.len > 0);
    return k ? k : http_fetch_start(s->client, &o, ret, e);
}

/* A new batch out of what waits, if there is one that is due. */
static bool take_batch(shard *h)
{
    const remote_queue_config *q = &h->owner->config->queue;
    size_t n = MIN(waiting_in(h), (size_t)q->max_samples_per_send);
    if (n == 0 || (n < (size_t)q->max_samples_per_send && h->owner->now_ns - h->oldest_ns < q->batch_send_deadline_ms * NS_PER_MS))
        return false;
    n = request_fit(h->items.at + h->done, n);
    h->ranges[0] = (range){ h->done, h->done + n };
    h->range_count = 1;
    h->splits = h->attempts = 0;
    return true;
}

static void shard_send(shard *h)
{
    sender *s = h->owner;
    err e = { 0 };
    while (!h->fetch && !h->backoff && (h->range_count || take_batch(h))) {
        range r = h->ranges[h->range_count - 1];
        err_kind k = request_build(&s->writer, s->protocol, h->items.at + r.from, r.to - r.from, &s->body, &e);
        h->sent_ns = s->now_ns;
        if (k == ERR_LIMIT) {
            drop_range(h, &e);
            continue;
        }
        if (!k)
            k = start_fetch(s, buf_str(&s->body), s->protocol, on_answer, h, &h->fetch, &e);
        if (!k) {
            own_add(s->m.bytes, (double)s->body.len);
            return;
        }
        tell_state(s, &e); /* a secret's file is missing, memory is short: later perhaps */
        shard_wait(h, STR_EMPTY);
        return;
    }
}


static void on_metadata(void *ctx, const http_response *res)
{
    sender *s = ctx;
    s->metadata_fetch = NULL;
    if (!res->kind && res->status / 100 == 2)
        own_add(s->m.metadata, 1);
}

void sender_metadata(sender *s, str body)
{
    if (!s->metadata_fetch && s->config->send_metadata)
        (void)start_fetch(s, body, REMOTE_WRITE_1, on_metadata, s, &s->metadata_fetch, NULL);
}

/* ---- reading the queue ---- */

/* Most of the book is of series that are gone: a new one, as this segment names all it speaks of. */
static void on_segment(void *ctx, uint32_t segment)
{
    sender *s = ctx;
    labelbook *b = s->book;
    UNUSED(segment);
    if (!s->old_book && b->series.len > 2 * b->in_segment + BOOK_SLACK) {
        labelbook *fresh = labelbook_new(&s->config->relabel, (labels){ s->config->external, s->config->external_count });
        if (fresh) {
            s->old_book = b;
            s->book = fresh;
        }
    }
    labelbook_segment(s->book);
}

static void on_series(void *ctx, uint32_t number, labels l)
{
    sender *s = ctx;
    err e = { 0 };
    err_kind k = labelbook_define(s->book, number, l);
    if (!k)
        return;
    err_set(&e, k, "a series could not be relabelled: memory is short, or its texts are too long");
    tell_drops(s, 1, &e);
}

static shard *shard_of(sender *s, const book_series *b) { return &s->shards[b->hash[1] % s->shard_count]; }

static void put(sender *s, const book_series *b, outgoing o)
{
    shard *h = shard_of(s, b);
    o.book = s->book;
    o.series = (uint32_t)(b - s->book->series.at);
    o.place = rqueue_reader_place(s->reader);
    if (!waiting_in(h))
        h->oldest_ns = s->now_ns;
    if (vec_push(&h->items, o)) {
        err e = { 0 };
        mem_free(o.bytes);
        err_nomem(&e);
        tell_drops(s, 1, &e);
        return;
    }
    s->book->waiting++;
}

static bool too_old(const sender *s, int64_t t_ms)
{
    int64_t limit = s->config->queue.sample_age_limit_ms;
    return limit > 0 && t_ms < s->now_ms - limit;
}

static void on_row(void *ctx, const rqueue_row *r)
{
    sender *s = ctx;
    bool dropped;
    if (r->refused)
        return;
    book_series *b = labelbook_get(s->book, r->series, &dropped);
    s->tally.in++;
    s->state.highest_queued_s = MAX(s->state.highest_queued_s, (double)r->t_ms / 1e3);
    if (!b || too_old(s, r->t_ms) || (r->kind == RQUEUE_HISTOGRAM && !s->config->send_histograms)) {
        s->tally.dropped++;
        s->state.dropped++;
        return;
    }
    outgoing o = { .kind = r->kind == RQUEUE_HISTOGRAM ? OUTGOING_HISTOGRAM : OUTGOING_FLOAT, .t_ms = r->t_ms, .v = r->v };
    if (r->kind == RQUEUE_HISTOGRAM) {
        o.len = (uint32_t)r->message.len;
        o.bytes = mem_dup(r->message.ptr, r->message.len);
        if (!o.bytes)
            return;
    }
    put(s, b, o);
}

static void on_exemplar(void *ctx, uint32_t series, const exemplar *x)
{
    sender *s = ctx;
    bool dropped;
    book_series *b = s->config->send_exemplars ? labelbook_get(s->book, series, &dropped) : NULL;
    AUTO(buf_done) buf bytes = BUF_INIT(64u << 10);
    if (!b || too_old(s, x->t_ms))
        return;
    for (size_t i = 0; i < x->labels.len; i++)
        prompb_put_label(&bytes, 1, x->labels.at[i]);
    pb_put_double(&bytes, 2, x->v);
    pb_put_uint(&bytes, 3, (uint64_t)x->t_ms);
    size_t len;
    if (buf_failed(&bytes))
        return;
    outgoing o = { .kind = OUTGOING_EXEMPLAR, .t_ms = x->t_ms, .v = x->v };
    o.bytes = buf_take(&bytes, &len);
    o.len = (uint32_t)len;
    put(s, b, o);
}

static bool has_room(const sender *s)
{
    size_t most = (size_t)MAX(s->config->queue.capacity, s->config->queue.max_samples_per_send);
    for (size_t i = 0; i < s->shard_count; i++)
        if (waiting_in(&s->shards[i]) >= most)
            return false;
    return s->shards_wanted == s->shard_count;
}

/* True: there may be more. */
static bool read_queue(sender *s)
{
    const rqueue_events to = { on_segment, on_series, on_row, on_exemplar, s };
    err e = { 0 };
    for (int64_t until = clock_mono_ns() + TURN_NS; has_room(s);) {
        err_kind k = rqueue_read(s->reader, &to, &e);
        if (k == ERR_NOT_FOUND)
            return false;
        if (k) {
            log_error("could not read the remote queue", KV_CSTR("remote", s->config->name), KV_ERR(&e));
            if (k != ERR_CORRUPT)
                return false;
        }
        if (clock_mono_ns() > until)
            return has_room(s);
    }
    return false;
}

/* ---- shards ---- */

static void shards_free(sender *s)
{
    for (size_t i = 0; i < s->shard_count; i++) {
        shard *h = &s->shards[i];
        http_fetch_cancel(h->fetch);
        net_timer_stop(h->backoff);
        for (size_t k = h->done; k < h->items.len; k++)
            item_done(&h->items.at[k]);
        vec_done(&h->items);
    }
    mem_free(s->shards);
    s->shards = NULL;
    s->shard_count = 0;
}

static err_kind shards_new(sender *s, size_t n)
{
    shard *fresh = mem_calloc(n, sizeof *fresh);
    if (!fresh)
        return ERR_NOMEM;
    shards_free(s);
    for (size_t i = 0; i < n; i++)
        fresh[i].owner = s;
    s->shards = fresh;
    s->shard_count = s->shards_wanted = n;
    own_set(s->m.shards, (double)n);
    return OK;
}

/* Behind and with nothing free: twice as many. Long up to date: half. A series may change its shard only when all are
 * empty, so reading stops until then (has_room). */
static void reshard(sender *s, bool behind)
{
    if (s->shards_wanted != s->shard_count) {
        if (waiting_in_all(s) == 0 && shards_new(s, s->shards_wanted))
            s->shards_wanted = s->shard_count;
        return;
    }
    if (!behind && !s->calm_since_ns)
        s->calm_since_ns = s->now_ns;
    if (behind)
        s->calm_since_ns = 0;
    if (s->now_ns - s->reshard_ns < RESHARD_EVERY_NS)
        return;
    s->reshard_ns = s->now_ns;
    if (behind && s->state.up)
        s->shards_wanted = MIN(s->shard_count * 2, (size_t)s->config->queue.max_shards);
    else if (s->calm_since_ns && s->now_ns - s->calm_since_ns > 6 * RESHARD_EVERY_NS && s->shard_count > 1)
        s->shards_wanted = s->shard_count / 2;
}

/* ---- a turn ---- */

static void look_at_losses(sender *s)
{
    uint64_t lost = rqueue_reader_lost(s->reader);
    err e = { 0 };
    if (lost == s->lost_seen)
        return;
    own_add(s->m.lost, (double)(lost - s->lost_seen));
    err_set(&e, ERR_LIMIT, "the queue was full (or damaged) while the remote store was behind");
    tell_drops(s, (size_t)(lost - s->lost_seen), &e);
    s->lost_seen = s->state.lost = lost;
}

static void show(sender *s)
{
    uint64_t rows = rqueue_stats_get(s->queue).rows, read = rqueue_reader_next(s->reader).row;
    s->state.waiting = (rows > read ? rows - read : 0) + waiting_in_all(s);
    s->state.shards = s->shard_count;
    own_metric *const by_kind[] = { s->m.samples, s->m.histograms, s->m.exemplars };
    for (size_t i = 0; i < COUNT_OF(by_kind); i++)
        if (s->tally.sent[i])
            own_add(by_kind[i], (double)s->tally.sent[i]);
    if (s->tally.in)
        own_add(s->m.in, (double)s->tally.in);
    if (s->tally.dropped)
        own_add(s->m.dropped, (double)s->tally.dropped);
    memset(&s->tally, 0, sizeof s->tally);
    own_set(s->m.pending, (double)s->state.waiting);
    own_set(s->m.up, s->state.up);
    own_set(s->m.highest_sent, s->state.highest_sent_s);
    own_set(s->m.highest_in, s->state.highest_queued_s);
}

bool sender_turn(sender *s)
{
    s->now_ns = clock_mono_ns();
    s->now_ms = clock_now_ms();
    bool more = read_queue(s);
    for (size_t i = 0; i < s->shard_count; i++)
        shard_send(&s->shards[i]);
    look_at_losses(s);
    if (s->old_book && s->old_book->waiting == 0)
        labelbook_free(TAKE(s->old_book));
    move_cursor(s);
    bool behind = !has_room(s) && (double)s->now_ms / 1e3 - s->state.highest_sent_s > LAG_MS / 1e3;
    reshard(s, behind);
    show(s);
    return more;
}

/* ---- life ---- */

err_kind sender_open(const sender_deps *d, remote_config *take, sender **ret, err *e)
{
    sender *s = mem_zalloc(sizeof *s);
    uint64_t seed;
    if (!s) {
        remote_config_free(take);
        return err_nomem(e);
    }
    rand_secret(&seed, sizeof seed);
    *s = (sender){ .loop = d->loop, .client = d->client, .queue = d->queue, .room = d->room, .room_ctx = d->ctx, .config = take, .protocol = take->protocol, .random = rand_seeded(seed),
                   .body = BUF_INIT(REQUEST_MAX_BYTES), .state = { .up = true }, .reshard_ns = clock_mono_ns() };
    str_copy(s->state.name, sizeof s->state.name, str_from(take->name));
    str_copy(s->state.url, sizeof s->state.url, str_from(take->url));
    request_init(&s->writer);
    open_meters(s);
    s->book = labelbook_new(&take->relabel, (labels){ take->external, take->external_count });
    err_kind k = !s->book || shards_new(s, 1) ? err_nomem(e) : rqueue_reader_open(d->queue, take->name, &s->reader, e);
    if (k)
        sender_close(s);
    else
        *ret = s;
    return k;
}

void sender_close(sender *s)
{
    if (!s)
        return;
    shards_free(s);
    http_fetch_cancel(s->metadata_fetch);
    rqueue_reader_close(s->reader);
    labelbook_free(s->book);
    labelbook_free(s->old_book);
    request_done(&s->writer);
    buf_done(&s->body);
    remote_config_free(s->config);
    mem_free(s);
}

const remote_config *sender_config(const sender *s) { return s->config; }
sender_state sender_state_of(const sender *s) { return s->state; }
