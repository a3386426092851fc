#include "base/test.h"
#include "metric/prompb.h"

static const label up[] = { { STR_INIT("__name__"), STR_INIT("up") }, { STR_INIT("job"), STR_INIT("x") } };

/* The only field of a message that is one field. */
static str only_field(str message, uint32_t number)
{
    pb_reader r = pb_read(message);
    pb_field f;
    CHECK_EQ(pb_next(&r, &f), 1);
    CHECK(pb_is(&f, number, PB_BYTES));
    CHECK(r.at == r.end);
    return f.bytes;
}

static const histogram *fixture_histogram(bool integer)
{
    static const histogram_span spans[] = { { -3, 2 }, { 1, 1 } };
    static const double counts[] = { 3, 1, 7 }, shares[] = { 0.5, 0, 1e300 }, bounds[] = { 0.1, 1 };
    static const histogram whole = { .schema = -1,
                                     .reset = HISTOGRAM_RESET_NO,
                                     .integer = true,
                                     .zero_threshold = 1e-128,
                                     .zero_count = 2,
                                     .count = 24,
                                     .sum = -0.5,
                                     .negative = { spans, 2, counts, 3 },
                                     .positive = { spans, 2, counts, 3 } };
    static const histogram custom = { .schema = HISTOGRAM_CUSTOM,
                                      .count = 1.5,
                                      .sum = 3,
                                      .positive = { spans, 2, shares, 3 },
                                      .bounds = bounds,
                                      .bound_count = 2 };
    return integer ? &whole : &custom;
}

static void check_side(const histogram_side *got, const histogram_side *want)
{
    CHECK_EQ(got->span_count, want->span_count);
    CHECK_EQ(got->bucket_count, want->bucket_count);
    for (uint32_t i = 0; i < want->span_count; i++) {
        CHECK_EQ(got->spans[i].offset, want->spans[i].offset);
        CHECK_EQ(got->spans[i].length, want->spans[i].length);
    }
    for (uint32_t i = 0; i < want->bucket_count; i++)
        CHECK_DOUBLE(got->buckets[i], want->buckets[i]);
}

static void check_histogram(const histogram *got, const histogram *want)
{
    CHECK_EQ(got->schema, want->schema);
    CHECK_EQ(got->reset, want->reset);
    CHECK_EQ(got->integer, want->integer);
    CHECK_DOUBLE(got->count, want->count);
    CHECK_DOUBLE(got->sum, want->sum);
    CHECK_DOUBLE(got->zero_count, want->zero_count);
    CHECK_DOUBLE(got->zero_threshold, want->zero_threshold);
    CHECK_EQ(got->bound_count, want->bound_count);
    for (uint32_t i = 0; i < want->bound_count; i++)
        CHECK_DOUBLE(got->bounds[i], want->bounds[i]);
    check_side(&got->negative, &want->negative);
    check_side(&got->positive, &want->positive);
}

static void check_series(const prompb_series *got, const prompb_series *want)
{
    CHECK(labels_eq(got->labels, want->labels));
    CHECK_EQ(got->sample_count, want->sample_count);
    for (size_t i = 0; i < want->sample_count; i++) {
        CHECK_EQ(got->samples[i].t_ms, want->samples[i].t_ms);
        CHECK(memcmp(&got->samples[i].v, &want->samples[i].v, 8) == 0);
    }
    CHECK_EQ(got->histogram_count, want->histogram_count);
    for (size_t i = 0; i < want->histogram_count; i++) {
        CHECK_EQ(got->histograms[i].t_ms, want->histograms[i].t_ms);
        check_histogram(got->histograms[i].h, want->histograms[i].h);
    }
    CHECK_EQ(got->exemplar_count, want->exemplar_count);
    for (size_t i = 0; i < want->exemplar_count; i++) {
        CHECK(labels_eq(got->exemplars[i].labels, want->exemplars[i].labels));
        CHECK_EQ(got->exemplars[i].t_ms, want->exemplars[i].t_ms);
        CHECK_DOUBLE(got->exemplars[i].v, want->exemplars[i].v);
    }
}

static const sample two_samples[] = { { 1700000000000, 1.5 }, { -5, 0 } };
static const exemplar one_exemplar[] = { { { up, 2 }, -1, 12 } };

