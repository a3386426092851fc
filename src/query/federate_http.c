/* /federate: the newest sample of every matching series as a page that another Prometheus scrapes.
 *
 * Source: Prometheus web/federate.go and https://prometheus.io/docs/prometheus/latest/federation/. A sample is shown with
 * its own time when it is not older than the lookback and no staleness marker. External labels are added where the
 * series lacks them; `instance` is always there, so that the scraper with honor_labels does not add its own. Families
 * come sorted by name, as "untyped": what the engine called them is in the engine's own page. */
#include "query/api.h"
#include <stdlib.h>

#define FEDERATE_ARENA_MAX ((size_t)256 << 20)
#define TEXT_UNDERSCORES "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
#define TEXT_UTF8 "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"

typedef struct found { store_selection *sel; size_t at; labels labels; str name; } found;
typedef struct page {
    job *job;
    vec(found) series;
    sample_vec samples;
    bool utf8;                 /* names as they are, in quotes where need be; else '_' for what old readers do not know */
    str family;                /* the last one begun … */
    bool family_histogram;     /* … and what it was said to be */
} page;

/* ---- which series ---- */

static int by_name_and_labels(const void *a, const void *b)
{
    const found *x = a, *y = b;
    int c = str_cmp(x->name, y->name);
    return c ? c : labels_cmp(x->labels, y->labels);
}

CHECKED static err_kind collect(page *p, store_selection **selections, err *e)
{
    job *j = p->job;
    select_limits limits = { .max_series = query_engine_options(j->http->engine)->max_series };
    for (size_t i = 0; i < j->set_count; i++) {
        if (store_select(j->http->store, j->sets[i].at, j->sets[i].len, j->query.from_ms, j->query.to_ms, &limits, &selections[i], e))
            return e->kind;
        for (size_t k = 0; k < store_select_len(selections[i]); k++) {
            labels l = store_select_labels(selections[i], k);
            if (labels_name(l).len && vec_push(&p->series, ((found){ selections[i], k, l, labels_name(l) })))
                return err_nomem(e);
        }
    }
    if (p->series.len > 1)
        qsort(p->series.at, p->series.len, sizeof *p->series.at, by_name_and_labels);
    return OK;
}

/* ---- text ---- */

static bool classic_name(str name, bool metric) { return metric ? metric_name_valid(name) : label_name_valid(name); }

static void put_quoted(buf *out, str text)
{
    buf_append_char(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\n')
            buf_append(out, STR("\\n"));
        else if (c == '"' || c == '\\')
            buf_append_char(out, '\\'), buf_append_char(out, c);
        else
            buf_append_char(out, c);
    }
    buf_append_char(out, '"');
}

/* common/model, UnderscoreEscaping: one '_' a character that has no place in a name. */
static void put_underscored(buf *out, str name, bool metric)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c == ':' && metric);
        if (((unsigned char)c & 0xc0) == 0x80)
            continue; /* the rest of a character */
        buf_append_char(out, letter || (i > 0 && c >= '0' && c <= '9') ? c : '_');
    }
}

static void put_name(const page *p, buf *out, str name, bool metric)
{
    if (classic_name(name, metric))
        buf_append(out, name);
    else if (p->utf8)
        put_quoted(out, name);
    else
        put_underscored(out, name, metric);
}

static void begin_family(page *p, str name, bool native)
{
    buf *out = &p->job->body;
    if (str_eq(p->family, name) && p->family_histogram == native)
        return;
    p->family = name;
    p->family_histogram = native;
    buf_append(out, STR("# TYPE "));
    put_name(p, out, name, true);
    buf_append(out, native ? STR(" histogram\n") : STR(" untyped\n"));
}

static void put_label(const page *p, bool *first, str name, str value)
{
    buf *out = &p->job->body;
    if (!*first)
        buf_append_char(out, ',');
    *first = false;
    put_name(p, out, name, false);
    buf_append_char(out, '=');
    put_quoted(out, value);
}

/* Name, labels and what the scraper needs besides. `suffix` and `le`: of a histogram's parts, or empty. */
static void put_series(const page *p, labels l, str name, str suffix, str le)
{
    buf *out = &p->job->body;
    labels external = p->job->external;
    bool first = true, quoted = p->utf8 && !classic_name(name, true);
    str whole = suffix.len ? arena_printf(&p->job->arena, "%" STR_FMT "%" STR_FMT, STR_ARG(name), STR_ARG(suffix)) : name;
    if (!quoted)
        put_name(p, out, whole, true);
    buf_append_char(out, '{');
    if (quoted)
        put_quoted(out, whole), first = false;
    for (size_t i = 0; i < l.len; i++)
        if (!str_eq(l.at[i].name, METRIC_NAME))
            put_label(p, &first, l.at[i].name, l.at[i].value);
    for (size_t i = 0; i < external.len; i++)
        if (!labels_get(l, external.at[i].name).len)
            put_label(p, &first, external.at[i].name, external.at[i].value);
    if (!labels_get(l, STR("instance")).len && !labels_get(external, STR("instance")).len)
        put_label(p, &first, STR("instance"), STR(""));
    if (le.len)
        put_label(p, &first, STR("le"), le);
    buf_append(out, STR("} "));
}

