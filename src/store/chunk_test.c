#include "store/chunk.h"
#include "base/rand.h"
#include "base/test.h"
#include <math.h>

static uint64_t bits_of(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static void check_samples(const char *what, str bytes, const sample *at, size_t n)
{
    chunk_iter it = chunk_samples(bytes, (uint32_t)n);
    sample got;
    for (size_t i = 0; i < n; i++) {
        CHECK_MSG(chunk_next(&it, &got), "%s: ends at sample %zu of %zu", what, i, n);
        CHECK_MSG(got.t_ms == at[i].t_ms, "%s: sample %zu has another time", what, i);
        CHECK_MSG(bits_of(got.v) == bits_of(at[i].v), "%s: sample %zu has another value", what, i);
    }
    CHECK(!chunk_next(&it, &got));
    CHECK(!it.bad);
}

/* As a closed chunk, and at each moment while it fills. */
static void check_round_trip(const char *what, const sample *at, size_t n)
{
    chunk *c = chunk_of(at, n);
    CHECK(c);
    CHECK_EQ(c->min_t_ms, at[0].t_ms);
    CHECK_EQ(c->max_t_ms, at[n - 1].t_ms);
    check_samples(what, chunk_bytes(c), at, n);
    chunk_pool p;
    filling f = { 0 };
    chunk_pool_init(&p);
    for (size_t i = 0; i < n; i++) {
        CHECK_EQ(chunk_pool_reserve(&p, filling_need(&f)), OK);
        filling_put(&f, &p, at[i].t_ms, at[i].v);
        uint8_t *copy = mem_alloc(filling_size(&f)); /* on the heap, so that the sanitizer sees a byte too far */
        filling_copy(&f, &p, copy);
        check_samples(what, str_of((char *)copy, filling_size(&f)), at, i + 1);
        mem_free(copy);
    }
    CHECK_EQ(filling_size(&f), c->size);
    chunk_pool_done(&p);
    chunk_unref(c);
}

TEST(chunk_keeps_special_values)
{
    const sample at[] = {
        { 1000, 0.0 }, { 2000, -0.0 }, { 3000, INFINITY }, { 4000, -INFINITY }, { 5000, stale_nan() }, { 6000, normal_nan() },
        { 7000, double_of(UINT64_C(0xfff123456789abcd)) }, { 8000, 1 }, { 9000, 5e-324 }, { 10000, 1.7976931348623157e308 },
    };
    for (size_t from = 0; from < COUNT_OF(at); from++)
        check_round_trip("special values", at + from, COUNT_OF(at) - from);
}

TEST(chunk_keeps_odd_times)
{
    const sample at[] = {
        { INT64_MIN, 1 }, { -1, 2 }, { 0, 3 }, { 1, 3 }, { 15000, 3 }, { 30000, 4 }, { 30001, 4 },
        { INT64_C(1) << 40, 5 }, { (INT64_C(1) << 40) + 8192, 6 }, { (INT64_C(1) << 40) + 8193, 7 }, { INT64_MAX, 8 },
    };
    for (size_t from = 0; from < COUNT_OF(at); from++)
        check_round_trip("odd times", at + from, COUNT_OF(at) - from);
}

/* Shapes of series as engines and hosts produce them, and plain noise. */
static double next_value(rand_state *r, int shape, double before)
{
    switch (shape) {
    case 0:  return before;
    case 1:  return before + (double)rand_below(r, 100);
    case 2:  return rand_double(r);
    case 3:  return double_of(rand_u64(r));
    default: return rand_below(r, 4) ? before : double_of(STALE_NAN_BITS);
    }
}

static int64_t next_step(rand_state *r, int shape)
{
    switch (shape) {
    case 0:  return 15000;
    case 1:  return 15000 + (int64_t)rand_below(r, 7) - 3;
    case 2:  return 1 + (int64_t)rand_below(r, 1000000);
    default: return 1 + (int64_t)(rand_u64(r) >> (1 + rand_below(r, 40)) >> 8);
    }
}

TEST(chunk_round_trips_whatever_it_is_given)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        rand_state r = rand_seeded(seed);
        sample at[CHUNK_MAX_SAMPLES + 1];
        sample s = { (int64_t)rand_below(&r, 2000000000000), rand_double(&r) };
        int values = (int)rand_below(&r, 5), steps = (int)rand_below(&r, 4);
        for (size_t i = 0; i < COUNT_OF(at); i++) {
            at[i] = s;
            s = (sample){ s.t_ms + next_step(&r, steps), next_value(&r, values, s.v) };
        }
        char what[32];
        snprintf(what, sizeof what, "seed %d", (int)seed);
        check_round_trip(what, at, COUNT_OF(at));
    }
}

