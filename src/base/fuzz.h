/* base/fuzz.h - the frame of a libFuzzer target: FUZZ(bytes) { … }. Corpus: <room>/testdata/fuzz/<name>/.
 *
 * The same body is run over its corpus files by every `make test` (a plain main that reads files), so a
 * finding once made stays fixed. */
#pragma once
#include "base/base.h"

#define FUZZ(input)                                                   \
    static void fuzz_one(str input);                                  \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);     \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)      \
    {                                                                 \
        fuzz_one((str){ (const char *)data, size });                  \
        return 0;                                                     \
    }                                                                 \
    static void fuzz_one(str input)
