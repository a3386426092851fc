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
#include "store/handover.h"
#include "store/blocks.h"
#include <stdatomic.h>
#include <stdio.h>

/* A log longer than this, and than twice what a checkpoint takes, is cut by a checkpoint alone. */
#ifdef GALEN_TINY
#define LOG_SEGMENTS_MAX 64u
#else
#define LOG_SEGMENTS_MAX 8u /* of 32 MiB */
#endif
#define CUT_RETRY_NS (60 * NS_PER_S)          /* after a cut that failed: the disk may be full */

/* ---- the block ---- */

static err_kind write_series(handover *h, block_writer *w, err *e)
{
    labels l;
    const block_chunk *chunks;
    size_t n;
    err_kind k;
    while (!(k = handover_next(h, &l, &chunks, &n)))
        if ((k = block_writer_add(w, l, chunks, n, e)))
            return k;
    return k == ERR_NOT_FOUND ? OK : err_nomem(e);
}

static err_kind write_block(store *s, handover *h, uint32_t segment, err *e)
{
    char path[FILE_PATH_MAX];
    uint32_t number;
    block_writer *w;
    err_kind k = blocks_begin(s, &s->blocks, path, &number, e);
    if (k || (k = block_writer_open(path, &w, e)))
        return k;
    k = write_series(h, w, e);
    if (k || block_writer_series(w) == 0) {
        block_writer_abort(w);
        return k;
    }
    if ((k = block_writer_close(w, (block_cover){ segment, h->cut_ms }, e)))
        return k;
    if ((k = blocks_show(s, &s->blocks, path, number, e)))
        (void)file_remove(path, NULL); /* the head still has it all */
    return k;
}

static err_kind cut_block(store *s, int64_t cut_ms, uint32_t segment, err *e)
{
    AUTO(handover_done) handover h;
    if (handover_begin(&h, s, cut_ms))
        return err_nomem(e);
    err_kind k = h.series.len ? write_block(s, &h, segment, e) : OK;
    if (!k)
        handover_trim(&h);
    return k;
}

/* ---- retention ---- */

static err_kind expire_blocks(store *s, int64_t oldest_ms, err *e)
{
    block_vec all = { 0 };
    err_kind k = blocks_hold(s, &s->blocks, &all, e);
    for (size_t i = 0; !k && i < all.len; i++)
        if (all.at[i]->max_t_ms < oldest_ms) {
            log_info("a block is past the retention and was removed", KV_CSTR("file", all.at[i]->path), KV_INT("samples", all.at[i]->sample_count),
                     KV_INT("newest_ms", all.at[i]->max_t_ms));
            k = blocks_remove(s, &s->blocks, &all.at[i], 1, e);
        }
    blocks_let_go(&all);
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

static bool log_is_long(store *s)
{
    pthread_mutex_lock(&s->append_lock);
    uint32_t segment = s->wal.segment;
    pthread_mutex_unlock(&s->append_lock);
    return segment - s->checkpoint > LOG_SEGMENTS_MAX + 2 * s->checkpoint_bytes / WAL_SEGMENT_MAX_BYTES;
}

/* *ret_swept: how many series have no samples left and were forgotten. */
static err_kind move_on(store *s, int64_t cut_ms, int64_t oldest_ms, size_t *ret_swept, err *e)
{
    pthread_mutex_lock(&s->append_lock);
    wal_rotate(&s->wal);
    uint32_t covered = s->wal.segment;
    pthread_mutex_unlock(&s->append_lock);

    head_expire(s, oldest_ms);
    err_kind k = cut_ms == INT64_MIN ? OK : cut_block(s, cut_ms, covered, e);
    if (!k && covered)
        k = checkpoint_write(s, covered, e);
    if (!k && covered)
        k = checkpoint_remove_covered(s, covered, e);

    pthread_mutex_lock(&s->append_lock);
    uint64_t before = atomic_load(&s->head.series_count);
    if (!k)
        head_forget(s); /* only now: the checkpoint had to define them for the segments behind it */
    *ret_swept = (size_t)(before - atomic_load(&s->head.series_count));
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
    if (cut_ms != INT64_MIN || too_old || log_is_long(s)) {
        size_t swept;
        k = move_on(s, cut_ms, oldest_ms, &swept, expired ? NULL : e);
        if (!k && force && swept > 0) /* who flushes wants the log small: without the definitions of who is gone */
            k = move_on(s, INT64_MIN, oldest_ms, &swept, expired ? NULL : e);
        s->next_cut_ns = clock_mono_ns() + (k ? CUT_RETRY_NS : s->block_ms / 4 * NS_PER_MS);
    }
    pthread_mutex_unlock(&s->care_lock);
    return expired ? expired : k;
}

err_kind care_hand_over(store *s, int64_t from_ms, err *e)
{
    pthread_mutex_lock(&s->care_lock);
    int64_t newest_ms = atomic_load(&s->head.max_t_ms);
    bool needed = newest_ms != INT64_MIN && newest_ms >= from_ms;
    size_t swept;
    err_kind k = needed ? move_on(s, newest_ms + 1, store_oldest_ms(s), &swept, e) : OK;
    pthread_mutex_unlock(&s->care_lock);
    return k;
}
