/* Moving on: what is complete goes from the head into a block, what is too old goes away, the log is cut.
 *
 *   1 rotate the log                 segments <= N hold all that is in the head now
 *   2 write samples < cut as a block (temp, fsync, rename), show it to readers
 *   3 trim the head                  readers take the head first, then the blocks: twice, never not at all
 *   4 write checkpoint.N             the head that is left; (temp, fsync, rename)
 *   5 remove segments <= N, forget series without samples
 *
 * A crash between any two steps loses nothing: before 4 the segments still tell everything, and the block
 * says which of their samples it has (block_cover); after 4 they are not read any more. */
#include "store/inside.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CARE_MAX_BYTES ((size_t)16 << 30)    /* tables of one cut: about 100 bytes a series and chunk */
#define CHECKPOINT_FLUSH_BYTES (256u << 10)
#define CUT_RETRY_NS (60 * NS_PER_S)          /* after a cut that failed: the disk may be full */

/* ---- what the head holds: a copy of the pointers, so that no lock is held while files are written ---- */

typedef struct held { chunk **at; size_t len; series *series; int64_t after_ms; } held;
typedef struct holding {
    arena arena;
    vec(held) series;
} holding;

static void holding_done(holding *h)
{
    for (size_t i = 0; i < h->series.len; i++)
        for (size_t c = 0; c < h->series.at[i].len; c++)
            chunk_unref(h->series.at[i].at[c]);
    vec_done(&h->series);
    arena_done(&h->arena);
}

/* The filling chunk as it is now. */
static chunk *chunk_copy(const chunk *c)
{
    chunk *copy = mem_alloc(sizeof *c + chunk_size(c) + CHUNK_SLACK_BYTES);
    if (!copy)
        return NULL;
    memcpy(copy, c, sizeof *c + chunk_size(c));
    copy->cap = (uint32_t)chunk_size(c);
    atomic_init(&copy->refs, 1);
    return copy;
}

/* Chunks that start before cut_ms. The shard's lock is held. */
static err_kind hold_series(holding *h, series *s, int64_t cut_ms)
{
    held entry = { arena_array(&h->arena, chunk *, (size_t)s->closed_len + 1), 0, s, s->cut_t_ms };
    if (!entry.at || vec_push(&h->series, entry))
        return ERR_NOMEM;
    held *to = &vec_last(&h->series);
    for (uint32_t i = 0; i < s->closed_len && s->closed[i]->min_t_ms < cut_ms; i++)
        to->at[to->len++] = chunk_ref(s->closed[i]);
    if (s->open && s->open->min_t_ms < cut_ms) {
        chunk *copy = chunk_copy(s->open);
        if (!copy)
            return ERR_NOMEM;
        to->at[to->len++] = copy;
    }
    return OK;
}

/* Series of a shard with samples before cut_ms; with `empty` the others too. */
static err_kind hold_shard(store *s, uint32_t i, int64_t cut_ms, bool empty, holding *h)
{
    head_shard *shard = &s->head.shards[i];
    err_kind k = OK;
    pthread_mutex_lock(&shard->lock);
    series *se;
    for (size_t pos = 0; !k && (se = head_next(shard, &pos));)
        if (empty || series_min_t(se) < cut_ms)
            k = hold_series(h, se, cut_ms);
    pthread_mutex_unlock(&shard->lock);
    return k;
}

/* ---- the block ---- */

/* A chunk that reaches out of (after_ms, cut_ms) is coded anew with what lies inside; NULL: nothing does. */
static err_kind clip(chunk **c, int64_t after_ms, int64_t cut_ms)
{
    sample_vec samples = { 0 };
    chunk *clipped = NULL;
    err_kind k = chunk_decode(chunk_bytes(*c), (*c)->count, after_ms + 1, cut_ms - 1, &samples);
    if (!k && samples.len && !(clipped = chunk_new((unsigned)samples.len)))
        k = ERR_NOMEM;
    for (size_t i = 0; !k && i < samples.len; i++)
        k = chunk_append(clipped, samples.at[i].t_ms, samples.at[i].v);
    vec_done(&samples);
    if (k) {
        chunk_unref(clipped);
        return k;
    }
    chunk_unref(*c);
    *c = clipped;
    return OK;
}

