#include "watch/engine/engine.h"
#include <pthread.h>

/* An engine is on the page when each of its names was seen on a series that carries the label (NULL: any).
 * Order matters only for a page that shows two engines: the first row wins. */
#define NAMES_MAX 3
static const struct {
    const char *engine, *label, *names[NAMES_MAX];
} fingerprints[] = {
    { "vllm",
      "model_name",
      { "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:generation_tokens_total" } },
    { "sglang", "model_name", { "sglang:num_running_reqs", "sglang:num_queue_reqs", "sglang:token_usage" } },
    { "llama.cpp",
      NULL,
      { "llamacpp:requests_processing", "llamacpp:requests_deferred", "llamacpp:prompt_tokens_total" } },
    { "tgi", NULL, { "tgi_queue_size", "tgi_batch_current_size" } },
    { "lmdeploy",
      "model_name",
      { "lmdeploy:num_requests_running", "lmdeploy:num_requests_waiting", "lmdeploy:generation_tokens_total" } },
};
_Static_assert(COUNT_OF(fingerprints) * NAMES_MAX <= 32, "engine_role.markers has one bit a name");

static const char *const signal_names[] = { "llm_requests_running", "llm_requests_waiting", "llm_progress_total" };
enum { SIGNAL_RUNNING, SIGNAL_WAITING, SIGNAL_PROGRESS };

/* Steps of a counter of tokens that the prompt of one of our probes can make before any decoding; a counter of
 * decoder calls moves by one or two. Our text is about 20 tokens; chat templates with a default system prompt add
 * up to a hundred. */
#define PROBE_STEPS_TOKENS 128
#define PROBE_STEPS_CALLS 4

/* The rows of canonical_views for the three signals, in their order: row i of these is bit and sum i. Looked through
 * once: each scrape of an engine asks for them all. */
static const canonical_view *signal_views[ENGINE_VIEWS_MAX];

static void find_signal_views(void)
{
    size_t n = 0;
    for (size_t v = 0; v < canonical_view_count; v++) {
        for (size_t s = 0; s < COUNT_OF(signal_names); s++) {
            if (n < ENGINE_VIEWS_MAX && strcmp(canonical_views[v].name, signal_names[s]) == 0)
                signal_views[n++] = &canonical_views[v];
        }
    }
}

static const canonical_view *signal_view(size_t i)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_signal_views);
    return signal_views[i];
}

static bool view_matches(const canonical_view *v, labels l)
{
    if (!str_is(labels_name(l), v->raw))
        return false;
    return !v->match_label || str_is(labels_get(l, str_from(v->match_label)), v->match_value);
}

engine_role engine_classify(labels l)
{
    engine_role role = { .view = -1 };
    str name = labels_name(l);
    for (size_t f = 0; f < COUNT_OF(fingerprints); f++) {
        if (fingerprints[f].label && !labels_get(l, str_from(fingerprints[f].label)).len)
            continue;
        for (size_t i = 0; i < NAMES_MAX && fingerprints[f].names[i]; i++) {
            if (str_is(name, fingerprints[f].names[i]))
                role.markers |= 1u << (f * NAMES_MAX + i);
        }
    }
    const canonical_view *v;
    for (size_t i = 0; i < ENGINE_VIEWS_MAX && role.view < 0 && (v = signal_view(i)); i++) {
        if (view_matches(v, l))
            role.view = (int16_t)i;
    }
    return role;
}

void engine_see(engine_seen *seen, engine_role role, double v)
{
    seen->markers |= role.markers;
    if (role.view < 0 || isnan(v)) /* NaN and -1 mean "not measured" (engines.md §0.4) */
        return;
    seen->sum[role.view] += v;
    seen->matched |= UINT64_C(1) << role.view;
}

const char *engine_name(const engine_seen *seen)
{
    for (size_t f = 0; f < COUNT_OF(fingerprints); f++) {
        uint32_t all = 0;
        for (size_t i = 0; i < NAMES_MAX && fingerprints[f].names[i]; i++)
            all |= 1u << (f * NAMES_MAX + i);
        if ((seen->markers & all) == all)
            return fingerprints[f].engine;
    }
    return NULL;
}

/* One signal of one engine: the first row that matched wins, rows of the same `also` group are added up. */
static bool signal_value(const engine_seen *seen, const char *engine, const char *signal, double *ret,
                         const char **ret_raw)
{
    const canonical_view *v, *first = NULL;
    *ret = 0;
    for (size_t i = 0; i < ENGINE_VIEWS_MAX && (v = signal_view(i)); i++) {
        if (!(seen->matched >> i & 1) || strcmp(v->engine, engine) || strcmp(v->name, signal))
            continue;
        if (first && !(first->also && v->also == first->also))
            continue;
        if (!first)
            first = v;
        *ret += seen->sum[i] * (v->scale != 0 ? v->scale : 1);
    }
    *ret_raw = first ? first->raw : NULL;
    return first != NULL;
}

engine_signals engine_signals_of(const engine_seen *seen, const char *engine)
{
    engine_signals s = { 0 };
    const char *raw = NULL;
    if (!engine || !seen->matched)
        return s;
    bool running = signal_value(seen, engine, signal_names[SIGNAL_RUNNING], &s.running, &raw);
    (void)signal_value(seen, engine, signal_names[SIGNAL_WAITING], &s.waiting, &raw);
    bool moving = signal_value(seen, engine, signal_names[SIGNAL_PROGRESS], &s.progress, &raw);
    s.known = running && moving;
    s.probe_steps = raw && str_find(str_from(raw), STR("tokens")) >= 0 ? PROBE_STEPS_TOKENS : PROBE_STEPS_CALLS;
    return s;
}

const char *engine_of_page(str body, bool openmetrics, char *ret_model, size_t cap)
{
    engine_seen seen = { 0 };
    exposition_sample s;
    exposition_parser *p = exposition_new(body, openmetrics);
    if (ret_model && cap)
        ret_model[0] = '\0';
    while (p && exposition_next(p, &s, NULL) > 0) {
        str model = labels_get(s.labels, STR("model_name"));
        engine_see(&seen, engine_classify(s.labels), s.v);
        if (ret_model && cap && !ret_model[0] && model.len)
            str_copy(ret_model, cap, model);
    }
    exposition_free(p);
    return engine_name(&seen);
}
