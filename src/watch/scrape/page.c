#include "watch/scrape/page.h"
#include "base/hash.h"

#define PAGE_ARENA_MAX (1u << 20) /* for building one series' labels */
#define PAGE_META_MAX (4u << 20)
#define PAGE_ROUND_MAX (256u << 20) /* histograms and exemplars of one page */
#define PAGE_MODEL_MAX 256

typedef struct page_series {
    uint64_t hash;
    label_set *labels; /* NULL: relabelling drops it */
    uint64_t ref;
    struct page_series *next; /* what followed it on the last page: probably follows it again */
    uint32_t round;           /* the last page it was on, good or not */
    bool timed;               /* brings its own timestamps: no markers */
    bool live, was_live;      /* a marker is owed when it goes; the same before this round */
    engine_role role;
    uint32_t len;
    char text[]; /* as on the page */
} page_series;

struct page_cache {
    page_series **slots; /* open addressing, power of two */
    size_t cap, len;
    size_t live;                      /* series that are */
    page_series *first, *last;        /* of the page; of the round so far */
    size_t seen, seen_live, live_now; /* different series in this round; those that were live; those that are */
    uint32_t round;
    bool failed_round; /* this round's page was broken: nothing is forgotten on its account */
    arena scratch, meta_arena;
    arena round_arena; /* histograms and exemplars, until settled */
    vec(exposition_meta) metas;
    vec(uint64_t) comments; /* hashes of the page's # lines */
    vec(exemplar_row) exemplars;
    char model[PAGE_MODEL_MAX];
};

page_cache *page_cache_new(void)
{
    page_cache *c = mem_zalloc(sizeof *c);
    if (c) {
        c->scratch = arena_init(PAGE_ARENA_MAX);
        c->meta_arena = arena_init(PAGE_META_MAX);
        c->round_arena = arena_init(PAGE_ROUND_MAX);
    }
    return c;
}

static void series_free(page_series *s)
{
    label_set_unref(s->labels);
    mem_free(s);
}

void page_cache_free(page_cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->cap; i++) {
        if (c->slots[i])
            series_free(c->slots[i]);
    }
    mem_free(c->slots);
    arena_done(&c->scratch);
    arena_done(&c->meta_arena);
    arena_done(&c->round_arena);
    vec_done(&c->metas);
    vec_done(&c->comments);
    vec_done(&c->exemplars);
    mem_free(c);
}

size_t page_series_count(const page_cache *c) { return c->len; }
size_t page_meta_count(const page_cache *c) { return c->metas.len; }
exposition_meta page_meta_at(const page_cache *c, size_t i) { return c->metas.at[i]; }

/* ---- the table ---- */
static page_series **place(page_series **slots, size_t cap, uint64_t hash, str text)
{
    for (size_t i = (size_t)hash & (cap - 1);; i = (i + 1) & (cap - 1)) {
        page_series *s = slots[i];
        if (!s || (s->hash == hash && s->len == text.len && memcmp(s->text, text.ptr, text.len) == 0))
            return &slots[i];
    }
}

/* A table of `cap` slots with what `keep` lets through; the rest is freed. Without memory nothing changes. */
static err_kind rebuild(page_cache *c, size_t cap, bool (*keep)(const page_cache *c, const page_series *s))
{
    page_series **slots = mem_calloc(cap, sizeof *slots);
    if (!slots)
        return ERR_NOMEM;
    size_t len = 0;
    if (keep)
        c->first = NULL;
    for (size_t i = 0; i < c->cap; i++) {
        page_series *s = c->slots[i];
        if (!s)
            continue;
        if (keep)
            s->next = NULL; /* it may be one that goes; the next page tells again */
        if (keep && !keep(c, s)) {
            series_free(s);
            continue;
        }
        *place(slots, cap, s->hash, str_of(s->text, s->len)) = s;
        len++;
    }
    mem_free(c->slots);
    c->slots = slots;
    c->cap = cap;
    c->len = len;
    return OK;
}

static err_kind make_room(page_cache *c, err *e)
{
    if (c->len >= PAGE_MAX_SERIES)
        return err_set(e, ERR_LIMIT, "the target has more than %u series", PAGE_MAX_SERIES);
    if (c->len * 4 < c->cap * 3)
        return OK;
    return rebuild(c, c->cap ? c->cap * 2 : 256, NULL) ? err_nomem(e) : OK;
}

/* ---- labels of a new series ---- */
static bool has_label(labels l, str name) { return labels_get(l, name).len > 0; }

