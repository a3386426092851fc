#include "base/test.h"
#include "diagnose/record.h"

static const symptom_limits limits = { .fresh_ms = 60000, .recent_ms = 15000, .stall_after_ms = 30000, .slow_first_token_ms = 10000 };
static const replica_info replica = { .id = "replica:chat/127.0.0.1:8000", .name = "chat-a", .job = "chat", .instance = "127.0.0.1:8000" };

static incident_record *dead(void)
{
    symptom_set set = { .now_ms = 1000000, .fresh_ms = 60000, .since_stop_ms = 60000 };
    incident_state s = { .open = true, .cause = CAUSE_ENGINE_DEAD, .confidence = CONFIDENCE_CONFIRMED, .act = true, .episode = 3,
                         .opened_ms = 900000, .cause_since_ms = 950000, .present = true };
    str alerts[] = { STR("InstanceDown") };
    set.answer[SYMPTOM_PROCESS_GONE] = set.answer[SYMPTOM_CONNECTION_REFUSED] = SYMPTOM_YES;
    set.answer[SYMPTOM_HEALTH_OK] = SYMPTOM_NO;
    set.answer[SYMPTOM_PROBE_OK] = SYMPTOM_NO;         /* engine_dead does not look at it */
    set.value[SYMPTOM_CONNECTION_REFUSED] = 1;
    return incident_record_new(STR("inc-1"), STR("replica:chat/127.0.0.1:8000"), &s, &(incident_sight){ &replica, &limits, &set, alerts, 1 });
}

TEST(record_tells_what_speaks_for_and_against)
{
    AUTO(incident_record_freep) incident_record *r = dead();
    CHECK(r != NULL);
    CHECK_STR(r->view.summary, "chat-a: the engine is dead: its process has ended, its port refuses connections");
    CHECK_STR(r->view.summary_zh, "chat-a：引擎已停止运行：进程已退出，端口拒绝连接");
    CHECK_EQ(r->view.evidence_count, 4);
    CHECK_STR(r->view.evidence[0].symptom, "process_gone");
    CHECK_STR(r->view.evidence[0].expr, "last_over_time(watch_process_up{job=\"chat\",instance=\"127.0.0.1:8000\"}[60s])");
    CHECK(r->view.evidence[0].holds);
    CHECK_STR(r->view.evidence[2].symptom, "health_ok");
    CHECK(!r->view.evidence[2].holds);
    CHECK_STR(r->view.evidence[3].symptom, "alert:InstanceDown");
}

TEST(record_comes_back_from_its_json)
{
    AUTO(incident_record_freep) incident_record *r = dead(), *back = NULL;
    AUTO(buf_done) buf b = BUF_INIT(INCIDENT_JSON_MAX), again = BUF_INIT(INCIDENT_JSON_MAX);
    json_writer w = json_writer_to(&b);
    err e = { 0 };
    incident_json(&w, &r->view);
    CHECK_OK(incident_record_parse(buf_str(&b), &back, &e), e);
    incident_state s = incident_record_state(back, 2000000);
    CHECK(s.open && s.act && !s.present);
    CHECK_EQ(s.cause, CAUSE_ENGINE_DEAD);
    CHECK_EQ(s.episode, 3);
    CHECK_EQ(s.last_fault_ms, 2000000);
    back->view.present = true;                         /* the only thing a restart must find out anew */
    w = json_writer_to(&again);
    incident_json(&w, &back->view);
    CHECK_STR(buf_str(&again), buf_cstr(&b));
}

TEST(record_refuses_what_is_none)
{
    static const char *const bad[] = { "", "{", "[]", "{}", "x", "{\"id\":\"x\",\"cause\":\"gremlins\"}", "{\"cause\":\"engine_dead\"}" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        incident_record *r = NULL;
        CHECK_MSG(incident_record_parse(str_from(bad[i]), &r, NULL) != OK && !r, "%s was taken", bad[i]);
    }
}

TEST(record_survives_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        fault_alloc(nth);
        AUTO(incident_record_freep) incident_record *r = dead();
        bool fired = fault_fired();
        CHECK_EQ(r == NULL, fired);
        if (!fired)
            break;
    }
}
