#include "base/hash.h"
#include "base/rand.h"
#include <pthread.h>
#include <sodium.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash_xxh64(const void *bytes, size_t n)
{
    return XXH64(bytes, n, 0);
}

uint64_t hash_bytes(const void *bytes, size_t n, uint64_t seed) { return XXH3_64bits_withSeed(n ? bytes : "", n, seed); }

static unsigned char wide_secret[XXH3_SECRET_DEFAULT_SIZE];
static void draw_secret(void) { rand_secret(wide_secret, sizeof wide_secret); }

hash_wide hash_bytes_wide(const void *bytes, size_t n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, draw_secret);
    XXH128_hash_t h = XXH3_128bits_withSecret(n ? bytes : "", n, wide_secret, sizeof wide_secret);
    return (hash_wide){ h.low64, h.high64 };
}

hash_chain hash_blake2b(const str *parts, size_t n)
{
    hash_chain out;
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, sizeof out.bytes);
    for (size_t i = 0; i < n; i++)
        crypto_generichash_update(&state, (const unsigned char *)parts[i].ptr, parts[i].len);
    crypto_generichash_final(&state, out.bytes, sizeof out.bytes);
    return out;
}

void hash_hex(char out[2 * HASH_CHAIN_BYTES + 1], const hash_chain *h)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < HASH_CHAIN_BYTES; i++) {
        out[2 * i] = digits[h->bytes[i] >> 4];
        out[2 * i + 1] = digits[h->bytes[i] & 15];
    }
    out[2 * HASH_CHAIN_BYTES] = '\0';
}

bool hash_parse_hex(str hex, hash_chain *ret)
{
    if (hex.len != 2 * HASH_CHAIN_BYTES)
        return false;
    hash_chain h;
    for (size_t i = 0; i < HASH_CHAIN_BYTES; i++) {
        int high = hex_digit(hex.ptr[2 * i]), low = hex_digit(hex.ptr[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        h.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret = h;
    return true;
}

void hash_base64url(buf *out, const void *bytes, size_t n)
{
    size_t max = sodium_base64_encoded_len(n, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *room = buf_reserve(out, max);
    if (!room)
        return;
    sodium_bin2base64(room, max, bytes, n, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    buf_commit(out, max - 1); /* without the NUL */
}

/* ---- CRC-32C ---- */

/* Eight tables, so that a step takes eight bytes: M. Kounavis and F. Berry, "A Systematic Approach to Building High
 * Performance Software-based CRC Generators", ISCC 2005. */
static uint32_t crc_tables[8][256];

__attribute__((constructor)) static void crc_tables_fill(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c >> 1 ^ (c & 1 ? UINT32_C(0x82f63b78) : 0);
        crc_tables[0][i] = c;
    }
    for (size_t t = 1; t < 8; t++)
        for (size_t i = 0; i < 256; i++)
            crc_tables[t][i] = crc_tables[t - 1][i] >> 8 ^ crc_tables[0][crc_tables[t - 1][i] & 0xff];
}

uint32_t hash_crc32c(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint32_t c = UINT32_MAX;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        word ^= c; /* little endian, as every machine galen runs on */
        c = 0;
        for (int i = 0; i < 8; i++)
            c ^= crc_tables[7 - i][word >> 8 * i & 0xff];
    }
    for (; n > 0; n--, p++)
        c = c >> 8 ^ crc_tables[0][(c ^ *p) & 0xff];
    return ~c;
}