static prompb_series fixture_series(const histogram_sample h[2])
{
    return (prompb_series){ .labels = { up, 2 },
                            .samples = two_samples,
                            .sample_count = 2,
                            .histograms = h,
                            .histogram_count = 2,
                            .exemplars = one_exemplar,
                            .exemplar_count = 1,
                            .start_ms = 1234,
                            .type = METRIC_SUMMARY,
                            .help = STR("what it is"),
                            .unit = STR("seconds") };
}

TEST(a_series_of_remote_write_1_reads_back_as_it_was_written)
{
    histogram_sample h[] = { { 10, fixture_histogram(true) }, { 20, fixture_histogram(false) } };
    prompb_series s = fixture_series(h), back;
    AUTO(buf_done) buf out = BUF_INIT(1 << 20);
    AUTO(arena_done) arena a = arena_init(1 << 20);
    err e = { 0 };
    prompb_put_series(&out, &s);
    CHECK_OK(prompb_read_series(only_field(buf_str(&out), PROMPB_WRITE_SERIES), &a, &back, &e), e);
    check_series(&back, &s);
}

TEST(a_staleness_marker_and_a_negative_zero_keep_their_bits)
{
    sample s[] = { { 1, stale_nan() }, { 2, -0.0 } };
    prompb_series series = { .labels = { up, 2 }, .samples = s, .sample_count = 2 }, back;
    AUTO(buf_done) buf out = BUF_INIT(1 << 20);
    AUTO(arena_done) arena a = arena_init(1 << 20);
    err e = { 0 };
    prompb_put_series(&out, &series);
    CHECK_OK(prompb_read_series(only_field(buf_str(&out), 1), &a, &back, &e), e);
    check_series(&back, &series);
}

TEST(a_request_of_remote_write_2_reads_back_with_its_symbols_metadata_and_start)
{
    histogram_sample h[] = { { 10, fixture_histogram(true) }, { 20, fixture_histogram(false) } };
    prompb_series s = fixture_series(h), back;
    prompb2_writer w;
    AUTO(buf_done) buf out = BUF_INIT(1 << 20);
    AUTO(arena_done) arena a = arena_init(1 << 20);
    err e = { 0 };
    str *symbols;
    size_t n, series = 0;
    prompb2_init(&w, 1 << 20);
    for (int round = 0; round < 2; round++) { /* the writer is as new after a finish */
        buf_reset(&out);
        prompb2_add(&w, &s);
        prompb2_add(&w, &s);
        CHECK_OK(prompb2_finish(&w, &out, &e), e);
    }
    prompb2_done(&w);
    CHECK_OK(prompb2_read_symbols(buf_str(&out), &a, &symbols, &n, &e), e);
    CHECK_EQ(n, 7); /* "", __name__, up, job, x, help, unit: each once */
    pb_reader r = pb_read(buf_str(&out));
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        if (!pb_is(&f, PROMPB2_SERIES, PB_BYTES))
            continue;
        series++;
        CHECK_OK(prompb2_read_series(f.bytes, symbols, n, &a, &back, &e), e);
        check_series(&back, &s);
        CHECK_EQ(back.start_ms, 1234);
        CHECK_EQ(back.type, METRIC_SUMMARY);
        CHECK_STR(back.help, "what it is");
        CHECK_STR(back.unit, "seconds");
    }
    CHECK_EQ(series, 2);
}

TEST(many_symbols_find_their_numbers_again)
{
    prompb2_writer w;
    AUTO(buf_done) buf out = BUF_INIT(1 << 20);
    AUTO(arena_done) arena a = arena_init(4 << 20);
    err e = { 0 };
    str *symbols;
    size_t n;
    prompb2_init(&w, 1 << 20);
    for (int i = 0; i < 2000; i++) {
        str value = arena_printf(&a, "v%d", i % 1000);
        label l = { STR("n"), value };
        prompb2_add(&w, &(prompb_series){ .labels = { &l, 1 } });
    }
    CHECK_OK(prompb2_finish(&w, &out, &e), e);
    CHECK_OK(prompb2_read_symbols(buf_str(&out), &a, &symbols, &n, &e), e);
    CHECK_EQ(n, 1002);
    prompb2_done(&w);
}

