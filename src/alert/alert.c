/* alert/alert.c - the room's life: a timer for each group, one for notifications, and what follows from a change. */
#include "alert/alert.h"

#include "alert/room.h"
#include "alert/schedule.h"

#define FIRST_EVALUATION_MS 200
#define STAGGER_MS 37                /* so that many groups do not start at once */
#define NOTIFY_TICK_MS 500

/* ---- wiring ---- */

static err_kind ask(void *ctx, str expr, int64_t t_ms, query_result *ret, err *e)
{
    return query_instant(ctx, expr, t_ms, NULL, ret, e);
}

static void put_evidence(buf *out, const rule *r, const alert_info *a)
{
    char since[CLOCK_ISO_MAX];
    json_writer w = json_writer_to(out);
    clock_format_iso(since, a->active_at_ms);
    json_begin(&w, '{');
    labels_json(&w, "labels", a->labels);
    json_put_double(&w, "value", a->value);
    json_put_str(&w, "expr", r->expr);
    json_put_cstr(&w, "active_since", since);
    json_end(&w, '}');
}

/* Which of the annotations says it best. */
static str sentence(const alert_info *a)
{
    static const char *const keys[] = { "summary", "description", "message" };
    for (size_t k = 0; k < COUNT_OF(keys); k++)
        for (size_t i = 0; i < a->annotation_count; i++)
            if (str_is(a->annotations[i].key, keys[k]))
                return a->annotations[i].value;
    return a->rule;
}

static void record(alert_room *room, const rule *r, const alert_info *a)
{
    AUTO(buf_done) buf data = BUF_INIT(AUDIT_MAX_DATA), subject = BUF_INIT(4096), message = BUF_INIT(16u << 10);
    bool firing = a->state == ALERT_FIRING;
    err e = { 0 };

    buf_printf(&subject, "rule:%" STR_FMT, STR_ARG(a->rule));
    buf_printf(&message, "%s%" STR_FMT, firing ? "" : "over: ", STR_ARG(sentence(a)));
    put_evidence(&data, r, a);
    audit_record rec = { .kind = firing ? STR("alert.firing") : STR("alert.resolved"), .actor = STR("galen"), .subject = buf_str(&subject),
                         .message = buf_str(&message), .data = buf_failed(&data) ? STR_EMPTY : buf_str(&data) };
    if (room->deps.audit && audit_append(room->deps.audit, &rec, false, NULL, &e))
        log_error("alert could not be recorded", KV_STR("alert", a->rule), KV_ERR(&e));
}

static void alert_changed(void *ctx, const rule_group *g, const rule *r, const alert_item *item, alert_state before)
{
    alert_room *room = ctx;
    alert_info info;
    err e = { 0 };

    alert_item_info(g, r, item, &info);
    record(room, r, &info);
    if (notify_put(room->notify, &info, r->expr, clock_now_ms(), &e))
        log_error("alert will not be notified", KV_STR("alert", r->name), KV_ERR(&e));
    if (room->deps.on_change)
        room->deps.on_change(room->deps.on_change_ctx, &info, before);
}

/* ---- notifications ---- */

static void record_notification(alert_room *room, const notify_message *m, err_kind outcome, const char *why)
{
    AUTO(buf_done) buf subject = BUF_INIT(1024), message = BUF_INIT(1024), data = BUF_INIT(64u << 10);
    json_writer w = json_writer_to(&data);
    err e = { 0 };

    buf_printf(&subject, "receiver:%" STR_FMT, STR_ARG(m->receiver));
    buf_printf(&message, "a notification to receiver \"%" STR_FMT "\" was %s: %s", STR_ARG(m->receiver),
               outcome == ERR_FULL ? "dropped" : "given up", why);
    json_begin(&w, '{');
    json_put_str(&w, "group", m->key);
    json_put_i64(&w, "attempts", m->attempt);
    json_end(&w, '}');
    audit_record rec = { .kind = outcome == ERR_FULL ? STR("alert.notification.dropped") : STR("alert.notification.failed"), .actor = STR("galen"),
                         .subject = buf_str(&subject), .message = buf_str(&message), .data = buf_str(&data) };
    if (room->deps.audit && audit_append(room->deps.audit, &rec, false, NULL, &e))
        log_error("a failed notification could not be recorded", KV_ERR(&e));
}

