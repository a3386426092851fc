/* base/hash.h - hashes: XXH3 (seeded, for tables), XXH64-free checksums for files (XXH3), BLAKE2b for the chain. */
#pragma once
#include "base/base.h"

uint64_t hash_bytes(const void *bytes, size_t n, uint64_t seed); /* XXH3-64 */
/* 128 bits with a secret that this process drew: equal bytes only, as far as anybody outside can tell. Not for files. */
typedef struct hash_wide { uint64_t low, high; } hash_wide;
hash_wide hash_bytes_wide(const void *bytes, size_t n);
uint64_t hash_xxh64(const void *bytes, size_t n);                /* XXH64, seed 0: where others' hashes have to be met */
static inline uint64_t hash_str(str s, uint64_t seed) { return hash_bytes(s.ptr, s.len, seed); }

#define HASH_CHAIN_BYTES 32
typedef struct hash_chain { uint8_t bytes[HASH_CHAIN_BYTES]; } hash_chain;
/* BLAKE2b-256 of `n` parts one after another (libsodium). */
hash_chain hash_blake2b(const str *parts, size_t n);
void hash_hex(char out[2 * HASH_CHAIN_BYTES + 1], const hash_chain *h);
bool hash_parse_hex(str hex, hash_chain *ret);

/* Binary to base64url without padding (tokens). */
void hash_base64url(buf *out, const void *bytes, size_t n);

/* CRC-32C (Castagnoli), as Prometheus's files, snappy's frames and iSCSI (RFC 3720, appendix B.4) use it. */
uint32_t hash_crc32c(const void *bytes, size_t n);