/* The held chunks as the block wants them. Clipped ones replace theirs in `h`. */
static err_kind to_block_series(holding *hold, held *h, int64_t cut_ms, block_series *ret)
{
    size_t kept = 0;
    for (size_t i = 0; i < h->len; i++) {
        chunk *c = h->at[i];
        err_kind k = OK;
        if (c->min_t_ms <= h->after_ms || c->max_t_ms >= cut_ms)
            k = clip(&c, h->after_ms, cut_ms);
        if (k) { /* the rest stays held, to be let go by holding_done */
            memmove(h->at + kept, h->at + i, (h->len - i) * sizeof *h->at);
            h->len = kept + h->len - i;
            return k;
        }
        if (c)
            h->at[kept++] = c;
    }
    h->len = kept;
    *ret = (block_series){ label_set_view(h->series->labels), arena_array(&hold->arena, block_chunk, kept), kept };
    if (!ret->chunks)
        return ERR_NOMEM;
    for (size_t i = 0; i < kept; i++) {
        const chunk *c = h->at[i];
        ret->chunks[i] = (block_chunk){ chunk_bytes(c), c->min_t_ms, c->max_t_ms, c->count };
    }
    return OK;
}

static int by_labels(const void *a, const void *b)
{
    return labels_cmp(((const block_series *)a)->labels, ((const block_series *)b)->labels);
}

static err_kind show_block(store *s, const char *path, uint32_t number, err *e)
{
    block *b;
    err_kind k = block_open(path, number, &b, e);
    if (k)
        return k;
    pthread_mutex_lock(&s->blocks_lock);
    bool room = !vec_push(&s->blocks, b);
    pthread_mutex_unlock(&s->blocks_lock);
    if (room)
        return OK;
    block_unref(b);
    return err_nomem(e);
}

static err_kind write_block(store *s, holding *h, int64_t cut_ms, uint32_t segment, err *e)
{
    block_series *all = arena_array(&h->arena, block_series, h->series.len);
    size_t n = 0;
    if (!all)
        return err_nomem(e);
    for (size_t i = 0; i < h->series.len; i++) {
        if (to_block_series(h, &h->series.at[i], cut_ms, &all[n]))
            return err_nomem(e);
        n += all[n].len > 0;
    }
    if (n == 0)
        return OK;
    qsort(all, n, sizeof *all, by_labels);
    char name[40], path[FILE_PATH_MAX];
    uint32_t number = s->next_block;
    snprintf(name, sizeof name, "%08" PRIu32 BLOCK_SUFFIX, number);
    err_kind k = file_join(path, s->block_dir, name, e);
    if (k || (k = block_write(path, all, n, (block_cover){ segment, cut_ms }, e)))
        return k;
    s->next_block++;
    if ((k = show_block(s, path, number, e)))
        (void)file_remove(path, NULL); /* the head still has it all */
    return k;
}

/* The append lock keeps a batch from finding its reserved room gone; it is given back now and then. */
#define TRIM_AT_ONCE 256

static void trim_head(store *s, const holding *h)
{
    for (size_t i = 0; i < h->series.len; i++) {
        if (i % TRIM_AT_ONCE == 0)
            pthread_mutex_lock(&s->append_lock);
        const held *one = &h->series.at[i];
        pthread_mutex_t *lock = &s->head.shards[one->series->shard].lock;
        pthread_mutex_lock(lock);
        if (one->len > 0)
            series_trim(&s->head, one->series, one->at[one->len - 1]->max_t_ms);
        pthread_mutex_unlock(lock);
        if (i % TRIM_AT_ONCE == TRIM_AT_ONCE - 1 || i + 1 == h->series.len)
            pthread_mutex_unlock(&s->append_lock);
    }
}

static err_kind cut_block(store *s, int64_t cut_ms, uint32_t segment, err *e)
{
    AUTO(holding_done) holding h = { .arena = ARENA_INIT(CARE_MAX_BYTES) };
    for (uint32_t i = 0; i < HEAD_SHARDS; i++)
        if (hold_shard(s, i, cut_ms, false, &h))
            return err_nomem(e);
    err_kind k = write_block(s, &h, cut_ms, segment, e);
    if (!k)
        trim_head(s, &h);
    return k;
}

/* ---- retention ---- */

