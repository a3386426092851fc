#include "metric/prompb.h"

/* Field numbers of prompb/types.proto; Histogram's and BucketSpan's are the same in 2.0. */
enum { LABEL_NAME = 1, LABEL_VALUE = 2 };
enum { SAMPLE_VALUE = 1, SAMPLE_TIME = 2, SAMPLE_START = 3 };
enum { EXEMPLAR_LABELS = 1, EXEMPLAR_VALUE = 2, EXEMPLAR_TIME = 3 };
enum { SERIES_LABELS = 1, SERIES_SAMPLES = 2, SERIES_EXEMPLARS = 3, SERIES_HISTOGRAMS = 4 };
enum {
    SERIES2_LABELS = 1,
    SERIES2_SAMPLES = 2,
    SERIES2_HISTOGRAMS = 3,
    SERIES2_EXEMPLARS = 4,
    SERIES2_METADATA = 5,
    SERIES2_START = 6
};
enum {
    HIST_COUNT_INT = 1,
    HIST_COUNT_FLOAT,
    HIST_SUM,
    HIST_SCHEMA,
    HIST_ZERO_THRESHOLD,
    HIST_ZERO_INT,
    HIST_ZERO_FLOAT,
    HIST_NEG_SPANS,
    HIST_NEG_DELTAS,
    HIST_NEG_COUNTS,
    HIST_POS_SPANS,
    HIST_POS_DELTAS,
    HIST_POS_COUNTS,
    HIST_RESET,
    HIST_TIME,
    HIST_BOUNDS,
    HIST_START
};

static err_kind broken(err *e, const char *what)
{
    return err_set(e, ERR_PARSE, "cannot read protobuf: broken %s", what);
}

static metric_type type_of_wire(uint64_t v)
{
    static const metric_type types[] = { METRIC_UNKNOWN,         METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM,
                                         METRIC_GAUGE_HISTOGRAM, METRIC_SUMMARY, METRIC_INFO,  METRIC_STATESET };
    return v < COUNT_OF(types) ? types[v] : METRIC_UNKNOWN;
}

bool prompb_read_label(str message, label *ret)
{
    pb_reader r = pb_read(message);
    pb_field f;
    int more;
    *ret = (label){ STR_EMPTY, STR_EMPTY };
    while ((more = pb_next(&r, &f)) > 0) {
        if (pb_is(&f, LABEL_NAME, PB_BYTES))
            ret->name = f.bytes;
        else if (pb_is(&f, LABEL_VALUE, PB_BYTES))
            ret->value = f.bytes;
    }
    return more == 0;
}

bool prompb_read_sample(str message, sample *ret, int64_t *ret_start_ms)
{
    pb_reader r = pb_read(message);
    pb_field f;
    int more;
    *ret = (sample){ 0, 0 };
    while ((more = pb_next(&r, &f)) > 0) {
        if (pb_is(&f, SAMPLE_VALUE, PB_FIXED64))
            ret->v = pb_double(f.value);
        else if (pb_is(&f, SAMPLE_TIME, PB_VARINT))
            ret->t_ms = (int64_t)f.value;
        else if (ret_start_ms && pb_is(&f, SAMPLE_START, PB_VARINT))
            *ret_start_ms = (int64_t)f.value;
    }
    return more == 0;
}

/* ---- labels ---- */
static err_kind check_text(label l, err *e)
{
    if (l.name.len > LABEL_MAX_BYTES || l.value.len > LABEL_MAX_BYTES)
        return err_set(e, ERR_LIMIT, "a label is longer than %d bytes", LABEL_MAX_BYTES);
    if (!str_utf8_valid(l.name) || !str_utf8_valid(l.value))
        return err_set(e, ERR_INVALID, "a label is not UTF-8");
    return OK;
}

