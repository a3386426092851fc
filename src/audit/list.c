/* audit/list.c - reading the record back, oldest or newest first, without an index.
 *
 * `newest` walks the segments backwards until enough matches were counted, remembers where that was, and then
 * reads forwards from there: nothing is kept in memory but that one position. With `from_ms` the walk back ends at
 * the segment that began well before it: a page that asks for one incident must not read years. */
#include "audit/audit.h"

#include "audit/segment.h"

#define LIST_CLOCK_SLACK_MS (24 * 3600 * MS_PER_S) /* how far the wall clock may have been set back meanwhile */

typedef struct place { size_t segment; uint64_t pos; } place;
typedef struct walk {
    const char *dir;
    const audit_filter *filter;
    str *names;
    size_t n, limit;
} walk;

/* Ids are plain ASCII, which our writer does not escape: a line without these bytes need not be parsed. */
static bool may_hold(str line, str wanted)
{
    for (size_t i = 0; i < wanted.len; i++)
        if ((unsigned char)wanted.ptr[i] < 0x20 || wanted.ptr[i] == '"' || wanted.ptr[i] == '\\' || (unsigned char)wanted.ptr[i] >= 0x7f)
            return true;
    return str_find(line, wanted) >= 0;
}

static bool wanted(const audit_filter *f, const audit_record *r)
{
    return r->seq > f->after_seq && (!f->from_ms || r->t_ms >= f->from_ms) && (!f->to_ms || r->t_ms <= f->to_ms) &&
           str_starts(r->kind, f->kind_prefix) && (!f->subject.len || str_eq(r->subject, f->subject)) &&
           (!f->incident.len || str_eq(r->incident, f->incident));
}

/* 1: *ret matches; it lives in *ret_doc and `line`. 0: no match, or no record (that is for verify to tell). -1: no memory. */
static int match(const walk *w, str line, json_doc **ret_doc, audit_record *ret, err *e)
{
    const audit_filter *f = w->filter;
    if (!may_hold(line, f->incident) || !may_hold(line, f->subject) || !may_hold(line, f->kind_prefix))
        return 0;
    err_kind k = segment_parse_record(line, ret_doc, ret, e);
    if (k)
        return k == ERR_NOMEM ? -1 : 0;
    return wanted(f, ret);
}

/* Read segment p.segment from p.pos on. 1: go on, 0: enough (limit reached or fn said so), -1: *e. */
static int emit(const walk *w, place p, size_t *count, bool (*fn)(void *ctx, const audit_record *r), void *ctx, err *e)
{
    segment_reader r;
    str line;
    int got, more = 1;

    if (segment_reader_open(&r, w->dir, w->names[p.segment], e))
        return e->kind == ERR_NOT_FOUND ? 1 : -1;
    while (more > 0 && (got = segment_next(&r, &p.pos, &line, e)) != 0) {
        AUTO(json_doc_freep) json_doc *doc = NULL;
        audit_record record;
        int matched = got < 0 ? (e->kind == ERR_CORRUPT ? 2 : -1) : match(w, line, &doc, &record, e);
        if (matched == 2) /* an endless line: the rest of this segment cannot be read, the others can */
            break;
        if (matched < 0)
            more = -1;
        else if (matched)
            more = fn(ctx, &record) && ++*count < w->limit;
    }
    segment_reader_done(&r);
    return more;
}

/* From which place on do `limit` records match? Counts one segment backwards; true: found, *ret is the place. */
static int count_back(const walk *w, size_t segment, size_t *count, place *ret, err *e)
{
    segment_reader r;
    uint64_t pos = 0;
    str line;
    int got, found = 0;

    if (segment_reader_open(&r, w->dir, w->names[segment], e))
        return e->kind == ERR_NOT_FOUND ? 0 : -1;
    if (segment_end(&r, &pos, e))
        found = e->kind == ERR_CORRUPT ? 0 : -1;
    while (!found && (got = segment_prev(&r, &pos, &line, e)) != 0) {
        AUTO(json_doc_freep) json_doc *doc = NULL;
        audit_record record;
        int matched = got < 0 ? (e->kind == ERR_CORRUPT ? 2 : -1) : match(w, line, &doc, &record, e);
        if (matched == 2)
            break;
        if (matched < 0)
            found = -1;
        else if (matched && ++*count >= w->limit)
            found = 1;
    }
    *ret = (place){ segment, pos };
    segment_reader_done(&r);
    return found;
}

/* Was the segment's first record written well before `from_ms`? Then all segments before it were, too. */
static bool began_before(const walk *w, size_t segment, int64_t from_ms)
{
    segment_reader r;
    uint64_t pos = 0;
    str line;
    AUTO(json_doc_freep) json_doc *doc = NULL;
    audit_record record;
    err ignored;

    if (segment_reader_open(&r, w->dir, w->names[segment], &ignored))
        return false;
    bool early = segment_next(&r, &pos, &line, &ignored) > 0 && segment_next(&r, &pos, &line, &ignored) > 0 &&
                 segment_parse_record(line, &doc, &record, &ignored) == OK && record.t_ms < from_ms - LIST_CLOCK_SLACK_MS;
    segment_reader_done(&r);
    return early;
}

static int start_of_newest(const walk *w, place *ret, err *e)
{
    size_t count = 0;
    for (size_t i = w->n; i-- > 0;) {
        int found = count_back(w, i, &count, ret, e);
        if (found)
            return found;
        *ret = (place){ i, 0 };
        if (w->filter->from_ms && began_before(w, i, w->filter->from_ms))
            return 0;
    }
    *ret = (place){ 0 };
    return 0;
}

/* after_seq: whole segments before it are skipped by their names. */
static place start_after(const walk *w, uint64_t seq)
{
    place p = { 0 };
    uint64_t first;
    for (size_t i = 1; i < w->n; i++)
        if (segment_name_parse(w->names[i], &first) && first <= seq + 1)
            p.segment = i;
    return p;
}

err_kind audit_list(const char *dir, const audit_filter *f, bool (*fn)(void *ctx, const audit_record *r), void *ctx, err *e)
{
    err scratch;
    AUTO(arena_done) arena names = ARENA_INIT(64u << 20);
    static const audit_filter everything;
    walk w = { .dir = dir, .filter = f ? f : &everything };
    size_t count = 0;

    if (!e)
        e = &scratch;
    if (segment_list(dir, &names, &w.names, &w.n, e))
        return e->kind;
    w.limit = w.filter->limit ? w.filter->limit : AUDIT_LIST_MAX;
    place p = start_after(&w, w.filter->after_seq);
    if (w.filter->newest && start_of_newest(&w, &p, e) < 0)
        return err_context(e, "could not read the audit record");
    for (int more = 1; p.segment < w.n && more > 0; p = (place){ p.segment + 1, 0 })
        if ((more = emit(&w, p, &count, fn, ctx, e)) < 0)
            return err_context(e, "could not read the audit record");
    return OK;
}

void audit_record_json(json_writer *w, const audit_record *r)
{
    char when[CLOCK_ISO_MAX];
    clock_format_iso(when, r->t_ms);
    json_begin(w, '{');
    json_put_i64(w, "seq", (int64_t)r->seq);
    json_put_cstr(w, "time", when);
    json_put_i64(w, "t_ms", r->t_ms);
    json_put_str(w, "kind", r->kind);
    json_put_str(w, "actor", r->actor);
    json_put_str(w, "subject", r->subject);
    json_put_str(w, "incident", r->incident);
    json_put_str(w, "message", r->message);
    json_key(w, "data");
    if (r->data.len)
        json_raw(w, r->data);
    else
        json_null(w);
    json_end(w, '}');
}
