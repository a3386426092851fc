/* Random schedules over the real scheduler, with a world that keeps its own books: no stale action, no double action,
 * no action while paused, limits held, also over crashes. A failing run prints its seed. */
#include "base/test.h"
#include "base/rand.h"
#include "heal/schedule.h"
#include <stdlib.h>

enum { TARGETS = 3, POLICIES = 2, SAVED_MAX = 64, ACTS_MAX = 64 };
static const char *const subjects[TARGETS] = { "replica:chat/a", "replica:chat/b", "replica:chat/c" };
static const char *const causes[] = { "engine_dead", "engine_frozen", "saturated" };

typedef struct saved { bool used; char key[128]; treatment t; } saved;
typedef struct fake_target {
    bool open, present, good;
    unsigned incident, cause, fence;
    uint64_t run;                    /* under way; 0: none */
    int64_t run_ends_ms;             /* galen's own deadline for it */
    bool took_effect;                /* of the last action */
    int64_t acts_ms[ACTS_MAX]; unsigned acts;
    uint64_t last_act_run; int64_t good_since_ms;
    guard_ledger ledger;
} fake_target;
typedef struct world {
    uint64_t seed; rand_state rand;
    int64_t now_ms;
    heal_config config; policy policies[POLICIES];
    fake_target at[TARGETS];
    saved disk[SAVED_MAX];
    schedule *schedule;
    bool paused, disk_full;
    unsigned actions, escalations, done;
} world;

#define WORLD_CHECK(w, cond, ...) \
    do { \
        if (!(cond)) \
            print_error("seed %llu at %lld: ", (unsigned long long)(w)->seed, (long long)(w)->now_ms); \
        CHECK_MSG(cond, __VA_ARGS__); \
    } while (0)

static fake_target *target_of(world *w, str subject)
{
    for (size_t i = 0; i < TARGETS; i++)
        if (str_is(subject, subjects[i]))
            return &w->at[i];
    return NULL;
}

static void incident_name(const fake_target *f, char out[32])
{
    snprintf(out, 32, "inc-%u", f->incident);
}

static episode_claim fake_claim(void *ctx, const treatment *t, const policy *p)
{
    world *w = ctx;
    const fake_target *f = target_of(w, t->claim.subject);
    char name[32];
    UNUSED(p);
    incident_name(f, name);
    if (!f->open || !str_is(t->claim.incident, name))
        return CLAIM_STALE;
    if (t->episode.state == HEAL_NEEDS_HUMAN)
        return CLAIM_HOLDS;
    if (t->claim.fence != f->fence || !str_is(t->claim.cause, causes[f->cause]))
        return CLAIM_STALE;
    return f->present && f->cause != 2 ? CLAIM_HOLDS : CLAIM_ABSENT;
}

static episode_proof fake_proof(void *ctx, treatment *t, const policy *p, int64_t now_ms)
{
    UNUSED(p), UNUSED(now_ms);
    return target_of(ctx, t->claim.subject)->good ? PROOF_GOOD : PROOF_NONE;
}

static episode_resume fake_resume(void *ctx, const treatment *t, const policy *p, int64_t now_ms)
{
    world *w = ctx;
    const fake_target *f = target_of(w, t->claim.subject);
    UNUSED(p), UNUSED(now_ms);
    if (rand_below(&w->rand, 3) == 0)
        return RESUME_WAIT;
    return f->last_act_run == t->episode.run && f->took_effect ? RESUME_DONE : RESUME_REDO;
}

static err_kind fake_intend(void *ctx, const treatment *t, const policy *p, const action *a, err *e)
{
    UNUSED(t), UNUSED(p), UNUSED(a);
    return ((world *)ctx)->disk_full ? err_set(e, ERR_IO, "disk full") : OK;
}

static size_t busy_targets(const world *w, const fake_target *but)
{
    size_t n = 0;
    for (size_t i = 0; i < TARGETS; i++)
        n += &w->at[i] != but && w->at[i].run != 0;
    return n;
}

static void check_limits(world *w, fake_target *f, const policy *p)
{
    int64_t hour = 0;
    bool redo = f->acts > 0 && !f->took_effect && f->last_act_run == 0;
    f->acts -= redo;                 /* the one that a crash prevented does not count */
    for (unsigned i = 0; i < f->acts; i++)
        hour += w->now_ms - f->acts_ms[i] < GUARD_HOUR_MS;
    WORLD_CHECK(w, hour < p->per_hour, "more than %lld attempts in an hour", (long long)p->per_hour);
    if (f->acts > 0 && !redo)
        WORLD_CHECK(w, w->now_ms - f->acts_ms[f->acts - 1] >= p->cooldown_ms, "acted while cooling down");
}

