#include "store/column_code.h"
#include <stdlib.h>

/* Bits are written lowest first, so a code stands in the stream in the order it is decided. */
static uint16_t reversed(uint32_t v, unsigned n)
{
    uint32_t r = 0;
    for (unsigned i = 0; i < n; i++)
        r |= (v >> i & 1) << (n - 1 - i);
    return (uint16_t)r;
}

bool column_code_assign(const uint8_t *lens, unsigned n, code *ret)
{
    unsigned count[CODE_MAX_BITS + 1] = { 0 };
    uint32_t next[CODE_MAX_BITS + 2] = { 0 }, room = 0;
    for (unsigned i = 0; i < n; i++) {
        if (lens[i] > CODE_MAX_BITS)
            return false;
        count[lens[i]]++;
        room += lens[i] ? 1u << (CODE_MAX_BITS - lens[i]) : 0;
    }
    if (room != 1u << CODE_MAX_BITS)
        return false;
    for (unsigned len = 1; len <= CODE_MAX_BITS; len++)
        next[len + 1] = (next[len] + count[len]) << 1;
    for (unsigned i = 0; i < n; i++)
        ret[i] = (code){ lens[i] ? reversed(next[lens[i]]++, lens[i]) : 0, lens[i] };
    return true;
}

typedef struct leaf { uint32_t weight; uint16_t symbol; } leaf;

static int by_weight(const void *va, const void *vb)
{
    const leaf *a = va, *b = vb;
    return a->weight != b->weight ? (a->weight < b->weight ? -1 : 1) : (int)a->symbol - (int)b->symbol;
}

/* Depths of a Huffman tree over leaves sorted by weight: two queues (van Leeuwen, 1976). */
static void tree_depths(const leaf *leaves, unsigned n, uint8_t *depth)
{
    uint32_t weight[2 * CLASS_MAX];
    uint16_t parent[2 * CLASS_MAX];
    unsigned at = 0, inner = n, nodes = n;
    for (unsigned i = 0; i < n; i++)
        weight[i] = leaves[i].weight;
    for (; nodes < 2 * n - 1; nodes++) {
        weight[nodes] = 0;
        for (int child = 0; child < 2; child++) {
            unsigned take = at < n && (inner == nodes || weight[at] <= weight[inner]) ? at++ : inner++;
            weight[nodes] += weight[take];
            parent[take] = (uint16_t)nodes;
        }
    }
    uint8_t level[2 * CLASS_MAX];
    level[nodes - 1] = 0;
    for (unsigned i = nodes - 1; i-- > 0;)
        level[i] = (uint8_t)(level[parent[i]] + 1);
    memcpy(depth, level, n);
}

/* Too long codes are cut and the room they took too much is had back from the rarest of the others. */
static void limit_depths(uint8_t *depth, unsigned n)
{
    int64_t over = -(INT64_C(1) << CODE_MAX_BITS);
    for (unsigned i = 0; i < n; i++) {
        depth[i] = MIN(depth[i], (uint8_t)CODE_MAX_BITS);
        over += INT64_C(1) << (CODE_MAX_BITS - depth[i]);
    }
    for (unsigned i = 0; over > 0; i = i + 1 == n ? 0 : i + 1)
        if (depth[i] < CODE_MAX_BITS) {
            over -= INT64_C(1) << (CODE_MAX_BITS - depth[i] - 1);
            depth[i]++;
        }
    for (unsigned i = n; over < 0 && i-- > 0;) /* what is now free goes to the most frequent that it fits */
        while (depth[i] > 1 && (INT64_C(1) << (CODE_MAX_BITS - depth[i])) <= -over) {
            over += INT64_C(1) << (CODE_MAX_BITS - depth[i]);
            depth[i]--;
        }
}

void column_code_lengths(const uint32_t *counts, unsigned n, uint8_t *ret)
{
    leaf leaves[CLASS_MAX];
    uint8_t depth[CLASS_MAX];
    unsigned used = 0;
    for (unsigned i = 0; i < n; i++)
        if (counts[i])
            leaves[used++] = (leaf){ counts[i], (uint16_t)i };
    qsort(leaves, used, sizeof *leaves, by_weight);
    tree_depths(leaves, used, depth);
    limit_depths(depth, used);
    memset(ret, 0, n);
    for (unsigned i = 0; i < used; i++)
        ret[leaves[i].symbol] = depth[i];
}
