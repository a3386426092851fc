/* The head written down as records of the log, so that the segments before it may go. */
#include "store/handover.h"
#include "store/late.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define CHECKPOINT_FLUSH_BYTES (256u << 10)
#define SERIES_AT_ONCE 64u /* written under one hold of the head's lock */

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

/* ---- one series: its definition, and its chunks as they are. The head's lock is held. ---- */

static void put_run(buf *out, const chunk_run *r, wal_chunk_place place)
{
    for (uint32_t i = 0; r && i < r->len; i++)
        wal_put_chunk(out, &(wal_chunk){ r->at[i]->kind, (uint8_t)place, r->at[i]->count, chunk_bytes(r->at[i]) });
}

static void put_own(buf *out, chunk *c, wal_chunk_place place)
{
    if (!c) {
        out->failed = ERR_NOMEM;
        return;
    }
    wal_put_chunk(out, &(wal_chunk){ c->kind, (uint8_t)place, c->count, chunk_bytes(c) });
    chunk_unref(c);
}

static size_t late_of(buf *out, const series_more *m, chunk_run **ret)
{
    *ret = NULL;
    if (m && late_chunks(m, INT64_MIN, INT64_MAX, ret))
        out->failed = ERR_NOMEM;
    return *ret ? (*ret)->len : 0;
}

static void put_chunks(buf *out, const head *h, const series *s)
{
    const series_cold *c = head_cold(h, s);
    const series_more *m = c->more;
    chunk_run *late;
    size_t n = (c->closed ? c->closed->len : 0) + (s->open.count > 0) + (m && m->histograms.count > 0) + late_of(out, m, &late);
    if (n > 0)
        wal_put_chunks(out, s->wal_id, c->cut_t_ms, n);
    put_run(out, c->closed, WAL_CHUNK_CLOSED);
    if (s->open.count)
        put_own(out, filling_close(&s->open, &h->pool), WAL_CHUNK_OPEN);
    if (m && m->histograms.count)
        put_own(out, histogram_filling_close(&m->histograms), WAL_CHUNK_OPEN);
    put_run(out, late, WAL_CHUNK_LATE);
    chunk_run_free(late);
}

/* Some series: first what they are called, then what they hold. Returns how many there were. */
static size_t put_some(buf *out, head *h, uint32_t *slot)
{
    series *some[SERIES_AT_ONCE];
    label at[LABELS_MAX];
    size_t n = 0;
    head_lock(h);
    while (n < SERIES_AT_ONCE && (some[n] = head_next(h, slot)))
        n++;
    size_t record = wal_begin(out, WAL_SERIES);
    for (size_t i = 0; i < n; i++)
        wal_put_series(out, some[i]->wal_id, (labels){ at, head_labels(h, some[i], at) });
    wal_end(out, record);
    record = wal_begin(out, WAL_CHUNKS);
    for (size_t i = 0; i < n; i++)
        put_chunks(out, h, some[i]);
    wal_end(out, record);
    head_unlock(h);
    return n;
}

static err_kind checkpoint_fill(checkpoint *c, store *s, uint32_t segment)
{
    uint8_t header[WAL_HEADER_BYTES];
    wal_put_header(header, segment);
    buf_append_bytes(&c->out, header, sizeof header);
    for (uint32_t slot = 0; put_some(&c->out, &s->head, &slot) > 0;) {
        err_kind k = checkpoint_flush(c, CHECKPOINT_FLUSH_BYTES);
        if (k)
            return k;
    }
    exemplars_log(&s->exemplars, &c->out);
    err_kind k = checkpoint_flush(c, 0);
    return k ? k : file_sync(c->fd, c->path, c->e);
}

err_kind checkpoint_write(store *s, uint32_t segment, err *e)
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
    off_t size = lseek(c.fd, 0, SEEK_END);
    close(c.fd);
    buf_done(&c.out);
    if (!k)
        k = file_rename(temp, path, e);
    if (k) {
        unlink(temp);
        return k;
    }
    s->checkpoint = segment;
    s->checkpoint_bytes = size > 0 ? (uint64_t)size : 0;
    return file_sync_dir(s->wal_dir, e);
}

/* What the checkpoint stands for: segments up to it, and older checkpoints. */
err_kind checkpoint_remove_covered(store *s, uint32_t covered, err *e)
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
