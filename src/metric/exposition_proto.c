/* metric/exposition_proto.c - a page in protobuf: MetricFamily messages, each with its length before it.
 *
 *   MetricFamily { string name = 1; string help = 2; MetricType type = 3; Metric metric = 4; string unit = 5; }
 *   Metric       { LabelPair label = 1; Gauge gauge = 2; Counter counter = 3; Summary summary = 4; Untyped untyped = 5;
 *                  int64 timestamp_ms = 6; Histogram histogram = 7; }
 *   Gauge, Untyped { double value = 1; }     Counter { double value = 1; Exemplar exemplar = 2; Timestamp created = 3; }
 *   Summary      { uint64 sample_count = 1; double sample_sum = 2; Quantile quantile = 3 {quantile = 1, value = 2}; Timestamp created = 4; }
 *   Histogram    { uint64 sample_count = 1; double sample_sum = 2; Bucket bucket = 3; double sample_count_float = 4;
 *                  the native parts 5 to 14; Timestamp created = 15; Exemplar exemplars = 16; }
 *   Bucket       { uint64 cumulative_count = 1; double upper_bound = 2; Exemplar exemplar = 3; double cumulative_count_float = 4; }
 *   Exemplar     { LabelPair label = 1; double value = 2; Timestamp timestamp = 3 {seconds = 1, nanos = 2}; }
 * Source: io/prometheus/client/metrics.proto of github.com/prometheus/client_model; what becomes of it: Prometheus's
 * model/textparse/protobufparse.go. A metric gives as many lines as it has series; a line's `series` is a key made of the
 * name, the bytes of the labels and the bound, unlike any text. */
#include "metric/exposition_inside.h"
#include "metric/prompb.h"
#include <stdio.h>

enum { VALUE_GAUGE = 2, VALUE_COUNTER = 3, VALUE_SUMMARY = 4, VALUE_UNTYPED = 5, METRIC_TIME = 6, VALUE_HISTOGRAM = 7 };
#define STEP_NATIVE 0u
#define STEP_SUM 1u
#define STEP_COUNT 2u
#define STEP_PARTS 3u /* from here on: buckets or quantiles */
#define KEY_MAX (1u << 20)

static err_kind broken(err *e, const char *what)
{
    return err_set(e, ERR_PARSE, "cannot read the page's protobuf: broken %s", what);
}

exposition_parser *proto_start(exposition_parser *p, str body, arena *a)
{
    p->proto = mem_zalloc(sizeof *p->proto);
    if (!p->proto) {
        exposition_free(p);
        return NULL;
    }
    p->proto->rest = body;
    p->proto->native = true;
    p->proto->histograms = a;
    p->proto->key = (buf)BUF_INIT(KEY_MAX);
    return p;
}

void proto_end(exposition_parser *p)
{
    if (p->proto)
        buf_done(&p->proto->key);
    mem_free(p->proto);
}

void exposition_want(exposition_parser *p, bool native, bool classic)
{
    if (p->proto) {
        p->proto->native = native;
        p->proto->classic = classic;
    }
}

static metric_type type_of_wire(uint64_t v)
{
    static const metric_type types[] = { METRIC_COUNTER, METRIC_GAUGE,     METRIC_SUMMARY,
                                         METRIC_UNKNOWN, METRIC_HISTOGRAM, METRIC_GAUGE_HISTOGRAM };
    return v < COUNT_OF(types) ? types[v] : METRIC_UNKNOWN;
}

/* ---- small messages ---- */
static int64_t read_timestamp_ms(str message)
{
    pb_reader r = pb_read(message);
    pb_field f;
    uint64_t seconds = 0, nanos = 0;
    while (pb_next(&r, &f) > 0) {
        if (pb_is(&f, 1, PB_VARINT))
            seconds = f.value;
        else if (pb_is(&f, 2, PB_VARINT))
            nanos = f.value;
    }
    return (int64_t)(seconds * 1000 + nanos / 1000000 % 1000);
}

/* The number of a field, written as a double or as a whole number. */
static bool number_of(str message, uint32_t number, double *ret)
{
    pb_reader r = pb_read(message);
    pb_field f;
    bool found = false;
    while (pb_next(&r, &f) > 0) {
        if (f.number != number || (f.type != PB_FIXED64 && f.type != PB_VARINT))
            continue;
        *ret = f.type == PB_FIXED64 ? pb_double(f.value) : (double)f.value;
        found = true;
    }
    return found;
}

/* The i-th message of field `number`. */
static bool message_at(str message, uint32_t number, unsigned i, str *ret)
{
    pb_reader r = pb_read(message);
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        if (pb_is(&f, number, PB_BYTES) && i-- == 0) {
            *ret = f.bytes;
            return true;
        }
    }
    return false;
}

