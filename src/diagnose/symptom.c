#include "diagnose/symptom.h"
#include <stdio.h>

#define EXPR_MAX_BYTES 8192
#define UP "last_over_time(up{$replica}[$fresh])"
#define PROCESS_UP "last_over_time(watch_process_up{$replica}[$fresh])"
#define PROCESS_CPU "rate(watch_process_cpu_seconds_total{$replica}[$recent])"
#define PROBE(series, probe, window) "last_over_time(" series "{$replica,probe=\"" probe "\"}[" window "])"
#define PROGRESS_AGE "last_over_time(watch_progress_age_seconds{$replica}[$fresh])"
#define COMPLETION PROBE("probe_success", "completion", "$since_stop")

/* Rows with the same question stand next to each other: it is asked once. What the engine itself reports is read
 * with plain selectors, so that it vanishes with the staleness marker of a failed scrape; what watch measures comes
 * with its window, so that it is never older than the process. A frozen process uses no CPU time at all, a busy one
 * that merely answers late does: 0.01 s per second stands well between the two. */
const symptom_row symptom_rows[SYMPTOM_COUNT] = {
    [SYMPTOM_PROCESS_GONE] = { "process_gone", SOURCE_PROCESS, PROCESS_UP, SYMPTOM_EQ, THRESHOLD_NUMBER, 0, true,
        "its process has ended", "its process has not ended", "进程已退出", "进程没有退出" },
    [SYMPTOM_PROCESS_ALIVE] = { "process_alive", SOURCE_PROCESS, PROCESS_UP, SYMPTOM_EQ, THRESHOLD_NUMBER, 1, false,
        "its process is there", "its process is not there", "进程存在", "进程不存在" },
    [SYMPTOM_PROCESS_STOPPED] = { "process_stopped", SOURCE_PROCESS, "last_over_time(watch_process_stopped{$replica}[$fresh])",
        SYMPTOM_EQ, THRESHOLD_NUMBER, 1, true,
        "its process is stopped (state T)", "its process is not stopped", "进程被暂停（状态 T）", "进程没有被暂停" },
    [SYMPTOM_PROCESS_IDLE] = { "process_idle", SOURCE_PROCESS, PROCESS_CPU, SYMPTOM_LT, THRESHOLD_NUMBER, 0.01, false,
        "its process uses no CPU time ($v s/s)", "its process uses CPU time ($v s/s)", "进程不占用 CPU（$v 秒/秒）", "进程在占用 CPU（$v 秒/秒）" },
    [SYMPTOM_PROCESS_BUSY] = { "process_busy", SOURCE_PROCESS, PROCESS_CPU, SYMPTOM_GE, THRESHOLD_NUMBER, 0.01, false,
        "its process is computing ($v s/s)", "its process is not computing ($v s/s)", "进程正在计算（$v 秒/秒）", "进程没有在计算（$v 秒/秒）" },
    [SYMPTOM_SCRAPE_FAILING] = { "scrape_failing", SOURCE_NETWORK, UP, SYMPTOM_EQ, THRESHOLD_NUMBER, 0, true,
        "its metrics page does not answer", "its metrics page answers", "指标页没有响应", "指标页有响应" },
    [SYMPTOM_SCRAPE_REFUSED] = { "scrape_refused", SOURCE_NETWORK, UP, SYMPTOM_EQ, THRESHOLD_NUMBER, 0, true,
        "its metrics port refuses the connection", "its metrics port takes the connection", "指标端口拒绝连接", "指标端口接受连接" },
    [SYMPTOM_SCRAPE_OK] = { "scrape_ok", SOURCE_NETWORK, UP, SYMPTOM_EQ, THRESHOLD_NUMBER, 1, false,
        "its metrics page answers", "its metrics page does not answer", "指标页有响应", "指标页没有响应" },
    [SYMPTOM_CONNECTION_REFUSED] = { "connection_refused", SOURCE_NETWORK, PROBE("probe_refused", "health", "$fresh"),
        SYMPTOM_EQ, THRESHOLD_NUMBER, 1, true,
        "its port refuses connections", "its port takes connections", "端口拒绝连接", "端口接受连接" },
    [SYMPTOM_NO_HTTP_ANSWER] = { "no_http_answer", SOURCE_NETWORK, PROBE("probe_timeout", "health", "$fresh"),
        SYMPTOM_EQ, THRESHOLD_NUMBER, 1, true,
        "/health gives no answer in time", "/health does not time out", "/health 超时无响应", "/health 没有超时" },
    [SYMPTOM_HEALTH_OK] = { "health_ok", SOURCE_NETWORK, PROBE("probe_success", "health", "$fresh"),
        SYMPTOM_EQ, THRESHOLD_NUMBER, 1, false,
        "/health says all is well", "/health does not say all is well", "/health 报告正常", "/health 未报告正常" },
    [SYMPTOM_HEALTH_ERROR] = { "health_error", SOURCE_NETWORK, PROBE("probe_http_status_code", "health", "$fresh"),
        SYMPTOM_GE, THRESHOLD_NUMBER, 500, true,
        "/health answers with status $v", "/health does not answer with a server error", "/health 返回状态码 $v", "/health 没有返回服务器错误" },
    [SYMPTOM_WORK_RUNNING] = { "work_running", SOURCE_ENGINE, "sum(llm_requests_running{$replica})", SYMPTOM_GE, THRESHOLD_NUMBER, 0.5, false,
        "$v requests are running", "no request is running", "有 $v 个请求在运行", "没有请求在运行" },
    [SYMPTOM_QUEUE_WAITING] = { "queue_waiting", SOURCE_ENGINE, "sum(llm_requests_waiting{$replica})", SYMPTOM_GE, THRESHOLD_NUMBER, 0.5, false,
        "$v requests wait in the queue", "the queue is empty", "有 $v 个请求在排队", "队列为空" },
    [SYMPTOM_PROGRESS_STOPPED] = { "progress_stopped", SOURCE_ENGINE, PROGRESS_AGE, SYMPTOM_GE, THRESHOLD_STALL, 0, false,
        "no forward step for $v s", "the last forward step is $v s ago", "已有 $v 秒没有任何进展", "$v 秒前还有进展" },
    [SYMPTOM_PROGRESS_MOVING] = { "progress_moving", SOURCE_ENGINE, PROGRESS_AGE, SYMPTOM_LT, THRESHOLD_HALF_STALL, 0, false,
        "work moves forward (last step $v s ago)", "work does not move forward (last step $v s ago)",
        "任务在推进（$v 秒前有进展）", "任务没有推进（上次进展在 $v 秒前）" },
    [SYMPTOM_PROGRESS_STALLED] = { "progress_stalled", SOURCE_ENGINE, "last_over_time(watch_progress_state{$replica,state=\"stalled\"}[$fresh])",
        SYMPTOM_EQ, THRESHOLD_NUMBER, 1, false,
        "requests are there and nothing has moved for longer than allowed", "requests, if there are any, move", "有请求但超过允许时间没有进展", "若有请求，则有进展" },
    [SYMPTOM_FIRST_TOKEN_MISSING] = { "first_token_missing", SOURCE_PROBE, COMPLETION, SYMPTOM_EQ, THRESHOLD_NUMBER, 0, true,
        "a test completion got no first token", "a test completion got its first token", "测试补全没有得到首个 token", "测试补全得到了首个 token" },
    [SYMPTOM_PROBE_OK] = { "probe_ok", SOURCE_PROBE, COMPLETION, SYMPTOM_EQ, THRESHOLD_NUMBER, 1, false,
        "a test completion works", "a test completion fails", "测试补全成功", "测试补全失败" },
    [SYMPTOM_PROBE_SLOW] = { "probe_slow", SOURCE_PROBE, "last_over_time(probe_ttft_seconds{$replica}[$fresh])", SYMPTOM_GE, THRESHOLD_SLOW, 0, false,
        "a test completion waited $v s for its first token", "a test completion got its first token after $v s",
        "测试补全等待首个 token 用了 $v 秒", "测试补全在 $v 秒后得到首个 token" },
};

