#include "audit/audit.h"
#include "audit/segment.h"
#include "base/file.h"
#include "base/test.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define T0 INT64_C(1763712930123)

/* ---- helpers ---- */

static err_kind put(audit *a, const char *kind, const char *subject, const char *message, err *e)
{
    audit_record r = { .kind = str_from(kind), .actor = STR("galen"), .subject = str_from(subject), .message = str_from(message) };
    return audit_append(a, &r, false, NULL, e);
}

/* Records 1..n, some segments of them. */
static const char *make_log(int n, int64_t segment_max_bytes)
{
    const char *dir = test_dir();
    audit *a = NULL;
    err e = { 0 };
    audit_options o = { segment_max_bytes };
    char text[40];

    clock_fake(T0);
    CHECK_OK(audit_open(dir, &o, &a, &e), e);
    for (int i = 1; i <= n; i++, clock_advance(1000)) {
        snprintf(text, sizeof text, "event %d", i);
        CHECK_OK(put(a, i % 2 ? "alert.firing" : "heal.done", i % 3 ? "rule:A" : "rule:B", text, &e), e);
    }
    audit_close(a);
    return dir;
}

static audit_report verified(const char *dir, const char *head)
{
    audit_report r;
    err e = { 0 };
    CHECK_OK(audit_verify(dir, head, &r, &e), e);
    return r;
}

static size_t segments(const char *dir, str names[64])
{
    static arena a = ARENA_INIT(1u << 20);
    str *found;
    size_t n;
    CHECK_EQ(segment_list(dir, &a, &found, &n, NULL), OK);
    CHECK(n <= 64);
    for (size_t i = 0; i < n; i++)
        names[i] = found[i];
    return n;
}

static void slurp(const char *dir, str name, buf *out)
{
    char path[FILE_PATH_MAX];
    err e = { 0 };
    snprintf(path, sizeof path, "%s/%" STR_FMT, dir, STR_ARG(name));
    CHECK_OK(file_read(path, out, &e), e);
}

static void spill(const char *dir, str name, str content)
{
    char path[FILE_PATH_MAX];
    snprintf(path, sizeof path, "%s/%" STR_FMT, dir, STR_ARG(name));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, content.ptr ? content.ptr : "", content.len) == (ssize_t)content.len);
    close(fd);
}

typedef struct seen { uint64_t seq[100]; char kind[100][40]; size_t n, stop_after; } seen;
static bool see(void *ctx, const audit_record *r)
{
    seen *s = ctx;
    CHECK(s->n < 100);
    str_copy(s->kind[s->n], sizeof s->kind[0], r->kind);
    s->seq[s->n++] = r->seq;
    return s->n != s->stop_after;
}

static seen listed(const char *dir, audit_filter f)
{
    seen s = { .n = 0 };
    err e = { 0 };
    CHECK_OK(audit_list(dir, &f, see, &s, &e), e);
    return s;
}

/* ---- appending, reopening ---- */

TEST(audit_records_survive_reopening_and_the_chain_goes_on)
{
    const char *dir = make_log(5, 0);
    audit *a = NULL;
    err e = { 0 };
    uint64_t seq = 0;
    char head[65];

    CHECK_OK(audit_open(dir, NULL, &a, &e), e);
    CHECK_EQ(audit_head(a, head), 5);
    audit_record r = { .kind = STR("heal.action.intended"), .data = STR("{\"argv\":[\"systemctl\"]}") };
    CHECK_OK(audit_append(a, &r, true, &seq, &e), e);
    CHECK_EQ(seq, 6);
    CHECK_EQ(audit_head(a, head), 6);
    audit_close(a);

    audit_report report = verified(dir, head);
    CHECK_MSG(report.ok, "%s", report.problem);
    CHECK_EQ(report.records, 6);
    CHECK_EQ(report.first_seq, 1);
    CHECK_EQ(report.last_seq, 6);
    CHECK_STR(str_from(report.head_hex), head);
}

TEST(audit_an_empty_folder_verifies_and_lists_nothing)
{
    const char *dir = test_dir();
    audit_report r = verified(dir, "");
    CHECK(r.ok);
    CHECK_EQ(r.records, 0);
    CHECK_EQ(listed(dir, (audit_filter){ 0 }).n, 0);
    r = verified("/nowhere/at/all", NULL);
    CHECK(r.ok && r.records == 0);
}

