/* Results as the HTTP API shows them. A range query over many series prints a hundred thousand numbers, so samples
 * are written straight into the buffer's room, not piece by piece. */
#include "base/json.h"
#include "metric/metric.h"
#include "query/query.h"
#include <stdlib.h>

#define SAMPLE_TEXT_MAX (NUM_DOUBLE_MAX + 40) /* [-9007199254740.992,"-1.7976931348623157e+308"], */
#define SAMPLES_AT_ONCE 128

/* ---- into memory that is large enough: each returns the place behind what it wrote ---- */

static char *write_u64(char *p, uint64_t v)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    char digits[20], *d = digits + sizeof digits;
    for (; v >= 100; v /= 100)
        memcpy(d -= 2, pairs + v % 100 * 2, 2);
    if (v >= 10)
        memcpy(d -= 2, pairs + v * 2, 2);
    else
        *--d = (char)('0' + v);
    size_t n = (size_t)(digits + sizeof digits - d);
    memcpy(p, d, n);
    return p + n;
}

/* Seconds with three decimals, or none. */
static char *write_time(char *p, int64_t t_ms)
{
    uint64_t abs_ms = t_ms < 0 ? 0 - (uint64_t)t_ms : (uint64_t)t_ms;
    unsigned ms = (unsigned)(abs_ms % 1000);
    if (t_ms < 0)
        *p++ = '-';
    p = write_u64(p, abs_ms / 1000);
    if (ms) {
        *p++ = '.';
        *p++ = (char)('0' + ms / 100);
        *p++ = (char)('0' + ms / 10 % 10);
        *p++ = (char)('0' + ms % 10);
    }
    return p;
}

/* Most numbers people ask for are whole: those need no search for the shortest digits. */
static char *write_number(char *p, double v)
{
    if (v >= 0 && v < 0x1p53 && (double)(uint64_t)v == v && !signbit(v))
        return write_u64(p, (uint64_t)v);
    return p + num_format_double(p, v);
}

static char *write_sample(char *p, sample s)
{
    *p++ = '[';
    p = write_time(p, s.t_ms);
    *p++ = ',';
    *p++ = '"';
    p = write_number(p, s.v);
    *p++ = '"';
    *p++ = ']';
    return p;
}

/* ---- into the buffer ---- */

static void put_time(json_writer *w, int64_t t_ms)
{
    char text[SAMPLE_TEXT_MAX];
    json_raw(w, str_of(text, (size_t)(write_time(text, t_ms) - text)));
}

static void put_sample(json_writer *w, sample s)
{
    char text[SAMPLE_TEXT_MAX];
    json_raw(w, str_of(text, (size_t)(write_sample(text, s) - text)));
}

/* [t,"v"],[t,"v"],… */
static void put_samples(json_writer *w, const sample *at, size_t n)
{
    for (size_t from = 0; from < n; from += SAMPLES_AT_ONCE) {
        size_t to = MIN(n, from + SAMPLES_AT_ONCE);
        char *start = buf_reserve(w->out, (to - from) * SAMPLE_TEXT_MAX), *p = start;
        if (!start)
            return; /* the buffer remembers why */
        for (size_t i = from; i < to; i++) {
            if (i)
                *p++ = ',';
            p = write_sample(p, at[i]);
        }
        buf_commit(w->out, (size_t)(p - start));
    }
}

static void put_number(json_writer *w, double v)
{
    char text[NUM_DOUBLE_MAX + 2], *p = text;
    *p++ = '"';
    p = write_number(p, v);
    *p++ = '"';
    json_raw(w, str_of(text, (size_t)(p - text)));
}

/* [boundaries,"lower","upper","count"]; boundaries say which ends belong to it: 0 the upper, 1 the lower, 2 none, 3 both. */
static void put_bucket(json_writer *w, const histogram_bucket *b)
{
    static const char *const boundaries[2][2] = { { "2", "0" }, { "1", "3" } };
    json_begin(w, '[');
    json_raw(w, str_from(boundaries[b->lower_inclusive][b->upper_inclusive]));
    put_number(w, b->lower);
    put_number(w, b->upper);
    put_number(w, b->count);
    json_end(w, ']');
}

static void put_histogram(json_writer *w, const histogram_sample *s)
{
    bool any = false;
    json_begin(w, '[');
    put_time(w, s->t_ms);
    json_begin(w, '{');
    json_key(w, "count");
    put_number(w, s->h->count);
    json_key(w, "sum");
    put_number(w, s->h->sum);
    for (bucket_walk walk = bucket_walk_all(s->h, false); bucket_walk_next(&walk); any = true) {
        if (!any) {
            json_key(w, "buckets");
            json_begin(w, '[');
        }
        put_bucket(w, &walk.at);
    }
    if (any)
        json_end(w, ']');
    json_end(w, '}');
    json_end(w, ']');
}

static void put_series(json_writer *w, const query_series *s, bool matrix)
{
    json_begin(w, '{');
    labels_json(w, "metric", s->labels);
    if (s->len) {
        json_key(w, matrix ? "values" : "value");
        if (matrix)
            json_begin(w, '[');
        put_samples(w, s->at, matrix ? s->len : 1);
        if (matrix)
            json_end(w, ']');
    }
    if (s->histogram_count) {
        json_key(w, matrix ? "histograms" : "histogram");
        if (matrix)
            json_begin(w, '[');
        for (size_t i = 0; i < (matrix ? s->histogram_count : 1); i++)
            put_histogram(w, &s->histograms[i]);
        if (matrix)
            json_end(w, ']');
    }
    json_end(w, '}');
}

void query_result_json(const query_result *r, buf *out)
{
    static const char *const types[] = { "scalar", "string", "vector", "matrix" };
    json_writer w = json_writer_to(out);
    json_begin(&w, '{');
    json_put_cstr(&w, "resultType", types[r->type]);
    json_key(&w, "result");
    if (r->type == QUERY_SCALAR) {
        put_sample(&w, r->series[0].at[0]);
    } else if (r->type == QUERY_STRING) {
        json_begin(&w, '[');
        put_time(&w, r->at_ms);
        json_str(&w, r->string);
        json_end(&w, ']');
    } else {
        json_begin(&w, '[');
        for (size_t i = 0; i < r->len; i++)
            put_series(&w, &r->series[i], r->type == QUERY_MATRIX);
        json_end(&w, ']');
    }
    json_end(&w, '}');
}