static void notification_finished(void *ctx, const notify_message *m, err_kind outcome, const char *why)
{
    alert_room *room = ctx;
    if (outcome == OK) {
        own_add(room->metrics.sent, 1);
        return;
    }
    own_add(outcome == ERR_FULL ? room->metrics.dropped : room->metrics.failed, 1);
    log_error("notification was not delivered", KV_STR("receiver", m->receiver), KV_INT("attempts", m->attempt), KV_CSTR("reason", why));
    record_notification(room, m, outcome, why);
}

static void notify_due(void *ctx)
{
    alert_room *room = ctx;
    int64_t now = clock_now_ms();
    notify_tick(room->notify, now);
    notify_queue_tick(room->queue, now);
    own_set(room->metrics.queue_length, (double)notify_queue_len(room->queue));
}

static err_kind open_notifications(alert_room *room, err *e)
{
    room->sender = webhook_sender_new(room->deps.client);
    notify_queue_deps d = { .send = webhook_send, .cancel = webhook_cancel, .send_ctx = room->sender,
                            .finished = notification_finished, .finished_ctx = room };
    room->queue = room->sender ? notify_queue_new(&d, (uint64_t)clock_mono_ns()) : NULL;
    if (!room->queue)
        return err_nomem(e);
    webhook_sender_queue(room->sender, room->queue);
    room->notify = notify_new(room->config, room->queue, room->eval.external_url);
    return room->notify ? OK : err_nomem(e);
}

/* ---- evaluation ---- */

static void count_alerts(alert_room *room)
{
    size_t by_state[ALERT_FIRING + 1] = { 0 };
    for (size_t g = 0; g < rule_set_groups(room->config->rules); g++) {
        const rule_group *group = rule_set_group(room->config->rules, g);
        for (size_t k = 0; k < group->len; k++)
            for (size_t n = 0; n < group->rules[k].item_count; n++)
                by_state[group->rules[k].items[n]->track.state]++;
    }
    own_set(room->metrics.pending, (double)by_state[ALERT_PENDING]);
    own_set(room->metrics.firing, (double)by_state[ALERT_FIRING]);
}

static void group_due(void *ctx)
{
    group_timer *t = ctx;
    alert_room *room = t->room;
    int64_t point = schedule_turn(t->group, t->planned_ms, clock_now_ms());
    size_t failed = group_evaluate(t->group, &room->eval, point);
    own_add(room->metrics.evaluations, (double)t->group->len);
    own_add(room->metrics.failures, (double)failed);
    own_set(room->metrics.last_duration, t->group->last_eval_s);
    count_alerts(room);
    t->planned_ms = point + t->group->interval_ms;
    net_timer_again(t->timer, t->planned_ms - clock_now_ms());
}

static void stop_timers(alert_room *room)
{
    for (size_t i = 0; i < room->timer_count; i++)
        net_timer_stop(room->timers[i].timer);
    mem_free(room->timers);
    room->timers = NULL;
    room->timer_count = 0;
}

/* `at_start`: the point that has just gone is evaluated too, so that nobody waits a whole interval for a first look. After a
 * reload it was evaluated already. */
static err_kind start_timers(alert_room *room, bool at_start, err *e)
{
    size_t n = rule_set_groups(room->config->rules);
    room->timers = mem_calloc(n + 1, sizeof *room->timers);
    if (!room->timers)
        return err_nomem(e);
    for (; room->timer_count < n; room->timer_count++) {
        group_timer *t = &room->timers[room->timer_count];
        *t = (group_timer){ .room = room, .group = rule_set_group(room->config->rules, room->timer_count) };
        int64_t now = clock_now_ms(), soon = FIRST_EVALUATION_MS + (int64_t)(room->timer_count * STAGGER_MS) % t->group->interval_ms;
        t->planned_ms = schedule_point(t->group, now) + (at_start ? 0 : t->group->interval_ms);
        t->timer = net_timer_start(room->deps.loop, at_start ? soon : t->planned_ms - now, 0, group_due, t);
        if (!t->timer)
            return err_nomem(e);
    }
    return OK;
}

static void say_notes(const alert_config *c)
{
    for (size_t i = 0; i < c->note_count; i++)
        log_warn("alert configuration is used in part", KV_CSTR("note", c->notes[i]));
}

static void register_metrics(struct alert_metrics *m)
{
    m->evaluations = own_counter("alert_rule_evaluations_total", NULL, "Rules evaluated.");
    m->failures = own_counter("alert_rule_evaluation_failures_total", NULL, "Rules whose evaluation failed.");
    m->last_duration = own_gauge("alert_group_last_duration_seconds", NULL, "How long the last evaluated group took.");
    m->pending = own_gauge("alert_alerts", "state=\"pending\"", "Alerts by state.");
    m->firing = own_gauge("alert_alerts", "state=\"firing\"", "Alerts by state.");
    m->sent = own_counter("alert_notifications_total", "outcome=\"sent\"", "Notifications by how they ended.");
    m->failed = own_counter("alert_notifications_total", "outcome=\"failed\"", "Notifications by how they ended.");
    m->dropped = own_counter("alert_notifications_total", "outcome=\"dropped\"", "Notifications by how they ended.");
    m->queue_length = own_gauge("alert_notifications_queue_length", NULL, "Notifications waiting or being sent.");
}

