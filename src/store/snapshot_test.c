#include "store/snapshot.h"
#include "store/fixture.h"
#include "base/test.h"

static void in(char path[FILE_PATH_MAX], const char *dir, const char *name) { CHECK_EQ(file_join(path, dir, name, NULL), OK); }

static const char *content(const char *dir)
{
    store *s = open_at(dir);
    const char *got = all(s, "up");
    close_store(s);
    return got;
}

TEST(snapshot_opens_as_a_store_with_the_same_samples)
{
    const char *dir = test_dir(), *to = test_dir();
    char path[FILE_PATH_MAX], blocks_only[FILE_PATH_MAX];
    err e = { 0 };
    in(path, to, "snap");
    in(blocks_only, to, "blocks-only");
    store *s = store_with_six_hours(dir);
    CHECK_OK(store_flush(s, &e), e);
    char want[4096];
    str_copy(want, sizeof want, str_from(all(s, "up")));
    CHECK_OK(store_snapshot(s, path, false, &e), e);
    CHECK_OK(store_snapshot(s, blocks_only, true, &e), e);
    CHECK_EQ(store_snapshot(s, path, false, &e), ERR_EXISTS);
    CHECK_EQ(put(s, "up", 0, NOW + 7 * HOUR, 99), OK); /* after it: in the store, not in the snapshot */
    CHECK(strcmp(content(path), want) == 0);
    CHECK(strlen(content(blocks_only)) > 0 && strlen(content(blocks_only)) < strlen(want));
    CHECK_CONTAINS(str_from(all(s, "up")), "=99");
    close_store(s);
}

TEST(snapshot_beside_a_running_store_takes_what_was_acknowledged)
{
    const char *dir = test_dir();
    char path[FILE_PATH_MAX];
    err e = { 0 };
    in(path, test_dir(), "snap");
    store *s = store_with_six_hours(dir), *reader;
    CHECK_OK(store_open(&(store_options){ .dir = dir, .read_only = true }, &reader, NULL, &e), e);
    CHECK_OK(store_snapshot(reader, path, false, &e), e);
    CHECK_EQ(store_close(reader, NULL), OK);
    CHECK_EQ(put(s, "up", 0, NOW + 7 * HOUR, 99), OK); /* the same segment goes on, the copy does not */
    char want[4096];
    str_copy(want, sizeof want, str_from(answer(s, "up", 0, NOW + 6 * HOUR)));
    CHECK(strcmp(content(path), want) == 0);
    close_store(s);
}

TEST(snapshot_leaves_nothing_behind_a_failed_write)
{
    for (fault_write_kind how = FAULT_EIO; how <= FAULT_SHORT_WRITE; how++)
        for (unsigned nth = 0;; nth++) {
            const char *dir = test_dir();
            char path[FILE_PATH_MAX], temp[FILE_PATH_MAX];
            in(path, dir, "snap");
            in(temp, dir, "snap.tmp");
            store *s = store_with_six_hours(dir);
            backup_receipt told;
            fault_write(nth, how);
            err_kind k = store_backup(s, path, &told, NULL);
            bool fired = fault_write_fired();
            CHECK(!file_exists(temp));
            CHECK_EQ(file_exists(path), k == OK);
            if (how != FAULT_SHORT_WRITE)
                CHECK_EQ(k != OK, fired);
            close_store(s);
            CHECK_EQ(file_remove_tree(dir, NULL), OK);
            if (!fired)
                break;
        }
}

static void flip(const char *path)
{
    AUTO(buf_done) buf b = BUF_INIT(1u << 20);
    CHECK_EQ(file_read(path, &b, NULL), OK);
    b.ptr[b.len / 2] ^= 1;
    CHECK_EQ(file_write_atomic(path, buf_str(&b), 0600, NULL), OK);
}

TEST(backup_is_restored_whole_or_refused)
{
    const char *dir = test_dir(), *to = test_dir();
    char backup[FILE_PATH_MAX], restored[FILE_PATH_MAX], path[FILE_PATH_MAX];
    backup_receipt told = { 0 };
    err e = { 0 };
    in(backup, to, "backup");
    in(restored, to, "store");
    store *s = store_with_six_hours(dir);
    CHECK_OK(store_flush(s, &e), e);
    char want[4096];
    str_copy(want, sizeof want, str_from(all(s, "up")));
    CHECK_OK(store_backup(s, backup, &told, &e), e);
    close_store(s);
    CHECK(told.files >= 2 && told.bytes > 100);
    CHECK_OK(backup_restore(backup, restored, &told, &e), e);
    CHECK(strcmp(content(restored), want) == 0);
    CHECK_EQ(backup_restore(backup, restored, &told, &e), ERR_EXISTS);
    CHECK_EQ(file_remove_tree(restored, NULL), OK);

    in(path, backup, "blocks/stranger");
    CHECK_EQ(file_write_atomic(path, STR("x"), 0600, NULL), OK);
    CHECK_EQ(backup_verify(backup, &told, &e), ERR_CORRUPT);
    CHECK_CONTAINS(str_from(e.message), "stranger");
    CHECK_EQ(file_remove(path, NULL), OK);
    CHECK_OK(backup_verify(backup, &told, &e), e);

    in(path, backup, "blocks/00000001.block");
    flip(path);
    CHECK_EQ(backup_restore(backup, restored, &told, &e), ERR_CORRUPT);
    CHECK_CONTAINS(str_from(e.message), "00000001.block");
    CHECK(!file_exists(restored));
    CHECK_EQ(file_remove(path, NULL), OK);
    CHECK_EQ(backup_verify(backup, &told, &e), ERR_CORRUPT);
    CHECK_CONTAINS(str_from(e.message), "missing");
}

TEST(backup_manifest_cannot_reach_out)
{
    static const char *const lines[] = { "../../etc/passwd", "/etc/passwd", "a//b", "a/./b", "", "wal/.." };
    const char *dir = test_dir();
    char path[FILE_PATH_MAX], text[200];
    in(path, dir, SNAPSHOT_MANIFEST);
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        err e = { 0 };
        snprintf(text, sizeof text, "%064d  %s\n", 0, lines[i]);
        CHECK_EQ(file_write_atomic(path, str_from(text), 0600, NULL), OK);
        CHECK_EQ(backup_verify(dir, &(backup_receipt){ 0 }, &e), ERR_CORRUPT);
        CHECK_MSG(strstr(e.message, "makes no sense"), "%s: %s", lines[i], e.message);
    }
}
