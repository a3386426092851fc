/* base/test.h - unit tests: TEST(name) { CHECK_EQ(…); } anywhere in a *_test.c, run by cmocka.
 *
 * Tests register themselves; test_main.c runs all of a program's tests, or those whose name contains the
 * first argument. A test sleeps never: it moves the fake clock. Row tables name each row by the sentence
 * that failed: CHECK_MSG(ok, "%s", row->what). */
#pragma once
#include "base/base.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

typedef struct test_case {
    const char *name;
    void (*run)(void **state);
    struct test_case *next;
} test_case;
void test_register(test_case *t);

#define TEST(name_)                                                                              \
    static void test_body_##name_(void **state);                                                 \
    static test_case test_case_##name_ = { #name_, test_body_##name_, NULL };                     \
    __attribute__((constructor)) static void test_add_##name_(void) { test_register(&test_case_##name_); } \
    static void test_body_##name_(void **state __attribute__((unused)))

#define CHECK(cond) CHECK_MSG(cond, "%s", #cond)
#define CHECK_MSG(cond, ...)                                                   \
    do {                                                                       \
        if (!(cond)) {                                                         \
            print_error(__VA_ARGS__);                                          \
            print_error("\n");                                                 \
            _fail(__FILE__, __LINE__);                                         \
        }                                                                      \
    } while (0)
#define CHECK_EQ(got, want)                                                                                  \
    do {                                                                                                     \
        long long got_ = (long long)(got), want_ = (long long)(want);                                        \
        CHECK_MSG(got_ == want_, "%s: got %lld, want %lld", #got, got_, want_);                              \
    } while (0)
#define CHECK_DOUBLE(got, want)                                                                              \
    do {                                                                                                     \
        double got_ = (got), want_ = (want);                                                                 \
        CHECK_MSG(memcmp(&got_, &want_, 8) == 0 || got_ == want_, "%s: got %.17g, want %.17g", #got, got_, want_); \
    } while (0)
#define CHECK_STR(got, want)                                                                                 \
    do {                                                                                                     \
        str got_ = (got), want_ = str_from(want);                                                            \
        CHECK_MSG(str_eq(got_, want_), "%s: got \"%" STR_FMT "\", want \"%" STR_FMT "\"", #got, STR_ARG(got_), STR_ARG(want_)); \
    } while (0)
#define CHECK_CONTAINS(haystack, needle)                                                                     \
    do {                                                                                                     \
        str hay_ = (haystack);                                                                               \
        CHECK_MSG(str_find(hay_, str_from(needle)) >= 0, "\"%" STR_FMT "\" does not contain \"%s\"", STR_ARG(hay_), (needle)); \
    } while (0)
#define CHECK_OK(call, e) CHECK_MSG((call) == OK, "%s: %s", #call, (e).message)

/* A fresh empty folder, removed (with all in it) when the program ends. Static buffer, one per call site turn of 8. */
const char *test_dir(void);
