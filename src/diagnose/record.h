/* diagnose/record.h - an incident as people and disks see it: sentences, evidence, JSON.
 *
 * One heap block and one arena an incident; everything `view` points to lives in the arena and dies with it. When the
 * cause changes a new record is built and takes the old one's place, so readers never see half of each. */
#pragma once
#include "diagnose/incident.h"

#define INCIDENT_EVIDENCE_MAX 64     /* symptoms and alerts kept with one incident */
#define INCIDENT_JSON_MAX (192u << 10)

typedef struct incident_record {
    incident view;
    arena arena;
} incident_record;

/* What was seen when the cause was named. */
typedef struct incident_sight {
    const replica_info *replica;
    const symptom_limits *limits;
    const symptom_set *symptoms;
    const str *alerts; size_t alert_count;     /* names of firing alerts on this replica */
} incident_sight;

/* NULL without memory. */
incident_record *incident_record_new(str id, str subject, const incident_state *s, const incident_sight *sight);
void incident_record_free(incident_record *r);
void incident_record_freep(incident_record **r);
/* Times and flags that move from look to look. */
void incident_record_sync(incident_record *r, const incident_state *s);

/* Back from incident_json's text (state.db). ERR_PARSE if it is none. */
err_kind incident_record_parse(str json, incident_record **ret, err *e);
/* The machine's state as far as a restart needs it: the fault counts as seen now, so that closing needs new proof. */
incident_state incident_record_state(const incident_record *r, int64_t now_ms);
