/* alert/notify/group.c - groups of alerts, and what their receivers have been told. */
#include "alert/notify/notify.h"

#include <stdio.h>
#include <stdlib.h>

#include "alert/notify/webhook.h"

#define ALERT_TEXT_MAX (512u << 10)
#define MESSAGE_MAX_BYTES (8u << 20)
#define TOLD_MAX 100000

typedef struct group {
    const alert_route *route;
    label_set *labels;
    str key;                          /* "{}/{severity="critical"}:{alertname="X"}" */
    arena text;
    vec(notify_alert *) alerts;
    int64_t next_flush_ms;
    bool flushed;                     /* group_wait is over */
} group;

struct notify {
    const alert_config *config;
    notify_queue *queue;
    str external_url;
    vec(group *) groups;
    map told;                         /* "groupkey receiver/index" -> notify_told: survives rerouting */
    map pending;                      /* the same key -> notify_told that becomes `told` when the message has arrived */
};

/* ---- what is worth telling ---- */

static bool subset(const uint64_t *part, size_t n, const uint64_t *whole, size_t whole_n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        while (k < whole_n && whole[k] < part[i])
            k++;
        if (k == whole_n || whole[k] != part[i])
            return false;
    }
    return true;
}

bool notify_worth_telling(const notify_told *told, const uint64_t *firing, size_t firing_len, const uint64_t *resolved, size_t resolved_len,
                          bool send_resolved, int64_t repeat_ms, int64_t now_ms)
{
    if (!told || told->at_ms == 0)
        return firing_len > 0;
    if (!subset(firing, firing_len, told->firing, told->firing_len))
        return true;
    if (firing_len == 0)
        return send_resolved && told->firing_len > 0; /* the end of what was told, once */
    if (send_resolved && !subset(resolved, resolved_len, told->resolved, told->resolved_len))
        return true;
    return now_ms - told->at_ms >= repeat_ms;
}

static void told_free(notify_told *t)
{
    if (!t)
        return;
    mem_free(t->firing);
    mem_free(t);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The hashes of a group's alerts now: firing and resolved share one allocation. */
static notify_told *snapshot(const group *g, int64_t now_ms)
{
    notify_told *t = mem_zalloc(sizeof *t);
    if (!t || !(t->firing = mem_calloc(g->alerts.len + 1, sizeof *t->firing))) {
        mem_free(t);
        return NULL;
    }
    t->at_ms = now_ms;
    for (size_t i = 0; i < g->alerts.len; i++)
        if (!g->alerts.at[i]->ends_ms)
            t->firing[t->firing_len++] = g->alerts.at[i]->hash;
    t->resolved = t->firing + t->firing_len;
    for (size_t i = 0; i < g->alerts.len; i++)
        if (g->alerts.at[i]->ends_ms)
            t->resolved[t->resolved_len++] = g->alerts.at[i]->hash;
    qsort(t->firing, t->firing_len, sizeof *t->firing, by_value);
    qsort(t->resolved, t->resolved_len, sizeof *t->resolved, by_value);
    return t;
}

/* ---- alerts and groups ---- */

static void alert_free(notify_alert *a)
{
    label_set_unref(a->labels);
    arena_done(&a->text);
    mem_free(a);
}

static void group_free(group *g)
{
    for (size_t i = 0; i < g->alerts.len; i++)
        alert_free(g->alerts.at[i]);
    vec_done(&g->alerts);
    label_set_unref(g->labels);
    arena_done(&g->text);
    mem_free(g);
}

static void drop_groups(notify *n)
{
    for (size_t i = 0; i < n->groups.len; i++)
        group_free(n->groups.at[i]);
    vec_clear(&n->groups);
}

static void told_map_done(map *m)
{
    size_t pos = 0;
    str key;
    void *value;
    while (map_next(m, &pos, &key, &value))
        told_free(value);
    map_done(m);
    *m = (map)MAP_INIT;
}

static void message_finished(void *ctx, const notify_message *m, err_kind outcome);

notify *notify_new(const alert_config *c, notify_queue *q, str external_url)
{
    notify *n = mem_zalloc(sizeof *n);
    if (!n)
        return NULL;
    *n = (notify){ .config = c, .queue = q, .external_url = external_url, .told = MAP_INIT, .pending = MAP_INIT };
    notify_queue_on_finished(q, message_finished, n);
    return n;
}

void notify_free(notify *n)
{
    if (!n)
        return;
    drop_groups(n);
    vec_done(&n->groups);
    told_map_done(&n->told);
    told_map_done(&n->pending);
    mem_free(n);
}

void notify_reroute(notify *n, const alert_config *c)
{
    drop_groups(n);
    told_map_done(&n->pending);
    n->config = c;
}

size_t notify_group_count(const notify *n) { return n->groups.len; }

/* The labels an alert is grouped by on this route. */
static label_set *group_labels(const alert_route *r, labels l)
{
    label kept[LABELS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < l.len && n < LABELS_MAX; i++) {
        bool wanted = r->group_by_all;
        for (size_t k = 0; !wanted && k < r->group_by.len; k++)
            wanted = str_eq(r->group_by.at[k], l.at[i].name);
        if (wanted)
            kept[n++] = l.at[i];
    }
    return label_set_new((labels){ kept, n });
}

static group *find_group(notify *n, const alert_route *r, labels l)
{
    for (size_t i = 0; i < n->groups.len; i++)
        if (n->groups.at[i]->route == r && labels_eq(label_set_view(n->groups.at[i]->labels), l))
            return n->groups.at[i];
    return NULL;
}

/* Takes `labels`. */
static group *add_group(notify *n, const alert_route *r, label_set *take_labels, int64_t now_ms)
{
    AUTO(buf_done) buf key = BUF_INIT(64u << 10);
    group *g = n->groups.len < NOTIFY_MAX_GROUPS ? mem_zalloc(sizeof *g) : NULL;
    if (!g) {
        label_set_unref(take_labels);
        return NULL;
    }
    *g = (group){ .route = r, .labels = take_labels, .text = arena_init(128u << 10), .next_flush_ms = now_ms + r->group_wait_ms };
    labels l = label_set_view(take_labels);
    buf_printf(&key, "%" STR_FMT ":", STR_ARG(r->key));
    if (l.len)
        labels_format(l, &key);
    else
        buf_append(&key, STR("{}"));
    g->key = arena_str(&g->text, buf_str(&key));
    if (buf_failed(&key) || !g->key.ptr || vec_push(&n->groups, g)) {
        group_free(g);
        return NULL;
    }
    return g;
}

static str generator_url(arena *a, str external_url, str expr)
{
    AUTO(buf_done) buf b = BUF_INIT(64u << 10);
    for (size_t i = 0; i < expr.len; i++) {
        unsigned char c = (unsigned char)expr.ptr[i];
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("-_.~", c)))
            buf_append_char(&b, (char)c);
        else
            buf_printf(&b, "%%%02X", c);
    }
    return arena_printf(a, "%" STR_FMT "/graph?g0.expr=%" STR_FMT "&g0.tab=1", STR_ARG(external_url), STR_ARG(buf_str(&b)));
}

