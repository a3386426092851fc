#include "base/test.h"
#include "watch/receive/receiver.h"

/* A sink that remembers what came, as text, and gives each label set the ref 1, 2, 3 … */
typedef struct fake_sink {
    buf log;
    map refs;
    uint64_t next_ref, first_valid_ref;
    int calls, refuse_row; /* refuse_row: this one is out of order; -1: none */
    err_kind fail;
} fake_sink;

static const char *name_of(fake_sink *f, uint64_t ref)
{
    static char out[300];
    str key;
    void *value;
    out[0] = '\0';
    for (size_t i = 0; map_next(&f->refs, &i, &key, &value);) {
        if ((uint64_t)(uintptr_t)value == ref)
            str_copy(out, sizeof out, key);
    }
    return out;
}

static err_kind fake_append(void *ctx, const sample_row *rows, size_t n, sink_result *rejected, err *e)
{
    fake_sink *f = ctx;
    f->calls++;
    if (f->fail)
        return err_set(e, f->fail, "the sink does not want");
    for (size_t i = 0; i < n; i++) {
        if (!rows[i].labels.len && *rows[i].ref < f->first_valid_ref)
            return err_set(e, ERR_NOT_FOUND, "outdated");
    }
    for (size_t i = 0; i < n; i++) {
        AUTO(buf_done) buf name = BUF_INIT(1 << 16);
        const sample_row *row = &rows[i];
        bool known = !row->labels.len;
        if (!known) {
            labels_format(row->labels, &name);
            uint64_t ref = (uint64_t)(uintptr_t)map_get(&f->refs, buf_str(&name));
            if (ref < f->first_valid_ref || !ref)
                ref = ++f->next_ref;
            if (map_set(&f->refs, buf_str(&name), (void *)(uintptr_t)ref))
                return err_nomem(e);
            *row->ref = ref;
        }
        if ((int)i == f->refuse_row) {
            rejected->out_of_order++;
            rejected->refused[i] = 1;
            err_set(&rejected->first, ERR_OUT_OF_ORDER, "too late");
            continue;
        }
        rejected->appended++;
        buf_printf(&f->log, "%s%s@%" PRId64, name_of(f, *row->ref), known ? " known " : " ", row->t_ms);
        if (row->start_ms)
            buf_printf(&f->log, " since %" PRId64, row->start_ms);
        if (row->histogram)
            buf_printf(&f->log, " histogram of %g\n", row->histogram->count);
        else
            buf_printf(&f->log, " %g\n", row->v);
    }
    return OK;
}

static err_kind fake_exemplars(void *ctx, const exemplar_row *rows, size_t n, sink_result *rejected, err *e)
{
    fake_sink *f = ctx;
    UNUSED(e);
    for (size_t i = 0; i < n; i++) {
        buf_append(&f->log, STR("exemplar "));
        labels_format(rows[i].series, &f->log);
        labels_format(rows[i].exemplar.labels, &f->log);
        buf_printf(&f->log, " %g\n", rows[i].exemplar.v);
    }
    rejected->appended = n;
    return OK;
}

typedef struct fixture {
    fake_sink sink;
    receiver *r;
    buf request;
    receive_result result;
    err e;
} fixture;

static void fixture_init(fixture *f)
{
    *f = (fixture){ .request = BUF_INIT(1 << 20) };
    f->sink = (fake_sink){ .log = BUF_INIT(1 << 20), .refuse_row = -1 };
    f->r = receiver_new(&(sample_sink){ .append = fake_append, .append_exemplars = fake_exemplars, .ctx = &f->sink });
}

static void fixture_done(fixture *f)
{
    receiver_free(f->r);
    buf_done(&f->request);
    buf_done(&f->sink.log);
    map_done(&f->sink.refs);
}

static err_kind take(fixture *f, bool v2)
{
    buf_reset(&f->sink.log);
    f->e = (err){ 0 };
    f->sink.calls = 0;
    return receiver_take(f->r, buf_str(&f->request), v2, 1000, &f->result, &f->e);
}

