#include "heal/episode.h"

static const char *const state_names[] = { "suggested", "waiting", "acting", "verifying", "done", "needs_human", "cancelled" };
const char *heal_state_name(heal_state s)
{
    return (size_t)s < COUNT_OF(state_names) ? state_names[s] : "cancelled";
}

static episode enter(episode p, heal_state state, const char *why, int64_t now_ms)
{
    if (p.state != state)
        p.since_ms = now_ms;
    p.state = state;
    p.why = why;
    p.running = p.running && state == HEAL_ACTING;
    return p;
}

static episode fail(episode p, const episode_rules *r, const char *why, int64_t now_ms, episode_effect *ret)
{
    if (p.attempt <= r->retries)
        return enter(p, HEAL_WAITING, why, now_ms);
    *ret = EFFECT_ESCALATE;
    return enter(p, HEAL_NEEDS_HUMAN, "every attempt has failed", now_ms);
}

static episode verify(episode p, const char *why, int64_t now_ms)
{
    p.verify_from_ms = now_ms;
    p.good_since_ms = 0;
    return enter(p, HEAL_VERIFYING, why, now_ms);
}

static episode act(episode p, const char *why, int64_t now_ms, episode_effect *ret)
{
    *ret = EFFECT_ACT;
    p.run++;
    p.acted_ms = now_ms;
    p = enter(p, HEAL_ACTING, why, now_ms);
    p.running = true;
    return p;
}

static const char *held_back(const episode_input *in)
{
    if (in->paused)
        return "an operator has paused healing";
    if (in->claim == CLAIM_ABSENT)
        return "the fault is not seen at this moment";
    if (in->claim == CLAIM_WHEN_FALSE)
        return "the policy's condition does not hold";
    switch (in->guard) {
    case GUARD_PERSON_CALLED: return "a person has been called for this target";
    case GUARD_TARGET_BUSY: return "another policy is healing this target";
    case GUARD_OTHERS_BUSY: return "as many targets as allowed are being healed already";
    case GUARD_COOLDOWN: return "the target is cooling down after the last attempt";
    default: return NULL;
    }
}

static episode on_waiting(episode p, const episode_input *in, episode_effect *ret)
{
    if (in->claim == CLAIM_STALE || in->mode == HEAL_OFF)
        return enter(p, HEAL_CANCELLED, in->mode == HEAL_OFF ? "healing was switched off" : "the reason went away", in->now_ms);
    if (in->mode == HEAL_SUGGEST)
        return enter(p, HEAL_SUGGESTED, "the mode is suggest: a person decides", in->now_ms);
    if (p.state == HEAL_SUGGESTED)
        return enter(p, HEAL_WAITING, "the mode is now auto", in->now_ms);
    const char *why = held_back(in);
    if (why)
        return enter(p, HEAL_WAITING, why, in->now_ms);
    if (in->guard == GUARD_HOUR_USED_UP) {
        *ret = EFFECT_ESCALATE;
        return enter(p, HEAL_NEEDS_HUMAN, "the attempts allowed in an hour are used up", in->now_ms);
    }
    p.attempt += p.redo ? 0 : 1;
    p.redo = false;
    p.step = 0;
    return act(p, "the action is under way", in->now_ms, ret);
}

static episode on_resumed(episode p, const episode_input *in)
{
    if (in->resume == RESUME_WAIT)
        return p;
    p.resumed = false;
    if (in->resume == RESUME_DONE)
        return verify(p, "galen was restarted meanwhile; looking whether the action helped", in->now_ms);
    p.redo = true;
    return enter(p, HEAL_WAITING, "galen was restarted before the action ran", in->now_ms);
}

static episode on_acting(episode p, const episode_rules *r, const episode_input *in, episode_effect *ret)
{
    if (p.resumed)
        return on_resumed(p, in);
    if (!p.running && p.step >= r->steps)
        return verify(p, "a new configuration took the next step away", in->now_ms);
    if (!p.running) {                /* between two steps */
        if (in->claim != CLAIM_HOLDS || in->mode != HEAL_AUTO)
            return verify(p, "the fault went away before the next step", in->now_ms);
        return in->paused ? p : act(p, "the next step is under way", in->now_ms, ret);
    }
    if (in->result == RESULT_NONE || in->result_run != p.run)
        return in->now_ms - p.acted_ms < r->action_timeout_ms ? p : fail(p, r, "the action gave no result in time", in->now_ms, ret);
    if (in->result == RESULT_HOPELESS) {
        *ret = EFFECT_ESCALATE;
        return enter(p, HEAL_NEEDS_HUMAN, "the action is not possible on this target", in->now_ms);
    }
    if (in->result == RESULT_FAILED)
        return fail(p, r, "the action failed", in->now_ms, ret);
    p.running = false;
    p.step++;
    return p.step < r->steps ? p : verify(p, "looking whether the golden signals come back", in->now_ms);
}

static episode on_verifying(episode p, const episode_rules *r, const episode_input *in, episode_effect *ret)
{
    if (in->proof != PROOF_GOOD) {
        p.good_since_ms = 0;
        p.why = "looking whether the golden signals come back";
        return in->now_ms - p.verify_from_ms < r->within_ms ? p : fail(p, r, "the golden signals did not come back", in->now_ms, ret);
    }
    if (p.good_since_ms == 0)
        p.good_since_ms = in->now_ms;
    p.why = "the golden signals are back; making sure that they stay";
    return in->now_ms - p.good_since_ms < r->hold_ms ? p : enter(p, HEAL_DONE, "verified: the golden signals came back and stayed", in->now_ms);
}

episode episode_step(episode p, const episode_rules *r, const episode_input *in, episode_effect *ret_effect)
{
    *ret_effect = EFFECT_NONE;
    switch (p.state) {
    case HEAL_SUGGESTED:
    case HEAL_WAITING: return on_waiting(p, in, ret_effect);
    case HEAL_ACTING: return on_acting(p, r, in, ret_effect);
    case HEAL_VERIFYING: return on_verifying(p, r, in, ret_effect);
    case HEAL_NEEDS_HUMAN:
        return in->claim == CLAIM_STALE ? enter(p, HEAL_CANCELLED, "the incident ended without us", in->now_ms) : p;
    case HEAL_DONE:
    case HEAL_CANCELLED: break;
    }
    return p;
}
