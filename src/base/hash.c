#include "base/hash.h"
#include <sodium.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash_bytes(const void *bytes, size_t n, uint64_t seed) { return XXH3_64bits_withSeed(n ? bytes : "", n, seed); }

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

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool hash_parse_hex(str hex, hash_chain *ret)
{
    if (hex.len != 2 * HASH_CHAIN_BYTES)
        return false;
    hash_chain h;
    for (size_t i = 0; i < HASH_CHAIN_BYTES; i++) {
        int high = hex_value(hex.ptr[2 * i]), low = hex_value(hex.ptr[2 * i + 1]);
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