/* Labels "a=1,b=2" as a series of one sample. */
static prompb_series series_of(const char *text, label at[8], const sample *s)
{
    str rest = str_from(text), part;
    size_t n = 0;
    while (str_split(&rest, ',', &part)) {
        str name = { part.ptr, 0 };
        if (str_split(&part, '=', &name))
            at[n++] = (label){ name, part.ptr ? part : STR_EMPTY };
    }
    return (prompb_series){ .labels = { at, n }, .samples = s, .sample_count = 1 };
}

static void put1(fixture *f, const char *text, int64_t t_ms, double v)
{
    label at[8];
    sample s = { t_ms, v };
    prompb_series series = series_of(text, at, &s);
    prompb_put_series(&f->request, &series);
}

TEST(a_series_is_spelled_out_once_and_known_from_then_on)
{
    fixture f;
    fixture_init(&f);
    put1(&f, "job=x,__name__=up", 1000, 1.5);
    put1(&f, "__name__=down", -5, 2);
    CHECK_OK(take(&f, false), f.e);
    CHECK_STR(buf_str(&f.sink.log), "up{job=\"x\"} @1000 1.5\ndown @-5 2\n");
    CHECK_EQ(f.result.samples, 2);
    buf_reset(&f.request);
    put1(&f, "__name__=down", 10, 3);
    put1(&f, "job=x,__name__=up", 2000, 2.5);
    CHECK_OK(take(&f, false), f.e);
    CHECK_STR(buf_str(&f.sink.log), "down known @10 3\nup{job=\"x\"} known @2000 2.5\n");
    fixture_done(&f);
}

TEST(a_ref_that_went_out_of_date_sends_the_labels_again)
{
    fixture f;
    fixture_init(&f);
    put1(&f, "__name__=up", 1000, 1);
    CHECK_OK(take(&f, false), f.e);
    CHECK_OK(take(&f, false), f.e);
    f.sink.first_valid_ref = 2; /* the store has dropped it */
    put1(&f, "__name__=new", 1000, 1);
    CHECK_OK(take(&f, false), f.e);
    CHECK_EQ(f.sink.calls, 2);
    CHECK_STR(buf_str(&f.sink.log), "up @1000 1\nnew @1000 1\n");
    CHECK_EQ(f.result.samples, 2);
    CHECK_OK(take(&f, false), f.e);
    CHECK_STR(buf_str(&f.sink.log), "up known @1000 1\nnew known @1000 1\n");
    fixture_done(&f);
}