static err_kind fake_act(void *ctx, const treatment *t, const policy *p, const action *a, err *e)
{
    world *w = ctx;
    fake_target *f = target_of(w, t->claim.subject);
    bool first_step = a == &p->steps[0];

    WORLD_CHECK(w, fake_claim(w, t, p) == CLAIM_HOLDS, "acted on a stale claim: %s", t->key);
    WORLD_CHECK(w, f->cause != 2, "acted on saturation");
    WORLD_CHECK(w, !w->paused, "acted although an operator had paused healing");
    WORLD_CHECK(w, !w->disk_full, "acted without a record of the intent");
    WORLD_CHECK(w, f->run == 0, "a second action on a target where one is under way");
    WORLD_CHECK(w, policy_effective_mode(p, w->config.mode) == HEAL_AUTO, "acted in mode suggest");
    if (first_step) {                /* an attempt that has begun may go on beside others */
        WORLD_CHECK(w, busy_targets(w, f) < (size_t)p->concurrent, "more targets at a time than allowed");
        check_limits(w, f, p);
        WORLD_CHECK(w, f->acts < ACTS_MAX, "too many attempts for one schedule");
        f->acts_ms[f->acts++] = w->now_ms;
    }
    w->actions++;
    f->last_act_run = t->episode.run;
    f->took_effect = false;
    if (rand_below(&w->rand, 8) == 0)
        return err_set(e, ERR_CONFLICT, "busy");
    f->run = t->episode.run;
    f->run_ends_ms = w->now_ms + a->grace_ms + 60000;
    f->took_effect = rand_below(&w->rand, 4) != 0;
    return OK;
}

static void fake_escalate(void *ctx, const treatment *t, const policy *p)
{
    UNUSED(t), UNUSED(p);
    ((world *)ctx)->escalations++;
}

static err_kind fake_store(void *ctx, const treatment *t, err *e)
{
    world *w = ctx;
    saved *slot = NULL;
    for (size_t i = 0; i < SAVED_MAX; i++) {
        if (w->disk[i].used && strcmp(w->disk[i].key, t->key) == 0) {
            slot = &w->disk[i];
            break;
        }
        if (!w->disk[i].used && !slot)
            slot = &w->disk[i];
    }
    if (!slot)
        return err_set(e, ERR_FULL, "the test's disk is too small");
    slot->used = true;
    str_copy(slot->key, sizeof slot->key, str_from(t->key));
    slot->t = *t;
    return OK;
}

static void fake_changed(void *ctx, const treatment *t, heal_state before)
{
    world *w = ctx;
    const fake_target *f = target_of(w, t->claim.subject);
    if (t->episode.state == HEAL_DONE && before != HEAL_DONE) {
        const policy *p = heal_config_find(&w->config, t->policy);
        WORLD_CHECK(w, f->good && w->now_ms - f->good_since_ms >= p->hold_ms, "done without proof that held");
        w->done++;
    }
    WORLD_CHECK(w, fake_store(w, t, NULL) == OK, "the test's disk is too small");
}

static err_kind fake_ledger(void *ctx, str subject, const guard_ledger *l, err *e)
{
    UNUSED(e);
    target_of(ctx, subject)->ledger = *l;
    return OK;
}

static void fake_forget(void *ctx, const treatment *t)
{
    UNUSED(ctx), UNUSED(t);
}

static heal_hands hands_of(world *w)
{
    return (heal_hands){ w, fake_claim, fake_proof, fake_resume, fake_intend, fake_act, fake_escalate, fake_changed, fake_store, fake_ledger, fake_forget };
}

static void trigger(world *w, size_t i)
{
    const fake_target *f = &w->at[i];
    char name[32];
    incident_name(f, name);
    if (f->open)
        for (size_t p = 0; p < w->config.policy_count; p++)
            CHECK_EQ(schedule_trigger(w->schedule, &w->policies[p], w->config.mode,
                                      &(heal_claim){ str_from(subjects[i]), str_from(name), str_from(causes[f->cause]), f->fence }, w->now_ms), OK);
}

