/* watch/discover/discover.h - engines nobody told us about: who listens on this machine and looks like one.
 *
 * Looks at listening sockets only (/proc/net/tcp, tcp6; on loopback or any address), sends only GET /metrics and,
 * to what looks like an engine by its page, GET /v1/models; short timeouts, at most 1 MiB, once a minute. Ports of
 * well-known services that do not speak HTTP are left alone, so are our own and those already configured.
 *
 *   a port --page looks like an engine--> found --three passes without it--> lost
 *
 * An engine without a page of metrics (Ollama, llama.cpp without --metrics) is not found this way: configure it. */
#pragma once
#include "net/net.h"
#include "watch/engine/engine.h"

#define DISCOVER_MAX_PORTS 512
#define DISCOVER_PARALLEL 8
#define DISCOVER_TIMEOUT_MS 2000
#define DISCOVER_MAX_BODY (1u << 20)
#define DISCOVER_MISSES 3

typedef struct discover discover;
typedef struct discover_deps {
    uv_loop_t *loop;
    http_client *client;
    const char *proc;                    /* NULL: "/proc" */
    int64_t every_ms;
    bool (*skip)(void *ctx, int port);   /* our own, configured already */
    void (*found)(void *ctx, const char *engine, int port, const char *model);   /* once, until lost */
    void (*lost)(void *ctx, int port);
    void *ctx;
} discover_deps;

/* The first pass runs at once. */
err_kind discover_open(const discover_deps *deps, discover **ret, err *e);
void discover_close(discover *d);        /* NULL is fine; tells nobody */

/* Listening ports of one /proc/net/tcp or tcp6, on loopback or any address, appended to ret (no repeats). Returns the
 * new count, at most cap. Lines that are not understood are left out. */
size_t discover_parse_tcp(str text, int *ret, size_t n, size_t cap);
