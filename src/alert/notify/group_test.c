#include "alert/notify/notify.h"

#include <stdio.h>

#include "base/test.h"

#define T0 INT64_C(1763712930000)

TEST(notify_tells_what_is_new_and_repeats_what_goes_on)
{
    uint64_t a[] = { 1 }, ab[] = { 1, 2 };
    notify_told never = { 0 }, told_a = { .firing = a, .firing_len = 1, .at_ms = T0 };
    notify_told told_end = { .resolved = a, .resolved_len = 1, .at_ms = T0 };
    static const struct { const char *what; int told, firing, resolved; bool send_resolved; int64_t later_ms; bool want; } rows[] = {
        { "a first alert is told", 0, 1, 0, true, 0, true },
        { "what ended before anybody was told is no news", 0, 0, 1, true, 0, false },
        { "the same alert is not told twice", 1, 1, 0, true, 1000, false },
        { "a second alert is news", 1, 2, 0, true, 1000, true },
        { "the end is news", 1, 0, 1, true, 1000, true },
        { "the end is no news for who does not want it", 1, 0, 1, false, 1000, false },
        { "what still fires is told again after repeat_interval", 1, 1, 0, true, 60000, true },
        { "an end is told once", 2, 0, 1, true, 60000, false },
        { "after the end a new start is news", 2, 1, 0, true, 1000, true },
    };
    const notify_told *tolds[] = { &never, &told_a, &told_end };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        CHECK_MSG(notify_worth_telling(tolds[rows[i].told], ab, (size_t)rows[i].firing, a, (size_t)rows[i].resolved, rows[i].send_resolved,
                                       60000, T0 + rows[i].later_ms) == rows[i].want, "%s", rows[i].what);
}

/* ---- a receiver that keeps what it gets ---- */

typedef struct outside {
    yaml_doc *doc;
    alert_config *c;
    notify_queue *q;
    notify *n;
    char bodies[20][2000];
    uint64_t ids[20];
    size_t sent, dropped, failed, arrived;
    bool cannot_start;
} outside;

static err_kind send_it(void *ctx, const notify_message *m, err *e)
{
    outside *o = ctx;
    if (o->cannot_start)
        return err_set(e, ERR_UNAVAILABLE, "no route to host");
    CHECK(o->sent < 20);
    str_copy(o->bodies[o->sent], sizeof o->bodies[0], m->body);
    o->ids[o->sent++] = m->id;
    return OK;
}

static void cancel_it(void *ctx, uint64_t id)
{
    UNUSED(ctx);
    UNUSED(id);
}

static void finished_it(void *ctx, const notify_message *m, err_kind outcome, const char *why)
{
    outside *o = ctx;
    UNUSED(m);
    CHECK(why);
    o->arrived += outcome == OK;
    o->dropped += outcome == ERR_FULL;
    o->failed += outcome != OK && outcome != ERR_FULL;
}

static outside *open_outside(const char *text)
{
    outside *o = mem_zalloc(sizeof *o);
    err e = { 0 };
    notify_queue_deps d = { send_it, cancel_it, o, finished_it, o };
    CHECK_OK(yaml_parse(str_from(text), "am.yml", &o->doc, &e), e);
    CHECK_OK(alert_config_from_prometheus(NULL, "", &o->c, &e), e);
    CHECK_OK(alert_config_add_alertmanager(o->c, o->doc, "", &e), e);
    o->q = notify_queue_new(&d, 1);
    o->n = notify_new(o->c, o->q, STR("http://galen"));
    CHECK(o->q && o->n);
    return o;
}

static void close_outside(outside **p)
{
    outside *o = *p;
    notify_free(o->n);
    notify_queue_free(o->q);
    alert_config_free(o->c);
    yaml_doc_free(o->doc);
    mem_free(o);
}

static void put(outside *o, const char *name, const char *instance, alert_state state, int64_t now)
{
    static const config_pair summary[] = { { STR_INIT("summary"), STR_INIT("it hurts") } };
    label l[] = { { STR("alertname"), str_from(name) }, { STR("instance"), str_from(instance) } };
    alert_info a = { .rule = str_from(name), .labels = { l, 2 }, .annotations = summary, .annotation_count = 1, .state = state, .active_at_ms = T0 };
    err e = { 0 };
    CHECK_OK(notify_put(o->n, &a, STR("up == 0"), now, &e), e);
}

static void tick(outside *o, int64_t now)
{
    notify_tick(o->n, now);
    notify_queue_tick(o->q, now);
}