err_kind prompb_labels_check(label *at, size_t *len, bool utf8_names, err *e)
{
    for (size_t i = 0; i < *len; i++) {
        err_kind k = check_text(at[i], e);
        if (k)
            return k;
    }
    err_kind k = labels_normalise(at, len, e);
    if (k)
        return k;
    str name = labels_name((labels){ at, *len });
    if (!name.len || (!utf8_names && !metric_name_valid(name)))
        return err_set(e, ERR_INVALID, "no valid metric name: \"%" STR_FMT "\"", STR_ARG(str_sub(name, 0, 200)));
    for (size_t i = 0; i < *len && !utf8_names; i++) {
        if (!label_name_valid(at[i].name))
            return err_set(e, ERR_INVALID, "invalid label name \"%" STR_FMT "\"", STR_ARG(str_sub(at[i].name, 0, 200)));
    }
    return OK;
}

/* All labels (fields `number`) of a message, into the arena. */
static err_kind read_labels(str message, uint32_t number, arena *a, labels *ret, err *e)
{
    label at[LABELS_MAX];
    size_t n = 0;
    pb_reader r = pb_read(message);
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        if (!pb_is(&f, number, PB_BYTES))
            continue;
        if (n == LABELS_MAX)
            return err_set(e, ERR_LIMIT, "more than %d labels", LABELS_MAX);
        if (!prompb_read_label(f.bytes, &at[n++]))
            return broken(e, "label");
    }
    label *copy = arena_dup(a, at, n * sizeof *at);
    *ret = (labels){ copy, n };
    return copy ? OK : err_nomem(e);
}

static err_kind take_ref(uint64_t ref, uint32_t *at, size_t cap, size_t *n, err *e)
{
    if (*n == cap)
        return err_set(e, ERR_LIMIT, "more than %zu labels", cap / 2);
    at[(*n)++] = (uint32_t)MIN(ref, (uint64_t)UINT32_MAX); /* beyond all symbols in either case */
    return OK;
}

err_kind prompb2_read_refs(str message, uint32_t number, uint32_t *at, size_t cap, size_t *ret_n, err *e)
{
    size_t n = 0;
    pb_reader r = pb_read(message);
    pb_field f;
    err_kind k = OK;
    while (!k && pb_next(&r, &f) > 0) {
        if (f.number != number)
            continue;
        if (f.type == PB_VARINT)
            k = take_ref(f.value, at, cap, &n, e);
        for (pb_reader packed = pb_read(f.bytes); !k && packed.at < packed.end;) {
            uint64_t ref;
            k = pb_varint(&packed, &ref) ? take_ref(ref, at, cap, &n, e) : broken(e, "label references");
        }
    }
    *ret_n = n;
    return k;
}

err_kind prompb2_labels(const uint32_t *refs, size_t ref_count, const str *symbols, size_t n, label *at, err *e)
{
    if (ref_count % 2)
        return err_set(e, ERR_PARSE, "a label name has no value");
    for (size_t i = 0; i < ref_count; i += 2) {
        if (refs[i] >= n || refs[i + 1] >= n)
            return err_set(e, ERR_PARSE, "label reference %" PRIu32 " is beyond the %zu symbols",
                           MAX(refs[i], refs[i + 1]), n);
        at[i / 2] = (label){ symbols[refs[i]], symbols[refs[i + 1]] };
    }
    return OK;
}

/* ---- histograms ---- */
typedef struct side_room {
    histogram_span *spans;
    double *buckets;
    size_t span_count, deltas, counts;
    int64_t level;
} side_room;
typedef struct histogram_room {
    side_room side[2];
    double *bounds;
    size_t bound_count;
} histogram_room; /* 0 negative, 1 positive */

/* How many numbers a field of repeated numbers holds, packed or not. */
static size_t varints_in(const pb_field *f)
{
    if (f->type != PB_BYTES)
        return f->type == PB_VARINT;
    size_t n = 0;
    for (size_t i = 0; i < f->bytes.len; i++)
        n += !((uint8_t)f->bytes.ptr[i] & 0x80);
    return n;
}
static size_t doubles_in(const pb_field *f) { return f->type == PB_BYTES ? f->bytes.len / 8 : f->type == PB_FIXED64; }

