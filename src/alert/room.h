/* alert/room.h - the room's inside: what alert.c keeps and alert_http.c shows. */
#pragma once
#include "alert/alert_config.h"
#include "alert/evaluate.h"
#include "alert/notify/notify.h"
#include "alert/notify/webhook.h"

typedef struct group_timer { alert_room *room; rule_group *group; net_timer *timer; int64_t planned_ms; } group_timer;

struct alert_room {
    alert_deps deps;
    alert_config *config;
    eval_deps eval;
    group_timer *timers; size_t timer_count;     /* one a group */
    net_timer *notify_timer;
    webhook_sender *sender;
    notify_queue *queue;
    notify *notify;
    struct alert_metrics {
        own_metric *evaluations, *failures, *last_duration, *pending, *firing;
        own_metric *sent, *failed, *dropped, *queue_length;
    } metrics;
};