#define BY_NAME                                                                                                          \
    "route: {receiver: a, group_by: [alertname], group_wait: 30s, group_interval: 5m, repeat_interval: 1h}\n"          \
    "receivers: [{name: a, webhook_configs: [{url: 'http://127.0.0.1:1/'}]}]\n"
#define MIN_MS 60000

TEST(notify_groups_wait_collect_and_tell_the_end)
{
    AUTO(close_outside) outside *o = open_outside(BY_NAME);
    put(o, "Down", "a", ALERT_FIRING, T0);
    tick(o, T0 + 29999);
    CHECK_EQ(o->sent, 0);
    put(o, "Down", "b", ALERT_FIRING, T0 + 20000);
    put(o, "Slow", "c", ALERT_FIRING, T0 + 20000);
    tick(o, T0 + 30000);
    CHECK_EQ(o->sent, 1); /* both Down in one message; Slow waits for its own group_wait */
    CHECK_CONTAINS(str_from(o->bodies[0]), "\"instance\":\"a\"");
    CHECK_CONTAINS(str_from(o->bodies[0]), "\"instance\":\"b\"");
    CHECK(!strstr(o->bodies[0], "Slow"));
    notify_queue_result(o->q, o->ids[0], 200, "", T0 + 30100);
    tick(o, T0 + 50000);
    CHECK_EQ(o->sent, 2);
    notify_queue_result(o->q, o->ids[1], 204, "", T0 + 50100);
    CHECK_EQ(o->arrived, 2);

    tick(o, T0 + 30000 + 5 * MIN_MS); /* nothing new */
    CHECK_EQ(o->sent, 2);
    put(o, "Down", "a", ALERT_INACTIVE, T0 + 6 * MIN_MS);
    tick(o, T0 + 6 * MIN_MS);
    CHECK_EQ(o->sent, 2); /* the group speaks every five minutes at most */
    tick(o, T0 + 30000 + 10 * MIN_MS);
    CHECK_EQ(o->sent, 3);
    CHECK_CONTAINS(str_from(o->bodies[2]), "\"status\":\"firing\",\"alerts\"");
    CHECK_CONTAINS(str_from(o->bodies[2]), "\"status\":\"resolved\",\"labels\":{\"alertname\":\"Down\",\"instance\":\"a\"}");
    notify_queue_result(o->q, o->ids[2], 200, "", T0 + 11 * MIN_MS);
    put(o, "Down", "b", ALERT_INACTIVE, T0 + 12 * MIN_MS);
    put(o, "Slow", "c", ALERT_INACTIVE, T0 + 12 * MIN_MS);
    tick(o, T0 + 20 * MIN_MS);
    CHECK_EQ(o->sent, 5);
    CHECK_CONTAINS(str_from(o->bodies[4]), "\"status\":\"resolved\",\"alerts\"");
    notify_queue_result(o->q, o->ids[3], 200, "", T0 + 20 * MIN_MS);
    notify_queue_result(o->q, o->ids[4], 200, "", T0 + 20 * MIN_MS);
    tick(o, T0 + 30 * MIN_MS);
    CHECK_EQ(notify_group_count(o->n), 0); /* all told: forgotten */
    CHECK_EQ(o->sent, 5);
}

TEST(notify_tries_again_with_the_state_of_then)
{
    AUTO(close_outside) outside *o = open_outside(BY_NAME);
    put(o, "Down", "a", ALERT_FIRING, T0);
    tick(o, T0 + 30000);
    notify_queue_result(o->q, o->ids[0], 400, "", T0 + 30000); /* refused: given up */
    CHECK_EQ(o->failed, 1);
    put(o, "Down", "b", ALERT_FIRING, T0 + 40000);
    tick(o, T0 + 30000 + 5 * MIN_MS);
    CHECK_EQ(o->sent, 2);
    CHECK_CONTAINS(str_from(o->bodies[1]), "\"instance\":\"b\"");
}

TEST(notify_repeats_and_remembers_over_a_reroute)
{
    AUTO(close_outside) outside *o = open_outside(BY_NAME);
    put(o, "Down", "a", ALERT_FIRING, T0);
    tick(o, T0 + 30000);
    notify_queue_result(o->q, o->ids[0], 200, "", T0 + 30000);
    notify_queue_clear(o->q);
    notify_reroute(o->n, o->c);
    put(o, "Down", "a", ALERT_FIRING, T0 + MIN_MS);
    tick(o, T0 + 2 * MIN_MS);
    CHECK_EQ(o->sent, 1); /* it was told before */
    for (int i = 2; i < 70; i++)
        tick(o, T0 + i * MIN_MS);
    CHECK_EQ(o->sent, 2); /* and again after repeat_interval */
}

