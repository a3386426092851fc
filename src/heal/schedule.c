#include "heal/schedule.h"
#include <stdio.h>

#define KEY_MAX_BYTES 8192
#define ACTION_SLACK_MS 60000        /* how long beyond its own limits an action may take to answer */

typedef struct target { char *subject; guard_ledger ledger; } target;

struct schedule {
    heal_hands hands;
    bool paused;
    uint64_t last_run;
    vec(treatment *) treatments;     /* oldest first */
    vec(target *) targets;
};

schedule *schedule_new(heal_hands hands)
{
    schedule *s = mem_zalloc(sizeof *s);
    if (s)
        s->hands = hands;
    return s;
}

static void treatment_free(treatment *t)
{
    if (t)
        mem_free(t->key);
    mem_free(t);
}

void schedule_free(schedule *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->treatments.len; i++)
        treatment_free(s->treatments.at[i]);
    for (size_t i = 0; i < s->targets.len; i++) {
        mem_free(s->targets.at[i]->subject);
        mem_free(s->targets.at[i]);
    }
    vec_done(&s->treatments);
    vec_done(&s->targets);
    mem_free(s);
}

void schedule_pause(schedule *s, bool paused)
{
    s->paused = paused;
}

bool schedule_paused(const schedule *s)
{
    return s->paused;
}

/* ---- targets ---- */
static target *target_get(schedule *s, str subject)
{
    for (size_t i = 0; i < s->targets.len; i++)
        if (str_is(subject, s->targets.at[i]->subject))
            return s->targets.at[i];
    target *t = mem_zalloc(sizeof *t);
    if (!t || !(t->subject = mem_alloc(subject.len + 1)) || vec_push(&s->targets, t)) {
        if (t)
            mem_free(t->subject);
        mem_free(t);
        return NULL;
    }
    str_copy(t->subject, subject.len + 1, subject);
    return t;
}

err_kind schedule_restore_ledger(schedule *s, str subject, const guard_ledger *l)
{
    target *t = target_get(s, subject);
    if (!t)
        return ERR_NOMEM;
    t->ledger = *l;
    return OK;
}

/* ---- treatments ---- */
static treatment *treatment_new(str policy_name, const heal_claim *c, int64_t born_ms)
{
    AUTO(buf_done) buf b = BUF_INIT(KEY_MAX_BYTES);
    const str parts[] = { policy_name, c->subject, c->incident, c->cause };
    size_t at[COUNT_OF(parts)];

    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        at[i] = b.len;
        buf_append(&b, parts[i]);
        buf_append_char(&b, '|');
    }
    buf_append_i64(&b, born_ms);
    treatment *t = buf_failed(&b) ? NULL : mem_zalloc(sizeof *t);
    if (!t)
        return NULL;
    t->key = buf_take(&b, NULL);
    t->policy = str_of(t->key + at[0], parts[0].len);
    t->claim = (heal_claim){ str_of(t->key + at[1], parts[1].len), str_of(t->key + at[2], parts[2].len),
                             str_of(t->key + at[3], parts[3].len), c->fence };
    return t;
}

static bool same_claim(const heal_claim *a, const heal_claim *b)
{
    return a->fence == b->fence && str_eq(a->subject, b->subject) && str_eq(a->incident, b->incident) && str_eq(a->cause, b->cause);
}

static bool same_fault(const heal_claim *a, const heal_claim *b)
{
    return !str_empty(a->incident) && str_eq(a->subject, b->subject) && str_eq(a->incident, b->incident) && str_eq(a->cause, b->cause);
}