TEST(audit_refuses_what_does_not_belong_in_the_chain)
{
    static const struct { const char *what, *kind, *data; err_kind want; } rows[] = {
        { "an event without a kind is refused", "", "", ERR_INVALID },
        { "the kind kept for signed checkpoints is refused", "audit.checkpoint", "", ERR_INVALID },
        { "data that is not JSON is refused", "a.b", "{\"x\":", ERR_PARSE },
        { "data that is no object is refused", "a.b", "[1]", ERR_INVALID },
        { "plain events are taken", "a.b", "{}", OK },
    };
    const char *dir = test_dir();
    AUTO(audit_closep) audit *a = NULL;
    err e = { 0 };
    uint64_t seq = 0;
    CHECK_OK(audit_open(dir, NULL, &a, &e), e);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        audit_record r = { .kind = str_from(rows[i].kind), .data = str_from(rows[i].data) };
        CHECK_MSG(audit_append(a, &r, false, &seq, &e) == rows[i].want, "%s: %s", rows[i].what, e.message);
    }
    CHECK_EQ(seq, 1);

    AUTO(buf_done) buf big = BUF_INIT(1u << 20);
    buf_append(&big, STR("{\"x\":\""));
    memset(buf_reserve(&big, AUDIT_MAX_DATA), 'x', AUDIT_MAX_DATA);
    buf_commit(&big, AUDIT_MAX_DATA);
    buf_append(&big, STR("\"}"));
    audit_record r = { .kind = STR("a.b"), .data = buf_str(&big) };
    CHECK_EQ(audit_append(a, &r, false, NULL, &e), ERR_LIMIT);
    r.data = STR_EMPTY;
    r.message = buf_str(&big);
    CHECK_EQ(audit_append(a, &r, false, NULL, &e), OK);
    CHECK(verified(dir, "").ok);
}

static void count_one(void *ctx, const audit_record *r)
{
    *(uint64_t *)ctx += r->seq;
}

TEST(audit_tells_its_listener)
{
    AUTO(audit_closep) audit *a = NULL;
    err e = { 0 };
    uint64_t sum = 0;
    CHECK_OK(audit_open(test_dir(), NULL, &a, &e), e);
    audit_on_append(a, count_one, &sum);
    CHECK_OK(put(a, "a.b", "", "", &e), e);
    CHECK_OK(put(a, "a.b", "", "", &e), e);
    CHECK_EQ(sum, 3);
}

TEST(audit_rotates_and_the_segments_hang_together)
{
    const char *dir = make_log(20, 700);
    str names[64];
    size_t n = segments(dir, names);
    CHECK_MSG(n > 4, "only %zu segments", n);
    audit_report r = verified(dir, "");
    CHECK_MSG(r.ok, "%s", r.problem);
    CHECK_EQ(r.records, 20);
}

static void *append_many(void *ctx)
{
    for (int i = 0; i < 100; i++)
        if (put(ctx, "a.b", "thread", "", NULL))
            return ctx;
    return NULL;
}

TEST(audit_threads_may_append_at_once)
{
    const char *dir = test_dir();
    audit *a = NULL;
    err e = { 0 };
    pthread_t t[4];
    CHECK_OK(audit_open(dir, &(audit_options){ 5000 }, &a, &e), e);
    for (size_t i = 0; i < COUNT_OF(t); i++)
        CHECK_EQ(pthread_create(&t[i], NULL, append_many, a), 0);
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        void *failed;
        pthread_join(t[i], &failed);
        CHECK(!failed);
    }
    audit_close(a);
    audit_report r = verified(dir, "");
    CHECK_MSG(r.ok, "%s", r.problem);
    CHECK_EQ(r.records, 400);
}

/* ---- crashes ---- */

