#include "base/test.h"
#include "base/file.h"
#include "watch/engine/engine.h"
#include <stdio.h>

static const char *engine_of_file(const char *path, engine_seen *ret_seen)
{
    AUTO(buf_done) buf text = BUF_INIT(4 << 20);
    err e = { 0 };
    exposition_sample s;
    engine_seen seen = { 0 };
    CHECK_OK(file_read(path, &text, &e), e);
    exposition_parser *p = exposition_new(buf_str(&text), false);
    while (exposition_next(p, &s, &e) > 0)
        engine_see(&seen, engine_classify(s.labels), s.v);
    exposition_free(p);
    const char *name = engine_name(&seen);
    CHECK(engine_of_page(buf_str(&text), false, NULL, 0) == name);
    if (ret_seen)
        *ret_seen = seen;
    return name ? name : "";
}

TEST(pages_tell_their_engine)
{
    CHECK_STR(str_from(engine_of_file("testdata/pages/vllm.prom", NULL)), "vllm");
    CHECK_STR(str_from(engine_of_file("testdata/pages/llamacpp.prom", NULL)), "llama.cpp");
    CHECK_STR(str_from(engine_of_file("testdata/pages/router.prom", NULL)), "");
}

TEST(running_waiting_and_progress_come_from_the_table_of_views)
{
    engine_seen seen;
    engine_signals s;
    engine_of_file("testdata/pages/vllm.prom", &seen);
    s = engine_signals_of(&seen, "vllm");
    CHECK(s.known && s.running == 3 && s.waiting == 1 && s.progress == 150);
    engine_of_file("testdata/pages/llamacpp.prom", &seen);
    s = engine_signals_of(&seen, "llama.cpp");
    CHECK(s.known && s.running == 4 && s.waiting == 2 && s.progress == 11873);
    CHECK(s.probe_steps < 10);
    CHECK(!engine_signals_of(&seen, "vllm").known);
    CHECK(!engine_signals_of(&seen, NULL).known);
}

TEST(captured_pages_of_real_engines_are_told_apart)
{
    static const struct {
        const char *file, *engine;
        bool known;
    } cases[] = {
        { "vllm-v1-healthy", "vllm", true },
        { "vllm-v1-saturated", "vllm", true },
        { "vllm-v0", "vllm", true },
        { "sglang", "sglang", true },
        { "tgi", "tgi", true },
        { "lmdeploy", "lmdeploy", true },
        { "llamacpp-2024", "llama.cpp", true },
        { "llamacpp-2026", "llama.cpp", true },
        { "production-stack-router", "", false },
        { "dcgm-exporter", "", false },
        { "node_exporter-1.5.0", "", false },
    };
    const char *dir = "../../../shared/reference/exposition";
    if (!file_exists(dir)) {
        print_message("skipped: %s is not there\n", dir);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char path[256];
        engine_seen seen;
        snprintf(path, sizeof path, "%s/%s.prom", dir, cases[i].file);
        const char *engine = engine_of_file(path, &seen);
        CHECK_MSG(strcmp(engine, cases[i].engine) == 0, "%s: got \"%s\"", cases[i].file, engine);
        CHECK_MSG(engine_signals_of(&seen, cases[i].engine).known == cases[i].known, "%s: signals", cases[i].file);
    }
}
