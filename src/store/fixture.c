#include "store/fixture.h"
#include "base/test.h"
#include <fcntl.h>
#include <unistd.h>

store *open_with(store_options o)
{
    store *s = NULL;
    err e = { 0 };
    o.wal_fsync_ms = o.wal_fsync_ms ? o.wal_fsync_ms : 3600000;
    CHECK_OK(store_open(&o, &s, NULL, &e), e);
    return s;
}

store *open_at(const char *dir)
{
    clock_fake(NOW);
    return open_with((store_options){ .dir = dir });
}

void close_store(store *s)
{
    err e = { 0 };
    CHECK_OK(store_close(s, &e), e);
}

void add_row(rows *r, const char *name, int who, int64_t t_ms, double v)
{
    size_t i = r->n++;
    CHECK(i < COUNT_OF(r->at));
    snprintf(r->text[i], sizeof r->text[i], "w%d", who);
    r->labels[i][0] = (label){ METRIC_NAME, str_from(name) };
    r->labels[i][1] = (label){ STR("who"), str_from(r->text[i]) };
    r->at[i] = (sample_row){ { r->labels[i], 2 }, NULL, t_ms, v };
}

err_kind put(store *s, const char *name, int who, int64_t t_ms, double v)
{
    rows r = { 0 };
    add_row(&r, name, who, t_ms, v);
    return store_append(s, r.at, r.n, NULL, NULL);
}

const char *answer(store *s, const char *name, int64_t from_ms, int64_t to_ms)
{
    static buf text = BUF_INIT(1u << 20);
    matcher m = { METRIC_NAME, str_from(name), MATCH_EQ, NULL };
    store_selection *sel;
    err e = { 0 };
    CHECK_OK(store_select(s, &m, 1, from_ms, to_ms, NULL, &sel, &e), e);
    buf_reset(&text);
    for (size_t i = 0; i < store_select_len(sel); i++) {
        sample_vec v = { 0 };
        CHECK_OK(store_select_samples(sel, i, &v, &e), e);
        str who = labels_get(store_select_labels(sel, i), STR("who"));
        buf_printf(&text, "%s%" STR_FMT ":", i ? " " : "", STR_ARG(who));
        for (size_t j = 0; j < v.len; j++)
            buf_printf(&text, "%s%lld=%g", j ? "," : "", (long long)v.at[j].t_ms, v.at[j].v);
        vec_done(&v);
    }
    store_select_free(sel);
    static char kept[4][8192];
    static unsigned turn;
    char *out = kept[turn++ % 4];
    str_copy(out, sizeof kept[0], buf_str(&text));
    buf_done(&text);
    return out;
}

const char *all(store *s, const char *name) { return answer(s, name, INT64_MIN, INT64_MAX); }

static void copy_file(const char *from, const char *to)
{
    AUTO(buf_done) buf b = BUF_INIT(64u << 20);
    CHECK_EQ(file_read(from, &b, NULL), OK);
    CHECK_EQ(file_write_atomic(to, buf_str(&b), 0600, NULL), OK);
}

void copy_folder(const char *from, const char *to)
{
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    str *names;
    size_t n;
    CHECK_EQ(file_make_dirs(to, 0700, NULL), OK);
    CHECK_EQ(file_list(from, &a, &names, &n, NULL), OK);
    for (size_t i = 0; i < n; i++) {
        char a_path[FILE_PATH_MAX], b_path[FILE_PATH_MAX];
        CHECK_EQ(file_join(a_path, from, names[i].ptr, NULL), OK);
        CHECK_EQ(file_join(b_path, to, names[i].ptr, NULL), OK);
        int fd = open(a_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
            close(fd);
            copy_folder(a_path, b_path);
        } else {
            copy_file(a_path, b_path);
        }
    }
}

const char *after_crash(const char *dir, const char *name)
{
    static unsigned number;
    static const char *base;
    char copy[FILE_PATH_MAX];
    if (!base)
        base = test_dir();
    snprintf(copy, sizeof copy, "%s/%u", base, number++);
    copy_folder(dir, copy);
    store *s = open_at(copy);
    const char *got = all(s, name);
    close_store(s);
    CHECK_EQ(file_remove_tree(copy, NULL), OK);
    return got;
}

store *store_with_six_hours(const char *dir)
{
    store *s = open_at(dir);
    int64_t start = window_start(NOW, 2 * HOUR);
    clock_fake(start);
    for (int i = 0; i < 60; i++)
        CHECK_EQ(put(s, "up", i % 3, start + i * HOUR / 10, i), OK);
    clock_advance(6 * HOUR);
    return s;
}