/* A label of the page that ours has, too, moves aside: exported_job (honor_labels is off). */
static void put_exported(labels_builder *b, labels page, labels target, label l)
{
    str name = l.name;
    do {
        name = arena_printf(b->arena, "exported_%" STR_FMT, STR_ARG(name));
        if (!name.ptr) {
            b->failed = true;
            return;
        }
    } while (has_label(page, name) || has_label(target, name));
    labels_put(b, name, l.value);
}

static void merge_labels(labels_builder *b, labels page, const page_rules *r, arena *a)
{
    bool honor = r->job && r->job->honor_labels;
    labels_start(b, a);
    for (size_t i = 0; i < page.len; i++) {
        if (honor || !has_label(r->target, page.at[i].name))
            labels_put(b, page.at[i].name, page.at[i].value);
        else
            put_exported(b, page, r->target, page.at[i]);
    }
    for (size_t i = 0; i < r->target.len; i++) {
        if (!honor || !has_label(page, r->target.at[i].name))
            labels_put(b, r->target.at[i].name, r->target.at[i].value);
    }
}

static err_kind check_limits(const scrape_job *j, labels l, err *e)
{
    str name = labels_name(l);
    if (!name.len)
        return err_set(e, ERR_INVALID, "relabelling left a series without a metric name");
    if (!j)
        return OK;
    if (j->label_limit > 0 && l.len > (size_t)j->label_limit)
        return err_set(e, ERR_LIMIT, "series \"%" STR_FMT "\" has %zu labels, label_limit is %" PRId64, STR_ARG(name),
                       l.len, j->label_limit);
    for (size_t i = 0; i < l.len; i++) {
        if (j->label_name_length_limit > 0 && l.at[i].name.len > (size_t)j->label_name_length_limit)
            return err_set(e, ERR_LIMIT,
                           "series \"%" STR_FMT "\" has a label name of %zu bytes, label_name_length_limit is %" PRId64,
                           STR_ARG(name), l.at[i].name.len, j->label_name_length_limit);
        if (j->label_value_length_limit > 0 && l.at[i].value.len > (size_t)j->label_value_length_limit)
            return err_set(e, ERR_LIMIT,
                           "series \"%" STR_FMT
                           "\" has a label value of %zu bytes, label_value_length_limit is %" PRId64,
                           STR_ARG(name), l.at[i].value.len, j->label_value_length_limit);
    }
    return OK;
}

static err_kind final_labels(page_cache *c, const page_rules *r, labels page, label_set **ret, err *e)
{
    labels_builder b;
    arena_reset(&c->scratch);
    merge_labels(&b, page, r, &c->scratch);
    *ret = NULL;
    if (!b.failed && r->job && r->job->metric_relabel.len && !relabel_apply(&r->job->metric_relabel, &b))
        return b.failed ? err_nomem(e) : OK; /* dropped */
    labels l = labels_finish(&b);
    if (b.failed)
        return err_set(e, ERR_LIMIT, "the labels of \"%" STR_FMT "\" are too many or too long",
                       STR_ARG(labels_name(page)));
    err_kind k = check_limits(r->job, l, e);
    if (k)
        return k;
    *ret = label_set_new(l);
    return *ret ? OK : err_nomem(e);
}

static void keep_model(page_cache *c, labels page)
{
    str model = labels_get(page, STR("model_name"));
    if (model.len && !c->model[0])
        str_copy(c->model, sizeof c->model, model);
}

static err_kind add_series(page_cache *c, const page_rules *r, exposition_parser *p, str text, uint64_t hash,
                           page_series **ret, err *e)
{
    labels page;
    metric_type type;
    err_kind k = exposition_labels(p, &page, &type, e);
    if (!k)
        k = make_room(c, e);
    if (k)
        return k;
    page_series *s = mem_zalloc(sizeof *s + text.len);
    if (!s)
        return err_nomem(e);
    k = final_labels(c, r, page, &s->labels, e);
    if (k) {
        mem_free(s);
        return k;
    }
    keep_model(c, page);
    s->hash = hash;
    s->role = engine_classify(page);
    s->len = (uint32_t)text.len;
    memcpy(s->text, text.ptr, text.len);
    *place(c->slots, c->cap, hash, text) = s;
    c->len++;
    *ret = s;
    return OK;
}

/* ---- one page ---- */

/* The series of a line: the one that was expected, one that is known, or a new one. */
static err_kind series_of_line(page_cache *c, const page_rules *r, exposition_parser *p, const exposition_line *line,
                               page_series *expected, page_series **ret, page_result *result, err *e)
{
    if (line->as_expected) {
        *ret = expected;
        return OK;
    }
    uint64_t hash = hash_str(line->series, 0);
    *ret = c->cap ? *place(c->slots, c->cap, hash, line->series) : NULL;
    if (*ret)
        return OK;
    err_kind k = add_series(c, r, p, line->series, hash, ret, e);
    if (!k) {
        (*ret)->next = expected;
        result->added += (*ret)->labels != NULL;
    }
    return k;
}

