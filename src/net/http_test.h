/* net/http_test.h - for the tests of the HTTP server: one loop with a server on loopback, and raw connections to it.
 *
 * The loop runs until a condition holds, at most 20 s; nothing sleeps. A test opens a bench and closes it; closing
 * fails the test if a handle of the loop was forgotten. One bench at a time. */
#pragma once
#include "net/net.h"
#include "base/test.h"

typedef struct bench {
    uv_loop_t loop;
    http_server *server;
    net_timer *guard;
    bool late; /* the guard rang: the test hangs */
    bool closed;
    http_request *parked; /* by handler_park */
    unsigned gone;        /* on_close calls */
    unsigned hits;
    char seen[256]; /* by handler_echo */
} bench;

/* Serve the bench's routes (http_bench_test.c) under these options, by default on a free port of 127.0.0.1. */
void bench_open(bench *b, http_server_options o);
void bench_close(bench *b);

/* For http_server_close(…, server_closed, bench): notes it in `closed`. */
void server_closed(void *ctx);

#define RUN_UNTIL(b, cond)                                                                                             \
    do {                                                                                                               \
        while (!(cond) && !(b)->late)                                                                                  \
            uv_run(&(b)->loop, UV_RUN_ONCE);                                                                           \
        CHECK_MSG(!(b)->late, "hangs while waiting for: %s", #cond);                                                   \
    } while (0)

typedef struct raw {
    uv_tcp_t tcp;
    uv_connect_t connect;
    buf in;
    bool connected, ended, freed;
    char room[65536];
} raw;

/* Connected when it returns; raw_close frees it. */
raw *raw_open(bench *b);
void raw_close(raw *r);

/* Send at once what fits the socket's buffer. */
void raw_send(raw *r, const char *text);

bool raw_has(const raw *r, const char *text);
size_t raw_count(const raw *r, const char *text);

/* Of the first reply; 0: there is none. */
int status_of(const raw *r);

#define H "Host: localhost\r\n"

/* Send on a fresh connection and wait until the reply holds `until` (NULL: until the end). */
raw *ask(bench *b, const char *text, const char *until);
