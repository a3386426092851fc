#include "base/arena.h"
#include "base/base.h"
#include <stdio.h>

#define ARENA_ALIGN 16
#define ARENA_FIRST_BLOCK 4096
#define ARENA_LAST_DOUBLING (1u << 20)

typedef struct arena_block {
    struct arena_block *older;
    size_t size, used;
    _Alignas(ARENA_ALIGN) char bytes[];
} arena_block;

/* Blocks double from 4 KiB to 1 MiB; a larger request gets a block of its own size. */
static arena_block *add_block(arena *a, size_t size)
{
    size_t usual = a->block ? MIN(a->block->size * 2, (size_t)ARENA_LAST_DOUBLING) : ARENA_FIRST_BLOCK;
    size_t want = MAX(size, usual);
    if (want > a->max_bytes - a->used_bytes)
        want = size;
    if (size > a->max_bytes - a->used_bytes)
        return NULL;
    arena_block *b = mem_alloc(sizeof *b + want);
    if (!b)
        return NULL;
    *b = (arena_block){ .older = a->block, .size = want };
    a->block = b;
    a->used_bytes += want;
    return b;
}

void *arena_alloc(arena *a, size_t size)
{
    if (size > SIZE_MAX - ARENA_ALIGN)
        return NULL;
    size = (MAX(size, 1) + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    arena_block *b = a->block;
    if (!b || size > b->size - b->used)
        b = add_block(a, size);
    if (!b)
        return NULL;
    void *ptr = b->bytes + b->used;
    b->used += size;
    return memset(ptr, 0, size);
}

void *arena_alloc_array(arena *a, size_t n, size_t size)
{
    return size != 0 && n > SIZE_MAX / size ? NULL : arena_alloc(a, n * size);
}

void *arena_dup(arena *a, const void *ptr, size_t size)
{
    void *copy = arena_alloc(a, size);
    if (copy && size)
        memcpy(copy, ptr, size);
    return copy;
}

str arena_str(arena *a, str s)
{
    char *copy = arena_alloc(a, s.len + 1);
    if (!copy)
        return STR_EMPTY;
    if (s.len)
        memcpy(copy, s.ptr, s.len);
    return (str){ copy, s.len };
}

char *arena_cstr(arena *a, str s) { return (char *)arena_str(a, s).ptr; }

str arena_printf(arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    char *text = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);
    return text ? (str){ text, (size_t)n } : STR_EMPTY;
}

void arena_reset(arena *a)
{
    arena_block *keep = a->block;
    if (!keep)
        return;
    for (arena_block *b = keep->older; b;) {
        arena_block *older = b->older;
        mem_free(b);
        b = older;
    }
    keep->older = NULL;
    keep->used = 0;
    a->used_bytes = keep->size;
}

void arena_done(arena *a)
{
    for (arena_block *b = a->block; b;) {
        arena_block *older = b->older;
        mem_free(b);
        b = older;
    }
    a->block = NULL;
    a->used_bytes = 0;
}
