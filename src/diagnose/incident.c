#include "diagnose/incident.h"

static incident_state name_cause(incident_state s, const verdict *v, int64_t now_ms)
{
    s.cause = v->cause;
    s.confidence = v->confidence;
    s.act = v->act;
    s.cause_since_ms = now_ms;
    s.episode++;
    s.candidate = CAUSE_NONE;
    return s;
}

/* What the verdict names must be named again and again for its hold time before it counts. */
static bool held(incident_state *s, const verdict *v, int64_t hold_ms, int64_t now_ms)
{
    if (s->candidate != v->cause || s->candidate_since_ms > now_ms) { /* or the clock was set back */
        s->candidate = v->cause;
        s->candidate_since_ms = now_ms;
    }
    return now_ms - s->candidate_since_ms >= hold_ms;
}

static incident_state on_fault(incident_state s, const verdict *v, const incident_limits *l, int64_t now_ms)
{
    s.last_fault_ms = now_ms;
    if (!s.open) {
        if (!held(&s, v, v->hold_ms, now_ms))
            return s;
        s.open = true;
        s.opened_ms = now_ms;
        s.healthy_since_ms = 0;
        return name_cause(s, v, now_ms);
    }
    bool came_back = s.healthy_since_ms != 0;
    if (v->cause == s.cause && !came_back) {
        s.candidate = CAUSE_NONE;
        s.confidence = MAX(s.confidence, v->confidence);
        s.act = v->act;
        return s;
    }
    /* "Inconclusive" does not take the place of a cause that was named on evidence. */
    if (!came_back && v->cause == CAUSE_INCONCLUSIVE) {
        s.candidate = CAUSE_NONE;
        s.act = s.act && v->act;
        return s;
    }
    if (!held(&s, v, MAX(v->hold_ms, l->rename_ms), now_ms))
        return s;
    s.healthy_since_ms = 0;
    return name_cause(s, v, now_ms);
}

static incident_state on_calm(incident_state s, bool proof, const incident_limits *l, int64_t now_ms)
{
    s.candidate = CAUSE_NONE;
    if (!s.open)
        return s;
    if (s.healthy_since_ms <= s.last_fault_ms)   /* a blip in between starts the count anew */
        s.healthy_since_ms = now_ms;
    if (proof && now_ms - s.healthy_since_ms >= l->close_after_ms)
        return (incident_state){ .episode = s.episode, .last_fault_ms = s.last_fault_ms };
    return s;
}

incident_state incident_step(incident_state s, const verdict *v, bool proof, const incident_limits *l, int64_t now_ms)
{
    switch (v->kind) {
    case VERDICT_FAULT: s = on_fault(s, v, l, now_ms); break;
    case VERDICT_CALM: s = on_calm(s, proof, l, now_ms); break;
    case VERDICT_STARTING: s.candidate = CAUSE_NONE; break;   /* neither ill nor well: what was held starts anew */
    }
    s.present = s.open && v->kind == VERDICT_FAULT && v->cause == s.cause && s.healthy_since_ms == 0;
    return s;
}
