#include "base/test.h"
#include "query/functions/functions.h"
#include "query/functions/slide.h"
#include <stdlib.h>

#define SAMPLES 300
#define STEPS 70

static const struct { const char *name; window_fn over; } quick[] = {
    { "rate", over_rate },     { "increase", over_increase }, { "delta", over_delta },     { "sum", over_sum },
    { "avg", over_avg },       { "stddev", over_stddev },     { "stdvar", over_stdvar },   { "min", over_min },
    { "max", over_max },       { "count", over_count },       { "last", over_last },       { "first", over_first },
    { "changes", over_changes }, { "resets", over_resets },   { "present", over_present },
};

/* ---- series of every kind that has a rule of its own ---- */

static unsigned pick(unsigned n) { return (unsigned)rand() % n; }
static double fraction(void) { return (double)rand() / RAND_MAX; }

static double number_of(int kind, double before)
{
    static const double odd[] = { NAN, INFINITY, -INFINITY, -0.0, 0, 1.7e308, -1.7e308, 5e-324, 0x1p53, 1e-300 };
    switch (kind) {
    case 0: return pick(20) ? before + pick(1000) : pick(10);          /* a counter of whole numbers that restarts */
    case 1: return pick(30) ? before + fraction() : fraction();        /* the same with fractions */
    case 2: return fraction() * pow(10, (int)pick(30) - 15) - 0.1;     /* magnitudes that need compensation */
    case 3: return pick(5) ? 3 : 1.5;                                  /* nearly constant */
    case 4: return pick(6) ? (double)pick(100) - 50 : odd[pick(COUNT_OF(odd))];
    case 5: return odd[pick(COUNT_OF(odd))];
    case 6: return (double)pick(1000) * 0x1p43;                        /* whole, but too large for exact sums */
    default: return NAN;
    }
}
#define KINDS 8

static size_t fill(sample *at, double *values, int kind)
{
    int64_t t_ms = pick(1000);
    bool regular = pick(2);
    double v = 0;
    size_t n = pick(SAMPLES) + 1;
    for (size_t i = 0; i < n; i++) {
        t_ms += regular ? (pick(50) ? 15000 : 90000) : 1 + pick(40000);
        v = number_of(kind, isfinite(v) ? v : 0);
        at[i] = (sample){ t_ms, v };
        values[i] = v;
    }
    return n;
}

static bool same(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* What range.c does window by window, in the plainest way. */
static void check_function(const windows *w, size_t f, const uint32_t *resets, int kind)
{
    double slots[STEPS], scratch[SAMPLES];
    bool any = false;
    for (size_t i = 0; i < w->steps; i++)
        slots[i] = 42;
    bool said = slide_find(quick[f].over)(w, slots);
    for (size_t i = 0; i < w->steps; i++) {
        int64_t end_ms = w->end_ms + (int64_t)i * w->step_ms;
        size_t low = 0, high = 0;
        double want = 42;
        while (high < w->len && w->at[high].t_ms <= end_ms)
            high++;
        while (low < high && w->at[low].t_ms <= end_ms - w->range_ms)
            low++;
        window one = { .at = w->at + low, .len = high - low, .resets = resets + low, .start_ms = end_ms - w->range_ms,
                       .end_ms = end_ms, .range_s = (double)w->range_ms / 1e3, .scratch = scratch };
        any |= high > low && quick[f].over(&one, &want);
        CHECK_MSG(same(slots[i], want), "%s of kind %d, step %zu, %zu samples: %.17g, want %.17g", quick[f].name, kind, i, high - low, slots[i], want);
    }
    CHECK_EQ(said, any);
}

TEST(slide_says_what_each_window_says)
{
    sample at[SAMPLES];
    double values[SAMPLES], room[SAMPLES + 1];
    uint32_t resets[SAMPLES], borders[2 * STEPS];
    srand(7);
    for (int round_number = 0; round_number < 800; round_number++) {
        int kind = round_number % KINDS;
        windows w = { .at = at, .values = values, .room = room, .len = fill(at, values, kind), .steps = pick(STEPS) + 1 };
        for (size_t i = 0; i < w.len; i++)
            resets[i] = i == 0 ? 0 : resets[i - 1] + (values[i] < values[i - 1]);
        w.step_ms = pick(8) ? (pick(2) ? 60000 : 1 + pick(200000)) : 0;
        w.range_ms = 1 + (pick(2) ? 300000 : pick(3000000));
        w.end_ms = (int64_t)pick(2000000) - 100000;
        windows_find(&w, borders, borders + w.steps);
        for (size_t f = 0; f < COUNT_OF(quick); f++)
            check_function(&w, f, resets, kind);
    }
}

TEST(slide_leaves_the_others_to_their_windows)
{
    CHECK(slide_find(over_quantile) == NULL);
    CHECK(slide_find(over_predict_linear) == NULL);
}
