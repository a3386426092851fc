#include "base/test.h"
#include "store/remote/canonical_rows.h"
#include "store/remote/outbox.h"
#include <stdio.h>

#define T0 INT64_C(1790000000000)

/* A store that gives refs, refuses what a test says, and forgets refs when told. */
typedef struct fake_store { uint64_t next_ref; const char *refuse; err_kind fail; size_t appended; bool silent_refs; } fake_store;

static err_kind fake_append(void *ctx, const sample_row *rows, size_t n, sink_result *rejected, err *e)
{
    fake_store *s = ctx;
    if (s->fail)
        return err_set(e, s->fail, "as the test said");
    for (size_t i = 0; i < n; i++) {
        bool refused = s->refuse && i < strlen(s->refuse) && s->refuse[i] == 'x';
        if (refused && !rejected)
            return err_set(e, ERR_OUT_OF_ORDER, "as the test said");
        if (rejected && rejected->refused)
            rejected->refused[i] = refused;
        if (rejected)
            rejected->appended += !refused, rejected->out_of_order += refused;
        if (!refused && rows[i].ref && *rows[i].ref == 0 && !s->silent_refs)
            *rows[i].ref = ++s->next_ref;
        s->appended += !refused;
    }
    return OK;
}

typedef struct bench { fake_store store; rqueue *queue; rqueue_reader *reader; outbox *outbox; sample_sink sink; buf text; } bench;

static void on_series(void *ctx, uint32_t number, labels l)
{
    buf *b = ctx;
    buf_printf(b, "%u=", number);
    labels_format(l, b);
    buf_append_char(b, ' ');
}

static void on_row(void *ctx, const rqueue_row *r)
{
    buf *b = ctx;
    if (!r->refused && r->kind == RQUEUE_FLOAT)
        buf_printf(b, "%u@%" PRId64 ":%g ", r->series, r->t_ms - T0, r->v);
    else if (!r->refused)
        buf_printf(b, "%u@%" PRId64 ":histogram ", r->series, r->t_ms - T0);
}

static void bench_open(bench *b, bool canonical)
{
    err e = { 0 };
    *b = (bench){ .text = BUF_INIT(1u << 20) };
    CHECK_OK(rqueue_open(test_dir(), UINT64_C(1) << 40, &b->queue, &e), e);
    CHECK_OK(rqueue_reader_open(b->queue, "r", &b->reader, &e), e);
    b->outbox = outbox_new(b->queue, (sample_sink){ fake_append, &b->store }, canonical);
    CHECK(b->outbox);
    outbox_turn(b->outbox, true, false);
    b->sink = outbox_sink(b->outbox);
}

static void bench_close(bench *b)
{
    outbox_free(b->outbox);
    rqueue_reader_close(b->reader);
    rqueue_close(b->queue);
    buf_done(&b->text);
}

/* All that was queued since the last call. */
static str queued(bench *b)
{
    const rqueue_events to = { .series = on_series, .row = on_row, .ctx = &b->text };
    err e = { 0 };
    buf_reset(&b->text);
    buf_append(&b->text, STR(""));
    while (rqueue_read(b->reader, &to, &e) == OK)
        continue;
    return buf_str(&b->text);
}

/* Labels out of "name,label=value,…". */
static labels labels_of(const char *text, label at[8])
{
    size_t n = 0;
    str rest = str_from(text), part;
    str_split(&rest, ',', &part);
    at[n++] = (label){ METRIC_NAME, part };
    while (str_split(&rest, ',', &part)) {
        ptrdiff_t eq = str_find_char(part, '=');
        at[n++] = (label){ str_sub(part, 0, (size_t)eq), str_skip(part, (size_t)eq + 1) };
    }
    CHECK_EQ(labels_normalise(at, &n, NULL), OK);
    return (labels){ at, n };
}

static err_kind put(bench *b, const char *series, uint64_t *ref, int64_t t, double v)
{
    label at[8];
    sample_row row = { .labels = series ? labels_of(series, at) : (labels){ 0 }, .ref = ref, .t_ms = T0 + t, .v = v };
    sink_result result = { 0 };
    return b->sink.append(b->sink.ctx, &row, 1, &result, NULL);
}