static void follow(page_cache *c, page_series *s)
{
    if (c->last)
        c->last->next = s;
    else
        c->first = s;
    c->last = s;
}

/* A broken exemplar costs its line nothing, as in Prometheus. */
static void take_exemplars(page_cache *c, exposition_parser *p, unsigned n, const page_series *s, int64_t t_ms)
{
    for (unsigned i = 0; i < n; i++) {
        exemplar_row row = { .series = label_set_view(s->labels) };
        if (exposition_exemplar(p, i, &c->round_arena, &row.exemplar, NULL))
            continue;
        if (!row.exemplar.t_ms)
            row.exemplar.t_ms = t_ms;
        (void)!vec_push(&c->exemplars, row);
    }
}

static bool keeps_marker(const page_series *s, const scrape_job *j)
{
    return s->labels && (!s->timed || (j && j->track_timestamps_staleness));
}

static size_t histogram_buckets(const histogram *h)
{
    return (size_t)h->positive.bucket_count + h->negative.bucket_count;
}

static err_kind take_line(page_cache *c, const page_rules *r, exposition_parser *p, const exposition_line *line,
                          page_series *expected, int64_t now_ms, row_vec *rows, page_result *ret, err *e)
{
    page_series *s;
    err_kind k = series_of_line(c, r, p, line, expected, &s, ret, e);
    if (k)
        return k;
    if (s->round == c->round) {
        ret->duplicates++;
        return OK;
    }
    follow(c, s);
    bool timed = line->has_time && (!r->job || r->job->honor_timestamps);
    ret->scraped++;
    engine_see(&ret->seen, s->role, line->v);
    c->seen++;
    c->seen_live += s->live;
    s->was_live = s->live;
    s->round = c->round;
    if (!s->labels)
        return OK;
    if (r->job && r->job->sample_limit > 0 && ret->kept >= (size_t)r->job->sample_limit)
        return err_set(e, ERR_LIMIT, "the page has more samples than sample_limit, %" PRId64, r->job->sample_limit);
    if (line->histogram && r->job->bucket_limit > 0 &&
        histogram_buckets(line->histogram) > (size_t)r->job->bucket_limit)
        return err_set(e, ERR_LIMIT, "a native histogram has more buckets than native_histogram_bucket_limit, %" PRId64,
                       r->job->bucket_limit);
    sample_row row = { .labels = s->ref ? (labels){ NULL, 0 } : label_set_view(s->labels),
                       .ref = &s->ref,
                       .t_ms = timed ? line->t_ms : now_ms,
                       .v = line->v,
                       .histogram = line->histogram,
                       .start_ms = line->start_ms };
    if (vec_push(rows, row))
        return err_nomem(e);
    s->timed = timed;
    s->live = keeps_marker(s, r->job);
    c->live_now += s->live;
    take_exemplars(c, p, line->exemplars, s, row.t_ms);
    ret->kept++;
    return OK;
}

/* Copied only when it changed: help texts are most of a page. */
static void keep_meta(page_cache *c, const exposition_parser *p)
{
    size_t n, comments;
    if (exposition_comments_known(p))
        return;
    const uint64_t *hashes = exposition_comment_hashes(p, &comments);
    vec_clear(&c->comments);
    vec_clear(&c->metas);
    arena_reset(&c->meta_arena);
    n = exposition_meta_count(p);
    for (size_t i = 0; i < n; i++) {
        exposition_meta m = exposition_meta_at(p, i);
        exposition_meta copy = { arena_str(&c->meta_arena, m.family), arena_str(&c->meta_arena, m.help),
                                 arena_str(&c->meta_arena, m.unit), m.type };
        if (!copy.family.ptr || !copy.help.ptr || !copy.unit.ptr || vec_push(&c->metas, copy))
            return; /* without the hashes the next page is read in full again */
    }
    if (!vec_reserve(&c->comments, comments)) {
        if (comments)
            memcpy(c->comments.at, hashes, comments * sizeof *hashes);
        c->comments.len = comments;
    }
}

static err_kind mark_missing(page_cache *c, bool all, int64_t now_ms, row_vec *rows)
{
    for (size_t i = 0; i < c->cap; i++) {
        page_series *s = c->slots[i];
        if (!s || !s->live || (!all && s->round == c->round))
            continue;
        labels l = s->ref ? (labels){ NULL, 0 } : label_set_view(s->labels);
        if (vec_push(rows, ((sample_row){ l, &s->ref, now_ms, stale_nan(), NULL, 0 })))
            return ERR_NOMEM;
        s->live = false;
    }
    return OK;
}

