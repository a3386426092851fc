/* heal/heal_state.h - inside the room: what heal.c, its records, actions and routes share. */
#pragma once
#include "heal/schedule.h"
#include "base/json.h"

#define HEAL_JSON_MAX (256u << 10)

/* An alert that fires, or a series a policy's expression answers: what an alert or expr trigger knows of a target. */
typedef struct signal_row {
    char *source;                    /* alert name, or policy name */
    char *subject;
    bool is_alert;
    int64_t since_ms, seen_ms;
} signal_row;

struct heal {
    heal_deps deps;
    heal_config *config;
    schedule *schedule;
    vec(signal_row) signals;
    vec(struct exec_job *) jobs;     /* running children, ended when heal closes */
    int64_t exprs_asked_ms;
    int64_t probed_ms;               /* the last test completion asked for by verification */
    int64_t warned_ms;
};

/* ---- heal_record.c: disk, audit, series ---- */
err_kind heal_store_treatment(heal *h, const treatment *t, err *e);
err_kind heal_store_ledger(heal *h, str subject, const guard_ledger *l, err *e);
void heal_forget(heal *h, const treatment *t);
err_kind heal_restore(heal *h, err *e);
err_kind heal_store_paused(heal *h, bool paused, err *e);
/* JSON text of state.db back into a treatment; its strings live in `a`. ERR_PARSE if it is none. */
err_kind heal_treatment_parse(str json, arena *a, treatment *ret, err *e);
err_kind heal_ledger_parse(str json, guard_ledger *ret, err *e);
void heal_treatment_json(json_writer *w, const treatment *t);
/* Never fails the caller: what cannot be recorded is logged. `durable` returns the error as well. */
err_kind heal_audit(heal *h, const char *kind, const treatment *t, str message, bool durable, err *e);
void heal_audit_change(heal *h, const treatment *t, heal_state before);
void heal_emit(heal *h, const treatment *t, heal_state before, int64_t now_ms);

/* ---- action/: one file each ---- */
typedef struct action_row { err_kind (*run)(heal *h, const treatment *t, const policy *p, const action *a, err *e); } action_row;
err_kind action_restart_run(heal *h, const treatment *t, const policy *p, const action *a, err *e);
err_kind action_exec_run(heal *h, const treatment *t, const policy *p, const action *a, err *e);
void action_restart_forget(const heal *h);     /* answers that still come find nobody */
void action_exec_end_all(heal *h);             /* children are killed, nobody is told */
/* The command of an escalation: run beside everything, its end is only audited. */
void action_exec_escalation(heal *h, const treatment *t, const config_strs *command);

/* The action ended (called on the loop, never from inside of run). */
void heal_action_ended(heal *h, str subject, uint64_t run, bool ok, const char *detail);
