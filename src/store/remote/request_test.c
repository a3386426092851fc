#include "base/test.h"
#include "store/remote/sender.h"
#include <snappy-c.h>

#define T0 INT64_C(1790000000000)

/* ---- what an answer means ---- */

TEST(sender_knows_what_answers_mean)
{
    static const struct { const char *what; send_answer a; send_verdict want; } rows[] = {
        { "2xx is done", { OK, 204, REMOTE_WRITE_1, 5, false, true }, SEND_DONE },
        { "2xx to 2.0 with its fields is done", { OK, 204, REMOTE_WRITE_2, 5, true, true }, SEND_DONE },
        { "2xx to 2.0 without: it read nothing", { OK, 204, REMOTE_WRITE_2, 5, false, true }, SEND_FALL_BACK },
        { "415 to 2.0: speak 1.0", { OK, 415, REMOTE_WRITE_2, 5, false, true }, SEND_FALL_BACK },
        { "415 to 1.0 is final", { OK, 415, REMOTE_WRITE_1, 5, false, true }, SEND_DROP },
        { "5xx passes", { OK, 503, REMOTE_WRITE_1, 5, false, true }, SEND_RETRY },
        { "429 passes", { OK, 429, REMOTE_WRITE_1, 5, false, true }, SEND_RETRY },
        { "429 where it was written that it does not", { OK, 429, REMOTE_WRITE_1, 5, false, false }, SEND_DROP },
        { "400 for many: one of them perhaps", { OK, 400, REMOTE_WRITE_1, 5, false, true }, SEND_SPLIT },
        { "400 for one is final", { OK, 400, REMOTE_WRITE_1, 1, false, true }, SEND_DROP },
        { "401 is final", { OK, 401, REMOTE_WRITE_1, 5, false, true }, SEND_DROP },
        { "no connection passes", { ERR_UNAVAILABLE, 0, REMOTE_WRITE_2, 5, false, true }, SEND_RETRY },
        { "no answer in time passes", { ERR_TIMEOUT, 0, REMOTE_WRITE_1, 5, false, true }, SEND_RETRY },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        CHECK_MSG(send_verdict_of(&rows[i].a) == rows[i].want, "%s", rows[i].what);
}

TEST(sender_waits_longer_and_longer)
{
    static const struct { const char *what; unsigned attempts; const char *retry_after; double random; int64_t want; } rows[] = {
        { "the first pause", 0, "", 0.5, 30 },     { "doubles", 3, "", 0.5, 240 },
        { "up to the longest", 60, "", 0.5, 5000 }, { "a quarter more", 60, "", 1, 6250 },
        { "a quarter less", 60, "", 0, 3750 },      { "as long as was asked for", 0, "7", 0.5, 7000 },
        { "but not for ever", 0, "86400", 0.5, RETRY_AFTER_MAX_MS }, { "dates are not understood", 0, "Fri, 31 Dec 1999", 0.5, 30 },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t got = send_backoff_ms(30, 5000, rows[i].attempts, str_from(rows[i].retry_after), rows[i].random);
        CHECK_MSG(got == rows[i].want, "%s: %" PRId64, rows[i].what, got);
    }
}

/* ---- bodies ---- */

typedef struct bench { relabel_rules relabel; label external; labelbook *book; request_writer writer; buf body, plain; } bench;

static void bench_open(bench *b)
{
    *b = (bench){ .external = { STR("site"), STR("x") }, .body = BUF_INIT(1u << 20), .plain = BUF_INIT(1u << 20) };
    b->book = labelbook_new(&b->relabel, (labels){ &b->external, 1 });
    request_init(&b->writer);
    for (uint32_t i = 0; i < 2; i++) {
        label at[] = { { METRIC_NAME, STR("up") }, { STR("i"), i ? STR("1") : STR("0") } };
        CHECK_EQ(labelbook_define(b->book, i, (labels){ at, 2 }), OK);
    }
}

static void bench_close(bench *b)
{
    labelbook_free(b->book);
    request_done(&b->writer);
    buf_done(&b->body);
    buf_done(&b->plain);
}

static str unpacked(bench *b)
{
    size_t n = 0;
    CHECK_EQ(snappy_uncompressed_length(b->body.ptr, b->body.len, &n), SNAPPY_OK);
    buf_reset(&b->plain);
    char *room = buf_reserve(&b->plain, n + 1);
    CHECK_EQ(snappy_uncompress(b->body.ptr, b->body.len, room, &n), SNAPPY_OK);
    buf_commit(&b->plain, n);
    return buf_str(&b->plain);
}

static void describe(const prompb_series *s, buf *out)
{
    labels_format(s->labels, out);
    for (size_t i = 0; i < s->sample_count; i++)
        buf_printf(out, " %" PRId64 "=%g", s->samples[i].t_ms - T0, s->samples[i].v);
    for (size_t i = 0; i < s->exemplar_count; i++) {
        buf_printf(out, " x%" PRId64 "=%g", s->exemplars[i].t_ms - T0, s->exemplars[i].v);
        labels_format(s->exemplars[i].labels, out);
    }
    for (size_t i = 0; i < s->histogram_count; i++)
        buf_printf(out, " h%" PRId64 "=%g", s->histograms[i].t_ms - T0, s->histograms[i].h->count);
    buf_append_char(out, '\n');
}

/* Both versions, read back by the codec that receives them. */
static const char *said(bench *b, remote_protocol p)
{
    static buf out = BUF_INIT(1u << 16);
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    str body = unpacked(b), *symbols = NULL;
    size_t n = 0;
    err e = { 0 };
    pb_reader r = pb_read(body);
    pb_field f;
    buf_reset(&out);
    if (p == REMOTE_WRITE_2)
        CHECK_OK(prompb2_read_symbols(body, &a, &symbols, &n, &e), e);
    while (pb_next(&r, &f) == 1) {
        prompb_series s = { 0 };
        if (p == REMOTE_WRITE_1)
            CHECK_OK(prompb_read_series(f.bytes, &a, &s, &e), e);
        else if (f.number == PROMPB2_SERIES)
            CHECK_OK(prompb2_read_series(f.bytes, symbols, n, &a, &s, &e), e);
        else
            continue;
        describe(&s, &out);
    }
    return buf_cstr(&out);
}

static outgoing item(bench *b, uint32_t series, int64_t t, double v) { return (outgoing){ .book = b->book, .series = series, .t_ms = T0 + t, .v = v }; }

TEST(request_says_the_same_in_both_versions)
{
    bench b;
    err e = { 0 };
    bench_open(&b);
    AUTO(buf_done) buf message = BUF_INIT(4096), trace = BUF_INIT(4096);
    histogram h = { .schema = 1, .count = 3, .sum = 2, .zero_count = 3, .integer = true };
    histogram_sample hs = { T0 + 4, &h };
    prompb_put_histogram(&message, 1, &hs, 0);
    pb_reader r = pb_read(buf_str(&message));
    pb_field f;
    CHECK_EQ(pb_next(&r, &f), 1);
    prompb_put_label(&trace, 1, (label){ STR("trace"), STR("q") });
    pb_put_double(&trace, 2, 7);
    pb_put_uint(&trace, 3, (uint64_t)T0 + 5);
    outgoing items[] = { item(&b, 0, 1, 1), item(&b, 1, 1, 0), item(&b, 0, 2, -2.5), item(&b, 0, 4, 0), item(&b, 1, 5, 0) };
    items[3].kind = OUTGOING_HISTOGRAM, items[3].bytes = (char *)f.bytes.ptr, items[3].len = (uint32_t)f.bytes.len;
    items[4].kind = OUTGOING_EXEMPLAR, items[4].bytes = trace.ptr, items[4].len = (uint32_t)trace.len;
    for (remote_protocol p = REMOTE_WRITE_1; p <= REMOTE_WRITE_2; p++) {
        CHECK_OK(request_build(&b.writer, p, items, COUNT_OF(items), &b.body, &e), e);
        CHECK_STR(str_from(said(&b, p)), "up{i=\"0\",site=\"x\"} 1=1 2=-2.5 h4=3\nup{i=\"1\",site=\"x\"} 1=0 x5=7{trace=\"q\"}\n");
        CHECK_OK(request_build(&b.writer, p, items, 2, &b.body, &e), e); /* and once more: nothing stays behind */
        CHECK_STR(str_from(said(&b, p)), "up{i=\"0\",site=\"x\"} 1=1\nup{i=\"1\",site=\"x\"} 1=0\n");
    }
    bench_close(&b);
}

TEST(request_survives_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        bench b;
        bench_open(&b);
        outgoing items[] = { item(&b, 0, 1, 1), item(&b, 1, 1, 1) };
        fault_alloc(nth);
        err_kind k = request_build(&b.writer, REMOTE_WRITE_2, items, 2, &b.body, NULL);
        bool fired = fault_fired();
        CHECK_EQ(k != OK, fired);
        bench_close(&b);
        if (!fired)
            break;
    }
}

