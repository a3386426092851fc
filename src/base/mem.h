/* base/mem.h - the only door to the heap, so that tests can make the n-th allocation fail.
 *
 * All code of the house allocates through these. They never abort: NULL means "no memory" and becomes
 * ERR_NOMEM at the caller. Libraries (libcurl, SQLite, simdjson …) use their own allocators. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

void *mem_alloc(size_t size);                      /* uninitialised */
void *mem_zalloc(size_t size);                     /* zeroed */
void *mem_calloc(size_t count, size_t size);       /* zeroed; NULL if count * size overflows */
void *mem_realloc(void *ptr, size_t size);         /* on NULL the old block still stands */
void *mem_dup(const void *ptr, size_t size);
void mem_free(void *ptr);                          /* NULL is fine */
void mem_freep(void *ptr_to_ptr);                  /* for AUTO(mem_freep) char *p: frees *p */

/* Fault injection. Only builds with -Dfaults=true look at it; elsewhere fault_alloc does nothing and
 * fault_fired() is always false, so a fault loop ends after its first round.
 *
 *     for (unsigned nth = 0;; nth++) {
 *         fault_alloc(nth);                  // the nth allocation from here on fails, once
 *         … call, check, free …
 *         if (!fault_fired()) break;         // also disarms
 *     }
 *
 * The counter is per thread. */
void fault_alloc(unsigned nth);
bool fault_fired(void);

/* The same for file writes (base/file.h): the nth write-like call fails with `how`. */
typedef enum fault_write_kind { FAULT_EIO, FAULT_ENOSPC, FAULT_SHORT_WRITE } fault_write_kind;
void fault_write(unsigned nth, fault_write_kind how);
bool fault_write_fired(void);

/* For base/file.c: should this write-like call fail? Counts down; *ret_how is written on true. */
bool fault_write_due(fault_write_kind *ret_how);
