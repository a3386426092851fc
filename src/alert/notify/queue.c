/* alert/notify/queue.c - waiting, sending, waiting again. */
#include "alert/notify/queue.h"

#include <stdio.h>

#include "base/rand.h"

#define KEEP_BYTES (16u << 20) /* one message at most */

typedef struct entry {
    notify_message m;
    arena text;
    int64_t due_ms;
    bool sending;
} entry;

struct notify_queue {
    notify_queue_deps deps;
    vec(entry *) entries;            /* oldest first */
    size_t sending;
    uint64_t next_id;
    rand_state rand;
    void (*on_finished)(void *ctx, const notify_message *m, err_kind outcome);
    void *on_finished_ctx;
};

notify_queue *notify_queue_new(const notify_queue_deps *d, uint64_t seed)
{
    notify_queue *q = mem_zalloc(sizeof *q);
    if (q)
        *q = (notify_queue){ .deps = *d, .next_id = 1, .rand = rand_seeded(seed) };
    return q;
}

static void entry_free(entry *en)
{
    arena_done(&en->text);
    mem_free(en);
}

void notify_queue_clear(notify_queue *q)
{
    for (size_t i = 0; i < q->entries.len; i++) {
        if (q->entries.at[i]->sending && q->deps.cancel)
            q->deps.cancel(q->deps.send_ctx, q->entries.at[i]->m.id);
        entry_free(q->entries.at[i]);
    }
    vec_clear(&q->entries);
    q->sending = 0;
}

void notify_queue_free(notify_queue *q)
{
    if (!q)
        return;
    notify_queue_clear(q);
    vec_done(&q->entries);
    mem_free(q);
}

size_t notify_queue_len(const notify_queue *q) { return q->entries.len; }

void notify_queue_on_finished(notify_queue *q, void (*fn)(void *ctx, const notify_message *m, err_kind outcome), void *ctx)
{
    q->on_finished = fn;
    q->on_finished_ctx = ctx;
}

/* Take entry i out; tell everybody how it ended. */
static void finish(notify_queue *q, size_t i, err_kind outcome, const char *why)
{
    entry *en = q->entries.at[i];
    q->sending -= en->sending;
    vec_remove(&q->entries, i);
    if (q->deps.finished)
        q->deps.finished(q->deps.finished_ctx, &en->m, outcome, why);
    if (q->on_finished)
        q->on_finished(q->on_finished_ctx, &en->m, outcome);
    entry_free(en);
}

static void replace_older(notify_queue *q, str key)
{
    for (size_t i = q->entries.len; i-- > 0;)
        if (!q->entries.at[i]->sending && str_eq(q->entries.at[i]->m.key, key)) {
            entry_free(q->entries.at[i]);
            vec_remove(&q->entries, i);
        }
}

static void make_room(notify_queue *q)
{
    for (size_t i = 0; q->entries.len >= NOTIFY_QUEUE_MAX && i < q->entries.len; i++)
        if (!q->entries.at[i]->sending) {
            finish(q, i, ERR_FULL, "the queue of notifications is full");
            return;
        }
}

err_kind notify_queue_put(notify_queue *q, str key, str to_name, const webhook *to, str body, int64_t now_ms, uint64_t *ret_id, err *e)
{
    replace_older(q, key);
    make_room(q);
    entry *en = mem_zalloc(sizeof *en);
    if (!en)
        return err_nomem(e);
    *en = (entry){ .text = arena_init(KEEP_BYTES), .due_ms = now_ms };
    en->m = (notify_message){ .key = arena_str(&en->text, key), .receiver = arena_str(&en->text, to_name), .to = to,
                              .body = arena_str(&en->text, body), .id = q->next_id++ };
    if (!en->m.key.ptr || !en->m.receiver.ptr || !en->m.body.ptr || vec_push(&q->entries, en)) {
        entry_free(en);
        return err_nomem(e);
    }
    if (ret_id)
        *ret_id = en->m.id;
    return OK;
}

/* 1 s, 2 s, 4 s … of which the second half is left to chance, so that many do not come back at once. */
int64_t notify_backoff_ms(unsigned attempt, double chance)
{
    int64_t full = NOTIFY_BACKOFF_FIRST_MS;
    for (unsigned i = 1; i < attempt && full < NOTIFY_BACKOFF_MAX_MS; i++)
        full *= 2;
    full = MIN(full, NOTIFY_BACKOFF_MAX_MS);
    return full / 2 + (int64_t)((double)full / 2 * chance);
}

static void again_or_give_up(notify_queue *q, size_t i, const char *why, int64_t now_ms)
{
    entry *en = q->entries.at[i];
    if (en->m.attempt >= NOTIFY_MAX_ATTEMPTS) {
        finish(q, i, ERR_UNAVAILABLE, why);
        return;
    }
    q->sending -= en->sending;
    en->sending = false;
    en->due_ms = now_ms + notify_backoff_ms(en->m.attempt, rand_double(&q->rand));
}

/* One message at a time for each key: order is kept. */
static bool key_in_flight(const notify_queue *q, str key)
{
    for (size_t i = 0; i < q->entries.len; i++)
        if (q->entries.at[i]->sending && str_eq(q->entries.at[i]->m.key, key))
            return true;
    return false;
}

void notify_queue_tick(notify_queue *q, int64_t now_ms)
{
    for (size_t i = 0; i < q->entries.len && q->sending < NOTIFY_IN_FLIGHT_MAX;) {
        entry *en = q->entries.at[i];
        size_t before = q->entries.len;
        err e = { 0 };
        if (!en->sending && en->due_ms <= now_ms && !key_in_flight(q, en->m.key)) {
            en->m.attempt++;
            en->sending = true;
            q->sending++;
            if (q->deps.send(q->deps.send_ctx, &en->m, &e))
                again_or_give_up(q, i, e.message, now_ms);
        }
        i += q->entries.len == before;
    }
}

void notify_queue_result(notify_queue *q, uint64_t id, int status, const char *why, int64_t now_ms)
{
    char text[300];
    size_t i = 0;
    while (i < q->entries.len && q->entries.at[i]->m.id != id)
        i++;
    if (i == q->entries.len)
        return;
    if (status >= 200 && status < 300) {
        finish(q, i, OK, "");
        return;
    }
    if (status)
        snprintf(text, sizeof text, "the receiver answered %d", status);
    else
        snprintf(text, sizeof text, "%s", why ? why : "no answer");
    if (status && status != 429 && status < 500)
        finish(q, i, ERR_DENIED, text);
    else
        again_or_give_up(q, i, text, now_ms);
}
