#include "store/fixture.h"
#include "store/handover.h"
#include "base/test.h"
#include <fcntl.h>
#include <unistd.h>

TEST(store_survives_a_crash_after_any_append)
{
    const char *dir = test_dir();
    store *s = open_at(dir);
    for (int i = 0; i < 12; i++) {
        CHECK_EQ(put(s, "up", i % 2, NOW + i, i), OK);
        char want[8192];
        str_copy(want, sizeof want, str_from(all(s, "up")));
        CHECK_STR(str_from(after_crash(dir, "up")), want);
    }
    close_store(s);
    s = open_at(dir);
    CHECK_EQ(put(s, "up", 0, NOW + 99, 99), OK); /* an id from before the restart means the same series */
    CHECK_CONTAINS(str_from(after_crash(dir, "up")), "1790000000010=10,1790000000099=99 w1:");
    close_store(s);
}

/* Each write-like call of an append fails once: what was acknowledged is there, what was not is not. */
TEST(store_append_is_atomic_under_any_write_fault)
{
    static const fault_write_kind kinds[] = { FAULT_EIO, FAULT_ENOSPC, FAULT_SHORT_WRITE };
    for (size_t kind = 0; kind < COUNT_OF(kinds); kind++)
        for (unsigned nth = 0;; nth++) {
            const char *dir = test_dir();
            store *s = open_at(dir);
            fault_write(nth, kinds[kind]);
            int written = 0;
            for (int i = 0; i < 4; i++) {
                rows r = { 0 };
                add_row(&r, "up", i, NOW + written, 1);
                add_row(&r, "up", 9, NOW + written, 2);
                written += store_append(s, r.at, r.n, NULL, NULL) == OK;
            }
            bool fired = fault_write_fired();
            CHECK_EQ(written, fired ? 3 : 4);
            CHECK_EQ(store_stats_get(s).head_samples, 2 * written);
            CHECK_EQ(store_stats_get(s).wal_errors_total, fired);
            char want[8192];
            str_copy(want, sizeof want, str_from(all(s, "up")));
            CHECK_STR(str_from(after_crash(dir, "up")), want);
            close_store(s);
            if (!fired)
                break;
        }
}

/* The log is not cut although the block is there: the crash between steps 2 and 4 of care.c. */
TEST(store_replays_a_log_whose_samples_are_already_in_a_block)
{
    const char *dir = test_dir(), *before = test_dir();
    char from[FILE_PATH_MAX], to[FILE_PATH_MAX];
    store *s = store_with_six_hours(dir);
    copy_folder(dir, before);
    CHECK_EQ(store_flush(s, NULL), OK);
    char want[8192];
    str_copy(want, sizeof want, str_from(all(s, "up")));
    close_store(s);
    CHECK_EQ(file_join(from, dir, "blocks", NULL), OK);
    CHECK_EQ(file_join(to, before, "blocks", NULL), OK);
    copy_folder(from, to);
    s = open_at(before);
    CHECK_STR(str_from(all(s, "up")), want);
    CHECK(store_stats_get(s).head_samples < 60); /* what the block covers was not replayed */
    close_store(s);
}

/* All that came in order goes into a block while a late sample comes in: the checkpoint then knows the series by that alone. */
TEST(store_shows_what_comes_late_after_a_checkpoint_of_late_samples_alone)
{
    const char *dir = test_dir();
    const store_options o = { .dir = dir, .out_of_order_ms = HOUR, .wal_fsync_ms = INT32_MAX };
    clock_fake(NOW);
    store *s = open_with(o);
    labels l;
    const block_chunk *chunks;
    size_t n;
    {
        AUTO(handover_done) handover h;
        CHECK_EQ(put(s, "up", 1, NOW, 1), OK);
        CHECK_EQ(handover_begin(&h, s, INT64_MAX), OK);
        CHECK_EQ(handover_next(&h, &l, &chunks, &n), OK);
        CHECK_EQ(put(s, "up", 1, NOW - 2000, 2), OK);
        handover_trim(&h);
    }
    CHECK_EQ(checkpoint_write(s, s->wal.segment, NULL), OK);
    close_store(s);
    s = open_with(o);
    CHECK_EQ(put(s, "up", 1, NOW - 1000, 3), OK);
    CHECK_STR(str_from(all(s, "up")), "w1:1789999998000=2,1789999999000=3");
    CHECK_STR(str_from(after_crash(dir, "up")), "w1:1789999998000=2,1789999999000=3");
    close_store(s);
}

static void damage(const char *dir, const char *sub, const char *name, size_t from_end)
{
    char path[FILE_PATH_MAX];
    AUTO(buf_done) buf b = BUF_INIT(64u << 20);
    snprintf(path, sizeof path, "%s/%s/%s", dir, sub, name);
    CHECK_EQ(file_read(path, &b, NULL), OK);
    b.ptr[b.len - from_end] ^= 1;
    CHECK_EQ(file_write_atomic(path, buf_str(&b), 0600, NULL), OK);
}

