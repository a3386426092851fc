/* What a PromQL API answers, read into the room's own results. */
#include "query/remote.h"
#include "base/json.h"
#include <stdlib.h>

#define RESULT_ARENA_MAX ((size_t)1 << 30)

static err_kind not_an_answer(err *e, const char *what)
{
    err_set(e, ERR_PARSE, "the remote store's answer is not one of Prometheus's API: %s", what);
    err_hint(e, "Check that the remote's URL is what stands before /api/v1/query.");
    return ERR_EXEC; /* never the asker's mistake */
}

static err_kind remote_error(json_val root, err *e)
{
    static const struct { const char *type; err_kind kind; } kinds[] = {
        { "bad_data", ERR_PARSE }, { "execution", ERR_EXEC }, { "timeout", ERR_TIMEOUT }, { "canceled", ERR_CANCELED },
        { "not_found", ERR_NOT_FOUND }, { "unavailable", ERR_UNAVAILABLE },
    };
    str type = json_str_or(json_get(root, "errorType"), STR_EMPTY), text = json_str_or(json_get(root, "error"), STR("no reason given"));
    err_kind k = ERR_EXEC;
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (str_is(type, kinds[i].type))
            k = kinds[i].kind;
    return err_set(e, k, "the remote store says: %" STR_FMT, STR_ARG(str_sub(text, 0, 300)));
}

/* The document and its data; ERR_… with the remote's words. */
static err_kind open_reply(str reply, json_doc **ret, json_val *ret_data, err *e)
{
    err why = { 0 };
    err_kind k = json_parse(reply, ret, &why);
    if (k)
        return k == ERR_NOMEM ? err_nomem(e) : not_an_answer(e, why.message);
    json_val root = json_root(*ret);
    str status = json_str_or(json_get(root, "status"), STR_EMPTY);
    if (str_is(status, "error"))
        return remote_error(root, e);
    if (!str_is(status, "success"))
        return not_an_answer(e, "it has no status");
    *ret_data = json_get(root, "data");
    return OK;
}

static err_kind read_labels(json_val metric, arena *a, labels *ret, err *e)
{
    size_t n = json_len(metric), len = 0;
    if (json_typeof(metric) != JSON_OBJECT || n > LABELS_MAX)
        return not_an_answer(e, "a series without its labels");
    label *at = arena_array(a, label, n + 1);
    json_iter it = json_walk(metric);
    str key;
    json_val value;
    while (at && json_next(&it, &key, &value)) {
        at[len] = (label){ arena_str(a, key), arena_str(a, json_str_or(value, STR_EMPTY)) };
        if (!at[len].name.ptr || !at[len].value.ptr)
            return err_nomem(e);
        len++;
    }
    if (!at)
        return err_nomem(e);
    if (labels_normalise(at, &len, e))
        return not_an_answer(e, "a series has a label twice, or one without a name");
    *ret = (labels){ at, len };
    return OK;
}

/* [1435781430.781, "1"] */
static bool read_sample(json_val pair, sample *ret)
{
    str text = json_str_or(json_at(pair, 1), STR_EMPTY);
    double seconds = json_number_or(json_at(pair, 0), NAN);
    if (!(fabs(seconds) < 9e15) || !str_to_double(text, &ret->v))
        return false;
    ret->t_ms = (int64_t)round(seconds * 1e3);
    if (isnan(ret->v))
        ret->v = normal_nan();
    return true;
}

typedef struct decode { query_result *r; size_t left; bool histograms; err *e; } decode;

static err_kind add_sample(decode *d, query_series *s, json_val pair)
{
    if (d->left-- == 0)
        return err_set(d->e, ERR_LIMIT, "the remote store's answer holds more samples than query.max_samples allows");
    return read_sample(pair, &s->at[s->len++]) ? OK : not_an_answer(d->e, "a sample that is not [time, \"value\"]");
}

static err_kind read_series(decode *d, json_val item)
{
    query_series *s = &d->r->series[d->r->len];
    json_val value = json_get(item, "value"), values = json_get(item, "values"), pair;
    err_kind k = read_labels(json_get(item, "metric"), &d->r->arena, &s->labels, d->e);
    if (k)
        return k;
    d->histograms = d->histograms || json_typeof(json_get(item, "histogram")) == JSON_ARRAY || json_len(json_get(item, "histograms")) > 0;
    size_t n = json_typeof(value) == JSON_ARRAY ? 1 : json_len(values);
    if (n == 0)
        return OK;
    s->at = arena_array(&d->r->arena, sample, n);
    if (!s->at)
        return err_set(d->e, ERR_LIMIT, "the remote store's answer is too large for memory");
    if (json_typeof(value) == JSON_ARRAY)
        k = add_sample(d, s, value);
    json_iter it = json_walk(values);
    for (str key; !k && s->len < n && json_next(&it, &key, &pair);)
        k = add_sample(d, s, pair);
    d->r->len += !k;
    return k;
}