/* Whatever length a crash left of the last segment, opening finds every whole record and goes on. */
TEST(audit_recovers_from_a_crash_at_every_byte)
{
    const char *from = make_log(4, 0), *dir = test_dir();
    str names[64];
    CHECK_EQ(segments(from, names), 1);
    AUTO(buf_done) buf all = BUF_INIT(1u << 20);
    slurp(from, names[0], &all);

    for (size_t len = 0; len <= all.len; len++) {
        audit *a = NULL;
        err e = { 0 };
        size_t whole = 0;
        for (size_t i = 0; i < len; i++)
            whole += all.ptr[i] == '\n';
        whole -= whole > 0; /* the header is no record */
        spill(dir, names[0], str_of(all.ptr, len));
        CHECK_OK(audit_open(dir, NULL, &a, &e), e);
        CHECK_OK(put(a, "after.crash", "", "", &e), e);
        audit_close(a);

        seen s = listed(dir, (audit_filter){ 0 });
        bool torn = len > 0 && all.ptr[len - 1] != '\n' && memchr(all.ptr, '\n', len);
        audit_report r = verified(dir, "");
        CHECK_MSG(r.ok, "cut at %zu: %s", len, r.problem);
        CHECK_MSG(s.n == whole + torn + 1, "cut at %zu: %zu records, want %zu", len, s.n, whole + torn + 1);
        CHECK_MSG(!torn || str_is(STR("audit.recovered"), s.kind[whole]), "cut at %zu: not recorded", len);
        CHECK_STR(str_from(s.kind[s.n - 1]), "after.crash");
    }
}

TEST(audit_verify_tells_a_torn_tail_from_an_edit)
{
    const char *dir = make_log(3, 0);
    str names[64];
    AUTO(buf_done) buf all = BUF_INIT(1u << 20);
    CHECK_EQ(segments(dir, names), 1);
    slurp(dir, names[0], &all);
    spill(dir, names[0], str_of(all.ptr, all.len - 10));
    audit_report r = verified(dir, "");
    CHECK(!r.ok && r.torn_tail);
    CHECK_EQ(r.records, 2);
    CHECK_CONTAINS(str_from(r.problem), "cut by a crash");
}

TEST(audit_goes_on_in_a_new_segment_after_damage)
{
    const char *dir = make_log(5, 0);
    str names[64];
    AUTO(buf_done) buf all = BUF_INIT(1u << 20), after = BUF_INIT(1u << 20);
    CHECK_EQ(segments(dir, names), 1);
    slurp(dir, names[0], &all);
    all.ptr[str_find(buf_str(&all), STR("event 2"))] = 'E';
    spill(dir, names[0], buf_str(&all));

    audit *a = NULL;
    err e = { 0 };
    CHECK_OK(audit_open(dir, NULL, &a, &e), e);
    CHECK_OK(put(a, "x.y", "", "", &e), e);
    audit_close(a);
    CHECK_EQ(segments(dir, names), 2);
    CHECK_STR(names[1], "0000000000000006.log");
    slurp(dir, names[0], &after);
    CHECK_MSG(str_eq(buf_str(&all), buf_str(&after)), "the damaged segment was written to");
    seen s = listed(dir, (audit_filter){ .after_seq = 5 });
    CHECK_EQ(s.n, 2);
    CHECK_STR(str_from(s.kind[0]), "audit.damaged");
    audit_report r = verified(dir, "");
    CHECK(!r.ok && !r.torn_tail);
    CHECK_STR(str_from(r.problem), "0000000000000001.log: record 2 was changed: its hash does not follow from its text and the record before");

    CHECK_OK(audit_open(dir, NULL, &a, &e), e); /* the new one is whole: nothing is said twice */
    audit_close(a);
    CHECK_EQ(listed(dir, (audit_filter){ .after_seq = 5 }).n, 2);
}

TEST(audit_opens_however_many_records_are_damaged)
{
    const char *dir = make_log(5, 0);
    str names[64];
    AUTO(buf_done) buf all = BUF_INIT(1u << 20);
    CHECK_EQ(segments(dir, names), 1);
    slurp(dir, names[0], &all);
    for (size_t i = 0; i + 64 < all.len; i++) /* no hash is one any more */
        if (str_starts(str_skip(buf_str(&all), i), STR("\"hash\":\"")))
            all.ptr[i + 10] = 'z';
    spill(dir, names[0], buf_str(&all));

    audit *a = NULL;
    err e = { 0 };
    CHECK_OK(audit_open(dir, NULL, &a, &e), e);
    CHECK_OK(put(a, "x.y", "", "", &e), e);
    audit_close(a);
    CHECK_EQ(segments(dir, names), 2);
    CHECK_STR(names[1], "0000000000000006.log");
}