static err_kind count_histogram(str message, histogram_room *n, err *e)
{
    pb_reader r = pb_read(message);
    pb_field f;
    int more;
    while ((more = pb_next(&r, &f)) > 0) {
        side_room *side = &n->side[f.number >= HIST_POS_SPANS];
        switch (f.number) {
        case HIST_NEG_SPANS:
        case HIST_POS_SPANS: side->span_count += f.type == PB_BYTES; break;
        case HIST_NEG_DELTAS:
        case HIST_POS_DELTAS: side->deltas += varints_in(&f); break;
        case HIST_NEG_COUNTS:
        case HIST_POS_COUNTS: side->counts += doubles_in(&f); break;
        case HIST_BOUNDS: n->bound_count += doubles_in(&f); break;
        default: break;
        }
    }
    size_t buckets = n->bound_count;
    for (int i = 0; i < 2; i++)
        buckets = MAX(buckets, MAX(n->side[i].span_count, n->side[i].deltas + n->side[i].counts));
    if (more < 0)
        return broken(e, "histogram");
    if (buckets > HISTOGRAM_MAX_BUCKETS)
        return err_set(e, ERR_LIMIT, "histogram has %zu buckets, the limit is %d", buckets, HISTOGRAM_MAX_BUCKETS);
    return OK;
}

static err_kind make_room(histogram_room *n, arena *a, bool floats, err *e)
{
    for (int i = 0; i < 2; i++) {
        side_room *s = &n->side[i];
        s->spans = arena_array(a, histogram_span, s->span_count);
        s->buckets = arena_array(a, double, floats ? s->counts : s->deltas);
        if (!s->spans || !s->buckets)
            return err_nomem(e);
        s->span_count = s->deltas = s->counts = 0; /* from here on: how many are filled */
    }
    n->bounds = arena_array(a, double, n->bound_count);
    n->bound_count = 0;
    return n->bounds ? OK : err_nomem(e);
}

static bool read_span(str message, histogram_span *ret)
{
    pb_reader r = pb_read(message);
    pb_field f;
    int more;
    *ret = (histogram_span){ 0, 0 };
    while ((more = pb_next(&r, &f)) > 0) {
        if (pb_is(&f, 1, PB_VARINT))
            ret->offset = (int32_t)pb_unzigzag(f.value);
        else if (pb_is(&f, 2, PB_VARINT))
            ret->length = (uint32_t)f.value;
    }
    return more == 0;
}

static void put_delta(side_room *s, uint64_t wire)
{
    s->level = (int64_t)((uint64_t)s->level + (uint64_t)pb_unzigzag(wire));
    s->buckets[s->deltas++] = (double)s->level;
}

static bool read_deltas(const pb_field *f, side_room *s)
{
    if (f->type == PB_VARINT)
        put_delta(s, f->value);
    if (f->type != PB_BYTES)
        return true;
    pb_reader r = pb_read(f->bytes);
    uint64_t v;
    while (r.at < r.end) {
        if (!pb_varint(&r, &v))
            return false;
        put_delta(s, v);
    }
    return true;
}

static bool read_doubles(const pb_field *f, double *at, size_t *n)
{
    if (f->type == PB_FIXED64)
        at[(*n)++] = pb_double(f->value);
    if (f->type != PB_BYTES)
        return true;
    memcpy(at + *n, f->bytes.len ? f->bytes.ptr : "", f->bytes.len / 8 * 8);
    *n += f->bytes.len / 8;
    return f->bytes.len % 8 == 0;
}

/* The lists: spans, buckets, bounds. */
static bool read_list(const pb_field *f, histogram_room *n, bool floats)
{
    side_room *s = &n->side[f->number >= HIST_POS_SPANS];
    switch (f->number) {
    case HIST_NEG_SPANS:
    case HIST_POS_SPANS: return f->type != PB_BYTES || read_span(f->bytes, &s->spans[s->span_count++]);
    case HIST_NEG_DELTAS:
    case HIST_POS_DELTAS: return floats || read_deltas(f, s);
    case HIST_NEG_COUNTS:
    case HIST_POS_COUNTS: return !floats || read_doubles(f, s->buckets, &s->counts);
    case HIST_BOUNDS: return read_doubles(f, n->bounds, &n->bound_count);
    default: return true;
    }
}

