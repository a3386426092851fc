/* audit/audit.c - opening, appending and rotating: the only writer of segments.
 *
 *   open:  last segment is   whole ------------------------------> append to it
 *                            torn (bytes behind the last newline) -> cut them off, record "audit.recovered"
 *                            damaged (a whole line does not fit) --> leave it as it is for verify, go on in a new
 *                                                                    segment, record "audit.damaged"
 *                            without a whole header --------------> nothing was acknowledged in it: remove it
 *
 * A damaged segment is never written to again: it is evidence. Refusing to start because of it would take the
 * watching away together with the record, so galen goes on and says so. */
#include "audit/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "audit/segment.h"
#include "base/file.h"

#ifdef GALEN_TINY
#define SEGMENT_MAX_DEFAULT 2048
#else
#define SEGMENT_MAX_DEFAULT (INT64_C(64) << 20)
#endif

struct audit {
    pthread_mutex_t lock;      /* everything below */
    char dir[FILE_PATH_MAX];
    char path[FILE_PATH_MAX];  /* of the open segment */
    int fd;
    uint64_t size;             /* its last good length */
    uint64_t next_seq;
    hash_chain chain;          /* hash of record next_seq - 1 */
    bool has_records;          /* the open segment holds more than its header */
    bool dirty;                /* bytes behind `size` could not be cut off yet */
    int64_t segment_max_bytes;
    void (*on_append)(void *ctx, const audit_record *r);
    void *on_append_ctx;
};

/* ---- the open segment ---- */

static err_kind segment_open(audit *a, const char *name, int flags, err *e)
{
    char path[FILE_PATH_MAX];
    if (file_join(path, a->dir, name, e))
        return err_context(e, "could not open an audit segment");
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        return err_sys(e, errno, "could not open audit segment \"%s\"", path);
    if (a->fd >= 0)
        close(a->fd);
    a->fd = fd;
    memcpy(a->path, path, sizeof path);
    return OK;
}

/* Start the segment for next_seq. Until its header stands nothing changes: the old segment stays open. */
static err_kind segment_create(audit *a, err *e)
{
    AUTO(buf_done) buf header = BUF_INIT(SEGMENT_LINE_MAX);
    audit next = *a;
    char name[SEGMENT_NAME_MAX];

    segment_put_header(&header, a->next_seq, &a->chain);
    if (buf_failed(&header))
        return err_nomem(e);
    next.fd = -1;
    segment_name(name, a->next_seq);
    /* O_TRUNC: what a failed attempt left behind was never acknowledged. */
    err_kind k = segment_open(&next, name, O_CREAT | O_TRUNC, e);
    if (k)
        return k;
    if ((k = file_write_all(next.fd, header.ptr, header.len, next.path, e)) || (k = file_sync(next.fd, next.path, e)) ||
        (k = file_sync_dir(a->dir, e))) {
        close(next.fd);
        unlink(next.path);
        return err_context(e, "could not start a new audit segment");
    }
    if (a->fd >= 0)
        close(a->fd);
    a->fd = next.fd;
    memcpy(a->path, next.path, sizeof a->path);
    a->size = header.len;
    a->has_records = false;
    a->dirty = false;
    return OK;
}

/* Cut away what a failed write may have left behind the last good record. */
static err_kind put_back(audit *a, err *e)
{
    a->dirty = file_truncate(a->fd, a->size, a->path, e) != OK;
    return a->dirty ? err_context(e, "could not cut off a half-written audit record") : OK;
}

/* ---- opening ---- */

typedef enum tail_kind { TAIL_WHOLE, TAIL_TORN, TAIL_DAMAGED, TAIL_NO_HEADER } tail_kind;
typedef struct tail {
    tail_kind kind;
    uint64_t good_bytes, lost_bytes;
    uint64_t next_seq;
    hash_chain chain;
    bool has_records;
} tail;

/* Past the damage: only find out where numbers may go on, so that none is given out twice. The chain goes on
 * from the last hash that is one. */
static err_kind skim_damaged(segment_reader *r, uint64_t pos, tail *t)
{
    str line;
    segment_line l;
    err ignored;

    t->kind = TAIL_DAMAGED;
    while (segment_next(r, &pos, &line, &ignored) > 0) {
        if (!segment_split(line, &l) || l.seq < t->next_seq || l.seq == UINT64_MAX)
            continue;
        t->next_seq = l.seq + 1;
        (void)!hash_parse_hex(l.hash_hex, &t->chain);
    }
    return OK;
}