TEST(a_series_with_impossible_labels_is_left_out_and_told)
{
    static const struct {
        const char *what, *labels;
    } cases[] = {
        { "no metric name", "job=x" },
        { "an empty metric name", "__name__=" },
        { "a repeated label", "__name__=up,job=x,job=y" },
        { "a label without a name", "__name__=up,=y" },
        { "a label that is not UTF-8", "__name__=up\xff" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fixture f;
        fixture_init(&f);
        put1(&f, "__name__=before", 1, 1);
        put1(&f, cases[i].labels, 1, 1);
        put1(&f, "__name__=after", 1, 2);
        for (int turn = 0; turn < 2; turn++) {
            CHECK_MSG(take(&f, false) == OK, "%s: %s", cases[i].what, f.e.message);
            CHECK_MSG(f.result.invalid == 1 && f.result.samples == 2, "%s", cases[i].what);
            CHECK_MSG(f.result.first_invalid.message[0], "%s", cases[i].what);
        }
        CHECK_STR(buf_str(&f.sink.log), "before known @1 1\nafter known @1 2\n");
        fixture_done(&f);
    }
}

TEST(utf8_names_are_taken_as_prometheus_3_does)
{
    fixture f;
    fixture_init(&f);
    put1(&f, "__name__=http.requests,service name=x", 1, 1);
    CHECK_OK(take(&f, false), f.e);
    CHECK_EQ(f.result.samples, 1);
    fixture_done(&f);
}

static void put2(fixture *f, const prompb_series *s, size_t n)
{
    prompb2_writer w;
    prompb2_init(&w, 1 << 20);
    buf_reset(&f->request);
    for (size_t i = 0; i < n; i++)
        prompb2_add(&w, &s[i]);
    CHECK_OK(prompb2_finish(&w, &f->request, &f->e), f->e);
    prompb2_done(&w);
}

TEST(version_2_brings_metadata_start_times_histograms_and_exemplars)
{
    fixture f;
    fixture_init(&f);
    label at[8], trace = { STR("trace_id"), STR("abc") };
    sample s = { 1000, 7 };
    const histogram_span span = { 0, 1 };
    const double bucket = 3;
    const histogram h = { .integer = true, .count = 3, .sum = 1, .positive = { &span, 1, &bucket, 1 } };
    histogram_sample hs = { 2000, &h };
    exemplar x = { { &trace, 1 }, 0.5, 900 };
    prompb_series series = series_of("__name__=req_seconds_sum,job=x", at, &s);
    series.histograms = &hs;
    series.histogram_count = 1;
    series.exemplars = &x;
    series.exemplar_count = 1;
    series.start_ms = 500;
    series.type = METRIC_SUMMARY;
    series.help = STR("how long");
    put2(&f, &series, 1);
    CHECK_OK(take(&f, true), f.e);
    CHECK_STR(
        buf_str(&f.sink.log),
        "req_seconds_sum{job=\"x\"} @1000 since 500 7\nreq_seconds_sum{job=\"x\"} @2000 since 500 histogram of 3\n"
        "exemplar req_seconds_sum{job=\"x\"}{trace_id=\"abc\"} 0.5\n");
    CHECK_EQ(f.result.samples, 1);
    CHECK_EQ(f.result.histograms, 1);
    CHECK_EQ(f.result.exemplars, 1);
    const meta_book *book = receiver_metadata(f.r);
    CHECK_EQ(meta_book_len(book), 1);
    CHECK_STR(meta_book_at(book, 0).family, "req_seconds");
    CHECK_STR(meta_book_at(book, 0).help, "how long");
    series.help = STR("how long it took"); /* changed metadata is seen although the series is known */
    series.exemplar_count = series.histogram_count = 0;
    put2(&f, &series, 1);
    CHECK_OK(take(&f, true), f.e);
    CHECK_STR(meta_book_at(book, 0).help, "how long it took");
    fixture_done(&f);
}

TEST(version_2_knows_a_series_whatever_numbers_its_symbols_have)
{
    fixture f;
    fixture_init(&f);
    label a[8], b[8];
    sample s = { 1000, 7 };
    prompb_series both[2] = { series_of("__name__=up,job=x", a, &s), series_of("__name__=down,job=x", b, &s) };
    put2(&f, both, 2);
    CHECK_OK(take(&f, true), f.e);
    prompb_series turned[2] = { both[1], both[0] };
    put2(&f, turned, 2);
    CHECK_OK(take(&f, true), f.e);
    CHECK_STR(buf_str(&f.sink.log), "down{job=\"x\"} known @1000 7\nup{job=\"x\"} known @1000 7\n");
    fixture_done(&f);
}

TEST(version_2_leaves_out_a_series_whose_references_lead_nowhere)
{
    fixture f;
    fixture_init(&f);
    label a[8];
    sample s = { 1000, 7 };
    prompb_series good = series_of("__name__=up", a, &s);
    put2(&f, &good, 1);
    size_t at = pb_begin(&f.request, PROMPB2_SERIES);
    pb_put_bytes(&f.request, 1, STR("\x01\x63"));
    pb_put_bytes(&f.request, 2, STR("\x10\x01"));
    pb_end(&f.request, at);
    CHECK_OK(take(&f, true), f.e);
    CHECK_EQ(f.result.samples, 1);
    CHECK_EQ(f.result.invalid, 1);
    CHECK_CONTAINS(str_from(f.result.first_invalid.message), "beyond the 3 symbols");
    fixture_done(&f);
}

TEST(metadata_of_version_1_is_kept_and_the_last_word_counts)
{
    fixture f;
    fixture_init(&f);
    prompb_put_metadata(&f.request, &(exposition_meta){ STR("up"), STR("is it"), STR(""), METRIC_GAUGE });
    prompb_put_metadata(&f.request, &(exposition_meta){ STR("up"), STR("is it up"), STR(""), METRIC_GAUGE });
    prompb_put_metadata(&f.request, &(exposition_meta){ STR(""), STR("nameless"), STR(""), METRIC_GAUGE });
    CHECK_OK(take(&f, false), f.e);
    CHECK_EQ(f.sink.calls, 0);
    CHECK_EQ(meta_book_len(receiver_metadata(f.r)), 1);
    CHECK_STR(meta_book_at(receiver_metadata(f.r), 0).help, "is it up");
    fixture_done(&f);
}

TEST(what_the_sink_refuses_is_counted_by_kind)
{
    fixture f;
    fixture_init(&f);
    f.sink.refuse_row = 1;
    put1(&f, "__name__=a", 1, 1);
    put1(&f, "__name__=b", 1, 1);
    put1(&f, "__name__=c", 1, 1);
    CHECK_OK(take(&f, false), f.e);
    CHECK_EQ(f.result.samples, 2);
    CHECK_EQ(f.result.sink.out_of_order, 1);
    f.sink.fail = ERR_IO;
    CHECK_EQ(take(&f, false), ERR_IO);
    fixture_done(&f);
}

TEST(every_cut_of_a_request_is_refused_or_shorter_never_read_beyond)
{
    fixture f;
    fixture_init(&f);
    put1(&f, "__name__=up,zone=a", 1000, 1.5);
    put1(&f, "__name__=up2,zone=a", 1000, 1.5);
    for (size_t cut = 0; cut < f.request.len; cut++) {
        char *copy = mem_dup(f.request.ptr, MAX(cut, 1)); /* so that the sanitizer sees the end */
        err_kind k = receiver_take(f.r, str_of(copy, cut), false, 1000, &f.result, &f.e);
        CHECK_MSG(k == ERR_PARSE || (k == OK && f.result.samples < 2), "cut at %zu gives kind %d, %zu rows", cut, k,
                  f.result.samples);
        mem_free(copy);
    }
    fixture_done(&f);
}

TEST(labels_over_the_limits_are_told_and_leave_the_others_alone)
{
    fixture f;
    fixture_init(&f);
    size_t at = pb_begin(&f.request, PROMPB_WRITE_SERIES);
    for (int i = 0; i <= LABELS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "l%d", i);
        prompb_put_label(&f.request, 1, (label){ str_from(name), STR("v") });
    }
    pb_end(&f.request, at);
    put1(&f, "__name__=good", 1, 1);
    CHECK_OK(take(&f, false), f.e);
    CHECK_EQ(f.result.invalid, 1);
    CHECK_EQ(f.result.samples, 1);
    CHECK_CONTAINS(str_from(f.result.first_invalid.message), "more than 128 labels");
    fixture_done(&f);
}

TEST(receiving_survives_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        fixture f;
        bool fired = false;
        err_kind k = OK;
        fixture_init(&f);
        put1(&f, "__name__=up,zone=a", 1000, 1.5);
        put1(&f, "__name__=up,zone=b", 1000, 1.5);
        for (int turn = 0; turn < 2 && f.r; turn++) {
            fault_alloc(nth);
            k = take(&f, false);
            fired |= fault_fired();
            CHECK_MSG(k == OK || k == ERR_NOMEM, "allocation %u: %s", nth, f.e.message);
        }
        fixture_done(&f);
        if (!fired)
            break;
    }
}
