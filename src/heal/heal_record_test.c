#include "base/test.h"
#include "heal/heal_state.h"

static treatment sample_of(char *key)
{
    return (treatment){ .key = key, .policy = STR("p"), .claim = { STR("replica:j/i"), STR("inc-1"), STR("engine_dead"), 7 }, .mode = HEAL_AUTO,
                        .episode = { .state = HEAL_ACTING, .attempt = 2, .step = 1, .run = 9, .running = true, .since_ms = 1, .acted_ms = 2 },
                        .action = "restart", .detail = "x" };
}

TEST(treatment_comes_back_from_its_json)
{
    AUTO(buf_done) buf b = BUF_INIT(HEAL_JSON_MAX);
    AUTO(arena_done) arena a = ARENA_INIT(1 << 16);
    char key[] = "k";
    treatment t = sample_of(key), back;
    json_writer w = json_writer_to(&b);
    err e = { 0 };
    heal_treatment_json(&w, &t);
    CHECK_OK(heal_treatment_parse(buf_str(&b), &a, &back, &e), e);
    CHECK_STR(back.policy, "p");
    CHECK_STR(back.claim.incident, "inc-1");
    CHECK_EQ(back.claim.fence, 7);
    CHECK_EQ(back.mode, HEAL_AUTO);
    CHECK_EQ(back.episode.state, HEAL_ACTING);
    CHECK_EQ(back.episode.attempt, 2);
    CHECK_EQ(back.episode.run, 9);
    CHECK(back.episode.running);
    CHECK_EQ(back.episode.acted_ms, 2);
    CHECK_STR(str_from(back.action), "restart");
}

TEST(treatment_refuses_what_is_none)
{
    static const char *const bad[] = { "x", "{}", "[]", "{\"state\":\"acting\"}", "{\"state\":\"flying\",\"policy\":\"p\",\"subject\":\"s\"}" };
    AUTO(arena_done) arena a = ARENA_INIT(1 << 16);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        treatment t;
        guard_ledger l;
        CHECK_MSG(heal_treatment_parse(str_from(bad[i]), &a, &t, NULL) != OK, "%s was taken", bad[i]);
        CHECK_MSG(heal_ledger_parse(str_from(bad[i]), &l, NULL) != OK, "%s was taken", bad[i]);
    }
}

TEST(ledger_keeps_the_newest)
{
    AUTO(buf_done) buf b = BUF_INIT(1 << 16);
    guard_ledger l;
    buf_append(&b, STR("{\"last_run\":5,\"at_ms\":[0"));
    for (int i = 1; i < 100; i++)
        buf_printf(&b, ",%d", i);
    buf_append(&b, STR("]}"));
    CHECK_EQ(heal_ledger_parse(buf_str(&b), &l, NULL), OK);
    CHECK_EQ(l.len, GUARD_REMEMBER);
    CHECK_EQ(l.at_ms[GUARD_REMEMBER - 1], 99);
    CHECK_EQ(l.last_run, 5);
}
