/* watch/scrape/pool.h - the targets of one scrape job, and the engines found among them. */
#pragma once
#include "watch/replica.h"

typedef struct pool pool;

/* A job whose targets cannot be made (a broken label, too many) becomes a pool without targets and with a reason;
 * only memory is an error. `generation` is what `job` lives in. */
err_kind pool_open(const replica_deps *deps, watch_config *generation, const scrape_job *job, pool **ret, err *e);
void pool_close(pool *p);
const scrape_job *pool_job(const pool *p);
const char *pool_down_reason(const pool *p);            /* "": it runs */
target *pool_target_at(const pool *p, size_t i);        /* NULL beyond the last */
replica *pool_replica_at(const pool *p, size_t i);      /* of target i; NULL: no engine */
bool pool_dropped_at(const pool *p, size_t i, labels *ret_discovered);