/* Check the last segment from its header to its end. */
static err_kind scan_tail(segment_reader *r, uint64_t first_seq, tail *t, err *e)
{
    uint64_t pos = 0, header_seq;
    str line;
    segment_line l;
    hash_chain hash;
    int got = segment_next(r, &pos, &line, e);

    *t = (tail){ .next_seq = first_seq };
    if (got < 0)
        return e->kind;
    if (got == 0) {
        t->kind = TAIL_NO_HEADER;
        return OK;
    }
    if (!segment_parse_header(line, &header_seq, &t->chain) || header_seq != first_seq) {
        t->next_seq = first_seq + 1; /* its own name must not be used again */
        return skim_damaged(r, pos, t);
    }
    for (t->good_bytes = pos; (got = segment_next(r, &pos, &line, e)) > 0; t->good_bytes = pos) {
        if (!segment_split(line, &l) || l.seq != t->next_seq || !segment_sealed(&l, &t->chain, &hash)) {
            t->next_seq++;
            return skim_damaged(r, pos, t);
        }
        t->chain = hash;
        t->next_seq++;
        t->has_records = true;
    }
    if (got < 0)
        return e->kind == ERR_CORRUPT ? (t->next_seq++, skim_damaged(r, r->size, t)) : e->kind;
    t->lost_bytes = r->size - t->good_bytes;
    t->kind = t->lost_bytes ? TAIL_TORN : TAIL_WHOLE;
    return OK;
}

/* Find the segment to go on with; headerless ones at the end are removed. *ret_n is how many are left. */
static err_kind find_tail(audit *a, const str *names, size_t *n, tail *t, err *e)
{
    for (; *n > 0; (*n)--) {
        segment_reader r;
        uint64_t first_seq = 0;
        char path[FILE_PATH_MAX];

        segment_name_parse(names[*n - 1], &first_seq);
        err_kind k = segment_reader_open(&r, a->dir, names[*n - 1], e);
        if (k)
            return k;
        k = scan_tail(&r, first_seq, t, e);
        segment_reader_done(&r);
        if (k || t->kind != TAIL_NO_HEADER)
            return k;
        if (file_join(path, a->dir, names[*n - 1].ptr, e) || file_remove(path, e))
            return err_context(e, "could not remove an empty audit segment");
    }
    *t = (tail){ .kind = TAIL_NO_HEADER, .next_seq = 1 };
    return OK;
}

static err_kind record_trouble(audit *a, const tail *t, str name, err *e)
{
    char message[200], data[160];
    bool torn = t->kind == TAIL_TORN;

    if (torn)
        snprintf(message, sizeof message, "the last record in %.40s was cut by a crash; its %" PRIu64 " bytes were never acknowledged and are removed",
                 name.ptr, t->lost_bytes);
    else
        snprintf(message, sizeof message, "%.40s does not verify; it is left as it is and the record goes on in a new segment", name.ptr);
    snprintf(data, sizeof data, "{\"segment\":\"%.40s\",\"cut_bytes\":%" PRIu64 "}", name.ptr, torn ? t->lost_bytes : 0);
    audit_record r = { .kind = torn ? STR("audit.recovered") : STR("audit.damaged"), .actor = STR("galen"),
                       .message = str_from(message), .data = str_from(data) };
    return audit_append(a, &r, true, NULL, e);
}

static err_kind open_tail(audit *a, err *e)
{
    AUTO(arena_done) arena names_arena = ARENA_INIT(64u << 20);
    str *names;
    size_t n;
    tail t;

    err_kind k = segment_list(a->dir, &names_arena, &names, &n, e);
    if (k || (k = find_tail(a, names, &n, &t, e)))
        return k;
    a->next_seq = t.next_seq;
    a->chain = t.chain;
    if (n == 0 || t.kind == TAIL_DAMAGED) {
        if ((k = segment_create(a, e)))
            return k;
    } else {
        if ((k = segment_open(a, names[n - 1].ptr, 0, e)))
            return k;
        a->size = t.good_bytes;
        a->has_records = t.has_records;
        if (t.kind == TAIL_TORN && (k = put_back(a, e)))
            return k;
    }
    return n > 0 && t.kind != TAIL_WHOLE ? record_trouble(a, &t, names[n - 1], e) : OK;
}

