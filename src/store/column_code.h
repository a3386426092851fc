/* store/column_code.h - what a column's writer and its reader share: the format's numbers (docs/formats/column.md), the
 * Huffman code of tops, doubles as whole numbers. Of column_encode.c and column_decode.c only. */
#pragma once
#include "store/column.h"

enum { PREDICT_FIRST, PREDICT_BEFORE, PREDICT_LINE };

/* First byte of the whole numbers. */
#define INTS_PREDICTOR 0x03u
#define INTS_PATCHES 0x04u
#define INTS_TOPS 0x08u
#define INTS_FACTOR 0x10u
#define INTS_EQUAL 0x20u      /* all are as the first */
#define INTS_KNOWN 0x3fu
/* First byte of a column of values: the power of ten, or … */
#define VALUES_POWER 0x0fu
#define VALUES_ORDERED 0x10u  /* … bits in order */
#define VALUES_APART 0x20u    /* some values are kept apart */
#define VALUES_KNOWN 0x3fu

#define POWER_MAX 15u
#define CODE_MAX_BITS 10u     /* of a Huffman code: five fit a refill of 57 bits, a table is 2 KiB */
#define CLASS_MAX 128u        /* distinct tops */
#define STREAMS 4u
#define STREAMED_FROM 64u     /* fewer residuals take one stream */
#define LOW_MAX_BITS 56u      /* more are stored as 64: an unaligned load gives 57 */

static const double column_powers[POWER_MAX + 1] = { 1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15 };

static inline unsigned bit_length(uint64_t v) { return v ? 64u - (unsigned)__builtin_clzll(v) : 0; }
static inline uint64_t low_mask(unsigned bits) { return bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1; }

static inline uint64_t double_bits(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static inline double bits_double(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* The bits of doubles such that larger values are larger numbers; its own inverse. */
static inline int64_t ordered(uint64_t bits) { return (int64_t)(bits ^ ((uint64_t)((int64_t)bits >> 63) >> 1)); }

/* ---- Huffman codes of at most CODE_MAX_BITS ---- */

typedef struct code { uint16_t bits; uint8_t len; } code;

/* Codes from their lengths, shorter first, then by number. False: the lengths are no complete code. */
CHECKED bool column_code_assign(const uint8_t *lens, unsigned n, code *ret);
/* Lengths of a code for symbols counted in `counts`, at most CLASS_MAX, of which at least two occur. */
void column_code_lengths(const uint32_t *counts, unsigned n, uint8_t *ret);
