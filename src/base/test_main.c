/* Runs the tests that TEST() registered; `test_ROOM SUBSTRING` runs those whose name contains it. */
#include "base/test.h"
#include "base/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TESTS_MAX 4096

static test_case *first;
static char made[1024][FILE_PATH_MAX];
static size_t made_count;

void test_register(test_case *t)
{
    t->next = first;
    first = t;
}

const char *test_dir(void)
{
    if (made_count == COUNT_OF(made))
        abort();
    char *path = made[made_count++];
    const char *base = getenv("TMPDIR");
    snprintf(path, FILE_PATH_MAX, "%s/galen-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(path))
        abort();
    return path;
}

static void remove_dirs(void)
{
    for (size_t i = 0; i < made_count; i++)
        (void)file_remove_tree(made[i], NULL);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct CMUnitTest *)a)->name, ((const struct CMUnitTest *)b)->name);
}

static int clean_up(void **state)
{
    UNUSED(state);
    clock_real();
    (void)fault_fired();
    (void)fault_write_fired();
    return 0;
}

int main(int argc, char **argv)
{
    static struct CMUnitTest tests[TESTS_MAX];
    size_t n = 0;
    for (test_case *t = first; t && n < TESTS_MAX; t = t->next)
        if (argc < 2 || strstr(t->name, argv[1]))
            tests[n++] = (struct CMUnitTest){ t->name, t->run, NULL, clean_up, NULL };
    if (n == 0)
        return fprintf(stderr, "no test is named like \"%s\"\n", argc > 1 ? argv[1] : ""), 1;
    qsort(tests, n, sizeof *tests, by_name);
    log_set_level(LOG_ERROR);
    atexit(remove_dirs);
    return _cmocka_run_group_tests("tests", tests, n, NULL, NULL) ? 1 : 0;
}
