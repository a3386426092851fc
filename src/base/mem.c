#include "base/mem.h"
#include "base/base.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef GALEN_FAULTS
/* -1: not armed. Otherwise the number of calls that still succeed. */
static _Thread_local long alloc_left = -1, write_left = -1;
static _Thread_local bool alloc_fired, write_fired;
static _Thread_local fault_write_kind write_how;

static bool alloc_due(void)
{
    if (alloc_left < 0)
        return false;
    if (alloc_left-- > 0)
        return false;
    alloc_fired = true; /* alloc_left is now -1: one failure only */
    return true;
}

void fault_alloc(unsigned nth)
{
    alloc_left = nth;
    alloc_fired = false;
}

bool fault_fired(void)
{
    alloc_left = -1;
    return alloc_fired;
}

void fault_write(unsigned nth, fault_write_kind how)
{
    write_left = nth;
    write_how = how;
    write_fired = false;
}

bool fault_write_fired(void)
{
    write_left = -1;
    return write_fired;
}

bool fault_write_due(fault_write_kind *ret_how)
{
    if (write_left < 0)
        return false;
    if (write_left-- > 0)
        return false;
    write_fired = true;
    *ret_how = write_how;
    return true;
}
#else
static bool alloc_due(void) { return false; }
void fault_alloc(unsigned nth) { (void)nth; }
bool fault_fired(void) { return false; }
void fault_write(unsigned nth, fault_write_kind how) { (void)nth, (void)how; }
bool fault_write_fired(void) { return false; }
bool fault_write_due(fault_write_kind *ret_how) { return (void)ret_how, false; }
#endif

/* malloc(0) may answer NULL, which would read as "no memory": ask for one byte instead. */
void *mem_alloc(size_t size) { return alloc_due() ? NULL : malloc(size ? size : 1); }
void *mem_zalloc(size_t size) { return alloc_due() ? NULL : calloc(1, size ? size : 1); }

void *mem_calloc(size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size)
        return NULL;
    return mem_zalloc(count * size);
}

void *mem_realloc(void *ptr, size_t size) { return alloc_due() ? NULL : realloc(ptr, size ? size : 1); }

void *mem_dup(const void *ptr, size_t size)
{
    void *copy = mem_alloc(size);
    if (copy && size)
        memcpy(copy, ptr, size);
    return copy;
}

void mem_free(void *ptr) { free(ptr); }

void mem_freep(void *ptr_to_ptr)
{
    void **p = ptr_to_ptr;
    mem_free(*p);
    *p = NULL;
}