err_kind audit_open(const char *dir, const audit_options *o, audit **ret, err *e)
{
    err scratch;
    AUTO(audit_closep) audit *a = mem_zalloc(sizeof *a);

    if (!e)
        e = &scratch;
    if (!a)
        return err_nomem(e);
    a->fd = -1;
    pthread_mutex_init(&a->lock, NULL);
    a->segment_max_bytes = o && o->segment_max_bytes > 0 ? o->segment_max_bytes : SEGMENT_MAX_DEFAULT;
    if (strlen(dir) + SEGMENT_NAME_MAX + 1 > sizeof a->dir)
        return err_set(e, ERR_LIMIT, "cannot open audit folder \"%s\": the path is too long", dir);
    strcpy(a->dir, dir);
    if (file_make_dirs(dir, 0700, e) || open_tail(a, e))
        return err_context(e, "could not open the audit record");
    *ret = TAKE(a);
    return OK;
}

void audit_close(audit *a)
{
    if (!a)
        return;
    if (a->fd >= 0)
        close(a->fd);
    pthread_mutex_destroy(&a->lock);
    mem_free(a);
}

void audit_closep(audit **a)
{
    audit_close(*a);
    *a = NULL;
}

/* ---- appending ---- */

/* What may go into the chain at all: a kind, and data that is one JSON object. */
static err_kind check_record(const audit_record *r, err *e)
{
    AUTO(json_doc_freep) json_doc *doc = NULL;

    if (r->kind.len == 0)
        return err_set(e, ERR_INVALID, "cannot record an event without a kind");
    if (str_is(r->kind, "audit.checkpoint"))
        return err_set(e, ERR_INVALID, "the kind \"audit.checkpoint\" is reserved for signed checkpoints");
    if (r->data.len > AUDIT_MAX_DATA)
        return err_set(e, ERR_LIMIT, "cannot record \"%" STR_FMT "\": its data is larger than %u bytes", STR_ARG(r->kind), AUDIT_MAX_DATA);
    if (r->data.len == 0)
        return OK;
    err_kind k = json_parse(r->data, &doc, e);
    if (k)
        return err_context(e, "cannot record \"%" STR_FMT "\"", STR_ARG(r->kind));
    if (json_typeof(json_root(doc)) != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "cannot record \"%" STR_FMT "\": its data is not a JSON object", STR_ARG(r->kind));
    return OK;
}

/* With the lock held. Nothing of *a changes unless the record stands. */
static err_kind append_locked(audit *a, audit_record *r, bool durable, err *e)
{
    AUTO(buf_done) buf line = BUF_INIT(SEGMENT_LINE_MAX);
    hash_chain chain = a->chain;
    err_kind k;

    if (a->dirty && put_back(a, e))
        return e->kind;
    r->seq = a->next_seq;
    r->t_ms = clock_now_ms();
    segment_put_record(&line, r, &chain);
    if (buf_failed(&line))
        return line.failed == ERR_NOMEM ? err_nomem(e) : err_set(e, ERR_LIMIT, "cannot record \"%" STR_FMT "\": it is too large", STR_ARG(r->kind));
    /* The old segment first: a durable record in the new one must not stand while the chain before it may be lost. */
    if (a->has_records && a->size + line.len > (uint64_t)a->segment_max_bytes && ((k = file_sync(a->fd, a->path, e)) || (k = segment_create(a, e))))
        return k;
    if ((k = file_write_all(a->fd, line.ptr, line.len, a->path, e)) || (durable && (k = file_sync(a->fd, a->path, e)))) {
        put_back(a, &(err){ 0 });
        return k;
    }
    a->size += line.len;
    a->next_seq++;
    a->chain = chain;
    a->has_records = true;
    return OK;
}

err_kind audit_append(audit *a, const audit_record *r, bool durable, uint64_t *ret_seq, err *e)
{
    err scratch;
    audit_record stamped = *r;

    if (!e)
        e = &scratch;
    err_kind k = check_record(r, e);
    if (k)
        return k;
    pthread_mutex_lock(&a->lock);
    k = append_locked(a, &stamped, durable, e);
    pthread_mutex_unlock(&a->lock);
    if (k)
        return k;
    if (ret_seq)
        *ret_seq = stamped.seq;
    if (a->on_append) /* outside the lock: a listener may append, too */
        a->on_append(a->on_append_ctx, &stamped);
    return OK;
}

void audit_on_append(audit *a, void (*fn)(void *ctx, const audit_record *r), void *ctx)
{
    a->on_append = fn;
    a->on_append_ctx = ctx;
}

uint64_t audit_head(audit *a, char ret_hex[65])
{
    pthread_mutex_lock(&a->lock);
    uint64_t seq = a->next_seq - 1;
    hash_hex(ret_hex, &a->chain);
    pthread_mutex_unlock(&a->lock);
    return seq;
}