TEST(metadata_reads_back)
{
    AUTO(buf_done) buf out = BUF_INIT(1 << 12);
    err e = { 0 };
    for (metric_type t = METRIC_UNKNOWN; t <= METRIC_STATESET; t++) {
        exposition_meta m = { STR("up"), STR("is it"), STR("bool"), t }, back;
        buf_reset(&out);
        prompb_put_metadata(&out, &m);
        CHECK_OK(prompb_read_metadata(only_field(buf_str(&out), PROMPB_WRITE_METADATA), &back, &e), e);
        CHECK_STR(back.family, "up");
        CHECK_STR(back.help, "is it");
        CHECK_STR(back.unit, "bool");
        CHECK_EQ(back.type, t);
    }
}

/* Bytes as github.com/golang/protobuf writes them, so that reader and writer cannot be wrong together. */
TEST(known_bytes_of_other_writers_are_understood)
{
    static const char wire[] = "\x0a\x0e\x0a\x08__name__\x12\x02up"                       /* labels { __name__="up" } */
                               "\x12\x0c\x09\x00\x00\x00\x00\x00\x00\xf8\x3f\x10\xe8\x07" /* samples { 1.5 @ 1000 } */
                               "\x22\x1e\x08\x05\x19\x00\x00\x00\x00\x00\x00\x24\x40" /* histograms { count 5, sum 10 */
                               "\x20\x05"                                             /* schema -3 */
                               "\x30\x01"                                             /* zero_count 1 */
                               "\x5a\x04\x08\x03\x10\x02"                             /* positive span -2, 2 */
                               "\x62\x02\x06\x03"                                     /* deltas +3, -2 */
                               "\x70\x02\x78\xd0\x0f";                                /* no reset, at 2000 } */
    str message = { wire, sizeof wire - 1 };
    AUTO(arena_done) arena a = arena_init(1 << 20);
    prompb_series s;
    err e = { 0 };
    CHECK_OK(prompb_read_series(message, &a, &s, &e), e);
    CHECK_STR(labels_name(s.labels), "up");
    CHECK_DOUBLE(s.samples[0].v, 1.5);
    CHECK_EQ(s.histogram_count, 1);
    const histogram *h = s.histograms[0].h;
    CHECK_EQ(s.histograms[0].t_ms, 2000);
    CHECK_EQ(h->schema, -3);
    CHECK_EQ(h->reset, HISTOGRAM_RESET_NO);
    CHECK_EQ(h->positive.spans[0].offset, -2);
    CHECK_EQ(h->positive.spans[0].length, 2);
    CHECK_DOUBLE(h->positive.buckets[0], 3);
    CHECK_DOUBLE(h->positive.buckets[1], 1);
    CHECK_DOUBLE(h->sum, 10);
}

