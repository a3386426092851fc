#include "store/column.h"
#include "base/rand.h"
#include "base/test.h"
#include "metric/metric.h"

#define N COLUMN_MAX

static double bits(uint64_t u)
{
    double d;
    memcpy(&d, &u, sizeof d);
    return d;
}

/* What series look like; `i` is the place in the column, `r` the row's own chance. */
static double constant(size_t i, rand_state *r) { return 3.25; }
static double counter(size_t i, rand_state *r) { return (double)i * 1000 + (double)rand_below(r, 300); }
static double seconds(size_t i, rand_state *r) { return (double)(i * 612 + rand_below(r, 120)) / 100; }
static double steps(size_t i, rand_state *r) { return 1980 + (double)(i / 97); }
static double pages(size_t i, rand_state *r) { return 4096.0 * (double)(400000 + rand_below(r, 2000)); }
static double noise(size_t i, rand_state *r) { return 0.6 + 0.1 * rand_double(r); }
static double small(size_t i, rand_state *r) { return (float)(0.6 + 0.1 * rand_double(r)); }
static double chaos(size_t i, rand_state *r) { return bits(rand_u64(r)); }
static double reset(size_t i, rand_state *r) { return (double)(i % (N / 2)) * 50; }
static double stale(size_t i, rand_state *r) { return i % 50 == 7 ? stale_nan() : (double)i; }
static double nothing(size_t i, rand_state *r) { return stale_nan(); }
static double zeros(size_t i, rand_state *r) { return rand_below(r, 2) ? -0.0 : 0.0; }
static double infinite(size_t i, rand_state *r) { return i % 3 == 0 ? INFINITY : i % 3 == 1 ? -INFINITY : 5; }
static double payload(size_t i, rand_state *r) { return i == N / 2 ? bits(UINT64_C(0x7ff8000000abcdef)) : 0.1 * (double)i; }
static double tiny(size_t i, rand_state *r) { return bits(rand_below(r, 1000)); }
static double huge(size_t i, rand_state *r) { return i % 2 ? 1.7976931348623157e308 : -1.7976931348623157e308; }
static double edge(size_t i, rand_state *r) { return 9007199254740991.0 - (double)(i % 3); }
static double sum(size_t i, rand_state *r) { return 1e5 * sqrt((double)i + rand_double(r)); }
static double sparse(size_t i, rand_state *r) { return rand_below(r, 100) == 0 ? 17 : 3; }

static const struct { const char *what; double (*make)(size_t, rand_state *); double most_bytes; } rows[] = {
    /* bytes a sample in a full column; 0: any */
    { "a constant takes nearly nothing", constant, 0.02 },
    { "a counter takes the noise of its steps", counter, 1.35 },
    { "seconds with two decimals too", seconds, 1.2 },
    { "rare steps are patches", steps, 0.15 },
    { "a shared factor is taken out", pages, 1.5 },
    { "noise in full precision", noise, 7.0 },
    { "singles among doubles leave the low bits out", small, 3.6 },
    { "any bits come back", chaos, 8.2 },
    { "a reset is a patch", reset, 0.1 },
    { "stale markers stand apart", stale, 0 },
    { "only stale markers", nothing, 0.1 },
    { "both zeros", zeros, 0 },
    { "both infinities", infinite, 0 },
    { "a NaN keeps its payload", payload, 0 },
    { "subnormal values", tiny, 0 },
    { "the largest values of both signs", huge, 0 },
    { "whole numbers at the edge of 2^53", edge, 0 },
    { "a running sum of doubles", sum, 0 },
    { "rare values around one", sparse, 0.25 },
};