static void expire_head(store *s, int64_t oldest_ms)
{
    for (uint32_t i = 0; i < HEAD_SHARDS; i++) {
        head_shard *shard = &s->head.shards[i];
        pthread_mutex_lock(&s->append_lock);
        pthread_mutex_lock(&shard->lock);
        series *se;
        for (size_t pos = 0; (se = head_next(shard, &pos));)
            if (series_min_t(se) < oldest_ms)
                series_trim(&s->head, se, oldest_ms - 1);
        pthread_mutex_unlock(&shard->lock);
        pthread_mutex_unlock(&s->append_lock);
    }
}

/* Readers that still hold a block keep its mapping; the file may go. */
static err_kind expire_blocks(store *s, int64_t oldest_ms, err *e)
{
    err_kind failed = OK;
    pthread_mutex_lock(&s->blocks_lock);
    for (size_t i = 0; i < s->blocks.len;) {
        block *b = s->blocks.at[i];
        if (b->max_t_ms >= oldest_ms) {
            i++;
            continue;
        }
        err_kind k = file_remove(b->path, failed ? NULL : e);
        failed = failed ? failed : k;
        vec_remove(&s->blocks, i);
        block_unref(b);
    }
    pthread_mutex_unlock(&s->blocks_lock);
    return failed;
}

/* ---- the checkpoint ---- */

typedef struct checkpoint { int fd; const char *path; buf out; err *e; } checkpoint;

static err_kind checkpoint_flush(checkpoint *c, size_t keep)
{
    if (buf_failed(&c->out))
        return err_nomem(c->e);
    if (c->out.len <= keep)
        return OK;
    err_kind k = file_write_all(c->fd, c->out.ptr, c->out.len, c->path, c->e);
    buf_reset(&c->out);
    return k;
}

/* One series: its definition, and for each chunk a record of samples. */
static err_kind checkpoint_series(checkpoint *c, const held *h)
{
    size_t record = wal_begin(&c->out, WAL_SERIES);
    wal_put_series(&c->out, h->series->wal_id, label_set_view(h->series->labels));
    wal_end(&c->out, record);
    for (size_t i = 0; i < h->len; i++) {
        const chunk *from = h->at[i];
        record = wal_begin(&c->out, WAL_SAMPLES);
        uint8_t *room = (uint8_t *)buf_reserve(&c->out, (size_t)from->count * WAL_SAMPLE_MAX_BYTES);
        if (!room)
            return err_nomem(c->e);
        uint8_t *p = room;
        wal_delta before = { 0 };
        sample x;
        for (chunk_iter it = chunk_samples(chunk_bytes(from), from->count); chunk_next(&it, &x);)
            if (x.t_ms > h->after_ms)
                p = wal_put_sample(p, &before, h->series->wal_id, x.t_ms, x.v);
        buf_commit(&c->out, (size_t)(p - room));
        wal_end(&c->out, record);
    }
    return checkpoint_flush(c, CHECKPOINT_FLUSH_BYTES);
}

static err_kind checkpoint_shard(checkpoint *c, store *s, uint32_t shard)
{
    AUTO(holding_done) holding h = { .arena = ARENA_INIT(CARE_MAX_BYTES) };
    if (hold_shard(s, shard, INT64_MAX, true, &h))
        return err_nomem(c->e);
    for (size_t i = 0; i < h.series.len; i++) {
        err_kind k = checkpoint_series(c, &h.series.at[i]);
        if (k)
            return k;
    }
    return OK;
}

static err_kind checkpoint_fill(checkpoint *c, store *s, uint32_t segment)
{
    uint8_t header[WAL_HEADER_BYTES];
    wal_put_header(header, segment);
    buf_append_bytes(&c->out, header, sizeof header);
    for (uint32_t i = 0; i < HEAD_SHARDS; i++) {
        err_kind k = checkpoint_shard(c, s, i);
        if (k)
            return k;
    }
    err_kind k = checkpoint_flush(c, 0);
    return k ? k : file_sync(c->fd, c->path, c->e);
}