static void append_escaped(buf *out, str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '\n') {
            buf_append(out, STR("\\n"));
            continue;
        }
        if (c == '"' || c == '\\')
            buf_append_char(out, '\\');
        buf_append_char(out, c);
    }
}

void diagnose_replica_matchers(str job, str instance, buf *out)
{
    buf_append(out, STR("job=\""));
    append_escaped(out, job);
    buf_append(out, STR("\",instance=\""));
    append_escaped(out, instance);
    buf_append_char(out, '"');
}

/* Whole seconds where there are any, cut downwards: a narrower window never shows more than it may. */
static void append_window(buf *out, int64_t ms)
{
    if (ms >= MS_PER_S)
        buf_printf(out, "%" PRId64 "s", ms / MS_PER_S);
    else
        buf_printf(out, "%" PRId64 "ms", MAX(ms, 1));
}

void symptom_expr(symptom_id id, const replica_info *r, const symptom_limits *l, const symptom_set *s, buf *out)
{
    str text = str_from(symptom_rows[id].expr);
    while (text.len > 0) {
        ptrdiff_t at = str_find_char(text, '$');
        buf_append(out, at < 0 ? text : str_sub(text, 0, (size_t)at));
        if (at < 0)
            return;
        text = str_skip(text, (size_t)at + 1);
        if (str_starts(text, STR("replica"))) {
            diagnose_replica_matchers(str_from(r->job), str_from(r->instance), out);
            text = str_skip(text, strlen("replica"));
        } else if (str_starts(text, STR("fresh"))) {
            append_window(out, s->fresh_ms);
            text = str_skip(text, strlen("fresh"));
        } else if (str_starts(text, STR("since_stop"))) {
            append_window(out, s->since_stop_ms);
            text = str_skip(text, strlen("since_stop"));
        } else if (str_starts(text, STR("recent"))) {
            append_window(out, l->recent_ms);
            text = str_skip(text, strlen("recent"));
        }
    }
}