TEST(outbox_queues_what_the_store_accepts)
{
    bench b;
    bench_open(&b, false);
    uint64_t ref = 0;
    CHECK_EQ(put(&b, "up,i=0", &ref, 1, 1), OK);
    CHECK_EQ(put(&b, NULL, &ref, 2, 2), OK); /* by its ref alone */
    CHECK_EQ(put(&b, "up,i=1", NULL, 3, 3), OK);
    CHECK_STR(queued(&b), "0=up{i=\"0\"} 0@1:1 0@2:2 1=up{i=\"1\"} 1@3:3 ");
    b.store.refuse = "x";
    CHECK_EQ(put(&b, "up,i=1", NULL, 3, 4), OK);
    b.store.refuse = NULL;
    b.store.fail = ERR_IO;
    CHECK_EQ(put(&b, "up,i=2", NULL, 4, 4), ERR_IO);
    b.store.fail = OK;
    CHECK_EQ(put(&b, "up,i=3", NULL, 5, 5), OK);
    CHECK_STR(queued(&b), "2=up{i=\"3\"} 2@5:5 ");
    bench_close(&b);
}

TEST(outbox_asks_for_labels_it_does_not_know)
{
    bench b;
    bench_open(&b, false);
    uint64_t ref = 77;
    CHECK_EQ(put(&b, NULL, &ref, 1, 1), ERR_NOT_FOUND);
    CHECK_EQ(b.store.appended, 0);
    outbox_turn(b.outbox, false, false);
    CHECK_EQ(put(&b, NULL, &ref, 1, 1), OK); /* no remotes: the store's own business */
    CHECK_STR(queued(&b), "");
    bench_close(&b);
}

TEST(outbox_marks_the_refused_rows_of_a_batch)
{
    bench b;
    bench_open(&b, false);
    label at[3][8];
    sample_row rows[3];
    for (size_t i = 0; i < 3; i++) {
        char text[] = "up,i=0";
        text[5] = (char)('0' + i);
        label copy[8];
        labels l = labels_of(text, copy);
        for (size_t k = 0; k < l.len; k++)
            at[i][k] = (label){ k ? STR("i") : METRIC_NAME, k ? (i == 0 ? STR("0") : i == 1 ? STR("1") : STR("2")) : STR("up") };
        rows[i] = (sample_row){ .labels = { at[i], l.len }, .t_ms = T0 + 1, .v = (double)i };
    }
    b.store.refuse = ".x.";
    sink_result result = { 0 };
    CHECK_EQ(b.sink.append(b.sink.ctx, rows, 3, &result, NULL), OK);
    CHECK_EQ(result.out_of_order, 1);
    CHECK(result.refused == NULL);
    CHECK_STR(queued(&b), "0=up{i=\"0\"} 1=up{i=\"1\"} 2=up{i=\"2\"} 0@1:0 2@1:2 ");
    CHECK_EQ(b.sink.append(b.sink.ctx, rows, 3, NULL, NULL), ERR_OUT_OF_ORDER); /* all or nothing */
    CHECK_STR(queued(&b), "");
    bench_close(&b);
}

TEST(outbox_goes_on_when_the_queue_cannot_be_written)
{
    bench b;
    bench_open(&b, false);
    for (unsigned nth = 0;; nth++) {
        fault_write(nth, FAULT_ENOSPC);
        CHECK_EQ(put(&b, "up,i=0", NULL, nth, nth), OK);
        if (!fault_write_fired())
            break;
    }
    CHECK_EQ(outbox_lost(b.outbox) > 0, b.store.appended > 1);
    CHECK_EQ(put(&b, "up,i=0", NULL, 100, 100), OK);
    CHECK_CONTAINS(queued(&b), "@100:100 ");
    bench_close(&b);
}

TEST(outbox_survives_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        bench b;
        bench_open(&b, true);
        fault_alloc(nth);
        err_kind k = put(&b, "llamacpp:requests_processing,job=j,instance=i", NULL, 1, 1);
        if (!k)
            k = put(&b, "watch_engine_info,job=j,instance=i,engine=llama.cpp", NULL, 1, 1);
        if (!k)
            k = put(&b, "llamacpp:requests_processing,job=j,instance=i", NULL, 2, 1);
        bool fired = fault_fired();
        CHECK_MSG(k == OK || (fired && k == ERR_NOMEM), "%s", err_kind_name(k));
        bench_close(&b);
        if (!fired)
            break;
    }
}

