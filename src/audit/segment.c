/* audit/segment.c - sealing, splitting and reading the lines of a segment. */
#include "audit/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>


#define HASH_HEX 64
#define HASH_OPEN ",\"hash\":\""
#define HASH_TAIL (sizeof(HASH_OPEN) - 1 + HASH_HEX + 2) /* …"} closes it */
#define DATA_OPEN ",\"data\":"
#define WINDOW_MIN (64u << 10)

/* ---- lines ---- */

void segment_put_header(buf *out, uint64_t first_seq, const hash_chain *prev)
{
    char hex[HASH_HEX + 1];
    hash_hex(hex, prev);
    buf_printf(out, "{\"galen_audit\":%d,\"first_seq\":%" PRIu64 ",\"prev\":\"%s\"}\n", SEGMENT_VERSION, first_seq, hex);
}

/* Take `lit` off the front of *s. */
static bool eat(str *s, const char *lit)
{
    if (!str_starts(*s, str_from(lit)))
        return false;
    *s = str_skip(*s, strlen(lit));
    return true;
}

/* Take a decimal number off the front of *s: no sign, no leading zero, so that it has one spelling only. */
static bool eat_u64(str *s, uint64_t *ret)
{
    size_t n = 0;
    while (n < s->len && s->ptr[n] >= '0' && s->ptr[n] <= '9')
        n++;
    if (n == 0 || (n > 1 && s->ptr[0] == '0') || !str_to_u64(str_sub(*s, 0, n), ret))
        return false;
    *s = str_skip(*s, n);
    return true;
}

bool segment_parse_header(str line, uint64_t *ret_first_seq, hash_chain *ret_prev)
{
    uint64_t version, first_seq;
    hash_chain prev;
    if (!eat(&line, "{\"galen_audit\":") || !eat_u64(&line, &version) || version != SEGMENT_VERSION)
        return false;
    if (!eat(&line, ",\"first_seq\":") || !eat_u64(&line, &first_seq) || !eat(&line, ",\"prev\":\""))
        return false;
    if (line.len != HASH_HEX + 2 || !hash_parse_hex(str_sub(line, 0, HASH_HEX), &prev))
        return false;
    char hex[HASH_HEX + 1];
    hash_hex(hex, &prev); /* refuses another spelling of the same hash */
    if (memcmp(hex, line.ptr, HASH_HEX) != 0 || !str_is(str_skip(line, HASH_HEX), "\"}"))
        return false;
    *ret_first_seq = first_seq;
    *ret_prev = prev;
    return true;
}

static hash_chain seal(const hash_chain *prev, str body)
{
    return hash_blake2b((str[]){ str_of((const char *)prev->bytes, HASH_CHAIN_BYTES), body }, 2);
}

static void put_text(json_writer *w, const char *key, str s)
{
    if (s.len)
        json_put_str(w, key, s);
}

/* JSON may be laid out over lines; ours is one line. Newlines stand between tokens only, never in a string. */
static void put_data(json_writer *w, str data)
{
    json_key(w, "data");
    size_t from = w->out->len;
    json_raw(w, data);
    if (buf_failed(w->out))
        return;
    for (size_t i = from; i < w->out->len; i++)
        if (w->out->ptr[i] == '\n' || w->out->ptr[i] == '\r' || w->out->ptr[i] == '\t')
            w->out->ptr[i] = ' ';
}

void segment_put_record(buf *out, const audit_record *r, hash_chain *chain)
{
    size_t start = out->len;
    char when[CLOCK_ISO_MAX], hex[HASH_HEX + 1];
    json_writer w = json_writer_to(out);

    clock_format_iso(when, r->t_ms);
    buf_printf(out, "{\"seq\":%" PRIu64, r->seq);
    w.comma = true;
    json_put_cstr(&w, "time", when);
    json_put_str(&w, "kind", r->kind);
    put_text(&w, "actor", r->actor);
    put_text(&w, "subject", r->subject);
    put_text(&w, "incident", r->incident);
    put_text(&w, "message", r->message);
    if (r->data.len)
        put_data(&w, r->data);
    if (buf_failed(out))
        return;
    *chain = seal(chain, str_of(out->ptr + start, out->len - start));
    hash_hex(hex, chain);
    buf_printf(out, HASH_OPEN "%s\"}\n", hex);
}

