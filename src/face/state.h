/* face/state.h - one word for a replica, and one number for the whole, from what the other rooms know.
 *
 *   dead        its process ended, or diagnose says so
 *   frozen      diagnose says the process is stopped or answers nothing
 *   stalled     requests run, no token moves, and a probe got none either
 *   saturated   full: it works, but requests wait. Nothing to repair
 *   suspect     something does not answer, and nobody has named a cause yet
 *   unknown     not looked at yet
 *   healthy     the rest
 * An open incident goes before watch's own signs, unless diagnose sees no fault any more. */
#pragma once
#include "diagnose/diagnose.h"

const char *replica_state_name(const replica_info *r, const incident *open); /* open: NULL if none */
/* Running in its process or somewhere, but of no use to a client: dead, frozen, stalled. */
bool replica_state_is_down(const char *state);

/* The seeds' ladder for /api/system/status: 0 normal, 1 light, 2 medium, 3 heavy, 4 emergency. */
typedef struct system_load {
    double request_latency_s;   /* NaN: not measured */
    double error_ratio;         /* replicas that are down, of all; 0 without replicas */
    double memory_ratio;
} system_load;
int degradation_level(const system_load *l);