/* Whether this claim needs no new treatment. */
static bool treated_already(schedule *s, str policy_name, const heal_claim *c)
{
    for (size_t i = 0; i < s->treatments.len; i++) {
        treatment *t = s->treatments.at[i];
        if (str_eq(t->policy, policy_name) && same_claim(&t->claim, c))
            return true;
        /* Who called for a person keeps its hands off until the incident is over. */
        if (t->episode.state == HEAL_NEEDS_HUMAN && !str_empty(c->incident) && str_eq(t->claim.subject, c->subject) &&
            str_eq(t->claim.incident, c->incident))
            return true;
        if (!str_eq(t->policy, policy_name) || !same_fault(&t->claim, c) || episode_over(&t->episode))
            continue;
        if (!episode_busy(&t->episode))
            t->claim.fence = MAX(t->claim.fence, c->fence);
        return true;                 /* it is being treated; a later trigger renews the claim once it waits again */
    }
    return false;
}

static void forget_oldest(schedule *s)
{
    size_t over = 0;
    for (size_t i = 0; i < s->treatments.len; i++)
        over += episode_over(&s->treatments.at[i]->episode);
    for (size_t i = 0; over > HEAL_KEEP && i < s->treatments.len;) {
        if (!episode_over(&s->treatments.at[i]->episode)) {
            i++;
            continue;
        }
        s->hands.forget(s->hands.ctx, s->treatments.at[i]);
        treatment_free(s->treatments.at[i]);
        vec_remove(&s->treatments, i);
        over--;
    }
}

static void name_action(treatment *t, const policy *p, unsigned step)
{
    snprintf(t->action, sizeof t->action, "%s", action_kind_name(p->steps[MIN(step, p->step_count - 1)].kind));
}

err_kind schedule_trigger(schedule *s, const policy *p, heal_mode global, const heal_claim *c, int64_t now_ms)
{
    heal_mode mode = policy_effective_mode(p, global);

    if (mode == HEAL_OFF || treated_already(s, p->name, c))
        return OK;
    if (s->treatments.len >= HEAL_TREATMENTS_MAX)
        return ERR_LIMIT;
    treatment *t = treatment_new(p->name, c, now_ms);
    if (!t)
        return ERR_NOMEM;
    t->mode = mode;
    t->episode = (episode){ .state = mode == HEAL_AUTO ? HEAL_WAITING : HEAL_SUGGESTED, .since_ms = now_ms, .born_ms = now_ms,
                            .why = mode == HEAL_AUTO ? "the fault was just found" : "the mode is suggest: a person decides" };
    name_action(t, p, 0);
    if (vec_push(&s->treatments, t)) {
        treatment_free(t);
        return ERR_NOMEM;
    }
    s->hands.changed(s->hands.ctx, t, HEAL_CANCELLED);
    forget_oldest(s);
    return OK;
}

err_kind schedule_restore(schedule *s, const treatment *from)
{
    treatment *t = treatment_new(from->policy, &from->claim, from->episode.born_ms);
    if (!t)
        return ERR_NOMEM;
    t->episode = from->episode;
    t->mode = from->mode;
    memcpy(t->action, from->action, sizeof t->action);
    memcpy(t->detail, from->detail, sizeof t->detail);
    t->episode.resumed = t->episode.state == HEAL_ACTING;
    t->episode.good_since_ms = 0;
    s->last_run = MAX(s->last_run, t->episode.run);
    if (vec_push(&s->treatments, t)) {
        treatment_free(t);
        return ERR_NOMEM;
    }
    return OK;
}

/* ---- going on ---- */
static episode_rules rules_of(const policy *p, unsigned step)
{
    const action *a = &p->steps[MIN(step, p->step_count - 1)];
    int64_t own = a->kind == ACTION_RESTART ? a->grace_ms : a->timeout_ms;
    return (episode_rules){ .steps = (unsigned)p->step_count, .retries = (unsigned)p->retries, .within_ms = p->within_ms,
                            .hold_ms = p->hold_ms, .action_timeout_ms = own + ACTION_SLACK_MS };
}

