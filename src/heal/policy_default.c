#include "heal/policy.h"

/* Kept in step with policies/llm-default.yml by a test. Its mode is auto, and still nothing acts by itself: heal.mode
 * is suggest unless somebody writes `heal: {mode: auto}`, and the weaker of the two wins. */
const char policy_default_text[] =
    "policies:\n"
    "  - name: llm-restart\n"
    "    description: Restart a supervised engine that is dead, frozen or has stalled; never one that is merely busy.\n"
    "    trigger: {cause: [engine_dead, engine_frozen, decode_stalled]}\n"
    "    mode: auto\n"
    "    do: [{restart: {grace: 10s}}]\n"
    "    limits: {cooldown: 1m, per_hour: 6, concurrent: 1}\n"
    "    verify: {probe: completion, within: 2m, hold: 10s}\n"
    "    retries: 2\n"
    "    otherwise: [{escalate: {message: The engine does not come back by restarting it.}}]\n";
