/* diagnose/diagnose_config.h - the `diagnose:` section. Every key has a default that fits scraping each 5 to 15 s. */
#pragma once
#include "diagnose/diagnose.h"

struct diagnose_config {
    int64_t tick_ms;                 /* how often replicas with trouble are looked at; calm ones every CALM_LOOK_MS */
    int64_t fresh_ms;                /* an older answer is no answer */
    int64_t recent_ms;
    int64_t stall_after_ms, freeze_after_ms, saturated_after_ms, inconclusive_after_ms;
    int64_t slow_first_token_ms;
    int64_t start_grace_ms;          /* a process this young that never answered is starting, not ill */
    int64_t close_after_ms;          /* healthy for this long, with proof: closed */
};
extern const config_field diagnose_fields[];
extern const size_t diagnose_field_count;