/* The page counts for nothing: what is live is what was live before it. */
static void undo_round(page_cache *c)
{
    for (size_t i = 0; i < c->cap; i++) {
        page_series *s = c->slots[i];
        if (s && s->round == c->round)
            s->live = s->was_live;
    }
    vec_clear(&c->exemplars);
}

static void begin_round(page_cache *c)
{
    c->round++;
    c->failed_round = true;
    c->last = NULL;
    c->seen = c->seen_live = c->live_now = 0;
    vec_clear(&c->exemplars);
    arena_reset(&c->round_arena);
}

static err_kind read_lines(page_cache *c, const page_rules *r, exposition_parser *p, int64_t now_ms, row_vec *rows,
                           page_result *ret, err *e)
{
    exposition_line line;
    for (;;) {
        page_series *expected = c->last ? c->last->next : c->first;
        exposition_expect(p, expected ? str_of(expected->text, expected->len) : STR_EMPTY);
        int more = exposition_next_line(p, &line, e);
        if (more <= 0)
            return more ? (e->kind ? e->kind : ERR_PARSE) : OK;
        err_kind k = take_line(c, r, p, &line, expected, now_ms, rows, ret, e);
        if (k)
            return k;
    }
}

/* The page is whole: markers for what it lacks, and what it says of its families. */
static err_kind end_round(page_cache *c, const exposition_parser *p, int64_t now_ms, row_vec *rows, err *e)
{
    if (c->seen_live != c->live && mark_missing(c, false, now_ms, rows))
        return err_nomem(e);
    c->failed_round = false;
    c->live = c->live_now;
    if (c->last)
        c->last->next = NULL;
    keep_meta(c, p);
    return OK;
}

err_kind page_read(page_cache *c, const page_rules *r, str body, exposition_format format, int64_t now_ms,
                   row_vec *rows, page_result *ret, err *e)
{
    size_t before = rows->len;
    err why = { 0 };
    exposition_parser *p = exposition_open(body, format, &c->round_arena);
    *ret = (page_result){ 0 };
    begin_round(c);
    if (!p)
        return err_nomem(e);
    exposition_know_comments(p, c->comments.at, c->comments.len);
    exposition_want(p, r->job && r->job->native_histograms, r->job && r->job->classic_too);
    err_kind k = read_lines(c, r, p, now_ms, rows, ret, &why);
    if (!k)
        k = end_round(c, p, now_ms, rows, &why);
    if (k) {
        rows->len = before;
        undo_round(c);
        if (e)
            *e = why;
    }
    ret->model = str_from(c->model);
    exposition_free(p);
    return k;
}

err_kind page_fail(page_cache *c, int64_t now_ms, row_vec *rows)
{
    if (c->live && mark_missing(c, true, now_ms, rows))
        return ERR_NOMEM;
    c->live = 0;
    return OK;
}

/* ---- to the sink ---- */

/* The rows of pages that rely on their ref get their labels back. */
static void spell_out(row_vec *rows)
{
    for (size_t i = 0; i < rows->len; i++) {
        sample_row *row = &rows->at[i];
        if (!row->labels.len)
            row->labels = label_set_view(((page_series *)((char *)row->ref - offsetof(page_series, ref)))->labels);
    }
}

err_kind page_append(page_cache *c, const sample_sink *sink, row_vec *rows, sink_result *rejected, err *e)
{
    if (!rows->len || !sink->append)
        return OK;
    err_kind k = sink->append(sink->ctx, rows->at, rows->len, rejected, e);
    if (k == ERR_NOT_FOUND) {
        spell_out(rows);
        k = sink->append(sink->ctx, rows->at, rows->len, rejected, e);
    }
    if (!k && c->exemplars.len && sink->append_exemplars)
        (void)sink->append_exemplars(sink->ctx, c->exemplars.at, c->exemplars.len, &(sink_result){ 0 }, NULL);
    return k;
}

static bool on_last_page(const page_cache *c, const page_series *s) { return s->round == c->round; }

void page_settle(page_cache *c)
{
    vec_clear(&c->exemplars);
    if (!c->failed_round && c->seen != c->len)
        (void)rebuild(c, c->cap, on_last_page); /* without memory they are forgotten next time */
}

const char *page_refused(str body, str content_type)
{
    str text = str_trim(str_sub(body, 0, 256));
    if (str_starts(content_type, STR("text/html")) || (text.len && text.ptr[0] == '<'))
        return "not an exposition page: the answer is HTML";
    if (str_starts(content_type, STR("application/json")) || (text.len && (text.ptr[0] == '[' || text.ptr[0] == '{')))
        return "not an exposition page: the answer is JSON";
    return NULL;
}