TEST(notify_queue_comes_back_later_and_later)
{
    CHECK_EQ(notify_backoff_ms(1, 0), 500);
    CHECK_EQ(notify_backoff_ms(1, 1), 1000);
    CHECK_EQ(notify_backoff_ms(3, 1), 4000);
    CHECK_EQ(notify_backoff_ms(100, 1), NOTIFY_BACKOFF_MAX_MS);

    AUTO(close_outside) outside *o = open_outside(BY_NAME);
    int64_t now = T0;
    CHECK_EQ(notify_queue_put(o->q, STR("k"), STR("a"), &o->c->receivers[0].webhooks[0], STR("{}"), now, NULL, NULL), OK);
    for (unsigned i = 1; i <= NOTIFY_MAX_ATTEMPTS; i++) {
        notify_queue_tick(o->q, now);
        CHECK_EQ(o->sent, i);
        notify_queue_result(o->q, o->ids[o->sent - 1], i % 2 ? 503 : 0, "connection refused", now);
        notify_queue_tick(o->q, now);
        CHECK_EQ(o->sent, i); /* not at once */
        now += NOTIFY_BACKOFF_MAX_MS;
    }
    CHECK_EQ(o->failed, 1);
    CHECK_EQ(notify_queue_len(o->q), 0);
    o->cannot_start = true;
    CHECK_EQ(notify_queue_put(o->q, STR("k"), STR("a"), &o->c->receivers[0].webhooks[0], STR("{}"), now, NULL, NULL), OK);
    for (unsigned i = 0; i < NOTIFY_MAX_ATTEMPTS; i++, now += NOTIFY_BACKOFF_MAX_MS)
        notify_queue_tick(o->q, now);
    CHECK_EQ(o->failed, 2);
}

TEST(notify_queue_is_bounded_and_drops_the_oldest)
{
    AUTO(close_outside) outside *o = open_outside(BY_NAME);
    char key[20];
    for (int i = 0; i < NOTIFY_QUEUE_MAX + 5; i++) {
        snprintf(key, sizeof key, "k%d", i);
        CHECK_EQ(notify_queue_put(o->q, str_from(key), STR("a"), &o->c->receivers[0].webhooks[0], str_from(key), T0, NULL, NULL), OK);
    }
    CHECK_EQ(o->dropped, 5);
    CHECK_EQ(notify_queue_len(o->q), NOTIFY_QUEUE_MAX);
    notify_queue_tick(o->q, T0);
    CHECK_EQ(o->sent, NOTIFY_IN_FLIGHT_MAX);
    CHECK_STR(str_from(o->bodies[0]), "k5");
}

TEST(notify_queue_a_newer_message_replaces_the_waiting_one)
{
    AUTO(close_outside) outside *o = open_outside(BY_NAME);
    const webhook *w = &o->c->receivers[0].webhooks[0];
    notify_queue_put(o->q, STR("k"), STR("a"), w, STR("one"), T0, NULL, NULL);
    notify_queue_tick(o->q, T0);
    notify_queue_put(o->q, STR("k"), STR("a"), w, STR("two"), T0, NULL, NULL);
    notify_queue_put(o->q, STR("k"), STR("a"), w, STR("three"), T0, NULL, NULL);
    notify_queue_tick(o->q, T0);
    CHECK_EQ(o->sent, 1); /* one at a time: order is kept */
    notify_queue_result(o->q, o->ids[0], 200, "", T0);
    notify_queue_tick(o->q, T0);
    CHECK_EQ(o->sent, 2);
    CHECK_STR(str_from(o->bodies[1]), "three");
}

TEST(notify_survives_any_failed_allocation)
{
    bool fired = true;
    for (unsigned nth = 0; fired; nth++) {
        AUTO(close_outside) outside *o = open_outside(BY_NAME);
        label l[] = { { STR("alertname"), STR("Down") } };
        alert_info a = { .rule = STR("Down"), .labels = { l, 1 }, .state = ALERT_FIRING, .active_at_ms = T0 };
        err e = { 0 };
        fault_alloc(nth);
        err_kind k = notify_put(o->n, &a, STR("up"), T0, &e);
        tick(o, T0 + MIN_MS);
        fired = fault_fired();
        CHECK_MSG(k == OK || fired, "allocation %u: %s", nth, e.message);
        CHECK_EQ(notify_put(o->n, &a, STR("up"), T0, &e), OK);
        for (int i = 1; i < 12 && !o->sent; i++)
            tick(o, T0 + i * MIN_MS);
        CHECK_MSG(o->sent == 1, "allocation %u: %zu messages", nth, o->sent);
    }
}