static histogram_side side_of(const side_room *s, bool floats)
{
    return (histogram_side){ s->spans, (uint32_t)s->span_count, s->buckets,
                             (uint32_t)(floats ? s->counts : s->deltas) };
}

typedef struct histogram_numbers {
    bool floats, zero_floats;
    int64_t schema, t_ms, start_ms;
    uint64_t reset;
    double count, sum, zero_threshold, zero_count;
} histogram_numbers;

static histogram_numbers read_numbers(str message)
{
    histogram_numbers h = { 0 };
    pb_reader r = pb_read(message);
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        if (f.type == PB_FIXED64) {
            double v = pb_double(f.value);
            switch (f.number) {
            case HIST_COUNT_FLOAT:
                h.count = v;
                h.floats = true;
                break;
            case HIST_SUM: h.sum = v; break;
            case HIST_ZERO_THRESHOLD: h.zero_threshold = v; break;
            case HIST_ZERO_FLOAT: h.zero_count = v; break;
            default: break;
            }
        } else if (f.type == PB_VARINT) {
            switch (f.number) {
            case HIST_COUNT_INT:
                h.count = (double)f.value;
                h.floats = false;
                break;
            case HIST_SCHEMA: h.schema = pb_unzigzag(f.value); break;
            case HIST_ZERO_INT: h.zero_count = (double)f.value; break;
            case HIST_RESET: h.reset = f.value; break;
            case HIST_TIME: h.t_ms = (int64_t)f.value; break;
            case HIST_START: h.start_ms = (int64_t)f.value; break;
            default: break;
            }
        }
    }
    return h;
}

err_kind prompb_read_histogram(str message, arena *a, histogram_sample *ret, int64_t *ret_start_ms, err *e)
{
    histogram_room room = { 0 };
    err_kind k = count_histogram(message, &room, e);
    histogram_numbers n = read_numbers(message);
    if (k || (k = make_room(&room, a, n.floats, e)))
        return k;
    if (n.schema < INT8_MIN || n.schema > INT8_MAX)
        return err_set(e, ERR_INVALID, "histogram schema %" PRId64 " is not known", n.schema);
    pb_reader r = pb_read(message);
    pb_field f;
    while (pb_next(&r, &f) > 0) {
        if (!read_list(&f, &room, n.floats))
            return broken(e, "histogram buckets");
    }
    histogram *h = arena_new(a, histogram);
    if (!h)
        return err_nomem(e);
    *h = (histogram){ .schema = (int8_t)n.schema,
                      .reset = n.reset <= HISTOGRAM_GAUGE ? (uint8_t)n.reset : HISTOGRAM_RESET_UNKNOWN,
                      .integer = !n.floats,
                      .zero_threshold = n.zero_threshold,
                      .zero_count = n.zero_count,
                      .count = n.count,
                      .sum = n.sum,
                      .negative = side_of(&room.side[0], n.floats),
                      .positive = side_of(&room.side[1], n.floats),
                      .bounds = room.bounds,
                      .bound_count = (uint32_t)room.bound_count };
    *ret = (histogram_sample){ n.t_ms, h };
    if (ret_start_ms && n.start_ms)
        *ret_start_ms = n.start_ms;
    return OK;
}

/* ---- exemplars, metadata ---- */
static bool read_exemplar_numbers(str message, exemplar *ret)
{
    pb_reader r = pb_read(message);
    pb_field f;
    int more;
    while ((more = pb_next(&r, &f)) > 0) {
        if (pb_is(&f, EXEMPLAR_VALUE, PB_FIXED64))
            ret->v = pb_double(f.value);
        else if (pb_is(&f, EXEMPLAR_TIME, PB_VARINT))
            ret->t_ms = (int64_t)f.value;
    }
    return more == 0;
}

err_kind prompb_read_exemplar(str message, arena *a, exemplar *ret, err *e)
{
    *ret = (exemplar){ 0 };
    if (!read_exemplar_numbers(message, ret))
        return broken(e, "exemplar");
    return read_labels(message, EXEMPLAR_LABELS, a, &ret->labels, e);
}

