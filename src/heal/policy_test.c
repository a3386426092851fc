#include "base/test.h"
#include "base/file.h"
#include "heal/policy.h"

static err_kind parse(const char *text, heal_config *c, err *e)
{
    AUTO(yaml_doc_freep) yaml_doc *doc = NULL;
    *c = (heal_config){ .mode = HEAL_AUTO, .arena = arena_init(1 << 20) };
    err_kind k = yaml_parse(str_from(text), "p.yml", &doc, e);
    return k ? k : policy_file_parse(doc, c, e);
}

#define GOOD "name: a\ntrigger: {cause: engine_dead}\ndo: [restart]\n"

TEST(policy_parses_with_defaults)
{
    heal_config c;
    err e = { 0 };
    CHECK_OK(parse(GOOD, &c, &e), e);
    const policy *p = heal_config_find(&c, STR("a"));
    CHECK(p != NULL);
    CHECK_EQ(p->trigger, TRIGGER_CAUSE);
    CHECK_STR(p->causes.at[0], "engine_dead");
    CHECK_EQ(p->mode, HEAL_SUGGEST);
    CHECK_EQ(p->step_count, 1);
    CHECK_EQ(p->steps[0].grace_ms, 10000);
    CHECK_EQ(p->cooldown_ms, 300000);
    CHECK_EQ(p->per_hour, 3);
    CHECK_EQ(p->concurrent, 1);
    CHECK_EQ(p->within_ms, 60000);
    CHECK_EQ(p->hold_ms, 30000);
    CHECK_EQ(p->retries, 2);
    CHECK_STR(p->verify_expr, "last_over_time(up{$replica}[$since_action]) == 1");
    arena_done(&c.arena);
}

TEST(policy_parses_everything)
{
    heal_config c;
    err e = { 0 };
    CHECK_OK(parse("- name: full\n  trigger: {expr: 'up == 0', for: 10s}\n  when: 'sum(up) > 1'\n  mode: auto\n"
                   "  do: [{exec: {command: [/bin/echo, a b], timeout: 5s}}, {restart: {grace: 1s}}]\n"
                   "  limits: {cooldown: 1m, per_hour: 9, concurrent: 2}\n"
                   "  verify: {probe: completion, expr: 'up{$replica}', within: 10s, hold: 5s}\n  retries: 0\n"
                   "  otherwise: [{escalate: {message: help, webhook: 'http://127.0.0.1:1/x', command: [/bin/true]}}, escalate]\n"
                   "- name: other\n  trigger: {alert: Down}\n  mode: approve\n  do: [{restart: {}}]\n", &c, &e), e);
    CHECK_EQ(c.policy_count, 2);
    const policy *p = &c.policies[0];
    CHECK_EQ(p->trigger, TRIGGER_EXPR);
    CHECK_EQ(p->for_ms, 10000);
    CHECK_EQ(p->step_count, 2);
    CHECK_STR(p->steps[0].command.at[1], "a b");
    CHECK_EQ(p->concurrent, 2);
    CHECK(p->verify_probe);
    CHECK_EQ(p->escalation_count, 2);
    CHECK(c.policies[1].approve);
    CHECK_EQ(policy_effective_mode(&c.policies[1], HEAL_AUTO), HEAL_SUGGEST);
    CHECK_EQ(policy_effective_mode(p, HEAL_SUGGEST), HEAL_SUGGEST);
    arena_done(&c.arena);
}

static const struct { const char *what, *text, *message, *hint; } bad[] = {
    { "an unknown key is refused by name", GOOD "retires: 3\n", "unknown key \"retires\"", "retries" },
    { "a key inside of limits too", GOOD "limits: {per_our: 3}\n", "unknown key \"per_our\"", "per_hour" },
    { "a name is needed", "policies: [{trigger: {cause: engine_dead}, do: [restart]}]\n", "\"name\" is missing", "" },
    { "a name stays a word", "name: a b\ntrigger: {cause: engine_dead}\ndo: [restart]\n", "cannot be a policy's name", "" },
    { "a trigger is needed", "name: a\ndo: [restart]\n", "\"trigger\" is missing", "" },
    { "one trigger, not two", "name: a\ntrigger: {cause: engine_dead, alert: X}\ndo: [restart]\n", "only one of", "" },
    { "an unknown cause is refused", "name: a\ntrigger: {cause: engine_deed}\ndo: [restart]\n", "unknown cause \"engine_deed\"", "engine_dead" },
    { "nobody may act on saturation", "name: a\ntrigger: {cause: [engine_dead, saturated]}\ndo: [restart]\n", "nothing may be done about the cause \"saturated\"", "works" },
    { "an unknown action is refused", "name: a\ntrigger: {cause: engine_dead}\ndo: [{restrat: {}}]\n", "unknown action \"restrat\"", "restart" },
    { "do must do something", "name: a\ntrigger: {cause: engine_dead}\ndo: []\n", "\"do\" names no action", "" },
    { "a shell line is refused", "name: a\ntrigger: {cause: engine_dead}\ndo: [{exec: {command: rm -rf /tmp/x}}]\n", "not a shell line", "command: [" },
    { "exec needs a command", "name: a\ntrigger: {cause: engine_dead}\ndo: [{exec: {}}]\n", "\"command\" is missing", "" },
    { "an unknown mode is refused", GOOD "mode: atuo\n", "unknown mode \"atuo\"", "auto" },
    { "per_hour has its bounds", GOOD "limits: {per_hour: 1000}\n", "out of range", "" },
    { "for goes with expr", "name: a\ntrigger: {cause: engine_dead, for: 5s}\ndo: [restart]\n", "goes with expr only", "" },
    { "two policies of one name are refused", "[{name: a, trigger: {alert: X}, do: [restart]}, {name: a, trigger: {alert: X}, do: [restart]}]", "two policies", "" },
    { "an empty file is told", "", "holds no policies", "" },
    { "a webhook is an address", GOOD "otherwise: [{escalate: {webhook: mail}}]\n", "no http", "" },
    { "an unknown probe is refused", GOOD "verify: {probe: complation}\n", "unknown probe", "completion" },
};