/* The next message of field `number`; *rest goes on behind it. A metric may have a hundred thousand parts: none of them
 * is looked for from the beginning. */
static bool next_message(str *rest, uint32_t number, str *ret)
{
    pb_reader r = pb_read(*rest);
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        *rest = str_of((const char *)r.at, (size_t)(r.end - r.at));
        if (pb_is(&f, number, PB_BYTES)) {
            *ret = f.bytes;
            return true;
        }
    }
    *rest = STR_EMPTY;
    return false;
}

static void note_exemplars(proto_place *at, str message, uint32_t number)
{
    str rest = message, x;
    while (at->exemplar_count < COUNT_OF(at->exemplars) && next_message(&rest, number, &x))
        at->exemplars[at->exemplar_count++] = x;
}

/* ---- families and metrics ---- */
static err_kind open_family(exposition_parser *p, err *e)
{
    proto_place *at = p->proto;
    pb_reader r = pb_read(at->rest);
    uint64_t len;
    if (!pb_varint(&r, &len) || len > (uint64_t)(r.end - r.at))
        return broken(e, "frame: it is cut off");
    str message = str_of((const char *)r.at, (size_t)len);
    at->rest = str_of(message.ptr + message.len, (size_t)(r.end - r.at) - message.len);
    at->metrics = message;
    at->name = STR_EMPTY;
    exposition_meta told = { 0 };
    pb_field f;
    int more;
    for (r = pb_read(message); (more = pb_next(&r, &f)) > 0;) {
        if (pb_is(&f, 1, PB_BYTES))
            told.family = f.bytes;
        else if (pb_is(&f, 2, PB_BYTES))
            told.help = f.bytes;
        else if (pb_is(&f, 3, PB_VARINT))
            told.type = type_of_wire(f.value);
        else if (pb_is(&f, 5, PB_BYTES))
            told.unit = f.bytes;
    }
    if (more < 0)
        return broken(e, "metric family");
    if (!told.family.len || !str_utf8_valid(told.family))
        return err_set(e, ERR_PARSE, "a metric family has no name");
    exposition_meta *m = exposition_family(p, told.family);
    if (!m)
        return err_set(e, ERR_LIMIT, "too many metric families");
    *m = told;
    at->name = told.family;
    at->type = told.type;
    return OK;
}

static int64_t created_ms(const proto_place *at)
{
    static const uint32_t numbers[] = { [VALUE_COUNTER] = 3, [VALUE_SUMMARY] = 4, [VALUE_HISTOGRAM] = 15 };
    str stamp;
    uint32_t number = at->value_number < COUNT_OF(numbers) ? numbers[at->value_number] : 0;
    return number && message_at(at->value, number, 0, &stamp) ? read_timestamp_ms(stamp) : 0;
}

static bool has_native(str h)
{
    double threshold = 0, zero = 0;
    str span;
    number_of(h, 6, &threshold);
    if (!number_of(h, 7, &zero))
        number_of(h, 8, &zero);
    return threshold > 0 || zero > 0 || message_at(h, 9, 0, &span) || message_at(h, 12, 0, &span);
}

static bool has_buckets(str h)
{
    str bucket;
    return message_at(h, 3, 0, &bucket);
}

static err_kind open_metric(proto_place *at, str message, err *e)
{
    pb_reader r = pb_read(message);
    pb_field f;
    size_t label_count = 0;
    int more;
    at->metric = message;
    at->value = STR_EMPTY;
    at->value_number = 0;
    at->has_time = false;
    at->step = 0;
    while ((more = pb_next(&r, &f)) > 0) {
        label_count += pb_is(&f, 1, PB_BYTES);
        if (pb_is(&f, METRIC_TIME, PB_VARINT)) {
            at->t_ms = (int64_t)f.value;
            at->has_time = true;
        } else if (f.type == PB_BYTES && f.number >= VALUE_GAUGE && f.number <= VALUE_HISTOGRAM) {
            at->value = f.bytes;
            at->value_number = f.number;
        }
    }
    if (more < 0)
        return broken(e, "metric");
    if (label_count > LABELS_MAX)
        return err_set(e, ERR_LIMIT, "a metric has %zu labels, more than %d", label_count, LABELS_MAX);
    for (r = pb_read(at->value); (more = pb_next(&r, &f)) > 0;) {}
    at->parts = at->value;
    at->created_ms = created_ms(at);
    at->last_bound = 0;
    at->is_native = at->value_number == VALUE_HISTOGRAM && at->native && has_native(at->value);
    at->is_classic = !at->is_native || (at->classic && has_buckets(at->value));
    return more < 0 ? broken(e, "value of a metric") : OK;
}