err_kind prompb_read_metadata(str message, exposition_meta *ret, err *e)
{
    pb_reader r = pb_read(message);
    pb_field f;
    int more;
    *ret = (exposition_meta){ 0 };
    while ((more = pb_next(&r, &f)) > 0) {
        if (pb_is(&f, 1, PB_VARINT))
            ret->type = type_of_wire(f.value);
        else if (pb_is(&f, 2, PB_BYTES))
            ret->family = f.bytes;
        else if (pb_is(&f, 4, PB_BYTES))
            ret->help = f.bytes;
        else if (pb_is(&f, 5, PB_BYTES))
            ret->unit = f.bytes;
    }
    return more < 0 ? broken(e, "metadata") : OK;
}

/* ---- whole series ---- */
typedef struct series_room {
    sample *samples;
    histogram_sample *histograms;
    exemplar *exemplars;
    size_t sample_count, histogram_count, exemplar_count;
} series_room;

static err_kind series_make_room(str message, const uint32_t numbers[3], arena *a, series_room *n, err *e)
{
    pb_reader r = pb_read(message);
    pb_field f;
    int more;
    while ((more = pb_next(&r, &f)) > 0) {
        n->sample_count += pb_is(&f, numbers[0], PB_BYTES);
        n->histogram_count += pb_is(&f, numbers[1], PB_BYTES);
        n->exemplar_count += pb_is(&f, numbers[2], PB_BYTES);
    }
    if (more < 0)
        return broken(e, "time series");
    n->samples = arena_array(a, sample, n->sample_count);
    n->histograms = arena_array(a, histogram_sample, n->histogram_count);
    n->exemplars = arena_array(a, exemplar, n->exemplar_count);
    if (!n->samples || !n->histograms || !n->exemplars)
        return err_nomem(e);
    n->sample_count = n->histogram_count = n->exemplar_count = 0;
    return OK;
}

static void series_take_room(prompb_series *s, const series_room *n)
{
    s->samples = n->samples;
    s->sample_count = n->sample_count;
    s->histograms = n->histograms;
    s->histogram_count = n->histogram_count;
    s->exemplars = n->exemplars;
    s->exemplar_count = n->exemplar_count;
}

err_kind prompb_read_series(str message, arena *a, prompb_series *ret, err *e)
{
    static const uint32_t numbers[3] = { SERIES_SAMPLES, SERIES_HISTOGRAMS, SERIES_EXEMPLARS };
    series_room n = { 0 };
    *ret = (prompb_series){ 0 };
    err_kind k = series_make_room(message, numbers, a, &n, e);
    if (!k)
        k = read_labels(message, SERIES_LABELS, a, &ret->labels, e);
    pb_reader r = pb_read(message);
    pb_field f;
    while (!k && pb_next(&r, &f) > 0) {
        if (f.type != PB_BYTES)
            continue;
        if (f.number == SERIES_SAMPLES && !prompb_read_sample(f.bytes, &n.samples[n.sample_count++], NULL))
            k = broken(e, "sample");
        else if (f.number == SERIES_HISTOGRAMS)
            k = prompb_read_histogram(f.bytes, a, &n.histograms[n.histogram_count++], NULL, e);
        else if (f.number == SERIES_EXEMPLARS)
            k = prompb_read_exemplar(f.bytes, a, &n.exemplars[n.exemplar_count++], e);
    }
    series_take_room(ret, &n);
    return k;
}

/* ---- remote write 2.0 ---- */
err_kind prompb2_read_symbols(str request, arena *a, str **ret, size_t *ret_n, err *e)
{
    pb_reader r = pb_read(request);
    pb_field f;
    size_t n = 0;
    int more;
    while ((more = pb_next(&r, &f)) > 0)
        n += pb_is(&f, PROMPB2_SYMBOLS, PB_BYTES);
    if (more < 0)
        return broken(e, "remote write 2.0 request");
    if (n > PROMPB_MAX_SYMBOLS)
        return err_set(e, ERR_LIMIT, "remote write request has %zu symbols, the limit is %d", n, PROMPB_MAX_SYMBOLS);
    str *symbols = arena_array(a, str, n);
    if (!symbols)
        return err_nomem(e);
    r = pb_read(request);
    *ret_n = n;
    for (n = 0; pb_next(&r, &f) > 0;) {
        if (pb_is(&f, PROMPB2_SYMBOLS, PB_BYTES))
            symbols[n++] = f.bytes;
    }
    *ret = symbols;
    if (n && symbols[0].len)
        return err_set(e, ERR_PARSE, "the first symbol must be the empty text, it is \"%" STR_FMT "\"",
                       STR_ARG(str_sub(symbols[0], 0, 100)));
    return OK;
}