static notify_alert *alert_new(const notify *n, const alert_info *info, str expr, int64_t now_ms)
{
    notify_alert *a = mem_zalloc(sizeof *a);
    if (!a)
        return NULL;
    *a = (notify_alert){ .labels = label_set_new(info->labels), .hash = labels_hash(info->labels), .text = arena_init(ALERT_TEXT_MAX),
                         .starts_ms = info->active_at_ms, .ends_ms = info->state == ALERT_FIRING ? 0 : now_ms };
    a->annotations = arena_array(&a->text, config_pair, info->annotation_count + 1);
    bool failed = !a->labels || !a->annotations;
    for (size_t i = 0; !failed && i < info->annotation_count; i++) {
        config_pair p = { arena_str(&a->text, info->annotations[i].key), arena_str(&a->text, info->annotations[i].value) };
        failed = !p.key.ptr || !p.value.ptr;
        a->annotations[a->annotation_count++] = p;
    }
    if (!failed)
        a->generator_url = generator_url(&a->text, n->external_url, expr);
    if (!failed && a->generator_url.ptr)
        return a;
    alert_free(a);
    return NULL;
}

/* Put the alert in; an older copy of it goes. The end of what is not in the group is no news. */
static err_kind group_put(group *g, const notify *n, const alert_info *info, str expr, int64_t now_ms, err *e)
{
    uint64_t hash = labels_hash(info->labels);
    size_t i = 0;
    while (i < g->alerts.len && !(g->alerts.at[i]->hash == hash && labels_eq(label_set_view(g->alerts.at[i]->labels), info->labels)))
        i++;
    if (i == g->alerts.len && info->state != ALERT_FIRING)
        return OK;
    if (i == NOTIFY_MAX_GROUP_ALERTS)
        return err_set(e, ERR_LIMIT, "more than %d alerts in one group", NOTIFY_MAX_GROUP_ALERTS);
    notify_alert *a = alert_new(n, info, expr, now_ms);
    if (!a)
        return err_nomem(e);
    if (i < g->alerts.len) {
        alert_free(g->alerts.at[i]);
        g->alerts.at[i] = a;
    } else if (vec_push(&g->alerts, a)) {
        alert_free(a);
        return err_nomem(e);
    }
    return OK;
}

typedef struct putting { notify *n; const alert_info *info; str expr; int64_t now_ms; err *e; err_kind kind; } putting;

static void put_on_route(void *ctx, const alert_route *r)
{
    putting *p = ctx;
    label_set *l = group_labels(r, p->info->labels);
    group *g = l ? find_group(p->n, r, label_set_view(l)) : NULL;
    if (g)
        label_set_unref(l);
    else if (p->info->state != ALERT_FIRING) {
        label_set_unref(l);
        return;
    } else if (!l || !(g = add_group(p->n, r, l, p->now_ms))) {
        p->kind = err_set(p->e, p->n->groups.len >= NOTIFY_MAX_GROUPS ? ERR_LIMIT : ERR_NOMEM, "could not make a group of notifications");
        return;
    }
    err_kind k = group_put(g, p->n, p->info, p->expr, p->now_ms, p->e);
    p->kind = k ? k : p->kind;
}