static guard_answer ask_guard(schedule *s, treatment *t, const policy *p, int64_t now_ms)
{
    const target *at = target_get(s, t->claim.subject);
    guard_question q = { .policy = p, .now_ms = now_ms };

    if (!at)
        return GUARD_OTHERS_BUSY;    /* no memory: not now */
    /* The attempt that galen died in may begin again only if nobody has touched the target since. */
    const guard_ledger *l = &at->ledger;
    t->episode.redo = t->episode.redo && l->len > 0 && l->last_run == t->episode.run;
    q.redo = t->episode.redo;
    for (size_t i = 0; i < s->treatments.len; i++) {
        const treatment *other = s->treatments.at[i];
        bool same_target = str_eq(other->claim.subject, t->claim.subject);
        if (other == t)
            continue;
        q.person_called |= same_target && other->episode.state == HEAL_NEEDS_HUMAN && str_eq(other->claim.incident, t->claim.incident);
        q.target_busy |= same_target && episode_busy(&other->episode);
        q.busy_elsewhere += !same_target && episode_busy(&other->episode);
    }
    return guard_ask(&at->ledger, &q);
}

static void say(treatment *t, const char *what, const err *e)
{
    AUTO(buf_done) buf b = BUF_INIT(1024);
    buf_printf(&b, "%s%s%s", what, e->message[0] ? ": " : "", e->message);
    str_copy(t->detail, sizeof t->detail, buf_str(&b));
}

/* The ledger, the treatment and the intent are on disk, or nothing happens. `next` is the state to be stored. */
static bool promise(schedule *s, treatment *t, const policy *p, const episode *next)
{
    target *at = target_get(s, t->claim.subject);
    treatment stored = *t;
    err e = { 0 };

    if (!at)
        return false;
    guard_ledger ledger = at->ledger;
    bool new_attempt = t->episode.state == HEAL_WAITING;
    if (new_attempt && t->episode.redo)
        ledger.len--;                /* it takes the place of the one that did not happen */
    if (new_attempt)
        guard_note(&ledger, next->acted_ms, next->run);
    stored.episode = *next;
    if (new_attempt && s->hands.store_ledger(s->hands.ctx, t->claim.subject, &ledger, &e)) {
        say(t, "could not store the limits, so nothing was done", &e);
        return false;
    }
    if (s->hands.store_treatment(s->hands.ctx, &stored, &e)) {
        say(t, "could not store the treatment, so nothing was done", &e);
        return false;
    }
    if (s->hands.intend(s->hands.ctx, &stored, p, &p->steps[next->step], &e)) {
        say(t, "could not record the intent, so nothing was done", &e);
        return false;
    }
    at->ledger = ledger;
    return true;
}

static void become(schedule *s, treatment *t, const policy *p, const episode *next)
{
    heal_state before = t->episode.state;
    bool told = before == next->state && t->episode.step == next->step && t->episode.running == next->running && t->episode.why == next->why;
    t->episode = *next;
    if (p)
        name_action(t, p, next->step);
    if (!told)
        s->hands.changed(s->hands.ctx, t, before);
}

static void begin(schedule *s, treatment *t, const policy *p, episode next, int64_t now_ms)
{
    err e = { 0 };

    next.run = ++s->last_run;
    if (!promise(s, t, p, &next)) {
        /* Not even this much could be written: stay as we were and try again next time. */
        t->episode.why = "the intent could not be recorded";
        return;
    }
    become(s, t, p, &next);
    episode_claim claim = s->hands.claim(s->hands.ctx, t, p);
    if (claim != CLAIM_HOLDS) {
        next.running = false;
        next.redo = true;            /* the attempt is counted and has not happened */
        next.state = claim == CLAIM_STALE ? HEAL_CANCELLED : HEAL_WAITING;
        next.why = "the reason went away right before acting; nothing was done";
        next.since_ms = now_ms;
        become(s, t, p, &next);
        return;
    }
    err_kind k = s->hands.act(s->hands.ctx, t, p, &p->steps[next.step], &e);
    if (k == OK)
        return;
    say(t, "the action could not begin", &e);
    episode_rules rules = rules_of(p, next.step);
    episode_input in = { .now_ms = now_ms, .mode = HEAL_AUTO, .result_run = next.run,
                         .result = k == ERR_UNSUPPORTED || k == ERR_NOT_FOUND ? RESULT_HOPELESS : RESULT_FAILED };
    episode_effect effect;
    next = episode_step(t->episode, &rules, &in, &effect);
    become(s, t, p, &next);
    if (effect == EFFECT_ESCALATE)
        s->hands.escalate(s->hands.ctx, t, p);
}

