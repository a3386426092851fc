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

/* Fill a chunk with as many of the samples as it takes; returns how many. */
static size_t fill(chunk **c, const sample *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        CHECK_EQ(chunk_reserve(c, 1), OK);
        if ((*c)->count == CHUNK_MAX_SAMPLES) {
            CHECK_EQ(chunk_append(*c, at[i].t_ms, at[i].v), ERR_FULL);
            return i;
        }
        CHECK_EQ(chunk_append(*c, at[i].t_ms, at[i].v), OK);
    }
    return n;
}

static void check_round_trip(const char *what, const sample *at, size_t n)
{
    chunk *c = chunk_new(1);
    CHECK(c);
    n = fill(&c, at, n);
    c = chunk_shrink(c);
    chunk_iter it = chunk_samples(chunk_bytes(c), c->count);
    sample got;
    for (size_t i = 0; i < n; i++) {
        CHECK_MSG(chunk_next(&it, &got), "%s: ends at sample %zu of %zu", what, i, n);
        CHECK_MSG(got.t_ms == at[i].t_ms, "%s: sample %zu has another time", what, i);
        CHECK_MSG(bits_of(got.v) == bits_of(at[i].v), "%s: sample %zu has another value", what, i);
    }
    CHECK(!chunk_next(&it, &got));
    CHECK(!it.bad);
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

TEST(chunk_refuses_what_is_not_after_the_last_sample)
{
    chunk *c = chunk_new(3);
    CHECK(c);
    CHECK_EQ(chunk_append(c, 10, 1), OK);
    size_t size = chunk_size(c);
    CHECK_EQ(chunk_append(c, 10, 1), ERR_OUT_OF_ORDER);
    CHECK_EQ(chunk_append(c, 9, 1), ERR_OUT_OF_ORDER);
    CHECK_EQ(chunk_size(c), size);
    CHECK_EQ(c->count, 1);
    chunk_unref(c);
}

TEST(chunk_decode_clips_to_the_range)
{
    static const struct { const char *what; int64_t from, to; size_t want; } rows[] = {
        { "everything", INT64_MIN, INT64_MAX, 3 }, { "both ends count", 10, 30, 3 }, { "the middle", 11, 29, 1 },
        { "before", 0, 9, 0 }, { "after", 31, 99, 0 }, { "between two samples", 21, 29, 0 },
    };
    chunk *c = chunk_new(3);
    CHECK(c);
    for (int i = 1; i <= 3; i++)
        CHECK_EQ(chunk_append(c, 10 * i, i), OK);
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
    chunk *c = chunk_new(3);
    CHECK(c);
    const sample at[] = { { 1000, 1.5 }, { 16000, 2.25 }, { 31003, -7 } };
    fill(&c, at, COUNT_OF(at));
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
    if (CHUNK_MAX_SAMPLES < 120)
        return; /* with three samples the first one is most of it */
    chunk *c = chunk_new(120);
    CHECK(c);
    for (int i = 0; i < 120; i++)
        CHECK_EQ(chunk_append(c, 15000 * i, 42), OK);
    CHECK_MSG(chunk_size(c) < 120 * 2 / 8 + 32, "a constant takes %zu bytes", chunk_size(c));
    chunk_unref(c);
}
