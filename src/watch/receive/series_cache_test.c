#include "base/test.h"
#include "watch/receive/series_cache.h"

static hash_wide key_of(uint64_t n) { return hash_bytes_wide(&n, sizeof n); }

TEST(what_was_put_is_found_and_nothing_else)
{
    series_cache c = { 0 };
    CHECK_EQ(series_cache_get(&c, key_of(1)), 0);
    series_cache_put(&c, key_of(1), 5); /* no room yet: forgotten */
    CHECK_EQ(series_cache_get(&c, key_of(1)), 0);
    series_cache_begin(&c, 2, 1000);
    series_cache_put(&c, key_of(1), 5);
    series_cache_put(&c, key_of(2), 6);
    series_cache_put(&c, key_of(1), 7);
    CHECK_EQ(series_cache_get(&c, key_of(1)), 7);
    CHECK_EQ(series_cache_get(&c, key_of(2)), 6);
    CHECK_EQ(series_cache_get(&c, key_of(3)), 0);
    CHECK_EQ(c.len, 2);
    series_cache_done(&c);
}

TEST(a_table_at_the_end_of_its_room_begins_anew_and_stays_bounded)
{
    series_cache c = { 0 };
    for (uint64_t n = 1; n < 20000; n++) {
        series_cache_begin(&c, 1, 1000);
        series_cache_put(&c, key_of(n), n);
        CHECK_EQ(series_cache_get(&c, key_of(n)), n);
        CHECK(c.len <= c.cap * 5 / 8 && c.cap <= SERIES_CACHE_MAX);
    }
    series_cache_done(&c);
}

TEST(series_that_are_not_sent_any_more_do_not_make_the_table_grow)
{
    series_cache c = { 0 };
    size_t cap = 0;
    for (uint64_t age = 0; age < 20; age++) {
        for (uint64_t n = 0; n < 1200; n++) {
            series_cache_begin(&c, 1, (int64_t)(age + 1) * (SERIES_CACHE_AGE_MS + 1));
            series_cache_put(&c, key_of(age * 10000 + n), n + 1);
        }
        cap = cap ? cap : c.cap;
    }
    CHECK_MSG(c.cap <= cap * 4, "%zu slots for 1200 live series", c.cap);
    series_cache_done(&c);
}

TEST(without_memory_the_cache_forgets_and_goes_on)
{
    series_cache c = { 0 };
    fault_alloc(0);
    series_cache_begin(&c, 1, 1000);
    bool fired = fault_fired();
    series_cache_put(&c, key_of(1), 1);
    CHECK_EQ(series_cache_get(&c, key_of(1)), fired ? 0 : 1);
    series_cache_done(&c);
}
