#include "audit/audit.h"
#include "base/file.h"
#include "base/test.h"

#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static state_db *open_in(const char *dir)
{
    char path[FILE_PATH_MAX];
    state_db *s = NULL;
    err e = { 0 };
    snprintf(path, sizeof path, "%s/state.db", dir);
    CHECK_OK(state_open(path, &s, &e), e);
    return s;
}

TEST(state_keeps_what_was_put_over_a_restart)
{
    const char *dir = test_dir();
    state_db *s = open_in(dir);
    AUTO(buf_done) buf b = BUF_INIT(1024);
    err e = { 0 };
    CHECK_OK(state_put(s, "process", STR("replica:a"), STR("{\"pid\":1}"), &e), e);
    CHECK_OK(state_put(s, "process", STR("replica:a"), STR("{\"pid\":2}"), &e), e);
    CHECK_OK(state_put(s, "incident", STR("replica:a"), STR("{}"), &e), e);
    state_close(s);

    s = open_in(dir);
    CHECK_OK(state_get(s, "process", STR("replica:a"), &b, &e), e);
    CHECK_STR(buf_str(&b), "{\"pid\":2}");
    CHECK_OK(state_delete(s, "process", STR("replica:a"), &e), e);
    CHECK_OK(state_delete(s, "process", STR("replica:a"), &e), e); /* deleting nothing is fine */
    CHECK_EQ(state_get(s, "process", STR("replica:a"), &b, &e), ERR_NOT_FOUND);
    CHECK_STR(str_from(e.message), "no process \"replica:a\" is kept");
    CHECK_OK(state_get(s, "incident", STR("replica:a"), &b, &e), e);
    state_close(s);
}

typedef struct walk { state_db *s; char keys[100]; size_t n, stop_after; } walk;
static bool walk_and_delete(void *ctx, str key, str json)
{
    walk *w = ctx;
    CHECK_STR(json, "{}");
    snprintf(w->keys + strlen(w->keys), sizeof w->keys - strlen(w->keys), "%" STR_FMT " ", STR_ARG(key));
    if (w->s)
        CHECK_EQ(state_delete(w->s, "heal", key, NULL), OK); /* from inside the walk */
    return ++w->n != w->stop_after;
}

TEST(state_each_walks_one_table_by_key_and_may_be_changed_meanwhile)
{
    AUTO(state_closep) state_db *s = open_in(test_dir());
    err e = { 0 };
    CHECK_OK(state_put(s, "heal", STR("b"), STR("{}"), &e), e);
    CHECK_OK(state_put(s, "heal", STR("a"), STR("{}"), &e), e);
    CHECK_OK(state_put(s, "heal", STR("键"), STR("{}"), &e), e);
    CHECK_OK(state_put(s, "other", STR("z"), STR("{}"), &e), e);
    walk w = { .stop_after = 1 };
    CHECK_OK(state_each(s, "heal", walk_and_delete, &w, &e), e);
    CHECK_STR(str_from(w.keys), "a ");
    w = (walk){ .s = s };
    CHECK_OK(state_each(s, "heal", walk_and_delete, &w, &e), e);
    CHECK_STR(str_from(w.keys), "a b 键 ");
    w = (walk){ .n = 0 };
    CHECK_OK(state_each(s, "heal", walk_and_delete, &w, &e), e);
    CHECK_EQ(w.n, 0);
}

TEST(state_is_readable_by_its_owner_only)
{
    const char *dir = test_dir();
    char path[FILE_PATH_MAX];
    struct stat st;
    AUTO(state_closep) state_db *s = open_in(dir);
    UNUSED(s);
    snprintf(path, sizeof path, "%s/state.db", dir);
    CHECK_EQ(stat(path, &st), 0);
    CHECK_EQ(st.st_mode & 0777, 0600);
}

TEST(state_refuses_a_later_format_and_a_file_that_is_none)
{
    const char *dir = test_dir();
    char path[FILE_PATH_MAX];
    sqlite3 *db;
    state_db *s = NULL;
    err e = { 0 };
    state_close(open_in(dir));
    snprintf(path, sizeof path, "%s/state.db", dir);
    CHECK_EQ(sqlite3_open(path, &db), SQLITE_OK);
    CHECK_EQ(sqlite3_exec(db, "PRAGMA user_version = 9", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    CHECK_EQ(state_open(path, &s, &e), ERR_UNSUPPORTED);
    CHECK_CONTAINS(str_from(e.message), "version 9");
    CHECK(e.hint[0] != '\0');

    snprintf(path, sizeof path, "%s/garbage.db", dir);
    CHECK_OK(file_write_atomic(path, STR("this is no database, and long enough to be looked at as one ......................................"), 0600, &e), e);
    e = (err){ 0 };
    CHECK_EQ(state_open(path, &s, &e), ERR_CORRUPT);
    CHECK_CONTAINS(str_from(e.hint), "move state.db away");
    CHECK_EQ(state_open("/nowhere/state.db", &s, &e), ERR_NOT_FOUND);
    CHECK(s == NULL);
}

static bool ignore_row(void *ctx, str key, str json)
{
    return ctx || key.len || json.len;
}

TEST(state_survives_any_failed_allocation)
{
    const char *dir = test_dir();
    char path[FILE_PATH_MAX];
    bool fired = true;
    snprintf(path, sizeof path, "%s/state.db", dir);
    for (unsigned nth = 0; fired; nth++) {
        AUTO(state_closep) state_db *s = NULL;
        AUTO(buf_done) buf b = BUF_INIT(1024);
        err e = { 0 };
        fault_alloc(nth);
        err_kind k = state_open(path, &s, &e);
        if (!k)
            k = state_put(s, "t", STR("k"), STR("{}"), &e);
        if (!k)
            k = state_get(s, "t", STR("k"), &b, &e);
        if (!k)
            k = state_each(s, "t", ignore_row, NULL, &e);
        fired = fault_fired();
        CHECK_EQ(k, fired ? ERR_NOMEM : OK);
    }
}