static err_kind read_refs(str message, uint32_t number, const str *symbols, size_t n, arena *a, labels *ret, err *e)
{
    uint32_t refs[2 * LABELS_MAX];
    label at[LABELS_MAX];
    size_t len;
    err_kind k = prompb2_read_refs(message, number, refs, COUNT_OF(refs), &len, e);
    if (!k)
        k = prompb2_labels(refs, len, symbols, n, at, e);
    if (k)
        return k;
    label *copy = arena_dup(a, at, len / 2 * sizeof *at);
    *ret = (labels){ copy, len / 2 };
    return copy ? OK : err_nomem(e);
}

err_kind prompb2_read_exemplar(str message, const str *symbols, size_t n, arena *a, exemplar *ret, err *e)
{
    *ret = (exemplar){ 0 };
    if (!read_exemplar_numbers(message, ret))
        return broken(e, "exemplar");
    return read_refs(message, EXEMPLAR_LABELS, symbols, n, a, &ret->labels, e);
}

err_kind prompb2_read_metadata(str message, const str *symbols, size_t n, prompb_series *ret, err *e)
{
    pb_reader r = pb_read(message);
    pb_field f;
    int more;
    while ((more = pb_next(&r, &f)) > 0) {
        if (f.type != PB_VARINT)
            continue;
        if (f.number == 1)
            ret->type = type_of_wire(f.value);
        else if ((f.number == 3 || f.number == 4) && f.value >= n)
            return err_set(e, ERR_PARSE, "metadata reference %" PRIu64 " is beyond the %zu symbols", f.value, n);
        else if (f.number == 3)
            ret->help = symbols[f.value];
        else if (f.number == 4)
            ret->unit = symbols[f.value];
    }
    return more < 0 ? broken(e, "metadata") : OK;
}

err_kind prompb2_read_series(str message, const str *symbols, size_t symbol_count, arena *a, prompb_series *ret, err *e)
{
    static const uint32_t numbers[3] = { SERIES2_SAMPLES, SERIES2_HISTOGRAMS, SERIES2_EXEMPLARS };
    series_room n = { 0 };
    *ret = (prompb_series){ 0 };
    err_kind k = series_make_room(message, numbers, a, &n, e);
    if (!k)
        k = read_refs(message, SERIES2_LABELS, symbols, symbol_count, a, &ret->labels, e);
    pb_reader r = pb_read(message);
    pb_field f;
    while (!k && pb_next(&r, &f) > 0) {
        if (pb_is(&f, SERIES2_START, PB_VARINT))
            ret->start_ms = (int64_t)f.value;
        else if (pb_is(&f, SERIES2_SAMPLES, PB_BYTES))
            k = prompb_read_sample(f.bytes, &n.samples[n.sample_count++], &ret->start_ms) ? OK : broken(e, "sample");
        else if (pb_is(&f, SERIES2_HISTOGRAMS, PB_BYTES))
            k = prompb_read_histogram(f.bytes, a, &n.histograms[n.histogram_count++], &ret->start_ms, e);
        else if (pb_is(&f, SERIES2_EXEMPLARS, PB_BYTES))
            k = prompb2_read_exemplar(f.bytes, symbols, symbol_count, a, &n.exemplars[n.exemplar_count++], e);
        else if (pb_is(&f, SERIES2_METADATA, PB_BYTES))
            k = prompb2_read_metadata(f.bytes, symbols, symbol_count, ret, e);
    }
    series_take_room(ret, &n);
    return k;
}
