#include "base/test.h"
#include "diagnose/symptom.h"

static const symptom_limits limits = { .fresh_ms = 60000, .recent_ms = 15000, .stall_after_ms = 30000, .slow_first_token_ms = 10000 };
static const replica_info replica = { .id = "replica:chat/127.0.0.1:8000", .name = "chat-a", .job = "chat", .instance = "127.0.0.1:8000" };

/* Answers by the first row whose text occurs in the question. */
typedef struct canned { const char *contains; double v; } canned;
typedef struct script { const canned *at; size_t len; unsigned asked; char last_completion[300]; } script;
static err_kind ask_script(void *ctx, str expr, int64_t t_ms, double *ret, err *e)
{
    script *s = ctx;
    UNUSED(t_ms);
    s->asked++;
    if (str_find(expr, STR("\"completion\"")) >= 0)
        str_copy(s->last_completion, sizeof s->last_completion, expr);
    for (size_t i = 0; i < s->len; i++)
        if (str_find(expr, str_from(s->at[i].contains)) >= 0) {
            *ret = s->at[i].v;
            return OK;
        }
    return err_set(e, ERR_NOT_FOUND, "no such series");
}

TEST(symptoms_silence_is_not_no)
{
    script none = { 0 };
    symptom_set s;
    err e = { 0 };
    CHECK_OK(symptoms_ask(&replica, &limits, (symptom_asker){ ask_script, &none }, 1000000, &s, &e), e);
    for (symptom_id id = 0; id < SYMPTOM_COUNT; id++)
        CHECK_MSG(s.answer[id] == SYMPTOM_UNKNOWN, "%s answered without a series", symptom_rows[id].name);
}

TEST(symptoms_ask_each_question_once)
{
    script none = { 0 };
    symptom_set s;
    unsigned different = 0;
    for (symptom_id id = 0; id < SYMPTOM_COUNT; id++)
        different += id == 0 || strcmp(symptom_rows[id].expr, symptom_rows[id - 1].expr) != 0;
    CHECK_EQ(symptoms_ask(&replica, &limits, (symptom_asker){ ask_script, &none }, 1000000, &s, NULL), OK);
    CHECK_EQ(none.asked, different);
}

TEST(symptoms_compare_as_the_table_says)
{
    static const canned answers[] = {
        { "watch_process_up", 1 }, { "watch_process_stopped", 0 }, { "up{", 1 }, { "llm_requests_running", 2 },
        { "llm_requests_waiting", 0 }, { "watch_progress_age_seconds", 31 }, { "probe_success{job=\"chat\",instance=\"127.0.0.1:8000\",probe=\"completion\"}", 0 },
        { "probe_success", 1 },
    };
    script s = { answers, COUNT_OF(answers), 0, "" };
    symptom_set set;
    CHECK_EQ(symptoms_ask(&replica, &limits, (symptom_asker){ ask_script, &s }, 1000000, &set, NULL), OK);
    CHECK(symptom_is(&set, SYMPTOM_PROCESS_ALIVE));
    CHECK(symptom_isnt(&set, SYMPTOM_PROCESS_GONE));
    CHECK(symptom_is(&set, SYMPTOM_WORK_RUNNING));
    CHECK(symptom_isnt(&set, SYMPTOM_QUEUE_WAITING));
    CHECK(symptom_is(&set, SYMPTOM_PROGRESS_STOPPED));
    CHECK(symptom_isnt(&set, SYMPTOM_PROGRESS_MOVING));
    CHECK(symptom_is(&set, SYMPTOM_FIRST_TOKEN_MISSING));
    CHECK(symptom_is(&set, SYMPTOM_HEALTH_OK));
    /* The probe must have failed after progress stopped, so its window is 31 s, not 60 s. */
    CHECK_CONTAINS(str_from(s.last_completion), "[31s]");
}

TEST(symptoms_never_reach_back_before_the_present_process)
{
    replica_info young = replica;
    AUTO(buf_done) buf expr = BUF_INIT(1000);
    script none = { 0 };
    symptom_set s;
    young.process_start_ms = 1000000 - 4500;
    CHECK_EQ(symptoms_ask(&young, &limits, (symptom_asker){ ask_script, &none }, 1000000, &s, NULL), OK);
    symptom_expr(SYMPTOM_HEALTH_OK, &young, &limits, &s, &expr);
    CHECK_STR(buf_str(&expr), "last_over_time(probe_success{job=\"chat\",instance=\"127.0.0.1:8000\",probe=\"health\"}[4s])");
}

