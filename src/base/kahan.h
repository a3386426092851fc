/* base/kahan.h - sums that keep the small digits: Neumaier 1974, in the very order Prometheus does it (util/kahansum). */
#pragma once
#include <math.h>

typedef struct kahan { double sum, c; } kahan;

static inline void kahan_add(kahan *k, double inc)
{
    double t = k->sum + inc;
    if (isinf(t))
        k->c = 0;
    else if (fabs(k->sum) >= fabs(inc))
        k->c += (k->sum - t) + inc;
    else
        k->c += (inc - t) + k->sum;
    k->sum = t;
}
static inline double kahan_value(const kahan *k) { return k->sum + k->c; }