static void put_value(buf *out, double v, int64_t t_ms)
{
    buf_append_double(out, v);
    buf_append_char(out, ' ');
    buf_append_i64(out, t_ms);
    buf_append_char(out, '\n');
}

/* Text has no native buckets: what is left is how many and how much. */
static void put_histogram(page *p, const found *f, const histogram_sample *s)
{
    buf *out = &p->job->body;
    begin_family(p, f->name, true);
    put_series(p, f->labels, f->name, STR("_bucket"), STR("+Inf"));
    put_value(out, s->h->count, s->t_ms);
    put_series(p, f->labels, f->name, STR("_sum"), STR_EMPTY);
    put_value(out, s->h->sum, s->t_ms);
    put_series(p, f->labels, f->name, STR("_count"), STR_EMPTY);
    put_value(out, s->h->count, s->t_ms);
}

CHECKED static err_kind put_newest(page *p, const found *f, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(FEDERATE_ARENA_MAX);
    histogram_vec histograms = { 0 };
    p->samples.len = 0;
    err_kind k = store_select_samples(f->sel, f->at, &p->samples, e);
    if (!k && store_select_has_histograms(f->sel, f->at))
        k = store_select_histograms(f->sel, f->at, &a, &histograms, e);
    const sample *s = k || !p->samples.len ? NULL : &vec_last(&p->samples);
    const histogram_sample *h = k || !histograms.len ? NULL : &vec_last(&histograms);
    if (h && (!s || h->t_ms > s->t_ms)) {
        if (!is_stale(h->h->sum))
            put_histogram(p, f, h);
    } else if (s && !is_stale(s->v)) {
        begin_family(p, f->name, false);
        put_series(p, f->labels, f->name, STR_EMPTY, STR_EMPTY);
        put_value(&p->job->body, s->v, s->t_ms);
    }
    vec_done(&histograms);
    return k;
}

static err_kind write_page(page *p, err *e)
{
    for (size_t i = 0; i < p->series.len; i++) {
        if (i && labels_eq(p->series.at[i - 1].labels, p->series.at[i].labels))
            continue; /* selectors may overlap */
        if (atomic_load(&p->job->cancel))
            return err_set(e, ERR_CANCELED, "query was canceled");
        if (put_newest(p, &p->series.at[i], e))
            return e->kind;
    }
    return buf_failed(&p->job->body) ? err_set(e, p->job->body.failed, "the result is too large for one reply") : OK;
}

/* Scrapers read the text of an error, not our envelope. */
static void fail(job *j, const err *e)
{
    char text[700];
    const char *type;
    j->status = api_status_of(e->kind, &type);
    err_format(text, sizeof text, e);
    buf_reset(&j->body);
    buf_append(&j->body, str_from(text));
    buf_append_char(&j->body, '\n');
    j->content_type = "text/plain; charset=utf-8";
}

static void run_federate(job *j)
{
    page p = { .job = j, .utf8 = j->want_utf8 };
    store_selection *selections[QUERY_MATCHES_MAX] = { NULL };
    err e = { 0 };
    j->status = 200;
    j->content_type = j->want_utf8 ? TEXT_UTF8 : TEXT_UNDERSCORES;
    if (job_parse_matches(j, &e) || collect(&p, selections, &e) || write_page(&p, &e))
        fail(j, &e);
    vec_done(&p.series);
    vec_done(&p.samples);
    for (size_t i = 0; i < j->set_count; i++)
        store_select_free(selections[i]);
}

void page_federate(http_request *req)
{
    job *j = job_new(req, run_federate);
    if (!j)
        return;
    j->query.to_ms = clock_now_ms();
    j->query.from_ms = j->query.to_ms - query_engine_options(j->http->engine)->lookback_ms;
    j->want_utf8 = str_find(http_header_get(req, "Accept"), STR("escaping=allow-utf-8")) >= 0;
    if (api_matches(req, j) && api_external_labels(req, j))
        job_start(j);
    else
        job_drop(j);
}