TEST(column_gives_back_every_bit)
{
    for (size_t row = 0; row < COUNT_OF(rows); row++)
        for (size_t n = 1; n <= N; n += n < 70 ? 1 : n < N - 1 ? (N - 1 - n < 61 ? N - 1 - n : 61) : 1) {
            double v[N], got[N];
            rand_state r = rand_seeded(row * 1000 + n);
            AUTO(buf_done) buf out = BUF_INIT(1u << 20);
            for (size_t i = 0; i < n; i++)
                v[i] = rows[row].make(i, &r);
            column_put_values(&out, v, n);
            CHECK_MSG(!buf_failed(&out) && column_values(buf_str(&out), n, got), "%s, %zu values", rows[row].what, n);
            CHECK_MSG(memcmp(v, got, n * sizeof *v) == 0, "%s, %zu values", rows[row].what, n);
            if (n == 512 && rows[row].most_bytes > 0)
                CHECK_MSG((double)out.len / 512 <= rows[row].most_bytes, "%s: %.3f bytes a sample", rows[row].what, (double)out.len / 512);
        }
}

TEST(column_keeps_times)
{
    static const int64_t starts[] = { 0, 1700000000000, -(INT64_C(1) << 53), INT64_MIN, INT64_MAX - 512 * 15000 };
    for (size_t s = 0; s < COUNT_OF(starts); s++)
        for (int jitter = 0; jitter < 3; jitter++) {
            int64_t t[N], got[N];
            rand_state r = rand_seeded(s);
            AUTO(buf_done) buf out = BUF_INIT(1u << 20);
            for (size_t i = 0; i < N; i++)
                t[i] = starts[s] + (int64_t)i * 15000 + (jitter == 1 ? (int64_t)rand_below(&r, 5) : jitter == 2 ? (int64_t)rand_below(&r, 9000) : 0);
            column_put_times(&out, t, N);
            CHECK(column_times(buf_str(&out), N, got));
            CHECK(memcmp(t, got, sizeof t) == 0);
            if (jitter == 0) /* a grid is where it starts and its step */
                CHECK(out.len <= 18);
        }
}

/* One code may become longer than it may be: weights as the Fibonacci numbers make the deepest tree. */
TEST(column_limits_the_length_of_codes)
{
    double v[N], got[N];
    size_t n = 0;
    for (uint64_t a = 1, b = 1, value = 0; n < N; value++) {
        for (uint64_t i = 0; i < a && n < N; i++)
            v[n++] = (double)(value * value);
        uint64_t next = a + b;
        a = b;
        b = next;
    }
    rand_state r = rand_seeded(3);
    for (size_t i = N; i-- > 1;) {
        size_t j = (size_t)rand_below(&r, i + 1);
        double x = v[i];
        v[i] = v[j];
        v[j] = x;
    }
    AUTO(buf_done) buf out = BUF_INIT(1u << 20);
    column_put_values(&out, v, N);
    CHECK(column_values(buf_str(&out), N, got));
    CHECK(memcmp(v, got, sizeof v) == 0);
}

TEST(column_refuses_what_is_cut)
{
    double v[N], got[N];
    rand_state r = rand_seeded(1);
    AUTO(buf_done) buf out = BUF_INIT(1u << 20);
    for (size_t i = 0; i < N; i++)
        v[i] = counter(i, &r);
    column_put_values(&out, v, N);
    for (size_t len = 0; len < out.len; len++) { /* the buffer's own padding is the slack */
        char *cut = mem_zalloc(len + COLUMN_SLACK_BYTES);
        memcpy(cut, out.ptr, len);
        CHECK_MSG(!column_values(str_of(cut, len), N, got), "cut to %zu of %zu bytes", len, out.len);
        mem_free(cut);
    }
    CHECK(!column_values(buf_str(&out), 0, got));
    CHECK(!column_values(buf_str(&out), COLUMN_MAX + 1, got));
}

TEST(column_survives_any_changed_byte)
{
    static double (*const makers[])(size_t, rand_state *) = { counter, stale, noise, steps, payload };
    for (size_t m = 0; m < COUNT_OF(makers); m++) {
        double v[N], got[N];
        rand_state r = rand_seeded(m);
        AUTO(buf_done) buf out = BUF_INIT(1u << 20);
        for (size_t i = 0; i < N; i++)
            v[i] = makers[m](i, &r);
        column_put_values(&out, v, N);
        for (size_t i = 0; i < out.len; i++)
            for (int change = 1; change < 256; change *= 2) {
                out.ptr[i] ^= (char)change;
                (void)!column_values(buf_str(&out), N, got);
                out.ptr[i] ^= (char)change;
            }
    }
}
