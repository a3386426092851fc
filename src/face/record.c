/* face/record.c - GET /api/galen/v1/audit: the record, newest first, filtered. */
#include "face/room.h"

#define RECORD_LIMIT_DEFAULT 200
#define RECORD_MAX_BYTES (64u << 20)

/* audit_list hands records out oldest first and people want the newest on top: the pieces are kept and turned. */
typedef struct pieces {
    buf text; /* one JSON object after another */
    vec(size_t) ends;
    err_kind failed;
} pieces;

static void pieces_done(pieces *p)
{
    buf_done(&p->text);
    vec_done(&p->ends);
}

static bool keep(void *ctx, const audit_record *r)
{
    pieces *p = ctx;
    json_writer w = json_writer_to(&p->text);

    audit_record_json(&w, r);
    p->failed = p->text.failed ? p->text.failed : vec_push(&p->ends, p->text.len);
    return p->failed == OK;
}

static err_kind number_param(http_request *req, const char *name, int64_t min, int64_t max, int64_t *ret, err *e)
{
    str text;
    int64_t v;

    if (!http_param(req, name, &text) || str_empty(text))
        return OK;
    if (!str_to_i64(text, &v) || v < min || v > max) {
        err_set(e, ERR_INVALID, "cannot use \"%" STR_FMT "\" as %s", STR_ARG(str_sub(text, 0, 80)), name);
        return err_hint(e, "%s is a whole number from %" PRId64 " to %" PRId64 ".", name, min, max);
    }
    *ret = v;
    return OK;
}

static err_kind read_filter(http_request *req, audit_filter *ret, err *e)
{
    int64_t limit = RECORD_LIMIT_DEFAULT, after = 0;

    if (number_param(req, "limit", 1, AUDIT_LIST_MAX, &limit, e) ||
        number_param(req, "after", 0, INT64_MAX, &after, e) ||
        number_param(req, "from", 0, INT64_MAX, &ret->from_ms, e) ||
        number_param(req, "to", 0, INT64_MAX, &ret->to_ms, e))
        return e->kind;
    ret->limit = (size_t)limit;
    ret->after_seq = (uint64_t)after;
    ret->newest = true;
    http_param(req, "kind", &ret->kind_prefix);
    http_param(req, "subject", &ret->subject);
    http_param(req, "incident", &ret->incident);
    return OK;
}

static void write_newest_first(const pieces *p, buf *out)
{
    buf_append(out, STR("{\"records\":["));
    for (size_t i = p->ends.len; i > 0; i--) {
        size_t from = i > 1 ? p->ends.at[i - 2] : 0;
        buf_append(out, str_of(p->text.ptr + from, p->ends.at[i - 1] - from));
        if (i > 1)
            buf_append_char(out, ',');
    }
    buf_append(out, STR("]}"));
}

void record_get(http_request *req)
{
    face *f = req->route_ctx;
    AUTO(pieces_done) pieces p = { .text = BUF_INIT(RECORD_MAX_BYTES) };
    AUTO(buf_done) buf out = BUF_INIT(RECORD_MAX_BYTES);
    audit_filter filter = { 0 };
    err e = { 0 };

    err_kind k = read_filter(req, &filter, &e);
    if (!k && f->deps.audit_dir)
        k = audit_list(f->deps.audit_dir, &filter, keep, &p, &e);
    if (!k && (k = p.failed)) {
        err_set(&e, k, "the records found do not fit into one answer");
        err_hint(&e, "Ask for fewer with limit, or narrow the search with kind, subject or incident.");
    }
    if (k) {
        http_reply_err(req, &e);
        return;
    }
    write_newest_first(&p, &out);
    reply_json(req, &out);
}
