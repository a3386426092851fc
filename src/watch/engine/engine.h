/* watch/engine/engine.h - which LLM engine a page comes from, and what it says about running, waiting, progress.
 *
 * Fingerprint on several names plus labels, never on a prefix (reference: docs/en/watch.md): the production-stack
 * router re-exports vllm:num_requests_running with the label `server` and is not an engine. The raw names behind
 * running, waiting and progress are those of metric.h's canonical_views; nothing here repeats them.
 *
 * In two steps, because a scraper knows most series already: engine_classify once per new series gives a role
 * of a few bits, which is kept beside the series; engine_see adds one sample with its role, each scrape. */
#pragma once
#include "metric/metric.h"

#define ENGINE_VIEWS_MAX 64               /* rows of canonical_views for the three signals */

typedef struct engine_role {
    uint32_t markers;                     /* which fingerprint names it is */
    int16_t view;                         /* which signal row it feeds; -1: none */
} engine_role;

typedef struct engine_seen {              /* of one page; zero it first */
    uint32_t markers;
    double sum[ENGINE_VIEWS_MAX];
    uint64_t matched;                     /* bit i: sum[i] had a series */
} engine_seen;

typedef struct engine_signals {
    bool known;                           /* running and progress were both on the page */
    double running, waiting, progress;
    double probe_steps;                   /* how far one probe's prompt may move the counter (watch/progress.h) */
} engine_signals;

engine_role engine_classify(labels l);
void engine_see(engine_seen *seen, engine_role role, double v);
/* "vllm", "llama.cpp", "sglang", "tgi", "lmdeploy"; NULL: no engine we know. Static. */
const char *engine_name(const engine_seen *seen);
engine_signals engine_signals_of(const engine_seen *seen, const char *engine);
/* For a page seen once: its engine, NULL if none. `ret_model` (may be NULL) gets model_name if the page has it. */
const char *engine_of_page(str body, bool openmetrics, char *ret_model, size_t cap);