static err_kind checkpoint_write(store *s, uint32_t segment, err *e)
{
    char path[FILE_PATH_MAX], temp[FILE_PATH_MAX];
    err_kind k = wal_checkpoint_path(path, s->wal_dir, segment, e);
    if (k)
        return k;
    if (snprintf(temp, sizeof temp, "%s.tmp", path) >= (int)sizeof temp)
        return err_set(e, ERR_LIMIT, "path too long: \"%.200s…\"", path);
    checkpoint c = { .path = temp, .out = BUF_INIT(STORE_RECORDS_MAX_BYTES), .e = e };
    c.fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (c.fd < 0)
        return err_sys(e, errno, "could not create \"%s\"", temp);
    k = checkpoint_fill(&c, s, segment);
    close(c.fd);
    buf_done(&c.out);
    if (!k)
        k = file_rename(temp, path, e);
    if (!k)
        k = file_sync_dir(s->wal_dir, e);
    else
        unlink(temp);
    return k;
}

/* What the checkpoint stands for: segments up to it, and older checkpoints. */
static err_kind remove_covered(store *s, uint32_t covered, err *e)
{
    AUTO(arena_done) arena a = ARENA_INIT(STORE_LIST_MAX_BYTES);
    str *names;
    size_t n;
    err_kind k = file_list(s->wal_dir, &a, &names, &n, e);
    for (size_t i = 0; !k && i < n; i++) {
        char path[FILE_PATH_MAX];
        bool is_checkpoint;
        uint32_t segment;
        if (!wal_parse_name(names[i], &is_checkpoint, &segment))
            continue;
        if (segment < covered || (segment == covered && !is_checkpoint))
            if (!(k = file_join(path, s->wal_dir, names[i].ptr, e)))
                k = file_remove(path, e);
    }
    return k;
}

/* ---- when ---- */

/* From where on samples stay in the head; INT64_MIN: nothing is cut now. A sample from the future completes
 * no window. */
static int64_t choose_cut(const store *s, bool force)
{
    int64_t oldest = atomic_load(&s->head.min_t_ms), newest = atomic_load(&s->head.max_t_ms), now = clock_now_ms();
    newest = MIN(newest, now);
    if (oldest == INT64_MAX || newest < oldest)
        return INT64_MIN;
    int64_t cut_ms = window_start(newest - (force ? 0 : s->block_ms / 2), s->block_ms);
    if (oldest >= cut_ms)
        return INT64_MIN;
    /* Half a block more than one: late samples still find the head, and blocks are not written in drips. */
    if (!force && (newest - oldest <= s->block_ms + s->block_ms / 2 || clock_mono_ns() < s->next_cut_ns))
        return INT64_MIN;
    return cut_ms;
}

static err_kind move_on(store *s, int64_t cut_ms, int64_t oldest_ms, err *e)
{
    pthread_mutex_lock(&s->append_lock);
    wal_rotate(&s->wal);
    uint32_t covered = s->wal.segment;
    pthread_mutex_unlock(&s->append_lock);

    expire_head(s, oldest_ms);
    err_kind k = cut_ms == INT64_MIN ? OK : cut_block(s, cut_ms, covered, e);
    if (!k && covered)
        k = checkpoint_write(s, covered, e);
    if (!k && covered)
        k = remove_covered(s, covered, e);

    pthread_mutex_lock(&s->append_lock);
    if (!k)
        head_sweep(&s->head); /* only now: the checkpoint had to define them for the segments behind it */
    head_measure(&s->head);
    pthread_mutex_unlock(&s->append_lock);
    return k;
}

err_kind care_run(store *s, bool force, err *e)
{
    pthread_mutex_lock(&s->care_lock);
    int64_t oldest_ms = store_oldest_ms(s);
    err_kind expired = expire_blocks(s, oldest_ms, e);
    int64_t cut_ms = choose_cut(s, force);
    /* Old samples alone are worth a checkpoint only now and then: with the cuts, or a window late. */
    int64_t slack_ms = force ? 0 : s->block_ms;
    bool too_old = atomic_load(&s->head.min_t_ms) < oldest_ms - slack_ms && (force || clock_mono_ns() >= s->next_cut_ns);
    err_kind k = OK;
    if (cut_ms != INT64_MIN || too_old) {
        k = move_on(s, cut_ms, oldest_ms, expired ? NULL : e);
        s->next_cut_ns = clock_mono_ns() + (k ? CUT_RETRY_NS : s->block_ms / 4 * NS_PER_MS);
    }
    pthread_mutex_unlock(&s->care_lock);
    return expired ? expired : k;
}
