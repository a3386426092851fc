#include "watch/progress.h"
#include <math.h>

const char *progress_state_name(progress_state s)
{
    static const char *const names[PROGRESS_STATE_COUNT] = {
        [PROGRESS_UNKNOWN] = "unknown",     [PROGRESS_IDLE] = "idle",       [PROGRESS_PROGRESSING] = "progressing",
        [PROGRESS_SATURATED] = "saturated", [PROGRESS_SUSPECT] = "suspect", [PROGRESS_STALLED] = "stalled",
    };
    return s < PROGRESS_STATE_COUNT ? names[s] : "unknown";
}

static progress stepped(progress p, double counter, int64_t now_ms)
{
    p.last_step_ms = now_ms;
    p.baseline = counter;
    p.have_baseline = true;
    p.probes = 0;
    p.probe_in_vain = false;
    return p;
}

/* `clean`: no probe of ours was out since the last scrape, so every step is somebody else's. */
static bool moved(const progress *p, const progress_input *in, bool clean)
{
    return (clean && in->counter > p->last_counter) || in->counter - p->baseline > p->probes * in->probe_steps;
}

/* What a working replica's state is, once last_step_ms and the probe's verdict are in. */
static progress_state judge(const progress *p, const progress_config *c, int64_t now_ms)
{
    int64_t limit = c->stall_after_ms > 0 ? c->stall_after_ms : PROGRESS_STALL_AFTER_MS;
    if (now_ms - p->last_step_ms >= limit)
        return p->state == PROGRESS_STALLED || p->probe_in_vain ? PROGRESS_STALLED : PROGRESS_SUSPECT;
    return p->waited || p->probe_queued ? PROGRESS_SATURATED : PROGRESS_PROGRESSING;
}

static progress on_scrape(progress p, const progress_config *c, const progress_input *in, int64_t now_ms)
{
    bool was_out = p.probe_was_out, clean = !was_out && !p.probe_ended && !in->probe_in_flight;
    p.probe_was_out = in->up && in->probe_in_flight;
    if (!in->up || !in->known) {
        p.state = PROGRESS_UNKNOWN; /* the baseline stays: a replica that comes back unmoved is still suspect */
        return p;
    }
    if (in->probe_in_flight && !was_out)
        p.probes++;
    double requests = in->running + in->waiting - (in->probe_in_flight ? 1 : 0);
    double queue = in->waiting - (in->probe_in_flight && in->running < 1 ? 1 : 0);
    bool worked = p.worked, restarted = p.have_baseline && in->counter < p.baseline;
    p.worked = requests > 0;
    p.waited = queue > 0;
    if (restarted)
        p = (progress){ .worked = p.worked, .waited = p.waited, .probe_was_out = p.probe_was_out, .probes = 0 };
    if (!p.worked) {
        p = stepped(p, in->counter, now_ms);
        p.last_counter = in->counter;
        p.probe_queued = p.probe_ended = false;
        p.state = PROGRESS_IDLE;
        return p;
    }
    if (!p.have_baseline || !worked || moved(&p, in, clean)) {
        p = stepped(p, in->counter, now_ms);
        p.state = PROGRESS_PROGRESSING;
    }
    p.last_counter = in->counter;
    p.probe_ended = false;
    p.state = judge(&p, c, now_ms);
    return p;
}

static progress on_probe(progress p, const progress_config *c, const progress_input *in, int64_t now_ms)
{
    if (!p.probe_was_out)
        p.probes++; /* it came and went between two scrapes */
    p.probe_was_out = false;
    p.probe_ended = true;
    bool still = now_ms - p.last_step_ms >= in->probe_waited_ms; /* all the time it waited */
    p.probe_queued = in->probe == PROGRESS_PROBE_NO_TOKEN && !still;
    if (p.state == PROGRESS_UNKNOWN || p.state == PROGRESS_IDLE)
        return p;
    p.probe_in_vain |= in->probe == PROGRESS_PROBE_NO_TOKEN && still;
    if (in->probe == PROGRESS_PROBE_OK) { /* a token came out: whatever the gauges say, it decodes */
        p.last_step_ms = now_ms;
        p.probe_in_vain = false;
        p.state = PROGRESS_PROGRESSING;
        p.state = judge(&p, c, now_ms);
    } else if (in->probe == PROGRESS_PROBE_NO_TOKEN && p.state == PROGRESS_SUSPECT) {
        p.state = PROGRESS_STALLED;
    }
    return p;
}

progress progress_step(progress p, const progress_config *c, const progress_input *in, int64_t now_ms)
{
    if (in->is_scrape)
        return on_scrape(p, c, in, now_ms);
    return on_probe(p, c, in, now_ms);
}

double progress_age_s(const progress *p, int64_t now_ms)
{
    if (p->state == PROGRESS_UNKNOWN)
        return NAN;
    if (p->state == PROGRESS_IDLE || !p->last_step_ms)
        return 0;
    return (double)(now_ms - p->last_step_ms) / MS_PER_S;
}
