/* base/arena.h - things that live and die together: bump allocation, freed at once.
 *
 * Lifetimes of the house are named in ARCHITECTURE.md (process > config generation > query | scrape |
 * request); each has its arena. Memory is handed out 16-byte aligned and zeroed. Not thread-safe. */
#pragma once
#include "base/err.h"
#include "base/str.h"
#include <stdarg.h>

typedef struct arena {
    struct arena_block *block; /* newest first */
    size_t used_bytes, max_bytes;
} arena;

#define ARENA_INIT(max) { .max_bytes = (max) }
static inline arena arena_init(size_t max_bytes) { return (arena)ARENA_INIT(max_bytes); }

void *arena_alloc(arena *a, size_t size);  /* zeroed; NULL when max_bytes or memory is exhausted */
void *arena_dup(arena *a, const void *ptr, size_t size);
str arena_str(arena *a, str s);            /* copy, NUL-terminated behind its length; ptr NULL on failure */
char *arena_cstr(arena *a, str s);         /* the same as a C string */
str arena_printf(arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3); /* ptr NULL on failure */
void arena_reset(arena *a);                /* everything in it dies; keeps one block for reuse */
void arena_done(arena *a);                 /* and gives the memory back */
#define arena_new(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define arena_array(a, type, n) ((type *)arena_alloc_array((a), (n), sizeof(type)))
void *arena_alloc_array(arena *a, size_t n, size_t size); /* NULL also when n * size overflows */