#ifdef GALEN_FAULTS
/* What a power cut may take is the end of the chain, never a piece out of its middle. */
TEST(audit_syncs_a_segment_before_the_next_one_begins)
{
    const char *dir = make_log(1, 0);
    str names[64];
    audit *a = NULL;
    err e = { 0 };
    CHECK_OK(audit_open(dir, &(audit_options){ 400 }, &a, &e), e);
    fault_write(0, FAULT_EIO); /* the first thing that is done to the disk */
    CHECK_EQ(put(a, "x.y", "", "", &e), ERR_IO);
    CHECK(fault_write_fired());
    CHECK_CONTAINS(str_from(e.message), "could not sync");
    CHECK_OK(put(a, "x.y", "", "", &e), e);
    audit_close(a);
    CHECK_EQ(segments(dir, names), 2);
    CHECK(verified(dir, "").ok);
}
#endif

/* ---- tampering ---- */

TEST(audit_verify_finds_every_flipped_bit)
{
    const char *dir = make_log(6, 500);
    str names[64];
    size_t n = segments(dir, names);
    CHECK(n >= 2);
    for (size_t s = 0; s < n; s++) {
        AUTO(buf_done) buf all = BUF_INIT(1u << 20);
        slurp(dir, names[s], &all);
        for (size_t i = 0; i < all.len; i++) {
            int bit = (int)(i % 8);
            all.ptr[i] ^= (char)(1 << bit);
            spill(dir, names[s], buf_str(&all));
            audit_report r = verified(dir, "");
            CHECK_MSG(!r.ok, "bit %d of byte %zu of %" STR_FMT " was flipped and nobody noticed", bit, i, STR_ARG(names[s]));
            all.ptr[i] ^= (char)(1 << bit);
        }
        spill(dir, names[s], buf_str(&all));
    }
    CHECK(verified(dir, "").ok);
}

/* Take line i (0 = header) out of the text; its start is *ret_at. */
static str line_of(str text, size_t i)
{
    str rest = text, line = STR_EMPTY;
    for (size_t k = 0; k <= i; k++)
        CHECK(str_split(&rest, '\n', &line));
    return str_of(line.ptr, line.len + 1);
}