TEST(outbox_writes_canonical_series_for_real)
{
    bench b;
    bench_open(&b, true);
    const char *raw = "vllm:num_requests_running,job=j,instance=i,model_name=m,engine=0";
    CHECK_EQ(put(&b, raw, NULL, 1, 3), OK); /* the engine is not known yet */
    CHECK_STR(queued(&b), "0=vllm:num_requests_running{engine=\"0\",instance=\"i\",job=\"j\",model_name=\"m\"} 0@1:3 ");
    CHECK_EQ(put(&b, "watch_engine_info,job=j,instance=i,engine=vllm", NULL, 1, 1), OK);
    (void)queued(&b);
    CHECK_EQ(put(&b, raw, NULL, 2, 4), OK);
    CHECK_STR(queued(&b), "2=llm_requests_running{engine=\"vllm\",instance=\"i\",job=\"j\",model=\"m\",rank=\"0\"} 0@2:4 2@2:4 ");
    CHECK_EQ(put(&b, raw, NULL, 3, stale_nan()), OK); /* ends go with it */
    CHECK_STR(queued(&b), "0@3:nan 2@3:nan ");
    bench_close(&b);
}

static size_t rows_for(canonical_rows *c, const char *text, char *out, size_t cap)
{
    label at[8];
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    AUTO(buf_done) buf b = BUF_INIT(1u << 16);
    canonical_row found[CANONICAL_PER_SERIES];
    size_t n = canonical_rows_of(c, labels_of(text, at), &a, found);
    for (size_t i = 0; i < n; i++) {
        labels_format(found[i].labels, &b);
        buf_append_char(&b, ' ');
    }
    str_copy(out, cap, buf_str(&b));
    return n;
}

TEST(canonical_rows_follow_the_views_rules)
{
    static const struct { const char *what, *meet, *ask, *want; } rows[] = {
        { "no engine, no row", "vllm:gpu_cache_usage_perc,job=j,instance=i", "vllm:gpu_cache_usage_perc,job=j,instance=i", "" },
        { "with its engine a raw series has its row", "watch_engine_info,job=j,instance=i,engine=vllm", "vllm:gpu_cache_usage_perc,job=j,instance=i",
          "llm_kv_cache_usage_ratio{engine=\"vllm\",instance=\"i\",job=\"j\"} " },
        { "the newer raw name wins", "vllm:kv_cache_usage_perc,job=j,instance=i", "vllm:gpu_cache_usage_perc,job=j,instance=i", "" },
        { "and has the row itself", "up,job=j,instance=i", "vllm:kv_cache_usage_perc,job=j,instance=i",
          "llm_kv_cache_usage_ratio{engine=\"vllm\",instance=\"i\",job=\"j\"} " },
        { "a histogram's parts have rows", "vllm:time_to_first_token_seconds_bucket,job=j,instance=i,le=1", "vllm:time_to_first_token_seconds_bucket,job=j,instance=i,le=1",
          "llm_ttft_seconds_bucket{engine=\"vllm\",instance=\"i\",job=\"j\",le=\"1\"} " },
        { "a counter that only begins like one has none", "vllm:num_requests_running_bucket,job=j,instance=i", "vllm:num_requests_running_bucket,job=j,instance=i", "" },
        { "one raw series may stand for two", "vllm:prompt_tokens_total,job=j,instance=i", "vllm:prompt_tokens_total,job=j,instance=i",
          "llm_prompt_tokens_total{engine=\"vllm\",instance=\"i\",job=\"j\"} llm_progress_total{engine=\"vllm\",instance=\"i\",job=\"j\",phase=\"prefill\"} " },
        { "another target has its own engine", "vllm:num_requests_waiting,job=j,instance=k", "vllm:num_requests_waiting,job=j,instance=k", "" },
        { "what a target calls so itself is left alone", "llm_kv_cache_usage_ratio,job=j,instance=i", "vllm:kv_cache_usage_perc,job=j,instance=i", "" },
    };
    canonical_rows *c = canonical_rows_new();
    label at[8];
    char got[600];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        (void)canonical_rows_meet(c, labels_of(rows[i].meet, at));
        rows_for(c, rows[i].ask, got, sizeof got);
        CHECK_MSG(strcmp(got, rows[i].want) == 0, "%s: %s", rows[i].what, got);
    }
    canonical_rows_free(c);
}
