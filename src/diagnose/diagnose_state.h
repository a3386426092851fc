/* diagnose/diagnose_state.h - inside the room: what diagnose.c and diagnose_http.c share. */
#pragma once
#include "diagnose/diagnose_config.h"
#include "diagnose/record.h"

/* One replica's memory between looks. */
typedef struct subject {
    char *id;                        /* "replica:JOB/INSTANCE" */
    incident_state state;
    incident_record *open;           /* in diagnose.records; NULL while closed */
    int64_t seen_ms, next_look_ms;
    int64_t process_start_ms;        /* of the process the next fields are about; 0: none known */
    bool answered, asked_past;       /* it has answered; the store was asked whether it did before we started */
    int64_t saturated_ms;            /* last verdict "saturated" */
    bool completion_known;           /* a completion probe is configured: closing needs a good one */
    int64_t probed_ms;               /* we asked for a probe */
    vec(char *) alerts;              /* names of firing alerts on it */
} subject;

struct diagnose {
    diagnose_deps deps;
    diagnose_config *config;
    vec(subject *) subjects;
    vec(incident_record *) records;  /* oldest first */
    unsigned serial;                 /* last part of incident ids */
    bool ticking, again;
    int64_t newest_ms;               /* the latest time we have looked at */
    bool clock_told;                 /* that the clock stands before it */
    int64_t rest_until_ms;           /* after a gap in our own time: engines are given time to answer */
    size_t next_replica;             /* where a tick that ran out of time goes on; 0: it did not */
    int64_t told_ms;                 /* last warning about failing questions */
    char audit_dir[4096];            /* for the timeline of an incident */
    own_metric *looks, *question_errors, *opened[CAUSE_COUNT];
};