static double threshold_of(const symptom_row *row, const symptom_limits *l)
{
    switch (row->threshold) {
    case THRESHOLD_STALL: return (double)l->stall_after_ms / MS_PER_S;
    case THRESHOLD_HALF_STALL: return (double)l->stall_after_ms / (2 * MS_PER_S);
    case THRESHOLD_SLOW: return (double)l->slow_first_token_ms / MS_PER_S;
    case THRESHOLD_NUMBER: break;
    }
    return row->number;
}

static symptom_answer compare(const symptom_row *row, const symptom_limits *l, double v)
{
    if (isnan(v))
        return SYMPTOM_UNKNOWN;
    double limit = threshold_of(row, l);
    bool yes = row->compare == SYMPTOM_EQ ? v == limit : row->compare == SYMPTOM_LT ? v < limit : v >= limit;
    return yes ? SYMPTOM_YES : SYMPTOM_NO;
}

/* What watch knows this very moment wins over a sample that is a tick old; and why a scrape failed is told by watch
 * alone, `up` is only 0. */
static void correct_by_watch(symptom_set *s, const replica_info *r)
{
    if (r->process == PROCESS_EXITED) {
        s->answer[SYMPTOM_PROCESS_GONE] = SYMPTOM_YES;
        s->answer[SYMPTOM_PROCESS_ALIVE] = s->answer[SYMPTOM_PROCESS_STOPPED] = SYMPTOM_NO;
        s->value[SYMPTOM_PROCESS_GONE] = s->value[SYMPTOM_PROCESS_ALIVE] = 0;
    } else if ((r->process == PROCESS_RUNNING || r->process == PROCESS_STARTING) && symptom_is(s, SYMPTOM_PROCESS_GONE)) {
        s->answer[SYMPTOM_PROCESS_GONE] = SYMPTOM_NO;
        s->answer[SYMPTOM_PROCESS_ALIVE] = SYMPTOM_YES;
        s->value[SYMPTOM_PROCESS_GONE] = s->value[SYMPTOM_PROCESS_ALIVE] = 1;
    }
    if (r->process == PROCESS_STOPPING)
        s->answer[SYMPTOM_PROCESS_GONE] = SYMPTOM_NO;   /* watch itself is replacing it */
    if (symptom_is(s, SYMPTOM_SCRAPE_REFUSED) && str_find(str_from(r->scrape_error), STR("refused")) < 0)
        s->answer[SYMPTOM_SCRAPE_REFUSED] = SYMPTOM_NO;
}