TEST(symptoms_never_reach_back_before_the_end_of_a_process)
{
    replica_info ended = replica;
    AUTO(buf_done) buf expr = BUF_INIT(1000);
    script none = { 0 };
    symptom_set s;
    ended.process = PROCESS_EXITED;
    ended.process_start_ms = 1000000 - 40000;
    ended.process_end_ms = 1000000 - 3000;
    CHECK_EQ(symptoms_ask(&ended, &limits, (symptom_asker){ ask_script, &none }, 1000000, &s, NULL), OK);
    symptom_expr(SYMPTOM_SCRAPE_OK, &ended, &limits, &s, &expr);
    CHECK_STR(buf_str(&expr), "last_over_time(up{job=\"chat\",instance=\"127.0.0.1:8000\"}[3s])");
}

TEST(symptoms_believe_watch_when_the_store_lags)
{
    static const canned alive[] = { { "watch_process_up", 1 } }, gone[] = { { "watch_process_up", 0 } };
    script s = { alive, 1, 0, "" };
    symptom_set set;
    replica_info r = replica;
    r.process = PROCESS_EXITED;
    CHECK_EQ(symptoms_ask(&r, &limits, (symptom_asker){ ask_script, &s }, 1000000, &set, NULL), OK);
    CHECK(symptom_is(&set, SYMPTOM_PROCESS_GONE));
    CHECK(!symptom_is(&set, SYMPTOM_PROCESS_ALIVE));
    r.process = PROCESS_STOPPING;
    s = (script){ gone, 1, 0, "" };
    CHECK_EQ(symptoms_ask(&r, &limits, (symptom_asker){ ask_script, &s }, 1000000, &set, NULL), OK);
    CHECK_MSG(!symptom_is(&set, SYMPTOM_PROCESS_GONE), "a process that watch is replacing is not gone");
}

TEST(symptoms_forget_what_the_engine_said_before_it_fell_silent)
{
    static const canned answers[] = { { "last_over_time(up{", 0 }, { "llm_requests_running", 3 }, { "watch_progress_age", 0 } };
    script s = { answers, COUNT_OF(answers), 0, "" };
    symptom_set set;
    CHECK_EQ(symptoms_ask(&replica, &limits, (symptom_asker){ ask_script, &s }, 1000000, &set, NULL), OK);
    CHECK(symptom_is(&set, SYMPTOM_SCRAPE_FAILING));
    CHECK_EQ(set.answer[SYMPTOM_WORK_RUNNING], SYMPTOM_UNKNOWN);
    CHECK_EQ(set.answer[SYMPTOM_PROGRESS_MOVING], SYMPTOM_UNKNOWN);
}

TEST(symptoms_an_idle_engine_does_not_move)
{
    static const canned answers[] = { { "llm_requests_running", 0 }, { "watch_progress_age", 0 } };
    script s = { answers, COUNT_OF(answers), 0, "" };
    symptom_set set;
    CHECK_EQ(symptoms_ask(&replica, &limits, (symptom_asker){ ask_script, &s }, 1000000, &set, NULL), OK);
    CHECK(!symptom_is(&set, SYMPTOM_PROGRESS_MOVING));
}

TEST(symptoms_escape_labels)
{
    AUTO(buf_done) buf b = BUF_INIT(1000);
    diagnose_replica_matchers(STR("a\"b\\c\nd"), STR("x"), &b);
    CHECK_STR(buf_str(&b), "job=\"a\\\"b\\\\c\\nd\",instance=\"x\"");
}

TEST(symptoms_say_the_value_in_both_languages)
{
    AUTO(buf_done) buf b = BUF_INIT(1000);
    symptom_set s = { 0 };
    s.answer[SYMPTOM_PROGRESS_STOPPED] = SYMPTOM_YES;
    s.value[SYMPTOM_PROGRESS_STOPPED] = 31.25;
    symptom_text(SYMPTOM_PROGRESS_STOPPED, &s, false, &b);
    CHECK_STR(buf_str(&b), "no forward step for 31.2 s");
    buf_reset(&b);
    symptom_text(SYMPTOM_PROGRESS_STOPPED, &s, true, &b);
    CHECK_STR(buf_str(&b), "已有 31.2 秒没有任何进展");
}

TEST(symptoms_survive_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        script none = { 0 };
        symptom_set s;
        fault_alloc(nth);
        err_kind k = symptoms_ask(&replica, &limits, (symptom_asker){ ask_script, &none }, 1000000, &s, NULL);
        bool fired = fault_fired();
        CHECK_EQ(k, fired ? ERR_NOMEM : OK);
        if (!fired)
            break;
    }
}
