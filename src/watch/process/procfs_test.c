#include "base/test.h"
#include "base/file.h"
#include "watch/process/process_log.h"
#include "watch/process/procfs.h"
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

TEST(a_command_with_blanks_and_parentheses_does_not_shift_the_fields)
{
    procfs_stat s;
    CHECK(procfs_parse_stat(
        STR("1234 (a b) c (d) T 1 1234 1234 0 -1 4194560 100 0 0 0 77 23 0 0 20 0 5 0 987654 1000000 2500 18446744073709551615 1\n"),
        &s));
    CHECK_EQ(s.pid, 1234);
    CHECK_EQ(s.state, 'T');
    CHECK_EQ(s.session, 1234);
    CHECK_EQ(s.user_ticks, 77);
    CHECK_EQ(s.system_ticks, 23);
    CHECK_EQ(s.threads, 5);
    CHECK_EQ(s.start_ticks, 987654);
    CHECK_EQ(s.rss_pages, 2500);
}

TEST(what_is_no_stat_line_is_refused)
{
    static const char *const bad[] = { "", "1234", "1234 (x", "x (y) S 1", "1234 (x) S 1 2 3", "(x) S", "1 (x) " };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK_MSG(!procfs_parse_stat(str_from(bad[i]), &(procfs_stat){ 0 }), "\"%s\"", bad[i]);
}

TEST(we_can_read_ourselves)
{
    procfs_stat s;
    err e = { 0 };
    char boot[PROCFS_BOOT_ID_MAX];
    CHECK_OK(procfs_read_stat("/proc", getpid(), &s, &e), e);
    CHECK(s.pid == getpid() && s.threads >= 1 && s.start_ticks > 0);
    CHECK(procfs_count_fds("/proc", getpid()) >= 3);
    procfs_boot_id("/proc", boot);
    CHECK(strlen(boot) == 36);
    CHECK_EQ(procfs_read_stat("/proc", 0x7ffffff0, &s, &e), ERR_NOT_FOUND);
}

TEST(a_log_beyond_its_maximum_is_kept_once_and_cut)
{
    char path[FILE_PATH_MAX], old[FILE_PATH_MAX];
    struct stat st;
    err e = { 0 };
    const char *dir = test_dir();
    CHECK_OK(file_join(path, dir, "engine.log", &e), e);
    CHECK_OK(file_join(old, dir, "engine.log.1", &e), e);
    int fd = process_log_open(path, &e);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, "0123456789", 10), 10);
    CHECK_OK(process_log_trim(path, 10, &e), e);
    CHECK(!file_exists(old));
    CHECK_OK(process_log_trim(path, 9, &e), e);
    CHECK(stat(path, &st) == 0 && st.st_size == 0);
    CHECK(stat(old, &st) == 0 && st.st_size == 10);
    CHECK_EQ(write(fd, "x", 1), 1); /* the engine goes on appending */
    CHECK(stat(path, &st) == 0 && st.st_size == 1);
    close(fd);
}

TEST(log_names_have_no_separators)
{
    char name[256];
    process_log_name(name, STR("replica:chat/127.0.0.1:8000"));
    CHECK_STR(str_from(name), "chat-127.0.0.1_8000.log");
    process_log_name(name, STR("replica:../../etc/passwd"));
    CHECK(strchr(name, '/') == NULL && name[0] != '.');
}
