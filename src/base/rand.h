/* base/rand.h - randomness: secrets from the kernel, jitter and tests from a seeded generator. */
#pragma once
#include "base/base.h"

void rand_secret(void *out, size_t n);                     /* getrandom(2); aborts if the kernel has none */

typedef struct rand_state { uint64_t s[4]; } rand_state;   /* xoshiro256** (Blackman, Vigna 2018) */
rand_state rand_seeded(uint64_t seed);
uint64_t rand_u64(rand_state *r);
uint64_t rand_below(rand_state *r, uint64_t n);            /* 0..n-1, unbiased */
double rand_double(rand_state *r);                         /* 0 <= x < 1 */
