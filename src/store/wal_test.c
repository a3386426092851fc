#include "store/wal.h"
#include "base/test.h"
#include <math.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* One record with one sample whose time tells it apart. */
static void put_record(buf *b, int64_t t_ms)
{
    size_t record = wal_begin(b, WAL_ROWS), section = wal_section_begin(b, WAL_FLOATS);
    uint8_t *at = (uint8_t *)buf_reserve(b, WAL_ROW_MAX_BYTES);
    CHECK(at);
    buf_commit(b, (size_t)(wal_put_row(at, &(wal_before){ .t_ms = (uint64_t)-1 }, 7, t_ms, 1.5) - at));
    wal_section_end(b, section);
    wal_end(b, record);
    CHECK(!buf_failed(b));
}

static err_kind write_one(wal *w, int64_t t_ms)
{
    AUTO(buf_done) buf b = BUF_INIT(1000);
    put_record(&b, t_ms);
    return wal_write(w, buf_str(&b), NULL);
}

/* How many whole records a file has, with times 0, 1, 2 … from `first` on. */
static int count_records(const char *dir, uint32_t segment, int64_t first, uint64_t *ret_cut)
{
    char path[FILE_PATH_MAX];
    wal_reader r;
    wal_record record;
    int n = 0;
    CHECK_EQ(wal_segment_path(path, dir, segment, NULL), OK);
    err_kind k = wal_reader_open(&r, path, NULL);
    for (; !k && !(k = wal_reader_next(&r, &record, NULL)); n++) {
        wire_cursor c = wire_read(record.payload), section;
        wal_row s;
        uint8_t kind;
        bool bad;
        CHECK(wal_next_section(&c, &kind, &section, &bad));
        CHECK_EQ(kind, WAL_FLOATS);
        CHECK(wal_next_row(&section, &(wal_before){ .t_ms = (uint64_t)-1 }, &s, &bad));
        CHECK_EQ(s.t_ms, first + n);
        CHECK_EQ(s.id, 7);
        CHECK(!wal_next_row(&section, &(wal_before){ 0 }, &s, &bad) && !bad);
        CHECK(!wal_next_section(&c, &kind, &section, &bad) && !bad);
    }
    CHECK_EQ(k, ERR_NOT_FOUND);
    if (ret_cut)
        *ret_cut = r.cut_bytes;
    wal_reader_done(&r);
    return n;
}

TEST(wal_reads_back_what_was_written)
{
    const char *dir = test_dir();
    wal w;
    wal_init(&w, dir, 0);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(write_one(&w, i), OK);
    wal_done(&w);
    uint64_t cut;
    CHECK_EQ(count_records(dir, 1, 0, &cut), 20);
    CHECK_EQ(cut, 0);
}

TEST(wal_keeps_definitions)
{
    AUTO(buf_done) buf b = BUF_INIT(10000);
    label at[] = { { STR("__name__"), STR("up") }, { STR("job"), STR("vllm") } };
    size_t record = wal_begin(&b, WAL_SERIES), n, used;
    wal_put_series(&b, 300, (labels){ at, 2 });
    wal_put_series(&b, 301, (labels){ at, 1 });
    wal_end(&b, record);
    wal_record got;
    CHECK_EQ(wal_parse(buf_str(&b), &got, &used), WAL_WHOLE);
    wire_cursor c = wire_read(got.payload);
    label back[LABELS_MAX];
    uint64_t id;
    bool bad;
    CHECK(wal_next_series(&c, &id, back, &n, &bad));
    CHECK_EQ(id, 300);
    CHECK(labels_eq((labels){ back, n }, (labels){ at, 2 }));
    CHECK(wal_next_series(&c, &id, back, &n, &bad));
    CHECK_EQ(id, 301);
    CHECK_EQ(n, 1);
    CHECK(!wal_next_series(&c, &id, back, &n, &bad) && !bad);
}

