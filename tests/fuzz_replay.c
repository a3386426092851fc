/* tests/fuzz_replay.c - run one FUZZ body over its corpus, without libFuzzer.
 *
 * Linked with a *_fuzz.c it becomes a plain program: each argument is a corpus file or a folder of them (one level).
 * Every input is handed over in an allocation of exactly its size, so that the address sanitizer sees a read of one
 * byte too many. What a fuzzer once found stays fixed because its input lies in the corpus. */
#include "base/base.h"
#include "base/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define CORPUS_FILE_MAX_BYTES (16u << 20)
#define CORPUS_LIST_MAX_BYTES (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(str bytes)
{
    uint8_t *exact = malloc(bytes.len ? bytes.len : 1);
    if (!exact)
        return;
    if (bytes.len)
        memcpy(exact, bytes.ptr, bytes.len);
    LLVMFuzzerTestOneInput(exact, bytes.len);
    free(exact);
}

/* 1 file run, or 0 with the reason on stderr. */
static size_t run_file(const char *path)
{
    AUTO(buf_done) buf bytes = BUF_INIT(CORPUS_FILE_MAX_BYTES);
    err e = { 0 };
    if (file_read(path, &bytes, &e)) {
        fprintf(stderr, "%s\n", e.message);
        return 0;
    }
    run(buf_str(&bytes));
    return 1;
}

static size_t run_folder(const char *dir, bool *failed)
{
    arena a = arena_init(CORPUS_LIST_MAX_BYTES);
    str *names = NULL;
    size_t n = 0, done = 0;
    err e = { 0 };
    if (file_list(dir, &a, &names, &n, &e)) {
        fprintf(stderr, "%s\n", e.message);
        *failed = true;
    }
    for (size_t i = 0; i < n; i++) {
        char path[FILE_PATH_MAX];
        if (snprintf(path, sizeof path, "%s/%" STR_FMT, dir, STR_ARG(names[i])) >= (int)sizeof path)
            continue;
        size_t ran = run_file(path);
        *failed |= ran == 0;
        done += ran;
    }
    arena_done(&a);
    return done;
}

int main(int argc, char **argv)
{
    size_t done = 0;
    bool failed = false;
    run((str){ NULL, 0 }); /* no corpus holds the empty input, every reader must take it */
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st) == 0)
            done += S_ISDIR(st.st_mode) ? run_folder(argv[i], &failed) : run_file(argv[i]);
    }
    printf("%zu corpus files\n", done);
    return failed || done == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