static err_kind read_vector(decode *d, json_val result)
{
    err_kind k = OK;
    json_val item;
    str key;
    if (json_typeof(result) != JSON_ARRAY)
        return not_an_answer(d->e, "a result that is not a list");
    d->r->series = arena_array(&d->r->arena, query_series, json_len(result) + 1);
    if (!d->r->series)
        return err_set(d->e, ERR_LIMIT, "the remote store's answer is too large for memory");
    json_iter it = json_walk(result);
    while (!k && json_next(&it, &key, &item))
        k = read_series(d, item);
    return k;
}

static err_kind read_scalar(decode *d, json_val result)
{
    query_series *s = arena_new(&d->r->arena, query_series);
    if (!s || !(s->at = arena_new(&d->r->arena, sample)))
        return err_nomem(d->e);
    d->r->series = s;
    d->r->len = 1;
    return add_sample(d, s, result);
}

static err_kind read_texts(json_val list, arena *a, str **ret, size_t *ret_n, size_t more, err *e)
{
    str key, *out = arena_array(a, str, json_len(list) + more + 1);
    json_val item;
    size_t n = 0;
    json_iter it = json_walk(list);
    if (!out)
        return err_nomem(e);
    while (json_next(&it, &key, &item))
        if (!(out[n++] = arena_str(a, json_str_or(item, STR_EMPTY))).ptr)
            return err_nomem(e);
    *ret = out;
    *ret_n = n;
    return OK;
}

static err_kind read_result(decode *d, json_val data)
{
    static const char *const types[] = { [QUERY_SCALAR] = "scalar", [QUERY_STRING] = "string", [QUERY_VECTOR] = "vector", [QUERY_MATRIX] = "matrix" };
    str type = json_str_or(json_get(data, "resultType"), STR_EMPTY);
    json_val result = json_get(data, "result");
    size_t t = 0;
    while (t < COUNT_OF(types) && !str_is(type, types[t]))
        t++;
    d->r->type = (query_value_type)t;
    switch (t) {
    case QUERY_SCALAR: return read_scalar(d, result);
    case QUERY_STRING:
        d->r->string = arena_str(&d->r->arena, json_str_or(json_at(result, 1), STR_EMPTY));
        return d->r->string.ptr ? OK : err_nomem(d->e);
    case QUERY_VECTOR:
    case QUERY_MATRIX: return read_vector(d, result);
    default: return not_an_answer(d->e, "a result of no known type");
    }
}

err_kind query_remote_decode(str reply, int64_t at_ms, size_t max_samples, query_result *ret, err *e)
{
    AUTO(json_doc_freep) json_doc *doc = NULL;
    json_val data;
    query_result r = { .arena = ARENA_INIT(RESULT_ARENA_MAX), .at_ms = at_ms };
    decode d = { &r, max_samples, false, e };
    err_kind k = open_reply(reply, &doc, &data, e);
    if (!k)
        k = read_result(&d, data);
    if (!k)
        k = read_texts(json_get(json_root(doc), "warnings"), &r.arena, &r.warnings, &r.warning_count, 2, e);
    if (!k)
        k = read_texts(json_get(json_root(doc), "infos"), &r.arena, &r.infos, &r.info_count, 0, e);
    if (!k && d.histograms)
        r.warnings[r.warning_count++] = STR("native histograms in the remote store's answer are left out");
    r.stats.samples = max_samples - d.left;
    if (k)
        query_result_done(&r);
    else
        *ret = r;
    return k;
}

static int by_labels(const void *a, const void *b) { return labels_cmp(*(const labels *)a, *(const labels *)b); }

err_kind query_remote_decode_series(str reply, arena *a, labels **ret, size_t *ret_n, err *e)
{
    AUTO(json_doc_freep) json_doc *doc = NULL;
    json_val data, item;
    str key;
    size_t n = 0, kept = 0;
    err_kind k = open_reply(reply, &doc, &data, e);
    labels *out = k ? NULL : arena_array(a, labels, json_len(data) + 1);
    if (!k && !out)
        k = err_nomem(e);
    if (k)
        return k;
    json_iter it = json_walk(data);
    while (!k && json_next(&it, &key, &item))
        k = read_labels(item, a, &out[n++], e);
    if (k)
        return k;
    qsort(out, n, sizeof *out, by_labels);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || !labels_eq(out[kept - 1], out[i]))
            out[kept++] = out[i];
    *ret = out;
    *ret_n = kept;
    return OK;
}

err_kind query_remote_decode_texts(str reply, arena *a, str **ret, size_t *ret_n, err *e)
{
    AUTO(json_doc_freep) json_doc *doc = NULL;
    json_val data;
    err_kind k = open_reply(reply, &doc, &data, e);
    return k ? k : read_texts(data, a, ret, ret_n, 0, e);
}