TEST(store_tells_of_a_damaged_log_and_replays_the_segments_behind)
{
    const char *dir = test_dir();
    for (int run = 0; run < 3; run++) { /* a segment a run; the series are defined in the first */
        store *s = open_at(dir);
        for (int i = 0; i < 3; i++)
            CHECK_EQ(put(s, "up", 1, NOW + 10 * run + i, i), OK);
        close_store(s);
    }
    damage(dir, "wal", "00000002", 1);
    clock_fake(NOW);
    store_recovery told;
    store *s;
    store_options o = { .dir = dir };
    CHECK_EQ(store_open(&o, &s, &told, NULL), OK);
    CHECK_EQ(told.segments, 3);
    CHECK_EQ(told.samples, 8);
    CHECK(told.cut_bytes > 0);
    CHECK_CONTAINS(str_from(told.note), "damaged");
    CHECK_CONTAINS(str_from(all(s, "up")), "1790000000011=1,1790000000020=0");
    close_store(s);
}

TEST(store_tells_of_a_checkpoint_that_lost_its_bytes)
{
    const char *dir = test_dir();
    char path[FILE_PATH_MAX];
    store *s = store_with_six_hours(dir);
    CHECK_EQ(store_flush(s, NULL), OK);
    close_store(s);
    snprintf(path, sizeof path, "%s/wal/checkpoint.00000001", dir);
    CHECK_EQ(truncate(path, 0), 0);
    store_recovery told;
    clock_fake(NOW);
    CHECK_EQ(store_open(&(store_options){ .dir = dir }, &s, &told, NULL), OK);
    CHECK_CONTAINS(str_from(told.note), "damaged");
    close_store(s);
}

TEST(store_leaves_a_damaged_block_aside_and_answers_from_the_rest)
{
    const char *dir = test_dir();
    store *s = store_with_six_hours(dir);
    CHECK_EQ(store_flush(s, NULL), OK);
    close_store(s);
    damage(dir, "blocks", "00000001.block", 100);
    clock_fake(NOW);
    store_recovery told;
    store_options o = { .dir = dir };
    CHECK_EQ(store_open(&o, &s, &told, NULL), OK);
    CHECK_CONTAINS(str_from(told.note), "00000001.block");
    CHECK_CONTAINS(str_from(all(s, "up")), "=59");
    CHECK_EQ(store_stats_get(s).blocks, 0);
    close_store(s);
}

TEST(store_says_which_chunk_of_a_block_is_damaged)
{
    const char *dir = test_dir();
    store *s = store_with_six_hours(dir);
    CHECK_EQ(store_flush(s, NULL), OK);
    close_store(s);
    char path[FILE_PATH_MAX];
    snprintf(path, sizeof path, "%s/blocks/00000001.block", dir);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(pwrite(fd, "\xff", 1, BLOCK_HEADER_BYTES + 3) == 1); /* in a chunk: the index does not notice */
    close(fd);
    s = open_at(dir);
    store_selection *sel;
    CHECK_EQ(store_select(s, NULL, 0, 0, INT64_MAX, NULL, &sel, NULL), OK);
    int bad = 0;
    err e = { 0 };
    for (size_t i = 0; i < store_select_len(sel); i++) {
        sample_vec v = { 0 };
        bad += store_select_samples(sel, i, &v, &e) == ERR_CORRUPT;
        vec_done(&v);
    }
    CHECK_EQ(bad, 1);
    CHECK_CONTAINS(str_from(e.message), "00000001.block");
    CHECK_CONTAINS(str_from(e.hint), "move it away");
    store_select_free(sel);
    close_store(s);
}

TEST(store_is_locked_for_a_second_writer_but_not_for_readers)
{
    const char *dir = test_dir();
    store *s = open_at(dir), *second = NULL;
    CHECK_EQ(put(s, "up", 1, NOW, 1), OK);
    err e = { 0 };
    CHECK_EQ(store_open(&(store_options){ .dir = dir }, &second, NULL, &e), ERR_CONFLICT);
    CHECK(!second && e.hint[0]);
    store *reader = open_with((store_options){ .dir = dir, .read_only = true });
    CHECK_STR(str_from(all(reader, "up")), "w1:1790000000000=1");
    CHECK_EQ(put(reader, "up", 1, NOW + 1, 1), ERR_DENIED);
    CHECK_EQ(store_flush(reader, NULL), ERR_DENIED);
    CHECK_EQ(put(s, "up", 1, NOW + 1, 1), OK);
    CHECK_STR(str_from(all(reader, "up")), "w1:1790000000000=1");
    close_store(reader);
    close_store(s);
    char nowhere[FILE_PATH_MAX];
    snprintf(nowhere, sizeof nowhere, "%s/nowhere", dir);
    CHECK_EQ(store_open(&(store_options){ .dir = nowhere, .read_only = true }, &second, NULL, &e), ERR_NOT_FOUND);
    CHECK(!file_exists(nowhere));
}

