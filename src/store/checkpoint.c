/* The head written down as records of the log, so that the segments before it may go. */
#include "store/handover.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define CHECKPOINT_FLUSH_BYTES (256u << 10)

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
    if (holding_take_shard(s, shard, INT64_MAX, true, &h))
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
