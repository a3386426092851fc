#include "base/test.h"
#include "query/remote.h"

#define VECTOR(rest) "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[" rest "]}}"

TEST(query_remote_reads_answers)
{
    static const struct { const char *what, *reply; err_kind want; const char *text; } rows[] = {
        { "a vector", VECTOR("{\"metric\":{\"__name__\":\"up\",\"job\":\"a\"},\"value\":[1435781451.781,\"1\"]}"), OK,
          "{\"resultType\":\"vector\",\"result\":[{\"metric\":{\"__name__\":\"up\",\"job\":\"a\"},\"value\":[1435781451.781,\"1\"]}]}" },
        { "labels in any order", VECTOR("{\"metric\":{\"z\":\"1\",\"a\":\"2\"},\"value\":[1,\"NaN\"]}"), OK,
          "{\"resultType\":\"vector\",\"result\":[{\"metric\":{\"a\":\"2\",\"z\":\"1\"},\"value\":[1,\"NaN\"]}]}" },
        { "a matrix", "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"metric\":{},\"values\":[[1,\"1\"],[2.5,\"+Inf\"]]}]}}", OK,
          "{\"resultType\":\"matrix\",\"result\":[{\"metric\":{},\"values\":[[1,\"1\"],[2.500,\"+Inf\"]]}]}" },
        { "a scalar", "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\",\"result\":[1,\"3\"]}}", OK, "{\"resultType\":\"scalar\",\"result\":[1,\"3\"]}" },
        { "a string", "{\"status\":\"success\",\"data\":{\"resultType\":\"string\",\"result\":[1,\"x\"]}}", OK, "{\"resultType\":\"string\",\"result\":[0,\"x\"]}" },
        { "an empty vector", VECTOR(""), OK, "{\"resultType\":\"vector\",\"result\":[]}" },
        { "an error of theirs", "{\"status\":\"error\",\"errorType\":\"execution\",\"error\":\"many-to-many\"}", ERR_EXEC, "many-to-many" },
        { "their timeout", "{\"status\":\"error\",\"errorType\":\"timeout\",\"error\":\"slow\"}", ERR_TIMEOUT, "slow" },
        { "VictoriaMetrics's numbers for types", "{\"status\":\"error\",\"errorType\":\"422\",\"error\":\"no\"}", ERR_EXEC, "no" },
        { "a page of a proxy", "<html>hello</html>", ERR_EXEC, "not one of Prometheus's API" },
        { "other JSON", "{\"status\":1}", ERR_EXEC, "no status" },
        { "no result", "{\"status\":\"success\",\"data\":{}}", ERR_EXEC, "no known type" },
        { "a value that is no text", VECTOR("{\"metric\":{},\"value\":[1,2]}"), ERR_EXEC, "not [time" },
        { "a time that is none", VECTOR("{\"metric\":{},\"value\":[1e300,\"2\"]}"), ERR_EXEC, "not [time" },
        { "a label without a name", VECTOR("{\"metric\":{\"\":\"x\"},\"value\":[1,\"2\"]}"), ERR_EXEC, "without a name" },
        { "too much", "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"metric\":{},\"values\":[[1,\"1\"],[2,\"1\"],[3,\"1\"],[4,\"1\"]]}]}}", ERR_LIMIT,
          "max_samples" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        AUTO(buf_done) buf text = BUF_INIT(1u << 16);
        query_result r = { 0 };
        err e = { 0 };
        err_kind k = query_remote_decode(str_from(rows[i].reply), 0, 3, &r, &e);
        CHECK_MSG(k == rows[i].want, "%s: %s %s", rows[i].what, err_kind_name(k), e.message);
        if (k) {
            CHECK_MSG(strstr(e.message, rows[i].text), "%s: %s", rows[i].what, e.message);
            continue;
        }
        query_result_json(&r, &text);
        CHECK_MSG(str_is(buf_str(&text), rows[i].text), "%s: %s", rows[i].what, buf_cstr(&text));
        query_result_done(&r);
    }
}

TEST(query_remote_reads_lists)
{
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    labels *series;
    str *texts;
    size_t n;
    err e = { 0 };
    CHECK_OK(query_remote_decode_series(STR("{\"status\":\"success\",\"data\":[{\"b\":\"1\"},{\"a\":\"1\"},{\"b\":\"1\"}]}"), &a, &series, &n, &e), e);
    CHECK_EQ(n, 2);
    CHECK_STR(series[0].at[0].name, "a");
    CHECK_OK(query_remote_decode_texts(STR("{\"status\":\"success\",\"data\":[\"x\",\"y\"]}"), &a, &texts, &n, &e), e);
    CHECK_EQ(n, 2);
    CHECK_STR(texts[1], "y");
    CHECK_EQ(query_remote_decode_texts(STR("{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"q\"}"), &a, &texts, &n, &e), ERR_PARSE);
}

TEST(query_remote_decode_survives_any_failed_allocation)
{
    for (unsigned nth = 0;; nth++) {
        query_result r = { 0 };
        err e = { 0 };
        fault_alloc(nth);
        err_kind k = query_remote_decode(STR(VECTOR("{\"metric\":{\"a\":\"1\"},\"value\":[1,\"1\"]}")), 0, 9, &r, &e);
        bool fired = fault_fired();
        CHECK_EQ(k != OK, fired);
        query_result_done(&r);
        if (!fired)
            break;
    }
}

/* Nobody listens on the address: the first asker learns it from the network, the next ones at once. */
TEST(query_remote_says_when_the_store_is_away)
{
    query_remote_options o = { .url = "http://127.0.0.1:1", .timeout_ms = 2000 };
    query_remote *r = NULL;
    err e = { 0 };
    char why[200];
    int64_t since;
    CHECK_OK(query_remote_open(&o, &r, &e), e);
    query_backend b = query_remote_backend(r);
    query_engine *q = query_engine_new(NULL, NULL);
    query_engine_push_down(q, &b);
    CHECK(query_remote_up(r, why, sizeof why, &since));
    query_result result = { 0 };
    CHECK_EQ(query_instant(q, STR("up"), 0, NULL, &result, &e), ERR_UNAVAILABLE);
    CHECK_CONTAINS(str_from(e.message), "could not ask the remote store");
    CHECK_EQ(query_instant(q, STR("up"), 0, NULL, &result, &e), ERR_UNAVAILABLE);
    CHECK_CONTAINS(str_from(e.message), "has been away since");
    CHECK(!query_remote_up(r, why, sizeof why, &since));
    CHECK_EQ(query_instant(q, STR("sum(slo_burn(up, 0.99))"), 0, NULL, &result, &e), ERR_EXEC);
    CHECK_CONTAINS(str_from(e.message), "galen's own");
    CHECK_EQ(query_instant(q, STR("sum("), 0, NULL, &result, &e), ERR_PARSE); /* our own sentence, without asking */
    query_engine_free(q);
    query_remote_close(r);
}
