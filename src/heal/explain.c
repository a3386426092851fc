/* A policy in plain words, in both languages, for the page and `galen check`. */
#include "heal/policy.h"

static void say(buf *out, bool zh, const char *en, const char *chinese)
{
    buf_append(out, str_from(zh ? chinese : en));
}

static void duration(buf *out, int64_t ms)
{
    char text[CLOCK_ISO_MAX];
    buf_append(out, str_of(text, clock_format_duration(text, ms)));
}

static void quoted(buf *out, str s)
{
    buf_printf(out, "`%" STR_FMT "`", STR_ARG(s));
}

static void list(buf *out, const config_strs *l, const char *between)
{
    for (size_t i = 0; i < l->len; i++)
        buf_printf(out, "%s%" STR_FMT, i ? between : "", STR_ARG(l->at[i]));
}

static void explain_trigger(const policy *p, bool zh, buf *out)
{
    switch (p->trigger) {
    case TRIGGER_CAUSE:
        say(out, zh, "When diagnose names ", "当诊断结论为 ");
        list(out, &p->causes, zh ? " 或 " : " or ");
        say(out, zh, " as a replica's cause", " 时");
        break;
    case TRIGGER_ALERT:
        say(out, zh, "When the alert ", "当告警 ");
        buf_append(out, p->alert);
        say(out, zh, " fires for a replica", " 在某个副本上触发时");
        break;
    case TRIGGER_EXPR:
        say(out, zh, "When ", "当 ");
        quoted(out, p->expr);
        say(out, zh, " answers for a replica", " 对某个副本有结果");
        if (p->for_ms) {
            say(out, zh, " for ", "并持续 ");
            duration(out, p->for_ms);
        }
        say(out, zh, "", " 时");
        break;
    }
    if (!str_empty(p->when)) {
        say(out, zh, " and ", "，且 ");
        quoted(out, p->when);
        say(out, zh, " holds", " 成立");
    }
}

static void explain_steps(const policy *p, bool zh, buf *out)
{
    for (size_t i = 0; i < p->step_count; i++) {
        const action *a = &p->steps[i];
        if (i)
            say(out, zh, ", then ", "，然后");
        if (a->kind == ACTION_RESTART) {
            say(out, zh, "restart its process (SIGKILL after ", "重启其进程（");
            duration(out, a->grace_ms);
            say(out, zh, ")", " 后强制结束）");
        } else {
            say(out, zh, "run `", "执行 `");
            list(out, &a->command, " ");
            say(out, zh, "` for at most ", "`，最长 ");
            duration(out, a->timeout_ms);
        }
    }
}

static void explain_limits(const policy *p, bool zh, buf *out)
{
    buf_printf(out, zh ? "同一目标每小时最多 %" PRId64 " 次，两次间隔至少 " : "At most %" PRId64 " attempts an hour on one target, ", p->per_hour);
    duration(out, p->cooldown_ms);
    buf_printf(out, zh ? "，同时最多处理 %" PRId64 " 个目标。" : " apart, %" PRId64 " target(s) at a time. ", p->concurrent);
}

static void explain_proof(const policy *p, bool zh, buf *out)
{
    say(out, zh, "It counts as healed when ", "满足以下条件才算恢复：");
    if (p->verify_probe)
        say(out, zh, "a test completion works", "测试补全成功");
    if (p->verify_probe && !str_empty(p->verify_expr))
        say(out, zh, " and ", "，且 ");
    if (!str_empty(p->verify_expr)) {
        quoted(out, p->verify_expr);
        say(out, zh, " holds", " 成立");
    }
    say(out, zh, " within ", "，须在 ");
    duration(out, p->within_ms);
    say(out, zh, " and stays so for ", " 内开始并保持 ");
    duration(out, p->hold_ms);
    buf_printf(out, zh ? "；否则再试 %" PRId64 " 次，" : "; else it is tried %" PRId64 " more time(s), ", p->retries);
    say(out, zh, "then a person is called. ", "仍不成功则通知人工处理。");
}

static void explain_mode(const policy *p, heal_mode global, bool zh, buf *out)
{
    if (p->approve && global != HEAL_OFF) {
        say(out, zh, "Approvals come in a later version; until then this is only suggested.", "审批功能将在后续版本提供；在此之前仅作建议。");
        return;
    }
    switch (policy_effective_mode(p, global)) {
    case HEAL_OFF: say(out, zh, "Healing is off: nothing is done or suggested.", "自愈已关闭：不执行也不建议。"); break;
    case HEAL_SUGGEST: say(out, zh, "The mode is suggest: galen says what it would do and does nothing.", "模式为“建议”：galen 只说明会做什么，不执行。"); break;
    case HEAL_AUTO: say(out, zh, "The mode is auto: galen does it by itself.", "模式为“自动”：galen 自行执行。"); break;
    }
}

void policy_explain(const policy *p, heal_mode global, bool zh, buf *out)
{
    explain_trigger(p, zh, out);
    say(out, zh, ": ", "：");
    explain_steps(p, zh, out);
    say(out, zh, ". ", "。");
    explain_limits(p, zh, out);
    explain_proof(p, zh, out);
    explain_mode(p, global, zh, out);
}
