/* Timers, and calls posted by other threads. */
#include "net/net.h"
#include "base/test.h"

typedef struct ticking {
    net_timer *t;
    int n;
} ticking;

static void tick_thrice(void *ctx)
{
    ticking *k = ctx;
    if (++k->n == 3)
        net_timer_stop(k->t);
}

TEST(net_timer_repeats_until_stopped_inside_itself)
{
    uv_loop_t loop;
    ticking k = { 0 };
    uv_loop_init(&loop);
    k.t = net_timer_start(&loop, 1, 1, tick_thrice, &k);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_EQ(k.n, 3);
    net_timer_stop(NULL);
    CHECK_EQ(uv_loop_close(&loop), 0);
}

typedef struct posting {
    net_poster *p;
    unsigned next;
    bool order_broken;
} posting;
static posting posts;

static void take_post(void *ctx)
{
    unsigned i = (unsigned)(uintptr_t)ctx;
    posts.order_broken |= i != posts.next++;
    if (posts.next == 10000)
        net_poster_close(posts.p);
}

static void post_all(void *arg)
{
    UNUSED(arg);
    for (unsigned i = 0; i < 10000; i++)
        while (net_post(posts.p, take_post, (void *)(uintptr_t)i))
            ;
}

TEST(net_post_runs_calls_of_another_thread_in_order)
{
    uv_loop_t loop;
    uv_thread_t thread;
    err e = { 0 };
    posts = (posting){ 0 };
    uv_loop_init(&loop);
    CHECK_OK(net_poster_open(&loop, &posts.p, &e), e);
    uv_thread_create(&thread, post_all, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_thread_join(&thread);
    CHECK_EQ(posts.next, 10000);
    CHECK(!posts.order_broken);
    CHECK_EQ(uv_loop_close(&loop), 0);
}

static void count_post(void *ctx) { ++*(unsigned *)ctx; }

TEST(net_post_is_bounded_and_close_runs_what_waits)
{
    uv_loop_t loop;
    net_poster *p;
    unsigned n = 0;
    err e = { 0 };
    uv_loop_init(&loop);
    CHECK_OK(net_poster_open(&loop, &p, &e), e);
    for (unsigned i = 0; i < NET_POST_MAX; i++)
        CHECK_EQ(net_post(p, count_post, &n), OK);
    CHECK_EQ(net_post(p, count_post, &n), ERR_FULL);
    net_poster_close(p);
    CHECK_EQ(n, NET_POST_MAX);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_EQ(uv_loop_close(&loop), 0);
}