TEST(broken_messages_are_refused_with_a_reason)
{
    static const struct {
        const char *what;
        str bytes;
        err_kind want;
    } cases[] = {
        { "a group", STR_INIT("\x0b\x0c"), ERR_PARSE },
        { "field number zero", STR_INIT("\x02\x00"), ERR_PARSE },
        { "a length beyond the end", STR_INIT("\x0a\x7f"), ERR_PARSE },
        { "a varint of eleven bytes", STR_INIT("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ERR_PARSE },
        { "a label cut off", STR_INIT("\x0a\x02\x0a\x05"), ERR_PARSE },
        { "a histogram of a schema that does not fit", STR_INIT("\x22\x03\x20\xff\x7f"), ERR_INVALID },
        { "packed doubles that are not whole", STR_INIT("\x22\x0f\x11\0\0\0\0\0\0\0\0\x6a\x04\0\0\0\0"), ERR_PARSE },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena_done) arena a = arena_init(1 << 20);
        prompb_series s;
        err e = { 0 };
        err_kind k = prompb_read_series(cases[i].bytes, &a, &s, &e);
        CHECK_MSG(k == cases[i].want && e.message[0], "%s: %s %s", cases[i].what, err_kind_name(k), e.message);
    }
}

TEST(a_histogram_with_too_many_buckets_is_refused_before_memory_is_asked_for)
{
    AUTO(buf_done) buf out = BUF_INIT(1 << 20);
    AUTO(arena_done) arena a = arena_init(4096);
    histogram_sample h;
    err e = { 0 };
    size_t at = pb_begin(&out, 12);
    for (int i = 0; i <= HISTOGRAM_MAX_BUCKETS; i++)
        buf_append_char(&out, 0);
    pb_end(&out, at);
    CHECK_EQ(prompb_read_histogram(buf_str(&out), &a, &h, NULL, &e), ERR_LIMIT);
}

TEST(references_beyond_the_symbols_are_refused)
{
    static const struct {
        const char *what;
        str message;
        err_kind want;
    } cases[] = {
        { "packed", STR_INIT("\x0a\x02\x01\x01"), OK },
        { "one by one", STR_INIT("\x08\x01\x08\x01"), OK },
        { "beyond the symbols", STR_INIT("\x0a\x02\x01\x02"), ERR_PARSE },
        { "far beyond them", STR_INIT("\x0a\x07\x01\xff\xff\xff\xff\xff\x01"), ERR_PARSE },
        { "a name without a value", STR_INIT("\x0a\x01\x01"), ERR_PARSE },
        { "cut off", STR_INIT("\x0a\x01\x81"), ERR_PARSE },
        { "too many", STR_INIT("\x0a\x06\x01\x01\x01\x01\x01\x01"), ERR_LIMIT },
    };
    str symbols[] = { STR_EMPTY, STR("a") };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint32_t refs[4];
        label at[2];
        size_t n;
        err e = { 0 };
        err_kind k = prompb2_read_refs(cases[i].message, 1, refs, 4, &n, &e);
        if (!k)
            k = prompb2_labels(refs, n, symbols, 2, at, &e);
        CHECK_MSG(k == cases[i].want, "%s: %s %s", cases[i].what, err_kind_name(k), e.message);
    }
}

TEST(labels_are_checked_as_prometheus_does)
{
    static const struct {
        const char *what;
        label extra;
        bool utf8;
        err_kind want;
    } cases[] = {
        { "a plain label is taken", { STR_INIT("zone"), STR_INIT("a") }, false, OK },
        { "a blank in a name needs UTF-8 names", { STR_INIT("a b"), STR_INIT("c") }, false, ERR_INVALID },
        { "with UTF-8 names a blank is taken", { STR_INIT("a b"), STR_INIT("c") }, true, OK },
        { "a repeated name is refused", { STR_INIT("job"), STR_INIT("y") }, true, ERR_INVALID },
        { "a label without a name is refused", { STR_INIT(""), STR_INIT("y") }, true, ERR_INVALID },
        { "broken UTF-8 is refused", { STR_INIT("zone"), STR_INIT("\xff") }, true, ERR_INVALID },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        label at[] = { cases[i].extra, up[1], up[0] };
        size_t n = 3;
        err e = { 0 };
        err_kind k = prompb_labels_check(at, &n, cases[i].utf8, &e);
        CHECK_MSG(k == cases[i].want, "%s: %s", cases[i].what, e.message);
        CHECK(k || str_is(at[0].name, "__name__") || str_is(at[0].name, "a b"));
    }
    label nameless = { STR("job"), STR("x") };
    size_t n = 1;
    CHECK_EQ(prompb_labels_check(&nameless, &n, true, NULL), ERR_INVALID);
}

TEST(a_read_request_reads_back)
{
    prompb_matcher m[] = { { PROMPB_EQ, STR("__name__"), STR("up") }, { PROMPB_NRE, STR("job"), STR("a|b") } };
    prompb_query queries[] = { { 1000, 2000, m, 2, 15000, 300000, STR("rate") }, { -5, 0, m, 1, 0, 0, STR_EMPTY } };
    prompb_read_request q = { queries, 2, true, true }, back;
    AUTO(buf_done) buf out = BUF_INIT(1 << 12);
    AUTO(arena_done) arena a = arena_init(1 << 20);
    err e = { 0 };
    prompb_put_read_request(&out, &q);
    CHECK_OK(prompb_read_request_decode(buf_str(&out), &a, &back, &e), e);
    CHECK_EQ(back.query_count, 2);
    CHECK(back.accepts_chunks && back.accepts_samples);
    CHECK_EQ(back.queries[1].from_ms, -5);
    CHECK_EQ(back.queries[0].matchers[1].op, PROMPB_NRE);
    CHECK_STR(back.queries[0].matchers[1].value, "a|b");
    CHECK_STR(back.queries[0].function, "rate");
    CHECK_EQ(back.queries[0].range_ms, 300000);
    CHECK_OK(prompb_read_request_decode(STR_EMPTY, &a, &back, &e), e);
    CHECK(back.accepts_samples && !back.accepts_chunks);
}