TEST(audit_verify_finds_removed_swapped_and_doubled_records)
{
    const char *dir = make_log(5, 0);
    str names[64];
    AUTO(buf_done) buf all = BUF_INIT(1u << 20);
    CHECK_EQ(segments(dir, names), 1);
    slurp(dir, names[0], &all);
    static const struct { const char *what; int order[8]; const char *want; } rows[] = {
        { "a removed record is a gap", { 0, 1, 3, 4, 5, -1 }, "record 2 was expected and 3 found" },
        { "swapped records are found", { 0, 1, 3, 2, 4, 5, -1 }, "record 2 was expected and 3 found" },
        { "a doubled record is found", { 0, 1, 2, 2, 3, 4, 5, -1 }, "record 3 was expected and 2 found" },
        { "a removed first record is found", { 0, 2, 3, 4, 5, -1 }, "record 1 was expected and 2 found" },
        { "a removed header is found", { 1, 2, 3, -1 }, "the header was changed" },
        { "a header in the middle is found", { 0, 1, 0, 2, -1 }, "record 2 was changed: the line is not a record" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(buf_done) buf forged = BUF_INIT(1u << 20);
        for (size_t k = 0; rows[i].order[k] >= 0; k++)
            buf_append(&forged, line_of(buf_str(&all), (size_t)rows[i].order[k]));
        spill(dir, names[0], buf_str(&forged));
        audit_report r = verified(dir, "");
        CHECK_MSG(!r.ok && strstr(r.problem, rows[i].want), "%s: %s", rows[i].what, r.problem);
    }
}

TEST(audit_verify_finds_missing_and_renamed_segments)
{
    const char *dir = make_log(20, 700);
    char from[FILE_PATH_MAX], to[FILE_PATH_MAX];
    str names[64];
    size_t n = segments(dir, names);
    CHECK(n > 3);
    snprintf(from, sizeof from, "%s/%s", dir, names[1].ptr);
    snprintf(to, sizeof to, "%s/away", dir);
    CHECK_EQ(rename(from, to), 0);
    audit_report r = verified(dir, "");
    CHECK(!r.ok);
    CHECK_CONTAINS(str_from(r.problem), "are missing");
    CHECK_CONTAINS(str_from(r.problem), names[2].ptr);

    char fake[FILE_PATH_MAX];
    snprintf(fake, sizeof fake, "%s/%016d.log", dir, 2);
    CHECK_EQ(rename(to, fake), 0);
    r = verified(dir, "");
    CHECK_CONTAINS(str_from(r.problem), "was renamed");
    CHECK_EQ(rename(fake, from), 0);
    CHECK(verified(dir, "").ok);

    snprintf(from, sizeof from, "%s/%s", dir, names[0].ptr);
    CHECK_EQ(rename(from, to), 0);
    r = verified(dir, "");
    CHECK_CONTAINS(str_from(r.problem), "records 1 to");
}

TEST(audit_verify_finds_a_cut_end_against_a_known_head)
{
    const char *dir = make_log(5, 0);
    str names[64];
    AUTO(buf_done) buf all = BUF_INIT(1u << 20);
    char head[65];
    CHECK_EQ(segments(dir, names), 1);
    memcpy(head, verified(dir, "").head_hex, sizeof head);
    slurp(dir, names[0], &all);
    str last = line_of(buf_str(&all), 5);
    spill(dir, names[0], str_of(all.ptr, all.len - last.len));
    CHECK_MSG(verified(dir, "").ok, "a clean cut cannot be seen without the head");
    audit_report r = verified(dir, head);
    CHECK(!r.ok);
    CHECK_CONTAINS(str_from(r.problem), "the end was cut off");

    spill(dir, names[0], buf_str(&all));
    CHECK(verified(dir, head).ok);
    err e = { 0 };
    CHECK_EQ(audit_verify(dir, "no hash", &r, &e), ERR_INVALID);
    CHECK_CONTAINS(str_from(e.hint), "galen audit verify");
}

/* ---- listing ---- */

TEST(audit_list_filters)
{
    const char *dir = make_log(20, 700); /* odd: alert.firing, even: heal.done; every third: rule:B */
    static const struct { const char *what; audit_filter f; size_t n; uint64_t first, last; } rows[] = {
        { "everything comes oldest first", { 0 }, 20, 1, 20 },
        { "a limit keeps the oldest", { .limit = 3 }, 3, 1, 3 },
        { "newest keeps the last ones, oldest first", { .limit = 3, .newest = true }, 3, 18, 20 },
        { "newest with more than there is gives all", { .limit = 90, .newest = true }, 20, 1, 20 },
        { "after_seq goes on behind a known record", { .after_seq = 17 }, 3, 18, 20 },
        { "a kind's prefix selects", { .kind_prefix = STR_INIT("heal.") }, 10, 2, 20 },
        { "the newest of one kind", { .kind_prefix = STR_INIT("alert."), .limit = 2, .newest = true }, 2, 17, 19 },
        { "one subject", { .subject = STR_INIT("rule:B") }, 6, 3, 18 },
        { "the newest of one subject", { .subject = STR_INIT("rule:B"), .limit = 2, .newest = true }, 2, 15, 18 },
        { "a span of time, both ends included", { .from_ms = T0 + 2000, .to_ms = T0 + 4000 }, 3, 3, 5 },
        { "no such incident", { .incident = STR_INIT("inc-1") }, 0, 0, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        seen s = listed(dir, rows[i].f);
        CHECK_MSG(s.n == rows[i].n, "%s: %zu records, want %zu", rows[i].what, s.n, rows[i].n);
        CHECK_MSG(s.n == 0 || (s.seq[0] == rows[i].first && s.seq[s.n - 1] == rows[i].last), "%s: %d to %d", rows[i].what,
                  (int)s.seq[0], (int)s.seq[s.n - 1]);
    }
    seen s = { .stop_after = 2 };
    err e = { 0 };
    CHECK_OK(audit_list(dir, NULL, see, &s, &e), e);
    CHECK_EQ(s.n, 2);
}

TEST(audit_list_reads_no_further_back_than_it_must)
{
    const char *dir = test_dir();
    audit *a = NULL;
    str names[64];
    char path[FILE_PATH_MAX];
    err e = { 0 };
    clock_fake(T0);
    CHECK_OK(audit_open(dir, &(audit_options){ 400 }, &a, &e), e);
    for (int i = 0; i < 9; i++, clock_advance(24 * 3600 * MS_PER_S))
        CHECK_OK(put(a, "a.b", "rule:A", "once a day", &e), e);
    audit_close(a);
    CHECK(segments(dir, names) >= 4);
    snprintf(path, sizeof path, "%s/%" STR_FMT, dir, STR_ARG(names[0])); /* whoever reads it fails */
    CHECK_OK(file_remove(path, &e), e);
    CHECK_OK(file_make_dirs(path, 0700, &e), e);
    audit_filter f = { .from_ms = T0 + 7 * 24 * 3600 * MS_PER_S, .newest = true };
    seen s = listed(dir, f);
    CHECK_EQ(s.n, 2);
    CHECK_EQ(s.seq[0], 8);
    f.from_ms = 0;
    CHECK(audit_list(dir, &f, see, &(seen){ 0 }, &e) != OK);
}

TEST(audit_record_json_is_what_the_page_reads)
{
    AUTO(buf_done) buf b = BUF_INIT(4096);
    json_writer w = json_writer_to(&b);
    audit_record r = { .seq = 3, .t_ms = 0, .kind = STR("a.b"), .message = STR("m"), .data = STR("{\"x\":1}") };
    audit_record_json(&w, &r);
    CHECK_STR(buf_str(&b), "{\"seq\":3,\"time\":\"1970-01-01T00:00:00.000Z\",\"t_ms\":0,\"kind\":\"a.b\",\"actor\":\"\",\"subject\":\"\","
                           "\"incident\":\"\",\"message\":\"m\",\"data\":{\"x\":1}}");
}

/* ---- faults ---- */

/* One write-like call fails, each in turn: what was acknowledged verifies, what was not is not there. */
TEST(audit_survives_any_failed_write)
{
    const char *dir = test_dir();
    for (int how = FAULT_EIO; how <= FAULT_SHORT_WRITE; how++) {
        bool fired = true;
        for (unsigned nth = 0; fired; nth++) {
            audit *a = NULL;
            err e = { 0 };
            size_t kept = 0, want = 0;
            char made[FILE_PATH_MAX];

            snprintf(made, sizeof made, "%s/%d-%u", dir, how, nth);
            fault_write(nth, (fault_write_kind)how);
            if (audit_open(made, &(audit_options){ 400 }, &a, &e) == OK)
                for (int i = 0; i < 6; i++)
                    kept += audit_append(a, &(audit_record){ .kind = STR("a.b"), .message = STR("m") }, i % 2, NULL, &e) == OK;
            fired = fault_write_fired();
            if (a && fired)
                CHECK_MSG(kept == 5 || kept == 6, "fault %u lost more than one record: %zu kept", nth, kept);
            if (a) {
                CHECK_OK(put(a, "after", "", "", &e), e);
                want = kept + 1;
                CHECK_EQ(listed(made, (audit_filter){ 0 }).n, want);
                audit_report r = verified(made, "");
                CHECK_MSG(r.ok, "after fault %u: %s", nth, r.problem);
            }
            audit_close(a);
            CHECK_OK(audit_open(made, NULL, &a, &e), e); /* and the next start finds it whole */
            CHECK_EQ(listed(made, (audit_filter){ 0 }).n, want);
            audit_close(a);
        }
    }
}

TEST(audit_survives_any_failed_allocation)
{
    const char *dir = make_log(6, 500);
    bool fired = true;
    for (unsigned nth = 0; fired; nth++) {
        audit *a = NULL;
        err e = { 0 };
        seen s = { .n = 0 };
        audit_report r;

        fault_alloc(nth);
        err_kind k = audit_open(dir, NULL, &a, &e);
        if (!k)
            k = put(a, "a.b", "", "x", &e);
        if (!k)
            k = audit_verify(dir, "", &r, &e);
        if (!k)
            k = audit_list(dir, &(audit_filter){ .newest = true, .limit = 5 }, see, &s, &e);
        fired = fault_fired();
        CHECK_MSG(k == (fired ? ERR_NOMEM : OK), "allocation %u: %s", nth, e.message);
        audit_close(a);
        CHECK(verified(dir, "").ok);
    }
}