TEST(wal_keeps_rows_of_every_kind)
{
    static const uint64_t noise = UINT64_C(0x400921fb54442d18);
    double pi;
    memcpy(&pi, &noise, sizeof pi);
    const wal_row rows[] = {
        { 1, 0, 0 }, { 2, 0, 0 }, { 3, 1790000000000, 1 }, { 4, 1790000000000, -1 }, { 4, 1790000000001, pi }, { 3, 1790000000001, pi },
        { WAL_ID_MAX - 1, INT64_MAX, 0.5 }, { 1, INT64_MIN, -0.0 }, { 2, -1, stale_nan() }, { 3, -1, INFINITY }, { 4, -1, -INFINITY },
        { 5, -1, 562949953421311.0 }, { 6, -1, 562949953421312.0 }, { 7, -1, -562949953421311.0 }, { 8, -1, 1e300 }, { 9, -1, 5e-324 },
    };
    uint8_t bytes[COUNT_OF(rows) * WAL_ROW_MAX_BYTES], *p = bytes;
    wal_before before = { 0 };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint8_t *start = p;
        p = wal_put_row(p, &before, rows[i].id, rows[i].t_ms, rows[i].v);
        CHECK(p - start <= (ptrdiff_t)WAL_ROW_MAX_BYTES);
    }
    for (size_t len = 0; len <= (size_t)(p - bytes); len++) {
        uint8_t *cut = mem_dup(bytes, len);
        wire_cursor c = wire_read(str_of((char *)cut, len));
        wal_row got;
        bool bad;
        size_t n = 0;
        before = (wal_before){ 0 };
        for (; wal_next_row(&c, &before, &got, &bad); n++)
            CHECK_MSG(got.id == rows[n].id && got.t_ms == rows[n].t_ms && !memcmp(&got.v, &rows[n].v, sizeof got.v), "row %zu", n);
        CHECK(len < (size_t)(p - bytes) || (n == COUNT_OF(rows) && !bad));
        mem_free(cut);
    }
}

