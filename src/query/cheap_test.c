#include "base/test.h"
#include "query/api.h"

static int runs;
static err_kind outcome;
static query_request seen;

static void run_it(job *j)
{
    runs++;
    seen = j->query;
    j->failed = outcome;
    buf_append(&j->body, STR("answer"));
}

static job ask(const char *expr)
{
    runs = 0;
    return (job){ .run = run_it, .may_run_here = true, .query = { .expr = str_from(expr), .to_ms = 5000 }, .body = BUF_INIT(100) };
}

TEST(cheap_questions_earn_their_place_on_the_loop)
{
    cheap *c = cheap_new();
    job j = ask("up");
    outcome = OK;
    for (int i = 0; i < 3; i++) {
        CHECK(!cheap_run(c, &j));
        cheap_note(c, &j, 1000);
    }
    j.query.to_ms = 9000; /* an instant query is the same question later */
    CHECK(cheap_run(c, &j));
    CHECK_EQ(runs, 1);
    CHECK(seen.max_samples > 0 && seen.max_series > 0 && seen.timeout_ms > 0);
    CHECK_EQ(j.query.max_samples, 0); /* the budget is not the question's */
    CHECK_STR(buf_str(&j.body), "answer");
    j.may_run_here = false;
    CHECK(!cheap_run(c, &j));
    buf_done(&j.body);
    cheap_free(c);
}

TEST(cheap_questions_that_grow_go_back_to_the_pool)
{
    static const err_kind over[] = { ERR_LIMIT, ERR_TIMEOUT };
    for (size_t k = 0; k < COUNT_OF(over); k++) {
        cheap *c = cheap_new();
        job j = ask("sum(up)");
        for (int i = 0; i < 3; i++)
            cheap_note(c, &j, 1000);
        outcome = over[k];
        CHECK(!cheap_run(c, &j)); /* tried, over budget, nothing left behind */
        CHECK_EQ(runs, 1);
        CHECK_EQ(j.body.len, 0);
        CHECK(!cheap_run(c, &j));
        CHECK_EQ(runs, 1);
        buf_done(&j.body);
        cheap_free(c);
    }
}

TEST(cheap_questions_answer_their_own_errors)
{
    cheap *c = cheap_new();
    job j = ask("rate(");
    for (int i = 0; i < 3; i++)
        cheap_note(c, &j, 1000);
    outcome = ERR_PARSE;
    CHECK(cheap_run(c, &j));
    buf_done(&j.body);
    cheap_free(c);
}

static const struct { const char *what; int64_t took_ns[4]; bool cheap; } histories[] = {
    { "always quick", { 1000, 1000, 1000, 1000 }, true },
    { "once slow, a while ago", { 5000000, 1000, 1000, 1000 }, true },
    { "slow lately", { 1000, 1000, 1000, 5000000 }, false },
    { "asked too seldom", { 5000000, 5000000, 1000, 1000 }, false },
};

TEST(cheap_is_what_was_cheap_lately)
{
    outcome = OK;
    for (size_t i = 0; i < COUNT_OF(histories); i++) {
        cheap *c = cheap_new();
        job j = ask("up");
        for (size_t k = 0; k < 4; k++)
            cheap_note(c, &j, histories[i].took_ns[k]);
        job other = ask("down");
        CHECK_MSG(cheap_run(c, &j) == histories[i].cheap, "%s", histories[i].what);
        CHECK(!cheap_run(c, &other));
        buf_done(&j.body);
        cheap_free(c);
    }
}

TEST(cheap_takes_no_long_expressions)
{
    static char text[4000];
    memset(text, '1', sizeof text - 1);
    cheap *c = cheap_new();
    job j = ask(text);
    for (int i = 0; i < 5; i++)
        cheap_note(c, &j, 1000);
    CHECK(!cheap_run(c, &j));
    cheap_free(c);
}
