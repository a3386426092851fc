/* Questions that are cheap are answered on the loop's own thread: waking a thread of the pool and being woken by it
 * costs more CPU than they do.
 *
 * Nobody can tell from an expression what it costs, but dashboards and rules ask the same again and again: a question
 * that took next to nothing CHEAP_RUNS times in a row is run here, under a budget a pool's query does not have. If the
 * data has grown meanwhile, the budget ends it, the pool runs it, and it has to earn its place again. So the loop is
 * held up by about CHEAP_BUDGET_MS at most, once for each such change. */
#include "query/api.h"
#include "base/hash.h"

#define CHEAP_NS (300 * INT64_C(1000))
#define CHEAP_TABLE 1024       /* questions remembered; two at one place forget each other */
#define CHEAP_RUNS 3           /* fits RUNS_MASK */
#define CHEAP_BUDGET_MS 3
#define CHEAP_BUDGET_SERIES 1000
#define CHEAP_BUDGET_SAMPLES 50000
#define CHEAP_TEXT_MAX 2048    /* a long expression is costly to parse already */

/* A question's hash with the number of its cheap runs in the lowest bits, so that the pool's threads may write what the
 * loop's thread reads. */
#define RUNS_MASK UINT64_C(3)
struct cheap { _Atomic uint64_t at[CHEAP_TABLE]; };

cheap *cheap_new(void) { return mem_zalloc(sizeof(cheap)); }
void cheap_free(cheap *c) { mem_free(c); }

/* What is asked, but not of which day: dashboards move on. 0: not to be run here. */
static uint64_t question_of(const job *j)
{
    const query_request *q = &j->query;
    size_t length = q->expr.len + j->label.len;
    bool instant = q->expr.len && q->step_ms == 0;
    int64_t numbers[] = { (int64_t)(intptr_t)j->run, instant ? 0 : q->to_ms - q->from_ms, q->step_ms, (int64_t)q->limit, j->want_views, q->want_cost, q->tier };
    uint64_t h = hash_bytes(numbers, sizeof numbers, 0);
    h = hash_str(j->label, hash_str(q->expr, h));
    for (size_t i = 0; i < j->match_count; i++) {
        length += j->matches[i].len;
        h = hash_str(j->matches[i], h);
    }
    return length > CHEAP_TEXT_MAX ? 0 : h | (RUNS_MASK + 1);
}

void cheap_note(cheap *c, const job *j, int64_t took_ns)
{
    uint64_t question = question_of(j);
    if (!c || !question)
        return;
    _Atomic uint64_t *place = &c->at[(question >> 16) % CHEAP_TABLE];
    uint64_t known = atomic_load_explicit(place, memory_order_relaxed);
    uint64_t runs = (known & ~RUNS_MASK) == (question & ~RUNS_MASK) ? known & RUNS_MASK : 0;
    runs = took_ns > CHEAP_NS ? 0 : MIN(runs + 1, (uint64_t)CHEAP_RUNS);
    atomic_store_explicit(place, (question & ~RUNS_MASK) | runs, memory_order_relaxed);
}

static bool is_cheap(const cheap *c, const job *j)
{
    uint64_t question = question_of(j);
    if (!c || !question)
        return false;
    return atomic_load_explicit(&c->at[(question >> 16) % CHEAP_TABLE], memory_order_relaxed) == ((question & ~RUNS_MASK) | CHEAP_RUNS);
}

bool cheap_run(cheap *c, job *j)
{
    if (!j->may_run_here || !is_cheap(c, j))
        return false;
    query_request asked = j->query;
    int64_t started = clock_mono_ns();
    j->query.max_series = CHEAP_BUDGET_SERIES;
    j->query.max_samples = CHEAP_BUDGET_SAMPLES;
    j->query.timeout_ms = asked.timeout_ms > 0 ? MIN(asked.timeout_ms, CHEAP_BUDGET_MS) : CHEAP_BUDGET_MS;
    j->failed = OK;
    j->run(j);
    j->query = asked;
    bool over = j->failed == ERR_LIMIT || j->failed == ERR_TIMEOUT;
    cheap_note(c, j, over ? INT64_MAX : clock_mono_ns() - started);
    if (over)
        buf_reset(&j->body);
    return !over;
}