TEST(store_open_survives_any_failed_allocation)
{
    const char *dir = test_dir();
    store *s = store_with_six_hours(dir);
    CHECK_EQ(store_flush(s, NULL), OK);
    CHECK_EQ(put(s, "down", 1, NOW, 1), OK);
    close_store(s);
    for (unsigned nth = 0;; nth++) {
        s = NULL;
        fault_alloc(nth);
        err_kind k = store_open(&(store_options){ .dir = dir, .wal_fsync_ms = 3600000 }, &s, NULL, &(err){ 0 });
        bool fired = fault_fired();
        CHECK(k == OK || (fired && k == ERR_NOMEM));
        CHECK_EQ(s == NULL, k != OK);
        if (s)
            close_store(s);
        if (!fired)
            break;
    }
}


TEST(store_counts_samples_whose_definition_is_lost)
{
    const char *dir = test_dir();
    char path[FILE_PATH_MAX];
    for (int run = 0; run < 2; run++) {
        store *s = open_at(dir);
        CHECK_EQ(put(s, "up", run, NOW, 1), OK);
        CHECK_EQ(put(s, "up", 0, NOW + 1 + run, 1), OK);
        close_store(s);
    }
    snprintf(path, sizeof path, "%s/wal/00000001", dir);
    CHECK_EQ(file_remove(path, NULL), OK);
    clock_fake(NOW);
    store *s;
    store_recovery told;
    CHECK_EQ(store_open(&(store_options){ .dir = dir }, &s, &told, NULL), OK);
    CHECK_CONTAINS(str_from(told.note), "1 samples of series whose definition is lost");
    CHECK_STR(str_from(all(s, "up")), "w1:1790000000000=1");
    CHECK_EQ(put(s, "up", 5, NOW, 5), OK); /* gets an id that the lost one never had */
    CHECK_STR(str_from(after_crash(dir, "up")), "w1:1790000000000=1 w5:1790000000000=5");
    close_store(s);
}

TEST(store_reader_beside_a_writer_sees_what_a_flush_moves)
{
    const char *dir = test_dir();
    store *s = store_with_six_hours(dir);
    char want[8192];
    str_copy(want, sizeof want, str_from(all(s, "up")));
    for (int flushed = 0; flushed < 2; flushed++) {
        store *reader = open_with((store_options){ .dir = dir, .read_only = true });
        CHECK_STR(str_from(all(reader, "up")), want);
        close_store(reader);
        CHECK_EQ(store_flush(s, NULL), OK);
    }
    close_store(s);
}

static void put_sample(buf *b, uint64_t id, int64_t t_ms, double v)
{
    size_t record = wal_begin(b, WAL_ROWS), section = wal_section_begin(b, WAL_FLOATS);
    uint8_t *at = (uint8_t *)buf_reserve(b, WAL_ROW_MAX_BYTES);
    CHECK(at);
    buf_commit(b, (size_t)(wal_put_row(at, &(wal_before){ 0 }, id, t_ms, v) - at));
    wal_section_end(b, section);
    wal_end(b, record);
}

static void put_definition(buf *b, uint64_t id, labels l)
{
    size_t record = wal_begin(b, WAL_SERIES);
    wal_put_series(b, id, l);
    wal_end(b, record);
}

/* A series whose samples all went into a block while the log already ran in the next segment, then was forgotten, then
 * began anew with older times: its second definition must not be held against the first one's times. */
TEST(store_replays_the_second_life_of_a_series)
{
    const char *dir = test_dir();
    char wal_dir[FILE_PATH_MAX];
    snprintf(wal_dir, sizeof wal_dir, "%s/wal", dir);
    CHECK_EQ(file_make_dirs(wal_dir, 0700, NULL), OK);
    label at[] = { { METRIC_NAME, STR("up") }, { STR("who"), STR("w1") } };
    AUTO(buf_done) buf b = BUF_INIT(1u << 16);
    put_definition(&b, 1, (labels){ at, 2 });
    put_sample(&b, 1, NOW, 1);
    put_definition(&b, 1, (labels){ at, 2 }); /* the same id again is the same life */
    put_sample(&b, 1, NOW + 1, 1);
    put_definition(&b, 2, (labels){ at, 2 });
    put_sample(&b, 2, NOW - 10, 2);
    CHECK(!buf_failed(&b));
    wal w;
    wal_init(&w, wal_dir, 0);
    CHECK_EQ(wal_write(&w, buf_str(&b), NULL), OK);
    wal_done(&w);
    store *s = open_at(dir);
    CHECK_STR(str_from(all(s, "up")), "w1:1789999999990=2");
    CHECK_EQ(store_stats_get(s).head_samples, 1);
    close_store(s);
}