TEST(labelbook_relabels_and_drops)
{
    bench b;
    bench_open(&b);
    label at[] = { { METRIC_NAME, STR("up") }, { STR("site"), STR("own") } };
    bool dropped;
    CHECK_EQ(labelbook_define(b.book, 5, (labels){ at, 2 }), OK);
    CHECK(labelbook_get(b.book, 5, &dropped) && !dropped);
    CHECK(!labelbook_get(b.book, 3, &dropped) && !dropped); /* never defined */
    CHECK(!labelbook_get(b.book, 99, &dropped));
    CHECK_EQ(labelbook_define(b.book, UINT32_MAX, (labels){ at, 2 }), ERR_LIMIT);
    size_t known = b.book->series.len;
    labelbook_segment(b.book);
    CHECK(!labelbook_get(b.book, 5, &dropped));
    CHECK_EQ(labelbook_define(b.book, 0, (labels){ at, 2 }), OK);
    CHECK_EQ(b.book->series.len, known); /* the numbers are new, the series are not */
    bench_close(&b);
}

/* ---- configuration ---- */

TEST(remote_config_reads_prometheus_schema)
{
    static const struct { const char *what, *yaml, *want; } rows[] = {
        { "an address is needed", "[{name: a}]", "url" },
        { "an address is http", "[{url: 'ftp://x'}]", "not http" },
        { "a message is one of two", "[{url: 'http://x', protobuf_message: v3}]", "protobuf message" },
        { "a wrong key is told", "[{url: 'http://x', queue_config: {capazity: 1}}]", "capazity" },
        { "two of one name", "[{url: 'http://x', name: a}, {url: 'http://y', name: a}]", "two remotes" },
        { "all of it", "[{url: 'http://x/w', name: a b, remote_timeout: 5s, headers: {X-Scope-OrgID: t}, basic_auth: {username: u, password: p},"
                       " write_relabel_configs: [{regex: x, action: labeldrop}], queue_config: {max_shards: 3, capacity: 9}, metadata_config: {send: false},"
                       " protobuf_message: io.prometheus.write.v2.Request, send_exemplars: true, proxy_url: 'http://p'}]", NULL },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(yaml_doc_freep) yaml_doc *doc = NULL;
        remote_configs c = { 0 };
        err e = { 0 };
        label external = { STR("a"), STR("b") };
        CHECK_OK(yaml_parse(str_from(rows[i].yaml), "t", &doc, &e), e);
        err_kind k = remote_configs_parse(doc, doc->root, (labels){ &external, 1 }, ".", &c, &e);
        CHECK_MSG((k == OK) == (rows[i].want == NULL), "%s: %s", rows[i].what, e.message);
        if (rows[i].want)
            CHECK_CONTAINS(str_from(e.message), rows[i].want);
        else
            CHECK(c.len == 1 && c.at[0]->queue.max_shards == 3 && c.at[0]->protocol == REMOTE_WRITE_2 && strcmp(c.at[0]->name, "a_b") == 0 &&
                  c.at[0]->headers[0].value.len == 1 && c.at[0]->external_count == 1 && !c.at[0]->send_metadata && c.at[0]->queue.retry_on_429);
        remote_configs_done(&c);
    }
}