/* Runs that come and go: blocks are used again, no two runs share one, and slabs that are free go back. */
TEST(chunk_pool_gives_its_blocks_out_once)
{
    enum { RUNS = 40 };
    chunk_pool p;
    filling f[RUNS] = { 0 };
    size_t filled[RUNS] = { 0 };
    rand_state r = rand_seeded(7);
    chunk_pool_init(&p);
    for (int step = 0; step < 4000; step++) {
        size_t at = rand_below(&r, RUNS);
        if (filled[at] > rand_below(&r, 60)) {
            filling_clear(&f[at], &p);
            filled[at] = 0;
        } else {
            CHECK_EQ(chunk_pool_reserve(&p, filling_need(&f[at])), OK);
            filled[at]++;
            filling_put(&f[at], &p, (int64_t)filled[at], (double)(at * 1000 + filled[at]) / 3);
        }
        if (step % 100 == 0)
            chunk_pool_tidy(&p);
    }
    for (size_t i = 0; i < RUNS; i++) {
        chunk *c = f[i].count ? filling_close(&f[i], &p) : NULL;
        sample s;
        size_t n = 0;
        for (chunk_iter it = chunk_samples(c ? chunk_bytes(c) : STR_EMPTY, f[i].count); chunk_next(&it, &s);)
            CHECK(s.v == (double)(i * 1000 + ++n) / 3);
        CHECK_EQ(n, filled[i]);
        chunk_unref(c);
        filling_clear(&f[i], &p);
    }
    chunk_pool_tidy(&p);
    CHECK_EQ(chunk_pool_bytes(&p), 0);
    CHECK_EQ(p.free_count, 0);
    chunk_pool_done(&p);
}

TEST(chunk_decode_clips_to_the_range)
{
    static const struct { const char *what; int64_t from, to; size_t want; } rows[] = {
        { "everything", INT64_MIN, INT64_MAX, 3 }, { "both ends count", 10, 30, 3 }, { "the middle", 11, 29, 1 },
        { "before", 0, 9, 0 }, { "after", 31, 99, 0 }, { "between two samples", 21, 29, 0 },
    };
    chunk *c = chunk_of((const sample[]){ { 10, 1 }, { 20, 2 }, { 30, 3 } }, 3);
    CHECK(c);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        sample_vec out = { 0 };
        CHECK_EQ(chunk_decode(chunk_bytes(c), c->count, rows[i].from, rows[i].to, &out), OK);
        CHECK_MSG(out.len == rows[i].want, "%s: got %zu samples", rows[i].what, out.len);
        vec_done(&out);
    }
    chunk_unref(c);
}

TEST(chunk_decode_survives_every_cut_and_every_flipped_bit)
{
    const sample at[] = { { 1000, 1.5 }, { 16000, 2.25 }, { 31003, -7 } };
    chunk *c = chunk_of(at, COUNT_OF(at));
    CHECK(c);
    str whole = chunk_bytes(c);
    char bytes[3 * CHUNK_SAMPLE_MAX_BYTES];
    for (size_t len = 0; len < whole.len; len++) {
        sample_vec out = { 0 };
        char *cut = mem_dup(whole.ptr, len); /* on the heap, so that the sanitizer sees a read too far */
        CHECK_EQ(chunk_decode(str_of(cut, len), c->count, INT64_MIN, INT64_MAX, &out), ERR_CORRUPT);
        mem_free(cut);
        vec_done(&out);
    }
    for (size_t bit = 0; bit < whole.len * 8; bit++) {
        sample_vec out = { 0 };
        memcpy(bytes, whole.ptr, whole.len);
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        err_kind k = chunk_decode(str_of(bytes, whole.len), c->count, INT64_MIN, INT64_MAX, &out);
        CHECK(k == OK || k == ERR_CORRUPT);
        CHECK(out.len <= c->count);
        vec_done(&out);
    }
    CHECK_EQ(chunk_decode(whole, UINT32_MAX, 0, 1, &(sample_vec){ 0 }), ERR_CORRUPT);
    chunk_unref(c);
}

TEST(chunk_takes_few_bytes_for_a_steady_series)
{
    sample at[120];
    for (int i = 0; i < 120; i++)
        at[i] = (sample){ 15000 * i, 42 };
    chunk *c = chunk_of(at, 120);
    CHECK(c);
    CHECK_MSG(c->size < 120 * 2 / 8 + 32, "a constant takes %u bytes", c->size);
    chunk_unref(c);
}
