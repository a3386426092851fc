/* alert/notify/webhook.h - Alertmanager's webhook message, version 4, and sending it.
 *
 * Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config and notify/webhook/webhook.go:
 *   {"receiver","status","alerts":[{"status","labels","annotations","startsAt","endsAt","generatorURL","fingerprint"}],
 *    "groupLabels","commonLabels","commonAnnotations","externalURL","version":"4","groupKey","truncatedAlerts"} */
#pragma once
#include "alert/notify/notify.h"

typedef struct webhook_message {
    str receiver, group_key, external_url;
    labels group_labels;
    const notify_alert *const *alerts; size_t len;    /* firing ones first */
    int64_t max_alerts;                               /* 0: all */
} webhook_message;
void webhook_write(const webhook_message *m, buf *out);

/* Prometheus's label fingerprint (FNV-1a 64, model.LabelsToSignature): the same alert, the same 16 digits as in Alertmanager. */
uint64_t webhook_fingerprint(labels l);

/* The senders of one queue, on libcurl. */
typedef struct webhook_sender webhook_sender;
webhook_sender *webhook_sender_new(http_client *client);           /* NULL without memory */
void webhook_sender_free(webhook_sender *s);                       /* cancels what is in flight */
void webhook_sender_queue(webhook_sender *s, notify_queue *q);     /* where results go */
err_kind webhook_send(void *sender, const notify_message *m, err *e);
void webhook_cancel(void *sender, uint64_t id);
size_t webhook_in_flight(const webhook_sender *s);