bool segment_split(str line, segment_line *ret)
{
    str head = line;
    if (line.len < HASH_TAIL || !eat(&head, "{\"seq\":") || !eat_u64(&head, &ret->seq) || !str_starts(head, STR(",")))
        return false;
    str tail = str_skip(line, line.len - HASH_TAIL);
    if (!eat(&tail, HASH_OPEN) || !str_is(str_skip(tail, HASH_HEX), "\"}"))
        return false;
    ret->hash_hex = str_sub(tail, 0, HASH_HEX);
    ret->body = str_sub(line, 0, line.len - HASH_TAIL);
    return true;
}

bool segment_sealed(const segment_line *l, const hash_chain *prev, hash_chain *ret_hash)
{
    char hex[HASH_HEX + 1];
    *ret_hash = seal(prev, l->body);
    hash_hex(hex, ret_hash);
    return str_is(l->hash_hex, hex);
}

/* The raw bytes of the member "data". Inside a JSON string its quotes would be escaped, so the first
 * ,"data": in the line is the member itself: only plain texts stand before it. */
static str raw_data(str body)
{
    ptrdiff_t at = str_find(body, STR(DATA_OPEN));
    return at < 0 ? STR_EMPTY : str_skip(body, (size_t)at + sizeof(DATA_OPEN) - 1);
}

err_kind segment_parse_record(str line, json_doc **ret_doc, audit_record *ret, err *e)
{
    segment_line l;
    AUTO(json_doc_freep) json_doc *doc = NULL;

    if (!segment_split(line, &l))
        return err_set(e, ERR_CORRUPT, "not an audit record");
    err_kind k = json_parse(line, &doc, e);
    if (k)
        return k == ERR_NOMEM ? k : err_set(e, ERR_CORRUPT, "audit record %" PRIu64 " is not JSON", l.seq);

    json_val v = json_root(doc);
    audit_record r = { .seq = l.seq, .data = raw_data(l.body) };
    if (!clock_parse_iso(json_str_or(json_get(v, "time"), STR_EMPTY), &r.t_ms))
        return err_set(e, ERR_CORRUPT, "audit record %" PRIu64 " has no time", l.seq);
    r.kind = json_str_or(json_get(v, "kind"), STR_EMPTY);
    r.actor = json_str_or(json_get(v, "actor"), STR_EMPTY);
    r.subject = json_str_or(json_get(v, "subject"), STR_EMPTY);
    r.incident = json_str_or(json_get(v, "incident"), STR_EMPTY);
    r.message = json_str_or(json_get(v, "message"), STR_EMPTY);
    *ret = r;
    *ret_doc = TAKE(doc);
    return OK;
}

/* ---- files ---- */

void segment_name(char out[SEGMENT_NAME_MAX], uint64_t first_seq)
{
    snprintf(out, SEGMENT_NAME_MAX, "%016" PRIu64 ".log", first_seq);
}

bool segment_name_parse(str name, uint64_t *ret_first_seq)
{
    char canonical[SEGMENT_NAME_MAX];
    if (name.len < 20 || !str_ends(name, STR(".log")) || !str_to_u64(str_sub(name, 0, name.len - 4), ret_first_seq))
        return false;
    segment_name(canonical, *ret_first_seq);
    return str_is(name, canonical);
}

err_kind segment_list(const char *dir, arena *a, str **ret_names, size_t *ret_n, err *e)
{
    str *names;
    size_t n, kept = 0;
    uint64_t seq;

    if (!file_exists(dir)) {
        *ret_names = NULL;
        *ret_n = 0;
        return OK;
    }
    if (file_list(dir, a, &names, &n, e))
        return err_context(e, "could not list the audit segments");
    for (size_t i = 0; i < n; i++)
        if (segment_name_parse(names[i], &seq))
            names[kept++] = names[i];
    *ret_names = names;
    *ret_n = kept;
    return OK;
}

