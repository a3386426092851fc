#include "watch/scrape/pool.h"

#define POOL_ARENA_MAX (64u << 20)

typedef struct member {
    target *target;
    replica *replica;
} member;

struct pool {
    replica_deps deps;
    watch_config *generation;
    const scrape_job *job;
    arena arena;
    target_spec *specs;
    size_t spec_count;
    vec(member) members;
    char down_reason[400];
};

static member *find_member(pool *p, const target *t)
{
    for (size_t i = 0; i < p->members.len; i++) {
        if (p->members.at[i].target == t)
            return &p->members.at[i];
    }
    return NULL;
}

/* The first page that looks like an engine makes the target a replica that is looked on. */
static void on_scrape(void *ctx, target *t, const scrape_outcome *o, row_vec *rows)
{
    pool *p = ctx;
    member *m = find_member(p, t);
    if (m && !m->replica && o->up && engine_name(&o->page->seen))
        (void)replica_open_observed(&p->deps, t, &m->replica, NULL);
    if (m && m->replica)
        replica_on_scrape(m->replica, o, rows);
}

static void on_settled(void *ctx, target *t)
{
    member *m = find_member(ctx, t);
    if (m && m->replica)
        replica_on_settled(m->replica);
}

static err_kind open_targets(pool *p, err *e)
{
    target_deps d = { .loop = p->deps.loop,
                      .client = p->deps.client,
                      .sink = p->deps.sink,
                      .on_scrape = on_scrape,
                      .on_settled = on_settled,
                      .ctx = p };
    for (size_t i = 0; i < p->spec_count; i++) {
        member m = { 0 };
        if (p->specs[i].dropped)
            continue;
        err_kind k = target_open(&d, p->job, &p->specs[i], false, &m.target, e);
        if (k)
            return k;
        if (vec_push(&p->members, m)) {
            target_close(m.target);
            return err_nomem(e);
        }
    }
    return OK;
}

err_kind pool_open(const replica_deps *deps, watch_config *generation, const scrape_job *job, pool **ret, err *e)
{
    pool *p = mem_zalloc(sizeof *p);
    err why = { 0 };
    if (!p)
        return err_nomem(e);
    p->deps = *deps;
    p->generation = watch_config_ref(generation);
    p->job = job;
    p->arena = arena_init(POOL_ARENA_MAX);
    str_copy(p->down_reason, sizeof p->down_reason, str_from(job->down_reason));
    if (scrape_job_targets(job, &p->arena, &p->specs, &p->spec_count, &why)) {
        p->spec_count = 0;
        str_copy(p->down_reason, sizeof p->down_reason, str_from(why.message));
    }
    if (p->down_reason[0])
        log_warn("a scrape job cannot run as configured", KV_STR("job", job->name), KV_CSTR("reason", p->down_reason));
    err_kind k = open_targets(p, e);
    if (k) {
        pool_close(p);
        return k;
    }
    *ret = p;
    return OK;
}

void pool_close(pool *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->members.len; i++) {
        replica_close(p->members.at[i].replica);
        p->members.at[i].replica = NULL;
        target_close(p->members.at[i].target);
    }
    vec_done(&p->members);
    arena_done(&p->arena);
    watch_config_unref(p->generation);
    mem_free(p);
}

const scrape_job *pool_job(const pool *p) { return p->job; }
const char *pool_down_reason(const pool *p) { return p->down_reason; }
target *pool_target_at(const pool *p, size_t i) { return i < p->members.len ? p->members.at[i].target : NULL; }
replica *pool_replica_at(const pool *p, size_t i) { return i < p->members.len ? p->members.at[i].replica : NULL; }

bool pool_dropped_at(const pool *p, size_t i, labels *ret_discovered)
{
    for (size_t s = 0; s < p->spec_count; s++) {
        if (p->specs[s].dropped && i-- == 0) {
            *ret_discovered = p->specs[s].discovered;
            return true;
        }
    }
    return false;
}
