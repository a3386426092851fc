#include "base/test.h"
#include "watch/emit.h"

static row_vec round_of(emit *m, int64_t t_ms, const char *const *names, size_t n)
{
    row_vec rows = { 0 };
    emit_begin(m, t_ms);
    for (size_t i = 0; i < n; i++)
        emit_value(m, names[i], (double)i);
    CHECK_EQ(emit_collect(m, &rows), OK);
    return rows;
}

static emit new_emit(void)
{
    emit m;
    label base = { STR("job"), STR("x") };
    CHECK_EQ(emit_init(&m, (labels){ &base, 1 }), OK);
    return m;
}

TEST(a_series_keeps_its_ref_over_rounds_and_order)
{
    emit m = new_emit();
    row_vec rows = round_of(&m, 1, (const char *[]){ "a", "b", "c" }, 3);
    for (size_t i = 0; i < 3; i++)
        *rows.at[i].ref = 100 + i;
    vec_done(&rows);
    emit_settle(&m);
    rows = round_of(&m, 2, (const char *[]){ "c", "a", "b" }, 3);
    for (size_t i = 0; i < rows.len; i++) {
        const char *name = labels_name(rows.at[i].labels).ptr;
        CHECK_EQ(*rows.at[i].ref, 100 + (name[0] - 'a'));
    }
    vec_done(&rows);
    emit_done(&m);
}

TEST(a_series_that_is_not_put_again_gets_one_stale_marker)
{
    emit m = new_emit();
    row_vec rows = round_of(&m, 1, (const char *[]){ "a", "b" }, 2);
    emit_settle(&m);
    vec_done(&rows);
    rows = round_of(&m, 2, (const char *[]){ "a" }, 1);
    CHECK_EQ(rows.len, 2);
    CHECK(!is_stale(rows.at[0].v) && is_stale(rows.at[1].v));
    CHECK_STR(labels_name(rows.at[1].labels), "b");
    emit_settle(&m);
    vec_done(&rows);
    rows = round_of(&m, 3, (const char *[]){ "a" }, 1);
    CHECK_EQ(rows.len, 1);
    vec_done(&rows);
    emit_done(&m);
}

TEST(two_rounds_in_one_millisecond_get_two_times)
{
    emit m = new_emit();
    row_vec rows = round_of(&m, 5, (const char *[]){ "a" }, 1);
    emit_settle(&m);
    vec_done(&rows);
    rows = round_of(&m, 5, (const char *[]){ "a" }, 1);
    CHECK_EQ(rows.at[0].t_ms, 6);
    vec_done(&rows);
    emit_done(&m);
}

TEST(the_end_of_a_producer_marks_everything)
{
    emit m = new_emit();
    row_vec rows = round_of(&m, 5, (const char *[]){ "a", "b" }, 2);
    emit_settle(&m);
    vec_clear(&rows);
    CHECK_EQ(emit_collect_end(&m, 9, &rows), OK);
    CHECK(rows.len == 2 && is_stale(rows.at[0].v) && is_stale(rows.at[1].v) && rows.at[0].t_ms == 9);
    emit_settle(&m);
    CHECK_EQ(m.points.len, 0);
    vec_done(&rows);
    emit_done(&m);
}

TEST(names_get_only_allowed_characters_and_labels_lose_empty_values)
{
    emit m = new_emit();
    row_vec rows = { 0 };
    label l[2] = { { STR("zone"), STR("z") }, { STR("empty"), STR("") } };
    emit_begin(&m, 1);
    emit_put(&m, (emit_name){ "node_memory_", STR("Active(anon) x"), "_bytes" }, l, 2, 1);
    CHECK_EQ(emit_collect(&m, &rows), OK);
    CHECK_STR(labels_name(rows.at[0].labels), "node_memory_Active_anon__x_bytes");
    CHECK_EQ(rows.at[0].labels.len, 3);
    vec_done(&rows);
    emit_done(&m);
}

TEST(putting_survives_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        emit m;
        row_vec rows = { 0 };
        label base = { STR("job"), STR("x") };
        fault_alloc(nth);
        if (!emit_init(&m, (labels){ &base, 1 })) {
            emit_begin(&m, 1);
            emit_value(&m, "a", 1);
            emit_value(&m, "b", 1);
            (void)emit_collect(&m, &rows);
            emit_settle(&m);
        }
        bool fired = fault_fired();
        vec_done(&rows);
        emit_done(&m);
        if (!fired)
            break;
    }
}