TEST(a_read_response_reads_back)
{
    prompb_series s = { .labels = { up, 2 }, .samples = two_samples, .sample_count = 2 };
    AUTO(buf_done) buf out = BUF_INIT(1 << 12);
    AUTO(arena_done) arena a = arena_init(1 << 20);
    prompb_result *results;
    size_t n;
    err e = { 0 };
    for (size_t i = 0; i < 2; i++) {
        size_t at = prompb_begin_result(&out);
        for (size_t k = 0; k < i; k++)
            prompb_put_series(&out, &s);
        pb_end(&out, at);
    }
    CHECK_OK(prompb_read_response_decode(buf_str(&out), &a, &results, &n, &e), e);
    CHECK_EQ(n, 2);
    CHECK_EQ(results[0].len, 0);
    CHECK_EQ(results[1].len, 1);
    check_series(&results[1].series[0], &s);
}

TEST(frames_of_chunks_read_back_and_a_flipped_bit_is_seen)
{
    prompb_chunk chunks[] = { { 1, 2, PROMPB_CHUNK_XOR, STR("bits") },
                              { 3, 4, PROMPB_CHUNK_FLOAT_HISTOGRAM, STR("more") } };
    AUTO(buf_done) buf out = BUF_INIT(1 << 12);
    AUTO(arena_done) arena a = arena_init(1 << 20);
    prompb_chunked got;
    err e = { 0 };
    prompb_put_chunked_frame(&out, (labels){ up, 2 }, chunks, 2, 0);
    prompb_put_chunked_frame(&out, (labels){ up, 1 }, chunks, 1, 3);
    prompb_frames frames = { .rest = buf_str(&out) };
    CHECK_EQ(prompb_next_chunked(&frames, &a, &got, &e), 1);
    CHECK_EQ(got.chunk_count, 2);
    CHECK_STR(got.chunks[1].data, "more");
    CHECK_EQ(got.chunks[1].kind, PROMPB_CHUNK_FLOAT_HISTOGRAM);
    CHECK_EQ(prompb_next_chunked(&frames, &a, &got, &e), 1);
    CHECK_EQ(got.query_index, 3);
    CHECK_EQ(got.labels.len, 1);
    CHECK_EQ(prompb_next_chunked(&frames, &a, &got, &e), 0);
    out.ptr[9] ^= 1;
    frames = (prompb_frames){ .rest = buf_str(&out) };
    CHECK_EQ(prompb_next_chunked(&frames, &a, &got, &e), -1);
    CHECK_CONTAINS(str_from(e.message), "checksum");
}

TEST(reading_survives_any_failed_allocation)
{
    histogram_sample h[] = { { 10, fixture_histogram(true) }, { 20, fixture_histogram(false) } };
    prompb_series s = fixture_series(h), back;
    AUTO(buf_done) buf out = BUF_INIT(1 << 20);
    prompb_put_series(&out, &s);
    for (unsigned nth = 0;; nth++) {
        AUTO(arena_done) arena a = arena_init(1 << 20);
        fault_alloc(nth);
        err_kind k = prompb_read_series(only_field(buf_str(&out), 1), &a, &back, NULL);
        bool fired = fault_fired();
        CHECK_EQ(k, fired ? ERR_NOMEM : OK);
        if (!fired)
            break;
    }
}

TEST(writing_remote_write_2_survives_any_failed_allocation)
{
    prompb_series s = { .labels = { up, 2 }, .samples = two_samples, .sample_count = 2 };
    for (unsigned nth = 0;; nth++) {
        AUTO(buf_done) buf out = BUF_INIT(1 << 20);
        prompb2_writer w;
        fault_alloc(nth);
        prompb2_init(&w, 1 << 20);
        prompb2_add(&w, &s);
        err_kind k = prompb2_finish(&w, &out, NULL);
        bool fired = fault_fired();
        prompb2_done(&w);
        CHECK_EQ(k != OK, fired);
        if (!fired)
            break;
    }
}
