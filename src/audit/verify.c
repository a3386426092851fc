/* audit/verify.c - recompute the whole chain and say what is wrong with it first.
 *
 * Trusts nothing but the bytes: names against headers, headers against the chain, numbers against the count,
 * hashes against what they should be. What a chain alone cannot tell is that its end was cut off at a record's
 * border: that is found against a head hash written down elsewhere. */
#include "audit/audit.h"

#include <stdarg.h>
#include <stdio.h>

#include "audit/segment.h"

typedef struct check {
    audit_report *report;
    const char *segment;     /* its name */
    hash_chain chain;        /* of the last record that verified */
    uint64_t next_seq;
    const char *head_hex;    /* "" = not asked for */
    bool head_seen;
} check;

/* The first problem ends the walk. Returns false. */
PRINTF_LIKE(2, 3) static bool problem(check *c, const char *fmt, ...)
{
    char text[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    c->report->ok = false;
    snprintf(c->report->problem, sizeof c->report->problem, "%s%s%s", c->segment ? c->segment : "", c->segment ? ": " : "", text);
    return false;
}

static bool check_header(check *c, str line, uint64_t name_seq)
{
    uint64_t seq;
    hash_chain prev;

    if (!segment_parse_header(line, &seq, &prev))
        return problem(c, "the header was changed or is of a later format");
    if (seq != name_seq)
        return problem(c, "the file was renamed: its header says it starts with record %" PRIu64, seq);
    if (seq > c->next_seq)
        return problem(c, "records %" PRIu64 " to %" PRIu64 " are missing: a segment before this one is gone or was cut", c->next_seq, seq - 1);
    if (seq < c->next_seq)
        return problem(c, "it starts with record %" PRIu64 ", which the segment before also holds", seq);
    if (memcmp(&prev, &c->chain, sizeof prev) != 0)
        return problem(c, "it does not go on from record %" PRIu64 ": one of the two segments was replaced", seq - 1);
    return true;
}

static bool check_record(check *c, str line)
{
    segment_line l;
    hash_chain hash;

    if (!segment_split(line, &l))
        return problem(c, "record %" PRIu64 " was changed: the line is not a record", c->next_seq);
    if (l.seq == c->next_seq && segment_sealed(&l, &c->chain, &hash)) {
        c->chain = hash;
        c->next_seq++;
        c->report->records++;
        c->report->last_seq = l.seq;
        hash_hex(c->report->head_hex, &hash);
        c->head_seen |= c->head_hex[0] && strcmp(c->head_hex, c->report->head_hex) == 0;
        return true;
    }
    if (l.seq == c->next_seq)
        return problem(c, "record %" PRIu64 " was changed: its hash does not follow from its text and the record before", l.seq);
    return problem(c, "record %" PRIu64 " was expected and %" PRIu64 " found: records were removed, added or put in another order",
                   c->next_seq, l.seq);
}

/* False: the walk ends here (the report says why). *ret_kind is not OK if the file could not be read at all. */
static bool check_segment(check *c, const char *dir, str name, bool last, err_kind *ret_kind, err *e)
{
    segment_reader r;
    uint64_t pos = 0, name_seq = 0;
    str line;
    int got = 0;
    bool ok = true;

    c->segment = name.ptr;
    segment_name_parse(name, &name_seq);
    if ((*ret_kind = segment_reader_open(&r, dir, name, e)))
        return false;
    for (bool header = true; ok && (got = segment_next(&r, &pos, &line, e)) > 0; header = false)
        ok = header ? check_header(c, line, name_seq) : check_record(c, line);
    if (ok && got < 0) {
        *ret_kind = e->kind == ERR_CORRUPT ? OK : e->kind;
        ok = problem(c, "record %" PRIu64 " was changed: its line does not end", c->next_seq);
    } else if (ok && (pos < r.size || pos == 0)) {
        c->report->torn_tail = last;
        ok = problem(c, last ? "the last %" PRIu64 " bytes are not a whole record: a write was cut by a crash"
                             : "the last %" PRIu64 " bytes are not a whole record, although a segment follows", r.size - pos);
    }
    segment_reader_done(&r);
    return ok;
}

static bool head_hex_valid(const char *hex)
{
    hash_chain ignored;
    return hex[0] == '\0' || (strlen(hex) == 64 && hash_parse_hex(str_from(hex), &ignored));
}

err_kind audit_verify(const char *dir, const char *head_hex, audit_report *ret, err *e)
{
    err scratch;
    AUTO(arena_done) arena a = ARENA_INIT(64u << 20);
    str *names;
    size_t n;
    char head[65] = "";
    err_kind k = OK;

    if (!e)
        e = &scratch;
    if (head_hex && !head_hex_valid(head_hex)) {
        err_set(e, ERR_INVALID, "cannot verify against head \"%.80s\": it is not a hash of 64 hexadecimal digits", head_hex);
        return err_hint(e, "Give the head that an earlier `galen audit verify` printed.");
    }
    for (size_t i = 0; head_hex && head_hex[i]; i++) /* ours are written in lower case */
        head[i] = head_hex[i] >= 'A' && head_hex[i] <= 'F' ? (char)(head_hex[i] + 32) : head_hex[i];
    if ((k = segment_list(dir, &a, &names, &n, e)))
        return k;

    audit_report report = { .ok = true };
    check c = { .report = &report, .next_seq = 1, .head_hex = head };
    for (size_t i = 0; i < n && check_segment(&c, dir, names[i], i + 1 == n, &k, e); i++)
        ;
    if (k)
        return err_context(e, "could not verify the audit record");
    report.first_seq = report.records ? 1 : 0;
    c.segment = NULL;
    if (report.ok && head[0] && !c.head_seen)
        problem(&c, "no record has the head hash that was given: the end was cut off, or this is another record");
    *ret = report;
    return OK;
}