err_kind notify_put(notify *n, const alert_info *a, str expr, int64_t now_ms, err *e)
{
    putting p = { n, a, expr, now_ms, e, OK };
    route_match(n->config->route, a->labels, put_on_route, &p);
    return p.kind;
}

/* ---- flushing ---- */

static str told_key(const group *g, size_t i, arena *a)
{
    return arena_printf(a, "%" STR_FMT " %" STR_FMT "/%zu", STR_ARG(g->key), STR_ARG(g->route->to->name), i);
}

static err_kind write_message(const notify *n, const group *g, const webhook *w, arena *a, buf *out)
{
    const notify_alert **alerts = arena_array(a, const notify_alert *, g->alerts.len + 1);
    size_t len = 0;
    if (!alerts)
        return ERR_NOMEM;
    for (size_t i = 0; i < g->alerts.len; i++)
        if (!g->alerts.at[i]->ends_ms)
            alerts[len++] = g->alerts.at[i];
    for (size_t i = 0; w->send_resolved && i < g->alerts.len; i++)
        if (g->alerts.at[i]->ends_ms)
            alerts[len++] = g->alerts.at[i];
    webhook_message m = { .receiver = g->route->to->name, .group_key = g->key, .external_url = n->external_url,
                          .group_labels = label_set_view(g->labels), .alerts = alerts, .len = len, .max_alerts = w->max_alerts };
    webhook_write(&m, out);
    return out->failed;
}

/* Returns whether something is (still) on its way to this webhook. */
static bool flush_webhook(notify *n, group *g, size_t i, int64_t now_ms)
{
    AUTO(arena_done) arena a = ARENA_INIT(4u << 20);
    AUTO(buf_done) buf body = BUF_INIT(MESSAGE_MAX_BYTES);
    const webhook *w = &g->route->to->webhooks[i];
    str key = told_key(g, i, &a);
    notify_told *now = snapshot(g, now_ms);
    err e = { 0 };

    if (!key.ptr || !now || !notify_worth_telling(map_get(&n->told, key), now->firing, now->firing_len, now->resolved, now->resolved_len,
                                                  w->send_resolved, g->route->repeat_interval_ms, now_ms)) {
        told_free(now);
        return !key.ptr || map_has(&n->pending, key);
    }
    void *old = map_get(&n->pending, key);
    if (write_message(n, g, w, &a, &body) || notify_queue_put(n->queue, key, g->route->to->name, w, buf_str(&body), now_ms, &now->message_id, &e) ||
        map_set(&n->pending, key, now)) {
        told_free(now);
        if (e.kind == OK)
            buf_failed(&body) && body.failed == ERR_LIMIT ? err_set(&e, ERR_LIMIT, "the message is larger than %u bytes", MESSAGE_MAX_BYTES) : err_nomem(&e);
        log_error("notification could not be queued, trying again with the next change", KV_STR("receiver", g->route->to->name), KV_ERR(&e));
        return true;
    }
    told_free(old);
    return true;
}

static void remove_resolved(group *g)
{
    for (size_t i = g->alerts.len; i-- > 0;)
        if (g->alerts.at[i]->ends_ms) {
            alert_free(g->alerts.at[i]);
            vec_remove(&g->alerts, i);
        }
}

static void flush(notify *n, group *g, int64_t now_ms)
{
    bool on_the_way = false;
    for (size_t i = 0; i < g->route->to->len; i++)
        on_the_way |= flush_webhook(n, g, i, now_ms);
    g->flushed = true;
    g->next_flush_ms = now_ms + g->route->group_interval_ms;
    if (!on_the_way) /* all have been told, or there is nobody to tell */
        remove_resolved(g);
}

static void forget_told(notify *n, const group *g)
{
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    for (size_t i = 0; i < g->route->to->len; i++) {
        str key = told_key(g, i, &a);
        if (key.ptr)
            told_free(map_remove(&n->told, key));
    }
}

void notify_tick(notify *n, int64_t now_ms)
{
    for (size_t i = n->groups.len; i-- > 0;) {
        group *g = n->groups.at[i];
        if (g->next_flush_ms > now_ms)
            continue;
        flush(n, g, now_ms);
        if (g->alerts.len == 0) {
            forget_told(n, g);
            group_free(g);
            vec_remove(&n->groups, i);
        }
    }
}

static void message_finished(void *ctx, const notify_message *m, err_kind outcome)
{
    notify *n = ctx;
    notify_told *sent = map_get(&n->pending, m->key);
    if (sent && sent->message_id != m->id) /* a newer one is waiting behind it and will tell more */
        return;
    map_remove(&n->pending, m->key);
    if (!sent || outcome != OK || (!map_has(&n->told, m->key) && n->told.len >= TOLD_MAX)) {
        told_free(sent);
        return;
    }
    void *old = map_get(&n->told, m->key);
    if (map_set(&n->told, m->key, sent))
        told_free(sent); /* it is told again: better twice than never */
    else
        told_free(old);
}
