#include "store/verify.h"
#include "store/fixture.h"
#include "base/test.h"
#include <sys/stat.h>

static char told[2000];
static void tell(void *ctx, const char *path, const char *what, bool damage)
{
    UNUSED(ctx);
    const char *slash = strrchr(path, '/');
    snprintf(told + strlen(told), sizeof told - strlen(told), "%s%s: %s\n", damage ? "" : "note ", slash + 1, what);
}

static verify_report verify(const char *dir)
{
    verify_report r;
    err e = { 0 };
    told[0] = '\0';
    CHECK_OK(store_verify(dir, tell, NULL, &r, &e), e);
    return r;
}

/* A closed store with one block of two full windows and something in the log. */
static void make(const char *dir)
{
    store *s = store_with_six_hours(dir);
    CHECK_EQ(store_flush(s, NULL), OK);
    close_store(s);
}

static void block_path(char path[FILE_PATH_MAX], const char *dir)
{
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    char folder[FILE_PATH_MAX];
    str *names;
    size_t n;
    CHECK_EQ(file_join(folder, dir, "blocks", NULL), OK);
    CHECK_EQ(file_list(folder, &a, &names, &n, NULL), OK);
    CHECK(n > 0);
    CHECK_EQ(file_join(path, folder, names[0].ptr, NULL), OK);
}

TEST(verify_reads_all_of_a_good_store)
{
    const char *dir = test_dir();
    make(dir);
    verify_report r = verify(dir);
    CHECK_EQ(r.damaged_files + r.notes + r.damaged_pages, 0);
    CHECK(r.blocks > 0 && r.series >= 3 && r.samples >= 40 && r.log_files > 0 && r.log_records > 0);
    CHECK_EQ(store_verify("nowhere", tell, NULL, &r, NULL), ERR_NOT_FOUND);
}

/* Flip a bit anywhere in the block: it is found, and after repair the store is good and has what it can have. */
TEST(verify_finds_and_repair_survives_a_flipped_bit_anywhere)
{
    const char *dir = test_dir();
    char path[FILE_PATH_MAX];
    make(dir);
    block_path(path, dir);
    AUTO(buf_done) buf bytes = BUF_INIT(1u << 20);
    CHECK_EQ(file_read(path, &bytes, NULL), OK);
    size_t in_pages = 0, step = MAX(bytes.len / 150, 1);
    for (size_t i = BLOCK_HEADER_BYTES; i < bytes.len; i += step) {
        char aside[FILE_PATH_MAX + 16];
        repair_report r;
        err e = { 0 };
        bytes.ptr[i] ^= 0x10;
        CHECK_EQ(file_write_atomic(path, buf_str(&bytes), 0600, NULL), OK);
        bytes.ptr[i] ^= 0x10;
        CHECK_MSG(verify(dir).damaged_files == 1, "byte %zu: %s", i, told);
        CHECK_OK(store_repair(dir, tell, NULL, &r, &e), e);
        CHECK_EQ(r.set_aside, 1);
        CHECK_EQ(r.rewritten, r.lost_pages > 0);
        in_pages += r.rewritten;
        CHECK_MSG(verify(dir).damaged_files == 0, "byte %zu after repair: %s", i, told);
        store *s = open_at(dir);
        CHECK(strlen(all(s, "up")) > 0); /* what the log has, at least */
        close_store(s);
        snprintf(aside, sizeof aside, "%s" BLOCK_DAMAGED_SUFFIX, path);
        CHECK_EQ(file_remove(aside, NULL), OK);
        CHECK_EQ(file_write_atomic(path, buf_str(&bytes), 0600, NULL), OK);
    }
    CHECK(in_pages > 0);
}

TEST(verify_tells_a_torn_log_from_a_damaged_one)
{
    const char *dir = test_dir();
    char path[FILE_PATH_MAX];
    store *s = open_at(dir);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(put(s, "up", 1, NOW + i, i), OK);
    close_store(s);
    CHECK_EQ(file_join(path, dir, "wal/00000001", NULL), OK);
    AUTO(buf_done) buf bytes = BUF_INIT(1u << 20);
    CHECK_EQ(file_read(path, &bytes, NULL), OK);
    CHECK_EQ(file_write_atomic(path, str_sub(buf_str(&bytes), 0, bytes.len - 3), 0600, NULL), OK);
    verify_report r = verify(dir);
    CHECK_EQ(r.damaged_files, 0);
    CHECK_EQ(r.notes, 1);
    bytes.ptr[bytes.len - 1] ^= 1; /* a value: not a length, which could as well be a torn record */
    CHECK_EQ(file_write_atomic(path, buf_str(&bytes), 0600, NULL), OK);
    r = verify(dir);
    CHECK_EQ(r.damaged_files, 1);
    CHECK_CONTAINS(str_from(told), "00000001: ");
}

/* The galen that wrote it shall find it under its name. */
TEST(repair_leaves_a_block_of_another_version_alone)
{
    const char *dir = test_dir();
    char path[FILE_PATH_MAX];
    repair_report r;
    make(dir);
    block_path(path, dir);
    AUTO(buf_done) buf bytes = BUF_INIT(1u << 20);
    CHECK_EQ(file_read(path, &bytes, NULL), OK);
    bytes.ptr[8]--;
    CHECK_EQ(file_write_atomic(path, buf_str(&bytes), 0600, NULL), OK);
    told[0] = '\0';
    CHECK_EQ(store_repair(dir, tell, NULL, &r, NULL), OK);
    CHECK_EQ(r.set_aside, 0);
    CHECK_CONTAINS(str_from(told), "it has version");
    CHECK(file_exists(path));
}

TEST(verify_goes_on_behind_what_is_no_file)
{
    const char *dir = test_dir();
    char folder[FILE_PATH_MAX], pipe[FILE_PATH_MAX];
    make(dir);
    CHECK_EQ(file_join(folder, dir, "blocks/90000000.block", NULL) | file_join(pipe, dir, "blocks/90000001.block", NULL), OK);
    CHECK_EQ(mkdir(folder, 0700) | mkfifo(pipe, 0600), 0);
    verify_report r = verify(dir);
    CHECK_EQ(r.damaged_files, 2);
    CHECK(r.samples > 0);
}

TEST(repair_takes_the_lock)
{
    const char *dir = test_dir();
    store *s = open_at(dir);
    CHECK_EQ(store_repair(dir, tell, NULL, &(repair_report){ 0 }, NULL), ERR_CONFLICT);
    close_store(s);
}

TEST(repair_leaves_the_block_in_place_when_a_write_fails)
{
    const char *dir = test_dir();
    char path[FILE_PATH_MAX];
    make(dir);
    block_path(path, dir);
    AUTO(buf_done) buf bytes = BUF_INIT(1u << 20);
    CHECK_EQ(file_read(path, &bytes, NULL), OK);
    bytes.ptr[BLOCK_HEADER_BYTES + 4] ^= 0x10;
    for (unsigned nth = 0;; nth++) {
        char aside[FILE_PATH_MAX + 16];
        CHECK_EQ(file_write_atomic(path, buf_str(&bytes), 0600, NULL), OK);
        repair_report r;
        fault_write(nth, FAULT_ENOSPC);
        err_kind k = store_repair(dir, tell, NULL, &r, NULL);
        bool fired = fault_write_fired();
        snprintf(aside, sizeof aside, "%s" BLOCK_DAMAGED_SUFFIX, path);
        CHECK(file_exists(path) || file_exists(aside));
        CHECK_EQ(k != OK, fired);
        CHECK_EQ(file_remove(aside, NULL), OK);
        if (!fired)
            break;
    }
}
