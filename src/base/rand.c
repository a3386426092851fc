#include "base/rand.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void rand_secret(void *out, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = getrandom((char *)out + done, n - done, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            abort(); /* no kernel since 3.17 lacks it; going on without randomness would be worse */
        done += (size_t)got;
    }
}

/* splitmix64, to spread one word over the state as the authors of xoshiro advise. */
static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

rand_state rand_seeded(uint64_t seed)
{
    rand_state r;
    for (size_t i = 0; i < COUNT_OF(r.s); i++)
        r.s[i] = splitmix(&seed);
    return r;
}

static uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

uint64_t rand_u64(rand_state *r)
{
    uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rand_below(rand_state *r, uint64_t n)
{
    if (n == 0)
        return 0;
    uint64_t reject = (0 - n) % n; /* 2^64 mod n: values below it would favour small results */
    for (;;) {
        uint64_t x = rand_u64(r);
        if (x >= reject)
            return x % n;
    }
}

double rand_double(rand_state *r) { return (double)(rand_u64(r) >> 11) * 0x1p-53; }