/* kill -9: what is in memory is gone, actions that galen carried out itself stop where they are. */
static void crash(world *w)
{
    schedule_free(w->schedule);
    w->schedule = schedule_new(hands_of(w));
    for (size_t i = 0; i < TARGETS; i++) {
        fake_target *f = &w->at[i];
        if (f->run && !f->took_effect)
            f->last_act_run = 0;     /* it never happened: the same attempt may begin again */
        f->run = 0;
        CHECK_EQ(schedule_restore_ledger(w->schedule, str_from(subjects[i]), &f->ledger), OK);
    }
    for (size_t i = 0; i < SAVED_MAX; i++) {
        saved *s = &w->disk[i];
        if (!s->used)
            continue;
        /* The views of the stored treatment point into a key that died; cut them out of the saved one again. */
        treatment t = s->t;
        str rest = str_from(s->key);
        str_split(&rest, '|', &t.policy), str_split(&rest, '|', &t.claim.subject), str_split(&rest, '|', &t.claim.incident);
        str_split(&rest, '|', &t.claim.cause);
        CHECK_EQ(schedule_restore(w->schedule, &t), OK);
    }
    schedule_pause(w->schedule, w->paused);
}

static void finish(world *w, fake_target *f, str subject)
{
    uint64_t run = f->run;
    bool ok = f->took_effect;
    f->run = 0;
    schedule_result(w->schedule, &w->config, subject, run, ok, "", w->now_ms);
}

static void random_event(world *w)
{
    size_t i = rand_below(&w->rand, TARGETS);
    fake_target *f = &w->at[i];
    switch (rand_below(&w->rand, 14)) {
    case 0: case 1:
        if (!f->open) {
            f->open = f->present = true;
            f->incident++;
        }
        f->cause = (unsigned)rand_below(&w->rand, COUNT_OF(causes));
        f->fence++;
        trigger(w, i);
        break;
    case 2: f->open = f->present = false; break;
    case 3: f->present = f->open && !f->present; break;
    case 4: case 5: case 6:
        if (f->run)
            finish(w, f, str_from(subjects[i]));
        break;
    case 7:                          /* an answer of some earlier run, come late or twice */
        if (f->last_act_run > 1)
            schedule_result(w->schedule, &w->config, str_from(subjects[i]), rand_below(&w->rand, f->last_act_run), true, "old", w->now_ms);
        break;
    case 8: case 9:
        f->good = !f->good;
        f->good_since_ms = w->now_ms;
        break;
    case 10:
        w->paused = rand_below(&w->rand, 4) == 0;
        schedule_pause(w->schedule, w->paused);
        break;
    case 11:
        if (rand_below(&w->rand, 3) == 0)
            crash(w);
        break;
    case 12: w->disk_full = rand_below(&w->rand, 6) == 0; break;
    case 13: w->config.mode = rand_below(&w->rand, 6) == 0 ? HEAL_SUGGEST : HEAL_AUTO; break;
    }
}

static void setup(world *w, uint64_t seed)
{
    *w = (world){ .seed = seed, .rand = rand_seeded(seed), .now_ms = INT64_C(1700000000000) };
    for (size_t p = 0; p < POLICIES; p++)
        w->policies[p] = (policy){
            .name = p ? STR("second") : STR("first"), .mode = HEAL_AUTO, .step_count = 1 + rand_below(&w->rand, 2),
            .cooldown_ms = (int64_t)rand_below(&w->rand, 3) * 30000, .per_hour = 1 + (int64_t)rand_below(&w->rand, 4),
            .concurrent = 1 + (int64_t)rand_below(&w->rand, 2), .within_ms = 20000, .hold_ms = (int64_t)rand_below(&w->rand, 2) * 5000,
            .retries = (int64_t)rand_below(&w->rand, 3), .steps = { { .grace_ms = 1000 }, { .grace_ms = 1000 } },
        };
    w->config = (heal_config){ .mode = HEAL_AUTO, .policies = w->policies, .policy_count = POLICIES };
    w->schedule = schedule_new(hands_of(w));
    CHECK(w->schedule != NULL);
}

static void run_schedule(world *w, uint64_t seed)
{
    setup(w, seed);
    for (int i = 0; i < 30; i++) {
        random_event(w);
        w->now_ms += (int64_t)rand_below(&w->rand, 4) * 4000;
        for (size_t t = 0; t < TARGETS; t++)           /* what galen has given up on, watch has ended too */
            if (w->at[t].run && w->now_ms >= w->at[t].run_ends_ms)
                w->at[t].run = 0;
        schedule_tick(w->schedule, &w->config, w->now_ms);
    }
    schedule_free(w->schedule);
}

