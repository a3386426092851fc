/* diagnose/diagnose.h - the room's door: why it happens.
 *
 * Every tick each replica's symptoms are asked of the store in PromQL over canonical names, so that the evidence is
 * a query anyone can run again. A cause is one file: which symptoms speak for it, which against. "Inconclusive" is
 * an answer; no evidence, no claim. diagnose alone opens and closes incidents; a firing alert is one more symptom. */
#pragma once
#include "alert/alert.h"
#include "watch/watch.h"

typedef enum confidence { CONFIDENCE_INCONCLUSIVE, CONFIDENCE_LIKELY, CONFIDENCE_CONFIRMED } confidence;
const char *confidence_name(confidence c);       /* "inconclusive", "likely", "confirmed" */

typedef struct evidence {
    str symptom;      /* "progress_stopped" */
    str expr;         /* the PromQL that was asked, with this replica's labels filled in */
    double value;     /* what it answered; NaN: nothing */
    bool holds;       /* symptom present */
    str text;         /* one sentence, English */
    str text_zh;      /* and Chinese */
} evidence;

typedef struct incident {
    str id;                     /* "inc-20261121-081530-1" */
    str subject;                /* "replica:chat/127.0.0.1:8000" */
    str cause;                  /* "engine_dead", "engine_frozen", "decode_stalled", "saturated", "inconclusive" */
    confidence confidence;
    str summary, summary_zh;
    bool act;                   /* false: healing must not touch it (saturated) */
    int64_t opened_ms, closed_ms;   /* closed 0: open */
    int64_t cause_since_ms;     /* when the present cause was named */
    int64_t healthy_since_ms;   /* 0: a fault is there now; else since when none is seen (the incident closes soon) */
    bool present;               /* the last look named this very cause: heal acts only while it does */
    unsigned episode;           /* counts each time the cause changed or came back: heal's fencing token */
    const evidence *evidence; size_t evidence_count;
} incident;

/* What `trigger: {cause: …}` may name: the i-th cause, NULL beyond the last. *ret_act (may be NULL) false: healing
 * must never act on it (saturated), or only when the incident itself says so (inconclusive). */
const char *diagnose_cause_at(size_t i, bool *ret_act);

/* `job="…",instance="…"` with PromQL's escapes: what fills in $replica in a symptom's or a policy's expression. */
void diagnose_replica_matchers(str job, str instance, buf *out);

/* INCIDENT_CAUSE_CHANGED is also told when only the confidence rose; then `episode` is the same as before. */
typedef enum incident_change { INCIDENT_OPENED, INCIDENT_CAUSE_CHANGED, INCIDENT_CLOSED } incident_change;
typedef struct diagnose diagnose;
typedef struct diagnose_deps {
    query_engine *query; watch *watch; audit *audit; state_db *state; sample_sink sink;
    void (*on_incident)(void *ctx, const incident *i, incident_change change);
    void *on_incident_ctx;
} diagnose_deps;
typedef struct diagnose_config diagnose_config;
err_kind diagnose_config_parse(const config *c, diagnose_config **ret, err *e);
void diagnose_config_free(diagnose_config *c);
int64_t diagnose_config_tick_ms(const diagnose_config *c);
err_kind diagnose_open(const diagnose_deps *deps, diagnose_config *take, diagnose **ret, err *e);
err_kind diagnose_reload(diagnose *d, diagnose_config *take, err *e);
void diagnose_close(diagnose *d);
void diagnose_tick(diagnose *d, int64_t now_ms);                     /* main.c's timer, and whenever watch says something changed */
/* The clock was set back: the store takes nothing new until it has caught up, and what it answers for `now_ms` was seen
 * long before. Nothing may be concluded from it; what watch knows of its processes still counts. */
bool diagnose_clock_is_back(const diagnose *d, int64_t now_ms);
void diagnose_alert(diagnose *d, const alert_info *a, alert_state before);
/* i-th incident, open ones first, newest first; at most DIAGNOSE_KEEP closed ones are kept. NULL beyond. */
#define DIAGNOSE_KEEP 200
const incident *diagnose_incident_at(diagnose *d, size_t i);
const incident *diagnose_incident_find(diagnose *d, str id);
/* The open incident on this subject, NULL if none: heal re-checks with it right before acting. */
const incident *diagnose_open_incident(diagnose *d, str subject);
void incident_json(json_writer *w, const incident *i);
err_kind diagnose_routes(diagnose *d, const char *audit_dir, http_server *s, err *e); /* /api/galen/v1/incidents[/:id] */
