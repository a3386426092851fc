/* watch/scrape/page_fuzz.c - two pages after one another from any bytes (cut at the first zero byte): rows have labels,
 * and after a failure nothing is owed but markers. */
#include "base/fuzz.h"
#include "watch/scrape/page.h"

static void read_one(page_cache *c, str text, int64_t t_ms)
{
    label base[2] = { { STR("instance"), STR("i") }, { STR("job"), STR("j") } };
    scrape_job job = { .honor_timestamps = true, .sample_limit = 50 };
    page_rules rules = { .target = { base, 2 }, .job = &job };
    row_vec rows = { 0 };
    page_result result;
    if (page_read(c, &rules, text, false, t_ms, &rows, &result, NULL)) {
        assert(rows.len == 0);
        (void)page_fail(c, t_ms, &rows);
        for (size_t i = 0; i < rows.len; i++)
            assert(is_stale(rows.at[i].v));
    }
    for (size_t i = 0; i < rows.len; i++)
        assert(labels_name(rows.at[i].labels).len > 0);
    page_settle(c);
    vec_done(&rows);
}

FUZZ(input)
{
    page_cache *c = page_cache_new();
    ptrdiff_t zero = str_find_char(input, '\0');
    size_t half = zero < 0 ? input.len : (size_t)zero;
    if (!c)
        return;
    read_one(c, str_sub(input, 0, half), 1000);
    read_one(c, str_skip(input, half + 1), 2000);
    page_cache_free(c);
}