TEST(schedule_keeps_its_promises_in_random_worlds)
{
    static world w;
    const char *one = getenv("GALEN_SEED");
    uint64_t from = one ? strtoull(one, NULL, 10) : 1, to = one ? from : 100000;
    uint64_t actions = 0, escalations = 0, done = 0;
    for (uint64_t seed = from; seed <= to; seed++) {
        run_schedule(&w, seed);
        actions += w.actions, escalations += w.escalations, done += w.done;
    }
    if (!one)    /* the worlds must be rich enough to mean something */
        CHECK_MSG(actions > 50000 && escalations > 2000 && done > 2000, "only %llu actions, %llu escalations, %llu done",
                  (unsigned long long)actions, (unsigned long long)escalations, (unsigned long long)done);
}

TEST(schedule_survives_any_failed_allocation)
{
    static world w;
    for (unsigned nth = 0;; nth++) {
        setup(&w, 1);
        w.at[0].open = w.at[0].present = true;
        fault_alloc(nth);
        const heal_claim c = { str_from(subjects[0]), STR("inc-0"), str_from(causes[0]), 0 };
        err_kind k = schedule_trigger(w.schedule, &w.policies[0], HEAL_AUTO, &c, w.now_ms);
        schedule_tick(w.schedule, &w.config, w.now_ms);
        bool fired = fault_fired();
        CHECK(k == OK || (fired && k == ERR_NOMEM));
        schedule_free(w.schedule);
        if (!fired)
            break;
    }
}

TEST(schedule_without_a_record_of_the_intent_nothing_happens)
{
    static world w;
    setup(&w, 2);
    w.disk_full = true;
    w.at[0].open = w.at[0].present = true;
    trigger(&w, 0);
    for (int i = 0; i < 10; i++, w.now_ms += 1000)
        schedule_tick(w.schedule, &w.config, w.now_ms);
    CHECK_EQ(w.actions, 0);
    w.disk_full = false;             /* the failed tries have not used up the limits */
    schedule_tick(w.schedule, &w.config, w.now_ms);
    CHECK_EQ(w.actions, 1);
    schedule_free(w.schedule);
}

TEST(schedule_counts_attempts_over_the_incident)
{
    static world w;
    setup(&w, 5);
    w.config.policy_count = 1;
    w.policies[0].retries = 1;
    w.policies[0].per_hour = 50;
    w.policies[0].cooldown_ms = 0;
    w.policies[0].step_count = 1;
    fake_target *f = &w.at[0];
    f->open = f->present = true;
    for (int i = 0; i < 40 && w.escalations == 0; i++, w.now_ms += 5000) {
        if (f->run) {                /* each restart runs well, and the fault comes back under a new number */
            f->took_effect = true;
            finish(&w, f, str_from(subjects[0]));
            f->fence++;
        }
        trigger(&w, 0);
        schedule_tick(w.schedule, &w.config, w.now_ms);
    }
    CHECK_EQ(w.escalations, 1);
    CHECK_EQ(f->acts, 2);
    schedule_free(w.schedule);
}

TEST(schedule_a_policy_taken_away_begins_nothing_more)
{
    static world w;
    const heal_config none = { .mode = HEAL_AUTO };
    setup(&w, 3);
    w.at[0].open = w.at[0].present = true;
    trigger(&w, 0);
    schedule_tick(w.schedule, &none, w.now_ms);
    CHECK_EQ(w.actions, 0);
    CHECK_EQ(schedule_at(w.schedule, 0)->episode.state, HEAL_CANCELLED);
    schedule_free(w.schedule);
}

TEST(schedule_shows_running_ones_first)
{
    static world w;
    setup(&w, 4);
    w.at[0].open = w.at[0].present = w.at[1].open = true;
    trigger(&w, 0);
    trigger(&w, 1);
    w.at[0].open = false;
    schedule_tick(w.schedule, &w.config, w.now_ms);
    CHECK_STR(schedule_at(w.schedule, 0)->claim.subject, subjects[1]);
    CHECK(episode_over(&schedule_at(w.schedule, 3)->episode));
    CHECK(schedule_at(w.schedule, 4) == NULL);
    schedule_free(w.schedule);
}