err_kind segment_reader_open(segment_reader *r, const char *dir, str name, err *e)
{
    struct stat st;
    *r = (segment_reader){ .fd = -1, .window = BUF_INIT(4 * (size_t)SEGMENT_LINE_MAX) };
    int n = snprintf(r->path, sizeof r->path, "%s/%" STR_FMT, dir, STR_ARG(name));
    if (n < 0 || (size_t)n >= sizeof r->path)
        return err_set(e, ERR_LIMIT, "cannot open audit segment \"%" STR_FMT "\": the path is too long", STR_ARG(name));
    r->fd = open(r->path, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0)
        return err_sys(e, errno, "could not open audit segment \"%s\"", r->path);
    if (fstat(r->fd, &st) < 0) {
        err_sys(e, errno, "could not read audit segment \"%s\"", r->path);
        segment_reader_done(r);
        return e ? e->kind : ERR_IO;
    }
    r->size = (uint64_t)st.st_size;
    return OK;
}

void segment_reader_done(segment_reader *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    buf_done(&r->window);
}

/* Make the window hold the file's bytes from..to. */
static err_kind load(segment_reader *r, uint64_t from, uint64_t to, err *e)
{
    size_t want = (size_t)(to - from), got = 0;
    buf_reset(&r->window);
    r->window_at = from;
    char *at = buf_reserve(&r->window, want);
    if (!at)
        return err_nomem(e);
    while (got < want) {
        ssize_t n = pread(r->fd, at + got, want - got, (off_t)(from + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, errno, "could not read audit segment \"%s\"", r->path);
        if (n == 0)
            return err_set(e, ERR_CORRUPT, "audit segment \"%s\" became shorter while it was read", r->path);
        got += (size_t)n;
    }
    buf_commit(&r->window, want);
    return OK;
}

static int too_long(const segment_reader *r, uint64_t pos, err *e)
{
    err_set(e, ERR_CORRUPT, "audit segment \"%s\" has a line of more than %u bytes at offset %" PRIu64, r->path,
            SEGMENT_LINE_MAX, pos);
    return -1;
}

int segment_next(segment_reader *r, uint64_t *pos, str *ret_line, err *e)
{
    for (size_t want = WINDOW_MIN; *pos < r->size; want *= 2) {
        uint64_t end = r->window_at + r->window.len;
        if (*pos >= r->window_at && *pos < end) {
            const char *from = r->window.ptr + (*pos - r->window_at);
            const char *nl = memchr(from, '\n', (size_t)(end - *pos));
            if (nl) {
                *ret_line = str_of(from, (size_t)(nl - from));
                *pos += ret_line->len + 1;
                return 1;
            }
            if (end == r->size)
                return end - *pos > SEGMENT_LINE_MAX ? too_long(r, *pos, e) : 0;
            if (end - *pos > SEGMENT_LINE_MAX)
                return too_long(r, *pos, e);
        }
        if (load(r, *pos, MIN(r->size, *pos + want), e))
            return -1;
    }
    return 0;
}

/* Offset behind the last newline in 0..end, 0 if there is none. */
static int after_newline_before(segment_reader *r, uint64_t end, uint64_t *ret, err *e)
{
    for (size_t want = WINDOW_MIN; end > 0; want *= 2) {
        if (end > r->window_at && end <= r->window_at + r->window.len) {
            const char *nl = memrchr(r->window.ptr, '\n', (size_t)(end - r->window_at));
            if (nl || r->window_at == 0) {
                *ret = nl ? r->window_at + (uint64_t)(nl - r->window.ptr) + 1 : 0;
                return 1;
            }
            if (end - r->window_at > SEGMENT_LINE_MAX)
                return too_long(r, r->window_at, e);
        }
        /* A little to the right comes along, so that the newline that ends this line is in the window, too. */
        if (load(r, end > want ? end - want : 0, MIN(r->size, end + 1), e))
            return -1;
    }
    *ret = 0;
    return 1;
}

int segment_prev(segment_reader *r, uint64_t *pos, str *ret_line, err *e)
{
    uint64_t start;
    if (*pos == 0)
        return 0;
    if (after_newline_before(r, *pos - 1, &start, e) < 0)
        return -1;
    if (*pos == 1 && load(r, 0, 1, e)) /* an empty first line: nothing was loaded for it */
        return -1;
    *ret_line = str_of(r->window.ptr + (start - r->window_at), (size_t)(*pos - 1 - start));
    *pos = start;
    return 1;
}

err_kind segment_end(segment_reader *r, uint64_t *ret_pos, err *e)
{
    return after_newline_before(r, r->size, ret_pos, e) < 0 ? (e ? e->kind : ERR_CORRUPT) : OK;
}
