#include "base/test.h"
#include "watch/progress.h"
#include <math.h>
#include <stdlib.h>

/* A story: one word a scrape, 5 s apart, stall_after 15 s. "r2w1+40": two run, one waits, the counter moved by 40.
 * "p" before a scrape: our probe is out (and counted in r or w); "ok", "no", "refused": it ended; "down", "blind". */
static const struct {
    const char *what, *story;
    progress_state want;
} stories[] = {
    { "nothing was ever seen", "down", PROGRESS_UNKNOWN },
    { "an engine without a progress counter is unknown", "blind", PROGRESS_UNKNOWN },
    { "no request is idle", "r0+0 r0+0", PROGRESS_IDLE },
    { "tokens come", "r1+10 r1+10 r1+10", PROGRESS_PROGRESSING },
    { "a pause shorter than stall_after is no stall", "r1+10 r1+10 r1+0 r1+0", PROGRESS_PROGRESSING },
    { "no step for stall_after is suspect, not yet stalled", "r1+10 r1+10 r1+0 r1+0 r1+0", PROGRESS_SUSPECT },
    { "suspect and no first token is stalled", "r1+10 r1+10 r1+0 r1+0 r1+0 no", PROGRESS_STALLED },
    { "suspect and a first token is fine (stale gauges)", "r1+10 r1+10 r1+0 r1+0 r1+0 ok", PROGRESS_PROGRESSING },
    { "a refused probe proves nothing about decoding", "r1+10 r1+10 r1+0 r1+0 r1+0 refused", PROGRESS_SUSPECT },
    { "stalled stays stalled while nothing moves", "r1+10 r1+0 r1+0 r1+0 no r1+0 r1+0", PROGRESS_STALLED },
    { "a step ends a stall", "r1+10 r1+0 r1+0 r1+0 no r1+0 r1+30", PROGRESS_PROGRESSING },
    { "all requests gone ends a stall", "r1+10 r1+0 r1+0 r1+0 no r0+0", PROGRESS_IDLE },
    { "a failed scrape is unknown", "r1+10 down", PROGRESS_UNKNOWN },
    { "back from a failed scrape and unmoved is suspect at once", "r1+10 r1+0 r1+0 down r1+0", PROGRESS_SUSPECT },
    { "a queue while tokens come is saturation", "r4+10 r4w3+10", PROGRESS_SATURATED },
    { "a queue that was worked off is none", "r4+10 r4w3+10 r4w0+10", PROGRESS_PROGRESSING },
    { "our own probe in the queue while tokens come is saturation, too", "r4+10 pr4w1+90", PROGRESS_SATURATED },
    { "a probe that timed out while tokens come had waited in a queue", "r4+10 pr5+90 no r4+90", PROGRESS_SATURATED },
    { "the next probe with a token ends that", "r4+10 pr5+90 no r4+90 ok r4+90", PROGRESS_PROGRESSING },
    { "a queue without a step is suspect, not saturation", "r4+10 r4w3+0 r4w3+0 r4w3+0", PROGRESS_SUSPECT },
    { "our own probe on an idle engine is no work", "r0+0 pr1+0 pr1+0 pr1+0 pr1+0 pr1+0", PROGRESS_IDLE },
    { "the prompt of our probe is no progress", "r1+10 r1+0 r1+0 r1+0 pr2+20 no", PROGRESS_STALLED },
    { "nor are the prompts of several", "r1+10 r1+0 r1+0 r1+0 pr2+20 no pr2+20 no r1+0", PROGRESS_STALLED },
    { "many small steps beyond what probes explain are progress", "r1+10 pr2+30 pr2+30 pr2+30 pr2+30",
      PROGRESS_PROGRESSING },
    { "a counter that fell is a restart, all is new", "r1+100 r1+0 r1+0 r1+0 no r1-90", PROGRESS_PROGRESSING },
    { "a probe that waited in vain counts once nothing has moved for stall_after", "r1+10 r1+0 pr2+0 no r1+0", PROGRESS_STALLED },
    { "but not if something moved behind it", "r1+10 r1+0 pr2+0 no r1+90 r1+0 r1+0 r1+0", PROGRESS_SUSPECT },
    { "nor if the engine was down meanwhile", "r1+10 r1+0 down no r1+0", PROGRESS_SUSPECT },
    { "work after a long idle time starts the clock anew", "r0+0 r0+0 r0+0 r0+0 r0+0 r1+0", PROGRESS_PROGRESSING },
};

typedef struct teller {
    progress p;
    double counter, running, waiting;
    int64_t now_ms;
    bool probe;
} teller;

static void tell_scrape(teller *t, const char *word)
{
    progress_input in = { .is_scrape = true, .probe_steps = 64 };
    t->now_ms += 5000;
    in.up = strcmp(word, "down") != 0;
    in.known = in.up && strcmp(word, "blind") != 0;
    if (in.known) {
        in.probe_in_flight = *word == 'p';
        word += *word == 'p';
        t->running = t->waiting = 0;
        while (*word == 'r' || *word == 'w') {
            char *end;
            *(*word == 'r' ? &t->running : &t->waiting) = strtod(word + 1, &end);
            word = end;
            if (*word == '+' || *word == '-')
                break;
        }
        t->counter += strtod(word, NULL);
    }
    in.running = t->running;
    in.waiting = t->waiting;
    in.counter = t->counter;
    t->p = progress_step(t->p, &(progress_config){ 15000 }, &in, t->now_ms);
}

static void tell_probe(teller *t, progress_probe result)
{
    t->p = progress_step(t->p, &(progress_config){ 15000 }, &(progress_input){ .probe = result, .probe_steps = 64, .probe_waited_ms = 4000 },
                         t->now_ms);
}

TEST(each_story_ends_in_its_state)
{
    for (size_t i = 0; i < COUNT_OF(stories); i++) {
        teller t = { .counter = 1000, .now_ms = 1000000 };
        str rest = str_from(stories[i].story), word;
        while (str_split(&rest, ' ', &word)) {
            char text[64];
            str_copy(text, sizeof text, word);
            if (str_is(word, "ok"))
                tell_probe(&t, PROGRESS_PROBE_OK);
            else if (str_is(word, "no"))
                tell_probe(&t, PROGRESS_PROBE_NO_TOKEN);
            else if (str_is(word, "refused"))
                tell_probe(&t, PROGRESS_PROBE_NO_ANSWER);
            else
                tell_scrape(&t, text);
        }
        CHECK_MSG(t.p.state == stories[i].want, "%s: got %s, want %s", stories[i].what, progress_state_name(t.p.state),
                  progress_state_name(stories[i].want));
    }
}

TEST(age_counts_from_the_last_step_and_is_zero_when_idle)
{
    teller t = { .now_ms = 1000000 };
    tell_scrape(&t, "r1+10");
    tell_scrape(&t, "r1+10");
    tell_scrape(&t, "r1+0");
    CHECK_DOUBLE(progress_age_s(&t.p, t.now_ms), 5);
    tell_scrape(&t, "r0+0");
    CHECK_DOUBLE(progress_age_s(&t.p, t.now_ms + 60000), 0);
    tell_scrape(&t, "down");
    CHECK(isnan(progress_age_s(&t.p, t.now_ms)));
}