/* The next metric of this family. 1, 0: none left, -1. */
static int next_metric(proto_place *at, err *e)
{
    pb_reader r = pb_read(at->metrics);
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        at->metrics = str_of((const char *)r.at, (size_t)(r.end - r.at));
        if (pb_is(&f, 4, PB_BYTES))
            return open_metric(at, f.bytes, e) ? -1 : 1;
    }
    at->metrics = STR_EMPTY;
    return 0;
}

/* ---- the lines of one metric ---- */

static int give(proto_place *at, const char *suffix, double v, exposition_line *ret)
{
    at->suffix = suffix;
    ret->v = isnan(v) ? normal_nan() : v;
    return 1;
}

static int give_bound(proto_place *at, const char *suffix, const char *name, double bound, double v,
                      exposition_line *ret)
{
    at->extra_name = name;
    exposition_format_bound(at->extra, bound);
    return give(at, suffix, v, ret);
}

static int single_line(proto_place *at, exposition_line *ret)
{
    double v = 0;
    if (at->step++)
        return 0;
    number_of(at->value, 1, &v);
    if (at->value_number == VALUE_COUNTER)
        note_exemplars(at, at->value, 2);
    return give(at, "", v, ret);
}

static int summary_line(proto_place *at, exposition_line *ret)
{
    double v = 0, q = 0;
    str part;
    if (at->step == STEP_NATIVE)
        at->step++;
    unsigned step = at->step++;
    if (step == STEP_SUM || step == STEP_COUNT) {
        number_of(at->value, step == STEP_SUM ? 2 : 1, &v);
        return give(at, step == STEP_SUM ? "_sum" : "_count", v, ret);
    }
    if (!next_message(&at->parts, 3, &part))
        return 0;
    number_of(part, 1, &q);
    number_of(part, 2, &v);
    return give_bound(at, "", "quantile", q, v, ret);
}

/* The native parts under the numbers that remote write gives them, so that one reader does for both. */
static err_kind translate(str h, bool gauge, buf *out)
{
    static const uint8_t to[] = { [1] = 1, [2] = 3,  [4] = 2,   [5] = 4,   [6] = 5,   [7] = 6,  [8] = 7,
                                  [9] = 8, [10] = 9, [11] = 10, [12] = 11, [13] = 12, [14] = 13 };
    pb_reader r = pb_read(h);
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        if (f.number >= COUNT_OF(to) || !to[f.number])
            continue;
        if (f.type == PB_BYTES)
            pb_put_bytes(out, to[f.number], f.bytes);
        else if (f.type == PB_VARINT)
            pb_put_uint(out, to[f.number], f.value);
        else if (f.type == PB_FIXED64)
            pb_put_double(out, to[f.number], pb_double(f.value));
    }
    if (gauge)
        pb_put_uint(out, 14, HISTOGRAM_GAUGE);
    return out->failed;
}

static int native_line(proto_place *at, exposition_line *ret, err *e)
{
    AUTO(buf_done) buf message = BUF_INIT(at->value.len * 2 + 64);
    histogram_sample h;
    if (translate(at->value, at->type == METRIC_GAUGE_HISTOGRAM, &message)) {
        err_nomem(e);
        return -1;
    }
    if (prompb_read_histogram(buf_str(&message), at->histograms, &h, NULL, e) || histogram_check(h.h, e))
        return -1;
    ret->histogram = h.h;
    note_exemplars(at, at->value, 16);
    str rest = at->value, bucket;
    while (!at->exemplar_count && next_message(&rest, 3, &bucket))
        note_exemplars(at, bucket, 3);
    return give(at, "", h.h->sum, ret);
}

static double count_of(str message, uint32_t as_float, uint32_t as_whole)
{
    double v = 0;
    if (!number_of(message, as_float, &v) || v == 0)
        number_of(message, as_whole, &v);
    return v;
}

/* +Inf may be left out by the page; its bucket is the count. */
static int bucket_line(proto_place *at, exposition_line *ret)
{
    str bucket;
    double bound = 0;
    if (at->last_bound == INFINITY)
        return 0;
    if (next_message(&at->parts, 3, &bucket)) {
        number_of(bucket, 2, &bound);
        at->last_bound = bound;
        note_exemplars(at, bucket, 3);
        return give_bound(at, "_bucket", "le", bound, count_of(bucket, 4, 1), ret);
    }
    at->last_bound = INFINITY;
    return give_bound(at, "_bucket", "le", INFINITY, count_of(at->value, 4, 1), ret);
}

static int histogram_line(proto_place *at, exposition_line *ret, err *e)
{
    double v = 0;
    if (at->step == STEP_NATIVE && at->is_native) {
        at->step++;
        return native_line(at, ret, e);
    }
    if (!at->is_classic)
        return 0;
    at->step = MAX(at->step, STEP_SUM);
    switch (at->step++) {
    case STEP_SUM: number_of(at->value, 2, &v); return give(at, "_sum", v, ret);
    case STEP_COUNT: return give(at, "_count", count_of(at->value, 4, 1), ret);
    default: return bucket_line(at, ret);
    }
}