TEST(wal_cuts_a_torn_tail_and_stops_at_damage)
{
    const char *dir = test_dir();
    wal w;
    wal_init(&w, dir, 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(write_one(&w, i), OK);
    wal_done(&w);
    char path[FILE_PATH_MAX];
    AUTO(buf_done) buf whole = BUF_INIT(10000);
    CHECK_EQ(wal_segment_path(path, dir, 1, NULL), OK);
    CHECK_EQ(file_read(path, &whole, NULL), OK);
    for (size_t len = 0; len < whole.len; len++) {
        CHECK_EQ(file_write_atomic(path, str_of(whole.ptr, len), 0600, NULL), OK);
        int want = len < WAL_HEADER_BYTES ? 0 : (int)((len - WAL_HEADER_BYTES) / ((whole.len - WAL_HEADER_BYTES) / 3));
        CHECK_EQ(count_records(dir, 1, 0, NULL), want);
    }
    for (size_t at = WAL_HEADER_BYTES; at < whole.len; at++) {
        whole.ptr[at] ^= 0x10;
        CHECK_EQ(file_write_atomic(path, buf_str(&whole), 0600, NULL), OK);
        whole.ptr[at] ^= 0x10;
        uint64_t cut;
        int intact = (int)((at - WAL_HEADER_BYTES) / ((whole.len - WAL_HEADER_BYTES) / 3));
        CHECK_EQ(count_records(dir, 1, 0, &cut), intact);
        CHECK(cut > 0);
    }
}

TEST(wal_tells_of_a_newer_version)
{
    const char *dir = test_dir();
    char path[FILE_PATH_MAX];
    uint8_t header[WAL_HEADER_BYTES];
    wal_put_header(header, 1);
    header[8] = 9;
    CHECK_EQ(wal_segment_path(path, dir, 1, NULL), OK);
    CHECK_EQ(file_write_atomic(path, str_of((char *)header, sizeof header), 0600, NULL), OK);
    wal_reader r;
    err e = { 0 };
    CHECK_EQ(wal_reader_open(&r, path, &e), ERR_UNSUPPORTED);
    CHECK_CONTAINS(str_from(e.message), "version 9");
    wal_reader_done(&r);
}

TEST(wal_reader_does_not_wait_for_a_pipe)
{
    char path[FILE_PATH_MAX];
    CHECK_EQ(wal_segment_path(path, test_dir(), 1, NULL), OK);
    CHECK_EQ(mkfifo(path, 0600), 0);
    wal_reader r;
    err e = { 0 };
    CHECK_EQ(wal_reader_open(&r, path, &e), ERR_INVALID);
    CHECK_CONTAINS(str_from(e.message), "no regular file");
    wal_reader_done(&r);
}

/* Every write-like call fails once, in each way: the failed batch is gone, all others are there. */
TEST(wal_write_is_all_or_nothing_under_any_fault)
{
    static const fault_write_kind kinds[] = { FAULT_EIO, FAULT_ENOSPC, FAULT_SHORT_WRITE };
    char dir[FILE_PATH_MAX];
    const char *base = test_dir();
    for (size_t kind = 0; kind < COUNT_OF(kinds); kind++)
        for (unsigned nth = 0;; nth++) {
            snprintf(dir, sizeof dir, "%s/%zu-%u", base, kind, nth);
            CHECK_EQ(file_make_dirs(dir, 0700, NULL), OK);
            wal w;
            wal_init(&w, dir, 0);
            int written = 0;
            fault_write(nth, kinds[kind]);
            for (int i = 0; i < 4; i++)
                written += write_one(&w, written) == OK;
            bool fired = fault_write_fired();
            wal_done(&w);
            CHECK_EQ(written, fired ? 3 : 4);
            uint64_t cut;
            CHECK_EQ(count_records(dir, 1, 0, &cut), written);
            CHECK_EQ(cut, 0);
            if (!fired)
                break;
        }
}

TEST(wal_leaves_a_segment_that_cannot_be_cut_back)
{
    const char *dir = test_dir();
    wal w;
    wal_init(&w, dir, 0);
    CHECK_EQ(write_one(&w, 0), OK);
    int good = w.fd;
    w.fd = open("/dev/null", O_RDONLY | O_CLOEXEC); /* neither write(2) nor ftruncate(2) works on it */
    CHECK(write_one(&w, 1) != OK);
    close(good);
    CHECK_EQ(write_one(&w, 1), OK);
    CHECK_EQ(w.segment, 2);
    wal_done(&w);
    CHECK_EQ(count_records(dir, 1, 0, NULL), 1);
    CHECK_EQ(count_records(dir, 2, 1, NULL), 1);
}

TEST(wal_starts_a_new_segment_when_one_is_full)
{
    if (WAL_SEGMENT_MAX_BYTES > (1u << 20))
        return; /* only where segments are small it takes no time */
    const char *dir = test_dir();
    wal w;
    wal_init(&w, dir, 0);
    for (int i = 0; i < 500; i++)
        CHECK_EQ(write_one(&w, i), OK);
    CHECK(w.segment > 2);
    int total = 0;
    for (uint32_t i = 1; i <= w.segment; i++)
        total += count_records(dir, i, total, NULL);
    CHECK_EQ(total, 500);
    wal_sync sync;
    CHECK_EQ(wal_sync_take(&w, &sync, NULL), OK);
    CHECK(sync.count > 1);
    CHECK_EQ(wal_sync_done(&sync, NULL), OK);
    wal_done(&w);
}

TEST(wal_names_are_told_apart)
{
    static const struct { const char *name; bool ok, checkpoint; uint32_t segment; } rows[] = {
        { "00000001", true, false, 1 }, { "checkpoint.00000012", true, true, 12 }, { "123456789", true, false, 123456789 },
        { "00000000", false, false, 0 }, { "1", false, false, 0 }, { "00000001.tmp", false, false, 0 },
        { "checkpoint.00000001.tmp", false, true, 0 }, { "LOCK", false, false, 0 }, { "99999999999", false, false, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bool checkpoint;
        uint32_t segment;
        bool ok = wal_parse_name(str_from(rows[i].name), &checkpoint, &segment);
        CHECK_MSG(ok == rows[i].ok, "%s", rows[i].name);
        CHECK_MSG(!ok || (checkpoint == rows[i].checkpoint && segment == rows[i].segment), "%s", rows[i].name);
    }
}
