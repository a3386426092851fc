#include "store/histogram_chunk.h"
#include "base/rand.h"
#include "base/test.h"
#include <math.h>

enum { BUCKETS_MAX = 12 };
typedef struct made { histogram h; histogram_span spans[2][3]; double buckets[2][BUCKETS_MAX], bounds[4]; } made;

static double next_count(rand_state *r, bool whole, double before)
{
    if (!whole)
        return before + rand_double(r) * 10;
    return rand_below(r, 10) ? before + (double)rand_below(r, 100) : (double)rand_below(r, 5); /* sometimes a reset */
}

/* Like the one before, mostly: same layout, counts that grow. */
static void make(rand_state *r, made *m, const made *before)
{
    bool fresh = !before || rand_below(r, 8) == 0, whole = rand_below(r, 10) > 0;
    *m = fresh ? (made){ .h = { .schema = (int8_t)rand_below(r, 9), .zero_threshold = 0.001 } } : *before;
    histogram_side *sides[] = { &m->h.positive, &m->h.negative };
    for (int s = 0; s < 2; s++) {
        if (fresh) {
            uint32_t n = (uint32_t)rand_below(r, 4);
            sides[s]->span_count = n;
            sides[s]->bucket_count = 0;
            for (uint32_t i = 0; i < n; i++) {
                m->spans[s][i] = (histogram_span){ (int32_t)rand_below(r, 9) - (i ? 0 : 4), (uint32_t)rand_below(r, 4) };
                sides[s]->bucket_count += m->spans[s][i].length;
            }
        }
        sides[s]->spans = m->spans[s];
        sides[s]->buckets = m->buckets[s];
        for (uint32_t i = 0; i < sides[s]->bucket_count; i++)
            m->buckets[s][i] = next_count(r, whole, whole ? floor(m->buckets[s][i]) : m->buckets[s][i]);
    }
    m->h.count = next_count(r, whole, floor(m->h.count));
    m->h.zero_count = next_count(r, whole, floor(m->h.zero_count));
    m->h.sum += rand_double(r) - 0.2;
    m->h.integer = whole;
    m->h.reset = (uint8_t)rand_below(r, 4);
    m->h.bounds = m->bounds;
}

static void check_same(const histogram *got, const histogram *want)
{
    CHECK(histogram_eq(got, want));
    CHECK_EQ(got->reset, want->reset);
    CHECK_EQ(got->integer, want->integer);
}

TEST(histogram_chunk_round_trips_whatever_it_is_given)
{
    enum { N = 40 };
    for (uint64_t seed = 1; seed <= 200; seed++) {
        rand_state r = rand_seeded(seed);
        made m[N];
        histogram_sample at[N];
        int64_t t_ms = (int64_t)rand_below(&r, 2000000000000) - 1000;
        for (int i = 0; i < N; i++) {
            make(&r, &m[i], i ? &m[i - 1] : NULL);
            histogram_side *sides[] = { &m[i].h.positive, &m[i].h.negative };
            for (int s = 0; s < 2; s++) {
                sides[s]->spans = m[i].spans[s];
                sides[s]->buckets = m[i].buckets[s];
            }
            m[i].h.bounds = m[i].bounds;
            at[i] = (histogram_sample){ t_ms, &m[i].h };
            t_ms += 1 + (int64_t)rand_below(&r, 100000);
        }
        chunk *c;
        CHECK_EQ(histogram_chunk_of(at, N, &c), OK);
        CHECK_EQ(c->min_t_ms, at[0].t_ms);
        CHECK_EQ(c->max_t_ms, at[N - 1].t_ms);
        arena a = ARENA_INIT(16u << 20);
        histogram_vec got = { 0 };
        CHECK_EQ(histogram_chunk_decode(chunk_bytes(c), c->count, INT64_MIN, INT64_MAX, &a, &got), OK);
        CHECK_EQ(got.len, N);
        for (int i = 0; i < N; i++) {
            CHECK_EQ(got.at[i].t_ms, at[i].t_ms);
            check_same(got.at[i].h, at[i].h);
        }
        vec_clear(&got);
        CHECK_EQ(histogram_chunk_decode(chunk_bytes(c), c->count, at[3].t_ms, at[5].t_ms, &a, &got), OK);
        CHECK_EQ(got.len, 3);
        check_same(got.at[0].h, at[3].h);
        vec_done(&got);
        arena_done(&a);
        chunk_unref(c);
    }
}

static histogram_span two[] = { { -1, 2 }, { 3, 1 } };
static double counts[] = { 3, 0, 7 };
static const double bounds[] = { 0.1, 1, 10 };

TEST(histogram_chunk_tells_its_layout_once)
{
    enum { N = 100 };
    histogram h = { .schema = 3, .zero_threshold = 1e-128, .zero_count = 1, .count = 11, .sum = 5, .positive = { two, 2, counts, 3 } };
    histogram_sample at[N];
    for (int i = 0; i < N; i++)
        at[i] = (histogram_sample){ 15000 * i, &h };
    chunk *c;
    CHECK_EQ(histogram_chunk_of(at, N, &c), OK);
    CHECK_MSG(c->size < 9 * N, "the same histogram again takes %u bytes for %d", c->size, N);
    chunk_unref(c);
}

TEST(histogram_chunk_decode_survives_every_cut_and_every_flipped_bit)
{
    histogram h[3] = {
        { .schema = 3, .zero_threshold = 0.5, .zero_count = 1, .count = 11, .sum = 5, .positive = { two, 2, counts, 3 }, .negative = { two, 2, counts, 3 } },
        { .schema = HISTOGRAM_CUSTOM, .count = 11.5, .sum = stale_nan(), .positive = { two, 2, counts, 3 }, .bounds = bounds, .bound_count = 3 },
    };
    h[2] = h[1];
    histogram_sample at[] = { { 1000, &h[0] }, { 2000, &h[1] }, { 3000, &h[2] } };
    chunk *c;
    CHECK_EQ(histogram_chunk_of(at, COUNT_OF(at), &c), OK);
    str whole = chunk_bytes(c);
    for (size_t len = 0; len < whole.len; len++) {
        arena a = ARENA_INIT(1u << 20);
        histogram_vec out = { 0 };
        char *cut = mem_dup(whole.ptr, len); /* on the heap, so that the sanitizer sees a read too far */
        CHECK_EQ(histogram_chunk_decode(str_of(cut, len), 3, INT64_MIN, INT64_MAX, &a, &out), ERR_CORRUPT);
        mem_free(cut);
        vec_done(&out);
        arena_done(&a);
    }
    char *bytes = mem_dup(whole.ptr, whole.len);
    for (size_t bit = 0; bit < whole.len * 8; bit++) {
        arena a = ARENA_INIT(1u << 20);
        histogram_vec out = { 0 };
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        err_kind k = histogram_chunk_decode(str_of(bytes, whole.len), 3, INT64_MIN, INT64_MAX, &a, &out);
        CHECK(k == OK || k == ERR_CORRUPT || k == ERR_NOMEM);
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        vec_done(&out);
        arena_done(&a);
    }
    mem_free(bytes);
    chunk_unref(c);
}