/* What the engine said before its metrics page fell silent does not describe it now; and without work, or
 * when watch (which discounts our own probes) saw it stall, nothing moves. */
static void forget_old_engine_words(symptom_set *s)
{
    if (!symptom_is(s, SYMPTOM_WORK_RUNNING) || symptom_is(s, SYMPTOM_PROGRESS_STALLED))
        s->answer[SYMPTOM_PROGRESS_MOVING] = SYMPTOM_UNKNOWN;
    if (!symptom_is(s, SYMPTOM_SCRAPE_FAILING))
        return;
    for (symptom_id id = 0; id < SYMPTOM_COUNT; id++)
        if (symptom_rows[id].source == SOURCE_ENGINE) {
            s->answer[id] = SYMPTOM_UNKNOWN;
            s->value[id] = NAN;
        }
}

static bool same_question(symptom_id id)
{
    return id > 0 && strcmp(symptom_rows[id].expr, symptom_rows[id - 1].expr) == 0;
}

err_kind symptoms_ask(const replica_info *r, const symptom_limits *l, symptom_asker asker, int64_t now_ms, symptom_set *ret, err *e)
{
    AUTO(buf_done) buf expr = BUF_INIT(EXPR_MAX_BYTES);
    symptom_set s = { .now_ms = now_ms, .fresh_ms = l->fresh_ms };
    err_kind failed = OK;

    if (r->process_start_ms > 0 && r->process_start_ms <= now_ms)
        s.fresh_ms = MAX(1, MIN(s.fresh_ms, now_ms - r->process_start_ms));
    if (r->process == PROCESS_EXITED && r->process_end_ms > 0 && r->process_end_ms <= now_ms)
        s.fresh_ms = MAX(1, MIN(s.fresh_ms, now_ms - r->process_end_ms));
    s.since_stop_ms = s.fresh_ms;
    for (symptom_id id = 0; id < SYMPTOM_COUNT; id++) {
        double v = NAN;
        err local = { 0 };
        if (same_question(id)) {
            v = s.value[id - 1];
        } else {
            buf_reset(&expr);
            symptom_expr(id, r, l, &s, &expr);
            err_kind k = buf_failed(&expr) ? err_nomem(&local) : asker.ask(asker.ctx, buf_str(&expr), now_ms, &v, &local);
            if (k != OK) {
                v = NAN;
                if (k != ERR_NOT_FOUND && failed == OK) {
                    failed = k;
                    if (e)
                        *e = local;
                }
            }
        }
        s.value[id] = v;
        s.answer[id] = compare(&symptom_rows[id], l, v);
        /* A probe that failed before progress stopped says nothing about the stop. */
        if (id == SYMPTOM_PROGRESS_STOPPED && s.answer[id] == SYMPTOM_YES)
            s.since_stop_ms = MIN(s.fresh_ms, (int64_t)(MIN(v, 1e9) * MS_PER_S));
    }
    correct_by_watch(&s, r);
    forget_old_engine_words(&s);
    *ret = s;
    return failed;
}

void symptom_text(symptom_id id, const symptom_set *s, bool chinese, buf *out)
{
    const symptom_row *row = &symptom_rows[id];
    bool yes = s->answer[id] == SYMPTOM_YES;
    str text = str_from(chinese ? (yes ? row->yes_zh : row->no_zh) : (yes ? row->yes : row->no));
    ptrdiff_t at = str_find(text, STR("$v"));
    if (at < 0) {
        buf_append(out, text);
        return;
    }
    buf_append(out, str_sub(text, 0, (size_t)at));
    /* People read one decimal; the full value stands beside it in the evidence. */
    double v = s->value[id];
    if (v == floor(v) || isnan(v))
        buf_append_double(out, v);
    else
        buf_printf(out, fabs(v) < 1 ? "%.3f" : "%.1f", v);
    buf_append(out, str_skip(text, (size_t)at + 2));
}
