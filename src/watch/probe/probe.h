/* watch/probe/probe.h - asking a replica directly: GET /health, and a completion of one token.
 *
 * A prober belongs to one replica and has at most one probe of each kind in flight. Whoever asks while a
 * completion runs gets that one's result. The completion streams, so that the time to the first token is
 * known; its text is different each time, so that no cache answers in the engine's place.
 *
 * Three failures are kept apart, because they mean different things: refused (nobody listens), timeout (no answer,
 * or no first token, in time) and an HTTP status that is not 200. Runs on the loop's thread. */
#pragma once
#include "watch/probe/sse.h"
#include "watch/watch_config.h"

#define PROBE_MAX_WAITERS 64
#define PROBE_MAX_BODY (1u << 20)

typedef enum probe_kind { PROBE_HEALTH, PROBE_COMPLETION, PROBE_KIND_COUNT } probe_kind;

typedef struct prober prober;
typedef struct prober_deps {
    uv_loop_t *loop;
    http_client *client;
    /* Each finished probe, before those who asked for it hear. */
    void (*on_result)(void *ctx, probe_kind kind, const probe_result *r);
    void *ctx;
} prober_deps;

err_kind prober_open(const prober_deps *deps, const replica_config *c, prober **ret, err *e);
/* Running probes are dropped; those who wait hear ERR: "stopped". */
void prober_close(prober *p);
/* ERR_CONFLICT: one is in flight. */
err_kind prober_health(prober *p, err *e);
/* done may be NULL. ERR_UNSUPPORTED: no probe is configured. ERR_LIMIT: too many wait for the one in flight. */
err_kind prober_completion(prober *p, void (*done)(void *ctx, const probe_result *r), void *ctx, err *e);
bool prober_in_flight(const prober *p, probe_kind kind);