static void step(schedule *s, treatment *t, const policy *p, episode_input in)
{
    episode_rules rules = rules_of(p, t->episode.step);
    episode_effect effect;
    episode next = episode_step(t->episode, &rules, &in, &effect);

    if (effect == EFFECT_ACT) {
        begin(s, t, p, next, in.now_ms);
        return;
    }
    become(s, t, p, &next);
    if (effect == EFFECT_ESCALATE)
        s->hands.escalate(s->hands.ctx, t, p);
}

/* Its policy is gone from the configuration: nothing may be begun in its name. */
static void orphan(schedule *s, treatment *t, int64_t now_ms)
{
    episode next = t->episode;
    if (next.running && !next.resumed)
        return;                      /* the action under way ends first */
    next.running = next.resumed = false;
    next.state = HEAL_CANCELLED;
    next.why = "its policy is no longer configured";
    next.since_ms = now_ms;
    become(s, t, NULL, &next);
}

static void go_on(schedule *s, treatment *t, const policy *p, heal_mode global, int64_t now_ms)
{
    episode_input in = { .now_ms = now_ms, .mode = policy_effective_mode(p, global), .paused = s->paused };
    const episode *now = &t->episode;

    t->mode = in.mode;
    if (now->resumed)
        in.resume = s->hands.resume(s->hands.ctx, t, p, now_ms);
    else if (now->state == HEAL_VERIFYING)
        in.proof = s->hands.proof(s->hands.ctx, t, p, now_ms);
    else if (!now->running)
        in.claim = s->hands.claim(s->hands.ctx, t, p);
    if (now->state == HEAL_WAITING && in.claim == CLAIM_HOLDS)
        in.guard = ask_guard(s, t, p, now_ms);
    step(s, t, p, in);
}

void schedule_tick(schedule *s, const heal_config *c, int64_t now_ms)
{
    for (size_t i = 0; i < s->treatments.len; i++) {
        treatment *t = s->treatments.at[i];
        if (episode_over(&t->episode))
            continue;
        const policy *p = heal_config_find(c, t->policy);
        if (p)
            go_on(s, t, p, c->mode, now_ms);
        else
            orphan(s, t, now_ms);
    }
}

void schedule_result(schedule *s, const heal_config *c, str subject, uint64_t run, bool ok, const char *detail, int64_t now_ms)
{
    for (size_t i = 0; i < s->treatments.len; i++) {
        treatment *t = s->treatments.at[i];
        if (!t->episode.running || t->episode.resumed || t->episode.run != run || !str_eq(t->claim.subject, subject))
            continue;
        str_copy(t->detail, sizeof t->detail, str_from(detail ? detail : ""));
        const policy *p = heal_config_find(c, t->policy);
        if (p) {
            step(s, t, p, (episode_input){ .now_ms = now_ms, .mode = policy_effective_mode(p, c->mode), .paused = s->paused,
                                           .result = ok ? RESULT_OK : RESULT_FAILED, .result_run = run });
        } else {
            t->episode.running = false;
            orphan(s, t, now_ms);
        }
        return;
    }
}

const treatment *schedule_at(const schedule *s, size_t i)
{
    for (int over = 0; over < 2; over++)
        for (size_t n = s->treatments.len; n-- > 0;)
            if (episode_over(&s->treatments.at[n]->episode) == over && i-- == 0)
                return s->treatments.at[n];
    return NULL;
}