static int next_part(proto_place *at, exposition_line *ret, err *e)
{
    at->exemplar_count = 0;
    at->extra_name = NULL;
    switch (at->value_number) {
    case VALUE_GAUGE:
    case VALUE_COUNTER:
    case VALUE_UNTYPED: return single_line(at, ret);
    case VALUE_SUMMARY: return summary_line(at, ret);
    case VALUE_HISTOGRAM: return histogram_line(at, ret, e);
    default: return 0;
    }
}

/* name suffix FF labels FF bound: FF is in no text. A native histogram's name stands alone, and so apart. */
static err_kind make_key(exposition_parser *p, exposition_line *ret, err *e)
{
    proto_place *at = p->proto;
    pb_reader r = pb_read(at->metric);
    pb_field f;
    buf_reset(&at->key);
    buf_append(&at->key, at->name);
    buf_append(&at->key, str_from(at->suffix));
    while (pb_next(&r, &f) > 0) {
        if (pb_is(&f, 1, PB_BYTES)) {
            buf_append_char(&at->key, (char)0xff);
            buf_append(&at->key, f.bytes);
        }
    }
    buf_append_char(&at->key, (char)0xff);
    if (at->extra_name)
        buf_append(&at->key, str_from(at->extra));
    if (buf_failed(&at->key))
        return err_set(e, ERR_LIMIT, "the labels of \"%" STR_FMT "\" are too long", STR_ARG(str_sub(at->name, 0, 100)));
    ret->series = p->series = buf_str(&at->key);
    ret->as_expected = p->expected.len && str_eq(ret->series, p->expected);
    return OK;
}

int proto_next_line(exposition_parser *p, exposition_line *ret, err *e)
{
    proto_place *at = p->proto;
    for (;;) {
        *ret = (exposition_line){ 0 };
        int more = next_part(at, ret, e);
        if (more < 0)
            return -1;
        if (more) {
            ret->t_ms = at->t_ms;
            ret->has_time = at->has_time;
            ret->start_ms = at->created_ms;
            ret->exemplars = at->exemplar_count;
            return make_key(p, ret, e) ? -1 : 1;
        }
        more = next_metric(at, e);
        if (more < 0)
            return -1;
        if (more)
            continue;
        at->value_number = 0;
        if (!at->rest.len)
            return 0;
        if (open_family(p, e))
            return -1;
    }
}

static err_kind add_pairs(exposition_parser *p, str message, uint32_t number, size_t *n, err *e)
{
    pb_reader r = pb_read(message);
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        if (!pb_is(&f, number, PB_BYTES))
            continue;
        if (*n == LABELS_MAX)
            return err_set(e, ERR_LIMIT, "more than %d labels", LABELS_MAX);
        if (!prompb_read_label(f.bytes, &p->at[(*n)++]))
            return broken(e, "label");
    }
    return OK;
}

err_kind proto_labels(exposition_parser *p, labels *ret, metric_type *ret_type, err *e)
{
    proto_place *at = p->proto;
    size_t n = 0;
    arena_reset(&p->scratch);
    str name = arena_printf(&p->scratch, "%" STR_FMT "%s", STR_ARG(at->name), at->suffix);
    if (!name.ptr)
        return err_nomem(e);
    p->at[n++] = (label){ METRIC_NAME, name };
    if (at->extra_name)
        p->at[n++] = (label){ str_from(at->extra_name), str_from(at->extra) };
    err_kind k = add_pairs(p, at->metric, 1, &n, e);
    if (!k)
        k = prompb_labels_check(p->at, &n, true, e);
    if (k)
        return k;
    *ret = (labels){ p->at, n };
    if (ret_type)
        *ret_type = at->type;
    return OK;
}

err_kind proto_exemplar(exposition_parser *p, unsigned i, arena *a, exemplar *ret, err *e)
{
    str x = p->proto->exemplars[i], stamp;
    size_t n = 0;
    *ret = (exemplar){ 0 };
    number_of(x, 2, &ret->v);
    if (message_at(x, 3, 0, &stamp))
        ret->t_ms = read_timestamp_ms(stamp);
    if (add_pairs(p, x, 1, &n, e))
        return e ? e->kind : ERR_PARSE;
    label *at = arena_array(a, label, n);
    for (size_t k = 0; at && k < n; k++) {
        at[k] = (label){ arena_str(a, p->at[k].name), arena_str(a, p->at[k].value) };
        if (!at[k].name.ptr || !at[k].value.ptr || !str_utf8_valid(at[k].name) || !str_utf8_valid(at[k].value))
            at = NULL;
    }
    ret->labels = (labels){ at, n };
    return at ? OK : err_set(e, ERR_INVALID, "could not keep the labels of an exemplar");
}