TEST(policy_refuses_with_place_and_remedy)
{
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        heal_config c;
        err e = { 0 };
        CHECK_MSG(parse(bad[i].text, &c, &e) == ERR_PARSE, "%s: was taken", bad[i].what);
        CHECK_MSG(strstr(e.message, bad[i].message), "%s: said \"%s\"", bad[i].what, e.message);
        CHECK_MSG(strstr(e.hint, bad[i].hint), "%s: hinted \"%s\"", bad[i].what, e.hint);
        CHECK_MSG(e.line > 0 && strcmp(e.file, "p.yml") == 0, "%s: names no place", bad[i].what);
        arena_done(&c.arena);
    }
}

TEST(policy_fills_in_the_target)
{
    AUTO(buf_done) buf b = BUF_INIT(1000);
    CHECK_EQ(policy_expr_fill(STR("x{$replica,a=~\"b$\"}[$since_action]"), STR("replica:chat/127.0.0.1:8000"), 2500, &b, NULL), OK);
    CHECK_STR(buf_str(&b), "x{job=\"chat\",instance=\"127.0.0.1:8000\",a=~\"b$\"}[2500ms]");
}

static void load(const char *path, heal_config *c)
{
    AUTO(yaml_doc_freep) yaml_doc *doc = NULL;
    err e = { 0 };
    *c = (heal_config){ .arena = arena_init(1 << 20) };
    CHECK_OK(yaml_load(path, &doc, &e), e);
    CHECK_OK(policy_file_parse(doc, c, &e), e);
}

TEST(policy_shipped_files_parse)
{
    heal_config built_in, file, loop;
    AUTO(buf_done) buf a = BUF_INIT(10000), b = BUF_INIT(10000);
    err e = { 0 };
    CHECK_OK(parse(policy_default_text, &built_in, &e), e);
    load("../../policies/llm-default.yml", &file);
    load("../../policies/chatglm-loop.yml", &loop);
    CHECK_EQ(built_in.policy_count, file.policy_count);
    for (size_t i = 0; i < file.policy_count; i++) {
        buf_reset(&a), buf_reset(&b);
        policy_explain(&built_in.policies[i], HEAL_AUTO, false, &a);
        policy_explain(&file.policies[i], HEAL_AUTO, false, &b);
        CHECK_STR(buf_str(&a), buf_cstr(&b));
    }
    CHECK_EQ(loop.policies[0].within_ms, 60000);
    arena_done(&built_in.arena), arena_done(&file.arena), arena_done(&loop.arena);
}

TEST(policy_explains_itself)
{
    heal_config c;
    AUTO(buf_done) buf b = BUF_INIT(10000);
    err e = { 0 };
    CHECK_OK(parse(policy_default_text, &c, &e), e);
    policy_explain(&c.policies[0], HEAL_SUGGEST, false, &b);
    CHECK_STR(buf_str(&b),
              "When diagnose names engine_dead or engine_frozen or decode_stalled as a replica's cause: restart its process (SIGKILL after 10s). "
              "At most 6 attempts an hour on one target, 1m apart, 1 target(s) at a time. It counts as healed when a test completion works "
              "within 2m and stays so for 10s; else it is tried 2 more time(s), then a person is called. "
              "The mode is suggest: galen says what it would do and does nothing.");
    buf_reset(&b);
    policy_explain(&c.policies[0], HEAL_AUTO, true, &b);
    CHECK_STR(buf_str(&b),
              "当诊断结论为 engine_dead 或 engine_frozen 或 decode_stalled 时：重启其进程（10s 后强制结束）。"
              "同一目标每小时最多 6 次，两次间隔至少 1m，同时最多处理 1 个目标。满足以下条件才算恢复：测试补全成功，须在 2m 内开始并保持 10s；"
              "否则再试 2 次，仍不成功则通知人工处理。模式为“自动”：galen 自行执行。");
    arena_done(&c.arena);
}

TEST(policy_survives_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        heal_config c;
        err e = { 0 };
        fault_alloc(nth);
        err_kind k = parse(policy_default_text, &c, &e);
        bool fired = fault_fired();
        CHECK_MSG(k == (fired ? ERR_NOMEM : OK), "allocation %u: %s", nth, e.message);
        arena_done(&c.arena);
        if (!fired)
            break;
    }
}