/* ---- life ---- */

static void alert_closep(alert_room **r)
{
    alert_close(*r);
    *r = NULL;
}

err_kind alert_open(const alert_deps *deps, alert_config *take, alert_room **ret, err *e)
{
    AUTO(alert_closep) alert_room *room = mem_zalloc(sizeof *room);
    err scratch;

    e = e ? e : &scratch;
    if (!room) {
        alert_config_free(take);
        return err_nomem(e);
    }
    room->deps = *deps;
    room->config = take;
    room->eval = (eval_deps){ .query = ask, .query_ctx = deps->query, .sink = deps->sink, .external_url = str_from(deps->external_url),
                              .external_labels = take->external_labels,
                              .changed = alert_changed, .changed_ctx = room };
    register_metrics(&room->metrics);
    if (open_notifications(room, e) || start_timers(room, true, e))
        return err_context(e, "could not start alerting");
    room->notify_timer = net_timer_start(deps->loop, NOTIFY_TICK_MS, NOTIFY_TICK_MS, notify_due, room);
    if (!room->notify_timer)
        return err_nomem(e);
    say_notes(take);
    *ret = TAKE(room);
    return OK;
}

/* What the old rules wrote and the new ones do not know ends now. */
static void end_series_of_gone_rules(alert_room *room, rule_set *old)
{
    for (size_t i = 0; i < rule_set_groups(old); i++) {
        rule_group *g = rule_set_group(old, i);
        for (size_t k = 0; k < g->len; k++)
            if (g->rules[k].book.len)
                (void)series_book_end(&g->rules[k].book, clock_now_ms(), &room->deps.sink, &(err){ 0 });
    }
}

static void put_firing_again(alert_room *room)
{
    for (size_t i = 0; i < rule_set_groups(room->config->rules); i++) {
        rule_group *g = rule_set_group(room->config->rules, i);
        for (size_t k = 0; k < g->len; k++)
            for (size_t n = 0; n < g->rules[k].item_count; n++) {
                alert_info info;
                alert_item_info(g, &g->rules[k], g->rules[k].items[n], &info);
                if (info.state == ALERT_FIRING)
                    (void)notify_put(room->notify, &info, g->rules[k].expr, clock_now_ms(), NULL);
            }
    }
}

err_kind alert_reload(alert_room *room, alert_config *take, err *e)
{
    alert_config *old = room->config;
    stop_timers(room);
    room->config = take;
    room->eval.external_labels = take->external_labels;
    if (start_timers(room, false, e)) { /* without memory: back to what ran before */
        stop_timers(room);
        room->config = old;
        room->eval.external_labels = old->external_labels;
        alert_config_free(take);
        err ignored;
        if (start_timers(room, false, &ignored))
            log_error("rules are not evaluated any more", KV_ERR(&ignored));
        return err_context(e, "could not reload the alert rules");
    }
    rules_move_state(old->rules, take->rules);
    end_series_of_gone_rules(room, old->rules);
    notify_queue_clear(room->queue); /* its messages point into the old configuration */
    notify_reroute(room->notify, take);
    put_firing_again(room);
    say_notes(take);
    alert_config_free(old);
    return OK;
}

void alert_close(alert_room *room)
{
    if (!room)
        return;
    stop_timers(room);
    net_timer_stop(room->notify_timer);
    notify_free(room->notify);
    notify_queue_free(room->queue);
    webhook_sender_free(room->sender);
    alert_config_free(room->config);
    mem_free(room);
}

bool alert_at(alert_room *room, size_t i, alert_info *ret)
{
    for (size_t g = 0; g < rule_set_groups(room->config->rules); g++) {
        rule_group *group = rule_set_group(room->config->rules, g);
        for (size_t k = 0; k < group->len; k++)
            for (size_t n = 0; n < group->rules[k].item_count; n++) {
                const alert_item *item = group->rules[k].items[n];
                if (item->track.state == ALERT_INACTIVE || i-- > 0)
                    continue;
                alert_item_info(group, &group->rules[k], item, ret);
                return true;
            }
    }
    return false;
}
